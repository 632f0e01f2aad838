/* Names and expressions of the loop IR's text: the part of the parser (parse.c) that every statement needs.
 * Guarantees: expressions are exactly as written, nothing is folded. Test: tests/codegen/loops/, tests/fuzz/loop_parse_fuzz.c */
#include "codegen/loops/parse.h"

#include <stdlib.h>
#include <string.h>

/* Higher trees would only serve to exhaust the stack of whoever walks them. */
enum { MAX_HEIGHT = 1000 };

/* ---- names ---- */

char *sinter_loop_parse_copy(sinter_loop_parser *p, sinter_string string) {
    return sinter_arena_copy_string(p->arena, string.data, string.size);
}

void sinter_loop_parse_show_var(sinter_loop_parser *p, sinter_string name, sinter_loop_var var) {
    sinter_vector_push(p->arena, &p->visible, (sinter_loop_visible_var){.name = name, .var = var});
}

sinter_loop_var sinter_loop_parse_find_var(const sinter_loop_parser *p, sinter_string name) {
    for (size_t i = p->visible.count; i-- > 0;)
        if (sinter_string_equal(p->visible.items[i].name, name)) return p->visible.items[i].var;
    return 0;
}

bool sinter_loop_parse_buffer(sinter_loop_parser *p, sinter_loop_buffer *out_buffer) {
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

bool sinter_loop_parse_dtype(sinter_loop_parser *p, sinter_dtype *out_dtype) {
    const char *position = p->lexer.token.position;
    sinter_string name;
    if (!sinter_lexer_expect_identifier(&p->lexer, &name)) return false;
    *out_dtype = sinter_dtype_find(name);
    return *out_dtype || sinter_lexer_error_at(&p->lexer, position, "unknown element type '%.*s'",
                                               SINTER_STRING_ARGS(name));
}

bool sinter_loop_parse_unsigned(sinter_loop_parser *p, uint32_t *out_value) {
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

static bool parse_unary(sinter_loop_parser *p, sinter_expr *out_expr);

bool sinter_loop_parse_list(sinter_loop_parser *p, const char *close, bool optional,
                            sinter_loop_exprs *out_list) {
    *out_list = (sinter_loop_exprs){0};
    p->height = 0;
    if (sinter_lexer_accept(&p->lexer, close)) return true;
    for (int highest = 0;;) {
        sinter_expr item = NULL;
        bool absent = optional &&
                      (sinter_lexer_accept(&p->lexer, "_") || sinter_lexer_accept(&p->lexer, "?"));
        if (!absent && !sinter_loop_parse_expr(p, &item)) return false;
        if (!absent && p->height > highest) highest = p->height;
        p->height = highest;
        sinter_vector_push(p->arena, out_list, item);
        if (sinter_lexer_accept(&p->lexer, close)) return true;
        if (!sinter_lexer_expect(&p->lexer, ",")) return false;
    }
}

/* The height is that of the arguments, and becomes that of the expression. */
static bool make(sinter_loop_parser *p, sinter_loop_expr pattern, sinter_expr *out_expr) {
    p->height = pattern.argument_count ? p->height + 1 : 0;
    if (p->height > MAX_HEIGHT)
        return sinter_lexer_error(&p->lexer, "the expression is too long");
    *out_expr = sinter_loop_expr_make(p->arena, &pattern);
    return true;
}

/* ":f32" after a number; without it, integers are i64. */
static bool parse_number(sinter_loop_parser *p, bool negative, sinter_expr *out_expr) {
    sinter_token token = p->lexer.token;
    double number = 0;
    bool is_integer = token.kind == SINTER_TOKEN_INTEGER;
    if (is_integer)
        sinter_lexer_next(&p->lexer);
    else if (!sinter_lexer_expect_number(&p->lexer, &number))
        return false;
    sinter_loop_expr pattern = {.kind = SINTER_LOOP_CONST, .dtype = SINTER_DTYPE_i64};
    if (sinter_lexer_accept(&p->lexer, ":")) {
        if (!sinter_loop_parse_dtype(p, &pattern.dtype)) return false;
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

static bool parse_cast(sinter_loop_parser *p, bool saturate, sinter_expr *out_expr) {
    sinter_loop_expr pattern = {
        .kind = SINTER_LOOP_CAST, .saturate = saturate, .argument_count = 1};
    sinter_expr value;
    if (!sinter_loop_parse_dtype(p, &pattern.dtype) || !sinter_lexer_expect(&p->lexer, ",") ||
        !sinter_loop_parse_expr(p, &value) || !sinter_lexer_expect(&p->lexer, ")"))
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
static bool parse_call(sinter_loop_parser *p, sinter_string name, const char *position,
                       sinter_expr *out_expr) {
    if (sinter_string_is(name, "cast")) return parse_cast(p, true, out_expr);
    if (sinter_string_is(name, "cast_wrap")) return parse_cast(p, false, out_expr);
    sinter_scalar_function function = sinter_scalar_find(name);
    sinter_loop_intrinsic intrinsic = function ? SINTER_INTRINSIC_NONE : find_intrinsic(name);
    if (!function && !intrinsic)
        return sinter_lexer_error_at(&p->lexer, position, "unknown function '%.*s'",
                                     SINTER_STRING_ARGS(name));
    sinter_loop_exprs list;
    if (!sinter_loop_parse_list(p, ")", false, &list)) return false;
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

static bool parse_name(sinter_loop_parser *p, sinter_expr *out_expr) {
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
    sinter_loop_var var = sinter_loop_parse_find_var(p, name);
    if (!var)
        return sinter_lexer_error_at(&p->lexer, position, "variable '%.*s' is not declared here",
                                     SINTER_STRING_ARGS(name));
    sinter_dtype dtype = p->builder.function->vars.items[var].dtype;
    return make(p, (sinter_loop_expr){.kind = SINTER_LOOP_VAR, .dtype = dtype, .var = var},
                out_expr);
}

bool sinter_loop_parse_indices(sinter_loop_parser *p, sinter_loop_buffer buffer,
                               sinter_loop_exprs *out_list) {
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect(&p->lexer, "[") || !sinter_loop_parse_list(p, "]", false, out_list))
        return false;
    const sinter_loop_buffer_info *info = &p->builder.function->buffers.items[buffer];
    if (out_list->count == info->rank) return true;
    return sinter_lexer_error_at(&p->lexer, position, "%%%s has %u dims, found %zu indices",
                                 info->name, info->rank, out_list->count);
}

static bool parse_load(sinter_loop_parser *p, sinter_expr *out_expr) {
    sinter_loop_buffer buffer;
    sinter_loop_exprs list;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_loop_parse_indices(p, buffer, &list))
        return false;
    return make(p,
                (sinter_loop_expr){.kind = SINTER_LOOP_LOAD,
                                   .dtype = p->builder.function->buffers.items[buffer].dtype,
                                   .buffer = buffer,
                                   .arguments = list.items,
                                   .argument_count = (uint32_t)list.count},
                out_expr);
}

static bool parse_negation(sinter_loop_parser *p, sinter_scalar_function function,
                           sinter_expr *out_expr) {
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

static bool parse_unary(sinter_loop_parser *p, sinter_expr *out_expr) {
    sinter_lexer *lexer = &p->lexer;
    if (sinter_lexer_accept(lexer, "-")) return parse_negation(p, SINTER_SCALAR_neg, out_expr);
    if (sinter_lexer_accept(lexer, "!") || sinter_lexer_accept(lexer, "~"))
        return parse_negation(p, SINTER_SCALAR_not, out_expr);
    if (sinter_lexer_accept(lexer, "("))
        return sinter_loop_parse_expr(p, out_expr) && sinter_lexer_expect(lexer, ")");
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
static const sinter_loop_operator *find_operator(const sinter_loop_parser *p, bool *out_swap) {
    sinter_string text = p->lexer.token.text;
    if (p->lexer.token.kind != SINTER_TOKEN_PUNCTUATION) return NULL;
    *out_swap = sinter_string_is(text, ">") || sinter_string_is(text, ">=");
    if (*out_swap) text = text.size == 1 ? SINTER_STRING("<") : SINTER_STRING("<=");
    for (size_t i = 0; i < sinter_loop_operator_count; i++)
        if (sinter_string_is(text, sinter_loop_operators[i].text)) return &sinter_loop_operators[i];
    return NULL;
}

static bool parse_binary(sinter_loop_parser *p, int precedence, sinter_expr *out_expr) {
    if (!parse_unary(p, out_expr)) return false;
    bool swap;
    const sinter_loop_operator *op;
    while ((op = find_operator(p, &swap)) && op->precedence >= precedence) {
        sinter_lexer_next(&p->lexer);
        sinter_expr right;
        int left_height = p->height;
        if (!parse_binary(p, op->precedence + 1, &right)) return false;
        if (left_height > p->height) p->height = left_height;
        sinter_expr operands[2] = {swap ? right : *out_expr, swap ? *out_expr : right};
        sinter_loop_expr pattern = {.kind = SINTER_LOOP_CALL,
                                    .dtype = sinter_loop_result_dtype(op->function, operands),
                                    .function = op->function,
                                    .arguments = operands,
                                    .argument_count = 2};
        if (!make(p, pattern, out_expr)) return false;
    }
    return true;
}

bool sinter_loop_parse_expr(sinter_loop_parser *p, sinter_expr *out_expr) {
    if (!sinter_lexer_enter(&p->lexer) || !parse_binary(p, 0, out_expr)) return false;
    sinter_lexer_leave(&p->lexer);
    return true;
}
