/* The pass manager. A pass is one file, one row of passes.def, one flag, one folder of tests.
 * Test: tests/passes/manager/ */
#pragma once
#include "ir/chooser.h"
#include "ir/machine.h"
#include "ir/rewrite.h"
#include "passes/compression.h"

enum { SINTER_MOST_STAGES = 1000 }; /* of a pipeline */

/* What pipeline-split expects. */
typedef struct sinter_pipeline_price {
    double seconds; /* of a run of so many requests; of ever more, of one */
    double take_seconds[SINTER_MOST_STAGES]; /* by stage: until a request has come from the stage before */
} sinter_pipeline_price;

/* What ranks are to be good at. */
typedef enum sinter_goal {
    SINTER_GOAL_LATENCY,    /* one run in the least time */
    SINTER_GOAL_THROUGHPUT, /* the most runs a second of all devices: groups of ranks run side by side */
    SINTER_GOAL_MEMORY      /* the least weights on a device */
} sinter_goal;
bool sinter_goal_parse(const char *text, sinter_goal *out_goal); /* "latency", "throughput", "memory" */

/* Rows of passes/precision.def; f32, which rounds nothing, is 0. */
typedef enum sinter_precision {
#define PRECISION(name, dtype, architecture) SINTER_PRECISION_##name,
#include "passes/precision.def"
#undef PRECISION
    SINTER_PRECISION_COUNT
} sinter_precision;
typedef struct sinter_precision_info {
    const char *name;
    sinter_dtype dtype;
    uint32_t architecture; /* of GPUs, the least that can; 0: any */
} sinter_precision_info;
extern const sinter_precision_info sinter_precision_infos[SINTER_PRECISION_COUNT];
#define SINTER_PRECISION_NAMES "f32, tf32, bf16, f16 or i8" /* for messages */

/* What a pass works with. It changes the module through the rewrite only, and reports what goes wrong to the rewrite's diag:
 * where that heard of an error the pass has failed. */
typedef struct sinter_pass_context {
    sinter_module *module;
    sinter_rewrite rewrite;
    sinter_arena scratch; /* the pass's own, gone when it returns */
    const struct sinter_pipeline_options *options; /* of the pipeline; never NULL, and neither is its machine */
} sinter_pass_context;
typedef void (*sinter_pass_function)(sinter_pass_context *context);

typedef struct sinter_pass {
    const char *name; /* with underscores; the flag has dashes */
    const char *doc;
    sinter_pass_function run;
} sinter_pass;
extern const sinter_pass sinter_passes[];
extern const size_t sinter_pass_count;
const sinter_pass *sinter_pass_find(sinter_string name); /* dashes or underscores; NULL where unknown */
#define PASS(name, doc) void sinter_pass_##name(sinter_pass_context *);
#include "passes/passes.def"
#undef PASS

typedef struct sinter_pipeline_options {
    const sinter_machine *machine; /* that the code is for; NULL: any */
    sinter_precision precision; /* contractions round their operands to it; f32: nothing is rounded */
    const sinter_compression *compression; /* for passes that compress; NULL: nobody asked for that */
    const struct sinter_hardware *hardware; /* that ranks run on, for passes that choose by it; NULL: nobody said */
    sinter_goal goal; /* of these choices */
    uint32_t stages; /* of a pipeline; 0: chosen */
    int64_t requests; /* of a run of a pipeline; 0: ever more */
    sinter_pipeline_price *price; /* pipeline-split: takes what is expected; NULL: nobody asks */
    const sinter_chooser *chooser; /* measured answers to what passes ask about layers; NULL: none */
    const sinter_pass *without[2]; /* left out wherever they stand; NULL: none */
    const char *programs;     /* passes that make the program of a rank, for those that compare such; NULL: the pipeline of -O1 */
    const char *print_after;  /* pass name, or "all" */
    int64_t stop_after;       /* passes that change something to run; -1: all (bisect) */
    bool verify_each;
    bool explain; /* passes that choose say why, as warnings and notes */
    bool time_passes;
    void *output; /* FILE * for print_after and times; NULL: neither */
} sinter_pipeline_options;
/* Runs one pass. False after an error. options: what it may know of them, NULL for none. out_change_count: 0 where the graph was as
 * it should be. */
bool sinter_pass_run(const sinter_pass *pass, sinter_module *module, const sinter_pipeline_options *options,
                     size_t *out_change_count, sinter_diag *diag);
/* What a run would refuse before its first pass. */
bool sinter_pipeline_check(const sinter_pass *const *passes, size_t count, const sinter_pipeline_options *options,
                           sinter_diag *diag);
/* Runs passes in order; names may repeat. */
bool sinter_pipeline_run(sinter_module *module, const sinter_pass *const *passes, size_t count,
                         const sinter_pipeline_options *options, sinter_diag *diag);
/* What `precision` may be, by its name; false for anything else. */
bool sinter_precision_parse(const char *text, sinter_precision *out_precision);
/* Every node of the module in its order, the nodes of a node's regions before itself. A visit may build nodes before its own,
 * which are not visited, and erase its own and those before. */
void sinter_pass_visit_nodes(sinter_module *module, void (*visit)(void *user, sinter_node node), void *user);
/* The list of a level, to be parsed. */
const char *sinter_pipeline_of_level(int level);
const char *sinter_pipeline_of_preparation(void); /* before passes that compress */
const char *sinter_pipeline_to_integers(sinter_arena *arena); /* that of -O1 as far as recognize-integer, in the arena */
const char *sinter_pipeline_of_partition(void); /* words are spread over all values: makes the program of all ranks */
/* That becomes one rank's own, as it is before the passes of its target. */
bool sinter_pipeline_run_rank(sinter_module *module, int64_t rank, const sinter_pipeline_options *options, sinter_diag *diag);
/* "fold-constants,fuse" */
bool sinter_pipeline_parse(const char *list, sinter_arena *arena, const sinter_pass *const **out_passes, size_t *out_count,
                           sinter_diag *diag);
/* Parsed and run. */
bool sinter_pipeline_run_list(sinter_module *module, const char *list, const sinter_pipeline_options *options, sinter_diag *diag);
