/* Packing an operand of the run: a block of an input is copied to scratch that the iteration owns, in the order in which it
 * will be read, and is read there. Fork, which makes a copy of a loop's body for a case, decides during the run where that
 * pays. Needs: reads whose indices are the same function of loops around them. Guarantees: the same values.
 * Test: tests/codegen/schedule/scratch.loops, tests/unit/loop_property_test.c */
#include "codegen/schedule/internal.h"

#include <string.h>

enum { MAX_SCRATCH_ELEMENTS = 1 << 20, MAX_DEPTH = 32 };

/* One read, as a function of loops of the body: those that its indices use, outermost first. */
typedef struct reading {
    const sinter_loop_stmt *loops[SINTER_MAX_RANK];
    uint32_t count;
} reading;

typedef struct staging {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_stmt **link; /* what reads scratch: the loop that hangs here and what follows it */
    sinter_loop_stmt *first;
    sinter_scratch_packing *asked;
    const sinter_loop_stmt *path[MAX_DEPTH]; /* loops behind the copy around what is visited */
    uint32_t depth, conditions;              /* if and while around it */
    bool change;                             /* reads are replaced; otherwise looked at */
    bool fits, found;
    uint32_t rank;
    sinter_loop_var
        copies[SINTER_MAX_RANK]; /* variables of the copy's loops, as the reads are nested */
    sinter_expr counts[SINTER_MAX_RANK]; /* of their iterations */
    sinter_expr lowers[SINTER_MAX_RANK]; /* of the loops they stand for */
    uint32_t order[SINTER_MAX_RANK];     /* of these in scratch */
    sinter_expr
        source[SINTER_MAX_RANK]; /* indices of the buffer, in terms of the copy's variables */
    uint32_t source_rank;
    sinter_loop_buffer scratch;
} staging;

/* ---- what is read ---- */

static void find_reading(const staging *s, sinter_expr load, reading *out) {
    out->count = 0;
    for (uint32_t i = 0; i < s->depth && out->count < SINTER_MAX_RANK; i++)
        for (uint32_t k = 0; k < load->argument_count; k++)
            if (sinter_loop_expr_uses(load->arguments[k], s->path[i]->var)) {
                out->loops[out->count++] = s->path[i];
                break;
            }
}

/* Iterations, never fewer than none. */
static sinter_expr count_of(const staging *s, const sinter_loop_stmt *loop) {
    sinter_loop_builder b = s->builder;
    sinter_expr count = sinter_loop_sub(&b, loop->upper, loop->lower);
    int64_t low, high;
    bool known = sinter_loop_range(s->schedule->function, count, &low, &high);
    return known && low >= 0 ? count : sinter_loop_max(&b, count, sinter_loop_int(&b, 0));
}

/* The reads' loops run over a box whose size is known where the copy is made. */
static bool take_axes(staging *s, const reading *r) {
    int64_t total = 1, low, high;
    sinter_loop_builder *b = &s->builder;
    s->rank = r->count;
    for (uint32_t i = 0; i < r->count; i++) {
        const sinter_loop_stmt *loop = r->loops[i];
        s->lowers[i] = loop->lower;
        s->counts[i] = count_of(s, loop);
        if (loop->step != 1 || !sinter_loop_is_invariant(loop->lower, s->first) ||
            !sinter_loop_is_invariant(loop->upper, s->first))
            return sinter_schedule_refuse(s->schedule, "the bounds of %s change behind the copy",
                                          sinter_schedule_var_name(s->schedule, loop->var));
        if (!sinter_loop_range(s->schedule->function, s->counts[i], &low, &high) || high < 1 ||
            high > MAX_SCRATCH_ELEMENTS || (total *= high) > MAX_SCRATCH_ELEMENTS)
            return sinter_schedule_refuse(s->schedule,
                                          "what is read has no bounded size that is small enough");
        s->copies[i] = sinter_loop_add_var(b, sinter_schedule_var_name(s->schedule, loop->var),
                                           SINTER_DTYPE_i64, false);
        sinter_loop_set_range(b, s->copies[i], 0, high - 1);
    }
    return r->count > 0 || sinter_schedule_refuse(s->schedule, "a single element is read");
}

static bool same_axes(const staging *s, const reading *r) {
    bool same = s->rank == r->count;
    for (uint32_t i = 0; i < r->count && same; i++)
        same = r->loops[i]->step == 1 && sinter_loop_expr_equal(r->loops[i]->lower, s->lowers[i]) &&
               sinter_loop_expr_equal(count_of(s, r->loops[i]), s->counts[i]);
    return same;
}

/* The read's indices with the copy's variables in place of its own. */
static void source_indices(const staging *s, const reading *r, sinter_expr load, sinter_expr *out) {
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    for (uint32_t i = 0; i < r->count; i++)
        sinter_loop_map_var(&map, r->loops[i]->var,
                            sinter_loop_add(&map.builder,
                                            sinter_loop_var_read(&map.builder, s->copies[i]),
                                            s->lowers[i]));
    for (uint32_t k = 0; k < load->argument_count; k++)
        out[k] = sinter_loop_map_expr(&map, load->arguments[k]);
}

static bool look_at(staging *s, sinter_expr load) {
    reading r;
    sinter_expr indices[SINTER_MAX_RANK];
    if (s->conditions) return sinter_schedule_refuse(s->schedule, "it is read under a condition");
    find_reading(s, load, &r);
    if (!s->found) {
        s->found = true;
        s->source_rank = load->argument_count;
        if (!take_axes(s, &r)) return false;
        source_indices(s, &r, load, s->source);
        for (uint32_t k = 0; k < s->source_rank; k++)
            if (!sinter_loop_is_invariant(s->source[k], s->first))
                return sinter_schedule_refuse(s->schedule, "an index changes behind the copy");
        return true;
    }
    bool same = same_axes(s, &r);
    if (same) source_indices(s, &r, load, indices);
    for (uint32_t k = 0; k < s->source_rank && same; k++)
        same = sinter_loop_expr_equal(indices[k], s->source[k]);
    return same || sinter_schedule_refuse(s->schedule, "it is read in different ways");
}

/* ---- reading scratch instead ---- */

static sinter_expr load_scratch(staging *s, sinter_expr load) {
    reading r;
    sinter_expr indices[SINTER_MAX_RANK];
    find_reading(s, load, &r);
    for (uint32_t i = 0; i < s->rank; i++) {
        const sinter_loop_stmt *loop = r.loops[s->order[i]];
        indices[i] =
            sinter_loop_sub(&s->builder, sinter_loop_var_read(&s->builder, loop->var), loop->lower);
    }
    return sinter_loop_load(&s->builder, s->scratch, indices);
}

static sinter_expr visit_expr(void *user, sinter_expr expr) {
    staging *s = user;
    if (!s->fits || !sinter_loop_expr_loads(expr, s->asked->buffer)) return expr;
    sinter_expr visited = sinter_loop_replace_arguments(s->builder.arena, expr, visit_expr, s);
    bool own = expr->kind == SINTER_LOOP_LOAD && expr->buffer == s->asked->buffer;
    if (own && s->change) return load_scratch(s, expr);
    if (own) s->fits = s->fits && look_at(s, expr);
    return visited;
}

/* The loop's variable is a number in the indices, which are in the buffer only if the loop runs. */
static bool may_be_folded(const staging *s, const sinter_loop_stmt *loop) {
    const sinter_loop_var_info *info = &s->schedule->function->vars.items[loop->var];
    int64_t count;
    return info->min >= info->max && !(sinter_loop_trip_count(loop, &count) && count > 0);
}

static void visit_list(staging *s, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *stmt = first; stmt && s->fits; stmt = stmt->next) {
        bool is_loop = stmt->kind == SINTER_LOOP_FOR;
        bool is_condition = stmt->kind == SINTER_LOOP_IF || stmt->kind == SINTER_LOOP_WHILE;
        if (stmt->kind == SINTER_LOOP_FAIL)
            s->fits = sinter_schedule_refuse(s->schedule, "the body may stop before it is read");
        sinter_loop_replace_exprs(stmt, visit_expr, s);
        if (is_loop && may_be_folded(s, stmt))
            s->fits = sinter_schedule_refuse(s->schedule, "%s may never run",
                                             sinter_schedule_var_name(s->schedule, stmt->var));
        if (is_loop && s->depth == MAX_DEPTH)
            s->fits = sinter_schedule_refuse(s->schedule, "the nest is too deep");
        if (is_loop && s->fits) s->path[s->depth++] = stmt;
        s->conditions += is_condition;
        visit_list(s, stmt->body);
        visit_list(s, stmt->else_body);
        s->conditions -= is_condition;
        if (is_loop && s->depth) s->depth--;
    }
}

/* ---- the verb ---- */

/* A permutation of the axes, or none: as they are nested. */
static bool take_order(staging *s) {
    bool seen[SINTER_MAX_RANK] = {false};
    const sinter_scratch_packing *asked = s->asked;
    if (asked->order_count && asked->order_count != s->rank)
        return sinter_schedule_refuse(s->schedule, "it is read along %u loops", s->rank);
    for (uint32_t i = 0; i < s->rank; i++) {
        s->order[i] = asked->order_count ? asked->order[i] : i;
        if (s->order[i] >= s->rank || seen[s->order[i]])
            return sinter_schedule_refuse(s->schedule, "the order is no permutation");
        seen[s->order[i]] = true;
    }
    return true;
}

/* alloc; for each axis { scratch[...] = buffer[...] } in front of the loop. */
static void make_copy(staging *s) {
    sinter_loop_builder *b = &s->builder;
    const sinter_loop_buffer_info info = s->schedule->function->buffers.items[s->asked->buffer];
    sinter_expr dims[SINTER_MAX_RANK], indices[SINTER_MAX_RANK];
    sinter_loop_map map;
    sinter_loop_map_init(&map, s->schedule->program, s->schedule->function);
    for (uint32_t i = 0; i < s->rank; i++) dims[i] = s->counts[s->order[i]];
    const char *name = sinter_arena_format(b->arena, "%s_packed", info.name);
    s->scratch = sinter_loop_add_buffer(b, name, info.dtype, s->rank, dims, SINTER_SCOPE_STACK);
    b->tail = s->link;
    sinter_loop_alloc(b, s->scratch);
    for (uint32_t i = 0; i < s->rank; i++) {
        uint32_t axis = s->order[i];
        const char *var = s->schedule->function->vars.items[s->copies[axis]].name;
        s->asked->out_loops[i] = sinter_loop_begin_for(b, var, sinter_loop_int(b, 0),
                                                       s->counts[axis], 1, SINTER_AXIS_SERIAL);
        indices[i] = sinter_loop_var_read(b, s->asked->out_loops[i]);
        sinter_loop_map_var(&map, s->copies[axis], indices[i]);
    }
    sinter_expr from[SINTER_MAX_RANK];
    for (uint32_t k = 0; k < s->source_rank; k++)
        from[k] = sinter_loop_map_expr(&map, s->source[k]);
    sinter_loop_store(b, s->scratch, indices, sinter_loop_load(b, s->asked->buffer, from));
    for (uint32_t i = 0; i < s->rank; i++) sinter_loop_end(b);
    s->asked->out_buffer = s->scratch;
    s->asked->out_rank = s->rank;
}

static bool is_parallel(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_PARALLEL;
}

static bool check_place(const staging *s) {
    const sinter_loop_function *function = s->schedule->function;
    sinter_loop_buffer buffer = s->asked->buffer;
    if (!buffer || buffer >= function->buffers.count ||
        function->buffers.items[buffer].scope != SINTER_SCOPE_INPUT)
        return sinter_schedule_refuse(s->schedule, "there is no such input");
    if (sinter_dtype_infos[function->buffers.items[buffer].dtype].bits < 8)
        return sinter_schedule_refuse(s->schedule, "its elements are smaller than a byte");
    for (const sinter_loop_stmt *stmt = s->first; stmt; stmt = stmt->next)
        if (is_parallel(stmt))
            return sinter_schedule_refuse(s->schedule, "threads would share the scratch");
    return !sinter_schedule_in_axis(s->schedule, s->link, SINTER_AXIS_VECTOR) ||
           sinter_schedule_refuse(s->schedule, "the loop is in a vector axis");
}

bool sinter_schedule_pack_scratch(sinter_schedule *schedule, sinter_scratch_packing *packing) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, packing->loop);
    if (!link) return false;
    staging s = {
        .schedule = schedule, .link = link, .first = *link, .asked = packing, .fits = true};
    sinter_loop_builder_init(&s.builder, schedule->program, schedule->function);
    if (!check_place(&s)) return false;
    visit_list(&s, s.first);
    if (!s.fits) return false;
    if (!s.found) return sinter_schedule_refuse(schedule, "nothing reads it there");
    if (!take_order(&s)) return false;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    s.change = true;
    make_copy(&s);
    visit_list(&s, s.first);
    return sinter_schedule_keeps_marks(schedule, saved);
}

/* ---- fork ---- */

/* More of the variable never makes the expression more. */
static bool never_rises(sinter_loop_builder *b, sinter_expr expr, sinter_loop_var var) {
    sinter_expr coefficient, rest;
    int64_t factor;
    if (!sinter_loop_expr_uses(expr, var)) return true;
    if (expr->kind == SINTER_LOOP_CALL &&
        (expr->function == SINTER_SCALAR_min || expr->function == SINTER_SCALAR_max))
        return never_rises(b, expr->arguments[0], var) && never_rises(b, expr->arguments[1], var);
    return sinter_loop_affine(b, expr, var, &coefficient, &rest) &&
           sinter_loop_is_const_int(coefficient, &factor) && factor <= 0;
}

/* What the expression is in the first iteration of the loops of the path behind `outer`. *out_most: it is no more in the others. */
static sinter_expr in_first_iteration(sinter_schedule *schedule, const sinter_schedule_path *path,
                                      const sinter_loop_stmt *outer, sinter_expr expr,
                                      bool *out_most) {
    for (size_t i = path->count; i-- > 0 && path->items[i] != outer;) {
        const sinter_loop_stmt *loop = path->items[i];
        sinter_loop_map map;
        if (loop->kind != SINTER_LOOP_FOR || !sinter_loop_expr_uses(expr, loop->var)) continue;
        sinter_loop_map_init(&map, schedule->program, schedule->function);
        *out_most &= never_rises(&map.builder, expr, loop->var);
        sinter_loop_map_var(&map, loop->var, loop->lower);
        expr = sinter_loop_map_expr(&map, expr);
    }
    return expr;
}

/* The copies of `counted`, and of serial loops with the same bounds, have fewer iterations than that. */
static void limit_copies(sinter_loop_builder *b, const sinter_loop_stmt *first,
                         sinter_loop_stmt *copy, const sinter_loop_stmt *counted, int64_t least) {
    for (; first; first = first->next, copy = copy->next) {
        if (first->kind == SINTER_LOOP_FOR && first->axis == SINTER_AXIS_SERIAL &&
            first->step == counted->step && sinter_loop_expr_equal(first->lower, counted->lower) &&
            sinter_loop_expr_equal(first->upper, counted->upper)) {
            sinter_expr most = sinter_loop_int(b, (least - 1) * copy->step);
            copy->upper = sinter_loop_min(b, copy->upper, sinter_loop_add(b, copy->lower, most));
            sinter_loop_narrow_range(b, copy);
        }
        limit_copies(b, first->body, copy->body, counted, least);
        limit_copies(b, first->else_body, copy->else_body, counted, least);
    }
}

bool sinter_schedule_fork(sinter_schedule *schedule, sinter_loop_var outer, sinter_loop_var inner,
                          int64_t least) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, outer);
    sinter_loop_stmt **within = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, inner);
    if (!link || !within) return false;
    sinter_loop_stmt *loop = *link, *counted = *within, **place = &loop->body;
    bool inside = false, most = true;
    if (loop->axis != SINTER_AXIS_SERIAL && loop->axis != SINTER_AXIS_PARALLEL)
        return sinter_schedule_refuse(schedule, "the loop's iterations run in lanes or copies");
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, within, &scratch);
    for (size_t i = 0; i < path.count; i++) inside |= path.items[i] == loop;
    sinter_loop_map clone;
    sinter_loop_map_init(&clone, schedule->program, schedule->function);
    sinter_loop_builder *b = &clone.builder;
    sinter_expr count =
        inside ? in_first_iteration(schedule, &path, loop, sinter_schedule_count(b, counted), &most)
               : NULL;
    sinter_arena_deinit(&scratch);
    if (!inside) return sinter_schedule_refuse(schedule, "the second loop is not in the first");
    if (!sinter_loop_is_invariant(count, loop->body))
        return sinter_schedule_refuse(schedule, "the number of iterations changes in the body");
    while (*place && (*place)->kind == SINTER_LOOP_ALLOC) place = &(*place)->next;
    sinter_loop_stmt *first = *place;
    sinter_loop_function *saved = sinter_schedule_save(schedule);
    sinter_expr enough = sinter_loop_compare(b, SINTER_SCALAR_le, sinter_loop_int(b, least), count);
    sinter_loop_stmt *other = sinter_loop_clone_list(&clone, first);
    if (most && least > 0) limit_copies(b, first, other, counted, least);
    *place = NULL;
    sinter_loop_put_branches(b, place, enough, first, other);
    return sinter_schedule_keeps_marks(schedule, saved);
}

/* ---- lifted scratch ---- */

/* Where the buffer is allocated, in serial loops of the list; NULL: nowhere. */
static sinter_loop_stmt **find_alloc(sinter_loop_stmt **link, sinter_loop_buffer buffer) {
    for (; *link; link = &(*link)->next) {
        if ((*link)->kind == SINTER_LOOP_ALLOC && (*link)->buffer == buffer) return link;
        bool serial = (*link)->kind == SINTER_LOOP_FOR && (*link)->axis == SINTER_AXIS_SERIAL;
        sinter_loop_stmt **found = serial ? find_alloc(&(*link)->body, buffer) : NULL;
        if (found) return found;
    }
    return NULL;
}

bool sinter_schedule_lift_scratch(sinter_schedule *schedule, sinter_loop_buffer buffer,
                                  sinter_loop_var var) {
    sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    sinter_loop_stmt **alloc = NULL;
    if (!loop || !buffer || buffer >= schedule->function->buffers.count ||
        !(alloc = find_alloc(&loop->body, buffer)))
        return sinter_schedule_refuse(schedule, "the loop allocates no such scratch");
    const sinter_loop_buffer_info *info = &schedule->function->buffers.items[buffer];
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_expr_over_parameters(schedule->function, info->dims[i]))
            return sinter_schedule_refuse(schedule, "its size is not known in front of the loop");
    sinter_loop_stmt *moved = *alloc;
    *alloc = moved->next;
    moved->next = loop->body;
    loop->body = moved;
    return true;
}
