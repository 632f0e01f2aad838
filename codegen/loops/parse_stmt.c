/* Buffers, statements and functions of the loop IR's text: the part of the parser (parse.c) that reads code.
 * Test: tests/codegen/loops/, tests/fuzz/loop_parse_fuzz.c */
#include "codegen/loops/box.h"
#include "codegen/loops/mma.h"
#include "codegen/loops/parse.h"
#include "runtime/abi.h"

#include <inttypes.h>
#include <string.h>

/* ---- buffers ---- */

typedef struct buffer_text {
    sinter_string name;
    sinter_dtype dtype;
    sinter_loop_exprs dims; /* NULL: '?' */
    sinter_loop_scope scope;
    uint32_t index; /* constant or io; UINT32_MAX: none */
    uint32_t alignment, swizzle, arrivals;
} buffer_text;

/* "%x: f32[N,4] heap" */
static bool parse_buffer(sinter_loop_parser *p, bool is_parameter, buffer_text *out) {
    sinter_lexer *lexer = &p->lexer;
    *out = (buffer_text){.index = UINT32_MAX};
    if (!sinter_lexer_expect_value(lexer, &out->name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_loop_parse_dtype(p, &out->dtype) || !sinter_lexer_expect(lexer, "[") ||
        !sinter_loop_parse_list(p, "]", is_parameter, &out->dims))
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
    const char *position = lexer->token.position;
    if (has_index && !sinter_loop_parse_unsigned(p, &out->index)) return false;
    if (has_index && out->index > INT32_MAX)
        return sinter_lexer_error_at(lexer, position, "the number is too large");
    if (!is_parameter) {
        const bool swizzles =
            out->scope == SINTER_SCOPE_SHARED && sinter_lexer_accept(lexer, "swizzle");
        if (swizzles) return sinter_loop_parse_unsigned(p, &out->swizzle);
        const bool counts =
            out->scope == SINTER_SCOPE_SHARED && sinter_lexer_accept(lexer, "arrivals");
        return !counts || sinter_loop_parse_unsigned(p, &out->arrivals);
    }
    return !sinter_lexer_accept(lexer, "align") || sinter_loop_parse_unsigned(p, &out->alignment);
}

static bool same_dims(const sinter_loop_buffer_info *info, const buffer_text *text) {
    if (info->rank != text->dims.count) return false;
    for (uint32_t i = 0; i < info->rank; i++)
        if (info->dims[i] && !sinter_loop_expr_equal(info->dims[i], text->dims.items[i]))
            return false;
    return true;
}

/* Adds the buffer, or finds the one of that name: a host output allocated late, or one allocated in two branches. */
static bool declare_buffer(sinter_loop_parser *p, const buffer_text *text, const char *position,
                           sinter_loop_buffer *out_buffer) {
    uint64_t found;
    uint32_t constant = text->scope == SINTER_SCOPE_CONSTANT ? text->index : 0;
    int32_t io_index = text->scope != SINTER_SCOPE_CONSTANT ? (int32_t)text->index : -1;
    if (sinter_map_find_string(&p->buffers, text->name, &found)) {
        sinter_loop_buffer_info *info = &p->builder.function->buffers.items[found];
        if (info->dtype != text->dtype || info->scope != text->scope ||
            info->io_index != io_index || info->swizzle != text->swizzle ||
            info->arrivals != text->arrivals || !same_dims(info, text))
            return sinter_lexer_error_at(&p->lexer, position,
                                         "%%%.*s is declared before, as something else",
                                         SINTER_STRING_ARGS(text->name));
        info->dims = text->dims.items;
        *out_buffer = (sinter_loop_buffer)found;
        return true;
    }
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&p->builder, sinter_loop_parse_copy(p, text->name), text->dtype,
                               (uint32_t)text->dims.count, text->dims.items, text->scope);
    p->builder.function->buffers.items[buffer].io_index = io_index;
    p->builder.function->buffers.items[buffer].constant = constant;
    p->builder.function->buffers.items[buffer].alignment = text->alignment;
    p->builder.function->buffers.items[buffer].swizzle = text->swizzle;
    p->builder.function->buffers.items[buffer].arrivals = text->arrivals;
    if (text->scope == SINTER_SCOPE_CONSTANT && constant >= p->program->constants.count)
        return sinter_lexer_error_at(&p->lexer, position, "there is no constant %u", constant);
    sinter_map_put_string(&p->buffers, text->name, buffer);
    *out_buffer = buffer;
    return true;
}

static bool parse_declared_buffer(sinter_loop_parser *p, bool is_parameter,
                                  sinter_loop_buffer *out_buffer) {
    const char *position = p->lexer.token.position;
    buffer_text text;
    return parse_buffer(p, is_parameter, &text) && declare_buffer(p, &text, position, out_buffer);
}

/* ---- statements ---- */

static bool parse_block(sinter_loop_parser *p);

/* "3" iterations, or "5/16" of one. */
static bool parse_grain(sinter_lexer *lexer, int64_t *out_grain) {
    const char *position = lexer->token.position;
    int64_t parts = 1;
    if (!sinter_lexer_expect_integer(lexer, out_grain) ||
        (sinter_lexer_accept(lexer, "/") && !sinter_lexer_expect_integer(lexer, &parts)))
        return false;
    if (*out_grain < 0 || *out_grain > INT64_MAX / SINTER_ABI_GRAIN_PARTS)
        return sinter_lexer_error_at(lexer, position,
                                     "the grain must be positive, and no more than 2^59");
    if (parts != 1 && parts != SINTER_ABI_GRAIN_PARTS)
        return sinter_lexer_error_at(lexer, position,
                                     "a grain is counted in iterations, or in "
                                     "sixteenths of one: expected N, or N/16");
    if (parts == 1) *out_grain *= SINTER_ABI_GRAIN_PARTS;
    return true;
}

static bool parse_for(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_expr lower, upper;
    int64_t step = 1;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, "in") ||
        !sinter_loop_parse_expr(p, &lower) || !sinter_lexer_expect(lexer, "..") ||
        !sinter_loop_parse_expr(p, &upper))
        return false;
    const char *position = lexer->token.position;
    if (sinter_lexer_accept(lexer, "step") && !sinter_lexer_expect_integer(lexer, &step))
        return false;
    if (step < 1) return sinter_lexer_error_at(lexer, position, "the step must be positive");
    int axis = SINTER_AXIS_WGMMA, mma = 0;
    while (axis && !sinter_lexer_accept(lexer, sinter_loop_axis_names[axis])) axis--;
    if (axis == SINTER_AXIS_MMA || axis == SINTER_AXIS_WGMMA) {
        mma = SINTER_MMA_COUNT - 1;
        while (mma && !sinter_lexer_accept(lexer, sinter_loop_mma_infos[mma].name)) mma--;
        if (!mma) return sinter_lexer_error_expected(lexer, "the name of an instruction");
    }
    bool joined = axis == SINTER_AXIS_PARALLEL && sinter_lexer_accept(lexer, "joined");
    int64_t grain = 0;
    if (axis == SINTER_AXIS_PARALLEL && !joined && sinter_lexer_accept(lexer, "grain") &&
        !parse_grain(lexer, &grain))
        return false;
    size_t visible = p->visible.count;
    sinter_loop_var var = sinter_loop_begin_for(&p->builder, sinter_loop_parse_copy(p, name), lower,
                                                upper, step, (sinter_loop_axis)axis);
    sinter_loop_parse_show_var(p, name, var);
    bool ok = parse_block(p);
    p->visible.count = visible;
    sinter_loop_end(&p->builder);
    p->builder.last->mma = (sinter_loop_mma)mma;
    p->builder.last->joined = joined;
    p->builder.last->grain = grain;
    return ok;
}

static bool parse_if(sinter_loop_parser *p) {
    sinter_expr condition;
    if (!sinter_loop_parse_expr(p, &condition)) return false;
    sinter_loop_begin_if(&p->builder, condition);
    bool ok = parse_block(p);
    sinter_loop_end(&p->builder);
    if (!ok || !sinter_lexer_accept(&p->lexer, "else")) return ok;
    sinter_loop_begin_else(&p->builder);
    ok = parse_block(p);
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_while(sinter_loop_parser *p) {
    sinter_expr condition;
    if (!sinter_loop_parse_expr(p, &condition)) return false;
    sinter_loop_begin_while(&p->builder, condition);
    bool ok = parse_block(p);
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_declare(sinter_loop_parser *p, bool is_mutable) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_dtype dtype;
    sinter_expr value;
    const char *position = lexer->token.position;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_loop_parse_dtype(p, &dtype) || !sinter_lexer_expect(lexer, "=") ||
        !sinter_loop_parse_expr(p, &value))
        return false;
    sinter_loop_var var =
        sinter_loop_declare(&p->builder, sinter_loop_parse_copy(p, name), is_mutable, value);
    if (value->dtype != dtype)
        return sinter_lexer_error_at(lexer, position, "%.*s is declared as %s, its value is %s",
                                     SINTER_STRING_ARGS(name), sinter_dtype_infos[dtype].name,
                                     sinter_dtype_infos[value->dtype].name);
    sinter_loop_parse_show_var(p, name, var);
    return true;
}

/* A variable that is visible, or an error. */
static sinter_loop_var find_var(sinter_loop_parser *p, sinter_string name, const char *position) {
    sinter_loop_var var = sinter_loop_parse_find_var(p, name);
    if (!var)
        sinter_lexer_error_at(&p->lexer, position, "variable '%.*s' is not declared here",
                              SINTER_STRING_ARGS(name));
    return var;
}

static bool parse_assign(sinter_loop_parser *p, sinter_string name, const char *position) {
    sinter_loop_var var = find_var(p, name, position);
    sinter_expr value;
    if (!var) return false;
    if (!sinter_lexer_expect(&p->lexer, "=") || !sinter_loop_parse_expr(p, &value)) return false;
    sinter_loop_assign(&p->builder, var, value);
    return true;
}

/* The name of a function of two operands. */
static bool parse_function_name(sinter_loop_parser *p, sinter_scalar_function *out_function) {
    sinter_string name;
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect_identifier(&p->lexer, &name)) return false;
    *out_function = sinter_scalar_find(name);
    if (*out_function && sinter_scalar_get_info(*out_function)->arity == 2) return true;
    return sinter_lexer_error_at(&p->lexer, position, "'%.*s' is not a function of two operands",
                                 SINTER_STRING_ARGS(name));
}

static bool parse_combine(sinter_loop_parser *p, sinter_scalar_function *out_function) {
    return sinter_lexer_expect(&p->lexer, "(") && parse_function_name(p, out_function) &&
           sinter_lexer_expect(&p->lexer, ")");
}

/* "reduce acc = max over %lanes" */
static bool parse_reduce(sinter_loop_parser *p) {
    sinter_string name;
    sinter_scalar_function function;
    sinter_loop_buffer buffer;
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect_identifier(&p->lexer, &name)) return false;
    sinter_loop_var var = find_var(p, name, position);
    if (!var || !sinter_lexer_expect(&p->lexer, "=") || !parse_function_name(p, &function) ||
        !sinter_lexer_expect(&p->lexer, "over") || !sinter_loop_parse_buffer(p, &buffer))
        return false;
    sinter_loop_reduce(&p->builder, var, function, buffer);
    return true;
}

static bool parse_store(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_loop_buffer buffer;
    sinter_loop_exprs indices;
    sinter_scalar_function combine = SINTER_SCALAR_NONE;
    bool atomic = false;
    sinter_expr value;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_loop_parse_indices(p, buffer, &indices))
        return false;
    if (sinter_lexer_accept(lexer, "combine")) {
        if (!parse_combine(p, &combine)) return false;
        atomic = sinter_lexer_accept(lexer, "atomic");
    }
    bool asynchronous = sinter_lexer_accept(lexer, "async");
    if (!sinter_lexer_expect(lexer, "=") || !sinter_loop_parse_expr(p, &value)) return false;
    sinter_loop_store_combine(&p->builder, buffer, indices.items, combine, value, atomic);
    p->builder.last->asynchronous = asynchronous;
    return true;
}

static bool parse_alloc(sinter_loop_parser *p) {
    sinter_loop_buffer buffer;
    if (!parse_declared_buffer(p, false, &buffer)) return false;
    sinter_loop_alloc(&p->builder, buffer);
    return !sinter_lexer_accept(&p->lexer, "at") ||
           sinter_loop_parse_expr(p, &p->builder.last->value);
}

static bool parse_bind(sinter_loop_parser *p) {
    sinter_loop_buffer buffer, source;
    if (!parse_declared_buffer(p, false, &buffer) || !sinter_lexer_expect(&p->lexer, "=") ||
        !sinter_loop_parse_buffer(p, &source))
        return false;
    sinter_expr offset = NULL;
    if (sinter_lexer_accept(&p->lexer, "+") && !sinter_loop_parse_expr(p, &offset)) return false;
    sinter_loop_bind(&p->builder, buffer, source, offset);
    return true;
}

static bool parse_take(sinter_loop_parser *p) {
    sinter_loop_buffer buffer, source;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_lexer_expect(&p->lexer, "=") ||
        !sinter_loop_parse_buffer(p, &source))
        return false;
    sinter_loop_take(&p->builder, buffer, source);
    return true;
}

static bool parse_free(sinter_loop_parser *p) {
    sinter_loop_buffer buffer;
    if (!sinter_loop_parse_buffer(p, &buffer)) return false;
    sinter_loop_free(&p->builder, buffer);
    return true;
}

static bool parse_call_kernel(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    const char *position = lexer->token.position;
    sinter_string name;
    uint64_t kernel;
    SINTER_VECTOR(sinter_loop_buffer) buffers = {0};
    sinter_loop_exprs scalars = {0};
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
        if (is_buffer ? !sinter_loop_parse_buffer(p, &buffer) : !sinter_loop_parse_expr(p, &scalar))
            return false;
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
    sinter_loop_stmt *call = p->builder.last;
    call->copies = sinter_lexer_accept(lexer, "copies");
    if (lexer->token.kind == SINTER_TOKEN_STRING) {
        if (!sinter_lexer_expect_string(lexer, &name)) return false;
        call->text = sinter_loop_parse_copy(p, name);
    }
    return true;
}

static bool parse_fail(sinter_loop_parser *p) {
    uint32_t code;
    sinter_string message;
    sinter_loop_exprs arguments = {0};
    if (!sinter_loop_parse_unsigned(p, &code) || !sinter_lexer_expect_string(&p->lexer, &message))
        return false;
    if (sinter_lexer_accept(&p->lexer, "(") && !sinter_loop_parse_list(p, ")", false, &arguments))
        return false;
    sinter_loop_fail(&p->builder, (int32_t)code, sinter_loop_parse_copy(p, message),
                     arguments.items, (uint32_t)arguments.count);
    return true;
}

static bool parse_comment(sinter_loop_parser *p) {
    sinter_string text;
    if (!sinter_lexer_expect_string(&p->lexer, &text)) return false;
    sinter_loop_comment(&p->builder, sinter_loop_parse_copy(p, text));
    return true;
}

static bool parse_barrier(sinter_loop_parser *p) {
    sinter_loop_barrier(&p->builder);
    return true;
}

static bool parse_commit(sinter_loop_parser *p) {
    const bool products = sinter_lexer_accept(&p->lexer, "wgmma");
    sinter_loop_commit(&p->builder);
    p->builder.last->products = products;
    return true;
}

static bool parse_wait(sinter_loop_parser *p) {
    uint32_t pending;
    const bool products = sinter_lexer_accept(&p->lexer, "wgmma");
    if (!sinter_loop_parse_unsigned(p, &pending)) return false;
    sinter_loop_wait(&p->builder, pending);
    p->builder.last->products = products;
    return true;
}

static bool parse_fence(sinter_loop_parser *p) {
    sinter_loop_fence(&p->builder);
    return true;
}

/* "warps 8..12 { ... }" */
static bool parse_warps(sinter_loop_parser *p) {
    uint32_t first, end;
    const char *position = p->lexer.token.position;
    if (!sinter_loop_parse_unsigned(p, &first) || !sinter_lexer_expect(&p->lexer, "..") ||
        !sinter_loop_parse_unsigned(p, &end))
        return false;
    if (end <= first) return sinter_lexer_error_at(&p->lexer, position, "there are no such warps");
    sinter_loop_begin_warps(&p->builder, first, end - first);
    const bool ok = parse_block(p);
    sinter_loop_end(&p->builder);
    return ok;
}

static bool parse_arrive(sinter_loop_parser *p) {
    sinter_loop_buffer buffer;
    sinter_loop_exprs indices;
    const char *position = p->lexer.token.position;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_loop_parse_indices(p, buffer, &indices))
        return false;
    if (indices.count != 1)
        return sinter_lexer_error_at(&p->lexer, position, "phases have one index");
    sinter_loop_arrive(&p->builder, buffer, indices.items[0]);
    return true;
}

/* "await %full[stage % 4] phase stage / 4" */
static bool parse_await(sinter_loop_parser *p) {
    if (!parse_arrive(p) || !sinter_lexer_expect(&p->lexer, "phase")) return false;
    p->builder.last->kind = SINTER_LOOP_AWAIT;
    return sinter_loop_parse_expr(p, &p->builder.last->value);
}

/* "box %to[slot,0,0] = %from at [..] size [..] of [..] by [..] for %full[slot]" */
static bool parse_box(sinter_loop_parser *p) {
    static const char *const words[] = {"at", "size", "of", "by"};
    sinter_loop_exprs first, lists[4] = {0}, phase;
    sinter_loop_box box = {0};
    const char *position = p->lexer.token.position;
    if (!sinter_loop_parse_buffer(p, &box.to) || !sinter_loop_parse_indices(p, box.to, &first) ||
        !sinter_lexer_expect(&p->lexer, "=") || !sinter_loop_parse_buffer(p, &box.from))
        return false;
    for (int i = 0; i < 4; i++) {
        if (!sinter_lexer_expect(&p->lexer, words[i]) || !sinter_lexer_expect(&p->lexer, "[") ||
            !sinter_loop_parse_list(p, "]", false, &lists[i]))
            return false;
        if (lists[i].count != lists[0].count || lists[i].count > SINTER_BOX_MAX_RANK)
            return sinter_lexer_error_at(&p->lexer, position,
                                         "a box has as many places, sizes, dims and strides, %d "
                                         "at most",
                                         SINTER_BOX_MAX_RANK);
    }
    if (!sinter_lexer_expect(&p->lexer, "for") || !sinter_loop_parse_buffer(p, &box.phases) ||
        !sinter_loop_parse_indices(p, box.phases, &phase))
        return false;
    if (phase.count != 1)
        return sinter_lexer_error_at(&p->lexer, position, "phases have one index");
    box.first = first.items;
    box.first_rank = (uint32_t)first.count;
    box.phase = phase.items[0];
    box.rank = (uint32_t)lists[0].count;
    box.at = lists[0].items;
    box.sizes = lists[1].items;
    box.dims = lists[2].items;
    box.strides = lists[3].items;
    sinter_loop_copy_box(&p->builder, &box);
    return true;
}

static bool parse_word(sinter_loop_parser *p, const char *word, uint32_t limit, uint32_t *out) {
    const char *position = p->lexer.token.position;
    if (!sinter_lexer_expect(&p->lexer, word) || !sinter_loop_parse_unsigned(p, out)) return false;
    return *out < limit ||
           sinter_lexer_error_at(&p->lexer, position, "there is no %s %u", word, *out);
}

/* Which may be missing. */
static bool parse_rank(sinter_loop_parser *p, const char *word, int32_t *out_rank) {
    uint32_t rank = 0;
    if (!sinter_lexer_is(&p->lexer, word)) return true;
    if (!parse_word(p, word, INT32_MAX, &rank)) return false;
    *out_rank = (int32_t)rank;
    return true;
}

/* [begins|ends] %target = %source kind N reduction N dtype N over N index N [from N] [to N] */
static bool parse_exchange(sinter_loop_parser *p) {
    sinter_loop_buffer buffer, source;
    sinter_loop_exchange exchange = {.from = -1, .to = -1};
    uint32_t kind = 0, reduction = 0, dtype = 0;
    int64_t over = 0;
    if (sinter_lexer_accept(&p->lexer, "begins"))
        exchange.phase = SINTER_ABI_EXCHANGE_BEGINS;
    else if (sinter_lexer_accept(&p->lexer, "ends"))
        exchange.phase = SINTER_ABI_EXCHANGE_ENDS;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_lexer_expect(&p->lexer, "=") ||
        !sinter_loop_parse_buffer(p, &source) ||
        !parse_word(p, "kind", SINTER_ABI_PERMUTE + 1, &kind) ||
        !parse_word(p, "reduction", SINTER_ABI_MIN + 1, &reduction) ||
        !parse_word(p, "dtype", 1024, &dtype) || !sinter_lexer_expect(&p->lexer, "over") ||
        !sinter_lexer_expect_integer(&p->lexer, &over) ||
        !parse_word(p, "index", UINT32_MAX, &exchange.index) ||
        !parse_rank(p, "from", &exchange.from) || !parse_rank(p, "to", &exchange.to))
        return false;
    exchange.kind = (int32_t)kind;
    exchange.reduction = (int32_t)reduction;
    exchange.dtype = (int32_t)dtype;
    exchange.over = (uint64_t)over;
    sinter_loop_exchange_with(&p->builder, buffer, source, &exchange);
    return true;
}

static bool parse_prefetch(sinter_loop_parser *p) {
    sinter_loop_buffer buffer;
    sinter_loop_exprs indices;
    if (!sinter_loop_parse_buffer(p, &buffer) || !sinter_loop_parse_indices(p, buffer, &indices))
        return false;
    sinter_loop_prefetch(&p->builder, buffer, indices.items);
    return true;
}

static bool parse_let(sinter_loop_parser *p) {
    return parse_declare(p, false);
}

static bool parse_var(sinter_loop_parser *p) {
    return parse_declare(p, true);
}

static bool parse_buffer_line(sinter_loop_parser *p) {
    sinter_loop_buffer buffer;
    return parse_declared_buffer(p, false, &buffer);
}

static bool parse_stmt(sinter_loop_parser *p) {
    static const struct {
        const char *word;
        bool (*parse)(sinter_loop_parser *);
    } statements[] = {{"for", parse_for},           {"if", parse_if},
                      {"while", parse_while},       {"let", parse_let},
                      {"var", parse_var},           {"alloc", parse_alloc},
                      {"bind", parse_bind},         {"free", parse_free},
                      {"take", parse_take},         {"call", parse_call_kernel},
                      {"fail", parse_fail},         {"barrier", parse_barrier},
                      {"comment", parse_comment},   {"buffer", parse_buffer_line},
                      {"prefetch", parse_prefetch}, {"exchange", parse_exchange},
                      {"reduce", parse_reduce},     {"commit", parse_commit},
                      {"wait", parse_wait},         {"fence", parse_fence},
                      {"warps", parse_warps},       {"arrive", parse_arrive},
                      {"await", parse_await},       {"box", parse_box}};
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

static bool parse_block(sinter_loop_parser *p) {
    if (!sinter_lexer_expect(&p->lexer, "{") || !sinter_lexer_enter(&p->lexer)) return false;
    size_t visible = p->visible.count;
    while (!sinter_lexer_accept(&p->lexer, "}"))
        if (!parse_stmt(p)) return false;
    p->visible.count = visible;
    sinter_lexer_leave(&p->lexer);
    return true;
}

/* ---- functions ---- */

static bool parse_scalar_parameter(sinter_loop_parser *p) {
    sinter_lexer *lexer = &p->lexer;
    sinter_string name;
    sinter_dtype dtype;
    if (!sinter_lexer_expect_identifier(lexer, &name) || !sinter_lexer_expect(lexer, ":") ||
        !sinter_loop_parse_dtype(p, &dtype))
        return false;
    sinter_loop_var var =
        sinter_loop_add_parameter(&p->builder, sinter_loop_parse_copy(p, name), dtype);
    sinter_loop_parse_show_var(p, name, var);
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
static bool parse_scalar_parameters(sinter_loop_parser *p) {
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

static bool skip_scalar_parameter(sinter_loop_parser *p) {
    int depth = 0;
    while (depth || (!sinter_lexer_is(&p->lexer, ",") && !sinter_lexer_is(&p->lexer, ")"))) {
        if (sinter_lexer_is(&p->lexer, "(")) depth++;
        if (sinter_lexer_is(&p->lexer, ")")) depth--;
        if (p->lexer.token.kind == SINTER_TOKEN_END || p->lexer.token.kind == SINTER_TOKEN_ERROR)
            return sinter_lexer_error_expected(&p->lexer, "')'");
        sinter_lexer_next(&p->lexer);
    }
    return true;
}

static bool parse_buffer_parameters(sinter_loop_parser *p) {
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
static bool check_late_dims(sinter_loop_parser *p, const char *position) {
    const sinter_loop_function *function = p->builder.function;
    for (size_t i = 1; i < function->buffers.count; i++)
        for (uint32_t k = 0; k < function->buffers.items[i].rank; k++)
            if (!function->buffers.items[i].dims[k])
                return sinter_lexer_error_at(&p->lexer, position, "dim %u of %%%s is never told", k,
                                             function->buffers.items[i].name);
    return true;
}

bool sinter_loop_parse_function(sinter_loop_parser *p, bool is_host) {
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
    sinter_loop_function *function =
        sinter_loop_function_create(p->program, sinter_loop_parse_copy(p, name));
    sinter_loop_builder_init(&p->builder, p->program, function);
    sinter_map_init(&p->buffers, p->arena);
    p->visible.count = 0;
    p->is_host = is_host;
    if (!sinter_lexer_expect(lexer, "(")) return false;
    const char *parameters = lexer->token.position;
    if (!parse_scalar_parameters(p)) return false;
    sinter_lexer_seek(lexer, parameters);
    if (!parse_buffer_parameters(p)) return false;
    if (lexer->token.kind == SINTER_TOKEN_STRING) {
        if (!sinter_lexer_expect_string(lexer, &comment)) return false;
        function->comment = sinter_loop_parse_copy(p, comment);
    }
    if (is_host)
        p->program->host = function;
    else {
        sinter_map_put_string(&p->kernels, name, p->program->kernels.count);
        sinter_vector_push(p->arena, &p->program->kernels, function);
    }
    return parse_block(p) && check_late_dims(p, position);
}
