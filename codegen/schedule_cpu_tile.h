/* Register tiles and packed constants: what the schedules of contractions and windows share. Private to
 * codegen/schedule_cpu*.c. Test: tests/codegen/schedule/ */
#pragma once
#include "codegen/schedule_cpu.h"

/* ---- nests around one accumulator (schedule_cpu_tile.c) ---- */
/*   for l0 { for l1 { ... var acc = init; for k0 { for k1 { acc = f(acc, loads) } }; uses of acc } }   */
typedef struct sinter_cpu_nest {
    sinter_loop_var loops[SINTER_MAX_RANK]; /* free loops, outermost first, perfectly nested */
    uint32_t loop_count;
    sinter_loop_var accumulator;
    sinter_dtype dtype;                          /* of the accumulator */
    sinter_loop_var reductions[SINTER_MAX_RANK]; /* outermost first */
    uint32_t reduction_count;
    const sinter_loop_stmt *reduction; /* the outermost reduction loop */
} sinter_cpu_nest;
bool sinter_cpu_find_nest(const sinter_loop_function *function, sinter_loop_var outermost, sinter_cpu_nest *out_nest);

/* How wide register tiles are; one choice a nest, so that packed operands fit all of its parts. */
typedef struct sinter_cpu_tile {
    int64_t rows, columns; /* columns: a multiple of lanes, or less than lanes */
    int64_t lanes;
} sinter_cpu_tile;
/* The shape that needs the least time for rows x columns outputs (-1: unknown); reuse: what a row loads serves all rows. */
sinter_cpu_tile sinter_cpu_choose_tile(const sinter_target *target, sinter_dtype dtype, int64_t rows, int64_t columns, bool reuse);
/* Tiles the innermost loop of the nest and `row` (0: none), one of its other loops, which a load of the reduction does not
 * depend on; packs constant operands. False: nothing was changed. */
bool sinter_cpu_tile_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row, sinter_cpu_tile tile);
/* The loop, not the innermost one, whose iterations share the most of what the reduction loads; 0: none. */
sinter_loop_var sinter_cpu_find_row(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);

/* ---- constants (schedule_cpu_pack.c) ---- */
/* Every call of this kernel passes a constant there. */
bool sinter_cpu_is_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter);
/* sinter_schedule_pack of such a parameter, with the promise that the calls will pass the packed constant. */
bool sinter_cpu_pack(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter, const uint32_t *order, const int64_t *blocks);
/* Keeps the promises. */
bool sinter_cpu_pack_constants(sinter_schedule_cpu_state *state);
