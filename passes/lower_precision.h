/* The parts of the pass lower-precision. Private to passes/lower_precision*.c. */
#pragma once
#include "passes/pass.h"

/* Products with weights of few bits (lower_precision_blocks.c). */
void sinter_round_blocks(sinter_pass_context *context);
