/* A pipeline: the stages that pass pipeline-split made of a model, each a program, or the programs of the ranks of a mesh (ranks.h),
 * kept in a folder and run with several requests in flight: while a stage works on one, the stage before works on the next. Stages, and
 * ranks of each, are threads of this process; or processes (runtime/job.h) where this is one of several: those of stage 0 by rank, then
 * those of stage 1, ...
 *
 * A run's inputs are cut along their first axis into micro-batches, the requests; outputs are put together again. The folder has
 * stage_0.so, stage_1.so, ..., or folders stage_0, ... of ranks' programs, and `stages.txt`: the mesh, inputs and outputs of the whole,
 * hashes of the programs, what each stage takes and gives. Whoever runs it gives and gets whole tensors; of processes that is the first
 * one, while the others serve it. Test: tests/cli/pipeline.test, tests/suites/mpi.py */
#pragma once
#include "runtime/jit/engine.h"

typedef struct sinter_stages sinter_stages;

typedef struct sinter_stages_options {
    const struct sinter_hardware *hardware; /* that stages are balanced for */
    uint32_t stages;                        /* 0: as many as are best for such runs */
    int64_t micro_batches; /* in a run; 0: as many as its inputs have */
    bool chooses; /* what is said of no value, and where none is said the mesh of a stage */
    sinter_goal goal; /* of that choice */
    bool explain;
} sinter_stages_options;

/* `module` is that of one micro-batch, and is changed; what it says of a mesh and of values cuts every stage. `whole` is that of a run: the same but for the first axis of what is cut.
 * Other dims may be symbols, and so may the first axis of the whole, where runs say how many micro-batches they have.
 * The folder is made. False after an error. */
bool sinter_stages_write(sinter_module *module, const sinter_module *whole, const sinter_stages_options *how,
                         const sinter_engine_options *options, const char *folder, sinter_diag *diag);

/* A stage's program before the passes of its target, of ranks that of the first, which is the visitor's; seconds until a request has come
 * from the stage before. False after an error. */
typedef bool sinter_stages_visitor(void *user, sinter_module *program, double take_seconds, sinter_diag *diag);
/* The same stages, in order, but nothing is compiled or written. False after an error, also the visitor's. */
bool sinter_stages_visit(sinter_module *module, const sinter_module *whole, const sinter_stages_options *how,
                         const sinter_engine_options *options, sinter_stages_visitor *visit, void *user, sinter_diag *diag);

bool sinter_stages_is_folder(const char *path);
/* seconds: how long a rank, or a process of a stage, waits for others. NULL after an error. */
sinter_stages *sinter_stages_load(const char *folder, const sinter_engine_options *options, double seconds, sinter_diag *diag);
/* NULL allowed. Ends a job of processes; after a run of it that failed this process has to end with a status that is not 0. */
/* As sinter_ranks_exchange, of the first stage here that is cut over ranks. */
const char *sinter_stages_exchange(const sinter_stages *stages);
void sinter_stages_destroy(sinter_stages *stages);
/* Whether this process is one that serves: it has sinter_stages_serve to call, and nothing else. */
bool sinter_stages_serves(const sinter_stages *stages);
/* Takes part in the runs of the process that leads until that one has no more. False after an error. */
bool sinter_stages_serve(sinter_stages *stages, sinter_diag *diag);
/* Of a run; valid as long as the stages. */
const sinter_abi_io *sinter_stages_inputs(const sinter_stages *stages, size_t *out_count);
const sinter_abi_io *sinter_stages_outputs(const sinter_stages *stages, size_t *out_count);
/* As sinter_engine_set_trace, with lanes "stage 0", or "stage 0 rank 0", ... */
void sinter_stages_set_trace(sinter_stages *stages, sinter_trace *trace);
/* Outputs are created. What a stage has to say goes to diag. */
bool sinter_stages_run(sinter_stages *stages, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
