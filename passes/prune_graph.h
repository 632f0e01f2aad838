/* What of a model can only be removed together: dependency groups (Fang et al., "DepGraph", arXiv 2301.12900), derived from the
 * axes of the nodes (ir/axes.h). A *unit* is a set of indices, of axes of values and constants, that go or stay as one: a channel
 * of a layer with its weights and bias, the weights that read it in the next layer, and what lies between. A *group* is the units
 * that share layers: all channels of a residual stream. Test: tests/passes/prune_channels/, tests/unit/prune_test.c */
#pragma once
#include "ir/axes.h"
#include "passes/layer.h"

enum { SINTER_PRUNE_NO_UNIT = -1 };

/* An axis of a value or of a constant where it is read: constants are cut by use. */
typedef struct sinter_prune_axis {
    int64_t size;
    size_t first; /* of its indices among all */
} sinter_prune_axis;

/* A constant where it is read by a node. */
typedef struct sinter_prune_constant {
    sinter_node node;
    uint32_t operand;
    size_t axes; /* the first of its axes */
    const sinter_tensor *tensor;
    double products; /* multiply-adds of the node, where this is its weights; else 0 */
} sinter_prune_constant;

/* How many indices of an axis a unit has. */
typedef struct sinter_prune_part {
    size_t axis;
    int64_t count;
} sinter_prune_part;

typedef struct sinter_prune_graph {
    sinter_module *module;
    sinter_arena *arena;
    SINTER_VECTOR(sinter_prune_axis) axes;
    size_t *axes_of_value; /* by value: the first of its axes */
    size_t **axes_of_constant; /* by node, operand */
    SINTER_VECTOR(sinter_prune_constant) constants;
    int32_t *units; /* by index: the unit, or NO_UNIT for what stays */
    int32_t unit_count, group_count;
    int32_t *groups; /* by unit */
    bool *removed;   /* by unit */
    int64_t *left;   /* by axis: indices that are left */
    SINTER_VECTOR(sinter_prune_part) parts; /* of unit u: from first_part[u] to first_part[u + 1] */
    size_t *first_part;
} sinter_prune_graph;

/* layers: those that make what may go, recurrent ones too; may_prune: whether outputs of the layer may. Everything is in the arena. */
void sinter_prune_graph_init(sinter_prune_graph *graph, sinter_module *module, sinter_arena *arena,
                             bool (*may_prune)(void *user, const sinter_layer *layer), void *user,
                             const sinter_layer_list *layers);
/* Which of the axes that of an operand or result is. */
size_t sinter_prune_axis_index(const sinter_prune_graph *graph, sinter_node node, bool is_result, uint32_t index,
                               uint32_t axis);
/* Whether every axis keeps an index without the unit. */
bool sinter_prune_can_remove(const sinter_prune_graph *graph, int32_t unit);
void sinter_prune_remove(sinter_prune_graph *graph, int32_t unit);
/* Multiply-adds that are left, and those that go with each unit as things are (out_saved: by unit). */
double sinter_prune_products(const sinter_prune_graph *graph, double *out_saved);
/* Changes the module: what was removed is gone. False after an error. */
bool sinter_prune_apply(const sinter_prune_graph *graph, sinter_rewrite *rewrite);
