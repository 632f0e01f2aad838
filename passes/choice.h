/* The least sum of costs of choices: each node takes one of its options, which costs something, and so does each pair of options
 * of two nodes that share an edge. What choosing shardings of a graph comes down to.
 *
 * Nodes are eliminated one by one, those first whose neighbours have the fewest combinations (Bertelè, Brioschi: Nonserial Dynamic
 * Programming, 1972): exact, and fast where the graph is a chain with short detours, as networks are. A node with too many
 * combinations around it takes the option that looks best from there; then the answer is improved node by node, and is
 * not known to be the best.
 *
 * With a limit on what options hold at a time, such as memory, what is held gets a price by the time, by which the sum with prices is
 * least where the limit is kept (Lagrangian relaxation; Fisher 1981). That also says how much better no choices can be.
 * Test: tests/unit/choice_test.c, tests/unit/choice_limit_test.c */
#pragma once
#include "ir/base/vector.h"
#include <stdbool.h>

typedef struct sinter_choice_node {
    uint32_t option_count; /* at least 1 */
    const double *costs;   /* by option; INFINITY: not allowed */
} sinter_choice_node;

typedef struct sinter_choice_edge {
    uint32_t a, b;       /* two different nodes; there may be several edges between them */
    const double *costs; /* [option of a][option of b] */
} sinter_choice_edge;

typedef struct sinter_choice_problem {
    SINTER_VECTOR(sinter_choice_node) nodes;
    SINTER_VECTOR(sinter_choice_edge) edges;
} sinter_choice_problem;

/* The sum for these choices. */
double sinter_choice_cost(const sinter_choice_problem *problem, const uint32_t *choices);
/* An option for each node; returns their sum. max_combinations bounds the work and memory of one elimination, at least 1. */
double sinter_choice_solve(const sinter_choice_problem *problem, uint64_t max_combinations, uint32_t *out_choices,
                           bool *out_is_exact);

/* What a node's options hold while it is alive. */
typedef struct sinter_choice_holding {
    int64_t begin, end; /* alive at begin <= time < end; empty: never */
    const double *held; /* by option, at least 0 */
} sinter_choice_holding;

/* What all of them may hold together at any time. */
typedef struct sinter_choice_limit {
    SINTER_VECTOR(sinter_choice_holding) nodes; /* those of the problem */
    double most;
} sinter_choice_limit;

typedef struct sinter_choice_result {
    double cost;   /* the sum of the choices */
    double bound;  /* none within the limit cost less; -INFINITY: not known */
    double held;   /* at most at a time */
    bool fits;     /* into the limit */
    bool is_exact; /* the least sum of all that fit */
} sinter_choice_result;

/* An option for each node so that the limit is kept; where none were found that do, those that hold the least at their worst time.
 * rounds: of looking for prices, each of which solves the problem once; at least 1. */
sinter_choice_result sinter_choice_solve_within(const sinter_choice_problem *problem, const sinter_choice_limit *limit,
                                                uint64_t max_combinations, uint32_t rounds, uint32_t *out_choices);
