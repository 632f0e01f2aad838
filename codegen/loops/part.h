/* Parts of a function: statements at its top that share nothing with the others but parameters, each taken out as a function of its
 * own, whose tables hold what it uses and no more. What is done to a part costs what the part is, however long the function:
 * a kernel of thousands of nests is scheduled nest by nest.
 * Test: tests/unit/loop_part_test.c, tests/codegen/schedule/parts.loops */
#pragma once
#include "codegen/loops/rewrite.h"

typedef SINTER_VECTOR(uint32_t) sinter_loop_ids;

/* How many statements each part has, in their order: what a statement at the top declares or allocates ends with the part. */
typedef SINTER_VECTOR(size_t) sinter_loop_part_lengths;
void sinter_loop_find_parts(sinter_arena *scratch, const sinter_loop_function *function, sinter_loop_part_lengths *out_lengths);

typedef struct sinter_loop_parts {
    sinter_loop_program *program;
    sinter_loop_function *whole;
    sinter_arena *scratch;
    sinter_loop_ids vars, buffers; /* by number in the whole: the number in the part that is out, 0: it has none */
} sinter_loop_parts;
void sinter_loop_parts_init(sinter_loop_parts *parts, sinter_loop_program *program, sinter_loop_function *whole,
                            sinter_arena *scratch);

typedef struct sinter_loop_part {
    sinter_loop_function *function; /* of this name; parameters are those that it uses, in the order of their use */
    sinter_loop_ids vars, buffers;  /* by number in the part: the number in the whole; what is made later is not in them */
    sinter_loop_stmt **link;        /* where it hung */
} sinter_loop_part;
/* `count` statements at *link, which belong to the whole's top and are whole parts. One part is out at a time; the whole must not be
 * changed until then, nor may the shapes of the part's parameters. */
void sinter_loop_take_part(sinter_loop_parts *parts, sinter_loop_stmt **link, size_t count, sinter_loop_part *out_part);
/* Where the statement after the part hangs. */
sinter_loop_stmt **sinter_loop_put_back(sinter_loop_parts *parts, sinter_loop_part *part);
