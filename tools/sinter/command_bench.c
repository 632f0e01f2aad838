/* sinter bench: latency of one inference with inputs bound, seen from the process that runs it; compile time; memory.
 * Test: tests/cli/bench.test */
#include "ir/base/file.h"
#include "tools/sinter/command.h"
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct measurement {
    double *seconds;
    size_t count, capacity;
    double compile_seconds;
    uint64_t rss_before, peak_rss, run_rss; /* bytes; run_rss: of a process that only runs */
} measurement;

static const option_spec own_options[] = {
    {"seconds", true, "how long to measure (3)"},
    {"json", true, "file for median_ms, min_ms, max_ms, compile_ms, peak_rss_bytes, run_rss_bytes"},
    {"profile", false, "a table of the kernels and their times; timing them costs a little"},
    {"help", false, "this text"},
};

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(sinter_engine *engine, const sinter_tensor *inputs, sinter_tensor *outputs,
                    double seconds, profile *p, measurement *m, sinter_diag *diag) {
    size_t output_count = sinter_engine_output_count(engine);
    double start = sinter_clock_seconds();
    for (int i = -1; i < 1 || sinter_clock_seconds() - start < seconds;
         ++i) { /* the first run is a warm-up */
        double begin = sinter_clock_seconds();
        if (!sinter_engine_run(engine, inputs, outputs, diag)) return false;
        double end = sinter_clock_seconds();
        for (size_t k = 0; k < output_count; ++k) {
            sinter_tensor_deinit(&outputs[k]);
            memset(&outputs[k], 0, sizeof outputs[k]);
        }
        if (i < 0) {
            if (p) profile_reset(p);
            continue;
        }
        if (m->count == m->capacity) {
            m->capacity = m->capacity ? 2 * m->capacity : 1024;
            m->seconds = sinter_heap_realloc(m->seconds, m->capacity * sizeof *m->seconds);
        }
        m->seconds[m->count++] = end - begin;
    }
    qsort(m->seconds, m->count, sizeof *m->seconds, compare_seconds);
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
        "\"compile_ms\": %.3f, \"peak_rss_bytes\": %llu, \"run_rss_bytes\": %llu}\n",
        (long long)threads, m->count, 1e3 * m->seconds[m->count / 2], 1e3 * m->seconds[0],
        1e3 * m->seconds[m->count - 1], 1e3 * m->compile_seconds, (unsigned long long)m->peak_rss,
        (unsigned long long)m->run_rss);
    bool good = sinter_file_write(path, text.data, text.size, diag);
    sinter_text_deinit(&text);
    return good;
}

/* Outputs are taken and given back in each run. Their pages stay with the process, as they do with a caller who keeps
 * buffers: what is measured is the model, not the system clearing pages. */
static void keep_pages(void) {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 64 << 20);
}

static int bench_engine(sinter_engine *engine, const arguments *a, const char *path, measurement *m,
                        sinter_diag *diag) {
    size_t input_count = sinter_engine_input_count(engine),
           output_count = sinter_engine_output_count(engine);
    sinter_tensor *inputs = sinter_heap_alloc((input_count + 1) * sizeof *inputs);
    sinter_tensor *outputs = sinter_heap_alloc((output_count + 1) * sizeof *outputs);
    double seconds = 3;
    int64_t threads = 1;
    int status = 2;
    profile *p = arguments_has(a, "profile") ? profile_create(engine) : NULL;
    if ((p || !arguments_has(a, "profile")) &&
        arguments_number(a, "seconds", 0, 1e6, 3, &seconds) &&
        arguments_integer(a, "threads", 1, 1024, 1, &threads) &&
        make_inputs(engine, a, inputs, diag) &&
        measure(engine, inputs, outputs, seconds, p, m, diag)) {
        m->peak_rss = memory_peak();
        m->run_rss = m->peak_rss > m->rss_before ? m->peak_rss - m->rss_before : 0;
        const char *json = arguments_find(a, "json");
        bool compiled = sinter_engine_module(engine) && sinter_engine_artifact(engine);
        bool good = !json || !compiled || measure_run_memory(engine, a, &m->run_rss, diag);
        status = good && (!json || write_json(json, path, threads, m, diag)) ? 0 : 2;
        printf("%s: median %.4f ms, min %.4f ms, max %.4f ms (%zu runs, %lld thread%s); compile "
               "%.0f ms; peak memory %.1f MB\n",
               path, 1e3 * m->seconds[m->count / 2], 1e3 * m->seconds[0],
               1e3 * m->seconds[m->count - 1], m->count, (long long)threads,
               threads == 1 ? "" : "s", 1e3 * m->compile_seconds, (double)m->peak_rss / 1e6);
        if (p) profile_print(p, m->count, stdout);
    }
    profile_destroy(p);
    for (size_t i = 0; i < input_count; ++i) sinter_tensor_deinit(&inputs[i]);
    sinter_heap_free(inputs);
    sinter_heap_free(outputs);
    return status;
}

int command_bench(int argc, char **argv) {
    size_t count = 0;
    const option_spec *specs =
        join_specs(own_options, sizeof own_options / sizeof own_options[0], &count);
    arguments a;
    if (!arguments_parse(argc, argv, specs, count, &a)) return 2;
    if (arguments_has(&a, "help")) {
        print_help("sinter bench MODEL|ARTIFACT [--threads=N] [--seconds=S] [-i NAME=FILE]... "
                   "[--json=FILE]",
                   "Measures latency, compile time and memory.", specs, count);
        return 0;
    }
    if (a.operand_count != 1) {
        fputs("sinter bench: error: expected one model; see sinter bench --help\n", stderr);
        return 2;
    }
    sinter_diag diag = stderr_diag();
    keep_pages();
    measurement m = {.rss_before = memory_now()};
    double start = sinter_clock_seconds();
    sinter_engine *engine = open_engine(a.operands[0], &a, &diag);
    if (!engine) return 2;
    m.compile_seconds = sinter_clock_seconds() - start;
    int status = bench_engine(engine, &a, a.operands[0], &m, &diag);
    sinter_engine_destroy(engine);
    sinter_heap_free(m.seconds);
    return status;
}
