/* What statements read and write, and whether the iterations of a loop can be told apart by it. Used by the verifier and
 * by the legality checks of schedules.
 * Test: tests/codegen/loops/verify_conflict.loops, tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loop_rewrite.h"

typedef struct sinter_loop_access {
    sinter_loop_buffer buffer;
    bool is_store, atomic;
    sinter_scalar_function combine;
    const sinter_expr *indices;
    uint32_t rank;
    const sinter_loop_stmt *stmt;
} sinter_loop_access;
typedef SINTER_VECTOR(sinter_loop_access) sinter_loop_access_list;

/* Every load and store of the list, in program order; a combining store is one access. */
void sinter_loop_collect_accesses(sinter_arena *arena, const sinter_loop_stmt *first, sinter_loop_access_list *list);
/* Those of one statement, without its bodies. */
void sinter_loop_collect_stmt_accesses(sinter_arena *arena, const sinter_loop_stmt *stmt, sinter_loop_access_list *list);

bool sinter_loop_access_uses(const sinter_loop_access *access, sinter_loop_var var); /* in some index */
/* The only dim indexed by the variable, and by nothing but the variable; false where there is none. */
bool sinter_loop_find_axis(const sinter_expr *indices, uint32_t rank, sinter_loop_var var, uint32_t *out_dim);

/* Where everything of a function is declared. Lives in a scratch arena of the caller; edits of the function make it stale. */
typedef struct sinter_loop_scopes {
    sinter_loop_program *program;
    sinter_loop_function *function;
    sinter_loop_builder builder; /* makes expressions in the scratch arena */
    sinter_loop_stmt **vars;     /* by variable: FOR or DECLARE, NULL for parameters */
    sinter_loop_stmt **buffers;  /* by buffer: ALLOC or BIND */
    const sinter_loop_stmt **guards; /* by variable of a FOR: the IF around all that its body reads and writes, or NULL */
    bool has_guards;
    sinter_loop_map lets;        /* immutable i64 variables without loads, as expressions of the rest */
} sinter_loop_scopes;
void sinter_loop_scopes_init(sinter_loop_scopes *scopes, sinter_loop_program *program, sinter_loop_function *function,
                             sinter_arena *scratch);

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
/* In every group of the list no iteration of one loop touches an element that one of another writes, and they exchange no
 * scalars: they may run at the same time. */
bool sinter_loop_groups_apart(sinter_loop_scopes *scopes, const sinter_loop_stmt *first, sinter_text *reason);
/* The value of an expression is the same wherever in the list it is evaluated: it loads no buffer that the list writes or
 * allocates, reads no variable that the list assigns or declares. */
bool sinter_loop_is_invariant(sinter_expr expr, const sinter_loop_stmt *first);
