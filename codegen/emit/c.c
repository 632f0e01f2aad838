/* Kernels in C, and the frame of the file: the text of abi.h, helpers, kernels, then the host (c_host.c).
 * Test: tests/unit/emit_test.c, tests/codegen/emit_c/ */
#include "codegen/emit/c.h"
#include "codegen/emit/legalize.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void sinter_c_write(sinter_c_emitter *e, const char *format, ...) {
    sinter_c_line(e);
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(e->text, format, arguments);
    va_end(arguments);
    sinter_text_append_string(e->text, "\n");
}

/* ---- names ---- */

/* C keywords, what the standard headers and our own code define, and names like t1 of temporaries and b1 of host buffers. */
static bool is_reserved(const char *name) {
    static const char *const words[] = {
        "auto",    "break",     "case",       "char",    "const",    "continue", "default",
        "do",      "double",    "else",       "enum",    "extern",   "float",    "for",
        "goto",    "if",        "inline",     "int",     "long",     "register", "restrict",
        "return",  "short",     "signed",     "sizeof",  "static",   "struct",   "switch",
        "typedef", "union",     "unsigned",   "void",    "volatile", "while",    "bool",
        "true",    "false",     "NULL",       "NAN",     "INFINITY", "call",     "unix",
        "linux",   "overflow",  "fmod",       "fma",     "fabs",     "rint",     "free",
        "malloc",  "stdin",     "stdout",     "stderr",  "signbit",  "isinf",    "main",
        "isnan",   "fmodf",     "fmaf",       "fabsf",   "rintf",    "first",    "last",
        "plan",    "run",       "artifact",   "inputs",  "outputs",  "symbols",  "weights",
        "kernels", "workspace", "asm",        "typeof",  "e",        "captured", "number",
        "in",      "out",       "array",      "failure", "template", "class",    "this",
        "new",     "delete",    "private",    "public",  "using",    "operator", "with",
        "begin",   "before",    "after",      "place",   "blob",     "owned",    "none",
        "memcpy",  "snprintf",  "environment"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(name, words[i])) return true;
    if (!strncmp(name, "sinter", 6) || !strncmp(name, "SINTER", 6) || name[0] == '_') return true;
    size_t size = strlen(name);
    if (name[0] == 't' && size > 1 && strspn(name + 1, "0123456789") == size - 1) return true;
    if (sinter_scalar_find(sinter_string_of(name))) return true; /* exp, sqrt, ... */
    if (name[0] == 'b' && size > 1 && strspn(name + 1, "0123456789") == size - 1) return true;
    if (!strncmp(name, "wide", 4) && strspn(name + 4, "0123456789") == size - 4) return true;
    return size > 1 && name[size - 1] == 'f' && sinter_scalar_find((sinter_string){name, size - 1});
}

static const char *unique_name(sinter_c_emitter *e, sinter_map *taken, const char *name,
                               uint32_t id) {
    uint64_t other;
    bool free =
        !is_reserved(name) && !sinter_map_find_string(taken, sinter_string_of(name), &other);
    const char *result = free ? name : sinter_arena_format(e->arena, "%s_%u", name, id);
    while (!free && sinter_map_find_string(taken, sinter_string_of(result), &other))
        result = sinter_arena_format(e->arena, "%s_", result);
    if (result[0] == '_') result = sinter_arena_format(e->arena, "v%s", result);
    sinter_map_put_string(taken, sinter_string_of(result), 1);
    return result;
}

void sinter_c_begin_function(sinter_c_emitter *e, const sinter_loop_function *function) {
    e->function = function;
    e->temporary_count = 1;
    e->wide_count = 0;
    e->fail_count = 0;
    e->spread = SINTER_NEW_ARRAY(e->arena, bool, function->buffers.count);
    e->printed = SINTER_NEW_ARRAY(e->arena, bool, function->vars.count);
    sinter_loop_find_uses(e->arena, function, function->body, &e->uses);
    e->vars = SINTER_NEW_ARRAY(e->arena, const char *, function->vars.count);
    e->buffers = SINTER_NEW_ARRAY(e->arena, const char *, function->buffers.count);
    sinter_map taken;
    sinter_map_init(&taken, e->arena);
    sinter_map_init(&e->temporaries, e->arena);
    for (uint32_t i = 1; i < function->buffers.count; i++)
        e->buffers[i] = unique_name(e, &taken, function->buffers.items[i].name, i);
    for (uint32_t i = 1; i < function->vars.count; i++)
        e->vars[i] = unique_name(e, &taken, function->vars.items[i].name, i);
}

/* ---- statements ---- */

static void write_body(sinter_c_emitter *e, const sinter_loop_stmt *body, const char *end) {
    e->indent++;
    sinter_c_statements(e, body);
    e->indent--;
    sinter_c_write(e, "%s", end);
}

static const char *text_of(sinter_c_emitter *e, const sinter_loop_expr *expr, bool is_index) {
    sinter_text text = {0};
    if (is_index)
        sinter_c_index(e, expr, &text);
    else
        sinter_c_expr(e, expr, &text);
    const char *copy = sinter_arena_copy_string(e->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return sinter_c_strip(e, copy);
}

const char *sinter_c_index_text(sinter_c_emitter *e, const sinter_loop_expr *expr) {
    return text_of(e, expr, true);
}

const char *sinter_c_condition_text(sinter_c_emitter *e, const sinter_loop_expr *expr) {
    return text_of(e, expr, false);
}

static void write_for(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (s->axis == SINTER_AXIS_VECTOR && e->dialect->device) {
        sinter_cuda_vector(e, s);
        return;
    }
    if (s->axis == SINTER_AXIS_BLOCK || s->axis == SINTER_AXIS_THREAD) {
        if (e->dialect->device)
            sinter_cuda_for(e, s);
        else
            sinter_c_error(e, "a CPU has no block and thread axes [emit_c3]");
        return;
    }
    if (s->axis == SINTER_AXIS_LDMATRIX && e->dialect->device) {
        sinter_cuda_ldmatrix(e, s);
        return;
    }
    if (s->axis == SINTER_AXIS_MMA && e->dialect->device) {
        sinter_cuda_mma(e, s);
        return;
    }
    if (s->axis == SINTER_AXIS_WGMMA && e->dialect->device) {
        sinter_cuda_wgmma(e, s);
        return;
    }
    sinter_c_share(e, (const sinter_loop_expr *[]){s->lower, s->upper}, 2);
    const char *var = e->vars[s->var], *lower = text_of(e, s->lower, true),
               *upper = text_of(e, s->upper, true);
    int64_t known;
    if (!sinter_loop_is_const_int(s->upper, &known) && s->upper->kind != SINTER_LOOP_VAR) {
        uint32_t number = e->temporary_count++; /* the bound is read once */
        sinter_c_write(e, "const int64_t t%u = %s;", number, upper);
        upper = sinter_arena_format(e->arena, "t%u", number);
    }
    if (s->axis == SINTER_AXIS_VECTOR && e->dialect->vector)
        sinter_c_write(e, "%s", e->dialect->vector);
    if (s->axis == SINTER_AXIS_UNROLL && e->dialect->unroll)
        sinter_c_write(e, "%s", e->dialect->unroll);
    if (s->step == 1)
        sinter_c_write(e, "for (int64_t %s = %s; %s < %s; %s++) {", var, lower, var, upper, var);
    else
        sinter_c_write(e, "for (int64_t %s = %s; %s < %s; %s += %lld) {", var, lower, var, upper,
                       var, (long long)s->step);
    write_body(e, s->body, "}");
}

static void write_if(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_c_share(e, &s->value, 1);
    if (e->dialect->device && sinter_cuda_copy_or_zero(e, s)) return;
    sinter_c_write(e, "if (%s) {", text_of(e, s->value, false));
    write_body(e, s->body, s->else_body ? "} else {" : "}");
    if (s->else_body) write_body(e, s->else_body, "}");
}

static void write_while(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_c_write(e, "for (;;) {");
    e->indent++;
    sinter_c_share(e, &s->value, 1);
    sinter_c_write(e, "if (!(%s)) break;", text_of(e, s->value, false));
    e->indent--;
    write_body(e, s->body, "}");
}

static void write_element(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const sinter_loop_expr **exprs =
        SINTER_NEW_ARRAY(e->arena, const sinter_loop_expr *, s->argument_count + 1);
    exprs[0] = s->value;
    for (uint32_t i = 0; i < s->argument_count; i++) exprs[1 + i] = s->arguments[i];
    sinter_c_share(e, exprs, s->argument_count + 1);
    if (e->dialect->device && s->combine != SINTER_SCALAR_NONE && s->atomic) {
        sinter_cuda_update(e, s);
        return;
    }
    if (s->asynchronous && s->value->kind == SINTER_LOOP_LOAD && e->dialect->device) {
        sinter_cuda_copy(e, s);
        return;
    }
    sinter_text element = {0}, value = {0};
    uint64_t wide;
    if (e->lane && sinter_map_find(&e->wide, (uintptr_t)s, &wide))
        sinter_text_format(&element, "wide%u[%s]", (unsigned)wide, e->vars[e->lane]);
    else
        sinter_c_element(e, s->buffer, s->arguments, &element);
    sinter_c_expr(e, s->value, &value);
    sinter_dtype dtype = e->function->buffers.items[s->buffer].dtype;
    if (s->combine == SINTER_SCALAR_NONE) {
        sinter_c_write(e, "%s = %s;", element.data, sinter_c_strip(e, value.data));
    } else {
        sinter_text update = {0};
        bool atomic = s->atomic && e->in_parallel;
        const char *operands[] = {atomic ? "before" : element.data, value.data};
        sinter_c_apply(e, s->combine, dtype, operands, &update);
        if (!atomic) {
            sinter_c_write(e, "%s = %s;", element.data, sinter_c_strip(e, update.data));
        } else {
            const char *type = sinter_c_memory(dtype);
            sinter_c_write(e, "{");
            sinter_c_write(e, "    %s *const place = &%s, before, after;", type, element.data);
            sinter_c_write(e, "    SINTER_LOAD(place, &before);");
            sinter_c_write(e, "    do after = %s;", update.data);
            sinter_c_write(e, "    while (!SINTER_EXCHANGE(place, &before, &after));");
            sinter_c_write(e, "}");
        }
        sinter_text_deinit(&update);
    }
    sinter_text_deinit(&element);
    sinter_text_deinit(&value);
}

/* What all threads of a block do alike, one of them stores. */
static void write_store(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    bool once = e->dialect->device && !e->in_thread;
    if (once) {
        sinter_c_write(e, "if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {");
        e->indent++;
    }
    write_element(e, s);
    if (!once) return;
    e->indent--;
    sinter_c_write(e, "}");
}

uint32_t sinter_c_spread_dims(const sinter_c_emitter *e, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[buffer];
    if (!e->dialect->device || info->scope != SINTER_SCOPE_REGISTER || !e->spread ||
        !e->spread[buffer])
        return 0;
    uint32_t axes = e->threads[2] > 1 ? 3 : e->threads[1] > 1 ? 2 : 1;
    for (uint32_t i = 0; i < axes; i++) {
        int64_t count;
        if (i == info->rank || !sinter_loop_is_const_int(info->dims[i], &count) ||
            count != (axes == 3 && !i && e->piece_warps && e->piece_warps[buffer]
                          ? e->piece_warps[buffer]
                          : e->threads[axes - 1 - i]))
            return 0;
    }
    return axes;
}

static void write_alloc(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const sinter_loop_buffer_info *info = &e->function->buffers.items[s->buffer];
    int64_t count;
    if (!sinter_loop_most_elements(e->function, info, sinter_c_spread_dims(e, s->buffer), &count) ||
        count > SINTER_LOOP_MOST_SCRATCH) {
        sinter_c_error(e, "scratch has no bound on its size [emit_c4]");
        return;
    }
    bool shared = info->scope == SINTER_SCOPE_SHARED;
    if (shared && !e->dialect->shared) {
        sinter_c_error(e, "a CPU has no memory of blocks [emit_c10]");
        return;
    }
    if (shared && e->asks_shared)
        sinter_cuda_shared(e, s, count > 0 ? count : 1);
    else
        sinter_c_write(e,
                       info->swizzle ? e->dialect->swizzled
                       : shared      ? e->dialect->shared
                                     : e->dialect->scratch,
                       sinter_c_memory(info->dtype), e->buffers[s->buffer],
                       (long long)(count > 0 ? count : 1));
    if (!e->uses.reads[s->buffer]) sinter_c_write(e, "(void)%s;", e->buffers[s->buffer]);
    if (info->arrivals) sinter_cuda_phases(e, s);
}

/* The message with %0 and %1 as printf wants them, and the arguments in the order of their use; %% is what printf wants. */
static void write_fail(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    if (e->dialect->device) {
        sinter_cuda_fail(e, s);
        return;
    }
    sinter_text format = {0}, arguments = {0};
    sinter_c_share(e, s->arguments, s->argument_count);
    for (const char *at = s->text; *at; at++) {
        if (*at != '%') {
            sinter_text_append(&format, at, 1);
        } else if (at[1] >= '0' && (uint32_t)(at[1] - '0') < s->argument_count) {
            at++;
            sinter_text_append_string(&format, "%lld");
            sinter_text_format(&arguments, ", (long long)(%s)",
                               text_of(e, s->arguments[*at - '0'], false));
        } else {
            sinter_text_append_string(&format, "%%");
            at += at[1] == '%';
        }
    }
    sinter_text literal = {0};
    sinter_c_string(&literal, format.data ? format.data : "");
    const char *list = arguments.data ? arguments.data : "";
    if (e->is_host) {
        sinter_c_write(e, "sinter_fail(call, %d, %s%s);", s->code, literal.data, list);
        sinter_c_jump(e, "");
    } else if (e->in_parallel) {
        sinter_c_write(e, "sinter_fail(call, %d, %s%s);", s->code, literal.data, list);
        sinter_c_write(e, "return;");
    } else {
        sinter_c_write(e, "return sinter_fail(call, %d, %s%s);", s->code, literal.data, list);
    }
    sinter_text_deinit(&literal);
    sinter_text_deinit(&format);
    sinter_text_deinit(&arguments);
}

static void write_variable(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const sinter_loop_var_info *info = &e->function->vars.items[s->var];
    sinter_c_share(e, &s->value, 1);
    const char *value = text_of(e, s->value, false);
    if (s->kind == SINTER_LOOP_ASSIGN) {
        sinter_c_write(e, "%s = %s;", e->vars[s->var], value);
        return;
    }
    sinter_c_write(e, "%s%s %s = %s;", info->is_mutable ? "" : "const ", sinter_c_type(info->dtype),
                   e->vars[s->var], value);
    if (e->mentioned && !e->mentioned[s->var]) sinter_c_write(e, "(void)%s;", e->vars[s->var]);
}

static void write_exchange(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    const sinter_loop_exchange *x = &s->exchange;
    if (e->dialect->device) {
        sinter_c_error(e, "ranks exchange amid what the host can't do between launches [emit_c12]");
        return;
    }
    sinter_c_write(e,
                   "if (sinter_exchange(call, %d, %d, %d, %u, UINT64_C(%llu), %s, %s, %s, %d, %d)) "
                   "return call->code;",
                   x->kind | x->phase, x->reduction, x->dtype, x->index,
                   (unsigned long long)x->over, text_of(e, s->value, false), e->buffers[s->source],
                   e->buffers[s->buffer], x->from, x->to);
}

static void write_statement(sinter_c_emitter *e, const sinter_loop_stmt *s) {
    sinter_map_init(&e->temporaries, e->arena);
    switch (s->kind) {
    case SINTER_LOOP_FOR:
        write_for(e, s);
        return;
    case SINTER_LOOP_IF:
        write_if(e, s);
        return;
    case SINTER_LOOP_WHILE:
        write_while(e, s);
        return;
    case SINTER_LOOP_STORE:
        write_store(e, s);
        return;
    case SINTER_LOOP_DECLARE:
    case SINTER_LOOP_ASSIGN:
        write_variable(e, s);
        return;
    case SINTER_LOOP_FAIL:
        write_fail(e, s);
        return;
    case SINTER_LOOP_COMMENT:
        sinter_c_write(e, "/* %s */", sinter_c_comment(e->arena, s->text));
        return;
    case SINTER_LOOP_ALLOC:
        if (!e->is_host) {
            if (e->spread) e->spread[s->buffer] = !e->in_thread;
            write_alloc(e, s);
            return;
        }
        break;
    case SINTER_LOOP_CALL_KERNEL:
    case SINTER_LOOP_FREE:
    case SINTER_LOOP_BIND:
    case SINTER_LOOP_TAKE:
        if (!e->is_host) {
            sinter_c_error(e, "a host statement in a kernel [emit_c5]");
            return;
        }
        break;
    case SINTER_LOOP_PREFETCH: /* C has no word for it */
        return;
    case SINTER_LOOP_EXCHANGE:
        write_exchange(e, s);
        return;
    case SINTER_LOOP_BARRIER:
        if (e->dialect->barrier)
            sinter_c_write(e, "%s", e->dialect->barrier);
        else
            sinter_c_error(e, "a CPU has no block barrier [emit_c6]");
        return;
    case SINTER_LOOP_BOX:
    case SINTER_LOOP_COMMIT:
    case SINTER_LOOP_WAIT:
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
    case SINTER_LOOP_FENCE:
        if (!e->dialect->device)
            sinter_c_error(e, "a CPU has no block barrier [emit_c6]");
        else
            sinter_cuda_order(e, s);
        return;
    case SINTER_LOOP_WARPS:
        if (e->dialect->device)
            sinter_c_statements(e, s->body);
        else
            sinter_c_error(e, "a CPU has no block barrier [emit_c6]");
        return;
    case SINTER_LOOP_REDUCE:
        if (e->dialect->device)
            sinter_cuda_reduce(e, s);
        else
            sinter_c_error(e, "a CPU has no block barrier [emit_c6]");
        return;
    }
    sinter_c_host_statement(e, s);
}

void sinter_c_statements(sinter_c_emitter *e, const sinter_loop_stmt *first) {
    bool threads = !e->is_host && !e->in_parallel;
    for (const sinter_loop_stmt *s = first; s && !e->broken; s = s->next) {
        if (e->piece_warps && !e->piece_count && sinter_cuda_pieces(e, s)) break;
        if (sinter_cuda_is_for_others(e, s)) continue;
        if (threads && s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_PARALLEL)
            s = sinter_c_parallel_for(e, s);
        else
            write_statement(e, s);
    }
    if (e->is_host) sinter_c_host_end_block(e, first);
    sinter_map_init(&e->temporaries, e->arena);
}

/* ---- kernels ---- */

void sinter_c_parameters(sinter_c_emitter *e, const char *separator) {
    const sinter_loop_function *kernel = e->function;
    for (size_t i = 0; i < kernel->buffer_parameters.count; i++) {
        sinter_loop_buffer id = kernel->buffer_parameters.items[i];
        const sinter_loop_buffer_info *info = &kernel->buffers.items[id];
        bool reads = info->scope == SINTER_SCOPE_INPUT;
        sinter_text_append_string(e->text, separator);
        sinter_text_format(e->text, reads ? e->dialect->input : e->dialect->output,
                           sinter_c_memory(info->dtype), e->buffers[id]);
        separator = ", ";
    }
    for (size_t i = 0; i < kernel->scalar_parameters.count; i++) {
        sinter_loop_var id = kernel->scalar_parameters.items[i];
        sinter_text_format(e->text, "%s%s %s", separator,
                           sinter_c_type(kernel->vars.items[id].dtype), e->vars[id]);
        separator = ", ";
    }
}

static void write_unused_parameters(sinter_c_emitter *e, const sinter_loop_function *kernel) {
    if (!e->uses.fails && !e->uses.in_parallel) sinter_c_write(e, "(void)call;");
    for (size_t i = 0; i < kernel->buffer_parameters.count; i++) {
        sinter_loop_buffer id = kernel->buffer_parameters.items[i];
        if (!e->uses.buffers[id]) sinter_c_write(e, "(void)%s;", e->buffers[id]);
    }
    for (size_t i = 0; i < kernel->scalar_parameters.count; i++) {
        sinter_loop_var id = kernel->scalar_parameters.items[i];
        if (!e->mentioned[id]) sinter_c_write(e, "(void)%s;", e->vars[id]);
    }
}

static void write_kernel(sinter_c_emitter *e, uint32_t index) {
    const sinter_loop_function *kernel = e->program->kernels.items[index];
    e->fails = e->kernel_fails[index] = e->uses.fails;
    if (kernel->comment) sinter_c_write(e, "/* %s */", sinter_c_comment(e->arena, kernel->comment));
    sinter_text_format(e->text, "static %s kernel_%u_%s(", e->fails ? "int32_t" : "void", index,
                       kernel->name);
    sinter_text_append_string(e->text, "sinter_abi_call *call");
    sinter_c_parameters(e, ", ");
    sinter_text_append_string(e->text, ") {\n");
    e->indent = 1;
    if (e->mentioned) write_unused_parameters(e, kernel);
    sinter_c_statements(e, kernel->body);
    if (e->fails) sinter_c_write(e, "return 0;");
    e->indent = 0;
    sinter_c_write(e, "}\n");
}

void sinter_c_kernel(sinter_c_emitter *e, uint32_t index, sinter_text *out,
                     void (*write)(sinter_c_emitter *e, uint32_t index)) {
    uint32_t body_count = e->body_count;
    e->mentioned = NULL;
    for (int pass = 0; pass < 2 && !e->broken; pass++) {
        sinter_text text = {0}, bodies = {0};
        e->body_count = body_count;
        e->text = &text;
        e->bodies = &bodies;
        e->indent = 0;
        sinter_c_begin_function(e, e->program->kernels.items[index]);
        write(e, index);
        e->mentioned = e->printed;
        if (pass && bodies.data) sinter_text_append(out, bodies.data, bodies.size);
        if (pass) sinter_text_append(out, text.data, text.size);
        sinter_text_deinit(&text);
        sinter_text_deinit(&bodies);
    }
}

/* ---- the file ---- */

static const char introduction[] =
    ".\n *\n"
    " * C17; needs nothing but the C library and libm. Arithmetic is IEEE 754 in the order "
    "written: any level of\n"
    " * optimization will do, -ffast-math will not. Sums of products are rounded once a product "
    "where "
    "the machine has an\n"
    " * instruction for it; -DSINTER_NO_FMA gives the same bits on every machine. -DSINTER_BOARD: "
    "no heap, no stdio, memory is the caller's. "
    "*/\n\n"
    "#ifdef __clang__\n#pragma clang diagnostic ignored \"-Wunused-function\"\n#endif\n\n";

const char sinter_c_abi_text[] = {
#include "codegen/emit/abi.inc"
};

static const char head[] = {
#include "codegen/emit/c_head.inc"
};
const char sinter_c_scalars[] = {
#include "codegen/emit/c_scalars.inc"
};
static const char helpers[] = {
#include "codegen/emit/c_helpers.inc"
};

const sinter_c_dialect sinter_c_plain = {
    .input = "const %s *restrict %s",
    .output = "%s *restrict %s",
    .scratch = "_Alignas(64) %1$s %2$s[%3$lld];",
    .vector = "SINTER_VECTOR",
};

bool sinter_emit_c_code(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag) {
    sinter_loop_program *legal = sinter_legalize(program, NULL, diag);
    if (!legal) return false;
    sinter_arena arena;
    sinter_arena_init(&arena);
    uint64_t *offsets = SINTER_NEW_ARRAY(&arena, uint64_t, legal->constants.count);
    sinter_c_emitter e = {
        .program = legal, .dialect = &sinter_c_plain, .arena = &arena, .diag = diag};
    e.weight_offsets = offsets;
    e.weight_bytes = sinter_weights_layout(legal, offsets);
    e.kernel_fails = SINTER_NEW_ARRAY(&arena, bool, legal->kernels.count);
    for (uint32_t i = 0; i < legal->kernels.count && !e.broken; i++)
        sinter_c_kernel(&e, i, text, write_kernel);
    e.text = text;
    if (!e.broken && legal->host) sinter_c_emit_host(&e);
    sinter_arena_deinit(&arena);
    sinter_loop_program_destroy(legal);
    return !e.broken;
}

bool sinter_emit_c(const sinter_loop_program *program, sinter_text *text, sinter_diag *diag) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_text_format(text, "/* Compiled by Sinter from %s%s",
                       sinter_c_comment(&scratch, program->name), introduction);
    sinter_arena_deinit(&scratch);
    sinter_text_append_string(text, sinter_c_abi_text);
    sinter_text_append_string(text, head);
    sinter_text_append_string(text, sinter_c_scalars);
    sinter_text_append_string(text, helpers);
    return sinter_emit_c_code(program, text, diag);
}
