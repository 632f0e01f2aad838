/* What a model would yield if something in it were otherwise: a copy of it with switches, which blend one value with another and are an
 * input of the program, so that all ways are one compilation. Test: tests/cli/compress_keep.test, tests/passes/cut_blocks/ */
#pragma once
#include "ir/rewrite.h"
#include "passes/compression.h"

typedef struct sinter_switches {
    const sinter_compression *compression; /* has data */
    sinter_module *module;                 /* the copy, which is the caller's */
    sinter_rewrite rewrite;                /* of it */
    sinter_value vector;                   /* f32[count], zeros */
    size_t count;
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
 * (output_change.h). False after an error. */
bool sinter_switches_measure(sinter_switches *switches, const bool *sets, size_t set_count, size_t samples, const char *step,
                             double *out_changes);
