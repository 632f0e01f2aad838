/* What the files of the schedule verbs share. Private to codegen/schedule*.c. */
#pragma once
#include "codegen/loop_access.h"
#include "codegen/schedule.h"

/* Sets the reason; always false. */
bool sinter_schedule_refuse(sinter_schedule *schedule, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Where a statement hangs: *link is the statement, `path` the enclosing statements, outermost first. */
typedef struct sinter_schedule_place {
    sinter_loop_stmt **link;
    SINTER_VECTOR(sinter_loop_stmt *) path;
} sinter_schedule_place;
/* The FOR or DECLARE of a variable; false with a reason where there is none. */
bool sinter_schedule_locate(sinter_schedule *schedule, sinter_loop_var var, sinter_arena *scratch, sinter_schedule_place *out_place);
bool sinter_schedule_locate_loop(sinter_schedule *schedule, sinter_loop_var var, sinter_arena *scratch,
                                 sinter_schedule_place *out_place);
const char *sinter_schedule_var_name(const sinter_schedule *schedule, sinter_loop_var var);
/* The number of iterations as an expression; may be negative where there are none. */
sinter_expr sinter_schedule_count(sinter_loop_builder *builder, const sinter_loop_stmt *loop);
/* Neither bound changes while the list runs. */
bool sinter_schedule_bounds_fixed(const sinter_loop_stmt *loop, const sinter_loop_stmt *first);
/* Loops that run concurrently can still be told apart; otherwise the function is put back to `saved`, with the reason. */
bool sinter_schedule_keeps_marks(sinter_schedule *schedule, const sinter_loop_function *saved);
