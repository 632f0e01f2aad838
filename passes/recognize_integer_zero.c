/* Rules of recognize_integer: zero points leave the integer products. With u8 times i8 as operands (i8 times i8 where the machine sums products of those),
 *   sum (x - zx) * (w - zw) = sum x * w - zx * sum w - zw * sum x + n * zx * zw,
 * where the sums of constant weights are numbers. i8 becomes u8, or u8 i8, by flipping the highest bit, which moves the
 * zero point by 128. Exact: i32 wraps alike on both sides. Test: tests/passes/recognize_integer/zero.sir */
#include "ir/decompose.h"
#include "passes/recognize_integer.h"
#include "passes/window_borders.h"

#include <string.h>

/* An operand of a product and its zero point. */
typedef struct centred {
    sinter_value x;             /* of the type that the product has on its side */
    const sinter_tensor *items; /* where x is constant */
    const sinter_tensor *zero;  /* constant zero point as it was; NULL: `late` or 0 */
    sinter_value late;          /* zero point known when run, as `sums` */
    int64_t shift;              /* added to the zero point as it was */
    sinter_dtype sums;          /* that the product is of: i32 or i64 */
} centred;

static int64_t zero_at(const centred *c, int64_t i) {
    int64_t zero = 0;
    if (c->zero) zero = sinter_tensor_get_int(c->zero, sinter_tensor_count(c->zero) == 1 ? 0 : i);
    return zero + c->shift;
}

static int64_t zero_count(const centred *c) {
    return c->zero ? sinter_tensor_count(c->zero) : 1;
}

static bool has_zero(const centred *c) {
    if (c->late) return true;
    for (int64_t i = 0; i < zero_count(c); i++)
        if (zero_at(c, i)) return true;
    return false;
}

static sinter_value flip_constant(sinter_rewrite *rewrite, sinter_value x,
                                  const sinter_tensor *items, sinter_dtype to) {
    sinter_tensor flipped;
    if (!sinter_tensor_create(&flipped, to, items->rank, items->dims, rewrite->build.diag))
        return 0;
    uint8_t *bytes = sinter_tensor_mutable(&flipped);
    const uint8_t *from = items->data;
    for (size_t i = 0; i < sinter_tensor_bytes(&flipped); i++) bytes[i] = from[i] ^ 0x80u;
    return sinter_integer_constant_again(rewrite, x, flipped);
}

static sinter_value flip(sinter_rewrite *rewrite, sinter_value x, sinter_dtype to) {
    const sinter_tensor *items = sinter_value_constant(rewrite->build.module, x);
    if (items) return flip_constant(rewrite, x, items, to);
    const double high = 128;
    sinter_value y = sinter_compose_cast(rewrite, x, SINTER_DTYPE_u8);
    y = sinter_compose_binary(rewrite, SINTER_OP_bitwise_xor, y,
                              sinter_integer_constant(rewrite, SINTER_DTYPE_u8, &high, 1, 0));
    return sinter_compose_cast(rewrite, y, to);
}

static bool is_byte(sinter_dtype dtype) {
    return dtype == SINTER_DTYPE_u8 || dtype == SINTER_DTYPE_i8;
}

/* Operands `index` and `index` + 2 of the product, the first as the dtype. */
static bool read_centred(sinter_rewrite *rewrite, sinter_node node, uint32_t index, sinter_dtype to,
                         centred *out) {
    sinter_module *module = rewrite->build.module;
    sinter_value zero = sinter_node_operand(module, node, index + 2);
    *out = (centred){.x = sinter_node_operand(module, node, index),
                     .sums = sinter_value_type(module, sinter_node_result(module, node, 0))->dtype};
    sinter_dtype from = sinter_value_type(module, out->x)->dtype;
    if (!is_byte(from)) return false;
    out->zero = zero ? sinter_value_constant(module, zero) : NULL;
    if (zero && !out->zero) {
        if (sinter_value_type(module, zero)->rank != 0) return false;
        out->late = sinter_compose_cast(rewrite, zero, out->sums);
    }
    if (from != to) {
        out->shift = to == SINTER_DTYPE_u8 ? 128 : -128;
        out->x = flip(rewrite, out->x, to);
        const double shift = (double)out->shift;
        if (out->late)
            out->late =
                sinter_compose_binary(rewrite, SINTER_OP_add, out->late,
                                      sinter_integer_constant(rewrite, out->sums, &shift, 1, 0));
    }
    out->items = out->x ? sinter_value_constant(module, out->x) : NULL;
    return out->x != 0;
}

/* The zero point as a value of the sums' type: a scalar, or one an element seen as [count, 1, ...] of `rank` axes. */
static sinter_value zero_value(sinter_rewrite *rewrite, const centred *c, uint32_t rank) {
    if (c->late) return c->late;
    int64_t count = zero_count(c);
    double *items = SINTER_NEW_ARRAY(sinter_module_arena(rewrite->build.module), double, count + 1);
    for (int64_t i = 0; i < count; i++) items[i] = (double)zero_at(c, i);
    return sinter_integer_constant(rewrite, c->sums, items, count, count == 1 ? 0 : rank);
}

/* ---- matrix products ---- */

/* Sums over one of the two last axes, kept. */
static sinter_value sum_over(sinter_rewrite *rewrite, const centred *c, int64_t axis) {
    sinter_value wide = sinter_compose_cast(rewrite, c->x, c->sums);
    return sinter_compose_reduce(rewrite, SINTER_OP_reduce_sum, wide, &axis, 1, true);
}

/* Sums of the columns of a constant matrix. */
static sinter_value column_sums(sinter_rewrite *rewrite, const centred *c) {
    const sinter_tensor *b = c->items;
    int64_t n = b->dims[1], rows = b->dims[0];
    double *sums = SINTER_NEW_ARRAY(sinter_module_arena(rewrite->build.module), double, n + 1);
    const int8_t *items = b->data;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++) sums[j] += items[i * n + j];
    return sinter_integer_constant(rewrite, c->sums, sums, n, 1);
}

/* sum - factor * other */
static sinter_value less(sinter_rewrite *rewrite, sinter_value sum, sinter_value factor,
                         sinter_value other) {
    return sinter_compose_binary(rewrite, SINTER_OP_sub, sum,
                                 sinter_compose_binary(rewrite, SINTER_OP_mul, other, factor));
}

/* to: what the first operand is to be. */
static bool leave_matmul(sinter_rewrite *rewrite, sinter_node node, sinter_dtype to) {
    sinter_module *module = rewrite->build.module;
    if (sinter_node_get(module, node)->op != SINTER_OP_matmul_integer) return false;
    sinter_value left = sinter_node_operand(module, node, 0),
                 right = sinter_node_operand(module, node, 1);
    sinter_type a_type = *sinter_value_type(module, left),
                b_type = *sinter_value_type(module, right);
    centred a, b;
    int64_t low = 0, inner = 0;
    sinter_dim_range(sinter_module_dims(module), a_type.dims[a_type.rank - 1], &low, &inner);
    bool plain = a_type.dtype == to && b_type.dtype == SINTER_DTYPE_i8 &&
                 !sinter_node_operand(module, node, 2) && !sinter_node_operand(module, node, 3);
    if (plain || a_type.rank < 2 || b_type.rank < 2 || !read_centred(rewrite, node, 0, to, &a) ||
        zero_count(&a) != 1 || !read_centred(rewrite, node, 1, SINTER_DTYPE_i8, &b) ||
        (zero_count(&b) != 1 && b.zero->rank != 1) ||
        (low != inner && has_zero(&a) &&
         has_zero(&b))) /* how many products the zero points have is a number */
        return false;
    sinter_value operands[2] = {a.x, b.x};
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_matmul_integer, operands, 2,
                                  info->attributes, info->attribute_count);
    /* zx * (sum w - n * zw), then zw * sum x: the first is constant with the weights */
    if (has_zero(&a)) {
        bool known = b.items && b.items->rank == 2;
        sinter_value sums = known ? column_sums(rewrite, &b) : sum_over(rewrite, &b, -2);
        const double count = (double)inner;
        if (has_zero(&b))
            sums = less(rewrite, sums, sinter_integer_constant(rewrite, b.sums, &count, 1, 0),
                        zero_value(rewrite, &b, 1));
        y = less(rewrite, y, zero_value(rewrite, &a, 0), sums);
    }
    if (has_zero(&b)) y = less(rewrite, y, zero_value(rewrite, &b, 1), sum_over(rewrite, &a, -1));
    return sinter_integer_replace(rewrite, node, y);
}

bool sinter_integer_matmul_zeros(sinter_rewrite *rewrite, sinter_node node) {
    return leave_matmul(rewrite, node, SINTER_DTYPE_u8);
}

bool sinter_integer_matmul_zeros_signed(sinter_rewrite *rewrite, sinter_node node) {
    return leave_matmul(rewrite, node, SINTER_DTYPE_i8);
}

/* ---- convolutions ---- */

/* The convolution of x with other weights, of one group where `ones`; without pads where they are made already. */
static sinter_value convolve(sinter_rewrite *rewrite, sinter_node node, sinter_value x,
                             sinter_value w, bool padded) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_attr attributes[16];
    uint32_t count = 0;
    for (uint32_t i = 0; i < info->attribute_count && count < 16; i++) {
        sinter_string name = info->attributes[i].name;
        bool is_padding = sinter_string_is(name, "pads") || sinter_string_is(name, "auto_pad");
        if (!padded || !is_padding) attributes[count++] = info->attributes[i];
    }
    sinter_value operands[2] = {x, w};
    return sinter_build(&rewrite->build, SINTER_OP_conv_integer, operands, 2, attributes, count);
}

static sinter_value ones_like_filter(sinter_rewrite *rewrite, const sinter_tensor *w) {
    sinter_tensor ones;
    int64_t dims[SINTER_MAX_RANK];
    memcpy(dims, w->dims, sizeof dims);
    dims[0] = 1;
    if (!sinter_tensor_create(&ones, SINTER_DTYPE_i8, w->rank, dims, rewrite->build.diag)) return 0;
    memset(sinter_tensor_mutable(&ones), 1, sinter_tensor_bytes(&ones));
    return sinter_build_constant(&rewrite->build, ones);
}

/* i8 weights less their zero points, where those fit i8: then there is no zero point. */
static bool absorb_zero(sinter_rewrite *rewrite, centred *w) {
    sinter_tensor moved;
    int64_t inner = sinter_tensor_count(w->items) / w->items->dims[0];
    for (int64_t i = 0; i < sinter_tensor_count(w->items); i++) {
        int64_t value = sinter_tensor_get_int(w->items, i) - zero_at(w, i / inner);
        if (value < INT8_MIN || value > INT8_MAX) return false;
    }
    if (!sinter_tensor_create(&moved, SINTER_DTYPE_i8, w->items->rank, w->items->dims,
                              rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(w->items); i++)
        sinter_tensor_set_int(&moved, i,
                              sinter_tensor_get_int(w->items, i) - zero_at(w, i / inner));
    w->x = sinter_integer_constant_again(rewrite, w->x, moved);
    w->items = w->x ? sinter_value_constant(rewrite->build.module, w->x) : NULL;
    w->zero = NULL;
    w->shift = 0;
    return w->items != NULL;
}

/* -zx * (sum w - n * zw) for each filter, as [filters, 1, ...] */
static sinter_value filter_sums(sinter_rewrite *rewrite, const centred *x, const centred *w,
                                uint32_t rank) {
    int64_t filters = w->items->dims[0], taps = sinter_tensor_count(w->items) / filters;
    double *sums =
        SINTER_NEW_ARRAY(sinter_module_arena(rewrite->build.module), double, filters + 1);
    for (int64_t i = 0; i < filters; i++) {
        int64_t sum = -taps * zero_at(w, i);
        for (int64_t t = 0; t < taps; t++) sum += sinter_tensor_get_int(w->items, i * taps + t);
        sums[i] = (double)(-zero_at(x, 0) * sum);
    }
    return sinter_integer_constant(rewrite, SINTER_DTYPE_i32, sums, filters, rank);
}

static bool leave_conv(sinter_rewrite *rewrite, sinter_node node, sinter_dtype to) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->op != SINTER_OP_conv_integer) return false;
    const sinter_tensor *weights = sinter_value_constant(module, info->operands[1]);
    bool plain = sinter_value_type(module, info->operands[0])->dtype == to && weights &&
                 weights->dtype == SINTER_DTYPE_i8 && !sinter_node_operand(module, node, 2) &&
                 !sinter_node_operand(module, node, 3);
    bool last = sinter_node_get_int(module, node, "channels_last", 0) != 0;
    bool grouped = sinter_node_get_int(module, node, "group", 1) != 1;
    sinter_window_borders border;
    centred x, w;
    if (plain || !weights || sinter_tensor_count(weights) == 0 ||
        !sinter_window_read_borders(module, node, &border) ||
        !read_centred(rewrite, node, 0, to, &x) || x.late || zero_count(&x) != 1 ||
        !read_centred(rewrite, node, 1, SINTER_DTYPE_i8, &w) || w.late)
        return false;
    /* with several groups the sums of x would cost as much as the products */
    if (has_zero(&w) && !absorb_zero(rewrite, &w) && grouped) return false;
    uint32_t rank = last ? 1 : border.spatial + 1;
    bool padded = border.any && has_zero(&x);
    sinter_value data = x.x;
    if (padded) {
        const double fill = (double)zero_at(&x, 0);
        sinter_dtype dtype = sinter_value_type(module, data)->dtype;
        data = sinter_window_pad(rewrite, data, &border,
                                 sinter_integer_constant(rewrite, dtype, &fill, 1, 0));
    }
    if (!data) return false;
    sinter_value y = convolve(rewrite, node, data, w.x, padded);
    if (has_zero(&x))
        y = sinter_compose_binary(rewrite, SINTER_OP_add, y, filter_sums(rewrite, &x, &w, rank));
    if (has_zero(&w))
        y = less(rewrite, y, zero_value(rewrite, &w, rank),
                 convolve(rewrite, node, data, ones_like_filter(rewrite, w.items), padded));
    return sinter_integer_replace(rewrite, node, y);
}

bool sinter_integer_conv_zeros(sinter_rewrite *rewrite, sinter_node node) {
    return leave_conv(rewrite, node, SINTER_DTYPE_u8);
}

bool sinter_integer_conv_zeros_signed(sinter_rewrite *rewrite, sinter_node node) {
    return leave_conv(rewrite, node, SINTER_DTYPE_i8);
}

/* (x + a) + b = x + (a + b) in integers: what the rules above add meets the bias. */
bool sinter_integer_merge_sums(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    if (sinter_node_get(module, node)->op != SINTER_OP_add) return false;
    sinter_value x = sinter_node_operand(module, node, 0), b = sinter_node_operand(module, node, 1);
    sinter_node inner = sinter_value_get(module, x)->definition;
    if (sinter_value_type(module, x)->dtype != SINTER_DTYPE_i32 || !inner ||
        sinter_node_get(module, inner)->op != SINTER_OP_add || !sinter_value_constant(module, b) ||
        !sinter_value_constant(module, sinter_node_operand(module, inner, 1)))
        return false;
    sinter_value source = sinter_node_operand(module, inner, 0);
    sinter_value sum =
        sinter_compose_binary(rewrite, SINTER_OP_add, sinter_node_operand(module, inner, 1), b);
    sum = sinter_compose_binary(rewrite, SINTER_OP_add, source, sum);
    if (!sum || !sinter_type_equal(sinter_value_type(module, sum),
                                   sinter_value_type(module, sinter_node_result(module, node, 0))))
        return false;
    return sinter_integer_replace(rewrite, node, sum);
}
