/* Inference of gathers and scatters, one_hot and the image samplers (grid_sample, resize, affine_grid, col2im,
 * center_crop_pad, regions of interest). Test: tests/ir/infer_gather.sir, tests/ir/infer_resize.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- gather ---- */

bool infer_gather(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1);
    uint32_t axis;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_integer(infer, 1) ||
        !sinter_infer_axis_attr(infer, "axis", 0, data->rank, &axis) ||
        !sinter_infer_check_result_rank(infer, (uint64_t)data->rank + indices->rank - 1))
        return false;
    memcpy(dims, data->dims, axis * sizeof *dims);
    memcpy(dims + axis, indices->dims, indices->rank * sizeof *dims);
    memcpy(dims + axis + indices->rank, data->dims + axis + 1,
           (data->rank - axis - 1) * sizeof *dims);
    sinter_infer_set(infer, 0, data->dtype, data->rank + indices->rank - 1, dims);
    return true;
}

bool infer_lookup(sinter_infer *infer) {
    enum { ENTRIES = 256 };
    const sinter_type *x = sinter_infer_operand(infer, 0), *table = sinter_infer_operand(infer, 1);
    if (!sinter_infer_check_integer(infer, 0)) return false;
    if (sinter_dtype_infos[x->dtype].bits != 8)
        return sinter_infer_error(infer, "expected bytes to look up, found %s [lookup_c1]",
                                  sinter_infer_text(infer, 0));
    if (!sinter_infer_check_rank(infer, 1, 1, 1) ||
        !sinter_infer_check_dim(infer, 1, 0, sinter_infer_number(infer, ENTRIES), "table"))
        return false;
    sinter_infer_set(infer, 0, table->dtype, x->rank, x->dims);
    return true;
}

/* indices reach into data along axis and fit it along the others, as updates do. */
static bool check_elements(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1);
    uint32_t axis;
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_integer(infer, 1) ||
        !sinter_infer_check_rank(infer, 1, data->rank, data->rank) ||
        !sinter_infer_axis_attr(infer, "axis", 0, data->rank, &axis))
        return false;
    for (uint32_t i = 0; i < data->rank; i++)
        if (i != axis && !sinter_infer_dim_at_most(infer, indices->dims[i], data->dims[i]))
            return sinter_infer_error(infer,
                                      "indices %s reach outside %s in dim %" PRIu32 " [gather_c1]",
                                      sinter_infer_text(infer, 1), sinter_infer_text(infer, 0), i);
    return true;
}

bool infer_gather_elements(sinter_infer *infer) {
    if (!check_elements(infer)) return false;
    sinter_infer_set_dtype(infer, 0, 1, sinter_infer_operand(infer, 0)->dtype);
    return true;
}

/* The last dim of indices: how many axes of data one tuple names, after `batch` ones. */
static bool tuple_size(sinter_infer *infer, int64_t batch, uint32_t *out_size) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1);
    int64_t size;
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_integer(infer, 1) ||
        !sinter_infer_check_rank(infer, 1, 1, SINTER_MAX_RANK))
        return false;
    if (!sinter_dim_is_const(infer->dims, indices->dims[indices->rank - 1], &size))
        return sinter_infer_error(
            infer,
            "the rank of the result depends on the last dim of %s, which is not known [gather_c2]",
            sinter_infer_text(infer, 1));
    if (batch < 0 || batch >= (int64_t)indices->rank || batch + size > (int64_t)data->rank)
        return sinter_infer_error(
            infer,
            "%" PRId64 " batch dims and tuples of %" PRId64 " do not fit %s and %s [gather_c3]",
            batch, size, sinter_infer_text(infer, 0), sinter_infer_text(infer, 1));
    *out_size = (uint32_t)size;
    return true;
}

bool infer_gather_nd(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1);
    int64_t batch = sinter_node_get_int(infer->module, infer->node, "batch_dims", 0);
    uint32_t size;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!tuple_size(infer, batch, &size)) return false;
    uint32_t first = (uint32_t)batch + size, outer = indices->rank - 1;
    if (!sinter_infer_check_result_rank(infer, (uint64_t)outer + data->rank - first)) return false;
    for (uint32_t i = 0; i < batch; i++)
        if (!sinter_infer_check_dims_equal(infer, 0, i, 1, i)) return false;
    memcpy(dims, indices->dims, outer * sizeof *dims);
    memcpy(dims + outer, data->dims + first, (data->rank - first) * sizeof *dims);
    sinter_infer_set(infer, 0, data->dtype, outer + data->rank - first, dims);
    return true;
}

/* ---- scatter ---- */

bool infer_scatter_elements(sinter_infer *infer) {
    const sinter_type *indices = sinter_infer_operand(infer, 1);
    if (!check_elements(infer) || !sinter_infer_check_same_dtype(infer, 0, 2) ||
        !sinter_infer_check_rank(infer, 2, indices->rank, indices->rank))
        return false;
    for (uint32_t i = 0; i < indices->rank; i++)
        if (!sinter_infer_check_dims_equal(infer, 1, i, 2, i)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_scatter_nd(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1);
    uint32_t size;
    if (!tuple_size(infer, 0, &size) || !sinter_infer_check_same_dtype(infer, 0, 2)) return false;
    uint32_t outer = indices->rank - 1, rank = outer + data->rank - size;
    if (!sinter_infer_check_rank(infer, 2, rank, rank)) return false;
    for (uint32_t i = 0; i < rank; i++) {
        bool ok = i < outer ? sinter_infer_check_dims_equal(infer, 2, i, 1, i)
                            : sinter_infer_check_dims_equal(infer, 2, i, 0, i - outer + size);
        if (!ok) return false;
    }
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_tensor_scatter(sinter_infer *infer) {
    const sinter_type *cache = sinter_infer_operand(infer, 0);
    uint32_t axis;
    if (!sinter_infer_check_same_dtype(infer, 0, 1) ||
        !sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 1, cache->rank, cache->rank) ||
        !sinter_infer_check_rank(infer, 2, 1, 1) || !sinter_infer_check_integer(infer, 2) ||
        !sinter_infer_axis_attr(infer, "axis", -2, cache->rank, &axis))
        return false;
    if (axis == 0)
        return sinter_infer_error(infer, "the batch axis can't be the sequence axis [scatter_c2]");
    for (uint32_t i = 0; i < cache->rank; i++)
        if (i != axis && !sinter_infer_check_dims_equal(infer, 1, i, 0, i)) return false;
    if (!sinter_infer_check_dims_equal(infer, 2, 0, 0, 0)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* ---- one_hot ---- */

/* A number as a dim; 0 (no dim) where it is none that a tensor could have. */
static sinter_dim dim_of_double(sinter_infer *infer, double value) {
    bool fits = value >= 0 && value < 9007199254740992.0; /* 2^53 */
    return fits ? sinter_infer_number(infer, (int64_t)value) : 0;
}

/* depth may be a float constant. */
static sinter_dim read_depth(sinter_infer *infer) {
    const sinter_tensor *constant =
        sinter_value_constant(infer->module, sinter_node_operand(infer->module, infer->node, 1));
    if (constant && sinter_tensor_count(constant) == 1 && sinter_dtype_is_float(constant->dtype))
        return dim_of_double(infer, sinter_tensor_get_double(constant, 0));
    return sinter_infer_demand_scalar(infer, 1);
}

bool infer_one_hot(sinter_infer *infer) {
    const sinter_type *indices = sinter_infer_operand(infer, 0);
    uint32_t axis;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_scalar(infer, 1) || !sinter_infer_check_rank(infer, 2, 1, 1) ||
        !sinter_infer_check_dim(infer, 2, 0, sinter_infer_number(infer, 2), "values") ||
        !sinter_infer_check_result_rank(infer, indices->rank + UINT64_C(1)) ||
        !sinter_infer_axis_attr(infer, "axis", -1, indices->rank + 1, &axis))
        return false;
    sinter_dim depth = read_depth(infer);
    if (!depth) depth = sinter_infer_node_dim(infer, 0, axis, "depth");
    memcpy(dims, indices->dims, axis * sizeof *dims);
    dims[axis] = depth;
    memcpy(dims + axis + 1, indices->dims + axis, (indices->rank - axis) * sizeof *dims);
    sinter_infer_set(infer, 0, sinter_infer_operand(infer, 2)->dtype, indices->rank + 1, dims);
    return true;
}

/* ---- sampling ---- */

bool infer_grid_sample(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *grid = sinter_infer_operand(infer, 1);
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 3, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 1, x->rank, x->rank) ||
        !sinter_infer_check_dims_equal(infer, 1, 0, 0, 0) ||
        !sinter_infer_check_dim(infer, 1, x->rank - 1, sinter_infer_number(infer, x->rank - 2),
                                "coordinates"))
        return false;
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    memcpy(dims + 2, grid->dims + 1, (x->rank - 2) * sizeof *dims);
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

bool infer_affine_grid(sinter_infer *infer) {
    const sinter_type *theta = sinter_infer_operand(infer, 0);
    const sinter_dim *size;
    size_t count;
    if (!sinter_infer_check_rank(infer, 0, 3, 3) || !sinter_infer_check_float(infer, 0) ||
        !sinter_infer_check_rank(infer, 1, 1, 1) || !sinter_infer_check_integer(infer, 1))
        return false;
    if (!sinter_infer_demand_content(infer, 1, &size, &count))
        return sinter_infer_error(
            infer, "the rank of the result depends on the length of %s [affine_grid_c1]",
            sinter_infer_text(infer, 1));
    if (count != 4 && count != 5)
        return sinter_infer_error(infer, "size has %zu numbers, expected 4 or 5 [affine_grid_c2]",
                                  count);
    sinter_dim dims[SINTER_MAX_RANK] = {size[0]},
               space = sinter_infer_number(infer, (int64_t)count - 2);
    if (!sinter_infer_check_dim(infer, 0, 0, size[0], "batch") ||
        !sinter_infer_check_dim(infer, 0, 1, space, "theta") ||
        !sinter_infer_check_dim(infer, 0, 2, sinter_infer_plus(infer, space, 1), "theta"))
        return false;
    memcpy(dims + 1, size + 2, (count - 2) * sizeof *dims);
    dims[count - 1] = sinter_infer_number(infer, (int64_t)count - 2);
    sinter_infer_set(infer, 0, theta->dtype, (uint32_t)count, dims);
    return true;
}

bool infer_col2im(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    const sinter_dim *image, *block;
    size_t image_count, block_count;
    if (!sinter_infer_check_rank(infer, 0, 3, 3)) return false;
    for (uint32_t i = 1; i <= 2; i++)
        if (!sinter_infer_check_rank(infer, i, 1, 1) || !sinter_infer_check_integer(infer, i))
            return false;
    if (!sinter_infer_demand_content(infer, 1, &image, &image_count) ||
        !sinter_infer_demand_content(infer, 2, &block, &block_count))
        return sinter_infer_error(infer,
                                  "the rank of the result depends on the length of %s [col2im_c1]",
                                  sinter_infer_text(infer, 1));
    if (image_count != block_count ||
        !sinter_infer_check_result_rank(infer, image_count + UINT64_C(2)))
        return sinter_infer_error(
            infer, "image_shape and block_shape differ: %zu and %zu numbers [col2im_c2]",
            image_count, block_count);
    sinter_dim dims[SINTER_MAX_RANK] = {x->dims[0]}, area = sinter_infer_number(infer, 1);
    for (size_t i = 0; i < block_count; i++) area = sinter_dim_mul(infer->dims, area, block[i]);
    dims[1] = sinter_dim_divide_exact(infer->dims, x->dims[1], area);
    if (!dims[1]) dims[1] = sinter_dim_floordiv(infer->dims, x->dims[1], area);
    memcpy(dims + 2, image, image_count * sizeof *dims);
    sinter_infer_set(infer, 0, x->dtype, (uint32_t)image_count + 2, dims);
    return true;
}

bool infer_center_crop_pad(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    const sinter_dim *shape;
    const int64_t *axes;
    size_t count, axis_count = x->rank;
    uint32_t places[SINTER_MAX_RANK];
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_rank(infer, 1, 1, 1) ||
        !sinter_infer_check_integer(infer, 1))
        return false;
    for (uint32_t i = 0; i < x->rank; i++) places[i] = i;
    if (sinter_node_find_attr(infer->module, infer->node, "axes")) {
        axis_count = sinter_node_get_ints(infer->module, infer->node, "axes", &axes);
        if (!sinter_infer_axes(infer, axes, axis_count, x->rank, places)) return false;
    }
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    bool known = sinter_infer_demand_content(infer, 1, &shape, &count);
    if (known && count != axis_count)
        return sinter_infer_error(infer, "%zu sizes for %zu axes of %s [crop_c1]", count,
                                  axis_count, sinter_infer_text(infer, 0));
    for (size_t i = 0; i < axis_count; i++)
        dims[places[i]] = known ? shape[i] : sinter_infer_node_dim(infer, 0, places[i], "cropped");
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}

static bool check_regions(sinter_infer *infer, int64_t columns) {
    return sinter_infer_check_rank(infer, 0, 4, 4) && sinter_infer_check_rank(infer, 1, 2, 2) &&
           sinter_infer_check_same_dtype(infer, 0, 1) &&
           sinter_infer_check_dim(infer, 1, 1, sinter_infer_number(infer, columns), "a region");
}

bool infer_roi_align(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0),
                      *regions = sinter_infer_operand(infer, 1);
    if (!check_regions(infer, 4) || !sinter_infer_check_rank(infer, 2, 1, 1) ||
        !sinter_infer_check_integer(infer, 2) || !sinter_infer_check_dims_equal(infer, 2, 0, 1, 0))
        return false;
    sinter_dim dims[4] = {regions->dims[0], x->dims[1],
                          sinter_infer_number(infer, sinter_node_get_int(infer->module, infer->node,
                                                                         "output_height", 1)),
                          sinter_infer_number(infer, sinter_node_get_int(infer->module, infer->node,
                                                                         "output_width", 1))};
    sinter_infer_set(infer, 0, x->dtype, 4, dims);
    return true;
}

bool infer_max_roi_pool(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0),
                      *regions = sinter_infer_operand(infer, 1);
    const int64_t *shape;
    if (!check_regions(infer, 5)) return false;
    if (sinter_node_get_ints(infer->module, infer->node, "pooled_shape", &shape) != 2)
        return sinter_infer_error(infer, "pooled_shape must hold a height and a width [roi_c1]");
    sinter_dim dims[4] = {regions->dims[0], x->dims[1], sinter_infer_number(infer, shape[0]),
                          sinter_infer_number(infer, shape[1])};
    sinter_infer_set(infer, 0, x->dtype, 4, dims);
    return true;
}

/* ---- resize ---- */

typedef struct resize_axes {
    uint32_t places[SINTER_MAX_RANK];
    size_t count;
} resize_axes;

static bool read_resize_axes(sinter_infer *infer, resize_axes *out) {
    const int64_t *axes;
    const sinter_type *x = sinter_infer_operand(infer, 0);
    out->count = x->rank;
    for (uint32_t i = 0; i < x->rank; i++) out->places[i] = i;
    if (!sinter_node_find_attr(infer->module, infer->node, "axes")) return true;
    out->count = sinter_node_get_ints(infer->module, infer->node, "axes", &axes);
    return sinter_infer_axes(infer, axes, out->count, x->rank, out->places);
}

/* floor(dim * scale): exact for a number, for a whole scale and for one of few binary digits (0.5, 1.25). 0: only the
 * node knows. */
static sinter_dim scaled_dim(sinter_infer *infer, sinter_dim dim, double scale) {
    enum { DIGITS = 8 };
    int64_t value;
    if (!(scale > 0) || scale > 1e9) return 0;
    if (sinter_dim_is_const(infer->dims, dim, &value))
        return dim_of_double(infer, floor((double)value * scale));
    double numerator = scale * (1 << DIGITS);
    if (numerator != floor(numerator)) return 0;
    sinter_dim product = sinter_infer_times(infer, dim, (int64_t)numerator);
    return sinter_dim_floordiv(infer->dims, product, sinter_infer_number(infer, 1 << DIGITS));
}

static bool resize_by_scales(sinter_infer *infer, const resize_axes *axes, sinter_dim *dims) {
    const sinter_module *module = infer->module;
    const sinter_tensor *scales =
        sinter_value_constant(module, sinter_node_operand(module, infer->node, 2));
    const sinter_tensor *roi = NULL;
    size_t count;
    bool crop = sinter_string_is(
        sinter_node_get_string(module, infer->node, "coordinate_transformation_mode"),
        "tf_crop_and_resize");
    if (sinter_infer_count(infer, 2, &count) && count != axes->count)
        return sinter_infer_error(infer, "%zu scales for %zu axes of %s [resize_c1]", count,
                                  axes->count, sinter_infer_text(infer, 0));
    if (crop && sinter_infer_has(infer, 1))
        roi = sinter_value_constant(module, sinter_node_operand(module, infer->node, 1));
    bool known =
        scales && (!crop || (roi && sinter_tensor_count(roi) == (int64_t)(2 * axes->count)));
    for (size_t i = 0; i < axes->count; i++) {
        uint32_t axis = axes->places[i];
        double scale = known ? sinter_tensor_get_double(scales, (int64_t)i) : 0;
        if (known && !(scale > 0))
            return sinter_infer_error(infer, "scale %zu is %g, not positive [resize_c2]", i, scale);
        if (known && crop)
            scale *= sinter_tensor_get_double(roi, (int64_t)(i + axes->count)) -
                     sinter_tensor_get_double(roi, (int64_t)i);
        sinter_dim scaled = known ? scaled_dim(infer, dims[axis], scale) : 0;
        dims[axis] = scaled ? scaled : sinter_infer_node_dim(infer, 0, axis, "resized");
    }
    return true;
}

/* One scale for all axes, the smallest or largest that reaches a wanted size. False where a number is missing. */
static bool common_scale(sinter_infer *infer, const resize_axes *axes, const sinter_dim *dims,
                         const sinter_dim *sizes, bool larger, double *out_scale) {
    for (size_t i = 0; i < axes->count; i++) {
        int64_t have, want;
        if (!sinter_dim_is_const(infer->dims, dims[axes->places[i]], &have) ||
            !sinter_dim_is_const(infer->dims, sizes[i], &want))
            return false;
        double scale = (double)want / (double)have;
        if (i == 0 || (larger ? scale > *out_scale : scale < *out_scale)) *out_scale = scale;
    }
    return axes->count > 0;
}

static bool resize_to_sizes(sinter_infer *infer, const resize_axes *axes, sinter_dim *dims) {
    const sinter_dim *sizes;
    size_t count;
    if (!sinter_infer_check_rank(infer, 3, 1, 1) || !sinter_infer_check_integer(infer, 3))
        return false;
    bool known = sinter_infer_demand_content(infer, 3, &sizes, &count);
    if (known && count != axes->count)
        return sinter_infer_error(infer, "%zu sizes for %zu axes of %s [resize_c1]", count,
                                  axes->count, sinter_infer_text(infer, 0));
    sinter_string policy =
        sinter_node_get_string(infer->module, infer->node, "keep_aspect_ratio_policy");
    bool stretch = sinter_string_is(policy, "stretch");
    double scale = 0;
    bool scaled =
        known && !stretch &&
        common_scale(infer, axes, dims, sizes, sinter_string_is(policy, "not_smaller"), &scale);
    for (size_t i = 0; i < axes->count; i++) {
        uint32_t axis = axes->places[i];
        int64_t have = 0;
        sinter_dim_is_const(infer->dims, dims[axis], &have);
        sinter_dim wanted = 0;
        if (known && stretch)
            wanted = sizes[i];
        else if (scaled)
            wanted = dim_of_double(infer, floor(scale * (double)have + 0.5));
        dims[axis] = wanted ? wanted : sinter_infer_node_dim(infer, 0, axis, "resized");
    }
    return true;
}

bool infer_resize(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    resize_axes axes;
    size_t count;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 2, 1, 1) || !read_resize_axes(infer, &axes))
        return false;
    memcpy(dims, x->dims, x->rank * sizeof *dims);
    /* Exporters write an empty tensor for the one that is not used. */
    bool scales = sinter_infer_has(infer, 2) &&
                  !(sinter_infer_count(infer, 2, &count) && count == 0 && axes.count != 0);
    bool sizes = sinter_infer_has(infer, 3) &&
                 !(sinter_infer_count(infer, 3, &count) && count == 0 && axes.count != 0);
    if (scales == sizes)
        return sinter_infer_error(infer, "one of scales and sizes must be given [resize_c3]");
    bool crops = sinter_string_is(
        sinter_node_get_string(infer->module, infer->node, "coordinate_transformation_mode"),
        "tf_crop_and_resize");
    if (crops && !sinter_infer_check_rank(infer, 1, 1, 1)) return false;
    if (crops && !sinter_infer_check_dim(
                     infer, 1, 0, sinter_infer_number(infer, 2 * (int64_t)axes.count), "roi"))
        return false;
    if (!(scales ? resize_by_scales(infer, &axes, dims) : resize_to_sizes(infer, &axes, dims)))
        return false;
    for (uint32_t i = 0; i < x->rank; i++) {
        int64_t min, max;
        sinter_dim_range(infer->dims, dims[i], &min, &max);
        if (sinter_dim_is(infer->dims, x->dims[i], 0) && min > 0)
            return sinter_infer_error(
                infer, "axis %" PRIu32 " of %s has no elements to resize from [resize_c4]", i,
                sinter_infer_text(infer, 0));
    }
    sinter_infer_set(infer, 0, x->dtype, x->rank, dims);
    return true;
}
