/* Parallel loops in C: the body becomes a function over a range of iterations, with what it uses from the kernel in a
 * struct. Test: tests/unit/emit_test.c */
#include "codegen/emit/c.h"
#include "codegen/loops/independent.h"

static void write_field(sinter_c_emitter *e, const char *type, const char *star, const char *name,
                        const char *declaration) {
    if (declaration)
        sinter_c_write(e, "%s%s%s = e->%s;", type, star, name, declaration);
    else
        sinter_c_write(e, "%s%s%s;", type, star, name);
}

typedef enum pass { PASS_FIELDS, PASS_UNPACK, PASS_PACK } pass;

/* The struct's fields, their unpacking, or the list that fills one. */
static void write_captures(sinter_c_emitter *e, const sinter_loop_uses *u, pass which) {
    const sinter_loop_function *function = e->function;
    for (uint32_t i = 1; i < function->buffers.count; i++) {
        if (!u->buffers[i] || u->allocates[i]) continue;
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
        if (!u->vars[i] || u->declares[i]) continue;
        const char *type = sinter_c_type(function->vars.items[i].dtype);
        if (which == PASS_PACK)
            sinter_text_format(e->text, ", %s", e->vars[i]);
        else
            write_field(e, type, " ", e->vars[i], which == PASS_UNPACK ? e->vars[i] : NULL);
    }
}

/* The iterations; what they mention of the kernel's variables decides what is captured. */
static void write_iterations(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    sinter_c_write(e, "for (int64_t number = first; number < last; number++) {");
    e->indent = 2;
    const char *by =
        loop->step == 1 ? "" : sinter_arena_format(e->arena, " * %lld", (long long)loop->step);
    const char *var = e->vars[loop->var];
    sinter_c_write(e, "const int64_t %s = e->begin + number%s;", var, by);
    if (e->mentioned && !e->mentioned[loop->var]) sinter_c_write(e, "(void)%s;", var);
    e->in_parallel = true;
    sinter_c_statements(e, loop->body);
    e->in_parallel = false;
    e->indent = 0;
    sinter_c_write(e, "    }\n}\n");
}

static void write_body_function(sinter_c_emitter *e, const sinter_loop_stmt *loop,
                                sinter_loop_uses *u, const char *name) {
    size_t vars = e->function->vars.count;
    sinter_text *outer = e->text, iterations = {0};
    int indent = e->indent;
    bool *outer_printed = e->printed;
    e->printed = SINTER_NEW_ARRAY(e->arena, bool, vars);
    e->text = &iterations;
    e->indent = 1;
    write_iterations(e, loop);
    u->vars = e->printed;
    e->text = e->bodies;
    sinter_c_write(e, "struct %s {", name);
    e->indent = 1;
    sinter_c_write(e, "sinter_abi_call *call;");
    sinter_c_write(e, "int64_t begin;");
    write_captures(e, u, PASS_FIELDS);
    e->indent = 0;
    sinter_c_write(e, "};");
    sinter_c_write(e, "static void %s(void *environment, int64_t first, int64_t last) {", name);
    e->indent = 1;
    sinter_c_write(e, "const struct %s *const e = environment;", name);
    if (u->fails) sinter_c_write(e, "sinter_abi_call *const call = e->call;");
    write_captures(e, u, PASS_UNPACK);
    sinter_text_append(e->text, iterations.data, iterations.size);
    sinter_text_deinit(&iterations);
    for (size_t i = 0; i < vars; i++) outer_printed[i] |= e->printed[i];
    e->printed = outer_printed;
    e->text = outer;
    e->indent = indent;
}

/* One loop of a group: its function, and what goes into its struct. */
typedef struct member {
    const sinter_loop_stmt *loop;
    const char *name;
    sinter_loop_uses uses;
} member;

static void begin_member(sinter_c_emitter *e, const sinter_loop_stmt *loop, member *of) {
    of->loop = loop;
    sinter_loop_find_uses(e->arena, e->function, loop->body, &of->uses);
    of->uses.declares[loop->var] = true;
    of->name = sinter_arena_format(e->arena, "body_%u_%s", e->body_count++, e->function->name);
    write_body_function(e, loop, &of->uses, of->name);
}

/* {call, lower bound, captures} */
static void write_initializer(sinter_c_emitter *e, const member *of) {
    sinter_text lower = {0};
    sinter_c_index(e, of->loop->lower, &lower);
    sinter_text_format(e->text, "{call, %s", lower.data);
    write_captures(e, &of->uses, PASS_PACK);
    sinter_text_append_string(e->text, "}");
    sinter_text_deinit(&lower);
}

static void write_one(sinter_c_emitter *e, const sinter_loop_stmt *loop) {
    member of;
    begin_member(e, loop, &of);
    sinter_text upper = {0};
    sinter_c_share(e, (const sinter_loop_expr *[]){loop->lower, loop->upper}, 2);
    sinter_c_index(e, loop->upper, &upper);
    sinter_c_write(e, "{");
    sinter_c_line(e);
    sinter_text_format(e->text, "    struct %s captured = ", of.name);
    write_initializer(e, &of);
    sinter_text_append_string(e->text, ";\n");
    const char *count = sinter_arena_format(e->arena, "%s - captured.begin", upper.data);
    if (loop->step != 1)
        count = sinter_arena_format(e->arena, "(%s + %lld) / %lld", count,
                                    (long long)loop->step - 1, (long long)loop->step);
    sinter_c_write(e, "    sinter_parallel_for(call, %s, %lld, %s, &captured);", count,
                   (long long)sinter_loop_get_grain(loop), of.name);
    if (e->fails) sinter_c_write(e, "    if (call->code) return call->code;");
    sinter_c_write(e, "}");
    sinter_text_deinit(&upper);
}

/* The function that runs the same part of every loop of the group, and the struct of all their structs. */
static int64_t write_group_function(sinter_c_emitter *e, const member *members, uint32_t count,
                                    const char *name) {
    sinter_text *outer = e->text;
    int indent = e->indent;
    int64_t longest = 0, trips = 0;
    for (uint32_t k = 0; k < count; k++)
        if (sinter_loop_trip_count(members[k].loop, &trips) && trips > longest) longest = trips;
    e->text = e->bodies;
    e->indent = 0;
    sinter_c_write(e, "struct %s {", name);
    for (uint32_t k = 0; k < count; k++)
        sinter_c_write(e, "    struct %s loop%u;", members[k].name, k);
    sinter_c_write(e, "};");
    sinter_c_write(e, "static void %s(void *environment, int64_t first, int64_t last) {", name);
    sinter_c_write(e, "    struct %s *const e = environment;", name);
    for (uint32_t k = 0; k < count; k++) {
        sinter_loop_trip_count(members[k].loop, &trips);
        const char *part = trips == longest
                               ? ""
                               : sinter_arena_format(e->arena, " * %lld / %lld", (long long)trips,
                                                     (long long)longest);
        sinter_c_write(e, "    %s(&e->loop%u, first%s, last%s);", members[k].name, k, part, part);
    }
    sinter_c_write(e, "}\n");
    e->text = outer;
    e->indent = indent;
    return longest;
}

const sinter_loop_stmt *sinter_c_parallel_for(sinter_c_emitter *e, const sinter_loop_stmt *first) {
    const sinter_loop_stmt *end = sinter_loop_group_end(first), *loop = first;
    if (end == first) {
        write_one(e, first);
        return end;
    }
    uint32_t count = 1;
    for (; loop != end; loop = loop->next) count++;
    member *members = SINTER_NEW_ARRAY(e->arena, member, count);
    loop = first;
    for (uint32_t k = 0; k < count; k++, loop = loop->next) begin_member(e, loop, &members[k]);
    const char *name =
        sinter_arena_format(e->arena, "body_%u_%s", e->body_count++, e->function->name);
    int64_t longest = write_group_function(e, members, count, name);
    for (uint32_t k = 0; k < count; k++) sinter_c_share(e, &members[k].loop->lower, 1);
    sinter_c_write(e, "{");
    sinter_c_line(e);
    sinter_text_format(e->text, "    struct %s captured = {", name);
    for (uint32_t k = 0; k < count; k++) {
        if (k) sinter_text_append_string(e->text, ", ");
        write_initializer(e, &members[k]);
    }
    sinter_text_append_string(e->text, "};\n");
    sinter_c_write(e, "    sinter_parallel_for(call, %lld, %lld, %s, &captured);",
                   (long long)longest, (long long)sinter_loop_get_grain(first), name);
    if (e->fails) sinter_c_write(e, "    if (call->code) return call->code;");
    sinter_c_write(e, "}");
    return end;
}
