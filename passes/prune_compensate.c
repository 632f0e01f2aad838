/* Two replays side by side: of the dense model, which tells what ought to be, and of the one that is left.
 * Test: tests/passes/prune_channels/ */
#include "passes/prune_compensate.h"
#include "passes/layer_fit.h"
#include "passes/layer_pair.h"
#include "passes/quantized_weight.h"
#include "passes/replay.h"

#include <math.h>
#include <string.h>

/* What a layer computes with now, and the layer it is a pair with. */
typedef struct state {
    float *weights, *bias; /* NULL: as the layer's description says */
    size_t first;          /* of a pair that this is the second of, or NO_LAYER */
    bool waits;            /* is the first of a pair whose second one has not been solved */
} state;
#define NO_LAYER SIZE_MAX

typedef struct compensator {
    sinter_pass_context *context;
    const sinter_prune_kept *kept;
    sinter_module *dense;
    sinter_replay before, now;
    sinter_layer_list layers;
    sinter_layer_target *targets; /* by layer */
    state *states;                /* by layer */
    sinter_diag *diag;
} compensator;

static const sinter_solve_options options = {.ridge = 1e-3, .damping = 1e-3};

/* Which of so many channels of the layer's target stay, by their number in the dense model; NULL where all do. */
static const bool *find_kept(const compensator *c, const sinter_layer *layer, int64_t size) {
    const sinter_prune_kept *kept = c->kept ? &c->kept[layer->node] : NULL;
    return kept && kept->count == size ? kept->stays : NULL;
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
    const bool *kept = find_kept(c, layer, dense[0].dims[axis]);
    for (size_t run = 0; run < c->before.runs; run++)
        if (!kept)
            sinter_tensor_copy(&targets[run], &dense[run]);
        else if (!take_kept(&dense[run], axis, kept, &targets[run], c->diag))
            return NULL;
    return targets;
}

/* Holds what the layer reads now, what is added to its outputs, and what layers before it read that are to be solved again. */
static bool advance_to(compensator *c, size_t index, sinter_arena *scratch) {
    const sinter_layer *layer = &c->layers.items[index];
    const sinter_layer_target *target = &c->targets[index];
    sinter_value *wanted = SINTER_NEW_ARRAY(scratch, sinter_value, c->layers.count + 2);
    size_t count = 0;
    wanted[count++] = layer->input;
    if (target->sum)
        wanted[count++] = sinter_node_operand(c->context->module, target->sum, target->sum_operand);
    for (size_t i = 0; i < index; i++)
        if (c->states[i].waits) wanted[count++] = c->layers.items[i].input;
    return sinter_replay_advance(&c->now, layer->node, wanted, count, c->diag);
}

static sinter_layer_view view_of(const compensator *c, size_t index, const sinter_tensor *targets) {
    const sinter_layer_target *target = &c->targets[index];
    sinter_value offset =
        target->sum ? sinter_node_operand(c->context->module, target->sum, target->sum_operand) : 0;
    return (sinter_layer_view){.inputs = sinter_replay_find(&c->now, c->layers.items[index].input),
                               .targets = targets,
                               .offsets = offset ? sinter_replay_find(&c->now, offset) : NULL,
                               .masks = c->now.masks,
                               .runs = c->now.runs};
}

/* The layer's weights and bias, to be written, from those it has. A start that is solved further takes no bounds into account. */
static bool fit(compensator *c, size_t index, const sinter_layer_view *view, bool is_start,
                sinter_arena *scratch) {
    static const sinter_layer_recipe recipe = {.rounding = SINTER_ROUND_COMPENSATED, .clip = 1};
    const sinter_module *module = c->context->module;
    const sinter_layer *layer = &c->layers.items[index];
    const sinter_layer_target *target = &c->targets[index];
    sinter_layer_target aim = *target;
    if (is_start) aim.low = -INFINITY, aim.high = INFINITY;
    state *s = &c->states[index];
    sinter_moments moments;
    sinter_solution solution;
    sinter_moments_init(&moments, layer->groups, layer->reduction, layer->outputs / layer->groups,
                        scratch);
    if (!sinter_layer_measure(module, layer, view, &moments, c->diag)) return false;
    if (!sinter_moments_finish(&moments, target->has_bias))
        return sinter_error(c->diag, layer->name,
                            "what it reads or yields over the samples is not finite");
    if (!sinter_layer_fit_weights(module, layer, &aim, view, &recipe, &moments, s->weights,
                                  &options, &solution, scratch, c->diag))
        return false;
    memcpy(s->weights, solution.values,
           sizeof(float) * (size_t)(layer->outputs * layer->reduction));
    if (target->has_bias) memcpy(s->bias, solution.bias, sizeof(float) * (size_t)layer->outputs);
    return true;
}

static void read_state(compensator *c, size_t index) {
    const sinter_layer *layer = &c->layers.items[index];
    sinter_arena *arena = &c->context->scratch;
    state *s = &c->states[index];
    if (s->weights) return;
    s->weights = SINTER_NEW_ARRAY(arena, float, layer->outputs * layer->reduction);
    s->bias = SINTER_NEW_ARRAY(arena, float, layer->outputs);
    sinter_layer_read_matrix(layer, s->weights);
    sinter_layer_read_bias(c->context->module, layer, &c->targets[index], s->bias);
}

static bool write_state(compensator *c, size_t index) {
    const sinter_layer *layer = &c->layers.items[index];
    const sinter_layer_target *target = &c->targets[index];
    sinter_rewrite *rewrite = &c->context->rewrite;
    return sinter_layer_write_weights(rewrite, layer, c->states[index].weights) &&
           (!target->has_bias ||
            sinter_layer_write_bias(rewrite, layer, target, c->states[index].bias));
}

/* Both layers of a pair, and then the second one alone, over all samples again. */
static bool fit_pair(compensator *c, size_t index, const sinter_tensor *targets,
                     sinter_arena *scratch) {
    size_t before = c->states[index].first;
    const sinter_layer *layer = &c->layers.items[index], *earlier = &c->layers.items[before];
    read_state(c, before);
    const sinter_pair_member first = {earlier, &c->targets[before], c->states[before].weights,
                                      c->states[before].bias};
    const sinter_pair_member second = {layer, &c->targets[index], c->states[index].weights,
                                       c->states[index].bias};
    sinter_layer_view view = view_of(c, index, targets);
    if (!sinter_layer_pair_fit(c->context->module, &first, &second,
                               sinter_replay_find(&c->now, earlier->input), &view, c->diag) ||
        !write_state(c, before))
        return false;
    sinter_replay_forget(&c->now, layer->input);
    if (!advance_to(c, index, scratch)) return false;
    view = view_of(c, index, targets);
    return fit(c, index, &view, false, scratch);
}

static bool solve_layer(compensator *c, size_t index, sinter_arena *scratch) {
    const sinter_layer *layer = &c->layers.items[index];
    const sinter_layer_target *target = &c->targets[index];
    state *s = &c->states[index];
    sinter_node next = index + 1 < c->layers.count ? c->layers.items[index + 1].node : 0;
    if (!sinter_replay_advance(&c->before, next, &target->value, 1, c->diag) ||
        !advance_to(c, index, scratch))
        return false;
    sinter_tensor *targets = take_targets(c, layer, target->value, scratch);
    if (!targets) return false;
    read_state(c, index);
    sinter_layer_view view = view_of(c, index, targets);
    bool is_start = s->waits || s->first != NO_LAYER; /* the pair is solved further */
    view.few = is_start;
    bool good = fit(c, index, &view, is_start, scratch) &&
                (s->first == NO_LAYER || fit_pair(c, index, targets, scratch)) &&
                write_state(c, index);
    if (s->first != NO_LAYER) c->states[s->first].waits = false;
    sinter_tensors_deinit(targets, c->now.runs);
    return good;
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

/* Layers between which channels have gone are solved together. */
static void find_pairs(compensator *c, size_t start) {
    for (size_t i = 0; i < c->layers.count; i++) c->states[i].first = NO_LAYER;
    for (size_t i = start; i < c->layers.count; i++) {
        const sinter_layer *layer = &c->layers.items[i];
        sinter_value weights = sinter_node_operand(c->dense, layer->node, layer->operand);
        size_t first = 0;
        if (sinter_value_constant(c->dense, weights)->dims[layer->input_axis] ==
                layer->weights->dims[layer->input_axis] ||
            !sinter_layer_pair_find(c->context->module, &c->layers, c->targets, i, &first))
            continue;
        c->states[i].first = first;
        c->states[first].waits = true;
    }
}

bool sinter_prune_compensate(sinter_pass_context *context, const sinter_prune_kept *kept,
                             sinter_module *dense, sinter_node first) {
    compensator c = {.context = context,
                     .kept = kept,
                     .dense = dense,
                     .diag = context->rewrite.build.diag,
                     .layers = sinter_layer_find_all(context->module, &context->scratch)};
    c.targets = SINTER_NEW_ARRAY(&context->scratch, sinter_layer_target, c.layers.count);
    for (size_t i = 0; i < c.layers.count; i++)
        sinter_layer_find_target(context->module, &c.layers.items[i], &context->scratch,
                                 &c.targets[i]);
    size_t start = first_changed(&c, first);
    c.states = SINTER_NEW_ARRAY(&context->scratch, state, c.layers.count + 1);
    find_pairs(&c, start);
    sinter_replay_init(&c.before, dense, context->options->compression);
    sinter_replay_init(&c.now, context->module, context->options->compression);
    bool good = true;
    for (size_t i = start; i < c.layers.count && good; i++) {
        sinter_arena scratch;
        sinter_arena_init(&scratch);
        sinter_compression_progress(context->options->compression, "prune-channels",
                                    c.layers.count + i, 2 * c.layers.count);
        good = solve_layer(&c, i, &scratch);
        sinter_arena_deinit(&scratch);
    }
    sinter_replay_deinit(&c.now);
    sinter_replay_deinit(&c.before);
    return good;
}
