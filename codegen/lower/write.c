/* Short forms of kernel rules: see codegen/lower/write.h. Nothing here knows an op. Test: tests/ops/ */
#include "codegen/lower/write.h"
#include "runtime/abi.h"

sinter_expr sinter_write_formula(sinter_kernel *kernel, const char *text, const sinter_expr *values,
                                 size_t count) {
    const sinter_string names[] = {SINTER_STRING("a"), SINTER_STRING("b"), SINTER_STRING("c"),
                                   SINTER_STRING("d"), SINTER_STRING("e"), SINTER_STRING("f")};
    return sinter_lower_scalar_text(kernel, text, names, values, count, values[0]->dtype);
}

sinter_expr sinter_write_int(sinter_kernel *kernel, int64_t value) {
    return sinter_loop_int(&kernel->build, value);
}

sinter_expr sinter_write_number(sinter_kernel *kernel, sinter_dtype dtype, double value) {
    if (sinter_dtype_is_float(dtype)) return sinter_loop_const(&kernel->build, dtype, value);
    return sinter_loop_const_int(&kernel->build, dtype, (int64_t)value);
}

sinter_expr sinter_write_cast(sinter_kernel *kernel, sinter_expr value, sinter_dtype dtype) {
    return sinter_loop_cast(&kernel->build, value, dtype);
}

sinter_expr sinter_write_let(sinter_kernel *kernel, const char *name, sinter_expr value) {
    if (value->kind == SINTER_LOOP_CONST) return value;
    if (value->kind == SINTER_LOOP_VAR &&
        !kernel->build.function->vars.items[value->var].is_mutable)
        return value;
    return sinter_loop_var_read(&kernel->build,
                                sinter_loop_declare(&kernel->build, name, false, value));
}

sinter_loop_var sinter_write_var(sinter_kernel *kernel, const char *name, sinter_expr start) {
    return sinter_loop_declare(&kernel->build, name, true, start);
}

sinter_expr sinter_write_get(sinter_kernel *kernel, sinter_loop_var var) {
    return sinter_loop_var_read(&kernel->build, var);
}

void sinter_write_set(sinter_kernel *kernel, sinter_loop_var var, sinter_expr value) {
    sinter_loop_assign(&kernel->build, var, value);
}

void sinter_write_add(sinter_kernel *kernel, sinter_loop_var var, sinter_expr value) {
    sinter_loop_assign(&kernel->build, var,
                       sinter_loop_add(&kernel->build, sinter_write_get(kernel, var), value));
}

/* ---- statements ---- */

void sinter_write_if(sinter_kernel *kernel, sinter_expr condition) {
    sinter_loop_begin_if(&kernel->build, condition);
}

void sinter_write_else(sinter_kernel *kernel) {
    sinter_loop_end(&kernel->build);
    sinter_loop_begin_else(&kernel->build);
}

void sinter_write_while(sinter_kernel *kernel, sinter_expr condition) {
    sinter_loop_begin_while(&kernel->build, condition);
}

sinter_expr sinter_write_for(sinter_kernel *kernel, const char *name, sinter_expr first,
                             sinter_expr end) {
    return sinter_loop_var_read(&kernel->build, sinter_loop_begin_for(&kernel->build, name, first,
                                                                      end, 1, SINTER_AXIS_SERIAL));
}

void sinter_write_end(sinter_kernel *kernel) {
    sinter_loop_end(&kernel->build);
}

void sinter_write_check(sinter_kernel *kernel, sinter_expr condition, const char *message,
                        sinter_expr argument) {
    if (condition->kind == SINTER_LOOP_CONST && condition->int_value) return;
    sinter_loop_begin_if(&kernel->build,
                         sinter_loop_call(&kernel->build, SINTER_SCALAR_not, &condition));
    sinter_expr number = sinter_loop_cast(&kernel->build, argument, SINTER_DTYPE_i64);
    kernel->may_fail = true;
    sinter_loop_fail(&kernel->build, SINTER_ABI_BAD_INPUT, message, &number, 1);
    sinter_loop_end(&kernel->build);
}

void sinter_write_same_size(sinter_kernel *kernel, sinter_node node, sinter_value a, uint32_t i,
                            sinter_value b, uint32_t j) {
    sinter_lower *lower = kernel->lower;
    sinter_dim first = sinter_write_type(kernel, a).dims[i],
               second = b ? sinter_write_type(kernel, b).dims[j] : sinter_dim_const(lower->dims, j);
    if (first == second) return;
    sinter_expr pair[2] = {sinter_lower_host_dim(lower, first),
                           sinter_lower_host_dim(lower, second)};
    const char *op = sinter_op_get_info(sinter_node_get(lower->module, node)->op)->name;
    sinter_lower_host_check(
        lower, sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, pair[0], pair[1]),
        SINTER_ABI_BAD_INPUT,
        sinter_arena_format(&lower->program->arena, "%s: sizes %%0 and %%1 should agree", op), pair,
        2);
}

/* ---- buffers ---- */

sinter_expr sinter_write_load1(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i) {
    return sinter_kernel_load(kernel, buffer, &i);
}

sinter_expr sinter_write_load2(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i,
                               sinter_expr j) {
    return sinter_kernel_load(kernel, buffer, (sinter_expr[]){i, j});
}

void sinter_write_store1(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i,
                         sinter_expr value) {
    sinter_kernel_store(kernel, buffer, &i, value);
}

void sinter_write_store2(sinter_kernel *kernel, sinter_loop_buffer buffer, sinter_expr i,
                         sinter_expr j, sinter_expr value) {
    sinter_kernel_store(kernel, buffer, (sinter_expr[]){i, j}, value);
}

sinter_loop_buffer sinter_write_stack(sinter_kernel *kernel, const char *name, sinter_dtype dtype,
                                      int64_t count) {
    sinter_expr extent = sinter_loop_int(&kernel->build, count ? count : 1);
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&kernel->build, name, dtype, 1, &extent, SINTER_SCOPE_STACK);
    sinter_loop_alloc(&kernel->build, buffer);
    return buffer;
}

sinter_loop_buffer sinter_write_scratch(sinter_kernel *kernel, const char *name, sinter_dtype dtype,
                                        uint32_t rank, const sinter_dim *dims) {
    sinter_expr host[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i) host[i] = sinter_lower_host_dim(kernel->lower, dims[i]);
    return sinter_kernel_scratch(kernel, name, dtype, rank, host);
}

sinter_loop_buffer sinter_write_table(sinter_kernel *kernel, const char *name,
                                      const sinter_tensor *tensor) {
    sinter_loop_buffer host = sinter_lower_host_constant(kernel->lower, name, tensor);
    return sinter_kernel_bind_buffer(kernel, host, SINTER_SCOPE_INPUT, name);
}

sinter_loop_buffer sinter_write_table_ints(sinter_kernel *kernel, const char *name,
                                           const int64_t *items, size_t count) {
    sinter_tensor tensor;
    int64_t size = count ? (int64_t)count : 1;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_i64, 1, &size, kernel->lower->diag)) {
        kernel->lower->failed = true;
        return sinter_write_stack(kernel, name, SINTER_DTYPE_i64, 1);
    }
    for (int64_t i = 0; i < size; ++i) sinter_tensor_set_int(&tensor, i, count ? items[i] : 0);
    sinter_loop_buffer buffer = sinter_write_table(kernel, name, &tensor);
    sinter_tensor_deinit(&tensor);
    return buffer;
}

/* ---- the node at hand ---- */

sinter_value sinter_write_operand(const sinter_kernel *kernel, sinter_node node, uint32_t i) {
    return sinter_node_operand(kernel->lower->module, node, i);
}

sinter_value sinter_write_result(const sinter_kernel *kernel, sinter_node node, uint32_t i) {
    return sinter_node_result(kernel->lower->module, node, i);
}

sinter_type sinter_write_type(const sinter_kernel *kernel, sinter_value value) {
    return *sinter_value_type(kernel->lower->module, value);
}

sinter_expr sinter_write_scalar(sinter_kernel *kernel, sinter_node node, uint32_t operand,
                                sinter_dtype dtype, double otherwise) {
    sinter_value value = sinter_write_operand(kernel, node, operand);
    if (!value) return sinter_write_number(kernel, dtype, otherwise);
    return sinter_loop_cast(&kernel->build, sinter_lower_scalar(kernel, value), dtype);
}

sinter_expr sinter_write_int_operand(sinter_kernel *kernel, sinter_value value, uint32_t i) {
    const sinter_value_info *info = sinter_value_get(kernel->lower->module, value);
    int64_t items[64];
    size_t count = 0;
    if (sinter_value_known_ints(kernel->lower->module, value, items, 64, &count))
        return sinter_loop_int(&kernel->build, items[i]);
    if (i < info->content_count && info->content[i])
        return sinter_kernel_dim(kernel, info->content[i]);
    sinter_expr at = sinter_loop_int(&kernel->build, i);
    return sinter_loop_cast(&kernel->build, sinter_lower_element(kernel, value, &at),
                            SINTER_DTYPE_i64);
}

uint32_t sinter_write_static_count(const sinter_kernel *kernel, sinter_node node,
                                   sinter_value value) {
    int64_t count = 0;
    sinter_type type = sinter_write_type(kernel, value);
    if (!sinter_dim_is_const(kernel->lower->dims, type.dims[0], &count))
        sinter_lower_error(kernel->lower, node,
                           "how many axes the operands speak of must be known when compiling");
    return (uint32_t)count;
}

void sinter_write_begin_lines(sinter_kernel *kernel, sinter_value value, uint32_t axis,
                              sinter_expr *out_index) {
    sinter_type type = sinter_write_type(kernel, value);
    for (uint32_t i = 0; i < type.rank; ++i)
        if (i != axis)
            out_index[i] =
                sinter_kernel_begin_for(kernel, sinter_arena_format(kernel->build.arena, "i%u", i),
                                        sinter_kernel_dim(kernel, type.dims[i]));
}

void sinter_write_unflatten(sinter_kernel *kernel, sinter_value value, sinter_expr position,
                            sinter_expr *out_index) {
    sinter_type type = sinter_write_type(kernel, value);
    for (uint32_t d = type.rank; d-- > 0;) {
        sinter_expr dim = sinter_kernel_dim(kernel, type.dims[d]);
        out_index[d] =
            d ? sinter_write_let(kernel, "at", sinter_loop_rem(&kernel->build, position, dim))
              : position;
        if (d)
            position =
                sinter_write_let(kernel, "rest", sinter_loop_div(&kernel->build, position, dim));
    }
}

sinter_loop_buffer sinter_write_axes(sinter_kernel *k, const char *name, sinter_node node,
                                     sinter_value axes, uint32_t rank, bool all_if_empty) {
    sinter_loop_buffer mark = sinter_write_stack(k, name, SINTER_DTYPE_i64, rank);
    sinter_expr count = sinter_kernel_axis_count(k, axes), size = sinter_write_int(k, rank);
    sinter_expr start = all_if_empty
                            ? sinter_write_cast(k, FORMULA(k, "a == 0", count), SINTER_DTYPE_i64)
                            : sinter_write_int(k, 0);
    sinter_expr i = sinter_kernel_begin_for(k, "i", size);
    sinter_write_store1(k, mark, i, start);
    sinter_write_end(k);
    sinter_expr j = sinter_kernel_begin_for(k, "j", count);
    sinter_expr axis = sinter_kernel_wrap_index(k, sinter_lower_element(k, axes, &j), size);
    axis = sinter_write_let(k, "axis", axis);
    sinter_kernel_check_index(k, node, axis, size);
    sinter_write_store1(k, mark, axis, sinter_write_int(k, 1));
    sinter_write_end(k);
    return mark;
}

/* ---- late dims ---- */

void sinter_late_begin(sinter_late_dims *late, sinter_lower *lower, sinter_node node,
                       uint32_t count) {
    late->count = count;
    sinter_expr extent = sinter_loop_int(&lower->host, count);
    late->host = sinter_lower_host_scratch(lower, "sizes", SINTER_DTYPE_i64, 1, &extent);
    const char *op = sinter_op_get_info(sinter_node_get(lower->module, node)->op)->name;
    sinter_kernel_begin_named(&late->kernel, lower,
                              sinter_arena_format(&lower->program->arena, "%s_size", op));
    late->sizes =
        sinter_kernel_bind_buffer(&late->kernel, late->host, SINTER_SCOPE_OUTPUT, "sizes");
}

void sinter_late_set(sinter_late_dims *late, uint32_t i, sinter_expr size) {
    sinter_write_store1(&late->kernel, late->sizes, sinter_write_int(&late->kernel, i), size);
}

bool sinter_late_end(sinter_late_dims *late) {
    return sinter_kernel_end(&late->kernel, 0);
}

void sinter_late_bind(sinter_late_dims *late, sinter_value value, uint32_t axis, uint32_t i) {
    sinter_lower *lower = late->kernel.lower;
    sinter_dim dim = sinter_value_type(lower->module, value)->dims[axis];
    if (!sinter_lower_is_late_dim(lower, dim, value)) return;
    sinter_expr at = sinter_loop_int(&lower->host, i);
    sinter_lower_bind_symbol(lower, dim, sinter_loop_load(&lower->host, late->host, &at));
}
