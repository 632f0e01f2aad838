/* Register tiles for nests around one accumulator: matrix products, convolutions, pools. The rows of a tile share what a
 * column loads and the other way round; columns are vectors. What the tile leaves over of rows and columns is tiled
 * smaller, by the same code. Needs: a nest of sinter_cpu_find_nest. Guarantees: the same values.
 * Test: tests/codegen/schedule/ */
#include "codegen/schedule/cpu/tile.h"
#include "codegen/schedule/internal.h"

#include <string.h>

enum {
    MAX_STEPS = 5,      /* of a reduction that is unrolled */
    MAX_PRODUCTS = 8,   /* of a row there; more of words that are unpacked leave the registers */
    FEW_ITERATIONS = 16 /* for all threads that there may be */
};

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

static int64_t count_assignments(const sinter_loop_stmt *first) {
    int64_t count = 0;
    for (; first; first = first->next) count += first->kind == SINTER_LOOP_ASSIGN;
    return count;
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
                                 .rolled = sinter_cpu_is_long(&t->state->schedule, column)};
    sinter_loop_var innermost = innermost_reduction(&t->state->schedule, column);
    int64_t products =
        count_assignments(sinter_schedule_get_loop(t->state->schedule.function, innermost)->body);
    if (!sinter_schedule_register_tile(&t->state->schedule, &tile)) return false;
    int64_t steps = sinter_schedule_trips(&t->state->schedule, innermost);
    bool few = steps == 1 || rows == 1 || steps * products <= MAX_PRODUCTS;
    if (steps > 0 && steps <= MAX_STEPS && few)
        sinter_schedule_unroll(&t->state->schedule, innermost);
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
    if (t->tile.parts) vectors *= t->tile.parts;
    return (target->latency * target->products - 1) / vectors + 1;
}

/* Blocks of columns that one row takes at a time: enough for their sums not to wait for each other, or else as many as can be. */
static int64_t blocks_for_latency(const tiling *t, int64_t count, int64_t columns) {
    int64_t wanted = rows_for_latency(t, columns), most = 1;
    if (columns < t->tile.lanes) return 1;
    for (int64_t factor = 2; factor <= count && factor < 2 * wanted; factor++)
        if (count % factor == 0 && most < wanted &&
            sinter_cpu_fits_registers(t->state->target, factor, columns / t->tile.lanes))
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

/* Rows of the next tile, for what tiles of so many leave over. Each tile reads the columns again, and with one or two rows waits for
 * them: a number of rows that the run alone knows, which may leave any, has a tile for each number up to FEW. */
static int64_t fewer_rows(const tiling *t, int64_t rows, int64_t columns, bool is_open) {
    enum { FEW = 4 };
    if (rows <= FEW) return is_open ? rows - 1 : 1;
    int64_t fewer = rows_for_latency(t, columns);
    if (fewer > rows / 2) fewer = rows / 2;
    return is_open && fewer < FEW ? FEW : fewer;
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
        int64_t left = row ? sinter_schedule_trips(schedule, row) : 0;
        rows = left > 0 ? left : fewer_rows(t, rows, columns, left < 0);
    }
    return true;
}

/* Columns at a time for what is left: whole vectors where they fit, then a power of two; one with the rows of a tile, whose sums do not
 * wait for each other. 0: one by one. */
static int64_t next_width(const tiling *t, int64_t count, int64_t width) {
    int64_t lanes = t->tile.lanes, least = t->has_row ? 1 : 2;
    if (count < 0) return width > lanes ? lanes : width > 4 ? 4 : width > 1 && least == 1 ? 1 : 0;
    if (count >= t->tile.columns) return t->tile.columns;
    if (count >= lanes) return count / lanes * lanes;
    int64_t power = 1;
    while (power * 2 <= count) power *= 2;
    return power >= least ? power : 0;
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
        uses *= count < 1 ? 1 : count < SINTER_CPU_MANY_ROWS ? count : SINTER_CPU_MANY_ROWS;
        if (uses > SINTER_CPU_MOST_TIMED) return SINTER_CPU_MOST_TIMED;
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
           2 * sinter_cpu_rows_time(target, &half, t->tile.rows, vectors) <=
               sinter_cpu_rows_time(target, &all, t->tile.rows, vectors);
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
        for (size_t i = 0; i < state->copies.count && !other; i++)
            other = state->copies.items[i] == stmt->var; /* scheduled with what is left */
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
