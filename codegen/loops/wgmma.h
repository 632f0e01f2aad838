/* Loops that are one instruction of a warpgroup, four warps: the axis `wgmma` marks a nest that says in plain statements what the instruction
 * of a row of codegen/loops/mma.def does for a warpgroup (PTX ISA, wgmma.mma_async), so that whoever knows no such axis runs the loops.
 *
 *   for j in 0..N/8 wgmma bf16 { for r in 0..2 { for c in 0..2 { for k in 0..16 {
 *     %sum[w,g,t,...,j,r,c] = %sum[w,g,t,...,j,r,c] + cast(f32, %left[...,w % 4 * 16 + r * 8 + g + ...,k + ...]) *
 *                                                     cast(f32, %right[...,j * 8 + t * 2 + c + ...,k + ...])
 *   } } } }
 * It stands in thread axes w, of whole warpgroups, g of 8 and t of 4, whose registers the sums are. Operands are in shared memory with
 * swizzle 128, rows of 128 bytes, and lie along the reduction, as above; or, of 2 bytes, across it, in chunks of 64 rows or columns:
 *   %left[...,chunk,k + ...,w % 4 * 16 + r * 8 + g]    %right[...,j / 8 + chunk,k + ...,j % 8 * 8 + t * 2 + c]
 * The warpgroup begins it and goes on: until a `wait wgmma` has told that the group of its `commit wgmma` is done, sums may be touched by further
 * products of these sums alone, and operands may not be written.
 * Test: tests/codegen/loops/wgmma.loops, verify_wgmma.loops */
#pragma once
#include "codegen/loops/access.h"
#include "codegen/loops/mma.h"

enum {
    SINTER_WGMMA_WARPS = 4,
    SINTER_WGMMA_ROWS = SINTER_WGMMA_WARPS * SINTER_MMA_ROWS,
    SINTER_WGMMA_MAX_COLUMNS = 256,
    SINTER_WGMMA_MAX_PENDING = 7
};

typedef struct sinter_loop_wgmma_operand {
    sinter_loop_buffer buffer;
    const sinter_expr *first; /* indices of its first element; of the warpgroup's, where they depend on that */
    bool across;              /* what lies together are rows or columns, not the reduction */
    int64_t chunk;            /* across: elements from one chunk to the next */
} sinter_loop_wgmma_operand;

typedef struct sinter_loop_wgmma {
    const sinter_loop_stmt *store;
    sinter_loop_wgmma_operand left, right;
    const sinter_expr *first; /* indices of a lane's first sum */
    sinter_loop_var warp, group, member;
    int64_t columns;
} sinter_loop_wgmma;
/* NULL: the nest is of this form; else what is wrong. Whether the axes are threads is left to the caller, and, of a program that was
 * legalized, whether it is a sum of products (is_legal: they may be spelled otherwise). */
const char *sinter_loop_check_wgmma(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop, bool is_legal, sinter_loop_wgmma *out);
/* The columns that an instruction may have: whole columns of mma, and, of integers, pairs of them from 32 on. */
bool sinter_loop_wgmma_has_columns(const sinter_loop_mma_info *info, int64_t columns);
/* The row, and the column, of those of the instruction that a lane has a sum of; chunk: columns lie in chunks of so many, and out_chunk is which of
 * them, the result the place within; 0: they do not. Rows of an instruction are never in two chunks. */
sinter_expr sinter_loop_wgmma_left(sinter_loop_builder *builder, sinter_expr warp, sinter_expr r, sinter_expr group);
sinter_expr sinter_loop_wgmma_right(sinter_loop_builder *builder, sinter_expr j, sinter_expr member, sinter_expr c, int64_t chunk,
                                    sinter_expr *out_chunk);
/* Of a chunk that lies across the reduction, or steps of the reduction in a row of 128 bytes. */
int64_t sinter_loop_wgmma_row(sinter_dtype dtype);
