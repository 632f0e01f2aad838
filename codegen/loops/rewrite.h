/* What passes over the loop IR are made of: walking statements and expressions, rebuilding them with variables and
 * buffers replaced, cloning with fresh variables, and index analysis. Rebuilding goes through the builder, so
 * everything that becomes constant folds.
 * Test: tests/unit/loop_property_test.c */
#pragma once
#include "codegen/loops/loop.h"

/* ---- walking ---- */
/* Pre-order over the statements of a list and their bodies; false: not into the bodies of this one. */
typedef bool (*sinter_loop_stmt_visitor)(void *user, sinter_loop_stmt *stmt);
void sinter_loop_walk(sinter_loop_stmt *first, sinter_loop_stmt_visitor visit, void *user);
/* Pre-order over an expression and its operands. */
typedef void (*sinter_loop_expr_visitor)(void *user, sinter_expr expr);
void sinter_loop_walk_expr(sinter_expr expr, sinter_loop_expr_visitor visit, void *user);
/* Those of this one statement, not of its bodies. */
void sinter_loop_walk_stmt_exprs(const sinter_loop_stmt *stmt, sinter_loop_expr_visitor visit, void *user);
/* The expressions of this one statement, not of its bodies, each as a place that can be set. Returns false where visit does. */
typedef bool (*sinter_loop_place_visitor)(void *user, sinter_expr *place);
bool sinter_loop_visit_places(sinter_loop_stmt *stmt, sinter_loop_place_visitor visit, void *user);

bool sinter_loop_expr_uses(sinter_expr expr, sinter_loop_var var);
bool sinter_loop_expr_loads(sinter_expr expr, sinter_loop_buffer buffer); /* 0: any */
/* Only parameters of the function are in it, and nothing is loaded: callers of the function can compute it. */
bool sinter_loop_expr_over_parameters(const sinter_loop_function *function, sinter_expr expr);
bool sinter_loop_exchanges(const sinter_loop_stmt *first); /* somewhere in the list ranks exchange */
/* Anywhere in the list: reads in expressions (also dims of allocated buffers), and assignments where `assigned`. */
bool sinter_loop_list_uses(const sinter_loop_function *function, const sinter_loop_stmt *first, sinter_loop_var var);
bool sinter_loop_list_assigns(const sinter_loop_stmt *first, sinter_loop_var var);

/* ---- rebuilding ---- */
typedef struct sinter_loop_map {
    sinter_loop_builder builder;
    sinter_loop_var first_var;                 /* a nest's variables are neighbours: those below are themselves */
    SINTER_VECTOR(sinter_expr) vars;           /* by variable less the first: what replaces it, NULL: itself */
    SINTER_VECTOR(sinter_loop_buffer) buffers; /* by buffer: what replaces it, 0: itself */
} sinter_loop_map;
/* The expression with what `replace` makes of each of its arguments; itself where these stay as they are. */
typedef sinter_expr (*sinter_loop_expr_replacer)(void *user, sinter_expr expr);
sinter_expr sinter_loop_replace_arguments(sinter_arena *arena, sinter_expr expr, sinter_loop_expr_replacer replace, void *user);
/* In place: each expression of this one statement becomes what `replace` makes of it; the same for the list and all bodies in it. */
void sinter_loop_replace_exprs(sinter_loop_stmt *stmt, sinter_loop_expr_replacer replace, void *user);
void sinter_loop_replace_list(sinter_loop_stmt *first, sinter_loop_expr_replacer replace, void *user);
void sinter_loop_map_init(sinter_loop_map *map, sinter_loop_program *program, sinter_loop_function *function);
void sinter_loop_map_var(sinter_loop_map *map, sinter_loop_var var, sinter_expr replacement);
/* What replaces the variable; NULL: nothing does. */
sinter_expr sinter_loop_mapped_var(const sinter_loop_map *map, sinter_loop_var var);
void sinter_loop_map_buffer(sinter_loop_map *map, sinter_loop_buffer buffer, sinter_loop_buffer replacement);
sinter_expr sinter_loop_map_expr(sinter_loop_map *map, sinter_expr expr);
/* In place, all expressions of the list and the dims of buffers it allocates. */
void sinter_loop_map_list(sinter_loop_map *map, sinter_loop_stmt *first);
/* In place: every access of the list to the buffer (load, store, prefetch; 0: to any) gets the indices that `change` makes of its own,
 * of which there is room for SINTER_MAX_RANK; it returns how many. The buffers' dims are the caller's to change. */
typedef uint32_t (*sinter_loop_index_change)(void *user, sinter_loop_buffer buffer, sinter_expr *indices);
void sinter_loop_change_indices(sinter_arena *arena, sinter_loop_stmt *first, sinter_loop_buffer buffer,
                                sinter_loop_index_change change, void *user);
/* A copy in which everything that the list declares (variables, allocated buffers) is fresh, so that both can stand
 * in one function. */
sinter_loop_stmt *sinter_loop_clone_list(sinter_loop_map *map, const sinter_loop_stmt *first);
/* One statement without its successors. */
sinter_loop_stmt *sinter_loop_clone_stmt(sinter_loop_map *map, const sinter_loop_stmt *stmt);
/* A function with the same tables and ids, sharing expressions; statements and tables are its own. */
sinter_loop_function *sinter_loop_clone_function(sinter_loop_program *program, const sinter_loop_function *function);

/* A branch in front of what hangs there, around lists that hang nowhere; where that hangs now. */
sinter_loop_stmt **sinter_loop_put_branches(sinter_loop_builder *builder, sinter_loop_stmt **link, sinter_expr condition,
                                            sinter_loop_stmt *body, sinter_loop_stmt *else_body);

/* ---- analysis ---- */
/* expr = coefficient * var + rest, neither using var; false where it is not so. i64 only. */
bool sinter_loop_affine(sinter_loop_builder *builder, sinter_expr expr, sinter_loop_var var, sinter_expr *out_coefficient,
                        sinter_expr *out_rest);
/* The number of iterations where it is a constant. */
bool sinter_loop_trip_count(const sinter_loop_stmt *loop, int64_t *out_count);
/* Iterations at most, as far as the ranges of the bounds tell; false where they don't. */
bool sinter_loop_most_trips(const sinter_loop_function *function, const sinter_loop_stmt *loop, int64_t *out_count);
/* The load takes one of 256 bytes, that whose number is a byte: an index that can't miss, of a table that fits registers. */
bool sinter_loop_looks_up(const sinter_loop_function *function, sinter_expr load);
