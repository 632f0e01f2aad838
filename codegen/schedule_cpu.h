/* What the files of the CPU schedule share. Private to codegen/schedule_cpu*.c.
 *
 * The dispatcher (schedule_cpu.c) goes over the kernels and, inside each, over the top-level loop nests as lowering made them;
 * each nest is offered to the schedules below in this order until one takes it. A schedule recognises its nests by their
 * shape alone, never by an op, and uses the verbs of codegen/schedule.h, which keep every value. It returns
 *   true:  the nest is done: this schedule decided about all of its loops, also about tails it split off;
 *   false: nothing was changed, the next schedule may look at it. A nest that nobody takes runs as serial loops.
 * Test: tests/codegen/schedule/ */
#pragma once
#include "codegen/compile.h"
#include "codegen/schedule.h"

typedef struct sinter_schedule_cpu_state {
    sinter_loop_program *program;
    const sinter_target *target;
    int level;
    sinter_diag *diag;
    uint32_t kernel; /* index in the program */
    sinter_schedule schedule; /* of this kernel's function */
    bool failed;     /* an error went to diag */
} sinter_schedule_cpu_state;

/* `nest`: variable of a top-level loop of the kernel. */
/* Contractions: matrix products and convolutions of one tap, a reduction of products below two free loops. */
bool sinter_schedule_cpu_contract(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Sliding windows: convolutions and pools. */
bool sinter_schedule_cpu_window(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Reductions over the last axes, also several in a row (softmax, normalisations). */
bool sinter_schedule_cpu_reduce(sinter_schedule_cpu_state *state, sinter_loop_var nest);
/* Independent iterations. */
bool sinter_schedule_cpu_elementwise(sinter_schedule_cpu_state *state, sinter_loop_var nest);

/* Lanes of one vector of this element type, at least 1. */
uint32_t sinter_schedule_cpu_lanes(const sinter_target *target, sinter_dtype dtype);
