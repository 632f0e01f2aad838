/* The time of each kernel: one clock reading before and one after each call, on the thread that runs the
 * host function (trace.h). Test: tests/cli/bench_profile.test, tests/cli/tune.test */
#include "runtime/jit/profile.h"

#include <math.h>

struct sinter_profile {
    sinter_engine *engine;
    sinter_listener listener;
    sinter_profile_kernel *kernels;
    double *run_seconds; /* of each kernel in this run */
    size_t *run_calls;
    uint32_t count;
    size_t runs;
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

static void hear(void *user, const sinter_trace_step *step) {
    sinter_profile *p = user;
    if (step->is_exchange || step->index >= p->count) return;
    double seconds = step->end - step->begin;
    add_call(&p->kernels[step->index], p->run_calls[step->index]++, seconds);
    p->run_seconds[step->index] += seconds;
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
    p->listener = (sinter_listener){hear, p};
    sinter_engine_set_listener(engine, &p->listener);
    return p;
}

void sinter_profile_destroy(sinter_profile *p) {
    if (!p) return;
    sinter_engine_set_listener(p->engine, NULL);
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
