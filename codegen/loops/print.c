/* The text form of the loop IR; docs/loops.md has the grammar, parse.c reads it back.
 * Needs: nothing, broken programs print too (a variable out of scope prints as ?name). Guarantees: what is printed reads
 * back to a program that prints the same bytes; names are made unique where they are visible together.
 * Test: tests/codegen/loops/ */
#include "codegen/loops/box.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/text.h"
#include "runtime/abi.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const sinter_loop_operator sinter_loop_operators[] = {
    {SINTER_SCALAR_or, "|", 3},   {SINTER_SCALAR_xor, "^", 4},  {SINTER_SCALAR_and, "&", 5},
    {SINTER_SCALAR_eq, "==", 6},  {SINTER_SCALAR_ne, "!=", 6},  {SINTER_SCALAR_lt, "<", 7},
    {SINTER_SCALAR_le, "<=", 7},  {SINTER_SCALAR_shl, "<<", 8}, {SINTER_SCALAR_shr, ">>", 8},
    {SINTER_SCALAR_add, "+", 9},  {SINTER_SCALAR_sub, "-", 9},  {SINTER_SCALAR_mul, "*", 10},
    {SINTER_SCALAR_div, "/", 10}, {SINTER_SCALAR_rem, "%", 10},
};
const size_t sinter_loop_operator_count =
    sizeof sinter_loop_operators / sizeof *sinter_loop_operators;

const char *const sinter_loop_axis_names[] = {"",       "unroll",   "vector", "parallel", "block",
                                              "thread", "ldmatrix", "mma",    "wgmma"};
const char *const sinter_loop_scope_names[] = {"in",    "out",    "inout", "constant", "register",
                                               "stack", "shared", "heap",  "alias"};

static const char *const reserved_words[] = {
    "for",  "if",      "else",     "while",  "let",  "var",   "alloc", "barrier", "comment",
    "fail", "call",    "free",     "bind",   "in",   "true",  "false", "inf",     "nan",
    "step", "combine", "prefetch", "commit", "wait", "fence", "_"};

typedef struct printer {
    const sinter_loop_program *program;
    const sinter_loop_function *function;
    const char *const *kernel_names;
    sinter_text *text;
    sinter_arena arena;     /* of the names */
    const char **var_names; /* NULL: not visible here */
    const char **buffer_names;
    SINTER_VECTOR(sinter_loop_var) visible;
    sinter_map names; /* of variables: see set_name */
    int indent;
    bool is_brief; /* no bodies */
} printer;

/* ---- names ---- */

/* Kernels have thousands of variables of few names, so a name has an entry: whether it is taken, and how many of name, name_1, name_2,
 * ... are so in any case. */
static void set_name(printer *p, sinter_string name, bool is_taken, uint64_t next) {
    sinter_map_put_string(&p->names, name, next << 1 | is_taken);
}

static bool find_name(const printer *p, sinter_string name, uint64_t *out_next) {
    uint64_t entry = 0;
    sinter_map_find_string(&p->names, name, &entry);
    *out_next = entry >> 1;
    return entry & 1;
}

/* No variable has a name yet, and none gets one of these. */
static void reserve_words(printer *p) {
    sinter_map_init(&p->names, &p->arena);
    for (size_t i = 0; i < sizeof reserved_words / sizeof *reserved_words; i++)
        set_name(p, sinter_string_of(reserved_words[i]), true, 0);
}

/* The first of name, name_1, name_2, ... that is not taken. */
static void show_var(printer *p, sinter_loop_var var) {
    const char *base = p->function->vars.items[var].name, *name = base;
    uint64_t next, ignored;
    find_name(p, sinter_string_of(base), &next);
    for (;; next++) {
        if (next) name = sinter_arena_format(&p->arena, "%s_%" PRIu64, base, next);
        if (!find_name(p, sinter_string_of(name), &ignored)) break;
    }
    set_name(p, sinter_string_of(name), true, ignored);
    set_name(p, sinter_string_of(base), find_name(p, sinter_string_of(base), &ignored), next + 1);
    p->var_names[var] = name;
    sinter_vector_push(&p->arena, &p->visible, var);
}

/* Names that were tried before it are tried again: as one of its own, and as name_N of what comes before the number. */
static void free_name(printer *p, const char *text) {
    sinter_string name = sinter_string_of(text), base = name;
    uint64_t next, number = 0;
    set_name(p, name, false, 0);
    for (uint64_t unit = 1; base.size && base.data[base.size - 1] >= '0' &&
                            base.data[base.size - 1] <= '9' && unit < 1000000000;
         unit *= 10)
        number += unit * (uint64_t)(base.data[--base.size] - '0');
    if (base.size < 2 || base.size == name.size || base.data[base.size - 1] != '_') return;
    base.size--;
    bool is_taken = find_name(p, base, &next);
    if (number < next) set_name(p, base, is_taken, number);
}

static void hide_vars(printer *p, size_t count) {
    while (p->visible.count > count) {
        sinter_loop_var var = p->visible.items[--p->visible.count];
        free_name(p, p->var_names[var]);
        p->var_names[var] = NULL;
    }
}

static void name_buffers(printer *p) {
    size_t count = p->function->buffers.count;
    p->buffer_names = SINTER_NEW_ARRAY(&p->arena, const char *, count);
    sinter_map taken;
    sinter_map_init(&taken, &p->arena);
    for (size_t i = 1; i < count; i++) {
        const char *base = p->function->buffers.items[i].name, *name = base;
        uint64_t other;
        for (unsigned k = 1; sinter_map_find_string(&taken, sinter_string_of(name), &other); k++)
            name = sinter_arena_format(&p->arena, "%s_%u", base, k);
        sinter_map_put_string(&taken, sinter_string_of(name), i);
        p->buffer_names[i] = name;
    }
}

static const char *buffer_name(printer *p, sinter_loop_buffer buffer) {
    return buffer && buffer < p->function->buffers.count ? p->buffer_names[buffer] : "?";
}

/* ---- expressions ---- */

static void put(printer *p, const char *string) {
    sinter_text_append_string(p->text, string);
}

static void print_float(printer *p, sinter_expr expr) {
    double value = expr->float_value;
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value) && bits != UINT64_C(0x7ff8000000000000))
        sinter_text_format(p->text, "0x%016" PRIx64, bits);
    else if (expr->dtype == SINTER_DTYPE_f64)
        sinter_text_double(p->text, value);
    else
        sinter_text_float(p->text, (float)value);
    sinter_text_format(p->text, ":%s", sinter_dtype_infos[expr->dtype].name);
}

static void print_const(printer *p, sinter_expr expr) {
    if (sinter_dtype_is_float(expr->dtype))
        print_float(p, expr);
    else if (expr->dtype == SINTER_DTYPE_bool)
        put(p, expr->int_value ? "true" : "false");
    else if (expr->dtype == SINTER_DTYPE_u64)
        sinter_text_format(p->text, "%" PRIu64 ":u64", (uint64_t)expr->int_value);
    else if (expr->dtype == SINTER_DTYPE_i64)
        sinter_text_format(p->text, "%" PRId64, expr->int_value);
    else
        sinter_text_format(p->text, "%" PRId64 ":%s", expr->int_value,
                           sinter_dtype_infos[expr->dtype].name);
}

static void print_expr(printer *p, sinter_expr expr, int precedence);

static void print_list(printer *p, const sinter_expr *items, uint32_t count,
                       const char *separator) {
    for (uint32_t i = 0; i < count; i++) {
        if (i) put(p, separator);
        if (items[i])
            print_expr(p, items[i], 0);
        else
            put(p, "_");
    }
}

static void print_element(printer *p, sinter_loop_buffer buffer, const sinter_expr *indices,
                          uint32_t count) {
    sinter_text_format(p->text, "%%%s[", buffer_name(p, buffer));
    print_list(p, indices, count, ",");
    put(p, "]");
}

static void print_arguments(printer *p, const char *name, sinter_expr expr) {
    sinter_text_format(p->text, "%s(", name);
    print_list(p, expr->arguments, expr->argument_count, ", ");
    put(p, ")");
}

static void print_call(printer *p, sinter_expr expr, int precedence) {
    for (size_t i = 0; i < sinter_loop_operator_count; i++) {
        const sinter_loop_operator *op = &sinter_loop_operators[i];
        if (op->function != expr->function) continue;
        bool wrap = op->precedence < precedence;
        if (wrap) put(p, "(");
        print_expr(p, expr->arguments[0], op->precedence);
        sinter_text_format(p->text, " %s ", op->text);
        print_expr(p, expr->arguments[1], op->precedence + 1);
        if (wrap) put(p, ")");
        return;
    }
    bool negates = expr->function == SINTER_SCALAR_neg,
         inverts = expr->function == SINTER_SCALAR_not;
    if (!negates && !inverts) {
        print_arguments(p, sinter_scalar_get_info(expr->function)->name, expr);
        return;
    }
    put(p, negates ? "-" : expr->dtype == SINTER_DTYPE_bool ? "!" : "~");
    /* -(5) is a negation, -5 a number. */
    bool is_const = expr->arguments[0]->kind == SINTER_LOOP_CONST;
    if (is_const) put(p, "(");
    print_expr(p, expr->arguments[0], SINTER_LOOP_UNARY_PRECEDENCE);
    if (is_const) put(p, ")");
}

static void print_expr(printer *p, sinter_expr expr, int precedence) {
    switch (expr->kind) {
    case SINTER_LOOP_CONST:
        print_const(p, expr);
        break;
    case SINTER_LOOP_VAR: {
        bool known = expr->var && expr->var < p->function->vars.count;
        const char *name = known ? p->var_names[expr->var] : "";
        if (!name)
            sinter_text_format(p->text, "?%s", p->function->vars.items[expr->var].name);
        else
            put(p, known ? name : "?");
        break;
    }
    case SINTER_LOOP_LOAD:
        print_element(p, expr->buffer, expr->arguments, expr->argument_count);
        break;
    case SINTER_LOOP_CALL:
        print_call(p, expr, precedence);
        break;
    case SINTER_LOOP_CAST:
        sinter_text_format(p->text, "%s(%s, ", expr->saturate ? "cast" : "cast_wrap",
                           sinter_dtype_infos[expr->dtype].name);
        print_expr(p, expr->arguments[0], 0);
        put(p, ")");
        break;
    case SINTER_LOOP_INTRINSIC:
        print_arguments(p, sinter_loop_intrinsic_infos[expr->intrinsic].name, expr);
        break;
    }
}

/* ---- statements ---- */

static void line(printer *p) {
    sinter_text_format(p->text, "%*s", p->indent * 2, "");
}

/* Whether every variable of the expression has a name here. */
static bool is_visible(printer *p, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_VAR) return p->var_names[expr->var] != NULL;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_visible(p, expr->arguments[i])) return false;
    return true;
}

/* "%x: f32[N,4] heap"; a dim of a parameter that only the body knows is '?' until its alloc. */
static void print_buffer(printer *p, sinter_loop_buffer buffer, bool is_parameter) {
    const sinter_loop_buffer_info *info = &p->function->buffers.items[buffer];
    sinter_text_format(p->text, "%%%s: %s[", buffer_name(p, buffer),
                       sinter_dtype_infos[info->dtype].name);
    for (uint32_t i = 0; i < info->rank; i++) {
        if (i) put(p, ",");
        if (is_parameter && !is_visible(p, info->dims[i]))
            put(p, "?");
        else
            print_expr(p, info->dims[i], 0);
    }
    sinter_text_format(p->text, "] %s", sinter_loop_scope_names[info->scope]);
    if (info->scope == SINTER_SCOPE_CONSTANT)
        sinter_text_format(p->text, " %u", info->constant);
    else if (info->io_index >= 0)
        sinter_text_format(p->text, " %d", info->io_index);
    if (info->alignment) sinter_text_format(p->text, " align %u", info->alignment);
    if (info->swizzle) sinter_text_format(p->text, " swizzle %u", info->swizzle);
    if (info->arrivals) sinter_text_format(p->text, " arrivals %u", info->arrivals);
}

static void print_block(printer *p, const sinter_loop_stmt *first);

/* Iterations, or parts of one. */
static void print_grain(sinter_text *text, int64_t grain) {
    const int64_t parts = SINTER_ABI_GRAIN_PARTS;
    sinter_text_format(text, " grain %" PRId64, grain % parts ? grain : grain / parts);
    if (grain % parts) sinter_text_format(text, "/%" PRId64, parts);
}

static void print_for(printer *p, const sinter_loop_stmt *stmt) {
    size_t visible = p->visible.count;
    /* The bounds do not see the variable. */
    sinter_text bounds = {0}, *text = p->text;
    p->text = &bounds;
    print_expr(p, stmt->lower, 0);
    put(p, "..");
    print_expr(p, stmt->upper, 0);
    p->text = text;
    show_var(p, stmt->var);
    sinter_text_format(text, "for %s in %s", p->var_names[stmt->var], bounds.data);
    sinter_text_deinit(&bounds);
    if (stmt->step != 1) sinter_text_format(text, " step %" PRId64, stmt->step);
    if (stmt->axis != SINTER_AXIS_SERIAL)
        sinter_text_format(text, " %s", sinter_loop_axis_names[stmt->axis]);
    if (stmt->axis == SINTER_AXIS_MMA || stmt->axis == SINTER_AXIS_WGMMA)
        sinter_text_format(text, " %s", sinter_loop_mma_infos[stmt->mma].name);
    if (stmt->grain) print_grain(text, stmt->grain);
    if (stmt->joined) put(p, " joined");
    print_block(p, stmt->body);
    hide_vars(p, visible);
}

static void print_if(printer *p, const sinter_loop_stmt *stmt) {
    put(p, "if ");
    print_expr(p, stmt->value, 0);
    print_block(p, stmt->body);
    if (!stmt->else_body) return;
    p->text->size--; /* the line end of the first block */
    put(p, " else");
    print_block(p, stmt->else_body);
}

static void print_declare(printer *p, const sinter_loop_stmt *stmt) {
    const sinter_loop_var_info *info = &p->function->vars.items[stmt->var];
    sinter_text value = {0}, *text = p->text;
    p->text = &value;
    print_expr(p, stmt->value, 0);
    p->text = text;
    show_var(p, stmt->var);
    sinter_text_format(text, "%s %s: %s = %s\n", info->is_mutable ? "var" : "let",
                       p->var_names[stmt->var], sinter_dtype_infos[info->dtype].name, value.data);
    sinter_text_deinit(&value);
}

static void print_store(printer *p, const sinter_loop_stmt *stmt) {
    print_element(p, stmt->buffer, stmt->arguments, stmt->argument_count);
    put(p, " ");
    if (stmt->combine)
        sinter_text_format(p->text, "combine(%s)%s ", sinter_scalar_get_info(stmt->combine)->name,
                           stmt->atomic ? " atomic" : "");
    put(p, stmt->asynchronous ? "async = " : "= ");
    print_expr(p, stmt->value, 0);
    put(p, "\n");
}

static void print_quoted(printer *p, const char *string) {
    sinter_text_quote(p->text, sinter_string_of(string));
}

static void print_call_kernel(printer *p, const sinter_loop_stmt *stmt) {
    bool known = p->kernel_names && stmt->kernel < p->program->kernels.count;
    sinter_text_format(p->text, "call @%s(", known ? p->kernel_names[stmt->kernel] : "?");
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++)
        sinter_text_format(p->text, "%s%%%s", i ? ", " : "",
                           buffer_name(p, stmt->buffer_arguments[i]));
    if (stmt->buffer_argument_count && stmt->argument_count) put(p, ", ");
    print_list(p, stmt->arguments, stmt->argument_count, ", ");
    put(p, stmt->copies ? ") copies" : ")");
    if (stmt->text) {
        put(p, " ");
        print_quoted(p, stmt->text);
    }
    put(p, "\n");
}

static void print_fail(printer *p, const sinter_loop_stmt *stmt) {
    sinter_text_format(p->text, "fail %d ", stmt->code);
    print_quoted(p, stmt->text);
    if (stmt->argument_count) {
        put(p, " (");
        print_list(p, stmt->arguments, stmt->argument_count, ", ");
        put(p, ")");
    }
    put(p, "\n");
}

static void print_memory(printer *p, const sinter_loop_stmt *stmt) {
    if (stmt->kind == SINTER_LOOP_FREE) {
        sinter_text_format(p->text, "free %%%s\n", buffer_name(p, stmt->buffer));
        return;
    }
    if (stmt->kind == SINTER_LOOP_TAKE) {
        sinter_text_format(p->text, "take %%%s", buffer_name(p, stmt->buffer));
        sinter_text_format(p->text, " = %%%s\n", buffer_name(p, stmt->source));
        return;
    }
    bool bind = stmt->kind == SINTER_LOOP_BIND;
    put(p, bind ? "bind " : "alloc ");
    print_buffer(p, stmt->buffer, false);
    if (bind) sinter_text_format(p->text, " = %%%s", buffer_name(p, stmt->source));
    if (stmt->value) {
        put(p, bind ? " + " : " at ");
        print_expr(p, stmt->value, bind ? 10 : 0);
    }
    put(p, "\n");
}

static void print_exchange(printer *p, const sinter_loop_stmt *stmt) {
    const sinter_loop_exchange *x = &stmt->exchange;
    put(p, x->phase == SINTER_ABI_EXCHANGE_BEGINS ? "exchange begins "
           : x->phase == SINTER_ABI_EXCHANGE_ENDS ? "exchange ends "
                                                  : "exchange ");
    sinter_text_format(p->text, "%%%s", buffer_name(p, stmt->buffer));
    sinter_text_format(p->text, " = %%%s", buffer_name(p, stmt->source));
    sinter_text_format(p->text, " kind %d reduction %d dtype %d over %llu index %u", x->kind,
                       x->reduction, x->dtype, (unsigned long long)x->over, x->index);
    if (x->from >= 0) sinter_text_format(p->text, " from %d", x->from);
    if (x->to >= 0) sinter_text_format(p->text, " to %d", x->to);
    put(p, "\n");
}

static void print_box(printer *p, const sinter_loop_stmt *stmt) {
    const sinter_loop_box box = sinter_loop_box_of(stmt);
    static const char *const words[] = {" at [", "] size [", "] of [", "] by [", "] for "};
    put(p, "box ");
    print_element(p, box.to, box.first, box.first_rank);
    sinter_text_format(p->text, " = %%%s", buffer_name(p, box.from));
    for (uint32_t i = 0; i < 4; i++) {
        put(p, words[i]);
        print_list(p, box.at + (size_t)i * box.rank, box.rank, ",");
    }
    put(p, words[4]);
    print_element(p, box.phases, &box.phase, 1);
    put(p, "\n");
}

static void print_place(printer *p, const sinter_loop_stmt *stmt) {
    put(p, stmt->kind == SINTER_LOOP_ARRIVE     ? "arrive "
           : stmt->kind == SINTER_LOOP_PREFETCH ? "prefetch "
                                                : "await ");
    print_element(p, stmt->buffer, stmt->arguments, stmt->argument_count);
    if (stmt->value) {
        put(p, " phase ");
        print_expr(p, stmt->value, 0);
    }
    put(p, "\n");
}

/* Of a variable that is set: "?x" where it is not visible. */
static const char *var_name(printer *p, sinter_loop_var var) {
    const char *name = p->var_names[var];
    return name ? name : sinter_arena_format(&p->arena, "?%s", p->function->vars.items[var].name);
}

static void print_stmt(printer *p, const sinter_loop_stmt *stmt) {
    line(p);
    switch (stmt->kind) {
    case SINTER_LOOP_FOR:
        print_for(p, stmt);
        break;
    case SINTER_LOOP_IF:
        print_if(p, stmt);
        break;
    case SINTER_LOOP_WHILE:
        put(p, "while ");
        print_expr(p, stmt->value, 0);
        print_block(p, stmt->body);
        break;
    case SINTER_LOOP_STORE:
        print_store(p, stmt);
        break;
    case SINTER_LOOP_DECLARE:
        print_declare(p, stmt);
        break;
    case SINTER_LOOP_ASSIGN:
        sinter_text_format(p->text, "%s = ", var_name(p, stmt->var));
        print_expr(p, stmt->value, 0);
        put(p, "\n");
        break;
    case SINTER_LOOP_ALLOC:
    case SINTER_LOOP_FREE:
    case SINTER_LOOP_BIND:
    case SINTER_LOOP_TAKE:
        print_memory(p, stmt);
        break;
    case SINTER_LOOP_CALL_KERNEL:
        print_call_kernel(p, stmt);
        break;
    case SINTER_LOOP_FAIL:
        print_fail(p, stmt);
        break;
    case SINTER_LOOP_EXCHANGE:
        print_exchange(p, stmt);
        break;
    case SINTER_LOOP_BARRIER:
    case SINTER_LOOP_FENCE:
        put(p, stmt->kind == SINTER_LOOP_FENCE ? "fence\n" : "barrier\n");
        break;
    case SINTER_LOOP_COMMIT:
        put(p, stmt->products ? "commit wgmma\n" : "commit\n");
        break;
    case SINTER_LOOP_WAIT:
        sinter_text_format(p->text, "wait %s%u\n", stmt->products ? "wgmma " : "", stmt->pending);
        break;
    case SINTER_LOOP_WARPS:
        sinter_text_format(p->text, "warps %u..%u", stmt->first_warp,
                           stmt->first_warp + stmt->warp_count);
        print_block(p, stmt->body);
        break;
    case SINTER_LOOP_BOX:
        print_box(p, stmt);
        break;
    case SINTER_LOOP_PREFETCH:
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
        print_place(p, stmt);
        break;
    case SINTER_LOOP_REDUCE:
        sinter_text_format(p->text, "reduce %s = ", var_name(p, stmt->var));
        sinter_text_format(p->text, "%s over %%%s\n", sinter_scalar_get_info(stmt->combine)->name,
                           buffer_name(p, stmt->buffer));
        break;
    case SINTER_LOOP_COMMENT:
        put(p, "comment ");
        print_quoted(p, stmt->text);
        put(p, "\n");
        break;
    }
}

static void print_body(printer *p, const sinter_loop_stmt *first) {
    size_t visible = p->visible.count;
    p->indent++;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) print_stmt(p, stmt);
    p->indent--;
    hide_vars(p, visible);
}

static void print_block(printer *p, const sinter_loop_stmt *first) {
    put(p, p->is_brief ? " { ... }\n" : " {\n");
    if (p->is_brief) return;
    print_body(p, first);
    line(p);
    put(p, "}\n");
}

/* ---- functions ---- */

static void mark_allocated(const sinter_loop_stmt *first, bool *allocated) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND)
            allocated[stmt->buffer] = true;
        mark_allocated(stmt->body, allocated);
        mark_allocated(stmt->else_body, allocated);
    }
}

static void print_scalar_parameter(printer *p, sinter_loop_var var) {
    const sinter_loop_var_info *info = &p->function->vars.items[var];
    sinter_text_format(p->text, "%s: %s", p->var_names[var], sinter_dtype_infos[info->dtype].name);
    if (info->min != INT64_MIN || info->max != INT64_MAX)
        sinter_text_format(p->text, " range(%" PRId64 ", %" PRId64 ")", info->min, info->max);
}

/* Opens the scope of the function: names of its buffers and scalar parameters. */
static void begin_function(printer *p, const sinter_loop_function *function) {
    p->function = function;
    p->var_names = SINTER_NEW_ARRAY(&p->arena, const char *, function->vars.count);
    p->visible.count = 0;
    reserve_words(p);
    name_buffers(p);
    for (size_t i = 0; i < function->scalar_parameters.count; i++)
        show_var(p, function->scalar_parameters.items[i]);
}

static void print_function(printer *p, const sinter_loop_function *function, const char *keyword,
                           const char *name) {
    begin_function(p, function);
    bool *declared = SINTER_NEW_ARRAY(&p->arena, bool, function->buffers.count);
    mark_allocated(function->body, declared);
    line(p);
    sinter_text_format(p->text, "%s @%s(", keyword, name);
    for (size_t i = 0; i < function->buffer_parameters.count; i++) {
        if (i) put(p, ", ");
        print_buffer(p, function->buffer_parameters.items[i], true);
        declared[function->buffer_parameters.items[i]] = true;
    }
    for (size_t i = 0; i < function->scalar_parameters.count; i++) {
        if (i || function->buffer_parameters.count) put(p, ", ");
        print_scalar_parameter(p, function->scalar_parameters.items[i]);
    }
    put(p, ")");
    if (function->comment) {
        put(p, " ");
        print_quoted(p, function->comment);
    }
    put(p, " {\n");
    p->indent++;
    for (sinter_loop_buffer i = 1; i < function->buffers.count; i++) {
        if (declared[i]) continue;
        line(p);
        put(p, "buffer ");
        print_buffer(p, i, false);
        put(p, "\n");
    }
    p->indent--;
    print_body(p, function->body);
    line(p);
    put(p, "}\n");
}

/* ---- programs ---- */

static void name_kernels(printer *p) {
    const sinter_loop_program *program = p->program;
    const char **names = SINTER_NEW_ARRAY(&p->arena, const char *, program->kernels.count);
    sinter_map taken;
    sinter_map_init(&taken, &p->arena);
    for (size_t i = 0; i < program->kernels.count; i++) {
        const char *base = program->kernels.items[i]->name, *name = base;
        uint64_t other;
        for (unsigned k = 1; sinter_map_find_string(&taken, sinter_string_of(name), &other); k++)
            name = sinter_arena_format(&p->arena, "%s_%u", base, k);
        sinter_map_put_string(&taken, sinter_string_of(name), i);
        names[i] = name;
    }
    p->kernel_names = names;
}

static void print_io(printer *p, const char *keyword, const sinter_loop_io *io) {
    line(p);
    sinter_text_format(p->text, "%s ", keyword);
    print_quoted(p, io->name);
    sinter_text_format(p->text, ": %s[", sinter_dtype_infos[io->dtype].name);
    for (uint32_t i = 0; i < io->rank; i++) {
        if (i) put(p, ",");
        if (io->dims[i] >= 0)
            sinter_text_format(p->text, "%" PRId64, io->dims[i]);
        else
            print_quoted(p, io->dim_names[i]);
    }
    put(p, "]");
    if (io->dim_exprs) {
        put(p, " = [");
        print_list(p, io->dim_exprs, io->rank, ", ");
        put(p, "]");
    }
    put(p, "\n");
}

static void print_symbol(printer *p, const sinter_loop_symbol *symbol) {
    line(p);
    put(p, "symbol ");
    print_quoted(p, symbol->name);
    sinter_text_format(p->text,
                       ": %" PRId64 "..%" PRId64 " multiple %" PRId64 " from input %u %s %u\n",
                       symbol->min, symbol->max, symbol->multiple, symbol->input,
                       symbol->content ? "element" : "dim", symbol->index);
}

static void print_elements(printer *p, const sinter_tensor *tensor) {
    int64_t count = sinter_tensor_count(tensor);
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    put(p, "[");
    for (int64_t i = 0; i < count; i++) {
        if (i) put(p, ", ");
        if (tensor->dtype == SINTER_DTYPE_string)
            sinter_text_quote(p->text, sinter_tensor_get_string(tensor, i));
        else if (tensor->dtype == SINTER_DTYPE_f64)
            sinter_text_double(p->text, sinter_tensor_get_double(tensor, i));
        else if (is_float)
            sinter_text_float(p->text, (float)sinter_tensor_get_double(tensor, i));
        else if (tensor->dtype == SINTER_DTYPE_u64)
            sinter_text_format(p->text, "%" PRIu64, (uint64_t)sinter_tensor_get_int(tensor, i));
        else
            sinter_text_format(p->text, "%" PRId64, sinter_tensor_get_int(tensor, i));
    }
    put(p, "]\n");
}

static bool has_nan(const sinter_tensor *tensor) {
    if (!sinter_dtype_is_float(tensor->dtype)) return false;
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++)
        if (isnan(sinter_tensor_get_double(tensor, i))) return true;
    return false;
}

static void print_constant(printer *p, size_t index, const sinter_tensor *tensor) {
    line(p);
    sinter_text_format(p->text, "constant %zu: %s[", index, sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(p->text, "%s%" PRId64, i ? "," : "", tensor->dims[i]);
    put(p, "] = ");
    size_t bytes = sinter_tensor_bytes(tensor);
    bool is_complex = sinter_dtype_infos[tensor->dtype].class == SINTER_CLASS_COMPLEX;
    bool is_string = tensor->dtype == SINTER_DTYPE_string;
    if (!tensor->data || bytes > SINTER_LOOP_MAX_CONSTANT_TEXT) {
        put(p, "...\n");
    } else if (is_string ||
               (sinter_tensor_count(tensor) <= 16 && !is_complex && !has_nan(tensor))) {
        print_elements(p, tensor);
    } else {
        const unsigned char *data = tensor->data;
        put(p, "0x");
        for (size_t i = 0; i < bytes; i++) sinter_text_format(p->text, "%02x", data[i]);
        put(p, "\n");
    }
}

static void print_check(printer *p, const sinter_loop_check *check) {
    line(p);
    sinter_text_format(p->text, "check input %u dim %u == ", check->input, check->axis);
    print_expr(p, check->expected, 0);
    put(p, "\n");
}

static void print_sections(printer *p) {
    const sinter_loop_program *program = p->program;
    for (size_t i = 0; i < program->inputs.count; i++)
        print_io(p, "input", &program->inputs.items[i]);
    for (size_t i = 0; i < program->symbols.count; i++) print_symbol(p, &program->symbols.items[i]);
    for (size_t i = 0; i < program->constants.count; i++)
        print_constant(p, i, &program->constants.items[i].tensor);
    for (size_t i = 0; i < program->kernels.count; i++)
        print_function(p, program->kernels.items[i], "kernel", p->kernel_names[i]);
    if (!program->host) return;
    print_function(p, program->host, "host", program->host->name);
    for (size_t i = 0; i < program->outputs.count; i++)
        print_io(p, "output", &program->outputs.items[i]);
    for (size_t i = 0; i < program->checks.count; i++) print_check(p, &program->checks.items[i]);
    for (size_t i = 0; i < program->donations.count; i++) {
        line(p);
        sinter_text_format(p->text, "donate output %u takes input %u\n",
                           program->donations.items[i].output, program->donations.items[i].input);
    }
    if (!program->workspace_bytes) return;
    line(p);
    put(p, "workspace ");
    print_expr(p, program->workspace_bytes, 0);
    put(p, "\n");
}

static void init(printer *p, const sinter_loop_program *program, sinter_text *text) {
    *p = (printer){.program = program, .text = text};
    sinter_arena_init(&p->arena);
    name_kernels(p);
}

void sinter_loop_print(const sinter_loop_program *program, sinter_text *text) {
    printer p;
    init(&p, program, text);
    bool bare = !program->host && !*program->name && !program->inputs.count &&
                !program->symbols.count && !program->constants.count;
    if (!bare) {
        put(&p, "program ");
        print_quoted(&p, program->name);
        put(&p, " {\n");
        p.indent++;
    }
    print_sections(&p);
    if (!bare) put(&p, "}\n");
    sinter_arena_deinit(&p.arena);
}

void sinter_loop_print_function(const sinter_loop_program *program,
                                const sinter_loop_function *function, sinter_text *text) {
    printer p = {.program = program, .text = text};
    bool is_host = program && function == program->host;
    const char *name = function->name;
    size_t at = 0, count = program ? program->kernels.count : 0;
    sinter_arena_init(&p.arena);
    while (at < count && program->kernels.items[at] != function) at++;
    /* One that is in no program yet calls none, and takes the name that it has. */
    if (is_host || at < count) name_kernels(&p);
    if (at < count) name = p.kernel_names[at];
    print_function(&p, function, is_host ? "host" : "kernel", name);
    sinter_arena_deinit(&p.arena);
}

/* Names as the tables have them, all visible. */
static void init_brief(printer *p, const sinter_loop_program *program,
                       const sinter_loop_function *function, sinter_text *text) {
    *p = (printer){.program = program, .function = function, .text = text, .is_brief = true};
    sinter_arena_init(&p->arena);
    reserve_words(p);
    p->var_names = SINTER_NEW_ARRAY(&p->arena, const char *, function->vars.count);
    p->buffer_names = SINTER_NEW_ARRAY(&p->arena, const char *, function->buffers.count);
    for (size_t i = 0; i < function->vars.count; i++)
        p->var_names[i] = function->vars.items[i].name;
    for (size_t i = 0; i < function->buffers.count; i++)
        p->buffer_names[i] = function->buffers.items[i].name;
}

void sinter_loop_print_expr(const sinter_loop_function *function, sinter_expr expr,
                            sinter_text *text) {
    printer p;
    init_brief(&p, NULL, function, text);
    print_expr(&p, expr, 0);
    sinter_arena_deinit(&p.arena);
}

void sinter_loop_print_stmt(const sinter_loop_program *program,
                            const sinter_loop_function *function, const sinter_loop_stmt *stmt,
                            sinter_text *text) {
    printer p;
    init_brief(&p, program, function, text);
    if (program) name_kernels(&p);
    print_stmt(&p, stmt);
    if (text->size && text->data[text->size - 1] == '\n') text->data[--text->size] = 0;
    sinter_arena_deinit(&p.arena);
}
