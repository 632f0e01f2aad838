/* Operands that only the run knows, in panels: where the columns of a tile lie far apart from step to step of the reduction, a
 * panel of them is copied to scratch of the thread before the rows go through it, which then read it line by line, as they read
 * a constant that was packed at compile time. Needs: a nest that is a contraction. Guarantees: the same values.
 * Test: tests/codegen/schedule/operands.loops */
#include "codegen/schedule/cpu/operand.h"
#include "codegen/loops/access.h"
#include "codegen/loops/linear.h"
#include "codegen/schedule/cpu/constant.h"
#include "ir/machine.h"
#include "ir/stack.h"

enum {
    PANEL_SHARE =
        4, /* of the cache that a panel may have as it lies, if rows come and go beside it */
    FEW_STEPS = 64,  /* of a reduction, that any cache holds */
    PAGE = 4096,     /* bytes that hardware does not look beyond for what is wanted next */
    FEW_PANELS = 8,  /* for all threads that there may be */
    TURNED = 16,     /* steps that are turned into lanes at a time: a line of four-byte elements */
    MAX_UNROLLED = 8 /* vectors of a panel */
};

/* Rows that a copy pays for, by how often the panel as it lies has left the cache when the next rows come. */
enum { ROWS_IF_LOST = 48, ROWS_IF_CROWDED = 96 };

/* ---- tiles ---- */

/* Rows of a tile that lie a power of two apart share sets of the cache, which holds few of them at a time: each is read once from
 * end to end, in lanes. What was read is turned in registers (emit/llvm_turn.c): lanes of the result lie across the tile. */
void sinter_cpu_turn_tile(sinter_schedule *schedule, sinter_loop_var rows, sinter_loop_var lanes) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    bool is_turned = false;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, sinter_schedule_get_loop(schedule->function, rows)->body,
                                 &loads);
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        sinter_scratch_packing packing = {
            .buffer = load->buffer, .loop = rows, .order = {1, 0}, .order_count = 2};
        if (load->is_store || !sinter_loop_access_uses(load, rows) ||
            !sinter_loop_access_uses(load, lanes) ||
            !sinter_schedule_pack_scratch(schedule, &packing))
            continue;
        sinter_schedule_unroll(schedule, packing.out_loops[0]);
        sinter_schedule_vectorize(schedule, packing.out_loops[1]);
        sinter_schedule_unroll(schedule, rows);
        is_turned = sinter_schedule_vectorize(schedule, lanes);
        break; /* the list is of what was */
    }
    if (!is_turned) sinter_schedule_unroll(schedule, lanes);
    sinter_arena_deinit(&scratch);
}

/* ---- where it pays ---- */

/* Bytes from one iteration of the loop to the next; -1 where they are no number. */
static int64_t step_bytes(sinter_schedule_cpu_state *state, const sinter_loop_access *load,
                          sinter_loop_var loop) {
    sinter_loop_builder b;
    int64_t bytes;
    sinter_loop_builder_init(&b, state->program, state->schedule.function);
    bool known = sinter_loop_stride_bytes(&b, load->buffer, load->indices, loop, &bytes);
    return known && bytes >= 0 ? bytes : -1;
}

/* Steps of the reductions that the load goes through; -1 where they are no number. */
static int64_t count_steps(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                           const sinter_loop_access *load, sinter_loop_var *out_longest) {
    int64_t steps = 1, longest = 0;
    *out_longest = 0;
    for (uint32_t i = 0; i < nest->reduction_count; i++) {
        if (!sinter_loop_access_uses(load, nest->reductions[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->reductions[i]);
        if (count < 0 || count > SINTER_STACK_BYTES) return -1;
        steps *= count;
        if (steps > SINTER_STACK_BYTES) return -1;
        if (count > longest) *out_longest = nest->reductions[i];
        if (count > longest) longest = count;
    }
    return steps;
}

/* Rows from which on a copy of a panel pays; 0: never. Its lines find no room in the second cache at the same time because they are too
 * many, or because of how they lie: their addresses share sets. */
static int64_t rows_to_pay(const sinter_schedule_cpu_state *state, int64_t steps, int64_t stride,
                           int64_t bytes) {
    int64_t ways = state->target->l2_ways, way = state->target->l2_bytes / ways;
    int64_t each = (bytes + SINTER_CACHE_LINE - 1) / SINTER_CACHE_LINE,
            sets = way / SINTER_CACHE_LINE;
    if (stride < 0) return steps > FEW_STEPS ? ROWS_IF_CROWDED : 0;
    if (stride <= bytes) return 0; /* one line after the other as it is */
    int64_t starts = way / sinter_linear_gcd(stride, way);
    if (starts * each < sets) sets = starts * each;
    int64_t room = sets * ways;
    if (steps * each > room) return ROWS_IF_LOST;
    return steps * each > room / PANEL_SHARE ? ROWS_IF_CROWDED : 0;
}

/* Rows that go through a panel: -1 where they are no number. */
static int64_t count_rows(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          const sinter_loop_access *load) {
    int64_t rows = 1;
    for (uint32_t i = 0; i + 1 < nest->loop_count; i++) {
        if (sinter_loop_access_uses(load, nest->loops[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->loops[i]);
        if (count < 0) return -1;
        rows = rows < ROWS_IF_CROWDED ? rows * count : rows;
    }
    return rows;
}

/* Panels of the operand that are packed, also in loops around the nest; -1 where they are no number. */
static int64_t count_panels(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                            const sinter_loop_access *load, int64_t columns) {
    int64_t panels = 1;
    uint32_t outside = sinter_cpu_depth(&state->schedule, nest->loops[0]);
    for (uint32_t i = 0; i < outside && panels < FEW_PANELS; i++) {
        int64_t count =
            sinter_cpu_trips(state, sinter_cpu_outermost(&state->schedule, nest->loops[0], i));
        if (count < 0) return -1;
        panels *= count;
    }
    for (uint32_t i = 0; i < nest->loop_count; i++) {
        if (!sinter_loop_access_uses(load, nest->loops[i])) continue;
        int64_t count = sinter_cpu_trips(state, nest->loops[i]);
        if (count < 0) return -1;
        panels *= i + 1 < nest->loop_count ? count : count / columns;
        if (panels >= FEW_PANELS) return panels;
    }
    return panels;
}

/* Parts that the tiles of rows fall into, so that threads have enough to do where panels are few; 0: there are none, and threads are
 * better off with rows alone. */
static int64_t parts_of(int64_t panels, int64_t tiles, int64_t least) {
    if (panels < 0 || panels >= FEW_PANELS) return 1;
    for (int64_t parts = 2; parts <= tiles && tiles / parts >= least; parts++)
        if (tiles % parts == 0 && parts * panels >= FEW_PANELS) return parts;
    return 0;
}

static int64_t tiles_of(int64_t rows, sinter_cpu_tile tile) {
    return (rows + tile.rows - 1) / tile.rows;
}

/* The number of rows from which on panels of what is loaded pay; 0 where they don't. */
static int64_t pays(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                    sinter_loop_var row, const sinter_loop_access *load, sinter_cpu_tile tile) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    sinter_loop_var column = nest->loops[nest->loop_count - 1], longest;
    int64_t bits = sinter_dtype_infos[info->dtype].bits, bytes = tile.columns * bits / 8;
    int64_t all = count_rows(state, nest, load);
    int64_t steps = count_steps(state, nest, load, &longest);
    int64_t columns = sinter_cpu_trips(state, column), rows = sinter_cpu_trips(state, row);
    if (info->scope != SINTER_SCOPE_INPUT || bits < 8 || !longest || steps <= 0 ||
        !sinter_loop_access_uses(load, column) || sinter_loop_access_uses(load, row) ||
        (columns >= 0 && columns < tile.columns) || sinter_cpu_is_constant(state, load->buffer))
        return 0;
    bool gathered = step_bytes(state, load, column) != bits / 8;
    int64_t least = gathered ? ROWS_IF_LOST
                             : rows_to_pay(state, steps, step_bytes(state, load, longest), bytes);
    if (!least || (all >= 0 && all < least)) return 0;
    int64_t panels = count_panels(state, nest, load, tile.columns);
    bool whole = rows >= 0 && rows % tile.rows == 0;
    return parts_of(panels, whole ? rows / tile.rows : 0, tiles_of(least, tile)) ? least : 0;
}

/* What a nest would pack. */
typedef struct panel {
    int64_t bytes;  /* that the longest one needs for each of its columns; 0: nothing pays */
    int64_t rows;   /* from which on it pays */
    int64_t stride; /* from step to step as it lies */
    bool all_steps; /* it goes through the outermost reduction */
} panel;

static panel find_panel(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                        sinter_loop_var row, sinter_cpu_tile tile) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    sinter_loop_var longest;
    panel found = {0};
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, nest->reduction->body, &loads);
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        int64_t rows = pays(state, nest, row, load, tile);
        sinter_dtype dtype = state->schedule.function->buffers.items[load->buffer].dtype;
        int64_t bytes =
            count_steps(state, nest, load, &longest) * sinter_dtype_infos[dtype].bits / 8;
        if (!rows || bytes <= found.bytes) continue;
        found = (panel){.bytes = bytes,
                        .rows = rows,
                        .stride = step_bytes(state, load, longest),
                        .all_steps = sinter_loop_access_uses(load, nest->reductions[0])};
    }
    sinter_arena_deinit(&scratch);
    return found;
}

/* Steps of the outermost reduction whose panels of all columns leave room for the sums of a block of rows; 0: there is no need for
 * blocks, or they don't help. */
static int64_t find_block(const sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                          sinter_loop_var row, const panel *found, sinter_cpu_tile tile,
                          int64_t room) {
    int64_t steps = sinter_cpu_trips(state, nest->reductions[0]);
    if (!found->all_steps || steps < 1 || found->bytes * tile.columns <= room) return 0;
    int64_t rows = sinter_cpu_block_rows(sinter_cpu_trips(state, row), tile.rows);
    int64_t sums = rows * tile.columns * sinter_dtype_infos[nest->dtype].bits / 8;
    int64_t step = found->bytes / steps * tile.columns;
    return step ? sinter_cpu_block_steps(steps, (room - sums) / step) : 0;
}

void sinter_cpu_use_panels(sinter_schedule_cpu_state *state, const sinter_cpu_nest *nest,
                           sinter_loop_var row, const sinter_target *target,
                           const sinter_cpu_extent *extent, bool may_block, sinter_cpu_tile *tile) {
    if (!row || !sinter_cpu_broadcasts(nest)) return;
    int64_t room = sinter_cpu_panel_room(target);
    panel found = find_panel(state, nest, row, *tile);
    int64_t block = may_block ? find_block(state, nest, row, &found, *tile, room) : 0;
    int64_t columns = tile->columns;
    /* Tiles of one vector are slower, though not as slow as a page for each step. */
    int64_t narrowest = found.stride >= PAGE ? tile->lanes : 2 * tile->lanes;
    while (found.bytes * columns > room && columns > narrowest) columns -= tile->lanes;
    if (!found.bytes) return;
    sinter_cpu_answer answers[3];
    uint32_t count = 0, blocks = UINT32_MAX, whole = UINT32_MAX;
    if (block) answers[blocks = count++] = (sinter_cpu_answer){"blocks"};
    if (found.bytes * columns <= room) answers[whole = count++] = (sinter_cpu_answer){"scratch"};
    if (!count) return;
    answers[count++] = (sinter_cpu_answer){"no"};
    uint32_t chosen = sinter_cpu_choose(state, "pack", answers, count);
    if (chosen == blocks) tile->block = block;
    if (chosen != whole) return;
    if (columns != tile->columns) {
        tile->columns = columns;
        *tile = sinter_cpu_choose_rows(target, *tile, extent);
    }
    tile->panels = found.rows;
}

/* ---- the copy, in a nest that is tiled ---- */

typedef struct search {
    sinter_schedule_cpu_state *state;
    sinter_arena scratch;
    sinter_cpu_walk walk;
    int64_t least; /* tiles of rows that a copy pays for */
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
    uint32_t i = s->walk.depth - 1;
    while (i > 0 && sinter_loop_access_uses(load, s->walk.path[i - 1]->var)) i--;
    if (!i) return false;
    *out_rows = s->walk.path[i - 1]->var;
    while (i > 0 && !sinter_loop_access_uses(load, s->walk.path[i - 1]->var)) i--;
    if (!i) return false;
    *out_first = s->walk.path[i]->var;
    return true;
}

/* Lanes come from as many places: steps that follow each other are turned into them. */
static bool turn_copy(sinter_schedule *schedule, const sinter_scratch_packing *packing) {
    sinter_loop_var order[SINTER_MAX_RANK], steps = 0, outer;
    uint32_t used = 0, last = packing->out_rank - 1;
    if (!sinter_schedule_split(schedule, packing->out_loops[0], TURNED, SINTER_TAIL_PEEL, &outer,
                               &steps, NULL))
        return false;
    for (uint32_t i = 1; i < last; i++) order[used++] = packing->out_loops[i];
    order[used++] = steps;
    order[used++] = packing->out_loops[last];
    if (!sinter_schedule_reorder(schedule, order, used)) return false;
    sinter_cpu_turn_tile(schedule, steps, packing->out_loops[last]);
    return true;
}

/* Vectors are copied as they are read. */
static void mark_copy(search *s, const sinter_scratch_packing *packing) {
    sinter_schedule *schedule = &s->state->schedule;
    sinter_loop_var first = packing->out_loops[0], last = packing->out_loops[packing->out_rank - 1];
    sinter_loop_access_list loads = {0};
    sinter_loop_collect_accesses(&s->scratch,
                                 sinter_schedule_get_loop(schedule->function, last)->body, &loads);
    const sinter_loop_access *load = &loads.items[0];
    int64_t element =
        sinter_dtype_infos[schedule->function->buffers.items[packing->buffer].dtype].bits / 8;
    if (packing->out_rank > 1 && step_bytes(s->state, load, last) != element &&
        step_bytes(s->state, load, first) == element && turn_copy(schedule, packing))
        return;
    sinter_schedule_vectorize(schedule, last);
    for (uint32_t i = packing->out_rank - 1; i-- > 0;) {
        int64_t count = sinter_cpu_trips(s->state, packing->out_loops[i]);
        if (count < 0 || count > MAX_UNROLLED) return;
        sinter_schedule_unroll(schedule, packing->out_loops[i]);
    }
}

/* The blocks of columns, and parts of the rows in each, as one loop around the panel. */
static bool divide_rows(search *s, sinter_loop_var around, sinter_loop_var *rows) {
    sinter_schedule *schedule = &s->state->schedule;
    int64_t panels = 1, tiles = sinter_cpu_trips(s->state, *rows);
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, around);
    for (uint32_t i = 0; i < s->walk.depth && s->walk.path[i]->var != *rows; i++) {
        int64_t count = sinter_cpu_trips(s->state, s->walk.path[i]->var);
        if (count < 0) return true;
        panels *= count < FEW_PANELS ? count : FEW_PANELS;
    }
    int64_t parts = parts_of(panels, tiles, s->least);
    if (parts < 2 || loop->body->var != *rows || loop->body->next) return true;
    sinter_loop_var part, within;
    if (!sinter_schedule_split(schedule, *rows, tiles / parts, SINTER_TAIL_EXACT, &part, &within,
                               NULL) ||
        !sinter_schedule_fuse(schedule, around, part, NULL))
        return false;
    *rows = within;
    return true;
}

int64_t sinter_cpu_panel_room(const sinter_target *target) {
    return target->l2_bytes / 2 < SINTER_STACK_BYTES ? target->l2_bytes / 2 : SINTER_STACK_BYTES;
}

bool sinter_cpu_fits_stack(const sinter_loop_function *function) {
    uint64_t total = 0, bytes;
    for (size_t i = 1; i < function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &function->buffers.items[i];
        if (info->scope == SINTER_SCOPE_STACK && sinter_loop_static_bytes(info, &bytes))
            total += bytes;
    }
    return total <= SINTER_STACK_BYTES;
}

static bool pack(search *s, const sinter_loop_access *load) {
    sinter_schedule *schedule = &s->state->schedule;
    sinter_loop_var rows, first, around = s->walk.path[0]->var;
    if (!find_place(s, load, &rows, &first)) return false;
    for (uint32_t i = 0; i + 1 < s->walk.depth && s->walk.path[i]->var != first; i++)
        around = s->walk.path[i]->var;
    int64_t count = sinter_cpu_trips(s->state, rows);
    bool known = count >= 0, direct = first == rows;
    if (known && direct && count < s->least) return false;
    sinter_loop_function *saved = sinter_loop_clone_function(s->state->program, schedule->function);
    bool good = known ? !direct || divide_rows(s, around, &rows)
                      : sinter_schedule_fork(schedule, around, rows, s->least);
    sinter_scratch_packing packing = {.buffer = load->buffer, .loop = direct ? rows : first};
    good = good && sinter_schedule_pack_scratch(schedule, &packing) &&
           sinter_cpu_fits_stack(schedule->function);
    if (good)
        mark_copy(s, &packing);
    else
        *schedule->function = *saved;
    return good;
}

/* Ends where something changed: what the list was is no more. */
static bool visit(void *user, const sinter_loop_stmt *loop) {
    search *s = user;
    sinter_loop_access_list loads = {0};
    const sinter_loop_function *function = s->state->schedule.function;
    sinter_loop_collect_accesses(&s->scratch, loop->body, &loads);
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        if (!load->is_store && function->buffers.items[load->buffer].scope == SINTER_SCOPE_INPUT &&
            sinter_loop_access_uses(load, loop->var) && reads_lanes(load, loop->body) &&
            !sinter_cpu_is_constant(s->state, load->buffer) && pack(s, load))
            return false;
    }
    return true;
}

/* Branches are made here: what they have is as it shall be. */
static bool enters(const sinter_loop_stmt *stmt) {
    return sinter_loop_is_serial(stmt);
}

void sinter_cpu_pack_operands(sinter_schedule_cpu_state *state, sinter_cpu_tile tile) {
    search s = {.state = state,
                .walk = {.enters = enters, .visit = visit},
                .least = tiles_of(tile.panels, tile)};
    s.walk.user = &s;
    sinter_arena_init(&s.scratch);
    do s.walk.depth = 0;
    while (!sinter_cpu_walk_innermost(&s.walk, state->schedule.function->body));
    sinter_arena_deinit(&s.scratch);
}
