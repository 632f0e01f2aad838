/* Rounding to a grid: to the nearest level, or column by column with compensation by what is not rounded yet.
 * Test: tests/unit/solve_test.c */
#include "passes/solve_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double diagonal_of(const sinter_solve_work *work, int64_t group, int64_t i) {
    int64_t n = work->inputs;
    return work->h[group * n * n + i * n + i];
}

/* Scales by errors weighted with H's diagonal, or such that nothing is cut. One of a whole layer lies in every row. */
void sinter_solve_fit_scales(sinter_solve_work *work, bool cover) {
    int64_t n = work->inputs;
    double *importance = SINTER_NEW_ARRAY(work->scratch, double, n);
    if (work->recipe->group == SINTER_PER_TENSOR) {
        double scale, zero;
        if (cover)
            sinter_solve_grid_cover(&work->grid, work->w, work->rows * n, &scale, &zero);
        else {
            for (int64_t g = 0; g < work->groups; g++)
                for (int64_t i = 0; i < n; i++) importance[i] += diagonal_of(work, g, i);
            sinter_solve_grid_fit(&work->grid, work->w, work->rows, n, n, importance, &scale,
                                  &zero);
        }
        for (int64_t row = 0; row < work->rows; row++)
            work->scales[row] = scale, work->zeros[row] = zero;
        return;
    }
    for (int64_t row = 0; row < work->rows; row++) {
        for (int64_t i = 0; i < n; i++) importance[i] = diagonal_of(work, row / work->outputs, i);
        for (int64_t first = 0; first < n; first += work->scale_group) {
            int64_t count = n - first < work->scale_group ? n - first : work->scale_group;
            int64_t at = sinter_solve_scale_of(work, row, first);
            const double *values = work->w + row * n + first;
            if (cover)
                sinter_solve_grid_cover(&work->grid, values, count, &work->scales[at],
                                        &work->zeros[at]);
            else
                sinter_solve_grid_fit(&work->grid, values, 1, n, count, importance + first,
                                      &work->scales[at], &work->zeros[at]);
        }
    }
}

static void set_weight(sinter_solve_work *work, int64_t i, double value) {
    int64_t at = sinter_solve_scale_of(work, i / work->inputs, i % work->inputs);
    double scale = work->scales[at], zero = work->zeros[at];
    work->levels[i] =
        work->mask[i] ? sinter_solve_grid_level(&work->grid, value, scale, zero) : zero;
    work->w[i] = (work->levels[i] - zero) * scale;
}

void sinter_solve_round_nearest(sinter_solve_work *work) {
    for (int64_t i = 0; i < work->rows * work->inputs; i++) set_weight(work, i, work->w[i]);
}

/* The columns of one group in the order they are rounded in, with what belongs to them in that order. */
typedef struct sweep {
    int64_t *order;     /* [inputs] */
    double *factor;     /* [inputs, inputs] upper triangle of the inverse's Cholesky factor */
    double *w, *errors; /* [outputs, inputs], [outputs, BLOCK] */
} sweep;
enum { BLOCK = 64 };

static _Thread_local const double *order_diagonal;
static int compare_columns(const void *a, const void *b) {
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    double di = order_diagonal[i], dj = order_diagonal[j];
    return di > dj ? -1 : di < dj ? 1 : i < j ? -1 : i > j;
}

/* Columns whose inputs are largest go first: their errors can be made up for by all others. */
static void prepare_sweep(sinter_solve_work *work, int64_t group, sweep *s) {
    int64_t n = work->inputs;
    const double *h = work->h + group * n * n;
    double *diagonal = SINTER_NEW_ARRAY(work->scratch, double, n);
    s->order = SINTER_NEW_ARRAY(work->scratch, int64_t, n);
    s->factor = SINTER_NEW_ARRAY(work->scratch, double, n *n);
    s->w = SINTER_NEW_ARRAY(work->scratch, double, work->outputs *n);
    s->errors = SINTER_NEW_ARRAY(work->scratch, double, work->outputs *BLOCK);
    for (int64_t i = 0; i < n; i++) s->order[i] = i, diagonal[i] = h[i * n + i];
    order_diagonal = diagonal;
    qsort(s->order, (size_t)n, sizeof *s->order, compare_columns);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) s->factor[i * n + j] = h[s->order[i] * n + s->order[j]];
    sinter_blas_invert_f64(n, s->factor);
    sinter_blas_cholesky_f64(n, s->factor);
}

/* Rounds column c of the sweep for all outputs of the group, and has the columns of its block make up for it. */
static void round_column(sinter_solve_work *work, int64_t group, sweep *s, int64_t c, int64_t first,
                         int64_t end) {
    int64_t n = work->inputs, m = work->outputs;
    const double *factor = s->factor + c * n;
    for (int64_t o = 0; o < m; o++) {
        double *w = s->w + o * n, before = w[c];
        int64_t i = (group * m + o) * n + s->order[c];
        set_weight(work, i, before);
        double error = (before - work->w[i]) / factor[c];
        s->errors[o * BLOCK + c - first] = error;
        for (int64_t j = c + 1; j < end; j++) w[j] -= error * factor[j];
    }
}

static void round_group(sinter_solve_work *work, int64_t group, const double *start, sweep *s) {
    int64_t n = work->inputs, m = work->outputs;
    for (int64_t o = 0; o < m; o++)
        for (int64_t j = 0; j < n; j++) s->w[o * n + j] = start[(group * m + o) * n + s->order[j]];
    for (int64_t first = 0; first < n; first += BLOCK) {
        int64_t end = first + BLOCK < n ? first + BLOCK : n;
        for (int64_t c = first; c < end; c++) round_column(work, group, s, c, first, end);
        sinter_blas_product_f64(
            m, n - end, end - first, -1, (sinter_blas_operand){s->errors, BLOCK, false},
            (sinter_blas_operand){s->factor + first * n + end, n, false}, 1, s->w + end, n);
    }
}

/* The best of several tries, row by row (or for the layer as a whole, where it has one scale). */
typedef struct trials {
    double *start, *scales, *zeros; /* what all tries start from */
    double *best_w, *best_levels, *best_scales, *best_zeros, *best_errors;
    double *errors, *gradient;
} trials;

static double *copy_of(sinter_solve_work *work, const double *items, int64_t count) {
    return sinter_arena_copy(work->scratch, items, sizeof *items * (size_t)count);
}

static void keep_better(sinter_solve_work *work, trials *t) {
    int64_t n = work->inputs, per = work->scales_per_row;
    sinter_solve_row_errors(work, work->w, t->gradient, t->errors);
    if (work->recipe->group == SINTER_PER_TENSOR) {
        double now = 0, best = 0;
        for (int64_t row = 0; row < work->rows; row++)
            now += t->errors[row], best += t->best_errors[row];
        for (int64_t row = 0; row < work->rows; row++)
            t->errors[row] = now < best ? t->errors[row] : HUGE_VAL;
        if (now < best)
            for (int64_t row = 0; row < work->rows; row++) t->best_errors[row] = HUGE_VAL;
    }
    for (int64_t row = 0; row < work->rows; row++) {
        if (!(t->errors[row] < t->best_errors[row])) continue;
        t->best_errors[row] = t->errors[row];
        memcpy(t->best_w + row * n, work->w + row * n, sizeof(double) * (size_t)n);
        memcpy(t->best_levels + row * n, work->levels + row * n, sizeof(double) * (size_t)n);
        memcpy(t->best_scales + row * per, work->scales + row * per, sizeof(double) * (size_t)per);
        memcpy(t->best_zeros + row * per, work->zeros + row * per, sizeof(double) * (size_t)per);
    }
}

static const double *factors_of(const sinter_solve_grid *grid, size_t *out_count) {
    static const double one[] = {1}, powers[] = {1, 0.5, 2},
                        fine[] = {1, 0.94, 1.06, 0.88}, /* many levels: cutting decides */
        coarse[] = {1, 0.8, 0.9, 1.12, 1.25, 1.4, 1.6};
    bool free = grid->count > 0 && grid->count <= 256;
    *out_count = !free ? 1 : grid->scale_is_power ? 3 : grid->count > 8 ? 4 : 7;
    return !free ? one : grid->scale_is_power ? powers : grid->count > 8 ? fine : coarse;
}

void sinter_solve_round(sinter_solve_work *work) {
    int64_t count = work->rows * work->inputs, scales = work->rows * work->scales_per_row;
    trials t = {.start = copy_of(work, work->w, count),
                .scales = copy_of(work, work->scales, scales),
                .zeros = copy_of(work, work->zeros, scales),
                .best_w = copy_of(work, work->w, count),
                .best_levels = copy_of(work, work->levels, count),
                .best_scales = copy_of(work, work->scales, scales),
                .best_zeros = copy_of(work, work->zeros, scales),
                .best_errors = SINTER_NEW_ARRAY(work->scratch, double, work->rows),
                .errors = SINTER_NEW_ARRAY(work->scratch, double, work->rows),
                .gradient = SINTER_NEW_ARRAY(work->scratch, double, count)};
    for (int64_t row = 0; row < work->rows; row++) t.best_errors[row] = HUGE_VAL;
    sweep *sweeps = SINTER_NEW_ARRAY(work->scratch, sweep, work->groups);
    for (int64_t g = 0; g < work->groups; g++) prepare_sweep(work, g, &sweeps[g]);
    size_t factor_count;
    const double *factors = factors_of(&work->grid, &factor_count);
    for (size_t f = 0; f < factor_count; f++) {
        for (int64_t i = 0; i < scales; i++)
            work->scales[i] = sinter_solve_grid_legal_scale(&work->grid, t.scales[i] * factors[f]);
        for (int64_t g = 0; g < work->groups; g++) round_group(work, g, t.start, &sweeps[g]);
        keep_better(work, &t);
    }
    memcpy(work->w, t.best_w, sizeof(double) * (size_t)count);
    memcpy(work->levels, t.best_levels, sizeof(double) * (size_t)count);
    memcpy(work->scales, t.best_scales, sizeof(double) * (size_t)scales);
    memcpy(work->zeros, t.best_zeros, sizeof(double) * (size_t)scales);
}
