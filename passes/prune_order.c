/* Costs of units. A reader keeps the inverse of its moments and its weights as they are after what has gone so far was made up
 * for; removing columns S of weights w costs sum_o w_oS ((H^-1)_SS)^-1 w_oS^T, times what such
 * an error means for the outputs of the model, which is seen once for each reader. The gates of a recurrent layer are readers of what it reads, and of its state, whose second
 * moments are taken from what it yields, a step later. Test: tests/passes/prune_channels/ */
#include "passes/prune_order.h"
#include "ir/random.h"
#include "passes/layer_moments.h"
#include "passes/layer_target.h"
#include "passes/quantized_weight.h"
#include "passes/replay.h"
#include "passes/switches.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- by weights ---- */

static void add_scores(sinter_prune_graph *graph, const sinter_prune_constant *c, bool squares,
                       double *scores) {
    int64_t at[SINTER_MAX_RANK] = {0};
    for (int64_t i = 0, count = sinter_tensor_count(c->tensor); i < count; i++) {
        double w = sinter_tensor_get_double(c->tensor, i), size = squares ? w * w : fabs(w);
        for (uint32_t axis = 0; axis < c->tensor->rank; axis++) {
            const sinter_prune_axis *a = &graph->axes.items[c->axes + axis];
            int32_t unit =
                a->size ? graph->units[a->first + (size_t)at[axis]] : SINTER_PRUNE_NO_UNIT;
            if (unit != SINTER_PRUNE_NO_UNIT) scores[unit] += size;
        }
        for (uint32_t axis = c->tensor->rank; axis-- > 0;) {
            if (++at[axis] < c->tensor->dims[axis]) break;
            at[axis] = 0;
        }
    }
}

static int compare_ranked(const void *a, const void *b) {
    const sinter_prune_ranked *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->unit < y->unit ? -1 : 1;
}

void sinter_prune_rank(sinter_prune_ranked *units, size_t count) {
    qsort(units, count, sizeof *units, compare_ranked);
}

void sinter_prune_order_by_weights(sinter_prune_order *order, sinter_prune_graph *graph,
                                   sinter_prune_score score, uint64_t seed, sinter_arena *arena) {
    size_t units = (size_t)graph->unit_count;
    *order = (sinter_prune_order){
        .graph = graph, .arena = arena, .costs = SINTER_NEW_ARRAY(arena, double, units + 1)};
    double *scores = SINTER_NEW_ARRAY(arena, double, units + 1);
    for (size_t i = 0; i < graph->constants.count; i++)
        if (sinter_dtype_is_float(graph->constants.items[i].tensor->dtype))
            add_scores(graph, &graph->constants.items[i], score == SINTER_SCORE_SQUARE, scores);
    sinter_prune_ranked *list = SINTER_NEW_ARRAY(arena, sinter_prune_ranked, units + 1);
    for (size_t u = 0; u < units; u++) {
        double number =
            score == SINTER_SCORE_RANDOM ? sinter_random_uniform(seed, u, true) : scores[u];
        list[u] = (sinter_prune_ranked){graph->groups[u], (int32_t)u, number};
    }
    sinter_prune_rank(list, units);
    for (size_t first = 0, end; first < units; first = end) {
        for (end = first; end < units && list[end].group == list[first].group;) end++;
        for (size_t i = first; i < end; i++)
            order->costs[list[i].unit] = (double)(i - first + 1) / (double)(end - first);
    }
}

/* ---- by error ---- */

struct sinter_prune_reader {
    sinter_layer layer;
    sinter_layer_target target;
    int64_t inputs, outputs, taps; /* taps: columns of a channel */
    const int32_t *units;          /* by input channel */
    const int32_t *output_units;   /* by output; NULL: all stay */
    double *inverse;               /* [inputs, inputs] */
    double *weights;               /* [outputs, inputs] */
    double *costs; /* by input channel: that of its unit, at the first of its channels */
    double weight; /* of the squared error of its outputs */
    float *
        probe; /* [outputs, inputs]: weights as they may become; what they do to the outputs of the model gives the weight */
    double probe_error; /* what they do to the layer's own */
};

/* The channels of a unit in a reader, as a list of columns. */
static int64_t list_columns(const sinter_prune_reader *r, int32_t unit, int64_t *out) {
    int64_t count = 0;
    for (int64_t c = 0; c < r->inputs / r->taps; c++)
        for (int64_t t = 0; r->units[c] == unit && t < r->taps; t++) out[count++] = c * r->taps + t;
    return count;
}

static bool output_stays(const sinter_prune_order *order, const sinter_prune_reader *r, int64_t o) {
    int32_t unit = r->output_units ? r->output_units[o] : SINTER_PRUNE_NO_UNIT;
    return unit == SINTER_PRUNE_NO_UNIT || !order->graph->removed[unit];
}

/* ((H^-1)_SS)^-1; false where it cannot be inverted. */
static bool invert_block(const sinter_prune_reader *r, const int64_t *columns, int64_t count,
                         double *out) {
    for (int64_t i = 0; i < count; i++)
        for (int64_t j = 0; j < count; j++)
            out[i * count + j] = r->inverse[columns[i] * r->inputs + columns[j]];
    return sinter_blas_invert_f64(count, out);
}

static double cost_in(const sinter_prune_order *order, const sinter_prune_reader *r, int32_t unit,
                      int64_t *columns, double *block) {
    int64_t count = list_columns(r, unit, columns);
    double cost = 0;
    if (!invert_block(r, columns, count, block)) return 0;
    for (int64_t o = 0; o < r->outputs; o++) {
        const double *w = r->weights + o * r->inputs;
        if (!output_stays(order, r, o)) continue;
        for (int64_t i = 0; i < count; i++) {
            double sum = 0;
            for (int64_t j = 0; j < count; j++) sum += block[i * count + j] * w[columns[j]];
            cost += sum * w[columns[i]];
        }
    }
    return cost > 0 ? cost * r->weight : 0;
}

/* The costs of all units that a reader reads, anew. */
static void count_costs(sinter_prune_order *order, sinter_prune_reader *r) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    int64_t channels = r->inputs / r->taps;
    int64_t *columns = SINTER_NEW_ARRAY(&scratch, int64_t, r->inputs);
    bool *seen = SINTER_NEW_ARRAY(&scratch, bool, order->graph->unit_count);
    for (int64_t c = 0; c < channels; c++) {
        int32_t unit = r->units[c];
        if (unit == SINTER_PRUNE_NO_UNIT || order->graph->removed[unit] || seen[unit]) continue;
        seen[unit] = true;
        int64_t count = list_columns(r, unit, columns);
        double *block = SINTER_NEW_ARRAY(&scratch, double, count *count);
        double cost = cost_in(order, r, unit, columns, block);
        order->costs[unit] += cost - r->costs[c];
        r->costs[c] = cost;
    }
    sinter_arena_deinit(&scratch);
}

/* W -= W_S K (H^-1)_S, H^-1 -= (H^-1)_S^T K (H^-1)_S with K = ((H^-1)_SS)^-1. */
static void eliminate(sinter_prune_reader *r, int32_t unit) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    int64_t n = r->inputs, *columns = SINTER_NEW_ARRAY(&scratch, int64_t, n);
    int64_t count = list_columns(r, unit, columns);
    double *block = SINTER_NEW_ARRAY(&scratch, double, count *count);
    double *rows = SINTER_NEW_ARRAY(&scratch, double, count *n);
    double *solved = SINTER_NEW_ARRAY(&scratch, double, count *n);
    double *taken = SINTER_NEW_ARRAY(&scratch, double, r->outputs *count);
    if (count && invert_block(r, columns, count, block)) {
        for (int64_t i = 0; i < count; i++)
            memcpy(rows + i * n, r->inverse + columns[i] * n, sizeof(double) * (size_t)n);
        for (int64_t o = 0; o < r->outputs; o++)
            for (int64_t i = 0; i < count; i++)
                taken[o * count + i] = r->weights[o * n + columns[i]];
        sinter_blas_product_f64(count, n, count, 1, (sinter_blas_operand){block, count, false},
                                (sinter_blas_operand){rows, n, false}, 0, solved, n);
        sinter_blas_product_f64(r->outputs, n, count, -1,
                                (sinter_blas_operand){taken, count, false},
                                (sinter_blas_operand){solved, n, false}, 1, r->weights, n);
        sinter_blas_product_f64(n, n, count, -1, (sinter_blas_operand){rows, n, true},
                                (sinter_blas_operand){solved, n, false}, 1, r->inverse, n);
    }
    for (int64_t i = 0; i < count; i++) { /* apart from all others from now on */
        for (int64_t k = 0; k < n; k++)
            r->inverse[columns[i] * n + k] = r->inverse[k * n + columns[i]] = 0;
        for (int64_t o = 0; o < r->outputs; o++) r->weights[o * n + columns[i]] = 0;
    }
    sinter_arena_deinit(&scratch);
}

void sinter_prune_order_update(sinter_prune_order *order, int32_t unit) {
    for (size_t i = 0; i < order->reader_count; i++) {
        sinter_prune_reader *r = &order->readers[i];
        bool reads = false, writes = false;
        for (int64_t c = 0; c < r->inputs / r->taps; c++) reads = reads || r->units[c] == unit;
        for (int64_t o = 0; r->output_units && o < r->outputs; o++)
            writes = writes || r->output_units[o] == unit;
        if (reads) eliminate(r, unit);
        if (reads || writes) count_costs(order, r);
    }
}

/* ---- what the samples say ---- */

static const int32_t *units_of(const sinter_prune_graph *graph, const sinter_layer *layer,
                               uint32_t axis) {
    size_t at = sinter_prune_axis_index(graph, layer->node, false, layer->operand, axis);
    return graph->units + graph->axes.items[at].first;
}

/* A layer that reads units that may go. */
static bool is_reader(const sinter_prune_graph *graph, const sinter_layer *layer) {
    if (layer->groups != 1 || !layer->input || !layer->output) return false;
    const int32_t *units = units_of(graph, layer, layer->input_axis);
    for (int64_t i = 0; i < layer->weights->dims[layer->input_axis]; i++)
        if (units[i] != SINTER_PRUNE_NO_UNIT) return true;
    return false;
}

/* Variance over the samples of what the layer's outputs go into, summed over outputs. */
static double variance_of(const sinter_tensor *tensors, size_t runs) {
    double sum = 0, squares = 0, count = 0;
    for (size_t run = 0; run < runs; run++) {
        const float *x = tensors[run].data;
        int64_t size = sinter_tensor_count(&tensors[run]);
        for (int64_t i = 0; i < size; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        count += (double)size;
    }
    return count > 0 ? fmax(squares / count - sum / count * (sum / count), 1e-30) : 1;
}

/* ---- what an error means ---- */

/* Weights without a quarter of the units that are read, made up for; a bias would make up for the mean, so it stays as it is. */
static void make_probe(sinter_prune_order *order, sinter_prune_reader *r,
                       const sinter_moments *moments, sinter_arena *scratch) {
    int64_t n = r->inputs, m = r->outputs, channels = n / r->taps;
    sinter_prune_reader copy = *r;
    copy.inverse = sinter_arena_copy(scratch, r->inverse, sizeof(double) * (size_t)(n * n));
    copy.weights = sinter_arena_copy(scratch, r->weights, sizeof(double) * (size_t)(n * m));
    sinter_prune_ranked *units = SINTER_NEW_ARRAY(scratch, sinter_prune_ranked, channels);
    bool *seen = SINTER_NEW_ARRAY(scratch, bool, order->graph->unit_count);
    size_t count = 0;
    for (int64_t c = 0; c < channels; c++) {
        if (r->units[c] == SINTER_PRUNE_NO_UNIT || seen[r->units[c]]) continue;
        seen[r->units[c]] = true;
        units[count++] = (sinter_prune_ranked){0, r->units[c], r->costs[c]};
    }
    sinter_prune_rank(units, count);
    for (size_t i = 0; i < (count + 3) / 4; i++) eliminate(&copy, units[i].unit);
    double length = 0, *product = SINTER_NEW_ARRAY(scratch, double, m *n);
    for (int64_t i = 0; i < n && r->target.has_bias; i++) length += moments->x[i] * moments->x[i];
    for (int64_t o = 0; o < m; o++) {
        double *change = copy.weights + o * n, along = 0;
        for (int64_t i = 0; i < n; i++) {
            change[i] -= r->weights[o * n + i];
            along += change[i] * moments->x[i];
        }
        for (int64_t i = 0; i < n && length > 0; i++) change[i] -= along / length * moments->x[i];
        for (int64_t i = 0; i < n; i++)
            r->probe[o * n + i] = (float)(r->weights[o * n + i] + change[i]);
    }
    sinter_blas_product_f64(m, n, n, 1, (sinter_blas_operand){copy.weights, n, false},
                            (sinter_blas_operand){moments->xx, n, false}, 0, product, n);
    for (int64_t i = 0; i < m * n; i++) r->probe_error += product[i] * copy.weights[i];
}

/* A switch of the copy turns the reader into one with the weights of its probe. Both are constants, so that either layer is compiled
 * as it would be by itself. */
static bool add_probe(sinter_switches *switches, const sinter_prune_reader *r, size_t index,
                      sinter_arena *scratch) {
    sinter_module *copy = switches->module;
    const sinter_node_info info = *sinter_node_get(copy, r->layer.node);
    const sinter_value_info *output = sinter_value_get(copy, r->layer.output);
    size_t use_count = output->uses.count;
    sinter_use *uses = sinter_arena_copy(scratch, output->uses.items, use_count * sizeof *uses);
    const sinter_node_spec spec = {.op = info.op,
                                   .operands = info.operands,
                                   .operand_count = info.operand_count,
                                   .attributes = info.attributes,
                                   .attribute_count = info.attribute_count,
                                   .result_count = 1,
                                   .location = info.location};
    sinter_node after = info.next;
    sinter_rewrite_at(&switches->rewrite, after);
    sinter_layer twin = r->layer;
    twin.node = sinter_build_node(&switches->rewrite.build, &spec);
    if (!twin.node || !sinter_layer_write_weights(&switches->rewrite, &twin, r->probe))
        return false;
    sinter_value blend = sinter_switches_blend(switches, after, index, r->layer.output,
                                               sinter_node_result(copy, twin.node, 0));
    for (size_t u = 0; u < use_count && blend; u++)
        sinter_rewrite_set_operand(&switches->rewrite, uses[u].node, uses[u].operand, blend);
    return blend != 0;
}

/* What each probe does to the outputs of the model. */
static bool measure_probes(sinter_prune_order *order, const sinter_compression *compression,
                           double *out_changes, sinter_arena *scratch, sinter_diag *diag) {
    enum { MOST_SAMPLES = 128 };
    size_t count = order->reader_count;
    sinter_module *copy = sinter_module_clone(order->graph->module);
    sinter_switches switches;
    bool good = sinter_switches_init(&switches, copy, count, compression, diag);
    for (size_t i = 0; i < count && good; i++)
        good = add_probe(&switches, &order->readers[i], i, scratch);
    bool *on = SINTER_NEW_ARRAY(scratch, bool, count *count);
    for (size_t i = 0; i < count; i++) on[i * count + i] = true;
    good = good && sinter_switches_measure(&switches, on, count, MOST_SAMPLES, "prune-channels",
                                           out_changes);
    sinter_switches_deinit(&switches);
    sinter_module_destroy(copy);
    return good;
}

/* Errors of readers count by what they do to the outputs of the model. */
static bool weigh_readers(sinter_prune_order *order, const sinter_compression *compression,
                          sinter_diag *diag) {
    static const double least = 1e-9; /* change of the outputs: then it costs next to nothing */
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    size_t count = order->reader_count;
    double *changes = SINTER_NEW_ARRAY(&scratch, double, count);
    bool good = measure_probes(order, compression, changes, &scratch, diag);
    for (int32_t u = 0; u < order->graph->unit_count; u++) order->costs[u] = 0;
    for (size_t i = 0; i < count && good; i++) {
        sinter_prune_reader *r = &order->readers[i];
        if (r->probe_error > 0) r->weight = fmax(changes[i], least) / r->probe_error;
        memset(r->costs, 0, sizeof *r->costs * (size_t)(r->inputs / r->taps));
        count_costs(order, r);
    }
    sinter_arena_deinit(&scratch);
    return good;
}

/* ---- readers ---- */

/* (xx + share of its mean diagonal)^-1. The share grows until it outweighs what sums in f32 are wrong by, where inputs vary little. */
static bool invert(const double *xx, int64_t n, double *out) {
    double mean = 0;
    bool good = false;
    for (int64_t i = 0; i < n; i++) mean += xx[i * n + i] / (double)n;
    for (double share = 1e-3; !good && share < 2; share *= 10) {
        memcpy(out, xx, sizeof(double) * (size_t)(n * n));
        for (int64_t i = 0; i < n; i++) out[i * n + i] += share * mean + 1e-12;
        good = sinter_blas_invert_f64(n, out);
    }
    return good;
}

static bool init_reader(sinter_prune_order *order, sinter_prune_reader *r, sinter_replay *replay,
                        sinter_diag *diag) {
    sinter_layer *layer = &r->layer;
    const sinter_value wanted[] = {layer->input, layer->output, r->target.value};
    sinter_arena scratch;
    if (!sinter_replay_advance(replay, layer->node, wanted, 3, diag)) return false;
    sinter_arena_init(&scratch);
    sinter_layer_view view = {.inputs = sinter_replay_find(replay, layer->input),
                              .targets = sinter_replay_find(replay, layer->output),
                              .masks = replay->masks,
                              .runs = replay->runs,
                              .few = true};
    int64_t n = layer->reduction;
    sinter_moments moments;
    bool recurs = sinter_layer_is_recurrent(replay->module, layer); /* gates are no tensor */
    sinter_moments_init(&moments, 1, n, recurs ? 0 : layer->outputs, &scratch);
    bool good = sinter_layer_measure(replay->module, layer, &view, &moments, diag);
    if (good && !sinter_moments_finish(&moments, r->target.has_bias))
        good = sinter_error(diag, layer->name,
                            "what it reads or yields over the samples is not finite");
    if (good && !invert(moments.xx, n, r->inverse))
        good = sinter_error(diag, layer->name, "its second moments cannot be inverted");
    if (good) {
        r->weight = 1 / ((double)layer->outputs *
                         variance_of(sinter_replay_find(replay, r->target.value), view.runs));
        count_costs(order, r);
        make_probe(order, r, &moments, &scratch);
    }
    sinter_arena_deinit(&scratch);
    return good;
}

static void start_reader(sinter_prune_order *order, sinter_prune_reader *r,
                         const sinter_layer *layer) {
    int64_t n = layer->reduction;
    *r = (sinter_prune_reader){.layer = *layer, .inputs = n, .outputs = layer->outputs};
    r->taps = n / layer->weights->dims[layer->input_axis];
    r->units = units_of(order->graph, layer, layer->input_axis);
    r->output_units = units_of(order->graph, layer, layer->output_axis);
    r->inverse = SINTER_NEW_ARRAY(order->arena, double, n *n);
    r->weights = SINTER_NEW_ARRAY(order->arena, double, n * layer->outputs);
    r->costs = SINTER_NEW_ARRAY(order->arena, double, n / r->taps);
    r->probe = SINTER_NEW_ARRAY(order->arena, float, n * layer->outputs);
    float *matrix = SINTER_NEW_ARRAY(order->arena, float, n * layer->outputs);
    sinter_layer_read_matrix(layer, matrix);
    for (int64_t i = 0; i < n * layer->outputs; i++) r->weights[i] = (double)matrix[i];
    sinter_layer_find_target(order->graph->module, layer, order->arena, &r->target);
}

bool sinter_prune_order_by_error(sinter_prune_order *order, sinter_prune_graph *graph,
                                 const sinter_layer_list *layers,
                                 const sinter_compression *compression, sinter_arena *arena,
                                 sinter_diag *diag) {
    *order = (sinter_prune_order){
        .graph = graph,
        .arena = arena,
        .costs = SINTER_NEW_ARRAY(arena, double, graph->unit_count + 1),
        .readers = SINTER_NEW_ARRAY(arena, sinter_prune_reader, layers->count + 1)};
    for (size_t i = 0; i < layers->count; i++)
        if (is_reader(graph, &layers->items[i]))
            start_reader(order, &order->readers[order->reader_count++], &layers->items[i]);
    sinter_replay replay;
    sinter_replay_init(&replay, graph->module, compression);
    bool good = true;
    for (size_t i = 0; i < order->reader_count && good; i++) {
        sinter_compression_progress(compression, "prune-channels", i, 2 * order->reader_count);
        good = init_reader(order, &order->readers[i], &replay, diag);
    }
    sinter_replay_deinit(&replay);
    return good && (!order->reader_count || weigh_readers(order, compression, diag));
}
