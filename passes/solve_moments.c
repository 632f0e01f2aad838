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
    int64_t n = moments->inputs;
    double *xx = moments->xx + group * n * n;
    moments->rows[group] += (double)rows;
    sinter_blas_gram_f32(n, rows, x, moments->buffer);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) xx[i * n + j] += (double)moments->buffer[i * n + j];
    add_sums(rows, n, x, moments->x + group * n, NULL);
    sinter_moments_add_targets(moments, group, rows, x, y);
}

void sinter_moments_add_targets(sinter_moments *moments, int64_t group, int64_t rows,
                                const float *x, const float *y) {
    int64_t n = moments->inputs, m = moments->outputs;
    double *xy = moments->xy + group * n * m;
    sinter_blas_product_f32(n, m, rows, 1, (sinter_blas_operand){x, n, true},
                            (sinter_blas_operand){y, m, false}, 0, moments->buffer, m);
    for (int64_t i = 0; i < n * m; i++) xy[i] += (double)moments->buffer[i];
    add_sums(rows, m, y, moments->y + group * m, moments->yy + group * m);
}

void sinter_moments_drop_targets(sinter_moments *moments) {
    int64_t g = moments->groups, n = moments->inputs, m = moments->outputs;
    memset(moments->xy, 0, sizeof *moments->xy * (size_t)(g * n * m));
    memset(moments->y, 0, sizeof *moments->y * (size_t)(g * m));
    memset(moments->yy, 0, sizeof *moments->yy * (size_t)(g * m));
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

static bool finish_targets(sinter_moments *moments, int64_t group, bool centred) {
    int64_t n = moments->inputs, m = moments->outputs;
    double rows = moments->rows[group], *xy = moments->xy + group * n * m;
    double *x = moments->x + group * n, *y = moments->y + group * m, *yy = moments->yy + group * m;
    for (int64_t o = 0; o < m; o++) {
        y[o] /= rows;
        yy[o] = yy[o] / rows - (centred ? y[o] * y[o] : 0);
        if (!isfinite(yy[o])) return false;
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t o = 0; o < m; o++)
            xy[i * m + o] = xy[i * m + o] / rows - (centred ? x[i] * y[o] : 0);
    return true;
}

static bool finish_group(sinter_moments *moments, int64_t group, bool centred) {
    int64_t n = moments->inputs;
    double rows = moments->rows[group];
    double *xx = moments->xx + group * n * n, *x = moments->x + group * n;
    if (rows == 0) return false;
    for (int64_t i = 0; i < n; i++) x[i] /= rows;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = i; j < n; j++) {
            double value = xx[i * n + j] / rows - (centred ? x[i] * x[j] : 0);
            if (!isfinite(value)) return false;
            xx[i * n + j] = xx[j * n + i] = value;
        }
    return finish_targets(moments, group, centred);
}

bool sinter_moments_finish(sinter_moments *moments, bool centred) {
    for (int64_t g = 0; g < moments->groups; g++)
        if (!finish_group(moments, g, centred)) return false;
    return true;
}

bool sinter_moments_finish_targets(sinter_moments *moments, bool centred) {
    for (int64_t g = 0; g < moments->groups; g++)
        if (!finish_targets(moments, g, centred)) return false;
    return true;
}

/* The window at a position, of all channels: which rows of it lie inside is the same for each. The innermost dim is a loop, the
 * others are counted in mixed radix. */
static void gather_window(const sinter_patches *p, const float *channels, int64_t elements,
                          int64_t taps, const int64_t *corner, float *out) {
    uint32_t last = p->dims - 1;
    int64_t index[SINTER_PATCH_DIMS] = {0}, width = p->kernel[last], step = p->dilation[last];
    int64_t low = corner[last] < 0 ? (-corner[last] + step - 1) / step : 0;
    int64_t room = p->size[last] - corner[last], high = room > 0 ? (room + step - 1) / step : 0;
    if (high > width) high = width;
    if (low > high) low = high;
    for (int64_t tap = 0;; tap += width) {
        int64_t offset = 0;
        bool inside = true;
        for (uint32_t d = 0; d < last; d++) {
            int64_t at = corner[d] + index[d] * p->dilation[d];
            inside = inside && at >= 0 && at < p->size[d];
            offset = (offset + at) * p->size[d + 1];
        }
        for (int64_t c = 0; c < p->channels; c++) {
            int64_t from = c * elements + offset + corner[last], k = 0;
            float *to = out + c * taps + tap;
            for (; inside && k < low; k++) to[k] = 0;
            for (; inside && k < high; k++) to[k] = channels[from + k * step];
            for (; k < width; k++) to[k] = 0;
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
        gather_window(p, channels, elements, taps, corner, out_rows);
        out_rows += p->channels * taps;
    }
    return rows;
}
