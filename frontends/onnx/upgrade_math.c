/* Rules of elementwise operators whose old forms, or whose ONNX form, the generic path can't say: broadcasting by
 * attribute (opset < 7), n operands where the IR has two, one operator that is two IR ops.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <math.h>
#include <string.h>

/* Opset < 7: with broadcast = 1, b's axes are a's from `axis` on (without axis: its last ones). */
bool sinter_onnx_rule_legacy_broadcast(sinter_onnx_node *node) {
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value b = sinter_onnx_need_operand(node, 1, "B");
    bool broadcast = sinter_onnx_int(node, "broadcast", 0) != 0;
    if (!a || !b || node->failed) return false;
    if (broadcast && sinter_onnx_has(node, "axis")) {
        int64_t rank_a = sinter_onnx_type_of(node, a)->rank;
        int64_t rank_b = sinter_onnx_type_of(node, b)->rank;
        int64_t axis = sinter_onnx_int(node, "axis", 0), axes[SINTER_MAX_RANK];
        if (axis < 0) axis += rank_a;
        if (axis < 0 || axis + rank_b > rank_a)
            return sinter_onnx_fail(node, "axis does not fit the ranks of A and B");
        int64_t missing = rank_a - axis - rank_b;
        for (int64_t i = 0; i < missing; i++) axes[i] = rank_b + i;
        b = sinter_onnx_unsqueeze(node, b, axes, (size_t)missing);
    }
    return sinter_onnx_return(node, sinter_onnx_op2(node, node->row->op, a, b));
}

/* Opset < 7: a slope of one element a channel belongs to axis 1. */
bool sinter_onnx_rule_prelu(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    sinter_value slope = sinter_onnx_need_operand(node, 1, "slope");
    if (!x || !slope) return false;
    const sinter_type *type = sinter_onnx_type_of(node, x);
    if (sinter_onnx_type_of(node, slope)->rank == 1 && type->rank > 2) {
        int64_t axes[SINTER_MAX_RANK];
        for (int64_t i = 0; i + 2 < type->rank; i++) axes[i] = i + 1;
        slope = sinter_onnx_unsqueeze(node, slope, axes, type->rank - 2);
    }
    return sinter_onnx_return(node, sinter_onnx_op2(node, SINTER_OP_prelu, x, slope));
}

/* ---- conversions ---- */

/* Opset < 6 named the element type in words. */
bool sinter_onnx_rule_cast_from_name(sinter_onnx_node *node) {
    static const struct {
        const char *name;
        sinter_dtype dtype;
    } names[] = {{"FLOAT", SINTER_DTYPE_f32},      {"UINT8", SINTER_DTYPE_u8},
                 {"INT8", SINTER_DTYPE_i8},        {"UINT16", SINTER_DTYPE_u16},
                 {"INT16", SINTER_DTYPE_i16},      {"INT32", SINTER_DTYPE_i32},
                 {"INT64", SINTER_DTYPE_i64},      {"STRING", SINTER_DTYPE_string},
                 {"BOOL", SINTER_DTYPE_bool},      {"FLOAT16", SINTER_DTYPE_f16},
                 {"DOUBLE", SINTER_DTYPE_f64},     {"UINT32", SINTER_DTYPE_u32},
                 {"UINT64", SINTER_DTYPE_u64},     {"COMPLEX64", SINTER_DTYPE_c64},
                 {"COMPLEX128", SINTER_DTYPE_c128}};
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    const char *to = sinter_onnx_string(node, "to", "");
    if (!x || node->failed) return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(names[i].name, to) != 0) continue;
        sinter_attr attr = sinter_attr_dtype("to", names[i].dtype);
        return sinter_onnx_return(node,
                                  sinter_build(&node->build, SINTER_OP_cast, &x, 1, &attr, 1));
    }
    return sinter_onnx_fail(node, "attribute 'to': unknown element type '%s'", to);
}

bool sinter_onnx_rule_cast_like(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    sinter_value model = sinter_onnx_need_operand(node, 1, "target_type");
    if (!model || !sinter_onnx_draft_begin(node, &draft)) return false;
    draft.operands.count = 1;
    sinter_onnx_draft_set_attr(node, &draft,
                               sinter_attr_dtype("to", sinter_onnx_type_of(node, model)->dtype));
    return sinter_onnx_draft_finish(node, &draft);
}

/* ---- clip ---- */

/* The bound that limits nothing: an infinity, or the type's last number. */
static sinter_value no_bound(sinter_onnx_node *node, sinter_dtype dtype, bool high) {
    sinter_tensor tensor;
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class != SINTER_CLASS_FLOAT && info->class != SINTER_CLASS_INT &&
        info->class != SINTER_CLASS_UINT) {
        sinter_onnx_fail(node, "element type %s can't be clipped", info->name);
        return 0;
    }
    if (!sinter_tensor_create(&tensor, dtype, 0, NULL, node->build.diag)) return 0;
    if (info->class == SINTER_CLASS_FLOAT)
        sinter_tensor_set_double(&tensor, 0, high ? INFINITY : -INFINITY);
    else if (info->class == SINTER_CLASS_UINT)
        sinter_tensor_set_int(&tensor, 0, high ? -1 : 0);
    else
        sinter_tensor_set_int(&tensor, 0,
                              high ? (int64_t)((UINT64_C(1) << (info->bits - 1)) - 1)
                                   : -1 - (int64_t)((UINT64_C(1) << (info->bits - 1)) - 1));
    return sinter_build_constant(&node->build, tensor);
}

static sinter_value clip_bound(sinter_onnx_node *node, sinter_dtype dtype, const char *attribute,
                               uint32_t operand) {
    sinter_value bound = sinter_onnx_operand(node, operand);
    if (bound) return bound;
    if (node->version < 11 && sinter_onnx_has(node, attribute))
        return sinter_build_scalar(&node->build, dtype, sinter_onnx_float(node, attribute, 0));
    return no_bound(node, dtype, operand == 2);
}

bool sinter_onnx_rule_clip(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    if (!x) return false;
    sinter_dtype dtype = sinter_onnx_type_of(node, x)->dtype;
    sinter_value low = clip_bound(node, dtype, "min", 1), high = clip_bound(node, dtype, "max", 2);
    return sinter_onnx_return(node, sinter_onnx_op3(node, SINTER_OP_clip, x, low, high));
}

/* ---- n operands ---- */

static sinter_value chain(sinter_onnx_node *node) {
    sinter_value result = sinter_onnx_need_operand(node, 0, "data_0");
    if (node->operand_count == 1) return sinter_onnx_op1(node, SINTER_OP_identity, result);
    for (uint32_t i = 1; i < node->operand_count && result; i++)
        result =
            sinter_onnx_op2(node, node->row->op, result, sinter_onnx_need_operand(node, i, "data"));
    return result;
}

bool sinter_onnx_rule_chain(sinter_onnx_node *node) {
    return sinter_onnx_return(node, chain(node));
}

bool sinter_onnx_rule_mean(sinter_onnx_node *node) {
    sinter_value sum = chain(node);
    return sinter_onnx_return(
        node, sinter_onnx_op_number(node, SINTER_OP_div, sum, (double)node->operand_count));
}

/* ---- one operator, two ops ---- */

static bool binary(sinter_onnx_node *node, sinter_op op) {
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value b = sinter_onnx_need_operand(node, 1, "B");
    return !node->failed && sinter_onnx_return(node, sinter_onnx_op2(node, op, a, b));
}

bool sinter_onnx_rule_mod(sinter_onnx_node *node) {
    return binary(node, sinter_onnx_int(node, "fmod", 0) ? SINTER_OP_fmod : SINTER_OP_mod);
}

bool sinter_onnx_rule_bit_shift(sinter_onnx_node *node) {
    const char *direction = sinter_onnx_string(node, "direction", "");
    if (strcmp(direction, "LEFT") == 0) return binary(node, SINTER_OP_shift_left);
    if (strcmp(direction, "RIGHT") == 0) return binary(node, SINTER_OP_shift_right);
    return sinter_onnx_fail(node, "direction is '%s', expected LEFT or RIGHT", direction);
}

bool sinter_onnx_rule_gelu(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    const char *approximate = sinter_onnx_string(node, "approximate", "none");
    bool tanh_form = strcmp(approximate, "tanh") == 0;
    if (!tanh_form && strcmp(approximate, "none") != 0)
        return sinter_onnx_fail(node, "approximate is '%s', expected none or tanh", approximate);
    return !node->failed &&
           sinter_onnx_return(
               node, sinter_onnx_op1(node, tanh_form ? SINTER_OP_gelu_tanh : SINTER_OP_gelu, x));
}

/* ---- experimental operators of early releases, which files still hold ---- */

bool sinter_onnx_rule_affine(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    double alpha = sinter_onnx_float(node, "alpha", 1), beta = sinter_onnx_float(node, "beta", 0);
    x = sinter_onnx_op_number(node, SINTER_OP_mul, x, alpha);
    return sinter_onnx_return(node, sinter_onnx_op_number(node, SINTER_OP_add, x, beta));
}

bool sinter_onnx_rule_scale(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    return sinter_onnx_return(
        node, sinter_onnx_op_number(node, SINTER_OP_mul, x, sinter_onnx_float(node, "scale", 1)));
}

/* alpha * f(beta * x) */
static bool scaled(sinter_onnx_node *node, sinter_op op) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    x = sinter_onnx_op_number(node, SINTER_OP_mul, x, sinter_onnx_float(node, "beta", 1));
    x = sinter_onnx_op1(node, op, x);
    return sinter_onnx_return(
        node, sinter_onnx_op_number(node, SINTER_OP_mul, x, sinter_onnx_float(node, "alpha", 1)));
}

bool sinter_onnx_rule_scaled_tanh(sinter_onnx_node *node) {
    return scaled(node, SINTER_OP_tanh);
}

bool sinter_onnx_rule_parametric_softplus(sinter_onnx_node *node) {
    return scaled(node, SINTER_OP_softplus);
}

/* scale * x + bias[channel] */
bool sinter_onnx_rule_image_scaler(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    const float *bias;
    size_t count = sinter_onnx_floats(node, "bias", &bias);
    double scale = sinter_onnx_float(node, "scale", 1);
    if (!x || node->failed) return false;
    sinter_dtype dtype = sinter_onnx_type_of(node, x)->dtype;
    sinter_tensor tensor;
    int64_t dims[] = {(int64_t)count, 1, 1};
    x = sinter_onnx_op_number(node, SINTER_OP_mul, x, scale);
    if (count == 0) return sinter_onnx_return(node, x);
    if (!sinter_tensor_create(&tensor, dtype, 3, dims, node->build.diag)) return false;
    for (size_t i = 0; i < count; i++)
        sinter_tensor_set_double(&tensor, (int64_t)i, (double)bias[i]);
    return sinter_onnx_return(
        node, sinter_onnx_op2(node, SINTER_OP_add, x, sinter_build_constant(&node->build, tensor)));
}
