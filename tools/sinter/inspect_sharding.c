/* How ranks share a model, for the page of `sinter inspect`: the program of a rank, how each value is cut, what is exchanged, and,
 * where hardware is described, when (ir/estimate.h). Test: tests/cli/inspect_sharding.test */
#include "ir/estimate.h"
#include "ir/sharding.h"
#include "runtime/jit/ranks.h"
#include "tools/sinter/inspect.h"

static const char *words_of(const inspection *all, sinter_value value, sinter_arena *arena) {
    const sinter_sharding *sharding = sinter_value_sharding(all->module, value);
    sinter_text text = {0};
    if (!sharding) return NULL;
    sinter_sharding_print(sinter_module_mesh(all->module), sharding, &text);
    const char *words = sinter_arena_copy_string(arena, text.data, text.size);
    sinter_text_deinit(&text);
    return words;
}

/* Values keep their numbers when programs of ranks are made of them. */
static void note_words(inspection *all) {
    all->sharing.value_count = sinter_module_value_limit(all->module);
    all->sharing.words = SINTER_NEW_ARRAY(&all->arena, const char *, all->sharing.value_count);
    for (sinter_value value = 1; value < all->sharing.value_count; ++value)
        if (!sinter_value_get(all->module, value)->erased)
            all->sharing.words[value] = words_of(all, value, &all->arena);
}

static bool share(inspection *all, const arguments *a, const sinter_hardware *hardware,
                  sinter_diag *diag) {
    const char *file = arguments_find(a, "sharding");
    sinter_engine_options engine;
    if (!engine_options(a, &engine)) return false;
    const sinter_ranks_options how = {.hardware = hardware, .chooses = !file, .engine = &engine};
    if (file && !sinter_sharding_read_file(all->module, file, diag)) return false;
    if (hardware &&
        !sinter_hardware_check_ranks(hardware, sinter_module_mesh(all->module), 1, diag))
        return false;
    if (!sinter_ranks_spread(all->module, &how, diag)) return false;
    if (!sinter_module_mesh(all->module)->axis_count)
        return sinter_error(diag, a->operands[0],
                            file ? "%s says no mesh: mesh data=2"
                                 : "one device is best (%s): there is nothing to share",
                            file ? file : hardware->name);
    note_words(all);
    if (!sinter_ranks_cut(all->module, &how, diag)) return false;
    all->sharing.estimate = hardware ? SINTER_NEW(&all->arena, sinter_estimate) : NULL;
    if (hardware) sinter_estimate_module(all->module, hardware, &all->arena, all->sharing.estimate);
    return true;
}

bool inspect_share(inspection *all, const arguments *a, sinter_diag *diag) {
    sinter_hardware hardware;
    const char *path = arguments_find(a, "hardware");
    if (path && !sinter_hardware_read(path, &hardware, diag)) return false;
    bool good = share(all, a, path ? &hardware : NULL, diag);
    if (path) sinter_hardware_deinit(&hardware);
    return good;
}

bool inspect_run_ranks(inspection *all, const arguments *a, sinter_diag *diag) {
    enum { WARM_UPS = 2 };
    sinter_engine_options options;
    if (!engine_options(a, &options)) return false;
    sinter_engine *engine = sinter_engine_create_ranks(all->module, &options, diag);
    if (!engine) return false;
    bound_run run = bound_run_create(engine);
    keep_pages();
    bool good = make_inputs(engine, a, run.inputs.items, diag);
    for (int i = 0; good && i <= WARM_UPS; i++) {
        if (i == WARM_UPS) sinter_engine_set_trace(engine, &all->sharing.run);
        good = bound_run_execute(&run, diag);
        tensors_clear(&run.outputs);
    }
    bound_run_destroy(&run);
    sinter_engine_destroy(engine);
    return good;
}

static const sinter_estimate_step *find_step(const inspection *all, sinter_node node,
                                             double *out_begin) {
    const sinter_estimate *estimate = all->sharing.estimate;
    *out_begin = 0;
    for (size_t i = 0; estimate && i < estimate->steps.count; ++i) {
        if (estimate->steps.items[i].node == node) return &estimate->steps.items[i];
        *out_begin += estimate->steps.items[i].seconds;
    }
    return NULL;
}

void inspect_put_sharing(const inspection *all, sinter_node node, sinter_text *text) {
    sinter_value value = sinter_node_result(all->module, node, 0);
    double begin;
    const sinter_estimate_step *step = find_step(all, node, &begin);
    int64_t bytes = 0;
    if (value && value < all->sharing.value_count && all->sharing.words[value]) {
        sinter_text_append_string(text, ",\"sharding\":");
        sinter_text_json(text, sinter_string_of(all->sharing.words[value]));
    }
    if (step)
        sinter_text_format(text, ",\"begin\":%.6g,\"length\":%.6g", 1e3 * begin,
                           1e3 * step->seconds);
    if (!sinter_op_sends(sinter_node_op(all->module, node))) return;
    sinter_dim size =
        sinter_cost_value_bytes(all->module, sinter_node_operand(all->module, node, 0));
    if (size && sinter_dim_is_const(sinter_module_dims(all->module), size, &bytes))
        sinter_text_format(text, ",\"exchanged\":%lld", (long long)bytes);
}

/* For each rank what it did, and when, in ms: [name, begin, length, bytes exchanged or -1]. */
static void put_run(const sinter_trace *run, sinter_text *text) {
    double start = sinter_trace_start(run);
    sinter_text_append_string(text, ",\n\"run\":[");
    for (size_t i = 0; i < run->lanes.count; i++) {
        const sinter_trace_lane *lane = run->lanes.items[i];
        sinter_text_append_string(text, i ? ",\n{\"name\":" : "\n{\"name\":");
        sinter_text_json(text, sinter_string_of(lane->name));
        sinter_text_append_string(text, ",\"steps\":[");
        for (size_t k = 0; k < lane->events.count; k++) {
            const sinter_trace_event *event = &lane->events.items[k];
            sinter_text_append_string(text, k ? ",[" : "[");
            sinter_text_json(text, sinter_string_of(lane->names.data + event->name));
            sinter_text_format(text, ",%.6g,%.6g,%lld]", 1e3 * (event->begin - start),
                               1e3 * (event->end - event->begin),
                               event->is_exchange ? (long long)event->bytes : -1);
        }
        sinter_text_append_string(text, "]}");
    }
    sinter_text_append_string(text, "]");
}

void inspect_put_mesh(const inspection *all, sinter_text *text) {
    sinter_text mesh = {0};
    if (!all->sharing.words) return;
    sinter_mesh_print(sinter_module_mesh(all->module), &mesh);
    sinter_text_append_string(text, ",\"mesh\":");
    sinter_text_json(text, (sinter_string){mesh.data, mesh.size});
    sinter_text_format(text, ",\"ranks\":%lld",
                       (long long)sinter_mesh_rank_count(sinter_module_mesh(all->module)));
    if (all->sharing.run.lanes.count) put_run(&all->sharing.run, text);
    sinter_text_deinit(&mesh);
}
