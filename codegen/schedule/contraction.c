/* Recognises sums of products by the shape of their nest (see contraction.h).
 * Needs: a function that the verifier accepts. Guarantees: nothing is changed. Test: tests/codegen/schedule/block_tile.loops */
#include "codegen/schedule/contraction.h"
#include "codegen/loops/linear.h"
#include "codegen/loops/uses.h"

typedef struct finder {
    sinter_schedule *schedule;
    sinter_contraction *found;
    sinter_loop_builder *builder;
} finder;

/* ---- lets ---- */

static bool is_let(const finder *f, const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_DECLARE &&
           !f->schedule->function->vars.items[stmt->var].is_mutable;
}

/* Passes over lets and comments; the first statement that is neither. */
static const sinter_loop_stmt *take_lets(finder *f, const sinter_loop_stmt *stmt) {
    for (; stmt && (is_let(f, stmt) || stmt->kind == SINTER_LOOP_COMMENT); stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE)
            sinter_loop_map_var(&f->found->lets, stmt->var,
                                sinter_loop_map_expr(&f->found->lets, stmt->value));
    return stmt;
}

/* ---- the reduction ---- */

static void require(finder *f, sinter_expr condition) {
    int64_t known;
    sinter_contraction *c = f->found;
    if (sinter_loop_is_const_int(condition, &known) && known) return;
    c->condition = c->condition ? sinter_loop_and(f->builder, c->condition, condition) : condition;
}

/* The bound, or the number that no iteration of the loops around leads beyond. */
static bool box_bound(finder *f, sinter_expr bound, bool upper, sinter_expr *out) {
    int64_t low, high;
    *out = bound;
    if (sinter_loop_expr_over_parameters(f->schedule->function, bound)) return true;
    if (!sinter_loop_range(f->schedule->function, bound, &low, &high)) return false;
    *out = sinter_loop_int(f->builder, upper ? high : low);
    return true;
}

static bool take_loop(finder *f, const sinter_loop_stmt *loop) {
    sinter_contraction *c = f->found;
    if (loop->axis != SINTER_AXIS_SERIAL || loop->step != 1 ||
        c->loop_count == SINTER_CONTRACTION_MAX_LOOPS)
        return false;
    sinter_expr lower = sinter_loop_map_expr(&c->lets, loop->lower),
                upper = sinter_loop_map_expr(&c->lets, loop->upper), least, most;
    if (!box_bound(f, lower, false, &least) || !box_bound(f, upper, true, &most)) return false;
    sinter_expr at = sinter_loop_var_read(f->builder, loop->var);
    if (least != lower) require(f, sinter_loop_compare(f->builder, SINTER_SCALAR_le, lower, at));
    if (most != upper) require(f, sinter_loop_compare(f->builder, SINTER_SCALAR_lt, at, upper));
    c->loops[c->loop_count] = loop->var;
    c->lowers[c->loop_count] = least;
    c->counts[c->loop_count++] = sinter_loop_sub(f->builder, most, least);
    return true;
}

static bool is_sum(const finder *f, const sinter_loop_stmt *stmt, sinter_expr *out_product) {
    sinter_contraction *c = f->found;
    sinter_expr value = stmt->value;
    if (value->kind != SINTER_LOOP_CALL) return false;
    c->fused = value->function == SINTER_SCALAR_fma;
    *out_product = value;
    uint32_t at = 2; /* of the accumulator */
    if (value->function == SINTER_SCALAR_add) {
        at = !(value->arguments[0]->kind == SINTER_LOOP_VAR &&
               value->arguments[0]->var == c->declare->var);
        c->product_first = at == 1;
        *out_product = value->arguments[1 - at];
        if ((*out_product)->kind != SINTER_LOOP_CALL ||
            (*out_product)->function != SINTER_SCALAR_mul)
            return false;
    } else if (!c->fused) {
        return false;
    }
    sinter_expr sum = value->arguments[at];
    return sum->kind == SINTER_LOOP_VAR && sum->var == c->declare->var;
}

/* A factor that is 0 where a condition on indices does not hold is what it is where it does. */
static void take_present(finder *f, uint32_t i) {
    sinter_contraction *c = f->found;
    const sinter_expr factor = c->factors[i];
    if (!sinter_loop_is_call(factor, SINTER_SCALAR_select) ||
        sinter_loop_expr_loads(factor->arguments[0], 0) ||
        !sinter_loop_expr_equal(factor->arguments[2],
                                sinter_loop_const(f->builder, factor->dtype, 0)))
        return;
    c->present[i] = factor->arguments[0];
    c->factors[i] = factor->arguments[1];
}

/* From the first loop of the reduction to the sum in it. */
static bool take_reduction(finder *f, const sinter_loop_stmt *stmt) {
    sinter_contraction *c = f->found;
    bool outermost = true;
    for (;; outermost = false) {
        stmt = outermost ? stmt : take_lets(f, stmt);
        if (!stmt || (!outermost && stmt->next)) return false;
        if (stmt->kind == SINTER_LOOP_FOR) {
            if (!take_loop(f, stmt)) return false;
        } else if (stmt->kind == SINTER_LOOP_IF && !stmt->else_body && !outermost) {
            if (sinter_loop_expr_loads(stmt->value, 0)) return false;
            require(f, sinter_loop_map_expr(&c->lets, stmt->value));
        } else {
            break;
        }
        stmt = stmt->body;
    }
    sinter_expr product;
    if (outermost || stmt->kind != SINTER_LOOP_ASSIGN || stmt->var != c->declare->var ||
        !is_sum(f, stmt, &product))
        return false;
    c->assign = stmt;
    for (uint32_t i = 0; i < 2; i++) {
        if (sinter_loop_expr_uses(product->arguments[i], c->declare->var)) return false;
        c->factors[i] = sinter_loop_map_expr(&c->lets, product->arguments[i]);
        take_present(f, i);
    }
    return true;
}

/* ---- the body ---- */

/* What comes before the uses reads nothing that these write: the order of elements is free. */
static bool reads_apart(const finder *f, const sinter_loop_stmt *first) {
    sinter_arena scratch;
    sinter_loop_access_list all = {0};
    const sinter_loop_function *function = f->schedule->function;
    sinter_arena_init(&scratch);
    bool *written = SINTER_NEW_ARRAY(&scratch, bool, function->buffers.count);
    sinter_loop_collect_accesses(&scratch, first, &all);
    for (size_t i = 0; i < all.count; i++) written[all.items[i].buffer] |= all.items[i].is_store;
    bool apart = true;
    for (const sinter_loop_stmt *stmt = first; stmt != f->found->uses; stmt = stmt->next) {
        sinter_loop_access_list list = {0};
        sinter_loop_stmt alone = *stmt;
        alone.next = NULL;
        sinter_loop_collect_accesses(&scratch, &alone, &list);
        for (size_t i = 0; i < list.count; i++) apart &= !written[list.items[i].buffer];
    }
    sinter_arena_deinit(&scratch);
    return apart;
}

/* Stores, conditions and values: what a thread can do for each of its elements. */
static bool are_plain(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        switch (stmt->kind) {
        case SINTER_LOOP_IF:
        case SINTER_LOOP_STORE:
        case SINTER_LOOP_DECLARE:
        case SINTER_LOOP_ASSIGN:
        case SINTER_LOOP_COMMENT:
            break;
        default:
            return false;
        }
        if (!are_plain(stmt->body) || !are_plain(stmt->else_body)) return false;
    }
    return true;
}

bool sinter_schedule_find_contraction(sinter_schedule *schedule, sinter_loop_var loop,
                                      sinter_contraction *out) {
    const sinter_loop_stmt *around = sinter_schedule_get_loop(schedule->function, loop);
    if (!around) return sinter_schedule_refuse(schedule, "there is no such loop");
    *out = (sinter_contraction){0};
    sinter_loop_map_init(&out->lets, schedule->program, schedule->function);
    finder f = {.schedule = schedule, .found = out, .builder = &out->lets.builder};
    const sinter_loop_stmt *stmt = take_lets(&f, around->body);
    if (!stmt || stmt->kind != SINTER_LOOP_DECLARE)
        return sinter_schedule_refuse(schedule, "the body does not begin with an accumulator");
    out->declare = stmt;
    stmt = take_lets(&f, stmt->next);
    if (!stmt || stmt->kind != SINTER_LOOP_FOR || !take_reduction(&f, stmt))
        return sinter_schedule_refuse(schedule, "there is no sum of products in a fixed box");
    out->uses = stmt->next;
    if (!are_plain(out->uses) || !reads_apart(&f, around->body))
        return sinter_schedule_refuse(schedule, "what follows the sum is no plain use of it alone");
    return true;
}

/* ---- distances ---- */

typedef struct reader {
    sinter_loop_builder builder;
    sinter_loop_var var;
    sinter_reading reading;
} reader;

static void look_at_load(void *user, sinter_expr expr) {
    reader *r = user;
    if (expr->kind != SINTER_LOOP_LOAD || !sinter_loop_expr_uses(expr, r->var)) return;
    sinter_expr coefficient, rest, last = expr->arguments[expr->argument_count - 1];
    bool other = false;
    for (uint32_t i = 0; i + 1 < expr->argument_count; i++)
        other |= sinter_loop_expr_uses(expr->arguments[i], r->var);
    sinter_reading found = SINTER_READING_OTHER;
    int64_t distance;
    if (other && !sinter_loop_expr_uses(last, r->var))
        found = SINTER_READING_APART;
    else if (!other && sinter_loop_affine(&r->builder, last, r->var, &coefficient, &rest))
        found = sinter_loop_is_const_int(coefficient, &distance) && distance == 1
                    ? SINTER_READING_NEXT
                    : SINTER_READING_APART;
    r->reading =
        r->reading == SINTER_READING_NONE || r->reading == found ? found : SINTER_READING_OTHER;
}

sinter_reading sinter_schedule_reading(sinter_schedule *schedule, sinter_expr expr,
                                       sinter_loop_var var) {
    reader r = {.var = var};
    sinter_loop_builder_init(&r.builder, schedule->program, schedule->function);
    sinter_loop_walk_expr(expr, look_at_load, &r);
    return r.reading;
}
