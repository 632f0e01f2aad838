/* Tensor maps of the emulated driver: what cuTensorMapEncodeTiled asks of its arguments (CUDA driver API, "Tensor Map Object Management"), and the
 * form in which kernels of emulation.h get them. Test: tests/unit/device_test.c */
#include "tests/cuda_emulation/driver.h"

#include <string.h>

enum { MOST_SIZE = 256, PIECE = 16, SWIZZLED_ROW = 128 };

int cuTensorMapEncodeTiled(void *out_map, int type, unsigned rank, void *address,
                           const uint64_t *dims, const uint64_t *strides, const uint32_t *sizes,
                           const uint32_t *steps, int interleave, int swizzle, int promotion,
                           int outside) {
    static const uint32_t bytes[] = {1, 2, 4}; /* by type */
    const uint64_t most_dim = UINT64_C(1) << 32, most_stride = UINT64_C(1) << 40;
    BEGIN(true);
    bool good = (uintptr_t)out_map % CUDA_MAP_ALIGNMENT == 0 && type >= 0 &&
                type <= CUDA_MAP_FOUR_BYTES && rank >= 1 && rank <= EMULATED_MAP_RANK &&
                (uintptr_t)address % PIECE == 0 && interleave == 0 &&
                swizzle == CUDA_MAP_SWIZZLE_128 && promotion >= 0 && promotion <= 3 && outside == 0;
    for (unsigned i = 0; good && i < rank; i++) {
        good = dims[i] && dims[i] <= most_dim && sizes[i] && sizes[i] <= MOST_SIZE && steps[i] == 1;
        if (i) good = good && strides[i - 1] % PIECE == 0 && strides[i - 1] < most_stride;
    }
    if (good) good = sizes[0] * bytes[type] % PIECE == 0 && sizes[0] * bytes[type] <= SWIZZLED_ROW;
    if (!good) return emulation_end(CUDA_ERROR_INVALID_VALUE);
    sinter_emulated_map map = {.magic = EMULATED_MAP_MAGIC,
                               .address = (uintptr_t)address,
                               .rank = rank,
                               .element_bytes = bytes[type]};
    for (unsigned i = 0; i < rank; i++) {
        map.dims[i] = dims[i];
        map.sizes[i] = sizes[i];
        if (i) map.strides[i - 1] = strides[i - 1];
    }
    memset(out_map, 0, EMULATED_MAP_BYTES);
    memcpy(out_map, &map, sizeof map);
    return emulation_end(CUDA_SUCCESS);
}
