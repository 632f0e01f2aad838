/* Reads the text form of the loop IR (docs/loops.md), the inverse of loop_print.c.
 * Needs: nothing, any text may come. Guarantees: NULL and at least one error with its line and column, or a program whose
 * ids are all in range and whose expressions are exactly as written: nothing is folded. Types are the verifier's.
 * Test: tests/codegen/loops/, tests/fuzz/loop_parse_fuzz.c */
#include "codegen/loop_text.h"
#include "ir/base/lex.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Longer chains of operators would only serve to exhaust the stack of whoever walks the tree. */
enum { MAX_OPERATORS = 500 };

typedef struct visible_var {
    sinter_string name;
    sinter_loop_var var;
} visible_var;

typedef struct parser {
    sinter_lexer lexer;
    sinter_loop_program *program;
    sinter_arena *arena; /* the program's */
    sinter_loop_builder builder;
    SINTER_VECTOR(visible_var) visible;
    sinter_map buffers; /* of the function, by name */
    sinter_map kernels; /* by name: index */
    bool is_host;
    int operators;
} parser;

/* ---- names ---- */

static char *copy_string(parser *p, sinter_string string) {
    return sinter_arena_copy_string(p->arena, string.data, string.size);
}

static void show_var(parser *p, sinter_string name, sinter_loop_var var) {
    sinter_vector_push(p->arena, &p->visible, (visible_var){.name = name, .var = var});
}

static sinter_loop_var find_var(const parser *p, sinter_string name) {
    for (size_t i = p->visible.count; i-- > 0;)
        if (sinter_string_equal(p->visible.items[i].name, name)) return p->visible.items[i].var;
    return 0;
}

static bool expect_buffer(parser *p, sinter_loop_buffer *out_buffer) {
    const char *position = p->lexer.token.position;
    sinter_string name;
    uint64_t found;
    *out_buffer = 0;
    if (!sinter_lexer_expect_value(&p->lexer, &name)) return false;
    if (!sinter_map_find_string(&p->buffers, name, &found))
        return sinter_lexer_error_at(&p->lexer, position, "buffer %%%.*s is not declared",
                                     SINTER_STRING_ARGS(name));
    *out_buffer = (sinter_loop_buffer)found;
    return true;
}

static bool expect_dtype(parser *p, sinter_dtype *out_dtype) {
    const char *position = p->lexer.token.position;
    sinter_string name;
    if (!sinter_lexer_expect_identifier(&p->lexer, &name)) return false;
    *out_dtype = sinter_dtype_find(name);
    return *out_dtype || sinter_lexer_error_at(&p->lexer, position, "unknown element type '%.*s'",
                                               SINTER_STRING_ARGS(name));
}

static bool expect_unsigned(parser *p, uint32_t *out_value) {
    const char *position = p->lexer.token.position;
    int64_t value;
    *out_value = 0;
    if (!sinter_lexer_expect_integer(&p->lexer, &value)) return false;
    if (value < 0 || value > UINT32_MAX)
        return sinter_lexer_error_at(&p->lexer, position, "expected a number in 0..%u", UINT32_MAX);
    *out_value = (uint32_t)value;
    return true;
}

/* ---- expressions ---- */

typedef SINTER_VECTOR(sinter_expr) expr_list;

static bool parse_expr(parser *p, sinter_expr *out_expr);
static bool parse_unary(parser *p, sinter_expr *out_expr);

/* Up to the closing token, which is consumed. '_' gives NULL where `optional`, '?' where `late`. */
static bool parse_list(parser *p, const char *close, bool optional, expr_list *out_list) {
    *out_list = (expr_list){0};
    if (sinter_lexer_accept(&p->lexer, close)) return true;
    for (;;) {
        sinter_expr item = NULL;
        bool absent = optional &&
                      (sinter_lexer_accept(&p->lexer, "_") || sinter_lexer_accept(&p->lexer, "?"));
        if (!absent && !parse_expr(p, &item)) return false;
        sinter_vector_push(p->arena, out_list, item);
        if (sinter_lexer_accept(&p->lexer, close)) return true;
        if (!sinter_lexer_expect(&p->lexer, ",")) return false;
    }
}

static bool make(parser *p, sinter_loop_expr pattern, sinter_expr *out_expr) {
    *out_expr = sinter_loop_expr_make(p->arena, &pattern);
    return true;
}

/* ":f32" after a number; without it, integers are i64. */
static bool parse_number(parser *p, bool negative, sinter_expr *out_expr) {
    sinter_token token = p->lexer.token;
    double number = 0;
    bool is_integer = token.kind == SINTER_TOKEN_INTEGER;
    if (is_integer)
        sinter_lexer_next(&p->lexer);
    else if (!sinter_lexer_expect_number(&p->lexer, &number))
        return false;
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CONST, .dtype = SINTER_DTYPE_i64};
    if (sinter_lexer_accept(&p->lexer, ":")) {
        if (!expect_dtype(p, &pattern.dtype)) return false;
    } else if (!is_integer)
        return sinter_lexer_error_at(&p->lexer, token.position,
                                     "a float needs its type, as in 1.5:f32");
    if (sinter_dtype_is_float(pattern.dtype)) {
        sinter_scalar wide = {.dtype = SINTER_DTYPE_f64, .f = is_integer ? token.number : number};
        bool payload = token.kind == SINTER_TOKEN_HEX; /* a NaN by its bits */
        if (negative) wide.f = -wide.f;
        pattern.float_value = payload ? wide.f : sinter_scalar_cast(wide, pattern.dtype).f;
        return make(p, pattern, out_expr);
    }
    if (!is_integer || !sinter_dtype_is_integer(pattern.dtype))
        return sinter_lexer_error_at(&p->lexer, token.position, "not a number of type %s",
                                     sinter_dtype_infos[pattern.dtype].name);
    bool is_u64 = pattern.dtype == SINTER_DTYPE_u64;
    uint64_t limit =
        is_u64 ? (negative ? 0 : UINT64_MAX) : (uint64_t)INT64_MAX + (negative ? 1 : 0);
    sinter_scalar wide = {.dtype = SINTER_DTYPE_i64,
                          .i = (int64_t)(negative ? 0 - token.integer : token.integer)};
    pattern.int_value = is_u64 ? wide.i : sinter_scalar_cast(wide, pattern.dtype).i;
    if (token.integer > limit || pattern.int_value != wide.i)
        return sinter_lexer_error_at(&p->lexer, token.position, "the number does not fit %s",
                                     sinter_dtype_infos[pattern.dtype].name);
    return make(p, pattern, out_expr);
}

static bool parse_cast(parser *p, bool saturate, sinter_expr *out_expr) {
    sinter_loop_expr pattern = {
        .kind = SINTER_LOOP_CAST, .saturate = saturate, .argument_count = 1};
    sinter_expr value;
    if (!expect_dtype(p, &pattern.dtype) || !sinter_lexer_expect(&p->lexer, ",") ||
        !parse_expr(p, &value) || !sinter_lexer_expect(&p->lexer, ")"))
        return false;
    pattern.arguments = &value;
    return make(p, pattern, out_expr);
}

static sinter_loop_intrinsic find_intrinsic(sinter_string name) {
    for (int i = 1; i < SINTER_INTRINSIC_COUNT; i++)
        if (sinter_string_is(name, sinter_loop_intrinsic_infos[i].name))
            return (sinter_loop_intrinsic)i;
    return SINTER_INTRINSIC_NONE;
}

/* name(...), the parenthesis is consumed. */
static bool parse_call(parser *p, sinter_string name, const char *position, sinter_expr *out_expr) {
    if (sinter_string_is(name, "cast")) return parse_cast(p, true, out_expr);
    if (sinter_string_is(name, "cast_wrap")) return parse_cast(p, false, out_expr);
    sinter_scalar_function function = sinter_scalar_find(name);
    sinter_loop_intrinsic intrinsic = function ? SINTER_INTRINSIC_NONE : find_intrinsic(name);
    if (!function && !intrinsic)
        return sinter_lexer_error_at(&p->lexer, position, "unknown function '%.*s'",
                                     SINTER_STRING_ARGS(name));
    expr_list list;
    if (!parse_list(p, ")", false, &list)) return false;
    uint32_t arity = function ? sinter_scalar_get_info(function)->arity
                              : sinter_loop_intrinsic_infos[intrinsic].arity;
    if (list.count != arity)
        return sinter_lexer_error_at(&p->lexer, position, "%.*s takes %u operands, found %zu",
                                     SINTER_STRING_ARGS(name), arity, list.count);
    sinter_loop_expr pattern = {.arguments = list.items, .argument_count = arity};
    pattern.kind = function ? SINTER_LOOP_CALL : SINTER_LOOP_INTRINSIC;
    if (function) {
        pattern.function = function;
        pattern.dtype = sinter_loop_result_dtype(function, list.items);
    } else {
        pattern.intrinsic = intrinsic;
        pattern.dtype = sinter_loop_intrinsic_infos[intrinsic].result;
    }
    return make(p, pattern, out_expr);
}

static bool parse_name(parser *p, sinter_expr *out_expr) {
    const char *position = p->lexer.token.position;
    sinter_string name = p->lexer.token.text;
    if (sinter_string_is(name, "inf") || sinter_string_is(name, "nan"))
        return parse_number(p, false, out_expr);
    sinter_lexer_next(&p->lexer);
    bool is_true = sinter_string_is(name, "true");
    if (is_true || sinter_string_is(name, "false"))
        return make(p,
                    (sinter_loop_expr){.kind = SINTER_LOOP_CONST,
                                       .dtype = SINTER_DTYPE_bool,
                                       .int_value = is_true},
                    out_expr);
    if (sinter_lexer_accept(&p->lexer, "(")) return parse_call(p, name, position, out_expr);
    sinter_loop_var var = find_var(p, name);
    if (!var)
        return sinter_lexer_error_at(&p->lexer, position, "variable '%.*s' is not declared here",
                                     SINTER_STRING_ARGS(name));
    sinter_dtype dtype = p->builder.function->vars.items[var].dtype;
    return make(p, (sinter_loop_expr){.kind = SINTER_LOOP_VAR, .dtype = dtype, .var = var},
                out_expr);
}

/* "[...]" after the name of a buffer. */
static bool parse_indices(parser *p, sinter_loop_buffer buffer, expr_list *out_list) {
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect(&p->lexer, "[") || !parse_list(p, "]", false, out_list)) return false;
    const sinter_loop_buffer_info *info = &p->builder.function->buffers.items[buffer];
    if (out_list->count == info->rank) return true;
    return sinter_lexer_error_at(&p->lexer, position, "%%%s has %u dims, found %zu indices",
                                 info->name, info->rank, out_list->count);
}

static bool parse_load(parser *p, sinter_expr *out_expr) {
    sinter_loop_buffer buffer;
    expr_list list;
    if (!expect_buffer(p, &buffer) || !parse_indices(p, buffer, &list)) return false;
    return make(p,
                (sinter_loop_expr){.kind = SINTER_LOOP_LOAD,
                                   .dtype = p->builder.function->buffers.items[buffer].dtype,
                                   .buffer = buffer,
                                   .arguments = list.items,
                                   .argument_count = (uint32_t)list.count},
                out_expr);
}

static bool parse_negation(parser *p, sinter_scalar_function function, sinter_expr *out_expr) {
    sinter_token_kind kind = p->lexer.token.kind;
    bool is_number = kind == SINTER_TOKEN_INTEGER || kind == SINTER_TOKEN_FLOAT ||
                     sinter_lexer_is(&p->lexer, "inf") || sinter_lexer_is(&p->lexer, "nan");
    if (function == SINTER_SCALAR_neg && is_number) return parse_number(p, true, out_expr);
    sinter_expr operand;
    if (!sinter_lexer_enter(&p->lexer) || !parse_unary(p, &operand)) return false;
    sinter_lexer_leave(&p->lexer);
    return make(p,
                (sinter_loop_expr){.kind = SINTER_LOOP_CALL,
                                   .dtype = operand->dtype,
                                   .function = function,
                                   .arguments = &operand,
                                   .argument_count = 1},
                out_expr);
}

static bool parse_unary(parser *p, sinter_expr *out_expr) {
    sinter_lexer *lexer = &p->lexer;
    if (sinter_lexer_accept(lexer, "-")) return parse_negation(p, SINTER_SCALAR_neg, out_expr);
    if (sinter_lexer_accept(lexer, "!") || sinter_lexer_accept(lexer, "~"))
        return parse_negation(p, SINTER_SCALAR_not, out_expr);
    if (sinter_lexer_accept(lexer, "("))
        return parse_expr(p, out_expr) && sinter_lexer_expect(lexer, ")");
    switch (lexer->token.kind) {
    case SINTER_TOKEN_VALUE:
        return parse_load(p, out_expr);
    case SINTER_TOKEN_IDENTIFIER:
        return parse_name(p, out_expr);
    case SINTER_TOKEN_INTEGER:
    case SINTER_TOKEN_FLOAT:
    case SINTER_TOKEN_HEX:
        return parse_number(p, false, out_expr);
    default:
        return sinter_lexer_error_expected(lexer, "an expression");
    }
}

/* > and >= are read as < and <= with the operands swapped. */
static const sinter_loop_operator *find_operator(const parser *p, bool *out_swap) {
    sinter_string text = p->lexer.token.text;
    if (p->lexer.token.kind != SINTER_TOKEN_PUNCTUATION) return NULL;
    *out_swap = sinter_string_is(text, ">") || sinter_string_is(text, ">=");
    if (*out_swap) text = text.size == 1 ? SINTER_STRING("<") : SINTER_STRING("<=");
    for (size_t i = 0; i < sinter_loop_operator_count; i++)
        if (sinter_string_is(text, sinter_loop_operators[i].text)) return &sinter_loop_operators[i];
    return NULL;
}

static bool parse_binary(parser *p, int precedence, sinter_expr *out_expr) {
    if (!parse_unary(p, out_expr)) return false;
    bool swap;
    const sinter_loop_operator *op;
    while ((op = find_operator(p, &swap)) && op->precedence >= precedence) {
        if (++p->operators > MAX_OPERATORS)
            return sinter_lexer_error(&p->lexer, "the expression is too long");
        sinter_lexer_next(&p->lexer);
        sinter_expr right;
        if (!parse_binary(p, op->precedence + 1, &right)) return false;
        sinter_expr operands[2] = {swap ? right : *out_expr, swap ? *out_expr : right};
        sinter_loop_expr pattern = {.kind = SINTER_LOOP_CALL,
                                    .dtype = sinter_loop_result_dtype(op->function, operands),
                                    .function = op->function,
                                    .arguments = operands,
                                    .argument_count = 2};
        make(p, pattern, out_expr);
    }
    return true;
}

static bool parse_expr(parser *p, sinter_expr *out_expr) {
    if (!sinter_lexer_enter(&p->lexer) || !parse_binary(p, 0, out_expr)) return false;
    sinter_lexer_leave(&p->lexer);
    return true;
}

/* An expression of a statement: the count of operators starts anew. */
static bool parse_whole(parser *p, sinter_expr *out_expr) {
    p->operators = 0;
    return parse_expr(p, out_expr);
}

/* ---- buffers ---- */

typedef struct buffer_text {
    sinter_string name;
    sinter_dtype dtype;
    expr_list dims; /* NULL: '?' */
    sinter_loop_scope scope;
    uint32_t index; /* constant or io; UINT32_MAX: none */
} buffer_text;

/* "%x: f32[N,4] heap" */
static bool parse_buffer(parser *p, bool is_parameter, buffer_text *out) {
    sinter_lexer *lexer = &p->lexer;
    *out = (buffer_text){.index = UINT32_MAX};
    p->operators = 0;
    if (!sinter_lexer_expect_value(lexer, &out->name) || !sinter_lexer_expect(lexer, ":") ||
        !expect_dtype(p, &out->dtype) || !sinter_lexer_expect(lexer, "[") ||
        !parse_list(p, "]", is_parameter, &out->dims))
        return false;
    if (out->dims.count > SINTER_MAX_RANK)
        return sinter_lexer_error(lexer, "more than %d dims", SINTER_MAX_RANK);
    int scope = 0;
    while (scope <= SINTER_SCOPE_ALIAS && !sinter_lexer_is(lexer, sinter_loop_scope_names[scope]))
        scope++;
    if (scope > SINTER_SCOPE_ALIAS)
        return sinter_lexer_error_expected(lexer, "a scope (in, out, register, heap, ...)");
    sinter_lexer_next(lexer);
    out->scope = (sinter_loop_scope)scope;
    bool has_index =
        out->scope == SINTER_SCOPE_CONSTANT || lexer->token.kind == SINTER_TOKEN_INTEGER;
    if (!has_index) return true;
    const char *position = lexer->token.position;
    if (!expect_unsigned(p, &out->index)) return false;
    return out->index <= INT32_MAX ||
           sinter_lexer_error_at(lexer, position, "the number is too large");
}

static bool same_dims(const sinter_loop_buffer_info *info, const buffer_text *text) {
    if (info->rank != text->dims.count) return false;
    for (uint32_t i = 0; i < info->rank; i++)
        if (info->dims[i] && !sinter_loop_expr_equal(info->dims[i], text->dims.items[i]))
            return false;
    return true;
}

/* Adds the buffer, or finds the one of that name: a host output allocated late, or one allocated in two branches. */
static bool declare_buffer(parser *p, const buffer_text *text, const char *position,
                           sinter_loop_buffer *out_buffer) {
    uint64_t found;
    uint32_t constant = text->scope == SINTER_SCOPE_CONSTANT ? text->index : 0;
    int32_t io_index = text->scope != SINTER_SCOPE_CONSTANT ? (int32_t)text->index : -1;
    if (sinter_map_find_string(&p->buffers, text->name, &found)) {
        sinter_loop_buffer_info *info = &p->builder.function->buffers.items[found];
        if (info->dtype != text->dtype || info->scope != text->scope ||
            info->io_index != io_index || !same_dims(info, text))
            return sinter_lexer_error_at(&p->lexer, position,
                                         "%%%.*s is declared before, as something else",
                                         SINTER_STRING_ARGS(text->name));
        info->dims = text->dims.items;
        *out_buffer = (sinter_loop_buffer)found;
        return true;
    }
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&p->builder, copy_string(p, text->name), text->dtype,
                               (uint32_t)text->dims.count, text->dims.items, text->scope);
    p->builder.function->buffers.items[buffer].io_index = io_index;
    p->builder.function->buffers.items[buffer].constant = constant;
    if (text->scope == SINTER_SCOPE_CONSTANT && constant >= p->program->constants.count)
        return sinter_lexer_error_at(&p->lexer, position, "there is no constant %u", constant);
    sinter_map_put_string(&p->buffers, text->name, buffer);
    *out_buffer = buffer;
    return true;
}

static bool parse_declared_buffer(parser *p, bool is_parameter, sinter_loop_buffer *out_buffer) {
    const char *position = p->lexer.token.position;
    buffer_text text;
    return parse_buffer(p, is_parameter, &text) && declare_buffer(p, &text, position, out_buffer);
}

/* ---- statements ---- */

static bool parse_block(parser *p);

static bool parse_for(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_expr lower, upper;
    int64_t step = 1;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, "in") ||
        !parse_whole(p, &lower) || !sinter_lexer_expect(lexer, "..") || !parse_whole(p, &upper))
        return false;
    const char *position = lexer->token.position;
    if (sinter_lexer_accept(lexer, "step") && !sinter_lexer_expect_integer(lexer, &step))
        return false;
    if (step < 1) return sinter_lexer_error_at(lexer, position, "the step must be positive");
    int axis = SINTER_AXIS_THREAD;
    while (axis && !sinter_lexer_accept(lexer, sinter_loop_axis_names[axis])) axis--;
    size_t visible = p->visible.count;
    sinter_loop_var var = sinter_loop_begin_for(&p->builder, copy_string(p, name), lower, upper,
                                                step, (sinter_loop_axis)axis);
    show_var(p, name, var);
    bool ok = parse_block(p);
    p->visible.count = visible;
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_if(parser *p) {
    sinter_expr condition;
    if (!parse_whole(p, &condition)) return false;
    sinter_loop_begin_if(&p->builder, condition);
    bool ok = parse_block(p);
    sinter_loop_end(&p->builder);
    if (!ok || !sinter_lexer_accept(&p->lexer, "else")) return ok;
    sinter_loop_begin_else(&p->builder);
    ok = parse_block(p);
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_while(parser *p) {
    sinter_expr condition;
    if (!parse_whole(p, &condition)) return false;
    sinter_loop_begin_while(&p->builder, condition);
    bool ok = parse_block(p);
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_declare(parser *p, bool is_mutable) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_dtype dtype;
    sinter_expr value;
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !expect_dtype(p, &dtype) || !sinter_lexer_expect(lexer, "=") || !parse_whole(p, &value))
        return false;
    sinter_loop_var var = sinter_loop_declare(&p->builder, copy_string(p, name), is_mutable, value);
    if (value->dtype != dtype)
        return sinter_lexer_error_at(lexer, position, "%.*s is declared as %s, its value is %s",
                                     SINTER_STRING_ARGS(name), sinter_dtype_infos[dtype].name,
                                     sinter_dtype_infos[value->dtype].name);
    show_var(p, name, var);
    return true;
}

static bool parse_assign(parser *p, sinter_string name, const char *position) {
    sinter_loop_var var = find_var(p, name);
    sinter_expr value;
    if (!var)
        return sinter_lexer_error_at(&p->lexer, position, "variable '%.*s' is not declared here",
                                     SINTER_STRING_ARGS(name));
    if (!sinter_lexer_expect(&p->lexer, "=") || !parse_whole(p, &value)) return false;
    sinter_loop_assign(&p->builder, var, value);
    return true;
}

static bool parse_combine(parser *p, sinter_scalar_function *out_function) {
    sinter_string name;
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect(&p->lexer, "(") || !sinter_lexer_expect_identifier(&p->lexer, &name) ||
        !sinter_lexer_expect(&p->lexer, ")"))
        return false;
    *out_function = sinter_scalar_find(name);
    if (*out_function && sinter_scalar_get_info(*out_function)->arity == 2) return true;
    return sinter_lexer_error_at(&p->lexer, position, "'%.*s' is not a function of two operands",
                                 SINTER_STRING_ARGS(name));
}

static bool parse_store(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_loop_buffer buffer;
    expr_list indices;
    sinter_scalar_function combine = SINTER_SCALAR_NONE;
    bool atomic = false;
    sinter_expr value;
    p->operators = 0;
    if (!expect_buffer(p, &buffer) || !parse_indices(p, buffer, &indices)) return false;
    if (sinter_lexer_accept(lexer, "combine")) {
        if (!parse_combine(p, &combine)) return false;
        atomic = sinter_lexer_accept(lexer, "atomic");
    }
    if (!sinter_lexer_expect(lexer, "=") || !parse_whole(p, &value)) return false;
    sinter_loop_store_combine(&p->builder, buffer, indices.items, combine, value, atomic);
    return true;
}

static bool parse_alloc(parser *p) {
    sinter_loop_buffer buffer;
    if (!parse_declared_buffer(p, false, &buffer)) return false;
    sinter_loop_alloc(&p->builder, buffer);
    return !sinter_lexer_accept(&p->lexer, "at") || parse_whole(p, &p->builder.last->value);
}

static bool parse_bind(parser *p) {
    sinter_loop_buffer buffer, source;
    if (!parse_declared_buffer(p, false, &buffer) || !sinter_lexer_expect(&p->lexer, "=") ||
        !expect_buffer(p, &source))
        return false;
    sinter_expr offset = NULL;
    if (sinter_lexer_accept(&p->lexer, "+") && !parse_whole(p, &offset)) return false;
    sinter_loop_bind(&p->builder, buffer, source, offset);
    return true;
}

static bool parse_free(parser *p) {
    sinter_loop_buffer buffer;
    if (!expect_buffer(p, &buffer)) return false;
    sinter_loop_free(&p->builder, buffer);
    return true;
}

static bool parse_call_kernel(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    const char *position = lexer->token.position;
    sinter_string name;
    uint64_t kernel;
    SINTER_VECTOR(sinter_loop_buffer) buffers = {0};
    expr_list scalars = {0};
    if (!sinter_lexer_expect_symbol(lexer, &name)) return false;
    if (!sinter_map_find_string(&p->kernels, name, &kernel))
        return sinter_lexer_error_at(lexer, position, "there is no kernel @%.*s before",
                                     SINTER_STRING_ARGS(name));
    if (!sinter_lexer_expect(lexer, "(")) return false;
    bool more = !sinter_lexer_is(lexer, ")");
    while (more) {
        /* %x alone is a buffer, %x[...] a load in a scalar. */
        const char *start = lexer->token.position;
        bool is_buffer = lexer->token.kind == SINTER_TOKEN_VALUE;
        if (is_buffer) {
            sinter_lexer_next(lexer);
            is_buffer = !sinter_lexer_is(lexer, "[");
            sinter_lexer_seek(lexer, start);
        }
        sinter_loop_buffer buffer;
        sinter_expr scalar;
        if (is_buffer ? !expect_buffer(p, &buffer) : !parse_whole(p, &scalar)) return false;
        if (is_buffer && scalars.count)
            return sinter_lexer_error_at(lexer, start, "buffers come before scalars");
        if (is_buffer)
            sinter_vector_push(p->arena, &buffers, buffer);
        else
            sinter_vector_push(p->arena, &scalars, scalar);
        more = sinter_lexer_accept(lexer, ",");
    }
    if (!sinter_lexer_expect(lexer, ")")) return false;
    sinter_loop_call_kernel(&p->builder, (uint32_t)kernel, buffers.items, (uint32_t)buffers.count,
                            scalars.items, (uint32_t)scalars.count);
    return true;
}

static bool parse_fail(parser *p) {
    uint32_t code;
    sinter_string message;
    expr_list arguments = {0};
    p->operators = 0;
    if (!expect_unsigned(p, &code) || !sinter_lexer_expect_string(&p->lexer, &message))
        return false;
    if (sinter_lexer_accept(&p->lexer, "(") && !parse_list(p, ")", false, &arguments)) return false;
    sinter_loop_fail(&p->builder, (int32_t)code, copy_string(p, message), arguments.items,
                     (uint32_t)arguments.count);
    return true;
}

static bool parse_comment(parser *p) {
    sinter_string text;
    if (!sinter_lexer_expect_string(&p->lexer, &text)) return false;
    sinter_loop_comment(&p->builder, copy_string(p, text));
    return true;
}

static bool parse_barrier(parser *p) {
    sinter_loop_barrier(&p->builder);
    return true;
}

static bool parse_let(parser *p) {
    return parse_declare(p, false);
}

static bool parse_var(parser *p) {
    return parse_declare(p, true);
}

static bool parse_buffer_line(parser *p) {
    sinter_loop_buffer buffer;
    return parse_declared_buffer(p, false, &buffer);
}

static bool parse_stmt(parser *p) {
    static const struct {
        const char *word;
        bool (*parse)(parser *);
    } statements[] = {
        {"for", parse_for},           {"if", parse_if},           {"while", parse_while},
        {"let", parse_let},           {"var", parse_var},         {"alloc", parse_alloc},
        {"bind", parse_bind},         {"free", parse_free},       {"call", parse_call_kernel},
        {"fail", parse_fail},         {"barrier", parse_barrier}, {"comment", parse_comment},
        {"buffer", parse_buffer_line}};
    sinter_lexer *lexer = &p->lexer;
    if (lexer->token.kind == SINTER_TOKEN_VALUE) return parse_store(p);
    sinter_string word = lexer->token.text;
    const char *position = lexer->token.position;
    if (lexer->token.kind != SINTER_TOKEN_IDENTIFIER)
        return sinter_lexer_error_expected(lexer, "a statement");
    sinter_lexer_next(lexer);
    bool assigns = sinter_lexer_is(lexer, "=");
    for (size_t i = 0; !assigns && i < sizeof statements / sizeof *statements; i++)
        if (sinter_string_is(word, statements[i].word)) return statements[i].parse(p);
    if (!assigns)
        return sinter_lexer_error_at(lexer, position, "unknown statement '%.*s'",
                                     SINTER_STRING_ARGS(word));
    return parse_assign(p, word, position);
}

static bool parse_block(parser *p) {
    if (!sinter_lexer_expect(&p->lexer, "{") || !sinter_lexer_enter(&p->lexer)) return false;
    size_t visible = p->visible.count;
    while (!sinter_lexer_accept(&p->lexer, "}"))
        if (!parse_stmt(p)) return false;
    p->visible.count = visible;
    sinter_lexer_leave(&p->lexer);
    return true;
}

/* ---- functions ---- */

static bool parse_scalar_parameter(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_dtype dtype;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !expect_dtype(p, &dtype))
        return false;
    sinter_loop_var var = sinter_loop_add_parameter(&p->builder, copy_string(p, name), dtype);
    show_var(p, name, var);
    if (!sinter_lexer_accept(lexer, "range")) return true;
    int64_t min, max;
    if (!sinter_lexer_expect(lexer, "(") || !sinter_lexer_expect_integer(lexer, &min) ||
        !sinter_lexer_expect(lexer, ",") || !sinter_lexer_expect_integer(lexer, &max) ||
        !sinter_lexer_expect(lexer, ")"))
        return false;
    sinter_loop_set_range(&p->builder, var, min, max);
    return true;
}

/* The dims of buffer parameters speak of scalar parameters, which come behind them: those are read first. */
static bool parse_scalar_parameters(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    int depth = 1;
    bool starts = true;
    while (depth > 0) {
        if (starts && lexer->token.kind == SINTER_TOKEN_IDENTIFIER) {
            if (!parse_scalar_parameter(p)) return false;
            starts = false;
            continue;
        }
        if (lexer->token.kind == SINTER_TOKEN_END || lexer->token.kind == SINTER_TOKEN_ERROR)
            return sinter_lexer_error_expected(lexer, "')'");
        if (sinter_lexer_is(lexer, "(") || sinter_lexer_is(lexer, "[")) depth++;
        if (sinter_lexer_is(lexer, ")") || sinter_lexer_is(lexer, "]")) depth--;
        starts = depth == 1 && sinter_lexer_is(lexer, ",");
        sinter_lexer_next(lexer);
    }
    return true;
}

static bool skip_scalar_parameter(parser *p) {
    int depth = 0;
    while (depth || (!sinter_lexer_is(&p->lexer, ",") && !sinter_lexer_is(&p->lexer, ")"))) {
        if (sinter_lexer_is(&p->lexer, "(")) depth++;
        if (sinter_lexer_is(&p->lexer, ")")) depth--;
        if (p->lexer.token.kind == SINTER_TOKEN_END)
            return sinter_lexer_error_expected(&p->lexer, "')'");
        sinter_lexer_next(&p->lexer);
    }
    return true;
}

static bool parse_buffer_parameters(parser *p) {
    if (sinter_lexer_accept(&p->lexer, ")")) return true;
    for (;;) {
        sinter_loop_buffer buffer;
        bool is_scalar = p->lexer.token.kind == SINTER_TOKEN_IDENTIFIER;
        const char *position = p->lexer.token.position;
        if (is_scalar ? !skip_scalar_parameter(p) : !parse_declared_buffer(p, true, &buffer))
            return false;
        if (!is_scalar && p->builder.function->buffers.items[buffer].scope > SINTER_SCOPE_INOUT)
            return sinter_lexer_error_at(&p->lexer, position, "a parameter is in, out or inout");
        if (sinter_lexer_accept(&p->lexer, ")")) return true;
        if (!sinter_lexer_expect(&p->lexer, ",")) return false;
    }
}

/* A late dim stays unknown where no alloc tells it. */
static bool check_late_dims(parser *p, const char *position) {
    const sinter_loop_function *function = p->builder.function;
    for (size_t i = 1; i < function->buffers.count; i++)
        for (uint32_t k = 0; k < function->buffers.items[i].rank; k++)
            if (!function->buffers.items[i].dims[k])
                return sinter_lexer_error_at(&p->lexer, position, "dim %u of %%%s is never told", k,
                                             function->buffers.items[i].name);
    return true;
}

static bool parse_function(parser *p, bool is_host) {
    sinter_lexer *lexer = &p->lexer;
    const char *position = lexer->token.position;
    sinter_string name, comment;
    uint64_t other;
    if (!sinter_lexer_expect_symbol(lexer, &name)) return false;
    if (!is_host && sinter_map_find_string(&p->kernels, name, &other))
        return sinter_lexer_error_at(lexer, position, "there are two kernels @%.*s",
                                     SINTER_STRING_ARGS(name));
    if (is_host && p->program->host)
        return sinter_lexer_error_at(lexer, position, "there are two host functions");
    sinter_loop_function *function = sinter_loop_function_create(p->program, copy_string(p, name));
    sinter_loop_builder_init(&p->builder, p->program, function);
    sinter_map_init(&p->buffers, p->arena);
    p->visible.count = 0;
    p->is_host = is_host;
    p->operators = 0;
    if (!sinter_lexer_expect(lexer, "(")) return false;
    const char *parameters = lexer->token.position;
    if (!parse_scalar_parameters(p)) return false;
    sinter_lexer_seek(lexer, parameters);
    if (!parse_buffer_parameters(p)) return false;
    if (lexer->token.kind == SINTER_TOKEN_STRING) {
        if (!sinter_lexer_expect_string(lexer, &comment)) return false;
        function->comment = copy_string(p, comment);
    }
    if (is_host)
        p->program->host = function;
    else {
        sinter_map_put_string(&p->kernels, name, p->program->kernels.count);
        sinter_vector_push(p->arena, &p->program->kernels, function);
    }
    return parse_block(p) && check_late_dims(p, position);
}

/* ---- programs ---- */

/* "x": f32[1,"N"] = [1, N] */
static bool parse_io(parser *p, sinter_loop_io *out_io) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !expect_dtype(p, &out_io->dtype) || !sinter_lexer_expect(lexer, "["))
        return false;
    out_io->name = copy_string(p, name);
    const char **names = SINTER_NEW_ARRAY(p->arena, const char *, SINTER_MAX_RANK);
    int64_t *dims = SINTER_NEW_ARRAY(p->arena, int64_t, SINTER_MAX_RANK);
    out_io->dim_names = names;
    out_io->dims = dims;
    while (!sinter_lexer_accept(lexer, "]")) {
        uint32_t axis = out_io->rank;
        if (axis == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "more than %d dims", SINTER_MAX_RANK);
        if (axis && !sinter_lexer_expect(lexer, ",")) return false;
        sinter_string dim;
        dims[axis] = -1;
        if (lexer->token.kind == SINTER_TOKEN_INTEGER) {
            if (!sinter_lexer_expect_integer(lexer, &dims[axis])) return false;
            names[axis] = sinter_arena_format(p->arena, "%" PRId64, dims[axis]);
        } else if (sinter_lexer_expect_string(lexer, &dim))
            names[axis] = copy_string(p, dim);
        else
            return false;
        out_io->rank++;
    }
    return true;
}

static bool parse_input(parser *p) {
    sinter_loop_io io = {0};
    if (!parse_io(p, &io)) return false;
    sinter_vector_push(p->arena, &p->program->inputs, io);
    return true;
}

/* What speaks of symbols comes behind the host function, whose parameters they are. */
static bool need_host(parser *p, const char *position) {
    return (p->program->host && p->is_host) ||
           sinter_lexer_error_at(&p->lexer, position, "expected the host function before this");
}

static bool parse_output(parser *p) {
    const char *position = p->lexer.token.position;
    sinter_loop_io io = {0};
    if (!parse_io(p, &io)) return false;
    if (sinter_lexer_accept(&p->lexer, "=")) {
        expr_list dims;
        p->operators = 0;
        if (!need_host(p, position) || !sinter_lexer_expect(&p->lexer, "[") ||
            !parse_list(p, "]", true, &dims))
            return false;
        if (dims.count != io.rank)
            return sinter_lexer_error(&p->lexer, "expected %u dims, found %zu", io.rank,
                                      dims.count);
        io.dim_exprs = dims.items;
    }
    sinter_vector_push(p->arena, &p->program->outputs, io);
    return true;
}

static bool parse_symbol(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_loop_symbol symbol = {0};
    sinter_string name;
    if (!sinter_lexer_expect_string(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_lexer_expect_integer(lexer, &symbol.min) || !sinter_lexer_expect(lexer, "..") ||
        !sinter_lexer_expect_integer(lexer, &symbol.max) ||
        !sinter_lexer_expect(lexer, "multiple") ||
        !sinter_lexer_expect_integer(lexer, &symbol.multiple) ||
        !sinter_lexer_expect(lexer, "from") || !sinter_lexer_expect(lexer, "input") ||
        !expect_unsigned(p, &symbol.input))
        return false;
    symbol.name = copy_string(p, name);
    symbol.content = sinter_lexer_accept(lexer, "element");
    if (!symbol.content && !sinter_lexer_expect(lexer, "dim")) return false;
    if (!expect_unsigned(p, &symbol.index)) return false;
    if (symbol.multiple < 1)
        return sinter_lexer_error(lexer, "symbol %s: the multiple must be positive", symbol.name);
    if (symbol.input >= p->program->inputs.count)
        return sinter_lexer_error(lexer, "symbol %s: there is no input %u", symbol.name,
                                  symbol.input);
    sinter_vector_push(p->arena, &p->program->symbols, symbol);
    return true;
}

static bool parse_check(parser *p) {
    const char *position = p->lexer.token.position;
    sinter_loop_check check = {0};
    if (!need_host(p, position) || !sinter_lexer_expect(&p->lexer, "input") ||
        !expect_unsigned(p, &check.input) || !sinter_lexer_expect(&p->lexer, "dim") ||
        !expect_unsigned(p, &check.axis) || !sinter_lexer_expect(&p->lexer, "==") ||
        !parse_whole(p, &check.expected))
        return false;
    if (check.input >= p->program->inputs.count ||
        check.axis >= p->program->inputs.items[check.input].rank)
        return sinter_lexer_error_at(&p->lexer, position, "there is no input %u with a dim %u",
                                     check.input, check.axis);
    sinter_vector_push(p->arena, &p->program->checks, check);
    return true;
}

static bool parse_workspace(parser *p) {
    return need_host(p, p->lexer.token.position) && parse_whole(p, &p->program->workspace_bytes);
}

static bool parse_elements(parser *p, sinter_tensor *tensor) {
    sinter_lexer *lexer = &p->lexer;
    int64_t count = sinter_tensor_count(tensor), index = 0;
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    while (!sinter_lexer_accept(lexer, "]")) {
        if (index == count)
            return sinter_lexer_error(lexer, "more than %" PRId64 " elements", count);
        if (index && !sinter_lexer_expect(lexer, ",")) return false;
        if (tensor->dtype == SINTER_DTYPE_string) {
            sinter_string string;
            if (!sinter_lexer_expect_string(lexer, &string)) return false;
            sinter_tensor_set_string(tensor, index, string);
        } else if (is_float) {
            double value;
            if (!sinter_lexer_expect_number(lexer, &value)) return false;
            sinter_tensor_set_double(tensor, index, value);
        } else {
            bool wide =
                tensor->dtype == SINTER_DTYPE_u64 && lexer->token.kind == SINTER_TOKEN_INTEGER;
            int64_t value = (int64_t)lexer->token.integer;
            if (wide)
                sinter_lexer_next(lexer);
            else if (!sinter_lexer_expect_integer(lexer, &value))
                return false;
            sinter_tensor_set_int(tensor, index, value);
            if (sinter_tensor_get_int(tensor, index) != value)
                return sinter_lexer_error(lexer, "element %" PRId64 " does not fit %s", index,
                                          sinter_dtype_infos[tensor->dtype].name);
        }
        index++;
    }
    return index == count ||
           sinter_lexer_error(lexer, "expected %" PRId64 " elements, found %" PRId64, count, index);
}

static unsigned hex_digit(char c) {
    return (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

static bool parse_bytes(parser *p, sinter_tensor *tensor) {
    sinter_string digits = p->lexer.token.text;
    size_t bytes = sinter_tensor_bytes(tensor);
    if (digits.size != bytes * 2 || tensor->dtype == SINTER_DTYPE_string)
        return sinter_lexer_error(&p->lexer, "expected %zu bytes, found %zu digits", bytes,
                                  digits.size);
    unsigned char *data = sinter_tensor_mutable(tensor);
    for (size_t i = 0; i < bytes; i++)
        data[i] =
            (unsigned char)(hex_digit(digits.data[2 * i]) << 4 | hex_digit(digits.data[2 * i + 1]));
    sinter_lexer_next(&p->lexer);
    return true;
}

/* "0: f32[2] = [1, 2]", "= 0x..." or "= ...": data that the text leaves out. */
static bool parse_constant(parser *p) {
    sinter_lexer *lexer = &p->lexer;
    uint32_t index;
    sinter_dtype dtype;
    int64_t dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    const char *position = lexer->token.position;
    if (!expect_unsigned(p, &index) || !sinter_lexer_expect(lexer, ":") ||
        !expect_dtype(p, &dtype) || !sinter_lexer_expect(lexer, "["))
        return false;
    if (index != p->program->constants.count)
        return sinter_lexer_error_at(lexer, position, "expected constant %zu",
                                     p->program->constants.count);
    uint64_t count = 1, bytes;
    while (!sinter_lexer_accept(lexer, "]")) {
        if (rank == SINTER_MAX_RANK)
            return sinter_lexer_error(lexer, "more than %d dims", SINTER_MAX_RANK);
        if ((rank && !sinter_lexer_expect(lexer, ",")) ||
            !sinter_lexer_expect_integer(lexer, &dims[rank]))
            return false;
        if (dims[rank] < 0 || __builtin_mul_overflow(count, (uint64_t)dims[rank], &count))
            return sinter_lexer_error(lexer, "the constant is too large");
        rank++;
    }
    if (!sinter_dtype_bytes(dtype, count, &bytes))
        return sinter_lexer_error(lexer, "the constant is too large");
    if (!sinter_lexer_expect(lexer, "=")) return false;
    sinter_loop_constant constant = {
        .tensor = {.kind = SINTER_TYPE_TENSOR, .dtype = dtype, .rank = rank}};
    if (rank) memcpy(constant.tensor.dims, dims, rank * sizeof *dims);
    bool left_out = sinter_lexer_accept(lexer, "...");
    /* What is written takes about as much text as memory, so a short text cannot ask for a large tensor. */
    if (!left_out && count > (uint64_t)(lexer->end - lexer->token.position))
        return sinter_lexer_error(lexer, "the text is too short for the constant");
    if (!left_out && !sinter_tensor_create(&constant.tensor, dtype, rank, dims, lexer->diag))
        return false;
    bool ok = true;
    if (!left_out && lexer->token.kind == SINTER_TOKEN_HEX)
        ok = parse_bytes(p, &constant.tensor);
    else if (!left_out)
        ok = sinter_lexer_expect(lexer, "[") && parse_elements(p, &constant.tensor);
    sinter_vector_push(p->arena, &p->program->constants, constant);
    return ok;
}

static bool parse_kernel(parser *p) {
    return parse_function(p, false);
}

static bool parse_host(parser *p) {
    return parse_function(p, true);
}

static bool parse_section(parser *p) {
    static const struct {
        const char *word;
        bool (*parse)(parser *);
    } sections[] = {{"input", parse_input},   {"output", parse_output},
                    {"symbol", parse_symbol}, {"constant", parse_constant},
                    {"kernel", parse_kernel}, {"host", parse_host},
                    {"check", parse_check},   {"workspace", parse_workspace}};
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (sinter_lexer_accept(&p->lexer, sections[i].word)) return sections[i].parse(p);
    return sinter_lexer_error_expected(
        &p->lexer, "kernel, host, input, output, symbol, constant, check or workspace");
}

static bool parse_program(parser *p) {
    bool wrapped = sinter_lexer_accept(&p->lexer, "program");
    if (wrapped) {
        sinter_string name;
        if (!sinter_lexer_expect_string(&p->lexer, &name) || !sinter_lexer_expect(&p->lexer, "{"))
            return false;
        p->program->name = copy_string(p, name);
    }
    while (wrapped ? !sinter_lexer_accept(&p->lexer, "}") : p->lexer.token.kind != SINTER_TOKEN_END)
        if (!parse_section(p)) return false;
    return p->lexer.token.kind == SINTER_TOKEN_END ||
           sinter_lexer_error_expected(&p->lexer, "the end of the text");
}

sinter_loop_program *sinter_loop_parse(const char *path, const char *text, size_t size,
                                       sinter_diag *diag) {
    parser p = {.program = sinter_loop_program_create("")};
    p.arena = &p.program->arena;
    sinter_lexer_init(&p.lexer, path, text, size, p.arena, diag);
    sinter_map_init(&p.kernels, p.arena);
    sinter_map_init(&p.buffers, p.arena);
    if (parse_program(&p)) return p.program;
    sinter_loop_program_destroy(p.program);
    return NULL;
}
