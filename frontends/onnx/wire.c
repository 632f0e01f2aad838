/* The scanner in front of protobuf-c: see wire.h for why. One pass over the file; the reduced copy
 * gets five-byte lengths for nested messages (valid, not minimal), so that they can be filled in
 * afterwards. Test: tests/fuzz/onnx_fuzz.c, tests/suites/bad_input.py */
#include "frontends/onnx/wire.h"
#include <inttypes.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { LENGTH_BYTES = 5, TENSOR_RAW_DATA = 9 };

typedef struct scanner {
    const uint8_t *start;
    sinter_arena *arena;
    sinter_wire_spans *spans;
    sinter_text out;
    uint32_t span_field;
    const char *where;
    sinter_diag *diag;
} scanner;

/* One field as it lies in the file. */
typedef struct wire_field {
    const uint8_t *tag, *payload, *end; /* payload of WIRE_BYTES is past the length */
    uint32_t number, type;
} wire_field;

static bool fail(scanner *s, const uint8_t *at, const char *what) {
    return sinter_error(s->diag, s->where, "damaged or not an ONNX file: byte %zu: %s",
                        (size_t)(at - s->start), what);
}

/* At most ten bytes; the tenth has one bit to give. */
static bool read_varint(const uint8_t **cursor, const uint8_t *end, uint64_t *out_value) {
    uint64_t value = 0;
    const uint8_t *at = *cursor;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *cursor = at;
            *out_value = value;
            return true;
        }
    }
    return false;
}

static bool read_field(scanner *s, const uint8_t *at, const uint8_t *end, wire_field *out_field) {
    const uint8_t *tag = at;
    uint64_t key, length;
    if (!read_varint(&at, end, &key)) return fail(s, tag, "the field tag is cut short");
    if (key >> 3 == 0 || key >> 3 > 536870911)
        return fail(s, tag, "the field number is out of range");
    *out_field = (wire_field){tag, at, end, (uint32_t)(key >> 3), (uint32_t)(key & 7)};
    switch (out_field->type) {
    case WIRE_VARINT:
        if (!read_varint(&at, end, &length)) return fail(s, at, "the number is cut short");
        break;
    case WIRE_64:
    case WIRE_32:
        length = out_field->type == WIRE_64 ? 8 : 4;
        if ((size_t)(end - at) < length) return fail(s, at, "the number is cut short");
        at += length;
        break;
    case WIRE_BYTES:
        if (!read_varint(&at, end, &length)) return fail(s, at, "the length is cut short");
        if (length > (size_t)(end - at)) {
            return sinter_error(s->diag, s->where,
                                "damaged or not an ONNX file: byte %zu: field %" PRIu32
                                " says it has %" PRIu64 " bytes, expected at most the %zu left",
                                (size_t)(tag - s->start), out_field->number, length,
                                (size_t)(end - at));
        }
        out_field->payload = at;
        at += length;
        break;
    default:
        return fail(s, tag, "the wire type is not one that the format uses");
    }
    out_field->end = at;
    return true;
}

static uint32_t wire_type_of(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return WIRE_32;
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

static bool check_packed(scanner *s, const wire_field *field, uint32_t element) {
    const uint8_t *at = field->payload;
    uint64_t ignored;
    if (element != WIRE_VARINT) {
        size_t size = element == WIRE_64 ? 8 : 4;
        return (size_t)(field->end - at) % size == 0 ||
               fail(s, field->tag, "a packed list has half an element");
    }
    while (at < field->end)
        if (!read_varint(&at, field->end, &ignored))
            return fail(s, at, "a packed list has a damaged number");
    return true;
}

/* A scalar, string, byte or packed field: checked, then copied as it is. */
static bool copy_plain(scanner *s, const ProtobufCFieldDescriptor *descriptor,
                       const wire_field *field) {
    uint32_t expected = wire_type_of(descriptor->type);
    bool packed = expected != WIRE_BYTES && field->type == WIRE_BYTES &&
                  descriptor->label == PROTOBUF_C_LABEL_REPEATED;
    if (packed) {
        if (!check_packed(s, field, expected)) return false;
    } else if (field->type != expected) {
        return sinter_error(s->diag, s->where,
                            "damaged or not an ONNX file: byte %zu: field '%s' has wire type "
                            "%" PRIu32 ", expected %" PRIu32,
                            (size_t)(field->tag - s->start), descriptor->name, field->type,
                            expected);
    } else if (descriptor->type == PROTOBUF_C_TYPE_STRING && field->payload != field->end &&
               memchr(field->payload, 0, (size_t)(field->end - field->payload))) {
        return fail(s, field->payload, "a name holds a zero byte");
    }
    sinter_text_append(&s->out, (const char *)field->tag, (size_t)(field->end - field->tag));
    return true;
}

static void append_varint(scanner *s, uint64_t value) {
    char bytes[10];
    size_t count = 0;
    for (; value >= 0x80; value >>= 7) bytes[count++] = (char)(value | 0x80);
    bytes[count++] = (char)value;
    sinter_text_append(&s->out, bytes, count);
}

static void append_span(scanner *s, const wire_field *field) {
    append_varint(s, (uint64_t)s->span_field << 3 | WIRE_VARINT);
    append_varint(s, s->spans->list.count);
    sinter_wire_span span = {field->payload, (size_t)(field->end - field->payload)};
    sinter_vector_push(s->arena, &s->spans->list, span);
}

static bool scan_message(scanner *s, const ProtobufCMessageDescriptor *descriptor,
                         const uint8_t *at, const uint8_t *end, uint32_t depth);

static bool scan_nested(scanner *s, const ProtobufCMessageDescriptor *descriptor,
                        const wire_field *field, uint32_t depth) {
    if (field->type != WIRE_BYTES) return fail(s, field->tag, "a message was expected here");
    append_varint(s, (uint64_t)field->number << 3 | WIRE_BYTES);
    size_t length_at = s->out.size;
    sinter_text_append(&s->out, "\x80\x80\x80\x80\x00", LENGTH_BYTES);
    if (!scan_message(s, descriptor, field->payload, field->end, depth + 1)) return false;
    size_t length = s->out.size - length_at - LENGTH_BYTES;
    if (length > INT32_MAX)
        return fail(s, field->tag, "a message has more than 2 GiB outside the raw data of tensors");
    for (unsigned i = 0; i < LENGTH_BYTES; i++) {
        unsigned byte = (unsigned)(length >> (7 * i)) & 0x7fu;
        s->out.data[length_at + i] = (char)(i + 1 < LENGTH_BYTES ? byte | 0x80u : byte);
    }
    return true;
}

static bool scan_message(scanner *s, const ProtobufCMessageDescriptor *descriptor,
                         const uint8_t *at, const uint8_t *end, uint32_t depth) {
    if (depth > SINTER_WIRE_MAX_DEPTH)
        return sinter_error(s->diag, s->where,
                            "messages are nested more than %d deep (at byte %zu)",
                            SINTER_WIRE_MAX_DEPTH, (size_t)(at - s->start));
    bool is_tensor = descriptor == &onnx__tensor_proto__descriptor;
    uint64_t seen = 0; /* singular messages: a second one would be merged, which no writer means */
    while (at < end) {
        wire_field field = {0};
        if (!read_field(s, at, end, &field)) return false;
        at = field.end;
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(descriptor, field.number);
        if (!known || (is_tensor && field.number == s->span_field)) continue;
        if (known->type == PROTOBUF_C_TYPE_MESSAGE) {
            uint64_t bit = UINT64_C(1) << ((size_t)(known - descriptor->fields) & 63);
            if (known->label != PROTOBUF_C_LABEL_REPEATED && (seen & bit))
                return fail(s, field.tag, "a field that may be there once is there twice");
            seen |= bit;
            if (!scan_nested(s, known->descriptor, &field, depth)) return false;
        } else if (is_tensor && s->spans && field.number == TENSOR_RAW_DATA &&
                   field.type == WIRE_BYTES &&
                   (size_t)(field.end - field.payload) > SINTER_WIRE_SPAN_BYTES) {
            append_span(s, &field);
        } else if (!copy_plain(s, known, &field)) {
            return false;
        }
    }
    return true;
}

static void *arena_alloc(void *arena, size_t size) {
    return sinter_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *pointer) {
    (void)arena;
    (void)pointer;
}

ProtobufCMessage *sinter_wire_unpack(sinter_arena *arena,
                                     const ProtobufCMessageDescriptor *descriptor, const void *data,
                                     size_t size, sinter_wire_spans *out_spans, const char *where,
                                     sinter_diag *diag) {
    const ProtobufCFieldDescriptor *span_field = protobuf_c_message_descriptor_get_field_by_name(
        &onnx__tensor_proto__descriptor, "mapped_span");
    scanner s = {.start = data,
                 .arena = arena,
                 .spans = out_spans,
                 .span_field = span_field->id,
                 .where = where,
                 .diag = diag};
    ProtobufCMessage *message = NULL;
    if (scan_message(&s, descriptor, s.start, s.start + size, 1)) {
        ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
        message = protobuf_c_message_unpack(descriptor, &allocator, s.out.size,
                                            (const uint8_t *)s.out.data);
        if (!message) sinter_error(diag, where, "damaged or not an ONNX file");
    }
    sinter_text_deinit(&s.out);
    return message;
}

/* ---- writing ---- */

typedef struct file_buffer {
    ProtobufCBuffer base; /* first: protobuf-c hands back a pointer to it */
    sinter_file_writer *file;
} file_buffer;

static void append_to_file(ProtobufCBuffer *buffer, size_t size, const uint8_t *data) {
    sinter_file_writer_append(((file_buffer *)buffer)->file, data, size);
}

void sinter_wire_write(const ProtobufCMessage *message, sinter_file_writer *file) {
    file_buffer buffer = {{append_to_file}, file};
    protobuf_c_message_pack_to_buffer(message, &buffer.base);
}
