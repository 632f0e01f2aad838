/* Ways to run a module on few ranks or many: which of two is better, by the goal. What shards, cuts pipelines and plans asks here.
 * Test: tests/unit/way_test.c */
#pragma once
#include "passes/pass.h"

typedef struct sinter_way {
    double seconds; /* of a run */
    double bytes;   /* that a rank needs */
    double ranks;
} sinter_way;

/* More ranks or stages have to make a difference: a run that takes so long instead of what it takes with fewer. */
bool sinter_way_pays(double seconds, double with_fewer);
/* Is a, of as many ranks as b or more, better where a rank has so many bytes of memory? What fits comes first, and where neither does, or
 * by the goal, what needs fewer bytes. */
bool sinter_way_is_better(const sinter_way *a, const sinter_way *b, double memory, sinter_goal goal);
