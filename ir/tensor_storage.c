/* Reference-counted bytes behind tensors: heap memory, mapped files, or whatever a caller wraps.
 * Counts are atomic, so that tensors of one weight may be released from several threads.
 * Test: tests/unit/tensor_test.c */
#include "ir/tensor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
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
    sinter_owned owned; /* the data; the struct is a block of the heap */
};

static void release_data(void *object) {
    sinter_storage *storage = object;
    if (storage->release) storage->release(storage->user, storage->data, storage->size);
}

sinter_storage *sinter_storage_wrap(void *data, size_t size, sinter_storage_release release,
                                    void *user) {
    sinter_storage *storage = sinter_heap_try_alloc(sizeof *storage);
    if (!storage) {
        if (release) release(user, data, size);
        sinter_out_of_memory(sizeof *storage);
    }
    atomic_init(&storage->references, 1);
    storage->data = data;
    storage->size = size;
    storage->release = release;
    storage->user = user;
    sinter_own(&storage->owned, release_data, storage);
    return storage;
}

static void release_heap(void *user, void *data, size_t size) {
    (void)data, (void)size;
    sinter_heap_free(user);
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
    char *block = sinter_heap_alloc(size + 2 * ALIGNMENT);
    char *aligned = block + ALIGNMENT - (uintptr_t)block % ALIGNMENT;
    return sinter_storage_wrap(aligned, size, release_heap, block);
}

static void release_file(void *user, void *data, size_t size) {
    (void)user;
    munmap(data, size);
}

/* The size of an open file that can be mapped, or why there is none. */
static const char *find_size(int file, size_t *out_size) {
    struct stat status;
    if (fstat(file, &status) != 0) return strerror(errno);
    if (!S_ISREG(status.st_mode)) return "not a regular file";
    if ((uint64_t)status.st_size > SIZE_MAX) return "too large for this machine's addresses";
    *out_size = (size_t)status.st_size;
    return NULL;
}

sinter_storage *sinter_storage_map_file(const char *path, sinter_diag *diag) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not awaited */
    if (file < 0) {
        sinter_error(diag, path, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    size_t size = 0;
    void *data = NULL;
    const char *problem = find_size(file, &size);
    if (!problem && size) data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (data == MAP_FAILED) problem = strerror(errno);
    close(file); /* before anything that takes memory of the heap */
    if (problem) {
        sinter_error(diag, path, "cannot be mapped: %s", problem);
        return NULL;
    }
    /* nothing cannot be mapped */
    return data ? sinter_storage_wrap(data, size, release_file, NULL) : sinter_storage_create(0);
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
    sinter_disown(&storage->owned);
    release_data(storage);
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
