/* Programs of ranks, made out of a module and put into a folder. Ranks whose programs are the same, weights too, share one.
 * Test: tests/cli/shard.test */
#include "ir/base/file.h"
#include "ir/hardware.h"
#include "ir/parse.h"
#include "runtime/artifact_file.h"
#include "runtime/jit/programs_folder.h"
#include "runtime/jit/ranks_internal.h"

#include <string.h>

static bool run_passes(sinter_module *module, const char *list, const sinter_ranks_options *how,
                       sinter_diag *diag) {
    sinter_engine_pipeline engine;
    sinter_pipeline_options options = {.stop_after = -1};
    if (how && how->engine) { /* passes that compare programs make them as plans do */
        sinter_engine_options planned = *how->engine;
        if (how->hardware && *how->hardware->target) planned.target = how->hardware->target;
        if (!sinter_engine_describe_pipeline(&planned, &engine, diag)) return false;
        options = engine.options;
        options.programs = engine.list;
        options.print_after = NULL;
        options.stop_after = -1;
        options.time_passes = false;
    }
    if (how) {
        options.explain = how->explain;
        options.hardware = how->hardware;
        options.goal = how->goal;
    }
    return sinter_pipeline_run_list(module, list, &options, diag);
}

typedef struct use {
    const sinter_module *module;
    uint32_t axes; /* over which something is cut, or left as terms; as bits */
} use;

static void add_value(use *u, sinter_value value) {
    const sinter_sharding *said = value ? sinter_value_sharding(u->module, value) : NULL;
    if (said) u->axes |= sinter_sharding_used(said) | said->partial;
}

static void add_results(void *user, sinter_node node) {
    use *u = user;
    for (uint32_t i = 0; i < sinter_node_get(u->module, node)->result_count; i++)
        add_value(u, sinter_node_result(u->module, node, i));
}

/* Ranks along an axis over which nothing is cut all do the same work, which is seldom what somebody wants. */
static void tell_unused(sinter_module *module, bool chooses, sinter_diag *diag) {
    const sinter_mesh *mesh = sinter_module_mesh(module);
    use u = {.module = module};
    for (uint32_t i = 0; i < sinter_module_input_count(module); i++)
        add_value(&u, sinter_module_input(module, i));
    sinter_pass_visit_nodes(module, add_results, &u);
    for (uint32_t i = 0; i < mesh->axis_count; i++) {
        const sinter_mesh_axis *axis = &mesh->axes[i];
        if (axis->size < 2 || u.axes & 1u << i) continue;
        sinter_note(diag, sinter_module_name(module),
                    "nothing is cut over %.*s: its %lld ranks do the same work; %s",
                    SINTER_STRING_ARGS(axis->name), (long long)axis->size,
                    chooses ? "nothing that could be cut pays on this hardware (--explain)"
                            : "--shard NAME=DIMS says what is to be cut, --auto --hardware=FILE "
                              "chooses");
    }
}

/* ---- what is said of values ---- */

static void find_quantization(void *user, sinter_node node) {
    bool *found = ((void **)user)[1];
    const sinter_module *module = ((void **)user)[0];
    const sinter_op op = sinter_node_op(module, node);
    static const char composite[] = "qlinear_";
    *found = *found || op == SINTER_OP_quantize_linear ||
             !strncmp(sinter_op_get_info(op)->name, composite, sizeof composite - 1);
}

static bool quantizes(sinter_module *module) {
    bool found = false;
    sinter_pass_visit_nodes(module, find_quantization, (void *[]){module, &found});
    return found;
}

/* What ranks hold terms of within the model was found, not said. */
static void forget_sums(void *user, sinter_node node) {
    sinter_module *module = user;
    for (uint32_t i = 0; i < sinter_node_get(module, node)->result_count; i++) {
        const sinter_value value = sinter_node_result(module, node, i);
        const sinter_sharding *said = value ? sinter_value_sharding(module, value) : NULL;
        if (!said || !said->partial || sinter_value_is_output(module, value)) continue;
        sinter_sharding *summed = sinter_sharding_copy(sinter_module_arena(module), said);
        summed->partial = 0;
        sinter_value_set_sharding(module, value, summed);
    }
}

/* Sums of integers are the same in any order, those of what is dequantized are not: where results are quantized, there are integers
 * before anything is cut. What values become keeps what was said of them; so this is of all values, then what is new hears of it. */
static bool make_integers(sinter_module *module, const sinter_ranks_options *how,
                          sinter_diag *diag) {
    sinter_ranks_options quiet = *how;
    quiet.explain = false; /* told before */
    if ((how->engine && how->engine->level <= 0) || !quantizes(module)) return true;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_pass_visit_nodes(module, forget_sums, module);
    bool good = run_passes(module, sinter_pipeline_to_integers(&scratch), &quiet, diag) &&
                run_passes(module, "fold-constants,canonicalize,shard-propagate", &quiet, diag);
    sinter_arena_deinit(&scratch);
    return good;
}

bool sinter_ranks_spread(sinter_module *module, const sinter_ranks_options *how,
                         sinter_diag *diag) {
    sinter_ranks_options spread = *how;
    spread.explain = how->explain && !how->chooses; /* what was chosen contradicts nobody */
    /* Shapes become numbers first, and constants behind views weights. */
    const bool good =
        run_passes(module,
                   "fold-constants,fold-sequences,canonicalize,eliminate-common,eliminate-dead",
                   how, diag) &&
        (!how->chooses || run_passes(module, "shard-auto", how, diag)) &&
        run_passes(module, "shard-propagate", &spread, diag) && make_integers(module, how, diag);
    if (good) tell_unused(module, how->chooses, diag);
    return good;
}

bool sinter_ranks_cut(sinter_module *module, const sinter_ranks_options *how, sinter_diag *diag) {
    return run_passes(module, sinter_pipeline_of_partition(), how, diag);
}

bool sinter_ranks_partition(sinter_module *module, const sinter_ranks_options *how,
                            sinter_diag *diag) {
    return sinter_ranks_spread(module, how, diag) && sinter_ranks_cut(module, how, diag);
}

sinter_module *sinter_ranks_program(const sinter_module *module, int64_t rank, sinter_diag *diag) {
    sinter_module *program = sinter_module_clone(module);
    const sinter_pipeline_options options = {.stop_after = -1};
    if (sinter_pipeline_run_rank(program, rank, &options, diag)) return program;
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

/* What is written of a rank's program. */
typedef struct program {
    sinter_ranks_identity identity; /* before it is compiled */
    uint64_t hash;                  /* of its file: sinter_artifact_read_checksum */
    int64_t owner;                  /* the first rank that has the same one */
} program;

static bool write_list(sinter_module *module, const program *programs, const char *folder,
                       sinter_diag *diag) {
    sinter_text text = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_text_append_string(&text, "// Programs of the ranks of a mesh, rank_0.so on; what each "
                                     "has of inputs and outputs, in order.\nmesh ");
    sinter_mesh_print(sinter_module_mesh(module), &text);
    sinter_text_append_string(&text, "\n");
    for (int64_t i = 0; i < sinter_mesh_rank_count(sinter_module_mesh(module)); i++)
        if (programs[i].owner == i)
            sinter_text_format(&text, "program 0x%016llx\n", (unsigned long long)programs[i].hash);
        else
            sinter_text_format(&text, "program 0x%016llx of %lld\n",
                               (unsigned long long)programs[i].hash, (long long)programs[i].owner);
    print_values(module, "input", sinter_module_input_count(module), sinter_module_input, &text);
    print_values(module, "output", sinter_module_output_count(module), sinter_module_output, &text);
    bool good = sinter_file_write(sinter_ranks_list(&scratch, folder), text.data, text.size, diag);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&scratch);
    return good;
}

bool sinter_ranks_write_program(sinter_module *module, const sinter_engine_options *options,
                                const char *path, uint64_t *out_hash, sinter_diag *diag) {
    sinter_arena arena;
    sinter_target target;
    sinter_loop_program *loops = NULL;
    const sinter_schedule_options schedule = {.level = options->level, .tuning = options->tuning};
    const sinter_codegen_options codegen = {
        .level = options->level, .jobs = (uint32_t)options->jobs, .cache = options->cache};
    sinter_arena_init(&arena);
    if (sinter_target_parse(options->target ? options->target : "cpu", &arena, &target, diag) &&
        sinter_engine_run_passes(module, options, diag))
        loops = sinter_engine_lower(module, &target, &schedule, diag);
    bool good = loops &&
                sinter_package(loops, &target, &codegen, SINTER_PACKAGE_SHARED, path, diag) &&
                sinter_engine_report(sinter_artifact_read_checksum(path, out_hash), path, diag);
    if (loops) sinter_loop_program_destroy(loops);
    sinter_arena_deinit(&arena);
    return good;
}

bool sinter_ranks_read_list_hash(const char *folder, uint64_t *out_hash, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_text text = {0};
    sinter_arena_init(&scratch);
    bool good = sinter_file_read_text(sinter_ranks_list(&scratch, folder), &text, diag);
    if (good) *out_hash = sinter_abi_hash(text.data, text.size, 0);
    sinter_text_deinit(&text);
    sinter_arena_deinit(&scratch);
    return good;
}

/* What tells the programs of ranks apart, beside their text. */
typedef struct mark {
    sinter_module *module;
    const sinter_mesh *mesh;
    int64_t rank;
    sinter_text text;
    uint64_t weights;
} mark;

/* Permutes say for all ranks what one of them does; which units of a layer it has is the place of a rank. */
static void mark_node(void *user, sinter_node node) {
    mark *m = user;
    const sinter_op_info *op = sinter_op_get_info(sinter_node_op(m->module, node));
    sinter_mesh_axes over = {0};
    if (sinter_node_find_attr(m->module, node, "pairs"))
        sinter_text_format(&m->text, "rank %lld", (long long)m->rank);
    if (op->pattern != SINTER_PATTERN_COLLECTIVE && sinter_node_exchanges(m->module, node) &&
        sinter_node_get_mesh_axes(m->module, node, &over))
        sinter_text_format(&m->text, "place %lld",
                           (long long)sinter_mesh_place(m->mesh, &over, m->rank));
    const sinter_tensor *constant =
        sinter_value_constant(m->module, sinter_node_result(m->module, node, 0));
    if (constant && constant->dtype != SINTER_DTYPE_string)
        m->weights = sinter_abi_hash(constant->data, sinter_tensor_bytes(constant), m->weights);
    else if (constant)
        sinter_text_format(&m->text, "rank %lld", (long long)m->rank);
}

sinter_ranks_identity sinter_ranks_identify(sinter_module *module, int64_t rank) {
    const sinter_mesh mesh = *sinter_module_mesh(module);
    mark m = {.module = module, .mesh = &mesh, .rank = rank};
    sinter_mesh anonymous = mesh;
    anonymous.rank = -1;
    sinter_module_set_mesh(module, &anonymous);
    sinter_print_module(module, &(sinter_print_options){.max_elements = 1}, &m.text);
    sinter_module_set_mesh(module, &mesh);
    sinter_pass_visit_nodes(module, mark_node, &m);
    uint64_t hash = sinter_abi_hash(m.text.data, m.text.size, m.text.size);
    sinter_text_deinit(&m.text);
    return (sinter_ranks_identity){hash, m.weights};
}

bool sinter_ranks_identity_is(sinter_ranks_identity a, sinter_ranks_identity b) {
    return a.text == b.text && a.weights == b.weights;
}

/* The rank's program into a file, unless an earlier one is the same. */
static bool write_program(sinter_module *module, int64_t rank, const sinter_engine_options *options,
                          const char *folder, program *programs, sinter_diag *diag) {
    sinter_module *made = sinter_ranks_program(module, rank, diag);
    program *own = &programs[rank];
    if (!made) return false;
    own->identity = sinter_ranks_identify(made, rank);
    for (own->owner = 0; own->owner < rank; own->owner++) {
        const program *other = &programs[own->owner];
        if (!sinter_ranks_identity_is(other->identity, own->identity)) continue;
        own->hash = other->hash;
        sinter_module_destroy(made);
        return true;
    }
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    const char *path = sinter_ranks_path(&scratch, folder, rank);
    bool good = sinter_ranks_write_program(made, options, path, &own->hash, diag);
    sinter_module_destroy(made);
    sinter_arena_deinit(&scratch);
    return good;
}

static bool write_programs(sinter_module *module, const sinter_engine_options *options,
                           const char *folder, sinter_diag *diag) {
    int64_t ranks = sinter_mesh_rank_count(sinter_module_mesh(module));
    char cache[SINTER_FILE_FOLDER_BYTES] = "";
    sinter_engine_options one = *options;
    bool good = true;
    program *programs = sinter_heap_alloc((size_t)ranks * sizeof *programs);
    /* Programs of ranks have most kernels in common. */
    if (!one.cache && sinter_file_make_folder(cache, diag)) one.cache = cache;
    for (int64_t rank = 0; good && rank < ranks; rank++)
        good = write_program(module, rank, &one, folder, programs, diag);
    if (cache[0]) sinter_file_remove_folder(cache);
    good = good && write_list(module, programs, folder, diag);
    sinter_heap_free(programs);
    return good;
}

bool sinter_ranks_write(sinter_module *module, const sinter_engine_options *options,
                        const char *folder, sinter_diag *diag) {
    sinter_programs_folder programs;
    return sinter_programs_begin(&programs, folder, diag) &&
           sinter_programs_end(&programs, SINTER_RANKS_LIST,
                               write_programs(module, options, programs.made, diag), diag);
}
