/* A model on the ranks of a mesh: made, kept in a folder, and run as threads of this process, or as processes (runtime/job.h) where this
 * is one of several.
 *
 * The folder has rank_0.so, rank_1.so, ..., each with its rank's part of the weights, and `ranks.txt`: the mesh, hashes of the
 * programs, and the shardings of inputs and outputs in order (docs/shard.md). Whoever runs it gives and gets whole tensors; of
 * processes that is the first one, while the others serve it. Test: tests/cli/shard.test, tests/suites/mpi.py */
#pragma once
#include "runtime/jit/engine.h"

typedef struct sinter_ranks sinter_ranks;

typedef struct sinter_ranks_options {
    const struct sinter_hardware *hardware; /* that the ranks run on; NULL: nothing is known of it */
    bool chooses;                           /* what is said of no value is chosen by it, the mesh too */
    sinter_goal goal;                       /* of that choice */
    bool explain;                           /* why, and what was chosen where wishes contradict */
    const sinter_engine_options *engine;    /* by which programs are made, for the choice; its target gives way to the hardware's. NULL: those of -O1 for any machine */
} sinter_ranks_options;

/* Spreads what is said in the module, or chosen; then makes it the program of all ranks. */
bool sinter_ranks_spread(sinter_module *module, const sinter_ranks_options *how, sinter_diag *diag);
bool sinter_ranks_cut(sinter_module *module, const sinter_ranks_options *how, sinter_diag *diag);
/* Both: spreads what is said in the module and makes it the program of all ranks. A module without a mesh, also after the choice, stays
 * that of one device. */
bool sinter_ranks_partition(sinter_module *module, const sinter_ranks_options *how, sinter_diag *diag);
/* The program of one of them, out of that. NULL after an error. */
sinter_module *sinter_ranks_program(const sinter_module *module, int64_t rank, sinter_diag *diag);
/* Compiles a partitioned module into a folder, which is made. */
bool sinter_ranks_write(sinter_module *module, const sinter_engine_options *options, const char *folder, sinter_diag *diag);

/* Compiles a partitioned module, which stays the caller's, in memory: for threads of this process. NULL after an error. */
sinter_ranks *sinter_ranks_create(sinter_module *module, const sinter_engine_options *options, double seconds, sinter_diag *diag);

/* Compiles a module, which stays the caller's and is that of a rank or a stage then, into a file, for a target that need not run here.
 * out_hash: the file's sinter_artifact_read_checksum, which tells programs apart, by their code too. */
bool sinter_ranks_write_program(sinter_module *module, const sinter_engine_options *options, const char *path, uint64_t *out_hash,
                                sinter_diag *diag);

/* Tells one folder of programs from another. */
bool sinter_ranks_read_list_hash(const char *folder, uint64_t *out_hash, sinter_diag *diag);

bool sinter_ranks_is_folder(const char *path);
/* seconds: how long a rank waits for others. NULL after an error. */
sinter_ranks *sinter_ranks_load(const char *folder, const sinter_engine_options *options, double seconds, sinter_diag *diag);
/* NULL allowed. Ends a job of processes; after a run of it that failed this process has to end with a status that is not 0. */
void sinter_ranks_destroy(sinter_ranks *ranks);
/* Whether this process is one that serves: it has sinter_ranks_serve to call, and nothing else. */
bool sinter_ranks_serves(const sinter_ranks *ranks);
/* Takes part in the runs of the process that leads until that one has no more. False after an error. */
bool sinter_ranks_serve(sinter_ranks *ranks, sinter_diag *diag);
/* Of whole values; valid as long as the ranks. */
const sinter_abi_io *sinter_ranks_inputs(const sinter_ranks *ranks, size_t *out_count);
const sinter_abi_io *sinter_ranks_outputs(const sinter_ranks *ranks, size_t *out_count);
/* How ranks on GPUs exchange, as --exchange says it: "nccl" or "host"; NULL: they are on no GPU. */
const char *sinter_ranks_exchange(const sinter_ranks *ranks);
/* As sinter_engine_set_trace, with lanes "rank 0", ... behind the prefix. */
void sinter_ranks_set_trace(sinter_ranks *ranks, sinter_trace *trace, const char *prefix);
/* Outputs are created. What every rank has to say goes to diag. */
bool sinter_ranks_run(sinter_ranks *ranks, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
