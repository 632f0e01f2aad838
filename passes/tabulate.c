/* What bytes become, element by element, when all that is computed on the way follows from one byte, is one of 256 values: they
 * are computed now, and looked up then. Dequantize, GELU and quantize again is a table, so is a chain of several of these.
 *
 * Needs inferred types and folded constants. Results are those of the evaluator, on every target. What takes a few simple
 * instructions stays as it is, since vectors compute that faster. Test: tests/passes/tabulate/ */
#include "ir/estimate.h"
#include "ir/eval.h"
#include "passes/pass.h"

#include <string.h>

enum {
    ENTRIES = 256,
    MAX_NODES = 64,
    /* Costs in simple instructions. */
    QUANTIZE = 6,
    DEQUANTIZE = 3,
    LEAST_COST = 11 /* that a lookup is worth */
};

/* The nodes between one value of bytes and another one, operands first. */
typedef struct chain {
    sinter_pass_context *context;
    sinter_value result, root;
    sinter_map visited; /* nodes */
    SINTER_VECTOR(sinter_node) nodes;
} chain;

static bool is_bytes(const sinter_type *type) {
    const sinter_dtype_info *info = &sinter_dtype_infos[type->dtype];
    return type->kind == SINTER_TYPE_TENSOR && info->bits == 8 &&
           (info->class == SINTER_CLASS_INT || info->class == SINTER_CLASS_UINT);
}

static bool same_shape(const sinter_type *a, const sinter_type *b) {
    return a->rank == b->rank && (!a->rank || !memcmp(a->dims, b->dims, a->rank * sizeof *a->dims));
}

static bool is_lookup(const sinter_module *module, sinter_node node) {
    return node && sinter_node_op(module, node) == SINTER_OP_lookup;
}

static bool visit_value(chain *c, sinter_value value);

static bool visit_node(chain *c, sinter_node node) {
    const sinter_module *module = c->context->module;
    uint64_t seen;
    if (sinter_map_find(&c->visited, node, &seen)) return true;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (sinter_op_get_info(info->op)->pattern != SINTER_PATTERN_ELEMENTWISE ||
        info->result_count != 1 || info->region_count || c->nodes.count == MAX_NODES ||
        !same_shape(sinter_value_type(module, info->results[0]),
                    sinter_value_type(module, c->result)))
        return false;
    sinter_map_put(&c->visited, node, 1);
    uint32_t count = is_lookup(module, node) ? 1 : info->operand_count; /* its table is any */
    for (uint32_t i = 0; i < count; i++)
        if (info->operands[i] && !visit_value(c, info->operands[i])) return false;
    sinter_vector_push(&c->context->scratch, &c->nodes, node);
    return true;
}

static bool visit_value(chain *c, sinter_value value) {
    const sinter_module *module = c->context->module;
    const sinter_tensor *constant = sinter_value_constant(module, value);
    if (constant)
        return constant->kind == SINTER_TYPE_TENSOR && constant->rank <= 1 &&
               sinter_tensor_count(constant) == 1;
    const sinter_type *type = sinter_value_type(module, value);
    sinter_node node = sinter_value_definition(module, value);
    if (is_bytes(type) && !is_lookup(module, node)) {
        if (!c->root) c->root = value;
        return c->root == value && same_shape(type, sinter_value_type(module, c->result));
    }
    return node && visit_node(c, node);
}

/* ---- what it saves ---- */

static double node_cost(chain *c, sinter_node node) {
    sinter_op op = sinter_node_op(c->context->module, node);
    if (op == SINTER_OP_quantize_linear) return QUANTIZE;
    if (op == SINTER_OP_dequantize_linear) return DEQUANTIZE;
    return op == SINTER_OP_lookup ? 1 : sinter_estimate_operations(op);
}

/* Of the nodes that nobody else wants. */
static double saved_cost(chain *c) {
    const sinter_module *module = c->context->module;
    double cost = 0;
    for (size_t i = 0; i < c->nodes.count; i++) {
        sinter_value value = sinter_node_result(module, c->nodes.items[i], 0);
        const sinter_value_info *info = sinter_value_get(module, value);
        bool own = true;
        uint64_t seen;
        for (size_t u = 0; u < info->uses.count && value != c->result; u++)
            own &= sinter_map_find(&c->visited, info->uses.items[u].node, &seen);
        if (own) cost += node_cost(c, c->nodes.items[i]);
    }
    return cost;
}

/* ---- the table ---- */

/* All bytes, in the order of their bits, along the last axis. */
static sinter_value build_bytes(chain *c) {
    const sinter_type *type = sinter_value_type(c->context->module, c->root);
    sinter_builder *build = &c->context->rewrite.build;
    int64_t dims[SINTER_MAX_RANK];
    sinter_tensor bytes;
    for (uint32_t i = 0; i < type->rank; i++) dims[i] = i + 1 < type->rank ? 1 : ENTRIES;
    if (!sinter_tensor_create(&bytes, type->dtype, type->rank, dims, build->diag)) return 0;
    for (int i = 0; i < ENTRIES; i++)
        ((unsigned char *)sinter_tensor_mutable(&bytes))[i] = (unsigned char)i;
    return sinter_build_constant(build, bytes);
}

/* The node on a constant in place of the root, as another constant; 0 where it can't be evaluated. The node made on the way is
 * dead. */
static sinter_value evaluate(chain *c, sinter_node node, const sinter_map *values) {
    sinter_module *module = c->context->module;
    const sinter_node_info info = *sinter_node_get(module, node);
    sinter_arena *scratch = &c->context->scratch;
    sinter_value *operands = SINTER_NEW_ARRAY(scratch, sinter_value, info.operand_count);
    const sinter_tensor **tensors =
        SINTER_NEW_ARRAY(scratch, const sinter_tensor *, info.operand_count);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        uint64_t other;
        operands[i] = info.operands[i] && sinter_map_find(values, info.operands[i], &other)
                          ? (sinter_value)other
                          : info.operands[i];
        tensors[i] = operands[i] ? sinter_value_constant(module, operands[i]) : NULL;
    }
    const sinter_node_spec spec = {.op = info.op,
                                   .operands = operands,
                                   .operand_count = info.operand_count,
                                   .attributes = info.attributes,
                                   .attribute_count = info.attribute_count,
                                   .result_count = 1,
                                   .location = info.location};
    sinter_node copy = sinter_build_node(&c->context->rewrite.build, &spec);
    sinter_diag quiet = {0}; /* what fails here fails when it runs, too, and is reported then */
    sinter_tensor result;
    return copy && sinter_eval_node(module, copy, tensors, &result, &quiet)
               ? sinter_build_constant(&c->context->rewrite.build, result)
               : 0;
}

static sinter_value build_table(chain *c) {
    sinter_map values;
    sinter_map_init(&values, &c->context->scratch);
    sinter_value value = build_bytes(c);
    sinter_map_put(&values, c->root, value);
    for (size_t i = 0; i < c->nodes.count && value; i++) {
        sinter_node node = c->nodes.items[i];
        value = evaluate(c, node, &values);
        sinter_map_put(&values, sinter_node_result(c->context->module, node, 0), value);
    }
    const int64_t entries = ENTRIES;
    const sinter_tensor *entry = value ? sinter_value_constant(c->context->module, value) : NULL;
    sinter_builder *build = &c->context->rewrite.build;
    sinter_tensor table;
    if (!entry || !sinter_tensor_create(&table, entry->dtype, 1, &entries, build->diag)) return 0;
    memcpy(sinter_tensor_mutable(&table), entry->data, ENTRIES);
    return sinter_build_constant(build, table);
}

/* ---- the pass ---- */

static void visit(void *user, sinter_node node) {
    sinter_pass_context *context = user;
    const sinter_node_info *info = sinter_node_get(context->module, node);
    if (info->result_count != 1 || !info->results[0] || info->op == SINTER_OP_identity) return;
    const sinter_type *type = sinter_value_type(context->module, info->results[0]);
    chain c = {.context = context, .result = info->results[0]};
    if (!is_bytes(type) || !type->rank) return;
    sinter_map_init(&c.visited, &context->scratch);
    if (!visit_node(&c, node) || !c.root || saved_cost(&c) < LEAST_COST) return;
    sinter_rewrite_at(&context->rewrite, node);
    sinter_value table = build_table(&c);
    sinter_value y =
        table ? sinter_build_binary(&context->rewrite.build, SINTER_OP_lookup, c.root, table) : 0;
    if (y) sinter_rewrite_replace_node(&context->rewrite, node, &y);
}

void sinter_pass_tabulate(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, context);
}
