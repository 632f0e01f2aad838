/* Exchanges between threads. Every exchange has three stages that a rank passes: it has come and shows its words; its
 * share of a sum is made; it has read all it needs. Groups wait for each other at each. How many exchanges a rank is past a stage of is
 * the same on all ranks, as all run the same exchanges. One that is under way has come: what it is made of is read where it ends, by whoever gets it.
 * A rank that fails leaves at once, but its memory is its own only when nobody reads it any more. See collectives.h. Test: tests/unit/collectives_test.c, also under the thread sanitizer */
#include "runtime/collectives.h"
#include "runtime/exchange.h"
#include "runtime/status.h"

#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { YIELDS = 64, SLICE_MILLISECONDS = 20 };
typedef enum stage { COME, MADE, READ, STAGES } stage;
typedef sinter_exchange_group group;

/* An exchange of a rank, from its begin to its end. */
typedef struct meeting {
    struct rank *own;
    uint64_t number; /* of the rank's exchanges */
    sinter_abi_exchange words;
    group group;
    bool any_order;        /* the sum may be made in any order */
    sinter_abi_call *call; /* that waits for it */
} meeting;

typedef struct rank {
    struct sinter_collectives *all;
    int64_t number;
    sinter_abi_services services;
    meeting meetings[SINTER_ABI_EXCHANGES_UNDER_WAY]; /* by their numbers, around */
    _Atomic uint64_t passed[STAGES];                  /* exchanges */
    _Atomic uint64_t reads; /* begun and ended: odd while it reads what is others' */
    uint64_t begun, ended;  /* exchanges */
    double end;             /* of its patience with the one it waits for */
    _Atomic bool has_left;
    _Atomic bool
        waits_beside; /* its device has come to an exchange, and nobody is known to be missed */
} rank;

struct sinter_collectives {
    sinter_exchange_mesh mesh;
    double seconds;
    bool any_order;
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    _Atomic uint32_t sleepers;
    int64_t culprit; /* the first rank that is missed, and why, under the mutex; -1: none */
    char blame[200];
    rank *ranks;
};

/* ---- waiting ---- */

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

static rank *member(const meeting *m, int64_t place) {
    return &m->own->all->ranks[m->group.members[place]];
}

/* Of another rank that has come to the exchange. */
static const sinter_abi_exchange *words_of(const meeting *m, const rank *other) {
    return &other->meetings[m->number % SINTER_ABI_EXCHANGES_UNDER_WAY].words;
}

static bool has_passed(const meeting *m, const rank *r, stage s) {
    return atomic_load(&r->passed[s]) > m->number;
}

/* Of a group that has to pass a stage. */
typedef enum extent { ALL_OF_THEM, ANY_OF_THEM } extent;

/* The first member that is waited for, as it has not passed the stage; NULL: there is nothing to wait for. */
static rank *find_late(const meeting *m, const group *g, stage s, extent whom) {
    rank *late = NULL;
    for (int64_t i = 0; i < g->count; i++) {
        rank *other = &m->own->all->ranks[g->members[i]];
        bool passed = has_passed(m, other, s);
        if (passed && whom == ANY_OF_THEM) return NULL;
        if (!passed && !late) late = other;
        if (late && whom == ALL_OF_THEM) break;
    }
    return late;
}

/* The last of a group wakes those that sleep: if each did, a group would be woken as often as it has members. The groups of a permute
 * overlap, so that nobody knows who waits for whom; in any order somebody may wait for whoever comes next. */
static void pass(const meeting *m, stage s) {
    sinter_collectives *c = m->own->all;
    atomic_store(&m->own->passed[s], m->number + 1);
    if (!atomic_load(&c->sleepers)) return;
    if (m->words.kind != SINTER_ABI_PERMUTE && !m->any_order &&
        find_late(m, &m->group, s, ALL_OF_THEM))
        return;
    pthread_mutex_lock(&c->mutex);
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->mutex);
}

/* The message says who was the first. Under the mutex. */
static int32_t fail_by_blame(const meeting *m) {
    const sinter_collectives *c = m->own->all;
    return sinter_exchange_fail(m->call, SINTER_ABI_FAILED, m->own->number, "%s %u: rank %lld %s",
                                sinter_exchange_name(&m->words), m->words.index,
                                (long long)c->culprit, c->blame);
}

/* Until all of some ranks have passed the stage, or any. */
static int32_t wait_for_some(const meeting *m, const group *g, stage s, extent whom) {
    sinter_collectives *c = m->own->all;
    for (int i = 0; i < YIELDS; i++) {
        if (!find_late(m, g, s, whom)) return 0;
        sched_yield();
    }
    rank *late = NULL;
    int32_t code = 0;
    atomic_fetch_add(&c->sleepers, 1);
    pthread_mutex_lock(&c->mutex);
    while (!code && (late = find_late(m, g, s, whom))) {
        bool is_over = sinter_exchange_clock() > m->own->end;
        if (!late->has_left && is_over)
            blame(c, late->number, "did not come to %s %u within %g seconds",
                  sinter_exchange_name(&m->words), m->words.index, c->seconds);
        if (late->has_left) blame(c, late->number, "has ended");
        if (late->has_left || is_over) {
            code = fail_by_blame(m);
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

static int32_t wait_for(const meeting *m, stage s) {
    return wait_for_some(m, &m->group, s, ALL_OF_THEM);
}

/* ---- reading ---- */

/* Who reads says so, then looks who has left; who leaves says so, then looks who reads: one of them sees the other (as in Dekker's
 * algorithm), and either nothing is read or the memory stays until it was. */
static int32_t begin_reading(const meeting *m, const int64_t *members, int64_t count) {
    sinter_collectives *c = m->own->all;
    const rank *left = NULL;
    atomic_fetch_add(&m->own->reads, 1);
    for (int64_t i = 0; !left && i < count; i++)
        if (c->ranks[members[i]].has_left) left = &c->ranks[members[i]];
    if (!left) return 0;
    atomic_fetch_add(&m->own->reads, 1);
    pthread_mutex_lock(&c->mutex);
    blame(c, left->number, "has ended");
    int32_t code = fail_by_blame(m);
    pthread_mutex_unlock(&c->mutex);
    return code;
}

static int32_t begin_reading_all(const meeting *m) {
    return begin_reading(m, m->group.members, m->group.count);
}

static void end_reading(const meeting *m) {
    atomic_fetch_add(&m->own->reads, 1);
}

/* Reads that may be of a rank that has left: each has one at most, which waits for nobody. */
static void wait_for_readers(const rank *own) {
    for (int64_t i = 0; i < own->all->mesh.rank_count; i++) {
        const rank *other = &own->all->ranks[i];
        uint64_t reads = atomic_load(&other->reads);
        while (other != own && reads % 2 && atomic_load(&other->reads) == reads) sched_yield();
    }
}

/* ---- what is done ---- */

/* Who gives to whom must agree, too. */
static bool fit_together(const meeting *m, const rank *other) {
    const sinter_abi_exchange *x = &m->words, *y = words_of(m, other);
    const rank *own = m->own;
    if (x->kind != y->kind || x->reduction != y->reduction || x->dtype != y->dtype ||
        x->index != y->index || x->over != y->over || x->count != y->count)
        return false;
    return x->kind != SINTER_ABI_PERMUTE || ((x->from == other->number) == (y->to == own->number) &&
                                             (x->to == other->number) == (y->from == own->number));
}

static int32_t check_fit(const meeting *m, const rank *other) {
    if (fit_together(m, other)) return 0;
    const sinter_abi_exchange *own = &m->words, *words = words_of(m, other);
    return sinter_exchange_fail(m->call, SINTER_ABI_FAILED, m->own->number,
                                "rank %lld runs another program: its exchange %u of %llu "
                                "elements meets %u of %llu here",
                                (long long)other->number, words->index,
                                (unsigned long long)words->count, own->index,
                                (unsigned long long)own->count);
}

static int32_t can_not_combine(const meeting *m, int32_t code) {
    if (code == SINTER_ABI_OUT_OF_MEMORY)
        return sinter_exchange_fail(m->call, code, m->own->number,
                                    "no memory for a sum over %lld ranks",
                                    (long long)m->group.count);
    return sinter_exchange_fail(m->call, code, m->own->number,
                                "elements of ONNX type %d can't be combined between ranks",
                                m->words.dtype);
}

/* Elements [first, end) of the sum go to target, from its own start on; terms in the order in which ranks come. Who has been taken in
 * leaves the list of those that are left. */
static int32_t combine_as_they_come(const meeting *m, uint64_t first, uint64_t end, char *target) {
    const sinter_abi_exchange *w = &m->words;
    const group *g = &m->group;
    size_t begin = (size_t)first * sinter_exchange_element_size(w->dtype);
    const void *terms[] = {(const char *)w->source + begin, NULL};
    group left = {.members = malloc((size_t)g->count * sizeof *left.members)};
    int32_t code = 0;
    if (!left.members) return can_not_combine(m, SINTER_ABI_OUT_OF_MEMORY);
    for (int64_t p = 0; p < g->count; p++)
        if (p != g->place) left.members[left.count++] = g->members[p];
    while (!code && left.count) {
        code = wait_for_some(m, &left, COME, ANY_OF_THEM);
        for (int64_t i = left.count; !code && i-- > 0;) {
            const rank *other = &m->own->all->ranks[left.members[i]];
            if (!has_passed(m, other, COME)) continue;
            code = check_fit(m, other);
            if (code) break;
            code = begin_reading(m, &other->number, 1);
            if (code) break;
            terms[1] = (const char *)words_of(m, other)->source + begin;
            code =
                sinter_exchange_combine(w->dtype, w->reduction, terms, 2, 0, end - first, target);
            end_reading(m);
            if (code) can_not_combine(m, code);
            terms[0] = target;
            left.members[i] = left.members[--left.count];
        }
    }
    free(left.members);
    return code;
}

static const char *source_of(const meeting *m, int64_t place) {
    return words_of(m, member(m, place))->source;
}

/* The same, in the order of places unless any will do. */
static int32_t combine(const meeting *m, uint64_t first, uint64_t end, void *target) {
    const sinter_abi_exchange *w = &m->words;
    if (m->any_order) return combine_as_they_come(m, first, end, target);
    const void **sources = malloc((size_t)m->group.count * sizeof *sources);
    int32_t code = SINTER_ABI_OUT_OF_MEMORY;
    for (int64_t p = 0; sources && p < m->group.count; p++) sources[p] = source_of(m, p);
    int32_t left = sources ? begin_reading_all(m) : 0;
    if (sources && !left) {
        code = sinter_exchange_combine(w->dtype, w->reduction, sources, m->group.count, first, end,
                                       target);
        end_reading(m);
    }
    free(sources);
    return left ? left : code ? can_not_combine(m, code) : 0;
}

static int32_t reduce_all(const meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    const group *g = &m->group;
    size_t size = sinter_exchange_element_size(w->dtype);
    uint64_t first = sinter_exchange_share(g, w->count, g->place),
             end = sinter_exchange_share(g, w->count, g->place + 1);
    int32_t code = combine(m, first, end, (char *)w->target + first * size);
    if (code) return code;
    pass(m, MADE);
    code = wait_for(m, MADE);
    if (!code) code = begin_reading_all(m);
    if (code) return code;
    for (int64_t p = 0; p < g->count; p++) {
        first = sinter_exchange_share(g, w->count, p);
        end = sinter_exchange_share(g, w->count, p + 1);
        const char *target = words_of(m, member(m, p))->target;
        if (p != g->place)
            memcpy((char *)w->target + first * size, target + first * size, (end - first) * size);
    }
    end_reading(m);
    return 0;
}

/* Of what the others have. */
static void copy_parts(const meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    const group *g = &m->group;
    size_t bytes = (size_t)w->count * sinter_exchange_element_size(w->dtype);
    size_t piece = bytes / (size_t)g->count;
    switch (w->kind) {
    case SINTER_ABI_ALL_GATHER:
        for (int64_t p = 0; p < g->count; p++)
            if (bytes) memcpy((char *)w->target + (size_t)p * bytes, source_of(m, p), bytes);
        return;
    case SINTER_ABI_PERMUTE:
        if (bytes && w->from >= 0)
            memcpy(w->target, words_of(m, &m->own->all->ranks[w->from])->source, bytes);
        else if (bytes)
            memset(w->target, 0, bytes);
        return;
    default:
        for (int64_t p = 0; p < g->count; p++)
            if (piece)
                memcpy((char *)w->target + (size_t)p * piece,
                       source_of(m, p) + (size_t)g->place * piece, piece);
    }
}

static int32_t exchange_parts(const meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    const group *g = &m->group;
    uint64_t each = w->count / (uint64_t)g->count;
    if (w->kind == SINTER_ABI_ALL_REDUCE) return reduce_all(m);
    if (w->kind == SINTER_ABI_REDUCE_SCATTER)
        return combine(m, each * (uint64_t)g->place, each * (uint64_t)(g->place + 1), w->target);
    int32_t code = begin_reading_all(m);
    if (code) return code;
    copy_parts(m);
    end_reading(m);
    return 0;
}

/* ---- begin and end ---- */

/* A permute is between a rank, the one it gets from and the one it gives to. */
static bool find_members(const rank *own, const sinter_abi_exchange *words, group *out_group) {
    if (words->kind != SINTER_ABI_PERMUTE)
        return sinter_exchange_find_group(&own->all->mesh, own->number, words->over, out_group);
    *out_group = (group){.members = malloc(3 * sizeof *out_group->members)};
    if (!out_group->members) return false;
    out_group->members[out_group->count++] = own->number;
    if (words->from >= 0) out_group->members[out_group->count++] = words->from;
    if (words->to >= 0) out_group->members[out_group->count++] = words->to;
    return true;
}

static int32_t begin(void *user, sinter_abi_call *call, const sinter_abi_exchange *words) {
    rank *own = user;
    meeting *m = &own->meetings[own->begun % SINTER_ABI_EXCHANGES_UNDER_WAY];
    *m = (meeting){.own = own, .number = own->begun, .words = *words};
    if (!sinter_exchange_check(&own->all->mesh, words) || !find_members(own, words, &m->group))
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, own->number,
                                    "an exchange that this mesh has not");
    m->any_order = own->all->any_order && sinter_exchange_depends_on_order(words, m->group.count);
    own->begun++;
    pass(m, COME);
    return 0;
}

static int32_t meet(const meeting *m) {
    int32_t code = m->any_order ? 0 : wait_for(m, COME);
    for (int64_t p = 0; !m->any_order && !code && p < m->group.count; p++)
        code = check_fit(m, member(m, p));
    if (!code) code = exchange_parts(m);
    if (code) return code;
    pass(m, READ);
    return wait_for(m, READ);
}

/* The oldest one that is under way. */
static int32_t end(void *user, sinter_abi_call *call) {
    rank *own = user;
    meeting *m = &own->meetings[own->ended % SINTER_ABI_EXCHANGES_UNDER_WAY];
    m->call = call;
    own->end = sinter_exchange_clock() + own->all->seconds;
    int32_t code = meet(m);
    if (code) return code;
    sinter_exchange_free_group(&m->group);
    own->ended++;
    return 0;
}

static int32_t exchange(sinter_abi_call *call, const sinter_abi_exchange *words) {
    rank *own = call->services->user;
    const meeting *oldest = &own->meetings[own->ended % SINTER_ABI_EXCHANGES_UNDER_WAY];
    const sinter_exchange_turns turns = {.rank = own->number,
                                         .begun = own->begun,
                                         .ended = own->ended,
                                         .oldest = &oldest->words,
                                         .begin = begin,
                                         .end = end,
                                         .user = own};
    int32_t code = sinter_exchange_take_turn(&turns, call, words);
    if (code) sinter_collectives_leave(own->all, own->number, call->message);
    return code;
}

/* ---- life ---- */

sinter_status *sinter_collectives_create(const int64_t *axis_sizes, uint32_t axis_count,
                                         double seconds, sinter_collectives **out_collectives) {
    *out_collectives = NULL;
    sinter_exchange_mesh mesh;
    sinter_status *status = sinter_exchange_mesh_init(&mesh, axis_sizes, axis_count);
    if (status) return status;
    sinter_collectives *c = calloc(1, sizeof *c);
    if (c) c->ranks = calloc((size_t)mesh.rank_count, sizeof *c->ranks);
    if (!c || !c->ranks) {
        free(c);
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for %lld ranks",
                           (long long)mesh.rank_count);
    }
    c->mesh = mesh;
    c->seconds = seconds;
    c->culprit = -1;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->moved, NULL);
    for (int64_t i = 0; i < mesh.rank_count; i++) {
        rank *r = &c->ranks[i];
        r->all = c;
        r->number = i;
        r->services = (sinter_abi_services){
            .size = sizeof r->services, .thread_count = 1, .user = r, .exchange = exchange};
    }
    *out_collectives = c;
    return NULL;
}

/* Of ranks whose devices exchange by themselves: one that has not come. Under the mutex. */
static void blame_beside(sinter_collectives *c) {
    for (int64_t i = 0; i < c->mesh.rank_count; i++) {
        const rank *other = &c->ranks[i];
        if (other->waits_beside || other->has_left) continue;
        blame(c, i, "did not come within %g seconds", c->seconds);
        return;
    }
    blame(c, 0, "and all others came, but their devices did not end it within %g seconds",
          c->seconds);
}

/* Whether somebody has failed, or nobody came for so long. */
static bool is_over_beside(rank *own, double since, char *why, size_t size) {
    sinter_collectives *c = own->all;
    pthread_mutex_lock(&c->mutex);
    if (sinter_exchange_clock() - since > c->seconds) blame_beside(c);
    const bool is_over = c->culprit >= 0;
    if (is_over) snprintf(why, size, "rank %lld %s", (long long)c->culprit, c->blame);
    pthread_mutex_unlock(&c->mutex);
    return is_over;
}

static bool wait_beside(void *user, sinter_peers_look *look, void *look_user, char *why,
                        size_t size) {
    const struct timespec pause = {.tv_nsec = 50000};
    rank *own = user;
    double since = sinter_exchange_clock();
    for (uint64_t looks = 0;; looks++) {
        const sinter_peers_sight sight = look(look_user);
        atomic_store(&own->waits_beside, sight == SINTER_PEERS_WAITS);
        if (sight == SINTER_PEERS_DONE || sight == SINTER_PEERS_FAILED)
            return sight == SINTER_PEERS_DONE;
        if (sight == SINTER_PEERS_BUSY) since = sinter_exchange_clock();
        if (is_over_beside(own, since, why, size)) return false;
        if (looks < YIELDS)
            sched_yield();
        else
            nanosleep(&pause, NULL);
    }
}

void sinter_collectives_peers(const sinter_collectives *c, int64_t number,
                              sinter_peers *out_peers) {
    *out_peers = (sinter_peers){.user = &c->ranks[number], .wait = wait_beside};
}

void sinter_collectives_allow_any_order(sinter_collectives *c) {
    c->any_order = true;
}

void sinter_collectives_destroy(sinter_collectives *c) {
    if (!c) return;
    for (int64_t i = 0; i < c->mesh.rank_count; i++) /* what ranks that failed had under way */
        for (uint64_t k = c->ranks[i].ended; k < c->ranks[i].begun; k++)
            sinter_exchange_free_group(
                &c->ranks[i].meetings[k % SINTER_ABI_EXCHANGES_UNDER_WAY].group);
    pthread_cond_destroy(&c->moved);
    pthread_mutex_destroy(&c->mutex);
    free(c->ranks);
    free(c);
}

int64_t sinter_collectives_rank_count(const sinter_collectives *c) {
    return c->mesh.rank_count;
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
    wait_for_readers(own);
}
