/* How much a model's outputs change when something in it does. Test: tests/cli/compress_keep.test, tests/passes/prune_channels/ */
#pragma once
#include "ir/tensor.h"

/* Sums over the elements of one output. */
typedef struct sinter_output_change {
    double difference, sum, square;
    int64_t count;
} sinter_output_change;

/* Of a run; outputs that are not f32 say nothing. */
void sinter_output_change_add(sinter_output_change *change, const sinter_tensor *now, const sinter_tensor *before);
/* Squared change as a share of the variance: of several outputs that of the one that changes most; HUGE_VAL where one is no number. */
double sinter_output_change_share(const sinter_output_change *changes, size_t count);
