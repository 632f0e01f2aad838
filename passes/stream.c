/* One program for the values that are asked for, run for all samples. Test: tests/passes/quantize_activations/ */
#include "passes/stream.h"

typedef struct stream {
    const sinter_compression *compression;
    const char *step;
    size_t count;
    sinter_stream_visit visit;
    void *user;
    sinter_diag *diag;
} stream;

static bool run_all(const stream *s, void *program, sinter_arena *arena) {
    const sinter_runner *runner = s->compression->runner;
    const sinter_samples *samples = s->compression->samples;
    size_t in = sinter_samples_input_count(samples), runs = sinter_samples_run_count(samples);
    sinter_tensor *inputs = SINTER_NEW_ARRAY(arena, sinter_tensor, in);
    sinter_tensor *outputs = SINTER_NEW_ARRAY(arena, sinter_tensor, s->count);
    bool good = true;
    for (size_t run = 0; run < runs && good; run++) {
        sinter_tensor mask;
        sinter_compression_progress(s->compression, s->step, run, runs);
        sinter_samples_run_inputs(samples, run, inputs);
        good = runner->run(runner->user, program, inputs, outputs, s->diag);
        sinter_tensors_deinit(inputs, in);
        if (!good) break;
        bool masked = sinter_samples_run_mask(samples, run, &mask);
        good = s->visit(s->user, outputs, masked ? &mask : NULL);
        if (masked) sinter_tensor_deinit(&mask);
        sinter_tensors_deinit(outputs, s->count);
    }
    return good;
}

bool sinter_stream_values(sinter_module *module, const sinter_compression *compression,
                          const char *step, const sinter_value *values, size_t count,
                          sinter_stream_visit visit, void *user, sinter_diag *diag) {
    const stream s = {compression, step, count, visit, user, diag};
    const sinter_runner *runner = compression->runner;
    sinter_arena arena;
    sinter_arena_init(&arena);
    uint32_t input_count = sinter_module_input_count(module);
    sinter_value *inputs = SINTER_NEW_ARRAY(&arena, sinter_value, input_count);
    for (uint32_t i = 0; i < input_count; i++) inputs[i] = sinter_module_input(module, i);
    sinter_module *part = sinter_module_extract(module, inputs, input_count, values, count, diag);
    void *program = part ? runner->open(runner->user, part, diag) : NULL;
    bool good = program && run_all(&s, program, &arena);
    runner->close(runner->user, program);
    sinter_arena_deinit(&arena);
    return good;
}

bool sinter_stream_is_masked(const sinter_tensor *tensor, const sinter_tensor *mask,
                             int64_t *out_width) {
    *out_width = tensor->rank ? tensor->dims[tensor->rank - 1] : 1;
    return mask && sinter_tensor_count(mask) * *out_width == sinter_tensor_count(tensor);
}
