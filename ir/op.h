/* The op table in C: enum, schema and traits, all expanded from ops.def. Test: tests/unit/op_test.c */
#pragma once
#include "ir/scalar.h"

typedef enum sinter_op {
    SINTER_OP_NONE,
#define OP(name, operands, results, attributes, traits, pattern, body, infer, eval, doc) SINTER_OP_##name,
#include "ir/ops.def"
#undef OP
    SINTER_OP_COUNT
} sinter_op;

/* How an op touches its operands: what drives inference, fusion, sharding and lowering. */
typedef enum sinter_pattern {
    SINTER_PATTERN_ELEMENTWISE, /* body: scalar text over the operands, broadcast (ONNX rules) */
    SINTER_PATTERN_REDUCE,      /* body: "init; combine(acc, x); finish(acc, count)" */
    SINTER_PATTERN_CONTRACT,    /* body: axis signature, "...mk,...kn->...mn" */
    SINTER_PATTERN_WINDOW,      /* convolution, pooling: sliding windows */
    SINTER_PATTERN_VIEW,        /* each output element is one input element at a computed index, or a fill */
    SINTER_PATTERN_GATHER,      /* output element = input element at an index read from a tensor; body: axes, as of OPAQUE */
    SINTER_PATTERN_SCATTER,     /* input element goes to an index read from a tensor */
    SINTER_PATTERN_COMPOSITE,   /* defined by a decomposition into other ops; body: axes, as of OPAQUE */
    SINTER_PATTERN_OPAQUE,      /* built op by op in loop IR; body: axes that go along, "b*,.b.->.b.": letters where the same index
                                   of each makes the result's, '.' for another axis, '*' for the rest, 'H' for blocks of h
                                   (gates), which makes h the units of a recurrence, '+' for an axis of all units, which
                                   each reads; letters that no result has are summed over inside; by the attribute `layout`,
                                   the first or the one behind " | "; the two behind these where a recurrent layer has no w */
    SINTER_PATTERN_CONTROL,     /* has regions, or is the structure of one: if, loop, scan, group, yield */
    SINTER_PATTERN_SEQUENCE,    /* sequences, optionals: host level */
    SINTER_PATTERN_SOURCE,      /* no operands: constant, random */
    SINTER_PATTERN_COLLECTIVE   /* between ranks of a mesh; body: "local" where nothing is sent, else the exchange that does it, by its
                                   name in runtime/abi.h */
} sinter_pattern;

/* Traits, or-ed in the table. */
enum {
    SINTER_TRAIT_NONE = 0,
    SINTER_TRAIT_COMMUTATIVE = 1u << 0,  /* first two operands may be swapped */
    SINTER_TRAIT_IMPURE = 1u << 1,       /* random: neither folded nor merged */
    SINTER_TRAIT_IDEMPOTENT = 1u << 2,   /* f(f(x)) = f(x) */
    SINTER_TRAIT_MONOTONE = 1u << 3,     /* unary, non-decreasing: commutes with max pooling */
    SINTER_TRAIT_TERMINATOR = 1u << 4,   /* ends a region */
    SINTER_TRAIT_SHAPE_FROM_DATA = 1u << 5, /* result dims depend on values: fresh symbols */
    SINTER_TRAIT_FACTOR = 1u << 6,          /* units for matrices do it to what they multiply */
    SINTER_TRAIT_RECURRENT = 1u << 7,       /* operands x, w of the inputs, r of the state: LSTM, GRU, RNN */
    SINTER_TRAIT_SIZELESS = 1u << 8         /* a view that says no sizes of the axes that it keeps: the same node makes the part of a part */
};

typedef enum sinter_arity { SINTER_ARITY_ONE, SINTER_ARITY_OPTIONAL, SINTER_ARITY_VARIADIC } sinter_arity;

/* What an operand may be, "x:float" in the table. */
typedef enum sinter_operand_class {
    SINTER_OPERAND_ANY,       /* nothing said: also sequences and optionals */
    SINTER_OPERAND_TENSOR,    /* of any element type */
    SINTER_OPERAND_PLAIN,     /* numbers or truth values */
    SINTER_OPERAND_NUMBER,    /* integers or floats */
    SINTER_OPERAND_FLOAT,
    SINTER_OPERAND_INTEGER,
    SINTER_OPERAND_QUANTIZED, /* integers of up to 16 bits, floats of up to 8 */
    SINTER_OPERAND_BOOL,
    SINTER_OPERAND_STRING
} sinter_operand_class;

typedef struct sinter_operand_info { /* also of results */
    sinter_string name;
    sinter_arity arity; /* variadic only in the last place */
    sinter_operand_class class;
} sinter_operand_info;

typedef enum sinter_attr_kind {
    SINTER_ATTR_NONE,
    SINTER_ATTR_INT,
    SINTER_ATTR_FLOAT,
    SINTER_ATTR_STRING,
    SINTER_ATTR_INTS,
    SINTER_ATTR_FLOATS,
    SINTER_ATTR_STRINGS,
    SINTER_ATTR_TENSOR,
    SINTER_ATTR_TYPE, /* a sinter_type; element types are written dtype */
    SINTER_ATTR_DTYPE
} sinter_attr_kind;

/* One attribute of a schema: "axis:int=-1" has a default, "pads:ints?" may be absent, "to:dtype" must be there. */
typedef struct sinter_attr_info {
    sinter_string name;
    sinter_attr_kind kind;
    bool required;
    bool has_default;
    sinter_string default_text; /* as in the table */
    sinter_string choices;      /* words that a string may be, parted by blanks; empty: any text */
} sinter_attr_info;

typedef struct sinter_op_info {
    const char *name;
    const sinter_operand_info *operands, *results;
    const sinter_attr_info *attributes;
    uint32_t operand_count, result_count, attribute_count;
    uint32_t traits;
    sinter_pattern pattern;
    const char *body; /* by pattern, see sinter_pattern */
    const char *doc;
    const char *operands_text, *results_text, *attributes_text; /* as in the table */
} sinter_op_info;

/* Never fails for a valid op; tables are built on first use, thread-safe. */
const sinter_op_info *sinter_op_get_info(sinter_op op);
sinter_op sinter_op_find(sinter_string name); /* SINTER_OP_NONE where unknown */
bool sinter_op_has_trait(sinter_op op, uint32_t trait);
bool sinter_op_sends(sinter_op op); /* a collective that needs what other ranks have */
bool sinter_op_adds(sinter_op op);  /* one of these that makes one of the terms of all */
bool sinter_op_is_recurrent(sinter_op op); /* SINTER_TRAIT_RECURRENT */
/* How many of the first operands are factors of the op's sums of products, the data first: x and w of a convolution, x, w and r of
 * a recurrent layer; 0: it has no such sums. */
uint32_t sinter_op_factor_count(sinter_op op);
/* Whether a string attribute may be this text. */
bool sinter_op_allows_text(const sinter_attr_info *attribute, sinter_string text);
/* Whether tensors of that element type are of the class; the class in words, "a float tensor". */
bool sinter_op_class_allows(sinter_operand_class class, sinter_dtype dtype);
const char *sinter_op_class_text(sinter_operand_class class);
/* Description of operand i of a node: of the last one for all of a variadic. NULL where there is none. */
const sinter_operand_info *sinter_op_find_operand(sinter_op op, uint32_t index);
/* The body of an elementwise op; its operands are those of the op, then the attributes. False of other ops, and of those whose body
 * names a rule: "dequantize". */
bool sinter_op_parse_body(sinter_op op, sinter_arena *scratch, sinter_scalar_body *out_body);
/* Index in attributes, or -1. */
int sinter_op_find_attribute(sinter_op op, sinter_string name);
