/* The copy with switches: layers read x + switch * (rounded x - x), switches are a vector that becomes an input.
 * Test: tests/cli/compress_keep.test */
#include "passes/keep.h"
#include "passes/layer.h"
#include "passes/pass.h"

#include <math.h>
#include <string.h>

enum { MOST_SAMPLES = 16 };

typedef struct keeper {
    const sinter_compression *compression;
    sinter_module *module; /* the copy */
    sinter_rewrite rewrite;
    sinter_layer_list layers;
    double *limits;        /* by layer: keep, 0 where it has none */
    sinter_value switches; /* f32[layers] */
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

static bool add_switches(keeper *k) {
    int64_t count = (int64_t)k->layers.count;
    sinter_tensor zeros;
    if (!sinter_tensor_create(&zeros, SINTER_DTYPE_f32, 1, &count, k->diag)) return false;
    memset(sinter_tensor_mutable(&zeros), 0, sizeof(float) * (size_t)count);
    sinter_rewrite_at(&k->rewrite,
                      sinter_region_get(k->module, sinter_module_main(k->module))->first);
    k->rewrite.build.location = NULL;
    k->switches = sinter_build_constant(&k->rewrite.build, zeros);
    return k->switches != 0;
}

/* What a layer reads, rounded as far as its switch says. */
static bool blend(keeper *k, size_t index, sinter_value exact, sinter_value rounded) {
    sinter_builder *build = &k->rewrite.build;
    sinter_node node = k->layers.items[index].node;
    sinter_rewrite_at(&k->rewrite, node);
    build->location = NULL;
    sinter_value which[2] = {k->switches, sinter_build_int(build, (int64_t)index)};
    sinter_value share = which[1] ? sinter_build(build, SINTER_OP_gather, which, 2, NULL, 0) : 0;
    sinter_value error = sinter_build_binary(build, SINTER_OP_sub, rounded, exact);
    if (!share || !error) return false;
    error = sinter_build_binary(build, SINTER_OP_mul, error, share);
    sinter_value sum = error ? sinter_build_binary(build, SINTER_OP_add, exact, error) : 0;
    if (!sum) return false;
    sinter_rewrite_set_operand(&k->rewrite, node, 0, sum);
    return true;
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
    if (!add_switches(k)) return false;
    for (size_t i = 0; i < k->layers.count; i++) {
        sinter_value rounded = sinter_node_operand(k->module, k->layers.items[i].node, 0);
        if (k->limits[i] > 0 && rounded != exact[i] && !blend(k, i, exact[i], rounded))
            return false;
    }
    /* nothing else is rounded */
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
                sinter_rewrite_set_operand(&k->rewrite, uses[u].node, uses[u].operand,
                                           sinter_node_operand(k->module, from, 0));
    }
    return true;
}

/* ---- what each switch does ---- */

typedef struct trial {
    double difference, sum, square;
    int64_t count;
} trial;

/* The larger the outputs' change the larger: of several outputs that of the one that changes most. */
static double error_of(const trial *trials, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        double mean = trials[i].count ? trials[i].sum / (double)trials[i].count : 0;
        double spread = trials[i].square - mean * trials[i].sum;
        double share = spread > 0 ? trials[i].difference / spread : 0;
        if (isnan(share) || share > most) most = isnan(share) ? HUGE_VAL : share;
    }
    return most;
}

static void compare(trial *t, const sinter_tensor *now, const sinter_tensor *before) {
    if (now->dtype != SINTER_DTYPE_f32) return;
    for (int64_t i = 0; i < sinter_tensor_count(now); i++) {
        double a = (double)((const float *)now->data)[i],
               b = (double)((const float *)before->data)[i];
        t->difference += (a - b) * (a - b);
        t->sum += b;
        t->square += b * b;
        t->count++;
    }
}

/* Adds to trials[layers, outputs] what a run of samples says. */
static bool try_run(keeper *k, void *program, sinter_tensor *inputs, size_t in, size_t out,
                    trial *trials) {
    const sinter_runner *runner = k->compression->runner;
    sinter_tensor *before = SINTER_NEW_ARRAY(&k->arena, sinter_tensor, out);
    sinter_tensor *now = SINTER_NEW_ARRAY(&k->arena, sinter_tensor, out);
    float *switches = sinter_tensor_mutable(&inputs[in]);
    if (!runner->run(runner->user, program, inputs, before, k->diag)) return false;
    bool good = true;
    for (size_t i = 0; i < k->layers.count && good; i++) {
        if (k->limits[i] <= 0) continue;
        switches[i] = 1;
        good = runner->run(runner->user, program, inputs, now, k->diag);
        switches[i] = 0;
        for (size_t o = 0; o < out && good; o++) {
            compare(&trials[i * out + o], &now[o], &before[o]);
            sinter_tensor_deinit(&now[o]);
        }
    }
    for (size_t o = 0; o < out; o++) sinter_tensor_deinit(&before[o]);
    return good;
}

static bool try_all(keeper *k, void *program, size_t in, size_t out, trial *trials) {
    const sinter_samples *samples = k->compression->samples;
    sinter_tensor *inputs = SINTER_NEW_ARRAY(&k->arena, sinter_tensor, in + 1);
    int64_t count = (int64_t)k->layers.count;
    bool good = sinter_tensor_create(&inputs[in], SINTER_DTYPE_f32, 1, &count, k->diag);
    if (!good) return false;
    memset(sinter_tensor_mutable(&inputs[in]), 0, sizeof(float) * (size_t)count);
    size_t runs = sinter_samples_run_count(samples), seen = 0;
    for (size_t run = 0; run < runs && seen < MOST_SAMPLES && good; run++) {
        seen += sinter_samples_run_size(samples, run);
        sinter_compression_progress(k->compression, "seeing what matters", run, runs);
        sinter_samples_run_inputs(samples, run, inputs);
        good = try_run(k, program, inputs, in, out, trials);
        for (size_t i = 0; i < in; i++) sinter_tensor_deinit(&inputs[i]);
    }
    sinter_tensor_deinit(&inputs[in]);
    return good;
}

static bool measure(keeper *k, double *out_errors) {
    const sinter_runner *runner = k->compression->runner;
    uint32_t in = sinter_module_input_count(k->module), out = sinter_module_output_count(k->module);
    sinter_value *sources = SINTER_NEW_ARRAY(&k->arena, sinter_value, in + 1);
    sinter_value *targets = SINTER_NEW_ARRAY(&k->arena, sinter_value, out);
    for (uint32_t i = 0; i < in; i++) sources[i] = sinter_module_input(k->module, i);
    sources[in] = k->switches;
    for (uint32_t i = 0; i < out; i++) targets[i] = sinter_module_output(k->module, i);
    sinter_module *part = sinter_module_extract(k->module, sources, in + 1, targets, out, k->diag);
    void *program = part ? runner->open(runner->user, part, k->diag) : NULL;
    trial *trials = SINTER_NEW_ARRAY(&k->arena, trial, k->layers.count * out);
    bool good = program && try_all(k, program, in, out, trials);
    runner->close(runner->user, program);
    for (size_t i = 0; i < k->layers.count && good; i++)
        out_errors[i] = error_of(trials + i * out, out);
    return good;
}

bool sinter_keep_sensitive(sinter_module *module, const sinter_compression *compression,
                           sinter_recipe *recipe, sinter_diag *diag) {
    keeper k = {.compression = compression, .diag = diag};
    bool good = true;
    sinter_arena_init(&k.arena);
    k.module = sinter_module_clone(module);
    sinter_rewrite_begin(&k.rewrite, k.module, diag);
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
    sinter_module_destroy(k.module);
    sinter_arena_deinit(&k.arena);
    return good;
}
