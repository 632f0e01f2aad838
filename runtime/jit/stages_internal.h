/* What runtime/jit/stages*.c share. A slot is a value that goes between stages: the inputs come first, then what stages give, in
 * order. */
#pragma once
#include "ir/sharding.h"
#include "runtime/jit/ranks.h"
#include "runtime/jit/stages.h"
#include "runtime/device.h"
#include "runtime/job.h"

typedef SINTER_VECTOR(uint32_t) sinter_slot_list;

typedef struct sinter_stage {
    sinter_engine *engine; /* its program, where it is one; of a job of processes only that of the own stage is there */
    sinter_ranks *ranks;   /* else those of the ranks of the mesh */
    uint64_t hash;         /* of these, as the list says */
    sinter_slot_list takes, gives;
} sinter_stage;

/* An input or output of a run. */
typedef struct sinter_stages_io {
    sinter_abi_io abi;
    sinter_sharding *micro; /* how requests cut it, over the mesh `micro`; NULL: each has all of it */
    sinter_sharding *part;  /* how ranks cut what a request has; NULL: each has all of it */
    int64_t piece;          /* indices of the first axis that a request has; 0: all */
} sinter_stages_io;

struct sinter_stages {
    sinter_arena arena;
    sinter_mesh micro; /* a rank is a micro-batch */
    bool is_open;      /* how many of them is a run's to say, by its inputs */
    sinter_mesh mesh;  /* of each stage; no axes: a stage is one program */
    int64_t rank_count; /* of that */
    SINTER_VECTOR(sinter_stage) stages;
    SINTER_VECTOR(sinter_abi_io) inputs;
    SINTER_VECTOR(sinter_abi_io) outputs;
    SINTER_VECTOR(sinter_stages_io) input_words;
    SINTER_VECTOR(sinter_stages_io) output_words;
    sinter_slot_list results; /* slots of the outputs */
    uint32_t slot_count;
    sinter_device_turns turns; /* of stages that are threads */
    sinter_pool *pool; /* a thread a stage; NULL in a job */
    sinter_job *job;   /* NULL: stages are threads. Process number stage * rank_count + rank has that program */
    uint32_t own_stage; /* of this process */
    int64_t own_rank;
    uint64_t hash;     /* of what says which programs they are */
    double seconds;
    bool failed;       /* a run of the job: it can only be ended */
    sinter_trace_lane **lanes; /* of a job, by process; NULL: runs are not traced */
};

#define SINTER_STAGES_LIST "stages.txt"
const char *sinter_stages_list(sinter_arena *arena, const char *folder); /* the file stages.txt */
/* What the list says: requests, mesh, values, stages and their slots, and the hash of it all; before a program is loaded. `path` is for
 * messages. */
bool sinter_stages_read(sinter_stages *stages, const char *path, const char *text, size_t size, sinter_diag *diag);
/* The program of a stage; the folder of its ranks' programs. */
const char *sinter_stages_path(sinter_arena *arena, const char *folder, uint32_t stage, bool has_mesh);

/* slots: by micro-batch, then by slot; those of the inputs are made, and those of the outputs put together. */
bool sinter_stages_cut_inputs(const sinter_stages *stages, const sinter_tensor *inputs, sinter_tensor *slots, sinter_diag *diag);
bool sinter_stages_join_outputs(const sinter_stages *stages, const sinter_tensor *slots, sinter_tensor *out_outputs,
                                sinter_diag *diag);

/* ---- making them ---- */
/* Whether requests, the module with a part of the batch each, give the rows that the whole gives; so many of them a run, 0: as many as it
 * brings. */
bool sinter_stages_check_apart(const sinter_module *whole, const sinter_module *request, int64_t requests, sinter_diag *diag);

/* ---- jobs of processes ---- */
sinter_engine *sinter_stages_own_engine(const sinter_stages *stages);
void sinter_stages_set_job_trace(sinter_stages *stages, sinter_trace *trace);
/* On the first one, which is a stage, too: the others get their parts of the inputs, and give their outputs. */
bool sinter_stages_lead(sinter_stages *stages, const sinter_tensor *inputs, sinter_tensor *out_outputs, sinter_diag *diag);
void sinter_stages_end_job(sinter_stages *stages);
