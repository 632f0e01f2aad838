/* Rules of recognize_integer: what stands between scaled integers and their quantization. Clamps become clamps of the
 * result, which saturation often makes already; the scale of the quantization divides the constant scales before it, so that
 * an element is multiplied once. Test: tests/passes/recognize_integer/moves.sir */
#include "passes/recognize_integer.h"

#include <math.h>

enum { MAX_DEPTH = 12 };

static sinter_op op_of(const sinter_module *module, sinter_value value) {
    return sinter_node_op(module, sinter_value_definition(module, value));
}

static sinter_value operand_of(const sinter_module *module, sinter_value value, uint32_t i) {
    return sinter_node_operand(module, sinter_value_get(module, value)->definition, i);
}

static const sinter_tensor *constant_float(const sinter_module *module, sinter_value value) {
    const sinter_tensor *tensor = value ? sinter_value_constant(module, value) : NULL;
    if (!tensor || tensor->dtype != SINTER_DTYPE_f32) return NULL;
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++)
        if (!isfinite(sinter_tensor_get_double(tensor, i))) return NULL;
    return tensor;
}

static bool is_integer_as_float(const sinter_module *module, sinter_value value) {
    return op_of(module, value) == SINTER_OP_cast &&
           sinter_dtype_is_integer(sinter_value_type(module, operand_of(module, value, 0))->dtype);
}

/* ---- scales ---- */

/* Ops whose result is divided by what their operands are divided by. */
static const struct {
    sinter_op op;
    uint32_t scaled; /* operands that must be divided; the others stay */
} homogeneous[] = {
    {SINTER_OP_relu, 1}, {SINTER_OP_leaky_relu, 1}, {SINTER_OP_prelu, 1},
    {SINTER_OP_neg, 1},  {SINTER_OP_abs, 1},        {SINTER_OP_add, 2},
    {SINTER_OP_sub, 2},  {SINTER_OP_max, 2},        {SINTER_OP_min, 2},
};

static uint32_t scaled_operands(sinter_op op) {
    for (size_t i = 0; i < sizeof homogeneous / sizeof *homogeneous; i++)
        if (homogeneous[i].op == op) return homogeneous[i].scaled;
    return 0;
}

/* Whether value / divisor can be had by dividing constants; *has_integers: some of it comes from integers. */
static bool can_divide(const sinter_module *module, sinter_value value, uint32_t depth,
                       bool *has_integers) {
    sinter_quantization q;
    if (depth > MAX_DEPTH) return false;
    if (constant_float(module, value)) return true;
    if (sinter_integer_dequantized(module, value, &q)) return *has_integers = true;
    sinter_op op = op_of(module, value);
    if (op == SINTER_OP_mul) {
        sinter_value x = operand_of(module, value, 0), factor = operand_of(module, value, 1);
        if (constant_float(module, factor)) {
            *has_integers |= is_integer_as_float(module, x);
            return true;
        }
        return sinter_value_has_one_use(module, value) &&
               can_divide(module, x, depth + 1, has_integers);
    }
    uint32_t count = scaled_operands(op);
    if (count == 0 || !sinter_value_has_one_use(module, value)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!can_divide(module, operand_of(module, value, i), depth + 1, has_integers))
            return false;
    return true;
}

static sinter_value divide_constant(sinter_rewrite *rewrite, const sinter_tensor *tensor,
                                    double divisor) {
    sinter_tensor result;
    if (!sinter_tensor_create(&result, SINTER_DTYPE_f32, tensor->rank, tensor->dims,
                              rewrite->build.diag))
        return 0;
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++)
        sinter_tensor_set_double(&result, i, sinter_tensor_get_double(tensor, i) / divisor);
    return sinter_build_constant(&rewrite->build, result);
}

static sinter_value divide(sinter_rewrite *rewrite, sinter_value value, double divisor) {
    sinter_module *module = rewrite->build.module;
    const sinter_tensor *tensor = constant_float(module, value);
    if (tensor) return divide_constant(rewrite, tensor, divisor);
    sinter_node node = sinter_value_get(module, value)->definition;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_op op = info->op;
    sinter_value operands[3] = {0};
    uint32_t count = info->operand_count;
    for (uint32_t i = 0; i < count && i < 3; i++) operands[i] = info->operands[i];
    if (op == SINTER_OP_dequantize_linear) {
        operands[1] = divide_constant(rewrite, sinter_value_constant(module, operands[1]), divisor);
    } else if (op == SINTER_OP_mul) {
        int which = constant_float(module, operands[1]) ? 1 : 0;
        operands[which] = divide(rewrite, operands[which], divisor);
    } else {
        for (uint32_t i = 0; i < scaled_operands(op); i++)
            operands[i] = divide(rewrite, operands[i], divisor);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!operands[i] && sinter_node_operand(module, node, i)) return 0;
    info = sinter_node_get(module, node);
    return sinter_build(&rewrite->build, op, operands, count, info->attributes,
                        info->attribute_count);
}

bool sinter_integer_rescale(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    sinter_quantization q;
    bool has_integers = false;
    if (!sinter_integer_quantizes(module, node, &q) || q.axis >= 0 ||
        sinter_integer_scale(&q, 0) == 1 || constant_float(module, x) ||
        !can_divide(module, x, 0, &has_integers) || !has_integers)
        return false;
    const double one = 1;
    sinter_value operands[3] = {
        divide(rewrite, x, sinter_integer_scale(&q, 0)),
        sinter_integer_constant(rewrite, SINTER_DTYPE_f32, &one, 1, q.scale->rank),
        sinter_node_operand(module, node, 2)};
    if (!operands[0] || !operands[1]) return false;
    const sinter_node_info *info = sinter_node_get(module, node);
    return sinter_integer_replace(rewrite, node,
                                  sinter_build(&rewrite->build, SINTER_OP_quantize_linear, operands,
                                               operands[2] ? 3 : 2, info->attributes,
                                               info->attribute_count));
}

/* ---- clamps ---- */

/* Never NaN: made of dequantized integers, finite constants and what keeps them so. */
static bool is_number(const sinter_module *module, sinter_value value, uint32_t depth) {
    sinter_quantization q;
    if (depth > MAX_DEPTH) return false;
    if (constant_float(module, value) || sinter_integer_dequantized(module, value, &q) ||
        is_integer_as_float(module, value))
        return true;
    sinter_op op = op_of(module, value);
    uint32_t count = op == SINTER_OP_mul ? 2 : scaled_operands(op);
    for (uint32_t i = 0; i < count; i++)
        if (!is_number(module, operand_of(module, value, i), depth + 1)) return false;
    return count > 0;
}

/* The bounds of a clamp node, infinite where it has none; false where it is no clamp by constants. */
static bool read_clamp(const sinter_module *module, sinter_node node, double *out_low,
                       double *out_high) {
    const sinter_node_info *info = sinter_node_get(module, node);
    *out_low = -HUGE_VAL;
    *out_high = HUGE_VAL;
    if (info->op == SINTER_OP_relu) {
        *out_low = 0;
        return true;
    }
    bool both = info->op == SINTER_OP_clip, low = both || info->op == SINTER_OP_max,
         high = both || info->op == SINTER_OP_min;
    if (!low && !high) return false;
    for (uint32_t i = 1; i < info->operand_count; i++) {
        if (!info->operands[i]) continue;
        const sinter_tensor *bound = sinter_value_constant(module, info->operands[i]);
        if (!bound || sinter_tensor_count(bound) != 1) return false;
        double value = sinter_tensor_get_double(bound, 0);
        if (isnan(value)) return false;
        if (low && i == 1)
            *out_low = value;
        else
            *out_high = value;
    }
    return *out_low <= *out_high;
}

/* What the quantization makes of a bound, as the operator does: in f32. */
static double quantize_bound(const sinter_quantization *q, double bound, double low, double high) {
    double quotient = (double)((float)bound / (float)sinter_integer_scale(q, 0));
    double value = rint(quotient) + (double)sinter_integer_zero(q, 0);
    return fmin(fmax(value, low), high);
}

bool sinter_integer_clamp(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization q;
    double low, high;
    if (!sinter_integer_quantizes(module, node, &q) || q.axis >= 0 ||
        !sinter_integer_is_narrow(q.dtype))
        return false;
    sinter_value x = sinter_node_operand(module, node, 0);
    sinter_node inner = sinter_value_get(module, x)->definition;
    if (!inner || !sinter_value_has_one_use(module, x) || !read_clamp(module, inner, &low, &high) ||
        !is_number(module, sinter_node_operand(module, inner, 0), 0))
        return false;
    const sinter_dtype_info *info = &sinter_dtype_infos[q.dtype];
    bool is_signed = info->class == SINTER_CLASS_INT;
    double least = is_signed ? -ldexp(1, (int)info->bits - 1) : 0,
           most = ldexp(1, (int)info->bits - is_signed) - 1;
    double bounds[2] = {quantize_bound(&q, low, least, most),
                        quantize_bound(&q, high, least, most)};
    sinter_value y = sinter_integer_convert_like(rewrite, node, operand_of(module, x, 0));
    if (y && (bounds[0] > least || bounds[1] < most)) {
        sinter_value operands[3] = {y, sinter_integer_constant(rewrite, q.dtype, &bounds[0], 1, 0),
                                    sinter_integer_constant(rewrite, q.dtype, &bounds[1], 1, 0)};
        y = sinter_build(&rewrite->build, SINTER_OP_clip, operands, 3, NULL, 0);
    }
    return sinter_integer_replace(rewrite, node, y);
}
