/* See part.h. Taking out and putting back are the same walk with other tables: every number is replaced by the one that the
 * other function has for it, which it gets when it is first met. */
#include "codegen/loops/part.h"
#include "ir/base/map.h"

#include <assert.h>

/* ---- which statements belong together ---- */

typedef struct part_search {
    size_t *var_places,
        *buffer_places; /* of the statement at the top that declares it, from 1; 0: none does */
    size_t first;       /* of what the statement uses */
} part_search;

static void note_place(part_search *s, size_t place) {
    if (place && place < s->first) s->first = place;
}

static void note_expr(void *user, sinter_expr expr) {
    part_search *s = user;
    if (expr->kind == SINTER_LOOP_VAR) note_place(s, s->var_places[expr->var]);
    if (expr->kind == SINTER_LOOP_LOAD) note_place(s, s->buffer_places[expr->buffer]);
}

static bool note_stmt(void *user, sinter_loop_stmt *stmt) {
    part_search *s = user;
    sinter_loop_walk_stmt_exprs(stmt, note_expr, s);
    note_place(s, s->var_places[stmt->var]);
    note_place(s, s->buffer_places[stmt->buffer]);
    note_place(s, s->buffer_places[stmt->source]);
    return true;
}

/* What an allocated buffer's dims are made of is read where it is allocated. */
static void note_dims(part_search *s, const sinter_loop_function *function,
                      const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const sinter_loop_buffer_info *info = &function->buffers.items[stmt->buffer];
        if (stmt->kind == SINTER_LOOP_ALLOC)
            for (uint32_t i = 0; i < info->rank; i++)
                sinter_loop_walk_expr(info->dims[i], note_expr, s);
        note_dims(s, function, stmt->body);
        note_dims(s, function, stmt->else_body);
    }
}

void sinter_loop_find_parts(sinter_arena *scratch, const sinter_loop_function *function,
                            sinter_loop_part_lengths *out_lengths) {
    part_search s = {.var_places = SINTER_NEW_ARRAY(scratch, size_t, function->vars.count),
                     .buffer_places = SINTER_NEW_ARRAY(scratch, size_t, function->buffers.count)};
    *out_lengths = (sinter_loop_part_lengths){0};
    size_t place = 0;
    for (sinter_loop_stmt *stmt = function->body; stmt; stmt = stmt->next) {
        s.first = ++place;
        sinter_loop_stmt alone = *stmt;
        alone.next = NULL;
        sinter_loop_walk(&alone, note_stmt, &s);
        note_dims(&s, function, &alone);
        if (stmt->kind == SINTER_LOOP_DECLARE) s.var_places[stmt->var] = place;
        if (stmt->kind == SINTER_LOOP_ALLOC) s.buffer_places[stmt->buffer] = place;
        /* All from the first that it needs are one part with it. */
        size_t length = 1, begin = place;
        while (out_lengths->count && s.first < begin) {
            size_t before = out_lengths->items[--out_lengths->count];
            length += before;
            begin -= before;
        }
        sinter_vector_push(scratch, out_lengths, length);
    }
}

/* ---- other numbers ---- */

typedef struct numbering {
    sinter_arena *arena, *scratch;
    const sinter_loop_function *from;
    sinter_loop_function *to;
    sinter_loop_ids *vars, *buffers; /* by number in `from`: that in `to`, 0: none yet */
    sinter_loop_ids *var_origins, *buffer_origins; /* by number in `to`: that in `from` */
    sinter_map seen; /* expressions share subexpressions, and go on doing so */
} numbering;

static sinter_expr renumber(void *user, sinter_expr expr);

static sinter_loop_var renumber_var(numbering *n, sinter_loop_var var) {
    if (!var || n->vars->items[var]) return var ? n->vars->items[var] : 0;
    sinter_loop_var fresh = (sinter_loop_var)n->to->vars.count;
    sinter_vector_push(n->arena, &n->to->vars, n->from->vars.items[var]);
    sinter_vector_push(n->scratch, n->var_origins, var);
    if (n->to->vars.items[fresh].is_parameter)
        sinter_vector_push(n->arena, &n->to->scalar_parameters, fresh);
    return n->vars->items[var] = fresh;
}

static const sinter_expr *renumber_dims(numbering *n, const sinter_loop_buffer_info *info) {
    sinter_expr *dims = SINTER_NEW_ARRAY(n->arena, sinter_expr, info->rank);
    for (uint32_t i = 0; i < info->rank; i++) dims[i] = renumber(n, info->dims[i]);
    return dims;
}

static sinter_loop_buffer renumber_buffer(numbering *n, sinter_loop_buffer buffer) {
    if (!buffer || n->buffers->items[buffer]) return buffer ? n->buffers->items[buffer] : 0;
    sinter_loop_buffer_info info = n->from->buffers.items[buffer];
    info.dims = renumber_dims(n, &info);
    sinter_loop_buffer fresh = (sinter_loop_buffer)n->to->buffers.count;
    sinter_vector_push(n->arena, &n->to->buffers, info);
    sinter_vector_push(n->scratch, n->buffer_origins, buffer);
    if (info.scope <= SINTER_SCOPE_INOUT)
        sinter_vector_push(n->arena, &n->to->buffer_parameters, fresh);
    return n->buffers->items[buffer] = fresh;
}

static sinter_expr renumber(void *user, sinter_expr expr) {
    numbering *n = user;
    uint64_t known;
    if (expr->kind == SINTER_LOOP_CONST) return expr;
    if (sinter_map_find(&n->seen, (uintptr_t)expr, &known)) return (sinter_expr)(uintptr_t)known;
    sinter_expr made = sinter_loop_replace_arguments(n->arena, expr, renumber, n);
    if (expr->kind == SINTER_LOOP_VAR || expr->kind == SINTER_LOOP_LOAD) {
        sinter_loop_expr copy = *made;
        if (expr->kind == SINTER_LOOP_VAR)
            copy.var = renumber_var(n, expr->var);
        else
            copy.buffer = renumber_buffer(n, expr->buffer);
        made = sinter_loop_expr_make(n->arena, &copy);
    }
    sinter_map_put(&n->seen, (uintptr_t)expr, (uintptr_t)made);
    return made;
}

static bool renumber_stmt(void *user, sinter_loop_stmt *stmt) {
    numbering *n = user;
    sinter_loop_replace_exprs(stmt, renumber, n);
    stmt->var = renumber_var(n, stmt->var);
    stmt->buffer = renumber_buffer(n, stmt->buffer);
    stmt->source = renumber_buffer(n, stmt->source);
    assert(!stmt->buffer_argument_count); /* kernels call none */
    return true;
}

/* ---- taking and putting back ---- */

static void extend(sinter_arena *arena, sinter_loop_ids *ids, size_t count) {
    while (ids->count < count) sinter_vector_push(arena, ids, 0);
}

void sinter_loop_parts_init(sinter_loop_parts *parts, sinter_loop_program *program,
                            sinter_loop_function *whole, sinter_arena *scratch) {
    *parts = (sinter_loop_parts){.program = program, .whole = whole, .scratch = scratch};
}

void sinter_loop_take_part(sinter_loop_parts *parts, sinter_loop_stmt **link, size_t count,
                           sinter_loop_part *out_part) {
    sinter_arena *arena = &parts->program->arena;
    const sinter_loop_function *whole = parts->whole;
    sinter_loop_function *function = SINTER_NEW(arena, sinter_loop_function);
    function->name = whole->name;
    function->comment = whole->comment;
    sinter_vector_push(arena, &function->vars, whole->vars.items[0]);
    sinter_vector_push(arena, &function->buffers, whole->buffers.items[0]);
    *out_part = (sinter_loop_part){.function = function, .link = link};
    extend(parts->scratch, &out_part->vars, 1);
    extend(parts->scratch, &out_part->buffers, 1);
    extend(parts->scratch, &parts->vars, whole->vars.count);
    extend(parts->scratch, &parts->buffers, whole->buffers.count);
    sinter_loop_stmt **end = link;
    for (size_t i = 0; i < count; i++) end = &(*end)->next;
    function->body = *link;
    *link = *end;
    *end = NULL;
    numbering n = {.arena = arena,
                   .scratch = parts->scratch,
                   .from = whole,
                   .to = function,
                   .vars = &parts->vars,
                   .buffers = &parts->buffers,
                   .var_origins = &out_part->vars,
                   .buffer_origins = &out_part->buffers};
    sinter_map_init(&n.seen, parts->scratch);
    /* Sums are ordered by numbers: those of the scalars stay below those of loops. */
    for (size_t i = 0; i < whole->scalar_parameters.count; i++)
        renumber_var(&n, whole->scalar_parameters.items[i]);
    sinter_loop_walk(function->body, renumber_stmt, &n);
}

sinter_loop_stmt **sinter_loop_put_back(sinter_loop_parts *parts, sinter_loop_part *part) {
    const sinter_loop_function *function = part->function;
    sinter_loop_function *whole = parts->whole;
    size_t vars = part->vars.count, buffers = part->buffers.count;
    /* The next part begins with numbers of its own; the whole has had those that this one knows. */
    for (size_t i = 1; i < vars; i++) {
        parts->vars.items[part->vars.items[i]] = 0;
        whole->vars.items[part->vars.items[i]] = function->vars.items[i];
    }
    for (size_t i = 1; i < buffers; i++) parts->buffers.items[part->buffers.items[i]] = 0;
    extend(parts->scratch, &part->vars, function->vars.count);
    extend(parts->scratch, &part->buffers, function->buffers.count);
    numbering n = {.arena = &parts->program->arena,
                   .scratch = parts->scratch,
                   .from = function,
                   .to = whole,
                   .vars = &part->vars,
                   .buffers = &part->buffers,
                   .var_origins = &parts->vars,
                   .buffer_origins = &parts->buffers};
    sinter_map_init(&n.seen, parts->scratch);
    size_t known_vars = parts->vars.count, known_buffers = parts->buffers.count;
    sinter_loop_walk(function->body, renumber_stmt, &n);
    for (size_t i = 1; i < buffers; i++) {
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        sinter_loop_buffer_info *own = &whole->buffers.items[part->buffers.items[i]];
        assert(info->scope > SINTER_SCOPE_INOUT || info->rank == own->rank);
        if (info->scope <= SINTER_SCOPE_INOUT) continue;
        const sinter_expr *dims = renumber_dims(&n, info);
        own = &whole->buffers.items[part->buffers.items[i]];
        *own = *info;
        own->dims = dims;
    }
    for (size_t i = known_vars; i < parts->vars.count; i++) parts->vars.items[i] = 0;
    for (size_t i = known_buffers; i < parts->buffers.count; i++) parts->buffers.items[i] = 0;
    sinter_loop_stmt **end = part->link, *rest = *end;
    *end = function->body;
    while (*end) end = &(*end)->next;
    *end = rest;
    return end;
}
