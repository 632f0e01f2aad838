/* Tensor files, by content and name: .npy, .npz, .pb (TensorProto, SequenceProto, OptionalProto, told
 * apart by the expected type or, without one, by their fields) and raw little-endian bytes. What is
 * read is checked against the expected type: kind, element type, rank and the dims that are
 * numbers. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py */
#include "frontends/import.h"
#include "frontends/npy.h"
#include "frontends/npz.h"
#include "frontends/onnx/tensor_proto.h"
#include <inttypes.h>
#include <string.h>

/* ---- reading ---- */

/* Without an expected type: a sequence keeps its tensors in field 3, which a tensor never uses. */
static sinter_type_kind guess_kind(const uint8_t *data, size_t size) {
    const uint8_t sequence_values = 3 << 3 | 2;
    for (size_t i = 0; i < size && i < 16;) { /* at most a name and an elem_type come first */
        if (data[i] == sequence_values) return SINTER_TYPE_SEQUENCE;
        if (data[i] == (1 << 3 | 2) && i + 1 < size)
            i += 2u + data[i + 1];
        else if (data[i] == (2 << 3) || data[i] == (1 << 3))
            i += 2;
        else
            break;
    }
    return SINTER_TYPE_TENSOR;
}

static bool read_proto(sinter_storage *file, const char *path, sinter_type_kind kind,
                       sinter_tensor *out_tensor, sinter_diag *diag) {
    const void *data = sinter_storage_data(file);
    size_t size = sinter_storage_size(file);
    if (kind == SINTER_TYPE_NONE) kind = guess_kind(data, size);
    const ProtobufCMessageDescriptor *descriptor =
        kind == SINTER_TYPE_SEQUENCE   ? &onnx__sequence_proto__descriptor
        : kind == SINTER_TYPE_OPTIONAL ? &onnx__optional_proto__descriptor
                                       : &onnx__tensor_proto__descriptor;
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_wire_spans spans = {0};
    sinter_tensor_source source = {.file = file, .spans = &spans, .where = path, .diag = diag};
    ProtobufCMessage *message =
        sinter_wire_unpack(&arena, descriptor, data, size, &spans, path, diag);
    bool ok = message != NULL;
    if (ok && kind == SINTER_TYPE_SEQUENCE)
        ok = sinter_tensor_proto_read_sequence(&source, (Onnx__SequenceProto *)message, out_tensor);
    else if (ok && kind == SINTER_TYPE_OPTIONAL)
        ok = sinter_tensor_proto_read_optional(&source, (Onnx__OptionalProto *)message, out_tensor);
    else if (ok)
        ok = sinter_tensor_proto_read(&source, (Onnx__TensorProto *)message, out_tensor);
    sinter_arena_deinit(&arena);
    return ok;
}

/* The dims of the type; one that is not a number follows from the size of the file. */
static bool read_raw(sinter_storage *file, const char *path, const sinter_type *expected,
                     const sinter_dim_table *dims, sinter_tensor *out_tensor, sinter_diag *diag) {
    if (!expected || expected->kind != SINTER_TYPE_TENSOR)
        return sinter_error(diag, path, "raw bytes need a tensor type; .npy and .pb carry theirs");
    if (expected->dtype == SINTER_DTYPE_string)
        return sinter_error(diag, path, "strings can't be read from raw bytes");
    sinter_tensor tensor = {
        .kind = SINTER_TYPE_TENSOR, .dtype = expected->dtype, .rank = expected->rank};
    uint64_t count = 1, bytes = 0, size = sinter_storage_size(file);
    int unknown = -1;
    for (uint32_t i = 0; i < expected->rank; i++) {
        if (!sinter_dim_is_const(dims, expected->dims[i], &tensor.dims[i])) {
            if (unknown >= 0)
                return sinter_error(diag, path, "raw bytes for a type with two unknown dims");
            unknown = (int)i;
        } else if (__builtin_mul_overflow(count, (uint64_t)tensor.dims[i], &count)) {
            return sinter_error(diag, path, "the number of elements overflows");
        }
    }
    uint32_t bits = sinter_dtype_infos[tensor.dtype].bits;
    uint64_t row = 0; /* bytes of one index of the dim that is not known */
    bool rows = unknown >= 0 && sinter_dtype_bytes(tensor.dtype, count, &row);
    if (unknown >= 0) {
        if (count) tensor.dims[unknown] = (int64_t)(size * 8 / bits / count);
        count *= (uint64_t)tensor.dims[unknown];
    }
    if (!sinter_dtype_bytes(tensor.dtype, count, &bytes) || bytes != size)
        return sinter_error(diag, path, "raw numbers: %" PRIu64 " bytes, expected %s%" PRIu64, size,
                            rows ? "a multiple of " : "", rows ? row : bytes);
    tensor.storage = sinter_storage_retain(file);
    tensor.data = sinter_storage_data(file);
    *out_tensor = tensor;
    return true;
}

static void describe(const sinter_tensor *tensor, sinter_text *text) {
    if (tensor->kind == SINTER_TYPE_TENSOR) {
        sinter_text_format(text, "%s[", sinter_dtype_infos[tensor->dtype].name);
        for (uint32_t i = 0; i < tensor->rank; i++)
            sinter_text_format(text, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
        sinter_text_append_string(text, "]");
        return;
    }
    sinter_text_append_string(text, tensor->kind == SINTER_TYPE_SEQUENCE ? "seq(" : "opt(");
    if (tensor->item_count) describe(&tensor->items[0], text);
    sinter_text_append_string(text, ")");
}

static bool fits(const sinter_tensor *tensor, const sinter_type *type,
                 const sinter_dim_table *dims) {
    if (!type || type->kind == SINTER_TYPE_NONE) return true;
    if (tensor->kind != type->kind) return false;
    if (tensor->kind != SINTER_TYPE_TENSOR) {
        for (size_t i = 0; i < tensor->item_count; i++)
            if (!fits(&tensor->items[i], type->element, dims)) return false;
        return true;
    }
    if (tensor->dtype != type->dtype || tensor->rank != type->rank) return false;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        int64_t dim;
        if (sinter_dim_is_const(dims, type->dims[i], &dim) && dim != tensor->dims[i]) return false;
    }
    return true;
}

/* The file, or what an archive has under that name; NULL after an error. */
static sinter_storage *open_file(const char *path, const char *name, sinter_diag *diag) {
    sinter_storage *file = sinter_storage_map_file(path, diag);
    if (!file || !sinter_npz_is(sinter_storage_data(file), sinter_storage_size(file))) return file;
    sinter_storage *member = NULL;
    if (name)
        member = sinter_npz_read(file, path, sinter_string_of(name), diag);
    else
        sinter_error(diag, path, "an .npz holds many arrays, and none is named");
    sinter_storage_release_reference(file);
    return member;
}

bool sinter_tensor_read_file(const char *path, const sinter_type *expected, sinter_dim_table *dims,
                             sinter_tensor *out_tensor, sinter_diag *diag) {
    return sinter_tensor_read_named(path, NULL, expected, dims, out_tensor, diag);
}

bool sinter_tensor_read_named(const char *path, const char *name, const sinter_type *expected,
                              sinter_dim_table *dims, sinter_tensor *out_tensor,
                              sinter_diag *diag) {
    sinter_storage *file = open_file(path, name, diag);
    if (!file) return false;
    sinter_tensor tensor = {0};
    bool ok;
    if (sinter_npy_is(sinter_storage_data(file), sinter_storage_size(file)))
        ok = sinter_npy_read(file, path, expected ? expected->dtype : SINTER_DTYPE_NONE, &tensor,
                             diag);
    else if (sinter_string_ends_with(path, ".pb"))
        ok = read_proto(file, path, expected ? expected->kind : SINTER_TYPE_NONE, &tensor, diag);
    else if (sinter_string_ends_with(path, ".npy") || sinter_string_ends_with(path, ".npz"))
        ok = sinter_error(diag, path,
                          "has not the first bytes of such a file: it is damaged, or empty");
    else
        ok = read_raw(file, path, expected, dims, &tensor, diag);
    sinter_storage_release_reference(file);
    if (ok && expected && !fits(&tensor, expected, dims)) {
        sinter_text got = {0}, wanted = {0};
        describe(&tensor, &got);
        sinter_type_describe(dims, expected, &wanted);
        ok = sinter_error(diag, path, "holds %s, expected %s", got.data, wanted.data);
        sinter_text_deinit(&got);
        sinter_text_deinit(&wanted);
    }
    if (ok)
        *out_tensor = tensor;
    else
        sinter_tensor_deinit(&tensor);
    return ok;
}

/* ---- writing ---- */

static void write_proto(sinter_file_writer *file, const sinter_tensor *tensor) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    const ProtobufCMessage *message =
        tensor->kind == SINTER_TYPE_SEQUENCE
            ? &sinter_tensor_proto_write_sequence(&arena, tensor)->base
        : tensor->kind == SINTER_TYPE_OPTIONAL
            ? &sinter_tensor_proto_write_optional(&arena, tensor)->base
            : &sinter_tensor_proto_write(&arena, tensor, NULL)->base;
    sinter_wire_write(message, file);
    sinter_arena_deinit(&arena);
}

static bool write_raw(sinter_file_writer *file, const sinter_tensor *tensor, sinter_diag *diag) {
    if (tensor->kind != SINTER_TYPE_TENSOR || tensor->dtype == SINTER_DTYPE_string)
        return sinter_error(diag, file->path, "raw bytes hold a tensor of numbers; use .pb");
    sinter_file_writer_append(file, tensor->data, sinter_tensor_bytes(tensor));
    return true;
}

bool sinter_tensor_write_file(const char *path, const sinter_tensor *tensor, sinter_diag *diag) {
    bool npy = sinter_string_ends_with(path, ".npy"), proto = sinter_string_ends_with(path, ".pb");
    if (!npy && !proto && !sinter_string_ends_with(path, ".raw") &&
        !sinter_string_ends_with(path, ".bin"))
        return sinter_error(diag, path,
                            "unknown kind of tensor file, expected .npy, .pb, .raw or .bin");
    sinter_file_writer file;
    if (!sinter_file_writer_open(&file, path, false, diag)) return false;
    bool ok = true;
    if (npy)
        ok = sinter_npy_write(&file, tensor, diag);
    else if (proto)
        write_proto(&file, tensor);
    else
        ok = write_raw(&file, tensor, diag);
    return sinter_file_writer_close(&file, ok, diag);
}
