/* Recurrences that wait for their weights: a loop of steps, each of which multiplies one row with weights that the second cache gives
 * at every step anew, while the multiply-adds of the core have little to do; and in front of it a product of rows that are there from
 * the start, as many as steps, which leaves that cache idle (the recurrent product of a layer, and the projection of its inputs). The
 * second product moves into the steps of the first: S steps make the next S rows, a share of the columns each, and its tiles are
 * woven with those of the recurrence, so that both run at once, in the order in which steps read them:
 *   rows 0..S; for blocks { for S steps { for tiles { S rows of the next block, and one row of this step, step by step } ... } } ...
 * Chosen where the target's row says that it pays. Every sum adds in the order it did.
 * Needs: products with constant weights as lowering makes them. Guarantees: the same values, or nothing changed.
 * Test: tests/codegen/schedule/recurrent.test, tests/suites/recurrent_values.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/contraction.h"
#include "codegen/schedule/cpu/constant.h"
#include "codegen/schedule/cpu/tile.h"

enum {
    MAX_PRODUCTS = 4,   /* of a step: one, or two where the second needs the first */
    MAX_NESTS = 32,     /* that they fall into */
    LEAST_BLOCKS = 4,   /* of steps, or those before and after the woven ones are too many of all */
    LEAST_GAIN = 16,    /* part of the time that weaving has to save */
    OTHER_REGISTERS = 3 /* beside sums: an element of each row operand, and a vector of columns */
};

/* for rows { for columns { acc = start; for steps { acc = acc + a * w }; uses } }, w constant */
typedef struct product {
    sinter_loop_var row, column; /* row: 0: none */
    sinter_loop_buffer weights;
    int64_t columns, steps;
    sinter_dtype dtype;
} product;

typedef struct recurrence {
    sinter_schedule_cpu_state *state;
    sinter_loop_stmt **block; /* the list that both are in */
    product ahead;            /* of all rows */
    sinter_loop_var steps;
    product products[MAX_PRODUCTS]; /* of a step, in order */
    uint32_t count;
    int64_t rows; /* steps of the recurrence, -1: the run knows */
    int64_t lanes,
        vectors; /* of a tile of columns of the recurrence: rows of a tile of the other product, too */
    sinter_cpu_pack_plan ahead_packing, packing;
} recurrence;

/* ---- recognition ---- */

/* Elements of weights that the columns go through, times an element that all columns share. */
static bool find_factors(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                         const sinter_contraction *sum, product *out) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < 2; i++) {
        sinter_expr factor = sum->factors[i];
        if (factor->kind != SINTER_LOOP_LOAD || factor->dtype != nest->dtype) return false;
        bool varies = sinter_loop_expr_uses(factor, out->column);
        if (!varies) continue;
        if (!sinter_cpu_is_constant(state, factor->buffer) ||
            (out->row && sinter_loop_expr_uses(factor, out->row)))
            return false;
        out->weights = factor->buffer;
        found++;
    }
    return found == 1;
}

/* The product that the loop is the outermost one of, with so many loops around its sums. */
static bool find_product(sinter_schedule_cpu_state *state, sinter_loop_var outermost,
                         uint32_t loops, product *out) {
    sinter_cpu_nest nest;
    sinter_contraction sum;
    if (!sinter_cpu_find_nest(state->schedule.function, outermost, &nest) ||
        nest.loop_count != loops || nest.reduction_count != 1)
        return false;
    *out = (product){.row = loops > 1 ? nest.loops[loops - 2] : 0,
                     .column = nest.loops[loops - 1],
                     .columns = sinter_cpu_trips(state, nest.loops[loops - 1]),
                     .steps = sinter_cpu_trips(state, nest.reductions[0]),
                     .dtype = nest.dtype};
    for (uint32_t i = 0; i < loops; i++)
        if (sinter_cpu_bounds_use(&nest, nest.loops[i])) return false;
    return out->columns > 0 && out->steps > 0 &&
           sinter_schedule_find_contraction(&state->schedule, out->column, &sum) &&
           !sum.condition && sum.loop_count == 1 && find_factors(state, &nest, &sum, out);
}

/* One of the statements loads what the first one stores. */
static bool feeds(const sinter_loop_stmt *from, const sinter_loop_stmt *to) {
    sinter_arena scratch;
    sinter_loop_access_list stores = {0}, loads = {0};
    bool found = false;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, from->body, &stores);
    sinter_loop_collect_accesses(&scratch, to->body, &loads);
    for (size_t i = 0; i < stores.count; i++)
        for (size_t k = 0; k < loads.count && stores.items[i].is_store; k++)
            found |= !loads.items[k].is_store && loads.items[k].buffer == stores.items[i].buffer;
    sinter_arena_deinit(&scratch);
    return found;
}

static bool same_bounds(const sinter_loop_stmt *a, const sinter_loop_stmt *b) {
    return a->step == 1 && b->step == 1 && sinter_loop_expr_equal(a->lower, b->lower) &&
           sinter_loop_expr_equal(a->upper, b->upper);
}

bool sinter_cpu_may_be_product(const sinter_loop_function *function, const sinter_loop_stmt *stmt) {
    if (!sinter_loop_is_serial(stmt)) return false;
    for (const sinter_loop_stmt *at = stmt->body; at; at = at->next)
        if (at->kind == SINTER_LOOP_DECLARE && function->vars.items[at->var].is_mutable)
            return true;
    return false;
}

/* The products of a step, and the one in front that has as many columns together. */
static bool find_products(recurrence *r, const sinter_loop_stmt *steps) {
    const sinter_loop_function *function = r->state->schedule.function;
    int64_t columns = 0;
    r->count = 0;
    if (steps == *r->block || !steps->body || !steps->body->next) return false;
    for (const sinter_loop_stmt *stmt = steps->body; stmt; stmt = stmt->next) {
        product found;
        if (!sinter_cpu_may_be_product(function, stmt) ||
            !find_product(r->state, stmt->var, 1, &found))
            continue;
        if (r->count == MAX_PRODUCTS || (r->count && found.weights != r->products[0].weights))
            return false;
        r->products[r->count++] = found;
        columns += found.columns;
    }
    for (const sinter_loop_stmt *stmt = *r->block; r->count && stmt != steps; stmt = stmt->next)
        if (sinter_loop_is_serial(stmt) && same_bounds(stmt, steps) && feeds(stmt, steps) &&
            find_product(r->state, stmt->var, 2, &r->ahead) && r->ahead.columns == columns &&
            r->ahead.dtype == r->products[0].dtype && r->ahead.weights != r->products[0].weights)
            return true;
    return false;
}

/* ---- whether it pays ---- */

/* Vectors of columns: as many rows are made ahead, and sums of both have registers. */
static bool find_vectors(recurrence *r) {
    const sinter_target *target = r->state->target;
    enum { MOST = 8, LEAST = 4 };
    r->lanes = sinter_schedule_cpu_lanes(target, r->ahead.dtype);
    for (r->vectors = MOST; r->vectors >= LEAST; r->vectors /= 2) {
        bool fits = r->lanes > 1 && 2 * r->vectors + OTHER_REGISTERS < target->registers;
        for (uint32_t i = 0; i < r->count; i++)
            fits = fits && r->products[i].columns % (r->vectors * r->lanes) == 0;
        if (fits) return true;
    }
    return false;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Cycles of a step: multiply-adds, or bytes from the second cache if the first one does not keep them. One product after the other;
 * and both at once, where whichever takes longer hides the other. */
static bool pays(const recurrence *r) {
    const sinter_target *target = r->state->target;
    int64_t size = sinter_dtype_infos[r->ahead.dtype].bits / 8, vector = r->lanes * size,
            ahead = r->ahead.columns * r->ahead.steps * size, weights = 0;
    for (uint32_t i = 0; i < r->count; i++)
        weights += r->products[i].columns * r->products[i].steps * size;
    if (weights <= target->l1_bytes || weights + ahead > target->l2_bytes) return false;
    int64_t products = weights / vector / target->products,
            ahead_products = ahead / vector / target->products, near = target->near_bytes;
    int64_t apart = larger(products, weights / near) + ahead_products,
            woven = larger(products + ahead_products, (weights + ahead / r->vectors) / near);
    return apart - woven > apart / LEAST_GAIN;
}

/* A question of the schedule. */
static bool is_wanted(recurrence *r) {
    const sinter_cpu_answer answers[] = {{"woven"}, {"apart"}, {"woven"}};
    bool woven = pays(r);
    return (sinter_cpu_choose(r->state, "weave", answers + !woven, 2) == 0) == woven;
}

static bool plan_packing(sinter_schedule_cpu_state *state, const product *p,
                         sinter_cpu_pack_plan *out_plan) {
    sinter_cpu_nest nest;
    if (!sinter_cpu_find_nest(state->schedule.function, p->row ? p->row : p->column, &nest))
        return false;
    sinter_cpu_plan_packing(state, &nest, out_plan);
    return out_plan->count == 1 && out_plan->items[0].buffer == p->weights;
}

static bool find_recurrence(recurrence *r, const sinter_loop_stmt *steps) {
    if (!find_products(r, steps) || !find_vectors(r)) return false;
    r->steps = steps->var;
    r->rows = sinter_cpu_trips(r->state, r->steps);
    if (r->rows >= 0 && r->rows < LEAST_BLOCKS * r->vectors) return false;
    return plan_packing(r->state, &r->ahead, &r->ahead_packing) &&
           plan_packing(r->state, &r->products[0], &r->packing) &&
           r->packing.items[0].multiple % (r->vectors * r->lanes) == 0;
}

/* ---- blocks of steps ---- */

/* The columns that belong to the i-th product of a step, as a nest of their own: its row and column. */
static bool cut_columns(recurrence *r, sinter_loop_var *rows, sinter_loop_var *columns) {
    sinter_schedule *schedule = &r->state->schedule;
    uint32_t outside = sinter_cpu_depth(schedule, r->ahead.row);
    int64_t end = 0;
    sinter_loop_var rest = r->ahead.column;
    for (uint32_t i = 0; i + 1 < r->count; i++) {
        end += r->products[i].columns;
        if (!sinter_schedule_cut(schedule, rest, end, &columns[i], &rest) ||
            !sinter_cpu_isolate(schedule, rest, outside))
            return false;
    }
    columns[r->count - 1] = rest;
    for (uint32_t i = 0; i < r->count; i++)
        rows[i] = sinter_cpu_outermost(schedule, columns[i], outside);
    return true;
}

/* Blocks of steps that are followed by another one, and steps of a block. */
static bool block_steps(recurrence *r, sinter_loop_var *out_blocks, sinter_loop_var *out_steps) {
    sinter_schedule *schedule = &r->state->schedule;
    int64_t size = r->vectors;
    sinter_loop_var most, rest;
    if (r->rows < 0)
        return sinter_schedule_split(schedule, r->steps, size, SINTER_TAIL_PEEL, &most, out_steps,
                                     NULL) &&
               sinter_schedule_cut_end(schedule, most, 1, out_blocks, &rest) &&
               (*out_steps = sinter_schedule_get_loop(schedule->function, *out_blocks)->body->var);
    return sinter_schedule_cut(schedule, r->steps, r->rows / size * size - size, &most, &rest) &&
           sinter_schedule_split(schedule, most, size, SINTER_TAIL_EXACT, out_blocks, out_steps,
                                 NULL);
}

/* The same of rows: the blocks that are not the first one, and in them shares of the columns around the rows. */
static bool block_rows(recurrence *r, sinter_loop_var row, sinter_loop_var column,
                       sinter_loop_var *out_blocks, sinter_loop_var *out_shares) {
    sinter_schedule *schedule = &r->state->schedule;
    int64_t size = r->vectors, columns = sinter_cpu_trips(r->state, column);
    sinter_loop_var rest, share;
    if (r->rows < 0
            ? !sinter_schedule_split(schedule, row, size, SINTER_TAIL_PEEL, &rest, &row, NULL) ||
                  !sinter_schedule_cut(schedule, rest, 1, NULL, out_blocks)
            : !sinter_schedule_cut(schedule, row, size + r->rows % size, NULL, &rest) ||
                  !sinter_schedule_split(schedule, rest, size, SINTER_TAIL_EXACT, out_blocks, &row,
                                         NULL))
        return false;
    /* The last part of a loop that was cut keeps what is in its body. */
    if (!sinter_schedule_split(schedule, column, columns / size, SINTER_TAIL_EXACT, out_shares,
                               &share, NULL))
        return false;
    const sinter_loop_var order[2] = {*out_shares, row};
    return sinter_schedule_reorder(schedule, order, 2);
}

/* Shares of the product that is ahead go into the steps. The last one first, so that they are there in the order of the products. */
static bool move_ahead(recurrence *r, sinter_loop_var *out_steps) {
    sinter_schedule *schedule = &r->state->schedule;
    sinter_loop_var rows[MAX_PRODUCTS], columns[MAX_PRODUCTS], blocks, of_rows, shares;
    if (!cut_columns(r, rows, columns) || !block_steps(r, &blocks, out_steps)) return false;
    for (uint32_t i = r->count; i-- > 0;)
        if (!block_rows(r, rows[i], columns[i], &of_rows, &shares) ||
            !sinter_schedule_weave(schedule, of_rows, blocks) ||
            !sinter_schedule_weave(schedule, shares, *out_steps))
            return false;
    return true;
}

/* ---- tiles ---- */

/* Nests that read the weights, outside of woven steps and in them. */
typedef struct nest_search {
    recurrence *r;
    sinter_loop_buffer weights;
    sinter_loop_var loops[MAX_NESTS];
    uint32_t count;
} nest_search;

static bool visit_nest(void *user, sinter_loop_stmt *stmt) {
    nest_search *search = user;
    const sinter_loop_function *function = search->r->state->schedule.function;
    sinter_cpu_nest nest;
    if (stmt->kind != SINTER_LOOP_FOR || !sinter_cpu_find_nest(function, stmt->var, &nest))
        return true;
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest.reduction->body, &loads);
    bool reads = false;
    for (size_t i = 0; i < loads.count; i++) reads |= loads.items[i].buffer == search->weights;
    if (reads && search->count < MAX_NESTS) search->loops[search->count++] = stmt->var;
    sinter_arena_deinit(&scratch);
    return false;
}

static nest_search find_nests(recurrence *r, sinter_loop_buffer weights, sinter_loop_stmt *first) {
    nest_search search = {.r = r, .weights = weights};
    sinter_loop_walk(first, visit_nest, &search);
    return search;
}

static bool contains(const nest_search *search, sinter_loop_var loop) {
    for (uint32_t i = 0; i < search->count; i++)
        if (search->loops[i] == loop) return true;
    return false;
}

/* What is not woven, in tiles of the same columns. */
static bool tile_others(recurrence *r, sinter_loop_buffer weights, const nest_search *woven,
                        sinter_cpu_tile tile) {
    sinter_schedule_cpu_state *state = r->state;
    nest_search all = find_nests(r, weights, state->schedule.function->body);
    for (uint32_t i = 0; i < all.count; i++) {
        sinter_cpu_nest nest;
        if (contains(woven, all.loops[i])) continue;
        if (!sinter_cpu_find_nest(state->schedule.function, all.loops[i], &nest)) return false;
        sinter_loop_var row = sinter_cpu_find_row(state, &nest);
        sinter_cpu_tile own = tile;
        if (row && sinter_cpu_trips(state, row) < 0) own.rows /= 2; /* less than a block is left */
        if (!sinter_cpu_tile_nest(state, &nest, row, 0, own)) return false;
    }
    return all.count < MAX_NESTS;
}

/* A woven nest in registers; its tiles of columns and its reduction. */
static bool tile_woven(recurrence *r, sinter_loop_var outermost, int64_t rows, int64_t columns,
                       sinter_loop_var *out_tiles, sinter_loop_var *out_reduction) {
    sinter_cpu_nest nest;
    if (!sinter_cpu_find_nest(r->state->schedule.function, outermost, &nest)) return false;
    sinter_register_tile tile = {.m = rows > 1 ? nest.loops[nest.loop_count - 2] : 0,
                                 .n = nest.loops[nest.loop_count - 1],
                                 .accumulator = nest.accumulator,
                                 .tile_m = rows,
                                 .tile_n = columns,
                                 .vector = r->lanes};
    if (!sinter_schedule_register_tile(&r->state->schedule, &tile)) return false;
    *out_tiles = tile.out_n;
    *out_reduction = nest.reductions[0];
    return true;
}

/* Steps of one reduction to steps of the other, so that as many as can be are taken at once; how often. */
static int64_t find_ratio(int64_t first, int64_t second, int64_t *out_first, int64_t *out_second) {
    enum { MOST = 4 };
    int64_t best = 0, best_trips = 0;
    for (int64_t a = 1; a <= MOST; a++)
        for (int64_t b = 1; b <= MOST; b++) {
            int64_t trips = first / a < second / b ? first / a : second / b;
            if (trips * (a + b) <= best) continue;
            best = trips * (a + b);
            best_trips = trips;
            *out_first = a;
            *out_second = b;
        }
    return best_trips;
}

/* The first `trips` times `each` iterations, each so many at a time; what is left stays behind them. */
static bool take_steps(sinter_schedule *schedule, sinter_loop_var *loop, int64_t trips,
                       int64_t each) {
    int64_t count;
    sinter_loop_var inner;
    if (!sinter_loop_trip_count(sinter_schedule_get_loop(schedule->function, *loop), &count))
        return false;
    if (count > trips * each && !sinter_schedule_cut(schedule, *loop, trips * each, loop, NULL))
        return false;
    return each == 1 ||
           (sinter_schedule_split(schedule, *loop, each, SINTER_TAIL_EXACT, loop, &inner, NULL) &&
            sinter_schedule_unroll(schedule, inner));
}

/* Tiles of both products, and their reductions, become one. */
static bool weave_tiles(recurrence *r, uint32_t i, sinter_loop_var ahead, sinter_loop_var own) {
    sinter_schedule *schedule = &r->state->schedule;
    sinter_loop_var ahead_tiles, tiles, ahead_steps, steps;
    int64_t each = 1, each_ahead = 1;
    if (!tile_woven(r, ahead, r->vectors, r->lanes, &ahead_tiles, &ahead_steps) ||
        !tile_woven(r, own, 1, r->vectors * r->lanes, &tiles, &steps))
        return false;
    sinter_schedule_simplify(schedule); /* the rows of a block are one tile */
    int64_t trips = find_ratio(r->ahead.steps, r->products[i].steps, &each_ahead, &each);
    return sinter_schedule_weave(schedule, ahead_tiles, tiles) &&
           take_steps(schedule, &ahead_steps, trips, each_ahead) &&
           take_steps(schedule, &steps, trips, each) &&
           sinter_schedule_weave(schedule, ahead_steps, steps);
}

/* The scratch between the two products, and its axis of rows. */
static bool find_rows(recurrence *r, sinter_loop_buffer *out_buffer, uint32_t *out_axis) {
    const sinter_loop_stmt *rows =
        sinter_schedule_get_loop(r->state->schedule.function, r->ahead.row);
    sinter_arena scratch;
    sinter_loop_access_list made = {0};
    bool found = false;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, rows->body, &made);
    for (size_t i = 0; i < made.count && !found; i++) {
        *out_buffer = made.items[i].buffer;
        found =
            made.items[i].is_store &&
            sinter_loop_find_axis(made.items[i].indices, made.items[i].rank, rows->var, out_axis);
    }
    sinter_arena_deinit(&scratch);
    return found;
}

/* Rows of the block that is read, of the next one, and of what the first one has more: places by a mask. */
static void keep_few_rows(recurrence *r, sinter_loop_buffer buffer, uint32_t axis) {
    enum { MOST_BLOCKS = 4 };
    for (int64_t blocks = 2; blocks <= MOST_BLOCKS; blocks *= 2)
        if (sinter_schedule_ring(&r->state->schedule, buffer, axis, blocks * r->vectors)) return;
}

static bool weave(recurrence *r) {
    sinter_loop_var steps;
    sinter_loop_buffer between = 0;
    uint32_t axis = 0;
    bool found = find_rows(r, &between, &axis);
    if (!sinter_schedule_follow(&r->state->schedule, r->ahead.row, r->steps) ||
        !move_ahead(r, &steps))
        return false;
    sinter_loop_stmt *body = sinter_schedule_get_loop(r->state->schedule.function, steps)->body;
    nest_search ahead = find_nests(r, r->ahead.weights, body),
                own = find_nests(r, r->products[0].weights, body);
    sinter_cpu_tile tile = {.rows = r->vectors, .columns = r->lanes, .lanes = r->lanes};
    sinter_cpu_tile own_tile = {.rows = 1, .columns = r->vectors * r->lanes, .lanes = r->lanes};
    if (ahead.count != r->count || own.count != r->count ||
        !tile_others(r, r->ahead.weights, &ahead, tile) ||
        !tile_others(r, r->products[0].weights, &own, own_tile))
        return false;
    for (uint32_t i = 0; i < r->count; i++)
        if (!weave_tiles(r, i, ahead.loops[i], own.loops[i])) return false;
    if (found) keep_few_rows(r, between, axis);
    return true;
}

/* ---- the kernel ---- */

static bool would_weave(sinter_schedule_cpu_state *state, sinter_loop_stmt **first) {
    for (sinter_loop_stmt **link = first; *link; link = &(*link)->next) {
        recurrence r = {.state = state, .block = first};
        if ((sinter_loop_is_serial(*link) && find_recurrence(&r, *link) && pays(&r)) ||
            would_weave(state, &(*link)->body) || would_weave(state, &(*link)->else_body))
            return true;
    }
    return false;
}

bool sinter_schedule_cpu_would_weave(sinter_schedule_cpu_state *state) {
    return would_weave(state, &state->schedule.function->body);
}

/* Looks for the first recurrence of the list that may be woven, and weaves it. True: that ends the search. */
static bool weave_one(sinter_schedule_cpu_state *state, sinter_loop_stmt **first) {
    for (sinter_loop_stmt **link = first; *link; link = &(*link)->next) {
        recurrence r = {.state = state, .block = first};
        if (sinter_loop_is_serial(*link) && find_recurrence(&r, *link) && is_wanted(&r)) {
            sinter_schedule *schedule = &state->schedule;
            sinter_loop_function *saved =
                sinter_loop_clone_function(state->program, schedule->function);
            if (weave(&r)) {
                sinter_cpu_apply_packing(state, &r.ahead_packing, r.lanes);
                sinter_cpu_apply_packing(state, &r.packing, r.vectors * r.lanes);
                sinter_schedule_simplify(schedule);
            } else {
                *schedule->function = *saved;
            }
            return true; /* all lists are others now */
        }
        if (weave_one(state, &(*link)->body) || weave_one(state, &(*link)->else_body)) return true;
    }
    return false;
}

void sinter_schedule_cpu_weave(sinter_schedule_cpu_state *state) {
    weave_one(state, &state->schedule.function->body);
}
