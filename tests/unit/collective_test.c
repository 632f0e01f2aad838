/* Collectives in the evaluator: what each rank has after each of them; programs of ranks that do not fit together. */
#include "ir/eval.h"
#include "ir/mesh.h"
#include "ir/parse.h"
#include "tests/unit/test.h"

enum { RANKS = 6, OUTPUTS = 9 };

static const char *const text =
    "module \"m\" {\n"
    "  mesh a=2, b=3\n"
    "  graph (%x: f32[2,2], %w: f32[5]) {\n"
    "    %begun = all_reduce(%x) {over = [\"b\"]}\n"
    "    %most = all_reduce(%x) {over = [\"a\", \"b\"], reduction = \"max\"}\n"
    "    %part = shard_slice(%w) {over = [\"b\"], axis = 0}\n"
    "    %sum = collective_wait(%begun, %x)\n"
    "    %all = all_gather(%part) {over = [\"b\"], axis = 0, size = 5}\n"
    "    %scattered = reduce_scatter(%w) {over = [\"a\"], axis = 0}\n"
    "    %turned = all_to_all(%x) {over = [\"a\"], split_axis = 1, concat_axis = 0, size = 3}\n"
    "    %masked = shard_mask(%part) {over = [\"b\"], axis = 0, size = 5, fill = \"one\"}\n"
    "    %first = shard_first(%w) {over = [\"a\"]}\n"
    "    %moved = collective_permute(%w) {pairs = [5, 0, 0, 1]}\n"
    "    %window = shard_window(%part) {over = [\"b\"], axis = 0, size = 5, windows = 5, "
    "stride = 1, reach = 3, before = 1, fill = \"one\"}\n"
    "    yield(%sum, %most, %all, %scattered, %turned, %masked, %first, %moved, %window)\n"
    "  }\n"
    "}\n";

static sinter_module *parse(const char *source) {
    sinter_module *module = sinter_parse_module("m", source, strlen(source), NULL);
    CHECK(module != NULL);
    return module;
}

/* x[i] = 10 * rank + i, w[i] = rank + i */
static void fill(sinter_tensor *inputs, int rank) {
    int64_t x[] = {2, 2}, w[] = {5};
    sinter_tensor_create(&inputs[0], SINTER_DTYPE_f32, 2, x, NULL);
    sinter_tensor_create(&inputs[1], SINTER_DTYPE_f32, 1, w, NULL);
    for (int i = 0; i < 4; i++) sinter_tensor_set_double(&inputs[0], i, 10 * rank + i);
    for (int i = 0; i < 5; i++) sinter_tensor_set_double(&inputs[1], i, rank + i);
}

static void check(const sinter_tensor *tensor, int count, const double *expected) {
    if (!CHECK_INT_EQ(sinter_tensor_count(tensor), count)) return;
    for (int i = 0; i < count; i++)
        CHECK_DOUBLE_EQ(sinter_tensor_get_double(tensor, i), expected[i]);
}

static void check_outputs(sinter_tensor outputs[RANKS][OUTPUTS]) {
    check(&outputs[1][0], 4, (double[]){30, 33, 36, 39});     /* 0 + 10 + 20 */
    check(&outputs[5][0], 4, (double[]){120, 123, 126, 129}); /* 30 + 40 + 50 */
    check(&outputs[2][1], 4, (double[]){50, 51, 52, 53});
    check(&outputs[0][2], 5, (double[]){0, 1, 3, 4, 6}); /* two each of ranks 0, 1, one of 2 */
    check(&outputs[4][2], 5, (double[]){3, 4, 6, 7, 9});
    check(&outputs[0][3], 3, (double[]){3, 5, 7});  /* ranks 0 and 3 */
    check(&outputs[3][3], 3, (double[]){9, 11, 0}); /* the tail is padding */
    check(&outputs[0][4], 3, (double[]){0, 2, 30}); /* column 0 of three rows */
    check(&outputs[3][4], 3, (double[]){1, 3, 31});
    check(&outputs[2][5], 2, (double[]){6, 1});
    check(&outputs[1][6], 5, (double[]){1, 2, 3, 4, 5});
    check(&outputs[4][6], 5, (double[]){0, 0, 0, 0, 0});
    check(&outputs[0][7], 5, (double[]){5, 6, 7, 8, 9});
    check(&outputs[1][7], 5, (double[]){0, 1, 2, 3, 4});
    check(&outputs[2][7], 5, (double[]){0, 0, 0, 0, 0});
    check(&outputs[0][8], 4, (double[]){1, 0, 1, 3}); /* of 0 1 | 3 4 | 6 */
    check(&outputs[1][8], 4, (double[]){1, 3, 4, 6});
    check(&outputs[2][8], 4, (double[]){4, 6, 1, 1});
}

typedef struct session {
    sinter_module *modules[RANKS];
    sinter_tensor inputs[RANKS][2], outputs[RANKS][OUTPUTS];
    sinter_text messages;
} session;

static bool run(session *s, uint32_t ranks, size_t input_count, size_t output_count) {
    const sinter_tensor *given[RANKS];
    sinter_tensor *taken[RANKS];
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &s->messages};
    for (int r = 0; r < RANKS; r++) {
        given[r] = s->inputs[r];
        taken[r] = s->outputs[r];
    }
    return sinter_eval_ranks(s->modules, ranks, given, input_count, taken, output_count, &diag);
}

static void clear_outputs(session *s) {
    for (int r = 0; r < RANKS; r++) sinter_tensors_deinit(s->outputs[r], OUTPUTS);
}

static void finish(session *s) {
    for (int r = 0; r < RANKS; r++) sinter_tensors_deinit(s->inputs[r], 2);
    clear_outputs(s);
    sinter_text_deinit(&s->messages);
}

static void test_collectives(void) {
    static session s;
    sinter_module *module = parse(text);
    for (int r = 0; r < RANKS; r++) {
        s.modules[r] = module;
        fill(s.inputs[r], r);
    }
    if (CHECK(run(&s, RANKS, 2, OUTPUTS)))
        check_outputs(s.outputs);
    else
        puts(s.messages.data);
    clear_outputs(&s);
    /* fewer ranks than the mesh has */
    CHECK(!run(&s, 2, 2, OUTPUTS));
    CHECK(strstr(s.messages.data, "2 ranks for a mesh of 6") != NULL);
    finish(&s);
    sinter_module_destroy(module);
}

/* (a + b) + c and a + (b + c) differ; the tree takes neighbours first. */
static void test_order(void) {
    static session s;
    static const double terms[] = {16777216, 1, 1, 1};
    sinter_module *module =
        parse("module \"m\" {\n  mesh a=4\n  graph (%x: f32[1]) {\n"
              "    %y = all_reduce(%x) {over = [\"a\"]}\n    yield(%y)\n  }\n}\n");
    int64_t one = 1;
    for (int r = 0; r < 4; r++) {
        s.modules[r] = module;
        sinter_tensor_create(&s.inputs[r][0], SINTER_DTYPE_f32, 1, &one, NULL);
        sinter_tensor_set_double(&s.inputs[r][0], 0, terms[r]);
    }
    if (CHECK(run(&s, 4, 1, 1)))
        check(&s.outputs[3][0], 1, (double[]){16777218}); /* (2^24 + 1) + (1 + 1) */
    finish(&s);
    sinter_module_destroy(module);
}

static void test_mismatch(void) {
    static session s;
    sinter_module *module = parse(text), *other = parse("module \"other\" {\n  mesh a=2, b=3\n"
                                                        "  graph (%x: f32[2,2], %w: f32[5]) {\n"
                                                        "    yield(%x)\n  }\n}\n");
    for (int r = 0; r < RANKS; r++) {
        s.modules[r] = r == 4 ? other : module;
        fill(s.inputs[r], r);
    }
    CHECK(!run(&s, RANKS, 2, OUTPUTS));
    CHECK(s.messages.data && strstr(s.messages.data, "rank 4 is at the end, rank 0 at all_reduce"));
    /* alone there is nobody to exchange with */
    sinter_diag silent = {0};
    CHECK(!sinter_eval_module(module, s.inputs[0], 2, s.outputs[0], OUTPUTS, &silent));
    CHECK_INT_EQ((int64_t)silent.error_count, 1);
    finish(&s);
    sinter_module_destroy(module);
    sinter_module_destroy(other);
}

int main(void) {
    test_collectives();
    test_order();
    test_mismatch();
    return test_finish();
}
