/* Large constants that are read block after block, each block many times: while one is in use, the next one comes from
 * memory. Without it the first use of each block waits for memory, and the others leave memory idle. Looks at loops that
 * are tiled and constants that are packed already. Test: tests/codegen/schedule/prefetch.loops */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu/constant.h"
#include "ir/machine.h"

enum {
    FEW_BYTES = 8192, /* a block that hardware fetches in time */
    FEW_ROUNDS = 3    /* uses of a block that leave no time */
};

typedef struct search {
    sinter_schedule_cpu_state *state;
    sinter_arena scratch;
    sinter_cpu_walk walk;
} search;

/* Outside of the innermost loop: loops that walk through a block, one that uses it again, one that goes to the next. */
static bool find_block(const search *s, const sinter_loop_access *load, sinter_loop_var *out_outer,
                       sinter_loop_var *out_between) {
    const sinter_loop_buffer_info *info = &s->state->schedule.function->buffers.items[load->buffer];
    const uint64_t l2 = s->state->target->l2_bytes;
    uint64_t whole, blocks = 1;
    int64_t rounds = 1, trips;
    const sinter_loop_stmt *const *path = s->walk.path;
    uint32_t i = s->walk.depth - 1;
    *out_between = 0;
    if (sinter_dtype_infos[info->dtype].bits < 8 || !sinter_loop_static_bytes(info, &whole))
        return false; /* parts of bytes have no stride in bytes */
    while (i > 0 && sinter_loop_access_uses(load, path[i - 1]->var)) i--;
    for (; i > 0 && !sinter_loop_access_uses(load, path[i - 1]->var); i--) {
        bool known = sinter_loop_trip_count(path[i - 1], &trips);
        rounds *= known ? trips : FEW_ROUNDS + 1;
        if (!*out_between && (!known || trips > 1)) *out_between = path[i - 1]->var;
    }
    if (!i || !*out_between || rounds <= FEW_ROUNDS || whole <= l2 / 2) return false;
    *out_outer = path[i - 1]->var;
    for (; i > 0; i--) {
        if (!sinter_loop_access_uses(load, path[i - 1]->var)) continue;
        if (!sinter_loop_trip_count(path[i - 1], &trips) || trips < 1) return false;
        blocks *= (uint64_t)trips;
    }
    return whole / blocks > FEW_BYTES && whole / blocks <= l2;
}

/* What is no tile yet has to stay as its schedule knows it. */
static bool is_tiled(const sinter_loop_stmt *loop) {
    for (const sinter_loop_stmt *stmt = loop->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR) return true;
    return false;
}

static bool visit(void *user, const sinter_loop_stmt *loop) {
    search *s = user;
    sinter_loop_access_list loads = {0};
    sinter_loop_var outer, between;
    if (!is_tiled(loop)) return true;
    if (loop->body->kind == SINTER_LOOP_PREFETCH) return true; /* of a nest before */
    sinter_loop_collect_accesses(&s->scratch, loop->body, &loads);
    for (size_t i = 0; i < loads.count; i++) {
        const sinter_loop_access *load = &loads.items[i];
        if (load->is_store || !sinter_loop_access_uses(load, loop->var) ||
            !sinter_cpu_is_constant(s->state, load->buffer) ||
            !find_block(s, load, &outer, &between))
            continue;
        const sinter_cpu_answer answers[] = {{"yes"}, {"no"}};
        if (sinter_cpu_choose(s->state, "prefetch", answers, 2)) return true;
        sinter_schedule_prefetch(&s->state->schedule, loop->var, outer, between, SINTER_CACHE_LINE);
        return true;
    }
    return true;
}

static bool enters(const sinter_loop_stmt *stmt) {
    return stmt->kind != SINTER_LOOP_FOR || stmt->axis == SINTER_AXIS_SERIAL ||
           stmt->axis == SINTER_AXIS_PARALLEL;
}

void sinter_cpu_prefetch(sinter_schedule_cpu_state *state) {
    search s = {.state = state, .walk = {.enters = enters, .visit = visit}};
    s.walk.user = &s;
    sinter_arena_init(&s.scratch);
    sinter_cpu_walk_innermost(&s.walk, state->schedule.function->body);
    sinter_arena_deinit(&s.scratch);
}
