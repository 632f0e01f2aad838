/* Evaluator rules that put a border around a tensor or cut one off: pad, center_crop_pad.
 * Test: tests/ops/center_crop_pad.sir, tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <string.h>

typedef enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP } pad_mode;

static int64_t floor_mod(int64_t a, int64_t b) {
    int64_t r = a % b;
    return r < 0 ? r + b : r;
}

/* Where index i of an axis comes from when only [0, size) is there; -1: the constant. size > 0 but for constants. */
static int64_t source_index(pad_mode mode, int64_t i, int64_t size) {
    if (i >= 0 && i < size) return i;
    switch (mode) {
    case PAD_CONSTANT:
        return -1;
    case PAD_EDGE:
        return i < 0 ? 0 : size - 1;
    case PAD_WRAP:
        return floor_mod(i, size);
    case PAD_REFLECT:
        break;
    }
    if (size == 1) return 0;
    int64_t period = 2 * (size - 1), folded = floor_mod(i, period);
    return folded < size ? folded : period - folded;
}

/* Pads every axis by begin and end, negative ones cut. Cutting comes before padding. fill: NULL for zeros. */
static bool pad_tensor(sinter_eval *eval, const sinter_tensor *data, const int64_t *begin,
                       const int64_t *end, pad_mode mode, const sinter_tensor *fill) {
    int64_t dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    int64_t first[SINTER_MAX_RANK], size[SINTER_MAX_RANK]; /* what is left after cutting */
    const int64_t limit = INT64_C(1) << 61;
    for (uint32_t i = 0; i < data->rank; i++) {
        if (begin[i] < -limit || begin[i] > limit || end[i] < -limit || end[i] > limit)
            return sinter_eval_error(eval, "axis %u is padded too far", i);
        first[i] = begin[i] < 0 ? -begin[i] : 0;
        size[i] = data->dims[i] - first[i] - (end[i] < 0 ? -end[i] : 0);
        dims[i] = data->dims[i] + begin[i] + end[i];
        if (size[i] < 0 || (!size[i] && dims[i] > 0 && mode != PAD_CONSTANT))
            return sinter_eval_error(eval,
                                     "pads %" PRId64 " and %" PRId64 " do not fit axis %u of %s",
                                     begin[i], end[i], i, sinter_eval_describe(eval, data));
    }
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, data->rank, dims);
    if (!result) return false;
    sinter_eval_strides(data->rank, data->dims, strides);
    int64_t count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        int64_t offset = 0;
        for (uint32_t i = 0; offset >= 0 && i < data->rank; i++) {
            int64_t from = source_index(mode, at[i] - (begin[i] > 0 ? begin[i] : 0), size[i]);
            offset = from < 0 ? -1 : offset + (first[i] + from) * strides[i];
        }
        if (offset >= 0)
            sinter_eval_copy_element(result, n, data, offset);
        else if (fill)
            sinter_eval_copy_element(result, n, fill, 0);
        sinter_eval_next(data->rank, dims, at);
    }
    return true;
}

static bool read_mode(sinter_eval *eval, pad_mode *out_mode) {
    static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
    for (int i = 0; i < 4; i++) {
        *out_mode = (pad_mode)i;
        if (sinter_eval_string_is(eval, "mode", names[i])) return true;
    }
    return sinter_eval_error(eval, "unknown mode '%.*s'",
                             SINTER_STRING_ARGS(sinter_eval_string(eval, "mode")));
}

bool eval_pad(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *fill = sinter_eval_operand(eval, 2);
    int64_t pads[2 * SINTER_MAX_RANK], axes[SINTER_MAX_RANK], begin[SINTER_MAX_RANK] = {0},
                                                              end[SINTER_MAX_RANK] = {0};
    size_t count, axis_count;
    bool marked[SINTER_MAX_RANK];
    pad_mode mode;
    if (!read_mode(eval, &mode) || !sinter_eval_ints(eval, 1, pads, 2 * SINTER_MAX_RANK, &count) ||
        !sinter_eval_ints(eval, 3, axes, SINTER_MAX_RANK, &axis_count))
        return false;
    if (!sinter_eval_operand(eval, 3))
        for (axis_count = 0; axis_count < data->rank; axis_count++)
            axes[axis_count] = (int64_t)axis_count;
    if (count != 2 * axis_count)
        return sinter_eval_error(eval, "%zu pads for %zu axes", count, axis_count);
    if (!sinter_eval_axes(eval, axes, axis_count, data->rank, marked)) return false;
    if (fill && (fill->dtype != data->dtype || sinter_tensor_count(fill) != 1))
        return sinter_eval_error(eval, "constant_value is %s for %s",
                                 sinter_eval_describe(eval, fill),
                                 sinter_eval_describe(eval, data));
    for (size_t i = 0; i < axis_count; i++) {
        uint32_t axis;
        if (!sinter_eval_axis(eval, axes[i], data->rank, &axis)) return false;
        begin[axis] = pads[i];
        end[axis] = pads[axis_count + i];
    }
    return pad_tensor(eval, data, begin, end, mode, fill);
}

bool eval_center_crop_pad(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    const int64_t *axes;
    int64_t shape[SINTER_MAX_RANK], all[SINTER_MAX_RANK], begin[SINTER_MAX_RANK] = {0},
                                                          end[SINTER_MAX_RANK] = {0};
    size_t count, axis_count = data->rank;
    bool marked[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < data->rank; i++) all[i] = i;
    if (sinter_eval_has(eval, "axes"))
        axis_count = sinter_eval_ints_attr(eval, "axes", &axes);
    else
        axes = all;
    if (!sinter_eval_ints(eval, 1, shape, SINTER_MAX_RANK, &count)) return false;
    if (count != axis_count)
        return sinter_eval_error(eval, "%zu sizes for %zu axes", count, axis_count);
    if (!sinter_eval_axes(eval, axes, axis_count, data->rank, marked)) return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        if (!sinter_eval_axis(eval, axes[i], data->rank, &axis)) return false;
        if (shape[i] < 0) return sinter_eval_error(eval, "a size is %" PRId64, shape[i]);
        int64_t more = shape[i] - data->dims[axis];
        begin[axis] = more / 2; /* toward zero: the odd one is at the end, of a cut too */
        end[axis] = more - begin[axis];
    }
    return pad_tensor(eval, data, begin, end, PAD_CONSTANT, NULL);
}
