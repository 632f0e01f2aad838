/* Inference of collectives: the same program for all ranks, so parts have the room of the largest one.
 * Test: tests/ir/infer_collective.sir */
#include "ir/infer_rules.h"
#include "ir/sharding.h"

static bool get_axes(sinter_infer *infer, sinter_mesh_axes *out_axes) {
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    if (sinter_node_get_mesh_axes(infer->module, infer->node, out_axes)) return true;
    return sinter_infer_error(infer, "`over` names what is no axis of the mesh, or one twice "
                                     "[collective_c2]");
}

bool infer_all_reduce(sinter_infer *infer) {
    sinter_mesh_axes axes;
    if (!get_axes(infer, &axes)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* Of a collective beside it, whose result nobody else reads. */
bool infer_collective_wait(sinter_infer *infer) {
    const sinter_module *module = infer->module;
    sinter_value y = sinter_node_operand(module, infer->node, 0);
    sinter_node begun = sinter_value_definition(module, y);
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    if (!sinter_op_sends(sinter_node_op(module, begun)) ||
        sinter_node_operand(module, begun, 0) != sinter_node_operand(module, infer->node, 1) ||
        sinter_node_get(module, begun)->parent != sinter_node_get(module, infer->node)->parent)
        return sinter_infer_error(infer, "waits for what is no collective of its second operand "
                                         "[collective_c5]");
    if (!sinter_value_has_one_use(module, y))
        return sinter_infer_error(infer, "others read what is under way [collective_c5]");
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* Each rank gives to one other at most, and gets from one. */
bool infer_collective_permute(sinter_infer *infer) {
    const int64_t *pairs = NULL;
    size_t count = sinter_node_get_ints(infer->module, infer->node, "pairs", &pairs);
    int64_t ranks = sinter_mesh_rank_count(sinter_module_mesh(infer->module));
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    if (count % 2)
        return sinter_infer_error(infer,
                                  "`pairs` has %zu numbers: expected a `from` and a `to` "
                                  "for each of them [collective_c4]",
                                  count);
    uint64_t seen[2][SINTER_MESH_MAX_RANKS / 64] = {{0}}; /* a bit a rank */
    for (size_t i = 0; i < count; i++) {
        if (pairs[i] < 0 || pairs[i] >= ranks)
            return sinter_infer_error(infer, "there is no rank %lld [collective_c4]",
                                      (long long)pairs[i]);
        uint64_t *bits = &seen[i % 2][pairs[i] / 64], bit = UINT64_C(1) << pairs[i] % 64;
        if (*bits & bit)
            return sinter_infer_error(infer,
                                      "rank %lld is named twice on one side "
                                      "[collective_c4]",
                                      (long long)pairs[i]);
        *bits |= bit;
    }
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_shard_first(sinter_infer *infer) {
    return infer_all_reduce(infer);
}

/* Axis `axis` of the operand becomes `size`. */
static bool get_axis(sinter_infer *infer, sinter_mesh_axes *out_axes, uint32_t *out_axis) {
    const uint32_t rank = sinter_infer_operand(infer, 0)->rank;
    return get_axes(infer, out_axes) && sinter_infer_axis_attr(infer, "axis", 0, rank, out_axis);
}

static void set_resized(sinter_infer *infer, uint32_t axis, sinter_dim size) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < x->rank; i++) dims[i] = i == axis ? size : x->dims[i];
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
}

static bool part_of(sinter_infer *infer, const sinter_mesh_axes *axes, sinter_dim size,
                    sinter_dim *out_part) {
    sinter_shard_dim cut = {.axes = *axes};
    *out_part = sinter_sharding_part_dim(infer->module, &cut, size);
    if (*out_part) return true;
    return sinter_infer_error(infer, "an axis of size %s is cut: expected a number [collective_c3]",
                              sinter_infer_dim_text(infer, size));
}

/* Axis `axis` is one rank's part of `size` indices. */
static bool check_part(sinter_infer *infer, const sinter_mesh_axes *axes, uint32_t axis,
                       sinter_dim *out_size) {
    int64_t size = sinter_node_get_int(infer->module, infer->node, "size", 0);
    sinter_dim part = 0;
    if (size < 0 || size > INT64_MAX / SINTER_MESH_MAX_RANKS)
        return sinter_infer_error(infer, "a size of %lld [collective_c3]", (long long)size);
    *out_size = sinter_infer_number(infer, size);
    return part_of(infer, axes, *out_size, &part) &&
           sinter_infer_check_dim(infer, 0, axis, part, "its part of `size`");
}

static bool cut_axis(sinter_infer *infer) {
    sinter_mesh_axes axes;
    uint32_t axis = 0;
    sinter_dim part = 0;
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!get_axis(infer, &axes, &axis) || !part_of(infer, &axes, x->dims[axis], &part))
        return false;
    set_resized(infer, axis, part);
    return true;
}

bool infer_shard_slice(sinter_infer *infer) {
    return cut_axis(infer);
}

bool infer_reduce_scatter(sinter_infer *infer) {
    return cut_axis(infer);
}

/* The whole of what the operand is one rank's part of. */
static bool get_whole(sinter_infer *infer, uint32_t *out_axis, sinter_dim *out_size) {
    sinter_mesh_axes axes;
    return get_axis(infer, &axes, out_axis) && check_part(infer, &axes, *out_axis, out_size);
}

bool infer_all_gather(sinter_infer *infer) {
    uint32_t axis = 0;
    sinter_dim size = 0;
    if (!get_whole(infer, &axis, &size)) return false;
    set_resized(infer, axis, size);
    return true;
}

bool infer_shard_mask(sinter_infer *infer) {
    uint32_t axis = 0;
    sinter_dim size = 0;
    if (!get_whole(infer, &axis, &size)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_all_to_all(sinter_infer *infer) {
    sinter_mesh_axes axes;
    uint32_t split = 0, joined = 0;
    sinter_dim size = 0, part = 0, dims[SINTER_MAX_RANK];
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!get_axes(infer, &axes) ||
        !sinter_infer_axis_attr(infer, "split_axis", 0, x->rank, &split) ||
        !sinter_infer_axis_attr(infer, "concat_axis", 0, x->rank, &joined) ||
        !check_part(infer, &axes, joined, &size) || !part_of(infer, &axes, x->dims[split], &part))
        return false;
    if (split == joined)
        return sinter_infer_error(infer, "split_axis and concat_axis are one [collective_c3]");
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i == joined ? size : i == split ? part : x->dims[i];
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_shard_window(sinter_infer *infer) {
    uint32_t axis = 0;
    sinter_dim size = 0, part = 0;
    sinter_mesh_axes axes;
    int64_t windows = sinter_node_get_int(infer->module, infer->node, "windows", 0), most = 0;
    int64_t stride = sinter_node_get_int(infer->module, infer->node, "stride", 0);
    int64_t reach = sinter_node_get_int(infer->module, infer->node, "reach", 0);
    int64_t before = sinter_node_get_int(infer->module, infer->node, "before", 0);
    if (!get_whole(infer, &axis, &size) || !get_axes(infer, &axes)) return false;
    if (windows < 0 || windows > INT32_MAX || stride < 1 || stride > INT32_MAX || reach < 1 ||
        reach > INT32_MAX || before < 0 || before > INT32_MAX)
        return sinter_infer_error(
            infer,
            "%lld windows of %lld indices, %lld apart, from -%lld on: expected "
            "positive numbers of 32 bits [collective_c3]",
            (long long)windows, (long long)reach, (long long)stride, (long long)before);
    if (!part_of(infer, &axes, sinter_infer_number(infer, windows), &part)) return false;
    sinter_dim_is_const(infer->dims, part, &most);
    set_resized(infer, axis, sinter_infer_number(infer, most ? (most - 1) * stride + reach : 0));
    return true;
}
