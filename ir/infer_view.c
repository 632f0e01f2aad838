/* Inference of views whose dims come from dims and attributes: concat, transpose, flatten, squeeze and the like. Those
 * that read a shape from an operand are in infer_shape.c. Test: tests/ir/infer_view.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <string.h>

bool infer_concat(sinter_infer *infer) {
    uint32_t count = infer->info->operand_count, axis;
    for (uint32_t i = 0; i < count; i++) {
        if (!sinter_infer_has(infer, i))
            return sinter_infer_error(infer, "operand %" PRIu32 " is absent [concat_c1]", i);
        if (!sinter_infer_check_same_dtype(infer, 0, i)) return false;
    }
    if (count == 0) return sinter_infer_error(infer, "there are no operands [concat_c1]");
    const sinter_type *first = sinter_infer_operand(infer, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_axis_attr(infer, "axis", 0, first->rank, &axis)) return false;
    memcpy(dims, first->dims, first->rank * sizeof *dims);
    for (uint32_t i = 1; i < count; i++) {
        const sinter_type *type = sinter_infer_operand(infer, i);
        bool ok = type->rank == first->rank;
        for (uint32_t d = 0; ok && d < type->rank; d++) {
            if (d == axis)
                dims[d] = sinter_dim_add(infer->dims, dims[d], type->dims[d]);
            else
                ok = sinter_infer_unify_dim(infer, dims[d], type->dims[d], &dims[d]);
        }
        if (!ok)
            return sinter_infer_error(
                infer, "%s and %s do not join along axis %" PRIu32 " [concat_c2]",
                sinter_infer_text(infer, 0), sinter_infer_text(infer, i), axis);
    }
    sinter_infer_set(infer, 0, first->dtype, first->rank, dims);
    return true;
}

bool infer_transpose(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const int64_t *perm;
    uint32_t places[SINTER_MAX_RANK];
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    bool stated = sinter_node_find_attr(infer->module, infer->node, "perm") != NULL;
    size_t count = sinter_node_get_ints(infer->module, infer->node, "perm", &perm);
    if (stated && count != data->rank)
        return sinter_infer_error(infer, "perm has %zu numbers for %s [transpose_c1]", count,
                                  sinter_infer_text(infer, 0));
    if (stated && !sinter_infer_axes(infer, perm, count, data->rank, places)) return false;
    for (uint32_t i = 0; stated && i < data->rank; i++)
        if (perm[i] < 0)
            return sinter_infer_error(infer, "perm has %lld: its axes count from 0 [transpose_c2]",
                                      (long long)perm[i]);
    for (uint32_t i = 0; i < data->rank; i++)
        dims[i] = data->dims[stated ? places[i] : data->rank - 1 - i];
    sinter_infer_set(infer, 0, data->dtype, data->rank, dims);
    return true;
}

bool infer_flatten(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    uint32_t axis;
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "axis", 1);
    if (stated == (int64_t)x->rank)
        axis = x->rank;
    else if (!sinter_infer_axis(infer, stated, x->rank, &axis))
        return false;
    sinter_dim dims[2] = {sinter_type_product(infer->dims, x, 0, axis),
                          sinter_type_product(infer->dims, x, axis, x->rank)};
    sinter_infer_set(infer, 0, x->dtype, 2, dims);
    return true;
}

/* ---- axes of size one ---- */

/* Axes read at run time leave only their count known. */
static bool unknown_axes(sinter_infer *infer, int sign, const char *prefix) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *declared = sinter_infer_declared(infer, 0);
    size_t count;
    if (!sinter_infer_count(infer, 1, &count)) {
        if (declared->kind != SINTER_TYPE_TENSOR)
            return sinter_infer_error(
                infer, "the rank of the result depends on how many axes %s has [axes_c1]",
                sinter_infer_text(infer, 1));
        count = sign > 0 ? declared->rank - data->rank : data->rank - declared->rank;
    }
    if (sign < 0 && count > data->rank)
        return sinter_infer_error(infer, "%zu axes for %s [axes_c2]", count,
                                  sinter_infer_text(infer, 0));
    uint64_t rank = sign > 0 ? data->rank + count : data->rank - count;
    if (!sinter_infer_check_result_rank(infer, rank)) return false;
    sinter_infer_set_unknown(infer, 0, data->dtype, (uint32_t)rank, prefix);
    return true;
}

/* Without axes the rank of the result hangs on which dims are 1. A symbol is taken not to be: its bounds say so from
 * here on, so a run where it is 1 is an error and not another rank. */
static bool assume_not_one(sinter_infer *infer, sinter_dim dim) {
    int64_t min, max;
    sinter_dim_range(infer->dims, dim, &min, &max);
    if (min > 1 || max < 1) return true;
    if (sinter_dim_get_kind(infer->dims, dim) != SINTER_DIM_SYMBOL || max < 2) return false;
    sinter_dim_symbol *symbol = sinter_dim_get_symbol(infer->dims, dim);
    symbol->min = 2;
    sinter_warning(infer->diag, sinter_node_where(infer->module, infer->node),
                   "squeeze names no axes: '%s' is taken to be 2 or more", symbol->name);
    return true;
}

bool infer_squeeze(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const int64_t *axes;
    size_t count;
    uint32_t places[SINTER_MAX_RANK], mask = 0, rank = 0;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 0, 1) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    if (sinter_infer_has(infer, 1)) {
        if (!sinter_infer_find_ints(infer, 1, &axes, &count))
            return unknown_axes(infer, -1, "squeezed");
        if (!sinter_infer_axes(infer, axes, count, data->rank, places)) return false;
        for (size_t i = 0; i < count; i++) mask |= 1u << places[i];
    } else {
        for (uint32_t i = 0; i < data->rank; i++) {
            if (sinter_dim_is(infer->dims, data->dims[i], 1))
                mask |= 1u << i;
            else if (!assume_not_one(infer, data->dims[i]))
                return sinter_infer_error(
                    infer, "whether %s of %s is 1 is not known; name the axes [squeeze_c1]",
                    sinter_infer_dim_text(infer, data->dims[i]), sinter_infer_text(infer, 0));
        }
    }
    for (uint32_t i = 0; i < data->rank; i++) {
        sinter_dim unified;
        if (!(mask >> i & 1))
            dims[rank++] = data->dims[i];
        else if (!sinter_infer_unify_dim(infer, data->dims[i], sinter_infer_number(infer, 1),
                                         &unified))
            return sinter_infer_error(infer, "axis %" PRIu32 " of %s is not 1 [squeeze_c2]", i,
                                      sinter_infer_text(infer, 0));
    }
    sinter_infer_set(infer, 0, data->dtype, rank, dims);
    return true;
}

bool infer_unsqueeze(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const int64_t *axes;
    size_t count;
    uint32_t places[SINTER_MAX_RANK], mask = 0, from = 0;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 0, 1) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    if (!sinter_infer_find_ints(infer, 1, &axes, &count))
        return unknown_axes(infer, 1, "unsqueezed");
    if (!sinter_infer_check_result_rank(infer, data->rank + (uint64_t)count)) return false;
    uint32_t rank = data->rank + (uint32_t)count;
    if (!sinter_infer_axes(infer, axes, count, rank, places)) return false;
    for (size_t i = 0; i < count; i++) mask |= 1u << places[i];
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = mask >> i & 1 ? sinter_infer_number(infer, 1) : data->dims[from++];
    sinter_infer_set(infer, 0, data->dtype, rank, dims);
    return true;
}

/* ---- blocks ---- */

static bool read_block(sinter_infer *infer, int64_t *out) {
    *out = sinter_node_get_int(infer->module, infer->node, "blocksize", 0);
    if (!sinter_infer_check_rank(infer, 0, 4, 4)) return false;
    return (*out > 0 && *out <= INT32_MAX) ||
           sinter_infer_error(infer, "blocksize = %" PRId64 " is not positive [block_c1]", *out);
}

bool infer_depth_to_space(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    int64_t block;
    if (!read_block(infer, &block)) return false;
    sinter_dim dims[4] = {x->dims[0], 0, sinter_infer_times(infer, x->dims[2], block),
                          sinter_infer_times(infer, x->dims[3], block)};
    if (!sinter_infer_divide(infer, x->dims[1], block * block, "blocksize squared", &dims[1]))
        return false;
    sinter_infer_set(infer, 0, x->dtype, 4, dims);
    return true;
}

bool infer_space_to_depth(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    int64_t block;
    if (!read_block(infer, &block)) return false;
    sinter_dim dims[4] = {x->dims[0], sinter_infer_times(infer, x->dims[1], block * block), 0, 0};
    if (!sinter_infer_divide(infer, x->dims[2], block, "blocksize", &dims[2]) ||
        !sinter_infer_divide(infer, x->dims[3], block, "blocksize", &dims[3]))
        return false;
    sinter_infer_set(infer, 0, x->dtype, 4, dims);
    return true;
}

/* ---- shape and size ---- */

bool infer_shape(sinter_infer *infer) {
    int64_t rank = sinter_infer_operand(infer, 0)->rank;
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    int64_t start = sinter_node_get_int(infer->module, infer->node, "start", 0);
    int64_t end = sinter_node_get_int(infer->module, infer->node, "end", rank);
    start = start < 0 ? start + rank : start;
    end = end < 0 ? end + rank : end;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < 0 ? 0 : end > rank ? rank : end;
    sinter_dim count = sinter_infer_number(infer, end > start ? end - start : 0);
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 1, &count);
    return true;
}

bool infer_size(sinter_infer *infer) {
    if (!sinter_infer_check_tensor(infer, 0)) return false;
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 0, NULL);
    return true;
}

/* ---- same shape ---- */

bool infer_eye_like(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "dtype");
    if (!sinter_infer_check_rank(infer, 0, 2, 2)) return false;
    sinter_infer_set_dtype(infer, 0, 0, dtype ? dtype : sinter_infer_operand(infer, 0)->dtype);
    return true;
}

bool infer_trilu(sinter_infer *infer) {
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_scalar(infer, 1))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_reverse_sequence(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    uint32_t batch, time;
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 1, 1, 1) || !sinter_infer_check_integer(infer, 1))
        return false;
    if (!sinter_infer_axis_attr(infer, "batch_axis", 1, x->rank, &batch) ||
        !sinter_infer_axis_attr(infer, "time_axis", 0, x->rank, &time))
        return false;
    if (batch == time)
        return sinter_infer_error(
            infer, "batch_axis and time_axis are both %" PRIu32 " [reverse_c1]", time);
    if (!sinter_infer_check_dims_equal(infer, 1, 0, 0, batch)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}
