/* Models made by a few rules, run and judged. Test: tests/cli/compress_budget.test */
#include "runtime/jit/budget_measure.h"
#include "frontends/import.h"
#include "ir/base/clock.h"
#include "ir/base/file.h"
#include "runtime/jit/compress.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { FEW_SAMPLES = 256 };
static const double candidate_seconds = 0.2, layer_seconds = 0.1; /* of runs that are timed */
static const double hopeless = 1; /* a loss as if the outputs were all their mean */

/* What leaves a layer as it is, whatever rules for all layers said before. */
static const char as_it_is[] = "weights=none prune=none activations=none clip=1";

/* ---- models ---- */

static bool add_rule(sinter_recipe *recipe, const char *layer, const char *words,
                     sinter_diag *diag) {
    sinter_text text = {0};
    if (layer)
        sinter_text_quote(&text, sinter_string_of(layer));
    else
        sinter_text_append_string(&text, "default");
    sinter_text_format(&text, " %s\n", words);
    bool good = sinter_recipe_parse(recipe, "budget", text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}

/* The rules that all candidates follow. */
static sinter_recipe *base_recipe(const sinter_budget_options *options, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_recipe *recipe = sinter_recipe_create();
    sinter_recipe_print(options->rules, &text);
    bool good = !text.size || sinter_recipe_parse(recipe, "rules", text.data, text.size, diag);
    sinter_text_deinit(&text);
    if (good) return recipe;
    sinter_recipe_destroy(recipe);
    return NULL;
}

sinter_recipe *sinter_budget_make_recipe(const sinter_budget *budget, const int32_t *choices,
                                         sinter_diag *diag) {
    sinter_recipe *recipe = base_recipe(budget->options, diag);
    for (size_t i = 0; i < budget->layers.count && recipe; i++) {
        if (choices[i] < 0) continue;
        const char *words = budget->settings.items[choices[i]].words;
        if (add_rule(recipe, budget->layers.items[i].name, words, diag)) continue;
        sinter_recipe_destroy(recipe);
        recipe = NULL;
    }
    return recipe;
}

sinter_module *sinter_budget_make(const sinter_budget_meter *meter, const sinter_recipe *recipe,
                                  const sinter_samples *samples, sinter_diag *diag) {
    const sinter_compress_plan plan = {
        .recipe = recipe, .samples = samples, .engine = meter->options->engine};
    sinter_module *module = sinter_module_clone(meter->options->module);
    if (sinter_compress_module(module, &plan, diag)) return module;
    sinter_module_destroy(module);
    return NULL;
}

static double constant_bytes(const sinter_module *module) {
    double bytes = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (info->op != SINTER_OP_constant || !info->result_count) continue;
        const sinter_tensor *tensor = sinter_value_constant(module, info->results[0]);
        if (tensor && tensor->kind == SINTER_TYPE_TENSOR)
            bytes += (double)sinter_tensor_bytes(tensor);
    }
    return bytes;
}

/* ---- answers ---- */

static double element(const sinter_tensor *tensor, int64_t i) {
    return tensor->dtype == SINTER_DTYPE_f32 ? (double)((const float *)tensor->data)[i]
                                             : sinter_tensor_get_double(tensor, i);
}

static double sum_of_squares(const sinter_answers *answers, double mean) {
    double sum = 0;
    for (size_t run = 0; run < answers->count; run++)
        for (int64_t i = 0; i < sinter_tensor_count(&answers->runs[run]); i++) {
            double d = element(&answers->runs[run], i) - mean;
            sum += d * d;
        }
    return sum;
}

/* The spread of the answers; about nothing where they are all the same. */
static double variance_of(const sinter_answers *answers) {
    double sum = 0, count = 0;
    for (size_t run = 0; run < answers->count; run++)
        for (int64_t i = 0; i < sinter_tensor_count(&answers->runs[run]); i++, count++)
            sum += element(&answers->runs[run], i);
    double variance = sum_of_squares(answers, count > 0 ? sum / count : 0);
    return variance > 0 ? variance : 1;
}

/* Squared error over the spread; of what is not finite as much as of answers that say nothing. */
static double difference(const sinter_budget_meter *meter, const sinter_answers *answers) {
    double sum = 0;
    for (size_t run = 0; run < answers->count; run++) {
        const sinter_tensor *a = &answers->runs[run], *b = &meter->expected.runs[run];
        if (sinter_tensor_count(a) != sinter_tensor_count(b)) return hopeless;
        for (int64_t i = 0; i < sinter_tensor_count(a); i++) {
            double d = element(a, i) - element(b, i);
            sum += d * d;
        }
    }
    return isfinite(sum) ? sum / meter->variance : hopeless;
}

/* What a recipe does to the answers to a few samples, and the bytes of constants that are left. */
static bool measure_recipe(const sinter_budget_meter *meter, const sinter_recipe *recipe,
                           double *out_loss, double *out_bytes, sinter_diag *diag) {
    sinter_answers answers;
    sinter_module *module = sinter_budget_make(meter, recipe, meter->few, diag);
    if (!module) return false;
    *out_bytes = constant_bytes(module);
    sinter_engine *engine = sinter_engine_create(module, meter->options->engine, diag);
    bool good = engine && sinter_answers_collect(engine, meter->options->judge->data.output,
                                                 meter->few, &answers, diag);
    if (good) {
        *out_loss = difference(meter, &answers);
        sinter_answers_deinit(&answers);
    }
    sinter_engine_destroy(engine);
    return good;
}

/* ---- the meter ---- */

static sinter_samples *take_few(const sinter_samples *samples) {
    size_t step = sinter_samples_step(samples), count = sinter_samples_count(samples);
    size_t few = FEW_SAMPLES / step * step;
    if (few < step) few = step;
    return sinter_samples_slice(samples, 0, few < count ? few : count);
}

/* Of the model as the rules leave it. */
static bool measure_base(sinter_budget_meter *meter) {
    double values[2];
    bool good;
    if (sinter_journal_find(meter->options->journal, "base", values, 2, &good, meter->diag)) {
        meter->loss = values[0];
        meter->bytes = values[1];
        return true;
    }
    sinter_recipe *recipe = good ? base_recipe(meter->options, meter->diag) : NULL;
    good = recipe && measure_recipe(meter, recipe, &values[0], &values[1], meter->diag) &&
           sinter_journal_add(meter->options->journal, "base", values, 2, meter->diag);
    sinter_recipe_destroy(recipe);
    meter->loss = good ? values[0] : 0;
    meter->bytes = good ? values[1] : 0;
    return good;
}

_Static_assert(sizeof((sinter_budget_meter){0}.folder) >= SINTER_FILE_FOLDER_BYTES, "a folder");

bool sinter_budget_meter_init(sinter_budget_meter *out_meter, sinter_budget *budget,
                              sinter_diag *diag) {
    const sinter_judge *judge = budget->options->judge;
    sinter_budget_meter *meter = out_meter;
    *meter = (sinter_budget_meter){.budget = budget,
                                   .options = budget->options,
                                   .uniform_setting = SINTER_FRONT_AS_IT_IS,
                                   .start = sinter_clock_seconds(),
                                   .diag = diag};
    meter->few = take_few(budget->options->calibration);
    bool good = sinter_file_make_folder(meter->folder, diag) &&
                sinter_answers_collect(judge->original, judge->data.output, meter->few,
                                       &meter->expected, diag);
    if (good) meter->variance = variance_of(&meter->expected);
    good = good && measure_base(meter);
    if (!good) sinter_budget_meter_deinit(meter);
    return good;
}

void sinter_budget_meter_deinit(sinter_budget_meter *meter) {
    if (meter->folder[0]) sinter_file_remove_folder(meter->folder);
    if (meter->expected.runs) sinter_answers_deinit(&meter->expected);
    sinter_samples_destroy(meter->few);
    sinter_engine_destroy(meter->uniform);
    sinter_text_deinit(&meter->reason);
    *meter = (sinter_budget_meter){0};
}

bool sinter_budget_meter_is_late(const sinter_budget_meter *meter, double share) {
    return sinter_clock_seconds() - meter->start > share * meter->options->seconds;
}

void sinter_budget_tell(const sinter_budget_options *options, const char *format, ...) {
    if (!options->progress) return;
    sinter_text text = {0};
    va_list list;
    va_start(list, format);
    sinter_text_format_list(&text, format, list);
    va_end(list);
    options->progress(options->user, text.data);
    sinter_text_deinit(&text);
}

/* ---- one layer ---- */

static const char *point_name(const sinter_budget_meter *meter, const char *what, size_t layer,
                              size_t setting) {
    sinter_budget *budget = meter->budget;
    return sinter_arena_format(&budget->arena, "%s %s: %s", what, budget->layers.items[layer].name,
                               budget->settings.items[setting].words);
}

static const char *layer_name(const sinter_budget_meter *meter, size_t layer, size_t setting) {
    return point_name(meter, "layer", layer, setting);
}

static const char *refusal_name(const sinter_budget_meter *meter, size_t layer, size_t setting) {
    return point_name(meter, "refused", layer, setting);
}

static const char *latency_name(const sinter_budget_meter *meter, size_t layer, size_t setting) {
    return point_name(meter, "latency", layer, setting);
}

static bool is_in_journal(const sinter_budget_meter *meter, const char *name, size_t count) {
    double values[SINTER_JOURNAL_VALUES];
    bool good;
    return sinter_journal_find(meter->options->journal, name, values, count, &good, NULL);
}

bool sinter_budget_knows_point(const sinter_budget_meter *meter, size_t layer, size_t setting) {
    return is_in_journal(meter, refusal_name(meter, layer, setting), 0) ||
           is_in_journal(meter, layer_name(meter, layer, setting), 2);
}

bool sinter_budget_knows_time(const sinter_budget_meter *meter, size_t layer, size_t setting) {
    return is_in_journal(meter, latency_name(meter, layer, setting), 1);
}

/* The first one, as a line. */
static void keep_reason(sinter_budget_meter *meter, const sinter_text *messages) {
    if (!meter->reason.size && messages->size)
        sinter_text_append(&meter->reason, messages->data, strcspn(messages->data, "\n"));
}

/* Loss and bytes by the layer with the setting and all others as they are. */
static bool try_layer(sinter_budget_meter *meter, size_t layer, size_t setting, double values[2],
                      bool *out_refused) {
    sinter_budget *budget = meter->budget;
    sinter_text messages = {0};
    sinter_diag inner = {.handler = sinter_diag_text_handler, .user = &messages};
    double loss = 0, bytes = 0;
    sinter_recipe *recipe = base_recipe(meter->options, meter->diag);
    if (!recipe) return false;
    bool good = add_rule(recipe, budget->layers.items[layer].name,
                         budget->settings.items[setting].words, meter->diag);
    *out_refused = good && !measure_recipe(meter, recipe, &loss, &bytes, &inner);
    if (*out_refused) keep_reason(meter, &messages);
    values[0] = fmax(loss - meter->loss, 0);
    values[1] = meter->bytes - bytes;
    sinter_recipe_destroy(recipe);
    sinter_text_deinit(&messages);
    return good;
}

bool sinter_budget_measure_point(sinter_budget_meter *meter, size_t layer, size_t setting) {
    size_t at = layer * meter->budget->table.settings + setting;
    sinter_front_point *point = &meter->budget->table.points[at];
    sinter_journal *journal = meter->options->journal;
    const char *name = layer_name(meter, layer, setting);
    const char *refusal = refusal_name(meter, layer, setting);
    double values[2] = {0};
    bool good, refused = sinter_journal_find(journal, refusal, NULL, 0, &good, meter->diag);
    if (!good) return false;
    if (!refused && !sinter_journal_find(journal, name, values, 2, &good, meter->diag)) {
        if (!good || !try_layer(meter, layer, setting, values, &refused) ||
            !sinter_journal_add(journal, refused ? refusal : name, values, refused ? 0 : 2,
                                meter->diag))
            return false;
    }
    point->state = refused ? SINTER_FRONT_REFUSED : SINTER_FRONT_MEASURED;
    point->loss = values[0];
    point->gain = meter->budget->saved[at] = values[1];
    return true;
}

/* ---- the time of one layer ---- */

/* All layers that can have the setting have it, but for one; nothing is solved, for times don't depend on the weights. */
static sinter_engine *open_uniform(const sinter_budget_meter *meter, size_t setting, size_t but) {
    const sinter_budget *budget = meter->budget;
    sinter_recipe *recipe = base_recipe(meter->options, meter->diag);
    bool good = recipe && add_rule(recipe, NULL, "rounding=nearest score=magnitude", meter->diag);
    for (size_t i = 0; i < budget->layers.count && good; i++) {
        bool refuses = is_in_journal(meter, refusal_name(meter, i, setting), 0);
        good = add_rule(recipe, budget->layers.items[i].name,
                        refuses || i == but ? as_it_is : budget->settings.items[setting].words,
                        meter->diag);
    }
    sinter_samples *one = sinter_samples_slice(meter->few, 0, sinter_samples_step(meter->few));
    sinter_module *module = good ? sinter_budget_make(meter, recipe, one, meter->diag) : NULL;
    sinter_samples_destroy(one);
    sinter_recipe_destroy(recipe);
    return module ? sinter_engine_create(module, meter->options->engine, meter->diag) : NULL;
}

/* What a run takes longer where the layer alone stays as it is. */
static bool time_layer(sinter_budget_meter *meter, size_t layer, size_t setting,
                       double *out_seconds) {
    if (meter->uniform_setting != (int32_t)setting) {
        sinter_engine_destroy(meter->uniform);
        meter->uniform = open_uniform(meter, setting, meter->budget->layers.count);
        meter->uniform_setting = (int32_t)setting;
    }
    sinter_engine *without = meter->uniform ? open_uniform(meter, setting, layer) : NULL;
    if (!without) return false;
    sinter_engine *const engines[2] = {meter->uniform, without};
    double times[2] = {0};
    bool good =
        sinter_judge_race(meter->options->judge, engines, layer_seconds, times, meter->diag);
    *out_seconds = times[1] - times[0];
    sinter_engine_destroy(without);
    return good;
}

bool sinter_budget_measure_time(sinter_budget_meter *meter, size_t layer, size_t setting,
                                double *out_seconds) {
    sinter_journal *journal = meter->options->journal;
    const char *name = latency_name(meter, layer, setting);
    bool good;
    if (sinter_journal_find(journal, name, out_seconds, 1, &good, meter->diag)) return true;
    return good && time_layer(meter, layer, setting, out_seconds) &&
           sinter_journal_add(journal, name, out_seconds, 1, meter->diag);
}

/* ---- candidates ---- */

static const char candidate_prefix[] = "candidate ", unmade_prefix[] = "unmade ";

/* Its name in the journal: the settings of the layers, in their order. */
static const char *candidate_name(const sinter_budget *budget, const char *prefix,
                                  const int32_t *choices, sinter_arena *arena) {
    sinter_text text = {0};
    sinter_text_append_string(&text, prefix);
    for (size_t i = 0; i < budget->layers.count; i++)
        sinter_text_format(&text, "%s%s", i ? "," : "",
                           choices[i] < 0 ? "-" : budget->settings.items[choices[i]].name);
    const char *name = sinter_arena_copy_string(arena, text.data, text.size);
    sinter_text_deinit(&text);
    return name;
}

static bool find_setting(const sinter_budget *budget, const char *name, size_t size,
                         int32_t *out_choice) {
    *out_choice = SINTER_FRONT_AS_IT_IS;
    if (size == 1 && *name == '-') return true;
    for (size_t i = 0; i < budget->settings.count; i++) {
        const char *here = budget->settings.items[i].name;
        if (strlen(here) != size || memcmp(here, name, size) != 0) continue;
        *out_choice = (int32_t)i;
        return true;
    }
    return false;
}

bool sinter_budget_read_candidate(const sinter_budget *budget, const char *name,
                                  int32_t *out_choices) {
    if (strncmp(name, candidate_prefix, strlen(candidate_prefix)) != 0) return false;
    name += strlen(candidate_prefix);
    for (size_t i = 0; i < budget->layers.count; i++) {
        size_t size = strcspn(name, ",");
        bool ends = name[size] == '\0', is_last = i + 1 == budget->layers.count;
        if (ends != is_last || !find_setting(budget, name, size, &out_choices[i])) return false;
        name += size + 1;
    }
    return true;
}

bool sinter_budget_knows_candidate(const sinter_budget_meter *meter, const int32_t *choices) {
    sinter_budget *b = meter->budget;
    return is_in_journal(meter, candidate_name(b, candidate_prefix, choices, &b->arena), 4) ||
           is_in_journal(meter, candidate_name(b, unmade_prefix, choices, &b->arena), 0);
}

/* values: bytes, seconds, those of the original beside it, score. Refused: it can't be made, or its score is no number. */
static bool try_candidate(sinter_budget_meter *meter, const sinter_recipe *recipe, double values[4],
                          sinter_module **out_module, bool *out_refused) {
    const sinter_budget_options *options = meter->options;
    char path[SINTER_FILE_FOLDER_BYTES + 16];
    sinter_judged original, judged;
    sinter_text messages = {0};
    sinter_diag inner = {.handler = sinter_diag_text_handler, .user = &messages};
    *out_module = sinter_budget_make(meter, recipe, options->calibration, &inner);
    *out_refused = !*out_module;
    if (*out_refused) keep_reason(meter, &messages);
    sinter_text_deinit(&messages);
    if (*out_refused) return true;
    snprintf(path, sizeof path, "%s/candidate.onnx", meter->folder);
    if (!sinter_export_onnx(*out_module, path, meter->diag) ||
        !sinter_judge_measure(options->judge, path, candidate_seconds, &original, &judged,
                              meter->diag))
        return false;
    values[0] = judged.bytes;
    values[1] = judged.seconds;
    values[2] = original.seconds;
    values[3] = judged.score;
    *out_refused = !isfinite(judged.score);
    return true;
}

/* The numbers from the journal, or else by making the model. */
static bool find_numbers(sinter_budget_meter *meter, const int32_t *choices, double values[4],
                         sinter_module **out_module, bool *out_refused) {
    sinter_budget *b = meter->budget;
    sinter_journal *journal = meter->options->journal;
    const char *name = candidate_name(b, candidate_prefix, choices, &b->arena);
    const char *refusal = candidate_name(b, unmade_prefix, choices, &b->arena);
    bool good;
    *out_refused = sinter_journal_find(journal, refusal, NULL, 0, &good, meter->diag);
    if (*out_refused || !good) return good;
    if (sinter_journal_find(journal, name, values, 4, &good, meter->diag) || !good) return good;
    sinter_recipe *recipe = sinter_budget_make_recipe(b, choices, meter->diag);
    good = recipe && try_candidate(meter, recipe, values, out_module, out_refused) &&
           sinter_journal_add(journal, *out_refused ? refusal : name, values, *out_refused ? 0 : 4,
                              meter->diag);
    sinter_recipe_destroy(recipe);
    return good;
}

bool sinter_budget_measure_candidate(sinter_budget_meter *meter, const int32_t *choices,
                                     sinter_budget_candidate *out_candidate,
                                     sinter_module **out_module, bool *out_refused) {
    const sinter_judge *judge = meter->options->judge;
    double v[4] = {0};
    *out_module = NULL;
    *out_refused = false;
    bool good = find_numbers(meter, choices, v, out_module, out_refused);
    if (!good || *out_refused) {
        sinter_module_destroy(*out_module);
        *out_module = NULL;
        return good;
    }
    out_candidate->original = judge->of_original;
    out_candidate->original.seconds = v[2];
    out_candidate->result = (sinter_judged){v[0], v[1], v[3]};
    out_candidate->lost = sinter_metric_loss(&judge->data.metric, judge->of_original.score, v[3]);
    out_candidate->fits = out_candidate->lost <= meter->options->allowed;
    return true;
}
