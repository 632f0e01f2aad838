/* Inference of ops that read a shape or positions from an operand: reshape, slice, expand, tile, pad, split, range,
 * constant_of_shape. What the operand holds is used as dims, known or as symbols of its elements, so that every dim
 * stays an expression. Test: tests/ir/infer_shape.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Operand `index` as the dims of the result, any rank; where its length is not known, the declared type's rank. */
static bool read_shape(sinter_infer *infer, uint32_t index, const sinter_dim **out_items,
                       uint32_t *out_rank, bool *out_known) {
    size_t count;
    if (!sinter_infer_check_rank(infer, index, 1, 1) || !sinter_infer_check_integer(infer, index))
        return false;
    *out_known = sinter_infer_demand_content(infer, index, out_items, &count);
    if (*out_known) {
        *out_rank = (uint32_t)(count < UINT32_MAX ? count : UINT32_MAX);
        return sinter_infer_check_result_rank(infer, count);
    }
    const sinter_type *declared = sinter_infer_declared(infer, 0);
    if (declared->kind != SINTER_TYPE_TENSOR)
        return sinter_infer_error(
            infer,
            "the rank of the result depends on the length of %s, which is not known [shape_c1]",
            sinter_infer_text(infer, index));
    *out_rank = declared->rank;
    return true;
}

/* ---- reshape ---- */

/* A wanted size that is zero takes the operand's dim in its place (unless allowzero), whatever is below is unsettled:
 * a symbol of contents may turn out to be -1 or 0. */
static sinter_dim without_zero(sinter_infer *infer, sinter_dim wanted, sinter_dim copied,
                               bool allow_zero) {
    int64_t value, min, max;
    if (sinter_dim_is_const(infer->dims, wanted, &value))
        return value == 0 && !allow_zero && copied ? copied : wanted;
    sinter_dim_range(infer->dims, wanted, &min, &max);
    if (min >= 0 || allow_zero || !copied)
        return wanted; /* a dim that is 0 stays 0: the tensor is empty */
    return sinter_dim_select(infer->dims, sinter_infer_plus(infer, wanted, -1), wanted, copied);
}

/* Elements of data over the other dims. A dim that divides the count is cancelled even where it may be 0: then the
 * tensor is empty and no other number says what is left. So is a 0 that the data has as well. */
static sinter_dim remaining(sinter_infer *infer, const sinter_dim *dims, uint32_t rank,
                            uint32_t skip) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_dim left = sinter_infer_number(infer, 1), others = left;
    uint32_t empty = 0;
    for (uint32_t i = 0; i < rank; i++)
        empty += i != skip && sinter_dim_is(infer->dims, dims[i], 0);
    for (uint32_t i = 0; i < data->rank; i++) {
        bool cancels = empty > 0 && sinter_dim_is(infer->dims, data->dims[i], 0);
        if (cancels)
            --empty;
        else
            left = sinter_dim_mul(infer->dims, left, data->dims[i]);
    }
    if (empty > 0) return sinter_infer_number(infer, 0);
    for (uint32_t i = 0; i < rank; i++) {
        if (i == skip || sinter_dim_is(infer->dims, dims[i], 0)) continue;
        sinter_dim exact = sinter_dim_divide_exact(infer->dims, left, dims[i]);
        if (exact)
            left = exact;
        else
            others = sinter_dim_mul(infer->dims, others, dims[i]);
    }
    sinter_dim exact = sinter_dim_divide_exact(infer->dims, left, others);
    return exact ? exact : sinter_dim_floordiv(infer->dims, left, others);
}

/* `inferred`: the place of the -1, UINT32_MAX where there is none. */
static bool check_reshape(sinter_infer *infer, const sinter_dim *dims, uint32_t rank,
                          uint32_t inferred) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_type result = sinter_type_tensor(infer->arena, data->dtype, rank, dims);
    uint64_t before, after;
    if (!sinter_type_static_count(infer->dims, data, &before) ||
        !sinter_type_static_count(infer->dims, &result, &after) || before == after)
        return true;
    if (inferred == UINT32_MAX)
        return sinter_infer_error(infer,
                                  "%s has %" PRIu64 " elements, %s has %" PRIu64 " [reshape_c1]",
                                  sinter_infer_text(infer, 0), before,
                                  sinter_infer_type_text(infer, &result), after);
    return sinter_infer_error(infer,
                              "the %" PRIu64 " elements of %s do not divide by the dims given "
                              "beside the -1 at %" PRIu32 " [reshape_c1]",
                              before, sinter_infer_text(infer, 0), inferred);
}

bool infer_reshape(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *wanted;
    uint32_t rank, inferred = UINT32_MAX;
    bool known, allow_zero = sinter_node_get_int(infer->module, infer->node, "allowzero", 0) != 0;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !read_shape(infer, 1, &wanted, &rank, &known))
        return false;
    if (!known) {
        sinter_infer_set_unknown(infer, 0, data->dtype, rank, "reshaped");
        return true;
    }
    for (uint32_t i = 0; i < rank; i++) {
        int64_t value;
        if (sinter_dim_is_const(infer->dims, wanted[i], &value) && value < 0) {
            if (value != -1 || inferred != UINT32_MAX)
                return sinter_infer_error(infer, "the shape holds %s [reshape_c2]",
                                          value == -1 ? "-1 twice" : "a number below -1");
            inferred = i;
        }
        if (sinter_dim_is(infer->dims, wanted[i], 0) && !allow_zero && i >= data->rank)
            return sinter_infer_error(
                infer, "the shape copies dim %" PRIu32 ", which %s does not have [reshape_c3]", i,
                sinter_infer_text(infer, 0));
        dims[i] = without_zero(infer, wanted[i], i < data->rank ? data->dims[i] : 0, allow_zero);
    }
    if (inferred != UINT32_MAX) {
        dims[inferred] = remaining(infer, dims, rank, inferred);
    } else { /* any element read at run time may be the -1 */
        sinter_dim settled[SINTER_MAX_RANK];
        for (uint32_t i = 0; i < rank; i++) {
            int64_t min, max;
            sinter_dim_range(infer->dims, wanted[i], &min, &max);
            settled[i] = min >= 0 ? dims[i]
                                  : sinter_dim_select(infer->dims, wanted[i], dims[i],
                                                      remaining(infer, dims, rank, i));
        }
        memcpy(dims, settled, rank * sizeof *dims);
    }
    if (!check_reshape(infer, dims, rank, inferred)) return false;
    sinter_infer_set(infer, 0, data->dtype, rank, dims);
    return true;
}

/* ---- expand, tile, constant_of_shape ---- */

bool infer_expand(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *shape;
    uint32_t count, rank = data->rank;
    bool known;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !read_shape(infer, 1, &shape, &count, &known))
        return false;
    if (!known) {
        sinter_infer_set_unknown(infer, 0, data->dtype, count > rank ? count : rank, "expanded");
        return true;
    }
    memcpy(dims, data->dims, rank * sizeof *dims);
    if (!sinter_infer_broadcast_into(infer, dims, &rank, shape, count)) {
        sinter_type wanted = sinter_type_tensor(infer->arena, data->dtype, count, shape);
        return sinter_infer_error(infer, "%s does not expand to %s [expand_c1]",
                                  sinter_infer_text(infer, 0),
                                  sinter_infer_type_text(infer, &wanted));
    }
    sinter_infer_set(infer, 0, data->dtype, rank, dims);
    return true;
}

bool infer_tile(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *repeats;
    size_t count;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 1, 1) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    if (!sinter_infer_demand_content(infer, 1, &repeats, &count)) {
        sinter_infer_set_unknown(infer, 0, data->dtype, data->rank, "tiled");
        return true;
    }
    if (count != data->rank)
        return sinter_infer_error(infer, "%zu repeats for %s [tile_c1]", count,
                                  sinter_infer_text(infer, 0));
    for (uint32_t i = 0; i < data->rank; i++)
        dims[i] = sinter_dim_mul(infer->dims, data->dims[i], repeats[i]);
    sinter_infer_set(infer, 0, data->dtype, data->rank, dims);
    return true;
}

bool infer_constant_of_shape(sinter_infer *infer) {
    const sinter_attr *value = sinter_node_find_attr(infer->module, infer->node, "value");
    sinter_dtype dtype = value ? value->tensor->dtype : SINTER_DTYPE_f32;
    const sinter_dim *shape;
    uint32_t rank = 0;
    bool known;
    if (!read_shape(infer, 0, &shape, &rank, &known)) return false;
    if (!known) {
        sinter_infer_set_unknown(infer, 0, dtype, rank, "filled");
        return true;
    }
    sinter_infer_set(infer, 0, dtype, rank, shape);
    return true;
}

/* ---- slice ---- */

/* Operand `index` of `count` elements as dims; NULL after an error or where absent. */
static bool read_positions(sinter_infer *infer, uint32_t index, size_t count,
                           const sinter_dim **out_items) {
    size_t found;
    *out_items = NULL;
    if (!sinter_infer_has(infer, index)) return true;
    if (!sinter_infer_demand_content(infer, index, out_items, &found) || found != count)
        return sinter_infer_error(
            infer, "starts, ends, axes and steps differ in length: %s and %s [slice_c1]",
            sinter_infer_text(infer, 1), sinter_infer_text(infer, index));
    return true;
}

/* Longer than any axis, and short enough for sums with axes: ends as INT64_MAX and -INT64_MAX mean the limit itself. */
static const int64_t far = INT64_C(1) << 40;

/* A step within [-far, far]. */
static sinter_dim limit_step(sinter_infer *infer, sinter_dim step) {
    sinter_dim_table *table = infer->dims;
    int64_t low, high;
    sinter_dim_range(table, step, &low, &high);
    if (low >= -far && high <= far) return step;
    return sinter_dim_max(table, sinter_dim_min(table, step, sinter_infer_number(infer, far)),
                          sinter_infer_number(infer, -far));
}

/* A position made non-negative and limited to [low, size + high]. */
static sinter_dim clamp_position(sinter_infer *infer, sinter_dim position, sinter_dim size,
                                 int64_t low, int64_t high) {
    sinter_dim_table *table = infer->dims;
    sinter_dim lowest = sinter_infer_number(infer, low),
               highest = sinter_infer_plus(infer, size, high);
    int64_t value;
    if (sinter_dim_is_const(table, position, &value)) {
        bool is_last = value == -1 && high == -1; /* where a backward slice may start */
        if (value >= far || is_last) return highest;
        if (value <= -far) return lowest;
        position = value < 0 ? sinter_dim_add(table, size, position) : position;
    } else {
        /* The sum must not overflow where it is not taken. */
        sinter_dim negative = sinter_dim_min(table, position, sinter_infer_number(infer, 0));
        position =
            sinter_dim_select(table, position, position, sinter_dim_add(table, negative, size));
    }
    return sinter_dim_max(table, sinter_dim_min(table, position, highest), lowest);
}

static sinter_dim slice_length(sinter_infer *infer, sinter_dim size, sinter_dim start,
                               sinter_dim end, sinter_dim step) {
    sinter_dim_table *table = infer->dims;
    sinter_dim forward = 0, backward = 0;
    int64_t value, min, max;
    step = limit_step(infer, step);
    sinter_dim_range(table, step, &min, &max);
    if (sinter_dim_is_const(table, step, &value)) min = max = value;
    if (max > 0) {
        sinter_dim from = clamp_position(infer, start, size, 0, 0),
                   to = clamp_position(infer, end, size, 0, 0);
        forward = sinter_infer_not_negative(
            infer, sinter_dim_ceildiv(table, sinter_dim_sub(table, to, from), step));
    }
    if (min < 0) {
        sinter_dim from = clamp_position(infer, start, size, 0, -1),
                   to = clamp_position(infer, end, size, -1, -1);
        backward = sinter_infer_not_negative(
            infer, sinter_dim_ceildiv(table, sinter_dim_sub(table, to, from), step));
    }
    /* the clamped start of a backward slice is 0 even where nothing is there */
    sinter_dim_range(table, size, &min, &max);
    if (backward && min < 1) backward = sinter_dim_min(table, backward, size);
    return !backward  ? forward
           : !forward ? backward
                      : sinter_dim_select(table, step, forward, backward);
}

static bool slice_axes(sinter_infer *infer, size_t count, uint32_t *out_axes, bool *out_known) {
    const int64_t *axes;
    size_t found;
    uint32_t rank = sinter_infer_operand(infer, 0)->rank;
    *out_known = true;
    if (!sinter_infer_has(infer, 3)) {
        if (count > rank)
            return sinter_infer_error(infer, "%zu positions for %s [slice_c2]", count,
                                      sinter_infer_text(infer, 0));
        for (uint32_t i = 0; i < count; i++) out_axes[i] = i;
        return true;
    }
    *out_known = sinter_infer_find_ints(infer, 3, &axes, &found);
    if (!*out_known) return true;
    if (found != count)
        return sinter_infer_error(
            infer, "starts, ends, axes and steps differ in length: %s and %s [slice_c1]",
            sinter_infer_text(infer, 1), sinter_infer_text(infer, 3));
    return sinter_infer_axes(infer, axes, count, rank, out_axes);
}

bool infer_slice(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *starts, *ends, *steps;
    size_t count;
    uint32_t axes[SINTER_MAX_RANK];
    sinter_dim dims[SINTER_MAX_RANK];
    bool known;
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    for (uint32_t i = 1; i < 5; i++)
        if (!sinter_infer_check_rank(infer, i, 1, 1) || !sinter_infer_check_integer(infer, i))
            return false;
    bool counted = sinter_infer_count(infer, 1, &count) || sinter_infer_count(infer, 2, &count);
    if (counted && !slice_axes(infer, count, axes, &known)) return false;
    if (!counted || !known || !sinter_infer_demand_content(infer, 1, &starts, &count)) {
        sinter_infer_set_unknown(infer, 0, data->dtype, data->rank, "sliced");
        return true;
    }
    if (!read_positions(infer, 2, count, &ends) || !read_positions(infer, 4, count, &steps))
        return false;
    memcpy(dims, data->dims, data->rank * sizeof *dims);
    for (size_t i = 0; i < count; i++) {
        sinter_dim step = steps ? steps[i] : sinter_infer_number(infer, 1);
        if (sinter_dim_is(infer->dims, step, 0))
            return sinter_infer_error(infer, "a step is 0 [slice_c3]");
        dims[axes[i]] = slice_length(infer, data->dims[axes[i]], starts[i], ends[i], step);
    }
    sinter_infer_set(infer, 0, data->dtype, data->rank, dims);
    return true;
}

/* ---- pad ---- */

bool infer_pad(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *pads;
    const int64_t *axes;
    size_t count, axis_count = data->rank;
    uint32_t places[SINTER_MAX_RANK];
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 1, 1) ||
        !sinter_infer_check_same_dtype(infer, 0, 2) || !sinter_infer_check_scalar(infer, 2) ||
        !sinter_infer_check_rank(infer, 3, 1, 1))
        return false;
    for (uint32_t i = 0; i < data->rank; i++) places[i] = i;
    bool known =
        !sinter_infer_has(infer, 3) || sinter_infer_find_ints(infer, 3, &axes, &axis_count);
    if (known && sinter_infer_has(infer, 3) &&
        !sinter_infer_axes(infer, axes, axis_count, data->rank, places))
        return false;
    if (!known || !sinter_infer_demand_content(infer, 1, &pads, &count)) {
        sinter_infer_set_unknown(infer, 0, data->dtype, data->rank, "padded");
        return true;
    }
    if (count != 2 * axis_count)
        return sinter_infer_error(infer, "%zu pads for %zu axes of %s [pad_c1]", count, axis_count,
                                  sinter_infer_text(infer, 0));
    memcpy(dims, data->dims, data->rank * sizeof *dims);
    for (size_t i = 0; i < axis_count; i++) {
        sinter_dim both = sinter_dim_add(infer->dims, pads[i], pads[i + axis_count]);
        dims[places[i]] = sinter_dim_add(infer->dims, dims[places[i]], both);
    }
    sinter_infer_set(infer, 0, data->dtype, data->rank, dims);
    return true;
}

/* ---- split ---- */

/* Sizes of the pieces: read from operand 1, or equal ones (the last smaller). */
static bool split_sizes(sinter_infer *infer, sinter_dim size, sinter_dim *out_sizes) {
    sinter_dim_table *table = infer->dims;
    uint32_t pieces = infer->info->result_count;
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "num_outputs", pieces), number;
    if (stated != pieces)
        return sinter_infer_error(
            infer, "num_outputs is %" PRId64 " but there are %" PRIu32 " results [split_c1]",
            stated, pieces);
    sinter_dim piece = sinter_dim_ceildiv(table, size, sinter_infer_number(infer, pieces));
    bool known = sinter_dim_is_const(table, size, &number), even = known && number % pieces == 0;
    sinter_dim exact =
        even ? piece : sinter_dim_divide_exact(table, size, sinter_infer_number(infer, pieces));
    for (uint32_t i = 0; i < pieces; i++) {
        sinter_dim left = sinter_dim_sub(table, size, sinter_infer_times(infer, piece, i));
        out_sizes[i] =
            exact ? exact : sinter_infer_not_negative(infer, sinter_dim_min(table, left, piece));
    }
    return true;
}

bool infer_split(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    uint32_t axis, pieces = infer->info->result_count;
    const sinter_dim *read = NULL;
    size_t count;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 1, 1, 1) || !sinter_infer_check_integer(infer, 1) ||
        !sinter_infer_axis_attr(infer, "axis", 0, x->rank, &axis))
        return false;
    if (pieces == 0) return true;
    sinter_dim *sizes = SINTER_NEW_ARRAY(infer->arena, sinter_dim, pieces),
               total = sinter_infer_number(infer, 0), unified;
    if (!sinter_infer_has(infer, 1)) {
        if (!split_sizes(infer, x->dims[axis], sizes)) return false;
    } else if (sinter_infer_demand_content(infer, 1, &read, &count)) {
        if (count != pieces)
            return sinter_infer_error(infer, "%zu sizes for %" PRIu32 " results [split_c2]", count,
                                      pieces);
        memcpy(sizes, read, pieces * sizeof *sizes);
        for (uint32_t i = 0; i < pieces; i++) total = sinter_dim_add(infer->dims, total, sizes[i]);
        if (!sinter_infer_unify_dim(infer, total, x->dims[axis], &unified))
            return sinter_infer_error(
                infer, "the sizes sum to %s along axis %" PRIu32 " of %s [split_c3]",
                sinter_infer_dim_text(infer, total), axis, sinter_infer_text(infer, 0));
    } else {
        for (uint32_t i = 0; i < pieces; i++)
            sizes[i] = sinter_infer_node_dim(infer, i, axis, "piece");
    }
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    for (uint32_t i = 0; i < pieces; i++) {
        dims[axis] = sizes[i];
        sinter_infer_set(infer, i, x->dtype, x->rank, dims);
    }
    return true;
}

/* ---- range ---- */

/* Number of elements of a range of constants, any numeric type. */
static bool constant_range(sinter_infer *infer, int64_t *out_count) {
    double numbers[3];
    for (uint32_t i = 0; i < 3; i++) {
        const sinter_tensor *tensor = sinter_value_constant(
            infer->module, sinter_node_operand(infer->module, infer->node, i));
        if (!tensor || sinter_tensor_count(tensor) != 1) return false;
        numbers[i] = sinter_dtype_is_float(tensor->dtype)
                         ? sinter_tensor_get_double(tensor, 0)
                         : (double)sinter_tensor_get_int(tensor, 0);
    }
    double count = ceil((numbers[1] - numbers[0]) / numbers[2]);
    if (!(count > 0)) count = 0;
    if (!(count < (double)(INT64_C(1) << 53))) return false;
    *out_count = (int64_t)count;
    return true;
}

bool infer_range(sinter_infer *infer) {
    const sinter_type *start = sinter_infer_operand(infer, 0);
    sinter_dim parts[3], length;
    int64_t count;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_scalar(infer, i) || !sinter_infer_check_same_dtype(infer, 0, i))
            return false;
    if (sinter_dtype_is_float(start->dtype)) {
        length = constant_range(infer, &count) ? sinter_infer_number(infer, count)
                                               : sinter_infer_node_dim(infer, 0, 0, "range");
    } else {
        for (uint32_t i = 0; i < 3; i++) parts[i] = sinter_infer_demand_scalar(infer, i);
        if (sinter_dim_is(infer->dims, parts[2], 0))
            return sinter_infer_error(infer, "delta is 0 [range_c1]");
        sinter_dim span = sinter_dim_sub(infer->dims, parts[1], parts[0]);
        length = sinter_infer_not_negative(infer, sinter_dim_ceildiv(infer->dims, span, parts[2]));
    }
    sinter_infer_set(infer, 0, start->dtype, 1, &length);
    return true;
}
