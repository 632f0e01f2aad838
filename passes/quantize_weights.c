/* Rounds the weights of layers to the nearest level of their grid, where the recipe asks for rounding=nearest: without data, with
 * the scale that takes the largest weight of a row or group to the largest level. (Ternary: threshold 0.7 of the mean |w|, scale
 * the mean of what is above, arXiv 1605.04711; binary: scale the mean |w|, arXiv 1603.05279.) Also the cut of weights, `clip`, of
 * those layers. What is to be made up for is compress_weights' work. Test: tests/passes/quantize_weights/ */
#include "passes/pass.h"
#include "passes/quantized_weight.h"

#include <math.h>
#include <stdlib.h>

typedef struct quantizer {
    sinter_pass_context *context;
    const sinter_layer *layer;
    const sinter_layer_recipe *recipe;
    float *matrix; /* [outputs][reduction], becomes the levels */
    float *scales, *zeros;
    sinter_scale_shape shape;
    sinter_grid_levels levels;
} quantizer;

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Weights beyond the quantile of |w| go to it. */
static void clip(quantizer *q) {
    int64_t count = q->layer->outputs * q->layer->reduction;
    float *sizes = SINTER_NEW_ARRAY(&q->context->scratch, float, count);
    for (int64_t i = 0; i < count; i++) sizes[i] = fabsf(q->matrix[i]);
    qsort(sizes, (size_t)count, sizeof *sizes, compare_floats);
    float limit = sizes[(int64_t)floor(q->recipe->clip * (double)(count - 1))];
    for (int64_t i = 0; i < count; i++)
        if (fabsf(q->matrix[i]) > limit) q->matrix[i] = copysignf(limit, q->matrix[i]);
}

/* What the weights that share a scale are like. */
typedef struct range {
    float low, high;       /* with zero between */
    double sum, sum_above; /* of |w|; of those above the threshold */
    int64_t count, count_above;
    double threshold;
} range;

static void see(range *r, float w) {
    double size = fabs((double)w);
    if (w < r->low) r->low = w;
    if (w > r->high) r->high = w;
    r->sum += size;
    r->count++;
    if (size <= r->threshold) return;
    r->sum_above += size;
    r->count_above++;
}

/* The weights of scale (row, column); one row is all outputs. */
static range survey(const quantizer *q, int64_t row, int64_t column, double threshold) {
    range r = {.threshold = threshold};
    int64_t first = column * q->shape.size, last = first + q->shape.size;
    if (last > q->layer->reduction) last = q->layer->reduction;
    int64_t from = q->shape.rows == 1 ? 0 : row;
    int64_t to = q->shape.rows == 1 ? q->layer->outputs : row + 1;
    for (int64_t o = from; o < to; o++)
        for (int64_t step = first; step < last; step++)
            see(&r, q->matrix[o * q->layer->reduction + step]);
    return r;
}

static void choose_scale(const quantizer *q, int64_t row, int64_t column, float *out_scale,
                         float *out_zero) {
    range r = survey(q, row, column, 0);
    float size = fmaxf(r.high, -r.low), scale = size / q->levels.largest;
    *out_zero = 0;
    switch (q->recipe->grid) {
    case SINTER_WEIGHT_GRID_BINARY:
        scale = (float)(r.sum / (double)r.count);
        break;
    case SINTER_WEIGHT_GRID_TERNARY:
        r = survey(q, row, column, 0.7 * r.sum / (double)r.count);
        /* beyond half a scale a weight goes to +-1: that is 0.7 of the mean for weights spread evenly */
        scale = r.count_above ? (float)(r.sum_above / (double)r.count_above) : 0;
        break;
    case SINTER_WEIGHT_GRID_POWER_OF_TWO:
        scale = size > 0 ? exp2f(rintf(log2f(size))) / q->levels.largest : 0;
        break;
    case SINTER_WEIGHT_GRID_INTEGER:
        if (!q->recipe->asymmetric) break;
        scale = (r.high - r.low) / q->levels.largest;
        if (scale > 0) *out_zero = fminf(fmaxf(rintf(-r.low / scale), 0), q->levels.high);
        break;
    case SINTER_WEIGHT_GRID_FLOAT:
    case SINTER_WEIGHT_GRID_NONE:
        break;
    }
    *out_scale = scale > 0x1p-100f && isfinite(scale) ? scale : 1;
}

static void round_matrix(quantizer *q) {
    for (int64_t o = 0; o < q->layer->outputs; o++)
        for (int64_t step = 0; step < q->layer->reduction; step++) {
            float *w = &q->matrix[o * q->layer->reduction + step];
            int64_t at = sinter_scale_index(&q->shape, o, step);
            *w = sinter_grid_round(q->recipe, *w, q->scales[at], q->zeros[at]);
        }
}

static bool check_finite(const quantizer *q) {
    int64_t count = q->layer->outputs * q->layer->reduction;
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(q->matrix[i]))
            return sinter_error(q->context->rewrite.build.diag, "quantize-weights",
                                "layer '%s' has a weight that is not finite (%g)", q->layer->name,
                                (double)q->matrix[i]);
    return true;
}

static bool quantize(quantizer *q) {
    sinter_arena *scratch = &q->context->scratch;
    int64_t count = q->layer->outputs * q->layer->reduction;
    q->matrix = SINTER_NEW_ARRAY(scratch, float, count);
    sinter_layer_read_matrix(q->layer, q->matrix);
    if (!check_finite(q)) return false;
    if (q->recipe->clip < 1) clip(q);
    if (q->recipe->grid == SINTER_WEIGHT_GRID_NONE)
        return sinter_layer_write_weights(&q->context->rewrite, q->layer, q->matrix);
    q->shape = sinter_scale_shape_of(q->layer, q->recipe);
    q->levels = sinter_grid_get_levels(q->recipe);
    int64_t scale_count = q->shape.rows * q->shape.columns;
    q->scales = SINTER_NEW_ARRAY(scratch, float, scale_count);
    q->zeros = SINTER_NEW_ARRAY(scratch, float, scale_count);
    bool is_scaled = isfinite(q->levels.largest);
    for (int64_t i = 0; i < scale_count; i++) {
        q->scales[i] = 1;
        if (is_scaled)
            choose_scale(q, i / q->shape.columns, i % q->shape.columns, &q->scales[i],
                         &q->zeros[i]);
    }
    round_matrix(q);
    return sinter_quantized_weight_write(&q->context->rewrite, q->layer, q->recipe, q->matrix,
                                         q->scales, q->recipe->asymmetric ? q->zeros : NULL);
}

static bool is_mine(const sinter_layer_recipe *recipe) {
    bool changes = recipe->grid != SINTER_WEIGHT_GRID_NONE || recipe->clip < 1;
    return changes && !sinter_layer_recipe_compensates(recipe) &&
           !sinter_layer_recipe_masks(recipe);
}

void sinter_pass_quantize_weights(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    sinter_diag *diag = context->rewrite.build.diag;
    sinter_layer_list layers = sinter_layer_find_all(context->module, &context->scratch);
    for (size_t i = 0; i < layers.count; i++) {
        sinter_layer_recipe recipe;
        if (!sinter_recipe_find(compression->recipe, layers.items[i].name, &recipe, diag)) return;
        if (!is_mine(&recipe)) continue;
        quantizer q = {.context = context, .layer = &layers.items[i], .recipe = &recipe};
        if (!quantize(&q)) return;
    }
}
