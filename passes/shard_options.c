/* Options of nodes: each axis of the mesh goes to one of the node's factors, or to none. Test: tests/passes/shard_auto/ */
#include "passes/shard_options.h"
#include "ir/cost.h"
#include "passes/shard_prices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SMALL = 64, /* elements: nobody gains by cutting them */
    FETCH_KERNELS =
        3, /* of a halo: what is sent to either side, and what comes put around the own part */
    MOST_OPTIONS = 64 /* of a node: triples of them are few enough to be exact (shard_auto.c) */
};

typedef struct lister {
    const sinter_shard_state *state;
    const sinter_shard_symbols *symbols;
    const sinter_hardware *hardware;
    sinter_shard_node described;
    sinter_estimate_step step;
    sinter_shard_options *out;
    double weight_bytes; /* of the module */
} lister;

static const sinter_type *tensor_type(const lister *l, sinter_value value) {
    const sinter_type *type = value ? sinter_value_type(l->state->module, value) : NULL;
    return type && type->kind == SINTER_TYPE_TENSOR ? type : NULL;
}

static const sinter_dim_table *dims_of(const lister *l) {
    return sinter_module_dims(l->state->module);
}

static double parts_of(const lister *l, const sinter_sharding *sharding, const sinter_type *type) {
    return sinter_sharding_parts(dims_of(l), l->state->mesh, sharding, type);
}

/* Of the ranks together, as they share a factor. */
static double factor_parts(const lister *l, size_t factor) {
    return sinter_sharding_axis_parts(dims_of(l), l->state->mesh, &l->described.cuts[factor],
                                      l->described.map.factors.items[factor].size);
}

/* ---- one option ---- */

static sinter_sharding *project(const lister *l, bool is_result, uint32_t index, uint32_t rank) {
    return sinter_shard_project_all(l->state, &l->described, is_result, index, rank);
}

/* What a rank computes and moves. */
static double work_seconds(const lister *l, const sinter_shard_option *option) {
    const sinter_module *module = l->state->module;
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(module, l->out->node))->pattern;
    /* These are fused to what makes or takes their values: their results are moved once, by one of both. */
    bool is_fused = pattern == SINTER_PATTERN_ELEMENTWISE || pattern == SINTER_PATTERN_VIEW;
    double shares = 1, moved = 0, weights = 0, whole_moved = 0;
    for (size_t f = 0; f < l->described.map.factors.count; f++) shares *= factor_parts(l, f);
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        sinter_value value = sinter_node_operand(module, l->out->node, i);
        if (!option->operands[i]) continue;
        double whole = sinter_cost_type_bytes(l->state->module, tensor_type(l, value)),
               own = whole /
                     sinter_shard_operand_parts(l->state, &l->described, i, tensor_type(l, value));
        if (sinter_value_constant(module, value))
            weights += own;
        else if (!is_fused) {
            moved += own;
            whole_moved += whole;
        }
    }
    for (uint32_t i = 0; i < l->out->result_count; i++) {
        if (!option->results[i]) continue;
        const sinter_type *type = tensor_type(l, sinter_node_result(module, l->out->node, i));
        double whole = sinter_cost_type_bytes(l->state->module, type);
        moved += whole / parts_of(l, option->results[i], type);
        whole_moved += whole;
    }
    double compute = l->step.compute_seconds / shares;
    double memory = weights / sinter_hardware_bandwidth(l->hardware, l->weight_bytes) +
                    moved / sinter_hardware_bandwidth(l->hardware, whole_moved / shares);
    return (compute > memory ? compute : memory) + (is_fused ? 0 : l->step.launch_seconds);
}

/* What windows read of the neighbours' parts, along axes that are cut: what is sent is taken out on both sides, and what comes
 * is put around a copy of the own part. */
static double fetch_seconds(const lister *l, const sinter_shard_option *option) {
    double seconds = 0;
    for (size_t i = 0; i < l->described.map.links.count; i++) {
        const sinter_axis_link *link = &l->described.map.links.items[i];
        const sinter_axis_window *window = link->window;
        sinter_value value = sinter_node_operand(l->state->module, l->out->node, link->index);
        const sinter_type *type = window ? tensor_type(l, value) : NULL;
        int64_t size = 0;
        if (!type || !l->described.cuts[link->factor].count || window->reach <= window->stride ||
            !sinter_dim_is_const(sinter_module_dims(l->state->module), type->dims[link->axis],
                                 &size))
            continue;
        double parts =
            parts_of(l, option->operands[link->index], type) / factor_parts(l, link->factor);
        if (!sinter_sharding_can_send(type->dtype)) return INFINITY;
        double bytes = sinter_cost_type_bytes(l->state->module, type) / parts *
                       (double)(window->reach - window->stride) / (double)size;
        seconds +=
            sinter_hardware_exchange(l->hardware, l->state->mesh, &l->described.cuts[link->factor],
                                     SINTER_OP_shard_window, bytes);
        double own = sinter_cost_type_bytes(l->state->module, type) /
                     parts_of(l, option->operands[link->index], type);
        seconds += FETCH_KERNELS * l->hardware->launch +
                   2 * own / sinter_hardware_bandwidth(l->hardware, own);
    }
    return seconds;
}

/* Sums of a result's terms: by all ranks, or each its part of them. */
static double sum_seconds(const lister *l, const sinter_mesh_axes *terms,
                          const sinter_sharding *result, const sinter_type *type,
                          const sinter_sharding *wanted) {
    sinter_sharding partial = *result;
    partial.partial = sinter_mesh_axes_mask(terms);
    return sinter_shard_convert_seconds(l->state, l->hardware, type, &partial, wanted);
}

/* Whether dim d of the result can be cut over the axes, too. */
static bool can_scatter(const lister *l, const sinter_type *type, const sinter_sharding *result,
                        uint32_t d, const sinter_mesh_axes *terms) {
    int64_t size = 0;
    if (!sinter_dim_is_const(sinter_module_dims(l->state->module), type->dims[d], &size))
        return false;
    int64_t parts = sinter_mesh_axes_product(l->state->mesh, &result->dims[d].axes) *
                    sinter_mesh_axes_product(l->state->mesh, terms);
    return size > 0 && size % parts == 0;
}

/* What the steps of a recurrence exchange, whose units are cut. */
static double step_seconds(const lister *l, const sinter_shard_option *option) {
    const sinter_shard_node *n = &l->described;
    sinter_dim_table *dims = sinter_module_dims(l->state->module);
    sinter_value x = sinter_node_operand(l->state->module, l->out->node, 0);
    double seconds = 0;
    for (size_t f = 0; f < n->map.factors.count; f++) {
        int64_t count = 0, bytes = 0;
        if (n->map.factors.items[f].kind != SINTER_AXIS_STEPWISE || !n->cuts[f].count) continue;
        sinter_cost_exchange exchange = sinter_cost_node_exchange(l->state->module, l->out->node);
        if (!exchange.count || !sinter_dim_is_const(dims, exchange.count, &count) ||
            !sinter_dim_is_const(dims, exchange.bytes, &bytes))
            continue;
        seconds += (double)count *
                   sinter_hardware_exchange(
                       l->hardware, l->state->mesh, &n->cuts[f], SINTER_OP_all_gather,
                       (double)bytes / parts_of(l, option->operands[0], tensor_type(l, x)));
    }
    return seconds;
}

/* Sizes that only a run knows allow no other cuts than theirs, and no sums over what pads them (shard_c6). */
static bool fits_symbols(const lister *l, const sinter_shard_option *option) {
    const sinter_module *module = l->state->module;
    const char *fill;
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        const sinter_type *type = tensor_type(l, sinter_node_operand(module, l->out->node, i));
        if (!type) continue;
        if (sinter_shard_find_unfit_symbol(l->symbols, type, option->operands[i]) < type->rank)
            return false;
        for (uint32_t d = 0; d < type->rank; d++)
            if (sinter_shard_symbol_axes(l->symbols, type->dims[d])->count &&
                sinter_shard_sees_padding(l->state, l->out->node, &l->described, i, d, &fill))
                return false;
    }
    for (uint32_t i = 0; i < l->out->result_count; i++) {
        const sinter_type *type = tensor_type(l, sinter_node_result(module, l->out->node, i));
        if (type &&
            sinter_shard_find_unfit_symbol(l->symbols, type, option->results[i]) < type->rank)
            return false;
    }
    return true;
}

static const sinter_sharding **list_operands(const lister *l) {
    const sinter_sharding **operands =
        SINTER_NEW_ARRAY(l->state->arena, const sinter_sharding *, l->out->operand_count + 1);
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        const sinter_type *type =
            tensor_type(l, sinter_node_operand(l->state->module, l->out->node, i));
        if (type) operands[i] = project(l, false, i, type->rank);
    }
    return operands;
}

double sinter_shard_inner_seconds(const sinter_shard_state *state, const sinter_hardware *hardware,
                                  sinter_node node, const sinter_shard_node *cut) {
    sinter_shard_options out = {
        .node = node, .operand_count = sinter_node_get(state->module, node)->operand_count};
    const lister l = {.state = state, .hardware = hardware, .out = &out, .described = *cut};
    const sinter_shard_option option = {.operands = list_operands(&l)};
    return fetch_seconds(&l, &option) + step_seconds(&l, &option);
}

static void add_option(lister *l, bool is_only) {
    sinter_shard_option option = {0};
    sinter_arena *arena = l->state->arena;
    const sinter_module *module = l->state->module;
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(&l->described, &combine);
    option.operands = list_operands(l);
    option.results = SINTER_NEW_ARRAY(arena, const sinter_sharding *, l->out->result_count + 1);
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        sinter_value value = sinter_node_operand(module, l->out->node, i);
        const sinter_type *type = tensor_type(l, value);
        if (type && sinter_value_constant(module, value))
            option.weight_bytes += sinter_cost_type_bytes(l->state->module, type) /
                                   sinter_shard_operand_parts(l->state, &l->described, i, type);
    }
    for (uint32_t i = 0; i < l->out->result_count; i++) {
        const sinter_type *type = tensor_type(l, sinter_node_result(module, l->out->node, i));
        if (type) option.results[i] = project(l, true, i, type->rank);
    }
    if (!is_only && !fits_symbols(l, &option)) return;
    const double work = work_seconds(l, &option),
                 inner = fetch_seconds(l, &option) + step_seconds(l, &option);
    option.exchange_seconds = inner;
    for (uint32_t i = 0; terms.count && i < l->out->result_count; i++)
        if (option.results[i])
            option.exchange_seconds += sum_seconds(
                l, &terms, option.results[i],
                tensor_type(l, sinter_node_result(module, l->out->node, i)), option.results[i]);
    option.seconds = work + option.exchange_seconds;
    sinter_vector_push(arena, &l->out->items, option);
    if (!terms.count || combine != SINTER_AXIS_COMBINE_SUM || l->out->result_count != 1 ||
        !option.results[0])
        return;
    const sinter_type *type = tensor_type(l, sinter_node_result(module, l->out->node, 0));
    const sinter_sharding *whole = option.results[0];
    for (uint32_t d = 0; d < type->rank; d++) {
        if (!can_scatter(l, type, whole, d, &terms)) continue;
        sinter_sharding *part = sinter_sharding_copy(arena, whole);
        for (uint32_t i = 0; i < terms.count; i++)
            sinter_mesh_axes_add(&part->dims[d].axes, terms.items[i]);
        sinter_shard_option scattered = option;
        scattered.results = SINTER_NEW_ARRAY(arena, const sinter_sharding *, 1);
        scattered.results[0] = part;
        scattered.exchange_seconds = inner + sum_seconds(l, &terms, whole, type, part);
        scattered.seconds = work + scattered.exchange_seconds;
        sinter_vector_push(arena, &l->out->items, scattered);
    }
}

/* ---- all of them ---- */

/* A further axis has to leave each rank less to do. */
static bool can_cut(const lister *l, uint32_t factor, uint32_t axis) {
    const sinter_mesh *mesh = l->state->mesh;
    int64_t size = 0;
    sinter_mesh_axes more = l->described.cuts[factor];
    if (!l->described.usable[factor] ||
        !sinter_dim_is_const(dims_of(l), l->described.map.factors.items[factor].size, &size))
        return false;
    int64_t now = sinter_mesh_part_of(mesh, &more, size, 0).chunk;
    sinter_mesh_axes_add(&more, axis);
    return sinter_mesh_part_of(mesh, &more, size, 0).chunk < now;
}

/* Factors whose size only a run knows are cut as their symbol is said to be. Returns the mesh axes that these take, a bit each. */
static uint32_t cut_symbols(lister *l) {
    sinter_shard_node *n = &l->described;
    uint32_t taken = 0;
    for (uint32_t f = 0; f < n->map.factors.count; f++) {
        const sinter_mesh_axes *axes =
            sinter_shard_symbol_axes(l->symbols, n->map.factors.items[f].size);
        uint32_t mask = sinter_mesh_axes_mask(axes);
        if (!n->usable[f] || (mask & taken)) continue;
        n->cuts[f] = *axes;
        taken |= mask;
    }
    return taken;
}

static void assign_axis(lister *l, uint32_t axis, uint32_t taken) {
    sinter_shard_node *n = &l->described;
    if (axis == l->state->mesh->axis_count) {
        size_t bytes = n->map.factors.count * sizeof *n->cuts;
        sinter_mesh_axes *kept = sinter_arena_copy(l->state->arena, n->cuts, bytes);
        if (sinter_shard_drop_unfit(l->state, n)) add_option(l, false);
        if (bytes) memcpy(n->cuts, kept, bytes);
        return;
    }
    assign_axis(l, axis + 1, taken);
    if (taken >> axis & 1) return;
    for (uint32_t f = 0; f < n->map.factors.count; f++) {
        if (!can_cut(l, f, axis)) continue;
        sinter_mesh_axes_add(&n->cuts[f], axis);
        assign_axis(l, axis + 1, taken);
        n->cuts[f].count--;
    }
}

static bool is_small(const lister *l, const sinter_node_info *info) {
    for (uint32_t i = 0; i < info->result_count; i++) {
        const sinter_type *type = tensor_type(l, info->results[i]);
        uint64_t count = 0;
        if (type &&
            (!sinter_type_static_count(sinter_module_dims(l->state->module), type, &count) ||
             count > SMALL))
            return false;
    }
    return true;
}

/* ---- fewer of them ---- */

static int compare_options(const void *a, const void *b) {
    double left = ((const sinter_shard_option *)a)->seconds,
           right = ((const sinter_shard_option *)b)->seconds;
    return left < right ? -1 : left > right;
}

/* Those that take least, beside the first one. True where some were left out. */
static bool keep_best(sinter_shard_options *options) {
    if (options->items.count <= MOST_OPTIONS) return false;
    qsort(options->items.items + 1, options->items.count - 1, sizeof *options->items.items,
          compare_options);
    options->items.count = MOST_OPTIONS;
    return true;
}

bool sinter_shard_list_options(const sinter_shard_state *state, const sinter_shard_symbols *symbols,
                               const sinter_hardware *hardware, sinter_node node,
                               double weight_bytes, sinter_shard_options *out_options) {
    lister l = {.state = state,
                .symbols = symbols,
                .hardware = hardware,
                .out = out_options,
                .weight_bytes = weight_bytes};
    sinter_node_info info = *sinter_node_get(state->module, node);
    *out_options = (sinter_shard_options){
        .node = node, .operand_count = info.operand_count, .result_count = info.result_count};
    sinter_shard_describe(state, node, &l.described);
    l.step = sinter_estimate_node(state->module, node, hardware, weight_bytes, state->arena);
    uint32_t taken = cut_symbols(&l);
    if (is_small(&l, &info) || info.region_count)
        add_option(&l, false);
    else
        assign_axis(&l, 0, taken);
    if (!out_options->items.count) { /* what a user said can't be: shard-partition says why */
        memset(l.described.cuts, 0, l.described.map.factors.count * sizeof *l.described.cuts);
        add_option(&l, true);
    }
    return keep_best(out_options);
}
