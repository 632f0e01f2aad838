/* Register tiles of nests around one accumulator: what they cost, and tiling itself. Private to codegen/schedule/cpu/.
 * Test: tests/codegen/schedule/ */
#pragma once
#include "codegen/schedule/cpu/accumulator.h"

/* ---- the choice of a tile (tile_cost.c) ---- */
/* How wide register tiles are; one choice a nest, so that packed operands fit all of its parts. */
typedef struct sinter_cpu_tile {
    int64_t rows, columns; /* columns: a multiple of lanes, or less than lanes */
    int64_t lanes;
    int64_t panels; /* not 0: blocks of columns go around rows, which read a packed copy of each if they are as many */
    int64_t block;  /* steps of the reduction that are taken at a time; 0: all */
    int64_t parts;  /* sums side by side that each sum is made of; 0: it is one */
} sinter_cpu_tile;
/* What the outputs of a tile have in common. */
typedef enum sinter_cpu_reuse {
    SINTER_CPU_REUSE_NONE,    /* nothing: there are no rows */
    SINTER_CPU_REUSE_COLUMNS, /* rows take what a column loads, and load a vector of their own for each: depthwise */
    SINTER_CPU_REUSE_BOTH,    /* columns take what a row loads, too */
} sinter_cpu_reuse;
/* What a tile is cut from; counts are -1 where they are no numbers. */
typedef struct sinter_cpu_extent {
    int64_t rows, columns;
    int64_t steps; /* of the reduction */
    sinter_cpu_reuse reuse;
    bool rolled; /* what is made of the sums is long: a loop over them, on its own */
} sinter_cpu_extent;
sinter_cpu_extent sinter_cpu_measure(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row);
/* The shape that needs the least time, by the registers of `target`: a question of the schedule. */
sinter_cpu_tile sinter_cpu_choose_tile(sinter_schedule_cpu_state *state, const sinter_target *target, sinter_dtype dtype,
                                       const sinter_cpu_extent *extent);
/* Panels that are there already hold whole tiles of columns, of that many (0: there are none). */
sinter_cpu_tile sinter_cpu_fit_panels(const sinter_target *target, sinter_cpu_tile tile, const sinter_cpu_extent *extent, int64_t panel);
/* The same with as many columns as chosen before. */
sinter_cpu_tile sinter_cpu_choose_rows(const sinter_target *target, sinter_cpu_tile tile, const sinter_cpu_extent *extent);
enum {
    SINTER_CPU_MANY_ROWS = 840,     /* what an unknown number counts as: all sizes of tiles divide it */
    SINTER_CPU_MOST_TIMED = 1 << 20 /* rows or vectors; beyond, the best tile is the same */
};
/* Time of all tiles of so many rows and vectors of columns, the last one with what is left, in twelfths of a cycle. */
int64_t sinter_cpu_rows_time(const sinter_target *target, const sinter_cpu_extent *extent, int64_t rows, int64_t vectors);
bool sinter_cpu_fits_registers(const sinter_target *target, int64_t rows, int64_t vectors);
/* What is made of the sums of the loop takes many instructions: one copy of it must do. */
bool sinter_cpu_is_long(const sinter_schedule *schedule, sinter_loop_var column);

/* ---- tiling (tile.c) ---- */
/* Tiles the innermost loop of the nest and `row` (0: none), one of its other loops, which a load of the reduction does not
 * depend on. Blocks of columns go around the loop `band`, whose iterations share what they load (0: none). False: nothing was
 * changed. */
bool sinter_cpu_tile_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row,
                          sinter_loop_var band, sinter_cpu_tile tile);
/* Rows of unknown number that lie in several dims, or all such rows, become rows of one (contract.c): tiles of them may
 * begin in one iteration of the outer loop and end in another, so that a batch of short sequences is as fast as one long sequence.
 * The nest's outermost loop. */
sinter_loop_var sinter_cpu_join_rows(sinter_schedule_cpu_state *state, sinter_loop_var outermost, bool of_known_number);
/* The row's loop and the columns' innermost. An outermost loop of unknown length, a batch as a rule, goes inside of the other
 * ones, which have more for threads to do. */
bool sinter_cpu_order_nest(sinter_schedule *schedule, const sinter_cpu_nest *nest, sinter_loop_var row);
/* Loops around the loop. */
uint32_t sinter_cpu_depth(sinter_schedule *schedule, sinter_loop_var loop);
/* The outermost loop of the nest that the loop is in, which has `outside` loops around it. */
sinter_loop_var sinter_cpu_outermost(sinter_schedule *schedule, sinter_loop_var loop, uint32_t outside);
/* Cuts the loops around, but for the `outside` outermost ones, until each has nothing but the way to this one. */
bool sinter_cpu_isolate(sinter_schedule *schedule, sinter_loop_var loop, uint32_t outside);
/* Top-level loops that came from the nest at `outermost` run in parallel; `before`: the function when other nests were as
 * they are now. */
void sinter_cpu_run_in_parallel(sinter_schedule_cpu_state *state, const sinter_loop_function *before, sinter_loop_var outermost);
