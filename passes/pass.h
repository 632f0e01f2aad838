/* The pass manager. A pass is one file, one row of passes.def, one flag, one folder of tests.
 * bool sinter_pass_<name>(module, options, diag): true where it could do its work (changed or not).
 * Test: tests/passes/manager/ */
#pragma once
#include "ir/machine.h"
#include "ir/rewrite.h"

/* A pass that must run a model (observers, folding of large constants) gets this from its caller. */
typedef struct sinter_runner {
    void *user;
    bool (*run)(void *user, sinter_module *module, const sinter_tensor *inputs, size_t input_count,
                sinter_tensor *out_outputs, size_t output_count, sinter_diag *diag);
} sinter_runner;

typedef struct sinter_pass_options {
    const sinter_runner *runner;  /* NULL: the evaluator */
    const sinter_machine *machine; /* that the code is for; NULL: any */
    bool no_winograd;             /* convolutions stay sums of the products that they are defined by */
    size_t fold_limit_bytes;      /* largest constant that folding may make; 0: default 64 MiB */
    size_t change_count;          /* out: how many changes the pass made */
} sinter_pass_options;

typedef bool (*sinter_pass_function)(sinter_module *module, sinter_pass_options *options, sinter_diag *diag);
typedef struct sinter_pass {
    const char *name; /* with underscores; the flag has dashes */
    const char *doc;
    sinter_pass_function run;
} sinter_pass;
extern const sinter_pass sinter_passes[];
extern const size_t sinter_pass_count;
const sinter_pass *sinter_pass_find(sinter_string name); /* dashes or underscores; NULL where unknown */

#define PASS(name, doc) bool sinter_pass_##name(sinter_module *, sinter_pass_options *, sinter_diag *);
#include "passes/passes.def"
#undef PASS

typedef struct sinter_pipeline_options {
    bool verify_each;
    const char *print_after;   /* pass name, or "all" */
    int64_t stop_after;        /* number of rewrites-making passes to run; -1: all (bisect) */
    bool time_passes;
    const sinter_runner *runner;
    const sinter_machine *machine; /* as in sinter_pass_options */
    bool no_winograd;
    void *output;              /* FILE * for print_after and times */
} sinter_pipeline_options;
/* Runs passes in order; names may repeat. */
bool sinter_pipeline_run(sinter_module *module, const sinter_pass *const *passes, size_t count,
                         const sinter_pipeline_options *options, sinter_diag *diag);
/* The list of a level, to be parsed. */
const char *sinter_pipeline_of_level(int level);
/* "fold-constants,fuse" */
bool sinter_pipeline_parse(const char *list, sinter_arena *arena, const sinter_pass *const **out_passes, size_t *out_count,
                           sinter_diag *diag);
