/* Which register tile takes the least time: from what a step loads and multiplies, what waits, and what is left over at the end.
 * Test: tests/codegen/schedule/ */
#include "codegen/schedule/cpu/tile.h"

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

bool sinter_cpu_is_long(const sinter_schedule *schedule, sinter_loop_var column) {
    uint32_t count = 0;
    sinter_loop_walk(sinter_schedule_get_loop(schedule->function, column)->body, count_in_stmt,
                     &count);
    return count > 0;
}

/* ---- shape of the tile ---- */

enum { MAX_ROWS = 8, MAX_VECTORS = 8, REST_COST = 16 };
enum {
    MANY_STEPS = 256, /* of a reduction, beyond which the end of a tile is nothing */
    FREE_SUMS = 14,   /* a core overlaps the end of as many with the next tile */
    MOST_OWN = 16     /* sums that load each of their products: more of them only is more code */
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
    return count < 0                       ? SINTER_CPU_MANY_ROWS
           : count < SINTER_CPU_MOST_TIMED ? count
                                           : SINTER_CPU_MOST_TIMED;
}

int64_t sinter_cpu_rows_time(const sinter_target *target, const sinter_cpu_extent *extent,
                             int64_t tile, int64_t vectors) {
    int64_t rows = timed_count(extent->rows);
    int64_t time = rows / tile * tile_time(target, extent, tile, vectors);
    return rows % tile ? time + tile_time(target, extent, rows % tile, vectors) : time;
}

bool sinter_cpu_fits_registers(const sinter_target *target, int64_t rows, int64_t vectors) {
    int64_t temporaries = sinter_target_has(target, "fma|neon") ? 1 : 2;
    return rows * vectors + vectors + temporaries < target->registers;
}

/* Sums that load each of their products gain nothing from more registers than hide the latency. */
static bool is_possible(const sinter_target *target, const sinter_cpu_extent *extent, int64_t rows,
                        int64_t vectors) {
    int64_t most = extent->reuse == SINTER_CPU_REUSE_NONE ? 1 : MAX_ROWS;
    if (rows > most || rows > timed_count(extent->rows)) return false;
    return sinter_cpu_fits_registers(target, rows, vectors) &&
           (extent->reuse != SINTER_CPU_REUSE_COLUMNS || rows * vectors <= MOST_OWN);
}

sinter_cpu_extent sinter_cpu_measure(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                                     sinter_loop_var row) {
    sinter_loop_var column = nest->loops[nest->loop_count - 1];
    int64_t rows = row ? sinter_cpu_most_trips(state, row) : 1;
    sinter_cpu_extent extent = {.rows = rows <= MAX_ROWS ? rows : sinter_cpu_trips(state, row),
                                .columns = sinter_cpu_trips(state, column),
                                .steps = 1,
                                .rolled = sinter_cpu_is_long(&state->schedule, column)};
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
    int64_t columns = extent->columns, vectors = SINTER_CPU_MANY_ROWS;
    if (columns >= 0) vectors = columns < lanes ? 1 : timed_count((columns - 1) / lanes + 1);
    for (int64_t v = 1; v <= MAX_VECTORS && v <= vectors; v++)
        for (int64_t r = 1; is_possible(target, extent, r, v); r++) {
            int64_t time = vectors / v * sinter_cpu_rows_time(target, extent, r, v);
            if (vectors % v)
                time += sinter_cpu_rows_time(target, extent, r, vectors % v) + time / REST_COST;
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
        int64_t time = sinter_cpu_rows_time(target, extent, r, vectors);
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
