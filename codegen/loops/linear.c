/* Sums of products of i64 expressions (see linear.h), and the ranges that follow from those of
 * the variables. Needs: well-typed expressions. Guarantees: building a form and taking it apart
 * again gives the same form. Test: tests/unit/loop_test.c */
#include "codegen/loops/linear.h"

#include <string.h>

static int64_t wrap_add(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static int64_t wrap_mul(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

int64_t sinter_linear_gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t next = a % b;
        a = b;
        b = next;
    }
    return a < 0 ? -a : a;
}

static uint64_t payload(sinter_expr expr) {
    switch (expr->kind) {
    case SINTER_LOOP_CONST:
        return (uint64_t)expr->int_value; /* floats by their bits */
    case SINTER_LOOP_VAR:
        return expr->var;
    case SINTER_LOOP_LOAD:
        return expr->buffer;
    case SINTER_LOOP_CALL:
        return (uint64_t)expr->function;
    case SINTER_LOOP_CAST:
        return expr->saturate;
    case SINTER_LOOP_INTRINSIC:
        return (uint64_t)expr->intrinsic;
    }
    return 0;
}

int sinter_linear_compare(sinter_expr a, sinter_expr b) {
    if (a == b) return 0;
    if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
    if (a->dtype != b->dtype) return a->dtype < b->dtype ? -1 : 1;
    uint64_t payload_a = payload(a), payload_b = payload(b);
    if (payload_a != payload_b) return payload_a < payload_b ? -1 : 1;
    if (a->argument_count != b->argument_count)
        return a->argument_count < b->argument_count ? -1 : 1;
    for (uint32_t i = 0; i < a->argument_count; i++) {
        int order = sinter_linear_compare(a->arguments[i], b->arguments[i]);
        if (order) return order;
    }
    return 0;
}

static int compare_factors(const sinter_linear_term *a, const sinter_linear_term *b) {
    for (uint32_t i = 0; i < a->count && i < b->count; i++) {
        int order = sinter_linear_compare(a->factors[i], b->factors[i]);
        if (order) return order;
    }
    return a->count < b->count ? -1 : a->count > b->count;
}

static bool add_term(sinter_linear *linear, const sinter_linear_term *term, int64_t scale) {
    int64_t coefficient = wrap_mul(term->coefficient, scale);
    if (!coefficient) return true;
    for (uint32_t i = 0; i < linear->count; i++) {
        sinter_linear_term *other = &linear->terms[i];
        if (compare_factors(other, term)) continue;
        other->coefficient = wrap_add(other->coefficient, coefficient);
        if (!other->coefficient) {
            memmove(other, other + 1, (linear->count - i - 1) * sizeof *other);
            linear->count--;
        }
        return true;
    }
    if (linear->count == SINTER_LINEAR_MAX_TERMS) return false;
    linear->terms[linear->count] = *term;
    linear->terms[linear->count++].coefficient = coefficient;
    return true;
}

bool sinter_linear_accumulate(sinter_linear *target, const sinter_linear *source, int64_t scale) {
    for (uint32_t i = 0; i < source->count; i++)
        if (!add_term(target, &source->terms[i], scale)) return false;
    target->constant = wrap_add(target->constant, wrap_mul(source->constant, scale));
    return true;
}

static void insert_factor(sinter_linear_term *term, sinter_expr factor) {
    uint32_t at = term->count++;
    for (; at && sinter_linear_compare(term->factors[at - 1], factor) > 0; at--)
        term->factors[at] = term->factors[at - 1];
    term->factors[at] = factor;
}

static bool is_single_product(const sinter_linear *linear) {
    return linear->count == 1 && linear->constant == 0;
}

/* False where it does not fit or where neither is a number or both are a single product. */
static bool multiply(const sinter_linear *a, const sinter_linear *b, sinter_linear *out_product) {
    *out_product = (sinter_linear){0};
    if (a->count == 0) return sinter_linear_accumulate(out_product, b, a->constant);
    if (b->count == 0) return sinter_linear_accumulate(out_product, a, b->constant);
    if (!is_single_product(a) || !is_single_product(b)) return false;
    sinter_linear_term term = a->terms[0];
    if (term.count + b->terms[0].count > SINTER_LINEAR_MAX_FACTORS) return false;
    for (uint32_t i = 0; i < b->terms[0].count; i++) insert_factor(&term, b->terms[0].factors[i]);
    return add_term(out_product, &term, b->terms[0].coefficient);
}

static void set_atom(sinter_expr expr, sinter_linear *out_linear) {
    out_linear->constant = 0;
    out_linear->count = 1;
    out_linear->terms[0] = (sinter_linear_term){.coefficient = 1, .count = 1, .factors = {expr}};
}

/* A sum times something that is no number is not expanded, which would repeat work: it is one
 * product of factors. */
static bool multiply_sums(sinter_expr expr, const sinter_linear *a, const sinter_linear *b,
                          sinter_linear *out_linear) {
    if (multiply(a, b, out_linear)) return true;
    sinter_linear factors[2];
    if (is_single_product(a))
        factors[0] = *a;
    else
        set_atom(expr->arguments[0], &factors[0]);
    if (is_single_product(b))
        factors[1] = *b;
    else
        set_atom(expr->arguments[1], &factors[1]);
    return multiply(&factors[0], &factors[1], out_linear);
}

static bool linear_of_call(sinter_expr expr, sinter_linear *out_linear) {
    sinter_linear a, b;
    sinter_linear_of(expr->arguments[0], &a);
    if (expr->function == SINTER_SCALAR_neg) {
        *out_linear = (sinter_linear){0};
        return sinter_linear_accumulate(out_linear, &a, -1);
    }
    sinter_linear_of(expr->arguments[1], &b);
    if (expr->function == SINTER_SCALAR_mul) return multiply_sums(expr, &a, &b, out_linear);
    *out_linear = a;
    return sinter_linear_accumulate(out_linear, &b, expr->function == SINTER_SCALAR_sub ? -1 : 1);
}

bool sinter_linear_of(sinter_expr expr, sinter_linear *out_linear) {
    if (expr->kind == SINTER_LOOP_CONST) {
        out_linear->count = 0;
        out_linear->constant = expr->int_value;
        return true;
    }
    bool is_sum = expr->kind == SINTER_LOOP_CALL && expr->dtype == SINTER_DTYPE_i64 &&
                  (expr->function == SINTER_SCALAR_add || expr->function == SINTER_SCALAR_sub ||
                   expr->function == SINTER_SCALAR_mul || expr->function == SINTER_SCALAR_neg);
    bool fits = !is_sum || linear_of_call(expr, out_linear);
    if (!is_sum || !fits) set_atom(expr, out_linear);
    return fits;
}

static sinter_expr make_int(sinter_arena *arena, int64_t value) {
    sinter_loop_expr pattern = {
        .kind = SINTER_LOOP_CONST, .dtype = SINTER_DTYPE_i64, .int_value = value};
    return sinter_loop_expr_make(arena, &pattern);
}

static sinter_expr make_call(sinter_arena *arena, sinter_scalar_function function, sinter_expr a,
                             sinter_expr b) {
    sinter_expr arguments[2] = {a, b};
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CALL,
                                .dtype = SINTER_DTYPE_i64,
                                .function = function,
                                .arguments = arguments,
                                .argument_count = b ? 2 : 1};
    return sinter_loop_expr_make(arena, &pattern);
}

static uint64_t magnitude(int64_t value) {
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

/* Products of more factors are larger strides, then larger coefficients. */
static int compare_terms(const sinter_linear_term *a, const sinter_linear_term *b) {
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    uint64_t size_a = magnitude(a->coefficient), size_b = magnitude(b->coefficient);
    if (size_a != size_b) return size_a > size_b ? -1 : 1;
    return compare_factors(a, b);
}

static sinter_expr build_product(sinter_arena *arena, const sinter_linear_term *term,
                                 int64_t coefficient) {
    sinter_expr product = term->factors[0];
    for (uint32_t i = 1; i < term->count; i++)
        product = make_call(arena, SINTER_SCALAR_mul, product, term->factors[i]);
    if (coefficient == 1) return product;
    return make_call(arena, SINTER_SCALAR_mul, product, make_int(arena, coefficient));
}

sinter_expr sinter_linear_build(sinter_arena *arena, const sinter_linear *linear) {
    const sinter_linear_term *order[SINTER_LINEAR_MAX_TERMS];
    for (uint32_t i = 0; i < linear->count; i++) {
        uint32_t at = i;
        for (; at && compare_terms(order[at - 1], &linear->terms[i]) > 0; at--)
            order[at] = order[at - 1];
        order[at] = &linear->terms[i];
    }
    int64_t constant = linear->constant;
    sinter_expr sum = NULL;
    for (uint32_t i = 0; i < linear->count; i++) {
        if (order[i]->coefficient < 0) continue;
        sinter_expr product = build_product(arena, order[i], order[i]->coefficient);
        sum = sum ? make_call(arena, SINTER_SCALAR_add, sum, product) : product;
    }
    if (!sum && (constant || !linear->count)) {
        sum = make_int(arena, constant);
        constant = 0;
    }
    for (uint32_t i = 0; i < linear->count; i++) {
        int64_t coefficient = order[i]->coefficient;
        if (coefficient > 0) continue;
        if (coefficient == -1 && !sum)
            sum = make_call(arena, SINTER_SCALAR_neg, build_product(arena, order[i], 1), NULL);
        else if (!sum || coefficient == INT64_MIN) {
            sinter_expr product = build_product(arena, order[i], coefficient);
            sum = sum ? make_call(arena, SINTER_SCALAR_add, sum, product) : product;
        } else
            sum = make_call(arena, SINTER_SCALAR_sub, sum,
                            build_product(arena, order[i], -coefficient));
    }
    if (constant > 0) return make_call(arena, SINTER_SCALAR_add, sum, make_int(arena, constant));
    if (constant == INT64_MIN)
        return make_call(arena, SINTER_SCALAR_add, sum, make_int(arena, constant));
    if (constant < 0) return make_call(arena, SINTER_SCALAR_sub, sum, make_int(arena, -constant));
    return sum;
}

/* ---- ranges ---- */

typedef sinter_interval range;
static const range everything = {INT64_MIN, INT64_MAX};

bool sinter_interval_add(range a, range b, range *out) {
    return !__builtin_add_overflow(a.min, b.min, &out->min) &&
           !__builtin_add_overflow(a.max, b.max, &out->max);
}

bool sinter_interval_mul(range a, range b, range *out) {
    int64_t products[4];
    if (__builtin_mul_overflow(a.min, b.min, &products[0]) ||
        __builtin_mul_overflow(a.min, b.max, &products[1]) ||
        __builtin_mul_overflow(a.max, b.min, &products[2]) ||
        __builtin_mul_overflow(a.max, b.max, &products[3]))
        return false;
    *out = (range){products[0], products[0]};
    for (int i = 1; i < 4; i++) {
        if (products[i] < out->min) out->min = products[i];
        if (products[i] > out->max) out->max = products[i];
    }
    return true;
}

static bool range_of(const sinter_loop_function *function, sinter_expr expr, range *out);

bool sinter_linear_range(const sinter_loop_function *function, const sinter_linear *linear,
                         int64_t *out_min, int64_t *out_max) {
    range sum = {linear->constant, linear->constant};
    bool known = true;
    for (uint32_t i = 0; known && i < linear->count; i++) {
        const sinter_linear_term *term = &linear->terms[i];
        range product = {term->coefficient, term->coefficient};
        for (uint32_t k = 0; known && k < term->count; k++) {
            range factor;
            known = range_of(function, term->factors[k], &factor) &&
                    sinter_interval_mul(product, factor, &product);
        }
        known = known && sinter_interval_add(sum, product, &sum);
    }
    if (!known) sum = everything;
    *out_min = sum.min;
    *out_max = sum.max;
    return known;
}

range sinter_interval_of_dtype(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_BOOL) return (range){0, 1};
    if (info->bits >= 64) return everything;
    int64_t span = (int64_t)1 << (info->bits - (info->class == SINTER_CLASS_INT));
    if (info->class == SINTER_CLASS_INT) return (range){-span, span - 1};
    if (info->class == SINTER_CLASS_UINT) return (range){0, span - 1};
    return everything;
}

static bool is_whole(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].class == SINTER_CLASS_BOOL || sinter_dtype_is_integer(dtype);
}

bool sinter_interval_inside(range inner, range outer) {
    return inner.min >= outer.min && inner.max <= outer.max;
}

static bool range_of_quotient(sinter_scalar_function function, range a, range b, range *out) {
    if (b.min < 1 || a.min == INT64_MIN) return false;
    bool remainder = function == SINTER_SCALAR_rem || function == SINTER_SCALAR_floormod;
    int64_t top = b.max - 1; /* largest remainder */
    if (a.min >= 0) {
        if (remainder) /* what is below every divisor stays as it is */
            *out = a.max < b.min ? a : (range){0, a.max < top ? a.max : top};
        else
            *out = (range){a.min / b.max, a.max / b.min};
        return true;
    }
    if (function == SINTER_SCALAR_floormod)
        *out = (range){0, top};
    else if (remainder)
        *out = (range){-top > a.min ? -top : a.min, a.max < 0 ? 0 : a.max < top ? a.max : top};
    else if (function == SINTER_SCALAR_div)
        *out = (range){a.min / b.min, a.max < 0 ? a.max / b.max : a.max / b.min};
    else
        *out = (range){a.min / b.min - (a.min % b.min != 0), a.max < 0 ? -1 : a.max / b.min};
    return true;
}

static bool range_of_call(const sinter_loop_function *function, sinter_expr expr, range *out) {
    range a, b = everything;
    uint32_t first = expr->function == SINTER_SCALAR_select ? 1 : 0;
    bool known = range_of(function, expr->arguments[first], &a);
    bool known_b =
        expr->argument_count > first + 1 && range_of(function, expr->arguments[first + 1], &b);
    switch (expr->function) {
    case SINTER_SCALAR_add:
        return known && known_b && sinter_interval_add(a, b, out);
    case SINTER_SCALAR_mul:
        return known && known_b && sinter_interval_mul(a, b, out);
    case SINTER_SCALAR_sub:
        return known && known_b && b.min != INT64_MIN &&
               sinter_interval_add(a, (range){-b.max, -b.min}, out);
    case SINTER_SCALAR_neg:
        if (!known || a.min == INT64_MIN) return false;
        *out = (range){-a.max, -a.min};
        return true;
    case SINTER_SCALAR_div:
    case SINTER_SCALAR_rem:
    case SINTER_SCALAR_floordiv:
    case SINTER_SCALAR_floormod: /* of something unknown too: a number mod 4 lies in -3..3 */
        return known_b &&
               range_of_quotient(expr->function, known ? a : (range){-INT64_MAX, INT64_MAX}, b,
                                 out) &&
               (known || expr->function == SINTER_SCALAR_rem ||
                expr->function == SINTER_SCALAR_floormod);
    case SINTER_SCALAR_min:
        *out = (range){a.min < b.min ? a.min : b.min, a.max < b.max ? a.max : b.max};
        return known || known_b;
    case SINTER_SCALAR_max:
        *out = (range){a.min > b.min ? a.min : b.min, a.max > b.max ? a.max : b.max};
        return known || known_b;
    case SINTER_SCALAR_select:
        *out = (range){a.min < b.min ? a.min : b.min, a.max > b.max ? a.max : b.max};
        return known && known_b;
    case SINTER_SCALAR_and: /* a mask clears the sign and the upper bits */
        if (known && a.min >= 0)
            *out = (range){0, known_b && b.min >= 0 && b.max < a.max ? b.max : a.max};
        else if (known_b && b.min >= 0)
            *out = (range){0, b.max};
        else
            return false;
        return true;
    default:
        return false;
    }
}

/* False: nothing better than what the type holds, which *out then is. */
static bool range_of(const sinter_loop_function *function, sinter_expr expr, range *out) {
    range whole = is_whole(expr->dtype) ? sinter_interval_of_dtype(expr->dtype) : everything;
    bool narrow = whole.max != INT64_MAX;
    range found = whole;
    bool known = false;
    if (is_whole(expr->dtype) && expr->dtype != SINTER_DTYPE_u64) {
        if (expr->kind == SINTER_LOOP_CONST) {
            found = (range){expr->int_value, expr->int_value};
            known = true;
        } else if (expr->kind == SINTER_LOOP_VAR) {
            const sinter_loop_var_info *info = &function->vars.items[expr->var];
            found = (range){info->min, info->max};
            known = info->min != INT64_MIN || info->max != INT64_MAX;
        } else if (expr->kind == SINTER_LOOP_CAST && is_whole(expr->arguments[0]->dtype) &&
                   expr->arguments[0]->dtype != SINTER_DTYPE_u64) {
            known = range_of(function, expr->arguments[0], &found);
        } else if (expr->kind == SINTER_LOOP_CALL) {
            sinter_linear sum;
            bool is_sum = expr->dtype == SINTER_DTYPE_i64 && sinter_linear_of(expr, &sum) &&
                          !(is_single_product(&sum) && sum.terms[0].count == 1 &&
                            sum.terms[0].factors[0] == expr);
            known = is_sum ? sinter_linear_range(function, &sum, &found.min, &found.max)
                           : range_of_call(function, expr, &found);
        }
    }
    *out = known && sinter_interval_inside(found, whole) ? found : whole;
    return known ? sinter_interval_inside(found, whole) || narrow : narrow;
}

bool sinter_loop_range(const sinter_loop_function *function, sinter_expr expr, int64_t *out_min,
                       int64_t *out_max) {
    range found;
    bool known = range_of(function, expr, &found);
    *out_min = found.min;
    *out_max = found.max;
    return known;
}

/* Of an expression that is to be no more than a limit. */
typedef struct limit {
    const sinter_loop_function *function;
    int64_t most;
    const sinter_linear *spare; /* never negative: it may be added; NULL: none */
} limit;

static bool is_within(const limit *l, const sinter_linear *sum) {
    int64_t min, max;
    sinter_linear more = *sum;
    return (sinter_linear_range(l->function, sum, &min, &max) && max <= l->most) ||
           (l->spare && sinter_linear_accumulate(&more, l->spare, 1) &&
            sinter_linear_range(l->function, &more, &min, &max) && max <= l->most);
}

static bool at_most(const limit *l, const sinter_linear *sum, uint32_t depth);

/* The same with each of the two in the place of a term; one is enough where the term is no more than either. */
static bool either_at_most(const limit *l, const sinter_linear *sum, uint32_t term,
                           uint32_t depth) {
    sinter_expr choice = sum->terms[term].factors[0];
    bool both = choice->function == SINTER_SCALAR_select ||
                (choice->function == SINTER_SCALAR_max) == (sum->terms[term].coefficient > 0);
    bool holds = both;
    for (uint32_t i = choice->argument_count - 2; i < choice->argument_count && holds == both;
         i++) {
        sinter_linear other = *sum, part;
        other.terms[term] = other.terms[--other.count];
        holds = sinter_linear_of(choice->arguments[i], &part) &&
                sinter_linear_accumulate(&other, &part, sum->terms[term].coefficient) &&
                at_most(l, &other, depth);
    }
    return holds;
}

/* With x - x % c in the place of x / c * c, where the remainder adds as much as it can. */
static bool multiple_at_most(const limit *l, const sinter_linear *sum, uint32_t term,
                             uint32_t depth) {
    sinter_linear other = *sum, part;
    const sinter_linear_term *whole = &sum->terms[term];
    const sinter_expr *arguments = whole->factors[0]->arguments;
    int64_t divisor, min, max, added;
    if (!sinter_loop_is_const_int(arguments[1], &divisor) || divisor < 1 ||
        whole->coefficient % divisor)
        return false;
    int64_t times = whole->coefficient / divisor;
    bool negative = !sinter_loop_range(l->function, arguments[0], &min, &max) || min < 0;
    other.terms[term] = other.terms[--other.count];
    if (__builtin_mul_overflow(times < 0 || negative ? divisor - 1 : 0, times < 0 ? -times : times,
                               &added) ||
        __builtin_add_overflow(other.constant, added, &other.constant))
        return false;
    return sinter_linear_of(arguments[0], &part) &&
           sinter_linear_accumulate(&other, &part, times) && at_most(l, &other, depth);
}

static bool at_most(const limit *l, const sinter_linear *sum, uint32_t depth) {
    if (is_within(l, sum)) return true;
    for (uint32_t i = 0; i < sum->count && depth; i++) {
        sinter_expr factor = sum->terms[i].factors[0];
        bool chooses =
            sum->terms[i].count == 1 && factor->kind == SINTER_LOOP_CALL &&
            (factor->function == SINTER_SCALAR_select || factor->function == SINTER_SCALAR_min ||
             factor->function == SINTER_SCALAR_max);
        bool divides = sum->terms[i].count == 1 && factor->kind == SINTER_LOOP_CALL &&
                       factor->function == SINTER_SCALAR_div;
        if (chooses && either_at_most(l, sum, i, depth - 1)) return true;
        if (divides && multiple_at_most(l, sum, i, depth - 1)) return true;
    }
    return false;
}

bool sinter_linear_at_most(const sinter_loop_function *function, sinter_expr expr, int64_t most,
                           sinter_expr spare) {
    enum { MOST_CHOICES = 6 };
    sinter_linear sum, more;
    limit l = {function, most, NULL};
    if (spare && sinter_linear_of(spare, &more)) l.spare = &more;
    return expr->dtype == SINTER_DTYPE_i64 && sinter_linear_of(expr, &sum) &&
           at_most(&l, &sum, MOST_CHOICES);
}

bool sinter_linear_is_size(const sinter_loop_function *function, sinter_expr expr) {
    sinter_linear sum;
    int64_t min, max;
    if (sinter_loop_range(function, expr, &min, &max) && min >= 0) return true;
    if (expr->dtype != SINTER_DTYPE_i64 || !sinter_linear_of(expr, &sum) || sum.constant < 0)
        return false;
    for (uint32_t i = 0; i < sum.count; i++) {
        if (sum.terms[i].coefficient < 0) return false;
        for (uint32_t k = 0; k < sum.terms[i].count; k++)
            if (!sinter_loop_range(function, sum.terms[i].factors[k], &min, &max) || min < 0)
                return false;
    }
    return true;
}
