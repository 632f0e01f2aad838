/* The tokens of our text forms (.sir modules, loop programs): one lexer, several parsers. The current
 * token is in `token`; parsers look at it and call next. Nothing is copied: token texts point into
 * the source, but unescaped strings, which go into the arena. `//` starts a comment.
 * Errors are reported once, at "path:line:column"; every function here that returns bool has reported when
 * it returns false. Test: tests/unit/lex_test.c */
#pragma once
#include "ir/base/diag.h"

typedef enum sinter_token_kind {
    SINTER_TOKEN_END,
    SINTER_TOKEN_ERROR,       /* already reported */
    SINTER_TOKEN_IDENTIFIER,  /* conv, f32, _ */
    SINTER_TOKEN_VALUE,       /* %x or %"any bytes"; text without the % and quotes */
    SINTER_TOKEN_SYMBOL,      /* @x or @"any bytes" */
    SINTER_TOKEN_INTEGER,     /* decimal that fits 64 bits: `integer` and `number` are set. No sign: '-' is punctuation */
    SINTER_TOKEN_FLOAT,       /* decimal with point or exponent, or one too long for INTEGER: `number` */
    SINTER_TOKEN_HEX,         /* 0x...: text is the digits, of any length; `integer` where there are at most 16 */
    SINTER_TOKEN_STRING,      /* text is the unescaped bytes */
    SINTER_TOKEN_PUNCTUATION  /* the longest of ... .. -> <= >= == != && || << >> or one character */
} sinter_token_kind;

typedef struct sinter_token {
    sinter_token_kind kind;
    sinter_string text;
    const char *position; /* first byte in the source */
    bool quoted;          /* a VALUE or SYMBOL written with quotes */
    uint64_t integer;
    double number;
} sinter_token;

typedef struct sinter_lexer {
    const char *path;
    const char *start, *end;
    const char *cursor; /* just after the current token */
    sinter_token token;
    sinter_arena *arena;
    sinter_diag *diag;
    uint32_t depth; /* of nesting, see enter */
    const char *counted; /* lines up to here are counted */
    const char *line_start;
    size_t line;
} sinter_lexer;

/* Reads the first token. The text must outlive the lexer and need not end in NUL. */
void sinter_lexer_init(sinter_lexer *lexer, const char *path, const char *text, size_t size, sinter_arena *arena,
                       sinter_diag *diag);
void sinter_lexer_next(sinter_lexer *lexer);
/* Goes on at a position of the source, e.g. where another parser that started at token.position stopped. */
void sinter_lexer_seek(sinter_lexer *lexer, const char *position);

/* The current token is this keyword (identifier) or punctuation. */
bool sinter_lexer_is(const sinter_lexer *lexer, const char *text);
/* ... and is then skipped. */
bool sinter_lexer_accept(sinter_lexer *lexer, const char *text);
/* The same, an error where it is something else: "expected ')', found 'x'". */
bool sinter_lexer_expect(sinter_lexer *lexer, const char *text);
bool sinter_lexer_expect_identifier(sinter_lexer *lexer, sinter_string *out_text);
bool sinter_lexer_expect_value(sinter_lexer *lexer, sinter_string *out_name);
bool sinter_lexer_expect_symbol(sinter_lexer *lexer, sinter_string *out_name);
bool sinter_lexer_expect_string(sinter_lexer *lexer, sinter_string *out_text);
/* With an optional '-'; must fit int64. */
bool sinter_lexer_expect_integer(sinter_lexer *lexer, int64_t *out_value);
/* MIN..MAX, either of which may be left out: INT64_MIN, INT64_MAX. Whether it is empty is the caller's to look at. */
bool sinter_lexer_expect_range(sinter_lexer *lexer, int64_t *out_min, int64_t *out_max);
/* With an optional '-': decimal, inf, nan, or 0x and up to 16 digits, the bits of the binary64 (NaN payloads). */
bool sinter_lexer_expect_number(sinter_lexer *lexer, double *out_value);

/* Nesting (regions, parentheses): enter is an error beyond 256 levels, so hostile text can't exhaust the stack. */
bool sinter_lexer_enter(sinter_lexer *lexer);
void sinter_lexer_leave(sinter_lexer *lexer);

/* Reports at the current token, or at a position; returns false. */
bool sinter_lexer_error(sinter_lexer *lexer, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool sinter_lexer_error_at(sinter_lexer *lexer, const char *position, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "expected WHAT, found 'token'" */
bool sinter_lexer_error_expected(sinter_lexer *lexer, const char *what);
/* "path:line:column" in the arena. Cheap where positions grow from call to call. */
const char *sinter_lexer_where(sinter_lexer *lexer, const char *position);

/* Appends sigil and name, quoted where it must be. Names of digits only are quoted too: bare numbers are the names
 * that printers give to unnamed values. */
void sinter_lex_print_name(sinter_text *text, char sigil, sinter_string name);
