/* What the steps of a solution share. Test: tests/unit/solve_test.c */
#pragma once
#include "passes/solve.h"

typedef struct sinter_solve_work {
    const sinter_layer_recipe *recipe;
    const sinter_solve_options *options;
    int64_t groups, outputs, inputs, rows; /* outputs of one group; rows: of all */
    double *h;      /* [groups, inputs, inputs], damped: positive definite */
    double *target; /* [rows, inputs] */
    double *w;      /* [rows, inputs] what the steps work on */
    uint8_t *mask;  /* [rows, inputs] 1: stays */
    sinter_solve_grid grid;
    bool has_grid;
    int64_t scale_group, scales_per_row;
    double *scales, *zeros, *levels; /* [rows, scales_per_row], [rows, inputs] */
    sinter_arena *scratch;
} sinter_solve_work;

/* out[rows, inputs] = (w - target) H: half of the gradient of the squared error. */
void sinter_solve_gradient(const sinter_solve_work *work, const double *w, double *out);
/* What is to be brought down, row by row: (w - target) H (w - target)^T. gradient is scratch of the size of w. */
void sinter_solve_row_errors(const sinter_solve_work *work, const double *w, double *gradient, double *out_errors);

/* solve_sparse.c: the mask by the recipe's scores, and w by least squares on what stays. */
void sinter_solve_choose_mask(sinter_solve_work *work);
void sinter_solve_on_mask(sinter_solve_work *work);

/* Where the scale of a weight lies. */
static inline int64_t sinter_solve_scale_of(const sinter_solve_work *work, int64_t row, int64_t column) {
    return row * work->scales_per_row + column / work->scale_group;
}

/* solve_round.c: scales that suit w; w, levels and scales rounded, with compensation or without. */
void sinter_solve_fit_scales(sinter_solve_work *work, bool cover);
void sinter_solve_round_nearest(sinter_solve_work *work);
void sinter_solve_round(sinter_solve_work *work);

/* solve_search.c: levels and scales made better step by step, by a number of steps that follows from the layer's sizes. */
void sinter_solve_search(sinter_solve_work *work);
