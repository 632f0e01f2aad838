/* What runtime/jit/ranks*.c and stages*.c share. */
#pragma once
#include "ir/sharding.h"
#include "runtime/device.h"
#include "runtime/job.h"
#include "runtime/jit/ranks.h"

typedef struct sinter_ranks_entry {
    uint64_t checksum; /* of its file */
    int64_t rank;      /* whose file it is: an earlier rank's, or its own */
} sinter_ranks_entry;
typedef SINTER_VECTOR(const sinter_sharding *) sinter_ranks_words; /* NULL: nothing is cut */

struct sinter_ranks {
    sinter_arena arena;
    const char *name; /* the folder, or the model, for messages */
    sinter_mesh mesh;
    int64_t count;
    sinter_engine **engines; /* by rank; of a job of processes the own one only */
    SINTER_VECTOR(sinter_ranks_entry) programs; /* by rank, of a folder */
    sinter_device **devices; /* by rank: what it runs on; NULL: the CPU */
    sinter_device_turns turns;
    bool one_device;         /* sinter_engine_options, as those below */
    sinter_exchange_way exchange;
    struct sinter_nccl **nccl;     /* by rank; NULL: they exchange on the host */
    sinter_abi_services *services; /* by rank, where they do not */
    sinter_ranks_words input_words, output_words;
    sinter_sharding **run_words; /* those of the outputs, with the sizes of the run */
    sinter_abi_io *inputs, *outputs;
    size_t input_count, output_count;
    sinter_pool *pool; /* a thread a rank */
    sinter_job *job;   /* NULL: the ranks are threads, or runs are somebody else's */
    int64_t own;       /* the only rank that is loaded here; -1: all */
    uint64_t hash;     /* of what says which programs they are */
    double seconds;
    bool any_order;    /* sinter_engine_options */
    bool failed;       /* a run of the job: it can only be ended */
    sinter_trace_lane **lanes; /* by rank; NULL: runs are not traced */
};

#define SINTER_RANKS_LIST "ranks.txt"
const char *sinter_ranks_list(sinter_arena *arena, const char *folder); /* the file ranks.txt */
const char *sinter_ranks_path(sinter_arena *arena, const char *folder, int64_t rank); /* its program */

/* What the list says: mesh, programs, words of inputs and outputs, and the hash of it all; before a program is loaded. `path` is for messages. */
bool sinter_ranks_read(sinter_ranks *ranks, const char *path, const char *text, size_t size, sinter_diag *diag);

/* Hashes of the text and the weights of a rank's program before it is compiled: programs are the same where both are. */
typedef struct sinter_ranks_identity {
    uint64_t text, weights;
} sinter_ranks_identity;
sinter_ranks_identity sinter_ranks_identify(sinter_module *program, int64_t rank);
bool sinter_ranks_identity_is(sinter_ranks_identity a, sinter_ranks_identity b);

/* What the rank has of the inputs, made; then its program, whose outputs are made. */
bool sinter_ranks_cut_inputs(const sinter_ranks *ranks, int64_t rank, const sinter_tensor *inputs, sinter_tensor *out_parts,
                      sinter_diag *diag);
/* Sizes that each run has anew, out of its inputs: to be asked first. False where inputs do not agree. */
bool sinter_ranks_begin_run(sinter_ranks *ranks, const sinter_tensor *inputs, sinter_diag *diag);
/* Whole outputs out of those of all ranks, results[rank * output_count + i]. */
bool sinter_ranks_join_outputs(const sinter_ranks *ranks, const sinter_tensor *results, sinter_tensor *out_outputs, sinter_diag *diag);

/* One rank's program and no other, for who runs it as part of something larger: it has no threads and no job. NULL after an error. */
sinter_ranks *sinter_ranks_load_one(const char *folder, int64_t rank, const sinter_engine_options *options, sinter_diag *diag);

/* ---- ranks_nccl.c: exchanges without the host ---- */
/* Whether ranks on devices do, by what is there and what was said; the rank's own job, NULL: threads of this process. False: what was said can't
 * be, and why. */
bool sinter_ranks_join_devices(sinter_ranks *ranks, sinter_job *job, sinter_diag *diag);
/* Of a run of the rank's program, out of those by which it exchanges on the host. */
const sinter_abi_services *sinter_ranks_get_services(sinter_ranks *ranks, int64_t rank, const sinter_abi_services *host,
                                                     const sinter_peers *peers);
void sinter_ranks_abort_devices(sinter_ranks *ranks); /* after a run that failed */
void sinter_ranks_leave_devices(sinter_ranks *ranks); /* all ranks at once, as they are to be destroyed */

/* ---- jobs of processes ---- */
/* On the first one: the others get their parts of the inputs, and give their outputs. */
bool sinter_ranks_lead(sinter_ranks *ranks, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
void sinter_ranks_end_job(sinter_ranks *ranks);
