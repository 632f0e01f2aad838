/* Sums of products over samples, batch by batch: BLAS in f32 within a batch, f64 from batch to batch, so that neither the count of
 * samples nor their order within a batch's matrix decides about accuracy. Test: tests/unit/solve_test.c */
#include "passes/solve_moments.h"
#include <math.h>
#include <string.h>

void sinter_moments_init(sinter_moments *moments, int64_t groups, int64_t inputs, int64_t outputs,
                         sinter_arena *arena) {
    int64_t wider = inputs > outputs ? inputs : outputs;
    *moments = (sinter_moments){
        .groups = groups,
        .inputs = inputs,
        .outputs = outputs,
        .rows = SINTER_NEW_ARRAY(arena, double, groups),
        .xx = SINTER_NEW_ARRAY(arena, double, groups *inputs *inputs),
        .xy = SINTER_NEW_ARRAY(arena, double, groups *inputs *outputs),
        .x = SINTER_NEW_ARRAY(arena, double, groups *inputs),
        .y = SINTER_NEW_ARRAY(arena, double, groups *outputs),
        .yy = SINTER_NEW_ARRAY(arena, double, groups *outputs),
        .buffer = SINTER_NEW_ARRAY(arena, float, inputs *wider),
    };
}

static void add_sums(int64_t rows, int64_t columns, const float *matrix, double *sums,
                     double *squares) {
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) {
            double value = (double)matrix[r * columns + c];
            sums[c] += value;
            if (squares) squares[c] += value * value;
        }
}

void sinter_moments_add(sinter_moments *moments, int64_t group, int64_t rows, const float *x,
                        const float *y) {
    int64_t n = moments->inputs, m = moments->outputs;
    moments->rows[group] += (double)rows;
    sinter_blas_gram_f32(n, rows, x, moments->buffer);
    double *xx = moments->xx + group * n * n, *xy = moments->xy + group * n * m;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) xx[i * n + j] += (double)moments->buffer[i * n + j];
    sinter_blas_product_f32(n, m, rows, 1, (sinter_blas_operand){x, n, true},
                            (sinter_blas_operand){y, m, false}, 0, moments->buffer, m);
    for (int64_t i = 0; i < n * m; i++) xy[i] += (double)moments->buffer[i];
    add_sums(rows, n, x, moments->x + group * n, NULL);
    add_sums(rows, m, y, moments->y + group * m, moments->yy + group * m);
}

static void add_all(double *to, const double *from, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

void sinter_moments_merge(sinter_moments *moments, const sinter_moments *other) {
    int64_t g = moments->groups, n = moments->inputs, m = moments->outputs;
    add_all(moments->rows, other->rows, g);
    add_all(moments->xx, other->xx, g * n * n);
    add_all(moments->xy, other->xy, g * n * m);
    add_all(moments->x, other->x, g * n);
    add_all(moments->y, other->y, g * m);
    add_all(moments->yy, other->yy, g * m);
}

static bool finish_group(sinter_moments *moments, int64_t group, bool centred) {
    int64_t n = moments->inputs, m = moments->outputs;
    double rows = moments->rows[group];
    double *xx = moments->xx + group * n * n, *xy = moments->xy + group * n * m;
    double *x = moments->x + group * n, *y = moments->y + group * m, *yy = moments->yy + group * m;
    if (rows == 0) return false;
    for (int64_t i = 0; i < n; i++) x[i] /= rows;
    for (int64_t o = 0; o < m; o++) {
        y[o] /= rows;
        yy[o] = yy[o] / rows - (centred ? y[o] * y[o] : 0);
        if (!isfinite(yy[o])) return false;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            double value = xx[i * n + j] / rows - (centred ? x[i] * x[j] : 0);
            if (!isfinite(value)) return false;
            xx[i * n + j] = xx[j * n + i] = value;
        }
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < m; o++)
            xy[i * m + o] = xy[i * m + o] / rows - (centred ? x[i] * y[o] : 0);
    return true;
}

bool sinter_moments_finish(sinter_moments *moments, bool centred) {
    for (int64_t g = 0; g < moments->groups; g++)
        if (!finish_group(moments, g, centred)) return false;
    return true;
}

/* One channel's window at a position: the innermost dim is a loop, the others are counted in mixed radix. */
static void gather_window(const sinter_patches *p, const float *channel, const int64_t *corner,
                          float *out) {
    uint32_t last = p->dims - 1;
    int64_t index[SINTER_PATCH_DIMS] = {0};
    for (;;) {
        int64_t offset = 0;
        bool inside = true;
        for (uint32_t d = 0; d < last; d++) {
            int64_t at = corner[d] + index[d] * p->dilation[d];
            inside = inside && at >= 0 && at < p->size[d];
            offset = (offset + at) * p->size[d + 1];
        }
        for (int64_t k = 0; k < p->kernel[last]; k++) {
            int64_t at = corner[last] + k * p->dilation[last];
            *out++ = inside && at >= 0 && at < p->size[last] ? channel[offset + at] : 0.0F;
        }
        uint32_t d = last;
        while (d > 0 && ++index[d - 1] == p->kernel[d - 1]) index[--d] = 0;
        if (d == 0) return;
    }
}

int64_t sinter_patches_gather(const sinter_patches *p, const float *channels, int64_t first,
                              int64_t step, float *out_rows) {
    int64_t positions = 1, elements = 1, taps = 1, rows = 0;
    for (uint32_t d = 0; d < p->dims; d++) {
        positions *= p->out[d];
        elements *= p->size[d];
        taps *= p->kernel[d];
    }
    for (int64_t position = first; position < positions; position += step, rows++) {
        int64_t corner[SINTER_PATCH_DIMS], rest = position;
        for (uint32_t d = p->dims; d-- > 0; rest /= p->out[d])
            corner[d] = rest % p->out[d] * p->stride[d] - p->before[d];
        for (int64_t c = 0; c < p->channels; c++, out_rows += taps)
            gather_window(p, channels + c * elements, corner, out_rows);
    }
    return rows;
}
