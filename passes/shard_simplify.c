/* Fewer and smaller collectives: pairs that undo each other go, a sum of which each rank keeps a part is a reduce-scatter, sums
 * of sums are one, parts that only change the axis they are cut along are exchanged directly. What pads a part may be
 * something else afterwards; whoever sums over it masks it.
 * Guarantees: values stay what they are on every rank, to the bit but for the order of sums over several axes.
 * Test: tests/passes/shard_simplify/ */
#include "passes/pass.h"
#include "passes/shard_build.h"

typedef struct simplifier {
    sinter_module *module;
    sinter_rewrite *rewrite;
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

static void replace(simplifier *s, sinter_node node, sinter_value value) {
    if (value) sinter_rewrite_replace_node(s->rewrite, node, &value);
}

/* Part of a sum: the part is summed. */
static void slice_of_sum(simplifier *s, const collective *slice, const collective *sum) {
    sinter_builder *build = &s->rewrite->build;
    uint32_t all = sinter_mesh_axes_mask(&sum->over), own = sinter_mesh_axes_mask(&slice->over);
    if (!sums(s, sum->node) || own & ~all || !sinter_value_has_one_use(s->module, slice->x)) return;
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
    if (!sinter_value_has_one_use(s->module, slice->x)) return;
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
        sinter_value_has_one_use(s->module, gathered->x))
        replace(s, gathered->node,
                sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, part->x, &part->over,
                                   NULL, 0));
}

static void sum_of_sums(simplifier *s, const collective *outer, const collective *inner) {
    sinter_mesh_axes over = outer->over;
    if (!sums(s, outer->node) || !sums(s, inner->node) ||
        !sinter_value_has_one_use(s->module, outer->x) ||
        sinter_mesh_axes_mask(&outer->over) & sinter_mesh_axes_mask(&inner->over))
        return;
    for (uint32_t i = 0; i < inner->over.count; i++)
        sinter_mesh_axes_add(&over, inner->over.items[i]);
    replace(s, outer->node,
            sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, inner->x, &over, NULL, 0));
}

/* The sum of two sums over the same ranks is one sum. */
static void added_sums(simplifier *s, sinter_node node) {
    sinter_value a = sinter_node_operand(s->module, node, 0),
                 b = sinter_node_operand(s->module, node, 1);
    collective left, right;
    if (!get(s, a, &left) || !get(s, b, &right) || left.op != SINTER_OP_all_reduce ||
        right.op != SINTER_OP_all_reduce || a == b || !sums(s, left.node) || !sums(s, right.node) ||
        !sinter_mesh_axes_equal(&left.over, &right.over) ||
        !sinter_value_has_one_use(s->module, a) || !sinter_value_has_one_use(s->module, b) ||
        !sinter_type_equal(sinter_value_type(s->module, a), sinter_value_type(s->module, b)))
        return;
    sinter_value sum = sinter_build_binary(&s->rewrite->build, SINTER_OP_add, left.x, right.x);
    replace(s, node,
            sinter_shard_build(&s->rewrite->build, SINTER_OP_all_reduce, sum, &left.over, NULL, 0));
}

static void visit(void *user, sinter_node node) {
    simplifier *s = user;
    collective outer, inner;
    sinter_rewrite_at(s->rewrite, node);
    if (sinter_node_op(s->module, node) == SINTER_OP_add) added_sums(s, node);
    if (sinter_node_get(s->module, node)->erased || !sinter_node_result(s->module, node, 0) ||
        !get(s, sinter_node_result(s->module, node, 0), &outer) || !get(s, outer.x, &inner))
        return;
    if (outer.op == SINTER_OP_shard_slice && inner.op == SINTER_OP_all_reduce)
        slice_of_sum(s, &outer, &inner);
    else if (outer.op == SINTER_OP_shard_slice && inner.op == SINTER_OP_all_gather)
        slice_of_gathered(s, &outer, &inner);
    else if (outer.op == SINTER_OP_all_gather)
        simplify_gather(s, &outer, &inner);
    else if (outer.op == SINTER_OP_all_reduce && inner.op == SINTER_OP_all_reduce)
        sum_of_sums(s, &outer, &inner);
}

void sinter_pass_shard_simplify(sinter_pass_context *context) {
    simplifier s = {context->module, &context->rewrite};
    size_t before;
    do { /* what one makes simple, another may see */
        before = context->rewrite.change_count;
        sinter_pass_visit_nodes(context->module, visit, &s);
    } while (context->rewrite.change_count != before);
}
