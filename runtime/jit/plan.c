/* Plans: the program of one device and that of ranks, priced. Test: tests/cli/plan.test */
#include "runtime/jit/plan.h"
#include "passes/way.h"
#include "runtime/jit/ranks.h"

#include <string.h>

/* Exchanges of a rank's program by kind, "all_reduce 24, all_gather 1 (9.4 MB)". */
static void describe_exchanges(const sinter_module *module, double bytes, sinter_text *text) {
    size_t counts[SINTER_OP_COUNT] = {0};
    const char *before = ": ";
    sinter_region main = sinter_module_main(module);
    SINTER_FOR_NODES (module, main, node)
        counts[sinter_node_op(module, node)] += sinter_node_exchanges(module, node);
    for (int op = 1; op < SINTER_OP_COUNT; op++) {
        const sinter_op_info *info = sinter_op_get_info((sinter_op)op);
        if (!counts[op]) continue;
        sinter_text_format(text, "%s%s %zu", before, info->name, counts[op]);
        before = ", ";
    }
    if (bytes > 0) sinter_text_format(text, " (%.4g MB)", 1e-6 * bytes);
}

/* Takes the module, the program of rank 0 before the passes of its target. */
static bool price(sinter_plan *plan, sinter_module *module, const sinter_hardware *hardware,
                  const sinter_engine_options *engine, sinter_plan_way *out_way,
                  sinter_diag *diag) {
    sinter_engine_options options = *engine;
    const sinter_mesh *mesh = sinter_module_mesh(module);
    sinter_text words = {0};
    *out_way = (sinter_plan_way){.module = module, .ranks = sinter_mesh_rank_count(mesh)};
    if (*hardware->target) options.target = hardware->target;
    options.hardware = hardware;
    if (!sinter_engine_run_passes(module, &options, diag)) return false;
    sinter_estimate_module(module, hardware, &plan->arena, &out_way->estimate);
    out_way->bytes = out_way->estimate.weight_bytes + out_way->estimate.activation_bytes;
    out_way->fits = out_way->bytes <= hardware->memory;
    sinter_mesh named = *mesh;
    named.rank = -1;
    if (mesh->axis_count)
        sinter_mesh_print(&named, &words);
    else
        sinter_text_append_string(&words, "one device");
    describe_exchanges(module, out_way->estimate.exchanged_bytes, &words);
    out_way->words = sinter_arena_copy_string(&plan->arena, words.data, words.size);
    sinter_text_deinit(&words);
    return true;
}

/* The program of rank 0; NULL where one device is best, or after an error. */
static sinter_module *share(const sinter_module *module, const sinter_hardware *hardware,
                            const sinter_plan_options *options, bool *out_good, sinter_diag *diag) {
    const sinter_ranks_options how = {.hardware = hardware,
                                      .chooses = true,
                                      .goal = options->goal,
                                      .explain = options->explain,
                                      .engine = options->engine};
    sinter_module *all = sinter_module_clone(module), *program = NULL;
    *out_good = sinter_ranks_partition(all, &how, diag);
    if (*out_good && sinter_module_mesh(all)->axis_count) {
        program = sinter_ranks_program(all, 0, diag);
        *out_good = program != NULL;
    }
    sinter_module_destroy(all);
    return program;
}

static sinter_way to_compare(const sinter_plan_way *plan) {
    return (sinter_way){plan->estimate.seconds, plan->bytes, (double)plan->ranks};
}

static void summarize(sinter_plan *plan, const sinter_hardware *hardware) {
    const sinter_plan_way *best = &plan->best;
    double groups = (double)(hardware->devices / best->ranks);
    plan->seconds = best->estimate.seconds;
    plan->runs_per_second = plan->seconds > 0 ? groups / plan->seconds : 0;
    if (plan->runs_per_second > 0)
        plan->dollars_per_million = hardware->price / 3600 * 1e6 / plan->runs_per_second;
}

bool sinter_plan_make(const sinter_module *module, const sinter_hardware *hardware,
                      const sinter_plan_options *options, sinter_plan *out_plan,
                      sinter_diag *diag) {
    sinter_plan_way shared = {0};
    bool good = true;
    *out_plan = (sinter_plan){0};
    sinter_arena_init(&out_plan->arena);
    good = price(out_plan, sinter_module_clone(module), hardware, options->engine, &out_plan->one,
                 diag);
    sinter_module *program =
        good && hardware->devices > 1 ? share(module, hardware, options, &good, diag) : NULL;
    if (program) good = price(out_plan, program, hardware, options->engine, &shared, diag);
    const sinter_way one = to_compare(&out_plan->one), several = to_compare(&shared);
    if (good && program && sinter_way_is_better(&several, &one, hardware->memory, options->goal)) {
        out_plan->best = shared;
    } else {
        out_plan->best = out_plan->one;
        out_plan->best.module = NULL;
        sinter_module_destroy(program);
    }
    if (good)
        summarize(out_plan, hardware);
    else
        sinter_plan_deinit(out_plan);
    return good;
}

void sinter_plan_deinit(sinter_plan *plan) {
    sinter_module_destroy(plan->one.module);
    sinter_module_destroy(plan->best.module);
    sinter_arena_deinit(&plan->arena);
}
