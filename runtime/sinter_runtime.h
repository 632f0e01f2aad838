/* The runtime: loads compiled models and runs them. C17, depends on libc, libm and threads only.
 *
 *   sinter_executable *model;
 *   sinter_status *status = sinter_executable_load("model.so", NULL, &model);
 *   ...
 *   status = sinter_executable_run(model, inputs, outputs, sinter_pool_services(pool), NULL, 0);
 *
 * Functions that can fail return a sinter_status *: NULL is success, anything else is the caller's to destroy. There is
 * no global state and no hidden thread: the caller makes a pool, and several models may share it. An executable is
 * immutable; any number of threads may run it at once, each with its own tensors and context.
 * A loaded artifact is code that runs in this process: load only what you trust. Example: docs/examples/aot.c */
#ifndef SINTER_RUNTIME_H
#define SINTER_RUNTIME_H
#include "runtime/abi.h"
#include <stdbool.h>
#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ---- */

typedef enum sinter_status_code { /* the first ones are those of abi.h */
    SINTER_STATUS_OK = 0,
    SINTER_STATUS_BAD_INPUT = 1,     /* shape, element type or size of a tensor; an argument */
    SINTER_STATUS_OUT_OF_RANGE = 2,  /* an index in the data points outside its axis */
    SINTER_STATUS_OUT_OF_MEMORY = 3,
    SINTER_STATUS_OVERFLOW = 4,      /* a size computed from the dims overflows */
    SINTER_STATUS_FAILED = 5,        /* the system refused, see the message */
    SINTER_STATUS_UNREADABLE = 6,    /* the file is not there or may not be read */
    SINTER_STATUS_BAD_ARTIFACT = 7,  /* not an artifact, damaged, or of another version */
    SINTER_STATUS_WRONG_CPU = 8,     /* compiled for a CPU that this one is not */
    SINTER_STATUS_BAD_MODEL = 9,     /* libsinter: the model, or what is to be done to it, can't be read or compiled */
    SINTER_STATUS_NO_DEVICE = 10,    /* its driver is missing or too old, or it has no such device */
    SINTER_STATUS_WRONG_DEVICE = 11, /* compiled for another kind or architecture of device */
    SINTER_STATUS_OVER_BUDGET = 12   /* libsinter: no compressed model loses as little as it may */
} sinter_status_code;

typedef struct sinter_status sinter_status;
/* All of them take NULL, which is OK with an empty message. */
SINTER_API sinter_status_code sinter_status_get_code(const sinter_status *status);
SINTER_API const char *sinter_status_message(const sinter_status *status); /* one or more lines; lives with the status */
SINTER_API const char *sinter_status_file(const sinter_status *status);    /* source place that reported it */
SINTER_API int sinter_status_line(const sinter_status *status);
SINTER_API void sinter_status_destroy(sinter_status *status);

/* ---- memory ---- */

/* NULL in place of a pointer to one means malloc and free. allocate returns NULL where there is no memory; alignments are
 * powers of two up to 4096; deallocate gets what allocate was asked for. Both may be called from several threads at once. */
typedef struct sinter_allocator {
    void *user;
    void *(*allocate)(void *user, size_t size, size_t alignment);
    void (*deallocate)(void *user, void *pointer, size_t size, size_t alignment);
} sinter_allocator;

/* ---- threads ---- */

/* thread_count - 1 threads that help whoever calls parallel_for; callers from any number of threads take part themselves.
 * Threads that wait watch for work for up to a tenth of a millisecond, then sleep; where there are more of them than processors they
 * sleep at once. */
typedef struct sinter_pool sinter_pool;
SINTER_API sinter_status *sinter_pool_create(uint32_t thread_count, const sinter_allocator *allocator, sinter_pool **out_pool);
SINTER_API void sinter_pool_destroy(sinter_pool *pool); /* nothing may run on it; NULL allowed */
SINTER_API uint32_t sinter_pool_thread_count(const sinter_pool *pool);
/* How far away the helpers' cores are, as they noted lately: what a word to them takes, in what it takes to a neighbour (1 to 8; 1 before
 * anybody knows). It changes where the system moves threads. */
SINTER_API double sinter_pool_distance(const sinter_pool *pool);
/* Calls body over disjoint ranges that cover [0, count), each of `grain` iterations at least but for the last. (The service that
 * executables call shares less where helpers are far away.) */
SINTER_API void sinter_pool_parallel_for(sinter_pool *pool, int64_t count, int64_t grain,
                                         void (*body)(void *environment, int64_t first, int64_t last), void *environment);
/* The table that executables run with: the pool's threads and its allocator. NULL for NULL. Valid as long as the pool. */
SINTER_API const sinter_abi_services *sinter_pool_services(const sinter_pool *pool);

/* ---- devices ---- */

/* Where kernels run: "cuda", "cuda:1" (by way of libcuda.so.1, or the one in the folder that SINTER_CUDA_PATH names) or "cpu". Its
 * memory on the host comes from the allocator (NULL: malloc). Several models and threads may share one. */
typedef struct sinter_device sinter_device;
SINTER_API sinter_status *sinter_device_open(const char *name, const sinter_allocator *allocator, sinter_device **out_device);
SINTER_API void sinter_device_close(sinter_device *device); /* nothing may use it any more; NULL allowed */
SINTER_API const char *sinter_device_name(const sinter_device *device); /* as its maker calls it */

/* ---- executables ---- */

typedef struct sinter_executable sinter_executable;

typedef struct sinter_load_options {
    uint32_t size;                     /* sizeof(sinter_load_options) */
    bool verify;                       /* also check the weights against their checksum: reads all of them */
    bool copy_weights;                 /* read them into memory of this process, which asks for huge pages, instead of mapping
                                          the file: for file systems that map it in small pages only. Not shared between
                                          processes, and loading reads all of them. No effect below 2 MiB */
    const sinter_allocator *allocator; /* of the executable itself; NULL: malloc */
    sinter_device *device;             /* that an artifact with code for one runs on; must outlive the executable. NULL: none */
} sinter_load_options;

/* Checks size, version, checksum and CPU features of the file before any of its code is loaded. options: NULL for none. */
SINTER_API sinter_status *sinter_executable_load(const char *path, const sinter_load_options *options,
                                                 sinter_executable **out_executable);
/* An artifact that is linked into the program, or made in memory; refused where this CPU lacks what it needs. weights: NULL
 * where it carries them; they and the artifact must outlive the executable. */
SINTER_API sinter_status *sinter_executable_wrap(const sinter_abi_artifact *artifact, const void *weights,
                                                 const sinter_allocator *allocator, sinter_executable **out_executable);
/* The same on a device, which must outlive the executable; weights are copied there. */
SINTER_API sinter_status *sinter_executable_wrap_on(const sinter_abi_artifact *artifact, const void *weights,
                                                    sinter_device *device, const sinter_allocator *allocator,
                                                    sinter_executable **out_executable);
SINTER_API void sinter_executable_destroy(sinter_executable *executable); /* no run may be under way; NULL allowed */
/* Names, types and shapes of inputs and outputs, symbols, kernels, target. */
SINTER_API const sinter_abi_artifact *sinter_executable_describe(const sinter_executable *executable);
/* Where its weights are in this process, out_bytes of them (not NULL): for locking or prefetching, or to see on what pages they
 * lie. NULL: it has none. */
SINTER_API const void *sinter_executable_weights(const sinter_executable *executable, uint64_t *out_bytes);

/* Checks the inputs' types and shapes, fills the outputs' (a dim of -1 is known only after the run) and says how many bytes a
 * context for them takes. Inputs need data only where it decides shapes. outputs and out_context_bytes may not be NULL. */
SINTER_API sinter_status *sinter_executable_plan(const sinter_executable *executable, const sinter_abi_tensor *inputs,
                                                 sinter_abi_tensor *outputs, uint64_t *out_context_bytes);
/* Runs. outputs[i].data is the caller's memory of outputs[i].bytes, aligned to its elements, in no input that is not donated to
 * it and in no other output; or NULL: then the services' allocator (malloc without
 * one) gives it, 64-byte aligned, and the caller frees it the same way; nothing is left behind by a run that fails.
 * services: sinter_pool_services(pool), or NULL for one thread. context: context_bytes of the caller's memory, 64-byte
 * aligned, for this run alone; NULL takes it from the allocator for the run. A run of a model with static shapes that gets
 * outputs and context from its caller allocates nothing. */
SINTER_API sinter_status *sinter_executable_run(const sinter_executable *executable, const sinter_abi_tensor *inputs,
                                                sinter_abi_tensor *outputs, const sinter_abi_services *services,
                                                void *context, uint64_t context_bytes);
/* Puts a run into the caller's stream of the device (CUstream; NULL is the driver's own) and returns: the data of inputs and outputs
 * is memory on the device at a multiple of 16 bytes, outputs have room (bytes becomes what is used), and all of it stays until
 * the stream was waited for.
 * Where shapes or branches depend on what is computed, it waits for that. A stream is for one thread at a time and outlives the
 * executable. For executables with code for a device. */
SINTER_API sinter_status *sinter_executable_run_on_stream(const sinter_executable *executable, const sinter_abi_tensor *inputs,
                                                          sinter_abi_tensor *outputs, const sinter_abi_services *services,
                                                          void *stream);
/* Waits for the stream's runs of the executable; a kernel that found something wrong in the data is told here. */
SINTER_API sinter_status *sinter_executable_wait(const sinter_executable *executable, void *stream);
/* Frees what a run allocated for outputs: sets data to NULL. */
SINTER_API void sinter_output_free(sinter_abi_tensor *output, const sinter_abi_services *services);

#ifdef __cplusplus
}
#endif
#endif
