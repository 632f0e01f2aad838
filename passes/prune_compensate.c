/* Two replays side by side: of the dense model, which tells what ought to be, and of the one that is left.
 * Test: tests/passes/prune_channels/ */
#include "passes/prune_compensate.h"
#include "passes/layer_fit.h"
#include "passes/quantized_weight.h"
#include "passes/replay.h"

#include <string.h>

typedef struct compensator {
    sinter_pass_context *context;
    const sinter_prune_graph *graph;
    sinter_module *dense;
    sinter_replay before, now;
    sinter_layer_list layers;
    sinter_layer_target *targets;
    sinter_diag *diag;
} compensator;

static const sinter_solve_options options = {.ridge = 1e-3, .damping = 1e-3};

/* Which channels of the layer's target stay, by their number in the dense model; NULL where all do. */
static bool *find_kept(const compensator *c, sinter_value value, uint32_t axis, int64_t size,
                       sinter_arena *scratch) {
    if (!c->graph) return NULL;
    const sinter_prune_axis *a = &c->graph->axes.items[c->graph->axes_of_value[value] + axis];
    bool *kept = SINTER_NEW_ARRAY(scratch, bool, size), any = false;
    for (int64_t i = 0; i < size; i++) {
        int32_t unit = c->graph->units[a->first + (size_t)i];
        kept[i] = unit == SINTER_PRUNE_NO_UNIT || !c->graph->removed[unit];
        any = any || !kept[i];
    }
    return any ? kept : NULL;
}

/* The channels that stay of a tensor of floats. */
static bool take_kept(const sinter_tensor *from, uint32_t axis, const bool *kept,
                      sinter_tensor *out, sinter_diag *diag) {
    int64_t dims[SINTER_MAX_RANK], outer = 1, inner = 1, left = 0;
    for (uint32_t i = 0; i < from->rank; i++) {
        dims[i] = from->dims[i];
        outer *= i < axis ? dims[i] : 1;
        inner *= i > axis ? dims[i] : 1;
    }
    for (int64_t i = 0; i < from->dims[axis]; i++) left += kept[i];
    dims[axis] = left;
    if (!sinter_tensor_create(out, SINTER_DTYPE_f32, from->rank, dims, diag)) return false;
    const float *source = from->data;
    float *target = sinter_tensor_mutable(out);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < from->dims[axis]; i++, source += inner) {
            if (!kept[i]) continue;
            memcpy(target, source, sizeof *target * (size_t)inner);
            target += inner;
        }
    return true;
}

/* What the layer ought to yield, in the channels that it still has. */
static sinter_tensor *take_targets(compensator *c, const sinter_layer *layer, sinter_value value,
                                   sinter_arena *scratch) {
    const sinter_tensor *dense = sinter_replay_find(&c->before, value);
    sinter_tensor *targets = SINTER_NEW_ARRAY(scratch, sinter_tensor, c->before.runs);
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(c->dense, layer->node))->pattern;
    uint32_t axis = pattern == SINTER_PATTERN_WINDOW ? 1 : dense[0].rank - 1;
    bool *kept = find_kept(c, value, axis, dense[0].dims[axis], scratch);
    for (size_t run = 0; run < c->before.runs; run++)
        if (!kept)
            sinter_tensor_copy(&targets[run], &dense[run]);
        else if (!take_kept(&dense[run], axis, kept, &targets[run], c->diag))
            return NULL;
    return targets;
}

/* What it reads now, and ought to yield. The targets are to be given back. */
static bool look(compensator *c, const sinter_layer *layer, const sinter_layer_target *target,
                 sinter_layer_view *out_view, sinter_tensor **out_targets, sinter_arena *scratch) {
    sinter_value wanted[2] = {layer->input, 0};
    if (target->sum)
        wanted[1] = sinter_node_operand(c->context->module, target->sum, target->sum_operand);
    if (!sinter_replay_advance(&c->now, layer->node, wanted, target->sum ? 2 : 1, c->diag))
        return false;
    *out_targets = take_targets(c, layer, target->value, scratch);
    *out_view =
        (sinter_layer_view){.inputs = sinter_replay_find(&c->now, wanted[0]),
                            .targets = *out_targets,
                            .offsets = target->sum ? sinter_replay_find(&c->now, wanted[1]) : NULL,
                            .masks = c->now.masks,
                            .runs = c->now.runs};
    return *out_targets != NULL;
}

static bool fit(compensator *c, const sinter_layer *layer, const sinter_layer_target *target,
                sinter_solution *out_solution, sinter_arena *scratch) {
    static const sinter_layer_recipe recipe = {.rounding = SINTER_ROUND_COMPENSATED, .clip = 1};
    const sinter_module *module = c->context->module;
    sinter_layer_view view;
    sinter_moments moments;
    sinter_tensor *targets;
    float *weights = SINTER_NEW_ARRAY(scratch, float, layer->outputs * layer->reduction);
    if (!look(c, layer, target, &view, &targets, scratch)) return false;
    sinter_layer_read_matrix(layer, weights);
    sinter_moments_init(&moments, layer->groups, layer->reduction, layer->outputs / layer->groups,
                        scratch);
    bool good = sinter_layer_measure(module, layer, &view, &moments, c->diag);
    if (good && !sinter_moments_finish(&moments, target->has_bias))
        good = sinter_error(c->diag, layer->name,
                            "what it reads or yields over the samples is not finite");
    good = good && sinter_layer_fit_weights(module, layer, target, &view, &recipe, &moments,
                                            weights, &options, out_solution, scratch, c->diag);
    sinter_tensors_deinit(targets, c->now.runs);
    return good;
}

static bool solve_layer(compensator *c, size_t index, sinter_arena *scratch) {
    const sinter_layer *layer = &c->layers.items[index];
    const sinter_layer_target *target = &c->targets[index];
    sinter_rewrite *rewrite = &c->context->rewrite;
    sinter_node next = index + 1 < c->layers.count ? c->layers.items[index + 1].node : 0;
    sinter_solution solution;
    return sinter_replay_advance(&c->before, next, &target->value, 1, c->diag) &&
           fit(c, layer, target, &solution, scratch) &&
           sinter_layer_write_weights(rewrite, layer, solution.values) &&
           (!target->has_bias || sinter_layer_write_bias(rewrite, layer, target, solution.bias));
}

/* Layers up to the first one that reads less, or something else, than it did are as they were. */
static size_t first_changed(const compensator *c, sinter_node first) {
    size_t i = 0;
    for (; i < c->layers.count; i++) {
        const sinter_layer *l = &c->layers.items[i];
        if (first && l->node == first) return i;
        if (first) continue;
        sinter_value weights = sinter_node_operand(c->dense, l->node, l->operand);
        if (sinter_value_constant(c->dense, weights)->dims[l->input_axis] !=
            l->weights->dims[l->input_axis])
            return i;
    }
    return i;
}

bool sinter_prune_compensate(sinter_pass_context *context, const sinter_prune_graph *graph,
                             sinter_module *dense, sinter_node first) {
    compensator c = {.context = context,
                     .graph = graph,
                     .dense = dense,
                     .diag = context->rewrite.build.diag,
                     .layers = sinter_layer_find_all(context->module, &context->scratch)};
    c.targets = SINTER_NEW_ARRAY(&context->scratch, sinter_layer_target, c.layers.count);
    for (size_t i = 0; i < c.layers.count; i++)
        sinter_layer_find_target(context->module, &c.layers.items[i], &context->scratch,
                                 &c.targets[i]);
    sinter_replay_init(&c.before, dense, context->compression);
    sinter_replay_init(&c.now, context->module, context->compression);
    bool good = true;
    for (size_t i = first_changed(&c, first); i < c.layers.count && good; i++) {
        sinter_arena scratch;
        sinter_arena_init(&scratch);
        sinter_compression_progress(context->compression, "prune-channels", c.layers.count + i,
                                    2 * c.layers.count);
        good = solve_layer(&c, i, &scratch);
        sinter_arena_deinit(&scratch);
    }
    sinter_replay_deinit(&c.now);
    sinter_replay_deinit(&c.before);
    return good;
}
