/* Rounded weights into the graph: a constant of the narrow type and a dequantize_linear (f16 and bf16: a cast) in front of the
 * layer, so that what is exported is standard and what is computed is said by the graph. The one place that knows how a grid is
 * stored. Test: tests/passes/quantize_weights/ */
#pragma once
#include "ir/rewrite.h"
#include "passes/layer.h"
#include "passes/recipe.h"

/* Numbers that a grid's levels are, before the scale. */
typedef struct sinter_grid_levels {
    float low, high;      /* of INTEGER: less the zero point */
    sinter_dtype storage; /* i8, i4, i2, u8, ...: what levels are stored as */
    float largest;        /* level that the largest |w| goes to where scales are by the largest; asymmetric: high - low */
} sinter_grid_levels;
/* Of a grid other than NONE. */
sinter_grid_levels sinter_grid_get_levels(const sinter_layer_recipe *recipe);
/* The level nearest to w / scale + zero; NaN gives 0. Of POWER_OF_TWO nearest in the exponent, as sign(w) 2^round(log2 |w|). Of
 * f16 and bf16 the value itself. */
float sinter_grid_round(const sinter_layer_recipe *recipe, float w, float scale, float zero);

/* Scales of a layer: rows of outputs (1: per tensor) by columns of groups along the reduction (1: per channel or tensor). */
typedef struct sinter_scale_shape {
    int64_t rows, columns;
    int64_t size; /* steps of the reduction that share a column */
} sinter_scale_shape;
sinter_scale_shape sinter_scale_shape_of(const sinter_layer *layer, const sinter_layer_recipe *recipe);
static inline int64_t sinter_scale_index(const sinter_scale_shape *shape, int64_t output, int64_t step) {
    return (shape->rows == 1 ? 0 : output * shape->columns) + step / shape->size;
}

/* levels: [outputs][reduction], each a level of the recipe's grid; scales, zero_points: [rows][columns] of the shape above, zero
 * points whole numbers, NULL where the grid is symmetric, scales NULL for f16 and bf16. The layer reads
 * (level - zero_point) * scale from now on; its constant stays for others that read it. Where w is (almost) all zero, a scale may
 * be anything positive. False after an error. */
bool sinter_quantized_weight_write(sinter_rewrite *rewrite, const sinter_layer *layer, const sinter_layer_recipe *recipe,
                                   const float *levels, const float *scales, const float *zero_points);
/* Other weights in floats: cut, pruned or corrected. matrix: [outputs][reduction]. */
bool sinter_layer_write_weights(sinter_rewrite *rewrite, const sinter_layer *layer, const float *matrix);
