/* Exchanges between threads. Every exchange has three stages that a rank's counter passes: it has come and shows its words; its
 * share of a sum is made; it has read all it needs. Groups wait for each other at each. Counters are the same on all ranks, as all run
 * the same exchanges. See collectives.h. Test: tests/unit/collectives_test.c, also under the thread sanitizer */
#include "runtime/collectives.h"
#include "runtime/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_AXES = 8, STAGES = 3, BLOCK = 64, YIELDS = 64, SLICE_MILLISECONDS = 20 };

typedef struct rank {
    struct sinter_collectives *all;
    int64_t number;
    sinter_abi_services services;
    sinter_abi_exchange words; /* of the exchange that it is in */
    _Atomic uint64_t stage;    /* passed so far, over all exchanges */
    uint64_t exchanges;        /* that it has begun */
    bool has_left;             /* under the mutex */
} rank;

struct sinter_collectives {
    int64_t axis_sizes[MAX_AXES];
    uint32_t axis_count;
    int64_t rank_count;
    double seconds;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    _Atomic uint32_t sleepers;
    int64_t culprit; /* the first rank that is missed, and why, under the mutex; -1: none */
    char blame[200];
    rank *ranks;
};

/* ---- groups ---- */

typedef struct group {
    int64_t *members; /* by place */
    int64_t count, place;
} group;

static int64_t stride_of(const sinter_collectives *c, uint32_t axis) {
    int64_t stride = 1;
    for (uint32_t i = axis + 1; i < c->axis_count; i++) stride *= c->axis_sizes[i];
    return stride;
}

/* False where `over` names what the mesh has not, or there is no memory. */
static bool find_group(const rank *own, uint64_t over, group *out) {
    const sinter_collectives *c = own->all;
    uint32_t axes[MAX_AXES], count = 0;
    int64_t base = own->number;
    *out = (group){.count = 1};
    for (; over && count < MAX_AXES; over >>= 8, count++) {
        axes[count] = (uint32_t)(over & 0xff) - 1;
        if (axes[count] >= c->axis_count) return false;
        int64_t size = c->axis_sizes[axes[count]], stride = stride_of(c, axes[count]);
        int64_t coordinate = own->number / stride % size;
        out->place = out->place * size + coordinate;
        out->count *= size;
        base -= coordinate * stride;
    }
    if (over) return false;
    out->members = malloc((size_t)out->count * sizeof *out->members);
    if (!out->members) return false;
    for (int64_t place = 0; place < out->count; place++) {
        int64_t rest = place, member = base;
        for (uint32_t i = count; i-- > 0;) {
            int64_t size = c->axis_sizes[axes[i]];
            member += rest % size * stride_of(c, axes[i]);
            rest /= size;
        }
        out->members[place] = member;
    }
    return true;
}

/* ---- waiting ---- */

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int32_t fail(sinter_abi_call *call, int32_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t fail(sinter_abi_call *call, int32_t code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(call->message, sizeof call->message, format, arguments);
    va_end(arguments);
    call->code = code;
    return code;
}

/* Whoever is the first is to blame. Under the mutex. */
static void blame(sinter_collectives *c, int64_t number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void blame(sinter_collectives *c, int64_t number, const char *format, ...) {
    va_list arguments;
    if (c->culprit >= 0) return;
    c->culprit = number;
    va_start(arguments, format);
    vsnprintf(c->blame, sizeof c->blame, format, arguments);
    va_end(arguments);
}

static void pass(rank *own, uint64_t stage) {
    sinter_collectives *c = own->all;
    atomic_store(&own->stage, stage);
    if (!atomic_load(&c->sleepers)) return;
    pthread_mutex_lock(&c->mutex);
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->mutex);
}

/* The first member that has not passed the stage; NULL: none. */
static rank *find_late(const sinter_collectives *c, const group *g, uint64_t stage) {
    for (int64_t i = 0; i < g->count; i++)
        if (atomic_load(&c->ranks[g->members[i]].stage) < stage) return &c->ranks[g->members[i]];
    return NULL;
}

/* Until all of the group have passed the stage. */
static int32_t wait_for(rank *own, const group *g, uint64_t stage, sinter_abi_call *call) {
    static const char *const names[] = {"all_reduce", "all_gather", "reduce_scatter", "all_to_all"};
    sinter_collectives *c = own->all;
    for (int i = 0; i < YIELDS; i++) {
        if (!find_late(c, g, stage)) return 0;
        sched_yield();
    }
    double end = now() + c->seconds;
    rank *late = NULL;
    int32_t code = 0;
    atomic_fetch_add(&c->sleepers, 1);
    pthread_mutex_lock(&c->mutex);
    while (!code && (late = find_late(c, g, stage))) {
        const char *name = names[own->words.kind & 3];
        if (!late->has_left && now() > end)
            blame(c, late->number, "did not come to %s %u within %g seconds", name,
                  own->words.index, c->seconds);
        if (late->has_left) blame(c, late->number, "has ended");
        if (late->has_left || now() > end) {
            code = fail(call, SINTER_ABI_FAILED, "rank %lld: %s %u: rank %lld %s",
                        (long long)own->number, name, own->words.index, (long long)c->culprit,
                        c->blame);
        } else {
            struct timespec until;
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_nsec += SLICE_MILLISECONDS * 1000000L;
            if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
            }
            pthread_cond_timedwait(&c->moved, &c->mutex, &until);
        }
    }
    pthread_mutex_unlock(&c->mutex);
    atomic_fetch_sub(&c->sleepers, 1);
    return code;
}

/* ---- what is done ---- */

/* Bytes of an element, by ONNX code; 0: no such type. */
static size_t element_size(int32_t dtype) {
    static const unsigned char sizes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8, 4, 8, 8, 16, 2};
    return dtype >= 0 && dtype < (int32_t)sizeof sizes ? sizes[dtype] : 0;
}

/* values[place][i], i < count <= BLOCK, become values[0][i]: the tree. */
#define COMBINE(name, type, sum, product)                                                          \
 static void combine_##name(type(*values)[BLOCK], int64_t places, int64_t count, int32_t how) {    \
  for (int64_t step = 1; step < places; step *= 2)                                                 \
   for (int64_t p = 0; p + step < places; p += 2 * step)                                           \
    for (int64_t i = 0; i < count; i++) {                                                          \
     type a = values[p][i], b = values[p + step][i];                                               \
     values[p][i] = how == SINTER_ABI_SUM                ? (type)(sum)                             \
                    : how == SINTER_ABI_PROD             ? (type)(product)                         \
                    : a != a || b != b                   ? (a != a ? a : b)                        \
                    : (how == SINTER_ABI_MAX) == (a > b) ? a                                       \
                                                         : b;                                      \
    }                                                                                              \
 }
COMBINE(float, float, a + b, a *b)
COMBINE(double, double, a + b, a *b)
COMBINE(signed, int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a *(uint64_t)b)
COMBINE(unsigned, uint64_t, a + b, a *b)

typedef union block {
    float floats[BLOCK];
    double doubles[BLOCK];
    int64_t integers[BLOCK];
    uint64_t naturals[BLOCK];
} block;

/* Integers of any width, widened; and back. */
static int64_t load_integer(const void *data, size_t size, bool is_signed, uint64_t index) {
    const unsigned char *bytes = (const unsigned char *)data + index * size;
    uint64_t value = 0;
    memcpy(&value, bytes, size);
    uint64_t sign = size < 8 && is_signed ? UINT64_C(1) << (8 * size - 1) : 0;
    return (int64_t)((value ^ sign) - sign);
}

static void store_integer(void *data, size_t size, uint64_t index, int64_t value) {
    memcpy((unsigned char *)data + index * size, &value, size);
}

/* Elements [first, first + count) of all sources, combined, to `target` on. False where the type can't be. */
static bool combine_block(const sinter_collectives *c, const group *g, const sinter_abi_exchange *w,
                          block *values, uint64_t first, uint64_t count, void *target) {
    size_t size = element_size(w->dtype);
    bool is_signed = w->dtype == 3 || w->dtype == 5 || w->dtype == 6 || w->dtype == 7;
    bool is_unsigned = w->dtype == 2 || w->dtype == 4 || w->dtype == 12 || w->dtype == 13;
    for (int64_t p = 0; p < g->count; p++) {
        const char *source = c->ranks[g->members[p]].words.source;
        if (w->dtype == 1)
            memcpy((float *)values + p * BLOCK, source + first * size, count * size);
        else if (w->dtype == 11)
            memcpy((double *)values + p * BLOCK, source + first * size, count * size);
        else
            for (uint64_t i = 0; i < count; i++)
                values[p].integers[i] = load_integer(source, size, is_signed, first + i);
    }
    if (w->dtype == 1) {
        combine_float((float(*)[BLOCK])(void *)values, g->count, (int64_t)count, w->reduction);
        memcpy(target, values, count * size);
    } else if (w->dtype == 11) {
        combine_double((double(*)[BLOCK])(void *)values, g->count, (int64_t)count, w->reduction);
        memcpy(target, values, count * size);
    } else if (is_signed || is_unsigned) {
        if (is_signed)
            combine_signed((int64_t(*)[BLOCK])(void *)values, g->count, (int64_t)count,
                           w->reduction);
        else
            combine_unsigned((uint64_t(*)[BLOCK])(void *)values, g->count, (int64_t)count,
                             w->reduction);
        for (uint64_t i = 0; i < count; i++) store_integer(target, size, i, values[0].integers[i]);
    } else {
        return false;
    }
    return true;
}

/* Elements [first, end) of the sum go to target, from its own start on. */
static int32_t combine(const rank *own, const group *g, uint64_t first, uint64_t end, void *target,
                       sinter_abi_call *call) {
    const sinter_abi_exchange *w = &own->words;
    size_t size = element_size(w->dtype);
    block *values = malloc((size_t)g->count * sizeof *values);
    if (!values)
        return fail(call, SINTER_ABI_OUT_OF_MEMORY,
                    "rank %lld: no memory for a sum over %lld ranks", (long long)own->number,
                    (long long)g->count);
    bool good = true;
    for (uint64_t at = first; good && at < end; at += BLOCK)
        good = combine_block(own->all, g, w, values, at, end - at < BLOCK ? end - at : BLOCK,
                             (char *)target + (at - first) * size);
    free(values);
    return good ? 0
                : fail(call, SINTER_ABI_FAILED,
                       "rank %lld: elements of ONNX type %d can't be combined between ranks",
                       (long long)own->number, w->dtype);
}

static const char *source_of(const rank *own, const group *g, int64_t place) {
    return own->all->ranks[g->members[place]].words.source;
}

/* Where the share of a place begins. */
static uint64_t share(const group *g, uint64_t count, int64_t place) {
    return count / (uint64_t)g->count * (uint64_t)place +
           (count % (uint64_t)g->count) * (uint64_t)place / (uint64_t)g->count;
}

static int32_t reduce_all(rank *own, const group *g, uint64_t stage, sinter_abi_call *call) {
    const sinter_abi_exchange *w = &own->words;
    size_t size = element_size(w->dtype);
    uint64_t first = share(g, w->count, g->place), end = share(g, w->count, g->place + 1);
    int32_t code = combine(own, g, first, end, (char *)w->target + first * size, call);
    if (code) return code;
    pass(own, stage + 2);
    code = wait_for(own, g, stage + 2, call);
    for (int64_t p = 0; !code && p < g->count; p++) {
        first = share(g, w->count, p);
        end = share(g, w->count, p + 1);
        const char *target = own->all->ranks[g->members[p]].words.target;
        if (p != g->place)
            memcpy((char *)w->target + first * size, target + first * size, (end - first) * size);
    }
    return code;
}

static int32_t exchange_parts(rank *own, const group *g, uint64_t stage, sinter_abi_call *call) {
    const sinter_abi_exchange *w = &own->words;
    size_t bytes = (size_t)w->count * element_size(w->dtype), piece = bytes / (size_t)g->count;
    uint64_t each = w->count / (uint64_t)g->count;
    switch (w->kind) {
    case SINTER_ABI_ALL_REDUCE:
        return reduce_all(own, g, stage, call);
    case SINTER_ABI_REDUCE_SCATTER:
        return combine(own, g, each * (uint64_t)g->place, each * (uint64_t)(g->place + 1),
                       w->target, call);
    case SINTER_ABI_ALL_GATHER:
        for (int64_t p = 0; p < g->count; p++)
            if (bytes) memcpy((char *)w->target + (size_t)p * bytes, source_of(own, g, p), bytes);
        return 0;
    default:
        for (int64_t p = 0; p < g->count; p++)
            if (piece)
                memcpy((char *)w->target + (size_t)p * piece,
                       source_of(own, g, p) + (size_t)g->place * piece, piece);
        return 0;
    }
}

static bool same_words(const sinter_abi_exchange *a, const sinter_abi_exchange *b) {
    return a->kind == b->kind && a->reduction == b->reduction && a->dtype == b->dtype &&
           a->index == b->index && a->over == b->over && a->count == b->count;
}

static int32_t meet(rank *own, const group *g, sinter_abi_call *call) {
    uint64_t stage = STAGES * own->exchanges++;
    pass(own, stage + 1);
    int32_t code = wait_for(own, g, stage + 1, call);
    for (int64_t p = 0; !code && p < g->count; p++) {
        const rank *other = &own->all->ranks[g->members[p]];
        if (!same_words(&own->words, &other->words))
            code = fail(call, SINTER_ABI_FAILED,
                        "rank %lld: rank %lld runs another program: its exchange %u of %llu "
                        "elements meets %u of %llu here",
                        (long long)own->number, (long long)other->number, other->words.index,
                        (unsigned long long)other->words.count, own->words.index,
                        (unsigned long long)own->words.count);
    }
    if (!code) code = exchange_parts(own, g, stage, call);
    if (code) return code;
    pass(own, stage + STAGES);
    return wait_for(own, g, stage + STAGES, call);
}

static int32_t exchange(sinter_abi_call *call, const sinter_abi_exchange *words) {
    rank *own = call->services->user;
    group g;
    if (words->kind < 0 || words->kind > SINTER_ABI_ALL_TO_ALL || !element_size(words->dtype) ||
        !find_group(own, words->over, &g))
        return fail(call, SINTER_ABI_FAILED, "rank %lld: an exchange that this mesh has not",
                    (long long)own->number);
    own->words = *words;
    int32_t code = meet(own, &g, call);
    free(g.members);
    if (code) sinter_collectives_leave(own->all, own->number, call->message);
    return code;
}

/* ---- life ---- */

sinter_status *sinter_collectives_create(const int64_t *axis_sizes, uint32_t axis_count,
                                         double seconds, sinter_collectives **out_collectives) {
    *out_collectives = NULL;
    int64_t ranks = 1;
    if (axis_count > MAX_AXES)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "a mesh of %u axes; at most 8", axis_count);
    for (uint32_t i = 0; i < axis_count; i++) {
        if (axis_sizes[i] < 1 || axis_sizes[i] > 65536 / ranks)
            return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "mesh axis %u has size %lld", i,
                               (long long)axis_sizes[i]);
        ranks *= axis_sizes[i];
    }
    sinter_collectives *c = calloc(1, sizeof *c);
    if (c) c->ranks = calloc((size_t)ranks, sizeof *c->ranks);
    if (!c || !c->ranks) {
        free(c);
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for %lld ranks",
                           (long long)ranks);
    }
    if (axis_count) memcpy(c->axis_sizes, axis_sizes, axis_count * sizeof *axis_sizes);
    c->axis_count = axis_count;
    c->rank_count = ranks;
    c->seconds = seconds;
    c->culprit = -1;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->moved, NULL);
    for (int64_t i = 0; i < ranks; i++) {
        rank *r = &c->ranks[i];
        r->all = c;
        r->number = i;
        r->services = (sinter_abi_services){
            .size = sizeof r->services, .thread_count = 1, .user = r, .exchange = exchange};
    }
    *out_collectives = c;
    return NULL;
}

void sinter_collectives_destroy(sinter_collectives *c) {
    if (!c) return;
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->mutex);
    free(c->ranks);
    free(c);
}

int64_t sinter_collectives_rank_count(const sinter_collectives *c) {
    return c->rank_count;
}

const sinter_abi_services *sinter_collectives_services(const sinter_collectives *c,
                                                       int64_t number) {
    return &c->ranks[number].services;
}

void sinter_collectives_leave(sinter_collectives *c, int64_t number, const char *why) {
    rank *own = &c->ranks[number];
    pthread_mutex_lock(&c->mutex);
    if (!own->has_left && why) blame(c, number, "has ended: %s", why);
    own->has_left = true;
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->mutex);
}
