/* The search by budget: what layers lose (budget_layers.c), settings for all layers, the front, bisection on both, improvement.
 * Test: tests/cli/compress_budget.test, tests/suites/compressed_models.py */
#include "runtime/jit/budget.h"
#include "passes/layer.h"
#include "runtime/jit/budget_measure.h"
#include "runtime/jit/compress.h"

#include <stdlib.h>
#include <string.h>

typedef struct search {
    sinter_budget *budget;
    const sinter_budget_options *options;
    sinter_budget_meter meter;
    sinter_diag *diag;
} search;

const sinter_budget_candidate *sinter_budget_best(const sinter_budget *budget) {
    return budget->best != SINTER_BUDGET_NONE ? &budget->candidates.items[budget->best] : NULL;
}

double sinter_budget_cost(const sinter_budget *budget, const sinter_budget_candidate *candidate) {
    return budget->options->by_latency ? candidate->result.seconds / candidate->original.seconds
                                       : candidate->result.bytes;
}

/* ---- settings and layers ---- */

static bool is_listed(const char *names, const char *name) {
    size_t size = strlen(name);
    for (const char *at = names; (at = strstr(at, name)) != NULL; at += size)
        if ((at == names || at[-1] == ',') && (at[size] == ',' || !at[size])) return true;
    return false;
}

enum { SIZE = 1, LATENCY = 2 }; /* goals, as the table has them */

static bool list_settings(sinter_budget *budget, sinter_diag *diag) {
    static const struct {
        sinter_budget_setting setting;
        int goals;
    } rows[] = {
#define SETTING(name, words, goals) {{#name, words}, goals},
#include "runtime/jit/budget_settings.def"
#undef SETTING
    };
    const char *wanted = budget->options->settings;
    int goal = budget->options->by_latency ? LATENCY : SIZE;
    size_t bytes = 0;
    sinter_text known = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *name = rows[i].setting.name;
        bool is_wanted = wanted ? is_listed(wanted, name) : (rows[i].goals & goal) != 0;
        sinter_text_format(&known, "%s%s", i ? ", " : "", name);
        if (!is_wanted) continue;
        sinter_vector_push(&budget->arena, &budget->settings, rows[i].setting);
        bytes += strlen(name) + 1;
    }
    bool good = !wanted || (bytes && bytes == strlen(wanted) + 1); /* each of the list was found */
    if (!good)
        sinter_error(diag, "settings", "'%s': expected names with commas between them out of: %s",
                     wanted, known.data);
    sinter_text_deinit(&known);
    return good;
}

static bool list_layers(sinter_budget *budget, sinter_diag *diag) {
    sinter_module *module = sinter_module_clone(budget->options->module);
    bool good = sinter_compress_prepare(module, diag);
    sinter_layer_list layers = {0};
    if (good) layers = sinter_layer_find_all(module, &budget->arena);
    for (size_t i = 0; i < layers.count; i++) {
        const sinter_layer *l = &layers.items[i];
        sinter_budget_layer layer = {.name = l->name, .weights = l->outputs * l->reduction};
        sinter_vector_push(&budget->arena, &budget->layers, layer);
    }
    if (good && !layers.count)
        good = sinter_error(diag, sinter_module_name(module),
                            "has no convolution or matrix product with constant f32 weights");
    sinter_module_destroy(module);
    return good;
}

/* ---- candidates ---- */

static void tell_candidate(const search *s, const sinter_budget_candidate *c) {
    const sinter_judge_data *judge = &s->options->judge->data;
    const sinter_budget_candidate *best = sinter_budget_best(s->budget);
    sinter_text text = {0};
    sinter_metric_print(&judge->metric, c->result.score, &text);
    sinter_text_format(&text, " (%.4g of %.4g lost), %.1f kB, %.4f ms", c->lost,
                       s->options->allowed, c->result.bytes / 1e3, 1e3 * c->result.seconds);
    if (best) {
        sinter_text_append_string(&text, "; best: ");
        sinter_metric_print(&judge->metric, best->result.score, &text);
        sinter_text_format(&text, ", %.1f kB, %.4f ms", best->result.bytes / 1e3,
                           1e3 * best->result.seconds);
    }
    sinter_budget_tell(s->options, "candidate %zu, %s: %s", s->budget->candidates.count, c->from,
                       text.data);
    sinter_text_deinit(&text);
}

static void keep_best(search *s, sinter_module *module) {
    sinter_module_destroy(s->budget->module);
    s->budget->module = module;
    s->budget->best = s->budget->candidates.count - 1;
}

typedef enum verdict { VERDICT_ERROR, VERDICT_LATE, VERDICT_FAILS, VERDICT_FITS } verdict;

static const sinter_budget_candidate *find_candidate(const sinter_budget *b,
                                                     const int32_t *choices) {
    for (size_t i = 0; i < b->candidates.count; i++)
        if (!memcmp(b->candidates.items[i].choices, choices, b->layers.count * sizeof *choices))
            return &b->candidates.items[i];
    return NULL;
}

/* Makes and judges a candidate, unless it has been one; the best so far is kept. */
static verdict judge(search *s, const char *from, const int32_t *choices) {
    sinter_budget *b = s->budget;
    size_t count = b->layers.count;
    sinter_budget_candidate c = {.from = from};
    sinter_module *module;
    bool refused;
    const sinter_budget_candidate *before = find_candidate(b, choices);
    if (before) return before->fits ? VERDICT_FITS : VERDICT_FAILS;
    bool known = sinter_budget_knows_candidate(&s->meter, choices);
    if (!known && b->candidates.count && sinter_budget_meter_is_late(&s->meter, 1)) {
        b->out_of_time = true;
        return VERDICT_LATE;
    }
    if (!known)
        sinter_budget_tell(s->options, "candidate %zu, %s: making it", b->candidates.count + 1,
                           from);
    if (!sinter_budget_measure_candidate(&s->meter, choices, &c, &module, &refused))
        return VERDICT_ERROR;
    if (refused) return VERDICT_FAILS;
    c.choices = SINTER_NEW_ARRAY(&b->arena, int32_t, count);
    memcpy(c.choices, choices, count * sizeof *choices);
    const sinter_budget_candidate *best = sinter_budget_best(b);
    bool better = c.fits && (!best || sinter_budget_cost(b, &c) < sinter_budget_cost(b, best));
    sinter_vector_push(&b->arena, &b->candidates, c);
    if (better)
        keep_best(s, module);
    else
        sinter_module_destroy(module);
    tell_candidate(s, &c);
    return c.fits ? VERDICT_FITS : VERDICT_FAILS;
}

/* ---- the parts of the search ---- */

static int32_t *as_they_are(search *s) {
    int32_t *choices = SINTER_NEW_ARRAY(&s->budget->arena, int32_t, s->budget->layers.count + 1);
    for (size_t i = 0; i < s->budget->layers.count; i++) choices[i] = SINTER_FRONT_AS_IT_IS;
    return choices;
}

/* Those that the journal has, of whatever search. */
static verdict recall(search *s) {
    const sinter_journal *journal = s->options->journal;
    size_t count = sinter_journal_count(journal);
    for (size_t i = 0; i < count; i++) {
        int32_t *choices = as_they_are(s);
        if (!sinter_budget_read_candidate(s->budget, sinter_journal_name(journal, i), choices))
            continue;
        if (judge(s, "measured before", choices) == VERDICT_ERROR) return VERDICT_ERROR;
    }
    return VERDICT_FITS;
}

static bool is_better_by_numbers(const search *s, const int32_t *choices) {
    const sinter_budget_candidate *best = sinter_budget_best(s->budget);
    double gain, gain_of_best = 0, loss;
    sinter_front_sum(&s->budget->table, choices, &gain, &loss);
    if (best) sinter_front_sum(&s->budget->table, best->choices, &gain_of_best, &loss);
    return gain > gain_of_best;
}

/* Candidates of which each promises more than the one before, and loses more: the last one that the metric allows, by halves. Judged
 * are those alone that promise more than the best has. */
typedef void (*candidate_at)(void *user, size_t number, int32_t *out_choices);

static verdict bisect(search *s, size_t count, candidate_at at, void *user, const char *from) {
    size_t low = 0, high = count + 1;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        int32_t *choices = as_they_are(s);
        at(user, middle - 1, choices);
        verdict found = VERDICT_FITS;
        if (is_better_by_numbers(s, choices)) found = judge(s, from, choices);
        if (found < VERDICT_FAILS) return found;
        if (found == VERDICT_FITS)
            low = middle;
        else
            high = middle;
    }
    return VERDICT_FITS;
}

/* One setting for all layers that can have it. */
typedef struct uniform {
    double gain, loss;
    int32_t *choices;
} uniform;

static int least_gain_first(const void *a, const void *b) {
    const uniform *x = a, *y = b;
    if (x->gain != y->gain) return x->gain < y->gain ? -1 : 1;
    return (x->loss < y->loss) - (x->loss > y->loss);
}

static uniform make_uniform(search *s, size_t setting) {
    const sinter_budget *b = s->budget;
    uniform made = {.choices = as_they_are(s)};
    for (size_t i = 0; i < b->layers.count; i++) {
        sinter_front_state state = b->table.points[i * b->settings.count + setting].state;
        if (state == SINTER_FRONT_MEASURED || state == SINTER_FRONT_ESTIMATED)
            made.choices[i] = (int32_t)setting;
    }
    sinter_front_sum(&b->table, made.choices, &made.gain, &made.loss);
    return made;
}

typedef struct uniform_list {
    const search *search;
    uniform *items;
} uniform_list;

static void uniform_at(void *user, size_t number, int32_t *out_choices) {
    const search *s = ((const uniform_list *)user)->search;
    memcpy(out_choices, ((const uniform_list *)user)->items[number].choices,
           s->budget->layers.count * sizeof *out_choices);
}

/* What a user would try by hand, and so what any other candidate is compared with. A setting that gains no more than another one and loses
 * as much is left out. */
static verdict bisect_uniform(search *s) {
    size_t settings = s->budget->settings.count, count = 0;
    uniform *all = SINTER_NEW_ARRAY(&s->budget->arena, uniform, settings);
    for (size_t i = 0; i < settings; i++) all[i] = make_uniform(s, i);
    qsort(all, settings, sizeof *all, least_gain_first);
    uniform_list front = {s, SINTER_NEW_ARRAY(&s->budget->arena, uniform, settings)};
    for (size_t i = 0; i < settings; i++) {
        if (!(all[i].gain > 0)) continue;
        while (count && front.items[count - 1].loss >= all[i].loss) count--;
        front.items[count++] = all[i];
    }
    return bisect(s, count, uniform_at, &front, "one setting");
}

/* The first moves along a front. */
static void moves_at(void *user, size_t number, int32_t *out_choices) {
    const sinter_front_move *moves = user;
    for (size_t i = 0; i <= number; i++) out_choices[moves[i].layer] = moves[i].setting;
}

static verdict bisect_front(search *s, const sinter_front_table *table, const char *from) {
    sinter_front_move *moves;
    size_t count = sinter_front_moves(table, as_they_are(s), &s->budget->arena, &moves);
    return bisect(s, count, moves_at, moves, from);
}

/* Settings that leave all weights where they are: what they lose adds up better than what removed channels lose. */
static verdict bisect_without_pruning(search *s) {
    const sinter_budget *b = s->budget;
    size_t points = b->layers.count * b->settings.count;
    sinter_front_table table = b->table;
    table.points = SINTER_NEW_ARRAY(&s->budget->arena, sinter_front_point, points);
    memcpy(table.points, b->table.points, points * sizeof *table.points);
    for (size_t i = 0; i < points; i++)
        if (strstr(b->settings.items[i % b->settings.count].words, "prune="))
            table.points[i].state = SINTER_FRONT_REFUSED;
    return bisect_front(s, &table, "front without pruning");
}

static verdict bisect_all(search *s) {
    return bisect_front(s, &s->budget->table, "front");
}

/* The next moves from the best, but for layers that have shown that they can't: many at once first, fewer where that is too much,
 * and one that is too much by itself is not tried again. */
static verdict improve(search *s) {
    sinter_budget *b = s->budget;
    bool *is_done = SINTER_NEW_ARRAY(&b->arena, bool, b->layers.count + 1);
    size_t batch = 0;
    for (;;) {
        const sinter_budget_candidate *best = sinter_budget_best(b);
        int32_t *choices = as_they_are(s);
        if (best) memcpy(choices, best->choices, b->layers.count * sizeof *choices);
        sinter_front_move *moves;
        size_t all = sinter_front_moves(&b->table, choices, &b->arena, &moves), count = 0;
        for (size_t i = 0; i < all; i++)
            if (!is_done[moves[i].layer]) moves[count++] = moves[i];
        if (!count) return VERDICT_FITS;
        if (!batch) batch = (count + 3) / 4;
        if (batch > count) batch = count;
        for (size_t i = 0; i < batch; i++) choices[moves[i].layer] = moves[i].setting;
        bool is_new = !find_candidate(b, choices);
        size_t best_before = b->best;
        verdict found = judge(s, "improvement", choices);
        if (found < VERDICT_FAILS) return found;
        if (is_new && found == VERDICT_FITS && b->best != best_before) continue;
        if (batch > 1)
            batch /= 2;
        else
            is_done[moves[0].layer] = true;
    }
}

/* What the journal has of other searches comes last, so that the same one goes the same way again; and is improved if it is better. */
static bool run_parts(search *s) {
    static verdict (*const parts[])(search *) = {bisect_uniform, bisect_without_pruning, bisect_all,
                                                 improve};
    verdict found = VERDICT_FITS;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && found > VERDICT_LATE; i++)
        found = parts[i](s);
    size_t before = s->budget->best;
    if (found == VERDICT_ERROR || recall(s) == VERDICT_ERROR) return false;
    return found == VERDICT_LATE || s->budget->best == before || improve(s) != VERDICT_ERROR;
}

/* The best as a model and its rules. */
static bool take_best(search *s) {
    sinter_budget *b = s->budget;
    const sinter_budget_candidate *best = sinter_budget_best(b);
    if (!best) return true;
    b->recipe = sinter_budget_make_recipe(b, best->choices, s->diag);
    if (b->recipe && !b->module) {
        sinter_budget_tell(s->options, "making the best of %zu candidates once more",
                           b->candidates.count);
        b->module = sinter_budget_make(&s->meter, b->recipe, s->options->calibration, s->diag);
    }
    return b->recipe && b->module;
}

bool sinter_budget_search(const sinter_budget_options *options, sinter_budget *out_budget,
                          sinter_diag *diag) {
    sinter_budget *b = out_budget;
    *b = (sinter_budget){.options = options, .best = SINTER_BUDGET_NONE};
    sinter_arena_init(&b->arena);
    if (!list_settings(b, diag) || !list_layers(b, diag)) return false;
    size_t points = b->layers.count * b->settings.count;
    b->table = (sinter_front_table){SINTER_NEW_ARRAY(&b->arena, sinter_front_point, points),
                                    b->layers.count, b->settings.count};
    b->saved = SINTER_NEW_ARRAY(&b->arena, double, points);
    search s = {.budget = b, .options = options, .diag = diag};
    if (!sinter_budget_meter_init(&s.meter, b, diag)) return false;
    bool good = sinter_budget_measure_layers(&s.meter) && run_parts(&s) && take_best(&s);
    sinter_budget_meter_deinit(&s.meter);
    return good;
}

void sinter_budget_deinit(sinter_budget *budget) {
    if (!budget->options) return;
    sinter_recipe_destroy(budget->recipe);
    sinter_module_destroy(budget->module);
    sinter_arena_deinit(&budget->arena);
    *budget = (sinter_budget){0};
}
