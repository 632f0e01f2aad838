/* Convolutions of the reference evaluator, and the geometry that they share with the pools: strides, dilations, pads,
 * auto_pad, ceil_mode. Sums are in f64 (exact for the integer convolutions: products of 8-bit numbers).
 * Test: tests/suites/onnx_suite.py */
#include "ir/eval_window.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Bound on attributes that measure space, so that sums and products of a few stay in range. */
static const int64_t space_limit = INT64_C(1) << 30;
static const int64_t kernel_limit = INT64_C(1) << 26; /* cells of a window */

/* ---- geometry ---- */

/* A list of `count` numbers in [low, space_limit], or all `otherwise`. */
static bool read_list(sinter_eval *eval, const char *name, size_t count, int64_t low,
                      int64_t otherwise, int64_t *out_items) {
    const int64_t *items;
    size_t given = sinter_eval_ints_attr(eval, name, &items);
    if (given && given != count)
        return sinter_eval_error(eval, "%s has %zu entries, expected %zu", name, given, count);
    for (size_t i = 0; i < count; i++) {
        out_items[i] = given ? items[i] : otherwise;
        if (out_items[i] < low || out_items[i] > space_limit)
            return sinter_eval_error(eval, "%s holds %" PRId64 ", expected at least %" PRId64, name,
                                     out_items[i], low);
    }
    return true;
}

/* Only strides, dilations and kernel (for conv_transpose, whose pads are of the output). */
static bool init_steps(sinter_eval *eval, sinter_window *window, uint32_t rank,
                       const int64_t *input, const int64_t *kernel) {
    *window = (sinter_window){.rank = rank};
    if (!read_list(eval, "strides", rank, 1, 1, window->strides) ||
        !read_list(eval, "dilations", rank, 1, 1, window->dilations))
        return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (kernel[i] < 1 || kernel[i] > space_limit || input[i] > space_limit)
            return sinter_eval_error(eval, "spatial axis %u: input %" PRId64 ", kernel %" PRId64, i,
                                     input[i], kernel[i]);
        window->input[i] = input[i];
        window->kernel[i] = kernel[i];
    }
    if (!sinter_eval_product(input, rank, &window->input_count) ||
        !sinter_eval_product(kernel, rank, &window->kernel_count) ||
        window->kernel_count > kernel_limit)
        return sinter_eval_error(eval, "the window is too large");
    return true;
}

static int64_t floor_divide(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* Output size and pads of one axis. */
static bool place_window(sinter_eval *eval, sinter_window *window, uint32_t i, bool ceil_mode) {
    int64_t extent = (window->kernel[i] - 1) * window->dilations[i] + 1;
    int64_t stride = window->strides[i], input = window->input[i];
    sinter_string auto_pad = sinter_eval_string(eval, "auto_pad");
    bool upper = sinter_string_is(auto_pad, "SAME_UPPER");
    if (upper || sinter_string_is(auto_pad, "SAME_LOWER")) {
        window->output[i] = (input + stride - 1) / stride;
        int64_t total = (window->output[i] - 1) * stride + extent - input;
        if (total < 0) total = 0;
        window->begin[i] = upper ? total / 2 : total - total / 2;
        window->end[i] = total - window->begin[i];
        return true;
    }
    if (sinter_string_is(auto_pad, "VALID")) window->begin[i] = window->end[i] = 0;
    int64_t room = input + window->begin[i] + window->end[i] - extent;
    if (room + (ceil_mode ? stride - 1 : 0) < 0)
        return sinter_eval_error(eval,
                                 "a window of %" PRId64 " does not fit spatial dim %" PRIu32
                                 " of %" PRId64 " with pads %" PRId64 " and %" PRId64,
                                 extent, i, input, window->begin[i], window->end[i]);
    window->output[i] = (ceil_mode ? -floor_divide(-room, stride) : floor_divide(room, stride)) + 1;
    /* a window that starts in the padding at the end does not count */
    if (ceil_mode && (window->output[i] - 1) * stride >= input + window->begin[i])
        window->output[i]--;
    return true;
}

bool sinter_window_init(sinter_eval *eval, sinter_window *window, uint32_t rank,
                        const int64_t *input, const int64_t *kernel) {
    int64_t pads[2 * SINTER_MAX_RANK];
    if (!init_steps(eval, window, rank, input, kernel) ||
        !read_list(eval, "pads", 2 * (size_t)rank, 0, 0, pads))
        return false;
    memcpy(window->begin, pads, rank * sizeof *pads);
    memcpy(window->end, pads + rank, rank * sizeof *pads);
    bool ceil_mode = sinter_eval_int(eval, "ceil_mode") != 0;
    for (uint32_t i = 0; i < rank; i++)
        if (!place_window(eval, window, i, ceil_mode)) return false;
    if (!sinter_eval_product(window->output, rank, &window->output_count))
        return sinter_eval_error(eval, "the result is too large");
    return true;
}

sinter_window_layout sinter_window_get_layout(const sinter_eval *eval, uint32_t rank) {
    bool last = sinter_eval_int(eval, "channels_last") != 0;
    return (sinter_window_layout){last, last ? rank - 1 : 1, last ? 1 : 2};
}

int64_t sinter_window_taps(const sinter_window *window, const int64_t *extents, const int64_t *at,
                           int64_t *out_kernel, int64_t *out_offset) {
    int64_t cell[SINTER_MAX_RANK] = {0}, count = 0;
    for (int64_t k = 0; k < window->kernel_count; k++) {
        int64_t offset = 0;
        bool inside = true;
        for (uint32_t i = 0; i < window->rank; i++) {
            int64_t x =
                at[i] * window->strides[i] - window->begin[i] + cell[i] * window->dilations[i];
            inside = inside && x >= 0 && x < extents[i];
            offset = offset * extents[i] + x;
        }
        if (inside) {
            out_kernel[count] = k;
            out_offset[count++] = offset;
        }
        sinter_eval_next(window->rank, window->kernel, cell);
    }
    return count;
}

/* ---- convolution ---- */

typedef struct convolution {
    sinter_window window;
    sinter_window_layout layout;
    int64_t batch, groups, input_channels, output_channels; /* channels of one group */
    int64_t dims[SINTER_MAX_RANK];                          /* of the result */
    uint32_t rank;
} convolution;

static bool convolution_init(sinter_eval *eval, convolution *conv, const sinter_tensor *x,
                             const sinter_tensor *w) {
    if (!x || !w || x->rank < 2 || w->rank != x->rank)
        return sinter_eval_error(eval, "expected x and w of one rank of at least 2");
    conv->layout = sinter_window_get_layout(eval, x->rank);
    conv->batch = x->dims[0];
    conv->groups = sinter_eval_int(eval, "group");
    conv->rank = x->rank;
    int64_t channels = x->dims[conv->layout.channel];
    if (conv->groups < 1 || channels % conv->groups || w->dims[0] % conv->groups ||
        w->dims[1] != channels / conv->groups)
        return sinter_eval_error(eval, "x is %s, w is %s: they do not fit %" PRId64 " groups",
                                 sinter_eval_describe(eval, x), sinter_eval_describe(eval, w),
                                 conv->groups);
    conv->input_channels = w->dims[1];
    conv->output_channels = w->dims[0] / conv->groups;
    const int64_t *kernel;
    size_t given = sinter_eval_ints_attr(eval, "kernel_shape", &kernel);
    if (given && (given != w->rank - 2 || memcmp(kernel, w->dims + 2, given * sizeof *kernel) != 0))
        return sinter_eval_error(eval, "kernel_shape is not that of w");
    if (!sinter_window_init(eval, &conv->window, x->rank - 2, x->dims + conv->layout.space,
                            w->dims + 2))
        return false;
    conv->dims[0] = x->dims[0];
    conv->dims[conv->layout.channel] = w->dims[0];
    memcpy(conv->dims + conv->layout.space, conv->window.output,
           conv->window.rank * sizeof *conv->dims);
    return true;
}

/* Four sums side by side: a chain of additions would wait for each. */
static double dot(const double *a, const double *b, int64_t count) {
    double sum[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (int lane = 0; lane < 4; lane++) sum[lane] += a[i + lane] * b[i + lane];
    for (; i < count; i++) sum[0] += a[i] * b[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

/* The dot product of a patch[channels, taps] with the cells kernel[] of w[channels, cells]. */
static double dot_taps(const double *patch, const double *w, int64_t channels, int64_t taps,
                       const int64_t *kernel, int64_t cells) {
    double sum = 0;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t++) sum += patch[c * taps + t] * w[c * cells + kernel[t]];
    return sum;
}

/* y[n, g*m, out] += x[n, g*c, in] * w[g*m, c, kernel]. Cells of the padding take no part, so that an infinite weight
 * makes no NaN there. */
static void convolve(sinter_eval *eval, const convolution *conv, const double *x, const double *w,
                     double *y) {
    const sinter_window *window = &conv->window;
    int64_t cells = window->kernel_count, at[SINTER_MAX_RANK] = {0};
    int64_t channels = conv->groups * conv->input_channels,
            results = conv->groups * conv->output_channels;
    int64_t *kernel = SINTER_NEW_ARRAY(eval->scratch, int64_t, cells);
    int64_t *input = SINTER_NEW_ARRAY(eval->scratch, int64_t, cells);
    double *patch = SINTER_NEW_ARRAY(eval->scratch, double, channels *cells + 1);
    for (int64_t o = 0; o < window->output_count; o++) {
        int64_t taps = sinter_window_taps(window, window->input, at, kernel, input);
        for (int64_t n = 0; n < conv->batch; n++) {
            for (int64_t c = 0; c < channels; c++)
                for (int64_t t = 0; t < taps; t++)
                    patch[c * taps + t] = x[sinter_window_index(
                        &conv->layout, channels, window->input_count, n, c, input[t])];
            for (int64_t m = 0; m < results; m++) {
                const double *from =
                    patch + m / conv->output_channels * conv->input_channels * taps;
                const double *weights = w + m * conv->input_channels * cells;
                y[sinter_window_index(&conv->layout, results, window->output_count, n, m, o)] +=
                    taps == cells
                        ? dot(from, weights, conv->input_channels * cells)
                        : dot_taps(from, weights, conv->input_channels, taps, kernel, cells);
            }
        }
        sinter_eval_next(window->rank, window->output, at);
    }
}

/* Channels lie this many elements apart in a result of that layout. */
static int64_t channel_stride(const sinter_window_layout *layout, int64_t positions) {
    return layout->channels_last ? 1 : positions;
}

/* Fills y, of batch * channels * positions elements with channels `inner` apart, with the bias of each channel; zeros where there is
 * none. */
static bool start_from_bias(sinter_eval *eval, const sinter_tensor *bias, int64_t count,
                            int64_t channels, int64_t inner, double *y) {
    if (!bias) return true;
    if (bias->rank != 1 || bias->dims[0] != channels)
        return sinter_eval_error(eval, "bias is %s, expected %" PRId64 " elements",
                                 sinter_eval_describe(eval, bias), channels);
    const double *items = sinter_eval_doubles(eval, bias);
    for (int64_t i = 0; i < count; i++) y[i] = items[i / inner % channels];
    return true;
}

bool eval_conv(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *w = sinter_eval_operand(eval, 1);
    convolution conv;
    if (!convolution_init(eval, &conv, x, w)) return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, conv.rank, conv.dims);
    if (!result) return false;
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(result) + 1);
    if (!start_from_bias(eval, sinter_eval_operand(eval, 2), sinter_tensor_count(result),
                         conv.dims[conv.layout.channel],
                         channel_stride(&conv.layout, conv.window.output_count), y))
        return false;
    convolve(eval, &conv, sinter_eval_doubles(eval, x), sinter_eval_doubles(eval, w), y);
    sinter_eval_store_doubles(result, y);
    return true;
}

/* Elements less the zero point, which is one number or one per index of axis 0. NULL after an error. */
static double *centred(sinter_eval *eval, const sinter_tensor *x, const sinter_tensor *zero_point) {
    double *items = sinter_eval_doubles(eval, x);
    if (!zero_point) return items;
    int64_t count = sinter_tensor_count(x), zeros = sinter_tensor_count(zero_point);
    if (zeros != 1 && zeros != x->dims[0]) {
        sinter_eval_error(eval, "zero point is %s for %s", sinter_eval_describe(eval, zero_point),
                          sinter_eval_describe(eval, x));
        return NULL;
    }
    const double *zero = sinter_eval_doubles(eval, zero_point);
    int64_t inner = x->dims[0] ? count / x->dims[0] : 0;
    for (int64_t i = 0; i < count; i++) items[i] -= zero[zeros == 1 ? 0 : i / inner];
    return items;
}

bool eval_conv_integer(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *w = sinter_eval_operand(eval, 1);
    convolution conv;
    if (!convolution_init(eval, &conv, x, w)) return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i32, conv.rank, conv.dims);
    if (!result) return false;
    int64_t count = sinter_tensor_count(result);
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    const double *xs = centred(eval, x, sinter_eval_operand(eval, 2));
    const double *ws = centred(eval, w, sinter_eval_operand(eval, 3));
    if (!xs || !ws) return false;
    convolve(eval, &conv, xs, ws, y);
    for (int64_t i = 0; i < count; i++) sinter_tensor_set_int(result, i, (int64_t)y[i]);
    return true;
}

/* operands: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, b */
bool eval_qlinear_conv(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *w = sinter_eval_operand(eval, 3);
    const sinter_tensor *w_scale = sinter_eval_operand(eval, 4),
                        *y_zero = sinter_eval_operand(eval, 7);
    convolution conv;
    double x_scale, y_scale, zero;
    if (!convolution_init(eval, &conv, x, w)) return false;
    if (!sinter_eval_float_scalar(eval, 1, &x_scale) ||
        !sinter_eval_float_scalar(eval, 6, &y_scale) || !sinter_eval_float_scalar(eval, 7, &zero))
        return false;
    int64_t scales = sinter_tensor_count(w_scale);
    if (scales != 1 && scales != w->dims[0])
        return sinter_eval_error(eval, "w_scale has %" PRId64 " elements, expected 1 or %" PRId64,
                                 scales, w->dims[0]);
    sinter_tensor *result = sinter_eval_create(eval, 0, y_zero->dtype, conv.rank, conv.dims);
    if (!result) return false;
    int64_t count = sinter_tensor_count(result), channels = w->dims[0];
    int64_t inner = channel_stride(&conv.layout, conv.window.output_count);
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    const double *xs = centred(eval, x, sinter_eval_operand(eval, 2));
    const double *ws = centred(eval, w, sinter_eval_operand(eval, 5));
    if (!xs || !ws ||
        !start_from_bias(eval, sinter_eval_operand(eval, 8), count, channels, inner, y))
        return false;
    convolve(eval, &conv, xs, ws, y);
    const double *w_scales = sinter_eval_doubles(eval, w_scale);
    for (int64_t i = 0; i < count; i++) {
        /* in f32, as everywhere in quantized operators: ties decide elements */
        float w_at = (float)w_scales[scales == 1 ? 0 : i / inner % channels];
        float scaled = (float)y[i] * ((float)x_scale * w_at / (float)y_scale);
        sinter_tensor_set_int(result, i,
                              sinter_eval_saturate(y_zero->dtype, rint((double)scaled) + zero));
    }
    return true;
}

/* ---- transposed convolution ---- */

/* Output size and the pads cut off it. window->input is that of x. */
static bool place_transposed(sinter_eval *eval, sinter_window *window) {
    int64_t pads[2 * SINTER_MAX_RANK], extra[SINTER_MAX_RANK], shape[SINTER_MAX_RANK];
    const int64_t *unused;
    sinter_string auto_pad = sinter_eval_string(eval, "auto_pad");
    bool upper = sinter_string_is(auto_pad, "SAME_UPPER"),
         lower = sinter_string_is(auto_pad, "SAME_LOWER");
    bool has_shape = sinter_eval_ints_attr(eval, "output_shape", &unused) > 0;
    if (!read_list(eval, "pads", 2 * (size_t)window->rank, 0, 0, pads) ||
        !read_list(eval, "output_padding", window->rank, 0, 0, extra) ||
        !read_list(eval, "output_shape", window->rank, 0, 0, shape))
        return false;
    for (uint32_t i = 0; i < window->rank; i++) {
        int64_t extent = (window->kernel[i] - 1) * window->dilations[i] + 1;
        int64_t full = window->strides[i] * (window->input[i] - 1) + extra[i] + extent;
        if (has_shape || upper || lower) {
            window->output[i] = has_shape ? shape[i] : window->input[i] * window->strides[i];
            int64_t total = full - window->output[i];
            if (total < 0) total = 0;
            window->begin[i] = upper ? total / 2 : total - total / 2;
            continue;
        }
        bool valid = sinter_string_is(auto_pad, "VALID");
        window->begin[i] = valid ? 0 : pads[i];
        window->output[i] = full - (valid ? 0 : pads[i] + pads[window->rank + i]);
        if (window->output[i] < 0 || !window->input[i]) window->output[i] = 0;
    }
    if (!sinter_eval_product(window->output, window->rank, &window->output_count))
        return sinter_eval_error(eval, "the result is too large");
    return true;
}

bool eval_conv_transpose(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *w = sinter_eval_operand(eval, 1);
    int64_t groups = sinter_eval_int(eval, "group"), dims[SINTER_MAX_RANK],
            at[SINTER_MAX_RANK] = {0};
    sinter_window window;
    if (!x || !w || x->rank < 2 || w->rank != x->rank)
        return sinter_eval_error(eval, "expected x and w of one rank of at least 2");
    sinter_window_layout layout = sinter_window_get_layout(eval, x->rank);
    if (groups < 1 || w->dims[0] != x->dims[layout.channel] || w->dims[0] % groups)
        return sinter_eval_error(eval, "x and w do not fit %" PRId64 " groups", groups);
    if (!init_steps(eval, &window, x->rank - 2, x->dims + layout.space, w->dims + 2) ||
        !place_transposed(eval, &window))
        return false;
    dims[0] = x->dims[0];
    if (w->dims[1] > INT64_MAX / groups) return sinter_eval_error(eval, "too many channels");
    int64_t results = w->dims[1] * groups;
    dims[layout.channel] = results;
    memcpy(dims + layout.space, window.output, window.rank * sizeof *dims);
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, x->rank, dims);
    if (!result) return false;
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(result) + 1);
    int64_t step = channel_stride(&layout, window.output_count);
    int64_t apart = layout.channels_last ? results : 1; /* of positions of the result */
    if (!start_from_bias(eval, sinter_eval_operand(eval, 2), sinter_tensor_count(result), results,
                         step, y))
        return false;
    const double *xs = sinter_eval_doubles(eval, x), *ws = sinter_eval_doubles(eval, w);
    int64_t *kernel = SINTER_NEW_ARRAY(eval->scratch, int64_t, window.kernel_count);
    int64_t *output = SINTER_NEW_ARRAY(eval->scratch, int64_t, window.kernel_count);
    int64_t channels = w->dims[0], group_in = channels / groups, group_out = w->dims[1];
    for (int64_t p = 0; p < window.input_count; p++) {
        int64_t taps = sinter_window_taps(&window, window.output, at, kernel, output);
        for (int64_t n = 0; n < dims[0]; n++)
            for (int64_t c = 0; c < channels; c++) {
                double value =
                    xs[sinter_window_index(&layout, channels, window.input_count, n, c, p)];
                for (int64_t m = 0; m < group_out; m++) {
                    double *ys = y + n * results * window.output_count +
                                 (c / group_in * group_out + m) * step;
                    const double *cells = ws + (c * group_out + m) * window.kernel_count;
                    for (int64_t t = 0; t < taps; t++)
                        ys[output[t] * apart] += value * cells[kernel[t]];
                }
            }
        sinter_eval_next(window.rank, window.input, at);
    }
    sinter_eval_store_doubles(result, y);
    return true;
}
