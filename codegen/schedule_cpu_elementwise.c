/* Independent iterations on CPUs: loops over consecutive elements become one, the innermost one runs in vector lanes, the
 * outermost in parallel where there is enough work. The last schedule that is asked: it takes every nest and does
 * for it what its verbs allow. Test: tests/codegen/schedule/elementwise.loops */
#include "codegen/schedule_cpu.h"

sinter_loop_var sinter_schedule_cpu_elementwise(sinter_schedule_cpu_state *state,
                                                sinter_loop_var nest) {
    sinter_schedule_cpu_flatten(state);
    sinter_schedule_chain c = sinter_schedule_cpu_chain(state, nest);
    if (!c.depth) return nest;
    sinter_schedule_cpu_collapse(state, &c);
    int64_t work = sinter_schedule_cpu_work(state, &c);
    sinter_loop_var inner = c.loops[c.depth - 1];
    sinter_schedule_hoist(&state->schedule, inner);
    sinter_loop_var vectors = sinter_schedule_cpu_vectorize(state, inner);
    if (c.depth == 1)
        c.loops[0] = vectors;
    else
        c.depth--;
    return sinter_schedule_cpu_parallelize(state, &c, work);
}
