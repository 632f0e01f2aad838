/* Measures the choices that the passes have for a model's layers and the schedules for its kernels, and keeps those that are faster.
 *
 * Layers first, as they decide which kernels there are: in each round every kind of layer tries another answer, and is judged by the
 * kernels that compute its nodes, on both sides. Then kernels.
 * In each round every kernel tries one other answer to one of its questions. The model with these answers and the model as
 * the cost model has it run in turns in one process, so that both see the same machine, and kernels are compared with
 * themselves, by their shortest times. An answer stays where it gains enough, and questions after it may be new ones.
 * What was kept is measured once more at the end, against the start. Test: tests/cli/tune.test */
#pragma once
#include "codegen/tuning.h"
#include "runtime/jit/engine.h"

typedef struct sinter_tune_report {
    uint32_t rounds;             /* so far */
    uint32_t kernels, open, changed; /* of the model; with something to try still; with another choice than the cost model's */
    uint32_t layers, layers_changed; /* kinds that passes asked about; likewise */
    double before, now;          /* seconds of a run: all kernels', as estimated from their own; at the end the whole run's medians */
} sinter_tune_report;

typedef struct sinter_tune_options {
    const sinter_engine_options *engine; /* native code; its `tuning` is not read */
    double seconds;                      /* no round begins later than that */
    /* A fresh module of the model; NULL after an error. */
    sinter_module *(*load)(void *user, sinter_diag *diag);
    /* Inputs of the engine, which live until the call returns; NULL after an error. */
    const sinter_tensor *(*make_inputs)(void *user, sinter_engine *engine, sinter_diag *diag);
    void (*on_round)(void *user, const sinter_tune_report *report); /* NULL allowed */
    void *user;
} sinter_tune_options;

/* The choices of the model's layers and kernels go into the tuning, in place of what it had for them. False after an error. */
bool sinter_tune(const sinter_tune_options *options, sinter_tuning *tuning, sinter_tune_report *out_report,
                 sinter_diag *diag);
