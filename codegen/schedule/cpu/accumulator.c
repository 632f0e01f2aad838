/* Nests around one accumulator: matrix products, convolutions, pools, found by their shape. Test: tests/codegen/schedule/ */
#include "codegen/schedule/cpu/accumulator.h"
#include "codegen/loops/access.h"

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
