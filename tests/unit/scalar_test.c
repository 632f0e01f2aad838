/* The scalar language and the meaning of scalar functions: parsing, errors, every class of dtype. The
 * f32 expansions of scalar.def are measured in tests/unit/expansion_test.c. */
#include "ir/scalar.h"
#include "tests/unit/test.h"

#include <math.h>

static sinter_arena arena;

static sinter_scalar number(sinter_dtype dtype, double value) {
    return sinter_scalar_number(dtype, value);
}

static sinter_scalar integer(sinter_dtype dtype, int64_t value) {
    return (sinter_scalar){.dtype = dtype, .i = value};
}

/* Evaluates text over x, y, z. */
static sinter_scalar evaluate(const char *text, sinter_scalar x, sinter_scalar y, sinter_scalar z) {
    const sinter_string names[] = {SINTER_STRING("x"), SINTER_STRING("y"), SINTER_STRING("z")};
    sinter_text message = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &message};
    sinter_scalar_body body;
    sinter_scalar result = {0};
    if (CHECK(sinter_scalar_parse(&arena, text, names, 3, &body, &diag))) {
        sinter_scalar operands[] = {x, y, z};
        result = sinter_scalar_evaluate(&body, operands);
    } else {
        printf("%s", message.data);
    }
    sinter_text_deinit(&message);
    return result;
}

static void check_float(const char *text, sinter_dtype dtype, double x, double y, double expected) {
    sinter_scalar result = evaluate(text, number(dtype, x), number(dtype, y), number(dtype, 3));
    bool type_right = CHECK_INT_EQ(result.dtype, dtype),
         value_right = CHECK_DOUBLE_EQ(result.f, expected);
    if (!type_right || !value_right)
        printf("  case %s: %s\n", sinter_dtype_infos[dtype].name, text);
}

static void check_int(const char *text, sinter_dtype dtype, int64_t x, int64_t y,
                      sinter_dtype result_dtype, int64_t expected) {
    sinter_scalar result = evaluate(text, integer(dtype, x), integer(dtype, y), integer(dtype, 3));
    bool type_right = CHECK_INT_EQ(result.dtype, result_dtype),
         value_right = CHECK_INT_EQ(result.i, expected);
    if (!type_right || !value_right)
        printf("  case %s: %s\n", sinter_dtype_infos[dtype].name, text);
}

static void check_same(const char *text, sinter_dtype dtype, int64_t x, int64_t y,
                       int64_t expected) {
    check_int(text, dtype, x, y, dtype, expected);
}

static void check_truth(const char *text, double x, double y, bool expected) {
    sinter_scalar result = evaluate(text, number(SINTER_DTYPE_f32, x), number(SINTER_DTYPE_f32, y),
                                    number(SINTER_DTYPE_f32, 3));
    bool type_right = CHECK_INT_EQ(result.dtype, SINTER_DTYPE_bool),
         value_right = CHECK_INT_EQ(result.i, expected);
    if (!type_right || !value_right) printf("  case %s\n", text);
}

static void test_language(void) {
    sinter_dtype f64 = SINTER_DTYPE_f64;
    check_float("x + y * z", f64, 1, 2, 7);
    check_float("(x + y) * z", f64, 1, 2, 9);
    check_float("x - y - z", f64, 10, 2, 5);
    check_float("x / y / z", f64, 12, 2, 2);
    check_float("-x + --y", f64, 1, 2, 1);
    check_float("x % y", f64, -7, 3, -1);
    check_float("let a = x + 1 in let b = a * a in b + a", f64, 1, 0, 6);
    check_float("let x = x + 1 in x * 2", f64, 1, 0, 4);
    check_float("let a = x in y", f64, 1, 5, 5);
    check_float("let two = 2 in -two + two + x", f64, 1, 0, 1);
    check_float("1 + (let a = 2 in a * x)", f64, 5, 0, 11);
    check_float("select(x < y, x, y) + select(x > y, x, y)", f64, 3, 4, 7);
    check_float("max(0, min(1, 0.2 * x + 0.5))", f64, 1, 0, 0.7);
    check_float("pi * x", f64, 1, 0, 3.14159265358979323846);
    check_float("x + 0x10", f64, 1, 0, 17);
    check_float("1e-05 * x", f64, 1, 0, 1e-05);
    check_float("-inf + x", f64, 1, 0, -INFINITY);
    check_float("nan * x", f64, 1, 0, NAN);
    check_float("5", f64, 0, 0, 5);
    check_float("-inf", f64, 0, 0, -INFINITY);
    check_float("sqrt(16) / 2", f64, 0, 0, 2);
    check_truth("x < y && x < z || false", 1, 2, true);
    check_truth("!(x < y) ^ true", 1, 2, true);
    check_truth("x >= y", NAN, 1, false);
    check_truth("!(x < y)", NAN, 1, true);
    check_truth("x != y", NAN, NAN, true);
    check_truth("x == y == (x == z)", 1, 2, true);
    check_truth("1 < 2", 0, 0, true);
    check_int("x | y & z ^ x", SINTER_DTYPE_i32, 4, 6, SINTER_DTYPE_i32, 6);
    check_int("x + 1 << 2", SINTER_DTYPE_i32, 1, 0, SINTER_DTYPE_i32, 8);
    check_int("x >> 1 == y", SINTER_DTYPE_i32, 5, 2, SINTER_DTYPE_bool, 1);
    check_int("~x & 0xff", SINTER_DTYPE_i32, 0x0f, 0, SINTER_DTYPE_i32, 0xf0);
    check_int("cast(i8, x)", SINTER_DTYPE_i32, 200, 0, SINTER_DTYPE_i8, -56);
    check_int("cast(y, 3.9)", SINTER_DTYPE_u8, 0, 0, SINTER_DTYPE_u8, 3);
    check_int("lowest + 0 * x", SINTER_DTYPE_i8, 0, 0, SINTER_DTYPE_i8, -128);
    check_int("max(x, highest)", SINTER_DTYPE_u64, 0, 0, SINTER_DTYPE_u64, -1);
    check_int("min(x, -1)", SINTER_DTYPE_u16, 70, 0, SINTER_DTYPE_u16, 70);
}

static void check_error(const char *text, const char *expected) {
    const sinter_string names[] = {SINTER_STRING("x")};
    sinter_text message = {0};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &message};
    sinter_scalar_body body;
    CHECK(!sinter_scalar_parse(&arena, text, names, 1, &body, &diag));
    char *line = message.data ? strchr(message.data, '\n') : NULL;
    if (line) *line = 0;
    CHECK_STRING_EQ(message.data, expected);
    sinter_text_deinit(&message);
}

static void test_errors(void) {
    check_error("x +", "scalar text:1:4: error: expected an expression, found the end of the text");
    check_error("x + q", "scalar text:1:5: error: unknown name 'q'");
    check_error("frob(x)", "scalar text:1:1: error: unknown function 'frob'");
    check_error("exp(x, x)", "scalar text:1:6: error: expected ')', found ','");
    check_error("max(x)", "scalar text:1:6: error: expected ',', found ')'");
    check_error("x x", "scalar text:1:3: error: expected the end of the text, found 'x'");
    check_error("(x", "scalar text:1:3: error: expected ')', found the end of the text");
    check_error("cast(f33, x)",
                "scalar text:1:6: error: expected an element type or a name, found 'f33'");
    check_error("let a 3 in a", "scalar text:1:7: error: expected '=', found '3'");
    check_error("let a = 3", "scalar text:1:10: error: expected 'in', found the end of the text");
    check_error("", "scalar text:1:1: error: expected an expression, found the end of the text");
    check_error("x $", "scalar text:1:3: error: expected the end of the text, found '$'");
    check_error("0x40000000000000", "scalar text:1:1: error: number of more than 53 bits");
    char text[4096] = "x";
    for (int i = 0; i < 300; i++) strcat(text, "+x");
    check_error(text, "scalar text:1:258: error: more than 256 operations");
    memset(text, '(', sizeof text - 1);
    check_error(text, "scalar text:1:257: error: nested deeper than 256 levels");
    memset(text, '-', sizeof text - 1);
    check_error(text, "scalar text:1:257: error: nested deeper than 256 levels");
}

static void test_floats(void) {
    sinter_dtype f32 = SINTER_DTYPE_f32, f64 = SINTER_DTYPE_f64;
    check_float("x + y", f32, 16777216, 1, 16777216);
    check_float("x + y", f64, 16777216, 1, 16777217);
    check_float("x * y", f32, 3e38, 10, INFINITY);
    check_float("x", f32, 0.1, 0, (double)0.1f);
    check_float("x + 0", SINTER_DTYPE_f16, 0.1, 0, 0.1); /* rounded when stored */
    check_float("fma(x, y, -1)", f32, 1 + 0x1p-23, 1 - 0x1p-23, -0x1p-46);
    check_float("x / y", f64, 1, 0, INFINITY);
    check_float("min(x, y)", f64, NAN, 1, NAN);
    check_float("max(x, y)", f64, 1, NAN, NAN);
    check_float("min(x, y)", f64, 0.0, -0.0, -0.0);
    check_float("max(x, y)", f64, -0.0, 0.0, 0.0);
    check_float("min(x, y)", f64, -INFINITY, 3, -INFINITY);
    check_float("round_tf32(x)", f32, 1 + 0x1p-11, 0, 1 + 0x1p-10); /* a tie: away from zero */
    check_float("round_tf32(x)", f32, -1 - 0x1p-11, 0, -1 - 0x1p-10);
    check_float("round_tf32(x)", f32, 1 + 0x1p-11 - 0x1p-23, 0, 1);
    check_float("round_tf32(x)", f32, 2 - 0x1p-23, 0, 2);
    check_float("round_tf32(x)", f32, 0x1p-136 + 0x1p-138, 0,
                0x1p-136); /* denormals have fewer bits */
    check_float("round_tf32(x)", f32, 0x1p-137, 0, 0x1p-136);
    check_float("round_tf32(x)", f32, 3.4028235e38, 0, INFINITY);
    check_float("round_tf32(x)", f32, -INFINITY, 0, -INFINITY);
    check_float("round_tf32(x)", f32, -0.0, 0, -0.0);
    check_float("round_tf32(x)", f32, NAN, 0, NAN);
    check_float("round_even(x)", f64, 2.5, 0, 2);
    check_float("round_even(x)", f64, 3.5, 0, 4);
    check_float("round_even(x)", f64, -0.5, 0, -0.0);
    check_float("round_even(x)", f64, -2.5000001, 0, -3);
    check_float("round_even(x)", f64, 0x1p60, 0, 0x1p60);
    check_float("round_even(x)", f64, NAN, 0, NAN);
    check_float("floormod(x, y)", f64, -7, 3, 2);
    check_float("floormod(x, y)", f64, 7, -3, -2);
    check_float("rem(x, y)", f64, -7, 3, -1);
    check_float("floordiv(x, y)", f64, -7, 2, -4);
    check_float("copysign(x, y)", f64, 3, -0.0, -3);
    check_float("abs(-x)", f64, -0.0, 0, 0.0);
    check_float("pow(x, y)", f64, 2, 0.5, sqrt(2.0));
    check_float("pow(x, 2)", f32, 3, 0, 9);
    check_float("select(x < 0, 0, x)", f64, NAN, 0, NAN);
    check_float("exp(x)", f32, 1, 0, (double)(float)exp(1.0));
    check_float("erf(x)", f64, 0.5, 0, erf(0.5));
    check_float("from_bits(bits(x) + 1)", f32, 1, 0, 1 + 0x1p-23);
    check_float("from_bits(bits(x))", f64, -0.1, 0, -0.1);
    check_truth("is_nan(x) || is_nan(y)", 1, NAN, true);
    check_truth("is_nan(x)", INFINITY, 0, false);
    check_float("x & y", f64, 1, 1, NAN); /* floats have no bitwise functions */
}

static void test_integers(void) {
    sinter_dtype i8 = SINTER_DTYPE_i8, u8 = SINTER_DTYPE_u8, i64 = SINTER_DTYPE_i64;
    sinter_dtype u64 = SINTER_DTYPE_u64, i4 = SINTER_DTYPE_i4, i32 = SINTER_DTYPE_i32;
    check_same("x + y", i8, 127, 1, -128);
    check_same("x - y", u8, 0, 1, 255);
    check_same("x * y", i64, INT64_MIN, -1, INT64_MIN);
    check_same("x * y", i4, 5, 5, -7);
    check_same("x / y", i32, -7, 2, -3);
    check_same("x / y", i32, 7, 0, 0);
    check_same("x / y", i64, INT64_MIN, -1, INT64_MIN);
    check_same("x / y", i8, -128, -1, -128);
    check_same("x / y", u64, -1, 2, INT64_MAX);
    check_same("x % y", i64, INT64_MIN, -1, 0);
    check_same("x % y", i32, -7, 2, -1);
    check_same("x % y", i32, -7, 0, 0);
    check_same("x % y", u64, -1, 10, 5);
    check_same("floormod(x, y)", i32, -7, 3, 2);
    check_same("floormod(x, y)", i32, 7, -3, -2);
    check_same("floormod(x, y)", i32, 7, 0, 0);
    check_same("floormod(x, y)", u64, -1, 10, 5);
    check_same("floordiv(x, y)", i32, -7, 2, -4);
    check_same("floordiv(x, y)", i64, INT64_MIN, -1, INT64_MIN);
    check_same("x << y", u8, 3, 7, 128);
    check_same("x << y", u8, 3, 8, 0);
    check_same("x << y", i32, 1, -1, 0);
    check_same("x >> y", i8, -128, 9, -1);
    check_same("x >> y", i8, -128, 3, -16);
    check_same("x >> y", u8, 128, 9, 0);
    check_same("x >> y", u64, -1, 63, 1);
    check_same("x >> y", u64, -1, 64, 0);
    check_same("abs(x)", i8, -128, 0, -128);
    check_same("abs(x)", u64, -5, 0, -5);
    check_same("-x", u8, 1, 0, 255);
    check_same("min(x, y)", u64, -1, 1, 1);
    check_same("max(x, y)", i64, -1, 1, 1);
    check_same("pow(x, y)", i32, 3, 4, 81);
    check_same("pow(x, y)", i64, -3, 41, INT64_C(420491770248316829));
    check_same("pow(x, y)", i32, 2, -1, 0);
    check_same("pow(x, y)", i32, -1, -3, -1);
    check_same("pow(x, y)", i32, 0, 0, 1);
    check_same("pow(x, y)", u8, 2, 255, 0);
    check_same("floor(x) + ceil(x) + round_even(x)", i32, 5, 0, 15);
    check_same("sqrt(x)", i32, 17, 0, 4);
    check_same("~x", u8, 1, 0, 254);
    check_same("fma(x, y, x)", i8, 100, 2, 44);
    check_int("x < y", u64, -1, 1, SINTER_DTYPE_bool, 0);
    check_int("x <= y", u64, 1, -1, SINTER_DTYPE_bool, 1);
    check_int("x < y", i64, -1, 1, SINTER_DTYPE_bool, 1);
    check_int("is_nan(x)", i64, 1, 1, SINTER_DTYPE_bool, 0);
    check_same("x + y", SINTER_DTYPE_bool, 1, 1, 1);
    check_same("x * y", SINTER_DTYPE_bool, 1, 0, 0);
    check_same("!x", SINTER_DTYPE_bool, 1, 0, 0);
    check_same("x != y", SINTER_DTYPE_bool, 1, 0, 1);
    check_same("x && y || x", SINTER_DTYPE_bool, 1, 0, 1);
}

static void test_mixed(void) {
    sinter_scalar i = integer(SINTER_DTYPE_i32, -2), f = number(SINTER_DTYPE_f32, 0.5);
    sinter_scalar result = evaluate("pow(x, y)", integer(SINTER_DTYPE_i32, 9), f, f);
    CHECK(result.dtype == SINTER_DTYPE_i32 && result.i == 3);
    result = evaluate("pow(y, x)", i, f, f);
    CHECK(result.dtype == SINTER_DTYPE_f32 && result.f == 4);
    result = evaluate("y + x", i, f, f);
    CHECK(result.dtype == SINTER_DTYPE_f32 && result.f == -1.5);
    result = evaluate("cast(y, x) * y", i, f, f);
    CHECK(result.dtype == SINTER_DTYPE_f32 && result.f == -1);
}

static void check_cast(sinter_scalar value, sinter_dtype dtype, double expected) {
    sinter_scalar result = sinter_scalar_cast(value, dtype);
    CHECK_INT_EQ(result.dtype, dtype);
    CHECK_DOUBLE_EQ(sinter_dtype_is_float(dtype) ? result.f : (double)result.i, expected);
}

static void test_casts(void) {
    check_cast(number(SINTER_DTYPE_f32, -3.7), SINTER_DTYPE_i8, -3);
    check_cast(number(SINTER_DTYPE_f32, 300), SINTER_DTYPE_u8, 44);
    check_cast(number(SINTER_DTYPE_f64, 0.1), SINTER_DTYPE_f16, 0x1.998p-4);
    check_cast(number(SINTER_DTYPE_f64, 1e9), SINTER_DTYPE_f8e4m3fn, 448);
    check_cast(number(SINTER_DTYPE_f64, -0.0), SINTER_DTYPE_bool, 0);
    check_cast(integer(SINTER_DTYPE_u64, -1), SINTER_DTYPE_f32, 0x1p64);
    check_cast(integer(SINTER_DTYPE_i64, -1), SINTER_DTYPE_f32, -1);
    check_cast(integer(SINTER_DTYPE_i64, -1), SINTER_DTYPE_u8, 255);
    /* Rounded once: by way of double these would be ties. */
    check_cast(integer(SINTER_DTYPE_i64, (INT64_C(1) << 62) + (INT64_C(1) << 38) + 1),
               SINTER_DTYPE_f32, 0x1p62 + 0x1p39);
    check_cast(integer(SINTER_DTYPE_i64, -((INT64_C(1) << 62) + (INT64_C(1) << 54) + 1)),
               SINTER_DTYPE_bf16, -(0x1p62 + 0x1p55));
    check_cast(integer(SINTER_DTYPE_i64, INT64_MIN), SINTER_DTYPE_f32, -0x1p63);
    check_cast(integer(SINTER_DTYPE_u64, -1), SINTER_DTYPE_bf16, 0x1p64);
    check_cast(integer(SINTER_DTYPE_i32, 65520), SINTER_DTYPE_f16, INFINITY);
    check_cast(integer(SINTER_DTYPE_bool, 1), SINTER_DTYPE_f64, 1);
}

static void test_table(void) {
    for (int i = 1; i < SINTER_SCALAR_COUNT; i++) {
        const sinter_scalar_info *info = sinter_scalar_get_info((sinter_scalar_function)i);
        CHECK_INT_EQ(sinter_scalar_find(sinter_string_of(info->name)), i);
        CHECK(info->arity >= 1 && info->arity <= 3);
        CHECK(info->c[0] && info->cuda[0] && info->doc[0]);
    }
    CHECK_INT_EQ(sinter_scalar_find(SINTER_STRING("none such")), SINTER_SCALAR_NONE);
}

static void test_scalar__operations(void) {
    CHECK_INT_EQ(sinter_scalar_operations(SINTER_SCALAR_add), 1);
    CHECK(sinter_scalar_operations(SINTER_SCALAR_div) > 1);
    /* floor(a / b) */
    CHECK(sinter_scalar_operations(SINTER_SCALAR_floordiv) ==
          sinter_scalar_operations(SINTER_SCALAR_div) + 1);
    CHECK(sinter_scalar_operations(SINTER_SCALAR_exp) > 8);
    CHECK(sinter_scalar_operations(SINTER_SCALAR_erf) >
          sinter_scalar_operations(SINTER_SCALAR_exp));
    for (int f = 1; f < SINTER_SCALAR_COUNT; f++) {
        uint32_t first = sinter_scalar_operations((sinter_scalar_function)f);
        CHECK(first > 0 && first == sinter_scalar_operations((sinter_scalar_function)f));
    }
}

/* In x and y; z and numbers are factors. */
static void test_linear(void) {
    const sinter_string names[] = {SINTER_STRING("x"), SINTER_STRING("y"), SINTER_STRING("z")};
    static const bool is_variable[] = {true, true, false};
    static const struct {
        const char *text;
        bool linear;
    } cases[] = {{"x", true},
                 {"z", false},
                 {"x + y", true},
                 {"z * x - y / (z + 1)", true},
                 {"-x * 2", true},
                 {"select(z < 0, x, z * y)", true},
                 {"let a = 2 * x in a + y", true},
                 {"x + 1", false},
                 {"x + z", false},
                 {"x * y", false},
                 {"z / x", false},
                 {"select(x < 0, x, y)", false},
                 {"max(x, 0)", false},
                 {"abs(x)", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_scalar_body body;
        CHECK(sinter_scalar_parse(&arena, cases[i].text, names, 3, &body, NULL));
        if (!CHECK(sinter_scalar_is_linear(&body, is_variable, 3) == cases[i].linear))
            printf("  %s\n", cases[i].text);
    }
}

int main(void) {
    test_scalar__operations();
    sinter_arena_init(&arena);
    test_linear();
    test_language();
    test_errors();
    test_floats();
    test_integers();
    test_mixed();
    test_casts();
    test_table();
    sinter_arena_deinit(&arena);
    return test_finish();
}
