/* i64 index arithmetic as a sum of products: constant + sum of coefficient * factor * factor ... The factors are
 * expressions that are no sums themselves (variables, loads, divisions, ...), or a sum that is multiplied by something
 * that is no number. Equal sums have equal forms up to wrap-around, whatever order they were written in, and
 * sinter_linear_build writes them with the largest strides first, so that i*64 + j*16 + v stays in this order and its outer part
 * can be hoisted. All arithmetic wraps as i64 does.
 * Test: tests/unit/loop_test.c */
#pragma once
#include "codegen/loops/loop.h"

#define SINTER_LINEAR_MAX_TERMS 16
#define SINTER_LINEAR_MAX_FACTORS 6

typedef struct sinter_linear_term {
    int64_t coefficient; /* not 0 */
    uint32_t count;
    sinter_expr factors[SINTER_LINEAR_MAX_FACTORS]; /* sorted by sinter_linear_compare */
} sinter_linear_term;

typedef struct sinter_linear {
    int64_t constant;
    uint32_t count;
    sinter_linear_term terms[SINTER_LINEAR_MAX_TERMS];
} sinter_linear;

/* False where the sum has more terms or factors than fit; *out_linear is then the expression as one term. */
bool sinter_linear_of(sinter_expr expr, sinter_linear *out_linear);
/* target += scale * source; false (and target unspecified) where it does not fit. */
bool sinter_linear_accumulate(sinter_linear *target, const sinter_linear *source, int64_t scale);
sinter_expr sinter_linear_build(sinter_arena *arena, const sinter_linear *linear);
/* Numbers from min to max, both of them. */
typedef struct sinter_interval {
    int64_t min, max;
} sinter_interval;
/* Of sums and of products; false where one may wrap. */
bool sinter_interval_add(sinter_interval a, sinter_interval b, sinter_interval *out);
bool sinter_interval_mul(sinter_interval a, sinter_interval b, sinter_interval *out);
/* Of every value that the type can hold; u64 by its bits is everything. */
sinter_interval sinter_interval_of_dtype(sinter_dtype dtype);
bool sinter_interval_inside(sinter_interval inner, sinter_interval outer);
/* Range by the ranges of the variables; false where it is unknown or may wrap. */
bool sinter_linear_range(const sinter_loop_function *function, const sinter_linear *linear, int64_t *out_min,
                         int64_t *out_max);
/* It is never more than that, as far as ranges tell, also where it is a sum with a minimum, a maximum, a choice of two or a quotient. spare: what the
 * caller knows not to be negative; NULL: nothing. */
bool sinter_linear_at_most(const sinter_loop_function *function, sinter_expr expr, int64_t most, sinter_expr spare);
/* A sum of products of what is not negative, with no minus: not negative unless it wraps, as sizes of what exists do not. */
bool sinter_linear_is_size(const sinter_loop_function *function, sinter_expr expr);
/* Total structural order of expressions; 0 means the same tree. */
int sinter_linear_compare(sinter_expr a, sinter_expr b);
/* The greatest common divisor, not negative; that of 0 and x is |x|. */
int64_t sinter_linear_gcd(int64_t a, int64_t b);
