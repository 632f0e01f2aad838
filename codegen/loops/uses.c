/* See uses.h. Test: tests/unit/emit_test.c (compiled with -Wall -Wextra -Werror) */
#include "codegen/loops/uses.h"
#include "codegen/loops/rewrite.h"

static void use_expr(sinter_loop_uses *u, const sinter_loop_expr *expr);

static void use_buffer(sinter_loop_uses *u, sinter_loop_buffer buffer) {
    if (!buffer || u->buffers[buffer]) return;
    u->buffers[buffer] = true;
    const sinter_loop_buffer_info *info = &u->function->buffers.items[buffer];
    for (uint32_t k = 0; k < info->rank; k++) use_expr(u, info->dims[k]);
}

static void read_buffer(sinter_loop_uses *u, sinter_loop_buffer buffer) {
    use_buffer(u, buffer);
    if (buffer) u->reads[buffer] = true;
}

static void use_expr(sinter_loop_uses *u, const sinter_loop_expr *expr) {
    uint64_t seen;
    if (!expr || sinter_map_find(&u->visited, (uintptr_t)expr, &seen)) return;
    sinter_map_put(&u->visited, (uintptr_t)expr, 1);
    if (expr->kind == SINTER_LOOP_VAR) u->vars[expr->var] = true;
    if (expr->kind == SINTER_LOOP_LOAD) read_buffer(u, expr->buffer);
    for (uint32_t i = 0; i < expr->argument_count; i++) use_expr(u, expr->arguments[i]);
}

static void use_statements(sinter_loop_uses *u, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        use_expr(u, s->lower);
        use_expr(u, s->upper);
        use_expr(u, s->value);
        for (uint32_t i = 0; i < s->argument_count; i++) use_expr(u, s->arguments[i]);
        for (uint32_t i = 0; i < s->buffer_argument_count; i++)
            read_buffer(u, s->buffer_arguments[i]);
        use_buffer(u, s->buffer);
        read_buffer(u, s->source);
        if (s->kind == SINTER_LOOP_TAKE || s->kind == SINTER_LOOP_REDUCE ||
            (s->kind == SINTER_LOOP_STORE && s->combine != SINTER_SCALAR_NONE))
            read_buffer(u, s->buffer);
        if (s->kind == SINTER_LOOP_REDUCE) u->vars[s->var] = true;
        if (sinter_loop_assigns(s)) u->assigns[s->var] = true;
        if (s->kind == SINTER_LOOP_ALLOC) u->allocates[s->buffer] = true;
        if (s->kind == SINTER_LOOP_FOR || s->kind == SINTER_LOOP_DECLARE)
            u->declares[s->var] = true;
        u->fails |= s->kind == SINTER_LOOP_FAIL || s->kind == SINTER_LOOP_EXCHANGE;
        u->in_parallel |= s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_PARALLEL;
        use_statements(u, s->body);
        use_statements(u, s->else_body);
    }
}

void sinter_loop_find_uses(sinter_arena *arena, const sinter_loop_function *function,
                           const sinter_loop_stmt *first, sinter_loop_uses *out_uses) {
    size_t vars = function->vars.count, buffers = function->buffers.count;
    *out_uses = (sinter_loop_uses){.function = function,
                                   .vars = SINTER_NEW_ARRAY(arena, bool, vars),
                                   .declares = SINTER_NEW_ARRAY(arena, bool, vars),
                                   .assigns = SINTER_NEW_ARRAY(arena, bool, vars),
                                   .buffers = SINTER_NEW_ARRAY(arena, bool, buffers),
                                   .reads = SINTER_NEW_ARRAY(arena, bool, buffers),
                                   .allocates = SINTER_NEW_ARRAY(arena, bool, buffers)};
    sinter_map_init(&out_uses->visited, arena);
    use_statements(out_uses, first);
}

void sinter_loop_mark_allocated(const sinter_loop_stmt *first, bool *allocated) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_ALLOC) allocated[stmt->buffer] = true;
        sinter_loop_mark_allocated(stmt->body, allocated);
        sinter_loop_mark_allocated(stmt->else_body, allocated);
    }
}

/* ---- memory of one call ---- */

typedef struct host_search {
    const sinter_loop_stmt *call;
    sinter_loop_buffer buffer;
    bool elsewhere;
} host_search;

static void search_expr(void *user, sinter_expr expr) {
    host_search *search = user;
    search->elsewhere |= expr->kind == SINTER_LOOP_LOAD && expr->buffer == search->buffer;
}

static bool search_stmt(void *user, sinter_loop_stmt *stmt) {
    host_search *search = user;
    sinter_loop_walk_stmt_exprs(stmt, search_expr, search);
    search->elsewhere |= stmt->kind != SINTER_LOOP_ALLOC &&
                         (stmt->buffer == search->buffer || stmt->source == search->buffer);
    for (uint32_t i = 0; i < stmt->buffer_argument_count && stmt != search->call; i++)
        search->elsewhere |= stmt->buffer_arguments[i] == search->buffer;
    return true;
}

bool sinter_loop_is_scratch_of(const sinter_loop_program *program, const sinter_loop_stmt *call,
                               sinter_loop_buffer buffer) {
    host_search search = {.call = call, .buffer = buffer};
    uint32_t passed = 0;
    for (uint32_t i = 0; i < call->buffer_argument_count; i++)
        passed += call->buffer_arguments[i] == buffer;
    if (passed != 1 || program->host->buffers.items[buffer].scope != SINTER_SCOPE_HEAP)
        return false;
    sinter_loop_walk(program->host->body, search_stmt, &search);
    return !search.elsewhere;
}
