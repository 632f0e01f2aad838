/* Evaluator rules of the quantized composites: qlinear_matmul, qlinear_add, qlinear_mul,
 * qlinear_global_average_pool, dynamic_quantize_linear. Each dequantizes to double, computes, and
 * requantizes: saturate(round_even(value / scale) + zero_point). Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <math.h>

/* (x - zero_point) * scale for the quantized operand at `index`, whose scale and zero point follow it. Both may be
 * scalars or broadcast to the operand; `axis` is where a vector of them runs along. NULL after an error. */
static double *dequantize(sinter_eval *eval, uint32_t index, uint32_t axis) {
    const sinter_tensor *x = eval->operands[index];
    double *items = sinter_eval_doubles(eval, x);
    int64_t strides[2][SINTER_MAX_RANK] = {{0}}, at[SINTER_MAX_RANK] = {0};
    const double *parameters[2] = {NULL, NULL};
    for (uint32_t p = 0; p < 2; p++) {
        const sinter_tensor *tensor = sinter_eval_operand(eval, index + 1 + p);
        if (!tensor) continue;
        parameters[p] = sinter_eval_doubles(eval, tensor);
        if (sinter_tensor_count(tensor) == 1) continue;
        bool along = tensor->rank == 1 && axis < x->rank && tensor->dims[0] == x->dims[axis];
        bool full = tensor->rank == x->rank;
        for (uint32_t i = 0; full && i < x->rank; i++)
            full = tensor->dims[i] == x->dims[i] || tensor->dims[i] == 1;
        if (along) {
            strides[p][axis] = 1;
        } else if (full) {
            sinter_eval_broadcast_strides(tensor, x->rank, strides[p]);
        } else {
            sinter_eval_error(eval, "%s does not fit the scale or zero point %s",
                              sinter_eval_describe(eval, x), sinter_eval_describe(eval, tensor));
            return NULL;
        }
    }
    for (int64_t i = 0; i < sinter_tensor_count(x); i++) {
        double zero =
            parameters[1] ? parameters[1][sinter_eval_offset(x->rank, at, strides[1])] : 0;
        items[i] = (items[i] - zero) * parameters[0][sinter_eval_offset(x->rank, at, strides[0])];
        sinter_eval_next(x->rank, x->dims, at);
    }
    return items;
}

static void store_quantized(sinter_tensor *y, int64_t index, double value, double scale,
                            double zero) {
    if (sinter_dtype_is_float(y->dtype))
        sinter_tensor_set_double(y, index, value / scale + zero);
    else
        sinter_tensor_set_int(y, index, sinter_eval_saturate(y->dtype, rint(value / scale) + zero));
}

/* The one scale and zero point at operands `index` and index + 1 (which may be absent: 0). */
static bool result_quantization(sinter_eval *eval, uint32_t index, double *out_scale,
                                double *out_zero) {
    *out_zero = 0;
    return sinter_eval_float_scalar(eval, index, out_scale) &&
           (!sinter_eval_operand(eval, index + 1) ||
            sinter_eval_float_scalar(eval, index + 1, out_zero));
}

bool eval_qlinear_matmul(sinter_eval *eval) {
    const sinter_tensor *a = eval->operands[0], *b = eval->operands[3];
    double scale, zero;
    if (!sinter_eval_expect_rank(eval, 0, 1, SINTER_MAX_RANK) ||
        !sinter_eval_expect_rank(eval, 3, 1, SINTER_MAX_RANK) ||
        !result_quantization(eval, 6, &scale, &zero))
        return false;
    const double *x = dequantize(eval, 0, a->rank > 1 ? a->rank - 2 : SINTER_MAX_RANK);
    const double *z = x ? dequantize(eval, 3, b->rank > 1 ? b->rank - 1 : SINTER_MAX_RANK) : NULL;
    if (!z) return false;
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
        const double *left = x + (sinter_eval_offset(batch_rank, at, a_strides) * m + row) * k;
        const double *right = z + sinter_eval_offset(batch_rank, at, b_strides) * k * n + column;
        double sum = 0;
        for (int64_t l = 0; l < k; l++) sum += left[l] * right[l * n];
        store_quantized(y, i, sum, scale, zero);
        if (row == m - 1 && column == n - 1) sinter_eval_next(batch_rank, dims, at);
    }
    return true;
}

static bool quantized_binary(sinter_eval *eval, bool multiply) {
    const sinter_tensor *a = eval->operands[0], *b = eval->operands[3];
    int64_t dims[SINTER_MAX_RANK], a_strides[SINTER_MAX_RANK], b_strides[SINTER_MAX_RANK];
    int64_t at[SINTER_MAX_RANK] = {0};
    uint32_t rank;
    double scale, zero;
    if (!result_quantization(eval, 6, &scale, &zero)) return false;
    if (!sinter_eval_broadcast_dims(a->rank, a->dims, b->rank, b->dims, &rank, dims))
        return sinter_eval_error(eval, "%s and %s do not broadcast", sinter_eval_describe(eval, a),
                                 sinter_eval_describe(eval, b));
    const double *x = dequantize(eval, 0, SINTER_MAX_RANK);
    const double *z = x ? dequantize(eval, 3, SINTER_MAX_RANK) : NULL;
    sinter_tensor *c = z ? sinter_eval_create(eval, 0, a->dtype, rank, dims) : NULL;
    if (!c) return false;
    sinter_eval_broadcast_strides(a, rank, a_strides);
    sinter_eval_broadcast_strides(b, rank, b_strides);
    for (int64_t i = 0; i < sinter_tensor_count(c); i++) {
        double left = x[sinter_eval_offset(rank, at, a_strides)];
        double right = z[sinter_eval_offset(rank, at, b_strides)];
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
    double scale, zero;
    if (!sinter_eval_expect_rank(eval, 0, 3, SINTER_MAX_RANK) ||
        !result_quantization(eval, 3, &scale, &zero))
        return false;
    bool last = sinter_eval_int(eval, "channels_last") != 0;
    int64_t dims[SINTER_MAX_RANK], channels = x->dims[last ? x->rank - 1 : 1], space;
    for (uint32_t i = 0; i < x->rank; i++) dims[i] = 1;
    dims[0] = x->dims[0];
    dims[last ? x->rank - 1 : 1] = channels;
    sinter_eval_product(x->dims + (last ? 1 : 2), x->rank - 2, &space);
    const double *items = dequantize(eval, 0, SINTER_MAX_RANK);
    sinter_tensor *y = items ? sinter_eval_create(eval, 0, x->dtype, x->rank, dims) : NULL;
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) {
        double sum = 0;
        for (int64_t s = 0; s < space; s++)
            sum += last ? items[(i / channels * space + s) * channels + i % channels]
                        : items[i * space + s];
        store_quantized(y, i, sum / (double)space, scale, zero);
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
