/* The choice of schedule for CPUs: which loop runs in parallel, which in vector lanes, what is tiled and packed. This
 * file walks the program and asks the schedules of schedule_cpu.h; the rewrites themselves are in codegen/schedule.h.
 * Test: tests/codegen/schedule/ */
#include "codegen/schedule_cpu_tile.h"

typedef bool (*nest_schedule)(sinter_schedule_cpu_state *state, sinter_loop_var nest);

static const nest_schedule schedules[] = {
    sinter_schedule_cpu_contract,
    sinter_schedule_cpu_window,
    sinter_schedule_cpu_reduce,
    sinter_schedule_cpu_elementwise,
};

uint32_t sinter_schedule_cpu_lanes(const sinter_target *target, sinter_dtype dtype) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    uint32_t lanes = bits >= 8 ? target->vector_bytes * 8 / bits : 1;
    return lanes ? lanes : 1;
}

static void schedule_kernel(sinter_schedule_cpu_state *state) {
    SINTER_VECTOR(sinter_loop_var) nests = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_function *function = state->program->kernels.items[state->kernel];
    sinter_schedule_init(&state->schedule, state->program, function);
    sinter_schedule_simplify(&state->schedule); /* axes of one element are no loops */
    for (const sinter_loop_stmt *stmt = function->body; stmt; stmt = stmt->next)
        if (stmt->kind == SINTER_LOOP_FOR && stmt->axis == SINTER_AXIS_SERIAL)
            sinter_vector_push(&scratch, &nests, stmt->var);
    for (size_t i = 0; i < nests.count; i++)
        for (size_t k = 0; k < sizeof schedules / sizeof *schedules; k++)
            if (schedules[k](state, nests.items[i])) break;
    sinter_schedule_simplify(&state->schedule);
    sinter_schedule_deinit(&state->schedule);
    sinter_arena_deinit(&scratch);
}

bool sinter_schedule_cpu(sinter_loop_program *program, const sinter_target *target, int level,
                         sinter_diag *diag) {
    if (level <= 0) return true;
    sinter_schedule_cpu_state state = {
        .program = program, .target = target, .level = level, .diag = diag};
    sinter_arena_init(&state.scratch);
    for (uint32_t i = 0; i < program->kernels.count && !state.failed; i++) {
        state.kernel = i;
        schedule_kernel(&state);
    }
    bool good = !state.failed && sinter_cpu_pack_constants(&state);
    sinter_arena_deinit(&state.scratch);
    return good;
}
