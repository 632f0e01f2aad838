/* sinter compress: a model in, a smaller one out, with what that cost and gained: size, latency and a metric before and after, by
 * the file that was written. Progress shows on a terminal only. Test: tests/cli/compress.test */
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/parse.h"
#include "runtime/jit/compress.h"
#include "runtime/jit/score.h"
#include "tools/sinter/command.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const double latency_seconds = 0.4;

typedef struct job {
    const arguments *a;
    const char *model, *out;
    sinter_engine_options options;
    sinter_recipe *recipe;
    sinter_samples *samples, *calibration,
        *scoring; /* NULL without -i; what to calibrate with and what to score on */
    size_t first_scored;
    const char *metric_name;
    sinter_metric_info metric;
    sinter_tensor labels;
    size_t output; /* that is scored */
    sinter_diag *diag;
} job;

/* What is measured of one of the two models. */
typedef struct side {
    sinter_engine *engine;
    sinter_answers answers;
    double bytes, seconds, score;
    bound_run run;
} side;

static const option_spec own_options[] = {
    {.name = "o", .value = "FILE", .doc = "the model to write: .onnx or .sir"},
    {.name = "quantize",
     .value = "GRID",
     .doc = "what weights are rounded to: int8 (activations to u8, too) to int2, uint8 to uint2, "
            "ternary, binary, power_of_two, f16, bf16, f8e4m3fn or f8e5m2"},
    {.name = "per",
     .value = "WHAT",
     .doc = "weights that share a scale: channel, tensor or group:N (channel)"},
    {.name = "rounding",
     .value = "HOW",
     .doc = "nearest or compensated (compensated where there are samples)"},
    {.name = "prune",
     .value = "PATTERN",
     .doc = "weights that become zero: 0.5, 2:4 or block4x4:0.7; or channels that go: "
            "channels:0.3 (of each layer), macs:0.3 (of all multiply-adds)"},
    {.name = "clip", .value = "QUANTILE", .doc = "weights beyond it are cut to it (1: none)"},
    {.name = "activations",
     .value = "TYPE",
     .doc = "what layers read is rounded to: none, u8, i8, u16, i16 or dynamic"},
    {.name = "observe",
     .value = "HOW",
     .doc = "how their ranges are chosen: min_max, percentile:P, mse or entropy (mse)"},
    {.name = "recipe",
     .value = "FILE",
     .doc = "rules for single layers, after those of the options; see docs/compress.md"},
    {.name = "write-recipe", .value = "FILE", .doc = "write the rules that were followed"},
    {.name = "i",
     .value = "NAME=FILE",
     .doc = "samples of an input, stacked along the first axis: .npy, .npz, .pb; FILE.npz alone "
            "has all",
     .takes_archive = true},
    {.name = "calibrate",
     .value = "N",
     .doc = "calibrate with the first N samples, score on the others (a tenth)",
     .with = "i"},
    {.name = "labels",
     .value = "FILE",
     .doc = "the right answer for each sample, as integers",
     .with = "i"},
    {.name = "metric",
     .value = "NAME",
     .doc = "top1, top5, ... (with --labels), agreement with the original, cosine or mse (from it)",
     .with = "i"},
    {.name = "output",
     .value = "NAME",
     .doc = "the output that is scored (the first)",
     .with = "i"},
};

/* ---- what is asked ---- */

static bool set_word(job *j, const char *flag, const char *key, const char *value) {
    char where[80];
    snprintf(where, sizeof where, "--%s=%s", flag, arguments_find(j->a, flag));
    return sinter_recipe_set(j->recipe, NULL, key, value, where, j->diag);
}

static bool read_recipe(job *j) {
    static const char *const words[][2] = {{"quantize", "weights"},  {"per", "per"},
                                           {"rounding", "rounding"}, {"prune", "prune"},
                                           {"clip", "clip"},         {"activations", "activations"},
                                           {"observe", "observe"}};
    j->recipe = sinter_recipe_create();
    bool any = arguments_has(j->a, "recipe");
    if (!arguments_has(j->a, "rounding") &&
        !arguments_has(j->a, "i")) /* nothing to compensate with */
        sinter_recipe_set(j->recipe, NULL, "rounding", "nearest", "", j->diag);
    if (arguments_has(j->a, "prune") && !arguments_has(j->a, "i")) /* nor to see what matters */
        sinter_recipe_set(j->recipe, NULL, "score", "magnitude", "", j->diag);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *value = arguments_find(j->a, words[i][0]);
        if (!value) continue;
        any = true;
        if (!set_word(j, words[i][0], words[i][1], value)) return false;
        bool both = !strcmp(words[i][0], "quantize") && !strcmp(value, "int8") &&
                    !arguments_has(j->a, "activations");
        if (both && !set_word(j, "quantize", "activations", "u8")) return false;
    }
    const char *path = arguments_find(j->a, "recipe");
    if (path && !sinter_recipe_read_file(j->recipe, path, j->diag)) return false;
    return any ||
           usage_error("compress", "expected what to do: --quantize, --prune, --recipe, ...");
}

static bool read_metric(job *j) {
    const char *name = arguments_find(j->a, "metric");
    const char *labels = arguments_find(j->a, "labels");
    if (!name) name = labels ? "top1" : "mse";
    j->metric_name = name;
    if (!sinter_metric_parse(name, &j->metric))
        return usage_error("compress",
                           "--metric=%s: expected top1, top5, ..., agreement, cosine "
                           "or mse",
                           name);
    bool needs = sinter_metric_needs_labels(&j->metric);
    if (needs && !labels) return usage_error("compress", "--metric=%s needs --labels", name);
    if (!needs && labels)
        return usage_error("compress", "--labels does nothing with --metric=%s", name);
    return !labels || sinter_tensor_read_file(labels, NULL, NULL, &j->labels, j->diag);
}

static bool check_out(const job *j) {
    if (!j->out) return usage_error("compress", "expected -o FILE, the model to write");
    if (sinter_string_ends_with(j->out, ".onnx") || sinter_string_ends_with(j->out, ".sir"))
        return true;
    return usage_error("compress", "-o %s: expected a name that ends in .onnx or .sir", j->out);
}

/* ---- samples ---- */

static const char *sample_file(const arguments *a, const char *name) {
    for (size_t i = a->option_count; i-- > 0;) {
        const char *value = a->options[i].value;
        size_t size = strlen(name);
        if (!strcmp(a->options[i].name, "i") && !strncmp(value, name, size) && value[size] == '=')
            return value + size + 1;
    }
    return NULL;
}

/* An -i that names no input is a mistake. */
static bool check_names(const job *j, sinter_module *module) {
    for (size_t i = 0; i < j->a->option_count; i++) {
        const char *value = j->a->options[i].value;
        if (strcmp(j->a->options[i].name, "i")) continue;
        size_t size = strcspn(value, "=");
        bool found = false;
        for (uint32_t k = 0; k < sinter_module_input_count(module) && !found; k++) {
            const char *name = sinter_module_input_name(module, k);
            found = strlen(name) == size && !strncmp(name, value, size);
        }
        if (!value[size]) return usage_error("compress", "-i %s: expected NAME=FILE", value);
        if (!found) return sinter_error(j->diag, j->model, "has no input '%.*s'", (int)size, value);
    }
    return true;
}

static bool read_samples(job *j, sinter_module *module) {
    if (!check_names(j, module)) return false;
    if (!arguments_has(j->a, "i")) return true;
    uint32_t count = sinter_module_input_count(module);
    tensors list = tensors_create(count);
    bool good = true;
    for (uint32_t i = 0; i < count && good; i++) {
        const char *name = sinter_module_input_name(module, i), *path = sample_file(j->a, name);
        good = path ? sinter_tensor_read_named(path, name, NULL, NULL, &list.items[i], j->diag)
                    : sinter_error(j->diag, j->model, "no samples of input '%s': add -i %s=FILE",
                                   name, name);
    }
    if (good)
        j->samples =
            sinter_samples_create(module, list.items, sinter_compress_batch(module), j->diag);
    tensors_destroy(&list);
    return good && j->samples;
}

static bool split_samples(job *j) {
    if (!j->samples) return true;
    size_t count = sinter_samples_count(j->samples), size = sinter_samples_fixed_size(j->samples);
    int64_t wanted = 0;
    if (!size) size = 1;
    size_t otherwise = count / 10 / size * size;
    if (otherwise < size) otherwise = size;
    if (!arguments_integer(j->a, "calibrate", 1, (int64_t)count, (int64_t)otherwise, &wanted))
        return false;
    size_t first = (size_t)wanted;
    if (first % size)
        return sinter_error(j->diag, "--calibrate",
                            "the model takes %zu samples at once, %zu is "
                            "no multiple of that",
                            size, first);
    j->calibration = sinter_samples_slice(j->samples, 0, first);
    if (first == count) {
        sinter_note(j->diag, "", "the samples that calibrate are scored, too: there are no others");
        first = 0;
    }
    j->first_scored = first;
    j->scoring = sinter_samples_slice(j->samples, first, count - first);
    return true;
}

static bool find_output(job *j, sinter_module *module) {
    const char *name = arguments_find(j->a, "output");
    if (!name) return true;
    for (; j->output < sinter_module_output_count(module); j->output++)
        if (!strcmp(name, sinter_module_output_name(module, (uint32_t)j->output))) return true;
    return sinter_error(j->diag, j->model, "has no output '%s'", name);
}

/* ---- measures ---- */

static double file_bytes(const char *path) {
    struct stat info;
    double bytes = stat(path, &info) ? 0 : (double)info.st_size;
    char data[4096];
    snprintf(data, sizeof data, "%s.data", path); /* weights of large models */
    return bytes + (stat(data, &info) ? 0 : (double)info.st_size);
}

static bool answer(const job *j, side *s) {
    return !j->scoring ||
           sinter_answers_collect(s->engine, j->output, j->scoring, &s->answers, j->diag);
}

static bool bind_inputs(const job *j, side *s) {
    s->run = bound_run_create(s->engine);
    if (!j->scoring) return make_inputs(s->engine, j->a, s->run.inputs.items, j->diag);
    size_t size = sinter_samples_fixed_size(j->scoring);
    sinter_samples *one = sinter_samples_slice(j->scoring, 0, size ? size : 1);
    sinter_samples_run_inputs(one, 0, s->run.inputs.items);
    sinter_samples_destroy(one);
    return true;
}

/* The shortest runs, of both in turns: they see the same machine. */
static bool time_sides(const job *j, side sides[2]) {
    double start = sinter_clock_seconds();
    for (int i = 0; i < 2; i++)
        if (!bind_inputs(j, &sides[i])) return false;
    for (int round = 0; round < 3 || sinter_clock_seconds() - start < latency_seconds; round++)
        for (int i = 0; i < 2; i++) {
            double begin = sinter_clock_seconds();
            if (!bound_run_execute(&sides[i].run, j->diag)) return false;
            double seconds = sinter_clock_seconds() - begin;
            tensors_clear(&sides[i].run.outputs);
            if (!round || seconds < sides[i].seconds) sides[i].seconds = seconds;
        }
    return true;
}

static bool score_sides(const job *j, side sides[2]) {
    for (int i = 0; i < 2 && j->scoring; i++)
        if (!sinter_score(&j->metric, &sides[i].answers, &sides[0].answers,
                          j->labels.kind ? &j->labels : NULL, (int64_t)j->first_scored,
                          &sides[i].score, j->diag))
            return false;
    return true;
}

static void print_table(const job *j, const side sides[2]) {
    printf("%-14s %14s %14s\n", "", "original", "compressed");
    printf("%-14s %11.1f kB %11.1f kB   %.2f x\n", "size", sides[0].bytes / 1e3,
           sides[1].bytes / 1e3, sides[0].bytes / sides[1].bytes);
    printf("%-14s %11.4f ms %11.4f ms   %.2f x\n", "latency", 1e3 * sides[0].seconds,
           1e3 * sides[1].seconds, sides[0].seconds / sides[1].seconds);
    if (!j->scoring) return;
    sinter_text before = {0}, after = {0};
    sinter_metric_print(&j->metric, sides[0].score, &before);
    sinter_metric_print(&j->metric, sides[1].score, &after);
    printf("%-14s %14s %14s   %+.6g on %zu samples, calibrated with %zu\n", j->metric_name,
           before.data, after.data, sides[1].score - sides[0].score,
           sinter_samples_count(j->scoring), sinter_samples_count(j->calibration));
    sinter_text_deinit(&before);
    sinter_text_deinit(&after);
}

/* ---- the work ---- */

static void show_step(void *user, const char *step, size_t done, size_t total) {
    (void)user;
    show_progress("%s: %zu of %zu", step, done, total);
}

static bool write_model(const job *j, sinter_module *module) {
    if (sinter_string_ends_with(j->out, ".onnx"))
        return sinter_export_onnx(module, j->out, j->diag);
    sinter_text text = {0};
    sinter_print_module(module, NULL, &text);
    bool good = sinter_file_write(j->out, text.data, text.size, j->diag);
    sinter_text_deinit(&text);
    return good;
}

static bool write_recipe(const job *j) {
    const char *path = arguments_find(j->a, "write-recipe");
    if (!path) return true;
    sinter_text text = {0};
    sinter_recipe_print(j->recipe, &text);
    bool good = sinter_file_write(path, text.data, text.size, j->diag);
    sinter_text_deinit(&text);
    return good;
}

static bool compress_module(job *j, sinter_module *module) {
    const sinter_compress_options options = {.recipe = j->recipe,
                                             .samples = j->calibration,
                                             .engine = &j->options,
                                             .progress = show_step};
    return sinter_compress(module, &options, j->diag) && write_model(j, module) && write_recipe(j);
}

static sinter_engine *open_side(const job *j, const char *path) {
    sinter_module *module = load_model(path, j->a, j->diag);
    return module ? sinter_engine_create(module, &j->options, j->diag) : NULL;
}

/* Both models, as their files have them. */
static bool compare(const job *j) {
    side sides[2] = {{0}};
    const char *paths[2] = {j->model, j->out};
    bool good = true;
    for (int i = 0; i < 2 && good; i++) {
        show_progress("measuring %s", paths[i]);
        sides[i].bytes = file_bytes(paths[i]);
        sides[i].engine = open_side(j, paths[i]);
        good = sides[i].engine && answer(j, &sides[i]);
    }
    good = good && score_sides(j, sides) && time_sides(j, sides);
    show_progress("%s", "");
    if (good) print_table(j, sides);
    for (int i = 0; i < 2; i++) {
        if (sides[i].run.engine) bound_run_destroy(&sides[i].run);
        if (sides[i].answers.runs) sinter_answers_deinit(&sides[i].answers);
        sinter_engine_destroy(sides[i].engine);
    }
    return good;
}

static bool compress_model(job *j) {
    sinter_module *module = load_model(j->model, j->a, j->diag);
    if (!module) return false;
    show_progress("preparing");
    bool good = read_samples(j, module) && split_samples(j) && find_output(j, module) &&
                compress_module(j, module);
    show_progress("%s", "");
    sinter_module_destroy(module);
    return good && compare(j);
}

static int compress(const arguments *a) {
    sinter_diag diag = stderr_diag();
    job j = {.a = a, .model = a->operands[0], .out = arguments_find(a, "o"), .diag = &diag};
    bool good = check_out(&j) && engine_options(a, &j.options) && read_recipe(&j) &&
                read_metric(&j) && sinter_engine_check(&j.options, &diag) && compress_model(&j);
    sinter_samples_destroy(j.samples);
    sinter_samples_destroy(j.calibration);
    sinter_samples_destroy(j.scoring);
    sinter_recipe_destroy(j.recipe);
    sinter_tensor_deinit(&j.labels);
    return good ? 0 : 2;
}

const command command_compress = {
    .name = "compress",
    .operands = "MODEL -o OUT",
    .doc = "make a model smaller and faster, and say what that costs",
    .usage = "sinter compress MODEL -o OUT.onnx [--quantize=GRID] [--activations=TYPE] "
             "[-i NAME=FILE]... [--labels=FILE]",
    .details =
        "Rounds weights and what layers read, calibrates with samples, writes standard ONNX, "
        "and measures\nboth models: size, latency, and a metric on samples that were not "
        "calibrated with.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim target threads jobs cache",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = compress,
};
