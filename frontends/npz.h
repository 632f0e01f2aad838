/* NumPy's .npz files: zip archives of .npy files, as numpy.savez writes them. Compressed ones are refused, those
 * beyond 4 GiB, and those whose checksums are wrong. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py, tests/cli/run.test */
#pragma once
#include "ir/tensor.h"

bool sinter_npz_is(const void *data, size_t size);
/* The file called `name`.npy inside, copied to memory that is aligned for any element. NULL after an error. */
sinter_storage *sinter_npz_read(const sinter_storage *archive, const char *path, sinter_string name, sinter_diag *diag);
