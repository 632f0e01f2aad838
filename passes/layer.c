/* Layers by pattern: what sums products with a constant of floats. Test: tests/unit/layer_test.c */
#include "passes/layer.h"

#include <string.h>

static const sinter_tensor *float_constant(const sinter_module *module, sinter_value value) {
    const sinter_tensor *tensor = value ? sinter_value_constant(module, value) : NULL;
    return tensor && tensor->dtype == SINTER_DTYPE_f32 && sinter_tensor_count(tensor) > 0 ? tensor
                                                                                          : NULL;
}

/* [outputs, channels, window...] or, transposed, [channels, outputs, window...] */
static bool describe_window(const sinter_module *module, bool transposed, sinter_layer *out) {
    const sinter_tensor *w = out->weights;
    out->groups = sinter_node_get_int(module, out->node, "group", 1);
    if (w->rank < 3 || (transposed && out->groups != 1)) return false;
    int64_t window = sinter_tensor_count(w) / w->dims[0] / w->dims[1];
    out->output_axis = transposed ? 1 : 0;
    out->input_axis = transposed ? 0 : 1;
    out->outputs = w->dims[out->output_axis];
    out->reduction = w->dims[out->input_axis] * window;
    out->inner = transposed ? window : out->reduction;
    return true;
}

bool sinter_layer_describe(const sinter_module *module, sinter_node node, sinter_layer *out_layer) {
    sinter_op op = sinter_node_op(module, node);
    *out_layer = (sinter_layer){.node = node,
                                .input = sinter_node_operand(module, node, 0),
                                .output = sinter_node_result(module, node, 0),
                                .operand = 1,
                                .groups = 1};
    out_layer->weights = float_constant(module, sinter_node_operand(module, node, 1));
    if (!out_layer->weights || !out_layer->output ||
        sinter_value_constant(module, out_layer->input))
        return false;
    if (op == SINTER_OP_conv || op == SINTER_OP_conv_transpose)
        return describe_window(module, op == SINTER_OP_conv_transpose, out_layer);
    if (op != SINTER_OP_matmul || out_layer->weights->rank != 2) return false;
    out_layer->output_axis = 1;
    out_layer->input_axis = 0;
    out_layer->outputs = out_layer->weights->dims[1];
    out_layer->reduction = out_layer->weights->dims[0];
    out_layer->inner = 1;
    return true;
}

/* ---- names ---- */

/* What the file of origin called the node; of merged nodes the first. */
static const char *base_name(sinter_module *module, sinter_node node, sinter_arena *arena) {
    const char *location = sinter_node_get(module, node)->location;
    sinter_value output = sinter_node_result(module, node, 0);
    const char *start = location ? strstr(location, "node '") : NULL;
    const char *end = start ? strstr(start, "' (") : NULL;
    if (start) start += strlen("node '");
    if (end && end > start) return sinter_arena_copy_string(arena, start, (size_t)(end - start));
    const char *name = sinter_value_get(module, output)->name;
    if (name) return sinter_arena_copy_string(arena, name, strlen(name));
    return sinter_arena_format(arena, "%s", sinter_value_label(module, output) + 1);
}

/* A name that nothing before has. */
static const char *new_name(sinter_module *module, sinter_node node, sinter_map *taken,
                            sinter_arena *arena) {
    const char *base = base_name(module, node, arena), *name = base;
    uint64_t ignored = 0;
    for (size_t i = 2; sinter_map_find_string(taken, sinter_string_of(name), &ignored); i++)
        name = sinter_arena_format(arena, "%s#%zu", base, i);
    sinter_map_put_string(taken, sinter_string_of(name), 0);
    return name;
}

/* ---- recurrent ones ---- */

bool sinter_layer_is_recurrent(const sinter_module *module, const sinter_layer *layer) {
    return sinter_op_is_recurrent(sinter_node_op(module, layer->node));
}

/* w[directions, gates, steps] of operand 1 or 2. */
static bool describe_recurrent(const sinter_module *module, sinter_node node, uint32_t operand,
                               sinter_layer *out) {
    const sinter_tensor *w = float_constant(module, sinter_node_operand(module, node, operand));
    if (!w || w->rank != 3) return false;
    sinter_value output = sinter_node_result(module, node, 0);
    *out = (sinter_layer){.node = node,
                          .input = operand == 1 ? sinter_node_operand(module, node, 0) : output,
                          .output = output,
                          .operand = operand,
                          .weights = w,
                          .outputs = w->dims[0] * w->dims[1],
                          .reduction = w->dims[2],
                          .groups = w->dims[0],
                          .inner = w->dims[2],
                          .output_axis = 1,
                          .input_axis = 2};
    return true;
}

static sinter_layer_list find_all(sinter_module *module, bool with_recurrent, sinter_arena *arena) {
    sinter_layer_list list = {0};
    sinter_map taken;
    sinter_map_init(&taken, arena);
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        sinter_layer layer[2];
        bool recurs = with_recurrent && sinter_op_is_recurrent(sinter_node_op(module, node));
        if (recurs ? !describe_recurrent(module, node, 1, &layer[0]) ||
                         !describe_recurrent(module, node, 2, &layer[1])
                   : !sinter_layer_describe(module, node, &layer[0]))
            continue;
        layer[0].name = layer[1].name = new_name(module, node, &taken, arena);
        sinter_vector_push(arena, &list, layer[0]);
        if (recurs) sinter_vector_push(arena, &list, layer[1]);
    }
    return list;
}

sinter_layer_list sinter_layer_find_all(sinter_module *module, sinter_arena *arena) {
    return find_all(module, false, arena);
}

sinter_layer_list sinter_layer_find_with_recurrent(sinter_module *module, sinter_arena *arena) {
    return find_all(module, true, arena);
}

/* ---- tables ---- */

static bool is_lookup(const sinter_module *module, sinter_node node) {
    return sinter_node_op(module, node) == SINTER_OP_gather &&
           sinter_node_get_int(module, node, "axis", 0) == 0 &&
           sinter_node_get(module, node)->parent == sinter_module_main(module);
}

/* The rows of a constant that nothing but lookups reads. */
static const sinter_tensor *table_of(const sinter_module *module, sinter_node node) {
    sinter_value value = is_lookup(module, node) ? sinter_node_operand(module, node, 0) : 0;
    const sinter_tensor *items = float_constant(module, value);
    if (!items || items->rank < 2 ||
        sinter_value_constant(module, sinter_node_operand(module, node, 1)))
        return NULL;
    const sinter_value_info *info = sinter_value_get(module, value);
    for (size_t i = 0; i < info->uses.count; i++)
        if (!is_lookup(module, info->uses.items[i].node) || info->uses.items[i].operand != 0)
            return NULL;
    return items;
}

sinter_table_list sinter_table_find_all(sinter_module *module, sinter_arena *arena) {
    sinter_table_list list = {0};
    sinter_map taken;
    sinter_map_init(&taken, arena);
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_tensor *items = table_of(module, node);
        if (!items) continue;
        sinter_table table = {
            .name = new_name(module, node, &taken, arena), .node = node, .items = items};
        sinter_vector_push(arena, &list, table);
    }
    return list;
}

void sinter_layer_read_matrix(const sinter_layer *layer, float *out_matrix) {
    const float *weights = layer->weights->data;
    for (int64_t o = 0; o < layer->outputs; o++)
        for (int64_t step = 0; step < layer->reduction; step++)
            out_matrix[o * layer->reduction + step] = weights[sinter_layer_index(layer, o, step)];
}
