/* The solver of shard-auto (passes/choice.h) on problems in the format of google/iopddl, beside a plain baseline: each node by itself its
 * cheapest option, then, sweep by sweep, the one that is cheapest beside its neighbours, where memory allows. Without files, problems are
 * made: trees, of which dynamic programming over the tree knows the least sum, another way than the solver goes; `make` prints one.
 *
 *     choices [--rounds=N] [--combinations=N] FILE.json...       choices make SEED NODES > FILE.json */
#include "ir/base/clock.h"
#include "ir/base/file.h"
#include "passes/choice_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run {
    uint64_t combinations;
    uint32_t rounds;
} run;

/* ---- the baseline ---- */

static double cost_beside(const sinter_choice_problem *problem, const uint32_t *first,
                          const uint32_t *edges, const uint32_t *choices, uint32_t node,
                          uint32_t option) {
    double cost = problem->nodes.items[node].costs[option];
    for (uint32_t i = first[node]; i < first[node + 1]; i++) {
        const sinter_choice_edge *edge = &problem->edges.items[edges[i]];
        uint32_t width = problem->nodes.items[edge->b].option_count;
        cost += edge->costs[edge->a == node ? (size_t)option * width + choices[edge->b]
                                            : (size_t)choices[edge->a] * width + option];
    }
    return cost;
}

/* Does not look at the limit: what it finds may not fit, which makes it only cheaper. */
static double greedy(const sinter_choice_problem *problem, sinter_arena *arena, uint32_t *choices) {
    enum { SWEEPS = 50 };
    size_t nodes = problem->nodes.count, count = problem->edges.count;
    uint32_t *first = SINTER_NEW_ARRAY(arena, uint32_t, nodes + 2),
             *edges = SINTER_NEW_ARRAY(arena, uint32_t, 2 * count + 1);
    for (size_t i = 0; i < count; i++) {
        first[problem->edges.items[i].a + 2]++;
        first[problem->edges.items[i].b + 2]++;
    }
    for (size_t i = 2; i < nodes + 2; i++) first[i] += first[i - 1];
    for (uint32_t i = 0; i < count; i++) {
        edges[first[problem->edges.items[i].a + 1]++] = i;
        edges[first[problem->edges.items[i].b + 1]++] = i;
    }
    bool changed = true;
    for (int sweep = -1; changed && sweep < SWEEPS; sweep++) {
        changed = sweep < 0;
        for (uint32_t node = 0; node < nodes; node++) {
            uint32_t best = choices[node];
            double least = INFINITY;
            for (uint32_t o = 0; o < problem->nodes.items[node].option_count; o++) {
                double cost = sweep < 0 ? problem->nodes.items[node].costs[o]
                                        : cost_beside(problem, first, edges, choices, node, o);
                if (cost < least || (cost <= least && o == choices[node])) {
                    least = cost;
                    best = o;
                }
            }
            changed |= best != choices[node];
            choices[node] = best;
        }
    }
    return sinter_choice_cost(problem, choices);
}

/* ---- a file ---- */

static bool solve_file(const char *path, const run *how, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_arena arena;
    sinter_choice_problem problem;
    sinter_choice_limit limit;
    sinter_arena_init(&arena);
    double begin = sinter_clock_seconds();
    bool good = sinter_file_read_text(path, &text, diag) &&
                sinter_choice_parse(path, text.data ? text.data : "", text.size, &arena, &problem,
                                    &limit, diag);
    if (good) {
        uint32_t *choices = SINTER_NEW_ARRAY(&arena, uint32_t, problem.nodes.count + 1);
        double plain = greedy(&problem, &arena, choices), read = sinter_clock_seconds();
        sinter_choice_result found =
            sinter_choice_solve_within(&problem, &limit, how->combinations, how->rounds, choices);
        double seconds = sinter_clock_seconds() - read;
        double gap = found.bound > 0 ? 100 * (found.cost / found.bound - 1) : NAN;
        printf("%-32s %7zu %7zu %16.0f %16.0f %7.2f%% %16.0f %6.1f%% %s%s %7.1f s (read %.1f s)\n",
               path, problem.nodes.count, problem.edges.count, found.cost, found.bound, gap, plain,
               isfinite(limit.most) ? 100 * found.held / limit.most : 0,
               found.fits ? "fits" : "DOES NOT FIT", found.is_exact ? ", the least" : "", seconds,
               read - begin);
        fflush(stdout);
    }
    sinter_text_deinit(&text);
    sinter_arena_deinit(&arena);
    return good;
}

/* ---- problems that are made ---- */

static uint32_t draw(uint64_t *state, uint32_t below) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33) % below;
}

static const double *draw_numbers(uint64_t *state, sinter_arena *arena, size_t count,
                                  uint32_t below) {
    double *numbers = SINTER_NEW_ARRAY(arena, double, count);
    for (size_t i = 0; i < count; i++) numbers[i] = draw(state, below);
    return numbers;
}

/* A tree: every node but the first has an edge to an earlier one. Of memory there is three quarters of what the middle takes. */
static void make(uint64_t seed, uint32_t nodes, sinter_arena *arena) {
    sinter_choice_problem problem = {0};
    sinter_choice_limit limit = {.most = 750.0 * nodes / 8};
    sinter_text text = {0};
    for (uint32_t i = 0; i < nodes; i++) {
        const sinter_choice_node node = {2 + draw(&seed, 7), NULL};
        sinter_vector_push(arena, &problem.nodes, node);
        problem.nodes.items[i].costs = draw_numbers(&seed, arena, node.option_count, 1000);
        int64_t begin = draw(&seed, nodes);
        const sinter_choice_holding holding = {begin, begin + 1 + draw(&seed, nodes / 4 + 1),
                                               draw_numbers(&seed, arena, node.option_count, 1000)};
        sinter_vector_push(arena, &limit.nodes, holding);
        if (!i) continue;
        uint32_t other = draw(&seed, i);
        const sinter_choice_edge edge = {
            other, i,
            draw_numbers(&seed, arena,
                         (size_t)problem.nodes.items[other].option_count * node.option_count,
                         2000)};
        sinter_vector_push(arena, &problem.edges, edge);
    }
    sinter_choice_print(&problem, &limit, &text);
    fwrite(text.data, 1, text.size, stdout);
    sinter_text_deinit(&text);
}

int main(int count, char **words) {
    run how = {.combinations = 1 << 16, .rounds = 60};
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stderr};
    if (count == 4 && !strcmp(words[1], "make")) {
        sinter_arena arena;
        sinter_arena_init(&arena);
        make(strtoull(words[2], NULL, 10), (uint32_t)strtoul(words[3], NULL, 10), &arena);
        sinter_arena_deinit(&arena);
        return 0;
    }
    bool good = count > 1;
    printf("%-32s %7s %7s %16s %16s %8s %16s %7s\n", "problem", "nodes", "edges", "found",
           "none below", "gap", "greedy", "memory");
    for (int i = 1; i < count; i++) {
        if (!strncmp(words[i], "--rounds=", 9))
            how.rounds = (uint32_t)strtoul(words[i] + 9, NULL, 10);
        else if (!strncmp(words[i], "--combinations=", 15))
            how.combinations = strtoull(words[i] + 15, NULL, 10);
        else
            good &= solve_file(words[i], &how, &diag);
    }
    return good ? 0 : 2;
}
