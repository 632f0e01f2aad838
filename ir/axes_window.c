/* Axes along which windows slide: what of an operand a part of the result needs. Test: tests/unit/axes_test.c,
 * tests/passes/shard_partition/windows.sir */
#include "ir/axes_internal.h"

typedef struct slide {
    int64_t stride, reach, before, after;
} slide;

static int64_t number_at(const sinter_axes *axes, const char *name, uint32_t i, int64_t otherwise) {
    return sinter_node_get_int_at(axes->module, axes->node, name, i, otherwise);
}

/* Elements of the window along spatial axis i: of the weights or, where there are none, by the attribute. */
static bool read_kernel(const sinter_axes *axes, bool has_weights, uint32_t i,
                        int64_t *out_kernel) {
    const sinter_type *w = has_weights ? sinter_axes_operand(axes, 1) : NULL;
    *out_kernel = number_at(axes, "kernel_shape", i, 1);
    return !has_weights || (w && sinter_axes_number(axes, w->dims[i + 2], out_kernel));
}

static bool read_sizes(const sinter_axes *axes, uint32_t axis, int64_t *out_input,
                       int64_t *out_output) {
    return sinter_axes_number(axes, sinter_axes_operand(axes, 0)->dims[axis], out_input) &&
           sinter_axes_number(axes, sinter_axes_result(axes, 0)->dims[axis], out_output);
}

/* Of spatial axis i of `count`, which lies at `axis`. False where sizes that tell are no numbers: without strides the window alone
 * tells what SAME pads. */
static bool read_slide(const sinter_axes *axes, bool has_weights, uint32_t i, uint32_t count,
                       uint32_t axis, slide *out) {
    sinter_string mode = sinter_node_get_string(axes->module, axes->node, "auto_pad");
    bool upper = sinter_string_is(mode, "SAME_UPPER");
    bool is_same = upper || sinter_string_is(mode, "SAME_LOWER");
    int64_t kernel = 0, input = 0, output = 0;
    bool has_kernel = read_kernel(axes, has_weights, i, &kernel);
    out->stride = number_at(axes, "strides", i, 1);
    out->reach = (kernel - 1) * number_at(axes, "dilations", i, 1) + 1;
    out->before = number_at(axes, "pads", i, 0);
    out->after = number_at(axes, "pads", i + count, 0);
    if (sinter_string_is(mode, "VALID")) out->before = out->after = 0;
    if (!is_same) return true;
    bool has_sizes = read_sizes(axes, axis, &input, &output);
    if (!has_kernel || (!has_sizes && out->stride != 1)) return false;
    int64_t total = has_sizes ? (output - 1) * out->stride + out->reach - input : out->reach - 1;
    if (total < 0) total = 0;
    out->before = upper ? total / 2 : total - total / 2;
    out->after = total - out->before;
    return true;
}

static bool has_weights(const sinter_axes *axes) {
    return axes->info.op == SINTER_OP_conv || axes->info.op == SINTER_OP_conv_integer;
}

static uint32_t first_space(const sinter_axes *axes) {
    return sinter_node_get_int(axes->module, axes->node, "channels_last", 0) != 0 ? 1 : 2;
}

/* What stands for an index that is not there; NULL where a window would have to know that it is not. */
static const char *fill_of(const sinter_axes *axes, const slide *s) {
    switch (axes->info.op) {
    case SINTER_OP_conv:
    case SINTER_OP_lp_pool:
        return "zero";
    case SINTER_OP_conv_integer: /* with a zero point that is what pads */
        return sinter_axes_operand(axes, 2) ? NULL : "zero";
    case SINTER_OP_max_pool: /* indices count through all of the data */
        return sinter_axes_result(axes, 1) ? NULL : "lowest";
    case SINTER_OP_average_pool: {
        bool counts = sinter_node_get_int(axes->module, axes->node, "count_include_pad", 0) != 0;
        bool ceil = sinter_node_get_int(axes->module, axes->node, "ceil_mode", 0) != 0;
        return !ceil && (counts || (!s->before && !s->after)) ? "zero" : NULL;
    }
    default:
        return NULL;
    }
}

void sinter_axes_describe_windows(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    if (!x || !y || x->rank < 3 || x->rank != y->rank) return;
    for (uint32_t i = 0; i < x->rank - 2; i++) {
        uint32_t axis = first_space(axes) + i;
        int64_t kernel, input, output;
        slide s;
        if (!read_kernel(axes, has_weights(axes), i, &kernel) ||
            !read_sizes(axes, axis, &input, &output) ||
            !read_slide(axes, has_weights(axes), i, x->rank - 2, axis, &s))
            continue;
        sinter_axis_window window = {.axis = axis,
                                     .size = y->dims[axis],
                                     .stride = s.stride,
                                     .reach = s.reach,
                                     .before = s.before,
                                     .fill = fill_of(axes, &s)};
        if (window.fill) sinter_vector_push(axes->arena, &axes->map->windows, window);
    }
}

bool sinter_axes_unpad(sinter_rewrite *rewrite, sinter_node node, const bool *marks) {
    sinter_module *module = rewrite->build.module;
    sinter_axes axes = {.module = module,
                        .dims = sinter_module_dims(module),
                        .node = node,
                        .info = *sinter_node_get(module, node)};
    int64_t pads[2 * SINTER_MAX_RANK] = {0};
    uint32_t count = sinter_axes_operand(&axes, 0)->rank - 2;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t axis = first_space(&axes) + i;
        slide s = {0};
        if (marks[axis]) continue;
        if (!read_slide(&axes, has_weights(&axes), i, count, axis, &s)) return false;
        pads[i] = s.before;
        pads[i + count] = s.after;
    }
    sinter_attr explicit = sinter_attr_string("auto_pad", SINTER_STRING("NOTSET"));
    sinter_attr list = sinter_attr_ints("pads", pads, 2 * (size_t)count);
    sinter_rewrite_set_attr(rewrite, node, &explicit);
    sinter_rewrite_set_attr(rewrite, node, &list);
    return true;
}
