/* What `device_beside` times: something that puts the same work into a stream of a device, again and again. Inputs and
 * outputs lie on the device. Functions that return bool say why not on standard error. Test: tests/cli/device_beside.test */
#pragma once
#include "runtime/device.h"

enum { DEVICE_BENCH_MOST = 256 }; /* inputs, and outputs, of a model: a cache of keys and values has many */

typedef struct device_bench {
    sinter_device *device;
    const sinter_device_driver *driver; /* of the device */
    sinter_device_stream *stream;
    sinter_abi_tensor inputs[DEVICE_BENCH_MOST], outputs[DEVICE_BENCH_MOST]; /* data on the device */
    uint32_t input_count, output_count;
} device_bench;

typedef struct device_contestant {
    void *state;
    bool (*enqueue)(void *state); /* one run into the bench's stream */
    bool (*finish)(void *state);  /* waits for those that were put there; what went wrong in them is said here */
    sinter_abi_tensor output;     /* what can be compared with the first output of others, on the device; no data: nothing */
    void (*destroy)(void *state);
} device_contestant;

/* Prints and destroys a status that is none of success. */
bool device_bench_fine(sinter_status *status);

/* "LIBRARY:NN" (NT, TN, TT: which operands are transposed): the product of the first two inputs, of f32, f16 or bf16, over all leading dims, by
 * cuBLASLt. "NN,tf32": factors of f32 may be rounded to tf32. The output has the first output's type. */
bool device_contestant_open_cublaslt(const char *what, const device_bench *bench, device_contestant *out);
