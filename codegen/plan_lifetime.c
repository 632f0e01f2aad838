/* Lifetimes of the host's heap buffers, through aliases, branches and loops; see plan_memory.h.
 *
 * One walk numbers the statements and notes which memory each may reach; loops then stretch what they use again in the
 * next iteration. Branches need nothing: what only one side uses is dead on the other, and positions say so.
 * Test: tests/unit/plan_memory_test.c */
#include "codegen/loops/rewrite.h"
#include "codegen/plan_memory.h"

typedef struct use {
    sinter_loop_buffer buffer;
    uint32_t position;
} use;
typedef struct loop_range {
    uint32_t begin, end;
} loop_range;
typedef SINTER_VECTOR(sinter_loop_buffer) buffer_list;

typedef struct walker {
    const sinter_loop_function *host;
    sinter_arena *arena;
    sinter_plan_lifetime *lifetimes;
    buffer_list *sources; /* by alias */
    uint32_t *mark, generation;
    uint32_t position;
    SINTER_VECTOR(use) uses;
    SINTER_VECTOR(loop_range) loops;
} walker;

static void find_sources(walker *w, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_BIND)
            sinter_vector_push(w->arena, &w->sources[s->buffer], s->source);
        find_sources(w, s->body);
        find_sources(w, s->else_body);
    }
}

/* ---- uses ---- */

static void reach(walker *w, sinter_loop_buffer buffer) {
    if (!buffer || w->mark[buffer] == w->generation) return;
    w->mark[buffer] = w->generation;
    sinter_loop_scope scope = w->host->buffers.items[buffer].scope;
    if (scope == SINTER_SCOPE_HEAP || scope == SINTER_SCOPE_INPUT) {
        use one = {buffer, w->position};
        sinter_vector_push(w->arena, &w->uses, one);
    }
    for (size_t i = 0; i < w->sources[buffer].count; i++) reach(w, w->sources[buffer].items[i]);
}

static void reach_expr(void *user, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_LOAD) reach(user, expr->buffer);
}

static void walk_list(walker *w, sinter_loop_stmt *first);

static void walk_stmt(walker *w, sinter_loop_stmt *s) {
    w->generation++;
    sinter_loop_walk_stmt_exprs(s, reach_expr, w);
    for (uint32_t i = 0; i < s->buffer_argument_count; i++) reach(w, s->buffer_arguments[i]);
    reach(w, s->source);
    if (s->kind == SINTER_LOOP_STORE || s->kind == SINTER_LOOP_TAKE) reach(w, s->buffer);
    if (s->kind == SINTER_LOOP_ALLOC) {
        const sinter_loop_buffer_info *info = &w->host->buffers.items[s->buffer];
        for (uint32_t k = 0; k < info->rank; k++)
            sinter_loop_walk_expr(info->dims[k], reach_expr, w);
        if (info->scope == SINTER_SCOPE_HEAP)
            w->lifetimes[s->buffer] = (sinter_plan_lifetime){.allocated = true,
                                                             .first = w->position,
                                                             .last = w->position,
                                                             .alloc = s,
                                                             .after = s};
        else if (!w->lifetimes[s->buffer].first)
            w->lifetimes[s->buffer].first = w->position;
    }
    if (s->kind == SINTER_LOOP_CALL_KERNEL && s->copies) {
        w->lifetimes[s->buffer_arguments[1]].copied_from = s->buffer_arguments[0];
        w->lifetimes[s->buffer_arguments[1]].copied_at = w->position;
    }
    bool loops = s->kind == SINTER_LOOP_FOR || s->kind == SINTER_LOOP_WHILE;
    uint32_t begin = w->position;
    walk_list(w, s->body);
    walk_list(w, s->else_body);
    if (loops) {
        loop_range range = {begin, ++w->position};
        sinter_vector_push(w->arena, &w->loops, range);
    }
}

static void walk_list(walker *w, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *s = first; s; s = s->next) {
        w->position++;
        walk_stmt(w, s);
    }
}

/* ---- where lifetimes end ---- */

static bool apply_use(walker *w, use one, sinter_diag *diag) {
    sinter_plan_lifetime *life = &w->lifetimes[one.buffer];
    uint32_t last = one.position;
    for (size_t i = 0; i < w->loops.count; i++) {
        loop_range loop = w->loops.items[i];
        if (one.position < loop.begin || one.position > loop.end) continue;
        bool inside = life->first > loop.begin && life->first < loop.end;
        if (inside && one.position < life->first)
            return sinter_error(diag, w->host->name,
                                "buffer '%s' of one iteration is used in the next [plan_c1]",
                                w->host->buffers.items[one.buffer].name);
        if (!inside && loop.end > last) last = loop.end;
    }
    if (last > life->last) life->last = last;
    return true;
}

typedef struct stmt_end {
    sinter_loop_stmt *stmt;
    uint32_t position;
} stmt_end;

/* The statement of each list that holds the last use of what the list allocates. */
static void find_ends(walker *w, sinter_loop_stmt *first, uint32_t *position) {
    SINTER_VECTOR(stmt_end) ends = {0};
    for (sinter_loop_stmt *s = first; s; s = s->next) {
        ++*position;
        find_ends(w, s->body, position);
        find_ends(w, s->else_body, position);
        if (s->kind == SINTER_LOOP_FOR || s->kind == SINTER_LOOP_WHILE) ++*position;
        stmt_end end = {s, *position};
        sinter_vector_push(w->arena, &ends, end);
    }
    for (sinter_loop_stmt *a = first; a; a = a->next) {
        sinter_plan_lifetime *life = a->kind == SINTER_LOOP_ALLOC ? &w->lifetimes[a->buffer] : NULL;
        if (!life || !life->allocated) continue;
        size_t low = 0, high = ends.count; /* the first that ends there or later */
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (ends.items[middle].position < life->last)
                low = middle + 1;
            else
                high = middle;
        }
        life->after = low < ends.count ? ends.items[low].stmt : NULL;
    }
}

sinter_plan_lifetime *sinter_plan_lifetimes(const sinter_loop_program *program, sinter_arena *arena,
                                            sinter_diag *diag) {
    size_t count = program->host->buffers.count + 1;
    walker w = {.host = program->host, .arena = arena};
    w.lifetimes = SINTER_NEW_ARRAY(arena, sinter_plan_lifetime, count);
    w.sources = SINTER_NEW_ARRAY(arena, buffer_list, count);
    w.mark = SINTER_NEW_ARRAY(arena, uint32_t, count);
    find_sources(&w, program->host->body);
    walk_list(&w, program->host->body);
    for (size_t i = 0; i < w.uses.count; i++)
        if (!apply_use(&w, w.uses.items[i], diag)) return NULL;
    uint32_t position = 0;
    find_ends(&w, program->host->body, &position);
    return w.lifetimes;
}
