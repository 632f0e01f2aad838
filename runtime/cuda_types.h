/* The few types and constants of the CUDA driver API that are used, so that the build needs no toolkit. Their values are part of
 * the driver's binary interface. Test: tests/unit/device_test.c */
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef unsigned long long cuda_address; /* CUdeviceptr */
typedef struct CUctx_st *cuda_context;
typedef struct CUmemPoolHandle_st *cuda_pool;
typedef struct CUstream_st *cuda_stream;
typedef struct CUevent_st *cuda_event;
typedef struct CUmod_st *cuda_module;
typedef struct CUfunc_st *cuda_function;
typedef struct CUgraph_st *cuda_graph;
typedef struct CUgraphExec_st *cuda_graph_exec;

typedef struct cuda_pool_properties { /* CUmemPoolProps */
    int allocation;    /* CUDA_POOL_PINNED */
    int handle_types;  /* 0: not shared with other processes */
    int location_type; /* CUDA_POOL_ON_DEVICE */
    int location;      /* device */
    void *security;    /* NULL */
    unsigned char reserved[64];
} cuda_pool_properties;

enum { /* CUresult */
    CUDA_SUCCESS = 0,
    CUDA_ERROR_INVALID_VALUE = 1,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NOT_INITIALIZED = 3,
    CUDA_ERROR_NO_DEVICE = 100,
    CUDA_ERROR_INVALID_DEVICE = 101,
    CUDA_ERROR_INVALID_IMAGE = 200,
    CUDA_ERROR_INVALID_CONTEXT = 201,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_INVALID_PTX = 218,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CUDA_ERROR_INVALID_HANDLE = 400,
    CUDA_ERROR_NOT_FOUND = 500,
    CUDA_ERROR_NOT_READY = 600,
    CUDA_ERROR_ILLEGAL_ADDRESS = 700,
    CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
    CUDA_ERROR_LAUNCH_FAILED = 719,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901,
    CUDA_ERROR_UNKNOWN = 999
};

enum { /* CUdevice_attribute */
    CUDA_BLOCK_THREADS = 1,
    CUDA_WARP = 10,
    CUDA_MULTIPROCESSORS = 16,
    CUDA_ARCHITECTURE_MAJOR = 75,
    CUDA_ARCHITECTURE_MINOR = 76,
    CUDA_SHARED_BYTES = 97, /* a block's, where a kernel opts in */
    CUDA_HAS_POOLS = 115
};

enum {
    CUDA_STREAM_NON_BLOCKING = 1,     /* does not wait for the legacy stream */
    CUDA_EVENT_DEFAULT = 0,           /* waits spin, times are taken */
    CUDA_CAPTURE_THREAD_LOCAL = 1,    /* other threads may do as they like meanwhile */
    CUDA_POOL_PINNED = 1,
    CUDA_POOL_ON_DEVICE = 1,
    CUDA_POOL_RELEASE_THRESHOLD = 4,  /* bytes that the pool keeps for later */
    CUDA_FUNCTION_SHARED_BYTES = 8,   /* most dynamic shared memory of a launch */
    CUDA_JIT_ERROR_LOG = 5,           /* options of cuModuleLoadDataEx */
    CUDA_JIT_ERROR_LOG_BYTES = 6
};

enum { /* of cuTensorMapEncodeTiled */
    CUDA_MAP_ALIGNMENT = 64,
    CUDA_MAP_BYTE = 0, /* type: elements of 1, 2 and 4 bytes, whatever is in them */
    CUDA_MAP_TWO_BYTES = 1,
    CUDA_MAP_FOUR_BYTES = 2,
    CUDA_MAP_SWIZZLE_128 = 3,
    CUDA_MAP_PROMOTE_128 = 2 /* bytes that the second cache fetches at once */
};
