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

/* The best length of the direction that a change of one scale is. */
static void descend_scale(sinter_solve_work *work, int64_t row, int64_t first, double *gradient,
                          double *direction) {
    int64_t n = work->inputs, at = sinter_solve_scale_of(work, row, first);
    int64_t end = first + work->scale_group < n ? first + work->scale_group : n;
    const double *h = work->h + row / work->outputs * n * n;
    double slope = 0, curve = 0;
    memset(direction, 0, sizeof *direction * (size_t)n);
    for (int64_t j = first; j < end; j++) {
        double level = work->levels[row * n + j] - work->zeros[at];
        if (level == 0) continue;
        sinter_blas_add_f64(n, level, h + j * n, direction);
        slope += level * gradient[j];
    }
    for (int64_t j = first; j < end; j++)
        curve += (work->levels[row * n + j] - work->zeros[at]) * direction[j];
    if (!(curve > 0)) return;
    double scale = (double)(float)(work->scales[at] - slope / curve);
    if (!(scale > 0)) return;
    double step = scale - work->scales[at];
    work->scales[at] = scale;
    for (int64_t j = first; j < end; j++)
        work->w[row * n + j] = (work->levels[row * n + j] - work->zeros[at]) * scale;
    sinter_blas_add_f64(n, step, direction, gradient);
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

enum { FEW_MOVES = 256 }; /* one of so many weights that still moves changes little */

static void descend_row(sinter_solve_work *work, int64_t row, double *gradient, double *direction) {
    int64_t n = work->inputs;
    bool scales = !work->grid.scale_is_power && work->grid.count > 0 &&
                  work->recipe->group != SINTER_PER_TENSOR;
    for (uint32_t turn = 0; turn < work->options->sweeps; turn++) {
        int64_t moved = descend_levels(work, row, gradient);
        if (moved <= n / FEW_MOVES && turn > 0) break;
        for (int64_t first = 0; scales && first < n; first += work->scale_group)
            descend_scale(work, row, first, gradient, direction);
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

void sinter_solve_search(sinter_solve_work *work) {
    enum { PAIRS = 1 << 24, TURNS = 3 }; /* pairs that are looked at in one turn of a layer */
    int64_t n = work->inputs, tries = work->rows ? PAIRS / (2 * work->rows * n) : 0;
    if (tries > n) tries = n;
    bool few = work->grid.count > 0 && work->grid.count <= 8 && !work->grid.asymmetric;
    double *gradient = SINTER_NEW_ARRAY(work->scratch, double, work->rows *n);
    double *room = SINTER_NEW_ARRAY(work->scratch, double, 3 * n);
    steps s;
    init_steps(work, &s);
    sinter_solve_gradient(work, work->w, gradient);
    for (int64_t row = 0; row < work->rows; row++) {
        double *own = gradient + row * n;
        descend_row(work, row, own, room);
        if (few) { /* what kicks find, pairs do not better */
            search_valleys(work, row, own, room);
            descend_row(work, row, own, room);
            continue;
        }
        for (int turn = 0; turn < TURNS && descend_pairs(work, row, tries, own, &s); turn++)
            descend_row(work, row, own, room);
    }
}
