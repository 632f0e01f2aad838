/* What a convolution adds around its input, in numbers, and the same done to the input itself. Needs inferred types.
 * Test: tests/passes/recognize_integer/zero.sir, tests/passes/split_padding/ */
#pragma once
#include "ir/rewrite.h"

typedef struct sinter_window_borders {
    uint32_t first;   /* spatial axis of the input, of those that follow each other */
    uint32_t spatial; /* how many there are */
    int64_t before[SINTER_MAX_RANK], after[SINTER_MAX_RANK];
    bool any;
} sinter_window_borders;
/* Of a conv or conv_integer; auto_pad is read too. False where they depend on a dim that is no number. */
bool sinter_window_read_borders(const sinter_module *module, sinter_node node, sinter_window_borders *out);
/* x with them, filled with that scalar; 0: with zeros. Returns 0 after an error. */
sinter_value sinter_window_pad(sinter_rewrite *rewrite, sinter_value x, const sinter_window_borders *borders, sinter_value fill);
