/* A job of processes: opening, waiting, and who is to blame where one does not come. Test: tests/suites/mpi.py */
#include "runtime/job_internal.h"
#include "runtime/status.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TAG_MESSAGE = 1, TAG_QUERY = 2, TAG_ANSWER = 3 };
enum { LOOKS = 64, PAUSE_MICROSECONDS = 50 };
static const double SPIN_SECONDS = 2e-3, ANSWER_SECONDS = 1.5;

/* ---- waiting ---- */

static void pause_for(long microseconds) {
    const struct timespec time = {.tv_nsec = 1000 * microseconds};
    nanosleep(&time, NULL);
}

bool sinter_job_transport_failed(sinter_job *job) {
    snprintf(job->why, sizeof job->why, "%s: %s", job->transport->name,
             job->transport->why(job->transport));
    return false;
}

/* Others ask whom this rank waits for. */
static bool answer(sinter_job *job, int64_t late) {
    sinter_transport *t = job->transport;
    int64_t from, query;
    int there;
    while ((there = t->take(t, TAG_QUERY, &from, &query, sizeof query)) > 0) {
        const int64_t words[] = {query, late};
        if (t->post(t, from, TAG_ANSWER, words, sizeof words) < 0)
            return sinter_job_transport_failed(job);
    }
    return there == 0 || sinter_job_transport_failed(job);
}

enum { NOBODY = -1, SILENT = -2 };

/* Whom the rank waits for; NOBODY: it does not know of any; SILENT: it does not answer. False after an error. */
static bool ask(sinter_job *job, int64_t whom, int64_t query, int64_t late, int64_t *out_late) {
    sinter_transport *t = job->transport;
    double end = sinter_exchange_clock() + ANSWER_SECONDS;
    *out_late = SILENT;
    if (t->post(t, whom, TAG_QUERY, &query, sizeof query) < 0)
        return sinter_job_transport_failed(job);
    while (sinter_exchange_clock() < end) {
        int64_t from, words[2];
        int there = t->take(t, TAG_ANSWER, &from, words, sizeof words);
        if (there < 0) return sinter_job_transport_failed(job);
        if (there && from == whom && words[0] == query) {
            *out_late = words[1];
            return true;
        }
        if (!answer(job, late)) return false;
        pause_for(PAUSE_MICROSECONDS);
    }
    return true;
}

/* The question came back here. In a sum that the transport makes nobody knows who is missed, and some may be past it already and wait for those who
 * are not: then it is one that does not answer. Otherwise all are there, and wait for each other. */
static bool blame_silent(sinter_job *job, int64_t last, int64_t late) {
    const int64_t ranks = job->transport->rank_count;
    for (int64_t rank = 0; rank < ranks; rank++) {
        int64_t next = NOBODY;
        if (rank == job->transport->rank) continue;
        if (!ask(job, rank, ranks + rank, late, &next)) return false;
        if (next != SILENT) continue;
        snprintf(job->why, sizeof job->why, "rank %lld did not come within %g seconds",
                 (long long)rank, job->seconds);
        return false;
    }
    snprintf(job->why, sizeof job->why, "rank %lld waits for this one: they run different programs",
             (long long)last);
    return false;
}

/* From the rank that is missed here to the one that all wait for. */
static bool blame(sinter_job *job, int64_t late) {
    int64_t culprit = late, next = NOBODY;
    for (int64_t hop = 0; hop < job->transport->rank_count; hop++) {
        if (!ask(job, culprit, hop, late, &next)) return false;
        if (next < 0) break;
        if (next == job->transport->rank) return blame_silent(job, culprit, late);
        culprit = next;
    }
    snprintf(job->why, sizeof job->why, "rank %lld did not come within %g seconds",
             (long long)culprit, job->seconds);
    return false;
}

bool sinter_job_wait(sinter_job *job, sinter_job_look *look, void *user) {
    double start = sinter_exchange_clock();
    uint64_t rounds = job->rounds;
    for (uint64_t looks = 1;; looks++) {
        int64_t late = -1;
        int done = look(user, &late);
        if (done) return done > 0;
        if (job->transport->pass) continue; /* time is simulated, and passed in the look */
        if (rounds != job->rounds) {
            rounds = job->rounds;
            start = sinter_exchange_clock();
            continue;
        }
        double waited = sinter_exchange_clock() - start;
        if (waited > SPIN_SECONDS)
            pause_for(PAUSE_MICROSECONDS);
        else
            sched_yield();
        if (waited > job->seconds) return blame(job, late);
        if (waited > SPIN_SECONDS && looks % LOOKS == 0 && !answer(job, late)) return false;
    }
}

/* ---- waiting for devices ---- */

/* Devices exchange, and don't say who is missed: it is one that does not answer, or that waits for nobody. Those that have come answer with
 * themselves. */
static bool blame_beside(sinter_job *job) {
    const int64_t own = job->transport->rank, end = job->first + job->mesh.rank_count;
    int64_t culprit = NOBODY;
    for (int64_t rank = job->first; rank < end; rank++) {
        int64_t next = NOBODY;
        if (rank == own) continue;
        if (!ask(job, rank, 2 * job->transport->rank_count + rank, own, &next)) return false;
        if (next == SILENT || (next == NOBODY && culprit == NOBODY)) culprit = rank;
        if (next == SILENT) break;
    }
    if (culprit != NOBODY)
        snprintf(job->why, sizeof job->why, "rank %lld did not come within %g seconds",
                 (long long)culprit, job->seconds);
    else
        snprintf(job->why, sizeof job->why,
                 "all ranks came, but their devices did not end it within %g seconds",
                 job->seconds);
    return false;
}

static bool wait_beside(void *user, sinter_peers_look *look, void *look_user, char *why,
                        size_t size) {
    sinter_job *job = user;
    const double begun = sinter_exchange_clock();
    double since = begun;
    for (uint64_t looks = 1;; looks++) {
        const sinter_peers_sight sight = look(look_user);
        if (sight == SINTER_PEERS_DONE || sight == SINTER_PEERS_FAILED)
            return sight == SINTER_PEERS_DONE;
        const bool waits = sight == SINTER_PEERS_WAITS;
        const double now = sinter_exchange_clock();
        bool good = true;
        if (!waits) since = now;
        if (now - begun > SPIN_SECONDS)
            pause_for(PAUSE_MICROSECONDS);
        else
            sched_yield();
        if (now - since > job->seconds) good = blame_beside(job);
        if (good && now - begun > SPIN_SECONDS && looks % LOOKS == 0)
            good = answer(job, waits ? job->transport->rank : NOBODY);
        if (good) continue;
        snprintf(why, size, "%s", job->why);
        return false;
    }
}

void sinter_job_peers(sinter_job *job, sinter_peers *out_peers) {
    *out_peers = (sinter_peers){.user = job, .wait = wait_beside};
}

/* ---- messages ---- */

static sinter_status *why(const sinter_job *job) {
    return SINTER_FAIL(SINTER_STATUS_FAILED, "rank %lld: %s", (long long)job->transport->rank,
                       job->why);
}

sinter_status *sinter_job_send(sinter_job *job, int64_t to, const void *data, uint64_t bytes) {
    sinter_transport *t = job->transport;
    if (t->send(t, to, TAG_MESSAGE, data, bytes) > 0) return NULL;
    sinter_job_transport_failed(job);
    return why(job);
}

sinter_status *sinter_job_receive(sinter_job *job, int64_t from, void *data, uint64_t bytes) {
    sinter_transport *t = job->transport;
    if (t->receive(t, from, TAG_MESSAGE, data, bytes) > 0) return NULL;
    sinter_job_transport_failed(job);
    return why(job);
}

static int look_for_messages(void *user, int64_t *out_late) {
    sinter_job *job = user;
    int done = job->transport->test(job->transport, TAG_MESSAGE, true, out_late);
    if (done < 0) sinter_job_transport_failed(job);
    return done;
}

sinter_status *sinter_job_finish(sinter_job *job, const char *what) {
    if (sinter_job_wait(job, look_for_messages, job)) return NULL;
    return SINTER_FAIL(SINTER_STATUS_FAILED, "rank %lld: %s: %s", (long long)job->transport->rank,
                       what, job->why);
}

/* ---- simulated time ---- */

bool sinter_job_pass(sinter_job *job, int64_t place) {
    sinter_transport *t = job->transport;
    int there = t->pass ? t->pass(t, place) : 1;
    for (; !there; there = t->pass(t, place)) /* between kernels, as in a run */
        if (!sinter_job_advance_all(job)) return false;
    return there > 0 || sinter_job_transport_failed(job);
}

sinter_status *sinter_job_start_run(sinter_job *job) {
    job->before_run = job->begun;
    return sinter_job_pass(job, SINTER_TRANSPORT_START) ? NULL : why(job);
}

sinter_status *sinter_job_end_run(sinter_job *job) {
    return sinter_job_pass(job, SINTER_TRANSPORT_END) ? NULL : why(job);
}

/* ---- life ---- */

bool sinter_job_is_one(void) {
    static const char *const signs[] = {"SINTER_TRANSPORT", "OMPI_COMM_WORLD_SIZE"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (getenv(signs[i])) return true;
    return false;
}

int64_t sinter_job_process_count(void) {
    const char *text = getenv("OMPI_COMM_WORLD_SIZE");
    const long long count = text ? strtoll(text, NULL, 10) : 0;
    return count > 0 ? count : 0;
}

int64_t sinter_job_local_rank(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                        "SLURM_LOCALID"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        const long number = text ? strtol(text, NULL, 10) : -1;
        if (number >= 0) return number;
    }
    return 0;
}

/* The plug-in that SINTER_TRANSPORT names, else the one beside the libraries of the program. */
static sinter_status *open_transport(sinter_job *job) {
    const char *name = getenv("SINTER_TRANSPORT");
    sinter_transport_open_function *open = NULL;
    char message[256] = "";
    if (!name) name = "libsinter_mpi.so";
    /* What it is built on loads parts of its own, which look for its symbols among those of the process. */
    job->library = dlopen(name, RTLD_NOW | RTLD_GLOBAL);
    if (!job->library)
        return SINTER_FAIL(
            SINTER_STATUS_NO_DEVICE,
            "this process is one of several, and what they would send messages by is "
            "not there: %s",
            dlerror());
    void *symbol = dlsym(job->library, SINTER_TRANSPORT_SYMBOL);
    memcpy(&open, &symbol, sizeof open); /* ISO C has no cast from object to function pointer */
    if (open) job->transport = open(job->seconds, message, sizeof message);
    if (!job->transport)
        return SINTER_FAIL(SINTER_STATUS_FAILED, "%s: %s", name,
                           open ? message : "has no " SINTER_TRANSPORT_SYMBOL);
    if (job->transport->version != SINTER_TRANSPORT_VERSION)
        return SINTER_FAIL(SINTER_STATUS_FAILED, "%s: version %u, expected %d", name,
                           job->transport->version, SINTER_TRANSPORT_VERSION);
    return NULL;
}

sinter_status *sinter_job_open(const char *name, double seconds, sinter_job **out_job) {
    *out_job = NULL;
    sinter_job *job = calloc(1, sizeof *job);
    if (job) job->name = strdup(name);
    if (!job || !job->name) {
        free(job);
        return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "no memory for a job of processes");
    }
    job->seconds = seconds;
    sinter_status *status = open_transport(job);
    if (status) {
        sinter_job_close(job, job->transport != NULL);
        return status;
    }
    job->services = (sinter_abi_services){.size = sizeof job->services,
                                          .thread_count = 1,
                                          .user = job,
                                          .trace = sinter_job_trace,
                                          .exchange = sinter_job_exchange};
    *out_job = job;
    return NULL;
}

void sinter_job_close(sinter_job *job, bool failed) {
    if (!job) return;
    if (job->transport) job->transport->close(job->transport, failed);
    free(job->name);
    sinter_job_release(job);
    free(job); /* the library stays: what it is built on can't be started twice in a process */
}

const char *sinter_job_name(const sinter_job *job) {
    return job->name;
}

int64_t sinter_job_rank(const sinter_job *job) {
    return job->transport->rank;
}

int64_t sinter_job_rank_count(const sinter_job *job) {
    return job->transport->rank_count;
}

sinter_status *sinter_job_set_mesh(sinter_job *job, const int64_t *axis_sizes, uint32_t axis_count,
                                   int64_t groups) {
    sinter_status *status = sinter_exchange_mesh_init(&job->mesh, axis_sizes, axis_count);
    if (status) return status;
    int64_t ranks = job->mesh.rank_count, all = ranks * groups;
    job->first = job->transport->rank / ranks * ranks;
    if (all == job->transport->rank_count) return NULL;
    if (groups == 1)
        return SINTER_FAIL(
            SINTER_STATUS_BAD_INPUT,
            "the mesh has %lld ranks, the job %lld processes: start as many as there are "
            "ranks (mpirun -n %lld)",
            (long long)ranks, (long long)job->transport->rank_count, (long long)ranks);
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                       "the pipeline has %lld stages of %lld ranks each, the job %lld processes: "
                       "start one for each of them (mpirun -n %lld)",
                       (long long)groups, (long long)ranks, (long long)job->transport->rank_count,
                       (long long)all);
}

void sinter_job_allow_any_order(sinter_job *job) {
    job->any_order = true;
}

bool sinter_job_allows_any_order(const sinter_job *job) {
    return job->any_order;
}

const sinter_abi_services *sinter_job_services(const sinter_job *job) {
    return &job->services;
}
