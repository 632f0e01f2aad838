/* Decompositions of hardmax and of the optimizers of ai.onnx.preview.training: adagrad, adam, momentum. An optimizer has
 * the learning rate, the update count, then lists of one length: tensors, gradients, one or two states; its results are
 * the new tensors and states. Test: tests/ops/hardmax.sir, optimizers.sir */
#include "ir/decompose.h"

/* One at the first maximum along axis. */
bool sinter_decompose_hardmax(sinter_rewrite *rewrite, sinter_node node,
                              sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_value x = sinter_node_operand(module, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    int64_t axis = sinter_node_get_axis(module, node, -1, type.rank);
    sinter_attr attributes[2] = {sinter_attr_int("axis", axis), sinter_attr_int("keepdims", 0)};
    sinter_value place = sinter_build(&rewrite->build, SINTER_OP_arg_max, &x, 1, attributes, 2);
    sinter_value items[2] = {sinter_build_scalar(&rewrite->build, type.dtype, 0),
                             sinter_build_scalar(&rewrite->build, type.dtype, 1)};
    int64_t first = 0;
    for (int i = 0; i < 2; ++i) items[i] = sinter_compose_unsqueeze(rewrite, items[i], &first, 1);
    sinter_value operands[3] = {place, sinter_build_dims(&rewrite->build, &type.dims[axis], 1),
                                sinter_compose_concat(rewrite, items, 2, 0)};
    if (!place || !operands[1] || !operands[2]) return false;
    out_results[0] = sinter_build(&rewrite->build, SINTER_OP_one_hot, operands, 3, attributes, 1);
    return out_results[0] != 0;
}

/* ---- optimizers ---- */

typedef struct optimizer {
    sinter_rewrite *rewrite;
    sinter_node node;
    uint32_t lists, length;
    sinter_dtype dtype;
    sinter_value rate, count,
        first; /* rate and count in the dtype; first: bool, no update so far */
} optimizer;

static double attribute(const optimizer *o, const char *name) {
    return sinter_node_get_float(o->rewrite->build.module, o->node, name, 0);
}
static sinter_value two(optimizer *o, sinter_op op, sinter_value a, sinter_value b) {
    return sinter_compose_binary(o->rewrite, op, a, b);
}
static sinter_value scaled(optimizer *o, sinter_value a, double factor) {
    return sinter_compose_with_number(o->rewrite, SINTER_OP_mul, a, factor);
}
static sinter_value plus(optimizer *o, sinter_value a, double b) {
    return sinter_compose_with_number(o->rewrite, SINTER_OP_add, a, b);
}

/* Element `index` of list `list`: 0 tensors, 1 gradients, 2 and 3 states. */
static sinter_value list_operand(const optimizer *o, uint32_t list, uint32_t index) {
    return sinter_node_operand(o->rewrite->build.module, o->node, 2 + list * o->length + index);
}

static void begin_optimizer(optimizer *o, sinter_rewrite *rewrite, sinter_node node,
                            uint32_t states) {
    sinter_module *module = rewrite->build.module;
    *o = (optimizer){.rewrite = rewrite, .node = node, .lists = 2 + states};
    o->length = (sinter_node_get(module, node)->operand_count - 2) / o->lists;
}

/* What depends on the element type of the tensor at hand. */
static void use_dtype(optimizer *o, uint32_t index) {
    sinter_module *module = o->rewrite->build.module;
    o->dtype = sinter_compose_type(o->rewrite, list_operand(o, 0, index))->dtype;
    sinter_value given[2];
    for (uint32_t i = 0; i < 2; ++i) { /* a vector of one is a scalar too */
        given[i] = sinter_node_operand(module, o->node, i);
        if (sinter_compose_type(o->rewrite, given[i])->rank)
            given[i] = sinter_compose_reshape(o->rewrite, given[i], NULL, 0);
        given[i] = sinter_compose_cast(o->rewrite, given[i], o->dtype);
    }
    o->rate = given[0];
    o->count = given[1];
    o->first = sinter_compose_with_number(o->rewrite, SINTER_OP_less, o->count, 0.5);
}

/* gradient + norm * x */
static sinter_value regular_gradient(optimizer *o, uint32_t index) {
    sinter_value gradient = list_operand(o, 1, index);
    double norm = attribute(o, "norm_coefficient");
    return norm == 0 ? gradient
                     : two(o, SINTER_OP_add, gradient, scaled(o, list_operand(o, 0, index), norm));
}

bool sinter_decompose_adagrad(sinter_rewrite *rewrite, sinter_node node,
                              sinter_value *out_results) {
    optimizer o;
    begin_optimizer(&o, rewrite, node, 1);
    for (uint32_t i = 0; i < o.length; ++i) {
        use_dtype(&o, i);
        sinter_value gradient = regular_gradient(&o, i);
        sinter_value sum = two(&o, SINTER_OP_add, list_operand(&o, 2, i),
                               two(&o, SINTER_OP_mul, gradient, gradient));
        sinter_value rate = two(&o, SINTER_OP_div, o.rate,
                                plus(&o, scaled(&o, o.count, attribute(&o, "decay_factor")), 1));
        sinter_value root =
            plus(&o, sinter_compose_unary(rewrite, SINTER_OP_sqrt, sum), attribute(&o, "epsilon"));
        sinter_value step = two(&o, SINTER_OP_div, two(&o, SINTER_OP_mul, rate, gradient), root);
        out_results[i] = two(&o, SINTER_OP_sub, list_operand(&o, 0, i), step);
        out_results[o.length + i] = sum;
        if (!out_results[i] || !sum) return false;
    }
    return true;
}

/* rate * sqrt(1 - beta^t) / (1 - alpha^t), the rate itself before the first update */
static sinter_value adam_rate(optimizer *o) {
    double decay[2] = {attribute(o, "alpha"), attribute(o, "beta")};
    sinter_value rest[2];
    for (int i = 0; i < 2; ++i) {
        sinter_value base = sinter_build_scalar(&o->rewrite->build, o->dtype, decay[i]);
        sinter_value power = two(o, SINTER_OP_pow, base, o->count);
        rest[i] = plus(o, sinter_compose_unary(o->rewrite, SINTER_OP_neg, power), 1);
    }
    sinter_value ratio =
        two(o, SINTER_OP_div, sinter_compose_unary(o->rewrite, SINTER_OP_sqrt, rest[1]), rest[0]);
    return sinter_compose_select(o->rewrite, o->first, o->rate,
                                 two(o, SINTER_OP_mul, o->rate, ratio));
}

bool sinter_decompose_adam(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results) {
    optimizer o;
    begin_optimizer(&o, rewrite, node, 2);
    double alpha = attribute(&o, "alpha"), beta = attribute(&o, "beta");
    for (uint32_t i = 0; i < o.length; ++i) {
        use_dtype(&o, i);
        sinter_value gradient = regular_gradient(&o, i);
        sinter_value mean = two(&o, SINTER_OP_add, scaled(&o, list_operand(&o, 2, i), alpha),
                                scaled(&o, gradient, 1 - alpha));
        sinter_value square = scaled(&o, two(&o, SINTER_OP_mul, gradient, gradient), 1 - beta);
        sinter_value squares =
            two(&o, SINTER_OP_add, scaled(&o, list_operand(&o, 3, i), beta), square);
        sinter_value root = plus(&o, sinter_compose_unary(rewrite, SINTER_OP_sqrt, squares),
                                 attribute(&o, "epsilon"));
        sinter_value step =
            two(&o, SINTER_OP_div, two(&o, SINTER_OP_mul, adam_rate(&o), mean), root);
        sinter_value x = two(&o, SINTER_OP_sub, list_operand(&o, 0, i), step);
        double after = attribute(&o, "norm_coefficient_post");
        out_results[i] = after == 0 ? x : scaled(&o, x, 1 - after);
        out_results[o.length + i] = mean;
        out_results[2 * o.length + i] = squares;
        if (!out_results[i]) return false;
    }
    return true;
}

/* The first update takes the whole gradient. */
bool sinter_decompose_momentum(sinter_rewrite *rewrite, sinter_node node,
                               sinter_value *out_results) {
    optimizer o;
    begin_optimizer(&o, rewrite, node, 1);
    double alpha = attribute(&o, "alpha"), beta = attribute(&o, "beta");
    bool nesterov =
        sinter_string_is(sinter_node_get_string(rewrite->build.module, node, "mode"), "nesterov");
    for (uint32_t i = 0; i < o.length; ++i) {
        use_dtype(&o, i);
        sinter_value gradient = regular_gradient(&o, i);
        sinter_value taken =
            sinter_compose_select(rewrite, o.first, gradient, scaled(&o, gradient, beta));
        sinter_value state =
            two(&o, SINTER_OP_add, scaled(&o, list_operand(&o, 2, i), alpha), taken);
        sinter_value direction =
            nesterov ? two(&o, SINTER_OP_add, gradient, scaled(&o, state, alpha)) : state;
        out_results[i] = two(&o, SINTER_OP_sub, list_operand(&o, 0, i),
                             two(&o, SINTER_OP_mul, o.rate, direction));
        out_results[o.length + i] = state;
        if (!out_results[i] || !state) return false;
    }
    return true;
}
