/* Distances of cores and grains. Test: tests/unit/pool_test.c */
#include "runtime/pool_distance.h"
#include "runtime/abi.h"

enum { NEAR = SINTER_DISTANCE_NEAR, FARTHEST = SINTER_DISTANCE_FARTHEST };

uint32_t sinter_distance_note(uint32_t before, uint32_t notes, uint32_t took) {
    if (!notes) before = took;
    return before - before / SINTER_DISTANCE_FADING + took / SINTER_DISTANCE_FADING;
}

uint32_t sinter_distance_of(uint64_t ticks, uint64_t count) {
    uint64_t distance = count ? ticks * NEAR / (count * SINTER_DISTANCE_NEAR_TICKS) : NEAR;
    if (distance < NEAR) return NEAR;
    return distance > FARTHEST ? FARTHEST : (uint32_t)distance;
}

int64_t sinter_distance_stretch(int64_t grain, uint32_t distance) {
    const int64_t parts = (int64_t)NEAR * SINTER_ABI_GRAIN_PARTS;
    return grain > (INT64_MAX - parts) / FARTHEST ? grain / SINTER_ABI_GRAIN_PARTS
                                                  : (grain * distance + parts - 1) / parts;
}

bool sinter_distance_matters(int64_t count, int64_t grain) {
    int64_t near = sinter_distance_stretch(grain, NEAR),
            far = sinter_distance_stretch(grain, FARTHEST);
    return near != far && count / near > 1;
}
