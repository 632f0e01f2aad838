/* The verbs for bounds that are clipped, as those of windows at a border are: a copy of a loop for the case that is common and simple, in which
 * none is; and a condition in place of the clipping.
 * Needs: a function that the verifier accepts. Guarantees: the same values.
 * Test: tests/codegen/schedule/symbolic.loops, guard.loops */
#include "codegen/schedule/internal.h"

#include <string.h>

/* How an expression goes with a variable; what is not known stays MIXED. */
typedef enum trend { TREND_FLAT = 0, TREND_UP = 1, TREND_DOWN = 2, TREND_MIXED = 3 } trend;

static trend opposite(trend a) {
    return a == TREND_UP ? TREND_DOWN : a == TREND_DOWN ? TREND_UP : a;
}

static trend trend_of(sinter_expr expr, sinter_loop_var var) {
    int64_t number;
    if (!sinter_loop_expr_uses(expr, var)) return TREND_FLAT;
    if (expr->kind == SINTER_LOOP_VAR) return TREND_UP;
    if (expr->kind != SINTER_LOOP_CALL || expr->dtype != SINTER_DTYPE_i64) return TREND_MIXED;
    trend a = trend_of(expr->arguments[0], var);
    trend b = expr->argument_count > 1 ? trend_of(expr->arguments[1], var) : TREND_FLAT;
    switch (expr->function) {
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
        return a | b;
    case SINTER_SCALAR_sub:
        return a | opposite(b);
    case SINTER_SCALAR_neg:
        return opposite(a);
    case SINTER_SCALAR_mul:
        if (!sinter_loop_is_const_int(expr->arguments[1], &number)) return TREND_MIXED;
        return number >= 0 ? a : opposite(a);
    case SINTER_SCALAR_div:
    case SINTER_SCALAR_floordiv:
        if (!sinter_loop_is_const_int(expr->arguments[1], &number) || number <= 0)
            return TREND_MIXED;
        return a;
    default:
        return TREND_MIXED;
    }
}

/* The number that a bound is clipped at. */
static bool find_clip(sinter_expr expr, int64_t *out_number) {
    if (expr->kind != SINTER_LOOP_CALL ||
        (expr->function != SINTER_SCALAR_min && expr->function != SINTER_SCALAR_max))
        return false;
    return sinter_loop_is_const_int(expr->arguments[0], out_number) ||
           sinter_loop_is_const_int(expr->arguments[1], out_number);
}

typedef struct special {
    sinter_schedule *schedule;
    sinter_loop_map map;
    const sinter_loop_stmt *loop;
    sinter_expr condition; /* NULL: none yet */
    bool change, fits;
} special;

/* The bound is `number` at one end of the loop. */
static void require_at(special *s, sinter_expr bound, sinter_expr end, int64_t number) {
    sinter_loop_builder *b = &s->map.builder;
    sinter_loop_map_var(&s->map, s->loop->var, end);
    sinter_expr equal = sinter_loop_compare(
        b, SINTER_SCALAR_eq, sinter_loop_map_expr(&s->map, bound), sinter_loop_int(b, number));
    s->condition = s->condition ? sinter_loop_and(b, s->condition, equal) : equal;
}

static void treat_bound(special *s, sinter_expr *place) {
    int64_t number;
    sinter_expr bound = *place;
    if (!sinter_loop_expr_uses(bound, s->loop->var)) return;
    if (s->change) {
        find_clip(bound, &number);
        *place = sinter_loop_int(&s->map.builder, number);
        return;
    }
    s->fits = s->fits && find_clip(bound, &number) &&
              trend_of(bound, s->loop->var) != TREND_MIXED &&
              sinter_loop_is_invariant(bound, s->loop->body);
    if (!s->fits) return;
    sinter_loop_builder *b = &s->map.builder;
    require_at(s, bound, s->loop->lower, number);
    require_at(s, bound, sinter_loop_sub(b, s->loop->upper, sinter_loop_int(b, 1)), number);
}

static bool visit_bounds(void *user, sinter_loop_stmt *stmt) {
    special *s = user;
    if (stmt->kind == SINTER_LOOP_FOR) {
        treat_bound(s, &stmt->lower);
        treat_bound(s, &stmt->upper);
        if (s->change) sinter_loop_take_range(&s->map.builder, stmt);
    }
    return s->fits;
}

bool sinter_schedule_specialize(sinter_schedule *schedule, sinter_loop_var var,
                                sinter_loop_var *out_general) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    sinter_loop_stmt *loop = *link, *next = loop->next;
    if (loop->axis != SINTER_AXIS_SERIAL || loop->step != 1)
        return sinter_schedule_refuse(schedule, "the loop is marked already or has a step");
    special s = {.schedule = schedule, .loop = loop, .fits = true};
    sinter_loop_map_init(&s.map, schedule->program, schedule->function);
    sinter_loop_walk(loop->body, visit_bounds, &s);
    if (!s.fits || !s.condition)
        return sinter_schedule_refuse(
            schedule, "no bounds in the body are clipped step by step with the loop");
    sinter_loop_map clone;
    sinter_loop_map_init(&clone, schedule->program, schedule->function);
    sinter_loop_stmt *general = sinter_loop_clone_stmt(&clone, loop);
    s.change = true;
    sinter_loop_walk(loop->body, visit_bounds, &s);
    sinter_loop_builder *b = &s.map.builder;
    *link = next;
    loop->next = NULL;
    sinter_loop_put_branches(b, link, s.condition, loop, general);
    if (out_general) *out_general = general->var;
    return true;
}

/* ---- conditions in place of bounds ---- */

/* a(v) <= k & ... for bound = max(a(v), ...), the same for what is below min(a(v), ...); what holds anyway folds. */
static sinter_expr within(sinter_loop_builder *b, sinter_expr index, sinter_expr bound,
                          bool is_lower) {
    sinter_scalar_function clip = is_lower ? SINTER_SCALAR_max : SINTER_SCALAR_min;
    if (sinter_loop_is_call(bound, clip))
        return sinter_loop_and(b, within(b, index, bound->arguments[0], is_lower),
                               within(b, index, bound->arguments[1], is_lower));
    return is_lower ? sinter_loop_compare(b, SINTER_SCALAR_le, bound, index)
                    : sinter_loop_compare(b, SINTER_SCALAR_lt, index, bound);
}

bool sinter_schedule_guard(sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    int64_t lower, upper;
    if (!link) return false;
    sinter_loop_stmt *loop = *link;
    const sinter_loop_var_info *info = &schedule->function->vars.items[var];
    if (loop->axis != SINTER_AXIS_SERIAL || loop->step != 1)
        return sinter_schedule_refuse(schedule, "the loop is marked already or has a step");
    if (sinter_loop_is_const_int(loop->lower, &lower) &&
        sinter_loop_is_const_int(loop->upper, &upper))
        return sinter_schedule_refuse(schedule, "its bounds are numbers");
    if (info->min == INT64_MIN || info->max == INT64_MAX || info->min > info->max)
        return sinter_schedule_refuse(schedule, "nobody knows how far its bounds go");
    if (!sinter_schedule_bounds_fixed(loop, loop->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    lower = info->min;
    upper = info->max + 1;
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    sinter_expr index = sinter_loop_var_read(&b, var);
    sinter_expr condition = sinter_loop_and(&b, within(&b, index, loop->lower, true),
                                            within(&b, index, loop->upper, false));
    loop->lower = sinter_loop_int(&b, lower);
    loop->upper = sinter_loop_int(&b, upper);
    sinter_loop_stmt *body = loop->body;
    loop->body = NULL;
    b.tail = &loop->body;
    sinter_loop_begin_if(&b, condition);
    *b.tail = body;
    sinter_loop_end(&b);
    return true;
}
