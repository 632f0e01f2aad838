/* Perfectly nested loops as one thing: what schedules of every target begin with. Test: tests/codegen/schedule/ */
#include "codegen/schedule/schedule.h"

sinter_schedule_chain sinter_schedule_chain_of(const sinter_schedule *schedule,
                                               sinter_loop_var nest) {
    sinter_schedule_chain c = {0};
    const sinter_loop_stmt *loop = sinter_schedule_get_loop(schedule->function, nest);
    while (loop && loop->kind == SINTER_LOOP_FOR && loop->axis == SINTER_AXIS_SERIAL &&
           c.depth < SINTER_SCHEDULE_CHAIN_MAX) {
        c.loops[c.depth++] = loop->var;
        loop = loop->body && !loop->body->next ? loop->body : NULL;
    }
    return c;
}

/* From the inside out, so that what ends up innermost is as long as can be. */
void sinter_schedule_chain_collapse(sinter_schedule *schedule, sinter_schedule_chain *c) {
    for (uint32_t i = c->depth; i-- > 1;) {
        if (!sinter_schedule_collapse(schedule, c->loops[i - 1], c->loops[i], &c->loops[i - 1]))
            continue;
        c->depth--;
        for (uint32_t k = i; k < c->depth; k++) c->loops[k] = c->loops[k + 1];
    }
}
