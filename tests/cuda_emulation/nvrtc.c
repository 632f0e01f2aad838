/* libnvrtc.so.12 without NVIDIA's compiler: the text is compiled for the CPU by $CXX (c++) against emulation.h, and the image is
 * what driver.c loads. emulated_kernel.h has the contract. SINTER_EMULATION_NVRTC_FAIL=nvrtcGetCUBIN=7 lets a function fail so.
 * Test: tests/unit/nvrtc_test.c */
#include "codegen/nvrtc.h"
#include "tests/cuda_emulation/driver.h"

#include <ctype.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NVRTC(name, symbol, parameters) EXPORT int symbol parameters;
#include "codegen/nvrtc.def"
#undef NVRTC
EXPORT const char *nvrtcGetErrorString(int error);

enum {
    OUT_OF_MEMORY = 1,
    INVALID_INPUT = 3,
    INVALID_PROGRAM = 4,
    INVALID_OPTION = 5,
    COMPILATION = 6,
    INTERNAL = 11
};

extern char **environ;

struct nvrtc_program_of {
    char *text, *name, *log;
    emulation_image head;
    char *code; /* head.bytes of it */
};

static const int architectures[] = {75, 80, 86, 87, 89, 90, 100, 120};

static int injected(const char *function) {
    const char *wish = getenv("SINTER_EMULATION_NVRTC_FAIL");
    size_t length = strlen(function);
    return wish && !strncmp(wish, function, length) && wish[length] == '=' ? atoi(wish + length + 1)
                                                                           : 0;
}
#undef BEGIN
#define BEGIN                                                                                      \
 do {                                                                                              \
  int code_of_wish = injected(__func__);                                                           \
  if (code_of_wish) return code_of_wish;                                                           \
 } while (0)

const char *nvrtcGetErrorString(int error) {
    switch (error) {
    case OUT_OF_MEMORY:
        return "NVRTC_ERROR_OUT_OF_MEMORY";
    case INVALID_INPUT:
        return "NVRTC_ERROR_INVALID_INPUT";
    case INVALID_PROGRAM:
        return "NVRTC_ERROR_INVALID_PROGRAM";
    case INVALID_OPTION:
        return "NVRTC_ERROR_INVALID_OPTION";
    case COMPILATION:
        return "NVRTC_ERROR_COMPILATION";
    default:
        return "NVRTC_ERROR_INTERNAL_ERROR";
    }
}

int nvrtcVersion(int *out_major, int *out_minor) {
    BEGIN;
    *out_major = 12;
    *out_minor = 0;
    return 0;
}

int nvrtcCreateProgram(nvrtc_program *out_program, const char *text, const char *name,
                       int header_count, const char *const *headers,
                       const char *const *header_names) {
    BEGIN;
    if (!text || header_count || headers || header_names) return INVALID_INPUT;
    *out_program = calloc(1, sizeof **out_program);
    (*out_program)->text = strdup(text);
    (*out_program)->name = strdup(name ? name : "default_program");
    (*out_program)->log = strdup("");
    return 0;
}

int nvrtcDestroyProgram(nvrtc_program *program) {
    if (!program || !*program) return INVALID_PROGRAM;
    free((*program)->text);
    free((*program)->name);
    free((*program)->log);
    free((*program)->code);
    free(*program);
    *program = NULL;
    return 0;
}

/* ---- compilation ---- */

static void set_log(nvrtc_program program, const char *log) {
    free(program->log);
    program->log = strdup(log);
}

static bool read_file(const char *path, char **out_bytes, uint64_t *out_size) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool good = fstat(file, &about) == 0;
    *out_size = good ? (uint64_t)about.st_size : 0;
    *out_bytes = calloc(1, *out_size + 1);
    good = good && read(file, *out_bytes, *out_size) == (ssize_t)*out_size;
    close(file);
    return good;
}

/* The name after "__global__": the word before the first '(' that is not that of __launch_bounds__. */
static const char *kernel_name(const char *at, char name[256]) {
    for (size_t length = 0;; at++) {
        if (isalnum((unsigned char)*at) || *at == '_') {
            if (length < 255) name[length++] = *at;
            name[length] = 0;
        } else if (*at == '(' && strncmp(name, "__launch_bounds__", 17) != 0) {
            return at;
        } else if (*at == '(') {
            at = strchr(at, ')');
            length = 0;
        } else if (isalnum((unsigned char)at[1]) || at[1] == '_') {
            length = 0;
        }
        if (!at || !*at) return NULL;
    }
}

static void write_kernels(const char *text, FILE *file) {
    fprintf(file, "SINTER_EMULATED_MODULE(");
    for (const char *at = text; (at = strstr(at, "extern \"C\" __global__"));) {
        char name[256] = "";
        at = kernel_name(at + strlen("extern \"C\" __global__"), name);
        if (!at) break;
        fprintf(file, "SINTER_EMULATED_KERNEL(%s) ", name);
    }
    fprintf(file, ")\n");
}

static bool write_source(nvrtc_program program, const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    fprintf(
        file,
        "#include \"tests/cuda_emulation/emulation.h\"\n#line 1 \"%s\"\n%s\n#line 1 \"kernels\"\n",
        program->name, program->text);
    write_kernels(program->text, file);
    return fclose(file) == 0;
}

/* Code for an architecture alone has its instructions, all other what the prelude does without. */
static int run_compiler(const char *folder, uint32_t kind) {
    static const char script[] =
        "exec ${CXX:-c++} -std=c++17 -O1 -fPIC -shared -fvisibility=hidden -fno-strict-aliasing "
        "-U_FORTIFY_SOURCE "
        "-ffp-contract=off $(grep -qsw fma /proc/cpuinfo && echo -mfma) -w -include "
        "tests/cuda_emulation/emulation.h "
        "$2 -I " EMULATION_ROOT " -o \"$1/k.so\" \"$1/k.cpp\" >\"$1/log\" 2>&1";
    char *arguments[] = {(char *)(uintptr_t) "/bin/sh",
                         (char *)(uintptr_t) "-c",
                         (char *)(uintptr_t)script,
                         (char *)(uintptr_t) "sh",
                         (char *)(uintptr_t)folder,
                         (char *)(uintptr_t)(kind == EMULATION_IMAGE_EXACT ? "-USINTER_BY_WARPS"
                                                                           : "-DSINTER_BY_WARPS"),
                         NULL};
    pid_t child;
    int status = -1;
    if (posix_spawn(&child, "/bin/sh", NULL, NULL, arguments, environ)) return -1;
    while (waitpid(child, &status, 0) < 0)
        ;
    return status;
}

static int compile_in(nvrtc_program program, const char *folder) {
    char path[512];
    uint64_t size;
    snprintf(path, sizeof path, "%s/k.cpp", folder);
    if (!write_source(program, path)) return INTERNAL;
    int status = run_compiler(folder, program->head.kind);
    snprintf(path, sizeof path, "%s/log", folder);
    char *log = NULL;
    if (read_file(path, &log, &size)) set_log(program, log);
    free(log);
    if (status) return COMPILATION;
    snprintf(path, sizeof path, "%s/k.so", folder);
    return read_file(path, &program->code, &program->head.bytes) ? 0 : INTERNAL;
}

/* "-arch=sm_90a"; the other options that NVRTC takes change nothing here. */
static bool read_options(nvrtc_program program, int count, const char *const *options) {
    bool known = false;
    for (int i = 0; i < count; i++) {
        uint32_t number, kind;
        if (strncmp(options[i], "-arch=", 6) != 0) continue;
        const char *text = options[i] + 6, *digits = strchr(text, '_');
        if (!digits) return false;
        number = (uint32_t)atoi(digits + 1);
        kind = *text == 'c' ? EMULATION_IMAGE_TEXT
                            : (text[strlen(text) - 1] == 'a' ? EMULATION_IMAGE_EXACT
                                                             : EMULATION_IMAGE_BINARY);
        program->head.architecture = number;
        program->head.kind = kind;
        for (size_t k = 0; k < sizeof architectures / sizeof *architectures; k++)
            known |= architectures[k] == (int)number;
    }
    return known;
}

int nvrtcCompileProgram(nvrtc_program program, int option_count, const char *const *options) {
    BEGIN;
    const char *temporary = getenv("TMPDIR");
    char folder[256];
    if (!read_options(program, option_count, options)) {
        set_log(program, "nvrtc: error: invalid value for --gpu-architecture (-arch)\n");
        return INVALID_OPTION;
    }
    memcpy(program->head.magic, EMULATION_IMAGE_MAGIC, sizeof program->head.magic);
    snprintf(folder, sizeof folder, "%s/sinter_nvrtc_XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(folder)) return INTERNAL;
    int code = compile_in(program, folder);
    static const char *const files[] = {"k.cpp", "k.so", "log"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
    return code;
}

/* ---- results ---- */

int nvrtcGetProgramLogSize(nvrtc_program program, size_t *out_size) {
    BEGIN;
    *out_size = strlen(program->log) + 1;
    return 0;
}

int nvrtcGetProgramLog(nvrtc_program program, char *out_log) {
    BEGIN;
    strcpy(out_log, program->log);
    return 0;
}

static size_t image_size(const struct nvrtc_program_of *program) {
    return program->code ? sizeof program->head + program->head.bytes : 0;
}

static int take(const struct nvrtc_program_of *program, uint32_t kind, char *out_bytes) {
    if (!program->code) return INVALID_PROGRAM;
    emulation_image head = program->head;
    head.kind = kind;
    memcpy(out_bytes, &head, sizeof head);
    memcpy(out_bytes + sizeof program->head, program->code, program->head.bytes);
    return 0;
}

int nvrtcGetCUBINSize(nvrtc_program program, size_t *out_size) {
    BEGIN;
    *out_size = program->head.kind == EMULATION_IMAGE_TEXT ? 0 : image_size(program);
    return 0;
}

int nvrtcGetCUBIN(nvrtc_program program, char *out_bytes) {
    BEGIN;
    return take(program, program->head.kind, out_bytes);
}

int nvrtcGetPTXSize(nvrtc_program program, size_t *out_size) {
    BEGIN;
    *out_size = image_size(program);
    return 0;
}

/* Of a run for sm_90 as well, which makes it on the way. */
int nvrtcGetPTX(nvrtc_program program, char *out_text) {
    BEGIN;
    return take(program, EMULATION_IMAGE_TEXT, out_text);
}
