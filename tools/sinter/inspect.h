/* What `sinter inspect` knows of a model, for its text and its page. */
#pragma once
#include "ir/cost.h"
#include "tools/sinter/command.h"
#include "tools/sinter/roofline.h"

typedef struct inspected_node {
    sinter_node node;
    unsigned depth; /* of regions around it */
    sinter_cost cost;
    /* Where the time was measured and is told here: a kernel's is told at the node with most of its work. Negative where not. */
    double seconds, flops, bytes; /* of a run; a second */
    double share;                 /* of its time that this machine needs at least */
} inspected_node;

/* What ran as one: calls of a kernel that made these nodes. */
typedef struct inspected_kernel {
    const char *name;
    double seconds; /* of a run */
    SINTER_VECTOR(uint32_t) nodes; /* of the main region, by their number in program order */
    uint32_t leader;               /* the node at which the time is told */
    double multiply_adds, bytes;   /* of the nodes whose longest kernel it is; negative where not known */
    double parameter_bytes;        /* of these bytes */
    double share;                  /* of its time that this machine needs at least; negative where not known */
} inspected_kernel;

/* How ranks share the model; words NULL where it is shown as a whole. */
typedef struct inspected_sharing {
    const char **words; /* by value: "shard(data, _)"; NULL where nothing is said */
    uint32_t value_count;
    struct sinter_estimate *estimate; /* of a rank's program; NULL: no hardware is described */
    sinter_trace run;                 /* what the ranks did in a run; no lanes: there was none */
} inspected_sharing;

typedef struct inspection {
    sinter_arena arena;
    sinter_module *module;
    SINTER_VECTOR(inspected_node) nodes; /* in program order, without constants and yields */
    uint64_t parameters, parameter_bytes; /* each constant once */
    sinter_dim multiply_adds;             /* those known, of the main region */
    size_t unknown;                       /* nodes whose cost can't be told */
    SINTER_VECTOR(inspected_kernel) kernels; /* none where no time was measured */
    int threads;
    roofline roof; /* where times were measured */
    inspected_sharing sharing;
} inspection;

void inspection_init(inspection *all, sinter_module *module);
/* Collects what init leaves empty: nodes and parameters of the module as it is now. */
void inspection_collect(inspection *all);
/* The module becomes the program of a rank, as --sharding says, or as --hardware makes best. False after an error. */
bool inspect_share(inspection *all, const arguments *a, sinter_diag *diag);
/* Runs the ranks as threads and keeps what they do in one run. False after an error. */
bool inspect_run_ranks(inspection *all, const arguments *a, sinter_diag *diag);
/* Fields of a node and of the whole for the page. */
void inspect_put_sharing(const inspection *all, sinter_node node, sinter_text *text);
void inspect_put_mesh(const inspection *all, sinter_text *text);
void inspection_deinit(inspection *all);
/* Compiles the module for this machine, runs it and fills in the times. is_rewritten: the module is what the passes of the
 * options made. False after an error. */
bool inspect_times(inspection *all, const arguments *a, bool is_rewritten, sinter_diag *diag);
/* The table of `sinter bench --per-node` (bench_nodes.c), on standard output. */
bool bench_nodes(const arguments *a, sinter_diag *diag);
/* A number with a metric prefix where the dim is one, else its expression, "?" where unknown. */
void inspect_print_dim(sinter_module *module, sinter_dim dim, sinter_text *text);
void inspect_print_count(double count, sinter_text *text); /* "4.09 G" */
void inspect_print_bytes(double bytes, sinter_text *text); /* "102 MB", "80 B" */
/* "122 nodes, 25.6 M parameters (102 MB), 4.09 G multiply-adds" */
void inspect_summary(const inspection *all, sinter_text *text);
/* The kernels of a module after its passes, on the GPU of options->target, on standard output (inspect_kernels.c). */
bool inspect_kernels(sinter_module *module, const sinter_engine_options *options, sinter_diag *diag);
/* One page without anything from elsewhere. */
void inspect_page(const inspection *all, const char *path, sinter_text *text);
