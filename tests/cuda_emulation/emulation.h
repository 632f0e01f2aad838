/* What kernels are compiled against in place of a GPU: C++17, included before the text of a module. Each thread of each block
 * runs to its end in order, so this serves kernels without barriers. See launch.h. Test: tests/unit/device_test.c */
#ifndef SINTER_CUDA_EMULATION
#define SINTER_CUDA_EMULATION 1
#include "tests/cuda_emulation/launch.h"
#include <cmath>
#include <cstring>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct sinter_emulated_dim3 {
    unsigned x, y, z;
};
static sinter_emulated_dim3 gridDim, blockDim, blockIdx, threadIdx;

template <class... A> struct sinter_emulated_kernel {
    static constexpr uint32_t sizes[sizeof...(A) + 1] = {uint32_t(sizeof(A))..., 0};
    template <size_t... I>
    static void call(void (*kernel)(A...), void *const *arguments, std::index_sequence<I...>)
    {
        kernel(*static_cast<A *>(arguments[I])...);
    }
    static void run(const sinter_emulated_launch *launch, void (*kernel)(A...))
    {
        gridDim = {launch->grid[0], launch->grid[1], launch->grid[2]};
        blockDim = {launch->block[0], launch->block[1], launch->block[2]};
        for (blockIdx.z = 0; blockIdx.z < gridDim.z; blockIdx.z++)
            for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
                for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
                    for (threadIdx.z = 0; threadIdx.z < blockDim.z; threadIdx.z++)
                        for (threadIdx.y = 0; threadIdx.y < blockDim.y; threadIdx.y++)
                            for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++)
                                call(kernel, launch->arguments, std::index_sequence_for<A...>());
    }
};
template <class... A> sinter_emulated_kernel<A...> sinter_emulated_kind(void (*)(A...));

#define SINTER_EMULATED_KERNEL(name)                                                               \
    extern "C" __attribute__((visibility("default"))) void sinter_emulated_##name(                  \
        const sinter_emulated_launch *launch)                                                      \
    {                                                                                              \
        decltype(sinter_emulated_kind(&name))::run(launch, &name);                                 \
    }                                                                                              \
    extern "C" __attribute__((visibility("default"))) const sinter_emulated_parameters             \
        sinter_emulated_##name##_parameters;                                                       \
    const sinter_emulated_parameters sinter_emulated_##name##_parameters = {                        \
        sizeof decltype(sinter_emulated_kind(&name))::sizes / 4 - 1, 0,                            \
        decltype(sinter_emulated_kind(&name))::sizes};
#endif
