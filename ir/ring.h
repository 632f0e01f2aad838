/* Rows of a value [n, y, x, channel] that a window reads while they are made, in scratch of a thread: whether that is little
 * enough, which the pass fuse asks, and how many channels at a time, which lowering does (codegen/lower/streamed.c).
 * Test: tests/passes/fuse/streamed.sir, tests/codegen/lower/streamed.sir */
#pragma once
#include "ir/stack.h"

#include <stddef.h>
#include <stdint.h>

/* Rows that the ring has for windows that reach so many: a power of two, so that places are found by masking bits. */
static inline int64_t sinter_ring_rows(int64_t reach) {
    int64_t rows = 1;
    while (rows < reach && rows < SINTER_STACK_SHARE) rows *= 2;
    return rows;
}

/* Channels of f32 of a block: whole vectors where they can be, all channels where they are few; 0 where nothing fits. */
static inline int64_t sinter_ring_channels(int64_t channels, int64_t rows, int64_t columns) {
    static const int64_t sizes[] = {48, 32, 64, 16};
    const int64_t room = SINTER_STACK_SHARE / (int64_t)sizeof(float);
    if (rows > room || columns > room / rows) return 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (channels % sizes[i] == 0 && sizes[i] <= room / rows / columns) return sizes[i];
    return channels < 64 && channels <= room / rows / columns ? channels : 0;
}

/* Convolutions of a chain, each of which reads rows of the one before it. */
enum { SINTER_RING_STAGES = 9 };

/* Rows of a matrix that one product makes and another one reads, which passes/fuse_products.c asks, and codegen/lower/blocked.c: in whole steps of
 * what products take at a time, as a rule; 0 where not even one has room. */
enum {
    SINTER_RING_STEP = 8,
    SINTER_RING_MOST_ROWS = 64,
    SINTER_RING_REDUCTIONS = 6 /* of a row, each kept for what stands behind both products */
};
static inline int64_t sinter_ring_matrix_rows(int64_t row_bytes) {
    int64_t rows = row_bytes > 0 ? SINTER_STACK_SHARE / row_bytes : 0;
    if (rows > SINTER_RING_MOST_ROWS) rows = SINTER_RING_MOST_ROWS;
    return rows / SINTER_RING_STEP * SINTER_RING_STEP;
}
