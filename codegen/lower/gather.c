/* Lowering of gathers and scatters: indices come from tensors, so each is wrapped (negative counts from the end) and
 * checked before it is used. Test: tests/suites/onnx_suite.py */
#include "codegen/lower/lower.h"

static sinter_value operand(sinter_kernel *kernel, sinter_node node, uint32_t i) {
    return sinter_node_operand(kernel->lower->module, node, i);
}

static sinter_type type_of(sinter_kernel *kernel, sinter_value value) {
    return *sinter_value_type(kernel->lower->module, value);
}

/* An index read from a tensor, safe to use. */
static sinter_expr checked_index(sinter_kernel *kernel, sinter_node node, sinter_expr element,
                                 sinter_expr size) {
    sinter_expr value = sinter_kernel_wrap_index(kernel, element, size);
    if (value->kind != SINTER_LOOP_CONST)
        value = sinter_loop_var_read(&kernel->build,
                                     sinter_loop_declare(&kernel->build, "at", false, value));
    sinter_kernel_check_index(kernel, node, value, size);
    return value;
}

sinter_expr sinter_lower_gather(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                const sinter_expr *index) {
    (void)result;
    sinter_value data = operand(kernel, node, 0), indices = operand(kernel, node, 1);
    uint32_t rank = type_of(kernel, data).rank, index_rank = type_of(kernel, indices).rank;
    uint32_t axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i)
        own[i] = i < axis ? index[i] : i > axis ? index[i + index_rank - 1] : NULL;
    sinter_expr element = sinter_lower_element(kernel, indices, index + axis);
    own[axis] = checked_index(kernel, node, element, sinter_kernel_dim_of(kernel, data, (int)axis));
    return sinter_lower_element(kernel, data, own);
}

sinter_expr sinter_lower_lookup(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                const sinter_expr *index) {
    (void)result;
    sinter_expr byte = sinter_loop_cast(
        &kernel->build, sinter_lower_element(kernel, operand(kernel, node, 0), index),
        SINTER_DTYPE_u8);
    sinter_expr at = sinter_loop_cast(&kernel->build, byte, SINTER_DTYPE_i64);
    return sinter_lower_element(kernel, operand(kernel, node, 1), &at);
}

sinter_expr sinter_lower_gather_elements(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                         const sinter_expr *index) {
    (void)result;
    sinter_value data = operand(kernel, node, 0);
    uint32_t rank = type_of(kernel, data).rank,
             axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i) own[i] = index[i];
    sinter_expr element = sinter_lower_element(kernel, operand(kernel, node, 1), index);
    own[axis] = checked_index(kernel, node, element, sinter_kernel_dim_of(kernel, data, (int)axis));
    return sinter_lower_element(kernel, data, own);
}

/* Length of the index tuples of gather_nd and scatter_nd: a number by inference. */
static uint32_t tuple_length(sinter_kernel *kernel, sinter_value indices) {
    sinter_type type = type_of(kernel, indices);
    int64_t length = 0;
    sinter_dim_is_const(kernel->lower->dims, type.dims[type.rank - 1], &length);
    return (uint32_t)length;
}

sinter_expr sinter_lower_gather_nd(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                   const sinter_expr *index) {
    (void)result;
    sinter_value data = operand(kernel, node, 0), indices = operand(kernel, node, 1);
    uint32_t batch = (uint32_t)sinter_node_get_int(kernel->lower->module, node, "batch_dims", 0);
    uint32_t rank = type_of(kernel, data).rank, index_rank = type_of(kernel, indices).rank,
             length = tuple_length(kernel, indices);
    sinter_expr own[SINTER_MAX_RANK], at[SINTER_MAX_RANK];
    for (uint32_t i = 0; i + 1 < index_rank; ++i) at[i] = index[i];
    for (uint32_t i = 0; i < batch; ++i) own[i] = index[i];
    for (uint32_t i = 0; i < length; ++i) {
        at[index_rank - 1] = sinter_loop_int(&kernel->build, i);
        sinter_expr element = sinter_lower_element(kernel, indices, at);
        own[batch + i] = checked_index(kernel, node, element,
                                       sinter_kernel_dim_of(kernel, data, (int)(batch + i)));
    }
    for (uint32_t i = batch + length; i < rank; ++i)
        own[i] = index[index_rank - 1 + i - batch - length];
    return sinter_lower_element(kernel, data, own);
}

sinter_expr sinter_lower_one_hot(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                 const sinter_expr *index) {
    sinter_loop_builder *build = &kernel->build;
    sinter_value y = sinter_node_result(kernel->lower->module, node, result),
                 values = operand(kernel, node, 2);
    uint32_t rank = type_of(kernel, y).rank,
             axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i + 1 < rank; ++i) own[i] = index[i < axis ? i : i + 1];
    sinter_expr given = sinter_lower_element(kernel, operand(kernel, node, 0), own);
    sinter_expr hot =
        sinter_kernel_wrap_index(kernel, given, sinter_kernel_dim_of(kernel, y, (int)axis));
    sinter_expr zero = sinter_loop_int(build, 0), one = sinter_loop_int(build, 1);
    sinter_expr on = sinter_lower_element(kernel, values, &one),
                off = sinter_lower_element(kernel, values, &zero);
    sinter_expr is_hot = sinter_loop_compare(build, SINTER_SCALAR_eq, hot, index[axis]);
    if (sinter_dtype_is_float(given->dtype)) { /* NaN is no index, whatever integer it becomes */
        sinter_expr both[2] = {is_hot, sinter_loop_compare(build, SINTER_SCALAR_eq, given, given)};
        is_hot = sinter_loop_call(build, SINTER_SCALAR_and, both);
    }
    return sinter_loop_select(build, is_hot, on, off);
}

/* ---- scatters: the data first, then the updates one after the other ---- */

static void copy_data(sinter_kernel *kernel, sinter_value data, sinter_value y) {
    if (sinter_kernel_start_as_copy(kernel, y, data)) return;
    sinter_expr index[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, y, index);
    sinter_kernel_store(kernel, sinter_kernel_buffer(kernel, y), index,
                        sinter_lower_element(kernel, data, index));
    sinter_kernel_end_loops(kernel, type_of(kernel, y).rank);
}

static void scatter_update(sinter_kernel *kernel, sinter_node node, sinter_value y,
                           const sinter_expr *index, sinter_expr update) {
    sinter_string reduction = sinter_node_get_string(kernel->lower->module, node, "reduction");
    sinter_scalar_function function = sinter_string_is(reduction, "add")   ? SINTER_SCALAR_add
                                      : sinter_string_is(reduction, "mul") ? SINTER_SCALAR_mul
                                      : sinter_string_is(reduction, "max") ? SINTER_SCALAR_max
                                      : sinter_string_is(reduction, "min") ? SINTER_SCALAR_min
                                                                           : SINTER_SCALAR_NONE;
    sinter_loop_buffer buffer = sinter_kernel_buffer(kernel, y);
    if (function != SINTER_SCALAR_NONE) {
        sinter_expr pair[2] = {sinter_kernel_load(kernel, buffer, index), update};
        update = sinter_loop_call(&kernel->build, function, pair);
    }
    sinter_kernel_store(kernel, buffer, index, update);
}

bool sinter_lower_scatter_elements(sinter_kernel *kernel, sinter_node node) {
    sinter_value data = operand(kernel, node, 0), indices = operand(kernel, node, 1),
                 updates = operand(kernel, node, 2);
    sinter_value y = sinter_node_result(kernel->lower->module, node, 0);
    uint32_t rank = type_of(kernel, data).rank,
             axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank);
    copy_data(kernel, data, y);
    sinter_expr index[SINTER_MAX_RANK], own[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, indices, index);
    for (uint32_t i = 0; i < rank; ++i) {
        own[i] = index[i];
        /* The other axes of indices may be shorter than the data's, never longer. */
        if (i != axis && type_of(kernel, indices).dims[i] != type_of(kernel, data).dims[i])
            sinter_kernel_check_index(kernel, node, index[i],
                                      sinter_kernel_dim_of(kernel, data, (int)i));
    }
    own[axis] = checked_index(kernel, node, sinter_lower_element(kernel, indices, index),
                              sinter_kernel_dim_of(kernel, data, (int)axis));
    scatter_update(kernel, node, y, own, sinter_lower_element(kernel, updates, index));
    sinter_kernel_end_loops(kernel, rank);
    return true;
}

bool sinter_lower_scatter_nd(sinter_kernel *kernel, sinter_node node) {
    sinter_value data = operand(kernel, node, 0), indices = operand(kernel, node, 1),
                 updates = operand(kernel, node, 2);
    sinter_value y = sinter_node_result(kernel->lower->module, node, 0);
    uint32_t rank = type_of(kernel, data).rank, length = tuple_length(kernel, indices);
    uint32_t outer = type_of(kernel, indices).rank - 1;
    copy_data(kernel, data, y);
    sinter_expr at[SINTER_MAX_RANK], own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < outer; ++i)
        at[i] = sinter_kernel_begin_for(kernel, sinter_arena_format(kernel->build.arena, "u%u", i),
                                        sinter_kernel_dim_of(kernel, indices, (int)i));
    sinter_expr place[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < outer; ++i) place[i] = at[i];
    for (uint32_t i = 0; i < length; ++i) {
        at[outer] = sinter_loop_int(&kernel->build, i);
        own[i] = checked_index(kernel, node, sinter_lower_element(kernel, indices, at),
                               sinter_kernel_dim_of(kernel, data, (int)i));
    }
    for (uint32_t i = length; i < rank; ++i) {
        own[i] = sinter_kernel_begin_for(kernel, sinter_arena_format(kernel->build.arena, "i%u", i),
                                         sinter_kernel_dim_of(kernel, data, (int)i));
        place[outer + i - length] = own[i];
    }
    scatter_update(kernel, node, y, own, sinter_lower_element(kernel, updates, place));
    sinter_kernel_end_loops(kernel, outer + rank - length);
    return true;
}

/* A cache [batch, ..., sequence, ...] with update written from write_indices[batch] on along axis, around the end in
 * circular mode. */
bool sinter_lower_tensor_scatter(sinter_kernel *kernel, sinter_node node) {
    sinter_loop_builder *build = &kernel->build;
    sinter_value cache = operand(kernel, node, 0), update = operand(kernel, node, 1),
                 starts = operand(kernel, node, 2);
    sinter_value y = sinter_node_result(kernel->lower->module, node, 0);
    uint32_t rank = type_of(kernel, cache).rank,
             axis = sinter_node_get_axis(kernel->lower->module, node, 0, rank);
    bool circular =
        sinter_string_is(sinter_node_get_string(kernel->lower->module, node, "mode"), "circular");
    copy_data(kernel, cache, y);
    sinter_expr index[SINTER_MAX_RANK], own[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, update, index);
    sinter_expr size = sinter_kernel_dim_of(kernel, cache, (int)axis);
    sinter_expr start =
        starts
            ? sinter_loop_cast(build, sinter_lower_element(kernel, starts, index), SINTER_DTYPE_i64)
            : sinter_loop_int(build, 0);
    sinter_expr at = sinter_loop_add(build, start, index[axis]);
    if (circular) {
        sinter_expr pair[2] = {at, size};
        at = sinter_loop_call(build, SINTER_SCALAR_floormod, pair);
    }
    at = sinter_loop_var_read(build, sinter_loop_declare(build, "at", false, at));
    for (uint32_t i = 0; i < rank; ++i) own[i] = i == axis ? at : index[i];
    for (uint32_t i = 0; i < rank; ++i)
        if (i == axis || type_of(kernel, update).dims[i] != type_of(kernel, cache).dims[i])
            sinter_kernel_check_index(kernel, node, own[i],
                                      sinter_kernel_dim_of(kernel, cache, (int)i));
    sinter_kernel_store(kernel, sinter_kernel_buffer(kernel, y), own,
                        sinter_lower_element(kernel, update, index));
    sinter_kernel_end_loops(kernel, rank);
    return true;
}
