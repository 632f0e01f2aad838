/* The search for the smallest, or fastest, model that loses no more of a metric than it may.
 *
 * Each layer gets a loss and a gain for each setting of a small table (budget_settings.def), all others as they are: one setting is
 * measured by how much the outputs change over some of the samples that calibrate, what differs from it by weights alone follows from the
 * layer's own outputs, the rest is measured, too, or where time is short estimated (budget_layers.c). Supposing that gains and losses add up, a front of
 * choices for all layers follows (budget_front.h). Candidates are made and judged by the metric itself: one setting for all layers first, as
 * a user would try it; then those on the front, without pruning before all, because its losses add up less well; each by bisection.
 * Then the best one is improved, move by move, until none is left or time is up. What was measured is in a journal, and the same measurements lead to the same choices.
 * Test: tests/cli/compress_budget.test, tests/suites/compressed_models.py */
#pragma once
#include "ir/graph.h"
#include "passes/recipe.h"
#include "runtime/jit/budget_front.h"
#include "runtime/jit/journal.h"
#include "runtime/jit/judge.h"

typedef struct sinter_budget_options {
    const sinter_module *module; /* as the file has it */
    const sinter_recipe *rules;  /* that all candidates follow before their own */
    const sinter_samples *calibration;
    sinter_judge *judge;                 /* with samples */
    const sinter_engine_options *engine; /* with a cache */
    double allowed;                      /* loss of the metric */
    bool by_latency;
    const char *settings; /* names from the table with commas between them; NULL: all that serve the goal */
    double seconds;       /* no measurement begins later, but for a first candidate */
    sinter_journal *journal;
    void (*progress)(void *user, const char *line); /* NULL: nobody listens */
    void *user;
} sinter_budget_options;

typedef struct sinter_budget_setting {
    const char *name, *words;
} sinter_budget_setting;

typedef struct sinter_budget_layer {
    const char *name;
    int64_t weights; /* elements */
} sinter_budget_layer;

typedef struct sinter_budget_candidate {
    const char *from; /* the part of the search */
    int32_t *choices; /* a setting a layer */
    sinter_judged original, result;
    double lost;
    bool fits; /* lost is allowed */
} sinter_budget_candidate;

#define SINTER_BUDGET_NONE SIZE_MAX
typedef struct sinter_budget {
    const sinter_budget_options *options;
    sinter_arena arena;
    SINTER_VECTOR(sinter_budget_layer) layers;
    SINTER_VECTOR(sinter_budget_setting) settings;
    sinter_front_table table; /* gain: bytes or seconds; loss: squared error of the outputs over their variance */
    double *saved;            /* bytes of constants, as the points of the table */
    SINTER_VECTOR(sinter_budget_candidate) candidates;
    size_t best;           /* of the candidates; SINTER_BUDGET_NONE: none fits */
    sinter_recipe *recipe; /* of the best, or NULL */
    sinter_module *module; /* the best, or NULL */
    bool out_of_time;
} sinter_budget;

/* False after an error. That no candidate fits is none. The result points to the options. */
bool sinter_budget_search(const sinter_budget_options *options, sinter_budget *out_budget, sinter_diag *diag);
void sinter_budget_deinit(sinter_budget *budget); /* zeroed: nothing happens */
const sinter_budget_candidate *sinter_budget_best(const sinter_budget *budget); /* NULL: none fits */
/* What is to be small: bytes, or seconds as a share of those of the original. */
double sinter_budget_cost(const sinter_budget *budget, const sinter_budget_candidate *candidate);
