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

/* An input that varies by less than its sums are exact to, in f32 as they are, does not vary. */
static const double NOISE = 4e-6;

/* The input goes with no other one and with no target; x is a mean already, what belongs to targets is sums still. */
static void make_constant(sinter_moments *moments, int64_t group, int64_t input) {
    int64_t n = moments->inputs, m = moments->outputs;
    double *xx = moments->xx + group * n * n, mean = moments->x[group * n + input];
    for (int64_t j = 0; j < n; j++) xx[input * n + j] = xx[j * n + input] = 0;
    for (int64_t o = 0; o < m; o++)
        moments->xy[(group * n + input) * m + o] = mean * moments->y[group * m + o];
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
            if (centred && i == j && value <= NOISE * (value + x[i] * x[i])) value = 0;
            xx[i * n + j] = xx[j * n + i] = value;
        }
    for (int64_t i = 0; i < n && centred; i++)
        if (xx[i * n + i] == 0) make_constant(moments, group, i);
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

/* Positions that differ in the innermost dim alone, or in the two innermost ones where the elements under them lie one after the other
 * as they do: the tap of each is at one distance from it. */
typedef struct position_sheet {
    int64_t lines, width; /* positions */
    int64_t low, high;    /* those of a line with their tap inside are low to high - 1 .. */
    int64_t top, end;     /* .. of the lines top to end - 1 */
    int64_t offset,
        step; /* element of position 0, perhaps outside; from one position to the next */
} position_sheet;

/* The positions along a dim whose tap lies inside. */
static void find_inside(const sinter_patches *p, uint32_t dim, int64_t corner, int64_t *out_low,
                        int64_t *out_high) {
    int64_t stride = p->stride[dim], room = p->size[dim] - corner;
    int64_t inside = room > 0 ? (room + stride - 1) / stride : 0;
    *out_low = corner < 0 ? (-corner + stride - 1) / stride : 0;
    *out_high = p->out[dim] < inside ? p->out[dim] : inside;
    if (*out_low > *out_high) *out_low = *out_high;
}

static bool has_sheets(const sinter_patches *p) {
    uint32_t last = p->dims - 1;
    return last > 0 && p->stride[last] == 1 && p->stride[last - 1] == 1 &&
           p->out[last] == p->size[last];
}

/* Where tap number `tap` of the positions from `first` on lies. */
static position_sheet find_sheet(const sinter_patches *p, int64_t tap, int64_t first) {
    uint32_t dim = p->dims - 1;
    int64_t corner = tap % p->kernel[dim] * p->dilation[dim] - p->before[dim];
    int64_t scale = p->size[dim], rest = first / p->out[dim];
    position_sheet s = {.lines = 1, .width = p->out[dim], .end = 1, .step = p->stride[dim]};
    find_inside(p, dim, corner, &s.low, &s.high);
    s.offset = corner;
    tap /= p->kernel[dim];
    if (has_sheets(p)) {
        dim--;
        corner = tap % p->kernel[dim] * p->dilation[dim] - p->before[dim];
        find_inside(p, dim, corner, &s.top, &s.end);
        s.lines = p->out[dim];
        s.offset += corner * scale;
        scale *= p->size[dim];
        rest /= p->out[dim];
        tap /= p->kernel[dim];
    }
    while (dim-- > 0) {
        int64_t at = rest % p->out[dim] * p->stride[dim] + tap % p->kernel[dim] * p->dilation[dim] -
                     p->before[dim];
        if (at < 0 || at >= p->size[dim]) s.end = s.top;
        s.offset += at * scale;
        scale *= p->size[dim];
        rest /= p->out[dim];
        tap /= p->kernel[dim];
    }
    return s;
}

static void clear(float *at, int64_t count) {
    if (count > 0) memset(at, 0, sizeof *at * (size_t)count);
}

/* Zeros where the tap lies outside. Columns of a few elements, mostly one, go down the lines: a call for each would take longer. */
static void clear_padding(const position_sheet *s, float *to) {
    if (s->top >= s->end || s->low >= s->high) {
        clear(to, s->lines * s->width);
        return;
    }
    clear(to, s->top * s->width);
    clear(to + s->end * s->width, (s->lines - s->end) * s->width);
    for (int64_t i = 0; i < s->width; i++) {
        if (i == s->low) i = s->high;
        for (int64_t line = s->top; i < s->width && line < s->end; line++)
            to[line * s->width + i] = 0;
    }
}

/* From the first to the last position whose tap lies inside, padding between them included. */
static int64_t first_inside(const position_sheet *s) {
    return s->top * s->width + s->low;
}

static int64_t count_inside(const position_sheet *s) {
    if (s->top >= s->end || s->low >= s->high) return 0;
    return (s->end - 1) * s->width + s->high - first_inside(s);
}

void sinter_patches_spread(const sinter_patches *p, const float *channels, float *out_columns) {
    patch_counts counts = count_patches(p);
    int64_t size = 1;
    for (int64_t tap = 0; tap < counts.taps; tap++)
        for (int64_t first = 0; first < counts.positions; first += size) {
            position_sheet sheet = find_sheet(p, tap, first);
            int64_t begin = first_inside(&sheet), inside = count_inside(&sheet);
            size = sheet.lines * sheet.width;
            for (int64_t c = 0; c < p->channels; c++) {
                float *to = out_columns + (c * counts.taps + tap) * counts.positions + first;
                int64_t from = c * counts.elements + sheet.offset;
                if (sheet.step == 1 && inside)
                    memcpy(to + begin, channels + from + begin, sizeof *to * (size_t)inside);
                for (int64_t i = begin; sheet.step != 1 && i < begin + inside; i++)
                    to[i] = channels[from + i * sheet.step];
                clear_padding(&sheet, to);
            }
        }
}

void sinter_patches_collect(const sinter_patches *p, float *columns, float *channels) {
    patch_counts counts = count_patches(p);
    int64_t size = 1;
    for (int64_t tap = 0; tap < counts.taps; tap++)
        for (int64_t first = 0; first < counts.positions; first += size) {
            position_sheet sheet = find_sheet(p, tap, first);
            int64_t begin = first_inside(&sheet), end = begin + count_inside(&sheet);
            size = sheet.lines * sheet.width;
            for (int64_t c = 0; c < p->channels && begin < end; c++) {
                float *from = columns + (c * counts.taps + tap) * counts.positions + first;
                int64_t to = c * counts.elements + sheet.offset;
                clear_padding(&sheet, from);
                for (int64_t i = begin; sheet.step == 1 && i < end; i++)
                    channels[to + i] += from[i];
                for (int64_t i = begin; sheet.step != 1 && i < end; i++)
                    channels[to + i * sheet.step] += from[i];
            }
        }
}
