/* Moves the channels of convolutional regions of the graph to the end (N, space..., C), where kernels read and write them
 * in vectors: windows get channels_last, what lies between them follows, transposes stand at the borders.
 *
 * A node that can work on either layout does what makes the borders smallest; a connected region stays as it was where its
 * multiplications do not pay for its borders, and so does a convolution whose lanes go along the width (split_padding.h). A border is free
 * where it meets another transpose or moves no element. canonicalize then joins and removes transposes. Needs composites decomposed, inferred types; results do not change by a bit.
 * Test: tests/passes/propagate_layouts/ */
#include "passes/propagate_layouts.h"
#include "passes/fold_constants.h"
#include "passes/split_padding.h"

enum {
    SWEEPS = 4,
    WORK_PER_ELEMENT = 4 /* multiplications that pay for moving one element */
};

typedef struct layouts {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
    sinter_region region;
    uint32_t node_limit, value_limit; /* when the region was begun */
    sinter_layout_plan *plans;        /* by node */
    bool *last;                       /* by node: rewritten */
    uint32_t *component;              /* by node: union-find */
    sinter_value *moved;              /* by value: with channels last */
    const int64_t *bindings;          /* of symbols, for estimates */
    const sinter_pass_context *context;
} layouts;

/* ---- costs ---- */

static double elements(const layouts *s, sinter_value value) {
    const sinter_type *type = sinter_value_type(s->module, value);
    double count = 1;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t dim = 0;
        bool known =
            sinter_dim_evaluate(sinter_module_dims(s->module), type->dims[i], s->bindings, &dim);
        count *= known && dim > 0 ? (double)dim : (double)SINTER_ASSUMED_DIM;
    }
    return count;
}

/* Whether the node takes this operand with channels last, once it is rewritten. */
static bool takes_last(const layouts *s, sinter_node node, uint32_t operand) {
    const sinter_layout_plan *plan = &s->plans[node];
    if (operand > 0 && !plan->all_operands) return false;
    const sinter_node_info *info = sinter_node_get(s->module, node);
    sinter_value shaped = plan->all_operands ? info->results[0] : info->operands[0];
    return sinter_value_type(s->module, info->operands[operand])->rank ==
           sinter_value_type(s->module, shaped)->rank;
}

static bool is_known_node(const layouts *s, sinter_node node) {
    return node && node < s->node_limit && sinter_node_get(s->module, node)->parent == s->region;
}

static bool is_last(const layouts *s, sinter_node node) {
    return is_known_node(s, node) && s->last[node];
}

static bool is_transpose(const layouts *s, sinter_node node) {
    return node && sinter_node_get(s->module, node)->op == SINTER_OP_transpose;
}

/* One channel, or one place: the transpose is a reshape. */
static bool moves_nothing(const layouts *s, sinter_value value) {
    const sinter_type *type = sinter_value_type(s->module, value);
    const sinter_dim_table *table = sinter_module_dims(s->module);
    bool one_place = true;
    for (uint32_t i = 2; i < type->rank; i++) one_place &= sinter_dim_is(table, type->dims[i], 1);
    return type->rank < 3 || one_place || sinter_dim_is(table, type->dims[1], 1);
}

/* Elements that the border at this value moves. */
static double border(const layouts *s, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    if (sinter_value_type(s->module, value)->kind != SINTER_TYPE_TENSOR ||
        sinter_value_constant(s->module, value) || moves_nothing(s, value))
        return 0;
    bool made_last = is_last(s, info->definition) && !s->plans[info->definition].result_keeps;
    bool crossed = false;
    for (size_t i = 0; i < info->uses.count && !crossed; i++) {
        sinter_use use = info->uses.items[i];
        bool wants_last = is_last(s, use.node) && takes_last(s, use.node, use.operand);
        crossed = wants_last != made_last && !(made_last && is_transpose(s, use.node));
    }
    if (!crossed || (!made_last && is_transpose(s, info->definition))) return 0;
    return elements(s, value);
}

static double borders_of(const layouts *s, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    double sum = 0;
    for (uint32_t i = 0; i < info->operand_count; i++)
        if (info->operands[i]) sum += border(s, info->operands[i]);
    for (uint32_t i = 0; i < info->result_count; i++)
        if (info->results[i]) sum += border(s, info->results[i]);
    return sum;
}

/* Multiplications of a window with weights; 0 of a pool. */
static double work_of(const layouts *s, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    uint32_t rank = sinter_value_type(s->module, info->operands[0])->rank;
    if (!s->plans[node].is_window) return 0;
    for (uint32_t i = 1; i < info->operand_count; i++) {
        if (!info->operands[i] || sinter_value_type(s->module, info->operands[i])->rank != rank)
            continue;
        sinter_type weight = *sinter_value_type(s->module, info->operands[i]);
        int64_t rows = 1;
        sinter_dim_evaluate(sinter_module_dims(s->module), weight.dims[0], s->bindings, &rows);
        return elements(s, info->results[0]) * elements(s, info->operands[i]) /
               (double)(rows > 0 ? rows : 1);
    }
    return 0;
}

/* ---- which nodes ---- */

static uint32_t find_component(layouts *s, uint32_t node) {
    while (s->component[node] != node) {
        s->component[node] = s->component[s->component[node]];
        node = s->component[node];
    }
    return node;
}

/* Undoes single nodes, where the borders get smaller by it. */
static void shrink_borders(layouts *s) {
    for (int sweep = 0; sweep < SWEEPS; sweep++) {
        bool changed = false;
        SINTER_FOR_NODES (s->module, s->region, node) {
            if (!s->plans[node].possible || s->plans[node].is_window) continue;
            double before = borders_of(s, node);
            s->last[node] = !s->last[node];
            if (borders_of(s, node) < before)
                changed = true;
            else
                s->last[node] = !s->last[node];
        }
        if (!changed) return;
    }
}

static void keep_what_pays(layouts *s) {
    double *work = SINTER_NEW_ARRAY(s->scratch, double, s->node_limit);
    double *moved = SINTER_NEW_ARRAY(s->scratch, double, s->node_limit);
    SINTER_FOR_NODES (s->module, s->region, node) {
        if (!s->last[node]) continue;
        const sinter_node_info *info = sinter_node_get(s->module, node);
        for (uint32_t i = 0; i < info->operand_count; i++) {
            sinter_node producer = sinter_value_definition(s->module, info->operands[i]);
            if (is_last(s, producer) && !s->plans[producer].result_keeps && takes_last(s, node, i))
                s->component[find_component(s, node)] = find_component(s, producer);
        }
    }
    SINTER_FOR_NODES (s->module, s->region, counted) {
        if (!s->last[counted]) continue;
        uint32_t root = find_component(s, counted);
        work[root] += work_of(s, counted);
        moved[root] += borders_of(s, counted);
    }
    SINTER_FOR_NODES (s->module, s->region, kept) {
        uint32_t root = find_component(s, kept);
        if (s->last[kept] &&
            (work[root] <= 0 || work[root] < (double)WORK_PER_ELEMENT * moved[root]))
            s->last[kept] = false;
    }
}

/* ---- rewriting ---- */

/* The constant with its axes in the order of channels last, missing ones put in front. */
static sinter_value move_constant(layouts *s, sinter_value value, uint32_t rank) {
    sinter_builder *build = &s->rewrite->build;
    const sinter_tensor *tensor = sinter_value_constant(s->module, value);
    int64_t dims[SINTER_MAX_RANK], perm[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = i < rank - tensor->rank ? 1 : tensor->dims[i - (rank - tensor->rank)];
    if (tensor->rank < rank) {
        sinter_tensor view;
        sinter_tensor_copy(&view, tensor);
        view.rank = rank;
        for (uint32_t i = 0; i < rank; i++) view.dims[i] = dims[i];
        value = sinter_build_constant(build, view);
    }
    sinter_layout_perm(rank, true, perm);
    return sinter_fold_value(s->rewrite, sinter_build_transpose(build, value, perm, rank));
}

/* The operand with channels last, before the rewrite's root. */
static sinter_value move_operand(layouts *s, sinter_value value, uint32_t rank) {
    int64_t perm[SINTER_MAX_RANK];
    /* A constant of lower rank has another form for each rank that it is read at. */
    bool remember = value < s->value_limit && sinter_value_type(s->module, value)->rank == rank;
    if (remember && s->moved[value]) return s->moved[value];
    sinter_value moved = 0;
    if (sinter_value_constant(s->module, value)) {
        moved = move_constant(s, value, rank);
    } else {
        sinter_layout_perm(rank, true, perm);
        moved = sinter_build_transpose(&s->rewrite->build, value, perm, rank);
    }
    if (remember) s->moved[value] = moved;
    return moved;
}

static bool is_moved_type(const layouts *s, sinter_value made, sinter_value old, bool keeps) {
    const sinter_type *a = sinter_value_type(s->module, made),
                      *b = sinter_value_type(s->module, old);
    if (a->rank != b->rank || a->dtype != b->dtype) return false;
    for (uint32_t i = 0; i < b->rank; i++)
        if (a->dims[keeps ? i : sinter_layout_axis(i, b->rank)] != b->dims[i]) return false;
    return true;
}

/* Builds the node anew; its results are remembered, the old node still stands. */
static bool rewrite_node(layouts *s, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(s->module, node);
    bool keeps = s->plans[node].result_keeps;
    uint32_t rank = sinter_value_type(s->module, s->plans[node].all_operands ? info.results[0]
                                                                             : info.operands[0])
                        ->rank;
    uint32_t room = info.operand_count > 4 ? info.operand_count : 4;
    sinter_layout_draft draft = {
        .rewrite = s->rewrite,
        .operands = SINTER_NEW_ARRAY(s->scratch, sinter_value, room),
        .attributes = SINTER_NEW_ARRAY(s->scratch, sinter_attr, info.attribute_count + 2),
        .attribute_count = info.attribute_count};
    for (uint32_t i = 0; i < info.attribute_count; i++) draft.attributes[i] = info.attributes[i];
    for (uint32_t i = 0; i < info.operand_count; i++) draft.operands[i] = info.operands[i];
    sinter_rewrite_at(s->rewrite, node);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        if (!info.operands[i]) continue;
        const sinter_tensor *constant = sinter_value_constant(s->module, info.operands[i]);
        bool widened = s->plans[node].all_operands && constant && sinter_tensor_count(constant) > 1;
        if (!takes_last(s, node, i) && !widened) continue;
        draft.operands[i] = move_operand(s, info.operands[i], rank);
        if (!draft.operands[i]) return false;
    }
    if (!sinter_layout_rewrite_node(&draft, node)) return false;
    uint32_t operand_count = info.operand_count;
    while (operand_count < room && draft.operands[operand_count]) operand_count++;
    for (uint32_t i = operand_count; i < room; i++)
        if (draft.operands[i]) operand_count = i + 1;
    sinter_node_spec spec = {.op = info.op,
                             .operands = draft.operands,
                             .operand_count = operand_count,
                             .attributes = draft.attributes,
                             .attribute_count = draft.attribute_count,
                             .result_count = info.result_count,
                             .location = info.location};
    while (spec.result_count > 1 && !info.results[spec.result_count - 1]) spec.result_count--;
    sinter_node made = sinter_build_node(&s->rewrite->build, &spec);
    if (!made) return false;
    for (uint32_t i = 0; i < spec.result_count; i++) {
        sinter_value result = sinter_node_result(s->module, made, i);
        if (!info.results[i]) continue;
        if (!is_moved_type(s, result, info.results[i], keeps))
            return sinter_error(s->rewrite->build.diag, sinter_node_where(s->module, node),
                                "%s has another type with its channels last",
                                sinter_op_get_info(info.op)->name);
        if (keeps)
            sinter_rewrite_replace(s->rewrite, info.results[i], result);
        else
            s->moved[info.results[i]] = result;
    }
    return true;
}

/* Who still uses the old results gets them transposed back; then the old node goes. */
static bool retire_node(layouts *s, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    for (uint32_t i = 0; i < info->result_count; i++) {
        info = sinter_node_get(s->module, node);
        sinter_value old = info->results[i];
        if (!old || !sinter_value_get(s->module, old)->uses.count) continue;
        int64_t perm[SINTER_MAX_RANK];
        uint32_t rank = sinter_value_type(s->module, old)->rank;
        sinter_layout_perm(rank, false, perm);
        sinter_rewrite_at(s->rewrite, node);
        sinter_value back = sinter_build_transpose(&s->rewrite->build, s->moved[old], perm, rank);
        if (!back) return false;
        sinter_rewrite_replace(s->rewrite, old, back);
    }
    sinter_rewrite_erase(s->rewrite, node);
    return true;
}

static bool move_region(layouts *s, sinter_region region) {
    sinter_module *module = s->module;
    SINTER_VECTOR(sinter_node) nodes = {0};
    s->region = region;
    s->node_limit = sinter_module_node_limit(module);
    s->value_limit = sinter_module_value_limit(module);
    s->plans = SINTER_NEW_ARRAY(s->scratch, sinter_layout_plan, s->node_limit);
    s->last = SINTER_NEW_ARRAY(s->scratch, bool, s->node_limit);
    s->component = SINTER_NEW_ARRAY(s->scratch, uint32_t, s->node_limit);
    s->moved = SINTER_NEW_ARRAY(s->scratch, sinter_value, s->value_limit);
    bool any = false;
    s->bindings = sinter_dim_assume(sinter_module_dims(module), s->scratch, SINTER_ASSUMED_DIM);
    SINTER_FOR_NODES (module, region, planned) {
        s->plans[planned] = sinter_layout_plan_node(module, planned);
        if (sinter_conv_goes_along_width(s->context, planned, s->bindings))
            s->plans[planned].possible = false;
        s->last[planned] = s->plans[planned].possible;
        s->component[planned] = planned;
        any |= s->plans[planned].possible && s->plans[planned].is_window;
    }
    if (!any) return true;
    shrink_borders(s);
    keep_what_pays(s);
    SINTER_FOR_NODES (module, region, chosen)
        if (s->last[chosen]) sinter_vector_push(s->scratch, &nodes, chosen);
    for (size_t i = 0; i < nodes.count; i++)
        if (!rewrite_node(s, nodes.items[i])) return false;
    for (size_t i = nodes.count; i-- > 0;)
        if (!sinter_node_get(module, nodes.items[i])->erased && !retire_node(s, nodes.items[i]))
            return false;
    return true;
}

void sinter_pass_propagate_layouts(sinter_pass_context *context) {
    sinter_module *module = context->module;
    layouts s = {.module = module,
                 .scratch = &context->scratch,
                 .rewrite = &context->rewrite,
                 .context = context};
    bool ok = true;
    uint32_t regions = sinter_module_region_limit(module);
    for (sinter_region region = 1; ok && region < regions; region++) {
        const sinter_region_info *info = sinter_region_get(module, region);
        const sinter_node_info *owner = info->owner ? sinter_node_get(module, info->owner) : NULL;
        if (!info->first || (owner && (owner->erased || owner->op == SINTER_OP_group))) continue;
        ok = move_region(&s, region);
    }
}
