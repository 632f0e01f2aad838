/* Lowering of a convolution of one tap that reads what elementwise nodes of its group make: a product with the weights of its
 * channels, as a rule (squeeze and excitation). Memory never sees what lies between: a row of it at a time is in scratch, in
 * the cache, where each element is computed once for all channels that read it.
 *
 *   for row { for n {
 *     scratch [1, column, channel] = x[n, row, column, channel]
 *     the convolution's row of y, from scratch } }
 *
 * What the convolution widens as it reads (a cast of a narrower float) is in the row as it was before, half the bytes and operands of
 * products of pairs. Values are those of the nodes on their own. Needs: channels last, two spatial axes, columns and channels of known number, no pads.
 * Test: tests/codegen/lower/staged.sir */
#include "codegen/lower/window.h"
#include "ir/ring.h"

enum { ROW = 1, COLUMN = 2, CHANNEL = 3 };

static int64_t number(sinter_expr expr) {
    int64_t value = -1;
    sinter_loop_is_const_int(expr, &value);
    return value;
}

/* One tap an axis, at each place, and nothing around. */
static bool has_one_tap(sinter_kernel *kernel, sinter_node anchor) {
    sinter_window w = sinter_lower_describe_conv(kernel, anchor);
    bool one = w.spatial == 2 && w.space == ROW;
    for (uint32_t i = 0; i < w.spatial && one; i++)
        one = number(w.kernel[i]) == 1 && w.stride[i] == 1 && number(w.pad_before[i]) == 0 &&
              number(w.pad_after[i]) == 0;
    return one;
}

/* What the row holds: the anchor's first operand, before a cast of its group widens it. */
static sinter_value find_staged(const sinter_kernel *kernel, sinter_node anchor) {
    sinter_module *module = kernel->lower->module;
    sinter_value x = sinter_node_operand(module, anchor, 0);
    sinter_node definition = sinter_value_definition(module, x);
    bool widened =
        sinter_kernel_is_inside(kernel, definition) && sinter_node_widens_float(module, definition);
    return widened ? sinter_node_operand(module, definition, 0) : x;
}

/* As in memory, but for elements of less than a byte. */
static sinter_dtype row_dtype(const sinter_kernel *kernel, sinter_value x) {
    sinter_dtype dtype = sinter_write_type(kernel, x).dtype;
    return sinter_dtype_infos[dtype].bits < 8 ? sinter_dtype_compute(dtype) : dtype;
}

bool sinter_lower_is_staged(sinter_kernel *kernel, sinter_node anchor) {
    sinter_module *module = kernel->lower->module;
    sinter_op op = sinter_node_op(module, anchor);
    if (op != SINTER_OP_conv && op != SINTER_OP_conv_integer) return false;
    sinter_value x = find_staged(kernel, anchor);
    sinter_node definition = sinter_value_definition(module, x);
    if (!sinter_kernel_is_inside(kernel, definition) ||
        sinter_op_get_info(sinter_node_op(module, definition))->pattern !=
            SINTER_PATTERN_ELEMENTWISE ||
        sinter_write_type(kernel, x).rank != 4 || !has_one_tap(kernel, anchor))
        return false;
    sinter_dtype dtype = row_dtype(kernel, x);
    int64_t columns = number(sinter_kernel_dim_of(kernel, x, COLUMN)),
            channels = number(sinter_kernel_dim_of(kernel, x, CHANNEL)),
            room = SINTER_STACK_SHARE * 8 / sinter_dtype_infos[dtype].bits;
    return columns > 0 && channels > 0 && columns <= room && channels <= room / columns;
}

/* The row of x, to scratch. */
static void write_row(sinter_kernel *k, sinter_value x, sinter_expr n, sinter_expr row) {
    sinter_expr columns = sinter_kernel_dim_of(k, x, COLUMN),
                channels = sinter_kernel_dim_of(k, x, CHANNEL), zero = sinter_write_int(k, 0);
    const sinter_expr dims[3] = {sinter_write_int(k, 1), columns, channels};
    sinter_dtype dtype = row_dtype(k, x);
    sinter_kernel_between *between = &k->between[k->between_count++];
    *between = (sinter_kernel_between){
        .value = x,
        .row = row,
        .buffer = sinter_loop_add_buffer(&k->build, "row", dtype, 3, dims, SINTER_SCOPE_STACK)};
    sinter_loop_alloc(&k->build, between->buffer);
    sinter_expr column = sinter_kernel_begin_for(k, "column", columns),
                channel = sinter_kernel_begin_for(k, "channel", channels);
    const sinter_expr at[4] = {n, row, column, channel}, place[3] = {zero, column, channel};
    sinter_kernel_store(k, between->buffer, place, sinter_lower_element(k, x, at));
    sinter_kernel_end_loops(k, 2);
    between->is_made = true;
}

bool sinter_lower_staged(sinter_kernel *kernel, sinter_node anchor) {
    sinter_kernel *k = kernel;
    sinter_module *module = kernel->lower->module;
    sinter_value x = find_staged(k, anchor), y = sinter_node_result(module, anchor, 0);
    sinter_expr zero = sinter_write_int(k, 0), one = sinter_write_int(k, 1);
    /* Rows outside: a batch is of any number, one as a rule. */
    sinter_expr row = sinter_kernel_begin_for(k, "row", sinter_kernel_dim_of(k, y, ROW));
    sinter_expr n = sinter_kernel_begin_for(k, "n", sinter_kernel_dim_of(k, y, 0));
    write_row(k, x, n, row);
    k->part = (sinter_kernel_part){.value = y,
                                   .first = {n, row, zero, zero},
                                   .count = {one, one, sinter_kernel_dim_of(k, y, COLUMN),
                                             sinter_kernel_dim_of(k, y, CHANNEL)}};
    /* The only element of an axis is 0 in the very form that elementwise rules read it by. */
    for (int i = 0; i < 2; i++)
        if (number(sinter_kernel_dim_of(k, y, i)) == 1) k->part.first[i] = zero;
    bool good = sinter_lower_find_anchor(module, anchor)(k, anchor);
    k->part.value = 0;
    k->between_count = 0;
    sinter_kernel_end_loops(k, 2);
    return good;
}
