/* See access.h. */
#include "codegen/loops/access.h"
#include "codegen/loops/box.h"

/* ---- accesses ---- */

typedef struct collector {
    sinter_arena *arena;
    sinter_loop_access_list *list;
    const sinter_loop_stmt *stmt;
} collector;

static void collect_load(void *user, sinter_expr expr) {
    collector *c = user;
    if (expr->kind != SINTER_LOOP_LOAD) return;
    sinter_loop_access access = {.buffer = expr->buffer,
                                 .indices = expr->arguments,
                                 .rank = expr->argument_count,
                                 .stmt = c->stmt};
    sinter_vector_push(c->arena, c->list, access);
}

void sinter_loop_collect_stmt_accesses(sinter_arena *arena, const sinter_loop_stmt *stmt,
                                       sinter_loop_access_list *list) {
    static const sinter_loop_expr zero = {.kind = SINTER_LOOP_CONST, .dtype = SINTER_DTYPE_i64};
    static const sinter_expr first[1] = {&zero};
    collector c = {.arena = arena, .list = list, .stmt = stmt};
    sinter_loop_walk_stmt_exprs(stmt, collect_load, &c);
    if (stmt->kind == SINTER_LOOP_REDUCE) { /* each thread's own element: one stands for all */
        sinter_loop_access access = {
            .buffer = stmt->buffer, .indices = first, .rank = 1, .stmt = stmt};
        sinter_vector_push(arena, list, access);
    }
    if (stmt->kind == SINTER_LOOP_BOX) { /* its first element stands for all */
        sinter_loop_access access = {.buffer = stmt->buffer,
                                     .is_store = true,
                                     .indices = stmt->arguments,
                                     .rank = sinter_loop_box_of(stmt).first_rank,
                                     .stmt = stmt};
        sinter_vector_push(arena, list, access);
    }
    if (stmt->kind != SINTER_LOOP_STORE) return;
    sinter_loop_access access = {.buffer = stmt->buffer,
                                 .is_store = true,
                                 .atomic = stmt->atomic,
                                 .combine = stmt->combine,
                                 .indices = stmt->arguments,
                                 .rank = stmt->argument_count,
                                 .stmt = stmt};
    sinter_vector_push(arena, list, access);
}

void sinter_loop_collect_accesses(sinter_arena *arena, const sinter_loop_stmt *first,
                                  sinter_loop_access_list *list) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_loop_collect_stmt_accesses(arena, stmt, list);
        sinter_loop_collect_accesses(arena, stmt->body, list);
        sinter_loop_collect_accesses(arena, stmt->else_body, list);
    }
}

bool sinter_loop_access_uses(const sinter_loop_access *access, sinter_loop_var var) {
    for (uint32_t i = 0; i < access->rank; i++)
        if (sinter_loop_expr_uses(access->indices[i], var)) return true;
    return false;
}

bool sinter_loop_find_axis(const sinter_expr *indices, uint32_t rank, sinter_loop_var var,
                           uint32_t *out_dim) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (!sinter_loop_expr_uses(indices[i], var)) continue;
        if (indices[i]->kind != SINTER_LOOP_VAR || found++) return false;
        *out_dim = i;
    }
    return found == 1;
}

bool sinter_loop_tells_apart(const sinter_loop_access_list *accesses, sinter_loop_buffer buffer,
                             sinter_loop_var var, uint32_t but) {
    for (uint32_t axis = 0; axis < SINTER_MAX_RANK; axis++) {
        bool good = axis != but, found = false;
        for (size_t i = 0; i < accesses->count && good; i++) {
            const sinter_loop_access *access = &accesses->items[i];
            if (access->buffer != buffer) continue;
            good = axis < access->rank && access->indices[axis]->kind == SINTER_LOOP_VAR &&
                   access->indices[axis]->var == var;
            found = true;
        }
        if (good && found) return true;
    }
    return false;
}

bool sinter_loop_stride(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                        const sinter_expr *indices, sinter_loop_var var, int64_t *out_elements) {
    const sinter_loop_buffer_info *info = &builder->function->buffers.items[buffer];
    sinter_expr place = sinter_loop_int(builder, 0), coefficient, rest;
    for (uint32_t i = 0; i < info->rank; i++)
        place =
            sinter_loop_add(builder, sinter_loop_mul(builder, place, info->dims[i]), indices[i]);
    return sinter_loop_affine(builder, place, var, &coefficient, &rest) &&
           sinter_loop_is_const_int(coefficient, out_elements);
}

bool sinter_loop_stride_bytes(sinter_loop_builder *builder, sinter_loop_buffer buffer,
                              const sinter_expr *indices, sinter_loop_var var, int64_t *out_bytes) {
    const sinter_loop_buffer_info *info = &builder->function->buffers.items[buffer];
    int64_t elements;
    if (!sinter_loop_stride(builder, buffer, indices, var, &elements)) return false;
    *out_bytes = elements * sinter_dtype_infos[info->dtype].bits / 8;
    return true;
}

/* ---- scopes ---- */

/* The condition around all that a list reads and writes, NULL where there is none. */
static const sinter_loop_stmt *find_guard(sinter_arena *scratch, const sinter_loop_stmt *first) {
    const sinter_loop_stmt *guard = NULL;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        sinter_loop_access_list accesses = {0};
        bool plain = stmt->kind == SINTER_LOOP_PREFETCH || stmt->kind == SINTER_LOOP_COMMENT ||
                     stmt->kind == SINTER_LOOP_DECLARE;
        if (plain) sinter_loop_collect_stmt_accesses(scratch, stmt, &accesses);
        if (plain && !accesses.count) continue;
        if (guard || stmt->kind != SINTER_LOOP_IF || stmt->else_body) return NULL;
        guard = stmt;
    }
    return guard;
}

static void scan(sinter_loop_scopes *scopes, sinter_loop_stmt *first) {
    for (sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_DECLARE)
            scopes->vars[stmt->var] = stmt;
        if (stmt->kind == SINTER_LOOP_FOR) {
            scopes->guards[stmt->var] = find_guard(scopes->builder.arena, stmt->body);
            scopes->has_guards |= scopes->guards[stmt->var] != NULL;
        }
        if (stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND)
            scopes->buffers[stmt->buffer] = stmt;
        if (stmt->kind == SINTER_LOOP_DECLARE && stmt->value->dtype == SINTER_DTYPE_i64 &&
            !scopes->function->vars.items[stmt->var].is_mutable &&
            !sinter_loop_expr_loads(stmt->value, 0))
            sinter_loop_map_var(&scopes->lets, stmt->var,
                                sinter_loop_map_expr(&scopes->lets, stmt->value));
        scan(scopes, stmt->body);
        scan(scopes, stmt->else_body);
    }
}

void sinter_loop_scopes_init(sinter_loop_scopes *scopes, sinter_loop_program *program,
                             sinter_loop_function *function, sinter_arena *scratch) {
    *scopes = (sinter_loop_scopes){.program = program, .function = function};
    sinter_loop_builder_init(&scopes->builder, program, function);
    scopes->builder.arena = scratch;
    sinter_loop_map_init(&scopes->lets, program, function);
    scopes->lets.builder.arena = scratch;
    scopes->vars = SINTER_NEW_ARRAY(scratch, sinter_loop_stmt *, function->vars.count);
    scopes->guards = SINTER_NEW_ARRAY(scratch, const sinter_loop_stmt *, function->vars.count);
    scopes->buffers = SINTER_NEW_ARRAY(scratch, sinter_loop_stmt *, function->buffers.count);
    scan(scopes, function->body);
}
/* ---- what stays the same ---- */

static bool list_touches(const sinter_loop_stmt *first, sinter_loop_var var,
                         sinter_loop_buffer buffer) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        bool sets = stmt->kind == SINTER_LOOP_FOR || stmt->kind == SINTER_LOOP_DECLARE ||
                    sinter_loop_assigns(stmt);
        bool writes = stmt->kind == SINTER_LOOP_STORE || stmt->kind == SINTER_LOOP_BOX ||
                      stmt->kind == SINTER_LOOP_ALLOC || stmt->kind == SINTER_LOOP_BIND ||
                      stmt->kind == SINTER_LOOP_FREE || stmt->kind == SINTER_LOOP_TAKE;
        if (buffer && stmt->kind == SINTER_LOOP_TAKE && stmt->source == buffer) return true;
        if ((var && sets && stmt->var == var) || (buffer && writes && stmt->buffer == buffer))
            return true;
        if (buffer && stmt->kind == SINTER_LOOP_CALL_KERNEL) return true;
        if (list_touches(stmt->body, var, buffer) || list_touches(stmt->else_body, var, buffer))
            return true;
    }
    return false;
}

bool sinter_loop_is_invariant(sinter_expr expr, const sinter_loop_stmt *first) {
    if (expr->kind == SINTER_LOOP_VAR) return !list_touches(first, expr->var, 0);
    if (expr->kind == SINTER_LOOP_LOAD && list_touches(first, 0, expr->buffer)) return false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!sinter_loop_is_invariant(expr->arguments[i], first)) return false;
    return true;
}
