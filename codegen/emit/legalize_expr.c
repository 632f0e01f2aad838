/* Expressions for a target: guards around integer division and shifts, functions by their expansion, values of narrow
 * types by what stands for them. Rewritten expressions are remembered, so sharing survives. Test: tests/unit/emit_test.c */
#include "codegen/emit/legalize_expr.h"

#include <string.h>

static sinter_expr number(sinter_legalizer *l, sinter_dtype dtype, int64_t value) {
    return sinter_loop_const_int(&l->build, dtype, value);
}

/* ---- integer division and shifts ---- */

typedef struct divisor_facts {
    bool may_be_zero, may_be_minus_one, positive;
} divisor_facts;

static divisor_facts know_divisor(sinter_legalizer *l, sinter_expr b) {
    bool is_signed = sinter_dtype_infos[b->dtype].class == SINTER_CLASS_INT;
    int64_t low, high;
    if (!sinter_loop_range(l->build.function, b, &low, &high))
        return (divisor_facts){true, is_signed, false};
    return (divisor_facts){low <= 0 && high >= 0, is_signed && low <= -1 && high >= -1, low > 0};
}

/* Quotient and remainder as the evaluator has them: x/0 = 0, x%0 = 0, least / -1 = least, least % -1 = 0. */
static sinter_expr guard_division(sinter_legalizer *l, sinter_scalar_function function,
                                  sinter_expr a, sinter_expr b) {
    divisor_facts facts = know_divisor(l, b);
    if (!facts.may_be_zero && !facts.may_be_minus_one)
        return sinter_loop_call2(&l->build, function, a, b);
    sinter_expr zero = number(l, b->dtype, 0), one = number(l, b->dtype, 1), divisor = b;
    sinter_expr is_zero = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, b, zero),
                is_minus_one = NULL;
    if (facts.may_be_zero) divisor = sinter_loop_select(&l->build, is_zero, one, divisor);
    if (facts.may_be_minus_one) {
        is_minus_one = sinter_loop_call2(&l->build, SINTER_SCALAR_eq, b, number(l, b->dtype, -1));
        divisor = sinter_loop_select(&l->build, is_minus_one, one, divisor);
    }
    sinter_expr result = sinter_loop_call2(&l->build, function, a, divisor);
    bool quotient = function == SINTER_SCALAR_div;
    if (is_minus_one && quotient)
        result = sinter_loop_select(&l->build, is_minus_one,
                                    sinter_loop_call(&l->build, SINTER_SCALAR_neg, &a), result);
    if (facts.may_be_zero && quotient)
        result = sinter_loop_select(&l->build, is_zero, zero, result);
    return result; /* the remainder by 1 is 0 already */
}

static bool is_never_negative(sinter_legalizer *l, sinter_expr a) {
    int64_t low, high;
    return sinter_dtype_infos[a->dtype].class == SINTER_CLASS_UINT ||
           (sinter_loop_range(l->build.function, a, &low, &high) && low >= 0);
}

static sinter_expr floor_division(sinter_legalizer *l, sinter_scalar_function function,
                                  sinter_expr a, sinter_expr b) {
    bool quotient = function == SINTER_SCALAR_floordiv;
    sinter_scalar_function plain = quotient ? SINTER_SCALAR_div : SINTER_SCALAR_rem;
    bool is_signed = sinter_dtype_infos[a->dtype].class == SINTER_CLASS_INT;
    if (!is_signed || (is_never_negative(l, a) && know_divisor(l, b).positive))
        return guard_division(l, plain, a, b);
    sinter_expr zero = number(l, a->dtype, 0);
    sinter_expr rest = guard_division(l, SINTER_SCALAR_rem, a, b);
    sinter_expr signs_differ = sinter_loop_call2(
        &l->build, SINTER_SCALAR_ne, sinter_loop_call2(&l->build, SINTER_SCALAR_lt, rest, zero),
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, b, zero));
    sinter_expr off = sinter_loop_and(
        &l->build, sinter_loop_call2(&l->build, SINTER_SCALAR_ne, rest, zero), signs_differ);
    if (!quotient)
        return sinter_loop_select(&l->build, off, sinter_loop_add(&l->build, rest, b), rest);
    sinter_expr whole = guard_division(l, SINTER_SCALAR_div, a, b);
    return sinter_loop_select(&l->build, off,
                              sinter_loop_sub(&l->build, whole, number(l, a->dtype, 1)), whole);
}

/* Shifts by the width and more, or by a negative count, give 0 or the sign. */
static sinter_expr guard_shift(sinter_legalizer *l, sinter_scalar_function function, sinter_expr a,
                               sinter_expr b) {
    int64_t width = sinter_dtype_infos[a->dtype].bits, low, high, known;
    if (sinter_loop_is_const_int(b, &known) && known >= 0 && known < width)
        return sinter_loop_call2(&l->build, function, a, b);
    if (sinter_loop_range(l->build.function, b, &low, &high) && low >= 0 && high < width)
        return sinter_loop_call2(&l->build, function, a, b);
    bool is_signed = sinter_dtype_infos[a->dtype].class == SINTER_CLASS_INT;
    sinter_expr zero = number(l, b->dtype, 0);
    sinter_expr inside =
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, b, number(l, b->dtype, width));
    if (sinter_dtype_infos[b->dtype].class == SINTER_CLASS_INT)
        inside = sinter_loop_and(&l->build, inside,
                                 sinter_loop_call2(&l->build, SINTER_SCALAR_le, zero, b));
    sinter_expr result =
        sinter_loop_call2(&l->build, function, a, sinter_loop_select(&l->build, inside, b, zero));
    sinter_expr outside = number(l, a->dtype, 0);
    if (function == SINTER_SCALAR_shr && is_signed)
        outside = sinter_loop_select(&l->build,
                                     sinter_loop_call2(&l->build, SINTER_SCALAR_lt, a, outside),
                                     number(l, a->dtype, -1), outside);
    return sinter_loop_select(&l->build, inside, result, outside);
}

/* ---- functions by their expansion ---- */

/* In f32, as scalar.def's column `feature` says. */
static bool has_instruction(const sinter_legalizer *l, sinter_scalar_function function) {
    const char *feature = sinter_scalar_get_info(function)->feature;
    return *feature && l->target && sinter_target_has(l->target, feature);
}

bool sinter_legal_fuses(const sinter_legalizer *l) {
    return !l->target || has_instruction(l, SINTER_SCALAR_fma);
}

/* Where there is no instruction: rounded twice, since software that rounds once is slow. */
static sinter_expr product_and_sum(sinter_legalizer *l, const sinter_expr *arguments) {
    return sinter_loop_add(&l->build, sinter_loop_mul(&l->build, arguments[0], arguments[1]),
                           arguments[2]);
}

/* A scalar body over legal operands; numbers take the type of what they meet. */
static sinter_expr build_body(sinter_legalizer *l, const sinter_scalar_body *body,
                              const sinter_expr *operands, sinter_dtype dtype) {
    sinter_expr *values = SINTER_NEW_ARRAY(&l->scratch, sinter_expr, body->count);
    for (uint32_t i = 0; i < body->count; i++) {
        const sinter_scalar_node *node = &body->nodes[i];
        sinter_expr arguments[3] = {0};
        switch (node->kind) {
        case SINTER_SCALAR_NODE_OPERAND:
            values[i] = operands[node->index];
            break;
        case SINTER_SCALAR_NODE_CONST:
            break; /* typed below, by its partner */
        case SINTER_SCALAR_NODE_CAST:
            values[i] = sinter_loop_cast(&l->build, values[node->arguments[0]],
                                         node->dtype ? node->dtype : operands[node->index]->dtype);
            break;
        case SINTER_SCALAR_NODE_CALL: {
            uint32_t arity = sinter_scalar_get_info(node->function)->arity;
            uint32_t first = node->function == SINTER_SCALAR_select;
            sinter_dtype type = SINTER_DTYPE_NONE;
            for (uint32_t k = first; k < arity && !type; k++)
                if (values[node->arguments[k]]) type = values[node->arguments[k]]->dtype;
            if (!type) type = dtype;
            for (uint32_t k = 0; k < arity; k++) {
                uint32_t at = node->arguments[k];
                arguments[k] = values[at]
                                   ? values[at]
                                   : sinter_loop_const(&l->build, type, body->nodes[at].constant);
            }
            values[i] = sinter_legal_call(l, node->function, arguments[first]->dtype, arguments);
            break;
        }
        }
    }
    return values[body->count - 1];
}

static sinter_expr expand(sinter_legalizer *l, sinter_scalar_function function,
                          const sinter_expr *arguments) {
    static const sinter_string names[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    sinter_scalar_function other;
    const char *shorter = sinter_scalar_get_expansion_by(function, &other);
    const char *text = shorter && has_instruction(l, other) ? shorter : info->expansion;
    sinter_scalar_body body;
    if (!sinter_scalar_parse(&l->scratch, text, names, info->arity, &body, l->diag)) {
        l->failed = true;
        return arguments[0];
    }
    return build_body(l, &body, arguments, arguments[0]->dtype);
}

/* ---- calls ---- */

/* A value of a narrow type in the type that it computes in. */
static sinter_expr widen(sinter_legalizer *l, sinter_dtype dtype, sinter_expr value) {
    if (sinter_is_expanded_float(l, dtype)) return sinter_legal_decode(l, dtype, value);
    if (dtype == SINTER_DTYPE_f16) return sinter_loop_cast(&l->build, value, SINTER_DTYPE_f32);
    return sinter_loop_cast(&l->build, value, SINTER_DTYPE_i32);
}

/* The low bits of a byte, sign-extended where the type is signed. */
static sinter_expr wrap_sub_byte(sinter_legalizer *l, sinter_dtype dtype, sinter_expr value) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    sinter_dtype storage = sinter_legal_dtype(l, dtype);
    value = sinter_loop_cast(&l->build, value, storage);
    if (info->class == SINTER_CLASS_UINT)
        return sinter_loop_and(&l->build, value, number(l, storage, (1 << info->bits) - 1));
    sinter_expr shift = number(l, storage, 8 - info->bits);
    return sinter_loop_call2(&l->build, SINTER_SCALAR_shr,
                             sinter_loop_call2(&l->build, SINTER_SCALAR_shl, value, shift), shift);
}

static sinter_expr narrow(sinter_legalizer *l, sinter_dtype dtype, sinter_expr value,
                          bool saturate) {
    if (sinter_is_expanded_float(l, dtype)) return sinter_legal_encode(l, dtype, value, saturate);
    if (dtype == SINTER_DTYPE_f16) return sinter_loop_cast(&l->build, value, SINTER_DTYPE_f16);
    return wrap_sub_byte(l, dtype, value);
}

static bool is_narrow(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_FLOAT) return info->bits < 32;
    return info->bits < 8;
}

static sinter_expr call_narrow(sinter_legalizer *l, sinter_scalar_function function,
                               sinter_dtype dtype, const sinter_expr *arguments) {
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    if (function == SINTER_SCALAR_select) return sinter_loop_call(&l->build, function, arguments);
    sinter_expr wide[3];
    for (uint32_t i = 0; i < info->arity; i++) wide[i] = widen(l, dtype, arguments[i]);
    sinter_expr result = sinter_legal_call(l, function, wide[0]->dtype, wide);
    return info->result == SINTER_RESULT_SAME ? narrow(l, dtype, result, true) : result;
}

/* ---- functions that integers have no instruction for ---- */

/* In double, truncated: sqrt, exp, ... */
static sinter_expr call_in_double(sinter_legalizer *l, sinter_scalar_function function,
                                  sinter_dtype dtype, const sinter_expr *arguments) {
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    if (info->result == SINTER_RESULT_BOOL) /* is_nan */
        return sinter_loop_const_int(&l->build, SINTER_DTYPE_bool, 0);
    sinter_expr wide[3];
    for (uint32_t i = 0; i < info->arity; i++)
        wide[i] = sinter_loop_cast(&l->build, arguments[i], SINTER_DTYPE_f64);
    return sinter_loop_cast(&l->build, sinter_loop_call(&l->build, function, wide), dtype);
}

/* Integers of one type by squaring; a float on either side makes it a power in floats. */
static sinter_expr call_power(sinter_legalizer *l, const sinter_expr *arguments) {
    sinter_expr base = arguments[0], exponent = arguments[1];
    sinter_dtype dtype = base->dtype;
    if (sinter_dtype_is_float(dtype))
        return sinter_loop_call2(&l->build, SINTER_SCALAR_pow, base,
                                 sinter_loop_cast(&l->build, exponent, dtype));
    if (sinter_dtype_is_float(exponent->dtype))
        return call_in_double(l, SINTER_SCALAR_pow, dtype, arguments);
    if (exponent->dtype == dtype)
        return sinter_loop_call2(&l->build, SINTER_SCALAR_pow, base, exponent);
    base = sinter_loop_cast(&l->build, base, SINTER_DTYPE_i64);
    exponent = sinter_loop_cast(&l->build, exponent, SINTER_DTYPE_i64);
    return sinter_loop_cast(&l->build,
                            sinter_loop_call2(&l->build, SINTER_SCALAR_pow, base, exponent), dtype);
}

static sinter_expr call_integer(sinter_legalizer *l, sinter_scalar_function function,
                                sinter_dtype dtype, const sinter_expr *arguments) {
    switch (function) {
    case SINTER_SCALAR_div:
    case SINTER_SCALAR_rem:
        return guard_division(l, function, arguments[0], arguments[1]);
    case SINTER_SCALAR_floordiv:
    case SINTER_SCALAR_floormod:
        return floor_division(l, function, arguments[0], arguments[1]);
    case SINTER_SCALAR_shl:
    case SINTER_SCALAR_shr:
        return guard_shift(l, function, arguments[0], arguments[1]);
    case SINTER_SCALAR_fma:
        return product_and_sum(l, arguments);
    case SINTER_SCALAR_copysign: {
        if (sinter_dtype_infos[dtype].class == SINTER_CLASS_UINT) return arguments[0];
        sinter_expr zero = number(l, dtype, 0);
        sinter_expr flip =
            sinter_loop_call2(&l->build, SINTER_SCALAR_ne,
                              sinter_loop_call2(&l->build, SINTER_SCALAR_lt, arguments[0], zero),
                              sinter_loop_call2(&l->build, SINTER_SCALAR_lt, arguments[1], zero));
        return sinter_loop_select(&l->build, flip,
                                  sinter_loop_call(&l->build, SINTER_SCALAR_neg, arguments),
                                  arguments[0]);
    }
    case SINTER_SCALAR_bits:
    case SINTER_SCALAR_from_bits:
        return sinter_loop_call(&l->build, function, arguments);
    default: {
        const char *spellings = sinter_scalar_get_info(function)->llvm;
        bool is_direct = strstr(spellings, "i:") != NULL;
        return is_direct ? sinter_loop_call(&l->build, function, arguments)
                         : call_in_double(l, function, dtype, arguments);
    }
    }
}

sinter_expr sinter_legal_call(sinter_legalizer *l, sinter_scalar_function function,
                              sinter_dtype dtype, const sinter_expr *arguments) {
    if (is_narrow(dtype)) return call_narrow(l, function, dtype, arguments);
    if (function == SINTER_SCALAR_pow) return call_power(l, arguments);
    if (sinter_dtype_is_integer(dtype)) return call_integer(l, function, dtype, arguments);
    if (function == SINTER_SCALAR_fma && !sinter_legal_fuses(l))
        return product_and_sum(l, arguments);
    if (function == SINTER_SCALAR_floordiv && dtype == SINTER_DTYPE_f32) { /* one rounding only */
        sinter_expr wide[2];
        for (int i = 0; i < 2; i++)
            wide[i] = sinter_loop_cast(&l->build, arguments[i], SINTER_DTYPE_f64);
        return sinter_loop_cast(&l->build, sinter_legal_call(l, function, SINTER_DTYPE_f64, wide),
                                dtype);
    }
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    bool composite = function == SINTER_SCALAR_floordiv || function == SINTER_SCALAR_floormod;
    bool single = dtype == SINTER_DTYPE_f32 && !has_instruction(l, function);
    if (info->expansion && *info->expansion && (single || composite))
        return expand(l, function, arguments);
    return sinter_loop_call(&l->build, function, arguments);
}

/* ---- casts ---- */

/* A 64-bit integer as a double with its lost bits as the last one, for a second rounding. */
static sinter_expr integer_to_odd(sinter_legalizer *l, sinter_expr value) {
    sinter_dtype dtype = value->dtype;
    bool is_signed = dtype == SINTER_DTYPE_i64;
    if (!is_signed && dtype != SINTER_DTYPE_u64) return value;
    sinter_expr top = sinter_loop_call2(&l->build, SINTER_SCALAR_shr, value, number(l, dtype, 11));
    sinter_expr lost = sinter_loop_call2(&l->build, SINTER_SCALAR_ne,
                                         sinter_loop_and(&l->build, value, number(l, dtype, 0x7ff)),
                                         number(l, dtype, 0));
    top = sinter_loop_or(&l->build, top, sinter_loop_cast(&l->build, lost, dtype));
    sinter_expr large =
        sinter_loop_mul(&l->build, sinter_loop_cast(&l->build, top, SINTER_DTYPE_f64),
                        sinter_loop_const(&l->build, SINTER_DTYPE_f64, 2048));
    int64_t limit = (int64_t)1 << 53;
    sinter_expr small =
        sinter_loop_call2(&l->build, SINTER_SCALAR_lt, value, number(l, dtype, limit));
    if (is_signed)
        small = sinter_loop_and(
            &l->build, small,
            sinter_loop_call2(&l->build, SINTER_SCALAR_lt, number(l, dtype, -limit), value));
    return sinter_loop_select(&l->build, small,
                              sinter_loop_cast(&l->build, value, SINTER_DTYPE_f64), large);
}

static sinter_expr cast_to_narrow(sinter_legalizer *l, sinter_expr value, sinter_dtype from,
                                  sinter_dtype to, bool saturate) {
    if (sinter_dtype_infos[to].class != SINTER_CLASS_FLOAT) {
        if (sinter_dtype_is_float(from))
            value = sinter_loop_cast(&l->build, value, SINTER_DTYPE_i32);
        return wrap_sub_byte(l, to, value);
    }
    if (to == SINTER_DTYPE_bf16 && sinter_dtype_infos[from].bits == 64)
        value = integer_to_odd(l, value);
    else if (from == SINTER_DTYPE_i32 || from == SINTER_DTYPE_u32 || from == SINTER_DTYPE_i64 ||
             from == SINTER_DTYPE_u64)
        value = sinter_loop_cast(&l->build, value, SINTER_DTYPE_f64);
    value = value->dtype == SINTER_DTYPE_f64 ? sinter_legal_round_to_odd(l, value)
                                             : sinter_loop_cast(&l->build, value, SINTER_DTYPE_f32);
    return narrow(l, to, value, saturate);
}

/* value stands for one of type `from`. */
static sinter_expr legal_cast(sinter_legalizer *l, sinter_expr value, sinter_dtype from,
                              sinter_dtype to, bool saturate) {
    if (from == to) return value;
    if (sinter_dtype_is_float(from) && is_narrow(from)) {
        value = widen(l, from, value);
        from = SINTER_DTYPE_f32;
    }
    if (is_narrow(to)) return cast_to_narrow(l, value, from, to, saturate);
    return sinter_loop_cast(&l->build, value, to);
}

/* ---- loads ---- */

void sinter_legal_place(sinter_legalizer *l, sinter_loop_buffer buffer, const sinter_expr *indices,
                        sinter_expr *out_byte, sinter_expr *out_shift) {
    const sinter_loop_buffer_info *info = &l->source->buffers.items[buffer];
    int64_t bits = sinter_dtype_infos[info->dtype].bits, per_byte = 8 / bits;
    sinter_expr linear = sinter_loop_int(&l->build, 0);
    for (uint32_t k = 0; k < info->rank; k++)
        linear = sinter_loop_add(
            &l->build, sinter_loop_mul(&l->build, linear, sinter_legal_expr(l, info->dims[k])),
            indices[k]);
    *out_byte = sinter_loop_call2(&l->build, SINTER_SCALAR_shr, linear,
                                  sinter_loop_int(&l->build, per_byte == 2 ? 1 : 2));
    sinter_expr within =
        sinter_loop_and(&l->build, linear, sinter_loop_int(&l->build, per_byte - 1));
    *out_shift = sinter_loop_cast(
        &l->build, sinter_loop_mul(&l->build, within, sinter_loop_int(&l->build, bits)),
        SINTER_DTYPE_u8);
}

static sinter_expr load_sub_byte(sinter_legalizer *l, sinter_loop_buffer buffer,
                                 const sinter_expr *indices) {
    sinter_dtype dtype = l->source->buffers.items[buffer].dtype;
    sinter_expr byte, shift;
    sinter_legal_place(l, buffer, indices, &byte, &shift);
    sinter_expr packed = sinter_loop_load(&l->build, buffer, &byte);
    sinter_expr value = sinter_loop_call2(&l->build, SINTER_SCALAR_shr, packed, shift);
    if (sinter_dtype_is_float(dtype))
        return sinter_loop_and(&l->build, value, number(l, SINTER_DTYPE_u8, 15));
    return wrap_sub_byte(l, dtype, value);
}

/* ---- dot products without an instruction ---- */

static sinter_expr byte_of(sinter_legalizer *l, sinter_expr word, int index, bool is_signed) {
    sinter_expr up = number(l, SINTER_DTYPE_i32, 24 - 8 * index),
                down = number(l, SINTER_DTYPE_i32, 24);
    sinter_expr value =
        sinter_loop_call2(&l->build, SINTER_SCALAR_shr,
                          sinter_loop_call2(&l->build, SINTER_SCALAR_shl, word, up), down);
    return is_signed ? value : sinter_loop_and(&l->build, value, number(l, SINTER_DTYPE_i32, 0xff));
}

static sinter_expr expand_dot(sinter_legalizer *l, sinter_loop_intrinsic intrinsic,
                              const sinter_expr *arguments) {
    bool a_is_signed = intrinsic == SINTER_INTRINSIC_dot4_i8i8;
    sinter_expr sum = arguments[0];
    for (int i = 0; i < 4; i++)
        sum = sinter_loop_add(&l->build, sum,
                              sinter_loop_mul(&l->build, byte_of(l, arguments[1], i, a_is_signed),
                                              byte_of(l, arguments[2], i, true)));
    return sum;
}

static sinter_expr half_of(sinter_legalizer *l, sinter_expr word, int index) {
    sinter_expr bits =
        index ? sinter_loop_and(&l->build, word, number(l, SINTER_DTYPE_i32, INT32_MIN >> 15))
              : sinter_loop_call2(&l->build, SINTER_SCALAR_shl, word,
                                  number(l, SINTER_DTYPE_i32, 16));
    return sinter_loop_call(&l->build, SINTER_SCALAR_from_bits, &bits);
}

static sinter_expr expand_dot2(sinter_legalizer *l, const sinter_expr *arguments) {
    sinter_expr sum = arguments[0];
    for (int i = 0; i < 2; i++)
        sum = sinter_loop_add(
            &l->build, sum,
            sinter_loop_mul(&l->build, half_of(l, arguments[1], i), half_of(l, arguments[2], i)));
    return sum;
}

static const char *intrinsic_features(sinter_loop_intrinsic intrinsic) {
    static const char *const features[] = {
        "",
#define INTRINSIC(name, arity, result, feature, doc) feature,
#include "codegen/loops/intrinsic.def"
#undef INTRINSIC
    };
    return features[intrinsic];
}

/* Plain C spells each as a function. On x86 16-bit multiply-adds make those of bytes without a feature, exactly. */
static bool has_intrinsic(const sinter_target *target, sinter_loop_intrinsic intrinsic) {
    bool of_bytes = sinter_loop_intrinsic_infos[intrinsic].result == SINTER_DTYPE_i32;
    return !target || (of_bytes && target->arch == SINTER_ARCH_x86_64) ||
           sinter_target_has(target, intrinsic_features(intrinsic));
}

/* ---- the walk ---- */

static sinter_expr rewrite(sinter_legalizer *l, sinter_expr expr) {
    sinter_dtype legal = sinter_legal_dtype(l, expr->dtype);
    sinter_expr *arguments = SINTER_NEW_ARRAY(&l->scratch, sinter_expr, expr->argument_count);
    for (uint32_t i = 0; i < expr->argument_count; i++)
        arguments[i] = sinter_legal_expr(l, expr->arguments[i]);
    sinter_loop_expr pattern = *expr;
    pattern.arguments = arguments;
    pattern.dtype = legal;
    switch (expr->kind) {
    case SINTER_LOOP_CONST:
        if (!sinter_is_expanded_float(l, expr->dtype)) break;
        return number(l, legal, (int64_t)sinter_float_encode(expr->dtype, expr->float_value, true));
    case SINTER_LOOP_VAR:
        break;
    case SINTER_LOOP_LOAD:
        if (sinter_dtype_infos[expr->dtype].bits < 8)
            return load_sub_byte(l, expr->buffer, arguments);
        break;
    case SINTER_LOOP_CALL: {
        uint32_t typed = expr->function == SINTER_SCALAR_select;
        return sinter_legal_call(l, expr->function, expr->arguments[typed]->dtype, arguments);
    }
    case SINTER_LOOP_CAST:
        return legal_cast(l, arguments[0], expr->arguments[0]->dtype, expr->dtype, expr->saturate);
    case SINTER_LOOP_INTRINSIC:
        if (has_intrinsic(l->target, expr->intrinsic)) break;
        if (expr->intrinsic == SINTER_INTRINSIC_dot2_bf16) return expand_dot2(l, arguments);
        return expand_dot(l, expr->intrinsic, arguments);
    }
    if (legal == expr->dtype && !expr->argument_count) return expr;
    return sinter_loop_expr_make(l->build.arena, &pattern);
}

sinter_expr sinter_legal_expr(sinter_legalizer *l, sinter_expr expr) {
    uint64_t known;
    if (sinter_map_find(&l->rewritten, (uintptr_t)expr, &known))
        return (sinter_expr)(uintptr_t)known;
    sinter_expr result = rewrite(l, expr);
    sinter_map_put(&l->rewritten, (uintptr_t)expr, (uintptr_t)result);
    return result;
}
