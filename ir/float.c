/* Bit-level conversions between double and every float format of dtype.def, and from floats to
 * integers: the one home of both. Encoding rounds once, to nearest even, from the exact double; f32
 * is left to the machine, the narrower formats do not depend on the floating-point mode. Test: tests/unit/tensor_test.c */
#include "ir/tensor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef enum nan_style {
    NAN_IEEE,     /* exponent all ones: infinity, or NaN where the fraction is not 0 */
    NAN_ALL_ONES, /* only with all fraction bits set; no infinity */
    NAN_MINUS_0,  /* the bits of -0 (the "fnuz" formats); no infinity */
    NAN_NONE      /* neither NaN nor infinity */
} nan_style;

typedef struct float_format {
    uint8_t exponent_bits, fraction_bits;
    nan_style style;
    int16_t bias;
} float_format;

static const float_format formats[SINTER_DTYPE_COUNT] = {
    [SINTER_DTYPE_f16] = {5, 10, NAN_IEEE, 15},
    [SINTER_DTYPE_bf16] = {8, 7, NAN_IEEE, 127},
    [SINTER_DTYPE_f8e4m3fn] = {4, 3, NAN_ALL_ONES, 7},
    [SINTER_DTYPE_f8e4m3fnuz] = {4, 3, NAN_MINUS_0, 8},
    [SINTER_DTYPE_f8e5m2] = {5, 2, NAN_IEEE, 15},
    [SINTER_DTYPE_f8e5m2fnuz] = {5, 2, NAN_MINUS_0, 16},
    [SINTER_DTYPE_f4e2m1] = {2, 1, NAN_NONE, 1},
};

static double bits_to_double(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double single_to_double(uint64_t bits) {
    uint32_t low = (uint32_t)bits;
    float value;
    memcpy(&value, &low, sizeof value);
    return (double)value;
}

static uint64_t double_to_single(double value) {
    float rounded = (float)value;
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return bits;
}

static uint64_t double_to_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* 2^(bits - 127), and NaN for 0xff. */
static double decode_e8m0(uint64_t bits) {
    return bits == 0xff ? (double)NAN : ldexp(1.0, (int)bits - 127);
}

/* The nearest power of two, ties up; what has none is NaN, or the nearest end where saturating. */
static uint64_t encode_e8m0(double value, bool saturate) {
    const uint64_t nan_bits = 0xff, largest = 0xfe;
    if (isnan(value) || value < 0) return nan_bits;
    if (isinf(value)) return saturate ? largest : nan_bits;
    int exponent;
    double fraction = frexp(value, &exponent); /* in [0.5, 1), or 0 */
    int code = exponent - 1 + 127 + (fraction >= 0.75);
    if (value == 0 || code < 0) return saturate ? 0 : nan_bits;
    return code > (int)largest ? (saturate ? largest : nan_bits) : (uint64_t)code;
}

double sinter_float_decode(sinter_dtype dtype, uint64_t bits) {
    if (dtype == SINTER_DTYPE_f32) return single_to_double(bits);
    if (dtype == SINTER_DTYPE_f64) return bits_to_double(bits);
    if (dtype == SINTER_DTYPE_f8e8m0) return decode_e8m0(bits);
    float_format format = formats[dtype];
    assert(format.exponent_bits);
    uint64_t ones = (UINT64_C(1) << format.exponent_bits) - 1;
    uint64_t sign = bits >> (format.exponent_bits + format.fraction_bits) & 1;
    uint64_t exponent = bits >> format.fraction_bits & ones;
    uint64_t fraction_mask = (UINT64_C(1) << format.fraction_bits) - 1;
    uint64_t fraction = bits & fraction_mask;
    bool is_nan = false;
    if (format.style == NAN_IEEE && exponent == ones) {
        if (fraction == 0) return sign ? -(double)INFINITY : (double)INFINITY;
        is_nan = true;
    }
    if (format.style == NAN_ALL_ONES) is_nan = exponent == ones && fraction == fraction_mask;
    if (format.style == NAN_MINUS_0) is_nan = sign && !exponent && !fraction;
    if (is_nan) /* the payload stays at the top, the quiet bit included */
        return bits_to_double(sign << 63 | UINT64_C(0x7ff8) << 48 |
                              fraction << (52 - format.fraction_bits));
    uint64_t whole = exponent ? fraction | (fraction_mask + 1) : fraction;
    int scale = (exponent ? (int)exponent : 1) - format.bias - format.fraction_bits;
    double magnitude = ldexp((double)whole, scale);
    return sign ? -magnitude : magnitude;
}

/* Rounds an exact non-negative double below 2^52 to an integer, ties to even. */
static uint64_t round_to_even(double value) {
    uint64_t below = (uint64_t)value;
    double rest = value - (double)below;
    return below + (rest > 0.5 || (rest == 0.5 && (below & 1)));
}

/* Bits of NaN without the sign. */
static uint64_t nan_of(float_format format, uint64_t double_bits) {
    uint64_t exponent_ones = ((UINT64_C(1) << format.exponent_bits) - 1) << format.fraction_bits;
    if (format.style == NAN_ALL_ONES)
        return exponent_ones | ((UINT64_C(1) << format.fraction_bits) - 1);
    if (format.style != NAN_IEEE) return 0;
    uint64_t fraction = (double_bits & ((UINT64_C(1) << 52) - 1)) >> (52 - format.fraction_bits);
    return exponent_ones | fraction | UINT64_C(1) << (format.fraction_bits - 1);
}

uint64_t sinter_float_encode(sinter_dtype dtype, double value, bool saturate) {
    if (dtype == SINTER_DTYPE_f32) return double_to_single(value);
    if (dtype == SINTER_DTYPE_f64) return double_to_bits(value);
    if (dtype == SINTER_DTYPE_f8e8m0) return encode_e8m0(value, saturate);
    float_format format = formats[dtype];
    assert(format.exponent_bits);
    int sign_place = format.exponent_bits + format.fraction_bits;
    uint64_t sign = (uint64_t)(signbit(value) != 0) << sign_place;
    uint64_t minus_zero = UINT64_C(1) << sign_place;
    if (isnan(value)) {
        if (format.style == NAN_MINUS_0 || format.style == NAN_NONE) return minus_zero;
        return sign | nan_of(format, double_to_bits(value));
    }
    /* Ends of the format: infinity is one past the largest, where there is one. */
    uint64_t past = format.style == NAN_IEEE
                        ? ((UINT64_C(1) << format.exponent_bits) - 1) << format.fraction_bits
                        : (UINT64_C(1) << sign_place) - (format.style == NAN_ALL_ONES);
    /* ONNX saturates the 8-bit formats on request, f4 always, wider ones never. */
    bool clamps = format.style == NAN_NONE || (saturate && sinter_dtype_infos[dtype].bits == 8);
    double magnitude = fabs(value);
    uint64_t bits = past;
    if (magnitude < 0x1p200) { /* beyond every format here, and safe to scale */
        int exponent;
        frexp(magnitude, &exponent);
        int least = 1 - format.bias; /* of normal numbers */
        int quantum =
            (magnitude > 0 && exponent - 1 > least ? exponent - 1 : least) - format.fraction_bits;
        uint64_t whole = round_to_even(ldexp(magnitude, -quantum));
        /* A normal number's leading bit adds one to the exponent field; so does a carry. */
        bits = ((uint64_t)(quantum + format.fraction_bits - least) << format.fraction_bits) + whole;
    }
    if (bits >= past) {
        if (clamps) return sign | (past - 1);
        return format.style == NAN_MINUS_0    ? minus_zero
               : format.style == NAN_ALL_ONES ? sign | nan_of(format, 0)
                                              : sign | past;
    }
    return format.style == NAN_MINUS_0 && bits == 0 ? 0 : sign | bits;
}

void sinter_float_encode_all(sinter_dtype dtype, const float *values, int64_t count,
                             uint16_t *out_bits) {
    float_format format = formats[dtype];
    int drop = 23 - format.fraction_bits;
    uint32_t least = (uint32_t)(128 - format.bias) << 23; /* the smallest normal number */
    uint32_t past = (uint32_t)(128 + format.bias) << 23, rebias = (uint32_t)(127 - format.bias)
                                                                  << 23;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        uint32_t magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
        uint32_t rounded = magnitude + ((1u << (drop - 1)) - 1) + (magnitude >> drop & 1);
        if (magnitude >= least && magnitude < past)
            out_bits[i] = (uint16_t)(sign | (rounded - rebias) >> drop);
        else if (!magnitude)
            out_bits[i] = (uint16_t)sign;
        else
            out_bits[i] = (uint16_t)sinter_float_encode(dtype, (double)values[i], false);
    }
}

int64_t sinter_integer_wrap(sinter_dtype dtype, int64_t value) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_BOOL) return value != 0;
    unsigned shift = 64 - info->bits;
    uint64_t top = (uint64_t)value << shift;
    if (info->class == SINTER_CLASS_UINT) return (int64_t)(top >> shift);
    int64_t high;
    memcpy(&high, &top, sizeof high);
    return high >> shift;
}

int64_t sinter_integer_from_double(sinter_dtype dtype, double value) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_BOOL) return value != 0;
    if (isnan(value)) return 0;
    if (dtype == SINTER_DTYPE_u64 && value >= 0x1p63)
        return (int64_t)(value >= 0x1p64 ? UINT64_MAX : (uint64_t)value);
    bool small = info->bits < 32 || dtype == SINTER_DTYPE_i32;
    int64_t whole = value >= 0x1p63 ? INT64_MAX : value <= -0x1p63 ? INT64_MIN : (int64_t)value;
    if (small && whole > INT32_MAX) whole = INT32_MAX;
    if (small && whole < INT32_MIN) whole = INT32_MIN;
    return sinter_integer_wrap(dtype, whole);
}

/* Half of the last place that stays is added to the magnitude, which may carry into the exponent, up to infinity. */
float sinter_float_round_tf32(float value) {
    enum { DROPPED = 13 };
    uint32_t bits;
    if (isnan(value)) return value;
    memcpy(&bits, &value, sizeof bits);
    bits = (bits + (1u << (DROPPED - 1))) >> DROPPED << DROPPED;
    memcpy(&value, &bits, sizeof value);
    return value;
}
