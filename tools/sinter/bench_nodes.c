/* sinter bench --per-node: for each group of nodes its time, its rates, and how much of that time this machine would need at
 * least. The model is compiled once more for it, with numbers for locations (inspect_time.c).
 * Test: tests/cli/bench_nodes.test */
#include "tools/sinter/inspect.h"
#include <stdlib.h>
#include <string.h>

static int slower_first(const void *a, const void *b) {
    double x = ((const inspected_kernel *)a)->seconds, y = ((const inspected_kernel *)b)->seconds;
    return (x < y) - (x > y);
}

static void put_rate(double value, double unit) {
    if (value >= 0)
        printf(" %8.1f", value / unit);
    else
        printf(" %8s", "?");
}

static void put_kernel(const inspection *all, const uint32_t *numbered,
                       const inspected_kernel *kernel, const time_unit *unit, double total) {
    sinter_node leader = all->nodes.items[numbered[kernel->leader]].node;
    printf("%10.4f %6.2f", unit->per_second * kernel->seconds,
           total > 0 ? 100 * kernel->seconds / total : 0);
    put_rate(kernel->multiply_adds < 0 ? -1 : 2 * kernel->multiply_adds / kernel->seconds, 1e9);
    put_rate(kernel->bytes < 0 ? -1 : kernel->bytes / kernel->seconds, 1e9);
    if (kernel->share < 0)
        printf(" %6s", "?");
    else
        printf(" %5.0f%%", 100 * kernel->share);
    const char *where = sinter_node_where(all->module, leader), *name = strstr(where, ": node ");
    printf("  %-24.40s %s", kernel->name, shown(name ? name + strlen(": node ") : where));
    if (kernel->nodes.count > 1) printf(" and %zu more", kernel->nodes.count - 1);
    putchar('\n');
}

static void put_table(inspection *all) {
    const roofline *roof = &all->roof;
    double total = 0;
    uint32_t *numbered = SINTER_NEW_ARRAY(&all->arena, uint32_t, all->nodes.count + 1), count = 0;
    for (uint32_t i = 0; i < all->nodes.count; ++i)
        if (!all->nodes.items[i].depth) numbered[count++] = i;
    for (size_t i = 0; i < all->kernels.count; ++i) total += all->kernels.items[i].seconds;
    if (all->kernels.count)
        qsort(all->kernels.items, all->kernels.count, sizeof *all->kernels.items, slower_first);
    printf("at most %.1f GFLOP/s in f32, %.1f GOP/s in int8; reads", 1e-9 * roof->float_operations,
           1e-9 * roof->integer_operations);
    for (int i = 0; i < ROOFLINE_LEVELS; ++i)
        printf("%s %.1f GB/s from %s", i ? "," : "", 1e-9 * roof->read_bytes[i],
               roofline_level_names[i]);
    printf(" (%d thread%s)\n", all->threads, all->threads == 1 ? "" : "s");
    const time_unit unit = time_unit_of(all->kernels.count ? all->kernels.items[0].seconds : 0);
    printf("%10s %6s %8s %8s %6s  %-24s %s\n", unit.name, "%", "GFLOP/s", "GB/s", "share", "kernel",
           "most of its work");
    for (size_t i = 0; i < all->kernels.count; ++i)
        put_kernel(all, numbered, &all->kernels.items[i], &unit, total);
}

/* Notes and warnings were said when the model was compiled the first time; errors are new, with the notes that follow them. */
static void say_errors(void *user, sinter_severity severity, const char *where,
                       const char *message) {
    sinter_diag *to = user;
    if (severity == SINTER_SEVERITY_ERROR)
        sinter_error(to, where, "%s", message);
    else if (to->error_count)
        sinter_note(to, where, "%s", message);
}

bool bench_nodes(const arguments *a, sinter_diag *all_said) {
    sinter_diag once = {.handler = say_errors, .user = all_said}, *diag = &once;
    sinter_module *module = load_model(a->operands[0], a, diag);
    if (!module) return false;
    inspection all;
    inspection_init(&all, module);
    inspection_collect(&all);
    bool good = inspect_times(&all, a, false, diag);
    if (good) put_table(&all);
    inspection_deinit(&all);
    sinter_module_destroy(module);
    return good;
}
