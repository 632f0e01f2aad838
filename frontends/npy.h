/* NumPy's .npy files. Element types that NumPy lacks travel as raw bytes ('V1', 'V2') or, below a byte, one
 * element a byte; the expected type says what they are. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py */
#pragma once
#include "ir/base/file.h"
#include "ir/tensor.h"

bool sinter_npy_is(const void *data, size_t size);
/* The tensor shares the mapped file where the layout allows. `expected` is NONE where not known. */
bool sinter_npy_read(sinter_storage *file, const char *path, sinter_dtype expected, sinter_tensor *out_tensor,
                     sinter_diag *diag);
/* False (with an error) for what the format can't hold: sequences and optionals. */
bool sinter_npy_write(sinter_file_writer *file, const sinter_tensor *tensor, sinter_diag *diag);
