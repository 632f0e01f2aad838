/* The runner that compiles (ir/runner.h): for passes that run many parts of one model. Parts differ in their weights more than in
 * their kernels, so kernels are kept in a cache for as long as the runner lives. Test: tests/cli/compress.test */
#pragma once
#include "ir/runner.h"
#include "runtime/jit/engine.h"

typedef struct sinter_engine_runner {
    sinter_runner base; /* what passes get */
    sinter_engine_options options;
    char folder[200]; /* of the cache, where it is ours */
} sinter_engine_runner;
/* Not to be moved from now on. Where the options name no cache, one is made and removed with the runner. */
bool sinter_engine_runner_init(sinter_engine_runner *out_runner, const sinter_engine_options *options, sinter_diag *diag);
void sinter_engine_runner_deinit(sinter_engine_runner *runner);
