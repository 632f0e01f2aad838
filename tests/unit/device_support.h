/* Devices for tests: where the emulated driver is, and kernels as each driver takes them. */
#pragma once
#include "codegen/nvrtc.h"
#include "ir/base/file.h"
#include "runtime/device.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

/* SINTER_CUDA_PATH is the folder beside the running program that has the emulated libraries. */
static inline void use_emulation(void) {
    char path[4096];
    ssize_t size = readlink("/proc/self/exe", path, sizeof path - 32);
    path[size < 0 ? 0 : size] = 0;
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash : path, "/cuda_emulation");
    setenv("SINTER_CUDA_PATH", path, 1);
}

/* The status' code, which is printed where it is not the one expected, and its end. */
static inline sinter_status_code code_of(sinter_status *status, sinter_status_code expected) {
    sinter_status_code code = sinter_status_get_code(status);
    if (code != expected)
        printf("  %s:%d: %s\n", sinter_status_file(status), sinter_status_line(status),
               sinter_status_message(status));
    sinter_status_destroy(status);
    return code;
}
#define GOOD(call) CHECK_INT_EQ(code_of((call), SINTER_STATUS_OK), SINTER_STATUS_OK)
#define FAILS(call, code) CHECK_INT_EQ(code_of((call), (code)), (code))

/* Whether the call fails so, with all of the texts in its message. */
static inline bool fails_saying(sinter_status *status, sinter_status_code code,
                                const char *const *texts, size_t count) {
    bool good = sinter_status_get_code(status) == code && sinter_status_line(status) > 0;
    for (size_t i = 0; i < count && good; i++)
        good = strstr(sinter_status_message(status), texts[i]) != NULL;
    if (!good)
        printf("  got %d: %s\n", (int)sinter_status_get_code(status),
               sinter_status_message(status));
    sinter_status_destroy(status);
    return good;
}
#define FAILS_SAYING(call, code, ...)                                                              \
 CHECK(fails_saying((call), (code), (const char *const[]){__VA_ARGS__},                            \
                    sizeof(const char *const[]){__VA_ARGS__} / sizeof(const char *)))

/* CUDA text as an image for the architecture. */
static inline bool compile_cuda(const char *text, const char *architecture, sinter_text *out_image) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    sinter_arena arena;
    sinter_nvrtc nvrtc;
    sinter_arena_init(&arena);
    bool good = sinter_nvrtc_open(&nvrtc, &arena, &diag) &&
                sinter_nvrtc_compile(&nvrtc, "test.cu", text, architecture, NULL, out_image, NULL,
                                     &diag);
    sinter_arena_deinit(&arena);
    return good;
}

/* C text as a module of the CPU driver. */
static inline bool compile_c(const char *text, sinter_text *out_image) {
    char folder[] = "/tmp/sinter_device_XXXXXX", path[64], command[256];
    if (!mkdtemp(folder)) return false;
    snprintf(path, sizeof path, "%s/k.c", folder);
    bool good = sinter_file_write(path, text, strlen(text), NULL);
    snprintf(command, sizeof command, "${CC:-cc} -std=c17 -O1 -fPIC -shared -I. -o %s/k.so %s",
             folder, path);
    good = good && system(command) == 0;
    unlink(path);
    snprintf(path, sizeof path, "%s/k.so", folder);
    good = good && sinter_file_read(path, out_image, NULL);
    unlink(path);
    rmdir(folder);
    return good;
}
