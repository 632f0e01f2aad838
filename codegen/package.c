/* Artifacts as files: shared objects with features, weights and trailer (abi.h), objects with their header, C text.
 *
 * Weights go from the mapped model file to the output by write(2) alone. Nothing that differs from run to run gets into
 * the bytes: no time, no temporary name, no build id. Test: tests/unit/package_test.c, tests/cli/compile.test */
#include "codegen/package.h"
#include "codegen/link.h"
#include "runtime/abi.h"

#include <ctype.h>
#include <elf.h>
#include <string.h>

const char *sinter_package_identifier(const char *path, sinter_arena *arena) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t size = strcspn(name, ".");
    char *text = sinter_arena_format(
        arena, "%s%.*s", !size || isdigit((unsigned char)*name) ? "model_" : "", (int)size, name);
    sinter_make_identifier(text);
    return text;
}

/* ---- shared objects ---- */

typedef struct shared_parts {
    const sinter_loop_program *program;
    const sinter_text *code;
    const char *features;
    sinter_abi_trailer trailer;
} shared_parts;

/* Over code, features and the zeros after them, without putting them into one buffer. */
static uint64_t hash_head(const shared_parts *p) {
    uint64_t whole = p->code->size / 8 * 8, at = whole;
    uint64_t hash = sinter_abi_hash(p->code->data, whole, 0);
    const uint64_t features_end = p->trailer.code_bytes + p->trailer.features_bytes;
    for (; at < p->trailer.weights_offset; at += 8) {
        unsigned char word[8] = {0};
        for (uint64_t k = at; k < at + 8 && k < features_end; k++)
            word[k - at] = (unsigned char)(k < p->code->size ? p->code->data[k]
                                                             : p->features[k - p->code->size]);
        hash = sinter_abi_hash(word, 8, hash);
    }
    return hash;
}

static void fill_trailer(shared_parts *p) {
    sinter_abi_trailer *t = &p->trailer;
    Elf64_Ehdr head;
    memcpy(&head, p->code->data, sizeof head);
    t->magic = SINTER_ABI_MAGIC;
    t->version = SINTER_ABI_VERSION;
    t->machine = head.e_machine;
    t->code_bytes = p->code->size;
    t->features_bytes = strlen(p->features) + 1;
    t->weights_bytes = sinter_weights_layout(p->program, NULL);
    t->weights_hash = t->weights_bytes ? sinter_weights_hash(p->program) : 0;
    uint64_t alignment = sinter_abi_weights_alignment(t->weights_bytes);
    t->weights_offset = (t->code_bytes + t->features_bytes + alignment - 1) / alignment * alignment;
    t->file_bytes = t->weights_offset + t->weights_bytes + sizeof *t;
    t->head_hash = hash_head(p);
    t->trailer_hash = sinter_abi_hash(t, offsetof(sinter_abi_trailer, trailer_hash), t->machine);
}

static bool write_shared(const shared_parts *p, const char *path, sinter_diag *diag) {
    sinter_file_writer writer;
    if (!sinter_file_writer_open(&writer, path, true, diag)) return false;
    sinter_file_writer_append(&writer, p->code->data, p->code->size);
    sinter_file_writer_append(&writer, p->features, p->trailer.features_bytes);
    sinter_file_writer_pad(&writer, p->trailer.weights_offset);
    sinter_weights_write(p->program, &writer);
    sinter_file_writer_append(&writer, &p->trailer, sizeof p->trailer);
    return sinter_file_writer_close(&writer, true, diag);
}

static bool package_shared(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, const char *path,
                           sinter_diag *diag) {
    sinter_text object = {0}, code = {0};
    bool good = sinter_emit_llvm(program, target, options, SINTER_LLVM_OBJECT,
                                 SINTER_ARTIFACT_SYMBOL, false, &object, diag) &&
                sinter_link_shared(&object, target, &code, diag);
    sinter_text_deinit(&object);
    if (good && code.size < sizeof(Elf64_Ehdr))
        good = sinter_error(diag, path, "the linker made no shared object");
    if (good) {
        shared_parts parts = {.program = program, .code = &code, .features = target->required};
        fill_trailer(&parts);
        good = write_shared(&parts, path, diag);
    }
    sinter_text_deinit(&code);
    return good;
}

/* ---- the other kinds ---- */

/* "m.o" -> "m.h" */
static const char *replace_ending(const char *path, const char *ending, const char *with,
                                  sinter_arena *arena) {
    size_t length = strlen(path) - (sinter_string_ends_with(path, ending) ? strlen(ending) : 0);
    return sinter_arena_format(arena, "%.*s%s", (int)length, path, with);
}

/* A file and the one that goes with it. */
static bool open_pair(sinter_file_writer *companion, const char *beside, sinter_file_writer *writer,
                      const char *path, sinter_diag *diag) {
    if (!sinter_file_writer_open(companion, beside, false, diag)) return false;
    if (sinter_file_writer_open(writer, path, false, diag)) return true;
    return sinter_file_writer_close(companion, false, diag);
}

/* The object, with the blob straight behind it. */
static bool write_object(const sinter_loop_program *program, const sinter_target *target,
                         const sinter_codegen_options *options, const char *symbol,
                         sinter_file_writer *writer, sinter_diag *diag) {
    sinter_text bytes = {0};
    bool good =
        sinter_emit_llvm(program, target, options, SINTER_LLVM_OBJECT, symbol, true, &bytes, diag);
    if (good) {
        sinter_file_writer_append(writer, bytes.data, bytes.size);
        sinter_weights_write(program, writer);
    }
    sinter_text_deinit(&bytes);
    return good;
}

static bool package_object(const sinter_loop_program *program, const sinter_target *target,
                           const sinter_codegen_options *options, const char *path,
                           sinter_arena *arena, sinter_diag *diag) {
    const char *name = sinter_package_identifier(path, arena);
    const char *symbol = sinter_arena_format(arena, "%s_artifact", name);
    sinter_text text = {0};
    sinter_package_header(program, target, name, &text);
    sinter_file_writer header, object;
    bool good = open_pair(&header, replace_ending(path, ".o", ".h", arena), &object, path, diag);
    if (good) {
        sinter_file_writer_append(&header, text.data, text.size);
        good = write_object(program, target, options, symbol, &object, diag);
        good = sinter_file_writer_close_pair(&header, &object, good, diag);
    }
    sinter_text_deinit(&text);
    return good;
}

static bool write_c_and_weights(const sinter_loop_program *program, const sinter_text *text,
                                const char *path, const char *beside, sinter_diag *diag) {
    sinter_file_writer weights, code;
    if (!open_pair(&weights, beside, &code, path, diag)) return false;
    sinter_file_writer_append(&code, text->data, text->size);
    sinter_weights_write(program, &weights);
    return sinter_file_writer_close_pair(&weights, &code, true, diag);
}

static bool package_c(const sinter_loop_program *program, const char *path, sinter_arena *arena,
                      sinter_diag *diag) {
    sinter_text text = {0};
    bool good = sinter_emit_c(program, &text, diag);
    uint64_t bytes = sinter_weights_layout(program, NULL);
    if (good && bytes && !sinter_c_embeds_weights(bytes)) {
        const char *beside = replace_ending(path, ".c", ".weights", arena);
        good = write_c_and_weights(program, &text, path, beside, diag);
    } else {
        good = good && sinter_file_write(path, text.data, text.size, diag);
    }
    sinter_text_deinit(&text);
    return good;
}

bool sinter_package(const sinter_loop_program *program, const sinter_target *target,
                    const sinter_codegen_options *options, sinter_package_kind kind,
                    const char *path, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    bool good = false;
    switch (kind) {
    case SINTER_PACKAGE_SHARED:
        good = package_shared(program, target, options, path, diag);
        break;
    case SINTER_PACKAGE_OBJECT:
        good = package_object(program, target, options, path, &arena, diag);
        break;
    case SINTER_PACKAGE_C:
        good = package_c(program, path, &arena, diag);
        break;
    }
    sinter_arena_deinit(&arena);
    return good;
}
