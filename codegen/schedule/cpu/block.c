/* Long reductions of contractions whose operands only the run knows: a panel of all steps would not fit the cache, so the steps are
 * taken in blocks. Rows are taken in blocks as well, as many as pay for the copy of a panel and have room for their sums.
 * Needs: a nest that is a contraction. Guarantees: the same values. Test: tests/codegen/schedule/operands.loops */
#include "codegen/schedule/cpu/operand.h"

enum { MANY_ROWS = 256, FEW_STEPS = 64 };

int64_t sinter_cpu_block_rows(int64_t rows, int64_t tile_rows) {
    int64_t most = MANY_ROWS / tile_rows * tile_rows;
    if (rows < 0) return most;
    int64_t blocks = (rows + most - 1) / most, each = (rows + blocks - 1) / blocks;
    return (each + tile_rows - 1) / tile_rows * tile_rows;
}

int64_t sinter_cpu_block_steps(int64_t steps, int64_t most) {
    if (most < FEW_STEPS) return 0;
    int64_t least = (steps + most - 1) / most;
    for (int64_t blocks = least; blocks <= 2 * least; blocks++)
        if (steps % blocks == 0) return steps / blocks;
    return (steps + 2 * least - 1) / (2 * least); /* a rest has scratch of its own */
}

/* The loop in parts of `size` iterations; what is left over becomes a nest of its own. */
static bool split(sinter_schedule *schedule, uint32_t outside, sinter_loop_var loop, int64_t size,
                  sinter_loop_var *out_outer, sinter_loop_var *out_inner,
                  sinter_loop_var *out_rest) {
    int64_t count;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    *out_outer = *out_rest = 0;
    *out_inner = loop;
    if (sinter_loop_trip_count(stmt, &count) && count <= size) return true;
    return sinter_schedule_split(schedule, loop, size, SINTER_TAIL_PEEL, out_outer, out_inner,
                                 out_rest) &&
           (!*out_rest || sinter_cpu_isolate(schedule, *out_rest, outside));
}

static bool block(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                  sinter_loop_var row, sinter_cpu_tile tile, sinter_cpu_blocks *out) {
    sinter_schedule *schedule = &state->schedule;
    sinter_loop_var column = nest->loops[nest->loop_count - 1], columns, rows;
    uint32_t outside = sinter_cpu_depth(schedule, nest->loops[0]);
    int64_t some = sinter_cpu_block_rows(sinter_cpu_trips(state, row), tile.rows);
    if (!sinter_cpu_order_nest(schedule, nest, row) ||
        !split(schedule, outside, column, tile.columns, &columns, &column, &out->column_rest) ||
        !split(schedule, outside, row, some, &rows, &row, &out->row_rest))
        return false;
    const sinter_loop_var order[2] = {columns, row};
    if (columns && !sinter_schedule_reorder(schedule, order, 2)) return false;
    sinter_cpu_nest main;
    if (!sinter_cpu_find_nest(schedule->function, sinter_cpu_outermost(schedule, row, outside),
                              &main))
        return false;
    out->sums = (sinter_reduction_blocks){
        .m = row, .n = column, .accumulator = main.accumulator, .size = tile.block};
    if (!sinter_schedule_block_reduction(schedule, &out->sums)) return false;
    if (out->column_rest)
        out->column_rest = sinter_cpu_outermost(schedule, out->column_rest, outside);
    if (out->row_rest) out->row_rest = sinter_cpu_outermost(schedule, out->row_rest, outside);
    return true;
}

bool sinter_cpu_block_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                           sinter_loop_var row, sinter_cpu_tile tile, sinter_cpu_blocks *out) {
    sinter_loop_function *saved =
        sinter_loop_clone_function(state->program, state->schedule.function);
    *out = (sinter_cpu_blocks){0};
    if (block(state, nest, row, tile, out)) return true;
    *state->schedule.function = *saved;
    return false;
}
