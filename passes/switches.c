/* Copies with switches, and their runs. Test: tests/cli/compress_keep.test, tests/passes/cut_blocks/ */
#include "passes/switches.h"
#include "passes/output_change.h"

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
    return change ? sinter_build_binary(build, SINTER_OP_add, off, change) : 0;
}

/* ---- runs ---- */

typedef struct trial {
    sinter_switches *switches;
    void *program;
    size_t in, out;        /* inputs but for the switches, and outputs */
    sinter_tensor *inputs; /* the last one are the switches */
    const bool *sets;
    size_t set_count;
    sinter_output_change *changes; /* [sets, outputs] */
} trial;

static bool run_with(trial *t, const bool *set, sinter_tensor *out_outputs) {
    const sinter_switches *s = t->switches;
    const sinter_runner *runner = s->compression->runner;
    float *vector = sinter_tensor_mutable(&t->inputs[t->in]);
    for (size_t i = 0; i < s->count; i++) vector[i] = set && set[i] ? 1 : 0;
    return runner->run(runner->user, t->program, t->inputs, out_outputs, s->diag);
}

static bool try_run(trial *t) {
    sinter_tensor *before = SINTER_NEW_ARRAY(&t->switches->arena, sinter_tensor, t->out);
    sinter_tensor *now = SINTER_NEW_ARRAY(&t->switches->arena, sinter_tensor, t->out);
    if (!run_with(t, NULL, before)) return false;
    bool good = true;
    for (size_t i = 0; i < t->set_count && good; i++) {
        good = run_with(t, t->sets + i * t->switches->count, now);
        for (size_t o = 0; o < t->out && good; o++) {
            sinter_output_change_add(&t->changes[i * t->out + o], &now[o], &before[o]);
            sinter_tensor_deinit(&now[o]);
        }
    }
    sinter_tensors_deinit(before, t->out);
    return good;
}

static bool try_all(trial *t, size_t most, const char *step) {
    const sinter_compression *compression = t->switches->compression;
    const sinter_samples *samples = compression->samples;
    int64_t count = (int64_t)t->switches->count;
    if (!sinter_tensor_create(&t->inputs[t->in], SINTER_DTYPE_f32, 1, &count, t->switches->diag))
        return false;
    bool good = true;
    size_t runs = sinter_samples_run_count(samples), seen = 0;
    for (size_t run = 0; run < runs && seen < most && good; run++) {
        seen += sinter_samples_run_size(samples, run);
        sinter_compression_progress(compression, step, run, runs);
        sinter_samples_run_inputs(samples, run, t->inputs);
        good = try_run(t);
        sinter_tensors_deinit(t->inputs, t->in);
    }
    sinter_tensor_deinit(&t->inputs[t->in]);
    return good;
}

bool sinter_switches_measure(sinter_switches *switches, const bool *sets, size_t set_count,
                             size_t samples, const char *step, double *out_changes) {
    const sinter_runner *runner = switches->compression->runner;
    sinter_module *module = switches->module;
    sinter_arena *arena = &switches->arena;
    trial t = {.switches = switches,
               .in = sinter_module_input_count(module),
               .out = sinter_module_output_count(module),
               .sets = sets,
               .set_count = set_count};
    sinter_value *sources = SINTER_NEW_ARRAY(arena, sinter_value, t.in + 1);
    sinter_value *targets = SINTER_NEW_ARRAY(arena, sinter_value, t.out);
    for (size_t i = 0; i < t.in; i++) sources[i] = sinter_module_input(module, (uint32_t)i);
    sources[t.in] = switches->vector;
    for (size_t i = 0; i < t.out; i++) targets[i] = sinter_module_output(module, (uint32_t)i);
    t.inputs = SINTER_NEW_ARRAY(arena, sinter_tensor, t.in + 1);
    t.changes = SINTER_NEW_ARRAY(arena, sinter_output_change, set_count * t.out);
    sinter_module *part =
        sinter_module_extract(module, sources, t.in + 1, targets, t.out, switches->diag);
    t.program = part ? runner->open(runner->user, part, switches->diag) : NULL;
    bool good = t.program && try_all(&t, samples, step);
    runner->close(runner->user, t.program);
    for (size_t i = 0; i < set_count && good; i++)
        out_changes[i] = sinter_output_change_share(t.changes + i * t.out, t.out);
    return good;
}
