/* sinter bench: latency of one inference with inputs bound, seen from the process that runs it; the time to compile or
 * load; memory.  * Test: tests/cli/bench.test */
#include "ir/base/file.h"
#include "runtime/sinter_runtime.h"
#include "tools/sinter/calibrate.h"
#include "tools/sinter/inspect.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct measurement {
    double *seconds;
    size_t count, capacity;
    double compile_seconds, load_seconds;   /* of a model; of an artifact */
    uint64_t rss_before, peak_rss, run_rss; /* bytes; run_rss: of a process that only runs */
    uint64_t weights, huge;                 /* bytes of weights, of those on huge pages */
    const char *exchange;                   /* between ranks on GPUs; NULL: there are none */
} measurement;

static const option_spec own_options[] = {
    {.name = "seconds", .value = "S", .doc = "how long to measure (3)"},
    {.name = "json",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc =
         "file for median_ms, min_ms, max_ms, compile_ms, load_ms (of an artifact), "
         "peak_rss_bytes, run_rss_bytes, weights_bytes, huge_page_bytes (of the weights), exchange "
         "(of ranks on GPUs: nccl or host)"},
    {.name = "profile",
     .doc = "a table of the kernels and their times; timing them costs a little",
     .need = NEEDS_NATIVE},
    {.name = "per-node",
     .doc = "a table of the groups of nodes: time, GFLOP/s, GB/s, and the share of this machine's "
            "measured roofline",
     .need = NEEDS_CODE},
    {.name = "calibrate",
     .doc = "describe this machine for sinter plan: peaks, caches, efficiency of kernels, hand-off "
            "between cores; takes no model and a minute",
     .with = "o"},
    {.name = "o",
     .value = "FILE",
     .file = WRITES_FILE,
     .doc = "the description to write",
     .with = "calibrate"},
};

static bool measure(bound_run *run, double seconds, sinter_profile *p, measurement *m,
                    sinter_diag *diag) {
    double start = sinter_clock_seconds();
    for (int i = -1; i < 1 || sinter_clock_seconds() - start < seconds;
         ++i) { /* the first run is a warm-up */
        if (p) sinter_profile_begin_run(p);
        double begin = sinter_clock_seconds();
        if (!bound_run_execute(run, diag)) return false;
        double end = sinter_clock_seconds();
        tensors_clear(&run->outputs);
        if (i < 0) continue;
        if (p) sinter_profile_end_run(p);
        if (m->count == m->capacity) {
            m->capacity = m->capacity ? 2 * m->capacity : 1024;
            m->seconds = sinter_heap_realloc(m->seconds, m->capacity * sizeof *m->seconds);
        }
        m->seconds[m->count++] = end - begin;
    }
    sinter_clock_sort(m->seconds, m->count);
    return true;
}

static bool write_json(const char *path, const char *model, int64_t threads, const measurement *m,
                       sinter_diag *diag) {
    sinter_text text = {0};
    sinter_text_append_string(&text, "{\"model\": ");
    sinter_text_json(&text, sinter_string_of(model));
    sinter_text_format(
        &text,
        ", \"threads\": %lld, \"runs\": %zu, \"median_ms\": %.6f, \"min_ms\": %.6f, \"max_ms\": "
        "%.6f, "
        "\"compile_ms\": %.3f, \"load_ms\": %.3f, \"peak_rss_bytes\": %llu, \"run_rss_bytes\": "
        "%llu, \"weights_bytes\": %llu, \"huge_page_bytes\": %llu",
        (long long)threads, m->count, 1e3 * m->seconds[m->count / 2], 1e3 * m->seconds[0],
        1e3 * m->seconds[m->count - 1], 1e3 * m->compile_seconds, 1e3 * m->load_seconds,
        (unsigned long long)m->peak_rss, (unsigned long long)m->run_rss,
        (unsigned long long)m->weights, (unsigned long long)m->huge);
    if (m->exchange) sinter_text_format(&text, ", \"exchange\": \"%s\"", m->exchange);
    sinter_text_append_string(&text, "}\n");
    bool good = sinter_file_write(path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}

static void print_measurement(const char *path, int64_t threads, const measurement *m) {
    printf("%s: median %.4f ms, min %.4f ms, max %.4f ms (%zu runs, %lld thread%s); %s %.0f ms; "
           "peak memory %.1f MB",
           path, 1e3 * m->seconds[m->count / 2], 1e3 * m->seconds[0],
           1e3 * m->seconds[m->count - 1], m->count, (long long)threads, threads == 1 ? "" : "s",
           m->load_seconds > 0 ? "load" : "compile", 1e3 * (m->compile_seconds + m->load_seconds),
           (double)m->peak_rss / 1e6);
    if (m->weights >= SINTER_ABI_HUGE_PAGE)
        printf("; weights %.1f MB, %.0f %% on huge pages", (double)m->weights / 1e6,
               100 * (double)m->huge / (double)m->weights);
    if (m->exchange) printf("; exchange %s", m->exchange);
    printf("\n");
}

static void look_at_weights(const sinter_engine *engine, measurement *m) {
    const sinter_executable *executable = sinter_engine_executable(engine);
    const void *weights = executable ? sinter_executable_weights(executable, &m->weights) : NULL;
    if (weights) m->huge = memory_huge(weights, m->weights);
}

/* One run more. */
static bool trace_one(bound_run *run, const arguments *a, trace_file *trace, sinter_diag *diag) {
    bool good = !trace->is_open || (trace_file_start(trace, run->engine, a->operands[0], diag) &&
                                    bound_run_execute(run, diag));
    return trace_file_close(trace, good, diag) && good;
}

/* Found out before anything is measured. */
static bool can_write(const char *path, sinter_diag *diag) {
    sinter_file_writer probe;
    return !path || (sinter_file_writer_open(&probe, path, false, diag) &&
                     (sinter_file_writer_close(&probe, false, NULL), true));
}

static int bench_engine(sinter_engine *engine, const arguments *a, double seconds, int64_t threads,
                        measurement *m, sinter_diag *diag) {
    const char *path = a->operands[0];
    if (arguments_has(a, "profile") && !sinter_engine_executable(engine)) {
        sinter_error(diag, path, "--profile: programs of several ranks are timed as a whole");
        return 2;
    }
    trace_file trace;
    if (!can_write(arguments_find(a, "json"), diag) || !trace_file_open(&trace, a, diag)) return 2;
    bound_run run = bound_run_create(engine);
    sinter_profile *p = arguments_has(a, "profile") ? sinter_profile_create(engine) : NULL;
    int status = 2;
    if (make_inputs(engine, a, run.inputs.items, diag) && measure(&run, seconds, p, m, diag)) {
        m->peak_rss = memory_peak();
        look_at_weights(engine, m);
        m->exchange = sinter_engine_exchange(engine);
        m->run_rss = m->peak_rss > m->rss_before ? m->peak_rss - m->rss_before : 0;
        const char *json = arguments_find(a, "json");
        bool compiled = sinter_engine_module(engine) && sinter_engine_artifact(engine);
        bool good = trace_one(&run, a, &trace, diag) &&
                    (!json || !compiled || measure_run_memory(engine, a, &m->run_rss, diag));
        status = good && (!json || write_json(json, path, threads, m, diag)) ? 0 : 2;
        print_measurement(path, threads, m);
        if (p) profile_print(p, stdout);
    }
    trace_file_close(&trace, false, diag);
    sinter_profile_destroy(p);
    bound_run_destroy(&run);
    return status;
}

/* A device works while the host goes on, so that the time between two calls is no kernel's. */
static bool check_profile(const arguments *a) {
    static const char *const timed[] = {"profile", "per-node", "trace"};
    const char *device = device_name(a, arguments_find(a, "target"));
    for (size_t i = 0; i < sizeof timed / sizeof *timed; ++i)
        if (arguments_has(a, timed[i]) && strcmp(device, "cpu") != 0)
            return usage_error("bench", "--%s does nothing with --device=%s", timed[i], device);
    return true;
}

/* Each kernel is measured for a small part of the time. */
static int describe_machine(const arguments *a, double seconds, sinter_diag *diag) {
    static const double share = 0.01;
    sinter_engine_options options;
    sinter_hardware hardware;
    sinter_text text = {0};
    if (!engine_options(a, &options) || !calibrate(&options, seconds * share, &hardware, diag))
        return 2;
    sinter_hardware_print(&hardware, &text);
    bool good = sinter_file_write(arguments_find(a, "o"), text.data, text.size, diag);
    if (good)
        printf("%s: %lld devices of %.1f GOP/s in f32, %.1f GOP/s in int8; %zu kernels\n",
               arguments_find(a, "o"), (long long)hardware.devices,
               1e-9 * hardware.compute[SINTER_DTYPE_f32], 1e-9 * hardware.compute[SINTER_DTYPE_i8],
               hardware.points.count);
    sinter_text_deinit(&text);
    sinter_hardware_deinit(&hardware);
    return good ? 0 : 2;
}

static int bench(const arguments *a) {
    sinter_diag diag = stderr_diag();
    double seconds;
    int64_t threads;
    bool calibrates = arguments_has(a, "calibrate");
    if ((a->operand_count == 0) != calibrates) {
        usage_error("bench", calibrates ? "--calibrate takes no model" : "expected one model");
        return 2;
    }
    if (!arguments_number(a, "seconds", 0, 1e6, 3, &seconds) ||
        !arguments_integer(a, "threads", 1, 1024, 1, &threads) || !check_profile(a))
        return 2;
    keep_pages();
    if (calibrates) return describe_machine(a, seconds, &diag);
    measurement m = {.rss_before = memory_now()};
    double start = sinter_clock_seconds();
    sinter_engine *engine = open_engine(a->operands[0], a, &diag);
    int status;
    if (!engine) return 2;
    if (serve_job(engine, &diag, &status)) return status;
    *(sinter_engine_module(engine) ? &m.compile_seconds : &m.load_seconds) =
        sinter_clock_seconds() - start;
    status = bench_engine(engine, a, seconds, threads, &m, &diag);
    sinter_engine_destroy(engine);
    sinter_heap_free(m.seconds);
    if (!status && arguments_has(a, "per-node") && !bench_nodes(a, &diag)) status = 2;
    return status;
}

const command command_bench = {
    .name = "bench",
    .operands = "MODEL|ARTIFACT",
    .doc = "measure latency, memory and the time to compile or load",
    .usage = "sinter bench MODEL|ARTIFACT [--threads=N] [--seconds=S] [-i NAME=FILE]... "
             "[--json=FILE]\n       sinter bench --calibrate -o FILE [--seconds=S]",
    .details = "Measures latency, the time to compile or load, and memory.",
    COMMAND_OPTIONS(own_options),
    .shared = ENGINE_OPTIONS
    " i size copy-weights rank-seconds exchange deterministic no-deterministic trace",
    .expected = "one model",
    .least = 0,
    .most = 1,
    .run = bench,
};
