/* Times a compiled artifact beside a peer inside of one process: turns of each, one after the other, so that a slow moment of
 * the machine hits both; the loops that are timed are C. One line of JSON tells the fastest run and the median of each, in
 * microseconds, and how far the outputs are apart.
 *   beside MODEL.so PEER THREADS SECONDS INPUT.npy...
 * PEER: onnxruntime:LIBRARY:MODEL.onnx, openblas:LIBRARY:NN, sinter:OTHER.so or none.
 * Inputs are in the order of the model. Built with the tests; tests/bench/run.py runs it. Test: tests/cli/beside.test */
#include "frontends/import.h"
#include "ir/base/clock.h"
#include "ir/base/heap.h"
#include "runtime/sinter_runtime.h"
#include "tests/bench/contestant.h"
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double turn_seconds = 0.05, batch_seconds = 20e-6;
enum { MAX_REPEATS = 1000, LEAST_BATCHES = 3, REST_NANOSECONDS = 60000000 };

any_function find_function(const char *library, const char *name) {
    any_function function = NULL;
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL), *symbol = NULL;
    if (handle) symbol = dlsym(handle, name);
    if (!symbol) fprintf(stderr, "beside: error: %s\n", dlerror());
    memcpy(&function, &symbol, sizeof function); /* ISO C knows no cast between them */
    return function;
}

const char *split_at_colon(const char *text, char *head, size_t room) {
    const char *colon = strchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : room;
    if (!size || size >= room || !colon[1]) return NULL;
    memcpy(head, text, size);
    head[size] = '\0';
    return colon + 1;
}

/* ---- turns ---- */

typedef struct times {
    double *seconds; /* of a run, one for each batch of runs */
    size_t count, capacity;
    int repeats; /* runs in a batch: enough for the clock not to count */
} times;

static bool run_batch(const contestant *one, int repeats, double *out_seconds) {
    double start = sinter_clock_seconds();
    for (int i = 0; i < repeats; i++)
        if (!one->run(one->state)) return false;
    *out_seconds = (sinter_clock_seconds() - start) / repeats;
    return true;
}

/* The first run warms up; the second tells how many make a batch. */
static bool warm_up(const contestant *one, times *t) {
    double seconds;
    if (!run_batch(one, 1, &seconds) || !run_batch(one, 1, &seconds)) return false;
    double wanted = seconds > 0 ? ceil(batch_seconds / seconds) : MAX_REPEATS;
    t->repeats = wanted < MAX_REPEATS ? (int)wanted : MAX_REPEATS;
    return true;
}

static bool take_turn(const contestant *one, times *t) {
    double end = sinter_clock_seconds() + turn_seconds, seconds;
    if (!one->run(one->state)) return false; /* caches were the other's */
    for (int i = 0; i < LEAST_BATCHES || sinter_clock_seconds() < end; i++) {
        if (!run_batch(one, t->repeats, &seconds)) return false;
        if (t->count == t->capacity) {
            t->capacity = t->capacity ? 2 * t->capacity : 1024;
            t->seconds = sinter_heap_realloc(t->seconds, t->capacity * sizeof *t->seconds);
        }
        t->seconds[t->count++] = seconds;
    }
    return true;
}

/* Threads of a peer go on spinning for a while when its turn is over. */
static void rest(int threads) {
    if (threads > 1) nanosleep(&(struct timespec){.tv_nsec = REST_NANOSECONDS}, NULL);
}

static bool take_turns(const contestant *all, times *measured, size_t count, int threads,
                       double seconds) {
    for (size_t i = 0; i < count; i++)
        if (!warm_up(&all[i], &measured[i])) return false;
    double end = sinter_clock_seconds() + seconds * (double)count;
    do {
        for (size_t i = 0; i < count; i++) {
            rest(threads);
            if (!take_turn(&all[i], &measured[i])) return false;
        }
    } while (sinter_clock_seconds() < end);
    for (size_t i = 0; i < count; i++) sinter_clock_sort(measured[i].seconds, measured[i].count);
    return true;
}

/* ---- answers ---- */

/* Largest difference over the largest element of the second; infinite where shapes differ, or where only one has NaN or an infinity. */
static double difference_of(const sinter_tensor *a, const sinter_tensor *b) {
    double most = 0, scale = 0;
    if (sinter_tensor_count(a) != sinter_tensor_count(b)) return INFINITY;
    for (int64_t i = 0; i < sinter_tensor_count(a); i++) {
        double x = sinter_tensor_get_double(a, i), y = sinter_tensor_get_double(b, i);
        most = fmax(most, isnan(x) == isnan(y) ? fabs(x - y) : INFINITY);
        if (isfinite(y)) scale = fmax(scale, fabs(y));
    }
    return scale > 0 ? most / scale : most;
}

static double compare_outputs(const contestant *all) {
    double worst = 0;
    sinter_tensor a, b;
    for (size_t i = 0; all[0].output(all[0].state, i, &a); i++)
        if (all[1].output(all[1].state, i, &b)) worst = fmax(worst, difference_of(&a, &b));
    return worst;
}

/* ---- the program ---- */

static bool open_peer(const char *text, int threads, const feeds *inputs, contestant *out) {
    static const struct {
        const char *name;
        bool (*open)(const char *what, int threads, const feeds *inputs, contestant *out);
    } peers[] = {{"onnxruntime", contestant_open_onnxruntime},
                 {"openblas", contestant_open_openblas},
                 {"sinter", contestant_open_sinter}};
    char name[32];
    const char *what = split_at_colon(text, name, sizeof name);
    for (size_t i = 0; what && i < sizeof peers / sizeof *peers; i++)
        if (!strcmp(name, peers[i].name)) return peers[i].open(what, threads, inputs, out);
    fprintf(stderr, "beside: error: no peer is called %s\n", text);
    return false;
}

static bool read_feeds(char **paths, size_t count, feeds *out) {
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    out->items = sinter_heap_alloc((count + 1) * sizeof *out->items);
    for (out->count = 0; out->count < count; out->count++)
        if (!sinter_tensor_read_file(paths[out->count], NULL, NULL, &out->items[out->count], &diag))
            return false;
    return true;
}

static void print_times(const char *name, const times *t) {
    printf("\"%s_us\": %.4f, \"%s_median_us\": %.4f", name, 1e6 * t->seconds[0], name,
           1e6 * t->seconds[t->count / 2]);
}

static bool measure(char **arguments, const feeds *inputs) {
    contestant all[2] = {{0}};
    times measured[2] = {{0}};
    int threads = atoi(arguments[3]);
    size_t count = strcmp(arguments[2], "none") ? 2 : 1;
    bool good = contestant_open_sinter(arguments[1], threads, inputs, &all[0]) &&
                (count == 1 || open_peer(arguments[2], threads, inputs, &all[1])) &&
                take_turns(all, measured, count, threads, atof(arguments[4]));
    const double error = good && count == 2 ? compare_outputs(all) : 0;
    if (!isfinite(error)) {
        fprintf(stderr,
                "beside: error: %s: its answer and %s's differ in shape, NaN or infinities\n",
                arguments[1], arguments[2]);
        good = false;
    }
    if (good) {
        printf("{");
        print_times("sinter", &measured[0]);
        if (count == 2) {
            printf(", ");
            print_times("peer", &measured[1]);
            printf(", \"error\": %.3g", error);
        }
        printf("}\n");
    }
    for (size_t i = 0; i < 2; i++) {
        if (all[i].destroy) all[i].destroy(all[i].state);
        sinter_heap_free(measured[i].seconds);
    }
    return good;
}

int main(int argument_count, char **arguments) {
    if (argument_count < 5 || atoi(arguments[3]) < 1) {
        fprintf(stderr, "usage: beside MODEL.so PEER THREADS SECONDS INPUT.npy...\n");
        return 2;
    }
    feeds inputs = {0};
    bool good = read_feeds(arguments + 5, (size_t)argument_count - 5, &inputs) &&
                measure(arguments, &inputs);
    for (size_t i = 0; i < inputs.count; i++) sinter_tensor_deinit(&inputs.items[i]);
    sinter_heap_free(inputs.items);
    return good ? 0 : 2;
}
