/* The layers of a model, as compression sees them: a convolution or matrix product whose weights are a constant of floats, seen as
 * a matrix of outputs by steps of the reduction. A layer is called as the node was in the file that it came from, or by its
 * result. Test: tests/unit/layer_test.c */
#pragma once
#include "ir/graph.h"

typedef struct sinter_layer {
    const char *name; /* unique in the module; in the arena of the list */
    sinter_node node;
    sinter_value input, output;   /* operand 0 and result 0 of the node */
    uint32_t operand;             /* which one the weights are */
    const sinter_tensor *weights; /* f32, the module's */
    int64_t outputs, reduction;   /* the matrix; each output sums `reduction` products */
    int64_t groups;               /* outputs in as many groups read different channels */
    int64_t inner;                /* steps that lie together in memory: see sinter_layer_index */
    uint32_t output_axis;         /* of the weights */
    uint32_t input_axis;          /* of the weights: channels of the group */
} sinter_layer;

/* Whether the node is one; its name is not set. */
bool sinter_layer_describe(const sinter_module *module, sinter_node node, sinter_layer *out_layer);
/* Those of the main region in its order, named. */
typedef SINTER_VECTOR(sinter_layer) sinter_layer_list;
sinter_layer_list sinter_layer_find_all(sinter_module *module, sinter_arena *arena);
/* The same and, in the order of nodes, recurrent ones: a layer for the weights of what is read and one for those of the state, both called
 * as the node is. Their outputs are rows of gates, and what the second reads is result 0; of both directions the rows follow each
 * other, and what they read is not one matrix. */
sinter_layer_list sinter_layer_find_with_recurrent(sinter_module *module, sinter_arena *arena);
/* Whether the layer is one of those of a recurrent node. */
bool sinter_layer_is_recurrent(const sinter_module *module, const sinter_layer *layer);
/* Where weight (output, step) is in the tensor. Steps go through the channels of the group, and for each through the window. */
static inline int64_t sinter_layer_index(const sinter_layer *layer, int64_t output, int64_t step) {
    return (step / layer->inner * layer->outputs + output) * layer->inner + step % layer->inner;
}
/* The weights as [outputs][reduction]. */
void sinter_layer_read_matrix(const sinter_layer *layer, float *out_matrix);

/* A node that takes rows of a constant, as embeddings do: gather(items, indices) along axis 0. Named as layers are. */
typedef struct sinter_table {
    const char *name;
    sinter_node node;
    const sinter_tensor *items; /* f32[rows, ...], the module's, which nothing but such nodes reads */
} sinter_table;
typedef SINTER_VECTOR(sinter_table) sinter_table_list;
sinter_table_list sinter_table_find_all(sinter_module *module, sinter_arena *arena); /* of the main region */
