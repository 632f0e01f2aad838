/* Every layer with every setting. One setting is measured as it is, layer by layer, by what becomes of the model's outputs; settings
 * that differ from it by their weights alone follow from what the layer's own outputs lose, in one walk through the model
 * (passes/sensitivity.h), as a multiple of that; the others are measured as they are while there is time, and what
 * is left is estimated. Test: tests/cli/compress_budget.test */
#include "passes/sensitivity.h"
#include "runtime/jit/budget_measure.h"
#include "runtime/jit/compress.h"
#include "runtime/jit/runner.h"

#include <math.h>
#include <string.h>

/* Of the time. Candidates, which decide, have the rest. */
static const double share_of_walk = 0.3, share_of_layers = 0.4;
static const double least_error = 1e-9; /* what ratios take for none */

typedef struct survey {
    sinter_budget_meter *meter;
    sinter_budget *budget;
    size_t layers, settings,
        reference;                /* the setting that is measured first; `settings`: none applies */
    sinter_layer_recipe *recipes; /* as the points of the table */
    sinter_sensitivity *solved;   /* the same; error NAN: not known */
} survey;

static size_t index_of(const survey *s, size_t layer, size_t setting) {
    return layer * s->settings + setting;
}

/* ---- what is to be measured how ---- */

static bool find_recipes(survey *s) {
    for (size_t setting = 0; setting < s->settings; setting++) {
        int32_t *choices = SINTER_NEW_ARRAY(&s->budget->arena, int32_t, s->layers);
        for (size_t i = 0; i < s->layers; i++) choices[i] = (int32_t)setting;
        sinter_recipe *recipe = sinter_budget_make_recipe(s->budget, choices, s->meter->diag);
        bool good = recipe != NULL;
        for (size_t i = 0; i < s->layers && good; i++)
            good = sinter_recipe_find(recipe, s->budget->layers.items[i].name,
                                      &s->recipes[index_of(s, i, setting)], s->meter->diag);
        sinter_recipe_destroy(recipe);
        if (!good) return false;
    }
    return true;
}

/* A reference loses enough to be measured well, and not so much that nothing follows from it. */
static size_t find_reference(const survey *s) {
    size_t found = s->settings;
    for (size_t i = s->settings; i-- > 0;) {
        const sinter_layer_recipe *r = &s->recipes[i];
        if (!sinter_sensitivity_applies(r)) continue;
        bool four = r->grid == SINTER_WEIGHT_GRID_INTEGER && r->bits == 4;
        const sinter_layer_recipe *best = found < s->settings ? &s->recipes[found] : NULL;
        bool best_is_four = best && best->grid == SINTER_WEIGHT_GRID_INTEGER && best->bits == 4;
        if (four || !best_is_four) found = i;
    }
    return found;
}

/* Whether what the reference loses says what this one does: weights differ, activations are rounded as there or not at all. */
static bool follows(const survey *s, size_t layer, size_t setting) {
    const sinter_layer_recipe *r = &s->recipes[index_of(s, layer, setting)];
    if (s->reference == s->settings || !sinter_sensitivity_applies(r)) return false;
    const sinter_layer_recipe *of = &s->recipes[index_of(s, layer, s->reference)];
    bool same = r->activations == of->activations && r->dynamic == of->dynamic;
    return setting == s->reference || same || r->activations == SINTER_DTYPE_NONE;
}

/* ---- the walk ---- */

static const char *solved_name(const survey *s, size_t layer, size_t setting) {
    sinter_budget *b = s->budget;
    return sinter_arena_format(&b->arena, "solved %s: %s", b->layers.items[layer].name,
                               b->settings.items[setting].words);
}

static bool wants(void *user, size_t layer, size_t setting) {
    const survey *s = user;
    return follows(s, layer, setting) && isnan(s->solved[index_of(s, layer, setting)].error);
}

static bool take(void *user, size_t layer, size_t setting, const sinter_sensitivity *found) {
    const survey *s = user;
    if (!isfinite(found->error)) return true;
    s->solved[index_of(s, layer, setting)] = *found;
    const double values[2] = {found->error, found->bytes};
    return sinter_journal_add(s->meter->options->journal, solved_name(s, layer, setting), values, 2,
                              s->meter->diag);
}

static bool goes_on(void *user, size_t layer) {
    const survey *s = user;
    if (sinter_budget_meter_is_late(s->meter, share_of_walk)) {
        s->budget->out_of_time = true;
        return false;
    }
    sinter_budget_tell(s->meter->options, "layer %zu of %zu, by its own outputs", layer + 1,
                       s->layers);
    return true;
}

/* From the journal; *out_all: nothing is missing. */
static bool recall(survey *s, bool *out_all) {
    *out_all = true;
    for (size_t layer = 0; layer < s->layers; layer++)
        for (size_t setting = 0; setting < s->settings; setting++) {
            sinter_sensitivity *to = &s->solved[index_of(s, layer, setting)];
            double values[2];
            bool good;
            to->error = NAN;
            if (!follows(s, layer, setting)) continue;
            if (sinter_journal_find(s->meter->options->journal, solved_name(s, layer, setting),
                                    values, 2, &good, s->meter->diag))
                *to = (sinter_sensitivity){values[0], values[1]};
            else if (!good)
                return false;
            else
                *out_all = false;
        }
    return true;
}

static bool run_walk(survey *s) {
    const sinter_budget_options *options = s->meter->options;
    const sinter_sensitivity_sink sink = {wants, take, goes_on, s};
    sinter_engine_runner runner;
    sinter_module *module = sinter_module_clone(options->module);
    bool good = sinter_compress_prepare(module, s->meter->diag) &&
                sinter_engine_runner_init(&runner, options->engine, s->meter->diag);
    if (good) {
        const sinter_compression compression = {.runner = &runner.base, .samples = s->meter->few};
        good = sinter_sensitivity_measure(module, &compression, s->recipes, s->settings, &sink,
                                          s->meter->diag);
        sinter_engine_runner_deinit(&runner);
    }
    sinter_module_destroy(module);
    return good;
}

/* Points that follow from the reference and the walk. */
static bool fill_points(survey *s) {
    sinter_budget *b = s->budget;
    for (size_t layer = 0; layer < s->layers; layer++) {
        size_t of = index_of(s, layer, s->reference);
        if (b->table.points[of].state != SINTER_FRONT_MEASURED || isnan(s->solved[of].error))
            continue;
        double scale = b->table.points[of].loss / fmax(s->solved[of].error, least_error);
        for (size_t setting = 0; setting < s->settings; setting++) {
            size_t at = index_of(s, layer, setting);
            sinter_front_point *point = &b->table.points[at];
            if (point->state != SINTER_FRONT_UNKNOWN || isnan(s->solved[at].error)) continue;
            b->saved[at] = b->saved[of] + s->solved[of].bytes - s->solved[at].bytes;
            *point = (sinter_front_point){SINTER_FRONT_MEASURED, b->saved[at],
                                          scale * fmax(s->solved[at].error, least_error)};
        }
    }
    return true;
}

/* ---- one by one ---- */

/* Channels that go take weights of other layers with them, which were floats when that was measured and will be as narrow as
 * these. */
static void discount(survey *s, size_t layer, size_t setting) {
    sinter_front_point *point = &s->budget->table.points[index_of(s, layer, setting)];
    const sinter_layer_recipe *r = &s->recipes[index_of(s, layer, setting)];
    if (point->state != SINTER_FRONT_MEASURED || r->pattern != SINTER_PRUNE_CHANNELS ||
        r->grid != SINTER_WEIGHT_GRID_INTEGER)
        return;
    double weights = (double)s->budget->layers.items[layer].weights, share = r->bits / 32.0;
    double own = weights * (double)sizeof(float) * (1 - (1 - r->ratio) * share);
    if (point->gain > own) point->gain = own + (point->gain - own) * share;
}

/* The setting in all layers; those that are known already, and the reference, whatever the time is. */
static bool measure_setting(survey *s, size_t setting) {
    sinter_budget *b = s->budget;
    for (size_t layer = 0; layer < s->layers; layer++) {
        if (b->table.points[index_of(s, layer, setting)].state != SINTER_FRONT_UNKNOWN) continue;
        if (!sinter_budget_knows_point(s->meter, layer, setting)) {
            if (setting != s->reference && sinter_budget_meter_is_late(s->meter, share_of_layers)) {
                b->out_of_time = true;
                continue;
            }
            sinter_budget_tell(s->meter->options, "layer %zu of %zu, %s", layer + 1, s->layers,
                               b->settings.items[setting].name);
        }
        if (!sinter_budget_measure_point(s->meter, layer, setting)) return false;
        discount(s, layer, setting);
    }
    return true;
}

/* Where speed is the goal: what the setting gains in time. Unknown is what there was no time for. */
static bool measure_times(survey *s, size_t setting) {
    for (size_t layer = 0; layer < s->layers; layer++) {
        sinter_front_point *point = &s->budget->table.points[index_of(s, layer, setting)];
        if (point->state != SINTER_FRONT_MEASURED) continue;
        if (!sinter_budget_knows_time(s->meter, layer, setting)) {
            if (setting != s->reference && sinter_budget_meter_is_late(s->meter, share_of_layers)) {
                s->budget->out_of_time = true;
                point->state = SINTER_FRONT_UNKNOWN;
                continue;
            }
            sinter_budget_tell(s->meter->options, "layer %zu of %zu, the time of %s", layer + 1,
                               s->layers, s->budget->settings.items[setting].name);
        }
        if (!sinter_budget_measure_time(s->meter, layer, setting, &point->gain)) return false;
    }
    return true;
}

static bool measure_all(survey *s) {
    bool all = true;
    if (!find_recipes(s)) return false;
    s->reference = find_reference(s);
    if (s->reference < s->settings) {
        if (!measure_setting(s, s->reference) || !recall(s, &all)) return false;
        if (!all && !run_walk(s)) return false;
        if (!fill_points(s)) return false;
    }
    for (size_t setting = 0; setting < s->settings; setting++)
        if (!measure_setting(s, setting)) return false;
    for (size_t setting = 0; setting < s->settings && s->meter->options->by_latency; setting++)
        if (!measure_times(s, setting)) return false;
    return true;
}

bool sinter_budget_measure_layers(sinter_budget_meter *meter) {
    sinter_budget *b = meter->budget;
    sinter_arena *arena = &b->arena;
    size_t points = b->layers.count * b->settings.count, refused = 0;
    survey s = {.meter = meter,
                .budget = b,
                .layers = b->layers.count,
                .settings = b->settings.count,
                .recipes = SINTER_NEW_ARRAY(arena, sinter_layer_recipe, points),
                .solved = SINTER_NEW_ARRAY(arena, sinter_sensitivity, points)};
    if (!measure_all(&s)) return false;
    for (size_t i = 0; i < points; i++) refused += b->table.points[i].state == SINTER_FRONT_REFUSED;
    if (refused == points)
        return sinter_error(meter->diag, "budget", "no layer can have any of the settings: %s",
                            meter->reason.size ? meter->reason.data : "as measured before");
    sinter_front_estimate(&b->table);
    return true;
}
