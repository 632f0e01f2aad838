/* Inside of the memory plan: lifetimes of the host's heap buffers and packing, apart so that tests reach them.
 * Test: tests/unit/plan_memory_test.c */
#pragma once
#include "codegen/loops/loop.h"

/* Positions count the host's statements in the order they stand; a loop's body lies between two positions of its own. */
typedef struct sinter_plan_lifetime {
    bool allocated;          /* there is an ALLOC of this heap buffer */
    uint32_t first, last;    /* inclusive: from its ALLOC to the last statement that may reach its memory. Inputs: from 0.
                                Outputs: first alone */
    sinter_loop_buffer copied_from; /* what a call that copies makes it of, at the position; 0: nothing */
    uint32_t copied_at;
    sinter_loop_stmt *alloc; /* its statement, and the one of the same list after which the memory is dead: */
    sinter_loop_stmt *after; /* NULL where that lies outside of the list */
} sinter_plan_lifetime;

/* By buffer id, in the arena. A use of an alias is a use of everything it may be bound to; what is used in a loop but
 * allocated before it lives to the loop's end. NULL after an error: memory of one iteration that the next one reads. */
sinter_plan_lifetime *sinter_plan_lifetimes(const sinter_loop_program *program, sinter_arena *arena, sinter_diag *diag);

typedef struct sinter_plan_item {
    uint64_t size, offset;
    uint32_t first, last;
} sinter_plan_item;
/* Sets the offsets so that items that live at one time never overlap; returns the bytes all of them need. */
uint64_t sinter_plan_pack(sinter_plan_item *items, size_t count, sinter_arena *arena);
