/* What emitted C is written with; abi.h comes before it. Semantics are those of ir/scalar.c.
 * SINTER_BOARD leaves out the heap and stdio: memory comes from the caller, messages are not filled in. */
#include <math.h>
#include <stdbool.h>
#ifndef SINTER_BOARD
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "no fast math: NaN, infinities and the order of sums mean what they say"
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights and packed elements are little-endian"
#endif

/* Iterations of the loop that follows do not depend on each other. */
#if defined(__GNUC__) && !defined(__clang__)
#define SINTER_VECTOR _Pragma("GCC ivdep")
#else
#define SINTER_VECTOR
#endif

#define SINTER_FLOATS(name, type, integer, integer_name)                                           \
    static inline type sinter_min_##name(type a, type b) {                                         \
        if (isnan(a) || isnan(b)) return NAN;                                                      \
        if (a == b) return signbit(a) ? a : b;                                                     \
        return a < b ? a : b;                                                                      \
    }                                                                                              \
    static inline type sinter_max_##name(type a, type b) {                                         \
        if (isnan(a) || isnan(b)) return NAN;                                                      \
        if (a == b) return signbit(a) ? b : a;                                                     \
        return a < b ? b : a;                                                                      \
    }                                                                                              \
    static inline integer sinter_bits_##name(type value) {                                         \
        integer bits;                                                                              \
        memcpy(&bits, &value, sizeof bits);                                                        \
        return bits;                                                                               \
    }                                                                                              \
    static inline type sinter_from_bits_##integer_name(integer bits) {                             \
        type value;                                                                                \
        memcpy(&value, &bits, sizeof value);                                                       \
        return value;                                                                              \
    }
SINTER_FLOATS(f32, float, int32_t, i32)
SINTER_FLOATS(f64, double, int64_t, i64)

#define SINTER_INTEGERS(name, type, wide, is_signed)                                               \
    static inline type sinter_min_##name(type a, type b) { return a < b ? a : b; }                 \
    static inline type sinter_max_##name(type a, type b) { return a < b ? b : a; }                 \
    static inline type sinter_abs_##name(type a) {                                                 \
        return is_signed && a < (type)1 && a != 0 ? (type)(0 - (wide)a) : a;                       \
    }                                                                                              \
    static inline type sinter_pow_##name(type a, type b) {                                         \
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

typedef struct { float part[2]; } sinter_pair32;
typedef struct { double part[2]; } sinter_pair64;

/* Truncation; NaN is 0, what does not fit goes to the nearest end. */
static inline int32_t sinter_to_i32(double value) {
    if (!(value > -2147483649.0)) return isnan(value) ? 0 : INT32_MIN;
    return value >= 2147483648.0 ? INT32_MAX : (int32_t)value;
}
static inline int64_t sinter_to_i64(double value) {
    if (!(value >= -9223372036854775808.0)) return isnan(value) ? 0 : INT64_MIN;
    return value >= 9223372036854775808.0 ? INT64_MAX : (int64_t)value;
}
static inline uint64_t sinter_to_u64(double value) {
    if (!(value >= 9223372036854775808.0)) return (uint64_t)sinter_to_i64(value);
    return value >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)value;
}

/* Sizes computed from dims: an overflow is noted and reported later. */
static inline int64_t sinter_checked_add(int64_t a, int64_t b, bool *overflow) {
    *overflow |= b > 0 ? a > INT64_MAX - b : a < INT64_MIN - b;
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static inline int64_t sinter_checked_sub(int64_t a, int64_t b, bool *overflow) {
    *overflow |= b < 0 ? a > INT64_MAX + b : a < INT64_MIN + b;
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static inline int64_t sinter_checked_mul(int64_t a, int64_t b, bool *overflow) {
    int64_t product = (int64_t)((uint64_t)a * (uint64_t)b);
    *overflow |= a != 0 && (product / a != b || (a == -1 && b == INT64_MIN));
    return product;
}

/* acc + the sum of four products of bytes; a is unsigned in the first, signed in the second. */
static inline int32_t sinter_dot4_u8i8(int32_t acc, int32_t a, int32_t b) {
    uint32_t sum = (uint32_t)acc;
    for (int i = 0; i < 32; i += 8)
        sum += (uint32_t)((uint8_t)((uint32_t)a >> i) * (int8_t)((uint32_t)b >> i));
    return (int32_t)sum;
}
static inline int32_t sinter_dot4_i8i8(int32_t acc, int32_t a, int32_t b) {
    uint32_t sum = (uint32_t)acc;
    for (int i = 0; i < 32; i += 8)
        sum += (uint32_t)((int8_t)((uint32_t)a >> i) * (int8_t)((uint32_t)b >> i));
    return (int32_t)sum;
}
/* acc + the products of the two pairs of bf16, the low ones first. */
static inline float sinter_dot2_bf16(float acc, int32_t a, int32_t b) {
    for (int i = 16; i >= 0; i -= 16) {
        uint32_t bits[2] = {(uint32_t)a << i & 0xffff0000u, (uint32_t)b << i & 0xffff0000u};
        float pair[2];
        memcpy(pair, bits, sizeof pair);
        acc += pair[0] * pair[1];
    }
    return acc;
}

/* Without these builtins all runs on one thread. */
#ifdef __GNUC__
#define SINTER_LOAD(place, out) __atomic_load(place, out, __ATOMIC_RELAXED)
#define SINTER_EXCHANGE(place, expected, desired)                                                  \
    __atomic_compare_exchange(place, expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
#else
#define SINTER_LOAD(place, out) (*(out) = *(place))
#define SINTER_EXCHANGE(place, expected, desired) (*(place) = *(desired), true)
#endif

/* Is this the first failure of the call, the one that is told? */
static inline bool sinter_is_first(sinter_abi_call *call, int32_t code) {
    int32_t none = 0;
    SINTER_LOAD(&call->code, &none);
    return none == 0 && SINTER_EXCHANGE(&call->code, &none, &code);
}

static inline int32_t sinter_fail(sinter_abi_call *call, int32_t code, const char *format, ...) {
    if (!sinter_is_first(call, code)) return code;
#ifdef SINTER_BOARD
    size_t size = strlen(format);
    if (size >= sizeof call->message) size = sizeof call->message - 1;
    memcpy(call->message, format, size);
    call->message[size] = 0;
#else
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->message, sizeof call->message, format, arguments);
    va_end(arguments);
#endif
    return code;
}

typedef struct {
    void *data;
    int64_t bytes;
} sinter_block;

static inline void *sinter_allocate(sinter_abi_call *call, int64_t bytes) {
    size_t size = bytes > 0 ? ((size_t)bytes + 63) / 64 * 64 : 64;
    if (call->services && call->services->allocate)
        return call->services->allocate(call->services->user, size, 64);
#ifdef SINTER_BOARD
    return NULL;
#else
    return aligned_alloc(64, size);
#endif
}

static inline void sinter_release(sinter_abi_call *call, sinter_block *block) {
    if (!block->data) return;
    size_t size = block->bytes > 0 ? ((size_t)block->bytes + 63) / 64 * 64 : 64;
    if (call->services && call->services->deallocate)
        call->services->deallocate(call->services->user, block->data, size, 64);
#ifndef SINTER_BOARD
    else
        free(block->data);
#endif
    block->data = NULL;
}

static inline void sinter_trace(sinter_abi_call *call, uint32_t kernel, int32_t begin) {
    if (call->services && call->services->trace)
        call->services->trace(call->services->user, kernel, begin);
}

static inline void sinter_parallel_for(sinter_abi_call *call, int64_t count,
                                       void (*body)(void *, int64_t, int64_t), void *environment) {
#ifdef __GNUC__
    if (count > 1 && call->services && call->services->parallel_for) {
        call->services->parallel_for(call->services->user, count, 1, body, environment);
        return;
    }
#endif
    (void)call;
    body(environment, 0, count);
}

/* Element types, ranks and the dims that are numbers. */
static inline int32_t sinter_check_inputs(sinter_abi_call *call, const sinter_abi_io *inputs, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const sinter_abi_tensor *got = &call->inputs[i];
        const char *name = inputs[i].name;
        if (got->dtype != inputs[i].dtype)
            return sinter_fail(call, SINTER_ABI_BAD_INPUT,
                               "input '%s': expected element type of ONNX code %d, found code %d", name,
                               inputs[i].dtype, got->dtype);
        if (got->rank != inputs[i].rank)
            return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': expected rank %d, found rank %d", name,
                               inputs[i].rank, got->rank);
        for (int32_t axis = 0; axis < got->rank; axis++) {
            if (got->dims[axis] < 0)
                return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': dim %d is negative", name, axis);
            if (inputs[i].dims[axis] >= 0 && inputs[i].dims[axis] != got->dims[axis])
                return sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s': expected dim %d of %lld, found %lld",
                                   name, axis, (long long)inputs[i].dims[axis], (long long)got->dims[axis]);
        }
    }
    return 0;
}

/* The data of an input; NULL after a failure, and where it is empty and not there. */
static inline void *sinter_input(sinter_abi_call *call, uint32_t index, int64_t bytes, size_t alignment,
                                 const char *name) {
    const sinter_abi_tensor *tensor = &call->inputs[index];
    if ((uint64_t)bytes > tensor->bytes)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' needs %lld bytes and has %lld", name, (long long)bytes,
                    (long long)tensor->bytes);
    else if (bytes && !tensor->data)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' has no data", name);
    else if ((uintptr_t)tensor->data % alignment)
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "input '%s' is not aligned to its elements", name);
    return tensor->data;
}

/* Memory of an output: the caller's, or fresh memory for the caller. NULL after a failure. */
static inline void *sinter_output(sinter_abi_call *call, uint32_t index, int64_t bytes, size_t alignment,
                                  const char *name) {
    sinter_abi_tensor *tensor = &call->outputs[index];
    if (!tensor->data) {
        tensor->data = sinter_allocate(call, bytes);
        if (!tensor->data) {
            sinter_fail(call, SINTER_ABI_OUT_OF_MEMORY, "no memory for the %lld bytes of %s", (long long)bytes, name);
            return NULL;
        }
    } else if ((uint64_t)bytes > tensor->bytes) {
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "output '%s' needs %lld bytes and has %lld", name, (long long)bytes,
                    (long long)tensor->bytes);
        return NULL;
    } else if ((uintptr_t)tensor->data % alignment) {
        sinter_fail(call, SINTER_ABI_BAD_INPUT, "output '%s' is not aligned to its elements", name);
        return NULL;
    }
    tensor->bytes = (uint64_t)bytes;
    return tensor->data;
}

