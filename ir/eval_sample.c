/* Interpolation in the reference evaluator: grid_sample and resize. Both are separable: every axis has a list of
 * (index, weight) per sample, in f64. Formulas: ONNX GridSample and Resize; cubic convolution after R. G. Keys, IEEE
 * Trans. ASSP 29 (1981). Test: tests/ops/grid_sample.sir, tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Kernel of cubic convolution with coefficient a. */
static double cubic_kernel(double x, double a) {
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    return 0;
}

static double linear_kernel(double x) {
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

/* ---- grid_sample ---- */

typedef enum border { BORDER_ZEROS, BORDER_EDGE, BORDER_REFLECTION } border;
typedef enum interpolation { NEAREST, LINEAR, CUBIC } interpolation;

typedef struct sampler {
    interpolation mode;
    border border;
    bool align_corners;
} sampler;

enum { MAX_TAPS = 4 };
typedef struct taps {
    int count;
    int64_t index[MAX_TAPS]; /* -1: outside, a zero */
    double weight[MAX_TAPS];
} taps;

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* Mirrors x at the borders until it is between them. */
static double reflect(double x, double low, double high) {
    double range = high - low;
    if (range <= 0) return low;
    double folded = fmod(fabs(x - low), 2 * range);
    return folded <= range ? low + folded : high - (folded - range);
}

static int64_t place_index(const sampler *s, double index, int64_t size) {
    double low = s->align_corners ? 0 : -0.5, high = (double)size - (s->align_corners ? 1 : 0.5);
    if (index >= 0 && index < (double)size) return (int64_t)index;
    if (s->border == BORDER_ZEROS) return -1;
    if (s->border == BORDER_REFLECTION) index = reflect(index, low, high);
    return (int64_t)clamp(index, 0, (double)size - 1);
}

/* Taps of one axis for a coordinate in [-1, 1]. */
static taps sample_axis(const sampler *s, double coordinate, int64_t size) {
    double low = s->align_corners ? 0 : -0.5, high = (double)size - (s->align_corners ? 1 : 0.5);
    double x = s->align_corners ? (coordinate + 1) / 2 * (double)(size - 1)
                                : ((coordinate + 1) * (double)size - 1) / 2;
    taps t = {0};
    if (isnan(x)) x = -1;
    x = clamp(x, -0x1p40, 0x1p40);
    if (s->mode == NEAREST) x = rint(x);
    if (x < low || x > high) {
        if (s->border == BORDER_EDGE) x = clamp(x, 0, (double)size - 1);
        if (s->border == BORDER_REFLECTION) x = reflect(x, low, high);
    }
    if (s->mode == NEAREST) {
        t.count = 1;
        t.index[0] = place_index(s, trunc(x), size);
        t.weight[0] = 1;
        return t;
    }
    double base = floor(x), first = s->mode == LINEAR ? base : base - 1;
    t.count = s->mode == LINEAR ? 2 : 4;
    for (int i = 0; i < t.count; i++) {
        double index = first + i;
        t.index[i] = place_index(s, index, size);
        t.weight[i] = s->mode == LINEAR ? linear_kernel(x - index) : cubic_kernel(x - index, -0.75);
    }
    return t;
}

/* Weighted sum over the product of the taps of all axes. */
static double sample_plane(const double *plane, uint32_t rank, const int64_t *dims,
                           const taps *axes) {
    if (!rank) return *plane;
    int64_t stride = 1;
    double sum = 0;
    for (uint32_t i = 1; i < rank; i++) stride *= dims[i];
    for (int i = 0; i < axes->count; i++)
        if (axes->index[i] >= 0 && axes->weight[i] != 0)
            sum += axes->weight[i] *
                   sample_plane(plane + axes->index[i] * stride, rank - 1, dims + 1, axes + 1);
    return sum;
}

static bool read_sampler(sinter_eval *eval, sampler *s) {
    bool linear = sinter_eval_string_is(eval, "mode", "linear"),
         cubic = sinter_eval_string_is(eval, "mode", "cubic");
    bool zeros = sinter_eval_string_is(eval, "padding_mode", "zeros");
    bool edge = sinter_eval_string_is(eval, "padding_mode", "border");
    if (!linear && !cubic && !sinter_eval_string_is(eval, "mode", "nearest"))
        return sinter_eval_error(eval, "unknown mode '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "mode")));
    if (!zeros && !edge && !sinter_eval_string_is(eval, "padding_mode", "reflection"))
        return sinter_eval_error(eval, "unknown padding_mode '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "padding_mode")));
    s->mode = linear ? LINEAR : cubic ? CUBIC : NEAREST;
    s->border = zeros ? BORDER_ZEROS : edge ? BORDER_EDGE : BORDER_REFLECTION;
    s->align_corners = sinter_eval_int(eval, "align_corners") != 0;
    return true;
}

bool eval_grid_sample(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *grid = sinter_eval_operand(eval, 1);
    int64_t dims[SINTER_MAX_RANK];
    sampler s;
    if (!read_sampler(eval, &s) || !sinter_eval_expect_rank(eval, 0, 3, SINTER_MAX_RANK))
        return false;
    uint32_t rank = x->rank - 2;
    bool fits = grid->rank == x->rank && grid->dims[0] == x->dims[0] &&
                grid->dims[x->rank - 1] == rank &&
                sinter_dtype_infos[x->dtype].class != SINTER_CLASS_STRING &&
                sinter_dtype_is_float(grid->dtype);
    for (uint32_t i = 0; fits && i < rank; i++) fits = x->dims[2 + i] > 0;
    if (!fits)
        return sinter_eval_error(eval, "grid is %s for %s", sinter_eval_describe(eval, grid),
                                 sinter_eval_describe(eval, x));
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    memcpy(dims + 2, grid->dims + 1, rank * sizeof *dims);
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, x->rank, dims);
    if (!result) return false;
    const double *xs = sinter_eval_doubles(eval, x), *points = sinter_eval_doubles(eval, grid);
    double *y = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(result) + 1);
    int64_t plane = 1, samples = 1;
    for (uint32_t i = 0; i < rank; i++) {
        plane *= x->dims[2 + i];
        samples *= dims[2 + i];
    }
    for (int64_t n = 0; n < dims[0]; n++)
        for (int64_t p = 0; p < samples; p++) {
            taps axes[SINTER_MAX_RANK];
            const double *point = points + (n * samples + p) * rank;
            for (uint32_t i = 0; i < rank; i++) /* the last coordinate belongs to the first axis */
                axes[i] = sample_axis(&s, point[rank - 1 - i], x->dims[2 + i]);
            for (int64_t c = 0; c < dims[1]; c++)
                y[(n * dims[1] + c) * samples + p] =
                    sample_plane(xs + (n * dims[1] + c) * plane, rank, x->dims + 2, axes);
        }
    sinter_eval_store_doubles(result, y);
    return true;
}
