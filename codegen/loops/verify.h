/* Private to the verifier: verify.c walks a function and looks at structure, types and scopes;
 * verify_access.c looks at what the statements touch, verify_copy.c at copies and products under way. Every constraint has a label, [loop_c1] ...; docs/loops.md lists
 * them, tests/codegen/loops/verify_*.loops has a program that breaks each. */
#pragma once
#include "codegen/loops/access.h"

typedef struct sinter_loop_verifier {
    const sinter_loop_program *program;
    sinter_loop_function *function;
    sinter_diag *diag;
    sinter_arena scratch;
    sinter_loop_scopes scopes;
    bool is_host;
    bool *visible_vars, *visible_buffers;
    sinter_loop_axis *axes; /* by variable, of loops */
    const sinter_loop_stmt *stmt; /* being looked at */
    size_t error_count;
} sinter_loop_verifier;

/* Reports at the current statement; false. label: "loop_c1" */
bool sinter_loop_verify_error(sinter_loop_verifier *v, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Bounds, conflicts, uninitialised reads, register indices. Called for a function whose structure is right. */
void sinter_loop_verify_accesses(sinter_loop_verifier *v);
/* Pieces of warps, and phases. For a function whose structure is right. */
void sinter_loop_verify_warps(sinter_loop_verifier *v);
/* Copies to shared memory that are under way. After the accesses. */
void sinter_loop_verify_copies(sinter_loop_verifier *v);
