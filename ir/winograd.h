/* Winograd's convolutions: which there may be, and their scratch [places, tiles, width], the products' factors and results of all tiles that go through a step
 * together, which the pass weighs against the caches, and lowering allocates. Places of a tile and tiles of a place are odd
 * numbers of cache lines apart, so that they don't fall on the same sets of a cache.
 * Test: tests/passes/winograd/, tests/codegen/lower/winograd.sir */
#pragma once
#include "ir/graph.h"
#include "ir/machine.h"

enum {
    SINTER_WINOGRAD_TAPS = 3,
    SINTER_WINOGRAD_LINE = SINTER_CACHE_LINE / 4 /* f32 of a cache line */
};

/* What the kernel takes: convolutions in f32 of one group with channels last, these weights of 3 x 3 taps, strides and dilations of 1,
 * and pads of 0 or 1, so that no tile lies where the input has no element. */
bool sinter_winograd_takes(const sinter_module *module, sinter_node node, const sinter_tensor *weight);

/* Places of a tile of so many outputs an edge, each with a product of matrices of its own. */
static inline int64_t sinter_winograd_places(int64_t tile) {
    return (tile + SINTER_WINOGRAD_TAPS - 1) * (tile + SINTER_WINOGRAD_TAPS - 1);
}

/* Tiles that scratch has room for. */
static inline int64_t sinter_winograd_tiles(int64_t tiles) {
    return tiles | 1;
}

/* f32 that one tile has at a place. */
static inline int64_t sinter_winograd_row(int64_t width) {
    return ((width + SINTER_WINOGRAD_LINE - 1) / SINTER_WINOGRAD_LINE | 1) * SINTER_WINOGRAD_LINE;
}

/* A number that no product of these overflows. */
static inline double sinter_winograd_bytes(int64_t tile, int64_t tiles, int64_t width) {
    return (double)sinter_winograd_places(tile) * (double)sinter_winograd_tiles(tiles) *
           (double)sinter_winograd_row(width) * (double)sizeof(float);
}
