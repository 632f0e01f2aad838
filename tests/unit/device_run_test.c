/* Artifacts with code for a device, by hand, over the CPU as a device and over the emulated CUDA driver: what a run puts into its
 * stream, graphs that are captured and replayed, weights that are uploaded once, outputs whose size the run finds out, failures
 * of kernels, exchanges of ranks, runs on the caller's stream, threads, too little memory, and every function of the driver failing in
 * turn. */
#include "tests/unit/device_support.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOST = 64, WEIGHTS = 4 };

/* tmp = 2 * x; y = tmp + weights[i % 4], which fails at an element below 0; the elements above 0 are counted, and numbered. */
static const char cuda_text[] =
    "typedef long long i64;\n"
    "extern \"C\" __global__ void twice(int *tmp, const int *x, i64 n) {\n"
    "    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) tmp[i] = 2 * x[i];\n"
    "}\n"
    "extern \"C\" __global__ void add(int *y, const int *tmp, const int *w, i64 n, int *failure) "
    "{\n"
    "    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i >= n) return;\n"
    "    if (tmp[i] < 0) { failure[0] = 2; failure[1] = 7; ((i64 *)failure)[1] = i; return; }\n"
    "    y[i] = tmp[i] + w[i % 4];\n"
    "}\n"
    "extern \"C\" __global__ void count(i64 *count, const int *tmp, i64 n) {\n"
    "    *count = 0;\n"
    "    for (i64 i = 0; i < n; i++) *count += tmp[i] > 0;\n"
    "}\n"
    "extern \"C\" __global__ void number(int *y, i64 n) {\n"
    "    i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;\n"
    "    if (i < n) y[i] = (int)i;\n"
    "}\n";
static const char c_text[] =
    "#include \"runtime/abi.h\"\n"
    "#define KERNEL(name) void name(const sinter_abi_launch *l); void name(const sinter_abi_launch "
    "*l)\n"
    "#define A(type, i) ((type *)l->arguments[i])\n"
    "#define N(i) ((int64_t)l->arguments[i])\n"
    "KERNEL(twice) { for (int64_t i = 0; i < N(2); i++) A(int, 0)[i] = 2 * A(int, 1)[i]; }\n"
    "KERNEL(add) {\n"
    "    for (int64_t i = 0; i < N(3); i++) {\n"
    "        sinter_abi_device_failure *f = A(sinter_abi_device_failure, 4);\n"
    "        if (A(int, 1)[i] >= 0) { A(int, 0)[i] = A(int, 1)[i] + A(int, 2)[i % 4]; continue; }\n"
    "        f->code = 2; f->message = 7; f->values[0] = i;\n"
    "    }\n"
    "}\n"
    "KERNEL(count) {\n"
    "    *A(int64_t, 0) = 0;\n"
    "    for (int64_t i = 0; i < N(2); i++) *A(int64_t, 0) += A(int, 1)[i] > 0;\n"
    "}\n"
    "KERNEL(number) { for (int64_t i = 0; i < N(1); i++) A(int, 0)[i] = (int)i; }\n";

/* ---- the artifact ---- */

static _Atomic int runs; /* of its host code: a replayed graph is none */
static _Atomic int looks;

static int32_t plan(sinter_abi_call *call) {
    const sinter_abi_tensor *x = &call->inputs[0];
    int64_t n = x->dims[0];
    call->message[0] = 0;
    if (x->rank != 1 || n < 0 || n > MOST) {
        snprintf(call->message, sizeof call->message, "x: expected at most %d elements", MOST);
        return call->code = SINTER_ABI_BAD_INPUT;
    }
    call->symbols[0] = n;
    call->outputs[0].rank = call->outputs[1].rank = 1;
    call->outputs[0].dtype = call->outputs[1].dtype = 6;
    call->outputs[0].dims[0] = n;
    call->outputs[1].dims[0] = -1;
    call->workspace_bytes = 128;
    call->device_workspace_bytes = 256 + (uint64_t)n * 4;
    return call->code = SINTER_ABI_OK;
}

static int32_t launch(const sinter_abi_call *call, uint32_t kernel, uint64_t a, uint64_t b,
                      uint64_t c, uint64_t d) {
    uint64_t arguments[] = {a, b, c, d, (uintptr_t)call->device->failure};
    static const uint32_t counts[] = {3, 5, 3, 2};
    sinter_abi_launch how = {.kernel = kernel,
                             .grid = {(kernel == 2) ? 1 : 2, 1, 1},
                             .block = {(kernel == 2) ? 1 : 32, 1, 1},
                             .argument_count = counts[kernel],
                             .arguments = arguments};
    return call->device->launch(call->device->user, &how);
}

static int32_t run_static(sinter_abi_call *call) {
    const sinter_abi_device *d = call->device;
    uint64_t n = (uint64_t)call->symbols[0];
    atomic_fetch_add(&runs, 1);
    if (!call->workspace || call->workspace_bytes < 128) return SINTER_ABI_FAILED;
    char *tmp = (char *)d->workspace + 256;
    void *y = d->output(d->user, 0, n * 4);
    void *z = d->output(d->user, 1, 0);
    if (!y || !z) return SINTER_ABI_OUT_OF_MEMORY;
    call->outputs[1].dims[0] = 0;
    int32_t code = launch(call, 0, (uintptr_t)tmp, (uintptr_t)d->inputs[0], n, 0);
    if (code) return code;
    return launch(call, 1, (uintptr_t)y, (uintptr_t)tmp, (uintptr_t)d->weights, n);
}

/* The second output's size is what a kernel counts. */
static int32_t run_late(sinter_abi_call *call) {
    const sinter_abi_device *d = call->device;
    int32_t code = run_static(call);
    int64_t count = -1;
    uint64_t n = (uint64_t)call->symbols[0];
    if (code) return code;
    void *late = d->allocate(d->user, 8);
    if (!late) return SINTER_ABI_OUT_OF_MEMORY;
    code = launch(call, 2, (uintptr_t)late, (uintptr_t)d->workspace + 256, n, 0);
    if (!code) code = d->copy(d->user, &count, late, 8, SINTER_ABI_COPY_TO_HOST);
    d->deallocate(d->user, late);
    if (code) return code;
    atomic_fetch_add(&looks, 1);
    void *z = d->output(d->user, 1, (uint64_t)count * 4);
    call->outputs[1].dims[0] = count;
    return z ? launch(call, 3, (uintptr_t)z, (uint64_t)count, 0, 0) : SINTER_ABI_OUT_OF_MEMORY;
}

static int32_t exchange_in(int32_t phase, const sinter_abi_call *call, uint32_t index,
                           const void *source, void *target) {
    const uint64_t n = (uint64_t)call->symbols[0];
    const sinter_abi_exchange words = {.kind = SINTER_ABI_ALL_REDUCE | phase,
                                       .dtype = 6,
                                       .index = index,
                                       .over = 1,
                                       .count = n,
                                       .source = source,
                                       .target = target,
                                       .from = -1,
                                       .to = -1};
    return call->device->exchange(call->device->user, &words, n);
}

static int32_t exchange(const sinter_abi_call *call, uint32_t index, const void *source,
                        void *target) {
    return exchange_in(0, call, index, source, target);
}

/* y of this rank, and what others make of it, twice. */
static int32_t run_rank(sinter_abi_call *call) {
    const sinter_abi_device *d = call->device;
    int32_t code = run_static(call);
    void *y = d->output(d->user, 0, (uint64_t)call->symbols[0] * 4),
         *tmp = (char *)d->workspace + 256;
    if (!code) code = exchange(call, 0, y, tmp);
    return code ? code : exchange(call, 1, tmp, y);
}

/* The same with the second one under way while a kernel runs. */
static int32_t run_rank_under_way(sinter_abi_call *call) {
    const sinter_abi_device *d = call->device;
    const uint64_t n = (uint64_t)call->symbols[0];
    void *y = d->output(d->user, 0, n * 4), *tmp = (char *)d->workspace + 256;
    int32_t code = run_static(call);
    if (!code) code = exchange(call, 0, y, tmp);
    if (!code) code = exchange_in(SINTER_ABI_EXCHANGE_BEGINS, call, 1, tmp, y);
    if (!code) code = launch(call, 3, (uintptr_t)d->workspace, n < 64 ? n : 64, 0, 0);
    return code ? code : exchange_in(SINTER_ABI_EXCHANGE_ENDS, call, 1, tmp, y);
}

static void explain(sinter_abi_call *call, const sinter_abi_device_failure *failure) {
    snprintf(call->message, sizeof call->message, "message %d: element %lld is below 0",
             failure->message, (long long)failure->values[0]);
}

static const int weights[WEIGHTS] = {10, 20, 30, 40};
static sinter_abi_image images[3];
static const sinter_abi_device_kernel kernels[] = {
    {"twice", 0, 0}, {"add", 0, 0}, {"count", 0, 0}, {"number", 0, 64}};
static const sinter_abi_kernel kernel_names[] = {
    {"twice", ""}, {"add", ""}, {"count", ""}, {"number", ""}};
static const int64_t io_dims[] = {-1};
static const char *const io_names[] = {"N"};
static const sinter_abi_io inputs_of[] = {{"x", 6, 1, io_dims, io_names}};
static const sinter_abi_io outputs_of[] = {{"y", 6, 1, io_dims, io_names},
                                           {"z", 6, 1, io_dims, io_names}};
static const sinter_abi_symbol symbols_of[] = {{"N", 0, MOST, 1}};
static const unsigned char host_inputs[] = {1};
static sinter_abi_device_code code_static, code_late, code_pieces;
static sinter_abi_artifact artifact_static, artifact_late, artifact_rank, artifact_pieces,
    artifact_under_way;

static void describe(const char *device, const sinter_text *image, uint32_t architecture) {
    images[0] =
        (sinter_abi_image){.architecture = architecture, .bytes = image->data, .size = image->size};
    code_late = (sinter_abi_device_code){.size = sizeof code_late,
                                         .module_count = 1,
                                         .image_count = 1,
                                         .device = device,
                                         .images = images,
                                         .kernels = kernels,
                                         .host_inputs = host_inputs,
                                         .explain = explain};
    code_static = code_late;
    code_static.flags = SINTER_ABI_DEVICE_STATIC;
    code_static.host_inputs = NULL;
    artifact_late = (sinter_abi_artifact){.magic = SINTER_ABI_MAGIC,
                                          .version = SINTER_ABI_VERSION,
                                          .size = sizeof artifact_late,
                                          .input_count = 1,
                                          .output_count = 2,
                                          .symbol_count = 1,
                                          .kernel_count = 4,
                                          .name = "by hand",
                                          .target = device,
                                          .inputs = inputs_of,
                                          .outputs = outputs_of,
                                          .symbols = symbols_of,
                                          .kernels = kernel_names,
                                          .weights_bytes = sizeof weights,
                                          .weights = weights,
                                          .plan = plan,
                                          .run = run_late,
                                          .device = &code_late};
    artifact_rank = artifact_late;
    artifact_rank.run = run_rank;
    code_pieces = code_static;
    code_pieces.flags = SINTER_ABI_DEVICE_PIECES;
    artifact_pieces = artifact_rank;
    artifact_pieces.device = &code_pieces;
    artifact_under_way = artifact_pieces;
    artifact_under_way.run = run_rank_under_way;
    artifact_static = artifact_late;
    artifact_static.run = run_static;
    artifact_static.device = &code_static;
}

/* ---- runs with tensors on the host ---- */

static sinter_abi_tensor over(void *data, int64_t count) {
    return (sinter_abi_tensor){
        .data = data, .bytes = (uint64_t)count * 4, .dims = {count}, .rank = 1, .dtype = 6};
}

/* Runs on 0, first, 2 * first, ... and looks at what comes. own: outputs are the caller's memory. */
static bool run_once(const sinter_executable *executable, int64_t n, int first, bool own) {
    int x[MOST], y[MOST] = {0}, z[MOST] = {0};
    sinter_abi_tensor outputs[2] = {{0}};
    for (int i = 0; i < n; i++) x[i] = i * first;
    sinter_abi_tensor input = over(x, n);
    if (own) {
        outputs[0] = over(y, MOST);
        outputs[1] = over(z, MOST);
    }
    sinter_status *status = sinter_executable_run(executable, &input, outputs, NULL, NULL, 0);
    if (status) puts(sinter_status_message(status));
    bool good = !status && outputs[0].bytes == (uint64_t)n * 4 && outputs[0].dims[0] == n;
    sinter_status_destroy(status);
    for (int i = 0; i < n && good; i++)
        good = ((int *)outputs[0].data)[i] == 2 * i * first + weights[i % WEIGHTS];
    int64_t count = outputs[1].dims[0];
    if (sinter_executable_describe(executable)->run == run_late)
        good = good && count == (n ? n - 1 : 0);
    for (int64_t i = 0; i < count && good; i++) good = ((int *)outputs[1].data)[i] == (int)i;
    for (int i = 0; i < 2 && !own; i++) sinter_output_free(&outputs[i], NULL);
    return good;
}

static void test_static(sinter_device *device) {
    sinter_executable *executable = NULL;
    GOOD(sinter_executable_wrap_on(&artifact_static, NULL, device, NULL, &executable));
    if (!executable) return;
    atomic_store(&runs, 0);
    for (int i = 1; i <= 5; i++) CHECK(run_once(executable, 9, i, i % 2));
    CHECK_INT_EQ(runs, 2); /* one as it is, one captured */
    for (int i = 1; i <= 3; i++) CHECK(run_once(executable, 9 + i, i, true));
    CHECK_INT_EQ(runs, 5); /* other shapes every time */
    for (int i = 1; i <= 3; i++) CHECK(run_once(executable, 0, i, true));
    sinter_executable_destroy(executable);
}

static void test_late(sinter_device *device) {
    sinter_executable *executable = NULL;
    GOOD(sinter_executable_wrap_on(&artifact_late, NULL, device, NULL, &executable));
    if (!executable) return;
    atomic_store(&looks, 0);
    for (int i = 1; i <= 4; i++) CHECK(run_once(executable, 9, i, i % 2));
    for (int64_t n = 0; n <= MOST; n += 16) CHECK(run_once(executable, n, 3, n % 32 == 0));
    CHECK_INT_EQ(looks, 9);
    sinter_executable_destroy(executable);
}

static void test_wrong_calls(sinter_device *device) {
    sinter_executable *executable = NULL;
    int x[MOST] = {0}, y[4];
    sinter_abi_tensor input = over(x, MOST), outputs[2] = {over(y, 4), {0}};
    GOOD(sinter_executable_wrap_on(&artifact_static, NULL, device, NULL, &executable));
    if (!executable) return;
    FAILS_SAYING(sinter_executable_run(executable, &input, outputs, NULL, NULL, 0),
                 SINTER_STATUS_BAD_INPUT, "'y'", "256", "16");
    outputs[0] = (sinter_abi_tensor){0};
    input.dims[0] = MOST + 1;
    FAILS_SAYING(sinter_executable_run(executable, &input, outputs, NULL, NULL, 0),
                 SINTER_STATUS_BAD_INPUT, "at most 64");
    input = over(NULL, 4);
    FAILS_SAYING(sinter_executable_run(executable, &input, outputs, NULL, NULL, 0),
                 SINTER_STATUS_BAD_INPUT, "'x'", "no data");
    for (int late = 0; late < 3; late++) { /* also where a graph is replayed */
        for (int i = 0; i < 8; i++) x[i] = i;
        x[5] = -1;
        input = over(x, 8);
        FAILS_SAYING(sinter_executable_run(executable, &input, outputs, NULL, NULL, 0),
                     SINTER_STATUS_OUT_OF_RANGE, "message 7", "element 5");
        CHECK(!outputs[0].data && !outputs[1].data);
        CHECK(run_once(executable, 8, 2, late == 1));
        CHECK(run_once(executable, 8, 2, late == 1));
    }
    sinter_executable_destroy(executable);
}

/* ---- a rank of several ---- */

static int
    others; /* what they add to each element; below 0: they are gone at the second exchange */
static int exchanges;

static int32_t add_others(sinter_abi_call *call, const sinter_abi_exchange *words) {
    const bool begins = words->kind & SINTER_ABI_EXCHANGE_BEGINS;
    exchanges += !begins;
    if (begins) return SINTER_ABI_OK;
    if (words->index == 1 && others < 0) {
        snprintf(call->message, sizeof call->message, "rank 0: rank 1 is gone");
        return call->code = SINTER_ABI_FAILED;
    }
    for (uint64_t i = 0; i < words->count; i++)
        ((int *)words->target)[i] = ((const int *)words->source)[i] + others;
    return SINTER_ABI_OK;
}

static const sinter_abi_services with_others = {.size = sizeof with_others, .exchange = add_others};

static sinter_status *run_with(const sinter_executable *executable, const int *x, int *y, int64_t n,
                               const sinter_abi_services *services) {
    sinter_abi_tensor input = {.data = (int *)(uintptr_t)x,
                               .bytes = (uint64_t)n * 4,
                               .dims = {n},
                               .rank = 1,
                               .dtype = 6},
                      outputs[2] = {over(y, MOST), {0}};
    sinter_status *status = sinter_executable_run(executable, &input, outputs, services, NULL, 0);
    sinter_output_free(&outputs[1], NULL);
    return status;
}

static void test_exchange(sinter_device *device) {
    static const int64_t sizes[] = {5, 0, 40, 7, MOST};
    const sinter_abi_services old = {.size = offsetof(sinter_abi_services, exchange)};
    sinter_executable *executable = NULL;
    int x[MOST], y[MOST] = {0};
    GOOD(sinter_executable_wrap_on(&artifact_rank, NULL, device, NULL, &executable));
    if (!executable) return;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        int wrong = 0;
        others = 100 + (int)k;
        for (int i = 0; i < MOST; i++) x[i] = i * (int)k;
        GOOD(run_with(executable, x, y, sizes[k], &with_others));
        for (int i = 0; i < sizes[k]; i++)
            wrong += y[i] != 2 * x[i] + weights[i % WEIGHTS] + 2 * others;
        CHECK_INT_EQ(wrong, 0);
    }
    FAILS_SAYING(run_with(executable, x, y, 9, NULL), SINTER_STATUS_FAILED, "needs the others");
    FAILS_SAYING(run_with(executable, x, y, 9, &old), SINTER_STATUS_FAILED, "needs the others");
    others = -1;
    FAILS_SAYING(run_with(executable, x, y, 9, &with_others), SINTER_STATUS_FAILED,
                 "rank 1 is gone");
    x[4] = -1; /* whose kernels failed comes to no exchange */
    exchanges = 0;
    FAILS_SAYING(run_with(executable, x, y, 9, &with_others), SINTER_STATUS_OUT_OF_RANGE,
                 "element 4");
    CHECK_INT_EQ(exchanges, 0);
    others = 1;
    GOOD(run_with(executable, x, y, 4, &with_others));
    sinter_executable_destroy(executable);
}

/* A driver that counts what goes into streams one by one, and at once. */
static const sinter_device_driver *counted;
static int launches, graph_launches;

static sinter_status *count_launch(sinter_device_stream *stream,
                                   const sinter_device_function *function,
                                   const sinter_abi_launch *how) {
    launches++;
    return counted->launch(stream, function, how);
}

static sinter_status *count_graph(sinter_device_graph *graph, sinter_device_stream *stream) {
    graph_launches++;
    return counted->graph_launch(graph, stream);
}

/* A run again is a graph for each piece of it between exchanges; kernel_count and exchanges see what is in memory then. kernel_count: of a run. */
static void test_pieces(sinter_device *device, const sinter_abi_artifact *artifact,
                        int kernel_count, int pieces) {
    enum { TIMES = 6 };
    const sinter_abi_services old = {.size = offsetof(sinter_abi_services, exchange)};
    static sinter_device_driver counting;
    sinter_executable *executable = NULL;
    int x[MOST], y[MOST] = {0};
    counted = device->driver;
    counting = *counted;
    counting.launch = count_launch;
    counting.graph_launch = count_graph;
    GOOD(sinter_executable_wrap_on(artifact, NULL, device, NULL, &executable));
    if (!executable) return;
    device->driver = &counting;
    for (int64_t n = 40; n > 0; n -= 33) {
        atomic_store(&runs, 0);
        launches = graph_launches = exchanges = 0;
        for (int k = 0; k < TIMES; k++) {
            int wrong = 0;
            others = 100 + k;
            for (int i = 0; i < MOST; i++) x[i] = i * k;
            GOOD(run_with(executable, x, y, n, &with_others));
            for (int i = 0; i < n; i++)
                wrong += y[i] != 2 * x[i] + weights[i % WEIGHTS] + 2 * others;
            CHECK_INT_EQ(wrong, 0);
        }
        CHECK_INT_EQ(runs, 2);
        CHECK_INT_EQ(exchanges, 2 * TIMES);
        CHECK_INT_EQ(launches, 2 * kernel_count);
        CHECK_INT_EQ(graph_launches, pieces * (TIMES - 1));
    }
    /* What goes wrong does so in repeated runs as in others. */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i <= round; i++) GOOD(run_with(executable, x, y, 7, &with_others));
        if (round == 0)
            FAILS_SAYING(run_with(executable, x, y, 7, NULL), SINTER_STATUS_FAILED,
                         "needs the others");
        if (round == 1)
            FAILS_SAYING(run_with(executable, x, y, 7, &old), SINTER_STATUS_FAILED,
                         "needs the others");
        others = -1;
        if (round == 2)
            FAILS_SAYING(run_with(executable, x, y, 7, &with_others), SINTER_STATUS_FAILED,
                         "rank 1 is gone");
        others = 1;
        for (int i = 0; i < 3; i++) GOOD(run_with(executable, x, y, 7, &with_others));
        exchanges = 0;
        x[4] = -1;
        FAILS_SAYING(run_with(executable, x, y, 7, &with_others), SINTER_STATUS_OUT_OF_RANGE,
                     "element 4");
        CHECK_INT_EQ(exchanges, 0);
        x[4] = 4;
    }
    device->driver = counted;
    sinter_executable_destroy(executable);
}

/* ---- runs on a stream, with tensors on the device ---- */

static void test_stream(sinter_device *device, const sinter_abi_artifact *artifact) {
    const sinter_device_driver *d = device->driver;
    const bool is_late = artifact == &artifact_late;
    sinter_executable *executable = NULL;
    sinter_device_stream *stream = NULL;
    int x[MOST], y[MOST] = {0}, z[MOST] = {0}, *memory[3] = {NULL};
    GOOD(sinter_executable_wrap_on(artifact, NULL, device, NULL, &executable));
    GOOD(d->stream_create(device, &stream));
    if (!executable || !stream) return;
    void *native = sinter_device_native_stream(stream);
    for (int i = 0; i < 3; i++) GOOD(d->allocate(stream, sizeof x, (void **)&memory[i]));
    atomic_store(&runs, 0);
    for (int round = 1; round <= 4; round++) {
        for (int i = 0; i < MOST; i++) x[i] = i * round;
        sinter_abi_tensor input = over(memory[0], 20),
                          outputs[2] = {over(memory[1], MOST), over(memory[2], MOST)};
        GOOD(d->copy(stream, memory[0], x, sizeof x, SINTER_ABI_COPY_TO_DEVICE));
        GOOD(sinter_executable_run_on_stream(executable, &input, outputs, NULL, native));
        CHECK(outputs[0].bytes == 80 && outputs[0].dims[0] == 20);
        CHECK_INT_EQ(outputs[1].bytes, is_late ? 19 * 4 : 0);
        GOOD(d->copy(stream, y, memory[1], sizeof y, SINTER_ABI_COPY_TO_HOST));
        GOOD(d->copy(stream, z, memory[2], sizeof z, SINTER_ABI_COPY_TO_HOST));
        GOOD(sinter_executable_wait(executable, native));
        int wrong = 0;
        for (int i = 0; i < 20; i++) wrong += y[i] != 2 * i * round + weights[i % WEIGHTS];
        CHECK(!wrong && (!is_late || z[18] == 18));
    }
    CHECK_INT_EQ(runs, is_late ? 4 : 2);
    x[3] = -5;
    sinter_abi_tensor input = over(memory[0], 20),
                      outputs[2] = {over(memory[1], MOST), over(memory[2], MOST)};
    GOOD(d->copy(stream, memory[0], x, sizeof x, SINTER_ABI_COPY_TO_DEVICE));
    sinter_status *status =
        sinter_executable_run_on_stream(executable, &input, outputs, NULL, native);
    if (!status) status = sinter_executable_wait(executable, native);
    FAILS_SAYING(status, SINTER_STATUS_OUT_OF_RANGE, "element 3");
    GOOD(sinter_executable_wait(executable, native)); /* told once */
    outputs[0].bytes = 4;
    FAILS_SAYING(sinter_executable_run_on_stream(executable, &input, outputs, NULL, native),
                 SINTER_STATUS_BAD_INPUT, "'y'");
    for (int i = 0; i < 3; i++) GOOD(d->deallocate(stream, memory[i]));
    sinter_executable_destroy(executable);
    GOOD(d->stream_destroy(stream));
}

/* ---- threads ---- */

static void *run_many(void *user) {
    bool good = true;
    for (int i = 1; i <= 20 && good; i++) good = run_once(user, 1 + i % 7, i, i % 2);
    return good ? user : NULL;
}

static void test_threads(sinter_device *device) {
    sinter_executable *executable = NULL;
    pthread_t threads[4];
    GOOD(sinter_executable_wrap_on(&artifact_late, NULL, device, NULL, &executable));
    if (!executable) return;
    for (int i = 0; i < 4; i++) CHECK(!pthread_create(&threads[i], NULL, run_many, executable));
    for (int i = 0; i < 4; i++) {
        void *answer = NULL;
        pthread_join(threads[i], &answer);
        CHECK(answer != NULL);
    }
    sinter_executable_destroy(executable);
}

/* ---- what does not fit together ---- */

static void test_wrong_device(sinter_device *device) {
    sinter_executable *executable = NULL;
    sinter_device *cpu = NULL;
    const char *name = device->driver->name;
    FAILS_SAYING(sinter_executable_wrap(&artifact_static, NULL, NULL, &executable),
                 SINTER_STATUS_WRONG_DEVICE, name, "cpu");
    sinter_abi_artifact host = artifact_static;
    host.size = offsetof(sinter_abi_artifact, device);
    GOOD(sinter_device_open("cpu", NULL, &cpu));
    GOOD(sinter_executable_wrap_on(&host, NULL, cpu, NULL, &executable));
    FAILS_SAYING(sinter_executable_run_on_stream(executable, NULL, NULL, NULL, NULL),
                 SINTER_STATUS_WRONG_DEVICE, "streams");
    sinter_executable_destroy(executable);
    executable = NULL;
    if (strcmp(name, "cpu") != 0) {
        FAILS(sinter_executable_wrap_on(&host, NULL, device, NULL, &executable),
              SINTER_STATUS_WRONG_DEVICE);
        FAILS(sinter_executable_wrap_on(&artifact_static, NULL, cpu, NULL, &executable),
              SINTER_STATUS_WRONG_DEVICE);
        images[0].architecture = 91;
        FAILS_SAYING(sinter_executable_wrap_on(&artifact_static, NULL, device, NULL, &executable),
                     SINTER_STATUS_WRONG_DEVICE, "sm_90", "sm_91", "by hand");
        images[0].architecture = 90;
    }
    CHECK(executable == NULL);
    sinter_device_close(cpu);
    FAILS(sinter_executable_run_on_stream(NULL, NULL, NULL, NULL, NULL), SINTER_STATUS_BAD_INPUT);
    FAILS(sinter_executable_wait(NULL, NULL), SINTER_STATUS_BAD_INPUT);
}

static void run_all(const char *name, const sinter_text *image, uint32_t architecture) {
    sinter_device *device = NULL;
    describe(name, image, architecture);
    GOOD(sinter_device_open(name, NULL, &device));
    if (!device) return;
    test_static(device);
    test_late(device);
    test_wrong_calls(device);
    test_exchange(device);
    test_pieces(device, &artifact_pieces, 2, 3);
    test_pieces(device, &artifact_under_way, 3, 4);
    test_stream(device, &artifact_static);
    test_stream(device, &artifact_late);
    test_threads(device);
    test_wrong_device(device);
    sinter_device_close(device);
}

/* ---- the emulation alone: failures ---- */

/* Twice the same, so that it is captured, and then more, so that what is kept for the next run has to grow. */
static sinter_status *load_and_run(const sinter_abi_artifact *artifact, int times) {
    sinter_device *device = NULL;
    sinter_executable *executable = NULL;
    int x[8] = {0}, y[8];
    sinter_status *status = sinter_device_open("cuda", NULL, &device);
    if (!status) status = sinter_executable_wrap_on(artifact, NULL, device, NULL, &executable);
    for (int i = 0; i < times && !status; i++) {
        const int64_t size = 8 - 2 * ((times - 1 - i) / 2);
        sinter_abi_tensor input = over(x, size), outputs[2] = {over(y, size), {0}};
        status = sinter_executable_run(executable, &input, outputs, &with_others, NULL, 0);
        CHECK(!status || !outputs[1].data);
        sinter_output_free(&outputs[1], NULL);
    }
    sinter_executable_destroy(executable);
    sinter_device_close(device);
    return status;
}

static const char *const symbols[] = {
#define CUDA(name, symbol, parameters) #symbol,
#include "runtime/cuda_symbols.def"
#undef CUDA
};

/* The first calls of every function fail in turn: the run says so, and nothing is left behind, or else the emulated context
 * ends the process when it is released. */
static void test_failures(const sinter_abi_artifact *artifact) {
    static const char *const gives_back[] = {"Free", "Destroy", "Unload", "Release", "Pop"};
    int failed = 0;
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
        for (int at = 1; at <= 6; at++) {
            char wish[128];
            bool skip = false;
            for (size_t k = 0; k < sizeof gives_back / sizeof *gives_back; k++)
                skip |= strstr(symbols[i], gives_back[k]) != NULL;
            if (skip) break;
            snprintf(wish, sizeof wish, "%s@%d=2", symbols[i], at);
            setenv("SINTER_EMULATION_FAIL", wish, 1);
            sinter_status *status = load_and_run(artifact, 6);
            unsetenv("SINTER_EMULATION_FAIL");
            failed += status != NULL;
            if (status) CHECK(sinter_status_message(status)[0]);
            sinter_status_destroy(status);
        }
    CHECK(failed > 40);
    GOOD(load_and_run(artifact, 6));
}

static void test_little_memory(void) {
    setenv("SINTER_EMULATION_MEMORY", "100", 1);
    FAILS_SAYING(load_and_run(&artifact_static, 1), SINTER_STATUS_OUT_OF_MEMORY, "Emulated GPU",
                 "100");
    unsetenv("SINTER_EMULATION_MEMORY");
}

int main(void) {
    sinter_text on_cpu = {0}, emulated = {0};
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(compile_c(c_text, &on_cpu));
    run_all("cpu", &on_cpu, 0);
    use_emulation();
    CHECK(compile_cuda(cuda_text, "sm_90", &emulated));
    run_all("cuda", &emulated, 90);
    test_failures(&artifact_static);
    test_failures(&artifact_late);
    test_failures(&artifact_rank);
    test_failures(&artifact_pieces);
    test_failures(&artifact_under_way);
    test_little_memory();
    sinter_text_deinit(&on_cpu);
    sinter_text_deinit(&emulated);
    return test_finish();
}
