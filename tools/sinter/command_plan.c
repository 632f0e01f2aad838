/* sinter plan: what a model would take on described hardware. Test: tests/cli/plan.test */
#include "ir/base/file.h"
#include "runtime/jit/plan.h"
#include "tools/sinter/command.h"

#include <string.h>

static const option_spec own_options[] = {
    {.name = "hardware",
     .value = "FILE,...",
     .file = READS_FILE,
     .doc = "descriptions of hardware (docs/plan.md), compared with each other"},
    {.name = "goal",
     .value = "GOAL",
     .doc = "what ranks are to be good at: latency (of one run), throughput, memory (of a device)"},
    {.name = "micro",
     .value = "NAME=SIZE",
     .doc = "a symbolic dimension that is the batch (the first axis), and its size in each of the "
            "requests that a pipeline cuts a run into (a run is one request)"},
    {.name = "nodes",
     .doc = "list the kernels of the best way, of a pipeline those of its longest stage, with what "
            "bounds each"},
    {.name = "explain", .doc = "the meshes that were considered, as notes"},
    {.name = "json",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "file for the same numbers, one entry a description"},
};

typedef struct description {
    const char *path;
    sinter_hardware hardware;
} description;

typedef struct planner {
    const arguments *a;
    sinter_module *module, *micro; /* micro: of a request, where --micro says one */
    sinter_plan_options options;
    sinter_arena arena;
    SINTER_VECTOR(description) descriptions;
    sinter_text json;
    bool has_head; /* of the table */
} planner;

static void put_bound(const sinter_estimate *estimate) {
    sinter_bound bound = sinter_estimate_bound(estimate);
    printf("%s (%.0f%%)", sinter_bound_names[bound],
           estimate->seconds > 0 ? 100 * estimate->bound_seconds[bound] / estimate->seconds : 0);
}

static void put_plan(const sinter_plan *plan, const sinter_hardware *hardware) {
    const sinter_plan_way *best = &plan->best;
    printf("%-24.40s %10.4f %12.2f %10.1f ", shown(hardware->name), 1e3 * plan->seconds,
           plan->runs_per_second, 1e-6 * best->bytes);
    if (hardware->price > 0)
        printf("%10.3g  ", plan->dollars_per_million);
    else
        printf("%10s  ", "?");
    put_bound(&best->estimate);
    printf("  %s", best->words);
    if (best->ranks > 1)
        printf("; one device: %.4f ms%s", 1e3 * plan->one.estimate.seconds,
               plan->one.fits ? "" : ", which it does not fit on");
    if (best->estimate.hidden_seconds > 0)
        printf("; exchanges of %.4f ms while kernels run", 1e3 * best->estimate.hidden_seconds);
    if (!best->fits) printf("; a device has only %.0f MB", 1e-6 * hardware->memory);
    if (best->estimate.unknown)
        printf("; %u loops of unknown length count once", best->estimate.unknown);
    puts("");
}

static void put_steps(const sinter_plan_way *way, sinter_module *module) {
    printf("  %10s %8s %8s %8s  %-10s %-28s %s\n", "ms", "compute", "memory", "links", "work",
           "sizes", "node");
    for (size_t i = 0; i < way->estimate.steps.count; ++i) {
        const sinter_estimate_step *step = &way->estimate.steps.items[i];
        char sizes[64];
        snprintf(sizes, sizeof sizes, "%.4g x %.4g x %.4g", step->sizes[0], step->sizes[1],
                 step->sizes[2]);
        const char *where = sinter_node_where(module, step->node), *name = strstr(where, ": node ");
        printf("  %10.4f %8.4f %8.4f %8.4f  %-10s %-28s %s\n", 1e3 * step->seconds,
               1e3 * step->compute_seconds, 1e3 * step->memory_seconds, 1e3 * step->link_seconds,
               sinter_work_names[step->work], sizes,
               shown(name ? name + strlen(": node ") : where));
    }
}

static void put_json(planner *p, const char *path, const sinter_plan *plan,
                     const sinter_hardware *hardware) {
    const sinter_plan_way *best = &plan->best;
    sinter_text_append_string(&p->json, p->json.size > 1 ? ",\n{\"file\": " : "\n{\"file\": ");
    sinter_text_json(&p->json, sinter_string_of(path));
    sinter_text_append_string(&p->json, ", \"hardware\": ");
    sinter_text_json(&p->json, sinter_string_of(hardware->name));
    sinter_text_format(
        &p->json,
        ", \"ms\": %.6g, \"runs_per_second\": %.6g, \"device_bytes\": %.0f, \"fits\": %s, "
        "\"dollars_per_million\": %.6g, \"ranks\": %lld, \"stages\": %u, \"bound\": \"%s\", "
        "\"one_device_ms\": "
        "%.6g, "
        "\"ways\": ",
        1e3 * plan->seconds, plan->runs_per_second, best->bytes, best->fits ? "true" : "false",
        plan->dollars_per_million, (long long)best->ranks, best->stages,
        sinter_bound_names[sinter_estimate_bound(&best->estimate)],
        1e3 * plan->one.estimate.seconds);
    sinter_text_json(&p->json, sinter_string_of(best->words));
    sinter_text_append_string(&p->json, "}");
}

static bool plan_for(planner *p, const description *d, sinter_diag *diag) {
    sinter_plan plan;
    if (!sinter_plan_make(p->module, &d->hardware, &p->options, &plan, diag)) return false;
    if (!p->has_head)
        printf("%-24s %10s %12s %10s %10s  %s\n", "hardware", "ms a run", "runs/s", "MB/device",
               "$/million", "bound by, best sharding");
    p->has_head = true;
    put_plan(&plan, &d->hardware);
    if (arguments_has(p->a, "nodes"))
        put_steps(&plan.best, plan.best.module ? plan.best.module : plan.one.module);
    put_json(p, d->path, &plan, &d->hardware);
    sinter_plan_deinit(&plan);
    return true;
}

/* All of them, before a model is read and the first is worked on. */
static bool read_descriptions(planner *p, const char *list, sinter_diag *diag) {
    bool good = true;
    while (good && *list) {
        size_t size = strcspn(list, ",");
        description d = {.path = sinter_arena_copy_string(&p->arena, list, size)};
        good = sinter_hardware_read(d.path, &d.hardware, diag);
        if (good) sinter_vector_push(&p->arena, &p->descriptions, d);
        list += size + (list[size] == ',');
    }
    return good;
}

static bool read_requests(planner *p, sinter_diag *diag) {
    const char *micro = arguments_find(p->a, "micro");
    p->options.requests = 1;
    if (!micro) return true;
    p->options.micro = p->micro = load_micro(p->a, micro, diag);
    if (!p->micro || !count_micro_batches(p->module, p->micro, &p->options.requests, diag))
        return false;
    return p->options.requests > 0 ||
           sinter_error(diag, "--micro",
                        "a run has no known number of requests: --dim NAME=SIZE says its batch");
}

static bool plan_for_all(planner *p, sinter_diag *diag) {
    bool good = true;
    sinter_text_append_string(&p->json, "[");
    for (size_t i = 0; good && i < p->descriptions.count; i++)
        good = plan_for(p, &p->descriptions.items[i], diag);
    sinter_text_append_string(&p->json, "\n]\n");
    return good;
}

static int run_plan(const arguments *a) {
    sinter_diag diag = stderr_diag();
    sinter_engine_options engine;
    planner p = {.a = a, .options = {.engine = &engine, .explain = arguments_has(a, "explain")}};
    const char *list = arguments_find(a, "hardware"), *goal = arguments_find(a, "goal"),
               *json = arguments_find(a, "json");
    if (!list || !*list)
        return usage_error(a->verb, "expected --hardware=FILE, a description; docs/plan.md"), 2;
    if (goal && !sinter_goal_parse(goal, &p.options.goal))
        return usage_error(a->verb, "--goal=%s: expected latency, throughput or memory", goal), 2;
    if (!engine_options(a, &engine)) return 2;
    sinter_arena_init(&p.arena);
    bool good = read_descriptions(&p, list, &diag);
    p.module = good ? load_model(a->operands[0], a, &diag) : NULL;
    if (p.module) tell_assumed(p.module, &diag);
    good = p.module && read_requests(&p, &diag) && plan_for_all(&p, &diag) &&
           (!json || sinter_file_write(json, p.json.data, p.json.size, &diag));
    sinter_text_deinit(&p.json);
    sinter_module_destroy(p.module);
    sinter_module_destroy(p.micro);
    for (size_t i = 0; i < p.descriptions.count; i++)
        sinter_hardware_deinit(&p.descriptions.items[i].hardware);
    sinter_arena_deinit(&p.arena);
    return good ? 0 : 2;
}

const command command_plan = {
    .name = "plan",
    .operands = "MODEL",
    .doc = "what a model would take on described hardware",
    .usage = "sinter plan MODEL --hardware=FILE,... [--goal=latency|throughput|memory] "
             "[--micro=NAME=SIZE] [--json=FILE]",
    .details = "For each description: time of one run, runs a second of all its devices, memory of "
               "a device, cost of a "
               "million\nruns, what bounds it, and how it is best shared. Symbolic dims count as "
               "1, or as near to it as they may be; --dim binds them.",
    COMMAND_OPTIONS(own_options),
    .shared = "dim O precision no-winograd no-overlap",
    .expected = "one model",
    .least = 1,
    .most = 1,
    .run = run_plan,
};
