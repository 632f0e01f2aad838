/* Fewer and smaller collectives: pairs that undo each other go, a sum of which each rank keeps a part is a reduce-scatter, sums
 * of sums are one, parts that only change the axis they are cut along are exchanged directly. What is computed index by index of
 * an axis that is gathered is computed before that or after, whichever leaves less to send. What pads a part may be
 * something else afterwards; whoever sums over it masks it.
 * Guarantees: values stay what they are on every rank, to the bit but for the order of sums over several axes, and of two sums that are added.
 * Test: tests/passes/shard_simplify/ */
#include "ir/axes.h"
#include "passes/pass.h"
#include "passes/shard_build.h"

typedef struct simplifier {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
} simplifier;

/* A collective, and what it is applied to. */
typedef struct collective {
    sinter_node node;
    sinter_op op;
    sinter_value x;
    sinter_mesh_axes over;
    int64_t axis;
} collective;

static bool get(const simplifier *s, sinter_value value, collective *out) {
    sinter_node node = value ? sinter_value_definition(s->module, value) : 0;
    out->node = node;
    out->op = sinter_node_op(s->module, node);
    if (!node || sinter_op_get_info(out->op)->pattern != SINTER_PATTERN_COLLECTIVE ||
        !sinter_node_get_mesh_axes(s->module, node, &out->over))
        return false;
    const sinter_type *type = sinter_value_type(s->module, sinter_node_operand(s->module, node, 0));
    out->x = sinter_node_operand(s->module, node, 0);
    out->axis = type->rank ? sinter_node_get_axis(s->module, node, 0, type->rank) : 0;
    return true;
}

static bool sums(const simplifier *s, sinter_node node) {
    return sinter_string_is(sinter_node_get_string(s->module, node, "reduction"), "sum");
}

static bool same_cut(const collective *a, const collective *b) {
    return a->axis == b->axis && sinter_mesh_axes_equal(&a->over, &b->over);
}

/* Whether a value has one reader, which stands in its region: there is nothing to gain by what would be done in each turn of a loop
 * instead. */
static bool has_one_use_beside(const simplifier *s, sinter_value value) {
    if (!sinter_value_has_one_use(s->module, value)) return false;
    sinter_node reader = sinter_value_get(s->module, value)->uses.items[0].node;
    return sinter_node_get(s->module, reader)->parent ==
           sinter_node_get(s->module, sinter_value_definition(s->module, value))->parent;
}

static void replace(simplifier *s, sinter_node node, sinter_value value) {
    if (value) sinter_rewrite_replace_node(s->rewrite, node, &value);
}

/* Part of a sum: the part is summed. */
static void slice_of_sum(simplifier *s, const collective *slice, const collective *sum) {
    sinter_builder *build = &s->rewrite->build;
    uint32_t all = sinter_mesh_axes_mask(&sum->over), own = sinter_mesh_axes_mask(&slice->over);
    if (!sums(s, sum->node) || own & ~all || !has_one_use_beside(s, slice->x)) return;
    sinter_attr attr = sinter_attr_int("axis", slice->axis);
    sinter_value x =
        sinter_shard_build(build, SINTER_OP_reduce_scatter, sum->x, &slice->over, &attr, 1);
    sinter_mesh_axes rest = {0};
    for (uint32_t i = 0; i < sum->over.count; i++)
        if (!(own >> sum->over.items[i] & 1)) sinter_mesh_axes_add(&rest, sum->over.items[i]);
    if (rest.count) x = sinter_shard_build(build, SINTER_OP_all_reduce, x, &rest, NULL, 0);
    replace(s, slice->node, x);
}

/* The part that each rank cuts from what they had put together along another axis. */
static void slice_of_gathered(simplifier *s, const collective *slice, const collective *gathered) {
    if (!sinter_mesh_axes_equal(&slice->over, &gathered->over)) return;
    if (slice->axis == gathered->axis) {
        replace(s, slice->node, gathered->x);
        return;
    }
    if (!has_one_use_beside(s, slice->x)) return;
    sinter_attr attributes[] = {
        sinter_attr_int("split_axis", slice->axis), sinter_attr_int("concat_axis", gathered->axis),
        sinter_attr_int("size", sinter_node_get_int(s->module, gathered->node, "size", 0))};
    replace(s, slice->node,
            sinter_shard_build(&s->rewrite->build, SINTER_OP_all_to_all, gathered->x, &slice->over,
                               attributes, 3));
}

static void simplify_gather(simplifier *s, const collective *gathered, const collective *part) {
    if (!same_cut(gathered, part)) return;
    if (part->op == SINTER_OP_shard_slice) replace(s, gathered->node, part->x);
    if (part->op == SINTER_OP_reduce_scatter && sums(s, part->node) &&
        has_one_use_beside(s, gathered->x))
        replace(s, gathered->node,
                sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, part->x, &part->over,
                                   NULL, 0));
}

static void sum_of_sums(simplifier *s, const collective *outer, const collective *inner) {
    sinter_mesh_axes over = outer->over;
    if (!sums(s, outer->node) || !sums(s, inner->node) || !has_one_use_beside(s, outer->x) ||
        sinter_mesh_axes_mask(&outer->over) & sinter_mesh_axes_mask(&inner->over))
        return;
    for (uint32_t i = 0; i < inner->over.count; i++)
        sinter_mesh_axes_add(&over, inner->over.items[i]);
    replace(s, outer->node,
            sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, inner->x, &over, NULL, 0));
}

/* Types of whose sums the order changes no more than rounding: integers wrap, and what f32 and bf16 can hold at all no model comes near to.
 * f16 ends at 65504: terms of ranks that cancel in each of two sums may be beyond it where they are added first. So may be those of f8. */
static bool adds_in_any_order(const simplifier *s, sinter_value value) {
    switch (sinter_value_type(s->module, value)->dtype) {
    case SINTER_DTYPE_f32:
    case SINTER_DTYPE_f64:
    case SINTER_DTYPE_bf16:
        return true;
    default:
        return sinter_dtype_is_integer(sinter_value_type(s->module, value)->dtype);
    }
}

/* The sum of two sums over the same ranks is one sum. */
static void added_sums(simplifier *s, sinter_node node) {
    sinter_value a = sinter_node_operand(s->module, node, 0),
                 b = sinter_node_operand(s->module, node, 1);
    collective left, right;
    if (!get(s, a, &left) || !get(s, b, &right) || left.op != SINTER_OP_all_reduce ||
        right.op != SINTER_OP_all_reduce || a == b || !adds_in_any_order(s, a) ||
        !sums(s, left.node) || !sums(s, right.node) ||
        !sinter_mesh_axes_equal(&left.over, &right.over) || !has_one_use_beside(s, a) ||
        !has_one_use_beside(s, b) ||
        !sinter_type_equal(sinter_value_type(s->module, a), sinter_value_type(s->module, b)))
        return;
    sinter_value sum = sinter_build_binary(&s->rewrite->build, SINTER_OP_add, left.x, right.x);
    replace(s, node,
            sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, sum, &left.over, NULL, 0));
}

/* ---- gathers, and what is computed beside them ---- */

/* Bits of a tensor. */
static sinter_dim bits_of(const simplifier *s, const sinter_type *type) {
    sinter_dim_table *dims = sinter_module_dims(s->module);
    sinter_dim bits = sinter_dim_const(dims, sinter_dtype_infos[type->dtype].bits);
    for (uint32_t i = 0; i < type->rank; i++) bits = sinter_dim_mul(dims, bits, type->dims[i]);
    return bits;
}

/* Nodes that state no sizes, so that the same node makes the part of a part. */
static bool can_take_parts(const simplifier *s, sinter_node node) {
    sinter_op op = sinter_node_op(s->module, node);
    sinter_pattern pattern = sinter_op_get_info(op)->pattern;
    return (pattern == SINTER_PATTERN_ELEMENTWISE || pattern == SINTER_PATTERN_REDUCE ||
            sinter_op_has_trait(op, SINTER_TRAIT_SIZELESS)) &&
           sinter_node_get(s->module, node)->result_count == 1;
}

enum { NO_AXIS = -1, UNFIT_AXIS = -2 };

/* The axis of an operand or result that is the factor's, index by index and nothing else. */
static int64_t axis_of(const sinter_axis_map *map, bool is_result, uint32_t index,
                       uint32_t factor) {
    int64_t axis = NO_AXIS;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->is_result != is_result || link->index != index || link->factor != factor)
            continue;
        if (axis != NO_AXIS || link->offset != 0 || link->run != 1 || link->blocks != 1)
            return UNFIT_AXIS;
        axis = link->axis;
    }
    for (size_t i = 0; axis >= 0 && i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->is_result == is_result && link->index == index && link->axis == axis &&
            link->factor != factor)
            return UNFIT_AXIS;
    }
    return axis;
}

/* The factor that all of this axis is, of those that are only followed; -1: none. */
static int64_t factor_of(const sinter_axis_map *map, bool is_result, uint32_t index, int64_t axis,
                         sinter_dim size) {
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->is_result == is_result && link->index == index && link->axis == axis &&
            map->factors.items[link->factor].kind == SINTER_AXIS_ALONG &&
            map->factors.items[link->factor].size == size &&
            axis_of(map, is_result, index, link->factor) == axis)
            return link->factor;
    }
    return -1;
}

/* The same node of other operands. */
static sinter_value build_like(simplifier *s, sinter_node node, const sinter_value *operands) {
    const sinter_node_info info = *sinter_node_get(s->module, node);
    return sinter_build(&s->rewrite->build, info.op, operands, info.operand_count, info.attributes,
                        info.attribute_count);
}

static sinter_value gather_like(simplifier *s, const collective *gathered, sinter_value x,
                                int64_t axis) {
    const sinter_attr attributes[] = {
        sinter_attr_int("axis", axis),
        sinter_attr_int("size", sinter_node_get_int(s->module, gathered->node, "size", 0))};
    return sinter_shard_build(&s->rewrite->build, SINTER_OP_all_gather, x, &gathered->over,
                              attributes, 2);
}

/* This rank's part of a constant, which all ranks have whole. */
static sinter_value slice_like(simplifier *s, const collective *gathered, sinter_value constant,
                               int64_t axis) {
    const sinter_attr attribute = sinter_attr_int("axis", axis);
    return sinter_shard_build(&s->rewrite->build, SINTER_OP_shard_slice, constant, &gathered->over,
                              &attribute, 1);
}

static bool can_be_gathered(const sinter_type *type) {
    return type->kind == SINTER_TYPE_TENSOR && type->rank <= SINTER_SHARD_MAX_RANK &&
           sinter_sharding_can_send(type->dtype);
}

/* A node that reads what is gathered, and what it would be of parts. Whatever else it reads has to be gathered alike, or be the same on
 * all ranks, as constants are. One in a branch or loop stays: what is gathered before it would be gathered in each turn. */
typedef struct reader {
    sinter_node node;
    int64_t axis; /* of its result */
    sinter_axis_map map;
    uint32_t factor;
} reader;

static bool is_gathered_alike(const simplifier *s, const collective *gathered, sinter_value value,
                              int64_t axis, collective *out) {
    return get(s, value, out) && out->op == SINTER_OP_all_gather && out->axis == axis &&
           sinter_mesh_axes_equal(&out->over, &gathered->over) &&
           sinter_node_get_int(s->module, out->node, "size", 0) ==
               sinter_node_get_int(s->module, gathered->node, "size", 0);
}

static bool read_parts(const simplifier *s, const collective *gathered, sinter_use use,
                       reader *out) {
    collective other;
    if (!can_take_parts(s, use.node)) return false;
    const sinter_node_info *info = sinter_node_get(s->module, use.node);
    if (info->parent != sinter_node_get(s->module, gathered->node)->parent) return false;
    out->node = use.node;
    out->map = (sinter_axis_map){0};
    sinter_axes_describe(s->module, use.node, s->scratch, &out->map);
    sinter_dim size =
        sinter_value_type(s->module, info->operands[use.operand])->dims[gathered->axis];
    int64_t factor = factor_of(&out->map, false, use.operand, gathered->axis, size);
    if (factor < 0) return false;
    out->factor = (uint32_t)factor;
    out->axis = axis_of(&out->map, true, 0, out->factor);
    bool good = out->axis >= 0 && can_be_gathered(sinter_value_type(s->module, info->results[0]));
    for (uint32_t i = 0; good && i < info->operand_count; i++) {
        sinter_value value = info->operands[i];
        int64_t axis = axis_of(&out->map, false, i, out->factor);
        good =
            !value || (axis != UNFIT_AXIS && (sinter_value_constant(s->module, value) ||
                                              is_gathered_alike(s, gathered, value, axis, &other)));
    }
    return good;
}

/* The node on parts, gathered afterwards. */
static void compute_before(simplifier *s, const collective *gathered, const reader *r) {
    const sinter_node_info info = *sinter_node_get(s->module, r->node);
    sinter_value *operands = SINTER_NEW_ARRAY(s->scratch, sinter_value, info.operand_count);
    collective other;
    sinter_rewrite_at(s->rewrite, r->node);
    for (uint32_t i = 0; i < info.operand_count; i++) {
        int64_t axis = axis_of(&r->map, false, i, r->factor);
        operands[i] = info.operands[i];
        if (!operands[i] || axis < 0) continue;
        operands[i] = is_gathered_alike(s, gathered, operands[i], axis, &other)
                          ? other.x
                          : slice_like(s, gathered, operands[i], axis);
        if (!operands[i]) return;
    }
    sinter_value part = build_like(s, r->node, operands);
    replace(s, r->node, part ? gather_like(s, gathered, part, r->axis) : 0);
}

static bool came_earlier(const sinter_use *uses, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (uses[k].node == uses[i].node) return true;
    return false;
}

/* Whether all that is read of it can be made of parts, and is no more to send then: less of several nodes, each of which is gathered. */
static bool is_less_later(const simplifier *s, const collective *gathered) {
    sinter_dim_table *dims = sinter_module_dims(s->module);
    sinter_value whole = sinter_node_result(s->module, gathered->node, 0);
    const sinter_value_info *info = sinter_value_get(s->module, whole);
    sinter_dim later = sinter_dim_const(dims, 0);
    size_t count = 0;
    reader r;
    for (size_t i = 0; i < info->uses.count; i++) {
        if (!read_parts(s, gathered, info->uses.items[i], &r)) return false;
        if (came_earlier(info->uses.items, i)) continue; /* one that reads it twice */
        count++;
        later = sinter_dim_add(
            dims, later,
            bits_of(s, sinter_value_type(s->module, sinter_node_result(s->module, r.node, 0))));
    }
    if (count > 1) later = sinter_dim_add(dims, later, sinter_dim_const(dims, 1));
    return sinter_dim_known_le(dims, later, bits_of(s, sinter_value_type(s->module, whole)));
}

/* A node that reads what is gathered, perhaps. */
static void gather_later(simplifier *s, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(s->module, node);
    collective gathered;
    reader r;
    if (!can_take_parts(s, node)) return;
    for (uint32_t i = 0; i < info.operand_count; i++) {
        if (!info.operands[i] || !get(s, info.operands[i], &gathered) ||
            gathered.op != SINTER_OP_all_gather || !is_less_later(s, &gathered) ||
            !read_parts(s, &gathered, (sinter_use){node, i}, &r))
            continue;
        compute_before(s, &gathered, &r);
        return;
    }
}

/* What makes elements wider is done after they are gathered: then less is sent. */
static void gather_earlier(simplifier *s, const collective *gathered) {
    sinter_node node = sinter_value_definition(s->module, gathered->x);
    sinter_dim_table *dims = sinter_module_dims(s->module);
    sinter_axis_map map = {0};
    if (!node || !can_take_parts(s, node) || !has_one_use_beside(s, gathered->x)) return;
    const sinter_node_info info = *sinter_node_get(s->module, node);
    sinter_axes_describe(s->module, node, s->scratch, &map);
    sinter_dim size = sinter_value_type(s->module, gathered->x)->dims[gathered->axis];
    int64_t factor = factor_of(&map, true, 0, gathered->axis, size), wide = -1, axis = NO_AXIS;
    for (uint32_t i = 0; factor >= 0 && i < info.operand_count; i++) {
        int64_t own = axis_of(&map, false, i, (uint32_t)factor);
        if (own == UNFIT_AXIS) return;
        if (!info.operands[i] ||
            (own == NO_AXIS && sinter_value_constant(s->module, info.operands[i])))
            continue;
        if (own == NO_AXIS || wide >= 0) return; /* one is gathered */
        wide = i;
        axis = own;
    }
    if (factor < 0 || wide < 0) return;
    const sinter_type *type = sinter_value_type(s->module, info.operands[wide]);
    if (type->dims[axis] != size || !can_be_gathered(type)) return;
    sinter_dim before = bits_of(s, type);
    if (!sinter_dim_known_le(dims, sinter_dim_add(dims, before, sinter_dim_const(dims, 1)),
                             bits_of(s, sinter_value_type(s->module, gathered->x))))
        return;
    sinter_value *operands = SINTER_NEW_ARRAY(s->scratch, sinter_value, info.operand_count);
    for (uint32_t i = 0; i < info.operand_count; i++) operands[i] = info.operands[i];
    operands[wide] = gather_like(s, gathered, operands[wide], axis);
    if (operands[wide]) replace(s, gathered->node, build_like(s, node, operands));
}

static bool is_erased(const simplifier *s, sinter_node node) {
    return sinter_node_get(s->module, node)->erased;
}

static void simplify_pair(simplifier *s, const collective *outer, const collective *inner) {
    if (outer->op == SINTER_OP_shard_slice && inner->op == SINTER_OP_all_reduce)
        slice_of_sum(s, outer, inner);
    else if (outer->op == SINTER_OP_shard_slice && inner->op == SINTER_OP_all_gather)
        slice_of_gathered(s, outer, inner);
    else if (outer->op == SINTER_OP_all_gather)
        simplify_gather(s, outer, inner);
    else if (outer->op == SINTER_OP_all_reduce && inner->op == SINTER_OP_all_reduce)
        sum_of_sums(s, outer, inner);
}

static void visit(void *user, sinter_node node) {
    simplifier *s = user;
    collective outer, inner;
    sinter_rewrite_at(s->rewrite, node);
    if (sinter_node_op(s->module, node) == SINTER_OP_add) added_sums(s, node);
    if (is_erased(s, node)) return;
    gather_later(s, node);
    if (is_erased(s, node) || !sinter_node_result(s->module, node, 0) ||
        !get(s, sinter_node_result(s->module, node, 0), &outer))
        return;
    if (get(s, outer.x, &inner)) simplify_pair(s, &outer, &inner);
    if (outer.op == SINTER_OP_all_gather && !is_erased(s, node)) gather_earlier(s, &outer);
}

void sinter_pass_shard_simplify(sinter_pass_context *context) {
    simplifier s = {context->module, &context->rewrite, &context->scratch};
    size_t before;
    do { /* what one makes simple, another may see */
        before = context->rewrite.change_count;
        sinter_pass_visit_nodes(context->module, visit, &s);
    } while (context->rewrite.change_count != before);
}
