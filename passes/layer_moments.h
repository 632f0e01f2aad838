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
    const sinter_tensor *masks;   /* of products: 0 for rows that don't count, where it has one element a row; NULL: all count */
    size_t runs;
    bool few; /* a quarter of the rows that are taken otherwise will do */
} sinter_layer_view;

/* Where the windows of a convolution lie in an input, for an output of that shape. */
void sinter_layer_place_windows(const sinter_module *module, const sinter_layer *layer, const sinter_tensor *input,
                                const sinter_tensor *output, sinter_patches *out_patches);
/* The mask of a run of so many rows; NULL: all count. */
const sinter_tensor *sinter_layer_view_mask(const sinter_layer_view *view, size_t run, int64_t rows);
/* How many rows that would be. */
int64_t sinter_layer_count_rows(const sinter_module *module, const sinter_layer *layer, const sinter_layer_view *view);
/* Adds all rows, or of very many a share at regular distances, the same for the same shapes. The moments are initialised for
 * groups, reduction / outputs of a group. False with an error where the layer is of a kind, or the tensors are of shapes, that
 * this cannot take. */
bool sinter_layer_measure(const sinter_module *module, const sinter_layer *layer, const sinter_layer_view *view,
                          sinter_moments *moments, sinter_diag *diag);
/* The same, rows of the first half of the samples to the first moments, those of the second half to the second. */
bool sinter_layer_measure_halves(const sinter_module *module, const sinter_layer *layer, const sinter_layer_view *view,
                                 sinter_moments halves[2], sinter_diag *diag);

/* What a layer computes with, and between which bounds its outputs matter (passes/layer_target.h). */
typedef struct sinter_layer_fit {
    const float *values; /* [outputs, reduction] */
    const float *bias;   /* [outputs]; NULL: none */
    float low, high;
} sinter_layer_fit;
/* The moments, of the same view and finished (centred or not), for other targets: one beyond a bound becomes what the layer yields
 * where that lies there too, else the bound. False where a number is not finite. */
bool sinter_layer_measure_bounded(const sinter_module *module, const sinter_layer *layer, const sinter_layer_view *view,
                                  const sinter_layer_fit *fit, bool centred, sinter_moments *moments, sinter_diag *diag);
