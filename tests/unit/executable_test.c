/* Runs: many threads on one executable, two models on one pool, the caller's memory and nothing else, and the messages of what
 * is wrong with a call. malloc is counted here, so that a run that should not allocate can't. */
#include "tests/unit/artifact_support.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- counted allocation (the sanitizers bring their own malloc, which stays alone) ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
# define COUNTS 0
#elif defined(__has_feature)
# if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                        \
     __has_feature(memory_sanitizer)
#  define COUNTS 0
# endif
#endif
#if !defined(COUNTS) && defined(__GLIBC__)
# define COUNTS 1
static _Atomic long allocations;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}
void *realloc(void *pointer, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(pointer, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, size);
}
#else
# undef COUNTS
# define COUNTS 0
static _Atomic long allocations;
#endif

/* ---- calls of mlp (pixels f32[batch,8,8] -> logits f32[batch,10]) and cnn, which is the same outside ---- */

enum { PIXELS = 64, LOGITS = 10, MOST = 9 };

typedef struct call {
    const sinter_executable *model;
    const sinter_abi_services *services;
    int64_t batch;
    float pixels[MOST * PIXELS], logits[MOST * LOGITS];
    sinter_abi_tensor in, out;
} call;

static void prepare(call *c, const sinter_executable *model, const sinter_abi_services *services,
                    int64_t batch) {
    memset(c, 0, sizeof *c);
    c->model = model;
    c->services = services;
    c->batch = batch;
    for (int64_t i = 0; i < batch * PIXELS; i++) c->pixels[i] = (float)((i * 37 + batch) % 17);
    c->in = (sinter_abi_tensor){.data = c->pixels,
                                .bytes = (uint64_t)batch * PIXELS * sizeof(float),
                                .dims = {batch, 8, 8},
                                .rank = 3,
                                .dtype = 1};
    c->out = (sinter_abi_tensor){.data = c->logits, .bytes = sizeof c->logits};
}

static bool run(call *c) {
    c->out.bytes = sizeof c->logits;
    sinter_status *status = sinter_executable_run(c->model, &c->in, &c->out, c->services, NULL, 0);
    if (status) puts(sinter_status_message(status));
    sinter_status_destroy(status);
    return !status && c->out.dims[0] == c->batch && c->out.dims[1] == LOGITS &&
           c->out.bytes == (uint64_t)c->batch * LOGITS * sizeof(float);
}

static sinter_executable *load(const char *folder, const char *name, int64_t batch,
                               const char *target) {
    char path[300];
    snprintf(path, sizeof path, "%s/%s%d.so", folder, name, (int)batch);
    sinter_executable *executable = NULL;
    sinter_status *status = support_compile(name, batch, target, path)
                                ? sinter_executable_load(path, NULL, &executable)
                                : NULL;
    if (status) puts(sinter_status_message(status));
    sinter_status_destroy(status);
    unlink(path);
    CHECK(executable != NULL);
    return executable;
}

/* ---- threads ---- */

typedef struct job {
    const sinter_executable *models[2];
    const sinter_abi_services *services;
    const call *expected[2]; /* by model, MOST each */
    int number;
    bool good;
} job;

static void *run_many(void *user) {
    job *j = user;
    call *c = malloc(sizeof *c);
    j->good = c != NULL;
    for (int i = 0; i < 40 && j->good; i++) {
        int which = (i + j->number) % 2, batch = 1 + (i * 5 + j->number) % MOST;
        prepare(c, j->models[which], j->services, batch);
        j->good = run(c) && !memcmp(c->logits, j->expected[which][batch - 1].logits,
                                    (size_t)batch * LOGITS * sizeof(float));
    }
    free(c);
    return NULL;
}

/* Eight threads, two models, one pool: each result is to the bit that of one thread alone. */
static void test_threads(sinter_executable *mlp, sinter_executable *cnn) {
    enum { THREADS = 8 };
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(3, NULL, &pool) == NULL);
    static call expected[2][MOST];
    for (int which = 0; which < 2; which++)
        for (int batch = 1; batch <= MOST; batch++) {
            prepare(&expected[which][batch - 1], which ? cnn : mlp, NULL, batch);
            CHECK(run(&expected[which][batch - 1]));
        }
    pthread_t threads[THREADS];
    job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){{mlp, i < 4 ? cnn : mlp},
                        i % 3 ? sinter_pool_services(pool) : NULL,
                        {expected[0], expected[i < 4]},
                        i,
                        false};
        CHECK(pthread_create(&threads[i], NULL, run_many, &jobs[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CHECK(jobs[i].good);
    }
    sinter_pool_destroy(pool);
}

/* ---- memory ---- */

/* Static shapes, outputs and context of the caller's: no allocation, by one thread or by a pool. */
static void test_no_allocation(sinter_executable *fixed) {
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(2, NULL, &pool) == NULL);
    static call c;
    uint64_t bytes = 0;
    prepare(&c, fixed, NULL, 1);
    CHECK(sinter_executable_plan(fixed, &c.in, &c.out, &bytes) == NULL);
    void *context = aligned_alloc(64, bytes);
    CHECK(bytes % 64 == 0 && context != NULL);
    long before = allocations;
    bool good = true;
    for (int i = 0; i < 20; i++) {
        c.out.bytes = sizeof c.logits;
        const sinter_abi_services *services = i % 2 ? sinter_pool_services(pool) : NULL;
        good = good && !sinter_executable_run(fixed, &c.in, &c.out, services, context, bytes);
    }
    long after = allocations;
    CHECK(good);
    if (COUNTS) CHECK(before > 0); /* the counter counts */
    CHECK_INT_EQ(after - before, 0);
    free(context);
    sinter_pool_destroy(pool);
}

static int64_t live, peak;
static void *give(void *user, size_t size, size_t alignment) {
    live += (int64_t)size;
    if (live > peak) peak = live;
    return user ? NULL : aligned_alloc(alignment, size);
}
static void take(void *user, void *pointer, size_t size, size_t alignment) {
    (void)user, (void)alignment;
    live -= (int64_t)size;
    free(pointer);
}

/* All memory of a run comes from the allocator of the services, and goes back there. */
static void test_allocator(sinter_executable *mlp) {
    static call c;
    sinter_abi_services services = {.size = sizeof services, .allocate = give, .deallocate = take};
    prepare(&c, mlp, &services, 3);
    c.out.data = NULL;
    CHECK(sinter_executable_run(mlp, &c.in, &c.out, &services, NULL, 0) == NULL);
    CHECK(peak > 0 && c.out.data != NULL);
    CHECK_INT_EQ(live, 3 * LOGITS * 4 + 8); /* in blocks of 64 bytes */
    sinter_output_free(&c.out, &services);
    CHECK_INT_EQ(live, 0);
    services.user = &services; /* no memory any more */
    sinter_status *status = sinter_executable_run(mlp, &c.in, &c.out, &services, NULL, 0);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_OUT_OF_MEMORY);
    sinter_status_destroy(status);
    sinter_allocator none = {&services, give, take};
    sinter_executable *wrapped = NULL;
    status = sinter_executable_wrap(sinter_executable_describe(mlp), &c, &none, &wrapped);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_OUT_OF_MEMORY);
    sinter_status_destroy(status);
}

/* ---- calls that are wrong ---- */

static void expect(call *c, void *context, uint64_t bytes, sinter_status_code code,
                   const char *message) {
    sinter_status *status = sinter_executable_run(c->model, &c->in, &c->out, NULL, context, bytes);
    CHECK_INT_EQ(sinter_status_get_code(status), code);
    CHECK_STRING_EQ(sinter_status_message(status), message);
    sinter_status_destroy(status);
}

static void test_wrong_calls(sinter_executable *mlp) {
    static call c;
    static _Alignas(64) char small[128];
    prepare(&c, mlp, NULL, 2);
    c.in.dims[2] = 7;
    expect(&c, NULL, 0, SINTER_STATUS_BAD_INPUT, "input 'pixels': expected dim 2 of 8, found 7");
    prepare(&c, mlp, NULL, 2);
    c.in.dtype = 7;
    expect(&c, NULL, 0, SINTER_STATUS_BAD_INPUT,
           "input 'pixels': expected element type f32 (ONNX code 1), found code 7");
    prepare(&c, mlp, NULL, 2);
    c.in.rank = 2;
    expect(&c, NULL, 0, SINTER_STATUS_BAD_INPUT, "input 'pixels': expected rank 3, found rank 2");
    prepare(&c, mlp, NULL, 2);
    c.in.bytes = 100;
    expect(&c, NULL, 0, SINTER_STATUS_BAD_INPUT, "input 'pixels' needs 512 bytes and has 100");
    prepare(&c, mlp, NULL, 2);
    c.out.bytes = 79;
    expect(&c, NULL, 0, SINTER_STATUS_BAD_INPUT, "output 'logits' needs 80 bytes and has 79");
    prepare(&c, mlp, NULL, 2);
    c.in.dims[0] = INT64_MAX / 2;
    sinter_status *status = sinter_executable_run(mlp, &c.in, &c.out, NULL, NULL, 0);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_OVERFLOW);
    sinter_status_destroy(status);
    prepare(&c, mlp, NULL, 2);
    expect(&c, small + 1, 64, SINTER_STATUS_BAD_INPUT, "the context is not 64-byte aligned");
    expect(&c, small, 64, SINTER_STATUS_OUT_OF_MEMORY,
           "the context has 64 bytes and needs 128 at least");
    prepare(&c, mlp, NULL, 0); /* nothing to do is no mistake */
    CHECK(run(&c));
}

static void test_wrap(void) {
    sinter_abi_artifact artifact = {.magic = SINTER_ABI_MAGIC,
                                    .version = SINTER_ABI_VERSION,
                                    .size = sizeof artifact,
                                    .name = "made"};
    sinter_executable *executable = NULL;
    CHECK(sinter_executable_wrap(&artifact, NULL, NULL, &executable) == NULL);
    sinter_executable_destroy(executable);
    sinter_executable_destroy(NULL);
    artifact.cpu_features = "abacus,wheel";
    sinter_status *status = sinter_executable_wrap(&artifact, NULL, NULL, &executable);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_WRONG_CPU);
    CHECK_STRING_EQ(sinter_status_message(status),
                    "made: this CPU lacks what it was compiled for: abacus wheel");
    CHECK(executable == NULL);
    sinter_status_destroy(status);
    artifact.cpu_features = "";
    artifact.weights_bytes = 5;
    status = sinter_executable_wrap(&artifact, NULL, NULL, &executable);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_INPUT);
    CHECK_STRING_EQ(sinter_status_message(status), "made: its 5 bytes of weights are missing");
    sinter_status_destroy(status);
    artifact.version = 9;
    status = sinter_executable_wrap(&artifact, NULL, NULL, &executable);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_ARTIFACT);
    sinter_status_destroy(status);
    status = sinter_executable_wrap(NULL, NULL, NULL, &executable);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_ARTIFACT);
    sinter_status_destroy(status);
}

int main(void) {
    char folder[SINTER_FILE_FOLDER_BYTES];
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return test_finish();
    sinter_executable *mlp = load(folder, "mlp", 0, "cpu"), *cnn = load(folder, "cnn", 0, "cpu");
    sinter_executable *fixed = load(folder, "mlp", 1, "cpu");
    if (mlp && cnn && fixed) {
        test_threads(mlp, cnn);
        test_no_allocation(fixed);
        test_allocator(mlp);
        test_wrong_calls(mlp);
    }
    test_wrap();
    sinter_executable_destroy(mlp);
    sinter_executable_destroy(cnn);
    sinter_executable_destroy(fixed);
    rmdir(folder);
    return test_finish();
}
