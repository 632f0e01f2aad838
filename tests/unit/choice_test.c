/* Choices: elimination finds the least sum that trying everything finds, on chains, trees, circles and random graphs; where it may
 * not combine much it still answers, and says that it does not know. */
#include "passes/choice.h"
#include "tests/unit/test.h"

#include <math.h>

enum { MOST_NODES = 9, MOST_OPTIONS = 4 };

typedef struct instance {
    sinter_arena arena;
    sinter_choice_problem problem;
    uint64_t state;
} instance;

static uint32_t draw(instance *i, uint32_t below) {
    i->state = i->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(i->state >> 33) % below;
}

static const double *costs(instance *i, size_t count) {
    double *items = SINTER_NEW_ARRAY(&i->arena, double, count);
    for (size_t k = 0; k < count; k++) items[k] = draw(i, 100);
    return items;
}

static void add_node(instance *i) {
    sinter_choice_node node = {.option_count = 1 + draw(i, MOST_OPTIONS)};
    node.costs = costs(i, node.option_count);
    sinter_vector_push(&i->arena, &i->problem.nodes, node);
}

static void add_edge(instance *i, uint32_t a, uint32_t b) {
    sinter_choice_edge edge = {a, b, NULL};
    edge.costs = costs(i, (size_t)i->problem.nodes.items[a].option_count *
                              i->problem.nodes.items[b].option_count);
    sinter_vector_push(&i->arena, &i->problem.edges, edge);
}

static double try_everything(const sinter_choice_problem *problem) {
    uint32_t choices[MOST_NODES] = {0};
    double best = INFINITY;
    for (;;) {
        best = fmin(best, sinter_choice_cost(problem, choices));
        size_t at = 0;
        while (at < problem->nodes.count && ++choices[at] == problem->nodes.items[at].option_count)
            choices[at++] = 0;
        if (at == problem->nodes.count) return best;
    }
}

static void test_choice__finds_the_least(void) {
    for (uint64_t seed = 0; seed < 300; seed++) {
        instance i = {.state = seed};
        sinter_arena_init(&i.arena);
        uint32_t count = 1 + draw(&i, MOST_NODES), choices[MOST_NODES];
        bool exact = false;
        for (uint32_t k = 0; k < count; k++) add_node(&i);
        for (uint32_t k = 1; k < count; k++) add_edge(&i, draw(&i, k), k);
        for (uint32_t k = draw(&i, 6); k && count > 1; k--) {
            uint32_t a = draw(&i, count), b = draw(&i, count);
            if (a != b) add_edge(&i, a, b);
        }
        double least = try_everything(&i.problem);
        double found = sinter_choice_solve(&i.problem, 1 << 20, choices, &exact);
        CHECK(exact);
        CHECK_DOUBLE_EQ(found, least);
        CHECK_DOUBLE_EQ(sinter_choice_cost(&i.problem, choices), found);
        sinter_arena_deinit(&i.arena);
    }
}

/* Without room to combine: an answer that no change of one node makes better. */
static void test_choice__answers_without_room(void) {
    for (uint64_t seed = 0; seed < 100; seed++) {
        instance i = {.state = seed};
        sinter_arena_init(&i.arena);
        uint32_t choices[MOST_NODES];
        bool exact = true, said = false;
        for (uint32_t k = 0; k < MOST_NODES; k++) add_node(&i);
        for (uint32_t a = 0; a < MOST_NODES; a++)
            for (uint32_t b = 0; b < a; b++) add_edge(&i, a, b);
        double found = sinter_choice_solve(&i.problem, 8, choices, &exact);
        for (uint32_t k = 0; k < MOST_NODES; k++) said |= i.problem.nodes.items[k].option_count > 1;
        CHECK(!said || !exact);
        CHECK(found >= try_everything(&i.problem));
        for (uint32_t k = 0; k < MOST_NODES; k++) {
            uint32_t before = choices[k];
            for (choices[k] = 0; choices[k] < i.problem.nodes.items[k].option_count; choices[k]++)
                CHECK(sinter_choice_cost(&i.problem, choices) >= found);
            choices[k] = before;
        }
        sinter_arena_deinit(&i.arena);
    }
}

static void test_choice__keeps_what_is_allowed(void) {
    static const double a[] = {INFINITY, 5}, b[] = {1, 2}, both[] = {0, 0, INFINITY, 1};
    instance i = {0};
    sinter_arena_init(&i.arena);
    sinter_choice_node nodes[] = {{2, a}, {2, b}};
    sinter_choice_edge edge = {0, 1, both};
    uint32_t choices[2];
    bool exact;
    sinter_vector_push(&i.arena, &i.problem.nodes, nodes[0]);
    sinter_vector_push(&i.arena, &i.problem.nodes, nodes[1]);
    sinter_vector_push(&i.arena, &i.problem.edges, edge);
    CHECK_DOUBLE_EQ(sinter_choice_solve(&i.problem, 100, choices, &exact), 8);
    CHECK_INT_EQ(choices[0], 1);
    CHECK_INT_EQ(choices[1], 1);
    sinter_arena_deinit(&i.arena);
}

int main(void) {
    test_choice__finds_the_least();
    test_choice__answers_without_room();
    test_choice__keeps_what_is_allowed();
    return test_finish();
}
