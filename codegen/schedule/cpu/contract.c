/* Contractions on CPUs: matrix products, and convolutions whose window never leaves the input, in register tiles over
 * packed weights. The bounds of the reduction are the same in all iterations of the free loops.
 * Test: tests/codegen/schedule/contract.loops */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/bits.h"
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/dot.h"
#include "codegen/schedule/cpu/operand.h"

/* ---- rows of several loops ---- */

/* The dim that `outer` alone indexes, with `row` alone behind it; SINTER_MAX_RANK where neither is used; false where they are used in
 * another way. */
static bool find_row_dims(const sinter_loop_function *function, const sinter_loop_access *access,
                          sinter_loop_var outer, const sinter_loop_stmt *row, uint32_t *out_dim) {
    const sinter_loop_buffer_info *info = &function->buffers.items[access->buffer];
    *out_dim = SINTER_MAX_RANK;
    for (uint32_t d = 0; d < access->rank; d++) {
        sinter_expr index = access->indices[d];
        bool pair = d + 1 < access->rank && index->kind == SINTER_LOOP_VAR && index->var == outer &&
                    access->indices[d + 1]->kind == SINTER_LOOP_VAR &&
                    access->indices[d + 1]->var == row->var &&
                    sinter_loop_expr_equal(info->dims[d + 1], row->upper);
        if (pair && *out_dim == SINTER_MAX_RANK && info->scope <= SINTER_SCOPE_INOUT)
            *out_dim = d++;
        else if (sinter_loop_expr_uses(index, outer) || sinter_loop_expr_uses(index, row->var))
            return false;
    }
    return true;
}

typedef struct row_dims {
    sinter_loop_buffer buffer;
    uint32_t dim;
} row_dims;
typedef SINTER_VECTOR(row_dims) row_dims_list;

/* Of each buffer below the loop: the dims of rows, the same in all accesses. */
static bool find_all_row_dims(const sinter_loop_function *function, const sinter_loop_stmt *outer,
                              const sinter_loop_stmt *row, sinter_arena *scratch,
                              row_dims_list *out) {
    sinter_loop_access_list accesses = {0};
    sinter_loop_collect_accesses(scratch, outer->body, &accesses);
    for (size_t i = 0; i < accesses.count; i++) {
        row_dims one = {.buffer = accesses.items[i].buffer};
        if (!find_row_dims(function, &accesses.items[i], outer->var, row, &one.dim)) return false;
        if (one.dim == SINTER_MAX_RANK) continue;
        bool known = false;
        for (size_t k = 0; k < out->count; k++) {
            if (out->items[k].buffer != one.buffer) continue;
            if (out->items[k].dim != one.dim) return false;
            known = true;
        }
        if (!known) sinter_vector_push(scratch, out, one);
    }
    return out->count > 0;
}

/* The loop around the rows, and theirs, as one. */
static bool join_with_outer(sinter_schedule *schedule, const sinter_cpu_nest *nest,
                            uint32_t row_index, sinter_loop_var *out_joined) {
    sinter_loop_var row = nest->loops[row_index], outer = nest->loops[row_index - 1];
    row_dims_list list = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    bool good =
        find_all_row_dims(schedule->function, sinter_schedule_get_loop(schedule->function, outer),
                          sinter_schedule_get_loop(schedule->function, row), &scratch, &list);
    for (size_t i = 0; i < list.count && good; i++)
        good = sinter_schedule_merge(schedule, list.items[i].buffer, list.items[i].dim, 2);
    sinter_arena_deinit(&scratch);
    return good && sinter_schedule_collapse(schedule, outer, row, out_joined);
}

sinter_loop_var sinter_cpu_join_rows(sinter_schedule_cpu_state *state, sinter_loop_var outermost,
                                     bool of_known_number) {
    sinter_schedule *schedule = &state->schedule;
    sinter_cpu_nest nest;
    for (;;) {
        uint32_t at = 0;
        sinter_loop_var row = 0, joined;
        if (sinter_cpu_find_nest(schedule->function, outermost, &nest))
            row = sinter_cpu_find_row(state, &nest);
        while (row && nest.loops[at] != row) at++;
        /* Operands that columns use are the same for all rows: no dim of rows is in them. */
        if (!at || (sinter_cpu_trips(state, row) >= 0 && !of_known_number)) return outermost;
        sinter_loop_function *saved =
            sinter_loop_clone_function(state->program, schedule->function);
        if (!join_with_outer(schedule, &nest, at, &joined)) {
            *schedule->function = *saved;
            return outermost;
        }
        if (at == 1) outermost = joined;
    }
}

/* ---- the schedule ---- */

/* What making weights of words takes beside the accumulators. */
enum { BITS_REGISTERS = 4 };

static bool contract(sinter_schedule_cpu_state *state, sinter_loop_var nest, bool may_block);

/* The nests that blocks of a reduction are made of. */
static void schedule_blocks(sinter_schedule_cpu_state *state, const sinter_cpu_blocks *blocks) {
    const sinter_loop_var sums[] = {blocks->sums.out_start, blocks->sums.out_end};
    const sinter_loop_var products[] = {blocks->sums.out_blocks, blocks->sums.out_rest,
                                        blocks->row_rest, blocks->column_rest};
    for (uint32_t i = 0; i < sizeof products / sizeof *products; i++)
        if (products[i]) contract(state, products[i], false);
    for (uint32_t i = 0; i < sizeof sums / sizeof *sums; i++)
        if (sums[i]) sinter_schedule_cpu_elementwise(state, sums[i]);
}

static bool tile_in_registers(sinter_schedule_cpu_state *state, sinter_loop_var outermost,
                              sinter_cpu_tile tile) {
    sinter_cpu_nest nest;
    return !outermost ||
           (sinter_cpu_find_bit_nest(state->schedule.function, outermost, &nest) &&
            sinter_cpu_tile_nest(state, &nest, sinter_cpu_find_row(state, &nest), 0, tile));
}

/* Weights of few bits that are decoded in panels, and what few rows and the last columns have. */
static bool contract_panels(sinter_schedule_cpu_state *state, sinter_cpu_bits *bits,
                            const sinter_cpu_nest *nest, const sinter_target *target) {
    sinter_cpu_bit_panels panels;
    sinter_schedule *schedule = &state->schedule;
    sinter_loop_function *before = sinter_loop_clone_function(state->program, schedule->function);
    if (!sinter_cpu_use_bit_panels(bits, nest, target, &panels)) return false;
    if (!tile_in_registers(state, panels.few, panels.tile) ||
        !tile_in_registers(state, panels.narrow, panels.tile)) {
        *schedule->function = *before;
        return false;
    }
    sinter_cpu_apply_packing(state, &panels.packing, panels.tile.columns);
    sinter_schedule_simplify(schedule);
    contract(state, sinter_cpu_outermost(schedule, panels.row, panels.outside), false);
    sinter_cpu_run_in_parallel(state, before, nest->loops[0]);
    return true;
}

static bool contract(sinter_schedule_cpu_state *state, sinter_loop_var nest, bool may_block) {
    sinter_cpu_bits bits;
    sinter_cpu_nest found;
    sinter_cpu_pack_plan packing;
    sinter_cpu_blocks blocks;
    sinter_schedule *schedule = &state->schedule;
    if (!sinter_cpu_find_nest(schedule->function, nest, &found)) return false;
    for (uint32_t i = 0; i < found.loop_count; i++)
        if (sinter_cpu_bounds_use(&found, found.loops[i])) return false;
    if (sinter_cpu_masks_rest(state, &found)) return false; /* as a window */
    sinter_loop_function *given = sinter_loop_clone_function(state->program, schedule->function);
    nest = sinter_cpu_join_rows(state, nest, false);
    if (!sinter_cpu_find_nest(schedule->function, nest, &found)) return false;
    bool has_taps = !sinter_cpu_use_dots(state, &found) && !found.part &&
                    sinter_cpu_use_tap_dots(state, &found);
    sinter_target target = *state->target;
    bool has_bits = !found.part && sinter_cpu_use_bits(state, &found, &bits);
    if (has_bits) {
        target.registers -= BITS_REGISTERS;
        /* Each sum has one of its own for each digit. */
        if (bits.digits > 1) target.registers = 10 * state->target->registers / 32;
        if (contract_panels(state, &bits, &found, &target)) return true;
        found.reduction = sinter_schedule_get_loop(schedule->function, found.reductions[0]);
    }
    sinter_cpu_start_with_sums(state, &found);
    sinter_loop_var row = sinter_cpu_find_row(state, &found);
    sinter_cpu_extent extent = sinter_cpu_measure(state, &found, row);
    int64_t lanes = sinter_schedule_cpu_lanes(state->target, found.dtype);
    /* What is loaded for a vector of taps is made of several loads, which rows share. */
    if (has_taps && extent.columns > lanes) extent.columns = lanes;
    sinter_cpu_tile tile = sinter_cpu_choose_tile(state, &target, found.dtype, &extent);
    tile = sinter_cpu_fit_panels(&target, tile, &extent, sinter_cpu_packed_columns(state, &found));
    tile.parts = has_bits ? bits.digits : 0;
    packing.count = 0;
    if (!found.part) { /* whose operands have a step for each chunk */
        sinter_cpu_plan_packing(state, &found, &packing);
        sinter_cpu_use_panels(state, &found, row, &target, &extent, may_block && !packing.count,
                              &tile);
    }
    sinter_loop_function *before = sinter_loop_clone_function(state->program, schedule->function);
    if (tile.block && sinter_cpu_block_nest(state, &found, row, tile, &blocks)) {
        schedule_blocks(state, &blocks);
        sinter_cpu_run_in_parallel(state, before, nest);
        return true;
    }
    if (!sinter_cpu_tile_nest(state, &found, row, 0, tile)) {
        *schedule->function = *given;
        return false;
    }
    sinter_cpu_apply_packing(state, &packing, tile.columns);
    sinter_schedule_simplify(schedule);
    sinter_cpu_prefetch(state);
    if (tile.panels) sinter_cpu_pack_operands(state, tile);
    sinter_cpu_run_in_parallel(state, before, nest);
    return true;
}

bool sinter_schedule_cpu_contract(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    return contract(state, nest, true);
}
