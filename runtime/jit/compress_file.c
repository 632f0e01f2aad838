/* From file to file: samples are read and split, the model is compressed by rules or by a search, written, and measured.
 * Test: tests/cli/compress.test, tests/cli/compress_budget.test, tests/unit/sinter_test.c */
#include "runtime/jit/compress_file.h"
#include "codegen/kernel_cache.h"
#include "frontends/import.h"
#include "ir/base/clock.h"
#include "ir/base/file.h"
#include "ir/base/map.h"
#include "ir/parse.h"
#include "runtime/jit/budget_report.h"
#include "runtime/jit/compress.h"
#include "runtime/jit/sample_folder.h"
#include <math.h>
#include <string.h>

static const double final_seconds = 0.4, search_seconds = 600;

typedef struct job {
    const char *path, *out_path;
    const sinter_compress_options *options;
    sinter_engine_options engine; /* with a cache */
    const char *const *dims;
    char folder[SINTER_FILE_FOLDER_BYTES]; /* of the cache, where it is ours for a time */
    sinter_text kernels;                   /* or lies in the folder of the search */
    sinter_recipe *recipe;
    sinter_module *module;
    sinter_samples *samples, *calibration,
        *scoring; /* NULL without samples; what to calibrate with and what to score on */
    size_t first_scored;
    const char *metric_name;
    sinter_metric_info metric;
    sinter_tensor labels;
    size_t output;
    sinter_judge judge; /* has an original where it is open */
    sinter_budget_options asked;
    sinter_budget budget; /* points to what was asked */
    sinter_compress_result *result;
    double began, began_of_processors; /* clocks when the work began */
    sinter_diag *diag;
} job;

/* ---- what is asked ---- */

static bool check_paths(const job *j) {
    if (!sinter_string_ends_with(j->out_path, ".onnx") &&
        !sinter_string_ends_with(j->out_path, ".sir"))
        return sinter_error(j->diag, j->out_path, "expected a name that ends in .onnx or .sir");
    if (!sinter_engine_is_artifact(j->path)) return true;
    return sinter_error(j->diag, j->path, "is compiled already; this needs the model");
}

static bool read_rules(job *j) {
    const char *rules = j->options->rules;
    j->recipe = sinter_recipe_create();
    return (!rules || sinter_recipe_parse(j->recipe, "rules", rules, strlen(rules), j->diag)) &&
           (!j->options->recipe || sinter_recipe_read_file(j->recipe, j->options->recipe, j->diag));
}

bool sinter_compress_find_metric(const sinter_compress_options *options, const char **out_name,
                                 sinter_metric_info *out_metric, sinter_diag *diag) {
    const char *name = options->metric, *labels = options->labels;
    double loss;
    if (!name) name = labels ? "top1" : "mse";
    *out_name = name;
    if (!sinter_metric_parse(name, out_metric))
        return sinter_error(diag, "metric", "'%s': expected %s", name, sinter_metric_names);
    bool needs = sinter_metric_needs_labels(out_metric);
    if (needs && !labels) return sinter_error(diag, "metric", "%s needs labels", name);
    if (!needs && labels) return sinter_error(diag, "metric", "labels do nothing with %s", name);
    if (!options->max_drop || sinter_metric_parse_drop(out_metric, options->max_drop, 1, &loss))
        return true;
    return sinter_error(diag, "max_drop",
                        "'%s': expected how much of %s may be lost: a number in its unit%s",
                        options->max_drop, name,
                        out_metric->kind == SINTER_METRIC_SQUARED_ERROR ? "" : ", or a share, 1%");
}

static bool read_metric(job *j) {
    const char *labels = j->options->labels;
    return sinter_compress_find_metric(j->options, &j->metric_name, &j->metric, j->diag) &&
           (!labels || sinter_tensor_read_file(labels, NULL, NULL, &j->labels, j->diag));
}

static bool check_budget(const job *j) {
    const sinter_compress_options *o = j->options;
    if (o->max_drop && (!o->samples || !*o->samples))
        return sinter_error(j->diag, "max_drop", "a budget needs samples to score on");
    if (o->goal && strcmp(o->goal, "size") != 0 && strcmp(o->goal, "latency") != 0)
        return sinter_error(j->diag, "goal", "'%s': expected size or latency", o->goal);
    return true;
}

/* ---- samples ---- */

static const char *sample_file(const job *j, const char *name) {
    const char *found = NULL;
    for (const char *const *s = j->options->samples; s && *s; s++)
        if (!strncmp(*s, name, strlen(name)) && (*s)[strlen(name)] == '=')
            found = *s + strlen(name) + 1;
    return found;
}

/* Samples of no input are a mistake. */
static bool check_names(const job *j) {
    for (const char *const *s = j->options->samples; s && *s; s++) {
        size_t size = strcspn(*s, "=");
        bool found = false;
        if (!(*s)[size]) return sinter_error(j->diag, "samples", "'%s': expected NAME=FILE", *s);
        for (uint32_t k = 0; k < sinter_module_input_count(j->module) && !found; k++) {
            const char *name = sinter_module_input_name(j->module, k);
            found = strlen(name) == size && !strncmp(name, *s, size);
        }
        if (!found) return sinter_error(j->diag, j->path, "has no input '%.*s'", (int)size, *s);
    }
    return true;
}

static bool read_input(const job *j, uint32_t index, sinter_tensor *out) {
    const char *name = sinter_module_input_name(j->module, index), *path = sample_file(j, name);
    if (!path)
        return sinter_error(j->diag, j->path, "no samples of input '%s': %s=FILE", name, name);
    if (sinter_sample_folder_is(path)) return sinter_sample_folder_read(path, index, out, j->diag);
    return sinter_tensor_read_named(path, name, NULL, NULL, out, j->diag);
}

static bool read_samples(job *j) {
    if (!check_names(j)) return false;
    if (!j->options->samples || !*j->options->samples) return true;
    uint32_t count = sinter_module_input_count(j->module);
    sinter_tensor *list = sinter_heap_alloc((count + 1) * sizeof *list);
    bool good = true;
    for (uint32_t i = 0; i < count && good; i++) good = read_input(j, i, &list[i]);
    if (good)
        j->samples =
            sinter_samples_create(j->module, list, sinter_compress_batch(j->module), j->diag);
    for (uint32_t i = 0; i < count; i++)
        if (list[i].kind) sinter_tensor_deinit(&list[i]);
    sinter_heap_free(list);
    return good && j->samples;
}

static bool set_mask(job *j) {
    const char *name = j->options->mask;
    if (!name || !j->samples) return true;
    for (uint32_t i = 0; i < sinter_module_input_count(j->module); i++) {
        if (strcmp(name, sinter_module_input_name(j->module, i)) != 0) continue;
        sinter_samples_set_mask(j->samples, i);
        return true;
    }
    return sinter_error(j->diag, j->path, "has no input '%s'", name);
}

static bool split_samples(job *j) {
    if (!j->samples) return true;
    size_t count = sinter_samples_count(j->samples), step = sinter_samples_step(j->samples);
    size_t first = (size_t)j->options->calibrate;
    if (!first) first = count / 10 / step * step;
    if (!first) first = step;
    if (first > count)
        return sinter_error(j->diag, "calibrate", "%zu samples of %zu", first, count);
    if (first % step)
        return sinter_error(j->diag, "calibrate",
                            "the model takes %zu samples at once, %zu is no multiple of that", step,
                            first);
    j->calibration = sinter_samples_slice(j->samples, 0, first);
    if (first == count) {
        sinter_note(j->diag, "", "the samples that calibrate are scored, too: there are no others");
        first = 0;
    }
    j->first_scored = first;
    j->scoring = sinter_samples_slice(j->samples, first, count - first);
    j->result->calibrated_with = sinter_samples_count(j->calibration);
    j->result->scored_on = sinter_samples_count(j->scoring);
    return true;
}

static bool find_output(job *j) {
    const char *name = j->options->output;
    if (!name) return true;
    for (; j->output < sinter_module_output_count(j->module); j->output++)
        if (!strcmp(name, sinter_module_output_name(j->module, (uint32_t)j->output))) return true;
    return sinter_error(j->diag, j->path, "has no output '%s'", name);
}

/* ---- progress ---- */

static void tell(void *user, const char *line) {
    const job *j = user;
    if (j->options->progress) j->options->progress(j->options->user, line);
}

static void tell_step(void *user, const char *step, size_t done, size_t total) {
    char line[120];
    snprintf(line, sizeof line, "%s: %zu of %zu", step, done, total);
    tell(user, line);
}

/* ---- files ---- */

static bool open_cache(job *j) {
    const char *work = j->options->max_drop ? j->options->work : NULL;
    if (work && !sinter_file_ensure_folder(work, j->diag)) return false;
    if (j->engine.cache) return true;
    if (work) {
        sinter_text_format(&j->kernels, "%s/kernels", work);
        j->engine.cache = j->kernels.data;
        return true;
    }
    if (!sinter_file_make_folder(j->folder, j->diag)) return false;
    j->engine.cache = j->folder;
    return true;
}

static bool write_text(const sinter_text *text, const char *path, sinter_diag *diag) {
    return sinter_file_write(path, text->data ? text->data : "", text->size, diag);
}

static bool write_model(const job *j) {
    if (sinter_string_ends_with(j->out_path, ".onnx"))
        return sinter_export_onnx(j->module, j->out_path, j->diag);
    sinter_text text = {0};
    sinter_print_module(j->module, NULL, &text);
    bool good = write_text(&text, j->out_path, j->diag);
    sinter_text_deinit(&text);
    return good;
}

static bool write_recipe(const job *j) {
    if (!j->options->write_recipe) return true;
    sinter_text text = {0};
    sinter_recipe_print(j->recipe, &text);
    bool good = write_text(&text, j->options->write_recipe, j->diag);
    sinter_text_deinit(&text);
    return good;
}

static sinter_judged judged_of(const sinter_compress_side *side) {
    return (sinter_judged){side->bytes, side->seconds, side->score};
}

static bool write_report(const job *j) {
    if (!j->options->report || !j->options->max_drop) return true;
    sinter_text text = {0};
    const sinter_judged original = judged_of(&j->result->original);
    const sinter_judged compressed = judged_of(&j->result->compressed);
    const sinter_budget_report report = {.path = j->path,
                                         .out_path = j->out_path,
                                         .metric = j->metric_name,
                                         .max_drop = j->options->max_drop,
                                         .command = j->options->command,
                                         .original = &original,
                                         .compressed = &compressed,
                                         .scored = (size_t)j->result->scored_on,
                                         .calibrated = (size_t)j->result->calibrated_with};
    sinter_budget_print_report(&j->budget, &report, &text);
    bool good = write_text(&text, j->options->report, j->diag);
    sinter_text_deinit(&text);
    return good;
}

/* The file that is read and is the one to write; NULL: none. */
static const char *find_read(const job *j, const char *written) {
    const char *const paths[] = {j->path, j->options->recipe, j->options->labels};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i] && sinter_file_is_same(written, paths[i])) return paths[i];
    for (const char *const *sample = j->options->samples; sample && *sample; sample++) {
        const char *equals = strchr(*sample, '=');
        if (equals && sinter_file_is_same(written, equals + 1)) return equals + 1;
    }
    return NULL;
}

/* Places that can't be written to, or are what is read, or each other, are said before the work. */
static bool check_places(const job *j) {
    const char *const paths[] = {j->out_path, j->options->write_recipe, j->options->report};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        sinter_file_writer writer;
        if (!paths[i]) continue;
        const char *read = find_read(j, paths[i]);
        if (read) return sinter_error(j->diag, paths[i], "would overwrite what is read: %s", read);
        for (size_t k = 0; k < i; k++)
            if (paths[k] && sinter_file_is_one_place(paths[i], paths[k]))
                return sinter_error(j->diag, paths[i], "two that are written are this file");
        if (!sinter_file_writer_open(&writer, paths[i], false, j->diag)) return false;
        sinter_file_writer_close(&writer, false, j->diag);
    }
    return true;
}

/* ---- measures ---- */

static bool open_judge(job *j) {
    const sinter_judge_data data = {.engine = &j->engine,
                                    .dims = j->dims,
                                    .samples = j->scoring,
                                    .first_sample = j->first_scored,
                                    .metric = j->metric,
                                    .labels = j->labels.kind ? &j->labels : NULL,
                                    .output = j->output};
    if (j->judge.original) return true;
    tell(j, "measuring the original");
    return sinter_judge_open(&j->judge, &data, j->path, j->diag);
}

static sinter_compress_side side_of(const sinter_judged *judged) {
    return (sinter_compress_side){judged->bytes, judged->seconds, judged->score};
}

static bool measure(job *j) {
    sinter_judged original, compressed;
    j->result->seconds = sinter_clock_seconds() - j->began;
    j->result->processor_seconds = sinter_clock_processor_seconds() - j->began_of_processors;
    if (!open_judge(j)) return false;
    tell(j, "measuring what was written");
    if (!sinter_judge_measure(&j->judge, j->out_path, final_seconds, &original, &compressed,
                              j->diag))
        return false;
    j->result->original = side_of(&original);
    j->result->compressed = side_of(&compressed);
    j->result->lost = sinter_metric_loss(&j->metric, original.score, compressed.score);
    return true;
}

/* ---- the search ---- */

static uint64_t hash_tensor(const sinter_tensor *tensor, uint64_t hash) {
    hash = sinter_hash(tensor->dims, tensor->rank * sizeof *tensor->dims, hash);
    hash = sinter_hash(&tensor->dtype, sizeof tensor->dtype, hash);
    return tensor->dtype == SINTER_DTYPE_string
               ? hash
               : sinter_hash(tensor->data, sinter_tensor_bytes(tensor), hash);
}

static uint64_t hash_samples(const sinter_samples *samples, uint64_t hash) {
    size_t inputs = sinter_samples_input_count(samples);
    sinter_tensor *list = sinter_heap_alloc((inputs + 1) * sizeof *list);
    for (size_t run = 0; run < sinter_samples_run_count(samples); run++) {
        sinter_samples_run_inputs(samples, run, list);
        for (size_t i = 0; i < inputs; i++) {
            hash = hash_tensor(&list[i], hash);
            sinter_tensor_deinit(&list[i]);
        }
        if (!sinter_samples_run_mask(samples, run, list)) continue;
        hash = hash_tensor(list, hash);
        sinter_tensor_deinit(list);
    }
    sinter_heap_free(list);
    return hash;
}

/* The file, and weights that lie in others. */
static bool hash_model(const job *j, uint64_t *hash) {
    sinter_text text = {0};
    bool good = sinter_file_read(j->path, &text, j->diag);
    *hash = sinter_hash(text.data, text.size, *hash);
    sinter_text_deinit(&text);
    SINTER_FOR_NODES (j->module, sinter_module_main(j->module), node) {
        const sinter_node_info *info = sinter_node_get(j->module, node);
        const sinter_tensor *constant =
            info->result_count ? sinter_value_constant(j->module, info->results[0]) : NULL;
        if (constant && constant->kind == SINTER_TYPE_TENSOR) *hash = hash_tensor(constant, *hash);
    }
    return good;
}

/* All that measurements depend on: not the budget, so that another one begins with what is known. */
static bool make_key(const job *j, uint64_t *out_key) {
    sinter_text text = {0};
    sinter_arena arena;
    sinter_kernel_cache cache;
    sinter_arena_init(&arena);
    bool good = sinter_kernel_cache_open(&cache, j->engine.cache, &arena, j->diag);
    if (good)
        sinter_text_format(&text, "%s\n%s\n%s\n%zu %d %zu\n", cache.identity,
                           j->engine.target ? j->engine.target : "cpu", j->metric_name, j->output,
                           j->engine.thread_count, j->first_scored);
    for (const char *const *dim = j->dims; dim && *dim; dim++)
        sinter_text_format(&text, "%s\n", *dim);
    sinter_recipe_print(j->recipe, &text);
    *out_key = sinter_hash(text.data, text.size, 0);
    *out_key = hash_samples(j->calibration, *out_key);
    *out_key = hash_samples(j->scoring, *out_key);
    if (j->labels.kind) *out_key = hash_tensor(&j->labels, *out_key);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&arena);
    return good && hash_model(j, out_key);
}

static bool fail_over_budget(const job *j, double allowed) {
    double least = INFINITY;
    for (size_t i = 0; i < j->budget.candidates.count; i++)
        if (j->budget.candidates.items[i].lost < least) least = j->budget.candidates.items[i].lost;
    j->result->over_budget = 1;
    j->result->lost = least;
    if (!j->budget.candidates.count)
        return sinter_error(j->diag, j->path, "no candidate could be made");
    return sinter_error(j->diag, j->path,
                        "none of %zu candidates loses at most %.6g of %s: the least was %.6g%s",
                        j->budget.candidates.count, allowed, j->metric_name, least,
                        j->budget.out_of_time ? " when time was up" : "");
}

static bool search(job *j, sinter_journal *journal) {
    double allowed = 0, score = j->judge.of_original.score;
    const sinter_compress_options *o = j->options;
    sinter_metric_parse_drop(&j->metric, o->max_drop, score, &allowed);
    j->asked = (sinter_budget_options){.module = j->module,
                                       .rules = j->recipe,
                                       .calibration = j->calibration,
                                       .judge = &j->judge,
                                       .engine = &j->engine,
                                       .allowed = allowed,
                                       .by_latency = o->goal && !strcmp(o->goal, "latency"),
                                       .settings = o->settings,
                                       .seconds = o->seconds > 0 ? o->seconds : search_seconds,
                                       .journal = journal,
                                       .progress = tell,
                                       .user = j};
    if (!sinter_budget_search(&j->asked, &j->budget, j->diag)) return false;
    j->result->candidates = j->budget.candidates.count;
    if (!sinter_budget_best(&j->budget)) return fail_over_budget(j, allowed);
    sinter_recipe_destroy(j->recipe);
    sinter_module_destroy(j->module);
    j->recipe = j->budget.recipe;
    j->module = j->budget.module;
    return write_model(j) && write_recipe(j) && measure(j) && write_report(j);
}

static bool compress_by_budget(job *j) {
    uint64_t key = 0;
    bool keeps = j->options->work != NULL;
    if (!open_judge(j) || (keeps && !make_key(j, &key))) return false;
    sinter_journal *journal =
        keeps ? sinter_journal_open(j->options->work, key, j->diag) : sinter_journal_create(key);
    bool good = journal && search(j, journal);
    if (j->budget.recipe == j->recipe) j->recipe = NULL; /* the budget's own */
    if (j->budget.module == j->module) j->module = NULL;
    sinter_budget_deinit(&j->budget);
    sinter_journal_destroy(journal);
    return good;
}

static bool compress_by_rules(job *j) {
    const sinter_compress_plan plan = {.recipe = j->recipe,
                                       .kept = j->recipe,
                                       .samples = j->calibration,
                                       .engine = &j->engine,
                                       .progress = tell_step,
                                       .progress_user = j};
    return sinter_compress_module(j->module, &plan, j->diag) && write_model(j) && write_recipe(j) &&
           measure(j);
}

static bool run(job *j) {
    if (!check_paths(j) || !read_rules(j) || !read_metric(j) || !check_budget(j)) return false;
    if (!check_places(j) || !open_cache(j) || !sinter_engine_check(&j->engine, j->diag))
        return false;
    tell(j, "preparing");
    j->module = sinter_import_file_bound(j->path, j->dims, j->diag);
    if (!j->module || !read_samples(j) || !set_mask(j) || !split_samples(j) || !find_output(j))
        return false;
    return j->options->max_drop ? compress_by_budget(j) : compress_by_rules(j);
}

bool sinter_compress_file(const char *path, const char *out_path,
                          const sinter_compress_options *options,
                          const sinter_engine_options *engine, const char *const *dims,
                          sinter_compress_result *out_result, sinter_diag *diag) {
    job j = {.path = path,
             .out_path = out_path,
             .options = options,
             .engine = *engine,
             .dims = dims,
             .result = out_result,
             .began = sinter_clock_seconds(),
             .began_of_processors = sinter_clock_processor_seconds(),
             .diag = diag};
    *out_result = (sinter_compress_result){0};
    bool good = run(&j);
    sinter_judge_close(&j.judge);
    sinter_module_destroy(j.module);
    sinter_samples_destroy(j.samples);
    sinter_samples_destroy(j.calibration);
    sinter_samples_destroy(j.scoring);
    sinter_recipe_destroy(j.recipe);
    if (j.labels.kind) sinter_tensor_deinit(&j.labels);
    sinter_text_deinit(&j.kernels);
    if (j.folder[0]) sinter_file_remove_folder(j.folder);
    return good;
}
