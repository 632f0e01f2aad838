/* See nvrtc.h. */
#include "codegen/nvrtc.h"
#include "ir/base/heap.h"
#include "runtime/abi.h"

#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where it is ---- */

/* Newest first; %s is a folder of packages or of CUDA. */
static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"};
static const char *const in_folder[] = {"%s/%s", "%s/lib64/%s", "%s/lib/%s"};
static const char *const in_packages[] = {"%s/nvidia/cu13/lib/%s", "%s/nvidia/cuda_nvrtc/lib/%s"};

typedef struct search {
    sinter_arena *arena;
    const char *path; /* found */
    void *library;
    const char *said; /* why the last that was there could not be opened */
} search;

static void try_pattern(search *s, const char *pattern) {
    glob_t found;
    if (s->library || glob(pattern, GLOB_NOSORT, NULL, &found)) return;
    for (size_t i = 0; i < found.gl_pathc && !s->library; i++) {
        s->library = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        s->path = sinter_arena_format(s->arena, "%s", found.gl_pathv[i]);
        if (!s->library) s->said = sinter_arena_format(s->arena, "%s", dlerror());
    }
    globfree(&found);
}

static void try_folder(search *s, const char *folder, const char *const *places, size_t count) {
    for (size_t i = 0; folder && *folder && i < count; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            try_pattern(s, sinter_arena_format(s->arena, places[i], folder, names[k]));
}

static void try_packages(search *s, const char *folder) {
    try_folder(s, folder, in_packages, sizeof in_packages / sizeof *in_packages);
}

static void try_toolkit(search *s, const char *folder) {
    try_folder(s, folder, in_folder, sizeof in_folder / sizeof *in_folder);
}

static void try_loader(search *s) {
    for (size_t k = 0; k < sizeof names / sizeof *names && !s->library; k++) {
        s->library = dlopen(names[k], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
        s->path = names[k];
    }
}

static void search_everywhere(search *s) {
    const char *wish = getenv("SINTER_CUDA_PATH"), *home = getenv("HOME"),
               *environment = getenv("VIRTUAL_ENV");
    try_toolkit(s, wish);
    try_packages(s, wish);
    if (wish && s->said) return; /* it is there and is broken: no other in its place */
    try_loader(s);
    try_toolkit(s, "/usr/local/cuda");
    if (environment)
        try_packages(s,
                     sinter_arena_format(s->arena, "%s/lib/python3*/site-packages", environment));
    if (home)
        try_packages(s,
                     sinter_arena_format(s->arena, "%s/.local/lib/python3*/site-packages", home));
    try_packages(s, "/usr/local/lib/python3*/dist-packages");
    try_packages(s, "/usr/lib/python3/dist-packages");
}

bool sinter_nvrtc_open(sinter_nvrtc *out_nvrtc, sinter_arena *arena, sinter_diag *diag) {
    search s = {.arena = arena};
    const char *missing = NULL;
    void *address;
    *out_nvrtc = (sinter_nvrtc){0};
    search_everywhere(&s);
    if (!s.library)
        return sinter_error(
            diag, "NVRTC",
            "not found%s%s: not where SINTER_CUDA_PATH says, nor by the system's loader, nor in "
            "/usr/local/cuda, nor among Python's packages (nvidia-cuda-nvrtc)",
            s.said ? ": " : "", s.said ? s.said : "");
    out_nvrtc->path = s.path;
#define NVRTC(name, symbol, parameters)                                                            \
 address = dlsym(s.library, #symbol);                                                              \
 if (!address) missing = #symbol;                                                                  \
 memcpy(&out_nvrtc->name, &address, sizeof out_nvrtc->name);
#include "codegen/nvrtc.def"
#undef NVRTC
    address = dlsym(s.library, "nvrtcGetErrorString");
    if (!address) missing = "nvrtcGetErrorString";
    memcpy(&out_nvrtc->error_text, &address, sizeof out_nvrtc->error_text);
    if (missing) return sinter_error(diag, s.path, "not NVRTC, or too old: it has no %s", missing);
    int error = out_nvrtc->version(&out_nvrtc->major, &out_nvrtc->minor);
    return !error || sinter_error(diag, s.path, "NVRTC: %s", out_nvrtc->error_text(error));
}

/* ---- compilation ---- */

bool sinter_nvrtc_architecture(const char *text, uint32_t *out_number, uint32_t *out_kind) {
    bool is_text = !strncmp(text, "compute_", 8);
    if (!is_text && strncmp(text, "sm_", 3) != 0) return false;
    char *end;
    const char *digits = text + (is_text ? 8 : 3);
    long number = strtol(digits, &end, 10);
    size_t length = (size_t)(end - digits);
    bool exact = *end == 'a' && !is_text;
    if (length < 2 || length > 3 || *digits < '1' || *digits > '9' || end[exact]) return false;
    *out_number = (uint32_t)number;
    *out_kind = is_text ? SINTER_ABI_IMAGE_TEXT
                        : (exact ? SINTER_ABI_IMAGE_EXACT : SINTER_ABI_IMAGE_BINARY);
    return true;
}

/* What NVRTC printed, as one diagnostic. */
static void tell_log(const sinter_nvrtc *nvrtc, nvrtc_program program, const char *name, int error,
                     sinter_diag *diag) {
    size_t size = 0;
    char *log = NULL;
    if (!nvrtc->log_size(program, &size) && size > 1) {
        log = sinter_heap_alloc(size + 1);
        if (nvrtc->log(program, log)) log[0] = 0;
    }
    for (size_t end = log ? strlen(log) : 0; end && log[end - 1] == '\n';) log[--end] = 0;
    if (error)
        sinter_error(diag, name, "NVRTC: %s%s%s", nvrtc->error_text(error),
                     log && *log ? ":\n" : "", log ? log : "");
    else if (log && *log)
        sinter_warning(diag, name, "NVRTC:\n%s", log);
    sinter_heap_free(log);
}

static bool take_image(const sinter_nvrtc *nvrtc, nvrtc_program program, uint32_t kind,
                       const char *name, sinter_text *out_image, sinter_diag *diag) {
    size_t size = 0;
    bool is_text = kind == SINTER_ABI_IMAGE_TEXT;
    int error = is_text ? nvrtc->text_size(program, &size) : nvrtc->binary_size(program, &size);
    char *bytes = error || !size ? NULL : sinter_heap_alloc(size);
    if (bytes) error = is_text ? nvrtc->text(program, bytes) : nvrtc->binary(program, bytes);
    bool good = bytes && !error;
    if (good)
        sinter_text_append(out_image, bytes, size);
    else
        sinter_error(diag, name, "NVRTC: no code: %s",
                     error ? nvrtc->error_text(error) : "it is empty");
    sinter_heap_free(bytes);
    return good;
}

static bool compile(const sinter_nvrtc *nvrtc, const char *name, const char *text,
                    const char *const *options, int option_count, uint32_t kind,
                    sinter_text *out_image, sinter_diag *diag) {
    nvrtc_program program = NULL;
    int error = nvrtc->create(&program, text, name, 0, NULL, NULL);
    if (error) return sinter_error(diag, name, "NVRTC: %s", nvrtc->error_text(error));
    error = nvrtc->compile(program, option_count, options);
    tell_log(nvrtc, program, name, error, diag);
    bool good = !error && take_image(nvrtc, program, kind, name, out_image, diag);
    nvrtc->destroy(&program);
    return good;
}

bool sinter_nvrtc_compile(const sinter_nvrtc *nvrtc, const char *name, const char *text,
                          const char *architecture, sinter_kernel_cache *cache,
                          sinter_text *out_image, sinter_diag *diag) {
    uint32_t number, kind;
    char for_architecture[64];
    if (!sinter_nvrtc_architecture(architecture, &number, &kind))
        return sinter_error(diag, name, "architecture '%s': expected sm_90, sm_90a or compute_90",
                            architecture);
    snprintf(for_architecture, sizeof for_architecture, "-arch=%s", architecture);
    const char *const options[] = {for_architecture, "--std=c++17", "-default-device"};
    const int count = sizeof options / sizeof *options;
    sinter_text key = {0}, image = {0};
    sinter_text_format(&key, "NVRTC %d.%d %s", nvrtc->major, nvrtc->minor, nvrtc->path);
    for (int i = 0; i < count; i++) sinter_text_format(&key, " %s", options[i]);
    sinter_text_format(&key, "\n%s", text);
    bool found = cache && sinter_kernel_cache_find(cache, &key, &image);
    bool good = found || compile(nvrtc, name, text, options, count, kind, &image, diag);
    if (good && cache && !found)
        sinter_kernel_cache_store(cache, &key, &image, diag); /* a warning at most */
    if (good) sinter_text_append(out_image, image.data, image.size);
    sinter_text_deinit(&key);
    sinter_text_deinit(&image);
    return good;
}
