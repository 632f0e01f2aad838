/* Lowering of sliding windows: convolution, its transpose, pooling. Bounds of the window loops are clipped to the
 * input instead of testing each tap, so inner loops have no branch. Test: tests/suites/onnx_suite.py */
#include "codegen/lower/window.h"
#include "codegen/lower/winograd.h"
#include "ir/infer.h"

/* What windows at `narrow` places reach in all, less the `wide` elements there are: the padding that SAME asks for. */
static sinter_expr overhang(sinter_loop_builder *build, const sinter_window *w, uint32_t i,
                            sinter_expr narrow, sinter_expr wide) {
    sinter_expr one = sinter_loop_int(build, 1);
    sinter_expr span =
        sinter_loop_add(build,
                        sinter_loop_mul(build, sinter_loop_sub(build, w->kernel[i], one),
                                        sinter_loop_int(build, w->dilation[i])),
                        one);
    sinter_expr total = sinter_loop_add(build,
                                        sinter_loop_mul(build, sinter_loop_sub(build, narrow, one),
                                                        sinter_loop_int(build, w->stride[i])),
                                        sinter_loop_sub(build, span, wide));
    return sinter_loop_max(build, total, sinter_loop_int(build, 0));
}

/* Taps come from kernel_shape or, for convolutions, from the weight's dims. */
static sinter_window describe(sinter_kernel *kernel, sinter_node node, sinter_value x,
                              sinter_value weight, sinter_value y) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    uint32_t rank = sinter_value_type(module, x)->rank;
    bool channels_last = sinter_node_get_int(module, node, "channels_last", 0) != 0;
    sinter_window w = {.spatial = rank - 2,
                       .channel = channels_last ? rank - 1 : 1,
                       .space = channels_last ? 1 : 2};
    sinter_string mode = sinter_node_get_string(module, node, "auto_pad");
    bool same_upper = sinter_string_is(mode, "SAME_UPPER"),
         same_lower = sinter_string_is(mode, "SAME_LOWER");
    bool valid = sinter_string_is(mode, "VALID");
    for (uint32_t i = 0; i < w.spatial; ++i) {
        w.stride[i] = sinter_node_get_int_at(module, node, "strides", i, 1);
        w.dilation[i] = sinter_node_get_int_at(module, node, "dilations", i, 1);
        w.kernel[i] = weight ? sinter_kernel_dim_of(kernel, weight, (int)i + 2)
                             : sinter_loop_int(build, sinter_node_get_int_at(module, node,
                                                                             "kernel_shape", i, 1));
        if (same_upper || same_lower) {
            sinter_expr total =
                overhang(build, &w, i, sinter_kernel_dim_of(kernel, y, (int)(w.space + i)),
                         sinter_kernel_dim_of(kernel, x, (int)(w.space + i)));
            sinter_expr one = sinter_loop_int(build, 1); /* the odd one at the end or the start */
            sinter_expr half =
                sinter_loop_div(build, same_upper ? total : sinter_loop_add(build, total, one),
                                sinter_loop_int(build, 2));
            w.pad_before[i] = half;
            w.pad_after[i] = sinter_loop_sub(build, total, half);
        } else {
            w.pad_before[i] = sinter_loop_int(
                build, valid ? 0 : sinter_node_get_int_at(module, node, "pads", i, 0));
            w.pad_after[i] = sinter_loop_int(
                build, valid ? 0 : sinter_node_get_int_at(module, node, "pads", i + w.spatial, 0));
        }
    }
    return w;
}

sinter_window sinter_lower_describe_conv(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    return describe(kernel, node, sinter_node_operand(module, node, 0),
                    sinter_node_operand(module, node, 1), sinter_node_result(module, node, 0));
}

static sinter_expr ceil_div(sinter_loop_builder *build, sinter_expr a, int64_t b) {
    if (b == 1) return a;
    return sinter_loop_div(build, sinter_loop_add(build, a, sinter_loop_int(build, b - 1)),
                           sinter_loop_int(build, b));
}

/* Opens loops over the taps that fall on the input: out_tap[i] is the tap, out_at[i] the input position. first[i] is
 * the position of tap 0 (may be negative). */
static void begin_taps(sinter_kernel *kernel, const sinter_window *w, sinter_value x,
                       const sinter_expr *first, sinter_expr *out_tap, sinter_expr *out_at) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr zero = sinter_loop_int(build, 0);
    bool has_zeros = sinter_kernel_find_between(kernel, x); /* around what the input has */
    for (uint32_t i = 0; i < w->spatial; ++i) {
        int64_t pad = 0;
        bool inside = has_zeros || (sinter_loop_is_const_int(w->pad_before[i], &pad) && pad == 0);
        sinter_expr size = sinter_kernel_dim_of(kernel, x, (int)(w->space + i));
        sinter_expr low =
            inside ? zero
                   : sinter_loop_max(
                         build, zero,
                         ceil_div(build, sinter_loop_sub(build, zero, first[i]), w->dilation[i]));
        bool inside_after = inside && sinter_loop_is_const_int(w->pad_after[i], &pad) && pad == 0 &&
                            !w->dilation[i];
        sinter_expr high = w->kernel[i];
        if (!inside_after && !has_zeros)
            high = sinter_loop_min(
                build, high,
                ceil_div(build,
                         sinter_loop_max(build, zero, sinter_loop_sub(build, size, first[i])),
                         w->dilation[i]));
        sinter_loop_var tap = sinter_loop_begin_for(
            build, sinter_arena_format(build->arena, "k%u", i), low, high, 1, SINTER_AXIS_SERIAL);
        out_tap[i] = sinter_loop_var_read(build, tap);
        out_at[i] = sinter_loop_add(
            build, first[i],
            sinter_loop_mul(build, out_tap[i], sinter_loop_int(build, w->dilation[i])));
    }
}

static sinter_expr first_tap(sinter_kernel *kernel, const sinter_window *w, uint32_t i,
                             sinter_expr out) {
    sinter_loop_builder *build = &kernel->build;
    return sinter_loop_sub(build, sinter_loop_mul(build, out, sinter_loop_int(build, w->stride[i])),
                           w->pad_before[i]);
}

static sinter_expr zero_of(sinter_kernel *kernel, sinter_dtype dtype) {
    return sinter_dtype_is_float(dtype) ? sinter_loop_const(&kernel->build, dtype, 0)
                                        : sinter_loop_const_int(&kernel->build, dtype, 0);
}

/* element - zero point, in the accumulator's type; the zero point is per tensor or per output channel. */
static sinter_expr centred(sinter_kernel *kernel, sinter_value zero, sinter_expr element,
                           sinter_expr channel, sinter_dtype dtype) {
    element = sinter_loop_cast(&kernel->build, element, dtype);
    if (!zero) return element;
    sinter_type type = *sinter_value_type(kernel->lower->module, zero);
    bool one = type.rank == 0 || sinter_dim_is(kernel->lower->dims, type.dims[0], 1);
    sinter_expr value =
        one ? sinter_lower_scalar(kernel, zero) : sinter_lower_element(kernel, zero, &channel);
    return sinter_loop_sub(&kernel->build, element, sinter_loop_cast(&kernel->build, value, dtype));
}

/* Channels of y that read the same channels of x, where these are several and a loop can go through them: 0 in depthwise convolutions,
 * whose channels each read their own, where the run alone knows the number, and in parts of y, which may begin within a group. */
static int64_t find_shared(sinter_kernel *kernel, sinter_value weight, sinter_value y,
                           int64_t group) {
    int64_t all = 0, read = 0;
    bool known = sinter_loop_is_const_int(sinter_kernel_dim_of(kernel, weight, 0), &all) &&
                 sinter_loop_is_const_int(sinter_kernel_dim_of(kernel, weight, 1), &read);
    return known && read > 1 && kernel->part.value != y ? all / group : 0;
}

/* Loops over the elements of y; a loop over groups is around the channels of one, which are the columns of a product then. *out_group:
 * the group that the element is in. How many loops. */
static uint32_t begin_elements(sinter_kernel *kernel, sinter_value weight, sinter_value y,
                               uint32_t channel, int64_t group, sinter_expr *out,
                               sinter_expr *out_group) {
    sinter_loop_builder *build = &kernel->build;
    uint32_t rank = sinter_value_type(kernel->lower->module, y)->rank;
    int64_t shared = group > 1 ? find_shared(kernel, weight, y, group) : 0;
    *out_group = sinter_loop_int(build, 0);
    if (!shared) {
        sinter_kernel_begin_loops(kernel, y, out);
        if (group > 1)
            *out_group =
                sinter_loop_div(build, out[channel],
                                sinter_loop_div(build, sinter_kernel_dim_of(kernel, weight, 0),
                                                sinter_loop_int(build, group)));
        return rank;
    }
    for (uint32_t i = 0; i < rank; ++i) {
        if (i == channel)
            *out_group = sinter_kernel_begin_for(kernel, "g", sinter_loop_int(build, group));
        out[i] = sinter_kernel_begin_for(kernel, sinter_arena_format(build->arena, "i%u", i),
                                         i == channel ? sinter_loop_int(build, shared)
                                                      : sinter_kernel_dim_of(kernel, y, (int)i));
    }
    out[channel] = sinter_loop_add(
        build, sinter_loop_mul(build, *out_group, sinter_loop_int(build, shared)), out[channel]);
    return rank + 1;
}

bool sinter_lower_conv(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    const int64_t *plan = NULL;
    if (sinter_node_get_ints(module, node, "winograd", &plan))
        return sinter_lower_winograd(kernel, node);
    sinter_loop_builder *build = &kernel->build;
    bool integer = sinter_node_get(module, node)->op == SINTER_OP_conv_integer;
    sinter_value x = sinter_node_operand(module, node, 0),
                 weight = sinter_node_operand(module, node, 1);
    sinter_value bias = integer ? 0 : sinter_node_operand(module, node, 2),
                 y = sinter_node_result(module, node, 0);
    sinter_dtype dtype = sinter_dtype_compute(sinter_value_type(module, y)->dtype);
    int64_t group = sinter_node_get_int(module, node, "group", 1);
    sinter_window w = describe(kernel, node, x, weight, y);
    sinter_expr out[SINTER_MAX_RANK], in[SINTER_MAX_RANK], at[SINTER_MAX_RANK],
        tap[SINTER_MAX_RANK], first[SINTER_MAX_RANK] = {0};
    sinter_expr which;
    uint32_t loops = begin_elements(kernel, weight, y, w.channel, group, out, &which);
    sinter_loop_var acc = sinter_loop_declare(
        build, "acc", true,
        bias ? sinter_lower_element(kernel, bias, &out[w.channel]) : zero_of(kernel, dtype));
    sinter_expr channels = sinter_kernel_dim_of(kernel, weight, 1);
    sinter_expr base = sinter_loop_mul(build, which, channels);
    for (uint32_t i = 0; i < w.spatial; ++i) first[i] = first_tap(kernel, &w, i, out[w.space + i]);
    /* The innermost loop walks along what lies together. */
    bool channels_last = w.channel > 1;
    sinter_expr c = channels_last ? NULL : sinter_kernel_begin_for(kernel, "c", channels);
    begin_taps(kernel, &w, x, first, &tap[2], &in[w.space]);
    if (channels_last) c = sinter_kernel_begin_for(kernel, "c", channels);
    in[0] = out[0];
    in[w.channel] = sinter_loop_add(build, base, c);
    at[0] = out[w.channel];
    at[1] = c;
    for (uint32_t i = 0; i < w.spatial; ++i) at[i + 2] = tap[i + 2];
    sinter_expr a = sinter_lower_element(kernel, x, in),
                b = sinter_lower_element(kernel, weight, at);
    if (integer) {
        a = centred(kernel, sinter_node_operand(module, node, 2), a, out[w.channel], dtype);
        b = centred(kernel, sinter_node_operand(module, node, 3), b, out[w.channel], dtype);
    }
    sinter_loop_assign(
        build, acc,
        sinter_loop_add(build, sinter_loop_var_read(build, acc), sinter_loop_mul(build, a, b)));
    sinter_kernel_end_loops(kernel, w.spatial + 1);
    sinter_lower_store(kernel, y, out, sinter_loop_var_read(build, acc));
    sinter_kernel_end_loops(kernel, loops);
    return true;
}

/* How much of the whole product a transposed convolution leaves out before y: pads, or what auto_pad or the shape asked
 * for make of them. */
static sinter_expr crop_before(sinter_kernel *kernel, sinter_node node, const sinter_window *w,
                               uint32_t i) {
    sinter_loop_builder *build = &kernel->build;
    sinter_dim excess;
    bool upper;
    if (!sinter_infer_transposed_excess(kernel->lower->module, node, i, &excess, &upper))
        return w->pad_before[i];
    sinter_expr total =
        sinter_loop_max(build, sinter_kernel_dim(kernel, excess), sinter_loop_int(build, 0));
    sinter_expr half = sinter_loop_div(build, total, sinter_loop_int(build, 2));
    return upper ? half : sinter_loop_sub(build, total, half);
}

/* Opens the loop over the taps of an axis and, in it, the test whether one carries an element of x to `place` of the whole
 * product, with (position in x) * stride = place - tap * dilation. Returns the tap. */
static sinter_expr begin_reach(sinter_kernel *kernel, const sinter_window *w, uint32_t i,
                               sinter_expr place, sinter_expr size, sinter_expr *out_position) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr zero = sinter_loop_int(build, 0), stride = sinter_loop_int(build, w->stride[i]);
    sinter_expr tap =
        sinter_kernel_begin_for(kernel, sinter_arena_format(build->arena, "k%u", i), w->kernel[i]);
    sinter_expr reach = sinter_loop_sub(
        build, place, sinter_loop_mul(build, tap, sinter_loop_int(build, w->dilation[i])));
    reach = sinter_loop_var_read(build, sinter_loop_declare(build, "reach", false, reach));
    sinter_expr position = sinter_loop_div(build, reach, stride);
    sinter_expr hits =
        sinter_loop_and(build, sinter_loop_compare(build, SINTER_SCALAR_le, zero, reach),
                        sinter_loop_compare(build, SINTER_SCALAR_lt, position, size));
    if (w->stride[i] > 1)
        hits = sinter_loop_and(build, hits,
                               sinter_loop_compare(build, SINTER_SCALAR_eq,
                                                   sinter_loop_rem(build, reach, stride), zero));
    sinter_loop_begin_if(build, hits);
    *out_position = position;
    return tap;
}

/* y[o] = sum over taps k with (o + crop - k * dilation) = i * stride of x[i] * w[k]: every output element gathers what
 * reaches it, so that elements stay independent. */
bool sinter_lower_conv_transpose(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0),
                 weight = sinter_node_operand(module, node, 1);
    sinter_value bias = sinter_node_operand(module, node, 2),
                 y = sinter_node_result(module, node, 0);
    sinter_dtype dtype = sinter_dtype_compute(sinter_value_type(module, y)->dtype);
    int64_t group = sinter_node_get_int(module, node, "group", 1);
    sinter_window w = describe(kernel, node, x, weight, y);
    sinter_expr out[SINTER_MAX_RANK], in[SINTER_MAX_RANK], at[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, y, out);
    sinter_loop_var acc = sinter_loop_declare(
        build, "acc", true,
        bias ? sinter_lower_element(kernel, bias, &out[w.channel]) : zero_of(kernel, dtype));
    sinter_expr per_group_in = sinter_loop_div(
        build, sinter_kernel_dim_of(kernel, x, (int)w.channel), sinter_loop_int(build, group));
    sinter_expr per_group_out = sinter_kernel_dim_of(kernel, weight, 1);
    sinter_expr which = group > 1 ? sinter_loop_div(build, out[w.channel], per_group_out)
                                  : sinter_loop_int(build, 0);
    sinter_expr c = sinter_kernel_begin_for(kernel, "c", per_group_in);
    in[0] = out[0];
    in[w.channel] = sinter_loop_add(build, sinter_loop_mul(build, which, per_group_in), c);
    at[0] = in[w.channel];
    at[1] = sinter_loop_sub(build, out[w.channel], sinter_loop_mul(build, which, per_group_out));
    for (uint32_t i = 0; i < w.spatial; ++i) {
        sinter_expr place =
            sinter_loop_add(build, out[w.space + i], crop_before(kernel, node, &w, i));
        sinter_expr size = sinter_kernel_dim_of(kernel, x, (int)(w.space + i));
        at[i + 2] = begin_reach(kernel, &w, i, place, size, &in[w.space + i]);
    }
    sinter_expr product = sinter_loop_mul(build, sinter_lower_element(kernel, x, in),
                                          sinter_lower_element(kernel, weight, at));
    sinter_loop_assign(build, acc,
                       sinter_loop_add(build, sinter_loop_var_read(build, acc), product));
    sinter_kernel_end_loops(kernel, 2 * w.spatial + 1);
    sinter_lower_store(kernel, y, out, sinter_loop_var_read(build, acc));
    sinter_kernel_end_loops(kernel, w.spatial + 2);
    return true;
}

/* ---- pooling ---- */

/* Divisor of an average: taps on the input, or on the padded input with count_include_pad (never past its end). */
static sinter_expr average_count(sinter_kernel *kernel, const sinter_window *w, sinter_value x,
                                 const sinter_expr *first, bool padding) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr zero = sinter_loop_int(build, 0), count = sinter_loop_int(build, 1);
    for (uint32_t i = 0; i < w->spatial; ++i) {
        sinter_expr size = sinter_kernel_dim_of(kernel, x, (int)(w->space + i));
        sinter_expr low = zero, limit = size;
        if (padding)
            limit = sinter_loop_add(build, size, w->pad_after[i]);
        else
            low = sinter_loop_max(
                build, zero,
                ceil_div(build, sinter_loop_sub(build, zero, first[i]), w->dilation[i]));
        sinter_expr high = sinter_loop_min(
            build, w->kernel[i],
            ceil_div(build, sinter_loop_max(build, zero, sinter_loop_sub(build, limit, first[i])),
                     w->dilation[i]));
        count = sinter_loop_mul(build, count, sinter_loop_sub(build, high, low));
    }
    return count;
}

/* Greater, or the first NaN, which stays: as max has it. */
static sinter_expr is_better(sinter_loop_builder *build, sinter_expr best, sinter_expr element) {
    sinter_expr greater = sinter_loop_compare(build, SINTER_SCALAR_lt, best, element);
    if (!sinter_dtype_is_float(element->dtype)) return greater;
    sinter_expr both[2] = {sinter_loop_compare(build, SINTER_SCALAR_eq, best, best),
                           sinter_loop_compare(build, SINTER_SCALAR_ne, element, element)};
    sinter_expr either[2] = {greater, sinter_loop_call(build, SINTER_SCALAR_and, both)};
    return sinter_loop_call(build, SINTER_SCALAR_or, either);
}

static void pool_maximum(sinter_kernel *kernel, sinter_node node, const sinter_window *w,
                         const sinter_expr *out, const sinter_expr *first) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    sinter_value indices = sinter_node_result(module, node, 1);
    sinter_dtype dtype = sinter_dtype_compute(sinter_value_type(module, x)->dtype);
    sinter_expr in[SINTER_MAX_RANK], tap[SINTER_MAX_RANK];
    sinter_expr lowest = sinter_lower_scalar_text(kernel, "lowest", NULL, NULL, 0, dtype);
    sinter_loop_var acc =
        sinter_loop_declare(build, "acc", true, sinter_loop_cast(build, lowest, dtype));
    sinter_loop_var best =
        indices ? sinter_loop_declare(build, "best", true, sinter_loop_int(build, -1)) : 0;
    in[0] = out[0];
    in[w->channel] = out[w->channel];
    begin_taps(kernel, w, x, first, tap, &in[w->space]);
    sinter_expr element = sinter_lower_element(kernel, x, in);
    element = sinter_loop_var_read(build, sinter_loop_declare(build, "x", false, element));
    if (!indices) {
        sinter_loop_assign(build, acc,
                           sinter_loop_max(build, sinter_loop_var_read(build, acc), element));
    } else {
        sinter_expr better = is_better(build, sinter_loop_var_read(build, acc), element);
        sinter_expr none = sinter_loop_compare(
            build, SINTER_SCALAR_lt, sinter_loop_var_read(build, best), sinter_loop_int(build, 0));
        sinter_expr either[2] = {better, none};
        sinter_loop_begin_if(build, sinter_loop_call(build, SINTER_SCALAR_or, either));
        sinter_loop_assign(build, acc, element);
        /* Row-major position in the whole input, or column-major in space with storage_order. */
        bool columns = sinter_node_get_int(module, node, "storage_order", 0) != 0;
        sinter_expr position = sinter_loop_int(build, 0);
        uint32_t rank = w->spatial + 2;
        for (uint32_t i = 0; i < rank; ++i) {
            uint32_t axis = i < 2 || !columns ? i : rank - 1 - (i - 2);
            position = sinter_loop_add(
                build, sinter_loop_mul(build, position, sinter_kernel_dim_of(kernel, x, (int)axis)),
                in[axis]);
        }
        sinter_loop_assign(build, best, position);
        sinter_loop_end(build);
    }
    sinter_kernel_end_loops(kernel, w->spatial);
    sinter_lower_store(kernel, y, out, sinter_loop_var_read(build, acc));
    if (indices) sinter_lower_store(kernel, indices, out, sinter_loop_var_read(build, best));
}

static void pool_sum(sinter_kernel *kernel, sinter_node node, const sinter_window *w,
                     const sinter_expr *out, const sinter_expr *first) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    bool average = sinter_node_get(module, node)->op == SINTER_OP_average_pool;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    sinter_dtype dtype = sinter_dtype_compute(sinter_value_type(module, x)->dtype);
    int64_t p = sinter_node_get_int(module, node, "p", 2);
    sinter_expr in[SINTER_MAX_RANK], tap[SINTER_MAX_RANK];
    sinter_loop_var acc = sinter_loop_declare(build, "acc", true, zero_of(kernel, dtype));
    in[0] = out[0];
    in[w->channel] = out[w->channel];
    begin_taps(kernel, w, x, first, tap, &in[w->space]);
    sinter_expr element = sinter_lower_element(kernel, x, in);
    sinter_string names[2] = {SINTER_STRING("x"), SINTER_STRING("p")};
    sinter_expr values[2] = {element, sinter_loop_const(build, dtype, (double)p)};
    if (!average)
        element = sinter_lower_scalar_text(kernel,
                                           p == 1   ? "abs(x)"
                                           : p == 2 ? "x * x"
                                                    : "pow(abs(x), p)",
                                           names, values, 2, dtype);
    sinter_loop_assign(build, acc,
                       sinter_loop_add(build, sinter_loop_var_read(build, acc), element));
    sinter_kernel_end_loops(kernel, w->spatial);
    values[0] = sinter_loop_var_read(build, acc);
    sinter_expr value;
    if (average) {
        bool padding = sinter_node_get_int(module, node, "count_include_pad", 0) != 0;
        sinter_expr count = average_count(kernel, w, x, first, padding);
        /* A window of padding alone has no element: its mean is 0. */
        values[1] = sinter_loop_cast(
            build, sinter_loop_max(build, count, sinter_loop_int(build, 1)), dtype);
        value = sinter_lower_scalar_text(kernel, "x / p", names, values, 2, dtype);
    } else {
        value = sinter_lower_scalar_text(kernel,
                                         p == 1   ? "x"
                                         : p == 2 ? "sqrt(x)"
                                                  : "pow(x, 1 / p)",
                                         names, values, 2, dtype);
    }
    sinter_lower_store(kernel, y, out, value);
}

bool sinter_lower_pool(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    sinter_window w = describe(kernel, node, x, 0, y);
    sinter_expr out[SINTER_MAX_RANK], first[SINTER_MAX_RANK] = {0};
    sinter_kernel_begin_loops(kernel, y, out);
    for (uint32_t i = 0; i < w.spatial; ++i) first[i] = first_tap(kernel, &w, i, out[w.space + i]);
    if (sinter_node_get(module, node)->op == SINTER_OP_max_pool)
        pool_maximum(kernel, node, &w, out, first);
    else
        pool_sum(kernel, node, &w, out, first);
    sinter_kernel_end_loops(kernel, w.spatial + 2);
    return true;
}
