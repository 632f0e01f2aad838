/* Grids as tables of levels, and the search for their scales: shrinking what a scale covers, step by step, until cutting costs more
 * than finer steps save. Test: tests/unit/solve_test.c */
#include "passes/solve_grid.h"
#include <math.h>

static void add_integers(sinter_solve_grid *grid, int64_t first, int64_t last) {
    for (int64_t level = first; level <= last; level++) grid->levels[grid->count++] = (double)level;
    grid->uniform = true;
    grid->top = (double)last;
}

/* -2^k ... -1 0 1 ... 2^k: `bits` name a sign, the exponents and 0. */
static void add_powers(sinter_solve_grid *grid, uint32_t bits) {
    int exponents = (1 << (bits - 1)) - 1;
    for (int k = exponents; k-- > 0;) grid->levels[grid->count++] = -ldexp(1, k);
    grid->levels[grid->count++] = 0;
    for (int k = 0; k < exponents; k++) grid->levels[grid->count++] = ldexp(1, k);
    grid->top = ldexp(1, exponents - 1);
}

bool sinter_solve_grid_init(sinter_solve_grid *grid, const sinter_layer_recipe *recipe) {
    *grid = (sinter_solve_grid){.storage = SINTER_DTYPE_NONE};
    switch (recipe->grid) {
    case SINTER_WEIGHT_GRID_NONE:
        return false;
    case SINTER_WEIGHT_GRID_INTEGER: {
        int64_t half = (int64_t)1 << (recipe->bits - 1); /* other grids may have no bits */
        grid->asymmetric = recipe->asymmetric;
        add_integers(grid, grid->asymmetric ? 0 : -half,
                     grid->asymmetric ? 2 * half - 1 : half - 1);
        return true;
    }
    case SINTER_WEIGHT_GRID_TERNARY:
        add_integers(grid, -1, 1);
        return true;
    case SINTER_WEIGHT_GRID_BINARY:
        grid->levels[grid->count++] = -1;
        grid->levels[grid->count++] = 1;
        grid->top = 1;
        return true;
    case SINTER_WEIGHT_GRID_POWER_OF_TWO:
        add_powers(grid, recipe->bits);
        grid->scale_is_power = true;
        return true;
    case SINTER_WEIGHT_GRID_FLOAT:
        grid->storage = recipe->storage;
        grid->top = 1;
        return true;
    }
    return false;
}

static double float_level(const sinter_solve_grid *grid, double value) {
    return sinter_float_decode(grid->storage, sinter_float_encode(grid->storage, value, true));
}

static double table_level(const sinter_solve_grid *grid, double value) {
    uint32_t low = 0, high = grid->count - 1; /* the nearest is among low..high */
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (grid->levels[middle] <= value)
            low = middle;
        else
            high = middle;
    }
    return value - grid->levels[low] <= grid->levels[high] - value ? grid->levels[low]
                                                                   : grid->levels[high];
}

double sinter_solve_grid_level(const sinter_solve_grid *grid, double value, double scale,
                               double zero) {
    double at = value / scale + zero;
    if (grid->count == 0) return float_level(grid, at);
    if (!grid->uniform) return table_level(grid, at);
    double first = grid->levels[0], last = grid->levels[grid->count - 1];
    double level = nearbyint(at);
    return level < first ? first : level > last ? last : level;
}

double sinter_solve_grid_next(const sinter_solve_grid *grid, double level, bool above) {
    if (grid->count == 0) return level;
    double end = grid->levels[above ? grid->count - 1 : 0];
    if (level == end) return level;
    if (grid->uniform) return above ? level + 1 : level - 1;
    uint32_t at = 0; /* its place: tables that are not uniform are short */
    while (grid->levels[at] < level) at++;
    return grid->levels[above ? at + 1 : at - 1];
}

double sinter_solve_grid_legal_scale(const sinter_solve_grid *grid, double scale) {
    if (grid->count == 0 && sinter_dtype_infos[grid->storage].bits > 8) return 1;
    if (grid->scale_is_power) scale = exp2(nearbyint(log2(scale)));
    return (double)(float)scale;
}

static void range_of(const double *values, int64_t count, double *low, double *high) {
    for (int64_t i = 0; i < count; i++) {
        if (values[i] < *low) *low = values[i];
        if (values[i] > *high) *high = values[i];
    }
}

/* The scale and zero point whose levels reach from low to high, which have 0 between them. */
static void cover_range(const sinter_solve_grid *grid, double low, double high, double *out_scale,
                        double *out_zero) {
    double span = -low > high ? -low : high;
    if (grid->asymmetric) span = high - low;
    double top = grid->top;
    if (grid->count == 0)
        top = float_level(grid, HUGE_VAL) < HUGE_VAL ? float_level(grid, HUGE_VAL) : 1;
    double scale = span / top;
    if (!(scale > 1e-30) || !isfinite(scale)) scale = 1;
    if (grid->scale_is_power) scale = exp2(ceil(log2(scale * 0.75)));
    *out_scale = sinter_solve_grid_legal_scale(grid, scale);
    *out_zero = grid->asymmetric ? fmin(fmax(nearbyint(-low / *out_scale), 0), grid->top) : 0;
}

void sinter_solve_grid_cover(const sinter_solve_grid *grid, const double *values, int64_t count,
                             double *out_scale, double *out_zero) {
    double low = 0, high = 0;
    range_of(values, count, &low, &high);
    cover_range(grid, low, high, out_scale, out_zero);
}

/* Of integers, without branches or calls: adding 3 * 2^51 leaves no room for fractions. */
static double error_of_uniform(const sinter_solve_grid *grid, const double *values, int64_t count,
                               const double *importance, double scale, double zero) {
    static const double rounder = 0x3p51;
    double error = 0, first = grid->levels[0], last = grid->levels[grid->count - 1];
    double per = 1 / scale;
    for (int64_t i = 0; i < count; i++) {
        double at = values[i] * per + zero;
        at = at < first ? first : at > last ? last : at;
        double level = at + rounder;
        level -= rounder;
        double left = (level - zero) * scale - values[i];
        error += left * left * (importance ? importance[i] : 1);
    }
    return error;
}

static double error_of(const sinter_solve_grid *grid, const double *values, int64_t rows,
                       int64_t stride, int64_t count, const double *importance, double scale,
                       double zero) {
    double error = 0;
    for (int64_t r = 0; r < rows && grid->uniform; r++)
        error += error_of_uniform(grid, values + r * stride, count, importance, scale, zero);
    if (grid->uniform) return error;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < count; i++) {
            double value = values[r * stride + i];
            double left =
                (sinter_solve_grid_level(grid, value, scale, zero) - zero) * scale - value;
            error += left * left * (importance ? importance[i] : 1);
        }
    return error;
}

void sinter_solve_grid_fit(const sinter_solve_grid *grid, const double *values, int64_t rows,
                           int64_t stride, int64_t count, const double *importance,
                           double *out_scale, double *out_zero) {
    enum { STEPS = 40 };
    double low = 0, high = 0, best = HUGE_VAL;
    for (int64_t r = 0; r < rows; r++) range_of(values + r * stride, count, &low, &high);
    cover_range(grid, low, high, out_scale, out_zero);
    bool few = grid->count && grid->count <= 4; /* their best scale is near the mean, not the end */
    for (int step = 0; step < STEPS; step++) {
        double share = 1 - step * (few ? 0.024 : 0.018), scale, zero;
        cover_range(grid, low * share, high * share, &scale, &zero);
        double error = error_of(grid, values, rows, stride, count, importance, scale, zero);
        if (error < best) best = error, *out_scale = scale, *out_zero = zero;
    }
}
