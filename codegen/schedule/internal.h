/* What the files of the schedule verbs share. Private to codegen/schedule/. */
#pragma once
#include "codegen/loops/access.h"
#include "codegen/schedule/schedule.h"

/* Sets the reason; always false. */
bool sinter_schedule_refuse(sinter_schedule *schedule, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Where the loop, or the declaration, of a variable hangs; NULL with a reason where there is none. */
sinter_loop_stmt **sinter_schedule_find_link(sinter_schedule *schedule, sinter_loop_stmt_kind kind, sinter_loop_var var);
/* The loop of the variable behind that statement, in its list; NULL with a reason where there is none. */
sinter_loop_stmt *sinter_schedule_find_behind(sinter_schedule *schedule, const sinter_loop_stmt *stmt, sinter_loop_var var);
/* The statements around the one that hangs there, outermost first. */
typedef SINTER_VECTOR(sinter_loop_stmt *) sinter_schedule_path;
sinter_schedule_path sinter_schedule_path_to(const sinter_schedule *schedule, sinter_loop_stmt **link, sinter_arena *arena);
/* The statement that hangs there is inside of a loop with this axis. */
bool sinter_schedule_in_axis(const sinter_schedule *schedule, sinter_loop_stmt **link, sinter_loop_axis axis);
/* Threads of a block reduce to the variable somewhere in the list; var = 0: to any. */
bool sinter_schedule_reduces(const sinter_loop_stmt *first, sinter_loop_var var);
const char *sinter_schedule_var_name(const sinter_schedule *schedule, sinter_loop_var var);
/* The number of iterations as an expression; may be negative where there are none. */
sinter_expr sinter_schedule_count(sinter_loop_builder *builder, const sinter_loop_stmt *loop);
/* Neither bound changes while the list runs. */
bool sinter_schedule_bounds_fixed(const sinter_loop_stmt *loop, const sinter_loop_stmt *first);
/* What is done to two perfectly nested loops around an accumulator, m (0: none) and n, falls into parts: each with a copy of them. */
typedef struct sinter_schedule_part {
    sinter_loop_var m, n;
} sinter_schedule_part;
/* The body of part.n, and with it part.m, is cut after `count` statements; the second part's loops. */
bool sinter_schedule_part_cut(sinter_schedule *schedule, sinter_schedule_part part, size_t count, sinter_schedule_part *out_second);
/* Position of the reduction in the body: the first loop that assigns the accumulator. */
bool sinter_schedule_find_reduction(const sinter_loop_stmt *body, sinter_loop_var accumulator, size_t *out_index);
/* Lets in front of the reduction would tie the parts together. Those after it stay: they keep what is read twice from
 * being computed twice. */
void sinter_schedule_inline_lets(sinter_schedule *schedule, const sinter_loop_stmt *loop, sinter_loop_var accumulator);
/* A copy of the function for sinter_schedule_keeps_marks; NULL where no loop runs concurrently, and nothing can be lost. */
sinter_loop_function *sinter_schedule_save(sinter_schedule *schedule);
/* Iterations of loops that run concurrently can still be told apart; otherwise the function is put back to `saved`, with
 * the reason. Every verb that changes indices or the nest around them asks this. */
bool sinter_schedule_keeps_marks(sinter_schedule *schedule, const sinter_loop_function *saved);
/* Nobody sees what the function leaves in the buffer: its own, or memory that the host has for its calls alone. */
bool sinter_schedule_is_scratch(const sinter_schedule *schedule, sinter_loop_buffer buffer);
/* No iteration of the loop touches what another writes; false with a reason. */
bool sinter_schedule_is_independent(sinter_schedule *schedule, const sinter_loop_stmt *loop);
