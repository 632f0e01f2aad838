/* Rounds and prunes the weights of layers so that what the model yields over samples stays what it was: layer by layer, in order,
 * each solved (passes/solve.h) from what it reads in the model as compressed so far, rounded activations included, to what it
 * yields in the model without any rounding. Where a layer's output is added to something that has been computed, the sum is what
 * ought to be right, so that errors so far are made up for. With rounding=nearest weights are only cut by their score and
 * rounded. Needs: layers exposed, activations quantized where the recipe says so; a runner and samples. Guarantees:
 * recipe and samples decide about every byte. Test: tests/passes/compress_weights/ */
#include "passes/layer_fit.h"
#include "passes/pass.h"
#include "passes/quantized_weight.h"
#include "passes/replay.h"

#include <math.h>

/* A layer that this pass works on, and where its outputs go. */
typedef struct job {
    sinter_layer layer;
    sinter_layer_recipe recipe;
    bool needs_data;
    sinter_layer_target target;
} job;

typedef struct compressor {
    sinter_pass_context *context;
    sinter_diag *diag;
    sinter_module
        *dense; /* as it was, without rounded activations; the ids are those of the module */
    sinter_replay before, now; /* of dense and of the module */
    SINTER_VECTOR(job) jobs;
} compressor;

/* ---- which layers ---- */

static bool is_mine(const sinter_layer_recipe *recipe) {
    bool rounds = recipe->grid != SINTER_WEIGHT_GRID_NONE;
    return sinter_layer_recipe_masks(recipe) || (rounds && sinter_layer_recipe_compensates(recipe));
}

static bool wants_data(const sinter_layer_recipe *recipe) {
    return sinter_layer_recipe_compensates(recipe) || recipe->score == SINTER_SCORE_ACTIVATION ||
           recipe->score == SINTER_SCORE_SECOND_ORDER;
}

static bool find_jobs(compressor *c) {
    sinter_pass_context *context = c->context;
    sinter_layer_list layers = sinter_layer_find_all(context->module, &context->scratch);
    for (size_t i = 0; i < layers.count; i++) {
        job one = {.layer = layers.items[i]};
        if (!sinter_recipe_find(context->options->compression->recipe, one.layer.name, &one.recipe,
                                c->diag))
            return false;
        if (!is_mine(&one.recipe)) continue;
        one.needs_data = wants_data(&one.recipe);
        sinter_vector_push(&context->scratch, &c->jobs, one);
    }
    return true;
}

/* ---- the model as it was ---- */

/* What a reshape reads; another value itself. */
static sinter_value before_reshape(const sinter_module *module, sinter_value value) {
    sinter_node node = sinter_value_definition(module, value);
    return sinter_node_op(module, node) == SINTER_OP_reshape ? sinter_node_operand(module, node, 0)
                                                             : value;
}

/* x where the node is dequantize_linear(quantize_linear(x)), of any sort; 0 where it is something else. */
static sinter_value rounded_value(const sinter_module *module, sinter_node node) {
    if (sinter_node_op(module, node) != SINTER_OP_dequantize_linear) return 0;
    bool in_blocks = sinter_node_get_int(module, node, "block_size", 0) > 0;
    sinter_value integers = sinter_node_operand(module, node, 0);
    if (in_blocks) integers = before_reshape(module, integers);
    sinter_node quantizer = sinter_value_definition(module, integers);
    if (in_blocks && sinter_node_op(module, quantizer) == SINTER_OP_quantize_linear)
        return before_reshape(module, sinter_node_operand(module, quantizer, 0));
    sinter_op op = sinter_node_op(module, quantizer);
    bool quantizes = op == SINTER_OP_quantize_linear || op == SINTER_OP_dynamic_quantize_linear;
    return quantizes ? sinter_node_operand(module, quantizer, 0) : 0;
}

static void clone_without_rounding(compressor *c) {
    c->dense = sinter_module_clone(c->context->module);
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, c->dense, c->diag);
    SINTER_FOR_NODES (c->dense, sinter_module_main(c->dense), node) {
        sinter_value exact = rounded_value(c->dense, node);
        sinter_value result = sinter_node_result(c->dense, node, 0);
        if (!exact || !sinter_rewrite_fits(&rewrite, result, exact)) continue;
        sinter_rewrite_at(&rewrite, node);
        sinter_rewrite_replace(&rewrite, result, exact);
    }
}

/* ---- one layer ---- */

static bool write_solution(compressor *c, const job *j, const sinter_solution *s, bool with_bias) {
    sinter_rewrite *rewrite = &c->context->rewrite;
    bool good = s->levels ? sinter_quantized_weight_write(rewrite, &j->layer, &j->recipe, s->levels,
                                                          s->scales, s->zeros)
                          : sinter_layer_write_weights(rewrite, &j->layer, s->values);
    return good && (!with_bias || sinter_layer_write_bias(rewrite, &j->layer, &j->target, s->bias));
}

/* What the layer reads now, and yielded before. */
static bool look(compressor *c, job *j, sinter_layer_view *out_view) {
    sinter_module *module = c->context->module;
    sinter_value wanted[2] = {j->layer.input, 0};
    if (j->target.sum)
        wanted[1] = sinter_node_operand(module, j->target.sum, j->target.sum_operand);
    if (!sinter_replay_advance(&c->now, j->layer.node, wanted, j->target.sum ? 2 : 1, c->diag))
        return false;
    *out_view = (sinter_layer_view){
        .inputs = sinter_replay_find(&c->now, wanted[0]),
        .targets = sinter_replay_find(&c->before, j->target.value),
        .offsets = j->target.sum ? sinter_replay_find(&c->now, wanted[1]) : NULL,
        .masks = c->now.masks,
        .runs = c->now.runs};
    return true;
}

static bool finish(compressor *c, job *j, sinter_moments *moments) {
    return sinter_moments_finish(moments, j->target.has_bias) ||
           sinter_error(c->diag, j->layer.name,
                        "what it reads or yields over the samples is not finite");
}

/* Moments from what the layer reads now to what it yielded before. Where rows are few, how far they are to be followed is seen
 * from halves of them. */
static bool measure(compressor *c, job *j, const sinter_layer_view *view, const float *weights,
                    sinter_moments *moments, sinter_solve_options *options, sinter_arena *arena) {
    const sinter_module *module = c->context->module;
    const sinter_layer *layer = &j->layer;
    int64_t outputs = layer->outputs / layer->groups;
    int64_t rows = sinter_layer_count_rows(module, layer, view);
    sinter_moments_init(moments, layer->groups, layer->reduction, outputs, arena);
    if (rows < 2 || rows >= SINTER_SOLVE_FEW_ROWS * layer->reduction)
        return sinter_layer_measure(module, layer, view, moments, c->diag) && finish(c, j, moments);
    sinter_moments halves[2];
    for (int i = 0; i < 2; i++)
        sinter_moments_init(&halves[i], layer->groups, layer->reduction, outputs, arena);
    if (!sinter_layer_measure_halves(module, layer, view, halves, c->diag)) return false;
    bool has_both = true; /* one sample is in one half */
    for (int i = 0; i < 2; i++) {
        sinter_moments_merge(moments, &halves[i]);
        has_both = has_both && halves[i].rows[0] > 0;
    }
    options->ridge = HUGE_VAL;
    if (!finish(c, j, moments)) return false;
    if (!has_both) return true; /* and nothing tells whether another sample is like it */
    if (!finish(c, j, &halves[0]) || !finish(c, j, &halves[1])) return false;
    options->ridge = sinter_solve_choose_ridge(halves, weights);
    return true;
}

static bool solve_job(compressor *c, job *j, sinter_node next, sinter_arena *arena) {
    const sinter_layer *layer = &j->layer;
    sinter_moments moments = {.groups = layer->groups,
                              .inputs = layer->reduction,
                              .outputs = layer->outputs / layer->groups};
    sinter_layer_view view;
    sinter_solution solution;
    sinter_solve_options options = sinter_solve_defaults;
    options.with_error = false;
    float *weights = SINTER_NEW_ARRAY(arena, float, layer->outputs * layer->reduction);
    sinter_layer_read_matrix(layer, weights);
    if (j->needs_data &&
        (!sinter_replay_advance(&c->before, next, &j->target.value, 1, c->diag) ||
         !look(c, j, &view) || !measure(c, j, &view, weights, &moments, &options, arena)))
        return false;
    bool compensates = sinter_layer_recipe_compensates(&j->recipe);
    return sinter_layer_fit_weights(c->context->module, layer, &j->target,
                                    j->needs_data ? &view : NULL, &j->recipe, &moments, weights,
                                    &options, &solution, arena, c->diag) &&
           write_solution(c, j, &solution, compensates && j->target.has_bias);
}

static void solve_all(compressor *c) {
    const sinter_compression *compression = c->context->options->compression;
    for (size_t i = 0; i < c->jobs.count; i++) {
        sinter_compression_progress(compression, "compress-weights", i, c->jobs.count);
        sinter_node next = 0; /* the next layer that data is needed for */
        for (size_t k = i + 1; k < c->jobs.count && !next; k++)
            if (c->jobs.items[k].needs_data) next = c->jobs.items[k].layer.node;
        sinter_arena arena;
        sinter_arena_init(&arena);
        bool good = solve_job(c, &c->jobs.items[i], next, &arena);
        sinter_arena_deinit(&arena);
        if (!good) return;
    }
    sinter_compression_progress(compression, "compress-weights", c->jobs.count, c->jobs.count);
}

static void solve_with_data(compressor *c) {
    clone_without_rounding(c);
    for (size_t i = 0; i < c->jobs.count; i++) {
        job *j = &c->jobs.items[i];
        sinter_layer_find_target(c->dense, &j->layer, &c->context->scratch, &j->target);
    }
    sinter_replay_init(&c->before, c->dense, c->context->options->compression);
    sinter_replay_init(&c->now, c->context->module, c->context->options->compression);
    solve_all(c);
    sinter_replay_deinit(&c->now);
    sinter_replay_deinit(&c->before);
    sinter_module_destroy(c->dense);
}

void sinter_pass_compress_weights(sinter_pass_context *context) {
    compressor c = {.context = context, .diag = context->rewrite.build.diag};
    if (!context->options->compression || !context->options->compression->recipe ||
        !find_jobs(&c) || !c.jobs.count)
        return;
    const char *needy = NULL;
    for (size_t i = 0; i < c.jobs.count && !needy; i++)
        if (c.jobs.items[i].needs_data) needy = c.jobs.items[i].layer.name;
    if (!needy) {
        solve_all(&c);
        return;
    }
    char *what = sinter_arena_format(&context->scratch, "layer '%s': compensation", needy);
    if (!sinter_compression_has_data(context->options->compression, what, c.diag)) return;
    if (!sinter_blas_begin(c.diag)) return;
    solve_with_data(&c);
    sinter_blas_end();
}
