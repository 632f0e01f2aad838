/* Transposes on CUDA: where a nest writes along one loop and reads along another, one of the two would touch a sector of memory
 * for each element. So a block takes a tile of 32 x 32: it reads along the one, keeps the tile in shared memory, where rows are
 * an odd number of words long so that neither way two lanes of a warp meet in a bank, and writes along the other.
 *
 *   for others block { for b tiles block { for a tiles block {
 *     threads: tile[a, b] = x[... b]   barrier   threads: y[... a] = f(tile[a, b]) } } }
 * Whatever else the nest reads follows its writes. Test: tests/codegen/schedule/cuda_transpose.loops */
#include "codegen/loops/align.h"
#include "codegen/schedule/cuda.h"

enum { TILE = 32, ROWS = 8, LEAST = 16, MAX_LOADS = 4 };

typedef struct transpose {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_scopes scopes; /* before the loops change */
    sinter_schedule_chain chain;
    const sinter_loop_stmt *store; /* the only one */
    sinter_loop_var a, b;          /* that it follows, and that the loads below follow */
    sinter_loop_var tiles_b;       /* over tiles of b */
    sinter_loop_stmt *loop_a, *loop_b;
    sinter_expr loads[MAX_LOADS];
    sinter_loop_buffer tiles[MAX_LOADS];
    uint32_t load_count;
    sinter_expr place[2]; /* of the element in its tile, for the body */
    bool good;
} transpose;

/* ---- which nests ---- */

/* The position in memory moves by 1 with the loop, by nothing (0) or otherwise (-1). */
static int moves_with(transpose *t, sinter_expr position, sinter_loop_var loop) {
    sinter_expr coefficient, rest;
    int64_t stride;
    if (!sinter_loop_expr_uses(position, loop)) return 0;
    return sinter_loop_affine(&t->scopes.builder, position, loop, &coefficient, &rest) &&
                   sinter_loop_is_const_int(coefficient, &stride) && stride == 1
               ? 1
               : -1;
}

/* The loop that the position follows one by one; 0: none. */
static sinter_loop_var followed(transpose *t, sinter_expr position) {
    for (uint32_t i = 0; i < t->chain.depth; i++)
        if (moves_with(t, position, t->chain.loops[i]) == 1) return t->chain.loops[i];
    return 0;
}

/* Loads that move otherwise with the store's loop follow b, the same for all of them. */
static void look_at_load(void *user, sinter_expr expr) {
    transpose *t = user;
    if (expr->kind != SINTER_LOOP_LOAD || !t->good) return;
    const sinter_loop_buffer_info *info = &t->schedule->function->buffers.items[expr->buffer];
    for (uint32_t i = 0; i < expr->argument_count; i++)
        t->good &= !sinter_loop_expr_loads(expr->arguments[i], 0);
    if (!t->good) return;
    sinter_expr position = sinter_loop_position(&t->scopes, expr->buffer, expr->arguments);
    if (moves_with(t, position, t->a) != -1) return;
    sinter_loop_var along = followed(t, position);
    for (uint32_t i = 0; i < t->load_count; i++)
        if (sinter_loop_expr_equal(t->loads[i], expr)) return;
    t->good &= along && (!t->b || t->b == along) && t->load_count < MAX_LOADS &&
               info->scope == SINTER_SCOPE_INPUT && sinter_dtype_infos[info->dtype].bits >= 8;
    if (!t->good) return;
    t->b = along;
    t->loads[t->load_count++] = expr;
}

static bool is_long(const sinter_loop_stmt *loop) {
    int64_t lower, count;
    return loop->step == 1 && sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 &&
           (!sinter_loop_trip_count(loop, &count) || count >= LEAST);
}

/* The innermost body computes one element and stores it. */
static bool look_at_body(transpose *t) {
    const sinter_loop_stmt *body =
        sinter_schedule_get_loop(t->schedule->function, t->chain.loops[t->chain.depth - 1])->body;
    for (const sinter_loop_stmt *s = body; s; s = s->next) {
        const bool let =
            s->kind == SINTER_LOOP_DECLARE && !t->schedule->function->vars.items[s->var].is_mutable;
        if (s->kind == SINTER_LOOP_STORE && !t->store && !s->combine)
            t->store = s;
        else if (!let && s->kind != SINTER_LOOP_COMMENT)
            return false;
    }
    if (!t->store ||
        sinter_dtype_infos[t->schedule->function->buffers.items[t->store->buffer].dtype].bits < 8)
        return false;
    sinter_expr position = sinter_loop_position(&t->scopes, t->store->buffer, t->store->arguments);
    t->a = followed(t, position);
    t->good = t->a != 0;
    for (const sinter_loop_stmt *s = body; s && t->good; s = s->next)
        sinter_loop_walk_stmt_exprs(s, look_at_load, t);
    if (!t->good || !t->load_count) return false;
    t->loop_a = sinter_schedule_get_loop(t->schedule->function, t->a);
    t->loop_b = sinter_schedule_get_loop(t->schedule->function, t->b);
    return is_long(t->loop_a) && is_long(t->loop_b);
}

/* others, b, a; the others become one loop. */
static bool order_loops(transpose *t, sinter_loop_var *out_other) {
    sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->chain.depth; i++)
        if (t->chain.loops[i] != t->a && t->chain.loops[i] != t->b)
            order[count++] = t->chain.loops[i];
    *out_other = count ? order[0] : 0;
    const uint32_t others = count;
    order[count++] = t->b;
    order[count++] = t->a;
    if (!sinter_schedule_reorder(t->schedule, order, count)) return false;
    for (uint32_t i = 1; i < others; i++)
        if (!sinter_schedule_fuse(t->schedule, *out_other, order[i], out_other)) return false;
    t->loop_a = sinter_schedule_get_loop(t->schedule->function, t->a);
    t->loop_b = sinter_schedule_get_loop(t->schedule->function, t->b);
    return true;
}

/* ---- the tiles ---- */

static sinter_expr tile_count(transpose *t, sinter_expr count) {
    sinter_loop_builder *b = &t->builder;
    return sinter_loop_div(b, sinter_loop_add(b, count, sinter_loop_int(b, TILE - 1)),
                           sinter_loop_int(b, TILE));
}

/* Closed again by end_threads. column: along the warp, from 0 to TILE; row: of the tile, TILE / ROWS for each thread. What lies
 * beyond the loops' ends is left out. */
typedef struct tile_place {
    sinter_expr column, row; /* in the tile */
    uint32_t open;
} tile_place;

static void begin_guard(transpose *t, tile_place *p, sinter_expr index, sinter_expr first,
                        sinter_expr end) {
    sinter_loop_builder *b = &t->builder;
    int64_t count;
    if (sinter_loop_is_const_int(end, &count) && count % TILE == 0) return;
    sinter_loop_begin_if(
        b, sinter_loop_compare(b, SINTER_SCALAR_lt, sinter_loop_add(b, first, index), end));
    p->open++;
}

static tile_place begin_threads(transpose *t, sinter_expr first_column, sinter_expr columns,
                                sinter_expr first_row, sinter_expr rows) {
    sinter_loop_builder *b = &t->builder;
    const int64_t turns = TILE / ROWS;
    tile_place p = {.open = 3};
    sinter_expr zero = sinter_loop_int(b, 0);
    sinter_expr y = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "y", zero, sinter_loop_int(b, ROWS), 1, SINTER_AXIS_THREAD));
    p.column = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "x", zero, sinter_loop_int(b, TILE), 1, SINTER_AXIS_THREAD));
    begin_guard(t, &p, p.column, first_column, columns);
    sinter_expr k = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "k", zero, sinter_loop_int(b, turns), 1, SINTER_AXIS_UNROLL));
    sinter_expr before = sinter_loop_mul(b, y, sinter_loop_int(b, turns));
    p.row = sinter_loop_add(b, before, k);
    begin_guard(t, &p, k, sinter_loop_add(b, first_row, before), rows);
    return p;
}

static void end_threads(transpose *t, const tile_place *p) {
    for (uint32_t i = 0; i < p->open; i++) sinter_loop_end(&t->builder);
}

/* The body's loads of tiles, in place of those of the inputs. */
static sinter_expr take_from_tiles(void *user, sinter_expr expr) {
    transpose *t = user;
    if (expr->argument_count > SINTER_MAX_RANK) return expr;
    for (uint32_t i = 0; i < t->load_count; i++)
        if (expr->kind == SINTER_LOOP_LOAD && sinter_loop_expr_equal(expr, t->loads[i]))
            return sinter_loop_load(&t->builder, t->tiles[i], t->place);
    return sinter_loop_replace_arguments(t->builder.arena, expr, take_from_tiles, t);
}

static sinter_loop_map map_of(transpose *t, sinter_expr a, sinter_expr b) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, t->schedule->program, t->schedule->function);
    sinter_loop_map_var(&map, t->a, a);
    sinter_loop_map_var(&map, t->b, b);
    return map;
}

static void fill_tiles(transpose *t, sinter_expr first_a, sinter_expr first_b) {
    sinter_loop_builder *b = &t->builder;
    for (uint32_t i = 0; i < t->load_count; i++) {
        sinter_dtype dtype = t->schedule->function->buffers.items[t->loads[i]->buffer].dtype;
        const int64_t word = 32 / sinter_dtype_infos[dtype].bits; /* elements of one */
        sinter_expr dims[2] = {sinter_loop_int(b, TILE),
                               sinter_loop_int(b, TILE + (word > 1 ? word : 1))};
        t->tiles[i] = sinter_loop_add_buffer(b, "tile", dtype, 2, dims, SINTER_SCOPE_SHARED);
        sinter_loop_alloc(b, t->tiles[i]);
    }
    tile_place p = begin_threads(t, first_b, t->loop_b->upper, first_a, t->loop_a->upper);
    sinter_loop_map map =
        map_of(t, sinter_loop_add(b, first_a, p.row), sinter_loop_add(b, first_b, p.column));
    for (uint32_t i = 0; i < t->load_count; i++)
        sinter_loop_store(b, t->tiles[i], (const sinter_expr[]){p.row, p.column},
                          sinter_loop_map_expr(&map, t->loads[i]));
    end_threads(t, &p);
}

static void use_tiles(transpose *t, sinter_expr first_a, sinter_expr first_b) {
    sinter_loop_builder *b = &t->builder;
    tile_place p = begin_threads(t, first_a, t->loop_a->upper, first_b, t->loop_b->upper);
    t->place[0] = p.column;
    t->place[1] = p.row;
    sinter_loop_stmt *body = t->loop_a->body;
    sinter_loop_replace_list(body, take_from_tiles, t);
    sinter_loop_map map =
        map_of(t, sinter_loop_add(b, first_a, p.column), sinter_loop_add(b, first_b, p.row));
    sinter_loop_map_list(&map, body);
    for (*b->tail = body; *b->tail;) b->tail = &(*b->tail)->next;
    end_threads(t, &p);
}

/* In place of the loops over b and a. */
static void build(transpose *t, sinter_loop_stmt **link) {
    sinter_loop_builder *b = &t->builder;
    sinter_expr zero = sinter_loop_int(b, 0), tile = sinter_loop_int(b, TILE);
    *link = (*link)->next;
    b->tail = link;
    t->tiles_b =
        sinter_loop_begin_for(b, "b", zero, tile_count(t, t->loop_b->upper), 1, SINTER_AXIS_BLOCK);
    sinter_expr over_a =
        sinter_loop_var_read(b, sinter_loop_begin_for(b, "a", zero, tile_count(t, t->loop_a->upper),
                                                      1, SINTER_AXIS_BLOCK));
    sinter_expr first_a = sinter_loop_mul(b, over_a, tile),
                first_b = sinter_loop_mul(b, sinter_loop_var_read(b, t->tiles_b), tile);
    fill_tiles(t, first_a, first_b);
    sinter_loop_barrier(b);
    use_tiles(t, first_a, first_b);
    sinter_loop_end(b);
    sinter_loop_end(b);
}

/* Every loop that runs at once with itself may. */
static bool keeps_apart(sinter_schedule *schedule, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *s = first; s; s = s->next) {
        const bool at_once = s->kind == SINTER_LOOP_FOR &&
                             (s->axis == SINTER_AXIS_BLOCK || s->axis == SINTER_AXIS_THREAD);
        if ((at_once && !sinter_schedule_cuda_is_independent(schedule, s->var)) ||
            !keeps_apart(schedule, s->body) || !keeps_apart(schedule, s->else_body))
            return false;
    }
    return true;
}

static bool transpose_nest(sinter_schedule_cuda_state *state, sinter_loop_var nest, bool flat) {
    sinter_schedule *schedule = &state->schedule;
    transpose t = {.schedule = schedule};
    sinter_loop_builder_init(&t.builder, schedule->program, schedule->function);
    if (flat) sinter_schedule_flatten_all(schedule);
    t.chain = sinter_schedule_chain_of(schedule, nest);
    sinter_schedule_chain_collapse(schedule, &t.chain);
    sinter_loop_var other = 0;
    if (t.chain.depth < 2 ||
        sinter_schedule_cuda_gather_independent(schedule, &t.chain) < t.chain.depth)
        return false;
    sinter_loop_scopes_init(&t.scopes, schedule->program, schedule->function, &state->scratch);
    if (!look_at_body(&t) || !order_loops(&t, &other)) return false;
    sinter_loop_stmt **link = &schedule->function->body;
    if (other) {
        sinter_loop_stmt *outer = sinter_schedule_get_loop(schedule->function, other);
        outer->axis = SINTER_AXIS_BLOCK;
        link = &outer->body;
    }
    while (*link != t.loop_b) link = &(*link)->next;
    build(&t, link);
    return (!other || sinter_schedule_cuda_fits_axis(schedule, other)) &&
           sinter_schedule_cuda_fits_axis(schedule, t.tiles_b) &&
           keeps_apart(schedule, schedule->function->body);
}

/* Flat, more loops become one; where sizes are symbols or tiles have edges, only dims tell elements apart. */
bool sinter_schedule_cuda_transpose(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    sinter_loop_function *function = state->schedule.function,
                         *saved = sinter_loop_clone_function(state->program, function);
    if (transpose_nest(state, nest, true)) return true;
    *function = *saved;
    return transpose_nest(state, nest, false);
}
