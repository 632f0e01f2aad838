/* See nccl.h. A rank has a stream for its exchanges: one begins when the run's stream comes to it, and the run's stream goes on when it is
 * done, or, where it is under way, until its end is asked for. Patience counts from where a rank's own stream has come to an exchange.
 * Test: tests/unit/nccl_test.c */
#include "runtime/nccl.h"
#include "runtime/executable.h"
#include "runtime/nccl_library.h"
#include "runtime/status.h"

#include <stdlib.h>
#include <time.h>

enum { TURNS = 64, WHOLE_BYTES = 16384 }; /* sums of so few bytes are exchanged whole */

/* Ranks that have met, by the axes of their exchanges. */
typedef struct meeting {
    uint64_t over;
    nccl_communicator communicator;
    sinter_exchange_group group;
} meeting;

/* An exchange that was put into the streams. */
typedef struct turn {
    sinter_device_event *reached, *done;
    sinter_abi_exchange words;
} turn;

struct sinter_nccl {
    nccl_functions call;
    sinter_device *device;
    sinter_exchange_mesh mesh;
    int64_t rank;
    double seconds;
    bool any_order;
    sinter_device_stream *stream;
    sinter_device_event *last; /* of what is waited for */
    turn turns[TURNS];         /* by number, around */
    uint64_t begun, seen;      /* exchanges; those that are known to be done */
    uint64_t entered, left;    /* the run's stream: exchanges that it gave and took back */
    meeting *meetings;
    size_t meeting_count;
    sinter_peers peers;
    sinter_status *status; /* of a look */
};

static const sinter_device_driver *driver_of(const sinter_nccl *n) {
    return n->device->driver;
}

/* ---- errors ---- */

static sinter_status *fail(const sinter_nccl *n, const char *symbol, int error,
                           nccl_communicator communicator) {
    const char *text = n->call.error_text(error), *last = n->call.last_error(communicator);
    return SINTER_FAIL(SINTER_STATUS_FAILED, "rank %lld: %s: %s (%d)%s%s", (long long)n->rank,
                       symbol, text ? text : "unknown error", error, last && *last ? ": " : "",
                       last ? last : "");
}

static bool is_error(int error) {
    return error != NCCL_SUCCESS && error != NCCL_IN_PROGRESS;
}

#define TRY(n, communicator, name, ...)                                                            \
 check((n), (n)->call.name(__VA_ARGS__), symbol_of_##name, (communicator))

#define NCCL(name, symbol, parameters) static const char symbol_of_##name[] = #symbol;
#define NCCL_TEXT(name, symbol, parameters)
#include "runtime/nccl_symbols.def"
#undef NCCL
#undef NCCL_TEXT

static sinter_status *check(const sinter_nccl *n, int error, const char *symbol,
                            nccl_communicator communicator) {
    return is_error(error) ? fail(n, symbol, error, communicator) : NULL;
}

/* The first of two that went wrong. */
static sinter_status *first_of(sinter_status *first, sinter_status *second) {
    if (!first) return second;
    sinter_status_destroy(second);
    return first;
}

/* ---- waiting ---- */

/* What NCCL found wrong beside calls. */
static bool is_broken(sinter_nccl *n) {
    for (size_t i = 0; i < n->meeting_count && !n->status; i++) {
        int error = NCCL_SUCCESS;
        nccl_communicator communicator = n->meetings[i].communicator;
        sinter_status *status = TRY(n, communicator, async_error, communicator, &error);
        n->status = status ? status : check(n, error, "an exchange", communicator);
    }
    return n->status != NULL;
}

static bool is_done(sinter_nccl *n, sinter_device_event *event) {
    bool done = false;
    n->status = first_of(n->status, driver_of(n)->event_query(event, &done));
    return done && !n->status;
}

/* Whether the oldest exchanges came to their ends: those of before need not be asked for again. */
static bool see_more(sinter_nccl *n) {
    const uint64_t before = n->seen;
    while (n->seen < n->begun && is_done(n, n->turns[n->seen % TURNS].done)) n->seen++;
    return n->seen > before;
}

static sinter_peers_sight look_at_oldest(sinter_nccl *n, bool moved) {
    if (n->status || is_broken(n)) return SINTER_PEERS_FAILED;
    if (moved || n->seen == n->begun) return SINTER_PEERS_BUSY;
    const bool reached = is_done(n, n->turns[n->seen % TURNS].reached);
    return n->status ? SINTER_PEERS_FAILED : reached ? SINTER_PEERS_WAITS : SINTER_PEERS_BUSY;
}

/* All that is in the streams. */
static sinter_peers_sight look_for_all(void *user) {
    sinter_nccl *n = user;
    const bool moved = see_more(n);
    if (n->seen == n->begun && !n->status && is_done(n, n->last)) return SINTER_PEERS_DONE;
    return look_at_oldest(n, moved);
}

/* Room for one turn more. */
static sinter_peers_sight look_for_room(void *user) {
    sinter_nccl *n = user;
    const bool moved = see_more(n);
    return moved ? SINTER_PEERS_DONE : look_at_oldest(n, moved);
}

typedef struct settling {
    sinter_nccl *nccl;
    nccl_communicator communicator;
    const char *symbol;
} settling;

/* A call that is not done when it returns. */
static sinter_peers_sight look_for_call(void *user) {
    settling *s = user;
    int error = NCCL_SUCCESS;
    s->nccl->status = TRY(s->nccl, s->communicator, async_error, s->communicator, &error);
    if (!s->nccl->status) s->nccl->status = check(s->nccl, error, s->symbol, s->communicator);
    return s->nccl->status             ? SINTER_PEERS_FAILED
           : error == NCCL_IN_PROGRESS ? SINTER_PEERS_WAITS
                                       : SINTER_PEERS_DONE;
}

/* words: of the exchange that is waited for; NULL: that of the oldest turn. */
static sinter_status *wait_for(sinter_nccl *n, sinter_peers_look *look, void *user,
                               const sinter_abi_exchange *words) {
    char why[256] = "";
    if (n->peers.wait(n->peers.user, look, user, why, sizeof why)) return NULL;
    sinter_status *status = n->status;
    n->status = NULL;
    if (status) return status;
    if (!words) words = &n->turns[n->seen % TURNS].words;
    return SINTER_FAIL(SINTER_STATUS_FAILED, "rank %lld: %s %u: %s", (long long)n->rank,
                       sinter_exchange_name(words), words->index, why);
}

static sinter_status *settle(sinter_nccl *n, int error, const char *symbol,
                             nccl_communicator communicator, const sinter_abi_exchange *words) {
    if (error != NCCL_IN_PROGRESS) return check(n, error, symbol, communicator);
    settling s = {n, communicator, symbol};
    return wait_for(n, look_for_call, &s, words);
}

sinter_status *sinter_nccl_wait(sinter_nccl *n, sinter_device_stream *stream) {
    sinter_status *status = driver_of(n)->event_record(n->last, stream);
    return status ? status : wait_for(n, look_for_all, n, NULL);
}

/* ---- communicators ---- */

/* Place 0 makes the identity, and tells it as ranks on the host tell each other. */
static sinter_status *share_identity(sinter_nccl *n, sinter_abi_call *call,
                                     const sinter_abi_exchange *words, const meeting *m,
                                     nccl_identity *out_identity) {
    nccl_identity own = {{0}}, *all = malloc((size_t)m->group.count * sizeof *all);
    if (!all) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for what ranks tell");
    sinter_status *status = m->group.place ? NULL : TRY(n, NULL, make_identity, &own);
    const sinter_abi_exchange told = {.kind = SINTER_ABI_ALL_GATHER,
                                      .dtype = 2, /* uint8 */
                                      .index = words->index,
                                      .over = m->over,
                                      .count = sizeof own,
                                      .source = &own,
                                      .target = all};
    int32_t code = status ? 0 : call->services->exchange(call, &told);
    if (code) status = sinter_executable_failure(call, code);
    *out_identity = all[0];
    free(all);
    return status;
}

static sinter_status *join(sinter_nccl *n, sinter_abi_call *call, const sinter_abi_exchange *words,
                           meeting *m) {
    nccl_identity identity;
    nccl_config config = {.size = sizeof config,
                          .magic = NCCL_CONFIG_MAGIC,
                          .version = NCCL_LEAST_VERSION,
                          .blocking = 0};
    sinter_status *status = share_identity(n, call, words, m, &identity);
    if (!status) status = driver_of(n)->enter(n->device);
    if (status) return status;
    int error =
        n->call.join(&m->communicator, (int)m->group.count, identity, (int)m->group.place, &config);
    status = settle(n, error, symbol_of_join, m->communicator, words);
    return first_of(status, driver_of(n)->leave(n->device));
}

/* All ranks, in their order: a permute is between any two. */
static uint64_t over_all(const sinter_exchange_mesh *mesh) {
    uint64_t over = 0;
    for (uint32_t i = 0; i < mesh->axis_count; i++) over |= (uint64_t)(i + 1) << (8 * i);
    return over;
}

/* The ranks of the exchange, which meet here where they have not before. */
static sinter_status *meet(sinter_nccl *n, sinter_abi_call *call, const sinter_abi_exchange *words,
                           const meeting **out_meeting) {
    const uint64_t over = words->kind == SINTER_ABI_PERMUTE ? over_all(&n->mesh) : words->over;
    for (size_t i = 0; i < n->meeting_count; i++)
        if (n->meetings[i].over == over) {
            *out_meeting = &n->meetings[i];
            return NULL;
        }
    meeting *more = realloc(n->meetings, (n->meeting_count + 1) * sizeof *more);
    if (!more) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a group of ranks");
    n->meetings = more;
    meeting *m = &more[n->meeting_count];
    *m = (meeting){.over = over};
    if (!sinter_exchange_find_group(&n->mesh, n->rank, over, &m->group))
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "rank %lld: an exchange that this mesh has not", (long long)n->rank);
    n->meeting_count++;
    *out_meeting = m;
    return join(n, call, words, m);
}

/* ---- exchanges ---- */

/* What NCCL calls the type, where it adds such elements; -1: it does not. */
static int type_of(int32_t dtype) {
    static const signed char types[] = {-1, NCCL_FLOAT32, NCCL_UINT8,  NCCL_INT8,  -1,
                                        -1, NCCL_INT32,   NCCL_INT64,  -1,         -1,
                                        -1, NCCL_FLOAT64, NCCL_UINT32, NCCL_UINT64};
    return dtype >= 0 && dtype < (int32_t)sizeof types ? types[dtype] : -1;
}

/* The bits are the same in whatever order terms are taken, or may be others. Of floats that are compared they are not: NaNs and signs of zeros. */
static bool is_native(const sinter_nccl *n, const sinter_abi_exchange *words, int64_t ranks) {
    const int type = type_of(words->dtype);
    const bool is_float = type == NCCL_FLOAT32 || type == NCCL_FLOAT64;
    return type >= 0 &&
           (!is_float || (n->any_order && sinter_exchange_depends_on_order(words, ranks)));
}

static bool reduces(const sinter_abi_exchange *words) {
    return words->kind == SINTER_ABI_ALL_REDUCE || words->kind == SINTER_ABI_REDUCE_SCATTER;
}

bool sinter_nccl_takes(const sinter_nccl *n, const sinter_abi_exchange *given,
                       const sinter_device_function *combine) {
    sinter_exchange_phase phase;
    const sinter_abi_exchange words = sinter_exchange_read(given, &phase);
    return sinter_exchange_check(&n->mesh, &words) &&
           (!reduces(&words) || combine || is_native(n, &words, n->mesh.rank_count));
}

/* An exchange as it is put into the stream. */
typedef struct work {
    sinter_nccl *n;
    const meeting *m;
    const sinter_abi_exchange *words;
    const sinter_device_function *combine;
    size_t size; /* of an element */
    cuda_stream stream;
    sinter_status *status;
} work;

static bool keep(work *w, sinter_status *status) {
    w->status = first_of(w->status, status);
    return !w->status;
}

#define DO(w, name, ...) keep((w), TRY((w)->n, (w)->m->communicator, name, __VA_ARGS__))

static void send(work *w, int64_t place, const char *from, uint64_t bytes) {
    if (bytes && !w->status)
        DO(w, send, from, (size_t)bytes, NCCL_UINT8, (int)place, w->m->communicator, w->stream);
}

static void receive(work *w, int64_t place, char *to, uint64_t bytes) {
    if (bytes && !w->status)
        DO(w, receive, to, (size_t)bytes, NCCL_UINT8, (int)place, w->m->communicator, w->stream);
}

static void copy(work *w, void *to, const void *from, uint64_t bytes) {
    if (!w->status && to != from)
        keep(w, driver_of(w->n)->copy(w->n->stream, to, from, bytes, SINTER_ABI_COPY_ON_DEVICE));
}

/* Sends and receipts between the two go on at once. */
static void begin_group(work *w) {
    if (w->status || !keep(w, driver_of(w->n)->enter(w->n->device))) return;
    const int error = w->n->call.group_start();
    if (!keep(w, check(w->n, error, symbol_of_group_start, w->m->communicator)))
        keep(w, driver_of(w->n)->leave(w->n->device));
}

static void end_group(work *w) {
    const bool good = !w->status;
    int error = w->n->call.group_end(); /* also after an error: the thread must not stay in it */
    if (good) keep(w, settle(w->n, error, symbol_of_group_end, w->m->communicator, w->words));
    keep(w, driver_of(w->n)->leave(w->n->device));
}

/* A call that is a group by itself. */
static void call_alone(work *w, int error, const char *symbol) {
    keep(w, settle(w->n, error, symbol, w->m->communicator, w->words));
    keep(w, driver_of(w->n)->leave(w->n->device));
}
#define ALONE(w, name, ...)                                                                        \
 do {                                                                                              \
  if (!(w)->status && keep((w), driver_of((w)->n)->enter((w)->n->device)))                         \
   call_alone((w), (w)->n->call.name(__VA_ARGS__, (w)->m->communicator, (w)->stream),              \
              symbol_of_##name);                                                                   \
 } while (0)

static void gather(work *w, const void *from, void *to, uint64_t bytes) {
    ALONE(w, all_gather, from, to, (size_t)bytes, NCCL_UINT8);
}

/* Pieces of the source, by place, from firsts[place] to firsts[place + 1] of it in bytes; those that come have the own one's size. */
static void scatter(work *w, const uint64_t *firsts, char *to) {
    const sinter_exchange_group *g = &w->m->group;
    const char *source = w->words->source;
    const uint64_t own = firsts[g->place + 1] - firsts[g->place];
    begin_group(w);
    if (w->status) return;
    for (int64_t p = 0; p < g->count; p++) {
        if (p == g->place) continue;
        send(w, p, source + firsts[p], firsts[p + 1] - firsts[p]);
        receive(w, p, to + (uint64_t)p * own, own);
    }
    end_group(w);
    copy(w, to + (uint64_t)g->place * own, source + firsts[g->place], own);
}

/* Shares of different sizes, which each place has of the target. */
static void gather_shares(work *w, const uint64_t *firsts) {
    const sinter_exchange_group *g = &w->m->group;
    char *target = w->words->target;
    const uint64_t own = firsts[g->place + 1] - firsts[g->place];
    if (own * (uint64_t)g->count == firsts[g->count]) {
        gather(w, target + firsts[g->place], target, own);
        return;
    }
    begin_group(w);
    if (w->status) return;
    for (int64_t p = 0; p < g->count; p++) {
        if (p == g->place) continue;
        send(w, p, target + firsts[g->place], own);
        receive(w, p, target + firsts[p], firsts[p + 1] - firsts[p]);
    }
    end_group(w);
}

/* Terms of all places, one behind the other, become the sum. */
static void combine(work *w, void *to, const void *terms, uint64_t count) {
    const uint64_t arguments[] = {(uintptr_t)to, (uintptr_t)terms, count,
                                  (uint64_t)w->m->group.count};
    const uint64_t blocks = (count + SINTER_ABI_COMBINE_THREADS - 1) / SINTER_ABI_COMBINE_THREADS;
    if (w->status || !count) return;
    if (blocks > INT32_MAX) {
        keep(w, SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "rank %lld: a sum of %llu elements",
                            (long long)w->n->rank, (unsigned long long)count));
        return;
    }
    const sinter_abi_launch launch = {.grid = {(uint32_t)blocks, 1, 1},
                                      .block = {SINTER_ABI_COMBINE_THREADS, 1, 1},
                                      .argument_count = 4,
                                      .arguments = arguments};
    keep(w, driver_of(w->n)->launch(w->n->stream, w->combine, &launch));
}

/* Pieces to whom they are for, their sums, and for ALL_REDUCE these to all. */
static void sum_pieces(work *w) {
    const sinter_exchange_group *g = &w->m->group;
    const bool all = w->words->kind == SINTER_ABI_ALL_REDUCE;
    const bool whole = all && w->words->count * w->size <= WHOLE_BYTES;
    uint64_t *firsts = malloc(((size_t)g->count + 1) * sizeof *firsts);
    void *terms = NULL;
    if (!firsts) {
        keep(w, SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a list of pieces"));
        return;
    }
    for (int64_t p = 0; p <= g->count; p++)
        firsts[p] = w->size * sinter_exchange_share(g, w->words->count, p);
    const uint64_t own = firsts[g->place + 1] - firsts[g->place],
                   bytes = whole ? w->words->count * w->size : own;
    char *target = w->words->target;
    if (keep(w, driver_of(w->n)->allocate(w->n->stream, bytes * (uint64_t)g->count, &terms))) {
        if (whole)
            gather(w, w->words->source, terms, bytes);
        else
            scatter(w, firsts, terms);
        combine(w, all && !whole ? target + firsts[g->place] : target, terms, bytes / w->size);
        if (all && !whole && !w->status) gather_shares(w, firsts);
        keep(w, driver_of(w->n)->deallocate(w->n->stream, terms));
    }
    free(firsts);
}

static void reduce(work *w) {
    const sinter_abi_exchange *x = w->words;
    const uint64_t piece = x->count / (uint64_t)w->m->group.count;
    if (!is_native(w->n, x, w->m->group.count))
        sum_pieces(w);
    else if (x->kind == SINTER_ABI_ALL_REDUCE)
        ALONE(w, all_reduce, x->source, x->target, (size_t)x->count, type_of(x->dtype),
              x->reduction);
    else
        ALONE(w, reduce_scatter, x->source, x->target, (size_t)piece, type_of(x->dtype),
              x->reduction);
}

static void permute(work *w) {
    const sinter_abi_exchange *x = w->words;
    const uint64_t bytes = x->count * w->size;
    if (x->from >= 0 && x->from == w->n->rank) { /* and to it */
        copy(w, x->target, x->source, bytes);
        return;
    }
    if (x->from < 0) keep(w, driver_of(w->n)->fill(w->n->stream, x->target, 0, bytes));
    if ((x->from < 0 && x->to < 0) || w->status) return;
    begin_group(w);
    if (w->status) return;
    if (x->to >= 0) send(w, x->to, x->source, bytes);
    if (x->from >= 0) receive(w, x->from, x->target, bytes);
    end_group(w);
}

static void all_to_all(work *w) {
    const sinter_exchange_group *g = &w->m->group;
    const uint64_t piece = w->words->count / (uint64_t)g->count * w->size;
    uint64_t *firsts = malloc(((size_t)g->count + 1) * sizeof *firsts);
    if (!keep(w, firsts
                     ? NULL
                     : SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a list of pieces")))
        return;
    for (int64_t p = 0; p <= g->count; p++) firsts[p] = (uint64_t)p * piece;
    scatter(w, firsts, w->words->target);
    free(firsts);
}

static sinter_status *put(sinter_nccl *n, const meeting *m, const sinter_abi_exchange *words,
                          const sinter_device_function *combine_function) {
    work w = {.n = n,
              .m = m,
              .words = words,
              .combine = combine_function,
              .size = sinter_exchange_element_size(words->dtype),
              .stream = sinter_device_native_stream(n->stream)};
    if (!words->count) return NULL;
    if (words->kind == SINTER_ABI_PERMUTE)
        permute(&w);
    else if (words->kind == SINTER_ABI_ALL_GATHER)
        gather(&w, words->source, words->target, words->count * w.size);
    else if (words->kind == SINTER_ABI_ALL_TO_ALL)
        all_to_all(&w);
    else
        reduce(&w);
    return w.status;
}

/* ---- turns ---- */

static sinter_status *make_events(sinter_nccl *n, turn *t) {
    sinter_status *status = t->reached ? NULL : driver_of(n)->event_create(n->device, &t->reached);
    return status || t->done ? status : driver_of(n)->event_create(n->device, &t->done);
}

static sinter_status *begin(sinter_nccl *n, sinter_abi_call *call, sinter_device_stream *stream,
                            const sinter_abi_exchange *words,
                            const sinter_device_function *combine_function) {
    const sinter_device_driver *driver = driver_of(n);
    const meeting *m = NULL;
    turn *t = &n->turns[n->begun % TURNS];
    sinter_status *status = meet(n, call, words, &m);
    if (!status && n->begun - n->seen == TURNS) status = wait_for(n, look_for_room, n, NULL);
    if (!status) status = make_events(n, t);
    if (!status) status = driver->event_record(t->reached, stream);
    if (!status) status = driver->stream_wait_event(n->stream, t->reached);
    if (status) return status;
    t->words = *words;
    status = put(n, m, words, combine_function);
    status = first_of(status, driver->event_record(t->done, n->stream));
    n->begun++;
    n->entered++;
    return status;
}

/* The run goes on behind the oldest one. */
static sinter_status *end(sinter_nccl *n, sinter_device_stream *stream,
                          const sinter_abi_exchange *words) {
    const turn *t = &n->turns[n->left % TURNS];
    if (n->left == n->entered || t->words.index != words->index || t->words.kind != words->kind)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "rank %lld: exchange %u does not end in its turn", (long long)n->rank,
                           words->index);
    n->left++;
    return driver_of(n)->stream_wait_event(stream, t->done);
}

sinter_status *sinter_nccl_exchange(sinter_nccl *n, sinter_abi_call *call,
                                    sinter_device_stream *stream, const sinter_abi_exchange *given,
                                    const sinter_device_function *combine_function) {
    sinter_exchange_phase phase;
    const sinter_abi_exchange words = sinter_exchange_read(given, &phase);
    sinter_status *status = NULL;
    if (phase != SINTER_EXCHANGE_ENDS && n->entered - n->left == SINTER_ABI_EXCHANGES_UNDER_WAY)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "rank %lld: more than %d exchanges under way at a time",
                           (long long)n->rank, SINTER_ABI_EXCHANGES_UNDER_WAY);
    if (phase != SINTER_EXCHANGE_ENDS) status = begin(n, call, stream, &words, combine_function);
    if (!status && phase != SINTER_EXCHANGE_BEGINS) status = end(n, stream, &words);
    return status;
}

/* ---- life ---- */

void sinter_nccl_begin_run(sinter_nccl *n, const sinter_peers *peers) {
    n->peers = *peers;
    n->left = n->entered = n->begun;
}

static void forget_meetings(sinter_nccl *n) {
    for (size_t i = 0; i < n->meeting_count; i++) sinter_exchange_free_group(&n->meetings[i].group);
    free(n->meetings);
    n->meetings = NULL;
    n->meeting_count = 0;
}

void sinter_nccl_abort(sinter_nccl *n) {
    sinter_status_destroy(driver_of(n)->enter(n->device));
    for (size_t i = 0; i < n->meeting_count; i++)
        if (n->meetings[i].communicator) n->call.abort(n->meetings[i].communicator);
    sinter_status_destroy(driver_of(n)->leave(n->device));
    forget_meetings(n);
    n->seen = n->begun;
}

/* Whether all of the communicator have come to its end, in time. */
static bool is_final(sinter_nccl *n, nccl_communicator communicator, double end) {
    const struct timespec pause = {.tv_nsec = 100000};
    int error = NCCL_IN_PROGRESS;
    while (n->call.async_error(communicator, &error) == NCCL_SUCCESS && error == NCCL_IN_PROGRESS &&
           sinter_exchange_clock() < end)
        nanosleep(&pause, NULL);
    return error == NCCL_SUCCESS;
}

void sinter_nccl_destroy(sinter_nccl *n) {
    if (!n) return;
    const sinter_device_driver *driver = driver_of(n);
    const double end_of_patience = sinter_exchange_clock() + n->seconds;
    sinter_status_destroy(driver->enter(n->device));
    for (size_t i = 0; i < n->meeting_count; i++) n->call.finalize(n->meetings[i].communicator);
    for (size_t i = 0; i < n->meeting_count; i++)
        if (is_final(n, n->meetings[i].communicator, end_of_patience))
            n->call.destroy(n->meetings[i].communicator);
        else
            n->call.abort(n->meetings[i].communicator);
    sinter_status_destroy(driver->leave(n->device));
    forget_meetings(n);
    for (size_t i = 0; i < TURNS; i++) {
        sinter_status_destroy(driver->event_destroy(n->turns[i].reached));
        sinter_status_destroy(driver->event_destroy(n->turns[i].done));
    }
    sinter_status_destroy(driver->event_destroy(n->last));
    sinter_status_destroy(driver->stream_destroy(n->stream));
    sinter_device_delete(n->device, n, sizeof *n);
}

sinter_status *sinter_nccl_create(sinter_device *device, const sinter_exchange_mesh *mesh,
                                  int64_t rank, double seconds, bool any_order,
                                  sinter_nccl **out_nccl) {
    sinter_nccl *n = sinter_device_new(device, sizeof *n);
    *out_nccl = NULL;
    if (!n) return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a rank");
    *n = (sinter_nccl){
        .device = device, .mesh = *mesh, .rank = rank, .seconds = seconds, .any_order = any_order};
    sinter_status *status = sinter_nccl_open_library(&n->call);
    if (!status) status = device->driver->stream_create(device, &n->stream);
    if (!status) status = device->driver->event_create(device, &n->last);
    if (status)
        sinter_nccl_destroy(n);
    else
        *out_nccl = n;
    return status;
}
