/* Stages of a pipeline in this process; see stages.h. A slot is a value that goes between stages: the inputs come first, then what
 * stages give, in order. Test: tests/cli/pipeline.test */
#include "runtime/jit/stages.h"
#include "ir/base/file.h"
#include "ir/base/lex.h"
#include "ir/hardware.h"
#include "ir/sharding_tensor.h"
#include "runtime/jit/ranks.h"
#include "runtime/sinter_runtime.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

static const char *const LIST = "stages.txt";
enum { MOST_STAGES = 1000, MOST_SLOTS = 1 << 20 };

static const char *stage_path(sinter_arena *arena, const char *folder, uint32_t stage) {
    return sinter_arena_format(arena, "%s/stage_%u.so", folder, stage);
}

static const char *list_path(sinter_arena *arena, const char *folder) {
    return sinter_arena_format(arena, "%s/%s", folder, LIST);
}

/* ---- making ---- */

typedef struct writer {
    sinter_module *module;
    const sinter_module *whole;
    const sinter_stages_options *how;
    const sinter_engine_options *options;
    const char *folder;
    sinter_arena arena;
    sinter_map slots; /* value -> slot */
    uint32_t slot_count;
    sinter_text list;
    sinter_diag *diag;
} writer;

static bool split(writer *w) {
    static const char list[] =
        "fold-constants,fold-sequences,canonicalize,eliminate-common,eliminate-dead,"
        "pipeline-split";
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    sinter_pipeline_options options = {.stop_after = -1,
                                       .hardware = w->how->hardware,
                                       .stages = w->how->stages,
                                       .explain = w->how->explain};
    return sinter_pipeline_parse(list, &w->arena, &passes, &count, w->diag) &&
           sinter_pipeline_run(w->module, passes, count, &options, w->diag);
}

/* "pixels" f32 [8, 28, 28] cut */
static bool write_io(writer *w, const char *word, const char *name, const sinter_type *part,
                     const sinter_type *whole) {
    const sinter_dim_table *dims = sinter_module_dims(w->module),
                           *whole_dims = sinter_module_dims(w->whole);
    int64_t size = 0, own = 0;
    bool is_cut = false;
    if (part->kind != SINTER_TYPE_TENSOR)
        return sinter_error(w->diag, name, "stages exchange tensors, this is none");
    sinter_text_format(&w->list, "%s ", word);
    sinter_text_quote(&w->list, sinter_string_of(name));
    sinter_text_format(&w->list, " %s [", sinter_dtype_infos[part->dtype].name);
    for (uint32_t i = 0; i < part->rank; i++) {
        if (!sinter_dim_is_const(dims, part->dims[i], &own) ||
            !sinter_dim_is_const(whole_dims, whole->dims[i], &size))
            return sinter_error(w->diag, name, "dim %u is no number; bind it (--dim NAME=SIZE)", i);
        if (own != size && (i > 0 || size != own * w->how->micro_batches))
            return sinter_error(
                w->diag, name,
                "dim %u is %lld of a run and %lld of a micro-batch: only the first axis can be cut",
                i, (long long)size, (long long)own);
        is_cut |= own != size;
        sinter_text_format(&w->list, "%s%lld", i ? ", " : "", (long long)size);
    }
    sinter_text_format(&w->list, "]%s", is_cut ? " cut" : "");
    return true;
}

static void add_slot(writer *w, sinter_value value) {
    sinter_map_put(&w->slots, value, w->slot_count++);
}

static bool write_inputs(writer *w) {
    for (uint32_t i = 0; i < sinter_module_input_count(w->module); i++) {
        sinter_value value = sinter_module_input(w->module, i);
        if (!write_io(w, "input", sinter_module_input_name(w->module, i),
                      sinter_value_type(w->module, value),
                      sinter_value_type(w->whole, sinter_module_input(w->whole, i))))
            return false;
        sinter_text_append_string(&w->list, "\n");
        add_slot(w, value);
    }
    return true;
}

static bool write_outputs(writer *w) {
    for (uint32_t i = 0; i < sinter_module_output_count(w->module); i++) {
        uint64_t slot;
        sinter_value value = sinter_module_output(w->module, i);
        const char *name = sinter_module_output_name(w->module, i);
        if (!sinter_map_find(&w->slots, value, &slot))
            return sinter_error(w->diag, name, "is a constant: no stage of a pipeline makes it");
        if (!write_io(w, "output", name, sinter_value_type(w->module, value),
                      sinter_value_type(w->whole, sinter_module_output(w->whole, i))))
            return false;
        sinter_text_format(&w->list, " of %llu\n", (unsigned long long)slot);
    }
    return true;
}

typedef SINTER_VECTOR(sinter_value) value_list;

/* What the stage takes, and what it gives; each once. */
static void list_values(writer *w, sinter_node stage, value_list *out_takes,
                        value_list *out_gives) {
    const sinter_node_info *info = sinter_node_get(w->module, stage);
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (!sinter_value_constant(w->module, info->operands[i]))
            sinter_vector_push(&w->arena, out_takes, info->operands[i]);
    for (uint32_t i = 0; i < info->result_count; i++)
        if (info->results[i]) sinter_vector_push(&w->arena, out_gives, info->results[i]);
}

static bool list_slots(writer *w, const char *word, const value_list *values) {
    sinter_text_format(&w->list, " %s", word);
    for (size_t i = 0; i < values->count; i++) {
        uint64_t slot = 0;
        sinter_map_find(&w->slots, values->items[i], &slot);
        sinter_text_format(&w->list, "%s%llu", i ? ", " : " ", (unsigned long long)slot);
    }
    return true;
}

/* The stage as a module: ids of nodes stay when it is extracted. */
static sinter_module *extract(writer *w, sinter_node stage, const value_list *takes,
                              const value_list *gives) {
    sinter_rewrite rewrite;
    sinter_module *module = sinter_module_extract(w->module, takes->items, takes->count,
                                                  gives->items, gives->count, w->diag);
    if (!module) return NULL;
    const sinter_node_info info = *sinter_node_get(module, stage);
    sinter_rewrite_begin(&rewrite, module, w->diag);
    sinter_rewrite_at(&rewrite, stage);
    sinter_rewrite_inline_region(&rewrite, stage, info.regions[0], info.operands);
    return module;
}

static bool write_stage(writer *w, sinter_node stage, uint32_t number) {
    value_list takes = {0}, gives = {0};
    uint64_t hash = 0;
    const char *path = stage_path(&w->arena, w->folder, number);
    list_values(w, stage, &takes, &gives);
    sinter_module *module = extract(w, stage, &takes, &gives);
    sinter_engine *engine = module ? sinter_engine_create(module, w->options, w->diag) : NULL;
    bool good = engine && sinter_engine_package(engine, path, w->diag) &&
                sinter_ranks_read_hash(path, w->options, &hash, w->diag);
    sinter_engine_destroy(engine);
    if (!good) return false;
    for (size_t i = 0; i < gives.count; i++) add_slot(w, gives.items[i]);
    sinter_text_format(&w->list, "stage 0x%016llx", (unsigned long long)hash);
    list_slots(w, "takes", &takes);
    list_slots(w, "gives", &gives);
    sinter_text_append_string(&w->list, "\n");
    return true;
}

static bool write_all(writer *w) {
    uint32_t number = 0;
    sinter_region main = sinter_module_main(w->module);
    if (!split(w)) return false;
    if (mkdir(w->folder, 0777) != 0 && errno != EEXIST)
        return sinter_error(w->diag, w->folder, "can't be made: %s", strerror(errno));
    sinter_text_format(&w->list,
                       "// Programs of the stages of a pipeline, stage_0.so on: what runs take and "
                       "give, and what each "
                       "stage takes and gives\n// of these values and of those of stages before "
                       "it, by number.\nmicro %lld\n",
                       (long long)w->how->micro_batches);
    if (!write_inputs(w)) return false;
    SINTER_FOR_NODES (w->module, main, node)
        if (sinter_node_find_attr(w->module, node, "stage") && !write_stage(w, node, number++))
            return false;
    return write_outputs(w) && sinter_file_write(list_path(&w->arena, w->folder), w->list.data,
                                                 w->list.size, w->diag); /* last */
}

bool sinter_stages_write(sinter_module *module, const sinter_module *whole,
                         const sinter_stages_options *how, const sinter_engine_options *options,
                         const char *folder, sinter_diag *diag) {
    writer w = {.module = module,
                .whole = whole,
                .how = how,
                .options = options,
                .folder = folder,
                .diag = diag};
    sinter_arena_init(&w.arena);
    sinter_map_init(&w.slots, &w.arena);
    bool good = write_all(&w);
    sinter_text_deinit(&w.list);
    sinter_arena_deinit(&w.arena);
    return good;
}

/* ---- loading ---- */

typedef SINTER_VECTOR(uint32_t) slot_list;
typedef struct stage {
    sinter_engine *engine;
    slot_list takes, gives;
} stage;

struct sinter_stages {
    sinter_arena arena;
    sinter_mesh micro; /* a rank is a micro-batch */
    SINTER_VECTOR(stage) stages;
    SINTER_VECTOR(sinter_abi_io) inputs;
    SINTER_VECTOR(sinter_abi_io) outputs;
    SINTER_VECTOR(const sinter_sharding *) input_words; /* NULL: not cut */
    SINTER_VECTOR(const sinter_sharding *) output_words;
    slot_list results; /* slots of the outputs */
    uint32_t slot_count;
    sinter_pool *pool; /* a thread a stage */
};

bool sinter_stages_is_folder(const char *path) {
    sinter_arena scratch;
    struct stat status;
    sinter_arena_init(&scratch);
    bool is = stat(list_path(&scratch, path), &status) == 0;
    sinter_arena_deinit(&scratch);
    return is;
}

/* [8, 28, 28] */
static bool read_dims(sinter_stages *s, sinter_lexer *lexer, sinter_abi_io *io) {
    int64_t dims[SINTER_MAX_RANK];
    if (!sinter_lexer_expect(lexer, "[")) return false;
    while (!sinter_lexer_is(lexer, "]")) {
        if (io->rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "there are at most %d dims", SINTER_MAX_RANK);
        if (!sinter_lexer_expect_integer(lexer, &dims[io->rank])) return false;
        if (dims[io->rank++] < 0) return sinter_lexer_error(lexer, "a dim is negative");
        if (!sinter_lexer_accept(lexer, ",")) break;
    }
    if (!sinter_lexer_expect(lexer, "]")) return false;
    const char **names = SINTER_NEW_ARRAY(&s->arena, const char *, io->rank + 1);
    for (int32_t i = 0; i < io->rank; i++)
        names[i] = sinter_arena_format(&s->arena, "%lld", (long long)dims[i]);
    io->dims = sinter_arena_copy(&s->arena, dims, (size_t)io->rank * sizeof *dims);
    io->dim_names = names;
    return true;
}

/* `"pixels" f32 [8, 28, 28] cut`; words are NULL where nothing is cut. */
static bool read_io(sinter_stages *s, sinter_lexer *lexer, sinter_abi_io *out_io,
                    const sinter_sharding **out_words) {
    sinter_string name = {0}, dtype = {0};
    *out_io = (sinter_abi_io){0};
    *out_words = NULL;
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect_identifier(lexer, &dtype))
        return false;
    out_io->name = sinter_string_copy(&s->arena, name).data;
    out_io->dtype = sinter_dtype_infos[sinter_dtype_find(dtype)].onnx_code;
    if (!out_io->dtype)
        return sinter_lexer_error(lexer, "'%.*s' is no element type", SINTER_STRING_ARGS(dtype));
    if (!read_dims(s, lexer, out_io)) return false;
    if (!sinter_lexer_accept(lexer, "cut")) return true;
    int64_t parts = sinter_mesh_rank_count(&s->micro);
    if (!out_io->rank || out_io->dims[0] % parts)
        return sinter_lexer_error(lexer, "an axis that is cut has a multiple of %lld indices",
                                  (long long)parts);
    sinter_sharding words = sinter_sharding_whole(&s->arena, (uint32_t)out_io->rank, false);
    sinter_mesh_axes_add(&words.dims[0].axes, 0);
    words.dims[0].whole = out_io->dims[0];
    *out_words = sinter_sharding_copy(&s->arena, &words);
    return true;
}

static bool read_slots(sinter_stages *s, sinter_lexer *lexer, const char *word, uint32_t least,
                       uint32_t end, slot_list *out_slots) {
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

static bool load_stage(sinter_stages *s, sinter_lexer *lexer, const char *folder,
                       const sinter_engine_options *options) {
    stage one = {0};
    const char *path = stage_path(&s->arena, folder, (uint32_t)s->stages.count);
    uint64_t hash = lexer->token.integer;
    if (s->stages.count == MOST_STAGES)
        return sinter_lexer_error(lexer, "there are at most %d stages", MOST_STAGES);
    if (lexer->token.kind != SINTER_TOKEN_HEX)
        return sinter_lexer_error_expected(lexer, "the hash of a program");
    sinter_lexer_next(lexer);
    if (!read_slots(s, lexer, "takes", 0, s->slot_count, &one.takes) ||
        !read_slots(s, lexer, "gives", s->slot_count, MOST_SLOTS, &one.gives))
        return false;
    if (!sinter_engine_report(sinter_engine_load(path, options, &one.engine), path, lexer->diag))
        return false;
    sinter_vector_push(&s->arena, &s->stages, one);
    if (sinter_ranks_hash(sinter_engine_artifact(one.engine)) != hash)
        return sinter_error(lexer->diag, path,
                            "is not the program of stage %zu that was made with the others",
                            s->stages.count - 1);
    if (sinter_engine_input_count(one.engine) != one.takes.count ||
        sinter_engine_output_count(one.engine) != one.gives.count)
        return sinter_error(lexer->diag, path, "takes or gives other values than %s says", LIST);
    for (size_t i = 0; i < one.gives.count; i++)
        if (one.gives.items[i] != s->slot_count++)
            return sinter_lexer_error(lexer, "stages number what they give in order");
    return true;
}

static bool read_micro(sinter_stages *s, sinter_lexer *lexer) {
    s->micro = (sinter_mesh){.axis_count = 1, .rank = -1};
    s->micro.axes[0].name = SINTER_STRING("micro");
    return sinter_lexer_expect(lexer, "micro") &&
           sinter_lexer_expect_integer(lexer, &s->micro.axes[0].size) &&
           sinter_mesh_check(&s->micro, LIST, lexer->diag);
}

static bool read_list(sinter_stages *s, sinter_lexer *lexer, const char *folder,
                      const sinter_engine_options *options) {
    sinter_abi_io io;
    const sinter_sharding *words;
    if (!read_micro(s, lexer)) return false;
    while (sinter_lexer_accept(lexer, "input")) {
        if (!read_io(s, lexer, &io, &words)) return false;
        sinter_vector_push(&s->arena, &s->inputs, io);
        sinter_vector_push(&s->arena, &s->input_words, words);
        s->slot_count++;
    }
    while (sinter_lexer_accept(lexer, "stage"))
        if (!load_stage(s, lexer, folder, options)) return false;
    while (sinter_lexer_accept(lexer, "output")) {
        if (!read_io(s, lexer, &io, &words) ||
            !read_slots(s, lexer, "of", 0, s->slot_count, &s->results))
            return false;
        sinter_vector_push(&s->arena, &s->outputs, io);
        sinter_vector_push(&s->arena, &s->output_words, words);
        if (s->results.count != s->outputs.count)
            return sinter_lexer_error(lexer, "an output is one value");
    }
    return s->stages.count && lexer->token.kind == SINTER_TOKEN_END
               ? true
               : sinter_lexer_error_expected(lexer, "'input', then 'stage', then 'output'");
}

sinter_stages *sinter_stages_load(const char *folder, const sinter_engine_options *options,
                                  sinter_diag *diag) {
    sinter_stages *s = sinter_heap_alloc(sizeof *s);
    sinter_text text = {0};
    sinter_lexer lexer;
    sinter_engine_options one = *options;
    one.thread_count = 1;
    sinter_arena_init(&s->arena);
    const char *path = list_path(&s->arena, folder);
    bool good = sinter_file_read_text(path, &text, diag);
    if (good) {
        sinter_lexer_init(&lexer, path, text.data ? text.data : "", text.size, &s->arena, diag);
        good = read_list(s, &lexer, folder, &one) &&
               sinter_engine_report(sinter_pool_create((uint32_t)s->stages.count, NULL, &s->pool),
                                    folder, diag);
    }
    sinter_text_deinit(&text);
    if (good) return s;
    sinter_stages_destroy(s);
    return NULL;
}

void sinter_stages_destroy(sinter_stages *s) {
    if (!s) return;
    sinter_pool_destroy(s->pool);
    for (size_t i = 0; i < s->stages.count; i++) sinter_engine_destroy(s->stages.items[i].engine);
    sinter_arena_deinit(&s->arena);
    sinter_heap_free(s);
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

/* One run: `slots` by micro-batch, then by slot. A stage writes what it gives before it says that it is done. */
typedef struct run {
    sinter_stages *stages;
    sinter_tensor *slots;
    int64_t micro_batches;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    int64_t *done; /* by stage: micro-batches */
    bool failed;
    sinter_text *messages; /* by stage */
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
    const stage *one = &r->stages->stages.items[number];
    sinter_tensor *slots = r->slots + micro * r->stages->slot_count;
    sinter_tensor *inputs = sinter_heap_alloc((one->takes.count + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((one->gives.count + 1) * sizeof *outputs);
    for (size_t i = 0; i < one->takes.count; i++)
        inputs[i] = slots[one->takes.items[i]]; /* borrowed */
    bool good = sinter_engine_run(one->engine, inputs, outputs, diag);
    for (size_t i = 0; good && i < one->gives.count; i++) slots[one->gives.items[i]] = outputs[i];
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    return good;
}

static void run_stage(run *r, size_t number) {
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &r->messages[number]};
    bool good = true;
    for (int64_t micro = 0; good && micro < r->micro_batches && wait_for(r, number, micro);
         micro++) {
        good = run_micro(r, number, micro, &diag);
        tell(r, number, good);
    }
}

static void run_some(void *environment, int64_t first, int64_t end) {
    for (int64_t number = first; number < end; number++) run_stage(environment, (size_t)number);
}

static bool cut_inputs(run *r, const sinter_tensor *inputs, sinter_diag *diag) {
    const sinter_stages *s = r->stages;
    for (int64_t micro = 0; micro < r->micro_batches; micro++)
        for (size_t i = 0; i < s->inputs.count; i++)
            if (!sinter_sharding_cut_tensor(&s->micro, s->input_words.items[i], micro, &inputs[i],
                                            &r->slots[micro * s->slot_count + (int64_t)i], diag))
                return false;
    return true;
}

static bool join_outputs(const run *r, sinter_tensor *out_outputs, sinter_diag *diag) {
    const sinter_stages *s = r->stages;
    const sinter_tensor **parts = sinter_heap_alloc((size_t)r->micro_batches * sizeof *parts);
    bool good = true;
    for (size_t i = 0; good && i < s->outputs.count; i++) {
        for (int64_t micro = 0; micro < r->micro_batches; micro++)
            parts[micro] = &r->slots[micro * s->slot_count + s->results.items[i]];
        good = sinter_sharding_join_tensors(&s->micro, s->output_words.items[i], parts,
                                            &out_outputs[i], diag);
    }
    sinter_heap_free(parts);
    return good;
}

static void report(const run *r, sinter_diag *diag) {
    for (size_t i = 0; i < r->stages->stages.count; i++) {
        sinter_text *text = &r->messages[i];
        while (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = 0;
        if (text->size) sinter_error(diag, "", "stage %zu: %s", i, text->data);
    }
}

bool sinter_stages_run(sinter_stages *s, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                       sinter_diag *diag) {
    run r = {.stages = s, .micro_batches = sinter_mesh_rank_count(&s->micro)};
    size_t slots = (size_t)r.micro_batches * s->slot_count, stages = s->stages.count;
    memset(out_outputs, 0, s->outputs.count * sizeof *out_outputs);
    r.slots = sinter_heap_alloc((slots + 1) * sizeof *r.slots);
    r.done = sinter_heap_alloc(stages * sizeof *r.done);
    r.messages = sinter_heap_alloc(stages * sizeof *r.messages);
    pthread_mutex_init(&r.mutex, NULL);
    pthread_cond_init(&r.moved, NULL);
    bool good = cut_inputs(&r, inputs, diag);
    if (good) {
        sinter_pool_parallel_for(s->pool, (int64_t)stages, 1, run_some, &r);
        good = !r.failed && join_outputs(&r, out_outputs, diag);
        if (r.failed) report(&r, diag);
    }
    for (size_t i = 0; i < slots; i++) sinter_tensor_deinit(&r.slots[i]);
    for (size_t i = 0; i < stages; i++) sinter_text_deinit(&r.messages[i]);
    pthread_cond_destroy(&r.moved);
    pthread_mutex_destroy(&r.mutex);
    sinter_heap_free(r.slots);
    sinter_heap_free(r.done);
    sinter_heap_free(r.messages);
    return good;
}
