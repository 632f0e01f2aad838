/* Lowering of control flow into host statements. A result whose dims are known before the node has one buffer that
 * both sides write; one whose dims depend on the side taken is an alias bound on each side.
 * Test: tests/unit/random_graph_test.c, tests/suites/onnx_suite.py */
#include "codegen/lower/lower.h"

static bool is_node_symbol(sinter_lower *lower, sinter_dim dim, sinter_value value) {
    if (sinter_dim_get_kind(lower->dims, dim) != SINTER_DIM_SYMBOL) return false;
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(lower->dims, dim);
    return symbol->origin == SINTER_DIM_ORIGIN_NODE && symbol->value == value;
}

/* Mutable host variables for the dims of a result that only the run knows. True where there are any. */
static bool declare_late_dims(sinter_lower *lower, sinter_value result) {
    sinter_type type = *sinter_value_type(lower->module, result);
    bool late = false;
    for (uint32_t i = 0; i < type.rank; ++i) {
        uint64_t found = 0;
        if (!is_node_symbol(lower, type.dims[i], result)) continue;
        late = true;
        if (sinter_map_find(&lower->symbols, type.dims[i], &found)) continue;
        const char *name = sinter_arena_format(
            &lower->program->arena, "%s", sinter_dim_get_symbol(lower->dims, type.dims[i])->name);
        sinter_map_put(
            &lower->symbols, type.dims[i],
            sinter_loop_declare(&lower->host, name, true, sinter_loop_int(&lower->host, 0)));
    }
    return late;
}

static void assign_late_dims(sinter_lower *lower, sinter_value result, sinter_value source) {
    sinter_type type = *sinter_value_type(lower->module, result),
                from = *sinter_value_type(lower->module, source);
    for (uint32_t i = 0; i < type.rank; ++i) {
        uint64_t var = 0;
        if (is_node_symbol(lower, type.dims[i], result) &&
            sinter_map_find(&lower->symbols, type.dims[i], &var))
            sinter_loop_assign(&lower->host, (sinter_loop_var)var,
                               sinter_lower_host_dim(lower, from.dims[i]));
    }
}

static sinter_loop_buffer alias_buffer(sinter_lower *lower, sinter_value value) {
    sinter_type type = *sinter_value_type(lower->module, value);
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) dims[i] = sinter_lower_host_dim(lower, type.dims[i]);
    const char *name = sinter_arena_format(&lower->program->arena, "%s",
                                           sinter_value_label(lower->module, value) + 1);
    return sinter_loop_add_buffer(&lower->host, name, type.dtype, type.rank, dims,
                                  SINTER_SCOPE_ALIAS);
}

/* One side: its nodes, then its values into the results' places. */
static bool lower_side(sinter_lower *lower, sinter_node node, sinter_region region,
                       const bool *late, const sinter_loop_buffer *places) {
    if (!sinter_lower_region(lower, region)) return false;
    sinter_node yield = sinter_region_get(lower->module, region)->last;
    for (uint32_t i = 0; i < sinter_node_get(lower->module, node)->result_count; ++i) {
        sinter_value result = sinter_node_result(lower->module, node, i),
                     source = sinter_node_operand(lower->module, yield, i);
        if (!result) continue;
        sinter_loop_buffer from = sinter_lower_host_buffer(lower, source);
        if (late[i]) {
            assign_late_dims(lower, result, source);
            sinter_loop_bind(&lower->host, places[i], from, sinter_loop_int(&lower->host, 0));
        } else {
            sinter_lower_host_copy(lower, places[i], from);
        }
    }
    return true;
}

bool sinter_lower_if(sinter_lower *lower, sinter_node node) {
    uint32_t count = sinter_node_get(lower->module, node)->result_count;
    bool *late = SINTER_NEW_ARRAY(&lower->scratch, bool, count + 1);
    sinter_loop_buffer *places = SINTER_NEW_ARRAY(&lower->scratch, sinter_loop_buffer, count + 1);
    for (uint32_t i = 0; i < count; ++i) {
        sinter_value result = sinter_node_result(lower->module, node, i);
        if (!result) continue;
        if (sinter_value_type(lower->module, result)->kind != SINTER_TYPE_TENSOR)
            return sinter_lower_error(lower, node, "only tensors can be compiled");
        late[i] = declare_late_dims(lower, result);
        places[i] = late[i] ? alias_buffer(lower, result) : sinter_lower_host_buffer(lower, result);
        if (late[i]) sinter_lower_set_buffer(lower, result, places[i]);
    }
    sinter_value condition = sinter_node_operand(lower->module, node, 0);
    sinter_expr zeros[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) zeros[i] = sinter_loop_int(&lower->host, 0);
    sinter_expr taken =
        sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, condition), zeros);
    sinter_loop_begin_if(&lower->host, taken);
    /* What a side computes is unknown on the other side and after. */
    sinter_map buffers = lower->buffers, symbols = lower->symbols;
    bool good = true;
    for (int side = 0; side < 2; ++side) {
        sinter_map_copy(&lower->buffers, &buffers, &lower->scratch);
        sinter_map_copy(&lower->symbols, &symbols, &lower->scratch);
        if (side) sinter_loop_begin_else(&lower->host);
        good = lower_side(lower, node, sinter_node_get(lower->module, node)->regions[side], late,
                          places) &&
               good;
        sinter_loop_end(&lower->host);
    }
    lower->buffers = buffers;
    lower->symbols = symbols;
    return good;
}
