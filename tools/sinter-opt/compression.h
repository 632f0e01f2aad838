/* Recipes and samples for passes that compress, from the flags of sinter-opt. Samples are run by the evaluator.
 * Test: tests/passes/quantize_weights/ */
#pragma once
#include "passes/compression.h"

enum { SINTER_OPT_MAX_SAMPLE_FILES = 32 };
typedef struct sinter_opt_compression {
    sinter_compression base;
    sinter_recipe *recipe;
    sinter_samples *samples;
    int64_t made; /* samples from a seed */
    const char *files[SINTER_OPT_MAX_SAMPLE_FILES]; /* NAME=FILE */
    size_t file_count;
    const char *option; /* one that was given, NULL: none */
} sinter_opt_compression;

bool sinter_opt_compression_takes(const char *argument);
bool sinter_opt_compression_read(sinter_opt_compression *c, const char *argument, sinter_diag *diag);
/* Once the module is there: its samples. */
bool sinter_opt_compression_prepare(sinter_opt_compression *c, sinter_module *module, sinter_diag *diag);
void sinter_opt_compression_deinit(sinter_opt_compression *c);
