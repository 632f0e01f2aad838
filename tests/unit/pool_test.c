/* The thread pool: every index once whatever the sizes, callers from many threads at a time, loops inside of loops, sleep and
 * wake-up, the caller's allocator. Run under the thread sanitizer too. */
#include "runtime/pool_distance.h"
#include "runtime/sinter_runtime.h"
#include "tests/unit/test.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

typedef struct sweep {
    unsigned char *seen; /* written by whoever gets the index: the sanitizer sees an overlap */
    int64_t grain, count;
    _Atomic int short_ranges;
} sweep;

static void mark(void *environment, int64_t first, int64_t last) {
    sweep *s = environment;
    if (last - first < s->grain && last - first != s->count) atomic_fetch_add(&s->short_ranges, 1);
    for (int64_t i = first; i < last; i++) s->seen[i]++;
}

static bool is_covered(sweep *s) {
    bool good = s->short_ranges == 0 && s->seen[s->count] == 0;
    for (int64_t i = 0; i < s->count; i++) good = good && s->seen[i] == 1;
    free(s->seen);
    return good;
}

static bool covers(sinter_pool *pool, int64_t count, int64_t grain) {
    sweep s = {.seen = calloc((size_t)count + 1, 1), .grain = grain, .count = count};
    sinter_pool_parallel_for(pool, count, grain, mark, &s);
    return is_covered(&s);
}

static void test_ranges(void) {
    for (uint32_t threads = 1; threads <= 5; threads += 2) {
        sinter_pool *pool = NULL;
        CHECK(sinter_pool_create(threads, NULL, &pool) == NULL);
        CHECK_INT_EQ(sinter_pool_thread_count(pool), threads);
        CHECK_INT_EQ(sinter_pool_services(pool)->thread_count, threads);
        static const int64_t counts[] = {0, 1, 2, 3, 7, 16, 17, 1000, 4097};
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            for (int64_t grain = 0; grain < 40; grain += 13) CHECK(covers(pool, counts[i], grain));
        sinter_pool_destroy(pool);
    }
}

typedef struct shares {
    int64_t count, threads;
    _Atomic int straddling; /* chunks that are of two threads' shares */
} shares;

static void look_at_shares(void *environment, int64_t first, int64_t last) {
    shares *s = environment;
    for (int64_t i = 1; i < s->threads; i++) {
        int64_t border = s->count / s->threads * i;
        if (first < border && border < last) atomic_fetch_add(&s->straddling, 1);
    }
}

/* Counts that the threads divide are divided evenly, also where they are no multiple of the chunks. */
static void test_shares(void) {
    for (uint32_t threads = 2; threads <= 4; threads++) {
        sinter_pool *pool = NULL;
        CHECK(sinter_pool_create(threads, NULL, &pool) == NULL);
        for (int64_t each = 1; each < 40; each++) {
            shares s = {.count = each * threads, .threads = threads};
            sinter_pool_parallel_for(pool, s.count, 1, look_at_shares, &s);
            CHECK_INT_EQ(s.straddling, 0);
        }
        sinter_pool_destroy(pool);
    }
}

/* Many short loops in a row: slots are used again and again while helpers still look at them. */
static void *many_loops(void *user) {
    bool good = true;
    for (int i = 0; i < 2000; i++) good = good && covers(user, 1 + i % 37, 1 + i % 3);
    return good ? user : NULL;
}

static void test_callers(void) {
    enum { CALLERS = 20 }; /* more than the pool has slots */
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(4, NULL, &pool) == NULL);
    pthread_t threads[CALLERS];
    for (int i = 0; i < CALLERS; i++)
        CHECK(pthread_create(&threads[i], NULL, many_loops, pool) == 0);
    for (int i = 0; i < CALLERS; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        CHECK(result == pool);
    }
    sinter_pool_destroy(pool);
}

typedef struct nest {
    sinter_pool *pool;
    _Atomic int64_t sum;
} nest;

static void inner(void *environment, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++) atomic_fetch_add(&((nest *)environment)->sum, i);
}

static void outer(void *environment, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; i++)
        sinter_pool_parallel_for(((nest *)environment)->pool, 100, 1, inner, environment);
}

static void test_nested_and_asleep(void) {
    nest n = {0};
    CHECK(sinter_pool_create(3, NULL, &n.pool) == NULL);
    for (int round = 0; round < 5; round++) {
        n.sum = 0;
        sinter_pool_parallel_for(n.pool, 50, 1, outer, &n);
        CHECK_INT_EQ(n.sum, 50 * 4950);
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL); /* the helpers fall asleep */
    }
    sinter_pool_destroy(n.pool);
}

static int64_t outstanding;
static void *count_allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    outstanding += (int64_t)size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}
static void count_deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    (void)user, (void)alignment;
    outstanding -= (int64_t)size;
    free(pointer);
}

static void test_allocator(void) {
    sinter_allocator allocator = {NULL, count_allocate, count_deallocate};
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(2, &allocator, &pool) == NULL);
    CHECK(outstanding > 0);
    const sinter_abi_services *services = sinter_pool_services(pool);
    void *memory = services->allocate(services->user, 100, 64);
    CHECK(memory && (uintptr_t)memory % 64 == 0);
    services->deallocate(services->user, memory, 100, 64);
    sinter_pool_destroy(pool);
    CHECK_INT_EQ(outstanding, 0);
}

/* ---- the caller's floating-point mode ---- */

static void divide(void *environment, int64_t first, int64_t last) {
    float *out = environment;
    for (int64_t i = first; i < last; i++) {
        volatile float one = 1, three = 3;
        out[i] = one / three;
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL); /* everyone gets some */
    }
}

static void test_float_mode(void) {
    static float nearest[200], downward[200];
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(4, NULL, &pool) == NULL);
    sinter_pool_parallel_for(pool, 200, 1, divide, nearest);
    int before = fegetround();
    CHECK(fesetround(FE_DOWNWARD) == 0);
    sinter_pool_parallel_for(pool, 200, 1, divide, downward);
    CHECK(fegetround() == FE_DOWNWARD);
    fesetround(before);
    CHECK(downward[0] < nearest[0]);
    bool same = true;
    for (int i = 1; i < 200; i++)
        same = same && downward[i] == downward[0] && nearest[i] == nearest[0];
    CHECK(same);
    sinter_pool_parallel_for(pool, 200, 1, divide, downward); /* and the helpers forget it again */
    for (int i = 0; i < 200; i++) same = same && downward[i] == nearest[0];
    CHECK(same);
    sinter_pool_destroy(pool);
}

typedef struct listeners {
    pthread_t caller;
    _Atomic int helpers,
        open; /* indices that helpers ran, and those where a signal could come in */
} listeners;

static void look_at_signals(void *environment, int64_t first, int64_t last) {
    listeners *l = environment;
    sigset_t blocked;
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    if (pthread_equal(l->caller, pthread_self())) return;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    atomic_fetch_add(&l->helpers, (int)(last - first));
    if (!sigismember(&blocked, SIGINT) || !sigismember(&blocked, SIGUSR1))
        atomic_fetch_add(&l->open, 1);
}

/* Signals are for the program's own threads, whose mask stays as it was. */
static void test_signals(void) {
    sigset_t before, after;
    sinter_pool *pool = NULL;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    CHECK(sinter_pool_create(3, NULL, &pool) == NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    CHECK_INT_EQ(sigismember(&after, SIGINT), sigismember(&before, SIGINT));
    listeners l = {.caller = pthread_self()};
    for (int round = 0; round < 1000 && !l.helpers; round++)
        sinter_pool_parallel_for(pool, 30, 1, look_at_signals, &l);
    CHECK(l.helpers > 0);
    CHECK_INT_EQ(l.open, 0);
    sinter_pool_destroy(pool);
}

static bool serves(const sinter_abi_services *services, int64_t count, int64_t grain) {
    sweep s = {.seen = calloc((size_t)count + 1, 1),
               .grain = grain / SINTER_ABI_GRAIN_PARTS,
               .count = count};
    services->parallel_for(services->user, count, grain, mark, &s);
    return is_covered(&s);
}

static void count_range(void *environment, int64_t first, int64_t last) {
    (void)first, (void)last;
    atomic_fetch_add((_Atomic int *)environment, 1);
}

/* Notes fade, the distance is their mean by that of neighbours within its bounds, and grains grow with it. */
static void test_distance(void) {
    const uint32_t near = SINTER_DISTANCE_NEAR, far = SINTER_DISTANCE_FARTHEST;
    const uint32_t ticks = SINTER_DISTANCE_NEAR_TICKS;
    CHECK_INT_EQ(sinter_distance_of(0, 0), near);
    CHECK_INT_EQ(sinter_distance_of(ticks / 2, 1), near);
    CHECK_INT_EQ(sinter_distance_of(3 * ticks, 1), 3 * near);
    CHECK_INT_EQ(sinter_distance_of(3 * ticks + ticks, 2), 2 * near);
    CHECK_INT_EQ(sinter_distance_of(100 * ticks, 1), far);
    uint32_t kept = sinter_distance_note(0, 0, 2000);
    CHECK_INT_EQ(kept, 2000);
    for (uint32_t notes = 1; notes < 4; notes++) {
        uint32_t before = kept;
        kept = sinter_distance_note(kept, notes, 400);
        CHECK(kept < before && kept > 400);
    }
    for (uint32_t notes = 4; notes < 40; notes++) kept = sinter_distance_note(kept, notes, 400);
    CHECK(kept >= 400 && kept < 410);

    const int64_t parts = SINTER_ABI_GRAIN_PARTS;
    CHECK_INT_EQ(sinter_distance_stretch(1, near), 1);
    CHECK_INT_EQ(sinter_distance_stretch(3 * parts, near), 3);
    CHECK_INT_EQ(sinter_distance_stretch(3 * parts, 4 * near), 12);
    CHECK_INT_EQ(sinter_distance_stretch(parts / 2, near), 1);
    CHECK_INT_EQ(sinter_distance_stretch(parts / 2, far), 4);
    CHECK_INT_EQ(sinter_distance_stretch(INT64_MAX, far), INT64_MAX / parts);
    CHECK(sinter_distance_matters(10, 2 * parts));  /* five threads here, none there */
    CHECK(!sinter_distance_matters(10, 6 * parts)); /* not even one beside the caller */
    CHECK(!sinter_distance_matters(10, 1));         /* one iteration at any distance */
}

/* Grains of the service are parts of iterations, stretched by a distance that stays within its bounds; what is worth a thread at any
 * distance is shared, what is worth none is not. */
static void test_service(void) {
    sinter_pool *pool = NULL;
    CHECK(sinter_pool_create(2, NULL, &pool) == NULL);
    const sinter_abi_services *services = sinter_pool_services(pool);
    CHECK(sinter_pool_distance(pool) == 1);
    for (int i = 0; i < 3000; i++)
        CHECK(serves(services, 1 + i % 41, i % 7 ? 1 + i % 90 : INT64_MAX - i));
    CHECK(sinter_pool_distance(pool) >= 1 && sinter_pool_distance(pool) <= 8);
    _Atomic int ranges = 0;
    services->parallel_for(services->user, 10, 1, count_range, &ranges);
    CHECK(atomic_load(&ranges) > 1);
    atomic_store(&ranges, 0);
    services->parallel_for(services->user, 10, 6 * SINTER_ABI_GRAIN_PARTS, count_range, &ranges);
    CHECK_INT_EQ(atomic_load(&ranges), 1);
    sinter_pool_destroy(pool);
}

static void test_refusals(void) {
    sinter_pool *pool = NULL;
    sinter_status *status = sinter_pool_create(0, NULL, &pool);
    CHECK_INT_EQ(sinter_status_get_code(status), SINTER_STATUS_BAD_INPUT);
    CHECK_STRING_EQ(sinter_status_message(status), "a pool of 0 threads: expected 1 to 4096");
    CHECK_STRING_EQ(sinter_status_file(status), "runtime/pool.c");
    CHECK(sinter_status_line(status) > 0);
    CHECK(pool == NULL);
    sinter_status_destroy(status);
    sinter_pool_destroy(NULL);
    sinter_status_destroy(NULL);
    CHECK(sinter_pool_services(NULL) == NULL);
    CHECK_INT_EQ(sinter_status_get_code(NULL), SINTER_STATUS_OK);
    CHECK_STRING_EQ(sinter_status_message(NULL), "");
}

int main(void) {
    test_ranges();
    test_shares();
    test_callers();
    test_nested_and_asleep();
    test_allocator();
    test_float_mode();
    test_signals();
    test_distance();
    test_service();
    test_refusals();
    return test_finish();
}
