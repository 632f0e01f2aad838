/* The thread pool: helpers for parallel loops of any number of concurrent callers.
 *
 * A loop takes one of a few slots and is cut into chunks whose borders depend on count, pool size and grain alone. Every
 * thread has a range of neighbouring chunks, the same share of every loop, so that what it wrote in one loop is in its cache in
 * the next and what it prefetches is for itself. It takes them from the front; who has none left takes the last one of
 * another thread (affinity scheduling: Markatos and LeBlanc, 1994). Both do so by compare-and-swap on a word that carries
 * the slot's generation, so a helper that looks at a slot late can't touch the loop that came after. A bit per slot says
 * where chunks are left to claim. The caller claims too, then waits for the stragglers. Helpers spin on the bits for a
 * while, then sleep; who publishes work looks for sleepers after setting the bit, who falls asleep looks at the bits after
 * saying so, so no wake-up is lost.
 * All slots taken: the loop runs on its caller alone.
 *
 * Grains that executables give are for cores that are neighbours. How far apart they are differs by four times between neighbours and cores of
 * different clusters or sockets, and changes where a hypervisor or the system moves threads: helpers note how long the word
 * of a loop took to them (runtime/pool_distance.h), and such grains are stretched by that. Small loops of a model then stay with their caller while its
 * helpers are far away; now and then some are shared to find out. Values do not depend on who computes them.
 * Test: tests/unit/pool_test.c, also under the thread sanitizer */
#include "runtime/allocator.h"
#include "runtime/pool_distance.h"
#include "runtime/status.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    SLOT_COUNT = 16,
    MAX_THREADS = 4096,
    CHUNKS_PER_THREAD = 4, /* a thread that is late leaves some of them to others */
    SPIN_TICKS =
        1 << 18,  /* before sleep: a tenth of a millisecond at most on cores of 2.6 GHz and more */
    SPINS = 4000, /* pauses before sleep where no clock is read, and */
    PAUSES_PER_LOOK = 16, /* between two looks at the clock */
    LINE = 128            /* of a cache, and its neighbour that is fetched along */
};

/* Of distances; in ticks of the clock, which are cycles, roughly. */
enum {
    LOOK_TICKS = 1 << 26,  /* between two looks at what helpers have noted */
    PROBE_TICKS = 1 << 20, /* at most, until they have noted */
    ENOUGH_NOTES = 8
};

typedef void (*pool_body)(void *environment, int64_t first, int64_t last);

/* Chunks that one thread is to run. */
typedef struct range {
    _Alignas(LINE) _Atomic uint64_t left; /* generation << 32 | first << 16 | end */
} range;

typedef struct slot {
    _Alignas(LINE) _Atomic int64_t count;
    _Atomic uint32_t chunk_count;
    _Atomic(pool_body) body;
    _Atomic(void *) environment;
    _Atomic uint64_t float_mode;               /* of the caller */
    _Atomic uint64_t since;                    /* ticks */
    range *ranges;                             /* one a thread; the caller's is the first */
    uint32_t generation;                       /* of the owner */
    _Alignas(LINE) _Atomic uint32_t unclaimed; /* chunks */
    _Atomic uint32_t remaining;                /* chunks that are not done */
    _Atomic uint32_t waiting;                  /* the caller sleeps until they are */
} slot;

struct sinter_pool {
    slot slots[SLOT_COUNT];
    _Alignas(LINE) _Atomic uint32_t claimable; /* by slot: chunks are left */
    _Alignas(LINE) _Atomic uint32_t taken;     /* by slot: a caller owns it */
    _Atomic uint32_t sleepers;
    _Atomic bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    sinter_allocator allocator;
    bool has_allocator;
    sinter_abi_services services;
    uint32_t worker_count;
    bool spins;   /* before threads sleep: there is a processor for each */
    size_t bytes; /* of this object, with workers and ranges */
    _Alignas(LINE) _Atomic uint64_t look_at; /* ticks */
    _Atomic uint64_t probe_until;            /* ticks; 0: no probe is on */
    _Atomic uint32_t seen;                   /* notes of all helpers at the last look */
    _Atomic uint32_t distance;
    struct worker {
        _Alignas(LINE) sinter_pool *pool;
        uint32_t thread;  /* from 1: 0 is whoever calls */
        bool is_watching; /* it looked for work just now, and there was none */
        pthread_t id;
        _Atomic uint32_t ticks, notes; /* that a loop's word took, and how often that was noted */
    } workers[];
};

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Rounding and flush-to-zero, which belong to a thread; helpers take the caller's, so that results do not depend on who
 * computes them. */
static inline uint64_t get_float_mode(void) {
#if defined(__x86_64__)
    return __builtin_ia32_stmxcsr() & 0xffc0u; /* without the flags of what has happened */
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

static inline void set_float_mode(uint64_t mode) {
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* A clock that all cores read alike; 0 where there is none that costs next to nothing. */
static inline uint64_t read_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t count, hertz;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(hertz));
    const uint64_t cycles = UINT64_C(2500000000); /* a second */
    return hertz ? count * (cycles / hertz) : 0;
#else
    return 0;
#endif
}

/* ---- distance ---- */

/* What the loop's word took to this helper, if it was watching for it: not asleep, nor at another caller's loop. */
static void note_ticks(struct worker *self, const slot *s) {
    uint64_t took = read_ticks() - atomic_load_explicit(&s->since, memory_order_relaxed);
    bool was_watching = self->is_watching;
    self->is_watching = false;
    if (!was_watching || took > SINTER_DISTANCE_LATE_TICKS) return;
    uint32_t notes = atomic_load_explicit(&self->notes, memory_order_relaxed),
             before = atomic_load_explicit(&self->ticks, memory_order_relaxed);
    atomic_store_explicit(&self->ticks, sinter_distance_note(before, notes, (uint32_t)took),
                          memory_order_relaxed);
    atomic_store_explicit(&self->notes, notes + 1, memory_order_relaxed);
}

static uint32_t count_notes(const sinter_pool *pool) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pool->worker_count; i++)
        count += atomic_load_explicit(&pool->workers[i].notes, memory_order_relaxed);
    return count;
}

/* From the mean of what helpers noted; those that never did do not count. */
static void set_distance(sinter_pool *pool) {
    uint64_t sum = 0, count = 0;
    for (uint32_t i = 0; i < pool->worker_count; i++) {
        const struct worker *one = &pool->workers[i];
        if (!atomic_load_explicit(&one->notes, memory_order_relaxed)) continue;
        sum += atomic_load_explicit(&one->ticks, memory_order_relaxed);
        count++;
    }
    atomic_store_explicit(&pool->distance, sinter_distance_of(sum, count), memory_order_relaxed);
}

/* Whether loops are to be shared for the sake of notes. One caller looks, when it is time; a probe ends with the notes that it is for. */
static bool look(sinter_pool *pool) {
    uint64_t now = read_ticks(),
             look_at = atomic_load_explicit(&pool->look_at, memory_order_relaxed),
             until = atomic_load_explicit(&pool->probe_until, memory_order_relaxed);
    bool is_time = now >= look_at && atomic_compare_exchange_strong_explicit(
                                         &pool->look_at, &look_at, now + LOOK_TICKS,
                                         memory_order_relaxed, memory_order_relaxed);
    if (!is_time && !until) return false;
    uint32_t notes = count_notes(pool),
             fresh = notes - atomic_load_explicit(&pool->seen, memory_order_relaxed);
    bool is_over = until && (fresh >= ENOUGH_NOTES || now >= until);
    if (is_time || is_over) {
        if (fresh) set_distance(pool);
        atomic_store_explicit(&pool->seen, notes, memory_order_relaxed);
        until = is_over || fresh ? 0 : now + PROBE_TICKS;
        atomic_store_explicit(&pool->probe_until, until, memory_order_relaxed);
    }
    return until != 0;
}

/* Iterations that are worth a thread at the distance of this moment; a probe takes the cores for neighbours. */
static int64_t find_grain(sinter_pool *pool, int64_t count, int64_t grain) {
    uint32_t distance = !sinter_distance_matters(count, grain) || look(pool)
                            ? SINTER_DISTANCE_NEAR
                            : atomic_load_explicit(&pool->distance, memory_order_relaxed);
    return sinter_distance_stretch(grain, distance);
}

double sinter_pool_distance(const sinter_pool *pool) {
    return (double)atomic_load_explicit(&pool->distance, memory_order_relaxed) /
           SINTER_DISTANCE_NEAR;
}

/* ---- chunks ---- */

/* Takes the range's first chunk, or its last one; false where none is left. */
static bool claim(sinter_pool *pool, slot *s, uint32_t from, bool is_own, uint32_t *out_chunk) {
    _Atomic uint64_t *word = &s->ranges[from].left;
    uint64_t left = atomic_load_explicit(word, memory_order_acquire);
    for (;;) {
        uint32_t first = (uint32_t)(left >> 16) & 0xffff, end = (uint32_t)left & 0xffff;
        if (first >= end) return false;
        if (!atomic_compare_exchange_weak_explicit(word, &left,
                                                   is_own ? left + (1u << 16) : left - 1,
                                                   memory_order_acq_rel, memory_order_acquire))
            continue;
        /* The range was of this generation until now, and the loop can't end before this chunk is done. */
        if (atomic_fetch_sub(&s->unclaimed, 1) == 1)
            atomic_fetch_and(&pool->claimable, ~(1u << (s - pool->slots)));
        *out_chunk = is_own ? first : end - 1;
        return true;
    }
}

/* A chunk of the thread's own, else of one that comes after it. */
static bool claim_any(sinter_pool *pool, slot *s, uint32_t thread, uint32_t *out_chunk) {
    uint32_t thread_count = pool->services.thread_count;
    for (uint32_t i = 0; i < thread_count; i++)
        if (claim(pool, s, (thread + i) % thread_count, i == 0, out_chunk)) return true;
    return false;
}

static int64_t border(int64_t count, uint32_t chunk, uint32_t chunk_count) {
    return count / chunk_count * chunk + count % chunk_count * chunk / chunk_count;
}

static void finish_chunks(sinter_pool *pool, slot *s, uint32_t done) {
    if (atomic_fetch_sub(&s->remaining, done) != done || !atomic_load(&s->waiting)) return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->done);
    pthread_mutex_unlock(&pool->mutex);
}

/* Runs chunks until none is left to claim; false: there was none. */
static bool help(sinter_pool *pool, slot *s, uint32_t thread) {
    uint32_t chunk, done = 0;
    uint64_t own = get_float_mode();
    for (; claim_any(pool, s, thread, &chunk); done++) {
        if (thread && !done) note_ticks(&pool->workers[thread - 1], s);
        int64_t count = atomic_load_explicit(&s->count, memory_order_relaxed);
        uint32_t chunk_count = atomic_load_explicit(&s->chunk_count, memory_order_relaxed);
        pool_body body = atomic_load_explicit(&s->body, memory_order_relaxed);
        uint64_t mode = atomic_load_explicit(&s->float_mode, memory_order_relaxed);
        if (mode != own) set_float_mode(mode);
        body(atomic_load_explicit(&s->environment, memory_order_relaxed),
             border(count, chunk, chunk_count), border(count, chunk + 1, chunk_count));
        if (mode != own) set_float_mode(own);
    }
    if (done) finish_chunks(pool, s, done);
    return done > 0;
}

/* ---- waiting ---- */

/* Time that a thread spends looking before it sleeps; zeroed where it begins anew. */
typedef struct watch {
    uint32_t pauses;
    uint64_t until; /* ticks */
} watch;

/* A pause; false where it is time to sleep. */
static bool keep_watching(const sinter_pool *pool, watch *w) {
    if (!pool->spins) return false;
    pause_briefly();
    if (++w->pauses % PAUSES_PER_LOOK) return true;
    uint64_t now = read_ticks();
    if (!now) return w->pauses < SPINS;
    if (!w->until) w->until = now + SPIN_TICKS;
    return now < w->until;
}

/* ---- helpers ---- */

static bool help_anyone(sinter_pool *pool, uint32_t thread) {
    uint32_t bits = atomic_load(&pool->claimable);
    bool helped = false;
    for (uint32_t i = 0; bits; i++, bits >>= 1)
        if (bits & 1) helped |= help(pool, &pool->slots[i], thread);
    return helped;
}

static void *worker(void *user) {
    struct worker *self = user;
    sinter_pool *pool = self->pool;
    for (;;) {
        watch w = {0};
        do {
            if (!atomic_load_explicit(&pool->claimable, memory_order_relaxed))
                self->is_watching = true;
            else if (help_anyone(pool, self->thread))
                w = (watch){0};
        } while (keep_watching(pool, &w));
        self->is_watching = false;
        pthread_mutex_lock(&pool->mutex);
        atomic_fetch_add(&pool->sleepers, 1);
        while (!atomic_load(&pool->claimable) && !atomic_load(&pool->stop))
            pthread_cond_wait(&pool->work, &pool->mutex);
        atomic_fetch_sub(&pool->sleepers, 1);
        pthread_mutex_unlock(&pool->mutex);
        if (atomic_load(&pool->stop)) return NULL;
        help_anyone(pool, self->thread);
    }
}

static void wake(sinter_pool *pool, uint32_t useful) {
    uint32_t sleepers = atomic_load(&pool->sleepers);
    if (!sleepers) return;
    pthread_mutex_lock(&pool->mutex);
    if (useful >= sleepers)
        pthread_cond_broadcast(&pool->work);
    else
        while (useful--) pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- loops ---- */

static slot *take_slot(sinter_pool *pool) {
    uint32_t taken = atomic_load_explicit(&pool->taken, memory_order_relaxed);
    for (;;) {
        uint32_t free = ~taken & ((1u << SLOT_COUNT) - 1);
        if (!free) return NULL;
        uint32_t bit = free & -free;
        if (atomic_compare_exchange_weak(&pool->taken, &taken, taken | bit))
            return &pool->slots[__builtin_ctz(bit)];
    }
}

static void wait_for_rest(sinter_pool *pool, slot *s) {
    watch w = {0};
    do {
        if (!atomic_load_explicit(&s->remaining, memory_order_acquire)) return;
    } while (keep_watching(pool, &w));
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&s->waiting, 1);
    while (atomic_load(&s->remaining)) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&s->waiting, 0);
    pthread_mutex_unlock(&pool->mutex);
}

/* Neighbouring chunks for every thread, in the order of threads. */
static void publish_ranges(slot *s, uint32_t threads, uint32_t chunks) {
    uint64_t generation = (uint64_t)++s->generation << 32;
    for (uint32_t i = 0; i < threads; i++) {
        uint64_t first = (uint64_t)border(chunks, i, threads);
        uint64_t end = (uint64_t)border(chunks, i + 1, threads);
        atomic_store_explicit(&s->ranges[i].left, generation | first << 16 | end,
                              memory_order_release);
    }
}

void sinter_pool_parallel_for(sinter_pool *pool, int64_t count, int64_t grain, pool_body body,
                              void *environment) {
    if (count <= 0) return;
    if (grain < 1) grain = 1;
    uint32_t threads = pool->services.thread_count;
    int64_t most = (int64_t)threads * CHUNKS_PER_THREAD, chunks = count / grain;
    if (chunks > most) chunks = most;
    if (chunks > threads) chunks -= chunks % threads; /* as many for each */
    slot *s = pool->worker_count && chunks > 1 ? take_slot(pool) : NULL;
    if (!s) {
        body(environment, 0, count);
        return;
    }
    /* Nobody claims while the ranges are empty, so everything else is in place before, and the bit is set before the claim of
     * the last chunk clears it. */
    atomic_store_explicit(&s->body, body, memory_order_relaxed);
    atomic_store_explicit(&s->environment, environment, memory_order_relaxed);
    atomic_store_explicit(&s->float_mode, get_float_mode(), memory_order_relaxed);
    atomic_store_explicit(&s->since, read_ticks(), memory_order_relaxed);
    atomic_store_explicit(&s->count, count, memory_order_relaxed);
    atomic_store_explicit(&s->chunk_count, (uint32_t)chunks, memory_order_relaxed);
    atomic_store_explicit(&s->unclaimed, (uint32_t)chunks, memory_order_relaxed);
    atomic_store_explicit(&s->remaining, (uint32_t)chunks, memory_order_relaxed);
    uint32_t bit = 1u << (s - pool->slots);
    atomic_fetch_or(&pool->claimable, bit);
    publish_ranges(s, threads, (uint32_t)chunks);
    wake(pool, (uint32_t)chunks - 1);
    help(pool, s, 0);
    wait_for_rest(pool, s);
    atomic_fetch_and(&pool->taken, ~bit);
}

/* The service: what it calls bodies for may as well run on one thread. */
static void run_parallel_for(void *user, int64_t count, int64_t grain, pool_body body,
                             void *environment) {
    sinter_pool_parallel_for(user, count, find_grain(user, count, grain < 1 ? 1 : grain), body,
                             environment);
}

/* ---- the pool itself ---- */

static void *allocate_for(void *user, size_t size, size_t alignment) {
    const sinter_pool *pool = user;
    return sinter_allocate(pool->has_allocator ? &pool->allocator : NULL, size, alignment);
}

static void deallocate_for(void *user, void *pointer, size_t size, size_t alignment) {
    const sinter_pool *pool = user;
    sinter_deallocate(pool->has_allocator ? &pool->allocator : NULL, pointer, size, alignment);
}

/* The helpers take no signals: those are the program's own threads' business. */
static int start_workers(sinter_pool *pool, uint32_t count) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (!error && pool->worker_count < count) {
        struct worker *next = &pool->workers[pool->worker_count];
        next->pool = pool;
        next->thread = pool->worker_count + 1;
        error = pthread_create(&next->id, NULL, worker, next);
        if (!error) pool->worker_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

sinter_status *sinter_pool_create(uint32_t thread_count, const sinter_allocator *allocator,
                                  sinter_pool **out_pool) {
    if (!out_pool) return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "nowhere to put the pool: NULL");
    *out_pool = NULL;
    if (thread_count < 1 || thread_count > MAX_THREADS)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "a pool of %u threads: expected 1 to %d",
                           thread_count, MAX_THREADS);
    size_t head =
        (sizeof(sinter_pool) + (thread_count - 1) * sizeof(struct worker) + LINE - 1) / LINE * LINE;
    size_t bytes = head + (thread_count > 1 ? SLOT_COUNT * thread_count * sizeof(range) : 0);
    sinter_pool *pool = sinter_allocate(allocator, bytes, LINE);
    if (!pool)
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a pool of %u threads",
                           thread_count);
    memset(pool, 0, bytes);
    pool->bytes = bytes;
    pool->distance = SINTER_DISTANCE_NEAR;
    for (uint32_t i = 0; i < SLOT_COUNT; i++)
        pool->slots[i].ranges = (range *)((char *)pool + head) + (size_t)i * thread_count;
    pool->has_allocator = allocator != NULL;
    if (allocator) pool->allocator = *allocator;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    pool->spins = processors <= 0 || thread_count <= (unsigned long)processors;
    pool->services =
        (sinter_abi_services){.size = sizeof(sinter_abi_services),
                              .thread_count = thread_count,
                              .user = pool,
                              .parallel_for = thread_count > 1 ? run_parallel_for : NULL,
                              .allocate = allocate_for,
                              .deallocate = deallocate_for};
    int error = start_workers(pool, thread_count - 1);
    if (!error) {
        *out_pool = pool;
        return NULL;
    }
    sinter_pool_destroy(pool);
    return SINTER_FAIL(SINTER_STATUS_FAILED, "a pool of %u threads can't be started: %s",
                       thread_count, strerror(error));
}

void sinter_pool_destroy(sinter_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->worker_count; i++) pthread_join(pool->workers[i].id, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    sinter_allocator allocator = pool->allocator;
    sinter_deallocate(pool->has_allocator ? &allocator : NULL, pool, pool->bytes, LINE);
}

uint32_t sinter_pool_thread_count(const sinter_pool *pool) {
    return pool->services.thread_count;
}

const sinter_abi_services *sinter_pool_services(const sinter_pool *pool) {
    return pool ? &pool->services : NULL;
}
