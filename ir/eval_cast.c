/* Conversions of the reference evaluator: cast between numbers and strings, quantize_linear, dequantize_linear.
 * Numbers print as the shortest decimal that reads back, in the layout of NumPy ("1.0", "1e-05"). Strings that are
 * no numbers are errors. Test: tests/ops/cast_f8.sir, tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_TEXT = 64 };

/* ---- strings ---- */

/* Lays out digits d.ddd * 10^exponent: plain from 1e-4 up to 1e16, else scientific. */
static void layout_decimal(sinter_text *out, const char *digits, int exponent) {
    int count = (int)strlen(digits);
    if (exponent < -4 || exponent >= 16) {
        sinter_text_append(out, digits, 1);
        if (count > 1) sinter_text_format(out, ".%s", digits + 1);
        sinter_text_format(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        sinter_text_append_string(out, "0.");
        for (int i = -1; i > exponent; i--) sinter_text_append_string(out, "0");
        sinter_text_append_string(out, digits);
    } else {
        for (int i = 0; i <= exponent; i++)
            sinter_text_append(out, i < count ? &digits[i] : "0", 1);
        sinter_text_format(out, ".%s", count > exponent + 1 ? digits + exponent + 1 : "0");
    }
}

static void append_float(sinter_text *out, sinter_dtype dtype, double value) {
    if (isnan(value)) {
        sinter_text_append_string(out, "nan");
        return;
    }
    if (signbit(value)) sinter_text_append_string(out, "-");
    if (isinf(value)) {
        sinter_text_append_string(out, "inf");
        return;
    }
    char text[NUMBER_TEXT], digits[NUMBER_TEXT];
    for (int precision = 0; precision < DBL_DECIMAL_DIG; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, fabs(value));
        double back =
            sinter_float_decode(dtype, sinter_float_encode(dtype, strtod(text, NULL), false));
        if (back == fabs(value)) break;
    }
    char *e = strchr(text, 'e');
    size_t count = 0;
    for (char *c = text; c < e; c++)
        if (isdigit((unsigned char)*c)) digits[count++] = *c;
    while (count > 1 && digits[count - 1] == '0') count--;
    digits[count] = 0;
    layout_decimal(out, digits, atoi(e + 1));
}

static void append_element(sinter_text *out, const sinter_tensor *tensor, int64_t index) {
    if (sinter_dtype_is_float(tensor->dtype)) {
        append_float(out, tensor->dtype, sinter_tensor_get_double(tensor, index));
        return;
    }
    int64_t value = sinter_tensor_get_int(tensor, index);
    if (tensor->dtype == SINTER_DTYPE_bool)
        sinter_text_append_string(out, value ? "True" : "False");
    else if (tensor->dtype == SINTER_DTYPE_u64)
        sinter_text_format(out, "%" PRIu64, (uint64_t)value);
    else
        sinter_text_format(out, "%" PRId64, value);
}

static void cast_to_strings(const sinter_tensor *input, sinter_tensor *result) {
    int64_t count = sinter_tensor_count(input);
    sinter_text text = {0};
    for (int64_t i = 0; i < count; i++) {
        text.size = 0;
        append_element(&text, input, i);
        sinter_tensor_set_string(result, i, (sinter_string){text.data, text.size});
    }
    sinter_text_deinit(&text);
}

/* The whole text must be one number: decimal or scientific, inf, nan. */
static bool text_to_number(const char *text, sinter_dtype dtype, sinter_scalar *out_value) {
    char *end;
    errno = 0;
    if (!sinter_dtype_is_float(dtype)) {
        bool is_u64 = dtype == SINTER_DTYPE_u64;
        int64_t value = is_u64 ? (int64_t)strtoull(text, &end, 10) : strtoll(text, &end, 10);
        if (end != text && !*end && !errno) {
            *out_value = sinter_scalar_cast(
                (sinter_scalar){is_u64 ? dtype : SINTER_DTYPE_i64, {.i = value}}, dtype);
            return true;
        }
    }
    double value = strtod(text, &end);
    if (end == text || *end) return false;
    *out_value = sinter_eval_number(dtype, value);
    return true;
}

static bool cast_from_strings(sinter_eval *eval, const sinter_tensor *input,
                              sinter_tensor *result) {
    int64_t count = sinter_tensor_count(input);
    for (int64_t i = 0; i < count; i++) {
        sinter_string text = sinter_tensor_get_string(input, i);
        sinter_scalar value;
        const char *copy = sinter_arena_copy_string(eval->scratch, text.data, text.size);
        if (!text_to_number(copy, result->dtype, &value))
            return sinter_eval_error(eval, "element %" PRId64 " \"%.*s\" is no number", i,
                                     SINTER_STRING_ARGS(text));
        sinter_eval_store(result, i, value);
    }
    return true;
}

/* ---- cast ---- */

/* E8M0 holds powers of two: which neighbour is taken is a choice of the op. f32 is its domain. */
static uint64_t encode_power_of_two(double value, bool saturate, sinter_string round_mode) {
    uint32_t bits;
    float narrow = (float)value;
    memcpy(&bits, &narrow, sizeof bits);
    uint32_t exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffff;
    if (exponent == 0xff) return 0xff;
    bool up = false;
    if (sinter_string_is(round_mode, "up"))
        up = fraction != 0;
    else if (sinter_string_is(round_mode, "nearest"))
        up = fraction > 0x400000 || (fraction == 0x400000 && exponent > 0);
    if (up && saturate && exponent == 0xfe) up = false;
    return exponent + up;
}

static void cast_to_narrow_float(sinter_eval *eval, const sinter_tensor *input,
                                 sinter_tensor *result) {
    bool saturate = sinter_eval_int(eval, "saturate") != 0;
    sinter_string round_mode = sinter_eval_string(eval, "round_mode");
    uint8_t *bytes = sinter_tensor_mutable(result);
    int64_t count = sinter_tensor_count(input);
    const double *values = sinter_eval_doubles(eval, input);
    for (int64_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(result->dtype == SINTER_DTYPE_f8e8m0
                                 ? encode_power_of_two(values[i], saturate, round_mode)
                                 : sinter_float_encode(result->dtype, values[i], saturate));
}

bool eval_cast(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    sinter_dtype to = sinter_eval_dtype(eval, "to");
    if (!input || input->kind != SINTER_TYPE_TENSOR)
        return sinter_eval_error(eval, "expected a tensor");
    if (to == input->dtype) {
        sinter_tensor_copy(&eval->results[0], input);
        return true;
    }
    if (sinter_dtype_infos[to].class == SINTER_CLASS_COMPLEX ||
        sinter_dtype_infos[input->dtype].class == SINTER_CLASS_COMPLEX)
        return sinter_eval_error(eval, "complex numbers are not converted");
    sinter_tensor *result = sinter_eval_create(eval, 0, to, input->rank, input->dims);
    if (!result) return false;
    if (input->dtype == SINTER_DTYPE_string) return cast_from_strings(eval, input, result);
    int64_t count = sinter_tensor_count(input);
    if (to == SINTER_DTYPE_string) {
        cast_to_strings(input, result);
    } else if (sinter_dtype_is_float(to) && sinter_dtype_infos[to].bits == 8) {
        cast_to_narrow_float(eval, input, result);
    } else {
        for (int64_t i = 0; i < count; i++)
            sinter_eval_store(result, i, sinter_scalar_cast(sinter_eval_load(input, i), to));
    }
    return true;
}

/* ---- quantization ---- */

/* Where the scale (and zero point) of an element is: one for all, one per index of an axis, or one per block of
 * consecutive indices along it. */
typedef struct scale_map {
    uint32_t rank, axis;
    int64_t strides[SINTER_MAX_RANK];
    int64_t block; /* indices along axis that share a scale */
} scale_map;

static bool scale_map_init(sinter_eval *eval, scale_map *map, const sinter_tensor *x,
                           const sinter_tensor *scale) {
    int64_t block_size = sinter_eval_int(eval, "block_size");
    *map = (scale_map){.rank = x->rank, .block = 1};
    if (sinter_tensor_count(scale) == 1 && scale->rank <= 1 && !block_size) return true;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), x->rank, &map->axis)) return false;
    if (scale->rank == 1 && !block_size) {
        if (scale->dims[0] != x->dims[map->axis])
            return sinter_eval_error(eval, "scale is %s for axis %u of %s",
                                     sinter_eval_describe(eval, scale), map->axis,
                                     sinter_eval_describe(eval, x));
        map->strides[map->axis] = 1;
        return true;
    }
    bool fits = scale->rank == x->rank;
    for (uint32_t i = 0; fits && i < x->rank; i++) {
        if (i != map->axis)
            fits = scale->dims[i] == x->dims[i];
        else if (block_size > 0)
            fits = scale->dims[i] == (x->dims[i] + block_size - 1) / block_size;
        else if (scale->dims[i] > 0)
            block_size = (x->dims[i] + scale->dims[i] - 1) / scale->dims[i];
    }
    if (!fits || block_size < 0)
        return sinter_eval_error(eval, "scale is %s for blocks along axis %u of %s",
                                 sinter_eval_describe(eval, scale), map->axis,
                                 sinter_eval_describe(eval, x));
    sinter_eval_strides(scale->rank, scale->dims, map->strides);
    map->block = block_size > 0 ? block_size : 1;
    return true;
}

static int64_t scale_at(const scale_map *map, const int64_t *at) {
    int64_t offset = 0;
    for (uint32_t i = 0; i < map->rank; i++)
        offset += (i == map->axis ? at[i] / map->block : at[i]) * map->strides[i];
    return offset;
}

static bool check_zero_point(sinter_eval *eval, const sinter_tensor *scale,
                             const sinter_tensor *zero_point) {
    if (!zero_point || sinter_tensor_count(zero_point) == sinter_tensor_count(scale)) return true;
    return sinter_eval_error(eval, "zero point is %s and scale %s",
                             sinter_eval_describe(eval, zero_point),
                             sinter_eval_describe(eval, scale));
}

static double round_to(sinter_dtype dtype, double value) {
    return sinter_dtype_is_float(dtype)
               ? sinter_float_decode(dtype, sinter_float_encode(dtype, value, false))
               : value;
}

bool eval_quantize_linear(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *scale = sinter_eval_operand(eval, 1);
    const sinter_tensor *zero_point = sinter_eval_operand(eval, 2);
    scale_map map;
    int64_t at[SINTER_MAX_RANK] = {0};
    sinter_dtype dtype = zero_point ? zero_point->dtype : sinter_eval_dtype(eval, "output_dtype");
    if (dtype == SINTER_DTYPE_NONE) dtype = SINTER_DTYPE_u8;
    if (!scale_map_init(eval, &map, x, scale) || !check_zero_point(eval, scale, zero_point))
        return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, x->rank, x->dims);
    if (!result) return false;
    const double *xs = sinter_eval_doubles(eval, x), *scales = sinter_eval_doubles(eval, scale);
    const double *zeros = zero_point ? sinter_eval_doubles(eval, zero_point) : NULL;
    bool is_float = sinter_dtype_is_float(dtype), saturate = sinter_eval_int(eval, "saturate") != 0;
    bool is_byte = sinter_dtype_infos[dtype].bits == 8;
    sinter_dtype rounding =
        sinter_dtype_of_quotient(sinter_eval_int(eval, "precision"), scale->dtype);
    int64_t count = sinter_tensor_count(x);
    for (int64_t n = 0; n < count; n++) {
        int64_t where = scale_at(&map, at);
        double quotient = round_to(rounding, xs[n] / scales[where]),
               zero = zeros ? zeros[where] : 0;
        if (!is_float)
            sinter_tensor_set_int(result, n, sinter_eval_saturate(dtype, rint(quotient) + zero));
        else if (is_byte)
            ((uint8_t *)sinter_tensor_mutable(result))[n] =
                (uint8_t)sinter_float_encode(dtype, quotient + zero, saturate);
        else
            sinter_tensor_set_double(result, n, quotient + zero);
        sinter_eval_next(x->rank, x->dims, at);
    }
    return true;
}

bool eval_dequantize_linear(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *scale = sinter_eval_operand(eval, 1);
    const sinter_tensor *zero_point = sinter_eval_operand(eval, 2);
    scale_map map;
    int64_t at[SINTER_MAX_RANK] = {0};
    sinter_dtype dtype = sinter_eval_dtype(eval, "output_dtype");
    if (dtype == SINTER_DTYPE_NONE) dtype = scale->dtype;
    if (!scale_map_init(eval, &map, x, scale) || !check_zero_point(eval, scale, zero_point))
        return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, x->rank, x->dims);
    if (!result) return false;
    const double *xs = sinter_eval_doubles(eval, x), *scales = sinter_eval_doubles(eval, scale);
    const double *zeros = zero_point ? sinter_eval_doubles(eval, zero_point) : NULL;
    int64_t count = sinter_tensor_count(x);
    for (int64_t n = 0; n < count; n++) {
        int64_t where = scale_at(&map, at);
        sinter_tensor_set_double(result, n, (xs[n] - (zeros ? zeros[where] : 0)) * scales[where]);
        sinter_eval_next(x->rank, x->dims, at);
    }
    return true;
}
