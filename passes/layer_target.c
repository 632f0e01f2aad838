/* Targets of layers. Test: tests/passes/compress_weights/, tests/passes/prune_channels/ */
#include "passes/layer_target.h"

#include <math.h>
#include <string.h>

/* The add of the main region that alone reads the value, 0 if there is none, and which operand is the other one. */
static sinter_node only_add(const sinter_module *module, sinter_value value, uint32_t *out_other) {
    if (!sinter_value_has_one_use(module, value)) return 0;
    sinter_use use = sinter_value_get(module, value)->uses.items[0];
    if (sinter_node_op(module, use.node) != SINTER_OP_add) return 0;
    if (sinter_node_get(module, use.node)->parent != sinter_module_main(module)) return 0;
    *out_other = 1 - use.operand;
    return use.node;
}

/* A constant with an element for each output, along the last axis. */
static bool is_bias(const sinter_module *module, const sinter_layer *layer, sinter_value value) {
    const sinter_tensor *tensor = sinter_value_constant(module, value);
    if (!tensor || tensor->dtype != SINTER_DTYPE_f32 || tensor->rank == 0) return false;
    return sinter_tensor_count(tensor) == layer->outputs &&
           tensor->dims[tensor->rank - 1] == layer->outputs;
}

static bool depends_on(const sinter_module *module, sinter_node node, sinter_node other,
                       bool *seen) {
    if (node == other) return true;
    if (!node || seen[node]) return false;
    seen[node] = true;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->region_count) return true; /* may be */
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (depends_on(module, sinter_value_definition(module, info->operands[i]), other, seen))
            return true;
    return false;
}

static bool same_shape(const sinter_module *module, sinter_value a, sinter_value b) {
    return sinter_type_equal(sinter_value_type(module, a), sinter_value_type(module, b));
}

static void find_bias(const sinter_module *module, const sinter_layer *layer,
                      sinter_layer_target *t) {
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(module, layer->node))->pattern;
    uint32_t other = 0;
    if (pattern == SINTER_PATTERN_WINDOW) {
        sinter_value bias = sinter_node_operand(module, layer->node, 2);
        t->has_bias = !bias || sinter_value_constant(module, bias);
        return;
    }
    sinter_node add = only_add(module, t->value, &other);
    if (!add || !is_bias(module, layer, sinter_node_operand(module, add, other)) ||
        !same_shape(module, t->value, sinter_node_result(module, add, 0)))
        return;
    t->has_bias = true;
    t->adder = add;
    t->adder_operand = other;
    t->value = sinter_node_result(module, add, 0);
}

/* A bound of a clip; infinite where it is not known. */
static float bound_of(const sinter_module *module, sinter_node clip, uint32_t operand,
                      float otherwise) {
    sinter_value value = sinter_node_operand(module, clip, operand);
    const sinter_tensor *bound = value ? sinter_value_constant(module, value) : NULL;
    bool known = bound && bound->dtype == SINTER_DTYPE_f32 && sinter_tensor_count(bound) == 1;
    return known ? (float)sinter_tensor_get_double(bound, 0) : otherwise;
}

/* What lies beyond the bounds of all readers makes no difference. */
static void find_bounds(const sinter_module *module, sinter_layer_target *t) {
    const sinter_value_info *info = sinter_value_get(module, t->value);
    t->low = INFINITY;
    t->high = -INFINITY;
    for (size_t i = 0; i < info->uses.count; i++) {
        sinter_node reader = info->uses.items[i].node;
        sinter_op op = sinter_node_op(module, reader);
        bool clips = op == SINTER_OP_clip && info->uses.items[i].operand == 0;
        float low = op == SINTER_OP_relu ? 0 : -INFINITY;
        if (clips) low = bound_of(module, reader, 1, -INFINITY);
        t->low = fminf(t->low, low);
        t->high = fmaxf(t->high, clips ? bound_of(module, reader, 2, INFINITY) : INFINITY);
    }
    if (info->uses.count && t->low <= t->high) return;
    t->low = -INFINITY;
    t->high = INFINITY;
}

static void find_sum(const sinter_module *module, const sinter_layer *layer, sinter_arena *scratch,
                     sinter_layer_target *t) {
    uint32_t other = 0;
    sinter_node sum = only_add(module, t->value, &other);
    if (!sum) return;
    sinter_value apart = sinter_node_operand(module, sum, other);
    bool *seen = SINTER_NEW_ARRAY(scratch, bool, sinter_module_node_limit(module));
    if (sinter_value_constant(module, apart) || !same_shape(module, t->value, apart) ||
        depends_on(module, sinter_value_definition(module, apart), layer->node, seen))
        return;
    t->sum = sum;
    t->sum_operand = other;
    t->value = sinter_node_result(module, sum, 0);
}

void sinter_layer_find_target(const sinter_module *module, const sinter_layer *layer,
                              sinter_arena *scratch, sinter_layer_target *out_target) {
    *out_target = (sinter_layer_target){.value = layer->output};
    find_bias(module, layer, out_target);
    find_sum(module, layer, scratch, out_target);
    find_bounds(module, out_target);
}

bool sinter_layer_write_bias(sinter_rewrite *rewrite, const sinter_layer *layer,
                             const sinter_layer_target *target, const float *bias) {
    sinter_module *module = rewrite->build.module;
    sinter_node node = target->adder ? target->adder : layer->node;
    uint32_t operand = target->adder ? target->adder_operand : 2, rank = 1;
    int64_t dims[SINTER_MAX_RANK] = {layer->outputs};
    if (target->adder) {
        const sinter_tensor *old =
            sinter_value_constant(module, sinter_node_operand(module, node, operand));
        rank = old->rank;
        memcpy(dims, old->dims, sizeof *dims * rank);
    }
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, rank, dims, rewrite->build.diag))
        return false;
    memcpy(sinter_tensor_mutable(&tensor), bias, sizeof *bias * (size_t)layer->outputs);
    sinter_rewrite_at(rewrite, node);
    sinter_value value = sinter_build_constant(&rewrite->build, tensor);
    if (!value) return false;
    sinter_rewrite_set_operand(rewrite, node, operand, value);
    return true;
}
