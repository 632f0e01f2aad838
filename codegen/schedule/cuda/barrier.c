/* Barriers in what the threads of a block run: wherever a statement touches what another wrote since the last one, or writes what
 * another read, also from one round of a serial loop to the next. Loops that threads run alike and conditions are looked
 * into; a loop over threads is one statement, whose iterations are apart. Loops to which a verb has given all barriers that they need (tiles of
 * a contraction) stay as they are: what they touch until the first may need one in front of them.
 * Test: tests/codegen/schedule/cuda_block.loops, tests/codegen/schedule/cuda.loops */
#include "codegen/schedule/cuda.h"

typedef struct placing {
    const sinter_schedule *schedule;
    const sinter_loop_function *function;
    sinter_loop_builder builder;
    sinter_arena scratch;
    const sinter_loop_var *done; /* loops that have all their barriers */
    size_t done_count;
} placing;

/* By buffer: what threads did since the last barrier. */
typedef struct touched {
    bool *written, *read;
} touched;

static touched make_touched(placing *p) {
    const size_t count = p->function->buffers.count;
    return (touched){SINTER_NEW_ARRAY(&p->scratch, bool, count),
                     SINTER_NEW_ARRAY(&p->scratch, bool, count)};
}

static void add_touched(const placing *p, touched *to, const touched *from) {
    for (size_t i = 0; i < p->function->buffers.count; i++) {
        to->written[i] |= from->written[i];
        to->read[i] |= from->read[i];
    }
}

static void forget(const placing *p, touched *t) {
    for (size_t i = 0; i < p->function->buffers.count; i++) t->written[i] = t->read[i] = false;
}

/* Memory that threads of a block see of each other: all but their own. */
static bool is_common(const placing *p, sinter_loop_buffer buffer) {
    sinter_loop_scope scope = p->function->buffers.items[buffer].scope;
    return scope == SINTER_SCOPE_SHARED || scope == SINTER_SCOPE_OUTPUT ||
           scope == SINTER_SCOPE_INOUT;
}

/* What the statement touches, with or without its bodies. */
static touched touched_by(placing *p, const sinter_loop_stmt *stmt, bool bodies) {
    touched t = make_touched(p);
    sinter_loop_access_list list = {0};
    sinter_loop_stmt alone = *stmt;
    alone.next = NULL;
    if (bodies)
        sinter_loop_collect_accesses(&p->scratch, &alone, &list);
    else
        sinter_loop_collect_stmt_accesses(&p->scratch, &alone, &list);
    for (size_t i = 0; i < list.count; i++) {
        const sinter_loop_access *a = &list.items[i];
        if (!is_common(p, a->buffer)) continue;
        t.written[a->buffer] |= a->is_store;
        t.read[a->buffer] |= !a->is_store || a->combine;
    }
    return t;
}

static bool meets(const placing *p, const touched *before, const touched *after) {
    for (size_t i = 0; i < p->function->buffers.count; i++)
        if ((before->written[i] && (after->written[i] || after->read[i])) ||
            (before->read[i] && after->written[i]))
            return true;
    return false;
}

static sinter_loop_stmt **put_barrier(placing *p, sinter_loop_stmt **link, touched *since) {
    p->builder.tail = link;
    sinter_loop_barrier(&p->builder);
    forget(p, since);
    return p->builder.tail;
}

static bool is_looked_into(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_IF ||
           (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL);
}

/* Adds what the list touches until all threads have met at a barrier of it; true: they do. */
static bool touch_until_barrier(placing *p, const sinter_loop_stmt *first, touched *to) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        int64_t trips;
        if (stmt->kind == SINTER_LOOP_BARRIER) return true;
        const bool nests = is_looked_into(stmt);
        const touched own = touched_by(p, stmt, !nests);
        add_touched(p, to, &own);
        if (!nests) continue;
        const bool meet = touch_until_barrier(p, stmt->body, to),
                   meet_otherwise = touch_until_barrier(p, stmt->else_body, to);
        if (stmt->kind == SINTER_LOOP_IF
                ? meet && meet_otherwise
                : meet && sinter_loop_trip_count(stmt, &trips) && trips > 0)
            return true;
    }
    return false;
}

/* What rounds of a serial loop touch, before they meet, that another round may have touched: of rounds that are apart, the block's memory
 * alone, which they have one after the other. */
static touched touched_by_rounds(placing *p, const sinter_loop_stmt *loop) {
    touched round = make_touched(p);
    touch_until_barrier(p, loop->body, &round);
    if (!sinter_schedule_cuda_is_independent(p->schedule, loop->var)) return round;
    for (size_t i = 0; i < p->function->buffers.count; i++)
        if (p->function->buffers.items[i].scope != SINTER_SCOPE_SHARED)
            round.written[i] = round.read[i] = false;
    return round;
}

static void put_barriers(placing *p, sinter_loop_stmt **first, touched *since);

/* A loop that threads run alike, or a condition: it may run not at all, and a loop's next round follows its last statement. */
static void put_inside(placing *p, sinter_loop_stmt *stmt, touched *since) {
    touched skipped = make_touched(p), otherwise = make_touched(p);
    add_touched(p, &skipped, since);
    add_touched(p, &otherwise, since);
    put_barriers(p, &stmt->body, since);
    if (stmt->kind == SINTER_LOOP_FOR) {
        touched round = touched_by_rounds(p, stmt);
        sinter_loop_stmt **end = &stmt->body;
        while (*end) end = &(*end)->next;
        if (meets(p, since, &round)) put_barrier(p, end, since);
    } else {
        put_barriers(p, &stmt->else_body, &otherwise);
        add_touched(p, since, &otherwise);
    }
    add_touched(p, since, &skipped);
}

/* Somebody else has put barriers there. */
static bool has_its_own(const placing *p, const sinter_loop_stmt *stmt) {
    for (size_t i = 0; stmt->kind == SINTER_LOOP_FOR && i < p->done_count; i++)
        if (p->done[i] == stmt->var) return true;
    return false;
}

static void put_barriers(placing *p, sinter_loop_stmt **first, touched *since) {
    for (sinter_loop_stmt **link = first; *link; link = &(*link)->next) {
        const bool done = has_its_own(p, *link), nests = is_looked_into(*link) && !done;
        touched own = touched_by(p, *link, !nests), before = make_touched(p);
        sinter_loop_stmt alone = **link;
        alone.next = NULL;
        if (done)
            touch_until_barrier(p, &alone, &before);
        else
            add_touched(p, &before, &own);
        if (meets(p, since, &before)) link = put_barrier(p, link, since);
        add_touched(p, since, &own);
        if (nests) put_inside(p, *link, since);
    }
}

void sinter_schedule_cuda_put_barriers(sinter_schedule *schedule, sinter_loop_stmt **first,
                                       const sinter_loop_var *done, size_t done_count) {
    placing p = {.schedule = schedule,
                 .function = schedule->function,
                 .done = done,
                 .done_count = done_count};
    sinter_arena_init(&p.scratch);
    sinter_loop_builder_init(&p.builder, schedule->program, schedule->function);
    touched since = make_touched(&p);
    put_barriers(&p, first, &since);
    sinter_arena_deinit(&p.scratch);
}
