/* Plans: the program of one device and that of ranks, priced. Test: tests/cli/plan.test */
#include "runtime/jit/plan.h"
#include "passes/way.h"
#include "runtime/jit/ranks.h"
#include "runtime/jit/stages.h"

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
    *out_way =
        (sinter_plan_way){.module = module, .stages = 1, .ranks = sinter_mesh_rank_count(mesh)};
    if (*hardware->target) options.target = hardware->target;
    options.hardware = hardware;
    if (!sinter_engine_run_passes(module, &options, diag)) return false;
    sinter_estimate_module(module, hardware, &plan->arena, &out_way->estimate);
    out_way->seconds = out_way->estimate.seconds;
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
    return (sinter_way){plan->seconds, plan->bytes, (double)plan->ranks};
}

/* Takes the way: it becomes the best where it is better, else it is gone. */
static bool keep_better(sinter_plan *plan, sinter_plan_way *way, const sinter_hardware *hardware,
                        sinter_goal goal) {
    const sinter_way best = to_compare(&plan->best), other = to_compare(way);
    const bool is_better = sinter_way_is_better(&other, &best, hardware->memory, goal);
    sinter_module_destroy(is_better ? plan->best.module : way->module);
    if (is_better) plan->best = *way;
    return is_better;
}

/* ---- pipelines ---- */

enum { MOST_IDLE = 2 }; /* numbers of stages, one after the other, that are no better */

typedef struct pipeline {
    sinter_plan *plan;
    const sinter_hardware *hardware;
    const sinter_plan_options *options;
    sinter_plan_way
        way; /* of the longest stage so far, but for `bytes`, `seconds` and `stages`: of all of them, one request */
} pipeline;

static bool add_stage(void *user, sinter_module *program, double take_seconds, sinter_diag *diag) {
    pipeline *p = user;
    sinter_plan_way own, *way = &p->way;
    if (!price(p->plan, program, p->hardware, p->options->engine, &own, diag)) {
        sinter_module_destroy(program);
        return false;
    }
    own.estimate.seconds += take_seconds;
    own.estimate.bound_seconds[SINTER_BOUND_LINK] += take_seconds;
    own.stages = way->stages + 1;
    own.seconds = way->seconds + own.estimate.seconds;
    own.bytes = own.bytes > way->bytes ? own.bytes : way->bytes;
    const bool is_longest = !way->stages || own.estimate.seconds > way->estimate.seconds;
    sinter_plan_way kept = is_longest ? own : *way;
    kept.stages = own.stages;
    kept.seconds = own.seconds;
    kept.bytes = own.bytes;
    sinter_module_destroy(is_longest ? way->module : program);
    *way = kept;
    return true;
}

static void describe_stages(pipeline *p, int64_t requests) {
    sinter_text words = {0};
    sinter_plan_way *way = &p->way;
    sinter_text_format(&words, "%u stages of %s%s", way->stages, way->words,
                       strchr(way->words, ':') ? " in the longest" : "");
    if (requests > 1) sinter_text_format(&words, ", %lld requests", (long long)requests);
    way->words = sinter_arena_copy_string(&p->plan->arena, words.data, words.size);
    sinter_text_deinit(&words);
}

/* So many stages, of which `sinter shard --auto --stages` can make programs; false where it can't. */
static bool price_stages(pipeline *p, const sinter_module *whole, uint32_t stages) {
    const sinter_plan_options *options = p->options;
    const sinter_module *micro = options->micro ? options->micro : whole;
    const int64_t requests = options->requests > 0 ? options->requests : 1;
    const sinter_stages_options how = {.hardware = p->hardware,
                                       .stages = stages,
                                       .micro_batches = options->micro ? options->requests : 1,
                                       .chooses = true,
                                       .goal = options->goal};
    sinter_engine_options engine = *options->engine;
    sinter_diag quiet = {0}; /* what can't be made is no way */
    sinter_module *module = sinter_module_clone(micro);
    if (*p->hardware->target) engine.target = p->hardware->target;
    engine.hardware = p->hardware;
    p->way = (sinter_plan_way){0};
    bool good = sinter_stages_visit(module, whole, &how, &engine, add_stage, p, &quiet);
    sinter_module_destroy(module);
    if (!good || p->way.ranks * stages > p->hardware->devices) { /* of a mesh that the model says */
        sinter_module_destroy(p->way.module);
        return false;
    }
    p->way.seconds += (double)(requests - 1) * p->way.estimate.seconds;
    p->way.ranks *= stages;
    p->way.fits = p->way.bytes <= p->hardware->memory;
    describe_stages(p, requests);
    return true;
}

/* Of each number of stages that leaves no device over, until some are no better than what is best so far. */
static void try_pipelines(sinter_plan *plan, const sinter_module *whole,
                          const sinter_hardware *hardware, const sinter_plan_options *options,
                          sinter_diag *diag) {
    pipeline p = {.plan = plan, .hardware = hardware, .options = options};
    for (int64_t stages = 2, idle = 0;
         stages <= hardware->devices && stages <= SINTER_MOST_STAGES && idle < MOST_IDLE;
         stages++) {
        if (hardware->devices % stages) continue;
        if (!price_stages(&p, whole, (uint32_t)stages)) return;
        if (options->explain)
            sinter_note(diag, sinter_module_name(whole),
                        "considered %s: %.4g ms, the longest stage %.4g ms, %.4g MB of a device",
                        p.way.words, 1e3 * p.way.seconds, 1e3 * p.way.estimate.seconds,
                        1e-6 * p.way.bytes);
        idle = keep_better(plan, &p.way, hardware, options->goal) ? 0 : idle + 1;
    }
}

static void summarize(sinter_plan *plan, const sinter_hardware *hardware) {
    const sinter_plan_way *best = &plan->best;
    double groups = (double)(hardware->devices / best->ranks);
    plan->seconds = best->seconds;
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
    out_plan->best = out_plan->one;
    out_plan->best.module = NULL;
    if (good && program)
        keep_better(out_plan, &shared, hardware, options->goal);
    else
        sinter_module_destroy(program);
    if (good && hardware->devices > 1) try_pipelines(out_plan, module, hardware, options, diag);
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
