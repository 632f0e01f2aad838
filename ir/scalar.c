/* Scalar functions on single values: the table of scalar.def and the reference meaning of each row,
 * on which the evaluator, constant folding and the loop interpreter agree. Every row is computed for
 * the class of its operands (float, integer, bool), never dtype by dtype.
 * Test: tests/unit/scalar_test.c */
#include "ir/scalar.h"

#include "ir/tensor.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static const sinter_scalar_info infos[SINTER_SCALAR_COUNT] = {
    [SINTER_SCALAR_NONE] = {.name = "none", .llvm = "", .c = "", .cuda = "", .doc = ""},
#define SCALAR(name, arity, result, llvm, feature, c, cuda, expansion, doc)                        \
 [SINTER_SCALAR_##                                                                                 \
     name] = {#name, arity, SINTER_RESULT_##result, llvm, feature, c, cuda, expansion, doc},
#include "ir/scalar.def"
};

static const struct {
    sinter_scalar_function function, other;
    const char *text;
} expansions[] = {
#define EXPANSION(name, other, expansion) {SINTER_SCALAR_##name, SINTER_SCALAR_##other, expansion},
#include "ir/scalar.def"
};

static const struct {
    sinter_scalar_function function;
    float numbers[SINTER_SCALAR_ENTRIES];
} entries[] = {
#define ENTRIES(name, doc, ...) {SINTER_SCALAR_##name, {__VA_ARGS__}},
#include "ir/scalar.def"
};

const sinter_scalar_info *sinter_scalar_get_info(sinter_scalar_function function) {
    assert((unsigned)function < SINTER_SCALAR_COUNT);
    return &infos[function];
}

const char *sinter_scalar_get_expansion_by(sinter_scalar_function function,
                                           sinter_scalar_function *out_other) {
    *out_other = SINTER_SCALAR_NONE;
    for (size_t i = 0; i < sizeof expansions / sizeof *expansions; i++) {
        if (expansions[i].function != function) continue;
        *out_other = expansions[i].other;
        return expansions[i].text;
    }
    return NULL;
}

const float *sinter_scalar_find_entries(sinter_scalar_function function) {
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        if (entries[i].function == function) return entries[i].numbers;
    return NULL;
}

bool sinter_scalar_is_associative(sinter_scalar_function function) {
    switch (function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_or:
        return true;
    default:
        return false;
    }
}

sinter_scalar_function sinter_scalar_find(sinter_string name) {
    for (int function = 1; function < SINTER_SCALAR_COUNT; function++)
        if (sinter_string_is(name, infos[function].name)) return (sinter_scalar_function)function;
    return SINTER_SCALAR_NONE;
}

/* ---- making values ---- */

static bool is_float(sinter_dtype dtype) {
    return sinter_dtype_is_float(dtype);
}

static bool is_unsigned(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].class == SINTER_CLASS_UINT;
}

/* f32 is rounded by every operation; narrower floats are kept wide until stored or cast. */
static sinter_scalar make_float(sinter_dtype dtype, double value) {
    return (sinter_scalar){.dtype = dtype,
                           .f = dtype == SINTER_DTYPE_f32 ? (double)(float)value : value};
}

static sinter_scalar make_integer(sinter_dtype dtype, int64_t value) {
    return (sinter_scalar){.dtype = dtype, .i = sinter_integer_wrap(dtype, value)};
}

static sinter_scalar make_bool(bool value) {
    return (sinter_scalar){.dtype = SINTER_DTYPE_bool, .i = value};
}

static double to_double(sinter_scalar value) {
    if (is_float(value.dtype)) return value.f;
    return is_unsigned(value.dtype) ? (double)(uint64_t)value.i : (double)value.i;
}

/* The integer with so many bits kept, and a last one that says whether others were lost, that
 * rounding the result to any format narrower than double rounds the integer itself. */
static double to_double_odd(sinter_scalar value) {
    bool negative = !is_unsigned(value.dtype) && value.i < 0;
    uint64_t magnitude = negative ? 0 - (uint64_t)value.i : (uint64_t)value.i;
    int lost = magnitude >> 53 ? 11 - __builtin_clzll(magnitude) : 0;
    uint64_t kept = magnitude >> lost;
    if (kept << lost != magnitude) kept |= 1;
    double result = ldexp((double)kept, lost);
    return negative ? -result : result;
}

sinter_scalar sinter_scalar_cast(sinter_scalar value, sinter_dtype dtype) {
    bool from_float = is_float(value.dtype);
    if (!is_float(dtype)) {
        int64_t whole = from_float ? sinter_integer_from_double(dtype, value.f)
                                   : sinter_integer_wrap(dtype, value.i);
        return (sinter_scalar){.dtype = dtype, .i = whole};
    }
    double wide = from_float                  ? value.f
                  : dtype == SINTER_DTYPE_f64 ? to_double(value)
                                              : to_double_odd(value);
    return (sinter_scalar){.dtype = dtype,
                           .f = sinter_float_decode(dtype, sinter_float_encode(dtype, wide, true))};
}

sinter_scalar sinter_scalar_number(sinter_dtype dtype, double number) {
    if (is_float(dtype)) return make_float(dtype, number);
    if (!isinf(number))
        return make_integer(dtype, sinter_integer_from_double(SINTER_DTYPE_i64, number));
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    int64_t low = 0, high = 1; /* of bool */
    if (sinter_dtype_infos[dtype].class == SINTER_CLASS_INT) {
        high = (int64_t)(UINT64_MAX >> 1 >> (64 - bits));
        low = -high - 1;
    } else if (is_unsigned(dtype)) {
        high = (int64_t)(UINT64_MAX >> (64 - bits));
    }
    return make_integer(dtype, number < 0 ? low : high);
}

/* ---- floats ---- */

/* To nearest, ties to even, whatever the rounding mode. */
static double round_even(double x) {
    double below = floor(x), rest = x - below;
    if (!(fabs(x) < 0x1p52)) return x; /* whole already, infinite or NaN */
    bool odd = fmod(below, 2) != 0;
    return copysign(rest > 0.5 || (rest == 0.5 && odd) ? below + 1 : below, x);
}

static double minimum(double a, double b) {
    if (isnan(a) || isnan(b)) return (double)NAN;
    if (a == b) return signbit(a) ? a : b; /* -0 < +0 */
    return a < b ? a : b;
}

static double floor_remainder(double a, double b) {
    double rest = fmod(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/* Powers of two beyond +-2,000 take every number to zero or infinity. */
static double scale(double a, double b) {
    return isnan(b) ? b : ldexp(a, (int)fmax(-2200, fmin(2200, floor(b))));
}

/* NaN for bitwise functions, which floats do not have. */
static double apply_entries(sinter_scalar_function function, double a) {
    const float *numbers = sinter_scalar_find_entries(function);
    uint64_t bits = sinter_float_encode(SINTER_DTYPE_f32, a, false);
    return numbers ? (double)numbers[bits % SINTER_SCALAR_ENTRIES] : (double)NAN;
}

/* clang-format off */
static double apply_double(sinter_scalar_function function, double a, double b, double c) {
    switch (function) {
    case SINTER_SCALAR_add: return a + b;
    case SINTER_SCALAR_sub: return a - b;
    case SINTER_SCALAR_mul: return a * b;
    case SINTER_SCALAR_div: return a / b;
    case SINTER_SCALAR_rem: return fmod(a, b);
    case SINTER_SCALAR_floormod: return floor_remainder(a, b);
    case SINTER_SCALAR_floordiv: return floor(a / b);
    case SINTER_SCALAR_fma: return fma(a, b, c);
    case SINTER_SCALAR_neg: return -a;
    case SINTER_SCALAR_abs: return fabs(a);
    case SINTER_SCALAR_min: return minimum(a, b);
    case SINTER_SCALAR_max: return -minimum(-a, -b);
    case SINTER_SCALAR_sqrt: return sqrt(a);
    case SINTER_SCALAR_floor: return floor(a);
    case SINTER_SCALAR_ceil: return ceil(a);
    case SINTER_SCALAR_trunc: return trunc(a);
    case SINTER_SCALAR_round_even: return round_even(a);
    case SINTER_SCALAR_round_tf32: return (double)sinter_float_round_tf32((float)a);
    case SINTER_SCALAR_copysign: return copysign(a, b);
    case SINTER_SCALAR_scale: return scale(a, b);
    case SINTER_SCALAR_exp: return exp(a);
    case SINTER_SCALAR_log: return log(a);
    case SINTER_SCALAR_tanh: return tanh(a);
    case SINTER_SCALAR_erf: return erf(a);
    case SINTER_SCALAR_pow: return pow(a, b);
    case SINTER_SCALAR_log1p: return log1p(a);
    case SINTER_SCALAR_expm1: return expm1(a);
    case SINTER_SCALAR_sin: return sin(a);
    case SINTER_SCALAR_cos: return cos(a);
    case SINTER_SCALAR_tan: return tan(a);
    case SINTER_SCALAR_asin: return asin(a);
    case SINTER_SCALAR_acos: return acos(a);
    case SINTER_SCALAR_atan: return atan(a);
    case SINTER_SCALAR_sinh: return sinh(a);
    case SINTER_SCALAR_cosh: return cosh(a);
    case SINTER_SCALAR_asinh: return asinh(a);
    case SINTER_SCALAR_acosh: return acosh(a);
    case SINTER_SCALAR_atanh: return atanh(a);
    default: return apply_entries(function, a);
    }
}
/* clang-format on */

static sinter_scalar apply_float(sinter_scalar_function function, sinter_dtype dtype,
                                 const sinter_scalar *arguments) {
    double values[3] = {0};
    for (uint32_t i = 0; i < infos[function].arity; i++)
        values[i] = make_float(dtype, to_double(arguments[i])).f;
    /* All else is exact in double or rounded twice without harm; a fused product is not. */
    if (function == SINTER_SCALAR_fma && dtype == SINTER_DTYPE_f32)
        return make_float(dtype,
                          (double)fmaf((float)values[0], (float)values[1], (float)values[2]));
    /* The quotient is rounded before its floor is taken, as code for f32 must do. */
    if (function == SINTER_SCALAR_floordiv && dtype != SINTER_DTYPE_f64)
        return make_float(dtype, floor((double)(float)(values[0] / values[1])));
    return make_float(dtype, apply_double(function, values[0], values[1], values[2]));
}

/* ---- integers: in 64 bits, unsigned where the sign matters, wrapped to the width at the end ---- */

/* Truncating division; x / 0 = 0, the lowest / -1 wraps. */
static int64_t divide(sinter_dtype dtype, int64_t a, int64_t b) {
    if (b == 0) return 0;
    if (is_unsigned(dtype)) return (int64_t)((uint64_t)a / (uint64_t)b);
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static int64_t remainder_of(sinter_dtype dtype, int64_t a, int64_t b) {
    if (b == 0 || (b == -1 && !is_unsigned(dtype))) return 0;
    return is_unsigned(dtype) ? (int64_t)((uint64_t)a % (uint64_t)b) : a % b;
}

static int64_t floor_division(sinter_dtype dtype, int64_t a, int64_t b) {
    int64_t quotient = divide(dtype, a, b);
    bool down = !is_unsigned(dtype) && remainder_of(dtype, a, b) != 0 && (a < 0) != (b < 0);
    return quotient - down;
}

static int64_t floor_modulus(sinter_dtype dtype, int64_t a, int64_t b) {
    int64_t rest = remainder_of(dtype, a, b);
    return rest != 0 && !is_unsigned(dtype) && (rest < 0) != (b < 0) ? rest + b : rest;
}

static bool less(sinter_dtype dtype, int64_t a, int64_t b) {
    return is_unsigned(dtype) ? (uint64_t)a < (uint64_t)b : a < b;
}

static int64_t shift(sinter_scalar_function function, sinter_dtype dtype, int64_t a, int64_t b) {
    uint64_t count = (uint64_t)b; /* a negative one is too large as well */
    bool beyond = count >= sinter_dtype_infos[dtype].bits;
    if (function == SINTER_SCALAR_shl) return beyond ? 0 : (int64_t)((uint64_t)a << count);
    if (is_unsigned(dtype)) return beyond ? 0 : (int64_t)((uint64_t)a >> count);
    return a >> (beyond ? 63 : count);
}

/* By squaring; a negative exponent is 1 / a^b truncated, so 0 but for a = 1 and -1. */
static int64_t power(sinter_dtype dtype, int64_t a, sinter_scalar exponent) {
    int64_t b = exponent.i;
    if (!is_unsigned(exponent.dtype) && b < 0) {
        bool minus_one = !is_unsigned(dtype) && a == -1;
        return a == 1 ? 1 : !minus_one ? 0 : b % 2 ? -1 : 1;
    }
    uint64_t result = 1, square = (uint64_t)a;
    for (uint64_t left = (uint64_t)b; left; left >>= 1) {
        if (left & 1) result *= square;
        square *= square;
    }
    return (int64_t)result;
}

/* clang-format off */
static sinter_scalar apply_integer(sinter_scalar_function function, sinter_dtype dtype, int64_t a,
                                   int64_t b, int64_t c) {
    uint64_t x = (uint64_t)a, y = (uint64_t)b, result;
    switch (function) {
    case SINTER_SCALAR_add: result = x + y; break;
    case SINTER_SCALAR_sub: result = x - y; break;
    case SINTER_SCALAR_mul: result = x * y; break;
    case SINTER_SCALAR_div: result = (uint64_t)divide(dtype, a, b); break;
    case SINTER_SCALAR_rem: result = (uint64_t)remainder_of(dtype, a, b); break;
    case SINTER_SCALAR_floormod: result = (uint64_t)floor_modulus(dtype, a, b); break;
    case SINTER_SCALAR_floordiv: result = (uint64_t)floor_division(dtype, a, b); break;
    case SINTER_SCALAR_fma: result = x * y + (uint64_t)c; break;
    case SINTER_SCALAR_neg: result = 0 - x; break;
    case SINTER_SCALAR_abs: result = !is_unsigned(dtype) && a < 0 ? 0 - x : x; break;
    case SINTER_SCALAR_min: result = less(dtype, a, b) ? x : y; break;
    case SINTER_SCALAR_max: result = less(dtype, a, b) ? y : x; break;
    case SINTER_SCALAR_copysign: {
        bool flip = !is_unsigned(dtype) && (a < 0) != (b < 0);
        result = flip ? 0 - x : x;
        break;
    }
    case SINTER_SCALAR_floor:
    case SINTER_SCALAR_ceil:
    case SINTER_SCALAR_trunc:
    case SINTER_SCALAR_round_even: result = x; break;
    case SINTER_SCALAR_and: result = x & y; break;
    case SINTER_SCALAR_or: result = x | y; break;
    case SINTER_SCALAR_xor: result = x ^ y; break;
    case SINTER_SCALAR_not: result = ~x; break;
    case SINTER_SCALAR_shl:
    case SINTER_SCALAR_shr: result = (uint64_t)shift(function, dtype, a, b); break;
    default: { /* exp, sqrt, ...: in double, truncated */
        sinter_scalar wide[2] = {{dtype, {.i = a}}, {dtype, {.i = b}}};
        double value = apply_double(function, to_double(wide[0]), to_double(wide[1]), 0);
        return make_integer(dtype, sinter_integer_from_double(dtype, value));
    }
    }
    return make_integer(dtype, (int64_t)result);
}

/* Truth values: + is or, * is and, as in the LLVM column; the rest as on one-bit numbers. */
static sinter_scalar apply_bool(sinter_scalar_function function, bool a, bool b, bool c) {
    switch (function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_or:
    case SINTER_SCALAR_max: return make_bool(a || b);
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_min: return make_bool(a && b);
    case SINTER_SCALAR_not: return make_bool(!a);
    default: return apply_integer(function, SINTER_DTYPE_bool, a, b, c);
    }
}
/* clang-format on */

/* ---- all of them ---- */

/* clang-format off */
static bool compare(sinter_scalar_function function, sinter_scalar a, sinter_scalar b) {
    if (is_float(a.dtype)) {
        switch (function) {
        case SINTER_SCALAR_eq: return a.f == b.f;
        case SINTER_SCALAR_ne: return a.f != b.f;
        case SINTER_SCALAR_lt: return a.f < b.f;
        case SINTER_SCALAR_le: return a.f <= b.f;
        default: return isnan(a.f);
        }
    }
    switch (function) {
    case SINTER_SCALAR_eq: return a.i == b.i;
    case SINTER_SCALAR_ne: return a.i != b.i;
    case SINTER_SCALAR_lt: return less(a.dtype, a.i, b.i);
    case SINTER_SCALAR_le: return !less(a.dtype, b.i, a.i);
    default: return false; /* is_nan */
    }
}
/* clang-format on */

/* The bits of an f32 or f64 as an integer of its width; of another float through f32. */
static sinter_scalar bits_of(sinter_scalar value) {
    bool wide = value.dtype == SINTER_DTYPE_f64;
    uint64_t bits =
        sinter_float_encode(wide ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32, to_double(value), false);
    return make_integer(wide ? SINTER_DTYPE_i64 : SINTER_DTYPE_i32, (int64_t)bits);
}

static sinter_scalar from_bits(sinter_scalar value) {
    bool wide = sinter_dtype_infos[value.dtype].bits == 64;
    sinter_dtype dtype = wide ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
    return (sinter_scalar){.dtype = dtype,
                           .f = sinter_float_decode(dtype, (uint64_t)value.i & UINT64_MAX)};
}

/* The type of the base; in double where either side is a float. */
static sinter_scalar apply_power(sinter_scalar a, sinter_scalar b) {
    if (is_float(a.dtype)) return make_float(a.dtype, pow(to_double(a), to_double(b)));
    if (!is_float(b.dtype)) return make_integer(a.dtype, power(a.dtype, a.i, b));
    return make_integer(a.dtype, sinter_integer_from_double(a.dtype, pow(to_double(a), b.f)));
}

sinter_scalar sinter_scalar_apply(sinter_scalar_function function, const sinter_scalar *arguments) {
    if (function == SINTER_SCALAR_select) {
        bool holds = is_float(arguments[0].dtype) ? arguments[0].f != 0 : arguments[0].i != 0;
        sinter_scalar chosen = arguments[holds ? 1 : 2];
        return chosen.dtype == arguments[1].dtype ? chosen
                                                  : sinter_scalar_cast(chosen, arguments[1].dtype);
    }
    if (function == SINTER_SCALAR_pow) return apply_power(arguments[0], arguments[1]);
    if (function == SINTER_SCALAR_bits) return bits_of(arguments[0]);
    if (function == SINTER_SCALAR_from_bits) return from_bits(arguments[0]);

    sinter_scalar same[3] = {0};
    sinter_dtype dtype = arguments[0].dtype;
    for (uint32_t i = 0; i < infos[function].arity; i++)
        same[i] =
            arguments[i].dtype == dtype ? arguments[i] : sinter_scalar_cast(arguments[i], dtype);
    if (infos[function].result == SINTER_RESULT_BOOL)
        return make_bool(compare(function, same[0], same[1]));
    if (is_float(dtype)) return apply_float(function, dtype, same);
    if (dtype == SINTER_DTYPE_bool) return apply_bool(function, same[0].i, same[1].i, same[2].i);
    return apply_integer(function, dtype, same[0].i, same[1].i, same[2].i);
}

/* ---- bodies ---- */

/* While a body is evaluated, a number that has met nothing typed yet has dtype NONE. */
static sinter_scalar typed(sinter_scalar value, sinter_dtype dtype) {
    return value.dtype == SINTER_DTYPE_NONE ? sinter_scalar_number(dtype, value.f) : value;
}

static sinter_scalar evaluate_call(sinter_scalar_function function, const uint32_t *indices,
                                   const sinter_scalar *values) {
    sinter_scalar arguments[3];
    uint32_t arity = infos[function].arity, first = function == SINTER_SCALAR_select;
    sinter_dtype dtype = SINTER_DTYPE_NONE;
    for (uint32_t i = 0; i < arity; i++) {
        arguments[i] = values[indices[i]];
        if (i >= first && dtype == SINTER_DTYPE_NONE) dtype = arguments[i].dtype;
    }
    sinter_dtype meeting = dtype == SINTER_DTYPE_NONE ? SINTER_DTYPE_f64 : dtype;
    for (uint32_t i = 0; i < arity; i++)
        arguments[i] = typed(arguments[i], i < first ? SINTER_DTYPE_f64 : meeting);
    sinter_scalar result = sinter_scalar_apply(function, arguments);
    bool untyped = dtype == SINTER_DTYPE_NONE && infos[function].result == SINTER_RESULT_SAME;
    return untyped ? (sinter_scalar){.dtype = SINTER_DTYPE_NONE, .f = result.f} : result;
}

sinter_scalar sinter_scalar_evaluate(const sinter_scalar_body *body,
                                     const sinter_scalar *operands) {
    sinter_scalar values[SINTER_SCALAR_MAX_NODES];
    assert(body->count > 0 && body->count <= SINTER_SCALAR_MAX_NODES);
    for (uint32_t i = 0; i < body->count; i++) {
        const sinter_scalar_node *node = &body->nodes[i];
        switch (node->kind) {
        case SINTER_SCALAR_NODE_OPERAND:
            values[i] = operands[node->index];
            break;
        case SINTER_SCALAR_NODE_CONST:
            values[i] = (sinter_scalar){.dtype = SINTER_DTYPE_NONE, .f = node->constant};
            break;
        case SINTER_SCALAR_NODE_CAST: {
            sinter_scalar value = typed(values[node->arguments[0]], SINTER_DTYPE_f64);
            values[i] =
                sinter_scalar_cast(value, node->dtype ? node->dtype : operands[node->index].dtype);
            break;
        }
        case SINTER_SCALAR_NODE_CALL:
            values[i] = evaluate_call(node->function, node->arguments, values);
            break;
        }
    }
    return typed(values[body->count - 1], SINTER_DTYPE_f64);
}

/* ---- what a body is in its variables ---- */

typedef enum degree { FREE, LINEAR, OTHER } degree;

static degree degree_of_call(sinter_scalar_function function, const degree *a) {
    uint32_t arity = infos[function].arity;
    bool all_free = true, all_linear = true;
    for (uint32_t i = 0; i < arity; i++) {
        all_free = all_free && a[i] == FREE;
        all_linear = all_linear && a[i] == LINEAR;
    }
    if (all_free) return FREE;
    switch (function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_sub:
    case SINTER_SCALAR_neg:
        return all_linear ? LINEAR : OTHER;
    case SINTER_SCALAR_mul:
        return (a[0] == LINEAR && a[1] == FREE) || (a[0] == FREE && a[1] == LINEAR) ? LINEAR
                                                                                    : OTHER;
    case SINTER_SCALAR_div:
        return a[0] == LINEAR && a[1] == FREE ? LINEAR : OTHER;
    case SINTER_SCALAR_select:
        return a[0] == FREE && a[1] == LINEAR && a[2] == LINEAR ? LINEAR : OTHER;
    default:
        return OTHER;
    }
}

bool sinter_scalar_is_linear(const sinter_scalar_body *body, const bool *is_variable,
                             uint32_t operand_count) {
    degree degrees[SINTER_SCALAR_MAX_NODES];
    for (uint32_t i = 0; i < body->count; i++) {
        const sinter_scalar_node *node = &body->nodes[i];
        degree arguments[3] = {FREE, FREE, FREE};
        uint32_t arity = node->kind == SINTER_SCALAR_NODE_CALL   ? infos[node->function].arity
                         : node->kind == SINTER_SCALAR_NODE_CAST ? 1
                                                                 : 0;
        for (uint32_t k = 0; k < arity; k++) arguments[k] = degrees[node->arguments[k]];
        degrees[i] = FREE;
        if (node->kind == SINTER_SCALAR_NODE_OPERAND && node->index < operand_count &&
            is_variable[node->index])
            degrees[i] = LINEAR;
        if (node->kind == SINTER_SCALAR_NODE_CAST && arguments[0] != FREE) degrees[i] = OTHER;
        if (node->kind == SINTER_SCALAR_NODE_CALL)
            degrees[i] = degree_of_call(node->function, arguments);
    }
    return body->count && degrees[body->count - 1] == LINEAR;
}
