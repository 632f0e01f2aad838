/* A device: memory, streams, events, modules, launches and graphs behind one table of functions, a row a driver.
 *
 * The drivers are "cpu" (device_cpu.c: this process, everything done at once) and "cuda" (device_cuda.c: libcuda, opened when a
 * device is). A driver has no state of its own; what belongs to a device is destroyed before it. Addresses of memory on a device
 * are the driver's to follow. Streams keep order; a device may be used from any number of threads, a stream, event or graph by
 * one at a time. Every function that can fail returns a status that names the driver's function and error, NULL for success.
 * Test: tests/unit/device_test.c (one suite over all drivers), tests/cuda_emulation/ */
#pragma once
#include "runtime/sinter_runtime.h"

typedef struct sinter_device_stream sinter_device_stream;
typedef struct sinter_device_event sinter_device_event;
typedef struct sinter_device_module sinter_device_module;
typedef struct sinter_device_function sinter_device_function;
typedef struct sinter_device_graph sinter_device_graph;

typedef struct sinter_device_properties {
    char name[128];
    uint32_t architecture;    /* 90: compute capability 9.0; 0 for the CPU */
    uint32_t driver_version;  /* 12040: CUDA 12.4; 0 for the CPU */
    uint32_t multiprocessors;
    uint32_t warp;            /* threads that run as one */
    uint32_t block_threads;   /* most in a block */
    uint32_t shared_bytes;    /* most in a block, where a kernel asks for it */
    uint64_t memory_bytes;
    unsigned char uuid[16];   /* of the very device, in whatever process; zeros for the CPU */
} sinter_device_properties;

/* A stream may not be NULL but where it says so. Sizes of 0 are fine. */
typedef struct sinter_device_driver {
    const char *name;
    sinter_status *(*count)(uint32_t *out_count); /* devices that can be opened: 0 on */
    sinter_status *(*open)(uint32_t ordinal, const sinter_allocator *allocator, sinter_device **out_device);
    void (*close)(sinter_device *device);
    /* Around calls of other libraries of the driver's maker, which take the thread's current device: no call of this table in between. */
    sinter_status *(*enter)(sinter_device *device);
    sinter_status *(*leave)(sinter_device *device);

    /* 256-byte aligned, usable by what follows in the stream; given back in a stream's order. */
    sinter_status *(*allocate)(sinter_device_stream *stream, uint64_t bytes, void **out_memory);
    sinter_status *(*deallocate)(sinter_device_stream *stream, void *memory); /* NULL allowed */
    /* Host memory that copies need not stage: they read and write it until the stream was waited for. */
    sinter_status *(*allocate_host)(sinter_device *device, uint64_t bytes, void **out_memory);
    sinter_status *(*deallocate_host)(sinter_device *device, void *memory); /* NULL allowed */
    /* SINTER_ABI_COPY_*. Host memory that is not from allocate_host may be used again when it returns. */
    sinter_status *(*copy)(sinter_device_stream *stream, void *to, const void *from, uint64_t bytes, int32_t direction);
    sinter_status *(*fill)(sinter_device_stream *stream, void *to, unsigned char value, uint64_t bytes);

    sinter_status *(*stream_create)(sinter_device *device, sinter_device_stream **out_stream);
    /* The caller's stream of the driver (CUstream) as one of these; destroying that leaves his alone. */
    sinter_status *(*stream_wrap)(sinter_device *device, void *native, sinter_device_stream **out_stream);
    sinter_status *(*stream_destroy)(sinter_device_stream *stream); /* waits; NULL allowed */
    sinter_status *(*stream_wait)(sinter_device_stream *stream);    /* on the host, until all is done */

    sinter_status *(*event_create)(sinter_device *device, sinter_device_event **out_event);
    sinter_status *(*event_destroy)(sinter_device_event *event); /* NULL allowed */
    sinter_status *(*event_record)(sinter_device_event *event, sinter_device_stream *stream);
    sinter_status *(*event_wait)(sinter_device_event *event); /* on the host; at once where it was not recorded */
    sinter_status *(*event_query)(sinter_device_event *event, bool *out_is_done);
    sinter_status *(*stream_wait_event)(sinter_device_stream *stream, sinter_device_event *event); /* on the device */
    sinter_status *(*event_seconds)(sinter_device_event *from, sinter_device_event *to, double *out_seconds); /* both done */

    /* CUDA: cubin or PTX; CPU: a shared object, whose functions are void name(const sinter_abi_launch *). */
    sinter_status *(*module_load)(sinter_device *device, const void *bytes, uint64_t size, sinter_device_module **out_module);
    sinter_status *(*module_unload)(sinter_device_module *module); /* NULL allowed */
    /* Lives as long as the module. shared_bytes: most dynamic shared memory that a launch will ask for. */
    sinter_status *(*function_get)(sinter_device_module *module, const char *name, uint32_t shared_bytes,
                                   sinter_device_function **out_function);
    /* launch->kernel is not looked at. */
    sinter_status *(*launch)(sinter_device_stream *stream, const sinter_device_function *function,
                             const sinter_abi_launch *launch);

    /* What comes into the stream between the two is kept, not done. Copies then read host memory when the graph runs. No
     * allocation and no waiting in between. */
    sinter_status *(*capture_begin)(sinter_device_stream *stream);
    sinter_status *(*capture_end)(sinter_device_stream *stream, sinter_device_graph **out_graph); /* always ends it */
    sinter_status *(*graph_launch)(sinter_device_graph *graph, sinter_device_stream *stream);
    sinter_status *(*graph_destroy)(sinter_device_graph *graph); /* it may still run; NULL allowed */
} sinter_device_driver;

struct sinter_device { /* each driver's device begins with it */
    const sinter_device_driver *driver;
    sinter_device_properties properties;
    uint32_t ordinal;
    const sinter_allocator *allocator; /* of the host; NULL: malloc */
    sinter_allocator allocator_copy;
};
struct sinter_device_stream { /* each driver's stream begins with it, as do the others */
    sinter_device *device;
    void *native; /* the driver's own; NULL: its default stream */
};

extern const sinter_device_driver sinter_device_cpu, sinter_device_cuda;

/* How many devices there are of the kind that a name ("cuda", "cuda:1") is of. */
sinter_status *sinter_device_count(const char *name, uint32_t *out_count);

/* Devices that ranks of this process take in turns: the first one, which is the caller's, and those of its driver behind it, around. They are
 * opened when they are asked for; NULL for a first one that is NULL. */
typedef struct sinter_device_turns {
    sinter_device *first, **others; /* others: count of them, by distance; NULL: not open */
    uint32_t count;
} sinter_device_turns;
sinter_status *sinter_device_turns_get(sinter_device_turns *turns, int64_t number, sinter_device **out_device);
void sinter_device_turns_close(sinter_device_turns *turns); /* nothing uses them any more; the first stays open */

/* What the driver calls the stream (CUstream): for those who have it from a caller. NULL where there is none. */
void *sinter_device_native_stream(const sinter_device_stream *stream);

/* Zeroed memory for a driver's device, which begins with a sinter_device; the allocator (NULL: malloc) is copied into it. NULL:
 * no memory. size: the same for both. */
sinter_device *sinter_device_create(const sinter_device_driver *driver, const sinter_allocator *allocator, size_t size);
void sinter_device_destroy(sinter_device *device, size_t size);
/* Zeroed memory of the device's host allocator. */
void *sinter_device_new(const sinter_device *device, size_t size);
void sinter_device_delete(const sinter_device *device, void *memory, size_t size);
