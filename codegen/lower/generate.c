/* Lowering of ops whose elements follow from their index by a formula: window functions, mel_weight_matrix, affine_grid,
 * center_crop_pad, bitcast. Test: tests/ops/windows.sir, affine_grid.sir, center_crop_pad.sir, bitcast.sir */
#include "codegen/lower/write.h"

/* The f64 result of a formula in the dtype of the value that is made. */
static sinter_expr as_result(sinter_kernel *k, sinter_node node, sinter_expr x) {
    sinter_dtype dtype = sinter_write_type(k, sinter_write_result(k, node, 0)).dtype;
    return sinter_write_cast(k, x, sinter_dtype_compute(dtype));
}

sinter_expr sinter_lower_window_function(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                         const sinter_expr *index) {
    sinter_op op = sinter_node_get(kernel->lower->module, node)->op;
    bool periodic = sinter_node_get_int(kernel->lower->module, node, "periodic", 1) != 0;
    sinter_value y = sinter_write_result(kernel, node, result);
    sinter_expr size =
        sinter_write_cast(kernel, sinter_kernel_dim_of(kernel, y, 0), SINTER_DTYPE_f64);
    sinter_expr at = sinter_write_cast(kernel, index[0], SINTER_DTYPE_f64);
    sinter_expr period = periodic ? size : FORMULA(kernel, "a - 1", size);
    sinter_expr angle =
        sinter_write_let(kernel, "angle", FORMULA(kernel, "2 * pi * a / max(b, 1)", at, period));
    const char *text = op == SINTER_OP_hann_window ? "select(b == 0, 1, 0.5 - 0.5 * cos(a))"
                       : op == SINTER_OP_hamming_window
                           ? "select(b == 0, 1, 25.0 / 46 - 21.0 / 46 * cos(a))"
                           : "select(b == 0, 1, 0.42 - 0.5 * cos(a) + 0.08 * cos(2 * a))";
    return as_result(kernel, node, FORMULA(kernel, text, angle, period));
}

/* Bin of triangle edge i: mel scale from low to high in bands + 2 steps. */
static sinter_expr mel_edge(sinter_kernel *k, sinter_node node, sinter_expr band, int offset,
                            sinter_expr low, sinter_expr high) {
    sinter_expr bands = sinter_write_scalar(k, node, 0, SINTER_DTYPE_f64, 0),
                length = sinter_write_scalar(k, node, 1, SINTER_DTYPE_f64, 0),
                rate = sinter_write_scalar(k, node, 2, SINTER_DTYPE_f64, 1);
    sinter_expr i = sinter_write_cast(k, FORMULA(k, "a + b", band, sinter_write_int(k, offset)),
                                      SINTER_DTYPE_f64);
    sinter_expr mel = FORMULA(k, "c * ((b - a) / (d + 2)) + a", low, high, i, bands);
    sinter_expr hertz = FORMULA(k, "700 * (pow(10, a / 2595) - 1)", mel);
    return sinter_write_let(k, "edge", FORMULA(k, "floor((b + 1) * a / c)", hertz, length, rate));
}

sinter_expr sinter_lower_mel_weight_matrix(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                           const sinter_expr *index) {
    (void)result;
    sinter_expr ends[2], edges[3];
    for (uint32_t i = 0; i < 2; ++i) {
        sinter_expr hertz = sinter_write_scalar(kernel, node, 3 + i, SINTER_DTYPE_f64, 0);
        ends[i] = sinter_write_let(
            kernel, "mel",
            FORMULA(kernel, "2595 * (log(1 + a / 700) * 0.4342944819032518)", hertz));
    }
    for (int i = 0; i < 3; ++i) edges[i] = mel_edge(kernel, node, index[1], i, ends[0], ends[1]);
    sinter_expr bin = sinter_write_cast(kernel, index[0], SINTER_DTYPE_f64);
    return as_result(
        kernel, node,
        FORMULA(kernel,
                "select(a < b && d >= a && d <= b, (d - a) / (b - a), select(d >= b && d < c, "
                "(c - d) / (c - b), select(a == b && d == b, 1, 0)))",
                edges[0], edges[1], edges[2], bin));
}

sinter_expr sinter_lower_affine_grid(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                     const sinter_expr *index) {
    sinter_value theta = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_result(kernel, node, result);
    uint32_t space = sinter_write_type(kernel, y).rank - 2;
    bool corners = sinter_node_get_int(kernel->lower->module, node, "align_corners", 0) != 0;
    sinter_write_same_size(kernel, node, theta, 0, y, 0);
    sinter_write_same_size(kernel, node, theta, 1, 0, space);
    sinter_write_same_size(kernel, node, theta, 2, 0, space + 1);
    sinter_expr at[3] = {index[0], index[space + 1], sinter_write_int(kernel, space)};
    sinter_expr sum = sinter_lower_element(kernel, theta, at);
    for (uint32_t d = 0; d < space; ++d) {
        uint32_t axis = space - d; /* coordinates go from x, the last axis, on */
        sinter_expr extent = sinter_write_cast(kernel, sinter_kernel_dim_of(kernel, y, (int)axis),
                                               sum->dtype),
                    place = sinter_write_cast(kernel, index[axis], sum->dtype);
        sinter_expr coordinate =
            corners
                ? FORMULA(kernel, "select(b == 1, -1, 2 * a / max(b - 1, 1) - 1)", place, extent)
                : FORMULA(kernel, "(2 * a + 1) / b - 1", place, extent);
        at[2] = sinter_write_int(kernel, d);
        sum =
            FORMULA(kernel, "a + b * c", sum, sinter_lower_element(kernel, theta, at), coordinate);
    }
    return sum;
}

/* out[i] = in[i - (to - from) / 2], zero where that is outside. */
sinter_expr sinter_lower_center_crop_pad(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                         const sinter_expr *index) {
    sinter_value x = sinter_write_operand(kernel, node, 0),
                 y = sinter_write_result(kernel, node, result);
    sinter_type from = sinter_write_type(kernel, x), to = sinter_write_type(kernel, y);
    sinter_expr own[SINTER_MAX_RANK], inside = sinter_write_number(kernel, SINTER_DTYPE_bool, 1);
    for (uint32_t d = 0; d < from.rank; ++d) {
        own[d] = index[d];
        if (from.dims[d] == to.dims[d]) continue;
        sinter_expr size = sinter_kernel_dim(kernel, from.dims[d]);
        own[d] = FORMULA(kernel, "a - (c - b) / 2", index[d], size,
                         sinter_kernel_dim(kernel, to.dims[d]));
        inside = FORMULA(kernel, "a && b >= 0 && b < c", inside, own[d], size);
    }
    sinter_expr zero = sinter_write_number(kernel, sinter_dtype_compute(from.dtype), 0);
    sinter_loop_var element = sinter_write_var(kernel, "element", zero);
    sinter_write_if(kernel, inside);
    sinter_write_set(kernel, element, sinter_lower_element(kernel, x, own));
    sinter_write_end(kernel);
    return sinter_write_get(kernel, element);
}

/* Integers of one width and bool wrap into each other; f32 and f64 go through their bits. */
sinter_expr sinter_lower_bitcast(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                 const sinter_expr *index) {
    sinter_value x = sinter_write_operand(kernel, node, 0);
    sinter_dtype from = sinter_write_type(kernel, x).dtype,
                 to = sinter_write_type(kernel, sinter_write_result(kernel, node, result)).dtype;
    sinter_expr element = sinter_lower_element(kernel, x, index);
    if (from == to) return element;
    bool narrow[2] = {sinter_dtype_is_float(from) && sinter_dtype_infos[from].bits < 32,
                      sinter_dtype_is_float(to) && sinter_dtype_infos[to].bits < 32};
    if (narrow[0] || narrow[1]) {
        sinter_lower_error(kernel->lower, node, "the bits of %s can't be compiled",
                           sinter_dtype_infos[narrow[0] ? from : to].name);
        return sinter_write_number(kernel, sinter_dtype_compute(to), 0);
    }
    bool wide = sinter_dtype_infos[from].bits == 64;
    if (sinter_dtype_is_float(from)) element = FORMULA(kernel, "bits(a)", element);
    if (!sinter_dtype_is_float(to)) return sinter_write_cast(kernel, element, to);
    element = sinter_write_cast(kernel, element, wide ? SINTER_DTYPE_i64 : SINTER_DTYPE_i32);
    return FORMULA(kernel, "from_bits(a)", element);
}
