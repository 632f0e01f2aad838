/* Inference of sliding windows: convolutions, pooling and their transposes. One description of the window is read
 * from the attributes, output sizes come from two formulas (forward and transposed). ONNX semantics.
 * Test: tests/ir/infer_window.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>

typedef enum auto_pad { PAD_EXPLICIT, PAD_SAME, PAD_VALID } auto_pad;

typedef struct window {
    uint32_t count;          /* spatial axes */
    uint32_t channel, space; /* axis of the channels of x and y, and first spatial axis */
    sinter_dim kernel[SINTER_MAX_RANK];
    int64_t strides[SINTER_MAX_RANK], dilations[SINTER_MAX_RANK];
    int64_t begin[SINTER_MAX_RANK], end[SINTER_MAX_RANK];
    auto_pad padding;
    bool ceil;
} window;

/* An attribute of `count` numbers in [min, INT32_MAX], so that sums of them fit; `otherwise` where absent. */
static bool read_list(sinter_infer *infer, const char *name, uint32_t count, int64_t otherwise,
                      int64_t min, int64_t *out) {
    const int64_t *items;
    if (sinter_op_find_attribute(infer->info->op, sinter_string_of(name)) < 0 ||
        !sinter_node_find_attr(infer->module, infer->node, name)) {
        for (uint32_t i = 0; i < count; i++) out[i] = otherwise;
        return true;
    }
    size_t found = sinter_node_get_ints(infer->module, infer->node, name, &items);
    if (found != count)
        return sinter_infer_error(
            infer, "attribute '%s' has %zu numbers, expected %" PRIu32 " [window_c1]", name, found,
            count);
    for (uint32_t i = 0; i < count; i++) {
        if (items[i] < min || items[i] > INT32_MAX)
            return sinter_infer_error(
                infer, "attribute '%s' holds %" PRId64 ", expected %" PRId64 " to %d [window_c2]",
                name, items[i], min, INT32_MAX);
        out[i] = items[i];
    }
    return true;
}

static bool read_padding(sinter_infer *infer, window *out) {
    int64_t pads[2 * SINTER_MAX_RANK];
    out->padding = PAD_EXPLICIT;
    if (sinter_op_find_attribute(infer->info->op, SINTER_STRING("auto_pad")) >= 0) {
        sinter_string mode = sinter_node_get_string(infer->module, infer->node, "auto_pad");
        if (sinter_string_is(mode, "SAME_UPPER") || sinter_string_is(mode, "SAME_LOWER"))
            out->padding = PAD_SAME;
        else if (sinter_string_is(mode, "VALID"))
            out->padding = PAD_VALID;
        else if (mode.size && !sinter_string_is(mode, "NOTSET"))
            return sinter_infer_error(
                infer, "auto_pad '%.*s' is not NOTSET, SAME_UPPER, SAME_LOWER or VALID [window_c3]",
                SINTER_STRING_ARGS(mode));
    }
    if (!read_list(infer, "pads", 2 * out->count, 0, 0, pads)) return false;
    for (uint32_t i = 0; i < out->count; i++) {
        bool used = out->padding == PAD_EXPLICIT;
        out->begin[i] = used ? pads[i] : 0;
        out->end[i] = used ? pads[i + out->count] : 0;
    }
    return true;
}

/* Kernel dims from the attribute or, where weights >= 0, from dims 2.. of that operand. */
static bool read_kernel(sinter_infer *infer, int weights, window *out) {
    int64_t shape[SINTER_MAX_RANK];
    if (weights >= 0) {
        const sinter_type *w = sinter_infer_operand(infer, (uint32_t)weights);
        for (uint32_t i = 0; i < out->count; i++) out->kernel[i] = w->dims[i + 2];
        if (!sinter_node_find_attr(infer->module, infer->node, "kernel_shape")) return true;
    }
    if (!read_list(infer, "kernel_shape", out->count, 1, 1, shape)) return false;
    for (uint32_t i = 0; i < out->count; i++) {
        sinter_dim stated = sinter_infer_number(infer, shape[i]);
        if (weights >= 0 &&
            !sinter_infer_check_dim(infer, (uint32_t)weights, i + 2, stated, "kernel_shape"))
            return false;
        out->kernel[i] = stated;
    }
    return true;
}

/* x is operand `data` of rank 2 + count. */
static bool read_window(sinter_infer *infer, uint32_t data, int weights, window *out) {
    const sinter_type *x = sinter_infer_operand(infer, data);
    if (!sinter_infer_check_rank(infer, data, 3, SINTER_MAX_RANK)) return false;
    bool channels_last = sinter_node_get_int(infer->module, infer->node, "channels_last", 0) != 0;
    out->count = x->rank - 2;
    out->channel = channels_last ? x->rank - 1 : 1;
    out->space = channels_last ? 1 : 2;
    if (weights >= 0 && !sinter_infer_check_rank(infer, (uint32_t)weights, x->rank, x->rank))
        return false;
    out->ceil = sinter_op_find_attribute(infer->info->op, SINTER_STRING("ceil_mode")) >= 0 &&
                sinter_node_get_int(infer->module, infer->node, "ceil_mode", 0) != 0;
    return read_kernel(infer, weights, out) &&
           read_list(infer, "strides", out->count, 1, 1, out->strides) &&
           read_list(infer, "dilations", out->count, 1, 1, out->dilations) &&
           read_padding(infer, out);
}

/* (kernel - 1) * dilation + 1 */
static sinter_dim window_extent(sinter_infer *infer, const window *w, uint32_t i) {
    return sinter_infer_plus(
        infer,
        sinter_infer_times(infer, sinter_infer_plus(infer, w->kernel[i], -1), w->dilations[i]), 1);
}

/* Number of windows along spatial axis i. With ceil the last window starts inside the data or the padding before it. */
static bool window_output(sinter_infer *infer, const window *w, uint32_t i, sinter_dim input,
                          sinter_dim *out) {
    sinter_dim_table *table = infer->dims;
    sinter_dim stride = sinter_infer_number(infer, w->strides[i]);
    if (w->padding == PAD_SAME) {
        *out = sinter_dim_ceildiv(table, input, stride);
        return true;
    }
    sinter_dim extent = window_extent(infer, w, i);
    sinter_dim padded = sinter_infer_plus(infer, input, w->begin[i] + w->end[i]);
    sinter_dim room = sinter_dim_sub(table, padded, extent);
    if (!sinter_infer_window_fits(
            infer, extent, w->ceil ? sinter_infer_plus(infer, padded, w->strides[i] - 1) : padded))
        return sinter_infer_error(infer,
                                  "a window of %s does not fit spatial dim %" PRIu32
                                  " of %s with pads %" PRId64 " and %" PRId64 " [window_c4]",
                                  sinter_infer_dim_text(infer, extent), i,
                                  sinter_infer_text(infer, 0), w->begin[i], w->end[i]);
    if (w->ceil) {
        sinter_dim last_start =
            sinter_dim_floordiv(table, sinter_infer_plus(infer, input, w->begin[i] - 1), stride);
        *out = sinter_infer_plus(
            infer, sinter_dim_min(table, sinter_dim_ceildiv(table, room, stride), last_start), 1);
    } else {
        *out = sinter_infer_plus(infer, sinter_dim_floordiv(table, room, stride), 1);
    }
    return true;
}

static bool set_windows(sinter_infer *infer, uint32_t data, const window *w, sinter_dim channels,
                        sinter_dtype dtype) {
    const sinter_type *x = sinter_infer_operand(infer, data);
    sinter_dim dims[SINTER_MAX_RANK] = {x->dims[0]};
    dims[w->channel] = channels;
    for (uint32_t i = 0; i < w->count; i++)
        if (!window_output(infer, w, i, x->dims[w->space + i], &dims[w->space + i])) return false;
    sinter_infer_set(infer, 0, dtype, x->rank, dims);
    return true;
}

/* ---- pooling ---- */

static bool infer_pool(sinter_infer *infer) {
    window w;
    const sinter_type *x = sinter_infer_operand(infer, 0);
    return read_window(infer, 0, -1, &w) && set_windows(infer, 0, &w, x->dims[w.channel], x->dtype);
}

bool infer_average_pool(sinter_infer *infer) {
    return infer_pool(infer);
}

bool infer_lp_pool(sinter_infer *infer) {
    return infer_pool(infer);
}

bool infer_max_pool(sinter_infer *infer) {
    if (!infer_pool(infer)) return false;
    if (infer->info->result_count > 1 && infer->info->results[1]) {
        if (sinter_node_get_int(infer->module, infer->node, "channels_last", 0))
            return sinter_infer_error(infer, "indices need channels_last = 0 [pool_c1]");
        sinter_infer_set(infer, 1, SINTER_DTYPE_i64, infer->results[0].rank,
                         infer->results[0].dims);
    }
    return true;
}

bool infer_max_unpool(sinter_infer *infer) {
    window w;
    const sinter_type *x = sinter_infer_operand(infer, 0);
    const sinter_dim *shape;
    size_t count;
    if (!read_window(infer, 0, -1, &w) || !sinter_infer_check_dtype(infer, 1, SINTER_DTYPE_i64) ||
        !sinter_infer_check_rank(infer, 1, x->rank, x->rank))
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        if (!sinter_infer_check_dims_equal(infer, 1, i, 0, i)) return false;
    if (sinter_infer_has(infer, 2)) {
        if (!sinter_infer_check_rank(infer, 2, 1, 1) || !sinter_infer_check_integer(infer, 2))
            return false;
        if (!sinter_infer_demand_content(infer, 2, &shape, &count)) {
            sinter_infer_set_unknown(infer, 0, x->dtype, x->rank, "unpool");
            return true;
        }
        if (count != x->rank)
            return sinter_infer_error(infer, "output_shape has %zu numbers for %s [unpool_c1]",
                                      count, sinter_infer_text(infer, 0));
        sinter_infer_set(infer, 0, x->dtype, x->rank, shape);
        return true;
    }
    sinter_dim dims[SINTER_MAX_RANK] = {x->dims[0], x->dims[1]};
    for (uint32_t i = 0; i < w.count; i++) {
        sinter_dim steps =
            sinter_infer_times(infer, sinter_infer_plus(infer, x->dims[i + 2], -1), w.strides[i]);
        dims[i + 2] = sinter_infer_plus(infer, sinter_dim_add(infer->dims, steps, w.kernel[i]),
                                        -w.begin[i] - w.end[i]);
    }
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

/* ---- convolution ---- */

/* Channels of x are those of w times group; w's outputs split into groups; the bias has one element an output. */
static bool check_channels(sinter_infer *infer, uint32_t data, uint32_t weights, uint32_t bias,
                           sinter_dim channels) {
    const sinter_type *w = sinter_infer_operand(infer, weights);
    int64_t group = sinter_node_get_int(infer->module, infer->node, "group", 1);
    sinter_dim unified, per_group;
    if (group < 1)
        return sinter_infer_error(infer, "group = %" PRId64 " is not positive [conv_c1]", group);
    if (!sinter_infer_unify_dim(infer, channels, sinter_infer_times(infer, w->dims[1], group),
                                &unified))
        return sinter_infer_error(
            infer,
            "channels differ (x has %s, w takes %s in %" PRId64 " group(s)): %s and %s [conv_c2]",
            sinter_infer_dim_text(infer, channels), sinter_infer_dim_text(infer, w->dims[1]), group,
            sinter_infer_text(infer, data), sinter_infer_text(infer, weights));
    return sinter_infer_divide(infer, w->dims[0], group, "group", &per_group) &&
           sinter_infer_check_rank(infer, bias, 1, 1) &&
           sinter_infer_check_dim(infer, bias, 0, w->dims[0], "bias");
}

static bool infer_convolution(sinter_infer *infer, uint32_t data, uint32_t weights, uint32_t bias,
                              sinter_dtype dtype) {
    window w;
    return read_window(infer, data, (int)weights, &w) &&
           check_channels(infer, data, weights, bias,
                          sinter_infer_operand(infer, data)->dims[w.channel]) &&
           set_windows(infer, data, &w, sinter_infer_operand(infer, weights)->dims[0], dtype);
}

bool infer_conv(sinter_infer *infer) {
    return sinter_infer_check_same_dtype(infer, 0, 1) &&
           sinter_infer_check_same_dtype(infer, 0, 2) &&
           infer_convolution(infer, 0, 1, 2, sinter_infer_operand(infer, 0)->dtype);
}

/* A scale or zero point of weights: one for all, or one a channel of the result. */
static bool check_weight_parameter(sinter_infer *infer, uint32_t index, uint32_t weights) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!sinter_infer_check_rank(infer, index, 0, 1)) return false;
    if (type->rank == 0 || sinter_dim_is(infer->dims, type->dims[0], 1)) return true;
    return sinter_infer_check_rank(infer, weights, 1, SINTER_MAX_RANK) &&
           sinter_infer_check_dims_equal(infer, index, 0, weights, 0);
}

bool infer_conv_integer(sinter_infer *infer) {
    enum { NO_BIAS = 4 };
    if (!sinter_infer_check_scalar(infer, 2) || !check_weight_parameter(infer, 3, 1)) return false;
    return sinter_infer_check_integer(infer, 0) && sinter_infer_check_integer(infer, 1) &&
           sinter_infer_check_same_dtype(infer, 0, 2) &&
           sinter_infer_check_same_dtype(infer, 1, 3) &&
           infer_convolution(infer, 0, 1, NO_BIAS, SINTER_DTYPE_i32);
}

bool infer_qlinear_conv(sinter_infer *infer) {
    const uint32_t of_tensors[4] = {1, 2, 6, 7};
    for (uint32_t i = 0; i < 4; i++)
        if (!sinter_infer_check_scalar(infer, of_tensors[i])) return false;
    return check_weight_parameter(infer, 4, 3) && check_weight_parameter(infer, 5, 3) &&
           sinter_infer_check_same_dtype(infer, 0, 2) &&
           sinter_infer_check_same_dtype(infer, 3, 5) && sinter_infer_check_integer(infer, 7) &&
           sinter_infer_check_dtype(infer, 8, SINTER_DTYPE_i32) &&
           infer_convolution(infer, 0, 3, 8, sinter_infer_operand(infer, 7)->dtype);
}

bool infer_deform_conv(sinter_infer *infer) {
    for (uint32_t i = 1; i < 5; i++)
        if (!sinter_infer_check_same_dtype(infer, 0, i)) return false;
    if (!infer_convolution(infer, 0, 1, 3, sinter_infer_operand(infer, 0)->dtype)) return false;
    const sinter_type *y = &infer->results[0];
    for (uint32_t operand = 2; operand < 5; operand += 2) { /* offset and mask cover the output */
        if (!sinter_infer_check_rank(infer, operand, y->rank, y->rank)) return false;
        for (uint32_t i = 0; i < y->rank; i++)
            if (i != 1 && !sinter_infer_check_dim(infer, operand, i, y->dims[i], "output size"))
                return false;
    }
    return true;
}

bool infer_conv_transpose(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *weight = sinter_infer_operand(infer, 1);
    int64_t group = sinter_node_get_int(infer->module, infer->node, "group", 1);
    int64_t extra[SINTER_MAX_RANK], shape[SINTER_MAX_RANK];
    window w;
    if (!sinter_infer_check_same_dtype(infer, 0, 1) ||
        !sinter_infer_check_same_dtype(infer, 0, 2) || !read_window(infer, 0, 1, &w) ||
        !read_list(infer, "output_padding", w.count, 0, 0, extra))
        return false;
    if (!sinter_infer_check_dims_equal(infer, 0, w.channel, 1, 0)) return false;
    if (group < 1)
        return sinter_infer_error(infer, "group = %" PRId64 " is not positive [conv_c1]", group);
    sinter_dim dims[SINTER_MAX_RANK] = {x->dims[0]}, *space = dims + w.space;
    dims[w.channel] = sinter_infer_times(infer, weight->dims[1], group);
    if (!sinter_infer_check_rank(infer, 2, 1, 1) ||
        !sinter_infer_check_dim(infer, 2, 0, dims[w.channel], "bias"))
        return false;
    bool stated = sinter_node_find_attr(infer->module, infer->node, "output_shape") != NULL;
    if (stated && !read_list(infer, "output_shape", w.count, 0, 1, shape)) return false;
    for (uint32_t i = 0; i < w.count; i++) {
        sinter_dim input = x->dims[w.space + i];
        if (stated) {
            space[i] = sinter_infer_number(infer, shape[i]);
        } else if (w.padding == PAD_SAME) {
            space[i] = sinter_infer_times(infer, input, w.strides[i]);
        } else {
            sinter_dim steps =
                sinter_infer_times(infer, sinter_infer_plus(infer, input, -1), w.strides[i]);
            sinter_dim full = sinter_dim_add(infer->dims, steps, window_extent(infer, &w, i));
            space[i] = sinter_infer_plus(infer, full, extra[i] - w.begin[i] - w.end[i]);
        }
    }
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool sinter_infer_transposed_excess(sinter_module *module, sinter_node node, uint32_t i,
                                    sinter_dim *out_excess, bool *out_upper) {
    sinter_string mode = sinter_node_get_string(module, node, "auto_pad");
    *out_upper = sinter_string_is(mode, "SAME_UPPER");
    if (!*out_upper && !sinter_string_is(mode, "SAME_LOWER") &&
        !sinter_node_find_attr(module, node, "output_shape"))
        return false;
    sinter_dim_table *dims = sinter_module_dims(module);
    const uint32_t at = i + (sinter_node_get_int(module, node, "channels_last", 0) ? 1 : 2);
    const sinter_dim one = sinter_dim_const(dims, 1);
    sinter_dim x = sinter_value_type(module, sinter_node_operand(module, node, 0))->dims[at],
               kernel =
                   sinter_value_type(module, sinter_node_operand(module, node, 1))->dims[i + 2],
               y = sinter_value_type(module, sinter_node_result(module, node, 0))->dims[at],
               extra = sinter_dim_const(
                   dims, sinter_node_get_int_at(module, node, "output_padding", i, 0) + 1),
               stride =
                   sinter_dim_const(dims, sinter_node_get_int_at(module, node, "strides", i, 1)),
               dilation =
                   sinter_dim_const(dims, sinter_node_get_int_at(module, node, "dilations", i, 1));
    sinter_dim whole =
        sinter_dim_add(dims, sinter_dim_mul(dims, sinter_dim_sub(dims, x, one), stride),
                       sinter_dim_mul(dims, sinter_dim_sub(dims, kernel, one), dilation));
    *out_excess = sinter_dim_sub(dims, sinter_dim_add(dims, whole, extra), y);
    return true;
}

/* ---- global pooling ---- */

bool infer_global_pool(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK)) return false;
    sinter_dim dims[SINTER_MAX_RANK] = {x->dims[0], x->dims[1]};
    for (uint32_t i = 2; i < x->rank; i++) dims[i] = sinter_infer_number(infer, 1);
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_qlinear_global_average_pool(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    bool channels_last = sinter_node_get_int(infer->module, infer->node, "channels_last", 0) != 0;
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK)) return false;
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t channel = channels_last ? x->rank - 1 : 1;
    for (uint32_t i = 1; i < 5; i++)
        if (!sinter_infer_check_scalar(infer, i)) return false;
    if (!sinter_infer_check_same_dtype(infer, 0, 2)) return false;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i == 0 || i == channel ? x->dims[i] : sinter_infer_number(infer, 1);
    sinter_infer_set(infer, 0, sinter_infer_operand(infer, 4)->dtype, x->rank, dims);
    return true;
}
