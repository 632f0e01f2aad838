/* Exchanges of elements below a byte: what a rank gives another begins and ends with whole bytes, filled up where it does not by itself;
 * where ranks add, integers of few bits are bytes meanwhile. Test: tests/passes/shard_localize/bytes.sir */
#include "passes/shard_bytes.h"
#include "ir/sharding.h"
#include "passes/shard_build.h"

#include <string.h>

typedef struct sender {
    sinter_builder *build;
    sinter_module *module;
    sinter_dim_table *dims;
    sinter_node node;
    sinter_op op;
    int64_t per_byte; /* elements */
} sender;

/* As the node has it, of what stands for its operand: pieces that are gathered are rows of that. */
static sinter_value exchange(const sender *s, sinter_value x) {
    const sinter_node_info info = *sinter_node_get(s->module, s->node);
    sinter_mesh_axes over;
    if (!x) return 0;
    if (s->op != SINTER_OP_all_gather)
        return sinter_build(s->build, s->op, &x, 1, info.attributes, info.attribute_count);
    if (!sinter_node_get_mesh_axes(s->module, s->node, &over)) return 0;
    const sinter_attr attributes[] = {
        sinter_attr_int("axis", 0),
        sinter_attr_int("size", sinter_mesh_axes_product(sinter_module_mesh(s->module), &over))};
    return sinter_shard_build(s->build, s->op, x, &over, attributes, 2);
}

/* Sums, products and extremes of bytes, cut to fewer bits, are those of these bits. */
static sinter_value add_bytes(const sender *s, sinter_value x) {
    const sinter_dtype dtype = sinter_value_type(s->module, x)->dtype;
    const bool is_signed = sinter_dtype_infos[dtype].class == SINTER_CLASS_INT;
    if (sinter_dtype_is_float(dtype)) return 0;
    x = exchange(s, sinter_build_cast(s->build, x, is_signed ? SINTER_DTYPE_i8 : SINTER_DTYPE_u8));
    return x ? sinter_build_cast(s->build, x, dtype) : 0;
}

/* Zeros behind what there is of the last axis. */
static sinter_value pad(const sender *s, sinter_value x, uint32_t rank, int64_t count) {
    int64_t pads[2 * SINTER_MAX_RANK] = {0};
    pads[2 * rank - 1] = count;
    sinter_value operands[] = {x, sinter_build_ints(s->build, pads, 2 * (size_t)rank)};
    return x ? sinter_build(s->build, SINTER_OP_pad, operands, 2, NULL, 0) : 0;
}

/* Each piece is a row, filled up; where its length is not known each of its elements has a byte. */
static sinter_value move_bytes(const sender *s, sinter_value x) {
    const sinter_type *type = sinter_value_type(s->module, x),
                      *result =
                          sinter_value_type(s->module, sinter_node_result(s->module, s->node, 0));
    sinter_dim rows[4], one = sinter_dim_const(s->dims, 1), piece = one;
    uint32_t rank = 0, first = s->op == SINTER_OP_all_to_all ? 2 : 0; /* of a piece's axes */
    for (uint32_t i = first; i < type->rank; i++)
        piece = sinter_dim_mul(s->dims, piece, type->dims[i]);
    if (sinter_dim_known_multiple(s->dims, piece) % s->per_byte == 0) return 0;
    for (uint32_t i = 0; i < first; i++) rows[rank++] = type->dims[i];
    if (s->op == SINTER_OP_all_gather) rows[rank++] = one;
    rows[rank++] = piece;
    int64_t length = 1;
    if (!sinter_dim_is_const(s->dims, piece, &length)) rows[rank++] = one;
    x = sinter_build_reshape_dims(s->build, x, rows, rank);
    x = exchange(s, pad(s, x, rank, s->per_byte - length % s->per_byte));
    if (x) x = sinter_shard_slice(s->build, x, rank - 1, 0, length);
    return x ? sinter_build_reshape_dims(s->build, x, result->dims, result->rank) : 0;
}

sinter_value sinter_shard_send_bytes(sinter_builder *builder, sinter_node node) {
    sender s = {.build = builder,
                .module = builder->module,
                .dims = sinter_module_dims(builder->module),
                .node = node,
                .op = sinter_node_op(builder->module, node)};
    sinter_value x = sinter_node_operand(s.module, node, 0);
    const sinter_dtype dtype = sinter_value_type(s.module, x)->dtype;
    const uint32_t bits = sinter_dtype_infos[dtype].bits;
    if (!bits || bits >= 8) return 0;
    s.per_byte = 8 / bits;
    if (sinter_op_adds(s.op)) return add_bytes(&s, x);
    return s.op == SINTER_OP_shard_window ? 0 : move_bytes(&s, x);
}
