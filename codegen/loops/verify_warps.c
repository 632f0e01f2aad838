/* The verifier of the loop IR, pieces of a block's warps and the phases that order them (codegen/loops/loop.h): which warps there are, what may stand
 * beside pieces, and that each phase's arrivals come from one piece. What orders what is a matter of verify_copy.c.
 * Needs: a function whose structure is right. Test: tests/codegen/loops/verify_warps.loops */
#include "codegen/loops/box.h"
#include "codegen/loops/verify.h"
#include "codegen/loops/wgmma.h"

enum { AXES = 3, MAX_WARPS = 32, MAX_COUNTERS = 64 };

typedef struct place {
    const sinter_loop_stmt *piece; /* NULL: outside */
    bool in_thread;
} place;

typedef struct pieces {
    sinter_loop_verifier *v;
    SINTER_VECTOR(const sinter_loop_stmt *) items;
} pieces;

static bool has_warps(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_WARPS || has_warps(stmt->body) || has_warps(stmt->else_body))
            return true;
    return false;
}

static bool is_thread(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD;
}

/* Thread axes in a piece: its warps, each of 8 groups of 4 lanes, as instructions see them. */
static void check_threads(pieces *p, const sinter_loop_stmt *loop, const place *at) {
    const int64_t wanted[AXES] = {at->piece ? at->piece->warp_count : 0, SINTER_MMA_GROUPS,
                                  SINTER_MMA_MEMBERS};
    bool fits = at->piece != NULL;
    int64_t lower, count;
    for (int i = 0; fits && i < AXES; i++, loop = loop->body)
        fits = loop && is_thread(loop) && (!i || !loop->next) && loop->step == 1 &&
               sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 &&
               sinter_loop_trip_count(loop, &count) && count == wanted[i];
    if (!fits)
        sinter_loop_verify_error(p->v, "loop_c25",
                                 "thread axes are those of a piece's warps, of %d groups of %d "
                                 "lanes each",
                                 SINTER_MMA_GROUPS, SINTER_MMA_MEMBERS);
}

static void check_piece(pieces *p, const sinter_loop_stmt *stmt, const place *at) {
    const uint32_t end = stmt->first_warp + stmt->warp_count;
    if (at->piece || at->in_thread || p->v->is_host || !stmt->warp_count || end > MAX_WARPS)
        sinter_loop_verify_error(p->v, "loop_c25",
                                 "a piece of up to %d warps stands outside of others and of "
                                 "thread axes, in a kernel",
                                 MAX_WARPS);
    for (size_t i = 0; i < p->items.count; i++) {
        const sinter_loop_stmt *other = p->items.items[i];
        const bool same =
            other->first_warp == stmt->first_warp && other->warp_count == stmt->warp_count;
        if (!same && other->first_warp < end &&
            stmt->first_warp < other->first_warp + other->warp_count)
            sinter_loop_verify_error(p->v, "loop_c25", "pieces share some of their warps");
    }
    sinter_vector_push(&p->v->scratch, &p->items, stmt);
}

static void check_phases(pieces *p, const sinter_loop_stmt *stmt, const place *at) {
    const sinter_loop_buffer_info *info = &p->v->function->buffers.items[stmt->buffer];
    int64_t count = 0;
    const bool fits = info->scope == SINTER_SCOPE_SHARED && info->dtype == SINTER_DTYPE_u64 &&
                      info->rank == 1 && !info->swizzle &&
                      sinter_loop_is_const_int(info->dims[0], &count) && count >= 1 &&
                      count <= MAX_COUNTERS;
    if (!fits || at->piece || at->in_thread)
        sinter_loop_verify_error(p->v, "loop_c26",
                                 "%%%s: phases are 1 to %d u64 of shared memory, made for all "
                                 "warps of a block",
                                 info->name, MAX_COUNTERS);
}

static void check_meeting(pieces *p, const sinter_loop_stmt *stmt, const place *at) {
    const sinter_loop_buffer_info *info = &p->v->function->buffers.items[stmt->buffer];
    if (!info->arrivals || !at->piece || at->in_thread)
        sinter_loop_verify_error(p->v, "loop_c26",
                                 "a piece of warps arrives at phases, or awaits one, outside of "
                                 "thread axes");
    else if (stmt->kind == SINTER_LOOP_ARRIVE && info->arrivals != at->piece->warp_count)
        sinter_loop_verify_error(p->v, "loop_c26", "%%%s: %u warps arrive at a phase of %u",
                                 info->name, at->piece->warp_count, info->arrivals);
}

static void check_box(pieces *p, const sinter_loop_stmt *stmt, const place *at) {
    sinter_loop_scopes scopes;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, (sinter_loop_program *)(uintptr_t)p->v->program,
                            p->v->function, &scratch);
    const char *wrong = sinter_loop_check_box(&scopes, stmt);
    if (!wrong && (!at->piece || at->in_thread))
        wrong = "a piece of warps copies it, outside of thread axes";
    if (wrong) sinter_loop_verify_error(p->v, "loop_c27", "a box can't be copied: %s", wrong);
    sinter_arena_deinit(&scratch);
}

/* What all threads do alike beside pieces: nothing that is seen. */
static void check_beside(pieces *p, const sinter_loop_stmt *stmt, const place *at) {
    const bool plain =
        stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_ALLOC ||
        stmt->kind == SINTER_LOOP_COMMENT || stmt->kind == SINTER_LOOP_WARPS ||
        (stmt->kind == SINTER_LOOP_DECLARE && !p->v->function->vars.items[stmt->var].is_mutable);
    const bool meets = stmt->kind == SINTER_LOOP_BARRIER || stmt->kind == SINTER_LOOP_REDUCE ||
                       stmt->kind == SINTER_LOOP_FAIL; /* others would wait for what stopped */
    const bool arrives = stmt->kind == SINTER_LOOP_ARRIVE || stmt->kind == SINTER_LOOP_AWAIT;
    if (meets || (!at->piece && !plain && !arrives))
        sinter_loop_verify_error(p->v, "loop_c25",
                                 "beside pieces of warps there are loops and memory alone; no "
                                 "barrier, and nothing fails");
}

/* Phases are no memory. */
static void check_accesses(pieces *p, const sinter_loop_stmt *stmt) {
    sinter_loop_access_list list = {0};
    sinter_loop_collect_stmt_accesses(&p->v->scratch, stmt, &list);
    for (size_t i = 0; i < list.count; i++)
        if (p->v->function->buffers.items[list.items[i].buffer].arrivals)
            sinter_loop_verify_error(p->v, "loop_c26", "%%%s counts phases: it is no memory",
                                     p->v->function->buffers.items[list.items[i].buffer].name);
}

static void walk(pieces *p, const sinter_loop_stmt *first, place at, bool some) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        p->v->stmt = stmt;
        place inside = at;
        if (some) check_beside(p, stmt, &at);
        check_accesses(p, stmt);
        if (stmt->kind == SINTER_LOOP_ARRIVE || stmt->kind == SINTER_LOOP_AWAIT)
            check_meeting(p, stmt, &at);
        if (stmt->kind == SINTER_LOOP_BOX) check_box(p, stmt, &at);
        if (stmt->kind == SINTER_LOOP_ALLOC && p->v->function->buffers.items[stmt->buffer].arrivals)
            check_phases(p, stmt, &at);
        if (stmt->kind == SINTER_LOOP_WARPS) {
            check_piece(p, stmt, &at);
            inside.piece = stmt;
        }
        if (some && is_thread(stmt) && !at.in_thread) check_threads(p, stmt, &at);
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_WGMMA && at.piece &&
            at.piece->first_warp % SINTER_WGMMA_WARPS)
            sinter_loop_verify_error(p->v, "loop_c25",
                                     "a warpgroup begins at a multiple of %d warps",
                                     SINTER_WGMMA_WARPS);
        inside.in_thread |= is_thread(stmt);
        walk(p, stmt->body, inside, some);
        walk(p, stmt->else_body, inside, some);
    }
}

void sinter_loop_verify_warps(sinter_loop_verifier *v) {
    pieces p = {.v = v};
    walk(&p, v->function->body, (place){0}, has_warps(v->function->body));
}
