/* Rows with reductions (sums, softmax, normalisations) on CUDA: a block of threads a row, each thread with every T-th element; where
 * there are many more rows than blocks that run at once, several rows after each other.
 *
 *   for rows block { lanes of the reduction: threads; they meet in a `reduce`; elementwise loops: threads }
 * What a row keeps between its loops is in registers or shared memory, so global memory is read once (keep.c).
 * Barriers are put where one loop over threads touches what another wrote. Taken are nests whose loads follow the elements of
 * the row one by one; where neighbouring rows are neighbours in memory, a thread a row (schedule/cuda.c) reads better.
 * Test: tests/codegen/schedule/cuda.loops */
#include "codegen/device.h"
#include "codegen/loops/uses.h"
#include "codegen/schedule/cuda.h"

enum { MIN_ROW = 64, MAX_ROWS = 64 };

/* ---- which nests ---- */

typedef struct row_facts {
    sinter_loop_builder builder;
    sinter_loop_var element; /* of the loop over the row */
    bool jumps;
} row_facts;

static void look_at_load(void *user, sinter_expr expr) {
    row_facts *f = user;
    sinter_expr coefficient, rest;
    int64_t stride;
    if (expr->kind != SINTER_LOOP_LOAD || !expr->argument_count) return;
    sinter_expr last = expr->arguments[expr->argument_count - 1];
    bool uses = false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        uses |= sinter_loop_expr_uses(expr->arguments[i], f->element);
    if (!uses) return;
    bool next = sinter_loop_affine(&f->builder, last, f->element, &coefficient, &rest) &&
                sinter_loop_is_const_int(coefficient, &stride) && stride == 1;
    f->jumps |= !next;
}

static bool look_at_stmt(void *user, sinter_loop_stmt *stmt) {
    sinter_loop_walk_stmt_exprs(stmt, look_at_load, user);
    return true;
}

/* The loop over the elements of a row is long, and its loads follow them. */
static bool is_row_loop(const sinter_schedule *schedule, sinter_loop_stmt *loop,
                        int64_t *out_count) {
    row_facts f = {.element = loop->var};
    sinter_loop_builder_init(&f.builder, schedule->program, schedule->function);
    sinter_loop_walk(loop->body, look_at_stmt, &f);
    if (f.jumps) return false;
    return sinter_loop_trip_count(loop, out_count) && loop->axis == SINTER_AXIS_SERIAL;
}

/* Loops inside of the row are perfect nests that collapse into one loop each. */
static bool collapse_loops(sinter_schedule *schedule, sinter_loop_stmt *row) {
    for (sinter_loop_stmt *s = row->body; s; s = s->next) {
        if (s->kind != SINTER_LOOP_FOR) continue;
        sinter_loop_var before = s->var;
        sinter_schedule_chain c = sinter_schedule_chain_of(schedule, before);
        sinter_schedule_chain_collapse(schedule, &c);
        if (c.depth != 1) return false;
    }
    return true;
}

static bool check_row(const sinter_schedule *schedule, const sinter_loop_stmt *row,
                      int64_t *out_longest) {
    bool reduces = false;
    *out_longest = 0;
    for (sinter_loop_stmt *s = row->body; s; s = s->next) {
        int64_t count;
        switch (s->kind) {
        case SINTER_LOOP_FOR:
            if (!is_row_loop(schedule, s, &count)) return false;
            if (count > *out_longest) *out_longest = count;
            for (const sinter_loop_stmt *t = s->body; t; t = t->next)
                reduces |= t->kind == SINTER_LOOP_ASSIGN;
            break;
        case SINTER_LOOP_DECLARE:
        case SINTER_LOOP_ASSIGN:
        case SINTER_LOOP_STORE:
        case SINTER_LOOP_ALLOC:
        case SINTER_LOOP_COMMENT:
            break;
        default:
            return false;
        }
    }
    return reduces && *out_longest >= MIN_ROW;
}

/* ---- loops over threads ---- */

static sinter_loop_stmt *row_of(const sinter_schedule *schedule, sinter_loop_var row) {
    return sinter_schedule_get_loop(schedule->function, row);
}

/* for r -> for thread { for turns { r = turn * lanes + thread } } and for thread { the rest } */
static bool share_elements(sinter_schedule *schedule, sinter_loop_var loop, int64_t lanes) {
    sinter_loop_var turns = 0, threads = 0, rest = 0;
    int64_t count = 0;
    sinter_loop_trip_count(sinter_schedule_get_loop(schedule->function, loop), &count);
    if (count <= lanes) return sinter_schedule_bind(schedule, loop, SINTER_AXIS_THREAD);
    if (!sinter_schedule_split(schedule, loop, lanes, SINTER_TAIL_PEEL, &turns, &threads, &rest))
        return false;
    const sinter_loop_var order[2] = {threads, turns};
    return sinter_schedule_reorder(schedule, order, 2) &&
           sinter_schedule_bind(schedule, threads, SINTER_AXIS_THREAD) &&
           (!rest || sinter_schedule_bind(schedule, rest, SINTER_AXIS_THREAD));
}

static bool share_loops(sinter_schedule *schedule, sinter_loop_var row, int64_t lanes,
                        sinter_arena *scratch) {
    sinter_schedule_loops loops = {0};
    for (const sinter_loop_stmt *s = row_of(schedule, row)->body; s; s = s->next)
        if (s->kind == SINTER_LOOP_FOR) sinter_vector_push(scratch, &loops, s->var);
    for (size_t i = 0; i < loops.count; i++)
        if (!sinter_schedule_partial(schedule, loops.items[i], lanes, SINTER_LANES_THREADS) &&
            !share_elements(schedule, loops.items[i], lanes))
            return false;
    return true;
}

/* Lanes that ran in lockstep are threads from now on, what they exchange is shared; each keeps what is indexed by it alone. */
static bool turn_lanes(void *user, sinter_loop_stmt *stmt) {
    sinter_loop_function *function = user;
    if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_VECTOR)
        stmt->axis = SINTER_AXIS_THREAD;
    if (stmt->kind == SINTER_LOOP_ALLOC &&
        function->buffers.items[stmt->buffer].scope == SINTER_SCOPE_STACK)
        function->buffers.items[stmt->buffer].scope = SINTER_SCOPE_SHARED;
    return stmt->kind != SINTER_LOOP_FOR || stmt->axis != SINTER_AXIS_THREAD;
}

/* for turns { for threads { ... } } -> for threads { for turns { ... } }: as the elementwise loops have it. */
static bool outside_threads(sinter_schedule *schedule, sinter_loop_var row, sinter_arena *scratch) {
    sinter_schedule_loops outer = {0}, inner = {0};
    for (const sinter_loop_stmt *s = row_of(schedule, row)->body; s; s = s->next)
        if (s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_SERIAL && s->body &&
            !s->body->next && s->body->kind == SINTER_LOOP_FOR &&
            s->body->axis == SINTER_AXIS_VECTOR) {
            sinter_vector_push(scratch, &outer, s->var);
            sinter_vector_push(scratch, &inner, s->body->var);
        }
    for (size_t i = 0; i < outer.count; i++) {
        const sinter_loop_var order[2] = {inner.items[i], outer.items[i]};
        if (!sinter_schedule_reorder(schedule, order, 2)) return false;
    }
    return true;
}

/* Adds up what the list allocates of the block's memory; false where a size is not known. */
static bool add_shared(const sinter_loop_function *function, const sinter_loop_stmt *first,
                       uint64_t *total) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        uint64_t bytes;
        if (!add_shared(function, s->body, total) || !add_shared(function, s->else_body, total))
            return false;
        if (s->kind != SINTER_LOOP_ALLOC ||
            function->buffers.items[s->buffer].scope != SINTER_SCOPE_SHARED)
            continue;
        if (!sinter_loop_static_bytes(&function->buffers.items[s->buffer], &bytes)) return false;
        *total += bytes;
    }
    return true;
}

static bool shared_fits(const sinter_loop_function *function, const sinter_loop_stmt *first) {
    uint64_t total = 0;
    return add_shared(function, first, &total) && total <= SINTER_DEVICE_DECLARED_SHARED;
}

/* ---- rows of a block ---- */

/* Blocks for all that the device runs at once, each with as many rows; what rows share is read once a block. A divisor of the
 * rows, so that all blocks have the same. */
static int64_t choose_rows(const sinter_gpu *gpu, const sinter_loop_stmt *rows, int64_t lanes) {
    int64_t count, most, best = 1;
    if (!sinter_loop_trip_count(rows, &count)) return 1;
    most = (int64_t)(sinter_gpu_rounds(gpu, (double)count) * (double)lanes / gpu->threads);
    for (int64_t k = 2; k <= most && k <= MAX_ROWS; k++)
        if (count % k == 0) best = k;
    return best;
}

/* ---- together ---- */

/* One loop over all rows, with loops over elements in it. */
static bool find_rows(sinter_schedule *schedule, sinter_loop_var nest, sinter_loop_var *out_row,
                      int64_t *out_longest) {
    sinter_schedule_chain c = sinter_schedule_chain_of(schedule, nest);
    uint32_t count = 0;
    while (count < c.depth && sinter_schedule_cuda_is_independent(schedule, c.loops[count]))
        count++;
    if (!count) return false;
    sinter_schedule_flatten_all(schedule);
    *out_row = c.loops[0];
    for (uint32_t i = 1; i < count; i++)
        if (!sinter_schedule_fuse(schedule, *out_row, c.loops[i], out_row)) return false;
    return collapse_loops(schedule, row_of(schedule, *out_row)) &&
           check_row(schedule, row_of(schedule, *out_row), out_longest);
}

bool sinter_schedule_cuda_rows(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    sinter_schedule *schedule = &state->schedule;
    sinter_loop_function *function = schedule->function;
    sinter_loop_var row = 0, block = 0;
    int64_t longest, lanes = SINTER_LOOP_MOST_LANES;
    if (!find_rows(schedule, nest, &row, &longest)) return false;
    while (lanes > 32 && lanes * 2 > longest) lanes /= 2;
    const int64_t rows = choose_rows(state->target->gpu, row_of(schedule, row), lanes);
    block = row;
    if (rows > 1 &&
        !sinter_schedule_split(schedule, row, rows, SINTER_TAIL_EXACT, &block, &row, NULL))
        return false;
    sinter_schedule_loops copies = {0};
    sinter_schedule_cuda_keep(schedule, block, row, lanes, &state->scratch, &copies);
    bool good = share_loops(schedule, row, lanes, &state->scratch) &&
                outside_threads(schedule, row, &state->scratch);
    for (size_t i = 0; i < copies.count && good; i++)
        good = share_elements(schedule, copies.items[i], lanes);
    if (!good) return false;
    sinter_loop_stmt *outer = row_of(schedule, block);
    sinter_loop_walk(outer->body, turn_lanes, function);
    sinter_schedule_cuda_own(schedule, outer->body, lanes);
    if (!shared_fits(function, outer->body) ||
        !sinter_schedule_bind(schedule, block, SINTER_AXIS_BLOCK))
        return false;
    sinter_schedule_cuda_put_barriers(schedule, &outer->body, NULL, 0);
    return true;
}
