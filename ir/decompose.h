/* Decompositions: what a composite op means, as simpler ops. A rule builds the replacement before the node and gives the
 * values that replace its results. The op table names the ops (pattern COMPOSITE), decompose.def their rules.
 * Passes decide when: a target with something better for softmax keeps it whole. Test: tests/passes/decompose/ */
#pragma once
#include "ir/rewrite.h"

/* out_results has one place per result of the node; unused results may stay 0; all 0: the node stays as it is. False
 * after an error. */
typedef bool (*sinter_decompose_rule)(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results);
#define DECOMPOSE(op, rule) bool sinter_decompose_##rule(sinter_rewrite *, sinter_node, sinter_value *);
#include "ir/decompose.def"
#undef DECOMPOSE
/* NULL where the op has none. */
sinter_decompose_rule sinter_decompose_find(sinter_op op);
/* Replaces the node, unless its rule leaves it; false (with an error) where the rule can't. */
bool sinter_decompose_node(sinter_rewrite *rewrite, sinter_node node);

/* The attention is of the form that decompose leaves: rank 4, f32, numbers of heads and sizes known, scale given, at most a mask
 * that is added to scores of all keys, no result but y, enough queries. Lowering takes no other. */
bool sinter_decompose_leaves_attention(sinter_module *module, sinter_node node);

/* ---- short forms for rules: each appends one node before the root; 0 in gives 0 out ---- */
sinter_value sinter_compose_unary(sinter_rewrite *rewrite, sinter_op op, sinter_value x);
sinter_value sinter_compose_binary(sinter_rewrite *rewrite, sinter_op op, sinter_value a, sinter_value b);
/* b as a scalar of a's dtype */
sinter_value sinter_compose_with_number(sinter_rewrite *rewrite, sinter_op op, sinter_value a, double b);
/* Reduction over axes, dims kept or not. */
sinter_value sinter_compose_reduce(sinter_rewrite *rewrite, sinter_op op, sinter_value x, const int64_t *axes, size_t count,
                                   bool keep);
/* Over the axes from the first one on, dims kept. */
sinter_value sinter_compose_reduce_from(sinter_rewrite *rewrite, sinter_op op, sinter_value x, int64_t first_axis);
sinter_value sinter_compose_cast(sinter_rewrite *rewrite, sinter_value x, sinter_dtype dtype);
sinter_value sinter_compose_reshape(sinter_rewrite *rewrite, sinter_value x, const sinter_dim *dims, size_t count);
sinter_value sinter_compose_transpose(sinter_rewrite *rewrite, sinter_value x, const int64_t *perm, size_t count);
sinter_value sinter_compose_unsqueeze(sinter_rewrite *rewrite, sinter_value x, const int64_t *axes, size_t count);
sinter_value sinter_compose_select(sinter_rewrite *rewrite, sinter_value condition, sinter_value a, sinter_value b);
/* [start, end) of one axis. */
sinter_value sinter_compose_slice(sinter_rewrite *rewrite, sinter_value x, int64_t axis, sinter_value start, sinter_value end);
sinter_value sinter_compose_concat(sinter_rewrite *rewrite, const sinter_value *items, size_t count, int64_t axis);
/* rank-1 value of extent C viewed as [C, 1, ...] so that it broadcasts against axis 1 of a tensor of that rank. */
sinter_value sinter_compose_channel_view(sinter_rewrite *rewrite, sinter_value x, uint32_t rank);
sinter_value sinter_compose_operand(sinter_rewrite *rewrite, sinter_node node, uint32_t i);
/* The node's one result becomes the value, of the type that result had: same dims, in the same words. Nothing for 0. */
void sinter_compose_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value, const sinter_type *type);
const sinter_type *sinter_compose_type(sinter_rewrite *rewrite, sinter_value value);
