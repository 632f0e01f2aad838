/* A matrix product with constant weights whose result only falls into parts along its columns becomes one product a
 * part: queries, keys and values computed at once, then split, or selected from an axis of their own. The parts then lie
 * where their users read them and nothing is copied.
 *
 * Needs inferred types, constants folded. Leaves slices of the weights, which fold-constants computes. Single rows stay:
 * their weights are read as one stream, and there is nothing to copy; so do narrow parts. Values stay, bit for bit.
 * Test: tests/passes/split_contraction/ */
#include "ir/decompose.h"
#include "passes/pass.h"

enum {
    MAX_VIEWS = 8,
    FEW_COLUMNS = 32 /* of a part: too narrow to be computed alone */
};

/* add(matmul(x, weight), bias); the sum may be missing. */
typedef struct product {
    sinter_value x, weight, bias;
    bool bias_first;
} product;

/* The views between the product and what selects parts of it, the last one first; `axes`: where the parts are counted in
 * what each of them gives. */
typedef struct view_chain {
    sinter_node nodes[MAX_VIEWS];
    uint32_t axes[MAX_VIEWS];
    uint32_t count;
} view_chain;

typedef struct splitter {
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_rewrite *rewrite;
} splitter;

static bool const_dim(const splitter *s, const sinter_type *type, uint32_t axis, int64_t *out) {
    return sinter_dim_is_const(s->dims, type->dims[axis], out);
}

static bool is_single_row(const splitter *s, const sinter_type *type) {
    for (uint32_t i = 0; i + 1 < type->rank; i++)
        if (!sinter_dim_is(s->dims, type->dims[i], 1)) return false;
    return true;
}

/* A constant that is the same in all rows. */
static bool is_bias(const splitter *s, sinter_value value) {
    const sinter_tensor *tensor = sinter_value_constant(s->module, value);
    if (!tensor || tensor->kind != SINTER_TYPE_TENSOR || !tensor->rank) return false;
    for (uint32_t i = 0; i + 1 < tensor->rank; i++)
        if (tensor->dims[i] != 1) return false;
    return true;
}

static bool find_product(const splitter *s, sinter_value y, product *out_product) {
    const sinter_type *type = sinter_value_type(s->module, y);
    sinter_node node = sinter_value_definition(s->module, y);
    int64_t columns, bias_columns = 1;
    *out_product = (product){0};
    if (!type->rank || !const_dim(s, type, type->rank - 1, &columns) || is_single_row(s, type))
        return false;
    if (sinter_node_op(s->module, node) == SINTER_OP_add) {
        out_product->bias_first = is_bias(s, sinter_node_operand(s->module, node, 0));
        out_product->bias = sinter_node_operand(s->module, node, !out_product->bias_first);
        sinter_value sum = sinter_node_operand(s->module, node, out_product->bias_first);
        if (!is_bias(s, out_product->bias) || !sinter_value_has_one_use(s->module, sum) ||
            sinter_value_type(s->module, sum)->rank != type->rank)
            return false;
        const sinter_type *bias = sinter_value_type(s->module, out_product->bias);
        if (!const_dim(s, bias, bias->rank - 1, &bias_columns) || bias_columns != columns)
            return false;
        node = sinter_value_definition(s->module, sum);
    }
    if (sinter_node_op(s->module, node) != SINTER_OP_matmul) return false;
    out_product->x = sinter_node_operand(s->module, node, 0);
    out_product->weight = sinter_node_operand(s->module, node, 1);
    const sinter_tensor *weight = sinter_value_constant(s->module, out_product->weight);
    return weight && weight->rank == 2 && weight->dims[1] == columns;
}

/* Columns [begin, end) of the product. */
static sinter_value build_part(splitter *s, const product *p, int64_t begin, int64_t end) {
    sinter_rewrite *rewrite = s->rewrite;
    sinter_value from = sinter_build_ints(&rewrite->build, &begin, 1),
                 to = sinter_build_ints(&rewrite->build, &end, 1);
    sinter_value weight = sinter_compose_slice(rewrite, p->weight, 1, from, to);
    sinter_value y = sinter_compose_binary(rewrite, SINTER_OP_matmul, p->x, weight);
    if (!p->bias) return y;
    sinter_value bias = sinter_compose_slice(rewrite, p->bias, -1, from, to);
    return p->bias_first ? sinter_compose_binary(rewrite, SINTER_OP_add, bias, y)
                         : sinter_compose_binary(rewrite, SINTER_OP_add, y, bias);
}

/* ---- split ---- */

static void visit_split(splitter *s, sinter_node node) {
    product p;
    sinter_value y = sinter_node_operand(s->module, node, 0);
    const uint32_t rank = sinter_value_type(s->module, y)->rank;
    int64_t axis = sinter_node_get_int(s->module, node, "axis", 0), begin = 0, size;
    uint32_t count = sinter_node_get(s->module, node)->result_count;
    if ((axis < 0 ? axis + rank : axis) != (int64_t)rank - 1 ||
        !sinter_value_has_one_use(s->module, y) || !find_product(s, y, &p))
        return;
    for (uint32_t i = 0; i < count; i++) {
        sinter_value part = sinter_node_result(s->module, node, i);
        if (!part || !const_dim(s, sinter_value_type(s->module, part), rank - 1, &size) ||
            size < FEW_COLUMNS)
            return;
    }
    sinter_rewrite_at(s->rewrite, node);
    sinter_value *parts = SINTER_NEW_ARRAY(sinter_module_arena(s->module), sinter_value, count);
    for (uint32_t i = 0; i < count; i++, begin += size) {
        sinter_value old = sinter_node_result(s->module, node, i);
        const_dim(s, sinter_value_type(s->module, old), rank - 1, &size);
        if (!(parts[i] = build_part(s, &p, begin, begin + size))) return;
    }
    sinter_rewrite_replace_node(s->rewrite, node, parts);
}

/* ---- parts selected from an axis of their own ---- */

/* The node takes one element of an axis that is the same for all users of its operand. */
static bool selects_one(const splitter *s, sinter_node node, int64_t *out_axis,
                        int64_t *out_index) {
    if (sinter_node_op(s->module, node) != SINTER_OP_gather) return false;
    sinter_value indices = sinter_node_operand(s->module, node, 1);
    size_t count = 0;
    if (sinter_value_type(s->module, indices)->rank ||
        !sinter_value_known_ints(s->module, indices, out_index, 1, &count) || count != 1)
        return false;
    int64_t rank = sinter_value_type(s->module, sinter_node_operand(s->module, node, 0))->rank;
    *out_axis = sinter_node_get_int(s->module, node, "axis", 0);
    if (*out_axis < 0) *out_axis += rank;
    return true;
}

static bool all_select(const splitter *s, sinter_value value, int64_t axis) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    int64_t own, index;
    for (size_t i = 0; i < info->uses.count; i++) {
        sinter_node user = info->uses.items[i].node;
        if (!selects_one(s, user, &own, &index) || own != axis ||
            sinter_node_operand(s->module, user, 0) != value)
            return false;
    }
    return true;
}

/* The axis of `from` that is the same as `axis` of `to` where the two differ by axes of size 1 alone. */
static bool same_but_ones(const splitter *s, const sinter_type *from, const sinter_type *to,
                          uint32_t axis, uint32_t *out_axis) {
    uint32_t i = 0;
    bool found = false;
    for (uint32_t k = 0; k < to->rank; k++) {
        if (sinter_dim_is(s->dims, to->dims[k], 1)) continue;
        while (i < from->rank && sinter_dim_is(s->dims, from->dims[i], 1)) i++;
        if (i == from->rank || from->dims[i] != to->dims[k]) return false;
        if (k == axis) *out_axis = i;
        found |= k == axis;
        i++;
    }
    while (i < from->rank && sinter_dim_is(s->dims, from->dims[i], 1)) i++;
    return found && i == from->rank;
}

/* `to` has the last axis of `from` as `axis` and what follows it; the size of what follows. */
static bool cuts_columns(const splitter *s, const sinter_type *from, const sinter_type *to,
                         uint32_t axis, int64_t *out_size) {
    int64_t columns, parts, dim;
    sinter_type before = *to, rest = *from;
    *out_size = 1;
    if (!from->rank || !const_dim(s, from, from->rank - 1, &columns) ||
        !const_dim(s, to, axis, &parts))
        return false;
    for (uint32_t i = axis + 1; i < to->rank; i++) {
        if (!const_dim(s, to, i, &dim)) return false;
        *out_size *= dim;
    }
    if (parts * *out_size != columns) return false;
    before.rank = axis;
    rest.rank = from->rank - 1;
    uint32_t i = 0;
    for (uint32_t k = 0; k < before.rank; k++) {
        if (sinter_dim_is(s->dims, before.dims[k], 1)) continue;
        while (i < rest.rank && sinter_dim_is(s->dims, rest.dims[i], 1)) i++;
        if (i == rest.rank || rest.dims[i++] != before.dims[k]) return false;
    }
    while (i < rest.rank && sinter_dim_is(s->dims, rest.dims[i], 1)) i++;
    return i == rest.rank;
}

/* From what is selected from up to the product. */
static bool find_views(const splitter *s, sinter_value value, uint32_t axis, view_chain *chain,
                       product *out_product, int64_t *out_size) {
    for (chain->count = 0; chain->count < MAX_VIEWS;) {
        sinter_node node = sinter_value_definition(s->module, value);
        bool turns = sinter_node_op(s->module, node) == SINTER_OP_transpose;
        if (!turns && sinter_node_op(s->module, node) != SINTER_OP_reshape) return false;
        sinter_value source = sinter_node_operand(s->module, node, 0);
        const sinter_type *from = sinter_value_type(s->module, source),
                          *to = sinter_value_type(s->module, value);
        const int64_t *perm = NULL;
        if (!sinter_value_has_one_use(s->module, source)) return false;
        chain->nodes[chain->count] = node;
        chain->axes[chain->count++] = axis;
        if (turns) {
            if (sinter_node_get_ints(s->module, node, "perm", &perm) != to->rank) return false;
            axis = (uint32_t)perm[axis];
        } else if (cuts_columns(s, from, to, axis, out_size)) {
            return find_product(s, source, out_product);
        } else if (!same_but_ones(s, from, to, axis, &axis)) {
            return false;
        }
        value = source;
    }
    return false;
}

static sinter_value build_views(splitter *s, const view_chain *chain, sinter_value value) {
    const int64_t *perm = NULL;
    for (uint32_t i = chain->count; value && i-- > 0;) {
        sinter_node node = chain->nodes[i];
        sinter_type type = *sinter_value_type(s->module, sinter_node_result(s->module, node, 0));
        sinter_dim dims[SINTER_MAX_RANK];
        for (uint32_t k = 0; k < type.rank; k++) dims[k] = type.dims[k];
        dims[chain->axes[i]] = sinter_dim_const(s->dims, 1);
        if (sinter_node_op(s->module, node) == SINTER_OP_transpose &&
            sinter_node_get_ints(s->module, node, "perm", &perm))
            value = sinter_compose_transpose(s->rewrite, value, perm, type.rank);
        else
            value = sinter_compose_reshape(s->rewrite, value, dims, type.rank);
    }
    return value;
}

static void visit_selection(splitter *s, sinter_node node) {
    int64_t axis, index, size, parts;
    view_chain chain;
    product p;
    if (!selects_one(s, node, &axis, &index)) return;
    sinter_value data = sinter_node_operand(s->module, node, 0);
    if (!const_dim(s, sinter_value_type(s->module, data), (uint32_t)axis, &parts)) return;
    if (index < 0) index += parts;
    if (index < 0 || index >= parts || !all_select(s, data, axis) ||
        !find_views(s, data, (uint32_t)axis, &chain, &p, &size) || size < FEW_COLUMNS)
        return;
    sinter_value result = sinter_node_result(s->module, node, 0);
    const sinter_type type = *sinter_value_type(s->module, result);
    sinter_rewrite_at(s->rewrite, node);
    sinter_value part = build_part(s, &p, index * size, (index + 1) * size);
    part = build_views(s, &chain, part);
    part = sinter_compose_reshape(s->rewrite, part, type.dims, type.rank);
    if (!part) return;
    sinter_rewrite_replace(s->rewrite, result, part);
    sinter_rewrite_erase(s->rewrite, node);
}

static void visit(void *user, sinter_node node) {
    splitter *s = user;
    sinter_op op = sinter_node_op(s->module, node);
    if (op == SINTER_OP_split)
        visit_split(s, node);
    else if (op == SINTER_OP_gather)
        visit_selection(s, node);
}

void sinter_pass_split_contraction(sinter_pass_context *context) {
    sinter_module *module = context->module;
    splitter s = {
        .module = module, .rewrite = &context->rewrite, .dims = sinter_module_dims(module)};
    sinter_pass_visit_nodes(module, visit, &s);
}
