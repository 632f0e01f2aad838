/* Compression of a model by a recipe: the order of the passes, with a runner that compiles. What comes out is exportable as
 * standard ONNX. Test: tests/cli/compress.test, tests/suites/compressed_models.py */
#pragma once
#include "passes/compression.h"
#include "runtime/jit/engine.h"

typedef struct sinter_compress_plan {
    const sinter_recipe *recipe;
    sinter_recipe *kept; /* gets rules for layers that keep=SHARE leaves as they are: `recipe` itself; NULL: none are looked for */
    const sinter_samples *samples; /* to calibrate with, of the module's inputs; NULL: none, then recipes that need some fail */
    const sinter_engine_options *engine; /* how parts of the model are run */
    void (*progress)(void *user, const char *step, size_t done, size_t total); /* NULL allowed */
    void *progress_user;
} sinter_compress_plan;

/* Changes the module, which keeps its inputs and outputs. False after an error. */
bool sinter_compress_module(sinter_module *module, const sinter_compress_plan *plan, sinter_diag *diag);
/* Only what comes before: every layer in the form that passes know, so that names can be listed. */
bool sinter_compress_prepare(sinter_module *module, sinter_diag *diag);
/* Samples a run so that the values of the model stay in a cache: at least 1, at most 8. */
size_t sinter_compress_batch(sinter_module *module);
