/* Where the outputs of a layer go: what ought to be right when its weights change, and where a bias is that can make up for a mean.
 * Where an output is added to something that has been computed elsewhere, the sum is what ought to be right.
 * Test: tests/passes/compress_weights/, tests/passes/prune_channels/ */
#pragma once
#include "ir/rewrite.h"
#include "passes/layer.h"

typedef struct sinter_layer_target {
    bool has_bias;     /* a constant that can be changed, or, of a convolution, added */
    sinter_node adder; /* that adds the bias; 0: the layer itself does */
    uint32_t adder_operand;
    sinter_value value; /* what ought to be right: the layer's output with its bias, or the sum it goes into */
    sinter_node sum;      /* that adds what has been computed elsewhere; 0: none */
    uint32_t sum_operand; /* that of it which is not the layer's */
    float low, high; /* all that read the value cut it to these, a relu at 0: further out it may be anything; infinite: they don't */
} sinter_layer_target;

void sinter_layer_find_target(const sinter_module *module, const sinter_layer *layer, sinter_arena *scratch,
                              sinter_layer_target *out_target);
/* A bias for the outputs in place of what there is; the layer may have lost outputs since its target was found. False after an
 * error. */
bool sinter_layer_write_bias(sinter_rewrite *rewrite, const sinter_layer *layer, const sinter_layer_target *target,
                             const float *bias);
