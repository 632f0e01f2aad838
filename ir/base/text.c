/* String views and the growing text: formatting, quoting, numbers in their shortest form.
 * Test: tests/unit/base_test.c */
#include "ir/base/text.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sinter_string sinter_string_of(const char *text) {
    return text ? (sinter_string){text, strlen(text)} : (sinter_string){"", 0};
}

bool sinter_string_equal(sinter_string a, sinter_string b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool sinter_string_is(sinter_string a, const char *b) {
    return sinter_string_equal(a, sinter_string_of(b));
}

sinter_string sinter_string_copy(sinter_arena *arena, sinter_string string) {
    return (sinter_string){sinter_arena_copy_string(arena, string.data, string.size), string.size};
}

bool sinter_string_ends_with(const char *text, const char *ending) {
    size_t size = strlen(text), tail = strlen(ending);
    return size >= tail && strcmp(text + size - tail, ending) == 0;
}

static bool is_identifier_byte(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

bool sinter_string_is_identifier(sinter_string string) {
    if (!string.size || isdigit((unsigned char)*string.data)) return false;
    for (size_t i = 0; i < string.size; i++)
        if (!is_identifier_byte(string.data[i])) return false;
    return true;
}

void sinter_make_identifier(char *text) {
    for (; *text; text++)
        if (!is_identifier_byte(*text)) *text = '_';
}

int sinter_hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

void sinter_text_deinit(sinter_text *text) {
    sinter_heap_free(text->data);
    *text = (sinter_text){0};
}

/* Room for `extra` more bytes and the NUL. */
static void text_reserve(sinter_text *text, size_t extra) {
    size_t wanted = text->size + extra + 1;
    if (wanted <= extra) wanted = SIZE_MAX; /* overflow: let the allocator refuse */
    if (wanted <= text->capacity) return;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < wanted) capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    text->data = sinter_heap_realloc(text->data, capacity);
    text->capacity = capacity;
}

void sinter_text_append(sinter_text *text, const char *data, size_t size) {
    text_reserve(text, size);
    if (size) memcpy(text->data + text->size, data, size);
    text->size += size;
    text->data[text->size] = 0;
}

void sinter_text_append_string(sinter_text *text, const char *string) {
    sinter_text_append(text, string, strlen(string));
}

void sinter_text_format(sinter_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(text, format, arguments);
    va_end(arguments);
}

void sinter_text_format_list(sinter_text *text, const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    assert(size >= 0);
    text_reserve(text, (size_t)size);
    vsnprintf(text->data + text->size, (size_t)size + 1, format, again);
    text->size += (size_t)size;
    va_end(again);
}

size_t sinter_utf8_decode(const char *data, size_t size, uint32_t *out_code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)data;
    size_t length = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if ((at[0] >= 0x80 && at[0] < 0xc2) || at[0] > 0xf4 || length > size) return 0;
    uint32_t code = length == 1 ? at[0] : at[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    if (code < least[length] || code > SINTER_LAST_CODE_POINT || surrogate) return 0;
    *out_code = code;
    return length;
}

/* The first character of data, escaped where it is a control character or no character at all; its bytes. */
static size_t append_character(sinter_text *text, const char *data, size_t size) {
    const unsigned char *at = (const unsigned char *)data;
    uint32_t code = 0;
    size_t length = sinter_utf8_decode(data, size, &code);
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    if (*at == '\n')
        sinter_text_append(text, "\\n", 2);
    else if (*at == '\t')
        sinter_text_append(text, "\\t", 2);
    else if (length && !control)
        sinter_text_append(text, data, length);
    else
        for (size_t i = 0; i < length || i == 0; i++) sinter_text_format(text, "\\x%02x", at[i]);
    return length ? length : 1;
}

void sinter_text_quote(sinter_text *text, sinter_string string) {
    sinter_text_append(text, "\"", 1);
    for (size_t i = 0; i < string.size;) {
        if (string.data[i] == '"' || string.data[i] == '\\') sinter_text_append(text, "\\", 1);
        i += append_character(text, string.data + i, string.size - i);
    }
    sinter_text_append(text, "\"", 1);
}

void sinter_text_printable(sinter_text *text, sinter_string string, const char *kept) {
    for (size_t i = 0; i < string.size;)
        if (string.data[i] && strchr(kept, string.data[i]))
            sinter_text_append(text, &string.data[i++], 1);
        else
            i += append_character(text, string.data + i, string.size - i);
}

/* What the escape at *cursor, a backslash, stands for; moves past it. -1 where it is unknown. */
static int read_escape(const char **cursor, const char *end) {
    static const char from[] = "nt\"\\", to[] = "\n\t\"\\";
    const char *at = *cursor + 1;
    if (at == end) return -1;
    if (*at == 'x') {
        if (end - at < 3 || sinter_hex_digit(at[1]) < 0 || sinter_hex_digit(at[2]) < 0) return -1;
        *cursor = at + 3;
        return sinter_hex_digit(at[1]) << 4 | sinter_hex_digit(at[2]);
    }
    const char *found = *at ? strchr(from, *at) : NULL;
    if (!found) return -1;
    *cursor = at + 1;
    return to[found - from];
}

bool sinter_text_unquote(sinter_text *text, const char **cursor, const char *end) {
    const char *at = *cursor;
    if (at == end || *at != '"') return false;
    sinter_text_append(text, "", 0); /* an empty string still has data */
    for (at++; at < end && *at != '"' && *at != '\n';) {
        int byte = *at == '\\' ? read_escape(&at, end) : (unsigned char)*at++;
        if (byte < 0) break;
        char c = (char)byte;
        sinter_text_append(text, &c, 1);
    }
    bool closed = at < end && *at == '"';
    *cursor = closed ? at + 1 : at;
    return closed;
}

/* The fewest digits that survive the way back through strtod (or strtof). Numbers of at most
 * `sure` digits always survive, so shorter tries are only worth it below the normal range. */
static void append_shortest(sinter_text *text, double value, bool single) {
    if (isnan(value) || isinf(value)) {
        sinter_text_append_string(text, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    int sure = single ? 6 : 15, most = single ? 9 : 17;
    bool subnormal = value != 0 && fabs(value) < (single ? 0x1p-126 : 0x1p-1022);
    char digits[64];
    for (int precision = subnormal ? 1 : sure; precision <= most; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        double back = single ? (double)strtof(digits, NULL) : strtod(digits, NULL);
        if (back == value) break;
    }
    sinter_text_append_string(text, digits);
    if (!strpbrk(digits, ".e")) sinter_text_append(text, ".0", 2);
}

void sinter_text_double(sinter_text *text, double value) {
    append_shortest(text, value, false);
}

void sinter_text_float(sinter_text *text, float value) {
    append_shortest(text, (double)value, true);
}

void sinter_text_json(sinter_text *text, sinter_string string) {
    sinter_text_append(text, "\"", 1);
    for (size_t i = 0; i < string.size;) {
        uint32_t code = 0;
        size_t length = sinter_utf8_decode(string.data + i, string.size - i, &code);
        if (length == 0) {
            sinter_text_append_string(text, "\\ufffd");
            length = 1;
        } else if (code < 0x20 || code == '"' || code == '\\' || code == 0x7f) {
            sinter_text_format(text, "\\u%04x", code);
        } else {
            sinter_text_append(text, string.data + i, length);
        }
        i += length;
    }
    sinter_text_append(text, "\"", 1);
}

void sinter_text_html(sinter_text *text, sinter_string string) {
    static const struct {
        char byte;
        const char *entity;
    } entities[] = {{'<', "&lt;"}, {'>', "&gt;"}, {'&', "&amp;"}, {'"', "&quot;"}};
    for (size_t i = 0; i < string.size;) {
        uint32_t code = 0;
        size_t length = sinter_utf8_decode(string.data + i, string.size - i, &code), entity = 0;
        while (entity < sizeof entities / sizeof *entities &&
               entities[entity].byte != string.data[i])
            entity++;
        if (entity < sizeof entities / sizeof *entities)
            sinter_text_append_string(text, entities[entity].entity);
        else if (length == 0 || (code < 0x20 && code != '\n') || code == 0x7f)
            sinter_text_append_string(text, "\xef\xbf\xbd");
        else
            sinter_text_append(text, string.data + i, length);
        i += length ? length : 1;
    }
}
