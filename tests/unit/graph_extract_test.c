/* Parts of modules: what they compute, their symbols, their ids, and what can't be cut out. */
#include "ir/eval.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "tests/unit/graph_support.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};

static const char *const text = "module \"m\" {\n"
                                "  graph (%x: f32[N,4], %c: bool[]) {\n"
                                "    %w = constant() {value = tensor<f32[4,2], [1,2,3,4,5,6,7,8]>}\n"
                                "    %h = matmul(%x, %w)\n"
                                "    %a = relu(%h)\n"
                                "    %b = if(%c) ({ %p = neg(%a) yield(%p) }, { yield(%a) })\n"
                                "    %d = add(%b, %h)\n"
                                "    %p1, %p2 = split(%d) {axis = 1, num_outputs = 2}\n"
                                "    %q = mul(%p1, %p2)\n"
                                "    %t = concat(%x, %x) {axis = 0}\n"
                                "    %u = relu(%t)\n"
                                "    yield(%q, %u)\n"
                                "  }\n"
                                "}\n";

static sinter_module *parse(void) {
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    CHECK(module != NULL);
    return module;
}

static sinter_module *extract(sinter_module *module, const char *const *names, size_t sources,
                              size_t targets) {
    sinter_value values[8];
    sinter_text_deinit(&messages);
    messages = (sinter_text){0};
    for (size_t i = 0; i < sources + targets; i++) values[i] = find(module, names[i]);
    sinter_module *part =
        sinter_module_extract(module, values, sources, values + sources, targets, &diag);
    if (part && !CHECK(sinter_verify_module(part, &diag))) puts(messages.data);
    return part;
}

static void expect_print(sinter_module *module, const char *expected) {
    sinter_text print = {0};
    sinter_print_module(module, NULL, &print);
    CHECK(strstr(print.data, expected) != NULL);
    if (!strstr(print.data, expected)) puts(print.data);
    sinter_text_deinit(&print);
}

static void test_middle(void) {
    sinter_module *module = parse();
    sinter_module *part = extract(module, (const char *[]){"h", "c", "d", "a"}, 2, 2);
    if (!CHECK(part != NULL)) return;
    expect_print(part, "graph (%h: f32[N,2], %c: bool[]) {");
    CHECK_STRING_EQ(sinter_module_output_name(part, 0), "d");
    CHECK_INT_EQ(find(part, "d"), find(module, "d"));
    CHECK_INT_EQ(find(part, "w"), 0);
    float h[4] = {1, -2, 3, -4};
    uint8_t c = 1;
    sinter_tensor in[2], out[2];
    CHECK(sinter_tensor_create(&in[0], SINTER_DTYPE_f32, 2, (int64_t[]){2, 2}, &diag));
    CHECK(sinter_tensor_create(&in[1], SINTER_DTYPE_bool, 0, NULL, &diag));
    memcpy(sinter_tensor_mutable(&in[0]), h, sizeof h);
    memcpy(sinter_tensor_mutable(&in[1]), &c, 1);
    CHECK(sinter_eval_module(part, in, 2, out, 2, &diag));
    const float expected[4] = {0, -2, 0, -4};
    CHECK(memcmp(out[0].data, expected, sizeof expected) == 0);
    for (int i = 0; i < 2; i++) sinter_tensor_deinit(&in[i]), sinter_tensor_deinit(&out[i]);
    sinter_module_destroy(part);
    sinter_module_destroy(module);
}

static void test_shapes(void) {
    sinter_module *module = parse();
    /* one result of a node is given, the other is asked for */
    sinter_module *part = extract(module, (const char *[]){"p2", "d", "q"}, 2, 1);
    if (CHECK(part != NULL)) expect_print(part, "graph (%p2: f32[N,1], %d: f32[N,2]) {");
    sinter_module_destroy(part);
    /* N is not known from 2 * N rows: they get a name */
    part = extract(module, (const char *[]){"t", "u"}, 1, 1);
    if (CHECK(part != NULL)) expect_print(part, "graph (%t: f32[length,4]) {");
    sinter_module_destroy(part);
    /* a source may be a target, and weights may be cut off */
    part = extract(module, (const char *[]){"w", "x", "x", "h"}, 2, 2);
    if (CHECK(part != NULL)) expect_print(part, "graph (%w: f32[4,2], %x: f32[N,4]) {");
    CHECK_INT_EQ(sinter_module_output_count(part), 2);
    sinter_module_destroy(part);
    sinter_module_destroy(module);
}

static void test_errors(void) {
    sinter_module *module = parse();
    CHECK(extract(module, (const char *[]){"h", "d"}, 1, 1) == NULL);
    CHECK(strstr(messages.data, "a part needs the input %c, which is not among its sources"));
    sinter_module_destroy(module);
}

int main(void) {
    test_middle();
    test_shapes();
    test_errors();
    sinter_text_deinit(&messages);
    return test_finish();
}
