/* Parallel loops in C: the body becomes a function over a range of iterations, with what it uses from the kernel in a
 * struct. Test: tests/unit/emit_test.c */
#include "codegen/emit_c.h"

typedef struct uses {
    sinter_c_emitter *e;
    bool *vars, *buffers, *declared;
    sinter_map visited;
} uses;

static void use_buffer(uses *u, sinter_loop_buffer buffer);

static void use_expr(uses *u, const sinter_loop_expr *expr) {
    uint64_t seen;
    if (!expr || sinter_map_find(&u->visited, (uintptr_t)expr, &seen)) return;
    sinter_map_put(&u->visited, (uintptr_t)expr, 1);
    if (expr->kind == SINTER_LOOP_VAR) u->vars[expr->var] = true;
    if (expr->kind == SINTER_LOOP_LOAD) use_buffer(u, expr->buffer);
    for (uint32_t i = 0; i < expr->argument_count; i++) use_expr(u, expr->arguments[i]);
}

static void use_buffer(uses *u, sinter_loop_buffer buffer) {
    if (!buffer || u->buffers[buffer]) return;
    u->buffers[buffer] = true;
    const sinter_loop_buffer_info *info = &u->e->function->buffers.items[buffer];
    for (uint32_t k = 0; k < info->rank; k++) use_expr(u, info->dims[k]);
}

static void use_statements(uses *u, const sinter_loop_stmt *first, bool *own_buffers) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        use_expr(u, s->lower);
        use_expr(u, s->upper);
        use_expr(u, s->value);
        for (uint32_t i = 0; i < s->argument_count; i++) use_expr(u, s->arguments[i]);
        use_buffer(u, s->buffer);
        if (s->kind == SINTER_LOOP_ALLOC) own_buffers[s->buffer] = true;
        if (s->kind == SINTER_LOOP_FOR || s->kind == SINTER_LOOP_DECLARE)
            u->declared[s->var] = true;
        use_statements(u, s->body, own_buffers);
        use_statements(u, s->else_body, own_buffers);
    }
}

static void write_field(sinter_c_emitter *e, const char *type, const char *star, const char *name,
                        const char *declaration) {
    if (declaration)
        sinter_c_write(e, "%s%s%s = e->%s;", type, star, name, declaration);
    else
        sinter_c_write(e, "%s%s%s;", type, star, name);
}

typedef enum pass { PASS_FIELDS, PASS_UNPACK, PASS_PACK } pass;

/* The struct's fields, their unpacking, or the list that fills one. */
static void write_captures(sinter_c_emitter *e, const uses *u, const bool *own_buffers,
                           pass which) {
    const sinter_loop_function *function = e->function;
    for (uint32_t i = 1; i < function->buffers.count; i++) {
        if (!u->buffers[i] || own_buffers[i]) continue;
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        const char *type =
            sinter_arena_format(e->arena, "%s%s", info->scope == SINTER_SCOPE_INPUT ? "const " : "",
                                sinter_c_memory(info->dtype));
        if (which == PASS_PACK)
            sinter_text_format(e->text, ", %s", e->buffers[i]);
        else
            write_field(e, type, which == PASS_UNPACK ? " *restrict " : " *", e->buffers[i],
                        which == PASS_UNPACK ? e->buffers[i] : NULL);
    }
    for (uint32_t i = 1; i < function->vars.count; i++) {
        if (!u->vars[i] || u->declared[i]) continue;
        const char *type = sinter_c_type(function->vars.items[i].dtype);
        if (which == PASS_PACK)
            sinter_text_format(e->text, ", %s", e->vars[i]);
        else
            write_field(e, type, " ", e->vars[i], which == PASS_UNPACK ? e->vars[i] : NULL);
    }
}

static void write_body_function(sinter_c_emitter *e, const sinter_loop_stmt *loop, const uses *u,
                                const bool *own_buffers, const char *name) {
    sinter_text *outer = e->text;
    int indent = e->indent;
    e->text = e->bodies;
    e->indent = 0;
    sinter_c_write(e, "struct %s {", name);
    e->indent = 1;
    sinter_c_write(e, "sinter_abi_call *call;");
    sinter_c_write(e, "int64_t begin;");
    write_captures(e, u, own_buffers, PASS_FIELDS);
    e->indent = 0;
    sinter_c_write(e, "};");
    sinter_c_write(e, "static void %s(void *environment, int64_t first, int64_t last) {", name);
    e->indent = 1;
    sinter_c_write(e, "const struct %s *const e = environment;", name);
    sinter_c_write(e, "sinter_abi_call *const call = e->call;");
    sinter_c_write(e, "(void)call;");
    write_captures(e, u, own_buffers, PASS_UNPACK);
    sinter_c_write(e, "for (int64_t number = first; number < last; number++) {");
    e->indent = 2;
    sinter_c_write(e, "const int64_t %s = e->begin + number * %lld;", e->vars[loop->var],
                   (long long)loop->step);
    e->in_parallel = true;
    sinter_c_statements(e, loop->body);
    e->in_parallel = false;
    e->indent = 0;
    sinter_c_write(e, "    }\n}\n");
    e->text = outer;
    e->indent = indent;
}

void sinter_c_parallel_for(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    const sinter_loop_function *function = e->function;
    size_t vars = function->vars.count, buffers = function->buffers.count;
    uses u = {e,
              SINTER_NEW_ARRAY(e->arena, bool, vars),
              SINTER_NEW_ARRAY(e->arena, bool, buffers),
              SINTER_NEW_ARRAY(e->arena, bool, vars),
              {0}};
    bool *own_buffers = SINTER_NEW_ARRAY(e->arena, bool, buffers);
    sinter_map_init(&u.visited, e->arena);
    use_statements(&u, loop->body, own_buffers);
    u.declared[loop->var] = true;
    const char *name = sinter_arena_format(e->arena, "body_%u_%s", e->body_count++, function->name);
    write_body_function(e, loop, &u, own_buffers, name);
    sinter_text lower = {0}, upper = {0};
    sinter_c_share(e, (const sinter_loop_expr *[]){loop->lower, loop->upper}, 2);
    sinter_c_index(e, loop->lower, &lower);
    sinter_c_index(e, loop->upper, &upper);
    sinter_c_write(e, "{");
    sinter_c_line(e);
    sinter_text_format(e->text, "    struct %s captured = {call, %s", name, lower.data);
    write_captures(e, &u, own_buffers, PASS_PACK);
    sinter_text_append_string(e->text, "};\n");
    sinter_c_write(e,
                   "    sinter_parallel_for(call, (%s - captured.begin + %lld) / %lld, %s, "
                   "&captured);",
                   upper.data, (long long)loop->step - 1, (long long)loop->step, name);
    if (e->fails) sinter_c_write(e, "    if (call->code) return call->code;");
    sinter_c_write(e, "}");
    sinter_text_deinit(&lower);
    sinter_text_deinit(&upper);
}
