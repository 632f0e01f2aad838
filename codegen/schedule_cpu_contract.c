/* Contractions on CPUs: matrix products, and convolutions whose window never leaves the input, in register tiles over
 * packed weights. The bounds of the reduction don't depend on the free loops that are tiled.
 * Test: tests/codegen/schedule/contract.loops */
#include "codegen/schedule_cpu_tile.h"

static int64_t trips(const sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    int64_t count;
    const sinter_loop_stmt *stmt =
        loop ? sinter_schedule_get_loop(state->schedule.function, loop) : NULL;
    return stmt && sinter_loop_trip_count(stmt, &count) ? count : -1;
}

bool sinter_schedule_cpu_contract(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_cpu_nest found;
    if (!sinter_cpu_find_nest(state->schedule.function, nest, &found)) return false;
    sinter_loop_var row = sinter_cpu_find_row(state, &found);
    sinter_loop_var column = found.loops[found.loop_count - 1];
    sinter_cpu_tile tile = sinter_cpu_choose_tile(
        state->target, found.dtype, row ? trips(state, row) : 1, trips(state, column), row != 0);
    return sinter_cpu_tile_nest(state, &found, row, tile);
}
