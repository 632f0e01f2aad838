/* Rules of recognize_integer: constant weights of fewer than eight bits where they meet integers, which are multiplied as bytes, and
 * in convolutions, which are bound by arithmetic: there they are widened once. In products with floats they stay packed
 * (passes/packed_weight.h). Test: tests/passes/recognize_integer/narrow.sir */
#include "passes/recognize_integer.h"

static bool is_sub_byte(const sinter_tensor *tensor) {
    return tensor && sinter_dtype_is_integer(tensor->dtype) &&
           sinter_dtype_infos[tensor->dtype].bits < 8;
}

static sinter_value widen(sinter_rewrite *rewrite, sinter_value x) {
    const sinter_tensor *items = sinter_value_constant(rewrite->build.module, x);
    sinter_tensor wide;
    if (!sinter_tensor_create(&wide, SINTER_DTYPE_i8, items->rank, items->dims,
                              rewrite->build.diag))
        return 0;
    for (int64_t i = 0; i < sinter_tensor_count(items); i++)
        sinter_tensor_set_int(&wide, i, sinter_tensor_get_int(items, i));
    return sinter_integer_constant_again(rewrite, x, wide);
}

bool sinter_integer_widen(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_op op = sinter_node_op(module, node);
    if (op != SINTER_OP_conv_integer && op != SINTER_OP_matmul_integer) return false;
    const sinter_tensor *weights =
        sinter_value_constant(module, sinter_node_operand(module, node, 1));
    sinter_value zero_point = sinter_node_operand(module, node, 3);
    const sinter_tensor *zero = zero_point ? sinter_value_constant(module, zero_point) : NULL;
    if (!is_sub_byte(weights) || (zero_point && !is_sub_byte(zero))) return false;
    /* the types of both change: a node of its own */
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value operands[4] = {
        info->operands[0], widen(rewrite, sinter_node_operand(module, node, 1)),
        sinter_node_operand(module, node, 2), zero ? widen(rewrite, zero_point) : 0};
    if (!operands[1] || (zero && !operands[3])) return false;
    info = sinter_node_get(module, node);
    return sinter_integer_replace(rewrite, node,
                                  sinter_build(&rewrite->build, op, operands,
                                               operands[3]   ? 4
                                               : operands[2] ? 3
                                                             : 2,
                                               info->attributes, info->attribute_count));
}

/* Whether a convolution reads the value as its weights, maybe through views. */
bool sinter_integer_feeds_window(const sinter_module *module, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(module, value);
    for (size_t i = 0; i < info->uses.count; i++) {
        sinter_node user = info->uses.items[i].node;
        const sinter_node_info *node = sinter_node_get(module, user);
        sinter_pattern pattern = sinter_op_get_info(node->op)->pattern;
        if (pattern == SINTER_PATTERN_WINDOW) return true;
        if ((node->op == SINTER_OP_reshape || node->op == SINTER_OP_transpose) &&
            sinter_integer_feeds_window(module, node->results[0]))
            return true;
    }
    return false;
}
