/* A transposed convolution becomes a convolution without holes: what stride s spreads over s outputs of an axis are s results of
 * one convolution each, computed side by side as channels and then interleaved (sub-pixel convolution: Shi et al. 2016,
 * appendix of "Is the deconvolution layer the same as a convolutional layer?"). Along one axis, with o + pad = j * s + r:
 *   y[o] = sum over t of x[j - t] * w[r + t * s]
 * which is a convolution over x with ceil(kernel / s) taps for every r. Taps that the kernel does not have are zeros.
 *
 * Needs weights of known dims, dilation 1, and numbers for what is cut off, whether pads, auto_pad or output_shape say it.
 * Constant weights are put in order here, others in every run. Values stay up to the order of sums.
 * Test: tests/passes/split_conv_transpose/ */
#include "ir/decompose.h"
#include "ir/infer.h"
#include "passes/fold_constants.h"
#include "passes/pass.h"

typedef struct axis {
    int64_t stride, kernel, taps; /* of the transposed convolution; of the convolution */
    int64_t pad_begin, pad_end;   /* of the convolution */
    int64_t crop_begin, crop_end; /* of what is interleaved */
} axis;

typedef struct deconvolution {
    sinter_rewrite *rewrite;
    sinter_module *module;
    sinter_node node;
    axis axes[SINTER_MAX_RANK];
    uint32_t spatial;
    int64_t groups, rows, columns; /* channels of x and of the result in a group */
    int64_t phases;                /* product of strides */
    bool channels_last;
} deconvolution;

/* ---- which ---- */

/* Item i of the attribute, or what it is without it. */
static int64_t item_of(const deconvolution *d, const char *name, uint32_t i, int64_t otherwise) {
    const int64_t *items = NULL;
    size_t count = sinter_node_get_ints(d->module, d->node, name, &items);
    return i < count ? items[i] : otherwise;
}

static bool const_dim(const deconvolution *d, sinter_value value, uint32_t dim, int64_t *out) {
    return sinter_dim_is_const(sinter_module_dims(d->module),
                               sinter_value_type(d->module, value)->dims[dim], out);
}

/* What of the whole product comes before y, and after it. Where the size of y is stated, or follows from auto_pad, a product that is too
 * short ends in zeros. False: these are no numbers. */
static bool read_crop(const deconvolution *d, uint32_t i, int64_t *out_before, int64_t *out_after) {
    sinter_dim of_run;
    int64_t excess;
    bool upper;
    *out_before = *out_after = 0;
    if (sinter_infer_transposed_excess(d->module, d->node, i, &of_run, &upper)) {
        if (!sinter_dim_is_const(sinter_module_dims(d->module), of_run, &excess)) return false;
        if (excess > 0) *out_before = upper ? excess / 2 : excess - excess / 2;
        *out_after = excess - *out_before;
        return true;
    }
    if (sinter_string_is(sinter_node_get_string(d->module, d->node, "auto_pad"), "VALID"))
        return true;
    *out_before = item_of(d, "pads", i, 0);
    *out_after = item_of(d, "pads", i + d->spatial, 0);
    return *out_before >= 0 && *out_after >= 0;
}

/* False where padding is not in numbers that a convolution takes. */
static bool describe_axis(deconvolution *d, uint32_t i) {
    axis *a = &d->axes[i];
    int64_t before, after, extra = item_of(d, "output_padding", i, 0);
    a->stride = item_of(d, "strides", i, 1);
    if (!const_dim(d, sinter_node_operand(d->module, d->node, 1), i + 2, &a->kernel) ||
        a->stride < 1 || a->kernel < 1 || item_of(d, "dilations", i, 1) != 1 ||
        !read_crop(d, i, &before, &after))
        return false;
    int64_t last = a->kernel - after + extra - 1;
    if (last < 0) return false;
    a->taps = (a->kernel - 1) / a->stride + 1;
    a->pad_begin = a->taps - 1 - before / a->stride;
    a->pad_end = last / a->stride;
    a->crop_begin = before % a->stride;
    a->crop_end = a->stride - 1 - last % a->stride;
    return a->pad_begin >= 0;
}

static bool describe(deconvolution *d) {
    sinter_value weight = sinter_node_operand(d->module, d->node, 1);
    const sinter_type *type = sinter_value_type(d->module, weight);
    d->groups = sinter_node_get_int(d->module, d->node, "group", 1);
    if (type->rank < 3 || sinter_dtype_infos[type->dtype].bits % 8 ||
        !const_dim(d, weight, 0, &d->rows) || !const_dim(d, weight, 1, &d->columns) ||
        d->rows < 1 || d->columns < 1 || d->groups < 1)
        return false;
    d->rows /= d->groups;
    d->spatial = type->rank - 2;
    d->channels_last = sinter_node_get_int(d->module, d->node, "channels_last", 0) != 0;
    d->phases = 1;
    for (uint32_t i = 0; i < d->spatial; i++) {
        if (!describe_axis(d, i)) return false;
        d->phases *= d->axes[i].stride;
    }
    return 2 * d->spatial + 3 <= SINTER_MAX_RANK;
}

/* ---- weights ---- */

/* The value, just built, as a constant where it is made of one. */
static sinter_value fold(deconvolution *d, sinter_value value) {
    if (!value) return 0;
    sinter_node made = sinter_value_definition(d->module, value);
    bool is_known = sinter_value_constant(d->module, sinter_node_operand(d->module, made, 0));
    return is_known ? sinter_fold_value(d->rewrite, value) : value;
}

/* Cells of each axis become taps of phases, as many in every phase: zeros behind the last one. */
static sinter_value pad_cells(deconvolution *d, sinter_value weight) {
    int64_t pads[2 * SINTER_MAX_RANK] = {0}, sum = 0;
    const uint32_t rank = d->spatial + 2;
    for (uint32_t i = 0; i < d->spatial; i++)
        sum += pads[rank + i + 2] = d->axes[i].taps * d->axes[i].stride - d->axes[i].kernel;
    if (!sum) return weight;
    sinter_value operands[2] = {weight,
                                sinter_build_ints(&d->rewrite->build, pads, 2 * (size_t)rank)};
    return fold(d, sinter_build(&d->rewrite->build, SINTER_OP_pad, operands, 2, NULL, 0));
}

/* What y takes of the axes of taps runs against what a convolution takes. */
static sinter_value turn_taps(deconvolution *d, sinter_value weight) {
    int64_t axes[SINTER_MAX_RANK], first[SINTER_MAX_RANK], end[SINTER_MAX_RANK],
        steps[SINTER_MAX_RANK];
    size_t count = 0;
    sinter_builder *build = &d->rewrite->build;
    for (uint32_t i = 0; i < d->spatial; i++) {
        if (d->axes[i].taps == 1) continue;
        axes[count] = 3 + 2 * (int64_t)i;
        first[count] = -1;
        end[count] = INT64_MIN;
        steps[count++] = -1;
    }
    if (!count || !weight) return weight;
    sinter_value operands[5] = {
        weight, sinter_build_ints(build, first, count), sinter_build_ints(build, end, count),
        sinter_build_ints(build, axes, count), sinter_build_ints(build, steps, count)};
    return fold(d, sinter_build(build, SINTER_OP_slice, operands, 5, NULL, 0));
}

/* [group, phase, column][row in the group][taps] of [row][column][cells]. */
static sinter_value build_weight(deconvolution *d) {
    sinter_builder *build = &d->rewrite->build;
    sinter_value weight = pad_cells(d, sinter_node_operand(d->module, d->node, 1));
    int64_t apart[SINTER_MAX_RANK] = {d->groups, d->rows, d->columns}, perm[SINTER_MAX_RANK] = {0},
            together[SINTER_MAX_RANK] = {d->groups * d->phases * d->columns, d->rows};
    const uint32_t n = d->spatial;
    perm[n + 1] = 2;
    perm[n + 2] = 1;
    for (uint32_t i = 0; i < n; i++) {
        together[i + 2] = apart[3 + 2 * i] = d->axes[i].taps;
        apart[4 + 2 * i] = d->axes[i].stride;
        perm[1 + i] = 4 + 2 * (int64_t)i;
        perm[n + 3 + i] = 3 + 2 * (int64_t)i;
    }
    if (!weight) return 0;
    weight = turn_taps(d, fold(d, sinter_build_reshape(build, weight, apart, 2 * (size_t)n + 3)));
    if (!weight) return 0;
    weight = fold(d, sinter_build_transpose(build, weight, perm, 2 * (size_t)n + 3));
    return weight ? fold(d, sinter_build_reshape(build, weight, together, n + 2)) : 0;
}

/* The bias, if any, once for each phase. */
static sinter_value build_bias(deconvolution *d) {
    sinter_builder *build = &d->rewrite->build;
    sinter_value bias = sinter_node_operand(d->module, d->node, 2);
    const int64_t one[3] = {d->groups, 1, d->columns}, each[3] = {d->groups, d->phases, d->columns},
                  all = d->groups * d->phases * d->columns;
    if (!bias || d->phases == 1) return bias;
    bias = fold(d, sinter_build_reshape(build, bias, one, 3));
    if (!bias) return 0;
    bias = fold(
        d, sinter_build_binary(build, SINTER_OP_expand, bias, sinter_build_ints(build, each, 3)));
    return bias ? fold(d, sinter_build_reshape(build, bias, &all, 1)) : 0;
}

/* ---- nodes ---- */

static sinter_value build_convolution(deconvolution *d) {
    int64_t pads[2 * SINTER_MAX_RANK];
    const bool has_bias = sinter_node_operand(d->module, d->node, 2) != 0;
    sinter_value operands[3] = {sinter_node_operand(d->module, d->node, 0), build_weight(d),
                                build_bias(d)};
    if (!operands[1] || (has_bias && !operands[2])) return 0;
    for (uint32_t i = 0; i < d->spatial; i++) {
        pads[i] = d->axes[i].pad_begin;
        pads[i + d->spatial] = d->axes[i].pad_end;
    }
    sinter_builder *build = &d->rewrite->build;
    sinter_attr attributes[3] = {sinter_attr_int("group", d->groups),
                                 sinter_attr_ints("pads", pads, 2 * (size_t)d->spatial),
                                 sinter_attr_int("channels_last", d->channels_last)};
    return sinter_build(build, SINTER_OP_conv, operands, has_bias ? 3 : 2, attributes, 3);
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
    sinter_compose_replace(rewrite, node, value, &type);
}

void sinter_pass_split_conv_transpose(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
