/* Memory of the emulated driver: one range of addresses for the device, with guards around each allocation; pinned memory of
 * the host, likewise; and the counters of kernels. See driver.c. Test: tests/unit/device_test.c */
#include "tests/cuda_emulation/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { GUARD = 256, FRESH = 0xa5, FREED = 0xdd, FENCE = 0x5a, SPAN = 4 };

typedef struct block {
    struct block *next; /* device: by address */
    char *start;        /* after the guard before it */
    size_t bytes;
    uint64_t serial;
    int device;
} block;

typedef struct counter {
    struct counter *next;
    char kernel[256];
    uint64_t launches;
    sinter_emulated_counters sums;
} counter;

static struct {
    char *range;
    size_t range_bytes, limit, used[EMULATION_MOST_DEVICES];
    unsigned users, open, pools[EMULATION_MOST_DEVICES];
    uint64_t serial;
    block *blocks, *pinned;
    counter *counters;
} memory;

struct CUmemPoolHandle_st {
    int unused;
};

static size_t padded(size_t bytes) {
    return (bytes + GUARD - 1) / GUARD * GUARD;
}

/* ---- the range ---- */

void emulation_memory_start(void) {
    if (memory.users++) return;
    memory.limit = (size_t)emulation_number("SINTER_EMULATION_MEMORY", 1L << 32);
    memory.range_bytes =
        (memory.limit * SPAN + (1 << 20)) * (size_t)emulation_device_count(); /* room for holes */
    memory.range = mmap(NULL, memory.range_bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory.range == MAP_FAILED) abort();
}

static void write_counter(FILE *file, const counter *c) {
    const struct {
        const char *name;
        uint64_t sum;
    } rows[] = {{"launches", c->launches},
                {"global_requests", c->sums.global_requests},
                {"global_sectors", c->sums.global_sectors},
                {"global_least_sectors", c->sums.global_least_sectors},
                {"shared_requests", c->sums.shared_requests},
                {"shared_waves", c->sums.shared_waves},
                {"shared_least_waves", c->sums.shared_least_waves},
                {"barriers", c->sums.barriers}};
    fprintf(file, "{\"kernel\": \"%s\"", c->kernel);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        fprintf(file, ", \"%s\": %llu", rows[i].name, (unsigned long long)rows[i].sum);
    fprintf(file, "}\n");
}

static void write_counters(void) {
    const char *path = getenv("SINTER_EMULATION_COUNTERS");
    FILE *file = path && memory.counters ? fopen(path, "a") : NULL;
    for (counter *next, *c = memory.counters; c; c = next) {
        next = c->next;
        if (file) write_counter(file, c);
        free(c);
    }
    if (file) fclose(file);
    memory.counters = NULL;
}

void emulation_memory_stop(void) {
    if (--memory.users) return;
    munmap(memory.range, memory.range_bytes);
    memory.range = NULL;
    write_counters();
}

static bool left(const block *first, const char *kind) {
    bool any = false;
    for (const block *b = first; b; b = b->next) {
        if (b->device != emulation_device()) continue;
        emulation_finding("%zu bytes of %s memory were not given back", b->bytes, kind);
        any = true;
    }
    return any;
}

bool emulation_memory_left(void) {
    bool device = left(memory.blocks, "device"), host = left(memory.pinned, "pinned");
    bool pool = memory.pools[emulation_device()] > 0;
    if (pool) emulation_finding("a pool was not destroyed");
    return device || host || pool;
}

void emulation_memory_open(void) {
    if (!memory.open++) mprotect(memory.range, memory.range_bytes, PROT_READ | PROT_WRITE);
}

void emulation_memory_close(void) {
    if (!--memory.open) mprotect(memory.range, memory.range_bytes, PROT_NONE);
}

size_t emulation_memory_bytes(void) {
    return (size_t)emulation_number("SINTER_EMULATION_MEMORY", 1L << 32);
}

size_t emulation_memory_used(void) {
    return memory.used[emulation_device()];
}

/* ---- allocations ---- */

int emulation_pool_create(cuda_pool *out_pool) {
    *out_pool = malloc(sizeof **out_pool);
    memory.pools[emulation_device()]++;
    return 0;
}

int emulation_pool_destroy(cuda_pool pool) {
    unsigned *pools = &memory.pools[emulation_device()];
    if (!pool || !*pools) return CUDA_ERROR_INVALID_VALUE;
    --*pools;
    free(pool);
    return 0;
}

/* The fence behind a block begins with its last byte, so that the first byte too many is seen. */
static size_t whole(const block *b) {
    return GUARD + padded(b->bytes) + GUARD;
}

static size_t fence(const block *b) {
    return padded(b->bytes) + GUARD - b->bytes;
}

static void build_fences(const block *b) {
    memset(b->start - GUARD, FENCE, GUARD);
    memset(b->start + b->bytes, FENCE, fence(b));
    memset(b->start, FRESH, b->bytes);
}

static bool is_fence(const char *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (from[i] != FENCE) return false;
    return true;
}

static void check_fences(const block *b) {
    if (!is_fence(b->start - GUARD, GUARD))
        emulation_finding("something was written before an allocation of %zu bytes", b->bytes);
    if (!is_fence(b->start + b->bytes, fence(b)))
        emulation_finding("something was written behind an allocation of %zu bytes", b->bytes);
}

char *emulation_allocate(size_t bytes) {
    const int device = emulation_device();
    if (bytes > memory.limit - memory.used[device]) return NULL;
    block wanted = {.bytes = bytes};
    char *at = memory.range;
    block **link = &memory.blocks;
    for (; *link && (size_t)((*link)->start - GUARD - at) < whole(&wanted); link = &(*link)->next)
        at = (*link)->start - GUARD + whole(*link);
    if ((size_t)(memory.range + memory.range_bytes - at) < whole(&wanted)) return NULL;
    block *b = malloc(sizeof *b);
    *b = (block){*link, at + GUARD, bytes, ++memory.serial, device};
    *link = b;
    memory.used[device] += bytes;
    emulation_memory_open();
    build_fences(b);
    emulation_memory_close();
    return b->start;
}

void emulation_free(char *start) {
    block **link = &memory.blocks;
    while (*link && (*link)->start != start) link = &(*link)->next;
    block *b = *link;
    if (!b) {
        emulation_finding("%p is given back and is no allocation", (void *)start);
        return;
    }
    check_fences(b);
    if (b->device != emulation_device())
        emulation_finding("memory of device %d is given back to another one", b->device);
    memset(b->start, FREED, b->bytes);
    memory.used[b->device] -= b->bytes;
    *link = b->next;
    free(b);
}

void *emulation_allocate_host(size_t bytes) {
    block *b = malloc(sizeof *b);
    *b = (block){memory.pinned, NULL, bytes, ++memory.serial, emulation_device()};
    b->start = (char *)aligned_alloc(GUARD, whole(b)) + GUARD;
    memory.pinned = b;
    build_fences(b);
    return b->start;
}

bool emulation_free_host(void *start) {
    block **link = &memory.pinned;
    while (*link && (*link)->start != start) link = &(*link)->next;
    block *b = *link;
    if (!b) return false;
    check_fences(b);
    *link = b->next;
    free(b->start - GUARD);
    free(b);
    return true;
}

/* ---- whose an address is ---- */

static const block *find(const block *first, const void *address) {
    for (const block *b = first; b; b = b->next)
        if ((const char *)address >= b->start && (const char *)address < b->start + b->bytes)
            return b;
    return NULL;
}

bool emulation_is_device(const void *address) {
    return (const char *)address >= memory.range &&
           (const char *)address < memory.range + memory.range_bytes;
}

bool emulation_is_pinned(const void *address) {
    return find(memory.pinned, address) != NULL;
}

static bool check_range(const void *from, size_t bytes, const char *what) {
    const bool on_device = emulation_is_device(from);
    const block *b = find(on_device ? memory.blocks : memory.pinned, from);
    if (!from || (!b && !on_device)) return true;
    if (b && on_device && b->device != emulation_device()) {
        emulation_finding("%s memory of device %d", what, b->device);
        return false;
    }
    if (b && bytes <= (size_t)(b->start + b->bytes - (const char *)from)) return true;
    emulation_finding("%s %zu bytes at %p, which is not in one allocation", what, bytes, from);
    return false;
}

bool emulation_check_copy(const void *to, const void *from, size_t bytes) {
    return check_range(from, bytes, "a copy reads") && check_range(to, bytes, "a copy writes");
}

int emulation_find(uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    for (const block *b = memory.blocks; b; b = b->next) {
        if (b->device != emulation_device()) continue;
        *out_base = (uintptr_t)b->start;
        *out_bytes = b->bytes;
        if (address >= *out_base && address - *out_base <= b->bytes) return 1;
    }
    return 0;
}

/* ---- counters ---- */

void emulation_count(const char *kernel, const sinter_emulated_counters *counted) {
    counter *c = memory.counters;
    while (c && strcmp(c->kernel, kernel) != 0) c = c->next;
    if (!c) {
        c = calloc(1, sizeof *c);
        snprintf(c->kernel, sizeof c->kernel, "%s", kernel);
        c->next = memory.counters;
        memory.counters = c;
    }
    const uint64_t *from = (const uint64_t *)counted;
    uint64_t *to = (uint64_t *)&c->sums;
    for (size_t i = 0; i < sizeof *counted / sizeof *from; i++) to[i] += from[i];
    c->launches++;
}
