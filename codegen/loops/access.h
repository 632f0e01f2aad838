/* What statements read and write, where it is declared, and what none of them changes.
 * Test: tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loops/rewrite.h"

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
/* Each iteration of the variable's loop has elements of the buffer to itself: along one axis, another one than `but` (SINTER_MAX_RANK: any), the
 * variable is the index of all accesses of the list. */
bool sinter_loop_tells_apart(const sinter_loop_access_list *accesses, sinter_loop_buffer buffer, sinter_loop_var var, uint32_t but);

/* Lanes whose elements lie so far apart, in either direction, are read as whole vectors, and shuffled: nearly as cheap as neighbours are. */
enum { SINTER_LOOP_MOST_APART = 4 };
/* The elements of a dense buffer that one more of the variable moves the place of these indices by. False: it is no number. */
bool sinter_loop_stride(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices, sinter_loop_var var,
                        int64_t *out_elements);
/* The same in bytes, rounded down. */
bool sinter_loop_stride_bytes(sinter_loop_builder *builder, sinter_loop_buffer buffer, const sinter_expr *indices,
                              sinter_loop_var var, int64_t *out_bytes);

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

/* The value of an expression is the same wherever in the list it is evaluated: it loads no buffer that the list writes or
 * allocates, reads no variable that the list assigns or declares. */
bool sinter_loop_is_invariant(sinter_expr expr, const sinter_loop_stmt *first);
