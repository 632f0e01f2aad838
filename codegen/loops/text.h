/* What the printer and the parser of the loop IR share: operators, words of axes and scopes, reserved words.
 * Defined in print.c. Test: tests/codegen/loops/ */
#pragma once
#include "codegen/loops/loop.h"

typedef struct sinter_loop_operator {
    sinter_scalar_function function;
    const char *text;
    int precedence; /* higher binds tighter; all associate to the left */
} sinter_loop_operator;
extern const sinter_loop_operator sinter_loop_operators[];
extern const size_t sinter_loop_operator_count;
#define SINTER_LOOP_UNARY_PRECEDENCE 20

extern const char *const sinter_loop_axis_names[];  /* by sinter_loop_axis; serial is "" */
extern const char *const sinter_loop_scope_names[]; /* by sinter_loop_scope */

/* For messages, with the names that the tables have: an expression; a statement without its bodies, on one line. */
void sinter_loop_print_expr(const sinter_loop_function *function, sinter_expr expr, sinter_text *text);
void sinter_loop_print_stmt(const sinter_loop_program *program, const sinter_loop_function *function,
                            const sinter_loop_stmt *stmt, sinter_text *text);

/* Constants of more bytes print as "..." and have no data when read back. */
#define SINTER_LOOP_MAX_CONSTANT_TEXT 65536
