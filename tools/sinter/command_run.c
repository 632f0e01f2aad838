/* sinter run: inputs in, outputs out; --expect compares. Test: tests/cli/run.test */
#include "frontends/import.h"
#include "tools/sinter/command.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const option_spec own_options[] = {
    {"o", true, "folder for the outputs, one NAME.npy each"},
    {"expect", true, "NAME=FILE: compare an output; exit 1 where it differs; may be repeated"},
    {"rtol", true, "relative tolerance of --expect (1e-3)"},
    {"atol", true, "absolute tolerance of --expect (1e-7)"},
    {"device", true, "cpu"},
    {"help", false, "this text"},
};

/* First and last elements, shape, range. */
static void print_output(const sinter_abi_io *io, const sinter_tensor *tensor) {
    printf("%s: ", io->name);
    if (tensor->kind != SINTER_TYPE_TENSOR) {
        printf("%s of %zu\n", tensor->kind == SINTER_TYPE_SEQUENCE ? "sequence" : "optional",
               tensor->item_count);
        return;
    }
    printf("%s[", sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; ++i)
        printf("%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    printf("]");
    int64_t count = sinter_tensor_count(tensor);
    for (int64_t i = 0; i < count && i < 12; ++i) {
        if (tensor->dtype == SINTER_DTYPE_string) {
            sinter_string text = sinter_tensor_get_string(tensor, i);
            printf(" \"%.*s\"", SINTER_STRING_ARGS(text));
        } else if (sinter_dtype_is_float(tensor->dtype)) {
            printf(" %.6g", sinter_tensor_get_double(tensor, i));
        } else {
            printf(" %lld", (long long)sinter_tensor_get_int(tensor, i));
        }
    }
    puts(count > 12 ? " ..." : "");
}

static bool write_outputs(const sinter_engine *engine, const sinter_tensor *outputs,
                          const char *folder, sinter_diag *diag) {
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return sinter_error(diag, folder, "can't be made: %s", strerror(errno));
    for (size_t i = 0; i < sinter_engine_output_count(engine); ++i) {
        char path[4096], name[256];
        snprintf(name, sizeof name, "%s", sinter_engine_output(engine, i)->name);
        for (char *c = name; *c; ++c)
            if (*c == '/') *c = '_'; /* names are free text; the file stays in the folder */
        snprintf(path, sizeof path, "%s/%s.npy", folder, name);
        if (!sinter_tensor_write_file(path, &outputs[i], diag)) return false;
    }
    return true;
}

/* 0 equal, 1 different, 2 unusable. */
static int check_expectation(const sinter_engine *engine, const sinter_tensor *outputs,
                             const char *text, double rtol, double atol, sinter_diag *diag) {
    size_t length = strcspn(text, "=");
    for (size_t i = 0; i < sinter_engine_output_count(engine); ++i) {
        const char *name = sinter_engine_output(engine, i)->name;
        if (strlen(name) != length || strncmp(name, text, length) || !text[length]) continue;
        sinter_tensor expected = {0};
        if (!read_expected(engine, i, text + length + 1, &expected, diag)) return 2;
        sinter_text message = {0};
        bool same = sinter_tensor_compare(&outputs[i], &expected, rtol, atol, &message);
        if (!same) sinter_error(diag, name, "%s", message.data);
        sinter_text_deinit(&message);
        sinter_tensor_deinit(&expected);
        return same ? 0 : 1;
    }
    sinter_error(diag, text, "the model has no output of that name (--expect NAME=FILE)");
    return 2;
}

static int check_expectations(const sinter_engine *engine, const sinter_tensor *outputs,
                              const arguments *a, sinter_diag *diag) {
    double rtol, atol;
    int status = 0;
    if (!arguments_number(a, "rtol", 0, 1e9, 1e-3, &rtol) ||
        !arguments_number(a, "atol", 0, 1e9, 1e-7, &atol))
        return 2;
    for (size_t i = 0; i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "expect")) continue;
        int one = check_expectation(engine, outputs, a->options[i].value, rtol, atol, diag);
        if (one > status) status = one;
    }
    return status;
}

static int run_engine(sinter_engine *engine, const arguments *a, sinter_diag *diag) {
    size_t input_count = sinter_engine_input_count(engine),
           output_count = sinter_engine_output_count(engine);
    sinter_tensor *inputs = sinter_heap_alloc((input_count + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((output_count + 1) * sizeof *outputs);
    int status = 2;
    if (make_inputs(engine, a, inputs, diag) && sinter_engine_run(engine, inputs, outputs, diag)) {
        const char *folder = arguments_find(a, "o");
        status = check_expectations(engine, outputs, a, diag);
        if (folder && !write_outputs(engine, outputs, folder, diag)) status = 2;
        for (size_t i = 0; i < output_count; ++i)
            print_output(sinter_engine_output(engine, i), &outputs[i]);
    }
    for (size_t i = 0; i < input_count; ++i) sinter_tensor_deinit(&inputs[i]);
    for (size_t i = 0; i < output_count; ++i) sinter_tensor_deinit(&outputs[i]);
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    return status;
}

int command_run(int argc, char **argv) {
    size_t count = 0;
    const option_spec *specs =
        join_specs(own_options, sizeof own_options / sizeof own_options[0], &count);
    arguments a;
    if (!arguments_parse(argc, argv, specs, count, &a)) return 2;
    if (arguments_has(&a, "help")) {
        print_help("sinter run MODEL|ARTIFACT [-i NAME=FILE]... [-o DIR] [--expect NAME=FILE]...",
                   "Runs a model.", specs, count);
        return 0;
    }
    const char *device = arguments_find(&a, "device");
    if (device && strcmp(device, "cpu")) {
        fprintf(stderr, "sinter run: error: --device=%s: this build runs on cpu only\n", device);
        return 2;
    }
    if (a.operand_count != 1) {
        fputs("sinter run: error: expected one model; see sinter run --help\n", stderr);
        return 2;
    }
    sinter_diag diag = stderr_diag();
    sinter_engine *engine = open_engine(a.operands[0], &a, &diag);
    if (!engine) return 2;
    int status = run_engine(engine, &a, &diag);
    sinter_engine_destroy(engine);
    return status;
}
