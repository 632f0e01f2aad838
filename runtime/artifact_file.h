/* The outside of an artifact file: everything that can be known before its code is loaded. Test: tests/unit/loader_test.c,
 * tests/fuzz/artifact_fuzz.c */
#pragma once
#include "runtime/sinter_runtime.h"

typedef struct sinter_artifact_file {
    sinter_abi_trailer trailer;
    const char *features; /* inside the image */
} sinter_artifact_file;

/* image: the whole file. Checks sizes, checksums of all but the weights (of those too with `verify`), machine and CPU
 * features. path is for messages. */
sinter_status *sinter_artifact_check(const char *path, const void *image, size_t size, bool verify,
                                     sinter_artifact_file *out_file);
