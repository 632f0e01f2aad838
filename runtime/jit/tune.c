/* The search for faster schedules: rounds of one trial a layer, then of one trial a kernel. Test: tests/cli/tune.test */
#include "runtime/jit/tune.h"
#include "ir/base/clock.h"
#include "ir/base/file.h"
#include "runtime/jit/profile.h"

#include <stdio.h>
#include <string.h>

/* A gain below that is noise; and kernels that take less of a run than that are not worth a trial. */
static const double least_gain = 0.02, least_share = 0.004;
enum { LEAST_RUNS = 7 };
static const double round_seconds = 0.3;

typedef struct kernel_search {
    uint64_t kernel;
    double before;             /* seconds of a run without choices */
    double ratio;              /* of the best choices to that */
    sinter_tuning_kernel best; /* its questions, with the best answers as the chosen ones */
    uint32_t question, answer; /* the next trial */
    bool is_hot, is_trying;
} kernel_search;

typedef struct layer_search {
    sinter_tuning_layer layer; /* the best answer is the chosen one */
    double ratio;              /* of its kernels' time to that without choices */
    uint32_t answer;           /* the next trial */
    bool is_hot, is_trying;
} layer_search;

typedef struct search {
    const sinter_tune_options *options;
    sinter_engine_options engine; /* with a cache, which most kernels of a round are found in */
    sinter_arena arena;
    sinter_engine *base;  /* with the layers' choices, once they are known */
    sinter_engine *plain; /* without any; may be the same */
    const sinter_tensor *inputs;
    SINTER_VECTOR(layer_search) layers;
    SINTER_VECTOR(kernel_search) kernels; /* in the order of the program */
    sinter_tune_report report;
    sinter_diag *diag;
} search;

/* ---- engines ---- */

static sinter_engine *make_engine(search *s, const sinter_tuning *tuning, sinter_tuning_log *log,
                                  sinter_diag *diag) {
    sinter_module *module = s->options->load(s->options->user, s->diag);
    if (!module) return NULL;
    sinter_engine_options options = s->engine;
    options.tuning = tuning;
    options.tuning_log = log;
    return sinter_engine_create(module, &options, diag);
}

/* A choice that leads to other questions leaves later choices without theirs, of which schedules warn: no news here. */
static void tell_errors(void *user, sinter_severity severity, const char *where,
                        const char *message) {
    if (severity == SINTER_SEVERITY_ERROR) sinter_error(user, where, "%s", message);
}

static bool run_once(search *s, sinter_engine *engine, double *out_seconds) {
    size_t count = sinter_engine_output_count(engine);
    sinter_tensor *outputs = sinter_heap_alloc((count + 1) * sizeof *outputs);
    double begin = sinter_clock_seconds();
    bool good = sinter_engine_run(engine, s->inputs, outputs, s->diag);
    *out_seconds = sinter_clock_seconds() - begin;
    sinter_tensors_deinit(outputs, count);
    sinter_heap_free(outputs);
    return good;
}

typedef struct contest {
    sinter_engine *engines[2];   /* the second may be missing */
    sinter_profile *profiles[2]; /* of the kernels */
    double medians[2];           /* of whole runs */
} contest;

/* In turns; a first run of each is not counted. */
static bool compete(search *s, contest *c, double seconds) {
    enum { MOST_RUNS = 4096 };
    double *times[2], start = sinter_clock_seconds();
    int runs = -1, count = c->engines[1] ? 2 : 1;
    bool good = true;
    for (int i = 0; i < count; i++) {
        times[i] = sinter_heap_alloc(MOST_RUNS * sizeof *times[i]);
        c->profiles[i] = sinter_profile_create(c->engines[i]);
    }
    for (; good && runs < MOST_RUNS &&
           (runs < LEAST_RUNS || sinter_clock_seconds() - start < seconds);
         runs++)
        for (int i = 0; i < count && good; i++) {
            double taken;
            sinter_profile_begin_run(c->profiles[i]);
            good = run_once(s, c->engines[i], &taken);
            if (runs < 0) continue;
            sinter_profile_end_run(c->profiles[i]);
            times[i][runs] = taken;
        }
    for (int i = 0; i < count; i++) {
        if (good) sinter_clock_sort(times[i], (size_t)runs);
        c->medians[i] = good ? times[i][runs / 2] : 0;
        sinter_heap_free(times[i]);
    }
    return good;
}

static void end_contest(contest *c) {
    for (int i = 0; i < 2; i++) sinter_profile_destroy(c->profiles[i]);
}

static double kernel_seconds(const contest *c, int which, size_t kernel) {
    size_t count;
    return sinter_profile_kernels(c->profiles[which], &count)[kernel].seconds;
}

/* Of the kernels that compute a node of such layers; a kernel has the locations of its nodes. */
static double layer_seconds(const contest *c, int which, const sinter_tuning_layer *layer) {
    size_t count;
    const sinter_profile_kernel *kernels = sinter_profile_kernels(c->profiles[which], &count);
    double seconds = 0;
    for (size_t i = 0; i < count; i++) {
        bool computes = false;
        for (size_t k = 0; k < layer->locations.count && !computes; k++)
            computes = strstr(kernels[i].kernel->nodes, layer->locations.items[k]) != NULL;
        if (computes) seconds += kernels[i].seconds;
    }
    return seconds;
}

/* ---- what to try ---- */

/* The answer, where it differs from the cost model's. */
static void add_choice(search *s, uint32_t number, const sinter_tuning_question *q,
                       sinter_tuning_choices *choices) {
    sinter_tuning_choice choice = {.number = number};
    if (!q->chosen) return;
    memcpy(choice.question, q->question, sizeof choice.question);
    memcpy(choice.answer, q->answers[q->chosen], sizeof choice.answer);
    sinter_vector_push(&s->arena, choices, choice);
}

static sinter_tuning_choices list_choices(search *s, const sinter_tuning_kernel *kernel) {
    sinter_tuning_choices choices = {0};
    for (uint32_t i = 0; i < kernel->questions.count; i++)
        add_choice(s, i, &kernel->questions.items[i], &choices);
    return choices;
}

/* Answer by answer, question by question, those left out that hold already. False: there is none left. */
static bool find_trial(kernel_search *k) {
    for (; k->question < k->best.questions.count; k->question++, k->answer = 0) {
        const sinter_tuning_question *q = &k->best.questions.items[k->question];
        if (k->answer == q->chosen) k->answer++;
        if (k->answer < q->answer_count) return true;
    }
    return false;
}

static void set_best(search *s, const kernel_search *k, sinter_tuning *tuning) {
    sinter_tuning_choices choices = list_choices(s, &k->best);
    sinter_tuning_set(tuning, k->kernel, &choices, NULL);
}

static void set_trial(search *s, kernel_search *k, sinter_tuning *tuning) {
    sinter_tuning_question *q = &k->best.questions.items[k->question];
    uint32_t chosen = q->chosen;
    q->chosen = k->answer;
    set_best(s, k, tuning);
    q->chosen = chosen;
}

/* One trial for each kernel that has one left, else what it has. False: no kernel has. */
static bool plan_round(search *s, sinter_tuning *tuning) {
    s->report.open = 0;
    for (size_t i = 0; i < s->kernels.count; i++) {
        kernel_search *k = &s->kernels.items[i];
        k->is_trying = k->is_hot && find_trial(k);
        s->report.open += k->is_trying;
        if (k->is_trying)
            set_trial(s, k, tuning);
        else
            set_best(s, k, tuning);
    }
    return s->report.open > 0;
}

static void judge_round(search *s, const contest *c, const sinter_tuning_log *log) {
    s->report.before = s->report.now = 0;
    s->report.changed = 0;
    for (size_t i = 0; i < s->kernels.count; i++) {
        kernel_search *k = &s->kernels.items[i];
        double base = kernel_seconds(c, 0, i), trial = kernel_seconds(c, 1, i);
        if (k->is_trying && base > 0 && trial / base < k->ratio * (1 - least_gain)) {
            k->ratio = trial / base;
            k->best = log->kernels.items[i];
        }
        if (k->is_trying) k->answer++;
        if (base < k->before) k->before = base;
        s->report.before += k->before;
        s->report.now += k->before * k->ratio;
        s->report.changed += k->ratio < 1;
    }
    s->report.rounds++;
}

/* ---- layers ---- */

static void set_layer(search *s, layer_search *l, uint32_t answer, sinter_tuning *tuning,
                      const char *comment) {
    sinter_tuning_choices choices = {0};
    uint32_t chosen = l->layer.question.chosen;
    l->layer.question.chosen = answer;
    add_choice(s, 0, &l->layer.question, &choices);
    l->layer.question.chosen = chosen;
    sinter_tuning_set_layer(tuning, l->layer.layer, &choices, comment);
}

static bool plan_layers(search *s, sinter_tuning *tuning) {
    bool open = false;
    for (size_t i = 0; i < s->layers.count; i++) {
        layer_search *l = &s->layers.items[i];
        if (l->answer == l->layer.question.chosen) l->answer++;
        l->is_trying = l->is_hot && l->answer < l->layer.question.answer_count;
        open |= l->is_trying;
        set_layer(s, l, l->is_trying ? l->answer : l->layer.question.chosen, tuning, NULL);
    }
    return open;
}

static void judge_layers(search *s, const contest *c) {
    for (size_t i = 0; i < s->layers.count; i++) {
        layer_search *l = &s->layers.items[i];
        double base = layer_seconds(c, 0, &l->layer), trial = layer_seconds(c, 1, &l->layer);
        if (!l->is_trying) continue;
        if (base > 0 && trial > 0 && trial / base < l->ratio * (1 - least_gain)) {
            l->ratio = trial / base;
            l->layer.question.chosen = l->answer;
        }
        l->answer++;
    }
    s->report.rounds++;
}

/* All together against the start: what does not hold is dropped. */
static void confirm_layers(search *s, const contest *c, sinter_tuning *tuning) {
    s->report.layers_changed = 0;
    for (size_t i = 0; i < s->layers.count; i++) {
        layer_search *l = &s->layers.items[i];
        double base = layer_seconds(c, 0, &l->layer), tuned = layer_seconds(c, 1, &l->layer);
        char comment[160];
        bool holds = l->layer.question.chosen && tuned < base * (1 - least_gain / 2);
        snprintf(comment, sizeof comment, "%.6f ms, was %.6f: %s", 1e3 * tuned, 1e3 * base,
                 l->layer.locations.items[0]);
        set_layer(s, l, holds ? l->layer.question.chosen : 0, tuning, comment);
        s->report.layers_changed += holds;
    }
}

typedef void (*layer_judge)(search *s, const contest *c, sinter_tuning *tuning);

static void judge_round_of_layers(search *s, const contest *c, sinter_tuning *tuning) {
    (void)tuning;
    judge_layers(s, c);
}

/* One engine with these choices against the base. */
static bool compare_layers(search *s, sinter_tuning *tuning, double seconds, layer_judge judge) {
    sinter_diag errors = {.handler = tell_errors, .user = s->diag};
    contest c = {.engines = {s->base, make_engine(s, tuning, NULL, &errors)}};
    if (!c.engines[1]) return false;
    bool good = compete(s, &c, seconds);
    if (good) judge(s, &c, tuning);
    end_contest(&c);
    sinter_engine_destroy(c.engines[1]);
    return good;
}

/* Layers with a share of the run that is worth a trial, by the start's times. */
static void begin_layers(search *s, const sinter_tuning_log *log, const contest *c, double total) {
    for (size_t i = 0; i < log->layers.count; i++) {
        const sinter_tuning_layer *layer = &log->layers.items[i];
        bool is_hot =
            layer->locations.count > 0 && layer_seconds(c, 0, layer) > least_share * total;
        if (layer->locations.count)
            sinter_vector_push(&s->arena, &s->layers,
                               (layer_search){.layer = *layer, .ratio = 1, .is_hot = is_hot});
    }
    s->report.layers = (uint32_t)s->layers.count;
}

/* The layers' choices go into the tuning; they get half of the time at most. */
static bool tune_layers(search *s, double start, sinter_tuning *tuning) {
    bool good = true, any = false;
    while (good && plan_layers(s, tuning) &&
           sinter_clock_seconds() - start < s->options->seconds / 2) {
        good = compare_layers(s, tuning, round_seconds, judge_round_of_layers);
        if (good && s->options->on_round) s->options->on_round(s->options->user, &s->report);
    }
    for (size_t i = 0; i < s->layers.count; i++) {
        layer_search *l = &s->layers.items[i];
        any |= l->layer.question.chosen > 0;
        set_layer(s, l, l->layer.question.chosen, tuning, NULL);
    }
    return good && (!any || compare_layers(s, tuning, 4 * round_seconds, confirm_layers));
}

/* ---- the search ---- */

/* The engine that kernels are compared with, their times, and the layers', where there is no tuning of them yet. */
static bool begin(search *s, const sinter_tuning *tuning) {
    sinter_tuning_log log = {.arena = &s->arena};
    s->base = make_engine(s, tuning, &log, s->diag);
    if (!s->base) return false;
    if (!s->inputs) s->inputs = s->options->make_inputs(s->options->user, s->base, s->diag);
    if (!s->inputs) return false;
    contest c = {.engines = {s->base}};
    bool good = compete(s, &c, round_seconds);
    double total = 0;
    s->kernels.count = 0;
    for (size_t i = 0; good && i < log.kernels.count; i++) total += kernel_seconds(&c, 0, i);
    for (size_t i = 0; good && i < log.kernels.count; i++) {
        double seconds = kernel_seconds(&c, 0, i);
        sinter_vector_push(&s->arena, &s->kernels,
                           (kernel_search){.kernel = log.kernels.items[i].kernel,
                                           .before = seconds,
                                           .ratio = 1,
                                           .best = log.kernels.items[i],
                                           .is_hot = seconds > least_share * total});
    }
    if (good && !tuning) begin_layers(s, &log, &c, total);
    end_contest(&c);
    s->report.kernels = (uint32_t)log.kernels.count;
    s->report.before = s->report.now = total;
    return good;
}

static bool run_round(search *s, const sinter_tuning *trials) {
    sinter_diag errors = {.handler = tell_errors, .user = s->diag};
    sinter_tuning_log log = {.arena = &s->arena};
    contest c = {.engines = {s->base, make_engine(s, trials, &log, &errors)}};
    if (!c.engines[1]) return false;
    bool good = compete(s, &c, round_seconds);
    if (good) judge_round(s, &c, &log);
    end_contest(&c);
    sinter_engine_destroy(c.engines[1]);
    return good;
}

/* Against the start once more: what does not hold is dropped. */
static bool confirm_kernels(search *s, sinter_tuning *tuning) {
    sinter_tuning_log log = {.arena = &s->arena};
    const sinter_tuning_choices none = {0};
    contest c = {.engines = {s->base, make_engine(s, tuning, &log, s->diag)}};
    if (!c.engines[1]) return false;
    bool good = compete(s, &c, 4 * round_seconds);
    s->report.changed = 0;
    for (size_t i = 0; good && i < s->kernels.count; i++) {
        kernel_search *k = &s->kernels.items[i];
        double base = kernel_seconds(&c, 0, i), tuned = kernel_seconds(&c, 1, i);
        sinter_tuning_choices choices = list_choices(s, &k->best);
        bool holds = choices.count && tuned < base * (1 - least_gain / 2);
        char comment[96];
        snprintf(comment, sizeof comment, "%.6f ms, was %.6f: %s", 1e3 * tuned, 1e3 * base,
                 sinter_engine_artifact(s->base)->kernels[i].name);
        sinter_tuning_set(tuning, k->kernel, holds ? &choices : &none, comment);
        s->report.changed += holds;
    }
    end_contest(&c);
    sinter_engine_destroy(c.engines[1]);
    return good;
}

/* Kernels that are faster each may make a run that is slower: what they leave in the caches counts too. */
static void drop_all(search *s, sinter_tuning *tuning) {
    const sinter_tuning_choices none = {0};
    for (size_t i = 0; i < s->layers.count; i++)
        sinter_tuning_set_layer(tuning, s->layers.items[i].layer.layer, &none, NULL);
    for (size_t i = 0; i < s->kernels.count; i++)
        sinter_tuning_set(tuning, s->kernels.items[i].kernel, &none, NULL);
    s->report.changed = s->report.layers_changed = 0;
}

/* Whole runs with what the file will say, against those without a file. */
static bool confirm_run(search *s, sinter_tuning *tuning) {
    const bool any = s->report.changed || s->report.layers_changed;
    contest c = {.engines = {s->plain, any ? make_engine(s, tuning, NULL, s->diag) : NULL}};
    if (any && !c.engines[1]) return false;
    bool good = compete(s, &c, 4 * round_seconds);
    s->report.before = s->report.now = c.medians[0];
    if (good && any && c.medians[1] < c.medians[0] * (1 - least_gain / 2))
        s->report.now = c.medians[1];
    else if (good)
        drop_all(s, tuning);
    end_contest(&c);
    sinter_engine_destroy(c.engines[1]);
    return good;
}

static void copy_choices(const sinter_tuning *from, const sinter_tuning_layer *layer,
                         sinter_tuning *to) {
    const sinter_tuning_choices none = {0}, *choices = sinter_tuning_find(from, layer->layer);
    sinter_tuning_set_layer(to, layer->layer, choices ? choices : &none, NULL);
}

static bool run_search(search *s, sinter_tuning *tuning) {
    double start = sinter_clock_seconds();
    sinter_tuning *trials = sinter_tuning_create(sinter_tuning_target(tuning));
    bool good = begin(s, NULL) && tune_layers(s, start, tuning);
    s->plain = s->base;
    if (good && s->report.layers_changed) {
        s->base = NULL;
        good = begin(s, tuning);
    }
    for (size_t i = 0; good && i < s->layers.count; i++)
        copy_choices(tuning, &s->layers.items[i].layer, trials);
    while (good && plan_round(s, trials) && sinter_clock_seconds() - start < s->options->seconds) {
        good = run_round(s, trials);
        if (good && s->options->on_round) s->options->on_round(s->options->user, &s->report);
    }
    sinter_tuning_destroy(trials);
    for (size_t i = 0; good && i < s->kernels.count; i++) set_best(s, &s->kernels.items[i], tuning);
    return good && confirm_kernels(s, tuning) && confirm_run(s, tuning);
}

bool sinter_tune(const sinter_tune_options *options, sinter_tuning *tuning,
                 sinter_tune_report *out_report, sinter_diag *diag) {
    search s = {.options = options, .engine = *options->engine, .diag = diag};
    char folder[SINTER_FILE_FOLDER_BYTES];
    bool own = !s.engine.cache;
    if (own && !sinter_file_make_folder(folder, diag)) return false;
    if (own) s.engine.cache = folder;
    sinter_arena_init(&s.arena);
    bool good = run_search(&s, tuning);
    if (s.plain != s.base) sinter_engine_destroy(s.plain);
    sinter_engine_destroy(s.base);
    sinter_arena_deinit(&s.arena);
    if (own) sinter_file_remove_folder(folder);
    *out_report = s.report;
    return good;
}
