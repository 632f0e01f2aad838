/* libcuda.so.1 without a GPU: the functions of runtime/cuda_symbols.def over memory of this process.
 *
 * Streams are lazy: work waits in its stream until something waits for it or asks for it, so that whoever forgets to wait reads what was
 * there before. Work that others of several ranks must come to first (emulation_enqueue) holds up its stream. Each device has memory that
 * only its own kernels and copies may touch. Device memory is one range that can be touched only while work is done: a host that follows an address of it ends in a
 * fault. Fresh memory is 0xa5, freed memory 0xdd, every allocation has guards. A rule that is broken is a finding: a line on
 * standard error, and the context is lost (CUDA_ERROR_ILLEGAL_ADDRESS from then on); what is left behind when the context is
 * released ends the process. Modules are what nvrtc.c makes. The environment says what there is and what fails:
 *
 *   SINTER_EMULATION_DEVICES=1 (8 at most)  _VERSION=12040  _ARCHITECTURE=90  _MEMORY=bytes
 *   SINTER_EMULATION_FAIL=cuMemHostAlloc@3=2     the third call returns 2; "kernel@2=719": the second launch fails as it runs
 *   SINTER_EMULATION_COUNTERS=file               what kernels counted, a line of JSON each
 *
 * Memory is in driver_memory.c, what the device says of itself in driver_device.c. Test: tests/unit/device_test.c */
#include "tests/cuda_emulation/driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef enum operation_kind { COPY, FILL, LAUNCH, FREE, RECORD, WAIT, GRAPH, STEP } operation_kind;

typedef struct operation {
    struct operation *next;
    operation_kind kind;
    char *to;
    const char *from;
    char *staged; /* what `from` is, ours */
    size_t bytes;
    unsigned char value;
    cuda_event event;
    uint64_t serial; /* of the event */
    cuda_graph_exec graph;
    cuda_function function;
    unsigned grid[3], block[3], shared_bytes;
    void **arguments; /* into the memory after them */
    emulation_step step;
} operation;

typedef struct queue {
    operation *first, *last;
} queue;

struct CUstream_st {
    struct CUstream_st *next;
    cuda_context context;
    queue waiting;
    bool is_draining;
    cuda_graph capture;
    bool capture_broken;
};
struct CUevent_st {
    struct CUevent_st *next;
    cuda_stream stream;
    uint64_t recorded, done;
    struct timespec time;
};
struct CUfunc_st {
    struct CUfunc_st *next;
    const sinter_emulated_kernel *kernel;
    unsigned shared_bytes;
};
struct CUmod_st {
    struct CUmod_st *next;
    void *library;
    struct CUfunc_st *functions;
};
struct CUgraph_st {
    struct CUgraph_st *next;
    queue work;
};
struct CUgraphExec_st {
    struct CUgraphExec_st *next;
    queue work;
};
struct CUctx_st {
    int device;
    unsigned references;
    int error; /* sticky */
    cuda_stream streams;
    cuda_event events;
    cuda_module modules;
    cuda_graph graphs;
    cuda_graph_exec execs;
    struct CUstream_st legacy;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUctx_st contexts[EMULATION_MOST_DEVICES];
static cuda_context at_work = contexts; /* of the call, or of the stream whose work is done */
static bool started;
static _Thread_local cuda_context stack[16];
static _Thread_local unsigned depth;

/* ---- findings and injected failures ---- */

void emulation_finding(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "cuda emulation: ");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    at_work->error = CUDA_ERROR_ILLEGAL_ADDRESS;
}

int emulation_device(void) {
    return at_work->device;
}

int emulation_device_count(void) {
    long count = emulation_number("SINTER_EMULATION_DEVICES", 1);
    return count > EMULATION_MOST_DEVICES ? EMULATION_MOST_DEVICES : (int)count;
}

long emulation_number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? atol(text) : otherwise;
}

static unsigned calls_of_watched;

/* The code that this call of the function is to return, 0 for the truth. */
static int injected(const char *function) {
    const char *wish = getenv("SINTER_EMULATION_FAIL");
    size_t length = strlen(function);
    unsigned at;
    int code;
    if (!wish || strncmp(wish, function, length) || wish[length] != '@' ||
        sscanf(wish + length, "@%u=%d", &at, &code) != 2)
        return 0;
    return ++calls_of_watched == at ? code : 0;
}

static void find_current(void) {
    if (depth && stack[depth - 1]) at_work = stack[depth - 1];
}

/* Every entry: takes the lock and says whether to go on. */
int emulation_begin(const char *function, bool in_context) {
    pthread_mutex_lock(&lock);
    find_current();
    int code = injected(function);
    if (code) return code;
    if (!started && strcmp(function, "cuInit") != 0) return CUDA_ERROR_NOT_INITIALIZED;
    if (!in_context) return 0;
    if (!depth || !stack[depth - 1]) return CUDA_ERROR_INVALID_CONTEXT;
    return at_work->error;
}

int emulation_end(int code) {
    pthread_mutex_unlock(&lock);
    return code;
}

#define end emulation_end

/* ---- work ---- */

static void push(queue *q, operation *o) {
    if (q->last)
        q->last->next = o;
    else
        q->first = o;
    q->last = o;
}

static void release(operation *o) {
    if (o->kind == STEP) o->step.drop(o->step.user);
    free(o->staged);
    free(o->arguments);
    free(o);
}

static void clear(queue *q) {
    for (operation *next, *o = q->first; o; o = next) {
        next = o->next;
        release(o);
    }
    *q = (queue){0};
}

static bool drain(cuda_stream stream, cuda_event until);

static int find(void *user, uint64_t address, uint64_t *out_base, uint64_t *out_bytes) {
    (void)user;
    return emulation_find(address, out_base, out_bytes);
}

static void finding(void *user, const char *kernel, const char *text) {
    (void)user;
    emulation_finding("kernel %s: %s", kernel, text);
}

static void run_kernel(const operation *o) {
    const sinter_emulated_kernel *kernel = o->function->kernel;
    const sinter_emulated_host host = {.find = find, .finding = finding};
    sinter_emulated_counters counters = {0};
    const bool counts = getenv("SINTER_EMULATION_COUNTERS") != NULL;
    sinter_emulated_launch launch = {.grid = {o->grid[0], o->grid[1], o->grid[2]},
                                     .block = {o->block[0], o->block[1], o->block[2]},
                                     .shared_bytes = o->shared_bytes,
                                     .argument_count = kernel->parameter_count,
                                     .arguments = o->arguments,
                                     .host = &host,
                                     .counters = counts ? &counters : NULL};
    int code = injected("kernel");
    if (code)
        at_work->error = code;
    else
        kernel->launch(kernel, &launch);
    if (counts && !code) emulation_count(kernel->name, &counters);
}

/* Whether it is done; else others must come first. */
static bool perform(const operation *o) {
    switch (o->kind) {
    case COPY:
        if (emulation_check_copy(o->to, o->staged ? o->staged : o->from, o->bytes))
            memmove(o->to, o->staged ? o->staged : o->from, o->bytes);
        return true;
    case FILL:
        if (emulation_check_copy(o->to, NULL, o->bytes)) memset(o->to, o->value, o->bytes);
        return true;
    case LAUNCH:
        run_kernel(o);
        return true;
    case FREE:
        emulation_free(o->to);
        return true;
    case RECORD:
        o->event->done = o->serial;
        clock_gettime(CLOCK_MONOTONIC, &o->event->time);
        return true;
    case WAIT:
        return o->event->done >= o->serial || !o->event->stream ||
               drain(o->event->stream, o->event) || o->event->done >= o->serial;
    case GRAPH:
        for (const operation *inner = o->graph->work.first; inner && !at_work->error;
             inner = inner->next)
            perform(inner);
        return true;
    case STEP:
        return o->step.run(o->step.user);
    }
    return true;
}

/* Does what waits in the stream: all of it, or up to the last record of the event. Work after an error is not done. False: something holds
 * the stream up. */
static bool drain(cuda_stream stream, cuda_event until) {
    cuda_context before = at_work;
    bool goes_on = !stream->is_draining;
    if (!goes_on) return false;
    stream->is_draining = true;
    at_work = stream->context;
    emulation_memory_open();
    while (goes_on && stream->waiting.first && !(until && until->done == until->recorded)) {
        operation *o = stream->waiting.first;
        goes_on = (at_work->error && o->kind != FREE && o->kind != RECORD) || perform(o);
        if (!goes_on) break;
        stream->waiting.first = o->next;
        if (!o->next) stream->waiting.last = NULL;
        release(o);
    }
    emulation_memory_close();
    at_work = before;
    stream->is_draining = false;
    return goes_on;
}

/* The same until nothing holds it up, which others do away with. */
static int wait_for(cuda_stream stream, cuda_event until) {
    while (!drain(stream, until)) {
        const struct timespec pause = {.tv_nsec = 50000};
        pthread_mutex_unlock(&lock);
        nanosleep(&pause, NULL);
        pthread_mutex_lock(&lock);
    }
    at_work = stream->context;
    return at_work->error;
}

/* As far as that goes. */
static void drain_all(void) {
    drain(&at_work->legacy, NULL);
    for (cuda_stream s = at_work->streams; s; s = s->next) drain(s, NULL);
}

static cuda_stream stream_of(cuda_stream stream) {
    return stream ? stream : &at_work->legacy;
}

/* Into the stream, or into the graph that it is captured to. */
static int submit(cuda_stream given, operation what) {
    cuda_stream stream = stream_of(given);
    if (stream->capture && what.kind >= FREE && what.kind != GRAPH) {
        stream->capture_broken = true;
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    operation *o = malloc(sizeof *o);
    *o = what;
    o->next = NULL;
    push(stream->capture ? &stream->capture->work : &stream->waiting, o);
    return 0;
}

int emulation_current_device(void) {
    return depth && stack[depth - 1] ? stack[depth - 1]->device : -1;
}

int emulation_enqueue(cuda_stream stream, emulation_step step) {
    pthread_mutex_lock(&lock);
    find_current();
    return emulation_end(submit(stream, (operation){.kind = STEP, .step = step}));
}

/* ---- the library ---- */

int cuInit(unsigned flags) {
    BEGIN(false);
    if (flags) return end(CUDA_ERROR_INVALID_VALUE);
    if (emulation_device_count() < 1) return end(CUDA_ERROR_NO_DEVICE);
    calls_of_watched = 0;
    started = true;
    return end(0);
}

/* ---- contexts ---- */

int cuDevicePrimaryCtxRetain(cuda_context *out_context, int device) {
    BEGIN(false);
    if (device < 0 || device >= emulation_device_count()) return end(CUDA_ERROR_INVALID_DEVICE);
    cuda_context context = &contexts[device];
    if (!context->references++) emulation_memory_start();
    context->device = device;
    context->legacy.context = context;
    *out_context = context;
    return end(0);
}

/* What is still there when nobody uses the context any more. */
static bool left_behind(void) {
    const struct {
        const char *what;
        bool is_left;
    } kinds[] = {{"stream", at_work->streams},
                 {"event", at_work->events},
                 {"module", at_work->modules},
                 {"graph", at_work->graphs},
                 {"executable graph", at_work->execs}};
    bool left = emulation_memory_left();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (kinds[i].is_left) emulation_finding("a %s was not destroyed", kinds[i].what);
        left |= kinds[i].is_left;
    }
    return left;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    BEGIN(false);
    at_work = &contexts[device];
    if (!at_work->references) return end(CUDA_ERROR_INVALID_CONTEXT);
    if (--at_work->references) return end(0);
    drain_all();
    if (left_behind()) abort();
    emulation_memory_stop();
    at_work->error = 0;
    return end(0);
}

int cuCtxPushCurrent_v2(cuda_context given) {
    BEGIN(false);
    if (depth == sizeof stack / sizeof *stack) return end(CUDA_ERROR_INVALID_CONTEXT);
    stack[depth++] = given;
    return end(given && given->references ? 0 : CUDA_ERROR_INVALID_CONTEXT);
}

int cuCtxPopCurrent_v2(cuda_context *out_context) {
    BEGIN(false);
    if (!depth) return end(CUDA_ERROR_INVALID_CONTEXT);
    *out_context = stack[--depth];
    return end(0);
}

/* ---- memory ---- */

/* Destroying goes on in a context that is lost. */
#define BEGIN_DESTROY                                                                              \
 do {                                                                                              \
  pthread_mutex_lock(&lock);                                                                       \
  find_current();                                                                                  \
  int code_of_wish = injected(__func__);                                                           \
  if (code_of_wish) return end(code_of_wish);                                                      \
 } while (0)

int cuMemGetInfo_v2(size_t *out_free, size_t *out_total) {
    BEGIN(true);
    *out_total = emulation_memory_bytes();
    *out_free = *out_total - emulation_memory_used();
    return end(0);
}

int cuMemPoolCreate(cuda_pool *out_pool, const cuda_pool_properties *properties) {
    BEGIN(true);
    if (properties->allocation != CUDA_POOL_PINNED || properties->handle_types ||
        properties->location_type != CUDA_POOL_ON_DEVICE || properties->location != at_work->device)
        return end(CUDA_ERROR_INVALID_VALUE);
    return end(emulation_pool_create(out_pool));
}

int cuMemPoolDestroy(cuda_pool pool) {
    BEGIN_DESTROY;
    drain_all();
    return end(emulation_pool_destroy(pool));
}

int cuMemPoolSetAttribute(cuda_pool pool, int attribute, void *value) {
    BEGIN(true);
    (void)value;
    return end(pool && attribute == CUDA_POOL_RELEASE_THRESHOLD ? 0 : CUDA_ERROR_INVALID_VALUE);
}

int cuMemAllocFromPoolAsync(cuda_address *out_address, size_t bytes, cuda_pool pool,
                            cuda_stream stream) {
    BEGIN(true);
    if (!pool || !bytes) return end(CUDA_ERROR_INVALID_VALUE);
    if (stream_of(stream)->capture) {
        stream_of(stream)->capture_broken = true;
        return end(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    char *memory = emulation_allocate(bytes);
    if (!memory) { /* what was freed and waits for its stream */
        drain_all();
        memory = emulation_allocate(bytes);
    }
    *out_address = (cuda_address)(uintptr_t)memory;
    return end(memory ? 0 : CUDA_ERROR_OUT_OF_MEMORY);
}

int cuMemFreeAsync(cuda_address address, cuda_stream stream) {
    pthread_mutex_lock(&lock);
    find_current();
    int code = injected(__func__);
    /* A context that is lost still gives memory back here, so that what is left behind is the caller's. */
    return end(code ? code
                    : submit(stream, (operation){.kind = FREE, .to = (char *)(uintptr_t)address}));
}

int cuMemHostAlloc(void **out_memory, size_t bytes, unsigned flags) {
    BEGIN(true);
    if (flags || !bytes) return end(CUDA_ERROR_INVALID_VALUE);
    *out_memory = emulation_allocate_host(bytes);
    return end(*out_memory ? 0 : CUDA_ERROR_OUT_OF_MEMORY);
}

int cuMemFreeHost(void *memory) {
    BEGIN_DESTROY;
    drain_all();
    return end(emulation_free_host(memory) ? 0 : CUDA_ERROR_INVALID_VALUE);
}

int cuMemcpyHtoDAsync_v2(cuda_address to, const void *from, size_t bytes, cuda_stream stream) {
    BEGIN(true);
    operation o = {.kind = COPY, .to = (char *)(uintptr_t)to, .from = from, .bytes = bytes};
    if (emulation_is_device(from) || !emulation_is_device(o.to)) {
        emulation_finding("cuMemcpyHtoDAsync from %p to %p: not from host to device", from,
                          (void *)o.to);
        return end(CUDA_ERROR_INVALID_VALUE);
    }
    if (!emulation_is_pinned(from) && !stream_of(stream)->capture) {
        o.staged = malloc(bytes + 1);
        memcpy(o.staged, from, bytes);
    }
    return end(submit(stream, o));
}

int cuMemcpyDtoHAsync_v2(void *to, cuda_address from, size_t bytes, cuda_stream stream) {
    BEGIN(true);
    operation o = {.kind = COPY, .to = to, .from = (const char *)(uintptr_t)from, .bytes = bytes};
    if (emulation_is_device(to) || !emulation_is_device(o.from)) {
        emulation_finding("cuMemcpyDtoHAsync from %p to %p: not from device to host",
                          (const void *)o.from, to);
        return end(CUDA_ERROR_INVALID_VALUE);
    }
    int code = submit(stream, o);
    if (emulation_is_pinned(to) || stream_of(stream)->capture)
        return end(code ? code : at_work->error);
    int error = wait_for(stream_of(stream), NULL);
    return end(code ? code : error);
}

int cuMemcpyDtoDAsync_v2(cuda_address to, cuda_address from, size_t bytes, cuda_stream stream) {
    BEGIN(true);
    operation o = {.kind = COPY,
                   .to = (char *)(uintptr_t)to,
                   .from = (const char *)(uintptr_t)from,
                   .bytes = bytes};
    if (!emulation_is_device(o.to) || !emulation_is_device(o.from)) {
        emulation_finding("cuMemcpyDtoDAsync from %p to %p: not on the device",
                          (const void *)o.from, (void *)o.to);
        return end(CUDA_ERROR_INVALID_VALUE);
    }
    return end(submit(stream, o));
}

int cuMemsetD8Async(cuda_address to, unsigned char value, size_t bytes, cuda_stream stream) {
    BEGIN(true);
    return end(submit(
        stream,
        (operation){.kind = FILL, .to = (char *)(uintptr_t)to, .value = value, .bytes = bytes}));
}

/* ---- lists of what there is ---- */

/* Adds a new object to the list, or takes one out of it and frees it. */
#define ADD(list, type, out)                                                                       \
 do {                                                                                              \
  struct type *added = calloc(1, sizeof *added);                                                   \
  added->next = (list);                                                                            \
  (list) = added;                                                                                  \
  *(out) = added;                                                                                  \
 } while (0)
#define REMOVE(list, type, object)                                                                 \
 do {                                                                                              \
  struct type **at = &(list);                                                                      \
  while (*at && *at != (object)) at = &(*at)->next;                                                \
  if (!*at) return end(CUDA_ERROR_INVALID_HANDLE);                                                 \
  *at = (object)->next;                                                                            \
 } while (0)

/* ---- streams and events ---- */

int cuStreamCreate(cuda_stream *out_stream, unsigned flags) {
    BEGIN(true);
    if (flags > CUDA_STREAM_NON_BLOCKING) return end(CUDA_ERROR_INVALID_VALUE);
    ADD(at_work->streams, CUstream_st, out_stream);
    (*out_stream)->context = at_work;
    return end(0);
}

int cuStreamDestroy_v2(cuda_stream stream) {
    BEGIN_DESTROY;
    if (!drain(stream, NULL)) emulation_finding("a stream is destroyed that others hold up");
    for (cuda_event e = at_work->events; e; e = e->next)
        if (e->stream == stream) e->stream = NULL;
    REMOVE(at_work->streams, CUstream_st, stream);
    free(stream);
    return end(0);
}

int cuStreamSynchronize(cuda_stream stream) {
    BEGIN(true);
    if (stream_of(stream)->capture) {
        stream_of(stream)->capture_broken = true;
        return end(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    return end(wait_for(stream_of(stream), NULL));
}

int cuStreamWaitEvent(cuda_stream stream, cuda_event event, unsigned flags) {
    BEGIN(true);
    if (flags) return end(CUDA_ERROR_INVALID_VALUE);
    return end(
        submit(stream, (operation){.kind = WAIT, .event = event, .serial = event->recorded}));
}

int cuEventCreate(cuda_event *out_event, unsigned flags) {
    BEGIN(true);
    if (flags) return end(CUDA_ERROR_INVALID_VALUE);
    ADD(at_work->events, CUevent_st, out_event);
    return end(0);
}

int cuEventDestroy_v2(cuda_event event) {
    BEGIN_DESTROY;
    drain_all();
    REMOVE(at_work->events, CUevent_st, event);
    free(event);
    return end(0);
}

int cuEventRecord(cuda_event event, cuda_stream stream) {
    BEGIN(true);
    int code =
        submit(stream, (operation){.kind = RECORD, .event = event, .serial = event->recorded + 1});
    if (code) return end(code);
    event->stream = stream_of(stream);
    event->recorded++;
    return end(0);
}

int cuEventSynchronize(cuda_event event) {
    BEGIN(true);
    return end(event->stream ? wait_for(event->stream, event) : at_work->error);
}

int cuEventQuery(cuda_event event) {
    BEGIN(true);
    if (event->stream) drain(event->stream, event);
    if (at_work->error) return end(at_work->error);
    return end(event->done == event->recorded ? 0 : CUDA_ERROR_NOT_READY);
}

int cuEventElapsedTime(float *out_milliseconds, cuda_event from, cuda_event to) {
    BEGIN(true);
    if (!from->recorded || !to->recorded) return end(CUDA_ERROR_INVALID_HANDLE);
    if (from->done < from->recorded || to->done < to->recorded) return end(CUDA_ERROR_NOT_READY);
    *out_milliseconds = 1e3f * (float)(to->time.tv_sec - from->time.tv_sec) +
                        1e-6f * (float)(to->time.tv_nsec - from->time.tv_nsec);
    return end(0);
}

/* ---- modules ---- */

/* The shared object in a file of its own for as long as dlopen takes. */
static void *open_code(const char *bytes, size_t size) {
    char path[] = "/tmp/sinter_emulated_XXXXXX";
    int file = mkstemp(path);
    if (file < 0) return NULL;
    bool good = write(file, bytes, size) == (ssize_t)size;
    close(file);
    void *library = good ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    unlink(path);
    return library;
}

/* Binaries run on their architecture and later minor numbers of it, PTX on all later ones, "sm_90a" on that alone. */
static bool fits(const emulation_image *head) {
    uint32_t device = (uint32_t)emulation_number("SINTER_EMULATION_ARCHITECTURE", 90);
    if (head->kind == EMULATION_IMAGE_EXACT) return head->architecture == device;
    return head->architecture <= device &&
           (head->kind == EMULATION_IMAGE_TEXT || head->architecture / 10 == device / 10);
}

int cuModuleLoadDataEx(cuda_module *out_module, const void *image, unsigned option_count,
                       int *options, void **values) {
    emulation_image head;
    BEGIN(true);
    if (memcmp(image, EMULATION_IMAGE_MAGIC, sizeof head.magic) != 0) {
        for (unsigned i = 0; i + 1 < option_count; i++)
            if (options[i] == CUDA_JIT_ERROR_LOG && options[i + 1] == CUDA_JIT_ERROR_LOG_BYTES)
                snprintf(values[i], (size_t)(uintptr_t)values[i + 1], "not an emulated module");
        return end(CUDA_ERROR_INVALID_IMAGE);
    }
    memcpy(&head, image, sizeof head);
    if (!fits(&head)) return end(CUDA_ERROR_NO_BINARY_FOR_GPU);
    void *library = open_code((const char *)image + sizeof head, head.bytes);
    if (!library) {
        fprintf(stderr, "cuda emulation: %s\n", dlerror());
        return end(CUDA_ERROR_INVALID_IMAGE);
    }
    ADD(at_work->modules, CUmod_st, out_module);
    (*out_module)->library = library;
    return end(0);
}

int cuModuleUnload(cuda_module module) {
    BEGIN_DESTROY;
    drain_all();
    REMOVE(at_work->modules, CUmod_st, module);
    for (struct CUfunc_st *next, *f = module->functions; f; f = next) {
        next = f->next;
        free(f);
    }
    dlclose(module->library);
    free(module);
    return end(0);
}

int cuModuleGetFunction(cuda_function *out_function, cuda_module module, const char *name) {
    BEGIN(true);
    sinter_emulated_kernels_function get;
    void *symbol = dlsym(module->library, "sinter_emulated_kernels");
    memcpy(&get, &symbol, sizeof get);
    uint32_t count = 0;
    const sinter_emulated_kernel *kernels = get ? get(&count) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(kernels[i].name, name) != 0) continue;
        ADD(module->functions, CUfunc_st, out_function);
        (*out_function)->kernel = &kernels[i];
        (*out_function)->shared_bytes = 48 << 10;
        return end(0);
    }
    return end(CUDA_ERROR_NOT_FOUND);
}

int cuFuncSetAttribute(cuda_function function, int attribute, int value) {
    BEGIN(true);
    if (attribute != CUDA_FUNCTION_SHARED_BYTES || value < 0 || value > EMULATION_SHARED_BYTES)
        return end(CUDA_ERROR_INVALID_VALUE);
    if ((unsigned)value > function->shared_bytes) function->shared_bytes = (unsigned)value;
    return end(0);
}

int cuLaunchKernel(cuda_function function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   cuda_stream stream, void **arguments, void **extra) {
    operation o = {.kind = LAUNCH,
                   .function = function,
                   .grid = {grid_x, grid_y, grid_z},
                   .block = {block_x, block_y, block_z},
                   .shared_bytes = shared_bytes};
    uint64_t threads = (uint64_t)block_x * block_y * block_z;
    BEGIN(true);
    if (extra || !threads || threads > 1024 || block_z > 64 || !grid_x || grid_x > INT32_MAX ||
        !grid_y || grid_y > 65535 || !grid_z || grid_z > 65535)
        return end(CUDA_ERROR_INVALID_VALUE);
    if (shared_bytes > function->shared_bytes) return end(CUDA_ERROR_INVALID_VALUE);
    const uint32_t count = function->kernel->parameter_count,
                   maps = function->kernel->map_count; /* the last ones; all others are 8 bytes */
    o.arguments = malloc(count * (sizeof *o.arguments + sizeof(uint64_t)) +
                         maps * (size_t)EMULATED_MAP_BYTES + 1);
    char *values = (char *)(o.arguments + count);
    for (uint32_t i = 0; i < count; i++) {
        const size_t bytes = i + maps < count ? sizeof(uint64_t) : EMULATED_MAP_BYTES;
        o.arguments[i] = memcpy(values, arguments[i], bytes);
        values += bytes;
    }
    return end(submit(stream, o));
}

/* ---- graphs ---- */

int cuStreamBeginCapture_v2(cuda_stream stream, int mode) {
    BEGIN(true);
    if (!stream || stream->capture || mode != CUDA_CAPTURE_THREAD_LOCAL)
        return end(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    ADD(at_work->graphs, CUgraph_st, &stream->capture);
    stream->capture_broken = false;
    return end(0);
}

int cuGraphDestroy(cuda_graph graph) {
    BEGIN_DESTROY;
    REMOVE(at_work->graphs, CUgraph_st, graph);
    clear(&graph->work);
    free(graph);
    return end(0);
}

/* Ends it in any case: one that was broken, or is to fail here, leaves no graph. */
int cuStreamEndCapture(cuda_stream stream, cuda_graph *out_graph) {
    int begun = emulation_begin(__func__, true);
    cuda_graph graph = stream->capture;
    *out_graph = NULL;
    stream->capture = NULL;
    if (!graph) return end(begun ? begun : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    if (!begun && !stream->capture_broken) return *out_graph = graph, end(0);
    REMOVE(at_work->graphs, CUgraph_st, graph);
    clear(&graph->work);
    free(graph);
    return end(begun ? begun : CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

/* The graph's work becomes the executable's: a graph is instantiated once here. */
int cuGraphInstantiateWithFlags(cuda_graph_exec *out_exec, cuda_graph graph,
                                unsigned long long flags) {
    BEGIN(true);
    if (flags) return end(CUDA_ERROR_INVALID_VALUE);
    ADD(at_work->execs, CUgraphExec_st, out_exec);
    (*out_exec)->work = graph->work;
    graph->work = (queue){0};
    return end(0);
}

int cuGraphLaunch(cuda_graph_exec exec, cuda_stream stream) {
    BEGIN(true);
    return end(submit(stream, (operation){.kind = GRAPH, .graph = exec}));
}

int cuGraphExecDestroy(cuda_graph_exec exec) {
    BEGIN_DESTROY;
    drain_all();
    REMOVE(at_work->execs, CUgraphExec_st, exec);
    clear(&exec->work);
    free(exec);
    return end(0);
}
