/* What the emulated driver says of itself, its device and its errors. See driver.c. Test: tests/unit/device_test.c */
#include "tests/cuda_emulation/driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define end emulation_end

int cuDriverGetVersion(int *out_version) { /* before cuInit as well */
    int begun = emulation_begin(__func__, false);
    if (begun && begun != CUDA_ERROR_NOT_INITIALIZED) return end(begun);
    *out_version = (int)emulation_number("SINTER_EMULATION_VERSION", 12040);
    return end(0);
}

static const struct {
    int code;
    const char *name, *text;
} errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

int cuGetErrorName(int error, const char **out_name) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == error) return *out_name = errors[i].name, 0;
    return *out_name = NULL, CUDA_ERROR_INVALID_VALUE;
}

int cuGetErrorString(int error, const char **out_text) {
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == error) return *out_text = errors[i].text, 0;
    return *out_text = NULL, CUDA_ERROR_INVALID_VALUE;
}

int cuDeviceGetCount(int *out_count) {
    BEGIN(false);
    *out_count = emulation_device_count();
    return end(0);
}

int cuDeviceGet(int *out_device, int ordinal) {
    BEGIN(false);
    *out_device = ordinal;
    return end(ordinal < 0 || ordinal >= emulation_device_count() ? CUDA_ERROR_INVALID_DEVICE : 0);
}

/* Processes of one machine see the same devices. */
int cuDeviceGetUuid_v2(unsigned char out_uuid[16], int device) {
    BEGIN(false);
    memcpy(out_uuid, "emulated device ", 16);
    out_uuid[15] = (unsigned char)('0' + device);
    return end(0);
}

int cuDeviceGetName(char *name, int size, int device) {
    BEGIN(false);
    snprintf(name, (size_t)size, "Emulated GPU %d", device);
    return end(0);
}

int cuDeviceTotalMem_v2(size_t *out_bytes, int device) {
    BEGIN(false);
    (void)device;
    *out_bytes = emulation_memory_bytes();
    return end(0);
}

int cuDeviceGetAttribute(int *out_value, int attribute, int device) {
    const int architecture = (int)emulation_number("SINTER_EMULATION_ARCHITECTURE", 90);
    const int values[][2] = {{CUDA_BLOCK_THREADS, 1024},
                             {CUDA_WARP, 32},
                             {CUDA_MULTIPROCESSORS, 132},
                             {CUDA_ARCHITECTURE_MAJOR, architecture / 10},
                             {CUDA_ARCHITECTURE_MINOR, architecture % 10},
                             {CUDA_SHARED_BYTES, EMULATION_SHARED_BYTES},
                             {CUDA_HAS_POOLS, 1}};
    BEGIN(false);
    (void)device;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        if (values[i][0] == attribute) return *out_value = values[i][1], end(0);
    return end(CUDA_ERROR_INVALID_VALUE);
}
