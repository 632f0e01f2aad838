/* Rules of shape operators: resizing in all its forms, split, tile, crop, and the softmax family of opset < 13,
 * which looked at its input as a matrix. Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

/* Opset < 13: softmax over the product of the axes from `axis` on. Where all but one of them have one element
 * (as in the [N,C,1,1] of convolutional classifiers) that is softmax over that one. */
bool sinter_onnx_rule_flat_softmax(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    int64_t axis = sinter_onnx_int(node, "axis", 1);
    if (!x || node->failed) return false;
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type type = *sinter_onnx_type_of(node, x);
    int64_t rank = type.rank;
    if (axis < -rank || axis > rank)
        return sinter_onnx_fail(node, "axis %" PRId64 " for rank %" PRId64, axis, rank);
    if (axis < 0) axis += rank;
    int64_t wide = 0, at = rank - 1;
    for (int64_t i = rank - 1; i >= axis; i--)
        if (!sinter_dim_is(dims, type.dims[i], 1)) {
            wide++;
            at = i;
        }
    if (wide <= 1 && axis < rank) {
        sinter_attr attr = sinter_attr_int("axis", at);
        return sinter_onnx_return(node, sinter_build(&node->build, node->row->op, &x, 1, &attr, 1));
    }
    sinter_dim matrix[] = {sinter_type_product(dims, &type, 0, (uint32_t)axis),
                           sinter_type_product(dims, &type, (uint32_t)axis, type.rank)};
    x = sinter_onnx_op1(node, node->row->op, sinter_onnx_reshape_dims(node, x, matrix, 2));
    return sinter_onnx_return(node, sinter_onnx_reshape_dims(node, x, type.dims, type.rank));
}

/* ---- resize ---- */

static sinter_value float_vector(sinter_onnx_node *node, const double *items, size_t count) {
    sinter_tensor tensor;
    int64_t dim = (int64_t)count;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_f32, 1, &dim, node->build.diag)) return 0;
    for (size_t i = 0; i < count; i++) sinter_tensor_set_double(&tensor, (int64_t)i, items[i]);
    return sinter_build_constant(&node->build, tensor);
}

static sinter_value resize_by(sinter_onnx_node *node, sinter_value x, sinter_value scales,
                              const char *mode, const char *nearest_mode) {
    sinter_value operands[] = {x, 0, scales};
    sinter_attr attributes[] = {
        sinter_attr_string("mode", sinter_string_of(mode)),
        sinter_attr_string("coordinate_transformation_mode", SINTER_STRING("asymmetric")),
        sinter_attr_string("nearest_mode", sinter_string_of(nearest_mode))};
    if (!x || !scales) return 0;
    return sinter_build(&node->build, SINTER_OP_resize, operands, 3, attributes,
                        strcmp(mode, "nearest") == 0 ? 3 : 2);
}

/* Nearest of opset < 11 rounds up where it shrinks and down where it grows; with both in one node, the growing axes
 * go first. Scales that are not known are taken to grow, as upsampling does. */
static sinter_value resize_old(sinter_onnx_node *node, sinter_value x, sinter_value scales,
                               const char *mode) {
    const sinter_tensor *known = sinter_value_constant(node->importer->module, scales);
    double up[SINTER_MAX_RANK], down[SINTER_MAX_RANK];
    bool grows = false, shrinks = false;
    size_t count = known ? (size_t)sinter_tensor_count(known) : 0;
    if (!known || count > SINTER_MAX_RANK || !sinter_dtype_is_float(known->dtype) ||
        strcmp(mode, "nearest") != 0)
        return resize_by(node, x, scales, mode, "floor");
    for (size_t i = 0; i < count; i++) {
        double scale = sinter_tensor_get_double(known, (int64_t)i);
        up[i] = scale > 1 ? scale : 1;
        down[i] = scale < 1 ? scale : 1;
        grows |= scale > 1;
        shrinks |= scale < 1;
    }
    if (!shrinks) return resize_by(node, x, scales, mode, "floor");
    if (grows) x = resize_by(node, x, float_vector(node, up, count), mode, "floor");
    return resize_by(node, x, float_vector(node, down, count), mode, "ceil");
}

static const char *old_mode(sinter_onnx_node *node) {
    const char *mode = sinter_onnx_string(node, "mode", "nearest");
    return strcmp(mode, "bilinear") == 0 || strcmp(mode, "trilinear") == 0 ? "linear" : mode;
}

bool sinter_onnx_rule_resize_asymmetric(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    sinter_value scales = sinter_onnx_need_operand(node, 1, "scales");
    const char *mode = old_mode(node);
    return !node->failed && sinter_onnx_return(node, resize_old(node, x, scales, mode));
}

/* Upsample of opset 1 has height_scale and width_scale, of 7 the list of all scales. */
bool sinter_onnx_rule_upsample(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "X");
    const float *given;
    size_t count = sinter_onnx_floats(node, "scales", &given);
    double scales[SINTER_MAX_RANK] = {1, 1};
    const char *mode = old_mode(node);
    if (!x || node->failed) return false;
    if (!given) {
        count = 4;
        scales[2] = sinter_onnx_float(node, "height_scale", 1);
        scales[3] = sinter_onnx_float(node, "width_scale", 1);
    } else {
        if (count > SINTER_MAX_RANK) return sinter_onnx_fail(node, "too many scales");
        for (size_t i = 0; i < count; i++) scales[i] = (double)given[i];
    }
    return sinter_onnx_return(node, resize_old(node, x, float_vector(node, scales, count), mode));
}

/* From opset 11 on: an operand without elements is an absent one, and roi means something in one mode only. */
bool sinter_onnx_rule_resize(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    sinter_module *module = node->importer->module;
    if (!sinter_onnx_draft_begin(node, &draft)) return false;
    const char *transform = sinter_onnx_string(node, "coordinate_transformation_mode", "");
    if (strcmp(transform, "tf_crop_and_resize") != 0)
        sinter_onnx_draft_set_operand(node, &draft, 1, 0);
    for (uint32_t i = 1; i < draft.operands.count; i++) {
        sinter_value value = draft.operands.items[i];
        if (!value) continue;
        const sinter_type *type = sinter_onnx_type_of(node, value);
        uint64_t count;
        if (sinter_type_static_count(sinter_module_dims(module), type, &count) && count == 0)
            sinter_onnx_draft_set_operand(node, &draft, i, 0);
    }
    return sinter_onnx_draft_finish(node, &draft);
}

/* ---- split, tile, crop ---- */

/* Without sizes the pieces are equal (the last one smaller from opset 18 on): as many as the node has outputs. */
bool sinter_onnx_rule_split(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    if (!sinter_onnx_draft_begin(node, &draft)) return false;
    bool sized = draft.operands.count > 1 && draft.operands.items[1];
    if (!sized && !sinter_onnx_has(node, "num_outputs"))
        sinter_onnx_draft_set_attr(node, &draft,
                                   sinter_attr_int("num_outputs", (int64_t)node->proto->n_output));
    return sinter_onnx_draft_finish(node, &draft);
}

/* Opset 1: `tiles` times along `axis`. */
bool sinter_onnx_rule_tile_one_axis(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    double tiles, axis;
    if (!x) return false;
    if (!sinter_onnx_known_number(node, sinter_onnx_operand(node, 1), &tiles) ||
        !sinter_onnx_known_number(node, sinter_onnx_operand(node, 2), &axis))
        return sinter_onnx_fail(node, "tiles and axis must be constants");
    int64_t repeats[SINTER_MAX_RANK];
    uint32_t rank = sinter_onnx_type_of(node, x)->rank;
    if (!(axis >= 0 && axis < rank) || !(tiles >= 0 && tiles < 0x1p62))
        return sinter_onnx_fail(node, "tiles or axis is out of range");
    for (uint32_t i = 0; i < rank; i++) repeats[i] = i == (uint32_t)axis ? (int64_t)tiles : 1;
    return sinter_onnx_return(
        node,
        sinter_onnx_op2(node, SINTER_OP_tile, x, sinter_build_ints(&node->build, repeats, rank)));
}

/* Experimental: border is left, top, right, bottom; scale, where given, the height and width that stay. */
bool sinter_onnx_rule_crop(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    const int64_t *border, *scale;
    size_t border_count = sinter_onnx_ints(node, "border", &border);
    size_t scale_count = sinter_onnx_ints(node, "scale", &scale);
    if (!x || node->failed) return false;
    if (border_count != 4 || (scale_count != 0 && scale_count != 2))
        return sinter_onnx_fail(node, "expected four borders and no or two scales");
    const int64_t axes[] = {2, 3}, starts[] = {border[1], border[0]};
    int64_t ends[2];
    for (int i = 0; i < 2; i++) {
        int64_t end = border[3 - i];
        if (starts[i] < 0 || end < 0 || starts[i] > INT32_MAX ||
            (scale_count && scale[i] > INT32_MAX))
            return sinter_onnx_fail(node, "a border is out of range");
        ends[i] = scale_count ? starts[i] + scale[i] : end ? -end : INT64_MAX;
    }
    sinter_value operands[] = {x, sinter_build_ints(&node->build, starts, 2),
                               sinter_build_ints(&node->build, ends, 2),
                               sinter_build_ints(&node->build, axes, 2)};
    return sinter_onnx_return(node,
                              sinter_build(&node->build, SINTER_OP_slice, operands, 4, NULL, 0));
}
