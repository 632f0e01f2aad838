/* Reductions of the reference evaluator: "init; combine; finish" of the op table over the axes given at run time,
 * and arg_max / arg_min. Floats are accumulated in f64 and rounded once; integers wrap in their own type.
 * Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct reduction {
    bool reduced[SINTER_MAX_RANK];
    int64_t count; /* elements that become one */
    int64_t
        strides[SINTER_MAX_RANK]; /* of the result, in axes of the operand; 0 along reduced ones */
} reduction;

/* Axes are operand 1; an empty or absent list means all, or none with noop_with_empty_axes. */
static bool reduction_init(sinter_eval *eval, const sinter_tensor *data, reduction *reduce) {
    int64_t axes[SINTER_MAX_RANK];
    size_t count;
    *reduce = (reduction){.count = 1};
    if (!sinter_eval_ints(eval, 1, axes, SINTER_MAX_RANK, &count)) return false;
    if (!sinter_eval_axes(eval, axes, count, data->rank, reduce->reduced)) return false;
    if (!count && !sinter_eval_int(eval, "noop_with_empty_axes"))
        for (uint32_t i = 0; i < data->rank; i++) reduce->reduced[i] = true;
    int64_t stride = 1;
    for (uint32_t i = data->rank; i-- > 0;) {
        if (reduce->reduced[i]) {
            reduce->count *= data->dims[i];
        } else {
            reduce->strides[i] = stride;
            stride *= data->dims[i];
        }
    }
    return true;
}

static uint32_t reduced_dims(const sinter_tensor *data, const bool *reduced, bool keep,
                             int64_t *out_dims) {
    uint32_t rank = 0;
    for (uint32_t i = 0; i < data->rank; i++) {
        if (!reduced[i])
            out_dims[rank++] = data->dims[i];
        else if (keep)
            out_dims[rank++] = 1;
    }
    return rank;
}

/* The three pieces of the body, each parsed; names are what the piece may use. */
static bool parse_bodies(sinter_eval *eval, sinter_scalar_body bodies[3]) {
    const sinter_string names[3][2] = {{SINTER_STRING("lowest"), SINTER_STRING("highest")},
                                       {SINTER_STRING("acc"), SINTER_STRING("x")},
                                       {SINTER_STRING("acc"), SINTER_STRING("count")}};
    const char *text = sinter_op_get_info(eval->info->op)->body;
    for (int i = 0; i < 3; i++) {
        const char *end = strchr(text, ';');
        size_t size = end ? (size_t)(end - text) : strlen(text);
        const char *piece = sinter_arena_copy_string(eval->scratch, text, size);
        if (!sinter_scalar_parse(eval->scratch, piece, names[i], 2, &bodies[i], eval->diag))
            return false;
        text = end ? end + 1 : text + size;
    }
    return true;
}

/* lowest and highest of the accumulator type, for data of dtype. */
static void extremes(sinter_dtype dtype, sinter_scalar out[2]) {
    if (sinter_dtype_is_float(dtype)) {
        out[0] = (sinter_scalar){SINTER_DTYPE_f64, {.f = -INFINITY}};
        out[1] = (sinter_scalar){SINTER_DTYPE_f64, {.f = INFINITY}};
        return;
    }
    unsigned bits = sinter_dtype_infos[dtype].bits;
    int64_t low = 0, high = 1;
    if (sinter_dtype_infos[dtype].class == SINTER_CLASS_INT) {
        low = (int64_t)(UINT64_MAX << (bits - 1));
        high = ~low;
    } else if (dtype != SINTER_DTYPE_bool) {
        high = (int64_t)(UINT64_MAX >> (64 - bits));
    }
    out[0] = (sinter_scalar){dtype, {.i = low}};
    out[1] = (sinter_scalar){dtype, {.i = high}};
}

/* Square roots and logarithms of integers are computed in f64. */
static bool needs_double(const sinter_scalar_body *body) {
    for (uint32_t i = 0; i < body->count; i++) {
        sinter_scalar_function function = body->nodes[i].function;
        if (body->nodes[i].kind == SINTER_SCALAR_NODE_CALL &&
            (function == SINTER_SCALAR_sqrt || function == SINTER_SCALAR_log))
            return true;
    }
    return false;
}

static void finish(const sinter_scalar_body *body, sinter_scalar accumulator, int64_t count,
                   sinter_tensor *result, int64_t index) {
    if (!sinter_dtype_is_float(accumulator.dtype) && needs_double(body))
        accumulator = sinter_scalar_cast(accumulator, SINTER_DTYPE_f64);
    sinter_scalar values[2] = {
        accumulator,
        sinter_scalar_cast((sinter_scalar){SINTER_DTYPE_i64, {.i = count}}, accumulator.dtype)};
    sinter_scalar value = sinter_scalar_evaluate(body, values);
    sinter_eval_store(result, index, sinter_scalar_cast(value, result->dtype));
}

bool eval_reduce(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    reduction reduce;
    sinter_scalar_body bodies[3];
    int64_t dims[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!sinter_eval_expect_rank(eval, 0, 0, SINTER_MAX_RANK) ||
        !reduction_init(eval, data, &reduce) || !parse_bodies(eval, bodies))
        return false;
    if (data->dtype == SINTER_DTYPE_string)
        return sinter_eval_error(eval, "expected numbers, found strings");
    uint32_t rank =
        reduced_dims(data, reduce.reduced, sinter_eval_int(eval, "keepdims") != 0, dims);
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, rank, dims);
    if (!result) return false;

    bool is_float = sinter_dtype_is_float(data->dtype);
    sinter_dtype dtype = is_float ? SINTER_DTYPE_f64 : data->dtype;
    int64_t result_count = sinter_tensor_count(result), count = sinter_tensor_count(data);
    sinter_scalar *accumulators = SINTER_NEW_ARRAY(eval->scratch, sinter_scalar, result_count + 1);
    sinter_scalar limits[2];
    extremes(data->dtype, limits);
    sinter_scalar init = sinter_scalar_cast(sinter_scalar_evaluate(&bodies[0], limits), dtype);
    for (int64_t i = 0; i < result_count; i++) accumulators[i] = init;
    for (int64_t n = 0; n < count; n++) {
        sinter_scalar *accumulator =
            &accumulators[sinter_eval_offset(data->rank, at, reduce.strides)];
        sinter_scalar x = sinter_eval_load(data, n);
        if (is_float) x.dtype = dtype;
        sinter_scalar values[2] = {*accumulator, x};
        *accumulator = sinter_scalar_evaluate(&bodies[1], values);
        sinter_eval_next(data->rank, data->dims, at);
    }
    for (int64_t i = 0; i < result_count; i++)
        finish(&bodies[2], accumulators[i], reduce.count, result, i);
    return true;
}

/* Whether `candidate` comes before `best`; the first NaN wins, as in NumPy. */
static bool is_better(sinter_scalar candidate, sinter_scalar best, bool largest, bool or_equal) {
    bool is_float = sinter_dtype_is_float(candidate.dtype);
    if (is_float && isnan(best.f)) return or_equal && isnan(candidate.f);
    if (is_float && isnan(candidate.f)) return true;
    sinter_scalar pair[2] = {largest ? best : candidate, largest ? candidate : best};
    return sinter_scalar_apply(or_equal ? SINTER_SCALAR_le : SINTER_SCALAR_lt, pair).i != 0;
}

bool eval_arg_reduce(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    uint32_t axis = 0;
    int64_t dims[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0}, strides[SINTER_MAX_RANK];
    bool reduced[SINTER_MAX_RANK] = {false}, largest = eval->info->op == SINTER_OP_arg_max;
    bool last = sinter_eval_int(eval, "select_last_index") != 0;
    if (!sinter_eval_expect_rank(eval, 0, 1, SINTER_MAX_RANK) ||
        !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), data->rank, &axis))
        return false;
    reduced[axis] = true;
    uint32_t rank = reduced_dims(data, reduced, sinter_eval_int(eval, "keepdims") != 0, dims);
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, rank, dims);
    if (!result) return false;
    int64_t count = sinter_tensor_count(result);
    if (count && !data->dims[axis]) return sinter_eval_error(eval, "axis %u has no elements", axis);
    memcpy(dims, data->dims, sizeof dims);
    dims[axis] = 1;
    sinter_eval_strides(data->rank, data->dims, strides);
    for (int64_t n = 0; n < count; n++) {
        int64_t start = sinter_eval_offset(data->rank, at, strides), best = 0;
        sinter_scalar best_value = sinter_eval_load(data, start);
        for (int64_t i = 1; i < data->dims[axis]; i++) {
            sinter_scalar value = sinter_eval_load(data, start + i * strides[axis]);
            if (!is_better(value, best_value, largest, last)) continue;
            best = i;
            best_value = value;
        }
        sinter_tensor_set_int(result, n, best);
        sinter_eval_next(data->rank, dims, at);
    }
    return true;
}
