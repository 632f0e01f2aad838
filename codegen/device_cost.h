/* What a kernel's launch takes: threads, bytes, arithmetic, and a guess of the time on the GPU that its schedule is for. For who looks
 * at it (sinter inspect --target=cuda); schedules do not ask. Test: tests/cli/inspect_cuda.test */
#pragma once
#include "codegen/device.h"

/* Numbers are negative where only the run can tell: sizes are symbols without bounds. */
typedef struct sinter_device_cost {
    double grid[3], block[3];
    double bytes;        /* of global memory, each element of a buffer once, or as often as it is touched where that is less */
    double operations;   /* of floats, also by units for matrices; a multiply-add is two */
    double shared_bytes; /* of a block, as its loops say */
    double asked_bytes;  /* those of them that the launch asks for and the code does not declare */
    bool has_bound;      /* sizes are symbols with bounds: grid, bytes, operations and seconds are those of the largest */
    double seconds;      /* the longest of memory, arithmetic and units for matrices, with as many multiprocessors as there are blocks */
} sinter_device_cost;
/* False with an error where the kernel can't be launched. */
bool sinter_device_find_cost(sinter_loop_program *program, sinter_loop_function *kernel, const sinter_gpu *gpu,
                             sinter_device_cost *out_cost, sinter_diag *diag);
