/* Problems of choices in the format of the ASPLOS / EuroSys 2025 contest on sharding (github.com/google/iopddl): JSON with the costs of
 * nodes, and of edges between them, and what each option uses of a device's memory while its node is alive. Test: tests/unit/choice_limit_test.c,
 * tests/fuzz/choice_fuzz.c */
#pragma once
#include "ir/base/diag.h"
#include "passes/choice.h"

enum { SINTER_CHOICE_MAX_NODES = 1 << 20 };

/* In the arena. limit->most is INFINITY where the file says none. Edges of one node are added to its costs; edges of more than two,
 * and whatever does not fit together, are refused. */
bool sinter_choice_parse(const char *path, const char *text, size_t size, sinter_arena *arena, sinter_choice_problem *out_problem,
                         sinter_choice_limit *out_limit, sinter_diag *diag);
/* Reads back to the same, costs and what is held being whole numbers. */
void sinter_choice_print(const sinter_choice_problem *problem, const sinter_choice_limit *limit, sinter_text *text);
