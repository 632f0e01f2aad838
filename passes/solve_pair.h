/* Two layers solved together: the second reads what the first yields, cut to two bounds (a relu: at 0), and nothing else does. What is
 * right is what the second one yields, so the first may yield something else than it did, as when channels between them have gone.
 * With the bounds as they are taken for each element, outputs are linear in a change of both layers' weights: each round is a least
 * squares problem of both (Gauss-Newton), brought down by conjugate gradients that see no matrix of it (Martens, "Deep learning via
 * Hessian-free optimization", 2010; for pruned layers Lucas and Mazumder, "SNOWS", arXiv 2411.18376), preconditioned by the second
 * moments of what each layer reads, times for the first one what the second makes of its outputs (Martens and Grosse, "K-FAC",
 * arXiv 1503.05671). Curvature says where to go and may come from a part of the samples; the gradient, which says what is right, comes
 * from all of them (Byrd et al., "On the use of stochastic Hessian information in optimization methods", 2011). A step that does not lower the error is shortened, and then dropped. Plain numbers; no graph.
 * Deterministic. Needs sinter_blas_begin. Test: tests/unit/solve_pair_test.c */
#pragma once
#include "passes/solve_moments.h"

typedef struct sinter_pair_layer {
    int64_t outputs, inputs; /* the matrix; steps of the reduction */
    bool has_bias;           /* else there is none, or it stays */
    float *weights, *bias;   /* [outputs, inputs], [outputs]; bias is never NULL */
} sinter_pair_layer;

/* A sample, all channel by channel: what the first layer reads, and what the second ought to yield, less nothing. */
typedef struct sinter_pair_sample {
    sinter_patches first, second; /* where the rows of each come from; first.out is second.size */
    const float *input;           /* [channels, first.size] */
    const float *targets;         /* [outputs of the second, second.out] */
    const float *offsets;         /* what is added to those outputs before they are compared; NULL: nothing */
} sinter_pair_sample;

typedef struct sinter_pair {
    sinter_pair_layer first, second;
    float low, high;               /* of what is between them */
    float target_low, target_high; /* beyond these the outputs may be anything, as long as the targets are */
    const sinter_pair_sample *samples;
    size_t sample_count;
} sinter_pair;

typedef struct sinter_pair_options {
    double damping; /* of each least squares problem: share of the mean curvature */
    int rounds, steps; /* linearisations; conjugate gradients of each */
    int64_t curve_rows; /* of what is between the layers: of about so many curvature is taken, 0: of all, as the gradient */
} sinter_pair_options;
extern const sinter_pair_options sinter_pair_defaults;

/* Makes weights and biases better, in place. out_errors: the squared error before and after. False where a number is not finite; the
 * weights are then as they were. */
bool sinter_solve_pair(const sinter_pair *pair, const sinter_pair_options *options, double out_errors[2]);
