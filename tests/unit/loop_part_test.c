/* Parts of a function: which statements belong together, that a part taken out and put back is what it was, also with what was made
 * in between, and that a kernel of many nests is scheduled at a cost that grows with their number and no faster. */
#include "codegen/compile.h"
#include "codegen/loops/part.h"
#include "codegen/schedule/schedule.h"
#include "tests/unit/test.h"

static const char sharing[] =
    "kernel @sharing(%x: f32[N,8] in, %y: f32[N,8] out, N: i64 range(1, 64)) {\n"
    "  for i in 0..N {\n"
    "    for j in 0..8 {\n"
    "      %y[i,j] = %x[i,j] + 1.0:f32\n"
    "    }\n"
    "  }\n"
    "  let n: i64 = N / 2\n"
    "  alloc %a: f32[8] stack\n"
    "  for j_1 in 0..8 {\n"
    "    %a[j_1] = %x[0,j_1]\n"
    "  }\n"
    "  alloc %b: f32[8] stack\n"
    "  for i_1 in 0..n {\n"
    "    for j_2 in 0..8 {\n"
    "      %y[i_1,j_2] = %y[i_1,j_2] * %a[j_2]\n"
    "    }\n"
    "  }\n"
    "  for j_3 in 0..8 {\n"
    "    %b[j_3] = %y[0,j_3]\n"
    "  }\n"
    "  for j_4 in 0..8 {\n"
    "    %y[0,j_4] = %b[j_4] + %b[7 - j_4]\n"
    "  }\n"
    "  for j_5 in 0..8 {\n"
    "    let twice: f32 = %y[0,j_5] + %y[0,j_5]\n"
    "    %y[0,j_5] = twice * twice\n"
    "  }\n"
    "}\n";

static sinter_loop_program *parse(const char *text, size_t size, sinter_diag *diag) {
    sinter_loop_program *program = sinter_loop_parse("parts", text, size, diag);
    return CHECK(program) ? program : NULL;
}

static void test_taking(void) {
    sinter_text messages = {0}, text = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_arena scratch;
    sinter_loop_program *program = parse(sharing, sizeof sharing - 1, &diag);
    if (!program) return;
    sinter_arena_init(&scratch);
    sinter_loop_function *kernel = program->kernels.items[0];
    sinter_loop_part_lengths lengths;
    sinter_loop_find_parts(&scratch, kernel, &lengths);
    static const size_t expected[] = {1, 7, 1}; /* what %b needs begins within what %a needs */
    if (CHECK_INT_EQ(lengths.count, 3))
        for (size_t i = 0; i < 3; i++) CHECK_INT_EQ(lengths.items[i], expected[i]);
    sinter_loop_parts parts;
    sinter_loop_parts_init(&parts, program, kernel, &scratch);
    sinter_loop_stmt **link = &kernel->body;
    for (size_t i = 0; i < lengths.count; i++) {
        sinter_loop_part part;
        sinter_loop_take_part(&parts, link, lengths.items[i], &part);
        CHECK(part.function->vars.count < kernel->vars.count);
        CHECK(part.function->buffer_parameters.count <= 2);
        link = sinter_loop_put_back(&parts, &part);
    }
    CHECK(!*link);
    sinter_loop_print(program, &text);
    CHECK_STRING_EQ(text.data, sharing);
    CHECK(sinter_loop_verify(program, &diag));
    sinter_text_deinit(&text);

    /* What is made while the part is out: a loop, and with it a scalar of the whole that the part did not use. */
    sinter_loop_part part;
    sinter_schedule schedule;
    sinter_loop_var outer, inner;
    sinter_loop_take_part(&parts, &kernel->body, 1, &part);
    sinter_schedule_init(&schedule, program, part.function);
    CHECK(sinter_schedule_split(&schedule, sinter_schedule_find_loop(part.function, "j"), 4,
                                SINTER_TAIL_EXACT, &outer, &inner, NULL));
    CHECK(sinter_schedule_vectorize(&schedule, inner));
    sinter_schedule_deinit(&schedule);
    sinter_loop_put_back(&parts, &part);
    CHECK(sinter_loop_verify(program, &diag));
    sinter_loop_print(program, &text);
    CHECK(strstr(text.data, "for jo in 0..2 {\n      for ji in 0..4 vector {\n"
                            "        %y[i,jo * 4 + ji] = %x[i,jo * 4 + ji] + 1.0:f32\n"));
    CHECK(strstr(text.data, "%y[0,j_5] = twice * twice\n"));
    CHECK(!messages.size);
    sinter_text_deinit(&text);
    sinter_text_deinit(&messages);
    sinter_loop_program_destroy(program);
    sinter_arena_deinit(&scratch);
}

/* Bytes that scheduling took of the program's arena, a measure of work that no machine changes. */
static size_t schedule_many(unsigned nests) {
    sinter_text text = {0}, messages = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_text_format(&text,
                       "program \"many\" {\n  kernel @many(%%x: f32[4,%u] in, "
                       "%%y: f32[4,%u] out) {\n",
                       nests * 8, nests * 8);
    for (unsigned i = 0; i < nests; i++)
        sinter_text_format(&text,
                           "    for i in 0..4 {\n      for j in 0..8 {\n"
                           "        %%y[i,j + %u] = %%x[i,j + %u] * %u.0:f32\n      }\n    }\n",
                           i * 8, i * 8, i + 2);
    sinter_text_append_string(&text, "  }\n}\n");
    sinter_loop_program *program = parse(text.data, text.size, &diag);
    sinter_text_deinit(&text);
    if (!program) return 0;
    sinter_target target;
    const sinter_schedule_options options = {.level = 2};
    CHECK(sinter_target_parse("cpu:x86-64-v4", &program->arena, &target, &diag));
    size_t before = program->arena.total;
    CHECK(sinter_schedule_program(program, &target, &options, &diag));
    size_t used = program->arena.total - before;
    CHECK(sinter_loop_verify(program, &diag));
    CHECK(!messages.size);
    sinter_text_deinit(&messages);
    sinter_loop_program_destroy(program);
    return used;
}

static void test_many(void) {
    size_t few = schedule_many(50), many = schedule_many(200);
    if (!CHECK(few && many < 5 * few)) printf("50 nests: %zu bytes, 200: %zu\n", few, many);
}

int main(void) {
    test_taking();
    test_many();
    return test_finish();
}
