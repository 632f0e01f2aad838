/* Made-up inputs, the same for the same seed, for what only wants to see a model run. Test: tests/cli/run.test */
#pragma once
#include "ir/tensor.h"

/* Uniform in [-1, 1) for floats; anything that integers below a byte can be; 0 or 1 for others, which index something more often than
 * not. The state is a seed first. */
void sinter_inputs_fill(sinter_tensor *tensor, uint64_t *state);
/* What a tensor of the type is filled with: "-1 to 1", "0 and 1", ... */
const char *sinter_inputs_describe(sinter_dtype dtype);
