/* A copy in which each layer has a switch: it reads x, or x rounded. Test: tests/cli/compress_keep.test */
#include "passes/keep.h"
#include "passes/layer.h"
#include "passes/pass.h"
#include "passes/switches.h"

enum { MOST_SAMPLES = 16 };

typedef struct keeper {
    const sinter_compression *compression;
    sinter_module *module; /* the copy */
    sinter_switches switches;
    sinter_layer_list layers;
    double *limits; /* by layer: keep, 0 where it has none */
    sinter_arena arena;
    sinter_diag *diag;
} keeper;

/* Whether any layer asks for it. */
static bool find_limits(keeper *k, bool *out_good) {
    bool any = false;
    k->layers = sinter_layer_find_all(k->module, &k->arena);
    k->limits = SINTER_NEW_ARRAY(&k->arena, double, k->layers.count);
    for (size_t i = 0; i < k->layers.count; i++) {
        sinter_layer_recipe recipe;
        *out_good =
            sinter_recipe_find(k->compression->recipe, k->layers.items[i].name, &recipe, k->diag);
        if (!*out_good) return false;
        if (recipe.activations == SINTER_DTYPE_NONE) continue;
        k->limits[i] = recipe.most_change;
        any = any || recipe.most_change > 0;
    }
    return any;
}

/* ---- the copy ---- */

/* Of what was rounded only what a layer reads by its switch stays so. */
static void undo_others(keeper *k, uint32_t limit) {
    SINTER_FOR_NODES (k->module, sinter_module_main(k->module), node) {
        if (node >= limit || sinter_node_op(k->module, node) != SINTER_OP_dequantize_linear)
            continue;
        sinter_node from =
            sinter_value_definition(k->module, sinter_node_operand(k->module, node, 0));
        if (sinter_node_op(k->module, from) != SINTER_OP_quantize_linear) continue;
        sinter_value rounded = sinter_node_result(k->module, node, 0);
        const sinter_value_info *info = sinter_value_get(k->module, rounded);
        size_t count = info->uses.count;
        sinter_use *uses = sinter_arena_copy(&k->arena, info->uses.items, count * sizeof *uses);
        for (size_t u = 0; u < count; u++)
            if (uses[u].node < limit)
                sinter_rewrite_set_operand(&k->switches.rewrite, uses[u].node, uses[u].operand,
                                           sinter_node_operand(k->module, from, 0));
    }
}

static bool make_copy(keeper *k) {
    const sinter_pipeline_options options = {.stop_after = -1, .compression = k->compression};
    size_t changes;
    sinter_value *exact = SINTER_NEW_ARRAY(&k->arena, sinter_value, k->layers.count);
    for (size_t i = 0; i < k->layers.count; i++) exact[i] = k->layers.items[i].input;
    if (!sinter_pass_run(sinter_pass_find(sinter_string_of("quantize-activations")), k->module,
                         &options, &changes, k->diag))
        return false;
    uint32_t limit = sinter_module_node_limit(k->module);
    if (!sinter_switches_init(&k->switches, k->module, k->layers.count, k->compression, k->diag))
        return false;
    for (size_t i = 0; i < k->layers.count; i++) {
        sinter_node node = k->layers.items[i].node;
        sinter_value rounded = sinter_node_operand(k->module, node, 0);
        if (k->limits[i] <= 0 || rounded == exact[i]) continue;
        sinter_value blend = sinter_switches_blend(&k->switches, node, i, exact[i], rounded);
        if (!blend) return false;
        sinter_rewrite_set_operand(&k->switches.rewrite, node, 0, blend);
    }
    undo_others(k, limit);
    return true;
}

/* By layer: what its switch alone does; 0 where it has no limit. */
static bool measure(keeper *k, double *out_errors) {
    size_t count = k->layers.count, sets = 0;
    bool *on = SINTER_NEW_ARRAY(&k->arena, bool, count *count);
    double *changes = SINTER_NEW_ARRAY(&k->arena, double, count);
    for (size_t i = 0; i < count; i++)
        if (k->limits[i] > 0) on[sets++ * count + i] = true;
    if (!sinter_switches_measure(&k->switches, on, sets, MOST_SAMPLES, "seeing what matters",
                                 changes))
        return false;
    for (size_t i = 0, set = 0; i < count; i++)
        if (k->limits[i] > 0) out_errors[i] = changes[set++];
    return true;
}

bool sinter_keep_sensitive(sinter_module *module, const sinter_compression *compression,
                           sinter_recipe *recipe, sinter_diag *diag) {
    keeper k = {.compression = compression, .diag = diag};
    bool good = true;
    sinter_arena_init(&k.arena);
    k.module = sinter_module_clone(module);
    if (find_limits(&k, &good)) {
        double *errors = SINTER_NEW_ARRAY(&k.arena, double, k.layers.count);
        good = sinter_compression_has_data(compression, "keep", diag) && make_copy(&k) &&
               measure(&k, errors);
        for (size_t i = 0; i < k.layers.count && good; i++) {
            const char *name = k.layers.items[i].name;
            if (k.limits[i] <= 0 || errors[i] <= k.limits[i]) continue;
            good = sinter_recipe_set(recipe, name, "weights", "none", "keep", diag) &&
                   sinter_recipe_set(recipe, name, "activations", "none", "keep", diag);
        }
    }
    if (k.switches.module) sinter_switches_deinit(&k.switches);
    sinter_module_destroy(k.module);
    sinter_arena_deinit(&k.arena);
    return good;
}
