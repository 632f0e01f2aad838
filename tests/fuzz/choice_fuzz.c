/* The reader of problems of choices on any bytes: no crash, no refusal without a word, and what it accepts prints to text that reads back
 * and prints the same, and small problems are solved: within the limit where it says so, by the cost it says. */
#include "passes/choice_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SOLVED_NODES = 64, SOLVED_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void solve(const sinter_choice_problem *problem, const sinter_choice_limit *limit) {
    uint32_t choices[SOLVED_NODES];
    sinter_choice_result found = sinter_choice_solve_within(problem, limit, 256, 4, choices);
    if (problem->nodes.count && found.fits && found.held > limit->most) abort();
    for (size_t i = 0; i < problem->nodes.count; i++)
        if (choices[i] >= problem->nodes.items[i].option_count) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_text first = {0}, second = {0};
    sinter_arena arena;
    sinter_choice_problem problem;
    sinter_choice_limit limit;
    sinter_arena_init(&arena);
    if (!sinter_choice_parse("fuzz", (const char *)data, size, &arena, &problem, &limit, &diag)) {
        if (diag.error_count == 0) abort();
        sinter_arena_deinit(&arena);
        return 0;
    }
    if (problem.nodes.count <= SOLVED_NODES && size <= SOLVED_BYTES) solve(&problem, &limit);
    sinter_choice_print(&problem, &limit, &first);
    if (!sinter_choice_parse("again", first.data, first.size, &arena, &problem, &limit, NULL))
        abort();
    sinter_choice_print(&problem, &limit, &second);
    if (strcmp(first.data, second.data) != 0) abort();
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    sinter_arena_deinit(&arena);
    return 0;
}
