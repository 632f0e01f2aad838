/* Ranks of a mesh as processes: this one is a rank of a job that a starter such as mpirun made. Messages come from a plug-in
 * (transport.h), which is opened when a job is. Exchanges of programs of ranks, and messages beside them.
 *
 * A rank that does not come within the deadline is named: whoever misses one asks it whom it misses itself, and so on, until one does
 * not answer. Sums are those of runtime/exchange.h, to the bit, but where any order is allowed. No thread: deadlines are looked at where a rank waits.
 * Test: tests/suites/mpi.py */
#pragma once
#include "runtime/peers.h"
#include "runtime/sinter_runtime.h"

typedef struct sinter_job sinter_job;
/* Whether this process is one of several, by what its starter put into its environment. */
bool sinter_job_is_one(void);
/* How many processes it started, by what it put there; 0 where that is not known. */
int64_t sinter_job_process_count(void);
/* Which of the processes on this machine it is, from 0 on, by what its starter put there; 0 where that is not known. */
int64_t sinter_job_local_rank(void);
/* name: of what the ranks run, for messages; copied. seconds: how long to wait for others, here and later. SINTER_STATUS_NO_DEVICE where there is no plug-in. */
sinter_status *sinter_job_open(const char *name, double seconds, sinter_job **out_job);
/* failed: without a word to the others, whom mpirun ends as soon as this process ends with a status that is not 0; memory of messages
 * that are under way stays the transport's. NULL allowed. */
void sinter_job_close(sinter_job *job, bool failed);
const char *sinter_job_name(const sinter_job *job);
int64_t sinter_job_rank(const sinter_job *job);
int64_t sinter_job_rank_count(const sinter_job *job);
/* Of the programs of its ranks. The processes are `groups` meshes, one after the other in their order, each with exchanges of its own: the
 * rank of a process in its mesh is what remains of its number. BAD_INPUT where the job has not as many processes. */
sinter_status *sinter_job_set_mesh(sinter_job *job, const int64_t *axis_sizes, uint32_t axis_count, int64_t groups);
/* Sums whose digits depend on it (runtime/exchange.h) may be made by the transport, in an order of its own, where it can; in all processes of the job or in none. */
void sinter_job_allow_any_order(sinter_job *job);
bool sinter_job_allows_any_order(const sinter_job *job);
/* For one run of this rank's program at a time: one thread, malloc, no trace. Valid as long as the job. */
const sinter_abi_services *sinter_job_services(const sinter_job *job);

/* How this rank waits for its device, beside the others; as long as the job. */
void sinter_job_peers(sinter_job *job, sinter_peers *out_peers);

/* Around a run of the program, where time may be simulated: all ranks start at one time, and the first one says how long it took. */
sinter_status *sinter_job_start_run(sinter_job *job);
sinter_status *sinter_job_end_run(sinter_job *job);

/* Messages beside those of exchanges: begun, and done when finish returns; in the order of their calls between two ranks, and of the
 * size that the other side says. what: for messages, "the inputs". */
sinter_status *sinter_job_send(sinter_job *job, int64_t to, const void *data, uint64_t bytes);
sinter_status *sinter_job_receive(sinter_job *job, int64_t from, void *data, uint64_t bytes);
sinter_status *sinter_job_finish(sinter_job *job, const char *what);
