/* The time of each kernel, through the trace service of the runtime contract: one clock reading before and one after each
 * call, on the thread that runs the host function. Needs an engine with native code. Test: tests/cli/bench_profile.test */
#include "tools/sinter/command.h"
#include <math.h>
#include <stdlib.h>

struct profile {
    sinter_engine *engine;
    const sinter_abi_services *before; /* what the engine had, or NULL */
    sinter_abi_services services;
    profile_kernel *kernels;
    double *run_seconds; /* of each kernel in this run */
    size_t *run_calls;
    uint32_t count;
    size_t runs;
    double begin;
};

static void add_call(profile_kernel *kernel, size_t index, double seconds) {
    if (index >= PROFILE_MAX_CALLS) return;
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
    profile *p = user;
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
    profile *p = sinter_heap_alloc(sizeof *p);
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

void profile_destroy(profile *p) {
    if (!p) return;
    sinter_engine_set_services(p->engine, p->before);
    for (uint32_t i = 0; i < p->count; ++i) sinter_heap_free(p->kernels[i].call_seconds);
    sinter_heap_free(p->kernels);
    sinter_heap_free(p->run_seconds);
    sinter_heap_free(p->run_calls);
    sinter_heap_free(p);
}

void profile_begin_run(profile *p) {
    for (uint32_t i = 0; i < p->count; ++i) {
        p->run_seconds[i] = 0;
        p->run_calls[i] = 0;
    }
}

void profile_end_run(profile *p) {
    for (uint32_t i = 0; i < p->count; ++i) {
        profile_kernel *kernel = &p->kernels[i];
        if (!p->runs || p->run_seconds[i] < kernel->seconds) kernel->seconds = p->run_seconds[i];
        kernel->calls = p->run_calls[i];
    }
    p->runs++;
}

const profile_kernel *profile_kernels(const profile *p, size_t *out_count) {
    *out_count = p->count;
    return p->kernels;
}

static int slower_first(const void *a, const void *b) {
    double x = ((const profile_kernel *)a)->seconds, y = ((const profile_kernel *)b)->seconds;
    return (x < y) - (x > y);
}

static double fastest_call(const profile_kernel *kernel) {
    double fastest = kernel->call_capacity ? kernel->call_seconds[0] : 0;
    for (size_t i = 1; i < kernel->call_capacity; ++i)
        fastest = fmin(fastest, kernel->call_seconds[i]);
    return fastest;
}

/* Without the file's name before each node, and cut where it is long: "'a' (Conv) + 'b' (Relu)". */
static void append_nodes(const char *nodes, sinter_text *text) {
    enum { longest = 100 };
    size_t more = 0;
    for (const char *at = nodes, *next; *at; at = next) {
        const char *plus = strstr(at, " + "), *comma = strstr(at, ", ");
        next = plus && (!comma || plus < comma) ? plus + 3 : comma ? comma + 2 : at + strlen(at);
        const char *name = strstr(at, ": node ");
        if (!name || name >= next)
            name = at;
        else
            name += strlen(": node ");
        if (text->size && text->size + (size_t)(next - name) > longest)
            more++;
        else
            sinter_text_append(text, name, (size_t)(next - name));
    }
    if (more) sinter_text_format(text, "... and %zu more", more);
}

void profile_print(const profile *p, FILE *file) {
    double total = 0;
    profile_kernel *sorted = sinter_heap_alloc((p->count + 1) * sizeof *sorted);
    for (uint32_t i = 0; i < p->count; ++i) {
        sorted[i] = p->kernels[i];
        total += sorted[i].seconds;
    }
    qsort(sorted, p->count, sizeof *sorted, slower_first);
    fprintf(file, "kernels: %.4f ms a run\n%10s %6s %6s %10s  %-24s %s\n", 1e3 * total, "ms", "%",
            "calls", "fastest", "kernel", "nodes");
    for (uint32_t i = 0; i < p->count; ++i) {
        const profile_kernel *k = &sorted[i];
        sinter_text nodes = {0};
        append_nodes(k->kernel->nodes ? k->kernel->nodes : "", &nodes);
        fprintf(file, "%10.4f %6.2f %6zu %10.4f  %-24s %s\n", 1e3 * k->seconds,
                total > 0 ? 100 * k->seconds / total : 0, k->calls, 1e3 * fastest_call(k),
                k->kernel->name, nodes.data ? nodes.data : "");
        sinter_text_deinit(&nodes);
    }
    sinter_heap_free(sorted);
}
