/* Resize of the reference evaluator: each axis in turn, as weights over neighbours, in f64; nearest picks elements of
 * any type by an index per axis. Formulas: ONNX Resize. Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef enum transform {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    CROP_AND_RESIZE,
    TRANSFORM_COUNT
} transform;
typedef enum rounding {
    ROUND_PREFER_FLOOR,
    ROUND_PREFER_CEIL,
    FLOOR,
    CEIL,
    ROUNDING_COUNT
} rounding;
typedef enum filter { NEAREST, LINEAR, CUBIC, FILTER_COUNT } filter;

typedef struct axis_map {
    int64_t input, output;
    double scale, start, end; /* start, end: region of interest */
} axis_map;

typedef struct resizer {
    axis_map axes[SINTER_MAX_RANK];
    transform transform;
    rounding rounding;
    filter filter;
    bool antialias, exclude_outside;
    double cubic_a, extrapolation;
} resizer;

static const char *const transform_names[TRANSFORM_COUNT] = {
    "half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
    "align_corners", "asymmetric",           "tf_crop_and_resize"};
static const char *const rounding_names[ROUNDING_COUNT] = {"round_prefer_floor",
                                                           "round_prefer_ceil", "floor", "ceil"};
static const char *const filter_names[FILTER_COUNT] = {"nearest", "linear", "cubic"};

/* ---- operands and attributes ---- */

static bool read_choice(sinter_eval *eval, const char *name, const char *const *names, int count,
                        int *out_choice) {
    for (*out_choice = 0; *out_choice < count; ++*out_choice)
        if (sinter_eval_string_is(eval, name, names[*out_choice])) return true;
    return sinter_eval_error(eval, "unknown %s '%.*s'", name,
                             SINTER_STRING_ARGS(sinter_eval_string(eval, name)));
}

/* Axes that scales, sizes and roi speak of, in their order. */
static bool read_axes(sinter_eval *eval, uint32_t rank, uint32_t *out_axes, size_t *out_count) {
    const int64_t *axes;
    bool marked[SINTER_MAX_RANK];
    size_t count = sinter_eval_ints_attr(eval, "axes", &axes);
    *out_count = count ? count : rank;
    for (uint32_t i = 0; !count && i < rank; i++) out_axes[i] = i;
    if (!sinter_eval_axes(eval, axes, count, rank, marked)) return false;
    for (size_t i = 0; i < count; i++)
        if (!sinter_eval_axis(eval, axes[i], rank, &out_axes[i])) return false;
    return true;
}

/* A float vector operand of exactly `count` elements. */
static const double *read_floats(sinter_eval *eval, uint32_t operand, size_t count) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    if (sinter_dtype_is_float(tensor->dtype) && tensor->rank == 1 &&
        tensor->dims[0] == (int64_t)count)
        return sinter_eval_doubles(eval, tensor);
    sinter_eval_error(eval, "operand %u is %s, expected %zu floats", operand,
                      sinter_eval_describe(eval, tensor), count);
    return NULL;
}

/* Absent, or empty as older files have it. */
static bool is_given(const sinter_eval *eval, uint32_t operand) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    return tensor && sinter_tensor_count(tensor) > 0;
}

static bool read_scales(sinter_eval *eval, resizer *r, const uint32_t *axes, size_t count) {
    const double *scales = read_floats(eval, 2, count);
    for (size_t i = 0; scales && i < count; i++) {
        axis_map *axis = &r->axes[axes[i]];
        double region = r->transform == CROP_AND_RESIZE ? axis->end - axis->start : 1;
        double size = floor((double)axis->input * region * scales[i]);
        if (!(scales[i] > 0 && size >= 0 && size < 0x1p40))
            return sinter_eval_error(eval, "scale %g of axis %u gives no usable size", scales[i],
                                     axes[i]);
        axis->scale = scales[i];
        axis->output = (int64_t)size;
    }
    return scales != NULL;
}

static bool read_sizes(sinter_eval *eval, resizer *r, const uint32_t *axes, size_t axis_count) {
    int64_t sizes[SINTER_MAX_RANK];
    size_t count;
    bool smaller = sinter_eval_string_is(eval, "keep_aspect_ratio_policy", "not_larger");
    bool larger = sinter_eval_string_is(eval, "keep_aspect_ratio_policy", "not_smaller");
    double common = smaller ? INFINITY : 0;
    if (!sinter_eval_ints(eval, 3, sizes, SINTER_MAX_RANK, &count)) return false;
    if (count != axis_count)
        return sinter_eval_error(eval, "%zu sizes for %zu axes", count, axis_count);
    for (size_t i = 0; i < count; i++) {
        axis_map *axis = &r->axes[axes[i]];
        if (sizes[i] < 0 || (sizes[i] > 0 && !axis->input))
            return sinter_eval_error(eval, "axis %u cannot become %" PRId64, axes[i], sizes[i]);
        axis->output = sizes[i];
        axis->scale = axis->input ? (double)sizes[i] / (double)axis->input : 1;
        common = smaller ? fmin(common, axis->scale) : fmax(common, axis->scale);
    }
    for (size_t i = 0; (smaller || larger) && i < count; i++) {
        axis_map *axis = &r->axes[axes[i]];
        double size = floor(common * (double)axis->input + 0.5);
        if (!(size < 0x1p40)) return sinter_eval_error(eval, "axis %u would be %g", axes[i], size);
        axis->scale = common;
        axis->output = (int64_t)size;
    }
    return true;
}

static bool resizer_init(sinter_eval *eval, resizer *r, const sinter_tensor *x) {
    uint32_t axes[SINTER_MAX_RANK];
    size_t count;
    int transform_choice, rounding_choice, filter_choice;
    if (!read_choice(eval, "coordinate_transformation_mode", transform_names, TRANSFORM_COUNT,
                     &transform_choice) ||
        !read_choice(eval, "nearest_mode", rounding_names, ROUNDING_COUNT, &rounding_choice) ||
        !read_choice(eval, "mode", filter_names, FILTER_COUNT, &filter_choice) ||
        !read_axes(eval, x->rank, axes, &count))
        return false;
    *r = (resizer){.transform = (transform)transform_choice,
                   .rounding = (rounding)rounding_choice,
                   .filter = (filter)filter_choice,
                   .antialias = sinter_eval_int(eval, "antialias") != 0,
                   .exclude_outside = sinter_eval_int(eval, "exclude_outside") != 0,
                   .cubic_a = sinter_eval_float(eval, "cubic_coeff_a"),
                   .extrapolation = sinter_eval_float(eval, "extrapolation_value")};
    for (uint32_t i = 0; i < x->rank; i++)
        r->axes[i] =
            (axis_map){.input = x->dims[i], .output = x->dims[i], .scale = 1, .start = 0, .end = 1};
    if (r->transform == CROP_AND_RESIZE && is_given(eval, 1)) {
        const double *roi = read_floats(eval, 1, 2 * count);
        for (size_t i = 0; roi && i < count; i++) {
            r->axes[axes[i]].start = roi[i];
            r->axes[axes[i]].end = roi[count + i];
        }
        if (!roi) return false;
    }
    if (is_given(eval, 2) == is_given(eval, 3) && count)
        return sinter_eval_error(eval, "expected either scales or sizes");
    return is_given(eval, 2) ? read_scales(eval, r, axes, count) : read_sizes(eval, r, axes, count);
}

/* ---- coordinates ---- */

/* Coordinate in the input of position i in the output. `length` is that of the output before rounding down, by which
 * align_corners and half_pixel_symmetric are defined. */
static double original_coordinate(const resizer *r, const axis_map *axis, int64_t i) {
    double x = (double)i, input = (double)axis->input, length = axis->scale * input;
    switch (r->transform) {
    case HALF_PIXEL:
        break;
    case ASYMMETRIC:
        return x / axis->scale;
    case ALIGN_CORNERS:
        return length == 1 ? 0 : x * (input - 1) / (length - 1);
    case PYTORCH_HALF_PIXEL:
        if (axis->output <= 1) return 0;
        break;
    case HALF_PIXEL_SYMMETRIC:
        return input / 2 * (1 - (double)axis->output / length) + (x + 0.5) / axis->scale - 0.5;
    case CROP_AND_RESIZE:
        if (axis->output <= 1) return 0.5 * (axis->start + axis->end) * (input - 1);
        return axis->start * (input - 1) +
               x * (axis->end - axis->start) * (input - 1) / (double)(axis->output - 1);
    case TRANSFORM_COUNT:
        break;
    }
    return (x + 0.5) / axis->scale - 0.5;
}

static bool is_extrapolated(const resizer *r, const axis_map *axis, double x) {
    return r->transform == CROP_AND_RESIZE && !(x >= 0 && x <= (double)(axis->input - 1));
}

static int64_t clamp_index(double index, int64_t size) {
    return index < 0 ? 0 : index > (double)(size - 1) ? size - 1 : (int64_t)index;
}

static int64_t nearest_index(const resizer *r, const axis_map *axis, int64_t i) {
    double x = original_coordinate(r, axis, i), low = floor(x), part = x - low;
    if (is_extrapolated(r, axis, x)) return -1;
    bool up = false;
    switch (r->rounding) {
    case ROUND_PREFER_FLOOR:
        up = part > 0.5;
        break;
    case ROUND_PREFER_CEIL:
        up = part >= 0.5;
        break;
    case CEIL:
        up = part > 0;
        break;
    case FLOOR:
    case ROUNDING_COUNT:
        break;
    }
    return clamp_index(low + up, axis->input);
}

static bool resize_nearest(sinter_eval *eval, const resizer *r, const sinter_tensor *x,
                           sinter_tensor *result) {
    int64_t *indices[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0}, strides[SINTER_MAX_RANK];
    int64_t count = sinter_tensor_count(result);
    bool is_number = sinter_dtype_is_float(x->dtype) || sinter_dtype_is_integer(x->dtype);
    if (!count) return true;
    for (uint32_t d = 0; d < x->rank; d++) {
        indices[d] = SINTER_NEW_ARRAY(eval->scratch, int64_t, result->dims[d]);
        for (int64_t i = 0; i < result->dims[d]; i++)
            indices[d][i] = nearest_index(r, &r->axes[d], i);
    }
    sinter_eval_strides(x->rank, x->dims, strides);
    for (int64_t n = 0; n < count; n++) {
        int64_t offset = 0;
        for (uint32_t d = 0; offset >= 0 && d < x->rank; d++) {
            int64_t index = indices[d][at[d]];
            offset = index < 0 ? -1 : offset + index * strides[d];
        }
        if (offset >= 0)
            sinter_eval_copy_element(result, n, x, offset);
        else if (is_number)
            sinter_eval_store(result, n, sinter_eval_number(x->dtype, r->extrapolation));
        sinter_eval_next(x->rank, result->dims, at);
    }
    return true;
}

/* ---- linear and cubic ---- */

static double kernel(const resizer *r, double x) {
    x = fabs(x);
    if (r->filter == LINEAR) return x < 1 ? 1 - x : 0;
    double a = r->cubic_a;
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Neighbours of one output position and what they weigh. */
typedef struct neighbours {
    int64_t count;
    int64_t *index;
    double *weight;
} neighbours;

/* Antialiasing stretches the kernel over 1 / scale neighbours where the axis shrinks. */
static int64_t neighbour_count(const resizer *r, const axis_map *axis) {
    double reach = r->filter == LINEAR ? 1 : 2;
    double scale = r->antialias && axis->scale < 1 ? axis->scale : 1;
    return 2 - 2 * (int64_t)(floor(-reach / scale) + 1);
}

static void find_neighbours(const resizer *r, const axis_map *axis, double x, neighbours *list) {
    double base = ceil(x) - 1, first = base - (double)(list->count / 2) + 1, sum = 0;
    double scale = r->antialias && axis->scale < 1 ? axis->scale : 1;
    for (int64_t k = 0; k < list->count; k++) {
        double index = first + (double)k;
        bool outside = index < 0 || index > (double)(axis->input - 1);
        list->weight[k] = r->exclude_outside && outside ? 0 : kernel(r, (index - x) * scale);
        list->index[k] = clamp_index(index, axis->input);
        sum += list->weight[k];
    }
    if ((r->antialias || r->exclude_outside) && sum != 0)
        for (int64_t k = 0; k < list->count; k++) list->weight[k] /= sum;
}

/* One axis of in[outer, input, inner] -> out[outer, output, inner]. */
static void resize_axis(sinter_eval *eval, const resizer *r, const axis_map *axis, int64_t outer,
                        int64_t inner, const double *in, double *out) {
    neighbours list = {.count = neighbour_count(r, axis)};
    list.index = SINTER_NEW_ARRAY(eval->scratch, int64_t, list.count);
    list.weight = SINTER_NEW_ARRAY(eval->scratch, double, list.count);
    for (int64_t i = 0; i < axis->output; i++) {
        double x = original_coordinate(r, axis, i);
        bool extrapolated = is_extrapolated(r, axis, x);
        if (!extrapolated) find_neighbours(r, axis, x, &list);
        for (int64_t o = 0; o < outer; o++)
            for (int64_t n = 0; n < inner; n++) {
                double sum = extrapolated ? r->extrapolation : 0;
                for (int64_t k = 0; !extrapolated && k < list.count; k++)
                    if (list.weight[k] != 0)
                        sum += list.weight[k] * in[(o * axis->input + list.index[k]) * inner + n];
                out[(o * axis->output + i) * inner + n] = sum;
            }
    }
}

static bool is_unchanged(const axis_map *axis) {
    return axis->input == axis->output && axis->scale == 1 && axis->start == 0 && axis->end == 1;
}

static bool resize_smoothly(sinter_eval *eval, const resizer *r, const sinter_tensor *x,
                            sinter_tensor *result) {
    int64_t dims[SINTER_MAX_RANK], count = sinter_tensor_count(result);
    const double *values = sinter_eval_doubles(eval, x);
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t d = 0; count && d < x->rank; d++) {
        const axis_map *axis = &r->axes[d];
        int64_t outer, inner, total;
        if (is_unchanged(axis)) continue;
        dims[d] = axis->output;
        if (!sinter_eval_product(dims, d, &outer) ||
            !sinter_eval_product(dims + d + 1, x->rank - d - 1, &inner) ||
            !sinter_eval_product(dims, x->rank, &total) || total > INT64_C(1) << 40)
            return sinter_eval_error(eval, "the result is too large");
        double *next = SINTER_NEW_ARRAY(eval->scratch, double, total + 1);
        resize_axis(eval, r, axis, outer, inner, values, next);
        values = next;
    }
    if (sinter_dtype_is_float(x->dtype))
        sinter_eval_store_doubles(result, values);
    else
        for (int64_t i = 0; i < count; i++)
            sinter_tensor_set_int(result, i, sinter_eval_saturate(x->dtype, values[i]));
    return true;
}

bool eval_resize(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0);
    int64_t dims[SINTER_MAX_RANK];
    resizer r;
    if (!resizer_init(eval, &r, x)) return false;
    for (uint32_t i = 0; i < x->rank; i++) {
        dims[i] = r.axes[i].output;
        if (dims[i] > 0 && !x->dims[i])
            return sinter_eval_error(eval, "axis %u has no elements", i);
    }
    bool is_number = sinter_dtype_is_float(x->dtype) || sinter_dtype_is_integer(x->dtype);
    if (r.filter != NEAREST && !is_number)
        return sinter_eval_error(eval, "%s cannot be interpolated", sinter_eval_describe(eval, x));
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, x->rank, dims);
    if (!result) return false;
    return r.filter == NEAREST ? resize_nearest(eval, &r, x, result)
                               : resize_smoothly(eval, &r, x, result);
}
