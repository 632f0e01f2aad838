/* Append nodes with inferred types, or report why not. Test: tests/unit/graph_test.c */
#pragma once
#include "ir/graph.h"

typedef struct sinter_builder {
    sinter_module *module;
    sinter_region region;
    sinter_node before;   /* insertion point; 0: end of region */
    const char *location; /* given to the nodes built */
    sinter_diag *diag;
} sinter_builder;

/* Returns the node, 0 after an error. Absent operands are 0. Checks arity and attributes against the schema and
 * infers result types. */
sinter_node sinter_build_node(sinter_builder *builder, const sinter_node_spec *spec);
/* The same for a node whose type is stated beforehand, one for each result: inference takes the words for what only the run
 * knows from there, instead of making new ones. */
sinter_node sinter_build_node_as(sinter_builder *builder, const sinter_node_spec *spec, const sinter_type *types);
/* One-result convenience: attributes are passed as an array. 0 after an error; an operand of 0 in operands[] is
 * absent. */
sinter_value sinter_build(sinter_builder *builder, sinter_op op, const sinter_value *operands, uint32_t operand_count,
                          const sinter_attr *attributes, uint32_t attribute_count);
sinter_value sinter_build_unary(sinter_builder *builder, sinter_op op, sinter_value x);
sinter_value sinter_build_binary(sinter_builder *builder, sinter_op op, sinter_value a, sinter_value b);
sinter_value sinter_build_constant(sinter_builder *builder, sinter_tensor tensor); /* takes the tensor */
sinter_value sinter_build_ints(sinter_builder *builder, const int64_t *items, size_t count); /* i64[count] */
sinter_value sinter_build_int(sinter_builder *builder, int64_t value);                       /* i64[] */
/* A scalar of the dtype, converted from double. */
sinter_value sinter_build_scalar(sinter_builder *builder, sinter_dtype dtype, double value);
sinter_value sinter_build_cast(sinter_builder *builder, sinter_value x, sinter_dtype dtype); /* x itself where equal */
/* dims as they are: 0 is an empty dim, one -1 is what is left. */
sinter_value sinter_build_reshape(sinter_builder *builder, sinter_value x, const int64_t *dims, size_t count);
/* The same to dims that may be symbols, of which a run may have none. */
sinter_value sinter_build_reshape_dims(sinter_builder *builder, sinter_value x, const sinter_dim *dims, size_t count);
sinter_value sinter_build_transpose(sinter_builder *builder, sinter_value x, const int64_t *perm, size_t count);
/* i64[count] whose elements are dims: a constant, or op dim_vector where one is symbolic. */
sinter_value sinter_build_dims(sinter_builder *builder, const sinter_dim *items, size_t count);

/* x in 8 bits, each block of `block` elements along the last axis, which a multiple of that is, with a scale of its own: its
 * largest magnitude / 127. *out_scales has an element a block. A block of zeros, or with a number that is not finite, is zeros;
 * the scale of the latter is not finite either. False after an error. */
bool sinter_build_quantize_blocks(sinter_builder *builder, sinter_value x, int64_t block, sinter_value *out_items,
                                  sinter_value *out_scales);
/* The numbers that these stand for. */
sinter_value sinter_build_dequantize_blocks(sinter_builder *builder, sinter_value items, sinter_value scales, int64_t block);
