/* Rounded weights into the graph. Test: tests/passes/quantize_weights/ */
#include "passes/quantized_weight.h"

#include <assert.h>
#include <math.h>

/* ---- grids ---- */

/* The narrowest type of integers that has the levels. */
static sinter_dtype integer_storage(bool is_signed, uint32_t bits) {
    if (bits <= 2) return is_signed ? SINTER_DTYPE_i2 : SINTER_DTYPE_u2;
    if (bits <= 4) return is_signed ? SINTER_DTYPE_i4 : SINTER_DTYPE_u4;
    return is_signed ? SINTER_DTYPE_i8 : SINTER_DTYPE_u8;
}

/* Exponents 0 .. 2^(bits-1)-2 of a power of two: the largest. */
static int largest_exponent(const sinter_layer_recipe *recipe) {
    return (1 << (recipe->bits - 1)) - 2;
}

sinter_grid_levels sinter_grid_get_levels(const sinter_layer_recipe *recipe) {
    uint32_t bits = recipe->bits; /* 0: of a grid that has none */
    int half = bits ? 1 << (bits - 1) : 0;
    switch (recipe->grid) {
    case SINTER_WEIGHT_GRID_NONE:
        break;
    case SINTER_WEIGHT_GRID_INTEGER:
        if (recipe->asymmetric)
            return (sinter_grid_levels){0, (float)(2 * half - 1), integer_storage(false, bits),
                                        (float)(2 * half - 1)};
        return (sinter_grid_levels){(float)-half, (float)(half - 1), integer_storage(true, bits),
                                    (float)(half - 1)};
    case SINTER_WEIGHT_GRID_TERNARY:
    case SINTER_WEIGHT_GRID_BINARY:
        return (sinter_grid_levels){-1, 1, SINTER_DTYPE_i2, 1};
    case SINTER_WEIGHT_GRID_POWER_OF_TWO: {
        /* up to 2^6 they are integers of 8 bits, 2^1 of 4, 2^0 of 2; beyond, numbers of f8e4m3fn, which has 2^-6 .. 2^8 */
        float high = ldexpf(1, largest_exponent(recipe));
        sinter_dtype storage =
            bits > 4 ? SINTER_DTYPE_f8e4m3fn : integer_storage(true, bits == 4 ? 8 : bits);
        return (sinter_grid_levels){-high, high, storage, high};
    }
    case SINTER_WEIGHT_GRID_FLOAT: {
        float high = recipe->storage == SINTER_DTYPE_f8e4m3fn ? 448.0f
                     : recipe->storage == SINTER_DTYPE_f8e5m2 ? 57344.0f
                                                              : INFINITY;
        return (sinter_grid_levels){-high, high, recipe->storage, high};
    }
    }
    assert(!"a grid");
    return (sinter_grid_levels){0};
}

static float clamp(float x, float low, float high) {
    return x < low ? low : x > high ? high : x;
}

float sinter_grid_round(const sinter_layer_recipe *recipe, float w, float scale, float zero) {
    sinter_grid_levels levels = sinter_grid_get_levels(recipe);
    float x = scale > 0 ? w / scale : 0;
    if (isnan(x)) return 0;
    switch (recipe->grid) {
    case SINTER_WEIGHT_GRID_TERNARY:
    case SINTER_WEIGHT_GRID_INTEGER:
        return clamp(rintf(x) + zero, levels.low, levels.high);
    case SINTER_WEIGHT_GRID_BINARY:
        return x < 0 ? -1.0f : 1.0f;
    case SINTER_WEIGHT_GRID_POWER_OF_TWO:
        if (fabsf(x) < 0.5f) return 0;
        return copysignf(clamp(exp2f(rintf(log2f(fabsf(x)))), 1, levels.high), x);
    case SINTER_WEIGHT_GRID_FLOAT:
        return (float)sinter_float_decode(recipe->storage,
                                          sinter_float_encode(recipe->storage, (double)x, true));
    case SINTER_WEIGHT_GRID_NONE:
        break;
    }
    return w;
}

sinter_scale_shape sinter_scale_shape_of(const sinter_layer *layer,
                                         const sinter_layer_recipe *recipe) {
    sinter_scale_shape shape = {layer->outputs, 1, layer->reduction};
    if (recipe->group == SINTER_PER_TENSOR) shape.rows = 1;
    if (recipe->group > 0 && recipe->group < layer->reduction) {
        shape.size = recipe->group;
        shape.columns = (layer->reduction + shape.size - 1) / shape.size;
    }
    return shape;
}

/* ---- constants ---- */

/* What is built here goes by names of its own: in an exported file the layer's name is the layer's. */
static void begin(sinter_rewrite *rewrite, const sinter_layer *layer) {
    sinter_rewrite_at(rewrite, layer->node);
    rewrite->build.location = NULL;
}

/* [outputs][reduction] in the order of the weights' tensor, times `factor`. */
static bool make_tensor(const sinter_layer *layer, sinter_dtype dtype, const float *matrix,
                        double factor, sinter_tensor *out, sinter_diag *diag) {
    const sinter_tensor *w = layer->weights;
    if (!sinter_tensor_create(out, dtype, w->rank, w->dims, diag)) return false;
    bool is_float = sinter_dtype_is_float(dtype);
    for (int64_t o = 0; o < layer->outputs; o++)
        for (int64_t step = 0; step < layer->reduction; step++) {
            int64_t index = sinter_layer_index(layer, o, step);
            double value = (double)matrix[o * layer->reduction + step] * factor;
            if (is_float)
                sinter_tensor_set_double(out, index, value);
            else
                sinter_tensor_set_int(out, index, (int64_t)value);
        }
    return true;
}

/* How the parameters lie beside the weights, seen as `rank` axes of `dims`. */
typedef struct placement {
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK];
    int64_t axis, block; /* of dequantize_linear; block 0: none */
    bool by_matrix;      /* the weights are stored as [outputs][reduction] and reshaped */
    bool transposed;     /* ... the parameters are [columns][rows] */
} placement;

static placement place(const sinter_layer *layer, const sinter_scale_shape *shape) {
    placement p = {.axis = layer->output_axis};
    if (shape->columns == 1) {
        p.rank = shape->rows > 1 || layer->outputs == 1 ? 1 : 0;
        p.dims[0] = shape->rows;
        return p;
    }
    p.rank = 2;
    p.block = shape->size;
    if (layer->weights->rank == 2) {
        p.transposed = layer->output_axis == 1;
        p.axis = layer->input_axis;
    } else {
        p.by_matrix = true;
        p.axis = 1;
    }
    p.dims[0] = p.transposed ? shape->columns : shape->rows;
    p.dims[1] = p.transposed ? shape->rows : shape->columns;
    return p;
}

static sinter_value build_parameters(sinter_rewrite *rewrite, const placement *p,
                                     const sinter_scale_shape *shape, sinter_dtype dtype,
                                     const float *items, double factor) {
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, dtype, p->rank, p->dims, rewrite->build.diag)) return 0;
    for (int64_t r = 0; r < shape->rows; r++)
        for (int64_t c = 0; c < shape->columns; c++) {
            int64_t to = p->transposed ? c * shape->rows + r : r * shape->columns + c;
            double value = (double)items[r * shape->columns + c] * factor;
            if (sinter_dtype_is_float(dtype))
                sinter_tensor_set_double(&tensor, to, value);
            else
                sinter_tensor_set_int(&tensor, to, (int64_t)value);
        }
    return sinter_build_constant(&rewrite->build, tensor);
}

static sinter_value build_dequantized(sinter_rewrite *rewrite, const sinter_layer *layer,
                                      const sinter_layer_recipe *recipe, const float *levels,
                                      const float *scales, const float *zero_points) {
    sinter_scale_shape shape = sinter_scale_shape_of(layer, recipe);
    sinter_grid_levels grid = sinter_grid_get_levels(recipe);
    placement p = place(layer, &shape);
    /* f8e4m3fn has no 2^14: its levels are 2^6 smaller */
    bool shifted =
        recipe->grid == SINTER_WEIGHT_GRID_POWER_OF_TWO && grid.storage == SINTER_DTYPE_f8e4m3fn;
    double factor = shifted ? 0x1p-6 : 1;
    sinter_tensor codes;
    sinter_layer stored = *layer;
    sinter_tensor matrix = *layer->weights;
    if (p.by_matrix) { /* rows of the whole reduction, one after the other */
        matrix.rank = 2;
        matrix.dims[0] = layer->outputs;
        matrix.dims[1] = layer->reduction;
        stored.weights = &matrix;
        stored.inner = layer->reduction;
    }
    if (!make_tensor(&stored, grid.storage, levels, factor, &codes, rewrite->build.diag)) return 0;
    sinter_attr attributes[2] = {sinter_attr_int("axis", p.axis),
                                 sinter_attr_int("block_size", p.block)};
    sinter_value operands[3] = {
        sinter_build_constant(&rewrite->build, codes),
        build_parameters(rewrite, &p, &shape, SINTER_DTYPE_f32, scales, 1 / factor),
        zero_points ? build_parameters(rewrite, &p, &shape, grid.storage, zero_points, 1) : 0};
    if (!operands[0] || !operands[1] || (zero_points && !operands[2])) return 0;
    uint32_t first = p.rank ? 0 : 2; /* one scale has no axis */
    sinter_value w = sinter_build(&rewrite->build, SINTER_OP_dequantize_linear, operands,
                                  zero_points ? 3 : 2, attributes,
                                  first     ? 0
                                  : p.block ? 2
                                            : 1);
    if (!w || !p.by_matrix) return w;
    if (layer->output_axis == 0)
        return sinter_build_reshape(&rewrite->build, w, layer->weights->dims, layer->weights->rank);
    /* transposed convolution: [outputs, channels, window...] and then the first two change places */
    int64_t dims[SINTER_MAX_RANK], perm[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < layer->weights->rank; i++) {
        perm[i] = i < 2 ? 1 - (int64_t)i : (int64_t)i;
        dims[i] = layer->weights->dims[perm[i]];
    }
    w = sinter_build_reshape(&rewrite->build, w, dims, layer->weights->rank);
    return w ? sinter_build_transpose(&rewrite->build, w, perm, layer->weights->rank) : 0;
}

bool sinter_quantized_weight_write(sinter_rewrite *rewrite, const sinter_layer *layer,
                                   const sinter_layer_recipe *recipe, const float *levels,
                                   const float *scales, const float *zero_points) {
    begin(rewrite, layer);
    sinter_value w = 0;
    bool is_wide =
        recipe->grid == SINTER_WEIGHT_GRID_FLOAT && sinter_dtype_infos[recipe->storage].bits > 8;
    if (is_wide) {
        sinter_tensor tensor;
        if (!make_tensor(layer, recipe->storage, levels, 1, &tensor, rewrite->build.diag))
            return false;
        w = sinter_build_constant(&rewrite->build, tensor);
        if (w) w = sinter_build_cast(&rewrite->build, w, SINTER_DTYPE_f32);
    } else {
        w = build_dequantized(rewrite, layer, recipe, levels, scales, zero_points);
    }
    if (!w) return false;
    sinter_rewrite_set_operand(rewrite, layer->node, layer->operand, w);
    return true;
}

bool sinter_layer_write_weights(sinter_rewrite *rewrite, const sinter_layer *layer,
                                const float *matrix) {
    sinter_tensor tensor;
    begin(rewrite, layer);
    if (!make_tensor(layer, SINTER_DTYPE_f32, matrix, 1, &tensor, rewrite->build.diag))
        return false;
    sinter_value w = sinter_build_constant(&rewrite->build, tensor);
    if (!w) return false;
    sinter_rewrite_set_operand(rewrite, layer->node, layer->operand, w);
    return true;
}
