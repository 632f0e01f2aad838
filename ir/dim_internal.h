/* What the dim_*.c files share: the table of hash-consed expressions, and polynomials, the working
 * form in which sums and products are simplified. Not for other files. */
#pragma once
#include "ir/type.h"

typedef struct dim_node {
    sinter_dim_kind kind;
    bool raw; /* a sum or product left as it is because it would overflow or grow too large: an atom
               */
    uint32_t operand_count, symbol; /* index of a symbol */
    const sinter_dim *operands;
    int64_t constant;
    sinter_dim next; /* in the chain of equal hashes */
    /* What is known of the value, valid while facts_epoch is the table's. */
    int64_t min, max, multiple;
    uint64_t facts_epoch;
    /* Result of the running evaluation or substitution. */
    uint64_t memo_epoch;
    int64_t memo;
    bool memo_valid;
} dim_node;

typedef struct dim_symbol {
    sinter_dim_symbol *info;
    sinter_dim dim;
} dim_symbol;

struct sinter_dim_table {
    sinter_arena *arena;
    SINTER_VECTOR(dim_node) nodes; /* [0] is unused */
    SINTER_VECTOR(dim_symbol) symbols;
    sinter_map by_hash;   /* -> first node of the chain */
    sinter_map by_name;   /* -> symbol's dim */
    sinter_map by_prefix; /* -> last number given to a fresh name */
    uint64_t facts_epoch; /* moves whenever a symbol's bounds may have changed */
    uint64_t memo_epoch;
};

/* Sums up to this size are kept in canonical form; larger ones become raw. */
enum { DIM_MAX_TERMS = 48, DIM_MAX_DEGREE = 12 };
typedef struct dim_term {
    int64_t coefficient;
    uint32_t degree;
    sinter_dim factors[DIM_MAX_DEGREE]; /* atoms, sorted */
} dim_term;
/* Terms sorted by falling degree, then factors: a monomial order, so that division works. */
typedef struct dim_polynomial {
    uint32_t count;
    dim_term terms[DIM_MAX_TERMS];
} dim_polynomial;

/* 0 < unbounded: the ends of int64 stand for infinity in ranges. */
typedef struct dim_facts {
    int64_t min, max, multiple;
} dim_facts;

const dim_node *dim_get(const sinter_dim_table *table, sinter_dim dim);
sinter_dim dim_intern(sinter_dim_table *table, sinter_dim_kind kind, bool raw,
                      const sinter_dim *operands, uint32_t operand_count);
/* Order of the printed form: by structure and symbol names, never by age. */
int dim_compare(const sinter_dim_table *table, sinter_dim a, sinter_dim b);
dim_facts dim_get_facts(const sinter_dim_table *table, sinter_dim dim);
dim_facts dim_polynomial_facts(const sinter_dim_table *table, const dim_polynomial *polynomial);
int64_t dim_gcd(int64_t a, int64_t b);
int64_t dim_floor_divide(int64_t a, int64_t b); /* b not 0, no overflow */
int64_t dim_floor_modulo(int64_t a, int64_t b); /* b not 0; of b's sign */

void dim_to_polynomial(const sinter_dim_table *table, sinter_dim dim, dim_polynomial *out);
sinter_dim dim_from_polynomial(sinter_dim_table *table, const dim_polynomial *polynomial);
/* These return false where a coefficient overflows or the result gets too large. */
bool dim_polynomial_add(const sinter_dim_table *table, dim_polynomial *polynomial,
                        const dim_term *term);
bool dim_polynomial_add_scaled(const sinter_dim_table *table, dim_polynomial *polynomial,
                               const dim_polynomial *other, const dim_term *scale);
/* a / b where b divides a; false where it does not. */
bool dim_polynomial_divide(const sinter_dim_table *table, const dim_polynomial *a,
                           const dim_polynomial *b, dim_polynomial *out_quotient);
/* Coefficient and factors of b all in a. */
bool dim_term_divide(const dim_term *a, const dim_term *b, dim_term *out_quotient);
