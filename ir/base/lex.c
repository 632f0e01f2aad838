/* Lexer of the text forms. Positions are pointers into the source; lines and columns are counted
 * only when something is reported, so reading a large file pays nothing for them.
 * Test: tests/unit/lex_test.c */
#define _GNU_SOURCE
#include "ir/base/lex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 256, MAX_NUMBER = 400 };

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
    return is_letter(c) || is_digit(c) || c == '$';
}

/* ---- positions and errors ---- */

const char *sinter_lexer_where(sinter_lexer *lexer, const char *position) {
    if (position < lexer->counted) {
        lexer->counted = lexer->line_start = lexer->start;
        lexer->line = 1;
    }
    for (; lexer->counted < position; lexer->counted++)
        if (*lexer->counted == '\n') {
            lexer->line++;
            lexer->line_start = lexer->counted + 1;
        }
    return sinter_arena_format(lexer->arena, "%s:%zu:%zu", lexer->path, lexer->line,
                               (size_t)(position - lexer->line_start) + 1);
}

static bool report(sinter_lexer *lexer, const char *position, const char *format, va_list list) {
    sinter_text message = {0};
    sinter_text_format_list(&message, format, list);
    sinter_error(lexer->diag, sinter_lexer_where(lexer, position), "%s",
                 message.data ? message.data : "");
    sinter_text_deinit(&message);
    return false;
}

bool sinter_lexer_error(sinter_lexer *lexer, const char *format, ...) {
    if (lexer->token.kind == SINTER_TOKEN_ERROR)
        return false; /* the lexer has said what is wrong */
    va_list list;
    va_start(list, format);
    report(lexer, lexer->token.position, format, list);
    va_end(list);
    return false;
}

bool sinter_lexer_error_at(sinter_lexer *lexer, const char *position, const char *format, ...) {
    va_list list;
    va_start(list, format);
    report(lexer, position, format, list);
    va_end(list);
    return false;
}

bool sinter_lexer_error_expected(sinter_lexer *lexer, const char *what) {
    if (lexer->token.kind == SINTER_TOKEN_END)
        return sinter_lexer_error(lexer, "expected %s, found the end of the text", what);
    size_t size = (size_t)(lexer->cursor - lexer->token.position);
    const char *dots = size > 40 ? "..." : "";
    return sinter_lexer_error(lexer, "expected %s, found '%.*s%s'", what,
                              (int)(size > 40 ? 40 : size), lexer->token.position, dots);
}

/* ---- tokens ---- */

static void skip_blanks(sinter_lexer *lexer) {
    const char *at = lexer->cursor, *end = lexer->end;
    for (;;) {
        while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
        if (end - at < 2 || at[0] != '/' || at[1] != '/') break;
        while (at < end && *at != '\n') at++;
    }
    lexer->cursor = at;
}

/* The digits are in the source, which has no terminator. */
static double read_decimal(const char *data, size_t size) {
    char buffer[MAX_NUMBER + 1];
    memcpy(buffer, data, size);
    buffer[size] = 0;
    return strtod(buffer, NULL);
}

static bool fail_token(sinter_lexer *lexer, const char *position, const char *message) {
    sinter_lexer_error_at(lexer, position, "%s", message);
    lexer->token.kind = SINTER_TOKEN_ERROR;
    lexer->cursor = lexer->end;
    return false;
}

static void read_hex(sinter_lexer *lexer) {
    sinter_token *token = &lexer->token;
    const char *at = token->position + 2;
    uint64_t value = 0;
    while (at < lexer->end && sinter_hex_digit(*at) >= 0)
        value = value << 4 | (uint64_t)sinter_hex_digit(*at++);
    token->kind = SINTER_TOKEN_HEX;
    token->text = (sinter_string){token->position + 2, (size_t)(at - token->position) - 2};
    token->integer = value;
    lexer->cursor = at;
}

/* Digits are skipped from at; returns where they end. */
static const char *skip_digits(const char *at, const char *end) {
    while (at < end && is_digit(*at)) at++;
    return at;
}

static bool digits_to_integer(sinter_string digits, uint64_t *out_value) {
    uint64_t value = 0;
    for (size_t i = 0; i < digits.size; i++) {
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *out_value = value;
    return true;
}

static void read_number(sinter_lexer *lexer) {
    sinter_token *token = &lexer->token;
    const char *end = lexer->end, *start = token->position;
    if (end - start > 2 && start[0] == '0' && (start[1] == 'x' || start[1] == 'X') &&
        sinter_hex_digit(start[2]) >= 0) {
        read_hex(lexer);
        return;
    }
    const char *at = skip_digits(start, end);
    bool is_float = false;
    if (end - at > 1 && at[0] == '.' && is_digit(at[1])) { /* not the ".." of a range */
        is_float = true;
        at = skip_digits(at + 1, end);
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *exponent = at + 1;
        if (exponent < end && (*exponent == '+' || *exponent == '-')) exponent++;
        if (exponent < end && is_digit(*exponent)) {
            is_float = true;
            at = skip_digits(exponent, end);
        }
    }
    token->text = (sinter_string){start, (size_t)(at - start)};
    lexer->cursor = at;
    if (token->text.size > MAX_NUMBER) {
        fail_token(lexer, start, "number with too many digits");
        return;
    }
    token->number = read_decimal(start, token->text.size);
    token->kind = !is_float && digits_to_integer(token->text, &token->integer)
                      ? SINTER_TOKEN_INTEGER
                      : SINTER_TOKEN_FLOAT;
}

/* The text between the quote at *cursor and its end; cursor goes past it. */
static bool read_quoted(sinter_lexer *lexer, const char *quote) {
    const char *end = lexer->end, *stop = quote + 1;
    bool escaped = false;
    while (stop < end && *stop != '"' && *stop != '\n') {
        escaped |= *stop == '\\';
        stop += *stop == '\\' && end - stop > 1 ? 2 : 1;
    }
    if (stop >= end || *stop != '"')
        return fail_token(lexer, quote, "string without its closing quote");
    lexer->token.text = (sinter_string){quote + 1, (size_t)(stop - quote) - 1};
    lexer->cursor = stop + 1;
    if (!escaped) return true;
    sinter_text text = {0};
    const char *at = quote;
    bool known = sinter_text_unquote(&text, &at, stop + 1);
    if (known)
        lexer->token.text = (sinter_string){
            sinter_arena_copy_string(lexer->arena, text.data, text.size), text.size};
    else
        fail_token(lexer, at, "unknown escape; known: \\n \\t \\\" \\\\ \\xHH");
    sinter_text_deinit(&text);
    return known;
}

static const char *skip_name(const char *at, const char *end) {
    while (at < end && (is_name_char(*at) || (*at == '.' && end - at > 1 && is_name_char(at[1]))))
        at++;
    return at;
}

/* %name or @name; false where the sigil is plain punctuation. */
static bool read_sigil(sinter_lexer *lexer) {
    sinter_token *token = &lexer->token;
    const char *at = token->position + 1;
    if (at == lexer->end || !(is_name_char(*at) || *at == '"')) return false;
    token->kind = *token->position == '%' ? SINTER_TOKEN_VALUE : SINTER_TOKEN_SYMBOL;
    token->quoted = *at == '"';
    if (token->quoted) {
        read_quoted(lexer, at);
        return true;
    }
    lexer->cursor = skip_name(at, lexer->end);
    token->text = (sinter_string){at, (size_t)(lexer->cursor - at)};
    return true;
}

static void read_punctuation(sinter_lexer *lexer) {
    static const char *const longs[] = {
        "...", "..", "->", "<=", ">=", "==", "!=", "&&", "||", "<<", ">>"};
    static const char singles[] = "(){}[]<>,:;=+-*/%&|^~!?.@#$";
    sinter_token *token = &lexer->token;
    size_t left = (size_t)(lexer->end - token->position), size = 1;
    for (size_t i = 0; i < sizeof longs / sizeof *longs; i++) {
        size_t length = strlen(longs[i]);
        if (length <= left && memcmp(token->position, longs[i], length) == 0) {
            size = length;
            break;
        }
    }
    char first = *token->position;
    if (size == 1 && (first == 0 || !strchr(singles, first))) {
        fail_token(lexer, token->position, "unexpected character");
        return;
    }
    token->kind = SINTER_TOKEN_PUNCTUATION;
    token->text = (sinter_string){token->position, size};
    lexer->cursor = token->position + size;
}

void sinter_lexer_next(sinter_lexer *lexer) {
    if (lexer->token.kind == SINTER_TOKEN_ERROR) return;
    skip_blanks(lexer);
    const char *at = lexer->cursor;
    lexer->token = (sinter_token){.kind = SINTER_TOKEN_END, .position = at, .text = {at, 0}};
    if (at == lexer->end) return;
    if (is_letter(*at)) {
        while (lexer->cursor < lexer->end &&
               (is_letter(*lexer->cursor) || is_digit(*lexer->cursor)))
            lexer->cursor++;
        lexer->token.kind = SINTER_TOKEN_IDENTIFIER;
        lexer->token.text.size = (size_t)(lexer->cursor - at);
    } else if (is_digit(*at)) {
        read_number(lexer);
    } else if (*at == '"') {
        lexer->token.kind = SINTER_TOKEN_STRING;
        read_quoted(lexer, at);
    } else if (!((*at == '%' || *at == '@') && read_sigil(lexer))) {
        read_punctuation(lexer);
    }
}

void sinter_lexer_init(sinter_lexer *lexer, const char *path, const char *text, size_t size,
                       sinter_arena *arena, sinter_diag *diag) {
    if (!text) text = "";
    *lexer = (sinter_lexer){.path = path,
                            .start = text,
                            .end = text + size,
                            .cursor = text,
                            .counted = text,
                            .line_start = text,
                            .line = 1,
                            .arena = arena,
                            .diag = diag};
    sinter_lexer_next(lexer);
}

void sinter_lexer_seek(sinter_lexer *lexer, const char *position) {
    if (lexer->token.kind == SINTER_TOKEN_ERROR) return;
    lexer->cursor = position;
    sinter_lexer_next(lexer);
}

/* ---- what parsers ask for ---- */

bool sinter_lexer_is(const sinter_lexer *lexer, const char *text) {
    const sinter_token *token = &lexer->token;
    return (token->kind == SINTER_TOKEN_IDENTIFIER || token->kind == SINTER_TOKEN_PUNCTUATION) &&
           sinter_string_is(token->text, text);
}

bool sinter_lexer_accept(sinter_lexer *lexer, const char *text) {
    if (!sinter_lexer_is(lexer, text)) return false;
    sinter_lexer_next(lexer);
    return true;
}

bool sinter_lexer_expect(sinter_lexer *lexer, const char *text) {
    if (sinter_lexer_accept(lexer, text)) return true;
    char what[80];
    snprintf(what, sizeof what, "'%s'", text);
    return sinter_lexer_error_expected(lexer, what);
}

static bool expect_kind(sinter_lexer *lexer, sinter_token_kind kind, const char *what,
                        sinter_string *out_text) {
    if (lexer->token.kind != kind) return sinter_lexer_error_expected(lexer, what);
    *out_text = lexer->token.text;
    sinter_lexer_next(lexer);
    return true;
}

bool sinter_lexer_expect_identifier(sinter_lexer *lexer, sinter_string *out_text) {
    return expect_kind(lexer, SINTER_TOKEN_IDENTIFIER, "a name", out_text);
}

bool sinter_lexer_expect_value(sinter_lexer *lexer, sinter_string *out_name) {
    return expect_kind(lexer, SINTER_TOKEN_VALUE, "a value like '%x'", out_name);
}

bool sinter_lexer_expect_symbol(sinter_lexer *lexer, sinter_string *out_name) {
    return expect_kind(lexer, SINTER_TOKEN_SYMBOL, "a name like '@x'", out_name);
}

bool sinter_lexer_expect_string(sinter_lexer *lexer, sinter_string *out_text) {
    return expect_kind(lexer, SINTER_TOKEN_STRING, "a string", out_text);
}

bool sinter_lexer_expect_integer(sinter_lexer *lexer, int64_t *out_value) {
    bool negative = sinter_lexer_accept(lexer, "-");
    if (lexer->token.kind != SINTER_TOKEN_INTEGER)
        return sinter_lexer_error_expected(lexer, "an integer");
    uint64_t value = lexer->token.integer;
    if (value > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return sinter_lexer_error(lexer, "integer does not fit 64 bits with a sign");
    *out_value = (int64_t)(negative ? 0 - value : value);
    sinter_lexer_next(lexer);
    return true;
}

bool sinter_lexer_expect_range(sinter_lexer *lexer, int64_t *out_min, int64_t *out_max) {
    *out_min = INT64_MIN;
    *out_max = INT64_MAX;
    if (!sinter_lexer_is(lexer, "..") && !sinter_lexer_expect_integer(lexer, out_min)) return false;
    if (!sinter_lexer_expect(lexer, "..")) return false;
    if (lexer->token.kind != SINTER_TOKEN_INTEGER && !sinter_lexer_is(lexer, "-")) return true;
    return sinter_lexer_expect_integer(lexer, out_max);
}

bool sinter_lexer_expect_number(sinter_lexer *lexer, double *out_value) {
    bool negative = sinter_lexer_accept(lexer, "-");
    const sinter_token *token = &lexer->token;
    double value = 0;
    if (token->kind == SINTER_TOKEN_INTEGER || token->kind == SINTER_TOKEN_FLOAT)
        value = token->number;
    else if (sinter_lexer_is(lexer, "inf"))
        value = HUGE_VAL;
    else if (sinter_lexer_is(lexer, "nan"))
        value = NAN;
    else if (token->kind == SINTER_TOKEN_HEX && token->text.size <= 16)
        memcpy(&value, &token->integer, sizeof value);
    else
        return sinter_lexer_error_expected(lexer, "a number");
    *out_value = negative ? -value : value;
    sinter_lexer_next(lexer);
    return true;
}

bool sinter_lexer_enter(sinter_lexer *lexer) {
    if (lexer->depth >= MAX_DEPTH)
        return sinter_lexer_error(lexer, "nested deeper than %d levels", MAX_DEPTH);
    lexer->depth++;
    return true;
}

void sinter_lexer_leave(sinter_lexer *lexer) {
    lexer->depth--;
}

/* ---- names ---- */

/* Whether a name may follow % or @ without quotes: letters, digits, '_', '$', and '.' between those. */
static bool is_plain_name(sinter_string name) {
    return name.size > 0 && is_name_char(name.data[0]) &&
           skip_name(name.data, name.data + name.size) == name.data + name.size;
}

void sinter_lex_print_name(sinter_text *text, char sigil, sinter_string name) {
    sinter_text_append(text, &sigil, 1);
    bool digits =
        name.size > 0 && skip_digits(name.data, name.data + name.size) == name.data + name.size;
    if (!digits && is_plain_name(name))
        sinter_text_append(text, name.data, name.size);
    else
        sinter_text_quote(text, name);
}
