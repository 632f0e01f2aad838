/* CUDA devices by way of the driver's own library, which is opened when a device is: nothing of CUDA is needed to build this, nor
 * where no device is asked for. It works in the device's primary context, as other users of CUDA in the process do, and makes it
 * current for the time of a call only. Memory comes from a pool of its own. cuda_symbols.def has the functions, cuda_types.h the
 * types. Test: tests/unit/device_test.c, with tests/cuda_emulation/driver.c in place of the driver, or a GPU */
#include "runtime/cuda_types.h"
#include "runtime/device.h"
#include "runtime/status.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_VERSION = 11040, MAX_ARGUMENTS = 512, LOG_BYTES = 4096 };

#define CUDA(name, symbol, parameters) static const char symbol_of_##name[] = #symbol;
#include "runtime/cuda_symbols.def"
#undef CUDA

typedef struct cuda_functions {
#define CUDA(name, symbol, parameters) int(*name) parameters;
#include "runtime/cuda_symbols.def"
#undef CUDA
} cuda_functions;

typedef struct cuda_device {
    sinter_device base;
    cuda_functions call;
    int number;
    cuda_context context; /* NULL: not retained */
    cuda_pool pool;
} cuda_device;

typedef struct cuda_stream_of {
    sinter_device_stream base;
    bool is_own;
} cuda_stream_of;

struct sinter_device_event {
    cuda_device *device;
    cuda_event event;
};

struct sinter_device_module {
    cuda_device *device;
    cuda_module module;
};

struct sinter_device_graph {
    cuda_device *device;
    cuda_graph_exec exec;
};

static cuda_stream native(const sinter_device_stream *stream) {
    return stream->native;
}

static cuda_device *device_of(const sinter_device_stream *stream) {
    return (cuda_device *)stream->device;
}

/* ---- errors ---- */

static sinter_status_code code_of(int error) {
    switch (error) {
    case CUDA_ERROR_OUT_OF_MEMORY:
        return SINTER_STATUS_OUT_OF_MEMORY;
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
        return SINTER_STATUS_NO_DEVICE;
    case CUDA_ERROR_INVALID_IMAGE:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_UNSUPPORTED_PTX_VERSION:
        return SINTER_STATUS_WRONG_DEVICE;
    default:
        return SINTER_STATUS_FAILED;
    }
}

/* "CUDA_ERROR_OUT_OF_MEMORY (2, out of memory)"; the driver has a name for most. */
static const char *name_error(const cuda_functions *call, int error, char text[256]) {
    const char *name = NULL, *words = NULL;
    if (call->error_name(error, &name) || !name) name = "unknown error";
    if (call->error_text(error, &words) || !words) words = "no description";
    snprintf(text, 256, "%s (%d, %s)", name, error, words);
    return text;
}

static sinter_status *check(const cuda_device *device, int error, const char *symbol,
                            const char *file, int line) {
    char text[256];
    if (error == CUDA_SUCCESS) return NULL;
    return sinter_status_make(code_of(error), file, line, "%s: %s: %s",
                              device->base.properties.name, symbol,
                              name_error(&device->call, error, text));
}

static int enter(const cuda_device *device) {
    return device->call.context_push(device->context);
}

static int leave(const cuda_device *device, int error) {
    cuda_context gone;
    int pop = device->call.context_pop(&gone);
    return error ? error : pop;
}

/* A driver's function as a status; DO makes the context current around it. */
#define TRY(device, name, ...)                                                                     \
 check((device), (device)->call.name(__VA_ARGS__), symbol_of_##name, __FILE__, __LINE__)
#define RUN(device, name, ...)                                                                     \
 (enter(device) ? CUDA_ERROR_INVALID_CONTEXT : leave((device), (device)->call.name(__VA_ARGS__)))
#define DO(device, name, ...)                                                                      \
 check((device), RUN(device, name, __VA_ARGS__), symbol_of_##name, __FILE__, __LINE__)

static sinter_status *enter_device(sinter_device *base) {
    cuda_device *device = (cuda_device *)base;
    return TRY(device, context_push, device->context);
}

static sinter_status *leave_device(sinter_device *base) {
    cuda_context gone;
    return TRY((cuda_device *)base, context_pop, &gone);
}

static sinter_status *no_host_memory(void) {
    return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "cuda: no memory on the host");
}

/* ---- the library ---- */

static void *open_file(void) {
    const char *folder = getenv("SINTER_CUDA_PATH");
    char path[4096];
    int size = folder ? snprintf(path, sizeof path, "%s/libcuda.so.1", folder) : 0;
    bool named = size > 0 && size < (int)sizeof path && access(path, F_OK) == 0;
    /* Drivers start threads and handlers that outlive a close, so it stays in the process. */
    return dlopen(named ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

static void (*find(void *library, const char *symbol))(void) {
    void (*function)(void) = NULL;
    void *address = dlsym(library, symbol);
    memcpy(&function, &address, sizeof function); /* ISO C has no such cast */
    return function;
}

static sinter_status *open_library(cuda_functions *out_call) {
    void *library = open_file();
    const char *missing = NULL;
    if (!library)
        return SINTER_FAIL(SINTER_STATUS_NO_DEVICE, "cuda: the driver can't be opened: %s",
                           dlerror());
#define CUDA(name, symbol, parameters)                                                             \
 out_call->name = (int(*) parameters)find(library, #symbol);                                       \
 if (!out_call->name && !missing) missing = #symbol;
#define CUDA_LATER(version, name, symbol, parameters)                                              \
 out_call->name = (int(*) parameters)find(library, #symbol);
#include "runtime/cuda_symbols.def"
#undef CUDA
    int version = 0, error = missing ? 0 : out_call->driver_version(&version);
    char text[256];
    if (error)
        return SINTER_FAIL(SINTER_STATUS_NO_DEVICE,
                           "cuda: the driver does not tell its version: %s",
                           name_error(out_call, error, text));
    if (missing && out_call->driver_version) out_call->driver_version(&version);
    if (version >= LEAST_VERSION && !missing) return NULL;
    return SINTER_FAIL(SINTER_STATUS_NO_DEVICE,
                       "cuda: the driver is of CUDA %d.%d%s%s; expected %d.%d or later",
                       version / 1000, version % 1000 / 10, missing ? " and lacks " : "",
                       missing ? missing : "", LEAST_VERSION / 1000, LEAST_VERSION % 1000 / 10);
}

/* ---- devices ---- */

static sinter_status *read_properties(cuda_device *device) {
    sinter_device_properties *p = &device->base.properties;
    int version = 0, major = 0, minor = 0, pools = 0;
    size_t bytes = 0;
    const struct {
        int attribute;
        int *to;
    } wanted[] = {
        {CUDA_ARCHITECTURE_MAJOR, &major},
        {CUDA_ARCHITECTURE_MINOR, &minor},
        {CUDA_HAS_POOLS, &pools},
        {CUDA_MULTIPROCESSORS, (int *)&p->multiprocessors},
        {CUDA_WARP, (int *)&p->warp},
        {CUDA_BLOCK_THREADS, (int *)&p->block_threads},
        {CUDA_SHARED_BYTES, (int *)&p->shared_bytes},
    };
    sinter_status *status = TRY(device, driver_version, &version);
    if (!status)
        status = TRY(device, device_name, p->name, (int)sizeof p->name - 1, device->number);
    if (!status) status = TRY(device, device_memory, &bytes, device->number);
    if (!status) status = TRY(device, device_uuid, p->uuid, device->number);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted && !status; i++)
        status = TRY(device, device_attribute, wanted[i].to, wanted[i].attribute, device->number);
    if (!status && !pools)
        status = SINTER_FAIL(SINTER_STATUS_NO_DEVICE,
                             "%s: its driver has no memory pools, which are needed", p->name);
    p->driver_version = (uint32_t)version;
    p->architecture = (uint32_t)(major * 10 + minor);
    p->memory_bytes = bytes;
    return status;
}

static sinter_status *make_pool(cuda_device *device) {
    cuda_pool_properties properties = {.allocation = CUDA_POOL_PINNED,
                                       .location_type = CUDA_POOL_ON_DEVICE,
                                       .location = device->number};
    uint64_t keep = UINT64_MAX; /* memory of one run is that of the next */
    sinter_status *status = DO(device, pool_create, &device->pool, &properties);
    return status ? status : DO(device, pool_set, device->pool, CUDA_POOL_RELEASE_THRESHOLD, &keep);
}

static void close_device(sinter_device *base) {
    cuda_device *device = (cuda_device *)base;
    if (device->pool) sinter_status_destroy(DO(device, pool_destroy, device->pool));
    if (device->context) sinter_status_destroy(TRY(device, context_release, device->number));
    sinter_device_destroy(base, sizeof *device);
}

static sinter_status *start_driver(const cuda_functions *call, int *out_count) {
    int error = call->init(0);
    char text[256];
    if (error == CUDA_SUCCESS) error = call->device_count(out_count);
    if (!error) return NULL;
    return SINTER_FAIL(SINTER_STATUS_NO_DEVICE, "cuda: the driver does not start: %s",
                       name_error(call, error, text));
}

static sinter_status *count_devices(uint32_t *out_count) {
    cuda_functions call = {0};
    int count = 0;
    sinter_status *status = open_library(&call);
    if (!status) status = start_driver(&call, &count);
    *out_count = (uint32_t)count;
    return status;
}

static sinter_status *start(cuda_device *device, uint32_t ordinal) {
    int count = 0;
    sinter_status *status = start_driver(&device->call, &count);
    if (status) return status;
    if (ordinal >= (uint32_t)count)
        return SINTER_FAIL(SINTER_STATUS_NO_DEVICE, "cuda:%u: the driver has %d device%s", ordinal,
                           count, count == 1 ? "" : "s");
    status = TRY(device, device_get, &device->number, (int)ordinal);
    if (!status) status = read_properties(device);
    if (!status) status = TRY(device, context_retain, &device->context, device->number);
    return status ? status : make_pool(device);
}

static sinter_status *open_device(uint32_t ordinal, const sinter_allocator *allocator,
                                  sinter_device **out_device) {
    cuda_functions call = {0};
    sinter_status *status = open_library(&call);
    if (status) return status;
    cuda_device *device =
        (cuda_device *)sinter_device_create(&sinter_device_cuda, allocator, sizeof *device);
    if (!device) return no_host_memory();
    memcpy(device->base.properties.name, "cuda", sizeof "cuda");
    device->call = call;
    status = start(device, ordinal);
    if (status)
        close_device(&device->base);
    else
        *out_device = &device->base;
    return status;
}

/* ---- memory ---- */

static sinter_status *allocate(sinter_device_stream *stream, uint64_t bytes, void **out_memory) {
    cuda_device *device = device_of(stream);
    cuda_address address = 0;
    size_t free_bytes = 0, total = 0;
    int error =
        RUN(device, allocate, &address, bytes ? (size_t)bytes : 1, device->pool, native(stream));
    *out_memory = (void *)(uintptr_t)address;
    if (error != CUDA_ERROR_OUT_OF_MEMORY ||
        RUN(device, memory_info, &free_bytes, &total) != CUDA_SUCCESS)
        return check(device, error, symbol_of_allocate, __FILE__, __LINE__);
    *out_memory = NULL;
    return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY,
                       "%s: no memory for %llu bytes: %zu of its %zu are free",
                       device->base.properties.name, (unsigned long long)bytes, free_bytes, total);
}

static sinter_status *deallocate(sinter_device_stream *stream, void *memory) {
    return memory
               ? DO(device_of(stream), deallocate, (cuda_address)(uintptr_t)memory, native(stream))
               : NULL;
}

static sinter_status *allocate_host(sinter_device *device, uint64_t bytes, void **out_memory) {
    *out_memory = NULL;
    return DO((cuda_device *)device, allocate_host, out_memory, bytes ? (size_t)bytes : 1, 0);
}

static sinter_status *deallocate_host(sinter_device *device, void *memory) {
    return memory ? DO((cuda_device *)device, deallocate_host, memory) : NULL;
}

static sinter_status *copy(sinter_device_stream *stream, void *to, const void *from, uint64_t bytes,
                           int32_t direction) {
    cuda_device *device = device_of(stream);
    const cuda_address target = (cuda_address)(uintptr_t)to, source = (cuda_address)(uintptr_t)from;
    if (!bytes) return NULL;
    switch (direction) {
    case SINTER_ABI_COPY_ON_DEVICE:
        return DO(device, copy_on_device, target, source, (size_t)bytes, native(stream));
    case SINTER_ABI_COPY_TO_DEVICE:
        return DO(device, copy_to_device, target, from, (size_t)bytes, native(stream));
    case SINTER_ABI_COPY_TO_HOST:
        return DO(device, copy_to_host, to, source, (size_t)bytes, native(stream));
    default:
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cuda: copy in direction %d", direction);
    }
}

static sinter_status *fill(sinter_device_stream *stream, void *to, unsigned char value,
                           uint64_t bytes) {
    return bytes ? DO(device_of(stream), fill, (cuda_address)(uintptr_t)to, value, (size_t)bytes,
                      native(stream))
                 : NULL;
}

/* ---- streams and events ---- */

static sinter_status *stream_wrap(sinter_device *device, void *theirs,
                                  sinter_device_stream **out_stream) {
    cuda_stream_of *stream = sinter_device_new(device, sizeof *stream);
    *out_stream = stream ? &stream->base : NULL;
    if (!stream) return no_host_memory();
    stream->base.device = device;
    stream->base.native = theirs;
    return NULL;
}

static sinter_status *stream_create(sinter_device *device, sinter_device_stream **out_stream) {
    sinter_status *status = stream_wrap(device, NULL, out_stream);
    if (status) return status;
    cuda_stream_of *stream = (cuda_stream_of *)*out_stream;
    status = DO((cuda_device *)device, stream_create, (cuda_stream *)&stream->base.native,
                CUDA_STREAM_NON_BLOCKING);
    stream->is_own = !status;
    if (!status) return NULL;
    sinter_device_delete(device, stream, sizeof *stream);
    *out_stream = NULL;
    return status;
}

static sinter_status *stream_wait(sinter_device_stream *stream) {
    return DO(device_of(stream), stream_wait, native(stream));
}

static sinter_status *stream_destroy(sinter_device_stream *stream) {
    if (!stream) return NULL;
    sinter_status *status = stream_wait(stream);
    if (((cuda_stream_of *)stream)->is_own) {
        sinter_status *gone = DO(device_of(stream), stream_destroy, native(stream));
        sinter_status_destroy(status ? gone : NULL);
        if (!status) status = gone;
    }
    sinter_device_delete(stream->device, stream, sizeof(cuda_stream_of));
    return status;
}

static sinter_status *event_create(sinter_device *device, sinter_device_event **out_event) {
    sinter_device_event *event = sinter_device_new(device, sizeof *event);
    *out_event = NULL;
    if (!event) return no_host_memory();
    event->device = (cuda_device *)device;
    sinter_status *status = DO(event->device, event_create, &event->event, CUDA_EVENT_DEFAULT);
    if (status)
        sinter_device_delete(device, event, sizeof *event);
    else
        *out_event = event;
    return status;
}

static sinter_status *event_destroy(sinter_device_event *event) {
    if (!event) return NULL;
    sinter_status *status = DO(event->device, event_destroy, event->event);
    sinter_device_delete(&event->device->base, event, sizeof *event);
    return status;
}

static sinter_status *event_record(sinter_device_event *event, sinter_device_stream *stream) {
    return DO(event->device, event_record, event->event, native(stream));
}

static sinter_status *event_wait(sinter_device_event *event) {
    return DO(event->device, event_wait, event->event);
}

static sinter_status *event_query(sinter_device_event *event, bool *out_is_done) {
    int error = RUN(event->device, event_query, event->event);
    *out_is_done = error == CUDA_SUCCESS;
    return error == CUDA_ERROR_NOT_READY
               ? NULL
               : check(event->device, error, symbol_of_event_query, __FILE__, __LINE__);
}

static sinter_status *stream_wait_event(sinter_device_stream *stream, sinter_device_event *event) {
    return DO(event->device, stream_wait_event, native(stream), event->event, 0);
}

static sinter_status *event_seconds(sinter_device_event *from, sinter_device_event *to,
                                    double *out_seconds) {
    float milliseconds = 0;
    sinter_status *status = DO(from->device, event_elapsed, &milliseconds, from->event, to->event);
    *out_seconds = 1e-3 * (double)milliseconds;
    return status;
}

/* ---- modules and launches ---- */

static sinter_status *module_load(sinter_device *base, const void *bytes, uint64_t size,
                                  sinter_device_module **out_module) {
    cuda_device *device = (cuda_device *)base;
    char log[LOG_BYTES] = "", text[256];
    int options[] = {CUDA_JIT_ERROR_LOG, CUDA_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)(sizeof log - 1)};
    *out_module = NULL;
    if (size < 4) /* the driver trusts what it reads */
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "%s: a module of %llu bytes",
                           base->properties.name, (unsigned long long)size);
    sinter_device_module *module = sinter_device_new(base, sizeof *module);
    if (!module) return no_host_memory();
    module->device = device;
    int error = RUN(device, module_load, &module->module, bytes, 2, options, values);
    if (!error) {
        *out_module = module;
        return NULL;
    }
    sinter_device_delete(base, module, sizeof *module);
    return SINTER_FAIL(code_of(error), "%s (sm_%u): %s: %s%s%s", base->properties.name,
                       base->properties.architecture, symbol_of_module_load,
                       name_error(&device->call, error, text), *log ? ": " : "", log);
}

static sinter_status *module_unload(sinter_device_module *module) {
    if (!module) return NULL;
    sinter_status *status = DO(module->device, module_unload, module->module);
    sinter_device_delete(&module->device->base, module, sizeof *module);
    return status;
}

static sinter_status *function_get(sinter_device_module *module, const char *name,
                                   uint32_t shared_bytes, sinter_device_function **out_function) {
    cuda_device *device = module->device;
    cuda_function function = NULL;
    char text[256];
    *out_function = NULL;
    int error = RUN(device, function_get, &function, module->module, name);
    if (error)
        return SINTER_FAIL(error == CUDA_ERROR_NOT_FOUND ? SINTER_STATUS_BAD_ARTIFACT
                                                         : code_of(error),
                           "%s: kernel '%s': %s", device->base.properties.name, name,
                           name_error(&device->call, error, text));
    if (shared_bytes > device->base.properties.shared_bytes)
        return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE,
                           "%s: kernel '%s' wants %u bytes of shared memory; there are %u",
                           device->base.properties.name, name, shared_bytes,
                           device->base.properties.shared_bytes);
    sinter_status *status = shared_bytes ? DO(device, function_set, function,
                                              CUDA_FUNCTION_SHARED_BYTES, (int)shared_bytes)
                                         : NULL;
    if (!status) *out_function = (sinter_device_function *)function;
    return status;
}

/* Dims of the driver are innermost first. */
static sinter_status *encode(const cuda_device *device, const sinter_abi_map *map,
                             unsigned char *out_bytes) {
    uint64_t dims[SINTER_ABI_MAP_RANK], strides[SINTER_ABI_MAP_RANK];
    uint32_t sizes[SINTER_ABI_MAP_RANK], steps[SINTER_ABI_MAP_RANK];
    if (!device->call.map_encode)
        return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE,
                           "%s: copies of boxes need a driver of CUDA 12.0 or later",
                           device->base.properties.name);
    if (map->rank < 2 || map->rank > SINTER_ABI_MAP_RANK)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cuda: a map of rank %u", map->rank);
    for (uint32_t i = 0; i < map->rank; i++) {
        const uint32_t from = map->rank - 1 - i;
        dims[i] = map->dims[from];
        strides[i] = map->strides[from];
        sizes[i] = map->sizes[from];
        steps[i] = 1;
    }
    const int type = strides[0] == 1   ? CUDA_MAP_BYTE
                     : strides[0] == 2 ? CUDA_MAP_TWO_BYTES
                                       : CUDA_MAP_FOUR_BYTES;
    return DO(device, map_encode, out_bytes, type, map->rank, (void *)(uintptr_t)map->address, dims,
              strides + 1, sizes, steps, 0, CUDA_MAP_SWIZZLE_128, CUDA_MAP_PROMOTE_128, 0);
}

static sinter_status *launch(sinter_device_stream *stream, const sinter_device_function *function,
                             const sinter_abi_launch *how) {
    void *arguments[MAX_ARGUMENTS + SINTER_ABI_MOST_MAPS];
    _Alignas(CUDA_MAP_ALIGNMENT) unsigned char maps[SINTER_ABI_MOST_MAPS][SINTER_ABI_MAP_BYTES];
    if (how->argument_count > MAX_ARGUMENTS || how->map_count > SINTER_ABI_MOST_MAPS)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cuda: a launch with %u arguments and %u maps",
                           how->argument_count, how->map_count);
    for (uint32_t i = 0; i < how->argument_count; i++)
        arguments[i] = (void *)(uintptr_t)&how->arguments[i]; /* only read */
    for (uint32_t i = 0; i < how->map_count; i++) {
        sinter_status *status = encode(device_of(stream), &how->maps[i], maps[i]);
        if (status) return status;
        arguments[how->argument_count + i] = maps[i];
    }
    return DO(device_of(stream), launch, (cuda_function)(uintptr_t)function, how->grid[0],
              how->grid[1], how->grid[2], how->block[0], how->block[1], how->block[2],
              how->shared_bytes, native(stream), arguments, NULL);
}

/* ---- graphs ---- */

static sinter_status *capture_begin(sinter_device_stream *stream) {
    return DO(device_of(stream), capture_begin, native(stream), CUDA_CAPTURE_THREAD_LOCAL);
}

static sinter_status *capture_end(sinter_device_stream *stream, sinter_device_graph **out_graph) {
    cuda_device *device = device_of(stream);
    cuda_graph captured = NULL;
    *out_graph = NULL;
    sinter_status *status = DO(device, capture_end, native(stream), &captured);
    if (status) return status;
    sinter_device_graph *graph = sinter_device_new(stream->device, sizeof *graph);
    if (graph) {
        graph->device = device;
        status = DO(device, graph_instantiate, &graph->exec, captured, 0);
    } else {
        status = no_host_memory();
    }
    sinter_status_destroy(DO(device, graph_destroy, captured));
    if (status && graph) sinter_device_delete(stream->device, graph, sizeof *graph);
    if (!status) *out_graph = graph;
    return status;
}

static sinter_status *graph_launch(sinter_device_graph *graph, sinter_device_stream *stream) {
    return DO(graph->device, graph_launch, graph->exec, native(stream));
}

static sinter_status *graph_destroy(sinter_device_graph *graph) {
    if (!graph) return NULL;
    sinter_status *status = DO(graph->device, graph_exec_destroy, graph->exec);
    sinter_device_delete(&graph->device->base, graph, sizeof *graph);
    return status;
}

const sinter_device_driver sinter_device_cuda = {.name = "cuda",
                                                 .count = count_devices,
                                                 .enter = enter_device,
                                                 .leave = leave_device,
                                                 .open = open_device,
                                                 .close = close_device,
                                                 .allocate = allocate,
                                                 .deallocate = deallocate,
                                                 .allocate_host = allocate_host,
                                                 .deallocate_host = deallocate_host,
                                                 .copy = copy,
                                                 .fill = fill,
                                                 .stream_create = stream_create,
                                                 .stream_wrap = stream_wrap,
                                                 .stream_destroy = stream_destroy,
                                                 .stream_wait = stream_wait,
                                                 .event_create = event_create,
                                                 .event_destroy = event_destroy,
                                                 .event_record = event_record,
                                                 .event_wait = event_wait,
                                                 .event_query = event_query,
                                                 .stream_wait_event = stream_wait_event,
                                                 .event_seconds = event_seconds,
                                                 .module_load = module_load,
                                                 .module_unload = module_unload,
                                                 .function_get = function_get,
                                                 .launch = launch,
                                                 .capture_begin = capture_begin,
                                                 .capture_end = capture_end,
                                                 .graph_launch = graph_launch,
                                                 .graph_destroy = graph_destroy};
