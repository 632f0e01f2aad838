/* Compute-at: what fills a scratch buffer moves into a loop of the nest that reads it, and makes there what one trip of the loop
 * reads. The part is inferred from the indices of the reads: a range along each axis, over what is known in front of the loop's body.
 * Where the parts of two trips overlap along one axis, the buffer is a ring outside of the loop, and a trip makes what is new.
 * Bounds come by replacing what the body declares by its first or last value, as bounds inference of Halide does
 * (Ragan-Kelley et al., PLDI 2013). Needs: elements that only depend on their place, written along loops. Guarantees: the same
 * values, each made before it is read; nothing twice in a run of the loop
 * where there is a ring.
 * Test: tests/codegen/schedule/compute_at.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/linear.h"
#include "codegen/schedule/internal.h"

enum { MAX_ROUNDS = 64, MAX_EXTENT = 1 << 20 };

/* What a trip reads along one axis of the buffer. */
typedef struct axis_region {
    bool is_part;             /* from low to end; otherwise all that there is */
    sinter_expr low, end;     /* over what is known in front of the loop's body */
    sinter_expr first, later; /* low in the loop's first trip, and in all others */
    int64_t extent;           /* no trip reads more */
    int64_t stride;           /* a later trip moves both by so many; 0: not at all, or not evenly */
    bool moves;               /* the loop's variable is in them */
    int64_t ring; /* element i lies at i % ring; 0: at i - low, or at i where it is no part */
} axis_region;

/* A loop that makes elements along an axis: its variable + rest is the index of each. */
typedef struct narrowing {
    sinter_loop_stmt *loop;
    uint32_t axis;
    sinter_expr rest;
} narrowing;

typedef struct moving {
    sinter_schedule *schedule;
    sinter_loop_scopes scopes;
    sinter_loop_builder *builder;
    sinter_loop_buffer buffer;
    uint32_t rank;
    sinter_loop_stmt **alloc; /* in the list of the producers and, behind them, the consumer */
    sinter_loop_stmt **link;  /* of the loop where they go, which is the consumer or in it */
    const sinter_loop_stmt *consumer;
    SINTER_VECTOR(sinter_loop_stmt *) producers;
    sinter_loop_access_list reads;
    bool *inside; /* by variable: the loop's body declares it */
    axis_region axes[SINTER_MAX_RANK];
    SINTER_VECTOR(narrowing) narrowings;
    uint32_t sliding; /* axis of the ring; rank: there is none */
} moving;

/* ---- who makes it and who reads it ---- */

static bool holds(const sinter_loop_stmt *first, const sinter_loop_stmt *wanted) {
    for (; first; first = first->next)
        if (first == wanted || holds(first->body, wanted) || holds(first->else_body, wanted))
            return true;
    return false;
}

static sinter_loop_stmt **find_alloc(sinter_loop_stmt **link, sinter_loop_buffer buffer) {
    sinter_loop_stmt **found = NULL;
    for (; *link && !found; link = &(*link)->next) {
        if ((*link)->kind == SINTER_LOOP_ALLOC && (*link)->buffer == buffer) return link;
        found = find_alloc(&(*link)->body, buffer);
        if (!found) found = find_alloc(&(*link)->else_body, buffer);
    }
    return found;
}

typedef struct list_check {
    const moving *m;
    const sinter_loop_stmt *list; /* that is looked at */
    const sinter_loop_stmt *rest; /* runs before it once it has moved */
    const char *fault;
} list_check;

/* The list makes elements of the buffer, and nothing else that is there before or after it. */
static bool visit_effect(void *user, sinter_loop_stmt *stmt) {
    list_check *c = user;
    const sinter_loop_scopes *scopes = &c->m->scopes;
    switch (stmt->kind) {
    case SINTER_LOOP_FOR:
        if (stmt->axis > SINTER_AXIS_VECTOR) c->fault = "what makes it runs concurrently";
        break;
    case SINTER_LOOP_STORE:
        if (stmt->buffer == c->m->buffer ? stmt->combine || stmt->atomic
                                         : !holds(c->list, scopes->buffers[stmt->buffer]))
            c->fault = "what makes it hands on more than its elements";
        break;
    case SINTER_LOOP_ASSIGN:
        if (!holds(c->list, scopes->vars[stmt->var]))
            c->fault = "what makes it hands on more than its elements";
        break;
    case SINTER_LOOP_IF:
    case SINTER_LOOP_WHILE:
    case SINTER_LOOP_DECLARE:
    case SINTER_LOOP_ALLOC:
    case SINTER_LOOP_COMMENT:
        break;
    default:
        c->fault = "what makes it has a statement that can't move";
    }
    return !c->fault;
}

static const char *find_effect(const moving *m, sinter_loop_stmt *list) {
    list_check c = {.m = m, .list = list};
    sinter_loop_walk(list, visit_effect, &c);
    return c.fault;
}

static bool visit_source(void *user, sinter_expr *place) {
    list_check *c = user;
    if (sinter_loop_expr_loads(*place, c->m->buffer))
        c->fault = "what makes it reads it too";
    else if (!sinter_loop_is_invariant(*place, c->rest))
        c->fault = "what it is made of changes in between";
    return !c->fault;
}

static bool visit_sources(void *user, sinter_loop_stmt *stmt) {
    list_check *c = user;
    sinter_loop_visit_places(stmt, visit_source, c);
    if (stmt->kind != SINTER_LOOP_ALLOC) return !c->fault;
    const sinter_loop_buffer_info *info = &c->m->schedule->function->buffers.items[stmt->buffer];
    for (uint32_t i = 0; i < info->rank && !c->fault; i++) {
        sinter_expr dim = info->dims[i];
        visit_source(c, &dim);
    }
    return !c->fault;
}

static bool may_move(moving *m, const sinter_loop_stmt *producer) {
    sinter_loop_stmt alone = *producer;
    alone.next = NULL;
    list_check c = {.m = m, .list = &alone, .rest = producer->next};
    c.fault = find_effect(m, &alone);
    if (!c.fault) sinter_loop_walk(&alone, visit_sources, &c);
    return !c.fault || sinter_schedule_refuse(m->schedule, "%s", c.fault);
}

/* Accesses of this one statement and what is in it. */
static sinter_loop_access_list accesses_of(const moving *m, const sinter_loop_stmt *stmt) {
    sinter_loop_stmt alone = *stmt;
    alone.next = NULL;
    sinter_loop_access_list all = {0}, own = {0};
    sinter_loop_collect_accesses(m->builder->arena, &alone, &all);
    for (size_t i = 0; i < all.count; i++)
        if (all.items[i].buffer == m->buffer)
            sinter_vector_push(m->builder->arena, &own, all.items[i]);
    return own;
}

/* Sorts the statements behind the alloc: producers, then the one that reads. */
static bool find_parts(moving *m) {
    sinter_schedule *schedule = m->schedule;
    sinter_loop_stmt *loop = *m->link;
    for (sinter_loop_stmt *stmt = (*m->alloc)->next; stmt; stmt = stmt->next) {
        sinter_loop_stmt alone = *stmt;
        alone.next = NULL;
        bool has_loop = stmt == loop || holds(&alone, loop);
        sinter_loop_access_list own = accesses_of(m, stmt);
        if (has_loop) m->consumer = stmt;
        if (!own.count) continue;
        if (!m->consumer) {
            if (!may_move(m, stmt)) return false;
            sinter_vector_push(m->builder->arena, &m->producers, stmt);
            continue;
        }
        sinter_loop_collect_accesses(m->builder->arena, loop->body, &m->reads);
        size_t kept = 0;
        for (size_t i = 0; i < m->reads.count; i++)
            if (m->reads.items[i].buffer == m->buffer) m->reads.items[kept++] = m->reads.items[i];
        m->reads.count = kept;
        bool stores = false;
        for (size_t i = 0; i < own.count; i++) stores |= own.items[i].is_store;
        if (!has_loop || own.count != kept || stores)
            return sinter_schedule_refuse(schedule, "others than %s use it too",
                                          sinter_schedule_var_name(schedule, loop->var));
    }
    if (!m->consumer || !m->reads.count)
        return sinter_schedule_refuse(schedule, "%s does not read it",
                                      sinter_schedule_var_name(schedule, loop->var));
    return m->producers.count ||
           sinter_schedule_refuse(schedule, "nothing before the loop makes it");
}

/* ---- what a trip reads ---- */

static bool is_inside(const moving *m, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) return true;
    if (expr->kind == SINTER_LOOP_VAR)
        return m->inside[expr->var] || m->schedule->function->vars.items[expr->var].is_mutable;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (is_inside(m, expr->arguments[i])) return true;
    return false;
}

/* rest + times * value is another one in each trip. */
static bool follows(const moving *m, const sinter_linear *rest, int64_t times, sinter_expr value) {
    sinter_linear sum = *rest, other;
    sinter_linear_of(value, &other);
    if (!sinter_linear_accumulate(&sum, &other, times)) return false;
    for (uint32_t i = 0; i < sum.count; i++)
        for (uint32_t k = 0; k < sum.terms[i].count; k++)
            if (sinter_loop_expr_uses(sum.terms[i].factors[k], (*m->link)->var)) return true;
    return false;
}

/* Of min(a, b) and max(a, b), which bound a loop, either holds. The one with which the index, rest + times * bound, follows the
 * trips: rows that end where the data does are a few of all in each trip. Otherwise the number: a trip then reads at most as much
 * as any other. */
static sinter_expr looser(moving *m, sinter_expr bound, sinter_scalar_function function,
                          const sinter_linear *rest, int64_t times) {
    int64_t value;
    sinter_expr expr = sinter_loop_map_expr(&m->scopes.lets, bound);
    while (sinter_loop_is_call(expr, function)) {
        bool at = sinter_loop_is_const_int(expr->arguments[1], &value);
        if (!follows(m, rest, times, expr->arguments[at]) &&
            follows(m, rest, times, expr->arguments[!at]))
            at = !at;
        expr = expr->arguments[at];
    }
    return expr;
}

/* No iteration is before, or after, this. */
static sinter_expr extreme(moving *m, const sinter_loop_stmt *loop, bool last,
                           const sinter_linear *rest, int64_t times) {
    int64_t lower, count;
    if (last && sinter_loop_is_const_int(loop->lower, &lower) &&
        sinter_loop_trip_count(loop, &count) && count > 0)
        return sinter_loop_int(m->builder, lower + (count - 1) * loop->step);
    if (!last) return looser(m, loop->lower, SINTER_SCALAR_max, rest, times);
    return sinter_loop_sub(m->builder, looser(m, loop->upper, SINTER_SCALAR_min, rest, times),
                           sinter_loop_int(m->builder, 1));
}

/* An upper, or lower, bound of the index that does not speak of the loop's body. */
static bool bound(moving *m, sinter_expr index, bool upper, sinter_expr *out_bound) {
    for (int round = 0; round < MAX_ROUNDS; round++) {
        sinter_linear sum;
        sinter_linear_of(index, &sum);
        uint32_t at = 0;
        while (at < sum.count) {
            bool found = false;
            for (uint32_t k = 0; k < sum.terms[at].count; k++)
                found |= is_inside(m, sum.terms[at].factors[k]);
            if (found) break;
            at++;
        }
        *out_bound = index;
        if (at == sum.count) return true;
        sinter_linear term = {.count = 1, .terms = {sum.terms[at]}};
        sum.terms[at] = sum.terms[--sum.count];
        sinter_expr factor = term.terms[0].factors[0], value;
        const sinter_loop_stmt *loop =
            factor->kind == SINTER_LOOP_VAR ? m->scopes.vars[factor->var] : NULL;
        int64_t low, high, times = term.terms[0].coefficient;
        if (term.terms[0].count == 1 && loop && loop->kind == SINTER_LOOP_FOR)
            value = sinter_loop_mul(m->builder, sinter_loop_int(m->builder, times),
                                    extreme(m, loop, upper == (times > 0), &sum, times));
        else if (sinter_linear_range(m->schedule->function, &term, &low, &high))
            value = sinter_loop_int(m->builder, upper ? high : low);
        else
            return false;
        index = sinter_loop_add(m->builder, sinter_linear_build(m->builder->arena, &sum), value);
    }
    return false;
}

/* b - a lies between the two; false where that is not known. */
static bool distance(moving *m, sinter_expr a, sinter_expr b, int64_t *out_min, int64_t *out_max) {
    sinter_linear difference, other;
    sinter_linear_of(b, &difference);
    sinter_linear_of(a, &other);
    return sinter_linear_accumulate(&difference, &other, -1) &&
           sinter_linear_range(m->schedule->function, &difference, out_min, out_max);
}

/* Makes the range as large as that it has this index in it. */
static bool widen(moving *m, axis_region *axis, sinter_expr index) {
    sinter_expr low, last;
    int64_t min, max;
    index = sinter_loop_map_expr(&m->scopes.lets, index);
    if (!bound(m, index, false, &low) || !bound(m, index, true, &last)) return false;
    sinter_expr end = sinter_loop_add(m->builder, last, sinter_loop_int(m->builder, 1));
    if (!axis->low) {
        axis->low = low;
        axis->end = end;
        return true;
    }
    if (!distance(m, axis->low, low, &min, &max) || (min < 0 && max > 0)) return false;
    if (min < 0) axis->low = low;
    if (!distance(m, axis->end, end, &min, &max) || (min < 0 && max > 0)) return false;
    if (max > 0) axis->end = end;
    return true;
}

static sinter_expr is_first_trip(moving *m) {
    const sinter_loop_stmt *loop = *m->link;
    return sinter_loop_compare(m->builder, SINTER_SCALAR_eq,
                               sinter_loop_var_read(m->builder, loop->var), loop->lower);
}

/* The sum in the loop's first trip, or in any other: what has moved here before begins by that choice. */
static sinter_expr in_trip(moving *m, sinter_expr expr, bool first) {
    sinter_expr is_first = is_first_trip(m), chosen = NULL;
    sinter_linear sum;
    sinter_linear_of(expr, &sum);
    for (uint32_t i = 0; i < sum.count;) {
        const sinter_linear_term *term = &sum.terms[i];
        sinter_expr factor = term->factors[0];
        if (term->count != 1 || !sinter_loop_is_call(factor, SINTER_SCALAR_select) ||
            !sinter_loop_expr_equal(factor->arguments[0], is_first)) {
            i++;
            continue;
        }
        sinter_expr part =
            sinter_loop_mul(m->builder, sinter_loop_int(m->builder, term->coefficient),
                            factor->arguments[first ? 1 : 2]);
        chosen = chosen ? sinter_loop_add(m->builder, chosen, part) : part;
        sum.terms[i] = sum.terms[--sum.count];
    }
    if (!chosen) return expr;
    return sinter_loop_add(m->builder, sinter_linear_build(m->builder->arena, &sum), chosen);
}

/* Trips move what they read on, all by the same; never back, also from the first to the one behind it: what is before it then
 * is not read again. */
static int64_t stride_of(moving *m, const axis_region *axis) {
    const sinter_loop_stmt *loop = *m->link;
    const sinter_expr bounds[] = {axis->first, axis->later, axis->end};
    int64_t times = 0, least, most;
    for (int i = 0; i < 3; i++) {
        sinter_expr coefficient, rest;
        int64_t own;
        if (!sinter_loop_affine(m->builder, bounds[i], loop->var, &coefficient, &rest) ||
            !sinter_loop_is_const_int(coefficient, &own) || own < 1 || (i && own != times))
            return 0;
        times = own;
    }
    if (times > MAX_EXTENT / loop->step || !distance(m, axis->first, axis->later, &least, &most) ||
        least < -times * loop->step)
        return 0;
    return times * loop->step;
}

static void infer_axis(moving *m, uint32_t i) {
    axis_region *axis = &m->axes[i];
    const sinter_loop_stmt *loop = *m->link;
    const sinter_loop_buffer_info *info = &m->schedule->function->buffers.items[m->buffer];
    int64_t dim, least;
    for (size_t k = 0; k < m->reads.count; k++)
        if (!widen(m, axis, m->reads.items[k].indices[i])) return;
    if (!distance(m, axis->low, axis->end, &least, &axis->extent) || axis->extent < 1 ||
        axis->extent > MAX_EXTENT)
        return;
    if (sinter_loop_is_const_int(info->dims[i], &dim) && axis->extent >= dim) return;
    axis->is_part = true;
    axis->moves =
        sinter_loop_expr_uses(axis->low, loop->var) || sinter_loop_expr_uses(axis->end, loop->var);
    axis->first = in_trip(m, axis->low, true);
    axis->later = in_trip(m, axis->low, false);
    if (axis->moves) axis->stride = stride_of(m, axis);
}

/* ---- who makes which part ---- */

/* The innermost loop of which the index has the variable as it is: index = variable + rest. */
static sinter_loop_stmt *find_maker(const moving *m, sinter_expr index, sinter_expr *out_rest) {
    sinter_loop_stmt *found = NULL;
    sinter_linear sum;
    sinter_linear_of(index, &sum);
    for (uint32_t i = 0; i < sum.count; i++) {
        const sinter_linear_term *term = &sum.terms[i];
        if (term->count != 1 || term->coefficient != 1 || term->factors[0]->kind != SINTER_LOOP_VAR)
            continue;
        sinter_loop_stmt *loop = m->scopes.vars[term->factors[0]->var];
        if (!loop || loop->kind != SINTER_LOOP_FOR || (found && !holds(found->body, loop)))
            continue;
        found = loop;
        sinter_linear rest = sum;
        rest.terms[i] = rest.terms[--rest.count];
        *out_rest = sinter_linear_build(m->builder->arena, &rest);
    }
    return found;
}

static bool is_in_producer(const moving *m, const sinter_loop_stmt *loop) {
    for (size_t i = 0; i < m->producers.count; i++) {
        sinter_loop_stmt alone = *m->producers.items[i];
        alone.next = NULL;
        if (m->producers.items[i] == loop || holds(alone.body, loop) ||
            holds(alone.else_body, loop))
            return true;
    }
    return false;
}

/* The loop may run over a part of its range: each iteration makes the elements of one place along the axis alone. */
static bool may_narrow(moving *m, sinter_loop_stmt *loop, uint32_t axis, sinter_expr rest) {
    sinter_loop_access_list list = {0};
    if (!is_in_producer(m, loop) || loop->step != 1 || loop->axis != SINTER_AXIS_SERIAL ||
        sinter_loop_expr_loads(rest, 0) || sinter_loop_expr_uses(rest, loop->var) ||
        !sinter_loop_is_invariant(rest, loop->body) || find_effect(m, loop->body))
        return false;
    sinter_loop_collect_accesses(m->builder->arena, loop->body, &list);
    for (size_t i = 0; i < list.count; i++) {
        const sinter_loop_access *access = &list.items[i];
        sinter_expr other = NULL;
        if (access->buffer != m->buffer) continue;
        sinter_expr index = sinter_loop_map_expr(&m->scopes.lets, access->indices[axis]);
        if (find_maker(m, index, &other) != loop || !sinter_loop_expr_equal(other, rest))
            return false;
    }
    return true;
}

static bool has_narrowing(const moving *m, const sinter_loop_stmt *loop, uint32_t axis) {
    for (size_t i = 0; i < m->narrowings.count; i++)
        if (m->narrowings.items[i].loop == loop && m->narrowings.items[i].axis == axis) return true;
    return false;
}

/* All stores are along loops that can be narrowed to the part; otherwise the axis stays whole. */
static void find_makers(moving *m, uint32_t axis) {
    size_t before = m->narrowings.count;
    for (size_t p = 0; p < m->producers.count && m->axes[axis].is_part; p++) {
        sinter_loop_access_list own = accesses_of(m, m->producers.items[p]);
        for (size_t i = 0; i < own.count && m->axes[axis].is_part; i++) {
            narrowing n = {.axis = axis};
            sinter_expr index = sinter_loop_map_expr(&m->scopes.lets, own.items[i].indices[axis]);
            n.loop = find_maker(m, index, &n.rest);
            if (n.loop && has_narrowing(m, n.loop, axis)) continue;
            if (n.loop && may_narrow(m, n.loop, axis, n.rest))
                sinter_vector_push(m->builder->arena, &m->narrowings, n);
            else
                m->axes[axis].is_part = false;
        }
    }
    if (!m->axes[axis].is_part) m->narrowings.count = before;
}

/* The one axis along which the part moves evenly, by less than it has. */
static uint32_t find_sliding(moving *m) {
    uint32_t found = m->rank, count = 0;
    for (uint32_t i = 0; i < m->rank; i++) {
        const axis_region *axis = &m->axes[i];
        int64_t least, most;
        if (!axis->is_part || !axis->moves) continue;
        if (axis->stride && distance(m, axis->later, axis->end, &least, &most) &&
            axis->stride < most)
            found = i;
        count++;
    }
    return count == 1 && (*m->link)->axis == SINTER_AXIS_SERIAL ? found : m->rank;
}

static bool infer(moving *m) {
    bool any = false;
    for (uint32_t i = 0; i < m->rank; i++) {
        infer_axis(m, i);
        if (m->axes[i].is_part) find_makers(m, i);
        any |= m->axes[i].is_part;
    }
    int64_t trips;
    if (!any && !(sinter_loop_trip_count(*m->link, &trips) && trips == 1))
        return sinter_schedule_refuse(m->schedule, "a trip of %s may read all of it",
                                      sinter_schedule_var_name(m->schedule, (*m->link)->var));
    m->sliding = find_sliding(m);
    if (m->sliding < m->rank) {
        axis_region *axis = &m->axes[m->sliding];
        int64_t dim;
        for (axis->ring = 1; axis->ring < axis->extent;) axis->ring *= 2; /* places by a mask */
        if (sinter_loop_is_const_int(
                m->schedule->function->buffers.items[m->buffer].dims[m->sliding], &dim) &&
            axis->ring > dim)
            axis->ring = dim;
    }
    return true;
}

/* ---- the move ---- */

static uint32_t change_place(void *user, sinter_loop_buffer buffer, sinter_expr *indices) {
    const moving *m = user;
    (void)buffer;
    for (uint32_t i = 0; i < m->rank; i++) {
        const axis_region *axis = &m->axes[i];
        if (axis->is_part && axis->ring)
            indices[i] =
                sinter_loop_rem(m->builder, indices[i], sinter_loop_int(m->builder, axis->ring));
        else if (axis->is_part)
            indices[i] = sinter_loop_sub(m->builder, indices[i], axis->low);
    }
    return m->rank;
}

static void shrink(moving *m) {
    sinter_loop_function *function = m->schedule->function;
    sinter_loop_buffer_info *info = &function->buffers.items[m->buffer];
    sinter_expr dims[SINTER_MAX_RANK];
    sinter_loop_change_indices(m->builder->arena, function->body, m->buffer, change_place, m);
    for (uint32_t i = 0; i < m->rank; i++) {
        const axis_region *axis = &m->axes[i];
        dims[i] = axis->is_part
                      ? sinter_loop_int(m->builder, axis->ring ? axis->ring : axis->extent)
                      : info->dims[i];
    }
    info->dims = sinter_arena_copy(m->builder->arena, dims, m->rank * sizeof *dims);
}

/* The first element along the axis that this trip makes. */
static sinter_expr first_new(moving *m, uint32_t i) {
    sinter_loop_builder *b = m->builder;
    const axis_region *axis = &m->axes[i];
    int64_t kept, most, min, max;
    if (i != m->sliding) return axis->low;
    sinter_expr known = sinter_loop_sub(b, axis->end, sinter_loop_int(b, axis->stride));
    sinter_expr is_first = is_first_trip(m);
    if (distance(m, axis->first, known, &kept, &most) && kept == most &&
        distance(m, axis->later, known, &min, &max) && min >= 0) {
        sinter_expr zero = sinter_loop_int(b, 0);
        return sinter_loop_add(b, axis->first,
                               sinter_loop_select(b, is_first, zero, sinter_loop_int(b, kept)));
    }
    return sinter_loop_select(b, is_first, axis->first, sinter_loop_max(b, axis->later, known));
}

/* The loop runs from 0 where its count is a number: what is tiled later needs to see it. */
static void rebase(moving *m, sinter_loop_stmt *loop) {
    sinter_loop_builder *b = m->builder;
    int64_t min, max, lower;
    if (sinter_loop_is_const_int(loop->lower, &lower) ||
        !distance(m, loop->lower, loop->upper, &min, &max) || min != max || min < 1)
        return;
    sinter_loop_map map;
    sinter_loop_map_init(&map, m->schedule->program, m->schedule->function);
    sinter_loop_var fresh = sinter_loop_add_var(
        &map.builder, sinter_schedule_var_name(m->schedule, loop->var), SINTER_DTYPE_i64, false);
    sinter_loop_set_range(&map.builder, fresh, 0, min - 1);
    sinter_loop_map_var(&map, loop->var,
                        sinter_loop_add(b, loop->lower, sinter_loop_var_read(b, fresh)));
    sinter_loop_map_list(&map, loop->body);
    loop->var = fresh;
    loop->lower = sinter_loop_int(b, 0);
    loop->upper = sinter_loop_int(b, min);
}

static void narrow(moving *m) {
    sinter_loop_builder *b = m->builder;
    for (size_t i = 0; i < m->narrowings.count; i++) {
        const narrowing *n = &m->narrowings.items[i];
        sinter_expr low = sinter_loop_sub(b, first_new(m, n->axis), n->rest);
        sinter_expr end = sinter_loop_sub(b, m->axes[n->axis].end, n->rest);
        n->loop->lower = sinter_loop_max(b, n->loop->lower, low);
        n->loop->upper = sinter_loop_min(b, n->loop->upper, end);
        sinter_loop_narrow_range(b, n->loop);
    }
    for (size_t i = 0; i < m->narrowings.count; i++) rebase(m, m->narrowings.items[i].loop);
}

/* Takes the statement out of its list. */
static void unlink_statement(sinter_loop_stmt **list, const sinter_loop_stmt *stmt) {
    while (*list != stmt) list = &(*list)->next;
    *list = stmt->next;
}

static void move(moving *m) {
    sinter_loop_stmt *loop = *m->link, *alloc = *m->alloc, **list = m->alloc;
    sinter_loop_stmt *first = NULL, **tail = &first;
    for (size_t i = 0; i < m->producers.count; i++) {
        unlink_statement(&alloc->next, m->producers.items[i]);
        *tail = m->producers.items[i];
        tail = &(*tail)->next;
    }
    *tail = loop->body;
    loop->body = first;
    unlink_statement(list, alloc);
    if (m->sliding == m->rank) {
        alloc->next = loop->body;
        loop->body = alloc;
        return;
    }
    sinter_loop_stmt **link = sinter_schedule_find_link(m->schedule, SINTER_LOOP_FOR, loop->var);
    alloc->next = loop;
    *link = alloc;
}

/* Whatever else names the buffer has no place for it once it is smaller. */
static bool find_other_use(void *user, sinter_loop_stmt *stmt) {
    list_check *c = user;
    bool names = stmt->buffer == c->m->buffer || stmt->source == c->m->buffer;
    if (names && stmt->kind != SINTER_LOOP_STORE && stmt->kind != SINTER_LOOP_ALLOC)
        c->fault = "it is more than loaded and stored";
    return !c->fault;
}

static bool mark_declared(void *user, sinter_loop_stmt *stmt) {
    moving *m = user;
    if (stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_DECLARE)
        m->inside[stmt->var] = true;
    return true;
}

static bool check_place(moving *m) {
    const sinter_loop_function *function = m->schedule->function;
    sinter_loop_stmt *loop = *m->link;
    if (!m->buffer || m->buffer >= function->buffers.count ||
        function->buffers.items[m->buffer].scope != SINTER_SCOPE_STACK)
        return sinter_schedule_refuse(m->schedule, "there is no such scratch");
    m->rank = function->buffers.items[m->buffer].rank;
    m->alloc = find_alloc(&m->schedule->function->body, m->buffer);
    if (!m->alloc || !holds((*m->alloc)->next, loop))
        return sinter_schedule_refuse(m->schedule, "%s is not in its scope",
                                      sinter_schedule_var_name(m->schedule, loop->var));
    list_check other = {.m = m};
    sinter_loop_walk((*m->alloc)->next, find_other_use, &other);
    if (other.fault) return sinter_schedule_refuse(m->schedule, "%s", other.fault);
    if ((loop->axis != SINTER_AXIS_SERIAL && loop->axis != SINTER_AXIS_PARALLEL) ||
        sinter_schedule_in_axis(m->schedule, m->link, SINTER_AXIS_VECTOR))
        return sinter_schedule_refuse(m->schedule, "the loop's iterations run in lanes or copies");
    return sinter_schedule_bounds_fixed(loop, loop->body) ||
           sinter_schedule_refuse(m->schedule, "the body changes the bounds");
}

bool sinter_schedule_compute_at(sinter_schedule *schedule, sinter_loop_buffer buffer,
                                sinter_loop_var loop) {
    sinter_loop_function *function = schedule->function;
    moving m = {.schedule = schedule, .buffer = buffer};
    m.link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, loop);
    if (!m.link || !check_place(&m)) return false;
    sinter_arena *arena = &schedule->program->arena; /* bounds stay in the function */
    sinter_loop_scopes_init(&m.scopes, schedule->program, function, arena);
    m.builder = &m.scopes.builder;
    m.inside = SINTER_NEW_ARRAY(arena, bool, function->vars.count);
    sinter_loop_walk((*m.link)->body, mark_declared, &m);
    if (!find_parts(&m) || !infer(&m)) return false;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    shrink(&m);
    narrow(&m);
    move(&m);
    return sinter_schedule_keeps_marks(schedule, saved);
}
