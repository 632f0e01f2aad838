/* Whether iterations of loops, parts of them or loops side by side may be taken in any order, told by what they read and
 * write (conflict.h). Used by the verifier and by the legality checks of schedules.
 * Test: tests/codegen/loops/verify_conflict.loops, tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loops/access.h"
#include "runtime/abi.h"

/* Two different iterations of the loop never touch the same element with one of them writing (atomic stores of one
 * function among themselves aside), and no scalar is carried from one to the next. The loops over `varying` variables,
 * which enclose it, may be at different iterations too: with the variable of the enclosing loop in it, the answer says
 * whether the two can be interchanged whatever the outer one carries. False: *reason says what could conflict. */
bool sinter_loop_independent(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop, const sinter_loop_var *varying,
                             size_t varying_count, sinter_text *reason);
/* No access before `second`, a statement of the loop's body, meets one at or after it in another iteration, and no scalar or
 * buffer of the body leads from one part to the other: the loop can be cut in two there. */
bool sinter_loop_separable(sinter_loop_scopes *scopes, const sinter_loop_stmt *loop, const sinter_loop_stmt *second,
                           sinter_text *reason);
/* The last loop of the group that starts with this parallel one: the loop itself where none that follows is joined to it.
 * All of a group have constant counts. */
const sinter_loop_stmt *sinter_loop_group_end(const sinter_loop_stmt *first);

/* What the parallel loop's grain is, in parts of SINTER_ABI_GRAIN_PARTS; one iteration where nobody said. */
static inline int64_t sinter_loop_get_grain(const sinter_loop_stmt *loop) {
    return loop->grain ? loop->grain : SINTER_ABI_GRAIN_PARTS;
}

/* The grain's iterations, at least one. */
static inline int64_t sinter_loop_whole_grain(int64_t grain) {
    return grain / SINTER_ABI_GRAIN_PARTS + (grain % SINTER_ABI_GRAIN_PARTS != 0);
}
/* In every group of the list no iteration of one loop touches an element that one of another writes, and they exchange no
 * scalars: they may run at the same time. */
bool sinter_loop_groups_apart(sinter_loop_scopes *scopes, const sinter_loop_stmt *first, sinter_text *reason);
