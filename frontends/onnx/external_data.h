/* Tensors whose bytes are in files beside the model. Each file is mapped once. A location is a relative path
 * that stays inside the model's folder: absolute paths, "..", and links that lead out of it are refused, so that
 * a model from elsewhere can't read this machine's files. Test: tests/suites/bad_input.py */
#pragma once
#include "ir/tensor.h"

typedef struct sinter_external_file {
    const char *location;
    sinter_storage *storage;
} sinter_external_file;

typedef struct sinter_external_data {
    sinter_arena *arena;
    const char *folder; /* NULL: the model has no folder (it came from memory) */
    SINTER_VECTOR(sinter_external_file) files;
} sinter_external_data;

void sinter_external_data_deinit(sinter_external_data *external);
/* The mapped file, which `external` keeps; NULL after an error at `where`. */
sinter_storage *sinter_external_data_open(sinter_external_data *external, const char *location, const char *where,
                                          sinter_diag *diag);
