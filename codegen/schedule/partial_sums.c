/* Reductions in blocks: a long sum is taken over a part of its steps for many elements, then over the next part, so that what
 * these elements share stays in a cache. In between, the sums lie in scratch. Scalarize, which keeps an element of a buffer in
 * a variable while a loop runs, makes each part a nest around one accumulator again.
 * Needs: a function that the verifier accepts. Guarantees: every sum adds in the order it did.
 * Test: tests/codegen/schedule/partial_sums.loops, tests/unit/loop_property_test.c */
#include "codegen/schedule/internal.h"

/* ---- scalarize ---- */

typedef struct scalarization {
    sinter_loop_builder builder;
    sinter_loop_buffer buffer;
    sinter_loop_var var;
} scalarization;

static sinter_expr read_var(void *user, sinter_expr expr) {
    scalarization *s = user;
    if (expr->kind == SINTER_LOOP_LOAD && expr->buffer == s->buffer)
        return sinter_loop_var_read(&s->builder, s->var);
    return sinter_loop_replace_arguments(s->builder.arena, expr, read_var, s);
}

static bool replace_stmt(void *user, sinter_loop_stmt *stmt) {
    scalarization *s = user;
    sinter_loop_replace_exprs(stmt, read_var, s);
    if (stmt->kind != SINTER_LOOP_STORE || stmt->buffer != s->buffer) return true;
    if (stmt->combine != SINTER_SCALAR_NONE)
        stmt->value = sinter_loop_call2(&s->builder, stmt->combine,
                                        sinter_loop_var_read(&s->builder, s->var), stmt->value);
    stmt->kind = SINTER_LOOP_ASSIGN;
    stmt->var = s->var;
    stmt->buffer = 0;
    stmt->arguments = NULL;
    stmt->argument_count = 0;
    stmt->combine = SINTER_SCALAR_NONE;
    return true;
}

static bool is_plain(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        bool stops = stmt->kind == SINTER_LOOP_FAIL || stmt->kind == SINTER_LOOP_BARRIER;
        bool lanes = stmt->kind == SINTER_LOOP_FOR && stmt->axis != SINTER_AXIS_SERIAL &&
                     stmt->axis != SINTER_AXIS_UNROLL;
        if (stops || lanes || !is_plain(stmt->body) || !is_plain(stmt->else_body)) return false;
    }
    return true;
}

static bool touches(const sinter_loop_stmt *stmt, sinter_loop_buffer buffer, sinter_arena *arena) {
    sinter_loop_access_list list = {0};
    sinter_loop_stmt alone = *stmt;
    alone.next = NULL;
    sinter_loop_collect_accesses(arena, &alone, &list);
    for (size_t i = 0; i < list.count; i++)
        if (list.items[i].buffer == buffer) return true;
    return false;
}

/* The first thing that happens to the element, whatever the data are, is that it is read: it has been written before. */
static bool reads_first(const sinter_loop_stmt *loop, sinter_loop_buffer buffer,
                        sinter_arena *arena) {
    int64_t count;
    if (!sinter_loop_trip_count(loop, &count) || count < 1) return false;
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next) {
        if (!touches(stmt, buffer, arena)) continue;
        if (stmt->kind == SINTER_LOOP_FOR) return reads_first(stmt, buffer, arena);
        return (stmt->value && sinter_loop_expr_loads(stmt->value, buffer)) ||
               (stmt->kind == SINTER_LOOP_STORE && stmt->combine != SINTER_SCALAR_NONE);
    }
    return false;
}

/* Every access of the buffer in the loop is to one element; its indices. */
static bool find_element(sinter_schedule *schedule, const sinter_loop_stmt *loop,
                         sinter_loop_buffer buffer, sinter_arena *arena,
                         sinter_loop_access *out_access) {
    sinter_loop_access_list list = {0};
    bool found = false;
    sinter_loop_collect_accesses(arena, loop->body, &list);
    for (size_t i = 0; i < list.count; i++) {
        const sinter_loop_access *access = &list.items[i];
        if (access->buffer != buffer) continue;
        if (access->atomic) return sinter_schedule_refuse(schedule, "its elements are shared");
        for (uint32_t k = 0; k < access->rank; k++) {
            bool fixed = !sinter_loop_expr_uses(access->indices[k], loop->var) &&
                         sinter_loop_is_invariant(access->indices[k], loop->body);
            if (!fixed ||
                (found && !sinter_loop_expr_equal(access->indices[k], out_access->indices[k])))
                return sinter_schedule_refuse(schedule, "the loop goes through its elements");
        }
        *out_access = *access;
        found = true;
    }
    return found || sinter_schedule_refuse(schedule, "the loop does not use it");
}

bool sinter_schedule_scalarize(sinter_schedule *schedule, sinter_loop_buffer buffer,
                               sinter_loop_var var, sinter_loop_var *out_scalar) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, var);
    if (!link) return false;
    sinter_loop_stmt *loop = *link;
    if (!buffer || buffer >= schedule->function->buffers.count ||
        schedule->function->buffers.items[buffer].scope != SINTER_SCOPE_STACK)
        return sinter_schedule_refuse(schedule, "there is no such stack buffer");
    bool serial = loop->axis == SINTER_AXIS_SERIAL || loop->axis == SINTER_AXIS_UNROLL;
    if (!serial || !is_plain(loop->body) ||
        sinter_schedule_in_axis(schedule, link, SINTER_AXIS_VECTOR))
        return sinter_schedule_refuse(schedule, "the loop runs in lanes, or may stop");
    sinter_arena scratch;
    sinter_loop_access element = {0};
    sinter_arena_init(&scratch);
    bool good = find_element(schedule, loop, buffer, &scratch, &element);
    if (good && !reads_first(loop, buffer, &scratch))
        good = sinter_schedule_refuse(schedule, "the loop may not read the element first");
    if (good) {
        scalarization s = {.buffer = buffer};
        sinter_loop_builder *b = &s.builder;
        sinter_loop_builder_init(b, schedule->program, schedule->function);
        b->tail = link;
        const char *name = schedule->function->buffers.items[buffer].name;
        s.var = sinter_loop_declare(b, name, true, sinter_loop_load(b, buffer, element.indices));
        sinter_loop_walk(loop->body, replace_stmt, &s);
        b->tail = &loop->next;
        sinter_loop_store(b, buffer, element.indices, sinter_loop_var_read(b, s.var));
        if (out_scalar) *out_scalar = s.var;
    }
    sinter_arena_deinit(&scratch);
    return good;
}

/* ---- blocks ---- */

/* The loops of the part: outermost the blocks, or m where there are none. */
static bool make_part(sinter_schedule *schedule, const sinter_reduction_blocks *asked,
                      sinter_schedule_part part, sinter_loop_var blocks, sinter_loop_var steps) {
    sinter_loop_var order[3];
    size_t count = 0;
    if (blocks) order[count++] = blocks;
    if (part.m) order[count++] = part.m;
    order[count++] = part.n;
    return (count < 2 || sinter_schedule_reorder(schedule, order, count)) &&
           sinter_schedule_scalarize(schedule, asked->out_sums, steps, NULL);
}

static bool block(sinter_schedule *schedule, sinter_reduction_blocks *asked) {
    sinter_schedule_part start = {asked->m, asked->n}, sums = {0}, end = {0}, rest = {0};
    const sinter_loop_stmt *inner = sinter_schedule_get_loop(schedule->function, asked->n);
    size_t index;
    sinter_schedule_inline_lets(schedule, inner, asked->accumulator);
    if (!sinter_schedule_find_reduction(inner->body, asked->accumulator, &index) || index == 0)
        return sinter_schedule_refuse(schedule, "there is no reduction into the accumulator");
    const sinter_loop_stmt *reduction = inner->body;
    for (size_t i = 0; i < index; i++) reduction = reduction->next;
    const sinter_loop_var loops[2] = {asked->m ? asked->m : asked->n, asked->n};
    sinter_loop_var steps = reduction->var, blocks, tail = 0;
    bool ends = reduction->next != NULL;
    if (!sinter_schedule_expand(schedule, asked->accumulator, loops, asked->m ? 2 : 1,
                                &asked->out_sums) ||
        !sinter_schedule_part_cut(schedule, start, index, &sums) ||
        (ends && !sinter_schedule_part_cut(schedule, sums, 1, &end)) ||
        !sinter_schedule_split(schedule, steps, asked->size, SINTER_TAIL_PEEL, &blocks, &steps,
                               &tail) ||
        (tail && !sinter_schedule_part_cut(schedule, sums, 1, &rest)))
        return false;
    if (!make_part(schedule, asked, sums, blocks, steps) ||
        (tail && !make_part(schedule, asked, rest, 0, tail)))
        return false;
    asked->out_start = start.m ? start.m : start.n;
    asked->out_blocks = blocks;
    asked->out_rest = rest.m ? rest.m : rest.n;
    asked->out_end = end.m ? end.m : end.n;
    return true;
}

bool sinter_schedule_block_reduction(sinter_schedule *schedule, sinter_reduction_blocks *asked) {
    const sinter_loop_stmt *outer = sinter_schedule_get_loop(schedule->function, asked->m);
    const sinter_loop_stmt *inner = sinter_schedule_get_loop(schedule->function, asked->n);
    if (!inner || (asked->m && (!outer || outer->body != inner || inner->next)))
        return sinter_schedule_refuse(schedule, "these are not perfectly nested loops");
    if (asked->size < 1) return sinter_schedule_refuse(schedule, "a block has no steps");
    sinter_loop_function *saved = sinter_loop_clone_function(schedule->program, schedule->function);
    if (block(schedule, asked)) return true;
    *schedule->function = *saved;
    return false;
}
