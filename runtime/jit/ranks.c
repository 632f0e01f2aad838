/* Ranks of a mesh in this process; see ranks.h. Test: tests/cli/shard.test */
#include "runtime/jit/ranks.h"
#include "ir/base/file.h"
#include "ir/base/lex.h"
#include "ir/sharding_tensor.h"
#include "runtime/collectives.h"
#include "runtime/sinter_runtime.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static const char *const LIST = "ranks.txt";

/* ---- making ---- */

static bool run_passes(sinter_module *module, const char *list, const sinter_ranks_options *how,
                       sinter_diag *diag) {
    sinter_arena scratch;
    const sinter_pass *const *passes = NULL;
    size_t count = 0;
    sinter_pipeline_options options = {.stop_after = -1};
    if (how) {
        options.explain = how->explain;
        options.hardware = how->hardware;
        options.goal = how->goal;
    }
    sinter_arena_init(&scratch);
    bool good = sinter_pipeline_parse(list, &scratch, &passes, &count, diag) &&
                sinter_pipeline_run(module, passes, count, &options, diag);
    sinter_arena_deinit(&scratch);
    return good;
}

bool sinter_ranks_spread(sinter_module *module, const sinter_ranks_options *how,
                         sinter_diag *diag) {
    /* Shapes become numbers first, and constants behind views weights. */
    return run_passes(module,
                      "fold-constants,fold-sequences,canonicalize,eliminate-common,eliminate-dead",
                      how, diag) &&
           (!how->hardware || run_passes(module, "shard-auto", how, diag)) &&
           run_passes(module, "shard-propagate", how, diag);
}

bool sinter_ranks_cut(sinter_module *module, const sinter_ranks_options *how, sinter_diag *diag) {
    return run_passes(module, "shard-partition,shard-simplify,eliminate-common,eliminate-dead", how,
                      diag);
}

bool sinter_ranks_partition(sinter_module *module, const sinter_ranks_options *how,
                            sinter_diag *diag) {
    return sinter_ranks_spread(module, how, diag) && sinter_ranks_cut(module, how, diag);
}

sinter_module *sinter_ranks_program(const sinter_module *module, int64_t rank, sinter_diag *diag) {
    sinter_module *program = sinter_module_clone(module);
    sinter_mesh mesh = *sinter_module_mesh(program);
    mesh.rank = rank;
    sinter_module_set_mesh(program, &mesh);
    if (run_passes(program, "shard-localize,eliminate-dead", NULL, diag)) return program;
    sinter_module_destroy(program);
    return NULL;
}

static void print_values(sinter_module *module, const char *word, uint32_t count,
                         sinter_value (*at)(const sinter_module *, uint32_t), sinter_text *text) {
    for (uint32_t i = 0; i < count; i++) {
        const sinter_sharding *sharding = sinter_value_sharding(module, at(module, i));
        sinter_text_format(text, "%s", word);
        if (sharding) {
            sinter_text_append_string(text, " ");
            sinter_sharding_print(sinter_module_mesh(module), sharding, text);
        }
        sinter_text_append_string(text, "\n");
    }
}

static const char *path_in(sinter_arena *arena, const char *folder, const char *name) {
    return sinter_arena_format(arena, "%s/%s", folder, name);
}

static const char *program_path(sinter_arena *arena, const char *folder, int64_t rank) {
    return sinter_arena_format(arena, "%s/rank_%lld.so", folder, (long long)rank);
}

static bool write_list(sinter_module *module, const uint64_t *hashes, const char *folder,
                       sinter_diag *diag) {
    sinter_text text = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_text_append_string(&text, "// Programs of the ranks of a mesh, rank_0.so on; what each "
                                     "has of inputs and outputs, in order.\nmesh ");
    sinter_mesh_print(sinter_module_mesh(module), &text);
    sinter_text_append_string(&text, "\n");
    for (int64_t i = 0; i < sinter_mesh_rank_count(sinter_module_mesh(module)); i++)
        sinter_text_format(&text, "program 0x%016llx\n", (unsigned long long)hashes[i]);
    print_values(module, "input", sinter_module_input_count(module), sinter_module_input, &text);
    print_values(module, "output", sinter_module_output_count(module), sinter_module_output, &text);
    bool good = sinter_file_write(path_in(&scratch, folder, LIST), text.data, text.size, diag);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&scratch);
    return good;
}

uint64_t sinter_ranks_hash(const sinter_abi_artifact *artifact) {
    uint64_t hash = artifact->weights_hash;
    for (uint32_t i = 0; i < artifact->kernel_count; i++)
        hash = sinter_abi_hash(artifact->kernels[i].name, strlen(artifact->kernels[i].name), hash);
    return hash;
}

bool sinter_ranks_read_hash(const char *path, const sinter_engine_options *options,
                            uint64_t *out_hash, sinter_diag *diag) {
    sinter_engine *engine = NULL;
    if (!sinter_engine_report(sinter_engine_load(path, options, &engine), path, diag)) return false;
    *out_hash = sinter_ranks_hash(sinter_engine_artifact(engine));
    sinter_engine_destroy(engine);
    return true;
}

bool sinter_ranks_write(sinter_module *module, const sinter_engine_options *options,
                        const char *folder, sinter_diag *diag) {
    int64_t ranks = sinter_mesh_rank_count(sinter_module_mesh(module));
    char cache[SINTER_FILE_FOLDER_BYTES] = "";
    sinter_engine_options one = *options;
    bool good = true;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return sinter_error(diag, folder, "can't be made: %s", strerror(errno));
    uint64_t *hashes = sinter_heap_alloc((size_t)ranks * sizeof *hashes);
    /* Programs of ranks have most kernels in common. */
    if (!one.cache && sinter_file_make_folder(cache, diag)) one.cache = cache;
    for (int64_t rank = 0; good && rank < ranks; rank++) {
        sinter_arena scratch;
        sinter_arena_init(&scratch);
        const char *path = program_path(&scratch, folder, rank);
        sinter_module *program = sinter_ranks_program(module, rank, diag);
        sinter_engine *engine = program ? sinter_engine_create(program, &one, diag) : NULL;
        good = engine && sinter_engine_package(engine, path, diag) &&
               sinter_ranks_read_hash(path, &one, &hashes[rank], diag);
        sinter_engine_destroy(engine);
        sinter_arena_deinit(&scratch);
    }
    if (cache[0]) sinter_file_remove_folder(cache);
    good = good && write_list(module, hashes, folder, diag); /* last: then the folder is complete */
    sinter_heap_free(hashes);
    return good;
}

/* ---- loading ---- */

struct sinter_ranks {
    sinter_arena arena;
    sinter_mesh mesh;
    int64_t count;
    sinter_engine **engines;
    const sinter_sharding **input_words, **output_words; /* NULL: nothing is cut */
    sinter_abi_io *inputs, *outputs;
    size_t input_count, output_count;
    sinter_pool *pool; /* a thread a rank */
    double seconds;
};

bool sinter_ranks_is_folder(const char *path) {
    sinter_arena scratch;
    struct stat status; /* the list is found in no file but a folder */
    sinter_arena_init(&scratch);
    bool is = stat(path_in(&scratch, path, LIST), &status) == 0;
    sinter_arena_deinit(&scratch);
    return is;
}

/* One `input` or `output` for each value that the programs have. */
static bool read_values(sinter_ranks *r, sinter_lexer *lexer, const char *word, size_t count,
                        const sinter_sharding **out_words) {
    for (size_t i = 0; i < count; i++) {
        sinter_sharding sharding;
        if (!sinter_lexer_expect(lexer, word)) return false;
        if (!sinter_lexer_is(lexer, "shard")) continue;
        if (!sinter_sharding_read(lexer, &r->mesh, &r->arena, &sharding)) return false;
        out_words[i] = sinter_sharding_copy(&r->arena, &sharding);
    }
    return true;
}

/* `program` and its hash, for each rank. */
static bool load_engines(sinter_ranks *r, sinter_lexer *lexer, const char *folder,
                         const sinter_engine_options *options, sinter_diag *diag) {
    sinter_engine_options one = *options;
    one.thread_count = 1;
    r->engines = SINTER_NEW_ARRAY(&r->arena, sinter_engine *, r->count);
    for (int64_t i = 0; i < r->count; i++) {
        const char *name = program_path(&r->arena, folder, i);
        if (!sinter_lexer_expect(lexer, "program")) return false;
        uint64_t hash = lexer->token.integer;
        if (lexer->token.kind != SINTER_TOKEN_HEX)
            return sinter_lexer_error_expected(lexer, "the hash of a program");
        sinter_lexer_next(lexer);
        if (!sinter_engine_report(sinter_engine_load(name, &one, &r->engines[i]), name, diag))
            return false;
        if (sinter_ranks_hash(sinter_engine_artifact(r->engines[i])) != hash)
            return sinter_error(diag, name,
                                "is not the program of rank %lld that was made with the others",
                                (long long)i);
        if (sinter_engine_input_count(r->engines[i]) != sinter_engine_input_count(r->engines[0]) ||
            sinter_engine_output_count(r->engines[i]) != sinter_engine_output_count(r->engines[0]))
            return sinter_error(diag, name, "has not the inputs and outputs of rank 0");
    }
    r->input_count = sinter_engine_input_count(r->engines[0]);
    r->output_count = sinter_engine_output_count(r->engines[0]);
    return true;
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
        dims[i] = dim->whole ? dim->whole : part->dims[i];
        names[i] = dim->whole ? sinter_arena_format(&r->arena, "%lld", (long long)dim->whole)
                              : part->dim_names[i];
        if (dim->whole &&
            sinter_mesh_part_of(&r->mesh, &dim->axes, dim->whole, 0).chunk != part->dims[i])
            return sinter_error(diag, where, "%s has other dims than the programs say", part->name);
    }
    out_whole->dims = dims;
    out_whole->dim_names = names;
    return true;
}

static bool describe_all(sinter_ranks *r, const char *where, sinter_diag *diag) {
    bool good = true;
    r->inputs = SINTER_NEW_ARRAY(&r->arena, sinter_abi_io, r->input_count + 1);
    r->outputs = SINTER_NEW_ARRAY(&r->arena, sinter_abi_io, r->output_count + 1);
    for (size_t i = 0; good && i < r->input_count; i++)
        good = describe(r, sinter_engine_input(r->engines[0], i), r->input_words[i], &r->inputs[i],
                        where, diag);
    for (size_t i = 0; good && i < r->output_count; i++)
        good = describe(r, sinter_engine_output(r->engines[0], i), r->output_words[i],
                        &r->outputs[i], where, diag);
    return good;
}

static bool load(sinter_ranks *r, const char *folder, const sinter_engine_options *options,
                 sinter_diag *diag) {
    sinter_text text = {0};
    sinter_lexer lexer;
    const char *path = path_in(&r->arena, folder, LIST);
    bool good = sinter_file_read_text(path, &text, diag);
    if (good) {
        const char *kept = sinter_arena_copy_string(&r->arena, text.data, text.size);
        sinter_lexer_init(&lexer, path, kept, text.size, &r->arena, diag);
        good = sinter_lexer_expect(&lexer, "mesh") && sinter_mesh_read(&lexer, &r->mesh);
    }
    sinter_text_deinit(&text);
    r->count = good ? sinter_mesh_rank_count(&r->mesh) : 0;
    if (!good || !load_engines(r, &lexer, folder, options, diag)) return false;
    r->input_words = SINTER_NEW_ARRAY(&r->arena, const sinter_sharding *, r->input_count + 1);
    r->output_words = SINTER_NEW_ARRAY(&r->arena, const sinter_sharding *, r->output_count + 1);
    if (!read_values(r, &lexer, "input", r->input_count, r->input_words) ||
        !read_values(r, &lexer, "output", r->output_count, r->output_words))
        return false;
    if (lexer.token.kind != SINTER_TOKEN_END)
        return sinter_lexer_error_expected(&lexer, "the end of the file");
    if (!describe_all(r, path, diag)) return false;
    return sinter_engine_report(sinter_pool_create((uint32_t)r->count, NULL, &r->pool), folder,
                                diag);
}

sinter_ranks *sinter_ranks_load(const char *folder, const sinter_engine_options *options,
                                double seconds, sinter_diag *diag) {
    sinter_ranks *r = sinter_heap_alloc(sizeof *r);
    sinter_arena_init(&r->arena);
    r->seconds = seconds;
    if (load(r, folder, options, diag)) return r;
    sinter_ranks_destroy(r);
    return NULL;
}

void sinter_ranks_destroy(sinter_ranks *r) {
    if (!r) return;
    sinter_pool_destroy(r->pool);
    for (int64_t i = 0; r->engines && i < r->count; i++) sinter_engine_destroy(r->engines[i]);
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

/* One run of all ranks; what belongs to one is touched by its thread alone. */
typedef struct run {
    sinter_ranks *ranks;
    sinter_collectives *collectives;
    const sinter_tensor *inputs;
    sinter_tensor *parts, *results; /* by rank, then by input or output */
    sinter_text *messages;
    bool *good;
} run;

static void run_rank(run *all, int64_t number) {
    sinter_ranks *r = all->ranks;
    sinter_tensor *parts = all->parts + number * (int64_t)r->input_count;
    sinter_tensor *results = all->results + number * (int64_t)r->output_count;
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &all->messages[number]};
    bool good = true;
    for (size_t i = 0; good && i < r->input_count; i++)
        good = sinter_sharding_cut_tensor(&r->mesh, r->input_words[i], number, &all->inputs[i],
                                          &parts[i], &diag);
    sinter_engine_set_services(r->engines[number],
                               sinter_collectives_services(all->collectives, number));
    good = good && sinter_engine_run(r->engines[number], parts, results, &diag);
    all->good[number] = good;
    sinter_collectives_leave(all->collectives, number, good ? NULL : all->messages[number].data);
}

static void run_some(void *environment, int64_t first, int64_t end) {
    for (int64_t number = first; number < end; number++) run_rank(environment, number);
}

static bool join_outputs(const run *all, sinter_tensor *out_outputs, sinter_diag *diag) {
    const sinter_ranks *r = all->ranks;
    const sinter_tensor **list = sinter_heap_alloc((size_t)r->count * sizeof *list);
    bool good = true;
    for (size_t i = 0; good && i < r->output_count; i++) {
        for (int64_t k = 0; k < r->count; k++)
            list[k] = &all->results[k * (int64_t)r->output_count + (int64_t)i];
        good =
            sinter_sharding_join_tensors(&r->mesh, r->output_words[i], list, &out_outputs[i], diag);
    }
    sinter_heap_free(list);
    return good;
}

static void report(const run *all, sinter_diag *diag) {
    for (int64_t i = 0; i < all->ranks->count; i++)
        if (!all->good[i]) {
            sinter_text *text = &all->messages[i];
            while (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = 0;
            sinter_error(diag, "", "%s", text->data ? text->data : "a rank failed");
        }
}

static void clear(sinter_tensor *tensors, size_t count) {
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_heap_free(tensors);
}

bool sinter_ranks_run(sinter_ranks *r, const sinter_tensor *inputs, sinter_tensor *out_outputs,
                      sinter_diag *diag) {
    int64_t sizes[SINTER_MESH_MAX_AXES];
    size_t count = (size_t)r->count;
    run all = {.ranks = r, .inputs = inputs};
    for (uint32_t i = 0; i < r->mesh.axis_count; i++) sizes[i] = r->mesh.axes[i].size;
    memset(out_outputs, 0, r->output_count * sizeof *out_outputs);
    if (!sinter_engine_report(
            sinter_collectives_create(sizes, r->mesh.axis_count, r->seconds, &all.collectives),
            "ranks", diag))
        return false;
    all.parts = sinter_heap_alloc((count * r->input_count + 1) * sizeof *all.parts);
    all.results = sinter_heap_alloc((count * r->output_count + 1) * sizeof *all.results);
    all.messages = sinter_heap_alloc(count * sizeof *all.messages);
    all.good = sinter_heap_alloc(count * sizeof *all.good);
    sinter_pool_parallel_for(r->pool, r->count, 1, run_some, &all);
    bool good = true;
    for (size_t i = 0; i < count; i++) good = good && all.good[i];
    if (good)
        good = join_outputs(&all, out_outputs, diag);
    else
        report(&all, diag);
    clear(all.parts, count * r->input_count);
    clear(all.results, count * r->output_count);
    for (size_t i = 0; i < count; i++) sinter_text_deinit(&all.messages[i]);
    sinter_heap_free(all.messages);
    sinter_heap_free(all.good);
    sinter_collectives_destroy(all.collectives);
    return good;
}
