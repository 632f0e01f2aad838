/* A page about a search by budget: what was asked and met, the front as a plot, the sensitivity of each layer to each setting, each
 * layer before and after, all candidates, the recipe, and the command that gets it again. It needs nothing else, no network and no script.
 * Test: tests/cli/compress_budget.test */
#pragma once
#include "runtime/jit/budget.h"

typedef struct sinter_budget_report {
    const char *path, *out_path;
    const char *metric;                       /* its name */
    const char *max_drop;                     /* as it was asked */
    const char *command;                      /* NULL: not told */
    const sinter_judged *original, *compressed; /* of the files, at the end */
    size_t scored, calibrated;                /* samples */
} sinter_budget_report;

/* Of a search that found something. */
void sinter_budget_print_report(const sinter_budget *budget, const sinter_budget_report *report, sinter_text *text);
