/* TensorProto -> sinter_tensor: see tensor_proto.h. The five places where a message may keep its
 * elements (raw bytes, typed lists, external file, span of the mapped file, strings) end in one
 * packed layout. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py */
#include "frontends/onnx/tensor_proto.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DATA_LOCATION_EXTERNAL = 1 };

/* What is being read: the tensor so far, the message, and how to complain about it. */
typedef struct reading {
    const sinter_tensor_source *source;
    const Onnx__TensorProto *proto;
    const char *name;
    uint64_t count, bytes;
    sinter_tensor tensor;
} reading;

__attribute__((format(printf, 2, 3))) static bool fail(const reading *r, const char *format, ...) {
    sinter_text text = {0};
    sinter_text_format(&text, "tensor '%s': ", r->name);
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_error(r->source->diag, r->source->where, "%s", text.data);
    sinter_text_deinit(&text);
    return false;
}

static bool read_header(reading *r) {
    const Onnx__TensorProto *proto = r->proto;
    r->tensor.kind = SINTER_TYPE_TENSOR;
    r->tensor.dtype = sinter_dtype_from_onnx(proto->has_data_type ? proto->data_type : 0);
    if (r->tensor.dtype == SINTER_DTYPE_NONE)
        return fail(r, "unknown element type %" PRId32,
                    proto->has_data_type ? proto->data_type : 0);
    if (proto->segment) return fail(r, "tensors in segments are not supported");
    if (proto->n_dims > SINTER_MAX_RANK)
        return fail(r, "%zu dimensions, expected at most %d", proto->n_dims, SINTER_MAX_RANK);
    r->tensor.rank = (uint32_t)proto->n_dims;
    r->count = 1;
    for (size_t i = 0; i < proto->n_dims; i++) {
        int64_t dim = proto->dims[i];
        r->tensor.dims[i] = dim;
        if (dim < 0) return fail(r, "dimension %zu is %" PRId64 ", expected 0 or more", i, dim);
    }
    for (size_t i = 0; i < proto->n_dims; i++)
        if (proto->dims[i] == 0) r->count = 0;
    for (size_t i = 0; i < proto->n_dims && r->count; i++)
        if (__builtin_mul_overflow(r->count, (uint64_t)proto->dims[i], &r->count))
            return fail(r, "the number of elements overflows");
    if (r->count > INT64_MAX || !sinter_dtype_bytes(r->tensor.dtype, r->count, &r->bytes) ||
        r->bytes > PTRDIFF_MAX)
        return fail(r, "the number of elements overflows");
    return true;
}

/* Bytes of one list element, which for sub-byte types holds several tensor elements. */
static size_t unit_bytes(sinter_dtype dtype) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    return bits < 8 ? 1 : bits / 8;
}

static bool wrong_count(const reading *r, const char *list, size_t got, size_t expected) {
    return fail(r, "%zu elements in %s, expected %zu", got, list, expected);
}

static bool own_storage(reading *r) {
    r->tensor.storage = sinter_storage_create((size_t)r->bytes);
    if (!r->tensor.storage) return fail(r, "no memory for %" PRIu64 " bytes", r->bytes);
    r->tensor.data = sinter_storage_data(r->tensor.storage);
    return true;
}

/* Any byte other than 0 and 1 would be undefined behaviour further on. */
static bool normalize_bool(reading *r) {
    const uint8_t *bytes = r->tensor.data;
    size_t i = 0;
    while (i < r->bytes && bytes[i] <= 1) i++;
    if (i == r->bytes) return true;
    sinter_storage *shared = r->tensor.storage;
    if (!own_storage(r)) {
        r->tensor.storage = shared;
        return false;
    }
    uint8_t *fixed = sinter_tensor_mutable(&r->tensor);
    for (i = 0; i < r->bytes; i++) fixed[i] = bytes[i] != 0;
    sinter_storage_release_reference(shared);
    return true;
}

/* Bytes that stay where they are: a part of a mapped file. */
static bool share(reading *r, sinter_storage *storage, const void *data, uint64_t size) {
    if (size != r->bytes)
        return fail(r, "%" PRIu64 " bytes of data, expected %" PRIu64, size, r->bytes);
    r->tensor.storage = sinter_storage_retain(storage);
    r->tensor.data = data;
    return r->tensor.dtype != SINTER_DTYPE_bool || normalize_bool(r);
}

static bool copy_raw(reading *r, const void *data, size_t size) {
    if (size != r->bytes) return fail(r, "%zu bytes of data, expected %" PRIu64, size, r->bytes);
    if (!own_storage(r)) return false;
    if (size) memcpy(sinter_tensor_mutable(&r->tensor), data, size);
    return r->tensor.dtype != SINTER_DTYPE_bool || normalize_bool(r);
}

/* A list whose elements are as wide as the tensor's (or, for complex types, half as wide). */
static bool copy_list(reading *r, const char *list, const void *data, size_t count, size_t width) {
    if (count != r->bytes / width) return wrong_count(r, list, count, (size_t)(r->bytes / width));
    return copy_raw(r, data, count * width);
}

static bool narrow_int32(reading *r) {
    const Onnx__TensorProto *proto = r->proto;
    size_t width = unit_bytes(r->tensor.dtype), expected = (size_t)(r->bytes / width);
    if (proto->n_int32_data != expected)
        return wrong_count(r, "int32_data", proto->n_int32_data, expected);
    if (!own_storage(r)) return false;
    uint8_t *out = sinter_tensor_mutable(&r->tensor);
    int64_t low = -(INT64_C(1) << (8 * width - 1)), high = (INT64_C(1) << (8 * width)) - 1;
    for (size_t i = 0; i < expected; i++) {
        int64_t value = proto->int32_data[i];
        if (value < low || value > high)
            return fail(r, "int32_data[%zu] is %" PRId64 ", which %s can't hold", i, value,
                        sinter_dtype_infos[r->tensor.dtype].name);
        for (size_t byte = 0; byte < width; byte++)
            out[i * width + byte] = (uint8_t)((uint64_t)value >> (8 * byte));
    }
    return r->tensor.dtype != SINTER_DTYPE_bool || normalize_bool(r);
}

static bool narrow_uint64(reading *r) {
    const Onnx__TensorProto *proto = r->proto;
    if (proto->n_uint64_data != r->count)
        return wrong_count(r, "uint64_data", proto->n_uint64_data, (size_t)r->count);
    if (!own_storage(r)) return false;
    uint32_t *out = sinter_tensor_mutable(&r->tensor);
    for (size_t i = 0; i < r->count; i++) {
        if (proto->uint64_data[i] > UINT32_MAX)
            return fail(r, "uint64_data[%zu] is %" PRIu64 ", which u32 can't hold", i,
                        proto->uint64_data[i]);
        out[i] = (uint32_t)proto->uint64_data[i];
    }
    return true;
}

static bool read_strings(reading *r) {
    const Onnx__TensorProto *proto = r->proto;
    if (proto->n_string_data != r->count)
        return wrong_count(r, "string_data", proto->n_string_data, (size_t)r->count);
    if (!sinter_tensor_create(&r->tensor, SINTER_DTYPE_string, r->tensor.rank, proto->dims,
                              r->source->diag))
        return false;
    for (size_t i = 0; i < r->count; i++) {
        sinter_string value = {(const char *)proto->string_data[i].data, proto->string_data[i].len};
        sinter_tensor_set_string(&r->tensor, (int64_t)i, value);
    }
    return true;
}

static bool read_typed(reading *r) {
    const Onnx__TensorProto *p = r->proto;
    switch (r->tensor.dtype) {
    case SINTER_DTYPE_string:
        return read_strings(r);
    case SINTER_DTYPE_f32:
    case SINTER_DTYPE_c64:
        return copy_list(r, "float_data", p->float_data, p->n_float_data, 4);
    case SINTER_DTYPE_f64:
    case SINTER_DTYPE_c128:
        return copy_list(r, "double_data", p->double_data, p->n_double_data, 8);
    case SINTER_DTYPE_i64:
        return copy_list(r, "int64_data", p->int64_data, p->n_int64_data, 8);
    case SINTER_DTYPE_u64:
        return copy_list(r, "uint64_data", p->uint64_data, p->n_uint64_data, 8);
    case SINTER_DTYPE_u32:
        return narrow_uint64(r);
    default:
        return narrow_int32(r);
    }
}

static bool parse_number(const reading *r, const char *key, const char *text, uint64_t *out_value) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *text < '0' || *text > '9' || *end)
        return fail(r, "external data: %s is '%s', expected a number", key, text);
    *out_value = value;
    return true;
}

static bool read_external(reading *r) {
    const sinter_tensor_source *source = r->source;
    const char *location = NULL;
    uint64_t offset = 0, length = r->bytes;
    for (size_t i = 0; i < r->proto->n_external_data; i++) {
        const Onnx__StringStringEntryProto *entry = r->proto->external_data[i];
        const char *key = entry->key ? entry->key : "", *value = entry->value ? entry->value : "";
        if (strcmp(key, "location") == 0) location = value;
        if (strcmp(key, "offset") == 0 && !parse_number(r, key, value, &offset)) return false;
        if (strcmp(key, "length") == 0 && !parse_number(r, key, value, &length)) return false;
    }
    if (!location) return fail(r, "external data without a location");
    if (!source->external) return fail(r, "external data is not allowed here");
    if (r->tensor.dtype == SINTER_DTYPE_string) return fail(r, "strings can't be external data");
    sinter_storage *storage =
        sinter_external_data_open(source->external, location, source->where, source->diag);
    if (!storage) return false;
    size_t size = sinter_storage_size(storage);
    if (offset > size || length > size - offset)
        return fail(r,
                    "external data: bytes %" PRIu64 " to %" PRIu64 " of '%s', which has %zu bytes",
                    offset, offset + length, location, size);
    return share(r, storage, (const uint8_t *)sinter_storage_data(storage) + offset, length);
}

static bool read_data(reading *r) {
    const Onnx__TensorProto *proto = r->proto;
    if (proto->has_data_location && proto->data_location == DATA_LOCATION_EXTERNAL)
        return read_external(r);
    if (r->tensor.dtype == SINTER_DTYPE_string) return read_strings(r);
    if (proto->has_mapped_span) {
        const sinter_wire_span *span = &r->source->spans->list.items[proto->mapped_span];
        return share(r, r->source->file, span->data, span->size);
    }
    if (proto->has_raw_data) return copy_raw(r, proto->raw_data.data, proto->raw_data.len);
    return read_typed(r);
}

bool sinter_tensor_proto_read(const sinter_tensor_source *source, const Onnx__TensorProto *proto,
                              sinter_tensor *out_tensor) {
    reading r = {.source = source, .proto = proto, .name = proto->name ? proto->name : ""};
    if (read_header(&r) && read_data(&r)) {
        *out_tensor = r.tensor;
        return true;
    }
    sinter_tensor_deinit(&r.tensor);
    return false;
}

/* ---- sparse tensors ---- */

/* Row-major position of the index-th value: linear indices, or one coordinate row a value. */
static bool sparse_position(const sinter_tensor *indices, const sinter_tensor *dense, int64_t index,
                            int64_t *out_position) {
    int64_t position = 0;
    if (indices->rank == 1) {
        position = sinter_tensor_get_int(indices, index);
    } else {
        for (uint32_t axis = 0; axis < dense->rank; axis++) {
            int64_t at = sinter_tensor_get_int(indices, index * (int64_t)dense->rank + axis);
            if (at < 0 || at >= dense->dims[axis]) return false;
            position = position * dense->dims[axis] + at;
        }
    }
    *out_position = position;
    return position >= 0 && position < sinter_tensor_count(dense);
}

static bool scatter_values(reading *r, const sinter_tensor *values, const sinter_tensor *indices,
                           sinter_tensor *dense) {
    bool linear = indices->rank == 1;
    if (indices->dtype != SINTER_DTYPE_i64 || values->rank != 1 || indices->rank < 1 ||
        indices->rank > 2 || indices->dims[0] != values->dims[0] ||
        (!linear && indices->dims[1] != (int64_t)dense->rank))
        return fail(r, "sparse values and indices do not fit together");
    if (values->dtype == SINTER_DTYPE_string || sinter_dtype_infos[values->dtype].bits % 8)
        return fail(r, "sparse tensors of %s are not supported",
                    sinter_dtype_infos[values->dtype].name);
    size_t width = unit_bytes(values->dtype);
    uint8_t *out = sinter_tensor_mutable(dense);
    for (int64_t i = 0; i < values->dims[0]; i++) {
        int64_t position;
        if (!sparse_position(indices, dense, i, &position))
            return fail(r, "sparse index %" PRId64 " is outside the tensor", i);
        memcpy(out + (size_t)position * width, (const uint8_t *)values->data + (size_t)i * width,
               width);
    }
    return true;
}

bool sinter_tensor_proto_read_sparse(const sinter_tensor_source *source,
                                     const Onnx__SparseTensorProto *proto,
                                     sinter_tensor *out_tensor) {
    /* The dense form is not bounded by the file, so it gets a bound of its own. */
    const uint64_t max_bytes = UINT64_C(1) << 32;
    Onnx__TensorProto header = ONNX__TENSOR_PROTO__INIT;
    reading r = {.source = source, .proto = &header, .name = ""};
    if (!proto->values || !proto->indices) return fail(&r, "sparse without values or indices");
    header.name = proto->values->name;
    if (header.name) r.name = header.name;
    header.has_data_type = proto->values->has_data_type;
    header.data_type = proto->values->data_type;
    header.n_dims = proto->n_dims;
    header.dims = proto->dims;
    if (!read_header(&r)) return false;
    if (r.bytes > max_bytes) return fail(&r, "%" PRIu64 " bytes when made dense", r.bytes);
    sinter_tensor values = {0}, indices = {0}, dense = {0};
    bool ok =
        sinter_tensor_proto_read(source, proto->values, &values) &&
        sinter_tensor_proto_read(source, proto->indices, &indices) &&
        sinter_tensor_create(&dense, r.tensor.dtype, r.tensor.rank, r.tensor.dims, source->diag) &&
        scatter_values(&r, &values, &indices, &dense);
    sinter_tensor_deinit(&values);
    sinter_tensor_deinit(&indices);
    if (ok)
        *out_tensor = dense;
    else
        sinter_tensor_deinit(&dense);
    return ok;
}

/* ---- sequences and optionals (test data) ---- */

enum { /* SequenceProto.elem_type and OptionalProto.elem_type */
       ELEMENT_TENSOR = 1,
       ELEMENT_SPARSE = 2,
       ELEMENT_SEQUENCE = 3,
       ELEMENT_MAP = 4,
       ELEMENT_OPTIONAL = 5
};

static bool unsupported_element(const sinter_tensor_source *source, int32_t element) {
    return sinter_error(source->diag, source->where,
                        "element kind %" PRId32 ", expected tensor, sequence or optional", element);
}

bool sinter_tensor_proto_read_sequence(const sinter_tensor_source *source,
                                       const Onnx__SequenceProto *proto,
                                       sinter_tensor *out_tensor) {
    int32_t element = proto->has_elem_type ? proto->elem_type : 0;
    size_t count = element == ELEMENT_TENSOR     ? proto->n_tensor_values
                   : element == ELEMENT_SPARSE   ? proto->n_sparse_tensor_values
                   : element == ELEMENT_SEQUENCE ? proto->n_sequence_values
                   : element == ELEMENT_OPTIONAL ? proto->n_optional_values
                                                 : 0;
    if (element == ELEMENT_MAP || element < 0 || element > ELEMENT_OPTIONAL)
        return unsupported_element(source, element);
    sinter_tensor sequence = {.kind = SINTER_TYPE_SEQUENCE};
    sequence.items = sinter_heap_alloc((count ? count : 1) * sizeof *sequence.items);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++, sequence.item_count += ok) {
        sinter_tensor *item = &sequence.items[i];
        switch (element) {
        case ELEMENT_TENSOR:
            ok = sinter_tensor_proto_read(source, proto->tensor_values[i], item);
            break;
        case ELEMENT_SPARSE:
            ok = sinter_tensor_proto_read_sparse(source, proto->sparse_tensor_values[i], item);
            break;
        case ELEMENT_SEQUENCE:
            ok = sinter_tensor_proto_read_sequence(source, proto->sequence_values[i], item);
            break;
        default:
            ok = sinter_tensor_proto_read_optional(source, proto->optional_values[i], item);
            break;
        }
    }
    if (ok)
        *out_tensor = sequence;
    else
        sinter_tensor_deinit(&sequence);
    return ok;
}

bool sinter_tensor_proto_read_optional(const sinter_tensor_source *source,
                                       const Onnx__OptionalProto *proto,
                                       sinter_tensor *out_tensor) {
    sinter_tensor optional = {.kind = SINTER_TYPE_OPTIONAL};
    optional.items = sinter_heap_alloc(sizeof *optional.items);
    bool ok = true;
    if (proto->tensor_value)
        ok = sinter_tensor_proto_read(source, proto->tensor_value, optional.items);
    else if (proto->sparse_tensor_value)
        ok = sinter_tensor_proto_read_sparse(source, proto->sparse_tensor_value, optional.items);
    else if (proto->sequence_value)
        ok = sinter_tensor_proto_read_sequence(source, proto->sequence_value, optional.items);
    else if (proto->optional_value)
        ok = sinter_tensor_proto_read_optional(source, proto->optional_value, optional.items);
    else if (proto->map_value)
        ok = unsupported_element(source, ELEMENT_MAP);
    optional.item_count = ok && (proto->tensor_value || proto->sparse_tensor_value ||
                                 proto->sequence_value || proto->optional_value);
    if (ok)
        *out_tensor = optional;
    else
        sinter_tensor_deinit(&optional);
    return ok;
}
