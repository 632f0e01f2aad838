/* Rows on CPUs: nests whose innermost free loop has loops of its own inside, over consecutive elements. Reductions
 * (sums, maxima) keep partial results in lanes, the loops between them (softmax, normalisations) run in vector lanes, and the
 * rows in parallel. Reductions over strided elements are left to the elementwise schedule, which puts what is
 * kept into the lanes. Test: tests/codegen/schedule/reduce.loops */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/constant.h"

static sinter_loop_stmt *get(const sinter_schedule_cpu_state *state, sinter_loop_var var) {
    return sinter_schedule_get_loop(state->schedule.function, var);
}

/* The loop's body is a step of an accumulation that began outside. */
static bool is_reduction(const sinter_loop_stmt *loop) {
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_ASSIGN) return true;
    return false;
}

/* Collapses what is below the loop and gives the innermost one. */
static sinter_loop_var innermost(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    sinter_schedule_chain c = sinter_schedule_chain_of(&state->schedule, loop);
    sinter_schedule_chain_collapse(&state->schedule, &c);
    return c.depth ? c.loops[c.depth - 1] : loop;
}

static void reduce_in_lanes(sinter_schedule_cpu_state *state, sinter_loop_var loop) {
    int64_t count = -1, native = sinter_schedule_cpu_native_lanes(state, loop), lanes = native;
    bool known = sinter_loop_trip_count(get(state, loop), &count);
    bool masked = sinter_schedule_cpu_has_masks(state->target);
    if (known && count < (masked ? 5 : 4)) return;
    /* Four chains of additions hide their latency. */
    while (lanes < 4 * native && (!known || lanes * 2 <= count)) lanes *= 2;
    while (known && !masked && lanes > count) lanes /= 2;
    while (known && masked && lanes / 2 >= count) lanes /= 2;
    if (lanes < 2 || !sinter_schedule_partial(&state->schedule, loop, lanes,
                                              masked ? SINTER_LANES_MASKED : SINTER_LANES_LOOP))
        return;
    /* What is left of a known count may fill a smaller vector. */
    if (known && get(state, loop) && count > lanes) reduce_in_lanes(state, loop);
}

/* The loops directly in the body of a row. */
static size_t loops_inside(const sinter_loop_stmt *first, sinter_arena *scratch,
                           sinter_loop_var **out_loops) {
    SINTER_VECTOR(sinter_loop_var) loops = {0};
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL)
            sinter_vector_push(scratch, &loops, stmt->var);
    *out_loops = loops.items;
    return loops.count;
}

static bool schedule_row(sinter_schedule_cpu_state *state, const sinter_schedule_chain *c,
                         sinter_arena *scratch) {
    sinter_loop_var row = c->loops[c->depth - 1], *loops;
    size_t count = loops_inside(get(state, row)->body, scratch, &loops);
    for (size_t i = 0; i < count; i++) {
        loops[i] = innermost(state, loops[i]);
        sinter_loop_var part = sinter_cpu_find_part(state->schedule.function, get(state, loops[i]));
        if (part) loops[i] = part;
        if (!sinter_schedule_cpu_streams(state, loops[i])) return false;
    }
    if (!count) return false;
    for (size_t i = 0; i < count; i++) {
        if (is_reduction(get(state, loops[i])))
            reduce_in_lanes(state, loops[i]);
        else
            sinter_schedule_cpu_vectorize(state, loops[i]);
    }
    return true;
}

/* ---- what is no contraction ---- */

/* What a second copy of a constant may take, for the sake of a better order. */
enum { COPY_BYTES = 1 << 20 };

/* A query head of some that share keys: few rows read the same elements, one after the other. */
enum { SHARING_ROWS = 16 };

/* Elements of the load, which are next to each other within a row, serve this row alone, or few others. A constant could be packed, unless
 * others want it as it is: embeddings that are the weights of the last product, too. */
static bool belongs_to_row(sinter_schedule_cpu_state *state, const sinter_schedule_chain *c,
                           const sinter_loop_access *load) {
    bool all = !sinter_loop_expr_uses(load->indices[load->rank - 1], c->loops[c->depth - 1]);
    int64_t shared = 1;
    for (uint32_t i = 0; i < c->depth; i++) {
        int64_t count;
        bool uses = false;
        for (uint32_t k = 0; k + 1 < load->rank; k++)
            uses |= sinter_loop_expr_uses(load->indices[k], c->loops[i]);
        if (!uses && i + 1 < c->depth && sinter_loop_trip_count(get(state, c->loops[i]), &count))
            shared *= count < SHARING_ROWS ? count : SHARING_ROWS + 1;
        else
            all &= uses;
    }
    return all && shared <= SHARING_ROWS &&
           (!sinter_cpu_is_constant(state, load->buffer) ||
            sinter_cpu_shares_constant(state, load->buffer, COPY_BYTES));
}

/* Every load of the reduction belongs to one row alone, whose elements lie next to each other; or those of one load do,
 * and the others are the same in all rows: a matrix that is read once, times a vector. */
bool sinter_schedule_cpu_is_row(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_schedule_chain c = sinter_schedule_chain_of(&state->schedule, nest);
    if (!c.depth) return false;
    sinter_loop_var row = c.loops[c.depth - 1];
    const sinter_loop_stmt *loop = NULL;
    for (const sinter_loop_stmt *stmt = get(state, row)->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && !loop) loop = stmt;
    while (loop && loop->body && loop->body->kind == SINTER_LOOP_FOR) loop = loop->body;
    sinter_loop_var part = loop ? sinter_cpu_find_part(state->schedule.function, loop) : 0;
    if (part) loop = get(state, part);
    if (!loop || !is_reduction(loop) || !sinter_schedule_cpu_streams(state, loop->var))
        return false;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_access_list loads = {0};
    sinter_loop_collect_accesses(&scratch, loop->body, &loads);
    bool own = true, matrix = true;
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        bool shared = !sinter_loop_access_uses(load, row); /* the same in all rows */
        own &= !shared && !sinter_loop_expr_uses(load->indices[load->rank - 1], row);
        matrix &= shared || belongs_to_row(state, &c, load);
    }
    sinter_arena_deinit(&scratch);
    return own || matrix;
}

/* Bytes that the load reads in all iterations of the chain and of the reduction; -1 where that is no number. */
static int64_t bytes_of(const sinter_schedule_cpu_state *state, const sinter_schedule_chain *c,
                        const sinter_loop_access *load, const sinter_loop_stmt *reduction) {
    const sinter_loop_buffer_info *info = &state->schedule.function->buffers.items[load->buffer];
    int64_t bytes = sinter_dtype_infos[info->dtype].bits / 8, count;
    for (uint32_t i = 0; i <= c->depth; i++) {
        const sinter_loop_stmt *loop = i < c->depth ? get(state, c->loops[i]) : reduction;
        if (!sinter_loop_access_uses(load, loop->var)) continue;
        if (!sinter_loop_trip_count(loop, &count) || count < 0 ||
            __builtin_mul_overflow(bytes, count, &bytes))
            return -1;
    }
    return bytes;
}

/* Which loops of the chain the largest of the loads goes through, where it leaves the second cache before another loop of the chain comes
 * back to it, and what else is read stays there. */
static bool find_matrix(const sinter_schedule_cpu_state *state, const sinter_schedule_chain *c,
                        const sinter_loop_stmt *reduction, bool *out_goes) {
    sinter_arena scratch;
    sinter_loop_access_list loads = {0};
    const sinter_loop_access *matrix = NULL;
    int64_t largest = (int64_t)state->target->l2_bytes, rest = 0;
    bool known = true;
    sinter_arena_init(&scratch);
    sinter_loop_collect_accesses(&scratch, reduction->body, &loads);
    for (size_t i = 0; i < loads.count; i++) {
        int64_t bytes = bytes_of(state, c, &loads.items[i], reduction);
        known &= bytes >= 0;
        rest += bytes;
        if (bytes <= largest) continue;
        largest = bytes;
        matrix = &loads.items[i];
    }
    bool found = known && matrix && rest - largest <= (int64_t)state->target->l2_bytes / 4;
    for (uint32_t i = 0; i < c->depth && found; i++)
        out_goes[i] = sinter_loop_access_uses(matrix, c->loops[i]);
    sinter_arena_deinit(&scratch);
    return found;
}

/* A few vectors times one matrix, row by row: all of them take a row before the next one comes. */
static void read_matrix_once(sinter_schedule_cpu_state *state, sinter_schedule_chain *c) {
    const sinter_loop_stmt *loop = get(state, c->loops[c->depth - 1])->body;
    sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX];
    bool goes[SINTER_SCHEDULE_CHAIN_MAX];
    uint32_t used = 0;
    while (loop && loop->kind != SINTER_LOOP_FOR) loop = loop->next;
    if (!loop || !is_reduction(loop) || !find_matrix(state, c, loop, goes)) return;
    for (uint32_t i = 0; i < c->depth; i++)
        if (goes[i]) order[used++] = c->loops[i];
    for (uint32_t i = 0; i < c->depth; i++)
        if (!goes[i]) order[used++] = c->loops[i];
    if (sinter_schedule_reorder(&state->schedule, order, used))
        for (uint32_t i = 0; i < used; i++) c->loops[i] = order[i];
}

static bool schedule_rows(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_schedule_cpu_flatten(state);
    sinter_schedule_chain c = sinter_schedule_chain_of(&state->schedule, nest);
    if (!c.depth) return false;
    if (c.depth > 1) read_matrix_once(state, &c);
    sinter_schedule_chain_collapse(&state->schedule, &c);
    if (is_reduction(get(state, c.loops[c.depth - 1]))) { /* of everything: the loops carry it */
        if (!sinter_schedule_cpu_streams(state, c.loops[c.depth - 1])) return false;
        reduce_in_lanes(state, c.loops[c.depth - 1]);
        return true;
    }
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    bool taken = schedule_row(state, &c, &scratch);
    sinter_arena_deinit(&scratch);
    if (taken) sinter_schedule_cpu_parallelize(state, &c, 0);
    return taken;
}

bool sinter_schedule_cpu_reduce(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    sinter_loop_function *saved =
        sinter_loop_clone_function(state->program, state->schedule.function);
    if (schedule_rows(state, nest)) return true;
    *state->schedule.function = *saved;
    return false;
}
