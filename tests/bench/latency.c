/* What a run costs besides its kernels: a fork and join of the pool's threads, planning, and a whole run of a model that
 * computes next to nothing. Nanoseconds, the fastest of many (a busy machine shows in everything else).
 *   latency MODEL.so [THREADS]
 * The model: one input and output, of static shape, any small .so. Built with the tests; figures are in docs/artifacts.md. */
#include "ir/base/clock.h"
#include "runtime/sinter_runtime.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 20000, SECONDS = 3 };

/* Bytes of a tensor of the widest type with these dims, symbols as 1. */
static uint64_t room_for(int32_t rank, const int64_t *dims) {
    uint64_t bytes = 8;
    for (int32_t i = 0; i < rank; i++) bytes *= dims[i] < 0 ? 1 : (uint64_t)dims[i];
    return (bytes + 63) / 64 * 64;
}

/* Iterations wait for each other, so that each is another thread's. */
static void meet(void *environment, int64_t first, int64_t last) {
    atomic_int *missing = environment;
    atomic_fetch_sub(missing, (int)(last - first));
    while (atomic_load(missing) > 0) continue;
}

typedef struct setting {
    sinter_pool *pool;
    const sinter_executable *executable;
    sinter_abi_tensor input, output;
    void *context;
    uint64_t context_bytes;
} setting;

static sinter_status *fork_and_join(setting *s) {
    uint32_t threads = sinter_pool_thread_count(s->pool);
    atomic_int missing = (int)threads;
    sinter_pool_parallel_for(s->pool, threads, 1, meet, &missing);
    return NULL;
}

static sinter_status *plan(setting *s) {
    uint64_t bytes;
    return sinter_executable_plan(s->executable, &s->input, &s->output, &bytes);
}

static sinter_status *run(setting *s) {
    return sinter_executable_run(s->executable, &s->input, &s->output, NULL, s->context,
                                 s->context_bytes);
}

static int measure(const char *what, int repeats, sinter_status *(*body)(setting *s), setting *s) {
    double fastest = 1e9, begin = sinter_clock_seconds();
    for (int round = 0; round < ROUNDS && sinter_clock_seconds() < begin + SECONDS; round++) {
        double start = sinter_clock_seconds();
        for (int i = 0; i < repeats; i++) {
            sinter_status *status = body(s);
            if (!status) continue;
            fprintf(stderr, "%s: %s\n", what, sinter_status_message(status));
            sinter_status_destroy(status);
            return 1;
        }
        double seconds = (sinter_clock_seconds() - start) / repeats;
        if (seconds < fastest) fastest = seconds;
    }
    printf("%-34s %8.0f ns\n", what, fastest * 1e9);
    return 0;
}

static int measure_all(setting *s, sinter_executable *model) {
    sinter_status *status = plan(s);
    if (!status) { /* the context's size, and memory for the output */
        status = sinter_executable_plan(model, &s->input, &s->output, &s->context_bytes);
        s->context = aligned_alloc(64, (s->context_bytes + 127) / 64 * 64);
        s->output.bytes = room_for(s->output.rank, s->output.dims);
        s->output.data = aligned_alloc(64, s->output.bytes);
    }
    if (!status && s->context && s->output.data)
        return measure("fork and join", 4, fork_and_join, s) || measure("plan", 100, plan, s) ||
               measure("run with caller's memory", 100, run, s);
    fprintf(stderr, "%s\n", sinter_status_message(status));
    sinter_status_destroy(status);
    return 1;
}

int main(int argument_count, char **arguments) {
    setting s = {0};
    sinter_executable *model = NULL;
    uint32_t threads = argument_count > 2 ? (uint32_t)strtoul(arguments[2], NULL, 10) : 2;
    if (argument_count < 2) return fprintf(stderr, "usage: latency MODEL.so [THREADS]\n"), 2;
    sinter_status *status = sinter_executable_load(arguments[1], NULL, &model);
    if (!status) status = sinter_pool_create(threads, NULL, &s.pool);
    if (status) return fprintf(stderr, "%s\n", sinter_status_message(status)), 2;
    const sinter_abi_artifact *about = sinter_executable_describe(model);
    const sinter_abi_io *io = about->inputs;
    s.executable = model;
    s.input = (sinter_abi_tensor){.dtype = io->dtype, .rank = io->rank};
    for (int32_t i = 0; i < io->rank; i++) s.input.dims[i] = io->dims[i] < 0 ? 1 : io->dims[i];
    s.input.bytes = room_for(io->rank, io->dims);
    s.input.data = aligned_alloc(64, s.input.bytes);
    if (s.input.data) memset(s.input.data, 0, s.input.bytes);
    if (about->input_count != 1 || about->output_count != 1 || !s.input.data)
        return fprintf(stderr, "%s: expected one input and one output\n", arguments[1]), 2;
    printf("%s, %u threads\n", arguments[1], threads);
    int failed = measure_all(&s, model);
    free(s.input.data);
    free(s.output.data);
    free(s.context);
    sinter_pool_destroy(s.pool);
    sinter_executable_destroy(model);
    return failed;
}
