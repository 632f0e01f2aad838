/* A sum of products made by several that know nothing of each other, each of a part of it, and added up afterwards: where there are too few
 * sums for all that could work (split-K of the field; rfactor of Halide's schedules, Suriana et al., CGO 2017).
 * Needs: the nest of contraction.h in loops that are all independent. Guarantees: a part adds in the order the sum had, and
 * parts are added in their own order: the result depends on their number alone.
 * Test: tests/codegen/schedule/split_sum.loops, tests/unit/loop_property_test.c */
#include "codegen/schedule/contraction.h"

typedef struct splitting {
    sinter_schedule *schedule;
    sinter_schedule_chain chain; /* around the accumulator */
    sinter_contraction sum;
    sinter_loop_builder builder;
    sinter_loop_buffer results; /* of the parts: by iteration of the chain, and by part */
    uint32_t part_dim;          /* which of its dims is that */
    int64_t parts;
} splitting;

static sinter_loop_stmt *loop_of(const splitting *s, sinter_loop_var var) {
    return sinter_schedule_get_loop(s->schedule->function, var);
}

/* ---- whether it may ---- */

static bool check_chain(splitting *s) {
    if (!s->chain.depth || s->chain.depth >= SINTER_MAX_RANK)
        return sinter_schedule_refuse(s->schedule, "expected 1 to %d serial loops",
                                      SINTER_MAX_RANK - 1);
    for (uint32_t i = 0; i < s->chain.depth; i++) {
        const sinter_loop_stmt *loop = loop_of(s, s->chain.loops[i]);
        if (loop->step != 1 ||
            !sinter_loop_expr_over_parameters(s->schedule->function, loop->lower) ||
            !sinter_loop_expr_over_parameters(s->schedule->function, loop->upper))
            return sinter_schedule_refuse(s->schedule, "the bounds of %s are not known in front",
                                          sinter_schedule_var_name(s->schedule, loop->var));
        if (!sinter_schedule_is_independent(s->schedule, loop)) return false;
    }
    return true;
}

static bool check_parts(splitting *s, sinter_loop_var loop, int64_t *out_length) {
    int64_t count = 0;
    bool found = false;
    for (uint32_t i = 0; i < s->sum.loop_count; i++) found |= s->sum.loops[i] == loop;
    if (!found || s->parts < 2 || !sinter_loop_trip_count(loop_of(s, loop), &count) ||
        count % s->parts)
        return sinter_schedule_refuse(
            s->schedule, "expected 2 or more parts of equal length of a loop that sums");
    *out_length = count / s->parts;
    return true;
}

/* ---- the two nests ---- */

static sinter_expr number(splitting *s, int64_t value) {
    return sinter_loop_int(&s->builder, value);
}

/* Memory for what the parts make. */
static void add_results(splitting *s) {
    sinter_expr dims[SINTER_MAX_RANK] = {NULL};
    dims[s->part_dim] = number(s, s->parts);
    for (uint32_t i = 0; i < s->chain.depth; i++)
        dims[i + (i >= s->part_dim)] = sinter_loop_max(
            &s->builder, sinter_schedule_count(&s->builder, loop_of(s, s->chain.loops[i])),
            number(s, 0)); /* a loop that does not run has a negative count */
    const char *name = sinter_arena_format(
        s->builder.arena, "%s_parts", sinter_schedule_var_name(s->schedule, s->sum.declare->var));
    s->results = sinter_loop_add_buffer(&s->builder, name, s->sum.assign->value->dtype,
                                        s->chain.depth + 1, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(&s->builder, s->results);
}

/* Where the result of a part lies, from inside of these loops of the chain. */
static void find_place(splitting *s, sinter_expr part, const sinter_loop_stmt *outermost,
                       sinter_expr *indices) {
    indices[s->part_dim] = part;
    for (uint32_t i = 0; i < s->chain.depth; i++, outermost = outermost->body)
        indices[i + (i >= s->part_dim)] = sinter_loop_sub(
            &s->builder, sinter_loop_var_read(&s->builder, outermost->var), outermost->lower);
}

/* The body of the innermost loop of a nest that has as many as the chain. */
static sinter_loop_stmt *innermost_of(const splitting *s, sinter_loop_stmt *outermost) {
    for (uint32_t i = 1; i < s->chain.depth; i++) outermost = outermost->body;
    return outermost;
}

static sinter_loop_stmt *at_position(sinter_loop_stmt *first, size_t position) {
    while (position--) first = first->next;
    return first;
}

/* A copy of the nest adds parts in place of the reduction. */
static sinter_loop_stmt *make_total(splitting *s, const sinter_loop_stmt *nest, size_t declare,
                                    size_t reduction) {
    sinter_loop_builder *b = &s->builder;
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    sinter_loop_stmt *copy = sinter_loop_clone_stmt(&map, nest),
                     *first = innermost_of(s, copy)->body;
    const sinter_loop_var total = at_position(first, declare)->var;
    sinter_loop_stmt *before = at_position(first, reduction - 1), **tail = b->tail;
    sinter_expr indices[SINTER_MAX_RANK];
    before->next = before->next->next;
    b->tail = &before->next;
    sinter_expr part =
        sinter_loop_var_read(b, sinter_loop_begin_for(b, "part", number(s, 0), number(s, s->parts),
                                                      1, SINTER_AXIS_SERIAL));
    find_place(s, part, copy, indices);
    sinter_loop_assign(b, total,
                       sinter_loop_add(b, sinter_loop_var_read(b, total),
                                       sinter_loop_load(b, s->results, indices)));
    sinter_loop_end(b);
    b->tail = tail;
    return copy;
}

/* The loop over parts leaves the reduction: what is left of the nest is one part, whose result is stored. */
static void make_part(splitting *s, sinter_loop_stmt *nest, sinter_loop_var parts, sinter_expr part,
                      size_t declare, size_t reduction) {
    sinter_loop_builder *b = &s->builder;
    sinter_loop_stmt **link = sinter_schedule_find_link(s->schedule, SINTER_LOOP_FOR, parts);
    sinter_loop_stmt *rest = (*link)->next;
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    sinter_loop_map_var(&map, parts, part);
    *link = (*link)->body;
    while (*link) link = &(*link)->next;
    *link = rest;
    sinter_loop_stmt *first = innermost_of(s, nest)->body,
                     *accumulator = at_position(first, declare),
                     *last = at_position(first, reduction), **tail = b->tail;
    const sinter_dtype dtype = accumulator->value->dtype;
    accumulator->value = sinter_dtype_is_float(dtype) ? sinter_loop_const(b, dtype, 0)
                                                      : sinter_loop_const_int(b, dtype, 0);
    sinter_loop_map_list(&map, nest);
    sinter_expr indices[SINTER_MAX_RANK];
    find_place(s, part, nest, indices);
    last->next = NULL;
    b->tail = &last->next;
    sinter_loop_store(b, s->results, indices, sinter_loop_var_read(b, accumulator->var));
    b->tail = tail;
}

static size_t position_of(const sinter_loop_stmt *first, const sinter_loop_stmt *stmt) {
    size_t position = 0;
    for (; first != stmt; first = first->next) position++;
    return position;
}

/* ---- together ---- */

bool sinter_schedule_split_sum(sinter_schedule *schedule, sinter_loop_var nest,
                               sinter_loop_var loop, int64_t parts, sinter_loop_var before) {
    splitting s = {.schedule = schedule, .parts = parts};
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, nest);
    if (!link) return false;
    s.chain = sinter_schedule_chain_of(schedule, nest);
    while (before && s.part_dim < s.chain.depth && s.chain.loops[s.part_dim] != before)
        s.part_dim++;
    if (s.part_dim == s.chain.depth)
        return sinter_schedule_refuse(schedule,
                                      "the loop that parts come before is none of the nest");
    int64_t length = 0;
    size_t reduction = 0;
    if (!check_chain(&s) ||
        !sinter_schedule_find_contraction(schedule, s.chain.loops[s.chain.depth - 1], &s.sum) ||
        !check_parts(&s, loop, &length))
        return false;
    const sinter_loop_stmt *first = loop_of(&s, s.chain.loops[s.chain.depth - 1])->body;
    const size_t declare = position_of(first, s.sum.declare);
    if (!sinter_schedule_find_reduction(first, s.sum.declare->var, &reduction)) return false;
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    sinter_loop_builder_init(&s.builder, schedule->program, schedule->function);
    sinter_loop_stmt *each = *link, *rest = each->next;
    s.builder.tail = link;
    add_results(&s);
    *s.builder.tail = NULL;
    sinter_loop_stmt *total = make_total(&s, each, declare, reduction);
    sinter_loop_var part = sinter_loop_begin_for(&s.builder, "part", number(&s, 0),
                                                 number(&s, parts), 1, SINTER_AXIS_SERIAL);
    *s.builder.tail = each;
    each->next = NULL;
    sinter_loop_var of_parts = 0;
    if (!sinter_schedule_split(schedule, loop, length, SINTER_TAIL_EXACT, &of_parts, NULL, NULL)) {
        *schedule->function = *saved;
        return false;
    }
    make_part(&s, each, of_parts, sinter_loop_var_read(&s.builder, part), declare, reduction);
    sinter_loop_end(&s.builder);
    *s.builder.tail = total;
    total->next = rest;
    return sinter_schedule_keeps_marks(schedule, saved);
}
