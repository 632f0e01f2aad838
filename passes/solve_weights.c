/* The steps of a solution in their order, from a layer's weights and moments to what it computes with.
 * Test: tests/unit/solve_test.c */
#include "passes/solve_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const sinter_solve_options sinter_solve_defaults = {
    .ridge = 1e-3, .damping = 1e-3, .variance = 1, .sweeps = 10, .with_error = true};

void sinter_solve_gradient(const sinter_solve_work *work, const double *w, double *out) {
    int64_t n = work->inputs, m = work->outputs;
    double *difference = sinter_heap_alloc(sizeof *w * (size_t)(work->rows * n));
    for (int64_t i = 0; i < work->rows * n; i++) difference[i] = w[i] - work->target[i];
    for (int64_t g = 0; g < work->groups; g++)
        sinter_blas_product_f64(m, n, n, 1, (sinter_blas_operand){difference + g * m * n, n, false},
                                (sinter_blas_operand){work->h + g * n * n, n, false}, 0,
                                out + g * m * n, n);
    sinter_heap_free(difference);
}

void sinter_solve_row_errors(const sinter_solve_work *work, const double *w, double *gradient,
                             double *out_errors) {
    int64_t n = work->inputs;
    sinter_solve_gradient(work, w, gradient);
    for (int64_t row = 0; row < work->rows; row++) {
        double error = 0;
        for (int64_t i = row * n; i < (row + 1) * n; i++)
            error += gradient[i] * (w[i] - work->target[i]);
        out_errors[row] = error;
    }
}

/* How much of the mean of the diagonal is to be added to second moments that come from few rows, as a share: the shrinkage towards
 * a multiple of the identity that errs least for a normal distribution (Chen et al., "OAS", arXiv 0907.4698). */
static double shrinkage(const double *xx, int64_t n, double rows) {
    double trace = 0, square = 0, count = (double)n;
    for (int64_t i = 0; i < n; i++) trace += xx[i * n + i];
    for (int64_t i = 0; i < n * n; i++) square += xx[i] * xx[i];
    double above = (1 - 2 / count) * square + trace * trace;
    double below = (rows + 1 - 2 / count) * (square - trace * trace / count);
    double share = below > 0 ? above / below : 1;
    return share < 0.9 ? share / (1 - share) : 9;
}

/* Adds a share, at least `least`, of the mean of the diagonal to H's diagonal; inputs that never change get a curvature too, so that H can be inverted and
 * their weights are rounded to the nearest. */
static void damp(const sinter_moments *moments, double least, double *h) {
    int64_t n = moments->inputs;
    for (int64_t g = 0; g < moments->groups; g++) {
        const double *xx = moments->xx ? moments->xx + g * n * n : NULL;
        double mean = 0;
        for (int64_t i = 0; !xx && i < n; i++) h[g * n * n + i * n + i] = 1;
        if (!xx) continue;
        for (int64_t i = 0; i < n; i++) mean += xx[i * n + i] / (double)n;
        double share = fmax(least, shrinkage(xx, n, moments->rows[g]));
        double more = mean > 0 ? share * mean : 1;
        memcpy(h + g * n * n, xx, sizeof *h * (size_t)(n * n));
        for (int64_t i = 0; i < n; i++) h[g * n * n + i * n + i] += more;
    }
}

/* out = w + (H + ridge)^-1 (xy - H w) for the rows of group g: least squares, held near w by a share of the mean of H's diagonal.
 * factor [n, n] and side [m, n] are room. w itself where it can't be had, as where no input changes. */
static void fit_rows(const sinter_moments *moments, int64_t g, const double *w, double ridge,
                     double *factor, double *side, double *out) {
    int64_t n = moments->inputs, m = moments->outputs;
    const double *xx = moments->xx + g * n * n, *xy = moments->xy + g * n * m;
    double mean = 0;
    memcpy(out, w, sizeof *w * (size_t)(m * n));
    memcpy(factor, xx, sizeof *xx * (size_t)(n * n));
    for (int64_t i = 0; i < n; i++) mean += xx[i * n + i] / (double)n;
    for (int64_t i = 0; i < n; i++) factor[i * n + i] += ridge * mean;
    if (!(mean > 0) || !sinter_blas_factor_f64(n, factor)) return;
    for (int64_t o = 0; o < m; o++)
        for (int64_t i = 0; i < n; i++) side[o * n + i] = xy[i * m + o];
    sinter_blas_product_f64(m, n, n, -1, (sinter_blas_operand){w, n, false},
                            (sinter_blas_operand){xx, n, false}, 1, side, n);
    sinter_blas_solve_f64(n, factor, m, side);
    for (int64_t i = 0; i < m * n; i++) out[i] += side[i];
}

/* What the steps that follow are held near. */
static void find_target(sinter_solve_work *work, const sinter_moments *moments) {
    int64_t n = work->inputs, m = work->outputs;
    memcpy(work->target, work->w, sizeof *work->w * (size_t)(work->rows * n));
    if (!isfinite(work->options->ridge)) return; /* rows too few to learn anything from */
    double *inverse = SINTER_NEW_ARRAY(work->scratch, double, n *n);
    double *side = SINTER_NEW_ARRAY(work->scratch, double, m *n);
    for (int64_t g = 0; g < work->groups; g++)
        fit_rows(moments, g, work->target + g * m * n, work->options->ridge, inverse, side,
                 work->w + g * m * n);
    memcpy(work->target, work->w, sizeof *work->w * (size_t)(work->rows * n));
}

/* Squared error of w on a half, up to what does not depend on w. */
static double error_on(const sinter_moments *half, int64_t g, const double *w, double *product) {
    int64_t n = half->inputs, m = half->outputs;
    const double *xy = half->xy + g * n * m;
    double error = 0;
    sinter_blas_product_f64(m, n, n, 1, (sinter_blas_operand){w, n, false},
                            (sinter_blas_operand){half->xx + g * n * n, n, false}, 0, product, n);
    for (int64_t o = 0; o < m; o++)
        for (int64_t i = 0; i < n; i++)
            error += w[o * n + i] * (product[o * n + i] - 2 * xy[i * m + o]);
    return error;
}

/* Both halves' errors, each of what was fitted to the other; share HUGE_VAL: of the weights as they are. */
static double cross_error(const sinter_moments halves[2], const double *weights, double share,
                          double *room) {
    int64_t n = halves->inputs, m = halves->outputs;
    double *fitted = room + n * n, *product = fitted + m * n, error = 0; /* product: room before */
    for (int64_t g = 0; g < halves->groups; g++)
        for (int half = 0; half < 2; half++) {
            const double *w = weights + g * m * n;
            if (isfinite(share)) fit_rows(&halves[half], g, w, share, room, product, fitted);
            error += error_on(&halves[1 - half], g, isfinite(share) ? fitted : w, product);
        }
    return error;
}

double sinter_solve_choose_ridge(const sinter_moments halves[2], const float *weights) {
    static const double shares[] = {10, 1, 1e-1, 1e-2};
    int64_t n = halves->inputs, m = halves->outputs, count = halves->groups * m * n;
    double *room = sinter_heap_alloc(sizeof *room * (size_t)(n * n + 2 * m * n + count));
    double *w = room + n * n + 2 * m * n;
    for (int64_t i = 0; i < count; i++) w[i] = (double)weights[i];
    double best = HUGE_VAL, least = cross_error(halves, w, best, room);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        double error = cross_error(halves, w, shares[i], room);
        if (!(error < least)) break; /* it has one valley */
        least = error;
        best = shares[i];
    }
    sinter_heap_free(room);
    return best;
}

/* w xx w and w xy of a row, undamped. */
static void row_products(const sinter_moments *moments, int64_t row, const double *w,
                         double *out_square, double *out_cross) {
    int64_t n = moments->inputs, m = moments->outputs, group = row / m, output = row % m;
    const double *xx = moments->xx + group * n * n, *xy = moments->xy + group * n * m;
    *out_square = *out_cross = 0;
    for (int64_t i = 0; i < n; i++) {
        if (w[i] == 0) continue;
        double sum = 0;
        for (int64_t j = 0; j < n; j++) sum += xx[i * n + j] * w[j];
        *out_square += w[i] * sum;
        *out_cross += w[i] * xy[i * m + output];
    }
}

static double share_of_error(const sinter_solve_work *work, const sinter_moments *moments,
                             const double *w) {
    double error = 0, all = 0;
    if (!moments->xx) return 0;
    for (int64_t row = 0; row < work->rows; row++) {
        double square, cross;
        row_products(moments, row, w + row * work->inputs, &square, &cross);
        error += moments->yy[row] - 2 * cross + square;
        all += moments->yy[row];
    }
    return all > 0 ? fmax(error, 0) / all : 0;
}

/* Least squares yields too little variance, layer after layer. */
static void correct_variance(sinter_solve_work *work, const sinter_moments *moments) {
    int64_t n = work->inputs, m = work->outputs;
    bool tied = work->has_grid && (work->grid.scale_is_power || work->grid.count == 0 ||
                                   work->recipe->group == SINTER_PER_TENSOR);
    if (tied || work->options->variance == 0) return;
    double *product = SINTER_NEW_ARRAY(work->scratch, double, work->rows *n);
    for (int64_t g = 0; g < work->groups; g++)
        sinter_blas_product_f64(m, n, n, 1, (sinter_blas_operand){work->w + g * m * n, n, false},
                                (sinter_blas_operand){moments->xx + g * n * n, n, false}, 0,
                                product + g * m * n, n);
    for (int64_t row = 0; row < work->rows; row++) {
        double square = 0;
        for (int64_t i = row * n; i < (row + 1) * n; i++) square += work->w[i] * product[i];
        if (!(square > 0) || !(moments->yy[row] > 0)) continue;
        double factor = pow(moments->yy[row] / square, 0.5 * work->options->variance);
        factor = fmin(fmax(factor, 1), 1.5);
        for (int64_t i = 0; i < n; i++) work->w[row * n + i] *= factor;
        for (int64_t s = 0; work->has_grid && s < work->scales_per_row; s++)
            work->scales[row * work->scales_per_row + s] =
                (double)(float)(work->scales[row * work->scales_per_row + s] * factor);
    }
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void clip(sinter_solve_work *work) {
    double quantile = work->recipe->clip;
    int64_t count = work->rows * work->inputs;
    if (!(quantile < 1) || count == 0) return;
    double *sizes = SINTER_NEW_ARRAY(work->scratch, double, count);
    for (int64_t i = 0; i < count; i++) sizes[i] = fabs(work->w[i]);
    qsort(sizes, (size_t)count, sizeof *sizes, compare_doubles);
    double limit = sizes[(int64_t)floor(quantile * (double)(count - 1))];
    for (int64_t i = 0; i < count; i++) work->w[i] = fmin(fmax(work->w[i], -limit), limit);
}

/* A mask by scores and the nearest level. */
static void solve_naively(sinter_solve_work *work) {
    if (sinter_layer_recipe_masks(work->recipe)) sinter_solve_choose_mask(work);
    if (!work->has_grid) return;
    sinter_solve_fit_scales(work, work->grid.count == 0 || work->grid.count > 4);
    sinter_solve_round_nearest(work);
}

/* What is to go after so many of the recipe's rounds. */
static sinter_layer_recipe recipe_of_round(const sinter_layer_recipe *recipe, uint32_t round) {
    sinter_layer_recipe part = *recipe;
    part.ratio = recipe->ratio * round / recipe->rounds;
    part.keep = recipe->of - (recipe->of - recipe->keep) * round / recipe->rounds;
    return part;
}

/* The mask, in rounds; after each the weights that are left do what the dense layer did, as well as they can, and are scored anew. */
static void sparsify(sinter_solve_work *work) {
    const sinter_layer_recipe *whole = work->recipe;
    for (uint32_t round = 1; round < whole->rounds; round++) {
        const sinter_layer_recipe part = recipe_of_round(whole, round);
        work->recipe = &part;
        sinter_solve_choose_mask(work);
        sinter_solve_on_mask(work);
    }
    work->recipe = whole;
    sinter_solve_choose_mask(work);
    sinter_solve_on_mask(work);
}

static void solve_compensated(sinter_solve_work *work, const sinter_moments *moments) {
    find_target(work, moments);
    if (sinter_layer_recipe_masks(work->recipe)) sparsify(work);
    if (work->has_grid) {
        sinter_solve_fit_scales(work, false);
        sinter_solve_round(work);
        if (work->recipe->rounding == SINTER_ROUND_COMPENSATED) sinter_solve_search(work);
    }
    correct_variance(work, moments);
}

static void write_solution(sinter_solve_work *work, const sinter_moments *moments,
                           sinter_arena *arena, sinter_solution *out) {
    int64_t n = work->inputs, count = work->rows * n, scales = work->rows * work->scales_per_row;
    out->values = SINTER_NEW_ARRAY(arena, float, count);
    out->bias = SINTER_NEW_ARRAY(arena, float, work->rows);
    if (work->has_grid) {
        out->levels = SINTER_NEW_ARRAY(arena, float, count);
        out->scales = SINTER_NEW_ARRAY(arena, float, scales);
        if (work->grid.asymmetric) out->zeros = SINTER_NEW_ARRAY(arena, float, scales);
    }
    for (int64_t i = 0; i < scales && work->has_grid; i++) {
        out->scales[i] = (float)work->scales[i];
        if (out->zeros) out->zeros[i] = (float)work->zeros[i];
    }
    for (int64_t i = 0; i < count; i++) {
        out->values[i] = (float)work->w[i];
        if (!work->has_grid) continue;
        int64_t at = i / n * work->scales_per_row + i % n / work->scale_group;
        out->levels[i] = (float)work->levels[i];
        out->values[i] = (float)(work->levels[i] - work->zeros[at]) * out->scales[at];
    }
    for (int64_t row = 0; row < work->rows && moments->xx; row++) {
        double mean = moments->y[row];
        const double *x = moments->x + row / work->outputs * n;
        for (int64_t i = 0; i < n; i++) mean -= (double)out->values[row * n + i] * x[i];
        out->bias[row] = (float)mean;
    }
}

static bool check(const sinter_solve_work *work, const float *weights, const char *where,
                  sinter_diag *diag) {
    for (int64_t i = 0; i < work->rows * work->inputs; i++)
        if (!isfinite(weights[i]))
            return sinter_error(diag, where,
                                "weight %lld is %g: only finite weights are compressed",
                                (long long)i, (double)weights[i]);
    return true;
}

static void init_work(sinter_solve_work *work, const sinter_layer_recipe *recipe,
                      const sinter_moments *moments, sinter_arena *scratch) {
    int64_t n = moments->inputs, rows = moments->groups * moments->outputs;
    bool grouped = recipe->group > 0 && recipe->group < n;
    *work =
        (sinter_solve_work){.recipe = recipe,
                            .groups = moments->groups,
                            .outputs = moments->outputs,
                            .inputs = n,
                            .rows = rows,
                            .h = SINTER_NEW_ARRAY(scratch, double, moments->groups *n *n),
                            .target = SINTER_NEW_ARRAY(scratch, double, rows *n),
                            .w = SINTER_NEW_ARRAY(scratch, double, rows *n),
                            .mask = SINTER_NEW_ARRAY(scratch, uint8_t, rows * n),
                            .scale_group = grouped ? recipe->group : n,
                            .scales_per_row = grouped ? (n + recipe->group - 1) / recipe->group : 1,
                            .scratch = scratch};
    work->has_grid = sinter_solve_grid_init(&work->grid, recipe);
    work->levels = SINTER_NEW_ARRAY(scratch, double, rows *n);
    work->scales = SINTER_NEW_ARRAY(scratch, double, rows * work->scales_per_row);
    work->zeros = SINTER_NEW_ARRAY(scratch, double, rows * work->scales_per_row);
}

static void start_from(sinter_solve_work *work, const float *weights) {
    for (int64_t i = 0; i < work->rows * work->inputs; i++) {
        work->w[i] = (double)weights[i];
        work->mask[i] = 1;
    }
    clip(work);
}

bool sinter_solve_weights(const sinter_layer_recipe *recipe, const sinter_moments *moments,
                          const float *weights, const sinter_solve_options *options,
                          sinter_solution *out_solution, sinter_arena *arena, const char *where,
                          sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_solve_work work;
    init_work(&work, recipe, moments, &scratch);
    work.options = options ? options : &sinter_solve_defaults;
    bool sound = check(&work, weights, where, diag);
    if (sound) {
        *out_solution = (sinter_solution){.outputs = work.rows,
                                          .inputs = work.inputs,
                                          .scale_group = work.scale_group,
                                          .per_tensor = recipe->group == SINTER_PER_TENSOR};
        damp(moments, work.options->damping, work.h);
        start_from(&work, weights);
        if (sinter_layer_recipe_compensates(recipe))
            solve_compensated(&work, moments);
        else
            solve_naively(&work);
        if (work.options->with_error) out_solution->error = share_of_error(&work, moments, work.w);
        write_solution(&work, moments, arena, out_solution);
    }
    sinter_arena_deinit(&scratch);
    return sound;
}
