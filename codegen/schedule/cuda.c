/* The choice of schedule for CUDA: which loops become blocks and threads of a launch, what threads of a block share. The verbs
 * are those of codegen/schedule/schedule.h; nests are known by their shape alone, never by an op.
 *
 * A kernel is one launch, so what has several nests is cut into several kernels first (schedule/cuda/cut.c). A nest whose
 * outermost loops are independent becomes a grid of threads over them, each with a vector where that is all there is to it
 * (schedule/cuda/vector.c); what nobody finds parallel runs in one thread.
 * Test: tests/codegen/schedule/cuda.loops */
#include "codegen/schedule/cuda.h"
#include "codegen/loops/independent.h"

enum { BLOCK = 256, WARP = 32 };

/* ---- independent iterations ---- */

bool sinter_schedule_cuda_is_independent(const sinter_schedule *schedule, sinter_loop_var var) {
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    sinter_text reason = {0};
    sinter_arena_init(&scratch);
    sinter_loop_scopes_init(&scopes, schedule->program, schedule->function, &scratch);
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    bool independent = sinter_loop_independent(&scopes, loop, NULL, 0, &reason);
    sinter_text_deinit(&reason);
    sinter_arena_deinit(&scratch);
    return independent;
}

bool sinter_schedule_cuda_fits_axis(const sinter_schedule *schedule, sinter_loop_var var) {
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, schedule->program, schedule->function);
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, var);
    int64_t low, high;
    sinter_loop_range(schedule->function, sinter_loop_sub(&b, loop->upper, loop->lower), &low,
                      &high);
    return high / loop->step < UINT16_MAX;
}

uint32_t sinter_schedule_cuda_gather_independent(sinter_schedule *schedule,
                                                 sinter_schedule_chain *c) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->depth; i++) {
        if (!sinter_schedule_cuda_is_independent(schedule, c->loops[i])) continue;
        sinter_loop_var order[SINTER_SCHEDULE_CHAIN_MAX];
        for (uint32_t k = 0; k < c->depth; k++) order[k] = c->loops[k];
        for (uint32_t k = i; k > count; k--) order[k] = order[k - 1];
        order[count] = c->loops[i];
        if (i > count && !sinter_schedule_reorder(schedule, order, c->depth)) continue;
        for (uint32_t k = 0; k < c->depth; k++) c->loops[k] = order[k];
        count++;
    }
    return count;
}

/* Threads of a block: whole warps, and few enough that every multiprocessor gets a block where that is possible. */
static int64_t choose_threads(const sinter_gpu *gpu, const sinter_loop_stmt *loop) {
    int64_t count, threads = BLOCK;
    if (!sinter_loop_trip_count(loop, &count)) return threads;
    while (threads > 2 * WARP && sinter_gpu_rounds(gpu, (double)count / (double)threads) < 1)
        threads /= 2;
    int64_t whole = (count + WARP - 1) / WARP * WARP;
    return whole < threads ? whole : threads;
}

/* One thread an iteration. */
static bool spread(sinter_schedule_cuda_state *state, sinter_loop_var loop) {
    sinter_schedule *schedule = &state->schedule;
    const sinter_loop_stmt *stmt = sinter_schedule_get_loop(schedule->function, loop);
    int64_t threads = choose_threads(state->target->gpu, stmt);
    sinter_loop_var blocks = 0, lanes = 0;
    return sinter_schedule_split(schedule, loop, threads, SINTER_TAIL_GUARD, &blocks, &lanes,
                                 NULL) &&
           sinter_schedule_bind(schedule, blocks, SINTER_AXIS_BLOCK) &&
           sinter_schedule_bind(schedule, lanes, SINTER_AXIS_THREAD);
}

/* Loops that are one in memory become one, as long as something is left that is independent. */
static void flatten(sinter_schedule *schedule, sinter_schedule_chain *c, uint32_t *count) {
    sinter_loop_function *shaped =
        sinter_loop_clone_function(schedule->program, schedule->function);
    sinter_schedule_flatten_all(schedule);
    sinter_schedule_chain flat = sinter_schedule_chain_of(schedule, c->loops[0]);
    sinter_schedule_chain_collapse(schedule, &flat);
    uint32_t flat_count = sinter_schedule_cuda_gather_independent(schedule, &flat);
    if (flat_count) {
        *c = flat;
        *count = flat_count;
    } else { /* only dims tell the elements apart */
        *schedule->function = *shaped;
    }
}

/* A thread for each iteration of the independent loops, but for the outermost `apart`, which are axes of blocks. */
static bool spread_under(sinter_schedule_cuda_state *state, sinter_loop_var nest, uint32_t apart) {
    sinter_schedule *schedule = &state->schedule;
    sinter_schedule_chain c = sinter_schedule_chain_of(schedule, nest);
    uint32_t count = sinter_schedule_cuda_gather_independent(schedule, &c);
    if (count <= apart) return false;
    flatten(schedule, &c, &count);
    if (count <= apart) return false;
    for (uint32_t i = 0; i < apart; i++)
        if (!sinter_schedule_cuda_fits_axis(schedule, c.loops[i])) return false;
    if (count == c.depth)
        sinter_schedule_cuda_vectorize(schedule, c.loops[count - 1], count == 1,
                                       &c.loops[count - 1]);
    sinter_loop_var loop = c.loops[apart];
    for (uint32_t i = apart + 1; i < count; i++) {
        sinter_loop_var fused = 0;
        if (!sinter_schedule_fuse(schedule, loop, c.loops[i], &fused)) break;
        loop = fused;
    }
    for (uint32_t i = 0; i < apart; i++)
        if (!sinter_schedule_bind(schedule, c.loops[i], SINTER_AXIS_BLOCK)) return false;
    return spread(state, loop);
}

/* These return as sinter_schedule_cuda_rows does. One loop over all is the best grid; of many loops made one nobody can tell any
 * more that iterations are apart, and then fewer are. */
static bool spread_grid(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    return spread_under(state, nest, 0);
}
static bool spread_under_one(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    return spread_under(state, nest, 1);
}
static bool spread_under_two(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    return spread_under(state, nest, 2);
}

/* The same with an axis of blocks for each of up to three loops: where sizes are symbols, their product tells less. */
static bool spread_axes(sinter_schedule_cuda_state *state, sinter_loop_var nest) {
    enum { MAX_BLOCK_AXES = 3 };
    sinter_schedule *schedule = &state->schedule;
    sinter_schedule_chain c = sinter_schedule_chain_of(schedule, nest);
    uint32_t count = sinter_schedule_cuda_gather_independent(schedule, &c);
    if (!count) return false;
    if (count > MAX_BLOCK_AXES) count = MAX_BLOCK_AXES;
    for (uint32_t i = 0; i + 1 < count; i++)
        if (!sinter_schedule_bind(schedule, c.loops[i], SINTER_AXIS_BLOCK)) return false;
    return spread(state, c.loops[count - 1]);
}

/* ---- kernels ---- */

static bool is_check(const sinter_loop_stmt *stmt) {
    return stmt->kind == SINTER_LOOP_IF && !stmt->else_body && stmt->body->kind == SINTER_LOOP_FAIL;
}

/* The one nest of a kernel that else only names values and checks them; 0: it is of another form. */
static sinter_loop_var only_nest(const sinter_loop_function *kernel) {
    sinter_loop_var found = 0;
    for (const sinter_loop_stmt *stmt = kernel->body; stmt; stmt = stmt->next) {
        if (stmt->kind == SINTER_LOOP_FOR && !found)
            found = stmt->var;
        else if (stmt->kind != SINTER_LOOP_DECLARE && stmt->kind != SINTER_LOOP_COMMENT &&
                 stmt->kind != SINTER_LOOP_ALLOC && !is_check(stmt))
            return 0;
    }
    return found;
}

static void schedule_kernel(sinter_schedule_cuda_state *state, sinter_loop_function *kernel) {
    sinter_schedule_init(&state->schedule, state->program, kernel);
    sinter_schedule_simplify(&state->schedule);
    /* A loop in which ranks still exchange is none that can be launched: it stays as it is, and emitters say so. */
    sinter_loop_var nest = sinter_loop_exchanges(kernel->body) ? 0 : only_nest(kernel);
    if (nest) {
        static bool (*const choices[])(sinter_schedule_cuda_state *,
                                       sinter_loop_var) = {sinter_schedule_cuda_contraction,
                                                           sinter_schedule_cuda_rows,
                                                           sinter_schedule_cuda_transpose,
                                                           sinter_schedule_cuda_block,
                                                           spread_grid,
                                                           spread_under_one,
                                                           spread_under_two,
                                                           spread_axes,
                                                           sinter_schedule_cuda_one_block};
        bool done = false;
        for (size_t i = 0; i < sizeof choices / sizeof *choices && !done; i++) {
            sinter_loop_function *saved = sinter_loop_clone_function(state->program, kernel);
            done = choices[i](state, nest);
            if (!done) *kernel = *saved;
        }
        sinter_schedule_simplify(&state->schedule);
    }
    sinter_schedule_deinit(&state->schedule);
}

/* Sums that too few blocks would make become two kernels. */
static void split_sums(sinter_schedule_cuda_state *state, uint32_t kernel) {
    if (!sinter_schedule_cuda_can_cut(state->program, kernel)) return;
    sinter_loop_function *function = state->program->kernels.items[kernel];
    sinter_schedule_init(&state->schedule, state->program, function);
    const sinter_loop_var nest = only_nest(function);
    const bool split = nest && sinter_schedule_cuda_split(state, nest);
    sinter_schedule_deinit(&state->schedule);
    if (split) sinter_schedule_cuda_cut_kernel(state->program, kernel);
}

/* Weights in the order in which tiles read them. */
static void order_weights(sinter_schedule_cuda_state *state, uint32_t kernel) {
    sinter_loop_function *function = state->program->kernels.items[kernel];
    sinter_schedule_init(&state->schedule, state->program, function);
    const sinter_loop_var nest = only_nest(function);
    if (nest) sinter_schedule_cuda_order_weights(state, kernel, nest);
    sinter_schedule_deinit(&state->schedule);
}

bool sinter_schedule_cuda(sinter_loop_program *program, const sinter_target *target,
                          const sinter_schedule_options *options, sinter_diag *diag) {
    sinter_schedule_cuda_cut(program, options->level <= 0);
    if (options->level <= 0) return true;
    sinter_schedule_cuda_state state = {.program = program, .target = target};
    sinter_arena_init(&state.scratch);
    const uint32_t count = (uint32_t)program->kernels.count;
    for (uint32_t i = 0; i < count; i++) split_sums(&state, i);
    for (uint32_t i = 0; i < program->kernels.count; i++) order_weights(&state, i);
    sinter_schedule_cuda_align(program);
    for (uint32_t i = 0; i < program->kernels.count; i++)
        schedule_kernel(&state, program->kernels.items[i]);
    const bool good = sinter_schedule_keep_promises(program, &state.promises, &state.scratch, diag);
    sinter_arena_deinit(&state.scratch);
    return good;
}
