/* Artifacts with code for a device: loading it, and runs. Test: tests/unit/device_run_test.c */
#pragma once
#include "runtime/device.h"
#include "runtime/executable.h"
#include <pthread.h>

struct sinter_device_session;

/* What an executable has on its device. */
typedef struct sinter_device_code {
    sinter_device *device;
    const sinter_abi_device_code *code;
    sinter_device_stream *stream; /* of loading */
    sinter_device_module **modules;
    sinter_device_function **functions; /* by kernel; NULL: on the host */
    void *weights;
    pthread_mutex_t lock; /* of the list of sessions */
    struct sinter_device_session *sessions;
} sinter_device_code;

/* NULL: all of the artifact runs on the host. */
const sinter_abi_device_code *sinter_artifact_device_code(const sinter_abi_artifact *artifact);
/* Loads modules and copies weights; the executable has it until it is unloaded. */
sinter_status *sinter_device_code_load(sinter_executable *executable, sinter_device *device);
void sinter_device_code_unload(sinter_executable *executable);

/* ---- device_run.c ---- */
/* A run with tensors on the host; arguments were checked. */
sinter_status *sinter_device_code_run(const sinter_executable *executable, const sinter_abi_tensor *inputs,
                                      sinter_abi_tensor *outputs, const sinter_abi_services *services);
void sinter_device_sessions_destroy(sinter_device_code *code);
