/* Messages by way of MPI: the plug-in libsinter_mpi.so, built against Open MPI, and, as libsinter_smpi.so, against SimGrid's SMPI
 * (SINTER_SIMULATED), where ranks are contexts of one process and take turns when they wait; with SINTER_SIMULATION, a file of
 * runtime/jit/simulation.h, the work between exchanges takes its time. No state but what open returns and, simulated, the end of
 * a run. Needs MPI 3. Test: tests/suites/mpi.py, tests/suites/long/mpi_*.py */
#include "runtime/transport.h"

#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { CHUNK = 1 << 30 }; /* MPI counts with int */

typedef struct request {
    MPI_Request handle;
    int64_t peer;
    int tag;
    int expected; /* bytes that are received; -1: sent */
} request;

typedef struct note {
    struct note *next;
    MPI_Request handle;
    char data[SINTER_TRANSPORT_NOTE_BYTES];
} note;

/* Of a run in simulated time: so many seconds, then an exchange begins, or several, each after as many; or one ends that was under way; or nothing
 * where a kernel ran beside exchanges. */
typedef enum work_kind { WORK_EXCHANGE, WORK_WAIT, WORK_KERNEL, WORK_END } work_kind;
typedef struct work {
    work_kind kind;
    double seconds;
    int64_t count; /* EXCHANGE: calls; WAIT: number of the exchange of the run */
} work;

typedef struct mpi {
    sinter_transport table; /* first */
    request *requests;
    size_t count, room;
    double seconds;   /* that others may take to come to what can't be polled */
    MPI_Comm *groups; /* for sums */
    int group_count;
    note *notes; /* under way */
    work *work;  /* simulated: what a run does; NULL: none */
    size_t work_count, at;
    int64_t calls;  /* of the work at hand, so far */
    int64_t passed; /* exchanges of the run that began in what was done so far */
    double start;   /* of the run */
    char name[MPI_MAX_LIBRARY_VERSION_STRING];
    char why[MPI_MAX_ERROR_STRING + 80];
} mpi;

static int fail(mpi *m, const char *what, int code) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    MPI_Error_string(code, text, &length);
    snprintf(m->why, sizeof m->why, "%s: %s", what, text);
    return -1;
}

/* ---- messages ---- */

static request *new_request(mpi *m) {
    if (m->count == m->room) {
        size_t room = m->room ? 2 * m->room : 16;
        request *more = realloc(m->requests, room * sizeof *more);
        if (!more) {
            snprintf(m->why, sizeof m->why, "no memory for another message");
            return NULL;
        }
        m->requests = more;
        m->room = room;
    }
    return &m->requests[m->count];
}

/* In pieces that an int counts. */
static int begin(mpi *m, int64_t peer, int tag, void *data, uint64_t bytes, int is_receive) {
    uint64_t at = 0;
    do {
        request *r = new_request(m);
        int size = bytes - at < CHUNK ? (int)(bytes - at) : CHUNK;
        if (!r) return -1;
        int code = is_receive ? MPI_Irecv((char *)data + at, size, MPI_BYTE, (int)peer, tag,
                                          MPI_COMM_WORLD, &r->handle)
                              : MPI_Isend((char *)data + at, size, MPI_BYTE, (int)peer, tag,
                                          MPI_COMM_WORLD, &r->handle);
        if (code != MPI_SUCCESS) return fail(m, is_receive ? "MPI_Irecv" : "MPI_Isend", code);
        r->peer = peer;
        r->tag = tag;
        r->expected = is_receive ? size : -1;
        m->count++;
        at += (uint64_t)size;
    } while (at < bytes);
    return 1;
}

static int begin_send(sinter_transport *t, int64_t to, int tag, const void *data, uint64_t bytes) {
    void *kept;
    memcpy(&kept, &data, sizeof kept); /* MPI 2 has no const */
    return begin((mpi *)t, to, tag, kept, bytes, 0);
}

static int begin_receive(sinter_transport *t, int64_t from, int tag, void *data, uint64_t bytes) {
    return begin((mpi *)t, from, tag, data, bytes, 1);
}

#ifdef SINTER_SIMULATED
enum { IS_SIMULATED = 1 };
#else
enum { IS_SIMULATED = 0 };
#endif

/* Of one that is done: 1, or -1 where it is not as it has to be. */
static int check_done(mpi *m, const request *r, int code, const MPI_Status *status) {
    int size = 0;
    if (code != MPI_SUCCESS) {
        fail(m, "message", code);
        size_t length = strlen(m->why);
        snprintf(m->why + length, sizeof m->why - length, " (rank %lld)", (long long)r->peer);
        return -1;
    }
    if (r->expected < 0) return 1;
    MPI_Get_count(status, MPI_BYTE, &size);
    if (size == r->expected) return 1;
    snprintf(m->why, sizeof m->why, "rank %lld sent %d bytes, expected %d: it runs another program",
             (long long)r->peer, size, r->expected);
    return -1;
}

/* Whether it is done: 1, 0, -1. */
static int test_one(mpi *m, request *r, int waits) {
    MPI_Status status;
    int is_done = 1;
    int code = waits ? MPI_Wait(&r->handle, &status) : MPI_Test(&r->handle, &is_done, &status);
    return code == MPI_SUCCESS && !is_done ? 0 : check_done(m, r, code, &status);
}

/* Until one of all messages is done, whatever exchange it is of, as a rank sees it that looks at them again and again: 0, -1. */
static int wait_for_any(mpi *m) {
    MPI_Status status;
    int at = 0;
    MPI_Request *handles = malloc(m->count * sizeof *handles);
    if (!handles) {
        snprintf(m->why, sizeof m->why, "no memory for a list of messages");
        return -1;
    }
    for (size_t i = 0; i < m->count; i++) handles[i] = m->requests[i].handle;
    const int code = MPI_Waitany((int)m->count, handles, &at, &status);
    free(handles);
    if (at < 0 || (size_t)at >= m->count) return fail(m, "MPI_Waitany", code);
    const int done = check_done(m, &m->requests[at], code, &status);
    m->requests[at] = m->requests[--m->count];
    return done < 0 ? -1 : 0;
}

/* Whoever is looked for first is a rank that has to give, as that one is missed rather than one that does not take. A look ends at the first
 * message that is not done: with many ranks and exchanges under way most looks find nothing. */
static int test(sinter_transport *t, int tag, int waits, int64_t *out_late) {
    mpi *m = (mpi *)t;
    for (int sent = 0; sent < 2; sent++) {
        for (size_t i = 0; i < m->count;) {
            request *r = &m->requests[i];
            if (r->tag != tag || (r->expected < 0) != sent) {
                i++;
                continue;
            }
            const int passes_time = waits && IS_SIMULATED;
            int done = test_one(m, r, passes_time && !t->pass);
            if (done < 0) return -1;
            if (!done) {
                *out_late = r->peer;
                return passes_time ? wait_for_any(m) : 0;
            }
            *r = m->requests[--m->count];
        }
    }
    *out_late = -1;
    return 1;
}

/* ---- sums ---- */

#ifndef SINTER_SIMULATED
/* MPI_Init and the making of a group can't be polled: they return when all processes have come. */
static const char *volatile missed;

static void give_up(int number) {
    (void)number;
    if (write(STDERR_FILENO, missed, strlen(missed)) >= 0) _exit(2);
    _exit(2);
}

/* Until it is lifted: after so many seconds the process ends with the text. */
static struct sigaction set_limit(double seconds, const char *text) {
    struct sigaction act = {.sa_handler = give_up}, before;
    const time_t whole = (time_t)seconds;
    struct itimerval limit = {.it_value = {whole, (suseconds_t)((seconds - (double)whole) * 1e6)}};
    if (!whole && !limit.it_value.tv_usec) limit.it_value.tv_usec = 1; /* 0 would be none */
    missed = text;
    sigaction(SIGALRM, &act, &before);
    setitimer(ITIMER_REAL, &limit, NULL);
    return before;
}

static void lift_limit(const struct sigaction *before) {
    struct itimerval none = {0};
    setitimer(ITIMER_REAL, &none, NULL);
    sigaction(SIGALRM, before, NULL);
}

static int make_group(mpi *m, const int *members, int count) {
    MPI_Group all = MPI_GROUP_NULL, some;
    MPI_Comm *group = &m->groups[m->group_count];
    struct sigaction before = set_limit(m->seconds, "sinter: error: MPI_Comm_create_group: another "
                                                    "process of this job can't be reached\n");
    int code = MPI_Comm_group(MPI_COMM_WORLD, &all);
    if (code == MPI_SUCCESS) code = MPI_Group_incl(all, count, members, &some);
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_create_group(MPI_COMM_WORLD, some, 0, group);
        MPI_Group_free(&some);
    }
    if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(*group, MPI_ERRORS_RETURN);
    lift_limit(&before);
    if (all != MPI_GROUP_NULL) MPI_Group_free(&all);
    if (code != MPI_SUCCESS) return fail(m, "MPI_Comm_create_group", code);
    m->group_count++;
    return 1;
}

static int join_group(sinter_transport *t, const int64_t *members, int64_t count, int *out_group) {
    mpi *m = (mpi *)t;
    MPI_Comm *more = realloc(m->groups, ((size_t)m->group_count + 1) * sizeof *more);
    int *ranks = malloc((size_t)count * sizeof *ranks), result = -1;
    if (more) m->groups = more;
    for (int64_t i = 0; ranks && i < count; i++) ranks[i] = (int)members[i];
    if (more && ranks)
        result = make_group(m, ranks, (int)count);
    else
        snprintf(m->why, sizeof m->why, "no memory for a group of %lld processes",
                 (long long)count);
    free(ranks);
    *out_group = m->group_count - 1;
    return result;
}

/* Whom a sum waits for MPI does not tell: each says it is the next of the group, so that asking around comes by the one that is missing. */
static int64_t next_of(MPI_Comm group) {
    MPI_Group some, all;
    int place = 0, count = 1, next = 0, rank = 0;
    MPI_Comm_rank(group, &place);
    MPI_Comm_size(group, &count);
    next = (place + 1) % count;
    MPI_Comm_group(group, &some);
    MPI_Comm_group(MPI_COMM_WORLD, &all);
    MPI_Group_translate_ranks(some, 1, &next, all, &rank);
    MPI_Group_free(&some);
    MPI_Group_free(&all);
    return rank;
}

static int begin_sum(sinter_transport *t, const sinter_transport_sum *sum) {
    mpi *m = (mpi *)t;
    MPI_Comm group = m->groups[sum->group];
    MPI_Datatype type = sum->is_double ? MPI_DOUBLE : MPI_FLOAT;
    MPI_Op op = sum->is_product ? MPI_PROD : MPI_SUM;
    int count = 1, code;
    if (sum->count > INT_MAX) return 0;
    MPI_Comm_size(group, &count);
    request *r = new_request(m);
    if (!r) return -1;
    if (sum->is_scattered)
        code = MPI_Ireduce_scatter_block(sum->source, sum->target, (int)sum->count / count, type,
                                         op, group, &r->handle);
    else
        code =
            MPI_Iallreduce(sum->source, sum->target, (int)sum->count, type, op, group, &r->handle);
    if (code != MPI_SUCCESS) return fail(m, "sum", code);
    r->peer = next_of(group);
    r->tag = sum->tag;
    r->expected = -1;
    m->count++;
    return 1;
}
#endif

/* ---- notes ---- */

static int reap_notes(mpi *m) {
    note **link = &m->notes;
    while (*link) {
        note *n = *link;
        int is_done = 0;
        int code = MPI_Test(&n->handle, &is_done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) return fail(m, "note", code);
        if (!is_done) {
            link = &n->next;
            continue;
        }
        *link = n->next;
        free(n);
    }
    return 1;
}

static int post(sinter_transport *t, int64_t to, int tag, const void *data, uint64_t bytes) {
    mpi *m = (mpi *)t;
    note *n = bytes <= sizeof n->data ? calloc(1, sizeof *n) : NULL;
    if (!n) {
        snprintf(m->why, sizeof m->why, "no memory for a note of %llu bytes",
                 (unsigned long long)bytes);
        return -1;
    }
    memcpy(n->data, data, bytes);
    int code = MPI_Isend(n->data, (int)bytes, MPI_BYTE, (int)to, tag, MPI_COMM_WORLD, &n->handle);
    if (code != MPI_SUCCESS) {
        free(n);
        return fail(m, "MPI_Isend", code);
    }
    n->next = m->notes;
    m->notes = n;
    return reap_notes(m);
}

static int take(sinter_transport *t, int tag, int64_t *out_from, void *data, uint64_t bytes) {
    mpi *m = (mpi *)t;
    MPI_Status status;
    int is_there = 0;
    int code = MPI_Iprobe(MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &is_there, &status);
    if (code != MPI_SUCCESS) return fail(m, "MPI_Iprobe", code);
    if (!is_there) return 0;
    *out_from = status.MPI_SOURCE;
    code = MPI_Recv(data, (int)bytes, MPI_BYTE, status.MPI_SOURCE, tag, MPI_COMM_WORLD,
                    MPI_STATUS_IGNORE);
    return code == MPI_SUCCESS ? 1 : fail(m, "MPI_Recv", code);
}

/* ---- simulated time ---- */

#ifdef SINTER_SIMULATED
static const double HOST_SPEED = 1e9; /* operations a second, as the platform says */
static const char *const work_names[] = {"exchange", "wait", "kernel", "end"};

/* False: the file can't be read, or is none. */
static int read_work(mpi *m, const char *path) {
    FILE *file = fopen(path, "r");
    double seconds;
    int is_good = file && fscanf(file, "predicted %lf ", &seconds) == 1, is_end = 0;
    while (is_good && !is_end) {
        char word[16];
        long long count;
        int kind = 0;
        work *more = realloc(m->work, (m->work_count + 1) * sizeof *more);
        if (more) m->work = more;
        is_good = more && fscanf(file, "%15s %lf %lld", word, &seconds, &count) == 3 &&
                  seconds >= 0 && count >= 0;
        while (is_good && kind <= WORK_END && strcmp(word, work_names[kind]) != 0) kind++;
        is_good = is_good && kind <= WORK_END && (count > 0 || kind == WORK_WAIT);
        if (!is_good) break;
        m->work[m->work_count++] = (work){(work_kind)kind, seconds, count};
        is_end = kind == WORK_END;
    }
    if (file) fclose(file);
    return is_good;
}

/* Of a run, over all ranks, which are contexts of this process and take turns. */
static int64_t ended;
static double longest;

/* All ranks start at one time, the next full thousand of seconds; what came before took much less. No message is sent for that. */
static int start_together(mpi *m) {
    enum { APART = 1000 };
    double now = MPI_Wtime();
    m->start = (double)(((long long)now / APART + 1) * APART);
    smpi_execute_flops((m->start - now) * HOST_SPEED);
    m->start = MPI_Wtime();
    return 1;
}

/* The last one says how long it took. */
static int end_together(mpi *m) {
    double taken = MPI_Wtime() - m->start;
    longest = taken > longest ? taken : longest;
    if (++ended < m->table.rank_count) return 1;
    fprintf(stderr, "sinter: simulated run: %.9g s\n", longest);
    ended = 0;
    longest = 0;
    return 1;
}

/* Whether the place is in what is left. */
static int is_ahead(const mpi *m, int64_t place) {
    if (place >= 0) return place >= m->passed;
    if (place == SINTER_TRANSPORT_END) return 1;
    for (size_t i = m->at; i < m->work_count; i++)
        if (m->work[i].kind == WORK_WAIT && place == SINTER_TRANSPORT_ENDED - m->work[i].count)
            return 1;
    return 0;
}

/* Entries of a file of runtime/jit/simulation.h, which is of one rank; those whose program is another one, as at the border of an image, may have other
 * exchanges under way and kernels between. So a call takes what there is up to the exchange, or its end, that it is for: nothing where that came before, and
 * nothing up to an end that there is none of. 1, 0 where there is more, -1. */
static int pass_entry(mpi *m, int64_t place) {
    const work *next = &m->work[m->at];
    int is_last = next->kind == WORK_END;
    if (is_last != (place == SINTER_TRANSPORT_END) && (is_last || next->kind == WORK_EXCHANGE)) {
        snprintf(m->why, sizeof m->why,
                 "the simulation knows of other exchanges than the program has");
        return -1;
    }
    if (next->seconds > 0) smpi_execute_flops(next->seconds * HOST_SPEED);
    m->passed += next->kind == WORK_EXCHANGE;
    if (next->kind != WORK_EXCHANGE || ++m->calls == next->count) {
        m->at++;
        m->calls = 0;
    }
    switch (next->kind) {
    case WORK_EXCHANGE:
        return place >= 0 && place < m->passed;
    case WORK_WAIT:
        return place == SINTER_TRANSPORT_ENDED - next->count;
    case WORK_KERNEL:
        return 0;
    default:
        return end_together(m);
    }
}

static int pass(sinter_transport *t, int64_t place) {
    mpi *m = (mpi *)t;
    if (place != SINTER_TRANSPORT_START) return is_ahead(m, place) ? pass_entry(m, place) : 1;
    m->at = 0;
    m->calls = m->passed = 0;
    return start_together(m);
}
#endif

/* ---- life ---- */

static const char *why(const sinter_transport *t) {
    return ((const mpi *)t)->why;
}

static void close_job(sinter_transport *t, int failed) {
    mpi *m = (mpi *)t;
    if (failed) return; /* what is under way stays under way */
    reap_notes(m);
    MPI_Finalize();
    free(m->requests);
    free(m->groups);
    free(m->work);
    free(m);
}

#ifndef SINTER_SIMULATED
static int start(double seconds) {
    struct sigaction before =
        set_limit(seconds, "sinter: error: MPI_Init: another process of this job did not start "
                           "in time, or can't be reached\n");
    int code = MPI_Init(NULL, NULL);
    lift_limit(&before);
    return code;
}
#else
static int start(double seconds) {
    (void)seconds;
    return MPI_Init(NULL, NULL);
}
#endif

__attribute__((visibility("default"))) sinter_transport *
sinter_transport_open(double seconds, char *message, size_t message_size);

sinter_transport *sinter_transport_open(double seconds, char *message, size_t message_size) {
    int is_there = 0, rank = 0, count = 0, length = 0;
    MPI_Initialized(&is_there);
    if (is_there) {
        snprintf(message, message_size, "MPI is in use by this process already");
        return NULL;
    }
    mpi *m = calloc(1, sizeof *m);
    if (!m || start(seconds) != MPI_SUCCESS) {
        snprintf(message, message_size, m ? "MPI_Init failed" : "no memory");
        free(m);
        return NULL;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    MPI_Get_library_version(m->name, &length);
    m->name[strcspn(m->name, ",\n")] = 0;
    m->table = (sinter_transport){.size = sizeof m->table,
                                  .version = SINTER_TRANSPORT_VERSION,
                                  .name = m->name,
                                  .rank = rank,
                                  .rank_count = count,
                                  .send = begin_send,
                                  .receive = begin_receive,
                                  .test = test,
                                  .post = post,
                                  .take = take,
                                  .why = why,
                                  .close = close_job};
    m->seconds = seconds;
#ifndef SINTER_SIMULATED
    m->table.join = join_group;
    m->table.sum = begin_sum;
#else /* what predicts the time knows our exchanges only */
    const char *work = getenv("SINTER_SIMULATION");
    if (work && !read_work(m, work)) {
        snprintf(message, message_size, "SINTER_SIMULATION=%.150s: no times of a simulation", work);
        close_job(&m->table, 1);
        return NULL;
    }
    if (work) m->table.pass = pass;
#endif
    return &m->table;
}
