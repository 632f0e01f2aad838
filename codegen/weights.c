/* The weight blob of a program: its constants in order, each at a multiple of 64 bytes, zeros between, the whole a
 * multiple of 64. Code knows the offsets; nothing here copies a weight but into the place it is written to.
 * Test: tests/unit/emit_test.c */
#include "codegen/compile.h"
#include "ir/base/file.h"
#include "runtime/abi.h"

#include <string.h>

enum { ALIGNMENT = 64 };

static uint64_t padded(uint64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

uint64_t sinter_weights_layout(const sinter_loop_program *program, uint64_t *out_offsets) {
    uint64_t total = 0;
    for (size_t i = 0; i < program->constants.count; i++) {
        if (out_offsets) out_offsets[i] = total;
        total += padded(sinter_tensor_bytes(&program->constants.items[i].tensor));
    }
    return total;
}

/* The last, partial 64 bytes of a constant with their zeros; returns how many bytes come before them. */
static uint64_t split_tail(const sinter_tensor *tensor, char out_tail[ALIGNMENT]) {
    uint64_t bytes = sinter_tensor_bytes(tensor), whole = bytes / ALIGNMENT * ALIGNMENT;
    memset(out_tail, 0, ALIGNMENT);
    if (bytes > whole) memcpy(out_tail, (const char *)tensor->data + whole, bytes - whole);
    return whole;
}

uint64_t sinter_weights_hash(const sinter_loop_program *program) {
    uint64_t hash = 0;
    for (size_t i = 0; i < program->constants.count; i++) {
        const sinter_tensor *tensor = &program->constants.items[i].tensor;
        char tail[ALIGNMENT];
        uint64_t whole = split_tail(tensor, tail);
        hash = sinter_abi_hash(tensor->data, whole, hash);
        if (sinter_tensor_bytes(tensor) > whole) hash = sinter_abi_hash(tail, ALIGNMENT, hash);
        sinter_storage_drop_pages(tensor->storage, tensor->data, whole);
    }
    return hash;
}

void sinter_weights_copy(const sinter_loop_program *program, void *out_blob) {
    char *cursor = out_blob;
    for (size_t i = 0; i < program->constants.count; i++) {
        const sinter_tensor *tensor = &program->constants.items[i].tensor;
        uint64_t bytes = sinter_tensor_bytes(tensor), room = padded(bytes);
        if (bytes) memcpy(cursor, tensor->data, bytes);
        memset(cursor + bytes, 0, room - bytes);
        cursor += room;
    }
}

void sinter_weights_move(sinter_loop_program *program, sinter_storage *blob) {
    char *cursor = (char *)(uintptr_t)sinter_storage_data(blob); /* fresh: nobody else reads it */
    for (size_t i = 0; i < program->constants.count; i++) {
        sinter_tensor *tensor = &program->constants.items[i].tensor;
        uint64_t bytes = sinter_tensor_bytes(tensor);
        if (tensor->dtype ==
            SINTER_DTYPE_string) { /* pointers into its own storage; no code reads it */
            cursor += padded(bytes);
            continue;
        }
        if (bytes) memcpy(cursor, tensor->data, bytes);
        sinter_storage_drop_pages(tensor->storage, tensor->data, bytes);
        sinter_storage_release_reference(tensor->storage);
        tensor->storage = sinter_storage_retain(blob);
        tensor->data = cursor;
        cursor += padded(bytes);
    }
}

void sinter_weights_write(const sinter_loop_program *program, sinter_file_writer *writer) {
    for (size_t i = 0; i < program->constants.count; i++) {
        const sinter_tensor *tensor = &program->constants.items[i].tensor;
        char tail[ALIGNMENT];
        uint64_t whole = split_tail(tensor, tail);
        sinter_file_writer_append(writer, tensor->data, whole);
        if (sinter_tensor_bytes(tensor) > whole) sinter_file_writer_append(writer, tail, ALIGNMENT);
        sinter_storage_drop_pages(tensor->storage, tensor->data, whole);
    }
}
