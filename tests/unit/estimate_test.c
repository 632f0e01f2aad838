/* Times of small modules on hardware of round numbers: what bounds a kernel, where bytes come from, what groups, branches and
 * exchanges count. */
#include "ir/estimate.h"
#include "ir/link_clock.h"
#include "ir/parse.h"
#include "tests/unit/test.h"

#include <math.h>

static const char hardware_text[] = "hardware \"round\" {\n"
                                    "  devices 2\n"
                                    "  compute f32 1 GOP/s\n"
                                    "  compute i8 4 GOP/s\n"
                                    "  level \"cache\" 1 MB 1 GB/s\n"
                                    "  level \"memory\" 1 GB 0.1 GB/s\n"
                                    "  launch 1 us\n"
                                    "  link 2 10 us 0.1 GB/s\n"
                                    "  efficiency product f32 0.5\n"
                                    "}\n";

static sinter_estimate estimate;
static sinter_arena arena;

static bool run(const char *text) {
    sinter_text said = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &said};
    sinter_hardware hardware;
    sinter_module *module = sinter_parse_module("test", text, strlen(text), &diag);
    bool good = CHECK(module != NULL) &&
                CHECK(sinter_hardware_parse("round.hw", hardware_text, strlen(hardware_text),
                                            &hardware, &diag));
    if (good) {
        sinter_estimate_module(module, &hardware, &arena, &estimate);
        sinter_hardware_deinit(&hardware);
    } else {
        printf("%s\n", said.data ? said.data : "");
    }
    sinter_module_destroy(module);
    sinter_text_deinit(&said);
    return good;
}

static bool near(double got, double expected) {
    if (fabs(got - expected) <= 1e-3 * fabs(expected)) return true;
    printf("got %.9g, expected %.9g\n", got, expected);
    return false;
}

static void test_estimate__bounds(void) {
    /* 2 * 64^3 operations at half of the rate */
    if (run("module \"m\" { graph (%a: f32[64,64], %b: f32[64,64]) { %y = matmul(%a, %b) yield(%y) "
            "} }")) {
        CHECK_INT_EQ(estimate.steps.count, 1);
        CHECK_INT_EQ(estimate.steps.items[0].work, SINTER_WORK_product);
        CHECK(near(estimate.steps.items[0].sizes[2], 64));
        CHECK(near(estimate.seconds, 2 * 64. * 64 * 64 / 0.5e9 + 1e-6));
        CHECK_INT_EQ(sinter_estimate_bound(&estimate), SINTER_BOUND_COMPUTE);
        CHECK(near(estimate.activation_bytes, 3 * 64 * 64 * 4));
    }
    /* three megabytes: from the memory, 12 bytes an element against one addition */
    if (run("module \"m\" { graph (%a: f32[250000], %b: f32[250000]) { %y = add(%a, %b) yield(%y) "
            "} }")) {
        CHECK(near(estimate.seconds, 3e6 / 0.1e9 + 1e-6));
        CHECK_INT_EQ(sinter_estimate_bound(&estimate), SINTER_BOUND_MEMORY);
    }
    if (run("module \"m\" { graph (%a: f32[1]) { %y = neg(%a) yield(%y) } }"))
        CHECK_INT_EQ(sinter_estimate_bound(&estimate), SINTER_BOUND_LAUNCH);
}

/* Of the last step; sizes of 0 are not looked at. */
static void expect_kind(const char *graph, sinter_work work, double rows, double columns,
                        double depth) {
    const double sizes[] = {rows, columns, depth};
    char text[300];
    snprintf(text, sizeof text, "module \"m\" { graph (%s }", graph);
    if (!run(text) || !CHECK(estimate.steps.count)) return;
    const sinter_estimate_step *last = &estimate.steps.items[estimate.steps.count - 1];
    CHECK_INT_EQ(last->work, work);
    for (int i = 0; i < SINTER_WORK_SIZES; i++)
        CHECK(sizes[i] <= 0 || near(last->sizes[i], sizes[i]));
}

static void test_estimate__kinds(void) {
    expect_kind("%x: f32[5,3,8], %w: f32[1,16,8], %r: f32[1,16,4]) { %y, _, _ = lstm(%x, %w, %r) "
                "{hidden_size = 4} yield(%y) }",
                SINTER_WORK_recurrent, 3, 16, 12);
    expect_kind("%x: f32[1,8,6,6], %w: f32[8,1,3,3]) { %y = conv(%x, %w) {group = 8} yield(%y) }",
                SINTER_WORK_depthwise, 0, 0, 0);
    expect_kind("%x: f32[1,8,6,6], %w: f32[4,8,3,3]) { %y = conv(%x, %w) yield(%y) }",
                SINTER_WORK_window, 16, 4, 72);
    expect_kind("%x: f32[1,8,6,6], %w: f32[4,8,1,1]) { %y = conv(%x, %w) yield(%y) }",
                SINTER_WORK_product, 36, 4, 8);
    expect_kind("%x: f32[4,8]) { %y = softmax(%x) %z = reduce_sum(%y) yield(%z) }",
                SINTER_WORK_rows, 0, 0, 0);
}

/* What only renames costs nothing; what looks rows up in a table reads these rows. */
static void test_estimate__traffic(void) {
    if (run("module \"m\" { graph (%x: f32[4,8]) { %s = constant() {value = tensor<i64[1], [32]>} "
            "%y = "
            "reshape(%x, %s) yield(%y) } }"))
        CHECK_INT_EQ(estimate.steps.count, 0);
    if (run("module \"m\" { graph (%t: f32[1000,8], %i: i64[4]) { %y = gather(%t, %i) yield(%y) } "
            "}"))
        CHECK(near(estimate.steps.items[0].moved_bytes, 4 * 8 * 4 + 4 * 8 + 4 * 8 * 4));
}

static void test_estimate__exchanges(void) {
    if (run("module \"m\" { mesh data=2 graph (%x: f32[1000]) { %y = all_reduce(%x) {over = "
            "[\"data\"]} yield(%y) } }")) {
        CHECK(near(estimate.seconds, 1e-5 + 4000 / 0.1e9)); /* as little is sent whole */
        CHECK_INT_EQ(sinter_estimate_bound(&estimate), SINTER_BOUND_LINK);
        CHECK(near(estimate.exchanged_bytes, 4000));
    }
}

/* A rank that waits for one exchange looks at all of them, so that rounds of others follow each other meanwhile. */
static void test_estimate__under_way(void) {
    const sinter_hardware_rounds one = {1, {10}, {10}}, three = {3, {3, 3, 2}, {3, 3, 2}};
    sinter_link_clock clock = {0};
    sinter_link_clock_begin(&clock, 1, &one);
    sinter_link_clock_begin(&clock, 2, &three);
    CHECK(near(sinter_link_clock_wait(&clock, 1), 10));
    CHECK(sinter_link_clock_is_done(&clock));
    CHECK_DOUBLE_EQ(sinter_link_clock_wait(&clock, 2), 0);
    /* While kernels run it looks where one ends. */
    clock = (sinter_link_clock){0};
    sinter_link_clock_begin(&clock, 1, &three);
    sinter_link_clock_work(&clock, 5);
    CHECK(near(sinter_link_clock_wait(&clock, 1), 5));
}

static void test_estimate__operations(void) {
    CHECK_DOUBLE_EQ(sinter_estimate_operations(SINTER_OP_add), 1);
    CHECK(sinter_estimate_operations(SINTER_OP_div) > 1);
    CHECK(sinter_estimate_operations(SINTER_OP_gelu) > sinter_estimate_operations(SINTER_OP_exp));
    CHECK(sinter_estimate_operations(SINTER_OP_exp) > 8);
}

int main(void) {
    sinter_arena_init(&arena);
    test_estimate__bounds();
    test_estimate__kinds();
    test_estimate__traffic();
    test_estimate__exchanges();
    test_estimate__under_way();
    test_estimate__operations();
    sinter_arena_deinit(&arena);
    return test_finish();
}
