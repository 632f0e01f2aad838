/* What a compiled CUDA module says of its kernels: registers, memory of a block and of a thread. Test: tests/unit/cubin_test.c */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct sinter_cubin_kernel {
    uint32_t registers;    /* of a thread */
    uint32_t shared_bytes; /* of a block, declared */
    uint32_t stack_bytes;  /* of a thread, in local memory: spilled registers, arrays with moving indices */
} sinter_cubin_kernel;

/* Of the kernel with this symbol; false where the image is no cubin, or says nothing of it. Nothing outside of the image is read,
 * whatever is in it. */
bool sinter_cubin_find(const void *image, size_t size, const char *symbol, sinter_cubin_kernel *out_kernel);
