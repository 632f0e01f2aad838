/* The runner that compiles. Test: tests/cli/compress.test */
#include "runtime/jit/runner.h"
#include "ir/base/file.h"

static void *open_engine(void *user, sinter_module *module, sinter_diag *diag) {
    const sinter_engine_runner *runner = user;
    return sinter_engine_create(module, &runner->options, diag);
}

static bool run_engine(void *user, void *program, const sinter_tensor *inputs,
                       sinter_tensor *out_outputs, sinter_diag *diag) {
    (void)user;
    for (size_t i = 0; i < sinter_engine_output_count(program); i++)
        out_outputs[i] = (sinter_tensor){0};
    if (sinter_engine_run(program, inputs, out_outputs, diag)) return true;
    for (size_t i = 0; i < sinter_engine_output_count(program); i++)
        sinter_tensor_deinit(&out_outputs[i]);
    return false;
}

static void close_engine(void *user, void *program) {
    (void)user;
    sinter_engine_destroy(program);
}

_Static_assert(sizeof((sinter_engine_runner){0}.folder) >= SINTER_FILE_FOLDER_BYTES, "a folder");

bool sinter_engine_runner_init(sinter_engine_runner *out_runner,
                               const sinter_engine_options *options, sinter_diag *diag) {
    *out_runner = (sinter_engine_runner){
        .base = {out_runner, open_engine, run_engine, close_engine}, .options = *options};
    /* Programs run over the samples once: what LLVM would make faster yet takes longer than it saves. */
    if (out_runner->options.level > 1) out_runner->options.level = 1;
    out_runner->options.nameless = true;
    if (options->cache) return true;
    if (!sinter_file_make_folder(out_runner->folder, diag)) return false;
    out_runner->options.cache = out_runner->folder;
    return true;
}

void sinter_engine_runner_deinit(sinter_engine_runner *runner) {
    if (runner->folder[0]) sinter_file_remove_folder(runner->folder);
    runner->folder[0] = 0;
}
