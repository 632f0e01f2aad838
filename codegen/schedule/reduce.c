/* Reductions in lanes: a serial accumulation becomes one partial result a lane and a tree over the lanes at the end. Or in parts: a nest of its
 * own makes partial results of many rows, which anybody may share out, and the reduction is left with these.
 * Needs: a function that the verifier accepts. Guarantees: the elements are combined by the same function in an order that
 * depends on the number of lanes alone; integers, min and max keep their value, float sums and products their meaning.
 * Test: tests/codegen/schedule/partial.loops, split_reduction.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/uses.h"
#include "codegen/schedule/internal.h"

#include <math.h>

typedef struct partial {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_stmt *loop;
    sinter_loop_stmt
        *assign; /* accumulator = function(accumulator, element), the last of the body */
    sinter_scalar_function function;
    bool accumulator_first; /* of the operands */
    bool selects;           /* accumulator = select(accumulator < element, element, accumulator) */
    int64_t lanes;
    sinter_loop_buffer lane_results;
} partial;

/* ---- recognition ---- */

static bool is_read_of(sinter_expr expr, sinter_loop_var var) {
    return expr->kind == SINTER_LOOP_VAR && expr->var == var;
}

static bool find_assign(partial *p) {
    for (sinter_loop_stmt *stmt = p->loop->body; stmt; stmt = stmt->next) {
        bool is_let = stmt->kind == SINTER_LOOP_DECLARE &&
                      !p->schedule->function->vars.items[stmt->var].is_mutable;
        if (is_let || stmt->kind == SINTER_LOOP_COMMENT) continue;
        if (stmt->kind != SINTER_LOOP_ASSIGN || stmt->next) return false;
        p->assign = stmt;
    }
    return p->assign != NULL;
}

/* The larger one, for which NaN is not there: combined as max is, by a function of its own. */
static bool recognize_select(partial *p) {
    sinter_expr value = p->assign->value;
    if (value->kind != SINTER_LOOP_CALL || value->function != SINTER_SCALAR_select) return false;
    sinter_expr condition = value->arguments[0], element = value->arguments[1];
    p->selects = sinter_loop_is_call(condition, SINTER_SCALAR_lt) &&
                 is_read_of(value->arguments[2], p->assign->var) &&
                 is_read_of(condition->arguments[0], p->assign->var) &&
                 sinter_loop_expr_equal(condition->arguments[1], element) &&
                 !sinter_loop_expr_uses(element, p->assign->var);
    p->function = SINTER_SCALAR_max;
    return p->selects;
}

static bool recognize(partial *p) {
    if (!find_assign(p)) return false;
    if (recognize_select(p)) return true;
    sinter_expr value = p->assign->value;
    sinter_loop_var accumulator = p->assign->var;
    if (value->kind != SINTER_LOOP_CALL || !sinter_scalar_is_associative(value->function))
        return false;
    p->function = value->function;
    p->accumulator_first = is_read_of(value->arguments[0], accumulator);
    if (!p->accumulator_first && !is_read_of(value->arguments[1], accumulator)) return false;
    if (sinter_loop_expr_uses(value->arguments[p->accumulator_first], accumulator)) return false;
    for (const sinter_loop_stmt *stmt = p->loop->body; stmt != p->assign; stmt = stmt->next)
        if (stmt->value && sinter_loop_expr_uses(stmt->value, accumulator)) return false;
    return true;
}

/* What leaves any value as it is. */
static sinter_expr neutral(partial *p, sinter_dtype dtype) {
    sinter_loop_builder *b = &p->builder;
    bool is_float = sinter_dtype_is_float(dtype), is_signed = false;
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    is_signed = info->class == SINTER_CLASS_INT;
    uint32_t bits = info->bits;
    int64_t lowest = is_signed ? (int64_t)(UINT64_MAX << (bits - 1)) : 0;
    int64_t highest =
        bits == 64 && !is_signed ? -1 : (int64_t)(UINT64_MAX >> (64 - bits + is_signed));
    switch (p->function) {
    case SINTER_SCALAR_add: /* 0 + -0 is 0, -0 + -0 is -0 */
        return sinter_loop_const(b, dtype, is_float ? -0.0 : 0);
    case SINTER_SCALAR_mul:
        return sinter_loop_const(b, dtype, 1);
    case SINTER_SCALAR_max:
        return is_float ? sinter_loop_const(b, dtype, -(double)INFINITY)
                        : sinter_loop_const_int(b, dtype, lowest);
    case SINTER_SCALAR_min:
        return is_float ? sinter_loop_const(b, dtype, (double)INFINITY)
                        : sinter_loop_const_int(b, dtype, highest);
    case SINTER_SCALAR_and:
        return dtype == SINTER_DTYPE_bool ? sinter_loop_const_int(b, dtype, 1)
                                          : sinter_loop_const_int(b, dtype, -1);
    default:
        return sinter_loop_const_int(b, dtype, 0);
    }
}

/* ---- the parts ---- */

static sinter_expr combine(partial *p, sinter_expr accumulator, sinter_expr element) {
    if (p->selects)
        return sinter_loop_select(
            &p->builder, sinter_loop_compare(&p->builder, SINTER_SCALAR_lt, accumulator, element),
            element, accumulator);
    sinter_expr arguments[2] = {accumulator, element};
    if (!p->accumulator_first) {
        arguments[0] = element;
        arguments[1] = accumulator;
    }
    return sinter_loop_call(&p->builder, p->function, arguments);
}

static sinter_expr begin_lanes(partial *p, int64_t count) {
    sinter_loop_builder *b = &p->builder;
    return sinter_loop_var_read(b, sinter_loop_begin_for(b, "lane", sinter_loop_int(b, 0),
                                                         sinter_loop_int(b, count), 1,
                                                         SINTER_AXIS_VECTOR));
}

/* The body for iteration `position`, adding into the lane. */
static void add_body(partial *p, sinter_expr position, sinter_expr lane) {
    sinter_loop_builder *b = &p->builder;
    sinter_loop_map map;
    sinter_loop_map_init(&map, p->schedule->program, p->schedule->function);
    sinter_expr distance = sinter_loop_mul(b, position, sinter_loop_int(b, p->loop->step));
    sinter_loop_map_var(&map, p->loop->var, sinter_loop_add(b, p->loop->lower, distance));
    sinter_loop_stmt *copy = sinter_loop_clone_list(&map, p->loop->body), **link = &copy;
    while (*link && (*link)->kind != SINTER_LOOP_ASSIGN) link = &(*link)->next;
    /* of the value as it was: sums of i64 that are made again may be in another order */
    sinter_expr element =
        sinter_loop_map_expr(&map, p->assign->value->arguments[p->selects || p->accumulator_first]);
    *link = NULL;
    for (*b->tail = copy; *b->tail;) b->tail = &(*b->tail)->next;
    sinter_loop_store(b, p->lane_results, &lane,
                      combine(p, sinter_loop_load(b, p->lane_results, &lane), element));
}

/* Lane results in memory, halved until one is left, which joins the accumulator. */
static void add_tree(partial *p, sinter_dtype dtype) {
    sinter_loop_builder *b = &p->builder;
    sinter_expr size = sinter_loop_int(b, p->lanes), zero = sinter_loop_int(b, 0);
    sinter_loop_buffer tree =
        sinter_loop_add_buffer(b, "tree", dtype, 1, &size, SINTER_SCOPE_STACK);
    sinter_loop_alloc(b, tree);
    sinter_expr lane = begin_lanes(p, p->lanes);
    sinter_loop_store(b, tree, &lane, sinter_loop_load(b, p->lane_results, &lane));
    sinter_loop_end(b);
    for (int64_t half = p->lanes / 2; half >= 1; half /= 2) {
        lane = half > 1 ? begin_lanes(p, half) : zero;
        sinter_expr other = sinter_loop_add(b, lane, sinter_loop_int(b, half));
        sinter_loop_store(
            b, tree, &lane,
            combine(p, sinter_loop_load(b, tree, &lane), sinter_loop_load(b, tree, &other)));
        if (half > 1) sinter_loop_end(b);
    }
    sinter_loop_assign(
        b, p->assign->var,
        combine(p, sinter_loop_var_read(b, p->assign->var), sinter_loop_load(b, tree, &zero)));
}

/* Returns whether the loop itself has nothing left to do. */
static bool build(partial *p, sinter_schedule_lanes how) {
    const bool masked = how != SINTER_LANES_LOOP;
    sinter_loop_builder *b = &p->builder;
    sinter_dtype dtype = p->assign->value->dtype;
    sinter_expr size = sinter_loop_int(b, p->lanes), zero = sinter_loop_int(b, 0);
    sinter_expr count = sinter_schedule_count(b, p->loop), blocks = sinter_loop_div(b, count, size);
    p->lane_results = sinter_loop_add_buffer(b, "lanes", dtype, 1, &size, SINTER_SCOPE_REGISTER);
    sinter_loop_alloc(b, p->lane_results);
    sinter_expr lane = begin_lanes(p, p->lanes);
    sinter_loop_store(b, p->lane_results, &lane, neutral(p, dtype));
    sinter_loop_end(b);
    const char *name = sinter_schedule_var_name(p->schedule, p->loop->var);
    sinter_loop_var block = sinter_loop_begin_for(b, sinter_arena_format(b->arena, "%so", name),
                                                  zero, blocks, 1, SINTER_AXIS_SERIAL);
    lane = begin_lanes(p, p->lanes);
    sinter_expr position =
        sinter_loop_add(b, sinter_loop_mul(b, sinter_loop_var_read(b, block), size), lane);
    add_body(p, position, lane);
    sinter_loop_end(b);
    sinter_loop_end(b);
    int64_t left = 1;
    bool exact = sinter_loop_is_const_int(sinter_loop_rem(b, count, size), &left) && left == 0;
    sinter_expr done = sinter_loop_mul(b, blocks, size);
    if (!exact && masked) {
        lane = begin_lanes(p, p->lanes);
        position = sinter_loop_add(b, done, lane);
        sinter_loop_begin_if(b, sinter_loop_compare(b, SINTER_SCALAR_lt, position, count));
        add_body(p, position, lane);
        sinter_loop_end(b);
        sinter_loop_end(b);
    }
    if (how == SINTER_LANES_THREADS && !p->selects)
        sinter_loop_reduce(b, p->assign->var, p->function, p->lane_results);
    else
        add_tree(p, dtype);
    if (exact || masked) return true;
    sinter_expr first = sinter_loop_add(
        b, p->loop->lower, sinter_loop_mul(b, done, sinter_loop_int(b, p->loop->step)));
    p->loop->lower = first; /* the loop itself does the rest */
    sinter_loop_narrow_range(b, p->loop);
    return false;
}

bool sinter_schedule_partial(sinter_schedule *schedule, sinter_loop_var var, int64_t lanes,
                             sinter_schedule_lanes how) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    partial p = {.schedule = schedule, .loop = *link, .lanes = lanes};
    if (lanes < 2 || lanes > SINTER_LOOP_MOST_LANES || (lanes & (lanes - 1)))
        return sinter_schedule_refuse(schedule, "the lanes are no power of two of 2 to %d",
                                      SINTER_LOOP_MOST_LANES);
    if (p.loop->axis != SINTER_AXIS_SERIAL ||
        sinter_schedule_in_axis(schedule, link, SINTER_AXIS_VECTOR))
        return sinter_schedule_refuse(schedule, "the loop is marked already");
    if (how == SINTER_LANES_THREADS &&
        sinter_schedule_in_axis(schedule, link, SINTER_AXIS_PARALLEL))
        return sinter_schedule_refuse(schedule, "threads of a pool do not meet in a reduction");
    if (!recognize(&p))
        return sinter_schedule_refuse(
            schedule, "the body does not end in accumulator = function(accumulator, element)");
    if (!sinter_schedule_bounds_fixed(p.loop, p.loop->body))
        return sinter_schedule_refuse(schedule, "the body changes the bounds");
    sinter_loop_builder_init(&p.builder, schedule->program, schedule->function);
    sinter_loop_stmt *loop = p.loop;
    p.builder.tail = link; /* in front of the loop */
    if (build(&p, how)) {
        link = p.builder.tail;
        while (*link != loop) link = &(*link)->next;
        *link = loop->next;
    }
    return true;
}

/* ---- parts ---- */

typedef struct splitting {
    partial p;
    sinter_loop_stmt *rows;  /* the loop around */
    sinter_loop_stmt **link; /* where it hangs */
    int64_t parts, run;
    sinter_loop_buffer results; /* [part, row] */
} splitting;

/* What follows the reduction writes nothing that it, or what it uses of the values in front of it, reads. */
static bool reads_apart(const splitting *s) {
    const sinter_loop_function *function = s->p.schedule->function;
    sinter_arena scratch;
    sinter_loop_access_list after = {0};
    bool apart = true;
    sinter_arena_init(&scratch);
    bool *written = SINTER_NEW_ARRAY(&scratch, bool, function->buffers.count);
    if (s->p.loop->next) sinter_loop_collect_accesses(&scratch, s->p.loop->next, &after);
    for (size_t i = 0; i < after.count; i++)
        written[after.items[i].buffer] |= after.items[i].is_store;
    sinter_loop_stmt reduction = *s->p.loop;
    reduction.next = NULL;
    for (const sinter_loop_stmt *stmt = s->rows->body; stmt != s->p.loop->next; stmt = stmt->next) {
        sinter_loop_access_list list = {0};
        sinter_loop_stmt alone = *stmt;
        alone.next = NULL;
        const bool is_let = stmt->kind == SINTER_LOOP_DECLARE && stmt->var != s->p.assign->var;
        if ((is_let && !sinter_loop_list_uses(function, &reduction, stmt->var)) ||
            (stmt->kind == SINTER_LOOP_DECLARE && !is_let))
            continue;
        sinter_loop_collect_accesses(&scratch, &alone, &list);
        for (size_t i = 0; i < list.count; i++)
            apart &= !written[list.items[i].buffer] && !list.items[i].is_store;
    }
    sinter_arena_deinit(&scratch);
    return apart;
}

/* In front of the reduction there are values only, and its accumulator. */
static bool find_rows(splitting *s, sinter_loop_var rows) {
    const sinter_loop_function *function = s->p.schedule->function;
    s->link = sinter_schedule_find_link(s->p.schedule, SINTER_LOOP_FOR, rows);
    if (!s->link) return false;
    s->rows = *s->link;
    bool declared = false;
    sinter_loop_stmt *stmt = s->rows->body;
    for (; stmt && stmt->kind != SINTER_LOOP_FOR; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_COMMENT) continue;
        if (stmt->kind != SINTER_LOOP_DECLARE) return false;
        if (!function->vars.items[stmt->var].is_mutable) continue;
        if (declared) return false;
        declared = true;
    }
    s->p.loop = stmt;
    return stmt && declared && stmt->axis == SINTER_AXIS_SERIAL && s->rows->step == 1 &&
           recognize(&s->p) && sinter_schedule_bounds_fixed(stmt, stmt->body);
}

static sinter_expr row_of(splitting *s) {
    return sinter_loop_sub(&s->p.builder, sinter_loop_var_read(&s->p.builder, s->rows->var),
                           s->rows->lower);
}

/* The loop over the turns of a part, and the one over the run of a turn, where that is more than one element; the position of the element. */
static sinter_expr begin_turns(splitting *s, sinter_expr count, sinter_expr part,
                               uint32_t *out_loops) {
    sinter_loop_builder *b = &s->p.builder;
    const char *name = sinter_schedule_var_name(s->p.schedule, s->p.loop->var);
    sinter_expr zero = sinter_loop_int(b, 0), run = sinter_loop_int(b, s->run),
                all = sinter_loop_int(b, s->parts * s->run), first = sinter_loop_mul(b, part, run),
                last = sinter_loop_sub(b, sinter_loop_int(b, s->parts * s->run - 1), first);
    int64_t left;
    const bool divides =
        sinter_loop_is_const_int(sinter_loop_rem(b, count, all), &left) && left == 0;
    sinter_expr turns = sinter_loop_div(b, sinter_loop_add(b, count, divides ? zero : last), all),
                turn = sinter_loop_var_read(
                    b, sinter_loop_begin_for(b, name, zero, turns, 1, SINTER_AXIS_SERIAL)),
                start = sinter_loop_add(b, sinter_loop_mul(b, turn, all), first);
    *out_loops = 1 + (s->run > 1);
    if (s->run == 1) return start;
    if (!divides) run = sinter_loop_min(b, run, sinter_loop_sub(b, count, start));
    return sinter_loop_add(
        b, start,
        sinter_loop_var_read(b, sinter_loop_begin_for(b, "at", zero, run, 1, SINTER_AXIS_SERIAL)));
}

/* The body in front of the reduction, and of that the iterations of the part, whose turns come in runs; the loop over rows. */
static sinter_loop_var add_parts(splitting *s) {
    sinter_loop_builder *b = &s->p.builder;
    const sinter_loop_stmt *loop = s->p.loop;
    const sinter_dtype dtype = s->p.assign->value->dtype;
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->p.schedule->program, s->p.schedule->function);
    const char *name = sinter_schedule_var_name(s->p.schedule, s->rows->var);
    sinter_loop_var row =
        sinter_loop_begin_for(b, name, s->rows->lower, s->rows->upper, 1, SINTER_AXIS_SERIAL);
    sinter_loop_map_var(&map, s->rows->var, sinter_loop_var_read(b, row));
    sinter_expr part = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "part", sinter_loop_int(b, 0), sinter_loop_int(b, s->parts), 1,
                                 SINTER_AXIS_SERIAL));
    for (const sinter_loop_stmt *stmt = s->rows->body; stmt != loop; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE && stmt->var != s->p.assign->var)
            sinter_loop_map_var(&map, stmt->var, sinter_loop_map_expr(&map, stmt->value));
    sinter_loop_var sum = sinter_loop_declare(
        b, sinter_schedule_var_name(s->p.schedule, s->p.assign->var), true, neutral(&s->p, dtype));
    sinter_loop_map_var(&map, s->p.assign->var, sinter_loop_var_read(b, sum));
    uint32_t turns;
    sinter_expr count = sinter_loop_map_expr(&map, sinter_schedule_count(b, loop)),
                position = begin_turns(s, count, part, &turns);
    sinter_loop_map_var(
        &map, loop->var,
        sinter_loop_add(b, sinter_loop_map_expr(&map, loop->lower),
                        sinter_loop_mul(b, position, sinter_loop_int(b, loop->step))));
    for (const sinter_loop_stmt *stmt = loop->body; stmt != s->p.assign; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_DECLARE)
            sinter_loop_map_var(
                &map, stmt->var,
                sinter_loop_var_read(
                    b, sinter_loop_declare(b, sinter_schedule_var_name(s->p.schedule, stmt->var),
                                           false, sinter_loop_map_expr(&map, stmt->value))));
    sinter_expr element = sinter_loop_map_expr(
        &map, s->p.assign->value->arguments[s->p.selects || s->p.accumulator_first]);
    sinter_loop_assign(b, sum, combine(&s->p, sinter_loop_var_read(b, sum), element));
    while (turns--) sinter_loop_end(b);
    sinter_expr place[2] = {part, sinter_loop_map_expr(&map, row_of(s))};
    sinter_loop_store(b, s->results, place, sinter_loop_var_read(b, sum));
    sinter_loop_end(b);
    sinter_loop_end(b);
    return row;
}

/* The reduction goes through the parts. */
static void reduce_parts(splitting *s) {
    sinter_loop_builder *b = &s->p.builder;
    sinter_loop_stmt **link = &s->rows->body, **tail = b->tail;
    while (*link != s->p.loop) link = &(*link)->next;
    *link = s->p.loop->next;
    b->tail = link;
    sinter_expr part = sinter_loop_var_read(
        b, sinter_loop_begin_for(b, "part", sinter_loop_int(b, 0), sinter_loop_int(b, s->parts), 1,
                                 SINTER_AXIS_SERIAL));
    sinter_expr place[2] = {part, row_of(s)};
    sinter_loop_var result =
        sinter_loop_declare(b, "result", false, sinter_loop_load(b, s->results, place));
    sinter_loop_assign(
        b, s->p.assign->var,
        combine(&s->p, sinter_loop_var_read(b, s->p.assign->var), sinter_loop_var_read(b, result)));
    sinter_loop_end(b);
    b->tail = tail;
}

bool sinter_schedule_split_reduction(sinter_schedule *schedule, sinter_loop_var rows, int64_t parts,
                                     int64_t run, sinter_loop_buffer *out_results,
                                     sinter_loop_var *out_rows) {
    splitting s = {.p = {.schedule = schedule}, .parts = parts, .run = run};
    int64_t count;
    if (parts < 2 || parts > SINTER_LOOP_MOST_LANES)
        return sinter_schedule_refuse(schedule, "expected 2 to %d parts", SINTER_LOOP_MOST_LANES);
    if (run < 1 || run > SINTER_LOOP_MOST_LANES)
        return sinter_schedule_refuse(schedule, "expected runs of 1 to %d elements",
                                      SINTER_LOOP_MOST_LANES);
    if (!find_rows(&s, rows))
        return sinter_schedule_refuse(
            schedule, "its body is no reduction, accumulator = function(accumulator, element)");
    if (!sinter_loop_trip_count(s.rows, &count))
        return sinter_schedule_refuse(schedule, "nobody knows how many rows there are");
    if (!reads_apart(&s))
        return sinter_schedule_refuse(schedule, "it reads what is written behind the reduction");
    if (!sinter_schedule_is_independent(schedule, s.rows)) return false;
    sinter_loop_builder *b = &s.p.builder;
    sinter_loop_builder_init(b, schedule->program, schedule->function);
    const char *name = sinter_arena_format(b->arena, "%s_parts",
                                           sinter_schedule_var_name(schedule, s.p.assign->var));
    sinter_expr dims[2] = {sinter_loop_int(b, parts), sinter_loop_int(b, count)};
    b->tail = s.link;
    s.results =
        sinter_loop_add_buffer(b, name, s.p.assign->value->dtype, 2, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(b, s.results);
    if (out_results) *out_results = s.results;
    const sinter_loop_var made = add_parts(&s);
    if (out_rows) *out_rows = made;
    reduce_parts(&s);
    return true;
}
