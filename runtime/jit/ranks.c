/* Programs of ranks, loaded from their folder and run as threads of this process; see ranks.h. Test: tests/cli/shard.test */
#include "ir/base/file.h"
#include "ir/base/lex.h"
#include "ir/sharding_tensor.h"
#include "runtime/collectives.h"
#include "runtime/executable.h"
#include "runtime/jit/failures.h"
#include "runtime/jit/messages.h"
#include "runtime/jit/ranks_internal.h"

#include <string.h>
#include <sys/stat.h>

/* ---- the folder ---- */

const char *sinter_ranks_list(sinter_arena *arena, const char *folder) {
    return sinter_arena_format(arena, "%s/" SINTER_RANKS_LIST, folder);
}

const char *sinter_ranks_path(sinter_arena *arena, const char *folder, int64_t rank) {
    return sinter_arena_format(arena, "%s/rank_%lld.so", folder, (long long)rank);
}

bool sinter_ranks_is_folder(const char *path) {
    sinter_arena scratch;
    struct stat status; /* the list is found in no file but a folder */
    sinter_arena_init(&scratch);
    bool is = stat(sinter_ranks_list(&scratch, path), &status) == 0;
    sinter_arena_deinit(&scratch);
    return is;
}

/* ---- the list ---- */

/* `program`, its checksum and, where it is that of an earlier rank, `of` that one. */
static bool read_program(sinter_ranks *r, sinter_lexer *lexer) {
    sinter_ranks_entry one = {.checksum = lexer->token.integer,
                                .rank = (int64_t)r->programs.count};
    if (one.rank == r->count)
        return sinter_lexer_error(lexer, "the mesh has %lld ranks", (long long)r->count);
    if (lexer->token.kind != SINTER_TOKEN_HEX)
        return sinter_lexer_error_expected(lexer, "the hash of a program");
    sinter_lexer_next(lexer);
    if (sinter_lexer_accept(lexer, "of")) {
        const char *position = lexer->token.position;
        if (!sinter_lexer_expect_integer(lexer, &one.rank)) return false;
        if (one.rank < 0 || (size_t)one.rank >= r->programs.count ||
            r->programs.items[one.rank].rank != one.rank)
            return sinter_lexer_error_at(lexer, position,
                                         "expected an earlier rank that has a program of its own");
    }
    sinter_vector_push(&r->arena, &r->programs, one);
    return true;
}

/* `input` or `output`, as often as there are such values, each with its sharding if it is cut. */
static bool read_words(sinter_ranks *r, sinter_lexer *lexer, const char *word,
                       sinter_ranks_words *out) {
    while (sinter_lexer_accept(lexer, word)) {
        sinter_sharding sharding;
        const sinter_sharding *words = NULL;
        if (sinter_lexer_is(lexer, "shard")) {
            if (!sinter_sharding_read(lexer, &r->mesh, &r->arena, &sharding)) return false;
            words = sinter_sharding_copy(&r->arena, &sharding);
        }
        sinter_vector_push(&r->arena, out, words);
    }
    return true;
}

bool sinter_ranks_read(sinter_ranks *r, const char *path, const char *text, size_t size,
                       sinter_diag *diag) {
    sinter_lexer lexer;
    const char *kept = sinter_arena_copy_string(&r->arena, text, size);
    sinter_lexer_init(&lexer, path, kept, size, &r->arena, diag);
    if (!sinter_lexer_expect(&lexer, "mesh") || !sinter_mesh_read(&lexer, &r->mesh)) return false;
    r->hash = sinter_abi_hash(kept, size, 0);
    r->count = sinter_mesh_rank_count(&r->mesh);
    while (sinter_lexer_accept(&lexer, "program"))
        if (!read_program(r, &lexer)) return false;
    if ((int64_t)r->programs.count != r->count)
        return sinter_lexer_error_expected(&lexer, "'program'");
    return read_words(r, &lexer, "input", &r->input_words) &&
           read_words(r, &lexer, "output", &r->output_words) &&
           (lexer.token.kind == SINTER_TOKEN_END ||
            sinter_lexer_error_expected(&lexer, "'program', then 'input', then 'output'"));
}

/* ---- loading ---- */

/* A rank that is loaded. */
static int64_t here(const sinter_ranks *r) {
    return r->own < 0 ? 0 : r->own;
}

static bool count_values(sinter_ranks *r, const char *name, const sinter_engine *engine,
                         sinter_diag *diag) {
    if (engine == r->engines[here(r)]) {
        r->input_count = sinter_engine_input_count(engine);
        r->output_count = sinter_engine_output_count(engine);
    }
    return (sinter_engine_input_count(engine) == r->input_count &&
            sinter_engine_output_count(engine) == r->output_count) ||
           sinter_error(diag, name, "has not the inputs and outputs of rank 0");
}

/* Ranks of this process take devices in turns. */
static bool find_device(sinter_ranks *r, int64_t rank, const char *where,
                        sinter_engine_options *own, sinter_diag *diag) {
    const int64_t turn = r->own >= 0 || r->one_device ? 0 : rank;
    bool good =
        sinter_engine_report(sinter_device_turns_get(&r->turns, turn, &own->device), where, diag);
    r->devices[rank] = own->device;
    return good;
}

static void make_lists(sinter_ranks *r) {
    r->engines = SINTER_NEW_ARRAY(&r->arena, sinter_engine *, r->count);
    r->devices = SINTER_NEW_ARRAY(&r->arena, sinter_device *, r->count);
}

/* A rank that is another process is left to it. */
static bool load_engine(sinter_ranks *r, int64_t rank, const char *folder,
                        const sinter_engine_options *options, sinter_diag *diag) {
    const sinter_ranks_entry *program = &r->programs.items[rank];
    if (r->own >= 0 && rank != r->own) return true;
    const char *name = sinter_ranks_path(&r->arena, folder, program->rank);
    sinter_engine_options own = *options;
    if (!find_device(r, rank, name, &own, diag)) return false;
    for (int64_t i = 0; i < rank && !r->engines[rank]; i++)
        if (r->programs.items[i].rank == program->rank && r->engines[i] &&
            r->devices[i] == own.device)
            r->engines[rank] = sinter_engine_share(r->engines[i]);
    if (!r->engines[rank] &&
        !sinter_engine_report(sinter_engine_load(name, &own, &r->engines[rank]), name, diag))
        return false;
    if (sinter_engine_executable(r->engines[rank])->checksum != program->checksum)
        return sinter_error(diag, name,
                            "is not the program of rank %lld that was made with the others",
                            (long long)rank);
    return count_values(r, name, r->engines[rank], diag);
}

static bool load_engines(sinter_ranks *r, const char *folder, const char *path,
                         const sinter_engine_options *options, sinter_diag *diag) {
    sinter_engine_options one = *options;
    one.thread_count = 1;
    make_lists(r);
    for (int64_t i = 0; i < r->count; i++)
        if (!load_engine(r, i, folder, &one, diag)) return false;
    if (r->input_words.count == r->input_count && r->output_words.count == r->output_count)
        return true;
    return sinter_error(diag, path, "has %zu inputs and %zu outputs, the programs have %zu and %zu",
                        r->input_words.count, r->output_words.count, r->input_count,
                        r->output_count);
}

/* What it is of the whole. */
static bool describe(sinter_ranks *r, const sinter_abi_io *part, const sinter_sharding *words,
                     sinter_abi_io *out_whole, const char *where, sinter_diag *diag) {
    *out_whole = *part;
    if (!words) return true;
    if ((int32_t)words->rank != part->rank)
        return sinter_error(diag, where, "%s has another rank than the programs say", part->name);
    int64_t *dims = SINTER_NEW_ARRAY(&r->arena, int64_t, words->rank + 1);
    const char **names = SINTER_NEW_ARRAY(&r->arena, const char *, words->rank + 1);
    for (uint32_t i = 0; i < words->rank; i++) {
        const sinter_shard_dim *dim = &words->dims[i];
        dims[i] = dim->whole > 0 ? dim->whole : part->dims[i];
        names[i] = dim->whole > 0 ? sinter_arena_format(&r->arena, "%lld", (long long)dim->whole)
                                  : part->dim_names[i];
        if ((dim->whole < 0) != (dim->axes.count && part->dims[i] < 0))
            return sinter_error(diag, where, "dim %u of %s is of other size than the programs say",
                                i, part->name);
        if (dim->whole > 0 &&
            sinter_mesh_part_of(&r->mesh, &dim->axes, dim->whole, 0).chunk != part->dims[i])
            return sinter_error(diag, where, "%s has other dims than the programs say", part->name);
    }
    out_whole->dims = dims;
    out_whole->dim_names = names;
    return true;
}

/* The cut dim of the given inputs that has the name, which is a symbol; -1: none. Others of the name have to be as long: false. */
static bool find_size(const sinter_ranks *r, const char *name, const sinter_tensor *inputs,
                      int64_t *out_size, sinter_diag *diag) {
    *out_size = -1;
    for (size_t i = 0; i < r->input_count; i++)
        for (uint32_t d = 0; r->input_words.items[i] && d < r->input_words.items[i]->rank; d++) {
            if (r->input_words.items[i]->dims[d].whole >= 0 ||
                strcmp(r->inputs[i].dim_names[d], name))
                continue;
            int64_t size = d < inputs[i].rank ? inputs[i].dims[d] : -1;
            if (!sinter_sharding_check_size(r->input_words.items[i], d, size, r->inputs[i].name,
                                            diag))
                return false;
            if (*out_size >= 0 && size != *out_size)
                return sinter_error(diag, r->inputs[i].name, "dim %u is %lld, but %s is %lld", d,
                                    (long long)size, name, (long long)*out_size);
            *out_size = size;
        }
    return true;
}

bool sinter_ranks_begin_run(sinter_ranks *r, const sinter_tensor *inputs, sinter_diag *diag) {
    int64_t size;
    for (size_t i = 0; i < r->input_count; i++)
        for (int32_t d = 0; d < r->inputs[i].rank; d++)
            if (r->inputs[i].dims[d] < 0 &&
                !find_size(r, r->inputs[i].dim_names[d], inputs, &size, diag))
                return false;
    for (size_t i = 0; i < r->output_count; i++)
        for (uint32_t d = 0; r->output_words.items[i] && d < r->output_words.items[i]->rank; d++) {
            if (r->output_words.items[i]->dims[d].whole >= 0) continue;
            if (!find_size(r, r->outputs[i].dim_names[d], inputs, &size, diag)) return false;
            r->run_words[i]->dims[d].whole = size;
        }
    return true;
}

/* Room for the sizes of a run; each that an output has must be told by an input. */
static bool prepare_runs(sinter_ranks *r, const char *where, sinter_diag *diag) {
    r->run_words = SINTER_NEW_ARRAY(&r->arena, sinter_sharding *, r->output_count + 1);
    for (size_t i = 0; i < r->output_count; i++) {
        const sinter_sharding *words = r->output_words.items[i];
        r->run_words[i] = words ? sinter_sharding_copy(&r->arena, words) : NULL;
        for (uint32_t d = 0; words && d < words->rank; d++) {
            bool found = words->dims[d].whole >= 0;
            for (size_t k = 0; !found && k < r->input_count; k++)
                for (uint32_t e = 0; r->input_words.items[k] && e < r->input_words.items[k]->rank;
                     e++)
                    found =
                        found || (r->input_words.items[k]->dims[e].whole < 0 &&
                                  !strcmp(r->inputs[k].dim_names[e], r->outputs[i].dim_names[d]));
            if (!found)
                return sinter_error(diag, where, "no input tells the size of dim %u of %s", d,
                                    r->outputs[i].name);
        }
    }
    return true;
}

static bool describe_all(sinter_ranks *r, const char *where, sinter_diag *diag) {
    bool good = true;
    r->inputs = SINTER_NEW_ARRAY(&r->arena, sinter_abi_io, r->input_count + 1);
    r->outputs = SINTER_NEW_ARRAY(&r->arena, sinter_abi_io, r->output_count + 1);
    for (size_t i = 0; good && i < r->input_count; i++)
        good = describe(r, sinter_engine_input(r->engines[here(r)], i), r->input_words.items[i],
                        &r->inputs[i], where, diag);
    for (size_t i = 0; good && i < r->output_count; i++)
        good = describe(r, sinter_engine_output(r->engines[here(r)], i), r->output_words.items[i],
                        &r->outputs[i], where, diag);
    return good && prepare_runs(r, where, diag);
}

static uint32_t axis_sizes(const sinter_ranks *r, int64_t *out_sizes) {
    for (uint32_t i = 0; i < r->mesh.axis_count; i++) out_sizes[i] = r->mesh.axes[i].size;
    return r->mesh.axis_count;
}

static bool open_job(sinter_ranks *r, const char *folder, sinter_diag *diag) {
    if (r->own >= 0 || !sinter_job_is_one()) return true;
    if (!sinter_engine_report(sinter_job_open(folder, r->seconds, &r->job), folder, diag))
        return false;
    if (r->any_order) sinter_job_allow_any_order(r->job);
    r->own = sinter_job_rank(r->job);
    return true;
}

/* The ranks' processes or threads. */
static bool start(sinter_ranks *r, const char *folder, sinter_diag *diag) {
    int64_t sizes[SINTER_MESH_MAX_AXES];
    uint32_t axes = axis_sizes(r, sizes);
    if (r->job)
        return sinter_engine_report(sinter_job_set_mesh(r->job, sizes, axes, 1), folder, diag) &&
               sinter_messages_agree(r->job, r->hash, diag) &&
               sinter_ranks_join_devices(r, r->job, diag);
    if (r->own >= 0) return true;
    return sinter_engine_report(sinter_pool_create((uint32_t)r->count, NULL, &r->pool), folder,
                                diag) &&
           sinter_ranks_join_devices(r, NULL, diag);
}

static bool load(sinter_ranks *r, const char *folder, const sinter_engine_options *options,
                 sinter_diag *diag) {
    sinter_text text = {0};
    const char *path = sinter_ranks_list(&r->arena, folder);
    r->name = sinter_arena_copy_string(&r->arena, folder, strlen(folder));
    bool good = open_job(r, folder, diag) && sinter_file_read_text(path, &text, diag) &&
                sinter_ranks_read(r, path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    if (!good) return false;
    if (r->job && sinter_job_rank_count(r->job) != r->count) return start(r, folder, diag);
    if (r->own >= r->count)
        return sinter_error(diag, path, "has %lld ranks, there is no rank %lld",
                            (long long)r->count, (long long)r->own);
    return load_engines(r, folder, path, options, diag) && describe_all(r, path, diag) &&
           start(r, folder, diag);
}

static void take_options(sinter_ranks *r, const sinter_engine_options *options) {
    r->any_order = options->any_order;
    r->turns.first = options->device;
    r->one_device = options->one_device;
    r->exchange = options->exchange;
}

static sinter_ranks *load_some(const char *folder, int64_t own,
                               const sinter_engine_options *options, double seconds,
                               sinter_diag *diag) {
    sinter_ranks *r = sinter_heap_alloc(sizeof *r);
    sinter_arena_init(&r->arena);
    r->seconds = seconds;
    take_options(r, options);
    r->own = own;
    if (load(r, folder, options, diag)) return r;
    r->failed = true;
    sinter_ranks_destroy(r);
    return NULL;
}

sinter_ranks *sinter_ranks_load(const char *folder, const sinter_engine_options *options,
                                double seconds, sinter_diag *diag) {
    return load_some(folder, -1, options, seconds, diag);
}

sinter_ranks *sinter_ranks_load_one(const char *folder, int64_t rank,
                                    const sinter_engine_options *options, sinter_diag *diag) {
    return load_some(folder, rank, options, 0, diag);
}

static void take_words(sinter_ranks *r, sinter_module *module, size_t count,
                       sinter_value (*at)(const sinter_module *, uint32_t),
                       sinter_ranks_words *out) {
    for (uint32_t i = 0; i < count; i++) {
        const sinter_sharding *words = sinter_value_sharding(module, at(module, i));
        sinter_vector_push(&r->arena, out, words ? sinter_sharding_copy(&r->arena, words) : NULL);
    }
}

/* The program of a rank; where an earlier rank has the same one, its code and its weights serve both. */
static sinter_engine *compile_program(sinter_ranks *r, int64_t rank, sinter_module *program,
                                      sinter_ranks_identity *identities,
                                      const sinter_engine_options *options, sinter_diag *diag) {
    sinter_engine_options own = *options;
    identities[rank] = sinter_ranks_identify(program, rank);
    if (!find_device(r, rank, r->name, &own, diag)) {
        sinter_module_destroy(program);
        return NULL;
    }
    for (int64_t i = 0; i < rank; i++) {
        if (!sinter_ranks_identity_is(identities[i], identities[rank]) ||
            r->devices[i] != own.device)
            continue;
        sinter_engine *shared = sinter_engine_share(r->engines[i]);
        if (!shared) break;
        sinter_module_destroy(program);
        return shared;
    }
    return sinter_engine_create(program, &own, diag);
}

/* Programs of ranks have most kernels in common: where no cache is said there is one for the time. */
static bool compile_programs(sinter_ranks *r, sinter_module *module,
                             const sinter_engine_options *options, sinter_diag *diag) {
    char cache[SINTER_FILE_FOLDER_BYTES] = "";
    sinter_engine_options one = *options;
    bool good = true;
    if (!one.cache && r->count > 1) {
        if (!sinter_file_make_folder(cache, diag)) return false;
        one.cache = cache;
    }
    sinter_ranks_identity *identities =
        SINTER_NEW_ARRAY(&r->arena, sinter_ranks_identity, r->count);
    for (int64_t rank = 0; good && rank < r->count; rank++) {
        sinter_module *program = sinter_ranks_program(module, rank, diag);
        if (program) r->engines[rank] = compile_program(r, rank, program, identities, &one, diag);
        good = r->engines[rank] != NULL;
    }
    if (cache[0]) sinter_file_remove_folder(cache);
    return good;
}

static bool compile(sinter_ranks *r, sinter_module *module, const sinter_engine_options *options,
                    sinter_diag *diag) {
    const char *name = sinter_module_name(module);
    r->name = sinter_arena_copy_string(&r->arena, name, strlen(name));
    r->mesh = *sinter_module_mesh(module);
    r->count = sinter_mesh_rank_count(&r->mesh);
    r->input_count = sinter_module_input_count(module);
    r->output_count = sinter_module_output_count(module);
    make_lists(r);
    for (uint32_t i = 0; i < r->mesh.axis_count; i++) {
        sinter_string *axis = &r->mesh.axes[i].name;
        axis->data = sinter_arena_copy_string(&r->arena, axis->data, axis->size);
    }
    if (!compile_programs(r, module, options, diag)) return false;
    take_words(r, module, r->input_count, sinter_module_input, &r->input_words);
    take_words(r, module, r->output_count, sinter_module_output, &r->output_words);
    return describe_all(r, name, diag) && start(r, name, diag);
}

sinter_ranks *sinter_ranks_create(sinter_module *module, const sinter_engine_options *options,
                                  double seconds, sinter_diag *diag) {
    sinter_ranks *r = sinter_heap_alloc(sizeof *r);
    sinter_arena_init(&r->arena);
    r->seconds = seconds;
    take_options(r, options);
    r->own = -1;
    sinter_engine_options one = *options;
    one.thread_count = 1;
    if (compile(r, module, &one, diag)) return r;
    sinter_ranks_destroy(r);
    return NULL;
}

void sinter_ranks_destroy(sinter_ranks *r) {
    if (!r) return;
    sinter_ranks_end_job(r);
    sinter_ranks_leave_devices(r);
    sinter_pool_destroy(r->pool);
    /* Those that share an earlier one's code first. */
    for (int64_t i = r->engines ? r->count : 0; i > 0; i--)
        sinter_engine_destroy(r->engines[i - 1]);
    sinter_device_turns_close(&r->turns);
    sinter_arena_deinit(&r->arena);
    sinter_heap_free(r);
}

const sinter_abi_io *sinter_ranks_inputs(const sinter_ranks *r, size_t *out_count) {
    *out_count = r->input_count;
    return r->inputs;
}

const sinter_abi_io *sinter_ranks_outputs(const sinter_ranks *r, size_t *out_count) {
    *out_count = r->output_count;
    return r->outputs;
}

/* ---- running ---- */

bool sinter_ranks_cut_inputs(const sinter_ranks *r, int64_t rank, const sinter_tensor *inputs,
                             sinter_tensor *out_parts, sinter_diag *diag) {
    bool good = true;
    for (size_t i = 0; good && i < r->input_count; i++)
        good = sinter_sharding_cut_tensor(&r->mesh, r->input_words.items[i], rank, &inputs[i],
                                          &out_parts[i], diag);
    return good;
}

/* One run of all ranks; what belongs to one is touched by its thread alone. */
typedef struct run {
    sinter_ranks *ranks;
    sinter_collectives *collectives;
    const sinter_tensor *inputs;
    sinter_tensor *parts, *results; /* by rank, then by input or output */
    sinter_failure *failures;       /* by rank */
} run;

static void run_rank(run *all, int64_t number) {
    sinter_ranks *r = all->ranks;
    sinter_tensor *parts = all->parts + number * (int64_t)r->input_count;
    sinter_tensor *results = all->results + number * (int64_t)r->output_count;
    sinter_failure *failure = &all->failures[number];
    sinter_diag diag = sinter_failure_sink(failure);
    bool good = sinter_ranks_cut_inputs(r, number, all->inputs, parts, &diag);
    sinter_peers peers;
    sinter_collectives_peers(all->collectives, number, &peers);
    sinter_engine_set_services(
        r->engines[number],
        sinter_ranks_get_services(r, number, sinter_collectives_services(all->collectives, number),
                                  &peers));
    good = good && sinter_engine_run(r->engines[number], parts, results, &diag);
    failure->failed = !good;
    sinter_collectives_leave(all->collectives, number, good ? NULL : failure->message.data);
}

static void run_some(void *environment, int64_t first, int64_t end) {
    for (int64_t number = first; number < end; number++) run_rank(environment, number);
}

bool sinter_ranks_join_outputs(const sinter_ranks *r, const sinter_tensor *results,
                               sinter_tensor *out_outputs, sinter_diag *diag) {
    const sinter_tensor **list = sinter_heap_alloc((size_t)r->count * sizeof *list);
    bool good = true;
    for (size_t i = 0; good && i < r->output_count; i++) {
        for (int64_t k = 0; k < r->count; k++)
            list[k] = &results[k * (int64_t)r->output_count + (int64_t)i];
        good = sinter_sharding_join_tensors(&r->mesh, r->run_words[i], list, &out_outputs[i], diag);
    }
    sinter_heap_free(list);
    return good;
}

void sinter_ranks_set_trace(sinter_ranks *r, sinter_trace *trace, const char *prefix) {
    sinter_arena names;
    sinter_arena_init(&names);
    r->lanes = trace ? SINTER_NEW_ARRAY(&trace->arena, sinter_trace_lane *, r->count) : NULL;
    for (int64_t i = 0; i < r->count; i++) {
        sinter_engine *engine = r->engines[i]; /* NULL: another process's */
        const char *name = sinter_arena_format(&names, "%srank %lld", prefix, (long long)i);
        if (trace)
            r->lanes[i] =
                sinter_trace_add_lane(trace, name, engine ? sinter_engine_artifact(engine) : NULL);
        if (engine) sinter_engine_set_listener(engine, trace ? &r->lanes[i]->listener : NULL);
    }
    sinter_arena_deinit(&names);
}

bool sinter_ranks_run(sinter_ranks *r, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                      sinter_diag *diag) {
    int64_t sizes[SINTER_MESH_MAX_AXES];
    size_t count = (size_t)r->count;
    run all = {.ranks = r, .inputs = inputs};
    memset(out_outputs, 0, r->output_count * sizeof *out_outputs);
    if (!sinter_ranks_begin_run(r, inputs, diag)) return false;
    if (r->job) return sinter_ranks_lead(r, inputs, out_outputs, diag);
    uint32_t axes = axis_sizes(r, sizes);
    if (!sinter_engine_report(sinter_collectives_create(sizes, axes, r->seconds, &all.collectives),
                              r->name, diag))
        return false;
    if (r->any_order) sinter_collectives_allow_any_order(all.collectives);
    all.parts = sinter_heap_alloc((count * r->input_count + 1) * sizeof *all.parts);
    all.results = sinter_heap_alloc((count * r->output_count + 1) * sizeof *all.results);
    all.failures = sinter_heap_alloc(count * sizeof *all.failures);
    sinter_pool_parallel_for(r->pool, r->count, 1, run_some, &all);
    bool good = true;
    for (size_t i = 0; i < count; i++) good = good && !all.failures[i].failed;
    if (good)
        good = sinter_ranks_join_outputs(r, all.results, out_outputs, diag);
    else
        sinter_failures_report(all.failures, count, "rank", diag);
    if (!good) sinter_ranks_abort_devices(r);
    sinter_tensors_destroy(all.parts, count * r->input_count);
    sinter_tensors_destroy(all.results, count * r->output_count);
    sinter_failures_deinit(all.failures, count);
    sinter_heap_free(all.failures);
    sinter_collectives_destroy(all.collectives);
    return good;
}
