/* Copies of boxes: SINTER_LOOP_BOX brings a box of an input to swizzled shared memory, as one thread's cp.async.bulk.tensor does (PTX ISA; "TMA").
 *
 *   box %to[slot,0,0] = %from at [b,m * 128,k * 64] size [1,128,64] of [B,M,520] by [M * 520,520,1] for %full[slot]
 *
 * The input is seen as a tensor of dims `of`, whose strides are `by`, in elements from its first one; the last is 1. Of it the box from `at` on, of so
 * many elements in each dim, goes to memory from the element %to[...] on, in its order, the last dim a row of 128 bytes, from a tile's or a chunk's first row on; what is outside of the
 * dims is 0. The copy is under way until a phase of %full[slot] is over: the next one ends that the piece arrives at behind the
 * statement, and it does not end before the copy is done. Who awaits that phase may read it, wgmma axes without a fence.
 * A piece of warps does it once. Dims and strides are of the kernel's parameters, for the host tells them to the instruction (a "tensor map").
 * Test: tests/codegen/loops/box.loops, verify_box.loops */
#pragma once
#include "codegen/loops/access.h"

enum {
    SINTER_BOX_MIN_RANK = 2,
    SINTER_BOX_MAX_RANK = 5,
    SINTER_BOX_MOST = 256,  /* elements along a dim */
    SINTER_BOX_PIECE = 16   /* bytes: strides are multiples, and so is the input's address */
};

/* The parts of the statement: its arguments one after the other. */
typedef struct sinter_loop_box {
    sinter_loop_buffer to, from, phases;
    const sinter_expr *first; /* indices of the first element of `to`, first_rank of them */
    sinter_expr phase;        /* index of the phases */
    uint32_t first_rank, rank;
    const sinter_expr *at, *sizes, *dims, *strides; /* rank of them each, outermost first */
} sinter_loop_box;
sinter_loop_box sinter_loop_box_of(const sinter_loop_stmt *stmt);
/* Dims of the memory, from the first on, in which it is at one index; in the others it may be at all. */
uint32_t sinter_loop_box_leading(const sinter_loop_function *function, const sinter_loop_box *box);
/* Appends the statement; expressions are copied. */
void sinter_loop_copy_box(sinter_loop_builder *builder, const sinter_loop_box *box);
/* Bytes that it brings, of sizes that are numbers. */
uint64_t sinter_loop_box_bytes(const sinter_loop_function *function, const sinter_loop_box *box);
/* NULL: the instruction can do it; else what is wrong. */
const char *sinter_loop_check_box(sinter_loop_scopes *scopes, const sinter_loop_stmt *stmt);
/* The value is certain to be a multiple of the number. */
bool sinter_loop_is_multiple(sinter_loop_scopes *scopes, sinter_expr expr, int64_t number);
