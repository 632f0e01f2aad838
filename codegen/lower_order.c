/* Lowering of ops that walk an axis in order: arg_max, arg_min, running sums and products. Test: tests/ops/ */
#include "codegen/lower.h"

bool sinter_lower_arg_reduce(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    uint32_t rank = sinter_value_type(module, x)->rank,
             out_rank = sinter_value_type(module, y)->rank;
    uint32_t axis = sinter_node_get_axis(module, node, 0, rank);
    bool last = sinter_node_get_int(module, node, "select_last_index", 0) != 0;
    bool largest = sinter_node_get(module, node)->op == SINTER_OP_arg_max;
    sinter_expr out[SINTER_MAX_RANK], in[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, y, out);
    for (uint32_t i = 0; i < rank; ++i)
        in[i] = i == axis ? NULL : out[out_rank == rank || i < axis ? i : i - 1];
    sinter_kernel_check_index(kernel, node, sinter_loop_int(build, 0),
                              sinter_kernel_dim_of(kernel, x, (int)axis));
    in[axis] = sinter_loop_int(build, 0);
    sinter_loop_var best =
        sinter_loop_declare(build, "best", true, sinter_lower_element(kernel, x, in));
    sinter_loop_var place = sinter_loop_declare(build, "place", true, sinter_loop_int(build, 0));
    sinter_loop_var k =
        sinter_loop_begin_for(build, "k", sinter_loop_int(build, 1),
                              sinter_kernel_dim_of(kernel, x, (int)axis), 1, SINTER_AXIS_SERIAL);
    in[axis] = sinter_loop_var_read(build, k);
    sinter_expr element = sinter_loop_var_read(
        build, sinter_loop_declare(build, "x", false, sinter_lower_element(kernel, x, in)));
    sinter_expr current = sinter_loop_var_read(build, best);
    sinter_expr low = largest ? current : element, high = largest ? element : current;
    sinter_expr better =
        sinter_loop_compare(build, last ? SINTER_SCALAR_le : SINTER_SCALAR_lt, low, high);
    if (sinter_dtype_is_float(element->dtype)) {
        /* NaN wins over every number, the first one (as NumPy has it). */
        sinter_expr fresh = sinter_loop_call(build, SINTER_SCALAR_is_nan, &element),
                    old = sinter_loop_call(build, SINTER_SCALAR_is_nan, &current);
        sinter_expr not_old = sinter_loop_call(build, SINTER_SCALAR_not, &old);
        sinter_expr either[2] = {better, last ? fresh : sinter_loop_and(build, fresh, not_old)};
        better = sinter_loop_call(build, SINTER_SCALAR_or, either);
    }
    sinter_loop_begin_if(build, better);
    sinter_loop_assign(build, best, element);
    sinter_loop_assign(build, place, in[axis]);
    sinter_kernel_end_loops(kernel, 2);
    sinter_lower_store(kernel, y, out, sinter_loop_var_read(build, place));
    sinter_kernel_end_loops(kernel, out_rank);
    return true;
}

/* The axis comes as a tensor: known at compile time, or each axis is tried at run time. */
static void running_axis(sinter_kernel *kernel, sinter_node node, uint32_t axis) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    sinter_type type = *sinter_value_type(module, x);
    bool product = sinter_node_get(module, node)->op == SINTER_OP_cum_prod;
    bool exclusive = sinter_node_get_int(module, node, "exclusive", 0) != 0,
         reverse = sinter_node_get_int(module, node, "reverse", 0) != 0;
    sinter_dtype dtype = sinter_dtype_compute(type.dtype);
    sinter_expr index[SINTER_MAX_RANK];
    uint32_t loops = 0;
    for (uint32_t i = 0; i < type.rank; ++i) {
        if (i == axis) continue;
        index[i] = sinter_kernel_begin_for(kernel, sinter_arena_format(build->arena, "i%u", i),
                                           sinter_kernel_dim(kernel, type.dims[i]));
        ++loops;
    }
    sinter_loop_var acc = sinter_loop_declare(
        build, "acc", true, sinter_loop_cast(build, sinter_loop_int(build, product), dtype));
    sinter_expr size = sinter_kernel_dim(kernel, type.dims[axis]),
                k = sinter_kernel_begin_for(kernel, "k", size);
    index[axis] =
        reverse ? sinter_loop_sub(build, sinter_loop_sub(build, size, sinter_loop_int(build, 1)), k)
                : k;
    sinter_expr element = sinter_loop_var_read(
        build, sinter_loop_declare(build, "x", false, sinter_lower_element(kernel, x, index)));
    sinter_expr current = sinter_loop_var_read(build, acc);
    sinter_loop_buffer buffer = sinter_kernel_buffer(kernel, y);
    if (exclusive) sinter_kernel_store(kernel, buffer, index, current);
    sinter_loop_assign(build, acc,
                       product ? sinter_loop_mul(build, current, element)
                               : sinter_loop_add(build, current, element));
    if (!exclusive) sinter_kernel_store(kernel, buffer, index, sinter_loop_var_read(build, acc));
    sinter_kernel_end_loops(kernel, loops + 1);
}

bool sinter_lower_running(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value axis = sinter_node_operand(module, node, 1);
    uint32_t rank = sinter_value_type(module, sinter_node_operand(module, node, 0))->rank;
    int64_t known = 0;
    size_t count = 0;
    if (sinter_value_known_ints(module, axis, &known, 1, &count)) {
        running_axis(kernel, node, (uint32_t)(known < 0 ? known + rank : known));
        return true;
    }
    sinter_expr size = sinter_loop_int(build, rank);
    sinter_expr chosen = sinter_kernel_wrap_index(kernel, sinter_lower_scalar(kernel, axis), size);
    chosen = sinter_loop_var_read(build, sinter_loop_declare(build, "axis", false, chosen));
    sinter_kernel_check_index(kernel, node, chosen, size);
    for (uint32_t i = 0; i < rank; ++i) {
        sinter_loop_begin_if(
            build, sinter_loop_compare(build, SINTER_SCALAR_eq, chosen, sinter_loop_int(build, i)));
        running_axis(kernel, node, i);
        sinter_loop_end(build);
    }
    return true;
}
