/* The time of each kernel, through the trace service of the runtime contract: one clock reading before and one after each
 * call, on the thread that runs the host function. Test: tests/cli/bench_profile.test, tests/cli/tune.test */
#include "runtime/jit/profile.h"
#include "ir/base/clock.h"

#include <math.h>

struct sinter_profile {
    sinter_engine *engine;
    const sinter_abi_services *before; /* what the engine had, or NULL */
    sinter_abi_services services;
    sinter_profile_kernel *kernels;
    double *run_seconds; /* of each kernel in this run */
    size_t *run_calls;
    uint32_t count;
    size_t runs;
    double begin;
};

static void add_call(sinter_profile_kernel *kernel, size_t index, double seconds) {
    if (index >= SINTER_PROFILE_MAX_CALLS) return;
    if (index >= kernel->call_capacity) {
        size_t more = kernel->call_capacity ? 2 * kernel->call_capacity : 16;
        kernel->call_seconds =
            sinter_heap_realloc(kernel->call_seconds, more * sizeof *kernel->call_seconds);
        for (size_t i = kernel->call_capacity; i < more; ++i) kernel->call_seconds[i] = INFINITY;
        kernel->call_capacity = more;
    }
    if (seconds < kernel->call_seconds[index]) kernel->call_seconds[index] = seconds;
}

static void on_trace(void *user, uint32_t kernel, int32_t begin) {
    sinter_profile *p = user;
    if (begin) {
        p->begin = sinter_clock_seconds();
    } else if (kernel < p->count) {
        double seconds = sinter_clock_seconds() - p->begin;
        add_call(&p->kernels[kernel], p->run_calls[kernel]++, seconds);
        p->run_seconds[kernel] += seconds;
    }
}

/* Each service has the same `user`, so what was there is called with its own. */
static void on_parallel_for(void *user, int64_t count, int64_t grain,
                            void (*body)(void *environment, int64_t first, int64_t last),
                            void *environment) {
    const sinter_abi_services *before = ((sinter_profile *)user)->before;
    before->parallel_for(before->user, count, grain, body, environment);
}

static void *on_allocate(void *user, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((sinter_profile *)user)->before;
    return before->allocate(before->user, size, alignment);
}

static void on_deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    const sinter_abi_services *before = ((sinter_profile *)user)->before;
    before->deallocate(before->user, pointer, size, alignment);
}

static void on_log(void *user, int32_t level, const char *message) {
    const sinter_abi_services *before = ((sinter_profile *)user)->before;
    before->log(before->user, level, message);
}

sinter_profile *sinter_profile_create(sinter_engine *engine) {
    const sinter_abi_artifact *artifact = sinter_engine_artifact(engine);
    sinter_profile *p = sinter_heap_alloc(sizeof *p);
    p->engine = engine;
    p->count = artifact->kernel_count;
    p->kernels = sinter_heap_alloc((p->count + 1) * sizeof *p->kernels);
    p->run_seconds = sinter_heap_alloc((p->count + 1) * sizeof *p->run_seconds);
    p->run_calls = sinter_heap_alloc((p->count + 1) * sizeof *p->run_calls);
    for (uint32_t i = 0; i < p->count; ++i) p->kernels[i].kernel = &artifact->kernels[i];
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

void sinter_profile_destroy(sinter_profile *p) {
    if (!p) return;
    sinter_engine_set_services(p->engine, p->before);
    for (uint32_t i = 0; i < p->count; ++i) sinter_heap_free(p->kernels[i].call_seconds);
    sinter_heap_free(p->kernels);
    sinter_heap_free(p->run_seconds);
    sinter_heap_free(p->run_calls);
    sinter_heap_free(p);
}

void sinter_profile_begin_run(sinter_profile *p) {
    for (uint32_t i = 0; i < p->count; ++i) {
        p->run_seconds[i] = 0;
        p->run_calls[i] = 0;
    }
}

void sinter_profile_end_run(sinter_profile *p) {
    for (uint32_t i = 0; i < p->count; ++i) {
        sinter_profile_kernel *kernel = &p->kernels[i];
        if (!p->runs || p->run_seconds[i] < kernel->seconds) kernel->seconds = p->run_seconds[i];
        kernel->calls = p->run_calls[i];
    }
    p->runs++;
}

const sinter_profile_kernel *sinter_profile_kernels(const sinter_profile *p, size_t *out_count) {
    *out_count = p->count;
    return p->kernels;
}
