/* Inside of executables: what the loader (load.c) fills and runs (executable.c) use. Test: tests/unit/executable_test.c */
#pragma once
#include "runtime/sinter_runtime.h"

struct sinter_executable {
    const sinter_abi_artifact *artifact;
    const void *weights;
    sinter_allocator allocator;
    bool has_allocator;
    void *library; /* of dlopen; NULL: wrapped */
    void *mapping; /* of the weights; NULL: none of ours */
    size_t mapping_bytes;
};

sinter_status *sinter_executable_make(const sinter_abi_artifact *artifact, const void *weights,
                                      const sinter_allocator *allocator, sinter_executable **out_executable);
/* Closes the library and unmaps the weights. */
void sinter_executable_unload(sinter_executable *executable);
/* A path by which dlopen takes the open file for one that it has not seen. */
enum { SINTER_DESCRIPTOR_PATH = 256 };
void sinter_descriptor_path(int file, char *out_path);
