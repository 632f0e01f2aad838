/* Bounds of what layers yield, by their readers, and layers solved within them: what a relu cuts off leaves room for the rest. */
#include "ir/parse.h"
#include "passes/layer_fit.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

static const char *const text =
    "module \"m\" {\n"
    "  graph (%x: f32[N,12], %o: f32[N,6]) {\n"
    "    %w = constant() {value = tensor<f32[12,6], [1,2,3,4,5,6,7,8,9,10,11,12,"
    "1,2,3,4,5,6,7,8,9,10,11,12,1,2,3,4,5,6,7,8,9,10,11,12,1,2,3,4,5,6,7,8,9,10,"
    "11,12,1,2,3,4,5,6,7,8,9,10,11,12,1,2,3,4,5,6,7,8,9,10,11,12]>}\n"
    "    %b = constant() {value = tensor<f32[6], [1,2,3,4,5,6]>}\n"
    "    %low = constant() {value = tensor<f32[], [-1]>}\n"
    "    %high = constant() {value = tensor<f32[], [6]>}\n"
    "    %p1 = matmul(%x, %w)\n"
    "    %s1 = add(%p1, %b)\n"
    "    %r1 = relu(%s1)\n"
    "    %p2 = matmul(%x, %w)\n"
    "    %s2 = add(%o, %p2)\n"
    "    %r2 = relu(%s2)\n"
    "    %c2 = clip(%s2, %low, %high)\n"
    "    %p3 = matmul(%x, %w)\n"
    "    %r3 = relu(%p3)\n"
    "    %t3 = tanh(%p3)\n"
    "    %p4 = matmul(%x, %w)\n"
    "    %c4 = clip(%p4, %low, %high)\n"
    "    yield(%r1, %r2, %c2, %r3, %t3, %c4, %p3)\n"
    "  }\n"
    "}\n";

enum { ROWS = 2000, INPUTS = 12, OUTPUTS = 6 };
static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
static sinter_arena arena;
static uint32_t state = 1;

static float draw(void) {
    state = state * 1664525 + 1013904223;
    return (float)(state >> 8) / (1 << 23) - 1;
}

static void test_bounds(sinter_module *module, const sinter_layer_list *layers) {
    static const float bounds[4][2] = {
        {0, INFINITY}, {-1, INFINITY}, {-INFINITY, INFINITY}, {-1, 6}};
    for (size_t i = 0; i < 4; i++) {
        sinter_layer_target target;
        sinter_layer_find_target(module, &layers->items[i], &arena, &target);
        CHECK(target.low == bounds[i][0] && target.high == bounds[i][1]);
        CHECK((target.sum != 0) == (i == 1));
        CHECK(target.has_bias == (i == 0));
    }
}

static float cut(const sinter_layer_target *target, float value) {
    return fminf(fmaxf(value, target->low), target->high);
}

/* Squared error after the bounds. */
static double error_of(const sinter_layer_target *target, const sinter_solution *s, const float *x,
                       const float *y, const float *offsets) {
    double error = 0;
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) {
            float sum =
                (target->has_bias ? s->bias[o] : 0) + (offsets ? offsets[r * OUTPUTS + o] : 0);
            for (int i = 0; i < INPUTS; i++) sum += s->values[o * INPUTS + i] * x[r * INPUTS + i];
            double d = (double)(cut(target, sum) - cut(target, y[r * OUTPUTS + o]));
            error += d * d;
        }
    return error;
}

/* Weights of one bit can't follow everywhere; within the bounds they follow better when it is known where they needn't. */
static void test_fit(sinter_module *module, const sinter_layer *layer, const char *words) {
    sinter_tensor tensors[3];
    float weights[OUTPUTS * INPUTS];
    for (int i = 0; i < 3; i++)
        CHECK(sinter_tensor_create(&tensors[i], SINTER_DTYPE_f32, 2,
                                   (int64_t[]){ROWS, i ? OUTPUTS : INPUTS}, &diag));
    float *x = sinter_tensor_mutable(&tensors[0]), *y = sinter_tensor_mutable(&tensors[1]);
    float *offsets = sinter_tensor_mutable(&tensors[2]);
    for (int i = 0; i < OUTPUTS * INPUTS; i++) weights[i] = draw() + draw();
    for (int i = 0; i < ROWS * INPUTS; i++) x[i] = fmaxf(draw(), 0);
    sinter_layer_target target;
    sinter_layer_find_target(module, layer, &arena, &target);
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUTPUTS; o++) {
            float sum = 0;
            offsets[r * OUTPUTS + o] = draw();
            for (int i = 0; i < INPUTS; i++) sum += weights[o * INPUTS + i] * x[r * INPUTS + i];
            y[r * OUTPUTS + o] = sum + (target.sum ? offsets[r * OUTPUTS + o] : 0);
        }
    const sinter_layer_view view = {.inputs = &tensors[0],
                                    .targets = &tensors[1],
                                    .offsets = target.sum ? &tensors[2] : NULL,
                                    .runs = 1};
    sinter_layer_recipe layer_recipe;
    sinter_recipe *recipe = sinter_recipe_create();
    CHECK(sinter_recipe_parse(recipe, "test", words, strlen(words), &diag));
    CHECK(sinter_recipe_find(recipe, layer->name, &layer_recipe, &diag));
    sinter_recipe_destroy(recipe);
    sinter_moments moments;
    sinter_solution plain, bounded;
    sinter_moments_init(&moments, 1, INPUTS, OUTPUTS, &arena);
    CHECK(sinter_layer_measure(module, layer, &view, &moments, &diag));
    CHECK(sinter_moments_finish(&moments, target.has_bias));
    CHECK(sinter_solve_weights(&layer_recipe, &moments, weights, NULL, &plain, &arena, "layer",
                               &diag));
    CHECK(sinter_layer_fit_weights(module, layer, &target, &view, &layer_recipe, &moments, weights,
                                   NULL, &bounded, &arena, &diag));
    const float *added = target.sum ? offsets : NULL;
    double before = error_of(&target, &plain, x, y, added),
           after = error_of(&target, &bounded, x, y, added);
    bool is_bounded = isfinite(target.low) || isfinite(target.high);
    if (!CHECK(is_bounded ? after < before : after == before))
        printf("  %s, %s: %g, plain %g\n", layer->name, words, after, before);
    for (int i = 0; i < 3; i++) sinter_tensor_deinit(&tensors[i]);
}

int main(void) {
    sinter_arena_init(&arena);
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) puts(messages.data);
    sinter_layer_list layers = sinter_layer_find_all(module, &arena);
    CHECK_INT_EQ(layers.count, 4);
    test_bounds(module, &layers);
    if (!sinter_blas_begin(&diag)) return 77; /* no OpenBLAS here */
    for (size_t i = 0; i < layers.count; i++) {
        test_fit(module, &layers.items[i], "default weights=binary");
        test_fit(module, &layers.items[i], "default prune=0.6");
    }
    sinter_blas_end();
    sinter_module_destroy(module);
    sinter_arena_deinit(&arena);
    sinter_text_deinit(&messages);
    return test_finish();
}
