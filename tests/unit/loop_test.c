/* The loop IR's core: folding of expressions by example and by random expressions that must keep their value, ranges,
 * builder, interpreter. Text, verifier and schedules have their tests in tests/codegen/loops/. */
#include "codegen/loops/code.h"
#include "codegen/loops/linear.h"
#include "codegen/loops/text.h"
#include "tests/unit/test.h"

#include <stdlib.h>

/* A kernel with variables to build expressions of: i in 0..63, j in 0..3, k in -5..5, n (anything), p >= 1. */
typedef struct fixture {
    sinter_loop_program *program;
    sinter_loop_builder builder;
    sinter_diag diag;
    sinter_text messages;
} fixture;

static const struct {
    const char *name;
    int64_t min, max;
} variables[] = {
    {"i", 0, 63}, {"j", 0, 3}, {"k", -5, 5}, {"n", INT64_MIN, INT64_MAX}, {"p", 1, 1000}};
enum { VARIABLES = sizeof variables / sizeof *variables };

static void setup(fixture *f) {
    *f = (fixture){.program = sinter_loop_program_create("")};
    f->diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &f->messages};
    sinter_loop_function *function = sinter_loop_function_create(f->program, "test");
    sinter_vector_push(&f->program->arena, &f->program->kernels, function);
    sinter_loop_builder_init(&f->builder, f->program, function);
    for (int i = 0; i < VARIABLES; i++) {
        sinter_loop_var var =
            sinter_loop_add_parameter(&f->builder, variables[i].name, SINTER_DTYPE_i64);
        sinter_loop_set_range(&f->builder, var, variables[i].min, variables[i].max);
    }
    sinter_expr dims[1] = {sinter_loop_int(&f->builder, 8)};
    sinter_loop_add_buffer(&f->builder, "x", SINTER_DTYPE_f32, 1, dims, SINTER_SCOPE_INPUT);
}

static void teardown(fixture *f) {
    sinter_loop_program_destroy(f->program);
    sinter_text_deinit(&f->messages);
}

/* ---- expressions written as text, rebuilt with folding ---- */

#include "codegen/loops/rewrite.h"

/* The parser folds nothing, so every node is built again. */
static sinter_expr refold(sinter_loop_builder *b, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_CONST) return expr;
    if (expr->kind == SINTER_LOOP_VAR) return sinter_loop_var_read(b, expr->var);
    sinter_expr arguments[3];
    for (uint32_t i = 0; i < expr->argument_count; i++)
        arguments[i] = refold(b, expr->arguments[i]);
    switch (expr->kind) {
    case SINTER_LOOP_LOAD:
        return sinter_loop_load(b, expr->buffer, arguments);
    case SINTER_LOOP_CALL:
        return sinter_loop_call(b, expr->function, arguments);
    case SINTER_LOOP_CAST:
        return sinter_loop_cast(b, arguments[0], expr->dtype);
    default:
        return expr;
    }
}

static void check_fold(const char *text, const char *expected) {
    sinter_text source = {0}, messages = {0}, printed = {0};
    sinter_text_append_string(&source, "kernel @test(%x: f32[8] in");
    for (int i = 0; i < VARIABLES; i++)
        sinter_text_format(&source, ", %s: i64 range(%lld, %lld)", variables[i].name,
                           (long long)variables[i].min, (long long)variables[i].max);
    sinter_text_format(
        &source, ", b: bool, c: i32, f: f32, u: u8) { if true { fail 5 \"\" } if %s { } }", text);
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
    sinter_loop_program *program = sinter_loop_parse("test", source.data, source.size, &diag);
    if (CHECK(program)) {
        sinter_loop_function *function = program->kernels.items[0];
        sinter_loop_builder builder;
        sinter_loop_builder_init(&builder, program, function);
        sinter_loop_print_expr(function, refold(&builder, function->body->next->value), &printed);
        if (!CHECK_STRING_EQ(printed.data, expected)) printf("  of %s\n", text);
        sinter_loop_program_destroy(program);
    } else
        printf("%s\n", messages.data);
    sinter_text_deinit(&source);
    sinter_text_deinit(&messages);
    sinter_text_deinit(&printed);
}

static void test_folding(void) {
    static const char *const cases[][2] = {
        /* sums */
        {"1 + i", "i + 1"},
        {"i + 0", "i"},
        {"i * 1", "i"},
        {"i * 0", "0"},
        {"(i + 3) + 4", "i + 7"},
        {"(i + 3) - 3", "i"},
        {"j + i * 64", "i * 64 + j"},
        {"j * 16 + k + i * 64", "i * 64 + j * 16 + k"},
        {"(i * 4 + j) * 16 + k", "i * 64 + j * 16 + k"},
        {"i - j - i", "-j"},
        {"5 - i", "5 - i"},
        {"0 - i * 3", "i * -3"},
        {"i * n * 4 + j", "i * n * 4 + j"},
        {"(i + 1) * n", "n * (i + 1)"},
        {"(i + 1) * n - n * (1 + i)", "0"},
        {"-(i - j)", "j - i"},
        /* quotients */
        {"(i * 64 + j) / 64", "i"},
        {"(i * 64 + j) % 64", "j"},
        {"(i * 64 + j * 16) / 32", "i * 2 + j / 2"},
        {"(i * 64 + j * 16) % 32", "j % 2 * 16"},
        {"(i * 4 + k) / 4", "(i * 4 + k) / 4"},
        {"floordiv(i * 8 + k, 8)", "i + floordiv(k, 8)"},
        {"floormod(i * 8 + k, 8)", "floormod(k, 8)"},
        {"floordiv(i, 8)", "i / 8"},
        {"i / 1", "i"},
        {"i % 1", "0"},
        {"i / 64", "0"},
        {"i % 64", "i"},
        {"(i / 2) / 4", "i / 8"},
        {"(i % 32) % 8", "i % 8"},
        {"(i + 128) / 64", "2"},
        {"(n * 4) / 4", "n * 4 / 4"},
        {"7 / 2", "3"},
        {"-7 / 2", "-3"},
        {"-7 % 2", "-1"},
        {"floordiv(-7, 2)", "-4"},
        {"7 / 0", "0"},
        /* comparisons, minima, choices */
        {"i < 64", "true"},
        {"i < 63", "i < 63"},
        {"64 <= i", "false"},
        {"i < i + 1", "true"},
        {"i * 4 + j < i * 4 + 4", "true"},
        {"i == i", "true"},
        {"n == n + 1", "false"},
        {"n < n + 1", "n < n + 1"},
        {"i != 64", "true"},
        {"min(i, 63)", "i"},
        {"max(i, 0)", "i"},
        {"min(i * 4 + j, i * 4 + 3)", "i * 4 + j"},
        {"min(min(n, 7), 5)", "min(n, 5)"},
        {"select(i < 64, n, p)", "n"},
        {"select(b, n, n)", "n"},
        {"select(!b, n, p)", "select(b, p, n)"},
        {"b & true", "b"},
        {"true & b", "b"},
        {"b & false", "false"},
        {"b | true", "true"},
        {"!(n < p)", "p <= n"},
        {"!(f < 1:f32)", "!(f < 1.0:f32)"},
        {"!!b", "b"},
        {"select(b, true, false)", "b"},
        /* other types */
        {"c + 0:i32", "c"},
        {"c * 1:i32", "c"},
        {"3:i32 + 4:i32", "7:i32"},
        {"200:u8 + 100:u8", "44:u8"},
        {"cast(i64, u) < 256", "true"},
        {"cast(i64, u) / 256", "0"},
        {"cast(i32, cast(i64, c))", "c"},
        {"cast(f32, 3)", "3.0:f32"},
        {"cast(u8, 300)", "44:u8"},
        {"f + 0:f32", "f + 0.0:f32"},
        {"f + -0.0:f32", "f"},
        {"f * 1:f32", "f"},
        {"f * 0:f32", "f * 0.0:f32"},
        {"1.5:f32 * 2:f32", "3.0:f32"},
        {"0.1:f32 + 0.2:f32", "0.3:f32"},
        {"sqrt(2:f64)", "1.4142135623730951:f64"},
        {"%x[i + 2 - 2]", "%x[i]"},
        {"fma(f, 1:f32, f)", "fma(f, 1.0:f32, f)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_fold(cases[i][0], cases[i][1]);
}

/* ---- random expressions ---- */

static uint64_t random_state = 1;
static uint64_t random_below(uint64_t limit) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static sinter_expr plain_call(fixture *f, sinter_scalar_function function, sinter_expr a,
                              sinter_expr b, sinter_expr c) {
    sinter_expr arguments[3] = {a, b, c};
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CALL,
                                .dtype = sinter_loop_result_dtype(function, arguments),
                                .function = function,
                                .arguments = arguments,
                                .argument_count = c   ? 3
                                                  : b ? 2
                                                      : 1};
    return sinter_loop_expr_make(f->builder.arena, &pattern);
}

/* The same expression as written and as folded. */
static void random_expr(fixture *f, int depth, sinter_expr *plain, sinter_expr *folded) {
    static const sinter_scalar_function functions[] = {
        SINTER_SCALAR_add, SINTER_SCALAR_sub,      SINTER_SCALAR_mul,      SINTER_SCALAR_div,
        SINTER_SCALAR_rem, SINTER_SCALAR_floordiv, SINTER_SCALAR_floormod, SINTER_SCALAR_min,
        SINTER_SCALAR_max, SINTER_SCALAR_add,      SINTER_SCALAR_mul};
    if (depth == 0 || random_below(6) == 0) {
        static const int64_t constants[] = {0,  1,  -1, 2, 3,  4,         8,
                                            16, 63, 64, 7, -4, INT64_MAX, INT64_MIN};
        if (random_below(2))
            *plain = *folded =
                sinter_loop_var_read(&f->builder, (sinter_loop_var)(1 + random_below(VARIABLES)));
        else
            *plain = *folded =
                sinter_loop_int(&f->builder, constants[random_below(random_below(8) ? 12 : 14)]);
        return;
    }
    sinter_expr a[2], b[2], c[2];
    random_expr(f, depth - 1, &a[0], &a[1]);
    random_expr(f, depth - 1, &b[0], &b[1]);
    if (random_below(8) == 0) {
        static const sinter_scalar_function comparisons[] = {SINTER_SCALAR_lt, SINTER_SCALAR_le,
                                                             SINTER_SCALAR_eq, SINTER_SCALAR_ne};
        sinter_scalar_function comparison = comparisons[random_below(4)];
        random_expr(f, depth - 1, &c[0], &c[1]);
        *plain = plain_call(f, SINTER_SCALAR_select, plain_call(f, comparison, a[0], b[0], NULL),
                            b[0], c[0]);
        *folded = sinter_loop_select(
            &f->builder, sinter_loop_compare(&f->builder, comparison, a[1], b[1]), b[1], c[1]);
        return;
    }
    if (random_below(12) == 0) {
        *plain = plain_call(f, SINTER_SCALAR_neg, a[0], NULL, NULL);
        *folded = sinter_loop_call(&f->builder, SINTER_SCALAR_neg, &a[1]);
        return;
    }
    sinter_scalar_function function = functions[random_below(sizeof functions / sizeof *functions)];
    *plain = plain_call(f, function, a[0], b[0], NULL);
    *folded = sinter_loop_call(&f->builder, function, (sinter_expr[]){a[1], b[1]});
}

static int64_t random_value(int variable) {
    int64_t min = variables[variable].min, max = variables[variable].max;
    if (min == INT64_MIN)
        return random_below(2) ? (int64_t)random_below(100) - 50
                               : (int64_t)random_below(UINT64_MAX);
    return min + (int64_t)random_below((uint64_t)(max - min) + 1);
}

static void test_random(int rounds) {
    for (int round = 0; round < rounds; round++) {
        fixture f;
        setup(&f);
        sinter_loop_function *function = f.builder.function;
        sinter_expr plain, folded;
        random_expr(&f, 4, &plain, &folded);
        int64_t min, max, values[VARIABLES + 1] = {0}, expected, got;
        sinter_loop_range(function, folded, &min, &max);
        bool fine = true;
        for (int sample = 0; fine && sample < 8; sample++) {
            for (int i = 0; i < VARIABLES; i++) values[i + 1] = random_value(i);
            fine = sinter_code_evaluate(&f.program->arena, function, plain, values, &expected) &&
                   sinter_code_evaluate(&f.program->arena, function, folded, values, &got) &&
                   got == expected && got >= min && got <= max;
        }
        if (!CHECK(fine)) {
            sinter_text text = {0};
            sinter_loop_print_expr(function, plain, &text);
            sinter_text_append_string(&text, "  =>  ");
            sinter_loop_print_expr(function, folded, &text);
            printf("  %s\n  expected %lld, got %lld in %lld..%lld\n", text.data,
                   (long long)expected, (long long)got, (long long)min, (long long)max);
            for (int i = 0; i < VARIABLES; i++)
                printf("  %s = %lld\n", variables[i].name, (long long)values[i + 1]);
            sinter_text_deinit(&text);
        }
        teardown(&f);
    }
}

/* ---- interpreter ---- */

static const char matmul[] =
    "kernel @matmul(%a: f32[M,3] in, %b: f32[3,2] in, %y: f32[M,2] out, M: i64) {\n"
    "  for i in 0..M parallel {\n"
    "    for j in 0..2 {\n"
    "      var acc: f32 = 0.0:f32\n"
    "      for k in 0..3 {\n"
    "        acc = fma(%a[i,k], %b[k,j], acc)\n"
    "      }\n"
    "      %y[i,j] = acc\n"
    "    }\n"
    "  }\n"
    "}\n";

static void test_interpret(void) {
    fixture f;
    setup(&f);
    sinter_loop_program *program = sinter_loop_parse("matmul", matmul, sizeof matmul - 1, &f.diag);
    if (CHECK(program)) {
        sinter_text text = {0};
        sinter_loop_print(program, &text);
        CHECK_STRING_EQ(text.data, matmul);
        sinter_text_deinit(&text);
        CHECK(sinter_loop_verify(program, &f.diag));
        sinter_tensor tensors[3];
        const int64_t dims[3][2] = {{2, 3}, {3, 2}, {2, 2}};
        for (int i = 0; i < 3; i++)
            CHECK(sinter_tensor_create(&tensors[i], SINTER_DTYPE_f32, 2, dims[i], &f.diag));
        for (int i = 0; i < 6; i++) {
            sinter_tensor_set_double(&tensors[0], i, i + 1);
            sinter_tensor_set_double(&tensors[1], i, i % 2 ? -1 : i);
        }
        int64_t rows = 2;
        CHECK(sinter_loop_interpret(program, program->kernels.items[0], tensors, &rows, &f.diag));
        static const double expected[] = {16, -6, 34, -15};
        for (int i = 0; i < 4; i++)
            CHECK_DOUBLE_EQ(sinter_tensor_get_double(&tensors[2], i), expected[i]);
        for (int i = 0; i < 3; i++) sinter_tensor_deinit(&tensors[i]);
        sinter_loop_program_destroy(program);
    }
    if (f.messages.data) printf("%s\n", f.messages.data);
    teardown(&f);
}

/* The kernel of one output f32[4] that gets an error when it is run. */
static void check_run_error(const char *body, const char *expected) {
    fixture f;
    setup(&f);
    sinter_text source = {0};
    sinter_text_format(
        &source, "kernel @bad(%%x: f32[4] in, %%y: f32[4] out, n: i64 range(1, 9)) { %s }", body);
    sinter_loop_program *program = sinter_loop_parse("bad", source.data, source.size, &f.diag);
    if (CHECK(program)) {
        sinter_tensor tensors[2];
        const int64_t dim = 4;
        for (int i = 0; i < 2; i++)
            CHECK(sinter_tensor_create(&tensors[i], SINTER_DTYPE_f32, 1, &dim, &f.diag));
        int64_t n = 5;
        CHECK(!sinter_loop_interpret(program, program->kernels.items[0], tensors, &n, &f.diag));
        if (!CHECK(f.messages.data && strstr(f.messages.data, expected)))
            printf("  got %s\n", f.messages.data);
        for (int i = 0; i < 2; i++) sinter_tensor_deinit(&tensors[i]);
        sinter_loop_program_destroy(program);
    }
    sinter_text_deinit(&source);
    teardown(&f);
}

static void test_run_errors(void) {
    check_run_error("for i in 0..n { %y[i] = 1:f32 }",
                    "store to %y[4] is out of bounds: dim 0 is 4");
    check_run_error("%y[0] = %x[n - 6]", "load of %x[-1] is out of bounds");
    check_run_error("%y[1] = %y[0]", "load of %y reads element 0, which nothing has written");
    check_run_error("%x[0] = 1:f32", "store to %x, which is read only");
    check_run_error("if n > 4 { fail 2 \"n is %0 of %1\" (n, 4) }", "n is 5 of 4 (status 2)");
    check_run_error("alloc %t: f32[n] stack %t[5] = 1:f32", "store to %t[5]");
    check_run_error(
        "for i in 0..2 { alloc %t: f32[2] stack if i == 1 { %y[0] = %t[0] } %t[0] = 1:f32 }",
        "load of %t reads element 0");
}

static const char host[] =
    "program \"m\" {\n"
    "  input \"x\": f32[\"N\",2]\n"
    "  symbol \"N\": 1..16 multiple 1 from input 0 dim 0\n"
    "  constant 0: f32[2] = [10.0, 20.0]\n"
    "  kernel @add(%x: f32[N,2] in, %c: f32[2] in, %y: f32[N,2] out, N: i64) {\n"
    "    for i in 0..N {\n"
    "      for j in 0..2 {\n"
    "        %y[i,j] = %x[i,j] + %c[j]\n"
    "      }\n"
    "    }\n"
    "  }\n"
    "  host @m(%x: f32[N,2] in 0, %y: f32[?] out 0, N: i64) {\n"
    "    buffer %c: f32[2] constant 0\n"
    "    alloc %t: f32[N,2] heap at 64\n"
    "    call @add(%x, %c, %t, N)\n"
    "    let last: i64 = cast(i64, %t[N - 1,1])\n"
    "    bind %flat: f32[N * 2] alias = %t\n"
    "    alloc %y: f32[last] out 0\n"
    "    for i in 0..last {\n"
    "      %y[i] = %flat[0]\n"
    "    }\n"
    "    free %t\n"
    "  }\n"
    "  output \"y\": f32[\"K\"] = [_]\n"
    "  check input 0 dim 1 == 2\n"
    "  workspace N * 8 + 64\n"
    "}\n";

static void test_host(void) {
    fixture f;
    setup(&f);
    sinter_loop_program *program = sinter_loop_parse("host", host, sizeof host - 1, &f.diag);
    if (CHECK(program)) {
        sinter_text text = {0};
        sinter_loop_print(program, &text);
        CHECK_STRING_EQ(text.data, host);
        sinter_text_deinit(&text);
        CHECK(sinter_loop_verify(program, &f.diag));
        sinter_tensor input, output;
        const int64_t dims[2] = {3, 2};
        CHECK(sinter_tensor_create(&input, SINTER_DTYPE_f32, 2, dims, &f.diag));
        for (int i = 0; i < 6; i++) sinter_tensor_set_double(&input, i, i);
        if (CHECK(sinter_loop_interpret_host(program, &input, 1, &output, 1, &f.diag))) {
            CHECK_INT_EQ(output.dims[0], 25);
            CHECK_DOUBLE_EQ(sinter_tensor_get_double(&output, 24), 10);
            sinter_tensor_deinit(&output);
        }
        sinter_tensor_deinit(&input);
        const int64_t wrong[2] = {17, 2};
        CHECK(sinter_tensor_create(&input, SINTER_DTYPE_f32, 2, wrong, &f.diag));
        CHECK(!sinter_loop_interpret_host(program, &input, 1, &output, 1, &f.diag));
        CHECK(f.messages.data && strstr(f.messages.data, "N is 17; it must be in 1..16"));
        sinter_tensor_deinit(&input);
        sinter_loop_program_destroy(program);
    }
    if (f.diag.error_count != 1) printf("%s\n", f.messages.data ? f.messages.data : "");
    teardown(&f);
}

/* ---- builder ---- */

static void test_builder(void) {
    fixture f;
    setup(&f);
    sinter_loop_builder *b = &f.builder;
    sinter_expr zero = sinter_loop_int(b, 0), eight = sinter_loop_int(b, 8);
    sinter_expr dims[1] = {eight};
    sinter_loop_buffer y =
        sinter_loop_add_buffer(b, "a-b", SINTER_DTYPE_f32, 1, dims, SINTER_SCOPE_OUTPUT);
    sinter_loop_var i = sinter_loop_begin_for(b, "a", zero, eight, 1, SINTER_AXIS_SERIAL);
    sinter_expr read = sinter_loop_var_read(b, i);
    sinter_loop_begin_if(b, sinter_loop_compare(b, SINTER_SCALAR_lt, read, sinter_loop_int(b, 4)));
    sinter_loop_store(b, y, &read, sinter_loop_const(b, SINTER_DTYPE_f32, 0.1));
    sinter_loop_end(b);
    sinter_loop_begin_else(b);
    sinter_loop_var same =
        sinter_loop_declare(b, "a", false, sinter_loop_mul(b, read, sinter_loop_int(b, 2)));
    sinter_loop_store(b, y, &read,
                      sinter_loop_cast(b, sinter_loop_var_read(b, same), SINTER_DTYPE_f32));
    sinter_loop_end(b);
    sinter_loop_end(b);
    sinter_loop_comment(b, "done");
    sinter_text text = {0};
    sinter_loop_stmt *body = b->function->body;
    CHECK(body && body->next && !body->next->next);
    sinter_loop_print_function(f.program, b->function, &text);
    const char *loop = text.data ? strstr(text.data, "for") : NULL;
    CHECK_STRING_EQ(loop, "for a in 0..8 {\n    if a < 4 {\n      %a_b[a] = 0.1:f32\n    } else {\n"
                          "      let a_1: i64 = a * 2\n      %a_b[a] = cast(f32, a_1)\n    }\n  "
                          "}\n  comment \"done\"\n}\n");
    sinter_text_deinit(&text);
    int64_t min, max;
    CHECK(sinter_loop_range(b->function, sinter_loop_var_read(b, same), &min, &max));
    CHECK_INT_EQ(min, 0);
    CHECK_INT_EQ(max, 14);
    teardown(&f);
}

int main(int argc, char **argv) {
    test_folding();
    test_random(argc > 1 ? atoi(argv[1]) : 20000);
    test_builder();
    test_interpret();
    test_run_errors();
    test_host();
    return test_finish();
}
