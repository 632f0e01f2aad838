/* Finds weights of fewer than eight bits by what makes them: a dequantization of constants, as it is or transposed.
 * Test: tests/passes/fuse/weights_of_bits.sir, tests/passes/lower_precision/blocks.sir */
#include "passes/packed_weight.h"

enum { BYTE = 8, WORD = 32 };

static bool is_constant(const sinter_module *module, const sinter_node_info *info) {
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (info->operands[i] && !sinter_value_constant(module, info->operands[i])) return false;
    return true;
}

/* Scales change along the axis of the dequantization that is k of the product, every so many elements. */
static int64_t find_block(const sinter_module *module, const sinter_packed_weight *weight,
                          int64_t steps) {
    int64_t block = sinter_node_get_int(module, weight->dequantize, "block_size", 0);
    bool along = sinter_node_get_axis(module, weight->dequantize, 1, 2) == (weight->view != 0);
    return along && block > 0 && steps % block == 0 ? block : 0;
}

bool sinter_find_packed_weight(const sinter_module *module, sinter_node product,
                               sinter_packed_weight *out_weight) {
    sinter_value value = sinter_node_operand(module, product, 1);
    sinter_node node = sinter_value_definition(module, value);
    *out_weight = (sinter_packed_weight){0};
    if (sinter_value_type(module, value)->rank != 2 || !node ||
        !sinter_value_has_one_use(module, value))
        return false;
    if (sinter_node_get(module, node)->op == SINTER_OP_transpose) {
        out_weight->view = node;
        sinter_value turned = sinter_node_operand(module, node, 0);
        node = sinter_value_definition(module, turned);
        if (!sinter_value_has_one_use(module, turned)) return false;
    }
    if (sinter_node_op(module, node) != SINTER_OP_dequantize_linear ||
        !is_constant(module, sinter_node_get(module, node)))
        return false;
    out_weight->dequantize = node;
    int64_t bits =
                sinter_dtype_infos[sinter_value_type(module, sinter_node_operand(module, node, 0))
                                       ->dtype]
                    .bits,
            block = sinter_node_get_int(module, node, "block_size", 0), steps;
    if (bits >= BYTE || WORD % bits ||
        !sinter_dim_is_const(sinter_module_dims(module), sinter_value_type(module, value)->dims[0],
                             &steps) ||
        steps % (WORD / bits) || block % (WORD / bits))
        return false;
    out_weight->block = find_block(module, out_weight, steps);
    return true;
}
