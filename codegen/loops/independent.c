/* See independent.h. */
#include "codegen/loops/independent.h"
#include "codegen/loops/conflict.h"

static const char *find_call(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_CALL_KERNEL) return "it calls a kernel";
        if (stmt->kind == SINTER_LOOP_BIND || stmt->kind == SINTER_LOOP_FREE ||
            stmt->kind == SINTER_LOOP_TAKE)
            return "it binds or frees buffers";
        const char *inner = find_call(stmt->body);
        if (!inner) inner = find_call(stmt->else_body);
        if (inner) return inner;
    }
    return NULL;
}

static bool carries_scalar(const sinter_loop_comparison *c, sinter_text *reason) {
    const sinter_loop_function *function = c->scopes->function;
    for (sinter_loop_var var = 1; var < function->vars.count; var++) {
        if (!c->assigned[var] || c->differs[var]) continue;
        sinter_text_format(reason, "iterations of %s share the variable %s",
                           function->vars.items[c->loop->var].name, function->vars.items[var].name);
        return true;
    }
    return false;
}

static bool say_conflict(const sinter_loop_comparison *c, sinter_loop_buffer buffer,
                         sinter_text *reason) {
    const sinter_loop_function *function = c->scopes->function;
    sinter_text_format(reason, "two iterations of %s may touch the same element of %%%s",
                       function->vars.items[c->loop->var].name,
                       function->buffers.items[buffer].name);
    return false;
}

bool sinter_loop_independent(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop,
                             const sinter_loop_var *varying, size_t varying_count,
                             sinter_text *reason) {
    sinter_loop_comparison c = sinter_loop_begin_comparison(scopes, loop);
    for (size_t i = 0; i < varying_count; i++) c.differs[varying[i]] = true;
    const char *call = find_call(loop->body);
    if (call) {
        sinter_text_append_string(reason, call);
        return false;
    }
    if (carries_scalar(&c, reason)) return false;
    int64_t trips;
    if (!varying_count && sinter_loop_trip_count(loop, &trips) && trips <= 1) return true;
    sinter_loop_access_list list = {0};
    sinter_loop_collect_accesses(scopes->builder.arena, loop->body, &list);
    for (size_t i = 0; i < list.count; i++) {
        if (!list.items[i].is_store) continue;
        for (size_t k = 0; k < list.count; k++)
            if ((k >= i || !list.items[k].is_store) &&
                sinter_loop_conflict(&c, &list.items[i], &list.items[k]))
                return say_conflict(&c, list.items[i].buffer, reason);
    }
    return true;
}

/* What the first part of a body declares or assigns and the second uses, or the other way round. */
static const char *find_shared(const sinter_loop_comparison *c, const sinter_loop_stmt *first,
                               const sinter_loop_stmt *second) {
    const sinter_loop_function *function = c->scopes->function;
    for (sinter_loop_var var = 1; var < function->vars.count; var++) {
        if (var == c->loop->var || !(c->differs[var] || c->assigned[var])) continue;
        bool in_first =
            sinter_loop_list_uses(function, first, var) || sinter_loop_list_assigns(first, var);
        bool in_second =
            sinter_loop_list_uses(function, second, var) || sinter_loop_list_assigns(second, var);
        const sinter_loop_stmt *stmt = c->scopes->vars[var];
        for (const sinter_loop_stmt *at = first; at; at = at->next) in_first |= at == stmt;
        if (in_first && in_second) return function->vars.items[var].name;
    }
    return NULL;
}

/* A buffer that the list allocates for what comes after it. */
static sinter_loop_buffer find_allocated(const sinter_loop_stmt *first,
                                         const sinter_loop_access_list *after) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        for (size_t i = 0; stmt->kind == SINTER_LOOP_ALLOC && i < after->count; i++)
            if (after->items[i].buffer == stmt->buffer) return stmt->buffer;
    return 0;
}

bool sinter_loop_separable(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop,
                           const sinter_loop_stmt *second, sinter_text *reason) {
    sinter_arena *scratch = scopes->builder.arena;
    sinter_loop_comparison c = sinter_loop_begin_comparison(scopes, loop);
    /* The first part alone, as a list that ends before the second. */
    sinter_loop_stmt *cut = loop->body;
    while (cut->next != second) cut = cut->next;
    cut->next = NULL;
    sinter_loop_access_list before = {0}, after = {0};
    sinter_loop_collect_accesses(scratch, loop->body, &before);
    sinter_loop_collect_accesses(scratch, second, &after);
    sinter_loop_buffer taken = find_allocated(loop->body, &after);
    const char *shared = find_shared(&c, loop->body, second);
    const char *call = find_call(loop->body);
    cut->next = (sinter_loop_stmt *)(uintptr_t)second;
    if (!call) call = find_call(second);
    if (call) {
        sinter_text_append_string(reason, call);
        return false;
    }
    if (taken) {
        sinter_text_format(reason, "the second part uses %%%s, which the first allocates",
                           scopes->function->buffers.items[taken].name);
        return false;
    }
    if (shared) {
        sinter_text_format(reason, "both parts use the variable %s", shared);
        return false;
    }
    int64_t trips;
    if (sinter_loop_trip_count(loop, &trips) && trips <= 1) return true;
    for (size_t i = 0; i < before.count; i++)
        for (size_t k = 0; k < after.count; k++) {
            sinter_loop_buffer buffer = before.items[i].buffer;
            if (buffer == after.items[k].buffer && c.declared[buffer]) {
                sinter_text_format(reason, "both parts use %%%s, which the body allocates",
                                   scopes->function->buffers.items[buffer].name);
                return false;
            }
            if (sinter_loop_conflict(&c, &before.items[i], &after.items[k]))
                return say_conflict(&c, buffer, reason);
        }
    return true;
}

static bool is_parallel(const sinter_loop_stmt *stmt) {
    int64_t count;
    return stmt && stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_PARALLEL &&
           sinter_loop_trip_count(stmt, &count) && count > 0 && count <= INT32_MAX;
}

const sinter_loop_stmt *sinter_loop_group_end(const sinter_loop_stmt *first) {
    while (is_parallel(first) && is_parallel(first->next) && first->next->joined)
        first = first->next;
    return first;
}

static bool are_apart(sinter_loop_scopes *scopes, const sinter_loop_stmt *first,
                      const sinter_loop_stmt *second, sinter_text *reason) {
    sinter_arena *scratch = scopes->builder.arena;
    sinter_loop_comparison c = sinter_loop_begin_comparison(scopes, second);
    sinter_loop_mark_declared(&c, first->body);
    c.differs[first->var] = true;
    const char *call = find_call(first->body);
    if (!call) call = find_call(second->body);
    if (call) {
        sinter_text_append_string(reason, call);
        return false;
    }
    if (carries_scalar(&c, reason)) return false;
    sinter_loop_access_list before = {0}, after = {0};
    sinter_loop_collect_accesses(scratch, first->body, &before);
    sinter_loop_collect_accesses(scratch, second->body, &after);
    for (size_t i = 0; i < before.count; i++)
        for (size_t k = 0; k < after.count; k++) {
            if (!sinter_loop_conflict(&c, &before.items[i], &after.items[k])) continue;
            const sinter_loop_function *function = scopes->function;
            sinter_text_format(reason, "%s and %s may touch the same element of %%%s",
                               function->vars.items[first->var].name,
                               function->vars.items[second->var].name,
                               function->buffers.items[before.items[i].buffer].name);
            return false;
        }
    return true;
}

bool sinter_loop_groups_apart(sinter_loop_scopes *scopes, const sinter_loop_stmt *first,
                              sinter_text *reason) {
    for (; first; first = first->next) {
        const sinter_loop_stmt *end = sinter_loop_group_end(first);
        for (const sinter_loop_stmt *loop = first; loop != end; loop = loop->next)
            for (const sinter_loop_stmt *other = loop; other != end; other = other->next)
                if (!are_apart(scopes, loop, other->next, reason)) return false;
        first = end;
    }
    return true;
}
