/* Evaluator rules of the quantized composites: qlinear_matmul, qlinear_add, qlinear_mul,
 * qlinear_global_average_pool, dynamic_quantize_linear. Products are summed exactly and requantized once; the others
 * dequantize, compute and requantize: saturate(round_even(value / scale) + zero_point). Every step of the float part is
 * rounded to f32, as in the decompositions: ties decide elements, and an answer to the bit needs one definition.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <math.h>

/* A quantized operand: its elements less their zero point, and where its scales lie. Scale and zero point follow the
 * operand; they may be scalars or broadcast to it; `axis` is where a vector of them runs along. */
typedef struct quantized {
    double *items;
    const double *scales;
    int64_t scale_strides[SINTER_MAX_RANK];
} quantized;

static bool parameter_strides(sinter_eval *eval, const sinter_tensor *x,
                              const sinter_tensor *parameter, uint32_t axis, int64_t *strides) {
    for (uint32_t i = 0; i < x->rank; i++) strides[i] = 0;
    if (sinter_tensor_count(parameter) == 1) return true;
    bool full = parameter->rank == x->rank;
    for (uint32_t i = 0; full && i < x->rank; i++)
        full = parameter->dims[i] == x->dims[i] || parameter->dims[i] == 1;
    if (parameter->rank == 1 && axis < x->rank && parameter->dims[0] == x->dims[axis])
        strides[axis] = 1;
    else if (full)
        sinter_eval_broadcast_strides(parameter, x->rank, strides);
    else
        return sinter_eval_error(eval, "%s does not fit the scale or zero point %s",
                                 sinter_eval_describe(eval, x),
                                 sinter_eval_describe(eval, parameter));
    return true;
}

static bool read_quantized(sinter_eval *eval, uint32_t index, uint32_t axis, quantized *out) {
    const sinter_tensor *x = eval->operands[index], *scale = eval->operands[index + 1];
    const sinter_tensor *zero_point = sinter_eval_operand(eval, index + 2);
    int64_t strides[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    out->items = sinter_eval_doubles(eval, x);
    out->scales = sinter_eval_doubles(eval, scale);
    if (!parameter_strides(eval, x, scale, axis, out->scale_strides)) return false;
    if (!zero_point) return true;
    const double *zeros = sinter_eval_doubles(eval, zero_point);
    if (!parameter_strides(eval, x, zero_point, axis, strides)) return false;
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        out->items[i] -= zeros[sinter_eval_offset(x->rank, at, strides)];
        sinter_eval_next(x->rank, x->dims, at);
    }
    return true;
}

/* (x - zero_point) * scale, in f32; NULL after an error. */
static float *dequantize(sinter_eval *eval, uint32_t index) {
    const sinter_tensor *x = eval->operands[index];
    int64_t at[SINTER_MAX_RANK] = {0}, count = sinter_tensor_count(x);
    quantized q;
    if (!read_quantized(eval, index, SINTER_MAX_RANK, &q)) return NULL;
    float *y = SINTER_NEW_ARRAY(eval->scratch, float, count + 1);
    for (int64_t i = 0; i < count; i++) {
        y[i] =
            (float)q.items[i] * (float)q.scales[sinter_eval_offset(x->rank, at, q.scale_strides)];
        sinter_eval_next(x->rank, x->dims, at);
    }
    return y;
}

static void store_quantized(sinter_tensor *y, int64_t index, float value, float scale,
                            double zero) {
    double quotient = (double)(value / scale);
    if (sinter_dtype_is_float(y->dtype))
        sinter_tensor_set_double(y, index, quotient + zero);
    else
        sinter_tensor_set_int(y, index, sinter_eval_saturate(y->dtype, rint(quotient) + zero));
}

/* The one scale and zero point at operands `index` and index + 1 (which may be absent: 0). */
static bool result_quantization(sinter_eval *eval, uint32_t index, float *out_scale,
                                double *out_zero) {
    double scale = 1;
    *out_zero = 0;
    bool good = sinter_eval_float_scalar(eval, index, &scale) &&
                (!sinter_eval_operand(eval, index + 1) ||
                 sinter_eval_float_scalar(eval, index + 1, out_zero));
    *out_scale = (float)scale;
    return good;
}

/* The scale of element `linear`; one of a row or column, where the operand has several. */
static float scale_at(const sinter_tensor *x, const quantized *q, int64_t linear) {
    int64_t at[SINTER_MAX_RANK] = {0};
    if (sinter_tensor_count(x)) sinter_eval_unravel(x->rank, x->dims, linear, at);
    return (float)q->scales[sinter_eval_offset(x->rank, at, q->scale_strides)];
}

bool eval_qlinear_matmul(sinter_eval *eval) {
    const sinter_tensor *a = eval->operands[0], *b = eval->operands[3];
    float scale;
    double zero;
    quantized x, z;
    if (!sinter_eval_expect_rank(eval, 0, 1, SINTER_MAX_RANK) ||
        !sinter_eval_expect_rank(eval, 3, 1, SINTER_MAX_RANK) ||
        !result_quantization(eval, 6, &scale, &zero) ||
        !read_quantized(eval, 0, a->rank > 1 ? a->rank - 2 : SINTER_MAX_RANK, &x) ||
        !read_quantized(eval, 3, b->rank > 1 ? b->rank - 1 : SINTER_MAX_RANK, &z))
        return false;
    /* a vector is a matrix of one row (a) or one column (b), whose axis the result loses */
    uint32_t a_batch = a->rank > 1 ? a->rank - 2 : 0, b_batch = b->rank > 1 ? b->rank - 2 : 0;
    int64_t m = a->rank > 1 ? a->dims[a->rank - 2] : 1, k = a->dims[a->rank - 1];
    int64_t n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
    int64_t dims[SINTER_MAX_RANK + 2];
    uint32_t rank;
    if (b->dims[b->rank > 1 ? b->rank - 2 : 0] != k ||
        !sinter_eval_broadcast_dims(a_batch, a->dims, b_batch, b->dims, &rank, dims))
        return sinter_eval_error(eval, "%s and %s can't be multiplied",
                                 sinter_eval_describe(eval, a), sinter_eval_describe(eval, b));
    sinter_tensor a_outer = {.rank = a_batch}, b_outer = {.rank = b_batch};
    for (uint32_t i = 0; i < a_batch; i++) a_outer.dims[i] = a->dims[i];
    for (uint32_t i = 0; i < b_batch; i++) b_outer.dims[i] = b->dims[i];
    int64_t a_strides[SINTER_MAX_RANK], b_strides[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    sinter_eval_broadcast_strides(&a_outer, rank, a_strides);
    sinter_eval_broadcast_strides(&b_outer, rank, b_strides);
    uint32_t batch_rank = rank;
    if (a->rank > 1) dims[rank++] = m;
    if (b->rank > 1) dims[rank++] = n;
    sinter_tensor *y = sinter_eval_create(eval, 0, eval->operands[7]->dtype, rank, dims);
    if (!y) return false;
    for (int64_t i = 0, count = sinter_tensor_count(y); i < count; i++) {
        int64_t row = i / n % m, column = i % n;
        int64_t a_at = (sinter_eval_offset(batch_rank, at, a_strides) * m + row) * k;
        int64_t b_at = sinter_eval_offset(batch_rank, at, b_strides) * k * n + column;
        double sum = 0;
        for (int64_t l = 0; l < k; l++) sum += x.items[a_at + l] * z.items[b_at + l * n];
        float ratio = scale_at(a, &x, a_at) * scale_at(b, &z, b_at) / scale;
        store_quantized(y, i, (float)sum * ratio, 1, zero);
        if (row == m - 1 && column == n - 1) sinter_eval_next(batch_rank, dims, at);
    }
    return true;
}

static bool quantized_binary(sinter_eval *eval, bool multiply) {
    const sinter_tensor *a = eval->operands[0], *b = eval->operands[3];
    int64_t dims[SINTER_MAX_RANK], a_strides[SINTER_MAX_RANK], b_strides[SINTER_MAX_RANK];
    int64_t at[SINTER_MAX_RANK] = {0};
    uint32_t rank;
    float scale;
    double zero;
    if (!result_quantization(eval, 6, &scale, &zero)) return false;
    if (!sinter_eval_broadcast_dims(a->rank, a->dims, b->rank, b->dims, &rank, dims))
        return sinter_eval_error(eval, "%s and %s do not broadcast", sinter_eval_describe(eval, a),
                                 sinter_eval_describe(eval, b));
    const float *x = dequantize(eval, 0), *z = x ? dequantize(eval, 3) : NULL;
    sinter_tensor *c = z ? sinter_eval_create(eval, 0, a->dtype, rank, dims) : NULL;
    if (!c) return false;
    sinter_eval_broadcast_strides(a, rank, a_strides);
    sinter_eval_broadcast_strides(b, rank, b_strides);
    for (int64_t i = 0; i < sinter_tensor_count(c); i++) {
        float left = x[sinter_eval_offset(rank, at, a_strides)];
        float right = z[sinter_eval_offset(rank, at, b_strides)];
        store_quantized(c, i, multiply ? left * right : left + right, scale, zero);
        sinter_eval_next(rank, dims, at);
    }
    return true;
}

bool eval_qlinear_add(sinter_eval *eval) {
    return quantized_binary(eval, false);
}

bool eval_qlinear_mul(sinter_eval *eval) {
    return quantized_binary(eval, true);
}

bool eval_qlinear_global_average_pool(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    float scale;
    double zero;
    if (!sinter_eval_expect_rank(eval, 0, 3, SINTER_MAX_RANK) ||
        !result_quantization(eval, 3, &scale, &zero))
        return false;
    bool last = sinter_eval_int(eval, "channels_last") != 0;
    int64_t dims[SINTER_MAX_RANK], channels = x->dims[last ? x->rank - 1 : 1], space;
    for (uint32_t i = 0; i < x->rank; i++) dims[i] = 1;
    dims[0] = x->dims[0];
    dims[last ? x->rank - 1 : 1] = channels;
    sinter_eval_product(x->dims + (last ? 1 : 2), x->rank - 2, &space);
    const float *items = dequantize(eval, 0);
    sinter_tensor *y = items ? sinter_eval_create(eval, 0, x->dtype, x->rank, dims) : NULL;
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) {
        double sum = 0;
        for (int64_t s = 0; s < space; s++)
            sum += (double)(last ? items[(i / channels * space + s) * channels + i % channels]
                                 : items[i * space + s]);
        store_quantized(y, i, (float)(sum / (double)space), scale, zero);
    }
    return true;
}

bool eval_dynamic_quantize_linear(sinter_eval *eval) {
    const sinter_tensor *x = eval->operands[0];
    int64_t count = sinter_tensor_count(x);
    const double *items = sinter_eval_doubles(eval, x);
    double low = 0, high = 0;
    for (int64_t i = 0; i < count; i++) {
        low = fmin(low, items[i]);
        high = fmax(high, items[i]);
    }
    /* in f32 throughout, as the operator's defining function: its ties decide elements. Where all of x is 0 the scale
     * is 0 too, and NaN saturates to 0. */
    float scale = ((float)high - (float)low) / 255.0f;
    int64_t zero = sinter_eval_saturate(SINTER_DTYPE_u8, (double)(0.0f - (float)low / scale));
    sinter_tensor *y = sinter_eval_create(eval, 0, SINTER_DTYPE_u8, x->rank, x->dims);
    sinter_tensor *y_scale = sinter_eval_create(eval, 1, SINTER_DTYPE_f32, 0, NULL);
    sinter_tensor *y_zero = sinter_eval_create(eval, 2, SINTER_DTYPE_u8, 0, NULL);
    if (!y || !y_scale || !y_zero) return false;
    sinter_tensor_set_double(y_scale, 0, (double)scale);
    sinter_tensor_set_int(y_zero, 0, zero);
    for (int64_t i = 0; i < count; i++) {
        double step = rint((double)((float)items[i] / scale)) + (double)zero;
        sinter_tensor_set_int(y, i, sinter_eval_saturate(SINTER_DTYPE_u8, step));
    }
    return true;
}
