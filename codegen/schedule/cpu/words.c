/* Words of four bytes for dot-accumulate, of an operand that the run alone knows: bytes of four of its rows side by side. They are made for
 * each tile of rows that reads them, or once ahead of all rows, or bytes are multiplied one by one: what takes the least time depends on
 * how many rows share them. Where the run alone knows that, too, it chooses between two forms of the loops.
 * Test: tests/codegen/schedule/few_rows.loops, tests/suites/blocked_values.py */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/dot_internal.h"
#include "codegen/schedule/cpu/tile.h"

#include <string.h>

/* ---- what takes the least time ---- */

/* Cycles for four steps of a vector of columns, rounded, on a Zen 4: */
enum {
    MAKE = 6,     /* a vector of words from four rows, for each tile of rows, */
    KEEP = 3,     /* and to scratch, from where all tiles load it; */
    DOT = 1,      /* for each row then. */
    WIDEN = 3,    /* Four vectors of bytes as integers, for each tile, */
    MULTIPLY = 3, /* for each row then. */
};
enum {
    TILE = 8, /* rows that share what a tile makes, where their number is known; */
    LEFT = 1, /* where it is not: few rows are what tiles leave over */
    MANY = 64 /* rows from which on the least is always the same */
};

static int64_t time_of(sinter_cpu_words words, int64_t rows, int64_t tile) {
    int64_t tiles = (rows + tile - 1) / tile;
    switch (words) {
    case SINTER_CPU_WORDS_NONE:
        return WIDEN * tiles + MULTIPLY * rows;
    case SINTER_CPU_WORDS_IN_TILES:
        return MAKE * tiles + DOT * rows;
    default:
        return MAKE + KEEP + DOT * rows;
    }
}

/* For each of these numbers of rows once. */
static int64_t time_of_all(sinter_cpu_words words, int64_t least, int64_t most, int64_t tile) {
    int64_t time = 0;
    for (int64_t rows = least; rows <= most; rows++) time += time_of(words, rows, tile);
    return time;
}

sinter_cpu_words sinter_cpu_choose_words(const sinter_schedule_cpu_state *state,
                                         sinter_loop_var row, bool whole) {
    int64_t count = sinter_cpu_trips(state, row), most = sinter_cpu_most_trips(state, row);
    if (most < 0 || most > MANY) count = most = MANY;
    int64_t least = count >= 0 ? most : 1, tile = count >= 0 ? TILE : LEFT;
    sinter_cpu_words best = SINTER_CPU_WORDS_NONE;
    for (int i = SINTER_CPU_WORDS_NONE; i <= SINTER_CPU_WORDS_AHEAD; i++) {
        bool possible = whole || i != SINTER_CPU_WORDS_IN_TILES;
        if (possible && time_of_all((sinter_cpu_words)i, least, most, tile) <
                            time_of_all(best, least, most, tile))
            best = (sinter_cpu_words)i;
    }
    return best;
}

/* ---- what is made already ---- */

/* The scratch is allocated in the list of statements that the loop is in, before it. */
static bool is_before(const sinter_schedule_cpu_state *state, sinter_loop_buffer words,
                      sinter_loop_var place) {
    sinter_loop_scopes scopes;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, state->program, state->schedule.function, &scratch);
    const sinter_loop_stmt *stmt = scopes.buffers[words];
    while (stmt && (stmt->kind != SINTER_LOOP_FOR || stmt->var != place)) stmt = stmt->next;
    sinter_arena_deinit(&scratch);
    return stmt != NULL;
}

/* Words [word, column] that another nest had made in front of the loop of the same elements as the load's: a copy of this nest for other
 * numbers of steps. 0: nobody had. */
static sinter_loop_buffer find_made_words(const sinter_cpu_dot *d, sinter_loop_var place,
                                          const sinter_expr *dims) {
    const sinter_schedule_cpu_state *state = d->state;
    const sinter_expr b = d->b;
    const sinter_loop_function *function = state->schedule.function;
    for (size_t i = 0; i < state->made_words.count; i++) {
        const sinter_cpu_made_words *made = &state->made_words.items[i];
        if (made->kernel != state->kernel || made->place != place || made->b->buffer != b->buffer)
            continue;
        const sinter_expr *own = function->buffers.items[made->words].dims;
        bool same =
            sinter_loop_expr_equal(own[0], dims[0]) && sinter_loop_expr_equal(own[1], dims[1]);
        for (uint32_t k = 0; k + 1 < b->argument_count && same; k++)
            same = k == d->b_dim || sinter_loop_expr_equal(made->b->arguments[k], b->arguments[k]);
        if (same && is_before(state, made->words, place)) return made->words;
    }
    return 0;
}

/* ---- making them ---- */

sinter_expr sinter_cpu_join_bytes(sinter_loop_builder *build, const sinter_expr *bytes) {
    sinter_expr word = NULL;
    for (int k = 0; k < SINTER_DOT_BYTES; k++) {
        sinter_expr byte = sinter_loop_cast(build, bytes[k], SINTER_DTYPE_u8);
        byte = sinter_loop_cast(build, byte, SINTER_DTYPE_i32);
        if (k)
            byte = sinter_loop_call2(build, SINTER_SCALAR_shl, byte,
                                     sinter_loop_const_int(build, SINTER_DTYPE_i32, 8 * k));
        word = k ? sinter_loop_call2(build, SINTER_SCALAR_or, word, byte) : byte;
    }
    return word;
}

sinter_expr sinter_cpu_dot_words_of(sinter_cpu_dot *d, sinter_expr steps) {
    sinter_loop_builder *b = &d->build;
    sinter_expr fields = sinter_loop_int(b, d->kind->fields);
    sinter_expr last = sinter_loop_int(b, d->kind->fields - 1);
    return sinter_loop_div(b, sinter_loop_add(b, steps, last), fields);
}

sinter_expr sinter_cpu_dot_make_word(sinter_cpu_dot *d, sinter_expr first) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    sinter_expr bytes[SINTER_DOT_BYTES];
    for (int k = 0; k < SINTER_DOT_BYTES; k++) {
        sinter_loop_map_var(
            &map, d->loop->var,
            sinter_loop_call2(&d->build, SINTER_SCALAR_add, first, sinter_loop_int(&d->build, k)));
        bytes[k] = sinter_loop_map_expr(&map, d->b);
    }
    return sinter_cpu_join_bytes(&d->build, bytes);
}

sinter_expr sinter_cpu_dot_load_made(sinter_cpu_dot *d, sinter_expr index) {
    const sinter_expr at[2] = {index, d->b->arguments[d->b->argument_count - 1]};
    return sinter_loop_load(&d->build, d->words, at);
}

/* Every variable in the expression is a parameter or one of these loops'; *deepest: of these, counted from 1. */
static bool is_of_loops(const sinter_cpu_dot *d, sinter_expr expr, const sinter_loop_var *loops,
                        uint32_t count, uint32_t *deepest) {
    const sinter_loop_function *function = d->state->schedule.function;
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    if (expr->kind == SINTER_LOOP_VAR) {
        bool found = false;
        for (uint32_t i = 0; i < function->scalar_parameters.count && !found; i++)
            found = function->scalar_parameters.items[i] == expr->var;
        for (uint32_t i = 0; i < count && !found; i++) {
            if (loops[i] != expr->var) continue;
            found = true;
            if (*deepest < i + 1) *deepest = i + 1;
        }
        return found;
    }
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_of_loops(d, expr->arguments[i], loops, count, deepest)) return false;
    return true;
}

static bool over_parameters(const sinter_cpu_dot *d, sinter_expr expr) {
    return sinter_loop_expr_over_parameters(d->state->schedule.function, expr);
}

sinter_loop_var sinter_cpu_dot_find_words_place(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    sinter_schedule *schedule = &d->state->schedule;
    sinter_loop_var around[SINTER_MAX_RANK], column = nest->loops[nest->loop_count - 1];
    uint32_t count = sinter_cpu_depth(schedule, nest->loops[0]), deepest = 0,
             last = d->b->argument_count - 1;
    sinter_expr at = d->b->arguments[last];
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, column);
    int64_t lower;
    if (count >= SINTER_MAX_RANK || at->kind != SINTER_LOOP_VAR || at->var != column ||
        schedule->function->buffers.items[d->b->buffer].scope != SINTER_SCOPE_INPUT ||
        loop->step != 1 || !sinter_loop_is_const_int(loop->lower, &lower) || lower != 0 ||
        !over_parameters(d, loop->upper) || !over_parameters(d, d->end))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        around[i] = sinter_cpu_outermost(schedule, nest->loops[0], i);
    for (uint32_t i = 0; i < last; i++)
        if (i != d->b_dim && !is_of_loops(d, d->b->arguments[i], around, count, &deepest)) return 0;
    if (!deepest) return 0; /* threads would share it */
    return deepest < count ? around[deepest] : nest->loops[0];
}

/* Words of one column beside each other, an odd number of lines of the cache, so that they do not share its sets. */
static sinter_expr width_of(sinter_cpu_dot *d, sinter_expr columns) {
    enum { LINE = SINTER_CACHE_LINE / SINTER_DOT_BYTES };
    sinter_loop_builder *b = &d->build;
    int64_t count;
    if (sinter_loop_is_const_int(columns, &count))
        return sinter_loop_int(b, ((count + LINE - 1) / LINE | 1) * LINE);
    sinter_expr two_lines = sinter_loop_int(b, 2 * LINE);
    sinter_expr more =
        sinter_loop_sub(b, sinter_loop_int(b, 3 * LINE), sinter_loop_rem(b, columns, two_lines));
    return sinter_loop_add(b, columns, sinter_loop_rem(b, more, two_lines));
}

/* A word of the last steps, with zeros behind them. */
static sinter_expr make_last_word(sinter_cpu_dot *d, sinter_expr first) {
    sinter_loop_builder *b = &d->build;
    sinter_loop_map map;
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    sinter_expr bytes[SINTER_DOT_BYTES], end = d->end;
    sinter_expr last = sinter_loop_sub(b, end, sinter_loop_int(b, 1));
    for (int k = 0; k < SINTER_DOT_BYTES; k++) {
        sinter_expr at = sinter_loop_add(b, first, sinter_loop_int(b, k));
        sinter_expr inside = sinter_loop_compare(b, SINTER_SCALAR_lt, at, end);
        sinter_loop_map_var(&map, d->loop->var, sinter_loop_min(b, at, last));
        sinter_expr byte = sinter_loop_map_expr(&map, d->b);
        bytes[k] = sinter_loop_select(b, inside, byte, sinter_loop_const_int(b, byte->dtype, 0));
    }
    return sinter_cpu_join_bytes(b, bytes);
}

/* for word in first..end, all columns { words[word, n] = ... } */
static void write_words_between(sinter_cpu_dot *d, const sinter_loop_stmt *column,
                                sinter_expr first, sinter_expr end,
                                sinter_expr (*make)(sinter_cpu_dot *, sinter_expr)) {
    sinter_loop_builder *build = &d->build;
    sinter_expr word = sinter_loop_var_read(
        build, sinter_loop_begin_for(build, "word", first, end, 1, SINTER_AXIS_SERIAL));
    sinter_expr n =
        sinter_loop_var_read(build, sinter_loop_begin_for(build, "n", column->lower, column->upper,
                                                          1, SINTER_AXIS_SERIAL));
    const sinter_expr at[2] = {word, n};
    sinter_loop_map map;
    sinter_loop_map_init(&map, d->state->program, d->state->schedule.function);
    sinter_loop_map_var(&map, column->var, n);
    sinter_expr step = sinter_loop_call2(&d->build, SINTER_SCALAR_mul, word,
                                         sinter_loop_int(build, SINTER_DOT_BYTES));
    sinter_loop_store(build, d->words, at, sinter_loop_map_expr(&map, make(d, step)));
    sinter_loop_end(build);
    sinter_loop_end(build);
}

void sinter_cpu_dot_write_words(sinter_cpu_dot *d, const sinter_cpu_nest *nest) {
    sinter_schedule *schedule = &d->state->schedule;
    sinter_loop_builder *build = &d->build;
    sinter_loop_var place = sinter_cpu_dot_find_words_place(d, nest),
                    column = nest->loops[nest->loop_count - 1];
    sinter_loop_var row = sinter_cpu_find_row(d->state, nest);
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, column);
    if (!place || sinter_cpu_choose_words(d->state, row, !d->open) != SINTER_CPU_WORDS_AHEAD)
        return;
    const sinter_expr dims[2] = {sinter_cpu_dot_words_of(d, d->end), width_of(d, loop->upper)};
    d->words = find_made_words(d, place, dims);
    if (d->words) return;
    d->words =
        sinter_loop_add_buffer(build, "words", SINTER_DTYPE_i32, 2, dims, SINTER_SCOPE_STACK);
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, place),
                     *rest = *link;
    build->tail = link;
    *link = NULL;
    sinter_loop_alloc(build, d->words);
    sinter_expr whole = sinter_loop_div(build, d->end, sinter_loop_int(build, d->kind->fields));
    write_words_between(d, loop, sinter_loop_int(build, 0), whole, sinter_cpu_dot_make_word);
    if (d->open) write_words_between(d, loop, whole, dims[0], make_last_word);
    *build->tail = rest;
    const sinter_cpu_made_words made = {d->state->kernel, place, d->b, d->words};
    sinter_vector_push(&d->state->scratch, &d->state->made_words, made);
}

/* ---- few rows ---- */

/* The nests of a body that would make words ahead of the same loop for as many rows. */
typedef struct users {
    sinter_schedule_cpu_state *state;
    sinter_loop_var loop, row; /* around all; rows of the first */
    uint32_t whole, open;      /* nests whose words tiles could make, and others */
} users;

static bool is_in(const sinter_loop_stmt *first, sinter_loop_var loop) {
    for (; first; first = first->next)
        if (first->kind == SINTER_LOOP_FOR && first->var == loop) return true;
    return false;
}

static void count_user(users *u, const sinter_cpu_nest *nest) {
    const sinter_loop_function *function = u->state->schedule.function;
    bool open;
    sinter_loop_var place = sinter_cpu_find_words_place(u->state, nest, &open),
                    row = sinter_cpu_find_row(u->state, nest);
    if (!place || !row || sinter_cpu_trips(u->state, row) >= 0 ||
        !is_in(sinter_schedule_get_loop(function, u->loop)->body, place))
        return;
    if (u->row && !sinter_loop_expr_equal(sinter_schedule_get_loop(function, row)->upper,
                                          sinter_schedule_get_loop(function, u->row)->upper))
        return;
    if (!u->row) u->row = row;
    ++*(open ? &u->open : &u->whole);
}

static void find_users(users *u, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_cpu_nest nest;
        if (stmt->kind == SINTER_LOOP_IF) { /* copies for few steps and for many */
            find_users(u, stmt->body);
            find_users(u, stmt->else_body);
        }
        if (stmt->kind != SINTER_LOOP_FOR || stmt->axis != SINTER_AXIS_SERIAL) continue;
        if (sinter_cpu_find_nest(u->state->schedule.function, stmt->var, &nest))
            count_user(u, &nest);
        else
            find_users(u, stmt->body);
    }
}

/* The least number of rows that words made ahead take less time for. */
static int64_t least_rows(const users *u) {
    for (int64_t rows = 1; rows < MANY; rows++) {
        int64_t none = time_of(SINTER_CPU_WORDS_NONE, rows, LEFT),
                tiles = time_of(SINTER_CPU_WORDS_IN_TILES, rows, LEFT);
        int64_t other = u->open * none + u->whole * (tiles < none ? tiles : none);
        if ((u->open + u->whole) * time_of(SINTER_CPU_WORDS_AHEAD, rows, LEFT) < other) return rows;
    }
    return MANY;
}

static void lift_all(sinter_schedule *schedule, sinter_loop_var loop) {
    for (sinter_loop_buffer i = 1; i < schedule->function->buffers.count; i++)
        if (schedule->function->buffers.items[i].scope == SINTER_SCOPE_STACK)
            sinter_schedule_lift_scratch(schedule, i, loop); /* or both have their own */
}

void sinter_cpu_fork_few_rows(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    sinter_schedule *schedule = &state->schedule;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    users u = {.state = state, .loop = loop};
    if (!stmt || stmt->axis != SINTER_AXIS_SERIAL) return;
    find_users(&u, stmt->body);
    if (!u.row) return;
    int64_t least = least_rows(&u), most = sinter_cpu_most_trips(state, u.row);
    if (least < 2 || (most >= 0 && most < least)) return;
    lift_all(schedule, loop);
    sinter_schedule_fork(schedule, loop, u.row, least); /* or all rows share one form */
}
