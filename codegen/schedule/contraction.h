/* What a nest around one accumulator computes, where it is a sum of products: the two factors, the box that the reduction runs
 * over, and the condition under which an iteration counts. Private to codegen/schedule/.
 * Test: tests/codegen/schedule/block_tile.loops */
#pragma once
#include "codegen/schedule/internal.h"

enum { SINTER_CONTRACTION_MAX_LOOPS = 8 };

/* for ... { lets; var acc = start; lets; for k ... { lets; if condition { acc = acc + a * b } } uses } */
typedef struct sinter_contraction {
    const sinter_loop_stmt *declare, *assign, *uses; /* uses: what follows the reduction, NULL: nothing */
    sinter_loop_map lets;    /* the immutable variables in front of and in the reduction, as expressions of the rest */
    sinter_expr factors[2];  /* of the product, as they stand in it, lets put in */
    sinter_expr present[2];  /* where a factor is that; elsewhere it is 0: select(present, factor, 0). NULL: everywhere */
    sinter_expr condition;   /* bounds that other loops clip, conditions around the sum; NULL: every iteration counts */
    bool product_first;      /* acc = a * b + acc */
    bool fused;              /* acc = fma(a, b, acc) */
    sinter_loop_var loops[SINTER_CONTRACTION_MAX_LOOPS]; /* of the reduction, outermost first */
    sinter_expr lowers[SINTER_CONTRACTION_MAX_LOOPS], counts[SINTER_CONTRACTION_MAX_LOOPS]; /* the box, over parameters */
    uint32_t loop_count;
} sinter_contraction;

/* Of the body of this loop. False, with a reason, where it is no such sum, or where the reduction or what it starts with reads what
 * the body writes. */
bool sinter_schedule_find_contraction(sinter_schedule *schedule, sinter_loop_var loop, sinter_contraction *out);

/* How far apart in memory neighbouring iterations of a loop read: by the last index of every load in the expression that uses the
 * variable. */
typedef enum sinter_reading {
    SINTER_READING_NONE,  /* no load uses it */
    SINTER_READING_NEXT,  /* the next element */
    SINTER_READING_APART, /* a fixed distance that is not 1 */
    SINTER_READING_OTHER  /* something else */
} sinter_reading;
sinter_reading sinter_schedule_reading(sinter_schedule *schedule, sinter_expr expr, sinter_loop_var var);
