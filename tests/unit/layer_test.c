/* Layers: which nodes are, their names, and their weights as matrices. */
#include "ir/parse.h"
#include "passes/layer.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static const char *const text =
    "module \"m\" {\n"
    "  graph (%x: f32[1,2,4], %m: f32[2,2], %v: f32[2,3]) {\n"
    "    %w = constant() {value = tensor<f32[2,1,2], [1,2,3,4]>}\n"
    "    %c = conv(%x, %w) {group = 2} loc(\"m.onnx: node 'first' (Conv) + m.onnx: node 'bn' "
    "(Bn)\")\n"
    "    %t = constant() {value = tensor<f32[2,3,2], [1,2,3,4,5,6,7,8,9,10,11,12]>}\n"
    "    %d = conv_transpose(%c, %t)\n"
    "    %k = constant() {value = tensor<f32[2,3], [1,2,3,4,5,6]>}\n"
    "    %h = constant() {value = tensor<f32[3,1], [1,2,3]>}\n"
    "    %p = matmul(%m, %k) loc(\"m.onnx: node 'first' (MatMul)\")\n"
    "    %q = matmul(%p, %h)\n"
    "    %r = matmul(%m, %v)\n"
    "    yield(%d, %q, %r)\n"
    "  }\n"
    "}\n";

int main(void) {
    sinter_text messages = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_module *module = sinter_parse_module("m", text, strlen(text), &diag);
    if (!CHECK(module != NULL)) puts(messages.data);
    sinter_layer_list layers = sinter_layer_find_all(module, &arena);
    CHECK_INT_EQ(layers.count, 4);
    const sinter_layer *l = layers.items;
    static const char *const names[4] = {"first", "d", "first#2", "q"};
    static const int64_t sizes[4][2] = {{2, 2}, {3, 4}, {3, 2}, {1, 3}};
    static const float matrices[4][12] = {
        {1, 2, 3, 4}, {1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12}, {1, 4, 2, 5, 3, 6}, {1, 2, 3}};
    for (int i = 0; i < 4; i++) {
        float matrix[12] = {0};
        CHECK_STRING_EQ(l[i].name, names[i]);
        CHECK_INT_EQ(l[i].outputs, sizes[i][0]);
        CHECK_INT_EQ(l[i].reduction, sizes[i][1]);
        sinter_layer_read_matrix(&l[i], matrix);
        CHECK(memcmp(matrix, matrices[i], sizeof matrix) == 0);
    }
    CHECK_INT_EQ(l[0].groups, 2);
    CHECK_INT_EQ(l[1].output_axis, 1);
    sinter_module_destroy(module);
    sinter_arena_deinit(&arena);
    sinter_text_deinit(&messages);
    return test_finish();
}
