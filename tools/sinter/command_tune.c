/* sinter tune: measures the choices of schedules and writes those that are faster to a file, which --tuning=FILE gives to
 * every command that compiles. Progress shows on a terminal only. Test: tests/cli/tune.test */
#include "ir/base/file.h"
#include "runtime/jit/tune.h"
#include "tools/sinter/command.h"
#include <string.h>

typedef struct job {
    const arguments *a;
    tensors inputs;
} job;

static const option_spec own_options[] = {
    {.name = "o", .value = "FILE", .file = WRITES_FILE, .doc = "the tuning file to write"},
    {.name = "seconds", .value = "S", .doc = "no trial begins later than that (120)"},
};

static sinter_module *load(void *user, sinter_diag *diag) {
    const job *j = user;
    return load_model(j->a->operands[0], j->a, diag);
}

static const sinter_tensor *make(void *user, sinter_engine *engine, sinter_diag *diag) {
    job *j = user;
    j->inputs = tensors_create(sinter_engine_input_count(engine));
    return make_inputs(engine, j->a, j->inputs.items, diag) ? j->inputs.items : NULL;
}

static void show_round(void *user, const sinter_tune_report *report) {
    (void)user;
    show_progress("round %u: %u of %u kernels still have choices; %.4f -> %.4f ms a run",
                  report->rounds, report->open, report->kernels, 1e3 * report->before,
                  1e3 * report->now);
}

static bool tune_model(job *j, const sinter_engine_options *options, double seconds,
                       const char *path, sinter_diag *diag) {
    sinter_arena arena;
    sinter_target target;
    sinter_tuning *tuning = NULL;
    sinter_tune_report report;
    sinter_arena_init(&arena);
    bool good =
        sinter_target_parse(options->target ? options->target : "cpu", &arena, &target, diag);
    if (good) tuning = sinter_tuning_create(target.text);
    const sinter_tune_options search = {.engine = options,
                                        .seconds = seconds,
                                        .load = load,
                                        .make_inputs = make,
                                        .on_round = show_round,
                                        .user = j};
    /* A place that can't be written to is said before the work. */
    sinter_file_writer writer;
    good = good && sinter_file_writer_open(&writer, path, false, diag);
    bool is_open = good;
    double start = sinter_clock_seconds();
    good = good && sinter_tune(&search, tuning, &report, diag);
    show_progress("%s", "");
    sinter_text text = {0};
    if (good) sinter_tuning_print(tuning, &text);
    if (good) sinter_file_writer_append(&writer, text.data, text.size);
    sinter_text_deinit(&text);
    if (is_open) good = sinter_file_writer_close(&writer, good, diag) && good;
    if (good)
        printf("%s: %.4f -> %.4f ms a run (%.3f x); other choices for %u of %u layers, %u of %u "
               "kernels; %u rounds, %.1f s\n",
               j->a->operands[0], 1e3 * report.before, 1e3 * report.now, report.before / report.now,
               report.layers_changed, report.layers, report.changed, report.kernels, report.rounds,
               sinter_clock_seconds() - start);
    sinter_tuning_destroy(tuning);
    sinter_arena_deinit(&arena);
    return good;
}

static int tune(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options options;
    double seconds = 120;
    const char *path = arguments_find(a, "o");
    if (!path) {
        usage_error("tune", "expected -o FILE, the tuning file to write");
        return 2;
    }
    if (!engine_options(a, &options) || !arguments_number(a, "seconds", 0, 1e6, 120, &seconds))
        return 2;
    if (options.target && strncmp(options.target, "cpu", 3)) {
        usage_error(
            "tune",
            "--target=%s: expected cpu[:CPU][+FEATURE]...: only native code has choices to measure",
            options.target);
        return 2;
    }
    if (!sinter_engine_check(&options, &diag)) return 2;
    keep_pages();
    job j = {.a = a};
    bool good = tune_model(&j, &options, seconds, path, &diag);
    tensors_destroy(&j.inputs);
    return good ? 0 : 2;
}

const command command_tune = {
    .name = "tune",
    .operands = "MODEL -o FILE",
    .doc = "measure the choices of schedules on this machine",
    .usage = "sinter tune MODEL -o FILE [--seconds=S] [--threads=N] [-i NAME=FILE]...",
    .details =
        "Measures, layer by layer, the ways to compute a convolution (directly, by Winograd, by "
        "rows with its neighbours),\nthen, kernel by kernel, the choices that schedules have, "
        "and writes those that are faster than the cost model's\nto a file: sinter compile "
        "MODEL -o OUT --tuning=FILE. Values stay the same, but for the rounding of Winograd's\n"
        "convolutions, which --no-winograd leaves out.",
    COMMAND_OPTIONS(own_options),
    .shared = "target dim passes O precision no-winograd threads jobs cache i size",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = tune,
};
