/* What runtime/job.c and runtime/job_exchange.c share. */
#pragma once
#include "runtime/exchange.h"
#include "runtime/job.h"
#include "runtime/transport.h"

/* Groups of so many ranks exchange directly; sums of so few bytes are exchanged whole. Prices in ir/hardware.h know them too. */
enum { SINTER_JOB_DIRECT_RANKS = 8, SINTER_JOB_SHORT_BYTES = 16384 };

/* A group that the transport knows, by the axes of its exchanges. */
typedef struct sinter_job_group {
    uint64_t over;
    int number;
} sinter_job_group;

struct sinter_job {
    char *name;
    sinter_transport *transport;
    void *library;
    double seconds;
    sinter_exchange_mesh mesh;
    int64_t first; /* process that is rank 0 of the mesh that this one is in */
    bool any_order;
    sinter_job_group *joined;
    size_t joined_count;
    sinter_abi_services services;
    char why[200]; /* the last thing that failed */
};

/* Until all that was begun is done: true. Otherwise why says who is to blame. */
bool sinter_job_wait(sinter_job *job);
/* Where time is simulated: a run of the program has come to this place of sinter_transport.pass. False: why says what is wrong. */
bool sinter_job_pass(sinter_job *job, int64_t place);
/* services->exchange */
int32_t sinter_job_exchange(sinter_abi_call *call, const sinter_abi_exchange *words);
