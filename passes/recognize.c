/* Replaces what exporters spell out (GELU, SiLU, hard swish, mish, softmax, layer and RMS normalisation) by the operator of
 * that name, so that later passes meet one form of each, whatever the exporter. The patterns are the table below.
 *
 * Needs canonicalize before it (powers are products, constants stand last) and inferred types; only f32, where operators and
 * patterns differ by float rounding alone (lossy: relative error below 1e-6). decompose takes apart again what has no lowering of
 * its own. Test: tests/passes/recognize/ */
#include "passes/match.h"
#include "passes/pass.h"

/* Builds the operator before the root; 0 where what was matched does not fit it. */
typedef sinter_value (*recognize_builder)(sinter_rewrite *rewrite, const sinter_match *match,
                                          sinter_op op);

static sinter_value build_plain(sinter_rewrite *rewrite, const sinter_match *match, sinter_op op) {
    return sinter_build_unary(&rewrite->build, op, sinter_match_value(match, "x"));
}

static sinter_value build_swish(sinter_rewrite *rewrite, const sinter_match *match, sinter_op op) {
    sinter_value x = sinter_match_value(match, "x");
    sinter_attr alpha = sinter_attr_float("alpha", sinter_match_number(match, "alpha"));
    return sinter_build(&rewrite->build, op, &x, 1, &alpha, 1);
}

static sinter_value build_hard_sigmoid(sinter_rewrite *rewrite, const sinter_match *match,
                                       sinter_op op) {
    sinter_value x = sinter_match_value(match, "x");
    sinter_attr attributes[2] = {sinter_attr_float("alpha", 1.0 / 6),
                                 sinter_attr_float("beta", 0.5)};
    return sinter_build(&rewrite->build, op, &x, 1, attributes, 2);
}

/* The first reduced axis, where those from it on are all reduced; -1 otherwise. */
static int64_t first_axis(const sinter_match *match, uint32_t rank) {
    int64_t first = -1;
    for (uint32_t i = 0; i < rank; i++) {
        if (match->axes[i] && first < 0) first = i;
        if (!match->axes[i] && first >= 0) return -1;
    }
    return first;
}

static sinter_value build_softmax(sinter_rewrite *rewrite, const sinter_match *match,
                                  sinter_op op) {
    sinter_value x = sinter_match_value(match, "x");
    int64_t axis = -1;
    for (uint32_t i = 0; i < SINTER_MAX_RANK; i++) {
        if (match->axes[i] && axis >= 0) return 0;
        if (match->axes[i]) axis = i;
    }
    sinter_attr attribute = sinter_attr_int("axis", axis);
    return sinter_build(&rewrite->build, op, &x, 1, &attribute, 1);
}

/* Whether the value has just the normalised dims of x. */
static bool covers(const sinter_module *module, sinter_value value, const sinter_type *x,
                   int64_t axis) {
    const sinter_type *type = sinter_value_type(module, value);
    if (type->dtype != x->dtype || type->rank != x->rank - (uint32_t)axis) return false;
    for (uint32_t i = 0; i < type->rank; i++)
        if (type->dims[i] != x->dims[(uint32_t)axis + i]) return false;
    return true;
}

static sinter_value build_ones(sinter_rewrite *rewrite, const sinter_type *x, int64_t axis) {
    const sinter_dim_table *table = sinter_module_dims(rewrite->build.module);
    int64_t dims[SINTER_MAX_RANK];
    sinter_tensor ones;
    for (uint32_t i = (uint32_t)axis; i < x->rank; i++)
        if (!sinter_dim_is_const(table, x->dims[i], &dims[i - (uint32_t)axis])) return 0;
    if (!sinter_tensor_create(&ones, x->dtype, x->rank - (uint32_t)axis, dims, rewrite->build.diag))
        return 0;
    for (int64_t i = 0; i < sinter_tensor_count(&ones); i++) sinter_tensor_set_double(&ones, i, 1);
    return sinter_build_constant(&rewrite->build, ones);
}

static sinter_value build_normalization(sinter_rewrite *rewrite, const sinter_match *match,
                                        sinter_op op) {
    sinter_module *module = rewrite->build.module;
    sinter_value operands[3] = {sinter_match_value(match, "x"), sinter_match_value(match, "scale"),
                                sinter_match_value(match, "bias")};
    sinter_type x = *sinter_value_type(module, operands[0]);
    int64_t axis = first_axis(match, x.rank);
    if (axis < 0) return 0;
    for (uint32_t i = 1; i < 3; i++)
        if (operands[i] && !covers(module, operands[i], &x, axis)) return 0;
    if (!operands[1]) operands[1] = build_ones(rewrite, &x, axis);
    if (!operands[1]) return 0;
    sinter_attr attributes[2] = {
        sinter_attr_int("axis", axis),
        sinter_attr_float("epsilon", sinter_match_number(match, "epsilon"))};
    return sinter_build(&rewrite->build, op, operands, operands[2] ? 3 : 2, attributes, 2);
}

/* ---- the patterns, larger ones before those that they hold ---- */

#define GELU_FORMS(op, gate)                                                                       \
 {SINTER_OP_##op, "mul(mul(x, 0.5), add(" gate ", 1))", build_plain},                              \
     {SINTER_OP_##op, "mul(x, mul(add(" gate ", 1), 0.5))", build_plain}, {                        \
  SINTER_OP_##op, "mul(mul(x, add(" gate ", 1)), 0.5)", build_plain                                \
 }
#define SCALED_NORMALIZATION(norm)                                                                 \
 {SINTER_OP_layer_normalization, "add(mul(" norm ", scale), bias)", build_normalization},          \
     {SINTER_OP_layer_normalization, "mul(" norm ", scale)", build_normalization}, {               \
  SINTER_OP_layer_normalization, norm, build_normalization                                         \
 }
#define RMS_NORMALIZATION(norm)                                                                    \
 {SINTER_OP_rms_normalization, "mul(" norm ", scale)", build_normalization}, {                     \
  SINTER_OP_rms_normalization, norm, build_normalization                                           \
 }
#define CENTRED "d:sub(x, reduce_mean(x))"
#define DEVIATION "sqrt(add(reduce_mean(mul(d, d)), ?epsilon))"
#define ROOT_MEAN_SQUARE "sqrt(add(reduce_mean(mul(x, x)), ?epsilon))"

static const struct {
    sinter_op op;
    const char *pattern;
    recognize_builder build;
} recognitions[] = {
    GELU_FORMS(gelu, "erf(div(x, 1.4142135623730951))"),
    GELU_FORMS(gelu, "erf(mul(x, 0.7071067811865476))"),
    GELU_FORMS(gelu_tanh,
               "tanh(mul(add(x, mul(mul(mul(x, x), x), 0.044715)), 0.7978845608028654))"),
    GELU_FORMS(gelu_tanh,
               "tanh(mul(mul(x, 0.7978845608028654), add(mul(mul(x, 0.044715), x), 1)))"),
    {SINTER_OP_swish, "mul(x, sigmoid(mul(x, ?alpha)))", build_swish},
    {SINTER_OP_swish, "mul(x, sigmoid(x))", build_plain},
    {SINTER_OP_mish, "mul(x, tanh(softplus(x)))", build_plain},
    {SINTER_OP_mish, "mul(x, tanh(log(add(exp(x), 1))))", build_plain},
    {SINTER_OP_hard_swish, "mul(x, div(clip(add(x, 3), 0, 6), 6))", build_plain},
    {SINTER_OP_hard_swish, "mul(x, mul(clip(add(x, 3), 0, 6), 0.16666666666666666))", build_plain},
    {SINTER_OP_hard_swish, "div(mul(x, clip(add(x, 3), 0, 6)), 6)", build_plain},
    {SINTER_OP_hard_swish, "mul(mul(x, clip(add(x, 3), 0, 6)), 0.16666666666666666)", build_plain},
    {SINTER_OP_hard_sigmoid, "div(clip(add(x, 3), 0, 6), 6)", build_hard_sigmoid},
    {SINTER_OP_hard_sigmoid, "mul(clip(add(x, 3), 0, 6), 0.16666666666666666)", build_hard_sigmoid},
    {SINTER_OP_softmax, "div(e:exp(sub(x, reduce_max(x))), reduce_sum(e))", build_softmax},
    {SINTER_OP_layer_normalization,
     "add(mul(x, r:mul(reciprocal(sqrt(add(reduce_mean(mul(d:sub(x, m:reduce_mean(x)), d)), "
     "?epsilon))), scale)), "
     "sub(bias, mul(m, r)))",
     build_normalization},
    SCALED_NORMALIZATION("div(" CENTRED ", " DEVIATION ")"),
    SCALED_NORMALIZATION("mul(" CENTRED ", reciprocal(" DEVIATION "))"),
    SCALED_NORMALIZATION("mul(" CENTRED ", div(1, " DEVIATION "))"),
    RMS_NORMALIZATION("div(x, " ROOT_MEAN_SQUARE ")"),
    RMS_NORMALIZATION("mul(x, reciprocal(" ROOT_MEAN_SQUARE "))"),
    RMS_NORMALIZATION("mul(x, div(1, " ROOT_MEAN_SQUARE "))"),
};

static bool recognize_node(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value result = sinter_node_result(module, node, 0);
    sinter_op_info const *info = sinter_op_get_info(sinter_node_get(module, node)->op);
    if (!result || info->pattern != SINTER_PATTERN_ELEMENTWISE ||
        sinter_value_type(module, result)->dtype != SINTER_DTYPE_f32)
        return false;
    for (size_t i = 0; i < sizeof recognitions / sizeof *recognitions; i++) {
        sinter_match match;
        if (!sinter_match_node(module, node, recognitions[i].pattern, &match)) continue;
        sinter_rewrite_at(rewrite, node);
        sinter_value made = recognitions[i].build(rewrite, &match, recognitions[i].op);
        if (!made ||
            !sinter_type_equal(sinter_value_type(module, made), sinter_value_type(module, result)))
            continue;
        sinter_rewrite_replace(rewrite, result, made);
        sinter_rewrite_erase(rewrite, node);
        return true;
    }
    return false;
}

/* From the end, so that the whole is met before its parts. */
static void recognize_region(sinter_rewrite *rewrite, sinter_region region) {
    sinter_module *module = rewrite->build.module;
    sinter_node node = sinter_region_get(module, region)->last;
    while (node) {
        for (uint32_t i = 0; i < sinter_node_get(module, node)->region_count; i++)
            recognize_region(rewrite, sinter_node_get(module, node)->regions[i]);
        sinter_node next = sinter_node_get(module, node)->next;
        sinter_node previous = sinter_node_get(module, node)->previous;
        if (recognize_node(rewrite, node)) /* what it was made of went too */
            previous = next ? sinter_node_get(module, next)->previous
                            : sinter_region_get(module, region)->last;
        node = previous;
    }
}

void sinter_pass_recognize(sinter_pass_context *context) {
    recognize_region(&context->rewrite, sinter_module_main(context->module));
}
