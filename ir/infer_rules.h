/* What the inference rules share: their prototypes, expanded from the infer column of ops.def, and the helpers that
 * read operands and write results. A rule is told of operands that are typed and present where the schema wants them;
 * it sets every result it can name, absent ones too (the driver drops those), and returns false after an error.
 * Private to ir/infer*.c. Test: tests/ir/infer_*.sir */
#pragma once
#include "ir/infer.h"

#define OP(name, operands, results, attributes, traits, pattern, body, rule, eval, doc)            \
    bool infer_##rule(sinter_infer *infer_state);
#include "ir/ops.def"
#undef OP

/* Elements of contents that are kept for a value, and of constants that are read. */
enum { SINTER_INFER_CONTENT_LIMIT = 64, SINTER_INFER_CONSTANT_LIMIT = 4096 };

/* ---- operands (infer.c) ---- */
/* Never NULL; kind NONE where absent. */
const sinter_type *sinter_infer_operand(const sinter_infer *infer, uint32_t index);
bool sinter_infer_has(const sinter_infer *infer, uint32_t index);
/* A tensor with min <= rank <= max. */
bool sinter_infer_check_rank(sinter_infer *infer, uint32_t index, uint32_t min, uint32_t max);
bool sinter_infer_check_tensor(sinter_infer *infer, uint32_t index);
/* Of the class that the op table says, where present. */
bool sinter_infer_check_class(sinter_infer *infer, uint32_t index);
/* Tensors of one element type; an absent operand agrees with everything. */
bool sinter_infer_check_same_dtype(sinter_infer *infer, uint32_t a, uint32_t b);
bool sinter_infer_check_dtype(sinter_infer *infer, uint32_t index, sinter_dtype dtype);
/* i8..i64, u8..u64; where absent too. */
bool sinter_infer_check_integer(sinter_infer *infer, uint32_t index);
/* float of any width; where absent too. */
bool sinter_infer_check_float(sinter_infer *infer, uint32_t index);
/* One element: a scalar or a vector that may have length 1. */
bool sinter_infer_check_scalar(sinter_infer *infer, uint32_t index);
/* Number of elements where it is a number. */
bool sinter_infer_count(const sinter_infer *infer, uint32_t index, size_t *out_count);
/* Elements of an integer or bool operand as dims, 0 where unknown. false where even their count is. Never makes
 * symbols. */
bool sinter_infer_find_content(sinter_infer *infer, uint32_t index, const sinter_dim **out_items,
                               size_t *out_count);
/* The same where all are numbers. */
bool sinter_infer_find_ints(sinter_infer *infer, uint32_t index, const int64_t **out_items, size_t *out_count);
/* A scalar (or one-element) operand as a dim; makes a CONTENT symbol where it is not known, 0 where it can't. */
sinter_dim sinter_infer_demand_scalar(sinter_infer *infer, uint32_t index);

/* ---- results (infer.c) ---- */
void sinter_infer_set(sinter_infer *infer, uint32_t result, sinter_dtype dtype, uint32_t rank,
                      const sinter_dim *dims);
void sinter_infer_set_type(sinter_infer *infer, uint32_t result, sinter_type type);
/* The type of an operand. */
void sinter_infer_set_like(sinter_infer *infer, uint32_t result, uint32_t operand);
/* The dims of an operand with another element type. */
void sinter_infer_set_dtype(sinter_infer *infer, uint32_t result, uint32_t operand, sinter_dtype dtype);
/* rank fits SINTER_MAX_RANK; to be asked before dims are collected. */
bool sinter_infer_check_result_rank(sinter_infer *infer, uint64_t rank);
/* The type the result had before, kind NONE where none. */
const sinter_type *sinter_infer_declared(const sinter_infer *infer, uint32_t result);
/* Tensor of the given rank whose dims only the node knows. */
void sinter_infer_set_unknown(sinter_infer *infer, uint32_t result, sinter_dtype dtype, uint32_t rank,
                              const char *prefix);

/* ---- words (infer.c) ---- */
const char *sinter_infer_type_text(sinter_infer *infer, const sinter_type *type);
const char *sinter_infer_text(sinter_infer *infer, uint32_t operand); /* its type */
const char *sinter_infer_dim_text(sinter_infer *infer, sinter_dim dim);

/* ---- dims (infer_dims.c) ---- */
sinter_dim sinter_infer_number(sinter_infer *infer, int64_t value);
/* dim + value */
sinter_dim sinter_infer_plus(sinter_infer *infer, sinter_dim dim, int64_t value);
sinter_dim sinter_infer_times(sinter_infer *infer, sinter_dim dim, int64_t value);
/* Numpy broadcasting of two dims; false where they can't be. Symbols meet in max(a, b). */
bool sinter_infer_broadcast_dim(sinter_infer *infer, sinter_dim a, sinter_dim b, sinter_dim *out_dim);
/* Two dims that must be equal: the better known one; false where they can't be. */
bool sinter_infer_unify_dim(sinter_infer *infer, sinter_dim a, sinter_dim b, sinter_dim *out_dim);
/* Whether `from` can be 1 or `to`. */
bool sinter_infer_broadcast_dim_to(sinter_infer *infer, sinter_dim from, sinter_dim to);
/* Whether a can be at most b. */
bool sinter_infer_dim_at_most(sinter_infer *infer, sinter_dim a, sinter_dim b);
/* The same of what a window reaches over and of an axis with its pads. */
bool sinter_infer_window_fits(sinter_infer *infer, sinter_dim extent, sinter_dim room);
/* Joins dims from the right into dims[0..*rank); false where they can't be. */
bool sinter_infer_broadcast_into(sinter_infer *infer, sinter_dim *dims, uint32_t *rank, const sinter_dim *other,
                                 uint32_t other_rank);
/* Operands first..last (absent ones skipped) broadcast together, with the error. */
bool sinter_infer_broadcast(sinter_infer *infer, uint32_t first, uint32_t last, sinter_dim *out_dims,
                            uint32_t *out_rank);
/* Operand a must broadcast to operand b without changing it. */
bool sinter_infer_check_broadcast_to(sinter_infer *infer, uint32_t a, uint32_t b);
/* Dim `axis` of operand a must be able to equal that of b. */
bool sinter_infer_check_dims_equal(sinter_infer *infer, uint32_t a, uint32_t a_axis, uint32_t b, uint32_t b_axis);
/* Dim `axis` of an operand must be able to be `dim`; what names it in the message. Where the operand is absent: true. */
bool sinter_infer_check_dim(sinter_infer *infer, uint32_t operand, uint32_t axis, sinter_dim dim, const char *what);
/* An axis of -rank..rank-1 made non-negative. */
bool sinter_infer_axis(sinter_infer *infer, int64_t axis, uint32_t rank, uint32_t *out_axis);
/* The same of an attribute, which may be absent: then `otherwise`. */
bool sinter_infer_axis_attr(sinter_infer *infer, const char *name, int64_t otherwise, uint32_t rank,
                            uint32_t *out_axis);
/* A list of axes, normalised, each once; out_axes has room for SINTER_MAX_RANK. */
bool sinter_infer_axes(sinter_infer *infer, const int64_t *axes, size_t count, uint32_t rank, uint32_t *out_axes);
/* a / b where b divides a: an expression, or an error where it can't. */
bool sinter_infer_divide(sinter_infer *infer, sinter_dim a, int64_t b, const char *what, sinter_dim *out_dim);
/* max(dim, 0) */
sinter_dim sinter_infer_not_negative(sinter_infer *infer, sinter_dim dim);
/* Whether dim is a symbol of that origin, value and index; whether symbols made inside the region occur in it. */
bool sinter_infer_dim_mentions_region(sinter_module *module, sinter_dim dim, sinter_region region);

/* ---- driver parts (infer.c) used by control rules ---- */
/* The symbol of a value's dim (NODE) or element (CONTENT), the same one each time. */
sinter_dim sinter_infer_own_symbol(sinter_module *module, sinter_dim_origin origin, sinter_value value,
                                   uint32_t index, const char *prefix);
sinter_type sinter_infer_copy_type(sinter_arena *arena, const sinter_type *type);
/* A rank-0 tensor type. */
sinter_type sinter_infer_scalar_type(sinter_dtype dtype);
/* The least type both are instances of: dims that differ become 0 (the caller names them). false: no such type. */
bool sinter_infer_join(sinter_infer *infer, const sinter_type *a, const sinter_type *b, sinter_type *out_type);

/* ---- symbolic contents (infer_content.c) ---- */
/* Fills infer->contents from the operands' contents, after the result types are set. */
void sinter_infer_compute_content(sinter_infer *infer);
/* Which operands' contents decide the result's, as bits; 0 where contents do not pass through the op. */
uint32_t sinter_infer_content_operands(const sinter_module *module, sinter_node node);
