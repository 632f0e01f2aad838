/* The CPU as a device: everything is done before the call returns, so a stream is an order and nothing else. A kernel is a
 * function void name(const sinter_abi_launch *) of a shared object and does its whole grid. A module is code of this process:
 * load only what you trust. Test: tests/unit/device_test.c */
#define _GNU_SOURCE /* memfd_create */
#include "runtime/allocator.h"
#include "runtime/device.h"
#include "runtime/executable.h"
#include "runtime/status.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ALIGNMENT = 256, MAX_ARGUMENTS = 256 };

typedef struct operation {
    struct operation *next;
    void *to; /* of a copy or fill; NULL: a launch */
    const void *from;
    uint64_t bytes;
    unsigned char value;
    void (*kernel)(const sinter_abi_launch *launch);
    sinter_abi_launch launch;
    uint64_t arguments[];
} operation;

typedef struct cpu_stream {
    sinter_device_stream base;
    sinter_device_graph *capture; /* takes what comes; NULL: it is done */
} cpu_stream;

struct sinter_device_event {
    sinter_device *device;
    struct timespec time;
};

struct sinter_device_module {
    sinter_device *device;
    void *library;
};

struct sinter_device_graph {
    sinter_device *device;
    operation *first, **end;
};

/* Memory knows its size, which the allocator wants back. */
typedef struct block_head {
    uint64_t bytes;
    char padding[ALIGNMENT - sizeof(uint64_t)];
} block_head;

static sinter_status *no_memory(uint64_t bytes) {
    return SINTER_FAIL(SINTER_STATUS_OUT_OF_MEMORY, "cpu: no memory for %llu bytes",
                       (unsigned long long)bytes);
}

/* ---- device and memory ---- */

static sinter_status *count_devices(uint32_t *out_count) {
    *out_count = 1;
    return NULL;
}

/* There is no device that would be current. */
static sinter_status *enter_or_leave(sinter_device *device) {
    (void)device;
    return NULL;
}

static sinter_status *open_device(uint32_t ordinal, const sinter_allocator *allocator,
                                  sinter_device **out_device) {
    if (ordinal)
        return SINTER_FAIL(SINTER_STATUS_NO_DEVICE, "cpu:%u: there is one CPU, cpu:0", ordinal);
    sinter_device *device = sinter_device_create(&sinter_device_cpu, allocator, sizeof *device);
    if (!device) return no_memory(sizeof *device);
    device->properties = (sinter_device_properties){
        .name = "CPU",
        .multiprocessors = 1,
        .warp = 1,
        .block_threads = 1024,
        .shared_bytes = 48 << 10,
        .memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE)};
    *out_device = device;
    return NULL;
}

static void close_device(sinter_device *device) {
    sinter_device_destroy(device, sizeof *device);
}

static sinter_status *allocate_host(sinter_device *device, uint64_t bytes, void **out_memory) {
    *out_memory = NULL;
    if (bytes > SIZE_MAX - sizeof(block_head)) return no_memory(bytes);
    block_head *head = sinter_allocate(device->allocator, (size_t)bytes + sizeof *head, ALIGNMENT);
    if (!head) return no_memory(bytes);
    head->bytes = bytes;
    *out_memory = head + 1;
    return NULL;
}

static sinter_status *deallocate_host(sinter_device *device, void *memory) {
    if (!memory) return NULL;
    block_head *head = (block_head *)memory - 1;
    sinter_deallocate(device->allocator, head, (size_t)head->bytes + sizeof *head, ALIGNMENT);
    return NULL;
}

static sinter_status *not_captured(const sinter_device_stream *stream, const char *what) {
    if (!((const cpu_stream *)stream)->capture) return NULL;
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cpu: %s while the stream is captured", what);
}

static sinter_status *allocate(sinter_device_stream *stream, uint64_t bytes, void **out_memory) {
    *out_memory = NULL;
    sinter_status *status = not_captured(stream, "allocation");
    return status ? status : allocate_host(stream->device, bytes, out_memory);
}

static sinter_status *deallocate(sinter_device_stream *stream, void *memory) {
    sinter_status *status = not_captured(stream, "deallocation");
    return status ? status : deallocate_host(stream->device, memory);
}

/* ---- operations: done, or kept ---- */

static void perform(const operation *o) {
    if (o->kernel)
        o->kernel(&o->launch);
    else if (o->from)
        memmove(o->to, o->from, (size_t)o->bytes);
    else
        memset(o->to, o->value, (size_t)o->bytes);
}

static size_t operation_size(const operation *o) {
    return sizeof *o + o->launch.argument_count * sizeof *o->arguments;
}

static sinter_status *submit(sinter_device_stream *stream, const operation *o) {
    sinter_device_graph *graph = ((cpu_stream *)stream)->capture;
    if (!graph) {
        perform(o);
        return NULL;
    }
    operation *kept = sinter_device_new(stream->device, operation_size(o));
    if (!kept) return no_memory(operation_size(o));
    *kept = *o;
    if (o->launch.argument_count)
        memcpy(kept->arguments, o->launch.arguments,
               o->launch.argument_count * sizeof *kept->arguments);
    kept->launch.arguments = kept->arguments;
    *graph->end = kept;
    graph->end = &kept->next;
    return NULL;
}

static sinter_status *copy(sinter_device_stream *stream, void *to, const void *from, uint64_t bytes,
                           int32_t direction) {
    if (direction < SINTER_ABI_COPY_ON_DEVICE || direction > SINTER_ABI_COPY_TO_HOST)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cpu: copy in direction %d", direction);
    return bytes ? submit(stream, &(operation){.to = to, .from = from, .bytes = bytes}) : NULL;
}

static sinter_status *fill(sinter_device_stream *stream, void *to, unsigned char value,
                           uint64_t bytes) {
    return bytes ? submit(stream, &(operation){.to = to, .value = value, .bytes = bytes}) : NULL;
}

static sinter_status *launch(sinter_device_stream *stream, const sinter_device_function *function,
                             const sinter_abi_launch *how) {
    operation o = {.launch = *how};
    memcpy(&o.kernel, &function, sizeof o.kernel); /* what dlsym gave */
    uint64_t threads = (uint64_t)how->block[0] * how->block[1] * how->block[2];
    uint64_t blocks = (uint64_t)how->grid[0] * how->grid[1] * how->grid[2];
    if (!threads || !blocks || threads > stream->device->properties.block_threads ||
        how->shared_bytes > stream->device->properties.shared_bytes ||
        how->argument_count > MAX_ARGUMENTS || how->map_count)
        return SINTER_FAIL(SINTER_STATUS_BAD_INPUT,
                           "cpu: launch of %llu blocks of %llu threads with %u bytes of shared "
                           "memory, %u arguments and %u maps",
                           (unsigned long long)blocks, (unsigned long long)threads,
                           how->shared_bytes, how->argument_count, how->map_count);
    return submit(stream, &o);
}

/* ---- streams and events ---- */

static sinter_status *stream_create(sinter_device *device, sinter_device_stream **out_stream) {
    cpu_stream *stream = sinter_device_new(device, sizeof *stream);
    *out_stream = stream ? &stream->base : NULL;
    if (!stream) return no_memory(sizeof *stream);
    stream->base = (sinter_device_stream){device, stream};
    return NULL;
}

static sinter_status *stream_wrap(sinter_device *device, void *native,
                                  sinter_device_stream **out_stream) {
    sinter_status *status = stream_create(device, out_stream);
    if (!status) (*out_stream)->native = native; /* there is no other order than that of calls */
    return status;
}

static sinter_status *graph_destroy(sinter_device_graph *graph) {
    if (!graph) return NULL;
    for (operation *next, *o = graph->first; o; o = next) {
        next = o->next;
        sinter_device_delete(graph->device, o, operation_size(o));
    }
    sinter_device_delete(graph->device, graph, sizeof *graph);
    return NULL;
}

static sinter_status *stream_destroy(sinter_device_stream *stream) {
    if (!stream) return NULL;
    graph_destroy(((cpu_stream *)stream)->capture);
    sinter_device_delete(stream->device, stream, sizeof(cpu_stream));
    return NULL;
}

static sinter_status *stream_wait(sinter_device_stream *stream) {
    return not_captured(stream, "waiting");
}

static sinter_status *event_create(sinter_device *device, sinter_device_event **out_event) {
    sinter_device_event *event = sinter_device_new(device, sizeof *event);
    *out_event = event;
    if (!event) return no_memory(sizeof *event);
    event->device = device;
    return NULL;
}

static sinter_status *event_destroy(sinter_device_event *event) {
    if (event) sinter_device_delete(event->device, event, sizeof *event);
    return NULL;
}

static sinter_status *event_record(sinter_device_event *event, sinter_device_stream *stream) {
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    return not_captured(stream, "an event");
}

static sinter_status *event_wait(sinter_device_event *event) {
    (void)event;
    return NULL;
}

static sinter_status *event_query(sinter_device_event *event, bool *out_is_done) {
    (void)event;
    *out_is_done = true;
    return NULL;
}

static sinter_status *stream_wait_event(sinter_device_stream *stream, sinter_device_event *event) {
    (void)event;
    return not_captured(stream, "an event");
}

static sinter_status *event_seconds(sinter_device_event *from, sinter_device_event *to,
                                    double *out_seconds) {
    *out_seconds = (double)(to->time.tv_sec - from->time.tv_sec) +
                   1e-9 * (double)(to->time.tv_nsec - from->time.tv_nsec);
    return NULL;
}

/* ---- modules ---- */

static bool write_all(int file, const char *bytes, uint64_t size) {
    while (size) {
        ssize_t wrote = write(file, bytes, (size_t)size);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return false;
        bytes += wrote;
        size -= (uint64_t)wrote;
    }
    return true;
}

static sinter_status *module_load(sinter_device *device, const void *bytes, uint64_t size,
                                  sinter_device_module **out_module) {
    *out_module = NULL;
    char path[SINTER_DESCRIPTOR_PATH];
    int file = memfd_create("sinter_module", MFD_CLOEXEC);
    if (file < 0 || !write_all(file, bytes, size)) {
        int error = errno;
        if (file >= 0) close(file);
        return SINTER_FAIL(SINTER_STATUS_FAILED,
                           "cpu: a module of %llu bytes can't be put down: %s",
                           (unsigned long long)size, strerror(error));
    }
    sinter_descriptor_path(file, path);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    sinter_status *status =
        library ? NULL
                : SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE, "cpu: not a module: %s", dlerror());
    close(file);
    sinter_device_module *module = status ? NULL : sinter_device_new(device, sizeof *module);
    if (!status && !module) {
        dlclose(library);
        status = no_memory(sizeof *module);
    }
    if (status) return status;
    *module = (sinter_device_module){device, library};
    *out_module = module;
    return NULL;
}

static sinter_status *module_unload(sinter_device_module *module) {
    if (!module) return NULL;
    dlclose(module->library);
    sinter_device_delete(module->device, module, sizeof *module);
    return NULL;
}

static sinter_status *function_get(sinter_device_module *module, const char *name,
                                   uint32_t shared_bytes, sinter_device_function **out_function) {
    *out_function = dlsym(module->library, name);
    if (!*out_function)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "cpu: the module has no kernel '%s'", name);
    if (shared_bytes > module->device->properties.shared_bytes)
        return SINTER_FAIL(SINTER_STATUS_WRONG_DEVICE,
                           "cpu: kernel '%s' wants %u bytes of shared memory; there are %u", name,
                           shared_bytes, module->device->properties.shared_bytes);
    return NULL;
}

/* ---- graphs ---- */

static sinter_status *capture_begin(sinter_device_stream *stream) {
    cpu_stream *s = (cpu_stream *)stream;
    sinter_status *status = not_captured(stream, "a capture");
    if (status) return status;
    s->capture = sinter_device_new(stream->device, sizeof *s->capture);
    if (!s->capture) return no_memory(sizeof *s->capture);
    s->capture->device = stream->device;
    s->capture->end = &s->capture->first;
    return NULL;
}

static sinter_status *capture_end(sinter_device_stream *stream, sinter_device_graph **out_graph) {
    cpu_stream *s = (cpu_stream *)stream;
    *out_graph = s->capture;
    s->capture = NULL;
    if (*out_graph) return NULL;
    return SINTER_FAIL(SINTER_STATUS_BAD_INPUT, "cpu: the stream is not captured");
}

static sinter_status *graph_launch(sinter_device_graph *graph, sinter_device_stream *stream) {
    sinter_status *status = not_captured(stream, "a graph");
    if (status) return status;
    for (const operation *o = graph->first; o; o = o->next) perform(o);
    return NULL;
}

const sinter_device_driver sinter_device_cpu = {.name = "cpu",
                                                .count = count_devices,
                                                .enter = enter_or_leave,
                                                .leave = enter_or_leave,
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
