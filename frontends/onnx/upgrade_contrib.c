/* Fused float operators of com.microsoft, as ONNX Runtime's optimizer writes them into files: each is the
 * composition it was fused from. Test: tests/suites/contrib_operators.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

/* ---- activations ---- */

bool sinter_onnx_rule_bias_gelu(sinter_onnx_node *node) {
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value b = sinter_onnx_need_operand(node, 1, "B");
    a = sinter_onnx_op2(node, SINTER_OP_add, a, b);
    return sinter_onnx_return(node, sinter_onnx_op1(node, SINTER_OP_gelu, a));
}

bool sinter_onnx_rule_fast_gelu(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    sinter_value bias = sinter_onnx_operand(node, 1);
    if (bias) x = sinter_onnx_op2(node, SINTER_OP_add, x, bias);
    return sinter_onnx_return(node, sinter_onnx_op1(node, SINTER_OP_gelu_tanh, x));
}

/* X + bias + skip */
bool sinter_onnx_rule_bias_add(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    x = sinter_onnx_op2(node, SINTER_OP_add, x, sinter_onnx_need_operand(node, 1, "bias"));
    return sinter_onnx_return(
        node, sinter_onnx_op2(node, SINTER_OP_add, x, sinter_onnx_need_operand(node, 2, "skip")));
}

/* The activation that a fused operator names; parameters are alpha and beta where the function has them. */
static sinter_value activate(sinter_onnx_node *node, sinter_value x, const char *name,
                             const double *parameters, size_t count) {
    static const struct {
        const char *name;
        sinter_op op;
        size_t parameters;
        const char *names[2];
    } functions[] = {{"Relu", SINTER_OP_relu, 0, {0}},
                     {"Tanh", SINTER_OP_tanh, 0, {0}},
                     {"Sigmoid", SINTER_OP_sigmoid, 0, {0}},
                     {"HardSwish", SINTER_OP_hard_swish, 0, {0}},
                     {"LeakyRelu", SINTER_OP_leaky_relu, 1, {"alpha"}},
                     {"Elu", SINTER_OP_elu, 1, {"alpha"}},
                     {"HardSigmoid", SINTER_OP_hard_sigmoid, 2, {"alpha", "beta"}}};
    if (!x || !*name) return x;
    if (strcmp(name, "Clip") == 0 && count == 2) {
        sinter_dtype dtype = sinter_onnx_type_of(node, x)->dtype;
        sinter_value low = sinter_build_scalar(&node->build, dtype, parameters[0]);
        sinter_value high = sinter_build_scalar(&node->build, dtype, parameters[1]);
        return sinter_onnx_op3(node, SINTER_OP_clip, x, low, high);
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if (strcmp(functions[i].name, name) != 0) continue;
        sinter_attr attributes[2];
        size_t used = count < functions[i].parameters ? count : functions[i].parameters;
        for (size_t k = 0; k < used; k++)
            attributes[k] = sinter_attr_float(functions[i].names[k], parameters[k]);
        return sinter_build(&node->build, functions[i].op, &x, 1, attributes, (uint32_t)used);
    }
    sinter_onnx_fail(node, "activation '%s' is not supported", name);
    return 0;
}

/* The unfused node as a draft without the attributes that belong to the fusion, built with one result. */
static sinter_value build_core(sinter_onnx_node *node, sinter_onnx_draft *draft) {
    if (!sinter_onnx_draft_begin(node, draft)) return 0;
    return sinter_build(&node->build, draft->op, draft->operands.items,
                        (uint32_t)draft->operands.count, draft->attributes.items,
                        (uint32_t)draft->attributes.count);
}

/* conv(X, W, B) + Z, activated. */
bool sinter_onnx_rule_fused_conv(sinter_onnx_node *node) {
    const char *activation = sinter_onnx_string(node, "activation", "");
    const float *given;
    size_t count = sinter_onnx_floats(node, "activation_params", &given);
    double parameters[2] = {0};
    for (size_t i = 0; i < count && i < 2; i++) parameters[i] = (double)given[i];
    sinter_value added = sinter_onnx_operand(node, 3);
    if (added) node->operand_count = 3;
    sinter_onnx_draft draft;
    sinter_value y = build_core(node, &draft);
    if (added) y = sinter_onnx_op2(node, SINTER_OP_add, y, added);
    return sinter_onnx_return(node,
                              activate(node, y, activation, parameters, count < 2 ? count : 2));
}

bool sinter_onnx_rule_fused_gemm(sinter_onnx_node *node) {
    const char *activation = sinter_onnx_string(node, "activation", "");
    double parameters[] = {sinter_onnx_float(node, "activation_alpha", 0),
                           sinter_onnx_float(node, "activation_beta", 0)};
    size_t count = sinter_onnx_has(node, "activation_beta")    ? 2
                   : sinter_onnx_has(node, "activation_alpha") ? 1
                                                               : 0;
    sinter_onnx_draft draft;
    return sinter_onnx_return(
        node, activate(node, build_core(node, &draft), activation, parameters, count));
}

static sinter_value transpose_last(sinter_onnx_node *node, sinter_value x) {
    if (!x) return 0;
    uint32_t rank = sinter_onnx_type_of(node, x)->rank;
    int64_t perm[SINTER_MAX_RANK];
    if (rank < 2) return x;
    for (uint32_t i = 0; i < rank; i++) perm[i] = i;
    perm[rank - 2] = rank - 1;
    perm[rank - 1] = rank - 2;
    return sinter_build_transpose(&node->build, x, perm, rank);
}

/* alpha * op(A) op(B) */
bool sinter_onnx_rule_fused_matmul(sinter_onnx_node *node) {
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value b = sinter_onnx_need_operand(node, 1, "B");
    double alpha = sinter_onnx_float(node, "alpha", 1);
    if (sinter_onnx_int(node, "transBatchA", 0) || sinter_onnx_int(node, "transBatchB", 0))
        return sinter_onnx_fail(node, "transposed batch axes are not supported");
    if (sinter_onnx_int(node, "transA", 0)) a = transpose_last(node, a);
    if (sinter_onnx_int(node, "transB", 0)) b = transpose_last(node, b);
    if (node->failed) return false;
    sinter_value y = sinter_onnx_op2(node, SINTER_OP_matmul, a, b);
    if (alpha != 1) y = sinter_onnx_op_number(node, SINTER_OP_mul, y, alpha);
    return sinter_onnx_return(node, y);
}

/* ---- normalization ---- */

/* layer_normalization over the last axis; results 1 and 2 (mean, inverse deviation) where asked for. */
static bool layer_norm(sinter_onnx_node *node, sinter_value x, sinter_value scale,
                       sinter_value bias, double epsilon) {
    sinter_value operands[] = {x, scale, bias};
    sinter_attr attr = sinter_attr_float("epsilon", epsilon);
    sinter_node_spec spec = {.op = SINTER_OP_layer_normalization,
                             .operands = operands,
                             .operand_count = bias ? 3 : 2,
                             .attributes = &attr,
                             .attribute_count = 1,
                             .result_count = sinter_onnx_wants(node, 2)   ? 3
                                             : sinter_onnx_wants(node, 1) ? 2
                                                                          : 1};
    if (!x || !scale) return false;
    sinter_node built = sinter_build_node(&node->build, &spec);
    for (uint32_t i = 0; built && i < spec.result_count; i++)
        node->results[i] = sinter_node_result(node->importer->module, built, i);
    return built != 0;
}

static bool rms_norm(sinter_onnx_node *node, sinter_value x, sinter_value scale, double epsilon) {
    sinter_value operands[] = {x, scale};
    sinter_attr attr = sinter_attr_float("epsilon", epsilon);
    if (sinter_onnx_wants(node, 1) || sinter_onnx_wants(node, 2))
        return sinter_onnx_fail(node, "the statistics are results of training only");
    return x && scale &&
           sinter_onnx_return(node, sinter_build(&node->build, SINTER_OP_rms_normalization,
                                                 operands, 2, &attr, 1));
}

/* input + skip (+ bias), which is result 3, normalized. */
static sinter_value skip_sum(sinter_onnx_node *node, uint32_t bias_index) {
    sinter_value sum =
        sinter_onnx_op2(node, SINTER_OP_add, sinter_onnx_need_operand(node, 0, "input"),
                        sinter_onnx_need_operand(node, 1, "skip"));
    sinter_value bias = sinter_onnx_operand(node, bias_index);
    if (bias) sum = sinter_onnx_op2(node, SINTER_OP_add, sum, bias);
    if (sinter_onnx_wants(node, 3)) node->results[3] = sum;
    return sum;
}

bool sinter_onnx_rule_skip_layer_norm(sinter_onnx_node *node) {
    sinter_value sum = skip_sum(node, 4), scale = sinter_onnx_need_operand(node, 2, "gamma");
    return layer_norm(node, sum, scale, sinter_onnx_operand(node, 3),
                      sinter_onnx_float(node, "epsilon", 1e-12));
}

bool sinter_onnx_rule_skip_rms_norm(sinter_onnx_node *node) {
    sinter_value sum = skip_sum(node, 3), scale = sinter_onnx_need_operand(node, 2, "gamma");
    return rms_norm(node, sum, scale, sinter_onnx_float(node, "epsilon", 1e-12));
}

static sinter_value gather_rows(sinter_onnx_node *node, sinter_value table, sinter_value rows) {
    return sinter_onnx_op2(node, SINTER_OP_gather, table, rows);
}

/* Rows 0 .. length-1 of the table as [1, length, hidden], for positions that are not given. */
static sinter_value first_rows(sinter_onnx_node *node, sinter_value table, sinter_dim length) {
    const int64_t zero = 0;
    sinter_value operands[] = {table, sinter_build_ints(&node->build, &zero, 1),
                               sinter_build_dims(&node->build, &length, 1),
                               sinter_build_ints(&node->build, &zero, 1)};
    return table ? sinter_build(&node->build, SINTER_OP_slice, operands, 4, NULL, 0) : 0;
}

/* Word + position (+ segment) embeddings, normalized; result 1 is the count of set mask elements a row, 2 the sum. */
bool sinter_onnx_rule_embed_layer_norm(sinter_onnx_node *node) {
    sinter_value ids = sinter_onnx_need_operand(node, 0, "input_ids");
    sinter_value words = sinter_onnx_need_operand(node, 2, "word_embedding");
    sinter_value positions = sinter_onnx_need_operand(node, 3, "position_embedding");
    sinter_value segments = sinter_onnx_operand(node, 1), table = sinter_onnx_operand(node, 4);
    sinter_value scale = sinter_onnx_need_operand(node, 5, "gamma");
    sinter_value mask = sinter_onnx_operand(node, 7), where = sinter_onnx_operand(node, 8);
    double epsilon = sinter_onnx_float(node, "epsilon", 1e-12);
    if (node->failed || sinter_onnx_type_of(node, ids)->rank != 2)
        return sinter_onnx_fail(node, "expected input_ids of rank 2");
    sinter_dim length = sinter_onnx_type_of(node, ids)->dims[1];
    sinter_value sum = gather_rows(node, words, ids);
    sum = sinter_onnx_op2(node, SINTER_OP_add, sum,
                          where ? gather_rows(node, positions, where)
                                : first_rows(node, positions, length));
    if (segments && table)
        sum = sinter_onnx_op2(node, SINTER_OP_add, sum, gather_rows(node, table, segments));
    bool wants_count = sinter_onnx_wants(node, 1), wants_sum = sinter_onnx_wants(node, 2);
    sinter_onnx_node plain = *node; /* the norm's own extra results are not this operator's */
    Onnx__NodeProto proto = *node->proto;
    proto.n_output = 1;
    plain.proto = &proto;
    if (!layer_norm(&plain, sum, scale, sinter_onnx_operand(node, 6), epsilon)) return false;
    if (wants_sum) node->results[2] = sum;
    if (!wants_count) return true;
    const int64_t axis = 1;
    if (!mask) { /* zeros */
        sinter_dim batch = sinter_onnx_type_of(node, ids)->dims[0];
        node->results[1] = sinter_onnx_op2(node, SINTER_OP_expand,
                                           sinter_build_scalar(&node->build, SINTER_DTYPE_i32, 0),
                                           sinter_build_dims(&node->build, &batch, 1));
        return node->results[1] != 0;
    }
    sinter_value operands[] = {mask, sinter_build_ints(&node->build, &axis, 1)};
    sinter_attr keep = sinter_attr_int("keepdims", 0);
    node->results[1] = sinter_build(&node->build, SINTER_OP_reduce_sum, operands, 2, &keep, 1);
    return node->results[1] != 0;
}
