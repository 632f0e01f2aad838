/* Polynomials over dimension atoms: the form in which sums and products are put together, compared
 * and divided. An atom is whatever is neither sum, product nor number (or is raw). Of fixed size,
 * on the stack; what does not fit is for the caller to keep raw. Test: tests/unit/dim_test.c */
#include "ir/dim_internal.h"

#include <assert.h>
#include <string.h>

static int compare_terms(const sinter_dim_table *table, const dim_term *a, const dim_term *b) {
    if (a->degree != b->degree) return a->degree > b->degree ? -1 : 1;
    for (uint32_t i = 0; i < a->degree; i++) {
        int order = dim_compare(table, a->factors[i], b->factors[i]);
        if (order) return order;
    }
    return 0;
}

static bool multiply_terms(const sinter_dim_table *table, const dim_term *a, const dim_term *b,
                           dim_term *out) {
    dim_term product = {.degree = a->degree + b->degree};
    if (product.degree > DIM_MAX_DEGREE ||
        __builtin_mul_overflow(a->coefficient, b->coefficient, &product.coefficient))
        return false;
    for (uint32_t i = 0, j = 0; i + j < product.degree;) {
        bool take_a = j == b->degree ||
                      (i < a->degree && dim_compare(table, a->factors[i], b->factors[j]) <= 0);
        product.factors[i + j] = take_a ? a->factors[i] : b->factors[j];
        i += take_a;
        j += !take_a;
    }
    *out = product;
    return true;
}

bool dim_polynomial_add(const sinter_dim_table *table, dim_polynomial *polynomial,
                        const dim_term *term) {
    if (term->coefficient == 0) return true;
    uint32_t place = 0;
    int order = 1;
    while (place < polynomial->count &&
           (order = compare_terms(table, &polynomial->terms[place], term)) < 0)
        place++;
    dim_term *terms = polynomial->terms;
    if (place < polynomial->count && order == 0) {
        int64_t sum;
        if (__builtin_add_overflow(terms[place].coefficient, term->coefficient, &sum)) return false;
        terms[place].coefficient = sum;
        if (sum == 0) {
            polynomial->count--;
            memmove(terms + place, terms + place + 1,
                    (polynomial->count - place) * sizeof(dim_term));
        }
        return true;
    }
    if (polynomial->count == DIM_MAX_TERMS) return false;
    memmove(terms + place + 1, terms + place, (polynomial->count - place) * sizeof(dim_term));
    terms[place] = *term;
    polynomial->count++;
    return true;
}

bool dim_polynomial_add_scaled(const sinter_dim_table *table, dim_polynomial *polynomial,
                               const dim_polynomial *other, const dim_term *scale) {
    for (uint32_t i = 0; i < other->count; i++) {
        dim_term product;
        if (!multiply_terms(table, &other->terms[i], scale, &product) ||
            !dim_polynomial_add(table, polynomial, &product))
            return false;
    }
    return true;
}

bool dim_term_divide(const dim_term *a, const dim_term *b, dim_term *out_quotient) {
    if (b->coefficient == -1 ? a->coefficient == INT64_MIN : a->coefficient % b->coefficient != 0)
        return false;
    dim_term quotient = {.coefficient = a->coefficient / b->coefficient};
    uint32_t j = 0;
    /* Both lists are sorted the same way, so one walk finds every factor of b. */
    for (uint32_t i = 0; i < a->degree; i++) {
        if (j < b->degree && a->factors[i] == b->factors[j])
            j++;
        else
            quotient.factors[quotient.degree++] = a->factors[i];
    }
    if (j < b->degree) return false;
    *out_quotient = quotient;
    return true;
}

bool dim_polynomial_divide(const sinter_dim_table *table, const dim_polynomial *a,
                           const dim_polynomial *b, dim_polynomial *out_quotient) {
    if (b->count == 0) return false;
    dim_polynomial rest = *a;
    out_quotient->count = 0;
    while (rest.count) {
        /* Each step takes away the leading term and adds only smaller ones. */
        dim_term quotient, negated;
        if (!dim_term_divide(&rest.terms[0], &b->terms[0], &quotient)) return false;
        if (quotient.coefficient == INT64_MIN) return false;
        negated = quotient;
        negated.coefficient = -quotient.coefficient;
        if (!dim_polynomial_add(table, out_quotient, &quotient) ||
            !dim_polynomial_add_scaled(table, &rest, b, &negated))
            return false;
    }
    return true;
}

static bool is_atom(const dim_node *node) {
    return node->raw || (node->kind != SINTER_DIM_CONST && node->kind != SINTER_DIM_ADD &&
                         node->kind != SINTER_DIM_MUL);
}

static dim_term to_term(const sinter_dim_table *table, sinter_dim dim) {
    const dim_node *node = dim_get(table, dim);
    dim_term term = {.coefficient = 1};
    if (is_atom(node)) {
        term.degree = 1;
        term.factors[0] = dim;
    } else if (node->kind == SINTER_DIM_CONST) {
        term.coefficient = node->constant;
    } else {
        assert(node->kind == SINTER_DIM_MUL);
        for (uint32_t i = 0; i < node->operand_count; i++) {
            const dim_node *factor = dim_get(table, node->operands[i]);
            if (factor->kind == SINTER_DIM_CONST)
                term.coefficient = factor->constant;
            else
                term.factors[term.degree++] = node->operands[i];
        }
    }
    return term;
}

void dim_to_polynomial(const sinter_dim_table *table, sinter_dim dim, dim_polynomial *out) {
    const dim_node *node = dim_get(table, dim);
    out->count = 0;
    if (node->kind == SINTER_DIM_ADD && !node->raw) {
        for (uint32_t i = 0; i < node->operand_count; i++)
            out->terms[out->count++] = to_term(table, node->operands[i]);
        return;
    }
    dim_term term = to_term(table, dim);
    if (term.coefficient) out->terms[out->count++] = term;
}

static sinter_dim from_term(sinter_dim_table *table, const dim_term *term) {
    if (term->degree == 0) return sinter_dim_const(table, term->coefficient);
    if (term->degree == 1 && term->coefficient == 1) return term->factors[0];
    sinter_dim operands[DIM_MAX_DEGREE + 1];
    uint32_t count = 0;
    if (term->coefficient != 1) operands[count++] = sinter_dim_const(table, term->coefficient);
    for (uint32_t i = 0; i < term->degree; i++) operands[count++] = term->factors[i];
    return dim_intern(table, SINTER_DIM_MUL, false, operands, count);
}

sinter_dim dim_from_polynomial(sinter_dim_table *table, const dim_polynomial *polynomial) {
    if (polynomial->count == 0) return sinter_dim_const(table, 0);
    if (polynomial->count == 1) return from_term(table, &polynomial->terms[0]);
    sinter_dim operands[DIM_MAX_TERMS];
    for (uint32_t i = 0; i < polynomial->count; i++)
        operands[i] = from_term(table, &polynomial->terms[i]);
    return dim_intern(table, SINTER_DIM_ADD, false, operands, polynomial->count);
}
