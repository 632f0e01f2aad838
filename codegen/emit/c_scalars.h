/* Scalar functions of emitted code, for every dialect of C; semantics are those of ir/scalar.c. */
#define SINTER_FLOATS(name, type, integer, integer_name)                                           \
    SINTER_INLINE type sinter_min_##name(type a, type b) {                                         \
        if (isnan(a) || isnan(b)) return NAN;                                                      \
        if (a == b) return signbit(a) ? a : b;                                                     \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    SINTER_INLINE type sinter_max_##name(type a, type b) {                                         \
        if (isnan(a) || isnan(b)) return NAN;                                                      \
        if (a == b) return signbit(a) ? b : a;                                                     \
        return a < b ? b : a;                                                                      \
    }                                                                                              \
    SINTER_INLINE integer sinter_bits_##name(type value) {                                         \
        integer bits;                                                                              \
        memcpy(&bits, &value, sizeof bits);                                                        \
        return bits;                                                                               \
    }                                                                                              \
    SINTER_INLINE type sinter_from_bits_##integer_name(integer bits) {                             \
        type value;                                                                                \
        memcpy(&value, &bits, sizeof value);                                                       \
        return value;                                                                              \
    }
SINTER_FLOATS(f32, float, int32_t, i32)
SINTER_FLOATS(f64, double, int64_t, i64)

/* 10 bits of mantissa, ties away from zero. */
SINTER_INLINE float sinter_round_tf32_f32(float value) {
    return isnan(value) ? value : sinter_from_bits_i32((int32_t)(((uint32_t)sinter_bits_f32(value) + 4096u) & 0xffffe000u));
}

/* a * b + c of sums of products and polynomials: rounded once where there is an instruction for it. */
#if !defined(SINTER_NO_FMA) && (defined(__CUDACC__) || defined(__FMA__) || defined(__FP_FAST_FMAF) || defined(__aarch64__))
SINTER_INLINE float sinter_fma_f32(float a, float b, float c) { return fmaf(a, b, c); }
#else
SINTER_INLINE float sinter_fma_f32(float a, float b, float c) { return a * b + c; }
#endif
#if !defined(SINTER_NO_FMA) && (defined(__CUDACC__) || defined(__FMA__) || defined(__FP_FAST_FMA) || defined(__aarch64__))
SINTER_INLINE double sinter_fma_f64(double a, double b, double c) { return fma(a, b, c); }
#else
SINTER_INLINE double sinter_fma_f64(double a, double b, double c) { return a * b + c; }
#endif

#define SINTER_INTEGERS(name, type, wide, is_signed)                                               \
    SINTER_INLINE type sinter_min_##name(type a, type b) { return a < b ? a : b; }                 \
    SINTER_INLINE type sinter_max_##name(type a, type b) { return a < b ? b : a; }                 \
    SINTER_INLINE type sinter_abs_##name(type a) {                                                 \
        return is_signed && a < (type)1 && a != 0 ? (type)(0 - (wide)a) : a;                       \
    }                                                                                              \
    SINTER_INLINE type sinter_pow_##name(type a, type b) {                                         \
        wide result = 1, square = (wide)a;                                                         \
        if (is_signed && b < (type)1 && b != 0)                                                    \
            return a == 1 ? (type)1 : a != (type)-1 ? (type)0 : b % 2 ? a : (type)1;               \
        for (wide left = (wide)b; left; left >>= 1) {                                              \
            if (left & 1) result *= square;                                                        \
            square *= square;                                                                      \
        }                                                                                          \
        return (type)result;                                                                       \
    }
SINTER_INTEGERS(i8, int8_t, uint32_t, true)
SINTER_INTEGERS(i16, int16_t, uint32_t, true)
SINTER_INTEGERS(i32, int32_t, uint32_t, true)
SINTER_INTEGERS(i64, int64_t, uint64_t, true)
SINTER_INTEGERS(u8, uint8_t, uint32_t, false)
SINTER_INTEGERS(u16, uint16_t, uint32_t, false)
SINTER_INTEGERS(u32, uint32_t, uint32_t, false)
SINTER_INTEGERS(u64, uint64_t, uint64_t, false)

/* Which of 16 numbers the last four bits choose. */
SINTER_INLINE float sinter_entry(float place, float a0, float a1, float a2, float a3, float a4, float a5, float a6, float a7,
                                 float a8, float a9, float a10, float a11, float a12, float a13, float a14, float a15) {
    const float entries[16] = {a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15};
    return entries[sinter_bits_f32(place) & 15];
}

typedef struct { float part[2]; } sinter_pair32;
typedef struct { double part[2]; } sinter_pair64;

/* Truncation; NaN is 0, what does not fit goes to the nearest end. */
SINTER_INLINE int32_t sinter_to_i32(double value) {
    if (!(value > -2147483649.0)) return isnan(value) ? 0 : INT32_MIN;
    return value >= 2147483648.0 ? INT32_MAX : (int32_t)value;
}
SINTER_INLINE int64_t sinter_to_i64(double value) {
    if (!(value >= -9223372036854775808.0)) return isnan(value) ? 0 : INT64_MIN;
    return value >= 9223372036854775808.0 ? INT64_MAX : (int64_t)value;
}
SINTER_INLINE uint64_t sinter_to_u64(double value) {
    if (!(value >= 9223372036854775808.0)) return (uint64_t)sinter_to_i64(value);
    return value >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)value;
}

/* acc + the sum of four products of bytes; a is unsigned in the first, signed in the second. */
SINTER_INLINE int32_t sinter_dot4_u8i8(int32_t acc, int32_t a, int32_t b) {
    uint32_t sum = (uint32_t)acc;
    for (int i = 0; i < 32; i += 8)
        sum += (uint32_t)((uint8_t)((uint32_t)a >> i) * (int8_t)((uint32_t)b >> i));
    return (int32_t)sum;
}
SINTER_INLINE int32_t sinter_dot4_i8i8(int32_t acc, int32_t a, int32_t b) {
    uint32_t sum = (uint32_t)acc;
    for (int i = 0; i < 32; i += 8)
        sum += (uint32_t)((int8_t)((uint32_t)a >> i) * (int8_t)((uint32_t)b >> i));
    return (int32_t)sum;
}
/* acc + the products of the two pairs of bf16, the low ones first. */
SINTER_INLINE float sinter_dot2_bf16(float acc, int32_t a, int32_t b) {
    for (int i = 16; i >= 0; i -= 16) {
        uint32_t bits[2] = {(uint32_t)a << i & 0xffff0000u, (uint32_t)b << i & 0xffff0000u};
        float pair[2];
        memcpy(pair, bits, sizeof pair);
        acc += pair[0] * pair[1];
    }
    return acc;
}
