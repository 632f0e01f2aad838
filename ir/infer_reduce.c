/* Inference of reductions: axes from an operand (known or not) or an attribute. Also what else removes or keeps one
 * axis: argmax, running sums. Test: tests/ir/infer_reduce.sir */
#include "ir/infer_rules.h"

/* Axes read at run time. With keepdims each dim is its own or 1, decided by which axes are named; without, the rank
 * is the operand's less the number of axes, and only the node knows the dims. */
static bool reduce_unknown_axes(sinter_infer *infer, bool keep) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_dim_table *table = infer->dims;
    const sinter_dim *axes;
    size_t count;
    bool demanded = sinter_infer_demand_content(infer, 1, &axes, &count);
    if (!keep) {
        const sinter_type *declared = sinter_infer_declared(infer, 0);
        bool noop = sinter_node_get_int(infer->module, infer->node, "noop_with_empty_axes", 0) != 0;
        if (!demanded && !declared->kind)
            return sinter_infer_error(
                infer, "the rank of the result depends on how many axes %s has [reduce_c1]",
                sinter_infer_text(infer, 1));
        uint32_t rank = !demanded ? declared->rank
                        : count   ? data->rank - (uint32_t)count
                        : noop    ? data->rank
                                  : 0;
        if (demanded && count > data->rank)
            return sinter_infer_error(infer, "%zu axes for %s [reduce_c2]", count,
                                      sinter_infer_text(infer, 0));
        sinter_infer_set_unknown(infer, 0, data->dtype, rank, "reduced");
        return true;
    }
    sinter_dim dims[SINTER_MAX_RANK], one = sinter_infer_number(infer, 1);
    for (uint32_t i = 0; i < data->rank; i++) {
        dims[i] = demanded ? data->dims[i] : sinter_infer_node_dim(infer, 0, i, "reduced");
        for (size_t a = 0; demanded && a < count; a++) {
            /* axis == i or axis == i - rank */
            for (int64_t name = i; name >= (int64_t)i - data->rank; name -= data->rank) {
                sinter_dim off = sinter_infer_plus(infer, axes[a], -name);
                sinter_dim hit = sinter_dim_min(table, off, sinter_infer_times(infer, off, -1));
                dims[i] = sinter_dim_select(table, hit, one, dims[i]);
            }
        }
    }
    sinter_infer_set(infer, 0, data->dtype, data->rank, dims);
    return true;
}

/* The operand's dims with the marked axes made 1 or dropped. */
static void set_reduced(sinter_infer *infer, sinter_dtype dtype, uint32_t mask, bool keep) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    for (uint32_t i = 0; i < data->rank; i++) {
        bool reduced = mask >> i & 1;
        if (!reduced || keep)
            dims[rank++] = reduced ? sinter_infer_number(infer, 1) : data->dims[i];
    }
    sinter_infer_set(infer, 0, dtype, rank, dims);
}

bool infer_reduce(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    bool keep = sinter_node_get_int(infer->module, infer->node, "keepdims", 1) != 0;
    const int64_t *axes = NULL;
    size_t count = 0;
    if (!sinter_infer_check_rank(infer, 1, 0, 1)) return false;
    if (sinter_infer_has(infer, 1) && !sinter_infer_find_ints(infer, 1, &axes, &count))
        return reduce_unknown_axes(infer, keep);
    uint32_t places[SINTER_MAX_RANK], mask = 0;
    if (!sinter_infer_axes(infer, axes, count, data->rank, places)) return false;
    for (size_t i = 0; i < count; i++) mask |= 1u << places[i];
    if (count == 0 && !sinter_node_get_int(infer->module, infer->node, "noop_with_empty_axes", 0))
        mask = UINT32_MAX;
    set_reduced(infer, data->dtype, mask, keep);
    return true;
}

bool infer_arg_reduce(sinter_infer *infer) {
    uint32_t axis;
    if (!sinter_infer_axis_attr(infer, "axis", 0, sinter_infer_operand(infer, 0)->rank, &axis))
        return false;
    set_reduced(infer, SINTER_DTYPE_i64, 1u << axis,
                sinter_node_get_int(infer->module, infer->node, "keepdims", 1) != 0);
    return true;
}

static bool infer_running(sinter_infer *infer) {
    const int64_t *axis;
    size_t count;
    uint32_t place;
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_scalar(infer, 1) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    if (sinter_infer_find_ints(infer, 1, &axis, &count) && count == 1 &&
        !sinter_infer_axis(infer, axis[0], sinter_infer_operand(infer, 0)->rank, &place))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_cum_sum(sinter_infer *infer) {
    return infer_running(infer);
}

bool infer_cum_prod(sinter_infer *infer) {
    return infer_running(infer);
}
