/* What a rank does for itself - its part of a value, masks - in plain operators, where the module says which rank it is
 * (`mesh ... rank 3`). Weights become the rank's part of them. What sends is the same on all ranks, in the same order; pieces that
 * it exchanges lie one after the other in memory afterwards (passes/shard_pack.h), and are whole bytes (passes/shard_bytes.h).
 * Test: tests/passes/shard_localize/ */
#include "ir/eval.h"
#include "ir/sharding.h"
#include "passes/pass.h"
#include "passes/shard_build.h"
#include "passes/shard_bytes.h"
#include "passes/shard_pack.h"

#include <math.h>

typedef struct localizer {
    sinter_module *module;
    sinter_rewrite *rewrite;
    const sinter_mesh *mesh;
} localizer;

/* The number that a mask puts in the tail of a part. */
static double fill_number(const localizer *l, sinter_node node, sinter_dtype dtype) {
    sinter_string name = sinter_node_get_string(l->module, node, "fill");
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    bool is_signed = info->class == SINTER_CLASS_INT;
    double bits = (double)info->bits, top = 1;
    while (bits-- > (is_signed ? 1 : 0)) top *= 2;
    if (sinter_string_is(name, "one")) return 1;
    if (sinter_string_is(name, "zero")) return 0;
    bool low = sinter_string_is(name, "lowest");
    if (info->class == SINTER_CLASS_FLOAT) return low ? -(double)INFINITY : (double)INFINITY;
    return low ? (is_signed ? -top : 0) : top - 1;
}

/* Numbers that do not fit a double are made of the bits they have. */
static sinter_value build_fill(localizer *l, sinter_node node, sinter_dtype dtype) {
    sinter_tensor tensor;
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_FLOAT || info->bits < 64 || dtype == SINTER_DTYPE_bool)
        return sinter_build_scalar(&l->rewrite->build, dtype, fill_number(l, node, dtype));
    if (!sinter_tensor_create(&tensor, dtype, 0, NULL, l->rewrite->build.diag)) return 0;
    sinter_string name = sinter_node_get_string(l->module, node, "fill");
    bool low = sinter_string_is(name, "lowest"), high = sinter_string_is(name, "highest");
    int64_t number = sinter_string_is(name, "one") ? 1 : 0;
    if (low && dtype == SINTER_DTYPE_i64) number = INT64_MIN;
    if (high) number = dtype == SINTER_DTYPE_i64 ? INT64_MAX : -1;
    sinter_tensor_set_int(&tensor, 0, number);
    return sinter_build_constant(&l->rewrite->build, tensor);
}

/* Indices [first, first + valid) of an axis in room for `chunk`, filled up. */
static sinter_value build_part(localizer *l, sinter_value x, uint32_t axis, int64_t first,
                               int64_t valid, int64_t chunk, sinter_value fill) {
    sinter_builder *build = &l->rewrite->build;
    const sinter_type *type = sinter_value_type(l->module, x);
    int64_t size = 0, pads[2 * SINTER_MAX_RANK] = {0};
    sinter_dim dims[SINTER_MAX_RANK];
    sinter_dim_is_const(sinter_module_dims(l->module), type->dims[axis], &size);
    if (valid <= 0 && chunk > 0) {
        for (uint32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i];
        dims[axis] = sinter_dim_const(sinter_module_dims(l->module), chunk);
        sinter_value operands[] = {fill, sinter_build_dims(build, dims, type->rank)};
        return sinter_build(build, SINTER_OP_expand, operands, 2, NULL, 0);
    }
    uint32_t rank = type->rank;
    if (first != 0 || valid != size) x = sinter_shard_slice(build, x, axis, first, first + valid);
    if (valid == chunk) return x;
    pads[rank + axis] = chunk - valid;
    sinter_value operands[] = {x, sinter_build_ints(build, pads, 2 * (size_t)rank), fill};
    return sinter_build(build, SINTER_OP_pad, operands, 3, NULL, 0);
}

/* Constants are cut now: a rank carries no more than its part. */
static sinter_value cut_constant(localizer *l, sinter_node node) {
    const sinter_tensor *operand =
        sinter_value_constant(l->module, sinter_node_operand(l->module, node, 0));
    sinter_tensor part;
    if (!operand || !sinter_eval_node(l->module, node, &operand, &part, l->rewrite->build.diag))
        return 0;
    return sinter_build_constant(&l->rewrite->build, part);
}

static sinter_value localize(localizer *l, sinter_node node, const sinter_mesh_axes *over) {
    sinter_builder *build = &l->rewrite->build;
    sinter_op op = sinter_node_op(l->module, node);
    sinter_value x = sinter_node_operand(l->module, node, 0), constant = cut_constant(l, node);
    const sinter_type type = *sinter_value_type(l->module, x);
    if (constant) return constant;
    if (op == SINTER_OP_shard_first) {
        if (sinter_mesh_place(l->mesh, over, l->mesh->rank) == 0) return x;
        sinter_value operands[] = {sinter_build_scalar(build, type.dtype, 0),
                                   sinter_build_dims(build, type.dims, type.rank)};
        return sinter_build(build, SINTER_OP_expand, operands, 2, NULL, 0);
    }
    int64_t size = sinter_node_get_int(l->module, node, "size", 0), room = 0;
    uint32_t axis = sinter_node_get_axis(l->module, node, 0, type.rank);
    sinter_dim_is_const(sinter_module_dims(l->module), type.dims[axis], &room);
    bool masks = op == SINTER_OP_shard_mask;
    sinter_mesh_part part = sinter_mesh_part_of(l->mesh, over, masks ? size : room, l->mesh->rank);
    sinter_value fill = masks ? build_fill(l, node, type.dtype) : 0;
    if (!masks && part.valid < part.chunk) fill = sinter_build_scalar(build, type.dtype, 0);
    return build_part(l, x, axis, masks ? 0 : part.offset, part.valid, part.chunk, fill);
}

static void visit(void *user, sinter_node node) {
    localizer *l = user;
    sinter_mesh_axes over;
    const sinter_op_info *op = sinter_op_get_info(sinter_node_op(l->module, node));
    if (op->pattern != SINTER_PATTERN_COLLECTIVE ||
        !sinter_node_get_mesh_axes(l->module, node, &over))
        return;
    sinter_rewrite_at(l->rewrite, node);
    sinter_builder *build = &l->rewrite->build;
    sinter_dtype dtype =
        sinter_value_type(l->module, sinter_node_operand(l->module, node, 0))->dtype;
    sinter_value value =
        sinter_node_op(l->module, node) == SINTER_OP_shard_window
            ? sinter_shard_pack_window(build, node, &over, build_fill(l, node, dtype))
        : sinter_op_sends(sinter_node_op(l->module, node)) ? sinter_shard_pack(build, node, &over)
                                                           : localize(l, node, &over);
    if (value) sinter_rewrite_replace_node(l->rewrite, node, &value);
}

/* Pieces lie one after the other now. */
static void make_bytes(void *user, sinter_node node) {
    localizer *l = user;
    if (!sinter_op_sends(sinter_node_op(l->module, node))) return;
    sinter_rewrite_at(l->rewrite, node);
    sinter_value value = sinter_shard_send_bytes(&l->rewrite->build, node);
    if (value) sinter_rewrite_replace_node(l->rewrite, node, &value);
}

void sinter_pass_shard_localize(sinter_pass_context *context) {
    localizer l = {context->module, &context->rewrite, sinter_module_mesh(context->module)};
    if (l.mesh->rank < 0) return;
    sinter_pass_visit_nodes(context->module, visit, &l);
    sinter_pass_visit_nodes(context->module, make_bytes, &l);
}
