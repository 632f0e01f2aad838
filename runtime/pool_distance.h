/* How far apart the cores of a pool's threads are, from the times that a loop's word took to them, and what grains become by
 * that: the arithmetic alone, which keeps nothing. Private to runtime/. Test: tests/unit/pool_test.c */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Distances are in parts of that of neighbours. */
enum { SINTER_DISTANCE_NEAR = 16, SINTER_DISTANCE_FARTHEST = SINTER_DISTANCE_NEAR * 8 };

/* Times are in ticks of the clock, which are cycles, roughly. */
enum {
    SINTER_DISTANCE_NEAR_TICKS = 400,     /* from saying that there is a loop to a neighbour's first chunk */
    SINTER_DISTANCE_LATE_TICKS = 1 << 16, /* who needs that long did something else: no note of it */
    SINTER_DISTANCE_FADING = 4            /* of what was noted before, a part of this goes with each note */
};

/* What a helper keeps of its words' times: `before` is what it kept, of `notes` times. */
uint32_t sinter_distance_note(uint32_t before, uint32_t notes, uint32_t took);

/* By the sum of what `count` helpers keep; near where there are none. Within [NEAR, FARTHEST]. */
uint32_t sinter_distance_of(uint64_t ticks, uint64_t count);

/* Iterations that are worth a thread at that distance; grain: of neighbours, in parts of SINTER_ABI_GRAIN_PARTS. */
int64_t sinter_distance_stretch(int64_t grain, uint32_t distance);

/* Whether so many iterations are shared at some distances and not, or in other chunks, at others. */
bool sinter_distance_matters(int64_t count, int64_t grain);
