/* Two layers of a graph, the second of which alone reads what the first yields, through a relu or a clip or nothing, solved together
 * (passes/solve_pair.h) for what the second ought to yield. Found by what reads what. Test: tests/passes/prune_channels/ */
#pragma once
#include "passes/layer_moments.h"
#include "passes/layer_target.h"

/* A layer and what it computes with now: its description may be of weights that it had before. */
typedef struct sinter_pair_member {
    const sinter_layer *layer;
    const sinter_layer_target *target;
    float *weights, *bias; /* [outputs, reduction], [outputs] */
} sinter_pair_member;

/* The first layer of a pair with layers[second], by its index; false where that is in none. targets: by layer. */
bool sinter_layer_pair_find(const sinter_module *module, const sinter_layer_list *layers, const sinter_layer_target *targets,
                            size_t second, size_t *out_first);
/* The bias of a layer as its target says, zeros where there is none. */
void sinter_layer_read_bias(const sinter_module *module, const sinter_layer *layer, const sinter_layer_target *target,
                            float *out_bias);
/* Makes weights and biases of a pair better, in place, over some of the samples, the same ones for the same shapes. first_inputs: what
 * the first layer reads, by run; view: of the second. False with an error where a number is not finite. */
bool sinter_layer_pair_fit(const sinter_module *module, const sinter_pair_member *first, const sinter_pair_member *second,
                           const sinter_tensor *first_inputs, const sinter_layer_view *view, sinter_diag *diag);
