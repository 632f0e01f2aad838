/* CUDA C text -> cubin or PTX by NVRTC, which is opened when it is asked for and needs no GPU.
 *
 * It is looked for where SINTER_CUDA_PATH says (a folder, its lib64 or lib, or a site-packages), where the system's loader looks,
 * in /usr/local/cuda and among Python's packages (nvidia-cuda-nvrtc of PyPI, in $VIRTUAL_ENV, the user's and the system's).
 * Test: tests/unit/nvrtc_test.c */
#pragma once
#include "codegen/kernel_cache.h"

typedef struct nvrtc_program_of *nvrtc_program; /* NVRTC's own handle */

typedef struct sinter_nvrtc {
    const char *path; /* as it was found; in the arena that opened it */
    int major, minor;
#define NVRTC(name, symbol, parameters) int(*name) parameters;
#include "codegen/nvrtc.def"
#undef NVRTC
    const char *(*error_text)(int error);
} sinter_nvrtc;

/* False with an error that says where it was looked for. It stays in the process: there is nothing to close. */
bool sinter_nvrtc_open(sinter_nvrtc *out_nvrtc, sinter_arena *arena, sinter_diag *diag);

/* "sm_90" (a cubin), "sm_90a" (one for that architecture alone) or "compute_90" (PTX): the number and SINTER_ABI_IMAGE_*. */
bool sinter_nvrtc_architecture(const char *text, uint32_t *out_number, uint32_t *out_kind);

/* Compiles text, a zero-ended string, called `name` in messages. What NVRTC says is the diagnostic. out_image: appended to; PTX
 * with its final zero. out_ptx: NULL, or appended to with what "compute_90" gives, from the same run as the code for "sm_90"; not for other
 * architectures. cache: may be NULL. Several threads may compile at once. */
bool sinter_nvrtc_compile(const sinter_nvrtc *nvrtc, const char *name, const char *text, const char *architecture,
                          sinter_kernel_cache *cache, sinter_text *out_image, sinter_text *out_ptx, sinter_diag *diag);
