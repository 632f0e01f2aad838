/* Copies with switches, and their runs. Test: tests/unit/switches_test.c, tests/cli/compress_keep.test, tests/passes/cut_blocks/ */
#include "passes/switches.h"
#include "passes/output_change.h"
#include "passes/replay.h"

#include <stdlib.h>
#include <string.h>

bool sinter_switches_init(sinter_switches *switches, sinter_module *copy, size_t count,
                          const sinter_compression *compression, sinter_diag *diag) {
    *switches =
        (sinter_switches){.compression = compression, .module = copy, .count = count, .diag = diag};
    sinter_arena_init(&switches->arena);
    sinter_rewrite_begin(&switches->rewrite, copy, diag);
    int64_t size = (int64_t)count;
    sinter_tensor zeros;
    if (!sinter_tensor_create(&zeros, SINTER_DTYPE_f32, 1, &size, diag)) return false;
    memset(sinter_tensor_mutable(&zeros), 0, sizeof(float) * count);
    sinter_rewrite_at(&switches->rewrite, sinter_region_get(copy, sinter_module_main(copy))->first);
    switches->rewrite.build.location = NULL;
    switches->vector = sinter_build_constant(&switches->rewrite.build, zeros);
    return switches->vector != 0;
}

void sinter_switches_deinit(sinter_switches *switches) {
    sinter_arena_deinit(&switches->arena);
}

sinter_value sinter_switches_blend(sinter_switches *switches, sinter_node before, size_t index,
                                   sinter_value off, sinter_value on) {
    sinter_builder *build = &switches->rewrite.build;
    sinter_rewrite_at(&switches->rewrite, before);
    build->location = NULL;
    sinter_value which[2] = {switches->vector, sinter_build_int(build, (int64_t)index)};
    sinter_value share = which[1] ? sinter_build(build, SINTER_OP_gather, which, 2, NULL, 0) : 0;
    sinter_value change = share ? sinter_build_binary(build, SINTER_OP_sub, on, off) : 0;
    if (change) change = sinter_build_binary(build, SINTER_OP_mul, change, share);
    sinter_switch blend = {index, 0, off, 0};
    if (change) blend.value = sinter_build_binary(build, SINTER_OP_add, off, change);
    if (!blend.value) return 0;
    blend.first = sinter_value_definition(switches->module, share);
    sinter_vector_push(&switches->arena, &switches->blends, blend);
    return blend.value;
}

/* ---- runs ---- */

enum { LEAST_RUNS = 512 }; /* of sets over samples that are worth a program of their own */

/* A set of switches, and where in the model the first of them is. */
typedef struct placed_set {
    size_t index;
    uint32_t place; /* number of the node, from 1 */
    sinter_node first;
} placed_set;

/* Sets in the order of their places, and the model as it is before a cut: with all switches off. */
typedef struct trial {
    sinter_switches *switches;
    const bool *sets;
    placed_set *placed;
    size_t set_count, out;
    sinter_replay replay;
    const char *step;
    size_t runs_done, runs_to_do;
    sinter_output_change *changes; /* [sets, outputs] */
} trial;

/* The program of some of the sets: from the cut to those outputs that lie behind it. */
typedef struct part {
    const placed_set *sets;
    size_t set_count, in, out;
    void *program;
    sinter_tensor *inputs; /* what goes through the cut, and the switches */
    sinter_value *targets;
    size_t *outputs; /* their numbers in the model */
} part;

static int compare_placed(const void *a, const void *b) {
    const placed_set *x = a, *y = b;
    if (x->place != y->place) return x->place < y->place ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void place_sets(trial *t) {
    const sinter_switches *s = t->switches;
    sinter_module *module = s->module;
    sinter_arena *arena = &t->switches->arena;
    uint32_t *place = SINTER_NEW_ARRAY(arena, uint32_t, sinter_module_node_limit(module));
    uint32_t count = 0;
    sinter_node last = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        place[node] = ++count;
        last = node;
    }
    t->placed = SINTER_NEW_ARRAY(arena, placed_set, t->set_count);
    for (size_t i = 0; i < t->set_count; i++) {
        placed_set *set = &t->placed[i];
        *set = (placed_set){i, count + 1, last}; /* where it has none: changes nothing */
        for (size_t b = 0; b < s->blends.count; b++) {
            const sinter_switch *blend = &s->blends.items[b];
            if (!t->sets[i * s->count + blend->index] || place[blend->first] >= set->place)
                continue;
            set->place = place[blend->first];
            set->first = blend->first;
        }
    }
    qsort(t->placed, t->set_count, sizeof *t->placed, compare_placed);
}

static bool is_on(const trial *t, const placed_set *sets, size_t set_count, size_t index) {
    for (size_t i = 0; i < set_count; i++)
        if (t->sets[sets[i].index * t->switches->count + index]) return true;
    return false;
}

/* The model without the switches that none of these sets has on. */
static sinter_module *clone_with(const trial *t, const placed_set *sets, size_t set_count) {
    const sinter_switches *s = t->switches;
    sinter_module *clone = sinter_module_clone(s->module);
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, clone, s->diag);
    for (size_t b = s->blends.count; b-- > 0;) { /* what one is off to may be an earlier one */
        const sinter_switch *blend = &s->blends.items[b];
        if (is_on(t, sets, set_count, blend->index) ||
            !sinter_rewrite_fits(&rewrite, blend->value, blend->off))
            continue;
        sinter_rewrite_at(&rewrite, sinter_value_definition(clone, blend->value));
        sinter_rewrite_replace(&rewrite, blend->value, blend->off);
    }
    return clone;
}

/* Outputs that lie before the cut don't change. */
static void find_outputs(const trial *t, const sinter_module *module, part *p,
                         sinter_arena *arena) {
    bool *behind = SINTER_NEW_ARRAY(arena, bool, sinter_module_node_limit(module));
    bool is_behind = false;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        is_behind = is_behind || node == p->sets[0].first;
        behind[node] = is_behind;
    }
    p->targets = SINTER_NEW_ARRAY(arena, sinter_value, t->out);
    p->outputs = SINTER_NEW_ARRAY(arena, size_t, t->out);
    for (size_t i = 0; i < t->out; i++) {
        sinter_value value = sinter_module_output(module, (uint32_t)i);
        sinter_node node = sinter_value_definition(module, value);
        if (!node || !behind[node]) continue;
        p->outputs[p->out] = i;
        p->targets[p->out++] = value;
    }
}

static bool open_part(trial *t, part *p, sinter_arena *arena) {
    const sinter_runner *runner = t->switches->compression->runner;
    sinter_diag *diag = t->switches->diag;
    if (!sinter_replay_advance(&t->replay, p->sets[0].first, NULL, 0, diag)) return false;
    sinter_module *module = clone_with(t, p->sets, p->set_count);
    find_outputs(t, module, p, arena);
    p->in = t->replay.held.count;
    p->inputs = SINTER_NEW_ARRAY(arena, sinter_tensor, p->in + 1);
    sinter_value *sources = SINTER_NEW_ARRAY(arena, sinter_value, p->in + 1);
    for (size_t i = 0; i < p->in; i++) sources[i] = t->replay.held.items[i].value;
    sources[p->in] = t->switches->vector;
    if (p->out) {
        sinter_module *cut =
            sinter_module_extract(module, sources, p->in + 1, p->targets, p->out, diag);
        p->program = cut ? runner->open(runner->user, cut, diag) : NULL;
    }
    sinter_module_destroy(module);
    return p->program || !p->out;
}

/* set NULL: all switches are off. */
static bool run_with(const trial *t, part *p, const bool *set, sinter_tensor *out_outputs) {
    const sinter_switches *s = t->switches;
    const sinter_runner *runner = s->compression->runner;
    float *vector = sinter_tensor_mutable(&p->inputs[p->in]);
    for (size_t i = 0; i < s->count; i++) vector[i] = set && set[i] ? 1 : 0;
    return runner->run(runner->user, p->program, p->inputs, out_outputs, s->diag);
}

static bool try_run(trial *t, part *p, sinter_tensor *before, sinter_tensor *now) {
    if (!run_with(t, p, NULL, before)) return false;
    bool good = true;
    for (size_t i = 0; i < p->set_count && good; i++) {
        size_t set = p->sets[i].index;
        good = run_with(t, p, t->sets + set * t->switches->count, now);
        for (size_t o = 0; o < p->out && good; o++) {
            sinter_output_change_add(&t->changes[set * t->out + p->outputs[o]], &now[o],
                                     &before[o]);
            sinter_tensor_deinit(&now[o]);
        }
    }
    sinter_tensors_deinit(before, p->out);
    return good;
}

static bool try_part(trial *t, part *p, sinter_arena *arena) {
    int64_t count = (int64_t)t->switches->count;
    sinter_tensor *before = SINTER_NEW_ARRAY(arena, sinter_tensor, p->out);
    sinter_tensor *now = SINTER_NEW_ARRAY(arena, sinter_tensor, p->out);
    sinter_tensor *vector = &p->inputs[p->in];
    if (!sinter_tensor_create(vector, SINTER_DTYPE_f32, 1, &count, t->switches->diag)) return false;
    bool good = true;
    for (size_t run = 0; run < t->replay.runs && good; run++) {
        sinter_compression_progress(t->switches->compression, t->step, t->runs_done++,
                                    t->runs_to_do);
        for (size_t i = 0; i < p->in; i++) p->inputs[i] = t->replay.held.items[i].tensors[run];
        good = try_run(t, p, before, now);
    }
    sinter_tensor_deinit(vector);
    return good;
}

static bool measure_part(trial *t, const placed_set *sets, size_t count) {
    const sinter_runner *runner = t->switches->compression->runner;
    part p = {.sets = sets, .set_count = count};
    sinter_arena arena;
    sinter_arena_init(&arena);
    bool good = open_part(t, &p, &arena) && (!p.program || try_part(t, &p, &arena));
    runner->close(runner->user, p.program);
    sinter_arena_deinit(&arena);
    return good;
}

/* How many programs: a cut saves what lies before it in each run, and costs a compilation. */
static size_t count_parts(const trial *t) {
    enum { MOST = 8 };
    size_t parts = t->set_count * t->replay.runs / LEAST_RUNS;
    if (parts > MOST) parts = MOST;
    return parts ? parts : 1;
}

static bool measure_parts(trial *t) {
    size_t parts = count_parts(t);
    t->runs_to_do = parts * t->replay.runs;
    for (size_t i = 0; i < parts; i++) {
        size_t first = t->set_count * i / parts, end = t->set_count * (i + 1) / parts;
        if (first < end && !measure_part(t, t->placed + first, end - first)) return false;
    }
    return true;
}

bool sinter_switches_measure(sinter_switches *switches, const bool *sets, size_t set_count,
                             size_t samples, const char *step, double *out_changes) {
    trial t = {.switches = switches,
               .sets = sets,
               .set_count = set_count,
               .out = sinter_module_output_count(switches->module),
               .step = step};
    t.changes = SINTER_NEW_ARRAY(&switches->arena, sinter_output_change, set_count * t.out);
    place_sets(&t);
    sinter_module *off = clone_with(&t, NULL, 0);
    sinter_replay_init_first(&t.replay, off, switches->compression, samples);
    bool good = measure_parts(&t);
    sinter_replay_deinit(&t.replay);
    sinter_module_destroy(off);
    for (size_t i = 0; i < set_count && good; i++)
        out_changes[i] = sinter_output_change_share(t.changes + i * t.out, t.out);
    return good;
}
