/* FlexAttention: attention whose scores and probabilities pass through graphs of the file. It is built from
 * matmul and softmax with those graphs in between, so that they fuse like everything else.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <math.h>

/* The graph's nodes in place, or x itself where the attribute is absent. */
static sinter_value modify(sinter_onnx_node *node, const char *name, sinter_value x) {
    const Onnx__GraphProto *graph = sinter_onnx_graph(node, name, false);
    if (!graph || !x || node->failed) return node->failed ? 0 : x;
    sinter_value result = 0;
    return sinter_onnx_inline_graph(node, graph, &x, 1, &result, 1) ? result : 0;
}

/* [batch, heads, length, size] -> [batch, heads * times, length, size], each head `times` in a row. */
static sinter_value repeat_heads(sinter_onnx_node *node, sinter_value x, int64_t times) {
    if (!x || times == 1) return x;
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type type = *sinter_onnx_type_of(node, x);
    sinter_dim count = sinter_dim_const(dims, times);
    sinter_dim wide[] = {type.dims[0], type.dims[1], count, type.dims[2], type.dims[3]};
    sinter_dim flat[] = {type.dims[0], sinter_dim_mul(dims, type.dims[1], count), type.dims[2],
                         type.dims[3]};
    int64_t axis = 2;
    x = sinter_onnx_unsqueeze(node, x, &axis, 1);
    x = sinter_onnx_op2(node, SINTER_OP_expand, x, sinter_build_dims(&node->build, wide, 5));
    return sinter_onnx_reshape_dims(node, x, flat, 4);
}

static bool check_heads(sinter_onnx_node *node, const sinter_value *qkv, int64_t *out_times) {
    const sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    int64_t heads[3];
    for (int i = 0; i < 3; i++) {
        const sinter_type *type = sinter_onnx_type_of(node, qkv[i]);
        if (type->rank != 4 || !sinter_dim_is_const(dims, type->dims[1], &heads[i]))
            return sinter_onnx_fail(node, "expected Q, K, V of rank 4 with known numbers of heads");
    }
    if (heads[1] < 1 || heads[0] % heads[1] != 0 || heads[1] != heads[2])
        return sinter_onnx_fail(node,
                                "%" PRId64 " query heads for %" PRId64 " key and %" PRId64
                                " value heads, expected a multiple",
                                heads[0], heads[1], heads[2]);
    *out_times = heads[0] / heads[1];
    return true;
}

bool sinter_onnx_rule_flex_attention(sinter_onnx_node *node) {
    sinter_builder *build = &node->build;
    sinter_value qkv[3];
    int64_t times = 1, size = 0;
    for (uint32_t i = 0; i < 3; i++) {
        static const char *const names[] = {"Q", "K", "V"};
        qkv[i] = sinter_onnx_need_operand(node, i, names[i]);
    }
    if (node->failed || !check_heads(node, qkv, &times)) return false;
    const sinter_type type = *sinter_onnx_type_of(node, qkv[0]);
    sinter_dtype precision = sinter_dtype_from_onnx(sinter_onnx_int(
        node, "softmax_precision",
        sinter_dtype_infos[type.dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32]
            .onnx_code));
    bool sized =
        sinter_dim_is_const(sinter_module_dims(node->importer->module), type.dims[3], &size);
    double scale = sinter_onnx_float(node, "scale", sized && size ? 1 / sqrt((double)size) : 0);
    if (!sinter_dtype_is_float(precision) || (!sized && !sinter_onnx_has(node, "scale")))
        return sinter_onnx_fail(node, "the softmax precision or the head size is unknown");
    for (int i = 0; i < 3; i++) {
        qkv[i] = sinter_build_cast(build, qkv[i], precision);
        if (i) qkv[i] = repeat_heads(node, qkv[i], times);
    }
    const int64_t perm[] = {0, 1, 3, 2};
    sinter_value scores = sinter_onnx_op2(node, SINTER_OP_matmul, qkv[0],
                                          sinter_build_transpose(build, qkv[1], perm, 4));
    scores = modify(node, "score_mod", sinter_onnx_op_number(node, SINTER_OP_mul, scores, scale));
    scores = modify(node, "prob_mod", sinter_onnx_op1(node, SINTER_OP_softmax, scores));
    scores = sinter_onnx_op2(node, SINTER_OP_matmul, scores, qkv[2]);
    return sinter_onnx_return(node, sinter_build_cast(build, scores, type.dtype));
}
