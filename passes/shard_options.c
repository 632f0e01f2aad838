/* Options of nodes: each axis of the mesh goes to one of the node's factors, or to none. Test: tests/passes/shard_auto/ */
#include "passes/shard_options.h"
#include "ir/cost.h"
#include "passes/shard_build.h"

#include <string.h>

enum { SMALL = 64 }; /* elements: nobody gains by cutting them */

typedef struct lister {
    const sinter_shard_state *state;
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

static double parts_of(const sinter_shard_state *state, const sinter_sharding *sharding) {
    double parts = 1;
    for (uint32_t i = 0; i < sharding->rank; i++)
        parts *= (double)sinter_mesh_axes_product(state->mesh, &sharding->dims[i].axes);
    return parts;
}

/* ---- conversions ---- */

/* Whether the axis is cut along another dim afterwards. */
static bool moves(const sinter_sharding *to, uint32_t dim, uint32_t axis) {
    for (uint32_t i = 0; i < to->rank; i++)
        if (i != dim && sinter_mesh_axes_have(&to->dims[i].axes, axis)) return true;
    return false;
}

double sinter_shard_convert_seconds(const sinter_shard_state *state,
                                    const sinter_hardware *hardware, const sinter_type *type,
                                    const sinter_sharding *from, const sinter_sharding *to) {
    double seconds = 0, bytes = sinter_cost_type_bytes(state->module, type) / parts_of(state, from);
    for (uint32_t d = 0; d < from->rank; d++) {
        const sinter_mesh_axes *now = &from->dims[d].axes;
        for (uint32_t i = now->count; i-- > sinter_mesh_axes_common(now, &to->dims[d].axes);) {
            sinter_mesh_axes over = sinter_mesh_axes_of(1u << now->items[i]);
            bool is_moved = moves(to, d, now->items[i]);
            double ranks = (double)sinter_mesh_axes_product(state->mesh, &over);
            if (!is_moved) bytes *= ranks;
            seconds += sinter_hardware_exchange(
                hardware, state->mesh, &over,
                is_moved ? SINTER_OP_all_to_all : SINTER_OP_all_gather, bytes);
        }
    }
    return seconds;
}

/* ---- one option ---- */

static sinter_sharding *project(const lister *l, bool is_result, uint32_t index, uint32_t rank) {
    sinter_value origin;
    sinter_sharding *sharding = SINTER_NEW(l->state->arena, sinter_sharding);
    *sharding = sinter_sharding_whole(l->state->arena, rank, false);
    for (uint32_t axis = 0; axis < rank; axis++)
        sharding->dims[axis].axes =
            sinter_shard_project(l->state, &l->described, is_result, index, axis, &origin);
    return sharding;
}

/* What a rank computes and moves. */
static double work_seconds(const lister *l, const sinter_shard_option *option) {
    const sinter_module *module = l->state->module;
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(module, l->out->node))->pattern;
    /* These are fused to what makes or takes their values: their results are moved once, by one of both. */
    bool is_fused = pattern == SINTER_PATTERN_ELEMENTWISE || pattern == SINTER_PATTERN_VIEW;
    double shares = 1, moved = 0, weights = 0, whole_moved = 0;
    for (size_t f = 0; f < l->described.map.factors.count; f++)
        shares *= (double)sinter_mesh_axes_product(l->state->mesh, &l->described.cuts[f]);
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        sinter_value value = sinter_node_operand(module, l->out->node, i);
        if (!option->operands[i]) continue;
        double whole = sinter_cost_type_bytes(l->state->module, tensor_type(l, value)),
               own = whole / sinter_shard_operand_parts(l->state, &l->described, i,
                                                        tensor_type(l, value)->rank);
        if (sinter_value_constant(module, value))
            weights += own;
        else if (!is_fused) {
            moved += own;
            whole_moved += whole;
        }
    }
    for (uint32_t i = 0; i < l->out->result_count; i++) {
        if (!option->results[i]) continue;
        double whole = sinter_cost_type_bytes(
            l->state->module, tensor_type(l, sinter_node_result(module, l->out->node, i)));
        moved += whole / parts_of(l->state, option->results[i]);
        whole_moved += whole;
    }
    double compute = l->step.compute_seconds / shares;
    double memory = weights / sinter_hardware_bandwidth(l->hardware, l->weight_bytes) +
                    moved / sinter_hardware_bandwidth(l->hardware, whole_moved / shares);
    return (compute > memory ? compute : memory) + (is_fused ? 0 : l->step.launch_seconds);
}

/* What windows read of the neighbours' parts, along axes that are cut. */
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
            parts_of(l->state, option->operands[link->index]) /
            (double)sinter_mesh_axes_product(l->state->mesh, &l->described.cuts[link->factor]);
        double bytes = sinter_cost_type_bytes(l->state->module, type) / parts *
                       (double)(window->reach - window->stride) / (double)size;
        seconds +=
            sinter_hardware_exchange(l->hardware, l->state->mesh, &l->described.cuts[link->factor],
                                     SINTER_OP_shard_window, bytes);
    }
    return seconds;
}

/* Sums of the results' terms: by all ranks, or each its part along dim `scatter`. */
static double sum_seconds(const lister *l, const sinter_mesh_axes *terms,
                          const sinter_sharding *result, const sinter_type *type,
                          bool is_scattered) {
    double bytes = sinter_cost_type_bytes(l->state->module, type) / parts_of(l->state, result);
    return sinter_hardware_exchange(l->hardware, l->state->mesh, terms,
                                    is_scattered ? SINTER_OP_reduce_scatter : SINTER_OP_all_reduce,
                                    bytes);
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
    double seconds = 0;
    for (size_t f = 0; f < n->map.factors.count; f++) {
        int64_t count = 0, bytes = 0;
        if (n->map.factors.items[f].kind != SINTER_AXIS_STEPWISE || !n->cuts[f].count) continue;
        sinter_cost_exchange exchange = sinter_cost_node_exchange(l->state->module, l->out->node);
        if (!exchange.count || !sinter_dim_is_const(dims, exchange.count, &count) ||
            !sinter_dim_is_const(dims, exchange.bytes, &bytes))
            continue;
        seconds +=
            (double)count *
            sinter_hardware_exchange(l->hardware, l->state->mesh, &n->cuts[f], SINTER_OP_all_gather,
                                     (double)bytes / parts_of(l->state, option->operands[0]));
    }
    return seconds;
}

static void add_option(lister *l) {
    sinter_shard_option option = {0};
    sinter_arena *arena = l->state->arena;
    const sinter_module *module = l->state->module;
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(&l->described, &combine);
    option.operands = SINTER_NEW_ARRAY(arena, const sinter_sharding *, l->out->operand_count + 1);
    option.results = SINTER_NEW_ARRAY(arena, const sinter_sharding *, l->out->result_count + 1);
    for (uint32_t i = 0; i < l->out->operand_count; i++) {
        sinter_value value = sinter_node_operand(module, l->out->node, i);
        const sinter_type *type = tensor_type(l, value);
        if (!type) continue;
        option.operands[i] = project(l, false, i, type->rank);
        if (sinter_value_constant(module, value))
            option.weight_bytes +=
                sinter_cost_type_bytes(l->state->module, type) /
                sinter_shard_operand_parts(l->state, &l->described, i, type->rank);
    }
    for (uint32_t i = 0; i < l->out->result_count; i++) {
        const sinter_type *type = tensor_type(l, sinter_node_result(module, l->out->node, i));
        if (type) option.results[i] = project(l, true, i, type->rank);
    }
    double work = option.seconds =
        work_seconds(l, &option) + fetch_seconds(l, &option) + step_seconds(l, &option);
    for (uint32_t i = 0; terms.count && i < l->out->result_count; i++)
        if (option.results[i])
            option.seconds +=
                sum_seconds(l, &terms, option.results[i],
                            tensor_type(l, sinter_node_result(module, l->out->node, i)), false);
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
        scattered.seconds = work + sum_seconds(l, &terms, whole, type, true);
        sinter_vector_push(arena, &l->out->items, scattered);
    }
}

/* ---- all of them ---- */

static bool can_cut(const lister *l, uint32_t factor, uint32_t axis) {
    int64_t size = 0, parts = sinter_mesh_axes_product(l->state->mesh, &l->described.cuts[factor]) *
                              l->state->mesh->axes[axis].size;
    return l->described.usable[factor] &&
           sinter_dim_is_const(sinter_module_dims(l->state->module),
                               l->described.map.factors.items[factor].size, &size) &&
           size > 0 && size % parts == 0;
}

static void assign_axis(lister *l, uint32_t axis) {
    sinter_shard_node *n = &l->described;
    if (axis == l->state->mesh->axis_count) {
        size_t bytes = n->map.factors.count * sizeof *n->cuts;
        sinter_mesh_axes *kept = sinter_arena_copy(l->state->arena, n->cuts, bytes);
        if (sinter_shard_drop_unfit(l->state, n)) add_option(l);
        if (bytes) memcpy(n->cuts, kept, bytes);
        return;
    }
    assign_axis(l, axis + 1);
    for (uint32_t f = 0; f < n->map.factors.count; f++) {
        if (!can_cut(l, f, axis)) continue;
        sinter_mesh_axes_add(&n->cuts[f], axis);
        assign_axis(l, axis + 1);
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

void sinter_shard_list_options(const sinter_shard_state *state, const sinter_hardware *hardware,
                               sinter_node node, double weight_bytes,
                               sinter_shard_options *out_options) {
    lister l = {
        .state = state, .hardware = hardware, .out = out_options, .weight_bytes = weight_bytes};
    sinter_node_info info = *sinter_node_get(state->module, node);
    *out_options = (sinter_shard_options){
        .node = node, .operand_count = info.operand_count, .result_count = info.result_count};
    sinter_shard_describe(state, node, &l.described);
    l.step = sinter_estimate_node(state->module, node, hardware, weight_bytes, state->arena);
    if (is_small(&l, &info) || info.region_count)
        add_option(&l);
    else
        assign_axis(&l, 0);
}
