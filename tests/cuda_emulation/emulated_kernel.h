/* The contract between the emulated driver (libcuda.so.1 of the tests, C) and kernels that were compiled for it (C++, against
 * emulation.h): what a compiled module exports, and what a launch hands to it.
 *
 * A module is a shared object made of one text, the one that NVRTC would get:
 *     c++ -x c++ -std=c++17 -O1 -fPIC -shared -fno-strict-aliasing -ffp-contract=off -include tests/cuda_emulation/emulation.h
 * with one line behind the text, which names its kernels and exports sinter_emulated_kernels():
 *     SINTER_EMULATED_MODULE(SINTER_EMULATED_KERNEL(add_3) SINTER_EMULATED_KERNEL(softmax_4))
 * Kernels are found in the text by `extern "C" __global__ void`, an optional ` __launch_bounds__(...)`, a space, the name, `(`.
 * The text never includes a header. What NVRTC needs and a C++ compiler must not see stands under #ifdef __CUDACC_RTC__.
 *
 * Parameters of a kernel are 8 bytes each, but for maps, as runtime/abi.h says of devices. A launch runs one block after the other on the
 * calling thread, and threads of a block as fibers, which change only at barriers and warp operations; launches of one module
 * do not overlap. Every finding of a check goes to host->finding, and the launch goes on where it can.
 * Test: tests/cuda_emulation/ */
#ifndef SINTER_EMULATED_KERNEL_H
#define SINTER_EMULATED_KERNEL_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* Added up over a launch. A request is one access of one warp: 32 threads with the same statement. A sector is 32 bytes. */
typedef struct sinter_emulated_counters {
    uint64_t global_requests, global_sectors, global_least_sectors; /* as many as the bytes that a request touches would fill */
    uint64_t shared_requests, shared_waves, shared_least_waves; /* waves: as many as the least without bank conflicts */
    uint64_t barriers;                                      /* of blocks */
} sinter_emulated_counters;

typedef struct sinter_emulated_host {
    void *user;
    /* The allocation on the device that holds the address, or ends there: 1; 0 where there is none. */
    int (*find)(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes);
    void (*finding)(void *user, const char *kernel, const char *text);
} sinter_emulated_host;

typedef struct sinter_emulated_launch {
    uint32_t grid[3], block[3];
    uint32_t shared_bytes;
    uint32_t argument_count;
    void *const *arguments; /* as cuLaunchKernel has them: the address of each value */
    const sinter_emulated_host *host;
    sinter_emulated_counters *counters; /* added to; NULL: nobody counts, which is faster */
} sinter_emulated_launch;

/* What cuTensorMapEncodeTiled makes for kernels: dims innermost first. A parameter of 128 bytes. */
enum { EMULATED_MAP_RANK = 5, EMULATED_MAP_BYTES = 128, EMULATED_MAP_MAGIC = 0x70616d54 };
typedef struct sinter_emulated_map {
    uint64_t address, dims[EMULATED_MAP_RANK], strides[EMULATED_MAP_RANK - 1]; /* bytes, but of the innermost */
    uint32_t sizes[EMULATED_MAP_RANK], rank, element_bytes, magic;
} sinter_emulated_map;

typedef struct sinter_emulated_kernel {
    const char *name;
    uint32_t parameter_count;
    uint32_t map_count; /* parameters of 128 bytes, behind the others */
    void (*launch)(const struct sinter_emulated_kernel *kernel, const sinter_emulated_launch *launch);
} sinter_emulated_kernel;

/* What a module exports by the name "sinter_emulated_kernels". */
typedef const sinter_emulated_kernel *(*sinter_emulated_kernels_function)(uint32_t *out_count);

#ifdef __cplusplus
}
#endif
#endif
