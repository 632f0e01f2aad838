/* See nccl_library.h. Test: tests/unit/nccl_test.c */
#include "runtime/nccl_library.h"
#include "runtime/status.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *open_file(void) {
    const char *folder = getenv("SINTER_CUDA_PATH");
    char path[4096];
    int size = folder ? snprintf(path, sizeof path, "%s/libnccl.so.2", folder) : 0;
    bool named = size > 0 && size < (int)sizeof path && access(path, F_OK) == 0;
    /* It starts threads that outlive a close. */
    return dlopen(named ? path : "libnccl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

sinter_status *sinter_nccl_open_library(nccl_functions *out_call) {
    void *library = open_file();
    const char *missing = NULL;
    if (!library)
        return SINTER_FAIL(SINTER_STATUS_NO_DEVICE, "NCCL can't be opened: %s", dlerror());
#define FIND(name, symbol)                                                                         \
 do {                                                                                              \
  void *address = dlsym(library, #symbol);                                                         \
  memcpy(&out_call->name, &address, sizeof address); /* ISO C has no such cast */                  \
  if (!address && !missing) missing = #symbol;                                                     \
 } while (0);
#define NCCL(name, symbol, parameters) FIND(name, symbol)
#define NCCL_TEXT(name, symbol, parameters) FIND(name, symbol)
#include "runtime/nccl_symbols.def"
#undef NCCL
#undef NCCL_TEXT
#undef FIND
    int version = 0;
    if (out_call->version && out_call->version(&version) != NCCL_SUCCESS) version = 0;
    const int major = version < 10000 ? 1000 : 10000; /* up to 2.8 */
    out_call->number = version;
    if (version >= NCCL_LEAST_VERSION && !missing) return NULL;
    return SINTER_FAIL(
        SINTER_STATUS_NO_DEVICE, "NCCL is of version %d.%d.%d%s%s; expected %d.%d or later",
        version / major, version % major / 100, version % 100, missing ? " and lacks " : "",
        missing ? missing : "", NCCL_LEAST_VERSION / 10000, NCCL_LEAST_VERSION % 10000 / 100);
}
