/* String view and growing text. A view is not NUL-terminated unless it says so. What reads and writes numbers, here and in
 * all of the compiler, needs a thread in the C locale: programs begin in it, libsinter sees to it. */
#pragma once
#include "ir/base/arena.h"
#include <stdarg.h>
#include <stdbool.h>

typedef struct sinter_string {
    const char *data;
    size_t size;
} sinter_string;
#define SINTER_STRING(literal) ((sinter_string){(literal), sizeof(literal) - 1})
/* for printf("%.*s") */
#define SINTER_STRING_ARGS(s) (int)(s).size, (s).data
sinter_string sinter_string_of(const char *text); /* NULL gives the empty string */
bool sinter_string_equal(sinter_string a, sinter_string b);
bool sinter_string_is(sinter_string a, const char *b);
/* A copy in the arena, NUL-terminated. */
sinter_string sinter_string_copy(sinter_arena *arena, sinter_string string);
bool sinter_string_ends_with(const char *text, const char *ending);
/* A letter or '_', then letters, digits and '_'. */
bool sinter_string_is_identifier(sinter_string string);
/* Bytes that no identifier has become '_'; a digit may still come first. */
void sinter_make_identifier(char *text);
int sinter_hex_digit(char digit); /* its value; -1 where it is none */

/* Heap-backed text builder; deinit frees it. data is always NUL-terminated once non-NULL. */
typedef struct sinter_text {
    char *data;
    size_t size, capacity;
} sinter_text;
void sinter_text_deinit(sinter_text *text);
void sinter_text_append(sinter_text *text, const char *data, size_t size);
void sinter_text_append_string(sinter_text *text, const char *string);
void sinter_text_format(sinter_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sinter_text_format_list(sinter_text *text, const char *format, va_list arguments);
enum { SINTER_LAST_CODE_POINT = 0x10ffff }; /* of Unicode */
/* Bytes of the UTF-8 sequence that data, of size bytes, at least one, begins with; 0 where it is not well-formed (Unicode
 * 15, table 3-7), and *out_code is then left alone. */
size_t sinter_utf8_decode(const char *data, size_t size, uint32_t *out_code);
/* For a terminal: escapes for control characters but those of `kept`, and for what is not UTF-8. */
void sinter_text_printable(sinter_text *text, sinter_string string, const char *kept);
/* "..." with \n \t \" \\ and \xHH escapes (control bytes and what is not UTF-8). */
void sinter_text_quote(sinter_text *text, sinter_string string);
/* The inverse: appends what the quoted string at *cursor stands for and moves past it. False, with
 * *cursor at the offending byte or escape, where it is not closed on its line or an escape is unknown. */
bool sinter_text_unquote(sinter_text *text, const char **cursor, const char *end);
/* A JSON string: quotes, backslashes and control characters escaped; bytes that are not UTF-8 become U+FFFD. */
void sinter_text_json(sinter_text *text, sinter_string string);
/* Text of an HTML page or of an attribute in quotes; control characters but for new lines and bytes that are not UTF-8 become U+FFFD. */
void sinter_text_html(sinter_text *text, sinter_string string);
/* Shortest decimal that reads back to the same double, always with a point or an exponent ("1.0",
 * "1e-05"); inf, -inf, nan spelled so. */
void sinter_text_double(sinter_text *text, double value);
/* The same for a float widened to double (fewer digits). */
void sinter_text_float(sinter_text *text, float value);
