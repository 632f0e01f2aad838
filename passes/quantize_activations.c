/* Rounds what layers read: a quantize_linear and a dequantize_linear after each value that is to be integers (quantize_placement
 * says which), with scales from what observers see of the samples; or, for dynamic layers, from the data of each run. Goes
 * before the passes that change weights, which then see rounded inputs. Test: tests/passes/quantize_activations/ */
#include "passes/observe.h"
#include "passes/pass.h"
#include "passes/quantize_placement.h"
#include "passes/stream.h"

typedef struct quantizer {
    sinter_pass_context *context;
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_diag *diag;
    sinter_layer_list layers;
    sinter_layer_recipe *recipes;
    sinter_placement placement;
    uint32_t node_limit;                /* of the placement */
    sinter_histogram **histograms;      /* by leader of a group */
    SINTER_VECTOR(sinter_value) values; /* that are rounded, in the order of their definitions */
    SINTER_VECTOR(sinter_value) observed;
} quantizer;

/* ---- what the samples say ---- */

/* Rows that the mask says do not count are not seen. */
static bool see(sinter_histogram *h, const sinter_tensor *tensor, const sinter_tensor *mask) {
    int64_t width = 0, first = 0;
    if (!sinter_stream_is_masked(tensor, mask, &width))
        return sinter_histogram_add(h, tensor->data, sinter_tensor_count(tensor));
    int64_t rows = sinter_tensor_count(mask);
    for (int64_t r = 0; r <= rows; r++) {
        if (r < rows && sinter_tensor_get_double(mask, r) != 0) continue;
        const float *values = (const float *)tensor->data + first * width;
        if (r > first && !sinter_histogram_add(h, values, (r - first) * width)) return false;
        first = r + 1;
    }
    return true;
}

static bool see_all(void *user, const sinter_tensor *tensors, const sinter_tensor *mask) {
    quantizer *q = user;
    for (size_t i = 0; i < q->observed.count; i++) {
        sinter_value value = q->observed.items[i];
        sinter_histogram *h = q->histograms[sinter_placement_leader(&q->placement, value)];
        if (!see(h, &tensors[i], mask))
            return sinter_error(q->diag, "quantize-activations",
                                "%s is not finite for some of the samples",
                                sinter_value_label(q->module, value));
    }
    return true;
}

static bool observe(quantizer *q) {
    return sinter_stream_values(q->module, q->context->options->compression,
                                "observing activations", q->observed.items, q->observed.count,
                                see_all, q, q->diag);
}

/* ---- the graph ---- */

/* New nodes go right after the value's definition; they have names of their own. */
static void begin_after(quantizer *q, sinter_value value) {
    sinter_node node = sinter_value_definition(q->module, value);
    sinter_node next = node ? sinter_node_get(q->module, node)->next
                            : sinter_region_get(q->module, sinter_module_main(q->module))->first;
    sinter_rewrite_at(q->rewrite, next);
    q->rewrite->build.location = NULL;
}

static sinter_value build_round_trip(quantizer *q, sinter_value value, sinter_dtype dtype,
                                     sinter_range range) {
    sinter_builder *build = &q->rewrite->build;
    begin_after(q, value);
    sinter_value operands[3] = {value,
                                sinter_build_scalar(build, SINTER_DTYPE_f32, (double)range.scale),
                                sinter_build_scalar(build, dtype, range.zero_point)};
    if (!operands[1] || !operands[2]) return 0;
    operands[0] = sinter_build(build, SINTER_OP_quantize_linear, operands, 3, NULL, 0);
    if (!operands[0]) return 0;
    return sinter_build(build, SINTER_OP_dequantize_linear, operands, 3, NULL, 0);
}

/* Readers that work on integers read `rounded` in place of value. */
static void redirect(quantizer *q, sinter_value value, sinter_value rounded) {
    const sinter_value_info *info = sinter_value_get(q->module, value);
    size_t count = info->uses.count;
    sinter_use *uses =
        sinter_arena_copy(&q->context->scratch, info->uses.items, count * sizeof *uses);
    for (size_t i = 0; i < count; i++) {
        bool known = uses[i].node < q->node_limit; /* not made here */
        if (known && q->placement.reads_integers[uses[i].node])
            sinter_rewrite_set_operand(q->rewrite, uses[i].node, uses[i].operand, rounded);
    }
}

static bool insert(quantizer *q) {
    for (size_t i = 0; i < q->values.count; i++) {
        sinter_value value = q->values.items[i];
        sinter_value leader = sinter_placement_leader(&q->placement, value);
        const sinter_layer_recipe *recipe = q->placement.wanted[leader];
        sinter_range range =
            sinter_observe_range(q->histograms[leader], recipe, recipe->activations);
        sinter_value rounded = build_round_trip(q, value, recipe->activations, range);
        if (!rounded) return false;
        redirect(q, value, rounded);
    }
    return true;
}

/* What is rounded, and where its range is read: elements that are only moved were seen before. */
static void collect(quantizer *q) {
    sinter_arena *arena = &q->context->scratch;
    uint32_t limit = sinter_module_value_limit(q->module);
    q->histograms = SINTER_NEW_ARRAY(arena, sinter_histogram *, limit);
    for (sinter_value value = 1; value < limit; value++) {
        if (!q->placement.wanted[value]) continue;
        sinter_value leader = sinter_placement_leader(&q->placement, value);
        sinter_vector_push(arena, &q->values, value);
        if (!q->placement.is_moved[value]) sinter_vector_push(arena, &q->observed, value);
        if (!q->histograms[leader]) q->histograms[leader] = SINTER_NEW(arena, sinter_histogram);
    }
}

static bool quantize_static(quantizer *q) {
    q->node_limit = sinter_module_node_limit(q->module);
    q->placement = sinter_placement_find(q->module, &q->layers, q->recipes, &q->context->scratch);
    collect(q);
    if (!q->values.count) return true;
    return sinter_compression_has_data(q->context->options->compression, "quantize-activations",
                                       q->diag) &&
           observe(q) && insert(q);
}

/* ---- dynamic ---- */

/* u8 with scale and zero point from the data of the run. */
static sinter_value round_tensor(quantizer *q, sinter_value x) {
    sinter_node_spec spec = {.op = SINTER_OP_dynamic_quantize_linear,
                             .operands = &x,
                             .operand_count = 1,
                             .result_count = 3};
    sinter_node node = sinter_build_node(&q->rewrite->build, &spec);
    if (!node) return 0;
    sinter_value operands[3];
    for (uint32_t r = 0; r < 3; r++) operands[r] = sinter_node_result(q->module, node, r);
    return sinter_build(&q->rewrite->build, SINTER_OP_dequantize_linear, operands, 3, NULL, 0);
}

/* i8 with a scale for each row from the data of the run. */
static sinter_value round_rows(quantizer *q, sinter_value x, int64_t width) {
    sinter_value items, scales;
    return sinter_build_quantize_blocks(&q->rewrite->build, x, width, &items, &scales)
               ? sinter_build_dequantize_blocks(&q->rewrite->build, items, scales, width)
               : 0;
}

/* Layers that read one value in the same way share it. */
static bool quantize_dynamic(quantizer *q) {
    sinter_map known[2];
    for (int i = 0; i < 2; i++) sinter_map_init(&known[i], &q->context->scratch);
    for (size_t i = 0; i < q->layers.count; i++) {
        const sinter_layer *layer = &q->layers.items[i];
        bool by_row = q->recipes[i].by_row;
        uint64_t rounded = 0;
        if (!q->recipes[i].dynamic) continue;
        if (sinter_node_op(q->module, layer->node) != SINTER_OP_matmul)
            return sinter_error(q->diag, "quantize-activations",
                                "layer '%s': activations=dynamic is for matrix products, this is "
                                "a convolution",
                                layer->name);
        if (!sinter_map_find(&known[by_row], layer->input, &rounded)) {
            begin_after(q, layer->input);
            rounded = by_row ? round_rows(q, layer->input, layer->reduction)
                             : round_tensor(q, layer->input);
            if (!rounded) return false;
            sinter_map_put(&known[by_row], layer->input, rounded);
        }
        sinter_rewrite_set_operand(q->rewrite, layer->node, 0, (sinter_value)rounded);
    }
    return true;
}

void sinter_pass_quantize_activations(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    quantizer q = {.context = context,
                   .module = context->module,
                   .rewrite = &context->rewrite,
                   .diag = context->rewrite.build.diag};
    q.layers = sinter_layer_find_all(context->module, &context->scratch);
    q.recipes = SINTER_NEW_ARRAY(&context->scratch, sinter_layer_recipe, q.layers.count);
    for (size_t i = 0; i < q.layers.count; i++)
        if (!sinter_recipe_find(compression->recipe, q.layers.items[i].name, &q.recipes[i], q.diag))
            return;
    if (quantize_static(&q)) quantize_dynamic(&q);
}
