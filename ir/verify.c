/* The verifier. Structure first: lists and uses, order and scope of definitions, schema, regions, symbols;
 * where that is sound, types are inferred again on a copy and must not contradict those of the module.
 * The module is not changed. Constraints (docs/ir.md lists them):
 *   [graph_c1]  an operand is defined before its use, in this region or one around it
 *   [graph_c2]  node lists and use lists agree with the operands
 *   [graph_c3] .. [graph_c8] in ir/schema.h
 *   [graph_c9]  a region ends with its only yield
 *   [graph_c10] types agree with inference ([infer_c1] and the rules' own labels)
 *   [graph_c11] `names` of the main yield: one an output, none twice; of no other yield
 *   [graph_c12] names of values are unique
 *   [graph_c13] every value has a type
 *   [graph_c14] a group has one argument an operand, one yielded value a result, of the same types, and uses nothing else
 *   [graph_c15] bounds of symbols hold something; what a symbol is read from exists
 *   [graph_c16] a constant holds a tensor
 *   [shard_c1] .. [shard_c5] meshes and shardings, docs/shard.md
 * Test: tests/ir/verify_*.sir */
#include "ir/verify.h"
#include "ir/infer.h"
#include "ir/schema.h"
#include "ir/sharding.h"

#include <string.h>

enum { MAX_ERRORS = 20 };

typedef struct verifier {
    sinter_module *module;
    sinter_diag *diag;
    size_t first_error;
    sinter_arena scratch;
    sinter_region *defined_in; /* by value, 0: not met so far */
    uint32_t *use_counts;      /* by value, from the operands met */
    sinter_map names;
} verifier;

static bool is_full(const verifier *state) {
    return state->diag->error_count - state->first_error >= MAX_ERRORS;
}

static void fail(verifier *state, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(verifier *state, const char *where, const char *format, ...) {
    if (is_full(state)) return;
    sinter_text text = {0};
    va_list list;
    va_start(list, format);
    sinter_text_format_list(&text, format, list);
    va_end(list);
    sinter_error(state->diag, where, "%s", text.data);
    sinter_text_deinit(&text);
}

static void fail_node(verifier *state, sinter_node node, const char *what, const char *label) {
    const sinter_op_info *op = sinter_op_get_info(sinter_node_get(state->module, node)->op);
    fail(state, sinter_node_where(state->module, node), "%s: %s [%s]", op->name, what, label);
}

/* ---- values ---- */

static void define(verifier *state, sinter_value value, sinter_region region, const char *where) {
    sinter_module *module = state->module;
    const sinter_value_info *info = sinter_value_get(module, value);
    uint64_t other = 0;
    if (state->defined_in[value] || info->erased)
        fail(state, where, "%s is defined twice or was erased [graph_c2]",
             sinter_value_label(module, value));
    state->defined_in[value] = region;
    if (info->type.kind == SINTER_TYPE_NONE)
        fail(state, where, "%s has no type [graph_c13]", sinter_value_label(module, value));
    if (!info->name) return;
    if (sinter_map_find_string(&state->names, sinter_string_of(info->name), &other))
        fail(state, where, "two values are named '%s' [graph_c12]", info->name);
    sinter_map_put_string(&state->names, sinter_string_of(info->name), value);
}

/* Whether nodes of `region` see what `defined` defines: it is that region or one around it, and no group between. */
static bool sees(const verifier *state, sinter_region region, sinter_region defined,
                 bool *out_through_group) {
    *out_through_group = false;
    while (region && region != defined) {
        sinter_node owner = sinter_region_get(state->module, region)->owner;
        if (!owner) return false;
        if (sinter_node_get(state->module, owner)->op == SINTER_OP_group) *out_through_group = true;
        region = sinter_node_get(state->module, owner)->parent;
    }
    return region != 0;
}

static void check_operands(verifier *state, sinter_node node) {
    sinter_module *module = state->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->operand_count; i++) {
        sinter_value value = info->operands[i];
        if (!value) continue;
        state->use_counts[value]++;
        bool through_group = false;
        if (!state->defined_in[value] ||
            !sees(state, info->parent, state->defined_in[value], &through_group))
            fail(state, sinter_node_where(module, node),
                 "%s: operand %s is not defined before its use in a region around it [graph_c1]",
                 sinter_op_get_info(info->op)->name, sinter_value_label(module, value));
        else if (through_group)
            fail(state, sinter_node_where(module, node),
                 "%s: operand %s comes from outside of the group [graph_c14]",
                 sinter_op_get_info(info->op)->name, sinter_value_label(module, value));
    }
}

/* Every use names a live node that holds the value, and there are as many as the operands say. */
static void check_uses(verifier *state) {
    sinter_module *module = state->module;
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        const sinter_value_info *info = sinter_value_get(module, value);
        bool ok = info->uses.count == state->use_counts[value];
        for (size_t i = 0; ok && i < info->uses.count; i++) {
            sinter_use use = info->uses.items[i];
            ok = !sinter_node_get(module, use.node)->erased &&
                 sinter_node_operand(module, use.node, use.operand) == value;
        }
        if (!ok)
            fail(state, sinter_module_name(module), "the uses of %s are wrong [graph_c2]",
                 sinter_value_label(module, value));
    }
}

/* ---- nodes ---- */

static void check_schema(verifier *state, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    sinter_node_spec spec = {.op = info->op,
                             .operands = info->operands,
                             .attributes = info->attributes,
                             .regions = info->regions,
                             .operand_count = info->operand_count,
                             .attribute_count = info->attribute_count,
                             .region_count = info->region_count,
                             .result_count = info->result_count};
    if (!is_full(state))
        sinter_schema_check(sinter_node_where(state->module, node), &spec, info->results,
                            state->diag);
}

static bool same_types(const verifier *state, const sinter_value *a, const sinter_value *b,
                       uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (!a[i] || !b[i] ||
            !sinter_type_equal(sinter_value_type(state->module, a[i]),
                               sinter_value_type(state->module, b[i])))
            return false;
    return true;
}

static void check_group(verifier *state, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    if (info->region_count != 1) return;
    const sinter_region_info *region = sinter_region_get(state->module, info->regions[0]);
    if (region->argument_count != info->operand_count ||
        !same_types(state, region->arguments, info->operands, info->operand_count))
        fail_node(state, node, "operands and arguments of the region differ", "graph_c14");
    const sinter_node_info *yield =
        region->last ? sinter_node_get(state->module, region->last) : NULL;
    if (!yield || yield->op != SINTER_OP_yield || yield->operand_count != info->result_count ||
        !same_types(state, yield->operands, info->results, info->result_count))
        fail_node(state, node, "results and yielded values of the region differ", "graph_c14");
}

static void check_constant(verifier *state, sinter_node node) {
    const sinter_attr *value = sinter_node_find_attr(state->module, node, "value");
    if (value && value->kind == SINTER_ATTR_TENSOR &&
        (!value->tensor || value->tensor->kind != SINTER_TYPE_TENSOR))
        fail_node(state, node, "the value is not a tensor", "graph_c16");
}

static void check_output_names(verifier *state, sinter_node yield) {
    const sinter_node_info *info = sinter_node_get(state->module, yield);
    const sinter_attr *names = sinter_node_find_attr(state->module, yield, "names");
    if (!names || names->kind != SINTER_ATTR_STRINGS) return;
    if (info->parent != sinter_module_main(state->module)) {
        fail_node(state, yield, "only outputs of the module have names", "graph_c11");
        return;
    }
    if (names->strings.count != info->operand_count)
        fail_node(state, yield, "there is not one name for each output", "graph_c11");
    sinter_map seen;
    sinter_map_init(&seen, &state->scratch);
    for (size_t i = 0; i < names->strings.count; i++) {
        uint64_t other = 0;
        if (sinter_map_find_string(&seen, names->strings.items[i], &other))
            fail_node(state, yield, "two outputs have the same name", "graph_c11");
        sinter_map_put_string(&seen, names->strings.items[i], 1);
    }
}

static void check_region(verifier *state, sinter_region region, sinter_node owner);

static void check_node(verifier *state, sinter_node node) {
    sinter_module *module = state->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    check_schema(state, node);
    check_operands(state, node);
    if (info->op == SINTER_OP_group) check_group(state, node);
    if (info->op == SINTER_OP_constant) check_constant(state, node);
    if (info->op == SINTER_OP_yield) check_output_names(state, node);
    for (uint32_t i = 0; i < info->region_count; i++) check_region(state, info->regions[i], node);
    for (uint32_t i = 0; i < info->result_count; i++) {
        if (!info->results[i]) continue;
        const sinter_value_info *result = sinter_value_get(module, info->results[i]);
        if (result->definition != node || result->index != i)
            fail_node(state, node, "a result does not know its node", "graph_c2");
        define(state, info->results[i], info->parent, sinter_node_where(module, node));
    }
}

static void check_region(verifier *state, sinter_region region, sinter_node owner) {
    sinter_module *module = state->module;
    const sinter_region_info *info = sinter_region_get(module, region);
    const char *where = owner ? sinter_node_where(module, owner) : sinter_module_name(module);
    if (info->owner != owner) fail(state, where, "a region has another owner [graph_c2]");
    for (uint32_t i = 0; i < info->argument_count; i++)
        define(state, info->arguments[i], region, where);
    sinter_node previous = 0;
    for (sinter_node node = info->first; node && !is_full(state);
         node = sinter_node_get(module, node)->next) {
        const sinter_node_info *inside = sinter_node_get(module, node);
        if (inside->erased || inside->parent != region || inside->previous != previous) {
            fail(state, where, "the list of nodes of a region is broken [graph_c2]");
            return;
        }
        if (sinter_op_has_trait(inside->op, SINTER_TRAIT_TERMINATOR) && inside->next)
            fail_node(state, node, "yield is the last node of a region", "graph_c9");
        check_node(state, node);
        previous = node;
    }
    if (is_full(state)) return;
    if (info->last != previous)
        fail(state, where, "the list of nodes of a region is broken [graph_c2]");
    if (!previous ||
        !sinter_op_has_trait(sinter_node_get(module, previous)->op, SINTER_TRAIT_TERMINATOR))
        fail(state, where, "a region ends with yield [graph_c9]");
}

/* ---- symbols ---- */

static void check_symbols(verifier *state) {
    sinter_module *module = state->module;
    sinter_dim_table *table = sinter_module_dims(module);
    for (size_t i = 0; i < sinter_dim_symbol_count(table); i++) {
        const sinter_dim_symbol *symbol =
            sinter_dim_get_symbol(table, sinter_dim_symbol_at(table, i));
        if (symbol->min > symbol->max || symbol->multiple < 1)
            fail(state, sinter_module_name(module), "no number can be '%s' [graph_c15]",
                 symbol->name);
        if (symbol->origin != SINTER_DIM_ORIGIN_INPUT &&
            (symbol->value == 0 || symbol->value >= sinter_module_value_limit(module)))
            fail(state, sinter_module_name(module), "'%s' is read from no value [graph_c15]",
                 symbol->name);
    }
}

/* A symbol that a type needs is read from a value that is still there. */
static void check_dim(verifier *state, sinter_dim dim, sinter_value user) {
    sinter_dim_table *table = sinter_module_dims(state->module);
    if (sinter_dim_get_kind(table, dim) != SINTER_DIM_SYMBOL) {
        const sinter_dim *operands = NULL;
        size_t count = sinter_dim_operands(table, dim, &operands);
        for (size_t i = 0; i < count; i++) check_dim(state, operands[i], user);
        return;
    }
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
    if (symbol->origin != SINTER_DIM_ORIGIN_INPUT &&
        sinter_value_get(state->module, symbol->value)->erased)
        fail(state, sinter_module_name(state->module),
             "the type of %s needs '%s', which was read from an erased value [graph_c15]",
             sinter_value_label(state->module, user), symbol->name);
}

static void check_types(verifier *state) {
    sinter_module *module = state->module;
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        const sinter_value_info *info = sinter_value_get(module, value);
        if (info->erased || !state->defined_in[value]) continue;
        if (info->sharding && !is_full(state))
            sinter_sharding_check(module, info->sharding, &info->type, sinter_module_name(module),
                                  sinter_value_label(module, value), state->diag);
        for (const sinter_type *type = &info->type; type; type = type->element)
            for (uint32_t i = 0; i < type->rank; i++) {
                if (!type->dims[i])
                    fail(state, sinter_module_name(module), "%s lacks a dimension [graph_c13]",
                         sinter_value_label(module, value));
                else
                    check_dim(state, type->dims[i], value);
            }
    }
}

static bool check_inference(verifier *state) {
    sinter_module *copy = sinter_module_clone(state->module);
    bool ok = true;
    SINTER_FOR_NODES (copy, sinter_module_main(copy), node) {
        if (is_full(state)) break;
        if (sinter_infer_node(copy, node, state->diag)) continue;
        sinter_note(state->diag, sinter_node_where(copy, node),
                    "types contradict inference [graph_c10]");
        ok = false;
    }
    sinter_module_destroy(copy);
    return ok;
}

bool sinter_verify_module(sinter_module *module, sinter_diag *diag) {
    sinter_diag counter = {0};
    if (!diag) diag = &counter;
    verifier state = {.module = module, .diag = diag, .first_error = diag->error_count};
    sinter_arena_init(&state.scratch);
    sinter_map_init(&state.names, &state.scratch);
    uint32_t limit = sinter_module_value_limit(module);
    state.defined_in = SINTER_NEW_ARRAY(&state.scratch, sinter_region, limit);
    state.use_counts = SINTER_NEW_ARRAY(&state.scratch, uint32_t, limit);
    check_region(&state, sinter_module_main(module), 0);
    if (!is_full(&state)) check_uses(&state);
    check_symbols(&state);
    sinter_mesh_check(sinter_module_mesh(module), sinter_module_name(module), diag);
    if (diag->error_count == state.first_error) check_types(&state);
    if (diag->error_count == state.first_error) check_inference(&state);
    sinter_arena_deinit(&state.scratch);
    return diag->error_count == state.first_error;
}
