/* Memory of a kernel's own, of the host's (scratch.c). Private to codegen/schedule/cpu/.
 * Test: tests/codegen/schedule/room.loops */
#pragma once
#include "codegen/schedule/cpu.h"

/* A buffer of these dims, over the kernel's scalar parameters, for all its threads: one more parameter, which every call passes. */
sinter_loop_buffer sinter_cpu_add_scratch(sinter_schedule_cpu_state *state, const char *name, sinter_dtype dtype, uint32_t rank,
                                          const sinter_expr *dims);
/* Scratch that a thread's stack does not hold (ir/stack.h), the largest first, or whose size the run alone knows becomes memory of the plan: such a parameter. */
void sinter_cpu_move_scratch(sinter_schedule_cpu_state *state);
