/* Integer sums start with what is added to them afterwards:
 *   var acc = 0; for k { acc = acc + ... }; uses of acc + e   ->   var acc = e; for k { acc = acc + ... }; uses of acc
 * One operation less for each element, and none more, as accumulators are set anyway. Exact: integers wrap the same way in
 * any order. Needs: a nest of sinter_cpu_find_nest. Test: tests/codegen/schedule/start.loops */
#include "codegen/schedule/cpu/dot.h"
#include "ir/base/map.h"

typedef struct search {
    sinter_loop_function *function;
    sinter_loop_var accumulator;
    sinter_expr sum;   /* accumulator + e or accumulator - e */
    bool found, other; /* reads of the accumulator within such a sum, and all others */
    sinter_map seen;
} search;

static bool reads(sinter_expr expr, sinter_loop_var var) {
    return expr->kind == SINTER_LOOP_VAR && expr->var == var;
}

/* The operand of a sum or difference beside the accumulator; NULL: it is none. */
static sinter_expr added(const search *s, sinter_expr expr) {
    if (expr->kind != SINTER_LOOP_CALL) return NULL;
    bool is_sum = expr->function == SINTER_SCALAR_add;
    if (!is_sum && expr->function != SINTER_SCALAR_sub) return NULL;
    if (reads(expr->arguments[0], s->accumulator)) return expr->arguments[1];
    return is_sum && reads(expr->arguments[1], s->accumulator) ? expr->arguments[0] : NULL;
}

static void search_expr(search *s, sinter_expr expr) {
    uint64_t before;
    if (sinter_map_find(&s->seen, (uintptr_t)expr, &before)) return;
    sinter_map_put(&s->seen, (uintptr_t)expr, 1);
    sinter_expr e = added(s, expr);
    if (e && !s->sum) s->sum = expr;
    if (e && sinter_loop_expr_equal(expr, s->sum)) {
        s->found = true;
        search_expr(s, e);
        return;
    }
    s->other |= reads(expr, s->accumulator);
    for (uint32_t i = 0; i < expr->argument_count; i++) search_expr(s, expr->arguments[i]);
}

static bool search_place(void *user, sinter_expr *place) {
    search_expr(user, *place);
    return true;
}

static bool search_stmt(void *user, sinter_loop_stmt *stmt) {
    return sinter_loop_visit_places(stmt, search_place, user);
}

/* ---- replacing ---- */

typedef struct replacer {
    sinter_loop_builder build;
    sinter_expr sum, accumulator;
    sinter_map done;
} replacer;

static sinter_expr replaced(void *user, sinter_expr expr) {
    replacer *r = user;
    uint64_t before;
    if (!expr->argument_count || expr->argument_count > SINTER_MAX_RANK) return expr;
    if (sinter_map_find(&r->done, (uintptr_t)expr, &before)) return (sinter_expr)(uintptr_t)before;
    sinter_expr result = sinter_loop_expr_equal(expr, r->sum)
                             ? r->accumulator
                             : sinter_loop_replace_arguments(r->build.arena, expr, replaced, r);
    sinter_map_put(&r->done, (uintptr_t)expr, (uintptr_t)result);
    return result;
}

/* ---- the nest ---- */

/* Before the reduction it has the value it has after it: it reads inputs and the variables of loops around. */
static bool is_early(const sinter_loop_function *function, sinter_expr expr,
                     const sinter_loop_stmt *body) {
    if (expr->kind == SINTER_LOOP_LOAD &&
        function->buffers.items[expr->buffer].scope != SINTER_SCOPE_INPUT)
        return false;
    for (const sinter_loop_stmt *stmt = body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE && reads(expr, stmt->var)) return false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_early(function, expr->arguments[i], body)) return false;
    return true;
}

static bool start_with_one(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                           sinter_loop_stmt *body, sinter_arena *scratch) {
    sinter_loop_function *function = state->schedule.function;
    search s = {.function = function, .accumulator = nest->accumulator};
    sinter_map_init(&s.seen, scratch);
    sinter_loop_stmt *declare = body, *after = body;
    while (declare->kind != SINTER_LOOP_DECLARE || declare->var != nest->accumulator)
        declare = declare->next;
    while (after->kind != SINTER_LOOP_FOR) after = after->next;
    after = after->next;
    sinter_loop_walk(after, search_stmt, &s);
    if (!s.found || s.other || !is_early(function, added(&s, s.sum), body)) return false;
    replacer r = {.sum = s.sum};
    sinter_map_init(&r.done, scratch);
    sinter_loop_builder_init(&r.build, state->program, function);
    r.accumulator = sinter_loop_var_read(&r.build, nest->accumulator);
    sinter_expr start[2] = {declare->value, added(&s, s.sum)};
    sinter_loop_replace_list(after, replaced, &r);
    declare->value = sinter_loop_call(&r.build, s.sum->function, start);
    return true;
}

void sinter_cpu_start_with_sums(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest) {
    enum { MAX_SUMS = 8 };
    sinter_arena scratch;
    if (!sinter_dtype_is_integer(nest->dtype)) return;
    sinter_loop_stmt *column =
        sinter_schedule_get_loop(state->schedule.function, nest->loops[nest->loop_count - 1]);
    sinter_arena_init(&scratch);
    for (int i = 0; i < MAX_SUMS && start_with_one(state, nest, column->body, &scratch); i++) {
    }
    sinter_arena_deinit(&scratch);
}
