/* Moments (passes/solve_moments.h) of a layer of the graph from tensors that it read and ought to have yielded.
 * Test: tests/passes/compress_weights/ */
#pragma once
#include "passes/layer.h"
#include "passes/solve_moments.h"

/* What was seen of a layer: one tensor a run of the samples. */
typedef struct sinter_layer_view {
    const sinter_tensor *inputs;
    const sinter_tensor *targets; /* what its outputs ought to be */
    const sinter_tensor *offsets; /* what is added to its outputs before they are compared with the targets; NULL: nothing */
    size_t runs;
} sinter_layer_view;

/* Adds all rows, or of very many a share at regular distances, the same for the same shapes. The moments are initialised for
 * groups, reduction / outputs of a group. False with an error where the layer is of a kind, or the tensors are of shapes, that
 * this cannot take. */
bool sinter_layer_measure(const sinter_module *module, const sinter_layer *layer, const sinter_layer_view *view,
                          sinter_moments *moments, sinter_diag *diag);
