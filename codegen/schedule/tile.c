/* The register tile: accumulators of a block of outputs live in registers while the reduction runs outside of them.
 * Made of the other verbs, each of which checks itself; when one refuses, the function is put back.
 * Needs: the nest of schedule.h. Guarantees: every accumulator adds in the order it did.
 * Test: tests/unit/loop_property_test.c */
#include "codegen/schedule/internal.h"

#include <string.h>

static sinter_loop_stmt *stmt_at(const sinter_loop_stmt *first, size_t index) {
    const sinter_loop_stmt *stmt = first;
    while (stmt && index--) stmt = stmt->next;
    return (sinter_loop_stmt *)(uintptr_t)stmt;
}

bool sinter_schedule_find_reduction(const sinter_loop_stmt *body, sinter_loop_var accumulator,
                                    size_t *out_index) {
    *out_index = 0;
    for (const sinter_loop_stmt *stmt = body; stmt; stmt = stmt->next, ++*out_index)
        if (stmt->kind == SINTER_LOOP_FOR && sinter_loop_list_assigns(stmt->body, accumulator))
            return true;
    return false;
}

void sinter_schedule_inline_lets(sinter_schedule *schedule, const sinter_loop_stmt *loop,
                                 sinter_loop_var accumulator) {
    for (sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_FOR && sinter_loop_list_assigns(stmt->body, accumulator))
            break;
        if (stmt->kind == SINTER_LOOP_DECLARE && stmt->var != accumulator &&
            !schedule->function->vars.items[stmt->var].is_mutable)
            sinter_schedule_inline(schedule,
                                   stmt->var); /* where it refuses, the fission will say so */
    }
}

bool sinter_schedule_part_cut(sinter_schedule *schedule, sinter_schedule_part tile, size_t count,
                              sinter_schedule_part *out_second) {
    *out_second = (sinter_schedule_part){0};
    return sinter_schedule_fission(schedule, tile.n, count, &out_second->n) &&
           (!tile.m || sinter_schedule_fission(schedule, tile.m, 1, &out_second->m));
}

/* Brings the loops of the reduction outside of the tile's. */
static bool lift_reduction(sinter_schedule *schedule, sinter_schedule_part tile) {
    sinter_loop_var order[16];
    size_t count = 0;
    sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, tile.n)->body;
    while (loop && loop->kind == SINTER_LOOP_FOR && !loop->next &&
           loop->axis == SINTER_AXIS_SERIAL && count < 14) {
        order[count++] = loop->var;
        loop = loop->body;
    }
    /* Reductions whose inner bounds follow outer ones, or with statements between, keep those
     * inside. */
    for (; count; count--) {
        sinter_loop_var wanted[16];
        size_t total = count;
        memcpy(wanted, order, count * sizeof *order);
        if (tile.m) wanted[total++] = tile.m;
        wanted[total++] = tile.n;
        if (sinter_schedule_reorder(schedule, wanted, total)) return true;
    }
    return false;
}

/* The loops of a part become unroll and vector axes. */
static bool mark(sinter_schedule *schedule, sinter_schedule_part tile, int64_t vector,
                 bool must_vectorize) {
    if (tile.m && !sinter_schedule_unroll(schedule, tile.m)) return false;
    if (vector <= 1) return sinter_schedule_unroll(schedule, tile.n);
    sinter_loop_var block = 0, lane = tile.n;
    int64_t count;
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, tile.n);
    if (!sinter_loop_trip_count(loop, &count))
        return sinter_schedule_refuse(schedule, "the tile has no constant size");
    if (count != vector &&
        !sinter_schedule_split(schedule, tile.n, vector, SINTER_TAIL_EXACT, &block, &lane, NULL))
        return false;
    if (block && !sinter_schedule_unroll(schedule, block)) return false;
    return sinter_schedule_vectorize(schedule, lane) ||
           (!must_vectorize && sinter_schedule_unroll(schedule, lane));
}

/* Splits n, then m, and brings the tile's loops together: mo { no { mi { ni } } }. */
static bool block_nest(sinter_schedule *schedule, sinter_register_tile *tile,
                       sinter_schedule_part *out_tile) {
    sinter_loop_var rest = 0;
    if (!sinter_schedule_split(schedule, tile->n, tile->tile_n, SINTER_TAIL_PEEL, &tile->out_n,
                               &out_tile->n, &rest))
        return false;
    tile->out_rest[1] = rest;
    if (!tile->m) return true;
    if (rest && !sinter_schedule_fission(schedule, tile->m, 1, &tile->out_rest[1])) return false;
    if (!sinter_schedule_split(schedule, tile->m, tile->tile_m, SINTER_TAIL_PEEL, &tile->out_m,
                               &out_tile->m, &tile->out_rest[0]))
        return false;
    const sinter_loop_var order[2] = {tile->out_n, out_tile->m};
    return sinter_schedule_reorder(schedule, order, 2);
}

/* A copy of the accumulators on the stack, made in front of the uses, which read it instead. */
static bool spill(sinter_schedule *schedule, const sinter_register_tile *tile,
                  sinter_schedule_part end, sinter_schedule_part *out_copy) {
    sinter_loop_stmt **link =
        sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, end.m ? end.m : end.n);
    if (!link) return false;
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_builder *b = &map.builder;
    const sinter_loop_buffer_info info = schedule->function->buffers.items[tile->out_accumulator];
    sinter_loop_buffer copy =
        sinter_loop_add_buffer(b, info.name, info.dtype, info.rank, info.dims, SINTER_SCOPE_STACK);
    sinter_loop_map_buffer(&map, tile->out_accumulator, copy);
    sinter_loop_map_list(&map, *link);
    b->tail = link;
    sinter_loop_alloc(b, copy);
    sinter_expr index[2];
    for (uint32_t i = 0; i < info.rank; i++) {
        sinter_loop_var var =
            sinter_loop_begin_for(b, i + 1 < info.rank ? "m" : "n", sinter_loop_int(b, 0),
                                  info.dims[i], 1, SINTER_AXIS_SERIAL);
        if (i + 1 < info.rank)
            out_copy->m = var;
        else
            out_copy->n = var;
        index[i] = sinter_loop_var_read(b, var);
    }
    sinter_loop_store(b, copy, index, sinter_loop_load(b, tile->out_accumulator, index));
    for (uint32_t i = 0; i < info.rank; i++) sinter_loop_end(b);
    return true;
}

/* The uses as a loop over rows, or over vectors where there is one row. */
static bool mark_rolled(sinter_schedule *schedule, sinter_schedule_part tile, int64_t vector) {
    sinter_loop_var block = 0, lane = tile.n;
    int64_t count;
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, tile.n);
    if (vector <= 1 || !sinter_loop_trip_count(loop, &count)) return true;
    if (count != vector &&
        !sinter_schedule_split(schedule, tile.n, vector, SINTER_TAIL_EXACT, &block, &lane, NULL))
        return false;
    if (tile.m && block) sinter_schedule_unroll(schedule, block);
    sinter_schedule_vectorize(schedule, lane); /* or it stays serial */
    return true;
}

static bool mark_uses(sinter_schedule *schedule, const sinter_register_tile *tile,
                      sinter_schedule_part end) {
    sinter_schedule_part copy = {0};
    if (!tile->rolled) return mark(schedule, end, tile->vector, false);
    return spill(schedule, tile, end, &copy) && mark(schedule, copy, tile->vector, true) &&
           mark_rolled(schedule, end, tile->vector);
}

/* The sum of its own that an iteration of the reduction begins with; 0: none. */
static sinter_loop_var inner_sum(const sinter_schedule *schedule, sinter_schedule_part reduction) {
    const sinter_loop_stmt *first = sinter_schedule_get_loop(schedule->function, reduction.n)->body;
    bool declares = first->kind == SINTER_LOOP_DECLARE;
    return declares && schedule->function->vars.items[first->var].is_mutable ? first->var : 0;
}

enum { MOST_SUMS = 8 };

/* Sums that are declared next to the tile's, right behind it, and added to by the same reduction; each becomes elements of the tile, too. */
static bool expand_others(sinter_schedule *schedule, const sinter_register_tile *tile,
                          const sinter_loop_stmt *reduction, const sinter_loop_var *loops,
                          size_t count, sinter_loop_buffer *out_others, size_t *out_count) {
    sinter_loop_stmt **link =
        sinter_schedule_find_link(schedule, SINTER_LOOP_DECLARE, tile->accumulator);
    if (!link) return false;
    const sinter_loop_stmt *stmt = (*link)->next, *next;
    for (*out_count = 0; stmt && stmt != reduction && *out_count < MOST_SUMS; stmt = next) {
        next = stmt->next;
        if (stmt->kind != SINTER_LOOP_DECLARE ||
            !sinter_loop_list_assigns(reduction->body, stmt->var))
            continue;
        if (!sinter_schedule_expand(schedule, stmt->var, loops, count, &out_others[*out_count]))
            return false;
        ++*out_count;
    }
    return true;
}

/* Sums of the tile's elements in front of, in and behind a reduction outside of its loops. What an iteration of the
 * reduction sums up for itself is a tile within. */
static bool tile_sums(sinter_schedule *schedule, const sinter_register_tile *tile,
                      sinter_schedule_part start, sinter_loop_buffer *out_accumulator) {
    sinter_schedule_part reduction = {0}, end = {0};
    sinter_loop_buffer others[MOST_SUMS];
    size_t index, other_count;
    sinter_loop_stmt *inner = sinter_schedule_get_loop(schedule->function, start.n);
    sinter_schedule_inline_lets(schedule, inner, tile->accumulator);
    if (!sinter_schedule_find_reduction(inner->body, tile->accumulator, &index) || index == 0)
        return sinter_schedule_refuse(schedule, "there is no reduction into the accumulator");
    bool ends = stmt_at(inner->body, index + 1) != NULL;
    const sinter_loop_var loops[2] = {start.m ? start.m : start.n, start.n};
    size_t depth = start.m ? 2 : 1;
    if (!expand_others(schedule, tile, stmt_at(inner->body, index), loops, depth, others,
                       &other_count) ||
        !sinter_schedule_expand(schedule, tile->accumulator, loops, depth, out_accumulator) ||
        !sinter_schedule_part_cut(schedule, start, index, &reduction) ||
        (ends && !sinter_schedule_part_cut(schedule, reduction, 1, &end)) ||
        !lift_reduction(schedule, reduction))
        return false;
    sinter_register_tile within = *tile;
    within.accumulator = inner_sum(schedule, reduction);
    within.rolled = false;
    if (within.accumulator ? !tile_sums(schedule, &within, reduction, &within.out_accumulator)
                           : !mark(schedule, reduction, tile->vector, true))
        return false;
    sinter_register_tile own = *tile;
    own.out_accumulator = *out_accumulator;
    if (!mark(schedule, start, tile->vector, true) || (ends && !mark_uses(schedule, &own, end)))
        return false;
    for (size_t i = 0; i < other_count; i++)
        if (!sinter_schedule_promote(schedule, others[i])) return false;
    return sinter_schedule_promote(schedule, *out_accumulator);
}

static bool tile_nest(sinter_schedule *schedule, sinter_register_tile *tile) {
    sinter_schedule_part start = {0};
    return block_nest(schedule, tile, &start) &&
           tile_sums(schedule, tile, start, &tile->out_accumulator);
}

bool sinter_schedule_register_tile(sinter_schedule *schedule, sinter_register_tile *tile) {
    const sinter_loop_stmt *outer = sinter_schedule_get_loop(schedule->function, tile->m);
    const sinter_loop_stmt *inner = sinter_schedule_get_loop(schedule->function, tile->n);
    int64_t count;
    if (!inner || (tile->m && (!outer || outer->body != inner || inner->next)))
        return sinter_schedule_refuse(schedule, "these are not perfectly nested loops");
    if (tile->tile_n < 1 || (tile->m && tile->tile_m < 1) ||
        (tile->vector > 1 && tile->tile_n % tile->vector))
        return sinter_schedule_refuse(schedule, "the tile is no whole number of vectors");
    if ((sinter_loop_trip_count(inner, &count) && count < tile->tile_n) ||
        (outer && sinter_loop_trip_count(outer, &count) && count < tile->tile_m))
        return sinter_schedule_refuse(schedule, "the tile is larger than the loops");
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    sinter_register_tile asked = *tile;
    tile->out_m = tile->out_n = tile->out_rest[0] = tile->out_rest[1] = 0;
    tile->out_accumulator = 0;
    if (tile_nest(schedule, tile)) return true;
    *schedule->function = *saved;
    *tile = asked;
    return false;
}
