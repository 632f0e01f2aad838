/* Makers of random graphs, second half: integers, data moved by index, windows with all their attributes, loops, what has no
 * elements. Like the others, each takes a value and gives a new one, or 0 where it can do nothing with it. Used by random_graph.h. */
#pragma once
#include "tests/unit/random_graph_values.h"

/* ---- integers ---- */

static inline sinter_dtype random_integer_dtype(random_graph *g) {
    static const sinter_dtype dtypes[] = {SINTER_DTYPE_i32, SINTER_DTYPE_i64, SINTER_DTYPE_i32,
                                          SINTER_DTYPE_i64, SINTER_DTYPE_u8,  SINTER_DTYPE_i8,
                                          SINTER_DTYPE_i16, SINTER_DTYPE_u32};
    return dtypes[random_below(g, sizeof dtypes / sizeof *dtypes)];
}

static inline bool is_signed(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].class == SINTER_CLASS_INT;
}

static inline sinter_tensor random_integers(random_graph *g, sinter_dtype dtype, uint32_t rank,
                                            const int64_t *dims, int64_t low, int64_t high) {
    sinter_tensor tensor;
    bool made = sinter_tensor_create(&tensor, dtype, rank, dims, g->build.diag);
    assert(made);
    (void)made;
    for (int64_t i = 0; i < sinter_tensor_count(&tensor); i++)
        sinter_tensor_set_int(&tensor, i, low + random_below(g, high - low + 1));
    return tensor;
}

/* Never 0, and never -1, by which the lowest number can't be divided. */
static inline sinter_value random_divisor(random_graph *g, sinter_dtype dtype) {
    int64_t divisor = 2 + random_below(g, 9);
    if (is_signed(dtype) && random_chance(g, 30)) divisor = -divisor;
    return sinter_build_constant(&g->build, random_integers(g, dtype, 0, NULL, divisor, divisor));
}

static inline void keep_integer(random_graph *g, sinter_value value) {
    if (value) sinter_vector_push(sinter_module_arena(g->build.module), &g->integers, value);
}

static inline sinter_value pick_integer(random_graph *g) {
    return g->integers.items[random_below(g, (int64_t)g->integers.count)];
}

/* One more integer of the same type and shape, where there is one; otherwise a constant. */
static inline sinter_value integer_like(random_graph *g, const sinter_type *type) {
    for (int attempt = 0; attempt < 4; attempt++) {
        sinter_value other = pick_integer(g);
        sinter_type second = type_of(g, other);
        if (sinter_type_equal(type, &second)) return other;
    }
    int64_t low = is_signed(type->dtype) ? -20 : 0;
    return sinter_build_constant(&g->build, random_integers(g, type->dtype, 0, NULL, low, 20));
}

static inline sinter_value add_integer_arithmetic(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {
        SINTER_OP_add, SINTER_OP_sub,         SINTER_OP_mul,        SINTER_OP_min,
        SINTER_OP_max, SINTER_OP_bitwise_and, SINTER_OP_bitwise_or, SINTER_OP_bitwise_xor};
    static const sinter_op divisions[] = {SINTER_OP_div, SINTER_OP_mod, SINTER_OP_fmod};
    static const sinter_op comparisons[] = {SINTER_OP_less, SINTER_OP_equal,
                                            SINTER_OP_greater_or_equal};
    sinter_type type = type_of(g, x);
    switch (random_below(g, 6)) {
    case 0:
        return binary(g, divisions[random_below(g, 3)], x, random_divisor(g, type.dtype));
    case 1: {
        sinter_value operands[3] = {
            binary(g, comparisons[random_below(g, 3)], x, integer_like(g, &type)), x,
            integer_like(g, &type)};
        return sinter_build(&g->build, SINTER_OP_where, operands, 3, NULL, 0);
    }
    case 2:
        return is_signed(type.dtype)
                   ? unary(g, random_chance(g, 50) ? SINTER_OP_neg : SINTER_OP_abs, x)
                   : unary(g, SINTER_OP_bitwise_not, x);
    default:
        return random_chance(g, 50) ? binary(g, ops[random_below(g, 8)], x, integer_like(g, &type))
                                    : binary(g, ops[random_below(g, 8)], integer_like(g, &type), x);
    }
}

static inline sinter_value add_integer_shape(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    int64_t axis = random_below(g, type.rank), last = -1, zero = 0;
    sinter_attr along = sinter_attr_int("axis", axis), keep = sinter_attr_int("keepdims", 1);
    bool sums = sinter_dtype_infos[type.dtype].bits >= 32; /* ONNX has sums of these only */
    switch (random_below(g, 6)) {
    case 0:
        if (type.dtype == SINTER_DTYPE_i16) return 0;
        return binary(g, sums && random_chance(g, 50) ? SINTER_OP_reduce_sum : SINTER_OP_reduce_max,
                      x, ints(g, &axis, 1));
    case 1: {
        sinter_attr list[2] = {along, keep};
        return sinter_build(&g->build, SINTER_OP_arg_max, &x, 1, list, 2);
    }
    case 2:
        return sums ? binary(g, SINTER_OP_cum_sum, x, sinter_build_int(&g->build, axis)) : 0;
    case 3: {
        sinter_value operands[2] = {x, x};
        return sinter_build(&g->build, SINTER_OP_concat, operands, 2, &along, 1);
    }
    case 4: {
        sinter_value operands[2] = {x, ints(g, &zero, 1)};
        return sinter_build(&g->build, SINTER_OP_gather, operands, 2, &along, 1);
    }
    default:
        return sinter_build_reshape(&g->build, x, &last, 1);
    }
}

/* Some steps among integers, and at their end a floating-point value. */
static inline sinter_value add_integer(random_graph *g, sinter_value ignored) {
    (void)ignored;
    if (!g->integers.count) return 0;
    sinter_value x = pick_integer(g);
    for (int64_t steps = random_below(g, 4); steps > 0; steps--) {
        sinter_value y = random_chance(g, 60) ? add_integer_arithmetic(g, x)
                         : random_chance(g, 60)
                             ? add_integer_shape(g, x)
                             : sinter_build_cast(&g->build, x, random_integer_dtype(g));
        sinter_type type = y ? type_of(g, y) : (sinter_type){0};
        if (!y || count_of(g, &type) > RANDOM_GRAPH_ELEMENTS) continue;
        keep_integer(g, x = y);
    }
    sinter_value wide = sinter_build_cast(&g->build, x, g->dtype);
    return unary(g, SINTER_OP_tanh, binary(g, SINTER_OP_mul, wide, number(g, 1.0 / 64)));
}

/* ---- by index ---- */

static inline bool known_axis(random_graph *g, const sinter_type *type, int64_t *out_axis,
                              int64_t *out_size) {
    if (!type->rank) return false;
    *out_axis = random_below(g, type->rank);
    return sinter_dim_is_const(sinter_module_dims(g->build.module), type->dims[*out_axis],
                               out_size) &&
           *out_size > 0;
}

/* Of constants, which may count from the end, or of integers that are data. */
static inline sinter_value random_indices(random_graph *g, int64_t size) {
    int64_t dims[2] = {1 + random_below(g, 4), 1 + random_below(g, 2)};
    if (g->integers.count && random_chance(g, 40)) {
        sinter_value wide = sinter_build_cast(&g->build, pick_integer(g), SINTER_DTYPE_i64);
        return binary(g, SINTER_OP_mod, wide, sinter_build_int(&g->build, size));
    }
    uint32_t rank = (uint32_t)random_below(g, 3);
    return sinter_build_constant(
        &g->build, random_integers(g, random_chance(g, 50) ? SINTER_DTYPE_i32 : SINTER_DTYPE_i64,
                                   rank, dims, -size, size - 1));
}

static inline sinter_value add_gather(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t axis, size;
    if (!known_axis(g, &type, &axis, &size)) return 0;
    sinter_value operands[2] = {x, random_indices(g, size)};
    sinter_type indices = type_of(g, operands[1]);
    if (indices.rank + type.rank > 6) return 0;
    sinter_attr along = sinter_attr_int("axis", random_chance(g, 30) ? axis - type.rank : axis);
    return sinter_build(&g->build, SINTER_OP_gather, operands, 2, &along, 1);
}

/* Elements taken, or put in the place of others or joined with them, along an axis. */
static inline sinter_value add_elements(random_graph *g, sinter_value x) {
    static const char *const reductions[] = {"none", "add", "min", "max"};
    sinter_type type = type_of(g, x);
    int64_t axis, size, dims[SINTER_MAX_RANK];
    if (!known_axis(g, &type, &axis, &size) || !is_static(g, &type)) return 0;
    for (uint32_t i = 0; i < type.rank; i++) dims[i] = dim_at(g, &type, i);
    sinter_attr list[2] = {sinter_attr_int("axis", axis)};
    if (random_chance(g, 50)) {
        dims[axis] = 1 + random_below(g, 4);
        sinter_value operands[2] = {
            x, sinter_build_constant(&g->build, random_integers(g, SINTER_DTYPE_i64, type.rank,
                                                                dims, -size, size - 1))};
        return sinter_build(&g->build, SINTER_OP_gather_elements, operands, 2, list, 1);
    }
    const char *reduction = reductions[random_below(g, 4)];
    bool once = strcmp(reduction, "none") == 0; /* the order of two writes is not defined */
    dims[axis] = once ? 1 : 1 + random_below(g, size);
    list[1] = sinter_attr_string("reduction", sinter_string_of(reduction));
    sinter_value operands[3] = {
        x,
        sinter_build_constant(
            &g->build, random_integers(g, SINTER_DTYPE_i64, type.rank, dims, -size, size - 1)),
        random_constant(g, type.rank, dims, -1, 1)};
    return sinter_build(&g->build, SINTER_OP_scatter_elements, operands, 3, list, 2);
}

/* Rows of the first axis are replaced. */
static inline sinter_value add_rows(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t dims[SINTER_MAX_RANK], index_dims[2] = {1, 1};
    if (!type.rank || !is_static(g, &type)) return 0;
    for (uint32_t i = 0; i < type.rank; i++) dims[i] = dim_at(g, &type, i);
    int64_t size = dims[0];
    dims[0] = 1;
    if (size < 1) return 0;
    sinter_value operands[3] = {
        x,
        sinter_build_constant(&g->build,
                              random_integers(g, SINTER_DTYPE_i64, 2, index_dims, -size, size - 1)),
        random_constant(g, type.rank, dims, -1, 1)};
    return sinter_build(&g->build, SINTER_OP_scatter_nd, operands, 3, NULL, 0);
}

static inline sinter_value add_largest(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t axis, size;
    if (!known_axis(g, &type, &axis, &size)) return 0;
    int64_t count = 1 + random_below(g, size);
    sinter_attr list[2] = {sinter_attr_int("axis", axis),
                           sinter_attr_int("largest", random_chance(g, 60))};
    sinter_node_spec spec = {.op = SINTER_OP_top_k,
                             .operands = (sinter_value[2]){x, ints(g, &count, 1)},
                             .operand_count = 2,
                             .attributes = list,
                             .attribute_count = 2,
                             .result_count = 2};
    return first_result(g, &spec);
}

/* ---- more views ---- */

static inline sinter_value add_repeat(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t repeats[SINTER_MAX_RANK], wide[SINTER_MAX_RANK];
    if (!type.rank || type.rank > 4 || !is_static(g, &type)) return 0;
    for (uint32_t i = 0; i < type.rank; i++) {
        int64_t size = dim_at(g, &type, i);
        repeats[i] = random_chance(g, 30) ? 2 : 1;
        wide[i + 1] = size == 1 && random_chance(g, 60) ? 3 : random_chance(g, 30) ? 1 : size;
    }
    wide[0] = 2;
    return random_chance(g, 50) ? binary(g, SINTER_OP_tile, x, ints(g, repeats, type.rank))
                                : binary(g, SINTER_OP_expand, x, ints(g, wide, type.rank + 1));
}

static inline sinter_value add_axes(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t axes[SINTER_MAX_RANK];
    uint32_t count = 0;
    switch (random_below(g, 4)) {
    case 0:
        for (uint32_t i = 0; i < type.rank; i++)
            if (sinter_dim_is(sinter_module_dims(g->build.module), type.dims[i], 1))
                axes[count++] = random_chance(g, 50) ? i : (int64_t)i - type.rank;
        return count ? binary(g, SINTER_OP_squeeze, x, ints(g, axes, count)) : 0;
    case 1:
        if (type.rank > 4) return 0;
        axes[0] = random_below(g, type.rank + 1) - (random_chance(g, 30) ? type.rank + 1 : 0);
        return binary(g, SINTER_OP_unsqueeze, x, ints(g, axes, 1));
    case 2: {
        attribute_list list = {0};
        if (random_chance(g, 80))
            give(&list, sinter_attr_int("axis", random_below(g, type.rank + 1)));
        return type.rank ? build_with(g, SINTER_OP_flatten, &x, 1, &list) : 0;
    }
    default: {
        if (type.rank < 2) return 0;
        sinter_attr upper = sinter_attr_int("upper", random_chance(g, 50));
        sinter_value operands[2] = {x, sinter_build_int(&g->build, random_below(g, 5) - 2)};
        return sinter_build(&g->build, SINTER_OP_trilu, operands, 2, &upper, 1);
    }
    }
}

/* Backwards, from the end, beyond the ends. */
static inline sinter_value add_far_slice(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t axis, size;
    if (!known_axis(g, &type, &axis, &size) || size < 2) return 0;
    bool back = random_chance(g, 60);
    int64_t step = (1 + random_below(g, 3)) * (back ? -1 : 1);
    int64_t start = back ? random_below(g, 2) ? -1 : INT64_MAX : -1 - random_below(g, size);
    int64_t end = back ? random_below(g, 2) ? INT64_MIN : -1 - size : INT64_MAX;
    if (random_chance(g, 50)) axis -= type.rank;
    sinter_value operands[5] = {x, ints(g, &start, 1), ints(g, &end, 1), ints(g, &axis, 1),
                                ints(g, &step, 1)};
    return sinter_build(&g->build, SINTER_OP_slice, operands, 5, NULL, 0);
}

/* A part without elements, and what is made of it, joined with the rest: what was there. */
static inline sinter_value add_nothing(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    int64_t axis = random_below(g, type.rank), zero = 0;
    sinter_value operands[4] = {x, ints(g, &zero, 1), ints(g, &zero, 1), ints(g, &axis, 1)};
    sinter_value none = sinter_build(&g->build, SINTER_OP_slice, operands, 4, NULL, 0);
    switch (random_below(g, 4)) {
    case 0:
        none = unary(g, SINTER_OP_tanh, none);
        break;
    case 1:
        none = binary(g, SINTER_OP_mul, none, number(g, 2));
        break;
    case 2: /* the sum of nothing is nothing more */
        return binary(g, SINTER_OP_add, x,
                      binary(g, SINTER_OP_reduce_sum, none, ints(g, &axis, 1)));
    default:
        break;
    }
    sinter_value parts[2] = {none, x};
    if (random_chance(g, 50)) parts[0] = x, parts[1] = none;
    sinter_attr along = sinter_attr_int("axis", axis);
    return sinter_build(&g->build, SINTER_OP_concat, parts, 2, &along, 1);
}

/* ---- reductions with all their attributes ---- */

static inline sinter_value add_norm(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {SINTER_OP_reduce_l1,         SINTER_OP_reduce_log_sum_exp,
                                    SINTER_OP_reduce_sum_square, SINTER_OP_reduce_prod,
                                    SINTER_OP_reduce_sum,        SINTER_OP_reduce_mean};
    sinter_type type = type_of(g, x);
    sinter_op op = ops[random_below(g, sizeof ops / sizeof *ops)];
    attribute_list list = {0};
    int64_t axes[SINTER_MAX_RANK];
    uint32_t count = 0;
    for (uint32_t i = 0; i < type.rank; i++)
        if (random_chance(g, 40)) axes[count++] = random_chance(g, 30) ? (int64_t)i - type.rank : i;
    if (op == SINTER_OP_reduce_prod || op == SINTER_OP_reduce_log_sum_exp)
        x = unary(g, SINTER_OP_tanh, x);
    if (random_chance(g, 50)) give(&list, sinter_attr_int("keepdims", random_chance(g, 50)));
    if (random_chance(g, 30)) give(&list, sinter_attr_int("noop_with_empty_axes", 1));
    sinter_value operands[2] = {x, random_chance(g, 20) ? 0 : ints(g, axes, count)};
    sinter_value y = build_with(g, op, operands, operands[1] ? 2 : 1, &list);
    return unary(g, SINTER_OP_tanh, y);
}

static inline sinter_value add_channel_normalization(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    int64_t channels = 0;
    attribute_list list = {0};
    if (type.rank < 3 || type.rank > 4 ||
        !sinter_dim_is_const(sinter_module_dims(g->build.module), type.dims[1], &channels) ||
        channels < 1)
        return 0;
    give(&list, sinter_attr_float("epsilon", 0.125));
    sinter_value operands[3] = {x, random_constant(g, 1, &channels, 0.5, 1.5),
                                random_constant(g, 1, &channels, -1, 1)};
    if (random_chance(g, 50))
        return build_with(g, SINTER_OP_instance_normalization, operands, 3, &list);
    give(&list, sinter_attr_int("num_groups", channels % 2 ? 1 : 2));
    return build_with(g, SINTER_OP_group_normalization, operands, 3, &list);
}

static inline sinter_value add_log_softmax(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (!type.rank) return 0;
    sinter_attr axis = sinter_attr_int("axis", random_below(g, 2 * type.rank) - type.rank);
    return sinter_build(&g->build, SINTER_OP_log_softmax, &x, 1, &axis, 1);
}

/* ---- windows with all their attributes ---- */

typedef struct window {
    int64_t kernel[2], strides[2], dilations[2], pads[4];
    uint32_t space;
} window;

/* Of an image whose dims are numbers; no window lies in the padding alone. */
static inline bool random_window(random_graph *g, const sinter_type *type, window *w) {
    if (type->rank < 3 || type->rank > 4 || !is_static(g, type)) return false;
    *w = (window){.space = type->rank - 2};
    for (uint32_t i = 0; i < w->space; i++) {
        int64_t size = dim_at(g, type, i + 2);
        w->kernel[i] = 1 + random_below(g, 3);
        w->strides[i] = 1 + random_below(g, 3);
        w->dilations[i] = 1 + random_below(g, 2);
        int64_t reach = (w->kernel[i] - 1) * w->dilations[i] + 1;
        if (size < 1) return false;
        w->pads[i] = random_below(g, w->kernel[i]);
        w->pads[i + w->space] = random_below(g, w->kernel[i]);
        if (reach > size + w->pads[i] + w->pads[i + w->space] || reach > size + 1) return false;
    }
    return true;
}

static inline void give_window(random_graph *g, attribute_list *list, const window *w,
                               bool dilates) {
    static const char *const automatic[] = {"SAME_UPPER", "SAME_LOWER", "VALID"};
    bool fits = true; /* without padding, and steps leave nothing out, which ONNX Runtime refuses */
    give(list, sinter_attr_ints("kernel_shape", w->kernel, w->space));
    if (random_chance(g, 60)) give(list, sinter_attr_ints("strides", w->strides, w->space));
    if (dilates) give(list, sinter_attr_ints("dilations", w->dilations, w->space));
    for (uint32_t i = 0; i < w->space; i++)
        fits &= w->pads[i] == 0 && w->pads[i + w->space] == 0 && w->strides[i] <= w->kernel[i];
    if (fits && !dilates && random_chance(g, 70))
        give(list, sinter_attr_string("auto_pad", sinter_string_of(automatic[random_below(g, 3)])));
    else
        give(list, sinter_attr_ints("pads", w->pads, 2 * w->space));
}

static inline sinter_value add_padded_pool(random_graph *g, sinter_value x) {
    static const sinter_op ops[] = {SINTER_OP_max_pool, SINTER_OP_average_pool,
                                    SINTER_OP_average_pool};
    sinter_type type = type_of(g, x);
    window w;
    attribute_list list = {0};
    if (!random_window(g, &type, &w)) return 0;
    sinter_op op = ops[random_below(g, 3)];
    give_window(g, &list, &w, random_chance(g, 40));
    if (op == SINTER_OP_average_pool && random_chance(g, 50))
        give(&list, sinter_attr_int("count_include_pad", 1));
    if (random_chance(g, 20)) give(&list, sinter_attr_int("ceil_mode", 1));
    return build_with(g, op, &x, 1, &list);
}

static inline sinter_value add_padded_convolution(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    window w;
    attribute_list list = {0};
    if (!random_window(g, &type, &w)) return 0;
    int64_t channels = dim_at(g, &type, 1),
            group = channels % 2 == 0 && random_chance(g, 40) ? 2 : 1;
    bool transposed = random_chance(g, 30);
    int64_t wide = group * (1 + random_below(g, 4));
    int64_t dims[4] = {transposed ? channels : wide, (transposed ? wide : channels) / group};
    for (uint32_t i = 0; i < w.space; i++) dims[i + 2] = w.kernel[i];
    int64_t more[2] = {w.strides[0] - 1, w.strides[1] - 1};
    if (channels < 1) return 0;
    if (transposed) { /* what is cut off must not be all there is */
        give(&list, sinter_attr_ints("kernel_shape", w.kernel, w.space));
        give(&list, sinter_attr_ints("strides", w.strides, w.space));
        if (random_chance(g, 50)) give(&list, sinter_attr_ints("output_padding", more, w.space));
    } else
        give_window(g, &list, &w, random_chance(g, 50));
    give(&list, sinter_attr_int("group", group));
    sinter_value operands[3] = {x, random_constant(g, type.rank, dims, -0.7, 0.7),
                                random_constant(g, 1, &wide, -1, 1)};
    return build_with(g, transposed ? SINTER_OP_conv_transpose : SINTER_OP_conv, operands,
                      random_chance(g, 50) ? 3 : 2, &list);
}

static inline sinter_value add_blocks(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    if (type.rank != 4 || !is_static(g, &type)) return 0;
    attribute_list list = {0};
    give(&list, sinter_attr_int("blocksize", 2));
    if (dim_at(g, &type, 2) % 2 == 0 && dim_at(g, &type, 3) % 2 == 0)
        return build_with(g, SINTER_OP_space_to_depth, &x, 1, &list);
    if (dim_at(g, &type, 1) % 4 != 0) return 0;
    give(&list, sinter_attr_string("mode", sinter_string_of(random_chance(g, 50) ? "DCR" : "CRD")));
    return build_with(g, SINTER_OP_depth_to_space, &x, 1, &list);
}

/* ---- rounds ---- */

static inline sinter_value step_of(random_graph *g, sinter_value state, sinter_value captured) {
    static const sinter_op ops[] = {SINTER_OP_tanh, SINTER_OP_sigmoid, SINTER_OP_neg};
    sinter_value mixed =
        binary(g, SINTER_OP_add, binary(g, SINTER_OP_mul, state, number(g, 0.5)), captured);
    return unary(g, ops[random_below(g, 3)], mixed);
}

/* Some rounds of a state, with all states stacked. */
static inline sinter_value add_loop(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    sinter_module *module = g->build.module;
    sinter_region outer = g->build.region, body = sinter_region_add(module);
    sinter_type count = sinter_type_tensor(sinter_module_arena(module), SINTER_DTYPE_i64, 0, NULL);
    sinter_type flag = sinter_type_tensor(sinter_module_arena(module), SINTER_DTYPE_bool, 0, NULL);
    if (type.rank > 4) return 0;
    sinter_value operands[3] = {sinter_build_int(&g->build, random_below(g, 4)), 0, x};
    sinter_region_add_argument(module, body, count, NULL);
    sinter_value go = sinter_region_add_argument(module, body, flag, NULL);
    sinter_value state = sinter_region_add_argument(module, body, type, NULL);
    g->build.region = body;
    sinter_value next = step_of(g, state, x);
    sinter_value results[3] = {go, next, next};
    sinter_node_spec yield = {.op = SINTER_OP_yield, .operands = results, .operand_count = 3};
    sinter_build_node(&g->build, &yield);
    g->build.region = outer;
    sinter_node_spec spec = {.op = SINTER_OP_loop,
                             .operands = operands,
                             .operand_count = 3,
                             .regions = &body,
                             .region_count = 1,
                             .result_count = 2};
    sinter_node node = sinter_build_node(&g->build, &spec);
    if (!node) return 0;
    sinter_value stacked = sinter_node_result(module, node, 1);
    sinter_type rows = type_of(g, stacked);
    return is_static(g, &rows) && random_chance(g, 50) && count_of(g, &rows)
               ? stacked
               : sinter_node_result(module, node, 0);
}

/* A state that goes along the first axis. */
static inline sinter_value add_scan(random_graph *g, sinter_value x) {
    sinter_type type = type_of(g, x);
    sinter_module *module = g->build.module;
    int64_t dims[SINTER_MAX_RANK];
    if (!type.rank || !is_static(g, &type) || !count_of(g, &type)) return 0;
    for (uint32_t i = 0; i < type.rank; i++) dims[i] = dim_at(g, &type, i);
    sinter_region outer = g->build.region, body = sinter_region_add(module);
    sinter_type slice =
        sinter_type_tensor(sinter_module_arena(module), g->dtype, type.rank - 1, type.dims + 1);
    sinter_value operands[2] = {random_constant(g, type.rank - 1, dims + 1, -1, 1), x};
    sinter_value state = sinter_region_add_argument(module, body, slice, NULL);
    sinter_value item = sinter_region_add_argument(module, body, slice, NULL);
    g->build.region = body;
    sinter_value next = step_of(g, state, item);
    sinter_value results[2] = {next, next};
    sinter_node_spec yield = {.op = SINTER_OP_yield, .operands = results, .operand_count = 2};
    sinter_build_node(&g->build, &yield);
    g->build.region = outer;
    int64_t reverse = random_chance(g, 50);
    sinter_attr list[2] = {sinter_attr_int("num_scan_inputs", 1),
                           sinter_attr_ints("scan_input_directions", &reverse, 1)};
    sinter_node_spec spec = {.op = SINTER_OP_scan,
                             .operands = operands,
                             .operand_count = 2,
                             .attributes = list,
                             .attribute_count = 1 + (uint32_t)random_below(g, 2),
                             .regions = &body,
                             .region_count = 1,
                             .result_count = 2};
    sinter_node node = sinter_build_node(&g->build, &spec);
    return node ? sinter_node_result(module, node, (uint32_t)random_below(g, 2)) : 0;
}

/* [time, batch, features] through a small recurrent layer. */
static inline sinter_value add_recurrent(random_graph *g, sinter_value x) {
    static const char *const directions[] = {"forward", "reverse", "bidirectional"};
    sinter_type type = type_of(g, x);
    if (type.rank != 3 || !is_static(g, &type) || !count_of(g, &type)) return 0;
    int64_t which = random_below(g, 2), gates = which ? 3 : 4, hidden = 2 + random_below(g, 2);
    int64_t way = random_below(g, 3), sides = way == 2 ? 2 : 1;
    int64_t w[3] = {sides, gates * hidden, dim_at(g, &type, 2)},
            r[3] = {sides, gates * hidden, hidden}, b[2] = {sides, 2 * gates * hidden};
    sinter_value operands[4] = {x, random_constant(g, 3, w, -0.7, 0.7),
                                random_constant(g, 3, r, -0.7, 0.7),
                                random_constant(g, 2, b, -0.5, 0.5)};
    attribute_list list = {0};
    give(&list, sinter_attr_int("hidden_size", hidden));
    give(&list, sinter_attr_string("direction", sinter_string_of(directions[way])));
    if (which && random_chance(g, 50)) give(&list, sinter_attr_int("linear_before_reset", 1));
    return build_with(g, which ? SINTER_OP_gru : SINTER_OP_lstm, operands,
                      random_chance(g, 70) ? 4 : 3, &list);
}
