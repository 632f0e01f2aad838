/* Rules of canonicalize about values: copies, conversions, neutral elements, functions that undo or repeat
 * themselves, cheaper ways to say the same. Test: tests/passes/canonicalize/algebra.sir */
#include "passes/canonicalize.h"

#include <math.h>
#include <string.h>

bool sinter_canonicalize_identity(sinter_rewrite *rewrite, sinter_node node) {
    return sinter_canonicalize_replace(rewrite, node,
                                       sinter_node_operand(rewrite->build.module, node, 0));
}

/* Whether a value is a constant of which every element is the same; that element in *out_scalar. */
static bool is_splat(const sinter_module *module, sinter_value value, sinter_tensor *out_scalar) {
    const sinter_tensor *tensor = sinter_value_constant(module, value);
    if (!tensor || tensor->kind != SINTER_TYPE_TENSOR) return false;
    uint32_t bits = sinter_dtype_infos[tensor->dtype].bits;
    int64_t count = sinter_tensor_count(tensor);
    if (count < 1 || (bits < 8 && count > 1) || tensor->dtype == SINTER_DTYPE_string) return false;
    /* All the same: the tensor equals itself shifted by one element. */
    size_t size = bits / 8;
    const char *data = tensor->data;
    if (count > 1 && memcmp(data, data + size, (size_t)(count - 1) * size) != 0) return false;
    *out_scalar = *tensor;
    return true;
}

/* Inference leaves dropout off; in training mode, or where the mask is wanted, it stays. */
bool sinter_canonicalize_dropout(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    sinter_value training = sinter_node_operand(module, node, 2);
    sinter_value mask = sinter_node_result(module, node, 1);
    sinter_tensor scalar;
    if (mask && sinter_value_get(module, mask)->uses.count > 0) return false;
    if (training &&
        (!is_splat(module, training, &scalar) || sinter_tensor_get_int(&scalar, 0) != 0))
        return false;
    return sinter_canonicalize_replace(rewrite, node, sinter_node_operand(module, node, 0));
}

/* ---- conversions ---- */

/* Every value of `from` is a value of `to`, and conversion keeps it. */
static bool is_exact(sinter_dtype from, sinter_dtype to) {
    const sinter_dtype_info *a = &sinter_dtype_infos[from], *b = &sinter_dtype_infos[to];
    bool numbers = b->class == SINTER_CLASS_FLOAT || b->class == SINTER_CLASS_INT ||
                   b->class == SINTER_CLASS_UINT;
    switch (a->class) {
    case SINTER_CLASS_BOOL:
        return numbers;
    case SINTER_CLASS_FLOAT: /* f32 holds every narrower format */
        return b->class == SINTER_CLASS_FLOAT && b->bits >= 32 && a->bits < b->bits;
    case SINTER_CLASS_INT:
        return b->class == SINTER_CLASS_INT && a->bits <= b->bits;
    case SINTER_CLASS_UINT:
        return (b->class == SINTER_CLASS_UINT && a->bits <= b->bits) ||
               (b->class == SINTER_CLASS_INT && a->bits < b->bits);
    case SINTER_CLASS_NONE:
    case SINTER_CLASS_STRING:
    case SINTER_CLASS_COMPLEX:
        break;
    }
    return false;
}

/* cast(x) of x's own type; cast(cast(x)) where the inner one loses nothing. */
bool sinter_canonicalize_cast(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    if (sinter_canonicalize_replace(rewrite, node, x)) return true;
    sinter_node inner = sinter_canonicalize_producer(module, x, SINTER_OP_cast);
    if (!inner) return false;
    sinter_value source = sinter_node_operand(module, inner, 0);
    sinter_dtype middle = sinter_value_type(module, x)->dtype;
    sinter_dtype target = sinter_node_get_dtype(module, node, "to");
    if (target == SINTER_DTYPE_string ||
        !is_exact(sinter_value_type(module, source)->dtype, middle))
        return false;
    if (sinter_canonicalize_replace(rewrite, node, source)) return true;
    sinter_rewrite_set_operand(rewrite, node, 0, source);
    return true;
}

/* ---- functions of themselves ---- */

bool sinter_canonicalize_involution(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    sinter_op op = sinter_node_get(module, node)->op;
    sinter_node inner =
        sinter_canonicalize_producer(module, sinter_node_operand(module, node, 0), op);
    return inner &&
           sinter_canonicalize_replace(rewrite, node, sinter_node_operand(module, inner, 0));
}

bool sinter_canonicalize_idempotent(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    const sinter_node_info *outer = sinter_node_get(module, node);
    if (!sinter_op_has_trait(outer->op, SINTER_TRAIT_IDEMPOTENT)) return false;
    sinter_node producer = sinter_canonicalize_producer(module, outer->operands[0], outer->op);
    if (!producer) return false;
    const sinter_node_info *inner = sinter_node_get(module, producer);
    if (inner->operand_count != outer->operand_count ||
        inner->attribute_count != outer->attribute_count)
        return false;
    for (uint32_t i = 1; i < outer->operand_count; i++)
        if (inner->operands[i] != outer->operands[i]) return false;
    for (uint32_t i = 0; i < outer->attribute_count; i++)
        if (!sinter_attr_equal(&inner->attributes[i], &outer->attributes[i])) return false;
    return sinter_canonicalize_replace(rewrite, node, outer->operands[0]);
}

/* ---- neutral elements ---- */

enum { ON_THE_RIGHT = 2, ON_BOTH_SIDES = 3, FLOATS = 4, INTEGERS = 8, BOOLS = 16 };

/* x op e = x for every x of the classes: note x + -0 = x, while 0 + -0 = 0 rules out x + 0 for floats. */
static const struct {
    sinter_op op;
    unsigned where;
    double float_value;
    int64_t int_value;
} neutrals[] = {
    {SINTER_OP_add, ON_BOTH_SIDES | FLOATS | INTEGERS, -0.0, 0},
    {SINTER_OP_sub, ON_THE_RIGHT | FLOATS | INTEGERS, 0.0, 0},
    {SINTER_OP_mul, ON_BOTH_SIDES | FLOATS | INTEGERS, 1, 1},
    {SINTER_OP_div, ON_THE_RIGHT | FLOATS | INTEGERS, 1, 1},
    {SINTER_OP_pow, ON_THE_RIGHT | FLOATS | INTEGERS, 1, 1},
    {SINTER_OP_max, ON_BOTH_SIDES | FLOATS, -HUGE_VAL, 0},
    {SINTER_OP_min, ON_BOTH_SIDES | FLOATS, HUGE_VAL, 0},
    {SINTER_OP_and, ON_BOTH_SIDES | BOOLS, 0, 1},
    {SINTER_OP_or, ON_BOTH_SIDES | BOOLS, 0, 0},
    {SINTER_OP_xor, ON_BOTH_SIDES | BOOLS, 0, 0},
    {SINTER_OP_bitwise_and, ON_BOTH_SIDES | INTEGERS, 0, -1},
    {SINTER_OP_bitwise_or, ON_BOTH_SIDES | INTEGERS, 0, 0},
    {SINTER_OP_bitwise_xor, ON_BOTH_SIDES | INTEGERS, 0, 0},
};

static bool is_number(const sinter_tensor *scalar, unsigned where, double float_value,
                      int64_t int_value) {
    const sinter_dtype_info *info = &sinter_dtype_infos[scalar->dtype];
    switch (info->class) {
    case SINTER_CLASS_FLOAT: {
        double value = sinter_tensor_get_double(scalar, 0);
        return (where & FLOATS) && memcmp(&value, &float_value, sizeof value) == 0;
    }
    case SINTER_CLASS_UINT: /* all ones: -1 of that width */
        if (int_value < 0 && info->bits < 64) int_value = ((int64_t)1 << info->bits) - 1;
        return (where & INTEGERS) && sinter_tensor_get_int(scalar, 0) == int_value;
    case SINTER_CLASS_INT:
        return (where & INTEGERS) && sinter_tensor_get_int(scalar, 0) == int_value;
    case SINTER_CLASS_BOOL:
        return (where & BOOLS) && sinter_tensor_get_int(scalar, 0) == int_value;
    default:
        return false;
    }
}

bool sinter_canonicalize_neutral(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++) {
        if (neutrals[i].op != info->op) continue;
        for (unsigned side = 0; side < 2; side++) {
            sinter_tensor scalar;
            if ((neutrals[i].where >> side & 1) &&
                is_splat(module, info->operands[side], &scalar) &&
                is_number(&scalar, neutrals[i].where, neutrals[i].float_value,
                          neutrals[i].int_value) &&
                sinter_canonicalize_replace(rewrite, node, info->operands[1 - side]))
                return true;
        }
    }
    return false;
}

/* ---- division and powers ---- */

/* By a power of two whose reciprocal is a normal number: both sides round the same real number. */
bool sinter_canonicalize_divisor(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value x = info->operands[0];
    sinter_tensor scalar;
    int exponent = 0;
    if (!is_splat(module, info->operands[1], &scalar)) return false;
    if (scalar.dtype != SINTER_DTYPE_f32 && scalar.dtype != SINTER_DTYPE_f64) return false;
    double divisor = sinter_tensor_get_double(&scalar, 0);
    if (fabs(frexp(divisor, &exponent)) != 0.5 || exponent < -120 || exponent > 120) return false;
    sinter_tensor reciprocal;
    if (!sinter_tensor_create(&reciprocal, scalar.dtype, scalar.rank, scalar.dims,
                              rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(&reciprocal); i++)
        sinter_tensor_set_double(&reciprocal, i, 1 / divisor);
    sinter_value factor = sinter_build_constant(&rewrite->build, reciprocal);
    return sinter_canonicalize_replace(
        rewrite, node, sinter_build_binary(&rewrite->build, SINTER_OP_mul, x, factor));
}

/* A square is the same number; a cube is, but for one more rounding, so only in f32 and wider or integers. */
bool sinter_canonicalize_power(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value x = info->operands[0];
    const sinter_dtype_info *dtype = &sinter_dtype_infos[sinter_value_type(module, x)->dtype];
    sinter_tensor scalar;
    if (!is_splat(module, info->operands[1], &scalar) ||
        !sinter_type_equal(sinter_value_type(module, x),
                           sinter_value_type(module, info->results[0])))
        return false;
    bool square = is_number(&scalar, FLOATS | INTEGERS, 2, 2);
    bool cube = is_number(&scalar, FLOATS | INTEGERS, 3, 3) &&
                (dtype->class != SINTER_CLASS_FLOAT || dtype->bits >= 32);
    if (!square && !cube) return false;
    sinter_value product = sinter_build_binary(&rewrite->build, SINTER_OP_mul, x, x);
    if (cube) product = sinter_build_binary(&rewrite->build, SINTER_OP_mul, product, x);
    return sinter_canonicalize_replace(rewrite, node, product);
}

/* ---- choices and order ---- */

bool sinter_canonicalize_where(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_tensor scalar;
    if (info->operands[1] == info->operands[2])
        return sinter_canonicalize_replace(rewrite, node, info->operands[1]);
    if (!is_splat(module, info->operands[0], &scalar)) return false;
    return sinter_canonicalize_replace(rewrite, node,
                                       info->operands[sinter_tensor_get_int(&scalar, 0) ? 1 : 2]);
}

bool sinter_canonicalize_constant_last(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (!sinter_op_has_trait(info->op, SINTER_TRAIT_COMMUTATIVE) || info->operand_count != 2)
        return false;
    sinter_value a = info->operands[0], b = info->operands[1];
    if (!sinter_value_constant(module, a) || sinter_value_constant(module, b)) return false;
    sinter_rewrite_set_operand(rewrite, node, 0, b);
    sinter_rewrite_set_operand(rewrite, node, 1, a);
    return true;
}
