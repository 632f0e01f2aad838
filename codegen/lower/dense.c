/* Lowering of dense ops with nests of their own: det, lrn, col2im, max_unpool.
 * Test: tests/ops/det.sir, lrn.sir, col2im.sir, max_unpool.sir */
#include "codegen/lower/write.h"

/* ---- det: Gaussian elimination with partial pivoting, in f64 ---- */

static void swap_rows(sinter_kernel *k, sinter_loop_buffer m, sinter_expr a, sinter_expr b,
                      sinter_expr n) {
    sinter_write_if(k, FORMULA(k, "a != b", a, b));
    sinter_expr j = sinter_kernel_begin_for(k, "j", n);
    sinter_expr x = sinter_write_let(k, "x", sinter_write_load2(k, m, a, j)),
                y = sinter_write_let(k, "y", sinter_write_load2(k, m, b, j));
    sinter_write_store2(k, m, a, j, y);
    sinter_write_store2(k, m, b, j, x);
    sinter_write_end(k);
    sinter_write_end(k);
}

/* One column: the pivot's row comes up, the rows below lose their head. A zero pivot makes the result zero. */
static void eliminate(sinter_kernel *k, sinter_loop_buffer m, sinter_expr column, sinter_expr n,
                      sinter_loop_var result) {
    sinter_loop_var pivot = sinter_write_var(k, "pivot", column);
    sinter_expr next = sinter_write_let(k, "next", FORMULA(k, "a + 1", column));
    sinter_expr row = sinter_write_for(k, "row", next, n);
    sinter_expr best = sinter_write_load2(k, m, sinter_write_get(k, pivot), column);
    sinter_write_if(k, FORMULA(k, "abs(a) > abs(b)", sinter_write_load2(k, m, row, column), best));
    sinter_write_set(k, pivot, row);
    sinter_write_end(k);
    sinter_write_end(k);
    sinter_expr chosen = sinter_write_let(k, "chosen", sinter_write_get(k, pivot));
    sinter_expr head = sinter_write_let(k, "head", sinter_write_load2(k, m, chosen, column));
    swap_rows(k, m, chosen, column, n);
    sinter_write_set(
        k, result,
        FORMULA(k, "a * select(c != d, -b, b)", sinter_write_get(k, result), head, chosen, column));
    sinter_write_if(k, FORMULA(k, "a != 0", head));
    row = sinter_write_for(k, "row", next, n);
    sinter_expr factor = sinter_write_let(
        k, "factor", FORMULA(k, "a / b", sinter_write_load2(k, m, row, column), head));
    sinter_expr j = sinter_write_for(k, "j", column, n);
    sinter_expr left = sinter_write_load2(k, m, row, j),
                above = sinter_write_load2(k, m, column, j);
    sinter_write_store2(k, m, row, j, FORMULA(k, "a - b * c", left, factor, above));
    sinter_kernel_end_loops(k, 3);
}

bool sinter_lower_det(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0);
    sinter_type type = sinter_write_type(k, x);
    sinter_dim size = type.dims[type.rank - 1], dims[2] = {size, size};
    sinter_write_same_size(k, node, x, type.rank - 2, x, type.rank - 1);
    sinter_loop_buffer m = sinter_write_scratch(k, "matrix", SINTER_DTYPE_f64, 2, dims);
    sinter_expr n = sinter_kernel_dim(k, size), at[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(k, y, at);
    sinter_expr *place = at + type.rank - 2;
    for (int d = 0; d < 2; ++d) place[d] = sinter_kernel_begin_for(k, "i", n);
    sinter_write_store2(k, m, place[0], place[1],
                        sinter_write_cast(k, sinter_lower_element(k, x, at), SINTER_DTYPE_f64));
    sinter_kernel_end_loops(k, 2);
    sinter_loop_var result =
        sinter_write_var(k, "result", sinter_write_number(k, SINTER_DTYPE_f64, 1));
    sinter_expr column = sinter_kernel_begin_for(k, "column", n);
    eliminate(k, m, column, n, result);
    sinter_write_end(k);
    sinter_lower_store(
        k, y, at,
        sinter_write_cast(k, sinter_write_get(k, result), sinter_dtype_compute(type.dtype)));
    sinter_kernel_end_loops(k, type.rank - 2);
    return true;
}

/* ---- lrn ---- */

bool sinter_lower_lrn(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_module *module = k->lower->module;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0);
    sinter_type type = sinter_write_type(k, x);
    sinter_dtype dtype = sinter_dtype_compute(type.dtype);
    int64_t size = sinter_node_get_int(module, node, "size", 1);
    sinter_expr alpha = sinter_write_number(
                    k, dtype, sinter_node_get_float(module, node, "alpha", 1e-4) / (double)size),
                beta = sinter_write_number(k, dtype,
                                           sinter_node_get_float(module, node, "beta", 0.75)),
                bias =
                    sinter_write_number(k, dtype, sinter_node_get_float(module, node, "bias", 1));
    sinter_expr at[SINTER_MAX_RANK], in[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(k, y, at);
    for (uint32_t d = 0; d < type.rank; ++d) in[d] = at[d];
    sinter_expr zero = sinter_write_int(k, 0), channels = sinter_kernel_dim(k, type.dims[1]);
    sinter_expr first =
                    FORMULA(k, "max(a - b, c)", at[1], sinter_write_int(k, (size - 1) / 2), zero),
                end =
                    FORMULA(k, "min(a + b, c)", at[1], sinter_write_int(k, size / 2 + 1), channels);
    sinter_loop_var squares = sinter_write_var(k, "squares", sinter_write_number(k, dtype, 0));
    in[1] = sinter_write_for(k, "c", sinter_write_let(k, "first", first),
                             sinter_write_let(k, "end", end));
    sinter_expr other = sinter_write_let(k, "x", sinter_lower_element(k, x, in));
    sinter_write_add(k, squares, FORMULA(k, "a * a", other));
    sinter_write_end(k);
    sinter_expr base = FORMULA(k, "c + b * a", sinter_write_get(k, squares), alpha, bias);
    sinter_lower_store(k, y, at,
                       FORMULA(k, "a / pow(b, c)", sinter_lower_element(k, x, at), base, beta));
    sinter_kernel_end_loops(k, type.rank);
    return true;
}

/* ---- windows, backwards ---- */

static int64_t window_attr(const sinter_kernel *k, sinter_node node, const char *name, uint32_t i,
                           int64_t otherwise) {
    const int64_t *items = NULL;
    return i < sinter_node_get_ints(k->lower->module, node, name, &items) ? items[i] : otherwise;
}

typedef struct columns {
    sinter_expr block[SINTER_MAX_RANK],
        blocks[SINTER_MAX_RANK]; /* elements of a block, blocks along an axis */
    sinter_expr block_size, positions;
} columns;

static columns read_columns(sinter_kernel *k, sinter_node node, uint32_t axes) {
    sinter_value x = sinter_write_operand(k, node, 0), block = sinter_write_operand(k, node, 2),
                 y = sinter_write_result(k, node, 0);
    columns c = {.block_size = sinter_write_int(k, 1), .positions = sinter_write_int(k, 1)};
    for (uint32_t d = 0; d < axes; ++d) {
        c.block[d] = sinter_write_let(k, "block", sinter_write_int_operand(k, block, d));
        sinter_write_check(k, FORMULA(k, "a >= 1", c.block[d]), "col2im: a block of %0",
                           c.block[d]);
        sinter_expr pads = sinter_write_int(k, window_attr(k, node, "pads", d, 0) +
                                                   window_attr(k, node, "pads", axes + d, 0));
        sinter_expr room =
            FORMULA(k, "a + b - c * (d - 1)", sinter_kernel_dim_of(k, y, (int)d + 2), pads,
                    sinter_write_int(k, window_attr(k, node, "dilations", d, 1)), c.block[d]);
        room = sinter_write_let(k, "room", room);
        sinter_write_check(k, FORMULA(k, "a >= 1", room),
                           "col2im: a block of %0 is larger than the image", c.block[d]);
        c.blocks[d] =
            sinter_write_let(k, "blocks",
                             FORMULA(k, "(a - 1) / b + 1", room,
                                     sinter_write_int(k, window_attr(k, node, "strides", d, 1))));
        c.block_size = FORMULA(k, "a * b", c.block_size, c.block[d]);
        c.positions = FORMULA(k, "a * b", c.positions, c.blocks[d]);
    }
    sinter_expr rows = FORMULA(k, "a * b", c.block_size, sinter_kernel_dim_of(k, y, 1));
    sinter_write_check(k, FORMULA(k, "a == b", sinter_kernel_dim_of(k, x, 1), rows),
                       "col2im: %0 rows are needed", rows);
    sinter_write_check(k, FORMULA(k, "a == b", sinter_kernel_dim_of(k, x, 2), c.positions),
                       "col2im: %0 blocks are needed", c.positions);
    return c;
}

/* Each element sums the blocks that reach it: element t of block p is at p * stride - pad + t * dilation. */
bool sinter_lower_col2im(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), y = sinter_write_result(k, node, 0);
    sinter_type type = sinter_write_type(k, y);
    uint32_t axes = type.rank - 2;
    columns c = read_columns(k, node, axes);
    sinter_dtype dtype = sinter_dtype_compute(type.dtype);
    sinter_expr at[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(k, y, at);
    sinter_loop_var sum = sinter_write_var(k, "sum", sinter_write_number(k, dtype, 0));
    sinter_expr row = at[1], position = sinter_write_int(k, 0);
    for (uint32_t d = 0; d < axes; ++d) {
        sinter_expr t = sinter_kernel_begin_for(k, "t", c.block[d]),
                    stride = sinter_write_int(k, window_attr(k, node, "strides", d, 1));
        sinter_expr start = FORMULA(k, "a + b - c * d", at[d + 2],
                                    sinter_write_int(k, window_attr(k, node, "pads", d, 0)), t,
                                    sinter_write_int(k, window_attr(k, node, "dilations", d, 1)));
        start = sinter_write_let(k, "start", start);
        sinter_expr block = sinter_write_let(k, "block", FORMULA(k, "a / b", start, stride));
        sinter_write_if(
            k, FORMULA(k, "a >= 0 && rem(a, c) == 0 && b < d", start, block, stride, c.blocks[d]));
        row = sinter_write_let(k, "row", FORMULA(k, "a * b + c", row, c.block[d], t));
        position =
            sinter_write_let(k, "position", FORMULA(k, "a * b + c", position, c.blocks[d], block));
    }
    sinter_expr in[3] = {at[0], row, position};
    sinter_write_add(k, sum, sinter_lower_element(k, x, in));
    sinter_kernel_end_loops(k, 2 * axes);
    sinter_lower_store(k, y, at, sinter_write_get(k, sum));
    sinter_kernel_end_loops(k, type.rank);
    return true;
}

/* indices count through the shape that was pooled, which is the corner of a larger output_shape. */
bool sinter_lower_max_unpool(sinter_kernel *kernel, sinter_node node) {
    sinter_kernel *k = kernel;
    sinter_value x = sinter_write_operand(k, node, 0), indices = sinter_write_operand(k, node, 1),
                 y = sinter_write_result(k, node, 0);
    sinter_type type = sinter_write_type(k, x);
    sinter_loop_buffer buffer = sinter_kernel_buffer(k, y);
    sinter_expr at[SINTER_MAX_RANK], pooled[SINTER_MAX_RANK], count = sinter_write_int(k, 1);
    for (uint32_t d = 0; d < type.rank; ++d) {
        sinter_write_same_size(k, node, indices, d, x, d);
        pooled[d] = sinter_kernel_dim(k, type.dims[d]);
        uint32_t axis = d < 2 ? 0 : d - 2, axes = type.rank - 2;
        if (d >= 2)
            pooled[d] = sinter_write_let(
                k, "pooled",
                FORMULA(k, "(a - 1) * b + c", pooled[d],
                        sinter_write_int(k, window_attr(k, node, "strides", axis, 1)),
                        sinter_write_int(k, window_attr(k, node, "kernel_shape", axis, 1) -
                                                window_attr(k, node, "pads", axis, 0) -
                                                window_attr(k, node, "pads", axes + axis, 0))));
        sinter_expr size = sinter_kernel_dim_of(k, y, (int)d);
        sinter_write_check(k, FORMULA(k, "a <= b", pooled[d], size),
                           "max_unpool: an output of %0 is smaller than what was pooled", size);
        count = sinter_write_let(k, "count", FORMULA(k, "a * b", count, pooled[d]));
    }
    sinter_kernel_begin_loops(k, y, at);
    sinter_kernel_store(k, buffer, at, sinter_write_number(k, sinter_dtype_compute(type.dtype), 0));
    sinter_kernel_end_loops(k, type.rank);
    sinter_kernel_begin_loops(k, x, at);
    sinter_expr place = sinter_write_let(k, "place", sinter_lower_element(k, indices, at)),
                to[SINTER_MAX_RANK];
    sinter_kernel_check_index(k, node, place, count);
    for (uint32_t d = type.rank; d-- > 0;) {
        to[d] = d ? sinter_write_let(k, "at", sinter_loop_rem(&k->build, place, pooled[d])) : place;
        if (d) place = sinter_write_let(k, "rest", sinter_loop_div(&k->build, place, pooled[d]));
    }
    sinter_kernel_store(k, buffer, to, sinter_lower_element(k, x, at));
    sinter_kernel_end_loops(k, type.rank);
    return true;
}
