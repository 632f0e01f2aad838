/* Loops that are one instruction of a warp: the axis `mma` (codegen/loops/loop.h) marks a nest that says in plain statements what the instruction
 * of codegen/loops/mma.def does, so that whoever knows no such axis runs the loops.
 *
 *   for r in 0..2 mma bf16 { for c in 0..2 { for k in 0..16 {
 *     %sum[w,g,t,...,r,c] = %sum[w,g,t,...,r,c] + cast(f32, %left[w,g,k % 8 / 2,...,r + k / 8 * 2,k % 2]) *
 *                                                 cast(f32, %right[w,t * 2 + c,k % 8 / 2,...,k / 8,k % 2])
 *   } } }
 * It stands in thread axes w, g of 8 and t of 4, whose registers the buffers are: the warp runs it together, and lanes read what others
 * hold. Test: tests/codegen/loops/mma.loops */
#pragma once
#include "codegen/loops/rewrite.h"

enum {
    SINTER_MMA_ROWS = 16,
    SINTER_MMA_COLUMNS = 8,
    SINTER_MMA_GROUPS = 8,
    SINTER_MMA_MEMBERS = 4,
    SINTER_MMA_LEFT_REGISTERS = 4,
    SINTER_MMA_RIGHT_REGISTERS = 2
};

typedef struct sinter_loop_mma_info {
    const char *name;
    sinter_dtype left, right, sum;
    int64_t packed; /* elements of a register */
    int64_t depth;  /* of the reduction */
    int64_t pad;    /* elements that rows along the depth are longer in shared memory, so that no two lanes meet in a bank; rows across it
                       are SINTER_MMA_GROUPS longer */
    uint32_t architecture;
    uint32_t warpgroup; /* the architecture whose own code has it for warpgroups (codegen/loops/wgmma.h); 0: none */
    sinter_scalar_function factor; /* of an element, which is what is multiplied; NONE: a cast to the sum's type */
} sinter_loop_mma_info;
extern const sinter_loop_mma_info sinter_loop_mma_infos[]; /* by sinter_loop_mma */

/* The factor that the instruction makes of an element. */
sinter_expr sinter_loop_mma_factor(sinter_loop_builder *builder, const sinter_loop_mma_info *info, sinter_expr element);
/* The element, of that type, under a factor; NULL where it is no such factor. */
sinter_expr sinter_loop_mma_element(const sinter_loop_mma_info *info, sinter_dtype dtype, sinter_expr factor);

/* The store that the nest is about, and the loads in it. */
typedef struct sinter_loop_mma_parts {
    const sinter_loop_stmt *store;
    sinter_expr left, right;
} sinter_loop_mma_parts;
/* The store that so many loops are around, to a buffer of that rank, and the loads of two others in it; false: it is no such nest. */
bool sinter_loop_find_products(const sinter_loop_stmt *loop, int depth, uint32_t rank, sinter_loop_mma_parts *out);
/* It adds the product of the instruction's factors to the element that it overwrites. */
bool sinter_loop_is_sum_of_products(const sinter_loop_mma_info *info, const sinter_loop_mma_parts *parts);
/* False where the nest has none of this form, however it computes: also of a program that was legalized. */
bool sinter_loop_find_mma(const sinter_loop_stmt *loop, sinter_loop_mma_parts *out);
/* NULL: the nest is what its instruction does, and the variables of g and t are *out_group and *out_member; else what is wrong. */
const char *sinter_loop_check_mma(sinter_loop_program *program, sinter_loop_function *function, const sinter_loop_stmt *loop,
                                  sinter_loop_var *out_group, sinter_loop_var *out_member);

/* Indices of the operands' registers in a nest's terms, without what is in between: of `left` the member, the register and the element; of
 * `right` the group as well. */
typedef struct sinter_loop_mma_indices {
    sinter_expr member, left_register, right_group, right_register, element;
} sinter_loop_mma_indices;
sinter_loop_mma_indices sinter_loop_mma_index(sinter_loop_builder *builder, const sinter_loop_mma_info *info, sinter_expr r,
                                              sinter_expr c, sinter_expr k, sinter_expr member);
