/* Changes of outputs; the weights that change are inputs of the program that is run, so that it is compiled once.
 * Test: tests/cli/compress_keep.test, tests/passes/prune_channels/ */
#include "passes/output_change.h"

#include <math.h>

enum { MOST_SAMPLES = 128 };

void sinter_output_change_add(sinter_output_change *change, const sinter_tensor *now,
                              const sinter_tensor *before) {
    if (now->dtype != SINTER_DTYPE_f32) return;
    for (int64_t i = 0; i < sinter_tensor_count(now); i++) {
        double a = (double)((const float *)now->data)[i],
               b = (double)((const float *)before->data)[i];
        change->difference += (a - b) * (a - b);
        change->sum += b;
        change->square += b * b;
        change->count++;
    }
}

double sinter_output_change_share(const sinter_output_change *changes, size_t count) {
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        const sinter_output_change *c = &changes[i];
        double mean = c->count ? c->sum / (double)c->count : 0, spread = c->square - mean * c->sum;
        double share = spread > 0 ? c->difference / spread : 0;
        if (isnan(share) || share > most) most = isnan(share) ? HUGE_VAL : share;
    }
    return most;
}

/* ---- of weights ---- */

typedef struct trial {
    sinter_module *module;
    const sinter_compression *compression;
    const sinter_layer *const *layers;
    size_t count, inputs, outputs,
        sources;                   /* sources: the inputs, and each constant of weights once */
    size_t *source_of;             /* by layer */
    sinter_tensor *values;         /* by source */
    sinter_tensor *changed;        /* by layer: the other weights */
    sinter_output_change *changes; /* [layers, outputs] */
    sinter_arena arena;
    sinter_diag *diag;
} trial;

static bool make_weights(const sinter_layer *layer, const float *matrix, sinter_tensor *out,
                         sinter_diag *diag) {
    const sinter_tensor *w = layer->weights;
    if (!sinter_tensor_create(out, SINTER_DTYPE_f32, w->rank, w->dims, diag)) return false;
    float *data = sinter_tensor_mutable(out);
    for (int64_t o = 0; o < layer->outputs; o++)
        for (int64_t step = 0; step < layer->reduction; step++)
            data[sinter_layer_index(layer, o, step)] = matrix[o * layer->reduction + step];
    return true;
}

static void *open_program(trial *t) {
    sinter_value *sources = SINTER_NEW_ARRAY(&t->arena, sinter_value, t->inputs + t->count);
    sinter_value *targets = SINTER_NEW_ARRAY(&t->arena, sinter_value, t->outputs);
    t->values = SINTER_NEW_ARRAY(&t->arena, sinter_tensor, t->inputs + t->count);
    t->source_of = SINTER_NEW_ARRAY(&t->arena, size_t, t->count);
    for (; t->sources < t->inputs; t->sources++)
        sources[t->sources] = sinter_module_input(t->module, (uint32_t)t->sources);
    for (size_t i = 0; i < t->count; i++) {
        const sinter_layer *layer = t->layers[i];
        sinter_value weights = sinter_node_operand(t->module, layer->node, layer->operand);
        size_t at = t->inputs;
        while (at < t->sources && sources[at] != weights) at++;
        t->source_of[i] = at;
        if (at < t->sources) continue;
        sources[at] = weights;
        t->values[at] = *layer->weights; /* the module's */
        t->sources++;
    }
    for (size_t i = 0; i < t->outputs; i++)
        targets[i] = sinter_module_output(t->module, (uint32_t)i);
    const sinter_runner *runner = t->compression->runner;
    sinter_module *part =
        sinter_module_extract(t->module, sources, t->sources, targets, t->outputs, t->diag);
    return part ? runner->open(runner->user, part, t->diag) : NULL;
}

/* One run of the samples, with all weights as they are and with those of each layer changed. */
static bool try_run(trial *t, void *program) {
    const sinter_runner *runner = t->compression->runner;
    sinter_tensor *before = SINTER_NEW_ARRAY(&t->arena, sinter_tensor, t->outputs);
    sinter_tensor *now = SINTER_NEW_ARRAY(&t->arena, sinter_tensor, t->outputs);
    if (!runner->run(runner->user, program, t->values, before, t->diag)) return false;
    bool good = true;
    for (size_t i = 0; i < t->count && good; i++) {
        sinter_tensor *weights = &t->values[t->source_of[i]], kept = *weights;
        *weights = t->changed[i];
        good = runner->run(runner->user, program, t->values, now, t->diag);
        *weights = kept;
        for (size_t o = 0; o < t->outputs && good; o++) {
            sinter_output_change_add(&t->changes[i * t->outputs + o], &now[o], &before[o]);
            sinter_tensor_deinit(&now[o]);
        }
    }
    for (size_t o = 0; o < t->outputs; o++) sinter_tensor_deinit(&before[o]);
    return good;
}

static bool try_all(trial *t) {
    const sinter_samples *samples = t->compression->samples;
    const sinter_runner *runner = t->compression->runner;
    void *program = open_program(t);
    bool good = program != NULL;
    size_t runs = sinter_samples_run_count(samples), seen = 0;
    for (size_t run = 0; run < runs && seen < MOST_SAMPLES && good; run++) {
        seen += sinter_samples_run_size(samples, run);
        sinter_samples_run_inputs(samples, run, t->values);
        good = try_run(t, program);
        for (size_t i = 0; i < t->inputs; i++) sinter_tensor_deinit(&t->values[i]);
    }
    runner->close(runner->user, program);
    return good;
}

bool sinter_output_change_of_weights(sinter_module *module, const sinter_compression *compression,
                                     const sinter_layer *const *layers,
                                     const float *const *matrices, size_t count,
                                     double *out_changes, sinter_diag *diag) {
    trial t = {.module = module,
               .compression = compression,
               .layers = layers,
               .count = count,
               .inputs = sinter_module_input_count(module),
               .outputs = sinter_module_output_count(module),
               .diag = diag};
    sinter_arena_init(&t.arena);
    t.changed = SINTER_NEW_ARRAY(&t.arena, sinter_tensor, count);
    t.changes = SINTER_NEW_ARRAY(&t.arena, sinter_output_change, count * t.outputs);
    bool good = true;
    size_t made = 0;
    for (; made < count && good; made++)
        good = make_weights(layers[made], matrices[made], &t.changed[made], diag);
    good = good && try_all(&t);
    for (size_t i = 0; i < made; i++)
        if (t.changed[i].kind) sinter_tensor_deinit(&t.changed[i]);
    for (size_t i = 0; i < count && good; i++)
        out_changes[i] = sinter_output_change_share(t.changes + i * t.outputs, t.outputs);
    sinter_arena_deinit(&t.arena);
    return good;
}
