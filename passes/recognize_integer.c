/* Recognizes integer arithmetic in graphs that are quantized by pairs of quantize_linear and dequantize_linear, in three
 * steps, each to a fixed point:
 *   1. Products and means of dequantized tensors become products and sums of integers, scaled afterwards; views move before
 *      a dequantization and behind a quantization, where both cancel; clamps before a quantization become clamps of its
 *      result; the scale of a quantization is folded into the constant scales of what it rounds.
 *   2. Zero points leave the integer products: the sums of constant weights that they are multiplied by are added to the
 *      bias, and both operands become u8 times i8, which has an instruction.
 *   3. What is still dequantized from constants becomes float constants.
 * Needs inferred types, composites decomposed, constants folded but for dequantize_linear.
 * Lossy at ties alone: sums are exact, scaled once in f32 and rounded to even, so that a quantized result is that of exact
 * arithmetic unless the number is within some 1e-4 of a step from a tie; then it may be the other neighbour. What it
 * replaces, sums of rounded products, is no closer. tests/suites/long/real_models.py holds every integer of real models to it.
 * This file has the driver and the moves of conversions. Test: tests/passes/recognize_integer/ */
#include "passes/recognize_integer.h"
#include "ir/eval.h"
#include "passes/pass.h"

/* A sweep moves conversions past one node each: as many as a chain of views is long. */
enum { MAX_SWEEPS = 64 };

/* ---- what a conversion says ---- */

static bool read_parameters(const sinter_module *module, sinter_node node,
                            sinter_quantization *out) {
    out->zero_point = sinter_node_operand(module, node, 2);
    out->scale = sinter_value_constant(module, sinter_node_operand(module, node, 1));
    out->zero = out->zero_point ? sinter_value_constant(module, out->zero_point) : NULL;
    out->axis = -1;
    if (!out->scale || out->scale->dtype != SINTER_DTYPE_f32 || (out->zero_point && !out->zero) ||
        sinter_node_get_int(module, node, "block_size", 0))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(out->scale); i++) {
        double scale = sinter_tensor_get_double(out->scale, i);
        if (!(scale > 0x1p-120 && scale < 0x1p120)) return false;
    }
    if (sinter_tensor_count(out->scale) == 1) return true;
    uint32_t rank = sinter_value_type(module, sinter_node_operand(module, node, 0))->rank;
    out->axis = sinter_node_get_int(module, node, "axis", 1);
    if (out->axis < 0) out->axis += rank;
    return out->scale->rank == 1 && out->axis >= 0 && out->axis < rank;
}

bool sinter_integer_dequantized(const sinter_module *module, sinter_value value,
                                sinter_quantization *out) {
    sinter_node node = sinter_value_definition(module, value);
    if (sinter_node_op(module, node) != SINTER_OP_dequantize_linear ||
        sinter_value_type(module, value)->dtype != SINTER_DTYPE_f32)
        return false;
    out->x = sinter_node_operand(module, node, 0);
    out->dtype = sinter_value_type(module, out->x)->dtype;
    return sinter_dtype_is_integer(out->dtype) && read_parameters(module, node, out);
}

bool sinter_integer_quantizes(const sinter_module *module, sinter_node node,
                              sinter_quantization *out) {
    if (sinter_node_get(module, node)->op != SINTER_OP_quantize_linear) return false;
    sinter_value y = sinter_node_result(module, node, 0);
    out->x = 0;
    out->dtype = sinter_value_type(module, y)->dtype;
    return sinter_dtype_is_integer(out->dtype) &&
           sinter_value_type(module, sinter_node_operand(module, node, 0))->dtype ==
               SINTER_DTYPE_f32 &&
           sinter_dtype_of_quotient(sinter_node_get_int(module, node, "precision", 0),
                                    SINTER_DTYPE_f32) == SINTER_DTYPE_f32 &&
           read_parameters(module, node, out);
}

static int64_t position(const sinter_tensor *tensor, int64_t index) {
    return sinter_tensor_count(tensor) == 1 ? 0 : index;
}

int64_t sinter_integer_zero(const sinter_quantization *q, int64_t index) {
    return q->zero ? sinter_tensor_get_int(q->zero, position(q->zero, index)) : 0;
}

double sinter_integer_scale(const sinter_quantization *q, int64_t index) {
    return sinter_tensor_get_double(q->scale, position(q->scale, index));
}

bool sinter_integer_is_narrow(sinter_dtype dtype) {
    return sinter_dtype_is_integer(dtype) && sinter_dtype_infos[dtype].bits <= 8;
}

/* ---- building ---- */

sinter_value sinter_integer_convert_like(sinter_rewrite *rewrite, sinter_node node,
                                         sinter_value x) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value operands[3] = {x, info->operands[1],
                                info->operand_count > 2 ? info->operands[2] : 0};
    if (!x) return 0;
    return sinter_build(&rewrite->build, info->op, operands, operands[2] ? 3 : 2, info->attributes,
                        info->attribute_count);
}

sinter_value sinter_integer_constant(sinter_rewrite *rewrite, sinter_dtype dtype,
                                     const double *items, int64_t count, uint32_t rank) {
    int64_t dims[SINTER_MAX_RANK];
    sinter_tensor tensor;
    for (uint32_t i = 0; i < rank; i++) dims[i] = i ? 1 : count;
    if (!sinter_tensor_create(&tensor, dtype, rank, dims, rewrite->build.diag)) return 0;
    for (int64_t i = 0; i < count; i++) {
        if (sinter_dtype_is_float(dtype))
            sinter_tensor_set_double(&tensor, i, items[i]);
        else
            sinter_tensor_set_int(&tensor, i, (int64_t)items[i]);
    }
    return sinter_build_constant(&rewrite->build, tensor);
}

sinter_value sinter_integer_constant_again(sinter_rewrite *rewrite, sinter_value old_value,
                                           sinter_tensor tensor) {
    sinter_value again = sinter_build_constant(&rewrite->build, tensor);
    if (again) sinter_rewrite_keep_sharding(rewrite->build.module, old_value, again);
    return again;
}

bool sinter_integer_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value) {
    if (!value) return false;
    sinter_rewrite_replace(rewrite, sinter_node_result(rewrite->build.module, node, 0), value);
    sinter_rewrite_erase(rewrite, node);
    return true;
}

/* ---- moves ---- */

/* Ops that only choose and move elements of operand 0: they may run on what is behind the conversion. */
static const struct {
    sinter_op op;
    bool
        rises; /* a quantization may move before it: it does not have to convert more elements there */
} moves[] = {
    {SINTER_OP_reshape, true},
    {SINTER_OP_squeeze, true},
    {SINTER_OP_unsqueeze, true},
    {SINTER_OP_flatten, true},
    {SINTER_OP_transpose, true},
    {SINTER_OP_depth_to_space, true},
    {SINTER_OP_space_to_depth, true},
    {SINTER_OP_slice, false},
    {SINTER_OP_split, false},
    {SINTER_OP_expand, false},
    {SINTER_OP_tile, false},
    {SINTER_OP_gather, false},
    {SINTER_OP_gather_elements, false},
    {SINTER_OP_gather_nd, false},
    {SINTER_OP_max_pool, false},
    {SINTER_OP_reduce_max, false},
    {SINTER_OP_reduce_min, false},
};

static int find_move(sinter_op op) {
    for (int i = 0; i < (int)(sizeof moves / sizeof *moves); i++)
        if (moves[i].op == op) return i;
    return -1;
}

bool sinter_integer_is_move(sinter_op op) {
    return op == SINTER_OP_concat || find_move(op) >= 0;
}

/* Where a transpose brings the axis of the scales; -1: it has none or the op mixes it with others. */
static bool moved_axis(const sinter_module *module, sinter_node node, int64_t axis, int64_t *out) {
    const int64_t *perm = NULL;
    uint32_t rank = sinter_value_type(module, sinter_node_result(module, node, 0))->rank;
    if (sinter_node_get(module, node)->op != SINTER_OP_transpose) return false;
    size_t count = sinter_node_get_ints(module, node, "perm", &perm);
    for (uint32_t i = 0; i < rank; i++)
        if ((count ? perm[i] : (int64_t)(rank - 1 - i)) == axis) *out = i;
    return true;
}

/* The node again with another operand 0. */
static sinter_node repeat(sinter_rewrite *rewrite, sinter_node node, sinter_value x) {
    const sinter_node_info *info = sinter_node_get(rewrite->build.module, node);
    sinter_value operands[8] = {0};
    if (!x || info->operand_count > 8) return 0;
    for (uint32_t i = 0; i < info->operand_count; i++) operands[i] = i ? info->operands[i] : x;
    sinter_node_spec spec = {.op = info->op,
                             .operands = operands,
                             .operand_count = info->operand_count,
                             .attributes = info->attributes,
                             .attribute_count = info->attribute_count,
                             .result_count = info->result_count};
    return sinter_build_node(&rewrite->build, &spec);
}

/* concat of tensors quantized alike */
static bool sink_concat(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value items[64];
    sinter_quantization first, other;
    if (info->operand_count == 0 || info->operand_count > 64 ||
        !sinter_integer_dequantized(module, info->operands[0], &first) || first.axis >= 0)
        return false;
    for (uint32_t i = 0; i < info->operand_count; i++) {
        if (!sinter_integer_dequantized(module, info->operands[i], &other) || other.axis >= 0 ||
            other.dtype != first.dtype ||
            sinter_integer_zero(&other, 0) != sinter_integer_zero(&first, 0) ||
            sinter_integer_scale(&other, 0) != sinter_integer_scale(&first, 0))
            return false;
        items[i] = other.x;
    }
    sinter_node conversion = sinter_value_get(module, info->operands[0])->definition;
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_concat, items, info->operand_count,
                                  info->attributes, info->attribute_count);
    return sinter_integer_replace(rewrite, node,
                                  sinter_integer_convert_like(rewrite, conversion, y));
}

/* As the conversion does, but with its scales along `axis` (-1: one scale). */
static sinter_value dequantize_along(sinter_rewrite *rewrite, sinter_node conversion,
                                     sinter_value x, int64_t axis) {
    if (axis < 0) return sinter_integer_convert_like(rewrite, conversion, x);
    const sinter_module *module = rewrite->build.module;
    sinter_value operands[3] = {x, sinter_node_operand(module, conversion, 1),
                                sinter_node_operand(module, conversion, 2)};
    sinter_attr attribute = sinter_attr_int("axis", axis);
    return sinter_build(&rewrite->build, SINTER_OP_dequantize_linear, operands, operands[2] ? 3 : 2,
                        &attribute, 1);
}

/* view(dequantize(x)) = dequantize(view(x)) */
static bool sink(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_quantization q;
    if (info->op == SINTER_OP_concat) return sink_concat(rewrite, node);
    if (find_move(info->op) < 0 || !sinter_integer_dequantized(module, info->operands[0], &q) ||
        !sinter_integer_is_narrow(q.dtype))
        return false;
    if (info->op == SINTER_OP_max_pool && sinter_node_result(module, node, 1)) return false;
    int64_t axis = q.axis;
    if (q.axis >= 0 && !moved_axis(module, node, q.axis, &axis)) return false;
    sinter_node conversion = sinter_value_get(module, info->operands[0])->definition;
    sinter_node moved = repeat(rewrite, node, q.x);
    if (!moved) return false;
    uint32_t count = sinter_node_get(module, node)->result_count;
    for (uint32_t i = 0; i < count; i++) {
        sinter_value old = sinter_node_result(module, node, i);
        if (!old) continue;
        sinter_value y =
            dequantize_along(rewrite, conversion, sinter_node_result(module, moved, i), axis);
        if (!y) return false;
        sinter_rewrite_replace(rewrite, old, y);
    }
    sinter_rewrite_erase(rewrite, node);
    return true;
}

/* quantize(view(x)) = view(quantize(x)) */
static bool raise_view(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization q;
    if (!sinter_integer_quantizes(module, node, &q) || q.axis >= 0) return false;
    sinter_value x = sinter_node_operand(module, node, 0);
    sinter_node view = sinter_value_get(module, x)->definition;
    if (!view || !sinter_value_has_one_use(module, x) || !sinter_integer_is_narrow(q.dtype))
        return false;
    const sinter_node_info *info = sinter_node_get(module, view);
    int move = find_move(info->op);
    if (info->op == SINTER_OP_concat) {
        sinter_value items[64];
        if (info->operand_count > 64) return false;
        uint32_t count = info->operand_count;
        for (uint32_t i = 0; i < count; i++) {
            sinter_value item = sinter_node_operand(module, view, i);
            if (!(items[i] = sinter_integer_convert_like(rewrite, node, item))) return false;
        }
        info = sinter_node_get(module, view);
        return sinter_integer_replace(rewrite, node,
                                      sinter_build(&rewrite->build, SINTER_OP_concat, items, count,
                                                   info->attributes, info->attribute_count));
    }
    if (move < 0 || !moves[move].rises) return false;
    sinter_value converted = sinter_integer_convert_like(rewrite, node, info->operands[0]);
    sinter_node moved = repeat(rewrite, view, converted);
    return moved && sinter_integer_replace(rewrite, node, sinter_node_result(module, moved, 0));
}

/* quantize(dequantize(x)) = x */
static bool cancel(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization to, from;
    if (!sinter_integer_quantizes(module, node, &to) || to.axis >= 0 ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 0), &from) ||
        from.axis >= 0 || from.dtype != to.dtype || !sinter_integer_is_narrow(to.dtype) ||
        sinter_integer_zero(&to, 0) != sinter_integer_zero(&from, 0) ||
        sinter_integer_scale(&to, 0) != sinter_integer_scale(&from, 0))
        return false;
    return sinter_integer_replace(rewrite, node, from.x);
}

/* ---- step 3 ---- */

/* Weights of fewer bits stay in products: a kernel that widens them as it reads them moves less memory. */
static bool fold_constant(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    const sinter_tensor *operands[3] = {0};
    if (info->op != SINTER_OP_dequantize_linear) return false;
    for (uint32_t i = 0; i < info->operand_count; i++) {
        operands[i] = info->operands[i] ? sinter_value_constant(module, info->operands[i]) : NULL;
        if (info->operands[i] && !operands[i]) return false;
    }
    if (sinter_dtype_infos[operands[0]->dtype].bits < 8 &&
        !sinter_integer_feeds_window(module, info->results[0]))
        return false;
    sinter_tensor result = {0};
    if (!sinter_eval_node(module, node, operands, &result, rewrite->build.diag)) return false;
    return sinter_integer_replace(rewrite, node, sinter_build_constant(&rewrite->build, result));
}

/* ---- driver ---- */

/* The first one is for processors, which add long sums in chunks of 32 bits (codegen/schedule/narrow.c). Devices do not. */
static const sinter_integer_rule arithmetic[] = {sinter_integer_matmul_long,
                                                 cancel,
                                                 sink,
                                                 raise_view,
                                                 sinter_integer_matmul,
                                                 sinter_integer_matmul_late,
                                                 sinter_integer_conv,
                                                 sinter_integer_sum,
                                                 sinter_integer_clamp,
                                                 NULL};
static const sinter_integer_rule scales[] = {sinter_integer_rescale, NULL};
static const sinter_integer_rule zero_points[] = {sinter_integer_widen, sinter_integer_matmul_zeros,
                                                  sinter_integer_conv_zeros,
                                                  sinter_integer_merge_sums, NULL};
static const sinter_integer_rule signed_zero_points[] = {
    sinter_integer_widen, sinter_integer_matmul_zeros_signed, sinter_integer_conv_zeros_signed,
    sinter_integer_merge_sums, NULL};
static const sinter_integer_rule constants[] = {fold_constant, NULL};

typedef struct visitor {
    sinter_rewrite *rewrite;
    const sinter_integer_rule *rules; /* NULL ends them */
} visitor;

static void visit(void *user, sinter_node node) {
    const visitor *v = user;
    sinter_rewrite_at(v->rewrite, node);
    for (const sinter_integer_rule *rule = v->rules; *rule; rule++)
        if ((*rule)(v->rewrite, node)) break;
}

void sinter_pass_recognize_integer(sinter_pass_context *context) {
    sinter_rewrite *rewrite = &context->rewrite;
    const sinter_integer_rule *const steps[] = {
        context->options->machine->has_device ? arithmetic + 1 : arithmetic, scales,
        context->options->machine->signed_dots ? signed_zero_points : zero_points, constants};
    for (size_t step = 0; step < sizeof steps / sizeof *steps; step++) {
        visitor v = {rewrite, steps[step]};
        for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
            size_t before = rewrite->change_count;
            sinter_pass_visit_nodes(context->module, visit, &v);
            if (rewrite->change_count == before) break;
        }
    }
}
