/* Nests whose elements ask where they are, as those of a padding do, or choose between indices, as those of a reflection do: the loops are cut
 * where a condition changes, so that the interior asks nothing, and its loops collapse and run in vector lanes like those of any copy.
 * Needs: a nest at the top of its kernel, as lowering made it. Guarantees: the same values.
 * Test: tests/codegen/schedule/border.loops */
#include "codegen/schedule/cpu/tile.h"

typedef struct border_search {
    sinter_loop_builder build;
    const sinter_loop_function *function;
    const sinter_schedule_chain *chain;
    uint32_t depth; /* of the outermost loop to cut so far; the chain's depth: none */
    int64_t at;
} border_search;

/* The comparison changes its answer at an iteration inside of some loop of the chain. */
static void find_change(border_search *s, sinter_expr less, sinter_expr more, bool or_equal) {
    for (uint32_t i = 0; i < s->depth; i++) {
        sinter_loop_var var = s->chain->loops[i];
        const sinter_loop_stmt *loop = sinter_schedule_get_loop(s->function, var);
        sinter_expr coefficient, rest;
        int64_t step, offset, lower, count;
        sinter_expr difference = sinter_loop_sub(&s->build, more, less);
        if (!sinter_loop_affine(&s->build, difference, var, &coefficient, &rest) ||
            !sinter_loop_is_const_int(coefficient, &step) || (step != 1 && step != -1) ||
            !sinter_loop_is_const_int(rest, &offset) || loop->step != 1 ||
            !sinter_loop_is_const_int(loop->lower, &lower) || !sinter_loop_trip_count(loop, &count))
            continue;
        /* step * v + offset > 0, or >= 0, from here on or up to here */
        int64_t at = step > 0 ? 1 - or_equal - offset : offset + or_equal;
        if (at <= lower || at >= lower + count) continue;
        s->depth = i;
        s->at = at;
    }
}

static void find_comparison(void *user, sinter_expr expr) {
    if (expr->kind != SINTER_LOOP_CALL || expr->argument_count != 2 ||
        expr->arguments[0]->dtype != SINTER_DTYPE_i64)
        return;
    if (expr->function == SINTER_SCALAR_lt || expr->function == SINTER_SCALAR_le)
        find_change(user, expr->arguments[0], expr->arguments[1],
                    expr->function == SINTER_SCALAR_le);
}

/* Of two indices the one that a condition chooses. */
static void find_choice(void *user, sinter_expr expr) {
    if (sinter_loop_is_call(expr, SINTER_SCALAR_select) && expr->dtype == SINTER_DTYPE_i64)
        sinter_loop_walk_expr(expr->arguments[0], find_comparison, user);
}

static bool find_condition(void *user, sinter_loop_stmt *stmt) {
    if (stmt->kind == SINTER_LOOP_IF)
        sinter_loop_walk_expr(stmt->value, find_comparison, user);
    else
        sinter_loop_walk_stmt_exprs(stmt, find_choice, user);
    return true;
}

/* The loop at the top of the kernel with this one in it, or itself; 0: it is elsewhere. */
static sinter_loop_var top_of(const sinter_loop_function *function, sinter_loop_var inside) {
    for (const sinter_loop_stmt *stmt = function->body; stmt; stmt = stmt->next)
        for (const sinter_loop_stmt *loop = stmt; loop && loop->kind == SINTER_LOOP_FOR;
             loop = loop->body)
            if (loop->var == inside) return stmt->var;
    return 0;
}

/* False: there is nothing to cut in the nest; otherwise the nests of the two parts, 0 where that went wrong. */
static bool cut_one(sinter_schedule_cpu_state *state, sinter_loop_var nest,
                    sinter_loop_var *out_first, sinter_loop_var *out_second) {
    sinter_schedule *schedule = &state->schedule;
    sinter_schedule_chain chain = sinter_schedule_chain_of(&state->schedule, nest);
    border_search s = {.function = schedule->function, .chain = &chain, .depth = chain.depth};
    sinter_loop_builder_init(&s.build, state->program, schedule->function);
    if (!chain.depth) return false;
    sinter_loop_var inner = chain.loops[chain.depth - 1], first, second;
    sinter_loop_walk(sinter_schedule_get_loop(schedule->function, inner)->body, find_condition, &s);
    if (s.depth == chain.depth) return false;
    *out_first = *out_second = 0;
    if (sinter_schedule_cut(schedule, chain.loops[s.depth], s.at, &first, &second) &&
        sinter_cpu_isolate(schedule, first, 0) && sinter_cpu_isolate(schedule, second, 0)) {
        *out_first = top_of(schedule->function, first);
        *out_second = top_of(schedule->function, second);
    }
    return true;
}

uint32_t sinter_schedule_cpu_cut_borders(sinter_schedule_cpu_state *state, sinter_loop_var nest,
                                         sinter_loop_var *out_parts) {
    sinter_schedule *schedule = &state->schedule;
    uint32_t count = 1;
    if (top_of(schedule->function, nest) != nest) return 0;
    sinter_loop_function *saved = sinter_loop_clone_function(state->program, schedule->function);
    out_parts[0] = nest;
    for (uint32_t i = 0; i < count;) {
        sinter_loop_var first, second;
        if (!cut_one(state, out_parts[i], &first, &second)) {
            i++;
            continue;
        }
        if (!first || !second || count == SINTER_SCHEDULE_MAX_PARTS) {
            *schedule->function = *saved;
            return 0;
        }
        out_parts[i] = first;
        out_parts[count++] = second;
    }
    if (count == 1) return 0;
    for (uint32_t i = 0; i < count; i++) {
        sinter_schedule_chain chain = sinter_schedule_chain_of(&state->schedule, out_parts[i]);
        for (uint32_t k = 0; k < chain.depth; k++)
            sinter_schedule_start_at_zero(schedule, chain.loops[k]);
    }
    return count;
}
