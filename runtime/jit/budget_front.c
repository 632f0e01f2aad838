/* Lower convex hulls, layer by layer, merged by slope. Test: tests/unit/budget_test.c */
#include "runtime/jit/budget_front.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const double least_loss = 1e-12; /* what logarithms take for none */

static sinter_front_point *at(const sinter_front_table *t, size_t layer, size_t setting) {
    return &t->points[layer * t->settings + setting];
}

/* ---- estimates ---- */

typedef enum quantity { GAIN, LOSS } quantity;

static double log_of(const sinter_front_point *p, quantity what) {
    double value = what == GAIN ? p->gain : p->loss;
    return log(value > least_loss ? value : least_loss);
}

static bool is_known(const sinter_front_point *p) {
    return p->state == SINTER_FRONT_MEASURED;
}

/* The mean over measured layers; NAN where there is none. */
static double mean_of_setting(const sinter_front_table *t, size_t setting, quantity what) {
    double sum = 0, count = 0;
    for (size_t layer = 0; layer < t->layers; layer++)
        if (is_known(at(t, layer, setting))) {
            sum += log_of(at(t, layer, setting), what);
            count++;
        }
    return count > 0 ? sum / count : NAN;
}

/* By how much the layer lies above the means of the settings that it was measured with; 0 where there are none. */
static double rise_of_layer(const sinter_front_table *t, size_t layer, const double *means,
                            quantity what) {
    double sum = 0, count = 0;
    for (size_t setting = 0; setting < t->settings; setting++)
        if (is_known(at(t, layer, setting))) {
            sum += log_of(at(t, layer, setting), what) - means[setting];
            count++;
        }
    return count > 0 ? sum / count : 0;
}

void sinter_front_estimate(sinter_front_table *table) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    double *gains = SINTER_NEW_ARRAY(&arena, double, table->settings + 1);
    double *losses = SINTER_NEW_ARRAY(&arena, double, table->settings + 1);
    for (size_t s = 0; s < table->settings; s++) {
        gains[s] = mean_of_setting(table, s, GAIN);
        losses[s] = mean_of_setting(table, s, LOSS);
    }
    for (size_t layer = 0; layer < table->layers; layer++) {
        double gain = rise_of_layer(table, layer, gains, GAIN);
        double loss = rise_of_layer(table, layer, losses, LOSS);
        for (size_t s = 0; s < table->settings; s++) {
            sinter_front_point *p = at(table, layer, s);
            if (p->state != SINTER_FRONT_UNKNOWN || isnan(gains[s])) continue;
            *p = (sinter_front_point){SINTER_FRONT_ESTIMATED, exp(gains[s] + gain),
                                      exp(losses[s] + loss)};
        }
    }
    sinter_arena_deinit(&arena);
}

/* ---- the front ---- */

static bool has_numbers(const sinter_front_point *p) {
    return p->state == SINTER_FRONT_MEASURED || p->state == SINTER_FRONT_ESTIMATED;
}

/* The setting that loses least for each unit that it gains beyond what the layer has; of equal ones that which gains most. */
static int32_t find_next(const sinter_front_table *t, size_t layer, double gain, double loss) {
    int32_t best = SINTER_FRONT_AS_IT_IS;
    double best_slope = 0, best_gain = 0;
    for (size_t s = 0; s < t->settings; s++) {
        const sinter_front_point *p = at(t, layer, s);
        if (!has_numbers(p) || !(p->gain > gain)) continue;
        double slope = (p->loss - loss) / (p->gain - gain);
        if (best >= 0 && (slope > best_slope || (slope == best_slope && p->gain <= best_gain)))
            continue;
        best = (int32_t)s;
        best_slope = slope;
        best_gain = p->gain;
    }
    return best;
}

static sinter_front_point chosen(const sinter_front_table *t, size_t layer, int32_t choice) {
    sinter_front_point none = {SINTER_FRONT_MEASURED, 0, 0};
    return choice < 0 ? none : *at(t, layer, (size_t)choice);
}

typedef struct ordered_move {
    sinter_front_move move;
    double slope; /* that of the move of the layer before it at least, whatever rounding says */
    size_t place;
} ordered_move;

static int compare_moves(const void *a, const void *b) {
    const ordered_move *x = a, *y = b;
    if (x->slope != y->slope) return x->slope < y->slope ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

size_t sinter_front_moves(const sinter_front_table *table, const int32_t *choices,
                          sinter_arena *arena, sinter_front_move **out_moves) {
    size_t count = 0, most = table->layers * table->settings;
    ordered_move *moves = SINTER_NEW_ARRAY(arena, ordered_move, most + 1);
    for (size_t layer = 0; layer < table->layers; layer++) {
        sinter_front_point now = chosen(table, layer, choices[layer]);
        double least = -INFINITY;
        int32_t next;
        while ((next = find_next(table, layer, now.gain, now.loss)) >= 0) {
            sinter_front_point then = chosen(table, layer, next);
            sinter_front_move move = {layer, next, then.gain - now.gain, then.loss - now.loss};
            least = fmax(least, move.loss / move.gain);
            moves[count] = (ordered_move){move, least, count};
            count++;
            now = then;
        }
    }
    qsort(moves, count, sizeof *moves, compare_moves);
    *out_moves = SINTER_NEW_ARRAY(arena, sinter_front_move, count + 1);
    for (size_t i = 0; i < count; i++) (*out_moves)[i] = moves[i].move;
    return count;
}

void sinter_front_sum(const sinter_front_table *table, const int32_t *choices, double *out_gain,
                      double *out_loss) {
    *out_gain = *out_loss = 0;
    for (size_t layer = 0; layer < table->layers; layer++) {
        sinter_front_point p = chosen(table, layer, choices[layer]);
        *out_gain += p.gain;
        *out_loss += p.loss;
    }
}
