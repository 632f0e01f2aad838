/* Recurrent layers in two: products of all inputs with their weights, and a layer that is given them. What shard-auto does where ranks
 * are to share the products alone. Test: tests/passes/split_projections/ */
#pragma once
#include "ir/rewrite.h"

/* Whether it is a layer that has weights of its inputs, of which no sharding is said: that would be for its units. */
bool sinter_projection_is_in(const sinter_module *module, sinter_node node);
/* The node, by the rewrite, in two; returns the products. 0 after an error. Weights that are constant stay so. */
sinter_value sinter_projection_split(sinter_rewrite *rewrite, sinter_node node);
