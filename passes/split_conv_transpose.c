/* A transposed convolution becomes a convolution without holes: what stride s spreads over s outputs of an axis are s results of
 * one convolution each, computed side by side as channels and then interleaved (sub-pixel convolution: Shi et al. 2016,
 * appendix of "Is the deconvolution layer the same as a convolutional layer?"). Along one axis, with o + pad = j * s + r:
 *   y[o] = sum over t of x[j - t] * w[r + t * s]
 * which is a convolution over x with ceil(kernel / s) taps for every r. Taps that the kernel does not have are zeros.
 *
 * Needs constant weights and bias, dilation 1, and padding in numbers. Values stay up to the order of sums.
 * Test: tests/passes/split_conv_transpose/ */
#include "ir/decompose.h"
#include "passes/pass.h"

#include <string.h>

typedef struct axis {
    int64_t stride, kernel, taps; /* of the transposed convolution; of the convolution */
    int64_t pad_begin, pad_end;   /* of the convolution */
    int64_t crop_begin, crop_end; /* of what is interleaved */
} axis;

typedef struct deconvolution {
    sinter_rewrite *rewrite;
    sinter_module *module;
    sinter_node node;
    const sinter_tensor *weight, *bias; /* bias NULL: none */
    axis axes[SINTER_MAX_RANK];
    uint32_t spatial;
    int64_t groups, columns; /* channels of the result in a group */
    int64_t phases;          /* product of strides */
    bool channels_last;
} deconvolution;

/* ---- which ---- */

/* Item i of the attribute, or what it is without it. */
static int64_t item_of(const deconvolution *d, const char *name, uint32_t i, int64_t otherwise) {
    const int64_t *items = NULL;
    size_t count = sinter_node_get_ints(d->module, d->node, name, &items);
    return i < count ? items[i] : otherwise;
}

/* False where padding is not in numbers that a convolution takes. */
static bool describe_axis(deconvolution *d, uint32_t i) {
    axis *a = &d->axes[i];
    a->stride = item_of(d, "strides", i, 1);
    a->kernel = d->weight->dims[i + 2];
    int64_t before = item_of(d, "pads", i, 0), after = item_of(d, "pads", i + d->spatial, 0);
    int64_t last = a->kernel - after + item_of(d, "output_padding", i, 0) - 1;
    if (a->stride < 1 || a->kernel < 1 || before < 0 || after < 0 || last < 0 ||
        item_of(d, "dilations", i, 1) != 1)
        return false;
    a->taps = (a->kernel - 1) / a->stride + 1;
    a->pad_begin = a->taps - 1 - before / a->stride;
    a->pad_end = last / a->stride;
    a->crop_begin = before % a->stride;
    a->crop_end = a->stride - 1 - last % a->stride;
    return a->pad_begin >= 0;
}

static bool describe(deconvolution *d) {
    const sinter_node_info *info = sinter_node_get(d->module, d->node);
    sinter_value bias = sinter_node_operand(d->module, d->node, 2);
    d->weight = sinter_value_constant(d->module, info->operands[1]);
    d->bias = bias ? sinter_value_constant(d->module, bias) : NULL;
    if (!d->weight || (bias && !d->bias) || d->weight->rank < 3 ||
        sinter_dtype_infos[d->weight->dtype].bits % 8 || !sinter_tensor_count(d->weight) ||
        sinter_node_find_attr(d->module, d->node, "output_shape") ||
        !sinter_string_is(sinter_node_get_string(d->module, d->node, "auto_pad"), "NOTSET"))
        return false;
    d->spatial = d->weight->rank - 2;
    d->groups = sinter_node_get_int(d->module, d->node, "group", 1);
    d->columns = d->weight->dims[1];
    d->channels_last = sinter_node_get_int(d->module, d->node, "channels_last", 0) != 0;
    d->phases = 1;
    for (uint32_t i = 0; i < d->spatial; i++) {
        if (!describe_axis(d, i)) return false;
        d->phases *= d->axes[i].stride;
    }
    return 2 * d->spatial + 3 <= SINTER_MAX_RANK;
}

/* ---- constants ---- */

/* Offset of the tap in the kernel that tap `tap` of phase `phase` is, both counted over all axes; -1: a zero. */
static int64_t find_cell(const deconvolution *d, int64_t phase, int64_t tap) {
    int64_t cell = 0, size = 1;
    for (uint32_t i = d->spatial; i-- > 0;) {
        const axis *a = &d->axes[i];
        int64_t at = phase % a->stride + (a->taps - 1 - tap % a->taps) * a->stride;
        if (at >= a->kernel) return -1;
        cell += at * size;
        size *= a->kernel;
        phase /= a->stride;
        tap /= a->taps;
    }
    return cell;
}

/* [group, phase, column][row in the group][taps] of [row][column][cells]. */
static bool make_weight(const deconvolution *d, sinter_tensor *out) {
    int64_t rows = d->weight->dims[0] / d->groups, taps = 1, cells = 1;
    int64_t dims[SINTER_MAX_RANK] = {d->groups * d->phases * d->columns, rows};
    for (uint32_t i = 0; i < d->spatial; i++) {
        dims[i + 2] = d->axes[i].taps;
        taps *= d->axes[i].taps;
        cells *= d->axes[i].kernel;
    }
    if (!sinter_tensor_create(out, d->weight->dtype, d->weight->rank, dims, d->rewrite->build.diag))
        return false;
    size_t size = sinter_dtype_infos[d->weight->dtype].bits / 8;
    const char *from = d->weight->data;
    char *to = sinter_tensor_mutable(out);
    for (int64_t i = 0; i < sinter_tensor_count(out); i++) {
        int64_t row = i / taps % rows, channel = i / taps / rows, column = channel % d->columns;
        int64_t group = channel / d->columns / d->phases;
        int64_t cell = find_cell(d, channel / d->columns % d->phases, i % taps);
        int64_t at = ((group * rows + row) * d->columns + column) * cells + cell;
        if (cell >= 0) memcpy(to + (size_t)i * size, from + (size_t)at * size, size);
    }
    return true;
}

static bool make_bias(const deconvolution *d, sinter_tensor *out) {
    const int64_t count = d->groups * d->phases * d->columns;
    if (!sinter_tensor_create(out, d->bias->dtype, 1, &count, d->rewrite->build.diag)) return false;
    size_t size = sinter_dtype_infos[d->bias->dtype].bits / 8;
    char *to = sinter_tensor_mutable(out);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = i / d->columns / d->phases * d->columns + i % d->columns;
        memcpy(to + (size_t)i * size, (const char *)d->bias->data + (size_t)at * size, size);
    }
    return true;
}

/* ---- nodes ---- */

static sinter_value build_convolution(deconvolution *d) {
    int64_t pads[2 * SINTER_MAX_RANK];
    sinter_tensor weight, bias;
    if (!make_weight(d, &weight) || (d->bias && !make_bias(d, &bias))) return 0;
    for (uint32_t i = 0; i < d->spatial; i++) {
        pads[i] = d->axes[i].pad_begin;
        pads[i + d->spatial] = d->axes[i].pad_end;
    }
    sinter_builder *build = &d->rewrite->build;
    sinter_value operands[3] = {sinter_node_operand(d->module, d->node, 0),
                                sinter_build_constant(build, weight),
                                d->bias ? sinter_build_constant(build, bias) : 0};
    sinter_attr attributes[3] = {sinter_attr_int("group", d->groups),
                                 sinter_attr_ints("pads", pads, 2 * (size_t)d->spatial),
                                 sinter_attr_int("channels_last", d->channels_last)};
    return sinter_build(build, SINTER_OP_conv, operands, d->bias ? 3 : 2, attributes, 3);
}

/* Channels [group, phases..., column] of the value move between the positions of each axis. */
static sinter_value interleave(deconvolution *d, sinter_value value) {
    sinter_dim_table *dims = sinter_module_dims(d->module);
    const sinter_type *type = sinter_compose_type(d->rewrite, value);
    if (!type) return 0;
    sinter_dim apart[SINTER_MAX_RANK], together[SINTER_MAX_RANK];
    int64_t perm[SINTER_MAX_RANK];
    const uint32_t n = d->spatial, space = d->channels_last ? 1 : n + 3; /* first axis, apart */
    const uint32_t channel = d->channels_last ? n + 1 : 1, old_space = d->channels_last ? 1 : 2;
    apart[0] = together[0] = type->dims[0];
    apart[channel] = sinter_dim_const(dims, d->groups);
    apart[channel + n + 1] = sinter_dim_const(dims, d->columns);
    together[d->channels_last ? n + 1 : 1] = sinter_dim_const(dims, d->groups * d->columns);
    uint32_t used = 0;
    perm[used++] = 0;
    for (int part = 0; part < 2; part++) { /* positions come first, or channels */
        if ((part == 0) != d->channels_last) {
            perm[used++] = channel;
            perm[used++] = channel + n + 1;
            continue;
        }
        for (uint32_t i = 0; i < n; i++) {
            sinter_dim stride = sinter_dim_const(dims, d->axes[i].stride);
            apart[space + i] = type->dims[old_space + i];
            apart[channel + 1 + i] = stride;
            together[old_space + i] = sinter_dim_mul(dims, type->dims[old_space + i], stride);
            perm[used++] = space + i;
            perm[used++] = channel + 1 + i;
        }
    }
    value = sinter_compose_reshape(d->rewrite, value, apart, 2 * n + 3);
    value = sinter_compose_transpose(d->rewrite, value, perm, used);
    return sinter_compose_reshape(d->rewrite, value, together, n + 2);
}

static sinter_value crop(deconvolution *d, sinter_value value) {
    sinter_builder *build = &d->rewrite->build;
    for (uint32_t i = 0; i < d->spatial && value; i++) {
        const axis *a = &d->axes[i];
        int64_t end = a->crop_end ? -a->crop_end : INT64_MAX;
        if (a->crop_begin || a->crop_end)
            value = sinter_compose_slice(d->rewrite, value, i + (d->channels_last ? 1 : 2),
                                         sinter_build_ints(build, &a->crop_begin, 1),
                                         sinter_build_ints(build, &end, 1));
    }
    return value;
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_module *module = rewrite->build.module;
    deconvolution d = {.rewrite = rewrite, .module = module, .node = node};
    if (sinter_node_op(module, node) != SINTER_OP_conv_transpose || !describe(&d)) return;
    sinter_value result = sinter_node_result(module, node, 0);
    const sinter_type type = *sinter_value_type(module, result);
    sinter_rewrite_at(rewrite, node);
    sinter_value value = build_convolution(&d);
    if (value && d.phases > 1) value = crop(&d, interleave(&d, value));
    /* The same dims in the same words. */
    value = sinter_compose_reshape(rewrite, value, type.dims, type.rank);
    if (value) sinter_rewrite_replace_node(rewrite, node, &value);
}

void sinter_pass_split_conv_transpose(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
