/* Samples that lie in a folder, one tensor file each. Test: tests/cli/compress.test */
#pragma once
#include "ir/tensor.h"

bool sinter_sample_folder_is(const char *path);
/* All tensors of input `index` one after the other along their first axis: the .pb and .npy files of the folder in the order of their names,
 * numbers in them by size; where it has none, input_INDEX.pb of each folder in it, as ONNX's data sets are laid out. False after an
 * error: there are none, or their types or other axes differ. */
bool sinter_sample_folder_read(const char *path, size_t index, sinter_tensor *out_tensor, sinter_diag *diag);
