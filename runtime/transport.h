/* Messages between ranks that are processes, as a plug-in gives them: a shared object with one function, so that nothing else
 * depends on what it is built on. runtime/mpi/transport_mpi.c is the one for MPI.
 *
 * Functions return 1 (done), 0 (not yet) or -1 (failed: why() tells). A message is one of a tag between two ranks; those of a tag
 * come in the order in which they were sent. All are called by the thread that opened it. Test: tests/suites/mpi.py */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define SINTER_TRANSPORT_SYMBOL "sinter_transport_open"
enum { SINTER_TRANSPORT_VERSION = 5, SINTER_TRANSPORT_TAGS = 32000, SINTER_TRANSPORT_NOTE_BYTES = 64 };

/* Places of a run: where exchange N of it begins, N from 0 on; where one that was under way ends, ENDED - N; its start and end. */
enum { SINTER_TRANSPORT_START = -1, SINTER_TRANSPORT_END = -2, SINTER_TRANSPORT_ENDED = -3 };

/* A sum over a group that the transport makes, in an order of its own. */
typedef struct sinter_transport_sum {
    int group, tag;        /* of join; that test knows it by */
    int32_t is_double, is_product, is_scattered; /* f64, else f32; scattered: each gets its part of the elements, which are as many for each */
    uint64_t count;        /* elements of source */
    const void *source;
    void *target;          /* overlaps it not */
} sinter_transport_sum;

typedef struct sinter_transport {
    uint32_t size, version; /* sizeof, SINTER_TRANSPORT_VERSION */
    const char *name;       /* "Open MPI v4.1.4" */
    int64_t rank, rank_count;
    /* Begin; memory is the transport's until test says that it is done. Received are exactly `bytes`, else test fails. */
    int (*send)(struct sinter_transport *transport, int64_t to, int tag, const void *data, uint64_t bytes);
    int (*receive)(struct sinter_transport *transport, int64_t from, int tag, void *data, uint64_t bytes);
    /* Whether all that was begun with the tag is done; if not, out_late is a rank of which something is missing. waits: where time is simulated,
     * until it is. */
    int (*test)(struct sinter_transport *transport, int tag, int waits, int64_t *out_late);
    /* Notes of NOTE_BYTES at most, that nobody need wait for: sent, and taken where there is one of the tag. */
    int (*post)(struct sinter_transport *transport, int64_t to, int tag, const void *data, uint64_t bytes);
    int (*take)(struct sinter_transport *transport, int tag, int64_t *out_from, void *data, uint64_t bytes);
    /* A group for sums, by its processes in order; each of them calls it when all have come to it, so that it may wait for the others, but it ends
     * this process where that takes as long as a start may. NULL, with sum: there are no such sums. */
    int (*join)(struct sinter_transport *transport, const int64_t *members, int64_t count, int *out_group);
    /* Begun as messages are; 0: too long for it, which is so for each member. */
    int (*sum)(struct sinter_transport *transport, const sinter_transport_sum *sum);
    /* Where time is simulated, else NULL: a run of the rank's program is to come to this place, and what it does on the way takes its time now, a kernel a call; 0 where there is more on the way. */
    int (*pass)(struct sinter_transport *transport, int64_t place);
    const char *(*why)(const struct sinter_transport *transport);
    /* Ends the part that this process has in the job, which waits for the others; failed: without a word to them, which may be dead
     * or hang. Then whoever started the job ends it as soon as this process ends with a status that is not 0. */
    void (*close)(struct sinter_transport *transport, int failed);
} sinter_transport;

/* NULL after an error, with a message. seconds: how long to wait for the other processes to start. */
typedef sinter_transport *sinter_transport_open_function(double seconds, char *message, size_t message_size);
