/* Reductions on CPUs. No nest is recognised yet: all of them are left to the
 * next schedule. Test: tests/codegen/schedule/ */
#include "codegen/schedule_cpu.h"

bool sinter_schedule_cpu_reduce(sinter_schedule_cpu_state *state, sinter_loop_var nest) {
    (void)state;
    (void)nest;
    return false;
}
