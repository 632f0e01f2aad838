/* What SMPI is given: hosts and links as a platform of SimGrid (simgrid.org/doc, "Describing Your Platform"), and times of kernels.
 *
 * A device has a link of its own for each level that the hardware describes, in each direction: its bandwidth, and half of its
 * latency, as a message passes one on either side. Test: tests/cli/simulation.test */
#include "runtime/jit/simulation.h"
#include "ir/base/file.h"
#include "ir/cost.h"
#include "ir/estimate.h"

#include <string.h>

/* ---- hosts and links ---- */

static void print_link(const sinter_hardware *h, uint32_t level, int64_t rank, sinter_text *text) {
    sinter_text_format(text,
                       "<link id=\"l%u-%lld\" bandwidth=\"%.9gBps\" latency=\"%.9gs\" "
                       "sharing_policy=\"SPLITDUPLEX\"/>\n",
                       level, (long long)rank, h->links[level].bandwidth,
                       h->links[level].latency / 2);
}

/* Devices that one level of links joins. */
static void print_flat(const sinter_hardware_link *link, int64_t ranks, sinter_text *text) {
    sinter_text_format(text,
                       "<cluster id=\"all\" prefix=\"n\" suffix=\"\" radical=\"0-%lld\" "
                       "speed=\"1Gf\" bw=\"%.9gBps\" lat=\"%.9gs\"/>\n",
                       (long long)ranks - 1, link->bandwidth, link->latency / 2);
}

/* One of the groups that the inner links join: routes within, and to and from its router. */
static void print_group(const sinter_hardware *h, int64_t first, int64_t end, sinter_text *text) {
    long long group = first / h->links[0].devices;
    sinter_text_format(text, "<zone id=\"s%lld\" routing=\"Full\">\n", group);
    for (int64_t i = first; i < end; i++)
        sinter_text_format(text, "<host id=\"n%lld\" speed=\"1Gf\"/>\n", (long long)i);
    sinter_text_format(text, "<router id=\"r%lld\"/>\n", group);
    for (int64_t i = first; i < end; i++)
        for (uint32_t level = 0; level < 2; level++) print_link(h, level, i, text);
    for (int64_t i = first; i < end; i++) {
        long long from = i;
        for (int64_t k = first; k < end; k++)
            if (k != i)
                sinter_text_format(text,
                                   "<route src=\"n%lld\" dst=\"n%lld\" symmetrical=\"NO\">"
                                   "<link_ctn id=\"l0-%lld\" direction=\"UP\"/>"
                                   "<link_ctn id=\"l0-%lld\" direction=\"DOWN\"/></route>\n",
                                   from, (long long)k, from, (long long)k);
        sinter_text_format(text,
                           "<route src=\"n%lld\" dst=\"r%lld\" symmetrical=\"NO\">"
                           "<link_ctn id=\"l1-%lld\" direction=\"UP\"/></route>\n"
                           "<route src=\"r%lld\" dst=\"n%lld\" symmetrical=\"NO\">"
                           "<link_ctn id=\"l1-%lld\" direction=\"DOWN\"/></route>\n",
                           from, group, from, group, from, from);
    }
    sinter_text_append_string(text, "</zone>\n");
}

/* Groups around a switch that is no bottleneck. */
static void print_nested(const sinter_hardware *h, int64_t ranks, sinter_text *text) {
    int64_t joined = h->links[0].devices, groups = ranks / joined + (ranks % joined != 0);
    sinter_text_append_string(text, "<zone id=\"all\" routing=\"Floyd\">\n");
    for (int64_t g = 0; g < groups; g++)
        print_group(h, g * joined, g + 1 < groups ? (g + 1) * joined : ranks, text);
    sinter_text_append_string(
        text, "<zone id=\"core\" routing=\"Full\"><router id=\"switch\"/></zone>\n");
    /* One link for all would make all flows depend on each other. */
    for (int64_t g = 0; g < groups; g++)
        sinter_text_format(text,
                           "<link id=\"free%lld\" bandwidth=\"1e18Bps\" latency=\"0s\" "
                           "sharing_policy=\"FATPIPE\"/>\n",
                           (long long)g);
    for (int64_t g = 0; g < groups; g++)
        sinter_text_format(text,
                           "<zoneRoute src=\"s%lld\" dst=\"core\" gw_src=\"r%lld\" "
                           "gw_dst=\"switch\"><link_ctn id=\"free%lld\"/></zoneRoute>\n",
                           (long long)g, (long long)g, (long long)g);
    sinter_text_append_string(text, "</zone>\n");
}

static bool print_platform(const sinter_hardware *h, int64_t ranks, sinter_text *text,
                           sinter_diag *diag) {
    uint32_t level = 0;
    if (ranks < 2) return sinter_error(diag, h->name, "one rank exchanges nothing to simulate");
    while (h->links[level].devices < ranks) level++;
    if (level > 1)
        return sinter_error(diag, h->name,
                            "%lld ranks reach each other by %u levels of links; two can be "
                            "simulated",
                            (long long)ranks, level + 1);
    sinter_text_append_string(text,
                              "<?xml version='1.0'?>\n<!DOCTYPE platform SYSTEM "
                              "\"https://simgrid.org/simgrid.dtd\">\n<platform version=\"4.1\">\n");
    if (level)
        print_nested(h, ranks, text);
    else
        print_flat(&h->links[0], ranks, text);
    sinter_text_append_string(text, "</platform>\n");
    return true;
}

/* ---- times ---- */

/* A node inside of others that sends; 0: none. */
static sinter_node find_inner_send(const sinter_module *module, sinter_region region, bool inside) {
    SINTER_FOR_NODES (module, region, node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        if (inside && sinter_node_exchanges(module, node)) return node;
        for (uint32_t i = 0; i < info->region_count; i++) {
            sinter_node found = find_inner_send(module, info->regions[i], true);
            if (found) return found;
        }
    }
    return 0;
}

/* A node that exchanges again and again, with what came before it: each time takes its share. */
static int64_t print_steps(sinter_module *module, const sinter_estimate_step *step, double before,
                           sinter_text *text) {
    int64_t count = 1;
    sinter_cost_exchange exchange = sinter_cost_node_exchange(module, step->node);
    if (!exchange.count ||
        !sinter_dim_is_const(sinter_module_dims(module), exchange.count, &count) || count < 1)
        count = 1;
    sinter_text_format(text, "exchange %.17g %lld\n",
                       (before + step->seconds - step->link_seconds) / (double)count,
                       (long long)count);
    return count;
}

static bool print_times(sinter_module *module, const sinter_hardware *h, sinter_text *text,
                        sinter_diag *diag) {
    sinter_arena arena;
    sinter_estimate estimate;
    double seconds = 0;
    uint32_t under_way = 0; /* exchanges */
    int64_t begun = 0, *numbers;
    sinter_node inner = find_inner_send(module, sinter_module_main(module), false);
    if (inner)
        return sinter_error(diag, sinter_node_where(module, inner),
                            "an exchange inside of a loop or branch can't be simulated: how often "
                            "it runs is not known before");
    sinter_arena_init(&arena);
    sinter_estimate_module(module, h, &arena, &estimate);
    numbers =
        SINTER_NEW_ARRAY(&arena, int64_t, sinter_module_node_limit(module)); /* of exchanges */
    sinter_text_format(text, "predicted %.17g\n", estimate.seconds);
    for (size_t i = 0; i < estimate.steps.count; i++) {
        const sinter_estimate_step *step = &estimate.steps.items[i];
        bool ends = sinter_node_op(module, step->node) == SINTER_OP_collective_wait;
        under_way -= ends;
        if (under_way && !ends && !sinter_node_exchanges(module, step->node)) {
            sinter_text_format(text, "kernel %.17g 1\n", step->seconds);
            continue;
        }
        under_way += sinter_node_find_wait(module, step->node) != 0;
        if (!ends && !sinter_node_exchanges(module, step->node)) {
            seconds += step->seconds;
            continue;
        }
        if (!ends && !sinter_op_sends(sinter_node_op(module, step->node))) {
            begun += print_steps(module, step, seconds, text);
            seconds = 0;
            continue;
        }
        if (ends) {
            sinter_value exchanged = sinter_node_operand(module, step->node, 0);
            sinter_text_format(text, "wait %.17g %lld\n", seconds,
                               (long long)numbers[sinter_value_get(module, exchanged)->definition]);
        } else {
            numbers[step->node] = begun++;
            sinter_text_format(text, "exchange %.17g 1\n", seconds);
        }
        seconds = 0;
    }
    sinter_text_format(text, "end %.17g 1\n", seconds);
    sinter_arena_deinit(&arena);
    return true;
}

/* Of rank 0 as the hardware would run it. */
static bool price_program(const sinter_module *module, const sinter_hardware *h,
                          const sinter_engine_options *given, sinter_text *text,
                          sinter_diag *diag) {
    sinter_engine_options options = *given;
    sinter_module *program = sinter_ranks_program(module, 0, diag);
    if (*h->target) options.target = h->target;
    options.hardware = h;
    bool good = program && sinter_engine_run_passes(program, &options, diag) &&
                print_times(program, h, text, diag);
    sinter_module_destroy(program);
    return good;
}

static bool write(const char *folder, const char *name, const sinter_text *text,
                  sinter_diag *diag) {
    sinter_text path = {0};
    sinter_text_format(&path, "%s/%s", folder, name);
    bool good = sinter_file_write(path.data, text->data, text->size, diag);
    sinter_text_deinit(&path);
    return good;
}

bool sinter_simulation_write(const sinter_module *module, const sinter_hardware *hardware,
                             const sinter_engine_options *options, const char *folder,
                             sinter_diag *diag) {
    sinter_text platform = {0}, hosts = {0}, times = {0};
    int64_t ranks = sinter_mesh_rank_count(sinter_module_mesh(module));
    for (int64_t i = 0; i < ranks; i++) sinter_text_format(&hosts, "n%lld\n", (long long)i);
    bool good = sinter_hardware_check_ranks(hardware, sinter_module_mesh(module), 1, diag) &&
                print_platform(hardware, ranks, &platform, diag) &&
                price_program(module, hardware, options, &times, diag) &&
                sinter_file_ensure_folder(folder, diag) &&
                write(folder, "simulation.xml", &platform, diag) &&
                write(folder, "simulation.hosts", &hosts, diag) &&
                write(folder, "simulation.txt", &times, diag);
    sinter_text_deinit(&platform);
    sinter_text_deinit(&hosts);
    sinter_text_deinit(&times);
    return good;
}
