/* Exchanges as messages between processes. Small groups send each other their parts at once. Large ones halve what there is with
 * partners that are farther away from step to step (Rabenseifner: Optimization of Collective Reduction Operations, 2004; here the
 * nearest come first, so that little is left for those beyond a server's links), until groups are small; those that can't be halved
 * go along trees. In each way sums are made in the order of runtime/exchange.h; where any order is allowed the transport makes them. What all that takes is in ir/hardware.h.
 * Test: tests/unit/job_test.c, tests/suites/mpi.py */
#include "runtime/job_internal.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECT_RANKS = SINTER_JOB_DIRECT_RANKS, FIRST_TAG = 8 };

/* One exchange of this rank. */
typedef struct meeting {
    sinter_job *job;
    sinter_abi_call *call;
    const sinter_abi_exchange *words;
    sinter_exchange_group group;
    int tag;
    size_t size;    /* of an element */
    uint64_t bytes; /* of the source */
} meeting;

/* Programs that differ do not take each other's messages. */
static int tag_of(const sinter_abi_exchange *w) {
    const uint64_t words[] = {(uint64_t)w->kind, (uint64_t)w->reduction, (uint64_t)w->dtype,
                              w->index, w->kind == SINTER_ABI_PERMUTE ? 0 : w->over};
    uint64_t hash = sinter_abi_hash(words, sizeof words, 0);
    return FIRST_TAG + (int)((hash >> 32) % (SINTER_TRANSPORT_TAGS - FIRST_TAG));
}

static int32_t fail(const meeting *m, int32_t code, const char *why) {
    return sinter_exchange_fail(m->call, code, m->job->transport->rank, "%s %u: %s",
                                sinter_exchange_name(m->words), m->words->index, why);
}

static int32_t transport_failed(const meeting *m) {
    return fail(m, SINTER_ABI_FAILED, m->job->transport->why(m->job->transport));
}

static int32_t no_memory(const meeting *m) {
    return fail(m, SINTER_ABI_OUT_OF_MEMORY, "no memory for what other ranks send");
}

static int32_t send(const meeting *m, int64_t place, const void *data, uint64_t bytes) {
    sinter_transport *t = m->job->transport;
    return t->send(t, m->group.members[place], m->tag, data, bytes) > 0 ? 0 : transport_failed(m);
}

static int32_t receive(const meeting *m, int64_t place, void *data, uint64_t bytes) {
    sinter_transport *t = m->job->transport;
    return t->receive(t, m->group.members[place], m->tag, data, bytes) > 0 ? 0
                                                                           : transport_failed(m);
}

static int32_t finish(const meeting *m) {
    return sinter_job_wait(m->job) ? 0 : fail(m, SINTER_ABI_FAILED, m->job->why);
}

static int32_t combine(const meeting *m, const void *const *sources, int64_t places, uint64_t count,
                       void *target) {
    int32_t code = sinter_exchange_combine(m->words->dtype, m->words->reduction, sources, places, 0,
                                           count, target);
    return !code                              ? 0
           : code == SINTER_ABI_OUT_OF_MEMORY ? no_memory(m)
                                              : fail(m, code,
                                                     "elements of this type can't be combined "
                                                     "between ranks");
}

/* Where the share of a place of so many elements begins. */
static uint64_t share(const meeting *m, uint64_t count, int64_t place) {
    uint64_t places = (uint64_t)m->group.count;
    return count / places * (uint64_t)place + count % places * (uint64_t)place / places;
}

/* ---- all at once ---- */

/* Elements [first(place), first(place + 1)) of the source go to each place; those of all for this one become their sum. */
static int32_t combine_share(const meeting *m,
                             uint64_t (*first)(const meeting *, uint64_t, int64_t), void *target) {
    const sinter_exchange_group *g = &m->group;
    const char *source = m->words->source;
    uint64_t count = m->words->count, own = first(m, count, g->place),
             length = first(m, count, g->place + 1) - own;
    size_t bytes = (size_t)length * m->size;
    char *room = malloc((size_t)g->count * bytes + 1);
    const void **sources = malloc((size_t)g->count * sizeof *sources);
    int32_t code = room && sources ? 0 : no_memory(m);
    for (int64_t p = 0; !code && p < g->count; p++) {
        uint64_t at = first(m, count, p), end = first(m, count, p + 1);
        sources[p] = p == g->place ? source + at * m->size : room + (size_t)p * bytes;
        if (p == g->place) continue;
        code = receive(m, p, room + (size_t)p * bytes, bytes);
        if (!code) code = send(m, p, source + at * m->size, (end - at) * m->size);
    }
    if (!code) code = finish(m);
    if (!code) code = combine(m, sources, g->count, length, target);
    free(sources);
    free(room);
    return code;
}

static int32_t reduce_directly(const meeting *m) {
    const sinter_exchange_group *g = &m->group;
    char *target = m->words->target;
    uint64_t count = m->words->count, own = share(m, count, g->place),
             end = share(m, count, g->place + 1);
    int32_t code = combine_share(m, share, target + own * m->size);
    for (int64_t p = 0; !code && p < g->count; p++) {
        uint64_t at = share(m, count, p), length = share(m, count, p + 1) - at;
        if (p == g->place) continue;
        code = receive(m, p, target + at * m->size, length * m->size);
        if (!code) code = send(m, p, target + own * m->size, (end - own) * m->size);
    }
    return code ? code : finish(m);
}

static int32_t exchange_all(const meeting *m) {
    const sinter_exchange_group *g = &m->group;
    const char *source = m->words->source;
    char *target = m->words->target;
    uint64_t piece = m->bytes / (uint64_t)g->count;
    int32_t code = 0;
    for (int64_t i = 1; !code && i < g->count;
         i++) { /* neighbours first, so that nobody gets all at once */
        int64_t to = (g->place + i) % g->count, from = (g->place + g->count - i) % g->count;
        code = receive(m, from, target + (uint64_t)from * piece, piece);
        if (!code) code = send(m, to, source + (uint64_t)to * piece, piece);
    }
    if (!code)
        memcpy(target + (uint64_t)g->place * piece, source + (uint64_t)g->place * piece, piece);
    return code ? code : finish(m);
}

/* ---- halves ---- */

/* How a group is taken apart: places that differ in one of the `rounds` lowest bits are partners, and `last` places are left, 1 << rounds
 * apart. Sums along these are the trees of exchange.h. */
typedef struct parting {
    int rounds;
    int64_t last;
} parting;

static parting part(int64_t count) {
    parting p = {0, count};
    while (p.last > DIRECT_RANKS && p.last % 2 == 0) {
        p.last /= 2;
        p.rounds++;
    }
    return p;
}

/* The j-th of those that are left with this place in the end. */
static int64_t left_place(const meeting *m, parting p, int64_t j) {
    return (m->group.place & (((int64_t)1 << p.rounds) - 1)) + (j << p.rounds);
}

/* Sends and receives so many bytes. */
static int32_t swap(const meeting *m, int64_t place, const void *given, void *taken,
                    uint64_t bytes) {
    int32_t code = receive(m, place, taken, bytes);
    if (!code) code = send(m, place, given, bytes);
    return code ? code : finish(m);
}

/* With a partner's elements: those of the lower place first. */
static int32_t combine_two(const meeting *m, int round, void *own, const void *other,
                           uint64_t count) {
    bool is_upper = m->group.place >> round & 1;
    const void *sources[] = {is_upper ? other : own, is_upper ? own : other};
    return combine(m, sources, 2, count, own);
}

/* The sum of a piece of `count` elements for each place, of which each gets its own to target; data, and room as large, are used up. */
static int32_t halve(const meeting *m, parting p, char *data, char *room, uint64_t count,
                     void *target) {
    uint64_t size = count * m->size;
    int64_t pieces = m->group.count, own = m->group.place >> p.rounds;
    const void *sources[DIRECT_RANKS];
    int32_t code = 0;
    for (int r = 0; !code && r < p.rounds; r++) {
        uint64_t bit = (uint64_t)m->group.place >> r & 1;
        char *given = room, *taken = room + (size_t)(pieces / 2) * size;
        pieces /= 2;
        /* Every other piece is of the partner's half. */
        for (uint64_t i = 0; i < (uint64_t)pieces; i++) {
            memcpy(given + i * size, data + (2 * i + !bit) * size, size);
            memmove(data + i * size, data + (2 * i + bit) * size, size);
        }
        code = swap(m, m->group.place ^ (int64_t)1 << r, given, taken, (uint64_t)pieces * size);
        if (!code) code = combine_two(m, r, data, taken, (uint64_t)pieces * count);
    }
    for (int64_t j = 0; !code && j < p.last; j++) {
        sources[j] = j == own ? data + (size_t)j * size : room + (size_t)j * size;
        if (j == own) continue;
        code = receive(m, left_place(m, p, j), room + (size_t)j * size, size);
        if (!code) code = send(m, left_place(m, p, j), data + (size_t)j * size, size);
    }
    if (!code) code = finish(m);
    return code ? code : combine(m, sources, p.last, count, target);
}

/* The way back: each place has its piece of `size` bytes at the start of data, and gets all of them. room is as large. */
static int32_t unite(const meeting *m, parting p, char *data, char *room, uint64_t size) {
    int64_t own = m->group.place >> p.rounds, pieces = p.last;
    int32_t code = 0;
    if (own) memcpy(data + (size_t)own * size, data, size);
    for (int64_t j = 0; !code && j < p.last; j++) {
        if (j == own) continue;
        code = receive(m, left_place(m, p, j), data + (size_t)j * size, size);
        if (!code) code = send(m, left_place(m, p, j), data + (size_t)own * size, size);
    }
    if (!code) code = finish(m);
    for (int r = p.rounds; !code && r-- > 0; pieces *= 2) {
        uint64_t bit = (uint64_t)m->group.place >> r & 1;
        code = swap(m, m->group.place ^ (int64_t)1 << r, data, room, (uint64_t)pieces * size);
        for (uint64_t i = (uint64_t)pieces; !code && i-- > 0;) {
            memmove(data + (2 * i + bit) * size, data + i * size, size);
            memcpy(data + (2 * i + !bit) * size, room + i * size, size);
        }
    }
    return code;
}

static int32_t scatter_by_halves(const meeting *m, parting p) {
    uint64_t count = m->words->count / (uint64_t)m->group.count;
    char *data = malloc(m->bytes + 1), *room = malloc(m->bytes + 1);
    int32_t code = data && room ? 0 : no_memory(m);
    if (!code) memcpy(data, m->words->source, m->bytes);
    if (!code) code = halve(m, p, data, room, count, m->words->target);
    free(room);
    free(data);
    return code;
}

static int32_t gather_by_halves(const meeting *m, parting p) {
    char *room = malloc((size_t)m->group.count * m->bytes + 1);
    int32_t code = room ? 0 : no_memory(m);
    if (!code) memcpy(m->words->target, m->words->source, m->bytes);
    if (!code) code = unite(m, p, m->words->target, room, m->bytes);
    free(room);
    return code;
}

/* The pieces of a sum are equal, the last ones filled up. */
static int32_t reduce_by_halves(const meeting *m, parting p) {
    uint64_t places = (uint64_t)m->group.count,
             count = m->words->count / places + (m->words->count % places != 0),
             size = count * m->size;
    char *data = calloc(places, size), *room = malloc((size_t)places * size), *piece = malloc(size);
    int32_t code = data && room && piece ? 0 : no_memory(m);
    if (!code) memcpy(data, m->words->source, m->bytes);
    if (!code) code = halve(m, p, data, room, count, piece);
    if (!code) memcpy(data, piece, size);
    if (!code) code = unite(m, p, data, room, size);
    if (!code) memcpy(m->words->target, data, m->bytes);
    free(piece);
    free(room);
    free(data);
    return code;
}

/* Little of it is exchanged whole, in half as many rounds. */
static int32_t reduce_whole(const meeting *m, parting p) {
    char *target = m->words->target;
    char *room = malloc((size_t)DIRECT_RANKS * m->bytes + 1);
    int64_t own = m->group.place >> p.rounds;
    const void *sources[DIRECT_RANKS];
    int32_t code = room ? 0 : no_memory(m);
    memcpy(target, m->words->source, m->bytes);
    for (int r = 0; !code && r < p.rounds; r++) {
        code = swap(m, m->group.place ^ (int64_t)1 << r, target, room, m->bytes);
        if (!code) code = combine_two(m, r, target, room, m->words->count);
    }
    for (int64_t j = 0; !code && j < p.last; j++) {
        sources[j] = j == own ? target : room + (size_t)j * m->bytes;
        if (j == own) continue;
        code = receive(m, left_place(m, p, j), room + (size_t)j * m->bytes, m->bytes);
        if (!code) code = send(m, left_place(m, p, j), target, m->bytes);
    }
    if (!code) code = finish(m);
    if (!code) code = combine(m, sources, p.last, m->words->count, target);
    free(room);
    return code;
}

/* ---- trees ---- */

/* Terms go up to place 0: `sum`, which holds the own one, takes in what is below. Returns in out_reach how far this place's part of
 * the tree goes: places [place, place + reach). */
static int32_t reduce_up(const meeting *m, void *sum, int64_t *out_reach) {
    const sinter_exchange_group *g = &m->group;
    char *other = malloc(m->bytes + 1);
    int32_t code = other ? 0 : no_memory(m);
    int64_t step = 1;
    for (; !code && step < g->count; step *= 2) {
        if (g->place % (2 * step)) {
            code = send(m, g->place - step, sum, m->bytes);
            if (!code) code = finish(m);
            break;
        }
        if (g->place + step >= g->count) continue;
        const void *sources[] = {sum, other};
        code = receive(m, g->place + step, other, m->bytes);
        if (!code) code = finish(m);
        if (!code) code = combine(m, sources, 2, m->words->count, sum);
    }
    free(other);
    *out_reach = step;
    return code;
}

/* What place 0 has goes down: `each` bytes for each place where they get a piece (each > 0; `data` has those of the places from the
 * own one on), or all of it. */
static int32_t spread_down(const meeting *m, int64_t reach, char *data, uint64_t each) {
    const sinter_exchange_group *g = &m->group;
    int32_t code = 0;
    int64_t own = g->count - g->place < reach ? g->count - g->place : reach;
    if (g->place) {
        code = receive(m, g->place - reach, data, each ? (uint64_t)own * each : m->bytes);
        if (!code) code = finish(m);
    }
    for (int64_t step = reach / 2; !code && step > 0; step /= 2) {
        int64_t to = g->place + step, below = g->count - to < step ? g->count - to : step;
        if (to >= g->count) continue;
        code = send(m, to, data + (uint64_t)step * each, each ? (uint64_t)below * each : m->bytes);
        if (!code) code = finish(m); /* who has the most to pass on gets it first */
    }
    return code;
}

static int32_t reduce_by_tree(const meeting *m) {
    int64_t reach;
    memcpy(m->words->target, m->words->source, m->bytes);
    int32_t code = reduce_up(m, m->words->target, &reach);
    return code ? code : spread_down(m, reach, m->words->target, 0);
}

static int32_t scatter_by_tree(const meeting *m) {
    uint64_t piece = m->bytes / (uint64_t)m->group.count;
    int64_t reach;
    char *sum = malloc(m->bytes + 1);
    if (!sum) return no_memory(m);
    memcpy(sum, m->words->source, m->bytes);
    int32_t code = reduce_up(m, sum, &reach);
    if (!code && piece) code = spread_down(m, reach, sum, piece);
    if (!code) memcpy(m->words->target, sum, piece);
    free(sum);
    return code;
}

/* Parts [first, first + count) of the places, around the end. */
static int32_t move_parts(const meeting *m, int64_t peer, int64_t first, int64_t count,
                          int32_t (*move)(const meeting *, int64_t, void *, uint64_t)) {
    char *target = m->words->target;
    int64_t all = m->group.count, until = first + count < all ? first + count : all;
    int32_t code =
        move(m, peer, target + (uint64_t)first * m->bytes, (uint64_t)(until - first) * m->bytes);
    if (!code && first + count > all)
        code = move(m, peer, target, (uint64_t)(first + count - all) * m->bytes);
    return code;
}

static int32_t send_mutable(const meeting *m, int64_t place, void *data, uint64_t bytes) {
    return send(m, place, data, bytes);
}

/* In each round a place has twice as many parts, those of the places from its own on (Bruck et al., Efficient algorithms for
 * all-to-all communications, 1997). */
static int32_t gather_parts(const meeting *m) {
    const sinter_exchange_group *g = &m->group;
    int32_t code = 0;
    memcpy((char *)m->words->target + (uint64_t)g->place * m->bytes, m->words->source, m->bytes);
    for (int64_t have = 1; !code && have < g->count; have *= 2) {
        int64_t count = g->count - have < have ? g->count - have : have;
        int64_t from = (g->place + have) % g->count, to = (g->place + g->count - have) % g->count;
        code = move_parts(m, from, from, count, receive);
        if (!code) code = move_parts(m, to, g->place, count, send_mutable);
        if (!code) code = finish(m);
    }
    return code;
}

/* ---- in any order ---- */

/* The transport's number of the group. Where it comes up for the first time, and the transport waits for all of it, they have all come:
 * here that is waited for with a deadline (Hensgen, Finkel, Manber: Two algorithms for barrier synchronization, 1988). */
static int32_t join(const meeting *m, int *out_number) {
    sinter_job *job = m->job;
    int64_t count = m->group.count, place = m->group.place;
    int32_t code = 0;
    for (size_t i = 0; i < job->joined_count; i++)
        if (job->joined[i].over == m->words->over) {
            *out_number = job->joined[i].number;
            return 0;
        }
    sinter_job_group *more = realloc(job->joined, (job->joined_count + 1) * sizeof *more);
    if (!more) return fail(m, SINTER_ABI_OUT_OF_MEMORY, "no memory for another group");
    job->joined = more;
    for (int64_t step = 1; !code && step < count; step *= 2) {
        code = receive(m, (place + count - step) % count, NULL, 0);
        if (!code) code = send(m, (place + step) % count, NULL, 0);
        if (!code) code = finish(m);
    }
    if (!code && job->transport->join(job->transport, m->group.members, count, out_number) < 0)
        code = transport_failed(m);
    if (!code) job->joined[job->joined_count++] = (sinter_job_group){m->words->over, *out_number};
    return code;
}

/* By the transport. out_done: it makes such sums. */
static int32_t sum_in_any_order(const meeting *m, bool *out_done) {
    const sinter_abi_exchange *w = m->words;
    sinter_transport *t = m->job->transport;
    sinter_transport_sum sum = {.is_double = m->size == sizeof(double),
                                .is_product = w->reduction == SINTER_ABI_PROD,
                                .is_scattered = w->kind == SINTER_ABI_REDUCE_SCATTER,
                                .count = w->count,
                                .source = w->source,
                                .target = w->target};
    int32_t code = join(m, &sum.group);
    int begun = code ? -1 : t->sum(t, &sum);
    *out_done = begun != 0;
    return code ? code : begun < 0 ? transport_failed(m) : begun ? finish(m) : 0;
}

static bool any_order_will_do(const meeting *m) {
    return m->job->any_order && m->job->transport->sum &&
           sinter_exchange_depends_on_order(m->words, m->group.count);
}

/* ---- an exchange ---- */

static uint64_t piece_of(const meeting *m, uint64_t count, int64_t place) {
    return count / (uint64_t)m->group.count * (uint64_t)place;
}

static int32_t permute(const meeting *m) {
    const sinter_abi_exchange *w = m->words;
    sinter_transport *t = m->job->transport;
    if (w->from >= 0 && m->job->first + w->from == t->rank) { /* and to it */
        memcpy(w->target, w->source, m->bytes);
        return 0;
    }
    if (w->from < 0) memset(w->target, 0, m->bytes);
    int64_t first = m->job->first;
    if (w->from >= 0 && t->receive(t, first + w->from, m->tag, w->target, m->bytes) < 0)
        return transport_failed(m);
    if (w->to >= 0 && t->send(t, first + w->to, m->tag, w->source, m->bytes) < 0)
        return transport_failed(m);
    return finish(m);
}

static int32_t reduce(const meeting *m, parting p) {
    if (m->bytes <= SINTER_JOB_SHORT_BYTES && p.last <= DIRECT_RANKS) return reduce_whole(m, p);
    if (m->group.count <= DIRECT_RANKS) return reduce_directly(m);
    return p.last <= DIRECT_RANKS ? reduce_by_halves(m, p) : reduce_by_tree(m);
}

static int32_t reduce_scatter(const meeting *m, parting p) {
    if (m->group.count <= DIRECT_RANKS) return combine_share(m, piece_of, m->words->target);
    return p.last <= DIRECT_RANKS ? scatter_by_halves(m, p) : scatter_by_tree(m);
}

static int32_t meet(const meeting *m) {
    parting p = part(m->group.count);
    bool done = false;
    int32_t code = any_order_will_do(m) ? sum_in_any_order(m, &done) : 0;
    if (code || done) return code;
    switch (m->words->kind) {
    case SINTER_ABI_ALL_REDUCE:
        return reduce(m, p);
    case SINTER_ABI_REDUCE_SCATTER:
        return reduce_scatter(m, p);
    case SINTER_ABI_ALL_GATHER:
        return p.last <= DIRECT_RANKS ? gather_by_halves(m, p) : gather_parts(m);
    case SINTER_ABI_ALL_TO_ALL:
        return exchange_all(m);
    default:
        return permute(m);
    }
}

int32_t sinter_job_exchange(sinter_abi_call *call, const sinter_abi_exchange *words) {
    sinter_job *job = call->services->user;
    int64_t rank = job->transport->rank - job->first;
    meeting m = {.job = job, .call = call, .words = words, .tag = tag_of(words)};
    bool permutes = words->kind == SINTER_ABI_PERMUTE;
    if (!sinter_exchange_check(&job->mesh, words) ||
        (!permutes && !sinter_exchange_find_group(&job->mesh, rank, words->over, &m.group)))
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, job->transport->rank,
                                    "an exchange that this mesh has not");
    m.size = sinter_exchange_element_size(words->dtype);
    m.bytes = words->count * m.size;
    for (int64_t p = 0; p < m.group.count; p++) m.group.members[p] += job->first;
    int32_t code = sinter_job_pass(job, words->index) ? 0 : fail(&m, SINTER_ABI_FAILED, job->why);
    if (!code && words->count) code = meet(&m);
    sinter_exchange_free_group(&m.group);
    return code;
}
