/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014): made-up data, the same on every machine.
 * Test: tests/unit/base_test.c */
#pragma once
#include <stdint.h>

/* The next 64 bits; any state will do to begin with. */
static inline uint64_t sinter_splitmix(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
