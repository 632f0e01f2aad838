/* Reader and writer of .npy, versions 1 to 3: see npy.h. The header is a Python dictionary literal
 * with three known keys; anything else in it is an error. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py */
#include "frontends/npy.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

/* One row an element type that the format names. */
static const struct {
    char kind;
    uint8_t bytes;
    sinter_dtype dtype;
} formats[] = {
    {'f', 4, SINTER_DTYPE_f32}, {'f', 8, SINTER_DTYPE_f64},   {'f', 2, SINTER_DTYPE_f16},
    {'i', 1, SINTER_DTYPE_i8},  {'i', 2, SINTER_DTYPE_i16},   {'i', 4, SINTER_DTYPE_i32},
    {'i', 8, SINTER_DTYPE_i64}, {'u', 1, SINTER_DTYPE_u8},    {'u', 2, SINTER_DTYPE_u16},
    {'u', 4, SINTER_DTYPE_u32}, {'u', 8, SINTER_DTYPE_u64},   {'b', 1, SINTER_DTYPE_bool},
    {'c', 8, SINTER_DTYPE_c64}, {'c', 16, SINTER_DTYPE_c128},
};

typedef struct npy_header {
    sinter_string descr;
    char order, kind; /* 0: not known */
    sinter_dtype dtype;
    uint64_t width; /* of one element in the file, bytes */
    bool fortran;
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK];
    uint64_t count;
    const uint8_t *data;
    size_t data_size;
} npy_header;

typedef struct npy_cursor {
    const char *at, *end;
} npy_cursor;

bool sinter_npy_is(const void *data, size_t size) {
    return size >= sizeof magic && memcmp(data, magic, sizeof magic) == 0;
}

/* ---- header ---- */

static void skip_blanks(npy_cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(npy_cursor *c, const char *token) {
    skip_blanks(c);
    size_t size = strlen(token);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, token, size) != 0) return false;
    c->at += size;
    return true;
}

static bool take_number(npy_cursor *c, uint64_t *out_value) {
    skip_blanks(c);
    uint64_t value = 0;
    const char *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c->at - '0'), &value))
            return false;
    *out_value = value;
    return c->at > start;
}

/* '<f4': byte order, kind, bytes (characters for 'U'); of what is said in another way no more than the text. */
static bool parse_descr(npy_cursor *c, npy_header *header) {
    char quote = take(c, "'") ? '\'' : take(c, "\"") ? '"' : 0;
    const char *start = c->at, *end = quote ? memchr(start, quote, (size_t)(c->end - start)) : NULL;
    if (!end) return false;
    header->descr = (sinter_string){start, (size_t)(end - start)};
    c->at = end + 1;
    npy_cursor width = {start + 2, end};
    if (end - start < 3 || !memchr("<>=|", start[0], 4) || !take_number(&width, &header->width) ||
        width.at != end)
        return true;
    header->order = start[0];
    header->kind = start[1];
    return header->kind != 'U' || !__builtin_mul_overflow(header->width, 4, &header->width);
}

static bool parse_shape(npy_cursor *c, npy_header *header) {
    if (!take(c, "(")) return false;
    while (!take(c, ")")) {
        uint64_t dim;
        if (header->rank == SINTER_MAX_RANK || !take_number(c, &dim) || dim > INT64_MAX)
            return false;
        take(c, "L");
        header->dims[header->rank++] = (int64_t)dim;
        if (!take(c, ",") && !(c->at < c->end && *c->at == ')')) return false;
    }
    return true;
}

static bool parse_dictionary(npy_cursor *c, npy_header *header) {
    unsigned seen = 0;
    if (!take(c, "{")) return false;
    while (!take(c, "}")) {
        if (take(c, "'descr'")) {
            if ((seen & 1) || !take(c, ":") || !parse_descr(c, header)) return false;
            seen |= 1;
        } else if (take(c, "'fortran_order'")) {
            if ((seen & 2) || !take(c, ":")) return false;
            header->fortran = take(c, "True");
            if (!header->fortran && !take(c, "False")) return false;
            seen |= 2;
        } else if (take(c, "'shape'")) {
            if ((seen & 4) || !take(c, ":") || !parse_shape(c, header)) return false;
            seen |= 4;
        } else {
            return false;
        }
        if (!take(c, ",") && !(c->at < c->end && *c->at == '}')) return false;
    }
    return seen == 7;
}

static bool count_elements(npy_header *header) {
    header->count = 1;
    for (uint32_t i = 0; i < header->rank; i++)
        if (header->dims[i] == 0) header->count = 0;
    for (uint32_t i = 0; i < header->rank && header->count; i++)
        if (__builtin_mul_overflow(header->count, (uint64_t)header->dims[i], &header->count))
            return false;
    return header->count <= INT64_MAX;
}

/* Whether the format has a name for it: then numbers of another name are others, not its bits. */
static bool is_named(sinter_dtype dtype) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].dtype == dtype) return true;
    return false;
}

static sinter_dtype dtype_of(const npy_header *header, sinter_dtype expected) {
    if (!header->width) return SINTER_DTYPE_NONE;
    uint32_t bits = sinter_dtype_infos[expected].bits;
    bool narrow = header->width == 1 && bits < 8; /* one element a byte, packed on reading */
    bool raw = header->kind == 'V' || header->kind == 'u' || (narrow && header->kind == 'i');
    if (expected && raw && expected != SINTER_DTYPE_string && expected != SINTER_DTYPE_bool &&
        (narrow || bits == header->width * 8) && (header->kind == 'V' || !is_named(expected)))
        return expected;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].kind == header->kind && formats[i].bytes == header->width)
            return formats[i].dtype;
    return header->kind == 'U' || header->kind == 'S' ? SINTER_DTYPE_string : SINTER_DTYPE_NONE;
}

static bool parse_header(const uint8_t *data, size_t size, const char *path, sinter_dtype expected,
                         npy_header *header, sinter_diag *diag) {
    if (!sinter_npy_is(data, size) || size < 10 || data[6] < 1 || data[6] > 3)
        return sinter_error(diag, path, "not a .npy file of version 1 to 3");
    size_t prefix = data[6] == 1 ? 10 : 12, length = 0;
    for (size_t i = prefix; i > 8 && size >= prefix; i--) length = length << 8 | data[i - 1];
    if (size < prefix || length > size - prefix)
        return sinter_error(diag, path, "the .npy header is cut short");
    npy_cursor cursor = {(const char *)data + prefix, (const char *)data + prefix + length};
    if (!parse_dictionary(&cursor, header))
        return sinter_error(diag, path,
                            "the .npy header is not understood: expected a plain element type, "
                            "fortran_order and a shape of at most %d dimensions",
                            SINTER_MAX_RANK);
    header->dtype = dtype_of(header, expected);
    if (header->dtype == SINTER_DTYPE_NONE)
        return sinter_error(diag, path, "element type '%.*s' is not supported%s",
                            (int)(header->descr.size < 40 ? header->descr.size : 40),
                            header->descr.data,
                            memchr(header->descr.data, 'O', header->descr.size)
                                ? " (pickled objects are never read)"
                                : "");
    header->data = data + prefix + length;
    header->data_size = size - prefix - length;
    uint64_t bytes;
    if (!count_elements(header) || __builtin_mul_overflow(header->count, header->width, &bytes))
        return sinter_error(diag, path, "the number of elements overflows");
    if (bytes != header->data_size)
        return sinter_error(diag, path, "%zu bytes of data, expected %" PRIu64, header->data_size,
                            bytes);
    return true;
}

/* ---- elements ---- */

/* Position in the file of row-major element i. */
static uint64_t source_index(const npy_header *header, uint64_t index) {
    if (!header->fortran) return index;
    uint64_t position = 0, strides[SINTER_MAX_RANK] = {0}, stride = 1;
    for (uint32_t axis = 0; axis < header->rank; axis++) {
        strides[axis] = stride;
        stride *= (uint64_t)header->dims[axis];
    }
    for (uint32_t axis = header->rank; axis-- > 0; index /= (uint64_t)header->dims[axis])
        position += index % (uint64_t)header->dims[axis] * strides[axis];
    return position;
}

static void append_utf8(sinter_text *text, uint32_t code) {
    char bytes[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = size; i-- > 1; code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3f));
    static const unsigned leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    bytes[0] = (char)(leads[size] | code);
    sinter_text_append(text, bytes, size);
}

static bool read_string(const npy_header *header, const uint8_t *bytes, sinter_text *text) {
    text->size = 0;
    uint64_t step = header->kind == 'U' ? 4 : 1, size = header->width;
    while (size >= step && memcmp(bytes + size - step, "\0\0\0\0", step) == 0) size -= step;
    for (uint64_t i = 0; i < size; i += step) {
        uint32_t code = bytes[i];
        if (step == 4)
            code = header->order == '>'
                       ? (uint32_t)bytes[i] << 24 | (uint32_t)bytes[i + 1] << 16 |
                             (uint32_t)bytes[i + 2] << 8 | bytes[i + 3]
                       : (uint32_t)bytes[i + 3] << 24 | (uint32_t)bytes[i + 2] << 16 |
                             (uint32_t)bytes[i + 1] << 8 | bytes[i];
        if (code > 0x10ffff) return false;
        if (step == 4)
            append_utf8(text, code);
        else
            sinter_text_append(text, (const char *)&bytes[i], 1);
    }
    return true;
}

static bool read_strings(const npy_header *header, const char *path, sinter_tensor *tensor,
                         sinter_diag *diag) {
    sinter_text text = {0};
    bool ok = true;
    for (uint64_t i = 0; ok && i < header->count; i++) {
        ok = read_string(header, header->data + source_index(header, i) * header->width, &text);
        sinter_tensor_set_string(tensor, (int64_t)i, (sinter_string){text.data, text.size});
    }
    sinter_text_deinit(&text);
    return ok || sinter_error(diag, path, "a character is outside Unicode");
}

/* Copies into row-major, little-endian, packed form. */
static void read_elements(const npy_header *header, sinter_tensor *tensor) {
    size_t width = (size_t)header->width;
    bool narrow = sinter_dtype_infos[tensor->dtype].bits < 8;
    size_t part = header->kind == 'c' ? width / 2 : width; /* what byte order applies to */
    uint8_t *out = sinter_tensor_mutable(tensor);
    for (uint64_t i = 0; i < header->count; i++) {
        const uint8_t *in = header->data + source_index(header, i) * width;
        if (narrow) {
            uint32_t bits = sinter_dtype_infos[tensor->dtype].bits, at = (uint32_t)(i * bits % 8);
            out[i * bits / 8] |= (uint8_t)((in[0] & ((1u << bits) - 1)) << at);
        } else if (tensor->dtype == SINTER_DTYPE_bool) {
            out[i] = in[0] != 0;
        } else {
            for (size_t byte = 0; byte < width; byte++)
                out[i * width + byte] = header->order == '>'
                                            ? in[byte / part * part + part - 1 - byte % part]
                                            : in[byte];
        }
    }
}

bool sinter_npy_read(sinter_storage *file, const char *path, sinter_dtype expected,
                     sinter_tensor *out_tensor, sinter_diag *diag) {
    npy_header header = {0};
    if (!parse_header(sinter_storage_data(file), sinter_storage_size(file), path, expected, &header,
                      diag))
        return false;
    sinter_dtype dtype = header.dtype;
    bool in_place = !header.fortran && header.order != '>' && dtype != SINTER_DTYPE_bool &&
                    dtype != SINTER_DTYPE_string && sinter_dtype_infos[dtype].bits >= 8;
    if (in_place) {
        *out_tensor = (sinter_tensor){.kind = SINTER_TYPE_TENSOR,
                                      .dtype = dtype,
                                      .rank = header.rank,
                                      .data = header.data,
                                      .storage = sinter_storage_retain(file)};
        memcpy(out_tensor->dims, header.dims, sizeof header.dims);
        return true;
    }
    if (!sinter_tensor_create(out_tensor, dtype, header.rank, header.dims, diag)) return false;
    if (dtype != SINTER_DTYPE_string) {
        read_elements(&header, out_tensor);
    } else if (!read_strings(&header, path, out_tensor, diag)) {
        sinter_tensor_deinit(out_tensor);
        return false;
    }
    return true;
}

/* ---- writing ---- */

/* Characters of a UTF-8 string, or -1 where it is not one. */
static int64_t count_characters(sinter_string string) {
    int64_t count = 0;
    uint32_t code;
    for (size_t i = 0, length; i < string.size; i += length, count++) {
        length = sinter_utf8_decode(string.data + i, string.size - i, &code);
        if (length == 0) return -1;
    }
    return count;
}

/* As characters of four bytes where unicode, which all are then, else as bytes; zeros up to width bytes. */
static void write_string(sinter_file_writer *file, sinter_string string, bool unicode,
                         uint64_t width) {
    uint64_t written = 0;
    uint32_t code = 0;
    for (size_t i = 0; unicode && i < string.size; written += 4) {
        i += sinter_utf8_decode(string.data + i, string.size - i, &code);
        const uint8_t bytes[] = {(uint8_t)code, (uint8_t)(code >> 8), (uint8_t)(code >> 16), 0};
        sinter_file_writer_append(file, bytes, sizeof bytes);
    }
    if (!unicode) {
        sinter_file_writer_append(file, string.data, string.size);
        written = string.size;
    }
    for (; written < width; written++) sinter_file_writer_append(file, "", 1);
}

static void write_header(sinter_file_writer *file, char order, char kind, uint64_t width,
                         const sinter_tensor *tensor) {
    sinter_text text = {0};
    sinter_text_format(&text, "{'descr': '%c%c%" PRIu64 "', 'fortran_order': False, 'shape': (",
                       order, kind, width);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(&text, "%s%" PRId64 "%s", i ? " " : "", tensor->dims[i],
                           i + 1 < tensor->rank || tensor->rank == 1 ? "," : "");
    sinter_text_append_string(&text, "), }");
    while ((10 + text.size + 1) % 64) sinter_text_append_string(&text, " ");
    sinter_text_append_string(&text, "\n");
    sinter_file_writer_append(file, magic, sizeof magic);
    uint8_t rest[4] = {1, 0, (uint8_t)text.size, (uint8_t)(text.size >> 8)};
    sinter_file_writer_append(file, rest, sizeof rest);
    sinter_file_writer_append(file, text.data, text.size);
    sinter_text_deinit(&text);
}

/* Readers of .npy take zeros at the end for padding. */
static bool write_strings(sinter_file_writer *file, const sinter_tensor *tensor,
                          sinter_diag *diag) {
    int64_t count = sinter_tensor_count(tensor), longest = 1, longest_bytes = 1;
    bool unicode = true;
    for (int64_t i = 0; i < count; i++) {
        sinter_string string = sinter_tensor_get_string(tensor, i);
        int64_t characters = count_characters(string);
        if (string.size && !string.data[string.size - 1])
            return sinter_error(diag, file->path,
                                "element %lld ends in a zero byte, which .npy does not keep; "
                                "write a .pb",
                                (long long)i);
        if (characters < 0) unicode = false;
        if (characters > longest) longest = characters;
        if ((int64_t)string.size > longest_bytes) longest_bytes = (int64_t)string.size;
    }
    uint64_t width = (uint64_t)(unicode ? longest : longest_bytes);
    write_header(file, unicode ? '<' : '|', unicode ? 'U' : 'S', width, tensor);
    for (int64_t i = 0; i < count; i++)
        write_string(file, sinter_tensor_get_string(tensor, i), unicode,
                     unicode ? 4 * width : width);
    return true;
}

bool sinter_npy_write(sinter_file_writer *file, const sinter_tensor *tensor, sinter_diag *diag) {
    if (tensor->kind != SINTER_TYPE_TENSOR)
        return sinter_error(diag, file->path,
                            ".npy holds one tensor; sequences and optionals need .pb");
    const sinter_dtype_info *info = &sinter_dtype_infos[tensor->dtype];
    if (tensor->dtype == SINTER_DTYPE_string) return write_strings(file, tensor, diag);
    char kind = info->class == SINTER_CLASS_UINT  ? 'u'
                : info->class == SINTER_CLASS_INT ? 'i'
                                                  : 'V';
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (formats[i].dtype == tensor->dtype) kind = formats[i].kind;
    uint64_t width = info->bits < 8 ? 1 : info->bits / 8;
    write_header(file, width == 1 || kind == 'V' ? '|' : '<', kind, width, tensor);
    if (info->bits >= 8) {
        sinter_file_writer_append(file, tensor->data, sinter_tensor_bytes(tensor));
        return true;
    }
    const uint8_t *packed = tensor->data;
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++) {
        size_t bit = (size_t)i * info->bits;
        unsigned code = packed[bit / 8] >> bit % 8 & ((1u << info->bits) - 1);
        if (kind == 'i' && code >> (info->bits - 1)) code |= 0xffu << info->bits;
        sinter_file_writer_append(file, &(uint8_t){(uint8_t)code}, 1);
    }
    return true;
}
