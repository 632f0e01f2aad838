/* Tokens, positions, escapes, names and numbers of the lexer that the text forms share. */
#include "ir/base/lex.h"
#include "tests/unit/test.h"

#include <math.h>

static sinter_arena arena;
static sinter_text messages;
static sinter_diag diag;

static sinter_lexer lex(const char *text) {
    sinter_lexer lexer;
    sinter_text_deinit(&messages);
    messages = (sinter_text){0};
    diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &messages};
    sinter_lexer_init(&lexer, "t", text, strlen(text), &arena, &diag);
    return lexer;
}

static void test_tokens(void) {
    sinter_lexer lexer =
        lex("conv %x.y %17 @f _ 0..4 1.5e-3 0xAb \"a\\x41\\n\" -> // end\n<= a%b x % y");
    static const struct {
        sinter_token_kind kind;
        const char *text;
    } expected[] = {{SINTER_TOKEN_IDENTIFIER, "conv"},
                    {SINTER_TOKEN_VALUE, "x.y"},
                    {SINTER_TOKEN_VALUE, "17"},
                    {SINTER_TOKEN_SYMBOL, "f"},
                    {SINTER_TOKEN_IDENTIFIER, "_"},
                    {SINTER_TOKEN_INTEGER, "0"},
                    {SINTER_TOKEN_PUNCTUATION, ".."},
                    {SINTER_TOKEN_INTEGER, "4"},
                    {SINTER_TOKEN_FLOAT, "1.5e-3"},
                    {SINTER_TOKEN_HEX, "Ab"},
                    {SINTER_TOKEN_STRING, "aA\n"},
                    {SINTER_TOKEN_PUNCTUATION, "->"},
                    {SINTER_TOKEN_PUNCTUATION, "<="},
                    {SINTER_TOKEN_IDENTIFIER, "a"},
                    {SINTER_TOKEN_VALUE, "b"},
                    {SINTER_TOKEN_IDENTIFIER, "x"},
                    {SINTER_TOKEN_PUNCTUATION, "%"},
                    {SINTER_TOKEN_IDENTIFIER, "y"},
                    {SINTER_TOKEN_END, ""}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        CHECK_INT_EQ(lexer.token.kind, expected[i].kind);
        CHECK(sinter_string_is(lexer.token.text, expected[i].text));
        sinter_lexer_next(&lexer);
    }
    CHECK_INT_EQ(diag.error_count, 0);
}

static double number(const char *text) {
    sinter_lexer lexer = lex(text);
    double value = -1;
    return sinter_lexer_expect_number(&lexer, &value) ? value : -1;
}

static void test_numbers(void) {
    CHECK_DOUBLE_EQ(number("0.1"), 0.1);
    CHECK_DOUBLE_EQ(number("-0"), -0.0);
    CHECK_DOUBLE_EQ(number("-inf"), -HUGE_VAL);
    CHECK_DOUBLE_EQ(number("nan"), NAN);
    CHECK_DOUBLE_EQ(number("0x3FF0000000000000"), 1.0);
    CHECK_DOUBLE_EQ(number("99999999999999999999999"), 1e23);
    int64_t integer = 0;
    sinter_lexer lexer = lex("-9223372036854775808 9223372036854775808");
    CHECK(sinter_lexer_expect_integer(&lexer, &integer));
    CHECK_INT_EQ(integer, INT64_MIN);
    CHECK(!sinter_lexer_expect_integer(&lexer, &integer));
    CHECK_STRING_EQ(messages.data, "t:1:22: error: integer does not fit 64 bits with a sign\n");
}

static void test_errors(void) {
    sinter_lexer lexer = lex("a\n  ) `");
    sinter_string name;
    CHECK(sinter_lexer_expect_identifier(&lexer, &name));
    CHECK(!sinter_lexer_expect(&lexer, "("));
    CHECK_STRING_EQ(messages.data, "t:2:3: error: expected '(', found ')'\n");
    sinter_lexer_next(&lexer);
    CHECK_INT_EQ(lexer.token.kind, SINTER_TOKEN_ERROR);
    size_t reported = diag.error_count;
    CHECK(!sinter_lexer_expect(&lexer, "x"));
    CHECK_INT_EQ(diag.error_count, reported); /* a lexical error is told once */
    lexer = lex("\"open");
    CHECK_INT_EQ(lexer.token.kind, SINTER_TOKEN_ERROR);
    lexer = lex("\"bad \\q\"");
    CHECK_INT_EQ(lexer.token.kind, SINTER_TOKEN_ERROR);
    CHECK_STRING_EQ(sinter_lexer_where(&lexer, lexer.start + 3), "t:1:4");
}

static void test_depth(void) {
    sinter_lexer lexer = lex("x");
    for (int i = 0; i < 256; i++) CHECK(sinter_lexer_enter(&lexer));
    CHECK(!sinter_lexer_enter(&lexer));
    sinter_lexer_leave(&lexer);
    CHECK(sinter_lexer_enter(&lexer));
}

static void check_name(const char *data, size_t size, const char *printed) {
    sinter_text text = {0};
    sinter_string name = {data, size};
    sinter_lex_print_name(&text, '%', name);
    CHECK_STRING_EQ(text.data, printed);
    sinter_lexer lexer = lex(text.data);
    CHECK(lexer.token.kind == SINTER_TOKEN_VALUE && sinter_string_equal(lexer.token.text, name));
    sinter_text_deinit(&text);
}

static void test_names(void) {
    check_name("x", 1, "%x");
    check_name("a.b_1$", 6, "%a.b_1$");
    check_name("17", 2, "%\"17\"");
    check_name("a.", 2, "%\"a.\"");
    check_name("a/b:0", 5, "%\"a/b:0\"");
    check_name("q\"\0\n", 4, "%\"q\\\"\\x00\\n\"");
}

int main(void) {
    sinter_arena_init(&arena);
    test_tokens();
    test_numbers();
    test_errors();
    test_depth();
    test_names();
    sinter_text_deinit(&messages);
    sinter_arena_deinit(&arena);
    return test_finish();
}
