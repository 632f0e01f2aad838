/* Lowering of ops for which the order along an axis counts: arg_max and arg_min, which walk it or, where its elements lie side by side, reduce it
 * twice; running sums and products. Test: tests/ops/ */
#include "codegen/lower/write.h"

typedef struct arg_reduction {
    sinter_kernel *kernel;
    sinter_value x;
    uint32_t axis;
    bool largest, last;
    sinter_expr *in; /* the line: in[axis] is filled in */
} arg_reduction;

static sinter_expr element_at(arg_reduction *a, sinter_expr position) {
    a->in[a->axis] = position;
    return sinter_lower_element(a->kernel, a->x, a->in);
}

static sinter_expr is_nan(sinter_loop_builder *build, sinter_expr element) {
    return sinter_loop_call(build, SINTER_SCALAR_is_nan, &element);
}

/* The elements of a line lie side by side and are there to be read, as they are or in the wider type that is computed in. */
static bool is_run(const arg_reduction *a, sinter_expr element) {
    const sinter_type *type = sinter_value_type(a->kernel->lower->module, a->x);
    for (uint32_t i = a->axis + 1; i < type->rank; ++i)
        if (!sinter_dim_is(a->kernel->lower->dims, type->dims[i], 1)) return false;
    if (element->kind == SINTER_LOOP_CAST && element->dtype == sinter_dtype_compute(type->dtype))
        element = element->arguments[0];
    return element->kind == SINTER_LOOP_LOAD;
}

/* The largest element first, then the least place of those that equal it: two reductions, which both go in lanes. NaN is the
 * largest where there is one. */
static sinter_expr place_of_best(arg_reduction *a, sinter_expr size) {
    sinter_kernel *k = a->kernel;
    sinter_loop_builder *build = &k->build;
    sinter_expr zero = sinter_loop_int(build, 0);
    int64_t low = 0, high = 0;
    sinter_dim_range(k->lower->dims, sinter_value_type(k->lower->module, a->x)->dims[a->axis], &low,
                     &high);
    sinter_dtype dtype = high < INT32_MAX ? SINTER_DTYPE_i32 : SINTER_DTYPE_i64;
    sinter_loop_var best = sinter_write_var(k, "best", element_at(a, zero));
    sinter_expr i = sinter_kernel_begin_for(k, "k", size);
    sinter_expr x = sinter_write_let(k, "x", element_at(a, i)), current = sinter_write_get(k, best);
    sinter_write_set(k, best,
                     a->largest ? sinter_loop_max(build, current, x)
                                : sinter_loop_min(build, current, x));
    sinter_write_end(k);
    sinter_expr none = a->last ? sinter_loop_int(build, -1) : size;
    none = sinter_write_cast(k, none, dtype);
    sinter_loop_var place = sinter_write_var(k, "place", none);
    i = sinter_kernel_begin_for(k, "k", size);
    x = sinter_write_let(k, "x", element_at(a, i));
    sinter_expr hit = sinter_loop_compare(build, SINTER_SCALAR_eq, x, current);
    if (sinter_dtype_is_float(x->dtype))
        hit = sinter_loop_call2(build, SINTER_SCALAR_or, hit,
                                sinter_loop_and(build, is_nan(build, x), is_nan(build, current)));
    sinter_expr here = sinter_loop_select(build, hit, sinter_write_cast(k, i, dtype), none);
    sinter_expr found = sinter_write_get(k, place);
    sinter_write_set(k, place,
                     a->last ? sinter_loop_max(build, found, here)
                             : sinter_loop_min(build, found, here));
    sinter_write_end(k);
    return sinter_write_cast(k, found, SINTER_DTYPE_i64);
}

/* One walk along the line, which keeps the best so far and its place; lines side by side go in lanes. */
static sinter_expr walk_for_best(arg_reduction *a, sinter_expr first, sinter_expr size) {
    sinter_loop_builder *build = &a->kernel->build;
    sinter_loop_var best = sinter_loop_declare(build, "best", true, first);
    sinter_loop_var place = sinter_loop_declare(build, "place", true, sinter_loop_int(build, 0));
    sinter_loop_var k =
        sinter_loop_begin_for(build, "k", sinter_loop_int(build, 1), size, 1, SINTER_AXIS_SERIAL);
    sinter_expr element = sinter_loop_var_read(
        build,
        sinter_loop_declare(build, "x", false, element_at(a, sinter_loop_var_read(build, k))));
    sinter_expr current = sinter_loop_var_read(build, best);
    sinter_expr low = a->largest ? current : element, high = a->largest ? element : current;
    sinter_expr better =
        sinter_loop_compare(build, a->last ? SINTER_SCALAR_le : SINTER_SCALAR_lt, low, high);
    if (sinter_dtype_is_float(element->dtype)) {
        /* NaN wins over every number, the first one (as NumPy has it). */
        sinter_expr fresh = is_nan(build, element), old = is_nan(build, current);
        sinter_expr not_old = sinter_loop_call(build, SINTER_SCALAR_not, &old);
        sinter_expr either[2] = {better, a->last ? fresh : sinter_loop_and(build, fresh, not_old)};
        better = sinter_loop_call(build, SINTER_SCALAR_or, either);
    }
    sinter_loop_begin_if(build, better);
    sinter_loop_assign(build, best, element);
    sinter_loop_assign(build, place, a->in[a->axis]);
    sinter_kernel_end_loops(a->kernel, 2);
    return sinter_loop_var_read(build, place);
}

bool sinter_lower_arg_reduce(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value y = sinter_node_result(module, node, 0);
    sinter_expr out[SINTER_MAX_RANK], in[SINTER_MAX_RANK];
    arg_reduction a = {.kernel = kernel, .x = sinter_node_operand(module, node, 0), .in = in};
    uint32_t rank = sinter_value_type(module, a.x)->rank,
             out_rank = sinter_value_type(module, y)->rank;
    a.axis = sinter_node_get_axis(module, node, 0, rank);
    a.last = sinter_node_get_int(module, node, "select_last_index", 0) != 0;
    a.largest = sinter_node_get(module, node)->op == SINTER_OP_arg_max;
    sinter_kernel_begin_loops(kernel, y, out);
    for (uint32_t i = 0; i < rank; ++i)
        in[i] = i == a.axis ? NULL : out[out_rank == rank || i < a.axis ? i : i - 1];
    sinter_expr size = sinter_kernel_dim_of(kernel, a.x, (int)a.axis);
    sinter_kernel_check_index(kernel, node, sinter_loop_int(build, 0), size);
    sinter_expr first = element_at(&a, sinter_loop_int(build, 0));
    sinter_lower_store(kernel, y, out,
                       is_run(&a, first) ? place_of_best(&a, size)
                                         : walk_for_best(&a, first, size));
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
