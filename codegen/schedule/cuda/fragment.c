/* Scratch of a block that stays in registers between its nests: sums that units for matrices leave there are worked on where they are (FlashAttention-2,
 * Dao 2023: scores and products of attention in the registers of the instructions' results), in place of being written to shared memory and read from it
 * by whoever comes next. All nests that touch such scratch share their work out as the results of instructions are (codegen/loops/mma.def):
 *
 *   row = (warp * R + i) * 16 + r * 8 + g, column = j * 8 + t * 2 + c, of warps of 8 groups g of 4 members t
 * and the verb distribute makes registers of it. A reduction of a row is in parts first, one of each member.
 * Test: tests/codegen/schedule/cuda_block_fragment.loops */
#include "codegen/schedule/cuda.h"
#include "codegen/schedule/internal.h"
#include "ir/machine.h"

enum {
    PAIR = 2, /* columns side by side of a member */
    WORD_BITS = 32
};

/* The loops of a nest as threads have them; 0: there is none. */
typedef struct fragment {
    sinter_loop_var warp, instruction, half, group;
    sinter_loop_var column, member, pair;
} fragment;

static bool split(sinter_schedule *schedule, sinter_loop_var loop, int64_t factor,
                  sinter_loop_var *out_outer, sinter_loop_var *out_inner) {
    return sinter_schedule_split(schedule, loop, factor, SINTER_TAIL_EXACT, out_outer, out_inner,
                                 NULL);
}

static bool split_rows(sinter_schedule *schedule, sinter_loop_var rows, int64_t warps,
                       fragment *f) {
    sinter_loop_var tiles, halves;
    const int64_t count = sinter_schedule_trips(schedule, rows), each = warps * SINTER_MMA_ROWS;
    return count > 0 && count % each == 0 &&
           split(schedule, rows, SINTER_MMA_GROUPS, &halves, &f->group) &&
           split(schedule, halves, SINTER_MMA_ROWS / SINTER_MMA_GROUPS, &tiles, &f->half) &&
           split(schedule, tiles, count / each, &f->warp, &f->instruction);
}

static bool bind(sinter_schedule *schedule, const sinter_loop_var *loops, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!sinter_schedule_bind(schedule, loops[i], SINTER_AXIS_THREAD)) return false;
    return true;
}

static bool unroll(sinter_schedule *schedule, const sinter_loop_var *loops, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!sinter_schedule_unroll(schedule, loops[i])) return false;
    return true;
}

/* An element for each iteration of two loops. */
static bool share_elements(sinter_schedule *schedule, sinter_loop_var rows, sinter_loop_var columns,
                           int64_t warps) {
    fragment f;
    sinter_loop_var pairs;
    if (!split_rows(schedule, rows, warps, &f) ||
        sinter_schedule_trips(schedule, columns) % SINTER_MMA_COLUMNS ||
        !split(schedule, columns, SINTER_MMA_COLUMNS, &f.column, &pairs) ||
        !split(schedule, pairs, PAIR, &f.member, &f.pair))
        return false;
    const sinter_loop_var order[7] = {f.warp,   f.group, f.member, f.instruction,
                                      f.column, f.half,  f.pair};
    return sinter_schedule_reorder(schedule, order, 7) && bind(schedule, order, 3) &&
           unroll(schedule, order + 3, 3) &&
           (sinter_schedule_vectorize(schedule, f.pair) || unroll(schedule, order + 6, 1));
}

/* The loops of a part's turns, of which the last ones may not be there. */
static bool write_out_turns(sinter_schedule *schedule, sinter_loop_var part) {
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, part)->body;
    while (stmt && stmt->kind != SINTER_LOOP_FOR) stmt = stmt->next;
    for (; stmt && stmt->kind == SINTER_LOOP_FOR; stmt = stmt->body) {
        if (sinter_schedule_trips(schedule, stmt->var) < 0 &&
            !sinter_schedule_guard(schedule, stmt->var))
            return false;
        if (!sinter_schedule_unroll(schedule, stmt->var)) return false;
        while (stmt->body && stmt->body->kind == SINTER_LOOP_IF) stmt = stmt->body;
    }
    return true;
}

/* A member's part of each row's reduction; what combines them is a nest of its own. */
static bool share_reduction(sinter_schedule *schedule, sinter_loop_var rows, int64_t warps) {
    sinter_loop_buffer results;
    sinter_loop_var parts;
    fragment f;
    if (!sinter_schedule_split_reduction(schedule, rows, SINTER_MMA_MEMBERS, PAIR, &results,
                                         &parts))
        return false;
    schedule->function->buffers.items[results].scope = SINTER_SCOPE_SHARED;
    sinter_schedule_cuda_pad_rows(schedule, results, SINTER_MMA_GROUPS);
    const sinter_loop_var part = sinter_schedule_get_loop(schedule->function, parts)->body->var;
    if (!split_rows(schedule, parts, warps, &f)) return false;
    const sinter_loop_var order[5] = {f.warp, f.group, part, f.instruction, f.half};
    return sinter_schedule_reorder(schedule, order, 5) && bind(schedule, order, 3) &&
           unroll(schedule, order + 3, 2) && write_out_turns(schedule, f.half);
}

bool sinter_schedule_cuda_share_fragment(sinter_schedule *schedule, sinter_loop_var nest,
                                         int64_t warps, bool *out_reduces) {
    const sinter_schedule_chain c = sinter_schedule_chain_of(schedule, nest);
    *out_reduces = c.depth < 2;
    return *out_reduces ? share_reduction(schedule, nest, warps)
                        : sinter_schedule_cuda_is_independent(schedule, c.loops[1]) &&
                              share_elements(schedule, c.loops[0], c.loops[1], warps);
}

/* ---- which scratch ---- */

bool sinter_schedule_cuda_touches(const sinter_schedule *schedule, sinter_loop_var nest,
                                  const sinter_schedule_buffers *buffers) {
    sinter_loop_access_list list = {0};
    sinter_arena scratch;
    bool touches = false;
    sinter_loop_stmt alone = *sinter_schedule_get_loop(schedule->function, nest);
    alone.next = NULL;
    sinter_arena_init(&scratch);
    if (buffers->count) sinter_loop_collect_accesses(&scratch, &alone, &list);
    for (size_t i = 0; i < list.count; i++)
        for (size_t k = 0; k < buffers->count; k++)
            touches |= list.items[i].buffer == buffers->items[k];
    sinter_arena_deinit(&scratch);
    return touches;
}

bool sinter_schedule_cuda_may_be_fragment(const sinter_loop_buffer_info *info) {
    return info->scope == SINTER_SCOPE_SHARED && info->rank == 2 &&
           sinter_dtype_infos[info->dtype].bits == WORD_BITS;
}

typedef struct search {
    const sinter_schedule *schedule;
    const sinter_loop_function *before;
    int64_t warps, registers; /* of a thread, that are taken */
    sinter_arena *scratch;
    sinter_schedule_buffers *out;
} search;

static void look_at_store(search *s, sinter_loop_buffer buffer) {
    const sinter_loop_buffer_info *info = &s->schedule->function->buffers.items[buffer];
    const int64_t threads = s->warps * SINTER_MMA_GROUPS * SINTER_MMA_MEMBERS;
    int64_t rows, columns;
    if (!sinter_schedule_cuda_may_be_fragment(info) ||
        !sinter_loop_is_const_int(info->dims[0], &rows) ||
        !sinter_loop_is_const_int(s->before->buffers.items[buffer].dims[1], &columns) ||
        rows % (s->warps * SINTER_MMA_ROWS))
        return;
    for (size_t i = 0; i < s->out->count; i++)
        if (s->out->items[i] == buffer) return;
    const int64_t registers = rows * columns / threads;
    if (s->registers + registers > SINTER_DEVICE_KEPT_REGISTERS) return;
    s->registers += registers;
    sinter_vector_push(s->scratch, s->out, buffer);
}

static void look(search *s, const sinter_loop_stmt *first, bool in_thread) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        const bool inside =
            in_thread || (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD);
        if (stmt->kind == SINTER_LOOP_STORE && inside && !stmt->asynchronous)
            look_at_store(s, stmt->buffer);
        look(s, stmt->body, inside);
        look(s, stmt->else_body, inside);
    }
}

void sinter_schedule_cuda_find_fragments(const sinter_schedule *schedule,
                                         const sinter_loop_function *before,
                                         const sinter_loop_stmt *first, int64_t warps,
                                         sinter_arena *scratch, sinter_schedule_buffers *out) {
    search s = {
        .schedule = schedule, .before = before, .warps = warps, .scratch = scratch, .out = out};
    look(&s, first, false);
}
