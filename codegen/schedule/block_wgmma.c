/* Tiles of a contraction by instructions that multiply matrices with the registers of a warpgroup (codegen/loops/wgmma.h), which read what was
 * staged by themselves. A warpgroup has rows of its own, 64 of each instruction, and all columns of the tile.
 * Part of the verb of block_tile.c. Test: tests/codegen/schedule/block_wgmma.loops */
#include "codegen/schedule/block_tile.h"

enum { MIN_STAGES = 3 };

bool sinter_block_fit_wgmma(sinter_block_tiling *t) {
    const sinter_block_tile *asked = t->asked;
    const bool fits = t->mma && t->mma->warpgroup && asked->warps % SINTER_WGMMA_WARPS == 0 &&
                      asked->stages >= MIN_STAGES &&
                      asked->depth == sinter_loop_wgmma_row(t->mma->left) &&
                      sinter_loop_wgmma_has_columns(t->mma, t->columns.extent);
    const bool turns = t->mma && t->mma->packed == 2;
    if (fits && !turns && !(t->rows.depth_last && t->columns.depth_last))
        return sinter_schedule_refuse(t->schedule,
                                      "only operands of 2 bytes may lie across the reduction");
    return fits ||
           sinter_schedule_refuse(t->schedule,
                                  "a warpgroup's instruction needs four warps or a multiple, a "
                                  "ring of %d stages and steps of %d bytes",
                                  MIN_STAGES, SINTER_LOOP_SWIZZLE);
}

/* The operand's element that a lane multiplies, in the tile's own rows or columns. */
static sinter_expr load(sinter_block_tiling *t, const sinter_block_operand *o, sinter_expr chunk,
                        sinter_expr within, sinter_expr depth) {
    sinter_loop_builder *b = t->builder;
    const sinter_expr apart[4] = {t->slot, chunk, depth, within},
                      together[3] = {t->slot, within, depth};
    return sinter_loop_load(b, o->tile, o->chunk ? apart : together);
}

void sinter_block_multiply_groups(sinter_block_tiling *t) {
    sinter_loop_builder *b = t->builder;
    const sinter_loop_mma_info *mma = t->mma;
    const sinter_block_threads own = sinter_block_begin_threads(t);
    sinter_expr step =
        sinter_block_begin_loop(t, "k", t->asked->depth / mma->depth, SINTER_AXIS_UNROLL);
    sinter_expr i = sinter_block_begin_loop(t, "i", t->asked->thread_rows, SINTER_AXIS_UNROLL);
    sinter_loop_stmt **link = b->tail;
    sinter_expr j = sinter_block_begin_loop(t, "j", t->asked->thread_columns, SINTER_AXIS_WGMMA);
    (*link)->mma = t->asked->mma;
    sinter_expr r = sinter_block_begin_loop(t, "r", 2, SINTER_AXIS_UNROLL),
                c = sinter_block_begin_loop(t, "c", 2, SINTER_AXIS_UNROLL),
                k = sinter_block_begin_loop(t, "kk", mma->depth, SINTER_AXIS_UNROLL);
    sinter_expr warps = sinter_block_int(t, SINTER_WGMMA_WARPS),
                depth = sinter_block_place(t, step, mma->depth, k);
    sinter_expr rows = sinter_block_place(t, sinter_loop_div(b, own.warp, warps),
                                          t->asked->thread_rows, i),
                row = sinter_loop_wgmma_left(b, own.warp, r, own.axes[1]);
    if (!t->rows.chunk) row = sinter_block_place(t, rows, SINTER_WGMMA_ROWS, row);
    sinter_expr chunk,
        column = sinter_loop_wgmma_right(b, j, own.axes[2], c, t->columns.chunk, &chunk);
    const sinter_expr sum[7] = {own.axes[0], own.axes[1], own.axes[2], i, j, r, c};
    sinter_expr product =
        sinter_loop_mul(b, sinter_loop_mma_factor(b, mma, load(t, &t->rows, rows, row, depth)),
                        sinter_loop_mma_factor(b, mma, load(t, &t->columns, chunk, column, depth)));
    sinter_loop_store(b, t->sums, sum,
                      sinter_loop_add(b, sinter_loop_load(b, t->sums, sum), product));
    sinter_block_end_loops(t, own.count + 6);
}
