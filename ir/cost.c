/* Costs by pattern; the few composites and opaque ops whose work is a matrix product have a row each.
 * Test: tests/unit/cost_test.c */
#include "ir/cost.h"

typedef struct counter {
    sinter_module *module;
    sinter_dim_table *dims;
    const sinter_node_info *info;
    sinter_node node;
} counter;

static const sinter_type *operand_type(const counter *c, uint32_t index) {
    sinter_value value = sinter_node_operand(c->module, c->node, index);
    const sinter_type *type = value ? sinter_value_type(c->module, value) : NULL;
    return type && type->kind == SINTER_TYPE_TENSOR ? type : NULL;
}

/* Type of the first result that is computed. */
static const sinter_type *result_type(const counter *c) {
    for (uint32_t i = 0; i < c->info->result_count; ++i) {
        sinter_value value = c->info->results[i];
        const sinter_type *type = value ? sinter_value_type(c->module, value) : NULL;
        if (type && type->kind == SINTER_TYPE_TENSOR) return type;
    }
    return NULL;
}

static sinter_dim count(const counter *c, const sinter_type *type, uint32_t first) {
    if (!type) return 0;
    return first <= type->rank ? sinter_type_product(c->dims, type, first, type->rank)
                               : sinter_dim_const(c->dims, 1);
}

static sinter_dim bytes(const counter *c, const sinter_type *type) {
    if (!type || type->kind != SINTER_TYPE_TENSOR) return 0;
    sinter_dim bits = sinter_dim_const(c->dims, sinter_dtype_infos[type->dtype].bits);
    sinter_dim all = sinter_dim_mul(c->dims, count(c, type, 0), bits);
    return sinter_dim_ceildiv(c->dims, all, sinter_dim_const(c->dims, 8));
}

/* Elements of the result times the length of operand 0's last axis: y[..., m, n] = sum over k. */
static void product(const counter *c, bool transposed, sinter_cost *cost) {
    const sinter_type *a = operand_type(c, 0), *y = result_type(c);
    cost->form = SINTER_COST_PRODUCT;
    cost->multiply_adds = 0;
    if (!a || !a->rank || !y) return;
    cost->depth = a->dims[transposed ? 0 : a->rank - 1];
    cost->columns = y->rank ? y->dims[y->rank - 1] : sinter_dim_const(c->dims, 1);
    cost->multiply_adds = sinter_dim_mul(c->dims, count(c, y, 0), cost->depth);
}

/* Each element of `over` meets one filter: the weight tensor without its first axis. */
static void filter(const counter *c, const sinter_type *over, uint32_t weight, bool transposed,
                   sinter_cost *cost) {
    const sinter_type *w = operand_type(c, weight);
    int64_t groups = sinter_node_get_int(c->module, c->node, "group", 1), size;
    cost->form = SINTER_COST_FILTER;
    cost->multiply_adds = sinter_dim_mul(c->dims, count(c, over, 0), count(c, w, 1));
    if (!w || w->rank < 2 || groups < 1) return;
    cost->columns =
        transposed ? w->dims[1]
                   : sinter_dim_floordiv(c->dims, w->dims[0], sinter_dim_const(c->dims, groups));
    cost->depth = count(c, w, 1);
    if (transposed)
        cost->depth = sinter_dim_floordiv(c->dims, w->dims[0], sinter_dim_const(c->dims, groups));
    if (sinter_dim_is_const(c->dims, count(c, w, 2), &size)) cost->taps = size;
}

static sinter_dim pool(const counter *c) {
    const int64_t *kernel = NULL;
    size_t rank = sinter_node_get_ints(c->module, c->node, "kernel_shape", &kernel);
    sinter_dim work = count(c, result_type(c), 0);
    for (size_t i = 0; i < rank; ++i)
        work = sinter_dim_mul(c->dims, work, sinter_dim_const(c->dims, kernel[i]));
    return work;
}

/* q[b, h, m, d] k[b, h, n, d] v[b, h, n, e]: both products. Operands of rank 3 hold the heads in their last axis. */
static void attention(const counter *c, sinter_cost *cost) {
    const sinter_type *q = operand_type(c, 0), *k = operand_type(c, 1), *y = result_type(c);
    cost->form = SINTER_COST_ATTENTION;
    cost->multiply_adds = 0;
    if (!q || !k || !y || q->rank < 3 || k->rank < 3) return;
    sinter_dim both = sinter_dim_add(c->dims, count(c, q, 0), count(c, y, 0));
    cost->columns = k->dims[k->rank - 2];
    cost->depth = q->dims[q->rank - 1];
    cost->multiply_adds = sinter_dim_mul(c->dims, both, cost->columns);
}

/* Both weight tensors, or the one there is, meet every step of every sequence. x[step, batch, input], either order of the first two. */
static void recurrent(const counter *c, sinter_cost *cost) {
    const sinter_type *x = operand_type(c, 0), *w = operand_type(c, 1), *r = operand_type(c, 2);
    cost->form = SINTER_COST_RECURRENT;
    cost->multiply_adds = 0;
    if (!x || x->rank != 3 || (w && w->rank != 3) || !r || r->rank != 3) return;
    sinter_dim weights = count(c, r, 0);
    cost->columns = r->dims[1];
    cost->depth = r->dims[2];
    if (w) {
        weights = sinter_dim_add(c->dims, weights, count(c, w, 0));
        cost->depth = sinter_dim_add(c->dims, cost->depth, w->dims[2]);
    }
    cost->multiply_adds =
        sinter_dim_mul(c->dims, sinter_dim_mul(c->dims, x->dims[0], x->dims[1]), weights);
}

/* Multiply-adds of ops that have them; false for the others. */
static bool count_products(const counter *c, sinter_cost *cost) {
    switch (c->info->op) {
    case SINTER_OP_matmul:
    case SINTER_OP_matmul_integer:
    case SINTER_OP_qlinear_matmul:
        product(c, false, cost);
        return true;
    case SINTER_OP_gemm:
        product(c, sinter_node_get_int(c->module, c->node, "transA", 0) != 0, cost);
        return true;
    case SINTER_OP_conv:
    case SINTER_OP_conv_integer:
    case SINTER_OP_deform_conv:
        filter(c, result_type(c), 1, false, cost);
        return true;
    case SINTER_OP_qlinear_conv:
        filter(c, result_type(c), 3, false, cost);
        return true;
    case SINTER_OP_conv_transpose:
        filter(c, operand_type(c, 0), 1, true, cost);
        return true;
    case SINTER_OP_attention:
    case SINTER_OP_flex_attention:
        attention(c, cost);
        return true;
    case SINTER_OP_lstm:
    case SINTER_OP_gru:
    case SINTER_OP_rnn:
        recurrent(c, cost);
        return true;
    default:
        return false;
    }
}

static sinter_dim count_elements(const counter *c) {
    switch (sinter_op_get_info(c->info->op)->pattern) {
    case SINTER_PATTERN_REDUCE:
        return count(c, operand_type(c, 0), 0);
    case SINTER_PATTERN_WINDOW:
        return pool(c);
    case SINTER_PATTERN_CONTROL:
    case SINTER_PATTERN_SOURCE:
    case SINTER_PATTERN_SEQUENCE:
        return sinter_dim_const(c->dims, 0);
    default:
        return count(c, result_type(c), 0);
    }
}

/* The same elements in the same order under other dims. */
static bool is_renaming(sinter_op op) {
    return op == SINTER_OP_reshape || op == SINTER_OP_flatten || op == SINTER_OP_squeeze ||
           op == SINTER_OP_unsqueeze || op == SINTER_OP_identity;
}

static void count_bytes(const counter *c, sinter_cost *cost) {
    bool moves = c->info->op != SINTER_OP_constant && !is_renaming(c->info->op);
    cost->read_bytes = cost->written_bytes = sinter_dim_const(c->dims, 0);
    for (uint32_t i = 0; i < c->info->operand_count; ++i) {
        sinter_value value = c->info->operands[i];
        if (!value) continue;
        const sinter_tensor *constant = sinter_value_constant(c->module, value);
        if (constant) {
            cost->parameter_bytes += sinter_tensor_bytes(constant);
            cost->parameters += (uint64_t)sinter_tensor_count(constant);
        }
        if (moves)
            cost->read_bytes = sinter_dim_add(c->dims, cost->read_bytes,
                                              bytes(c, sinter_value_type(c->module, value)));
    }
    for (uint32_t i = 0; moves && i < c->info->result_count; ++i)
        if (c->info->results[i])
            cost->written_bytes =
                sinter_dim_add(c->dims, cost->written_bytes,
                               bytes(c, sinter_value_type(c->module, c->info->results[i])));
}

sinter_dim sinter_cost_value_bytes(sinter_module *module, sinter_value value) {
    counter c = {.module = module, .dims = sinter_module_dims(module)};
    return bytes(&c, sinter_value_type(module, value));
}

double sinter_cost_weight_bytes(const sinter_module *module) {
    double bytes = 0;
    for (sinter_value value = 1; value < sinter_module_value_limit(module); ++value) {
        bool erased = sinter_value_get(module, value)->erased;
        const sinter_tensor *tensor = erased ? NULL : sinter_value_constant(module, value);
        if (tensor) bytes += (double)sinter_tensor_bytes(tensor);
    }
    return bytes;
}

double sinter_cost_type_bytes(sinter_module *module, const sinter_type *type) {
    sinter_dim_table *dims = sinter_module_dims(module);
    uint64_t count = 0, bytes = 0;
    if (!sinter_type_static_count(dims, type, &count)) {
        sinter_arena scratch;
        int64_t assumed = 0;
        sinter_arena_init(&scratch);
        sinter_dim product = sinter_type_product(dims, type, 0, type->rank);
        if (sinter_dim_evaluate(dims, product, sinter_dim_assume(dims, &scratch, 1), &assumed))
            count = assumed > 0 ? (uint64_t)assumed : 0;
        sinter_arena_deinit(&scratch);
    }
    sinter_dtype_bytes(type->dtype, count, &bytes);
    return (double)bytes;
}

/* Of recurrences: the state of all samples in each step and direction; what a GRU resets before it is multiplied, too. */
sinter_cost_exchange sinter_cost_node_exchange(sinter_module *module, sinter_node node) {
    sinter_node_info info = *sinter_node_get(module, node);
    counter c = {module, sinter_module_dims(module), &info, node};
    sinter_cost_exchange none = {0};
    sinter_cost cost = {0};
    if (!count_products(&c, &cost) || cost.form != SINTER_COST_RECURRENT) return none;
    const sinter_type *x = operand_type(&c, 0), *r = operand_type(&c, 2);
    if (!x || x->rank != 3 || !r || r->rank != 3) return none;
    uint32_t batch_first = sinter_node_get_int(module, node, "layout", 0) != 0;
    bool resets = info.op == SINTER_OP_gru &&
                  sinter_node_get_int(module, node, "linear_before_reset", 0) == 0;
    sinter_dim size = sinter_dim_const(c.dims, sinter_dtype_infos[x->dtype].bits / 8),
               states =
                   sinter_dim_mul(c.dims, r->dims[0], sinter_dim_const(c.dims, resets ? 2 : 1));
    return (sinter_cost_exchange){
        .count = sinter_dim_mul(c.dims, x->dims[batch_first], states),
        .bytes = sinter_dim_mul(c.dims, sinter_dim_mul(c.dims, x->dims[!batch_first], r->dims[2]),
                                size)};
}

sinter_cost sinter_cost_node(sinter_module *module, sinter_node node) {
    sinter_node_info info = *sinter_node_get(module, node);
    counter c = {module, sinter_module_dims(module), &info, node};
    sinter_cost cost = {.multiply_adds = sinter_dim_const(c.dims, 0),
                        .elements = sinter_dim_const(c.dims, 0),
                        .taps = 1};
    if (!count_products(&c, &cost)) cost.elements = count_elements(&c);
    count_bytes(&c, &cost);
    return cost;
}
