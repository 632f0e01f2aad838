/* Values of a model seen over all samples, run by run, by the compression's runner. Test: tests/passes/quantize_activations/ */
#pragma once
#include "passes/compression.h"

/* Heard of each run: a tensor a value, in their order; the mask of its rows or NULL (samples.h). False ends it, after an error. */
typedef bool (*sinter_stream_visit)(void *user, const sinter_tensor *tensors, const sinter_tensor *mask);
/* The compression has data. False after an error. step: what progress is reported of. */
bool sinter_stream_values(sinter_module *module, const sinter_compression *compression, const char *step,
                          const sinter_value *values, size_t count, sinter_stream_visit visit, void *user,
                          sinter_diag *diag);
/* Whether the mask says of rows (along the last axis) of the tensor which count; *out_width: elements a row. */
bool sinter_stream_is_masked(const sinter_tensor *tensor, const sinter_tensor *mask, int64_t *out_width);
