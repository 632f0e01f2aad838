/* How a pass that must see data runs a module, or a part of one (sinter_module_extract): by functions that its caller gives, since
 * passes know no compiler. The evaluator is one way; the engine, which compiles, another (runtime/jit/compress.h).
 * Test: tests/unit/samples_test.c */
#pragma once
#include "ir/graph.h"

typedef struct sinter_runner {
    void *user;
    /* Takes the module, also on failure; NULL after an error. A program is closed before the runner is gone. */
    void *(*open)(void *user, sinter_module *module, sinter_diag *diag);
    /* Inputs in the order of the module's, one outputs a result, created, owned by the caller; symbolic dims may differ from run
     * to run. After an error there are no outputs. */
    bool (*run)(void *user, void *program, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
    void (*close)(void *user, void *program); /* NULL allowed */
} sinter_runner;

/* The evaluator: slow, for tests. */
extern const sinter_runner sinter_runner_eval;
