/* The numbers that a weight may be: level * scale, where a scale serves a row, a group of a row's steps, or the whole layer.
 * Test: tests/unit/solve_test.c */
#pragma once
#include "ir/tensor.h"
#include "passes/recipe.h"

enum { SINTER_SOLVE_LEVELS = 256 };
typedef struct sinter_solve_grid {
    uint32_t count;                    /* 0: a float type's own numbers */
    double levels[SINTER_SOLVE_LEVELS]; /* ascending */
    double top;                        /* the largest number on the side that is shorter */
    bool uniform;                      /* consecutive integers */
    bool asymmetric;                   /* levels are counted from a zero point, itself a level */
    bool scale_is_power;               /* of two */
    sinter_dtype storage;
} sinter_solve_grid;
/* False where the recipe asks for no grid. */
bool sinter_solve_grid_init(sinter_solve_grid *grid, const sinter_layer_recipe *recipe);
/* The level that is nearest to value / scale + zero, ties to even. NaN stays NaN. */
double sinter_solve_grid_level(const sinter_solve_grid *grid, double value, double scale, double zero);
/* The level next to one of the grid's levels, above or below it; the level itself where there is none, and of float types. */
double sinter_solve_grid_next(const sinter_solve_grid *grid, double level, bool above);
/* Scale and zero point that cover the values without cutting any: `stride` elements apart. Scale 1 where all are 0. */
void sinter_solve_grid_cover(const sinter_solve_grid *grid, const double *values, int64_t count, double *out_scale, double *out_zero);
/* The nearest scale that the grid may have. */
double sinter_solve_grid_legal_scale(const sinter_solve_grid *grid, double scale);
/* Scale and zero point of least error, summed over rows of `count` values each `stride` apart, weights of errors [count] shared by
 * all rows; NULL: all 1. Values beyond the end of the grid are cut where that is better on the whole. */
void sinter_solve_grid_fit(const sinter_solve_grid *grid, const double *values, int64_t rows, int64_t stride, int64_t count,
                     const double *importance, double *out_scale, double *out_zero);
