/* Lowering of resize. Every resized axis gets a table of neighbours and weights for each output position, computed once
 * per run in f64; the main nest then is a weighted sum over the tables, separable in its axes. Nearest is one neighbour
 * of weight 1. Formulas: ONNX Resize. Test: tests/suites/onnx_suite.py */
#include "codegen/lower/lower.h"
#include "runtime/abi.h"

typedef struct resizing {
    sinter_kernel *kernel;
    sinter_loop_builder *build;
    sinter_module *module;
    sinter_node node;
    sinter_value x, y;
    sinter_string transform, rounding;
    bool nearest, cubic, antialias, exclude_outside, crop;
    sinter_dtype dtype; /* of weights and sums */
} resizing;

typedef struct resized_axis {
    uint32_t axis;
    sinter_expr input, output;        /* i64 */
    sinter_expr scale, start, end;    /* f64 */
    sinter_expr taps;                 /* i64 */
    sinter_loop_buffer index, weight; /* [output, taps]; index -1: extrapolated */
} resized_axis;

static sinter_expr real(resizing *r, double value) {
    return sinter_loop_const(r->build, SINTER_DTYPE_f64, value);
}
static sinter_expr to_real(resizing *r, sinter_expr value) {
    return sinter_loop_cast(r->build, value, SINTER_DTYPE_f64);
}
static sinter_expr to_integer(resizing *r, sinter_expr value) {
    return sinter_loop_cast(r->build, value, SINTER_DTYPE_i64);
}
static sinter_expr name(resizing *r, const char *text, sinter_expr value) {
    return value->kind == SINTER_LOOP_CONST
               ? value
               : sinter_loop_var_read(r->build, sinter_loop_declare(r->build, text, false, value));
}
/* A formula over f64 values a, b, c, d. */
static sinter_expr formula(resizing *r, const char *text, sinter_expr a, sinter_expr b,
                           sinter_expr c, sinter_expr d) {
    sinter_string names[4] = {SINTER_STRING("a"), SINTER_STRING("b"), SINTER_STRING("c"),
                              SINTER_STRING("d")};
    sinter_expr values[4] = {a, b, c ? c : a, d ? d : a};
    return sinter_lower_scalar_text(r->kernel, text, names, values, 4, SINTER_DTYPE_f64);
}

/* ---- scales ---- */

/* Which element of scales, sizes and roi speaks of this axis; -1: none, it stays as it is. */
static int operand_place(const resizing *r, uint32_t axis, uint32_t rank, size_t *out_count) {
    const int64_t *axes = NULL;
    size_t count = sinter_node_get_ints(r->module, r->node, "axes", &axes);
    *out_count = count ? count : rank;
    if (!count) return (int)axis;
    for (size_t i = 0; i < count; ++i)
        if ((axes[i] < 0 ? axes[i] + rank : axes[i]) == axis) return (int)i;
    return -1;
}

static bool is_given(const resizing *r, uint32_t operand) {
    sinter_value value = sinter_node_operand(r->module, r->node, operand);
    return value && !sinter_dim_is(sinter_module_dims(r->module),
                                   sinter_value_type(r->module, value)->dims[0], 0);
}

static sinter_expr operand_element(resizing *r, uint32_t operand, size_t place) {
    sinter_expr index = sinter_loop_int(r->build, (int64_t)place);
    return to_real(r, sinter_lower_element(
                          r->kernel, sinter_node_operand(r->module, r->node, operand), &index));
}

/* With an aspect policy all axes share the smallest or largest of the asked scales. */
static sinter_expr common_scale(resizing *r, uint32_t rank, bool smallest) {
    sinter_expr common = NULL;
    for (uint32_t d = 0; d < rank; ++d) {
        size_t count;
        int place = operand_place(r, d, rank, &count);
        if (place < 0) continue;
        sinter_expr ratio =
            formula(r, "a / b", operand_element(r, 3, (size_t)place),
                    to_real(r, sinter_kernel_dim_of(r->kernel, r->x, (int)d)), NULL, NULL);
        if (!common)
            common = ratio;
        else
            common = smallest ? sinter_loop_min(r->build, common, ratio)
                              : sinter_loop_max(r->build, common, ratio);
    }
    return common ? common : real(r, 1);
}

static void describe_axis(resizing *r, resized_axis *a, uint32_t rank, size_t place, size_t count) {
    a->input = sinter_kernel_dim_of(r->kernel, r->x, (int)a->axis);
    a->output = sinter_kernel_dim_of(r->kernel, r->y, (int)a->axis);
    a->start = real(r, 0);
    a->end = real(r, 1);
    if (r->crop && is_given(r, 1)) {
        a->start = name(r, "start", operand_element(r, 1, place));
        a->end = name(r, "end", operand_element(r, 1, count + place));
    }
    sinter_string policy = sinter_node_get_string(r->module, r->node, "keep_aspect_ratio_policy");
    if (is_given(r, 2))
        a->scale = operand_element(r, 2, place);
    else if (sinter_string_is(policy, "not_larger"))
        a->scale = common_scale(r, rank, true);
    else if (sinter_string_is(policy, "not_smaller"))
        a->scale = common_scale(r, rank, false);
    else
        a->scale = formula(r, "a / b", to_real(r, a->output), to_real(r, a->input), NULL, NULL);
    a->scale = name(r, "scale", a->scale);
}

/* ---- tables ---- */

/* Coordinate in the input of output position i. */
static sinter_expr coordinate(resizing *r, const resized_axis *a, sinter_expr i) {
    sinter_expr x = to_real(r, i), input = to_real(r, a->input),
                length = formula(r, "a * b", a->scale, input, NULL, NULL);
    sinter_expr half = formula(r, "(a + 0.5) / b - 0.5", x, a->scale, NULL, NULL);
    if (sinter_string_is(r->transform, "asymmetric"))
        return formula(r, "a / b", x, a->scale, NULL, NULL);
    if (sinter_string_is(r->transform, "align_corners"))
        return formula(r, "select(b == 1, 0, a * (c - 1) / (b - 1))", x, length, input, NULL);
    if (sinter_string_is(r->transform, "pytorch_half_pixel"))
        return formula(r, "select(a <= 1, 0, b)", to_real(r, a->output), half, NULL, NULL);
    if (sinter_string_is(r->transform, "half_pixel_symmetric")) {
        sinter_expr offset =
            formula(r, "a / 2 * (1 - b / c)", input, to_real(r, a->output), length, NULL);
        return formula(r, "a + b", offset, half, NULL, NULL);
    }
    if (r->crop) {
        sinter_expr middle = formula(r, "0.5 * (a + b) * (c - 1)", a->start, a->end, input, NULL);
        sinter_expr output = to_real(r, a->output);
        sinter_expr run =
            formula(r, "(a - b) * (c - 1) / (d - 1)", a->end, a->start, input, output);
        sinter_expr along = formula(r, "a * (b - 1) + c * d", a->start, input, x, run);
        return formula(r, "select(a <= 1, b, c)", output, middle, along, NULL);
    }
    return half;
}

static sinter_expr outside_crop(resizing *r, const resized_axis *a, sinter_expr x) {
    sinter_expr last = formula(r, "a - 1", to_real(r, a->input), x, NULL, NULL);
    return formula(r, "!(a >= 0 && a <= b)", x, last, NULL, NULL);
}

static sinter_expr clamp(resizing *r, const resized_axis *a, sinter_expr index) {
    sinter_expr last = formula(r, "a - 1", to_real(r, a->input), index, NULL, NULL);
    return to_integer(r, formula(r, "max(0, min(a, b))", index, last, NULL, NULL));
}

static void store_neighbour(resizing *r, const resized_axis *a, sinter_expr i, sinter_expr k,
                            sinter_expr index, sinter_expr weight) {
    sinter_expr at[2] = {i, k};
    sinter_loop_store(r->build, a->index, at, index);
    sinter_loop_store(r->build, a->weight, at, sinter_loop_cast(r->build, weight, r->dtype));
}

static void fill_nearest(resizing *r, const resized_axis *a, sinter_expr i) {
    sinter_expr x = name(r, "at", coordinate(r, a, i));
    const char *text = sinter_string_is(r->rounding, "round_prefer_ceil") ? "floor(a + 0.5)"
                       : sinter_string_is(r->rounding, "floor")           ? "floor(a)"
                       : sinter_string_is(r->rounding, "ceil")            ? "ceil(a)"
                                                                          : "ceil(a - 0.5)";
    sinter_expr index = clamp(r, a, formula(r, text, x, x, NULL, NULL));
    if (r->crop)
        index = sinter_loop_select(r->build, outside_crop(r, a, x), sinter_loop_int(r->build, -1),
                                   index);
    store_neighbour(r, a, i, sinter_loop_int(r->build, 0), index, real(r, 1));
}

/* The interpolation kernel at distance d >= 0. */
static sinter_expr kernel_value(resizing *r, sinter_expr d) {
    if (!r->cubic) return formula(r, "select(a < 1, 1 - a, 0)", d, d, NULL, NULL);
    sinter_expr c = real(r, sinter_node_get_float(r->module, r->node, "cubic_coeff_a", -0.75));
    sinter_expr near = formula(r, "((b + 2) * a - (b + 3)) * a * a + 1", d, c, NULL, NULL);
    sinter_expr far = formula(r, "((b * a - 5 * b) * a + 8 * b) * a - 4 * b", d, c, NULL, NULL);
    return formula(r, "select(a <= 1, b, select(a < 2, c, 0))", d, near, far, NULL);
}

static void fill_smooth(resizing *r, const resized_axis *a, sinter_expr i) {
    sinter_expr one = real(r, 1);
    sinter_expr stretch = r->antialias ? sinter_loop_min(r->build, a->scale, one) : one;
    sinter_expr x = name(r, "at", coordinate(r, a, i));
    sinter_expr half = to_real(r, sinter_loop_div(r->build, a->taps, sinter_loop_int(r->build, 2)));
    sinter_expr first = name(r, "first", formula(r, "ceil(a) - b", x, half, NULL, NULL));
    sinter_loop_var sum = sinter_loop_declare(r->build, "sum", true, real(r, 0));
    for (int pass = 0; pass < 2; ++pass) { /* weigh, then divide by the sum where that is asked */
        if (pass && !r->antialias && !r->exclude_outside) break;
        sinter_expr k = sinter_kernel_begin_for(r->kernel, "k", a->taps), at[2] = {i, k};
        sinter_expr total = sinter_loop_var_read(r->build, sum);
        if (pass) {
            sinter_expr weight = to_real(r, sinter_loop_load(r->build, a->weight, at));
            weight = formula(r, "select(b == 0, a, a / b)", weight, total, NULL, NULL);
            sinter_loop_store(r->build, a->weight, at,
                              sinter_loop_cast(r->build, weight, r->dtype));
        } else {
            sinter_expr index =
                name(r, "index", formula(r, "a + b", first, to_real(r, k), NULL, NULL));
            sinter_expr weight = kernel_value(
                r, name(r, "distance", formula(r, "abs(a - b) * c", index, x, stretch, NULL)));
            sinter_expr last = formula(r, "a - 1", to_real(r, a->input), x, NULL, NULL);
            if (r->exclude_outside)
                weight = formula(r, "select(a < 0 || a > b, 0, c)", index, last, weight, NULL);
            weight = name(r, "weight", weight);
            sinter_expr place = clamp(r, a, index);
            if (r->crop)
                place = sinter_loop_select(r->build, outside_crop(r, a, x),
                                           sinter_loop_int(r->build, -1), place);
            store_neighbour(r, a, i, k, place, weight);
            sinter_loop_assign(r->build, sum, sinter_loop_add(r->build, total, weight));
        }
        sinter_loop_end(r->build);
    }
}

/* Taps of the table, as the host sees them (its size) and as the kernel needs them. */
static void make_table(resizing *r, resized_axis *a) {
    sinter_lower *lower = r->kernel->lower;
    sinter_dim in = sinter_value_type(r->module, r->x)->dims[a->axis],
               out = sinter_value_type(r->module, r->y)->dims[a->axis];
    int64_t reach = r->cubic ? 2 : 1;
    sinter_dim taps = sinter_dim_const(lower->dims, r->nearest ? 1 : 2 * reach);
    a->taps = sinter_kernel_dim(r->kernel, taps);
    if (r->antialias && !r->nearest) {
        /* 1 / scale <= in / out, so the stretched kernel reaches over at most this many */
        sinter_dim one = sinter_dim_const(lower->dims, 1);
        sinter_dim ratio =
            sinter_dim_ceildiv(lower->dims, in, sinter_dim_max(lower->dims, out, one));
        taps = sinter_dim_mul(
            lower->dims,
            sinter_dim_add(lower->dims,
                           sinter_dim_mul(lower->dims, ratio, sinter_dim_const(lower->dims, reach)),
                           one),
            sinter_dim_const(lower->dims, 2));
        sinter_expr stretch = sinter_loop_min(r->build, a->scale, real(r, 1));
        a->taps = to_integer(r, formula(r, "2 - 2 * (floor(-b / a) + 1)", stretch,
                                        real(r, (double)reach), NULL, NULL));
        a->taps =
            name(r, "taps", sinter_loop_min(r->build, a->taps, sinter_kernel_dim(r->kernel, taps)));
    }
    sinter_expr host[2] = {sinter_lower_host_dim(lower, out), sinter_lower_host_dim(lower, taps)};
    a->index = sinter_kernel_scratch(r->kernel, "neighbour", SINTER_DTYPE_i64, 2, host);
    a->weight = sinter_kernel_scratch(r->kernel, "weight", r->dtype, 2, host);
    sinter_expr i = sinter_kernel_begin_for(r->kernel, "i", a->output);
    if (r->nearest)
        fill_nearest(r, a, i);
    else
        fill_smooth(r, a, i);
    sinter_loop_end(r->build);
}

/* ---- the sum ---- */

static sinter_expr finish(resizing *r, sinter_expr sum, sinter_dtype to) {
    if (sinter_dtype_is_float(to) || r->nearest) return sum;
    sinter_expr rounded = sinter_loop_call(r->build, SINTER_SCALAR_round_even, &sum);
    sinter_string names[3] = {SINTER_STRING("x"), SINTER_STRING("low"), SINTER_STRING("high")};
    sinter_expr values[3] = {
        rounded,
        sinter_loop_cast(r->build, sinter_lower_scalar_text(r->kernel, "lowest", NULL, NULL, 0, to),
                         r->dtype),
        sinter_loop_cast(
            r->build, sinter_lower_scalar_text(r->kernel, "highest", NULL, NULL, 0, to), r->dtype)};
    return sinter_loop_cast(
        r->build,
        sinter_lower_scalar_text(r->kernel, "max(low, min(high, x))", names, values, 3, r->dtype),
        to);
}

static void sum_neighbours(resizing *r, const resized_axis *axes, size_t count) {
    sinter_dtype to = sinter_dtype_compute(sinter_value_type(r->module, r->y)->dtype);
    sinter_dtype dtype = r->nearest ? to : r->dtype;
    uint32_t rank = sinter_value_type(r->module, r->x)->rank;
    sinter_expr out[SINTER_MAX_RANK], in[SINTER_MAX_RANK],
        weight = NULL, inside = sinter_loop_const_int(r->build, SINTER_DTYPE_bool, 1);
    sinter_kernel_begin_loops(r->kernel, r->y, out);
    double extrapolation =
        r->crop ? sinter_node_get_float(r->module, r->node, "extrapolation_value", 0) : 0;
    sinter_expr start = sinter_dtype_is_float(dtype) ? sinter_loop_const(r->build, dtype, 0)
                                                     : sinter_loop_const_int(r->build, dtype, 0);
    sinter_loop_var acc = sinter_loop_declare(r->build, "acc", true, start);
    for (uint32_t d = 0; d < rank; ++d) in[d] = out[d];
    for (size_t i = 0; i < count; ++i) {
        sinter_expr k = sinter_kernel_begin_for(
            r->kernel, sinter_arena_format(r->build->arena, "k%zu", i), axes[i].taps);
        sinter_expr at[2] = {out[axes[i].axis], k},
                    own = sinter_loop_load(r->build, axes[i].weight, at);
        weight = weight ? name(r, "w", sinter_loop_mul(r->build, weight, own)) : own;
        in[axes[i].axis] = name(r, "at", sinter_loop_load(r->build, axes[i].index, at));
        inside =
            sinter_loop_and(r->build, inside,
                            sinter_loop_compare(r->build, SINTER_SCALAR_le,
                                                sinter_loop_int(r->build, 0), in[axes[i].axis]));
    }
    if (r->crop) sinter_loop_begin_if(r->build, inside);
    sinter_expr element = sinter_lower_element(r->kernel, r->x, in),
                current = sinter_loop_var_read(r->build, acc);
    if (r->nearest || !weight) { /* one neighbour, or no axis changes */
        sinter_loop_assign(r->build, acc, sinter_loop_cast(r->build, element, dtype));
    } else {
        sinter_expr product =
            sinter_loop_mul(r->build, weight, sinter_loop_cast(r->build, element, dtype));
        sinter_expr none = sinter_loop_compare(r->build, SINTER_SCALAR_eq, weight,
                                               sinter_loop_const(r->build, dtype, 0));
        sinter_loop_assign(
            r->build, acc,
            sinter_loop_add(r->build, current,
                            sinter_loop_select(r->build, none,
                                               sinter_loop_const(r->build, dtype, 0), product)));
    }
    if (r->crop) {
        sinter_loop_end(r->build);
        sinter_loop_begin_else(r->build);
        sinter_expr fill = sinter_dtype_is_float(dtype)
                               ? sinter_loop_const(r->build, dtype, extrapolation)
                               : sinter_loop_const_int(r->build, dtype, (int64_t)extrapolation);
        sinter_loop_assign(r->build, acc, fill);
        sinter_loop_end(r->build);
    }
    sinter_kernel_end_loops(r->kernel, (uint32_t)count);
    sinter_lower_store(r->kernel, r->y, out, finish(r, sinter_loop_var_read(r->build, acc), to));
    sinter_kernel_end_loops(r->kernel, rank);
}

bool sinter_lower_resize(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    resizing r = {.kernel = kernel, .build = &kernel->build, .module = module, .node = node};
    r.x = sinter_node_operand(module, node, 0);
    r.y = sinter_node_result(module, node, 0);
    r.transform = sinter_node_get_string(module, node, "coordinate_transformation_mode");
    r.rounding = sinter_node_get_string(module, node, "nearest_mode");
    sinter_string mode = sinter_node_get_string(module, node, "mode");
    r.nearest = sinter_string_is(mode, "nearest");
    r.cubic = sinter_string_is(mode, "cubic");
    r.antialias = sinter_node_get_int(module, node, "antialias", 0) != 0;
    r.exclude_outside = sinter_node_get_int(module, node, "exclude_outside", 0) != 0;
    r.crop = sinter_string_is(r.transform, "tf_crop_and_resize");
    sinter_type type = *sinter_value_type(module, r.x);
    sinter_dtype compute = sinter_dtype_compute(type.dtype);
    r.dtype = compute == SINTER_DTYPE_f32 ? SINTER_DTYPE_f32 : SINTER_DTYPE_f64;
    resized_axis axes[SINTER_MAX_RANK];
    size_t count = 0;
    for (uint32_t d = 0; d < type.rank; ++d) {
        size_t places = 0;
        int place = operand_place(&r, d, type.rank, &places);
        bool same = type.dims[d] == sinter_value_type(module, r.y)->dims[d];
        double scale = 1;
        sinter_value scales = sinter_node_operand(module, node, 2);
        const sinter_tensor *known = scales ? sinter_value_constant(module, scales) : NULL;
        if (known && place >= 0 && place < sinter_tensor_count(known))
            scale = sinter_tensor_get_double(known, place);
        else if (is_given(&r, 2))
            scale = 0;
        if (place < 0 || (same && scale == 1 && !r.crop)) continue;
        axes[count] = (resized_axis){.axis = d};
        describe_axis(&r, &axes[count], type.rank, (size_t)place, places);
        make_table(&r, &axes[count]);
        ++count;
    }
    sum_neighbours(&r, axes, count);
    return true;
}

/* ---- dims, where scales or sizes with an aspect policy are known only at run time ---- */

static sinter_expr host_element(sinter_lower *lower, sinter_value value, size_t place) {
    sinter_expr index = sinter_loop_int(&lower->host, (int64_t)place);
    return sinter_loop_cast(
        &lower->host,
        sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, value), &index),
        SINTER_DTYPE_f64);
}

/* Which of scales and sizes is given is told by their lengths. */
static bool lengths_known(sinter_lower *lower, sinter_node node) {
    for (uint32_t i = 1; i <= 3; ++i) {
        sinter_value value = sinter_node_operand(lower->module, node, i);
        int64_t length;
        if (value && !sinter_dim_is_const(
                         lower->dims, sinter_value_type(lower->module, value)->dims[0], &length))
            return sinter_lower_error(
                lower, node, "the lengths of roi, scales and sizes must be known when compiling");
    }
    return true;
}

/* Scales are positive and sizes are numbers that an axis can have; NaN is neither. */
static void check_size(sinter_lower *lower, const resizing *r, sinter_expr size, size_t place) {
    sinter_loop_builder *host = &lower->host;
    sinter_expr none = sinter_loop_const(host, SINTER_DTYPE_f64, 0),
                most = sinter_loop_const(host, SINTER_DTYPE_f64, 0x1p40),
                axis = sinter_loop_int(host, (int64_t)place);
    sinter_expr fits = sinter_loop_call2(host, SINTER_SCALAR_and,
                                         sinter_loop_compare(host, SINTER_SCALAR_le, none, size),
                                         sinter_loop_compare(host, SINTER_SCALAR_lt, size, most));
    if (is_given(r, 2)) {
        sinter_expr scale = host_element(lower, sinter_node_operand(r->module, r->node, 2), place);
        fits = sinter_loop_call2(host, SINTER_SCALAR_and, fits,
                                 sinter_loop_compare(host, SINTER_SCALAR_lt, none, scale));
    }
    sinter_lower_host_check(lower, fits, SINTER_ABI_BAD_INPUT,
                            "resize: scale or size %0 gives no usable size", &axis, 1);
}

bool sinter_lower_resize_dims(sinter_lower *lower, sinter_node node) {
    if (!lengths_known(lower, node)) return false;
    sinter_module *module = lower->module;
    sinter_loop_builder *host = &lower->host;
    resizing r = {.module = module,
                  .node = node,
                  .x = sinter_node_operand(module, node, 0),
                  .y = sinter_node_result(module, node, 0)};
    sinter_type from = *sinter_value_type(module, r.x), to = *sinter_value_type(module, r.y);
    bool crop =
        sinter_string_is(sinter_node_get_string(module, node, "coordinate_transformation_mode"),
                         "tf_crop_and_resize");
    bool smaller = sinter_string_is(
        sinter_node_get_string(module, node, "keep_aspect_ratio_policy"), "not_larger");
    sinter_expr common = NULL, half = sinter_loop_const(host, SINTER_DTYPE_f64, 0.5);
    for (uint32_t d = 0; d < to.rank && !is_given(&r, 2); ++d) {
        size_t count;
        int place = operand_place(&r, d, to.rank, &count);
        if (place < 0) continue;
        sinter_expr input =
            sinter_loop_cast(host, sinter_lower_host_dim(lower, from.dims[d]), SINTER_DTYPE_f64);
        sinter_expr ratio = sinter_loop_call2(
            host, SINTER_SCALAR_div,
            host_element(lower, sinter_node_operand(module, node, 3), (size_t)place), input);
        common = !common ? ratio
                         : sinter_loop_call2(host, smaller ? SINTER_SCALAR_min : SINTER_SCALAR_max,
                                             common, ratio);
    }
    for (uint32_t d = 0; d < to.rank; ++d) {
        size_t count;
        int place = operand_place(&r, d, to.rank, &count);
        if (!sinter_lower_is_late_dim(lower, to.dims[d], r.y) || place < 0) continue;
        sinter_expr size =
            sinter_loop_cast(host, sinter_lower_host_dim(lower, from.dims[d]), SINTER_DTYPE_f64);
        if (is_given(&r, 2)) {
            if (crop && is_given(&r, 1)) {
                sinter_value roi = sinter_node_operand(module, node, 1);
                sinter_expr start = host_element(lower, roi, (size_t)place),
                            end = host_element(lower, roi, count + (size_t)place);
                size = sinter_loop_mul(host, size, sinter_loop_sub(host, end, start));
            }
            size = sinter_loop_mul(
                host, size,
                host_element(lower, sinter_node_operand(module, node, 2), (size_t)place));
        } else {
            size = sinter_loop_call2(host, SINTER_SCALAR_add, sinter_loop_mul(host, size, common),
                                     half);
        }
        sinter_expr floor = sinter_loop_call(host, SINTER_SCALAR_floor, &size);
        check_size(lower, &r, floor, (size_t)place);
        sinter_lower_bind_symbol(lower, to.dims[d],
                                 sinter_loop_cast(host, floor, SINTER_DTYPE_i64));
    }
    return true;
}
