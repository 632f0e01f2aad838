/* The runner that evaluates. Test: tests/unit/samples_test.c */
#include "ir/runner.h"
#include "ir/eval.h"

static void *open_module(void *user, sinter_module *module, sinter_diag *diag) {
    (void)user;
    (void)diag;
    return module;
}

static bool run_module(void *user, void *program, const sinter_tensor *inputs,
                       sinter_tensor *out_outputs, sinter_diag *diag) {
    (void)user;
    sinter_module *module = program;
    return sinter_eval_module(module, inputs, sinter_module_input_count(module), out_outputs,
                              sinter_module_output_count(module), diag);
}

static void close_module(void *user, void *program) {
    (void)user;
    sinter_module_destroy(program);
}

const sinter_runner sinter_runner_eval = {NULL, open_module, run_module, close_module};
