/* Removes nodes whose results nobody uses, in every region, and optional results nobody uses from the
 * nodes that stay. Live is what the module's outputs need: operands, and the values that symbols of
 * live types are read from; in the program of one rank, collectives, which others wait for. Needs nothing; afterwards every node
 * but yield and those has a use.
 * Test: tests/passes/eliminate_dead/ */
#include "ir/mesh.h"
#include "passes/pass.h"

typedef struct liveness {
    sinter_module *module;
    sinter_arena *scratch;
    bool *nodes;  /* by id */
    bool *values; /* by id: used or read from */
    bool *dims;   /* by symbol index */
    SINTER_VECTOR(sinter_node) work;
} liveness;

static void mark_node(liveness *state, sinter_node node) {
    if (state->nodes[node]) return;
    state->nodes[node] = true;
    sinter_vector_push(state->scratch, &state->work, node);
}

static void mark_dim(liveness *state, sinter_dim dim);

static void mark_value(liveness *state, sinter_value value) {
    if (!value || state->values[value]) return;
    state->values[value] = true;
    const sinter_value_info *info = sinter_value_get(state->module, value);
    if (info->erased) return;
    if (info->definition) mark_node(state, info->definition);
    for (const sinter_type *type = &info->type; type; type = type->element)
        for (uint32_t i = 0; i < type->rank; i++) mark_dim(state, type->dims[i]);
}

static void mark_dim(liveness *state, sinter_dim dim) {
    sinter_dim_table *table = sinter_module_dims(state->module);
    if (sinter_dim_get_kind(table, dim) == SINTER_DIM_SYMBOL) {
        size_t index = sinter_dim_symbol_index(table, dim);
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
        if (state->dims[index]) return;
        state->dims[index] = true;
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT) mark_value(state, symbol->value);
        return;
    }
    const sinter_dim *operands = NULL;
    size_t count = sinter_dim_operands(table, dim, &operands);
    for (size_t i = 0; i < count; i++) mark_dim(state, operands[i]);
}

/* What a live node needs; of its regions, what they yield and the types of their arguments. */
static void mark_needs(liveness *state, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    for (uint32_t i = 0; i < info->operand_count; i++) mark_value(state, info->operands[i]);
    for (uint32_t i = 0; i < info->region_count; i++) {
        const sinter_region_info *region = sinter_region_get(state->module, info->regions[i]);
        for (uint32_t k = 0; k < region->argument_count; k++)
            mark_value(state, region->arguments[k]);
        if (region->last) mark_node(state, region->last);
    }
    sinter_node owner = sinter_region_get(state->module, info->parent)->owner;
    if (owner) mark_node(state, owner);
    const int64_t *dims = NULL;
    size_t count = sinter_node_get_ints(state->module, node, "dims", &dims);
    for (size_t i = 0; info->op == SINTER_OP_dim_vector && i < count; i++)
        mark_dim(state, (sinter_dim)dims[i]);
}

typedef SINTER_VECTOR(sinter_node) node_list;

/* Dead nodes in program order; what is inside a dead node goes with it. */
static void collect_dead(liveness *state, sinter_region region, node_list *list) {
    SINTER_FOR_NODES (state->module, region, node) {
        if (!state->nodes[node]) {
            sinter_vector_push(state->scratch, list, node);
            continue;
        }
        const sinter_node_info *info = sinter_node_get(state->module, node);
        for (uint32_t i = 0; i < info->region_count; i++)
            collect_dead(state, info->regions[i], list);
    }
}

static void drop_results(liveness *state, sinter_rewrite *rewrite, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    const sinter_op_info *op = sinter_op_get_info(info->op);
    for (uint32_t i = 0; i < info->result_count && i < op->result_count; i++) {
        sinter_value result = info->results[i];
        if (result && !state->values[result] && op->results[i].arity == SINTER_ARITY_OPTIONAL)
            sinter_rewrite_drop_result(rewrite, node, i);
    }
}

void sinter_pass_eliminate_dead(sinter_pass_context *context) {
    sinter_module *module = context->module;
    sinter_rewrite *rewrite = &context->rewrite;
    liveness state = {.module = module, .scratch = &context->scratch};
    state.nodes = SINTER_NEW_ARRAY(&context->scratch, bool, sinter_module_node_limit(module));
    state.values = SINTER_NEW_ARRAY(&context->scratch, bool, sinter_module_value_limit(module));
    state.dims = SINTER_NEW_ARRAY(&context->scratch, bool,
                                  sinter_dim_symbol_count(sinter_module_dims(module)));
    sinter_region main = sinter_module_main(module);
    mark_node(&state, sinter_region_get(module, main)->last);
    SINTER_FOR_NODES (module, main, node)
        if (sinter_node_sends(module, node)) mark_node(&state, node);
    while (state.work.count > 0) mark_needs(&state, state.work.items[--state.work.count]);

    node_list dead = {0};
    collect_dead(&state, main, &dead);
    while (dead.count > 0) {
        sinter_node node = dead.items[--dead.count];
        if (!sinter_node_get(module, node)->erased) sinter_rewrite_erase(rewrite, node);
    }
    for (sinter_node node = 1; node < sinter_module_node_limit(module); node++)
        if (!sinter_node_get(module, node)->erased) drop_results(&state, rewrite, node);
}
