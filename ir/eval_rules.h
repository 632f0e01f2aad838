/* What the rules of the reference evaluator share; private to ir/eval*.c. A rule reads eval->operands, creates
 * eval->results with sinter_eval_create and returns false after sinter_eval_error. Memory for its own use comes
 * from eval->scratch. Rules check every size and index that comes from data: bad input is an error, never a
 * crash. Test: tests/ops/ */
#pragma once
#include "ir/eval.h"
#include "ir/scalar.h"

/* The rule of every row; rows that share a rule repeat its prototype. */
#define OP(name, operand_names, result_names, attributes, traits, pattern, body, infer, eval, doc)   \
    bool eval_##eval(sinter_eval *);
#include "ir/ops.def"
#undef OP

/* Tells the compiler that the answer is always false, so that it follows out-parameters past an error. */
static inline bool sinter_eval_false(bool answer) {
    (void)answer;
    return false;
}
#define sinter_eval_error(...) sinter_eval_false(sinter_eval_error(__VA_ARGS__))

/* ---- operands, results, attributes ---- */
/* NULL where absent or past the end. */
const sinter_tensor *sinter_eval_operand(const sinter_eval *eval, uint32_t index);
/* Whether somebody uses result `index`; rules may skip the others. */
bool sinter_eval_wants(const sinter_eval *eval, uint32_t index);
/* results[index] becomes a zeroed tensor; refuses negative dims, a rank above SINTER_MAX_RANK, and sizes that
 * can't be had. Returns it, or NULL after an error. */
sinter_tensor *sinter_eval_create(sinter_eval *eval, uint32_t index, sinter_dtype dtype, uint32_t rank,
                                  const int64_t *dims);
/* The same dtype and dims as `model`. */
sinter_tensor *sinter_eval_create_like(sinter_eval *eval, uint32_t index, const sinter_tensor *model);
/* The same elements as source under other dims (whose product must be equal: asserted). Shares storage. */
bool sinter_eval_share(sinter_eval *eval, uint32_t index, const sinter_tensor *source, uint32_t rank,
                       const int64_t *dims);
/* A tensor of the rule's own, released by it with sinter_tensor_deinit. */
bool sinter_eval_temporary(sinter_eval *eval, sinter_tensor *out_tensor, sinter_dtype dtype, uint32_t rank,
                           const int64_t *dims);
/* The attribute or the schema's default, else 0, "" or none. */
int64_t sinter_eval_int(const sinter_eval *eval, const char *name);
double sinter_eval_float(const sinter_eval *eval, const char *name);
sinter_string sinter_eval_string(const sinter_eval *eval, const char *name);
bool sinter_eval_string_is(const sinter_eval *eval, const char *name, const char *value);
sinter_dtype sinter_eval_dtype(const sinter_eval *eval, const char *name);
bool sinter_eval_has(const sinter_eval *eval, const char *name); /* held by the node or defaulted */
/* Count of the ints attribute, 0 where absent. */
size_t sinter_eval_ints_attr(const sinter_eval *eval, const char *name, const int64_t **out_items);

/* ---- checks of operands, with messages ---- */
/* Elements of an integer operand of rank 0 or 1, at most capacity; an absent operand gives count 0. */
bool sinter_eval_ints(sinter_eval *eval, uint32_t operand, int64_t *out_items, size_t capacity, size_t *out_count);
/* The one element of an operand of one element. */
bool sinter_eval_int_scalar(sinter_eval *eval, uint32_t operand, int64_t *out_value);
bool sinter_eval_float_scalar(sinter_eval *eval, uint32_t operand, double *out_value);
/* Wraps axis from [-rank, rank) to [0, rank). */
bool sinter_eval_axis(sinter_eval *eval, int64_t axis, uint32_t rank, uint32_t *out_axis);
/* The same for a list, as marks per axis; refuses repeated ones. */
bool sinter_eval_axes(sinter_eval *eval, const int64_t *axes, size_t count, uint32_t rank,
                      bool out_marked[SINTER_MAX_RANK]);
/* Wraps index from [-size, size) to [0, size). */
bool sinter_eval_index(sinter_eval *eval, int64_t index, int64_t size, int64_t *out_index);
bool sinter_eval_expect_rank(sinter_eval *eval, uint32_t operand, uint32_t min, uint32_t max);
/* A tensor of exactly these dims; an absent operand agrees. */
bool sinter_eval_expect_dims(sinter_eval *eval, uint32_t operand, uint32_t rank, const int64_t *dims);
/* "f32[2,3]", in scratch memory, for messages. */
const char *sinter_eval_describe(sinter_eval *eval, const sinter_tensor *tensor);

/* ---- indices ---- */
/* Product; false on overflow or a negative dim. */
bool sinter_eval_product(const int64_t *dims, uint32_t rank, int64_t *out_product);
/* Product of dims[first] to dims[last - 1] of an existing tensor, which does not overflow unless it is empty. */
int64_t sinter_eval_extent(const int64_t *dims, uint32_t first, uint32_t last);
/* Row-major strides in elements. */
void sinter_eval_strides(uint32_t rank, const int64_t *dims, int64_t *out_strides);
/* Steps at[] to the next index in row-major order; false (and all zeros) after the last. */
bool sinter_eval_next(uint32_t rank, const int64_t *dims, int64_t *at);
int64_t sinter_eval_offset(uint32_t rank, const int64_t *at, const int64_t *strides);
/* Index tuple of a linear position. */
void sinter_eval_unravel(uint32_t rank, const int64_t *dims, int64_t linear, int64_t *out_at);
/* Common dims of two shapes under the ONNX broadcasting rules; false where they have none (no error reported). */
bool sinter_eval_broadcast_dims(uint32_t rank_a, const int64_t *a, uint32_t rank_b, const int64_t *b,
                                uint32_t *out_rank, int64_t *out_dims);
/* The same over operands [first, last), skipping absent ones, with a message. */
bool sinter_eval_broadcast(sinter_eval *eval, uint32_t first, uint32_t last, uint32_t *out_rank, int64_t *out_dims);
/* Strides of a tensor seen under broadcast dims of `rank`: 0 along broadcast axes. */
void sinter_eval_broadcast_strides(const sinter_tensor *tensor, uint32_t rank, int64_t *out_strides);

/* A tensor cut along one axis: element k of lane (o, i) is at (o * count + k) * inner + i. */
typedef struct sinter_lanes {
    int64_t outer, count, inner;
} sinter_lanes;
sinter_lanes sinter_eval_lanes(uint32_t rank, const int64_t *dims, uint32_t axis);

/* ---- elements ---- */
sinter_scalar sinter_eval_load(const sinter_tensor *tensor, int64_t index);
void sinter_eval_store(sinter_tensor *tensor, int64_t index, sinter_scalar value); /* of the tensor's dtype */
/* A number as a scalar of the dtype, converted. */
sinter_scalar sinter_eval_number(sinter_dtype dtype, double value);
/* One element, bit for bit, of any dtype (both tensors have the same). */
void sinter_eval_copy_element(sinter_tensor *target, int64_t target_index, const sinter_tensor *source,
                              int64_t source_index);
/* count consecutive elements. */
void sinter_eval_copy_elements(sinter_tensor *target, int64_t target_index, const sinter_tensor *source,
                               int64_t source_index, int64_t count);
/* All elements, converted, in scratch memory. */
double *sinter_eval_doubles(sinter_eval *eval, const sinter_tensor *tensor);
int64_t *sinter_eval_integers(sinter_eval *eval, const sinter_tensor *tensor);
/* Rounded to the tensor's dtype: nearest even for floats; for integers and bool the value must be in range. */
void sinter_eval_store_doubles(sinter_tensor *tensor, const double *items);
/* Nearest-even rounding, then limited to what the integer dtype holds (quantization). NaN gives 0. */
int64_t sinter_eval_saturate(sinter_dtype dtype, double value);

/* A number as a tensor of the float dtype would hold it. */
double sinter_eval_round(sinter_dtype dtype, double value);
/* Total order of two elements of one dtype, as -1, 0 or 1: NaNs are equal and above everything, strings by bytes. */
int sinter_eval_compare(const sinter_tensor *a, int64_t a_index, const sinter_tensor *b, int64_t b_index);
/* Stable sort of indices, ascending in the order that compare tells. */
typedef int (*sinter_eval_comparison)(const void *context, int64_t a, int64_t b);
void sinter_eval_sort(sinter_eval *eval, int64_t *indices, int64_t count, sinter_eval_comparison compare,
                      const void *context);

/* ---- the evaluation around a rule ---- */
/* Like sinter_eval_dim, but reports nothing. */
bool sinter_eval_find_dim(sinter_eval *eval, sinter_dim dim, int64_t *out_value);
/* Value of a dimension expression under the symbols bound so far; false after an error. */
bool sinter_eval_dim(sinter_eval *eval, sinter_dim dim, int64_t *out_value);
/* -inf of none, NaN where any item is. */
double sinter_eval_largest(const double *items, int64_t count);
