/* Dims of views and reductions whose axes, bounds or sizes come as data: each rule is a kernel of a few integers that the
 * host runs before the node gets its memory. What makes no sense (an axis twice, a squeezed axis that is not 1) stops
 * the run there, so that the node's own kernel can rely on the sizes. Test: tests/ops/late_dims.sir */
#include "codegen/lower/write.h"

static bool bind_all(sinter_late_dims *late, sinter_node node) {
    bool good = sinter_late_end(late);
    sinter_value y = sinter_write_result(&late->kernel, node, 0);
    for (uint32_t i = 0; i < late->count; ++i) sinter_late_bind(late, y, i, i);
    return good;
}

/* Sizes of x without the marked axes, in order. */
static void set_unmarked(sinter_late_dims *late, sinter_value x, sinter_loop_buffer mark,
                         bool must_be_one) {
    sinter_kernel *k = &late->kernel;
    uint32_t rank = sinter_write_type(k, x).rank;
    sinter_expr limit = sinter_write_int(k, late->count);
    sinter_loop_var next = sinter_write_var(k, "next", sinter_write_int(k, 0));
    for (uint32_t d = 0; d < rank; ++d) {
        sinter_expr marked = sinter_write_load1(k, mark, sinter_write_int(k, d)),
                    dim = sinter_kernel_dim_of(k, x, (int)d);
        sinter_write_if(k, FORMULA(k, "a == 0", marked));
        sinter_expr at = sinter_write_get(k, next);
        sinter_write_check(k, FORMULA(k, "a < b", at, limit), "more than %0 axes stay", limit);
        if (late->count) sinter_write_store1(k, late->sizes, at, dim);
        sinter_write_add(k, next, sinter_write_int(k, 1));
        sinter_write_end(k);
        if (!must_be_one) continue;
        sinter_write_check(k, FORMULA(k, "a == 0 || b == 1", marked, dim),
                           "squeeze: an axis has size %0", dim);
    }
    sinter_write_check(k, FORMULA(k, "a == b", sinter_write_get(k, next), limit),
                       "fewer than %0 axes stay", limit);
}

bool sinter_lower_reduce_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 axes = sinter_node_operand(lower->module, node, 1),
                 y = sinter_node_result(lower->module, node, 0);
    uint32_t rank = sinter_value_type(lower->module, x)->rank;
    bool all = sinter_node_get_int(lower->module, node, "noop_with_empty_axes", 0) == 0;
    sinter_late_begin(&late, lower, node, sinter_value_type(lower->module, y)->rank);
    sinter_kernel *k = &late.kernel;
    sinter_loop_buffer mark = sinter_write_axes(k, "mark", node, axes, rank, all);
    if (late.count != rank || sinter_node_get_int(lower->module, node, "keepdims", 1) == 0) {
        set_unmarked(&late, x, mark, false);
    } else {
        for (uint32_t d = 0; d < rank; ++d)
            sinter_late_set(&late, d,
                            FORMULA(k, "select(a == 0, b, 1)",
                                    sinter_write_load1(k, mark, sinter_write_int(k, d)),
                                    sinter_kernel_dim_of(k, x, (int)d)));
    }
    return bind_all(&late, node);
}

bool sinter_lower_squeeze_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 axes = sinter_node_operand(lower->module, node, 1),
                 y = sinter_node_result(lower->module, node, 0);
    uint32_t rank = sinter_value_type(lower->module, x)->rank;
    sinter_late_begin(&late, lower, node, sinter_value_type(lower->module, y)->rank);
    set_unmarked(&late, x, sinter_write_axes(&late.kernel, "mark", node, axes, rank, false), true);
    return bind_all(&late, node);
}

bool sinter_lower_unsqueeze_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 axes = sinter_node_operand(lower->module, node, 1),
                 y = sinter_node_result(lower->module, node, 0);
    uint32_t rank = sinter_value_type(lower->module, x)->rank,
             out_rank = sinter_value_type(lower->module, y)->rank;
    sinter_late_begin(&late, lower, node, out_rank);
    sinter_kernel *k = &late.kernel;
    sinter_loop_buffer mark = sinter_write_axes(k, "mark", node, axes, out_rank, false);
    sinter_loop_var next = sinter_write_var(k, "next", sinter_write_int(k, 0));
    for (uint32_t d = 0; d < out_rank; ++d) {
        sinter_expr marked = sinter_write_load1(k, mark, sinter_write_int(k, d)),
                    at = sinter_write_let(k, "at", sinter_write_get(k, next)),
                    size = sinter_write_int(k, 1);
        for (uint32_t i = rank; i-- > 0;)
            size = FORMULA(k, "select(a != 0 || b != c, d, e)", marked, at, sinter_write_int(k, i),
                           size, sinter_kernel_dim_of(k, x, (int)i));
        sinter_late_set(&late, d, size);
        sinter_write_add(k, next, FORMULA(k, "select(a == 0, 1, 0)", marked));
    }
    sinter_write_check(k,
                       FORMULA(k, "a == b", sinter_write_get(k, next), sinter_write_int(k, rank)),
                       "unsqueeze: %0 axes are not named", sinter_write_get(k, next));
    return bind_all(&late, node);
}

bool sinter_lower_range_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = &late.kernel;
    sinter_expr start = sinter_write_scalar(k, node, 0, SINTER_DTYPE_f64, 0),
                limit = sinter_write_scalar(k, node, 1, SINTER_DTYPE_f64, 0),
                delta = sinter_write_scalar(k, node, 2, SINTER_DTYPE_f64, 1);
    sinter_expr steps =
        sinter_write_let(k, "steps", FORMULA(k, "ceil((b - a) / c)", start, limit, delta));
    sinter_write_check(k, FORMULA(k, "b != 0 && a < 1099511627776", steps, delta),
                       "range: no usable count", sinter_write_int(k, 0));
    sinter_late_set(&late, 0,
                    sinter_write_cast(k, FORMULA(k, "max(a, 0)", steps), SINTER_DTYPE_i64));
    return bind_all(&late, node);
}

bool sinter_lower_one_hot_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    sinter_value y = sinter_node_result(lower->module, node, 0);
    sinter_late_begin(&late, lower, node, 1);
    sinter_kernel *k = &late.kernel;
    sinter_expr depth =
        sinter_write_let(k, "depth", sinter_write_scalar(k, node, 1, SINTER_DTYPE_i64, 0));
    sinter_write_check(k, FORMULA(k, "a >= 0 && a < 1099511627776", depth), "one_hot: depth is %0",
                       depth);
    sinter_late_set(&late, 0, depth);
    bool good = sinter_late_end(&late);
    sinter_late_bind(
        &late, y, sinter_node_get_axis(k->lower->module, node, 0, sinter_write_type(k, y).rank), 0);
    return good;
}

/* sizes[axis named by element i of axes] = size; axis i itself without axes. */
static void set_axis(sinter_late_dims *late, sinter_node node, sinter_value axes, uint32_t i,
                     sinter_expr axis, sinter_expr size) {
    sinter_kernel *k = &late->kernel;
    if (axes) sinter_kernel_check_index(k, node, axis, sinter_write_int(k, late->count));
    sinter_write_store1(k, late->sizes, axes ? axis : sinter_write_int(k, i), size);
}

static sinter_expr axis_at(sinter_late_dims *late, sinter_value axes, uint32_t i) {
    sinter_kernel *k = &late->kernel;
    if (!axes) return sinter_write_int(k, i);
    return sinter_write_let(k, "axis",
                            sinter_kernel_wrap_index(k, sinter_write_int_operand(k, axes, i),
                                                     sinter_write_int(k, late->count)));
}

/* All sizes are those of x at first. */
static void begin_like(sinter_late_dims *late, sinter_lower *lower, sinter_node node) {
    sinter_value x = sinter_node_operand(lower->module, node, 0);
    uint32_t rank = sinter_value_type(lower->module, x)->rank;
    sinter_late_begin(late, lower, node, rank);
    for (uint32_t d = 0; d < rank; ++d)
        sinter_late_set(late, d, sinter_kernel_dim_of(&late->kernel, x, (int)d));
}

bool sinter_lower_pad_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    begin_like(&late, lower, node);
    sinter_kernel *k = &late.kernel;
    sinter_value pads = sinter_write_operand(k, node, 1), axes = sinter_write_operand(k, node, 3);
    uint32_t count = axes ? sinter_write_static_count(k, node, axes) : late.count;
    for (uint32_t i = 0; i < count; ++i) {
        sinter_expr axis = axis_at(&late, axes, i);
        if (axes) sinter_kernel_check_index(k, node, axis, sinter_write_int(k, late.count));
        sinter_expr size = FORMULA(k, "a + b + c", sinter_write_load1(k, late.sizes, axis),
                                   sinter_write_int_operand(k, pads, i),
                                   sinter_write_int_operand(k, pads, count + i));
        size = sinter_write_let(k, "size", size);
        sinter_write_check(k, FORMULA(k, "a >= 0 && a < 1099511627776", size), "pad: a size of %0",
                           size);
        set_axis(&late, node, axes, i, axis, size);
    }
    return bind_all(&late, node);
}

bool sinter_lower_slice_dims(sinter_lower *lower, sinter_node node) {
    sinter_late_dims late;
    begin_like(&late, lower, node);
    sinter_kernel *k = &late.kernel;
    sinter_value starts = sinter_write_operand(k, node, 1), ends = sinter_write_operand(k, node, 2),
                 axes = sinter_write_operand(k, node, 3), steps = sinter_write_operand(k, node, 4);
    uint32_t count = sinter_write_static_count(k, node, starts);
    for (uint32_t i = 0; i < count && i < late.count; ++i) {
        sinter_expr axis = axis_at(&late, axes, i);
        if (axes) sinter_kernel_check_index(k, node, axis, sinter_write_int(k, late.count));
        sinter_expr dim = sinter_write_let(k, "dim", sinter_write_load1(k, late.sizes, axis));
        sinter_expr step = steps ? sinter_write_int_operand(k, steps, i) : sinter_write_int(k, 1);
        sinter_expr far = sinter_write_int(k, INT64_C(1) << 62); /* as good as any longer step */
        step = sinter_write_let(k, "step", FORMULA(k, "max(-b, min(a, b))", step, far));
        sinter_write_check(k, FORMULA(k, "a != 0", step), "slice: a step is %0", step);
        sinter_expr range[2] = {sinter_write_int_operand(k, starts, i),
                                sinter_write_int_operand(k, ends, i)};
        for (int side = 0; side < 2; ++side) {
            sinter_expr at = sinter_write_let(k, "at", range[side]);
            at = sinter_write_let(k, "at", FORMULA(k, "select(a < 0, a + b, a)", at, dim));
            /* Up: both in [0, dim]. Down: start in [0, dim - 1], end in [-1, dim - 1]. */
            sinter_expr up = FORMULA(k, "max(0, min(a, b))", at, dim),
                        down = side ? FORMULA(k, "max(-1, min(a, b - 1))", at, dim)
                                    : FORMULA(k, "max(0, min(a, b - 1))", at, dim);
            range[side] =
                sinter_write_let(k, "edge", FORMULA(k, "select(a < 0, b, c)", step, down, up));
        }
        sinter_expr size =
            FORMULA(k, "select(c > 0, floordiv(b - a + c - 1, c), floordiv(a - b - c - 1, -c))",
                    range[0], range[1], step);
        size = sinter_write_let(k, "size", FORMULA(k, "max(a, 0)", size));
        set_axis(&late, node, axes, i, axis, size);
    }
    return bind_all(&late, node);
}
