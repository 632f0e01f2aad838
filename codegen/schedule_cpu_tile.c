/* Register tiles for nests around one accumulator: matrix products, convolutions, pools. The rows of a tile share what a
 * column loads and the other way round; columns are vectors. What the tile leaves over of rows and columns is tiled
 * smaller, by the same code. Needs: a nest of sinter_cpu_find_nest. Guarantees: the same values.
 * Test: tests/codegen/schedule/ */
#include "codegen/schedule_cpu_tile.h"
#include "codegen/schedule_internal.h"

#include <string.h>

/* ---- recognition ---- */

/* The loop of the sum of its own that the body is:  var part = 0; for k ...; acc = acc + part.  NULL: it is none. */
static const sinter_loop_stmt *part_loop(const sinter_loop_function *function,
                                         const sinter_loop_stmt *body) {
    const sinter_loop_stmt *loop = body ? body->next : NULL, *sum = loop ? loop->next : NULL;
    bool is_part = sum && !sum->next && body->kind == SINTER_LOOP_DECLARE &&
                   function->vars.items[body->var].is_mutable && sinter_loop_is_serial(loop) &&
                   sum->kind == SINTER_LOOP_ASSIGN;
    return is_part ? loop : NULL;
}

sinter_loop_var sinter_cpu_find_part(const sinter_loop_function *function,
                                     const sinter_loop_stmt *loop) {
    const sinter_loop_stmt *inner = part_loop(function, loop->body);
    return inner ? inner->var : 0;
}

/* The reductions below `loop`: perfectly nested loops around statements that assign the accumulator. */
static bool find_reductions(const sinter_loop_function *function, sinter_cpu_nest *nest,
                            const sinter_loop_stmt *loop) {
    if (!nest->reduction) nest->reduction = loop;
    for (; sinter_loop_is_serial(loop); loop = loop->body) {
        if (nest->reduction_count == SINTER_MAX_RANK) return false;
        nest->reductions[nest->reduction_count++] = loop->var;
        if (!sinter_loop_is_serial(loop->body) || loop->body->next) break;
    }
    const sinter_loop_stmt *inner = part_loop(function, loop->body);
    if (inner && !nest->part) {
        nest->part = loop->body->var;
        return find_reductions(function, nest, inner);
    }
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next)
        if (stmt->kind != SINTER_LOOP_ASSIGN && stmt->kind != SINTER_LOOP_DECLARE) return false;
    return true;
}

bool sinter_cpu_find_nest(const sinter_loop_function *function, sinter_loop_var outermost,
                          sinter_cpu_nest *out_nest) {
    *out_nest = (sinter_cpu_nest){0};
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(function, outermost);
    for (; sinter_loop_is_serial(loop); loop = loop->body) {
        if (out_nest->loop_count == SINTER_MAX_RANK) return false;
        out_nest->loops[out_nest->loop_count++] = loop->var;
        if (!sinter_loop_is_serial(loop->body) || loop->body->next) break;
    }
    if (!loop) return false;
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next) {
        bool is_mutable =
            stmt->kind == SINTER_LOOP_DECLARE && function->vars.items[stmt->var].is_mutable;
        if (is_mutable && out_nest->accumulator) return false;
        if (is_mutable) out_nest->accumulator = stmt->var;
        if (stmt->kind == SINTER_LOOP_FOR) {
            if (!out_nest->accumulator || out_nest->reduction || !sinter_loop_is_serial(stmt) ||
                !find_reductions(function, out_nest, stmt))
                return false;
        } else if (stmt->kind != SINTER_LOOP_DECLARE && stmt->kind != SINTER_LOOP_STORE) {
            return false;
        }
    }
    if (!out_nest->accumulator || !out_nest->reduction) return false;
    sinter_loop_var sum = out_nest->part ? out_nest->part : out_nest->accumulator;
    out_nest->dtype = function->vars.items[sum].dtype;
    return true;
}

/* ---- what the reduction loads ---- */

bool sinter_cpu_bounds_use(const sinter_cpu_nest *nest, sinter_loop_var var) {
    const sinter_loop_stmt *loop = nest->reduction;
    for (uint32_t i = 0; i < nest->reduction_count; i++, loop = loop->body) {
        while (loop->kind != SINTER_LOOP_FOR) loop = loop->next; /* a sum of its own */
        if (sinter_loop_expr_uses(loop->lower, var) || sinter_loop_expr_uses(loop->upper, var))
            return true;
    }
    return false;
}

bool sinter_cpu_broadcasts(const sinter_cpu_nest *nest) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    bool found = false;
    for (size_t k = 0; k < loads.count; k++)
        found |= !sinter_loop_access_uses(&loads.items[k], nest->loops[nest->loop_count - 1]);
    sinter_arena_deinit(&scratch);
    return found;
}

sinter_loop_var sinter_cpu_find_row(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_access_list loads = {0};
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    sinter_loop_var column = nest->loops[nest->loop_count - 1], found = 0;
    for (uint32_t i = nest->loop_count - 1; i-- > 0 && !found;) {
        int64_t count;
        if (sinter_cpu_bounds_use(nest, nest->loops[i]) ||
            (sinter_loop_trip_count(
                 sinter_schedule_get_loop(state->schedule.function, nest->loops[i]), &count) &&
             count == 1))
            continue;
        for (size_t k = 0; k < loads.count && !found; k++)
            if (sinter_loop_access_uses(&loads.items[k], column) &&
                !sinter_loop_access_uses(&loads.items[k], nest->loops[i]))
                found = nest->loops[i];
    }
    sinter_arena_deinit(&scratch);
    return found;
}

/* ---- what is made of the sums ---- */

static void count_expansions(void *user, sinter_expr expr) {
    uint32_t *count = user;
    if (expr->kind == SINTER_LOOP_CALL && sinter_scalar_get_info(expr->function)->expansion)
        ++*count;
}

static bool count_in_stmt(void *user, sinter_loop_stmt *stmt) {
    sinter_loop_walk_stmt_exprs(stmt, count_expansions, user);
    return true;
}

/* Functions that take many instructions: one copy of them must do. */
static bool is_long(sinter_schedule *schedule, sinter_loop_var column) {
    uint32_t count = 0;
    sinter_loop_walk(sinter_schedule_get_loop(schedule->function, column)->body, count_in_stmt,
                     &count);
    return count > 0;
}

/* ---- shape of the tile ---- */

enum { MAX_ROWS = 8, MAX_VECTORS = 8, REST_COST = 16, MANY_ROWS = 840 };
enum {
    MAX_STEPS = 5,        /* of a reduction that is unrolled */
    FEW_ITERATIONS = 16,  /* for all threads that there may be */
    MOST_TIMED = 1 << 20, /* rows or vectors; beyond, the best tile is the same */
    MANY_STEPS = 256,     /* of a reduction, beyond which the end of a tile is nothing */
    FREE_SUMS = 14,       /* a core overlaps the end of as many with the next tile */
    MOST_OWN = 16 /* sums that load each of their products: more of them only is more code */
};
enum {
    CYCLE = 12,           /* times are twelfths of a cycle, so that they are whole numbers */
    LOOP = CYCLE,         /* of a step */
    SUM_COST = 6 * CYCLE, /* for each further sum at the end */
    SEEN = 4              /* part of the time from the second cache that products don't hide */
};

/* Time for a tile: in each step of the reduction the core multiplies, loads, reads its columns from the cache that holds them
 * until the next rows come, and waits until a sum can go on; the longest counts, and the loop, and some of the reading. Rows
 * that load vectors of their own come from the second cache. At the end all sums wait for the last step, and what is made of
 * them, while the queues of the core are full of them: short sums want small tiles. */
static int64_t tile_time(const sinter_target *target, const sinter_cpu_extent *extent, int64_t rows,
                         int64_t vectors) {
    bool own = extent->reuse == SINTER_CPU_REUSE_COLUMNS;
    bool few = extent->steps >= 0 && extent->steps < MANY_STEPS;
    int64_t steps = few ? extent->steps : MANY_STEPS, sums = rows * vectors;
    bool held = few && steps * vectors * target->vector_bytes <= target->l1_bytes / 2;
    int64_t far = target->vector_bytes * CYCLE / target->near_bytes;
    int64_t read = vectors * (held ? CYCLE / target->loads : far);
    const int64_t times[] = {sums * CYCLE / target->products,
                             ((own ? sums : rows) + vectors) * CYCLE / target->loads,
                             target->latency * CYCLE, read};
    int64_t step = 0;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i] > step) step = times[i];
    step += LOOP + (read + (own ? rows * far : 0)) / SEEN;
    bool waits = sums > FREE_SUMS && !extent->rolled;
    return step * steps + (waits ? (sums - FREE_SUMS) * SUM_COST : 0);
}

/* A count to estimate times with: unknown ones are many, and of any size the times can be multiplied. */
static int64_t timed_count(int64_t count) {
    return count < 0 ? MANY_ROWS : count < MOST_TIMED ? count : MOST_TIMED;
}

/* All tiles of `rows` rows, the last one with what is left. */
static int64_t rows_time(const sinter_target *target, const sinter_cpu_extent *extent, int64_t tile,
                         int64_t vectors) {
    int64_t rows = timed_count(extent->rows);
    int64_t time = rows / tile * tile_time(target, extent, tile, vectors);
    return rows % tile ? time + tile_time(target, extent, rows % tile, vectors) : time;
}

static bool fits_registers(const sinter_target *target, int64_t rows, int64_t vectors) {
    int64_t temporaries = sinter_target_has(target, "fma|neon") ? 1 : 2;
    return rows * vectors + vectors + temporaries < target->registers;
}

/* Sums that load each of their products gain nothing from more registers than hide the latency. */
static bool is_possible(const sinter_target *target, const sinter_cpu_extent *extent, int64_t rows,
                        int64_t vectors) {
    int64_t most = extent->reuse == SINTER_CPU_REUSE_NONE ? 1 : MAX_ROWS;
    if (rows > most || rows > timed_count(extent->rows)) return false;
    return fits_registers(target, rows, vectors) &&
           (extent->reuse != SINTER_CPU_REUSE_COLUMNS || rows * vectors <= MOST_OWN);
}

sinter_cpu_extent sinter_cpu_measure(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                                     sinter_loop_var row) {
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    int64_t rows = row ? sinter_cpu_most_trips(state, row) : 1;
    sinter_cpu_extent extent = {.rows = rows <= MAX_ROWS ? rows : sinter_cpu_trips(state, row),
                                .columns = sinter_cpu_trips(state, column),
                                .steps = 1,
                                .rolled = is_long(&state->schedule, column)};
    extent.reuse = !row                          ? SINTER_CPU_REUSE_NONE
                   : sinter_cpu_broadcasts(nest) ? SINTER_CPU_REUSE_BOTH
                                                 : SINTER_CPU_REUSE_COLUMNS;
    for (uint32_t i = 0; i < nest->reduction_count && extent.steps >= 0; i++) {
        int64_t count = sinter_cpu_trips(state, nest->reductions[i]);
        bool few = count >= 0 && count < MANY_STEPS && extent.steps < MANY_STEPS;
        extent.steps = few ? extent.steps * count : -1;
    }
    return extent;
}

/* Tiles in the order of their times. */
typedef struct ranking {
    sinter_cpu_tile tiles[MAX_ROWS * MAX_VECTORS];
    int64_t times[MAX_ROWS * MAX_VECTORS];
    uint32_t count;
} ranking;

/* Of equal ones the last is the best: it has more columns. */
static void add_to_ranking(ranking *r, sinter_cpu_tile tile, int64_t time) {
    uint32_t at = r->count++;
    for (; at > 0 && r->times[at - 1] >= time; at--) {
        r->tiles[at] = r->tiles[at - 1];
        r->times[at] = r->times[at - 1];
    }
    r->tiles[at] = tile;
    r->times[at] = time;
}

static void rank_tiles(const sinter_target *target, const sinter_cpu_extent *extent, int64_t lanes,
                       ranking *out_ranking) {
    int64_t columns = extent->columns, vectors = MANY_ROWS;
    if (columns >= 0) vectors = columns < lanes ? 1 : timed_count((columns - 1) / lanes + 1);
    for (int64_t v = 1; v <= MAX_VECTORS && v <= vectors; v++)
        for (int64_t r = 1; is_possible(target, extent, r, v); r++) {
            int64_t time = vectors / v * rows_time(target, extent, r, v);
            if (vectors % v) time += rows_time(target, extent, r, vectors % v) + time / REST_COST;
            add_to_ranking(out_ranking,
                           (sinter_cpu_tile){.rows = r, .columns = v * lanes, .lanes = lanes},
                           time);
        }
}

sinter_cpu_tile sinter_cpu_choose_tile(sinter_schedule_cpu_state *state,
                                       const sinter_target *target, sinter_dtype dtype,
                                       const sinter_cpu_extent *extent) {
    enum { MAX_ANSWERS = 12 };
    int64_t lanes = sinter_schedule_cpu_lanes(target, dtype);
    ranking best = {.tiles = {{.rows = 1, .columns = lanes, .lanes = lanes}}};
    rank_tiles(target, extent, lanes, &best);
    sinter_cpu_answer answers[MAX_ANSWERS];
    uint32_t count = best.count < MAX_ANSWERS ? best.count : MAX_ANSWERS;
    for (uint32_t i = 0; i < count; i++)
        answers[i] = sinter_cpu_answer_make("%lldx%lld", (long long)best.tiles[i].rows,
                                            (long long)best.tiles[i].columns);
    return best.tiles[count > 1 ? sinter_cpu_choose(state, "tile", answers, count) : 0];
}

sinter_cpu_tile sinter_cpu_choose_rows(const sinter_target *target, sinter_cpu_tile tile,
                                       const sinter_cpu_extent *extent) {
    int64_t vectors = tile.columns / tile.lanes, best_time = INT64_MAX;
    tile.rows = 1;
    for (int64_t r = 1; is_possible(target, extent, r, vectors); r++) {
        int64_t time = rows_time(target, extent, r, vectors);
        if (time > best_time) continue;
        best_time = time;
        tile.rows = r;
    }
    return tile;
}

sinter_cpu_tile sinter_cpu_fit_panels(const sinter_target *target, sinter_cpu_tile tile,
                                      const sinter_cpu_extent *extent, int64_t panel) {
    bool crosses = panel && (extent->columns < 0 || extent->columns > panel);
    if (!crosses || panel % tile.columns == 0) return tile;
    tile.columns = tile.columns / tile.lanes * tile.lanes;
    while (tile.columns > tile.lanes && panel % tile.columns) tile.columns -= tile.lanes;
    return sinter_cpu_choose_rows(target, tile, extent);
}

/* ---- splitting a nest into parts ---- */

typedef struct tiling {
    sinter_schedule_cpu_state *state;
    sinter_cpu_tile tile;
    bool has_row;
    uint32_t outside;                            /* loops around the nest */
    int64_t column_bytes;                        /* of what depends on columns */
    bool columns_outside;                        /* blocks of columns go around blocks of rows */
    sinter_loop_var free_loops[SINTER_MAX_RANK]; /* loops that columns may go around too */
    uint32_t free_count;
    uint32_t done;
} tiling;

/* Loops around the loop, outermost first. */
static uint32_t loops_around(sinter_schedule *schedule, sinter_loop_var loop,
                             sinter_loop_var *out_loops) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, loop);
    if (!link) return 0;
    sinter_arena scratch;
    uint32_t count = 0;
    sinter_arena_init(&scratch);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
    for (size_t i = 0; i < path.count && count < SINTER_MAX_RANK; i++)
        if (path.items[i]->kind == SINTER_LOOP_FOR) out_loops[count++] = path.items[i]->var;
    sinter_arena_deinit(&scratch);
    return count;
}

static sinter_loop_var parent_of(sinter_schedule *schedule, sinter_loop_var loop) {
    sinter_loop_var around[SINTER_MAX_RANK];
    uint32_t count = loops_around(schedule, loop, around);
    return count ? around[count - 1] : 0;
}

uint32_t sinter_cpu_depth(sinter_schedule *schedule, sinter_loop_var loop) {
    sinter_loop_var around[SINTER_MAX_RANK];
    return loops_around(schedule, loop, around);
}

sinter_loop_var sinter_cpu_outermost(sinter_schedule *schedule, sinter_loop_var loop,
                                     uint32_t outside) {
    sinter_loop_var around[SINTER_MAX_RANK];
    uint32_t count = loops_around(schedule, loop, around);
    return count > outside ? around[outside] : loop;
}

bool sinter_cpu_isolate(sinter_schedule *schedule, sinter_loop_var loop, uint32_t outside) {
    for (;;) {
        sinter_loop_var around[SINTER_MAX_RANK], child = loop;
        uint32_t count = loops_around(schedule, loop, around);
        bool changed = false;
        while (count-- > outside && !changed) {
            const sinter_loop_stmt *parent =
                sinter_schedule_get_loop(schedule->function, around[count]);
            size_t before = 0;
            const sinter_loop_stmt *stmt = parent->body;
            for (; stmt && !(stmt->kind == SINTER_LOOP_FOR && stmt->var == child);
                 stmt = stmt->next)
                before++;
            if (stmt && (before || stmt->next)) {
                if (!sinter_schedule_fission(schedule, parent->var, before ? before : 1, NULL))
                    return false;
                changed = true;
            }
            child = around[count];
        }
        if (!changed) return true;
    }
}

static sinter_loop_var only_child(sinter_schedule *schedule, sinter_loop_var loop) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    return stmt && sinter_loop_is_serial(stmt->body) && !stmt->body->next ? stmt->body->var : 0;
}

/* The loop whose body assigns the accumulator. */
static sinter_loop_var innermost_reduction(sinter_schedule *schedule, sinter_loop_var column) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, column)->body;
    while (stmt && stmt->kind != SINTER_LOOP_FOR) stmt = stmt->next;
    while (stmt && sinter_loop_is_serial(stmt->body) && !stmt->body->next) stmt = stmt->body;
    return stmt ? stmt->var : 0;
}

static bool tile_block(tiling *t, sinter_loop_var row, sinter_loop_var column, int64_t rows,
                       int64_t columns, sinter_loop_var accumulator) {
    int64_t vector = columns < t->tile.lanes ? columns : t->tile.lanes;
    sinter_register_tile tile = {.m = row,
                                 .n = column,
                                 .accumulator = accumulator,
                                 .tile_m = rows,
                                 .tile_n = columns,
                                 .vector = vector,
                                 .rolled = is_long(&t->state->schedule, column)};
    sinter_loop_var innermost = innermost_reduction(&t->state->schedule, column);
    if (!sinter_schedule_register_tile(&t->state->schedule, &tile)) return false;
    int64_t steps = sinter_schedule_trips(&t->state->schedule, innermost);
    if (steps > 0 && steps <= MAX_STEPS) sinter_schedule_unroll(&t->state->schedule, innermost);
    t->done++;
    return true;
}

/* The mutable variable in front of the reduction. */
static sinter_loop_var accumulator_in(sinter_schedule *schedule, sinter_loop_var column) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, column)->body;
    for (; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE &&
            schedule->function->vars.items[stmt->var].is_mutable)
            return stmt->var;
    return 0;
}

/* Blocks of columns outside of all loops that don't need other columns. */
static void lift_columns(tiling *t, sinter_loop_var blocks) {
    sinter_schedule *schedule = &t->state->schedule;
    sinter_loop_var around[SINTER_MAX_RANK], order[SINTER_MAX_RANK];
    uint32_t count = loops_around(schedule, blocks, around), fixed = 0, used = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool is_free = false;
        for (uint32_t k = 0; k < t->free_count; k++) is_free |= around[i] == t->free_loops[k];
        if (!is_free) fixed = i + 1;
    }
    if (fixed == count) return;
    order[used++] = blocks;
    for (uint32_t i = fixed; i < count; i++) order[used++] = around[i];
    sinter_schedule_reorder(schedule, order, used);
}

/* Rows, or blocks of columns, of so many columns whose sums are enough not to wait for each other. */
static int64_t rows_for_latency(const tiling *t, int64_t columns) {
    const sinter_target *target = t->state->target;
    int64_t vectors = columns < t->tile.lanes ? 1 : columns / t->tile.lanes;
    return (target->latency * target->products - 1) / vectors + 1;
}

/* Blocks of columns that one row takes at a time: enough for their sums not to wait for each other, or else as many as can be. */
static int64_t blocks_for_latency(const tiling *t, int64_t count, int64_t columns) {
    int64_t wanted = rows_for_latency(t, columns), most = 1;
    if (columns < t->tile.lanes) return 1;
    for (int64_t factor = 2; factor <= count && factor < 2 * wanted; factor++)
        if (count % factor == 0 && most < wanted &&
            fits_registers(t->state->target, factor, columns / t->tile.lanes))
            most = factor;
    return most;
}

/* blocks { column } of one row. */
static bool tile_single_row(tiling *t, sinter_loop_var blocks, sinter_loop_var column,
                            int64_t columns) {
    sinter_schedule *schedule = &t->state->schedule;
    sinter_loop_var together = 0;
    int64_t factor =
        blocks ? blocks_for_latency(t, sinter_schedule_trips(schedule, blocks), columns) : 1;
    if (factor > 1 &&
        !sinter_schedule_split(schedule, blocks, factor, SINTER_TAIL_EXACT, NULL, &together, NULL))
        return false;
    return tile_block(t, together, column, factor, columns, accumulator_in(schedule, column));
}

/* row { blocks { column } }: tiles of rows, then what is left of them. */
static bool tile_rows(tiling *t, sinter_loop_var row, sinter_loop_var blocks,
                      sinter_loop_var column, int64_t columns) {
    sinter_schedule *schedule = &t->state->schedule;
    bool outside = t->columns_outside;
    if (!row && outside) lift_columns(t, blocks);
    if (!row) return tile_single_row(t, outside ? 0 : blocks, column, columns);
    const sinter_loop_var columns_first[2] = {blocks, row};
    if (outside && !sinter_schedule_reorder(schedule, columns_first, 2)) return false;
    if (outside) lift_columns(t, blocks);
    int64_t rows = t->tile.rows;
    while (row) {
        int64_t count = sinter_schedule_trips(schedule, row);
        if (count >= 0 && count < rows) rows = count;
        sinter_loop_var outer = 0, inner = row, rest = 0;
        if (rows > 1 &&
            !sinter_schedule_split(schedule, row, rows, SINTER_TAIL_PEEL, &outer, &inner, &rest))
            return false;
        /* Inside of blocks of columns, all rows follow each other: the block is read once. */
        if (rest && !outside && !sinter_cpu_isolate(schedule, rest, t->outside)) return false;
        blocks = outside ? 0 : only_child(schedule, inner);
        column = outside ? only_child(schedule, inner) : only_child(schedule, blocks);
        const sinter_loop_var rows_inside[2] = {blocks, inner};
        if (!outside && rows > 1 && !sinter_schedule_reorder(schedule, rows_inside, 2))
            return false;
        bool good =
            rows > 1 ? tile_block(t, inner, column, rows, columns, accumulator_in(schedule, column))
                     : tile_single_row(t, blocks, column, columns);
        if (!good) return false;
        row = rest;
        int64_t fewer = rows_for_latency(t, columns);
        rows = rows <= 4 ? 1 : fewer < rows / 2 ? fewer : rows / 2;
        if (row && sinter_schedule_trips(schedule, row) > 0)
            rows = sinter_schedule_trips(schedule, row);
    }
    return true;
}

/* Columns at a time for what is left: whole vectors where they fit, then a power of two. 0: one by one. */
static int64_t next_width(const tiling *t, int64_t count, int64_t width) {
    int64_t lanes = t->tile.lanes;
    if (count < 0) return width > lanes ? lanes : width > 4 ? 4 : 0;
    if (count >= t->tile.columns) return t->tile.columns;
    if (count >= lanes) return count / lanes * lanes;
    int64_t power = 1;
    while (power * 2 <= count) power *= 2;
    return power > 1 ? power : 0;
}

static bool tile_columns(tiling *t, sinter_loop_var column) {
    sinter_schedule *schedule = &t->state->schedule;
    int64_t count = sinter_schedule_trips(schedule, column), width = t->tile.columns;
    if (count >= 0) width = next_width(t, count, 0);
    while (width && column) {
        sinter_loop_var outer = 0, inner = 0, rest = 0;
        if (!sinter_schedule_split(schedule, column, width, SINTER_TAIL_PEEL, &outer, &inner,
                                   &rest))
            return false;
        if (rest && !sinter_cpu_isolate(schedule, rest, t->outside)) return false;
        sinter_loop_var row = t->has_row ? parent_of(schedule, outer) : 0;
        if (!tile_rows(t, row, outer, inner, width)) return false;
        column = rest;
        if (column) width = next_width(t, sinter_schedule_trips(schedule, column), width);
    }
    return true;
}

/* ---- the whole ---- */

/* Bytes of the operands that depend on the column; a large number where they have no constant size. */
static int64_t column_bytes(const sinter_loop_function *function, const sinter_cpu_nest *nest,
                            const sinter_loop_access_list *loads) {
    int64_t total = 0;
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    for (size_t i = 0; i < loads->count; i++) {
        const sinter_loop_buffer_info *info = &function->buffers.items[loads->items[i].buffer];
        if (!sinter_loop_access_uses(&loads->items[i], column)) continue;
        int64_t bytes = sinter_dtype_infos[info->dtype].bits / 8, dim;
        for (uint32_t k = 0; k < info->rank; k++) {
            bool varies = sinter_loop_expr_uses(loads->items[i].indices[k], column);
            for (uint32_t r = 0; r < nest->reduction_count; r++)
                varies |= sinter_loop_expr_uses(loads->items[i].indices[k], nest->reductions[r]);
            if (!varies) continue;
            if (!sinter_loop_is_const_int(info->dims[k], &dim) ||
                __builtin_mul_overflow(bytes, dim, &bytes))
                return INT64_MAX;
        }
        if (__builtin_add_overflow(total, bytes, &total)) return INT64_MAX;
    }
    return total;
}

static void describe_tiling(tiling *t, const sinter_cpu_nest *nest, sinter_loop_var row,
                            sinter_loop_var band) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    t->has_row = row != 0;
    t->outside = sinter_cpu_depth(&t->state->schedule, nest->loops[0]);
    t->column_bytes = column_bytes(t->state->schedule.function, nest, &loads);
    /* Rows that share nothing but columns have no other reason to come one after the other. */
    bool outside =
        !sinter_cpu_broadcasts(nest) || t->column_bytes > (int64_t)t->state->target->l2_bytes / 2;
    const sinter_cpu_answer answers[] = {{"inside"}, {"outside"}, {"inside"}};
    if (t->tile.panels)
        outside = true;
    else if (row && sinter_cpu_choose(t->state, "columns", answers + outside, 2))
        outside = !outside;
    t->columns_outside = (row || band) && outside;
    bool in_band = false;
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        bool needed = nest->loops[i] == row;
        in_band |= nest->loops[i] == band;
        for (size_t k = 0; k < loads.count && !in_band; k++)
            needed |= sinter_loop_access_uses(&loads.items[k], column) &&
                      sinter_loop_access_uses(&loads.items[k], nest->loops[i]);
        if (!needed) t->free_loops[t->free_count++] = nest->loops[i];
    }
    sinter_arena_deinit(&scratch);
}

/* ---- shares of rows ---- */

/* Uses of each element of a column, over the loops that go around without it. */
static int64_t count_uses(const tiling *t, const sinter_cpu_nest *nest, sinter_loop_var row) {
    int64_t uses = 1;
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        bool goes_around = nest->loops[i] == row;
        for (uint32_t k = 0; k < t->free_count; k++)
            goes_around |= nest->loops[i] == t->free_loops[k];
        int64_t count = goes_around ? sinter_cpu_trips(t->state, nest->loops[i]) : 1;
        uses *= count < 1 ? 1 : count < MANY_ROWS ? count : MANY_ROWS;
        if (uses > MOST_TIMED) return MOST_TIMED;
    }
    return uses;
}

/* The outermost loop can be cut in halves that each go through all columns: columns are kept by a cache while both read them, are
 * used often enough in a half to come from there in the meantime, and halves of rows need no more tiles. */
static bool may_halve(const tiling *t, const sinter_cpu_nest *nest, sinter_loop_var row) {
    enum { HIDDEN = 4 }; /* times that products take longer than columns do from memory */
    const sinter_target *target = t->state->target;
    const sinter_loop_var loop = nest->loops[0];
    int64_t count = sinter_cpu_trips(t->state, loop);
    bool is_free = loop == row;
    for (uint32_t i = 0; i < t->free_count; i++) is_free |= loop == t->free_loops[i];
    if (!is_free || count < 2 || count % 2 || nest->loop_count == SINTER_MAX_RANK ||
        t->column_bytes > (int64_t)target->l3_share)
        return false;
    int64_t reads = HIDDEN * target->products * target->vector_bytes;
    if (count_uses(t, nest, row) / 2 * target->memory_bytes < reads) return false;
    if (loop != row) return true;
    sinter_cpu_extent all = sinter_cpu_measure(t->state, nest, row), half = all;
    half.rows = count / 2;
    int64_t vectors = t->tile.columns / t->tile.lanes;
    return t->tile.lanes <= t->tile.columns &&
           2 * rows_time(target, &half, t->tile.rows, vectors) <=
               rows_time(target, &all, t->tile.rows, vectors);
}

/* Blocks of columns on the outside are shared among threads, and then each row of the result is written by all of them, and read by
 * all of them afterwards: lines that two cores have kept, which cost each of them dearly when they are next written. Where columns
 * can be read twice, halves of the rows go around them instead, and a thread has rows of its own, as it has of what comes before
 * and after. A question of the schedule. */
static bool halve_rows(tiling *t, sinter_cpu_nest *nest, sinter_loop_var *row) {
    const sinter_cpu_answer answers[] = {{"halves"}, {"all"}};
    sinter_loop_var outer, inner, loop = nest->loops[0];
    if (!may_halve(t, nest, *row) || sinter_cpu_choose(t->state, "rows", answers, 2)) return true;
    int64_t half = sinter_cpu_trips(t->state, loop) / 2;
    if (!sinter_schedule_split(&t->state->schedule, loop, half, SINTER_TAIL_EXACT, &outer, &inner,
                               NULL))
        return false;
    memmove(nest->loops + 1, nest->loops, nest->loop_count++ * sizeof *nest->loops);
    nest->loops[0] = outer;
    nest->loops[1] = inner;
    for (uint32_t i = 0; i < t->free_count; i++)
        if (t->free_loops[i] == loop) t->free_loops[i] = inner;
    if (*row == loop) *row = inner;
    return true;
}

/* The outermost loops of all parts; `before`: the function when the other nests were as they are now. */
void sinter_cpu_run_in_parallel(sinter_schedule_cpu_state *state,
                                const sinter_loop_function *before, sinter_loop_var outermost) {
    sinter_schedule *schedule = &state->schedule;
    SINTER_VECTOR(sinter_loop_var) loops = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    for (const sinter_loop_stmt *stmt = schedule->function->body; stmt; stmt = stmt->next) {
        bool other = !sinter_loop_is_serial(stmt);
        for (const sinter_loop_stmt *old = before->body; old && !other; old = old->next)
            other = sinter_loop_is_serial(old) && old->var == stmt->var && old->var != outermost;
        if (!other) sinter_vector_push(&scratch, &loops, stmt->var);
    }
    for (size_t i = 0; i < loops.count; i++) {
        sinter_loop_var loop = loops.items[i], inner;
        if (!sinter_cpu_is_worth_threads(state, loop) ||
            !sinter_schedule_parallelize(schedule, loop))
            continue;
        for (int64_t count = sinter_schedule_trips(schedule, loop);
             count > 0 && count < FEW_ITERATIONS; count = sinter_schedule_trips(schedule, loop))
            if (!(inner = only_child(schedule, loop)) ||
                !sinter_schedule_fuse(schedule, loop, inner, &loop))
                break;
    }
    sinter_arena_deinit(&scratch);
}

bool sinter_cpu_order_nest(sinter_schedule *schedule, const sinter_cpu_nest *nest,
                           sinter_loop_var row) {
    sinter_loop_var order[SINTER_MAX_RANK];
    uint32_t count = 0, last = nest->loop_count - 1;
    for (uint32_t i = 0; i < last; i++)
        if (nest->loops[i] != row) order[count++] = nest->loops[i];
    if (count > 1 && sinter_schedule_trips(schedule, order[0]) < 0) {
        sinter_loop_var first = order[0];
        memmove(order, order + 1, (count - 1) * sizeof *order);
        order[count - 1] = first;
    }
    if (row) order[count++] = row;
    order[count++] = nest->loops[last];
    return count < 2 || sinter_schedule_reorder(schedule, order, count);
}

bool sinter_cpu_tile_nest(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          sinter_loop_var row, sinter_loop_var band, sinter_cpu_tile tile) {
    sinter_schedule *schedule = &state->schedule;
    tiling t = {.state = state, .tile = tile};
    sinter_cpu_nest own = *nest;
    describe_tiling(&t, nest, row, band);
    sinter_loop_function *saved = sinter_loop_clone_function(state->program, schedule->function);
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    bool may_share = t.columns_outside && !t.outside && !band && !tile.panels && tile.rows > 1;
    bool good =
        (!may_share || halve_rows(&t, &own, &row)) && sinter_cpu_order_nest(schedule, &own, row);
    if (good) tile_columns(&t, column);
    if (!t.done) *schedule->function = *saved;
    return t.done > 0;
}
