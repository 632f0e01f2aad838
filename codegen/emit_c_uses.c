/* Which variables and buffers a list of statements uses: what the function of a parallel loop takes along, and what
 * would be an unused variable in the C text. Test: tests/unit/emit_test.c (compiled with -Wall -Wextra -Werror) */
#include "codegen/emit_c.h"

static void use_expr(sinter_c_uses *u, const sinter_loop_expr *expr);

static void use_buffer(sinter_c_uses *u, sinter_loop_buffer buffer) {
    if (!buffer || u->buffers[buffer]) return;
    u->buffers[buffer] = true;
    const sinter_loop_buffer_info *info = &u->function->buffers.items[buffer];
    for (uint32_t k = 0; k < info->rank; k++) use_expr(u, info->dims[k]);
}

static void read_buffer(sinter_c_uses *u, sinter_loop_buffer buffer) {
    use_buffer(u, buffer);
    if (buffer) u->reads[buffer] = true;
}

static void use_expr(sinter_c_uses *u, const sinter_loop_expr *expr) {
    uint64_t seen;
    if (!expr || sinter_map_find(&u->visited, (uintptr_t)expr, &seen)) return;
    sinter_map_put(&u->visited, (uintptr_t)expr, 1);
    if (expr->kind == SINTER_LOOP_VAR) u->vars[expr->var] = true;
    if (expr->kind == SINTER_LOOP_LOAD) read_buffer(u, expr->buffer);
    for (uint32_t i = 0; i < expr->argument_count; i++) use_expr(u, expr->arguments[i]);
}

static void use_statements(sinter_c_uses *u, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        use_expr(u, s->lower);
        use_expr(u, s->upper);
        use_expr(u, s->value);
        for (uint32_t i = 0; i < s->argument_count; i++) use_expr(u, s->arguments[i]);
        for (uint32_t i = 0; i < s->buffer_argument_count; i++)
            read_buffer(u, s->buffer_arguments[i]);
        use_buffer(u, s->buffer);
        read_buffer(u, s->source);
        if (s->kind == SINTER_LOOP_TAKE ||
            (s->kind == SINTER_LOOP_STORE && s->combine != SINTER_SCALAR_NONE))
            read_buffer(u, s->buffer);
        if (s->kind == SINTER_LOOP_ALLOC) u->allocates[s->buffer] = true;
        if (s->kind == SINTER_LOOP_FOR || s->kind == SINTER_LOOP_DECLARE)
            u->declares[s->var] = true;
        u->fails |= s->kind == SINTER_LOOP_FAIL;
        u->in_parallel |= s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_PARALLEL;
        use_statements(u, s->body);
        use_statements(u, s->else_body);
    }
}

void sinter_c_find_uses(sinter_c_emitter *e, const sinter_loop_function *function,
                        const sinter_loop_stmt *first, sinter_c_uses *out_uses) {
    size_t vars = function->vars.count, buffers = function->buffers.count;
    *out_uses = (sinter_c_uses){.function = function,
                                .vars = SINTER_NEW_ARRAY(e->arena, bool, vars),
                                .declares = SINTER_NEW_ARRAY(e->arena, bool, vars),
                                .buffers = SINTER_NEW_ARRAY(e->arena, bool, buffers),
                                .reads = SINTER_NEW_ARRAY(e->arena, bool, buffers),
                                .allocates = SINTER_NEW_ARRAY(e->arena, bool, buffers)};
    sinter_map_init(&out_uses->visited, e->arena);
    use_statements(out_uses, first);
}

void sinter_c_use_dims(sinter_c_uses *uses, sinter_loop_buffer buffer) {
    use_buffer(uses, buffer);
}

void sinter_c_use_expr(sinter_c_uses *uses, const sinter_loop_expr *expr) {
    use_expr(uses, expr);
}
