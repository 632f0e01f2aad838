/* Time of each kernel of an engine that has native code. Test: tests/cli/bench_profile.test */
#pragma once
#include "runtime/jit/engine.h"

typedef struct sinter_profile sinter_profile;
enum { SINTER_PROFILE_MAX_CALLS = 4096 };
typedef struct sinter_profile_kernel {
    const sinter_abi_kernel *kernel;
    double seconds;       /* of a run, the shortest of the runs */
    size_t calls;         /* in the last run */
    double *call_seconds; /* of the i-th call in a run, the shortest; for the first SINTER_PROFILE_MAX_CALLS calls */
    size_t call_capacity;
} sinter_profile_kernel;
/* Runs of the engine are timed kernel by kernel until it is destroyed, which must be before the engine is. */
sinter_profile *sinter_profile_create(sinter_engine *engine);
void sinter_profile_destroy(sinter_profile *p); /* NULL allowed */
void sinter_profile_begin_run(sinter_profile *p);
void sinter_profile_end_run(sinter_profile *p);
/* In the order of the artifact's kernels. */
const sinter_profile_kernel *sinter_profile_kernels(const sinter_profile *p, size_t *out_count);
