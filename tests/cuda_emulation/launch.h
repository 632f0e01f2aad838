/* The contract between the emulated driver and the kernels that the emulated NVRTC compiled for the CPU.
 *
 * A "cubin" of the emulation is a host shared object: the text that NVRTC would get, compiled by a C++17 compiler after
 * `#include "tests/cuda_emulation/emulation.h"`, which defines SINTER_CUDA_EMULATION. What of the text has to be swapped (the
 * prelude that wraps PTX) stands in `#ifndef SINTER_CUDA_EMULATION` there. After the text comes one line
 * SINTER_EMULATED_KERNEL(name) for each `extern "C" __global__ void name(...)`, which defines, with C linkage,
 *
 *     void sinter_emulated_name(const sinter_emulated_launch *launch);        runs the whole grid before it returns
 *     const sinter_emulated_parameters sinter_emulated_name_parameters;       what cuLaunchKernel and cuFuncGetAttribute want
 *
 * The driver calls the first for cuLaunchKernel. This header is C17 and C++17. Test: tests/unit/device_test.c */
#ifndef SINTER_CUDA_EMULATION_LAUNCH_H
#define SINTER_CUDA_EMULATION_LAUNCH_H
#include <stddef.h>
#include <stdint.h>

/* One allocation of the device, as the registry knows it. */
typedef struct sinter_emulated_block {
    uintptr_t start;
    uint64_t bytes;
    uint64_t serial; /* of the allocation: another one at the same place has another */
} sinter_emulated_block;

/* What kernels ask of the driver that launches them. */
typedef struct sinter_emulated_host {
    void *user;
    /* The live allocation that holds the address; 0 where there is none. Kernels on one thread; cheap enough to ask for every
     * parameter of a launch, not for every access. */
    int (*find_block)(void *user, uintptr_t address, sinter_emulated_block *out_block);
    /* Something that a kernel must not do (out of bounds, a race, ...): one line. The launch then counts as failed, with
     * CUDA_ERROR_ILLEGAL_ADDRESS at the next synchronisation, and the line goes to standard error. */
    void (*report)(void *user, const char *finding);
    /* Counters of a launch by name ("sectors", "bank_conflicts"), summed by kernel; written as JSON lines to the file that
     * SINTER_EMULATION_COUNTERS names when the context is destroyed. */
    void (*count)(void *user, const char *counter, uint64_t amount);
} sinter_emulated_host;

typedef struct sinter_emulated_launch {
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;  /* dynamic */
    uint32_t reserved;
    void *const *arguments; /* as for cuLaunchKernel: the address of each parameter */
    const char *kernel;
    const sinter_emulated_host *host;
} sinter_emulated_launch;

typedef struct sinter_emulated_parameters {
    uint32_t count;
    uint32_t shared_bytes;      /* declared in the code */
    const uint32_t *sizes;      /* of each, in bytes */
} sinter_emulated_parameters;

#endif
