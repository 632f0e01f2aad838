/* Prefetches: while a block of an operand serves many iterations, the next block is asked for, a few lines at a time, so
 * that memory works while the arithmetic does. Needs: reads of inputs at a constant stride. Guarantees: values stay; what is
 * asked for may lie behind the end of the buffer, where nothing happens.
 * Test: tests/codegen/schedule/prefetch.loops */
#include "codegen/schedule/internal.h"

enum { MAX_LINES = 16 }; /* of one iteration, beyond which the reads are no stream */

typedef struct prefetching {
    sinter_schedule *schedule;
    sinter_loop_builder builder;
    sinter_loop_map next; /* the same iteration of the inner loop, one of the outer loop later */
    const sinter_loop_stmt *inner, *outer, *between;
    int64_t line;
} prefetching;

/* Loops of the body stand at their first iteration; false where something else is declared there. */
static bool map_body(prefetching *p, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_DECLARE) return false;
        if (stmt->kind == SINTER_LOOP_FOR) {
            if (stmt->lower->kind != SINTER_LOOP_CONST) return false;
            sinter_loop_map_var(&p->next, stmt->var, stmt->lower);
        }
        if (!map_body(p, stmt->body) || !map_body(p, stmt->else_body)) return false;
    }
    return true;
}

/* The lines of a block, in the order of memory: iteration `position` of all that go over it asks for lines from
 * position * lines / rounds on, so that each line is asked for once and memory is busy all the time. */
static bool ask(prefetching *p, const sinter_loop_access *load) {
    const sinter_loop_buffer_info *info = &p->schedule->function->buffers.items[load->buffer];
    sinter_loop_builder *b = &p->builder;
    sinter_expr indices[SINTER_MAX_RANK], first[SINTER_MAX_RANK];
    int64_t bits = sinter_dtype_infos[info->dtype].bits, rounds, steps, lower;
    if (!load->rank || bits < 8) return false;
    for (uint32_t i = 0; i < load->rank;
         i++) { /* a place beyond the end is asked for, but not read */
        if (sinter_loop_expr_loads(load->indices[i], 0)) return false;
        indices[i] = sinter_loop_map_expr(&p->next, load->indices[i]);
    }
    int64_t bytes;
    if (!sinter_loop_stride_bytes(b, load->buffer, indices, p->inner->var, &bytes) || bytes <= 0)
        return false;
    int64_t lines = (bytes * p->inner->step + p->line - 1) / p->line;
    if (lines > MAX_LINES) return false;
    sinter_expr turn = sinter_loop_var_read(b, p->between->var), start;
    if (sinter_loop_trip_count(p->between, &rounds) && sinter_loop_trip_count(p->inner, &steps) &&
        rounds > 0 && p->between->step == 1 && p->inner->step == 1 &&
        sinter_loop_is_const_int(p->between->lower, &lower) &&
        sinter_loop_is_const_int(p->inner->lower, &lower)) {
        start = sinter_loop_sub(b, turn, p->between->lower);
        start = sinter_loop_add(
            b, sinter_loop_mul(b, start, sinter_loop_int(b, steps)),
            sinter_loop_sub(b, sinter_loop_var_read(b, p->inner->var), p->inner->lower));
        start = sinter_loop_div(b, sinter_loop_mul(b, start, sinter_loop_int(b, lines)),
                                sinter_loop_int(b, rounds));
        sinter_loop_map_var(&p->next, p->inner->var, p->inner->lower);
        for (uint32_t i = 0; i < load->rank; i++)
            first[i] = sinter_loop_map_expr(&p->next, load->indices[i]);
    } else { /* a line an iteration */
        start = sinter_loop_rem(b, turn, sinter_loop_int(b, lines));
        for (uint32_t i = 0; i < load->rank; i++) first[i] = indices[i];
        rounds = lines;
    }
    sinter_expr last = first[load->rank - 1];
    for (int64_t i = 0; i < (lines + rounds - 1) / rounds; i++) {
        sinter_expr line = sinter_loop_add(b, start, sinter_loop_int(b, i));
        first[load->rank - 1] = sinter_loop_add(
            b, last, sinter_loop_mul(b, line, sinter_loop_int(b, p->line * 8 / bits)));
        sinter_loop_prefetch(b, load->buffer, first);
    }
    return true;
}

/* The loop of this variable on the path to the inner one. */
static const sinter_loop_stmt *find_around(const sinter_schedule_path *path, sinter_loop_var var) {
    for (size_t i = 0; i < path->count; i++)
        if (path->items[i]->kind == SINTER_LOOP_FOR && path->items[i]->var == var)
            return path->items[i];
    return NULL;
}

static bool ask_for_all(prefetching *p, sinter_arena *scratch) {
    sinter_loop_access_list loads = {0};
    const sinter_loop_function *function = p->schedule->function;
    sinter_loop_collect_accesses(scratch, p->inner->body, &loads);
    bool asked = false;
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        bool again = false;
        for (size_t k = 0; k < i; k++) again |= loads.items[k].buffer == load->buffer;
        if (again || load->is_store ||
            function->buffers.items[load->buffer].scope != SINTER_SCOPE_INPUT ||
            !sinter_loop_access_uses(load, p->outer->var) ||
            sinter_loop_access_uses(load, p->between->var))
            continue;
        sinter_loop_map_var(&p->next, p->inner->var, NULL);
        asked |= ask(p, load);
    }
    return asked;
}

bool sinter_schedule_prefetch(sinter_schedule *schedule, sinter_loop_var inner,
                              sinter_loop_var outer, sinter_loop_var between, int64_t line) {
    sinter_loop_stmt **link = sinter_schedule_find_link(schedule, SINTER_LOOP_FOR, inner);
    if (!link) return false;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_schedule_path path = sinter_schedule_path_to(schedule, link, &scratch);
    prefetching p = {.schedule = schedule,
                     .inner = *link,
                     .outer = find_around(&path, outer),
                     .between = find_around(&path, between),
                     .line = line};
    bool fits = p.outer && p.between && p.outer != p.between && line > 0, asked = false;
    if (fits) {
        sinter_loop_builder_init(&p.builder, schedule->program, schedule->function);
        sinter_loop_map_init(&p.next, schedule->program, schedule->function);
        sinter_expr later = sinter_loop_add(&p.builder, sinter_loop_var_read(&p.builder, outer),
                                            sinter_loop_int(&p.builder, p.outer->step));
        sinter_loop_map_var(&p.next, outer, later);
        p.builder.tail = &(*link)->body;
        asked = p.inner->axis == SINTER_AXIS_SERIAL && map_body(&p, p.inner->body) &&
                ask_for_all(&p, &scratch);
    }
    sinter_arena_deinit(&scratch);
    if (!fits) return sinter_schedule_refuse(schedule, "there are no such loops around it");
    return asked || sinter_schedule_refuse(schedule, "no input is read in such a way");
}
