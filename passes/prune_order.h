/* In which order units go. Without data by the size of their weights, every group alike; with data by what layers that read them
 * lose although their other weights make up for it: the structured form of optimal brain surgeon (Hassibi and Stork 1993), from
 * second moments of what each layer reads. Test: tests/passes/prune_channels/ */
#pragma once
#include "passes/compression.h"
#include "passes/prune_graph.h"

typedef struct sinter_prune_reader sinter_prune_reader;
typedef struct sinter_prune_order {
    sinter_prune_graph *graph;
    double *costs; /* by unit: of those that are left; of no meaning but their order */
    sinter_prune_reader *readers;
    size_t reader_count;
    sinter_arena *arena;
} sinter_prune_order;

/* A unit by what it costs; sorted by group, then cost. */
typedef struct sinter_prune_ranked {
    int32_t group, unit;
    double cost;
} sinter_prune_ranked;
void sinter_prune_rank(sinter_prune_ranked *units, size_t count);

/* By |w|, w^2 or at random: the share of its group that a unit leaves behind. */
void sinter_prune_order_by_weights(sinter_prune_order *order, sinter_prune_graph *graph, sinter_prune_score score,
                                   uint64_t seed, sinter_arena *arena);
/* By the squared error of the readers' outputs, each weighed by how much the model's outputs change with it. Needs data and
 * sinter_blas_begin. False after an error. */
bool sinter_prune_order_by_error(sinter_prune_order *order, sinter_prune_graph *graph, const sinter_layer_list *layers,
                                 const sinter_compression *compression, sinter_arena *arena, sinter_diag *diag);
/* A unit was removed: what is left makes up for it, and costs more from now on. */
void sinter_prune_order_update(sinter_prune_order *order, int32_t unit);
