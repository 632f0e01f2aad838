/* What `sinter inspect` knows of a model, for its text and its page. */
#pragma once
#include "ir/cost.h"
#include "tools/sinter/command.h"

typedef struct inspected_node {
    sinter_node node;
    unsigned depth; /* of regions around it */
    sinter_cost cost;
    double seconds; /* measured; negative where not */
} inspected_node;

typedef struct inspection {
    sinter_arena arena;
    sinter_module *module;
    SINTER_VECTOR(inspected_node) nodes; /* in program order, without constants and yields */
    uint64_t parameters, parameter_bytes; /* each constant once */
    sinter_dim multiply_adds;             /* those known, of the main region */
    size_t unknown;                       /* nodes whose cost can't be told */
} inspection;

void inspection_init(inspection *all, sinter_module *module);
void inspection_deinit(inspection *all);
/* A number with a metric prefix where the dim is one, else its expression, "?" where unknown. */
void inspect_print_dim(sinter_module *module, sinter_dim dim, sinter_text *text);
void inspect_print_count(double count, sinter_text *text); /* "4.09 G" */
/* "122 nodes, 25.6 M parameters (102 MB), 4.09 G multiply-adds" */
void inspect_summary(const inspection *all, sinter_text *text);
/* One page without anything from elsewhere. */
void inspect_page(const inspection *all, const char *path, sinter_text *text);
