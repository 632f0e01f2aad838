/* What the files of the CUDA schedule share. Private to codegen/schedule_cuda*.c. */
#pragma once
#include "codegen/compile.h"
#include "codegen/loop_access.h"
#include "codegen/schedule.h"

typedef struct sinter_schedule_cuda_state {
    sinter_loop_program *program;
    const sinter_target *target;
    sinter_schedule schedule; /* of the kernel at hand */
    sinter_arena scratch;
} sinter_schedule_cuda_state;

/* A block for each row, whose elements its threads share. `nest`: the loop at the top level of a kernel. True: it is scheduled;
 * false: the kernel may be in pieces, and the caller puts it back. */
bool sinter_schedule_cuda_rows(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* Tiles of a contraction, which a block's threads share (schedule_cuda_contraction.c); like sinter_schedule_cuda_rows. */
bool sinter_schedule_cuda_contraction(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* A block for each iteration that keeps scratch between several nests (schedule_cuda_block.c); likewise. */
bool sinter_schedule_cuda_block(sinter_schedule_cuda_state *state, sinter_loop_var nest);
/* One block for a kernel whose iterations follow each other, with threads for what is independent in them; likewise. */
bool sinter_schedule_cuda_one_block(sinter_schedule_cuda_state *state, sinter_loop_var nest);
bool sinter_schedule_cuda_is_independent(const sinter_schedule *schedule, sinter_loop_var loop);

/* ---- schedule_cuda_cut.c ---- */
/* One nest a kernel, as far as that is possible; before any kernel is scheduled. */
void sinter_schedule_cuda_cut(sinter_loop_program *program);
