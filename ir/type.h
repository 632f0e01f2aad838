/* Element types, symbolic dimensions and value types.
 *
 * A dimension is an id in its module's table of expressions: numbers, symbols, and + * floordiv mod
 * min max over them, hash-consed in a canonical form (a sorted sum of products), so that equal ids
 * mean equal dims. Different ids may still be equal at run time; sinter_dim_known_le says what is known.
 * Symbols carry min, max and multiple-of. Test: tests/unit/dim_test.c */
#pragma once
#include "ir/base/diag.h"
#include "ir/base/map.h"
#include "ir/base/vector.h"

typedef enum sinter_dtype {
    SINTER_DTYPE_NONE,
#define DTYPE(name, bits, class, onnx_code, c_type, doc) SINTER_DTYPE_##name,
#include "ir/dtype.def"
#undef DTYPE
    SINTER_DTYPE_COUNT
} sinter_dtype;

typedef enum sinter_dtype_class {
    SINTER_CLASS_NONE,
    SINTER_CLASS_FLOAT,
    SINTER_CLASS_INT,
    SINTER_CLASS_UINT,
    SINTER_CLASS_BOOL,
    SINTER_CLASS_STRING,
    SINTER_CLASS_COMPLEX
} sinter_dtype_class;

typedef struct sinter_dtype_info {
    const char *name;
    uint32_t bits;
    sinter_dtype_class class;
    int32_t onnx_code;
    const char *c_type, *doc;
} sinter_dtype_info;
extern const sinter_dtype_info sinter_dtype_infos[SINTER_DTYPE_COUNT];
sinter_dtype sinter_dtype_find(sinter_string name);      /* NONE where unknown */
sinter_dtype sinter_dtype_from_onnx(int64_t onnx_code);  /* NONE where unknown */
bool sinter_dtype_is_float(sinter_dtype dtype);
bool sinter_dtype_is_integer(sinter_dtype dtype); /* signed or unsigned, not bool */
/* The dtype in which compiled code computes with elements: narrow floats as f32, sub-byte integers as i8 or u8. */
sinter_dtype sinter_dtype_compute(sinter_dtype dtype);
/* The type to which quantize_linear rounds x / scale before it becomes an integer: its attribute `precision` (a code of ONNX, 0 where
 * none is given: that of the scale; QuantizeLinear-23); f32 where that is no float of 16 bits or more. */
sinter_dtype sinter_dtype_of_quotient(int64_t precision, sinter_dtype scale);
/* Bytes of `count` elements, packed, rounded up; false on overflow. */
bool sinter_dtype_bytes(sinter_dtype dtype, uint64_t count, uint64_t *out_bytes);

/* ---- dimensions ---- */
typedef uint32_t sinter_dim; /* 0: no dimension */
typedef enum sinter_dim_kind {
    SINTER_DIM_CONST,
    SINTER_DIM_SYMBOL,
    SINTER_DIM_ADD, /* sum of terms, n-ary, sorted, constant last */
    SINTER_DIM_MUL, /* product of factors, n-ary, sorted, constant first */
    SINTER_DIM_FLOORDIV,
    SINTER_DIM_MOD, /* result has the sign of the divisor, as in Python */
    SINTER_DIM_MIN,
    SINTER_DIM_MAX,
    SINTER_DIM_SELECT /* operands c, a, b: c >= 0 ? a : b */
} sinter_dim_kind;

/* Where a symbol gets its number at run time. */
typedef enum sinter_dim_origin {
    SINTER_DIM_ORIGIN_INPUT,   /* named in the type of a graph input: solved on entry */
    SINTER_DIM_ORIGIN_CONTENT, /* element `index` (row-major) of integer tensor `value`: read once value is computed */
    SINTER_DIM_ORIGIN_NODE     /* dim `index` of result `value`, which only the node that makes it knows (non_zero, ...) */
} sinter_dim_origin;

typedef struct sinter_dim_symbol {
    const char *name;
    int64_t min, max, multiple; /* defaults 0, INT64_MAX (unbounded), 1; contents may be negative: min INT64_MIN */
    sinter_dim_origin origin;
    uint32_t value, index; /* of CONTENT and NODE origins */
} sinter_dim_symbol;

typedef struct sinter_dim_table sinter_dim_table;
/* One thread at a time, look-ups included: they keep what they found out in the table.
 * An operand of 0 (unknown) gives 0. What overflows or would divide by zero is kept as it is and fails when
 * evaluated. MIN, MAX, FLOORDIV and MOD always have two operands; sums and products two or more. */
sinter_dim_table *sinter_dim_table_create(sinter_arena *arena);
sinter_dim sinter_dim_const(sinter_dim_table *table, int64_t value);
/* The symbol of that name, made where absent. */
sinter_dim sinter_dim_symbol_named(sinter_dim_table *table, sinter_string name);
/* A symbol with a name not used so far, "prefix", "prefix_1", ... */
sinter_dim sinter_dim_fresh(sinter_dim_table *table, const char *prefix);
sinter_dim sinter_dim_add(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_sub(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_mul(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_floordiv(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_ceildiv(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_mod(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_min(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_max(sinter_dim_table *table, sinter_dim a, sinter_dim b);
sinter_dim sinter_dim_select(sinter_dim_table *table, sinter_dim c, sinter_dim a, sinter_dim b); /* c >= 0 ? a : b */
/* The one of these that the kind names: ADD, MUL, FLOORDIV, MOD, MIN or MAX. */
sinter_dim sinter_dim_binary(sinter_dim_table *table, sinter_dim_kind kind, sinter_dim a, sinter_dim b);
/* True and the value where the dim is a number. */
bool sinter_dim_is_const(const sinter_dim_table *table, sinter_dim dim, int64_t *out_value);
bool sinter_dim_is(const sinter_dim_table *table, sinter_dim dim, int64_t value);
/* What the bounds of the symbols imply. */
void sinter_dim_range(const sinter_dim_table *table, sinter_dim dim, int64_t *out_min, int64_t *out_max);
/* Largest number known to divide the dim at every binding; 0 for the constant 0, which all numbers divide. */
int64_t sinter_dim_known_multiple(const sinter_dim_table *table, sinter_dim dim);
/* True where a <= b at every binding within the bounds of the symbols; false says nothing. */
bool sinter_dim_known_le(sinter_dim_table *table, sinter_dim a, sinter_dim b);
/* Exact division known to leave no remainder, e.g. (6*N)/3 or (N*K)/N: 0 where not known. */
sinter_dim sinter_dim_divide_exact(sinter_dim_table *table, sinter_dim a, sinter_dim b);
/* Structure, for printing and lowering. */
sinter_dim_kind sinter_dim_get_kind(const sinter_dim_table *table, sinter_dim dim);
size_t sinter_dim_operands(const sinter_dim_table *table, sinter_dim dim, const sinter_dim **out_operands);
sinter_dim_symbol *sinter_dim_get_symbol(sinter_dim_table *table, sinter_dim dim); /* kind SYMBOL */
size_t sinter_dim_symbol_count(const sinter_dim_table *table);
sinter_dim sinter_dim_symbol_at(const sinter_dim_table *table, size_t index); /* in order of making */
/* Whether a symbol of the dim is read from the contents of the value or is a dim of it that its node decides. */
bool sinter_dim_reads(sinter_dim_table *table, sinter_dim dim, uint32_t value);
/* Value with symbols bound by bindings[index of symbol]; false on overflow or division by zero. */
bool sinter_dim_evaluate(const sinter_dim_table *table, sinter_dim dim, const int64_t *bindings,
                         int64_t *out_value);
/* Bindings for estimates: every symbol has this value, or one near to it that its bounds and its multiple allow. */
const int64_t *sinter_dim_assume(sinter_dim_table *table, sinter_arena *arena, int64_t value);
enum { SINTER_ASSUMED_DIM = 64 }; /* where a pass weighs two ways */
size_t sinter_dim_symbol_index(const sinter_dim_table *table, sinter_dim symbol);
/* Replace symbols: bindings[index] is a dim or 0 to leave it. */
sinter_dim sinter_dim_substitute(sinter_dim_table *table, sinter_dim dim, const sinter_dim *bindings);
/* "N", "2*N + 1", "floordiv(N - 3, 2)", "?" for 0; a symbol whose name is no identifier is quoted. parse is the
 * inverse: it advances *cursor, on failure to the offending place. */
void sinter_dim_print(const sinter_dim_table *table, sinter_dim dim, sinter_text *text);
/* The same for messages: what is longer than a line or so ends in "...". (Print has a limit, too, of 64 KiB: expressions share
 * their parts, and a text that repeats them may be longer than any memory.) */
void sinter_dim_describe(const sinter_dim_table *table, sinter_dim dim, sinter_text *text);
bool sinter_dim_parse(sinter_dim_table *table, const char **cursor, const char *end, sinter_dim *out_dim);

/* ---- types ---- */
typedef enum sinter_type_kind {
    SINTER_TYPE_NONE, /* an absent optional operand or result */
    SINTER_TYPE_TENSOR,
    SINTER_TYPE_SEQUENCE, /* of element */
    SINTER_TYPE_OPTIONAL, /* of element */
    SINTER_TYPE_MAP       /* storage only (ONNX-ML): named, refused by lowering */
} sinter_type_kind;

#define SINTER_MAX_RANK 16
typedef struct sinter_type {
    sinter_type_kind kind;
    sinter_dtype dtype;
    uint32_t rank;
    const sinter_dim *dims;           /* rank of them, in the module's arena */
    /* Of a sequence or optional. Kind NONE inside a sequence: with a dtype, tensors whose rank differs or is not known,
     * printed "f32[*]"; without, no element yet, "none". Symbols in a sequence's element may differ from one element to
     * the next: what takes an element out gives it symbols of its own. */
    const struct sinter_type *element;
} sinter_type;

sinter_type sinter_type_tensor(sinter_arena *arena, sinter_dtype dtype, uint32_t rank,
                               const sinter_dim *dims); /* copies dims */
bool sinter_type_equal(const sinter_type *a, const sinter_type *b); /* same kind, dtype and dim ids */
/* "f32[N,3,224,224]", "f32[]" for a scalar, "seq(i64[k])", "opt(...)", "none". */
void sinter_type_print(const sinter_dim_table *table, const sinter_type *type, sinter_text *text);
void sinter_type_describe(const sinter_dim_table *table, const sinter_type *type, sinter_text *text); /* for messages */
/* The same, in the arena. */
const char *sinter_type_text(const sinter_dim_table *table, const sinter_type *type, sinter_arena *arena);
/* Static element count; false where symbolic or overflowing. */
bool sinter_type_static_count(const sinter_dim_table *table, const sinter_type *type, uint64_t *out_count);
/* Product of dims [first, last). */
sinter_dim sinter_type_product(sinter_dim_table *table, const sinter_type *type, uint32_t first, uint32_t last);
