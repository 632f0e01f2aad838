/* Artifacts of the embedded models in a folder of the test's own, and artifact images made by hand. */
#pragma once
#include "codegen/compile.h"
#include "frontends/import.h"
#include "ir/base/file.h"
#include "ir/infer.h"
#include "runtime/jit/engine.h"
#include "runtime/sinter_runtime.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* tests/models/<name>.onnx with batch bound where it is positive -> path. */
static inline bool support_compile(const char *name, int64_t batch, const char *target_text,
                                   const char *path) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_engine_options options = SINTER_ENGINE_OPTIONS_INIT;
    char model[256];
    snprintf(model, sizeof model, "tests/models/%s.onnx", name);
    sinter_module *module = sinter_import_file(model, &diag);
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    bool good = module && sinter_target_parse(target_text, &arena, &target, &diag);
    if (good && batch > 0)
        good = sinter_infer_bind_dim(module, SINTER_STRING("batch"), batch, batch, &diag);
    good = good && sinter_engine_run_passes(module, &options, &diag);
    sinter_loop_program *program = good ? sinter_engine_lower(module, &target, &(sinter_schedule_options){.level = 2}, &diag) : NULL;
    good = program && sinter_package(program, &target, &(sinter_codegen_options){.level = 2}, SINTER_PACKAGE_SHARED, path, &diag);
    if (program) sinter_loop_program_destroy(program);
    if (module) sinter_module_destroy(module);
    sinter_arena_deinit(&arena);
    return good;
}

static inline unsigned char *support_read(const char *path, size_t *out_size) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    fseek(file, 0, SEEK_END);
    *out_size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*out_size);
    if (bytes && fread(bytes, 1, *out_size, file) != *out_size) free(bytes), bytes = NULL;
    fclose(file);
    return bytes;
}

static inline bool support_write(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite(bytes, 1, size, file) == size;
    return file && fclose(file) == 0 && good;
}

/* A well-formed file around an ELF header of this machine and nothing behind it. Freed by the caller. */
static inline unsigned char *support_image(const char *features, uint64_t weight_bytes,
                                           size_t *out_size) {
    Elf64_Ehdr head = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_DYN,
        .e_version = EV_CURRENT};
#if defined(__aarch64__)
    head.e_machine = EM_AARCH64;
#else
    head.e_machine = EM_X86_64;
#endif
    sinter_abi_trailer t = {
        .magic = SINTER_ABI_MAGIC, .version = SINTER_ABI_VERSION, .machine = head.e_machine};
    uint64_t alignment = sinter_abi_weights_alignment(weight_bytes);
    t.code_bytes = sizeof head;
    t.features_bytes = strlen(features) + 1;
    t.weights_bytes = weight_bytes;
    t.weights_offset = (t.code_bytes + t.features_bytes + alignment - 1) / alignment * alignment;
    t.file_bytes = t.weights_offset + weight_bytes + sizeof t;
    unsigned char *image = calloc(1, t.file_bytes);
    if (!image) abort();
    memcpy(image, &head, sizeof head);
    memcpy(image + t.code_bytes, features, t.features_bytes);
    for (uint64_t i = 0; i < weight_bytes; i++) image[t.weights_offset + i] = (unsigned char)i;
    t.head_hash = sinter_abi_hash(image, t.weights_offset, 0);
    t.weights_hash = sinter_abi_hash(image + t.weights_offset, weight_bytes, 0);
    t.trailer_hash = sinter_abi_hash(&t, offsetof(sinter_abi_trailer, trailer_hash), t.machine);
    memcpy(image + t.file_bytes - sizeof t, &t, sizeof t);
    *out_size = t.file_bytes;
    return image;
}
