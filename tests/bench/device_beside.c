/* Times an artifact with code for a device beside a peer there, in one process: turns of each, one after the other. What is timed
 * is on the device, by its events, for batches of runs, with inputs and outputs that stay there; and what a caller waits for one run. One
 * line of JSON tells fastest and median, in microseconds, and how far the answers are apart.
 *   device_beside DEVICE MODEL.so PEER SECONDS [NAME=SIZE]...
 * PEER: cublaslt:LIBRARY:NN, copy (as many bytes as inputs and outputs have, from one place of the device's memory to another),
 * cpu:OTHER.so (its answer alone), or none. Inputs are made up: floats from the normal distribution, integers
 * from 0 to 99; symbolic dims are 1 but for those that are said. It needs the runtime and nothing else of Sinter, so that it can be taken to a machine with a GPU.
 * tests/bench/device.py runs it. Test: tests/cli/device_beside.test */
#include "ir/base/clock.h"
#include "ir/random.h"
#include "ir/tensor.h"
#include "tests/bench/device_bench.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double turn_seconds = 0.1, batch_seconds = 2e-3;
enum { MAX_REPEATS = 200, LEAST_BATCHES = 3, LATENCIES = 20, ORDINARY_INTEGERS = 100 };

bool device_bench_fine(sinter_status *status) {
    if (!status) return true;
    fprintf(stderr, "device_beside: error: %s\n", sinter_status_message(status));
    sinter_status_destroy(status);
    return false;
}

/* ---- the model ---- */

typedef struct model {
    device_bench bench;
    sinter_executable *executable;
    sinter_tensor inputs[DEVICE_BENCH_MOST]; /* the same on the host */
} model;

static bool enqueue_model(void *state) {
    model *m = state;
    return device_bench_fine(
        sinter_executable_run_on_stream(m->executable, m->bench.inputs, m->bench.outputs, NULL,
                                        sinter_device_native_stream(m->bench.stream)));
}

static bool finish_model(void *state) {
    model *m = state;
    return device_bench_fine(
        sinter_executable_wait(m->executable, sinter_device_native_stream(m->bench.stream)));
}

static int64_t size_of_dim(int64_t dim, const char *name, char **sizes, int size_count) {
    if (dim >= 0) return dim;
    for (int i = 0; i < size_count; i++) {
        const char *equals = strchr(sizes[i], '=');
        if (equals && name && strlen(name) == (size_t)(equals - sizes[i]) &&
            !strncmp(name, sizes[i], (size_t)(equals - sizes[i])))
            return atoll(equals + 1);
    }
    return 1;
}

static void make_up(sinter_tensor *tensor, uint64_t key) {
    const sinter_dtype_class class = sinter_dtype_infos[tensor->dtype].class;
    sinter_tensor_mutable(tensor);
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++)
        if (class == SINTER_CLASS_FLOAT)
            sinter_tensor_set_double(tensor, i, sinter_random_normal(key, (uint64_t)i));
        else
            sinter_tensor_set_int(
                tensor, i,
                (int64_t)(sinter_random_uniform(key, (uint64_t)i, false) * ORDINARY_INTEGERS));
}

static bool add_input(model *m, const sinter_abi_io *io, char **sizes, int size_count) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    sinter_abi_tensor *on_device = &m->bench.inputs[m->bench.input_count];
    sinter_tensor *on_host = &m->inputs[m->bench.input_count];
    int64_t dims[SINTER_MAX_RANK];
    for (int32_t d = 0; d < io->rank; d++)
        dims[d] =
            size_of_dim(io->dims[d], io->dim_names ? io->dim_names[d] : NULL, sizes, size_count);
    if (!sinter_tensor_create(on_host, sinter_dtype_from_onnx(io->dtype), (uint32_t)io->rank, dims,
                              &diag))
        return false;
    make_up(on_host, m->bench.input_count++);
    *on_device = (sinter_abi_tensor){
        .dtype = io->dtype, .rank = io->rank, .bytes = sinter_tensor_bytes(on_host)};
    memcpy(on_device->dims, dims, (size_t)io->rank * sizeof *dims);
    const sinter_device_driver *driver = m->bench.driver;
    return device_bench_fine(
               driver->allocate(m->bench.stream, on_device->bytes, &on_device->data)) &&
           device_bench_fine(driver->copy(m->bench.stream, on_device->data, on_host->data,
                                          on_device->bytes, SINTER_ABI_COPY_TO_DEVICE));
}

static bool open_model(model *m, const char *device, const char *path, char **sizes,
                       int size_count) {
    device_bench *bench = &m->bench;
    if (!device_bench_fine(sinter_device_open(device, NULL, &bench->device))) return false;
    bench->driver = bench->device->driver;
    const sinter_load_options options = {.size = sizeof options, .device = bench->device};
    if (!device_bench_fine(bench->driver->stream_create(bench->device, &bench->stream)) ||
        !device_bench_fine(sinter_executable_load(path, &options, &m->executable)))
        return false;
    const sinter_abi_artifact *about = sinter_executable_describe(m->executable);
    if (about->input_count > DEVICE_BENCH_MOST || about->output_count > DEVICE_BENCH_MOST)
        return fprintf(stderr, "device_beside: error: %s has too many inputs or outputs\n", path),
               false;
    for (uint32_t i = 0; i < about->input_count; i++)
        if (!add_input(m, &about->inputs[i], sizes, size_count)) return false;
    uint64_t context_bytes;
    if (!device_bench_fine(
            sinter_executable_plan(m->executable, bench->inputs, bench->outputs, &context_bytes)))
        return false;
    for (bench->output_count = 0; bench->output_count < about->output_count;
         bench->output_count++) {
        sinter_abi_tensor *one = &bench->outputs[bench->output_count];
        int64_t count = 1;
        for (int32_t d = 0; d < one->rank; d++) count *= one->dims[d];
        if (count < 0)
            return fprintf(stderr,
                           "device_beside: error: %s: the shape of output %u depends on data\n",
                           path, bench->output_count),
                   false;
        one->bytes =
            (uint64_t)count * sinter_dtype_infos[sinter_dtype_from_onnx(one->dtype)].bits / 8;
        if (!device_bench_fine(bench->driver->allocate(bench->stream, one->bytes, &one->data)))
            return false;
    }
    return device_bench_fine(bench->driver->stream_wait(bench->stream));
}

static void close_model(model *m) {
    device_bench *bench = &m->bench;
    for (uint32_t i = 0; i < bench->input_count; i++) {
        device_bench_fine(bench->driver->deallocate(bench->stream, bench->inputs[i].data));
        sinter_tensor_deinit(&m->inputs[i]);
    }
    for (uint32_t i = 0; i < bench->output_count; i++)
        device_bench_fine(bench->driver->deallocate(bench->stream, bench->outputs[i].data));
    sinter_executable_destroy(m->executable);
    if (bench->device) device_bench_fine(bench->driver->stream_destroy(bench->stream));
    sinter_device_close(bench->device);
}

/* ---- peers ---- */

typedef struct copies {
    const device_bench *bench;
    void *from, *to;
    uint64_t bytes;
} copies;

static bool enqueue_copy(void *state) {
    copies *c = state;
    return device_bench_fine(c->bench->driver->copy(c->bench->stream, c->to, c->from, c->bytes,
                                                    SINTER_ABI_COPY_ON_DEVICE));
}

static bool finish_copy(void *state) {
    copies *c = state;
    return device_bench_fine(c->bench->driver->stream_wait(c->bench->stream));
}

static void destroy_copies(void *state) {
    copies *c = state;
    device_bench_fine(c->bench->driver->deallocate(c->bench->stream, c->from));
    device_bench_fine(c->bench->driver->deallocate(c->bench->stream, c->to));
    free(c);
}

/* Each byte that is copied is read and written. */
static bool open_copies(const device_bench *bench, device_contestant *out) {
    copies *c = calloc(1, sizeof *c);
    if (!c) return false;
    *out = (device_contestant){
        .state = c, .enqueue = enqueue_copy, .finish = finish_copy, .destroy = destroy_copies};
    c->bench = bench;
    for (uint32_t i = 0; i < bench->input_count; i++) c->bytes += bench->inputs[i].bytes;
    for (uint32_t i = 0; i < bench->output_count; i++) c->bytes += bench->outputs[i].bytes;
    c->bytes /= 2;
    return device_bench_fine(bench->driver->allocate(bench->stream, c->bytes, &c->from)) &&
           device_bench_fine(bench->driver->allocate(bench->stream, c->bytes, &c->to)) &&
           device_bench_fine(bench->driver->fill(bench->stream, c->from, 1, c->bytes));
}

/* ---- turns ---- */

typedef struct times {
    double *seconds; /* of a run, one for each batch */
    size_t count, capacity;
    int repeats;
    double latency; /* what a caller waits for one run, the median */
} times;

static bool run_batch(const device_bench *bench, const device_contestant *one, int repeats,
                      sinter_device_event *const events[2], double *out_seconds) {
    const sinter_device_driver *d = bench->driver;
    if (!device_bench_fine(d->event_record(events[0], bench->stream))) return false;
    for (int i = 0; i < repeats; i++)
        if (!one->enqueue(one->state)) return false;
    if (!device_bench_fine(d->event_record(events[1], bench->stream)) || !one->finish(one->state) ||
        !device_bench_fine(d->event_wait(events[1])) ||
        !device_bench_fine(d->event_seconds(events[0], events[1], out_seconds)))
        return false;
    *out_seconds /= repeats;
    return true;
}

static bool note(times *t, double seconds) {
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 256;
        double *more = realloc(t->seconds, t->capacity * sizeof *more);
        if (!more) return false;
        t->seconds = more;
    }
    t->seconds[t->count++] = seconds;
    return true;
}

/* The first runs warm up, and become a graph; then the latency, and how many runs make a batch. */
static bool warm_up(const device_bench *bench, const device_contestant *one,
                    sinter_device_event *const events[2], times *t) {
    double seconds, waited[LATENCIES];
    if (!run_batch(bench, one, 3, events, &seconds)) return false;
    for (int i = 0; i < LATENCIES; i++) {
        const double start = sinter_clock_seconds();
        if (!one->enqueue(one->state) || !one->finish(one->state)) return false;
        waited[i] = sinter_clock_seconds() - start;
    }
    sinter_clock_sort(waited, LATENCIES);
    t->latency = waited[LATENCIES / 2];
    if (!run_batch(bench, one, 2, events, &seconds)) return false;
    const double wanted = seconds > 0 ? ceil(batch_seconds / seconds) : MAX_REPEATS;
    t->repeats = wanted < MAX_REPEATS ? (int)wanted : MAX_REPEATS;
    return true;
}

static bool take_turns(const device_bench *bench, const device_contestant *all, times *measured,
                       size_t count, double seconds) {
    sinter_device_event *events[2] = {NULL, NULL};
    bool good = device_bench_fine(bench->driver->event_create(bench->device, &events[0])) &&
                device_bench_fine(bench->driver->event_create(bench->device, &events[1]));
    for (size_t i = 0; good && i < count; i++) good = warm_up(bench, &all[i], events, &measured[i]);
    const double end = sinter_clock_seconds() + seconds * (double)count;
    do {
        for (size_t i = 0; good && i < count; i++) {
            const double turn = sinter_clock_seconds() + turn_seconds;
            for (int b = 0; good && (b < LEAST_BATCHES || sinter_clock_seconds() < turn); b++) {
                double taken = 0;
                good = run_batch(bench, &all[i], measured[i].repeats, events, &taken) &&
                       note(&measured[i], taken);
            }
        }
    } while (good && sinter_clock_seconds() < end);
    for (size_t i = 0; good && i < count; i++)
        sinter_clock_sort(measured[i].seconds, measured[i].count);
    for (int i = 0; i < 2; i++) device_bench_fine(bench->driver->event_destroy(events[i]));
    return good;
}

/* ---- answers ---- */

static bool to_host(const device_bench *bench, const sinter_abi_tensor *from, sinter_tensor *out) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    return sinter_tensor_create(out, sinter_dtype_from_onnx(from->dtype), (uint32_t)from->rank,
                                from->dims, &diag) &&
           device_bench_fine(bench->driver->copy(bench->stream, sinter_tensor_mutable(out),
                                                 from->data, from->bytes,
                                                 SINTER_ABI_COPY_TO_HOST)) &&
           device_bench_fine(bench->driver->stream_wait(bench->stream));
}

/* max |a - b| / max |b|; what is no number in one of them only is infinitely far. */
static double difference_of(const sinter_tensor *a, const sinter_tensor *b) {
    double most = 0, scale = 0;
    for (int64_t i = 0; i < sinter_tensor_count(a); i++) {
        const double x = sinter_tensor_get_double(a, i), y = sinter_tensor_get_double(b, i);
        if (x == y || (isnan(x) && isnan(y))) continue;
        most = fmax(most, isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY);
    }
    for (int64_t i = 0; i < sinter_tensor_count(b); i++) {
        const double y = fabs(sinter_tensor_get_double(b, i));
        if (isfinite(y)) scale = fmax(scale, y);
    }
    return scale > 0 ? most / scale : most;
}

static double compare_on_device(const device_bench *bench, const sinter_abi_tensor *peer) {
    sinter_tensor a = {0}, b = {0};
    double error = NAN;
    if (to_host(bench, &bench->outputs[0], &a) && to_host(bench, peer, &b))
        error = difference_of(&a, &b);
    sinter_tensor_deinit(&a);
    sinter_tensor_deinit(&b);
    return error;
}

/* All outputs beside those of an artifact for this CPU, for the same inputs. */
static double compare_with_cpu(const model *m, const char *path) {
    sinter_executable *executable = NULL;
    sinter_abi_tensor inputs[DEVICE_BENCH_MOST], outputs[DEVICE_BENCH_MOST] = {{0}};
    uint64_t context_bytes;
    double worst = NAN;
    for (uint32_t i = 0; i < m->bench.input_count; i++) {
        inputs[i] = m->bench.inputs[i];
        inputs[i].data = (void *)(uintptr_t)m->inputs[i].data;
    }
    if (device_bench_fine(sinter_executable_load(path, NULL, &executable)) &&
        device_bench_fine(sinter_executable_plan(executable, inputs, outputs, &context_bytes)) &&
        device_bench_fine(sinter_executable_run(executable, inputs, outputs, NULL, NULL, 0)))
        worst = 0;
    for (uint32_t i = 0; i < m->bench.output_count; i++) {
        sinter_tensor got = {0}, expected = {.dtype = sinter_dtype_from_onnx(outputs[i].dtype),
                                             .rank = (uint32_t)outputs[i].rank,
                                             .data = outputs[i].data};
        memcpy(expected.dims, outputs[i].dims, sizeof(int64_t) * (size_t)outputs[i].rank);
        if (!isnan(worst) && outputs[i].data && to_host(&m->bench, &m->bench.outputs[i], &got))
            worst = fmax(worst, difference_of(&got, &expected));
        else
            worst = NAN;
        sinter_tensor_deinit(&got);
        sinter_output_free(&outputs[i], NULL);
    }
    sinter_executable_destroy(executable);
    return worst;
}

/* ---- the program ---- */

static bool open_peer(const char *text, const device_bench *bench, device_contestant *out) {
    if (!strcmp(text, "copy")) return open_copies(bench, out);
    if (!strncmp(text, "cublaslt:", 9))
        return device_contestant_open_cublaslt(text + 9, bench, out);
    fprintf(stderr, "device_beside: error: no peer is called %s\n", text);
    return false;
}

static void print_times(const char *name, const times *t) {
    printf("\"%s_us\": %.3f, \"%s_median_us\": %.3f, \"%s_latency_us\": %.3f", name,
           1e6 * t->seconds[0], name, 1e6 * t->seconds[t->count / 2], name, 1e6 * t->latency);
}

static bool measure(model *m, const char *peer, double seconds) {
    const bool on_cpu = !strncmp(peer, "cpu:", 4), is_alone = on_cpu || !strcmp(peer, "none");
    device_contestant all[2] = {{.state = m, .enqueue = enqueue_model, .finish = finish_model}};
    times measured[2] = {{0}};
    const size_t count = is_alone ? 1 : 2;
    bool good = (is_alone || open_peer(peer, &m->bench, &all[1])) &&
                take_turns(&m->bench, all, measured, count, seconds);
    double error = 0;
    const bool compares = on_cpu || all[1].output.data;
    if (good && compares)
        error =
            on_cpu ? compare_with_cpu(m, peer + 4) : compare_on_device(&m->bench, &all[1].output);
    if (good && !isfinite(error)) {
        fprintf(stderr,
                "device_beside: error: the answers of the model and of %s differ in shape, NaN or "
                "infinities\n",
                peer);
        good = false;
    }
    if (good) {
        printf("{\"device\": \"%s\", ", sinter_device_name(m->bench.device));
        print_times("sinter", &measured[0]);
        if (count == 2) {
            printf(", ");
            print_times("peer", &measured[1]);
        }
        if (compares) printf(", \"error\": %.3g", error);
        printf("}\n");
    }
    if (all[1].destroy) all[1].destroy(all[1].state);
    for (size_t i = 0; i < 2; i++) free(measured[i].seconds);
    return good;
}

int main(int argument_count, char **arguments) {
    if (argument_count < 5) {
        fprintf(stderr, "usage: device_beside DEVICE MODEL.so PEER SECONDS [NAME=SIZE]...\n");
        return 2;
    }
    model *m = calloc(1, sizeof *m);
    const bool good =
        m && open_model(m, arguments[1], arguments[2], arguments + 5, argument_count - 5) &&
        measure(m, arguments[3], atof(arguments[4]));
    if (m) close_model(m);
    free(m);
    return good ? 0 : 2;
}
