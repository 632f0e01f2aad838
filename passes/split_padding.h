/* Which convolutions have lanes go along the last spatial axis rather than along channels. Needs inferred types.
 * Test: tests/passes/split_padding/ */
#pragma once
#include "passes/pass.h"

/* A convolution in f32 to so few channels that most of a vector would be empty along them, wide enough, and with work enough for each
 * element of the input that it pays to move that once. bindings: of symbols (sinter_dim_assume). */
bool sinter_conv_goes_along_width(const sinter_pass_context *context, sinter_node node, const int64_t *bindings);
