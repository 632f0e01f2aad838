/* Reference-counted bytes behind tensors: heap memory, mapped files, or whatever a caller wraps.
 * Counts are atomic, so that tensors of one weight may be released from several threads.
 * Test: tests/unit/tensor_test.c */
#include "ir/tensor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20, LARGE = 4 << 20 };

struct sinter_storage {
    atomic_size_t references;
    void *data;
    size_t size;
    sinter_storage_release release;
    void *user;
};

sinter_storage *sinter_storage_wrap(void *data, size_t size, sinter_storage_release release,
                                    void *user) {
    sinter_storage *storage = sinter_heap_alloc(sizeof *storage);
    atomic_init(&storage->references, 1);
    storage->data = data;
    storage->size = size;
    storage->release = release;
    storage->user = user;
    return storage;
}

static void release_heap(void *user, void *data, size_t size) {
    (void)data, (void)size;
    free(user);
}

static size_t whole_pages(size_t size) {
    return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static void release_large(void *user, void *data, size_t size) {
    (void)user;
    munmap(data, whole_pages(size));
}

/* Large blocks begin at a huge page and ask for them: weights are read front to back, and 4 KiB pages would cost a
 * translation miss every few rows. */
static sinter_storage *create_large(size_t size) {
    size_t whole = whole_pages(size);
    char *block = mmap(NULL, whole + HUGE_PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)block % HUGE_PAGE) % HUGE_PAGE;
    if (before) munmap(block, before);
    if (before < HUGE_PAGE) munmap(block + before + whole, HUGE_PAGE - before);
    madvise(block + before, whole, MADV_HUGEPAGE); /* a wish: the kernel may have none */
    return sinter_storage_wrap(block + before, size, release_large, NULL);
}

sinter_storage *sinter_storage_create(size_t size) {
    if (size > SIZE_MAX - 2 * HUGE_PAGE) return NULL;
    if (size >= LARGE) return create_large(size);
    /* calloc hands out large blocks as untouched zero pages, which aligned_alloc would not. */
    char *block = calloc(1, size + 2 * ALIGNMENT);
    if (!block) return NULL;
    char *aligned = block + ALIGNMENT - (uintptr_t)block % ALIGNMENT;
    return sinter_storage_wrap(aligned, size, release_heap, block);
}

static void release_file(void *user, void *data, size_t size) {
    (void)user;
    munmap(data, size);
}

static sinter_storage *map_open_file(int file, const char *path, sinter_diag *diag) {
    struct stat status;
    if (fstat(file, &status) != 0) {
        sinter_error(diag, path, "cannot be examined: %s", strerror(errno));
        return NULL;
    }
    if (!S_ISREG(status.st_mode)) {
        sinter_error(diag, path, "is not a regular file");
        return NULL;
    }
    if ((uint64_t)status.st_size > SIZE_MAX) {
        sinter_error(diag, path, "is too large for this machine's addresses: %lld bytes",
                     (long long)status.st_size);
        return NULL;
    }
    size_t size = (size_t)status.st_size;
    if (size == 0) return sinter_storage_create(0); /* nothing cannot be mapped */
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) {
        sinter_error(diag, path, "cannot be mapped: %s", strerror(errno));
        return NULL;
    }
    return sinter_storage_wrap(data, size, release_file, NULL);
}

sinter_storage *sinter_storage_map_file(const char *path, sinter_diag *diag) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        sinter_error(diag, path, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    sinter_storage *storage = map_open_file(file, path, diag);
    close(file);
    return storage;
}

sinter_storage *sinter_storage_retain(sinter_storage *storage) {
    if (storage) atomic_fetch_add_explicit(&storage->references, 1, memory_order_relaxed);
    return storage;
}

void sinter_storage_release_reference(sinter_storage *storage) {
    if (!storage) return;
    size_t before = atomic_fetch_sub_explicit(&storage->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    if (storage->release) storage->release(storage->user, storage->data, storage->size);
    sinter_heap_free(storage);
}

const void *sinter_storage_data(const sinter_storage *storage) {
    return storage->data;
}

size_t sinter_storage_size(const sinter_storage *storage) {
    return storage->size;
}

void sinter_storage_drop_pages(const sinter_storage *storage, const void *data, size_t size) {
    if (!storage || storage->release != release_file) return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)data + size) / page * page;
    if (first < end)
        madvise((char *)storage->data + (first - (uintptr_t)storage->data), end - first,
                MADV_DONTNEED);
}
