/* Artifacts from files: check, then map the weights, or copy them, large ones at a 2 MiB boundary, then dlopen.
 *
 * dlopen gets the file by the descriptor that was checked where the system has /proc, so what is checked is what runs.
 * Test: tests/unit/loader_test.c */
#include "runtime/artifact_file.h"
#include "runtime/executable.h"
#include "runtime/status.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct mapping {
    char *memory; /* whole pages */
    size_t bytes;
    const void *weights; /* in it */
} mapping;

/* Room that begins at the boundary: a little more than needed is reserved, and the rest given back. */
static char *reserve(size_t bytes, size_t boundary) {
    char *reserved =
        mmap(NULL, bytes + boundary, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) return NULL;
    size_t before = (boundary - (uintptr_t)reserved % boundary) % boundary;
    if (before) munmap(reserved, before);
    munmap(reserved + before + bytes, boundary - before);
    return reserved + before;
}

/* Bytes of the file from `offset` on; false with errno, which is 0 where the file ends before. */
static bool read_whole(int file, char *to, size_t bytes, uint64_t offset) {
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(file, to + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) errno = 0;
        if (got <= 0) return false;
        done += (size_t)got;
    }
    return true;
}

/* The file's pages in that place, or memory that has what they hold. */
static bool fill(char *start, size_t bytes, int file, const sinter_abi_trailer *t, size_t within,
                 bool copy) {
    int flags = MAP_PRIVATE | MAP_FIXED | (copy ? MAP_ANONYMOUS : 0);
    if (mmap(start, bytes, copy ? PROT_READ | PROT_WRITE : PROT_READ, flags, copy ? -1 : file,
             copy ? 0 : (off_t)(t->weights_offset - within)) == MAP_FAILED)
        return false;
#ifdef MADV_HUGEPAGE
    if (t->weights_bytes >= SINTER_ABI_HUGE_PAGE)
        madvise(start, bytes, MADV_HUGEPAGE); /* a wish: not every file system can */
#endif
    return !copy || (read_whole(file, start + within, t->weights_bytes, t->weights_offset) &&
                     mprotect(start, bytes, PROT_READ) == 0);
}

/* The pages of the file that hold the weights, which need not begin where a page does. */
static sinter_status *map_weights(const char *path, int file, const sinter_abi_trailer *t,
                                  bool copy, mapping *out_mapping) {
    *out_mapping = (mapping){0};
    if (!t->weights_bytes) return NULL;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), within = t->weights_offset % page;
    size_t bytes = (within + t->weights_bytes + page - 1) / page * page;
    bool huge = t->weights_bytes >= SINTER_ABI_HUGE_PAGE;
    char *start = reserve(bytes, huge ? SINTER_ABI_HUGE_PAGE : page);
    if (!start)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "%s: no room for %zu bytes of weights",
                           path, bytes);
    if (!fill(start, bytes, file, t, within, copy && huge)) {
        sinter_status *status = SINTER_FAIL(
            errno == ENOMEM ? SINTER_STATUS_OUT_OF_MEMORY : SINTER_STATUS_FAILED,
            "%s: %zu bytes of weights can't be %s: %s", path, bytes,
            copy && huge ? "copied" : "mapped", errno ? strerror(errno) : "the file has shrunk");
        munmap(start, bytes);
        return status;
    }
    *out_mapping = (mapping){start, bytes, start + within};
    return NULL;
}

/* dlopen takes two files of one name for one file, and the number of a descriptor comes back once it is closed; so every
 * load spells the path its own way, a bit of a counter per component. */
void sinter_descriptor_path(int file, char *out_path) {
    static _Atomic uint64_t loads;
    uint64_t number = atomic_fetch_add(&loads, 1);
    char *at = out_path + sprintf(out_path, "/proc/self/fd/");
    for (; number; number >>= 1) at += sprintf(at, number & 1 ? ".//" : "./");
    sprintf(at, "%d", file);
}

static void *open_library(const char *path, int file) {
    char by_descriptor[SINTER_DESCRIPTOR_PATH];
    sinter_descriptor_path(file, by_descriptor);
    struct stat opened, named;
    bool same = fstat(file, &opened) == 0 && stat(by_descriptor, &named) == 0 &&
                opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
    if (same) return dlopen(by_descriptor, RTLD_NOW | RTLD_LOCAL);
    char *whole = realpath(path, NULL); /* a bare name would be searched for elsewhere */
    void *library = dlopen(whole ? whole : path, RTLD_NOW | RTLD_LOCAL);
    free(whole);
    return library;
}

static sinter_status *open_code(const char *path, int file, const sinter_abi_trailer *t,
                                void **out_library, const sinter_abi_artifact **out_artifact) {
    *out_library = open_library(path, file);
    if (!*out_library)
        return SINTER_FAIL(SINTER_STATUS_FAILED, "%s: the system can't load it: %s", path,
                           dlerror());
    void *symbol = dlsym(*out_library, SINTER_ARTIFACT_SYMBOL);
    const sinter_abi_artifact *(*get)(void) = NULL;
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from object to function pointer */
    *out_artifact = get ? get() : NULL;
    if (*out_artifact && (*out_artifact)->weights_bytes == t->weights_bytes &&
        (*out_artifact)->weights_hash == t->weights_hash)
        return NULL;
    return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "%s: %s", path,
                       *out_artifact ? "code and weights do not belong together"
                                     : "it has no " SINTER_ARTIFACT_SYMBOL);
}

static sinter_status *load_checked(const char *path, int file, const sinter_abi_trailer *t,
                                   const sinter_load_options *options,
                                   sinter_executable **out_executable) {
    mapping mapped;
    void *library = NULL;
    const sinter_abi_artifact *artifact = NULL;
    sinter_status *status = map_weights(path, file, t, options->copy_weights, &mapped);
    if (status) return status;
    status = open_code(path, file, t, &library, &artifact);
    if (!status)
        status =
            sinter_executable_make(artifact, mapped.weights, options->allocator, out_executable);
    if (!status) {
        (*out_executable)->library = library;
        (*out_executable)->mapping = mapped.memory;
        (*out_executable)->mapping_bytes = mapped.bytes;
        (*out_executable)->checksum = t->trailer_hash;
        return sinter_executable_start(out_executable, options->device); /* owns what it has */
    }
    if (library) dlclose(library);
    if (mapped.memory) munmap(mapped.memory, mapped.bytes);
    return status;
}

static sinter_status *load_open(const char *path, int file, const sinter_load_options *options,
                                sinter_executable **out_executable) {
    void *image;
    size_t size;
    sinter_artifact_file checked;
    sinter_status *status = sinter_artifact_map(path, file, &image, &size);
    if (status) return status;
    status = sinter_artifact_check(path, image, size, options->verify, &checked);
    munmap(image, size);
    return status ? status : load_checked(path, file, &checked.trailer, options, out_executable);
}

sinter_status *sinter_executable_load(const char *path, const sinter_load_options *options,
                                      sinter_executable **out_executable) {
    sinter_load_options none = {.size = sizeof none};
    if (!path || !out_executable)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "%s: expected an address, found NULL",
                           path ? "out_executable" : "path");
    *out_executable = NULL;
    if (options && options->size < sizeof *options)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "sinter_load_options.size is %u, expected %zu",
                           options->size, sizeof *options);
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not awaited */
    if (file < 0)
        return SINTER_FAIL(SINTER_STATUS_UNREADABLE, "%s: can't be opened: %s", path,
                           strerror(errno));
    sinter_status *status = load_open(path, file, options ? options : &none, out_executable);
    close(file);
    return status;
}

void sinter_executable_unload(sinter_executable *executable) {
    if (executable->library) dlclose(executable->library);
    if (executable->mapping) munmap(executable->mapping, executable->mapping_bytes);
}
