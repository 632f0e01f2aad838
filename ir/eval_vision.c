/* Evaluator rules of image ops: affine_grid, max_roi_pool, roi_align, non_max_suppression,
 * deform_conv. Coordinates are doubles. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>

bool eval_affine_grid(sinter_eval *eval) {
    int64_t size[5], dims[5];
    size_t count;
    if (!sinter_eval_ints(eval, 1, size, 5, &count)) return false;
    if (count < 4) return sinter_eval_error(eval, "size has %zu numbers, expected 4 or 5", count);
    int64_t space = (int64_t)count - 2, theta_dims[3] = {size[0], space, space + 1};
    if (!sinter_eval_expect_dims(eval, 0, 3, theta_dims)) return false;
    dims[0] = size[0];
    for (int64_t i = 0; i < space; i++) dims[i + 1] = size[i + 2];
    dims[space + 1] = space;
    sinter_tensor *grid =
        sinter_eval_create(eval, 0, eval->operands[0]->dtype, (uint32_t)space + 2, dims);
    if (!grid) return false;
    bool corners = sinter_eval_int(eval, "align_corners") != 0;
    const double *theta = sinter_eval_doubles(eval, eval->operands[0]);
    for (int64_t i = 0; i < sinter_tensor_count(grid); i++) {
        int64_t at[SINTER_MAX_RANK];
        sinter_eval_unravel((uint32_t)space + 2, dims, i, at);
        const double *row = theta + (at[0] * space + at[space + 1]) * (space + 1);
        double sum = row[space];
        for (int64_t d = 0; d < space; d++) {
            /* coordinates go from x (the last axis) on */
            int64_t axis = space - d;
            double extent = (double)dims[axis], place = (double)at[axis];
            double coordinate = !corners      ? (2 * place + 1) / extent - 1
                                : extent == 1 ? -1
                                              : 2 * place / (extent - 1) - 1;
            sum += row[d] * coordinate;
        }
        sinter_tensor_set_double(grid, i, sum);
    }
    return true;
}

/* ---- regions of interest ---- */

/* A number of data as an index in [0, size). */
static bool as_index(sinter_eval *eval, double value, int64_t size, int64_t *out_index) {
    if (!(value >= 0 && value < (double)size))
        return sinter_eval_error(eval, "index %g is out of range for %" PRId64 " elements", value,
                                 size);
    *out_index = (int64_t)value;
    return true;
}

static double limit(double value, double low, double high) {
    return value < low ? low : value > high ? high : value;
}

bool eval_max_roi_pool(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 4, 4) || !sinter_eval_expect_rank(eval, 1, 2, 2))
        return false;
    const sinter_tensor *x = eval->operands[0], *rois = eval->operands[1];
    const int64_t *shape;
    if (sinter_eval_ints_attr(eval, "pooled_shape", &shape) != 2 || shape[0] < 1 || shape[1] < 1)
        return sinter_eval_error(eval, "pooled_shape should be two positive numbers");
    int64_t roi_dims[2] = {rois->dims[0], 5}, channels = x->dims[1];
    int64_t dims[4] = {rois->dims[0], channels, shape[0], shape[1]};
    if (!sinter_eval_expect_dims(eval, 1, 2, roi_dims)) return false;
    double scale = sinter_eval_float(eval, "spatial_scale");
    const double *items = sinter_eval_doubles(eval, x), *boxes = sinter_eval_doubles(eval, rois);
    sinter_tensor *y = sinter_eval_create(eval, 0, x->dtype, 4, dims);
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) {
        int64_t at[4], batch, first[2], last[2];
        sinter_eval_unravel(4, dims, i, at);
        const double *box = boxes + at[0] * 5;
        if (!as_index(eval, box[0], x->dims[0], &batch)) return false;
        for (int d = 0; d < 2; d++) { /* d = 0: rows, y; box is batch, x1, y1, x2, y2 */
            double extent = (double)x->dims[2 + d];
            double start = round(box[2 - d] * scale), end = round(box[4 - d] * scale);
            double bin = fmax(end - start + 1, 1) / (double)shape[d];
            double from = floor((double)at[2 + d] * bin) + start;
            double to = ceil((double)(at[2 + d] + 1) * bin) + start;
            first[d] = isnan(from) ? 0 : (int64_t)limit(from, 0, extent);
            last[d] = isnan(to) ? 0 : (int64_t)limit(to, 0, extent);
        }
        double high = 0;
        bool any = false;
        for (int64_t r = first[0]; r < last[0]; r++) {
            for (int64_t c = first[1]; c < last[1]; c++) {
                double item = items[((batch * channels + at[1]) * x->dims[2] + r) * x->dims[3] + c];
                if (!any || item > high) high = item;
                any = true;
            }
        }
        sinter_tensor_set_double(y, i, high);
    }
    return true;
}

/* A plane of height * width, and one bilinear sample of it: four elements with their weights. */
typedef struct sample {
    int64_t at[4];
    double weights[4];
} sample;

/* Outside by more than one element: all weights 0. Within one element of the border: the border. */
static sample sample_clamped(double row, double column, int64_t height, int64_t width) {
    sample s = {{0}, {0}};
    if (!(row >= -1 && row <= (double)height && column >= -1 && column <= (double)width)) return s;
    row = limit(row, 0, (double)(height - 1));
    column = limit(column, 0, (double)(width - 1));
    int64_t top = (int64_t)row, left = (int64_t)column;
    int64_t bottom = top + 1 < height ? top + 1 : top, right = left + 1 < width ? left + 1 : left;
    double y = row - (double)top, x = column - (double)left;
    return (sample){
        {top * width + left, top * width + right, bottom * width + left, bottom * width + right},
        {(1 - y) * (1 - x), (1 - y) * x, y * (1 - x), y * x}};
}

typedef struct roi_align {
    bool half_pixel, takes_max;
    int64_t height, width, sampling;
    double scale;
} roi_align;

/* Position of the region along one axis, its size, and how many samples a bin takes. */
static bool align_axis(sinter_eval *eval, const roi_align *r, double low, double high, int64_t bins,
                       double *out_start, double *out_bin, int64_t *out_samples) {
    double offset = r->half_pixel ? 0.5 : 0;
    *out_start = low * r->scale - offset;
    double size = high * r->scale - offset - *out_start;
    if (!r->half_pixel) size = fmax(size, 1);
    *out_bin = size / (double)bins;
    double samples = r->sampling > 0 ? (double)r->sampling : ceil(*out_bin);
    if (!(samples < 1e6)) return sinter_eval_error(eval, "a region of size %g is too large", size);
    *out_samples = samples > 0 ? (int64_t)samples : 0;
    return true;
}

static double pool_samples(const roi_align *r, const double *plane, int64_t height, int64_t width,
                           const double start[2], const double bin[2], const int64_t samples[2],
                           const int64_t at[4]) {
    double result = 0;
    bool any = false;
    for (int64_t i = 0; i < samples[0]; i++) {
        for (int64_t j = 0; j < samples[1]; j++) {
            double row =
                start[0] + bin[0] * ((double)at[2] + ((double)i + 0.5) / (double)samples[0]);
            double column =
                start[1] + bin[1] * ((double)at[3] + ((double)j + 0.5) / (double)samples[1]);
            sample s = sample_clamped(row, column, height, width);
            for (int k = 0; k < 4; k++) {
                /* mode max takes the largest weighted neighbour, not the largest interpolated value */
                double term = s.weights[k] * plane[s.at[k]];
                if (!r->takes_max)
                    result += term;
                else if (!any || term > result)
                    result = term;
                any = true;
            }
        }
    }
    int64_t count = samples[0] * samples[1];
    return r->takes_max ? result : result / (double)(count > 0 ? count : 1);
}

static bool read_roi_align(sinter_eval *eval, roi_align *r) {
    *r = (roi_align){.takes_max = sinter_eval_string_is(eval, "mode", "max"),
                     .height = sinter_eval_int(eval, "output_height"),
                     .width = sinter_eval_int(eval, "output_width"),
                     .sampling = sinter_eval_int(eval, "sampling_ratio"),
                     .scale = sinter_eval_float(eval, "spatial_scale")};
    r->half_pixel = sinter_eval_string_is(eval, "coordinate_transformation_mode", "half_pixel");
    if (r->height < 1 || r->width < 1)
        return sinter_eval_error(eval, "the output size should be positive");
    if (!r->takes_max && !sinter_eval_string_is(eval, "mode", "avg"))
        return sinter_eval_error(eval, "unknown mode '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "mode")));
    return true;
}

bool eval_roi_align(sinter_eval *eval) {
    roi_align r;
    if (!sinter_eval_expect_rank(eval, 0, 4, 4) || !sinter_eval_expect_rank(eval, 1, 2, 2) ||
        !read_roi_align(eval, &r))
        return false;
    const sinter_tensor *x = eval->operands[0], *rois = eval->operands[1];
    int64_t roi_dims[2] = {rois->dims[0], 4}, channels = x->dims[1];
    int64_t height = x->dims[2], width = x->dims[3];
    int64_t dims[4] = {rois->dims[0], channels, r.height, r.width};
    if (!sinter_eval_expect_dims(eval, 1, 2, roi_dims) ||
        !sinter_eval_expect_dims(eval, 2, 1, roi_dims))
        return false;
    if (height < 1 || width < 1) return sinter_eval_error(eval, "the image is empty");
    const double *items = sinter_eval_doubles(eval, x), *boxes = sinter_eval_doubles(eval, rois);
    sinter_tensor *y = sinter_eval_create(eval, 0, x->dtype, 4, dims);
    if (!y) return false;
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) {
        int64_t at[4], batch, samples[2];
        double start[2], bin[2];
        sinter_eval_unravel(4, dims, i, at);
        const double *box = boxes + at[0] * 4; /* x1, y1, x2, y2 */
        if (!sinter_eval_index(eval, sinter_tensor_get_int(eval->operands[2], at[0]), x->dims[0],
                               &batch) ||
            !align_axis(eval, &r, box[1], box[3], r.height, &start[0], &bin[0], &samples[0]) ||
            !align_axis(eval, &r, box[0], box[2], r.width, &start[1], &bin[1], &samples[1]))
            return false;
        const double *plane = items + (batch * channels + at[1]) * height * width;
        sinter_tensor_set_double(y, i,
                                 pool_samples(&r, plane, height, width, start, bin, samples, at));
    }
    return true;
}

/* ---- non-maximum suppression ---- */

typedef struct box {
    double low[2], high[2]; /* y, x */
} box;

static box load_box(const double *items, bool center) {
    box b;
    for (int d = 0; d < 2; d++) {
        /* corners are y1, x1, y2, x2 in any order; centres are x, y, width, height */
        double first = center ? items[1 - d] - items[3 - d] / 2 : items[d];
        double second = center ? items[1 - d] + items[3 - d] / 2 : items[2 + d];
        b.low[d] = fmin(first, second);
        b.high[d] = fmax(first, second);
    }
    return b;
}

static double overlap(box a, box b) {
    double shared = 1, area_a = 1, area_b = 1;
    for (int d = 0; d < 2; d++) {
        shared *= fmax(fmin(a.high[d], b.high[d]) - fmax(a.low[d], b.low[d]), 0);
        area_a *= a.high[d] - a.low[d];
        area_b *= b.high[d] - b.low[d];
    }
    return shared <= 0 ? 0 : shared / (area_a + area_b - shared);
}

static int compare_scores(const void *context, int64_t a, int64_t b) {
    const double *scores = context;
    return (scores[a] < scores[b]) - (scores[a] > scores[b]);
}

typedef struct suppression {
    int64_t boxes, most;
    double threshold, least;
    bool center, has_least;
    int64_t *order, *kept; /* room for `boxes` */
} suppression;

/* Boxes of one class that are kept, best first: their count, in s->kept. */
static int64_t suppress(sinter_eval *eval, const suppression *s, const double *boxes,
                        const double *scores) {
    int64_t candidates = 0, kept = 0;
    for (int64_t i = 0; i < s->boxes; i++)
        if (!s->has_least || scores[i] > s->least) s->order[candidates++] = i;
    sinter_eval_sort(eval, s->order, candidates, compare_scores, scores);
    for (int64_t i = 0; i < candidates && kept < s->most; i++) {
        box mine = load_box(boxes + s->order[i] * 4, s->center);
        bool good = true;
        for (int64_t j = 0; good && j < kept; j++)
            good = !(overlap(mine, load_box(boxes + s->kept[j] * 4, s->center)) > s->threshold);
        if (good) s->kept[kept++] = s->order[i];
    }
    return kept;
}

bool eval_non_max_suppression(sinter_eval *eval) {
    suppression s = {.center = sinter_eval_int(eval, "center_point_box") != 0};
    if (!sinter_eval_expect_rank(eval, 0, 3, 3) || !sinter_eval_expect_rank(eval, 1, 3, 3))
        return false;
    int64_t batches = eval->operands[0]->dims[0], classes = eval->operands[1]->dims[1];
    s.boxes = eval->operands[0]->dims[1];
    int64_t box_dims[3] = {batches, s.boxes, 4}, score_dims[3] = {batches, classes, s.boxes};
    s.has_least = sinter_eval_operand(eval, 4) != NULL;
    if (!sinter_eval_expect_dims(eval, 0, 3, box_dims) ||
        !sinter_eval_expect_dims(eval, 1, 3, score_dims) ||
        (sinter_eval_operand(eval, 2) && !sinter_eval_int_scalar(eval, 2, &s.most)) ||
        (sinter_eval_operand(eval, 3) && !sinter_eval_float_scalar(eval, 3, &s.threshold)) ||
        (s.has_least && !sinter_eval_float_scalar(eval, 4, &s.least)))
        return false;
    const double *boxes = sinter_eval_doubles(eval, eval->operands[0]);
    const double *scores = sinter_eval_doubles(eval, eval->operands[1]);
    s.order = SINTER_NEW_ARRAY(eval->scratch, int64_t, s.boxes + 1);
    s.kept = SINTER_NEW_ARRAY(eval->scratch, int64_t, s.boxes + 1);
    SINTER_VECTOR(int64_t) selected = {0};
    for (int64_t n = 0; n < batches * classes; n++) {
        int64_t batch = n / classes;
        int64_t kept = suppress(eval, &s, boxes + batch * s.boxes * 4, scores + n * s.boxes);
        for (int64_t i = 0; i < kept; i++) {
            sinter_vector_push(eval->scratch, &selected, batch);
            sinter_vector_push(eval->scratch, &selected, n % classes);
            sinter_vector_push(eval->scratch, &selected, s.kept[i]);
        }
    }
    int64_t dims[2] = {(int64_t)selected.count / 3, 3};
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 2, dims);
    for (size_t i = 0; result && i < selected.count; i++)
        sinter_tensor_set_int(result, (int64_t)i, selected.items[i]);
    return result != NULL;
}

/* ---- deformable convolution ---- */

typedef struct deform {
    int64_t batch, channels, size[2];   /* of x */
    int64_t filters, kernel[2], out[2]; /* of w and y */
    int64_t group, offset_group;
    int64_t strides[2], dilations[2], pads[4];
} deform;

static bool read_pair(sinter_eval *eval, const char *name, size_t wanted, int64_t *items) {
    const int64_t *given;
    size_t count = sinter_eval_ints_attr(eval, name, &given);
    if (count && count != wanted)
        return sinter_eval_error(eval, "%s has %zu numbers, expected %zu", name, count, wanted);
    for (size_t i = 0; i < count; i++) {
        if (given[i] < -INT32_MAX || given[i] > INT32_MAX)
            return sinter_eval_error(eval, "%s holds %" PRId64, name, given[i]);
        items[i] = given[i];
    }
    return true;
}

static bool read_deform(sinter_eval *eval, deform *d) {
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_eval_expect_rank(eval, i, 4, 4)) return false;
    const int64_t *x = eval->operands[0]->dims, *w = eval->operands[1]->dims;
    const int64_t *offset = eval->operands[2]->dims;
    *d = (deform){x[0],
                  x[1],
                  {x[2], x[3]},
                  w[0],
                  {w[2], w[3]},
                  {offset[2], offset[3]},
                  sinter_eval_int(eval, "group"),
                  sinter_eval_int(eval, "offset_group"),
                  {1, 1},
                  {1, 1},
                  {0}};
    if (!read_pair(eval, "strides", 2, d->strides) || !read_pair(eval, "pads", 4, d->pads) ||
        !read_pair(eval, "dilations", 2, d->dilations))
        return false;
    if (d->group < 1 || d->offset_group < 1 || d->channels % d->group || d->filters % d->group ||
        d->channels % d->offset_group || w[1] != d->channels / d->group)
        return sinter_eval_error(
            eval, "%" PRId64 " groups and %" PRId64 " offset groups do not fit %s and %s", d->group,
            d->offset_group, sinter_eval_describe(eval, eval->operands[0]),
            sinter_eval_describe(eval, eval->operands[1]));
    for (int i = 0; i < 2; i++) {
        int64_t room =
            d->size[i] + d->pads[i] + d->pads[2 + i] - (d->kernel[i] - 1) * d->dilations[i] - 1;
        if (d->strides[i] < 1 || d->dilations[i] < 1 || room < 0 ||
            room / d->strides[i] + 1 != d->out[i])
            return sinter_eval_error(eval, "the offsets are of shape %s, which is not the output's",
                                     sinter_eval_describe(eval, eval->operands[2]));
    }
    int64_t taps = d->offset_group * d->kernel[0] * d->kernel[1];
    int64_t offsets[4] = {d->batch, 2 * taps, d->out[0], d->out[1]};
    int64_t masks[4] = {d->batch, taps, d->out[0], d->out[1]};
    return sinter_eval_expect_dims(eval, 2, 4, offsets) &&
           sinter_eval_expect_dims(eval, 3, 1, &d->filters) &&
           sinter_eval_expect_dims(eval, 4, 4, masks);
}

/* Bilinear, zero outside: elements beyond the border weigh nothing. */
static double sample_zeros(const double *plane, const int64_t size[2], double row, double column) {
    if (!(row > -1 && row < (double)size[0] && column > -1 && column < (double)size[1])) return 0;
    double top = floor(row), left = floor(column), sum = 0;
    for (int i = 0; i < 4; i++) {
        int64_t r = (int64_t)top + i / 2, c = (int64_t)left + i % 2;
        double y = row - top, x = column - left;
        if (r < 0 || r >= size[0] || c < 0 || c >= size[1]) continue;
        sum += (i / 2 ? y : 1 - y) * (i % 2 ? x : 1 - x) * plane[r * size[1] + c];
    }
    return sum;
}

/* One tap of one channel for output place `place` (row * width + column). */
static double deformed_tap(const deform *d, const double *x, const double *offset,
                           const double *mask, int64_t batch, int64_t channel, int64_t tap,
                           int64_t place) {
    int64_t taps = d->kernel[0] * d->kernel[1], places = d->out[0] * d->out[1];
    int64_t set = batch * d->offset_group + channel / (d->channels / d->offset_group);
    int64_t at[2] = {place / d->out[1], place % d->out[1]};
    int64_t in_kernel[2] = {tap / d->kernel[1], tap % d->kernel[1]};
    double position[2];
    for (int i = 0; i < 2; i++)
        position[i] =
            (double)(at[i] * d->strides[i] - d->pads[i] + in_kernel[i] * d->dilations[i]) +
            offset[((set * taps + tap) * 2 + i) * places + place];
    const double *plane = x + (batch * d->channels + channel) * d->size[0] * d->size[1];
    return sample_zeros(plane, d->size, position[0], position[1]) *
           (mask ? mask[(set * taps + tap) * places + place] : 1);
}

bool eval_deform_conv(sinter_eval *eval) {
    deform d;
    if (!read_deform(eval, &d)) return false;
    int64_t dims[4] = {d.batch, d.filters, d.out[0], d.out[1]};
    sinter_tensor *y = sinter_eval_create(eval, 0, eval->operands[0]->dtype, 4, dims);
    if (!y) return false;
    const sinter_tensor *bias = sinter_eval_operand(eval, 3), *masks = sinter_eval_operand(eval, 4);
    const double *x = sinter_eval_doubles(eval, eval->operands[0]);
    const double *w = sinter_eval_doubles(eval, eval->operands[1]);
    const double *offset = sinter_eval_doubles(eval, eval->operands[2]);
    const double *mask = masks ? sinter_eval_doubles(eval, masks) : NULL;
    int64_t taps = d.kernel[0] * d.kernel[1], places = d.out[0] * d.out[1];
    int64_t inputs = d.channels / d.group;
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) {
        int64_t place = i % places, filter = i / places % d.filters, batch = i / places / d.filters;
        int64_t first = filter / (d.filters / d.group) * inputs;
        double sum = bias ? sinter_tensor_get_double(bias, filter) : 0;
        for (int64_t c = 0; c < inputs; c++)
            for (int64_t tap = 0; tap < taps; tap++)
                sum += w[(filter * inputs + c) * taps + tap] *
                       deformed_tap(&d, x, offset, mask, batch, first + c, tap, place);
        sinter_tensor_set_double(y, i, sum);
    }
    return true;
}
