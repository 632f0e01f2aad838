/* What passes that compress work by: what is to be done to each layer, and what they may see of the data. The same for all passes
 * of one compression. Test: tests/passes/quantize_weights/ */
#pragma once
#include "ir/runner.h"
#include "passes/recipe.h"
#include "passes/samples.h"

typedef struct sinter_compression {
    const sinter_recipe *recipe;   /* NULL: nothing is to be done */
    const sinter_runner *runner;   /* NULL: models can't be run */
    const sinter_samples *samples; /* of the module's inputs, unlabelled; NULL: none */
    /* Heard of now and then: `done` of `total` pieces of a step; NULL: nobody listens. */
    void (*progress)(void *user, const char *step, size_t done, size_t total);
    void *progress_user;
} sinter_compression;

/* Whether there are a runner and samples; else an error that names what wants them, "layer 'conv1': activations=u8". */
bool sinter_compression_has_data(const sinter_compression *compression, const char *what, sinter_diag *diag);
void sinter_compression_progress(const sinter_compression *compression, const char *step, size_t done, size_t total);
