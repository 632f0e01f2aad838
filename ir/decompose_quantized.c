/* Decompositions of the quantized composites. Products become integer contractions with i32 sums; a sum then becomes
 * f32, is multiplied once by the ratio of the scales and is rounded. The rest is the float operator between a
 * dequantization and a quantization. Every step is the one that the evaluator makes, so results are equal to the bit.
 * Test: tests/passes/decompose/quantized.sir, tests/ops/ */
#include "ir/decompose.h"

static bool has_one_element(sinter_rewrite *rewrite, sinter_value x) {
    const sinter_type *type = sinter_compose_type(rewrite, x);
    for (uint32_t i = 0; i < type->rank; ++i)
        if (!sinter_dim_is(sinter_module_dims(rewrite->build.module), type->dims[i], 1))
            return false;
    return true;
}

/* Scales and zero points of one element may be vectors; as scalars they broadcast to anything. */
static sinter_value as_scalar(sinter_rewrite *rewrite, sinter_value x) {
    if (!x || sinter_compose_type(rewrite, x)->rank == 0 || !has_one_element(rewrite, x)) return x;
    return sinter_compose_reshape(rewrite, x, NULL, 0);
}

static sinter_value scale_of(sinter_rewrite *rewrite, sinter_value scale) {
    return sinter_compose_cast(rewrite, as_scalar(rewrite, scale), SINTER_DTYPE_f32);
}

/* saturate(round(f32(sum) * scale) + zero_point): scale already divided by that of the result. */
static sinter_value requantize(sinter_rewrite *rewrite, sinter_value sum, sinter_value scale,
                               sinter_value zero_point) {
    sinter_value y = sinter_compose_binary(
        rewrite, SINTER_OP_mul, sinter_compose_cast(rewrite, sum, SINTER_DTYPE_f32), scale);
    sinter_value operands[3] = {y, sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, 1),
                                as_scalar(rewrite, zero_point)};
    if (!y || !operands[2]) return 0;
    return sinter_build(&rewrite->build, SINTER_OP_quantize_linear, operands, 3, NULL, 0);
}

static sinter_value combined_scale(sinter_rewrite *rewrite, sinter_value a, sinter_value b,
                                   sinter_value y) {
    return sinter_compose_binary(rewrite, SINTER_OP_div,
                                 sinter_compose_binary(rewrite, SINTER_OP_mul, a, b),
                                 scale_of(rewrite, y));
}

bool sinter_decompose_qlinear_conv(sinter_rewrite *rewrite, sinter_node node,
                                   sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 w = sinter_compose_operand(rewrite, node, 3),
                 bias = sinter_compose_operand(rewrite, node, 8);
    uint32_t rank = sinter_compose_type(rewrite, x)->rank;
    sinter_value products[4] = {x, w, as_scalar(rewrite, sinter_compose_operand(rewrite, node, 2)),
                                as_scalar(rewrite, sinter_compose_operand(rewrite, node, 5))};
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value sum = sinter_build(&rewrite->build, SINTER_OP_conv_integer, products, 4,
                                    info->attributes, info->attribute_count);
    if (bias)
        sum = sinter_compose_binary(rewrite, SINTER_OP_add, sum,
                                    sinter_compose_channel_view(rewrite, bias, rank));
    sinter_value w_scale = scale_of(rewrite, sinter_compose_operand(rewrite, node, 4));
    if (w_scale && sinter_compose_type(rewrite, w_scale)->rank == 1)
        w_scale = sinter_compose_channel_view(rewrite, w_scale, rank);
    sinter_value scale =
        combined_scale(rewrite, scale_of(rewrite, sinter_compose_operand(rewrite, node, 1)),
                       w_scale, sinter_compose_operand(rewrite, node, 6));
    out_results[0] = requantize(rewrite, sum, scale, sinter_compose_operand(rewrite, node, 7));
    return out_results[0] != 0;
}

bool sinter_decompose_qlinear_matmul(sinter_rewrite *rewrite, sinter_node node,
                                     sinter_value *out_results) {
    sinter_value a = sinter_compose_operand(rewrite, node, 0),
                 b = sinter_compose_operand(rewrite, node, 3);
    sinter_value products[4] = {a, b, as_scalar(rewrite, sinter_compose_operand(rewrite, node, 2)),
                                as_scalar(rewrite, sinter_compose_operand(rewrite, node, 5))};
    sinter_value sum =
        sinter_build(&rewrite->build, SINTER_OP_matmul_integer, products, 4, NULL, 0);
    sinter_value a_scale = scale_of(rewrite, sinter_compose_operand(rewrite, node, 1)),
                 b_scale = scale_of(rewrite, sinter_compose_operand(rewrite, node, 4));
    /* one scale a row of a: a column, unless b is a vector and the rows are the last axis */
    if (a_scale && sinter_compose_type(rewrite, a_scale)->rank == 1 &&
        sinter_compose_type(rewrite, b)->rank > 1)
        a_scale = sinter_compose_unsqueeze(rewrite, a_scale, (const int64_t[]){1}, 1);
    sinter_value scale =
        combined_scale(rewrite, a_scale, b_scale, sinter_compose_operand(rewrite, node, 6));
    out_results[0] = requantize(rewrite, sum, scale, sinter_compose_operand(rewrite, node, 7));
    return out_results[0] != 0;
}

/* ---- the float operator between a dequantization and a quantization ---- */

static sinter_value convert(sinter_rewrite *rewrite, sinter_op op, sinter_value x,
                            sinter_value scale, sinter_value zero_point) {
    sinter_value operands[3] = {x, scale_of(rewrite, scale), as_scalar(rewrite, zero_point)};
    if (!x || !operands[1]) return 0;
    return sinter_build(&rewrite->build, op, operands, operands[2] ? 3 : 2, NULL, 0);
}

static sinter_value dequantized(sinter_rewrite *rewrite, sinter_node node, uint32_t first) {
    return convert(rewrite, SINTER_OP_dequantize_linear,
                   sinter_compose_operand(rewrite, node, first),
                   sinter_compose_operand(rewrite, node, first + 1),
                   sinter_compose_operand(rewrite, node, first + 2));
}

/* To the dtype of `like`, which an absent zero point does not tell. */
static sinter_value quantized(sinter_rewrite *rewrite, sinter_node node, sinter_value y,
                              uint32_t first, sinter_value like) {
    sinter_value zero_point = sinter_compose_operand(rewrite, node, first + 1);
    if (!zero_point)
        zero_point =
            sinter_build_scalar(&rewrite->build, sinter_compose_type(rewrite, like)->dtype, 0);
    return convert(rewrite, SINTER_OP_quantize_linear, y,
                   sinter_compose_operand(rewrite, node, first), zero_point);
}

bool sinter_decompose_qlinear_binary(sinter_rewrite *rewrite, sinter_node node,
                                     sinter_value *out_results) {
    bool product = sinter_node_get(rewrite->build.module, node)->op == SINTER_OP_qlinear_mul;
    sinter_value a = sinter_compose_operand(rewrite, node, 0);
    sinter_value y =
        sinter_compose_binary(rewrite, product ? SINTER_OP_mul : SINTER_OP_add,
                              dequantized(rewrite, node, 0), dequantized(rewrite, node, 3));
    out_results[0] = quantized(rewrite, node, y, 6, a);
    return out_results[0] != 0;
}

bool sinter_decompose_qlinear_global_average_pool(sinter_rewrite *rewrite, sinter_node node,
                                                  sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    bool last = sinter_node_get_int(rewrite->build.module, node, "channels_last", 0) != 0;
    int64_t axes[SINTER_MAX_RANK], rank = sinter_compose_type(rewrite, x)->rank;
    size_t count = 0;
    for (int64_t i = last ? 1 : 2; i < rank - last; ++i) axes[count++] = i;
    sinter_value mean = sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean,
                                              dequantized(rewrite, node, 0), axes, count, true);
    out_results[0] = quantized(rewrite, node, mean, 3, x);
    return out_results[0] != 0;
}
