/* Rules of canonicalize about shapes: views that change nothing, chains of reshapes and transposes, broadcasts
 * that the next op does anyway. Test: tests/passes/canonicalize/view.sir */
#include "passes/canonicalize.h"

/* ---- reshapes ---- */

static bool type_reads(const sinter_module *module, const sinter_type *type, sinter_value value) {
    for (uint32_t i = 0; i < type->rank; i++)
        if (sinter_dim_reads(sinter_module_dims(module), type->dims[i], value)) return true;
    return false;
}

/* The node's result as one reshape of x to the dims it has. */
static bool become_reshape(sinter_rewrite *rewrite, sinter_node node, sinter_value x) {
    sinter_module *module = rewrite->build.module;
    sinter_value result = sinter_node_result(module, node, 0);
    sinter_type type = *sinter_value_type(module, result);
    if (type.kind != SINTER_TYPE_TENSOR || type_reads(module, &type, result)) return false;
    bool all_positive = true; /* else 0 would mean "as in the operand" */
    for (uint32_t i = 0; i < type.rank; i++) {
        int64_t min = 0, max = 0;
        sinter_dim_range(sinter_module_dims(module), type.dims[i], &min, &max);
        all_positive &= min > 0;
    }
    sinter_value operands[] = {x, sinter_build_dims(&rewrite->build, type.dims, type.rank)};
    sinter_attr allow_zero = sinter_attr_int("allowzero", 1);
    if (!operands[1]) return false;
    sinter_value reshaped = sinter_build(&rewrite->build, SINTER_OP_reshape, operands, 2,
                                         &allow_zero, all_positive ? 0 : 1);
    return sinter_canonicalize_replace(rewrite, node, reshaped);
}

bool sinter_canonicalize_to_reshape(sinter_rewrite *rewrite, sinter_node node) {
    sinter_value x = sinter_node_operand(rewrite->build.module, node, 0);
    return sinter_canonicalize_replace(rewrite, node, x) || become_reshape(rewrite, node, x);
}

/* To the shape it has: nothing. Of a reshape: one reshape. To a computed shape whose elements are known: a
 * reshape to dims, which needs no computing. */
bool sinter_canonicalize_reshape(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0),
                 shape = sinter_node_operand(module, node, 1);
    if (sinter_canonicalize_replace(rewrite, node, x)) return true;
    sinter_node inner = sinter_canonicalize_producer(module, x, SINTER_OP_reshape);
    if (inner) return become_reshape(rewrite, node, sinter_node_operand(module, inner, 0));
    if (sinter_value_constant(module, shape) ||
        sinter_canonicalize_producer(module, shape, SINTER_OP_dim_vector) ||
        type_reads(module, sinter_value_type(module, sinter_node_result(module, node, 0)), shape))
        return false;
    return become_reshape(rewrite, node, x);
}

/* ---- transposes ---- */

void sinter_canonicalize_perm(const sinter_module *module, sinter_node node, uint32_t rank,
                              int64_t *out_perm) {
    const int64_t *given = NULL;
    size_t count = sinter_node_get_ints(module, node, "perm", &given);
    for (uint32_t i = 0; i < rank; i++)
        out_perm[i] = count == rank ? given[i] : (int64_t)(rank - 1 - i);
}

/* Whether only axes of size 1 change their place among the others: then no element moves. */
static bool moves_no_element(const sinter_module *module, const sinter_type *type,
                             const int64_t *perm) {
    int64_t last = -1;
    for (uint32_t i = 0; i < type->rank; i++) {
        if (sinter_dim_is(sinter_module_dims(module), type->dims[perm[i]], 1)) continue;
        if (perm[i] < last) return false;
        last = perm[i];
    }
    return true;
}

bool sinter_canonicalize_transpose(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    sinter_type type = *sinter_value_type(module, x);
    int64_t perm[SINTER_MAX_RANK], inner_perm[SINTER_MAX_RANK], joined[SINTER_MAX_RANK];
    sinter_canonicalize_perm(module, node, type.rank, perm);
    bool identity = true;
    for (uint32_t i = 0; i < type.rank; i++) identity &= perm[i] == i;
    if (identity) return sinter_canonicalize_replace(rewrite, node, x);
    sinter_node inner = sinter_canonicalize_producer(module, x, SINTER_OP_transpose);
    if (inner) {
        sinter_canonicalize_perm(module, inner, type.rank, inner_perm);
        for (uint32_t i = 0; i < type.rank; i++) joined[i] = inner_perm[perm[i]];
        sinter_value source = sinter_node_operand(module, inner, 0);
        sinter_value made = sinter_build_transpose(&rewrite->build, source, joined, type.rank);
        return sinter_canonicalize_replace(rewrite, node, made);
    }
    return moves_no_element(module, &type, perm) && become_reshape(rewrite, node, x);
}

/* ---- views that change nothing ---- */

bool sinter_canonicalize_same_shape(sinter_rewrite *rewrite, sinter_node node) {
    return sinter_canonicalize_replace(rewrite, node,
                                       sinter_node_operand(rewrite->build.module, node, 0));
}

/* All elements of a known operand are this number; an absent operand is its default, which is. */
static bool is_all(const sinter_module *module, sinter_value value, int64_t number) {
    int64_t items[2 * SINTER_MAX_RANK];
    size_t count = 0;
    if (!value) return true;
    if (!sinter_value_known_ints(module, value, items, 2 * SINTER_MAX_RANK, &count)) return false;
    for (size_t i = 0; i < count; i++)
        if (items[i] != number) return false;
    return true;
}

/* With steps of 1, as many elements as there were are all of them, in order. */
bool sinter_canonicalize_slice(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    return is_all(module, sinter_node_operand(module, node, 4), 1) &&
           sinter_canonicalize_replace(rewrite, node, sinter_node_operand(module, node, 0));
}

bool sinter_canonicalize_pad(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    return is_all(module, sinter_node_operand(module, node, 1), 0) &&
           sinter_canonicalize_replace(rewrite, node, sinter_node_operand(module, node, 0));
}

bool sinter_canonicalize_single(sinter_rewrite *rewrite, sinter_node node) {
    const sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    bool concat = info->op == SINTER_OP_concat;
    return (concat ? info->operand_count == 1 : info->result_count == 1) &&
           sinter_canonicalize_replace(rewrite, node, info->operands[0]);
}

/* Whether the shape is known and fits for certain: where it is data, the node is what refuses bad ones. */
static bool surely_expands(sinter_module *module, sinter_node node) {
    const sinter_dim *shape = NULL;
    size_t count = 0;
    sinter_dim_table *table = sinter_module_dims(module);
    const sinter_type *data = sinter_value_type(module, sinter_node_operand(module, node, 0));
    if (!sinter_value_known_dims(module, sinter_node_operand(module, node, 1), &shape, &count))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t low, high, axis = (int64_t)(i + data->rank) - (int64_t)count;
        sinter_dim own = axis < 0 ? 0 : data->dims[axis];
        bool fits = sinter_dim_is(table, shape[i], 1) || shape[i] == own;
        sinter_dim_range(table, shape[i], &low, &high);
        if (!fits && (low < 0 || (own && !sinter_dim_is(table, own, 1)))) return false;
    }
    return true;
}

bool sinter_canonicalize_expand(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    return surely_expands(module, node) &&
           sinter_canonicalize_replace(rewrite, node, sinter_node_operand(module, node, 0));
}

/* ---- broadcasts ---- */

/* Ops that broadcast all their operands alike. */
static const sinter_op broadcasting[] = {
    SINTER_OP_add,  SINTER_OP_sub,     SINTER_OP_mul,   SINTER_OP_div,
    SINTER_OP_max,  SINTER_OP_min,     SINTER_OP_where, SINTER_OP_equal,
    SINTER_OP_less, SINTER_OP_greater, SINTER_OP_and,   SINTER_OP_or,
};

static bool is_broadcasting(sinter_op op) {
    for (size_t i = 0; i < sizeof broadcasting / sizeof *broadcasting; i++)
        if (broadcasting[i] == op) return true;
    return false;
}

/* Whether the operand, aligned at the last axis, has the result's own dim at this axis. */
static bool has_dim(const sinter_module *module, sinter_value operand, const sinter_type *result,
                    uint32_t axis) {
    const sinter_type *type = sinter_value_type(module, operand);
    uint32_t missing = result->rank - type->rank;
    return axis >= missing && type->dims[axis - missing] == result->dims[axis];
}

bool sinter_canonicalize_expanded(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (!is_broadcasting(info->op)) return false;
    const sinter_type *result = sinter_value_type(module, info->results[0]);
    for (uint32_t i = 0; i < info->operand_count; i++) {
        sinter_node expand =
            sinter_canonicalize_producer(module, info->operands[i], SINTER_OP_expand);
        if (!expand || !surely_expands(module, expand)) continue;
        sinter_value source = sinter_node_operand(module, expand, 0);
        bool same = true;
        for (uint32_t axis = 0; same && axis < result->rank; axis++) {
            same = has_dim(module, source, result, axis);
            for (uint32_t k = 0; !same && k < info->operand_count; k++)
                same = k != i && has_dim(module, info->operands[k], result, axis);
        }
        if (!same) continue;
        sinter_rewrite_set_operand(rewrite, node, i, source);
        return true;
    }
    return false;
}
