/* What random graphs are made with: random numbers, tensors, constants, values that are there already. The graph and the data
 * depend on the seed alone. Used by random_graph.h. */
#pragma once
#include "ir/build.h"

#include <assert.h>
#include <math.h>

enum { RANDOM_GRAPH_ELEMENTS = 600 };
static const int64_t random_graph_sizes[] = {2, 3}; /* what the symbols are at run time, N and M */

typedef struct random_graph {
    sinter_builder build;
    uint64_t state;
    SINTER_VECTOR(sinter_value) values; /* floating-point ones */
    SINTER_VECTOR(sinter_value)
    integers; /* that no floating-point value leads to: they are exact */
    sinter_dim symbols[2];
    sinter_dtype dtype; /* of all floating-point values */
    bool quantizes;     /* some values are quantized: they may be a whole step apart */
    bool narrow_weights;
} random_graph;

/* ---- numbers ---- */

static inline uint32_t random_bits(random_graph *g) { /* SplitMix64 */
    uint64_t z = g->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (uint32_t)(z >> 32);
}

static inline int64_t random_below(random_graph *g, int64_t limit) {
    return random_bits(g) % limit;
}

static inline bool random_chance(random_graph *g, int percent) {
    return random_below(g, 100) < percent;
}

static inline double random_number(random_graph *g, double low, double high) {
    return low + (high - low) * random_bits(g) / 4294967296.0;
}

static inline sinter_tensor random_tensor(random_graph *g, uint32_t rank, const int64_t *dims,
                                          double low, double high) {
    sinter_tensor tensor;
    bool made = sinter_tensor_create(&tensor, g->dtype, rank, dims, g->build.diag);
    assert(made);
    (void)made;
    for (int64_t i = 0; i < sinter_tensor_count(&tensor); i++)
        sinter_tensor_set_double(&tensor, i, random_number(g, low, high));
    return tensor;
}

static inline sinter_value random_constant(random_graph *g, uint32_t rank, const int64_t *dims,
                                           double low, double high) {
    return sinter_build_constant(&g->build, random_tensor(g, rank, dims, low, high));
}

/* Of convolutions and products: at times 8-bit ones with a scale for each index of the axis. */
static inline sinter_value random_weight(random_graph *g, uint32_t rank, const int64_t *dims,
                                         double bound, int64_t axis) {
    if (!g->narrow_weights) return random_constant(g, rank, dims, -bound, bound);
    sinter_tensor weight, scale;
    bool per_axis = random_chance(g, 50);
    bool made = sinter_tensor_create(&weight, SINTER_DTYPE_i8, rank, dims, g->build.diag) &&
                sinter_tensor_create(&scale, g->dtype, per_axis, &dims[axis], g->build.diag);
    assert(made);
    (void)made;
    for (int64_t i = 0; i < sinter_tensor_count(&weight); i++)
        sinter_tensor_set_int(&weight, i, random_below(g, 255) - 127);
    for (int64_t i = 0; i < sinter_tensor_count(&scale); i++)
        sinter_tensor_set_double(&scale, i, bound / 127 * random_number(g, 0.5, 1));
    sinter_value operands[2] = {sinter_build_constant(&g->build, weight),
                                sinter_build_constant(&g->build, scale)};
    sinter_attr attribute = sinter_attr_int("axis", axis);
    return sinter_build(&g->build, SINTER_OP_dequantize_linear, operands, 2, &attribute, 1);
}

/* ---- values ---- */

static inline sinter_type type_of(const random_graph *g, sinter_value value) {
    return *sinter_value_type(g->build.module, value);
}

/* What the dim is at run time. */
static inline int64_t dim_at(const random_graph *g, const sinter_type *type, uint32_t axis) {
    int64_t value = 0;
    sinter_dim_evaluate(sinter_module_dims(g->build.module), type->dims[axis], random_graph_sizes,
                        &value);
    return value;
}

static inline int64_t count_of(const random_graph *g, const sinter_type *type) {
    int64_t count = 1;
    for (uint32_t i = 0; i < type->rank; i++) count *= dim_at(g, type, i);
    return count;
}

static inline bool is_static(const random_graph *g, const sinter_type *type) {
    uint64_t count = 0;
    return sinter_type_static_count(sinter_module_dims(g->build.module), type, &count);
}

/* Attributes with what is most often left out. */
typedef struct attribute_list {
    sinter_attr items[8];
    uint32_t count;
} attribute_list;

static inline void give(attribute_list *list, sinter_attr attribute) {
    list->items[list->count++] = attribute;
}

static inline sinter_value build_with(random_graph *g, sinter_op op, const sinter_value *operands,
                                      uint32_t count, const attribute_list *list) {
    return sinter_build(&g->build, op, operands, count, list->items, list->count);
}

static inline sinter_value pick(random_graph *g) { /* newer ones more often */
    size_t count = g->values.count;
    size_t back = (size_t)random_below(g, 1 + random_below(g, (int64_t)count));
    return g->values.items[count - 1 - back];
}

static inline sinter_value unary(random_graph *g, sinter_op op, sinter_value x) {
    return sinter_build_unary(&g->build, op, x);
}

/* Of a node built so; 0 after an error. */
static inline sinter_value first_result(random_graph *g, const sinter_node_spec *spec) {
    sinter_node node = sinter_build_node(&g->build, spec);
    return node ? sinter_node_result(g->build.module, node, 0) : 0;
}

static inline sinter_value binary(random_graph *g, sinter_op op, sinter_value a, sinter_value b) {
    return sinter_build_binary(&g->build, op, a, b);
}

static inline sinter_value number(random_graph *g, double value) {
    return sinter_build_scalar(&g->build, g->dtype, value);
}

static inline sinter_value ints(random_graph *g, const int64_t *items, size_t count) {
    return sinter_build_ints(&g->build, items, count);
}
