/* Rules of propagate_layouts: which ops can work on channels-last tensors, and what of their attributes and small
 * operands names axes. Needs inferred types. Test: tests/passes/propagate_layouts/ */
#include "passes/propagate_layouts.h"

#include <string.h>

int64_t sinter_layout_axis(int64_t axis, uint32_t rank) {
    return axis == 0 ? 0 : axis == 1 ? (int64_t)rank - 1 : axis - 1;
}

void sinter_layout_perm(uint32_t rank, bool to_last, int64_t *out_perm) {
    for (uint32_t axis = 0; axis < rank; axis++) {
        int64_t moved = sinter_layout_axis(axis, rank);
        if (to_last)
            out_perm[moved] = axis;
        else
            out_perm[axis] = moved;
    }
}

static uint32_t rank_of(const sinter_module *module, sinter_node node) {
    return sinter_value_type(module, sinter_node_operand(module, node, 0))->rank;
}

static int64_t wrapped(int64_t axis, uint32_t rank) {
    return axis < 0 ? axis + (int64_t)rank : axis;
}

/* The axes that an operand (absent: all, in order) names. False where not known at compile time. */
static bool known_axes(const sinter_module *module, sinter_value value, uint32_t rank,
                       int64_t *out_axes, size_t *out_count) {
    if (!value) {
        for (uint32_t i = 0; i < rank; i++) out_axes[i] = i;
        *out_count = rank;
        return true;
    }
    if (!sinter_value_known_ints(module, value, out_axes, SINTER_MAX_RANK, out_count)) return false;
    for (size_t i = 0; i < *out_count; i++) {
        out_axes[i] = wrapped(out_axes[i], rank);
        if (out_axes[i] < 0 || out_axes[i] >= rank) return false;
    }
    return true;
}

static void set_attr(sinter_layout_draft *draft, sinter_attr attr) {
    for (uint32_t i = 0; i < draft->attribute_count; i++) {
        sinter_attr *old = &draft->attributes[i];
        if (old->name.size == attr.name.size &&
            memcmp(old->name.data, attr.name.data, attr.name.size) == 0) {
            *old = attr;
            return;
        }
    }
    draft->attributes[draft->attribute_count++] = attr;
}

/* ---- the rules: with draft NULL, whether the node can; else do it ---- */

typedef bool (*layout_rule)(const sinter_module *module, sinter_node node,
                            sinter_layout_draft *draft);

static bool flip_window(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    if (draft) {
        set_attr(draft, sinter_attr_int("channels_last", 1));
        return true;
    }
    const sinter_node_info *info = sinter_node_get(module, node);
    return sinter_op_find_attribute(info->op, SINTER_STRING("channels_last")) >= 0 &&
           !sinter_node_get_int(module, node, "channels_last", 0) &&
           !sinter_node_result(module, node, 1);
}

/* Elementwise: nothing names an axis. */
static bool flip_nothing(const sinter_module *module, sinter_node node,
                         sinter_layout_draft *draft) {
    (void)draft;
    return sinter_op_find_attribute(sinter_node_get(module, node)->op, SINTER_STRING("axis")) < 0;
}

static bool flip_axis(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    uint32_t rank = rank_of(module, node);
    int64_t axis = wrapped(sinter_node_get_int(module, node, "axis", 0), rank);
    if (draft) set_attr(draft, sinter_attr_int("axis", sinter_layout_axis(axis, rank)));
    return axis >= 0 && axis < rank;
}

/* Per tensor or per axis; blocks are along one axis of a scale of the tensor's rank. */
static bool flip_quantization(const sinter_module *module, sinter_node node,
                              sinter_layout_draft *draft) {
    sinter_value scale = sinter_node_operand(module, node, 1);
    return sinter_node_get_int(module, node, "block_size", 0) == 0 &&
           sinter_value_type(module, scale)->rank <= 1 && flip_axis(module, node, draft);
}

static bool flip_reduce(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    uint32_t rank = rank_of(module, node);
    sinter_value operand = sinter_node_operand(module, node, 1);
    if (!operand) return true;
    if (!known_axes(module, operand, rank, axes, &count)) return false;
    for (size_t i = 0; i < count; i++) axes[i] = sinter_layout_axis(axes[i], rank);
    if (draft && count) {
        draft->operands[1] = sinter_build_ints(&draft->rewrite->build, axes, count);
        return draft->operands[1] != 0;
    }
    return true;
}

/* pads: before all axes, then after all axes. */
static bool flip_pad(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    uint32_t rank = rank_of(module, node);
    if (!known_axes(module, sinter_node_operand(module, node, 3), rank, axes, &count)) return false;
    if (!draft) return true;
    for (size_t i = 0; i < count; i++) axes[i] = sinter_layout_axis(axes[i], rank);
    draft->operands[3] = sinter_build_ints(&draft->rewrite->build, axes, count);
    return draft->operands[3] != 0;
}

static bool flip_slice(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0, starts = 0;
    uint64_t number = 0;
    uint32_t rank = rank_of(module, node);
    if (!known_axes(module, sinter_node_operand(module, node, 3), rank, axes, &count)) return false;
    const sinter_type *type = sinter_value_type(module, sinter_node_operand(module, node, 1));
    if (!sinter_type_static_count(sinter_module_dims(module), type, &number)) return false;
    starts = (size_t)number;
    if (starts > count) return false;
    if (!draft) return true;
    for (size_t i = 0; i < starts; i++) axes[i] = sinter_layout_axis(axes[i], rank);
    draft->operands[3] = sinter_build_ints(&draft->rewrite->build, axes, starts);
    return draft->operands[3] != 0;
}

/* Result dims must be known without asking the node. */
static bool flip_resize(const sinter_module *module, sinter_node node, sinter_layout_draft *draft) {
    int64_t axes[SINTER_MAX_RANK];
    const int64_t *given = NULL;
    uint32_t rank = rank_of(module, node);
    size_t count = sinter_node_get_ints(module, node, "axes", &given);
    for (uint32_t i = 0; i < rank; i++) axes[i] = i;
    for (size_t i = 0; i < count; i++) axes[i] = wrapped(given[i], rank);
    if (!count) count = rank;
    sinter_value scales = sinter_node_operand(module, node, 2),
                 sizes = sinter_node_operand(module, node, 3);
    if (!(scales && sinter_value_constant(module, scales)) &&
        !(sizes && sinter_value_constant(module, sizes)))
        return false;
    if (!draft) return true;
    int64_t *moved = SINTER_NEW_ARRAY(sinter_module_arena(draft->rewrite->build.module), int64_t,
                                      SINTER_MAX_RANK);
    for (size_t i = 0; i < count; i++) moved[i] = sinter_layout_axis(axes[i], rank);
    set_attr(draft, sinter_attr_ints("axes", moved, count));
    return true;
}

static const struct {
    sinter_op op;
    layout_rule rule;
    bool all_operands;
} op_rules[] = {
    {SINTER_OP_concat, flip_axis, true},
    {SINTER_OP_split, flip_axis, false},
    {SINTER_OP_pad, flip_pad, false},
    {SINTER_OP_slice, flip_slice, false},
    {SINTER_OP_resize, flip_resize, false},
    {SINTER_OP_quantize_linear, flip_quantization, false},
    {SINTER_OP_dequantize_linear, flip_quantization, false},
};

static layout_rule find_rule(sinter_op op, bool *out_all_operands) {
    *out_all_operands = false;
    for (size_t i = 0; i < sizeof op_rules / sizeof *op_rules; i++) {
        if (op_rules[i].op != op) continue;
        *out_all_operands = op_rules[i].all_operands;
        return op_rules[i].rule;
    }
    switch (sinter_op_get_info(op)->pattern) {
    case SINTER_PATTERN_ELEMENTWISE:
        *out_all_operands = true;
        return flip_nothing;
    case SINTER_PATTERN_REDUCE:
        return flip_reduce;
    case SINTER_PATTERN_WINDOW:
        return flip_window;
    default:
        return NULL;
    }
}

/* ---- plans ---- */

/* The axes that are left are in the same order with the channels last. */
static bool drops_well(const sinter_module *module, sinter_node node) {
    int64_t axes[SINTER_MAX_RANK], last = -1;
    size_t count = 0;
    bool dropped[SINTER_MAX_RANK] = {false};
    uint32_t rank = rank_of(module, node);
    if (!known_axes(module, sinter_node_operand(module, node, 1), rank, axes, &count)) return false;
    if (!count) return false;
    for (size_t i = 0; i < count; i++) dropped[axes[i]] = true;
    for (uint32_t i = 0; i < rank; i++) {
        int64_t moved = sinter_layout_axis(i, rank);
        if (dropped[i]) continue;
        if (moved < last) return false;
        last = moved;
    }
    return true;
}

static bool fits(const sinter_module *module, const sinter_type *type, uint32_t rank) {
    (void)module;
    return type->kind == SINTER_TYPE_TENSOR && type->rank == rank &&
           type->dtype != SINTER_DTYPE_string;
}

/* Operands of lower rank broadcast: one element, or a constant that can be given the missing axes. */
static bool operands_fit(const sinter_module *module, sinter_node node, uint32_t rank) {
    const sinter_node_info *info = sinter_node_get(module, node);
    for (uint32_t i = 0; i < info->operand_count; i++) {
        if (!info->operands[i]) continue;
        const sinter_type *type = sinter_value_type(module, info->operands[i]);
        uint64_t count = 0;
        bool one = type->kind == SINTER_TYPE_TENSOR &&
                   sinter_type_static_count(sinter_module_dims(module), type, &count) && count == 1;
        if (!fits(module, type, rank) && !(one && type->rank < rank) &&
            !(type->rank < rank && sinter_value_constant(module, info->operands[i])))
            return false;
    }
    return true;
}

sinter_layout_plan sinter_layout_plan_node(const sinter_module *module, sinter_node node) {
    sinter_layout_plan plan = {0};
    const sinter_node_info *info = sinter_node_get(module, node);
    layout_rule rule = find_rule(info->op, &plan.all_operands);
    if (!rule || !info->operand_count || !info->operands[0] || !info->result_count ||
        info->region_count)
        return plan;
    const sinter_type *first = sinter_value_type(module, info->operands[0]);
    uint32_t rank = first->rank;
    for (uint32_t i = 0; i < info->result_count; i++) {
        if (!info->results[i]) continue;
        const sinter_type *type = sinter_value_type(module, info->results[i]);
        if (plan.all_operands) rank = type->rank;
        plan.result_keeps |= type->rank != rank;
        if (type->kind != SINTER_TYPE_TENSOR || type->dtype == SINTER_DTYPE_string) return plan;
    }
    if (rank < 3 || rank > 5 || (!plan.all_operands && !fits(module, first, rank))) return plan;
    if (plan.all_operands && !operands_fit(module, node, rank)) return plan;
    sinter_pattern pattern = sinter_op_get_info(info->op)->pattern;
    if (plan.result_keeps && (pattern != SINTER_PATTERN_REDUCE || !drops_well(module, node)))
        return plan;
    plan.is_window = pattern == SINTER_PATTERN_WINDOW;
    plan.possible = rule(module, node, NULL);
    return plan;
}

bool sinter_layout_rewrite_node(sinter_layout_draft *draft, sinter_node node) {
    bool all_operands = false;
    const sinter_module *module = draft->rewrite->build.module;
    layout_rule rule = find_rule(sinter_node_get(module, node)->op, &all_operands);
    return rule(module, node, draft);
}
