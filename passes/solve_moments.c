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

/* The innermost lines of the window at a position, one after the other; which of their taps lie inside is the same for all. The
 * innermost dim is a loop, the others are counted in mixed radix. */
typedef struct window_lines {
    const sinter_patches *patches;
    const int64_t *corner;
    int64_t index[SINTER_PATCH_DIMS];
    int64_t tap, offset;     /* of the line's first tap; of its elements in a channel */
    int64_t low, high, step; /* taps that lie inside, where the line does; elements between them */
    bool inside;
} window_lines;

static void place_line(window_lines *w) {
    const sinter_patches *p = w->patches;
    uint32_t last = p->dims - 1;
    w->offset = 0;
    w->inside = true;
    for (uint32_t d = 0; d < last; d++) {
        int64_t at = w->corner[d] + w->index[d] * p->dilation[d];
        w->inside = w->inside && at >= 0 && at < p->size[d];
        w->offset = (w->offset + at) * p->size[d + 1];
    }
    w->offset += w->corner[last];
}

static window_lines first_line(const sinter_patches *p, const int64_t *corner) {
    uint32_t last = p->dims - 1;
    int64_t width = p->kernel[last], step = p->dilation[last];
    window_lines w = {.patches = p, .corner = corner, .step = step};
    w.low = corner[last] < 0 ? (-corner[last] + step - 1) / step : 0;
    int64_t room = p->size[last] - corner[last];
    w.high = room > 0 ? (room + step - 1) / step : 0;
    if (w.high > width) w.high = width;
    if (w.low > w.high) w.low = w.high;
    place_line(&w);
    return w;
}

static bool next_line(window_lines *w) {
    const sinter_patches *p = w->patches;
    uint32_t d = p->dims - 1;
    while (d > 0 && ++w->index[d - 1] == p->kernel[d - 1]) w->index[--d] = 0;
    if (d == 0) return false;
    w->tap += p->kernel[p->dims - 1];
    place_line(w);
    return true;
}

static void gather_window(const sinter_patches *p, const float *channels, int64_t elements,
                          int64_t taps, const int64_t *corner, float *out) {
    int64_t width = p->kernel[p->dims - 1];
    window_lines w = first_line(p, corner);
    do {
        for (int64_t c = 0; c < p->channels; c++) {
            int64_t from = c * elements + w.offset, k = 0;
            float *to = out + c * taps + w.tap;
            for (; w.inside && k < w.low; k++) to[k] = 0;
            for (; w.inside && k < w.high; k++) to[k] = channels[from + k * w.step];
            for (; k < width; k++) to[k] = 0;
        }
    } while (next_line(&w));
}

typedef struct patch_counts {
    int64_t positions, elements, taps;
} patch_counts;

static patch_counts count_patches(const sinter_patches *p) {
    patch_counts counts = {1, 1, 1};
    for (uint32_t d = 0; d < p->dims; d++) {
        counts.positions *= p->out[d];
        counts.elements *= p->size[d];
        counts.taps *= p->kernel[d];
    }
    return counts;
}

static void find_corner(const sinter_patches *p, int64_t position, int64_t *out_corner) {
    for (uint32_t d = p->dims; d-- > 0; position /= p->out[d])
        out_corner[d] = position % p->out[d] * p->stride[d] - p->before[d];
}

int64_t sinter_patches_gather(const sinter_patches *p, const float *channels, int64_t first,
                              int64_t step, float *out_rows) {
    patch_counts counts = count_patches(p);
    int64_t rows = 0, corner[SINTER_PATCH_DIMS];
    for (int64_t position = first; position < counts.positions; position += step, rows++) {
        find_corner(p, position, corner);
        gather_window(p, channels, counts.elements, counts.taps, corner, out_rows);
        out_rows += p->channels * counts.taps;
    }
    return rows;
}

/* Positions that differ in the innermost dim alone, under one tap: where their elements are, and which of them lie inside. */
typedef struct position_line {
    int64_t offset, low,
        high; /* element of position 0, perhaps outside; positions low to high - 1 lie inside */
} position_line;

static position_line find_position_line(const sinter_patches *p, int64_t tap, int64_t line) {
    uint32_t last = p->dims - 1;
    int64_t corner = tap % p->kernel[last] * p->dilation[last] - p->before[last];
    int64_t stride = p->stride[last], scale = p->size[last];
    position_line out = {.offset = corner, .high = p->out[last]};
    if (corner < 0) out.low = (-corner + stride - 1) / stride;
    int64_t room = p->size[last] - corner, inside = room > 0 ? (room + stride - 1) / stride : 0;
    if (out.high > inside) out.high = inside;
    tap /= p->kernel[last];
    for (uint32_t d = last; d-- > 0;) {
        int64_t position = line % p->out[d] * p->stride[d];
        int64_t at = position + tap % p->kernel[d] * p->dilation[d] - p->before[d];
        if (at < 0 || at >= p->size[d]) out.high = 0;
        out.offset += at * scale;
        scale *= p->size[d];
        line /= p->out[d];
        tap /= p->kernel[d];
    }
    if (out.low > out.high) out.low = out.high;
    return out;
}

void sinter_patches_spread(const sinter_patches *p, const float *channels, float *out_columns) {
    patch_counts counts = count_patches(p);
    int64_t width = p->out[p->dims - 1], step = p->stride[p->dims - 1];
    for (int64_t tap = 0; tap < counts.taps; tap++)
        for (int64_t first = 0; first < counts.positions; first += width) {
            position_line line = find_position_line(p, tap, first / width);
            for (int64_t c = 0; c < p->channels; c++) {
                float *to = out_columns + (c * counts.taps + tap) * counts.positions + first;
                const float *from = channels + c * counts.elements;
                for (int64_t i = 0; i < line.low; i++) to[i] = 0;
                if (step == 1 && line.low < line.high)
                    memcpy(to + line.low, from + line.offset + line.low,
                           sizeof *to * (size_t)(line.high - line.low));
                for (int64_t i = line.low; step != 1 && i < line.high; i++)
                    to[i] = from[line.offset + i * step];
                for (int64_t i = line.high; i < width; i++) to[i] = 0;
            }
        }
}

void sinter_patches_collect(const sinter_patches *p, const float *columns, float *channels) {
    patch_counts counts = count_patches(p);
    int64_t width = p->out[p->dims - 1], step = p->stride[p->dims - 1];
    for (int64_t tap = 0; tap < counts.taps; tap++)
        for (int64_t first = 0; first < counts.positions; first += width) {
            position_line line = find_position_line(p, tap, first / width);
            for (int64_t c = 0; c < p->channels; c++) {
                const float *from = columns + (c * counts.taps + tap) * counts.positions + first;
                float *to = channels + c * counts.elements;
                for (int64_t i = line.low; i < line.high; i++)
                    to[line.offset + i * step] += from[i];
            }
        }
}
