/* Lowering of contractions (matmul, matmul_integer): batch loops, then m, n, and k inside with one accumulator. The
 * schedules recognise this nest. Test: tests/suites/onnx_suite.py */
#include "codegen/lower/lower.h"

typedef struct contraction {
    sinter_value a, b, y;
    sinter_type a_type, b_type, y_type;
    uint32_t batch; /* leading axes of y */
    bool a_vector, b_vector;
} contraction;

static contraction describe(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    contraction c = {.a = sinter_node_operand(module, node, 0),
                     .b = sinter_node_operand(module, node, 1),
                     .y = sinter_node_result(module, node, 0)};
    c.a_type = *sinter_value_type(module, c.a);
    c.b_type = *sinter_value_type(module, c.b);
    c.y_type = *sinter_value_type(module, c.y);
    c.a_vector = c.a_type.rank == 1;
    c.b_vector = c.b_type.rank == 1;
    c.batch = c.y_type.rank - !c.a_vector - !c.b_vector;
    return c;
}

/* Index of an operand of rank r: its batch axes broadcast against y's, then the two last. */
static void operand_index(sinter_kernel *kernel, const sinter_type *type, const sinter_type *y,
                          uint32_t batch, const sinter_expr *out_index, sinter_expr *index) {
    uint32_t own = type->rank - 2;
    for (uint32_t i = 0; i < own; ++i) {
        uint32_t at = batch - own + i;
        sinter_expr one = sinter_loop_int(&kernel->build, 1),
                    zero = sinter_loop_int(&kernel->build, 0);
        sinter_expr dim = sinter_kernel_dim(kernel, type->dims[i]);
        if (type->dims[i] == y->dims[at])
            index[i] = out_index[at];
        else
            index[i] = sinter_loop_select(
                &kernel->build, sinter_loop_compare(&kernel->build, SINTER_SCALAR_eq, dim, one),
                zero, out_index[at]);
    }
}

static void check_dims(sinter_kernel *kernel, const contraction *c) {
    sinter_lower *lower = kernel->lower;
    sinter_expr ka = sinter_lower_host_dim(lower, c->a_type.dims[c->a_type.rank - 1]);
    sinter_expr kb =
        sinter_lower_host_dim(lower, c->b_type.dims[c->b_vector ? 0 : c->b_type.rank - 2]);
    sinter_expr pair[2] = {ka, kb};
    sinter_lower_host_check(lower, sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, ka, kb), 1,
                            "matmul: inner dimensions %0 and %1 differ", pair, 2);
    const sinter_type *types[2] = {&c->a_type, &c->b_type};
    for (int t = 0; t < 2; ++t) {
        for (uint32_t i = 0; i + 2 < types[t]->rank; ++i) {
            sinter_expr own = sinter_lower_host_dim(lower, types[t]->dims[i]);
            sinter_expr full =
                sinter_lower_host_dim(lower, c->y_type.dims[c->batch - (types[t]->rank - 2) + i]);
            sinter_expr either[2] = {sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, own, full),
                                     sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, own,
                                                         sinter_loop_int(&lower->host, 1))};
            sinter_expr arguments[2] = {own, full};
            sinter_lower_host_check(lower, sinter_loop_call(&lower->host, SINTER_SCALAR_or, either),
                                    1, "matmul: batch dims %0 and %1 do not broadcast", arguments,
                                    2);
        }
    }
}

/* Operand element minus its zero point (integers), in the accumulator's dtype. `at` is the element's index, `place` that of
 * its row or column. */
static sinter_expr centred(sinter_kernel *kernel, sinter_node node, uint32_t zero_operand,
                           sinter_expr element, const sinter_expr *at, sinter_expr place, bool rows,
                           sinter_dtype dtype) {
    sinter_module *module = kernel->lower->module;
    element = sinter_loop_cast(&kernel->build, element, dtype);
    sinter_value zero = sinter_node_operand(module, node, zero_operand);
    if (!zero) return element;
    sinter_type type = *sinter_value_type(module, zero);
    sinter_expr value;
    sinter_type x = *sinter_value_type(module, sinter_node_operand(module, node, zero_operand - 2));
    if (type.rank == 0) {
        value = sinter_lower_scalar(kernel, zero);
    } else if (type.rank == 1) { /* one for all, or one a row or column */
        sinter_dim full = x.rank < 2 ? sinter_dim_const(kernel->lower->dims, 1)
                                     : x.dims[rows ? x.rank - 2 : x.rank - 1];
        const sinter_type vector = {
            .kind = SINTER_TYPE_TENSOR, .dtype = type.dtype, .rank = 1, .dims = &full};
        value = sinter_lower_operand(kernel, node, zero_operand, &place, &vector);
    } else {
        value = sinter_lower_operand(kernel, node, zero_operand, at, &x);
    }
    return sinter_loop_sub(&kernel->build, element, sinter_loop_cast(&kernel->build, value, dtype));
}

bool sinter_lower_matmul(sinter_kernel *kernel, sinter_node node) {
    sinter_loop_builder *build = &kernel->build;
    contraction c = describe(kernel, node);
    check_dims(kernel, &c);
    bool integer = sinter_node_get(kernel->lower->module, node)->op == SINTER_OP_matmul_integer;
    sinter_dtype dtype = sinter_dtype_compute(c.y_type.dtype);
    sinter_expr out[SINTER_MAX_RANK], a[SINTER_MAX_RANK], b[SINTER_MAX_RANK];
    sinter_kernel_begin_loops(kernel, c.y, out);
    sinter_expr m = c.a_vector ? sinter_loop_int(build, 0) : out[c.batch];
    sinter_expr n = c.b_vector ? sinter_loop_int(build, 0) : out[c.y_type.rank - 1];
    if (!c.a_vector) operand_index(kernel, &c.a_type, &c.y_type, c.batch, out, a);
    if (!c.b_vector) operand_index(kernel, &c.b_type, &c.y_type, c.batch, out, b);
    sinter_loop_var acc = sinter_loop_declare(build, "acc", true,
                                              integer ? sinter_loop_const_int(build, dtype, 0)
                                                      : sinter_loop_const(build, dtype, 0));
    sinter_expr k = sinter_kernel_begin_for(
        kernel, "k", sinter_kernel_dim(kernel, c.a_type.dims[c.a_type.rank - 1]));
    if (!c.a_vector) a[c.a_type.rank - 2] = m;
    a[c.a_type.rank - 1] = k;
    b[c.b_vector ? 0 : c.b_type.rank - 2] = k;
    if (!c.b_vector) b[c.b_type.rank - 1] = n;
    sinter_expr x = sinter_lower_element(kernel, c.a, a), w = sinter_lower_element(kernel, c.b, b);
    if (integer) {
        x = centred(kernel, node, 2, x, a, m, true, dtype);
        w = centred(kernel, node, 3, w, b, n, false, dtype);
    }
    sinter_loop_assign(
        build, acc,
        sinter_loop_add(build, sinter_loop_var_read(build, acc), sinter_loop_mul(build, x, w)));
    sinter_loop_end(build);
    sinter_lower_store(kernel, c.y, out, sinter_loop_var_read(build, acc));
    sinter_kernel_end_loops(kernel, c.y_type.rank);
    return true;
}
