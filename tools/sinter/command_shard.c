/* sinter shard: a model becomes programs of the ranks of a mesh, in a folder that `sinter run` runs. Test: tests/cli/shard.test */
#include "ir/base/lex.h"
#include "ir/sharding.h"
#include "runtime/jit/ranks.h"
#include "tools/sinter/command.h"

#include <string.h>

static const option_spec own_options[] = {
    {.name = "o", .value = "DIR", .doc = "folder for the programs, one a rank"},
    {.name = "mesh",
     .value = "AXES",
     .doc = "axes of the mesh and their sizes: data:2,model:2; the last one counts fastest"},
    {.name = "shard",
     .value = "NAME=DIMS",
     .doc = "what a value is cut over, dim by dim: x=data,_ or w='_,model'; may be repeated"},
    {.name = "sharding",
     .value = "FILE",
     .doc = "the same from a file: mesh data=2, then lines %NAME shard(data, _)"},
    {.name = "explain", .doc = "what was chosen where two shardings contradict, as warnings"},
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

static bool read_words(sinter_module *module, const arguments *a, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    const char *file = arguments_find(a, "sharding");
    bool good = read_mesh(module, arguments_find(a, "mesh"), &arena, diag) &&
                (!file || sinter_sharding_read_file(module, file, diag));
    for (size_t i = 0; good && i < a->option_count; ++i)
        if (!strcmp(a->options[i].name, "shard"))
            good = read_shard(module, a->options[i].value, diag);
    sinter_arena_deinit(&arena);
    if (good && !sinter_module_mesh(module)->axis_count)
        good = sinter_error(diag, a->operands[0], "there is no mesh: --mesh=data:2");
    return good;
}

static int run_shard(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    const char *folder = arguments_find(a, "o");
    if (!folder) return usage_error(a->verb, "-o DIR is missing"), 2;
    if (!engine_options(a, &options) || !arguments_apply(a, false, &options.target, 1)) return 2;
    sinter_module *module = load_model(a->operands[0], a, &diag);
    bool good = module && read_words(module, a, &diag) &&
                sinter_ranks_partition(module, arguments_has(a, "explain"), &diag) &&
                sinter_ranks_write(module, &options, folder, &diag);
    if (module) sinter_module_destroy(module);
    return good ? 0 : 2;
}

const command command_shard = {
    .name = "shard",
    .operands = "MODEL",
    .doc = "programs of the ranks of a mesh, each with its part of the weights",
    .usage = "sinter shard MODEL --mesh=data:2,model:2 [--shard NAME=DIMS]... -o DIR",
    .details = "What is said of some values spreads to all others. The folder is run by `sinter "
               "run DIR`, one thread a rank.\nShardings: docs/shard.md.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim O precision no-winograd jobs cache target",
    .expected = "a model",
    .least = 1,
    .most = 1,
    .run = run_shard};
