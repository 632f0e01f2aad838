/* Lowering of ops that read regions of images: max_roi_pool, roi_align, deform_conv, grid_sample. Coordinates are f64, as
 * the evaluator has them; boxes and offsets come as data, so every index is clamped or guarded before it is used.
 * Test: tests/ops/roi_align.sir, max_roi_pool.sir, deform_conv.sir, grid_sample.sir */
#include "codegen/lower/write.h"
#include "runtime/abi.h"

static sinter_expr to_real(sinter_kernel *k, sinter_expr value) {
    return sinter_write_cast(k, value, SINTER_DTYPE_f64);
}
static sinter_expr to_index(sinter_kernel *k, sinter_expr value) {
    return sinter_write_cast(k, value, SINTER_DTYPE_i64);
}
static sinter_expr real(sinter_kernel *k, double value) {
    return sinter_write_number(k, SINTER_DTYPE_f64, value);
}

/* Element of a matrix as f64. */
static sinter_expr cell(sinter_kernel *k, sinter_value value, sinter_expr row, int64_t column) {
    sinter_expr index[2] = {row, sinter_write_int(k, column)};
    return to_real(k, sinter_lower_element(k, value, index));
}

/* ---- max_roi_pool ---- */

bool sinter_lower_max_roi_pool(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), rois = sinter_write_operand(k, node, 1),
                 y = sinter_write_result(k, node, 0);
    sinter_expr scale = real(k, sinter_node_get_float(k->lower->module, node, "spatial_scale", 1));
    sinter_expr at[4], ends[2][2];
    sinter_write_same_size(k, node, rois, 0, y, 0);
    sinter_write_same_size(k, node, rois, 1, 0, 5);
    sinter_write_same_size(k, node, x, 1, y, 1);
    sinter_kernel_begin_loops(k, y, at);
    sinter_expr batch = sinter_write_let(k, "batch", to_index(k, cell(k, rois, at[0], 0)));
    sinter_kernel_check_index(k, node, batch, sinter_kernel_dim_of(k, x, 0));
    for (int d = 0; d < 2; ++d) { /* rows, columns; a box is batch, x1, y1, x2, y2 */
        sinter_expr extent = to_real(k, sinter_kernel_dim_of(k, x, 2 + d)),
                    bins = to_real(k, sinter_kernel_dim_of(k, y, 2 + d)), side[2];
        for (int e = 0; e < 2; ++e) { /* round half away from zero */
            sinter_expr scaled = sinter_write_let(
                k, "scaled", FORMULA(k, "a * b", cell(k, rois, at[0], 2 - d + 2 * e), scale));
            side[e] = sinter_write_let(
                k, "side", FORMULA(k, "select(a < 0, ceil(a - 0.5), floor(a + 0.5))", scaled));
        }
        sinter_expr bin =
            sinter_write_let(k, "bin", FORMULA(k, "max(b - a + 1, 1) / c", side[0], side[1], bins));
        sinter_expr place = to_real(k, at[2 + d]);
        sinter_expr from = FORMULA(k, "floor(a * b) + c", place, bin, side[0]),
                    to = FORMULA(k, "ceil((a + 1) * b) + c", place, bin, side[0]);
        ends[d][0] = sinter_write_let(k, "first",
                                      to_index(k, FORMULA(k, "max(0, min(a, b))", from, extent)));
        ends[d][1] =
            sinter_write_let(k, "end", to_index(k, FORMULA(k, "max(0, min(a, b))", to, extent)));
    }
    sinter_dtype dtype = sinter_dtype_compute(sinter_write_type(k, x).dtype);
    sinter_loop_var high = sinter_write_var(k, "high", sinter_write_number(k, dtype, 0)),
                    any = sinter_write_var(k, "any", sinter_write_number(k, SINTER_DTYPE_bool, 0));
    sinter_expr in[4] = {batch, at[1], NULL, NULL};
    for (int d = 0; d < 2; ++d) in[2 + d] = sinter_write_for(k, "r", ends[d][0], ends[d][1]);
    sinter_expr element = sinter_write_let(k, "x", sinter_lower_element(k, x, in));
    sinter_write_set(k, high,
                     FORMULA(k, "select(!b || c > a, c, a)", sinter_write_get(k, high),
                             sinter_write_get(k, any), element));
    sinter_write_set(k, any, sinter_write_number(k, SINTER_DTYPE_bool, 1));
    sinter_kernel_end_loops(k, 2);
    sinter_lower_store(k, y, at, sinter_write_get(k, high));
    sinter_kernel_end_loops(k, 4);
    return true;
}

/* ---- roi_align ---- */

typedef struct align {
    sinter_kernel *k;
    sinter_value x;
    bool takes_max;
    sinter_loop_var result, any;
    sinter_expr start[2], bin[2], samples[2],
        extent[2]; /* rows, columns; samples i64, extent f64 */
} align;

static void align_axis(align *a, sinter_node node, sinter_value rois, sinter_value y,
                       sinter_expr roi, int d) {
    sinter_kernel *k = a->k;
    sinter_module *module = k->lower->module;
    bool half = sinter_string_is(
        sinter_node_get_string(module, node, "coordinate_transformation_mode"), "half_pixel");
    sinter_expr scale = real(k, sinter_node_get_float(module, node, "spatial_scale", 1)),
                offset = real(k, half ? 0.5 : 0);
    int64_t sampling = sinter_node_get_int(module, node, "sampling_ratio", 0);
    sinter_expr ends[2];
    for (int e = 0; e < 2; ++e)
        ends[e] = sinter_write_let(
            k, "edge", FORMULA(k, "a * b - c", cell(k, rois, roi, 1 - d + 2 * e), scale, offset));
    const char *size = half ? "(b - a) / c" : "max(b - a, 1) / c";
    a->start[d] = ends[0];
    a->extent[d] = to_real(k, sinter_kernel_dim_of(k, a->x, 2 + d));
    a->bin[d] = sinter_write_let(
        k, "bin",
        FORMULA(k, size, ends[0], ends[1], to_real(k, sinter_kernel_dim_of(k, y, 2 + d))));
    sinter_write_check(k, FORMULA(k, "a < 1000000", a->bin[d]), "roi_align: region %0 is too large",
                       roi);
    a->samples[d] =
        sampling > 0
            ? sinter_write_int(k, sampling)
            : sinter_write_let(k, "samples", to_index(k, FORMULA(k, "max(ceil(a), 0)", a->bin[d])));
}

/* One neighbour of a sample: its weighted value into the sum or the maximum. */
static void take_neighbour(align *a, const sinter_expr *index, sinter_expr weight) {
    sinter_kernel *k = a->k;
    sinter_expr term = sinter_write_let(
        k, "term", FORMULA(k, "a * b", weight, to_real(k, sinter_lower_element(k, a->x, index))));
    sinter_expr result = sinter_write_get(k, a->result);
    sinter_write_set(k, a->result,
                     a->takes_max ? FORMULA(k, "select(!c || b > a, b, a)", result, term,
                                            sinter_write_get(k, a->any))
                                  : FORMULA(k, "a + b", result, term));
    if (a->takes_max) sinter_write_set(k, a->any, sinter_write_number(k, SINTER_DTYPE_bool, 1));
}

/* Bilinear sample i, j of the bin: outside by more than one element it weighs nothing, within one it is the border. */
static void take_sample(align *a, const sinter_expr *at, const sinter_expr *sample,
                        sinter_expr batch) {
    sinter_kernel *k = a->k;
    sinter_expr low[2], high[2], part[2], inside = sinter_write_number(k, SINTER_DTYPE_bool, 1);
    for (int d = 0; d < 2; ++d) {
        sinter_expr along =
            FORMULA(k, "(a + 0.5) / b", to_real(k, sample[d]), to_real(k, a->samples[d]));
        sinter_expr place = sinter_write_let(
            k, "place",
            FORMULA(k, "a + b * (c + d)", a->start[d], a->bin[d], to_real(k, at[2 + d]), along));
        inside = FORMULA(k, "a && b >= -1 && b <= c", inside, place, a->extent[d]);
        place =
            sinter_write_let(k, "place", FORMULA(k, "max(0, min(a, b - 1))", place, a->extent[d]));
        low[d] = sinter_write_let(k, "low", to_index(k, place));
        high[d] = sinter_write_let(
            k, "high",
            FORMULA(k, "min(a + 1, b - 1)", low[d], sinter_kernel_dim_of(k, a->x, 2 + d)));
        part[d] = sinter_write_let(k, "part", FORMULA(k, "a - b", place, to_real(k, low[d])));
    }
    sinter_expr kept =
        sinter_write_let(k, "kept", FORMULA(k, "select(a, b, c)", inside, real(k, 1), real(k, 0)));
    for (int corner = 0; corner < 4; ++corner) {
        sinter_expr index[4] = {batch, at[1], corner / 2 ? high[0] : low[0],
                                corner % 2 ? high[1] : low[1]};
        sinter_expr weight =
            FORMULA(k, "a * b * c", kept, corner / 2 ? part[0] : FORMULA(k, "1 - a", part[0]),
                    corner % 2 ? part[1] : FORMULA(k, "1 - a", part[1]));
        take_neighbour(a, index, sinter_write_let(k, "weight", weight));
    }
}

bool sinter_lower_roi_align(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    align a = {.k = k, .x = sinter_write_operand(k, node, 0)};
    sinter_value rois = sinter_write_operand(k, node, 1),
                 batches = sinter_write_operand(k, node, 2), y = sinter_write_result(k, node, 0);
    sinter_write_same_size(k, node, rois, 0, y, 0);
    sinter_write_same_size(k, node, rois, 1, 0, 4);
    sinter_write_same_size(k, node, batches, 0, y, 0);
    sinter_write_same_size(k, node, a.x, 1, y, 1);
    a.takes_max = sinter_string_is(sinter_node_get_string(k->lower->module, node, "mode"), "max");
    sinter_expr at[4], sample[2];
    for (int d = 2; d < 4; ++d) {
        sinter_expr size = sinter_kernel_dim_of(k, a.x, d);
        sinter_write_check(k, FORMULA(k, "a >= 1", size), "roi_align: the image is empty", size);
    }
    at[0] = sinter_kernel_begin_for(k, "roi", sinter_kernel_dim_of(k, y, 0));
    sinter_expr batch = sinter_kernel_wrap_index(k, sinter_lower_element(k, batches, at),
                                                 sinter_kernel_dim_of(k, a.x, 0));
    batch = sinter_write_let(k, "batch", batch);
    sinter_kernel_check_index(k, node, batch, sinter_kernel_dim_of(k, a.x, 0));
    for (int d = 0; d < 2; ++d) align_axis(&a, node, rois, y, at[0], d);
    for (int d = 1; d < 4; ++d)
        at[d] = sinter_kernel_begin_for(k, "i", sinter_kernel_dim_of(k, y, d));
    a.result = sinter_write_var(k, "result", real(k, 0));
    a.any = sinter_write_var(k, "any", sinter_write_number(k, SINTER_DTYPE_bool, 0));
    for (int d = 0; d < 2; ++d) sample[d] = sinter_kernel_begin_for(k, "s", a.samples[d]);
    take_sample(&a, at, sample, batch);
    sinter_kernel_end_loops(k, 2);
    sinter_expr count = to_real(k, FORMULA(k, "max(a * b, 1)", a.samples[0], a.samples[1]));
    sinter_expr result = sinter_write_get(k, a.result);
    if (!a.takes_max) result = FORMULA(k, "a / b", result, count);
    sinter_dtype compute = sinter_dtype_compute(sinter_write_type(k, y).dtype);
    sinter_lower_store(k, y, at, sinter_write_cast(k, result, compute));
    sinter_kernel_end_loops(k, 4);
    return true;
}

/* ---- deform_conv ---- */

typedef struct deform {
    sinter_kernel *k;
    sinter_value x, offset, mask;
    int64_t strides[2], dilations[2], pads[2];
    sinter_expr kernel[2];        /* sizes of the kernel, i64 */
    sinter_expr channels_per_set; /* of x, for each offset group */
    sinter_dtype dtype;
} deform;

static void read_deform(deform *d, sinter_node node) {
    const char *names[3] = {"strides", "dilations", "pads"};
    int64_t *targets[3] = {d->strides, d->dilations, d->pads};
    for (int n = 0; n < 3; ++n) {
        const int64_t *items = NULL;
        size_t count = sinter_node_get_ints(d->k->lower->module, node, names[n], &items);
        for (int i = 0; i < 2; ++i) targets[n][i] = count ? items[i] : n < 2;
    }
}

/* A sum variable gets the bilinear sample of channel c for the tap; zero outside the plane. */
static sinter_expr deformed_sample(deform *d, const sinter_expr *at, sinter_expr channel,
                                   const sinter_expr *tap) {
    sinter_kernel *k = d->k;
    sinter_expr set = FORMULA(k, "a / b", channel, d->channels_per_set);
    sinter_expr place = sinter_write_let(
        k, "tap",
        FORMULA(k, "(a * b + c) * d + e", set, d->kernel[0], tap[0], d->kernel[1], tap[1]));
    sinter_expr position[2], base[2];
    for (int i = 0; i < 2; ++i) {
        sinter_expr in[4] = {at[0], FORMULA(k, "2 * a + b", place, sinter_write_int(k, i)), at[2],
                             at[3]};
        sinter_expr start =
            FORMULA(k, "a * b - c + d * e", at[2 + i], sinter_write_int(k, d->strides[i]),
                    sinter_write_int(k, d->pads[i]), tap[i], sinter_write_int(k, d->dilations[i]));
        position[i] = sinter_write_let(k, "position",
                                       FORMULA(k, "a + b", to_real(k, start),
                                               to_real(k, sinter_lower_element(k, d->offset, in))));
        base[i] = sinter_write_let(k, "base", FORMULA(k, "floor(a)", position[i]));
    }
    sinter_loop_var sum = sinter_write_var(k, "sample", sinter_write_number(k, d->dtype, 0));
    for (int corner = 0; corner < 4; ++corner) {
        sinter_expr weight = real(k, 1), inside = sinter_write_number(k, SINTER_DTYPE_bool, 1),
                    in[4] = {at[0], channel, NULL, NULL};
        for (int i = 0; i < 2; ++i) {
            bool far = i ? corner % 2 : corner / 2;
            sinter_expr part = FORMULA(k, far ? "a - b" : "1 - (a - b)", position[i], base[i]);
            sinter_expr row = FORMULA(k, far ? "a + 1" : "a", base[i]);
            weight = FORMULA(k, "a * b", weight, part);
            inside = FORMULA(k, "a && b >= 0 && b < c", inside, row,
                             to_real(k, sinter_kernel_dim_of(k, d->x, 2 + i)));
            in[2 + i] = to_index(k, row);
        }
        sinter_write_if(k, inside);
        sinter_expr element = sinter_lower_element(k, d->x, in);
        sinter_write_add(k, sum,
                         FORMULA(k, "a * b", element, sinter_write_cast(k, weight, d->dtype)));
        sinter_write_end(k);
    }
    if (!d->mask) return sinter_write_get(k, sum);
    sinter_expr in[4] = {at[0], place, at[2], at[3]};
    return FORMULA(k, "a * b", sinter_write_get(k, sum), sinter_lower_element(k, d->mask, in));
}

bool sinter_lower_deform_conv(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_module *module = k->lower->module;
    sinter_value w = sinter_write_operand(k, node, 1), bias = sinter_write_operand(k, node, 3),
                 y = sinter_write_result(k, node, 0);
    deform d = {.k = k,
                .x = sinter_write_operand(k, node, 0),
                .offset = sinter_write_operand(k, node, 2),
                .mask = sinter_write_operand(k, node, 4)};
    read_deform(&d, node);
    sinter_value like_y[3] = {d.x, d.offset, d.mask};
    for (uint32_t i = 0; i < 3; ++i)
        for (uint32_t axis = 0; like_y[i] && axis < 4; ++axis)
            if (axis == 0 || (i && axis > 1))
                sinter_write_same_size(k, node, like_y[i], axis, y, axis);
    sinter_write_same_size(k, node, w, 0, y, 1);
    if (bias) sinter_write_same_size(k, node, bias, 0, y, 1);
    d.dtype = sinter_dtype_compute(sinter_write_type(k, d.x).dtype);
    sinter_expr groups = sinter_write_int(k, sinter_node_get_int(module, node, "group", 1)),
                sets = sinter_write_int(k, sinter_node_get_int(module, node, "offset_group", 1));
    sinter_expr channels = sinter_kernel_dim_of(k, d.x, 1), filters = sinter_kernel_dim_of(k, w, 0),
                inputs = sinter_kernel_dim_of(k, w, 1);
    for (int i = 0; i < 2; ++i) d.kernel[i] = sinter_kernel_dim_of(k, w, 2 + i);
    d.channels_per_set = FORMULA(k, "a / b", channels, sets);
    sinter_write_check(k,
                       FORMULA(k, "rem(a, b) == 0 && rem(a, c) == 0 && a == c * d && e >= c",
                               channels, sets, groups, inputs, filters),
                       "deform_conv: the groups do not fit %0 channels", channels);
    sinter_expr taps = FORMULA(k, "a * b * c", sets, d.kernel[0], d.kernel[1]);
    sinter_write_check(k, FORMULA(k, "a == 2 * b", sinter_kernel_dim_of(k, d.offset, 1), taps),
                       "deform_conv: offsets for %0 taps are needed", taps);
    if (d.mask)
        sinter_write_check(k, FORMULA(k, "a == b", sinter_kernel_dim_of(k, d.mask, 1), taps),
                           "deform_conv: a mask for %0 taps is needed", taps);
    sinter_expr at[4], tap[2];
    sinter_kernel_begin_loops(k, y, at);
    sinter_loop_var sum = sinter_write_var(k, "sum",
                                           bias ? sinter_lower_element(k, bias, &at[1])
                                                : sinter_write_number(k, d.dtype, 0));
    sinter_expr first =
        sinter_write_let(k, "first", FORMULA(k, "a / (b / c) * d", at[1], filters, groups, inputs));
    sinter_expr c = sinter_kernel_begin_for(k, "c", inputs);
    for (int i = 0; i < 2; ++i) tap[i] = sinter_kernel_begin_for(k, "t", d.kernel[i]);
    sinter_expr channel = sinter_write_let(k, "channel", FORMULA(k, "a + b", first, c));
    sinter_expr sample = deformed_sample(&d, at, channel, tap), in[4] = {at[1], c, tap[0], tap[1]};
    sinter_write_add(k, sum, FORMULA(k, "a * b", sinter_lower_element(k, w, in), sample));
    sinter_kernel_end_loops(k, 3);
    sinter_lower_store(k, y, at, sinter_write_get(k, sum));
    sinter_kernel_end_loops(k, 4);
    return true;
}

/* ---- grid_sample ---- */

/* Taps of an axis that are values by name, as points are lanes; more of them lie in scratch, which each point has for itself. */
enum { NAMED_TAPS = 2 };

typedef struct sampler {
    sinter_kernel *k;
    sinter_value x;
    bool nearest, cubic, corners, zeros, border;
    int64_t taps;
    sinter_dtype dtype;               /* of weights and sums */
    sinter_loop_buffer index, weight; /* stack, [axes * taps]; index -1: outside, a zero */
    struct {
        sinter_expr index, weight;
    } named[SINTER_MAX_RANK][NAMED_TAPS]; /* in place of these */
} sampler;

/* Mirrored at the borders until it lies between them. */
static sinter_expr reflect(sampler *s, sinter_expr x, sinter_expr low, sinter_expr high) {
    sinter_kernel *k = s->k;
    sinter_expr range = sinter_write_let(k, "range", FORMULA(k, "b - a", low, high));
    sinter_expr folded = sinter_write_let(
        k, "folded", FORMULA(k, "rem(abs(a - b), 2 * max(c, 0.25))", x, low, range));
    return FORMULA(k, "select(d <= 0, b, select(a <= d, b + a, c - (a - d)))", folded, low, high,
                   range);
}

static sinter_expr place_index(sampler *s, sinter_expr at, sinter_expr size, sinter_expr low,
                               sinter_expr high) {
    sinter_kernel *k = s->k;
    sinter_expr inside = sinter_write_let(k, "inside", FORMULA(k, "a >= 0 && a < b", at, size));
    sinter_expr moved =
        s->zeros || s->border ? at : sinter_write_let(k, "moved", reflect(s, at, low, high));
    moved = FORMULA(k, "max(0, min(a, b - 1))", moved, size);
    if (s->zeros) moved = real(k, -1);
    return to_index(k, FORMULA(k, "select(a, b, c)", inside, at, moved));
}

static void store_tap(sampler *s, uint32_t axis, int64_t tap, sinter_expr index,
                      sinter_expr weight) {
    sinter_expr at = sinter_write_int(s->k, axis * s->taps + tap);
    weight = sinter_write_cast(s->k, weight, s->dtype);
    if (s->taps <= NAMED_TAPS) {
        s->named[axis][tap].index = sinter_write_let(s->k, "index", index);
        s->named[axis][tap].weight = sinter_write_let(s->k, "weight", weight);
        return;
    }
    sinter_write_store1(s->k, s->index, at, index);
    sinter_write_store1(s->k, s->weight, at, weight);
}

/* Taps of one axis for a coordinate in [-1, 1]. */
static void sample_axis(sampler *s, uint32_t axis, sinter_expr coordinate) {
    sinter_kernel *k = s->k;
    sinter_expr size = to_real(k, sinter_kernel_dim_of(k, s->x, (int)axis + 2));
    sinter_expr low = real(k, s->corners ? 0 : -0.5),
                high = FORMULA(k, s->corners ? "a - 1" : "a - 0.5", size);
    const char *text = s->corners ? "(a + 1) / 2 * (b - 1)" : "((a + 1) * b - 1) / 2";
    sinter_expr x = sinter_write_let(k, "x", FORMULA(k, text, coordinate, size));
    x = FORMULA(k, "select(is_nan(a), -1, max(-1099511627776, min(a, 1099511627776)))", x);
    x = sinter_write_let(k, "x", s->nearest ? FORMULA(k, "round_even(a)", x) : x);
    sinter_expr out = sinter_write_let(k, "out", FORMULA(k, "a < b || a > c", x, low, high));
    if (s->border) x = FORMULA(k, "select(a, max(0, min(b, c - 1)), b)", out, x, size);
    if (!s->border && !s->zeros)
        x = FORMULA(k, "select(a, b, c)", out, reflect(s, x, low, high), x);
    x = sinter_write_let(k, "x", x);
    if (s->nearest) {
        store_tap(
            s, axis, 0,
            place_index(s, sinter_write_let(k, "at", FORMULA(k, "trunc(a)", x)), size, low, high),
            real(k, 1));
        return;
    }
    sinter_expr base = FORMULA(k, s->cubic ? "floor(a) - 1" : "floor(a)", x);
    base = sinter_write_let(k, "base", base);
    for (int64_t tap = 0; tap < s->taps; ++tap) {
        sinter_expr at = sinter_write_let(k, "at", FORMULA(k, "a + b", base, real(k, (double)tap)));
        sinter_expr d = sinter_write_let(k, "d", FORMULA(k, "abs(a - b)", x, at));
        /* Keys' cubic convolution with a = -0.75, or a triangle. */
        sinter_expr weight =
            s->cubic ? FORMULA(k,
                               "select(a <= 1, (1.25 * a - 2.25) * a * a + 1, select(a < 2, "
                               "((-0.75 * a + 3.75) * a - 6) * a + 3, 0))",
                               d)
                     : FORMULA(k, "select(a < 1, 1 - a, 0)", d);
        store_tap(s, axis, tap, place_index(s, at, size, low, high), weight);
    }
}

/* The same over taps that are named. All are read, those outside at the first place there is: lanes ask nothing. */
static void sum_named(sampler *s, uint32_t axes, uint32_t axis, sinter_expr *in, sinter_expr weight,
                      sinter_expr inside, sinter_loop_var sum) {
    sinter_kernel *k = s->k;
    if (axis == axes) {
        sinter_expr element = sinter_write_cast(k, sinter_lower_element(k, s->x, in), s->dtype);
        sinter_write_add(k, sum,
                         FORMULA(k, "select(a && b != 0, c * b, d)", inside, weight, element,
                                 sinter_write_number(k, s->dtype, 0)));
        return;
    }
    for (int64_t tap = 0; tap < s->taps; ++tap) {
        sinter_expr index = s->named[axis][tap].index, own = s->named[axis][tap].weight;
        in[axis + 2] = FORMULA(k, "max(a, 0)", index);
        sum_named(s, axes, axis + 1, in, axis ? FORMULA(k, "a * b", weight, own) : own,
                  FORMULA(k, "a && b >= 0", inside, index), sum);
    }
}

/* Weighted sum over the product of the taps of all axes. */
static sinter_expr sum_taps(sampler *s, uint32_t axes, sinter_expr *in) {
    sinter_kernel *k = s->k;
    const sinter_dtype dtype = s->dtype;
    sinter_loop_var sum = sinter_write_var(k, "sum", sinter_write_number(k, dtype, 0));
    sinter_expr weight = sinter_write_number(k, dtype, 1);
    if (s->taps <= NAMED_TAPS) {
        sum_named(s, axes, 0, in, weight, sinter_write_number(k, SINTER_DTYPE_bool, 1), sum);
        return sinter_write_get(k, sum);
    }
    for (uint32_t axis = 0; axis < axes; ++axis) {
        sinter_expr tap = sinter_kernel_begin_for(k, "tap", sinter_write_int(k, s->taps));
        sinter_expr at = FORMULA(k, "a + b", tap, sinter_write_int(k, axis * s->taps));
        in[axis + 2] = sinter_write_let(k, "index", sinter_write_load1(k, s->index, at));
        sinter_expr own = sinter_write_load1(k, s->weight, at);
        weight = sinter_write_let(k, "weight", FORMULA(k, "a * b", weight, own));
        sinter_write_if(k, FORMULA(k, "a >= 0 && b != 0", in[axis + 2], weight));
    }
    sinter_expr element = sinter_write_cast(k, sinter_lower_element(k, s->x, in), dtype);
    sinter_write_add(k, sum, FORMULA(k, "a * b", element, weight));
    sinter_kernel_end_loops(k, 2 * axes);
    return sinter_write_get(k, sum);
}

bool sinter_lower_grid_sample(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_module *module = k->lower->module;
    sampler s = {.k = k, .x = sinter_write_operand(k, node, 0)};
    sinter_value grid = sinter_write_operand(k, node, 1), y = sinter_write_result(k, node, 0);
    sinter_string mode = sinter_node_get_string(module, node, "mode"),
                  padding = sinter_node_get_string(module, node, "padding_mode");
    s.nearest = sinter_string_is(mode, "nearest");
    s.cubic = sinter_string_is(mode, "cubic");
    s.zeros = sinter_string_is(padding, "zeros");
    s.border = sinter_string_is(padding, "border");
    s.corners = sinter_node_get_int(module, node, "align_corners", 0) != 0;
    s.taps = s.nearest ? 1 : s.cubic ? 4 : 2;
    uint32_t axes = sinter_write_type(k, s.x).rank - 2;
    sinter_dtype out = sinter_dtype_compute(sinter_write_type(k, y).dtype);
    sinter_dtype dtype = out == SINTER_DTYPE_f32 ? SINTER_DTYPE_f32 : SINTER_DTYPE_f64;
    sinter_expr at[SINTER_MAX_RANK], in[SINTER_MAX_RANK], point[SINTER_MAX_RANK];
    sinter_write_same_size(k, node, s.x, 0, y, 0);
    sinter_write_same_size(k, node, s.x, 1, y, 1);
    sinter_write_same_size(k, node, grid, 0, y, 0);
    for (uint32_t d = 0; d < axes; ++d) sinter_write_same_size(k, node, grid, d + 1, y, d + 2);
    sinter_write_same_size(k, node, grid, axes + 1, 0, axes);
    for (uint32_t d = 0; d < axes; ++d) {
        sinter_expr size = sinter_kernel_dim_of(k, s.x, (int)d + 2);
        sinter_write_check(k, FORMULA(k, "a >= 1", size), "grid_sample: an axis is empty", size);
    }
    for (uint32_t d = 0; d < axes + 2; ++d) /* channels inside: they share the taps */
        if (d != 1) at[d] = sinter_kernel_begin_for(k, "i", sinter_kernel_dim_of(k, y, (int)d));
    s.dtype = dtype;
    if (s.taps > NAMED_TAPS) {
        s.index = sinter_write_stack(k, "index", SINTER_DTYPE_i64, axes * s.taps);
        s.weight = sinter_write_stack(k, "weight", dtype, axes * s.taps);
    }
    point[0] = at[0];
    for (uint32_t d = 0; d < axes; ++d) point[d + 1] = at[d + 2];
    for (uint32_t d = 0; d < axes; ++d) { /* the last coordinate belongs to the first axis */
        point[axes + 1] = sinter_write_int(k, axes - 1 - d);
        sample_axis(&s, d, to_real(k, sinter_lower_element(k, grid, point)));
    }
    at[1] = sinter_kernel_begin_for(k, "channel", sinter_kernel_dim_of(k, y, 1));
    in[0] = at[0];
    in[1] = at[1];
    sinter_expr sum = sum_taps(&s, axes, in);
    sinter_lower_store(k, y, at, sinter_write_cast(k, sum, out));
    sinter_kernel_end_loops(k, axes + 2);
    return true;
}
