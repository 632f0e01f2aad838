/* Rules of normalization layers and dropout in their old forms. Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>

/* Opset < 14: inference whenever only Y is asked for. Statistics per element (spatial = 0) are not channel ones. */
bool sinter_onnx_rule_batch_normalization(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    if (sinter_onnx_int(node, "spatial", 1) == 0)
        return sinter_onnx_fail(node,
                                "spatial = 0 (statistics for every position) is not supported");
    if (!sinter_onnx_draft_begin(node, &draft)) return false;
    sinter_node_spec spec = {.op = draft.op,
                             .operands = draft.operands.items,
                             .operand_count = (uint32_t)draft.operands.count,
                             .attributes = draft.attributes.items,
                             .attribute_count = (uint32_t)draft.attributes.count,
                             .result_count = 1};
    sinter_node built = sinter_build_node(&node->build, &spec);
    return built && sinter_onnx_return(node, sinter_node_result(node->importer->module, built, 0));
}

/* Opset < 12: a compiled model is past its training. The mask had the type of the data before opset 10. */
bool sinter_onnx_rule_dropout(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "data");
    if (!x) return false;
    if (!sinter_onnx_wants(node, 1))
        return sinter_onnx_return(node, sinter_onnx_op1(node, SINTER_OP_identity, x));
    sinter_onnx_draft draft;
    if (!sinter_onnx_draft_begin(node, &draft) || !sinter_onnx_draft_finish(node, &draft))
        return false;
    if (node->version < 10)
        node->results[1] =
            sinter_build_cast(&node->build, node->results[1], sinter_onnx_type_of(node, x)->dtype);
    return node->results[1] != 0;
}

/* Opset 18 scales and shifts per group; from 21 on it is per channel. */
bool sinter_onnx_rule_group_normalization(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    int64_t groups = sinter_onnx_int(node, "num_groups", 0);
    if (!x || node->failed || !sinter_onnx_draft_begin(node, &draft)) return false;
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type type = *sinter_onnx_type_of(node, x);
    int64_t channels;
    if (type.rank < 2 || !sinter_dim_is_const(dims, type.dims[1], &channels) || groups < 1 ||
        channels % groups != 0)
        return sinter_onnx_fail(
            node, "expected a number of channels that %" PRId64 " groups divide", groups);
    for (uint32_t i = 1; i <= 2 && i < draft.operands.count; i++) {
        const int64_t spread[] = {groups, channels / groups}, axis = 1, flat = channels;
        sinter_value value = sinter_onnx_unsqueeze(node, draft.operands.items[i], &axis, 1);
        value = sinter_onnx_op2(node, SINTER_OP_expand, value,
                                sinter_build_ints(&node->build, spread, 2));
        if (value) value = sinter_build_reshape(&node->build, value, &flat, 1);
        if (!value) return false;
        sinter_onnx_draft_set_operand(node, &draft, i, value);
    }
    return sinter_onnx_draft_finish(node, &draft);
}

/* Experimental form: axes by name; without normalize_variance only the mean is taken away. */
bool sinter_onnx_rule_mean_variance(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    bool across = sinter_onnx_int(node, "across_channels", 0) != 0;
    bool variance = sinter_onnx_int(node, "normalize_variance", 1) != 0;
    if (!x || node->failed) return false;
    uint32_t rank = sinter_onnx_type_of(node, x)->rank;
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    for (uint32_t i = across ? 1 : 2; i < rank; i++) axes[count++] = i;
    if (variance) {
        sinter_attr attr = sinter_attr_ints("axes", axes, count);
        return sinter_onnx_return(
            node,
            sinter_build(&node->build, SINTER_OP_mean_variance_normalization, &x, 1, &attr, 1));
    }
    sinter_value mean = sinter_onnx_op2(node, SINTER_OP_reduce_mean, x,
                                        sinter_build_ints(&node->build, axes, count));
    return sinter_onnx_return(node, sinter_onnx_op2(node, SINTER_OP_sub, x, mean));
}
