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

static bool take_image(const sinter_nvrtc *nvrtc, nvrtc_program program, bool is_text,
                       const char *name, sinter_text *out_image, sinter_diag *diag) {
    size_t size = 0;
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

/* ---- one run ---- */

enum { MOST_OPTIONS = 5, ARCHITECTURE_SIZE = 32 };

/* What is asked of a run, for one architecture; and how its results are found in a cache. */
typedef struct request {
    const sinter_nvrtc *nvrtc;
    const char *name, *text;
    char architecture[ARCHITECTURE_SIZE]; /* as an option */
    const char *options[MOST_OPTIONS];
    int option_count;
} request;

/* "-minimal" leaves out what no kernel here uses (textures, launches from the device) and a fifth of the time; the code is the same. It
 * is there from CUDA 12.4 on. */
static bool has_minimal(const sinter_nvrtc *nvrtc) {
    return nvrtc->major > 12 || (nvrtc->major == 12 && nvrtc->minor >= 4);
}

static void init_request(request *r, const sinter_nvrtc *nvrtc, const char *name, const char *text,
                         const char *kind, const char *number) {
    *r = (request){.nvrtc = nvrtc, .name = name, .text = text};
    snprintf(r->architecture, sizeof r->architecture, "-arch=%s%s", kind, number);
    r->options[r->option_count++] = r->architecture;
    r->options[r->option_count++] = "--std=c++17";
    r->options[r->option_count++] = "-default-device";
    r->options[r->option_count++] = "--fmad=false"; /* what is rounded once is an fma */
    if (has_minimal(nvrtc)) r->options[r->option_count++] = "-minimal";
}

static void write_key(const request *r, sinter_text *key) {
    sinter_text_format(key, "NVRTC %d.%d %s", r->nvrtc->major, r->nvrtc->minor, r->nvrtc->path);
    for (int i = 0; i < r->option_count; i++) sinter_text_format(key, " %s", r->options[i]);
    sinter_text_format(key, "\n%s", r->text);
}

/* Machine code, PTX, or both from the same program; what is NULL is not wanted. */
static bool compile(const request *r, sinter_text *out_code, sinter_text *out_ptx,
                    sinter_diag *diag) {
    const sinter_nvrtc *nvrtc = r->nvrtc;
    nvrtc_program program = NULL;
    int error = nvrtc->create(&program, r->text, r->name, 0, NULL, NULL);
    if (error) return sinter_error(diag, r->name, "NVRTC: %s", nvrtc->error_text(error));
    error = nvrtc->compile(program, r->option_count, r->options);
    tell_log(nvrtc, program, r->name, error, diag);
    bool good = !error &&
                (!out_code || take_image(nvrtc, program, false, r->name, out_code, diag)) &&
                (!out_ptx || take_image(nvrtc, program, true, r->name, out_ptx, diag));
    nvrtc->destroy(&program);
    return good;
}

/* One of the results of a run, with its place in the cache. */
typedef struct result {
    sinter_text key, bytes;
    bool wanted, found;
} result;

static void find_result(result *one, const request *r, sinter_kernel_cache *cache) {
    one->wanted = true;
    write_key(r, &one->key);
    one->found = cache && sinter_kernel_cache_find(cache, &one->key, &one->bytes);
}

static void keep_result(result *one, sinter_kernel_cache *cache, sinter_text *out,
                        sinter_diag *diag) {
    if (!one->wanted) return;
    if (cache && !one->found)
        sinter_kernel_cache_store(cache, &one->key, &one->bytes, diag); /* a warning at most */
    sinter_text_append(out, one->bytes.data, one->bytes.size);
}

bool sinter_nvrtc_compile(const sinter_nvrtc *nvrtc, const char *name, const char *text,
                          const char *architecture, sinter_kernel_cache *cache,
                          sinter_text *out_image, sinter_text *out_ptx, sinter_diag *diag) {
    uint32_t number, kind;
    if (!sinter_nvrtc_architecture(architecture, &number, &kind))
        return sinter_error(diag, name, "architecture '%s': expected sm_90, sm_90a or compute_90",
                            architecture);
    if (out_ptx && kind != SINTER_ABI_IMAGE_BINARY)
        return sinter_error(diag, name, "architecture '%s': PTX for later ones comes with sm_%u",
                            architecture, number);
    const bool is_text = kind == SINTER_ABI_IMAGE_TEXT;
    request r;
    result image = {0}, ptx = {0};
    if (out_ptx) { /* what a run for compute_90 alone gives, and is found by */
        init_request(&r, nvrtc, name, text, "compute_", architecture + strlen("sm_"));
        find_result(&ptx, &r, cache);
    }
    init_request(&r, nvrtc, name, text, "", architecture);
    find_result(&image, &r, cache);
    bool runs = !image.found || (ptx.wanted && !ptx.found), good = true;
    if (runs) {
        image.bytes.size = ptx.bytes.size = 0; /* one that was found is made again with the other */
        good = is_text ? compile(&r, NULL, &image.bytes, diag)
                       : compile(&r, &image.bytes, out_ptx ? &ptx.bytes : NULL, diag);
    }
    if (good) {
        keep_result(&image, cache, out_image, diag);
        keep_result(&ptx, cache, out_ptx, diag);
    }
    sinter_text_deinit(&image.key);
    sinter_text_deinit(&image.bytes);
    sinter_text_deinit(&ptx.key);
    sinter_text_deinit(&ptx.bytes);
    return good;
}
