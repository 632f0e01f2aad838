/* Which way to run a module is better. Test: tests/unit/way_test.c */
#include "passes/way.h"

static const double WORTH = 0.95; /* of the time with fewer, that more take at most */

bool sinter_way_pays(double seconds, double with_fewer) {
    return seconds < WORTH * with_fewer;
}

bool sinter_way_is_better(const sinter_way *a, const sinter_way *b, double memory,
                          sinter_goal goal) {
    const bool fits = a->bytes <= memory;
    if (fits != (b->bytes <= memory)) return fits;
    if (!fits || (goal == SINTER_GOAL_MEMORY && a->bytes != b->bytes)) return a->bytes < b->bytes;
    /* where runs a second count, the other devices run other groups */
    if (goal == SINTER_GOAL_THROUGHPUT)
        return sinter_way_pays(a->seconds * a->ranks, b->seconds * b->ranks);
    return sinter_way_pays(a->seconds, b->seconds);
}
