/* The outside of an artifact file: everything that can be known before its code is loaded. Test: tests/unit/loader_test.c,
 * tests/fuzz/artifact_fuzz.c */
#pragma once
#include "runtime/sinter_runtime.h"

typedef struct sinter_artifact_file {
    sinter_abi_trailer trailer;
    const char *features; /* inside the image */
} sinter_artifact_file;

const char *sinter_artifact_machine_name(uint32_t machine); /* e_machine: "x86-64" */
/* The file as it is open, mapped for reading: munmap is the caller's. */
sinter_status *sinter_artifact_map(const char *path, int file, void **out_image, size_t *out_size);
/* image: the whole file. Checks sizes and the checksums of all but the weights, whatever machine it is for. path is for messages. */
sinter_status *sinter_artifact_check_parts(const char *path, const void *image, size_t size, sinter_artifact_file *out_file);
/* Tells one artifact from another: one sum of its code, weights, features and machine, which its trailer has. */
sinter_status *sinter_artifact_read_checksum(const char *path, uint64_t *out_checksum);
/* Checks as sinter_artifact_check_parts does, the weights too with `verify`, and that this machine and its CPU are what it was compiled for. */
sinter_status *sinter_artifact_check(const char *path, const void *image, size_t size, bool verify,
                                     sinter_artifact_file *out_file);
