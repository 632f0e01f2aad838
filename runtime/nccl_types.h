/* The few types and constants of NCCL that are used, so that the build needs none of it. Their values are part of its binary interface since
 * 2.14; later versions take that one's configuration. Test: tests/unit/nccl_test.c */
#pragma once
#include "runtime/cuda_types.h"

typedef struct ncclComm *nccl_communicator;
typedef struct nccl_identity { /* ncclUniqueId */
    char bytes[128];
} nccl_identity;
typedef struct nccl_config { /* ncclConfig_t of 2.14 */
    size_t size;
    unsigned magic, version; /* NCCL_CONFIG_MAGIC, NCCL_LEAST_VERSION */
    int blocking;
} nccl_config;

enum { NCCL_LEAST_VERSION = 21400 };
#define NCCL_CONFIG_MAGIC 0xcafebeefu

enum { /* ncclResult_t */
    NCCL_SUCCESS = 0,
    NCCL_UNHANDLED_CUDA_ERROR = 1,
    NCCL_SYSTEM_ERROR = 2,
    NCCL_INTERNAL_ERROR = 3,
    NCCL_INVALID_ARGUMENT = 4,
    NCCL_INVALID_USAGE = 5,
    NCCL_REMOTE_ERROR = 6,
    NCCL_IN_PROGRESS = 7
};

enum { /* ncclDataType_t */
    NCCL_INT8 = 0,
    NCCL_UINT8 = 1,
    NCCL_INT32 = 2,
    NCCL_UINT32 = 3,
    NCCL_INT64 = 4,
    NCCL_UINT64 = 5,
    NCCL_FLOAT32 = 7,
    NCCL_FLOAT64 = 8
};
/* ncclRedOp_t: sum, prod, max, min are numbered as SINTER_ABI_SUM ... are */
