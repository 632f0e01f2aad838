/* codegen/crew.h: every job is done once, what jobs say comes in their order for any number of threads, the first failure ends it,
 * a thread's own is its alone and released, progress counts to the end, and memory that runs out reaches the caller's guard. */
#include "codegen/crew.h"
#include "ir/base/heap.h"
#include "ir/base/text.h"
#include "tests/unit/test.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { JOBS = 200 };

typedef struct own {
    void *memory; /* what a thread keeps from job to job */
} own;

typedef struct round_of {
    atomic_int done[JOBS];
    size_t fails; /* from this job on; JOBS: none */
    size_t told, total;
    bool jumped;
} round_of;

static bool work(void *user, size_t job, void *mine, sinter_diag *diag) {
    round_of *r = user;
    own *o = mine;
    atomic_fetch_add(&r->done[job], 1);
    if (!o->memory) o->memory = malloc(16);
    if (job % 3 == 0) sinter_note(diag, "job", "%zu", job);
    if (job % 50 == 7) sinter_warning(diag, "job", "%zu", job);
    return job < r->fails || sinter_error(diag, "job", "%zu", job);
}

static void release(void *mine) {
    free(((own *)mine)->memory);
}

static void hear(void *listener, size_t done, size_t total) {
    round_of *r = listener;
    r->jumped |= done != r->told + 1;
    r->told = done;
    r->total = total;
}

static bool run(round_of *r, uint32_t threads, size_t fails, sinter_text *out_said) {
    *r = (round_of){.fails = fails};
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = out_said};
    sinter_crew crew = {.count = JOBS,
                        .threads = threads,
                        .work = work,
                        .release = release,
                        .progress = hear,
                        .user = r,
                        .listener = r,
                        .own_bytes = sizeof(own)};
    return sinter_crew_run(&crew, &diag);
}

static void test_all(void) {
    static round_of r;
    sinter_text alone = {0};
    CHECK(run(&r, 1, JOBS, &alone));
    for (uint32_t threads = 0; threads < 9; threads++) {
        sinter_text said = {0};
        CHECK(run(&r, threads, JOBS, &said));
        for (int i = 0; i < JOBS; i++) CHECK_INT_EQ(r.done[i], 1);
        CHECK_STRING_EQ(said.data, alone.data);
        CHECK(!r.jumped && r.told == JOBS && r.total == JOBS);
        sinter_text_deinit(&said);
    }
    sinter_text_deinit(&alone);
}

static void test_failure(void) {
    static round_of r;
    for (uint32_t threads = 1; threads < 5; threads++) {
        sinter_text said = {0};
        CHECK(!run(&r, threads, 100, &said));
        int began = 0;
        for (int i = 100; i < JOBS; i++) began += r.done[i];
        CHECK(began >= 1 && began <= (int)threads);
        CHECK(said.data && strstr(said.data, "error"));
        sinter_text_deinit(&said);
    }
    sinter_crew nothing = {.work = work};
    sinter_diag diag = {0};
    CHECK(sinter_crew_run(&nothing, &diag));
}

/* More than there is, in one of the jobs. */
static bool want_much(void *user, size_t job, void *mine, sinter_diag *diag) {
    (void)user;
    (void)diag;
    ((own *)mine)->memory = realloc(((own *)mine)->memory, 16);
    if (job == 20) sinter_out_of_memory(12345);
    return true;
}

static void run_out(void *user) {
    (void)user;
    sinter_diag diag = {0};
    sinter_crew crew = {.count = JOBS,
                        .threads = 4,
                        .work = want_much,
                        .release = release,
                        .own_bytes = sizeof(own)};
    sinter_crew_run(&crew, &diag);
}

static void test_memory(void) {
    size_t wanted = 0;
    CHECK(!sinter_heap_guard(run_out, NULL, &wanted));
    CHECK_INT_EQ(wanted, 12345);
}

int main(void) {
    test_all();
    test_failure();
    test_memory();
    return test_finish();
}
