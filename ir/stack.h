/* What kernels may have of the stack of the thread that they run on, and the shares of it: passes that put work into one kernel because
 * something fits there, lowering and schedules, which put it there, go by the same numbers. The thread is the caller's or a pool's, with
 * some MiB as a rule; what has no room becomes memory of the plan (codegen/schedule/cpu/scratch.c).
 * Test: tests/codegen/schedule/room.loops, tests/passes/fuse/streamed.sir */
#pragma once

enum {
    SINTER_STACK_BYTES = 384 << 10,              /* all scratch of a kernel, of a stack that others need as well */
    SINTER_STACK_SHARE = SINTER_STACK_BYTES / 3, /* one value of it that comes by rows or blocks; others lie beside it */
    SINTER_STACK_ASKED = 2 << 20 /* what lowering takes of a plan that a file brings along, and a schedule then moves */
};
