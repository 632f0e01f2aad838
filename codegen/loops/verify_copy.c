/* The verifier of the loop IR, what is under way: copies, and products of wgmma axes. A store that is `async` (codegen/loops/loop.h) is there only after a `wait` that leaves none of
 * its group pending, and what reads the element before is refused.
 *
 * Copies, reads, commits and waits of the loop that copies are events in the order of a trip. A read may meet a copy of the same
 * trip or of one before: the nearest trip whose element may be the same is found from the ring that both are indexed by
 * ((step + 2) % 3 and step % 3 meet a trip apart), and the events between the two are gone through as the hardware would: the first
 * commit closes the copy's group, each later one makes the group older by one, and `wait n` is enough once it is n commits old.
 * Commits and waits in branches count for nothing, but those beside what they close in a branch that later trips take, too. What loops and branches
 * inside of the trip have counts where it can't be missed: behind the first event and around it, or in front of the second one and around that.
 *
 * Likewise what a wgmma axis reads is only written once a `wait wgmma` and a barrier behind it have told that this product is done, and what
 * is written (by a copy: once its wait has told so) is there for it behind a `fence` and a barrier. Sums are touched otherwise where no
 * product at all is under way, which a walk along the statements tells.
 * A box (codegen/loops/box.h) is there for who awaits the phase that its piece arrives at behind it: the very phases that it is for.
 * Needs: a function that passed the other halves. Test: tests/codegen/loops/verify_copy.loops, verify_wgmma.loops */
#include "codegen/loops/align.h"
#include "codegen/loops/box.h"
#include "codegen/loops/linear.h"
#include "codegen/loops/verify.h"

enum { MAX_RING = 64 };

typedef enum event_kind {
    COPY,
    ACCESS,
    PRODUCT, /* a load in a wgmma axis */
    COMMIT,
    WAIT,
    COMMIT_PRODUCTS,
    WAIT_PRODUCTS,
    FENCE,
    BARRIER,
    ARRIVE,
    AWAIT,
    NONE
} event_kind;

/* A loop or a branch inside of the trip, and what is around that. */
typedef struct enclosure {
    const struct enclosure *outer; /* NULL: the trip itself */
} enclosure;

typedef struct event {
    event_kind kind;
    const sinter_loop_stmt *stmt;
    sinter_loop_access access;     /* COPY, ACCESS, PRODUCT; of ARRIVE and AWAIT the phases */
    const sinter_loop_stmt *piece; /* of warps, that does it; NULL: all do */
    const sinter_loop_stmt *
        branch; /* that it stands in, and in every trip behind one that takes it; NULL: it is in none such */
    const enclosure *inside; /* NULL: it comes in every trip, or stands in `branch` */
    bool own;                /* of no loop inside of the trip */
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

static bool has_work(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->asynchronous || is_axis(stmt, SINTER_AXIS_WGMMA) ||
            stmt->kind == SINTER_LOOP_WARPS || has_work(stmt->body) || has_work(stmt->else_body))
            return true;
    return false;
}

/* Where a list of statements stands in a trip. */
typedef struct position {
    bool plain;               /* neither in a branch nor in a loop of its own */
    bool own;                 /* no loop inside of the trip has it */
    bool threads, multiplies; /* inside of thread axes, of a wgmma axis */
    const sinter_loop_stmt *piece, *branch;
    const enclosure *inside;
} position;

static const enclosure *enclose(trip *t, const enclosure *outer) {
    enclosure *made = SINTER_NEW(&t->v->scratch, enclosure);
    made->outer = outer;
    return made;
}

static void push_event(trip *t, event_kind kind, const sinter_loop_stmt *stmt,
                       const sinter_loop_access *access, const position *at) {
    event e = {.kind = kind,
               .stmt = stmt,
               .own = at->own,
               .piece = at->piece,
               .branch = at->branch,
               .inside = at->inside};
    if (access) e.access = *access;
    sinter_vector_push(&t->v->scratch, &t->events, e);
}

static event_kind step_of(const sinter_loop_stmt *stmt) {
    switch (stmt->kind) {
    case SINTER_LOOP_COMMIT:
        return stmt->products ? COMMIT_PRODUCTS : COMMIT;
    case SINTER_LOOP_WAIT:
        return stmt->products ? WAIT_PRODUCTS : WAIT;
    case SINTER_LOOP_FENCE:
        return FENCE;
    case SINTER_LOOP_BARRIER:
        return BARRIER;
    case SINTER_LOOP_ARRIVE:
        return ARRIVE;
    case SINTER_LOOP_AWAIT:
        return AWAIT;
    default:
        return NONE;
    }
}

/* A branch `number < trip`, which all trips take behind one that does. */
static bool is_lasting(const trip *t, const sinter_loop_stmt *stmt) {
    int64_t number;
    if (!t->loop || stmt->kind != SINTER_LOOP_IF || stmt->else_body) return false;
    return sinter_loop_is_call(stmt->value, SINTER_SCALAR_lt) &&
           sinter_loop_is_const_int(stmt->value->arguments[0], &number) &&
           stmt->value->arguments[1]->kind == SINTER_LOOP_VAR &&
           stmt->value->arguments[1]->var == t->loop->var;
}

static void add_events(trip *t, const sinter_loop_stmt *first, position at) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_loop_access_list list = {0};
        sinter_loop_collect_stmt_accesses(&t->v->scratch, stmt, &list);
        for (size_t i = 0; i < list.count; i++) {
            const bool copies = list.items[i].is_store && stmt->asynchronous,
                       multiplies = at.multiplies && !list.items[i].is_store;
            if (!copies || at.own)
                push_event(t,
                           copies       ? COPY
                           : multiplies ? PRODUCT
                                        : ACCESS,
                           stmt, &list.items[i], &at);
        }
        const event_kind step = step_of(stmt);
        const sinter_loop_access phases = {
            .buffer = stmt->buffer, .indices = stmt->arguments, .rank = stmt->argument_count};
        const bool lasts = at.branch && step != BARRIER && step != ARRIVE && step != AWAIT;
        const bool meets = step == ARRIVE || step == AWAIT;
        if ((at.plain || lasts || (at.inside && !at.piece && !meets)) && step != NONE)
            push_event(t, step, stmt, &phases, &at);
        position inside = at;
        inside.threads |= is_axis(stmt, SINTER_AXIS_THREAD);
        inside.multiplies |= is_axis(stmt, SINTER_AXIS_WGMMA);
        if (stmt->kind == SINTER_LOOP_WARPS) inside.piece = stmt;
        const bool apart = !inside.threads && (is_round(stmt) || is_axis(stmt, SINTER_AXIS_BLOCK));
        if (at.plain && is_lasting(t, stmt)) inside.branch = stmt;
        if (apart || (stmt->kind == SINTER_LOOP_IF && !at.plain)) inside.branch = NULL;
        inside.plain &= stmt->kind != SINTER_LOOP_IF && !apart;
        inside.own &= !apart;
        position otherwise = inside;
        if (apart || (stmt->kind == SINTER_LOOP_IF && !inside.branch)) {
            inside.inside = enclose(t, at.inside);
            otherwise.inside = enclose(t, at.inside);
        }
        add_events(t, stmt->body, inside);
        add_events(t, stmt->else_body, otherwise);
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

/* Both indices are of a ring of n, one of them perhaps without the remainder, which it does not need; n = 0: both are of none. */
static bool are_rings(const trip *t, sinter_expr a, sinter_expr b, sinter_expr *out_x,
                      sinter_expr *out_y, int64_t *out_n) {
    int64_t n = 0, m = 0, min, max;
    const bool first = is_ring(t, a, out_x, &n), second = is_ring(t, b, out_y, &m);
    if (!first && !second) {
        *out_n = 0;
        *out_x = sinter_loop_map_expr(&t->v->scopes.lets, a);
        *out_y = sinter_loop_map_expr(&t->v->scopes.lets, b);
        return true;
    }
    *out_n = first ? n : m;
    if (first && second) return n == m;
    sinter_expr *plain = first ? out_y : out_x;
    *plain = sinter_loop_map_expr(&t->v->scopes.lets, first ? b : a);
    return sinter_loop_range(t->v->function, *plain, &min, &max) && min >= 0 && max < *out_n;
}

/* The access is at one index of so many dims. */
static uint32_t told_apart(const trip *t, const sinter_loop_access *access) {
    if (!access->is_store || access->stmt->kind != SINTER_LOOP_BOX) return access->rank;
    const sinter_loop_box box = sinter_loop_box_of(access->stmt);
    return sinter_loop_box_leading(t->v->function, &box);
}

/* A dim of the two is certain to differ, where the copy is `distance` trips before the access. */
static bool are_apart(const trip *t, const sinter_loop_access *copy,
                      const sinter_loop_access *other, int64_t distance) {
    sinter_loop_builder *b = &t->v->scopes.builder;
    const uint32_t rank =
        told_apart(t, copy) < told_apart(t, other) ? told_apart(t, copy) : told_apart(t, other);
    for (uint32_t i = 0; t->loop && t->loop->kind == SINTER_LOOP_FOR && i < rank; i++) {
        sinter_expr x, y, stride, rest;
        sinter_linear difference, right;
        int64_t n, by;
        if (!are_rings(t, copy->indices[i], other->indices[i], &x, &y, &n) ||
            !sinter_linear_of(x, &difference) || !sinter_linear_of(y, &right) ||
            !sinter_linear_accumulate(&difference, &right, -1) || difference.count ||
            !sinter_loop_affine(b, x, t->loop->var, &stride, &rest) ||
            !sinter_loop_is_const_int(stride, &by))
            continue;
        int64_t moved;
        if (!n && (__builtin_mul_overflow(by, t->loop->step * distance, &moved) ||
                   difference.constant == moved))
            continue;
        if (!n || (difference.constant % n - by % n * t->loop->step % n * distance) % n)
            return true;
    }
    return false;
}

/* ---- phases ---- */

static bool is_same_piece(const event *a, const event *b) {
    const sinter_loop_stmt *x = a->piece, *y = b->piece;
    return x == y || (x && y && x->first_warp == y->first_warp && x->warp_count == y->warp_count);
}

static bool is_box(const event *e) {
    return e->kind == COPY && e->stmt->kind == SINTER_LOOP_BOX;
}

/* The x of phases that are indexed by x % n, of which there are n; of an AWAIT, whose phase is x / n and a number, that number. */
static bool is_turn(const trip *t, const event *e, sinter_expr *out_x, int64_t *out_n,
                    int64_t *out_turns) {
    const sinter_loop_buffer_info *info = &t->v->function->buffers.items[e->access.buffer];
    sinter_expr index = sinter_loop_map_expr(&t->v->scopes.lets, e->access.indices[0]);
    sinter_linear phase, x, difference;
    int64_t min, max, n;
    if (!sinter_loop_is_const_int(info->dims[0], out_n)) return false;
    if (!is_ring(t, index, out_x, &n) || n != *out_n) {
        if (!sinter_loop_range(t->v->function, index, &min, &max) || min < 0 || max >= *out_n)
            return false;
        *out_x = index;
    }
    if (e->kind == ARRIVE) return true;
    if (!sinter_linear_of(*out_x, &x) ||
        !sinter_linear_of(sinter_loop_map_expr(&t->v->scopes.lets, e->stmt->value), &phase))
        return false;
    *out_turns = phase.constant;
    if (!phase.count) {
        const bool known = sinter_loop_range(t->v->function, *out_x, &min, &max) && min >= 0;
        *out_turns -= min / *out_n;
        return known && min / *out_n == max / *out_n;
    }
    sinter_expr turn = phase.terms[0].factors[0];
    return phase.count == 1 && phase.terms[0].coefficient == 1 && phase.terms[0].count == 1 &&
           sinter_loop_is_call(turn, SINTER_SCALAR_div) &&
           sinter_loop_is_const_int(turn->arguments[1], &n) && n == *out_n &&
           sinter_linear_of(turn->arguments[0], &difference) &&
           sinter_linear_accumulate(&difference, &x, -1) && !difference.count &&
           !difference.constant;
}

/* What a piece awaits so many trips after an arrival is that one, or one behind it. */
static bool meets(const trip *t, const event *arrive, const event *await, int64_t distance) {
    sinter_loop_builder *b = &t->v->scopes.builder;
    sinter_expr x, y, stride, rest;
    sinter_linear difference, left;
    int64_t n, turns = 0, by;
    return t->loop && t->loop->kind == SINTER_LOOP_FOR &&
           arrive->access.buffer == await->access.buffer && is_turn(t, arrive, &x, &n, &turns) &&
           is_turn(t, await, &y, &n, &turns) && sinter_linear_of(y, &difference) &&
           sinter_linear_of(x, &left) && sinter_linear_accumulate(&difference, &left, -1) &&
           !difference.count && sinter_loop_affine(b, x, t->loop->var, &stride, &rest) &&
           sinter_loop_is_const_int(stride, &by) && by * t->loop->step == 1 &&
           difference.constant + distance + turns * n >= 0;
}

/* What has to come between two events: a commit, a wait that is enough, and other steps after these; all by the piece of warps that the first
 * is of. In place of a barrier the piece may arrive where the second one's then awaits that. */
typedef struct passage {
    event_kind commit, wait; /* NONE: neither */
    event_kind then[2];      /* up to NONE */
} passage;
static const passage copied = {COMMIT, WAIT, {NONE, NONE}},
                     copied_for_others = {COMMIT, WAIT, {BARRIER, NONE}},
                     ordered = {NONE, NONE, {BARRIER, NONE}},
                     multiplied = {COMMIT_PRODUCTS, WAIT_PRODUCTS, {BARRIER, NONE}},
                     copied_for_product = {COMMIT, WAIT, {FENCE, BARRIER}},
                     stored_for_product = {NONE, NONE, {FENCE, BARRIER}};

/* What the first event's piece arrives at tells that it is done: of a box the phases that it is for. */
static bool tells(const event *first, const event *arrive) {
    if (!is_box(first)) return true;
    const sinter_loop_box box = sinter_loop_box_of(first->stmt);
    return arrive->access.buffer == box.phases &&
           sinter_loop_expr_equal(arrive->access.indices[0], box.phase);
}

/* The event is a barrier, or awaits what the first one's piece arrived at behind event number `since`. */
static bool is_barrier(const trip *t, size_t first, size_t second, size_t since, size_t at) {
    const size_t count = t->events.count;
    const event *e = &t->events.items[at % count];
    if (e->kind == BARRIER) return !is_box(&t->events.items[first]);
    if (e->kind != AWAIT || !is_same_piece(e, &t->events.items[second])) return false;
    for (size_t i = since + 1; i < at; i++) {
        const event *other = &t->events.items[i % count];
        if (other->kind == ARRIVE && is_same_piece(other, &t->events.items[first]) &&
            tells(&t->events.items[first], other) &&
            meets(t, other, e, (int64_t)(at / count - i / count)))
            return true;
    }
    return false;
}

static bool is_around(const enclosure *outer, const enclosure *inner) {
    while (inner && inner != outer) inner = inner->outer;
    return inner == outer;
}

/* Event number `at` can't be missed on the way from the first event to the second one, which is number `last`. */
static bool is_on_the_way(const trip *t, size_t first, size_t last, size_t at) {
    const size_t count = t->events.count;
    const enclosure *inside = t->events.items[at % count].inside;
    return !inside || (at < count && is_around(inside, t->events.items[first].inside)) ||
           (at / count == last / count && is_around(inside, t->events.items[last % count].inside));
}

/* They do, from the first event to the second one `distance` trips later. */
static bool is_done(const trip *t, size_t first, size_t second, int64_t distance,
                    const passage *p) {
    bool committed = false, waited = p->commit == NONE;
    uint32_t age = 0, next = 0;
    const size_t count = t->events.count, last = (size_t)distance * count + second;
    size_t since = first;
    for (size_t i = first + 1; i < last; i++) {
        const event *e = &t->events.items[i % count];
        if (!is_on_the_way(t, first, last, i)) continue;
        const bool own = is_same_piece(e, &t->events.items[first]) &&
                         (!e->branch || e->branch == t->events.items[first].branch);
        if (waited) {
            if (next == 2 || p->then[next] == NONE) return true;
            const bool comes = p->then[next] == BARRIER ? is_barrier(t, first, second, since, i)
                                                        : own && e->kind == p->then[next];
            if (comes) since = i;
            next += comes;
        } else if (own && e->kind == p->commit) {
            age += committed;
            committed = true;
        } else if (own && e->kind == p->wait) {
            waited = committed && age >= e->stmt->pending;
            since = i;
        }
    }
    return waited && (next == 2 || p->then[next] == NONE);
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

/* The second event, the next time that it may meet the element of the first, comes with what has to be between them. */
static bool follows(trip *t, size_t first, size_t second, const passage *p) {
    const event *from = &t->events.items[first], *to = &t->events.items[second];
    int64_t distance = first < second && !are_branches(t->body, from->stmt, to->stmt) ? 0 : 1;
    if (!t->loop && distance) return true; /* there is no trip after this one */
    while (distance <= 2 * MAX_RING && are_apart(t, &from->access, &to->access, distance))
        distance++;
    return distance > 2 * MAX_RING || is_done(t, first, second, distance, p);
}

static void check_copy_pair(trip *t, size_t copy, size_t access) {
    sinter_loop_verifier *v = t->v;
    const event *from = &t->events.items[copy], *to = &t->events.items[access];
    if (follows(t, copy, access,
                is_box(from)              ? &ordered
                : is_same_piece(from, to) ? &copied
                                          : &copied_for_others))
        return;
    v->stmt = to->stmt;
    sinter_loop_verify_error(v, "loop_c19", "%%%s is %s while a copy to it may be under way",
                             v->function->buffers.items[to->access.buffer].name,
                             to->access.is_store ? "written" : "read");
}

/* What is written, and a product that reads it. */
static void check_product_pair(trip *t, size_t write, size_t product) {
    sinter_loop_verifier *v = t->v;
    const event *from = &t->events.items[write], *to = &t->events.items[product];
    const char *name = v->function->buffers.items[to->access.buffer].name;
    v->stmt = to->stmt;
    if (!follows(t, write, product,
                 is_box(from)         ? &ordered
                 : from->kind == COPY ? &copied_for_product
                                      : &stored_for_product))
        sinter_loop_verify_error(
            v, "loop_c23", "%%%s is multiplied with no fence and barrier behind what wrote it",
            name);
    v->stmt = from->stmt;
    if (!follows(t, product, write, &multiplied))
        sinter_loop_verify_error(
            v, "loop_c23", "%%%s is written while a product that reads it may be under way", name);
}

/* What is written, and read or written by another piece of warps. */
static void check_pieces(trip *t, size_t write, size_t access) {
    sinter_loop_verifier *v = t->v;
    const event *from = &t->events.items[write], *to = &t->events.items[access];
    v->stmt = to->stmt;
    if ((from->kind != COPY && !follows(t, write, access, &ordered)) ||
        !follows(t, access, write, &ordered))
        sinter_loop_verify_error(v, "loop_c19", "%%%s is %s while other warps may write it",
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

static bool is_product_of(const trip *t, size_t at, sinter_loop_buffer buffer) {
    const event *e = &t->events.items[at];
    return e->kind == PRODUCT && e->access.buffer == buffer;
}

static bool is_multiplied(const trip *t, sinter_loop_buffer buffer) {
    for (size_t i = 0; i < t->events.count; i++)
        if (is_product_of(t, i, buffer)) return true;
    return false;
}

/* What the trip writes itself, and waits for. */
static void check_write(trip *t, size_t write) {
    sinter_loop_verifier *v = t->v;
    const event *e = &t->events.items[write];
    const sinter_loop_buffer buffer = e->access.buffer;
    const sinter_loop_buffer_info *info = &v->function->buffers.items[buffer];
    const bool copies = e->kind == COPY;
    if (info->scope != SINTER_SCOPE_SHARED || (!copies && !e->piece && !is_multiplied(t, buffer)))
        return;
    v->stmt = e->stmt;
    if ((copies || is_multiplied(t, buffer)) && !is_of_loop(t, buffer))
        sinter_loop_verify_error(v, copies ? "loop_c19" : "loop_c23",
                                 "%%%s is not allocated beside the one loop that %s it", info->name,
                                 copies ? "copies to" : "writes");
    for (size_t k = 0; k < t->events.count; k++) {
        const event *other = &t->events.items[k];
        const bool product = is_product_of(t, k, buffer);
        if (copies && (product || other->kind == ACCESS) && other->access.buffer == buffer)
            check_copy_pair(t, write, k);
        if (other->kind == ACCESS && other->access.buffer == buffer && !is_same_piece(e, other))
            check_pieces(t, write, k);
        if (product) check_product_pair(t, write, k);
    }
}

static void check_list(sinter_loop_verifier *v, const sinter_loop_stmt *loop,
                       const sinter_loop_stmt *body, const sinter_loop_stmt *list) {
    trip t = {.v = v, .loop = loop, .body = body, .list = list};
    add_events(&t, body, (position){.plain = true, .own = true});
    for (size_t i = 0; i < t.events.count; i++) {
        const event *e = &t.events.items[i];
        if (e->kind == COPY || (e->kind == ACCESS && e->own && e->access.is_store))
            check_write(&t, i);
    }
}

static void walk(sinter_loop_verifier *v, const sinter_loop_stmt *list) {
    for (const sinter_loop_stmt *stmt = list; stmt; stmt = stmt->next) {
        if (is_axis(stmt, SINTER_AXIS_THREAD) || !has_work(stmt->body)) continue;
        if (is_round(stmt)) check_list(v, stmt, stmt->body, list);
        if (is_axis(stmt, SINTER_AXIS_BLOCK)) check_list(v, NULL, stmt->body, stmt->body);
        walk(v, stmt->body);
        walk(v, stmt->else_body);
    }
}

/* ---- sums ---- */

typedef struct flight {
    bool open, under_way; /* products that no commit closed, that no wait has told the end of */
} flight;

typedef struct sums {
    sinter_loop_verifier *v;
    bool *multiplied; /* by buffer */
    bool said;
} sums;

static void mark_sums(sums *s, const sinter_loop_stmt *first, bool inside) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const bool multiplies = inside || is_axis(stmt, SINTER_AXIS_WGMMA);
        if (multiplies && stmt->kind == SINTER_LOOP_STORE) s->multiplied[stmt->buffer] = true;
        mark_sums(s, stmt->body, multiplies);
        mark_sums(s, stmt->else_body, multiplies);
    }
}

static void check_touch(sums *s, const sinter_loop_stmt *stmt) {
    sinter_loop_access_list list = {0};
    sinter_loop_collect_stmt_accesses(&s->v->scratch, stmt, &list);
    for (size_t i = 0; i < list.count && !s->said; i++) {
        if (!s->multiplied[list.items[i].buffer]) continue;
        s->v->stmt = stmt;
        s->said = true;
        sinter_loop_verify_error(s->v, "loop_c23",
                                 "%%%s is touched while products that add to it may be under way",
                                 s->v->function->buffers.items[list.items[i].buffer].name);
    }
}

static void follow_sums(sums *s, const sinter_loop_stmt *first, flight *f) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (is_axis(stmt, SINTER_AXIS_WGMMA)) {
            f->open = f->under_way = true;
            continue;
        }
        if (stmt->kind == SINTER_LOOP_WARPS) {
            follow_sums(s, stmt->body, f);
            continue;
        }
        if (f->under_way) check_touch(s, stmt);
        const event_kind step = step_of(stmt);
        if (step == COMMIT_PRODUCTS) f->open = false;
        if (step == WAIT_PRODUCTS && !stmt->pending && !f->open) f->under_way = false;
        flight other = *f;
        follow_sums(s, stmt->body, f);
        if ((stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_WHILE) &&
            has_work(stmt->body))
            follow_sums(s, stmt->body, f); /* what a trip leaves under way, the next one meets */
        follow_sums(s, stmt->else_body, &other);
        f->open |= other.open;
        f->under_way |= other.under_way;
    }
}

static void check_sums(sinter_loop_verifier *v, const sinter_loop_stmt *body) {
    sums s = {.v = v,
              .multiplied = SINTER_NEW_ARRAY(&v->scratch, bool, v->function->buffers.count)};
    flight f = {0};
    mark_sums(&s, body, false);
    follow_sums(&s, body, &f);
    v->stmt = NULL;
    if (f.under_way)
        sinter_loop_verify_error(v, "loop_c23", "products may be under way at the end");
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
    if (!has_work(body)) return;
    check_copies(v, body, NULL);
    if (v->error_count) return;
    check_list(v, NULL, body, body);
    walk(v, body);
    check_sums(v, body);
}
