/* Iterations that keep scratch between several nests (attention's blocks of queries) on CUDA: each gets a block of threads, its scratch
 * is shared memory, and the threads share out the independent iterations of each nest in it, however deep it stands.
 *
 *   for iterations block { alloc scratch shared; nests: threads; barrier; for steps { nests: threads; barrier; ... } ... }
 * Loops that carry something stay serial, and all threads run them alike. Barriers are put where one nest touches what another
 * wrote, also from one round of a serial loop to the next. Test: tests/codegen/schedule/cuda_block.loops */
#include "codegen/schedule_cuda.h"

enum {
    THREADS = 256,
    LEAST_SCRATCH = 256 /* bytes */
};

typedef struct sharing {
    sinter_schedule_cuda_state *state;
    sinter_schedule *schedule;
    sinter_loop_function *function;
    sinter_loop_var block;               /* the loop over all iterations */
    SINTER_VECTOR(sinter_loop_var) seen; /* loops that were tried */
} sharing;
/* ---- nests ---- */

static bool share_loop(sharing *s, sinter_loop_var loop) {
    sinter_loop_var turns = 0, threads = 0;
    int64_t count;
    if (sinter_loop_trip_count(sinter_schedule_get_loop(s->function, loop), &count) &&
        count <= THREADS)
        return sinter_schedule_bind(s->schedule, loop, SINTER_AXIS_THREAD);
    if (!sinter_schedule_split(s->schedule, loop, THREADS, SINTER_TAIL_GUARD, &turns, &threads,
                               NULL))
        return false;
    const sinter_loop_var order[2] = {threads, turns};
    return sinter_schedule_reorder(s->schedule, order, 2) &&
           sinter_schedule_bind(s->schedule, threads, SINTER_AXIS_THREAD);
}

/* The independent loops that the nest begins with, as one if that can be, else the first of them. */
static bool share_nest(sharing *s, sinter_loop_var nest, bool fuses) {
    sinter_schedule_chain c = sinter_schedule_chain_of(s->schedule, nest);
    sinter_loop_var loop = c.loops[0];
    for (uint32_t i = 1; i < c.depth && fuses; i++)
        if (!sinter_schedule_cuda_is_independent(s->schedule, c.loops[i]) ||
            !sinter_schedule_fuse(s->schedule, loop, c.loops[i], &loop))
            break;
    return share_loop(s, loop);
}

/* The first loop that all threads would run alike and that nobody looked at yet, not inside of what they share. */
static sinter_loop_var find_serial(const sharing *s, const sinter_loop_stmt *first) {
    sinter_loop_var found = 0;
    for (const sinter_loop_stmt *stmt = first; stmt && !found; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_IF && !sinter_loop_is_serial(stmt)) continue;
        bool seen = stmt->kind == SINTER_LOOP_IF;
        for (size_t i = 0; i < s->seen.count; i++) seen |= s->seen.items[i] == stmt->var;
        if (!seen) return stmt->var;
        found = find_serial(s, stmt->body);
        if (!found) found = find_serial(s, stmt->else_body);
    }
    return found;
}

/* What a block runs. */
static sinter_loop_stmt **body_of(const sharing *s) {
    return s->block ? &sinter_schedule_get_loop(s->function, s->block)->body : &s->function->body;
}

static void share_nests(sharing *s) {
    for (sinter_loop_var nest; (nest = find_serial(s, *body_of(s)));) {
        sinter_vector_push(&s->state->scratch, &s->seen, nest);
        if (!sinter_schedule_cuda_is_independent(s->schedule, nest)) continue;
        for (int fuses = 1; fuses >= 0; fuses--) {
            sinter_loop_function *saved =
                sinter_loop_clone_function(s->state->program, s->function);
            if (share_nest(s, nest, fuses)) break;
            *s->function = *saved;
        }
    }
}

/* ---- together ---- */

/* Nothing that stops a thread while others wait for it. */
static bool is_plain(const sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        bool other = stmt->kind == SINTER_LOOP_FAIL || stmt->kind == SINTER_LOOP_WHILE ||
                     stmt->kind == SINTER_LOOP_BARRIER || stmt->kind == SINTER_LOOP_EXCHANGE ||
                     (stmt->kind == SINTER_LOOP_FOR && stmt->axis > SINTER_AXIS_UNROLL);
        if (other || !is_plain(s, stmt->body) || !is_plain(s, stmt->else_body)) return false;
    }
    return true;
}

/* The scratch of the list, as far as it is known and no other memory; UINT64_MAX: it is not so. */
static uint64_t scratch_bytes(const sharing *s, const sinter_loop_stmt *first) {
    uint64_t total = 0, bytes;
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_ALLOC) continue;
        const sinter_loop_buffer_info *info = &s->function->buffers.items[stmt->buffer];
        if (info->scope != SINTER_SCOPE_STACK || !sinter_loop_static_bytes(info, &bytes))
            return UINT64_MAX;
        total += (bytes + 15) / 16 * 16;
    }
    return total;
}

static bool scratch_fits(const sharing *s, const sinter_loop_stmt *first, uint64_t least) {
    uint64_t bytes = scratch_bytes(s, first);
    return bytes >= least && bytes <= sinter_target_shared_bytes(s->state->target);
}

static void share_scratch(const sharing *s, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_ALLOC)
            s->function->buffers.items[stmt->buffer].scope = SINTER_SCOPE_SHARED;
}

static sharing begin_sharing(sinter_schedule_cuda_state *state) {
    sharing s = {
        .state = state, .schedule = &state->schedule, .function = state->schedule.function};
    return s;
}

static bool finish(sharing *s) {
    sinter_schedule_cuda_put_barriers(s->schedule, body_of(s));
    return true;
}

bool sinter_schedule_cuda_block(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    sharing s = begin_sharing(state);
    sinter_schedule_chain c = sinter_schedule_chain_of(s.schedule, nest);
    const sinter_loop_stmt *body = sinter_schedule_get_loop(s.function, c.loops[c.depth - 1])->body;
    if (!is_plain(&s, body) || !scratch_fits(&s, body, LEAST_SCRATCH)) return false;
    s.block = c.loops[0];
    for (uint32_t i = 0; i < c.depth; i++)
        if (!sinter_schedule_cuda_is_independent(s.schedule, c.loops[i]) ||
            (i && !sinter_schedule_fuse(s.schedule, s.block, c.loops[i], &s.block)))
            return false;
    share_scratch(&s, *body_of(&s));
    share_nests(&s);
    return sinter_schedule_bind(s.schedule, s.block, SINTER_AXIS_BLOCK) && finish(&s);
}

static bool has_threads(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next)
        if ((stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_THREAD) ||
            has_threads(stmt->body) || has_threads(stmt->else_body))
            return true;
    return false;
}

bool sinter_schedule_cuda_one_block(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    (void)nest;
    sharing s = begin_sharing(state);
    if (!is_plain(&s, s.function->body) || !scratch_fits(&s, s.function->body, 0)) return false;
    share_scratch(&s, s.function->body);
    share_nests(&s);
    return has_threads(s.function->body) && finish(&s);
}
