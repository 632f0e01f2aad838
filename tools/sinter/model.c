/* What the sub-commands share: models with --dim, engines with --target, inputs from files or made. Test: tests/cli/ */
#include "codegen/tuning.h"
#include "frontends/import.h"
#include "ir/infer.h"
#include "runtime/device.h"
#include "runtime/jit/inputs.h"
#include "runtime/job.h"
#include "tools/sinter/command.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const option_spec shared_options[] = {
    {.name = "i",
     .value = "NAME=FILE",
     .takes_archive = true,
     .file = READS_FILE,
     .doc = "an input from a file (.npy, .npz, .pb or raw numbers), or FILE.npz for all that it "
            "has; missing ones are made from a seed"},
    {.name = "size",
     .value = "NAME=N",
     .doc = "a symbolic dimension of inputs that are made (as in the inputs given, or 1); may be "
            "repeated"},
    {.name = "target",
     .value = "TARGET",
     .doc = "cpu[:CPU][+FEATURE]..., cuda[:sm_90[+sm_80]...], so (cpu through a file), c, loops or "
            "eval "
            "(cpu)",
     .need = NEEDS_MODEL},
    {.name = "device",
     .value = "DEVICE",
     .doc = "cpu, cuda or cuda:NUMBER; what is compiled is then compiled for it; ranks of several "
            "take all devices in turn, or the one of the NUMBER (cpu; cuda for a target of cuda)"},
    {.name = "dim",
     .value = "NAME=SIZE",
     .doc = "bind or bound a symbolic dimension: N=8, N=1..2048; may be repeated",
     .need = NEEDS_MODEL},
    {.name = "passes",
     .value = "LIST",
     .doc = "comma-separated passes instead of the -O pipeline",
     .need = NEEDS_MODEL},
    {.name = "O",
     .value = "LEVEL",
     .doc = "optimisation level 0..3 (2); 3 does what 2 does so far",
     .need = NEEDS_LEVEL},
    {.name = "precision",
     .value = "TYPE",
     .doc =
         "f32; bf16: products of operands rounded to bf16, summed in f32, which some processors "
         "do twice as fast; tf32: the same of 10 bits of mantissa, for GPUs from sm_80 on; f16: "
         "weights rounded to f16, half the bytes, for a GPU operands, as "
         "bf16; i8: what is multiplied by weights of 2 or 4 bits rounded to bytes, in blocks like "
         "theirs (f32)",
     .need = NEEDS_PASSES},
    {.name = "no-overlap",
     .doc = "exchanges between ranks end where they begin: no kernels run meanwhile",
     .need = NEEDS_PASSES},
    {.name = "no-winograd",
     .doc = "no Winograd convolutions: slower, but sums of the very products that define them",
     .need = NEEDS_PASSES},
    {.name = "tuning",
     .value = "FILE",
     .file = READS_FILE,
     .doc = "choices of schedules that sinter tune measured on this machine (the cost model's)",
     .need = NEEDS_CODE},
    {.name = "threads", .value = "N", .doc = "threads to run on (1)", .need = NEEDS_THREADS},
    {.name = "copy-weights",
     .doc = "copy an artifact's weights into memory that asks for huge pages instead of mapping "
            "its file: for file systems that map in small ones",
     .need = NEEDS_ARTIFACT},
    {.name = "rank-seconds",
     .value = "S",
     .doc = "of programs of several ranks: how long one waits for the others (25)",
     .need = NEEDS_RANKS},
    {.name = "exchange",
     .value = "WAY",
     .doc = "of programs of several ranks on GPUs: nccl, by that library, which needs a GPU for "
            "each rank; host, through memory of the host; auto, the first where it can be (auto)",
     .need = NEEDS_RANKS},
    {.name = "deterministic",
     .doc =
         "of programs of several ranks: sums over ranks have one order, so that each run has the "
         "same bits (this is so)",
     .need = NEEDS_RANKS,
     .without = "no-deterministic"},
    {.name = "no-deterministic",
     .doc =
         "of programs of several ranks: sums of floats over ranks are made in any order, between "
         "processes by MPI; the last digits may be others in each run",
     .need = NEEDS_RANKS},
    {.name = "trace",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "file for when each kernel and each exchange between ranks ran, as trace events (JSON) "
            "for a viewer such as Perfetto",
     .need = NEEDS_NATIVE},
    {.name = "jobs",
     .value = "N",
     .doc = "threads to compile with (one a core)",
     .need = NEEDS_CODE},
    {.name = "cache",
     .value = "DIR",
     .doc = "folder of compiled kernels to use and to fill ($SINTER_CACHE; none)",
     .need = NEEDS_CODE},
    {.name = "verify-each", .doc = "verify the graph after every pass", .need = NEEDS_PASSES},
    {.name = "print-after",
     .value = "PASS",
     .doc = "print the graph after PASS, or all",
     .need = NEEDS_PASSES},
    {.name = "stop-after",
     .value = "N",
     .doc = "run only the first N passes that change something",
     .need = NEEDS_PASSES},
    {.name = "time-passes", .doc = "show the time of every pass", .need = NEEDS_PASSES},
};
const size_t shared_option_count = sizeof shared_options / sizeof *shared_options;

void show_progress(const char *format, ...) {
    va_list list;
    if (!isatty(STDERR_FILENO)) return;
    fputs("\r\033[K", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
}

sinter_diag stderr_diag(void) {
    return (sinter_diag){.handler = sinter_diag_print_handler, .user = stderr};
}

sinter_module *load_model(const char *path, const arguments *a, sinter_diag *diag) {
    if (sinter_engine_is_artifact(path) && !access(path, F_OK)) {
        sinter_error(diag, path, "is compiled already; this needs the model");
        return NULL;
    }
    struct stat status;
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        sinter_error(diag, path,
                     "is a folder that has no programs: neither those of ranks (ranks.txt) nor of "
                     "stages (stages.txt)");
        return NULL;
    }
    return sinter_import_file_bound(path, arguments_list(a, "dim"), diag);
}

sinter_module *load_micro(const arguments *a, const char *micro, sinter_diag *diag) {
    sinter_module *module = sinter_import_file(a->operands[0], diag);
    bool good = module && sinter_infer_bind_text(module, micro, diag);
    size_t name = strcspn(micro, "=") + 1;
    for (size_t i = 0; good && i < a->option_count; ++i)
        if (!strcmp(a->options[i].name, "dim") && strncmp(a->options[i].value, micro, name) != 0)
            good = sinter_infer_bind_text(module, a->options[i].value, diag);
    if (good) return module;
    sinter_module_destroy(module);
    return NULL;
}

bool count_micro_batches(const sinter_module *whole, const sinter_module *part, int64_t *out_count,
                         sinter_diag *diag) {
    *out_count = 1;
    for (uint32_t i = 0; i < sinter_module_input_count(whole); ++i) {
        const sinter_type *all = sinter_value_type(whole, sinter_module_input(whole, i)),
                          *own = sinter_value_type(part, sinter_module_input(part, i));
        int64_t size = 0, piece = 0;
        if (all->kind != SINTER_TYPE_TENSOR || !all->rank ||
            !sinter_dim_is_const(sinter_module_dims(part), own->dims[0], &piece))
            continue;
        bool is_known = sinter_dim_is_const(sinter_module_dims(whole), all->dims[0], &size);
        if (is_known && size == piece) continue;
        *out_count = is_known ? size / (piece > 0 ? piece : 1) : 0;
        if (piece > 0 && (!is_known || size % piece == 0)) return true;
        return sinter_error(diag, "--micro", "%lld is no part of the batch of %lld",
                            (long long)piece, (long long)size);
    }
    return true;
}

/* "batch 1, length 1": each symbol once. */
static void list_assumed(sinter_module *module, sinter_arena *scratch, sinter_text *text) {
    sinter_dim_table *dims = sinter_module_dims(module);
    const int64_t *sizes = sinter_dim_assume(dims, scratch, 1);
    sinter_map told;
    sinter_map_init(&told, scratch);
    for (uint32_t i = 0; i < sinter_module_input_count(module); i++) {
        const sinter_type *type = sinter_value_type(module, sinter_module_input(module, i));
        for (uint32_t d = 0; type->kind == SINTER_TYPE_TENSOR && d < type->rank; d++) {
            int64_t size;
            if (sinter_dim_get_kind(dims, type->dims[d]) != SINTER_DIM_SYMBOL ||
                sinter_map_find(&told, type->dims[d], NULL) ||
                !sinter_dim_evaluate(dims, type->dims[d], sizes, &size))
                continue;
            sinter_map_put(&told, type->dims[d], 1);
            sinter_text_append_string(text, text->size ? ", " : "");
            sinter_dim_print(dims, type->dims[d], text);
            sinter_text_format(text, " %lld", (long long)size);
        }
    }
}

void tell_assumed(sinter_module *module, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_text list = {0};
    sinter_arena_init(&scratch);
    list_assumed(module, &scratch, &list);
    if (list.size)
        sinter_note(diag, sinter_module_name(module),
                    "symbolic dims count as these numbers: %s (--dim NAME=SIZE says others)",
                    list.data);
    sinter_text_deinit(&list);
    sinter_arena_deinit(&scratch);
}

/* Once a command; it lives as long as the process. */
static bool read_tuning(const arguments *a, sinter_engine_options *options) {
    static sinter_tuning *tuning;
    sinter_diag diag = stderr_diag();
    const char *path = arguments_find(a, "tuning");
    if (path && !tuning) tuning = sinter_tuning_read(path, &diag);
    options->tuning = path ? tuning : NULL;
    return !path || tuning;
}

static bool read_exchange(const arguments *a, sinter_exchange_way *out_way) {
    static const char *const ways[] = {[SINTER_EXCHANGE_AUTO] = "auto",
                                       [SINTER_EXCHANGE_HOST] = "host",
                                       [SINTER_EXCHANGE_NCCL] = "nccl"};
    const char *wanted = arguments_find(a, "exchange");
    *out_way = SINTER_EXCHANGE_AUTO;
    for (size_t i = 0; wanted && i < sizeof ways / sizeof *ways; i++) {
        *out_way = (sinter_exchange_way)i;
        if (!strcmp(wanted, ways[i])) return true;
    }
    return !wanted || usage_error(a->verb, "--exchange=%s: expected auto, host or nccl", wanted);
}

bool engine_options(const arguments *a, sinter_engine_options *out_options) {
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    int64_t level, threads, jobs, stop;
    if (!arguments_integer(a, "O", 0, 3, 2, &level) ||
        !arguments_integer(a, "threads", 1, 1024, 1, &threads) ||
        !arguments_integer(a, "jobs", 0, 64, 0, &jobs) ||
        !arguments_integer(a, "stop-after", 0, 1000000000, -1, &stop) ||
        !arguments_number(a, "rank-seconds", 0.01, 1e6, 0, &options.rank_seconds))
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
    options.copy_weights = arguments_has(a, "copy-weights");
    options.print_after = arguments_find(a, "print-after");
    options.time_passes = arguments_has(a, "time-passes");
    options.any_order = arguments_has(a, "no-deterministic");
    if (!read_exchange(a, &options.exchange)) return false;
    options.no_overlap = arguments_has(a, "no-overlap");
    options.no_winograd = arguments_has(a, "no-winograd");
    if (!read_tuning(a, &options)) return false;
    const char *precision = arguments_find(a, "precision");
    if (precision && !sinter_precision_parse(precision, &options.precision))
        return usage_error(a->verb, "--precision=%s: expected " SINTER_PRECISION_NAMES, precision);
    *out_options = options;
    return true;
}

static sinter_device *opened;

static void close_device(void) {
    sinter_device_close(opened);
}

/* An arena that lives as long as the process. */
static sinter_arena *names(void) {
    static sinter_arena arena;
    if (!arena.blocks) sinter_arena_init(&arena);
    return &arena;
}

static bool is_cuda(const char *target) {
    return target && !strncmp(target, "cuda", 4);
}

const char *device_name(const arguments *a, const char *target) {
    const char *wanted = arguments_find(a, "device");
    return wanted ? wanted : is_cuda(target) ? "cuda" : "cpu";
}

/* Of processes of a job each takes the next device of its machine. */
static const char *own_device(const char *kind) {
    uint32_t count = 0;
    if (!sinter_job_is_one()) return kind;
    sinter_status_destroy(sinter_device_count(kind, &count)); /* opening tells why */
    return count ? sinter_arena_format(names(), "%s:%lld", kind,
                                       (long long)(sinter_job_local_rank() % count))
                 : kind;
}

bool open_device(const arguments *a, sinter_engine_options *options, sinter_diag *diag) {
    const char *target = options->target, *wanted = device_name(a, target);
    if (!strcmp(wanted, "cpu") && !is_cuda(target)) return true;
    if (!strcmp(wanted, "cpu") || (target && !is_cuda(target)))
        return usage_error(a->verb, "--device=%s does not run code of --target=%s", wanted, target);
    const bool in_turns = !strchr(wanted, ':');
    if (!opened) {
        const char *name = in_turns ? own_device(wanted) : wanted;
        if (!sinter_engine_report(sinter_device_open(name, NULL, &opened), "device", diag))
            return false;
        atexit(close_device);
    }
    options->device = opened;
    options->one_device = !in_turns;
    if (!target || !strcmp(target, "cuda"))
        options->target = sinter_engine_device_target(opened, names(), diag);
    return options->target != NULL;
}

/* Processes of a job have the programs of a folder to run: each would run all of what is no folder. */
static bool check_job(const char *path, sinter_diag *diag) {
    if (!sinter_job_is_one() || sinter_job_process_count() == 1 || sinter_engine_is_folder(path))
        return true;
    return sinter_error(diag, path,
                        "is one program, which each process of the job would run by itself: "
                        "processes run the folder that `sinter shard` makes of a model");
}

sinter_engine *open_engine(const char *path, const arguments *a, sinter_diag *diag) {
    sinter_engine_options options;
    const bool is_artifact = sinter_engine_is_artifact(path);
    const operand_kind kind = sinter_engine_is_folder(path) ? IS_FOLDER
                              : is_artifact                 ? IS_ARTIFACT
                                                            : IS_MODEL;
    if (!check_job(path, diag) || !engine_options(a, &options) || !open_device(a, &options, diag) ||
        !arguments_apply(a, kind, &options.target, 1))
        return NULL;
    if (is_artifact) return sinter_engine_open(path, &options, diag);
    if (!sinter_engine_check(&options, diag)) return NULL; /* before a model that may be large */
    sinter_module *module = load_model(path, a, diag);
    return module ? sinter_engine_create(module, &options, diag) : NULL;
}

bool serve_job(sinter_engine *engine, sinter_diag *diag, int *out_status) {
    if (!sinter_engine_serves(engine)) return false;
    *out_status = sinter_engine_serve(engine, diag) ? 0 : 2;
    sinter_engine_destroy(engine);
    return true;
}

/* ---- runs ---- */

tensors tensors_create(size_t count) {
    return (tensors){sinter_heap_alloc((count + 1) * sizeof(sinter_tensor)), count};
}

void tensors_clear(tensors *list) {
    sinter_tensors_deinit(list->items, list->count);
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

/* "N", where the dim is a symbol. */
static const char *dim_name(const sinter_abi_io *io, int32_t d) {
    const char *name = io->dims[d] < 0 && io->dim_names ? io->dim_names[d] : NULL;
    return name && !strpbrk(name, " *(") ? name : "";
}

/* The size of a dim of that name in an input from a file. */
static int64_t given_size(const sinter_engine *engine, const sinter_tensor *inputs,
                          const char *name, int64_t otherwise) {
    for (size_t i = 0; i < sinter_engine_input_count(engine); ++i) {
        const sinter_abi_io *io = sinter_engine_input(engine, i);
        if (inputs[i].kind != SINTER_TYPE_TENSOR || inputs[i].rank < (uint32_t)io->rank) continue;
        uint32_t skip = inputs[i].rank - (uint32_t)io->rank; /* --each has an axis in front */
        for (int32_t d = 0; d < io->rank; ++d)
            if (!strcmp(dim_name(io, d), name)) return inputs[i].dims[skip + (uint32_t)d];
    }
    return otherwise;
}

/* The least that is not 0 and that the symbol may be, as --dim said or the model follows. */
static int64_t least_size(const sinter_engine *engine, const char *name) {
    const sinter_abi_artifact *artifact = sinter_engine_artifact(engine);
    sinter_module *module = sinter_engine_module(engine);
    int64_t min = 1, multiple = 1;
    for (uint32_t i = 0; artifact && i < artifact->symbol_count; ++i)
        if (!strcmp(artifact->symbols[i].name, name)) {
            min = artifact->symbols[i].min;
            multiple = artifact->symbols[i].multiple;
        }
    sinter_dim_table *dims = !artifact && module ? sinter_module_dims(module) : NULL;
    for (size_t i = 0; dims && i < sinter_dim_symbol_count(dims); ++i) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(dims, sinter_dim_symbol_at(dims, i));
        if (symbol->name && !strcmp(symbol->name, name)) {
            min = symbol->min;
            multiple = symbol->multiple;
        }
    }
    if (min < 1) min = 1;
    return multiple > 1 && min <= INT64_MAX - multiple ? (min + multiple - 1) / multiple * multiple
                                                       : min;
}

/* What --size says of a dim of an input, else what inputs from files have there, else the least. */
static int64_t made_size(const sinter_engine *engine, const arguments *a,
                         const sinter_tensor *inputs, const char *name) {
    if (!*name) return 1;
    for (size_t i = a->option_count; i-- > 0;) { /* the last one holds, as with other options */
        const char *value = a->options[i].value;
        if (!strcmp(a->options[i].name, "size") && !strncmp(value, name, strlen(name)) &&
            value[strlen(name)] == '=')
            return strtoll(value + strlen(name) + 1, NULL, 10);
    }
    return given_size(engine, inputs, name, least_size(engine, name));
}

/* Some input that is made has a dim of that name. */
static bool check_size_name(const sinter_engine *engine, const arguments *a, const char *value,
                            sinter_diag *diag) {
    sinter_text known = {0};
    bool found = false, used = false;
    for (size_t i = 0; i < sinter_engine_input_count(engine); ++i) {
        const sinter_abi_io *io = sinter_engine_input(engine, i);
        for (int32_t d = 0; d < io->rank; ++d) {
            const char *name = dim_name(io, d);
            size_t size = strlen(name);
            bool fits = size && !strncmp(name, value, size) && value[size] == '=';
            found = found || fits;
            used = used || (fits && !input_file(a, io->name));
            if (size && !is_named(known.data ? known.data : "", name))
                sinter_text_format(&known, "%s%s", known.size ? " " : "", name);
        }
    }
    if (!found)
        sinter_error(diag, value, "--size: no input has a dimension of that name; there %s%s",
                     known.size ? "are: " : "is none", known.size ? known.data : "");
    else if (!used)
        sinter_error(diag, value,
                     "--size does nothing: it is for inputs that are made, and all that have this "
                     "dimension are given");
    sinter_text_deinit(&known);
    return used;
}

static bool check_sizes(const sinter_engine *engine, const arguments *a, sinter_diag *diag) {
    for (size_t i = 0; i < a->option_count; ++i) {
        if (strcmp(a->options[i].name, "size")) continue;
        const char *value = a->options[i].value, *equals = strchr(value, '=');
        size_t digits = equals ? strspn(equals + 1, "0123456789") : 0;
        if (digits == 0 || equals[1 + digits])
            return sinter_error(diag, value, "--size: expected NAME=NUMBER");
        if (digits > 18) /* all of 18 digits fit an i64 */
            return sinter_error(diag, value, "--size: expected a number of at most 18 digits");
        if (!check_size_name(engine, a, value, diag)) return false;
    }
    return true;
}

static bool make_input(const sinter_engine *engine, const arguments *a, size_t input,
                       uint64_t *state, sinter_tensor *inputs, sinter_diag *diag) {
    const sinter_abi_io *io = sinter_engine_input(engine, input);
    int64_t dims[SINTER_MAX_RANK];
    sinter_text shape = {0};
    for (int32_t d = 0; d < io->rank; ++d) {
        dims[d] = io->dims[d] < 0 ? made_size(engine, a, inputs, dim_name(io, d)) : io->dims[d];
        sinter_text_format(&shape, d ? ",%lld" : "%lld", (long long)dims[d]);
    }
    sinter_dtype dtype = sinter_dtype_from_onnx(io->dtype);
    if (!dtype)
        return sinter_error(diag, io->name, "is not a tensor: give it with -i %s=FILE", io->name);
    sinter_note(diag, "", "input %s: made %s[%s] from a seed (%s)", shown(io->name),
                sinter_dtype_infos[dtype].name, shape.data ? shape.data : "",
                sinter_inputs_describe(dtype));
    sinter_text_deinit(&shape);
    if (!sinter_tensor_create(&inputs[input], dtype, (uint32_t)io->rank, dims, diag)) return false;
    sinter_inputs_fill(&inputs[input], state);
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
        return sinter_tensor_read_named(path, io->name, type, dims, out_tensor, diag);
    }
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_dim_table *table = sinter_dim_table_create(&arena);
    sinter_dim dims[SINTER_MAX_RANK];
    for (int32_t d = 0; d < io->rank; ++d) {
        const char *name = dim_name(io, d); /* for messages */
        dims[d] = io->dims[d] >= 0 ? sinter_dim_const(table, io->dims[d])
                  : *name          ? sinter_dim_symbol_named(table, sinter_string_of(name))
                                   : sinter_dim_fresh(table, "dim");
    }
    sinter_type type = sinter_type_tensor(&arena, dtype, (uint32_t)io->rank, dims);
    bool good = sinter_tensor_read_named(path, io->name, &type, table, out_tensor, diag);
    sinter_arena_deinit(&arena);
    return good;
}

bool read_expected(const sinter_engine *engine, size_t index, const char *path,
                   sinter_tensor *out_tensor, sinter_diag *diag) {
    const sinter_type *type = structured_type(engine, true, index);
    const sinter_abi_io *io = sinter_engine_output(engine, index);
    /* Of a tensor the element type alone, for files that have no name for it. */
    const sinter_type kind = {.kind = type ? type->kind : SINTER_TYPE_NONE,
                              .dtype =
                                  type ? SINTER_DTYPE_NONE : sinter_dtype_from_onnx(io->dtype)};
    return sinter_tensor_read_named(path, io->name, &kind, NULL, out_tensor, diag);
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
        const char *name = sinter_engine_input(engine, i)->name, *path = input_file(a, name);
        if (!path) continue;
        /* stacks of items are checked item by item when run */
        if (!(stacks ? sinter_tensor_read_named(path, name, NULL, NULL, &out_inputs[i], diag)
                     : read_input(engine, i, path, &out_inputs[i], diag)))
            return false;
    }
    for (size_t i = 0; i < sinter_engine_input_count(engine); ++i)
        if (!input_file(a, sinter_engine_input(engine, i)->name) &&
            !make_input(engine, a, i, &state, out_inputs, diag))
            return false;
    return true;
}
