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
    sinter_loop_var part; /* 0, or the sum of its own that each iteration of the outermost reduction has, and adds to the accumulator */
    sinter_dtype dtype;   /* of the part, or the accumulator */
    sinter_loop_var reductions[SINTER_MAX_RANK]; /* outermost first */
    uint32_t reduction_count;
    const sinter_loop_stmt *reduction; /* the outermost reduction loop */
} sinter_cpu_nest;
/* for columns { var acc ... }, at a glance: kernels may have thousands of loops (schedule_cpu_weave.c). */
bool sinter_cpu_may_be_product(const sinter_loop_function *function, const sinter_loop_stmt *stmt);
/* The loop of the sum of its own that each iteration of this one has, and adds to another:  { var part = 0; for k ...; acc = acc + part };
 * 0: it has none. */
sinter_loop_var sinter_cpu_find_part(const sinter_loop_function *function, const sinter_loop_stmt *loop);
bool sinter_cpu_find_nest(const sinter_loop_function *function, sinter_loop_var outermost, sinter_cpu_nest *out_nest);

/* How wide register tiles are; one choice a nest, so that packed operands fit all of its parts. */
typedef struct sinter_cpu_tile {
    int64_t rows, columns; /* columns: a multiple of lanes, or less than lanes */
    int64_t lanes;
    int64_t panels; /* not 0: blocks of columns go around rows, which read a packed copy of each if they are as many */
    int64_t block;  /* steps of the reduction that are taken at a time; 0: all */
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
/* Some bound of the reductions depends on the variable. */
bool sinter_cpu_bounds_use(const sinter_cpu_nest *nest, sinter_loop_var var);
/* Tiles the innermost loop of the nest and `row` (0: none), one of its other loops, which a load of the reduction does not
 * depend on. Blocks of columns go around the loop `band`, whose iterations share what they load (0: none). False: nothing was
 * changed. */
bool sinter_cpu_tile_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row,
                          sinter_loop_var band, sinter_cpu_tile tile);
/* Some load of the reduction is the same for all columns. */
bool sinter_cpu_broadcasts(const sinter_cpu_nest *nest);
/* The loop, not the innermost one, whose iterations share the most of what the reduction loads; 0: none. */
sinter_loop_var sinter_cpu_find_row(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);

/* Rows of unknown number that lie in several dims, or all such rows, become rows of one (schedule_cpu_contract.c): tiles of them may
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

/* ---- sums of integers (schedule_cpu_start.c) ---- */
/* What is added to the accumulator of the nest after its reduction becomes what it starts with. */
void sinter_cpu_start_with_sums(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);

/* ---- bytes (schedule_cpu_dot.c) ---- */
/* Sums of products of bytes four steps at a time, of bf16 two, where the nest is of that form and the target has dots. */
bool sinter_cpu_use_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest);

/* The loop in front of which words of the operand of the columns may be made once for all rows, as sinter_cpu_use_dots would where that
 * pays; 0: none, or words are not what it would make of the nest. open: they can't be made in tiles, their number is the run's. */
sinter_loop_var sinter_cpu_find_words_place(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, bool *out_open);

/* The same across taps of a window, whose bytes come from different rows, where both are elements of the column (schedule_cpu_taps.c). */
bool sinter_cpu_use_tap_dots(sinter_schedule_cpu_state *state, sinter_cpu_nest *nest);

/* Four bytes, of either sign, as one i32, the first in the low bits. */
sinter_expr sinter_cpu_join_bytes(sinter_loop_builder *build, const sinter_expr *bytes);
/* The products of a nest with one reduction, before anything is changed. */
typedef struct sinter_cpu_dots {
    sinter_loop_var loop; /* the reduction */
    sinter_expr a, b;     /* loads of u8, which lie along it, and of i8 of a constant */
    uint32_t b_dim;       /* of b, indexed by the loop */
    int64_t steps;        /* whole words */
} sinter_cpu_dots;
bool sinter_cpu_find_dots(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_cpu_dots *out_dots);
/* Four bytes of a from step `first` on as one i32. */
sinter_expr sinter_cpu_load_word(sinter_schedule_cpu_state *state, const sinter_cpu_dots *dots, sinter_expr first);

/* ---- words of operands of the run (schedule_cpu_words.c) ---- */
typedef enum sinter_cpu_words {
    SINTER_CPU_WORDS_NONE,     /* bytes are multiplied one by one */
    SINTER_CPU_WORDS_IN_TILES, /* each tile of rows makes them where it reads them */
    SINTER_CPU_WORDS_AHEAD,    /* all are made once */
} sinter_cpu_words;
/* What the rows of the loop need the least time with. whole: tiles can make words. */
sinter_cpu_words sinter_cpu_choose_words(const sinter_schedule_cpu_state *state, sinter_loop_var row, bool whole);
/* Words [word, column] that another nest had made in front of the loop of the same elements as the load's: a copy of this nest for other
 * numbers of steps. b_dim: the dim along which they are words. 0: nobody had. */
sinter_loop_buffer sinter_cpu_find_made_words(const sinter_schedule_cpu_state *state, sinter_loop_var place, sinter_expr b,
                                              uint32_t b_dim, const sinter_expr *dims);
/* Where the run alone knows how many rows share the words that nests in the loop's body would make ahead, it chooses: the body, or a copy
 * of it for so few rows that other forms take less time. */
void sinter_cpu_fork_few_rows(sinter_schedule_cpu_state *state, sinter_loop_var loop);

/* ---- memory of a kernel's own (schedule_cpu_scratch.c) ---- */
/* A buffer of these dims, over the kernel's scalar parameters, for all its threads: one more parameter, which every call passes. */
sinter_loop_buffer sinter_cpu_add_scratch(sinter_schedule_cpu_state *state, const char *name, sinter_dtype dtype, uint32_t rank,
                                          const sinter_expr *dims);
/* Scratch that a thread's stack does not hold (ir/stack.h), the largest first, or whose size the run alone knows becomes memory of the plan: such a parameter. */
void sinter_cpu_move_scratch(sinter_schedule_cpu_state *state);

/* ---- operands of the run (schedule_cpu_operand.c) ---- */
/* What the nest reads of its columns should be packed block by block while it runs. Where panels would not fit the cache, the reduction
 * is taken in blocks, or the tile becomes narrower. A question of the schedule. */
void sinter_cpu_use_panels(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row,
                           const sinter_target *target, const sinter_cpu_extent *extent, bool may_block, sinter_cpu_tile *tile);
/* Packs them in what the nest was tiled to; where the number of rows is known only then, the run decides. */
void sinter_cpu_pack_operands(sinter_schedule_cpu_state *state, sinter_cpu_tile tile);

/* Bytes that a panel may have: of the second cache, and of a thread's stack. */
int64_t sinter_cpu_panel_room(const sinter_target *target);
/* All scratch of the kernel is little enough for a thread's stack. */
bool sinter_cpu_fits_stack(const sinter_loop_function *function);

/* ---- long reductions (schedule_cpu_block.c) ---- */
/* Rows, a multiple of the tile's, whose sums lie in scratch at a time. rows: of all, -1 where only the run knows. */
int64_t sinter_cpu_block_rows(int64_t rows, int64_t tile_rows);
/* Steps of a block, so that those of a block and of what is left have room for `most`; 0: that is too little. */
int64_t sinter_cpu_block_steps(int64_t steps, int64_t most);
/* What a nest in blocks fell into: nests that only set and use sums, contractions, and what blocks of rows and columns left over. */
typedef struct sinter_cpu_blocks {
    sinter_reduction_blocks sums;
    sinter_loop_var row_rest, column_rest; /* the outermost loop of each; 0: none */
} sinter_cpu_blocks;
/* Blocks of tile.block steps, for each block of rows and tile.columns columns. False: nothing was changed. */
bool sinter_cpu_block_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_loop_var row,
                           sinter_cpu_tile tile, sinter_cpu_blocks *out_blocks);

/* `lanes`, innermost, reads elements that lie apart, `rows` around it consecutive ones: each line that a tile of the two
 * reads is read once, and turned in registers. */
void sinter_cpu_turn_tile(sinter_schedule *schedule, sinter_loop_var rows, sinter_loop_var lanes);

/* ---- constants in another form (schedule_cpu_constant.c) ---- */
typedef struct sinter_cpu_conversion {
    bool (*convert)(void *user, const sinter_tensor *source, sinter_tensor *out_converted, sinter_diag *diag);
    void *user;
    sinter_dtype dtype; /* of what it makes */
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK];
} sinter_cpu_conversion;
/* Every call of this kernel passes what the conversion makes of its constant, and the kernel's parameter is so now; its loads are
 * the caller's to change. In place of the constant where nobody else wants it. False: an error went to diag. */
bool sinter_cpu_convert_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter,
                                  const sinter_cpu_conversion *conversion);
/* The constants that calls of this kernel pass, by number in the program, each once. In the state's scratch arena. */
size_t sinter_cpu_list_constants(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter, const uint32_t **out_constants);

/* ---- constants in another order (schedule_cpu_pack.c) ---- */
/* Constant operands of a nest that depend on its columns: planned on the nest as it was made, packed in panels of `columns`
 * when it is tiled. */
#define SINTER_CPU_MAX_PACKED 4
typedef struct sinter_cpu_packing {
    sinter_loop_buffer buffer;
    uint32_t rank, column_dim;
    int64_t columns;                 /* size of that dim */
    int64_t multiple;                /* of which is where the nest's columns begin; 0 where that is 0 */
    uint32_t order[SINTER_MAX_RANK]; /* of the others */
    uint32_t panels_at;              /* where in it the number of the panel goes */
} sinter_cpu_packing;
typedef struct sinter_cpu_pack_plan {
    sinter_cpu_packing items[SINTER_CPU_MAX_PACKED];
    uint32_t count;
} sinter_cpu_pack_plan;
/* The columns of a panel in which another nest, which reads it as well, had an operand of this one packed; 0: nobody had. */
int64_t sinter_cpu_packed_columns(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest);
/* What other nests of the kernel read too is planned if they want the same; it is packed for all with the first that is tiled. */
void sinter_cpu_plan_packing(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest, sinter_cpu_pack_plan *out_plan);
void sinter_cpu_apply_packing(sinter_schedule_cpu_state *state, const sinter_cpu_pack_plan *plan, int64_t columns);
/* Every call of this kernel passes a constant there. */
bool sinter_cpu_is_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter);
/* Looks through all calls, once: what sinter_cpu_is_constant says is of then. */
void sinter_cpu_find_passed(sinter_schedule_cpu_state *state);
/* So it does, and each of them is read elsewhere too and has that many bytes at least (schedule_cpu_constant.c). */
bool sinter_cpu_shares_constant(sinter_schedule_cpu_state *state, sinter_loop_buffer parameter, size_t least_bytes);
/* Loads and stores of the buffer in the kernel as it is written, however often they run (schedule_cpu_constant.c). */
uint32_t sinter_cpu_count_accesses(const sinter_schedule_cpu_state *state, sinter_loop_buffer buffer);
/* It is a constant of known dims, and one place alone reads it. */
bool sinter_cpu_is_own_constant(const sinter_schedule_cpu_state *state, sinter_loop_buffer parameter);
/* Asks memory early for blocks of constants that the kernel's loops go through, as they are tiled and packed
 * (schedule_cpu_prefetch.c). */
void sinter_cpu_prefetch(sinter_schedule_cpu_state *state);
/* Keeps the promises. */
bool sinter_cpu_pack_constants(sinter_schedule_cpu_state *state);
