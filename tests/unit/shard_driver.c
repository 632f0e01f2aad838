/* Random shardings of models against the evaluator: each try puts a mesh and shardings of some values on a model, spreads them,
 * makes the program of the ranks, and evaluates it on all of them; integers must be the same, floats close. With --compiled the
 * programs of the ranks are compiled and run as threads instead, twice, the second time to the bit. Reads folders
 * of the ONNX backend layout from standard input, one a line: model.onnx and test_data_set_0/input_*.pb.
 *
 *     shard_driver SEED TRIES [--compiled|--cuda|--auto] [--projections] [--verbose] [--cache=FOLDER]
 *
 * The last line: "N passed, N failed, N skipped".
 *
 * --cuda: compiled for a CUDA device, which all ranks share, and held against one rank on it. --projections: recurrent layers are in
 * two. --auto: shardings are those that shard-auto chooses for the mesh, on devices that gain by sharing whatever can be shared.
 * --cache: where compiled kernels are kept, for other processes too; else as long as this one runs.
 *
 * Used by tests/suites/shard_values.py, shard_recurrent.py, tests/suites/long/shard_cuda.py */
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/eval.h"
#include "ir/hardware.h"
#include "ir/parse.h"
#include "ir/sharding_tensor.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "runtime/device.h"
#include "runtime/jit/ranks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 64, MAX_RANKS = 8, MAX_ELEMENTS = 1 << 20 };
static const char *const meshes[] = {"a=2",      "a=3",      "a=4",           "a=5",     "a=8",
                                     "a=2, b=2", "a=4, b=2", "a=2, b=2, c=2", "a=2, b=3"};
enum { MESHES = sizeof meshes / sizeof *meshes };

static uint64_t random_state;
static uint32_t draw(uint32_t below) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

typedef struct trial {
    const char *folder;
    sinter_module *original, *module; /* the latter is sharded */
    sinter_tensor inputs[MAX_VALUES], expected[MAX_VALUES];
    size_t input_count, output_count;
    sinter_text messages;
    sinter_diag diag;
    size_t collectives, steps, evaluated; /* steps: nodes that exchange while they run */
    const sinter_hardware *hardware;      /* NULL: shardings are drawn */
} trial;

/* ---- what is said ---- */

static void say_something(sinter_module *module, sinter_value value) {
    const sinter_mesh *mesh = sinter_module_mesh(module);
    const sinter_type *type = sinter_value_type(module, value);
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_sharding sharding = sinter_sharding_whole(&scratch, type->rank, draw(2));
    for (uint32_t axis = 0; axis < mesh->axis_count && type->rank; axis++) {
        uint32_t dim = draw(type->rank + 1);
        if (dim < type->rank) sinter_mesh_axes_add(&sharding.dims[dim].axes, axis);
    }
    for (uint32_t i = 0; i < type->rank; i++)
        if (draw(8) == 0) sharding.dims[i].priority = draw(3);
    sinter_value_set_sharding(module, value, &sharding);
    sinter_arena_deinit(&scratch);
}

static void say_all(sinter_module *module) {
    uint32_t limit = sinter_module_value_limit(module), said = 0;
    for (int round = 0; round < 8 && !said; round++)
        for (sinter_value value = 1; value < limit; value++) {
            const sinter_value_info *info = sinter_value_get(module, value);
            sinter_node node = info->definition;
            bool inner = node ? sinter_node_get(module, node)->parent != sinter_module_main(module)
                              : info->region != sinter_module_main(module);
            uint64_t count;
            if (info->erased || inner ||
                !sinter_type_static_count(sinter_module_dims(module), &info->type, &count) ||
                draw(3))
                continue;
            say_something(module, value);
            said++;
        }
}

/* ---- running ---- */

static bool run_ranks(trial *t, sinter_tensor *out_outputs) {
    const sinter_mesh *mesh = sinter_module_mesh(t->module);
    uint32_t ranks = (uint32_t)sinter_mesh_rank_count(mesh);
    static sinter_tensor inputs[MAX_RANKS][MAX_VALUES], outputs[MAX_RANKS][MAX_VALUES];
    sinter_module *modules[MAX_RANKS];
    const sinter_tensor *given[MAX_RANKS], *parts[MAX_RANKS];
    sinter_tensor *taken[MAX_RANKS];
    bool good = true;
    memset(inputs, 0, sizeof inputs);
    memset(outputs, 0, sizeof outputs);
    for (uint32_t r = 0; r < ranks; r++) {
        modules[r] = t->module;
        given[r] = inputs[r];
        taken[r] = outputs[r];
        for (size_t i = 0; good && i < t->input_count; i++) {
            sinter_value value = sinter_module_input(t->module, (uint32_t)i);
            good = sinter_sharding_cut_tensor(mesh, sinter_value_sharding(t->module, value), r,
                                              &t->inputs[i], &inputs[r][i], &t->diag);
        }
    }
    good = good && sinter_eval_ranks(modules, ranks, given, t->input_count, taken, t->output_count,
                                     &t->diag);
    for (size_t i = 0; good && i < t->output_count; i++) {
        sinter_value value = sinter_module_output(t->module, (uint32_t)i);
        for (uint32_t r = 0; r < ranks; r++) parts[r] = &outputs[r][i];
        good = sinter_sharding_join_tensors(mesh, sinter_value_sharding(t->module, value), parts,
                                            &out_outputs[i], &t->diag);
    }
    for (uint32_t r = 0; r < ranks; r++) {
        for (size_t i = 0; i < t->input_count; i++) sinter_tensor_deinit(&inputs[r][i]);
        for (size_t i = 0; i < t->output_count; i++) sinter_tensor_deinit(&outputs[r][i]);
    }
    return good;
}

static bool run_pass(trial *t, const char *name) {
    size_t changes;
    const sinter_pipeline_options options = {.hardware = t->hardware};
    return sinter_pass_run(sinter_pass_find(sinter_string_of(name)), t->module, &options, &changes,
                           &t->diag) &&
           sinter_verify_module(t->module, &t->diag);
}

static void print_module(sinter_module *module) {
    sinter_text text = {0};
    sinter_print_options options = {.max_elements = 32};
    sinter_print_module(module, &options, &text);
    puts(text.data);
    sinter_text_deinit(&text);
}

static bool compare(trial *t, const sinter_tensor *outputs) {
    bool good = true;
    for (size_t i = 0; i < t->output_count; i++) {
        double error = sinter_tensor_relative_error(&outputs[i], &t->expected[i]);
        bool is_float = t->expected[i].kind == SINTER_TYPE_TENSOR &&
                        sinter_dtype_is_float(t->expected[i].dtype);
        bool narrow = is_float && sinter_dtype_infos[t->expected[i].dtype].bits < 32;
        sinter_text message = {0};
        double bound = is_float ? (narrow ? 0.02 : 1e-5) : 0;
        if (error > bound &&
            !sinter_tensor_compare(&outputs[i], &t->expected[i], bound, bound, &message)) {
            good = sinter_error(&t->diag, t->folder, "output %zu differs by %.3g: %s", i, error,
                                message.data ? message.data : "");
        }
        sinter_text_deinit(&message);
    }
    return good;
}

static size_t count_collectives(const sinter_module *module) {
    size_t count = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node)
        count +=
            sinter_op_get_info(sinter_node_op(module, node))->pattern == SINTER_PATTERN_COLLECTIVE;
    return count;
}

static size_t count_steps(const sinter_module *module) {
    size_t count = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node)
        count +=
            sinter_node_exchanges(module, node) && !sinter_op_sends(sinter_node_op(module, node));
    return count;
}

/* Whether compiled ranks can give each other what they have to. Other programs are evaluated, and counted. */
static bool can_exchange(trial *t) {
    SINTER_FOR_NODES (t->module, sinter_module_main(t->module), node) {
        if (sinter_sharding_check_send(t->module, node, NULL)) continue;
        t->evaluated++;
        return false;
    }
    return true;
}

/* Elements of less than a byte leave bits of the last byte that mean nothing. */
static bool same_bits(trial *t, const sinter_tensor *a, const sinter_tensor *b) {
    for (size_t i = 0; i < t->output_count; i++) {
        if (a[i].dtype == SINTER_DTYPE_string) continue;
        size_t whole = (size_t)sinter_tensor_count(&a[i]) * sinter_dtype_infos[a[i].dtype].bits / 8;
        if (whole && memcmp(a[i].data, b[i].data, whole) != 0)
            return sinter_error(&t->diag, t->folder, "output %zu: another run has other bits", i);
    }
    return true;
}

static bool run_compiled(trial *t, const sinter_engine_options *options,
                         sinter_tensor *out_outputs) {
    sinter_tensor again[MAX_VALUES] = {{0}};
    sinter_ranks *ranks = sinter_ranks_create(t->module, options, 60, &t->diag);
    bool good = ranks && sinter_ranks_run(ranks, t->inputs, out_outputs, &t->diag) &&
                sinter_ranks_run(ranks, t->inputs, again, &t->diag) &&
                same_bits(t, out_outputs, again);
    for (size_t i = 0; i < t->output_count; i++) sinter_tensor_deinit(&again[i]);
    sinter_ranks_destroy(ranks);
    return good;
}

/* Whether the model can be compiled at all, on one rank; it is then as `sinter shard` has it before anything is said. */
static bool compiles(trial *t, const sinter_engine_options *options) {
    static const char *const passes[] = {"fold-constants", "fold-sequences", "canonicalize",
                                         "eliminate-common", "eliminate-dead"};
    sinter_engine *engine =
        sinter_engine_create(sinter_module_clone(t->original), options, &t->diag);
    bool good = engine != NULL;
    if (good && options->device) { /* whose sums have an order of their own */
        for (size_t i = 0; i < t->output_count; i++) sinter_tensor_deinit(&t->expected[i]);
        memset(t->expected, 0, sizeof t->expected);
        good = sinter_engine_run(engine, t->inputs, t->expected, &t->diag);
    }
    sinter_engine_destroy(engine);
    t->module = t->original;
    for (size_t i = 0; good && i < sizeof passes / sizeof *passes; i++)
        good = run_pass(t, passes[i]);
    return good;
}

/* One sharding; options: NULL to evaluate. */
static bool try_once(trial *t, const char *mesh_text, const sinter_engine_options *options,
                     bool verbose) {
    sinter_tensor outputs[MAX_VALUES] = {{0}};
    sinter_mesh mesh;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    t->module = sinter_module_clone(t->original);
    bool good = sinter_mesh_parse(mesh_text, "mesh", &scratch, &mesh, &t->diag);
    if (good) sinter_module_set_mesh(t->module, &mesh);
    if (good && !t->hardware) say_all(t->module);
    good = good && (!t->hardware || run_pass(t, "shard-auto"));
    if (verbose) print_module(t->module);
    good = good && run_pass(t, "shard-propagate");
    if (verbose) print_module(t->module);
    good = good && run_pass(t, "shard-partition") && run_pass(t, "shard-simplify");
    if (verbose) print_module(t->module);
    t->collectives += count_collectives(t->module);
    t->steps += count_steps(t->module);
    bool compiled = options && can_exchange(t);
    good = good && (compiled ? run_compiled(t, options, outputs) : run_ranks(t, outputs)) &&
           compare(t, outputs);
    for (size_t i = 0; i < t->output_count; i++) sinter_tensor_deinit(&outputs[i]);
    sinter_module_destroy(t->module);
    sinter_arena_deinit(&scratch);
    return good;
}

/* ---- models ---- */

static bool load(trial *t) {
    char path[8192];
    snprintf(path, sizeof path, "%s/model.onnx", t->folder);
    t->original = sinter_import_file(path, &t->diag);
    if (!t->original) return false;
    t->input_count = sinter_module_input_count(t->original);
    t->output_count = sinter_module_output_count(t->original);
    if (t->input_count > MAX_VALUES || t->output_count > MAX_VALUES) return false;
    for (size_t i = 0; i < t->input_count; i++) {
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%zu.pb", t->folder, i);
        const sinter_type *type =
            sinter_value_type(t->original, sinter_module_input(t->original, (uint32_t)i));
        if (!sinter_tensor_read_file(path, type, sinter_module_dims(t->original), &t->inputs[i],
                                     &t->diag) ||
            (t->inputs[i].kind == SINTER_TYPE_TENSOR &&
             sinter_tensor_count(&t->inputs[i]) > MAX_ELEMENTS))
            return false;
    }
    return sinter_eval_module(t->original, t->inputs, t->input_count, t->expected, t->output_count,
                              &t->diag);
}

static void unload(trial *t) {
    for (size_t i = 0; i < MAX_VALUES; i++) {
        sinter_tensor_deinit(&t->inputs[i]);
        sinter_tensor_deinit(&t->expected[i]);
    }
    sinter_module_destroy(t->original);
    sinter_text_deinit(&t->messages);
}

static void errors_only(void *user, sinter_severity severity, const char *where,
                        const char *message) {
    if (severity != SINTER_SEVERITY_WARNING)
        sinter_diag_text_handler(user, severity, where, message);
}

static const char slow_devices[] = "hardware \"slow devices\" { devices 8 compute f32 1 kOP/s "
                                   "level \"memory\" 1 GB 1 kB/s link 8 1 ns 1 GB/s }";

/* What is behind the name; NULL: it is not said. */
static const char *find_value(int argc, char **argv, const char *name) {
    const size_t length = strlen(name);
    for (int i = 3; i < argc; i++)
        if (!strncmp(argv[i], name, length)) return argv[i] + length;
    return NULL;
}

static bool has_option(int argc, char **argv, const char *name) {
    for (int i = 3; i < argc; i++)
        if (!strcmp(argv[i], name)) return true;
    return false;
}

/* In the arena the target. */
static bool open_device(sinter_engine_options *options, sinter_arena *arena) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    if (!sinter_engine_report(sinter_device_open("cuda", NULL, &options->device), "device", &diag))
        return false;
    options->target = sinter_engine_device_target(options->device, arena, &diag);
    return options->target != NULL;
}

/* Recurrent layers in two, by split-projections. What is expected is what they yield in one. */
static bool split(trial *t) {
    t->module = t->original;
    return run_pass(t, "split-projections") && run_pass(t, "eliminate-dead");
}

int main(int argc, char **argv) {
    char line[4096];
    size_t passed = 0, failed = 0, skipped = 0, collectives = 0, steps = 0, evaluated = 0;
    if (argc < 3) return 2;
    bool verbose = has_option(argc, argv, "--verbose"),
         on_device = has_option(argc, argv, "--cuda"),
         compiled = on_device || has_option(argc, argv, "--compiled"),
         chooses = has_option(argc, argv, "--auto"),
         splits = has_option(argc, argv, "--projections");
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    char cache[SINTER_FILE_FOLDER_BYTES];
    sinter_diag silent = {0};
    sinter_arena names;
    sinter_arena_init(&names);
    if (on_device && !open_device(&options, &names)) return 2;
    const char *kept = find_value(argc, argv, "--cache=");
    if (compiled && !kept && !sinter_file_make_folder(cache, &silent)) return 2;
    options.cache = kept ? kept : cache; /* programs of ranks have most kernels in common */
    options.level = 1;                   /* each runs twice */
    sinter_hardware hardware;
    if (!sinter_hardware_parse("slow devices", slow_devices, strlen(slow_devices), &hardware, NULL))
        return 2;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        static trial t;
        t = (trial){.folder = line, .hardware = chooses ? &hardware : NULL};
        t.diag = (sinter_diag){.handler = errors_only, .user = &t.messages};
        bool loaded = load(&t) && (!compiled || compiles(&t, &options)) && (!splits || split(&t));
        skipped += !loaded;
        if (!loaded)
            fprintf(stderr, "%s: skipped: %.300s\n", line,
                    t.messages.data ? t.messages.data : "no message");
        for (int i = 0; loaded && i < atoi(argv[2]); i++) {
            uint64_t seed = strtoull(argv[1], NULL, 10) * 1000003u + (uint64_t)i;
            for (const char *c = strrchr(line, '/') ? strrchr(line, '/') : line; *c; c++)
                seed = seed * 31 + (unsigned char)*c;
            random_state = seed;
            const char *mesh = meshes[draw(MESHES)];
            if (try_once(&t, mesh, compiled ? &options : NULL, verbose)) {
                passed++;
                continue;
            }
            failed++;
            printf("%s: try %d, mesh %s: %.600s\n", line, i, mesh,
                   t.messages.data ? t.messages.data : "no message");
            fflush(stdout);
            t.messages.size = 0;
            t.diag.error_count = 0;
        }
        collectives += t.collectives;
        steps += t.steps;
        evaluated += t.evaluated;
        unload(&t);
    }
    if (compiled && !kept) sinter_file_remove_folder(cache);
    if (compiled) printf("%zu evaluated only\n", evaluated);
    printf("%zu nodes exchange while they run\n", steps);
    printf("%zu collectives\n%zu passed, %zu failed, %zu skipped\n", collectives, passed, failed,
           skipped);
    sinter_hardware_deinit(&hardware);
    sinter_device_close(options.device);
    sinter_arena_deinit(&names);
    return failed != 0;
}
