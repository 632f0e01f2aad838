/* Exchanges as messages between processes. Small groups send each other their parts at once. Large ones halve what there is with
 * partners that are farther away from step to step (Rabenseifner: Optimization of Collective Reduction Operations, 2004; here the
 * nearest come first, so that little is left for those beyond a server's links), until groups are small; those that can't be halved
 * go along trees. In each way sums are made in the order of runtime/exchange.h; where any order is allowed the transport makes them. What all that takes is in ir/hardware.h.
 * Each way is a list of steps (runtime/job_rounds.c), so that an exchange may be under way while its rank computes.
 * Test: tests/unit/job_test.c, tests/suites/mpi.py */
#include "runtime/job_internal.h"

#include <stdlib.h>
#include <string.h>

enum { DIRECT_RANKS = SINTER_JOB_DIRECT_RANKS, FIRST_TAG = 8 };
typedef sinter_job_meeting meeting;

/* Programs that differ do not take each other's messages. */
static int tag_of(const sinter_abi_exchange *w) {
    const uint64_t words[] = {(uint64_t)w->kind, (uint64_t)w->reduction, (uint64_t)w->dtype,
                              w->index, w->kind == SINTER_ABI_PERMUTE ? 0 : w->over};
    uint64_t hash = sinter_abi_hash(words, sizeof words, 0);
    return FIRST_TAG + (int)((hash >> 32) % (SINTER_TRANSPORT_TAGS - FIRST_TAG));
}

/* ---- steps ---- */

static void send(meeting *m, int64_t place, const void *data, uint64_t bytes) {
    sinter_job_add(m, &(sinter_job_step){.kind = SINTER_JOB_SEND,
                                         .peer = m->group.members[place],
                                         .from = data,
                                         .bytes = bytes});
}

static void receive(meeting *m, int64_t place, void *data, uint64_t bytes) {
    sinter_job_add(m, &(sinter_job_step){.kind = SINTER_JOB_RECEIVE,
                                         .peer = m->group.members[place],
                                         .to = data,
                                         .bytes = bytes});
}

static void finish(meeting *m) {
    sinter_job_add(m, &(sinter_job_step){.kind = SINTER_JOB_FINISH});
}

static void move(meeting *m, void *to, const void *from, uint64_t bytes) {
    if (to == from) return;
    sinter_job_add(
        m, &(sinter_job_step){
               .kind = SINTER_JOB_MOVE, .to = to, .from = from, .bytes = bytes, .pieces = 1});
}

/* Pieces of `bytes`, the distances of which are so many of them. */
static void move_pieces(meeting *m, char *to, uint64_t to_apart, const char *from,
                        uint64_t from_apart, uint64_t bytes, int64_t pieces, bool backwards) {
    sinter_job_add(m, &(sinter_job_step){.kind = SINTER_JOB_MOVE,
                                         .to = to,
                                         .from = from,
                                         .bytes = bytes,
                                         .pieces = (uint64_t)pieces,
                                         .to_apart = to_apart * bytes,
                                         .from_apart = from_apart * bytes,
                                         .backwards = backwards});
}

/* DIRECT_RANKS sources at most. */
static void combine(meeting *m, const void *const *sources, int64_t places, uint64_t count,
                    void *target) {
    sinter_job_step step = {
        .kind = SINTER_JOB_COMBINE, .to = target, .count = count, .source_count = places};
    memcpy(step.sources, sources, (size_t)places * sizeof *sources);
    sinter_job_add(m, &step);
}

/* ---- all at once ---- */

/* Each place gets its share of the source; those of all for this one become their sum. */
static void combine_share(meeting *m, void *target) {
    const sinter_exchange_group *g = &m->group;
    const char *source = m->words.source;
    uint64_t count = m->words.count, own = sinter_exchange_share(g, count, g->place),
             length = sinter_exchange_share(g, count, g->place + 1) - own;
    uint64_t bytes = length * m->size;
    char *room = sinter_job_get_room(m, (uint64_t)g->count * bytes);
    const void *sources[DIRECT_RANKS];
    for (int64_t p = 0; room && p < g->count; p++) {
        uint64_t at = sinter_exchange_share(g, count, p),
                 end = sinter_exchange_share(g, count, p + 1);
        sources[p] = p == g->place ? source + at * m->size : room + (uint64_t)p * bytes;
        if (p == g->place) continue;
        receive(m, p, room + (uint64_t)p * bytes, bytes);
        send(m, p, source + at * m->size, (end - at) * m->size);
    }
    finish(m);
    if (room) combine(m, sources, g->count, length, target);
}

static void reduce_directly(meeting *m) {
    const sinter_exchange_group *g = &m->group;
    char *target = m->words.target;
    uint64_t count = m->words.count, own = sinter_exchange_share(g, count, g->place),
             end = sinter_exchange_share(g, count, g->place + 1);
    combine_share(m, target + own * m->size);
    for (int64_t p = 0; p < g->count; p++) {
        uint64_t at = sinter_exchange_share(g, count, p),
                 length = sinter_exchange_share(g, count, p + 1) - at;
        if (p == g->place) continue;
        receive(m, p, target + at * m->size, length * m->size);
        send(m, p, target + own * m->size, (end - own) * m->size);
    }
    finish(m);
}

static void exchange_all(meeting *m) {
    const sinter_exchange_group *g = &m->group;
    const char *source = m->words.source;
    char *target = m->words.target;
    uint64_t piece = m->bytes / (uint64_t)g->count;
    for (int64_t i = 1; i < g->count; i++) { /* neighbours first, so that nobody gets all at once */
        int64_t to = (g->place + i) % g->count, from = (g->place + g->count - i) % g->count;
        receive(m, from, target + (uint64_t)from * piece, piece);
        send(m, to, source + (uint64_t)to * piece, piece);
    }
    move(m, target + (uint64_t)g->place * piece, source + (uint64_t)g->place * piece, piece);
    finish(m);
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
static void swap(meeting *m, int64_t place, const void *given, void *taken, uint64_t bytes) {
    receive(m, place, taken, bytes);
    send(m, place, given, bytes);
    finish(m);
}

/* With a partner's elements: those of the lower place first. */
static void combine_two(meeting *m, int round, void *own, const void *other, uint64_t count) {
    bool is_upper = m->group.place >> round & 1;
    const void *sources[] = {is_upper ? other : own, is_upper ? own : other};
    combine(m, sources, 2, count, own);
}

/* The sum of a piece of `count` elements for each place, of which each gets its own to target; data, and room as large, are used up. */
static void halve(meeting *m, parting p, char *data, char *room, uint64_t count, void *target) {
    uint64_t size = count * m->size;
    int64_t pieces = m->group.count, own = m->group.place >> p.rounds;
    const void *sources[DIRECT_RANKS];
    for (int r = 0; r < p.rounds; r++) {
        uint64_t bit = (uint64_t)m->group.place >> r & 1;
        char *given = room, *taken = room + (uint64_t)(pieces / 2) * size;
        pieces /= 2;
        /* Every other piece is of the partner's half. */
        move_pieces(m, given, 1, data + !bit * size, 2, size, pieces, false);
        move_pieces(m, data, 1, data + bit * size, 2, size, pieces, false);
        swap(m, m->group.place ^ (int64_t)1 << r, given, taken, (uint64_t)pieces * size);
        combine_two(m, r, data, taken, (uint64_t)pieces * count);
    }
    for (int64_t j = 0; j < p.last; j++) {
        sources[j] = j == own ? data + (uint64_t)j * size : room + (uint64_t)j * size;
        if (j == own) continue;
        receive(m, left_place(m, p, j), room + (uint64_t)j * size, size);
        send(m, left_place(m, p, j), data + (uint64_t)j * size, size);
    }
    finish(m);
    combine(m, sources, p.last, count, target);
}

/* The way back: each place has its piece of `size` bytes at the start of data, and gets all of them. room is as large. */
static void unite(meeting *m, parting p, char *data, char *room, uint64_t size) {
    int64_t own = m->group.place >> p.rounds, pieces = p.last;
    move(m, data + (uint64_t)own * size, data, size);
    for (int64_t j = 0; j < p.last; j++) {
        if (j == own) continue;
        receive(m, left_place(m, p, j), data + (uint64_t)j * size, size);
        send(m, left_place(m, p, j), data + (uint64_t)own * size, size);
    }
    finish(m);
    for (int r = p.rounds; r-- > 0; pieces *= 2) {
        uint64_t bit = (uint64_t)m->group.place >> r & 1;
        swap(m, m->group.place ^ (int64_t)1 << r, data, room, (uint64_t)pieces * size);
        move_pieces(m, data + bit * size, 2, data, 1, size, pieces, true);
        move_pieces(m, data + !bit * size, 2, room, 1, size, pieces, true);
    }
}

static void scatter_by_halves(meeting *m, parting p) {
    uint64_t count = m->words.count / (uint64_t)m->group.count;
    char *data = sinter_job_get_room(m, m->bytes), *room = sinter_job_get_room(m, m->bytes);
    if (m->no_memory) return;
    move(m, data, m->words.source, m->bytes);
    halve(m, p, data, room, count, m->words.target);
}

static void gather_by_halves(meeting *m, parting p) {
    char *room = sinter_job_get_room(m, (uint64_t)m->group.count * m->bytes);
    if (m->no_memory) return;
    move(m, m->words.target, m->words.source, m->bytes);
    unite(m, p, m->words.target, room, m->bytes);
}

/* The pieces of a sum are equal, the last ones filled up. */
static void reduce_by_halves(meeting *m, parting p) {
    uint64_t places = (uint64_t)m->group.count,
             count = m->words.count / places + (m->words.count % places != 0),
             size = count * m->size;
    char *data = sinter_job_get_room(m, places * size),
         *room = sinter_job_get_room(m, places * size), *piece = sinter_job_get_room(m, size);
    if (m->no_memory) return;
    memset(data + m->bytes, 0, places * size - m->bytes);
    move(m, data, m->words.source, m->bytes);
    halve(m, p, data, room, count, piece);
    move(m, data, piece, size);
    unite(m, p, data, room, size);
    move(m, m->words.target, data, m->bytes);
}

/* Little of it is exchanged whole, in half as many rounds. */
static void reduce_whole(meeting *m, parting p) {
    char *target = m->words.target;
    char *room = sinter_job_get_room(m, (uint64_t)DIRECT_RANKS * m->bytes);
    int64_t own = m->group.place >> p.rounds;
    const void *sources[DIRECT_RANKS];
    if (m->no_memory) return;
    move(m, target, m->words.source, m->bytes);
    for (int r = 0; r < p.rounds; r++) {
        swap(m, m->group.place ^ (int64_t)1 << r, target, room, m->bytes);
        combine_two(m, r, target, room, m->words.count);
    }
    for (int64_t j = 0; j < p.last; j++) {
        sources[j] = j == own ? target : room + (uint64_t)j * m->bytes;
        if (j == own) continue;
        receive(m, left_place(m, p, j), room + (uint64_t)j * m->bytes, m->bytes);
        send(m, left_place(m, p, j), target, m->bytes);
    }
    finish(m);
    combine(m, sources, p.last, m->words.count, target);
}

/* ---- trees ---- */

/* Terms go up to place 0: `sum`, which holds the own one, takes in what is below. Returns how far this place's part of
 * the tree goes: places [place, place + reach). */
static int64_t reduce_up(meeting *m, void *sum, char *other) {
    const sinter_exchange_group *g = &m->group;
    int64_t step = 1;
    for (; step < g->count; step *= 2) {
        if (g->place % (2 * step)) {
            send(m, g->place - step, sum, m->bytes);
            finish(m);
            break;
        }
        if (g->place + step >= g->count) continue;
        const void *sources[] = {sum, other};
        receive(m, g->place + step, other, m->bytes);
        finish(m);
        combine(m, sources, 2, m->words.count, sum);
    }
    return step;
}

/* What place 0 has goes down: `each` bytes for each place where they get a piece (each > 0; `data` has those of the places from the
 * own one on), or all of it. */
static void spread_down(meeting *m, int64_t reach, char *data, uint64_t each) {
    const sinter_exchange_group *g = &m->group;
    int64_t own = g->count - g->place < reach ? g->count - g->place : reach;
    if (g->place) {
        receive(m, g->place - reach, data, each ? (uint64_t)own * each : m->bytes);
        finish(m);
    }
    for (int64_t step = reach / 2; step > 0; step /= 2) {
        int64_t to = g->place + step, below = g->count - to < step ? g->count - to : step;
        if (to >= g->count) continue;
        send(m, to, data + (uint64_t)step * each, each ? (uint64_t)below * each : m->bytes);
        finish(m); /* who has the most to pass on gets it first */
    }
}

static void reduce_by_tree(meeting *m) {
    char *other = sinter_job_get_room(m, m->bytes);
    if (m->no_memory) return;
    move(m, m->words.target, m->words.source, m->bytes);
    spread_down(m, reduce_up(m, m->words.target, other), m->words.target, 0);
}

static void scatter_by_tree(meeting *m) {
    uint64_t piece = m->bytes / (uint64_t)m->group.count;
    char *sum = sinter_job_get_room(m, m->bytes), *other = sinter_job_get_room(m, m->bytes);
    if (m->no_memory) return;
    move(m, sum, m->words.source, m->bytes);
    int64_t reach = reduce_up(m, sum, other);
    if (piece) spread_down(m, reach, sum, piece);
    move(m, m->words.target, sum, piece);
}

/* Parts [first, first + count) of the places, around the end. */
static void move_parts(meeting *m, int64_t peer, int64_t first, int64_t count, bool receives) {
    char *target = m->words.target;
    int64_t all = m->group.count, until = first + count < all ? first + count : all;
    const struct {
        int64_t first, count;
    } runs[] = {{first, until - first}, {0, first + count - until}};
    for (int i = 0; i < 2; i++) {
        char *at = target + (uint64_t)runs[i].first * m->bytes;
        uint64_t bytes = (uint64_t)runs[i].count * m->bytes;
        if (!runs[i].count) continue;
        if (receives)
            receive(m, peer, at, bytes);
        else
            send(m, peer, at, bytes);
    }
}

/* In each round a place has twice as many parts, those of the places from its own on (Bruck et al., Efficient algorithms for
 * all-to-all communications, 1997). */
static void gather_parts(meeting *m) {
    const sinter_exchange_group *g = &m->group;
    move(m, (char *)m->words.target + (uint64_t)g->place * m->bytes, m->words.source, m->bytes);
    for (int64_t have = 1; have < g->count; have *= 2) {
        int64_t count = g->count - have < have ? g->count - have : have;
        int64_t from = (g->place + have) % g->count, to = (g->place + g->count - have) % g->count;
        move_parts(m, from, from, count, true);
        move_parts(m, to, g->place, count, false);
        finish(m);
    }
}

/* ---- which way ---- */

/* Its group is the rank itself, the one that it gets from and the one that it gives to. */
enum { OWN, FROM, TO };

static void permute(meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    const int64_t *members = m->group.members;
    if (w->from >= 0 && members[FROM] == members[OWN]) { /* and to it */
        move(m, w->target, w->source, m->bytes);
        return;
    }
    if (w->from < 0)
        memset(w->target, 0, m->bytes);
    else
        receive(m, FROM, w->target, m->bytes);
    if (w->to >= 0) send(m, TO, w->source, m->bytes);
    finish(m);
}

static void reduce(meeting *m, parting p) {
    if (m->bytes <= SINTER_JOB_SHORT_BYTES && p.last <= DIRECT_RANKS)
        reduce_whole(m, p);
    else if (m->group.count <= DIRECT_RANKS)
        reduce_directly(m);
    else if (p.last <= DIRECT_RANKS)
        reduce_by_halves(m, p);
    else
        reduce_by_tree(m);
}

static void reduce_scatter(meeting *m, parting p) {
    if (m->group.count <= DIRECT_RANKS)
        combine_share(m, m->words.target);
    else if (p.last <= DIRECT_RANKS)
        scatter_by_halves(m, p);
    else
        scatter_by_tree(m);
}

static void list_steps(meeting *m) {
    parting p = part(m->group.count);
    m->is_ready = true;
    if (!m->words.count) return;
    switch (m->words.kind) {
    case SINTER_ABI_ALL_REDUCE:
        reduce(m, p);
        return;
    case SINTER_ABI_REDUCE_SCATTER:
        reduce_scatter(m, p);
        return;
    case SINTER_ABI_ALL_GATHER:
        if (p.last <= DIRECT_RANKS)
            gather_by_halves(m, p);
        else
            gather_parts(m);
        return;
    case SINTER_ABI_ALL_TO_ALL:
        exchange_all(m);
        return;
    default:
        permute(m);
    }
}

/* ---- in any order ---- */

static int advance(void *user, int64_t *out_late) {
    return sinter_job_advance(user, SINTER_JOB_WAITS, out_late);
}

static bool wait_for(meeting *m) {
    return sinter_job_wait(m->job, advance, m);
}

/* The transport's number of the group. Where it comes up for the first time, and the transport waits for all of it, they have all come:
 * here that is waited for with a deadline (Hensgen, Finkel, Manber: Two algorithms for barrier synchronization, 1988). */
static bool join(meeting *m, int *out_number) {
    sinter_job *job = m->job;
    int64_t count = m->group.count, place = m->group.place;
    for (size_t i = 0; i < job->joined_count; i++)
        if (job->joined[i].over == m->words.over) {
            *out_number = job->joined[i].number;
            return true;
        }
    sinter_job_group *more = realloc(job->joined, (job->joined_count + 1) * sizeof *more);
    m->no_memory |= !more;
    if (!more) return true;
    job->joined = more;
    for (int64_t step = 1; step < count; step *= 2) {
        receive(m, (place + count - step) % count, NULL, 0);
        send(m, (place + step) % count, NULL, 0);
        finish(m);
    }
    if (!m->no_memory && !wait_for(m)) return false;
    if (job->transport->join(job->transport, m->group.members, count, out_number) < 0)
        return sinter_job_transport_failed(job);
    job->joined[job->joined_count++] = (sinter_job_group){m->words.over, *out_number};
    m->count = m->at = 0;
    return true;
}

/* By the transport, where it makes such sums; what it does not is left to the steps of all others. False after an error. */
static bool sum_in_any_order(meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    sinter_transport *t = m->job->transport;
    sinter_transport_sum sum = {.tag = m->tag,
                                .is_double = m->size == sizeof(double),
                                .is_product = w->reduction == SINTER_ABI_PROD,
                                .is_scattered = w->kind == SINTER_ABI_REDUCE_SCATTER,
                                .count = w->count,
                                .source = w->source,
                                .target = w->target};
    if (!w->count) return true;
    if (!join(m, &sum.group) || m->no_memory) return !m->no_memory;
    int begun = t->sum(t, &sum);
    if (begun < 0) return sinter_job_transport_failed(m->job);
    m->is_ready = begun > 0;
    if (begun) finish(m);
    return true;
}

/* Where the transport waits for all of a group, a rank that begins an exchange would wait, and others for it. */
static bool any_order_will_do(const meeting *m) {
    return m->job->any_order && m->job->transport->sum &&
           sinter_exchange_depends_on_order(&m->words, m->group.count);
}

/* ---- begin and end ---- */

static bool find_members(sinter_job *job, meeting *m) {
    const sinter_abi_exchange *w = &m->words;
    const int64_t rank = job->transport->rank - job->first;
    if (!sinter_exchange_check(&job->mesh, w)) return false;
    if (w->kind == SINTER_ABI_PERMUTE) {
        m->group =
            (sinter_exchange_group){.members = malloc(3 * sizeof *m->group.members), .count = 3};
        if (!m->group.members) return false;
        m->group.members[OWN] = rank;
        m->group.members[FROM] = w->from;
        m->group.members[TO] = w->to;
    } else if (!sinter_exchange_find_group(&job->mesh, rank, w->over, &m->group)) {
        return false;
    }
    for (int64_t p = 0; p < m->group.count; p++) m->group.members[p] += job->first;
    return true;
}

static int32_t fail(const meeting *m, sinter_abi_call *call) {
    int32_t code = m->no_memory ? SINTER_ABI_OUT_OF_MEMORY : m->code;
    return sinter_exchange_fail(call, code ? code : SINTER_ABI_FAILED, m->job->transport->rank,
                                "%s %u: %s", sinter_exchange_name(&m->words), m->words.index,
                                m->no_memory ? "no memory for what other ranks send" : m->job->why);
}

/* Messages of two exchanges of one tag would be taken for each other's. */
static bool meets_its_tag(const sinter_job *job, const meeting *m) {
    for (uint64_t i = job->ended; i + 1 < job->begun; i++)
        if (job->meetings[i % SINTER_ABI_EXCHANGES_UNDER_WAY].tag == m->tag) return true;
    return false;
}

static int32_t begin(void *user, sinter_abi_call *call, const sinter_abi_exchange *words) {
    sinter_job *job = user;
    meeting *m = &job->meetings[job->begun % SINTER_ABI_EXCHANGES_UNDER_WAY];
    int64_t late;
    m->job = job;
    m->words = *words;
    if (!find_members(job, m))
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, job->transport->rank,
                                    "an exchange that this mesh has not");
    m->tag = tag_of(words);
    m->size = sinter_exchange_element_size(words->dtype);
    m->bytes = words->count * m->size;
    job->begun++;
    if (any_order_will_do(m) || meets_its_tag(job, m)) return 0;
    list_steps(m);
    return m->no_memory || sinter_job_advance(m, SINTER_JOB_POSTS, &late) < 0 ? fail(m, call) : 0;
}

/* Others go on, too, while this one is waited for. */
static int advance_all(void *user, int64_t *out_late) {
    meeting *m = user;
    int done = sinter_job_advance(m, SINTER_JOB_WAITS, out_late);
    bool alone = m->job->begun == m->job->ended + 1;
    return done || alone || sinter_job_advance_all(m->job) ? done : -1;
}

/* The oldest one that is under way. */
static int32_t end(void *user, sinter_abi_call *call) {
    sinter_job *job = user;
    meeting *m = &job->meetings[job->ended % SINTER_ABI_EXCHANGES_UNDER_WAY];
    bool good = m->is_ready || !any_order_will_do(m) || sum_in_any_order(m);
    if (good && !m->is_ready) list_steps(m);
    if (!good || m->no_memory || !sinter_job_wait(job, advance_all, m)) return fail(m, call);
    sinter_job_clear(m);
    job->ended++;
    return 0;
}

/* Of sinter_transport.pass. */
static int64_t place_of(const sinter_job *job, const sinter_abi_exchange *words) {
    sinter_exchange_phase phase;
    sinter_exchange_read(words, &phase);
    if (phase == SINTER_EXCHANGE_ENDS)
        return SINTER_TRANSPORT_ENDED - (int64_t)(job->ended - job->before_run);
    return (int64_t)(job->begun - job->before_run);
}

int32_t sinter_job_exchange(sinter_abi_call *call, const sinter_abi_exchange *words) {
    sinter_job *job = call->services->user;
    const meeting *oldest = &job->meetings[job->ended % SINTER_ABI_EXCHANGES_UNDER_WAY];
    const sinter_exchange_turns turns = {.rank = job->transport->rank,
                                         .begun = job->begun,
                                         .ended = job->ended,
                                         .oldest = &oldest->words,
                                         .begin = begin,
                                         .end = end,
                                         .user = job};
    if (!sinter_job_pass(job, place_of(job, words)))
        return sinter_exchange_fail(call, SINTER_ABI_FAILED, job->transport->rank,
                                    "exchange %u: %s", words->index, job->why);
    return sinter_exchange_take_turn(&turns, call, words);
}
