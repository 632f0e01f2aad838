/* The time of each node, for the page of `sinter inspect`: the module is compiled for this machine and its kernels are timed.
 *
 * Nodes are told apart by numbers in place of their locations, "[12]", which passes join and kernels keep: "[3] + [4]". A
 * kernel that several groups share lists all of them, "[3] + [4], [7] + [8]", in the order of its calls.
 * Test: tests/cli/inspect_time.test */
#include "tools/sinter/inspect.h"
#include <stdlib.h>
#include <string.h>

enum { MIN_RUNS = 3 };
static const double min_seconds = 0.5;

typedef struct timing {
    inspection *all;
    SINTER_VECTOR(uint32_t) shown; /* nodes of the main region: indices of all->nodes */
    sinter_map numbers;            /* node -> its place there + 1 */
    sinter_dim *bindings;          /* by symbol: its number in the run, 0 where not known */
} timing;

static inspected_node *node_at(const timing *t, uint32_t number) {
    return &t->all->nodes.items[t->shown.items[number]];
}

/* A copy of the module with numbers for locations; what is inside of a node has its number. */
static sinter_module *number_nodes(timing *t) {
    inspection *all = t->all;
    sinter_module *module = sinter_module_clone(all->module);
    for (uint32_t i = 0; i < all->nodes.count; ++i) {
        sinter_node node = all->nodes.items[i].node;
        if (!all->nodes.items[i].depth) {
            sinter_vector_push(&all->arena, &t->shown, i);
            sinter_map_put(&t->numbers, node, t->shown.count);
        }
        sinter_node_set_location(module, node,
                                 sinter_arena_format(&all->arena, "[%zu]", t->shown.count - 1));
    }
    return module;
}

/* ---- runs ---- */

/* Symbols that are dims of inputs. */
static void bind_symbols(timing *t, const bound_run *run) {
    sinter_module *module = t->all->module;
    sinter_dim_table *dims = sinter_module_dims(module);
    t->bindings = SINTER_NEW_ARRAY(&t->all->arena, sinter_dim, sinter_dim_symbol_count(dims) + 1);
    for (uint32_t i = 0; i < sinter_module_input_count(module); ++i) {
        const sinter_type *type = sinter_value_type(module, sinter_module_input(module, i));
        const sinter_tensor *input = &run->inputs.items[i];
        if (type->kind != SINTER_TYPE_TENSOR || input->rank != type->rank) continue;
        for (uint32_t k = 0; k < type->rank; ++k)
            if (sinter_dim_get_kind(dims, type->dims[k]) == SINTER_DIM_SYMBOL)
                t->bindings[sinter_dim_symbol_index(dims, type->dims[k])] =
                    sinter_dim_const(dims, input->dims[k]);
    }
}

/* The dim as a number of the run, negative where not known. */
static double number_of(const timing *t, sinter_dim dim) {
    int64_t value;
    sinter_dim_table *dims = sinter_module_dims(t->all->module);
    if (!dim) return -1;
    dim = sinter_dim_substitute(dims, dim, t->bindings);
    return dim && sinter_dim_is_const(dims, dim, &value) ? (double)value : -1;
}

static bool run_for_a_while(bound_run *run, sinter_profile *p, sinter_diag *diag) {
    double start = sinter_clock_seconds();
    for (int i = 0; i < MIN_RUNS || sinter_clock_seconds() - start < min_seconds; ++i) {
        sinter_profile_begin_run(p);
        if (!bound_run_execute(run, diag)) return false;
        sinter_profile_end_run(p);
        tensors_clear(&run->outputs);
    }
    return true;
}

/* ---- kernels ---- */

static void add_node(timing *t, inspected_kernel *kernel, uint32_t number) {
    for (size_t i = 0; i < kernel->nodes.count; ++i)
        if (kernel->nodes.items[i] == number) return;
    sinter_vector_push(&t->all->arena, &kernel->nodes, number);
}

/* The next number in brackets; moves past it. Anything between is the location of a constant, or the name of a kernel that
 * no node asked for. */
static bool read_number(const timing *t, const char **cursor, uint32_t *out_number,
                        bool *out_ends_group) {
    for (const char *at = *cursor; (at = strchr(at, '['));) {
        char *end = NULL;
        unsigned long number = strtoul(++at, &end, 10);
        if (end == at || *end != ']' || number >= t->shown.count) continue;
        *cursor = end + 1;
        *out_number = (uint32_t)number;
        *out_ends_group = strncmp(*cursor, " + ", 3) != 0;
        return true;
    }
    return false;
}

/* One entry a group of nodes where the calls in a run are as many as the groups, else one for all of them. */
static void add_kernel(timing *t, const sinter_profile_kernel *timed) {
    inspection *all = t->all;
    const char *cursor = timed->kernel->nodes ? timed->kernel->nodes : "";
    uint32_t number;
    bool ends = true, starts = true;
    size_t first = all->kernels.count;
    while (read_number(t, &cursor, &number, &ends)) {
        if (starts) {
            inspected_kernel fresh = {
                .name = sinter_arena_format(&all->arena, "%s", timed->kernel->name)};
            sinter_vector_push(&all->arena, &all->kernels, fresh);
        }
        add_node(t, &all->kernels.items[all->kernels.count - 1], number);
        starts = ends;
    }
    size_t groups = all->kernels.count - first;
    if (!groups || !timed->calls) {
        all->kernels.count = first;
    } else if (groups == timed->calls && groups <= timed->call_capacity) {
        for (size_t i = 0; i < groups; ++i)
            all->kernels.items[first + i].seconds = timed->call_seconds[i];
    } else {
        inspected_kernel *merged = &all->kernels.items[first];
        for (size_t i = 1; i < groups; ++i)
            for (size_t k = 0; k < merged[i].nodes.count; ++k)
                add_node(t, merged, merged[i].nodes.items[k]);
        merged->seconds = timed->seconds;
        all->kernels.count = first + 1;
    }
}

/* ---- work ---- */

/* For each node its longest kernel: others that name it do something small on its behalf. By number, + 1. */
static uint32_t *find_homes(const timing *t) {
    const inspection *all = t->all;
    uint32_t *homes = SINTER_NEW_ARRAY(&t->all->arena, uint32_t, t->shown.count + 1);
    for (uint32_t i = 0; i < all->kernels.count; ++i)
        for (size_t k = 0; k < all->kernels.items[i].nodes.count; ++k) {
            uint32_t *home = &homes[all->kernels.items[i].nodes.items[k]];
            if (!*home || all->kernels.items[i].seconds > all->kernels.items[*home - 1].seconds)
                *home = i + 1;
        }
    return homes;
}

/* The kernel, by number + 1, that makes the value; 0: none. */
static uint32_t maker_of(const timing *t, const uint32_t *homes, sinter_node node) {
    uint64_t number;
    return node && sinter_map_find(&t->numbers, node, &number) ? homes[number - 1] : 0;
}

static void add_bytes(const timing *t, inspected_kernel *kernel, sinter_value value) {
    double bytes = number_of(t, sinter_cost_value_bytes(t->all->module, value));
    kernel->bytes = bytes < 0 || kernel->bytes < 0 ? -1 : kernel->bytes + bytes;
    if (bytes > 0 && sinter_value_constant(t->all->module, value)) kernel->parameter_bytes += bytes;
}

/* What goes into and comes out of the nodes whose home it is. */
static void count_traffic(timing *t, inspected_kernel *kernel, uint32_t self,
                          const uint32_t *homes) {
    sinter_module *module = t->all->module;
    sinter_map seen;
    sinter_map_init(&seen, &t->all->arena);
    for (size_t i = 0; i < kernel->nodes.count; ++i) {
        if (homes[kernel->nodes.items[i]] != self) continue;
        const sinter_node_info *info =
            sinter_node_get(module, node_at(t, kernel->nodes.items[i])->node);
        for (uint32_t k = 0; k < info->operand_count; ++k) {
            sinter_value value = info->operands[k];
            uint64_t ignored;
            if (!value || sinter_map_find(&seen, value, &ignored)) continue;
            sinter_map_put(&seen, value, 1);
            if (maker_of(t, homes, sinter_value_get(module, value)->definition) != self)
                add_bytes(t, kernel, value);
        }
        for (uint32_t k = 0; k < info->result_count; ++k) {
            if (!info->results[k]) continue;
            const sinter_value_info *result = sinter_value_get(module, info->results[k]);
            bool leaves = false;
            for (size_t u = 0; u < result->uses.count; ++u)
                leaves |= maker_of(t, homes, result->uses.items[u].node) != self;
            if (leaves) add_bytes(t, kernel, info->results[k]);
        }
    }
}

/* Work and leader of a kernel. How often the regions of a node run is not known, and so neither is its work. */
static void weigh(timing *t, uint32_t index, const uint32_t *homes) {
    inspected_kernel *kernel = &t->all->kernels.items[index];
    double most = -1;
    bool is_home = false;
    kernel->leader = kernel->nodes.items[kernel->nodes.count - 1];
    for (size_t i = 0; i < kernel->nodes.count; ++i) {
        const inspected_node *one = node_at(t, kernel->nodes.items[i]);
        if (homes[kernel->nodes.items[i]] != index + 1) continue;
        const sinter_node_info *info = sinter_node_get(t->all->module, one->node);
        double work = info->region_count && info->op != SINTER_OP_group
                          ? -1
                          : number_of(t, one->cost.multiply_adds);
        if (!is_home || work >= most) {
            most = work;
            kernel->leader = kernel->nodes.items[i];
        }
        is_home = true;
        if (work < 0) kernel->multiply_adds = kernel->bytes = -1;
        if (kernel->multiply_adds >= 0) kernel->multiply_adds += work;
    }
    if (!is_home)
        kernel->multiply_adds = kernel->bytes = -1;
    else if (kernel->bytes >= 0)
        count_traffic(t, kernel, index + 1, homes);
}

/* Products of bytes: what the kernel's nodes take that is no weight is bytes, quantized outside of it. */
static bool multiplies_bytes(const timing *t, const inspected_kernel *kernel) {
    sinter_module *module = t->all->module;
    for (size_t i = 0; i < kernel->nodes.count; ++i) {
        sinter_node node = node_at(t, kernel->nodes.items[i])->node;
        sinter_value value = sinter_node_operand(module, node, 0);
        const sinter_type *type = value ? sinter_value_type(module, value) : NULL;
        if (type && type->kind == SINTER_TYPE_TENSOR && sinter_dtype_infos[type->dtype].bits == 8 &&
            sinter_dtype_is_integer(type->dtype) && !sinter_value_constant(module, value))
            return true;
    }
    return false;
}

/* What part of the kernel's time the machine needs at least. */
static void compare_with_roof(const timing *t, inspected_kernel *kernel) {
    kernel->share = -1;
    if (kernel->multiply_adds < 0 || kernel->bytes < 0 || kernel->seconds <= 0) return;
    const roofline *roof = &t->all->roof;
    double products =
        roofline_products_seconds(roof, kernel->multiply_adds, multiplies_bytes(t, kernel));
    /* Until its turn comes again all other weights have been read. */
    double moved = kernel->bytes - kernel->parameter_bytes;
    double reads =
        roofline_read_seconds(roof, moved, moved) +
        roofline_read_seconds(roof, kernel->parameter_bytes, (double)t->all->parameter_bytes);
    kernel->share = (products > reads ? products : reads) / kernel->seconds;
}

static void tell_times(timing *t) {
    const uint32_t *homes = find_homes(t);
    for (uint32_t i = 0; i < t->all->kernels.count; ++i) {
        weigh(t, i, homes);
        compare_with_roof(t, &t->all->kernels.items[i]);
        const inspected_kernel *kernel = &t->all->kernels.items[i];
        inspected_node *leader = node_at(t, kernel->leader);
        leader->seconds = (leader->seconds > 0 ? leader->seconds : 0) + kernel->seconds;
        if (kernel->seconds <= 0 || homes[kernel->leader] != i + 1) continue;
        if (kernel->multiply_adds > 0) leader->flops = 2 * kernel->multiply_adds / kernel->seconds;
        if (kernel->bytes > 0) leader->bytes = kernel->bytes / kernel->seconds;
        leader->share = kernel->share;
    }
}

static bool time_engine(timing *t, sinter_engine *engine, const arguments *a, sinter_diag *diag) {
    bound_run run = bound_run_create(engine);
    sinter_profile *p = sinter_profile_create(engine);
    bool good = make_inputs(engine, a, run.inputs.items, diag);
    if (good) bind_symbols(t, &run);
    good = good && run_for_a_while(&run, p, diag);
    if (good) {
        size_t count = 0;
        const sinter_profile_kernel *kernels = sinter_profile_kernels(p, &count);
        for (size_t i = 0; i < count; ++i) add_kernel(t, &kernels[i]);
        tell_times(t);
    }
    sinter_profile_destroy(p);
    bound_run_destroy(&run);
    return good;
}

static bool measure_roof(inspection *all, const sinter_engine_options *options, sinter_diag *diag) {
    sinter_target target;
    return sinter_target_parse(options->target ? options->target : "cpu", &all->arena, &target,
                               diag) &&
           roofline_measure(&target, all->threads, &all->roof, diag);
}

typedef struct translator {
    const timing *t;
    sinter_diag *diag;
} translator;

/* Messages speak of nodes as the user knows them. */
static void translate(void *user, sinter_severity severity, const char *where,
                      const char *message) {
    const translator *to = user;
    uint32_t number;
    bool ignored;
    if (read_number(to->t, &(const char *){where}, &number, &ignored))
        where = sinter_node_where(to->t->all->module, node_at(to->t, number)->node);
    if (to->diag->handler) to->diag->handler(to->diag->user, severity, where, message);
}

bool inspect_times(inspection *all, const arguments *a, bool is_rewritten, sinter_diag *diag) {
    timing t = {.all = all};
    translator to = {&t, diag};
    sinter_diag translated = {.handler = translate, .user = &to};
    sinter_engine_options options;
    if (!engine_options(a, &options)) return false;
    if (is_rewritten) options.passes = NULL;
    all->threads = options.thread_count;
    sinter_map_init(&t.numbers, &all->arena);
    keep_pages();
    if (!measure_roof(all, &options, diag)) return false;
    sinter_engine *engine = sinter_engine_create(number_nodes(&t), &options, &translated);
    bool good = engine && time_engine(&t, engine, a, &translated);
    sinter_engine_destroy(engine);
    return good;
}
