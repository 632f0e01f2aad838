/* Exchanges as messages, over a transport that is a list in memory, with a thread a rank: what each rank gets in groups of any size, the
 * bits of sums beside those of exchanges between threads, and who is named when one does not come. */
#include "ir/hardware.h"
#include "ir/link_clock.h"
#include "runtime/collectives.h"
#include "runtime/job_internal.h"
#include "tests/unit/test.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { MOST = 40, SIZE = 113 }; /* SIZE * MOST is what is not sent whole */

/* ---- a transport ---- */

typedef struct message {
    struct message *next;
    int64_t from, to;
    int tag;
    uint64_t bytes;
    char data[];
} message;

typedef struct net {
    pthread_mutex_t mutex;
    message *first, **last;
} net;

typedef struct wanted {
    int64_t from;
    int tag, awaited; /* by which test */
    void *data;
    uint64_t bytes;
    bool is_term; /* of a sum of floats, added to data */
} wanted;

enum { TAG_SUM = 0, GROUPS = 4 };
typedef struct wire {
    sinter_transport table; /* first */
    net *net;
    wanted list[4 * MOST];
    size_t count;
    int64_t groups[GROUPS][MOST], group_sizes[GROUPS]; /* joined */
    int group_count, sums;                             /* sums: begun */
} wire;

static int put(sinter_transport *t, int64_t to, int tag, const void *data, uint64_t bytes) {
    net *n = ((wire *)t)->net;
    message *m = malloc(sizeof *m + bytes);
    *m = (message){.from = t->rank, .to = to, .tag = tag, .bytes = bytes};
    if (bytes) memcpy(m->data, data, bytes);
    pthread_mutex_lock(&n->mutex);
    *n->last = m;
    n->last = &m->next;
    pthread_mutex_unlock(&n->mutex);
    return 1;
}

static int want(sinter_transport *t, int64_t from, int tag, void *data, uint64_t bytes) {
    wire *w = (wire *)t;
    w->list[w->count++] = (wanted){from, tag, tag, data, bytes, false};
    return 1;
}

/* The tests' sums are of f32, for all; each takes in terms as they come. */
static int join(sinter_transport *t, const int64_t *members, int64_t count, int *out_group) {
    wire *w = (wire *)t;
    *out_group = w->group_count++;
    memcpy(w->groups[*out_group], members, (size_t)count * sizeof *members);
    w->group_sizes[*out_group] = count;
    return 1;
}

static int sum(sinter_transport *t, const sinter_transport_sum *s) {
    wire *w = (wire *)t;
    if (s->is_double || s->is_product || s->is_scattered || s->count == SIZE) return 0;
    w->sums++;
    memcpy(s->target, s->source, s->count * sizeof(float));
    for (int64_t i = 0; i < w->group_sizes[s->group]; i++) {
        int64_t other = w->groups[s->group][i];
        if (other == t->rank) continue;
        put(t, other, TAG_SUM, s->source, s->count * sizeof(float));
        w->list[w->count++] =
            (wanted){other, TAG_SUM, s->tag, s->target, s->count * sizeof(float), true};
    }
    return 1;
}

/* The oldest message of the tag, taken out; from < 0: whoever sent it. Under the mutex. */
static message *find(wire *w, int64_t from, int tag) {
    net *n = w->net;
    for (message **link = &n->first; *link; link = &(*link)->next) {
        message *m = *link;
        if (m->to != w->table.rank || m->tag != tag || (from >= 0 && m->from != from)) continue;
        *link = m->next;
        if (n->last == &m->next) n->last = link;
        return m;
    }
    return NULL;
}

static void add(float *target, const message *m) {
    for (uint64_t i = 0; i < m->bytes / sizeof(float); i++) {
        float term;
        memcpy(&term, m->data + i * sizeof term, sizeof term);
        target[i] += term;
    }
}

static int look(sinter_transport *t, int tag, int waits, int64_t *out_late) {
    wire *w = (wire *)t;
    size_t left = 0;
    bool fits = true, all = true;
    (void)waits;
    pthread_mutex_lock(&w->net->mutex);
    for (size_t i = 0; i < w->count; i++) {
        bool is_asked = w->list[i].awaited == tag;
        message *m = is_asked ? find(w, w->list[i].from, w->list[i].tag) : NULL;
        if (!m) {
            if (is_asked && all) *out_late = w->list[i].from;
            all = all && !is_asked;
            w->list[left++] = w->list[i];
            continue;
        }
        fits = fits && m->bytes == w->list[i].bytes;
        if (fits && w->list[i].is_term)
            add(w->list[i].data, m);
        else if (fits && m->bytes)
            memcpy(w->list[i].data, m->data, m->bytes);
        free(m);
    }
    pthread_mutex_unlock(&w->net->mutex);
    w->count = left;
    return fits ? all : -1;
}

static int take(sinter_transport *t, int tag, int64_t *out_from, void *data, uint64_t bytes) {
    pthread_mutex_lock(&((wire *)t)->net->mutex);
    message *m = find((wire *)t, -1, tag);
    pthread_mutex_unlock(&((wire *)t)->net->mutex);
    if (!m) return 0;
    *out_from = m->from;
    memcpy(data, m->data, bytes);
    free(m);
    return 1;
}

static const char *why(const sinter_transport *t) {
    (void)t;
    return "another size";
}

/* ---- ranks ---- */

typedef struct rank {
    struct sinter_job job;
    wire wire;
    sinter_collectives *threads; /* the same exchanges between threads */
    int64_t number, count;
    int (*body)(struct rank *r);
    int wrong, code;
    char message[256];
    float x[SIZE * MOST], y[SIZE * MOST], z[SIZE * MOST];
    bool overlaps;
    uint64_t begun, ended;
    struct pending *pending;
} rank;

static int exchange_by(rank *r, const sinter_abi_services *services,
                       const sinter_abi_exchange *words) {
    sinter_abi_call call = {.size = sizeof call, .services = services};
    r->code = services->exchange(&call, words);
    memcpy(r->message, call.message, sizeof r->message);
    return r->code;
}

/* Exchanges that are under way: what was begun ends in its order, some time later. */
enum { ROOM = SIZE * MOST };
typedef struct pending {
    sinter_abi_exchange words;
    float *y, *z;
} pending;

static int finish_one(rank *r) {
    pending *p = &r->pending[r->ended++ % SINTER_ABI_EXCHANGES_UNDER_WAY];
    sinter_abi_exchange words = p->words;
    words.kind |= SINTER_ABI_EXCHANGE_ENDS;
    words.target = p->y;
    int wrong = exchange_by(r, &r->job.services, &words) != 0;
    words.target = p->z;
    wrong += exchange_by(r, sinter_collectives_services(r->threads, r->number), &words) != 0;
    wrong += memcmp(p->y, p->z, ROOM * sizeof *p->y) != 0;
    free(p->y);
    free(p->z);
    return wrong;
}

/* As both, but for as many as are to be under way; ranks begin the next ones and end those before it at different times. */
static int begin_one(rank *r, sinter_abi_exchange words) {
    uint64_t most = 1 + (words.index * 7 + (uint64_t)r->number) % SINTER_ABI_EXCHANGES_UNDER_WAY;
    int wrong = 0;
    while (r->begun - r->ended >= most) wrong += finish_one(r);
    pending *p = &r->pending[r->begun++ % SINTER_ABI_EXCHANGES_UNDER_WAY];
    *p = (pending){words, malloc(ROOM * sizeof *p->y), malloc(ROOM * sizeof *p->z)};
    memset(p->y, 0x55, ROOM * sizeof *p->y);
    memset(p->z, 0x55, ROOM * sizeof *p->z);
    words.kind |= SINTER_ABI_EXCHANGE_BEGINS;
    words.target = p->y;
    wrong += exchange_by(r, &r->job.services, &words) != 0;
    words.target = p->z;
    wrong += exchange_by(r, sinter_collectives_services(r->threads, r->number), &words) != 0;
    r->job.services.trace(&r->job, 0, 0); /* a kernel has ended */
    return wrong;
}

/* By messages into y, between threads into z: the same bits. */
static int both(rank *r, sinter_abi_exchange words, uint64_t results) {
    words.source = r->x;
    if (r->overlaps) return begin_one(r, words);
    words.target = r->y;
    memset(r->y, 0x55, sizeof r->y);
    memset(r->z, 0x55, sizeof r->z);
    int wrong = exchange_by(r, &r->job.services, &words) != 0;
    words.target = r->z;
    wrong += exchange_by(r, sinter_collectives_services(r->threads, r->number), &words) != 0;
    return wrong + (memcmp(r->y, r->z, sizeof r->y) != 0) + !results;
}

/* Over each axis, and over both; odd numbers, so that sums depend on their order. */
static int all_kinds(rank *r) {
    static const uint64_t overs[] = {1, 2, 0x0201, 0x0102};
    uint64_t seed = (uint64_t)r->number * 77 + 5;
    for (int i = 0; i < SIZE * MOST; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        r->x[i] = ldexpf((float)(seed >> 40) - 8e6f, (int)(seed >> 33 & 31) - 20);
    }
    uint32_t index = 0;
    for (int k = 0; k < 4; k++) {
        sinter_exchange_group group;
        if (!sinter_exchange_find_group(&r->job.mesh, r->number, overs[k], &group)) return 1;
        uint64_t places = (uint64_t)group.count;
        sinter_exchange_free_group(&group);
        for (int how = 0; how < 5; how++)
            r->wrong += both(r,
                             (sinter_abi_exchange){.kind = SINTER_ABI_ALL_REDUCE,
                                                   .reduction = how % 4,
                                                   .dtype = how == 3 ? 6 : 1,
                                                   .index = index++,
                                                   .over = overs[k],
                                                   .count = how == 2   ? 1
                                                            : how == 4 ? SIZE * MOST
                                                                       : SIZE},
                             SIZE);
        r->wrong += both(r,
                         (sinter_abi_exchange){.kind = SINTER_ABI_REDUCE_SCATTER,
                                               .dtype = 1,
                                               .index = index++,
                                               .over = overs[k],
                                               .count = SIZE * places},
                         SIZE);
        r->wrong += both(r,
                         (sinter_abi_exchange){.kind = SINTER_ABI_ALL_GATHER,
                                               .dtype = 1,
                                               .index = index++,
                                               .over = overs[k],
                                               .count = SIZE},
                         SIZE);
        r->wrong += both(r,
                         (sinter_abi_exchange){.kind = SINTER_ABI_ALL_TO_ALL,
                                               .dtype = 1,
                                               .index = index++,
                                               .over = overs[k],
                                               .count = SIZE * places},
                         SIZE);
    }
    for (int32_t step = 0; step < 2; step++) { /* around, and down with an end */
        int32_t count = (int32_t)r->count, at = (int32_t)r->number;
        r->wrong +=
            both(r,
                 (sinter_abi_exchange){.kind = SINTER_ABI_PERMUTE,
                                       .dtype = 1,
                                       .index = index++,
                                       .count = SIZE,
                                       .from = step ? at - 1 : (at + count - 1) % count,
                                       .to = step && at + 1 == count ? -1 : (at + 1) % count},
                 SIZE);
    }
    r->wrong +=
        both(r, (sinter_abi_exchange){.kind = SINTER_ABI_ALL_REDUCE, .dtype = 1, .over = 1}, 1);
    return 0;
}

static int all_kinds_under_way(rank *r) {
    r->overlaps = true;
    r->pending = calloc(SINTER_ABI_EXCHANGES_UNDER_WAY, sizeof *r->pending);
    int wrong = all_kinds(r);
    while (r->ended < r->begun) wrong += finish_one(r);
    free(r->pending);
    r->overlaps = false;
    return wrong;
}

static int call_one(rank *r, int32_t phase, uint32_t index) {
    const sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE | phase,
                                       .dtype = 1,
                                       .index = index,
                                       .over = 1,
                                       .count = 1,
                                       .source = r->x,
                                       .target = r->y};
    return exchange_by(r, &r->job.services, &words);
}

/* What is not the turn of an exchange is told, and so is one too many. */
static int out_of_turn(rank *r) {
    const int32_t begins = SINTER_ABI_EXCHANGE_BEGINS, ends = SINTER_ABI_EXCHANGE_ENDS;
    r->wrong += !call_one(r, ends, 0) || !strstr(r->message, "exchange 0 does not end in its turn");
    for (uint32_t i = 0; i < SINTER_ABI_EXCHANGES_UNDER_WAY; i++)
        r->wrong += call_one(r, begins, i) != 0;
    r->wrong += !call_one(r, 0, 8) || !strstr(r->message, "exchange 8 does not end in its turn");
    r->wrong += !call_one(r, ends, 1) || !strstr(r->message, "exchange 1 does not end in its turn");
    r->wrong += !call_one(r, begins, 8) || !strstr(r->message, "more than 8 exchanges under way");
    for (uint32_t i = 0; i < SINTER_ABI_EXCHANGES_UNDER_WAY; i++)
        r->wrong += call_one(r, ends, i) != 0;
    return 0;
}

/* The transport makes the sums of floats over more than two that it takes, and no others; a group is made once. */
static int any_order(rank *r) {
    const uint64_t counts[] = {SIZE - 1, SIZE * MOST, SIZE};
    uint32_t index = 0;
    sinter_job_allow_any_order(&r->job);
    for (int i = 0; i < SIZE * MOST; i++) r->x[i] = (float)((i * 7 + (int)r->number * 13) % 101);
    for (int round = 0; round < 6; round++) {
        sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE,
                                     .dtype = round == 3 ? 6 : 1,
                                     .reduction = round == 4 ? SINTER_ABI_MAX : SINTER_ABI_SUM,
                                     .over = round == 5 ? 2 : 1,
                                     .index = index++,
                                     .count = counts[round == 5 ? 0 : round % 3]};
        r->wrong += both(r, words, 1);
    }
    const int64_t *sizes = r->job.mesh.axis_sizes;
    r->wrong += r->wire.group_count != (sizes[0] > 2) + (sizes[1] > 2);
    r->wrong += r->wire.sums != 2 * (sizes[0] > 2) + (sizes[1] > 2);
    return 0;
}

static int one_hangs(rank *r) {
    const sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE,
                                       .dtype = 1,
                                       .index = 3,
                                       .over = 1,
                                       .count = SIZE,
                                       .source = r->x,
                                       .target = r->y};
    if (r->number == r->count - 1) return 0; /* the one that others miss through others */
    exchange_by(r, &r->job.services, &words);
    return 0;
}

/* It gives what others want first, and no more. */
static int one_hangs_under_way(rank *r) {
    if (call_one(r, SINTER_ABI_EXCHANGE_BEGINS, 3) || r->number == r->count - 1) return 0;
    call_one(r, SINTER_ABI_EXCHANGE_ENDS, 3);
    if (!r->code) call_one(r, 0, 4);
    return 0;
}

static int one_differs(rank *r) {
    sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE,
                                 .dtype = 1,
                                 .index = r->number == 1,
                                 .over = 1,
                                 .count = SIZE,
                                 .source = r->x,
                                 .target = r->y};
    exchange_by(r, &r->job.services, &words);
    return 0;
}

static void *run(void *user) {
    rank *r = user;
    r->wrong += r->body(r);
    sinter_collectives_leave(r->threads, r->number, NULL);
    return NULL;
}

/* Ranks of so many meshes a x b, each with exchanges of its own, after a run of all of them. */
static rank *start(int64_t a, int64_t b, int64_t groups, double seconds, int (*body)(rank *)) {
    const int64_t axes[] = {a, b};
    int64_t in_group = a * b, count = in_group * groups;
    net list = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    sinter_collectives *threads[MOST] = {NULL};
    pthread_t ids[MOST];
    rank *ranks = calloc((size_t)count, sizeof *ranks);
    list.last = &list.first;
    for (int64_t g = 0; g < groups; g++)
        CHECK(sinter_collectives_create(axes, 2, 60, &threads[g]) == NULL);
    for (int64_t i = 0; i < count; i++) {
        rank *r = &ranks[i];
        r->wire = (wire){.net = &list};
        r->wire.table = (sinter_transport){.name = "list",
                                           .rank = i,
                                           .rank_count = count,
                                           .send = put,
                                           .receive = want,
                                           .test = look,
                                           .post = put,
                                           .take = take,
                                           .join = join,
                                           .sum = sum,
                                           .why = why};
        r->job.transport = &r->wire.table;
        r->job.seconds = seconds;
        r->job.services = (sinter_abi_services){.size = sizeof r->job.services,
                                                .user = &r->job,
                                                .trace = sinter_job_trace,
                                                .exchange = sinter_job_exchange};
        CHECK(sinter_job_set_mesh(&r->job, axes, 2, groups) == NULL);
        r->threads = threads[i / in_group];
        r->number = i % in_group;
        r->count = in_group;
        r->body = body;
    }
    for (int64_t i = 0; i < count; i++) pthread_create(&ids[i], NULL, run, &ranks[i]);
    for (int64_t i = 0; i < count; i++) pthread_join(ids[i], NULL);
    for (int64_t i = 0; i < count; i++) sinter_job_release(&ranks[i].job);
    while (list.first) {
        message *m = list.first;
        list.first = m->next;
        free(m);
    }
    for (int64_t g = 0; g < groups; g++) sinter_collectives_destroy(threads[g]);
    return ranks;
}

/* All ranks but one fail, and so many of them say why; who asks one that has given up already may not get to know. */
static void expect(int64_t count, int (*body)(rank *), int64_t but, int64_t least,
                   const char *part) {
    rank *ranks = start(count, 1, 1, 0.3, body);
    int64_t telling = 0;
    for (int64_t i = 0; i < count; i++) {
        if (i == but) continue;
        CHECK(ranks[i].code != 0);
        telling += strstr(ranks[i].message, part) != NULL;
        if (!strstr(ranks[i].message, part))
            printf("  rank %d says \"%s\"\n", (int)i, ranks[i].message);
    }
    CHECK(telling >= least);
    free(ranks);
}

static void expect_none_wrong(const int64_t *mesh, int (*body)(rank *)) {
    rank *ranks = start(mesh[0], mesh[1], mesh[2], 60, body);
    for (int64_t k = 0; k < mesh[0] * mesh[1] * mesh[2]; k++)
        if (!CHECK(ranks[k].wrong == 0))
            printf("  mesh %d x %d, %d of them, process %d: %d wrong: %s\n", (int)mesh[0],
                   (int)mesh[1], (int)mesh[2], (int)k, ranks[k].wrong, ranks[k].message);
    free(ranks);
}

int main(void) {
    static const int64_t meshes[][3] = {{1, 1, 1},  {2, 1, 1}, {2, 2, 1}, {3, 2, 1},  {5, 1, 1},
                                        {8, 1, 1},  {9, 1, 1}, {3, 4, 1}, {16, 2, 1}, {13, 3, 1},
                                        {2, 2, 2},  {3, 1, 4}, {1, 1, 3}, {5, 2, 3},  {20, 2, 1},
                                        {12, 3, 1}, {18, 1, 2}};
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++) {
        expect_none_wrong(meshes[i], all_kinds);
        expect_none_wrong(meshes[i], all_kinds_under_way);
        expect_none_wrong(meshes[i], any_order);
        expect_none_wrong(meshes[i], out_of_turn);
    }
    CHECK_INT_EQ(SINTER_JOB_DIRECT_RANKS, SINTER_HARDWARE_DIRECT_RANKS); /* prices know them */
    CHECK_INT_EQ(SINTER_JOB_SHORT_BYTES, SINTER_HARDWARE_SHORT_BYTES);
    CHECK_INT_EQ(SINTER_ABI_EXCHANGES_UNDER_WAY, SINTER_EXCHANGES_UNDER_WAY);
    expect(4, one_hangs, 3, 3, "rank 3 did not come within 0.3 seconds");
    expect(12, one_hangs, 11, 6, "rank 11 did not come within 0.3 seconds");
    expect(4, one_hangs_under_way, 3, 3, "rank 3 did not come within 0.3 seconds");
    expect(2, one_differs, -1, 1, "waits for this one: they run different programs");
    return test_finish();
}
