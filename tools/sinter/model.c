/* What the sub-commands share: models with --dim, engines with --target, inputs from files or made. Test: tests/cli/ */
#include "frontends/import.h"
#include "ir/infer.h"
#include "tools/sinter/command.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const option_spec shared_options[] = {
    {.name = "target",
     .has_value = true,
     .doc = "cpu[:native|CPU][+FEATURE]..., so (the same through a file), c, loops or eval (cpu)",
     .need = NEEDS_MODEL},
    {.name = "dim",
     .has_value = true,
     .doc = "bind or bound a symbolic dimension: N=8, N=1..2048; may be repeated",
     .need = NEEDS_MODEL},
    {.name = "passes",
     .has_value = true,
     .doc = "comma-separated passes instead of the -O pipeline",
     .need = NEEDS_MODEL},
    {.name = "O", .has_value = true, .doc = "optimisation level 0..3 (2)", .need = NEEDS_LEVEL},
    {.name = "no-winograd",
     .doc = "no Winograd convolutions: slower, but sums of the very products that define them",
     .need = NEEDS_PASSES},
    {.name = "threads", .has_value = true, .doc = "threads to run on (1)", .need = NEEDS_NATIVE},
    {.name = "jobs",
     .has_value = true,
     .doc = "threads to compile with (one a core)",
     .need = NEEDS_CODE},
    {.name = "cache",
     .has_value = true,
     .doc = "folder of compiled kernels to use and to fill ($SINTER_CACHE; none)",
     .need = NEEDS_CODE},
    {.name = "verify-each", .doc = "verify the graph after every pass", .need = NEEDS_PASSES},
    {.name = "print-after",
     .has_value = true,
     .doc = "print the graph after PASS, or all",
     .need = NEEDS_PASSES},
    {.name = "stop-after",
     .has_value = true,
     .doc = "run only the first N passes that change something",
     .need = NEEDS_PASSES},
    {.name = "time-passes", .doc = "show the time of every pass", .need = NEEDS_PASSES},
    {.name = "i",
     .has_value = true,
     .doc = "NAME=FILE: an input (.npy, .pb or raw); missing ones are made from a seed"},
    {.name = "size",
     .has_value = true,
     .doc = "N=8: a symbolic dimension of inputs that are made (1); may be repeated",
     .need = NEEDS_MODEL},
};
const size_t shared_option_count = sizeof shared_options / sizeof *shared_options;

sinter_diag stderr_diag(void) {
    return (sinter_diag){.handler = sinter_diag_print_handler, .user = stderr};
}

sinter_module *load_model(const char *path, const arguments *a, sinter_diag *diag) {
    sinter_module *module = sinter_import_file(path, diag);
    for (size_t i = 0; module && i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "dim") ||
            sinter_infer_bind_text(module, a->options[i].value, diag))
            continue;
        sinter_module_destroy(module);
        return NULL;
    }
    return module;
}

bool engine_options(const arguments *a, sinter_engine_options *out_options) {
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    int64_t level, threads, jobs, stop;
    if (!arguments_integer(a, "O", 0, 3, 2, &level) ||
        !arguments_integer(a, "threads", 1, 1024, 1, &threads) ||
        !arguments_integer(a, "jobs", 0, 64, 0, &jobs) ||
        !arguments_integer(a, "stop-after", -1, 1000000000, -1, &stop))
        return false;
    options.target = arguments_find(a, "target");
    options.passes = arguments_find(a, "passes");
    options.level = (int)level;
    bool eval = options.target && !strcmp(options.target, "eval");
    if (eval && !options.passes && arguments_has(a, "O")) /* otherwise the graph as it is */
        options.passes = sinter_pipeline_of_level(options.level);
    options.thread_count = (int)threads;
    options.jobs = (int)jobs;
    options.cache = arguments_has(a, "cache") ? arguments_find(a, "cache") : getenv("SINTER_CACHE");
    if (options.cache && !*options.cache) options.cache = NULL;
    options.stop_after = stop;
    options.verify_each = arguments_has(a, "verify-each");
    options.verify_weights = arguments_has(a, "verify");
    options.print_after = arguments_find(a, "print-after");
    options.time_passes = arguments_has(a, "time-passes");
    options.no_winograd = arguments_has(a, "no-winograd");
    *out_options = options;
    return true;
}

sinter_engine *open_engine(const char *path, const arguments *a, sinter_diag *diag) {
    sinter_engine_options options;
    bool is_artifact = sinter_engine_is_artifact(path);
    if (!engine_options(a, &options) || !arguments_apply(a, is_artifact, &options.target, 1))
        return NULL;
    if (is_artifact) return sinter_engine_load(path, &options, diag);
    sinter_module *module = load_model(path, a, diag);
    return module ? sinter_engine_create(module, &options, diag) : NULL;
}

/* ---- runs ---- */

tensors tensors_create(size_t count) {
    return (tensors){sinter_heap_alloc((count + 1) * sizeof(sinter_tensor)), count};
}

void tensors_clear(tensors *list) {
    for (size_t i = 0; i < list->count; ++i) {
        sinter_tensor_deinit(&list->items[i]);
        list->items[i] = (sinter_tensor){0};
    }
}

void tensors_destroy(tensors *list) {
    tensors_clear(list);
    sinter_heap_free(list->items);
    *list = (tensors){0};
}

bound_run bound_run_create(sinter_engine *engine) {
    return (bound_run){engine, tensors_create(sinter_engine_input_count(engine)),
                       tensors_create(sinter_engine_output_count(engine))};
}

bool bound_run_execute(bound_run *run, sinter_diag *diag) {
    return sinter_engine_run(run->engine, run->inputs.items, run->outputs.items, diag);
}

void bound_run_destroy(bound_run *run) {
    tensors_destroy(&run->inputs);
    tensors_destroy(&run->outputs);
}

/* ---- inputs ---- */

static const char *input_file(const arguments *a, const char *name) {
    for (size_t i = a->option_count; i-- > 0;) {
        const char *value = a->options[i].value, *equals;
        if (strcmp(a->options[i].name, "i") || !(equals = strchr(value, '='))) continue;
        if ((size_t)(equals - value) == strlen(name) && !strncmp(value, name, strlen(name)))
            return equals + 1;
    }
    return NULL;
}

static uint64_t next_random(uint64_t *state) { /* SplitMix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in [-1, 1) for floats; 0 or 1 for integers, which index something more often than not. */
static void fill(sinter_tensor *tensor, uint64_t *state) {
    int64_t count = sinter_tensor_count(tensor);
    for (int64_t i = 0; i < count; ++i) {
        uint64_t bits = next_random(state);
        if (sinter_dtype_is_float(tensor->dtype))
            sinter_tensor_set_double(tensor, i, (double)(bits >> 11) * 0x1p-52 - 1);
        else if (tensor->dtype == SINTER_DTYPE_string)
            sinter_tensor_set_string(tensor, i, SINTER_STRING("text"));
        else
            sinter_tensor_set_int(tensor, i, (int64_t)(bits & 1));
    }
}

/* What --size says of a dim of an input; 1 where nothing does. */
static int64_t made_size(const sinter_engine *engine, const arguments *a, size_t input, int32_t d) {
    sinter_module *module = sinter_engine_module(engine);
    if (!module) return 1;
    sinter_dim_table *dims = sinter_module_dims(module);
    const sinter_type *type =
        sinter_value_type(module, sinter_module_input(module, (uint32_t)input));
    if (sinter_dim_get_kind(dims, type->dims[d]) != SINTER_DIM_SYMBOL) return 1;
    const char *name = sinter_dim_get_symbol(dims, type->dims[d])->name;
    for (size_t i = a->option_count; i-- > 0;) { /* the last one holds, as with other options */
        const char *value = a->options[i].value;
        if (!strcmp(a->options[i].name, "size") && !strncmp(value, name, strlen(name)) &&
            value[strlen(name)] == '=')
            return strtoll(value + strlen(name) + 1, NULL, 10);
    }
    return 1;
}

/* The symbol is one that a dim of an input is. */
static bool is_input_symbol(const sinter_engine *engine, const char *name, size_t length) {
    sinter_module *module = sinter_engine_module(engine);
    sinter_dim_table *dims = sinter_module_dims(module);
    for (uint32_t i = 0; i < sinter_module_input_count(module); ++i) {
        const sinter_type *type = sinter_value_type(module, sinter_module_input(module, i));
        for (uint32_t d = 0; type->kind == SINTER_TYPE_TENSOR && d < type->rank; ++d) {
            if (sinter_dim_get_kind(dims, type->dims[d]) != SINTER_DIM_SYMBOL) continue;
            const char *known = sinter_dim_get_symbol(dims, type->dims[d])->name;
            if (strlen(known) == length && !memcmp(known, name, length)) return true;
        }
    }
    return false;
}

static bool check_sizes(const sinter_engine *engine, const arguments *a, sinter_diag *diag) {
    for (size_t i = 0; i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "size")) continue;
        const char *value = a->options[i].value, *equals = strchr(value, '=');
        size_t digits = equals ? strspn(equals + 1, "0123456789") : 0;
        if (digits == 0 || digits > 12 || equals[1 + digits])
            return sinter_error(diag, value, "--size: expected NAME=NUMBER");
        if (sinter_engine_module(engine) &&
            !is_input_symbol(engine, value, (size_t)(equals - value)))
            return sinter_error(diag, value, "--size: no dim of an input has this name");
    }
    return true;
}

static bool make_input(const sinter_engine *engine, const arguments *a, size_t input,
                       uint64_t *state, sinter_tensor *out_tensor, sinter_diag *diag) {
    const sinter_abi_io *io = sinter_engine_input(engine, input);
    int64_t dims[SINTER_MAX_RANK];
    sinter_text shape = {0};
    for (int32_t d = 0; d < io->rank; ++d) {
        dims[d] = io->dims[d] < 0 ? made_size(engine, a, input, d) : io->dims[d];
        sinter_text_format(&shape, d ? ",%lld" : "%lld", (long long)dims[d]);
    }
    sinter_dtype dtype = sinter_dtype_from_onnx(io->dtype);
    if (!dtype)
        return sinter_error(diag, io->name, "is not a tensor: give it with -i %s=FILE", io->name);
    fprintf(stderr, "note: input %s: made %s[%s] from a seed%s\n", shown(io->name),
            sinter_dtype_infos[dtype].name, shape.data ? shape.data : "",
            sinter_dtype_is_float(dtype) ? "" : " (0 and 1)");
    sinter_text_deinit(&shape);
    if (!sinter_tensor_create(out_tensor, dtype, (uint32_t)io->rank, dims, diag)) return false;
    fill(out_tensor, state);
    return true;
}

/* Sequences and optionals: the type that the module declares tells how a file keeps them. */
static const sinter_type *structured_type(const sinter_engine *engine, bool is_output,
                                          size_t index) {
    sinter_module *module = sinter_engine_module(engine);
    if (!module) return NULL;
    uint32_t i = (uint32_t)index;
    const sinter_type *type = sinter_value_type(module, is_output ? sinter_module_output(module, i)
                                                                  : sinter_module_input(module, i));
    return type->kind == SINTER_TYPE_TENSOR ? NULL : type;
}

/* Raw files need the type: dims that are not numbers become symbols. */
bool read_input(const sinter_engine *engine, size_t index, const char *path,
                sinter_tensor *out_tensor, sinter_diag *diag) {
    const sinter_abi_io *io = sinter_engine_input(engine, index);
    sinter_dtype dtype = sinter_dtype_from_onnx(io->dtype);
    if (!dtype) {
        const sinter_type *type = structured_type(engine, false, index);
        sinter_dim_table *dims = type ? sinter_module_dims(sinter_engine_module(engine)) : NULL;
        return sinter_tensor_read_file(path, type, dims, out_tensor, diag);
    }
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_dim_table *table = sinter_dim_table_create(&arena);
    sinter_dim dims[SINTER_MAX_RANK];
    for (int32_t d = 0; d < io->rank; ++d)
        dims[d] =
            io->dims[d] < 0 ? sinter_dim_fresh(table, "dim") : sinter_dim_const(table, io->dims[d]);
    sinter_type type = sinter_type_tensor(&arena, dtype, (uint32_t)io->rank, dims);
    bool good = sinter_tensor_read_file(path, &type, table, out_tensor, diag);
    sinter_arena_deinit(&arena);
    return good;
}

bool read_expected(const sinter_engine *engine, size_t index, const char *path,
                   sinter_tensor *out_tensor, sinter_diag *diag) {
    const sinter_type *type = structured_type(engine, true, index);
    sinter_type kind = {.kind = type ? type->kind : SINTER_TYPE_NONE};
    return sinter_tensor_read_file(path, type ? &kind : NULL, NULL, out_tensor, diag);
}

/* Each -i names an input, and no input twice. */
static bool check_input_names(const sinter_engine *engine, const arguments *a, sinter_diag *diag) {
    bool *given = keep_until_exit((sinter_engine_input_count(engine) + 1) * sizeof *given);
    for (size_t i = 0; i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "i")) continue;
        const char *value = a->options[i].value;
        size_t length = strcspn(value, "="), k = 0;
        if (!value[length] || !value[length + 1])
            return sinter_error(diag, value, "-i: expected NAME=FILE");
        for (; k < sinter_engine_input_count(engine); ++k) {
            const char *name = sinter_engine_input(engine, k)->name;
            if (strlen(name) == length && !strncmp(name, value, length)) break;
        }
        if (k == sinter_engine_input_count(engine))
            return sinter_error(diag, value, "the model has no input of that name (-i NAME=FILE)");
        if (given[k]) return sinter_error(diag, value, "-i: the input is given twice");
        given[k] = true;
    }
    return true;
}

bool make_inputs(const sinter_engine *engine, const arguments *a, sinter_tensor *out_inputs,
                 sinter_diag *diag) {
    if (!check_input_names(engine, a, diag)) return false;
    uint64_t state = 1;
    bool stacks = arguments_has(a, "each");
    if (!check_sizes(engine, a, diag)) return false;
    for (size_t i = 0; i < sinter_engine_input_count(engine); ++i) {
        const sinter_abi_io *io = sinter_engine_input(engine, i);
        const char *path = input_file(a, io->name);
        /* stacks of items are checked item by item when run */
        bool good = !path    ? make_input(engine, a, i, &state, &out_inputs[i], diag)
                    : stacks ? sinter_tensor_read_file(path, NULL, NULL, &out_inputs[i], diag)
                             : read_input(engine, i, path, &out_inputs[i], diag);
        if (!good) return false;
    }
    return true;
}
