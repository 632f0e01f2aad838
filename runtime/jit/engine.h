/* One way to run a model on any back end: the room where compiler and runtime meet. The public facade (sinter.h) and the
 * command line stand on it. Targets: "cpu[:native|CPU][+FEATURE]" native code made in memory; "so[:...]" the same through an
 * artifact file and the loader; "c" the emitted C, compiled by $CC (cc); "loops[:TARGET]" the loop IR interpreter, of loops as
 * they are scheduled for the target ("loops:cuda:sm_80"); "eval" the
 * reference evaluator. Test: tests/cli/, the suites */
#pragma once
#include "codegen/compile.h"
#include "passes/pass.h"
#include "runtime/abi.h"
#include "runtime/jit/trace.h"

typedef struct sinter_engine sinter_engine;

/* How ranks on devices exchange: without the host where they can, only through it, or never through it. */
typedef enum sinter_exchange_way { SINTER_EXCHANGE_AUTO, SINTER_EXCHANGE_HOST, SINTER_EXCHANGE_NCCL } sinter_exchange_way;

typedef struct sinter_engine_options {
    const char *target; /* NULL: "cpu" */
    const char *passes; /* comma-separated list instead of the pipeline of `level`; NULL: the pipeline */
    struct sinter_device *device; /* what code for cuda runs on; outlives the engine. NULL: the CPU is all there is */
    bool one_device;    /* ranks and stages that are threads share it; else each takes the next one of its driver, around, beginning with it */
    int level;          /* -O0..3 */
    int thread_count;   /* 0: 1 */
    int jobs;           /* threads to compile with, 0: one a core */
    const char *cache;  /* folder of compiled kernels; NULL: none */
    bool verify_each;
    bool verify_weights; /* of an artifact that is loaded, against their checksum */
    bool copy_weights;   /* of an artifact that is loaded: sinter_load_options */
    const char *print_after; /* to standard error */
    int64_t stop_after;      /* passes to run, -1: all */
    bool time_passes;
    sinter_precision precision; /* contractions round operands to it (passes/lower_precision.c) */
    const struct sinter_tuning *tuning; /* measured choices of schedules; must outlive the call. NULL: none */
    struct sinter_tuning_log *tuning_log; /* takes what schedules asked; NULL: nothing */
    double rank_seconds; /* how long a rank of several waits for the others; 0: 25 */
    bool any_order;      /* sums of floats over more than two ranks in any order, between processes by MPI: runs may differ in the last digits */
    sinter_exchange_way exchange; /* of programs of ranks on GPUs */
    const struct sinter_hardware *hardware; /* that programs of ranks are to run on: what of their exchanges kernels can hide; NULL: not known */
    bool no_overlap;  /* exchanges between ranks end where they begin */
    bool no_winograd; /* 3x3 convolutions in f32 stay exact sums of products */
    bool nameless;    /* code has numbers for the names of inputs, outputs and nodes: programs that differ in these alone are one for the cache */
} sinter_engine_options;
#define SINTER_ENGINE_OPTIONS_INIT {.level = 2, .thread_count = 1, .stop_after = -1}

/* Whether models can be compiled and run with the options, whatever the model: a target that runs here, passes that there are,
 * a cache that can be opened, which makes its folder. sinter_engine_create asks for itself. */
bool sinter_engine_check(const sinter_engine_options *options, sinter_diag *diag);
/* The target of code for the device, in the arena: sinter_target_of_gpu. NULL with an error where there is none. */
const char *sinter_engine_device_target(const struct sinter_device *device, sinter_arena *arena, sinter_diag *diag);
/* Takes the module (destroyed with the engine, also on failure). NULL after errors. */
sinter_engine *sinter_engine_create(sinter_module *module, const sinter_engine_options *options, sinter_diag *diag);
/* Of a module that is partitioned over a mesh (ranks.h) and stays the caller's: its ranks as threads of this process. NULL after errors. */
sinter_engine *sinter_engine_create_ranks(sinter_module *module, const sinter_engine_options *options, sinter_diag *diag);
/* Native code once more, with memory for runs of its own, so that both may run at once; it needs the engine, which is to be destroyed
 * after it. NULL where there is no such code. */
sinter_engine *sinter_engine_share(const sinter_engine *engine);
/* Is it an ELF file, by its first bytes, or meant to be one, by its name? Models never are. */
bool sinter_engine_is_artifact(const char *path);
/* Has it the programs of ranks, or of a pipeline's stages? */
bool sinter_engine_is_folder(const char *path);
/* An artifact file (.so). */
struct sinter_status *sinter_engine_load(const char *path, const sinter_engine_options *options, sinter_engine **out_engine);
/* An artifact file, or a folder of them. NULL after an error. */
sinter_engine *sinter_engine_open(const char *path, const sinter_engine_options *options, sinter_diag *diag);
/* A status as a diagnostic, without saying `where` twice, and its end. True for NULL. */
bool sinter_engine_report(struct sinter_status *status, const char *where, sinter_diag *diag);
void sinter_engine_destroy(sinter_engine *engine); /* NULL allowed */

size_t sinter_engine_input_count(const sinter_engine *engine);
size_t sinter_engine_output_count(const sinter_engine *engine);
/* Name and declared type; dims are -1 where symbolic; dtype 0 where not a tensor. Valid as long as the engine. */
const sinter_abi_io *sinter_engine_input(const sinter_engine *engine, size_t index);
const sinter_abi_io *sinter_engine_output(const sinter_engine *engine, size_t index);
/* Outputs are created and belong to the caller. Not for concurrent use of one engine. */
bool sinter_engine_run(sinter_engine *engine, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
/* Of programs of several ranks, in a job of processes: whether this one serves the first, which runs them, and has nothing else to do
 * (runtime/jit/ranks.h). */
bool sinter_engine_serves(const sinter_engine *engine);
bool sinter_engine_serve(sinter_engine *engine, sinter_diag *diag); /* false after an error */
/* What runs of native code get from now on: a pool, an allocator that is malloc, a profiler. NULL: nothing. Must outlive
 * them. Before that: a pool of options.thread_count. */
void sinter_engine_set_services(sinter_engine *engine, const sinter_abi_services *services);
const sinter_abi_services *sinter_engine_get_services(const sinter_engine *engine); /* NULL: none */
/* Hears of each kernel and exchange of its own native code (trace.h), until NULL; it must outlive the runs. */
void sinter_engine_set_listener(sinter_engine *engine, const sinter_listener *listener);
/* Runs from now on are kept in the trace, a lane for each rank, until NULL; of a job's other processes once a run has ended. False where there is
 * no native code of the CPU whose kernels could be told (eval, loops, devices). */
bool sinter_engine_set_trace(sinter_engine *engine, sinter_trace *trace);
/* The artifact behind the engine, or NULL (eval, loops). */
const sinter_abi_artifact *sinter_engine_artifact(const sinter_engine *engine);
/* What runs it, from any number of threads at once; NULL (eval, loops). Lives as long as the engine. */
const struct sinter_executable *sinter_engine_executable(const sinter_engine *engine);
/* How its ranks exchange on GPUs: "nccl" or "host" (sinter_ranks_exchange); NULL: it has none there. */
const char *sinter_engine_exchange(const sinter_engine *engine);
sinter_module *sinter_engine_module(const sinter_engine *engine); /* after passes; NULL for artifacts */
/* Its program as a shared object (sinter_package); for engines that compile. */
bool sinter_engine_package(const sinter_engine *engine, const char *path, sinter_diag *diag);

/* Module after passes -> scheduled, memory-planned program. The steps of every compilation, in one place. */
sinter_loop_program *sinter_engine_lower(sinter_module *module, const sinter_target *target,
                                         const sinter_schedule_options *options, sinter_diag *diag);
/* The passes that the options ask for, and what they are told. Points to itself: it stays where it is. */
typedef struct sinter_engine_pipeline {
    const char *list;
    sinter_machine machine;
    sinter_pipeline_options options;
} sinter_engine_pipeline;
/* False after an error: the target is none. */
bool sinter_engine_describe_pipeline(const sinter_engine_options *options, sinter_engine_pipeline *out_pipeline, sinter_diag *diag);
/* Without a module: only whether there are such passes. */
bool sinter_engine_run_passes(sinter_module *module, const sinter_engine_options *options, sinter_diag *diag);
