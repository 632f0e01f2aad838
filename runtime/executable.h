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
    uint64_t checksum; /* of its file: sinter_artifact_read_checksum; 0: wrapped */
    struct sinter_device_code *device_code; /* NULL: runs on the host */
};

sinter_status *sinter_executable_make(const sinter_abi_artifact *artifact, const void *weights,
                                      const sinter_allocator *allocator, sinter_executable **out_executable);
/* Closes the library and unmaps the weights. */
void sinter_executable_unload(sinter_executable *executable);
/* Loads the code for the device (NULL: none was asked for); what does not fit together is an error, after which the executable
 * is destroyed and *executable NULL. */
sinter_status *sinter_executable_start(sinter_executable **executable, sinter_device *device);

/* ---- runs, for device_code.c ---- */
/* Inputs are const by contract; abi.h has one type for both. */
sinter_abi_tensor *sinter_executable_inputs(const sinter_abi_tensor *inputs);
sinter_status *sinter_executable_check_arguments(const sinter_executable *executable, const sinter_abi_tensor *inputs,
                                                 const sinter_abi_tensor *outputs);
sinter_status *sinter_executable_check_overlaps(const sinter_abi_artifact *artifact, const sinter_abi_tensor *inputs,
                                                const sinter_abi_tensor *outputs);
sinter_status *sinter_executable_failure(const sinter_abi_call *call, int32_t code);
/* Frees what was allocated for outputs before a run failed; given: by output, whether it was the caller's. */
void sinter_executable_drop_outputs(const sinter_abi_call *call, const unsigned char *given, uint32_t count);
void *sinter_service_allocate(const sinter_abi_services *services, size_t bytes); /* 64-byte aligned */
void sinter_service_deallocate(const sinter_abi_services *services, void *pointer, size_t bytes);

/* A path by which dlopen takes the open file for one that it has not seen. */
enum { SINTER_DESCRIPTOR_PATH = 256 };
void sinter_descriptor_path(int file, char *out_path);
