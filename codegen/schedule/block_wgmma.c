/* Tiles of a contraction by instructions that multiply matrices with the registers of a warpgroup (codegen/loops/wgmma.h), which read what was
 * staged by themselves. A warpgroup has rows of its own, 64 of each instruction, and all columns of the tile.
 * Part of the verb of block_tile.c. Test: tests/codegen/schedule/block_wgmma.loops */
#include "codegen/schedule/block_tile.h"

enum { MIN_STAGES = 3, MAX_WARPS = 32 };

/* Where a piece of warps stops, others wait forever. */
static bool fails(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FAIL || fails(stmt->body) || fails(stmt->else_body))
            return true;
    return false;
}

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
    const bool pieces = asked->producers >= 0 &&
                        (asked->boxes || asked->producers % SINTER_WGMMA_WARPS == 0) &&
                        asked->warps + asked->producers <= MAX_WARPS &&
                        !(asked->producers && fails(t->schedule->function->body));
    if (!pieces)
        return sinter_schedule_refuse(
            t->schedule, "warps that copy are four or a multiple, 32 in all, of a kernel that "
                         "can't fail");
    if (!fits)
        return sinter_schedule_refuse(t->schedule,
                                      "a warpgroup's instruction needs four warps or a multiple, "
                                      "a ring of %d stages and steps of %d bytes",
                                      MIN_STAGES, SINTER_LOOP_SWIZZLE);
    return !asked->boxes || sinter_block_fit_boxes(t);
}

/* The operand's element that a lane multiplies, in the tile's own rows or columns. */
static sinter_expr load(sinter_block_tiling *t, const sinter_block_operand *o, sinter_expr chunk,
                        sinter_expr within, sinter_expr depth) {
    sinter_loop_builder *b = t->builder;
    if (o->in_place) {
        const sinter_expr all[3] = {t->step, sinter_loop_add(b, o->first, within), depth};
        return sinter_loop_load(b, o->tile, all);
    }
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

/* ---- warps that copy, and warps that multiply ---- */

static sinter_loop_buffer add_phases(sinter_block_tiling *t, const char *name, int64_t warps) {
    sinter_loop_builder *b = t->builder;
    const sinter_expr count = sinter_block_int(t, t->asked->stages);
    const sinter_loop_buffer phases =
        sinter_loop_add_buffer(b, name, SINTER_DTYPE_u64, 1, &count, SINTER_SCOPE_SHARED);
    b->function->buffers.items[phases].arrivals = (uint32_t)warps;
    sinter_loop_alloc(b, phases);
    return phases;
}

void sinter_block_add_phases(sinter_block_tiling *t) {
    t->full = add_phases(t, "full", t->asked->producers);
    t->empty = add_phases(t, "empty", t->asked->warps);
}

static void begin_piece(sinter_block_tiling *t, int64_t first, int64_t count) {
    t->warps = count;
    sinter_loop_begin_warps(t->builder, (uint32_t)first, (uint32_t)count);
}

void sinter_block_begin_consumers(sinter_block_tiling *t) {
    begin_piece(t, 0, t->asked->warps);
}

/* What they copied `ahead` trips ago is there in this one: then those that multiply may have it. All phases have a turn in every trip. */
static void copy_steps(sinter_block_tiling *t, sinter_expr step, sinter_expr steps) {
    sinter_loop_builder *b = t->builder;
    const int64_t stages = t->asked->stages;
    const sinter_expr ring = sinter_block_int(t, stages),
                      freed = sinter_loop_add(b, step, sinter_block_int(t, stages - 1));
    begin_piece(t, t->asked->warps, t->asked->producers);
    sinter_loop_await(b, t->empty, sinter_loop_rem(b, freed, ring),
                      sinter_loop_sub(b, sinter_loop_div(b, freed, ring), sinter_block_int(t, 1)));
    sinter_loop_begin_if(b, sinter_loop_compare(b, SINTER_SCALAR_lt, step, steps));
    t->slot = sinter_loop_rem(b, step, ring);
    const sinter_expr start = sinter_loop_mul(b, step, sinter_block_int(t, t->asked->depth));
    sinter_block_stage(t, &t->rows, start);
    sinter_block_stage(t, &t->columns, start);
    sinter_loop_end(b);
    sinter_loop_commit(b);
    sinter_loop_wait(b, (uint32_t)stages - 2);
    sinter_loop_fence(b);
    sinter_loop_arrive(b, t->full, sinter_loop_rem(b, step, ring));
    sinter_loop_end(b);
}

/* The same by boxes, which are there once their phase is over: those of the step are multiplied in this trip. What they take the place of was
 * read `stages` trips ago, and is free since the trip behind that. */
static void copy_boxes(sinter_block_tiling *t, sinter_expr step) {
    sinter_loop_builder *b = t->builder;
    const sinter_expr ring = sinter_block_int(t, t->asked->stages),
                      freed = sinter_loop_add(b, step, sinter_block_int(t, 1));
    begin_piece(t, t->asked->warps, t->asked->producers);
    sinter_loop_await(b, t->empty, sinter_loop_rem(b, freed, ring),
                      sinter_loop_sub(b, sinter_loop_div(b, freed, ring), sinter_block_int(t, 1)));
    t->slot = sinter_loop_rem(b, step, ring);
    sinter_block_stage_boxes(t, sinter_loop_mul(b, step, sinter_block_int(t, t->asked->depth)));
    sinter_loop_arrive(b, t->full, t->slot);
    sinter_loop_end(b);
    t->copies = true;
}

/* Trips behind the copies of a step its products begin. */
static int64_t trips_ahead(const sinter_block_tiling *t) {
    return t->asked->boxes ? 0 : t->asked->stages - 2;
}

/* The products of the trip before are done: what these read may be written. */
static void multiply_steps(sinter_block_tiling *t, sinter_expr step) {
    sinter_loop_builder *b = t->builder;
    const int64_t stages = t->asked->stages, ahead = trips_ahead(t);
    const sinter_expr ring = sinter_block_int(t, stages), slot = sinter_loop_rem(b, step, ring);
    sinter_block_begin_consumers(t);
    sinter_loop_await(b, t->full, slot, sinter_loop_div(b, step, ring));
    if (ahead)
        sinter_loop_begin_if(
            b, sinter_loop_compare(b, SINTER_SCALAR_lt, sinter_block_int(t, ahead - 1), step));
    t->slot =
        ahead ? sinter_loop_rem(b, sinter_loop_add(b, step, sinter_block_int(t, 2)), ring) : slot;
    t->step = sinter_loop_sub(b, step, sinter_block_int(t, ahead));
    t->start = sinter_loop_mul(b, t->step, sinter_block_int(t, t->asked->depth));
    sinter_block_multiply_groups(t);
    sinter_loop_commit_products(b);
    sinter_loop_wait_products(b, 1);
    if (ahead) sinter_loop_end(b);
    sinter_loop_arrive(b, t->empty, slot);
    sinter_loop_end(b);
}

void sinter_block_reduce_by_pieces(sinter_block_tiling *t, sinter_expr steps) {
    sinter_loop_builder *b = t->builder;
    t->before_steps = b->tail;
    const sinter_expr count = sinter_loop_add(b, steps, sinter_block_int(t, trips_ahead(t)));
    const sinter_expr step = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "stage", sinter_block_int(t, 0), count, 1, SINTER_AXIS_SERIAL));
    if (t->asked->boxes)
        copy_boxes(t, step);
    else
        copy_steps(t, step, steps);
    multiply_steps(t, step);
    sinter_loop_end(b);
}
