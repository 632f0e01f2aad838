/* One walk, many solutions. Test: tests/unit/sensitivity_test.c */
#include "passes/sensitivity.h"
#include "passes/layer_moments.h"
#include "passes/layer_target.h"
#include "passes/quantized_weight.h"
#include "passes/replay.h"
#include "passes/solve.h"

typedef struct walk {
    sinter_module *module;
    const sinter_layer_recipe *recipes;
    size_t count;
    const sinter_sensitivity_sink *sink;
    sinter_layer_list layers;
    sinter_replay replay;
    sinter_diag *diag;
} walk;

bool sinter_sensitivity_applies(const sinter_layer_recipe *recipe) {
    return recipe->grid != SINTER_WEIGHT_GRID_NONE && recipe->pattern != SINTER_PRUNE_CHANNELS;
}

static bool is_wanted(const walk *w, size_t layer, size_t recipe) {
    return sinter_sensitivity_applies(&w->recipes[layer * w->count + recipe]) &&
           w->sink->wants(w->sink->user, layer, recipe);
}

static bool is_needed(const walk *w, size_t layer) {
    for (size_t i = 0; i < w->count; i++)
        if (is_wanted(w, layer, i)) return true;
    return false;
}

static double stored_bytes(const sinter_layer *layer, const sinter_layer_recipe *recipe) {
    sinter_dtype storage = sinter_grid_get_levels(recipe).storage;
    double bits = (double)sinter_dtype_infos[storage].bits;
    double bytes = (double)(layer->outputs * layer->reduction) * bits / 8;
    bool has_scales = recipe->grid != SINTER_WEIGHT_GRID_FLOAT || bits <= 8;
    sinter_scale_shape shape = sinter_scale_shape_of(layer, recipe);
    double scales = has_scales ? (double)(shape.rows * shape.columns) : 0;
    return bytes + scales * (double)sizeof(float) + (recipe->asymmetric ? scales * bits / 8 : 0);
}

/* What the layer reads and yields as it is. */
static bool measure(walk *w, const sinter_layer *layer, sinter_node next, sinter_moments *moments) {
    sinter_layer_target target;
    sinter_layer_view view = {.masks = w->replay.masks, .runs = w->replay.runs};
    sinter_layer_find_target(w->module, layer, &w->replay.arena, &target);
    sinter_value wanted[3] = {layer->input, target.value, 0};
    if (target.sum) wanted[2] = sinter_node_operand(w->module, target.sum, target.sum_operand);
    if (!sinter_replay_advance(&w->replay, next, wanted, target.sum ? 3 : 2, w->diag)) return false;
    view.inputs = sinter_replay_find(&w->replay, wanted[0]);
    view.targets = sinter_replay_find(&w->replay, wanted[1]);
    view.offsets = target.sum ? sinter_replay_find(&w->replay, wanted[2]) : NULL;
    if (!sinter_layer_measure(w->module, layer, &view, moments, w->diag)) return false;
    return sinter_moments_finish(moments, target.has_bias) ||
           sinter_error(w->diag, layer->name,
                        "what it reads or yields over the samples is not finite");
}

static bool solve_layer(walk *w, size_t index, sinter_node next, sinter_arena *arena) {
    const sinter_layer *layer = &w->layers.items[index];
    sinter_moments moments;
    float *weights = SINTER_NEW_ARRAY(arena, float, layer->outputs * layer->reduction);
    sinter_layer_read_matrix(layer, weights);
    sinter_moments_init(&moments, layer->groups, layer->reduction, layer->outputs / layer->groups,
                        arena);
    if (!measure(w, layer, next, &moments)) return false;
    for (size_t i = 0; i < w->count; i++) {
        const sinter_layer_recipe *recipe = &w->recipes[index * w->count + i];
        sinter_solution solution;
        if (!is_wanted(w, index, i) || !sinter_solve_weights(recipe, &moments, weights, NULL,
                                                             &solution, arena, layer->name, NULL))
            continue;
        sinter_sensitivity found = {solution.error, stored_bytes(layer, recipe)};
        if (!w->sink->take(w->sink->user, index, i, &found)) return false;
    }
    return true;
}

static bool solve_all(walk *w) {
    for (size_t i = 0; i < w->layers.count; i++) {
        if (!is_needed(w, i)) continue;
        if (!w->sink->goes_on(w->sink->user, i)) return true;
        sinter_node next = 0; /* up to which all that lies before has run then */
        for (size_t k = i + 1; k < w->layers.count && !next; k++)
            if (is_needed(w, k)) next = w->layers.items[k].node;
        sinter_arena arena;
        sinter_arena_init(&arena);
        bool good = solve_layer(w, i, next, &arena);
        sinter_arena_deinit(&arena);
        if (!good) return false;
    }
    return true;
}

bool sinter_sensitivity_measure(sinter_module *module, const sinter_compression *compression,
                                const sinter_layer_recipe *recipes, size_t count,
                                const sinter_sensitivity_sink *sink, sinter_diag *diag) {
    walk w = {.module = module, .recipes = recipes, .count = count, .sink = sink, .diag = diag};
    if (!sinter_compression_has_data(compression, "sensitivity", diag) || !sinter_blas_begin(diag))
        return false;
    sinter_arena arena;
    sinter_arena_init(&arena);
    w.layers = sinter_layer_find_all(module, &arena);
    sinter_replay_init(&w.replay, module, compression);
    bool good = solve_all(&w);
    sinter_replay_deinit(&w.replay);
    sinter_arena_deinit(&arena);
    sinter_blas_end();
    return good;
}
