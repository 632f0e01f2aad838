/* Whether two accesses may touch the same element in different iterations of a loop.
 * Test: tests/codegen/loops/verify_conflict.loops, tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loops/access.h"

enum { SINTER_LOOP_MAX_CONDITIONS = 8 };

typedef struct sinter_loop_comparison {
    sinter_loop_scopes *scopes;
    const sinter_loop_stmt *loop;
    bool *differs;  /* by variable: the loop's own, those declared inside, those of varying loops */
    bool *declared; /* by buffer: inside the loop, so each iteration has its own */
    bool *assigned; /* by variable, in the body */
    bool guards;    /* conditions around what a loop does bound its variable */
    struct {
        sinter_expr left, limit; /* left < limit wherever the two accesses are */
    } conditions[SINTER_LOOP_MAX_CONDITIONS];
    uint32_t condition_count;
} sinter_loop_comparison;

/* Lives in the scratch arena of the scopes. */
sinter_loop_comparison sinter_loop_begin_comparison(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop);
/* What the list declares and assigns differs between the two as well. */
void sinter_loop_mark_declared(sinter_loop_comparison *c, const sinter_loop_stmt *first);
/* The two accesses, one of them a store, may meet in two iterations; stores that combine atomically alike never do. */
bool sinter_loop_conflict(sinter_loop_comparison *c, const sinter_loop_access *a, const sinter_loop_access *b);
