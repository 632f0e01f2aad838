/* A stack is a value with the pieces of a group along a new axis 0; sizes of axes that are not cut may be symbols. Test: tests/passes/shard_localize/ */
#include "passes/shard_pack.h"
#include "passes/shard_build.h"

#include <string.h>

typedef struct packer {
    sinter_builder *build;
    sinter_module *module;
    const sinter_mesh *mesh;
    const sinter_mesh_axes *over;
    int64_t ranks;
} packer;

static sinter_dim_table *dims_of(const packer *p) {
    return sinter_module_dims(p->module);
}

static uint32_t get_dims(const packer *p, sinter_value x, sinter_dim *out_dims) {
    const sinter_type *type = sinter_value_type(p->module, x);
    if (type->rank) memcpy(out_dims, type->dims, type->rank * sizeof *out_dims);
    return type->rank;
}

/* Of an axis that is cut: it is a number, whatever the others are. */
static int64_t number_of(const packer *p, sinter_dim dim) {
    int64_t number = 0;
    sinter_dim_is_const(dims_of(p), dim, &number);
    return number;
}

static sinter_value concat(const packer *p, const sinter_value *pieces, size_t count,
                           int64_t axis) {
    sinter_attr attr = sinter_attr_int("axis", axis);
    if (count == 1) return pieces[0];
    return sinter_build(p->build, SINTER_OP_concat, pieces, (uint32_t)count, &attr, 1);
}

/* The part of a place, whatever the rank of this program. */
static sinter_mesh_part part_at(const packer *p, int64_t size, int64_t place) {
    return sinter_mesh_part_of(p->mesh, p->over, size,
                               sinter_mesh_rank_at(p->mesh, p->over, p->mesh->rank, place));
}

/* Axis of `size` = ranks * chunk of x, in front of the others or back at its place. */
static sinter_value move_axis(const packer *p, sinter_value x, uint32_t axis, int64_t chunk,
                              bool to_front) {
    sinter_dim dims[SINTER_MAX_RANK + 1], split[SINTER_MAX_RANK + 1];
    int64_t perm[SINTER_MAX_RANK + 1];
    uint32_t rank = get_dims(p, x, dims);
    if (to_front) { /* [a, R * c, b] -> [a, R, c, b] -> [R, a, c, b] */
        memcpy(split, dims, axis * sizeof *dims);
        split[axis] = sinter_dim_const(dims_of(p), p->ranks);
        split[axis + 1] = sinter_dim_const(dims_of(p), chunk);
        memcpy(split + axis + 2, dims + axis + 1, (rank - axis - 1) * sizeof *dims);
        x = sinter_build_reshape_dims(p->build, x, split, rank + 1);
        perm[0] = axis;
        for (uint32_t i = 1; i <= rank; i++) perm[i] = i <= axis ? i - 1 : i;
        return axis ? sinter_build_transpose(p->build, x, perm, rank + 1) : x;
    }
    /* [R, a, c, b] -> [a, R, c, b] -> [a, R * c, b] */
    for (uint32_t i = 0; i < rank; i++) perm[i] = i < axis ? i + 1 : i == axis ? 0 : i;
    if (axis) x = sinter_build_transpose(p->build, x, perm, rank);
    memcpy(split, dims + 1, (rank - 1) * sizeof *dims);
    split[axis] = sinter_dim_const(dims_of(p), p->ranks * chunk);
    return sinter_build_reshape_dims(p->build, x, split, rank - 1);
}

/* The pieces that the places have of an axis, padded with zeros, as a stack. */
static sinter_value stack(const packer *p, sinter_value x, uint32_t axis) {
    sinter_dim dims[SINTER_MAX_RANK + 1];
    int64_t pads[2 * SINTER_MAX_RANK + 2];
    uint32_t rank = get_dims(p, x, dims);
    int64_t size = number_of(p, dims[axis]), chunk = part_at(p, size, 0).chunk;
    if (size == chunk * p->ranks) return move_axis(p, x, axis, chunk, true);
    sinter_value *pieces = SINTER_NEW_ARRAY(sinter_module_arena(p->module), sinter_value, p->ranks);
    for (int64_t place = 0; place < p->ranks; place++) {
        sinter_mesh_part part = part_at(p, size, place);
        int64_t first = part.valid ? part.offset : 0;
        sinter_value piece = sinter_shard_slice(p->build, x, axis, first, first + part.valid);
        memset(pads, 0, sizeof pads);
        pads[rank + axis] = chunk - part.valid;
        sinter_value operands[] = {piece, sinter_build_ints(p->build, pads, 2 * (size_t)rank)};
        if (part.valid < chunk) piece = sinter_build(p->build, SINTER_OP_pad, operands, 2, NULL, 0);
        sinter_dim shape[SINTER_MAX_RANK + 1] = {sinter_dim_const(dims_of(p), 1)};
        memcpy(shape + 1, dims, rank * sizeof *dims);
        shape[axis + 1] = sinter_dim_const(dims_of(p), chunk);
        pieces[place] = sinter_build_reshape_dims(p->build, piece, shape, rank + 1);
    }
    return concat(p, pieces, (size_t)p->ranks, 0);
}

/* An axis of `size` out of the stack of its pieces. */
static sinter_value unstack(const packer *p, sinter_value x, uint32_t axis, int64_t size) {
    sinter_dim dims[SINTER_MAX_RANK + 1];
    uint32_t rank = get_dims(p, x, dims);
    int64_t chunk = number_of(p, dims[axis + 1]);
    if (size == chunk * p->ranks) return move_axis(p, x, axis, chunk, false);
    size_t count = 0;
    sinter_value *pieces = SINTER_NEW_ARRAY(sinter_module_arena(p->module), sinter_value, p->ranks);
    for (int64_t place = 0; place < p->ranks; place++) {
        sinter_mesh_part part = part_at(p, size, place);
        if (!part.valid) continue;
        sinter_value piece = sinter_shard_slice(p->build, x, 0, place, place + 1);
        piece = sinter_build_reshape_dims(p->build, piece, dims + 1, rank - 1);
        pieces[count++] =
            part.valid < chunk ? sinter_shard_slice(p->build, piece, axis, 0, part.valid) : piece;
    }
    return concat(p, pieces, count, axis);
}

/* ---- the collectives ---- */

static sinter_value pack_gather(const packer *p, sinter_node node, sinter_value x) {
    sinter_dim dims[SINTER_MAX_RANK + 1] = {sinter_dim_const(dims_of(p), 1)};
    uint32_t rank = get_dims(p, x, dims + 1);
    uint32_t axis = sinter_node_get_axis(p->module, node, 0, rank);
    int64_t size = sinter_node_get_int(p->module, node, "size", 0);
    if (axis == 0 && size == number_of(p, dims[1]) * p->ranks) return 0;
    sinter_attr attributes[] = {sinter_attr_int("axis", 0), sinter_attr_int("size", p->ranks)};
    x = sinter_build_reshape_dims(p->build, x, dims, rank + 1);
    x = sinter_shard_build(p->build, SINTER_OP_all_gather, x, p->over, attributes, 2);
    return unstack(p, x, axis, size);
}

static sinter_value pack_scatter(const packer *p, sinter_node node, sinter_value x) {
    sinter_dim dims[SINTER_MAX_RANK + 1];
    uint32_t rank = get_dims(p, x, dims);
    uint32_t axis = sinter_node_get_axis(p->module, node, 0, rank);
    int64_t size = number_of(p, dims[axis]);
    if (axis == 0 && size % p->ranks == 0) return 0;
    sinter_attr attributes[] = {
        sinter_attr_int("axis", 0),
        sinter_attr_string("reduction", sinter_node_get_string(p->module, node, "reduction"))};
    dims[axis] = sinter_dim_const(dims_of(p), part_at(p, size, 0).chunk);
    x = stack(p, x, axis);
    x = sinter_shard_build(p->build, SINTER_OP_reduce_scatter, x, p->over, attributes, 2);
    return sinter_build_reshape_dims(p->build, x, dims, rank);
}

static sinter_value pack_exchange(const packer *p, sinter_node node, sinter_value x) {
    sinter_dim dims[SINTER_MAX_RANK + 2], given[SINTER_MAX_RANK + 2];
    sinter_dim one = sinter_dim_const(dims_of(p), 1);
    uint32_t rank = get_dims(p, x, given);
    int64_t split = sinter_node_get_int(p->module, node, "split_axis", 0),
            joined = sinter_node_get_int(p->module, node, "concat_axis", 0),
            size = sinter_node_get_int(p->module, node, "size", 0);
    if (split < 0) split += rank;
    if (joined < 0) joined += rank;
    if (split == 0 && joined == 1 && number_of(p, given[0]) == p->ranks && given[1] == one &&
        size == p->ranks)
        return 0;
    x = stack(p, x, (uint32_t)split);
    get_dims(p, x, dims + 1); /* [R, a...] -> [R, 1, a...] -> [1, R, a...] -> [R, a...] */
    sinter_dim open[SINTER_MAX_RANK + 2] = {dims[1], one};
    memcpy(open + 2, dims + 2, rank * sizeof *dims);
    x = sinter_build_reshape_dims(p->build, x, open, rank + 2);
    sinter_attr attributes[] = {sinter_attr_int("split_axis", 0), sinter_attr_int("concat_axis", 1),
                                sinter_attr_int("size", p->ranks)};
    x = sinter_shard_build(p->build, SINTER_OP_all_to_all, x, p->over, attributes, 3);
    x = sinter_build_reshape_dims(p->build, x, dims + 1, rank + 1);
    return unstack(p, x, (uint32_t)joined, size);
}

sinter_value sinter_shard_pack(sinter_builder *builder, sinter_node node,
                               const sinter_mesh_axes *over) {
    packer p = {builder, builder->module, sinter_module_mesh(builder->module), over, 0};
    sinter_op op = sinter_node_op(p.module, node);
    sinter_value x = sinter_node_operand(p.module, node, 0);
    p.ranks = sinter_mesh_axes_product(p.mesh, over);
    uint32_t rank = sinter_value_type(p.module, x)->rank;
    if (rank > SINTER_SHARD_MAX_RANK && op != SINTER_OP_all_reduce) {
        sinter_error(builder->diag, sinter_node_where(p.module, node),
                     "%s of a tensor of %u axes: ranks exchange parts of tensors of at most %d; "
                     "join axes of it (Reshape), or leave it whole",
                     sinter_op_get_info(op)->name, rank, SINTER_SHARD_MAX_RANK);
        return 0;
    }
    return op == SINTER_OP_all_gather       ? pack_gather(&p, node, x)
           : op == SINTER_OP_reduce_scatter ? pack_scatter(&p, node, x)
           : op == SINTER_OP_all_to_all     ? pack_exchange(&p, node, x)
                                            : 0;
}
