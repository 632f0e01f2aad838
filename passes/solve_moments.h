/* Second moments of what a layer reads, x, and of what it ought to yield, y: all that least squares needs to know of the samples.
 * x are rows of the reduction in the order of the weights; a layer of several groups (convolutions) has moments for each.
 * Sums are f64, over products of f32 within one batch of rows. Test: tests/unit/solve_test.c */
#pragma once
#include "passes/solve_blas.h"

typedef struct sinter_moments {
    int64_t groups, inputs, outputs; /* steps of the reduction, outputs of each group */
    double *rows;   /* [groups] */
    double *xx;     /* [groups, inputs, inputs] sum of x x^T; the upper triangle until sinter_moments_finish */
    double *xy;     /* [groups, inputs, outputs] */
    double *x, *y;  /* [groups, inputs], [groups, outputs] */
    double *yy;     /* [groups, outputs] sum of y^2 */
    float *buffer;  /* of one batch's products */
} sinter_moments;

void sinter_moments_init(sinter_moments *moments, int64_t groups, int64_t inputs, int64_t outputs, sinter_arena *arena);
/* x[rows, inputs] and y[rows, outputs] of one group; both packed. */
void sinter_moments_add(sinter_moments *moments, int64_t group, int64_t rows, const float *x, const float *y);
/* Adds the sums of `other`, of the same sizes. Before either is finished. */
void sinter_moments_merge(sinter_moments *moments, const sinter_moments *other);
/* Divides by the count of rows, takes the means off (centred: a bias makes up for them) and fills the lower triangles. False
 * where there are no rows or a number is not finite. */
bool sinter_moments_finish(sinter_moments *moments, bool centred);
/* Other targets of the same rows x, once moments are finished: what is known of y goes, is added anew, and finished. */
void sinter_moments_drop_targets(sinter_moments *moments);
void sinter_moments_add_targets(sinter_moments *moments, int64_t group, int64_t rows, const float *x, const float *y);
bool sinter_moments_finish_targets(sinter_moments *moments, bool centred);

/* Where a window's rows come from: a sample of channels x spatial dims. */
enum { SINTER_PATCH_DIMS = 3 };
typedef struct sinter_patches {
    uint32_t dims;
    int64_t channels; /* of one group */
    int64_t size[SINTER_PATCH_DIMS], kernel[SINTER_PATCH_DIMS], stride[SINTER_PATCH_DIMS], dilation[SINTER_PATCH_DIMS],
        before[SINTER_PATCH_DIMS], out[SINTER_PATCH_DIMS]; /* padding before the first element */
} sinter_patches;
/* The rows [channel, kernel...] of the positions first, first + step, ... below the product of `out`; `channels` is where the
 * first channel of the group starts. Returns how many rows were written. */
int64_t sinter_patches_gather(const sinter_patches *patches, const float *channels, int64_t first, int64_t step,
                              float *out_rows);
/* The same of all positions, turned: out_columns[channel, kernel..., position]. */
void sinter_patches_spread(const sinter_patches *patches, const float *channels, float *out_columns);
/* The other way round: what the columns say of each element is added to it; padding is left out, and becomes 0 in the columns. */
void sinter_patches_collect(const sinter_patches *patches, float *columns, float *channels);
