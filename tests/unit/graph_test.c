/* Modules from the inside: use lists, names, order, erasing, attributes with their defaults, contents,
 * clones, and the verifier's constraints that no text can break. */
#include "ir/build.h"
#include "ir/infer.h"
#include "ir/parse.h"
#include "ir/verify.h"
#include "tests/unit/graph_support.h"
#include "tests/unit/test.h"

static sinter_text messages;

static sinter_diag listen(void) {
    sinter_text_deinit(&messages);
    return (sinter_diag){.handler = sinter_diag_text_handler, .user = &messages};
}

static sinter_module *parse(const char *text) {
    sinter_diag diag = listen();
    sinter_module *module = sinter_parse_module("test.sir", text, strlen(text), &diag);
    if (!module) printf("%s", messages.data);
    return module;
}

static char *print(sinter_module *module) {
    sinter_text text = {0};
    sinter_print_module(module, NULL, &text);
    return text.data;
}

static const char example[] =
    "module \"m\" {\n"
    "  metadata \"k\" = \"v\"\n"
    "  dim N = 1..64 multiple 2\n"
    "  graph (%x: f32[N,3]) {\n"
    "    %a = relu(%x) : f32[N,3] loc(\"here\")\n"
    "    %b = add(%a, %a) : f32[N,3]\n"
    "    %s = dim_vector() {dims = [2*N, 3]} : i64[2]\n"
    "    %w = constant() {value = tensor<f32[3], [1.0, 2.0, 3.0]>} : f32[3]\n"
    "    %0 = group(%b) ({ (%1: f32[N,3])\n"
    "      %2 = exp(%1) : f32[N,3]\n"
    "      yield(%2)\n"
    "    }) : f32[N,3]\n"
    "    yield(%0, %w, %s)\n"
    "  }\n"
    "}\n";

static void test_uses_and_order(void) {
    sinter_module *module = parse(example);
    sinter_value x = find(module, "x"), a = find(module, "a"), b = find(module, "b");
    CHECK_INT_EQ(sinter_value_get(module, a)->uses.count, 2);
    sinter_node add = node_of(module, "b");
    sinter_node_set_operand(module, add, 0, x);
    CHECK_INT_EQ(sinter_value_get(module, a)->uses.count, 1);
    CHECK_INT_EQ(sinter_value_get(module, x)->uses.count, 2);
    sinter_value_replace_uses(module, a, x);
    CHECK_INT_EQ(sinter_value_get(module, a)->uses.count, 0);
    CHECK_INT_EQ(sinter_node_operand(module, add, 1), x);
    CHECK_INT_EQ(sinter_node_operand(module, add, 2), 0); /* past the end */
    sinter_node relu = node_of(module, "a");
    sinter_node_erase(module, relu);
    CHECK(sinter_node_get(module, relu)->erased && sinter_value_get(module, a)->erased);
    CHECK_INT_EQ(sinter_region_get(module, sinter_module_main(module))->first, add);
    sinter_node_move_before(module, node_of(module, "w"), add);
    CHECK_INT_EQ(sinter_node_get(module, add)->previous, node_of(module, "w"));
    CHECK(sinter_verify_module(module, NULL));
    CHECK_STRING_EQ(sinter_value_label(module, b), "%b");
    CHECK_STRING_EQ(sinter_value_label(module, a), "%<erased>");
    CHECK_STRING_EQ(sinter_value_label(module, sinter_module_output(module, 0)), "%0");
    sinter_module_destroy(module);
}

/* Unnamed values are numbered in order, also after what changes the order; many of them are labelled at once. */
static void test_labels(void) {
    enum { COUNT = 30000 };
    sinter_module *module = sinter_module_create("labels");
    sinter_region main = sinter_module_main(module);
    sinter_type type = {.kind = SINTER_TYPE_TENSOR, .dtype = SINTER_DTYPE_f32};
    sinter_value x = sinter_region_add_argument(module, main, type, NULL), last = x;
    sinter_node first = 0, node = 0;
    for (int i = 0; i < COUNT; i++) {
        sinter_node_spec spec = {
            .op = SINTER_OP_relu, .operands = &last, .operand_count = 1, .result_count = 1};
        node = sinter_node_add(module, main, 0, &spec);
        last = sinter_node_result(module, node, 0);
        if (!first) first = node;
    }
    CHECK_STRING_EQ(sinter_value_label(module, x), "%0");
    for (sinter_node at = first; at; at = sinter_node_get(module, at)->next)
        CHECK(sinter_value_label(module, sinter_node_result(module, at, 0))[0] == '%');
    CHECK_STRING_EQ(sinter_value_label(module, last), "%30000");
    sinter_value_set_name(module, x, "x");
    CHECK_STRING_EQ(sinter_value_label(module, last), "%29999");
    sinter_node_move_before(module, node, first);
    CHECK_STRING_EQ(sinter_value_label(module, last), "%0");
    sinter_node_erase(module, node);
    CHECK_STRING_EQ(sinter_value_label(module, sinter_node_result(module, first, 0)), "%0");
    sinter_module_destroy(module);
}

static void test_names(void) {
    sinter_module *module = parse(example);
    sinter_value a = find(module, "a"), b = find(module, "b");
    sinter_value_set_name(module, a, "b");
    CHECK_STRING_EQ(sinter_value_get(module, a)->name, "b_1");
    sinter_value_set_name(module, b, NULL);
    sinter_value_set_name(module, a, "b");
    CHECK_STRING_EQ(sinter_value_get(module, a)->name, "b");
    CHECK_STRING_EQ(sinter_module_input_name(module, 0), "x");
    CHECK_STRING_EQ(sinter_module_output_name(module, 0), "output_0");
    CHECK_STRING_EQ(sinter_module_output_name(module, 1), "w");
    CHECK_STRING_EQ(sinter_node_where(module, sinter_value_get(module, a)->definition), "here");
    CHECK_STRING_EQ(sinter_node_where(module, node_of(module, "w")),
                    "module 'm': node %w (constant)");
    sinter_module_destroy(module);
}

static void test_attributes(void) {
    sinter_module *module = parse("module \"m\" { graph (%x: f32[2,3,4,5]) {\n"
                                  "  %a = leaky_relu(%x)  %b = leaky_relu(%x) {alpha = 0.5}\n"
                                  "  %c = transpose(%x) {perm = [3,2,1,0]}  yield(%a, %b, %c) } }");
    sinter_node a = node_of(module, "a"), b = node_of(module, "b"), c = node_of(module, "c");
    CHECK_DOUBLE_EQ(sinter_node_get_float(module, a, "alpha", 9), (double)0.01f);
    CHECK_DOUBLE_EQ(sinter_node_get_float(module, b, "alpha", 9), 0.5);
    CHECK_DOUBLE_EQ(sinter_node_get_float(module, b, "beta", 9), 9);
    const int64_t *perm = NULL;
    CHECK_INT_EQ(sinter_node_get_ints(module, c, "perm", &perm), 4);
    CHECK_INT_EQ(perm[0], 3);
    CHECK(sinter_node_find_attr(module, a, "nonsense") == NULL);
    sinter_attr zero = sinter_attr_float("alpha", 0.0), minus = sinter_attr_float("alpha", -0.0);
    CHECK(sinter_attr_equal(&zero, &zero) && !sinter_attr_equal(&zero, &minus));
    sinter_node_set_attr(module, a, &zero);
    CHECK_DOUBLE_EQ(sinter_node_get_float(module, a, "alpha", 9), 0.0);
    CHECK_INT_EQ(sinter_node_get(module, a)->attribute_count, 1);
    sinter_module_destroy(module);
}

static void test_build(void) {
    sinter_module *module =
        parse("module \"m\" { dim N = 1..8 graph (%x: f32[N,4]) { yield(%x) } }");
    sinter_diag diag = listen();
    sinter_region main = sinter_module_main(module);
    sinter_builder builder = {.module = module,
                              .region = main,
                              .before = sinter_region_get(module, main)->last,
                              .location = "built",
                              .diag = &diag};
    sinter_value x = find(module, "x");
    sinter_value two = sinter_build_scalar(&builder, SINTER_DTYPE_f16, 2.5);
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(sinter_value_constant(module, two), 0), 2.5);
    CHECK_INT_EQ(sinter_build_cast(&builder, x, SINTER_DTYPE_f32), x);
    sinter_value flat = sinter_build_reshape(&builder, x, (int64_t[]){-1}, 1);
    CHECK_INT_EQ(sinter_value_type(module, flat)->rank, 1);
    CHECK_STRING_EQ(sinter_node_get(module, sinter_value_get(module, flat)->definition)->location,
                    "built");
    const sinter_dim *dims = sinter_value_type(module, x)->dims;
    sinter_value vector = sinter_build_dims(&builder, dims, 2);
    int64_t items[4];
    size_t count = 0;
    CHECK(!sinter_value_known_ints(module, vector, items, 4, &count));
    const sinter_dim *known = NULL;
    CHECK(sinter_value_known_dims(module, vector, &known, &count) && count == 2);
    CHECK_INT_EQ(known[0], dims[0]);
    sinter_value ints = sinter_build_dims(&builder, dims + 1, 1);
    CHECK(sinter_value_known_ints(module, ints, items, 4, &count) && items[0] == 4);
    /* A node that can't be leaves no trace. */
    uint32_t uses = (uint32_t)sinter_value_get(module, x)->uses.count;
    CHECK_INT_EQ(sinter_build_binary(&builder, SINTER_OP_add, x, ints), 0);
    CHECK_INT_EQ(sinter_build(&builder, SINTER_OP_add, &x, 1, NULL, 0), 0);
    CHECK_INT_EQ(sinter_build_scalar(&builder, SINTER_DTYPE_string, 1), 0);
    CHECK_INT_EQ(diag.error_count, 3);
    CHECK_INT_EQ(sinter_value_get(module, x)->uses.count, uses);
    CHECK(sinter_verify_module(module, NULL));
    sinter_module_destroy(module);
}

static void test_clone(void) {
    sinter_module *module = parse(example);
    sinter_module *copy = sinter_module_clone(module);
    char *before = print(module), *cloned = print(copy);
    CHECK_STRING_EQ(before, example);
    CHECK_STRING_EQ(cloned, example);
    CHECK(sinter_value_constant(module, find(module, "w"))->data ==
          sinter_value_constant(copy, find(copy, "w"))->data);
    sinter_value_set_name(copy, find(copy, "a"), "other");
    sinter_node_set_operand(copy, node_of(copy, "b"), 0, find(copy, "x"));
    sinter_value argument = sinter_region_add_argument(
        copy, sinter_module_main(copy), *sinter_value_type(copy, find(copy, "x")), "second");
    CHECK_INT_EQ(sinter_module_input(copy, 1), argument);
    CHECK(sinter_verify_module(copy, NULL));
    char *after = print(module);
    CHECK_STRING_EQ(after, before); /* the original is untouched */
    sinter_module_destroy(module);
    char *alone = print(copy); /* and not needed */
    CHECK(strstr(alone, "%second: f32[N,3]") != NULL);
    sinter_module_destroy(copy);
    sinter_heap_free(before), sinter_heap_free(cloned), sinter_heap_free(after);
    sinter_heap_free(alone);
}

/* The verifier finds `label` after `damage`. */
static void check_damage(void (*damage)(sinter_module *module), const char *label) {
    sinter_module *module = parse(example);
    CHECK(sinter_verify_module(module, NULL));
    damage(module);
    sinter_diag diag = listen();
    CHECK(!sinter_verify_module(module, &diag));
    if (!CHECK(messages.data && strstr(messages.data, label)))
        printf("  %s not in: %s\n", label, messages.data);
    sinter_module_destroy(module);
}

static void move_use_before_definition(sinter_module *module) {
    sinter_node_move_before(module, node_of(module, "b"), node_of(module, "a"));
}

static void break_uses(sinter_module *module) {
    sinter_value_info *info = (sinter_value_info *)sinter_value_get(module, find(module, "a"));
    info->uses.items[0].operand = 7;
}

static void break_list(sinter_module *module) {
    sinter_node_info *info = (sinter_node_info *)sinter_node_get(module, node_of(module, "b"));
    info->previous = 0;
}

static void drop_yield(sinter_module *module) {
    sinter_node_erase(module, sinter_region_get(module, sinter_module_main(module))->last);
}

static void wrong_type(sinter_module *module) {
    sinter_value_set_type(module, find(module, "a"), *sinter_value_type(module, find(module, "w")));
}

static void same_name(sinter_module *module) {
    sinter_value_info *info = (sinter_value_info *)sinter_value_get(module, find(module, "a"));
    info->name = "b";
}

static void no_type(sinter_module *module) {
    sinter_value_set_type(module, find(module, "b"), (sinter_type){0});
}

static void reach_into_group(sinter_module *module) {
    sinter_node group = sinter_value_get(module, sinter_module_output(module, 0))->definition;
    sinter_region region = sinter_node_get(module, group)->regions[0];
    sinter_node_set_operand(module, sinter_region_get(module, region)->first, 0, find(module, "a"));
}

static void change_group(sinter_module *module) {
    sinter_node group = sinter_value_get(module, sinter_module_output(module, 0))->definition;
    sinter_node_set_operand(module, group, 0, find(module, "w"));
}

static void break_symbol(sinter_module *module) {
    sinter_dim_table *table = sinter_module_dims(module);
    sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, 0));
    symbol->origin = SINTER_DIM_ORIGIN_NODE;
    symbol->value = find(module, "s");
    sinter_node node = node_of(module, "s");
    sinter_node_set_operand(module, sinter_region_get(module, sinter_module_main(module))->last, 2,
                            find(module, "w"));
    sinter_node_erase(module, node);
}

static void no_tensor(sinter_module *module) {
    static sinter_tensor none = {.kind = SINTER_TYPE_SEQUENCE};
    sinter_attr attr = sinter_attr_tensor("value", &none);
    sinter_node_set_attr(module, node_of(module, "w"), &attr);
}

static void unknown_attribute(sinter_module *module) {
    sinter_attr attr = sinter_attr_int("nonsense", 1);
    sinter_node_set_attr(module, node_of(module, "a"), &attr);
}

static void wrong_kind(sinter_module *module) {
    sinter_attr attr = sinter_attr_int("value", 1);
    sinter_node_set_attr(module, node_of(module, "w"), &attr);
}

static void test_verify(void) {
    check_damage(move_use_before_definition, "[graph_c1]");
    check_damage(break_uses, "[graph_c2]");
    check_damage(break_list, "[graph_c2]");
    check_damage(unknown_attribute, "[graph_c5]");
    check_damage(wrong_kind, "[graph_c6]");
    check_damage(drop_yield, "[graph_c9]");
    check_damage(wrong_type, "[graph_c10]");
    check_damage(same_name, "[graph_c12]");
    check_damage(no_type, "[graph_c13]");
    check_damage(reach_into_group, "[graph_c14]");
    check_damage(change_group, "[graph_c14]");
    check_damage(break_symbol, "[graph_c15]");
    check_damage(no_tensor, "[graph_c16]");
}

int main(void) {
    test_uses_and_order();
    test_labels();
    test_names();
    test_attributes();
    test_build();
    test_clone();
    test_verify();
    sinter_text_deinit(&messages);
    return test_finish();
}
