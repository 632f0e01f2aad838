/* sinter compress: a model in, a smaller one out, with what that cost and gained. Arguments become options of the library's own
 * function (runtime/jit/compress_file.h), and its answer a table. Progress shows on a terminal only.
 * Test: tests/cli/compress.test, tests/cli/compress_budget.test */
#include "passes/recipe.h"
#include "runtime/jit/compress_file.h"
#include "runtime/jit/score.h"
#include "tools/sinter/command.h"
#include <stdlib.h>
#include <string.h>

static const option_spec own_options[] = {
    {.name = "o", .value = "FILE", .file = WRITES_FILE, .doc = "the model to write: .onnx or .sir"},
    {.name = "quantize",
     .value = "GRID",
     .doc = "what weights are rounded to: int8 (activations to u8, too) to int2, uint8 to uint2, "
            "ternary, binary, power_of_two, f16, bf16, f8e4m3fn or f8e5m2"},
    {.name = "per",
     .value = "WHAT",
     .doc = "weights that share a scale: channel, tensor or group:N (channel)"},
    {.name = "rounding",
     .value = "HOW",
     .doc = "nearest, gptq or compensated, which is gptq and a search among neighbouring "
            "levels (compensated where there are samples)"},
    {.name = "prune",
     .value = "PATTERN",
     .doc = "weights that become zero: 0.5, 2:4 or block4x4:0.7; or channels that go: "
            "channels:0.3 (of each layer), macs:0.3 (of all multiply-adds)"},
    {.name = "cut",
     .value = "SHARE",
     .doc = "blocks of layers that go, of all that have ends of one shape: none, 0.25 (those that "
            "matter least) or last:0.25 (none)"},
    {.name = "schedule",
     .value = "HOW",
     .doc =
         "in which rounds what is pruned goes: one_shot, or gradual:4, after each of which what is "
         "left makes up for it and is scored anew (one_shot)",
     .with = "prune"},
    {.name = "clip", .value = "QUANTILE", .doc = "weights beyond it are cut to it (1: none)"},
    {.name = "activations",
     .value = "TYPE",
     .doc = "what layers read is rounded to: none, u8, i8, u16, i16, dynamic or dynamic:row"},
    {.name = "rotate",
     .value = "HOW",
     .doc = "channels between layers that nothing but what is linear stands between, so that they "
            "become more alike: none or hadamard (none)"},
    {.name = "smooth",
     .value = "SHARE",
     .doc = "how much of what differs between the channels that products read goes into their "
            "weights: none, 0.5, ... (none)"},
    {.name = "keep",
     .value = "SHARE",
     .doc = "layers stay as they are where rounding what one reads changes the model's outputs by "
            "more than that share of their variance: none, 0.01, ... (none)",
     .with = "i",
     .without = "max-drop"},
    {.name = "observe",
     .value = "HOW",
     .doc = "how their ranges are chosen: min_max, percentile:P, mse or entropy (mse)"},
    {.name = "recipe",
     .value = "FILE",
     .file = READS_FILE,
     .doc = "rules for single layers, after those of the options; see docs/compress.md"},
    {.name = "write-recipe",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "write the rules that were followed"},
    {.name = "i",
     .value = "NAME=FILE",
     .file = READS_FILE,
     .doc = "samples of an input, stacked along the first axis: .npy, .npz, .pb, or a folder of "
            ".npy or .pb; FILE.npz alone has all",
     .takes_archive = true},
    {.name = "calibrate",
     .value = "N",
     .doc = "calibrate with the first N samples, score on the others (a tenth)",
     .with = "i"},
    {.name = "mask",
     .value = "INPUT",
     .doc = "the input that is 0 where samples have padding, which is not calibrated with",
     .with = "i"},
    {.name = "labels",
     .value = "FILE",
     .file = READS_FILE,
     .doc = "the right answer for each sample, as integers",
     .with = "i"},
    {.name = "metric",
     .value = "NAME",
     .doc = "top1, top5, ... (with --labels), agreement with the original, cosine or mse (from "
            "it), perplexity (--labels are tokens), or command:PROGRAM, which is given a .npy of "
            "all answers and prints a number, more is better",
     .with = "i"},
    {.name = "output",
     .value = "NAME",
     .doc = "the output that is scored (the first)",
     .with = "i"},
    {.name = "max-drop",
     .value = "LOSS",
     .doc = "search for the smallest model that loses no more of the metric: 1% or a number in its "
            "unit",
     .with = "i"},
    {.name = "goal",
     .value = "WHAT",
     .doc = "size or latency: what the search makes small (size)",
     .with = "max-drop"},
    {.name = "settings",
     .value = "LIST",
     .doc = "what the search may do to a layer: names with commas between them, see "
            "docs/compress.md (all)",
     .with = "max-drop"},
    {.name = "seconds",
     .value = "S",
     .doc = "no candidate of the search begins later (600)",
     .with = "max-drop"},
    {.name = "work",
     .value = "DIR",
     .doc = "folder where the search keeps what it measured, to go on where it was stopped",
     .with = "max-drop"},
    {.name = "report",
     .value = "FILE.html",
     .file = WRITES_FILE,
     .doc = "write a page about the search",
     .with = "max-drop"},
};

/* ---- what is asked ---- */

static bool set_word(sinter_recipe *recipe, const char *flag, const char *key, const char *value,
                     sinter_diag *diag) {
    char where[80];
    snprintf(where, sizeof where, "--%s=%s", flag, value);
    return sinter_recipe_set(recipe, NULL, key, value, where, diag);
}

/* The rules that options state. */
static bool add_words(const arguments *a, sinter_recipe *recipe, bool *out_any, sinter_diag *diag) {
    static const char *const words[][2] = {
        {"quantize", "weights"}, {"per", "per"},       {"rounding", "rounding"},
        {"prune", "prune"},      {"clip", "clip"},     {"activations", "activations"},
        {"observe", "observe"},  {"smooth", "smooth"}, {"keep", "keep"},
        {"cut", "cut"},          {"rotate", "rotate"}, {"schedule", "schedule"}};
    *out_any = false;
    if (!arguments_has(a, "rounding") && !arguments_has(a, "i")) /* nothing to compensate with */
        sinter_recipe_set(recipe, NULL, "rounding", "nearest", "", diag);
    if (arguments_has(a, "prune") && !arguments_has(a, "i")) /* nor to see what matters */
        sinter_recipe_set(recipe, NULL, "score", "magnitude", "", diag);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *value = arguments_find(a, words[i][0]);
        if (!value) continue;
        *out_any = true;
        if (!set_word(recipe, words[i][0], words[i][1], value, diag)) return false;
        bool both = !strcmp(words[i][0], "quantize") && !strcmp(value, "int8") &&
                    !arguments_has(a, "activations");
        if (both && !set_word(recipe, "quantize", "activations", "u8", diag)) return false;
    }
    return true;
}

static bool read_rules(const arguments *a, sinter_text *rules, sinter_diag *diag) {
    bool any;
    sinter_recipe *recipe = sinter_recipe_create();
    bool good = add_words(a, recipe, &any, diag);
    if (good) sinter_recipe_print(recipe, rules);
    sinter_recipe_destroy(recipe);
    any = any || arguments_has(a, "recipe") || arguments_has(a, "max-drop");
    return good && (any || usage_error("compress", "expected what to do: --quantize, --prune, "
                                                   "--recipe, --max-drop, ..."));
}

static void print_word(const char *word, sinter_text *text) {
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=+,%@";
    if (*word && word[strspn(word, plain)] == '\0') {
        sinter_text_append_string(text, word);
        return;
    }
    sinter_text_append_string(text, "'");
    for (; *word; word++)
        if (*word == '\'')
            sinter_text_append_string(text, "'\\''");
        else
            sinter_text_append(text, word, 1);
    sinter_text_append_string(text, "'");
}

/* The command as a shell takes it. */
static void print_command(const arguments *a, sinter_text *text) {
    sinter_text_append_string(text, "sinter compress");
    for (size_t i = 0; i < a->operand_count; i++) {
        sinter_text_append_string(text, " ");
        print_word(a->operands[i], text);
    }
    for (size_t i = 0; i < a->option_count; i++) {
        const option *o = &a->options[i];
        bool is_short = strlen(o->name) == 1;
        sinter_text_format(text, " %s%s%s", is_short ? "-" : "--", o->name,
                           !o->value  ? ""
                           : is_short ? " "
                                      : "=");
        if (o->value) print_word(o->value, text);
    }
}

static void show_line(void *user, const char *line) {
    (void)user;
    show_progress("%s", shown(line));
}

static bool read_options(const arguments *a, sinter_compress_options *out, sinter_text *rules,
                         sinter_diag *diag) {
    int64_t calibrate;
    sinter_compress_options o = SINTER_COMPRESS_OPTIONS_INIT;
    if (!arguments_find(a, "o"))
        return usage_error("compress", "expected -o FILE, the model to write");
    if (!read_rules(a, rules, diag) ||
        !arguments_integer(a, "calibrate", 1, INT32_MAX, 0, &calibrate) ||
        !arguments_number(a, "seconds", 0.001, 1e9, 0, &o.seconds))
        return false;
    o.rules = rules->data;
    o.recipe = arguments_find(a, "recipe");
    o.write_recipe = arguments_find(a, "write-recipe");
    o.samples = arguments_list(a, "i");
    o.calibrate = (uint64_t)calibrate;
    o.mask = arguments_find(a, "mask");
    o.labels = arguments_find(a, "labels");
    o.metric = arguments_find(a, "metric");
    o.output = arguments_find(a, "output");
    o.max_drop = arguments_find(a, "max-drop");
    o.goal = arguments_find(a, "goal");
    o.settings = arguments_find(a, "settings");
    o.work = arguments_find(a, "work");
    o.report = arguments_find(a, "report");
    o.progress = show_line;
    *out = o;
    return true;
}

/* ---- the answer ---- */

static void print_scores(const sinter_compress_result *r, const char *name,
                         const sinter_metric_info *metric) {
    const sinter_compress_side *before = &r->original, *after = &r->compressed;
    sinter_text texts[2] = {{0}};
    sinter_metric_print(metric, before->score, &texts[0]);
    sinter_metric_print(metric, after->score, &texts[1]);
    printf("%-14s %14s %14s   %+.6g on %llu samples, calibrated with %llu\n", name, texts[0].data,
           texts[1].data, after->score - before->score, (unsigned long long)r->scored_on,
           (unsigned long long)r->calibrated_with);
    for (int i = 0; i < 2; i++) sinter_text_deinit(&texts[i]);
}

static void print_table(const sinter_compress_result *r, const char *name,
                        const sinter_metric_info *metric) {
    const sinter_compress_side *before = &r->original, *after = &r->compressed;
    printf("%-14s %14s %14s\n", "", "original", "compressed");
    printf("%-14s %11.1f kB %11.1f kB   %.2f x\n", "size", before->bytes / 1e3, after->bytes / 1e3,
           before->bytes / after->bytes);
    printf("%-14s %11.4f ms %11.4f ms   %.2f x\n", "latency", 1e3 * before->seconds,
           1e3 * after->seconds, before->seconds / after->seconds);
    if (r->scored_on) print_scores(r, name, metric);
    printf("%-14s %12.1f s %12.1f s of processors, without these measurements\n", "time",
           r->seconds, r->processor_seconds);
}

static int compress(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options engine;
    sinter_compress_options options;
    sinter_compress_result result = {0};
    sinter_metric_info metric = {0};
    const char *metric_name = NULL;
    sinter_text rules = {0}, command_text = {0};
    bool good = engine_options(a, &engine) && read_options(a, &options, &rules, &diag) &&
                sinter_compress_find_metric(&options, &metric_name, &metric, &diag);
    if (good) {
        print_command(a, &command_text);
        options.command = command_text.data;
        good = sinter_compress_file(a->operands[0], arguments_find(a, "o"), &options, &engine,
                                    arguments_list(a, "dim"), &result, &diag);
        show_progress("%s", "");
    }
    if (good) print_table(&result, metric_name, &metric);
    if (good && options.max_drop)
        printf("of %llu candidates the %s that loses at most %s: it loses %.6g\n",
               (unsigned long long)result.candidates,
               options.goal && !strcmp(options.goal, "latency") ? "fastest" : "smallest",
               options.max_drop, result.lost);
    sinter_text_deinit(&rules);
    sinter_text_deinit(&command_text);
    return good ? 0 : result.over_budget ? 1 : 2;
}

const command command_compress = {
    .name = "compress",
    .operands = "MODEL -o OUT",
    .doc = "make a model smaller and faster, and say what that costs",
    .usage =
        "sinter compress MODEL -o OUT.onnx [--quantize=GRID] [--activations=TYPE] "
        "[-i NAME=FILE]... [--labels=FILE]\n"
        "       sinter compress MODEL -o OUT.onnx --max-drop=1% -i NAME=FILE... [--labels=FILE] "
        "[--metric=NAME]",
    .details =
        "Rounds weights and what layers read, calibrates with samples, writes standard ONNX, "
        "and measures\nboth models: size, latency, and a metric on samples that were not "
        "calibrated with. With --max-drop\nit searches for what to do to each layer; exit status 1 "
        "says that nothing loses as little.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim target threads jobs cache",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = compress,
};
