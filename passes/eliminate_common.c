/* Keeps one of several nodes that compute the same: same op, operands (in either order where the op commutes)
 * and attributes. A node sees earlier ones of its region and of the regions around it; a group sees only
 * itself. Random draws and nodes with regions are never merged. Afterwards types are inferred again where
 * symbols of merged nodes became one. Test: tests/passes/eliminate_common/ */
#include "ir/infer.h"
#include "ir/mesh.h"
#include "passes/pass.h"

/* Constants beyond this many bytes are one only where they share their storage: no hashing of weights. */
enum { MAX_COMPARED = 1 << 16 };

typedef struct scope_entry {
    uint64_t hash;
    uint64_t before; /* what the map held */
} scope_entry;

typedef struct merger {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
    sinter_map *known; /* hash -> newest node; older ones of the hash by next_same */
    SINTER_VECTOR(scope_entry) entries;
    uint64_t *next_same; /* by node */
    bool merged_symbols;
} merger;

/* ---- equality ---- */

static void order_operands(const sinter_node_info *info, sinter_value *pair) {
    pair[0] = info->operand_count > 0 ? info->operands[0] : 0;
    pair[1] = info->operand_count > 1 ? info->operands[1] : 0;
    if (sinter_op_has_trait(info->op, SINTER_TRAIT_COMMUTATIVE) && pair[0] > pair[1]) {
        sinter_value first = pair[0];
        pair[0] = pair[1];
        pair[1] = first;
    }
}

static uint64_t hash_tensor(const sinter_tensor *tensor, uint64_t hash) {
    hash = sinter_hash(tensor->dims, tensor->rank * sizeof *tensor->dims, hash + tensor->dtype);
    size_t size = sinter_tensor_bytes(tensor);
    if (tensor->dtype == SINTER_DTYPE_string) return hash;
    if (size > MAX_COMPARED) return sinter_hash(&tensor->data, sizeof tensor->data, hash);
    return sinter_hash(tensor->data, size, hash);
}

static uint64_t hash_node(const sinter_node_info *info) {
    sinter_value pair[2];
    order_operands(info, pair);
    uint64_t hash = sinter_hash(pair, sizeof pair, (uint64_t)info->op);
    if (info->operand_count > 2)
        hash = sinter_hash(info->operands + 2, (info->operand_count - 2) * sizeof *info->operands,
                           hash);
    for (uint32_t i = 0; i < info->attribute_count; i++) {
        const sinter_attr *attr = &info->attributes[i];
        hash = sinter_hash(attr->name.data, attr->name.size, hash);
        if (attr->kind == SINTER_ATTR_INT)
            hash = sinter_hash(&attr->int_value, sizeof attr->int_value, hash);
        else if (attr->kind == SINTER_ATTR_INTS)
            hash = sinter_hash(attr->ints.items, attr->ints.count * sizeof *attr->ints.items, hash);
        else if (attr->kind == SINTER_ATTR_TENSOR)
            hash = hash_tensor(attr->tensor, hash);
    }
    return hash;
}

static bool same_tensors(const sinter_attr *a, const sinter_attr *b) {
    if (a->tensor->data != b->tensor->data && a->tensor->dtype != SINTER_DTYPE_string &&
        sinter_tensor_bytes(a->tensor) > MAX_COMPARED)
        return false;
    return sinter_attr_equal(a, b);
}

/* Whether b may be replaced by a. */
static bool same_nodes(const sinter_module *module, const sinter_node_info *a,
                       const sinter_node_info *b) {
    sinter_value first[2], second[2];
    if (a->op != b->op || a->operand_count != b->operand_count ||
        a->attribute_count != b->attribute_count || a->result_count != b->result_count)
        return false;
    order_operands(a, first);
    order_operands(b, second);
    if (first[0] != second[0] || first[1] != second[1]) return false;
    for (uint32_t i = 2; i < a->operand_count; i++)
        if (a->operands[i] != b->operands[i]) return false;
    for (uint32_t i = 0; i < a->attribute_count; i++) {
        const sinter_attr *x = &a->attributes[i], *y = &b->attributes[i];
        bool tensors = x->kind == SINTER_ATTR_TENSOR && y->kind == SINTER_ATTR_TENSOR;
        if (tensors ? !sinter_string_equal(x->name, y->name) || !same_tensors(x, y)
                    : !sinter_attr_equal(x, y))
            return false;
    }
    bool symbols = sinter_op_has_trait(a->op, SINTER_TRAIT_SHAPE_FROM_DATA);
    for (uint32_t i = 0; i < a->result_count; i++) {
        if (!b->results[i]) continue;
        if (!a->results[i]) return false;
        if (!symbols && !sinter_type_equal(sinter_value_type(module, a->results[i]),
                                           sinter_value_type(module, b->results[i])))
            return false;
    }
    return true;
}

/* ---- walking ---- */

/* Two collectives of one rank's program may be equal, and those that other ranks have there may not. */
static bool is_mergeable(const sinter_module *module, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(module, node);
    return !sinter_node_sends(module, node) && info->region_count == 0 && info->result_count > 0 &&
           !sinter_op_has_trait(info->op, SINTER_TRAIT_IMPURE | SINTER_TRAIT_TERMINATOR);
}

static void visit_region(merger *state, sinter_region region);

static void visit_closed_region(merger *state, sinter_region region) {
    sinter_map *outside = state->known, inside;
    sinter_map_init(&inside, state->scratch);
    state->known = &inside;
    visit_region(state, region);
    state->known = outside;
}

static void remember(merger *state, uint64_t hash, sinter_node node) {
    uint64_t before = 0;
    sinter_map_find(state->known, hash, &before);
    state->next_same[node] = before;
    sinter_map_put(state->known, hash, node);
    scope_entry entry = {hash, before};
    sinter_vector_push(state->scratch, &state->entries, entry);
}

static void visit_node(merger *state, sinter_node node) {
    sinter_module *module = state->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->region_count; i++) {
        if (info->op == SINTER_OP_group)
            visit_closed_region(state, info->regions[i]);
        else
            visit_region(state, info->regions[i]);
    }
    if (!is_mergeable(module, node)) return;
    uint64_t hash = hash_node(info), candidate = 0;
    sinter_map_find(state->known, hash, &candidate);
    for (; candidate; candidate = state->next_same[candidate]) {
        const sinter_node_info *other = sinter_node_get(module, (sinter_node)candidate);
        if (other->erased || !same_nodes(module, other, info)) continue;
        if (sinter_op_has_trait(info->op, SINTER_TRAIT_SHAPE_FROM_DATA))
            state->merged_symbols = true;
        sinter_rewrite_at(state->rewrite, node);
        sinter_rewrite_replace_node(state->rewrite, node, other->results);
        return;
    }
    remember(state, hash, node);
}

static void visit_region(merger *state, sinter_region region) {
    size_t first = state->entries.count;
    SINTER_FOR_NODES (state->module, region, node) visit_node(state, node);
    while (state->entries.count > first) {
        scope_entry entry = state->entries.items[--state->entries.count];
        sinter_map_put(state->known, entry.hash, entry.before);
    }
}

void sinter_pass_eliminate_common(sinter_pass_context *context) {
    sinter_module *module = context->module;
    merger state = {.module = module, .scratch = &context->scratch, .rewrite = &context->rewrite};
    sinter_map known;
    sinter_map_init(&known, &context->scratch);
    state.known = &known;
    state.next_same =
        SINTER_NEW_ARRAY(&context->scratch, uint64_t, sinter_module_node_limit(module));
    visit_region(&state, sinter_module_main(module));
    if (state.merged_symbols)
        sinter_infer_region(module, sinter_module_main(module), context->rewrite.build.diag);
}
