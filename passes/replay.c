/* Which values a cut between two nodes goes through, and the runs of what lies between one cut and the next.
 * Test: tests/passes/compress_weights/ */
#include "passes/replay.h"
#include <assert.h>

/* What one advance knows of the module as it is now. */
typedef struct survey {
    sinter_module *module;
    uint32_t *place; /* by node of the main region: its number, from 1 */
    bool *
        is_static; /* by value: known without samples, and computed anew in each piece that wants it */
    uint32_t cut; /* place of the first node that does not run */
    sinter_node yield;
} survey;

static void survey_module(survey *s, sinter_module *module, sinter_node until,
                          sinter_arena *arena) {
    *s = (survey){.module = module,
                  .place = SINTER_NEW_ARRAY(arena, uint32_t, sinter_module_node_limit(module)),
                  .is_static = SINTER_NEW_ARRAY(arena, bool, sinter_module_value_limit(module))};
    uint32_t count = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        s->place[node] = ++count;
        s->yield = node;
        bool known = info->region_count == 0;
        for (uint32_t i = 0; i < info->operand_count; i++)
            known = known && (!info->operands[i] || s->is_static[info->operands[i]]);
        for (uint32_t i = 0; i < info->result_count; i++)
            if (info->results[i]) s->is_static[info->results[i]] = known;
    }
    s->cut = until ? s->place[until] : count + 1;
}

/* The last place where a value is read, by a node of the main region or by one inside of it; the module's results don't count. */
static uint32_t last_use(const survey *s, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    uint32_t last = 0;
    for (size_t i = 0; i < info->uses.count; i++) {
        sinter_node node =
            sinter_node_within(s->module, info->uses.items[i].node, sinter_module_main(s->module));
        if (node && node != s->yield && s->place[node] > last) last = s->place[node];
    }
    return last;
}

static sinter_replay_value *find_held(const sinter_replay *replay, sinter_value value) {
    for (size_t i = 0; i < replay->held.count; i++)
        if (replay->held.items[i].value == value) return &replay->held.items[i];
    return NULL;
}

const sinter_tensor *sinter_replay_find(const sinter_replay *replay, sinter_value value) {
    const sinter_replay_value *held = find_held(replay, value);
    return held ? held->tensors : NULL;
}

static sinter_tensor *hold(sinter_replay *replay, sinter_value value) {
    sinter_replay_value item = {value, sinter_heap_alloc(sizeof(sinter_tensor) * replay->runs)};
    sinter_vector_push(&replay->arena, &replay->held, item);
    return item.tensors;
}

static void let_go(sinter_replay *replay, size_t index) {
    sinter_replay_value *held = &replay->held.items[index];
    sinter_tensors_deinit(held->tensors, replay->runs);
    sinter_heap_free(held->tensors);
    *held = replay->held.items[--replay->held.count];
}

void sinter_replay_forget(sinter_replay *replay, sinter_value value) {
    for (size_t i = 0; i < replay->held.count; i++)
        if (replay->held.items[i].value == value) {
            let_go(replay, i);
            return;
        }
}

static void find_masks(sinter_replay *replay) {
    const sinter_samples *samples = replay->compression->samples;
    sinter_tensor *masks = SINTER_NEW_ARRAY(&replay->arena, sinter_tensor, replay->runs);
    for (size_t run = 0; run < replay->runs; run++)
        if (!sinter_samples_run_mask(samples, run, &masks[run])) return; /* no run has one */
    replay->masks = masks;
}

static size_t count_runs(const sinter_samples *samples, size_t wanted) {
    size_t runs = 0, seen = 0, all = sinter_samples_run_count(samples);
    while (runs < all && seen < wanted) seen += sinter_samples_run_size(samples, runs++);
    return runs;
}

void sinter_replay_init(sinter_replay *replay, sinter_module *module,
                        const sinter_compression *compression) {
    sinter_replay_init_first(replay, module, compression, SIZE_MAX);
}

void sinter_replay_init_first(sinter_replay *replay, sinter_module *module,
                              const sinter_compression *compression, size_t samples) {
    *replay = (sinter_replay){.module = module,
                              .compression = compression,
                              .runs = count_runs(compression->samples, samples)};
    sinter_arena_init(&replay->arena);
    uint32_t count = sinter_module_input_count(module);
    assert(count == sinter_samples_input_count(compression->samples));
    sinter_tensor *inputs = SINTER_NEW_ARRAY(&replay->arena, sinter_tensor, count);
    for (uint32_t i = 0; i < count; i++) hold(replay, sinter_module_input(module, i));
    for (size_t run = 0; run < replay->runs; run++) {
        sinter_samples_run_inputs(compression->samples, run, inputs);
        for (uint32_t i = 0; i < count; i++) replay->held.items[i].tensors[run] = inputs[i];
    }
    find_masks(replay);
}

void sinter_replay_deinit(sinter_replay *replay) {
    while (replay->held.count) let_go(replay, replay->held.count - 1);
    for (size_t run = 0; replay->masks && run < replay->runs; run++)
        sinter_tensor_deinit(&replay->masks[run]);
    sinter_arena_deinit(&replay->arena);
}

typedef SINTER_VECTOR(sinter_value) value_list;

static void add_target(sinter_replay *replay, sinter_value value, value_list *targets,
                       sinter_arena *arena) {
    if (find_held(replay, value)) return;
    for (size_t i = 0; i < targets->count; i++)
        if (targets->items[i] == value) return;
    sinter_vector_push(arena, targets, value);
}

static void find_targets(sinter_replay *replay, const survey *s, value_list *targets,
                         sinter_arena *arena) {
    SINTER_FOR_NODES (s->module, sinter_module_main(s->module), node) {
        const sinter_node_info *info = sinter_node_get(s->module, node);
        if (s->place[node] >= s->cut) return;
        for (uint32_t i = 0; i < info->result_count; i++) {
            sinter_value value = info->results[i];
            if (value && !s->is_static[value] && last_use(s, value) >= s->cut)
                add_target(replay, value, targets, arena);
        }
    }
}

/* All runs of the piece between what is held and the targets, which are held then. */
static bool run_piece(sinter_replay *replay, const value_list *targets, sinter_arena *arena,
                      sinter_diag *diag) {
    const sinter_runner *runner = replay->compression->runner;
    size_t source_count = replay->held.count;
    sinter_value *sources = SINTER_NEW_ARRAY(arena, sinter_value, source_count);
    for (size_t i = 0; i < source_count; i++) sources[i] = replay->held.items[i].value;
    sinter_module *part = sinter_module_extract(replay->module, sources, source_count,
                                                targets->items, targets->count, diag);
    void *program = part ? runner->open(runner->user, part, diag) : NULL;
    if (!program) return false;
    sinter_tensor *inputs = SINTER_NEW_ARRAY(arena, sinter_tensor, source_count);
    sinter_tensor *outputs = SINTER_NEW_ARRAY(arena, sinter_tensor, targets->count);
    for (size_t t = 0; t < targets->count; t++) hold(replay, targets->items[t]);
    bool good = true;
    for (size_t run = 0; run < replay->runs && good; run++) {
        for (size_t i = 0; i < source_count; i++) inputs[i] = replay->held.items[i].tensors[run];
        good = runner->run(runner->user, program, inputs, outputs, diag);
        for (size_t t = 0; t < targets->count && good; t++)
            replay->held.items[source_count + t].tensors[run] = outputs[t];
    }
    runner->close(runner->user, program);
    return good;
}

static bool is_among(const sinter_value *values, size_t count, sinter_value value) {
    for (size_t i = 0; i < count; i++)
        if (values[i] == value) return true;
    return false;
}

bool sinter_replay_advance(sinter_replay *replay, sinter_node until, const sinter_value *also,
                           size_t also_count, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    survey s;
    survey_module(&s, replay->module, until, &arena);
    value_list targets = {0};
    if (until) find_targets(replay, &s, &targets, &arena);
    for (size_t i = 0; i < also_count; i++) add_target(replay, also[i], &targets, &arena);
    bool good = !targets.count || run_piece(replay, &targets, &arena, diag);
    for (size_t i = replay->held.count; i-- > 0;) {
        sinter_value value = replay->held.items[i].value;
        if (last_use(&s, value) < s.cut && !is_among(also, also_count, value)) let_go(replay, i);
    }
    sinter_arena_deinit(&arena);
    return good;
}
