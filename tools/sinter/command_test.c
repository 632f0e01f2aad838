/* sinter test: runs cases in the layout of the ONNX backend tests (model.onnx, test_data_set_N/input_K.pb and output_K.pb).
 * Each case runs in a process of its own with a time limit, so that a crash or a hang is one failed case, not the end.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/base/process.h"
#include "tools/sinter/command.h"
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum outcome { OUTCOME_PASSED, OUTCOME_FAILED, OUTCOME_CRASHED, OUTCOME_HUNG } outcome;
static const char *const outcome_names[] = {"passed", "failed", "crashed", "hung"};

typedef struct test_case {
    char *path; /* folder of model.onnx */
    outcome outcome;
    char *message;
    double seconds;
} test_case;

typedef struct test_run {
    test_case *cases;
    size_t count, capacity;
    const arguments *arguments;
    double rtol, atol, relative, timeout; /* relative: negative where rtol and atol count */
} test_run;

/* The text's new content; valid until the next change. */
static const char *make_path(sinter_text *text, const char *format, ...) {
    va_list list;
    va_start(list, format);
    text->size = 0;
    sinter_text_format_list(text, format, list);
    va_end(list);
    return text->data;
}

static bool is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

static void release_cases(test_run *run) {
    for (size_t i = 0; i < run->count; ++i) {
        free(run->cases[i].path);
        free(run->cases[i].message);
    }
    sinter_heap_free(run->cases);
}

static void add_case(test_run *run, const char *folder) {
    if (run->count == run->capacity) {
        run->capacity = run->capacity ? run->capacity * 2 : 64;
        run->cases = sinter_heap_realloc(run->cases, run->capacity * sizeof *run->cases);
    }
    test_case fresh = {.path = strdup(folder)};
    run->cases[run->count++] = fresh;
}

/* Folders at any depth that hold a model.onnx, by name. */
static bool find_cases_below(test_run *run, const char *folder, int depth) {
    sinter_text path = {0};
    bool found = is_file(make_path(&path, "%s/model.onnx", folder));
    struct dirent **entries = NULL;
    int count = 0;
    if (found)
        add_case(run, folder);
    else if (depth <= 16)
        count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; ++i) {
        struct stat status;
        make_path(&path, "%s/%s", folder, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && stat(path.data, &status) == 0 &&
            S_ISDIR(status.st_mode))
            find_cases_below(run, path.data, depth + 1);
        free(entries[i]);
    }
    free(entries);
    sinter_text_deinit(&path);
    if (count < 0) fprintf(stderr, "sinter test: error: %s: cannot be read as a folder\n", folder);
    return count >= 0;
}

/* A folder without cases is a wrong path more likely than a wish. */
static bool find_cases(test_run *run, const char *folder) {
    size_t before = run->count;
    if (!find_cases_below(run, folder, 0)) return false;
    if (run->count == before) fprintf(stderr, "sinter test: error: %s: no test cases\n", folder);
    return run->count > before;
}

/* ---- one case, in the child ---- */

/* A file of a value that the model does not have: "input_2.pb" of two inputs. */
static bool is_surplus(const char *name, const char *prefix, size_t count) {
    size_t size = strlen(prefix);
    if (strncmp(name, prefix, size) || !sinter_string_ends_with(name, ".pb")) return false;
    size_t index = (size_t)strtoull(name + size, NULL, 10);
    char expected[64]; /* no "input_01.pb" either */
    snprintf(expected, sizeof expected, "%s%zu.pb", prefix, index);
    return strcmp(name, expected) || index >= count;
}

/* What is there and not looked at would pass whatever it says. */
static bool check_files(const char *data_set, const sinter_engine *engine, sinter_diag *diag) {
    struct dirent **entries = NULL;
    int count = scandir(data_set, &entries, NULL, alphasort);
    if (count < 0) return sinter_error(diag, data_set, "cannot be read as a folder");
    bool good = true;
    for (int i = 0; i < count; ++i) {
        const char *name = entries[i]->d_name;
        if (good && is_surplus(name, "input_", sinter_engine_input_count(engine)))
            good = sinter_error(diag, data_set, "%s: the model has no such input, but %zu", name,
                                sinter_engine_input_count(engine));
        if (good && is_surplus(name, "output_", sinter_engine_output_count(engine)))
            good = sinter_error(diag, data_set, "%s: the model has no such output, but %zu", name,
                                sinter_engine_output_count(engine));
        free(entries[i]);
    }
    free(entries);
    return good;
}

static bool read_inputs(const char *data_set, const sinter_engine *engine, sinter_tensor *inputs,
                        sinter_diag *diag) {
    sinter_text path = {0};
    bool good = true;
    for (size_t i = 0; good && i < sinter_engine_input_count(engine); ++i)
        good = read_input(engine, i, make_path(&path, "%s/input_%zu.pb", data_set, i), &inputs[i],
                          diag);
    sinter_text_deinit(&path);
    return good;
}

static double largest_magnitude(const sinter_tensor *tensor) {
    double largest = 0;
    bool numbers = tensor->kind == SINTER_TYPE_TENSOR && tensor->dtype != SINTER_DTYPE_string;
    int64_t count = numbers ? sinter_tensor_count(tensor) : 0;
    for (int64_t i = 0; i < count; ++i)
        largest = fmax(largest, fabs(sinter_dtype_is_float(tensor->dtype)
                                         ? sinter_tensor_get_double(tensor, i)
                                         : (double)sinter_tensor_get_int(tensor, i)));
    return largest;
}

static bool is_close(const test_run *run, const sinter_tensor *got, const sinter_tensor *expected,
                     sinter_text *message) {
    if (run->relative < 0)
        return sinter_tensor_compare(got, expected, run->rtol, run->atol, message);
    return sinter_tensor_compare(got, expected, 0, run->relative * largest_magnitude(expected),
                                 message);
}

static bool compare_outputs(const test_run *run, const char *data_set, const sinter_engine *engine,
                            const sinter_tensor *outputs, sinter_diag *diag) {
    sinter_text path = {0};
    bool same = sinter_engine_output_count(engine) > 0;
    if (!same) sinter_error(diag, data_set, "no expected outputs: the model has none");
    for (size_t i = 0; same && i < sinter_engine_output_count(engine); ++i) {
        sinter_tensor expected = {0};
        same = is_file(make_path(&path, "%s/output_%zu.pb", data_set, i)) ||
               sinter_error(diag, data_set, "no expected outputs: output_%zu.pb is missing", i);
        if (!same) break;
        sinter_text message = {0};
        same = read_expected(engine, i, path.data, &expected, diag);
        if (!same) break;
        same = is_close(run, &outputs[i], &expected, &message);
        if (!same)
            sinter_error(diag, "", "output %zu (%s): %s", i, sinter_engine_output(engine, i)->name,
                         message.data);
        sinter_text_deinit(&message);
        sinter_tensor_deinit(&expected);
    }
    sinter_text_deinit(&path);
    return same;
}

static bool run_data_set(const test_run *run, const char *data_set, sinter_engine *engine,
                         sinter_diag *diag) {
    bound_run bound = bound_run_create(engine);
    bool good = check_files(data_set, engine, diag) &&
                read_inputs(data_set, engine, bound.inputs.items, diag) &&
                bound_run_execute(&bound, diag) &&
                compare_outputs(run, data_set, engine, bound.outputs.items, diag);
    bound_run_destroy(&bound);
    return good;
}

static bool run_case(const test_run *run, const char *folder, sinter_diag *diag) {
    sinter_text path = {0};
    sinter_engine *engine =
        open_engine(make_path(&path, "%s/model.onnx", folder), run->arguments, diag);
    bool good = engine != NULL;
    int sets = 0;
    for (; good; ++sets) {
        struct stat status;
        if (stat(make_path(&path, "%s/test_data_set_%d", folder, sets), &status) != 0) break;
        good = run_data_set(run, path.data, engine, diag);
    }
    if (engine && !sets) good = sinter_error(diag, folder, "no test_data_set_0");
    sinter_engine_destroy(engine);
    sinter_text_deinit(&path);
    return good;
}

static void run_child(const test_run *run, const char *folder, int output) {
    sinter_text text = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &text};
    bool good = run_case(run, folder, &diag);
    size_t size = text.size < 4000 ? text.size : 4000;
    if (text.data && write(output, text.data, size) < 0) _exit(3);
    sinter_text_deinit(&text);
    /* exit, not _exit: leak checkers report at exit */
    exit(good ? 0 : 1);
}

/* ---- the parent ---- */

static double collect(int input, pid_t child, double timeout, char *message, size_t capacity,
                      bool *out_hung) {
    double start = sinter_clock_seconds();
    size_t size = 0;
    *out_hung = false;
    for (;;) {
        double left = timeout - (sinter_clock_seconds() - start);
        struct pollfd poll_input = {.fd = input, .events = POLLIN};
        int ready = left > 0 ? poll(&poll_input, 1, (int)(left * 1000) + 1) : 0;
        if (ready == 0) {
            *out_hung = true;
            sinter_process_end(child);
            break;
        }
        char scratch[512];
        ssize_t got = read(input, scratch, sizeof scratch);
        if (got <= 0) break;
        for (ssize_t i = 0; i < got && size + 1 < capacity; ++i) message[size++] = scratch[i];
    }
    message[size] = 0;
    return sinter_clock_seconds() - start;
}

static void fail_to_start(test_case *test, const char *what, int error) {
    sinter_text message = {0};
    sinter_text_format(&message, "no process to run in: %s: %s\n", what, strerror(error));
    test->outcome = OUTCOME_FAILED;
    test->message = strdup(message.data);
    sinter_text_deinit(&message);
}

static void run_isolated(test_run *run, test_case *test) {
    int ends[2];
    char message[4096] = "";
    bool hung = false;
    int status = 0;
    fflush(NULL);
    if (pipe(ends) != 0) {
        fail_to_start(test, "pipe", errno);
        return;
    }
    pid_t child = sinter_process_fork();
    if (child < 0) {
        fail_to_start(test, "fork", errno);
        close(ends[0]);
        close(ends[1]);
        return;
    }
    if (child == 0) {
        close(ends[0]);
        run_child(run, test->path, ends[1]);
    }
    close(ends[1]);
    test->seconds = collect(ends[0], child, run->timeout, message, sizeof message, &hung);
    close(ends[0]);
    sinter_process_wait(child, &status); /* there is none if it hung */
    test->outcome = hung                                            ? OUTCOME_HUNG
                    : WIFSIGNALED(status)                           ? OUTCOME_CRASHED
                    : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? OUTCOME_PASSED
                    : WIFEXITED(status) && WEXITSTATUS(status) == 1 ? OUTCOME_FAILED
                                                                    : OUTCOME_CRASHED;
    test->message = strdup(message);
}

static bool write_json(const test_run *run, const char *path) {
    sinter_text text = {0};
    sinter_text_append_string(&text, "{\"cases\": [");
    for (size_t i = 0; i < run->count; ++i) {
        const test_case *test = &run->cases[i];
        sinter_text_append_string(&text, i ? ",\n  {\"path\": " : "\n  {\"path\": ");
        sinter_text_json(&text, sinter_string_of(test->path));
        sinter_text_format(&text, ", \"outcome\": \"%s\", \"seconds\": %.3f, \"message\": ",
                           outcome_names[test->outcome], test->seconds);
        sinter_text_json(&text, sinter_string_of(test->message));
        sinter_text_append_string(&text, "}");
    }
    sinter_text_append_string(&text, "\n]}\n");
    sinter_diag diag = stderr_diag();
    bool good = sinter_file_write(path, text.data, text.size, &diag);
    sinter_text_deinit(&text);
    return good;
}

/* All cases, one after the other; what failed is shown, and with -v what passed. The exit status. */
static int run_cases(test_run *run) {
    bool terminal = isatty(1);
    size_t passed = 0;
    for (size_t i = 0; i < run->count; ++i) {
        test_case *test = &run->cases[i];
        if (terminal) printf("\r\033[K%zu/%zu %s", i + 1, run->count, test->path);
        run_isolated(run, test);
        passed += test->outcome == OUTCOME_PASSED;
        if (test->outcome == OUTCOME_PASSED && !arguments_has(run->arguments, "v")) continue;
        if (terminal) printf("\r\033[K");
        printf("%s: %s%s%s", outcome_names[test->outcome], test->path,
               test->message[0] ? "\n    " : "\n", test->message);
    }
    if (terminal) printf("\r\033[K");
    const char *json = arguments_find(run->arguments, "json");
    if (json && !write_json(run, json)) return 2;
    printf("%zu passed, %zu failed, 0 skipped\n", passed, run->count - passed);
    return passed == run->count ? 0 : 1;
}

static const option_spec own_options[] = {
    {.name = "rtol", .value = "X", .doc = "relative tolerance (1e-3)", .without = "relative"},
    {.name = "atol", .value = "X", .doc = "absolute tolerance (1e-7)", .without = "relative"},
    {.name = "relative",
     .value = "X",
     .doc = "allowed max|a-b| / max|b| of an output, instead of --rtol and --atol"},
    {.name = "timeout", .value = "S", .doc = "seconds a case may take (60)"},
    {.name = "json",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "file for the outcome of each case"},
    {.name = "v", .doc = "show every case, also those that pass"},
};

/* In a process of its own, because a device that was opened is of no use to the processes of the cases. */
static bool check_in_child(const arguments *a, sinter_engine_options *options, sinter_diag *diag) {
    pid_t child = sinter_process_fork();
    int status = 0;
    if (child < 0) return sinter_error(diag, "test", "no process to run in: %s", strerror(errno));
    if (child == 0)
        exit(open_device(a, options, diag) && arguments_apply(a, IS_MODEL, &options->target, 1) &&
                     sinter_engine_check(options, diag)
                 ? 0
                 : 2);
    return sinter_process_wait(child, &status) >= 0 && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static int run_tests(const arguments *a) {
    test_run run = {.arguments = a};
    sinter_engine_options options;
    sinter_diag diag = stderr_diag();
    if (!arguments_number(a, "rtol", 0, 1e9, 1e-3, &run.rtol) ||
        !arguments_number(a, "atol", 0, 1e9, 1e-7, &run.atol) ||
        !arguments_number(a, "relative", 0, 1e9, -1, &run.relative) ||
        !arguments_number(a, "timeout", 0.001, 1e6, 60, &run.timeout) ||
        !engine_options(a, &options) || !check_in_child(a, &options, &diag))
        return 2;
    int status = 0;
    for (size_t i = 0; status == 0 && i < a->operand_count; ++i)
        if (!find_cases(&run, a->operands[i])) status = 2;
    if (status == 0) status = run_cases(&run);
    release_cases(&run);
    return status;
}

const command command_test = {
    .name = "test",
    .operands = "DIR...",
    .doc = "run ONNX backend test cases",
    .usage = "sinter test DIR...",
    .details = "Runs the ONNX backend test cases below each DIR, any depth.",
    COMMAND_OPTIONS(own_options),
    .shared = ENGINE_OPTIONS,
    .expected = "folders of test cases",
    .least = 1,
    .most = SIZE_MAX,
    .run = run_tests,
};
