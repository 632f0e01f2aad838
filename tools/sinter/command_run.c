/* sinter run: inputs in, outputs out; --expect compares. Test: tests/cli/run.test, tests/cli/target_c.test,
 * tests/suites/bad_input.py */
#include "frontends/import.h"
#include "ir/base/file.h"
#include "runtime/job.h"
#include "tools/sinter/command.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const option_spec own_options[] = {
    {.name = "o", .value = "DIR", .doc = "folder for the outputs, one NAME.npy each"},
    {.name = "write-case",
     .value = "DIR",
     .doc = "the inputs, made ones too, and the outputs as a case of `sinter test`, which wants "
            "DIR/model.onnx "
            "beside them: input_0.pb, output_0.pb, ... in the first of DIR/test_data_set_0, _1, "
            "... that is not there",
     .without = "each"},
    {.name = "expect",
     .value = "NAME=FILE",
     .file = READS_FILE,
     .takes_archive = true,
     .doc = "compare an output; exit 1 where it differs; may be repeated, and be FILE.npz for all "
            "that it has"},
    {.name = "rtol",
     .value = "X",
     .doc = "relative tolerance of --expect (1e-3)",
     .with = "expect"},
    {.name = "atol",
     .value = "X",
     .doc = "absolute tolerance of --expect (1e-7)",
     .with = "expect"},
    {.name = "each",
     .doc = "inputs from files have one more axis in front: one run for each index; outputs are "
            "stacked",
     .with = "i"},
    {.name = "verify",
     .doc = "check the weights of an artifact against their checksum, which reads them all",
     .need = NEEDS_ARTIFACT},
};

/* First and last elements, shape, range. */
static void print_output(const sinter_abi_io *io, const sinter_tensor *tensor) {
    printf("%s: ", shown(io->name));
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
            sinter_text text = {0};
            sinter_text_quote(&text, sinter_tensor_get_string(tensor, i));
            printf(" %s", text.data);
            sinter_text_deinit(&text);
        } else if (sinter_dtype_is_float(tensor->dtype)) {
            printf(" %.6g", sinter_tensor_get_double(tensor, i));
        } else {
            printf(" %lld", (long long)sinter_tensor_get_int(tensor, i));
        }
    }
    puts(count > 12 ? " ..." : "");
}

typedef struct tolerance {
    double rtol, atol;
} tolerance;

/* Whether outputs could go there, which is asked before a model is read. The folder itself is made when there are some. */
static bool check_folder(const arguments *a, const char *name, sinter_diag *diag) {
    const char *folder = arguments_find(a, name), *dashes = name[1] ? "--" : "-";
    if (!folder) return true;
    struct stat status;
    if (mkdir(folder, 0777) == 0) {
        rmdir(folder);
        return true;
    }
    if (errno != EEXIST)
        return sinter_error(diag, folder, "%s%s: can't be made: %s", dashes, name, strerror(errno));
    if (stat(folder, &status) == 0 && !S_ISDIR(status.st_mode))
        errno = ENOTDIR;
    else if (access(folder, W_OK | X_OK) == 0)
        return true;
    return sinter_error(diag, folder, "%s%s: can't be written to: %s", dashes, name,
                        strerror(errno));
}

static bool check_folders(const arguments *a, sinter_diag *diag) {
    return check_folder(a, "o", diag) && check_folder(a, "write-case", diag);
}

/* NAME.npy; names are free text, and the file stays in its folder. */
static void append_file_name(const char *name, sinter_text *text) {
    for (const char *c = name; *c; ++c) sinter_text_append(text, *c == '/' ? "_" : c, 1);
    sinter_text_append_string(text, ".npy");
}

/* No two outputs may go to one file, and each name has to fit a file's. */
static bool check_file_names(const sinter_engine *engine, sinter_diag *diag) {
    size_t count = sinter_engine_output_count(engine);
    sinter_text *names = sinter_heap_alloc((count + 1) * sizeof *names);
    bool good = true;
    for (size_t i = 0; good && i < count; ++i) {
        const char *name = sinter_engine_output(engine, i)->name;
        append_file_name(name, &names[i]);
        if (names[i].size > NAME_MAX)
            good = sinter_error(diag, name, "-o: the name of the output is too long for a file");
        for (size_t k = 0; good && k < i; ++k)
            if (!strcmp(names[i].data, names[k].data))
                good = sinter_error(diag, name, "-o: goes to the file %s, and so does output %s",
                                    names[i].data, sinter_engine_output(engine, k)->name);
    }
    for (size_t i = 0; i < count; ++i) sinter_text_deinit(&names[i]);
    sinter_heap_free(names);
    return good;
}

static bool write_outputs(const sinter_engine *engine, const sinter_tensor *outputs,
                          const char *folder, sinter_diag *diag) {
    if (!sinter_file_ensure_folder(folder, diag)) return false;
    for (size_t i = 0; i < sinter_engine_output_count(engine); ++i) {
        sinter_text path = {0};
        sinter_text_format(&path, "%s/", folder);
        append_file_name(sinter_engine_output(engine, i)->name, &path);
        bool good = sinter_tensor_write_file(path.data, &outputs[i], diag);
        sinter_text_deinit(&path);
        if (!good) return false;
    }
    return true;
}

/* ---- a run as a test case ---- */

/* The first of DIR/test_data_set_0, _1, ... that is not there: what earlier runs wrote stays as it is. */
static bool make_data_set(const char *folder, sinter_text *out_path, sinter_diag *diag) {
    if (!sinter_file_ensure_folder(folder, diag)) return false;
    for (int i = 0;; ++i) {
        out_path->size = 0;
        sinter_text_format(out_path, "%s/test_data_set_%d", folder, i);
        if (mkdir(out_path->data, 0777) == 0) return true;
        if (errno != EEXIST)
            return sinter_error(diag, out_path->data, "can't be made: %s", strerror(errno));
    }
}

/* FOLDER/input_0.pb, ... */
static bool write_numbered(const char *folder, const char *kind, const tensors *list,
                           sinter_diag *diag) {
    bool good = true;
    sinter_text path = {0};
    for (size_t i = 0; good && i < list->count; ++i) {
        path.size = 0;
        sinter_text_format(&path, "%s/%s_%zu.pb", folder, kind, i);
        good = sinter_tensor_write_file(path.data, &list->items[i], diag);
    }
    sinter_text_deinit(&path);
    return good;
}

/* All of it or nothing. */
static bool write_case(const bound_run *run, const char *folder, sinter_diag *diag) {
    sinter_text path = {0};
    bool made = make_data_set(folder, &path, diag);
    bool good = made && write_numbered(path.data, "input", &run->inputs, diag) &&
                write_numbered(path.data, "output", &run->outputs, diag);
    if (made && !good) sinter_file_remove_folder(path.data);
    sinter_text_deinit(&path);
    return good;
}

/* The output that NAME=FILE names; the number of outputs after an error. */
static size_t expected_output(const sinter_engine *engine, const char *text, sinter_diag *diag) {
    size_t length = strcspn(text, "="), count = sinter_engine_output_count(engine);
    for (size_t i = 0; i < count && text[length]; ++i) {
        const char *name = sinter_engine_output(engine, i)->name;
        if (strlen(name) == length && !strncmp(name, text, length)) return i;
    }
    sinter_error(diag, text, "the model has no output of that name (--expect NAME=FILE)");
    return count;
}

/* Before the run, which may take long. */
static bool check_expected_names(const sinter_engine *engine, const arguments *a,
                                 sinter_diag *diag) {
    for (size_t i = 0; i < a->option_count; ++i)
        if (!strcmp(a->options[i].name, "expect") &&
            expected_output(engine, a->options[i].value, diag) ==
                sinter_engine_output_count(engine))
            return false;
    return true;
}

/* 0 equal, 1 different, 2 unusable. */
static int check_expectation(const sinter_engine *engine, const sinter_tensor *outputs,
                             const char *text, const tolerance *how, sinter_diag *diag) {
    size_t i = expected_output(engine, text, diag);
    sinter_tensor expected = {0};
    if (!read_expected(engine, i, text + strcspn(text, "=") + 1, &expected, diag)) return 2;
    sinter_text message = {0};
    bool same = sinter_tensor_compare(&outputs[i], &expected, how->rtol, how->atol, &message);
    if (!same) sinter_error(diag, sinter_engine_output(engine, i)->name, "%s", message.data);
    sinter_text_deinit(&message);
    sinter_tensor_deinit(&expected);
    return same ? 0 : 1;
}

static int check_expectations(const sinter_engine *engine, const sinter_tensor *outputs,
                              const arguments *a, const tolerance *how, sinter_diag *diag) {
    int status = 0;
    for (size_t i = 0; i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "expect")) continue;
        int one = check_expectation(engine, outputs, a->options[i].value, how, diag);
        if (one > status) status = one;
    }
    return status;
}

/* ---- one run for each index of a leading axis ---- */

static bool is_stacked(const sinter_engine *engine, size_t i, const sinter_tensor *input) {
    return input->kind == SINTER_TYPE_TENSOR &&
           (int64_t)input->rank == sinter_engine_input(engine, i)->rank + 1;
}

/* Item `index` of a stack, borrowed. */
static sinter_tensor item_of(const sinter_tensor *stack, int64_t index) {
    sinter_tensor item = *stack;
    item.storage = NULL;
    item.rank--;
    memmove(item.dims, stack->dims + 1, item.rank * sizeof *item.dims);
    if (index > 0)
        item.data = (const char *)stack->data +
                    sinter_tensor_bytes(stack) / (size_t)stack->dims[0] * (size_t)index;
    return item;
}

/* Number of runs; -1 after an error: stacks differ in length, or their elements are not whole bytes. */
static int64_t count_items(const sinter_engine *engine, const sinter_tensor *inputs,
                           sinter_diag *diag) {
    int64_t count = -1;
    for (size_t i = 0; i < sinter_engine_input_count(engine); ++i) {
        const char *name = sinter_engine_input(engine, i)->name;
        if (!is_stacked(engine, i, &inputs[i])) continue;
        if (sinter_dtype_infos[inputs[i].dtype].bits % 8 ||
            inputs[i].dtype == SINTER_DTYPE_string) {
            sinter_error(diag, name, "--each: elements must be whole bytes");
            return -1;
        }
        if (count >= 0 && inputs[i].dims[0] != count) {
            sinter_error(diag, name, "--each: has %lld items, another input %lld",
                         (long long)inputs[i].dims[0], (long long)count);
            return -1;
        }
        count = inputs[i].dims[0];
    }
    if (count < 1)
        sinter_error(diag, "--each",
                     "no input from a file has an axis more than the model's input");
    return count < 1 ? -1 : count;
}

/* Puts output `index` of one run at its place of the stack, which the first run makes. */
static bool stack_output(const sinter_tensor *output, int64_t index, int64_t count,
                         sinter_tensor *stack, sinter_diag *diag) {
    int64_t dims[SINTER_MAX_RANK] = {count};
    if (output->kind != SINTER_TYPE_TENSOR || output->rank + 1 > SINTER_MAX_RANK ||
        output->dtype == SINTER_DTYPE_string || sinter_dtype_infos[output->dtype].bits % 8)
        return sinter_error(diag, "--each", "outputs of this type can't be stacked");
    memcpy(dims + 1, output->dims, output->rank * sizeof *dims);
    if (index == 0 && !sinter_tensor_create(stack, output->dtype, output->rank + 1, dims, diag))
        return false;
    if (memcmp(stack->dims + 1, output->dims, output->rank * sizeof *dims))
        return sinter_error(diag, "--each", "an output changes its shape from run to run");
    size_t bytes = sinter_tensor_bytes(output);
    memcpy((char *)sinter_tensor_mutable(stack) + bytes * (size_t)index, output->data, bytes);
    return true;
}

/* Into stacks. */
static bool run_each(bound_run *run, sinter_diag *diag) {
    const tensors *inputs = &run->inputs, *stacks = &run->outputs;
    int64_t count = count_items(run->engine, inputs->items, diag);
    sinter_tensor *items = sinter_heap_alloc((inputs->count + 1) * sizeof *items); /* borrowed */
    tensors outputs = tensors_create(stacks->count);
    bool good = count > 0;
    for (int64_t index = 0; good && index < count; ++index) {
        for (size_t i = 0; i < inputs->count; ++i)
            items[i] = is_stacked(run->engine, i, &inputs->items[i])
                           ? item_of(&inputs->items[i], index)
                           : inputs->items[i];
        good = sinter_engine_run(run->engine, items, outputs.items, diag);
        for (size_t i = 0; good && i < stacks->count; ++i)
            good = stack_output(&outputs.items[i], index, count, &stacks->items[i], diag);
        tensors_clear(&outputs);
    }
    sinter_heap_free(items);
    tensors_destroy(&outputs);
    return good;
}

static int run_engine(sinter_engine *engine, const arguments *a, const tolerance *how,
                      sinter_diag *diag) {
    const char *folder = arguments_find(a, "o"), *case_folder = arguments_find(a, "write-case");
    if (folder && !check_file_names(engine, diag)) return 2;
    if (!check_expected_names(engine, a, diag)) return 2;
    bound_run run = bound_run_create(engine);
    int status = 2;
    trace_file trace;
    bool good = trace_file_open(&trace, a, diag) &&
                trace_file_start(&trace, engine, a->operands[0], diag) &&
                make_inputs(engine, a, run.inputs.items, diag) &&
                (arguments_has(a, "each") ? run_each(&run, diag) : bound_run_execute(&run, diag));
    if (good) {
        status = check_expectations(engine, run.outputs.items, a, how, diag);
        if (folder && !write_outputs(engine, run.outputs.items, folder, diag)) status = 2;
        if (case_folder && !write_case(&run, case_folder, diag)) status = 2;
        for (size_t i = 0; i < run.outputs.count; ++i)
            print_output(sinter_engine_output(engine, i), &run.outputs.items[i]);
    }
    if (!trace_file_close(&trace, good, diag)) status = 2;
    bound_run_destroy(&run);
    return status;
}

static int run(const arguments *a) {
    sinter_diag diag = stderr_diag();
    tolerance how;
    int status;
    if (!arguments_number(a, "rtol", 0, 1e9, 1e-3, &how.rtol) ||
        !arguments_number(a, "atol", 0, 1e9, 1e-7, &how.atol) ||
        (!sinter_job_is_one() && !check_folders(a, &diag)))
        return 2;
    sinter_engine *engine = open_engine(a->operands[0], a, &diag);
    if (!engine) return 2;
    if (serve_job(engine, &diag, &status)) return status;
    status =
        sinter_job_is_one() && !check_folders(a, &diag) ? 2 : run_engine(engine, a, &how, &diag);
    sinter_engine_destroy(engine);
    return status;
}

const command command_run = {
    .name = "run",
    .operands = "MODEL|ARTIFACT",
    .doc = "run a model on inputs and write or check its outputs",
    .usage = "sinter run MODEL|ARTIFACT [-i NAME=FILE|FILE.npz]... [-o DIR] [--write-case=DIR] "
             "[--expect=NAME=FILE|FILE.npz]...",
    .details = "Runs a model.",
    COMMAND_OPTIONS(own_options),
    .shared =
        ENGINE_OPTIONS " i size copy-weights rank-seconds exchange deterministic no-deterministic trace",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = run,
};
