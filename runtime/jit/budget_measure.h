/* The measurements of a search by budget, each taken from the journal where it is there. Test: tests/cli/compress_budget.test */
#pragma once
#include "runtime/jit/budget.h"

typedef struct sinter_budget_meter {
    sinter_budget *budget;
    const sinter_budget_options *options;
    sinter_samples *few;     /* of those that calibrate: to see what changes */
    sinter_answers expected; /* to them, of the original */
    double variance;         /* of the expected answers, times their number */
    double bytes, loss;      /* of the model as the rules leave it: constants, and its loss already */
    sinter_engine *uniform;  /* all layers with one setting: what a layer's time is compared with */
    int32_t uniform_setting;
    char folder[200];        /* of candidates' files */
    double start;
    sinter_text reason;      /* why a layer first refused a setting */
    sinter_diag *diag;
} sinter_budget_meter;

bool sinter_budget_meter_init(sinter_budget_meter *out_meter, sinter_budget *budget, sinter_diag *diag);
void sinter_budget_meter_deinit(sinter_budget_meter *meter);
bool sinter_budget_meter_is_late(const sinter_budget_meter *meter, double share); /* of the seconds that there are */

/* A line for whoever listens. */
void sinter_budget_tell(const sinter_budget_options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* budget_layers.c: the whole table. False after an error, such as that no layer can have any setting. */
bool sinter_budget_measure_layers(sinter_budget_meter *meter);

/* Fills in a point of the table, its gain in bytes, by making the model. False after an error; that a layer can't have a setting is none. */
bool sinter_budget_measure_point(sinter_budget_meter *meter, size_t layer, size_t setting);
/* Whether the journal has it. */
bool sinter_budget_knows_point(const sinter_budget_meter *meter, size_t layer, size_t setting);
/* What a run takes longer where all layers have the setting but this one. */
bool sinter_budget_measure_time(sinter_budget_meter *meter, size_t layer, size_t setting, double *out_seconds);
bool sinter_budget_knows_time(const sinter_budget_meter *meter, size_t layer, size_t setting);
/* The rules of choices for all layers. NULL after an error. */
sinter_recipe *sinter_budget_make_recipe(const sinter_budget *budget, const int32_t *choices, sinter_diag *diag);
/* A candidate made by these choices, and measured; *out_module is the model where it had to be made, else NULL.
 * *out_refused: it can't be made. */
bool sinter_budget_measure_candidate(sinter_budget_meter *meter, const int32_t *choices,
                                     sinter_budget_candidate *out_candidate, sinter_module **out_module, bool *out_refused);
/* Whether a measurement of that name in the journal is one of a candidate of these layers and settings: its choices. */
bool sinter_budget_read_candidate(const sinter_budget *budget, const char *name, int32_t *out_choices);
bool sinter_budget_knows_candidate(const sinter_budget_meter *meter, const int32_t *choices);
/* The model of a recipe. NULL after an error. */
sinter_module *sinter_budget_make(const sinter_budget_meter *meter, const sinter_recipe *recipe,
                                  const sinter_samples *samples, sinter_diag *diag);
