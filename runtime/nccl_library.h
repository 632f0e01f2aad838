/* libnccl.so.2 of the process, opened when it is first asked for. Test: tests/unit/nccl_test.c */
#pragma once
#include "runtime/nccl_types.h"
#include "runtime/sinter_runtime.h"

typedef struct nccl_functions {
#define NCCL(name, symbol, parameters) int(*name) parameters;
#define NCCL_TEXT(name, symbol, parameters) const char *(*name)parameters;
#include "runtime/nccl_symbols.def"
#undef NCCL
#undef NCCL_TEXT
    int number; /* of the version: 21400 is 2.14.0 */
} nccl_functions;

/* Looked for in the folder that SINTER_CUDA_PATH names, then where the system's loader looks. SINTER_STATUS_NO_DEVICE where there is none, or
 * one that is too old, with what was found. It stays in the process. */
sinter_status *sinter_nccl_open_library(nccl_functions *out_call);
