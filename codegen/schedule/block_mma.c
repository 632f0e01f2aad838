/* Tiles of a contraction by instructions that multiply matrices with a warp's registers (codegen/loops/mma.def): what was staged goes into registers
 * as the instruction wants it, one step of it after the other. Warps have rows of their own and all columns of the tile.
 * Part of the verb of block_tile.c. Test: tests/codegen/schedule/block_mma.loops */
#include "codegen/schedule/block_tile.h"

bool sinter_block_fit_mma(sinter_block_tiling *t) {
    const sinter_block_tile *asked = t->asked;
    if (!t->rows.loop || asked->slices || asked->depth % t->mma->depth ||
        t->columns.extent % SINTER_BLOCK_LANES)
        return sinter_schedule_refuse(
            t->schedule, "no rows, slices, or sizes that are no whole instructions and warps");
    sinter_expr rows = sinter_loop_mma_element(t->mma, t->mma->left, t->rows.value),
                columns = sinter_loop_mma_element(t->mma, t->mma->right, t->columns.value);
    if (!rows || !columns || t->sum.declare->value->dtype != t->mma->sum)
        return sinter_schedule_refuse(t->schedule, "its factors are not those of %s", t->mma->name);
    t->rows.value = rows;
    t->columns.value = columns;
    return true;
}

sinter_block_fragments sinter_block_add_fragments(sinter_block_tiling *t) {
    const int64_t rows[3] = {t->asked->thread_rows, SINTER_MMA_LEFT_REGISTERS, t->mma->packed},
                  columns[3] = {t->asked->thread_columns, SINTER_MMA_RIGHT_REGISTERS,
                                t->mma->packed};
    sinter_block_fragments made;
    made.rows = sinter_block_registers(t, "row_part", t->mma->left, 3, rows);
    made.columns = sinter_block_registers(t, "column_part", t->mma->right, 3, columns);
    return made;
}

/* Rows of the tile are as ldmatrix wants them: along the reduction, or, where it can turn them, across. */
static bool loads_matrices(const sinter_block_tiling *t, const sinter_block_operand *o) {
    return o->depth_last || t->mma->packed == 2;
}

/* Each thread reads what the instruction wants of it: `count` matrices of an operand, four of 8 rows at once if it can be. */
static void load_fragments(sinter_block_tiling *t, const sinter_block_threads *own,
                           sinter_loop_buffer part, bool left, sinter_expr start) {
    sinter_loop_builder *b = t->builder;
    const sinter_block_operand *o = left ? &t->rows : &t->columns;
    const int64_t packed = t->mma->packed;
    const int64_t count = left ? t->asked->thread_rows : t->asked->thread_columns;
    const bool at_once = loads_matrices(t, o), pairs = at_once && !left && count % 2 == 0;
    sinter_expr i =
        sinter_block_begin_loop(t, left ? "i" : "j", pairs ? count / 2 : count, SINTER_AXIS_UNROLL);
    if (pairs)
        i = sinter_block_place(t, i, 2, sinter_block_begin_loop(t, "p", 2, SINTER_AXIS_LDMATRIX));
    sinter_expr q = sinter_block_begin_loop(
        t, "q", left ? SINTER_MMA_LEFT_REGISTERS : SINTER_MMA_RIGHT_REGISTERS,
        at_once && !pairs ? SINTER_AXIS_LDMATRIX : SINTER_AXIS_UNROLL);
    sinter_expr s = sinter_block_begin_loop(t, "s", packed, SINTER_AXIS_UNROLL);
    sinter_expr two = sinter_block_int(t, 2);
    sinter_expr upper = left ? sinter_loop_div(b, q, two) : q;
    sinter_expr depth = sinter_block_place(t, upper, SINTER_MMA_MEMBERS * packed,
                                           sinter_block_place(t, own->axes[2], packed, s));
    sinter_expr at = own->axes[1], matrix = i;
    if (left) {
        at = sinter_block_place(t, sinter_loop_rem(b, q, two), SINTER_MMA_GROUPS, at);
        matrix = sinter_block_place(t, own->warp, t->asked->thread_rows, i);
    }
    at = sinter_block_place(t, matrix, left ? SINTER_MMA_ROWS : SINTER_MMA_COLUMNS, at);
    const sinter_expr indices[6] = {own->axes[0], own->axes[1], own->axes[2], i, q, s};
    sinter_loop_store(b, part, indices,
                      sinter_block_load(t, o, sinter_loop_add(b, start, depth), at));
    sinter_block_end_loops(t, 3 + pairs);
}

static void add_instructions(sinter_block_tiling *t, const sinter_block_threads *own,
                             const sinter_block_fragments *f) {
    sinter_loop_builder *b = t->builder;
    sinter_expr i = sinter_block_begin_loop(t, "i", t->asked->thread_rows, SINTER_AXIS_UNROLL),
                j = sinter_block_begin_loop(t, "j", t->asked->thread_columns, SINTER_AXIS_UNROLL);
    sinter_loop_stmt **link = b->tail;
    sinter_expr r = sinter_block_begin_loop(t, "r", 2, SINTER_AXIS_MMA);
    (*link)->mma = t->asked->mma;
    sinter_expr c = sinter_block_begin_loop(t, "c", 2, SINTER_AXIS_UNROLL),
                k = sinter_block_begin_loop(t, "k", t->mma->depth, SINTER_AXIS_UNROLL);
    const sinter_expr w = own->axes[0], g = own->axes[1], m = own->axes[2];
    sinter_loop_mma_indices at = sinter_loop_mma_index(b, t->mma, r, c, k, m);
    const sinter_expr sum[7] = {w, g, m, i, j, r, c},
                      left[6] = {w, g, at.member, i, at.left_register, at.element},
                      right[6] = {w, at.right_group, at.member, j, at.right_register, at.element};
    sinter_expr product =
        sinter_loop_mul(b, sinter_loop_mma_factor(b, t->mma, sinter_loop_load(b, f->rows, left)),
                        sinter_loop_mma_factor(b, t->mma, sinter_loop_load(b, f->columns, right)));
    sinter_loop_store(b, t->sums, sum,
                      sinter_loop_add(b, sinter_loop_load(b, t->sums, sum), product));
    sinter_block_end_loops(t, 5);
}

void sinter_block_multiply(sinter_block_tiling *t, const sinter_block_fragments *fragments) {
    sinter_expr k =
        sinter_block_begin_loop(t, "k", t->asked->depth / t->mma->depth, SINTER_AXIS_SERIAL);
    sinter_expr start = sinter_block_place(t, k, t->mma->depth, sinter_block_int(t, 0));
    sinter_block_threads own = sinter_block_begin_threads(t);
    load_fragments(t, &own, fragments->rows, true, start);
    load_fragments(t, &own, fragments->columns, false, start);
    sinter_block_end_loops(t, own.count);
    own = sinter_block_begin_threads(t);
    add_instructions(t, &own, fragments);
    sinter_block_end_loops(t, own.count + 1);
}
