/* Loops that are one load of matrices by a warp, from shared memory to registers as the instructions of codegen/loops/mma.def want them (PTX ISA,
 * ldmatrix): the axis `ldmatrix` marks a nest that says in plain statements what each lane gets, so that whoever knows no such axis
 * runs the loops.
 *
 *   for q in 0..4 ldmatrix { for s in 0..2 unroll { %part[w,g,t,...,q,s] = %tile[row of g and q, 2 * t + s + ...] } }
 * A matrix is 8 rows of 16 bytes, each at a multiple of that. The last loop goes through the elements of a register of 32 bits, if there are several;
 * those before it number 2 or 4 matrices, whose registers follow each other. Rows are g, their elements t and s; or, of elements of 2 bytes, they are
 * turned: rows are 2 * t + s, their elements g. It stands in thread axes w, g of 8 and t of 4, whose registers the buffer is.
 * Test: tests/codegen/loops/ldmatrix.loops, verify_ldmatrix.loops */
#pragma once
#include "codegen/loops/access.h"

typedef struct sinter_loop_ldmatrix {
    const sinter_loop_stmt *store;
    const sinter_expr *first; /* indices of a lane's first register */
    sinter_loop_var group, member;
    int64_t count; /* matrices */
    bool turned;
    sinter_expr row; /* where in the shared buffer the row begins whose place this lane has to say: lane 8 * n + r that of row r of matrix n */
} sinter_loop_ldmatrix;
/* NULL: the nest is of this form; else what is wrong. Whether the axes are a warp's threads is left to the caller. */
const char *sinter_loop_check_ldmatrix(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop, sinter_loop_ldmatrix *out);
