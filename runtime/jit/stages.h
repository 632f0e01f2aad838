/* A pipeline: the stages that pass pipeline-split made of a model, each a program, kept in a folder and run as threads of this
 * process, one a stage, with several requests in flight: while a stage works on one, the stage before works on the next.
 *
 * A run's inputs are cut along their first axis into micro-batches, the requests; outputs are put together again. The folder has
 * stage_0.so, stage_1.so, ... and `stages.txt`: inputs and outputs of the whole, hashes of the programs, what each takes and gives.
 * Test: tests/cli/pipeline.test */
#pragma once
#include "runtime/jit/engine.h"

typedef struct sinter_stages sinter_stages;

typedef struct sinter_stages_options {
    const struct sinter_hardware *hardware; /* that stages are balanced for */
    uint32_t stages;
    int64_t micro_batches; /* in a run, at least 1 */
    bool explain;
} sinter_stages_options;

/* `module` is that of one micro-batch, and is changed; `whole` that of a run: the same but for the first axis of what is cut.
 * The folder is made. False after an error. */
bool sinter_stages_write(sinter_module *module, const sinter_module *whole, const sinter_stages_options *how,
                         const sinter_engine_options *options, const char *folder, sinter_diag *diag);

bool sinter_stages_is_folder(const char *path);
sinter_stages *sinter_stages_load(const char *folder, const sinter_engine_options *options, sinter_diag *diag); /* NULL after an error */
void sinter_stages_destroy(sinter_stages *stages); /* NULL allowed */
/* Of a run; valid as long as the stages. */
const sinter_abi_io *sinter_stages_inputs(const sinter_stages *stages, size_t *out_count);
const sinter_abi_io *sinter_stages_outputs(const sinter_stages *stages, size_t *out_count);
/* Outputs are created. What a stage has to say goes to diag. */
bool sinter_stages_run(sinter_stages *stages, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
