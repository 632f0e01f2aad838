/* Local search among the levels of a grid, as AdaRound's problem is stated (Nagel et al., arXiv 2004.10568): which neighbours of what
 * a weight wishes to be are best together. Single weights (coordinate descent: Behdin et al., "QuantEase", arXiv 2309.01885), pairs
 * of weights (Nair and Suggala, "CDQuant", arXiv 2406.17542) or, where levels are few, kicks, and scales, in turns. What it costs is
 * counted, not timed, so that the same layer always ends with the same levels. Test: tests/unit/solve_test.c */
#include "ir/random.h"
#include "passes/solve_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void step_level(sinter_solve_work *work, int64_t row, int64_t j, double level,
                       double *gradient) {
    int64_t n = work->inputs, i = row * n + j, at = sinter_solve_scale_of(work, row, j);
    const double *h = work->h + row / work->outputs * n * n + j * n;
    double step = (level - work->zeros[at]) * work->scales[at] - work->w[i];
    work->levels[i] = level;
    work->w[i] += step;
    sinter_blas_add_f64(n, step, h, gradient);
}

/* Moves each weight of a row to the level that is best while the others stay. Returns how many moved. */
static int64_t descend_levels(sinter_solve_work *work, int64_t row, double *gradient) {
    int64_t n = work->inputs, moved = 0;
    const double *h = work->h + row / work->outputs * n * n;
    for (int64_t j = 0; j < n; j++) {
        int64_t i = row * n + j;
        if (!work->mask[i]) continue;
        double before = work->w[i], curve = h[j * n + j];
        int64_t at = sinter_solve_scale_of(work, row, j);
        double wish = before - gradient[j] / curve;
        double level =
            sinter_solve_grid_level(&work->grid, wish, work->scales[at], work->zeros[at]);
        if (level == work->levels[i]) continue;
        double step = (level - work->zeros[at]) * work->scales[at] - before;
        if (!(step * (gradient[j] + 0.5 * curve * step) < 0)) continue;
        step_level(work, row, j, level, gradient);
        moved++;
    }
    return moved;
}

/* Half of what the gradient says of the squared error of a row, up to a constant of the row. */
static double error_of_row(const sinter_solve_work *work, int64_t row, const double *gradient) {
    int64_t n = work->inputs;
    double error = 0;
    for (int64_t i = 0; i < n; i++)
        error += gradient[i] * (work->w[row * n + i] - work->target[row * n + i]);
    return error;
}

/* Where levels are few, descent ends in a valley soon: rows are kicked out of it, at places drawn at random, the same ones for the
 * same row, and stay where they get to when that is better. */
static void search_valleys(sinter_solve_work *work, int64_t row, double *gradient, double *saved) {
    enum { KICKS = 60, PLACES = 4 };
    int64_t n = work->inputs, bytes = (int64_t)sizeof(double) * n;
    double *levels = work->levels + row * n, *w = work->w + row * n;
    double best = error_of_row(work, row, gradient);
    for (uint64_t kick = 0; kick < KICKS; kick++) {
        memcpy(saved, levels, (size_t)bytes);
        memcpy(saved + n, w, (size_t)bytes);
        memcpy(saved + 2 * n, gradient, (size_t)bytes);
        for (uint64_t place = 0; place < PLACES; place++) {
            double draw = sinter_random_uniform((uint64_t)row, kick * 2 * PLACES + 2 * place, true);
            double which =
                sinter_random_uniform((uint64_t)row, kick * 2 * PLACES + 2 * place + 1, true);
            int64_t j = (int64_t)(draw * (double)n);
            double level = work->grid.levels[(uint32_t)(which * work->grid.count)];
            if (work->mask[row * n + j]) step_level(work, row, j, level, gradient);
        }
        for (int turn = 0; turn < 4 && descend_levels(work, row, gradient); turn++) continue;
        double error = error_of_row(work, row, gradient);
        if (error < best) {
            best = error;
            continue;
        }
        memcpy(levels, saved, (size_t)bytes);
        memcpy(w, saved + n, (size_t)bytes);
        memcpy(gradient, saved + 2 * n, (size_t)bytes);
    }
}

/* ---- rows in step ---- */

enum {
    FEW_MOVES = 256, /* one of so many weights that still moves changes little */
    ROWS = 64        /* that go in step: what their scales need of H is one product */
};

typedef struct search {
    sinter_solve_work *work;
    double *gradient; /* [rows, inputs] of half of the squared error */
    double *pulls;    /* [rows, inputs] H target, where a row has one scale; NULL: they have more */
    double *levels;   /* [ROWS, scale_group] without zeros */
    double *directions; /* [ROWS, inputs] */
    double *saved;      /* [3, inputs] */
} search;

static bool has_free_scales(const sinter_solve_work *work) {
    return !work->grid.scale_is_power && work->grid.count > 0 &&
           work->recipe->group != SINTER_PER_TENSOR;
}

/* What the levels of one scale add to H w for a scale of 1, in each of the rows: the direction that a change of the scale is. Where a row
 * has one scale, the gradient, H (w - target), says so. */
static void find_directions(const search *s, const int64_t *rows, int64_t count, int64_t first,
                            int64_t width) {
    const sinter_solve_work *work = s->work;
    int64_t n = work->inputs;
    for (int64_t r = 0; r < count && s->pulls; r++) {
        double scale = work->scales[rows[r]];
        for (int64_t i = 0; i < n; i++)
            s->directions[r * n + i] =
                (s->gradient[rows[r] * n + i] + s->pulls[rows[r] * n + i]) / scale;
    }
    if (s->pulls) return;
    const double *h = work->h + rows[0] / work->outputs * n * n + first * n;
    sinter_blas_product_f64(count, n, width, 1, (sinter_blas_operand){s->levels, width, false},
                            (sinter_blas_operand){h, n, false}, 0, s->directions, n);
}

/* The best length of a direction. */
static void descend_scale(search *s, int64_t row, int64_t first, int64_t width,
                          const double *levels, const double *direction) {
    sinter_solve_work *work = s->work;
    int64_t n = work->inputs, at = sinter_solve_scale_of(work, row, first);
    double *gradient = s->gradient + row * n, slope = 0, curve = 0;
    for (int64_t j = 0; j < width; j++) {
        slope += levels[j] * gradient[first + j];
        curve += levels[j] * direction[first + j];
    }
    if (!(curve > 0)) return;
    double scale = (double)(float)(work->scales[at] - slope / curve);
    if (!(scale > 0)) return;
    double step = scale - work->scales[at];
    work->scales[at] = scale;
    for (int64_t j = 0; j < width; j++) work->w[row * n + first + j] = levels[j] * scale;
    sinter_blas_add_f64(n, step, direction, gradient);
}

/* One scale of each of the rows, which are of one group of the layer. */
static void descend_scales(search *s, const int64_t *rows, int64_t count, int64_t first) {
    const sinter_solve_work *work = s->work;
    int64_t n = work->inputs, width = work->scale_group < n - first ? work->scale_group : n - first;
    for (int64_t r = 0; r < count; r++) {
        double zero = work->zeros[sinter_solve_scale_of(work, rows[r], first)];
        for (int64_t j = 0; j < width; j++)
            s->levels[r * width + j] = work->levels[rows[r] * n + first + j] - zero;
    }
    find_directions(s, rows, count, first, width);
    for (int64_t r = 0; r < count; r++)
        descend_scale(s, rows[r], first, width, s->levels + r * width, s->directions + r * n);
}

/* Levels and scales in turns, each row until few of its weights move. */
static void descend_rows(search *s, const int64_t *rows, int64_t count) {
    int64_t n = s->work->inputs, going[ROWS];
    bool scales = has_free_scales(s->work);
    memcpy(going, rows, sizeof *rows * (size_t)count);
    for (uint32_t turn = 0; turn < s->work->options->sweeps && count; turn++) {
        int64_t left = 0;
        for (int64_t r = 0; r < count; r++) {
            int64_t row = going[r];
            int64_t moved = descend_levels(s->work, row, s->gradient + row * n);
            if (moved > n / FEW_MOVES || turn == 0) going[left++] = row;
        }
        count = left;
        for (int64_t first = 0; scales && count && first < n; first += s->work->scale_group)
            descend_scales(s, going, count, first);
    }
}

/* ---- pairs ---- */

/* A step of a weight to the next level, up or down, and what it adds to half of the row's squared error while the others stay:
 * HUGE_VAL where there is none. */
typedef struct steps {
    double *size[2], *price[2]; /* [inputs] */
    double *sums;               /* [inputs] room */
    int64_t *order;             /* [inputs] whose steps are tried, the cheapest ones first */
} steps;

static void price_steps(const sinter_solve_work *work, int64_t row, const double *gradient,
                        steps *s) {
    int64_t n = work->inputs;
    const double *h = work->h + row / work->outputs * n * n;
    for (int64_t j = 0; j < n; j++) {
        int64_t i = row * n + j;
        double scale = work->scales[sinter_solve_scale_of(work, row, j)];
        for (int way = 0; way < 2; way++) {
            double next = sinter_solve_grid_next(&work->grid, work->levels[i], way == 0);
            double step = work->mask[i] ? (next - work->levels[i]) * scale : 0;
            s->size[way][j] = step;
            s->price[way][j] =
                step != 0 ? step * (gradient[j] + 0.5 * h[j * n + j] * step) : HUGE_VAL;
        }
    }
}

static double least_price(const steps *s, int64_t j) {
    return s->price[0][j] < s->price[1][j] ? s->price[0][j] : s->price[1][j];
}

static _Thread_local const steps *order_steps;
static int compare_steps(const void *a, const void *b) {
    int64_t i = *(const int64_t *)a, j = *(const int64_t *)b;
    double pi = least_price(order_steps, i), pj = least_price(order_steps, j);
    return pi < pj ? -1 : pi > pj ? 1 : i < j ? -1 : i > j;
}

/* The weight whose step is the best beside a step of another one, whose row of H is h. */
static double find_partner(steps *s, int64_t n, const double *h, double step, int64_t *out_weight) {
    const double *up = s->size[0], *down = s->size[1], *price_up = s->price[0],
                 *price_down = s->price[1];
    double *sums = s->sums, best = HUGE_VAL;
    for (int64_t j = 0; j < n; j++) {
        double pull = h[j] * step, a = price_up[j] + pull * up[j],
               b = price_down[j] + pull * down[j];
        sums[j] = a < b ? a : b;
    }
    for (int64_t j = 0; j < n; j++)
        if (sums[j] < best) best = sums[j], *out_weight = j;
    return best;
}

/* Steps of weight i together with another one. Returns whether that was better. */
static bool step_pair(sinter_solve_work *work, int64_t row, int64_t i, double *gradient, steps *s) {
    int64_t n = work->inputs, partner = 0;
    const double *h = work->h + row / work->outputs * n * n + i * n;
    for (int way = 0; way < 2; way++) {
        double price = s->price[way][i], step = s->size[way][i];
        if (step == 0) continue;
        double own[2] = {s->price[0][i], s->price[1][i]};
        s->price[0][i] = s->price[1][i] = HUGE_VAL;
        double more = find_partner(s, n, h, step, &partner);
        s->price[0][i] = own[0], s->price[1][i] = own[1];
        if (!(price + more < -1e-9 * h[i] * step * step)) continue;
        int other = s->price[0][partner] + h[partner] * step * s->size[0][partner] <
                            s->price[1][partner] + h[partner] * step * s->size[1][partner]
                        ? 0
                        : 1;
        double first = sinter_solve_grid_next(&work->grid, work->levels[row * n + i], way == 0);
        double second =
            sinter_solve_grid_next(&work->grid, work->levels[row * n + partner], other == 0);
        step_level(work, row, i, first, gradient);
        step_level(work, row, partner, second, gradient);
        price_steps(work, row, gradient, s);
        return true;
    }
    return false;
}

/* Tries `tries` weights of a row. Returns how many pairs moved. */
static int64_t descend_pairs(sinter_solve_work *work, int64_t row, int64_t tries, double *gradient,
                             steps *s) {
    int64_t n = work->inputs, moved = 0;
    price_steps(work, row, gradient, s);
    for (int64_t i = 0; i < n; i++) s->order[i] = i;
    order_steps = s;
    qsort(s->order, (size_t)n, sizeof *s->order, compare_steps);
    for (int64_t k = 0; k < tries; k++) moved += step_pair(work, row, s->order[k], gradient, s);
    return moved;
}

static void init_steps(sinter_solve_work *work, steps *s) {
    int64_t n = work->inputs;
    for (int way = 0; way < 2; way++) {
        s->size[way] = SINTER_NEW_ARRAY(work->scratch, double, n);
        s->price[way] = SINTER_NEW_ARRAY(work->scratch, double, n);
    }
    s->sums = SINTER_NEW_ARRAY(work->scratch, double, n);
    s->order = SINTER_NEW_ARRAY(work->scratch, int64_t, n);
}

/* ---- all of it ---- */

static void init_search(search *s, sinter_solve_work *work) {
    int64_t n = work->inputs, m = work->outputs;
    *s = (search){.work = work,
                  .gradient = SINTER_NEW_ARRAY(work->scratch, double, work->rows *n),
                  .levels = SINTER_NEW_ARRAY(work->scratch, double, ROWS *n),
                  .directions = SINTER_NEW_ARRAY(work->scratch, double, ROWS *n),
                  .saved = SINTER_NEW_ARRAY(work->scratch, double, 3 * n)};
    sinter_solve_gradient(work, work->w, s->gradient);
    if (work->scales_per_row != 1 || !has_free_scales(work)) return;
    s->pulls = SINTER_NEW_ARRAY(work->scratch, double, work->rows *n);
    for (int64_t g = 0; g < work->groups; g++)
        sinter_blas_product_f64(
            m, n, n, 1, (sinter_blas_operand){work->target + g * m * n, n, false},
            (sinter_blas_operand){work->h + g * n * n, n, false}, 0, s->pulls + g * m * n, n);
}

/* Rows of one group of the layer. */
static void search_rows(search *s, steps *room, int64_t tries, const int64_t *rows, int64_t count) {
    enum { TURNS = 3 };
    sinter_solve_work *work = s->work;
    int64_t n = work->inputs, going[ROWS];
    bool few = work->grid.count > 0 && work->grid.count <= 8 && !work->grid.asymmetric;
    descend_rows(s, rows, count);
    for (int64_t r = 0; few && r < count; r++)
        search_valleys(work, rows[r], s->gradient + rows[r] * n, s->saved);
    if (few) { /* what kicks find, pairs do not better */
        descend_rows(s, rows, count);
        return;
    }
    memcpy(going, rows, sizeof *rows * (size_t)count);
    for (int turn = 0; turn < TURNS && count; turn++) {
        int64_t left = 0;
        for (int64_t r = 0; r < count; r++)
            if (descend_pairs(work, going[r], tries, s->gradient + going[r] * n, room))
                going[left++] = going[r];
        count = left;
        if (count) descend_rows(s, going, count);
    }
}

void sinter_solve_search(sinter_solve_work *work) {
    enum { PAIRS = 1 << 24 }; /* that are looked at in one turn of a layer */
    int64_t n = work->inputs, m = work->outputs, rows[ROWS];
    int64_t tries = work->rows ? PAIRS / (2 * work->rows * n) : 0;
    search s;
    steps room;
    init_search(&s, work);
    init_steps(work, &room);
    for (int64_t first = 0, count; first < work->rows; first += count) {
        int64_t left = m - first % m; /* of the group */
        count = left < ROWS ? left : ROWS;
        for (int64_t r = 0; r < count; r++) rows[r] = first + r;
        search_rows(&s, &room, tries < n ? tries : n, rows, count);
    }
}
