/* Operands that only the run knows, in panels: where the columns of a tile lie far apart from step to step of the reduction, a
 * panel of them is copied to scratch of the thread before the rows go through it, which then read it line by line, as they read
 * a constant that was packed at compile time. Needs: a nest that is a contraction. Guarantees: the same values.
 * Test: tests/codegen/schedule/operands.loops */
#include "codegen/loop_access.h"
#include "codegen/loop_linear.h"
#include "codegen/schedule_cpu_tile.h"

enum {
    LINE = 64,      /* bytes of a cache line */
    WAY = 65536,    /* bytes that addresses of one set of the second cache are apart, as a rule */
    FEW_ROWS = 48,  /* that a copy does not pay for */
    FEW_STEPS = 64, /* of a reduction, that any cache holds */
    MAX_PANEL = 512 * 1024, /* bytes, of a stack that others need as well */
    MAX_UNROLLED = 8        /* vectors of a panel */
};

/* ---- where it pays ---- */

/* Bytes from one iteration of the loop to the next; -1 where they are no number. */
static int64_t step_bytes(sinter_schedule_cpu_state *state, const sinter_loop_access *load,
                          sinter_loop_var loop) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, state->program, state->schedule.function);
    sinter_expr place = sinter_loop_int(&b, 0), coefficient, rest;
    int64_t elements;
    for (uint32_t i = 0; i < load->rank; i++)
        place = sinter_loop_add(&b, sinter_loop_mul(&b, place, info->dims[i]), load->indices[i]);
    bool known = sinter_loop_affine(&b, place, loop, &coefficient, &rest) &&
                 sinter_loop_is_const_int(coefficient, &elements) && elements >= 0;
    return known ? elements * sinter_dtype_infos[info->dtype].bits / 8 : -1;
}

/* Steps of the reductions that the load goes through; -1 where they are no number. */
static int64_t count_steps(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                           const sinter_loop_access *load, sinter_loop_var *out_longest) {
    int64_t steps = 1, longest = 0;
    *out_longest = 0;
    for (uint32_t i = 0; i < nest->reduction_count; i++) {
        if (!sinter_loop_access_uses(load, nest->reductions[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->reductions[i]);
        if (count < 0 || count > MAX_PANEL) return -1;
        steps *= count;
        if (steps > MAX_PANEL) return -1;
        if (count > longest) *out_longest = nest->reductions[i];
        if (count > longest) longest = count;
    }
    return steps;
}

/* The lines of a panel find no room in the second cache at the same time, because they are too many or because of how they lie:
 * their addresses share sets. What finds room there streams to the core as fast from one place as from many. */
static bool leaves_cache(const sinter_schedule_cpu_state *state, int64_t steps, int64_t stride,
                         int64_t bytes) {
    int64_t each = (bytes + LINE - 1) / LINE, sets = WAY / LINE;
    int64_t ways = state->target->l2_bytes / WAY;
    if (stride < 0) return steps > FEW_STEPS;
    if (stride <= bytes) return false; /* one line after the other as it is */
    int64_t starts = WAY / sinter_linear_gcd(stride, WAY);
    if (starts * each < sets) sets = starts * each;
    return steps * each > sets * (ways > 1 ? ways : 1);
}

/* Rows that go through a panel: -1 where they are no number. */
static int64_t count_rows(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          const sinter_loop_access *load) {
    int64_t rows = 1;
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        if (sinter_loop_access_uses(load, nest->loops[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->loops[i]);
        if (count < 0) return -1;
        rows = rows < FEW_ROWS ? rows * count : rows;
    }
    return rows;
}

static bool pays(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                 const sinter_loop_access *load, sinter_cpu_tile tile) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    sinter_loop_var column = nest->loops[nest->loop_count - 1], longest;
    int64_t bits = sinter_dtype_infos[info->dtype].bits, bytes = tile.columns * bits / 8;
    int64_t most = state->target->l2_bytes / 2, rows = count_rows(state, nest, load);
    int64_t steps = count_steps(state, nest, load, &longest);
    int64_t columns = sinter_cpu_trips(state, column);
    return info->scope == SINTER_SCOPE_INPUT && bits >= 8 &&
           sinter_loop_access_uses(load, column) && longest &&
           (columns < 0 || columns > tile.columns) && (rows < 0 || rows >= FEW_ROWS) && steps > 0 &&
           steps * bytes <= (most < MAX_PANEL ? most : MAX_PANEL) &&
           leaves_cache(state, steps, step_bytes(state, load, longest), bytes) &&
           !sinter_cpu_is_constant(state, load->buffer);
}

bool sinter_cpu_wants_panels(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                             sinter_loop_var row, sinter_cpu_tile tile) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    bool wants = false;
    if (!row || !sinter_cpu_broadcasts(nest)) return false;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    for (size_t i = 0; i < loads.count && !wants; i++)
        wants = !sinter_loop_access_uses(&loads.items[i], row) &&
                pays(state, nest, &loads.items[i], tile);
    sinter_arena_deinit(&scratch);
    const sinter_cpu_answer answers[] = {{"scratch"}, {"no"}};
    return wants && !sinter_cpu_choose(state, "pack", answers, 2);
}

/* ---- the copy, in a nest that is tiled ---- */

typedef struct search {
    sinter_schedule_cpu_state *state;
    sinter_arena scratch;
    const sinter_loop_stmt *path[SINTER_SCHEDULE_CHAIN_MAX];
    uint32_t depth;
    int64_t least; /* tiles of rows that a copy pays for */
    bool changed;
} search;

/* The columns are lanes. */
static bool reads_lanes(const sinter_loop_access *load, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_VECTOR &&
             sinter_loop_access_uses(load, stmt->var)) ||
            reads_lanes(load, stmt->body))
            return true;
    return false;
}

/* Outside of the reduction: loops of rows, which go through the panel again and again, inside of one that goes to the next. */
static bool find_place(const search *s, const sinter_loop_access *load, sinter_loop_var *out_rows,
                       sinter_loop_var *out_first) {
    uint32_t i = s->depth - 1;
    while (i > 0 && sinter_loop_access_uses(load, s->path[i - 1]->var)) i--;
    if (!i) return false;
    *out_rows = s->path[i - 1]->var;
    while (i > 0 && !sinter_loop_access_uses(load, s->path[i - 1]->var)) i--;
    if (!i) return false;
    *out_first = s->path[i]->var;
    return true;
}

/* Vectors are copied as they are read. */
static void mark_copy(sinter_schedule *schedule, const sinter_scratch_packing *packing) {
    for (uint32_t i = packing->out_rank; i-- > 0;) {
        int64_t count;
        const sinter_loop_stmt *loop =
            sinter_schedule_get_loop(schedule->function, packing->out_loops[i]);
        if (i + 1 == packing->out_rank)
            sinter_schedule_vectorize(schedule, packing->out_loops[i]);
        else if (sinter_loop_trip_count(loop, &count) && count <= MAX_UNROLLED)
            sinter_schedule_unroll(schedule, packing->out_loops[i]);
        else
            return;
    }
}

static bool pack(search *s, const sinter_loop_access *load) {
    sinter_schedule *schedule = &s->state->schedule;
    sinter_loop_var rows, first, around = s->path[0]->var;
    if (!find_place(s, load, &rows, &first)) return false;
    for (uint32_t i = 0; i + 1 < s->depth && s->path[i]->var != first; i++)
        around = s->path[i]->var;
    sinter_scratch_packing packing = {.buffer = load->buffer, .loop = first};
    int64_t count = sinter_cpu_trips(s->state, rows);
    if (count >= 0 && first == rows && count < s->least) return false;
    sinter_loop_function *saved = sinter_loop_clone_function(s->state->program, schedule->function);
    if ((count >= 0 || sinter_schedule_fork(schedule, around, rows, s->least)) &&
        sinter_schedule_pack_scratch(schedule, &packing)) {
        mark_copy(schedule, &packing);
        return true;
    }
    *schedule->function = *saved;
    return false;
}

static bool has_serial(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL) ||
            has_serial(stmt->body) || has_serial(stmt->else_body))
            return true;
    return false;
}

static void visit(search *s, const sinter_loop_stmt *loop) {
    sinter_loop_access_list loads = {0};
    const sinter_loop_function *function = s->state->schedule.function;
    sinter_loop_collect_accesses(&s->scratch, loop->body, &loads);
    for (size_t i = 0; i < loads.count && !s->changed; i++) {
        const sinter_loop_access *load = &loads.items[i];
        if (!load->is_store && function->buffers.items[load->buffer].scope == SINTER_SCOPE_INPUT &&
            sinter_loop_access_uses(load, loop->var) && reads_lanes(load, loop->body) &&
            !sinter_cpu_is_constant(s->state, load->buffer))
            s->changed = pack(s, load);
    }
}

/* Ends where something changed: what the list was is no more. Branches are made here: what they have is as it shall be. */
static void visit_list(search *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt && !s->changed; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_FOR || stmt->axis != SINTER_AXIS_SERIAL ||
            s->depth == SINTER_SCHEDULE_CHAIN_MAX)
            continue;
        s->path[s->depth++] = stmt;
        if (has_serial(stmt->body))
            visit_list(s, stmt->body);
        else
            visit(s, stmt);
        s->depth--;
    }
}

void sinter_cpu_pack_operands(sinter_schedule_cpu_state *state, sinter_cpu_tile tile) {
    search s = {.state = state, .least = (FEW_ROWS + tile.rows - 1) / tile.rows};
    sinter_arena_init(&s.scratch);
    do {
        s.changed = false;
        s.depth = 0;
        visit_list(&s, state->schedule.function->body);
    } while (s.changed);
    sinter_arena_deinit(&s.scratch);
}
