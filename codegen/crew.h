/* Jobs of a compilation side by side. The caller works too, with as many threads beside it as there are jobs and cores for; what
 * they say is kept by job and told in the order of the jobs, so nothing that is seen depends on the number of threads.
 *
 * What jobs share is read only, or atomic. After the first that fails nobody begins another. Memory that runs out in a job is
 * told to the caller's guard (ir/base/heap.h), which then has everything that the jobs took. Test: tests/unit/crew_test.c */
#pragma once
#include "ir/base/diag.h"

#include <stddef.h>
#include <stdint.h>

typedef struct sinter_crew {
    size_t count;     /* of jobs */
    uint32_t threads; /* the caller's included; 0: one a core */
    /* Does the job; false after an error in diag. own: the thread's, of own_bytes, zeroed at first. */
    bool (*work)(void *user, size_t job, void *own, sinter_diag *diag);
    void (*release)(void *own); /* at a thread's end, what it has in there beside memory of ir/base/heap.h; NULL: nothing */
    /* Hears how many jobs are done, from one thread at a time. NULL: nobody listens. */
    void (*progress)(void *listener, size_t done, size_t total);
    void *user, *listener;
    size_t own_bytes;
} sinter_crew;

/* All jobs are done; false: one failed, and what was wrong is in diag. */
bool sinter_crew_run(const sinter_crew *crew, sinter_diag *diag);
