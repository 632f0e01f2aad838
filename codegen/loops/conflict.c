/* See conflict.h.
 *
 * Two accesses of one buffer at iterations v and v' of a loop cannot meet where some dim keeps them apart: written as
 * C*v + r and C*v' + r', the difference r' - r stays below the |C|*step that different iterations are apart at least. r is
 * bounded by putting the first or last value for every variable that may differ between the two, so the bounds are
 * expressions of what both have in common, and the proof is that their difference is a number or has a range.
 * Terms that count for more than all others together are told apart one by one, as digits are; dims and digits that divide
 * one value, i/c and i%c, are taken together as i. The last value of a variable is its loop's or its guard's. */
#include "codegen/loops/conflict.h"
#include "codegen/loops/linear.h"

/* ---- what may differ between two iterations ---- */

void sinter_loop_mark_declared(sinter_loop_comparison *c, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_DECLARE)
            c->differs[stmt->var] = true;
        if (sinter_loop_assigns(stmt)) c->assigned[stmt->var] = true;
        if (stmt->kind == SINTER_LOOP_ALLOC) c->declared[stmt->buffer] = true;
        sinter_loop_mark_declared(c, stmt->body);
        sinter_loop_mark_declared(c, stmt->else_body);
    }
}

static bool may_differ(const sinter_loop_comparison *c, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) return true;
    if (expr->kind == SINTER_LOOP_VAR) return c->differs[expr->var] || c->assigned[expr->var];
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (may_differ(c, expr->arguments[i])) return true;
    return false;
}

/* Some loop variable in the expression that may differ; the one nested deepest has the largest id of the loops that
 * its bounds can speak of, and wrong guesses only cost more rounds. */
static sinter_loop_var find_differing_loop(const sinter_loop_comparison *c, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_VAR) {
        const sinter_loop_stmt *stmt = c->scopes->vars[expr->var];
        return c->differs[expr->var] && stmt && stmt->kind == SINTER_LOOP_FOR ? expr->var : 0;
    }
    sinter_loop_var found = 0;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        sinter_loop_var other = find_differing_loop(c, expr->arguments[i]);
        if (other > found) found = other;
    }
    return found;
}

/* The largest value of a loop variable for which the loop does anything, where a condition says it, as that of masked tails
 * does: for v { if v + rest < limit { ... } }. */
static bool guarded_last(const sinter_loop_comparison *c, const sinter_loop_stmt *loop,
                         sinter_expr *out_last) {
    sinter_loop_scopes *s = c->scopes;
    const sinter_loop_stmt *guard = s->guards[loop->var];
    if (!guard) return false;
    sinter_expr condition = guard->value, coefficient, rest;
    int64_t times;
    if (condition->kind != SINTER_LOOP_CALL || condition->function != SINTER_SCALAR_lt ||
        condition->arguments[0]->dtype != SINTER_DTYPE_i64 || sinter_loop_expr_loads(condition, 0))
        return false;
    sinter_expr left = sinter_loop_map_expr(&s->lets, condition->arguments[0]);
    sinter_expr limit = sinter_loop_map_expr(&s->lets, condition->arguments[1]);
    if (!sinter_loop_affine(&s->builder, left, loop->var, &coefficient, &rest) ||
        !sinter_loop_is_const_int(coefficient, &times) || times != 1)
        return false;
    sinter_expr beyond = sinter_loop_sub(&s->builder, limit, rest);
    *out_last = sinter_loop_sub(&s->builder, beyond, sinter_loop_int(&s->builder, 1));
    return true;
}

/* The first or last value of a loop variable, or upper - 1 where the last is not known: no iteration exceeds it. */
static sinter_expr extreme_value(const sinter_loop_comparison *c, sinter_loop_var var, bool last) {
    const sinter_loop_stmt *loop = c->scopes->vars[var];
    sinter_loop_scopes *s = c->scopes;
    int64_t lower, count;
    sinter_expr guarded;
    if (last && c->guards && guarded_last(c, loop, &guarded)) return guarded;
    if (last && sinter_loop_is_const_int(loop->lower, &lower) &&
        sinter_loop_trip_count(loop, &count) && count > 0)
        return sinter_loop_int(&s->builder, lower + (count - 1) * loop->step);
    sinter_expr bound = sinter_loop_map_expr(&s->lets, last ? loop->upper : loop->lower);
    return last ? sinter_loop_sub(&s->builder, bound, sinter_loop_int(&s->builder, 1)) : bound;
}

/* ---- bounds ---- */

static bool is_not_negative(const sinter_loop_comparison *c, sinter_expr expr, uint32_t depth);

/* A term that is a number times x / k, where x is not negative. */
static bool is_quotient(const sinter_loop_comparison *c, const sinter_linear_term *term,
                        uint32_t depth, int64_t *out_divisor) {
    sinter_expr factor = term->factors[0];
    return term->count == 1 && factor->kind == SINTER_LOOP_CALL &&
           factor->function == SINTER_SCALAR_div &&
           sinter_loop_is_const_int(factor->arguments[1], out_divisor) && *out_divisor >= 1 &&
           is_not_negative(c, factor->arguments[0], depth + 1);
}

/* Divisions give way to what they divide: k * (x / k) is x at most, which other terms may cancel, as those of tiles and of what is left
 * over do: those first that divide the most terms, since the others are among these. What is left is not negative. An upper (or lower)
 * bound of the sum; false: there was nothing to do. */
static bool loosen(const sinter_loop_comparison *c, sinter_linear *sum, bool upper,
                   uint32_t depth) {
    enum { MOST = 4 };
    sinter_linear best;
    uint32_t most = 0;
    for (uint32_t i = 0; i < sum->count && depth < MOST; i++) {
        const sinter_linear_term *term = &sum->terms[i];
        bool replaced = (term->coefficient > 0) == upper;
        int64_t divisor;
        sinter_linear divided, rest = *sum;
        if (!is_quotient(c, term, depth, &divisor)) continue;
        rest.terms[i] = rest.terms[--rest.count];
        bool better = replaced && term->coefficient % divisor == 0 &&
                      sinter_linear_of(term->factors[0]->arguments[0], &divided) &&
                      divided.count + 1 > most &&
                      sinter_linear_accumulate(&rest, &divided, term->coefficient / divisor);
        if (!better && (replaced || most)) continue;
        best = rest;
        most = replaced ? divided.count + 1 : 1;
    }
    if (most) *sum = best;
    return most > 0;
}

/* The tightest number that is known to bound the sum. */
static bool bound_by_number(const sinter_loop_comparison *c, const sinter_linear *sum, bool upper,
                            uint32_t depth, int64_t *out_bound) {
    enum { ROUNDS = 8 };
    sinter_linear looser = *sum;
    bool found = false;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t min, max;
        if (sinter_linear_range(c->scopes->function, &looser, &min, &max)) {
            int64_t end = upper ? max : min;
            if (!found || (upper ? end < *out_bound : end > *out_bound)) *out_bound = end;
            found = true;
        }
        if (!loosen(c, &looser, upper, depth)) break;
    }
    return found;
}

static bool is_not_negative(const sinter_loop_comparison *c, sinter_expr expr, uint32_t depth) {
    sinter_linear sum;
    int64_t least;
    return sinter_linear_of(expr, &sum) && bound_by_number(c, &sum, false, depth, &least) &&
           least >= 0;
}

/* Terms that are not affine in what may differ become a number, where their range is known. */
static bool bound_terms(const sinter_loop_comparison *c, sinter_expr *expr, bool upper) {
    sinter_linear sum, fixed = {0}, moving = {0};
    int64_t end = 0;
    sinter_linear_of(*expr, &sum);
    fixed.constant = sum.constant;
    for (uint32_t i = 0; i < sum.count; i++) {
        bool differs = false;
        for (uint32_t k = 0; k < sum.terms[i].count; k++)
            differs |= may_differ(c, sum.terms[i].factors[k]);
        sinter_linear *to = differs ? &moving : &fixed;
        to->terms[to->count++] = sum.terms[i];
    }
    if (moving.count && !bound_by_number(c, &moving, upper, 0, &end)) return false;
    if (__builtin_add_overflow(fixed.constant, end, &fixed.constant)) return false;
    *expr = sinter_linear_build(c->scopes->builder.arena, &fixed);
    return true;
}

/* a * b, multiplied out over the terms of b, so that products of dims cancel. */
static sinter_expr multiply_out(sinter_loop_builder *builder, sinter_expr a, sinter_expr b) {
    sinter_linear sum;
    if (!sinter_linear_of(b, &sum)) return sinter_loop_mul(builder, a, b);
    sinter_expr total = sinter_loop_mul(builder, a, sinter_loop_int(builder, sum.constant));
    for (uint32_t i = 0; i < sum.count; i++) {
        sinter_linear term = {.count = 1, .terms = {sum.terms[i]}};
        total = sinter_loop_add(
            builder, total,
            sinter_loop_mul(builder, a, sinter_linear_build(builder->arena, &term)));
    }
    return total;
}

/* What `left` has to be multiplied by so that its term meets one of the sum; NULL: nothing. */
static sinter_expr find_scale(const sinter_loop_comparison *c, const sinter_linear_term *of,
                              const sinter_linear *sum) {
    sinter_loop_builder *b = &c->scopes->builder;
    for (uint32_t i = 0; i < sum->count && of->count; i++) {
        const sinter_linear_term *term = &sum->terms[i];
        if (term->coefficient % of->coefficient || term->coefficient / of->coefficient < 1)
            continue;
        sinter_expr scale = sinter_loop_int(b, term->coefficient / of->coefficient);
        uint32_t matched = 0;
        for (uint32_t k = 0; k < term->count; k++) {
            if (matched < of->count &&
                sinter_loop_expr_equal(term->factors[k], of->factors[matched]))
                matched++;
            else
                scale = sinter_loop_mul(b, scale, term->factors[k]);
        }
        if (matched == of->count && !may_differ(c, scale)) return scale;
    }
    return NULL;
}

/* Puts the limit of a condition in the place of the terms that it bounds. True where there were such. */
static bool use_condition(const sinter_loop_comparison *c, sinter_expr *expr) {
    sinter_loop_builder *b = &c->scopes->builder;
    for (uint32_t i = 0; i < c->condition_count; i++) {
        sinter_linear sum, left;
        if (!sinter_linear_of(*expr, &sum) || !sinter_linear_of(c->conditions[i].left, &left) ||
            !left.count)
            continue;
        sinter_expr scale = find_scale(c, &left.terms[0], &sum);
        int64_t low, high;
        if (!scale) continue;
        sinter_loop_range(c->scopes->function, scale, &low, &high);
        if (low < 0 && !sinter_linear_is_size(c->scopes->function, scale)) continue;
        sinter_linear scaled, rest = sum;
        if (!sinter_linear_of(multiply_out(b, scale, c->conditions[i].left), &scaled) ||
            !sinter_linear_accumulate(&rest, &scaled, -1) || rest.count + left.count != sum.count)
            continue;
        sinter_expr last = sinter_loop_sub(b, c->conditions[i].limit, sinter_loop_int(b, 1));
        *expr =
            sinter_loop_add(b, sinter_linear_build(b->arena, &rest), multiply_out(b, scale, last));
        return true;
    }
    return false;
}

/* An upper (or lower) bound of the expression in terms of what both iterations have in common. */
static bool bound(const sinter_loop_comparison *c, sinter_expr expr, bool upper,
                  sinter_expr *out_bound) {
    sinter_loop_builder *builder = &c->scopes->builder;
    *out_bound = expr;
    for (int round = 0; round < 32 && may_differ(c, *out_bound); round++) {
        if (upper && use_condition(c, out_bound)) continue;
        sinter_loop_var var = find_differing_loop(c, *out_bound);
        sinter_expr coefficient, rest;
        int64_t min, max;
        bool affine = var && sinter_loop_affine(builder, *out_bound, var, &coefficient, &rest) &&
                      !may_differ(c, coefficient);
        if (affine) sinter_loop_range(c->scopes->function, coefficient, &min, &max);
        if (affine && sinter_linear_is_size(c->scopes->function, coefficient)) min = 0;
        if (!affine || (min < 0 && max > 0)) return bound_terms(c, out_bound, upper);
        sinter_expr value = extreme_value(c, var, upper == (min >= 0));
        *out_bound = sinter_loop_add(builder, rest, multiply_out(builder, coefficient, value));
    }
    return !may_differ(c, *out_bound);
}

static bool is_positive(const sinter_loop_comparison *c, sinter_expr expr) {
    int64_t min, max;
    sinter_loop_range(c->scopes->function, expr, &min, &max);
    return min >= 1;
}

/* a < b at any two iterations. */
static bool always_below(const sinter_loop_comparison *c, sinter_expr a, sinter_expr b) {
    sinter_expr high, low;
    return bound(c, a, true, &high) && bound(c, b, false, &low) &&
           is_positive(c, sinter_loop_sub(&c->scopes->builder, low, high));
}

/* |C| * step > b - a for all that may differ, with C's sign as given. */
static bool stays_within(const sinter_loop_comparison *c, sinter_expr stride, sinter_expr a,
                         sinter_expr b) {
    sinter_expr high, low;
    sinter_loop_builder *builder = &c->scopes->builder;
    if (!bound(c, b, true, &high) || !bound(c, a, false, &low)) return false;
    return is_positive(c, sinter_loop_sub(builder, stride, sinter_loop_sub(builder, high, low)));
}

static sinter_expr without_term(const sinter_loop_comparison *c, const sinter_linear *sum,
                                uint32_t term) {
    sinter_linear rest = *sum;
    rest.terms[term] = rest.terms[--rest.count];
    return sinter_linear_build(c->scopes->builder.arena, &rest);
}

/* The one factor of a term that may differ, or SINTER_LINEAR_MAX_FACTORS; the loop's own variable is none. */
static uint32_t differing_factor(const sinter_loop_comparison *c, const sinter_linear_term *term) {
    uint32_t found = SINTER_LINEAR_MAX_FACTORS, count = 0;
    for (uint32_t k = 0; k < term->count; k++) {
        if (!may_differ(c, term->factors[k])) continue;
        found = k;
        count++;
    }
    bool own = count == 1 && term->factors[found]->kind == SINTER_LOOP_VAR &&
               term->factors[found]->var == c->loop->var;
    return count == 1 && !own ? found : SINTER_LINEAR_MAX_FACTORS;
}

/* What a step of the differing factor moves the index by, its sign left out. */
static sinter_expr digit_stride(const sinter_loop_comparison *c, const sinter_linear_term *term,
                                uint32_t digit) {
    sinter_loop_builder *builder = &c->scopes->builder;
    int64_t size = term->coefficient < 0 ? -term->coefficient : term->coefficient;
    sinter_expr stride = sinter_loop_int(builder, size);
    for (uint32_t k = 0; k < term->count; k++)
        if (k != digit) stride = sinter_loop_mul(builder, stride, term->factors[k]);
    return stride;
}

/* Pairs of numbers, of access a and of access b, that are equal wherever the two touch the same element: the indices of
 * each dim, and what follows from them. */
typedef struct index_pairs {
    sinter_expr a[4 * SINTER_MAX_RANK], b[4 * SINTER_MAX_RANK];
    uint32_t count;
} index_pairs;

/* A pair more, where there is room: each is one more way to tell the two apart. */
static void push_pair(index_pairs *pairs, sinter_expr a, sinter_expr b) {
    if (pairs->count == sizeof pairs->a / sizeof *pairs->a) return;
    pairs->a[pairs->count] = a;
    pairs->b[pairs->count++] = b;
}

/* Leaves out terms i of a and k of b, where these are the same wherever a and b are: their steps are alike and larger than
 * what the rest of the two can differ by, as those of digits are. Their digits are a pair of their own. */
static bool drop_terms(sinter_loop_comparison *c, sinter_expr *a, sinter_expr *b,
                       const sinter_linear *sum_a, uint32_t i, const sinter_linear *sum_b,
                       uint32_t k, index_pairs *digits) {
    const sinter_linear_term *term_a = &sum_a->terms[i], *term_b = &sum_b->terms[k];
    uint32_t digit_a = differing_factor(c, term_a), digit_b = differing_factor(c, term_b);
    if (digit_a == SINTER_LINEAR_MAX_FACTORS || digit_b == SINTER_LINEAR_MAX_FACTORS ||
        term_a->coefficient != term_b->coefficient || term_a->coefficient == INT64_MIN)
        return false;
    sinter_expr stride = digit_stride(c, term_a, digit_a);
    if (!sinter_loop_expr_equal(stride, digit_stride(c, term_b, digit_b))) return false;
    sinter_expr rest_a = without_term(c, sum_a, i), rest_b = without_term(c, sum_b, k);
    if (!stays_within(c, stride, rest_a, rest_b) || !stays_within(c, stride, rest_b, rest_a))
        return false;
    push_pair(digits, term_a->factors[digit_a], term_b->factors[digit_b]);
    *a = rest_a;
    *b = rest_b;
    return true;
}

/* The same for term i of a where b has no such term but a constant, which has a digit there as well. */
static bool drop_constant(sinter_loop_comparison *c, sinter_expr *a, sinter_expr *b,
                          const sinter_linear *sum_a, uint32_t i, const sinter_linear *sum_b,
                          index_pairs *digits) {
    uint32_t digit = differing_factor(c, &sum_a->terms[i]);
    int64_t stride = sum_a->terms[i].coefficient;
    if (digit == SINTER_LINEAR_MAX_FACTORS || sum_a->terms[i].count != 1 || stride < 2)
        return false;
    sinter_linear rest = *sum_b;
    rest.constant = (sum_b->constant % stride + stride) % stride;
    sinter_expr rest_a = without_term(c, sum_a, i);
    sinter_expr rest_b = sinter_linear_build(c->scopes->builder.arena, &rest);
    sinter_expr step = sinter_loop_int(&c->scopes->builder, stride);
    if (!stays_within(c, step, rest_a, rest_b) || !stays_within(c, step, rest_b, rest_a))
        return false;
    push_pair(digits, sum_a->terms[i].factors[digit],
              sinter_loop_int(&c->scopes->builder, (sum_b->constant - rest.constant) / stride));
    *a = rest_a;
    *b = rest_b;
    return true;
}

/* Leaves out a term of each that is the same in both. True where there was one. */
static bool drop_digit(sinter_loop_comparison *c, sinter_expr *a, sinter_expr *b,
                       index_pairs *digits) {
    sinter_linear sum_a, sum_b;
    if (!sinter_linear_of(*a, &sum_a) || !sinter_linear_of(*b, &sum_b)) return false;
    for (uint32_t i = 0; i < sum_a.count; i++)
        for (uint32_t k = 0; k < sum_b.count; k++)
            if (drop_terms(c, a, b, &sum_a, i, &sum_b, k, digits)) return true;
    for (uint32_t i = 0; i < sum_a.count; i++)
        if (drop_constant(c, a, b, &sum_a, i, &sum_b, digits)) return true;
    return false;
}

/* The same with b's terms first. */
static bool drop_digit_of_second(sinter_loop_comparison *c, sinter_expr *a, sinter_expr *b,
                                 index_pairs *digits) {
    index_pairs turned = {0};
    if (!drop_digit(c, b, a, &turned)) return false;
    push_pair(digits, turned.b[0], turned.a[0]);
    return true;
}

/* expr = coefficient * var + rest, where the rest may use the variable in terms that are not linear: they are bounded like all that
 * differs. False: the variable is no term. */
static bool take_own(const sinter_loop_comparison *c, sinter_expr expr,
                     sinter_expr *out_coefficient, sinter_expr *out_rest) {
    sinter_loop_builder *builder = &c->scopes->builder;
    sinter_loop_var var = c->loop->var;
    sinter_linear sum;
    if (sinter_loop_affine(builder, expr, var, out_coefficient, out_rest)) return true;
    if (!sinter_linear_of(expr, &sum)) return false;
    for (uint32_t i = 0; i < sum.count; i++) {
        sinter_expr own = sum.terms[i].factors[0];
        if (sum.terms[i].count != 1 || own->kind != SINTER_LOOP_VAR || own->var != var) continue;
        *out_coefficient = sinter_loop_int(builder, sum.terms[i].coefficient);
        *out_rest = without_term(c, &sum, i);
        return true;
    }
    return false;
}

/* Numbers a and b keep different iterations of the loop apart. If they don't, the pairs get what they consist of. */
static bool pair_separates(sinter_loop_comparison *c, sinter_expr a, sinter_expr b,
                           index_pairs *pairs) {
    sinter_loop_builder *builder = &c->scopes->builder;
    while (drop_digit(c, &a, &b, pairs) || drop_digit_of_second(c, &a, &b, pairs)) continue;
    sinter_expr coefficient_a, rest_a, coefficient_b, rest_b;
    if (take_own(c, a, &coefficient_a, &rest_a) && take_own(c, b, &coefficient_b, &rest_b) &&
        sinter_loop_expr_equal(coefficient_a, coefficient_b) && !may_differ(c, coefficient_a)) {
        bool same_start = !may_differ(c, sinter_loop_map_expr(&c->scopes->lets, c->loop->lower));
        sinter_expr step = sinter_loop_int(builder, same_start ? c->loop->step : 1);
        sinter_expr stride = sinter_loop_mul(builder, coefficient_a, step);
        for (int sign = 0; sign < 2; sign++) {
            if (stays_within(c, stride, rest_a, rest_b) && stays_within(c, stride, rest_b, rest_a))
                return true;
            stride = sinter_loop_sub(builder, sinter_loop_int(builder, 0), stride);
        }
    }
    push_pair(pairs, a, b);
    return always_below(c, a, b) || always_below(c, b, a);
}

/* Two numbers of one access that divide one value: high = times * (x / n) + whole and low = rest_times * (x % n) + rest. */
typedef struct division {
    sinter_scalar_function remainder;
    sinter_expr x, n, whole, rest;
    int64_t times, rest_times;
} division;

static bool is_remainder(sinter_expr expr) {
    return expr->kind == SINTER_LOOP_CALL &&
           (expr->function == SINTER_SCALAR_rem || expr->function == SINTER_SCALAR_floormod);
}

/* The term of the sum that is a number times the expression, or its count of terms. */
static uint32_t find_term(const sinter_linear *sum, sinter_expr expr) {
    uint32_t at = 0;
    while (at < sum->count &&
           (sum->terms[at].count != 1 || !sinter_loop_expr_equal(sum->terms[at].factors[0], expr)))
        at++;
    return at;
}

/* A division that the two are parts of; like: one that it has to agree with in all numbers (NULL: with none). */
static bool find_division(const sinter_loop_comparison *c, sinter_expr high, sinter_expr low,
                          const division *like, division *out) {
    sinter_linear high_sum, low_sum;
    if (!sinter_linear_of(high, &high_sum) || !sinter_linear_of(low, &low_sum)) return false;
    for (uint32_t i = 0; i < low_sum.count; i++) {
        const sinter_linear_term *term = &low_sum.terms[i];
        if (term->count != 1 || !is_remainder(term->factors[0])) continue;
        sinter_expr remainder = term->factors[0];
        sinter_scalar_function divides =
            remainder->function == SINTER_SCALAR_rem ? SINTER_SCALAR_div : SINTER_SCALAR_floordiv;
        uint32_t at = find_term(
            &high_sum, sinter_loop_call(&c->scopes->builder, divides, remainder->arguments));
        if (at == high_sum.count) continue;
        *out = (division){.remainder = remainder->function,
                          .x = remainder->arguments[0],
                          .n = remainder->arguments[1],
                          .times = high_sum.terms[at].coefficient,
                          .rest_times = term->coefficient,
                          .whole = without_term(c, &high_sum, at),
                          .rest = without_term(c, &low_sum, i)};
        bool agrees = !like || (like->remainder == out->remainder && like->times == out->times &&
                                like->rest_times == out->rest_times &&
                                sinter_loop_expr_equal(like->n, out->n));
        if (agrees && !may_differ(c, out->n)) return true;
    }
    return false;
}

/* n * rest_times * high + times * low, where  n * (x / n) + x % n  is x. */
static sinter_expr join_division(const sinter_loop_comparison *c, const division *d) {
    sinter_loop_builder *b = &c->scopes->builder;
    sinter_expr times = sinter_loop_int(b, d->times),
                rest_times = sinter_loop_int(b, d->rest_times);
    sinter_expr sum = multiply_out(b, sinter_loop_mul(b, times, rest_times), d->x);
    sum = sinter_loop_add(b, sum, multiply_out(b, sinter_loop_mul(b, d->n, rest_times), d->whole));
    return sinter_loop_add(b, sum, multiply_out(b, times, d->rest));
}

/* Puts one pair in the place of two that divide one value alike. True where there were such. */
static bool join_pairs(const sinter_loop_comparison *c, index_pairs *pairs) {
    for (uint32_t low = 0; low < pairs->count; low++)
        for (uint32_t high = 0; high < pairs->count; high++) {
            division a, b;
            if (high == low || !find_division(c, pairs->a[high], pairs->a[low], NULL, &a) ||
                !find_division(c, pairs->b[high], pairs->b[low], &a, &b))
                continue;
            pairs->a[high] = join_division(c, &a);
            pairs->b[high] = join_division(c, &b);
            pairs->a[low] = pairs->a[--pairs->count];
            pairs->b[low] = pairs->b[pairs->count];
            return true;
        }
    return false;
}

static bool accesses_separate(sinter_loop_comparison *c, const sinter_loop_access *a,
                              const sinter_loop_access *b) {
    index_pairs pairs = {0}, parts = {0};
    for (uint32_t i = 0; i < a->rank; i++) {
        sinter_expr index_a = sinter_loop_map_expr(&c->scopes->lets, a->indices[i]);
        sinter_expr index_b = sinter_loop_map_expr(&c->scopes->lets, b->indices[i]);
        if (pair_separates(c, index_a, index_b, &pairs)) return true;
    }
    if (!join_pairs(c, &pairs)) return false;
    while (join_pairs(c, &pairs)) continue;
    for (uint32_t i = 0; i < pairs.count; i++)
        if (pair_separates(c, pairs.a[i], pairs.b[i], &parts)) return true;
    return false;
}

/* The comparisons that are certain where the condition holds. */
static void add_conditions(sinter_loop_comparison *c, sinter_expr condition) {
    if (condition->kind != SINTER_LOOP_CALL || c->condition_count == SINTER_LOOP_MAX_CONDITIONS)
        return;
    if (condition->function == SINTER_SCALAR_and && condition->dtype == SINTER_DTYPE_bool) {
        add_conditions(c, condition->arguments[0]);
        add_conditions(c, condition->arguments[1]);
        return;
    }
    if (condition->function != SINTER_SCALAR_lt ||
        condition->arguments[0]->dtype != SINTER_DTYPE_i64 || sinter_loop_expr_loads(condition, 0))
        return;
    sinter_expr left = sinter_loop_map_expr(&c->scopes->lets, condition->arguments[0]),
                limit = sinter_loop_map_expr(&c->scopes->lets, condition->arguments[1]);
    if (may_differ(c, limit)) return;
    c->conditions[c->condition_count].left = left;
    c->conditions[c->condition_count++].limit = limit;
}

/* The conditions around a statement of the list, as far as no variable in them is assigned. */
static bool find_conditions(sinter_loop_comparison *c, const sinter_loop_stmt *first,
                            const sinter_loop_stmt *wanted) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt == wanted) return true;
        if (find_conditions(c, stmt->body, wanted)) {
            bool fixed = stmt->kind == SINTER_LOOP_IF;
            for (sinter_loop_var var = 1; fixed && var < c->scopes->function->vars.count; var++)
                fixed = !c->scopes->function->vars.items[var].is_mutable ||
                        !sinter_loop_expr_uses(stmt->value, var);
            if (fixed) add_conditions(c, stmt->value);
            return true;
        }
        if (find_conditions(c, stmt->else_body, wanted)) return true;
    }
    return false;
}

/* The same statement twice: what is certain around it is so for both. */
static bool conditions_separate(sinter_loop_comparison *c, const sinter_loop_access *a,
                                const sinter_loop_access *b) {
    if (a->stmt != b->stmt) return false;
    c->guards = false; /* one loop's share of a condition would hide the whole of it */
    find_conditions(c, c->loop->body, a->stmt);
    bool apart = c->condition_count && accesses_separate(c, a, b);
    c->condition_count = 0;
    return apart;
}

bool sinter_loop_conflict(sinter_loop_comparison *c, const sinter_loop_access *a,
                          const sinter_loop_access *b) {
    if (a->buffer != b->buffer || !(a->is_store || b->is_store) || c->declared[a->buffer])
        return false;
    bool both_atomic =
        a->is_store && b->is_store && a->atomic && b->atomic && a->combine == b->combine;
    if (both_atomic) return false;
    for (int guards = 0; guards <= c->scopes->has_guards; guards++) { /* neither is always closer */
        c->guards = guards;
        if (accesses_separate(c, a, b)) return false;
    }
    return !conditions_separate(c, a, b);
}

sinter_loop_comparison sinter_loop_begin_comparison(sinter_loop_scopes *scopes,
                                                    const sinter_loop_stmt *loop) {
    const sinter_loop_function *function = scopes->function;
    sinter_arena *scratch = scopes->builder.arena;
    sinter_loop_comparison c = {.scopes = scopes, .loop = loop};
    c.differs = SINTER_NEW_ARRAY(scratch, bool, function->vars.count);
    c.assigned = SINTER_NEW_ARRAY(scratch, bool, function->vars.count);
    c.declared = SINTER_NEW_ARRAY(scratch, bool, function->buffers.count);
    sinter_loop_mark_declared(&c, loop->body);
    c.differs[loop->var] = true;
    return c;
}
