/* How a rank waits for what devices do, beside the others of its mesh: threads (collectives.h) and processes (job.h) each have a way to find out
 * who is missed. Test: tests/unit/nccl_test.c */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* What a look at the devices finds. */
typedef enum sinter_peers_sight {
    SINTER_PEERS_DONE,   /* all that was waited for */
    SINTER_PEERS_BUSY,   /* this rank's own device is at work, or something came to its end since the last look */
    SINTER_PEERS_WAITS,  /* for other ranks, as before */
    SINTER_PEERS_FAILED  /* whoever looks knows why */
} sinter_peers_sight;
typedef sinter_peers_sight sinter_peers_look(void *user);

/* Valid for one run of the rank's program, on its thread. */
typedef struct sinter_peers {
    void *user;
    /* Looks again and again until that finds DONE (true) or FAILED (false, why is empty). False, and why says who is to blame, where another
     * rank has failed, or nothing but WAITS is found for as long as ranks have patience. */
    bool (*wait)(void *user, sinter_peers_look *look, void *look_user, char *why, size_t why_size);
} sinter_peers;
