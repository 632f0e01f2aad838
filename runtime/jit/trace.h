/* What native code does when: a listener around the services of its runs, and a time line of what was heard on all ranks of a run, which
 * viewers of the trace event format show (Perfetto, chrome://tracing). Test: tests/cli/trace.test, tests/suites/mpi.py */
#pragma once
#include "ir/base/diag.h"
#include "ir/base/text.h"
#include "ir/base/vector.h"
#include "runtime/abi.h"

/* ---- hearing ---- */

enum { SINTER_TRACE_EXCHANGES = 5 }; /* SINTER_ABI_EXCHANGE_NAMES; those in two calls come behind them, as what begins, then as what ends */
/* A kernel or an exchange between ranks that has ended; told on the thread of the run. */
typedef struct sinter_trace_step {
    bool is_exchange;
    uint32_t index;    /* of the artifact's kernels; of an exchange's name */
    uint64_t bytes;    /* that the rank gave to an exchange */
    double begin, end; /* of sinter_clock_seconds */
} sinter_trace_step;

typedef struct sinter_listener {
    void (*hear)(void *user, const sinter_trace_step *step);
    void *user;
} sinter_listener;

/* Services of one run that tell a listener, and are the ones before otherwise. */
typedef struct sinter_trace_services {
    sinter_abi_services own;
    const sinter_abi_services *before; /* NULL: none */
    const sinter_listener *listener;
    double begin; /* of the kernel */
} sinter_trace_services;
const sinter_abi_services *sinter_trace_wrap(sinter_trace_services *out_services, const sinter_abi_services *before,
                                             const sinter_listener *listener);

/* ---- keeping ---- */

/* Names are offsets in those of the lane. */
typedef struct sinter_trace_event {
    double begin, end;
    uint64_t bytes;
    uint32_t name, nodes;
    uint32_t is_exchange, reserved;
} sinter_trace_event;

enum { SINTER_TRACE_MOST_EVENTS = 1 << 18 };
/* One rank. Filled by one thread at a time. */
typedef struct sinter_trace_lane {
    sinter_arena arena;
    const char *name; /* "rank 3" */
    sinter_text names; /* each ends with 0 */
    SINTER_VECTOR(uint32_t) kernels, exchanges; /* offsets of their names; those of nodes come behind them */
    SINTER_VECTOR(sinter_trace_event) events; /* SINTER_TRACE_MOST_EVENTS at most */
    uint64_t dropped;                         /* those that came later */
    sinter_listener listener; /* adds an event */
} sinter_trace_lane;

typedef struct sinter_trace {
    sinter_arena arena;
    SINTER_VECTOR(sinter_trace_lane *) lanes;
} sinter_trace;

void sinter_trace_init(sinter_trace *trace);
void sinter_trace_deinit(sinter_trace *trace);
/* artifact: of which the rank runs kernels; NULL where it is another process, whose events are received. Lives as long as the trace. */
sinter_trace_lane *sinter_trace_add_lane(sinter_trace *trace, const char *name, const sinter_abi_artifact *artifact);
/* When the first event began; INFINITY without one. */
double sinter_trace_start(const sinter_trace *trace);
/* JSON in the trace event format, a lane a thread; microseconds from the first event on. */
void sinter_trace_print(const sinter_trace *trace, sinter_text *text);

/* ---- between the processes of a job ---- */

struct sinter_job;
/* By the process that has the lane, to the first one, which receives at the same time. Times become those of its clock, as well as messages
 * that are answered can tell. */
bool sinter_trace_send(struct sinter_job *job, const sinter_trace_lane *lane, sinter_diag *diag);
bool sinter_trace_receive(struct sinter_job *job, int64_t from, sinter_trace_lane *lane, sinter_diag *diag);
