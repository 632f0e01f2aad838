/* Choices within a limit: prices of what is held, by subgradient steps (Held, Wolfe, Crowder: Validation of Subgradient Optimization,
 * 1974; steps after Polyak), then prices between the last that did not suffice and those that did, then nodes are changed one by one
 * as long as that helps and fits. Test: tests/unit/choice_limit_test.c */
#include "passes/choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bounds on time, each with where it stops to matter. */
enum {
    RISES = 12, /* of prices by RISE: from a thousandth of the cost for the limit to 16,777 of it */
    HALVINGS = 8, /* between two prices: to 1/256 of the distance */
    SWEEPS = 8    /* over nodes; they end where one changes nothing */
};
static const double RISE = 4;
static const double FIRST_PRICE = 1e-3; /* of the cost, for as much as the limit allows */
/* Of Polyak's steps: how far above its bound the best is taken to be while no choices fit, and what is left of a step that did not
 * raise the bound. Neither is derived: the figures of docs/plan.md are with these. */
static const double FIRST_GAP = 0.05, SHORTER = 0.9;

typedef struct neighbour {
    uint32_t edge, other;
} neighbour;

typedef struct bounded {
    const sinter_choice_problem *problem;
    const sinter_choice_limit *limit;
    sinter_arena arena;
    sinter_choice_problem priced;
    double **costs;      /* by node: of the priced problem */
    uint32_t *from, *to; /* by node: of the times that count */
    size_t time_count;
    double *held, *prices, *sums; /* by time; sums of prices before it */
    uint32_t *choices, *best;
    sinter_choice_result found;
    uint64_t max_combinations;
    uint32_t *first; /* by node: of its neighbours */
    neighbour *neighbours;
} bounded;

/* ---- times ---- */

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* How many of the times are before this one. */
static uint32_t count_before(const int64_t *times, size_t count, int64_t time) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (times[middle] < time)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* Only when a node begins can more be held than before. */
static void find_times(bounded *b) {
    size_t nodes = b->problem->nodes.count, count = 0;
    int64_t *times = SINTER_NEW_ARRAY(&b->arena, int64_t, nodes + 1);
    for (size_t i = 0; i < nodes; i++) times[i] = b->limit->nodes.items[i].begin;
    if (nodes) qsort(times, nodes, sizeof *times, ascending);
    for (size_t i = 0; i < nodes; i++)
        if (!count || times[count - 1] != times[i]) times[count++] = times[i];
    b->time_count = count;
    b->from = SINTER_NEW_ARRAY(&b->arena, uint32_t, nodes + 1);
    b->to = SINTER_NEW_ARRAY(&b->arena, uint32_t, nodes + 1);
    for (size_t i = 0; i < nodes; i++) {
        const sinter_choice_holding *one = &b->limit->nodes.items[i];
        b->from[i] = count_before(times, count, one->begin);
        b->to[i] = one->end > one->begin ? count_before(times, count, one->end) : b->from[i];
    }
}

static double held_by(const bounded *b, size_t node, uint32_t option) {
    return b->limit->nodes.items[node].held[option];
}

/* By time; returns the most. */
static double count_held(bounded *b) {
    double most = 0, now = 0;
    memset(b->held, 0, (b->time_count + 1) * sizeof *b->held);
    for (size_t i = 0; i < b->problem->nodes.count; i++) {
        double own = held_by(b, i, b->choices[i]);
        b->held[b->from[i]] += own;
        b->held[b->to[i]] -= own;
    }
    for (size_t t = 0; t < b->time_count; t++) {
        now += b->held[t];
        b->held[t] = now;
        most = fmax(most, now);
    }
    return most;
}

/* ---- one round ---- */

static bool is_better(const sinter_choice_result *a, const sinter_choice_result *b) {
    if (a->fits != b->fits) return a->fits;
    return a->fits ? a->cost < b->cost : a->held < b->held;
}

static void keep(bounded *b, double held, bool is_exact) {
    sinter_choice_result now = {.cost = sinter_choice_cost(b->problem, b->choices),
                                .bound = b->found.bound,
                                .held = held,
                                .fits = held <= b->limit->most,
                                .is_exact = is_exact};
    if (!is_better(&now, &b->found)) return;
    b->found = now;
    memcpy(b->best, b->choices, b->problem->nodes.count * sizeof *b->best);
}

/* Solves with these prices and keeps what is best; returns the bound that follows, which is one where the solution is exact. */
static double solve_round(bounded *b) {
    double all = 0;
    bool is_exact = false, is_free = true;
    for (size_t t = 0; t < b->time_count; t++) {
        b->sums[t] = all;
        all += b->prices[t];
        is_free &= b->prices[t] <= 0;
    }
    b->sums[b->time_count] = all;
    for (size_t i = 0; i < b->problem->nodes.count; i++) {
        const sinter_choice_node *node = &b->problem->nodes.items[i];
        double price = b->sums[b->to[i]] - b->sums[b->from[i]];
        for (uint32_t o = 0; o < node->option_count; o++)
            b->costs[i][o] = node->costs[o] + price * held_by(b, i, o);
    }
    double sum = sinter_choice_solve(&b->priced, b->max_combinations, b->choices, &is_exact);
    keep(b, count_held(b), is_exact && is_free);
    double bound = all > 0 ? sum - all * b->limit->most : sum; /* a limit may be infinite */
    if (is_exact) b->found.bound = fmax(b->found.bound, bound);
    return bound;
}

/* Against what is held above the limit, as far as the sum is believed to be above the bound. */
static void step(bounded *b, double bound, double share) {
    double squares = 0;
    double target = b->found.fits ? b->found.cost : bound + FIRST_GAP * fabs(bound);
    for (size_t t = 0; t < b->time_count; t++) {
        double above = b->held[t] - b->limit->most;
        if (above > 0 || b->prices[t] > 0) squares += above * above;
    }
    double size = squares > 0 && target > bound ? share * (target - bound) / squares : 0;
    for (size_t t = 0; t < b->time_count; t++)
        b->prices[t] = fmax(0, b->prices[t] + size * (b->held[t] - b->limit->most));
}

/* ---- prices that suffice ---- */

/* And makes some where the limit is not kept and there are none. */
static void raise_prices(bounded *b, double first) {
    for (size_t t = 0; t < b->time_count; t++) {
        b->prices[t] *= RISE;
        if (b->held[t] > b->limit->most) b->prices[t] = fmax(b->prices[t], first);
    }
}

/* Prices rise until choices fit or do no more; then halfway back, again and again. */
static void find_sufficient(bounded *b) {
    size_t bytes = b->time_count * sizeof(double);
    double *low = SINTER_NEW_ARRAY(&b->arena, double, b->time_count),
           *high = SINTER_NEW_ARRAY(&b->arena, double, b->time_count);
    double first = FIRST_PRICE * (fabs(b->found.cost) + 1e-12) / (b->limit->most + 1);
    bool fits = false;
    for (int i = 0; i < RISES && !fits; i++) {
        memcpy(low, b->prices, bytes);
        raise_prices(b, first);
        solve_round(b);
        fits = count_held(b) <= b->limit->most;
        first *= RISE;
    }
    memcpy(high, b->prices, bytes);
    for (int i = 0; fits && i < HALVINGS; i++) {
        for (size_t t = 0; t < b->time_count; t++) b->prices[t] = (low[t] + high[t]) / 2;
        solve_round(b);
        memcpy(count_held(b) <= b->limit->most ? high : low, b->prices, bytes);
    }
}

/* ---- node by node ---- */

static void find_neighbours(bounded *b) {
    size_t nodes = b->problem->nodes.count, edges = b->problem->edges.count;
    b->first = SINTER_NEW_ARRAY(&b->arena, uint32_t, nodes + 2);
    b->neighbours = SINTER_NEW_ARRAY(&b->arena, neighbour, 2 * edges + 1);
    for (size_t i = 0; i < edges; i++) {
        b->first[b->problem->edges.items[i].a + 2]++;
        b->first[b->problem->edges.items[i].b + 2]++;
    }
    for (size_t i = 2; i < nodes + 2; i++) b->first[i] += b->first[i - 1];
    for (uint32_t i = 0; i < edges; i++) {
        const sinter_choice_edge *edge = &b->problem->edges.items[i];
        b->neighbours[b->first[edge->a + 1]++] = (neighbour){i, edge->b};
        b->neighbours[b->first[edge->b + 1]++] = (neighbour){i, edge->a};
    }
}

static double cost_of(const bounded *b, uint32_t node, uint32_t option) {
    double cost = b->problem->nodes.items[node].costs[option];
    for (uint32_t i = b->first[node]; i < b->first[node + 1]; i++) {
        const sinter_choice_edge *edge = &b->problem->edges.items[b->neighbours[i].edge];
        uint32_t other = b->choices[b->neighbours[i].other],
                 width = b->problem->nodes.items[edge->b].option_count;
        cost += edge->costs[edge->a == node ? (size_t)option * width + other
                                            : (size_t)other * width + option];
    }
    return cost;
}

static bool would_fit(const bounded *b, uint32_t node, double more) {
    for (uint32_t t = b->from[node]; more > 0 && t < b->to[node]; t++)
        if (b->held[t] + more > b->limit->most) return false;
    return true;
}

static bool change_node(bounded *b, uint32_t node) {
    uint32_t now = b->choices[node], best = now;
    double least = cost_of(b, node, now);
    for (uint32_t option = 0; option < b->problem->nodes.items[node].option_count; option++) {
        double cost = option == now ? least : cost_of(b, node, option);
        if (!(cost < least)) continue;
        if (!would_fit(b, node, held_by(b, node, option) - held_by(b, node, now))) continue;
        least = cost;
        best = option;
    }
    double more = held_by(b, node, best) - held_by(b, node, now);
    for (uint32_t t = b->from[node]; best != now && t < b->to[node]; t++) b->held[t] += more;
    b->choices[node] = best;
    return best != now;
}

static void improve(bounded *b) {
    bool changed = true;
    memcpy(b->choices, b->best, b->problem->nodes.count * sizeof *b->choices);
    count_held(b);
    find_neighbours(b);
    for (int sweep = 0; changed && sweep < SWEEPS; sweep++) {
        changed = false;
        for (uint32_t node = 0; node < b->problem->nodes.count; node++)
            changed |= change_node(b, node);
    }
    keep(b, count_held(b), false);
}

static void prepare(bounded *b) {
    size_t nodes = b->problem->nodes.count;
    find_times(b);
    b->held = SINTER_NEW_ARRAY(&b->arena, double, b->time_count + 1);
    b->prices = SINTER_NEW_ARRAY(&b->arena, double, b->time_count + 1);
    b->sums = SINTER_NEW_ARRAY(&b->arena, double, b->time_count + 1);
    b->choices = SINTER_NEW_ARRAY(&b->arena, uint32_t, nodes + 1);
    b->costs = SINTER_NEW_ARRAY(&b->arena, double *, nodes + 1);
    for (size_t i = 0; i < nodes; i++) {
        sinter_choice_node node = b->problem->nodes.items[i];
        b->costs[i] = SINTER_NEW_ARRAY(&b->arena, double, node.option_count);
        node.costs = b->costs[i];
        sinter_vector_push(&b->arena, &b->priced.nodes, node);
    }
    for (size_t i = 0; i < b->problem->edges.count; i++)
        sinter_vector_push(&b->arena, &b->priced.edges, b->problem->edges.items[i]);
}

sinter_choice_result sinter_choice_solve_within(const sinter_choice_problem *problem,
                                                const sinter_choice_limit *limit,
                                                uint64_t max_combinations, uint32_t rounds,
                                                uint32_t *out_choices) {
    bounded b = {.problem = problem,
                 .limit = limit,
                 .max_combinations = max_combinations,
                 .best = out_choices,
                 .found = {.cost = INFINITY, .bound = -INFINITY, .held = INFINITY}};
    sinter_arena_init(&b.arena);
    prepare(&b);
    double bound = solve_round(&b), share = 1, highest = bound;
    if (!b.found.fits) {
        for (uint32_t i = 1; i < rounds && isfinite(bound); i++) {
            step(&b, bound, share);
            bound = solve_round(&b);
            share = bound > highest ? share : SHORTER * share;
            highest = fmax(highest, bound);
        }
        if (!b.found.fits) find_sufficient(&b);
        if (b.found.fits) improve(&b);
    }
    sinter_arena_deinit(&b.arena);
    b.found.is_exact |= b.found.fits && b.found.cost <= b.found.bound;
    return b.found;
}
