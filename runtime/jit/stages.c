/* Stages of a pipeline, loaded from their folder and run as threads of this process; see stages.h. Test: tests/cli/pipeline.test */
#include "ir/base/file.h"
#include "ir/sharding_tensor.h"
#include "runtime/executable.h"
#include "runtime/jit/failures.h"
#include "runtime/jit/messages.h"
#include "runtime/jit/ranks_internal.h"
#include "runtime/jit/stages_internal.h"
#include "runtime/sinter_runtime.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_SLOTS = 1 << 20 };

/* ---- the folder ---- */

const char *sinter_stages_path(sinter_arena *arena, const char *folder, uint32_t stage,
                               bool has_mesh) {
    return sinter_arena_format(arena, "%s/stage_%u%s", folder, stage, has_mesh ? "" : ".so");
}

const char *sinter_stages_list(sinter_arena *arena, const char *folder) {
    return sinter_arena_format(arena, "%s/" SINTER_STAGES_LIST, folder);
}

bool sinter_stages_is_folder(const char *path) {
    sinter_arena scratch;
    struct stat status;
    sinter_arena_init(&scratch);
    bool is = stat(sinter_stages_list(&scratch, path), &status) == 0;
    sinter_arena_deinit(&scratch);
    return is;
}

/* ---- the list ---- */

/* A number, or in quotes what is one in a run: then -1, and its name. */
static bool read_dim(sinter_stages *s, sinter_lexer *lexer, int64_t *out_dim,
                     const char **out_name) {
    sinter_string name;
    *out_dim = -1;
    if (lexer->token.kind == SINTER_TOKEN_STRING) {
        if (!sinter_lexer_expect_string(lexer, &name)) return false;
        *out_name = sinter_string_copy(&s->arena, name).data;
        return true;
    }
    if (!sinter_lexer_expect_integer(lexer, out_dim)) return false;
    if (*out_dim < 0) return sinter_lexer_error(lexer, "a dim is negative");
    *out_name = sinter_arena_format(&s->arena, "%lld", (long long)*out_dim);
    return true;
}

/* [8, "length", 28] */
static bool read_dims(sinter_stages *s, sinter_lexer *lexer, sinter_abi_io *io) {
    int64_t *dims = SINTER_NEW_ARRAY(&s->arena, int64_t, SINTER_MAX_RANK);
    const char **names = SINTER_NEW_ARRAY(&s->arena, const char *, SINTER_MAX_RANK);
    if (!sinter_lexer_expect(lexer, "[")) return false;
    while (!sinter_lexer_is(lexer, "]")) {
        if (io->rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "there are at most %d dims", SINTER_MAX_RANK);
        if (!read_dim(s, lexer, &dims[io->rank], &names[io->rank])) return false;
        io->rank++;
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    io->dims = dims;
    io->dim_names = names;
    return sinter_lexer_expect(lexer, "]");
}

/* What is cut into requests, of a first axis of so many; where runs say how many there are, what each of them has. */
static bool read_cut(sinter_stages *s, sinter_lexer *lexer, sinter_stages_io *io) {
    int64_t parts = sinter_mesh_rank_count(&s->micro);
    if (!sinter_lexer_accept(lexer, "cut")) return true;
    if (s->is_open) {
        if (!sinter_lexer_expect_integer(lexer, &io->piece)) return false;
        if (!io->abi.rank || io->abi.dims[0] >= 0 || io->piece < 1)
            return sinter_lexer_error(lexer,
                                      "an axis that is cut has a name, and at least 1 index");
    } else if (!io->abi.rank || io->abi.dims[0] < 0 || io->abi.dims[0] % parts) {
        return sinter_lexer_error(lexer, "an axis that is cut has a multiple of %lld indices",
                                  (long long)parts);
    } else {
        io->piece = io->abi.dims[0] / parts;
    }
    sinter_sharding words = sinter_sharding_whole(&s->arena, (uint32_t)io->abi.rank, false);
    sinter_mesh_axes_add(&words.dims[0].axes, 0);
    words.dims[0].whole = io->abi.dims[0];
    io->micro = sinter_sharding_copy(&s->arena, &words);
    return true;
}

/* What a rank has of it. */
static bool read_part(sinter_stages *s, sinter_lexer *lexer, sinter_stages_io *io) {
    sinter_sharding words;
    if (!sinter_lexer_is(lexer, "shard")) return true;
    if (!sinter_sharding_read(lexer, &s->mesh, &s->arena, &words)) return false;
    if ((int32_t)words.rank != io->abi.rank)
        return sinter_lexer_error(lexer, "expected a sharding of %d dims", io->abi.rank);
    for (uint32_t i = 0; i < words.rank; i++) {
        int64_t size = i || !io->piece ? io->abi.dims[i] : io->piece;
        if (!words.dims[i].axes.count || words.dims[i].whole == size) continue; /* -1: of a run */
        if (size < 0)
            return sinter_lexer_error(lexer, "dim %u of a request is '%s'", i,
                                      io->abi.dim_names[i]);
        return sinter_lexer_error(lexer, "dim %u of a request is %lld", i, (long long)size);
    }
    io->part = sinter_sharding_copy(&s->arena, &words);
    return true;
}

/* `"pixels" f32 [8, 28, 28] cut shard(data:4, _, _)`, `"tokens" i64 ["batch", "length"] cut 2` */
static bool read_io(sinter_stages *s, sinter_lexer *lexer, sinter_stages_io *io) {
    sinter_string name = {0}, dtype = {0};
    sinter_abi_io *out_io = &io->abi;
    *io = (sinter_stages_io){0};
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect_identifier(lexer, &dtype))
        return false;
    out_io->name = sinter_string_copy(&s->arena, name).data;
    out_io->dtype = sinter_dtype_infos[sinter_dtype_find(dtype)].onnx_code;
    if (!out_io->dtype)
        return sinter_lexer_error(lexer, "'%.*s' is no element type", SINTER_STRING_ARGS(dtype));
    return read_dims(s, lexer, out_io) && read_cut(s, lexer, io) && read_part(s, lexer, io);
}

static bool read_slots(sinter_stages *s, sinter_lexer *lexer, const char *word, uint32_t least,
                       uint32_t end, sinter_slot_list *out_slots) {
    if (!sinter_lexer_expect(lexer, word)) return false;
    while (lexer->token.kind == SINTER_TOKEN_INTEGER) {
        int64_t slot = -1;
        const char *position = lexer->token.position;
        if (!sinter_lexer_expect_integer(lexer, &slot)) return false;
        if (slot < least || slot >= end)
            return sinter_lexer_error_at(lexer, position, "expected a value from %u to %u", least,
                                         end ? end - 1 : 0);
        sinter_vector_push(&s->arena, out_slots, (uint32_t)slot);
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    return true;
}

/* The hash of its program, or of the list of its ranks' programs, then slots. */
static bool read_stage(sinter_stages *s, sinter_lexer *lexer) {
    sinter_stage one = {.hash = lexer->token.integer};
    if (s->stages.count == SINTER_MOST_STAGES)
        return sinter_lexer_error(lexer, "there are at most %d stages", SINTER_MOST_STAGES);
    if (lexer->token.kind != SINTER_TOKEN_HEX)
        return sinter_lexer_error_expected(lexer, "the hash of a program");
    sinter_lexer_next(lexer);
    if (!read_slots(s, lexer, "takes", 0, s->slot_count, &one.takes) ||
        !read_slots(s, lexer, "gives", s->slot_count, MOST_SLOTS, &one.gives))
        return false;
    sinter_vector_push(&s->arena, &s->stages, one);
    for (size_t i = 0; i < one.gives.count; i++)
        if (one.gives.items[i] != s->slot_count++)
            return sinter_lexer_error(lexer, "stages number what they give in order");
    return true;
}

static bool read_micro(sinter_stages *s, sinter_lexer *lexer) {
    s->micro = (sinter_mesh){.axis_count = 1, .rank = -1};
    s->micro.axes[0].name = SINTER_STRING("micro");
    s->micro.axes[0].size = 1;
    if (!sinter_lexer_expect(lexer, "micro")) return false;
    s->is_open = sinter_lexer_accept(lexer, "any");
    return s->is_open || (sinter_lexer_expect_integer(lexer, &s->micro.axes[0].size) &&
                          sinter_mesh_check(&s->micro, SINTER_STAGES_LIST, lexer->diag));
}

static bool read_mesh(sinter_stages *s, sinter_lexer *lexer) {
    s->mesh.rank = -1;
    if (sinter_lexer_accept(lexer, "mesh") && !sinter_mesh_read(lexer, &s->mesh)) return false;
    s->rank_count = sinter_mesh_rank_count(&s->mesh);
    return true;
}

static bool read_list(sinter_stages *s, sinter_lexer *lexer) {
    sinter_stages_io io;
    if (!read_micro(s, lexer) || !read_mesh(s, lexer)) return false;
    while (sinter_lexer_accept(lexer, "input")) {
        if (!read_io(s, lexer, &io)) return false;
        sinter_vector_push(&s->arena, &s->input_words, io);
        sinter_vector_push(&s->arena, &s->inputs, io.abi);
        s->slot_count++;
    }
    while (sinter_lexer_accept(lexer, "stage"))
        if (!read_stage(s, lexer)) return false;
    while (sinter_lexer_accept(lexer, "output")) {
        if (!read_io(s, lexer, &io) || !read_slots(s, lexer, "of", 0, s->slot_count, &s->results))
            return false;
        sinter_vector_push(&s->arena, &s->output_words, io);
        sinter_vector_push(&s->arena, &s->outputs, io.abi);
        if (s->results.count != s->outputs.count)
            return sinter_lexer_error(lexer, "an output is one value");
    }
    return s->stages.count && lexer->token.kind == SINTER_TOKEN_END
               ? true
               : sinter_lexer_error_expected(lexer, "'input', then 'stage', then 'output'");
}

bool sinter_stages_read(sinter_stages *s, const char *path, const char *text, size_t size,
                        sinter_diag *diag) {
    sinter_lexer lexer;
    const char *kept = sinter_arena_copy_string(&s->arena, text, size);
    s->hash = sinter_abi_hash(kept, size, 0);
    sinter_lexer_init(&lexer, path, kept, size, &s->arena, diag);
    return read_list(s, &lexer);
}

/* ---- loading ---- */

/* Its programs: all of them, or in a job that of this process. */
static bool load_programs(sinter_stages *s, uint32_t number, const char *path,
                          const sinter_engine_options *options, sinter_diag *diag) {
    sinter_stage *one = &s->stages.items[number];
    bool has_mesh = s->mesh.axis_count > 0;
    if (has_mesh)
        one->ranks = s->job ? sinter_ranks_load_one(path, s->own_rank, options, diag)
                            : sinter_ranks_load(path, options, s->seconds, diag);
    else if (!sinter_engine_report(sinter_engine_load(path, options, &one->engine), path, diag))
        return false;
    if (has_mesh && !one->ranks) return false;
    if ((has_mesh ? one->ranks->hash : sinter_engine_executable(one->engine)->checksum) !=
        one->hash)
        return sinter_error(diag, path, "%s of stage %u that %s made with the others",
                            has_mesh ? "are not the programs" : "is not the program", number,
                            has_mesh ? "were" : "was");
    if (has_mesh && !sinter_mesh_equal(&one->ranks->mesh, &s->mesh))
        return sinter_error(diag, path, "has another mesh than %s says", SINTER_STAGES_LIST);
    size_t inputs = has_mesh ? one->ranks->input_count : sinter_engine_input_count(one->engine),
           outputs = has_mesh ? one->ranks->output_count : sinter_engine_output_count(one->engine);
    return (inputs == one->takes.count && outputs == one->gives.count) ||
           sinter_error(diag, path, "takes or gives other values than %s says", SINTER_STAGES_LIST);
}

static bool load_stages(sinter_stages *s, const char *folder, const sinter_engine_options *options,
                        sinter_diag *diag) {
    if (s->job) {
        s->own_stage = (uint32_t)(sinter_job_rank(s->job) / s->rank_count);
        s->own_rank = sinter_job_rank(s->job) % s->rank_count;
    }
    for (uint32_t number = 0; number < s->stages.count; number++) {
        if (s->job && number != s->own_stage) continue;
        const char *path = sinter_stages_path(&s->arena, folder, number, s->mesh.axis_count > 0);
        sinter_engine_options own = *options;
        const int64_t turn = s->job || options->one_device ? 0 : number * s->rank_count;
        if (!sinter_engine_report(sinter_device_turns_get(&s->turns, turn, &own.device), path,
                                  diag) ||
            !load_programs(s, number, path, &own, diag))
            return false;
    }
    return true;
}

/* Of the stage that this process is in. */
static bool join_devices(sinter_stages *s, sinter_diag *diag) {
    sinter_ranks *own = s->own_stage < s->stages.count ? s->stages.items[s->own_stage].ranks : NULL;
    return !own || sinter_ranks_join_devices(own, s->job, diag);
}

/* The stages' processes or threads. */
static bool start(sinter_stages *s, const char *folder, sinter_diag *diag) {
    int64_t sizes[SINTER_MESH_MAX_AXES], stages = (int64_t)s->stages.count;
    for (uint32_t i = 0; i < s->mesh.axis_count; i++) sizes[i] = s->mesh.axes[i].size;
    if (s->job)
        return sinter_engine_report(sinter_job_set_mesh(s->job, sizes, s->mesh.axis_count, stages),
                                    folder, diag) &&
               sinter_messages_agree(s->job, s->hash, diag) && join_devices(s, diag);
    return sinter_engine_report(sinter_pool_create((uint32_t)stages, NULL, &s->pool), folder, diag);
}

static bool load(sinter_stages *s, const char *folder, const sinter_engine_options *options,
                 sinter_diag *diag) {
    sinter_text text = {0};
    const char *path = sinter_stages_list(&s->arena, folder);
    bool good =
        (!sinter_job_is_one() ||
         sinter_engine_report(sinter_job_open(folder, s->seconds, &s->job), folder, diag)) &&
        sinter_file_read_text(path, &text, diag);
    if (good && s->job && options->any_order) sinter_job_allow_any_order(s->job);
    good = good && sinter_stages_read(s, path, text.data, text.size, diag) &&
           load_stages(s, folder, options, diag) && start(s, folder, diag);
    sinter_text_deinit(&text);
    return good;
}

sinter_stages *sinter_stages_load(const char *folder, const sinter_engine_options *options,
                                  double seconds, sinter_diag *diag) {
    sinter_stages *s = sinter_heap_alloc(sizeof *s);
    sinter_engine_options one = *options;
    one.thread_count = 1;
    sinter_arena_init(&s->arena);
    s->seconds = seconds;
    s->turns.first = options->device;
    if (load(s, folder, &one, diag)) return s;
    s->failed = true;
    sinter_stages_destroy(s);
    return NULL;
}

void sinter_stages_destroy(sinter_stages *s) {
    if (!s) return;
    sinter_stages_end_job(s);
    sinter_pool_destroy(s->pool);
    for (size_t i = 0; i < s->stages.count; i++) {
        sinter_engine_destroy(s->stages.items[i].engine);
        sinter_ranks_destroy(s->stages.items[i].ranks);
    }
    sinter_device_turns_close(&s->turns);
    sinter_arena_deinit(&s->arena);
    sinter_heap_free(s);
}

const char *sinter_stages_exchange(const sinter_stages *s) {
    for (size_t i = 0; i < s->stages.count; i++)
        if (s->stages.items[i].ranks) return sinter_ranks_exchange(s->stages.items[i].ranks);
    return NULL;
}

const sinter_abi_io *sinter_stages_inputs(const sinter_stages *s, size_t *out_count) {
    *out_count = s->inputs.count;
    return s->inputs.items;
}

const sinter_abi_io *sinter_stages_outputs(const sinter_stages *s, size_t *out_count) {
    *out_count = s->outputs.count;
    return s->outputs.items;
}

/* ---- running ---- */

/* How many requests a run has, by the inputs that are cut; those have to agree. */
static bool count_requests(sinter_stages *s, const sinter_tensor *inputs, sinter_diag *diag) {
    const char *first = NULL;
    for (size_t i = 0; i < s->inputs.count; i++) {
        const sinter_stages_io *io = &s->input_words.items[i];
        int64_t size = inputs[i].rank ? inputs[i].dims[0] : 0;
        if (!io->piece) continue;
        if (size < io->piece || size % io->piece)
            return sinter_error(diag, io->abi.name,
                                "dim 0 is %lld, but requests of %lld make up a run",
                                (long long)size, (long long)io->piece);
        if (first && size / io->piece != s->micro.axes[0].size)
            return sinter_error(diag, io->abi.name, "has %lld requests, and %s has %lld",
                                (long long)(size / io->piece), first,
                                (long long)s->micro.axes[0].size);
        first = io->abi.name;
        s->micro.axes[0].size = size / io->piece;
    }
    return sinter_mesh_check(&s->micro, SINTER_STAGES_LIST, diag);
}

/* The dim of an input that has the name; -1: none. */
static int64_t find_size(const sinter_stages *s, const char *name, const sinter_tensor *inputs) {
    for (size_t i = 0; i < s->inputs.count; i++)
        for (uint32_t d = 0; d < inputs[i].rank; d++)
            if ((int32_t)d < s->inputs.items[i].rank &&
                !strcmp(s->inputs.items[i].dim_names[d], name))
                return inputs[i].dims[d];
    return -1;
}

/* What ranks have of outputs whose size a run tells. */
static bool size_parts(sinter_stages *s, const sinter_tensor *inputs, sinter_diag *diag) {
    for (size_t i = 0; i < s->outputs.count; i++) {
        const sinter_stages_io *io = &s->output_words.items[i];
        for (uint32_t d = 0; io->part && d < io->part->rank; d++) {
            bool is_open = io->part->dims[d].axes.count && io->abi.dims[d] < 0 && (d || !io->piece);
            if (!is_open) continue;
            io->part->dims[d].whole = find_size(s, io->abi.dim_names[d], inputs);
            if (io->part->dims[d].whole < 0)
                return sinter_error(diag, io->abi.name, "no input tells the size of dim %u, '%s'",
                                    d, io->abi.dim_names[d]);
        }
    }
    return true;
}

/* Sizes that runs tell and ranks have parts of are as what each stage was made for. */
static bool check_inputs(const sinter_stages *s, const sinter_tensor *inputs, sinter_diag *diag) {
    for (size_t i = 0; i < s->inputs.count; i++) {
        const sinter_stages_io *io = &s->input_words.items[i];
        for (uint32_t d = 0; io->part && d < io->part->rank && d < inputs[i].rank; d++)
            if (io->part->dims[d].whole < 0 &&
                !sinter_sharding_check_size(io->part, d, inputs[i].dims[d], io->abi.name, diag))
                return false;
    }
    return true;
}

/* What only a run tells. */
static bool begin_run(sinter_stages *s, const sinter_tensor *inputs, sinter_diag *diag) {
    if (!check_inputs(s, inputs, diag)) return false;
    if (s->is_open && !count_requests(s, inputs, diag)) return false;
    for (size_t i = 0; i < s->inputs.count + s->outputs.count; i++) {
        const sinter_stages_io *io = i < s->inputs.count
                                         ? &s->input_words.items[i]
                                         : &s->output_words.items[i - s->inputs.count];
        if (io->micro) io->micro->dims[0].whole = io->piece * s->micro.axes[0].size;
    }
    return size_parts(s, inputs, diag);
}

/* One run: `slots` by micro-batch, then by slot. A stage writes what it gives before it says that it is done. */
typedef struct run {
    sinter_stages *stages;
    sinter_tensor *slots;
    int64_t micro_batches;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int64_t *done; /* by stage: micro-batches */
    bool failed;
    sinter_failure *failures; /* by stage */
} run;

static bool wait_for(run *r, size_t number, int64_t micro) {
    pthread_mutex_lock(&r->mutex);
    while (!r->failed && number > 0 && r->done[number - 1] <= micro)
        pthread_cond_wait(&r->moved, &r->mutex);
    bool good = !r->failed;
    pthread_mutex_unlock(&r->mutex);
    return good;
}

static void tell(run *r, size_t number, bool good) {
    pthread_mutex_lock(&r->mutex);
    r->done[number]++;
    if (!good) r->failed = true;
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->mutex);
}

static bool run_micro(run *r, size_t number, int64_t micro, sinter_diag *diag) {
    const sinter_stage *one = &r->stages->stages.items[number];
    sinter_tensor *slots = r->slots + micro * r->stages->slot_count;
    sinter_tensor *inputs = sinter_heap_alloc((one->takes.count + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((one->gives.count + 1) * sizeof *outputs);
    for (size_t i = 0; i < one->takes.count; i++)
        inputs[i] = slots[one->takes.items[i]]; /* borrowed */
    bool good = one->ranks ? sinter_ranks_run(one->ranks, inputs, outputs, diag)
                           : sinter_engine_run(one->engine, inputs, outputs, diag);
    for (size_t i = 0; good && i < one->gives.count; i++) slots[one->gives.items[i]] = outputs[i];
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    return good;
}

static void run_stage(run *r, size_t number) {
    sinter_diag diag = sinter_failure_sink(&r->failures[number]);
    bool good = true;
    for (int64_t micro = 0; good && micro < r->micro_batches && wait_for(r, number, micro);
         micro++) {
        good = run_micro(r, number, micro, &diag);
        r->failures[number].failed = !good;
        tell(r, number, good);
    }
}

static void run_some(void *environment, int64_t first, int64_t end) {
    for (int64_t number = first; number < end; number++) run_stage(environment, (size_t)number);
}

bool sinter_stages_cut_inputs(const sinter_stages *s, const sinter_tensor *inputs,
                              sinter_tensor *slots, sinter_diag *diag) {
    for (int64_t micro = 0; micro < sinter_mesh_rank_count(&s->micro); micro++)
        for (size_t i = 0; i < s->inputs.count; i++)
            if (!sinter_sharding_cut_tensor(&s->micro, s->input_words.items[i].micro, micro,
                                            &inputs[i], &slots[micro * s->slot_count + (int64_t)i],
                                            diag))
                return false;
    return true;
}

/* Sizes that depend on what is in a request may differ from one to the next, and then there is no whole. */
static bool are_alike(const sinter_stages_io *io, const sinter_tensor *const *parts, int64_t count,
                      sinter_diag *diag) {
    for (int64_t i = 1; i < count; i++)
        for (uint32_t d = 0; d < parts[0]->rank; d++)
            if (parts[i]->rank != parts[0]->rank || parts[i]->dims[d] != parts[0]->dims[d])
                return sinter_error(
                    diag, io->abi.name, "dim %u is %lld in request 0 and %lld in request %lld", d,
                    (long long)parts[0]->dims[d], (long long)parts[i]->dims[d], (long long)i);
    return true;
}

bool sinter_stages_join_outputs(const sinter_stages *s, const sinter_tensor *slots,
                                sinter_tensor *out_outputs, sinter_diag *diag) {
    int64_t micro_batches = sinter_mesh_rank_count(&s->micro);
    const sinter_tensor **parts = sinter_heap_alloc((size_t)micro_batches * sizeof *parts);
    bool good = true;
    for (size_t i = 0; good && i < s->outputs.count; i++) {
        for (int64_t micro = 0; micro < micro_batches; micro++)
            parts[micro] = &slots[micro * s->slot_count + s->results.items[i]];
        const sinter_stages_io *io = &s->output_words.items[i];
        good = are_alike(io, parts, micro_batches, diag) &&
               sinter_sharding_join_tensors(&s->micro, io->micro, parts, &out_outputs[i], diag);
    }
    sinter_heap_free(parts);
    return good;
}

void sinter_stages_set_trace(sinter_stages *s, sinter_trace *trace) {
    sinter_arena names;
    if (s->job) {
        sinter_stages_set_job_trace(s, trace);
        return;
    }
    sinter_arena_init(&names);
    for (size_t i = 0; i < s->stages.count; i++) {
        const sinter_stage *one = &s->stages.items[i];
        const char *name = sinter_arena_format(&names, "stage %zu", i);
        if (one->ranks)
            sinter_ranks_set_trace(one->ranks, trace, sinter_arena_format(&names, "%s ", name));
        else
            sinter_engine_set_listener(
                one->engine,
                trace ? &sinter_trace_add_lane(trace, name, sinter_engine_artifact(one->engine))
                             ->listener
                      : NULL);
    }
    sinter_arena_deinit(&names);
}

bool sinter_stages_run(sinter_stages *s, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                       sinter_diag *diag) {
    memset(out_outputs, 0, s->outputs.count * sizeof *out_outputs);
    if (!begin_run(s, inputs, diag)) return false;
    if (s->job) return sinter_stages_lead(s, inputs, out_outputs, diag);
    run r = {.stages = s, .micro_batches = sinter_mesh_rank_count(&s->micro)};
    size_t slots = (size_t)r.micro_batches * s->slot_count, stages = s->stages.count;
    r.slots = sinter_heap_alloc((slots + 1) * sizeof *r.slots);
    r.done = sinter_heap_alloc(stages * sizeof *r.done);
    r.failures = sinter_heap_alloc(stages * sizeof *r.failures);
    pthread_mutex_init(&r.mutex, NULL);
    pthread_cond_init(&r.moved, NULL);
    bool good = sinter_stages_cut_inputs(s, inputs, r.slots, diag);
    if (good) {
        sinter_pool_parallel_for(s->pool, (int64_t)stages, 1, run_some, &r);
        good = !r.failed && sinter_stages_join_outputs(s, r.slots, out_outputs, diag);
        if (r.failed) sinter_failures_report(r.failures, stages, "stage", diag);
    }
    sinter_tensors_destroy(r.slots, slots);
    sinter_failures_deinit(r.failures, stages);
    pthread_cond_destroy(&r.moved);
    pthread_mutex_destroy(&r.mutex);
    sinter_heap_free(r.done);
    sinter_heap_free(r.failures);
    return good;
}
