/* The verifier of the loop IR, copies under way: a store that is `async` (codegen/loop.h) is there only after a `wait` that leaves none of
 * its group pending, and what reads the element before is refused.
 *
 * Copies, reads, commits and waits of the loop that copies are events in the order of a trip. A read may meet a copy of the same
 * trip or of one before: the nearest trip whose element may be the same is found from the ring that both are indexed by
 * ((step + 2) % 3 and step % 3 meet a trip apart), and the events between the two are gone through as the hardware would: the first
 * commit closes the copy's group, each later one makes the group older by one, and `wait n` is enough once it is n commits old.
 * Commits and waits in branches count for nothing.
 * Needs: a function that passed the other halves. Test: tests/codegen/loops/verify_copy.loops */
#include "codegen/loop_align.h"
#include "codegen/loop_linear.h"
#include "codegen/loop_verify.h"

enum { MAX_RING = 64 };

typedef enum event_kind { COPY, ACCESS, COMMIT, WAIT } event_kind;

typedef struct event {
    event_kind kind;
    const sinter_loop_stmt *stmt;
    sinter_loop_access access; /* COPY, ACCESS */
} event;

typedef struct trip {
    sinter_loop_verifier *v;
    const sinter_loop_stmt *
        loop; /* that copies; NULL: the function's own list, or one of a block axis: there is one trip */
    const sinter_loop_stmt *body; /* of it */
    const sinter_loop_stmt *list; /* where the loop stands, or the body itself */
    SINTER_VECTOR(event) events;
} trip;

/* ---- events ---- */

/* A loop whose trips follow each other, outside of what threads do side by side. */
static bool is_round(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_WHILE ||
           (stmt->kind == SINTER_LOOP_FOR &&
            (stmt->axis == SINTER_AXIS_SERIAL || stmt->axis == SINTER_AXIS_UNROLL));
}

static bool is_axis(const sinter_loop_stmt *stmt, sinter_loop_axis axis) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == axis;
}

static bool has_copies(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_STORE && stmt->asynchronous) || has_copies(stmt->body) ||
            has_copies(stmt->else_body))
            return true;
    return false;
}

static void push_event(trip *t, event_kind kind, const sinter_loop_stmt *stmt,
                       const sinter_loop_access *access) {
    event e = {.kind = kind, .stmt = stmt};
    if (access) e.access = *access;
    sinter_vector_push(&t->v->scratch, &t->events, e);
}

/* plain: neither in a branch nor in a loop of its own, own: no loop inside copies it, threads: inside of their axes. */
static void add_events(trip *t, const sinter_loop_stmt *first, bool plain, bool own, bool threads) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_loop_access_list list = {0};
        sinter_loop_collect_stmt_accesses(&t->v->scratch, stmt, &list);
        for (size_t i = 0; i < list.count; i++) {
            const bool copies = list.items[i].is_store && stmt->asynchronous;
            if (!copies || own) push_event(t, copies ? COPY : ACCESS, stmt, &list.items[i]);
        }
        if (plain && stmt->kind == SINTER_LOOP_COMMIT) push_event(t, COMMIT, stmt, NULL);
        if (plain && stmt->kind == SINTER_LOOP_WAIT) push_event(t, WAIT, stmt, NULL);
        const bool thread = threads || is_axis(stmt, SINTER_AXIS_THREAD),
                   apart = !thread && (is_round(stmt) || is_axis(stmt, SINTER_AXIS_BLOCK));
        const bool inside = plain && stmt->kind != SINTER_LOOP_IF && !apart;
        add_events(t, stmt->body, inside, own && !apart, thread);
        add_events(t, stmt->else_body, inside, own && !apart, thread);
    }
}

/* ---- which trips meet ---- */

/* The x and n of an index x % n, n a number. */
static bool is_ring(const trip *t, sinter_expr index, sinter_expr *out_x, int64_t *out_n) {
    index = sinter_loop_map_expr(&t->v->scopes.lets, index);
    if (index->kind != SINTER_LOOP_CALL || index->function != SINTER_SCALAR_rem ||
        !sinter_loop_is_const_int(index->arguments[1], out_n) || *out_n < 1 || *out_n > MAX_RING)
        return false;
    *out_x = index->arguments[0];
    return true;
}

/* A dim of the two is certain to differ, where the copy is `distance` trips before the access. */
static bool are_apart(const trip *t, const sinter_loop_access *copy,
                      const sinter_loop_access *other, int64_t distance) {
    sinter_loop_builder *b = &t->v->scopes.builder;
    for (uint32_t i = 0; t->loop && t->loop->kind == SINTER_LOOP_FOR && i < copy->rank; i++) {
        sinter_expr x, y, stride, rest;
        sinter_linear difference, right;
        int64_t n, m, by;
        if (!is_ring(t, copy->indices[i], &x, &n) || !is_ring(t, other->indices[i], &y, &m) ||
            n != m || !sinter_linear_of(x, &difference) || !sinter_linear_of(y, &right) ||
            !sinter_linear_accumulate(&difference, &right, -1) || difference.count ||
            !sinter_loop_affine(b, x, t->loop->var, &stride, &rest) ||
            !sinter_loop_is_const_int(stride, &by))
            continue;
        if ((difference.constant % n - by % n * t->loop->step % n * distance) % n) return true;
    }
    return false;
}

/* The copy's group is done when `distance` trips later the access is reached. */
static bool is_done(const trip *t, size_t copy, size_t access, int64_t distance) {
    bool committed = false;
    uint32_t age = 0;
    const size_t count = t->events.count, last = (size_t)distance * count + access;
    for (size_t i = copy + 1; i < last; i++) {
        const event *e = &t->events.items[i % count];
        if (e->kind == COMMIT) {
            age += committed;
            committed = true;
        }
        if (e->kind == WAIT && committed && age >= e->stmt->pending) return true;
    }
    return false;
}

static bool contains(const sinter_loop_stmt *first, const sinter_loop_stmt *wanted) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt == wanted || contains(stmt->body, wanted) || contains(stmt->else_body, wanted))
            return true;
    return false;
}

/* One of the two is done where the other is not, as zeros are where there is nothing to copy. */
static bool are_branches(const sinter_loop_stmt *first, const sinter_loop_stmt *a,
                         const sinter_loop_stmt *b) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const bool parts = (contains(stmt->body, a) && contains(stmt->else_body, b)) ||
                           (contains(stmt->body, b) && contains(stmt->else_body, a));
        if (parts || are_branches(stmt->body, a, b) || are_branches(stmt->else_body, a, b))
            return true;
    }
    return false;
}

static void check_pair(trip *t, size_t copy, size_t access) {
    sinter_loop_verifier *v = t->v;
    const event *from = &t->events.items[copy], *to = &t->events.items[access];
    int64_t distance = copy < access && !are_branches(t->body, from->stmt, to->stmt) ? 0 : 1;
    if (!t->loop && distance) return; /* there is no trip after this one */
    while (distance <= 2 * MAX_RING && are_apart(t, &from->access, &to->access, distance))
        distance++;
    if (distance > 2 * MAX_RING || is_done(t, copy, access, distance)) return;
    v->stmt = to->stmt;
    sinter_loop_verify_error(v, "loop_c19", "%%%s is %s while a copy to it may be under way",
                             v->function->buffers.items[to->access.buffer].name,
                             to->access.is_store ? "written" : "read");
}

/* ---- the loop that copies ---- */

/* The buffer is made beside the loop and used nowhere else. */
static bool is_of_loop(trip *t, sinter_loop_buffer buffer) {
    const sinter_loop_stmt *alloc = t->v->scopes.buffers[buffer], *stmt = t->list;
    while (stmt && stmt != alloc) stmt = stmt->next;
    sinter_loop_access_list all = {0};
    size_t inside = 0, everywhere = 0;
    sinter_loop_collect_accesses(&t->v->scratch, t->v->function->body, &all);
    for (size_t i = 0; i < all.count; i++) everywhere += all.items[i].buffer == buffer;
    for (size_t i = 0; i < t->events.count; i++)
        inside += t->events.items[i].access.buffer == buffer;
    return stmt && inside == everywhere;
}

static void check_trip(trip *t) {
    sinter_loop_verifier *v = t->v;
    for (size_t i = 0; i < t->events.count; i++) {
        const event *copy = &t->events.items[i];
        const sinter_loop_buffer buffer = copy->access.buffer;
        if (copy->kind != COPY) continue;
        v->stmt = copy->stmt;
        if (!is_of_loop(t, buffer))
            sinter_loop_verify_error(v, "loop_c19",
                                     "%%%s is not allocated beside the one loop that copies to it",
                                     v->function->buffers.items[buffer].name);
        for (size_t k = 0; k < t->events.count; k++)
            if (t->events.items[k].kind == ACCESS && t->events.items[k].access.buffer == buffer)
                check_pair(t, i, k);
    }
}

static void check_list(sinter_loop_verifier *v, const sinter_loop_stmt *loop,
                       const sinter_loop_stmt *body, const sinter_loop_stmt *list) {
    trip t = {.v = v, .loop = loop, .body = body, .list = list};
    add_events(&t, body, true, true, false);
    check_trip(&t);
}

static void walk(sinter_loop_verifier *v, const sinter_loop_stmt *list) {
    for (const sinter_loop_stmt *stmt = list; stmt; stmt = stmt->next) {
        if (is_axis(stmt, SINTER_AXIS_THREAD) || !has_copies(stmt->body)) continue;
        if (is_round(stmt)) check_list(v, stmt, stmt->body, list);
        if (is_axis(stmt, SINTER_AXIS_BLOCK)) check_list(v, NULL, stmt->body, stmt->body);
        walk(v, stmt->body);
        walk(v, stmt->else_body);
    }
}

/* ---- copies themselves ---- */

/* A copy is of 4, 8 or 16 bytes: an element, or those of a vector axis whose only statement it is, at a multiple of their bytes. */
static void check_copy(sinter_loop_verifier *v, const sinter_loop_stmt *store,
                       const sinter_loop_stmt *around) {
    const sinter_loop_buffer_info *info = &v->function->buffers.items[store->buffer];
    const int64_t bytes = sinter_dtype_infos[info->dtype].bits / 8;
    sinter_expr first, from = store->value;
    int64_t lanes = 1;
    bool fits = true;
    if (around && is_axis(around, SINTER_AXIS_VECTOR)) {
        sinter_loop_trip_count(around, &lanes);
        fits = !store->next && around->body == store &&
               sinter_loop_is_wide(&v->scopes, around->var, lanes, store->buffer, store->arguments,
                                   &first) &&
               (from->kind != SINTER_LOOP_LOAD ||
                sinter_loop_is_wide(&v->scopes, around->var, lanes, from->buffer, from->arguments,
                                    &first));
    }
    v->stmt = store;
    if (!fits || (bytes * lanes != 4 && bytes * lanes != 8 && bytes * lanes != 16))
        sinter_loop_verify_error(v, "loop_c20",
                                 "a copy is of 4, 8 or 16 bytes that lie together at a multiple "
                                 "of that, alone in its vector axis");
}

static void check_copies(sinter_loop_verifier *v, const sinter_loop_stmt *first,
                         const sinter_loop_stmt *around) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_STORE && stmt->asynchronous) check_copy(v, stmt, around);
        check_copies(v, stmt->body, stmt);
        check_copies(v, stmt->else_body, stmt);
    }
}

void sinter_loop_verify_copies(sinter_loop_verifier *v) {
    const sinter_loop_stmt *body = v->function->body;
    if (!has_copies(body)) return;
    check_copies(v, body, NULL);
    if (v->error_count) return;
    check_list(v, NULL, body, body);
    walk(v, body);
}
