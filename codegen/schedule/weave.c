/* Weaving: two loops of equally many iterations, apart in one block, become one, each iteration of which has what one iteration of the
 * first did, and then what one of the second did. Needs: loops that nothing ties together but that the first is ahead. Guarantees: the
 * same values; each element gets them in the order it did.
 * Test: tests/codegen/schedule/weave.loops, tests/unit/loop_property_test.c */
#include "codegen/loops/conflict.h"
#include "codegen/loops/linear.h"
#include "codegen/loops/uses.h"
#include "codegen/schedule/internal.h"

enum { MAX_BETWEEN = 64 };

/* A statement, without what follows it, and all that it touches. */
typedef struct touched {
    sinter_loop_stmt *stmt;
    sinter_loop_uses uses;
    sinter_loop_access_list accesses;
} touched;

typedef struct weaving {
    sinter_schedule *schedule;
    sinter_arena *scratch;
    sinter_loop_scopes scopes;
    touched first, second, between[MAX_BETWEEN];
    bool follows[MAX_BETWEEN]; /* what lies between goes behind the woven loop */
    uint32_t between_count;
    size_t var_count, buffer_count; /* of the function as it was */
} weaving;

static void touch(weaving *w, sinter_loop_stmt *stmt, touched *out) {
    sinter_loop_stmt *next = stmt->next;
    *out = (touched){.stmt = stmt};
    stmt->next = NULL;
    sinter_loop_find_uses(w->scratch, w->schedule->function, stmt, &out->uses);
    sinter_loop_collect_accesses(w->scratch, stmt, &out->accesses);
    stmt->next = next;
}

/* Nothing but loops, branches, variables and elements. */
static bool is_plain(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        switch (stmt->kind) {
        case SINTER_LOOP_FOR:
            if (stmt->axis != SINTER_AXIS_SERIAL && stmt->axis != SINTER_AXIS_UNROLL &&
                stmt->axis != SINTER_AXIS_VECTOR)
                return false;
            break;
        case SINTER_LOOP_IF:
        case SINTER_LOOP_WHILE:
        case SINTER_LOOP_STORE:
        case SINTER_LOOP_DECLARE:
        case SINTER_LOOP_ASSIGN:
        case SINTER_LOOP_ALLOC:
        case SINTER_LOOP_PREFETCH:
        case SINTER_LOOP_COMMENT:
            break;
        default:
            return false;
        }
        if (!is_plain(stmt->body) || !is_plain(stmt->else_body)) return false;
    }
    return true;
}

/* One makes or changes a variable, or makes a buffer, that the other uses. */
static bool shares_names(const weaving *w, const touched *a, const touched *b) {
    for (size_t v = 1; v < w->var_count; v++) {
        bool changed_a = a->uses.declares[v] || a->uses.assigns[v],
             changed_b = b->uses.declares[v] || b->uses.assigns[v];
        if ((changed_a && (changed_b || b->uses.vars[v])) || (changed_b && a->uses.vars[v]))
            return true;
    }
    for (size_t i = 1; i < w->buffer_count; i++)
        if ((a->uses.allocates[i] && b->uses.buffers[i]) ||
            (b->uses.allocates[i] && a->uses.buffers[i]))
            return true;
    return false;
}

static void mark_alone(sinter_loop_comparison *c, const touched *t) {
    sinter_loop_stmt *next = t->stmt->next;
    t->stmt->next = NULL;
    sinter_loop_mark_declared(c, t->stmt);
    t->stmt->next = next;
}

/* Some index of one is always below that of the other. */
static bool has_own_range(weaving *w, const sinter_loop_access *a, const sinter_loop_access *b) {
    for (uint32_t i = 0; i < a->rank; i++) {
        int64_t min_a, max_a, min_b, max_b;
        bool known = sinter_loop_range(w->schedule->function, a->indices[i], &min_a, &max_a) &&
                     sinter_loop_range(w->schedule->function, b->indices[i], &min_b, &max_b);
        if (known && (max_a < min_b || max_b < min_a)) return true;
    }
    return false;
}

/* The two statements of the block can't be exchanged. */
static bool meet(weaving *w, const touched *a, const touched *b) {
    if (shares_names(w, a, b)) return true;
    sinter_loop_comparison c = sinter_loop_begin_comparison(&w->scopes, w->first.stmt);
    mark_alone(&c, a);
    mark_alone(&c, b);
    for (size_t i = 0; i < a->accesses.count; i++)
        for (size_t k = 0; k < b->accesses.count; k++)
            if (sinter_loop_conflict(&c, &a->accesses.items[i], &b->accesses.items[k]) &&
                !has_own_range(w, &a->accesses.items[i], &b->accesses.items[k]))
                return true;
    return false;
}

/* ---- iterations of both ---- */

/* Iterations of both, that of the first being the later one: the variables of the loops in terms of others. */
typedef struct iterations {
    sinter_loop_map first, second;
} iterations;

static sinter_expr add_trip(sinter_loop_builder *b, const char *name, int64_t min, int64_t max) {
    sinter_loop_var var = sinter_loop_add_var(b, name, SINTER_DTYPE_i64, false);
    sinter_loop_set_range(b, var, min, max);
    return sinter_loop_var_read(b, var);
}

/* As a distance, which is known to be positive, or each for itself, which is known to be below the count. */
static void begin_iterations(weaving *w, bool as_distance, iterations *out) {
    const sinter_loop_stmt *first = w->first.stmt, *second = w->second.stmt;
    const sinter_loop_var_info info = w->schedule->function->vars.items[first->var];
    int64_t last;
    if (__builtin_sub_overflow(info.max, info.min, &last)) last = INT64_MAX;
    if (last < 1) last = 1;
    sinter_loop_map_init(&out->first, w->schedule->program, w->schedule->function);
    sinter_loop_map_init(&out->second, w->schedule->program, w->schedule->function);
    sinter_loop_builder *b = &out->first.builder;
    sinter_expr trip = add_trip(b, "trip", 0, last), later = add_trip(b, "later", 1, last);
    if (as_distance) later = sinter_loop_add(b, trip, later);
    sinter_loop_map_var(&out->first, first->var, sinter_loop_add(b, first->lower, later));
    sinter_loop_map_var(&out->second, second->var, sinter_loop_add(b, second->lower, trip));
}

/* Some index keeps the two apart whatever the iterations are. */
static bool keeps_apart(weaving *w, iterations *of, const sinter_loop_access *a,
                        const sinter_loop_access *b) {
    for (uint32_t i = 0; i < a->rank; i++) {
        sinter_expr of_first = sinter_loop_map_expr(&w->scopes.lets, a->indices[i]),
                    of_second = sinter_loop_map_expr(&w->scopes.lets, b->indices[i]);
        sinter_linear one, other;
        int64_t min, max;
        if (sinter_loop_expr_loads(of_first, 0) || sinter_loop_expr_loads(of_second, 0)) continue;
        of_first = sinter_loop_map_expr(&of->first, of_first);
        of_second = sinter_loop_map_expr(&of->second, of_second);
        if (sinter_linear_of(of_first, &one) && sinter_linear_of(of_second, &other) &&
            sinter_linear_accumulate(&one, &other, -1) &&
            sinter_linear_range(w->schedule->function, &one, &min, &max) && (min > 0 || max < 0))
            return true;
    }
    return false;
}

/* What an iteration of the first loop touches, no earlier one of the second touches. */
static bool is_ahead(weaving *w) {
    const sinter_loop_function *function = w->schedule->function;
    int64_t count;
    if (shares_names(w, &w->first, &w->second))
        return sinter_schedule_refuse(w->schedule, "the two share a variable or a buffer");
    if (sinter_loop_trip_count(w->first.stmt, &count) && count <= 1) return true;
    iterations distance, each;
    begin_iterations(w, true, &distance);
    begin_iterations(w, false, &each);
    for (size_t i = 0; i < w->first.accesses.count; i++)
        for (size_t k = 0; k < w->second.accesses.count; k++) {
            const sinter_loop_access *a = &w->first.accesses.items[i],
                                     *b = &w->second.accesses.items[k];
            if (a->buffer != b->buffer || !(a->is_store || b->is_store)) continue;
            if (!keeps_apart(w, &distance, a, b) && !keeps_apart(w, &each, a, b))
                return sinter_schedule_refuse(
                    w->schedule, "%s may touch elements of %%%s that %s touches before",
                    function->vars.items[w->first.stmt->var].name,
                    function->buffers.items[a->buffer].name,
                    function->vars.items[w->second.stmt->var].name);
        }
    return true;
}

/* ---- what lies between ---- */

/* What lies between goes behind the woven loop where it may, so that what it makes is made late, else in front of it. */
static bool sort_between(weaving *w) {
    for (uint32_t i = 0; i < w->between_count; i++) {
        bool follows = meet(w, &w->first, &w->between[i]);
        for (uint32_t k = 0; k < i && !follows; k++)
            follows = w->follows[k] && meet(w, &w->between[k], &w->between[i]);
        w->follows[i] = follows;
        if (follows && meet(w, &w->between[i], &w->second))
            return sinter_schedule_refuse(w->schedule, "what lies between needs the first loop, "
                                                       "and is needed by the second");
    }
    for (uint32_t i = w->between_count; i-- > 0;) {
        bool needed = w->follows[i] || meet(w, &w->between[i], &w->second);
        for (uint32_t k = i + 1; k < w->between_count && !needed; k++)
            needed = !w->follows[k] && meet(w, &w->between[i], &w->between[k]);
        w->follows[i] |= !needed;
    }
    return true;
}

static bool find_between(weaving *w) {
    for (sinter_loop_stmt *stmt = w->first.stmt->next; stmt != w->second.stmt; stmt = stmt->next) {
        if (w->between_count == MAX_BETWEEN)
            return sinter_schedule_refuse(w->schedule, "there is too much between the loops");
        touch(w, stmt, &w->between[w->between_count++]);
    }
    for (uint32_t i = 0; i < w->between_count; i++) {
        sinter_loop_stmt *stmt = w->between[i].stmt, *next = stmt->next;
        stmt->next = NULL;
        bool plain = is_plain(stmt);
        stmt->next = next;
        if (!plain) return sinter_schedule_refuse(w->schedule, "what lies between must stay there");
    }
    return true;
}

/* ---- the verb ---- */

static bool check_loops(weaving *w) {
    const sinter_loop_stmt *first = w->first.stmt, *second = w->second.stmt;
    sinter_loop_builder b;
    if (first->axis != SINTER_AXIS_SERIAL || second->axis != SINTER_AXIS_SERIAL ||
        first->step != 1 || second->step != 1)
        return sinter_schedule_refuse(w->schedule, "the loops are marked already or have a step");
    if (!is_plain(first->body) || !is_plain(second->body))
        return sinter_schedule_refuse(w->schedule, "a body has a statement that can't be moved");
    sinter_loop_builder_init(&b, w->schedule->program, w->schedule->function);
    if (!sinter_loop_expr_equal(sinter_schedule_count(&b, first),
                                sinter_schedule_count(&b, second)))
        return sinter_schedule_refuse(w->schedule,
                                      "the loops do not have the same number of iterations");
    return (sinter_schedule_bounds_fixed(first, first) &&
            sinter_schedule_bounds_fixed(second, first)) ||
           sinter_schedule_refuse(w->schedule, "the bounds change from here on");
}

/* In front: what may go there; then the woven loop; then what has to follow. */
static void weave(weaving *w, sinter_loop_stmt **link) {
    sinter_loop_stmt *first = w->first.stmt, *second = w->second.stmt, *rest = second->next;
    sinter_loop_map map;
    sinter_loop_map_init(&map, w->schedule->program, w->schedule->function);
    sinter_loop_builder *b = &map.builder;
    sinter_expr begins = sinter_loop_sub(b, first->lower, second->lower);
    sinter_loop_map_var(&map, first->var,
                        sinter_loop_add(b, sinter_loop_var_read(b, second->var), begins));
    sinter_loop_map_list(&map, first->body);
    sinter_loop_stmt **end = &first->body;
    while (*end) end = &(*end)->next;
    *end = second->body;
    second->body = first->body;
    for (uint32_t behind = 0; behind < 2; behind++) {
        for (uint32_t i = 0; i < w->between_count; i++) {
            if (w->follows[i] != (behind == 1)) continue;
            *link = w->between[i].stmt;
            link = &(*link)->next;
        }
        if (behind) continue;
        *link = second;
        link = &second->next;
    }
    *link = rest;
}

bool sinter_schedule_weave(sinter_schedule *schedule, sinter_loop_var first,
                           sinter_loop_var second) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, first);
    if (!link) return false;
    sinter_loop_stmt *other = sinter_schedule_find_behind(schedule, *link, second);
    if (!other) return false;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    weaving w = {.schedule = schedule,
                 .scratch = &scratch,
                 .var_count = schedule->function->vars.count,
                 .buffer_count = schedule->function->buffers.count};
    sinter_loop_scopes_init(&w.scopes, schedule->program, schedule->function, &scratch);
    touch(&w, *link, &w.first);
    touch(&w, other, &w.second);
    bool good = check_loops(&w) && find_between(&w) && sort_between(&w) && is_ahead(&w);
    sinter_loop_function *saved = good ? sinter_schedule_save(schedule) : NULL;
    if (good) weave(&w, link);
    sinter_arena_deinit(&scratch);
    return good && sinter_schedule_keeps_marks(schedule, saved);
}
