/* Schedules of loop nests: reorder, fuse, fission, and the clean-up of loops that became trivial.
 * Needs: a function that the verifier accepts. Guarantees: each element gets its values in the order it did before.
 * Test: tests/unit/loop_property_test.c */
#include "codegen/loops/independent.h"
#include "codegen/schedule/internal.h"

#include <assert.h>

/* ---- reorder ---- */

/* The loop that is all that the body of the outer one has. */
static sinter_loop_stmt *only_loop(const sinter_loop_stmt *outer) {
    sinter_loop_stmt *inner = outer->body;
    return inner && inner->kind == SINTER_LOOP_FOR && !inner->next ? inner : NULL;
}

/* Both loops run over the same rectangle whichever is outside. */
static bool check_rectangle(sinter_schedule *schedule, const sinter_loop_stmt *outer,
                            const sinter_loop_stmt *inner) {
    if (sinter_loop_expr_uses(inner->lower, outer->var) ||
        sinter_loop_expr_uses(inner->upper, outer->var))
        return sinter_schedule_refuse(schedule, "the bounds of %s depend on %s",
                                      sinter_schedule_var_name(schedule, inner->var),
                                      sinter_schedule_var_name(schedule, outer->var));
    if (!sinter_schedule_bounds_fixed(inner, outer->body->body) ||
        !sinter_schedule_bounds_fixed(outer, inner->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    return true;
}

static bool can_exchange(sinter_schedule *schedule, const sinter_loop_stmt *outer,
                         const sinter_loop_stmt *inner) {
    if (outer->axis != SINTER_AXIS_SERIAL && outer->axis != SINTER_AXIS_UNROLL)
        return sinter_schedule_refuse(schedule, "%s is marked already",
                                      sinter_schedule_var_name(schedule, outer->var));
    if (!check_rectangle(schedule, outer, inner)) return false;
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_text reason = {0}, other = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, schedule->function, &scratch);
    bool ok = sinter_loop_independent(&scopes, outer, NULL, 0, &reason) ||
              sinter_loop_independent(&scopes, inner, &outer->var, 1, &other);
    if (!ok) sinter_schedule_refuse(schedule, "%s", reason.data);
    sinter_text_deinit(&reason);
    sinter_text_deinit(&other);
    sinter_arena_deinit(&scratch);
    return ok;
}

static void exchange(sinter_loop_stmt *outer, sinter_loop_stmt *inner) {
    sinter_loop_stmt kept = *outer;
    outer->var = inner->var;
    outer->lower = inner->lower;
    outer->upper = inner->upper;
    outer->step = inner->step;
    outer->axis = inner->axis;
    inner->var = kept.var;
    inner->lower = kept.lower;
    inner->upper = kept.upper;
    inner->step = kept.step;
    inner->axis = kept.axis;
}

/* Which of the loops is the outermost one now. */
static sinter_loop_stmt *find_outermost(sinter_schedule *schedule, const sinter_loop_var *order,
                                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, order[i]);
        size_t depth = 0;
        while (stmt && depth + 1 < count && only_loop(stmt)) {
            stmt = only_loop(stmt);
            depth++;
        }
        if (stmt && depth + 1 == count) {
            bool all = true;
            sinter_loop_stmt *first = sinter_schedule_get_loop(schedule->function, order[i]);
            for (sinter_loop_stmt *at = first; all; at = only_loop(at)) {
                bool wanted = false;
                for (size_t k = 0; k < count; k++) wanted |= order[k] == at->var;
                all = wanted;
                if (at == stmt) break;
            }
            if (all) return first;
        }
    }
    return NULL;
}

static size_t position_of(const sinter_loop_var *order, size_t count, sinter_loop_var var) {
    size_t i = 0;
    while (i < count && order[i] != var) i++;
    return i;
}

bool sinter_schedule_reorder(sinter_schedule *schedule, const sinter_loop_var *order,
                             size_t count) {
    sinter_loop_stmt *first = count ? find_outermost(schedule, order, count) : NULL;
    if (!first) return sinter_schedule_refuse(schedule, "these are not perfectly nested loops");
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    /* Bubble sort: each exchange of neighbours is legal by itself; undone in reverse where one is not. */
    SINTER_VECTOR(sinter_loop_stmt *) done = {0};
    for (size_t round = 0; round + 1 < count; round++) {
        sinter_loop_stmt *outer = first;
        for (size_t i = 0; i + 1 < count; i++, outer = outer->body) {
            sinter_loop_stmt *inner = outer->body;
            if (position_of(order, count, outer->var) < position_of(order, count, inner->var))
                continue;
            if (!can_exchange(schedule, outer, inner)) {
                while (done.count) {
                    sinter_loop_stmt *back = done.items[--done.count];
                    exchange(back, back->body);
                }
                return false;
            }
            exchange(outer, inner);
            sinter_vector_push(&schedule->program->arena, &done, outer);
        }
    }
    return sinter_schedule_keeps_marks(schedule, saved);
}

/* ---- fuse ---- */

/* The count, at least 0. */
static sinter_expr count_of(sinter_loop_builder *b, const sinter_loop_stmt *loop) {
    return sinter_loop_max(b, sinter_schedule_count(b, loop), sinter_loop_int(b, 0));
}

static sinter_expr value_of(sinter_loop_builder *b, const sinter_loop_stmt *loop,
                            sinter_expr position) {
    return sinter_loop_add(b, loop->lower,
                           sinter_loop_mul(b, position, sinter_loop_int(b, loop->step)));
}

bool sinter_schedule_fuse(sinter_schedule *schedule, sinter_loop_var outer_var,
                          sinter_loop_var inner_var, sinter_loop_var *out_fused) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, outer_var);
    if (!link) return false;
    sinter_loop_stmt *outer = *link, *inner = only_loop(outer);
    if (!inner || inner->var != inner_var)
        return sinter_schedule_refuse(schedule, "these are not perfectly nested loops");
    if (inner->axis != SINTER_AXIS_SERIAL ||
        (outer->axis != SINTER_AXIS_SERIAL && outer->axis != SINTER_AXIS_PARALLEL))
        return sinter_schedule_refuse(schedule, "the loops are marked already");
    if (!check_rectangle(schedule, outer, inner)) return false;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    sinter_loop_builder *b = &map.builder;
    sinter_expr width = count_of(b, inner), total = sinter_loop_mul(b, count_of(b, outer), width);
    *link = outer->next;
    b->tail = link;
    const char *name =
        sinter_arena_format(b->arena, "%s%s", sinter_schedule_var_name(schedule, outer_var),
                            sinter_schedule_var_name(schedule, inner_var));
    sinter_loop_var fused =
        sinter_loop_begin_for(b, name, sinter_loop_int(b, 0), total, 1, outer->axis);
    sinter_expr position = sinter_loop_var_read(b, fused);
    sinter_loop_map_var(&map, outer_var, value_of(b, outer, sinter_loop_div(b, position, width)));
    sinter_loop_map_var(&map, inner_var, value_of(b, inner, sinter_loop_rem(b, position, width)));
    sinter_loop_map_list(&map, inner->body);
    *b->tail = inner->body;
    sinter_loop_end(b);
    if (!sinter_schedule_keeps_marks(schedule, saved)) return false;
    if (out_fused) *out_fused = fused;
    return true;
}

/* ---- fission ---- */

bool sinter_schedule_fission(sinter_schedule *schedule, sinter_loop_var var, size_t count,
                             sinter_loop_var *out_second) {
    sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    if (!loop) return sinter_schedule_refuse(schedule, "there is no such loop");
    sinter_loop_stmt **cut = &loop->body;
    for (size_t i = 0; i < count && *cut; i++) cut = &(*cut)->next;
    if (cut == &loop->body || !*cut)
        return sinter_schedule_refuse(schedule, "the body has no two parts there");
    if (!sinter_schedule_bounds_fixed(loop, loop->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_text reason = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, schedule->function, &scratch);
    bool ok = sinter_loop_separable(&scopes, loop, *cut, &reason);
    if (!ok) sinter_schedule_refuse(schedule, "%s", reason.data);
    sinter_text_deinit(&reason);
    sinter_arena_deinit(&scratch);
    if (!ok) return false;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_stmt *second = *cut;
    *cut = NULL;
    sinter_loop_map map;
    sinter_loop_map_init(&map, schedule->program, schedule->function);
    map.builder.tail = &loop->next;
    sinter_loop_var fresh =
        sinter_loop_begin_for(&map.builder, sinter_schedule_var_name(schedule, var), loop->lower,
                              loop->upper, loop->step, loop->axis);
    sinter_loop_map_var(&map, var, sinter_loop_var_read(&map.builder, fresh));
    sinter_loop_map_list(&map, second);
    *map.builder.tail = second;
    sinter_loop_end(&map.builder);
    if (!sinter_schedule_keeps_marks(schedule, saved)) return false;
    if (out_second) *out_second = fresh;
    return true;
}

/* ---- simplify ---- */

/* Puts a list in the place of *link, which is removed; returns where what followed it is linked. */
static sinter_loop_stmt **splice(sinter_loop_stmt **link, sinter_loop_stmt *list) {
    sinter_loop_stmt *next = (*link)->next;
    *link = list;
    while (*link) link = &(*link)->next;
    *link = next;
    return link;
}

static bool declares(const sinter_loop_stmt *first) {
    for (; first; first = first->next)
        if (first->kind == SINTER_LOOP_DECLARE || first->kind == SINTER_LOOP_ALLOC ||
            first->kind == SINTER_LOOP_BIND)
            return true;
    return false;
}

static void simplify(sinter_schedule *schedule, sinter_loop_stmt **link) {
    while (*link) {
        sinter_loop_stmt *stmt = *link;
        int64_t count, condition;
        bool counted = stmt->kind == SINTER_LOOP_FOR && sinter_loop_trip_count(stmt, &count);
        bool decided =
            stmt->kind == SINTER_LOOP_IF && sinter_loop_is_const_int(stmt->value, &condition);
        if (counted && count == 0) {
            *link = stmt->next;
            continue;
        }
        if (decided && !(condition ? stmt->body : stmt->else_body)) {
            *link = stmt->next;
            continue;
        }
        /* What a body declares ends with it; it stays a block of its own then, unless the block around ends there too. */
        if (counted && count == 1 && (!stmt->next || !declares(stmt->body))) {
            sinter_loop_map map;
            sinter_loop_map_init(&map, schedule->program, schedule->function);
            sinter_loop_map_var(&map, stmt->var, stmt->lower);
            sinter_loop_map_list(&map, stmt->body);
            splice(link, stmt->body);
            continue;
        }
        if (decided && (!stmt->next || !declares(condition ? stmt->body : stmt->else_body))) {
            splice(link, condition ? stmt->body : stmt->else_body);
            continue;
        }
        simplify(schedule, &stmt->body);
        simplify(schedule, &stmt->else_body);
        bool empty = stmt->kind == SINTER_LOOP_FOR && !stmt->body;
        if (empty)
            *link = stmt->next;
        else
            link = &stmt->next;
    }
}

void sinter_schedule_simplify(sinter_schedule *schedule) {
    simplify(schedule, &schedule->function->body);
}
