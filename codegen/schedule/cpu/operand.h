/* Operands that only the run knows, in panels, and reductions in blocks, where panels of all steps have no room. Private to
 * codegen/schedule/cpu/. Test: tests/codegen/schedule/operands.loops, tests/codegen/schedule/partial_sums.loops */
#pragma once
#include "codegen/schedule/cpu/tile.h"

/* ---- panels (operand.c) ---- */
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
/* `lanes`, innermost, reads elements that lie apart, `rows` around it consecutive ones: each line that a tile of the two
 * reads is read once, and turned in registers. */
void sinter_cpu_turn_tile(sinter_schedule *schedule, sinter_loop_var rows, sinter_loop_var lanes);

/* ---- long reductions (block.c) ---- */
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
