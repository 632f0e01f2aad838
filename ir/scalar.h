/* The scalar language: what elementwise and reduce rows of ops.def are written in, and how vector exp, tanh, erf
 * are defined from simpler functions, once for the evaluator, LLVM, C and CUDA.
 *
 *   expression := let name = expression in expression | comparison ...
 *   operators: || && | ^ & == != < <= > >= << >> + - * / % unary - ! ~ and calls f(a, b, c) of scalar.def rows,
 *   select(condition, a, b), cast(dtype, x); names are operands or attributes of the op; numbers take the type of
 *   the other operand; inf, nan, pi.
 * A parsed body is a small array of nodes in topological order (last = the result); operands are typed when used.
 * Test: tests/unit/scalar_test.c */
#pragma once
#include "ir/type.h"

typedef enum sinter_scalar_function {
    SINTER_SCALAR_NONE,
#define SCALAR(name, arity, result, llvm, c, cuda, expansion, doc) SINTER_SCALAR_##name,
#include "ir/scalar.def"
#undef SCALAR
    SINTER_SCALAR_COUNT
} sinter_scalar_function;

/* Which dtype a function yields. */
typedef enum sinter_scalar_result { SINTER_RESULT_SAME, SINTER_RESULT_BOOL, SINTER_RESULT_CAST } sinter_scalar_result;

typedef struct sinter_scalar_info {
    const char *name;
    uint32_t arity;
    sinter_scalar_result result;
    const char *llvm; /* "+f fadd; +i add; ..." see scalar.def */
    const char *c, *cuda;
    const char *expansion; /* scalar text over a, b, c for f32 where no instruction exists; NULL: none */
    const char *doc;
} sinter_scalar_info;
const sinter_scalar_info *sinter_scalar_get_info(sinter_scalar_function function);
sinter_scalar_function sinter_scalar_find(sinter_string name);

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

/* names: operand and attribute names in order; a mistake in the text is reported with its column. */
bool sinter_scalar_parse(sinter_arena *arena, const char *text, const sinter_string *names, size_t name_count,
                         sinter_scalar_body *out_body, sinter_diag *diag);

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
sinter_scalar sinter_scalar_apply(sinter_scalar_function function, const sinter_scalar *arguments);
sinter_scalar sinter_scalar_cast(sinter_scalar value, sinter_dtype dtype);
/* operands[i] for names; constants take the dtype of the expression they meet. */
sinter_scalar sinter_scalar_evaluate(const sinter_scalar_body *body, const sinter_scalar *operands);
