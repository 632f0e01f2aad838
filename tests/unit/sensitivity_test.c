/* What layers lose by themselves: fewer bits lose more and take less, what is not wanted is not solved, and the walk can end. */
#include "ir/parse.h"
#include "passes/layer.h"
#include "passes/sensitivity.h"
#include "passes/solve_blas.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static const char *const text = "module \"m\" {\n"
                                "  graph (%x: f32[N,4]) {\n"
                                "    %a = constant() {value = tensor<f32[4,3], [1,-0.31,0.2,0.52,"
                                "-0.77,0.1,0.05,-0.63,0.9,0.44,0.27,-0.15]>}\n"
                                "    %b = constant() {value = tensor<f32[3,2], [0.7,-0.4,0.11,0.93,"
                                "-0.5,0.38]>}\n"
                                "    %h = matmul(%x, %a) loc(\"m: node 'first' (MatMul)\")\n"
                                "    %r = relu(%h)\n"
                                "    %y = matmul(%r, %b) loc(\"m: node 'second' (MatMul)\")\n"
                                "    yield(%y)\n"
                                "  }\n"
                                "}\n";

/* The same with an input that says which rows count. */
static const char *const head = "graph (%x: f32[N,4])", *const masked_head =
                                                            "graph (%x: f32[N,4], %m: f32[N])";

enum { LAYERS = 2, RECIPES = 3, SAMPLES = 64 };
static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};

typedef struct found {
    double error[LAYERS][RECIPES], bytes[LAYERS][RECIPES];
    size_t count, most_layers;
} found;

static bool wants(void *user, size_t layer, size_t recipe) {
    (void)user;
    return layer != 1 || recipe != 1;
}

static bool take(void *user, size_t layer, size_t recipe, const sinter_sensitivity *one) {
    found *f = user;
    f->error[layer][recipe] = one->error;
    f->bytes[layer][recipe] = one->bytes;
    f->count++;
    return true;
}

static bool goes_on(void *user, size_t layer) {
    return layer < ((found *)user)->most_layers;
}

/* Of `count` samples the first `good` are what the model meets; with a mask the others are padding, and large. */
static sinter_samples *make_samples(sinter_module *module, int count, int good, bool masked) {
    sinter_tensor inputs[2];
    uint32_t state = 1;
    CHECK(sinter_tensor_create(&inputs[0], SINTER_DTYPE_f32, 2, (int64_t[]){count, 4}, &diag));
    CHECK(sinter_tensor_create(&inputs[1], SINTER_DTYPE_f32, 1, (int64_t[]){count}, &diag));
    for (int i = 0; i < count * 4; i++) {
        state = state * 1664525 + 1013904223;
        double value = (double)(state >> 8) / (1 << 23) - 1;
        sinter_tensor_set_double(&inputs[0], i, i / 4 < good ? value : 100 * value);
        sinter_tensor_set_double(&inputs[1], i / 4, i / 4 < good);
    }
    sinter_samples *samples = sinter_samples_create(module, inputs, 16, &diag);
    if (masked) sinter_samples_set_mask(samples, 1);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&inputs[i]);
    return samples;
}

static void measure(sinter_module *module, const sinter_samples *samples, found *out) {
    static const char *const words[RECIPES] = {"int8", "int4", "ternary"};
    sinter_layer_recipe recipes[LAYERS * RECIPES];
    for (int i = 0; i < LAYERS * RECIPES; i++) {
        sinter_recipe *recipe = sinter_recipe_create();
        CHECK(sinter_recipe_set(recipe, NULL, "weights", words[i % RECIPES], "test", &diag));
        CHECK(sinter_recipe_find(recipe, "first", &recipes[i], &diag));
        CHECK(sinter_sensitivity_applies(&recipes[i]));
        sinter_recipe_destroy(recipe);
    }
    const sinter_compression compression = {.runner = &sinter_runner_eval, .samples = samples};
    const sinter_sensitivity_sink sink = {wants, take, goes_on, out};
    if (!CHECK(sinter_sensitivity_measure(module, &compression, recipes, RECIPES, &sink, &diag)))
        puts(messages.data);
}

/* Padding says nothing. */
static void test_mask(const found *without) {
    sinter_text masked = {0};
    const char *at = strstr(text, head);
    sinter_text_append(&masked, text, (size_t)(at - text));
    sinter_text_format(&masked, "%s%s", masked_head, at + strlen(head));
    sinter_module *module = sinter_parse_module("m", masked.data, masked.size, &diag);
    if (!CHECK(module != NULL)) puts(messages.data);
    sinter_samples *samples = make_samples(module, 2 * SAMPLES, SAMPLES, true);
    found with = {.most_layers = LAYERS};
    measure(module, samples, &with);
    for (int i = 0; i < LAYERS * RECIPES; i++)
        CHECK_DOUBLE_EQ(with.error[i / RECIPES][i % RECIPES],
                        without->error[i / RECIPES][i % RECIPES]);
    sinter_samples_destroy(samples);
    sinter_module_destroy(module);
    sinter_text_deinit(&masked);
}

int main(void) {
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) puts(messages.data);
    sinter_samples *samples = make_samples(module, SAMPLES, SAMPLES, false);
    CHECK(samples != NULL);
    if (!sinter_blas_begin(&diag)) return 77; /* no OpenBLAS here */
    sinter_blas_end();
    found all = {.most_layers = LAYERS}, one = {.most_layers = 1};
    measure(module, samples, &all);
    CHECK_INT_EQ(all.count, 5);
    CHECK(all.error[0][0] < all.error[0][1] && all.error[0][1] < all.error[0][2]);
    CHECK(all.error[0][0] > 0 && all.error[0][0] < 1e-3 && all.error[0][2] < 0.5);
    CHECK(all.error[1][0] < all.error[1][2]);
    CHECK_DOUBLE_EQ(all.bytes[0][0], 12 + 3 * 4); /* a scale an output */
    CHECK_DOUBLE_EQ(all.bytes[0][1], 6 + 3 * 4);
    CHECK_DOUBLE_EQ(all.bytes[0][2], 3 + 3 * 4);
    measure(module, samples, &one);
    CHECK_INT_EQ(one.count, 3);
    CHECK_DOUBLE_EQ(one.error[0][1], all.error[0][1]);
    test_mask(&all);
    sinter_samples_destroy(samples);
    sinter_module_destroy(module);
    sinter_text_deinit(&messages);
    return test_finish();
}
