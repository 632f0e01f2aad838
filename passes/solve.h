/* Weights of one layer chosen so that its outputs over samples stay what they were, though what it may compute with is a grid of
 * few numbers, or many zeros, and though what it reads has been compressed already. Plain matrices; no graph.
 *
 * With second moments H of the inputs (solve_moments.h) the squared error of a row w against the row t that does best without
 * any restriction is (w - t) H (w - t)^T plus a constant, so everything is done in terms of H and t:
 *   1. t by least squares from what the layer reads now to what it ought to yield, held near the weights by a ridge;
 *   2. the mask, by scores, improved by alternating directions (Meng et al., "ALPS", arXiv 2406.07831), and least squares on it; with
 *      schedule=gradual in rounds, of which each scores what the one before has left;
 *   3. rounding column by column, the rest making up for each column's error (Frantar et al., GPTQ, arXiv 2210.17323), under
 *      several scales of which each row takes the best;
 *   4. local search over the levels and the scales, by single weights, pairs of them and kicks, until nothing gets better (solve_search.c;
 *      not with rounding=gptq);
 *   5. rows scaled so that the outputs have the variance they ought to have, and a bias for their mean.
 * With rounding=nearest there is a mask by scores and the nearest level, and no more.
 * Deterministic. Needs sinter_blas_begin where anything is known of the samples. Test: tests/unit/solve_test.c */
#pragma once
#include "passes/solve_grid.h"
#include "passes/solve_moments.h"

typedef struct sinter_solution {
    int64_t outputs, inputs, scale_group; /* steps of the reduction that share a scale; inputs where a row has one */
    bool per_tensor;  /* all scales are one */
    float *values;    /* [outputs, inputs]: what the layer computes with */
    float *levels;    /* [outputs, inputs]: (level - zero) * scale is the value; NULL where there is no grid */
    float *scales, *zeros; /* [outputs, ceil(inputs / scale_group)]; zeros are NULL of symmetric grids */
    float *bias;      /* [outputs]: what the outputs lack on average */
    double error;     /* where it is wanted: squared error of the outputs as a share of their variance */
} sinter_solution;

typedef struct sinter_solve_options {
    double ridge;        /* of step 1, share of the mean of H's diagonal */
    double damping;      /* of H in step 3, at least: more where rows are few */
    double variance;     /* exponent of step 5; 0: not done */
    uint32_t sweeps;     /* of step 4 */
    bool with_error;     /* error is wanted */
} sinter_solve_options;
extern const sinter_solve_options sinter_solve_defaults;
/* The ridge of step 1 that serves rows best which it was not fitted to: finished moments of two halves of the samples, each fitted
 * to one and judged by the other. For samples of fewer than SINTER_SOLVE_FEW_ROWS rows for each step of the reduction. */
enum { SINTER_SOLVE_FEW_ROWS = 16 };
double sinter_solve_choose_ridge(const sinter_moments halves[2], const float *weights);

/* weights[groups * outputs, inputs] as they are in the dense model; moments are finished, or sizes alone (xx is NULL) where recipe
 * and scores need no samples: then the error is 0, and so is the bias. False with an error at `where` where
 * weights are not finite or recipe and layer do not go together. The solution's arrays are in the arena. options NULL: defaults. */
bool sinter_solve_weights(const sinter_layer_recipe *recipe, const sinter_moments *moments, const float *weights,
                          const sinter_solve_options *options, sinter_solution *out_solution, sinter_arena *arena,
                          const char *where, sinter_diag *diag);
