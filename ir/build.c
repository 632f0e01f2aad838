/* Building nodes: schema check, insertion, inference; a node that fails any of it leaves no trace.
 * The conveniences below are the constants and shape operations that importers and passes write all
 * the time. Test: tests/unit/graph_test.c */
#include "ir/build.h"
#include "ir/infer.h"
#include "ir/schema.h"

#include <string.h>

sinter_node sinter_build_node_as(sinter_builder *builder, const sinter_node_spec *spec,
                                 const sinter_type *types) {
    sinter_module *module = builder->module;
    sinter_node_spec placed = *spec;
    if (!placed.location) placed.location = builder->location;
    const char *where = placed.location ? placed.location : sinter_module_name(module);
    if (!sinter_schema_check(where, &placed, NULL, builder->diag)) return 0;
    sinter_node node = sinter_node_add(module, builder->region, builder->before, &placed);
    for (uint32_t i = 0; types && i < placed.result_count; i++)
        sinter_value_set_type(module, sinter_node_result(module, node, i), types[i]);
    if (sinter_infer_node(module, node, builder->diag)) return node;
    sinter_node_erase(module, node);
    return 0;
}

sinter_node sinter_build_node(sinter_builder *builder, const sinter_node_spec *spec) {
    return sinter_build_node_as(builder, spec, NULL);
}

sinter_value sinter_build(sinter_builder *builder, sinter_op op, const sinter_value *operands,
                          uint32_t operand_count, const sinter_attr *attributes,
                          uint32_t attribute_count) {
    sinter_node_spec spec = {.op = op,
                             .operands = operands,
                             .attributes = attributes,
                             .operand_count = operand_count,
                             .attribute_count = attribute_count,
                             .result_count = 1};
    sinter_node node = sinter_build_node(builder, &spec);
    return node ? sinter_node_result(builder->module, node, 0) : 0;
}

sinter_value sinter_build_unary(sinter_builder *builder, sinter_op op, sinter_value x) {
    return x ? sinter_build(builder, op, &x, 1, NULL, 0) : 0;
}

sinter_value sinter_build_binary(sinter_builder *builder, sinter_op op, sinter_value a,
                                 sinter_value b) {
    sinter_value operands[] = {a, b};
    return a && b ? sinter_build(builder, op, operands, 2, NULL, 0) : 0;
}

sinter_value sinter_build_constant(sinter_builder *builder, sinter_tensor tensor) {
    sinter_attr value =
        sinter_attr_tensor("value", sinter_module_keep_tensor(builder->module, tensor));
    return sinter_build(builder, SINTER_OP_constant, NULL, 0, &value, 1);
}

sinter_value sinter_build_ints(sinter_builder *builder, const int64_t *items, size_t count) {
    sinter_tensor tensor;
    int64_t dim = (int64_t)count;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_i64, 1, &dim, builder->diag)) return 0;
    if (count) memcpy(sinter_tensor_mutable(&tensor), items, count * sizeof *items);
    return sinter_build_constant(builder, tensor);
}

sinter_value sinter_build_int(sinter_builder *builder, int64_t value) {
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, SINTER_DTYPE_i64, 0, NULL, builder->diag)) return 0;
    sinter_tensor_set_int(&tensor, 0, value);
    return sinter_build_constant(builder, tensor);
}

sinter_value sinter_build_scalar(sinter_builder *builder, sinter_dtype dtype, double value) {
    sinter_tensor tensor;
    sinter_dtype_class class = sinter_dtype_infos[dtype].class;
    if (class == SINTER_CLASS_NONE || class == SINTER_CLASS_STRING ||
        class == SINTER_CLASS_COMPLEX) {
        sinter_error(builder->diag, builder->location, "no %s scalar from a number",
                     sinter_dtype_infos[dtype].name);
        return 0;
    }
    if (!sinter_tensor_create(&tensor, dtype, 0, NULL, builder->diag)) return 0;
    if (class == SINTER_CLASS_FLOAT)
        sinter_tensor_set_double(&tensor, 0, value);
    else if (class == SINTER_CLASS_BOOL)
        sinter_tensor_set_int(&tensor, 0, value != 0);
    else
        sinter_tensor_set_int(
            &tensor, 0,
            sinter_integer_from_double(
                dtype == SINTER_DTYPE_u64 && value >= 0 ? dtype : SINTER_DTYPE_i64, value));
    return sinter_build_constant(builder, tensor);
}

sinter_value sinter_build_cast(sinter_builder *builder, sinter_value x, sinter_dtype dtype) {
    if (!x || sinter_value_type(builder->module, x)->dtype == dtype) return x;
    sinter_attr to = sinter_attr_dtype("to", dtype);
    return sinter_build(builder, SINTER_OP_cast, &x, 1, &to, 1);
}

static sinter_value reshape_to(sinter_builder *builder, sinter_value x, sinter_value shape,
                               bool has_zero) {
    sinter_value operands[] = {x, shape};
    sinter_attr allow_zero = sinter_attr_int("allowzero", 1);
    if (!x || !shape) return 0;
    return sinter_build(builder, SINTER_OP_reshape, operands, 2, &allow_zero, has_zero);
}

sinter_value sinter_build_reshape(sinter_builder *builder, sinter_value x, const int64_t *dims,
                                  size_t count) {
    bool has_zero = false;
    for (size_t i = 0; i < count; i++) has_zero |= dims[i] == 0;
    return reshape_to(builder, x, sinter_build_ints(builder, dims, count), has_zero);
}

sinter_value sinter_build_reshape_dims(sinter_builder *builder, sinter_value x,
                                       const sinter_dim *dims, size_t count) {
    bool has_zero = false;
    for (size_t i = 0; i < count; i++) {
        int64_t least, most;
        sinter_dim_range(sinter_module_dims(builder->module), dims[i], &least, &most);
        has_zero |= least <= 0;
    }
    return reshape_to(builder, x, sinter_build_dims(builder, dims, count), has_zero);
}

sinter_value sinter_build_transpose(sinter_builder *builder, sinter_value x, const int64_t *perm,
                                    size_t count) {
    sinter_attr attr = sinter_attr_ints("perm", perm, count);
    return x ? sinter_build(builder, SINTER_OP_transpose, &x, 1, &attr, 1) : 0;
}

sinter_value sinter_build_dims(sinter_builder *builder, const sinter_dim *items, size_t count) {
    sinter_arena *arena = sinter_module_arena(builder->module);
    const sinter_dim_table *table = sinter_module_dims(builder->module);
    int64_t *numbers = SINTER_NEW_ARRAY(arena, int64_t, count);
    size_t known = 0;
    while (known < count && sinter_dim_is_const(table, items[known], &numbers[known])) known++;
    if (known == count) return sinter_build_ints(builder, numbers, count);
    for (size_t i = 0; i < count; i++) numbers[i] = items[i];
    sinter_attr attr = sinter_attr_ints("dims", numbers, count);
    return sinter_build(builder, SINTER_OP_dim_vector, NULL, 0, &attr, 1);
}

/* ---- blocks of 8 bits ---- */

enum { LARGEST_STEP = 127 };

/* The last axis in blocks, as an axis of them and, where `within`, one of their elements. */
static sinter_value shape_in_blocks(sinter_builder *builder, sinter_value x, int64_t block,
                                    bool within) {
    sinter_dim_table *dims = sinter_module_dims(builder->module);
    const sinter_type type = *sinter_value_type(builder->module, x);
    sinter_dim items[SINTER_MAX_RANK + 1];
    uint32_t last = type.rank - 1;
    sinter_dim size = sinter_dim_const(dims, block);
    memcpy(items, type.dims, type.rank * sizeof *items);
    items[last] = sinter_dim_floordiv(dims, type.dims[last], size);
    items[type.rank] = size;
    return sinter_build_dims(builder, items, type.rank + within);
}

bool sinter_build_quantize_blocks(sinter_builder *builder, sinter_value x, int64_t block,
                                  sinter_value *out_items, sinter_value *out_scales) {
    const sinter_type type = *sinter_value_type(builder->module, x);
    if (type.rank < 1 || type.rank >= SINTER_MAX_RANK) return false;
    const int64_t axis = -1;
    const sinter_attr attributes[] = {sinter_attr_int("axis", type.rank),
                                      sinter_attr_int("block_size", block),
                                      sinter_attr_dtype("output_dtype", SINTER_DTYPE_i8)};
    sinter_value blocks = reshape_to(builder, x, shape_in_blocks(builder, x, block, true), true);
    sinter_value magnitude = blocks ? sinter_build_unary(builder, SINTER_OP_abs, blocks) : 0;
    const sinter_value reduced[] = {magnitude, sinter_build_ints(builder, &axis, 1)};
    sinter_value largest =
        magnitude ? sinter_build(builder, SINTER_OP_reduce_max, reduced, 2, NULL, 0) : 0;
    sinter_value steps = sinter_build_scalar(builder, SINTER_DTYPE_f32, LARGEST_STEP);
    sinter_value scales = largest ? sinter_build_binary(builder, SINTER_OP_div, largest, steps) : 0;
    const sinter_value quantized[] = {blocks, scales};
    sinter_value items =
        scales ? sinter_build(builder, SINTER_OP_quantize_linear, quantized, 2, attributes, 3) : 0;
    *out_items = reshape_to(builder, items, sinter_build_dims(builder, type.dims, type.rank), true);
    *out_scales = reshape_to(builder, scales, shape_in_blocks(builder, x, block, false), true);
    return *out_items && *out_scales;
}

sinter_value sinter_build_dequantize_blocks(sinter_builder *builder, sinter_value items,
                                            sinter_value scales, int64_t block) {
    const sinter_value operands[] = {items, scales};
    const sinter_attr attributes[] = {
        sinter_attr_int("axis", (int64_t)sinter_value_type(builder->module, items)->rank - 1),
        sinter_attr_int("block_size", block)};
    return sinter_build(builder, SINTER_OP_dequantize_linear, operands, 2, attributes, 2);
}
