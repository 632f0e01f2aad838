/* Long sums of bytes on CPUs: products and sums of i64, which a pass makes where 32 bits may not hold them, go in chunks that 32 bits do
 * hold (--loop-narrow). Where the run alone knows how many steps there are, the nest of the loops around the sum is there twice, as long as
 * another loop is around it: a run of one chunk, the usual one, is what it would be if its length were known.
 * Needs: kernels as lowering made them. Guarantees: the same values. Test: tests/codegen/schedule/narrow_sums.loops */
#include "codegen/loops/access.h"
#include "codegen/schedule/cpu.h"

typedef struct sum {
    sinter_loop_var loop, accumulator;
    sinter_loop_var outer; /* of the perfect nest around it, with a loop around; 0: none */
} sum;
typedef SINTER_VECTOR(sum) sum_list;

/* The variable that the loop's body, declarations aside, is one step of; 0: none. */
static sinter_loop_var stepped(const sinter_loop_stmt *loop) {
    const sinter_loop_stmt *stmt = loop->body;
    while (stmt && stmt->kind == SINTER_LOOP_DECLARE) stmt = stmt->next;
    return stmt && stmt->kind == SINTER_LOOP_ASSIGN && !stmt->next ? stmt->var : 0;
}

/* What it adds is a product of something of each row with something of each column: the iterations of both loops share what they load. */
static bool multiplies(const sinter_loop_stmt *loop, sinter_loop_var row, sinter_loop_var column,
                       sinter_arena *scratch) {
    sinter_loop_access_list loads = {0};
    bool of_rows = false, of_columns = false;
    sinter_loop_collect_accesses(scratch, loop->body, &loads);
    for (size_t i = 0; i < loads.count; i++) {
        of_rows |= !sinter_loop_access_uses(&loads.items[i], column);
        of_columns |= !sinter_loop_access_uses(&loads.items[i], row);
    }
    return of_rows && of_columns;
}

/* The loops of a list: path, the serial loops around it, each all that the body of the one before has, outermost first; depth: all around
 * the list. A nest of rows and columns is forked, rows of one sum each are not. */
static void find_sums(const sinter_loop_function *function, const sinter_loop_stmt *first,
                      const sinter_loop_var *path, uint32_t length, uint32_t depth,
                      sinter_arena *scratch, sum_list *list) {
    sinter_loop_var inner[SINTER_MAX_RANK];
    for (const sinter_loop_stmt *stmt = first; stmt; stmt = stmt->next) {
        if (stmt->kind != SINTER_LOOP_FOR) {
            find_sums(function, stmt->body, NULL, 0, depth, scratch, list);
            find_sums(function, stmt->else_body, NULL, 0, depth, scratch, list);
            continue;
        }
        sinter_loop_var var = sinter_loop_is_serial(stmt) ? stepped(stmt) : 0;
        if (var && function->vars.items[var].dtype == SINTER_DTYPE_i64) {
            bool around = length >= 2 && depth > 2 &&
                          multiplies(stmt, path[length - 2], path[length - 1], scratch);
            const sum one = {stmt->var, var, around ? path[length - 2] : 0};
            sinter_vector_push(scratch, list, one);
            continue;
        }
        bool alone = sinter_loop_is_serial(stmt) && !stmt->next && stmt == first;
        uint32_t count = 0;
        for (uint32_t i = 0; alone && i < length && count + 1 < SINTER_MAX_RANK; i++)
            inner[count++] = path[i];
        if (sinter_loop_is_serial(stmt)) inner[count++] = stmt->var;
        find_sums(function, stmt->body, inner, count, depth + 1, scratch, list);
    }
}

void sinter_schedule_cpu_narrow_sums(sinter_schedule_cpu_state *state) {
    const sinter_loop_function *function = state->schedule.function;
    sum_list sums = {0};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    find_sums(function, function->body, NULL, 0, 0, &scratch, &sums);
    for (size_t i = 0; i < sums.count; i++) {
        sinter_narrow_sum asked = {.loop = sums.items[i].loop,
                                   .accumulator = sums.items[i].accumulator,
                                   .outer = sums.items[i].outer};
        sinter_schedule_narrow(&state->schedule, &asked); /* or its elements are wide */
    }
    sinter_arena_deinit(&scratch);
}
