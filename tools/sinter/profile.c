/* The table of kernels and their times, and the file that says when they ran. Test: tests/cli/bench_profile.test, tests/cli/trace.test */
#include "tools/sinter/command.h"
#include <math.h>
#include <stdlib.h>

static int slower_first(const void *a, const void *b) {
    double x = ((const sinter_profile_kernel *)a)->seconds,
           y = ((const sinter_profile_kernel *)b)->seconds;
    return (x < y) - (x > y);
}

static double fastest_call(const sinter_profile_kernel *kernel) {
    double fastest = kernel->call_capacity ? kernel->call_seconds[0] : 0;
    for (size_t i = 1; i < kernel->call_capacity; ++i)
        fastest = fmin(fastest, kernel->call_seconds[i]);
    return fastest;
}

/* Without the file's name before each node, and cut where it is long: "'a' (Conv) + 'b' (Relu)". */
static void append_nodes(const char *nodes, sinter_text *text) {
    enum { longest = 100 };
    size_t more = 0;
    for (const char *at = nodes, *next; *at; at = next) {
        const char *plus = strstr(at, " + "), *comma = strstr(at, ", ");
        next = plus && (!comma || plus < comma) ? plus + 3 : comma ? comma + 2 : at + strlen(at);
        const char *name = strstr(at, ": node ");
        if (!name || name >= next)
            name = at;
        else
            name += strlen(": node ");
        if (text->size && text->size + (size_t)(next - name) > longest)
            more++;
        else
            sinter_text_append(text, name, (size_t)(next - name));
    }
    if (more) sinter_text_format(text, "... and %zu more", more);
}

time_unit time_unit_of(double longest) {
    return longest >= 1e-3   ? (time_unit){"ms", 1e3}
           : longest >= 1e-6 ? (time_unit){"us", 1e6}
                             : (time_unit){"ns", 1e9};
}

void profile_print(const sinter_profile *p, FILE *file) {
    double total = 0;
    size_t count = 0;
    const sinter_profile_kernel *kernels = sinter_profile_kernels(p, &count);
    sinter_profile_kernel *sorted = sinter_heap_alloc((count + 1) * sizeof *sorted);
    for (size_t i = 0; i < count; ++i) {
        sorted[i] = kernels[i];
        total += sorted[i].seconds;
    }
    qsort(sorted, count, sizeof *sorted, slower_first);
    const time_unit whole = time_unit_of(total), unit = time_unit_of(count ? sorted[0].seconds : 0);
    fprintf(file, "kernels: %.4f %s a run\n%10s %6s %6s %10s  %-24s %s\n", whole.per_second * total,
            whole.name, unit.name, "%", "calls", "fastest", "kernel", "nodes");
    for (size_t i = 0; i < count; ++i) {
        const sinter_profile_kernel *k = &sorted[i];
        sinter_text nodes = {0};
        append_nodes(k->kernel->nodes ? k->kernel->nodes : "", &nodes);
        fprintf(file, "%10.4f %6.2f %6zu %10.4f  %-24s %s\n", unit.per_second * k->seconds,
                total > 0 ? 100 * k->seconds / total : 0, k->calls,
                unit.per_second * fastest_call(k), k->kernel->name, nodes.data ? nodes.data : "");
        sinter_text_deinit(&nodes);
    }
    sinter_heap_free(sorted);
}

bool trace_file_open(trace_file *file, const arguments *a, sinter_diag *diag) {
    const char *path = arguments_find(a, "trace");
    *file = (trace_file){0};
    if (!path) return true;
    if (!*path) return usage_error(a->verb, "--trace: expected the name of a file");
    sinter_trace_init(&file->trace);
    file->is_open = sinter_file_writer_open(&file->writer, path, false, diag);
    return file->is_open;
}

bool trace_file_start(trace_file *file, sinter_engine *engine, const char *name,
                      sinter_diag *diag) {
    if (!file->is_open) return true;
    file->engine = engine;
    return sinter_engine_set_trace(engine, &file->trace) ||
           sinter_error(diag, name, "--trace: its kernels don't run on the CPU");
}

/* Steps beyond the most that a lane keeps are told of. */
static void tell_what_is_missing(const sinter_trace *trace, sinter_diag *diag) {
    for (size_t i = 0; i < trace->lanes.count; ++i)
        if (trace->lanes.items[i]->dropped)
            sinter_note(diag, trace->lanes.items[i]->name,
                        "--trace has its first %zu steps; %llu more are left out",
                        trace->lanes.items[i]->events.count,
                        (unsigned long long)trace->lanes.items[i]->dropped);
}

bool trace_file_close(trace_file *file, bool keep, sinter_diag *diag) {
    sinter_text text = {0};
    if (!file->is_open) return true;
    if (file->engine) sinter_engine_set_trace(file->engine, NULL);
    sinter_trace_print(&file->trace, &text);
    sinter_file_writer_append(&file->writer, text.data, text.size);
    tell_what_is_missing(&file->trace, diag);
    bool kept = sinter_file_writer_close(&file->writer, keep, diag);
    sinter_text_deinit(&text);
    sinter_trace_deinit(&file->trace);
    file->is_open = false;
    return kept || !keep;
}
