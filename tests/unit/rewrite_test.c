/* Rewrites: what happens to uses, names of outputs, locations, symbols and dead producers; groups out and
 * in again. Decompositions that do not fit. */
#include "ir/decompose.h"
#include "ir/parse.h"
#include "ir/rewrite.h"
#include "ir/verify.h"
#include "tests/unit/graph_support.h"
#include "tests/unit/test.h"

static sinter_diag diag = {.handler = sinter_diag_print_handler};

static sinter_module *parse(const char *text) {
    diag.user = stdout;
    return sinter_parse_module("test.sir", text, strlen(text), &diag);
}

/* Checks the module, prints it and destroys it. */
static void check_module(sinter_module *module, const char *expected) {
    sinter_text text = {0};
    CHECK(sinter_verify_module(module, &diag));
    sinter_print_module(module, NULL, &text);
    CHECK_STRING_EQ(text.data, expected);
    sinter_text_deinit(&text);
    sinter_module_destroy(module);
}

/* A new node takes the place of two: it gets the name of the output and both locations; the constant goes. */
static void test_fuse(void) {
    sinter_module *module =
        parse("module \"m\" { graph (%x: f32[2]) {\n"
              "  %k = constant() {value = tensor<f32[], [2.0]>} loc(\"k\")\n"
              "  %a = mul(%x, %k) loc(\"first\")  %y = relu(%a) loc(\"second\")  yield(%y) } }");
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &diag);
    sinter_node relu = node_of(module, "y");
    sinter_rewrite_at(&rewrite, relu);
    sinter_value made = sinter_build_unary(&rewrite.build, SINTER_OP_relu, find(module, "x"));
    sinter_rewrite_replace_node(&rewrite, relu, &made);
    CHECK(rewrite.change_count > 0);
    check_module(module, "module \"m\" {\n"
                         "  graph (%x: f32[2]) {\n"
                         "    %y = relu(%x) : f32[2] loc(\"first + second\")\n"
                         "    yield(%y)\n"
                         "  }\n"
                         "}\n");
}

/* An output that becomes a named value keeps its name as an attribute of yield. */
static void test_output_names(void) {
    sinter_module *module = parse(
        "module \"m\" { graph (%x: f32[2]) { %y = identity(%x)  %z = relu(%x) yield(%y, %z) } }");
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &diag);
    sinter_node identity = node_of(module, "y");
    sinter_value x = find(module, "x");
    sinter_rewrite_at(&rewrite, identity);
    sinter_rewrite_replace_node(&rewrite, identity, &x);
    CHECK_STRING_EQ(sinter_module_output_name(module, 0), "y");
    check_module(module, "module \"m\" {\n"
                         "  graph (%x: f32[2]) {\n"
                         "    %z = relu(%x) : f32[2]\n"
                         "    yield(%x, %z) {names = [\"y\", \"z\"]}\n"
                         "  }\n"
                         "}\n");
}

/* Symbols read from a replaced value are read from the new one; erasing spares what symbols are read from. */
static void test_symbols(void) {
    sinter_module *module = parse("module \"m\" {\n"
                                  "  dim one node(%a, 1)\n  dim two node(%b, 1)\n"
                                  "  graph (%x: f32[2]) { %a = non_zero(%x)  %b = non_zero(%x)\n"
                                  "    %s = dim_vector() {dims = [two]}  yield(%s) } }");
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &diag);
    sinter_node second = node_of(module, "b");
    sinter_value first = find(module, "a");
    sinter_rewrite_at(&rewrite, second);
    sinter_rewrite_replace_node(&rewrite, second, &first);
    check_module(module, "module \"m\" {\n"
                         "  dim one = 0..2 node(%a, 1)\n"
                         "  dim two = 0..2 node(%a, 1)\n"
                         "  graph (%x: f32[2]) {\n"
                         "    %a = non_zero(%x) : i64[1,one]\n"
                         "    %s = dim_vector() {dims = [two]} : i64[1]\n"
                         "    yield(%s)\n"
                         "  }\n"
                         "}\n");
}

static const char chain[] = "module \"m\" {\n"
                            "  graph (%x: f32[N,3], %c: bool[]) {\n"
                            "    %a = relu(%x) : f32[N,3] loc(\"a\")\n"
                            "    %k = constant() {value = tensor<f32[], [2.0]>} : f32[]\n"
                            "    %b = mul(%a, %k) : f32[N,3] loc(\"b\")\n"
                            "    %d = if(%c) ({\n"
                            "      %e = add(%b, %x) : f32[N,3]\n"
                            "      yield(%e)\n"
                            "    }, {\n"
                            "      yield(%a)\n"
                            "    }) : f32[N,3] loc(\"d\")\n"
                            "    %y = neg(%d) : f32[N,3]\n"
                            "    yield(%y, %a)\n"
                            "  }\n"
                            "}\n";

static void test_groups(void) {
    sinter_module *module = parse(chain);
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &diag);
    sinter_node nodes[] = {node_of(module, "a"), node_of(module, "b"), node_of(module, "d")};
    sinter_node group = sinter_rewrite_outline(&rewrite, nodes, 3);
    CHECK(sinter_verify_module(module, &diag));
    const sinter_node_info *info = sinter_node_get(module, group);
    CHECK_INT_EQ(info->operand_count, 3); /* x, k and c, in the order of use */
    CHECK_INT_EQ(info->operands[0], find(module, "x"));
    CHECK_INT_EQ(info->result_count, 2);
    CHECK_STRING_EQ(info->location, "a + b + d");
    CHECK_INT_EQ(sinter_module_output(module, 1), info->results[0]);
    CHECK_STRING_EQ(sinter_module_output_name(module, 1), "a");
    sinter_rewrite_inline_region(&rewrite, group, info->regions[0], info->operands);
    CHECK(sinter_node_get(module, group)->erased);
    /* Back to what it was, but for the place of the constant. */
    sinter_node_move_before(module, node_of(module, "k"), nodes[1]);
    check_module(module, chain);
}

/* A decomposition that gives another type than inference did is an error, and changes nothing. */
static void test_disagreement(void) {
    sinter_module *module =
        parse("module \"m\" { graph (%x: f32[2,3]) { %y = softmax(%x) yield(%y) } }");
    sinter_text text = {0};
    sinter_diag heard = {.handler = sinter_diag_text_handler, .user = &text};
    sinter_value y = find(module, "y");
    const sinter_type right = *sinter_value_type(module, y);
    sinter_type wrong = right;
    wrong.dtype = SINTER_DTYPE_f64;
    sinter_value_set_type(module, y, wrong);
    sinter_rewrite rewrite;
    sinter_rewrite_begin(&rewrite, module, &heard);
    CHECK(!sinter_decompose_node(&rewrite, node_of(module, "y")));
    CHECK_STRING_EQ(text.data ? text.data : "",
                    "module 'm': node %y (softmax): error: softmax: result 0 should be f64[2,3], "
                    "its decomposition gives "
                    "f32[2,3]; the shapes or element types of the operands do not fit "
                    "[decompose_c2]\n");
    CHECK_INT_EQ(find(module, "y"), y);
    CHECK_INT_EQ(sinter_node_op(module, node_of(module, "y")), SINTER_OP_softmax);
    sinter_text_deinit(&text);
    sinter_module_destroy(module);
}

int main(void) {
    test_fuse();
    test_output_names();
    test_symbols();
    test_groups();
    test_disagreement();
    return test_finish();
}
