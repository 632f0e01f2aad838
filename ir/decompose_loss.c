/* Decompositions of the losses, dropout and other small composites. Test: tests/passes/decompose/ */
#include "ir/decompose.h"

static sinter_value reduce_all(sinter_rewrite *rewrite, sinter_op op, sinter_value x) {
    int64_t axes[SINTER_MAX_RANK];
    if (!x) return 0;
    uint32_t rank = sinter_compose_type(rewrite, x)->rank;
    for (uint32_t i = 0; i < rank; ++i) axes[i] = i;
    return sinter_compose_reduce(rewrite, op, x, axes, rank, false);
}

/* Classes that count from the end are none: they become one past the last, which the gather refuses. */
static sinter_value refuse_negative(sinter_rewrite *rewrite, sinter_value target,
                                    sinter_value scores) {
    sinter_type type = *sinter_compose_type(rewrite, target);
    sinter_value past = sinter_compose_cast(
        rewrite,
        sinter_build_dims(&rewrite->build, &sinter_compose_type(rewrite, scores)->dims[1], 1),
        type.dtype);
    return sinter_compose_select(
        rewrite, sinter_compose_with_number(rewrite, SINTER_OP_less, target, 0), past, target);
}

/* Negative log likelihood of `target` [N, ...] under `scores` [N, C, ...] (log probabilities). Ignored targets have weight
 * 0 and read class 0, so that no index leaves the axis. */
static sinter_value negative_log_likelihood(sinter_rewrite *rewrite, sinter_node node,
                                            sinter_value scores, sinter_value target,
                                            sinter_value weight) {
    sinter_module *module = rewrite->build.module;
    sinter_dtype dtype = sinter_compose_type(rewrite, scores)->dtype;
    const sinter_attr *ignore = sinter_node_find_attr(module, node, "ignore_index");
    sinter_string reduction = sinter_node_get_string(module, node, "reduction");
    const int64_t axis = 1;
    sinter_value ignored = 0, safe = refuse_negative(rewrite, target, scores);
    if (ignore) {
        ignored =
            sinter_compose_with_number(rewrite, SINTER_OP_equal, target, (double)ignore->int_value);
        safe = sinter_compose_select(
            rewrite, ignored,
            sinter_build_scalar(&rewrite->build, sinter_compose_type(rewrite, target)->dtype, 0),
            safe);
    }
    sinter_attr attribute = sinter_attr_int("axis", 1);
    sinter_value operands[2] = {scores, sinter_compose_unsqueeze(rewrite, safe, &axis, 1)};
    if (!operands[1]) return 0;
    sinter_value picked =
        sinter_build(&rewrite->build, SINTER_OP_gather_elements, operands, 2, &attribute, 1);
    picked = sinter_compose_binary(rewrite, SINTER_OP_squeeze, picked,
                                   sinter_build_ints(&rewrite->build, &axis, 1));
    sinter_value loss = sinter_compose_unary(rewrite, SINTER_OP_neg, picked), weights = 0;
    if (weight) {
        sinter_value gather[2] = {weight, safe};
        weights = sinter_build(&rewrite->build, SINTER_OP_gather, gather, 2, NULL, 0);
    }
    if (ignored) {
        sinter_value zero = sinter_build_scalar(&rewrite->build, dtype, 0);
        weights = sinter_compose_select(rewrite, ignored, zero,
                                        weights ? weights
                                                : sinter_build_scalar(&rewrite->build, dtype, 1));
    }
    if (weights) loss = sinter_compose_binary(rewrite, SINTER_OP_mul, loss, weights);
    if (sinter_string_is(reduction, "none")) return loss;
    if (sinter_string_is(reduction, "sum")) return reduce_all(rewrite, SINTER_OP_reduce_sum, loss);
    if (!weights) return reduce_all(rewrite, SINTER_OP_reduce_mean, loss);
    return sinter_compose_binary(rewrite, SINTER_OP_div,
                                 reduce_all(rewrite, SINTER_OP_reduce_sum, loss),
                                 reduce_all(rewrite, SINTER_OP_reduce_sum, weights));
}

bool sinter_decompose_negative_log_likelihood_loss(sinter_rewrite *rewrite, sinter_node node,
                                                   sinter_value *out_results) {
    out_results[0] = negative_log_likelihood(
        rewrite, node, sinter_compose_operand(rewrite, node, 0),
        sinter_compose_operand(rewrite, node, 1), sinter_compose_operand(rewrite, node, 2));
    return out_results[0] != 0;
}

bool sinter_decompose_softmax_cross_entropy_loss(sinter_rewrite *rewrite, sinter_node node,
                                                 sinter_value *out_results) {
    sinter_value scores = sinter_compose_operand(rewrite, node, 0);
    sinter_attr axis = sinter_attr_int("axis", 1);
    sinter_value logarithms =
        sinter_build(&rewrite->build, SINTER_OP_log_softmax, &scores, 1, &axis, 1);
    if (!logarithms) return false;
    out_results[0] =
        negative_log_likelihood(rewrite, node, logarithms, sinter_compose_operand(rewrite, node, 1),
                                sinter_compose_operand(rewrite, node, 2));
    if (sinter_node_get(rewrite->build.module, node)->result_count > 1) out_results[1] = logarithms;
    return out_results[0] != 0;
}

/* Inference: the identity and an all-true mask. Training keeps the op: it draws. */
bool sinter_decompose_dropout(sinter_rewrite *rewrite, sinter_node node,
                              sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 training = sinter_compose_operand(rewrite, node, 2),
                 ratio = sinter_compose_operand(rewrite, node, 1);
    const sinter_tensor *flag = training ? sinter_value_constant(module, training) : NULL;
    const sinter_tensor *rate = ratio ? sinter_value_constant(module, ratio) : NULL;
    bool draws = training && !(flag && sinter_tensor_get_int(flag, 0) == 0) &&
                 !(rate && sinter_tensor_get_double(rate, 0) == 0);
    if (draws) return true;
    out_results[0] = x;
    if (sinter_node_get(module, node)->result_count > 1 && sinter_node_result(module, node, 1)) {
        sinter_type type = *sinter_compose_type(rewrite, x);
        sinter_value yes = sinter_build_scalar(&rewrite->build, SINTER_DTYPE_bool, 1);
        out_results[1] =
            sinter_compose_binary(rewrite, SINTER_OP_expand, yes,
                                  sinter_build_dims(&rewrite->build, type.dims, type.rank));
    }
    return true;
}

/* u8: scale = (max(x, 0) - min(x, 0)) / 255, zero point = saturate(round(-min / scale)). */
bool sinter_decompose_dynamic_quantize_linear(sinter_rewrite *rewrite, sinter_node node,
                                              sinter_value *out_results) {
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_value low = sinter_compose_with_number(rewrite, SINTER_OP_min,
                                                  reduce_all(rewrite, SINTER_OP_reduce_min, x), 0);
    sinter_value high = sinter_compose_with_number(rewrite, SINTER_OP_max,
                                                   reduce_all(rewrite, SINTER_OP_reduce_max, x), 0);
    sinter_value scale = sinter_compose_with_number(
        rewrite, SINTER_OP_div, sinter_compose_binary(rewrite, SINTER_OP_sub, high, low), 255);
    sinter_value offset = sinter_compose_unary(
        rewrite, SINTER_OP_neg, sinter_compose_binary(rewrite, SINTER_OP_div, low, scale));
    if (!offset) return false;
    sinter_value bounds[3] = {sinter_compose_unary(rewrite, SINTER_OP_round, offset),
                              sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, 0),
                              sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, 255)};
    sinter_value zero = sinter_compose_cast(
        rewrite, sinter_build(&rewrite->build, SINTER_OP_clip, bounds, 3, NULL, 0),
        SINTER_DTYPE_u8);
    sinter_value operands[3] = {x, scale, zero};
    if (!zero) return false;
    out_results[0] = sinter_build(&rewrite->build, SINTER_OP_quantize_linear, operands, 3, NULL, 0);
    out_results[1] = scale;
    out_results[2] = zero;
    return out_results[0] != 0;
}
