/* The time of each kernel, through the trace service of the runtime contract: one clock reading before and one after each
 * call, on the thread that runs the host function. Needs an engine with native code. Test: tests/cli/bench_profile.test */
#include "tools/sinter/command.h"
#include <stdlib.h>

typedef struct entry {
    const sinter_abi_kernel *kernel;
    double seconds;
    double fastest; /* call */
    size_t calls;
} entry;

struct profile {
    sinter_engine *engine;
    const sinter_abi_services *before; /* what the engine had, or NULL */
    sinter_abi_services services;
    entry *entries; /* by kernel */
    uint32_t count;
    double begin;
};

static void on_trace(void *user, uint32_t kernel, int32_t begin) {
    profile *p = user;
    if (begin) {
        p->begin = sinter_clock_seconds();
    } else if (kernel < p->count) {
        entry *e = &p->entries[kernel];
        double seconds = sinter_clock_seconds() - p->begin;
        e->seconds += seconds;
        if (!e->calls++ || seconds < e->fastest) e->fastest = seconds;
    }
}

/* Each service has the same `user`, so what was there is called with its own. */
static void on_parallel_for(void *user, int64_t count, int64_t grain,
                            void (*body)(void *environment, int64_t first, int64_t last),
                            void *environment) {
    const sinter_abi_services *before = ((profile *)user)->before;
    before->parallel_for(before->user, count, grain, body, environment);
}

static void *on_allocate(void *user, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((profile *)user)->before;
    return before->allocate(before->user, size, alignment);
}

static void on_deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((profile *)user)->before;
    before->deallocate(before->user, pointer, size, alignment);
}

static void on_log(void *user, int32_t level, const char *message) {
    const sinter_abi_services *before = ((profile *)user)->before;
    before->log(before->user, level, message);
}

profile *profile_create(sinter_engine *engine) {
    const sinter_abi_artifact *artifact = sinter_engine_artifact(engine);
    if (!artifact) {
        fputs("sinter: error: --profile: only native code has kernels to time\n", stderr);
        return NULL;
    }
    profile *p = sinter_heap_alloc(sizeof *p);
    p->engine = engine;
    p->count = artifact->kernel_count;
    p->entries = sinter_heap_alloc((p->count + 1) * sizeof *p->entries);
    for (uint32_t i = 0; i < p->count; ++i) p->entries[i].kernel = &artifact->kernels[i];
    const sinter_abi_services *before = p->before = sinter_engine_get_services(engine);
    p->services = (sinter_abi_services){
        .size = sizeof p->services,
        .thread_count = before ? before->thread_count : 1,
        .user = p,
        .parallel_for = before && before->parallel_for ? on_parallel_for : NULL,
        .allocate = before && before->allocate ? on_allocate : NULL,
        .deallocate = before && before->deallocate ? on_deallocate : NULL,
        .log = before && before->log ? on_log : NULL,
        .trace = on_trace,
    };
    sinter_engine_set_services(engine, &p->services);
    return p;
}

void profile_destroy(profile *p) {
    if (!p) return;
    sinter_engine_set_services(p->engine, p->before);
    sinter_heap_free(p->entries);
    sinter_heap_free(p);
}

void profile_reset(profile *p) {
    for (uint32_t i = 0; i < p->count; ++i) {
        p->entries[i].seconds = 0;
        p->entries[i].calls = 0;
    }
}

static int slower_first(const void *a, const void *b) {
    double x = ((const entry *)a)->seconds, y = ((const entry *)b)->seconds;
    return (x < y) - (x > y);
}

void profile_print(const profile *p, size_t runs, FILE *file) {
    double total = 0, divisor = runs ? (double)runs : 1;
    for (uint32_t i = 0; i < p->count; ++i) total += p->entries[i].seconds;
    entry *sorted = sinter_heap_alloc((p->count + 1) * sizeof *sorted);
    for (uint32_t i = 0; i < p->count; ++i) sorted[i] = p->entries[i];
    qsort(sorted, p->count, sizeof *sorted, slower_first);
    fprintf(file, "kernels: %.4f ms a run\n%10s %6s %6s %10s  %-24s %s\n", 1e3 * total / divisor,
            "ms", "%", "calls", "fastest", "kernel", "nodes");
    for (uint32_t i = 0; i < p->count; ++i) {
        const entry *e = &sorted[i];
        fprintf(file, "%10.4f %6.2f %6.0f %10.4f  %-24s %s\n", 1e3 * e->seconds / divisor,
                total > 0 ? 100 * e->seconds / total : 0, (double)e->calls / divisor,
                1e3 * e->fastest, e->kernel->name, e->kernel->nodes ? e->kernel->nodes : "");
    }
    sinter_heap_free(sorted);
}
