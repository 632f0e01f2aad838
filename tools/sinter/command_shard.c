/* sinter shard: a model becomes programs of the ranks of a mesh, in a folder that `sinter run` runs. Test: tests/cli/shard.test */
#include "frontends/import.h"
#include "ir/base/lex.h"
#include "ir/hardware.h"
#include "ir/infer.h"
#include "ir/sharding.h"
#include "runtime/jit/ranks.h"
#include "runtime/jit/simulation.h"
#include "runtime/jit/stages.h"
#include "tools/sinter/command.h"

#include <string.h>

static const option_spec own_options[] = {
    {.name = "o",
     .value = "DIR",
     .doc = "folder for the programs, one a rank; of a pipeline, a folder a stage"},
    {.name = "mesh",
     .value = "AXES",
     .doc = "axes of the mesh and their sizes: data:2,model:2; the last one counts fastest"},
    {.name = "shard",
     .value = "NAME=DIMS",
     .doc = "what a value is cut over, dim by dim: x=data,_ or w='_,model'; may be repeated"},
    {.name = "sharding",
     .value = "FILE",
     .file = READS_FILE,
     .doc = "the same from a file: mesh data=2, then lines %NAME shard(data, _)"},
    {.name = "auto",
     .doc = "choose the mesh, where none is said, and what each value is cut over; of a pipeline "
            "that of each stage",
     .with = "hardware"},
    {.name = "hardware",
     .value = "FILE",
     .file = READS_FILE,
     .doc =
         "a description of what the ranks run on (docs/plan.md): for --auto, --stages and "
         "--simulation; sums over ranks of several servers are made within each first, where that "
         "is faster"},
    {.name = "stages",
     .value = "N|auto",
     .doc = "a pipeline: programs of N stages, or of as many as are best, as equal as they can be; "
            "with a mesh each stage has "
            "one for each of its ranks",
     .with = "hardware"},
    {.name = "simulation",
     .doc = "also files with which SimGrid's smpirun runs the folder on the hardware, in simulated "
            "time (docs/plan.md)",
     .with = "hardware",
     .without = "stages"},
    {.name = "micro",
     .value = "NAME=SIZE",
     .doc = "a symbolic dimension that is the batch (the first axis), and its size in each of the "
            "requests that a run of a pipeline is cut into",
     .with = "stages"},
    {.name = "goal",
     .value = "GOAL",
     .doc = "what the choice is to be good at: latency (of one run), throughput, memory",
     .with = "auto"},
    {.name = "explain",
     .doc = "what was chosen where two shardings contradict, as warnings; with --auto and "
            "--stages=auto what was considered, as notes"},
};

static bool read_mesh(sinter_module *module, const char *text, sinter_arena *arena,
                      sinter_diag *diag) {
    sinter_mesh mesh;
    if (!text) return true;
    if (!sinter_mesh_parse(text, "--mesh", arena, &mesh, diag)) return false;
    sinter_module_set_mesh(module, &mesh);
    return true;
}

/* NAME=DIMS as a line of a file of shardings. */
static bool read_shard(sinter_module *module, const char *text, sinter_diag *diag) {
    const char *equals = strrchr(text, '=');
    sinter_text line = {0};
    if (!equals) return sinter_error(diag, "--shard", "expected NAME=DIMS, found '%s'", text);
    sinter_lex_print_name(&line, '%', (sinter_string){text, (size_t)(equals - text)});
    sinter_text_format(&line, " shard(%s)", equals + 1);
    bool good = sinter_sharding_read_text(module, "--shard", line.data, line.size, diag);
    sinter_text_deinit(&line);
    return good;
}

/* Of one value there is one word. */
static bool check_said_once(const arguments *a, size_t at, sinter_diag *diag) {
    const char *text = a->options[at].value, *equals = strrchr(text, '=');
    const size_t length = equals ? (size_t)(equals - text) + 1 : 0;
    for (size_t i = 0; i < at && length; i++)
        if (!strcmp(a->options[i].name, "shard") && !strncmp(a->options[i].value, text, length) &&
            !strchr(a->options[i].value + length, '='))
            return sinter_error(diag, "--shard", "%s and %s are of one value", a->options[i].value,
                                text);
    return true;
}

static bool read_words(sinter_module *module, const arguments *a, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    const char *file = arguments_find(a, "sharding");
    bool good = read_mesh(module, arguments_find(a, "mesh"), &arena, diag) &&
                (!file || sinter_sharding_read_file(module, file, diag));
    for (size_t i = 0; good && i < a->option_count; ++i)
        if (!strcmp(a->options[i].name, "shard"))
            good = check_said_once(a, i, diag) && read_shard(module, a->options[i].value, diag);
    sinter_arena_deinit(&arena);
    if (good && sinter_module_mesh(module)->rank >= 0)
        good = sinter_error(diag, a->operands[0],
                            "the mesh says rank %lld, as that of the program of one rank: programs "
                            "are made for all of them",
                            (long long)sinter_module_mesh(module)->rank);
    if (good && !sinter_module_mesh(module)->axis_count && !arguments_has(a, "auto") &&
        !arguments_has(a, "stages"))
        good = sinter_error(diag, a->operands[0],
                            "there is no mesh: --mesh=data:2, or --auto --hardware=FILE");
    return good;
}

static bool read_goal(const arguments *a, sinter_goal *out_goal) {
    const char *goal = arguments_find(a, "goal");
    return !goal || sinter_goal_parse(goal, out_goal) ||
           usage_error(a->verb, "--goal=%s: expected latency, throughput or memory", goal);
}

static bool partition(sinter_module *module, const arguments *a, const sinter_ranks_options *how,
                      sinter_diag *diag) {
    if (!sinter_ranks_partition(module, how, diag)) return false;
    return sinter_module_mesh(module)->axis_count ||
           sinter_error(diag, a->operands[0],
                        "one device of %s is as good as more of them (--explain says why); "
                        "--mesh=data:2 shares it all the same",
                        how->hardware->name);
}

static bool shard(sinter_module *module, const arguments *a, const sinter_engine_options *given,
                  const char *folder, sinter_diag *diag) {
    sinter_engine_options options = *given;
    sinter_ranks_options how = {.chooses = arguments_has(a, "auto"),
                                .explain = arguments_has(a, "explain"),
                                .engine = given};
    sinter_hardware hardware;
    const char *path = arguments_find(a, "hardware");
    if (!read_goal(a, &how.goal) || !read_words(module, a, diag) ||
        (path && !sinter_hardware_read(path, &hardware, diag)))
        return false;
    options.hardware = how.hardware = path ? &hardware : NULL;
    bool good =
        (!path || sinter_hardware_check_ranks(&hardware, sinter_module_mesh(module), 1, diag)) &&
        partition(module, a, &how, diag) &&
        (!arguments_has(a, "simulation") ||
         sinter_simulation_write(module, &hardware, &options, folder, diag)) &&
        sinter_ranks_write(module, &options, folder, diag);
    if (path) sinter_hardware_deinit(&hardware);
    return good;
}

/* ---- pipelines ---- */

/* 0: as many as are best. */
static bool read_stages(const arguments *a, int64_t *out_stages) {
    *out_stages = 0;
    return !strcmp(arguments_find(a, "stages"), "auto") ||
           arguments_integer(a, "stages", 1, SINTER_MOST_STAGES, 1, out_stages);
}

static bool shard_stages(sinter_module *whole, const arguments *a,
                         const sinter_engine_options *given, const char *folder,
                         sinter_diag *diag) {
    sinter_engine_options options = *given;
    const char *micro = arguments_find(a, "micro");
    sinter_hardware hardware;
    int64_t stages;
    sinter_goal goal = SINTER_GOAL_LATENCY;
    if (!read_goal(a, &goal) || !read_stages(a, &stages) ||
        !sinter_hardware_read(arguments_find(a, "hardware"), &hardware, diag))
        return false;
    sinter_module *part = micro ? load_micro(a, micro, diag) : sinter_module_clone(whole);
    options.hardware = &hardware;
    sinter_stages_options how = {.hardware = &hardware,
                                 .stages = (uint32_t)stages,
                                 .chooses = arguments_has(a, "auto"),
                                 .goal = goal,
                                 .explain = arguments_has(a, "explain")};
    bool good = part && count_micro_batches(whole, part, &how.micro_batches, diag) &&
                read_words(part, a, diag) &&
                sinter_hardware_check_ranks(&hardware, sinter_module_mesh(part), stages, diag) &&
                sinter_stages_write(part, whole, &how, &options, folder, diag);
    sinter_module_destroy(part);
    sinter_hardware_deinit(&hardware);
    return good;
}

/* Before a model is read, and a folder made. */
static bool check_target(const sinter_engine_options *options, sinter_diag *diag) {
    sinter_arena arena;
    sinter_target target;
    sinter_arena_init(&arena);
    bool good = !options->target || sinter_target_parse(options->target, &arena, &target, diag);
    sinter_arena_deinit(&arena);
    return good;
}

static int run_shard(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    const char *folder = arguments_find(a, "o");
    if (!folder) return usage_error(a->verb, "-o DIR is missing"), 2;
    if (!engine_options(a, &options) || !arguments_apply(a, IS_MODEL, &options.target, 1)) return 2;
    if (!check_target(&options, &diag)) return 2;
    sinter_module *module = load_model(a->operands[0], a, &diag);
    if (module && arguments_has(a, "auto")) tell_assumed(module, &diag);
    bool good =
        module && (arguments_has(a, "stages") ? shard_stages(module, a, &options, folder, &diag)
                                              : shard(module, a, &options, folder, &diag));
    if (module) sinter_module_destroy(module);
    return good ? 0 : 2;
}

const command command_shard = {
    .name = "shard",
    .operands = "MODEL",
    .doc = "programs of the ranks of a mesh, each with its part of the weights",
    .usage = "sinter shard MODEL --mesh=data:2,model:2 [--shard NAME=DIMS]... -o DIR\n"
             "       sinter shard MODEL --auto --hardware=FILE [--goal=GOAL] -o DIR\n"
             "       sinter shard MODEL --stages=N|auto --hardware=FILE [--micro=NAME=SIZE] "
             "[--mesh=AXES|--auto] -o DIR\n"
             "       sinter shard MODEL --mesh=AXES --simulation --hardware=FILE -o DIR",
    .details = "What is said of some values spreads to all others. The folder is run by `sinter "
               "run DIR`, one thread a rank, or by `mpirun -n RANKS sinter run DIR`, one process a "
               "rank.\nShardings: docs/shard.md.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim O precision no-winograd no-overlap jobs cache target",
    .expected = "a model",
    .least = 1,
    .most = 1,
    .run = run_shard};
