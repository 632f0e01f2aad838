/* Which variables and buffers a list of statements uses: what the function of a parallel loop takes along, and what
 * would be an unused variable in emitted C. Test: tests/unit/emit_test.c */
#pragma once
#include "codegen/loops/loop.h"
#include "ir/base/map.h"

/* By id; of the statements, their bodies, and the dims of buffers that they touch. */
typedef struct sinter_loop_uses {
    const sinter_loop_function *function;
    bool *vars, *declares, *assigns;   /* read; declared inside; assigned */
    bool *buffers, *reads, *allocates; /* touched; read or handed to a kernel; allocated inside */
    bool fails, in_parallel;           /* has such a statement, such a loop */
    sinter_map visited;                /* expressions share subexpressions */
} sinter_loop_uses;
void sinter_loop_find_uses(sinter_arena *arena, const sinter_loop_function *function, const sinter_loop_stmt *first,
                           sinter_loop_uses *out_uses);
/* Marks, by id, the buffers that an ALLOC of the list makes. */
void sinter_loop_mark_allocated(const sinter_loop_stmt *first, bool *allocated);

/* The host has the buffer for this call alone: memory that nothing else reads or writes. */
bool sinter_loop_is_scratch_of(const sinter_loop_program *program, const sinter_loop_stmt *call, sinter_loop_buffer buffer);
