/* Walking, rebuilding, cloning and index analysis of the loop IR (see rewrite.h).
 * Needs: ids in range. Guarantees: maps never change a shared expression, they build new ones; clones share nothing that a
 * later edit of statements could touch.
 * Test: tests/unit/loop_property_test.c */
#include "codegen/loops/rewrite.h"
#include "codegen/loops/linear.h"

#include <assert.h>
#include <string.h>

/* ---- walking ---- */

void sinter_loop_walk(sinter_loop_stmt *first, sinter_loop_stmt_visitor visit, void *user) {
    for (sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (!visit(user, stmt)) continue;
        sinter_loop_walk(stmt->body, visit, user);
        sinter_loop_walk(stmt->else_body, visit, user);
    }
}

void sinter_loop_walk_expr(sinter_expr expr, sinter_loop_expr_visitor visit, void *user) {
    visit(user, expr);
    for (uint32_t i = 0; i < expr->argument_count; i++)
        sinter_loop_walk_expr(expr->arguments[i], visit, user);
}

void sinter_loop_walk_stmt_exprs(const sinter_loop_stmt *stmt, sinter_loop_expr_visitor visit,
                                 void *user) {
    if (stmt->lower) sinter_loop_walk_expr(stmt->lower, visit, user);
    if (stmt->upper) sinter_loop_walk_expr(stmt->upper, visit, user);
    if (stmt->value) sinter_loop_walk_expr(stmt->value, visit, user);
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        sinter_loop_walk_expr(stmt->arguments[i], visit, user);
}

bool sinter_loop_visit_places(sinter_loop_stmt *stmt, sinter_loop_place_visitor visit, void *user) {
    if (stmt->lower && !visit(user, &stmt->lower)) return false;
    if (stmt->upper && !visit(user, &stmt->upper)) return false;
    if (stmt->value && !visit(user, &stmt->value)) return false;
    /* Argument lists are arrays of the arena that only their statement refers to. */
    sinter_expr *arguments = (sinter_expr *)(uintptr_t)stmt->arguments;
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        if (!visit(user, &arguments[i])) return false;
    return true;
}

sinter_expr sinter_loop_replace_arguments(sinter_arena *arena, sinter_expr expr,
                                          sinter_loop_expr_replacer replace, void *user) {
    sinter_expr arguments[SINTER_MAX_RANK];
    bool changed = false;
    if (expr->argument_count > SINTER_MAX_RANK) return expr;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        arguments[i] = replace(user, expr->arguments[i]);
        changed |= arguments[i] != expr->arguments[i];
    }
    if (!changed) return expr;
    sinter_loop_expr copy = *expr;
    copy.arguments = arguments;
    return sinter_loop_expr_make(arena, &copy);
}

typedef struct list_replacement {
    sinter_loop_expr_replacer replace;
    void *user;
} list_replacement;

static bool replace_place(void *user, sinter_expr *place) {
    const list_replacement *r = user;
    *place = r->replace(r->user, *place);
    return true;
}

static bool replace_stmt(void *user, sinter_loop_stmt *stmt) {
    return sinter_loop_visit_places(stmt, replace_place, user);
}

void sinter_loop_replace_exprs(sinter_loop_stmt *stmt, sinter_loop_expr_replacer replace,
                               void *user) {
    list_replacement r = {replace, user};
    replace_stmt(&r, stmt);
}

void sinter_loop_replace_list(sinter_loop_stmt *first, sinter_loop_expr_replacer replace,
                              void *user) {
    list_replacement r = {replace, user};
    sinter_loop_walk(first, replace_stmt, &r);
}

bool sinter_loop_expr_uses(sinter_expr expr, sinter_loop_var var) {
    if (expr->kind == SINTER_LOOP_VAR) return expr->var == var;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (sinter_loop_expr_uses(expr->arguments[i], var)) return true;
    return false;
}

bool sinter_loop_expr_loads(sinter_expr expr, sinter_loop_buffer buffer) {
    if (expr->kind == SINTER_LOOP_LOAD && (!buffer || expr->buffer == buffer)) return true;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (sinter_loop_expr_loads(expr->arguments[i], buffer)) return true;
    return false;
}

bool sinter_loop_expr_over_parameters(const sinter_loop_function *function, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_VAR) return function->vars.items[expr->var].is_parameter;
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!sinter_loop_expr_over_parameters(function, expr->arguments[i])) return false;
    return true;
}

static bool stmt_uses(const sinter_loop_function *function, const sinter_loop_stmt *stmt,
                      sinter_loop_var var) {
    if (stmt->lower && sinter_loop_expr_uses(stmt->lower, var)) return true;
    if (stmt->upper && sinter_loop_expr_uses(stmt->upper, var)) return true;
    if (stmt->value && sinter_loop_expr_uses(stmt->value, var)) return true;
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        if (sinter_loop_expr_uses(stmt->arguments[i], var)) return true;
    if (stmt->kind == SINTER_LOOP_REDUCE && stmt->var == var) return true;
    if (stmt->kind != SINTER_LOOP_ALLOC && stmt->kind != SINTER_LOOP_BIND &&
        stmt->kind != SINTER_LOOP_TAKE)
        return false;
    const sinter_loop_buffer_info *info = &function->buffers.items[stmt->buffer];
    for (uint32_t i = 0; i < info->rank; i++)
        if (sinter_loop_expr_uses(info->dims[i], var)) return true;
    return false;
}

bool sinter_loop_exchanges(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_EXCHANGE || sinter_loop_exchanges(stmt->body) ||
            sinter_loop_exchanges(stmt->else_body))
            return true;
    return false;
}

bool sinter_loop_list_uses(const sinter_loop_function *function, const sinter_loop_stmt *first,
                           sinter_loop_var var) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt_uses(function, stmt, var) || sinter_loop_list_uses(function, stmt->body, var) ||
            sinter_loop_list_uses(function, stmt->else_body, var))
            return true;
    return false;
}

bool sinter_loop_list_assigns(const sinter_loop_stmt *first, sinter_loop_var var) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((sinter_loop_assigns(stmt) && stmt->var == var) ||
            sinter_loop_list_assigns(stmt->body, var) ||
            sinter_loop_list_assigns(stmt->else_body, var))
            return true;
    return false;
}

/* ---- rebuilding ---- */

void sinter_loop_map_init(sinter_loop_map *map, sinter_loop_program *program,
                          sinter_loop_function *function) {
    *map = (sinter_loop_map){0};
    sinter_loop_builder_init(&map->builder, program, function);
}

void sinter_loop_map_var(sinter_loop_map *map, sinter_loop_var var, sinter_expr replacement) {
    sinter_arena *arena = map->builder.arena;
    if (!map->vars.count) map->first_var = var;
    size_t shift = var < map->first_var ? map->first_var - var : 0, count = map->vars.count;
    for (size_t i = 0; i < shift; i++) sinter_vector_push(arena, &map->vars, NULL);
    if (shift) {
        memmove(map->vars.items + shift, map->vars.items, count * sizeof *map->vars.items);
        memset(map->vars.items, 0, shift * sizeof *map->vars.items);
        map->first_var = var;
    }
    while (map->vars.count <= var - map->first_var) sinter_vector_push(arena, &map->vars, NULL);
    map->vars.items[var - map->first_var] = replacement;
}

sinter_expr sinter_loop_mapped_var(const sinter_loop_map *map, sinter_loop_var var) {
    bool known = var >= map->first_var && var - map->first_var < map->vars.count;
    return known ? map->vars.items[var - map->first_var] : NULL;
}

void sinter_loop_map_buffer(sinter_loop_map *map, sinter_loop_buffer buffer,
                            sinter_loop_buffer replacement) {
    while (map->buffers.count <= buffer) sinter_vector_push(map->builder.arena, &map->buffers, 0);
    map->buffers.items[buffer] = replacement;
}

static sinter_loop_buffer mapped_buffer(const sinter_loop_map *map, sinter_loop_buffer buffer) {
    sinter_loop_buffer replacement = buffer < map->buffers.count ? map->buffers.items[buffer] : 0;
    return replacement ? replacement : buffer;
}

/* The expression with new operands, simplified as if it were written now. */
static sinter_expr rebuild(sinter_loop_map *map, sinter_expr expr, const sinter_expr *arguments) {
    sinter_loop_builder *builder = &map->builder;
    switch (expr->kind) {
    case SINTER_LOOP_LOAD:
        return sinter_loop_load(builder, mapped_buffer(map, expr->buffer), arguments);
    case SINTER_LOOP_CALL:
        return sinter_loop_call(builder, expr->function, arguments);
    case SINTER_LOOP_INTRINSIC:
        return sinter_loop_intrinsic_call(builder, expr->intrinsic, arguments);
    case SINTER_LOOP_CAST:
        return sinter_loop_cast_saturating(builder, arguments[0], expr->dtype, expr->saturate);
    case SINTER_LOOP_CONST:
    case SINTER_LOOP_VAR:
        break;
    }
    sinter_loop_expr copy = *expr;
    copy.arguments = arguments;
    return sinter_loop_expr_make(builder->arena, &copy);
}

sinter_expr sinter_loop_map_expr(sinter_loop_map *map, sinter_expr expr) {
    if (expr->kind == SINTER_LOOP_CONST) return expr;
    if (expr->kind == SINTER_LOOP_VAR) {
        sinter_expr replacement = sinter_loop_mapped_var(map, expr->var);
        return replacement ? replacement : expr;
    }
    sinter_expr inline_arguments[SINTER_MAX_RANK], *arguments = inline_arguments;
    if (expr->argument_count > SINTER_MAX_RANK)
        arguments = SINTER_NEW_ARRAY(map->builder.arena, sinter_expr, expr->argument_count);
    bool changed =
        expr->kind == SINTER_LOOP_LOAD && mapped_buffer(map, expr->buffer) != expr->buffer;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        arguments[i] = sinter_loop_map_expr(map, expr->arguments[i]);
        changed |= arguments[i] != expr->arguments[i];
    }
    return changed ? rebuild(map, expr, arguments) : expr;
}

static sinter_expr map_expr(void *user, sinter_expr expr) {
    return sinter_loop_map_expr(user, expr);
}

static void map_dims(sinter_loop_map *map, sinter_loop_buffer buffer) {
    sinter_loop_buffer_info *info = &map->builder.function->buffers.items[buffer];
    if (!info->rank) return;
    sinter_expr *dims = SINTER_NEW_ARRAY(map->builder.arena, sinter_expr, info->rank);
    for (uint32_t i = 0; i < info->rank; i++) dims[i] = sinter_loop_map_expr(map, info->dims[i]);
    map->builder.function->buffers.items[buffer].dims = dims;
}

void sinter_loop_map_list(sinter_loop_map *map, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_loop_replace_exprs(stmt, map_expr, map);
        stmt->buffer = mapped_buffer(map, stmt->buffer);
        stmt->source = mapped_buffer(map, stmt->source);
        sinter_loop_buffer *buffers = (sinter_loop_buffer *)(uintptr_t)stmt->buffer_arguments;
        for (uint32_t i = 0; i < stmt->buffer_argument_count; i++)
            buffers[i] = mapped_buffer(map, buffers[i]);
        if (stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND)
            map_dims(map, stmt->buffer);
        if (stmt->kind == SINTER_LOOP_FOR) sinter_loop_narrow_range(&map->builder, stmt);
        sinter_loop_map_list(map, stmt->body);
        sinter_loop_map_list(map, stmt->else_body);
    }
}

/* ---- cloning ---- */

/* A read of the fresh variable without folding: its range is set later. */
static sinter_expr plain_read(sinter_loop_builder *builder, sinter_loop_var var) {
    sinter_loop_expr pattern = {
        .kind = SINTER_LOOP_VAR, .dtype = builder->function->vars.items[var].dtype, .var = var};
    return sinter_loop_expr_make(builder->arena, &pattern);
}

static sinter_loop_var fresh_var(sinter_loop_map *map, sinter_loop_var var) {
    sinter_loop_builder *builder = &map->builder;
    sinter_loop_var_info info = builder->function->vars.items[var];
    sinter_loop_var fresh = sinter_loop_add_var(builder, info.name, info.dtype, info.is_mutable);
    sinter_loop_set_range(builder, fresh, info.min, info.max);
    sinter_loop_map_var(map, var, plain_read(builder, fresh));
    return fresh;
}

static sinter_loop_buffer fresh_buffer(sinter_loop_map *map, sinter_loop_buffer buffer) {
    sinter_loop_builder *builder = &map->builder;
    sinter_loop_buffer_info info = builder->function->buffers.items[buffer];
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < info.rank; i++) dims[i] = sinter_loop_map_expr(map, info.dims[i]);
    sinter_loop_buffer fresh =
        sinter_loop_add_buffer(builder, info.name, info.dtype, info.rank, dims, info.scope);
    sinter_loop_map_buffer(map, buffer, fresh);
    return fresh;
}

static void *copy_array(sinter_arena *arena, const void *items, size_t count, size_t size) {
    return count ? sinter_arena_copy(arena, items, count * size) : NULL;
}

static sinter_loop_stmt *copy_stmt(sinter_arena *arena, const sinter_loop_stmt *stmt) {
    sinter_loop_stmt *copy = sinter_arena_copy(arena, stmt, sizeof *stmt);
    copy->arguments =
        copy_array(arena, stmt->arguments, stmt->argument_count, sizeof *stmt->arguments);
    copy->buffer_arguments = copy_array(arena, stmt->buffer_arguments, stmt->buffer_argument_count,
                                        sizeof *stmt->buffer_arguments);
    copy->next = NULL;
    return copy;
}

sinter_loop_stmt **sinter_loop_put_branches(sinter_loop_builder *builder, sinter_loop_stmt **link,
                                            sinter_expr condition, sinter_loop_stmt *body,
                                            sinter_loop_stmt *else_body) {
    builder->tail = link;
    sinter_loop_begin_if(builder, condition);
    *builder->tail = body;
    sinter_loop_end(builder);
    sinter_loop_begin_else(builder);
    *builder->tail = else_body;
    sinter_loop_end(builder);
    return builder->tail;
}

sinter_loop_stmt *sinter_loop_clone_stmt(sinter_loop_map *map, const sinter_loop_stmt *stmt) {
    sinter_loop_stmt *copy = copy_stmt(map->builder.arena, stmt);
    /* Bounds and values do not see what is declared here. */
    sinter_loop_replace_exprs(copy, map_expr, map);
    bool scoped = stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND;
    bool keeps = map->builder.function->buffers.items[stmt->buffer].scope <= SINTER_SCOPE_CONSTANT;
    copy->source = mapped_buffer(map, stmt->source);
    if (scoped && !keeps)
        copy->buffer = fresh_buffer(map, stmt->buffer);
    else
        copy->buffer = mapped_buffer(map, stmt->buffer);
    sinter_loop_buffer *buffers = (sinter_loop_buffer *)(uintptr_t)copy->buffer_arguments;
    for (uint32_t i = 0; i < stmt->buffer_argument_count; i++)
        buffers[i] = mapped_buffer(map, buffers[i]);
    if (stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_DECLARE) {
        copy->var = fresh_var(map, stmt->var);
        if (stmt->kind == SINTER_LOOP_FOR) sinter_loop_narrow_range(&map->builder, copy);
    } else if (sinter_loop_assigns(stmt)) {
        sinter_expr mapped = sinter_loop_mapped_var(map, stmt->var);
        assert(!mapped || mapped->kind == SINTER_LOOP_VAR);
        if (mapped) copy->var = mapped->var;
    }
    copy->body = sinter_loop_clone_list(map, stmt->body);
    copy->else_body = sinter_loop_clone_list(map, stmt->else_body);
    return copy;
}

sinter_loop_stmt *sinter_loop_clone_list(sinter_loop_map *map, const sinter_loop_stmt *first) {
    sinter_loop_stmt *result = NULL, **tail = &result;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        *tail = sinter_loop_clone_stmt(map, stmt);
        tail = &(*tail)->next;
    }
    return result;
}

static sinter_loop_stmt *copy_list(sinter_arena *arena, const sinter_loop_stmt *first) {
    sinter_loop_stmt *result = NULL, **tail = &result;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        *tail = copy_stmt(arena, stmt);
        (*tail)->body = copy_list(arena, stmt->body);
        (*tail)->else_body = copy_list(arena, stmt->else_body);
        tail = &(*tail)->next;
    }
    return result;
}

#define COPY_VECTOR(arena, target, source)                                                         \
 do {                                                                                              \
  sinter_vector_reserve((arena), (target), (source)->count);                                       \
  if ((source)->count)                                                                             \
   memcpy((target)->items, (source)->items, (source)->count * sizeof *(source)->items);            \
  (target)->count = (source)->count;                                                               \
 } while (0)

sinter_loop_function *sinter_loop_clone_function(sinter_loop_program *program,
                                                 const sinter_loop_function *function) {
    sinter_arena *arena = &program->arena;
    sinter_loop_function *copy = SINTER_NEW(arena, sinter_loop_function);
    copy->name = function->name;
    copy->comment = function->comment;
    COPY_VECTOR(arena, &copy->vars, &function->vars);
    COPY_VECTOR(arena, &copy->buffers, &function->buffers);
    COPY_VECTOR(arena, &copy->buffer_parameters, &function->buffer_parameters);
    COPY_VECTOR(arena, &copy->scalar_parameters, &function->scalar_parameters);
    copy->body = copy_list(arena, function->body);
    return copy;
}

/* ---- indices ---- */

typedef struct index_rewrite {
    sinter_arena *arena;
    sinter_loop_buffer buffer;
    sinter_loop_index_change change;
    void *user;
} index_rewrite;

/* The access's own indices, `count` of them, become others; their number. */
static uint32_t change_indices(const index_rewrite *r, sinter_loop_buffer buffer,
                               const sinter_expr *own, uint32_t count, sinter_expr *indices) {
    memcpy(indices, own, count * sizeof *indices);
    return r->change(r->user, buffer, indices);
}

static bool is_changed(const index_rewrite *r, sinter_loop_buffer buffer, uint32_t rank) {
    return rank && (!r->buffer || buffer == r->buffer);
}

static sinter_expr change_expr(void *user, sinter_expr expr) {
    const index_rewrite *r = user;
    sinter_expr indices[SINTER_MAX_RANK];
    expr = sinter_loop_replace_arguments(r->arena, expr, change_expr, user);
    if (expr->kind != SINTER_LOOP_LOAD || !is_changed(r, expr->buffer, expr->argument_count))
        return expr;
    sinter_loop_expr copy = *expr;
    copy.arguments = indices;
    copy.argument_count =
        change_indices(r, expr->buffer, expr->arguments, expr->argument_count, indices);
    return sinter_loop_expr_make(r->arena, &copy);
}

static bool change_stmt(void *user, sinter_loop_stmt *stmt) {
    index_rewrite *r = user;
    sinter_loop_replace_exprs(stmt, change_expr, r);
    bool indexes = stmt->kind == SINTER_LOOP_STORE || stmt->kind == SINTER_LOOP_PREFETCH;
    if (indexes && is_changed(r, stmt->buffer, stmt->argument_count)) {
        sinter_expr indices[SINTER_MAX_RANK];
        stmt->argument_count =
            change_indices(r, stmt->buffer, stmt->arguments, stmt->argument_count, indices);
        stmt->arguments =
            sinter_arena_copy(r->arena, indices, stmt->argument_count * sizeof *indices);
    }
    return true;
}

void sinter_loop_change_indices(sinter_arena *arena, sinter_loop_stmt *first,
                                sinter_loop_buffer buffer, sinter_loop_index_change change,
                                void *user) {
    index_rewrite r = {arena, buffer, change, user};
    sinter_loop_walk(first, change_stmt, &r);
}

/* ---- analysis ---- */

/* term = coefficient * product of factors; adds its share to coefficient and rest. */
static bool affine_term(sinter_loop_builder *builder, const sinter_linear_term *term,
                        sinter_loop_var var, sinter_expr *coefficient, sinter_expr *rest) {
    sinter_expr outer = sinter_loop_int(builder, term->coefficient), inner = NULL;
    for (uint32_t i = 0; i < term->count; i++) {
        if (!sinter_loop_expr_uses(term->factors[i], var))
            outer = sinter_loop_mul(builder, outer, term->factors[i]);
        else if (inner)
            return false;
        else
            inner = term->factors[i];
    }
    if (!inner) {
        *rest = sinter_loop_add(builder, *rest, outer);
        return true;
    }
    if (inner->kind == SINTER_LOOP_VAR) {
        *coefficient = sinter_loop_add(builder, *coefficient, outer);
        return true;
    }
    bool is_sum = inner->kind == SINTER_LOOP_CALL &&
                  (inner->function == SINTER_SCALAR_add || inner->function == SINTER_SCALAR_sub);
    sinter_expr inner_coefficient, inner_rest;
    if (!is_sum || !sinter_loop_affine(builder, inner, var, &inner_coefficient, &inner_rest))
        return false;
    *coefficient =
        sinter_loop_add(builder, *coefficient, sinter_loop_mul(builder, outer, inner_coefficient));
    *rest = sinter_loop_add(builder, *rest, sinter_loop_mul(builder, outer, inner_rest));
    return true;
}

bool sinter_loop_affine(sinter_loop_builder *builder, sinter_expr expr, sinter_loop_var var,
                        sinter_expr *out_coefficient, sinter_expr *out_rest) {
    sinter_linear sum;
    if (expr->dtype != SINTER_DTYPE_i64) return false;
    *out_coefficient = sinter_loop_int(builder, 0);
    *out_rest = expr;
    if (!sinter_loop_expr_uses(expr, var)) return true;
    if (!sinter_linear_of(expr, &sum)) return false;
    *out_rest = sinter_loop_int(builder, sum.constant);
    for (uint32_t i = 0; i < sum.count; i++)
        if (!affine_term(builder, &sum.terms[i], var, out_coefficient, out_rest)) return false;
    return true;
}

bool sinter_loop_trip_count(const sinter_loop_stmt *loop, int64_t *out_count) {
    int64_t lower, upper;
    if (!sinter_loop_is_const_int(loop->lower, &lower) ||
        !sinter_loop_is_const_int(loop->upper, &upper))
        return false;
    *out_count = upper <= lower ? 0 : (upper - lower - 1) / loop->step + 1;
    return true;
}

bool sinter_loop_most_trips(const sinter_loop_function *function, const sinter_loop_stmt *loop,
                            int64_t *out_count) {
    int64_t low, high, unused;
    if (sinter_loop_trip_count(loop, out_count)) return true;
    if (!sinter_loop_range(function, loop->lower, &low, &unused) ||
        !sinter_loop_range(function, loop->upper, &unused, &high) ||
        __builtin_sub_overflow(high, low, out_count))
        return false;
    *out_count = *out_count > 0 ? (*out_count - 1) / loop->step + 1 : 0;
    return true;
}

bool sinter_loop_looks_up(const sinter_loop_function *function, sinter_expr load) {
    int64_t entries;
    if (load->kind != SINTER_LOOP_LOAD || load->argument_count != 1) return false;
    const sinter_loop_buffer_info *info = &function->buffers.items[load->buffer];
    sinter_expr index = load->arguments[0];
    return sinter_dtype_infos[info->dtype].bits == 8 && info->rank == 1 &&
           sinter_loop_is_const_int(info->dims[0], &entries) && entries == UINT8_MAX + 1 &&
           index->kind == SINTER_LOOP_CAST && index->arguments[0]->dtype == SINTER_DTYPE_u8;
}
