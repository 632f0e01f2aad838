/* Construction of loop expressions: constants fold, identities vanish, and i64 arithmetic is kept
 * as a canonical sum (linear.h) so that divisions, comparisons, min and max of indices resolve
 * where ranges tell. Needs: operands of fitting types (assert: lowering made them). Guarantees: the
 * value is that of the plain expression for every input; float identities that would touch -0 or
 * NaN are left alone. Test: tests/unit/loop_test.c */
#include "codegen/loops/linear.h"

#include <assert.h>
#include <math.h>
#include <string.h>

const sinter_loop_intrinsic_info sinter_loop_intrinsic_infos[] = {
    {0},
#define INTRINSIC(name, arity, result, feature, doc)                                               \
 {#name, arity, SINTER_DTYPE_##result, feature, doc},
#include "codegen/loops/intrinsic.def"
#undef INTRINSIC
};

sinter_expr sinter_loop_expr_make(sinter_arena *arena, const sinter_loop_expr *pattern) {
    sinter_loop_expr *expr = sinter_arena_copy(arena, pattern, sizeof *pattern);
    if (pattern->argument_count)
        expr->arguments = sinter_arena_copy(arena, pattern->arguments,
                                            pattern->argument_count * sizeof *pattern->arguments);
    return expr;
}

/* ---- constants ---- */

static sinter_expr make_const(sinter_arena *arena, sinter_scalar value) {
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CONST, .dtype = value.dtype};
    if (sinter_dtype_is_float(value.dtype))
        pattern.float_value = value.f;
    else
        pattern.int_value = value.i;
    return sinter_loop_expr_make(arena, &pattern);
}

static sinter_scalar const_value(sinter_expr expr) {
    sinter_scalar value = {.dtype = expr->dtype};
    if (sinter_dtype_is_float(expr->dtype))
        value.f = expr->float_value;
    else
        value.i = expr->int_value;
    return value;
}

sinter_expr sinter_loop_int(sinter_loop_builder *builder, int64_t value) {
    return make_const(builder->arena, (sinter_scalar){.dtype = SINTER_DTYPE_i64, .i = value});
}

sinter_expr sinter_loop_const(sinter_loop_builder *builder, sinter_dtype dtype, double value) {
    sinter_scalar wide = {.dtype = SINTER_DTYPE_f64, .f = value};
    return make_const(builder->arena, sinter_scalar_cast(wide, dtype));
}

sinter_expr sinter_loop_const_int(sinter_loop_builder *builder, sinter_dtype dtype, int64_t value) {
    sinter_scalar wide = {.dtype = SINTER_DTYPE_i64, .i = value};
    return make_const(builder->arena,
                      dtype == SINTER_DTYPE_i64 ? wide : sinter_scalar_cast(wide, dtype));
}

bool sinter_loop_is_const_int(sinter_expr expr, int64_t *out_value) {
    if (expr->kind != SINTER_LOOP_CONST || sinter_dtype_is_float(expr->dtype)) return false;
    *out_value = expr->int_value;
    return true;
}

bool sinter_loop_static_bytes(const sinter_loop_buffer_info *buffer, uint64_t *out_bytes) {
    int64_t count = 1, dim;
    for (uint32_t k = 0; k < buffer->rank; k++)
        if (!sinter_loop_is_const_int(buffer->dims[k], &dim) ||
            __builtin_mul_overflow(count, dim, &count))
            return false;
    return sinter_dtype_bytes(buffer->dtype, (uint64_t)count, out_bytes);
}

bool sinter_loop_most_elements(const sinter_loop_function *function,
                               const sinter_loop_buffer_info *buffer, uint32_t first,
                               int64_t *out_count) {
    int64_t low, high;
    *out_count = 1;
    for (uint32_t i = first; i < buffer->rank; i++)
        if (!sinter_loop_range(function, buffer->dims[i], &low, &high) ||
            __builtin_mul_overflow(*out_count, high > 0 ? high : 0, out_count))
            return false;
    return true;
}

bool sinter_loop_expr_equal(sinter_expr a, sinter_expr b) {
    return sinter_linear_compare(a, b) == 0;
}

static bool is_int(sinter_expr expr, int64_t value) {
    int64_t found;
    return sinter_loop_is_const_int(expr, &found) && found == value;
}

/* The float constant with this very bit pattern: 0.0 is not -0.0. */
static bool is_float(sinter_expr expr, double value) {
    return expr->kind == SINTER_LOOP_CONST && sinter_dtype_is_float(expr->dtype) &&
           memcmp(&expr->float_value, &value, sizeof value) == 0;
}

/* ---- leaves ---- */

sinter_expr sinter_loop_var_read(sinter_loop_builder *builder, sinter_loop_var var) {
    assert(var && var < builder->function->vars.count);
    const sinter_loop_var_info *info = &builder->function->vars.items[var];
    bool fixed = !info->is_mutable && info->min == info->max;
    if (fixed) return sinter_loop_const_int(builder, info->dtype, info->min);
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_VAR, .dtype = info->dtype, .var = var};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

sinter_expr sinter_loop_load(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                             const sinter_expr *indices) {
    assert(buffer && buffer < builder->function->buffers.count);
    const sinter_loop_buffer_info *info = &builder->function->buffers.items[buffer];
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_LOAD,
                                .dtype = info->dtype,
                                .buffer = buffer,
                                .arguments = indices,
                                .argument_count = info->rank};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

/* ---- calls ---- */

sinter_dtype sinter_loop_result_dtype(sinter_scalar_function function,
                                      const sinter_expr *arguments) {
    switch (sinter_scalar_get_info(function)->result) {
    case SINTER_RESULT_BOOL:
        return SINTER_DTYPE_bool;
    case SINTER_RESULT_SAME:
        return arguments[function == SINTER_SCALAR_select ? 1 : 0]->dtype;
    case SINTER_RESULT_CAST:
        break;
    }
    bool wide = sinter_dtype_infos[arguments[0]->dtype].bits == 64;
    if (function == SINTER_SCALAR_bits) return wide ? SINTER_DTYPE_i64 : SINTER_DTYPE_i32;
    return wide ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
}

static sinter_expr make_call(sinter_loop_builder *builder, sinter_scalar_function function,
                             const sinter_expr *arguments) {
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CALL,
                                .dtype = sinter_loop_result_dtype(function, arguments),
                                .function = function,
                                .arguments = arguments,
                                .argument_count = sinter_scalar_get_info(function)->arity};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

static bool is_commutative(sinter_scalar_function function) {
    switch (function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
    case SINTER_SCALAR_eq:
    case SINTER_SCALAR_ne:
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_or:
    case SINTER_SCALAR_xor:
        return true;
    default:
        return false;
    }
}

static sinter_expr fold_constants(sinter_loop_builder *builder, sinter_scalar_function function,
                                  const sinter_expr *arguments) {
    sinter_scalar values[3];
    uint32_t arity = sinter_scalar_get_info(function)->arity;
    for (uint32_t i = 0; i < arity; i++) {
        if (arguments[i]->kind != SINTER_LOOP_CONST) return NULL;
        sinter_dtype_class class = sinter_dtype_infos[arguments[i]->dtype].class;
        if (class == SINTER_CLASS_STRING || class == SINTER_CLASS_COMPLEX) return NULL;
        values[i] = const_value(arguments[i]);
    }
    return make_const(builder->arena, sinter_scalar_apply(function, values));
}

static bool is_sum_function(sinter_scalar_function function) {
    return function == SINTER_SCALAR_add || function == SINTER_SCALAR_sub ||
           function == SINTER_SCALAR_mul || function == SINTER_SCALAR_neg;
}

/* The canonical sum; NULL where it has too many terms. */
static sinter_expr fold_sum(sinter_loop_builder *builder, sinter_scalar_function function,
                            const sinter_expr *arguments) {
    uint32_t count = function == SINTER_SCALAR_neg ? 1 : 2;
    sinter_loop_expr plain = {.kind = SINTER_LOOP_CALL,
                              .dtype = SINTER_DTYPE_i64,
                              .function = function,
                              .arguments = arguments,
                              .argument_count = count};
    sinter_linear sum;
    return sinter_linear_of(&plain, &sum) ? sinter_linear_build(builder->arena, &sum) : NULL;
}

/* x = divisor * whole + rest, with the constant of rest in [0, divisor). */
static void split_by_divisor(const sinter_linear *x, int64_t divisor, sinter_linear *whole,
                             sinter_linear *rest) {
    *whole = (sinter_linear){0};
    *rest = (sinter_linear){0};
    int64_t remainder = x->constant % divisor;
    rest->constant = remainder < 0 ? remainder + divisor : remainder;
    whole->constant = (x->constant - remainder) / divisor - (remainder < 0);
    for (uint32_t i = 0; i < x->count; i++) {
        bool exact = x->terms[i].coefficient % divisor == 0;
        sinter_linear *part = exact ? whole : rest;
        part->terms[part->count] = x->terms[i];
        if (exact) part->terms[part->count].coefficient /= divisor;
        part->count++;
    }
}

static sinter_expr quotient(sinter_loop_builder *builder, sinter_scalar_function function,
                            sinter_expr a, int64_t divisor) {
    sinter_expr arguments[2] = {a, sinter_loop_int(builder, divisor)};
    return make_call(builder, function, arguments);
}

static bool is_remainder(sinter_scalar_function function) {
    return function == SINTER_SCALAR_rem || function == SINTER_SCALAR_floormod;
}

/* (g*x) / (g*d) = x / d and (g*x) % (g*d) = g * (x % d), in both roundings, where g*x does not
 * wrap. */
static sinter_expr divide_common_factor(sinter_loop_builder *builder,
                                        sinter_scalar_function function, sinter_linear *x,
                                        int64_t divisor) {
    int64_t common = sinter_linear_gcd(divisor, x->constant == INT64_MIN ? 1 : x->constant);
    for (uint32_t i = 0; i < x->count; i++)
        common = sinter_linear_gcd(common, x->terms[i].coefficient);
    if (common > 1) {
        x->constant /= common;
        for (uint32_t i = 0; i < x->count; i++) x->terms[i].coefficient /= common;
        divisor /= common;
    }
    sinter_expr inner = sinter_linear_build(builder->arena, x);
    bool remainder = is_remainder(function);
    if (divisor == 1) return remainder ? sinter_loop_int(builder, 0) : inner;
    /* (x / a) / b = x / (a*b); (x % (a*b)) % b = x % b. */
    int64_t nested;
    if (sinter_loop_is_call(inner, function) &&
        sinter_loop_is_const_int(inner->arguments[1], &nested) && nested > 0) {
        int64_t product;
        if (!remainder && !__builtin_mul_overflow(nested, divisor, &product))
            return quotient(builder, function, inner->arguments[0], product);
        if (remainder && nested % divisor == 0) inner = inner->arguments[0];
    }
    sinter_expr result = quotient(builder, function, inner, divisor);
    return remainder && common > 1
               ? sinter_loop_mul(builder, result, sinter_loop_int(builder, common))
               : result;
}

/* Division of an i64 by a positive number; NULL where nothing is known. */
static sinter_expr fold_quotient(sinter_loop_builder *builder, sinter_scalar_function function,
                                 sinter_expr a, int64_t divisor) {
    bool remainder = is_remainder(function);
    if (divisor == 1) return remainder ? sinter_loop_int(builder, 0) : a;
    sinter_linear x, whole, rest;
    int64_t min, max, rest_min, rest_max;
    sinter_linear_of(a, &x);
    if (!sinter_linear_range(builder->function, &x, &min, &max)) return NULL;
    bool floors = function == SINTER_SCALAR_floordiv || function == SINTER_SCALAR_floormod;
    sinter_scalar_function original = function;
    if (min >= 0) /* both roundings agree, and the truncating one is cheaper */
        function = remainder ? SINTER_SCALAR_rem : SINTER_SCALAR_div;
    split_by_divisor(&x, divisor, &whole, &rest);
    bool rest_known = sinter_linear_range(builder->function, &rest, &rest_min, &rest_max);
    bool exact = rest.count == 0 && rest.constant == 0;
    bool splits = exact || (rest_known && (floors || (min >= 0 && rest_min >= 0)));
    if (!splits) return divide_common_factor(builder, function, &x, divisor);
    sinter_expr rest_result = NULL;
    if (rest_known && rest_min >= 0 && rest_max < divisor) {
        if (remainder) rest_result = sinter_linear_build(builder->arena, &rest);
    } else {
        sinter_scalar_function rounding = remainder ? SINTER_SCALAR_rem : SINTER_SCALAR_div;
        rest_result =
            divide_common_factor(builder, rest_min >= 0 ? rounding : original, &rest, divisor);
    }
    if (remainder) return rest_result;
    sinter_expr base = sinter_linear_build(builder->arena, &whole);
    return rest_result ? sinter_loop_add(builder, base, rest_result) : base;
}

/* Whether a - b is always below zero, always not, or neither is known (-1). */
static int decide_less(sinter_loop_builder *builder, sinter_expr a, sinter_expr b, bool or_equal) {
    int64_t a_min, a_max, b_min, b_max;
    bool a_known = sinter_loop_range(builder->function, a, &a_min, &a_max);
    bool b_known = sinter_loop_range(builder->function, b, &b_min, &b_max);
    if (a->dtype == SINTER_DTYPE_u64) return -1;
    if (a_known || b_known) {
        if (or_equal ? a_max <= b_min : a_max < b_min) return 1;
        if (or_equal ? a_min > b_max : a_min >= b_max) return 0;
    }
    const int64_t limit = (int64_t)1 << 62; /* the difference then does not wrap */
    if (a->dtype != SINTER_DTYPE_i64 || !a_known || !b_known || a_min < -limit || a_max > limit ||
        b_min < -limit || b_max > limit)
        return -1;
    sinter_linear difference, other;
    int64_t min, max;
    sinter_linear_of(a, &difference);
    sinter_linear_of(b, &other);
    if (!sinter_linear_accumulate(&difference, &other, -1) ||
        !sinter_linear_range(builder->function, &difference, &min, &max))
        return -1;
    if (or_equal ? max <= 0 : max < 0) return 1;
    if (or_equal ? min > 0 : min >= 0) return 0;
    return -1;
}

/* 1: equal, 0: different, -1: not known. */
static int decide_equal(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    if (sinter_loop_expr_equal(a, b)) return 1;
    if (decide_less(builder, a, b, false) == 1 || decide_less(builder, b, a, false) == 1) return 0;
    if (a->dtype != SINTER_DTYPE_i64) return -1;
    sinter_linear difference, other;
    sinter_linear_of(a, &difference);
    sinter_linear_of(b, &other);
    if (!sinter_linear_accumulate(&difference, &other, -1) || difference.count) return -1;
    return difference.constant == 0;
}

static sinter_expr bool_const(sinter_loop_builder *builder, bool value) {
    return sinter_loop_const_int(builder, SINTER_DTYPE_bool, value);
}

static sinter_expr fold_compare(sinter_loop_builder *builder, sinter_scalar_function function,
                                sinter_expr a, sinter_expr b) {
    int answer = -1;
    switch (function) {
    case SINTER_SCALAR_lt:
        answer = decide_less(builder, a, b, false);
        break;
    case SINTER_SCALAR_le:
        answer = decide_less(builder, a, b, true);
        break;
    case SINTER_SCALAR_eq:
        answer = decide_equal(builder, a, b);
        break;
    case SINTER_SCALAR_ne:
        answer = decide_equal(builder, a, b);
        if (answer >= 0) answer = !answer;
        break;
    default:
        break;
    }
    if (answer < 0 && sinter_loop_expr_equal(a, b))
        answer = function == SINTER_SCALAR_eq || function == SINTER_SCALAR_le;
    return answer < 0 ? NULL : bool_const(builder, answer);
}

static sinter_expr fold_min_max(sinter_loop_builder *builder, sinter_scalar_function function,
                                sinter_expr a, sinter_expr b) {
    if (sinter_loop_expr_equal(a, b)) return a;
    bool smaller = function == SINTER_SCALAR_min;
    if (decide_less(builder, a, b, true) == 1) return smaller ? a : b;
    if (decide_less(builder, b, a, true) == 1) return smaller ? b : a;
    bool nested = sinter_loop_is_call(a, function) && a->arguments[1]->kind == SINTER_LOOP_CONST &&
                  b->kind == SINTER_LOOP_CONST;
    if (!nested) return NULL;
    sinter_expr constants[2] = {a->arguments[1], b};
    sinter_expr arguments[2] = {a->arguments[0], fold_constants(builder, function, constants)};
    return sinter_loop_call(builder, function, arguments);
}

/* Identities of & | ^ with all bits clear or set; all bits of bool is true. */
static sinter_expr fold_bits(sinter_loop_builder *builder, sinter_scalar_function function,
                             sinter_expr a, sinter_expr b) {
    bool is_bool = a->dtype == SINTER_DTYPE_bool;
    sinter_expr none = sinter_loop_const_int(builder, a->dtype, 0);
    sinter_expr all = sinter_loop_const_int(builder, a->dtype, is_bool ? 1 : -1);
    if (function == SINTER_SCALAR_xor) {
        if (sinter_loop_expr_equal(a, b)) return none;
        return sinter_loop_expr_equal(b, none) ? a : NULL;
    }
    bool conjunction = function == SINTER_SCALAR_and;
    if (sinter_loop_expr_equal(a, b)) return a;
    if (sinter_loop_expr_equal(b, none)) return conjunction ? none : a;
    if (sinter_loop_expr_equal(b, all)) return conjunction ? a : all;
    return NULL;
}

static sinter_expr fold_select(sinter_loop_builder *builder, const sinter_expr *arguments) {
    sinter_expr condition = arguments[0], a = arguments[1], b = arguments[2];
    int64_t known;
    if (sinter_loop_is_const_int(condition, &known)) return known ? a : b;
    if (sinter_loop_expr_equal(a, b)) return a;
    if (a->dtype == SINTER_DTYPE_bool && is_int(a, 1) && is_int(b, 0)) return condition;
    if (sinter_loop_is_call(condition, SINTER_SCALAR_not)) {
        sinter_expr swapped[3] = {condition->arguments[0], b, a};
        return sinter_loop_call(builder, SINTER_SCALAR_select, swapped);
    }
    return NULL;
}

static sinter_expr fold_not(sinter_loop_builder *builder, sinter_expr a) {
    if (a->kind != SINTER_LOOP_CALL) return NULL;
    if (a->function == SINTER_SCALAR_not) return a->arguments[0];
    if (a->dtype != SINTER_DTYPE_bool) return NULL;
    sinter_scalar_function opposite = a->function == SINTER_SCALAR_eq   ? SINTER_SCALAR_ne
                                      : a->function == SINTER_SCALAR_ne ? SINTER_SCALAR_eq
                                                                        : SINTER_SCALAR_NONE;
    bool ordered =
        !sinter_dtype_is_float(a->arguments[0]->dtype); /* not (a < b) with NaN is not b <= a */
    sinter_expr swapped[2] = {a->arguments[1 % a->argument_count], a->arguments[0]};
    if (opposite) return sinter_loop_call(builder, opposite, a->arguments);
    if (ordered && a->function == SINTER_SCALAR_lt)
        return sinter_loop_call(builder, SINTER_SCALAR_le, swapped);
    if (ordered && a->function == SINTER_SCALAR_le)
        return sinter_loop_call(builder, SINTER_SCALAR_lt, swapped);
    return NULL;
}

static sinter_expr fold_float(sinter_scalar_function function, sinter_expr a, sinter_expr b) {
    switch (function) {
    case SINTER_SCALAR_add:
        return is_float(b, -0.0) ? a : NULL; /* -0 + 0 is 0 */
    case SINTER_SCALAR_sub:
        return is_float(b, 0.0) ? a : NULL;
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_div:
        return is_float(b, 1.0) ? a : NULL;
    case SINTER_SCALAR_min:
        return is_float(b, INFINITY) ? a : NULL;
    case SINTER_SCALAR_max:
        return is_float(b, -INFINITY) ? a : NULL;
    default:
        return NULL;
    }
}

static sinter_expr fold_narrow_integer(sinter_loop_builder *builder,
                                       sinter_scalar_function function, sinter_expr a,
                                       sinter_expr b) {
    bool additive = function == SINTER_SCALAR_add || function == SINTER_SCALAR_sub;
    bool scaling = function == SINTER_SCALAR_mul || function == SINTER_SCALAR_div ||
                   function == SINTER_SCALAR_floordiv;
    if (additive && is_int(b, 0)) return a;
    if (scaling && is_int(b, 1)) return a;
    if (function == SINTER_SCALAR_mul && is_int(b, 0))
        return sinter_loop_const_int(builder, a->dtype, 0);
    return NULL;
}

static sinter_expr fold_integer(sinter_loop_builder *builder, sinter_scalar_function function,
                                sinter_expr a, sinter_expr b) {
    bool divides = function == SINTER_SCALAR_div || function == SINTER_SCALAR_floordiv ||
                   is_remainder(function);
    int64_t divisor;
    if ((function == SINTER_SCALAR_shl || function == SINTER_SCALAR_shr) && is_int(b, 0)) return a;
    if (a->dtype != SINTER_DTYPE_i64) return fold_narrow_integer(builder, function, a, b);
    if (is_sum_function(function)) return fold_sum(builder, function, (sinter_expr[]){a, b});
    if (divides && sinter_loop_is_const_int(b, &divisor) && divisor > 0)
        return fold_quotient(builder, function, a, divisor);
    return NULL;
}

static sinter_expr simplify(sinter_loop_builder *builder, sinter_scalar_function function,
                            const sinter_expr *arguments) {
    uint32_t arity = sinter_scalar_get_info(function)->arity;
    sinter_dtype dtype = arguments[0]->dtype;
    bool is_float_type = sinter_dtype_is_float(dtype);
    if (function == SINTER_SCALAR_select) return fold_select(builder, arguments);
    if (function == SINTER_SCALAR_not) return fold_not(builder, arguments[0]);
    if (function == SINTER_SCALAR_neg && dtype == SINTER_DTYPE_i64)
        return fold_sum(builder, function, arguments);
    sinter_scalar_function back = function == SINTER_SCALAR_bits        ? SINTER_SCALAR_from_bits
                                  : function == SINTER_SCALAR_from_bits ? SINTER_SCALAR_bits
                                                                        : SINTER_SCALAR_NONE;
    if (back && sinter_loop_is_call(arguments[0], back)) return arguments[0]->arguments[0];
    if (arity != 2) return NULL;
    sinter_expr a = arguments[0], b = arguments[1];
    if (is_float_type) return fold_float(function, a, b);
    if (function == SINTER_SCALAR_and || function == SINTER_SCALAR_or ||
        function == SINTER_SCALAR_xor)
        return fold_bits(builder, function, a, b);
    if (dtype == SINTER_DTYPE_bool) return NULL;
    if (sinter_scalar_get_info(function)->result == SINTER_RESULT_BOOL)
        return fold_compare(builder, function, a, b);
    if (function == SINTER_SCALAR_min || function == SINTER_SCALAR_max)
        return fold_min_max(builder, function, a, b);
    return fold_integer(builder, function, a, b);
}

sinter_expr sinter_loop_call(sinter_loop_builder *builder, sinter_scalar_function function,
                             const sinter_expr *arguments) {
    sinter_expr folded = fold_constants(builder, function, arguments);
    if (folded) return folded;
    sinter_expr ordered[3] = {arguments[0]};
    uint32_t arity = sinter_scalar_get_info(function)->arity;
    for (uint32_t i = 1; i < arity; i++) ordered[i] = arguments[i];
    assert(arity < 2 || function == SINTER_SCALAR_select || ordered[0]->dtype == ordered[1]->dtype);
    if (is_commutative(function) &&
        ordered[0]->kind == SINTER_LOOP_CONST) { /* identities look for constants on the right */
        ordered[0] = arguments[1];
        ordered[1] = arguments[0];
    }
    folded = simplify(builder, function, ordered);
    return folded ? folded : make_call(builder, function, ordered);
}

/* Widening and back gives the same: among integers bit by bit, among floats because f32 holds each narrower value and
 * f64 each f32. */
static bool is_widened(sinter_expr value, sinter_dtype dtype) {
    if (value->kind != SINTER_LOOP_CAST || value->arguments[0]->dtype != dtype) return false;
    uint32_t narrow = sinter_dtype_infos[dtype].bits, wide = sinter_dtype_infos[value->dtype].bits;
    if (sinter_dtype_is_integer(dtype))
        return sinter_dtype_is_integer(value->dtype) && wide >= narrow;
    return sinter_dtype_is_float(dtype) && wide > narrow &&
           (value->dtype == SINTER_DTYPE_f32 || value->dtype == SINTER_DTYPE_f64);
}

sinter_expr sinter_loop_cast(sinter_loop_builder *builder, sinter_expr value, sinter_dtype dtype) {
    if (value->dtype == dtype) return value;
    if (value->kind == SINTER_LOOP_CONST)
        return make_const(builder->arena, sinter_scalar_cast(const_value(value), dtype));
    if (is_widened(value, dtype)) return value->arguments[0];
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CAST,
                                .dtype = dtype,
                                .saturate = true,
                                .arguments = &value,
                                .argument_count = 1};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

sinter_expr sinter_loop_cast_saturating(sinter_loop_builder *builder, sinter_expr value,
                                        sinter_dtype dtype, bool saturate) {
    if (saturate || value->dtype == dtype ||
        (sinter_dtype_is_float(dtype) && is_widened(value, dtype)))
        return sinter_loop_cast(builder, value, dtype);
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CAST,
                                .dtype = dtype,
                                .saturate = false,
                                .arguments = &value,
                                .argument_count = 1};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

sinter_expr sinter_loop_intrinsic_call(sinter_loop_builder *builder,
                                       sinter_loop_intrinsic intrinsic,
                                       const sinter_expr *arguments) {
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_INTRINSIC,
                                .dtype = sinter_loop_intrinsic_infos[intrinsic].result,
                                .intrinsic = intrinsic,
                                .arguments = arguments,
                                .argument_count = sinter_loop_intrinsic_infos[intrinsic].arity};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

/* ---- shorthands ---- */

sinter_expr sinter_loop_call2(sinter_loop_builder *builder, sinter_scalar_function function,
                              sinter_expr a, sinter_expr b) {
    sinter_expr arguments[3] = {a, b, NULL}; /* of the largest arity */
    return sinter_loop_call(builder, function, arguments);
}
sinter_expr sinter_loop_add(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_add, a, b);
}
sinter_expr sinter_loop_sub(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_sub, a, b);
}
sinter_expr sinter_loop_mul(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_mul, a, b);
}
sinter_expr sinter_loop_div(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_div, a, b);
}
sinter_expr sinter_loop_rem(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_rem, a, b);
}
sinter_expr sinter_loop_min(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_min, a, b);
}
sinter_expr sinter_loop_max(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_max, a, b);
}
sinter_expr sinter_loop_select(sinter_loop_builder *builder, sinter_expr condition, sinter_expr a,
                               sinter_expr b) {
    sinter_expr arguments[3] = {condition, a, b};
    return sinter_loop_call(builder, SINTER_SCALAR_select, arguments);
}
sinter_expr sinter_loop_compare(sinter_loop_builder *builder, sinter_scalar_function comparison,
                                sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, comparison, a, b);
}
sinter_expr sinter_loop_or(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_or, a, b);
}
sinter_expr sinter_loop_and(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    return sinter_loop_call2(builder, SINTER_SCALAR_and, a, b);
}
