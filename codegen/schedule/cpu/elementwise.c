/* Independent iterations on CPUs: loops over consecutive elements become one, the innermost one runs in vector lanes, the
 * outermost in parallel where there is enough work. Where the innermost loop writes one element after the other but
 * reads with strides, and another loop the other way round (a transpose), both run in tiles that stay in cache.
 * The last schedule that is asked: it takes every nest and does for it what its verbs allow.
 * Test: tests/codegen/schedule/elementwise.loops, transpose.loops */
#include "codegen/schedule/cpu/operand.h"

enum { TILE = 16 }; /* elements each way: a cache line of four-byte elements */

/* A loop around the innermost one that reads consecutive elements; the chain's depth where there is none. */
static uint32_t find_reader(const sinter_schedule_cpu_state *state,
                            const sinter_schedule_chain *c) {
    uint32_t i = 0;
    while (i + 1 < c->depth && !sinter_schedule_cpu_streams(state, c->loops[i])) i++;
    return i + 1 < c->depth ? i : c->depth;
}

/* reader { writer } -> blocks of the reader { blocks of the writer { reader { writer in lanes } } }, with the rests after them.
 * The loop that goes outside of the tiles. */
static sinter_loop_var tile_pair(sinter_schedule *schedule, sinter_loop_var reader,
                                 sinter_loop_var writer) {
    sinter_loop_var blocks = 0, rows = 0, columns = 0, lanes = 0, rest = 0;
    if (!sinter_schedule_split(schedule, reader, TILE, SINTER_TAIL_PEEL, &blocks, &rows, NULL))
        return reader;
    if (!sinter_schedule_split(schedule, writer, TILE, SINTER_TAIL_PEEL, &columns, &lanes, &rest))
        return blocks;
    bool alone = !rest || sinter_schedule_fission(schedule, rows, 1, NULL);
    const sinter_loop_var order[2] = {columns, rows};
    if (alone) sinter_schedule_reorder(schedule, order, 2);
    sinter_cpu_turn_tile(schedule, rows, lanes);
    return blocks;
}

/* Reads of one loop, writes of another: the chain that is left outside of the tiles. */
static void tile_transpose(sinter_schedule_cpu_state *state, sinter_schedule_chain *c) {
    sinter_schedule *schedule = &state->schedule;
    sinter_loop_var writer = c->loops[c->depth - 1];
    int64_t count;
    if (sinter_loop_trip_count(sinter_schedule_get_loop(schedule->function, writer), &count) &&
        count <= TILE) {
        sinter_schedule_unroll(schedule, writer);
        if (c->depth > 1) c->depth--;
        return;
    }
    uint32_t found = find_reader(state, c);
    if (found == c->depth) return;
    sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX], reader = c->loops[found];
    uint32_t used = 0;
    for (uint32_t i = 0; i + 1 < c->depth; i++)
        if (i != found) order[used++] = c->loops[i];
    order[used++] = reader;
    if (found + 2 < c->depth && !sinter_schedule_reorder(schedule, order, used)) return;
    for (uint32_t i = 0; i < used; i++) c->loops[i] = order[i];
    c->depth = used > 1 ? used - 1 : 1;
    sinter_loop_var blocks = tile_pair(schedule, reader, writer);
    if (used == 1) c->loops[0] = blocks;
}

static sinter_loop_var schedule_part(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_schedule_chain c = sinter_schedule_chain_of(&state->schedule, nest);
    if (!c.depth) return nest;
    sinter_schedule_chain_collapse(&state->schedule, &c);
    sinter_loop_var inner = c.loops[c.depth - 1];
    sinter_schedule_hoist(&state->schedule, inner);
    sinter_loop_var columns = 0;
    bool jumps = sinter_schedule_cpu_jumps(state, inner);
    sinter_loop_var vectors = jumps ? inner : sinter_schedule_cpu_vectorize(state, inner);
    if (jumps)
        tile_transpose(state, &c);
    else if (c.depth == 1)
        c.loops[0] = vectors;
    else {
        c.depth--;
        if (vectors != inner) columns = vectors;
    }
    return sinter_schedule_cpu_parallelize(state, &c, columns);
}

sinter_loop_var sinter_schedule_cpu_elementwise(sinter_schedule_cpu_state *state,
                                                sinter_loop_var nest) {
    sinter_loop_var parts[SINTER_SCHEDULE_MAX_PARTS], last = 0;
    uint32_t count = sinter_schedule_cpu_cut_borders(state, nest, parts);
    sinter_schedule_cpu_flatten(state);
    if (!count) return schedule_part(state, nest);
    for (uint32_t i = 0; i < count; i++) last = schedule_part(state, parts[i]);
    return last;
}
