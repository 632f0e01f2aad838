/* Costs of nodes: contractions, windows, recurrences, elementwise, views, in numbers and in symbols. */
#include "ir/cost.h"
#include "ir/parse.h"
#include "tests/unit/test.h"

/* The cost of the one node of `op` in a graph whose last node it is. */
static sinter_cost cost_of(const char *text, sinter_module **out_module) {
    sinter_text message = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &message};
    sinter_module *module = sinter_parse_module("cost.sir", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) printf("%s", message.data);
    sinter_text_deinit(&message);
    *out_module = module;
    if (!module) return (sinter_cost){0};
    const sinter_region_info *main = sinter_region_get(module, sinter_module_main(module));
    return sinter_cost_node(module, sinter_node_get(module, main->last)->previous);
}

static void check(const char *text, const char *multiply_adds, const char *elements,
                  const char *read, const char *written, uint64_t parameters) {
    sinter_module *module = NULL;
    sinter_cost cost = cost_of(text, &module);
    if (!module) return;
    sinter_dim dims[4] = {cost.multiply_adds, cost.elements, cost.read_bytes, cost.written_bytes};
    const char *expected[4] = {multiply_adds, elements, read, written};
    for (int i = 0; i < 4; i++) {
        sinter_text printed = {0};
        sinter_dim_print(sinter_module_dims(module), dims[i], &printed);
        CHECK_STRING_EQ(printed.data, expected[i]);
        sinter_text_deinit(&printed);
    }
    CHECK_INT_EQ((int64_t)cost.parameters, (int64_t)parameters);
    sinter_module_destroy(module);
}

int main(void) {
    check("module \"m\" { graph (%a: f32[N,4,16], %b: f32[N,16,5]) { %y = matmul(%a, %b) yield(%y) "
          "} }",
          "320*N", "0", "576*N", "80*N", 0);
    check("module \"m\" { graph (%a: f32[3,N]) { %w = constant() {value = tensor<f32[3,2], [1.0, "
          "2.0, 3.0, 4.0, 5.0, 6.0]>} %y = gemm(%a, %w) {transA = 1} yield(%y) } }",
          "6*N", "0", "12*N + 24", "8*N", 6);
    check("module \"m\" { graph (%x: f32[N,8,6,6], %w: f32[12,4,3,3]) { %y = conv(%x, %w) {group = "
          "2} yield(%y) } }",
          "6912*N", "0", "1152*N + 1728", "768*N", 0);
    check("module \"m\" { graph (%x: f32[N,8,6,6], %w: f32[8,2,3,3]) { %y = conv_transpose(%x, %w) "
          "yield(%y) } }",
          "5184*N", "0", "1152*N + 576", "512*N", 0);
    check("module \"m\" { graph (%x: f32[1,8,6,6]) { %y, _ = max_pool(%x) {kernel_shape = [2, 2], "
          "strides = [2, 2]} yield(%y) } }",
          "0", "288", "1152", "288", 0);
    check("module \"m\" { graph (%x: f16[N,8]) { %y = relu(%x) yield(%y) } }", "0", "8*N", "16*N",
          "16*N", 0);
    check("module \"m\" { graph (%x: f32[N,8]) { %y = flatten(%x) {axis = 0} yield(%y) } }", "0",
          "8*N", "0", "0", 0);
    check("module \"m\" { graph (%x: f32[5,N,8], %w: f32[1,16,8], %r: f32[1,16,4]) { %y, _, _ = "
          "lstm(%x, %w, %r) {hidden_size = 4} yield(%y) } }",
          "960*N", "0", "160*N + 768", "80*N", 0);
    return test_finish();
}
