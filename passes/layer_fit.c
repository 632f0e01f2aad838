/* Solutions and the targets that follow from them, in turns. Test: tests/passes/compress_weights/, tests/unit/layer_fit_test.c */
#include "passes/layer_fit.h"

#include <math.h>

enum { TURNS = 3 }; /* solutions; later ones change little */

bool sinter_layer_fit_weights(const sinter_module *module, const sinter_layer *layer,
                              const sinter_layer_target *target, const sinter_layer_view *view,
                              const sinter_layer_recipe *recipe, sinter_moments *moments,
                              const float *weights, const sinter_solve_options *options,
                              sinter_solution *out_solution, sinter_arena *arena,
                              sinter_diag *diag) {
    bool bounded = isfinite(target->low) || isfinite(target->high);
    int turns = bounded && view && sinter_layer_recipe_compensates(recipe) ? TURNS : 1;
    for (int turn = 0; turn < turns; turn++) {
        if (turn > 0) {
            const sinter_layer_fit fit = {out_solution->values,
                                          target->has_bias ? out_solution->bias : NULL, target->low,
                                          target->high};
            if (!sinter_layer_measure_bounded(module, layer, view, &fit, target->has_bias, moments,
                                              diag))
                return false;
        }
        if (!sinter_solve_weights(recipe, moments, weights, options, out_solution, arena,
                                  layer->name, diag))
            return false;
    }
    return true;
}
