/* The scalar language: what elementwise and reduce rows of ops.def are written in, and how vector exp, tanh, erf
 * are defined from simpler functions, once for the evaluator, LLVM, C and CUDA.
 *
 *   expression := let name = expression in expression | comparison ...
 *   operators: || && | ^ & == != < <= > >= << >> + - * / % unary - ! ~ and calls f(a, b, c) of scalar.def rows,
 *   select(condition, a, b), cast(dtype, x); names are lets, operands or attributes of the op, in this order; then
 *   inf, nan, pi, true, false, lowest and highest (the infinities). In place of the dtype of a cast a name means
 *   the type of that operand or attribute. Numbers (decimal, or 0x up to 53 bits) take the type of the other operand;
 *   what is infinite becomes the limit of an integer type. ! && || are not, and, or: meant for bool.
 * A parsed body is a small array of nodes in topological order (last = the result); operands are typed when used.
 * Test: tests/unit/scalar_test.c */
#pragma once
#include "ir/type.h"

typedef enum sinter_scalar_function {
    SINTER_SCALAR_NONE,
#define SCALAR(name, arity, result, llvm, feature, c, cuda, expansion, doc) SINTER_SCALAR_##name,
#include "ir/scalar.def"
    SINTER_SCALAR_COUNT
} sinter_scalar_function;

enum { SINTER_SCALAR_ENTRIES = 16 };

/* Which dtype a function yields. */
typedef enum sinter_scalar_result { SINTER_RESULT_SAME, SINTER_RESULT_BOOL, SINTER_RESULT_CAST } sinter_scalar_result;

typedef struct sinter_scalar_info {
    const char *name;
    uint32_t arity;
    sinter_scalar_result result;
    const char *llvm;    /* "f:fadd i:add ...", see scalar.def */
    const char *feature; /* of CPUs with an instruction for it in f32, "a|b"; "": no matter */
    const char *c, *cuda;
    const char *expansion; /* scalar text over a, b, c for f32 where no instruction exists; NULL: none */
    const char *doc;
} sinter_scalar_info;
const sinter_scalar_info *sinter_scalar_get_info(sinter_scalar_function function);
/* The expansion that is shorter where *out_other is an instruction; NULL: there is none, *out_other is NONE. */
const char *sinter_scalar_get_expansion_by(sinter_scalar_function function, sinter_scalar_function *out_other);
/* The numbers of a row ENTRIES, SINTER_SCALAR_ENTRIES of them; NULL for other functions. */
const float *sinter_scalar_find_entries(sinter_scalar_function function);
/* Operands may be grouped and exchanged as one likes: what reductions are made of. Sums and products of floats round differently. */
bool sinter_scalar_is_associative(sinter_scalar_function function);
sinter_scalar_function sinter_scalar_find(sinter_string name);
/* What a call takes, in simple instructions on f32, roughly: those of its expansion, several for a division, many for what is a call of
 * the library. The one measure of scalar work: of estimates, of passes that compare, of schedules. Threads may ask at once. */
uint32_t sinter_scalar_operations(sinter_scalar_function function);

typedef enum sinter_scalar_kind {
    SINTER_SCALAR_NODE_OPERAND, /* index: which name of the list given to parse */
    SINTER_SCALAR_NODE_CONST,
    SINTER_SCALAR_NODE_CALL,
    SINTER_SCALAR_NODE_CAST
} sinter_scalar_kind;
typedef struct sinter_scalar_node {
    sinter_scalar_kind kind;
    sinter_scalar_function function;
    sinter_dtype dtype; /* of a cast; NONE: cast to the type of operand `index` (castlike) */
    uint32_t index;
    double constant;
    uint32_t arguments[3];
} sinter_scalar_node;
typedef struct sinter_scalar_body {
    const sinter_scalar_node *nodes;
    uint32_t count;
} sinter_scalar_body;
/* Of all calls and casts. */
uint32_t sinter_scalar_body_operations(const sinter_scalar_body *body);

/* What a body has at most. */
enum { SINTER_SCALAR_MAX_NODES = 256 };
/* names: operand and attribute names in order; a mistake in the text is reported with its column. */
bool sinter_scalar_parse(sinter_arena *arena, const char *text, const sinter_string *names, size_t name_count,
                         sinter_scalar_body *out_body, sinter_diag *diag);

/* Whether the body is a sum of multiples of the variables, is_variable[index] of its operands, whose factors don't depend on any:
 * nothing is added to it. */
bool sinter_scalar_is_linear(const sinter_scalar_body *body, const bool *is_variable, uint32_t operand_count);

/* One typed scalar as the evaluator and the loop interpreter hold it. Floats of any width are kept as double and
 * rounded to their dtype after every operation (f16/bf16/f8: rounded when stored); integers as int64 wrapped to
 * their width, u64 by its bits; bool 0/1. */
typedef struct sinter_scalar {
    sinter_dtype dtype;
    union {
        double f;
        int64_t i;
    };
} sinter_scalar;
/* Arguments have one dtype, else they are cast to that of the first (pow: see scalar.def). f32 results are rounded
 * once; f32 functions are computed in double. Rows that a class of dtypes lacks give NaN for floats; for integers
 * they are computed in double and truncated. */
sinter_scalar sinter_scalar_apply(sinter_scalar_function function, const sinter_scalar *arguments);
/* Rounds to any float (f8: saturating), truncates to integers as sinter_integer_from_double says. */
sinter_scalar sinter_scalar_cast(sinter_scalar value, sinter_dtype dtype);
/* A number of scalar text as a value of dtype: infinities become the limits of integers, the rest is truncated and
 * wraps (-1 is the largest unsigned number). */
sinter_scalar sinter_scalar_number(sinter_dtype dtype, double number);
/* operands[i] for names; constants take the dtype of the expression they meet, f64 where they meet none. */
sinter_scalar sinter_scalar_evaluate(const sinter_scalar_body *body, const sinter_scalar *operands);
