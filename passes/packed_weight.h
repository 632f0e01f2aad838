/* Weights of fewer than eight bits in products: what passes must agree about, so that they stay packed.
 * Test: tests/passes/fuse/weights_of_bits.sir, tests/passes/lower_precision/blocks.sir */
#pragma once
#include "ir/graph.h"

/* A constant matrix [k, n] of whole words along k, and its constant scales. */
typedef struct sinter_packed_weight {
    sinter_node dequantize, view; /* view: the transposition behind it; 0: none */
    int64_t block;                /* of consecutive k that share a scale; 0: not in blocks along k */
} sinter_packed_weight;
/* The second operand of the product, which nobody else reads; false where it is something else. */
bool sinter_find_packed_weight(const sinter_module *module, sinter_node product, sinter_packed_weight *out_weight);
