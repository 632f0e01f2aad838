/* Sums of narrow integers: a sum of i64 whose steps add little goes in chunks of as many steps as a sum of i32 has room for, and a
 * chunk is a sum of its own, of i32, which is what vectors and dot-accumulate add.
 * Needs: a function that the verifier accepts. Guarantees: the same values, since no chunk can overflow.
 * Test: tests/codegen/schedule/narrow.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/linear.h"
#include "codegen/schedule/internal.h"

/* ---- how large an element may be ---- */

typedef sinter_interval bounds;

static bounds bounds_of(const sinter_loop_stmt *lets, sinter_expr expr);

/* What the variable stands for: of the lets of the body; NULL: it is none of them. */
static sinter_expr let_value(const sinter_loop_stmt *lets, sinter_expr expr) {
    if (expr->kind != SINTER_LOOP_VAR) return NULL;
    for (; lets && lets->kind == SINTER_LOOP_DECLARE; lets = lets->next)
        if (lets->var == expr->var) return lets->value;
    return NULL;
}

/* Of a sum, difference or product, where that does not wrap. */
static bool arithmetic_bounds(const sinter_loop_stmt *lets, sinter_expr expr, bounds *out) {
    bool adds = sinter_loop_is_call(expr, SINTER_SCALAR_add),
         subtracts = sinter_loop_is_call(expr, SINTER_SCALAR_sub);
    if (!adds && !subtracts && !sinter_loop_is_call(expr, SINTER_SCALAR_mul)) return false;
    bounds a = bounds_of(lets, expr->arguments[0]), b = bounds_of(lets, expr->arguments[1]);
    if (!adds && !subtracts) return sinter_interval_mul(a, b, out);
    if (subtracts && b.min == INT64_MIN) return false;
    if (subtracts) b = (bounds){-b.max, -b.min};
    return sinter_interval_add(a, b, out);
}

/* Of an integer. */
static bounds bounds_of(const sinter_loop_stmt *lets, sinter_expr expr) {
    sinter_expr let = let_value(lets, expr);
    if (let) return bounds_of(lets, let);
    bounds type = sinter_interval_of_dtype(expr->dtype), own = type;
    int64_t value;
    if (sinter_loop_is_const_int(expr, &value))
        own = (bounds){value, value};
    else if (expr->kind == SINTER_LOOP_CAST && sinter_dtype_is_integer(expr->arguments[0]->dtype))
        own = bounds_of(lets, expr->arguments[0]);
    else if (expr->kind == SINTER_LOOP_CALL && !arithmetic_bounds(lets, expr, &own))
        own = type;
    return sinter_interval_inside(own, type) ? own : type;
}

/* The same number, computed as i32; NULL: it may not fit, or is not made of what is narrower. */
static sinter_expr narrowed(sinter_loop_builder *b, const sinter_loop_stmt *lets,
                            sinter_expr expr) {
    const bounds room = sinter_interval_of_dtype(SINTER_DTYPE_i32);
    sinter_expr let = let_value(lets, expr);
    if (let) return narrowed(b, lets, let);
    int64_t value;
    if (!sinter_dtype_is_integer(expr->dtype) ||
        !sinter_interval_inside(bounds_of(lets, expr), room))
        return NULL;
    if (sinter_loop_is_const_int(expr, &value))
        return sinter_loop_const_int(b, SINTER_DTYPE_i32, value);
    if (sinter_dtype_infos[expr->dtype].bits <= 32)
        return sinter_loop_cast(b, expr, SINTER_DTYPE_i32);
    if (expr->kind == SINTER_LOOP_CAST) return narrowed(b, lets, expr->arguments[0]);
    if (!sinter_loop_is_call(expr, SINTER_SCALAR_add) &&
        !sinter_loop_is_call(expr, SINTER_SCALAR_sub) &&
        !sinter_loop_is_call(expr, SINTER_SCALAR_mul))
        return NULL;
    sinter_expr x = narrowed(b, lets, expr->arguments[0]),
                y = narrowed(b, lets, expr->arguments[1]);
    return x && y ? sinter_loop_call2(b, expr->function, x, y) : NULL;
}

/* ---- recognition ---- */

typedef struct narrowing {
    sinter_schedule *schedule;
    sinter_loop_builder build;
    sinter_loop_stmt *declare; /* of the sum, in the list that the loop is in */
    sinter_loop_stmt *loop, *assign;
    sinter_expr element; /* as i32 */
    int64_t steps;       /* of a chunk */
} narrowing;

/* acc = acc + element */
static sinter_expr added(const sinter_loop_stmt *assign) {
    if (!sinter_loop_is_call(assign->value, SINTER_SCALAR_add)) return NULL;
    for (int i = 0; i < 2; i++) {
        sinter_expr acc = assign->value->arguments[i];
        if (acc->kind == SINTER_LOOP_VAR && acc->var == assign->var)
            return assign->value->arguments[1 - i];
    }
    return NULL;
}

/* The declaration of the variable among the statements of the list up to the loop. */
static sinter_loop_stmt *declaration(sinter_loop_stmt *first, const sinter_loop_stmt *loop,
                                     sinter_loop_var var) {
    for (sinter_loop_stmt *stmt = first; stmt && stmt != loop; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE && stmt->var == var) return stmt;
    return NULL;
}

/* The body that the loop is in. */
static sinter_loop_stmt *list_of(sinter_schedule *schedule, sinter_loop_var loop) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, loop);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
    sinter_loop_stmt *around = path.count ? path.items[path.count - 1] : NULL, *first;
    first = around ? around->body : schedule->function->body;
    if (around && around->else_body) {
        const sinter_loop_stmt *stmt = first;
        while (stmt && stmt != *link) stmt = stmt->next;
        if (!stmt) first = around->else_body;
    }
    sinter_arena_deinit(&scratch);
    return first;
}

/* Steps that a sum of i32 has room for, a power of two. */
static int64_t most_steps(const sinter_loop_stmt *lets, sinter_expr element) {
    bounds each = bounds_of(lets, element);
    int64_t size = each.max > -each.min ? each.max : -each.min, steps = 1;
    while (steps * 2 <= INT32_MAX / (size ? size : 1)) steps *= 2;
    return steps;
}

static bool recognize(narrowing *n, sinter_loop_var accumulator, sinter_loop_var loop) {
    sinter_schedule *schedule = n->schedule;
    n->loop = sinter_schedule_get_loop(schedule->function, loop);
    if (!n->loop) return sinter_schedule_refuse(schedule, "there is no such loop");
    if (n->loop->axis != SINTER_AXIS_SERIAL || n->loop->step != 1)
        return sinter_schedule_refuse(schedule, "the loop is marked already");
    if (!sinter_schedule_bounds_fixed(n->loop, n->loop->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    const sinter_loop_stmt *lets = n->loop->body;
    n->assign = n->loop->body;
    while (n->assign && n->assign->kind == SINTER_LOOP_DECLARE &&
           !schedule->function->vars.items[n->assign->var].is_mutable)
        n->assign = n->assign->next;
    if (!n->assign || n->assign->kind != SINTER_LOOP_ASSIGN || n->assign->next ||
        n->assign->var != accumulator || n->assign->value->dtype != SINTER_DTYPE_i64)
        return sinter_schedule_refuse(schedule, "its body is no step of a sum of i64");
    sinter_expr element = added(n->assign);
    if (!element || sinter_loop_expr_uses(element, accumulator) ||
        !(n->element = narrowed(&n->build, lets, element)))
        return sinter_schedule_refuse(schedule, "what it adds may need more than 32 bits");
    n->declare = declaration(list_of(schedule, loop), n->loop, accumulator);
    if (!n->declare) return sinter_schedule_refuse(schedule, "the sum is not of the loop's block");
    int64_t most = most_steps(lets, element);
    if (n->steps <= 0) n->steps = most;
    return n->steps <= most ||
           sinter_schedule_refuse(schedule, "a sum of i32 has room for %lld steps",
                                  (long long)most);
}

/* ---- rewriting ---- */

/* part = part + element, in the place of the step */
static sinter_loop_var narrow_step(narrowing *n) {
    sinter_loop_var part = sinter_loop_add_var(
        &n->build, n->schedule->function->vars.items[n->assign->var].name, SINTER_DTYPE_i32, true);
    n->assign->var = part;
    n->assign->value =
        sinter_loop_add(&n->build, sinter_loop_var_read(&n->build, part), n->element);
    bool used = false;
    for (const sinter_loop_stmt *let = n->loop->body; let != n->assign; let = let->next)
        used |= sinter_loop_expr_uses(n->element, let->var);
    if (!used) n->loop->body = n->assign;
    return part;
}

static sinter_loop_stmt *new_declare(narrowing *n, sinter_loop_var var, sinter_expr value) {
    const sinter_loop_stmt stmt = {.kind = SINTER_LOOP_DECLARE, .var = var, .value = value};
    return sinter_arena_copy(n->build.arena, &stmt, sizeof stmt);
}

/* var acc = start; for k { acc = acc + x }  ->
 * var acc = start; for ko { var part: i32 = 0; for k of the chunk { part = part + x }; acc = acc + part } */
static void write_chunks(narrowing *n, sinter_loop_var *out_chunks) {
    sinter_loop_builder *b = &n->build;
    sinter_loop_var acc = n->assign->var, part = narrow_step(n);
    sinter_expr size = sinter_loop_int(b, n->steps), count = sinter_schedule_count(b, n->loop);
    sinter_loop_stmt *inner = sinter_arena_copy(b->arena, n->loop, sizeof *n->loop),
                     *outer = n->loop, *sum = sinter_arena_copy(b->arena, n->assign, sizeof *sum);
    sinter_text name = {0};
    sinter_text_format(&name, "%so", sinter_schedule_var_name(n->schedule, inner->var));
    outer->var = sinter_loop_add_var(b, name.data, SINTER_DTYPE_i64, false);
    sinter_text_deinit(&name);
    outer->lower = sinter_loop_int(b, 0);
    outer->upper =
        sinter_loop_div(b, sinter_loop_add(b, count, sinter_loop_int(b, n->steps - 1)), size);
    sinter_loop_take_range(b, outer);
    sinter_expr first = sinter_loop_add(
        b, inner->lower, sinter_loop_mul(b, sinter_loop_var_read(b, outer->var), size));
    inner->lower = first;
    inner->upper = sinter_loop_min(b, inner->upper, sinter_loop_add(b, first, size));
    sinter_loop_narrow_range(b, inner);
    sum->var = acc;
    sum->value =
        sinter_loop_add(b, sinter_loop_var_read(b, acc),
                        sinter_loop_cast(b, sinter_loop_var_read(b, part), SINTER_DTYPE_i64));
    sum->next = NULL;
    inner->next = sum;
    outer->body = new_declare(n, part, sinter_loop_const_int(b, SINTER_DTYPE_i32, 0));
    outer->body->next = inner;
    *out_chunks = outer->var;
}

typedef struct reader {
    sinter_loop_builder *build;
    sinter_loop_var wide, part;
} reader;

/* Conversions of the sum are those of the part: they round the same. */
static sinter_expr read_part(void *user, sinter_expr expr) {
    reader *r = user;
    bool converts = expr->kind == SINTER_LOOP_CAST && expr->arguments[0]->kind == SINTER_LOOP_VAR &&
                    expr->arguments[0]->var == r->wide && sinter_dtype_is_float(expr->dtype);
    if (converts)
        return sinter_loop_cast(r->build, sinter_loop_var_read(r->build, r->part), expr->dtype);
    return sinter_loop_replace_arguments(r->build->arena, expr, read_part, r);
}

/* var acc = start; for k { acc = acc + x }  ->  var part: i32 = 0; for k { part = part + x }; let acc = start + part */
static void write_one(narrowing *n) {
    sinter_loop_builder *b = &n->build;
    sinter_loop_var acc = n->assign->var, part = narrow_step(n);
    sinter_expr start = n->declare->value;
    int64_t value;
    n->declare->var = part;
    n->declare->value = sinter_loop_const_int(b, SINTER_DTYPE_i32, 0);
    sinter_expr sum = sinter_loop_cast(b, sinter_loop_var_read(b, part), SINTER_DTYPE_i64);
    bool from_zero = sinter_loop_is_const_int(start, &value) && value == 0;
    sinter_loop_stmt *let = new_declare(n, acc, from_zero ? sum : sinter_loop_add(b, start, sum)),
                     *rest = n->loop->next;
    n->schedule->function->vars.items[acc].is_mutable = false;
    reader r = {b, acc, part};
    if (from_zero) sinter_loop_replace_list(rest, read_part, &r);
    let->next = rest;
    n->loop->next = let;
    if (from_zero && !sinter_loop_list_uses(n->schedule->function, rest, acc)) n->loop->next = rest;
}

/* The start reads nothing that changes before the sum is made, and nothing else assigns the sum. */
static bool may_be_one(const narrowing *n, sinter_loop_var acc) {
    for (const sinter_loop_stmt *stmt = n->declare->next; stmt != n->loop; stmt = stmt->next)
        if (stmt->kind != SINTER_LOOP_DECLARE || sinter_loop_expr_uses(stmt->value, acc))
            return false;
    return !sinter_loop_list_assigns(n->loop->next, acc);
}

static bool fits_one(const narrowing *n) {
    int64_t low, high;
    sinter_loop_builder b = n->build;
    return sinter_loop_range(n->schedule->function, sinter_schedule_count(&b, n->loop), &low,
                             &high) &&
           high <= n->steps;
}

static bool narrow(sinter_schedule *schedule, sinter_narrow_sum *asked, bool one) {
    narrowing n = {.schedule = schedule, .steps = asked->steps};
    sinter_loop_builder_init(&n.build, schedule->program, schedule->function);
    asked->out_chunks = 0;
    if (!recognize(&n, asked->accumulator, asked->loop)) return false;
    asked->steps = n.steps;
    if ((one || fits_one(&n)) && may_be_one(&n, asked->accumulator))
        write_one(&n);
    else
        write_chunks(&n, &asked->out_chunks);
    return true;
}

/* The nest twice, once for sums of one chunk. */
static bool fork_nest(sinter_schedule *schedule, sinter_narrow_sum *asked) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, asked->outer);
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, asked->loop);
    if (!link || !loop) return sinter_schedule_refuse(schedule, "there is no such loop");
    sinter_loop_stmt *nest = *link, *rest = nest->next;
    sinter_loop_map clone;
    sinter_loop_map_init(&clone, schedule->program, schedule->function);
    sinter_loop_builder *b = &clone.builder;
    sinter_expr count = sinter_schedule_count(b, loop);
    nest->next = NULL;
    bool known = nest->axis == SINTER_AXIS_SERIAL && sinter_loop_is_invariant(count, nest);
    sinter_loop_stmt *other = sinter_loop_clone_list(&clone, nest);
    sinter_expr loop_copy = sinter_loop_mapped_var(&clone, asked->loop),
                sum_copy = sinter_loop_mapped_var(&clone, asked->accumulator);
    nest->next = rest;
    if (!known || !loop_copy || !sum_copy)
        return sinter_schedule_refuse(schedule, "the number of steps is not known in front of it");
    sinter_narrow_sum copy = *asked;
    copy.loop = loop_copy->var;
    copy.accumulator = sum_copy->var;
    nest->next = NULL;
    *link = rest;
    sinter_loop_put_branches(
        b, link, sinter_loop_compare(b, SINTER_SCALAR_le, count, sinter_loop_int(b, asked->steps)),
        other, nest);
    return narrow(schedule, &copy, true) && narrow(schedule, asked, false);
}

bool sinter_schedule_narrow(sinter_schedule *schedule, sinter_narrow_sum *asked) {
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    sinter_narrow_sum given = *asked;
    narrowing n = {.schedule = schedule, .steps = asked->steps};
    sinter_loop_builder_init(&n.build, schedule->program, schedule->function);
    bool good = recognize(&n, asked->accumulator, asked->loop);
    if (good) {
        asked->steps = n.steps;
        good = asked->outer && !fits_one(&n) ? fork_nest(schedule, asked)
                                             : narrow(schedule, asked, false);
    }
    if (good) return sinter_schedule_keeps_marks(schedule, saved);
    *schedule->function = *saved;
    *asked = given;
    return false;
}
