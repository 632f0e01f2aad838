/* sinter-opt on the loop IR: FILE.loops, options --loop-..., see loops.c. */
#pragma once
#include "ir/base/diag.h"

#include <stdio.h>

/* Whether the arguments speak of a loop program: a file that ends in .loops, or --loops. */
bool sinter_opt_is_loops(int argc, char **argv);
/* The exit status. */
int sinter_opt_loops(int argc, char **argv, sinter_diag *diag);
/* Prints what sinter-opt does with loops: options, and the verbs of codegen/schedule/schedule.def. */
void sinter_opt_loops_help(FILE *file);
/* The value of --name=VALUE; NULL where argument is something else. */
const char *sinter_opt_value(const char *argument, const char *name);
