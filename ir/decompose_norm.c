/* Decompositions of softmax, normalizations and global pools. Statistics of narrow floats are computed in f32, as the
 * operators' stash_type says. Test: tests/passes/decompose/ */
#include "ir/decompose.h"

#include <math.h>

/* The wider type in which statistics are taken. */
static sinter_dtype statistics_dtype(sinter_dtype dtype) {
    return dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
}

/* x - max(x): the largest exponent is 0, so nothing overflows (log-sum-exp shift). */
static sinter_value shifted(sinter_rewrite *rewrite, sinter_value x, const int64_t *axes,
                            size_t count) {
    return sinter_compose_binary(
        rewrite, SINTER_OP_sub, x,
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_max, x, axes, count, true));
}

bool sinter_decompose_softmax(sinter_rewrite *rewrite, sinter_node node,
                              sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    int64_t axis = sinter_node_get_axis(rewrite->build.module, node, -1, type.rank);
    bool logarithm = sinter_node_get(rewrite->build.module, node)->op == SINTER_OP_log_softmax;
    sinter_value s =
        shifted(rewrite, sinter_compose_cast(rewrite, x, statistics_dtype(type.dtype)), &axis, 1);
    sinter_value e = sinter_compose_unary(rewrite, SINTER_OP_exp, s);
    sinter_value sum = sinter_compose_reduce(rewrite, SINTER_OP_reduce_sum, e, &axis, 1, true);
    sinter_value y = logarithm
                         ? sinter_compose_binary(rewrite, SINTER_OP_sub, s,
                                                 sinter_compose_unary(rewrite, SINTER_OP_log, sum))
                         : sinter_compose_binary(rewrite, SINTER_OP_div, e, sum);
    out_results[0] = sinter_compose_cast(rewrite, y, type.dtype);
    return out_results[0] != 0;
}

bool sinter_decompose_reduce_log_sum_exp(sinter_rewrite *rewrite, sinter_node node,
                                         sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 axes = sinter_compose_operand(rewrite, node, 1);
    sinter_dtype dtype = sinter_compose_type(rewrite, x)->dtype;
    sinter_value wide =
        sinter_dtype_is_float(dtype) ? sinter_compose_cast(rewrite, x, statistics_dtype(dtype)) : x;
    if (!sinter_dtype_is_float(dtype)) wide = sinter_compose_cast(rewrite, x, SINTER_DTYPE_f64);
    sinter_attr keep[2] = {
        sinter_attr_int("keepdims", 1),
        sinter_attr_int("noop_with_empty_axes", sinter_node_get_int(rewrite->build.module, node,
                                                                    "noop_with_empty_axes", 0))};
    sinter_attr own[2] = {sinter_attr_int("keepdims", sinter_node_get_int(rewrite->build.module,
                                                                          node, "keepdims", 1)),
                          keep[1]};
    sinter_value operands[2] = {wide, axes};
    sinter_value top = sinter_build(&rewrite->build, SINTER_OP_reduce_max, operands, 2, keep, 2);
    sinter_value own_top = sinter_build(&rewrite->build, SINTER_OP_reduce_max, operands, 2, own, 2);
    if (!top || !own_top) return false;
    /* Infinite maxima are not subtracted: inf - inf would be NaN. */
    sinter_value zero =
        sinter_build_scalar(&rewrite->build, sinter_compose_type(rewrite, wide)->dtype, 0);
    sinter_value infinite = sinter_compose_unary(rewrite, SINTER_OP_is_inf, top);
    sinter_value own_infinite = sinter_compose_unary(rewrite, SINTER_OP_is_inf, own_top);
    top = sinter_compose_select(rewrite, infinite, zero, top);
    own_top = sinter_compose_select(rewrite, own_infinite, zero, own_top);
    operands[0] = sinter_compose_unary(rewrite, SINTER_OP_exp,
                                       sinter_compose_binary(rewrite, SINTER_OP_sub, wide, top));
    if (!operands[0]) return false;
    sinter_value sum = sinter_build(&rewrite->build, SINTER_OP_reduce_sum, operands, 2, own, 2);
    sinter_value y = sinter_compose_binary(
        rewrite, SINTER_OP_add, sinter_compose_unary(rewrite, SINTER_OP_log, sum), own_top);
    out_results[0] = sinter_compose_cast(rewrite, y, dtype);
    return out_results[0] != 0;
}

/* (x - mean) and 1 / sqrt(var + epsilon) over axes, both with dims kept. */
typedef struct moments {
    sinter_value mean, centred, inverse;
} moments;

static moments take_moments(sinter_rewrite *rewrite, sinter_value x, const int64_t *axes,
                            size_t count, double epsilon) {
    moments m;
    m.mean = sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, x, axes, count, true);
    m.centred = sinter_compose_binary(rewrite, SINTER_OP_sub, x, m.mean);
    sinter_value square = sinter_compose_binary(rewrite, SINTER_OP_mul, m.centred, m.centred);
    sinter_value variance =
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, square, axes, count, true);
    sinter_value deviation =
        sinter_compose_unary(rewrite, SINTER_OP_sqrt,
                             sinter_compose_with_number(rewrite, SINTER_OP_add, variance, epsilon));
    m.inverse = sinter_compose_unary(rewrite, SINTER_OP_reciprocal, deviation);
    return m;
}

static size_t axes_from(int64_t first, uint32_t rank, int64_t *axes) {
    size_t count = 0;
    for (int64_t i = first; i < rank; ++i) axes[count++] = i;
    return count;
}

bool sinter_decompose_layer_normalization(sinter_rewrite *rewrite, sinter_node node,
                                          sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 scale = sinter_compose_operand(rewrite, node, 1),
                 bias = sinter_compose_operand(rewrite, node, 2);
    sinter_type type = *sinter_compose_type(rewrite, x);
    sinter_dtype wide = statistics_dtype(type.dtype);
    int64_t axes[SINTER_MAX_RANK];
    size_t count = axes_from(sinter_node_get_axis(rewrite->build.module, node, -1, type.rank),
                             type.rank, axes);
    moments m = take_moments(rewrite, sinter_compose_cast(rewrite, x, wide), axes, count,
                             sinter_node_get_float(module, node, "epsilon", 1e-5));
    sinter_value y = sinter_compose_cast(
        rewrite, sinter_compose_binary(rewrite, SINTER_OP_mul, m.centred, m.inverse), type.dtype);
    y = sinter_compose_binary(rewrite, SINTER_OP_mul, y, scale);
    if (bias) y = sinter_compose_binary(rewrite, SINTER_OP_add, y, bias);
    out_results[0] = y;
    uint32_t results = sinter_node_get(module, node)->result_count;
    sinter_dtype stash = sinter_node_get_dtype(module, node, "stash_type");
    if (!stash) stash = SINTER_DTYPE_f32;
    if (results > 1) out_results[1] = sinter_compose_cast(rewrite, m.mean, stash);
    if (results > 2) out_results[2] = sinter_compose_cast(rewrite, m.inverse, stash);
    return y && m.mean && m.inverse;
}

bool sinter_decompose_rms_normalization(sinter_rewrite *rewrite, sinter_node node,
                                        sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 scale = sinter_compose_operand(rewrite, node, 1);
    sinter_type type = *sinter_compose_type(rewrite, x);
    int64_t axes[SINTER_MAX_RANK];
    size_t count = axes_from(sinter_node_get_axis(rewrite->build.module, node, -1, type.rank),
                             type.rank, axes);
    sinter_value wide = sinter_compose_cast(rewrite, x, statistics_dtype(type.dtype));
    sinter_value square = sinter_compose_binary(rewrite, SINTER_OP_mul, wide, wide);
    sinter_value mean =
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, square, axes, count, true);
    double epsilon = sinter_node_get_float(rewrite->build.module, node, "epsilon", 1e-5);
    sinter_value root = sinter_compose_unary(
        rewrite, SINTER_OP_sqrt, sinter_compose_with_number(rewrite, SINTER_OP_add, mean, epsilon));
    sinter_value y = sinter_compose_cast(
        rewrite, sinter_compose_binary(rewrite, SINTER_OP_div, wide, root),
        sinter_compose_type(rewrite, scale)->dtype); /* which is that of the result */
    out_results[0] = sinter_compose_binary(rewrite, SINTER_OP_mul, y, scale);
    return out_results[0] != 0;
}

bool sinter_decompose_instance_normalization(sinter_rewrite *rewrite, sinter_node node,
                                             sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    sinter_dtype wide = statistics_dtype(type.dtype);
    int64_t axes[SINTER_MAX_RANK];
    size_t count = axes_from(2, type.rank, axes);
    moments m = take_moments(rewrite, sinter_compose_cast(rewrite, x, wide), axes, count,
                             sinter_node_get_float(rewrite->build.module, node, "epsilon", 1e-5));
    sinter_value scale = sinter_compose_cast(
        rewrite,
        sinter_compose_channel_view(rewrite, sinter_compose_operand(rewrite, node, 1), type.rank),
        wide);
    sinter_value bias = sinter_compose_cast(
        rewrite,
        sinter_compose_channel_view(rewrite, sinter_compose_operand(rewrite, node, 2), type.rank),
        wide);
    sinter_value y =
        sinter_compose_binary(rewrite, SINTER_OP_mul, m.centred,
                              sinter_compose_binary(rewrite, SINTER_OP_mul, m.inverse, scale));
    out_results[0] = sinter_compose_cast(
        rewrite, sinter_compose_binary(rewrite, SINTER_OP_add, y, bias), type.dtype);
    return out_results[0] != 0;
}

bool sinter_decompose_group_normalization(sinter_rewrite *rewrite, sinter_node node,
                                          sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_dim_table *table = sinter_module_dims(module);
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    int64_t groups = sinter_node_get_int(module, node, "num_groups", 1);
    sinter_dtype wide = statistics_dtype(type.dtype);
    /* [N, C, ...] as [N, groups, C / groups * ...] */
    sinter_dim rest = sinter_dim_floordiv(table, sinter_type_product(table, &type, 1, type.rank),
                                          sinter_dim_const(table, groups));
    sinter_dim grouped[3] = {type.dims[0], sinter_dim_const(table, groups), rest};
    sinter_value view =
        sinter_compose_reshape(rewrite, sinter_compose_cast(rewrite, x, wide), grouped, 3);
    int64_t axis = 2;
    moments m =
        take_moments(rewrite, view, &axis, 1, sinter_node_get_float(module, node, "epsilon", 1e-5));
    sinter_value y = sinter_compose_reshape(
        rewrite, sinter_compose_binary(rewrite, SINTER_OP_mul, m.centred, m.inverse), type.dims,
        type.rank);
    sinter_value scale = sinter_compose_cast(
        rewrite,
        sinter_compose_channel_view(rewrite, sinter_compose_operand(rewrite, node, 1), type.rank),
        wide);
    sinter_value bias = sinter_compose_cast(
        rewrite,
        sinter_compose_channel_view(rewrite, sinter_compose_operand(rewrite, node, 2), type.rank),
        wide);
    y = sinter_compose_binary(rewrite, SINTER_OP_add,
                              sinter_compose_binary(rewrite, SINTER_OP_mul, y, scale), bias);
    out_results[0] = sinter_compose_cast(rewrite, y, type.dtype);
    return out_results[0] != 0;
}

/* old * momentum + batch * (1 - momentum) */
static sinter_value running(sinter_rewrite *rewrite, sinter_value old, sinter_value batch,
                            double momentum) {
    sinter_dtype dtype = sinter_compose_type(rewrite, old)->dtype;
    sinter_value kept = sinter_compose_with_number(rewrite, SINTER_OP_mul, old, momentum);
    sinter_value fresh = sinter_compose_with_number(
        rewrite, SINTER_OP_mul, sinter_compose_cast(rewrite, batch, dtype), 1 - momentum);
    return sinter_compose_binary(rewrite, SINTER_OP_add, kept, fresh);
}

bool sinter_decompose_batch_normalization(sinter_rewrite *rewrite, sinter_node node,
                                          sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 mean = sinter_compose_operand(rewrite, node, 3),
                 variance = sinter_compose_operand(rewrite, node, 4);
    sinter_type type = *sinter_compose_type(rewrite, x);
    sinter_dtype wide = statistics_dtype(type.dtype);
    sinter_value wide_x = sinter_compose_cast(rewrite, x, wide);
    if (sinter_node_get_int(module, node, "training_mode", 0)) {
        int64_t axes[SINTER_MAX_RANK];
        size_t count = 0;
        for (int64_t i = 0; i < type.rank; ++i)
            if (i != 1) axes[count++] = i;
        sinter_value batch_mean =
            sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, wide_x, axes, count, true);
        sinter_value centred = sinter_compose_binary(rewrite, SINTER_OP_sub, wide_x, batch_mean);
        sinter_value square = sinter_compose_binary(rewrite, SINTER_OP_mul, centred, centred);
        double momentum = sinter_node_get_float(module, node, "momentum", 0.9);
        sinter_value flat_mean =
            sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, wide_x, axes, count, false);
        sinter_value flat_variance =
            sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, square, axes, count, false);
        if (sinter_node_result(module, node, 1))
            out_results[1] = running(rewrite, mean, flat_mean, momentum);
        if (sinter_node_result(module, node, 2))
            out_results[2] = running(rewrite, variance, flat_variance, momentum);
        mean = flat_mean;
        variance = flat_variance;
    }
    /* y = x * a + b with a = scale / sqrt(variance + epsilon), b = bias - mean * a: both per channel */
    double epsilon = sinter_node_get_float(module, node, "epsilon", 1e-5);
    sinter_value deviation = sinter_compose_unary(
        rewrite, SINTER_OP_sqrt,
        sinter_compose_with_number(rewrite, SINTER_OP_add,
                                   sinter_compose_cast(rewrite, variance, wide), epsilon));
    sinter_value a = sinter_compose_binary(
        rewrite, SINTER_OP_div,
        sinter_compose_cast(rewrite, sinter_compose_operand(rewrite, node, 1), wide), deviation);
    sinter_value b = sinter_compose_binary(
        rewrite, SINTER_OP_sub,
        sinter_compose_cast(rewrite, sinter_compose_operand(rewrite, node, 2), wide),
        sinter_compose_binary(rewrite, SINTER_OP_mul, sinter_compose_cast(rewrite, mean, wide), a));
    sinter_value y = sinter_compose_binary(rewrite, SINTER_OP_mul, wide_x,
                                           sinter_compose_channel_view(rewrite, a, type.rank));
    y = sinter_compose_binary(rewrite, SINTER_OP_add, y,
                              sinter_compose_channel_view(rewrite, b, type.rank));
    out_results[0] = sinter_compose_cast(rewrite, y, type.dtype);
    return out_results[0] != 0;
}

bool sinter_decompose_mean_variance_normalization(sinter_rewrite *rewrite, sinter_node node,
                                                  sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    const int64_t *axes = NULL;
    size_t count = sinter_node_get_ints(rewrite->build.module, node, "axes", &axes);
    /* The operator's function body adds 1e-9 to the deviation itself. */
    sinter_value wide = sinter_compose_cast(rewrite, x, statistics_dtype(type.dtype));
    sinter_value mean =
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, wide, axes, count, true);
    sinter_value centred = sinter_compose_binary(rewrite, SINTER_OP_sub, wide, mean);
    sinter_value square = sinter_compose_binary(rewrite, SINTER_OP_mul, centred, centred);
    sinter_value variance =
        sinter_compose_reduce(rewrite, SINTER_OP_reduce_mean, square, axes, count, true);
    sinter_value deviation = sinter_compose_with_number(
        rewrite, SINTER_OP_add, sinter_compose_unary(rewrite, SINTER_OP_sqrt, variance), 1e-9);
    out_results[0] = sinter_compose_cast(
        rewrite, sinter_compose_binary(rewrite, SINTER_OP_div, centred, deviation), type.dtype);
    return out_results[0] != 0;
}

bool sinter_decompose_lp_normalization(sinter_rewrite *rewrite, sinter_node node,
                                       sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    int64_t axis = sinter_node_get_axis(rewrite->build.module, node, -1, type.rank);
    bool absolute = sinter_node_get_int(rewrite->build.module, node, "p", 2) == 1;
    sinter_value norm = sinter_compose_reduce(
        rewrite, absolute ? SINTER_OP_reduce_l1 : SINTER_OP_reduce_l2, x, &axis, 1, true);
    /* A slice of zeros stays zero. */
    sinter_value zero = sinter_build_scalar(&rewrite->build, type.dtype, 0),
                 one = sinter_build_scalar(&rewrite->build, type.dtype, 1);
    sinter_value is_zero = sinter_compose_binary(rewrite, SINTER_OP_equal, norm, zero);
    out_results[0] = sinter_compose_binary(rewrite, SINTER_OP_div, x,
                                           sinter_compose_select(rewrite, is_zero, one, norm));
    return out_results[0] != 0;
}

bool sinter_decompose_global_pool(sinter_rewrite *rewrite, sinter_node node,
                                  sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_op op = sinter_node_get(module, node)->op;
    if (op != SINTER_OP_global_lp_pool) {
        out_results[0] = sinter_compose_reduce_from(
            rewrite, op == SINTER_OP_global_max_pool ? SINTER_OP_reduce_max : SINTER_OP_reduce_mean,
            x, 2);
        return out_results[0] != 0;
    }
    int64_t p = sinter_node_get_int(module, node, "p", 2);
    if (p == 1 || p == 2) {
        out_results[0] = sinter_compose_reduce_from(
            rewrite, p == 1 ? SINTER_OP_reduce_l1 : SINTER_OP_reduce_l2, x, 2);
        return out_results[0] != 0;
    }
    sinter_value powers = sinter_compose_with_number(
        rewrite, SINTER_OP_pow, sinter_compose_unary(rewrite, SINTER_OP_abs, x), (double)p);
    sinter_value sum = sinter_compose_reduce_from(rewrite, SINTER_OP_reduce_sum, powers, 2);
    out_results[0] = sinter_compose_with_number(rewrite, SINTER_OP_pow, sum, 1.0 / (double)p);
    return out_results[0] != 0;
}

bool sinter_decompose_gemm(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value a = sinter_compose_operand(rewrite, node, 0),
                 b = sinter_compose_operand(rewrite, node, 1),
                 c = sinter_compose_operand(rewrite, node, 2);
    const int64_t swap[2] = {1, 0};
    double alpha = sinter_node_get_float(module, node, "alpha", 1),
           beta = sinter_node_get_float(module, node, "beta", 1);
    if (sinter_node_get_int(module, node, "transA", 0))
        a = sinter_compose_transpose(rewrite, a, swap, 2);
    if (sinter_node_get_int(module, node, "transB", 0))
        b = sinter_compose_transpose(rewrite, b, swap, 2);
    sinter_value y = sinter_compose_binary(rewrite, SINTER_OP_matmul, a, b);
    /* A fraction of an integer: the sum is rounded, not the factors. */
    sinter_dtype dtype = sinter_compose_type(rewrite, a)->dtype;
    bool fractions = !sinter_dtype_is_float(dtype) && (alpha != rint(alpha) || beta != rint(beta));
    if (fractions) {
        y = sinter_compose_cast(rewrite, y, SINTER_DTYPE_f64);
        c = sinter_compose_cast(rewrite, c, SINTER_DTYPE_f64);
    }
    if (alpha != 1) y = sinter_compose_with_number(rewrite, SINTER_OP_mul, y, alpha);
    if (c && beta != 0) {
        if (beta != 1) c = sinter_compose_with_number(rewrite, SINTER_OP_mul, c, beta);
        y = sinter_compose_binary(rewrite, SINTER_OP_add, y, c);
    }
    out_results[0] = sinter_compose_cast(rewrite, y, dtype);
    return out_results[0] != 0;
}
