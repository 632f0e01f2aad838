/* Contractions on CPUs: matrix products, and convolutions whose window never leaves the input, in register tiles over
 * packed weights. The bounds of the reduction are the same in all iterations of the free loops.
 * Test: tests/codegen/schedule/contract.loops */
#include "codegen/schedule_cpu_tile.h"

/* What making weights of words takes beside the accumulators. */
enum { BITS_REGISTERS = 4 };

bool sinter_schedule_cpu_contract(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_cpu_nest found;
    sinter_cpu_pack_plan packing;
    sinter_schedule *schedule = &state->schedule;
    if (!sinter_cpu_find_nest(schedule->function, nest, &found)) return false;
    for (uint32_t i = 0; i < found.loop_count; i++)
        if (sinter_cpu_bounds_use(&found, found.loops[i])) return false;
    sinter_cpu_use_dots(state, &found);
    sinter_target target = *state->target;
    if (sinter_cpu_use_bits(state, &found)) target.registers -= BITS_REGISTERS;
    sinter_cpu_start_with_sums(state, &found);
    sinter_loop_var row = sinter_cpu_find_row(state, &found);
    int64_t rows = row ? sinter_cpu_trips(state, row) : 1;
    int64_t columns = sinter_cpu_trips(state, found.loops[found.loop_count - 1]);
    sinter_cpu_tile tile = sinter_cpu_choose_tile(&target, found.dtype, rows, columns, row != 0);
    sinter_cpu_plan_packing(state, &found, &packing);
    sinter_loop_function *before = sinter_loop_clone_function(state->program, schedule->function);
    if (!sinter_cpu_tile_nest(state, &found, row, tile)) return false;
    sinter_cpu_apply_packing(state, &packing, tile.columns);
    sinter_schedule_simplify(schedule);
    sinter_cpu_prefetch(state);
    sinter_cpu_run_in_parallel(schedule, before, nest);
    return true;
}
