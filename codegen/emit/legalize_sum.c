/* Sums of products for a target: what a statement adds to what it assigns, `acc = acc + a * b` or the same with an element that
 * it stores, becomes `acc = fma(a, b, acc)`. No other product and sum is rounded once: an element of a graph is what the evaluator
 * makes of it, on every target. Functions that round to even, as quantizations end, keep both roundings, so that quantized results are the
 * same everywhere.
 * Needs: legal values. Guarantees: integers and what is not such a sum stay as they are. Test: tests/codegen/emit_c/sums.loops */
#include "codegen/emit/legalize_expr.h"
#include "codegen/loops/rewrite.h"

/* ---- functions that round to even ---- */

/* Expressions share much: each is looked at once. */
typedef struct rounding_search {
    sinter_map visited;
    bool found;
} rounding_search;

static void search_expr(rounding_search *search, sinter_expr expr) {
    uint64_t seen;
    if (search->found || !expr->argument_count ||
        sinter_map_find(&search->visited, (uintptr_t)expr, &seen))
        return;
    sinter_map_put(&search->visited, (uintptr_t)expr, 1);
    search->found = sinter_loop_is_call(expr, SINTER_SCALAR_round_even);
    for (uint32_t i = 0; i < expr->argument_count; i++) search_expr(search, expr->arguments[i]);
}

static bool search_place(void *user, sinter_expr *place) {
    search_expr(user, *place);
    return true;
}

static bool search_statement(void *user, sinter_loop_stmt *stmt) {
    return sinter_loop_visit_places(stmt, search_place, user);
}

static bool rounds(const sinter_loop_function *function) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    rounding_search search = {0};
    sinter_map_init(&search.visited, &scratch);
    sinter_loop_walk(function->body, search_statement, &search);
    sinter_arena_deinit(&scratch);
    return search.found;
}

bool sinter_legal_may_fuse(const sinter_legalizer *l, const sinter_loop_function *source) {
    return sinter_legal_fuses(l) && !rounds(source);
}

/* ---- sums ---- */

/* What the statement is about to overwrite. */
static bool is_place(const sinter_loop_stmt *stmt, sinter_expr expr) {
    if (stmt->kind == SINTER_LOOP_ASSIGN)
        return expr->kind == SINTER_LOOP_VAR && expr->var == stmt->var;
    if (expr->kind != SINTER_LOOP_LOAD || expr->buffer != stmt->buffer) return false;
    for (uint32_t i = 0; i < stmt->argument_count; i++)
        if (!sinter_loop_expr_equal(expr->arguments[i], stmt->arguments[i])) return false;
    return true;
}

/* The operand of a sum through which the place is reached, by sums alone; -1: none. */
static int spine(const sinter_loop_stmt *stmt, sinter_expr sum) {
    for (int i = 0; i < 2; i++) {
        sinter_expr operand = sum->arguments[i];
        if (is_place(stmt, operand) ||
            (sinter_loop_is_call(operand, SINTER_SCALAR_add) && spine(stmt, operand) >= 0))
            return i;
    }
    return -1;
}

static sinter_expr fuse(sinter_legalizer *l, const sinter_loop_stmt *stmt, sinter_expr value) {
    int through = sinter_loop_is_call(value, SINTER_SCALAR_add) ? spine(stmt, value) : -1;
    if (through < 0) return value;
    sinter_expr rest = fuse(l, stmt, value->arguments[through]),
                added = value->arguments[1 - through];
    if (sinter_loop_is_call(added, SINTER_SCALAR_mul)) {
        const sinter_expr operands[] = {added->arguments[0], added->arguments[1], rest};
        return sinter_loop_call(&l->build, SINTER_SCALAR_fma, operands);
    }
    return through ? sinter_loop_add(&l->build, added, rest)
                   : sinter_loop_add(&l->build, rest, added);
}

sinter_expr sinter_legal_sum(sinter_legalizer *l, const sinter_loop_stmt *stmt, sinter_expr value) {
    bool stores = stmt->kind == SINTER_LOOP_STORE && stmt->combine == SINTER_SCALAR_NONE;
    if (!value || (!stores && stmt->kind != SINTER_LOOP_ASSIGN) ||
        (value->dtype != SINTER_DTYPE_f32 && value->dtype != SINTER_DTYPE_f64))
        return value;
    return fuse(l, stmt, value);
}
