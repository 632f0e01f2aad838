/* Conformance of device drivers: the same cases over the CPU, the emulated CUDA driver and, where there is one, a GPU. Then what
 * only the emulation can show: every function of the driver failing in turn, no device, an old driver, too little memory. */
#include "tests/unit/device_support.h"

enum { MANY = 1000 };

/* y += scale * x, and a kernel that writes where it must not unless n is 0. */
static const char cuda_text[] =
    "extern \"C\" __global__ void __launch_bounds__(256) add_scaled(int *y, const int *x, long "
    "long n,\n"
    "                                                            long long scale)\n"
    "{\n"
    "    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] += (int)scale * x[i];\n"
    "}\n"
    "extern \"C\" __global__ void number(int *y, long long n)\n"
    "{\n"
    "    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] = (int)i;\n"
    "}\n";
static const char c_text[] =
    "#include \"runtime/abi.h\"\n"
    "void add_scaled(const sinter_abi_launch *launch);\n"
    "void number(const sinter_abi_launch *launch);\n"
    "void add_scaled(const sinter_abi_launch *launch) {\n"
    "    int *y = (int *)launch->arguments[0];\n"
    "    const int *x = (const int *)launch->arguments[1];\n"
    "    for (uint64_t i = 0; i < launch->arguments[2]; i++) y[i] += (int)launch->arguments[3] * "
    "x[i];\n"
    "}\n"
    "void number(const sinter_abi_launch *launch) {\n"
    "    int *y = (int *)launch->arguments[0];\n"
    "    for (uint64_t i = 0; i < launch->arguments[1]; i++) y[i] = (int)i;\n"
    "}\n";

/* ---- the caller's allocator: all comes back, and it has its limits ---- */

static int64_t live;

static void *allocate(void *user, size_t size, size_t alignment) {
    (void)user;
    void *memory = NULL;
    if (size > (size_t)1 << 32 || posix_memalign(&memory, alignment, size)) return NULL;
    live++;
    return memory;
}

static void deallocate(void *user, void *pointer, size_t size, size_t alignment) {
    (void)user, (void)size, (void)alignment;
    live--;
    free(pointer);
}

static const sinter_allocator allocator = {.allocate = allocate, .deallocate = deallocate};

/* ---- cases ---- */

typedef struct bench {
    const char *name;
    sinter_device *device;
    const sinter_device_driver *driver;
    sinter_device_stream *stream;
    sinter_text image;
} bench;

static void test_properties(bench *b) {
    const sinter_device_properties *p = &b->device->properties;
    CHECK(p->name[0] && !strcmp(sinter_device_name(b->device), p->name));
    CHECK(p->multiprocessors && p->warp && p->block_threads >= 256);
    CHECK(p->shared_bytes >= 48 << 10 && p->memory_bytes >= 1 << 28);
    CHECK((p->architecture >= 75) == !strcmp(b->driver->name, "cuda"));
}

static void test_memory(bench *b) {
    const uint64_t sizes[] = {0, 1, 255, 4096, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *first = NULL, *second = NULL;
        size_t bytes = (size_t)sizes[i];
        unsigned char *in = malloc(bytes + 1), *out = malloc(bytes + 1);
        for (size_t k = 0; k < bytes; k++) in[k] = (unsigned char)(k * 7 + i);
        GOOD(b->driver->allocate(b->stream, bytes, &first));
        GOOD(b->driver->allocate(b->stream, bytes, &second));
        CHECK(first && second && first != second && (uintptr_t)first % 256 == 0);
        GOOD(b->driver->copy(b->stream, first, in, bytes, SINTER_ABI_COPY_TO_DEVICE));
        GOOD(b->driver->copy(b->stream, second, first, bytes, SINTER_ABI_COPY_ON_DEVICE));
        GOOD(b->driver->fill(b->stream, first, 0x3c, bytes / 2));
        GOOD(b->driver->copy(b->stream, out, second, bytes, SINTER_ABI_COPY_TO_HOST));
        GOOD(b->driver->stream_wait(b->stream));
        CHECK(memcmp(in, out, bytes) == 0);
        GOOD(b->driver->copy(b->stream, out, first, bytes, SINTER_ABI_COPY_TO_HOST));
        GOOD(b->driver->stream_wait(b->stream));
        memset(in, 0x3c, bytes / 2);
        CHECK(memcmp(in, out, bytes) == 0);
        GOOD(b->driver->deallocate(b->stream, first));
        GOOD(b->driver->deallocate(b->stream, second));
        free(in);
        free(out);
    }
    GOOD(b->driver->deallocate(b->stream, NULL));
    FAILS(b->driver->copy(b->stream, NULL, NULL, 1, 7), SINTER_STATUS_BAD_INPUT);
}

/* Memory of the caller's may be used again at once; a copy to pinned memory is there after the wait. */
static void test_host_memory(bench *b) {
    int *pinned = NULL, *device = NULL, value = 1;
    GOOD(b->driver->allocate_host(b->device, sizeof *pinned, (void **)&pinned));
    GOOD(b->driver->allocate(b->stream, sizeof *device, (void **)&device));
    *pinned = 5;
    GOOD(b->driver->copy(b->stream, device, &value, sizeof value, SINTER_ABI_COPY_TO_DEVICE));
    value = 2;
    GOOD(b->driver->copy(b->stream, pinned, device, sizeof value, SINTER_ABI_COPY_TO_HOST));
    GOOD(b->driver->stream_wait(b->stream));
    CHECK_INT_EQ(*pinned, 1);
    GOOD(b->driver->deallocate(b->stream, device));
    GOOD(b->driver->deallocate_host(b->device, pinned));
    GOOD(b->driver->deallocate_host(b->device, NULL));
}

static void test_out_of_memory(bench *b) {
    void *memory = NULL;
    FAILS(b->driver->allocate(b->stream, UINT64_C(1) << 46, &memory), SINTER_STATUS_OUT_OF_MEMORY);
    CHECK(memory == NULL);
    test_host_memory(b); /* it goes on */
}

/* What one stream makes, another takes, in the order that an event gives. */
static void test_events(bench *b) {
    sinter_device_stream *other = NULL;
    sinter_device_event *made = NULL, *taken = NULL;
    char *memory = NULL, out[4] = "";
    double seconds = -1;
    GOOD(b->driver->stream_create(b->device, &other));
    GOOD(b->driver->event_create(b->device, &made));
    GOOD(b->driver->event_create(b->device, &taken));
    GOOD(b->driver->event_wait(made)); /* never recorded */
    GOOD(b->driver->allocate(b->stream, 4, (void **)&memory));
    GOOD(b->driver->fill(b->stream, memory, 'x', 4));
    GOOD(b->driver->event_record(made, b->stream));
    GOOD(b->driver->stream_wait_event(other, made));
    GOOD(b->driver->copy(other, out, memory, 4, SINTER_ABI_COPY_TO_HOST));
    GOOD(b->driver->event_record(taken, other));
    for (bool is_done = false; !is_done;)
        if (!CHECK(!b->driver->event_query(taken, &is_done))) break;
    GOOD(b->driver->event_wait(taken));
    CHECK(memcmp(out, "xxxx", 4) == 0);
    GOOD(b->driver->event_seconds(made, taken, &seconds));
    CHECK(seconds >= 0 && seconds < 60);
    GOOD(b->driver->stream_wait_event(b->stream, taken));
    GOOD(b->driver->deallocate(b->stream, memory));
    GOOD(b->driver->event_destroy(made));
    GOOD(b->driver->event_destroy(taken));
    GOOD(b->driver->stream_destroy(other));
    GOOD(b->driver->event_destroy(NULL));
    GOOD(b->driver->stream_destroy(NULL));
}

static sinter_status *launch(bench *b, const sinter_device_function *function, uint32_t threads,
                             const uint64_t *arguments, uint32_t argument_count) {
    sinter_abi_launch how = {.grid = {(MANY + 255) / 256, 1, 1},
                             .block = {threads, 1, 1},
                             .argument_count = argument_count,
                             .arguments = arguments};
    return b->driver->launch(b->stream, function, &how);
}

static void test_modules(bench *b) {
    sinter_device_module *module = NULL, *again = NULL;
    sinter_device_function *add = NULL, *number = NULL;
    static int out[MANY];
    void *x = NULL, *y = NULL;
    GOOD(b->driver->module_load(b->device, b->image.data, b->image.size, &module));
    GOOD(b->driver->module_load(b->device, b->image.data, b->image.size, &again));
    GOOD(b->driver->function_get(module, "add_scaled", 0, &add));
    GOOD(b->driver->function_get(again, "number", 16, &number));
    GOOD(b->driver->allocate(b->stream, sizeof out, &x));
    GOOD(b->driver->allocate(b->stream, sizeof out, &y));
    uint64_t arguments[] = {(uintptr_t)y, (uintptr_t)x, MANY, 3};
    GOOD(b->driver->fill(b->stream, y, 0, sizeof out));
    GOOD(launch(b, number, 256, (uint64_t[]){(uintptr_t)x, MANY}, 2));
    GOOD(launch(b, add, 256, arguments, 4));
    arguments[3] = 4; /* what was launched has what was there then */
    GOOD(launch(b, add, 256, arguments, 4));
    arguments[3] = 100;
    GOOD(b->driver->copy(b->stream, out, y, sizeof out, SINTER_ABI_COPY_TO_HOST));
    GOOD(b->driver->stream_wait(b->stream));
    int wrong = 0;
    for (int i = 0; i < MANY; i++) wrong += out[i] != 7 * i;
    CHECK_INT_EQ(wrong, 0);
    sinter_device_function *none;
    FAILS_SAYING(b->driver->function_get(module, "missing", 0, &none), SINTER_STATUS_BAD_ARTIFACT,
                 "missing");
    FAILS(b->driver->function_get(module, "add_scaled", 1 << 24, &none),
          SINTER_STATUS_WRONG_DEVICE);
    GOOD(b->driver->deallocate(b->stream, x));
    GOOD(b->driver->deallocate(b->stream, y));
    GOOD(b->driver->stream_wait(b->stream));
    GOOD(b->driver->module_unload(module));
    GOOD(b->driver->module_unload(again));
    GOOD(b->driver->module_unload(NULL));
}

static void test_launches_refused(bench *b) {
    sinter_device_module *module = NULL;
    sinter_device_function *number = NULL;
    static const char junk[64] = "this is no code at all, whatever the device";
    FAILS(b->driver->module_load(b->device, junk, sizeof junk, &module),
          SINTER_STATUS_WRONG_DEVICE);
    CHECK(module == NULL);
    GOOD(b->driver->module_load(b->device, b->image.data, b->image.size, &module));
    GOOD(b->driver->function_get(module, "number", 0, &number));
    uint64_t arguments[] = {0, 0};
    for (uint32_t threads = 0; threads <= 2048; threads += 2048) {
        sinter_status *status = launch(b, number, threads, arguments, 2);
        CHECK(status != NULL);
        sinter_status_destroy(status);
    }
    GOOD(launch(b, number, 32, arguments, 2));
    GOOD(b->driver->stream_wait(b->stream));
    GOOD(b->driver->module_unload(module));
}

static void test_graphs(bench *b) {
    sinter_device_module *module = NULL;
    sinter_device_function *add = NULL;
    sinter_device_graph *graph = NULL;
    int *in = NULL, *out = NULL, *x = NULL, *y = NULL;
    GOOD(b->driver->module_load(b->device, b->image.data, b->image.size, &module));
    GOOD(b->driver->function_get(module, "add_scaled", 0, &add));
    GOOD(b->driver->allocate_host(b->device, sizeof *in, (void **)&in));
    GOOD(b->driver->allocate_host(b->device, sizeof *out, (void **)&out));
    GOOD(b->driver->allocate(b->stream, sizeof *x, (void **)&x));
    GOOD(b->driver->allocate(b->stream, sizeof *y, (void **)&y));
    *out = -1;
    GOOD(b->driver->capture_begin(b->stream));
    GOOD(b->driver->copy(b->stream, x, in, sizeof *x, SINTER_ABI_COPY_TO_DEVICE));
    GOOD(b->driver->fill(b->stream, y, 0, sizeof *y));
    GOOD(launch(b, add, 256, (uint64_t[]){(uintptr_t)y, (uintptr_t)x, 1, 5}, 4));
    GOOD(b->driver->copy(b->stream, out, y, sizeof *y, SINTER_ABI_COPY_TO_HOST));
    GOOD(b->driver->capture_end(b->stream, &graph));
    GOOD(b->driver->stream_wait(b->stream));
    CHECK_INT_EQ(*out, -1); /* kept, not done */
    for (int i = 1; i < 4; i++) {
        *in = i;
        GOOD(b->driver->graph_launch(graph, b->stream));
        GOOD(b->driver->stream_wait(b->stream));
        CHECK_INT_EQ(*out, 5 * i);
    }
    GOOD(b->driver->graph_destroy(graph));
    GOOD(b->driver->graph_destroy(NULL));
    GOOD(b->driver->deallocate(b->stream, x));
    GOOD(b->driver->deallocate(b->stream, y));
    GOOD(b->driver->stream_wait(b->stream));
    GOOD(b->driver->deallocate_host(b->device, in));
    GOOD(b->driver->deallocate_host(b->device, out));
    GOOD(b->driver->module_unload(module));
}

/* A capture that something broke ends, and the stream works again. */
static void test_broken_capture(bench *b) {
    sinter_device_graph *graph = NULL;
    GOOD(b->driver->capture_begin(b->stream));
    sinter_status *status = b->driver->stream_wait(b->stream);
    CHECK(status != NULL);
    sinter_status_destroy(status);
    sinter_status_destroy(b->driver->capture_end(b->stream, &graph));
    GOOD(b->driver->graph_destroy(graph));
    status = b->driver->capture_end(b->stream, &graph);
    CHECK(status != NULL && graph == NULL);
    sinter_status_destroy(status);
    test_host_memory(b);
}

static void run_conformance(const char *name, const sinter_text *image) {
    bench b = {.name = name, .image = *image};
    live = 0;
    GOOD(sinter_device_open(name, &allocator, &b.device));
    if (!b.device) return;
    b.driver = b.device->driver;
    GOOD(b.driver->stream_create(b.device, &b.stream));
    test_properties(&b);
    test_memory(&b);
    test_host_memory(&b);
    test_out_of_memory(&b);
    test_events(&b);
    test_modules(&b);
    test_launches_refused(&b);
    test_graphs(&b);
    test_broken_capture(&b);
    GOOD(b.driver->stream_destroy(b.stream));
    sinter_device_stream *wrapped = NULL; /* the driver's own default stream */
    GOOD(b.driver->stream_wrap(b.device, NULL, &wrapped));
    b.stream = wrapped;
    test_memory(&b);
    test_modules(&b);
    GOOD(b.driver->stream_destroy(wrapped));
    sinter_device_close(b.device);
    CHECK_INT_EQ(live, 0);
}

/* ---- names ---- */

static void test_names(void) {
    static const char *const bad[] = {"",        "gpu",        "cuda:", "cuda:x",
                                      "cuda:-1", "cuda:12345", "cudas", "cpu:0:0"};
    sinter_device *device;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS_SAYING(sinter_device_open(bad[i], NULL, &device), SINTER_STATUS_BAD_INPUT, bad[i]);
    FAILS(sinter_device_open(NULL, NULL, &device), SINTER_STATUS_BAD_INPUT);
    FAILS(sinter_device_open("cpu", NULL, NULL), SINTER_STATUS_BAD_INPUT);
    FAILS(sinter_device_open("cpu:1", NULL, &device), SINTER_STATUS_NO_DEVICE);
    sinter_device_close(NULL);
    CHECK_STRING_EQ(sinter_device_name(NULL), "");
}

/* ---- the emulation alone ---- */

static void with(const char *variable, const char *value, sinter_status_code code, const char *text,
                 const char *also) {
    sinter_device *device = NULL;
    setenv(variable, value, 1);
    FAILS_SAYING(sinter_device_open("cuda", NULL, &device), code, text, also);
    unsetenv(variable);
}

static void test_no_device(void) {
    sinter_device *device = NULL;
    with("SINTER_EMULATION_DEVICES", "0", SINTER_STATUS_NO_DEVICE, "CUDA_ERROR_NO_DEVICE",
         "no CUDA-capable device");
    with("SINTER_EMULATION_VERSION", "10020", SINTER_STATUS_NO_DEVICE, "CUDA 10.2", "11.4");
    with("SINTER_CUDA_PATH", "tests/cuda_emulation/missing", SINTER_STATUS_NO_DEVICE, "driver",
         "cuda");
    use_emulation();
    FAILS_SAYING(sinter_device_open("cuda:1", NULL, &device), SINTER_STATUS_NO_DEVICE, "1 device");
}

/* A file by the name of the driver that is none. */
static void test_broken_driver(void) {
    char folder[] = "/tmp/sinter_device_XXXXXX", path[64];
    sinter_device *device = NULL;
    if (!CHECK(mkdtemp(folder) != NULL)) return;
    snprintf(path, sizeof path, "%s/libcuda.so.1", folder);
    CHECK(sinter_file_write(path, "junk", 4, NULL));
    setenv("SINTER_CUDA_PATH", folder, 1);
    FAILS_SAYING(sinter_device_open("cuda", NULL, &device), SINTER_STATUS_NO_DEVICE, "driver",
                 folder);
    unlink(path);
    rmdir(folder);
    use_emulation();
}

static void test_wrong_architecture(void) {
    static const struct {
        const char *built, *device;
        bool fits;
    } cases[] = {{"sm_80", "86", true},      {"sm_86", "80", false},   {"sm_80", "90", false},
                 {"sm_90a", "90", true},     {"sm_90a", "100", false}, {"compute_80", "90", true},
                 {"compute_90", "80", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_text image = {0};
        sinter_device *device = NULL;
        sinter_device_module *module = NULL;
        setenv("SINTER_EMULATION_ARCHITECTURE", cases[i].device, 1);
        GOOD(sinter_device_open("cuda", NULL, &device));
        if (CHECK(device && compile_cuda(cuda_text, cases[i].built, &image))) {
            sinter_status *status =
                device->driver->module_load(device, image.data, image.size, &module);
            if (cases[i].fits)
                GOOD(status);
            else
                FAILS_SAYING(status, SINTER_STATUS_WRONG_DEVICE, "CUDA_ERROR_NO_BINARY_FOR_GPU",
                             cases[i].device);
            GOOD(device->driver->module_unload(module));
        }
        sinter_device_close(device);
        sinter_text_deinit(&image);
    }
    unsetenv("SINTER_EMULATION_ARCHITECTURE");
}

/* Everything that a driver does, up to the first failure; all is given back whatever happens. */
static sinter_status *use_all(const sinter_text *image) {
    sinter_device *device = NULL;
    sinter_device_stream *stream = NULL;
    sinter_device_event *event = NULL;
    sinter_device_module *module = NULL;
    sinter_device_function *function = NULL;
    sinter_device_graph *graph = NULL;
    void *memory = NULL, *pinned = NULL;
    int out[4];
    double seconds;
    sinter_status *status = sinter_device_open("cuda", &allocator, &device);
    if (status) return status;
    const sinter_device_driver *d = device->driver;
#define STEP(call)                                                                                 \
 if (!status) status = (call)
    STEP(d->stream_create(device, &stream));
    STEP(d->event_create(device, &event));
    STEP(d->module_load(device, image->data, image->size, &module));
    STEP(d->function_get(module, "number", 64, &function));
    STEP(d->allocate(stream, sizeof out, &memory));
    STEP(d->allocate_host(device, sizeof out, &pinned));
    uint64_t arguments[] = {(uintptr_t)memory, 4};
    sinter_abi_launch how = {
        .grid = {1, 1, 1}, .block = {32, 1, 1}, .argument_count = 2, .arguments = arguments};
    const sinter_abi_map map = {.address = (uintptr_t)memory,
                                .dims = {2, 64},
                                .strides = {128, 2},
                                .sizes = {2, 64},
                                .rank = 2};
    sinter_abi_launch mapped = how;
    mapped.map_count = 1;
    mapped.maps = &map;
    STEP(d->launch(stream, function, &mapped));
    STEP(d->fill(stream, memory, 0, sizeof out));
    STEP(d->launch(stream, function, &how));
    STEP(d->copy(stream, memory, pinned, sizeof out, SINTER_ABI_COPY_TO_DEVICE));
    STEP(d->copy(stream, memory, memory, sizeof out, SINTER_ABI_COPY_ON_DEVICE));
    STEP(d->event_record(event, stream));
    STEP(d->stream_wait_event(stream, event));
    STEP(d->capture_begin(stream));
    bool capturing = !status;
    STEP(d->launch(stream, function, &how));
    if (capturing) {
        sinter_status *ended = d->capture_end(stream, &graph);
        if (status)
            sinter_status_destroy(ended);
        else
            status = ended;
    }
    STEP(d->graph_launch(graph, stream));
    STEP(d->copy(stream, out, memory, sizeof out, SINTER_ABI_COPY_TO_HOST));
    bool is_done = false;
    STEP(d->event_query(event, &is_done));
    STEP(d->event_wait(event));
    STEP(d->event_seconds(event, event, &seconds));
    STEP(d->stream_wait(stream));
    if (!status) CHECK(out[0] == 0 && out[3] == 3);
    if (memory) sinter_status_destroy(d->deallocate(stream, memory));
    sinter_status_destroy(d->deallocate_host(device, pinned));
    sinter_status_destroy(d->graph_destroy(graph));
    sinter_status_destroy(d->event_destroy(event));
    sinter_status_destroy(d->module_unload(module));
    sinter_status_destroy(d->stream_destroy(stream));
    sinter_device_close(device);
    return status;
}

/* What the driver asks of maps, which it makes for a launch. */
static void test_maps(const sinter_text *image) {
    sinter_device *device = NULL;
    sinter_device_stream *stream = NULL;
    sinter_device_module *module = NULL;
    sinter_device_function *function = NULL;
    void *memory = NULL;
    GOOD(sinter_device_open("cuda", NULL, &device));
    const sinter_device_driver *d = device->driver;
    GOOD(d->stream_create(device, &stream));
    GOOD(d->module_load(device, image->data, image->size, &module));
    GOOD(d->function_get(module, "number", 0, &function));
    GOOD(d->allocate(stream, 4096, &memory));
    for (int wrong = 0; wrong < 8; wrong++) {
        const uint64_t arguments[] = {(uintptr_t)memory, 4};
        const sinter_abi_map map = {.address = (uintptr_t)memory + (wrong == 1 ? 2 : 0),
                                    .dims = {wrong == 2 ? 0 : 2, 64},
                                    .strides = {wrong == 3 ? 136 : 128, 2},
                                    .sizes = {wrong == 4 ? 257 : 2, wrong == 5 ? 128 : 64},
                                    .rank = wrong == 6 ? 1 : 2};
        const sinter_abi_launch how = {.grid = {1, 1, 1},
                                       .block = {32, 1, 1},
                                       .argument_count = 2,
                                       .arguments = arguments,
                                       .map_count = wrong == 7 ? SINTER_ABI_MOST_MAPS + 1 : 1,
                                       .maps = &map};
        sinter_status *status = d->launch(stream, function, &how);
        const char *text = status ? sinter_status_message(status) : "",
                   *wanted = wrong == 0   ? ""
                             : wrong == 6 ? "a map of rank 1"
                             : wrong == 7 ? "17 maps"
                                          : "cuTensorMapEncodeTiled: CUDA_ERROR_INVALID_VALUE";
        CHECK(!status == !wrong && strstr(text, wanted));
        sinter_status_destroy(status);
    }
    GOOD(d->stream_wait(stream));
    GOOD(d->deallocate(stream, memory));
    GOOD(d->module_unload(module));
    GOOD(d->stream_destroy(stream));
    sinter_device_close(device);
}

static const char *const symbols[] = {
#define CUDA(name, symbol, parameters) #symbol,
#include "runtime/cuda_symbols.def"
#undef CUDA
};

/* Each function of the driver fails once, and says so: the status names it, the error and our line, and nothing is left (which
 * ends the process when the emulated context is released). What fails to give something back leaves it behind. */
static void test_failures(const sinter_text *image) {
    static const char *const gives_back[] = {"Free", "Destroy", "Unload", "Release", "Pop"};
    int failed = 0;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        char wish[128];
        bool skip = false;
        for (size_t k = 0; k < sizeof gives_back / sizeof *gives_back; k++)
            skip |= strstr(symbols[i], gives_back[k]) != NULL;
        if (skip) continue;
        snprintf(wish, sizeof wish, "%s@1=999", symbols[i]);
        setenv("SINTER_EMULATION_FAIL", wish, 1);
        live = 0;
        sinter_status *status = use_all(image);
        unsetenv("SINTER_EMULATION_FAIL");
        CHECK_INT_EQ(live, 0);
        if (status) {
            failed++;
            if (!CHECK(strstr(sinter_status_message(status), "CUDA_ERROR") &&
                       strstr(sinter_status_file(status), "device_cuda.c") &&
                       sinter_status_line(status) > 0))
                printf("  %s: %s\n", symbols[i], sinter_status_message(status));
        } else if (strncmp(symbols[i], "cuGetError", 10) &&
                   strncmp(symbols[i], "cuMemGetInfo", 12)) {
            CHECK(!"the failure of a function goes unseen");
            printf("  %s\n", symbols[i]);
        }
        sinter_status_destroy(status);
    }
    CHECK(failed > 25);
    GOOD(use_all(image));
}

/* A kernel that fails as it runs: the next wait says so, and so does everything after it. */
static void test_lost_context(const sinter_text *image) {
    setenv("SINTER_EMULATION_FAIL", "kernel@1=719", 1);
    FAILS_SAYING(use_all(image), SINTER_STATUS_FAILED, "CUDA_ERROR_LAUNCH_FAILED",
                 "Emulated GPU 0");
    unsetenv("SINTER_EMULATION_FAIL");
    GOOD(use_all(image));
}

static void test_little_memory(void) {
    sinter_device *device = NULL;
    sinter_device_stream *stream = NULL;
    void *memory = NULL;
    setenv("SINTER_EMULATION_MEMORY", "1000000", 1);
    GOOD(sinter_device_open("cuda", NULL, &device));
    if (!device) return;
    GOOD(device->driver->stream_create(device, &stream));
    FAILS_SAYING(device->driver->allocate(stream, 1000001, &memory), SINTER_STATUS_OUT_OF_MEMORY,
                 "1000001", "1000000");
    for (int i = 0; i < 4; i++) { /* what is given back in the stream's order is there again */
        GOOD(device->driver->allocate(stream, 900000, &memory));
        GOOD(device->driver->fill(stream, memory, 1, 900000));
        GOOD(device->driver->deallocate(stream, memory));
    }
    GOOD(device->driver->stream_destroy(stream));
    sinter_device_close(device);
    unsetenv("SINTER_EMULATION_MEMORY");
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    sinter_text on_cpu = {0}, emulated = {0}, real = {0};
    test_names();
    CHECK(compile_c(c_text, &on_cpu));
    run_conformance("cpu", &on_cpu);
    sinter_device *gpu = NULL;
    if (access("/dev/nvidia0", F_OK) == 0 && !code_of(sinter_device_open("cuda", NULL, &gpu), 0)) {
        char architecture[32];
        snprintf(architecture, sizeof architecture, "sm_%u", gpu->properties.architecture);
        sinter_device_close(gpu);
        if (CHECK(compile_cuda(cuda_text, architecture, &real))) run_conformance("cuda", &real);
    } else {
        printf("no GPU here: its driver is not tested\n");
    }
    use_emulation();
    CHECK(compile_cuda(cuda_text, "sm_90", &emulated));
    run_conformance("cuda", &emulated);
    test_no_device();
    test_broken_driver();
    test_wrong_architecture();
    test_maps(&emulated);
    test_failures(&emulated);
    test_lost_context(&emulated);
    test_little_memory();
    sinter_text_deinit(&on_cpu);
    sinter_text_deinit(&emulated);
    sinter_text_deinit(&real);
    return test_finish();
}
