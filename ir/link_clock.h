/* Exchanges between ranks that are under way while kernels run, on described hardware. Messages of a round (ir/hardware.h) are begun when those
 * of the round before are done and the rank looks: at the end of a kernel, or all the while where it waits (runtime/job_rounds.c). Links carry bytes of one round at a
 * time, and those of others in its latency. Test: tests/unit/estimate_test.c, tests/suites/long/mpi_simulated.py */
#pragma once
#include "ir/hardware.h"

enum { SINTER_EXCHANGES_UNDER_WAY = 8 }; /* of a rank, at most: SINTER_ABI_EXCHANGES_UNDER_WAY */

typedef struct sinter_link_exchange {
    sinter_node node;
    sinter_hardware_rounds rounds;
    uint32_t round; /* that is on its way */
    double end;     /* of it */
} sinter_link_exchange;

/* Zero to begin with; seconds. */
typedef struct sinter_link_clock {
    double now, free; /* free: from when on links carry nothing */
    sinter_link_exchange under_way[SINTER_EXCHANGES_UNDER_WAY]; /* the oldest first */
    uint32_t count;
} sinter_link_clock;

/* A kernel runs, and the rank looks. */
void sinter_link_clock_work(sinter_link_clock *clock, double seconds);
/* The exchange of a node; there are fewer than SINTER_EXCHANGES_UNDER_WAY. */
void sinter_link_clock_begin(sinter_link_clock *clock, sinter_node node, const sinter_hardware_rounds *rounds);
/* The seconds that the rank waits until that exchange is done, and is not under way any more; 0: it was not. */
double sinter_link_clock_wait(sinter_link_clock *clock, sinter_node node);
/* The oldest is done, or there is none. */
bool sinter_link_clock_is_done(const sinter_link_clock *clock);
