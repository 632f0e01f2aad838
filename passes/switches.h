/* What a model would yield if something in it were otherwise: a copy of it with switches, which blend one value with another and are an
 * input of the program, so that many ways are one compilation. Test: tests/unit/switches_test.c, tests/cli/compress_keep.test,
 * tests/passes/cut_blocks/ */
#pragma once
#include "ir/rewrite.h"
#include "passes/compression.h"

/* A blend of two values. */
typedef struct sinter_switch {
    size_t index;
    sinter_value value, off; /* off + switch * (on - off) */
    sinter_node first;       /* of those that the switch added: with all others off, what comes before is as it was */
} sinter_switch;

typedef struct sinter_switches {
    const sinter_compression *compression; /* has data */
    sinter_module *module;                 /* the copy, which is the caller's */
    sinter_rewrite rewrite;                /* of it */
    sinter_value vector;                   /* f32[count], zeros */
    size_t count;
    SINTER_VECTOR(sinter_switch) blends; /* in the order in which they were built */
    sinter_arena arena;
    sinter_diag *diag;
} sinter_switches;

/* False after an error; to be deinited in any case. */
bool sinter_switches_init(sinter_switches *switches, sinter_module *copy, size_t count, const sinter_compression *compression,
                          sinter_diag *diag);
void sinter_switches_deinit(sinter_switches *switches);
/* off + switch * (on - off), built before the node; 0 after an error. The values have one type. */
sinter_value sinter_switches_blend(sinter_switches *switches, sinter_node before, size_t index, sinter_value off, sinter_value on);
/* By how much the outputs change with each set of switches, sets[s * count + index] on, over about as many of the first samples
 * (output_change.h). Sets whose first switch lies far behind are measured from a cut through the model before it, so that what comes
 * before runs once, and without the switches that none of them has on. False after an error. */
bool sinter_switches_measure(sinter_switches *switches, const bool *sets, size_t set_count, size_t samples, const char *step,
                             double *out_changes);
