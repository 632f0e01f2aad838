/* The choice of a setting for each layer along the front of what is gained (bytes, seconds) and lost, where gains and losses of
 * layers add up: the Lagrangian relaxation of a knapsack. Numbers alone, without models. Test: tests/unit/budget_test.c */
#pragma once
#include "ir/base/arena.h"
#include <stdint.h>

typedef enum sinter_front_state {
    SINTER_FRONT_UNKNOWN,   /* not measured yet */
    SINTER_FRONT_ESTIMATED, /* from what the layer and the setting do elsewhere */
    SINTER_FRONT_MEASURED,
    SINTER_FRONT_REFUSED /* the layer can't have the setting */
} sinter_front_state;

/* What one layer with one setting, all others as they are, gains and loses. */
typedef struct sinter_front_point {
    sinter_front_state state;
    double gain, loss;
} sinter_front_point;

/* points[layer * settings + setting] */
typedef struct sinter_front_table {
    sinter_front_point *points;
    size_t layers, settings;
} sinter_front_table;

enum { SINTER_FRONT_AS_IT_IS = -1 }; /* the setting of a layer that has none: gains and loses nothing */

/* Fills in what is unknown: as the product of what the layer and the setting have in common with others that are measured.
 * What nothing is known of stays unknown. */
void sinter_front_estimate(sinter_front_table *table);

typedef struct sinter_front_move {
    size_t layer;
    int32_t setting;   /* the layer gets */
    double gain, loss; /* more than before */
} sinter_front_move;

/* The moves from the choices (one a layer) along the convex front: of all that gain, those that lose least for it first; what a
 * layer does later supposes what it did before. The list is in the arena. */
size_t sinter_front_moves(const sinter_front_table *table, const int32_t *choices, sinter_arena *arena,
                          sinter_front_move **out_moves);
/* Sums over the layers. */
void sinter_front_sum(const sinter_front_table *table, const int32_t *choices, double *out_gain, double *out_loss);
