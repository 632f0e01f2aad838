/* What passes may know of the machine that the code is for: enough to compare the times of two ways to compute the same.
 * codegen/target.def has the numbers; they are rough on purpose. Test: tests/passes/winograd/ */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { SINTER_CACHE_LINE = 64 }; /* bytes, of every machine in codegen/target.def */
/* Of a GPU's thread, for what it keeps between the products of a kernel: half of what it may have, for what is multiplied and places take the rest. */
enum { SINTER_DEVICE_KEPT_REGISTERS = 104 };

typedef struct sinter_machine {
    uint32_t vector_bytes;
    uint32_t products;     /* vector multiply-adds a cycle */
    uint32_t near_bytes;   /* bytes a cycle that one core reads from its own second cache */
    uint32_t memory_bytes; /* and from memory */
    uint32_t shared_bytes; /* and of what its neighbour has just written */
    uint32_t l2_bytes;     /* cache of one core */
    uint32_t l3_bytes;     /* of the shared cache, what one core may count on */
    bool pairs_of_bf16;    /* two products of bf16 a lane in the time of one of f32 */
    bool signed_dots;      /* what sums products of bytes in one instruction wants both signed, not the left one unsigned */
    bool has_device;       /* kernels run on a GPU; the numbers are the host's */
    uint32_t device_architecture; /* of that GPU: 80 for sm_80; the least where code is for several */
    uint32_t device_multiprocessors;
    uint32_t device_lanes;        /* of a multiprocessor: multiply-adds of f32 a cycle, */
    uint32_t device_halves;       /* those of f16 and bf16 in its units for matrices, twice those of tf32; */
    bool device_warpgroups;       /* these have instructions of four warps, which read shared memory by themselves; the code is for such GPUs alone */
    uint32_t device_shared_bytes; /* its shared memory, */
    uint32_t device_block_bytes;  /* and how much of such one block may take, wherever the code may run */
} sinter_machine;
/* Where nobody says which machine. */
#define SINTER_MACHINE_ANY {.vector_bytes = 32, .products = 2, .near_bytes = 32, .memory_bytes = 6, .shared_bytes = 4, .l2_bytes = 524288, .l3_bytes = 2097152}
