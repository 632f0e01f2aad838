/* A layer solved (passes/solve.h) as those see it that read its outputs: what a relu cuts off need not be right. Least squares know no
 * such bounds, so the layer is solved several times; in between a target beyond a bound becomes what the solution yields there, which
 * never makes the error after the bound larger (the nonlinear case of Zhang et al., "Accelerating very deep convolutional networks",
 * arXiv 1505.06798, by majorization). Test: tests/passes/compress_weights/, tests/unit/layer_fit_test.c */
#pragma once
#include "passes/layer_moments.h"
#include "passes/layer_target.h"
#include "passes/solve.h"

/* moments: of the view, finished, centred where the target has a bias; they are changed. Else as sinter_solve_weights, but that a recipe
 * with rounding=nearest, or moments without samples (view NULL), are solved once. */
bool sinter_layer_fit_weights(const sinter_module *module, const sinter_layer *layer, const sinter_layer_target *target,
                              const sinter_layer_view *view, const sinter_layer_recipe *recipe, sinter_moments *moments,
                              const float *weights, const sinter_solve_options *options, sinter_solution *out_solution,
                              sinter_arena *arena, sinter_diag *diag);
