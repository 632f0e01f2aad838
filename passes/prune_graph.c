/* Units by union of indices: every link of a node joins what lies at the same index of a factor; what nothing is known of is
 * pinned, with all that was joined to it. Test: tests/passes/prune_channels/ */
#include "passes/prune_graph.h"
#include "ir/cost.h"
#include "ir/infer.h"

#include <string.h>

typedef struct joiner {
    sinter_prune_graph *graph;
    sinter_module *module;
    uint32_t *parents; /* by index */
    bool *pinned;      /* of roots */
    bool *
        inner; /* by node: of factors that share an axis the innermost one is cut, not the outermost */
    bool *composite; /* by node: factors share axes */
} joiner;

/* ---- indices ---- */

static uint32_t find_root(joiner *j, uint32_t index) {
    while (j->parents[index] != index) index = j->parents[index] = j->parents[j->parents[index]];
    return index;
}

static void join(joiner *j, uint32_t a, uint32_t b) {
    a = find_root(j, a);
    b = find_root(j, b);
    if (a == b) return;
    uint32_t first = a < b ? a : b, second = a < b ? b : a;
    j->parents[second] = first;
    j->pinned[first] = j->pinned[first] || j->pinned[second];
}

static void pin(joiner *j, uint32_t index) {
    j->pinned[find_root(j, index)] = true;
}

static void pin_axis(joiner *j, size_t axis) {
    const sinter_prune_axis *a = &j->graph->axes.items[axis];
    for (int64_t i = 0; i < a->size; i++) pin(j, (uint32_t)(a->first + (size_t)i));
}

static const sinter_type *tensor_type(const sinter_module *module, sinter_value value) {
    const sinter_type *type = value ? sinter_value_type(module, value) : NULL;
    return type && type->kind == SINTER_TYPE_TENSOR ? type : NULL;
}

static void pin_value(joiner *j, sinter_value value) {
    const sinter_type *type = tensor_type(j->module, value);
    for (uint32_t axis = 0; type && axis < type->rank; axis++)
        pin_axis(j, j->graph->axes_of_value[value] + axis);
}

/* ---- axes ---- */

static size_t add_axes(sinter_prune_graph *graph, const sinter_type *type, size_t *next_index) {
    size_t first = graph->axes.count;
    for (uint32_t axis = 0; axis < type->rank; axis++) {
        sinter_prune_axis item = {.first = *next_index};
        if (!sinter_dim_is_const(sinter_module_dims(graph->module), type->dims[axis], &item.size))
            item.size = 0;
        sinter_vector_push(graph->arena, &graph->axes, item);
        *next_index += (size_t)item.size;
    }
    return first;
}

static size_t add_all_axes(sinter_prune_graph *graph) {
    sinter_module *module = graph->module;
    size_t count = 0;
    graph->axes_of_value =
        SINTER_NEW_ARRAY(graph->arena, size_t, sinter_module_value_limit(module));
    graph->axes_of_constant =
        SINTER_NEW_ARRAY(graph->arena, size_t *, sinter_module_node_limit(module));
    for (sinter_value v = 1; v < sinter_module_value_limit(module); v++) {
        const sinter_type *type = tensor_type(module, v);
        if (!sinter_value_get(module, v)->erased && type)
            graph->axes_of_value[v] = add_axes(graph, type, &count);
    }
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        sinter_node_info info = *sinter_node_get(module, node);
        graph->axes_of_constant[node] =
            SINTER_NEW_ARRAY(graph->arena, size_t, info.operand_count + 1);
        for (uint32_t i = 0; i < info.operand_count; i++) {
            const sinter_tensor *tensor =
                info.operands[i] ? sinter_value_constant(module, info.operands[i]) : NULL;
            if (!tensor || !tensor_type(module, info.operands[i])) continue;
            size_t axes = add_axes(graph, tensor_type(module, info.operands[i]), &count);
            graph->axes_of_constant[node][i] = axes;
            sinter_prune_constant constant = {
                .node = node, .operand = i, .axes = axes, .tensor = tensor};
            sinter_vector_push(graph->arena, &graph->constants, constant);
        }
    }
    return count;
}

size_t sinter_prune_axis_index(const sinter_prune_graph *graph, sinter_node node, bool is_result,
                               uint32_t index, uint32_t axis) {
    if (is_result)
        return graph->axes_of_value[sinter_node_result(graph->module, node, index)] + axis;
    sinter_value value = sinter_node_operand(graph->module, node, index);
    if (sinter_value_constant(graph->module, value))
        return graph->axes_of_constant[node][index] + axis;
    return graph->axes_of_value[value] + axis;
}

/* ---- links ---- */

static int64_t factor_size(const joiner *j, const sinter_axis_map *map, uint32_t factor) {
    int64_t size = 0;
    bool known =
        sinter_dim_is_const(sinter_module_dims(j->module), map->factors.items[factor].size, &size);
    return known ? size : 0;
}

static int64_t link_end(const joiner *j, const sinter_axis_map *map, const sinter_axis_link *l) {
    return l->offset + (l->blocks - 1) * l->period + factor_size(j, map, l->factor) * l->run;
}

static bool share_axis(const joiner *j, const sinter_axis_map *map, const sinter_axis_link *a,
                       const sinter_axis_link *b) {
    return a != b && a->is_result == b->is_result && a->index == b->index && a->axis == b->axis &&
           a->offset < link_end(j, map, b) && b->offset < link_end(j, map, a) &&
           factor_size(j, map, a->factor) > 1 && factor_size(j, map, b->factor) > 1;
}

/* Of factors that share an axis one is cut; the others are not. */
static void choose_carriers(joiner *j, sinter_node node, const sinter_axis_map *map, bool *out) {
    for (size_t f = 0; f < map->factors.count; f++) out[f] = true;
    for (size_t a = 0; a < map->links.count; a++)
        for (size_t b = 0; b < map->links.count; b++) {
            const sinter_axis_link *x = &map->links.items[a], *y = &map->links.items[b];
            if (!share_axis(j, map, x, y)) continue;
            j->composite[node] = true;
            if (j->inner[node] ? x->run > y->run : x->run < y->run) out[x->factor] = false;
        }
}

static bool is_alone(const joiner *j, const sinter_axis_map *map, const sinter_axis_link *link) {
    for (size_t i = 0; i < map->links.count; i++)
        if (share_axis(j, map, link, &map->links.items[i])) return false;
    return true;
}

static uint32_t place(const joiner *j, sinter_node node, const sinter_axis_link *l, int64_t index,
                      int64_t block, int64_t step) {
    size_t axis = sinter_prune_axis_index(j->graph, node, l->is_result, l->index, l->axis);
    int64_t at = l->offset + block * l->period + index * l->run + step;
    return (uint32_t)(j->graph->axes.items[axis].first + (size_t)at);
}

/* Everything that lies at one index of a link. */
static void join_link(joiner *j, sinter_node node, const sinter_axis_link *l, int64_t size,
                      uint32_t *roots, bool pins) {
    for (int64_t i = 0; i < size; i++)
        for (int64_t b = 0; b < l->blocks; b++)
            for (int64_t r = 0; r < l->run; r++) {
                uint32_t at = place(j, node, l, i, b, r);
                if (roots[i] == UINT32_MAX) roots[i] = at;
                join(j, roots[i], at);
                if (pins) pin(j, at);
            }
}

/* Sums over what no constant takes part in change where a part of them goes. */
static bool must_stay(const joiner *j, sinter_node node, const sinter_axis_map *map,
                      uint32_t factor) {
    sinter_axis_kind kind = map->factors.items[factor].kind;
    bool weighed = false, known = true;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *l = &map->links.items[i];
        if (l->factor != factor) continue;
        size_t axis = sinter_prune_axis_index(j->graph, node, l->is_result, l->index, l->axis);
        known = known && j->graph->axes.items[axis].size >= link_end(j, map, l);
        weighed = weighed ||
                  (!l->is_result && sinter_value_constant(
                                        j->module, sinter_node_operand(j->module, node, l->index)));
    }
    bool is_read = kind == SINTER_AXIS_SUMMED || kind == SINTER_AXIS_INNER ||
                   kind == SINTER_AXIS_STEPWISE; /* by what else the node makes */
    return !known || kind == SINTER_AXIS_REDUCED || (is_read && !weighed);
}

static void join_factor(joiner *j, sinter_node node, const sinter_axis_map *map, uint32_t factor,
                        bool carried) {
    int64_t size = factor_size(j, map, factor);
    bool stays = must_stay(j, node, map, factor);
    uint32_t *roots = SINTER_NEW_ARRAY(j->graph->arena, uint32_t, size);
    for (int64_t i = 0; i < size; i++) roots[i] = UINT32_MAX;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *l = &map->links.items[i];
        if (l->factor != factor) continue;
        size_t axis = sinter_prune_axis_index(j->graph, node, l->is_result, l->index, l->axis);
        if (j->graph->axes.items[axis].size < link_end(j, map, l)) continue;
        if (size == 1 && l->blocks * l->run > 1) continue; /* the other factors say it all */
        if (carried)
            join_link(j, node, l, size, roots, stays);
        else if (stays || is_alone(j, map, l))
            pin_axis(j, axis);
    }
}

/* Axes that no link tells of. */
static void pin_unlinked(joiner *j, sinter_node node, const sinter_axis_map *map, bool is_result,
                         uint32_t index, sinter_value value) {
    const sinter_type *type = tensor_type(j->module, value);
    for (uint32_t axis = 0; type && axis < type->rank; axis++) {
        bool linked = false;
        for (size_t i = 0; i < map->links.count; i++) {
            const sinter_axis_link *l = &map->links.items[i];
            linked = linked || (l->is_result == is_result && l->index == index && l->axis == axis);
        }
        if (!linked) pin_axis(j, sinter_prune_axis_index(j->graph, node, is_result, index, axis));
    }
}

static void join_node(joiner *j, sinter_node node) {
    sinter_axis_map map;
    sinter_axes_describe(j->module, node, j->graph->arena, &map);
    sinter_node_info info = *sinter_node_get(j->module, node);
    bool *carried = SINTER_NEW_ARRAY(j->graph->arena, bool, map.factors.count);
    choose_carriers(j, node, &map, carried);
    for (uint32_t f = 0; f < map.factors.count; f++) join_factor(j, node, &map, f, carried[f]);
    if (info.op == SINTER_OP_constant) return;
    for (uint32_t i = 0; i < info.operand_count; i++)
        pin_unlinked(j, node, &map, false, i, info.operands[i]);
    for (uint32_t i = 0; i < info.result_count; i++)
        pin_unlinked(j, node, &map, true, i, info.results[i]);
}

/* What nodes in other regions than the main one read. */
static void pin_captured(joiner *j) {
    sinter_region main = sinter_module_main(j->module);
    for (uint32_t i = 0; i < sinter_module_input_count(j->module); i++)
        pin_value(j, sinter_module_input(j->module, i));
    for (sinter_value v = 1; v < sinter_module_value_limit(j->module); v++) {
        const sinter_value_info *info = sinter_value_get(j->module, v);
        for (size_t i = 0; !info->erased && i < info->uses.count; i++)
            if (sinter_node_get(j->module, info->uses.items[i].node)->parent != main)
                pin_value(j, v);
    }
}

static void join_all(joiner *j, size_t index_count) {
    for (size_t i = 0; i < index_count; i++) {
        j->parents[i] = (uint32_t)i;
        j->pinned[i] = false;
    }
    pin_captured(j);
    SINTER_FOR_NODES (j->module, sinter_module_main(j->module), node) join_node(j, node);
}

/* Nodes whose shared axes are all pinned are cut the other way. Whether there are any. */
static bool turn_pinned(joiner *j) {
    bool turned = false;
    SINTER_FOR_NODES (j->module, sinter_module_main(j->module), node) {
        if (!j->composite[node] || j->inner[node]) continue;
        sinter_axis_map map;
        sinter_axes_describe(j->module, node, j->graph->arena, &map);
        bool free = false;
        for (size_t i = 0; i < map.links.count; i++) {
            const sinter_axis_link *l = &map.links.items[i];
            if (is_alone(j, &map, l)) continue;
            size_t axis = sinter_prune_axis_index(j->graph, node, l->is_result, l->index, l->axis);
            const sinter_prune_axis *a = &j->graph->axes.items[axis];
            for (int64_t k = 0; k < a->size; k++)
                free = free || !j->pinned[find_root(j, (uint32_t)(a->first + (size_t)k))];
        }
        if (free) continue;
        j->inner[node] = turned = true;
    }
    return turned;
}

/* ---- units and groups ---- */

static void pin_layers(joiner *j, bool (*may_prune)(void *, const sinter_layer *), void *user,
                       const sinter_layer_list *layers) {
    for (size_t i = 0; i < layers->count; i++)
        if (!may_prune(user, &layers->items[i]))
            pin_axis(j, sinter_prune_axis_index(j->graph, layers->items[i].node, false,
                                                layers->items[i].operand,
                                                layers->items[i].output_axis));
}

/* Only what a layer makes is a channel: numbers from constants alone stay. */
static void mark_made(joiner *j, const sinter_layer_list *layers, bool *made) {
    for (size_t i = 0; i < layers->count; i++) {
        const sinter_layer *l = &layers->items[i];
        size_t axis = sinter_prune_axis_index(j->graph, l->node, false, l->operand, l->output_axis);
        const sinter_prune_axis *a = &j->graph->axes.items[axis];
        for (int64_t k = 0; k < a->size; k++)
            made[find_root(j, (uint32_t)(a->first + (size_t)k))] = true;
    }
}

static void number_units(joiner *j, size_t index_count, const bool *made) {
    sinter_prune_graph *graph = j->graph;
    int32_t *of_root = SINTER_NEW_ARRAY(graph->arena, int32_t, index_count);
    graph->units = SINTER_NEW_ARRAY(graph->arena, int32_t, index_count);
    for (size_t i = 0; i < index_count; i++) {
        uint32_t root = find_root(j, (uint32_t)i);
        if (root == i)
            of_root[i] = made[i] && !j->pinned[i] ? graph->unit_count++ : SINTER_PRUNE_NO_UNIT;
        graph->units[i] = of_root[root];
    }
}

static int32_t group_root(int32_t *parents, int32_t unit) {
    while (parents[unit] != unit) unit = parents[unit];
    return unit;
}

/* Units whose weights are in one layer's outputs. */
static void number_groups(joiner *j, const sinter_layer_list *layers) {
    sinter_prune_graph *graph = j->graph;
    int32_t *parents = SINTER_NEW_ARRAY(graph->arena, int32_t, graph->unit_count + 1);
    for (int32_t u = 0; u < graph->unit_count; u++) parents[u] = u;
    for (size_t i = 0; i < layers->count; i++) {
        const sinter_layer *l = &layers->items[i];
        size_t axis = sinter_prune_axis_index(graph, l->node, false, l->operand, l->output_axis);
        const sinter_prune_axis *a = &graph->axes.items[axis];
        int32_t first = SINTER_PRUNE_NO_UNIT;
        for (int64_t k = 0; k < a->size; k++) {
            int32_t unit = graph->units[a->first + (size_t)k];
            if (unit == SINTER_PRUNE_NO_UNIT) continue;
            unit = group_root(parents, unit);
            if (first == SINTER_PRUNE_NO_UNIT) first = unit;
            parents[unit > first ? unit : first] = unit > first ? first : unit;
            first = unit > first ? first : unit;
        }
    }
    graph->groups = SINTER_NEW_ARRAY(graph->arena, int32_t, graph->unit_count + 1);
    for (int32_t u = 0; u < graph->unit_count; u++)
        graph->groups[u] =
            parents[u] == u ? graph->group_count++ : graph->groups[group_root(parents, u)];
}

/* A node may have several constants of weights, in each of which a weight is multiplied as often. */
static double share_of_node(const sinter_layer *layer, const sinter_layer_list *layers) {
    double all = 0;
    for (size_t i = 0; i < layers->count; i++)
        if (layers->items[i].node == layer->node)
            all += (double)sinter_tensor_count(layers->items[i].weights);
    return (double)sinter_tensor_count(layer->weights) / all;
}

static void count_products(sinter_prune_graph *graph, const sinter_layer_list *layers) {
    sinter_dim_table *dims = sinter_module_dims(graph->module);
    const int64_t *ones = sinter_dim_assume(dims, graph->arena, 1);
    for (size_t i = 0; i < graph->constants.count; i++) {
        sinter_prune_constant *c = &graph->constants.items[i];
        for (size_t k = 0; k < layers->count; k++) {
            if (layers->items[k].node != c->node || layers->items[k].operand != c->operand)
                continue;
            sinter_dim dim = sinter_cost_node(graph->module, c->node).multiply_adds;
            int64_t count = 0;
            if (dim && sinter_dim_evaluate(dims, dim, ones, &count))
                c->products = (double)count * share_of_node(&layers->items[k], layers);
        }
    }
}

/* Parts, unit by unit, by two walks over the axes: one that counts, one that writes. */
static void list_parts(sinter_prune_graph *graph) {
    size_t units = (size_t)graph->unit_count, total = 0;
    size_t *next = SINTER_NEW_ARRAY(graph->arena, size_t, units + 2);
    int64_t *counts = SINTER_NEW_ARRAY(graph->arena, int64_t, units + 1);
    for (int round = 0; round < 2; round++) {
        for (size_t axis = 0; axis < graph->axes.count; axis++) {
            const sinter_prune_axis *a = &graph->axes.items[axis];
            const int32_t *unit = graph->units + a->first;
            for (int64_t i = 0; i < a->size; i++)
                if (unit[i] != SINTER_PRUNE_NO_UNIT) counts[unit[i]]++;
            for (int64_t i = 0; i < a->size; i++) {
                if (unit[i] == SINTER_PRUNE_NO_UNIT || !counts[unit[i]]) continue;
                sinter_prune_part part = {axis, counts[unit[i]]};
                counts[unit[i]] = 0;
                if (round) graph->parts.items[next[unit[i]]] = part;
                next[unit[i]]++;
            }
        }
        if (round) return;
        graph->first_part = SINTER_NEW_ARRAY(graph->arena, size_t, units + 1);
        for (size_t u = 0; u < units; u++) {
            graph->first_part[u] = total;
            total += next[u];
            next[u] = graph->first_part[u];
        }
        graph->first_part[units] = graph->parts.count = total;
        graph->parts.items = SINTER_NEW_ARRAY(graph->arena, sinter_prune_part, total + 1);
    }
}

void sinter_prune_graph_init(sinter_prune_graph *graph, sinter_module *module, sinter_arena *arena,
                             bool (*may_prune)(void *user, const sinter_layer *layer), void *user,
                             const sinter_layer_list *layers) {
    *graph = (sinter_prune_graph){.module = module, .arena = arena};
    size_t count = add_all_axes(graph);
    joiner j = {.graph = graph,
                .module = module,
                .parents = SINTER_NEW_ARRAY(arena, uint32_t, count),
                .pinned = SINTER_NEW_ARRAY(arena, bool, count),
                .inner = SINTER_NEW_ARRAY(arena, bool, sinter_module_node_limit(module)),
                .composite = SINTER_NEW_ARRAY(arena, bool, sinter_module_node_limit(module))};
    do join_all(&j, count);
    while (turn_pinned(&j));
    pin_layers(&j, may_prune, user, layers);
    bool *made = SINTER_NEW_ARRAY(arena, bool, count);
    mark_made(&j, layers, made);
    number_units(&j, count, made);
    number_groups(&j, layers);
    graph->removed = SINTER_NEW_ARRAY(arena, bool, graph->unit_count + 1);
    graph->left = SINTER_NEW_ARRAY(arena, int64_t, graph->axes.count + 1);
    for (size_t i = 0; i < graph->axes.count; i++) graph->left[i] = graph->axes.items[i].size;
    list_parts(graph);
    count_products(graph, layers);
}
