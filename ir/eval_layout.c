/* Evaluator rules that move elements by an index map known from dims and small integer operands: transpose, expand,
 * slice, concat, split, tile, ... Elements are copied bit for bit, whatever their type. Most maps are strides: see
 * copy_strided. Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <string.h>

/* result[at] = source[base + sum of at[i] * strides[i]] for all at under dims (the result's, maybe split further). */
static void copy_strided(sinter_tensor *result, const sinter_tensor *source, uint32_t rank,
                         const int64_t *dims, int64_t base, const int64_t *strides) {
    int64_t at[2 * SINTER_MAX_RANK] = {0}, count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        sinter_eval_copy_element(result, n, source, base + sinter_eval_offset(rank, at, strides));
        sinter_eval_next(rank, dims, at);
    }
}

bool eval_transpose(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    const int64_t *perm;
    int64_t reversed[SINTER_MAX_RANK], dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK],
        from[SINTER_MAX_RANK];
    bool used[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < data->rank; i++) reversed[i] = data->rank - 1 - i;
    if (!sinter_eval_has(eval, "perm"))
        perm = reversed;
    else if (sinter_eval_ints_attr(eval, "perm", &perm) != data->rank)
        return sinter_eval_error(eval, "perm does not fit %s", sinter_eval_describe(eval, data));
    if (!sinter_eval_axes(eval, perm, data->rank, data->rank, used)) return false;
    sinter_eval_strides(data->rank, data->dims, from);
    for (uint32_t i = 0; i < data->rank; i++) {
        uint32_t axis;
        if (!sinter_eval_axis(eval, perm[i], data->rank, &axis)) return false;
        dims[i] = data->dims[axis];
        strides[i] = from[axis];
    }
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, data->rank, dims);
    if (result) copy_strided(result, data, data->rank, dims, 0, strides);
    return result != NULL;
}

bool eval_expand(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t shape[SINTER_MAX_RANK], dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    size_t count;
    uint32_t rank;
    if (!sinter_eval_ints(eval, 1, shape, SINTER_MAX_RANK, &count)) return false;
    if (!sinter_eval_broadcast_dims(input->rank, input->dims, (uint32_t)count, shape, &rank, dims))
        return sinter_eval_error(eval, "%s does not broadcast to the shape",
                                 sinter_eval_describe(eval, input));
    sinter_tensor *result = sinter_eval_create(eval, 0, input->dtype, rank, dims);
    if (!result) return false;
    sinter_eval_broadcast_strides(input, rank, strides);
    copy_strided(result, input, rank, dims, 0, strides);
    return true;
}

bool eval_tile(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t repeats[SINTER_MAX_RANK], dims[SINTER_MAX_RANK], from[SINTER_MAX_RANK];
    int64_t split[2 * SINTER_MAX_RANK],
        strides[2 * SINTER_MAX_RANK]; /* (repeat, dim) of each axis */
    size_t count;
    if (!sinter_eval_ints(eval, 1, repeats, SINTER_MAX_RANK, &count)) return false;
    if (count != input->rank)
        return sinter_eval_error(eval, "%zu repeats for %s", count,
                                 sinter_eval_describe(eval, input));
    sinter_eval_strides(input->rank, input->dims, from);
    for (uint32_t i = 0; i < input->rank; i++) {
        split[2 * i] = repeats[i];
        split[2 * i + 1] = input->dims[i];
        strides[2 * i] = 0;
        strides[2 * i + 1] = from[i];
        if (!sinter_eval_product(split + 2 * i, 2, &dims[i]))
            return sinter_eval_error(eval, "axis %u cannot be repeated %" PRId64 " times", i,
                                     repeats[i]);
    }
    sinter_tensor *result = sinter_eval_create(eval, 0, input->dtype, input->rank, dims);
    if (result) copy_strided(result, input, 2 * input->rank, split, 0, strides);
    return result != NULL;
}

/* ---- slice ---- */

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

bool eval_slice(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    int64_t starts[SINTER_MAX_RANK], ends[SINTER_MAX_RANK], axes[SINTER_MAX_RANK],
        steps[SINTER_MAX_RANK];
    int64_t dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], base = 0;
    size_t count, end_count, axis_count, step_count;
    bool marked[SINTER_MAX_RANK];
    if (!sinter_eval_ints(eval, 1, starts, SINTER_MAX_RANK, &count) ||
        !sinter_eval_ints(eval, 2, ends, SINTER_MAX_RANK, &end_count) ||
        !sinter_eval_ints(eval, 3, axes, SINTER_MAX_RANK, &axis_count) ||
        !sinter_eval_ints(eval, 4, steps, SINTER_MAX_RANK, &step_count))
        return false;
    if (!sinter_eval_operand(eval, 3))
        for (axis_count = 0; axis_count < count; axis_count++)
            axes[axis_count] = (int64_t)axis_count;
    if (!sinter_eval_operand(eval, 4))
        for (step_count = 0; step_count < count; step_count++) steps[step_count] = 1;
    if (end_count != count || axis_count != count || step_count != count)
        return sinter_eval_error(eval, "starts, ends, axes and steps have different lengths");
    if (!sinter_eval_axes(eval, axes, count, data->rank, marked)) return false;
    memcpy(dims, data->dims, sizeof dims);
    sinter_eval_strides(data->rank, data->dims, strides);
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        if (!sinter_eval_axis(eval, axes[i], data->rank, &axis)) return false;
        int64_t size = data->dims[axis], limit = INT64_C(1) << 62,
                step = clamp(steps[i], -limit, limit);
        int64_t start = starts[i] < 0 ? starts[i] + size : starts[i];
        int64_t end = ends[i] < 0 ? ends[i] + size : ends[i];
        if (!step) return sinter_eval_error(eval, "a step is 0");
        start = step > 0 ? clamp(start, 0, size) : clamp(start, 0, size - 1);
        end = step > 0 ? clamp(end, 0, size) : clamp(end, -1, size - 1);
        int64_t span = step > 0 ? end - start : start - end, length = step > 0 ? step : -step;
        dims[axis] = size && span > 0 ? (span - 1) / length + 1 : 0;
        if (dims[axis] > 0) base += start * strides[axis];
        strides[axis] = dims[axis] > 1 ? strides[axis] * step : 0;
    }
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, data->rank, dims);
    if (result) copy_strided(result, data, data->rank, dims, base, strides);
    return result != NULL;
}

/* ---- concat and split ---- */

bool eval_concat(sinter_eval *eval) {
    const sinter_tensor *first = sinter_eval_operand(eval, 0);
    uint32_t axis, count = eval->info->operand_count;
    int64_t dims[SINTER_MAX_RANK];
    if (!first) return sinter_eval_error(eval, "operand 0 is absent");
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), first->rank, &axis)) return false;
    memcpy(dims, first->dims, sizeof dims);
    dims[axis] = 0;
    for (uint32_t i = 0; i < count; i++) {
        const sinter_tensor *input = eval->operands[i];
        bool fits = input && input->rank == first->rank && input->dtype == first->dtype;
        for (uint32_t d = 0; fits && d < first->rank; d++)
            fits = d == axis || input->dims[d] == first->dims[d];
        if (!fits || dims[axis] > INT64_MAX - input->dims[axis])
            return sinter_eval_error(eval, "operand %u is %s after %s", i,
                                     input ? sinter_eval_describe(eval, input) : "absent",
                                     sinter_eval_describe(eval, first));
        dims[axis] += input->dims[axis];
    }
    sinter_tensor *result = sinter_eval_create(eval, 0, first->dtype, first->rank, dims);
    if (!result) return false;
    int64_t outer = sinter_eval_extent(dims, 0, axis),
            inner = sinter_eval_extent(dims, axis + 1, first->rank), at = 0;
    for (int64_t o = 0; o < outer; o++)
        for (uint32_t i = 0; i < count; i++) {
            int64_t run = eval->operands[i]->dims[axis] * inner;
            sinter_eval_copy_elements(result, at, eval->operands[i], o * run, run);
            at += run;
        }
    return true;
}

/* Sizes of the pieces: as given, or equal with a smaller last one. */
static bool split_sizes(sinter_eval *eval, int64_t size, uint32_t count, int64_t *out_sizes) {
    size_t given;
    if (sinter_eval_operand(eval, 1)) {
        int64_t total = 0;
        if (!sinter_eval_ints(eval, 1, out_sizes, count, &given)) return false;
        if (given != count)
            return sinter_eval_error(eval, "%zu sizes for %u results", given, count);
        for (uint32_t i = 0; i < count; i++) {
            if (out_sizes[i] < 0 || out_sizes[i] > size - total)
                return sinter_eval_error(eval, "the pieces do not add up to %" PRId64, size);
            total += out_sizes[i];
        }
        if (total != size)
            return sinter_eval_error(eval, "the pieces do not add up to %" PRId64, size);
        return true;
    }
    int64_t piece = (size + count - 1) / count;
    for (uint32_t i = 0; i < count; i++) {
        out_sizes[i] = size < piece ? size : piece;
        size -= out_sizes[i];
    }
    return true;
}

bool eval_split(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    uint32_t axis, count = eval->info->result_count;
    int64_t dims[SINTER_MAX_RANK], *sizes = SINTER_NEW_ARRAY(eval->scratch, int64_t, count + 1),
                                   start = 0;
    if (!count || !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), input->rank, &axis) ||
        !split_sizes(eval, input->dims[axis], count, sizes))
        return count ? false : sinter_eval_error(eval, "has no results");
    memcpy(dims, input->dims, sizeof dims);
    int64_t outer = sinter_eval_extent(dims, 0, axis),
            inner = sinter_eval_extent(dims, axis + 1, input->rank);
    for (uint32_t i = 0; i < count; start += sizes[i++]) {
        if (!sinter_eval_wants(eval, i)) continue;
        dims[axis] = sizes[i];
        sinter_tensor *result = sinter_eval_create(eval, i, input->dtype, input->rank, dims);
        if (!result) return false;
        for (int64_t o = 0; o < outer; o++)
            sinter_eval_copy_elements(result, o * sizes[i] * inner, input,
                                      (o * input->dims[axis] + start) * inner, sizes[i] * inner);
    }
    return true;
}

/* ---- blocks, triangles, sequences ---- */

bool eval_depth_to_space(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t block = sinter_eval_int(eval, "blocksize"), dims[4];
    if (!sinter_eval_expect_rank(eval, 0, 4, 4)) return false;
    if (block < 1 || block > 1 << 15 || input->dims[1] % (block * block))
        return sinter_eval_error(eval, "blocksize %" PRId64 " does not divide %s", block,
                                 sinter_eval_describe(eval, input));
    int64_t channels = input->dims[1] / (block * block), height = input->dims[2],
            width = input->dims[3];
    dims[0] = input->dims[0];
    dims[1] = channels;
    if (height > INT64_MAX / block || width > INT64_MAX / block)
        return sinter_eval_error(eval, "the result is too large");
    dims[2] = height * block;
    dims[3] = width * block;
    sinter_tensor *result = sinter_eval_create(eval, 0, input->dtype, 4, dims);
    if (!result) return false;
    /* axes of the result: n, c, h, block row, w, block column */
    int64_t plane = height * width, split[6] = {dims[0], channels, height, block, width, block};
    int64_t dcr[6] = {input->dims[1] * plane,   plane, width,
                      block * channels * plane, 1,     channels * plane};
    int64_t crd[6] = {
        input->dims[1] * plane, block * block * plane, width, block * plane, 1, plane};
    copy_strided(result, input, 6, split, 0,
                 sinter_eval_string_is(eval, "mode", "CRD") ? crd : dcr);
    return true;
}

bool eval_space_to_depth(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t block = sinter_eval_int(eval, "blocksize"), dims[4];
    if (!sinter_eval_expect_rank(eval, 0, 4, 4)) return false;
    if (block < 1 || block > 1 << 15 || input->dims[2] % block || input->dims[3] % block ||
        input->dims[1] > INT64_MAX / (block * block))
        return sinter_eval_error(eval, "blocksize %" PRId64 " does not divide %s", block,
                                 sinter_eval_describe(eval, input));
    int64_t channels = input->dims[1], height = input->dims[2] / block,
            width = input->dims[3] / block;
    dims[0] = input->dims[0];
    dims[1] = channels * block * block;
    dims[2] = height;
    dims[3] = width;
    sinter_tensor *result = sinter_eval_create(eval, 0, input->dtype, 4, dims);
    if (!result) return false;
    /* axes of the result: n, block row, block column, c, h, w */
    int64_t row = input->dims[3], plane = input->dims[2] * row;
    int64_t split[6] = {dims[0], block, block, channels, height, width};
    int64_t strides[6] = {channels * plane, row, 1, plane, block * row, block};
    copy_strided(result, input, 6, split, 0, strides);
    return true;
}

bool eval_trilu(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t k = 0;
    bool upper = sinter_eval_int(eval, "upper") != 0;
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    if (sinter_eval_operand(eval, 1) && !sinter_eval_int_scalar(eval, 1, &k)) return false;
    sinter_tensor *result = sinter_eval_create_like(eval, 0, input);
    if (!result) return false;
    int64_t rows = input->dims[input->rank - 2], columns = input->dims[input->rank - 1];
    int64_t count = sinter_tensor_count(input);
    for (int64_t n = 0; n < count; n++) {
        int64_t diagonal = n % columns - n / columns % rows;
        if (upper ? diagonal >= k : diagonal <= k) sinter_eval_copy_element(result, n, input, n);
    }
    return true;
}

bool eval_reverse_sequence(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0), *lens = sinter_eval_operand(eval, 1);
    uint32_t batch_axis, time_axis;
    int64_t at[SINTER_MAX_RANK] = {0}, strides[SINTER_MAX_RANK];
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK) ||
        !sinter_eval_axis(eval, sinter_eval_int(eval, "batch_axis"), input->rank, &batch_axis) ||
        !sinter_eval_axis(eval, sinter_eval_int(eval, "time_axis"), input->rank, &time_axis) ||
        !sinter_eval_expect_rank(eval, 1, 1, 1))
        return false;
    if (batch_axis == time_axis || lens->dims[0] != input->dims[batch_axis] ||
        !sinter_dtype_is_integer(lens->dtype))
        return sinter_eval_error(eval, "lengths are %s for axis %u of %s",
                                 sinter_eval_describe(eval, lens), batch_axis,
                                 sinter_eval_describe(eval, input));
    const int64_t *lengths = sinter_eval_integers(eval, lens);
    for (int64_t i = 0; i < lens->dims[0]; i++)
        if (lengths[i] < 0 || lengths[i] > input->dims[time_axis])
            return sinter_eval_error(eval, "a length is %" PRId64 ", expected at most %" PRId64,
                                     lengths[i], input->dims[time_axis]);
    sinter_tensor *result = sinter_eval_create_like(eval, 0, input);
    if (!result) return false;
    sinter_eval_strides(input->rank, input->dims, strides);
    int64_t count = sinter_tensor_count(input);
    for (int64_t n = 0; n < count; n++) {
        int64_t length = lengths[at[batch_axis]], time = at[time_axis];
        int64_t from = time < length ? length - 1 - time : time;
        sinter_eval_copy_element(result, n, input, n + (from - time) * strides[time_axis]);
        sinter_eval_next(input->rank, input->dims, at);
    }
    return true;
}

bool eval_compress(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0),
                        *condition = sinter_eval_operand(eval, 1);
    bool has_axis = sinter_eval_has(eval, "axis");
    uint32_t axis = 0;
    if (has_axis && !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), input->rank, &axis))
        return false;
    if (!sinter_eval_expect_rank(eval, 1, 1, 1)) return false;
    int64_t size = has_axis ? input->dims[axis] : sinter_tensor_count(input), kept = 0,
            dims[SINTER_MAX_RANK];
    if (condition->dims[0] > size || condition->dtype != SINTER_DTYPE_bool)
        return sinter_eval_error(eval, "condition is %s for %" PRId64 " slices",
                                 sinter_eval_describe(eval, condition), size);
    for (int64_t i = 0; i < condition->dims[0]; i++)
        kept += sinter_tensor_get_int(condition, i) != 0;
    memcpy(dims, input->dims, sizeof dims);
    dims[axis] = kept;
    sinter_tensor *result =
        sinter_eval_create(eval, 0, input->dtype, has_axis ? input->rank : 1, dims);
    if (!result) return false;
    int64_t outer = has_axis ? sinter_eval_extent(input->dims, 0, axis) : 1, to = 0;
    int64_t inner = has_axis ? sinter_eval_extent(input->dims, axis + 1, input->rank) : 1;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < condition->dims[0]; i++) {
            if (!sinter_tensor_get_int(condition, i)) continue;
            sinter_eval_copy_elements(result, to, input, (o * size + i) * inner, inner);
            to += inner;
        }
    return true;
}
