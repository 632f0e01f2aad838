/* Cut sizes that are symbols. Test: tests/passes/shard_partition/, shard_auto/ */
#include "passes/shard_symbols.h"

static void find_of_value(sinter_shard_symbols *s, sinter_value value) {
    sinter_dim_table *dims = sinter_module_dims(s->state->module);
    const sinter_sharding *sharding = s->state->values[value].sharding;
    const sinter_type *type = sinter_value_type(s->state->module, value);
    for (uint32_t d = 0; sharding && d < sharding->rank; d++) {
        const sinter_mesh_axes *axes = &sharding->dims[d].axes;
        sinter_dim dim = type->dims[d];
        if (!axes->count || sinter_dim_get_kind(dims, dim) != SINTER_DIM_SYMBOL ||
            sinter_dim_get_symbol(dims, dim)->origin != SINTER_DIM_ORIGIN_INPUT)
            continue;
        s->axes[sinter_dim_symbol_index(dims, dim)] = *axes;
        s->any = true;
    }
}

void sinter_shard_find_symbols(const sinter_shard_state *state, bool inputs_only,
                               sinter_shard_symbols *out_symbols) {
    const sinter_module *module = state->module;
    size_t count = sinter_dim_symbol_count(sinter_module_dims(module));
    *out_symbols = (sinter_shard_symbols){
        .state = state, .axes = SINTER_NEW_ARRAY(state->arena, sinter_mesh_axes, count + 1)};
    for (sinter_value value = 1; !inputs_only && value < sinter_module_value_limit(module); value++)
        find_of_value(out_symbols, value);
    for (uint32_t i = 0; i < sinter_module_input_count(module); i++)
        find_of_value(out_symbols, sinter_module_input(module, i));
}

const sinter_mesh_axes *sinter_shard_symbol_axes(const sinter_shard_symbols *symbols,
                                                 sinter_dim size) {
    static const sinter_mesh_axes none = {0};
    const sinter_dim_table *dims = sinter_module_dims(symbols->state->module);
    if (!symbols->any || !size || sinter_dim_get_kind(dims, size) != SINTER_DIM_SYMBOL)
        return &none;
    return &symbols->axes[sinter_dim_symbol_index(dims, size)];
}

bool sinter_shard_has_symbol(const sinter_shard_symbols *symbols, sinter_dim size) {
    const sinter_dim *operands = NULL;
    if (!symbols->any || !size) return false;
    if (sinter_shard_symbol_axes(symbols, size)->count) return true;
    size_t count = sinter_dim_operands(sinter_module_dims(symbols->state->module), size, &operands);
    for (size_t i = 0; i < count; i++)
        if (sinter_shard_has_symbol(symbols, operands[i])) return true;
    return false;
}

uint32_t sinter_shard_find_unfit_symbol(const sinter_shard_symbols *symbols,
                                        const sinter_type *type, const sinter_sharding *sharding) {
    for (uint32_t i = 0; symbols->any && i < type->rank; i++) {
        const sinter_mesh_axes *axes = sinter_shard_symbol_axes(symbols, type->dims[i]);
        if (sinter_shard_has_symbol(symbols, type->dims[i]) &&
            (!axes->count || !sinter_mesh_axes_equal(axes, &sharding->dims[i].axes)))
            return i;
    }
    return type->rank;
}

static const char *fill_of(sinter_axis_combine combine) {
    return combine == SINTER_AXIS_COMBINE_PROD  ? "one"
           : combine == SINTER_AXIS_COMBINE_MAX ? "lowest"
           : combine == SINTER_AXIS_COMBINE_MIN ? "highest"
                                                : "zero";
}

bool sinter_shard_sees_padding(const sinter_shard_state *state, sinter_node node,
                               const sinter_shard_node *n, uint32_t index, uint32_t axis,
                               const char **out_fill) {
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(state->module, node))->pattern;
    *out_fill = "zero";
    for (size_t i = 0; i < n->map.links.count; i++) {
        const sinter_axis_link *link = &n->map.links.items[i];
        const sinter_axis_factor *factor = &n->map.factors.items[link->factor];
        if (link->is_result || link->index != index || link->axis != axis ||
            factor->kind == SINTER_AXIS_ALONG || factor->kind == SINTER_AXIS_STEPWISE)
            continue;
        *out_fill = fill_of(factor->combine);
        return true;
    }
    return index > 0 && (pattern == SINTER_PATTERN_GATHER || pattern == SINTER_PATTERN_SCATTER);
}
