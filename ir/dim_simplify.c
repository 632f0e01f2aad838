/* The arithmetic constructors of dimensions. Each returns the simplest form it can prove equal at
 * every binding where the plain form has a value; what would overflow stays as written ("raw").
 * Test: tests/unit/dim_test.c */
#include "ir/dim_internal.h"

#include <assert.h>

/* How many differences a proof may look at as it follows the bounds of divisions and minima. */
enum { PROOF_BUDGET = 40, MAX_CHOICES = 16 };

static const dim_term one = {.coefficient = 1};
static const dim_term minus_one = {.coefficient = -1};

static dim_term constant_term(int64_t value) {
    return (dim_term){.coefficient = value};
}

static bool constant_of(const sinter_dim_table *table, sinter_dim dim, int64_t *out_value) {
    return sinter_dim_is_const(table, dim, out_value);
}

/* The operands of floordiv(x, c) (or mod) by a number; false for anything else. */
static bool match_by_constant(const sinter_dim_table *table, sinter_dim dim, sinter_dim_kind kind,
                              sinter_dim *out_x, int64_t *out_c) {
    const dim_node *node = dim_get(table, dim);
    if (node->kind != kind || !constant_of(table, node->operands[1], out_c)) return false;
    *out_x = node->operands[0];
    return *out_c > 0;
}

/* c * floordiv(x, c) is x where c is known to divide x. True where the polynomial changed. */
static bool cancel_exact_division(const sinter_dim_table *table, dim_polynomial *polynomial) {
    for (uint32_t i = 0; i < polynomial->count; i++) {
        const dim_term *term = &polynomial->terms[i];
        for (uint32_t j = 0; j < term->degree; j++) {
            sinter_dim x;
            int64_t c;
            if (!match_by_constant(table, term->factors[j], SINTER_DIM_FLOORDIV, &x, &c) ||
                term->coefficient % c != 0 || dim_get_facts(table, x).multiple % c != 0)
                continue;
            dim_term old = *term, rest = *term;
            dim_term divisor = {.coefficient = c, .degree = 1, .factors = {term->factors[j]}};
            dim_polynomial changed = *polynomial, dividend;
            if (!dim_term_divide(&old, &divisor, &rest) || old.coefficient == INT64_MIN) continue;
            old.coefficient = -old.coefficient;
            dim_to_polynomial(table, x, &dividend);
            if (!dim_polynomial_add(table, &changed, &old) ||
                !dim_polynomial_add_scaled(table, &changed, &dividend, &rest))
                continue;
            *polynomial = changed;
            return true;
        }
    }
    return false;
}

static sinter_dim finish(sinter_dim_table *table, const dim_polynomial *polynomial) {
    dim_polynomial simple = *polynomial;
    while (cancel_exact_division(table, &simple)) {
    }
    return dim_from_polynomial(table, &simple);
}

static sinter_dim keep_raw(sinter_dim_table *table, sinter_dim_kind kind, sinter_dim a,
                           sinter_dim b) {
    sinter_dim operands[] = {a, b};
    if (dim_compare(table, a, b) > 0) operands[0] = b, operands[1] = a;
    return dim_intern(table, kind, true, operands, 2);
}

/* a + scale * b; false where it does not fit. */
static bool combine(sinter_dim_table *table, sinter_dim a, const dim_term *scale, sinter_dim b,
                    dim_polynomial *out) {
    dim_polynomial other;
    dim_to_polynomial(table, a, out);
    dim_to_polynomial(table, b, &other);
    return dim_polynomial_add_scaled(table, out, &other, scale);
}

sinter_dim sinter_dim_add(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    dim_polynomial sum;
    if (!combine(table, a, &one, b, &sum)) return keep_raw(table, SINTER_DIM_ADD, a, b);
    return finish(table, &sum);
}

sinter_dim sinter_dim_sub(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    dim_polynomial difference;
    if (a == b) return sinter_dim_const(table, 0);
    if (combine(table, a, &minus_one, b, &difference)) return finish(table, &difference);
    return sinter_dim_add(table, a, sinter_dim_mul(table, b, sinter_dim_const(table, -1)));
}

sinter_dim sinter_dim_mul(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    dim_polynomial left, right, product = {0};
    dim_to_polynomial(table, a, &left);
    dim_to_polynomial(table, b, &right);
    for (uint32_t i = 0; i < left.count; i++)
        if (!dim_polynomial_add_scaled(table, &product, &right, &left.terms[i]))
            return keep_raw(table, SINTER_DIM_MUL, a, b);
    return finish(table, &product);
}

/* ---- division ---- */

static sinter_dim divide_raw(sinter_dim_table *table, sinter_dim_kind kind, sinter_dim a,
                             sinter_dim b) {
    sinter_dim operands[] = {a, b};
    return dim_intern(table, kind, false, operands, 2);
}

static bool known_nonzero(const sinter_dim_table *table, sinter_dim dim) {
    dim_facts facts = dim_get_facts(table, dim);
    return facts.min > 0 || facts.max < 0;
}

/* Greatest common divisor of c and the coefficients; of the constant term too where asked. */
static int64_t common_divisor(const dim_polynomial *polynomial, int64_t c, bool with_constant) {
    for (uint32_t i = 0; i < polynomial->count; i++)
        if (polynomial->terms[i].degree > 0 || with_constant)
            c = dim_gcd(polynomial->terms[i].coefficient, c);
    return c;
}

/* Splits a = c * quotient + rest, the constant of rest in [0, c). */
static bool split_by_constant(const sinter_dim_table *table, const dim_polynomial *a, int64_t c,
                              dim_polynomial *out_quotient, dim_polynomial *out_rest) {
    out_quotient->count = out_rest->count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        dim_term quotient = a->terms[i], rest = a->terms[i];
        if (rest.degree == 0 || rest.coefficient % c == 0) {
            quotient.coefficient = dim_floor_divide(rest.coefficient, c);
            rest.coefficient = dim_floor_modulo(rest.coefficient, c);
        } else {
            quotient.coefficient = 0;
        }
        if (!dim_polynomial_add(table, out_quotient, &quotient) ||
            !dim_polynomial_add(table, out_rest, &rest))
            return false;
    }
    return true;
}

/* floordiv(m + s, c) is floordiv(m, c) where c divides every term of m and s is in [0, c). */
static sinter_dim drop_small_rest(sinter_dim_table *table, const dim_polynomial *rest, int64_t c) {
    dim_polynomial known = {0}, other = {0};
    for (uint32_t i = 0; i < rest->count; i++) {
        dim_polynomial single = {.count = 1, .terms = {rest->terms[i]}};
        bool divisible = dim_polynomial_facts(table, &single).multiple % c == 0;
        dim_polynomial_add(table, divisible ? &known : &other, &rest->terms[i]);
    }
    dim_facts facts = dim_polynomial_facts(table, &other);
    return finish(table, facts.min >= 0 && facts.max < c ? &known : rest);
}

/* floordiv(floordiv(x, d) + k, c) is floordiv(x + k*d, d*c). */
static sinter_dim merge_nested(sinter_dim_table *table, sinter_dim a, int64_t c) {
    dim_polynomial sum;
    dim_to_polynomial(table, a, &sum);
    sinter_dim x;
    int64_t d, offset = 0, divisor;
    if (sum.count == 0 || sum.count > 2 || sum.terms[0].degree != 1 ||
        sum.terms[0].coefficient != 1 || (sum.count == 2 && sum.terms[1].degree != 0) ||
        !match_by_constant(table, sum.terms[0].factors[0], SINTER_DIM_FLOORDIV, &x, &d) ||
        __builtin_mul_overflow(d, c, &divisor) ||
        (sum.count == 2 && __builtin_mul_overflow(sum.terms[1].coefficient, d, &offset)))
        return 0;
    sinter_dim shifted = sinter_dim_add(table, x, sinter_dim_const(table, offset));
    return sinter_dim_floordiv(table, shifted, sinter_dim_const(table, divisor));
}

/* a has been split: its constant is in [0, c). */
static sinter_dim floordiv_rest(sinter_dim_table *table, dim_polynomial *rest, int64_t c) {
    int64_t divisor = common_divisor(rest, c, false);
    for (uint32_t i = 0; i < rest->count; i++)
        rest->terms[i].coefficient = dim_floor_divide(rest->terms[i].coefficient, divisor);
    if (rest->count && rest->terms[rest->count - 1].coefficient == 0) rest->count--;
    c /= divisor;
    sinter_dim a = c == 1 ? finish(table, rest) : drop_small_rest(table, rest, c);
    if (c == 1) return a;
    dim_facts facts = dim_get_facts(table, a);
    if (facts.min != INT64_MIN && facts.max != INT64_MAX) {
        int64_t low = dim_floor_divide(facts.min, c), high = dim_floor_divide(facts.max, c);
        if (low == high) return sinter_dim_const(table, low);
    }
    sinter_dim merged = merge_nested(table, a, c);
    return merged ? merged : divide_raw(table, SINTER_DIM_FLOORDIV, a, sinter_dim_const(table, c));
}

static sinter_dim floordiv_constant(sinter_dim_table *table, sinter_dim a, int64_t c) {
    dim_polynomial sum, quotient, rest;
    dim_to_polynomial(table, a, &sum);
    if (!split_by_constant(table, &sum, c, &quotient, &rest))
        return divide_raw(table, SINTER_DIM_FLOORDIV, a, sinter_dim_const(table, c));
    return sinter_dim_add(table, finish(table, &quotient), floordiv_rest(table, &rest, c));
}

/* a = b * quotient + rest where b is known not to be 0. */
static sinter_dim floordiv_symbolic(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    dim_polynomial sum, divisor, quotient, rest = {0};
    dim_to_polynomial(table, a, &sum);
    dim_to_polynomial(table, b, &divisor);
    if (dim_polynomial_divide(table, &sum, &divisor, &quotient)) return finish(table, &quotient);
    quotient.count = 0;
    for (uint32_t i = 0; i < sum.count; i++) {
        dim_term term;
        bool divides =
            divisor.count == 1 && dim_term_divide(&sum.terms[i], &divisor.terms[0], &term);
        dim_polynomial_add(table, divides ? &quotient : &rest, divides ? &term : &sum.terms[i]);
    }
    if (quotient.count) {
        sinter_dim other = sinter_dim_floordiv(table, finish(table, &rest), b);
        return sinter_dim_add(table, finish(table, &quotient), other);
    }
    sinter_dim next = sinter_dim_add(table, a, sinter_dim_const(table, 1));
    if (dim_get_facts(table, a).min >= 0 && sinter_dim_known_le(table, next, b))
        return sinter_dim_const(table, 0);
    return divide_raw(table, SINTER_DIM_FLOORDIV, a, b);
}

sinter_dim sinter_dim_floordiv(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    int64_t c;
    if (!constant_of(table, b, &c))
        return known_nonzero(table, b) ? floordiv_symbolic(table, a, b)
                                       : divide_raw(table, SINTER_DIM_FLOORDIV, a, b);
    if (c == 1) return a;
    if (c > 0) return floordiv_constant(table, a, c);
    if (c == 0 || c == INT64_MIN) return divide_raw(table, SINTER_DIM_FLOORDIV, a, b);
    sinter_dim negated = sinter_dim_mul(table, a, sinter_dim_const(table, -1));
    return sinter_dim_floordiv(table, negated, sinter_dim_const(table, -c));
}

sinter_dim sinter_dim_ceildiv(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    int64_t c;
    if (constant_of(table, b, &c) && c > 0) {
        sinter_dim up = sinter_dim_add(table, a, sinter_dim_const(table, c - 1));
        return sinter_dim_floordiv(table, up, b);
    }
    /* ceil(a / b) = -floor(-a / b), right for every sign of b */
    sinter_dim minus = sinter_dim_const(table, -1);
    sinter_dim floor = sinter_dim_floordiv(table, sinter_dim_mul(table, a, minus), b);
    return sinter_dim_mul(table, floor, minus);
}

/* Terms that c divides are dropped, coefficients brought into [0, c), mod(x, n*c) opened to x. */
static sinter_dim reduce_modulo(sinter_dim_table *table, sinter_dim a, int64_t c) {
    dim_polynomial sum, rest = {0};
    dim_to_polynomial(table, a, &sum);
    for (uint32_t i = 0; i < sum.count; i++) {
        dim_term term = sum.terms[i];
        term.coefficient = dim_floor_modulo(term.coefficient, c);
        dim_polynomial single = {.count = term.coefficient != 0, .terms = {term}}, inner;
        sinter_dim x;
        int64_t modulus;
        if (dim_polynomial_facts(table, &single).multiple % c == 0) continue;
        if (term.degree == 1 &&
            match_by_constant(table, term.factors[0], SINTER_DIM_MOD, &x, &modulus) &&
            modulus % c == 0) {
            dim_term scale = constant_term(term.coefficient);
            dim_polynomial opened = rest;
            dim_to_polynomial(table, x, &inner);
            if (dim_polynomial_add_scaled(table, &opened, &inner, &scale)) {
                rest = opened;
                continue;
            }
        }
        if (!dim_polynomial_add(table, &rest, &term)) return a;
    }
    return finish(table, &rest);
}

/* a - c * t where a stays within one period of c; 0 where that is not known. */
static sinter_dim within_period(sinter_dim_table *table, sinter_dim a, int64_t c) {
    dim_facts facts = dim_get_facts(table, a);
    if (facts.min == INT64_MIN || facts.max == INT64_MAX) return 0;
    int64_t period = dim_floor_divide(facts.min, c), offset;
    if (period != dim_floor_divide(facts.max, c) || __builtin_mul_overflow(period, c, &offset))
        return 0;
    return sinter_dim_sub(table, a, sinter_dim_const(table, offset));
}

static sinter_dim mod_constant(sinter_dim_table *table, sinter_dim a, int64_t c) {
    sinter_dim simple = within_period(table, a, c);
    if (simple) return simple;
    for (int round = 0; round < 4; round++) { /* opened moduli bring new coefficients */
        sinter_dim reduced = reduce_modulo(table, a, c);
        if (reduced == a) break;
        a = reduced;
        simple = within_period(table, a, c);
        if (simple) return simple;
    }
    dim_polynomial rest;
    dim_to_polynomial(table, a, &rest);
    int64_t divisor = common_divisor(&rest, c, true);
    for (uint32_t i = 0; i < rest.count; i++) rest.terms[i].coefficient /= divisor;
    sinter_dim inner = divide_raw(table, SINTER_DIM_MOD, finish(table, &rest),
                                  sinter_dim_const(table, c / divisor));
    return divisor == 1 ? inner : sinter_dim_mul(table, inner, sinter_dim_const(table, divisor));
}

sinter_dim sinter_dim_mod(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return 0;
    int64_t c;
    if (constant_of(table, b, &c)) {
        if (c > 0) return mod_constant(table, a, c);
        if (c == 0 || c == INT64_MIN) return divide_raw(table, SINTER_DIM_MOD, a, b);
        /* mod(a, -c) = -mod(-a, c) */
        sinter_dim minus = sinter_dim_const(table, -1);
        sinter_dim positive = mod_constant(table, sinter_dim_mul(table, a, minus), -c);
        return sinter_dim_mul(table, positive, minus);
    }
    if (!known_nonzero(table, b)) return divide_raw(table, SINTER_DIM_MOD, a, b);
    dim_polynomial sum, divisor, quotient;
    dim_to_polynomial(table, a, &sum);
    dim_to_polynomial(table, b, &divisor);
    if (dim_polynomial_divide(table, &sum, &divisor, &quotient)) return sinter_dim_const(table, 0);
    sinter_dim next = sinter_dim_add(table, a, sinter_dim_const(table, 1));
    if (dim_get_facts(table, a).min >= 0 && sinter_dim_known_le(table, next, b)) return a;
    return divide_raw(table, SINTER_DIM_MOD, a, b);
}

sinter_dim sinter_dim_divide_exact(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b || sinter_dim_is(table, b, 0)) return 0;
    if (a == b) return sinter_dim_const(table, 1);
    dim_polynomial sum, divisor, quotient;
    dim_to_polynomial(table, a, &sum);
    dim_to_polynomial(table, b, &divisor);
    if (dim_polynomial_divide(table, &sum, &divisor, &quotient)) return finish(table, &quotient);
    int64_t c;
    if (constant_of(table, b, &c) && c != INT64_MIN && dim_get_facts(table, a).multiple % c == 0)
        return sinter_dim_floordiv(table, a, b);
    const dim_node *node = dim_get(table, a);
    if (node->raw && node->kind == SINTER_DIM_MUL) /* one factor of a product too large to spread */
        for (uint32_t i = 0; i < 2; i++)
            if (node->operands[i] == b) return node->operands[1 - i];
    return 0;
}

/* ---- order ---- */

static bool known_nonnegative(sinter_dim_table *table, const dim_polynomial *difference,
                              int *budget);

/* factor * difference with `atom` (the sole factor of term `index`) replaced by `bound`, the
 * divisor of whose denominators is `factor`. */
static bool nonnegative_with(sinter_dim_table *table, const dim_polynomial *difference,
                             uint32_t index, sinter_dim bound, int64_t factor, int *budget) {
    dim_polynomial changed = {0}, replacement;
    dim_term scale = constant_term(factor);
    dim_polynomial others = *difference;
    dim_term term = difference->terms[index];
    others.count--;
    for (uint32_t i = index; i < others.count; i++) others.terms[i] = difference->terms[i + 1];
    dim_to_polynomial(table, bound, &replacement);
    dim_term coefficient = constant_term(term.coefficient);
    return dim_polynomial_add_scaled(table, &changed, &others, &scale) &&
           dim_polynomial_add_scaled(table, &changed, &replacement, &coefficient) &&
           known_nonnegative(table, &changed, budget);
}

/* Whether the difference is >= 0 by what bounds the atom of term `index` from the needed side:
 * c * floordiv(x, c) lies in [x - c + 1, x]; a minimum is below, a maximum above its operands. */
static bool nonnegative_by_atom(sinter_dim_table *table, const dim_polynomial *difference,
                                uint32_t index, int *budget) {
    const dim_term *term = &difference->terms[index];
    if (term->degree != 1) return false;
    bool from_above = term->coefficient < 0; /* the difference falls as the atom grows */
    const dim_node node = *dim_get(table, term->factors[0]);
    sinter_dim x;
    int64_t c;
    switch (node.kind) {
    case SINTER_DIM_FLOORDIV:
        if (!match_by_constant(table, term->factors[0], SINTER_DIM_FLOORDIV, &x, &c)) return false;
        if (!from_above) x = sinter_dim_add(table, x, sinter_dim_const(table, 1 - c));
        return nonnegative_with(table, difference, index, x, c, budget);
    case SINTER_DIM_MIN:
    case SINTER_DIM_MAX: {
        /* min from above (max from below): either operand bounds it; else both must do. */
        bool either = (node.kind == SINTER_DIM_MIN) == from_above;
        bool first = nonnegative_with(table, difference, index, node.operands[0], 1, budget);
        if (first == either) return first;
        return nonnegative_with(table, difference, index, node.operands[1], 1, budget);
    }
    case SINTER_DIM_SELECT:
        return nonnegative_with(table, difference, index, node.operands[1], 1, budget) &&
               nonnegative_with(table, difference, index, node.operands[2], 1, budget);
    default:
        return false;
    }
}

static bool known_nonnegative(sinter_dim_table *table, const dim_polynomial *difference,
                              int *budget) {
    if (dim_polynomial_facts(table, difference).min >= 0) return true;
    if (--*budget <= 0) return false;
    for (uint32_t i = 0; i < difference->count; i++)
        if (nonnegative_by_atom(table, difference, i, budget)) return true;
    return false;
}

bool sinter_dim_known_le(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    if (!a || !b) return false;
    if (a == b || dim_get_facts(table, a).max <= dim_get_facts(table, b).min) return true;
    dim_polynomial difference;
    int budget = PROOF_BUDGET;
    return combine(table, b, &minus_one, a, &difference) &&
           known_nonnegative(table, &difference, &budget);
}

/* ---- choices ---- */

typedef struct choice_list {
    sinter_dim items[MAX_CHOICES];
    uint32_t count;
} choice_list;

/* The operands of nested minima (or maxima); false where there are too many. */
static bool flatten(const sinter_dim_table *table, sinter_dim_kind kind, sinter_dim dim,
                    choice_list *list) {
    const dim_node *node = dim_get(table, dim);
    if (node->kind == kind)
        return flatten(table, kind, node->operands[0], list) &&
               flatten(table, kind, node->operands[1], list);
    if (list->count == MAX_CHOICES) return false;
    list->items[list->count++] = dim;
    return true;
}

/* Adds an item unless another makes it irrelevant; drops those it makes irrelevant. */
static void add_choice(sinter_dim_table *table, sinter_dim_kind kind, choice_list *list,
                       sinter_dim item) {
    bool is_min = kind == SINTER_DIM_MIN;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        sinter_dim other = list->items[i];
        if (sinter_dim_known_le(table, is_min ? other : item, is_min ? item : other)) return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        sinter_dim other = list->items[i];
        if (!sinter_dim_known_le(table, is_min ? item : other, is_min ? other : item))
            list->items[kept++] = other;
    }
    uint32_t place = kept;
    while (place && dim_compare(table, list->items[place - 1], item) > 0) {
        list->items[place] = list->items[place - 1];
        place--;
    }
    list->items[place] = item;
    list->count = kept + 1;
}

static sinter_dim choose(sinter_dim_table *table, sinter_dim_kind kind, sinter_dim a,
                         sinter_dim b) {
    if (!a || !b) return 0;
    choice_list all = {0}, list = {0};
    if (!flatten(table, kind, a, &all) || !flatten(table, kind, b, &all))
        return divide_raw(table, kind, a, b);
    for (uint32_t i = 0; i < all.count; i++) add_choice(table, kind, &list, all.items[i]);
    sinter_dim result = list.items[0];
    for (uint32_t i = 1; i < list.count; i++)
        result = divide_raw(table, kind, result, list.items[i]);
    return result;
}

sinter_dim sinter_dim_min(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    return choose(table, SINTER_DIM_MIN, a, b);
}

sinter_dim sinter_dim_max(sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    return choose(table, SINTER_DIM_MAX, a, b);
}

sinter_dim sinter_dim_select(sinter_dim_table *table, sinter_dim c, sinter_dim a, sinter_dim b) {
    if (!c || !a || !b) return 0;
    if (a == b || sinter_dim_known_le(table, sinter_dim_const(table, 0), c)) return a;
    if (sinter_dim_known_le(table, c, sinter_dim_const(table, -1))) return b;
    sinter_dim operands[] = {c, a, b};
    return dim_intern(table, SINTER_DIM_SELECT, false, operands, 3);
}
