/* The reference evaluator on small graphs in text form: results, symbols bound by inputs and by data, regions and what
 * they capture, observers, and bad data at run time, which must be an error that names the node. Ops are tested one by
 * one in tests/ops/ and by the ONNX suite. */
#include "ir/eval.h"
#include "ir/parse.h"
#include "tests/unit/test.h"

enum { MAX_VALUES = 8 };

static void append_tensor(sinter_text *text, const sinter_tensor *tensor) {
    sinter_text_format(text, "%s%s[", text->size ? "; " : "",
                       sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    sinter_text_append_string(text, "]");
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++) {
        sinter_text_append_string(text, " ");
        if (tensor->dtype == SINTER_DTYPE_string)
            sinter_text_quote(text, sinter_tensor_get_string(tensor, i));
        else if (sinter_dtype_is_float(tensor->dtype))
            sinter_text_float(text, (float)sinter_tensor_get_double(tensor, i));
        else
            sinter_text_format(text, "%lld", (long long)sinter_tensor_get_int(tensor, i));
    }
}

static sinter_module *parse(const char *text, sinter_diag *diag) {
    sinter_text all = {0};
    sinter_text_format(&all, "module \"t\" { %s }", text);
    sinter_module *module = sinter_parse_module("t.sir", all.data, all.size, diag);
    sinter_text_deinit(&all);
    return module;
}

static size_t output_count(const sinter_module *module) {
    sinter_node yield = sinter_region_get(module, sinter_module_main(module))->last;
    return sinter_node_get(module, yield)->operand_count;
}

/* "tensor<...> tensor<...>": values, read as a graph of constants. */
static size_t read_values(const char *list, sinter_tensor *out_values, sinter_diag *diag) {
    sinter_text text = {0};
    size_t count = 0;
    sinter_text_append_string(&text, "graph () {");
    for (const char *at = list; (at = strstr(at, "tensor<")); count++) {
        const char *end = strchr(at, '>');
        sinter_text_format(&text, "%%v%zu = constant() {value = %.*s} ", count, (int)(end - at + 1),
                           at);
        at = end;
    }
    sinter_text_append_string(&text, "yield(");
    for (size_t i = 0; i < count; i++) sinter_text_format(&text, "%s%%v%zu", i ? ", " : "", i);
    sinter_text_append_string(&text, ") }");
    sinter_module *module = parse(text.data, diag);
    CHECK(module && sinter_eval_module(module, NULL, 0, out_values, count, diag));
    sinter_module_destroy(module);
    sinter_text_deinit(&text);
    return count;
}

/* Runs the graph; the results, or the errors, as text. */
static void run(const char *graph, const char *values, sinter_text *out_text) {
    sinter_text errors = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &errors};
    sinter_tensor inputs[MAX_VALUES] = {0}, outputs[MAX_VALUES] = {0};
    size_t input_count = read_values(values, inputs, &diag);
    sinter_module *module = parse(graph, &diag);
    CHECK(module != NULL);
    size_t count = module ? output_count(module) : 0;
    if (module && sinter_eval_module(module, inputs, input_count, outputs, count, &diag))
        for (size_t i = 0; i < count; i++) append_tensor(out_text, &outputs[i]);
    else
        sinter_text_format(out_text, "%s", errors.data ? errors.data : "failed without a message");
    for (size_t i = 0; i < MAX_VALUES; i++) {
        sinter_tensor_deinit(&inputs[i]);
        sinter_tensor_deinit(&outputs[i]);
    }
    sinter_module_destroy(module);
    sinter_text_deinit(&errors);
}

static void check_result(const char *graph, const char *values, const char *expected) {
    sinter_text text = {0};
    run(graph, values, &text);
    CHECK_STRING_EQ(text.data, expected);
    sinter_text_deinit(&text);
}

/* The run must fail and say `expected`. */
static void check_error(const char *graph, const char *values, const char *expected) {
    sinter_text text = {0};
    run(graph, values, &text);
    if (!CHECK(text.data && strstr(text.data, "error: ") && strstr(text.data, expected)))
        printf("  got      \"%s\"\n  expected \"%s\"\n", text.data, expected);
    sinter_text_deinit(&text);
}

static void test_results(void) {
    check_result("graph (%a: f32[2,1], %b: f32[3]) { %c = add(%a, %b) yield(%c, %a) }",
                 "tensor<f32[2,1], [1, 2]> tensor<f32[3], [10, 20, 30]>",
                 "f32[2,3] 11.0 21.0 31.0 12.0 22.0 32.0; f32[2,1] 1.0 2.0");
    check_result("graph (%a: i8[2]) { %c = mul(%a, %a) yield(%c) }", "tensor<i8[2], [100, -3]>",
                 "i8[2] 16 9");
    check_result("graph (%a: f32[2,2], %i: i64[2]) { %c = gather(%a, %i) {axis = 1} yield(%c) }",
                 "tensor<f32[2,2], [1, 2, 3, 4]> tensor<i64[2], [-1, 0]>",
                 "f32[2,2] 2.0 1.0 4.0 3.0");
    check_result("graph (%a: f32[0,3]) { %c = reduce_max(%a, _) {keepdims = 0} yield(%c) }",
                 "tensor<f32[0,3], []>", "f32[] -inf");
    check_result("graph (%a: f32[3]) { %c = cast(%a) {to = string} yield(%c) }",
                 "tensor<f32[3], [1, 0.00001, nan]>", "string[3] \"1.0\" \"1e-05\" \"nan\"");
    check_result("graph (%a: f32[4]) { %c = cast(%a) {to = u4} yield(%c) }",
                 "tensor<f32[4], [0, 1, 7, 15]>", "u4[4] 0 1 7 15");
    check_result("graph (%a: f32[4]) { %c = arg_max(%a) %d = arg_min(%a) {select_last_index = 1} "
                 "yield(%c, %d) }",
                 "tensor<f32[4], [5, nan, 7, nan]>", "i64[1] 1; i64[1] 3"); /* as in NumPy */
}

static void test_symbols(void) {
    check_result("graph (%a: f32[N,2]) { %s = dim_vector() {dims = [N * 2, N + 1]} yield(%s) }",
                 "tensor<f32[3,2], [1, 2, 3, 4, 5, 6]>", "i64[2] 6 4");
    check_error("graph (%a: f32[N], %b: f32[N]) { %c = add(%a, %b) yield(%c) }",
                "tensor<f32[2], [1, 2]> tensor<f32[1], [1]>", "%b is f32[1], expected f32[N]");
    check_error("dim N = 2..8 multiple 2 graph (%a: f32[N]) { %c = abs(%a) yield(%c) }",
                "tensor<f32[3], [1, 2, 3]>", "dim N is 3, expected a multiple of 2 from 2 to 8");
    check_error("graph (%a: f32[2]) { %c = abs(%a) yield(%c) }", "tensor<i32[2], [1, 2]>",
                "%a is i32[2], expected f32[2]");
    check_error("graph (%a: f32[2]) { %c = abs(%a) yield(%c) }", "", "1 inputs expected, 0 given");
    /* compress gives its result a dim that only the data tells */
    check_result("graph (%a: f32[3], %m: bool[3]) { %k = compress(%a, %m) {axis = 0} %s = "
                 "shape(%k) yield(%s, %k) }",
                 "tensor<f32[3], [1, 0, 2]> tensor<bool[3], [true, false, true]>",
                 "i64[1] 2; f32[2] 1.0 2.0");
}

static void test_regions(void) {
    const char *graph = "graph (%c: bool[], %x: f32[2]) { %n = neg(%x) "
                        "%y = if(%c) ({ yield(%n) }, { %t = add(%n, %n) yield(%t) }) yield(%y) }";
    check_result(graph, "tensor<bool[], [true]> tensor<f32[2], [1, 2]>", "f32[2] -1.0 -2.0");
    check_result(graph, "tensor<bool[], [false]> tensor<f32[2], [1, 2]>", "f32[2] -2.0 -4.0");
    check_result("graph (%x: f32[2]) { %y = group(%x) ({ (%a: f32[2]) %b = neg(%a) %c = neg(%b) "
                 "yield(%c) }) "
                 "yield(%y) }",
                 "tensor<f32[2], [0, 1]>", "f32[2] 0.0 1.0");
}

static void test_bad_data(void) {
    static const struct {
        const char *graph, *values, *error;
    } cases[] = {
        {"graph (%a: f32[2], %i: i64[1]) { %c = gather(%a, %i) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1], [2]>",
         "gather: index 2 is out of range for 2 elements"},
        {"graph (%a: f32[2], %i: i64[1]) { %c = gather_elements(%a, %i) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1], [-3]>",
         "gather_elements: index -3 is out of range"},
        {"graph (%a: f32[2], %i: i64[1,1], %u: f32[1]) { %c = scatter_nd(%a, %i, %u) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1,1], [9223372036854775807]> tensor<f32[1], [1]>",
         "scatter_nd: index"},
        {"graph (%a: f32[2], %s: i64[2]) { %c = reshape(%a, %s) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[2], [3, -1]>", "reshape: 2 elements do not fit"},
        {"graph (%a: f32[2], %s: i64[2]) { %c = reshape(%a, %s) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[2], [4611686018427387904, 4]>",
         "reshape: shape is negative or too large"},
        {"graph (%s: i64[2]) { %c = constant_of_shape(%s) yield(%c) }",
         "tensor<i64[2], [4611686018427387904, 4611686018427387904]>", "constant_of_shape: "},
        {"graph (%s: i64[1]) { %c = constant_of_shape(%s) yield(%c) }", "tensor<i64[1], [-1]>",
         "constant_of_shape: dim 0 would be -1"},
        {"graph (%a: f32[2], %s: i64[1], %t: i64[1]) { %c = slice(%a, %s, %s, %s, %t) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1], [0]> tensor<i64[1], [0]>", "slice: a step is 0"},
        {"graph (%a: f32[2], %r: i64[1]) { %c = tile(%a, %r) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1], [9223372036854775807]>",
         "tile: axis 0 cannot be repeated"},
        {"graph (%a: f32[2], %s: i64[1]) { %c = expand(%a, %s) yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[1], [3]>", "expand: f32[2] does not broadcast"},
        {"graph (%a: f32[2], %p: i64[2]) { %c = pad(%a, %p) {mode = \"edge\"} yield(%c) }",
         "tensor<f32[2], [1, 2]> tensor<i64[2], [-3, 4]>", "pad: pads -3 and 4 do not fit"},
        {"graph (%a: i64[], %b: i64[], %d: i64[]) { %c = range(%a, %b, %d) yield(%c) }",
         "tensor<i64[], [0]> tensor<i64[], [3]> tensor<i64[], [0]>", "range: delta is 0"},
        {"graph (%a: i64[], %b: i64[], %d: i64[]) { %c = range(%a, %b, %d) yield(%c) }",
         "tensor<i64[], [-9223372036854775807]> tensor<i64[], [9223372036854775807]> tensor<i64[], "
         "[1]>",
         "range: "},
        {"graph (%a: string[1]) { %c = cast(%a) {to = f32} yield(%c) }",
         "tensor<string[1], [\"1x\"]>", "cast: element 0 \"1x\" is no number"},
        {"graph (%x: f32[1,1,2,2], %r: f32[0], %s: f32[4]) { %c = resize(%x, %r, %s) yield(%c) }",
         "tensor<f32[1,1,2,2], [1, 2, 3, 4]> tensor<f32[0], []> tensor<f32[4], [1, 1, nan, 1]>",
         "resize: scale nan"},
        {"graph (%a: f32[2,2], %l: i64[2]) { %c = reverse_sequence(%a, %l) yield(%c) }",
         "tensor<f32[2,2], [1, 2, 3, 4]> tensor<i64[2], [1, 3]>",
         "reverse_sequence: a length is 3"},
        {"graph (%a: f32[4], %s: i64[2]) { %b, %c = split(%a, %s) yield(%b, %c) }",
         "tensor<f32[4], [1, 2, 3, 4]> tensor<i64[2], [9223372036854775807, 1]>",
         "split: the pieces do not add up"},
        {"graph (%i: i64[1], %d: i64[], %v: f32[2]) { %c = one_hot(%i, %d, %v) yield(%c) }",
         "tensor<i64[1], [1]> tensor<i64[], [-1]> tensor<f32[2], [0, 1]>", "one_hot: depth is -1"},
        {"graph (%a: f32[0], %b: f32[0]) { %c = arg_max(%a) yield(%c) }",
         "tensor<f32[0], []> tensor<f32[0], []>", "arg_max: axis 0 has no elements"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_error(cases[i].graph, cases[i].values, cases[i].error);
}

static void test_node(void) {
    sinter_text errors = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &errors};
    sinter_module *module =
        parse("graph (%x: f32[1]) { %a = neg(%x) %b = neg(%a) yield(%b) }", &diag);
    sinter_tensor x = {0}, y = {0}, folded = {0};
    int64_t dims[1] = {1};
    if (!CHECK(module && sinter_tensor_create(&x, SINTER_DTYPE_f32, 1, dims, &diag))) return;
    sinter_tensor_set_double(&x, 0, 3);
    CHECK(sinter_eval_module(module, &x, 1, &y, 1, &diag));
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&y, 0), 3);

    sinter_node first = sinter_region_get(module, sinter_module_main(module))->first;
    const sinter_tensor *operands[1] = {&x};
    CHECK(sinter_eval_node(module, first, operands, &folded, &diag));
    CHECK_DOUBLE_EQ(sinter_tensor_get_double(&folded, 0), -3);
    CHECK_INT_EQ(diag.error_count, 0);
    sinter_tensor_deinit(&x);
    sinter_tensor_deinit(&y);
    sinter_tensor_deinit(&folded);
    sinter_module_destroy(module);
    sinter_text_deinit(&errors);
}

int main(void) {
    test_results();
    test_symbols();
    test_regions();
    test_bad_data();
    test_node();
    return test_finish();
}
