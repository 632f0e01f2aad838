/* What runtime/job.c and runtime/job_exchange.c share. */
#pragma once
#include "runtime/exchange.h"
#include "runtime/job.h"
#include "runtime/transport.h"

struct sinter_job {
    sinter_transport *transport;
    void *library;
    double seconds;
    sinter_exchange_mesh mesh;
    int64_t first; /* process that is rank 0 of the mesh that this one is in */
    sinter_abi_services services;
    char why[200]; /* the last thing that failed */
};

/* Until all that was begun is done: true. Otherwise why says who is to blame. */
bool sinter_job_wait(sinter_job *job);
/* services->exchange */
int32_t sinter_job_exchange(sinter_abi_call *call, const sinter_abi_exchange *words);
