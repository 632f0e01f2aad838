/* Lowering of reductions from their "init; combine; finish" text in ops.def. Axes known at compile time give a loop
 * nest with one accumulator; axes that come as data give a nest over all elements with strides computed on entry.
 * Sums of floats over very many elements accumulate in f64, as the evaluator does: in f32 their error would grow with the
 * number of elements.
 * Test: tests/suites/onnx_suite.py, tests/ops/reduce.sir */
#include "codegen/lower/write.h"
#include <string.h>

enum { LONG_SUM = 16384 }; /* elements: what f32 still sums to six digits, one after the other */

typedef struct reduction {
    char init[64], combine[64], finish[64];
} reduction;

static void split_body(const char *body, reduction *out_reduction) {
    char *parts[3] = {out_reduction->init, out_reduction->combine, out_reduction->finish};
    for (int i = 0; i < 3; ++i) {
        size_t length = strcspn(body, ";");
        while (*body == ' ') ++body, --length;
        memcpy(parts[i], body, length);
        parts[i][length] = 0;
        body += length + (body[length] == ';');
    }
}

/* Accumulators are at least 32 bits wide. */
static sinter_expr initial_value(sinter_kernel *kernel, const char *text, sinter_dtype dtype) {
    return sinter_loop_cast(&kernel->build,
                            sinter_lower_scalar_text(kernel, text, NULL, NULL, 0, dtype), dtype);
}

static sinter_expr apply(sinter_kernel *kernel, const char *text, sinter_expr accumulator,
                         sinter_expr x, sinter_expr count, sinter_dtype dtype) {
    sinter_string names[3] = {SINTER_STRING("acc"), SINTER_STRING("x"), SINTER_STRING("count")};
    sinter_expr values[3] = {accumulator, sinter_loop_cast(&kernel->build, x, dtype),
                             sinter_loop_cast(&kernel->build, count, dtype)};
    return sinter_loop_cast(&kernel->build,
                            sinter_lower_scalar_text(kernel, text, names, values, 3, dtype), dtype);
}

/* Which axes are reduced: true and the mask where that is known. */
static bool static_axes(const sinter_kernel *kernel, sinter_node node, bool *out_mask) {
    sinter_module *module = kernel->lower->module;
    uint32_t rank = sinter_value_type(module, sinter_node_operand(module, node, 0))->rank;
    sinter_value axes = sinter_node_operand(module, node, 1);
    int64_t items[SINTER_MAX_RANK];
    size_t count = 0;
    if (axes && !sinter_value_known_ints(module, axes, items, SINTER_MAX_RANK, &count)) {
        const sinter_type *type = sinter_value_type(module, axes);
        if (!sinter_dim_is(kernel->lower->dims, type->dims[0], 0)) return false;
    }
    bool none = count == 0 && sinter_node_get_int(module, node, "noop_with_empty_axes", 0) != 0;
    for (uint32_t i = 0; i < rank; ++i) out_mask[i] = count == 0 && !none;
    for (size_t i = 0; i < count; ++i) out_mask[items[i] < 0 ? items[i] + rank : items[i]] = true;
    return true;
}

/* ---- the steps one by one, for groups that reduce several times ---- */

static reduction text_of(const sinter_kernel *kernel, sinter_node node) {
    reduction text;
    split_body(sinter_op_get_info(sinter_node_get(kernel->lower->module, node)->op)->body, &text);
    return text;
}

/* Whether each result may combine more than LONG_SUM elements. Of two axes of unknown size (a picture) that is likely, of
 * one (a text) it is not. */
static bool is_long(const sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    const sinter_type *type = sinter_value_type(module, sinter_node_operand(module, node, 0));
    bool mask[SINTER_MAX_RANK] = {0};
    uint32_t unbounded = 0;
    double most = 1;
    if (!static_axes(kernel, node, mask)) return true;
    for (uint32_t i = 0; i < type->rank; ++i) {
        int64_t low = 0, high = 0;
        if (!mask[i]) continue;
        sinter_dim_range(kernel->lower->dims, type->dims[i], &low, &high);
        if (high >= INT32_MAX)
            ++unbounded;
        else
            most *= (double)high;
    }
    return unbounded > 1 || most > LONG_SUM;
}

static sinter_dtype accumulator_dtype(const sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_dtype dtype = sinter_dtype_compute(
        sinter_value_type(module, sinter_node_operand(module, node, 0))->dtype);
    bool sums = dtype == SINTER_DTYPE_f32 && strstr(text_of(kernel, node).combine, "acc +");
    return sums && is_long(kernel, node) ? SINTER_DTYPE_f64 : dtype;
}

sinter_loop_var sinter_lower_reduce_begin(sinter_kernel *kernel, sinter_node node) {
    reduction text = text_of(kernel, node);
    return sinter_loop_declare(&kernel->build, "acc", true,
                               initial_value(kernel, text.init, accumulator_dtype(kernel, node)));
}

void sinter_lower_reduce_step(sinter_kernel *kernel, sinter_node node, sinter_loop_var accumulator,
                              sinter_expr element, sinter_expr count) {
    sinter_loop_builder *build = &kernel->build;
    reduction text = text_of(kernel, node);
    if (element->kind != SINTER_LOOP_CONST && element->kind != SINTER_LOOP_LOAD &&
        element->kind != SINTER_LOOP_VAR)
        element = sinter_loop_var_read(build, sinter_loop_declare(build, "x", false, element));
    sinter_loop_assign(build, accumulator,
                       apply(kernel, text.combine, sinter_loop_var_read(build, accumulator),
                             element, count, accumulator_dtype(kernel, node)));
}

sinter_expr sinter_lower_reduce_end(sinter_kernel *kernel, sinter_node node,
                                    sinter_loop_var accumulator, sinter_expr count) {
    reduction text = text_of(kernel, node);
    sinter_dtype dtype = accumulator_dtype(kernel, node);
    sinter_value x = sinter_node_operand(kernel->lower->module, node, 0);
    sinter_expr result =
        apply(kernel, text.finish, sinter_loop_var_read(&kernel->build, accumulator),
              sinter_loop_const_int(&kernel->build, dtype, 0), count, dtype);
    sinter_dtype narrow = sinter_value_type(kernel->lower->module, x)->dtype;
    return sinter_loop_cast(&kernel->build, result, sinter_dtype_compute(narrow));
}

static bool lower_static(sinter_kernel *kernel, sinter_node node, const bool *mask) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    uint32_t rank = sinter_value_type(module, x)->rank;
    sinter_expr out_index[SINTER_MAX_RANK], in_index[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, y, out_index);
    uint32_t out_rank = sinter_value_type(module, y)->rank;
    bool keep = out_rank == rank;
    uint32_t next = 0;
    sinter_expr count = sinter_loop_int(build, 1);
    for (uint32_t i = 0; i < rank; ++i) {
        if (!mask[i]) in_index[i] = out_index[keep ? i : next++];
        if (mask[i]) count = sinter_loop_mul(build, count, sinter_kernel_dim_of(kernel, x, (int)i));
    }
    sinter_loop_var acc = sinter_lower_reduce_begin(kernel, node);
    uint32_t loops = 0;
    for (uint32_t i = 0; i < rank; ++i) {
        if (!mask[i]) continue;
        in_index[i] = sinter_kernel_begin_for(kernel, sinter_arena_format(build->arena, "r%u", i),
                                              sinter_kernel_dim_of(kernel, x, (int)i));
        ++loops;
    }
    sinter_expr element = sinter_lower_element(kernel, x, in_index);
    sinter_lower_reduce_step(kernel, node, acc, element, count);
    sinter_kernel_end_loops(kernel, loops);
    sinter_lower_store(kernel, y, out_index, sinter_lower_reduce_end(kernel, node, acc, count));
    sinter_kernel_end_loops(kernel, out_rank);
    return true;
}

/* Axes that are data: which of the input's go (reduced), how many elements that makes (count), and how many of those before
 * stay (next), which is the result's axis where dims are not kept. */
typedef struct data_axes {
    sinter_loop_buffer reduced;
    sinter_loop_var count, next;
    const sinter_expr *out_index;
    uint32_t out_rank;
    bool keeps;
} data_axes;

/* Where axis i stands in the result's index. */
static sinter_expr kept_place(sinter_loop_builder *build, const data_axes *d, uint32_t i) {
    if (d->keeps) return d->out_index[i];
    sinter_expr place = sinter_loop_int(build, 0);
    for (uint32_t j = d->out_rank; j-- > 0;) {
        sinter_expr here =
            sinter_loop_compare(build, SINTER_SCALAR_eq, sinter_loop_var_read(build, d->next),
                                sinter_loop_int(build, j));
        place = sinter_loop_select(build, here, d->out_index[j], place);
    }
    return place;
}

/* Axis i runs over all of its dim where it goes, and else over the one place of the result. */
static void bound_axis(sinter_kernel *kernel, const data_axes *d, uint32_t i, sinter_expr dim,
                       sinter_loop_var *out_lower, sinter_loop_var *out_upper) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr at = sinter_loop_int(build, i), zero = sinter_loop_int(build, 0),
                one = sinter_loop_int(build, 1);
    sinter_expr flag = sinter_loop_compare(build, SINTER_SCALAR_ne,
                                           sinter_loop_load(build, d->reduced, &at), zero);
    *out_lower = sinter_loop_declare(
        build, "first", false, sinter_loop_select(build, flag, zero, kept_place(build, d, i)));
    sinter_expr next_place = sinter_loop_add(build, sinter_loop_var_read(build, *out_lower), one);
    *out_upper = sinter_loop_declare(build, "limit", false,
                                     sinter_loop_select(build, flag, dim, next_place));
    sinter_loop_assign(build, d->count,
                       sinter_loop_mul(build, sinter_loop_var_read(build, d->count),
                                       sinter_loop_select(build, flag, dim, one)));
    sinter_loop_assign(build, d->next,
                       sinter_loop_add(build, sinter_loop_var_read(build, d->next),
                                       sinter_loop_select(build, flag, zero, one)));
}

/* The result's dims are known by now: inference gave them symbols. */
static bool lower_dynamic(sinter_kernel *kernel, sinter_node node, const reduction *text) {
    sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = sinter_node_operand(module, node, 0), y = sinter_node_result(module, node, 0);
    uint32_t rank = sinter_value_type(module, x)->rank;
    sinter_dtype dtype = accumulator_dtype(kernel, node);
    sinter_expr out_index[SINTER_MAX_RANK], in_index[SINTER_MAX_RANK];
    data_axes d = {.out_index = out_index, .out_rank = sinter_value_type(module, y)->rank};
    d.keeps = d.out_rank == rank;
    bool noop = sinter_node_get_int(module, node, "noop_with_empty_axes", 0) != 0;
    d.reduced = sinter_write_axes(kernel, "reduced", node, sinter_node_operand(module, node, 1),
                                  rank, !noop);
    sinter_kernel_begin_loops(kernel, y, out_index);
    sinter_loop_var acc =
        sinter_loop_declare(build, "acc", true, initial_value(kernel, text->init, dtype));
    d.count = sinter_loop_declare(build, "count", true, sinter_loop_int(build, 1));
    d.next = sinter_loop_declare(build, "next", true, sinter_loop_int(build, 0));
    sinter_loop_var lower[SINTER_MAX_RANK], upper[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i)
        bound_axis(kernel, &d, i, sinter_kernel_dim_of(kernel, x, (int)i), &lower[i], &upper[i]);
    for (uint32_t i = 0; i < rank; ++i) {
        sinter_loop_var r =
            sinter_loop_begin_for(build, "r", sinter_loop_var_read(build, lower[i]),
                                  sinter_loop_var_read(build, upper[i]), 1, SINTER_AXIS_SERIAL);
        in_index[i] = sinter_loop_var_read(build, r);
    }
    sinter_expr element = sinter_lower_element(kernel, x, in_index);
    element = sinter_loop_var_read(build, sinter_loop_declare(build, "x", false, element));
    sinter_expr total = sinter_loop_var_read(build, d.count);
    sinter_loop_assign(
        build, acc,
        apply(kernel, text->combine, sinter_loop_var_read(build, acc), element, total, dtype));
    sinter_kernel_end_loops(kernel, rank);
    sinter_lower_store(kernel, y, out_index,
                       apply(kernel, text->finish, sinter_loop_var_read(build, acc),
                             sinter_loop_const_int(build, dtype, 0), total, dtype));
    sinter_kernel_end_loops(kernel, d.out_rank);
    return true;
}

bool sinter_lower_reduce(sinter_kernel *kernel, sinter_node node) {
    reduction text = text_of(kernel, node);
    bool mask[SINTER_MAX_RANK] = {0};
    if (static_axes(kernel, node, mask)) return lower_static(kernel, node, mask);
    return lower_dynamic(kernel, node, &text);
}
