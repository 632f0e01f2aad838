/* What each layer would lose by itself: its weights solved by each of several recipes, all of them from one walk through the model
 * over the samples, which is run once and not changed. Test: tests/unit/sensitivity_test.c */
#pragma once
#include "passes/compression.h"

typedef struct sinter_sensitivity {
    double error; /* squared error of what the layer yields, as a share of its variance (passes/solve.h) */
    double bytes; /* of the weights as they are stored, with scales and zero points */
} sinter_sensitivity;

typedef struct sinter_sensitivity_sink {
    /* Whether the layer is to be solved by the recipe at this index. */
    bool (*wants)(void *user, size_t layer, size_t recipe);
    /* False stops, and is an error of the sink's. */
    bool (*take)(void *user, size_t layer, size_t recipe, const sinter_sensitivity *found);
    /* Whether there is time for one more layer. */
    bool (*goes_on)(void *user, size_t layer);
    void *user;
} sinter_sensitivity_sink;

/* Whether this can say anything of a recipe: weights are rounded, and no channels go. */
bool sinter_sensitivity_applies(const sinter_layer_recipe *recipe);
/* The module is prepared (runtime/jit/compress.h); layers are numbered as sinter_layer_find_all does. `compression` has a runner and
 * samples, its recipe is not read: recipes[layer * count + i] are. What a layer can't have is left out. False after an error. */
bool sinter_sensitivity_measure(sinter_module *module, const sinter_compression *compression,
                                const sinter_layer_recipe *recipes, size_t count,
                                const sinter_sensitivity_sink *sink, sinter_diag *diag);
