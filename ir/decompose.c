/* Table of decompositions, and the short forms their rules are written in. Test: tests/passes/decompose/ */
#include "ir/decompose.h"

#define DECOMPOSE(op, rule) [SINTER_OP_##op] = sinter_decompose_##rule,
static const sinter_decompose_rule rules[SINTER_OP_COUNT] = {
#include "ir/decompose.def"
};
#undef DECOMPOSE

sinter_decompose_rule sinter_decompose_find(sinter_op op) {
    return rules[op];
}

static const char *type_text(sinter_module *module, sinter_value value) {
    return sinter_type_text(sinter_module_dims(module), sinter_value_type(module, value),
                            sinter_module_arena(module));
}

/* Inference speaks of the whole op, the parts are built by the rules of their own: where the two disagree about a model that
 * inference let pass, that is an answer and not a crash. */
static bool check_results(sinter_rewrite *rewrite, sinter_node node, const sinter_value *results) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->result_count; ++i) {
        sinter_value old = info->results[i];
        if (!old) continue;
        if (!results[i])
            return sinter_error(rewrite->build.diag, sinter_node_where(module, node),
                                "%s: result %u is not decomposed [decompose_c1]",
                                sinter_op_get_info(info->op)->name, i);
        if (!sinter_rewrite_fits(rewrite, old, results[i]))
            return sinter_error(
                rewrite->build.diag, sinter_node_where(module, node),
                "%s: result %u should be %s, its decomposition gives %s; the shapes or "
                "element types of the operands do not fit [decompose_c2]",
                sinter_op_get_info(info->op)->name, i, type_text(module, old),
                type_text(module, results[i]));
    }
    return true;
}

bool sinter_decompose_node(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    uint32_t count = sinter_node_get(module, node)->result_count;
    sinter_value *results = SINTER_NEW_ARRAY(sinter_module_arena(module), sinter_value, count + 1);
    sinter_rewrite_at(rewrite, node);
    if (!rules[sinter_node_get(module, node)->op](rewrite, node, results)) return false;
    bool stays = true;
    for (uint32_t i = 0; i < count; ++i) stays = stays && !results[i];
    if (stays) return true;
    if (!check_results(rewrite, node, results)) return false;
    sinter_rewrite_replace_node(rewrite, node, results);
    return true;
}

const sinter_type *sinter_compose_type(sinter_rewrite *rewrite, sinter_value value) {
    return sinter_value_type(rewrite->build.module, value);
}

sinter_value sinter_compose_unary(sinter_rewrite *rewrite, sinter_op op, sinter_value x) {
    return x ? sinter_build_unary(&rewrite->build, op, x) : 0;
}

sinter_value sinter_compose_operand(sinter_rewrite *rewrite, sinter_node node, uint32_t i) {
    return sinter_node_operand(rewrite->build.module, node, i);
}

sinter_value sinter_compose_binary(sinter_rewrite *rewrite, sinter_op op, sinter_value a,
                                   sinter_value b) {
    return a && b ? sinter_build_binary(&rewrite->build, op, a, b) : 0;
}

sinter_value sinter_compose_with_number(sinter_rewrite *rewrite, sinter_op op, sinter_value a,
                                        double b) {
    if (!a) return 0;
    return sinter_build_binary(
        &rewrite->build, op, a,
        sinter_build_scalar(&rewrite->build, sinter_compose_type(rewrite, a)->dtype, b));
}

sinter_value sinter_compose_reduce(sinter_rewrite *rewrite, sinter_op op, sinter_value x,
                                   const int64_t *axes, size_t count, bool keep) {
    if (!x) return 0;
    sinter_value operands[2] = {x, sinter_build_ints(&rewrite->build, axes, count)};
    sinter_attr attributes[2] = {sinter_attr_int("keepdims", keep),
                                 sinter_attr_int("noop_with_empty_axes", 1)};
    return sinter_build(&rewrite->build, op, operands, 2, attributes, 2);
}

sinter_value sinter_compose_reduce_from(sinter_rewrite *rewrite, sinter_op op, sinter_value x,
                                        int64_t first_axis) {
    if (!x) return 0;
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    for (int64_t i = first_axis; i < sinter_compose_type(rewrite, x)->rank; ++i) axes[count++] = i;
    return sinter_compose_reduce(rewrite, op, x, axes, count, true);
}

sinter_value sinter_compose_cast(sinter_rewrite *rewrite, sinter_value x, sinter_dtype dtype) {
    return x ? sinter_build_cast(&rewrite->build, x, dtype) : 0;
}

sinter_value sinter_compose_reshape(sinter_rewrite *rewrite, sinter_value x, const sinter_dim *dims,
                                    size_t count) {
    if (!x) return 0;
    sinter_value operands[2] = {x, sinter_build_dims(&rewrite->build, dims, count)};
    sinter_attr allow_zero = sinter_attr_int("allowzero", 1);
    return operands[1]
               ? sinter_build(&rewrite->build, SINTER_OP_reshape, operands, 2, &allow_zero, 1)
               : 0;
}

void sinter_compose_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value,
                            const sinter_type *type) {
    const sinter_type *own = value ? sinter_compose_type(rewrite, value) : NULL;
    if (!own) return;
    bool same = true;
    for (uint32_t i = 0; i < type->rank; i++) same = same && own->dims[i] == type->dims[i];
    if (!same) value = sinter_compose_reshape(rewrite, value, type->dims, type->rank);
    if (value) sinter_rewrite_replace_node(rewrite, node, &value);
}

sinter_value sinter_compose_transpose(sinter_rewrite *rewrite, sinter_value x, const int64_t *perm,
                                      size_t count) {
    return x ? sinter_build_transpose(&rewrite->build, x, perm, count) : 0;
}

sinter_value sinter_compose_unsqueeze(sinter_rewrite *rewrite, sinter_value x, const int64_t *axes,
                                      size_t count) {
    if (!x) return 0;
    return sinter_build_binary(&rewrite->build, SINTER_OP_unsqueeze, x,
                               sinter_build_ints(&rewrite->build, axes, count));
}

sinter_value sinter_compose_select(sinter_rewrite *rewrite, sinter_value condition, sinter_value a,
                                   sinter_value b) {
    if (!condition || !a || !b) return 0;
    sinter_value operands[3] = {condition, a, b};
    return sinter_build(&rewrite->build, SINTER_OP_where, operands, 3, NULL, 0);
}

sinter_value sinter_compose_slice(sinter_rewrite *rewrite, sinter_value x, int64_t axis,
                                  sinter_value start, sinter_value end) {
    if (!x || !start || !end) return 0;
    sinter_value operands[4] = {x, start, end, sinter_build_ints(&rewrite->build, &axis, 1)};
    return sinter_build(&rewrite->build, SINTER_OP_slice, operands, 4, NULL, 0);
}

sinter_value sinter_compose_concat(sinter_rewrite *rewrite, const sinter_value *items, size_t count,
                                   int64_t axis) {
    for (size_t i = 0; i < count; ++i)
        if (!items[i]) return 0;
    sinter_attr attribute = sinter_attr_int("axis", axis);
    return sinter_build(&rewrite->build, SINTER_OP_concat, items, (uint32_t)count, &attribute, 1);
}

sinter_value sinter_compose_channel_view(sinter_rewrite *rewrite, sinter_value x, uint32_t rank) {
    int64_t axes[SINTER_MAX_RANK];
    for (uint32_t i = 2; i < rank; ++i) axes[i - 2] = i - 1;
    return rank > 2 ? sinter_compose_unsqueeze(rewrite, x, axes, rank - 2) : x;
}
