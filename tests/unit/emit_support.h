/* Hosts around kernels, and one run of a program on a target: what sinter_target_parse takes, or the emitted C
 * by "c:COMPILER" or "board:COMPILER" (without heap and stdio). */
#pragma once
#include "codegen/compile.h"
#include "ir/base/file.h"
#include "runtime/abi.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void support_begin_host(sinter_loop_program *program, sinter_loop_builder *host) {
    program->host = sinter_loop_function_create(program, "host");
    sinter_loop_builder_init(host, program, program->host);
}

static inline sinter_loop_io support_io(sinter_loop_builder *host, const char *name,
                                        sinter_dtype dtype, uint32_t rank, const int64_t *dims) {
    return (sinter_loop_io){.name = name,
                            .dtype = dtype,
                            .rank = rank,
                            .dims = sinter_arena_copy(host->arena, dims, rank * sizeof *dims)};
}

static inline sinter_loop_buffer support_add_buffer(sinter_loop_builder *host, const char *name,
                                                    sinter_dtype dtype, uint32_t rank,
                                                    const int64_t *dims, sinter_loop_scope scope,
                                                    size_t index) {
    sinter_expr exprs[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) exprs[i] = sinter_loop_int(host, dims[i]);
    sinter_loop_buffer buffer = sinter_loop_add_buffer(host, name, dtype, rank, exprs, scope);
    host->function->buffers.items[buffer].io_index = (int32_t)index;
    return buffer;
}

static inline sinter_loop_buffer support_add_input(sinter_loop_builder *host, const char *name,
                                                   sinter_dtype dtype, uint32_t rank,
                                                   const int64_t *dims) {
    sinter_loop_program *program = host->program;
    sinter_vector_push(host->arena, &program->inputs, support_io(host, name, dtype, rank, dims));
    return support_add_buffer(host, name, dtype, rank, dims, SINTER_SCOPE_INPUT,
                              program->inputs.count - 1);
}

static inline sinter_loop_buffer support_add_output(sinter_loop_builder *host, const char *name,
                                                    sinter_dtype dtype, uint32_t rank,
                                                    const int64_t *dims) {
    sinter_loop_program *program = host->program;
    sinter_vector_push(host->arena, &program->outputs, support_io(host, name, dtype, rank, dims));
    sinter_loop_buffer buffer = support_add_buffer(host, name, dtype, rank, dims,
                                                   SINTER_SCOPE_OUTPUT, program->outputs.count - 1);
    sinter_loop_alloc(host, buffer);
    return buffer;
}

/* 64-bit Arm is cross-compiled and emulated. */
#define SUPPORT_CROSS_CC "aarch64-linux-gnu-gcc"

static inline bool support_is_cross(const char *target) {
    return strstr(target, "aarch64") || strstr(target, "cortex") || strstr(target, "neoverse");
}

static inline bool support_is_cpu(const char *target) {
    return !strncmp(target, "cpu", 3);
}

/* Does this machine have what the target demands? */
static inline bool support_can_run(const char *text) {
    if (support_is_cross(text))
        return system("command -v " SUPPORT_CROSS_CC " qemu-aarch64 >/dev/null") == 0;
    if (!support_is_cpu(text)) {
        char command[256];
        snprintf(command, sizeof command, "command -v %s >/dev/null", strchr(text, ':') + 1);
        return system(command) == 0;
    }
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_diag quiet = {0};
    sinter_target native, target;
    bool can = sinter_target_parse("cpu:native", &arena, &native, &quiet) &&
               sinter_target_parse(text, &arena, &target, &quiet) &&
               !strcmp(native.triple, target.triple) &&
               (target.feature_bits & ~native.feature_bits) == 0;
    sinter_arena_deinit(&arena);
    return can;
}

static inline void support_to_abi(const sinter_tensor *tensor, sinter_abi_tensor *out) {
    *out = (sinter_abi_tensor){.data = (void *)(uintptr_t)tensor->data,
                               .bytes = sinter_tensor_bytes(tensor),
                               .rank = (int32_t)tensor->rank,
                               .dtype = sinter_dtype_infos[tensor->dtype].onnx_code};
    memcpy(out->dims, tensor->dims, tensor->rank * sizeof *tensor->dims);
}

static inline void support_release(void *user, void *data, size_t size) {
    (void)user, (void)size;
    free(data);
}

/* plan, workspace, run; the outputs' memory comes from the artifact. */
static inline bool support_call(const sinter_abi_artifact *artifact, const void *weights,
                                const sinter_abi_services *services, const sinter_tensor *inputs,
                                sinter_tensor *out_outputs, sinter_diag *diag) {
    sinter_abi_tensor *in = calloc(artifact->input_count + 1, sizeof *in),
                      *out = calloc(artifact->output_count + 1, sizeof *out);
    int64_t *symbols = calloc(artifact->symbol_count + 1, sizeof *symbols);
    if (!in || !out || !symbols) abort();
    for (uint32_t i = 0; i < artifact->input_count; i++) support_to_abi(&inputs[i], &in[i]);
    sinter_abi_call call = {.size = sizeof call,
                            .weights = weights,
                            .inputs = in,
                            .outputs = out,
                            .services = services,
                            .symbols = symbols};
    int32_t code = artifact->plan(&call);
    if (!code) {
        call.workspace = aligned_alloc(64, (call.workspace_bytes + 127) / 64 * 64);
        code = artifact->run(&call);
        free(call.workspace);
    }
    if (code) sinter_error(diag, artifact->name, "code %d: %s", code, call.message);
    for (uint32_t i = 0; i < artifact->output_count; i++) {
        if (code) {
            free(out[i].data);
            continue;
        }
        out_outputs[i] = (sinter_tensor){.kind = SINTER_TYPE_TENSOR,
                                         .dtype = sinter_dtype_from_onnx(out[i].dtype),
                                         .rank = (uint32_t)out[i].rank,
                                         .data = out[i].data};
        memcpy(out_outputs[i].dims, out[i].dims, sizeof(int64_t) * out_outputs[i].rank);
        out_outputs[i].storage =
            sinter_storage_wrap(out[i].data, out[i].bytes, support_release, NULL);
    }
    free(in);
    free(out);
    free(symbols);
    return code == 0;
}

static inline bool support_write(const char *path, const sinter_text *text) {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    bool good = fwrite(text->data, 1, text->size, file) == text->size;
    return fclose(file) == 0 && good;
}

/* The emitted C in a library of its own; a warning is an error, undefined behaviour a trap. */
static inline void *support_compile_c(const sinter_loop_program *program, const char *compiler,
                                      sinter_diag *diag) {
    char folder[SINTER_FILE_FOLDER_BYTES], source[sizeof folder + 16], library[sizeof folder + 16];
    char command[1024];
    if (!sinter_file_make_folder(folder, diag)) return NULL;
    snprintf(source, sizeof source, "%s/model.c", folder);
    snprintf(library, sizeof library, "%s/model.so", folder);
    snprintf(command, sizeof command,
             "%s -std=c17 -O1 -ffp-contract=off -Wall -Wextra -Wpedantic -Werror "
             "-fsanitize=undefined,float-cast-overflow -fsanitize-undefined-trap-on-error "
             "-shared -fPIC -o %s %s -lm",
             compiler, library, source);
    sinter_text text = {0};
    void *handle = NULL;
    if (sinter_emit_c(program, &text, diag) && support_write(source, &text) &&
        system(command) == 0) {
        handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        if (!handle) sinter_error(diag, library, "%s", dlerror());
    }
    sinter_text_deinit(&text);
    unlink(source);
    unlink(library);
    rmdir(folder);
    return handle;
}

static inline bool support_run_c(const sinter_loop_program *program, const char *compiler,
                                 const sinter_tensor *inputs, sinter_tensor *out_outputs,
                                 sinter_diag *diag) {
    void *handle = support_compile_c(program, compiler, diag);
    if (!handle) return false;
    void *symbol = dlsym(handle, SINTER_ARTIFACT_SYMBOL);
    const sinter_abi_artifact *(*get)(void) = NULL;
    memcpy(&get, &symbol, sizeof get);
    bool good = get && support_call(get(), get()->weights, NULL, inputs, out_outputs, diag);
    dlclose(handle);
    return good;
}

/* ---- 64-bit Arm, under emulation ---- */

static inline void support_write_shape(const sinter_tensor *tensor, FILE *file) {
    uint64_t rank = tensor->rank;
    fwrite(&rank, sizeof rank, 1, file);
    fwrite(tensor->dims, sizeof *tensor->dims, tensor->rank, file);
}

static inline bool support_write_data(const char *path, const sinter_loop_program *program,
                                      const sinter_tensor *inputs, const sinter_tensor *outputs) {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    for (size_t i = 0; i < program->inputs.count; i++) {
        uint64_t bytes = sinter_tensor_bytes(&inputs[i]);
        support_write_shape(&inputs[i], file);
        fwrite(&bytes, sizeof bytes, 1, file);
        fwrite(inputs[i].data, 1, bytes, file);
    }
    for (size_t i = 0; i < program->outputs.count; i++) {
        uint64_t bytes = sinter_tensor_bytes(&outputs[i]);
        fwrite(&bytes, sizeof bytes, 1, file);
    }
    return fclose(file) == 0;
}

/* What comes before the data of an output is as it should be. */
static inline bool support_read_head(FILE *file, const sinter_tensor *tensor) {
    uint64_t bytes, dtype, rank;
    int64_t dims[SINTER_MAX_RANK];
    return fread(&dtype, sizeof dtype, 1, file) == 1 && fread(&rank, sizeof rank, 1, file) == 1 &&
           dtype == (uint64_t)sinter_dtype_infos[tensor->dtype].onnx_code && rank == tensor->rank &&
           fread(dims, sizeof *dims, rank, file) == rank &&
           !memcmp(dims, tensor->dims, rank * sizeof *dims) &&
           fread(&bytes, sizeof bytes, 1, file) == 1 && bytes == sinter_tensor_bytes(tensor);
}

static inline bool support_read_data(const char *path, const sinter_loop_program *program,
                                     sinter_tensor *outputs) {
    FILE *file = fopen(path, "r");
    bool good = file != NULL;
    for (size_t i = 0; good && i < program->outputs.count; i++) {
        uint64_t bytes = sinter_tensor_bytes(&outputs[i]);
        good = support_read_head(file, &outputs[i]) &&
               fread((void *)(uintptr_t)outputs[i].data, 1, bytes, file) == bytes;
    }
    if (file) fclose(file);
    return good;
}

/* The object, or the emitted C, linked to tests/unit/isa_driver.c and run. Shapes are constant. */
static inline bool support_run_driver(const sinter_loop_program *program, const char *target_text,
                                      const sinter_tensor *inputs, sinter_tensor *out_outputs,
                                      sinter_diag *diag) {
    bool is_native = support_is_cpu(target_text), on_arm = support_is_cross(target_text);
    char folder[SINTER_FILE_FOLDER_BYTES], model[sizeof folder + 16], command[2048];
    if (!sinter_file_make_folder(folder, diag)) return false;
    snprintf(model, sizeof model, "%s/model.%c", folder, is_native ? 'o' : 'c');
    sinter_text text = {0};
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    bool good = is_native ? sinter_target_parse(target_text, &arena, &target, diag) &&
                                sinter_emit_llvm(program, &target, &(sinter_codegen_options){.level = 2}, SINTER_LLVM_OBJECT,
                                                 SINTER_ARTIFACT_SYMBOL, true, &text, diag)
                          : sinter_emit_c(program, &text, diag);
    good = good && support_write(model, &text);
    for (size_t i = 0; good && i < program->outputs.count; i++) {
        const sinter_loop_io *io = &program->outputs.items[i];
        good = sinter_tensor_create(&out_outputs[i], io->dtype, io->rank, io->dims, diag);
    }
    snprintf(command, sizeof command, "%s/in", folder);
    good = good && support_write_data(command, program, inputs, out_outputs);
    snprintf(command, sizeof command,
             "%s -std=c17 -O1 -ffp-contract=off -Wall -Wextra -Werror %s -I. -o %s/run "
             "tests/unit/isa_driver.c %s -lm && %s %s/run %s/in %s/out",
             on_arm ? SUPPORT_CROSS_CC : strchr(target_text, ':') + 1,
             on_arm ? "-static" : "-DSINTER_BOARD", folder, model, on_arm ? "qemu-aarch64" : "",
             folder, folder, folder);
    good = good && system(command) == 0;
    snprintf(command, sizeof command, "%s/out", folder);
    good = good && support_read_data(command, program, out_outputs);
    snprintf(command, sizeof command, "rm -r %s", folder);
    good &= system(command) == 0;
    sinter_text_deinit(&text);
    sinter_arena_deinit(&arena);
    return good;
}

static inline bool support_run(const sinter_loop_program *program, const char *target_text,
                               const sinter_tensor *inputs, sinter_tensor *out_outputs,
                               sinter_diag *diag) {
    if (support_is_cross(target_text) || !strncmp(target_text, "board:", 6))
        return support_run_driver(program, target_text, inputs, out_outputs, diag);
    if (!strncmp(target_text, "c:", 2))
        return support_run_c(program, target_text + 2, inputs, out_outputs, diag);
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    sinter_jit *jit = sinter_target_parse(target_text, &arena, &target, diag)
                          ? sinter_jit_create(program, &target, &(sinter_codegen_options){.level = 2}, diag)
                          : NULL;
    bool good = jit && support_call(sinter_jit_artifact(jit), sinter_jit_artifact(jit)->weights,
                                    NULL, inputs, out_outputs, diag);
    sinter_jit_destroy(jit);
    sinter_arena_deinit(&arena);
    return good;
}
