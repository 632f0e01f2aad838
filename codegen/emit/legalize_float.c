/* Narrow floats as integer arithmetic on their bits, from one description of each format.
 *
 * Encoding rounds once, to nearest even, like sinter_float_encode: normal numbers on the bits of the f32, subnormal
 * ones by an addition whose last place is theirs. Everything is selects, so that it vectorizes.
 * Test: tests/unit/emit_test.c */
#include "codegen/emit/legalize_expr.h"

typedef enum nan_style { NAN_IEEE, NAN_ALL_ONES, NAN_MINUS_0, NAN_NONE } nan_style;
typedef struct float_format {
    int exponent_bits, fraction_bits, bias;
    nan_style style;
} float_format;

static const float_format formats[SINTER_DTYPE_COUNT] = {
    [SINTER_DTYPE_f16] = {5, 10, 15, NAN_IEEE},
    [SINTER_DTYPE_bf16] = {8, 7, 127, NAN_IEEE},
    [SINTER_DTYPE_f8e4m3fn] = {4, 3, 7, NAN_ALL_ONES},
    [SINTER_DTYPE_f8e4m3fnuz] = {4, 3, 8, NAN_MINUS_0},
    [SINTER_DTYPE_f8e5m2] = {5, 2, 15, NAN_IEEE},
    [SINTER_DTYPE_f8e5m2fnuz] = {5, 2, 16, NAN_MINUS_0},
    [SINTER_DTYPE_f4e2m1] = {2, 1, 1, NAN_NONE},
};

bool sinter_is_expanded_float(const sinter_legalizer *l, sinter_dtype dtype) {
    if (dtype == SINTER_DTYPE_f16 && l->target && sinter_target_converts_f16(l->target))
        return false;
    return sinter_dtype_is_float(dtype) && sinter_dtype_infos[dtype].bits < 32;
}

sinter_dtype sinter_legal_dtype(const sinter_legalizer *l, sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (sinter_is_expanded_float(l, dtype))
        return info->bits == 16 ? SINTER_DTYPE_u16 : SINTER_DTYPE_u8;
    if (info->bits >= 8) return dtype;
    return info->class == SINTER_CLASS_INT ? SINTER_DTYPE_i8 : SINTER_DTYPE_u8;
}

/* ---- i32 arithmetic on bits ---- */

static sinter_expr number(sinter_legalizer *l, int64_t value) {
    return sinter_loop_const_int(&l->build, SINTER_DTYPE_i32, value);
}

static sinter_expr and_bits(sinter_legalizer *l, sinter_expr a, int64_t mask) {
    return sinter_loop_and(&l->build, a, number(l, mask));
}

static sinter_expr shift_left(sinter_legalizer *l, sinter_expr a, int by) {
    return by ? sinter_loop_call2(&l->build, SINTER_SCALAR_shl, a, number(l, by)) : a;
}

static sinter_expr shift_right(sinter_legalizer *l, sinter_expr a, int by) {
    return by ? sinter_loop_call2(&l->build, SINTER_SCALAR_shr, a, number(l, by)) : a;
}

static sinter_expr choose(sinter_legalizer *l, sinter_expr condition, sinter_expr a,
                          sinter_expr b) {
    return sinter_loop_select(&l->build, condition, a, b);
}

static sinter_expr less(sinter_legalizer *l, sinter_expr a, int64_t b) {
    return sinter_loop_call2(&l->build, SINTER_SCALAR_lt, a, number(l, b));
}

static sinter_expr bits_of(sinter_legalizer *l, sinter_expr value) {
    return sinter_loop_call(&l->build, SINTER_SCALAR_bits, &value);
}

static sinter_expr from_bits(sinter_legalizer *l, sinter_expr value) {
    return sinter_loop_call(&l->build, SINTER_SCALAR_from_bits, &value);
}

static sinter_expr add(sinter_legalizer *l, sinter_expr a, sinter_expr b) {
    return sinter_loop_add(&l->build, a, b);
}

static int64_t ones(int count) {
    return ((int64_t)1 << count) - 1;
}

/* ---- decode ---- */

static sinter_expr decode_e8m0(sinter_legalizer *l, sinter_expr code) {
    sinter_expr least = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, code, number(l, 0));
    sinter_expr nan = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, code, number(l, 0xff));
    sinter_expr bits = choose(l, least, number(l, 0x00400000), shift_left(l, code, 23));
    return from_bits(l, choose(l, nan, number(l, 0x7fc00000), bits));
}

/* Magnitude bits of infinity and NaN; NULL where the format has none by its exponent. */
static sinter_expr decode_special(sinter_legalizer *l, const float_format *format,
                                  sinter_expr magnitude, sinter_expr bits) {
    int fraction_bits = format->fraction_bits;
    if (format->style == NAN_ALL_ONES) {
        sinter_expr ordinary = less(l, magnitude, ones(format->exponent_bits + fraction_bits));
        return choose(l, ordinary, bits, number(l, 0x7ff00000));
    }
    if (format->style != NAN_IEEE) return bits;
    int64_t infinity = ones(format->exponent_bits) << fraction_bits;
    sinter_expr fraction = and_bits(l, magnitude, ones(fraction_bits));
    sinter_expr payload = sinter_loop_or(&l->build, number(l, 0x7fc00000),
                                         shift_left(l, fraction, 23 - fraction_bits));
    sinter_expr nan =
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, number(l, infinity), magnitude);
    sinter_expr special = choose(l, nan, payload, number(l, 0x7f800000));
    return choose(l, less(l, magnitude, infinity), bits, special);
}

sinter_expr sinter_legal_decode(sinter_legalizer *l, sinter_dtype dtype, sinter_expr bits) {
    sinter_expr code = sinter_loop_cast(&l->build, bits, SINTER_DTYPE_i32);
    if (dtype == SINTER_DTYPE_bf16) return from_bits(l, shift_left(l, code, 16));
    if (dtype == SINTER_DTYPE_f8e8m0) return decode_e8m0(l, code);
    const float_format *format = &formats[dtype];
    int fraction_bits = format->fraction_bits,
        sign_place = format->exponent_bits + format->fraction_bits;
    sinter_expr magnitude = and_bits(l, code, ones(sign_place));
    sinter_expr normal = add(l, shift_left(l, magnitude, 23 - fraction_bits),
                             number(l, (int64_t)(127 - format->bias) << 23));
    sinter_expr whole = sinter_loop_cast(&l->build, magnitude, SINTER_DTYPE_f32);
    sinter_expr quantum =
        from_bits(l, number(l, (int64_t)(127 + 1 - format->bias - fraction_bits) << 23));
    sinter_expr subnormal = bits_of(l, sinter_loop_mul(&l->build, whole, quantum));
    sinter_expr value =
        choose(l, less(l, magnitude, (int64_t)1 << fraction_bits), subnormal, normal);
    value = decode_special(l, format, magnitude, value);
    sinter_expr sign = shift_left(l, and_bits(l, shift_right(l, code, sign_place), 1), 31);
    value = sinter_loop_or(&l->build, value, sign);
    if (format->style == NAN_MINUS_0) {
        sinter_expr nan = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, code,
                                            number(l, (int64_t)1 << sign_place));
        value = choose(l, nan, number(l, 0xffc00000), value);
    }
    return from_bits(l, value);
}

/* ---- encode ---- */

/* The nearest power of two, ties up. */
static sinter_expr encode_e8m0(sinter_legalizer *l, sinter_expr bits, bool saturate) {
    sinter_expr fraction = and_bits(l, bits, 0x7fffff),
                exponent = and_bits(l, shift_right(l, bits, 23), 0xff);
    sinter_expr none = number(l, 0xff), below = number(l, saturate ? 0 : 0xff),
                above = number(l, saturate ? 0xfe : 0xff);
    sinter_expr up = choose(l, less(l, fraction, 0x400000), number(l, 0), number(l, 1));
    sinter_expr normal = add(l, exponent, up);
    normal = choose(l, less(l, normal, 0xff), normal, above);
    sinter_expr tiny = choose(l, less(l, fraction, 0x300000), below,
                              choose(l, less(l, fraction, 0x600000), number(l, 0), number(l, 1)));
    sinter_expr code = choose(l, less(l, exponent, 1), tiny, normal);
    sinter_expr magnitude = and_bits(l, bits, 0x7fffffff);
    sinter_expr nan =
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, number(l, 0x7f800000), magnitude);
    sinter_expr minus_zero =
        sinter_loop_call2(&l->build, SINTER_SCALAR_eq, magnitude, number(l, 0));
    sinter_expr negative = sinter_loop_and(
        &l->build, less(l, bits, 0), sinter_loop_call(&l->build, SINTER_SCALAR_not, &minus_zero));
    return choose(l, sinter_loop_or(&l->build, nan, negative), none, code);
}

/* Rounded magnitude as a code of the format, before its upper end is looked at. */
static sinter_expr round_magnitude(sinter_legalizer *l, const float_format *format,
                                   sinter_expr magnitude) {
    int drop = 23 - format->fraction_bits;
    sinter_expr odd = and_bits(l, shift_right(l, magnitude, drop), 1);
    sinter_expr rounded = add(l, add(l, magnitude, odd), number(l, ones(drop - 1)));
    int64_t rebias = (int64_t)(127 - format->bias) << format->fraction_bits;
    sinter_expr normal =
        sinter_loop_sub(&l->build, shift_right(l, rounded, drop), number(l, rebias));
    if (format->bias == 127) return normal; /* subnormal where f32 is */
    int64_t magic = (int64_t)(127 + 1 - format->bias + drop) << 23;
    sinter_expr shifted =
        sinter_loop_add(&l->build, from_bits(l, magnitude), from_bits(l, number(l, magic)));
    sinter_expr subnormal = sinter_loop_sub(&l->build, bits_of(l, shifted), number(l, magic));
    int64_t least_normal = (int64_t)(127 + 1 - format->bias) << 23;
    return choose(l, less(l, magnitude, least_normal), subnormal, normal);
}

/* The upper half of f32, whose exponent it has: a carry goes where it belongs, and only NaN must not be rounded. */
static sinter_expr encode_upper_half(sinter_legalizer *l, sinter_expr value) {
    sinter_expr bits = bits_of(l, value);
    sinter_expr odd = and_bits(l, shift_right(l, bits, 16), 1);
    sinter_expr rounded = add(l, add(l, bits, number(l, 0x7fff)), odd);
    sinter_expr nan = sinter_loop_call(&l->build, SINTER_SCALAR_is_nan, &value);
    sinter_expr quiet = sinter_loop_or(&l->build, bits, number(l, 0x400000));
    return shift_right(l, choose(l, nan, quiet, rounded), 16);
}

sinter_expr sinter_legal_encode(sinter_legalizer *l, sinter_dtype dtype, sinter_expr value,
                                bool saturate) {
    const float_format *format = &formats[dtype];
    sinter_dtype storage = sinter_legal_dtype(l, dtype);
    if (dtype == SINTER_DTYPE_bf16)
        return sinter_loop_cast(&l->build, encode_upper_half(l, value), storage);
    sinter_expr bits = bits_of(l, value);
    if (dtype == SINTER_DTYPE_f8e8m0)
        return sinter_loop_cast(&l->build, encode_e8m0(l, bits, saturate), storage);
    int fraction_bits = format->fraction_bits,
        sign_place = format->exponent_bits + format->fraction_bits;
    int64_t exponent_ones = ones(format->exponent_bits) << fraction_bits;
    int64_t past = format->style == NAN_IEEE
                       ? exponent_ones
                       : ((int64_t)1 << sign_place) - (format->style == NAN_ALL_ONES);
    bool clamps = format->style == NAN_NONE || (saturate && sinter_dtype_infos[dtype].bits == 8);
    sinter_expr magnitude = and_bits(l, bits, 0x7fffffff);
    sinter_expr sign = shift_left(l, and_bits(l, shift_right(l, bits, 31), 1), sign_place);
    sinter_expr code = round_magnitude(l, format, magnitude);
    sinter_expr within = less(l, code, past);
    sinter_expr minus_zero = number(l, (int64_t)1 << sign_place);
    if (clamps)
        code = choose(l, within, code, number(l, past - 1));
    else if (format->style != NAN_MINUS_0)
        code = choose(l, within, code, number(l, past));
    sinter_expr result = sinter_loop_or(&l->build, code, sign);
    if (format->style == NAN_MINUS_0) {
        sinter_expr zero = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, code, number(l, 0));
        result = choose(l, zero, number(l, 0), result);
        if (!clamps) result = choose(l, within, result, minus_zero);
    }
    sinter_expr nan_code = minus_zero;
    if (format->style == NAN_ALL_ONES)
        nan_code = sinter_loop_or(&l->build, sign, number(l, ones(sign_place)));
    if (format->style == NAN_IEEE) {
        sinter_expr payload = shift_right(l, and_bits(l, bits, 0x7fffff), 23 - fraction_bits);
        int64_t quiet = exponent_ones | (int64_t)1 << (fraction_bits - 1);
        nan_code =
            sinter_loop_or(&l->build, sinter_loop_or(&l->build, payload, number(l, quiet)), sign);
    }
    sinter_expr nan =
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, number(l, 0x7f800000), magnitude);
    return sinter_loop_cast(&l->build, choose(l, nan, nan_code, result), storage);
}

sinter_expr sinter_legal_round_to_odd(sinter_legalizer *l, sinter_expr value) {
    sinter_expr rounded = sinter_loop_cast(&l->build, value, SINTER_DTYPE_f32);
    sinter_expr back = sinter_loop_cast(&l->build, rounded, SINTER_DTYPE_f64);
    sinter_expr exact = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, back, value);
    sinter_expr is_nan = sinter_loop_call(&l->build, SINTER_SCALAR_is_nan, &value);
    sinter_expr size = sinter_loop_call(&l->build, SINTER_SCALAR_abs, &value),
                rounded_size = sinter_loop_call(&l->build, SINTER_SCALAR_abs, &back);
    sinter_expr bits = bits_of(l, rounded);
    sinter_expr toward_zero =
        choose(l, sinter_loop_call2(&l->build, SINTER_SCALAR_lt, size, rounded_size),
               sinter_loop_sub(&l->build, bits, number(l, 1)), bits);
    sinter_expr odd = sinter_loop_or(&l->build, toward_zero, number(l, 1));
    sinter_expr keep = sinter_loop_or(&l->build, exact, is_nan);
    return from_bits(l, choose(l, keep, bits, odd));
}
