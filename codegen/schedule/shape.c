/* Schedules that forget shapes: flattening of buffers and collapsing of loops that run over consecutive elements.
 * Needs: a function that the verifier accepts. Guarantees: every access goes to the element it did, in the order it did.
 * Test: tests/codegen/schedule/shape.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/linear.h"
#include "codegen/schedule/internal.h"

#include <inttypes.h>
#include <string.h>

/* ---- flatten ---- */

/* Dims of a buffer that become one. */
typedef struct flattening {
    const sinter_expr *dims;
    uint32_t rank, first, count; /* count = 0: it stays as it is */
} flattening;

typedef struct flattenings {
    sinter_loop_builder builder;
    flattening *items; /* by buffer */
} flattenings;

static sinter_expr flat_index(flattenings *all, const flattening *f, const sinter_expr *indices) {
    sinter_loop_builder *b = &all->builder;
    sinter_expr stride = sinter_loop_int(b, 1), sum = sinter_loop_int(b, 0);
    for (uint32_t i = f->first + f->count; i-- > f->first;) {
        sum = sinter_loop_add(b, sum, sinter_loop_mul(b, indices[i], stride));
        if (i > f->first) stride = sinter_loop_mul(b, stride, f->dims[i]);
    }
    return sum;
}

/* Puts the one dim, or index, in the place of several. */
static uint32_t put_flat(const flattening *f, sinter_expr flat, sinter_expr *list) {
    list[f->first] = flat;
    for (uint32_t i = f->first + f->count; i < f->rank; i++) list[i - f->count + 1] = list[i];
    return f->rank - f->count + 1;
}

static uint32_t flatten_indices(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    flattenings *all = user;
    const flattening *f = &all->items[buffer];
    if (!f->count) return all->builder.function->buffers.items[buffer].rank;
    return put_flat(f, flat_index(all, f, indices), indices);
}

static void flatten_dims(flattenings *all, sinter_loop_buffer buffer) {
    sinter_loop_builder *b = &all->builder;
    sinter_loop_buffer_info *info = &b->function->buffers.items[buffer];
    const flattening *f = &all->items[buffer];
    sinter_expr size = sinter_loop_int(b, 1), dims[SINTER_MAX_RANK];
    for (uint32_t i = f->first; i < f->first + f->count; i++)
        size = sinter_loop_mul(b, size, info->dims[i]);
    memcpy(dims, info->dims, info->rank * sizeof *dims);
    info->rank = put_flat(f, size, dims);
    info->dims = sinter_arena_copy(b->arena, dims, info->rank * sizeof *dims);
}

/* `only`: the one buffer of those that changes, 0: there may be several. */
static bool flatten_buffers(sinter_schedule *schedule, flattening *items, sinter_loop_buffer only) {
    sinter_loop_function *function = schedule->function;
    flattenings all = {.items = items};
    sinter_loop_builder_init(&all.builder, schedule->program, function);
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_loop_change_indices(all.builder.arena, function->body, only, flatten_indices, &all);
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++)
        if (items[i].count) flatten_dims(&all, i);
    return sinter_schedule_keeps_marks(schedule, saved);
}

bool sinter_schedule_flatten(sinter_schedule *schedule, sinter_loop_buffer buffer) {
    const sinter_loop_function *function = schedule->function;
    bool known = buffer && buffer < function->buffers.count;
    return sinter_schedule_merge(schedule, buffer, 0,
                                 known ? function->buffers.items[buffer].rank : 0);
}

bool sinter_schedule_merge(sinter_schedule *schedule, sinter_loop_buffer buffer, uint32_t first,
                           uint32_t count) {
    sinter_loop_function *function = schedule->function;
    if (!buffer || buffer >= function->buffers.count ||
        function->buffers.items[buffer].scope > SINTER_SCOPE_INOUT ||
        function == schedule->program->host)
        return sinter_schedule_refuse(schedule, "there is no such parameter of a kernel");
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    if (info->rank < 2) return sinter_schedule_refuse(schedule, "%%%s is flat", info->name);
    if (count < 2 || count > info->rank || first > info->rank - count)
        return sinter_schedule_refuse(schedule, "%%%s has no such dims", info->name);
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    flattening *items = SINTER_NEW_ARRAY(&scratch, flattening, function->buffers.count);
    items[buffer] = (flattening){info->dims, info->rank, first, count};
    bool good = flatten_buffers(schedule, items, buffer);
    sinter_arena_deinit(&scratch);
    return good;
}

void sinter_schedule_flatten_all(sinter_schedule *schedule) {
    sinter_loop_function *function = schedule->function;
    /* Loops around contractions that run in parallel may be told apart by a dim of their own. */
    for (const sinter_loop_stmt *stmt = function->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_PARALLEL) return;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    flattening *items = SINTER_NEW_ARRAY(&scratch, flattening, function->buffers.count);
    bool any = false;
    for (size_t i = 0; i < function->buffer_parameters.count; i++) {
        sinter_loop_buffer buffer = function->buffer_parameters.items[i];
        const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
        if (info->rank < 2) continue;
        items[buffer] = (flattening){info->dims, info->rank, 0, info->rank};
        any = true;
    }
    /* All in one walk; one after the other where some mark needs the dims of some. */
    if (any && !flatten_buffers(schedule, items, 0))
        for (size_t i = 0; i < function->buffer_parameters.count; i++)
            sinter_schedule_flatten(schedule, function->buffer_parameters.items[i]);
    sinter_arena_deinit(&scratch);
}

/* ---- collapse ---- */

typedef struct collapsing {
    sinter_loop_builder builder;
    sinter_loop_var outer, inner;
    sinter_expr width, position; /* of the inner loop; of the new one */
    bool fails;
} collapsing;

static bool uses_either(const collapsing *c, sinter_expr expr) {
    return sinter_loop_expr_uses(expr, c->outer) || sinter_loop_expr_uses(expr, c->inner);
}

/* coefficient * (outer * width + inner) + rest: NULL where the expression is not of this form. */
static sinter_expr collapse_sum(collapsing *c, sinter_expr expr) {
    sinter_loop_builder *b = &c->builder;
    sinter_expr by_outer, by_inner, rest;
    if (!sinter_loop_affine(b, expr, c->inner, &by_inner, &rest) || uses_either(c, by_inner) ||
        !sinter_loop_affine(b, rest, c->outer, &by_outer, &rest) || uses_either(c, by_outer) ||
        uses_either(c, rest) ||
        !sinter_loop_expr_equal(by_outer, sinter_loop_mul(b, by_inner, c->width)))
        return NULL;
    return sinter_loop_add(b, sinter_loop_mul(b, by_inner, c->position), rest);
}

static sinter_expr collapse_expr(void *user, sinter_expr expr) {
    collapsing *c = user;
    if (c->fails || !uses_either(c, expr)) return expr;
    sinter_expr sum = expr->dtype == SINTER_DTYPE_i64 ? collapse_sum(c, expr) : NULL;
    if (sum) return sum;
    if (expr->kind == SINTER_LOOP_VAR) c->fails = true;
    if (c->fails) return expr;
    return sinter_loop_replace_arguments(c->builder.arena, expr, collapse_expr, c);
}

static bool collapse_stmt(void *user, sinter_loop_stmt *stmt) {
    collapsing *c = user;
    sinter_loop_replace_exprs(stmt, collapse_expr, c);
    /* Scratch whose size follows the loops has no single dim that would do. */
    if (stmt->kind == SINTER_LOOP_ALLOC)
        for (uint32_t i = 0; i < c->builder.function->buffers.items[stmt->buffer].rank; i++)
            c->fails |= uses_either(c, c->builder.function->buffers.items[stmt->buffer].dims[i]);
    return !c->fails;
}

static bool runs_from_zero(const sinter_loop_stmt *loop) {
    int64_t lower;
    return loop->step == 1 && sinter_loop_is_const_int(loop->lower, &lower) && lower == 0;
}

bool sinter_schedule_collapse(sinter_schedule *schedule, sinter_loop_var outer_var,
                              sinter_loop_var inner_var, sinter_loop_var *out_loop) {
    sinter_loop_stmt *outer = sinter_schedule_get_loop(schedule->function, outer_var);
    sinter_loop_stmt *inner = outer ? outer->body : NULL;
    if (!inner || inner->next || inner->kind != SINTER_LOOP_FOR || inner->var != inner_var)
        return sinter_schedule_refuse(schedule, "these are not perfectly nested loops");
    if (inner->axis != SINTER_AXIS_SERIAL || outer->axis != SINTER_AXIS_SERIAL)
        return sinter_schedule_refuse(schedule, "the loops are marked already");
    int64_t low, high;
    if (!runs_from_zero(outer) || !runs_from_zero(inner) ||
        !sinter_linear_is_size(schedule->function, inner->upper) ||
        sinter_loop_expr_uses(inner->upper, outer_var) ||
        !sinter_schedule_bounds_fixed(inner, outer->body->body) ||
        !sinter_schedule_bounds_fixed(outer, inner->body))
        return sinter_schedule_refuse(schedule, "the loops do not run from 0 to fixed counts");
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    collapsing c = {.outer = outer_var, .inner = inner_var, .width = inner->upper};
    sinter_loop_builder_init(&c.builder, schedule->program, schedule->function);
    sinter_loop_builder *b = &c.builder;
    const char *name =
        sinter_arena_format(b->arena, "%s%s", sinter_schedule_var_name(schedule, outer_var),
                            sinter_schedule_var_name(schedule, inner_var));
    sinter_expr total = sinter_loop_mul(b, outer->upper, inner->upper);
    sinter_loop_var fused = sinter_loop_add_var(b, name, SINTER_DTYPE_i64, false);
    sinter_loop_range(schedule->function, total, &low, &high);
    if (high > 0) sinter_loop_set_range(b, fused, 0, high - 1);
    c.position = sinter_loop_var_read(b, fused);
    sinter_loop_walk(inner->body, collapse_stmt, &c);
    if (c.fails) {
        *schedule->function = *saved;
        return sinter_schedule_refuse(schedule, "something is not linear in %s", name);
    }
    outer->var = fused;
    outer->upper = total;
    outer->body = inner->body;
    if (!sinter_schedule_keeps_marks(schedule, saved)) return false;
    if (out_loop) *out_loop = fused;
    return true;
}
