/* Words of four bytes for dot-accumulate, of an operand that the run alone knows: bytes of four of its rows side by side. They are made for
 * each tile of rows that reads them, or once ahead of all rows, or bytes are multiplied one by one: what takes the least time depends on
 * how many rows share them. Where the run alone knows that, too, it chooses between two forms of the loops.
 * Test: tests/codegen/schedule/few_rows.loops, tests/suites/blocked_values.py */
#include "codegen/loop_access.h"
#include "codegen/schedule_cpu_dot.h"

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

sinter_loop_buffer sinter_cpu_find_made_words(const sinter_schedule_cpu_state *state,
                                              sinter_loop_var place, sinter_expr b, uint32_t b_dim,
                                              const sinter_expr *dims) {
    const sinter_loop_function *function = state->schedule.function;
    for (size_t i = 0; i < state->made_words.count; i++) {
        const sinter_cpu_made_words *made = &state->made_words.items[i];
        if (made->kernel != state->kernel || made->place != place || made->b->buffer != b->buffer)
            continue;
        const sinter_expr *own = function->buffers.items[made->words].dims;
        bool same =
            sinter_loop_expr_equal(own[0], dims[0]) && sinter_loop_expr_equal(own[1], dims[1]);
        for (uint32_t k = 0; k + 1 < b->argument_count && same; k++)
            same = k == b_dim || sinter_loop_expr_equal(made->b->arguments[k], b->arguments[k]);
        if (same && is_before(state, made->words, place)) return made->words;
    }
    return 0;
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
