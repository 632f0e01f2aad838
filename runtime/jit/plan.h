/* What a model would take on described hardware: on one device, on ranks as shard-auto would have them, and as a pipeline of stages that
 * ranks share as well. The program that is
 * priced is the one that would be compiled, after all passes. Test: tests/cli/plan.test */
#pragma once
#include "ir/estimate.h"
#include "runtime/jit/engine.h"

typedef struct sinter_plan_options {
    sinter_goal goal;
    bool explain;                        /* what was considered goes to diag, as notes */
    const sinter_module *micro; /* of one request of a pipeline; NULL: a run is one */
    int64_t requests;           /* in a run */
    const sinter_engine_options *engine; /* for what passes do; its target gives way to the hardware's */
} sinter_plan_options;

/* One way to run it. */
typedef struct sinter_plan_way {
    sinter_module *module; /* of rank 0, after passes; the plan's. Of a pipeline that of the longest stage */
    sinter_estimate estimate; /* of a run of the module, with what it takes from the stage before */
    double seconds;           /* of a run; of a pipeline all its requests through all stages */
    uint32_t stages;
    int64_t ranks; /* of all stages */
    double bytes; /* that a rank needs: weights and what is alive at once */
    bool fits;
    const char *words; /* "x=2: all_reduce 24, all_gather 1 (9.4 MB)"; "one device"; "4 stages of x=2, ..." */
} sinter_plan_way;

typedef struct sinter_plan {
    sinter_arena arena;
    sinter_plan_way one; /* device */
    sinter_plan_way best; /* may be the same: then best.module is NULL */
    double seconds, runs_per_second, dollars_per_million; /* of the best; all devices in use. Dollars: 0 without a price */
} sinter_plan;

/* The module stays as it is; its dims should be numbers: symbols count as 1. False after an error. */
bool sinter_plan_make(const sinter_module *module, const sinter_hardware *hardware, const sinter_plan_options *options,
                      sinter_plan *out_plan, sinter_diag *diag);
void sinter_plan_deinit(sinter_plan *plan);
