/* Observers: from the values that a tensor has over samples to the scale and zero point of its integers. A histogram grows with
 * what it sees, so one pass over the data is enough. Test: tests/unit/observe_test.c */
#pragma once
#include "passes/recipe.h"

enum { SINTER_HISTOGRAM_BINS = 8192 };
typedef struct sinter_histogram {
    double least, largest; /* exactly; 0 and 0 before anything was seen */
    double reach;          /* bins go evenly from -reach to reach; 0: nothing but zeros so far */
    uint64_t count;
    uint64_t bins[SINTER_HISTOGRAM_BINS];
} sinter_histogram;

/* A histogram begins as zeros. False where a value is not finite; others are taken. */
bool sinter_histogram_add(sinter_histogram *histogram, const float *values, int64_t count);
/* As if it had seen what the other saw. */
void sinter_histogram_merge(sinter_histogram *histogram, const sinter_histogram *other);

typedef struct sinter_range {
    float scale; /* positive and finite */
    int32_t zero_point;
} sinter_range;
/* (q - zero_point) * scale of the dtype's integers covers what the recipe's observer makes of the values: zero is one of them.
 * Signed types have zero point 0. */
sinter_range sinter_observe_range(const sinter_histogram *histogram, const sinter_layer_recipe *recipe, sinter_dtype dtype);
