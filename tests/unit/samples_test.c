/* Samples: how stacked tensors become runs, and which don't fit. The runner that evaluates is run over them. */
#include "ir/infer.h"
#include "ir/parse.h"
#include "ir/runner.h"
#include "passes/samples.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag;

static sinter_module *parse(const char *arguments) {
    char text[400];
    snprintf(text, sizeof text,
             "module \"m\" {\n graph (%s) {\n %%y = relu(%%x)\n yield(%%y)\n }\n}\n", arguments);
    sinter_text_deinit(&messages);
    messages = (sinter_text){0};
    diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &messages};
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    CHECK(module != NULL);
    return module;
}

/* f32 with elements 0, 1, ... */
static sinter_tensor count_up(uint32_t rank, const int64_t *dims) {
    sinter_tensor tensor;
    CHECK(sinter_tensor_create(&tensor, SINTER_DTYPE_f32, rank, dims, &diag));
    for (int64_t i = 0; i < sinter_tensor_count(&tensor); i++)
        sinter_tensor_set_double(&tensor, i, (double)i);
    return tensor;
}

static void test_free_batch(void) {
    sinter_module *module = parse("%x: f32[N,2]");
    sinter_tensor stack = count_up(2, (int64_t[]){7, 2}), in, out;
    sinter_samples *all = sinter_samples_create(module, &stack, 3, &diag);
    CHECK(all != NULL);
    CHECK_INT_EQ(sinter_samples_count(all), 7);
    CHECK_INT_EQ(sinter_samples_run_count(all), 3);
    CHECK_INT_EQ(sinter_samples_run_size(all, 2), 1);
    CHECK_INT_EQ(sinter_samples_step(all), 1);
    sinter_samples *rest = sinter_samples_slice(all, 2, 5);
    sinter_samples_destroy(all);
    sinter_tensor_deinit(&stack);
    CHECK_INT_EQ(sinter_samples_run_count(rest), 2);
    sinter_samples_run_inputs(rest, 1, &in);
    CHECK_INT_EQ(in.dims[0], 2);
    const sinter_runner *runner = &sinter_runner_eval;
    void *program = runner->open(runner->user, module, &diag); /* takes the module */
    CHECK(runner->run(runner->user, program, &in, &out, &diag));
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&out, 0), 10);
    CHECK_INT_EQ(out.dims[0], 2);
    sinter_tensor_deinit(&in);
    sinter_tensor_deinit(&out);
    runner->close(runner->user, program);
    sinter_samples_destroy(rest);
}

static void test_fixed_batch(void) {
    sinter_module *module = parse("%x: f32[2,3], %k: f32[]");
    sinter_tensor tensors[2] = {count_up(2, (int64_t[]){5, 3}), count_up(0, NULL)}, in[2];
    sinter_samples *samples = sinter_samples_create(module, tensors, 100, &diag);
    CHECK(samples != NULL);
    CHECK(strstr(messages.data,
                 "samples of input 'x': warning: the model takes 2 at once: the last "
                 "1 of 5 are left out"));
    CHECK_INT_EQ(sinter_samples_count(samples), 4);
    CHECK_INT_EQ(sinter_samples_step(samples), 2);
    sinter_samples_run_inputs(samples, 1, in);
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&in[0], 0), 6);
    CHECK_INT_EQ(in[1].rank, 0);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&in[i]);
    sinter_samples_destroy(samples);
    sinter_tensor_deinit(&tensors[0]);

    tensors[0] = count_up(3, (int64_t[]){4, 2, 3}); /* a run each */
    samples = sinter_samples_create(module, tensors, 100, &diag);
    CHECK(samples != NULL);
    CHECK_INT_EQ(sinter_samples_run_count(samples), 4);
    sinter_samples_run_inputs(samples, 3, in);
    CHECK(in[0].rank == 2 && in[0].dims[0] == 2 && in[0].dims[1] == 3);
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&in[0], 0), 18);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&in[i]);
    sinter_samples_destroy(samples);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_module_destroy(module);
}

static void expect_error(sinter_module *module, const sinter_tensor *tensors,
                         const char *expected) {
    CHECK(sinter_samples_create(module, tensors, 4, &diag) == NULL);
    if (!CHECK(messages.data && strstr(messages.data, expected)))
        printf("  expected %s\n  got %s", expected, messages.data ? messages.data : "nothing\n");
}

static void test_errors(void) {
    sinter_module *module = parse("%x: f32[N,2], %z: f32[N]");
    sinter_tensor tensors[2] = {count_up(2, (int64_t[]){3, 2}), count_up(1, (int64_t[]){4})};
    expect_error(module, tensors, "samples of input 'z': error: 4 samples, another input has 3");
    sinter_tensor_deinit(&tensors[1]);
    tensors[1] = count_up(1, (int64_t[]){3});
    sinter_tensor_set_double(&tensors[1], 2, NAN);
    expect_error(module, tensors,
                 "samples of input 'z': error: sample 2 has a value that is not finite (nan)");
    sinter_tensor_deinit(&tensors[0]);
    tensors[0] = count_up(2, (int64_t[]){3, 5});
    expect_error(module, tensors,
                 "samples of input 'x': error: expected tensors f32[N,2] stacked along the first "
                 "axis, found f32[3,5]");
    sinter_tensor_deinit(&tensors[0]);
    sinter_tensor_deinit(&tensors[1]);
    tensors[0] = count_up(2, (int64_t[]){0, 2});
    tensors[1] = count_up(1, (int64_t[]){0});
    expect_error(module, tensors, "samples: error: there are none");
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_module_destroy(module);
}

/* So many samples where N has bounds, in runs of at most `batch`. NULL where they can't be cut. */
static sinter_samples *make_bounded(int64_t least, int64_t most, int64_t count, size_t batch) {
    sinter_module *module = parse("%x: f32[N,2]");
    CHECK(sinter_infer_bind_dim(module, SINTER_STRING("N"), least, most, &diag));
    sinter_tensor stack = count_up(2, (int64_t[]){count, 2});
    sinter_samples *samples = sinter_samples_create(module, &stack, batch, &diag);
    sinter_tensor_deinit(&stack);
    sinter_module_destroy(module);
    return samples;
}

static void expect_runs(sinter_samples *samples, size_t step, size_t count, const size_t *sizes) {
    if (!CHECK(samples != NULL)) return;
    CHECK_INT_EQ(sinter_samples_step(samples), step);
    CHECK_INT_EQ(sinter_samples_run_count(samples), count);
    for (size_t i = 0; i < count; i++) CHECK_INT_EQ(sinter_samples_run_size(samples, i), sizes[i]);
    sinter_samples_destroy(samples);
}

/* Every run is one that the model takes. */
static void test_bounds(void) {
    expect_runs(make_bounded(1, 4, 10, 100), 1, 3, (size_t[]){4, 4, 2});
    expect_runs(make_bounded(5, 9, 13, 8), 5, 2, (size_t[]){5, 5});
    CHECK(messages.data && strstr(messages.data, "takes 5 at once: the last 3 of 13 are left out"));
    expect_runs(make_bounded(5, 40, 37, 24), 5, 2, (size_t[]){20, 15});
    CHECK(messages.data && strstr(messages.data, "5 at once or a multiple of that: the last 2 of"));
    CHECK(!make_bounded(5, 9, 3, 8));
    CHECK(messages.data && strstr(messages.data, "error: the model takes 5 at once, found 3"));
}

/* A mask is cut as its input is, also in slices. */
static void test_mask(void) {
    sinter_module *module = parse("%x: f32[N,2], %z: f32[N]");
    sinter_tensor tensors[2] = {count_up(2, (int64_t[]){5, 2}), count_up(1, (int64_t[]){5})}, mask;
    sinter_samples *samples = sinter_samples_create(module, tensors, 2, &diag);
    CHECK(!sinter_samples_run_mask(samples, 0, &mask));
    sinter_samples_set_mask(samples, 1);
    sinter_samples *slice = sinter_samples_slice(samples, 1, 3);
    CHECK(sinter_samples_run_mask(slice, 1, &mask));
    CHECK_INT_EQ(sinter_tensor_count(&mask), 1);
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&mask, 0), 3);
    sinter_tensor_deinit(&mask);
    sinter_samples_destroy(slice);
    sinter_samples_destroy(samples);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_module_destroy(module);
}

int main(void) {
    test_mask();
    test_bounds();
    test_free_batch();
    test_fixed_batch();
    test_errors();
    sinter_text_deinit(&messages);
    return test_finish();
}
