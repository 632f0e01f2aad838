/* Rules of recognize_integer: products and sums of dequantized tensors. sum(x * w) of (x - zx) * sx and (w - zw) * sw is
 * the integer sum times sx * sw. Test: tests/passes/recognize_integer/product.sir */
#include "ir/decompose.h"
#include "passes/recognize_integer.h"

#include <math.h>

/* The zero point as an operand of an integer product; 0 where it is zero. */
static sinter_value zero_operand(const sinter_quantization *q) {
    for (int64_t i = 0; q->zero && i < sinter_tensor_count(q->zero); i++)
        if (sinter_integer_zero(q, i)) return q->zero_point;
    return 0;
}

/* Operands of an integer product up to the last that is there. */
static uint32_t present(const sinter_value operands[4]) {
    return operands[3] ? 4 : operands[2] ? 3 : 2;
}

/* a.scale * b.scale for each channel of b, seen as [count, 1, ...] of `rank` axes; a scalar where b has one scale. */
static sinter_value product_scale(sinter_rewrite *rewrite, const sinter_quantization *a,
                                  const sinter_quantization *b, uint32_t rank) {
    int64_t count = b->axis < 0 ? 1 : sinter_tensor_count(b->scale);
    double *items = SINTER_NEW_ARRAY(sinter_module_arena(rewrite->build.module), double, count + 1);
    for (int64_t i = 0; i < count; i++)
        items[i] = sinter_integer_scale(a, 0) * sinter_integer_scale(b, i);
    return sinter_integer_constant(rewrite, SINTER_DTYPE_f32, items, count, b->axis < 0 ? 0 : rank);
}

static sinter_value scaled(sinter_rewrite *rewrite, sinter_value sum, sinter_value scale) {
    sinter_value y = sinter_compose_cast(rewrite, sum, SINTER_DTYPE_f32);
    return sinter_compose_binary(rewrite, SINTER_OP_mul, y, scale);
}

/* Sums of `count` products of 8-bit numbers fit i32, whatever the symbols in it are. */
static bool fits(const sinter_module *module, sinter_dim count) {
    int64_t low = 0, high = 0;
    sinter_dim_table *dims = sinter_module_dims(module);
    sinter_dim_range(dims, count, &low, &high);
    return high <= INT32_MAX / (255 * 255);
}

static bool narrow_pair(const sinter_module *module, sinter_node node, sinter_quantization *a,
                        sinter_quantization *b) {
    return sinter_integer_dequantized(module, sinter_node_operand(module, node, 0), a) &&
           sinter_integer_dequantized(module, sinter_node_operand(module, node, 1), b) &&
           a->axis < 0 && sinter_integer_is_narrow(a->dtype) && sinter_integer_is_narrow(b->dtype);
}

/* sums: i32 where they fit, i64 where they may not. */
static bool multiply(sinter_rewrite *rewrite, sinter_node node, sinter_dtype sums) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization a, b;
    if (sinter_node_op(module, node) != SINTER_OP_matmul || !narrow_pair(module, node, &a, &b))
        return false;
    const sinter_type *x = sinter_value_type(module, a.x), *w = sinter_value_type(module, b.x);
    bool by_column = b.axis >= 0 && b.axis == (int64_t)w->rank - 1 && w->rank > 1;
    bool in_i32 = fits(module, x->dims[x->rank - 1]);
    if ((b.axis >= 0 && !by_column) || in_i32 != (sums == SINTER_DTYPE_i32)) return false;
    /* weights of so many rows are packed as floats, chunks of them are not as bytes */
    if (!in_i32 && sinter_value_constant(module, b.x)) return false;
    sinter_value operands[4] = {a.x, b.x, zero_operand(&a), zero_operand(&b)};
    sinter_attr to = sinter_attr_dtype("to", sums);
    sinter_value sum = sinter_build(&rewrite->build, SINTER_OP_matmul_integer, operands,
                                    present(operands), &to, !in_i32);
    return sinter_integer_replace(rewrite, node,
                                  scaled(rewrite, sum, product_scale(rewrite, &a, &b, 1)));
}

bool sinter_integer_matmul(sinter_rewrite *rewrite, sinter_node node) {
    return multiply(rewrite, node, SINTER_DTYPE_i32);
}

bool sinter_integer_matmul_long(sinter_rewrite *rewrite, sinter_node node) {
    return multiply(rewrite, node, SINTER_DTYPE_i64);
}

/* Scales that only the run knows of what `from`, a dequantize_linear, gives: one, or one for each row. */
static bool is_known_late(const sinter_module *module, sinter_node from) {
    sinter_value scale = sinter_node_operand(module, from, 1);
    const sinter_type *s = sinter_value_type(module, scale),
                      *x = sinter_value_type(module, sinter_node_operand(module, from, 0));
    if (sinter_value_constant(module, scale) || s->dtype != SINTER_DTYPE_f32) return false;
    int64_t block = sinter_node_get_int(module, from, "block_size", 0), width = 0;
    if (block == 0) return s->rank == 0;
    return s->rank == x->rank && !sinter_node_operand(module, from, 2) &&
           sinter_node_get_int(module, from, "axis", 1) == (int64_t)x->rank - 1 &&
           sinter_dim_is_const(sinter_module_dims(module), x->dims[x->rank - 1], &width) &&
           width == block;
}

bool sinter_integer_matmul_late(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization b;
    if (sinter_node_op(module, node) != SINTER_OP_matmul) return false;
    sinter_node from = sinter_value_definition(module, sinter_node_operand(module, node, 0));
    if (sinter_node_op(module, from) != SINTER_OP_dequantize_linear ||
        !is_known_late(module, from) ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 1), &b))
        return false;
    sinter_value x = sinter_node_operand(module, from, 0),
                 scale = sinter_node_operand(module, from, 1);
    sinter_value zero = sinter_node_operand(module, from, 2);
    const sinter_type *type = sinter_value_type(module, x), *w = sinter_value_type(module, b.x);
    bool by_column = b.axis >= 0 && b.axis == (int64_t)w->rank - 1 && w->rank > 1;
    if (!sinter_integer_is_narrow(type->dtype) || !sinter_integer_is_narrow(b.dtype) ||
        sinter_dtype_infos[b.dtype].bits != 8 || (b.axis >= 0 && !by_column) ||
        !fits(module, type->dims[type->rank - 1]))
        return false;
    bool by_row = sinter_value_type(module, scale)->rank > 0;
    sinter_value operands[4] = {x, b.x, zero, zero_operand(&b)};
    sinter_value sum = sinter_build(&rewrite->build, SINTER_OP_matmul_integer, operands,
                                    present(operands), NULL, 0);
    int64_t count = b.axis < 0 ? 1 : sinter_tensor_count(b.scale);
    double *items = SINTER_NEW_ARRAY(sinter_module_arena(module), double, count + 1);
    for (int64_t i = 0; i < count; i++) items[i] = sinter_integer_scale(&b, i);
    sinter_value scales =
        sinter_integer_constant(rewrite, SINTER_DTYPE_f32, items, count, b.axis < 0 ? 0 : 1);
    if (!by_row) {
        scales = sinter_compose_binary(rewrite, SINTER_OP_mul, scales, scale);
        return sinter_integer_replace(rewrite, node, scaled(rewrite, sum, scales));
    }
    sinter_value y = scaled(rewrite, sum, scales);
    return sinter_integer_replace(rewrite, node,
                                  sinter_compose_binary(rewrite, SINTER_OP_mul, y, scale));
}

/* Whether b is i32 in units of the product: then it is added to the sums. */
static bool is_in_units(const sinter_module *module, sinter_value b, const sinter_quantization *x,
                        const sinter_quantization *w, sinter_quantization *out) {
    if (!sinter_integer_dequantized(module, b, out) || out->dtype != SINTER_DTYPE_i32 ||
        zero_operand(out))
        return false;
    int64_t count = sinter_tensor_count(out->scale), weights = sinter_tensor_count(w->scale);
    for (int64_t i = 0; i < (count > weights ? count : weights); i++) {
        double unit = sinter_integer_scale(x, 0) * sinter_integer_scale(w, i);
        if (fabs(sinter_integer_scale(out, i) - unit) > 1e-5 * unit) return false;
    }
    return true;
}

/* A vector of channels as what broadcasts along them; of a constant another constant, which later rules can add to. */
static sinter_value by_channel(sinter_rewrite *rewrite, sinter_value vector, uint32_t rank) {
    const sinter_tensor *items = sinter_value_constant(rewrite->build.module, vector);
    if (!items) return sinter_compose_channel_view(rewrite, vector, rank + 1);
    sinter_tensor view;
    sinter_tensor_copy(&view, items);
    view.rank = rank;
    for (uint32_t i = 1; i < rank; i++) view.dims[i] = 1;
    return sinter_build_constant(&rewrite->build, view);
}

bool sinter_integer_conv(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_quantization x, w, b;
    if (info->op != SINTER_OP_conv || !narrow_pair(module, node, &x, &w) || w.axis > 0)
        return false;
    const sinter_type *weight = sinter_value_type(module, w.x);
    sinter_dim taps = weight->dims[1];
    for (uint32_t i = 2; i < weight->rank; i++)
        taps = sinter_dim_mul(sinter_module_dims(module), taps, weight->dims[i]);
    if (!fits(module, taps)) return false;
    bool last = sinter_node_get_int(module, node, "channels_last", 0) != 0;
    uint32_t rank = last ? 1 : weight->rank - 1; /* of what broadcasts along the channels */
    sinter_value bias = sinter_node_operand(module, node, 2);
    bool in_units = bias && is_in_units(module, bias, &x, &w, &b);
    sinter_value operands[4] = {x.x, w.x, zero_operand(&x), zero_operand(&w)};
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_conv_integer, operands,
                                  present(operands), info->attributes, info->attribute_count);
    if (in_units)
        y = sinter_compose_binary(rewrite, SINTER_OP_add, y, by_channel(rewrite, b.x, rank));
    y = scaled(rewrite, y, product_scale(rewrite, &x, &w, rank));
    if (bias && !in_units)
        y = sinter_compose_binary(rewrite, SINTER_OP_add, y, by_channel(rewrite, bias, rank));
    return sinter_integer_replace(rewrite, node, y);
}

/* Elements that each result of the reduction sums; 0 where that is not a number. */
static int64_t reduced_count(const sinter_module *module, sinter_node node,
                             const sinter_type *type) {
    int64_t axes[SINTER_MAX_RANK], total = 1;
    bool all = true, marked[SINTER_MAX_RANK] = {0};
    size_t count = 0;
    sinter_value list = sinter_node_operand(module, node, 1);
    if (list && !sinter_value_known_ints(module, list, axes, SINTER_MAX_RANK, &count)) return 0;
    if (count == 0 && sinter_node_get_int(module, node, "noop_with_empty_axes", 0)) return 0;
    for (size_t i = 0; i < count; i++, all = false)
        marked[axes[i] < 0 ? axes[i] + type->rank : axes[i]] = true;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t low = 0, high = 0;
        if (!all && !marked[i]) continue;
        sinter_dim_range(sinter_module_dims(module), type->dims[i], &low, &high);
        if (low != high || high <= 0 || high > INT32_MAX / 255 / total) return 0;
        total *= high;
    }
    return total;
}

bool sinter_integer_sum(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    bool mean = info->op == SINTER_OP_reduce_mean;
    sinter_quantization q;
    if ((!mean && info->op != SINTER_OP_reduce_sum) ||
        !sinter_integer_dequantized(module, info->operands[0], &q) || q.axis >= 0 ||
        !sinter_integer_is_narrow(q.dtype))
        return false;
    int64_t count = reduced_count(module, node, sinter_value_type(module, q.x));
    if (count == 0) return false;
    sinter_value operands[2] = {sinter_compose_cast(rewrite, q.x, SINTER_DTYPE_i32),
                                sinter_node_operand(module, node, 1)};
    info = sinter_node_get(module, node);
    sinter_value sum = sinter_build(&rewrite->build, SINTER_OP_reduce_sum, operands,
                                    operands[1] ? 2 : 1, info->attributes, info->attribute_count);
    double offset = (double)(-sinter_integer_zero(&q, 0) * count);
    if (offset != 0)
        sum = sinter_compose_binary(
            rewrite, SINTER_OP_add, sum,
            sinter_integer_constant(rewrite, SINTER_DTYPE_i32, &offset, 1, 0));
    double scale = sinter_integer_scale(&q, 0) / (mean ? (double)count : 1);
    return sinter_integer_replace(
        rewrite, node,
        scaled(rewrite, sum, sinter_integer_constant(rewrite, SINTER_DTYPE_f32, &scale, 1, 0)));
}
