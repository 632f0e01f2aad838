/* Random graphs, for tests that change a graph and want the same values. What is made of floating-point values is continuous and
 * of moderate size: a last bit that differs early stays a last bit. The graph and the data depend on the seed alone.
 * Used by random_graph_test.c. */
#pragma once
#include "tests/unit/random_graph_data.h"

/* ---- elementwise ---- */

static inline sinter_value add_unary(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {
        SINTER_OP_tanh,         SINTER_OP_sigmoid,  SINTER_OP_relu,      SINTER_OP_abs,
        SINTER_OP_neg,          SINTER_OP_identity, SINTER_OP_gelu,      SINTER_OP_leaky_relu,
        SINTER_OP_hard_sigmoid, SINTER_OP_swish,    SINTER_OP_erf,       SINTER_OP_sin,
        SINTER_OP_hard_swish,   SINTER_OP_softsign, SINTER_OP_elu,       SINTER_OP_softplus,
        SINTER_OP_mish,         SINTER_OP_selu,     SINTER_OP_gelu_tanh, SINTER_OP_cos,
        SINTER_OP_atan};
    if (g->dtype == SINTER_DTYPE_f32 && random_chance(g, 3)) return unary(g, SINTER_OP_celu, x);
    return unary(g, ops[random_below(g, sizeof ops / sizeof *ops)], x);
}

/* A constant that broadcasts to the type: a number, one per index of an axis, or of the whole shape. */
static inline sinter_value broadcast_constant(random_graph *g, const sinter_type *type, double low,
                                              double high) {
    int64_t dims[SINTER_MAX_RANK], kind = random_below(g, 4);
    uint32_t rank = type->rank, axis = rank ? (uint32_t)random_below(g, rank) : 0;
    uint32_t first = random_chance(g, 50) ? 0 : axis;
    if (kind == 0 || !rank) return number(g, random_number(g, low, high));
    for (uint32_t i = 0; i < rank; i++) {
        bool wide = kind == 3 || i == axis;
        int64_t known = 0;
        dims[i] =
            wide && sinter_dim_is_const(sinter_module_dims(g->build.module), type->dims[i], &known)
                ? known
                : 1;
    }
    if (kind == 3) first = 0;
    return random_constant(g, rank - first, dims + first, low, high);
}

static inline sinter_value add_binary(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {SINTER_OP_add, SINTER_OP_sub, SINTER_OP_mul, SINTER_OP_min,
                                    SINTER_OP_max};
    sinter_type type = type_of(g, x);
    sinter_op op = ops[random_below(g, 5)];
    if (random_chance(g, 50)) {
        if (random_chance(g, 20))
            return binary(g, SINTER_OP_div, x, broadcast_constant(g, &type, 0.5, 2));
        sinter_value other = broadcast_constant(g, &type, -1.5, 1.5);
        return random_chance(g, 30) ? binary(g, op, other, x) : binary(g, op, x, other);
    }
    for (int attempt = 0; attempt < 6; attempt++) {
        sinter_value other = pick(g);
        sinter_type second = type_of(g, other);
        bool fits = second.rank <= type.rank;
        for (uint32_t i = 0; fits && i < second.rank; i++) {
            sinter_dim a = second.dims[second.rank - 1 - i], b = type.dims[type.rank - 1 - i];
            fits = a == b || sinter_dim_is(sinter_module_dims(g->build.module), a, 1);
        }
        if (fits) return random_chance(g, 50) ? binary(g, op, x, other) : binary(g, op, other, x);
    }
    return binary(g, op, x, x);
}

/* A mask known at compile time chooses between two. */
static inline sinter_value add_where(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    sinter_tensor mask;
    int64_t dim = 1;
    if (type.rank)
        sinter_dim_is_const(sinter_module_dims(g->build.module), type.dims[type.rank - 1], &dim);
    if (!sinter_tensor_create(&mask, SINTER_DTYPE_bool, 1, &dim, g->build.diag)) return 0;
    for (int64_t i = 0; i < dim; i++) sinter_tensor_set_int(&mask, i, random_chance(g, 50));
    sinter_value operands[3] = {sinter_build_constant(&g->build, mask), x,
                                broadcast_constant(g, &type, -1, 1)};
    return sinter_build(&g->build, SINTER_OP_where, operands, 3, NULL, 0);
}

static inline sinter_region add_branch(random_graph *g, sinter_value x) {
    sinter_region outer = g->build.region;
    sinter_region branch = g->build.region = sinter_region_add(g->build.module);
    for (int64_t steps = random_below(g, 3); steps > 0; steps--) x = add_unary(g, x);
    if (random_chance(g, 50)) x = binary(g, SINTER_OP_mul, x, number(g, 0.5));
    sinter_node_spec yield = {.op = SINTER_OP_yield, .operands = &x, .operand_count = 1};
    sinter_build_node(&g->build, &yield);
    g->build.region = outer;
    return branch;
}

/* Branches of one type; the condition is known at compile time or is not. */
static inline sinter_value add_if(random_graph *g, sinter_value x) {
    sinter_attr drop = sinter_attr_int("keepdims", 0);
    sinter_value largest = sinter_build(&g->build, SINTER_OP_reduce_max, &x, 1, &drop, 1);
    sinter_value condition =
        binary(g, SINTER_OP_greater, random_chance(g, 30) ? number(g, 1) : largest, number(g, 0.3));
    sinter_region regions[2] = {add_branch(g, x), add_branch(g, x)};
    sinter_node_spec spec = {.op = SINTER_OP_if,
                             .operands = &condition,
                             .operand_count = 1,
                             .regions = regions,
                             .region_count = 2,
                             .result_count = 1};
    return first_result(g, &spec);
}

/* ---- windows and products ---- */

static inline bool is_image(const random_graph *g, const sinter_type *type) {
    int64_t channels = 0;
    if (type->rank < 3 || type->rank > 4 || dim_at(g, type, 2) < 2 ||
        dim_at(g, type, type->rank - 1) < 2)
        return false;
    for (uint32_t i = 1; i < type->rank; i++)
        if (!sinter_dim_is_const(sinter_module_dims(g->build.module), type->dims[i], &channels))
            return false;
    return dim_at(g, type, 1) <= 12;
}

static inline sinter_value add_convolution(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!is_image(g, &type)) return 0;
    bool transposed = random_chance(g, 20);
    uint32_t space = type.rank - 2, count = 0;
    int64_t channels = dim_at(g, &type, 1), group = random_chance(g, 30) ? channels : 1;
    int64_t per_group = 1 + random_below(g, group > 1 ? 2 : 5);
    int64_t dims[4] = {transposed ? channels : group * per_group,
                       transposed ? per_group : channels / group};
    int64_t kernel[2], strides[2], pads[4], dilations[2], result = group * per_group;
    for (uint32_t i = 0; i < space; i++) {
        kernel[i] = dims[i + 2] = 1 + random_below(g, 3);
        strides[i] = 1 + random_below(g, 2);
        dilations[i] = (kernel[i] - 1) * 2 < dim_at(g, &type, i + 2) ? 1 + random_below(g, 2) : 1;
        pads[i] = random_below(g, kernel[i]);
        pads[i + space] = random_below(g, kernel[i]);
        if ((kernel[i] - 1) * dilations[i] + 1 > dim_at(g, &type, i + 2)) return 0;
    }
    double scale = 1.5 / sqrt((double)(channels / group));
    sinter_value operands[3] = {x, random_weight(g, type.rank, dims, scale, transposed),
                                random_chance(g, 50) ? random_constant(g, 1, &result, -1, 1) : 0};
    sinter_attr attributes[4];
    if (group > 1) attributes[count++] = sinter_attr_int("group", group);
    if (random_chance(g, 50)) attributes[count++] = sinter_attr_ints("strides", strides, space);
    if (random_chance(g, 30)) attributes[count++] = sinter_attr_ints("dilations", dilations, space);
    if (random_chance(g, 50) && !transposed)
        attributes[count++] = sinter_attr_ints("pads", pads, 2 * space);
    return sinter_build(&g->build, transposed ? SINTER_OP_conv_transpose : SINTER_OP_conv, operands,
                        operands[2] ? 3 : 2, attributes, count);
}

static inline sinter_value add_pool(random_graph *g, sinter_value x) {
    static const sinter_op global[] = {SINTER_OP_global_average_pool, SINTER_OP_global_max_pool};
    sinter_type type = type_of(g, x);
    if (!is_image(g, &type)) return 0;
    if (random_chance(g, 20)) return unary(g, global[random_below(g, 2)], x);
    int64_t kernel[2] = {2, 1 + random_below(g, 2)}, strides[2] = {1 + random_below(g, 2), 1};
    sinter_attr attributes[3] = {sinter_attr_ints("kernel_shape", kernel, type.rank - 2),
                                 sinter_attr_ints("strides", strides, type.rank - 2),
                                 sinter_attr_int("ceil_mode", random_chance(g, 20))};
    return sinter_build(&g->build,
                        random_chance(g, 50) ? SINTER_OP_max_pool : SINTER_OP_average_pool, &x, 1,
                        attributes, 3);
}

/* Times or plus a number for each channel. */
static inline sinter_value add_scaled_convolution(random_graph *g, sinter_value x) {
    sinter_value y = add_convolution(g, x);
    if (!y) return 0;
    sinter_type type = type_of(g, y);
    int64_t dims[3] = {dim_at(g, &type, 1), 1, 1};
    sinter_value scale = random_constant(g, type.rank - 1, dims, -1.5, 1.5);
    return binary(g, random_chance(g, 70) ? SINTER_OP_mul : SINTER_OP_add, y, scale);
}

static inline sinter_value add_batch_normalization(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!is_image(g, &type)) return 0;
    int64_t channels = dim_at(g, &type, 1);
    sinter_value operands[5] = {
        x, random_constant(g, 1, &channels, -1.5, 1.5), random_constant(g, 1, &channels, -1, 1),
        random_constant(g, 1, &channels, -0.5, 0.5), random_constant(g, 1, &channels, 0.5, 2)};
    return sinter_build(&g->build, SINTER_OP_batch_normalization, operands, 5, NULL, 0);
}

static inline sinter_value add_product(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (type.rank < 2) return 0;
    int64_t inner = 0;
    if (!sinter_dim_is_const(sinter_module_dims(g->build.module), type.dims[type.rank - 1],
                             &inner) ||
        inner > 64)
        return 0;
    if (random_chance(g, 20)) { /* x times its transpose */
        int64_t perm[SINTER_MAX_RANK];
        for (uint32_t i = 0; i < type.rank; i++) perm[i] = i;
        perm[type.rank - 1] = type.rank - 2;
        perm[type.rank - 2] = type.rank - 1;
        sinter_value turned = sinter_build_transpose(&g->build, x, perm, type.rank);
        return binary(g, SINTER_OP_mul, binary(g, SINTER_OP_matmul, x, turned), number(g, 0.25));
    }
    int64_t dims[2] = {inner, 1 + random_below(g, 6)}, turned[2] = {dims[1], inner};
    double scale = 1.5 / sqrt((double)(inner ? inner : 1));
    if (type.rank == 2 && random_chance(g, 40)) {
        bool trans = random_chance(g, 50);
        sinter_attr attributes[3] = {sinter_attr_int("transB", trans),
                                     sinter_attr_float("alpha", 0.5), sinter_attr_float("beta", 2)};
        sinter_value operands[3] = {x, random_weight(g, 2, trans ? turned : dims, scale, !trans),
                                    random_constant(g, 1, &dims[1], -1, 1)};
        return sinter_build(&g->build, SINTER_OP_gemm, operands, 3, attributes,
                            random_chance(g, 50) ? 3 : 1);
    }
    sinter_value y = binary(g, SINTER_OP_matmul, x, random_weight(g, 2, dims, scale, 1));
    return random_chance(g, 50)
               ? binary(g, SINTER_OP_add, y, random_constant(g, 1, &dims[1], -1, 1))
               : y;
}

/* One part of an axis of its own, which is in front. */
static inline sinter_value select_part(random_graph *g, sinter_value x, int64_t part) {
    sinter_attr axis = sinter_attr_int("axis", 0);
    sinter_value operands[2] = {x, sinter_build_int(&g->build, part)};
    return sinter_build(&g->build, SINTER_OP_gather, operands, 2, &axis, 1);
}

/* Two parts of the columns of a product, split or selected. */
static inline sinter_value add_parts(random_graph *g, sinter_value x) {
    enum { WIDTH = 32 };
    sinter_type type = type_of(g, x);
    int64_t inner = 0, parts = 2 + random_below(g, 2), perm[SINTER_MAX_RANK];
    if (type.rank < 2 || type.rank > 3 ||
        !sinter_dim_is_const(sinter_module_dims(g->build.module), type.dims[type.rank - 1],
                             &inner) ||
        inner > 64)
        return 0;
    int64_t dims[2] = {inner, parts * WIDTH};
    double scale = 1.5 / sqrt((double)(inner ? inner : 1));
    sinter_value y = binary(g, SINTER_OP_matmul, x, random_constant(g, 2, dims, -scale, scale));
    if (random_chance(g, 50))
        y = binary(g, SINTER_OP_add, y, random_constant(g, 1, &dims[1], -1, 1));
    if (random_chance(g, 40)) {
        sinter_attr attributes[2] = {sinter_attr_int("axis", -1),
                                     sinter_attr_int("num_outputs", parts)};
        sinter_node_spec spec = {.op = SINTER_OP_split,
                                 .operands = &y,
                                 .operand_count = 1,
                                 .attributes = attributes,
                                 .attribute_count = 2,
                                 .result_count = (uint32_t)parts};
        sinter_node node = sinter_build_node(&g->build, &spec);
        return node ? binary(g, SINTER_OP_mul, sinter_node_result(g->build.module, node, 0),
                             sinter_node_result(g->build.module, node, (uint32_t)parts - 1))
                    : 0;
    }
    sinter_dim cut[SINTER_MAX_RANK];
    for (uint32_t i = 0; i + 1 < type.rank; i++) cut[i] = type.dims[i];
    cut[type.rank - 1] = sinter_dim_const(sinter_module_dims(g->build.module), parts);
    cut[type.rank] = sinter_dim_const(sinter_module_dims(g->build.module), WIDTH);
    sinter_value operands[2] = {y, sinter_build_dims(&g->build, cut, type.rank + 1)};
    sinter_value apart = sinter_build(&g->build, SINTER_OP_reshape, operands, 2, NULL, 0);
    perm[0] = type.rank - 1;
    for (uint32_t i = 0; i + 1 < type.rank; i++) perm[i + 1] = i;
    perm[type.rank] = type.rank;
    apart = apart ? sinter_build_transpose(&g->build, apart, perm, type.rank + 1) : 0;
    return apart ? binary(g, SINTER_OP_sub, select_part(g, apart, 0), select_part(g, apart, -1))
                 : 0;
}

/* To 8 bits and back. */
static inline sinter_value quantize(random_graph *g, sinter_value x) {
    bool is_signed = random_chance(g, 50);
    sinter_tensor zero;
    if (!x || !sinter_tensor_create(&zero, is_signed ? SINTER_DTYPE_i8 : SINTER_DTYPE_u8, 0, NULL,
                                    g->build.diag))
        return 0;
    sinter_tensor_set_int(&zero, 0, (is_signed ? 0 : 128) + random_below(g, 20) - 10);
    sinter_value parameters[2] = {number(g, random_number(g, 0.02, 0.04)),
                                  sinter_build_constant(&g->build, zero)};
    sinter_value forth[3] = {x, parameters[0], parameters[1]};
    sinter_value back[3] = {sinter_build(&g->build, SINTER_OP_quantize_linear, forth, 3, NULL, 0),
                            parameters[0], parameters[1]};
    return sinter_build(&g->build, SINTER_OP_dequantize_linear, back, 3, NULL, 0);
}

static inline sinter_value add_quantized(random_graph *g, sinter_value x) {
    if (!g->quantizes) return 0;
    g->narrow_weights = true;
    sinter_value narrow = quantize(g, x);
    sinter_value y = random_chance(g, 60) ? add_convolution(g, narrow) : add_product(g, narrow);
    g->narrow_weights = false;
    if (y && random_chance(g, 50)) y = unary(g, SINTER_OP_relu, y);
    return quantize(g, y ? y : narrow);
}

/* ---- reductions and what is made of them ---- */

static inline sinter_value add_reduction(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {SINTER_OP_reduce_mean, SINTER_OP_reduce_max,
                                    SINTER_OP_reduce_min, SINTER_OP_reduce_mean,
                                    SINTER_OP_reduce_sum};
    sinter_type type = type_of(g, x);
    int64_t axes[SINTER_MAX_RANK];
    size_t count = 0;
    for (uint32_t i = 0; i < type.rank; i++)
        if (random_chance(g, 40)) axes[count++] = random_chance(g, 30) ? (int64_t)i - type.rank : i;
    sinter_value operands[2] = {x, count ? ints(g, axes, count) : 0};
    sinter_attr keep = sinter_attr_int("keepdims", random_chance(g, 60));
    sinter_op op = ops[random_below(g, 5)];
    sinter_value y = sinter_build(&g->build, op, operands, 2, &keep, 1);
    return op == SINTER_OP_reduce_sum ? unary(g, SINTER_OP_tanh, y) : y;
}

static inline sinter_value add_composite(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t last = 0;
    if (type.rank < 2) return 0;
    bool known =
        sinter_dim_is_const(sinter_module_dims(g->build.module), type.dims[type.rank - 1], &last);
    sinter_attr axis = sinter_attr_int("axis", random_below(g, type.rank));
    if (!known || random_chance(g, 50))
        return sinter_build(&g->build, SINTER_OP_softmax, &x, 1, &axis, 1);
    sinter_attr epsilon = sinter_attr_float("epsilon", 0.125);
    bool layer = random_chance(g, 60);
    sinter_value operands[3] = {x, random_constant(g, 1, &last, 0.5, 1.5),
                                layer ? random_constant(g, 1, &last, -1, 1) : 0};
    return sinter_build(&g->build,
                        layer ? SINTER_OP_layer_normalization : SINTER_OP_rms_normalization,
                        operands, layer ? 3 : 2, &epsilon, 1);
}

/* What exporters spell out. */
static inline sinter_value add_spelled(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    sinter_value gate = 0, mean = 0, axes = 0;
    int64_t last = -1;
    switch (random_below(g, type.rank ? 5 : 3)) {
    case 0:
        gate = unary(g, SINTER_OP_erf, binary(g, SINTER_OP_div, x, number(g, 1.4142135623730951)));
        gate = binary(g, SINTER_OP_add, gate, number(g, 1));
        return binary(g, SINTER_OP_mul, binary(g, SINTER_OP_mul, x, gate), number(g, 0.5));
    case 1:
        return binary(g, SINTER_OP_mul, unary(g, SINTER_OP_sigmoid, x), x);
    case 2: {
        sinter_value operands[3] = {binary(g, SINTER_OP_add, x, number(g, 3)), number(g, 0),
                                    number(g, 6)};
        gate = sinter_build(&g->build, SINTER_OP_clip, operands, 3, NULL, 0);
        return binary(g, SINTER_OP_mul, x, binary(g, SINTER_OP_div, gate, number(g, 6)));
    }
    case 3: {
        axes = ints(g, &last, 1);
        mean = binary(g, SINTER_OP_reduce_mean, x, axes);
        sinter_value centred = binary(g, SINTER_OP_sub, x, mean);
        sinter_value variance =
            binary(g, SINTER_OP_reduce_mean, binary(g, SINTER_OP_pow, centred, number(g, 2)), axes);
        sinter_value deviation =
            unary(g, SINTER_OP_sqrt, binary(g, SINTER_OP_add, variance, number(g, 0.125)));
        return binary(g, SINTER_OP_div, centred, deviation);
    }
    default: {
        axes = ints(g, &last, 1);
        sinter_value power =
            unary(g, SINTER_OP_exp,
                  binary(g, SINTER_OP_sub, x, binary(g, SINTER_OP_reduce_max, x, axes)));
        return binary(g, SINTER_OP_div, power, binary(g, SINTER_OP_reduce_sum, power, axes));
    }
    }
}

/* ---- views ---- */

static inline sinter_value add_transpose(random_graph *g, sinter_value x) {
    int64_t perm[SINTER_MAX_RANK];
    uint32_t rank = type_of(g, x).rank;
    for (uint32_t i = 0; i < rank; i++) perm[i] = i;
    for (uint32_t i = rank; i > 1; i--) {
        uint32_t k = (uint32_t)random_below(g, i);
        int64_t old = perm[k];
        perm[k] = perm[i - 1];
        perm[i - 1] = old;
    }
    return sinter_build_transpose(&g->build, x, perm, rank);
}

/* Two axes become one, or a 1 is put in, or what another value's shape says. */
static inline sinter_value add_reshape(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t count = 0, at = type.rank ? (uint32_t)random_below(g, type.rank) : 0;
    sinter_dim_table *table = sinter_module_dims(g->build.module);
    if (random_chance(g, 15)) {
        sinter_value shape = unary(g, SINTER_OP_shape, x), flat = 0;
        int64_t all = -1;
        flat = sinter_build_reshape(&g->build, x, &all, 1);
        return binary(g, SINTER_OP_reshape, unary(g, SINTER_OP_relu, flat), shape);
    }
    bool joins = random_chance(g, 50) && at + 1 < type.rank;
    if (!joins && type.rank >= 5) return 0;
    for (uint32_t i = 0; i < type.rank; i++) {
        if (!joins && i == at) dims[count++] = sinter_dim_const(table, 1);
        dims[count++] =
            joins && i == at ? sinter_dim_mul(table, type.dims[i], type.dims[i + 1]) : type.dims[i];
        i += joins && i == at;
    }
    if (!type.rank) dims[count++] = sinter_dim_const(table, 1);
    return binary(g, SINTER_OP_reshape, x, sinter_build_dims(&g->build, dims, count));
}

static inline sinter_value add_slice(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    int64_t axis = random_below(g, type.rank), size = dim_at(g, &type, (uint32_t)axis),
            step = random_chance(g, 20) ? 2 : 1;
    if (!sinter_dim_is(sinter_module_dims(g->build.module), type.dims[axis], size) || size < 2)
        return 0;
    int64_t start = random_below(g, size - 1), end = start + 1 + random_below(g, size - start);
    sinter_value operands[5] = {x, ints(g, &start, 1), ints(g, &end, 1), ints(g, &axis, 1),
                                ints(g, &step, 1)};
    return sinter_build(&g->build, SINTER_OP_slice, operands, 5, NULL, 0);
}

static inline sinter_value add_pad(random_graph *g, sinter_value x) {
    static const char *const modes[] = {"constant", "edge", "reflect"};
    sinter_type type = type_of(g, x);
    int64_t pads[2 * SINTER_MAX_RANK] = {0};
    if (!type.rank || !is_static(g, &type)) return 0;
    const char *mode = modes[random_below(g, 3)];
    for (uint32_t i = 0; i < type.rank; i++) {
        if (dim_at(g, &type, i) < 2 || random_chance(g, 50)) continue;
        pads[i] = random_below(g, 2);
        pads[i + type.rank] = random_below(g, 2);
    }
    sinter_attr attribute = sinter_attr_string("mode", sinter_string_of(mode));
    return sinter_build(&g->build, SINTER_OP_pad,
                        (sinter_value[2]){x, ints(g, pads, 2 * type.rank)}, 2, &attribute, 1);
}

static inline sinter_value add_concat(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    sinter_value items[3] = {x, x, x};
    for (int attempt = 0; attempt < 6; attempt++) {
        sinter_value other = pick(g);
        sinter_type second = type_of(g, other);
        if (sinter_type_equal(&type, &second)) items[1 + random_below(g, 2)] = other;
    }
    sinter_attr axis = sinter_attr_int("axis", random_below(g, type.rank));
    return sinter_build(&g->build, SINTER_OP_concat, items, 2 + (uint32_t)random_below(g, 2), &axis,
                        1);
}

static inline sinter_value add_split(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    int64_t axis = random_below(g, type.rank), size = dim_at(g, &type, (uint32_t)axis);
    if (!sinter_dim_is(sinter_module_dims(g->build.module), type.dims[axis], size) || size < 2)
        return 0;
    int64_t sizes[2] = {1 + random_below(g, size - 1)};
    sizes[1] = size - sizes[0];
    sinter_attr attribute = sinter_attr_int("axis", axis);
    sinter_node_spec spec = {.op = SINTER_OP_split,
                             .operands = (sinter_value[2]){x, ints(g, sizes, 2)},
                             .operand_count = 2,
                             .attributes = &attribute,
                             .attribute_count = 1,
                             .result_count = 2};
    sinter_node node = sinter_build_node(&g->build, &spec);
    if (!node) return 0;
    sinter_vector_push(sinter_module_arena(g->build.module), &g->values,
                       sinter_node_result(g->build.module, node, 0));
    return sinter_node_result(g->build.module, node, 1);
}

/* Wide rows put together of what is made for that, as it is or by way of a sum, and taken apart again elsewhere. */
static inline sinter_value add_places(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t width = 16, last = type.rank;
    if (!type.rank || type.rank > 3 || !is_static(g, &type) || count_of(g, &type) > 20) return 0;
    sinter_value axes = ints(g, &last, 1);
    sinter_value wide = binary(g, SINTER_OP_mul, binary(g, SINTER_OP_unsqueeze, x, axes),
                               random_constant(g, 1, &width, -1, 1));
    if (!wide) return 0;
    sinter_value items[3] = {unary(g, SINTER_OP_tanh, wide), unary(g, SINTER_OP_neg, wide),
                             random_chance(g, 50) ? wide : unary(g, SINTER_OP_relu, wide)};
    int64_t axis = random_below(g, type.rank);
    sinter_attr along = sinter_attr_int("axis", axis);
    sinter_value all = sinter_build(&g->build, SINTER_OP_concat, items, 3, &along, 1);
    if (random_chance(g, 30)) all = binary(g, SINTER_OP_sub, all, unary(g, SINTER_OP_relu, all));
    sinter_value part = all ? add_split(g, all) : 0;
    if (!part || random_chance(g, 30)) return part;
    sinter_type half = type_of(g, part);
    sinter_value again[2] = {unary(g, SINTER_OP_neg, part),
                             random_chance(g, 50) ? part : unary(g, SINTER_OP_tanh, part)};
    along = sinter_attr_int("axis", random_below(g, half.rank));
    return sinter_build(&g->build, SINTER_OP_concat, again, 2, &along, 1);
}

static inline sinter_value add_resize(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!is_image(g, &type) || !is_static(g, &type)) return 0;
    int64_t count = type.rank;
    sinter_tensor scales;
    if (!sinter_tensor_create(&scales, SINTER_DTYPE_f32, 1, &count, g->build.diag)) return 0;
    for (int64_t i = 0; i < count; i++)
        sinter_tensor_set_double(&scales, i, i < 2 ? 1 : random_chance(g, 50) ? 2 : 1);
    sinter_attr attributes[2] = {
        sinter_attr_string("mode", sinter_string_of(random_chance(g, 50) ? "linear" : "nearest")),
        sinter_attr_string("coordinate_transformation_mode", SINTER_STRING("asymmetric"))};
    sinter_value operands[3] = {x, 0, sinter_build_constant(&g->build, scales)};
    return sinter_build(&g->build, SINTER_OP_resize, operands, 3, attributes, 2);
}

/* ---- whole graphs ---- */

static inline bool random_graph_grow(random_graph *g) {
    static sinter_value (*const makers[])(random_graph *, sinter_value) = {
        add_unary,       add_unary,
        add_binary,      add_binary,
        add_binary,      add_convolution,
        add_convolution, add_pool,
        add_product,     add_product,
        add_reduction,   add_composite,
        add_spelled,     add_batch_normalization,
        add_transpose,   add_transpose,
        add_reshape,     add_reshape,
        add_slice,       add_pad,
        add_concat,      add_split,
        add_resize,      add_where,
        add_if,          add_quantized,
        add_quantized,   add_integer,
        add_integer,     add_gather,
        add_gather,      add_elements,
        add_rows,        add_largest,
        add_repeat,      add_axes,
        add_far_slice,   add_nothing,
        add_norm,        add_channel_normalization,
        add_log_softmax, add_scaled_convolution,
        add_padded_pool, add_padded_convolution,
        add_blocks,      add_loop,
        add_scan,        add_recurrent,
        add_parts,       add_parts,
        add_places,      add_places};
    sinter_value made = makers[random_below(g, sizeof makers / sizeof *makers)](g, pick(g));
    if (!made) return false;
    sinter_type type = type_of(g, made);
    if (count_of(g, &type) > RANDOM_GRAPH_ELEMENTS || count_of(g, &type) < 1 || type.rank > 5)
        return false;
    sinter_vector_push(sinter_module_arena(g->build.module), &g->values, made);
    return true;
}

static inline void random_graph_add_input(random_graph *g) {
    sinter_dim_table *table = sinter_module_dims(g->build.module);
    sinter_dim dims[4];
    uint32_t rank = 2 + (uint32_t)random_below(g, 3);
    for (uint32_t i = 0; i < rank; i++) {
        int64_t limit = i == 0 ? 2 : i == 1 ? 5 : 6;
        dims[i] = i == 0 && random_chance(g, 40) ? g->symbols[0]
                  : i > 0 && random_chance(g, 10)
                      ? g->symbols[1]
                      : sinter_dim_const(table, 1 + random_below(g, limit));
    }
    sinter_type type =
        sinter_type_tensor(sinter_module_arena(g->build.module), g->dtype, rank, dims);
    sinter_value input = sinter_region_add_argument(
        g->build.module, sinter_module_main(g->build.module), type, NULL);
    sinter_vector_push(sinter_module_arena(g->build.module), &g->values, input);
}

static inline void random_graph_add_integers(random_graph *g) {
    sinter_dim dims[3];
    uint32_t rank = 1 + (uint32_t)random_below(g, 2);
    for (uint32_t i = 0; i < rank; i++)
        dims[i] = sinter_dim_const(sinter_module_dims(g->build.module), 1 + random_below(g, 4));
    sinter_type type = sinter_type_tensor(sinter_module_arena(g->build.module),
                                          random_integer_dtype(g), rank, dims);
    keep_integer(g, sinter_region_add_argument(g->build.module, sinter_module_main(g->build.module),
                                               type, NULL));
}

/* A module of about `size` operators. */
static inline sinter_module *random_graph_make(random_graph *g, uint64_t seed, int size,
                                               sinter_diag *diag) {
    sinter_module *module = sinter_module_create("random");
    *g = (random_graph){
        .state = seed,
        .build = {.module = module, .region = sinter_module_main(module), .diag = diag}};
    g->dtype = random_chance(g, 80)   ? SINTER_DTYPE_f32
               : random_chance(g, 40) ? SINTER_DTYPE_f16
               : random_chance(g, 50) ? SINTER_DTYPE_bf16
                                      : SINTER_DTYPE_f64;
    g->quantizes = g->dtype == SINTER_DTYPE_f32 && random_chance(g, 25);
    g->symbols[0] = sinter_dim_symbol_named(sinter_module_dims(module), SINTER_STRING("N"));
    g->symbols[1] = sinter_dim_symbol_named(sinter_module_dims(module), SINTER_STRING("M"));
    if (random_chance(g, 40)) random_graph_add_integers(g);
    for (int64_t inputs = 1 + random_below(g, 2); inputs > 0; inputs--) random_graph_add_input(g);
    for (int made = 0, tried = 0; made < size && tried < 4 * size; tried++)
        made += random_graph_grow(g);
    SINTER_VECTOR(sinter_value) results = {0};
    for (size_t i = 0; i < g->values.count; i++) {
        const sinter_value_info *info = sinter_value_get(module, g->values.items[i]);
        bool unused = !info->uses.count && info->definition;
        if ((unused && random_chance(g, 70)) || random_chance(g, 8) ||
            (!results.count && i + 1 == g->values.count))
            sinter_vector_push(sinter_module_arena(module), &results, g->values.items[i]);
    }
    for (size_t i = 0; i < g->integers.count; i++)
        if (sinter_value_get(module, g->integers.items[i])->definition && random_chance(g, 30))
            sinter_vector_push(sinter_module_arena(module), &results, g->integers.items[i]);
    sinter_node_spec yield = {
        .op = SINTER_OP_yield, .operands = results.items, .operand_count = (uint32_t)results.count};
    return sinter_build_node(&g->build, &yield) ? module : NULL;
}
