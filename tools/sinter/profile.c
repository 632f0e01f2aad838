/* The table of kernels and their times, and the file that says when they ran. Test: tests/cli/bench_profile.test, tests/cli/trace.test */
#include "ir/base/file.h"
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
    fprintf(file, "kernels: %.4f ms a run\n%10s %6s %6s %10s  %-24s %s\n", 1e3 * total, "ms", "%",
            "calls", "fastest", "kernel", "nodes");
    for (size_t i = 0; i < count; ++i) {
        const sinter_profile_kernel *k = &sorted[i];
        sinter_text nodes = {0};
        append_nodes(k->kernel->nodes ? k->kernel->nodes : "", &nodes);
        fprintf(file, "%10.4f %6.2f %6zu %10.4f  %-24s %s\n", 1e3 * k->seconds,
                total > 0 ? 100 * k->seconds / total : 0, k->calls, 1e3 * fastest_call(k),
                k->kernel->name, nodes.data ? nodes.data : "");
        sinter_text_deinit(&nodes);
    }
    sinter_heap_free(sorted);
}

bool trace_begin(sinter_engine *engine, const arguments *a, sinter_trace *trace,
                 sinter_diag *diag) {
    sinter_trace_init(trace);
    return !arguments_has(a, "trace") || sinter_engine_set_trace(engine, trace) ||
           sinter_error(diag, a->operands[0], "--trace: its kernels don't run on the CPU");
}

bool trace_end(sinter_engine *engine, const arguments *a, sinter_trace *trace, sinter_diag *diag) {
    sinter_text text = {0};
    const char *file = arguments_find(a, "trace");
    if (trace->lanes.count) sinter_engine_set_trace(engine, NULL);
    if (trace->lanes.count) sinter_trace_print(trace, &text);
    bool good = !trace->lanes.count || sinter_file_write(file, text.data, text.size, diag);
    sinter_text_deinit(&text);
    sinter_trace_deinit(trace);
    return good;
}
