/* What switches do to the outputs is what a model has that is computed with them on, whichever part of the model a set is measured
 * from, in any order of the sets; outputs that lie before a switch don't change. */
#include "ir/parse.h"
#include "passes/switches.h"
#include "tests/unit/test.h"

#include <math.h>
#include <string.h>

/* Step i makes value i + 1 of value i, a little of it less a constant; its switch adds another constant to what it made. The value EARLY is an
 * output, too. */
enum { STEPS = 24, EARLY = 5, SETS = 2 * STEPS + 1, SAMPLES = 64, WIDTH = 3 };
static const double factor = 0.96875;
static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
static float data[SAMPLES * WIDTH];

static double taken(int step) {
    return 0.25 * (step % 7);
}

static double added(int step) {
    return 0.01 * (step % 5 + 1);
}

static sinter_module *make_module(void) {
    sinter_text text = {0};
    sinter_text_format(&text,
                       "module \"m\" {\n  graph (%%v0: f32[N,%d]) {\n"
                       "    %%f = constant() {value = tensor<f32[], [%g]>}\n",
                       WIDTH, factor);
    for (int i = 0; i < STEPS; i++)
        sinter_text_format(&text,
                           "    %%c%d = constant() {value = tensor<f32[], [%g]>}\n"
                           "    %%d%d = constant() {value = tensor<f32[], [%g]>}\n"
                           "    %%s%d = mul(%%v%d, %%f)\n"
                           "    %%v%d = sub(%%s%d, %%c%d)\n"
                           "    %%w%d = add(%%v%d, %%d%d)\n",
                           i, taken(i), i, added(i), i, i, i + 1, i, i, i, i + 1, i);
    sinter_text_format(&text, "    yield(%%v%d, %%v%d)\n  }\n}\n", EARLY, STEPS);
    sinter_module *module = sinter_parse_module("m", text.data, text.size, &diag);
    if (!CHECK(module != NULL)) puts(messages.data);
    sinter_text_deinit(&text);
    return module;
}

/* All that reads a step's value reads its blend, but for what makes the switched one. */
static void add_switches(sinter_switches *switches) {
    sinter_module *module = switches->module;
    sinter_node steps[STEPS + 1];
    int count_of_steps = 0;
    SINTER_FOR_NODES (module, sinter_module_main(module), node)
        if (sinter_node_op(module, node) == SINTER_OP_sub && count_of_steps < STEPS)
            steps[count_of_steps++] = node;
    if (!CHECK_INT_EQ(count_of_steps, STEPS)) return;
    for (int step = 0; step < STEPS; step++) {
        sinter_node node = steps[step];
        sinter_value off = sinter_node_result(module, node, 0);
        sinter_node switched = sinter_node_get(module, node)->next;
        sinter_node after = sinter_node_get(module, switched)->next;
        sinter_use uses[4];
        const sinter_value_info *info = sinter_value_get(module, off);
        size_t count = info->uses.count;
        if (!CHECK(count <= 4)) return;
        memcpy(uses, info->uses.items, count * sizeof *uses);
        sinter_value blend = sinter_switches_blend(switches, after, (size_t)step, off,
                                                   sinter_node_result(module, switched, 0));
        if (!CHECK(blend)) return;
        for (size_t u = 0; u < count; u++)
            if (uses[u].node != switched)
                sinter_rewrite_set_operand(&switches->rewrite, uses[u].node, uses[u].operand,
                                           blend);
    }
}

static void run_steps(const bool *set, float x, double out[2]) {
    double v = (double)x;
    for (int i = 0; i < STEPS; i++) {
        v = factor * v - taken(i) + (set && set[i] ? added(i) : 0);
        if (i + 1 == EARLY) out[0] = v;
    }
    out[1] = v;
}

static double expected_share(const bool *set) {
    double difference[2] = {0}, sum[2] = {0}, square[2] = {0}, most = 0;
    for (int i = 0; i < SAMPLES * WIDTH; i++) {
        double before[2] = {0}, now[2] = {0};
        run_steps(NULL, data[i], before);
        run_steps(set, data[i], now);
        for (int o = 0; o < 2; o++) {
            difference[o] += (now[o] - before[o]) * (now[o] - before[o]);
            sum[o] += before[o];
            square[o] += before[o] * before[o];
        }
    }
    for (int o = 0; o < 2; o++)
        most = fmax(most, difference[o] / (square[o] - sum[o] * sum[o] / (SAMPLES * WIDTH)));
    return most;
}

static sinter_samples *make_samples(sinter_module *module) {
    sinter_tensor input;
    uint32_t state = 1;
    CHECK(sinter_tensor_create(&input, SINTER_DTYPE_f32, 2, (int64_t[]){SAMPLES, WIDTH}, &diag));
    for (int i = 0; i < SAMPLES * WIDTH; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = (float)(state >> 8) / (1 << 23) - 1;
        sinter_tensor_set_double(&input, i, (double)data[i]);
    }
    sinter_samples *samples = sinter_samples_create(module, &input, 1, &diag);
    CHECK(samples != NULL);
    sinter_tensor_deinit(&input);
    return samples;
}

int main(void) {
    static bool sets[SETS][STEPS]; /* the last one has none on */
    static double changes[SETS];
    sinter_module *module = make_module();
    sinter_samples *samples = make_samples(module);
    const sinter_compression compression = {.runner = &sinter_runner_eval, .samples = samples};
    sinter_switches switches;
    CHECK(sinter_switches_init(&switches, module, STEPS, &compression, &diag));
    add_switches(&switches);
    for (int i = 0; i < STEPS; i++) {
        sets[i][STEPS - 1 - i] = true; /* the last one first */
        sets[STEPS + i][i] = sets[STEPS + i][(i * 5 + 3) % STEPS] = true;
    }
    if (!CHECK(sinter_switches_measure(&switches, &sets[0][0], SETS, SAMPLES, "test", changes)))
        puts(messages.data);
    for (int i = 0; i < SETS; i++) {
        double expected = expected_share(sets[i]);
        if (!CHECK(fabs(changes[i] - expected) <= 1e-3 * expected + 1e-12))
            printf("set %d: %g, expected %g\n", i, changes[i], expected);
    }
    CHECK(changes[SETS - 1] == 0 && changes[0] > 0);
    sinter_switches_deinit(&switches);
    sinter_samples_destroy(samples);
    sinter_module_destroy(module);
    sinter_text_deinit(&messages);
    return test_finish();
}
