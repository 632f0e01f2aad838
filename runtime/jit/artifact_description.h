/* What an artifact says of itself, for whatever machine it is: its descriptor, read from the file. None of its code is loaded or run.
 * Test: tests/cli/inspect.test, tests/fuzz/artifact_fuzz.c */
#pragma once
#include "ir/base/diag.h"
#include "runtime/abi.h"

typedef struct sinter_artifact_description {
    /* All that it points to is there, but for code and weights: plan, run, weights and, of a device, kernels, host_inputs, explain and the bytes of
     * images are not to be followed. Lives as long as this. */
    const sinter_abi_artifact *artifact;
    const char *machine; /* "x86-64" */
    void *memory;
} sinter_artifact_description;

/* False after an error: the file is no artifact, is damaged, or has a descriptor that holds no water. */
bool sinter_artifact_describe(const char *path, sinter_artifact_description *out_description, sinter_diag *diag);
/* The same of the bytes of a file; path is for messages. */
bool sinter_artifact_describe_image(const char *path, const void *image, size_t size, sinter_artifact_description *out_description,
                                    sinter_diag *diag);
void sinter_artifact_description_deinit(sinter_artifact_description *description); /* zeroed: nothing happens */
