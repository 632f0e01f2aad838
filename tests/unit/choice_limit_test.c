/* Choices within a limit, on problems of which the least sum is known another way: by trying everything where they are small, by going
 * up trees where there is no limit; what is found is never less than the bound, and what is said of it is true. The format of files. */
#include "passes/choice_file.h"
#include "tests/unit/test.h"

#include <math.h>

enum { MOST_NODES = 7, MOST_OPTIONS = 4, TREE = 2000 };

typedef struct instance {
    sinter_arena arena;
    sinter_choice_problem problem;
    sinter_choice_limit limit;
    uint64_t state;
} instance;

static uint32_t draw(instance *i, uint32_t below) {
    i->state = i->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(i->state >> 33) % below;
}

static const double *numbers(instance *i, size_t count, uint32_t below) {
    double *items = SINTER_NEW_ARRAY(&i->arena, double, count);
    for (size_t k = 0; k < count; k++) items[k] = draw(i, below);
    return items;
}

static void add_edge(instance *i, uint32_t a, uint32_t b) {
    const sinter_choice_edge edge = {a, b,
                                     numbers(i,
                                             (size_t)i->problem.nodes.items[a].option_count *
                                                 i->problem.nodes.items[b].option_count,
                                             100)};
    sinter_vector_push(&i->arena, &i->problem.edges, edge);
}

/* A tree, and some edges more. */
static void make(instance *i, uint64_t seed, uint32_t nodes, uint32_t more, double most) {
    *i = (instance){.state = seed, .limit.most = most};
    sinter_arena_init(&i->arena);
    for (uint32_t k = 0; k < nodes; k++) {
        uint32_t options = 1 + draw(i, MOST_OPTIONS);
        int64_t begin = draw(i, nodes);
        const sinter_choice_node node = {options, numbers(i, options, 100)};
        const sinter_choice_holding holding = {begin, begin + draw(i, nodes),
                                               numbers(i, options, 50)};
        sinter_vector_push(&i->arena, &i->problem.nodes, node);
        sinter_vector_push(&i->arena, &i->limit.nodes, holding);
        if (k) add_edge(i, draw(i, k), k);
    }
    for (; more && nodes > 1; more--) {
        uint32_t a = draw(i, nodes), b = draw(i, nodes);
        if (a != b) add_edge(i, a, b);
    }
}

static double held_at_most(const instance *i, const uint32_t *choices) {
    double most = 0;
    for (int64_t t = 0; t < 2 * TREE; t++) {
        double now = 0;
        for (size_t k = 0; k < i->problem.nodes.count; k++) {
            const sinter_choice_holding *one = &i->limit.nodes.items[k];
            if (one->begin <= t && t < one->end) now += one->held[choices[k]];
        }
        most = fmax(most, now);
        if (t > 2 * (int64_t)i->problem.nodes.count) break;
    }
    return most;
}

/* The least sum of what fits; INFINITY: nothing does. */
static double try_everything(const instance *i) {
    uint32_t choices[MOST_NODES] = {0};
    double best = INFINITY;
    for (;;) {
        double cost = sinter_choice_cost(&i->problem, choices);
        if (cost < best && held_at_most(i, choices) <= i->limit.most) best = cost;
        size_t at = 0;
        while (at < i->problem.nodes.count &&
               ++choices[at] == i->problem.nodes.items[at].option_count)
            choices[at++] = 0;
        if (at == i->problem.nodes.count) return best;
    }
}

static void test_choice_limit__small(void) {
    int possible = 0, found_some = 0, found_least = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        instance i;
        uint32_t choices[MOST_NODES];
        make(&i, seed, 2 + (uint32_t)seed % (MOST_NODES - 1), (uint32_t)seed % 4,
             20 + (double)(seed % 7) * 12);
        double least = try_everything(&i);
        sinter_choice_result found =
            sinter_choice_solve_within(&i.problem, &i.limit, 1 << 20, 60, choices);
        CHECK_DOUBLE_EQ(found.cost, sinter_choice_cost(&i.problem, choices));
        CHECK_DOUBLE_EQ(found.held, held_at_most(&i, choices));
        CHECK(found.fits == (found.held <= i.limit.most));
        CHECK(!found.fits || found.cost >= least);
        CHECK(!found.fits || !found.is_exact || found.cost <= least);
        CHECK(found.bound <= least + 1e-9 * fabs(least));
        possible += isfinite(least);
        found_some += found.fits;
        found_least += found.fits && found.cost <= least;
        sinter_arena_deinit(&i.arena);
    }
    printf("%d of 300 problems can be solved: %d were, %d of them at the least cost\n", possible,
           found_some, found_least);
    CHECK(possible > 150 && possible < 300);
    CHECK(found_some >= possible * 95 / 100);
    CHECK(found_least >= possible * 70 / 100);
}

/* From the leaves up; the parent of a node has a smaller number. */
static double up_the_tree(instance *i) {
    double *best = SINTER_NEW_ARRAY(&i->arena, double, i->problem.nodes.count *MOST_OPTIONS);
    double least = INFINITY;
    for (size_t k = 0; k < i->problem.nodes.count; k++)
        for (uint32_t o = 0; o < i->problem.nodes.items[k].option_count; o++)
            best[k * MOST_OPTIONS + o] = i->problem.nodes.items[k].costs[o];
    for (size_t e = i->problem.edges.count; e-- > 0;) { /* edge e leads to node e + 1 */
        const sinter_choice_edge *edge = &i->problem.edges.items[e];
        uint32_t width = i->problem.nodes.items[edge->b].option_count;
        for (uint32_t o = 0; o < i->problem.nodes.items[edge->a].option_count; o++) {
            double below = INFINITY;
            for (uint32_t p = 0; p < width; p++)
                below = fmin(below,
                             edge->costs[(size_t)o * width + p] + best[edge->b * MOST_OPTIONS + p]);
            best[edge->a * MOST_OPTIONS + o] += below;
        }
    }
    for (uint32_t o = 0; o < i->problem.nodes.items[0].option_count; o++)
        least = fmin(least, best[o]);
    return least;
}

static void test_choice_limit__trees(void) {
    for (uint64_t seed = 0; seed < 5; seed++) {
        instance i;
        static uint32_t choices[TREE];
        make(&i, seed, TREE, 0, INFINITY);
        double least = up_the_tree(&i);
        sinter_choice_result free =
            sinter_choice_solve_within(&i.problem, &i.limit, 1 << 12, 10, choices);
        CHECK(free.is_exact && free.fits);
        CHECK_DOUBLE_EQ(free.cost, least);
        CHECK_DOUBLE_EQ(free.bound, least);
        i.limit.most = 0.9 * free.held;
        sinter_choice_result bounded =
            sinter_choice_solve_within(&i.problem, &i.limit, 1 << 12, 60, choices);
        CHECK(bounded.fits && bounded.cost >= least && bounded.bound >= least);
        CHECK(bounded.cost <= 1.01 * bounded.bound);
        sinter_arena_deinit(&i.arena);
    }
}

/* ---- files ---- */

static bool parse(const char *text, instance *out, sinter_text *said) {
    sinter_diag diag = {.handler = sinter_diag_text_handler, .user = said};
    *out = (instance){0};
    sinter_arena_init(&out->arena);
    return sinter_choice_parse("problem.json", text, strlen(text), &out->arena, &out->problem,
                               &out->limit, &diag);
}

static void test_choice_limit__reads(void) {
    static const char text[] =
        "{\"problem\": {\"usage_limit\": 7, \"edges\": {\"nodes\": [[0, 1], [1]], \"costs\": [[0, "
        "9, 9, "
        "0], [3, 0]]},\n \"nodes\": {\"costs\": [[1, 2], [4, 8]], \"intervals\": [[0, 5], [4, 6]], "
        "\"usages\": [[5, 3], [3, 2]]}, \"name\": \"two\"}}";
    instance i, again;
    sinter_text said = {0}, first = {0}, second = {0};
    uint32_t choices[2];
    if (CHECK(parse(text, &i, &said))) {
        sinter_choice_result found =
            sinter_choice_solve_within(&i.problem, &i.limit, 100, 20, choices);
        /* both the first: 1 + 4 + 3 do not fit; both the second: 2 + 8 */
        CHECK(found.fits);
        CHECK_DOUBLE_EQ(found.cost, 10);
        CHECK_DOUBLE_EQ(found.held, 5);
        sinter_choice_print(&i.problem, &i.limit, &first);
        if (CHECK(parse(first.data, &again, &said))) {
            sinter_choice_print(&again.problem, &again.limit, &second);
            CHECK_STRING_EQ(first.data, second.data);
        }
        sinter_arena_deinit(&again.arena);
    }
    sinter_arena_deinit(&i.arena);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    sinter_text_deinit(&said);
}

static void refuse(const char *text, const char *message) {
    instance i;
    sinter_text said = {0};
    CHECK(!parse(text, &i, &said));
    if (!CHECK(said.data && strstr(said.data, message)))
        printf("  said %s\n", said.data ? said.data : "nothing");
    sinter_arena_deinit(&i.arena);
    sinter_text_deinit(&said);
}

#define NODES(intervals, costs, usages)                                                            \
 "{\"problem\": {\"nodes\": {\"intervals\": " intervals ", \"costs\": " costs                      \
 ", \"usages\": " usages "}"
#define TWO NODES("[[0, 1], [0, 1]]", "[[1, 2], [3]]", "[[1, 2], [3]]")

static void test_choice_limit__refuses(void) {
    refuse("", "expected '{'");
    refuse("{\"problem\": {}}", "there are no nodes");
    refuse("{\"problems\": {}}", "the key before this is none of problem");
    refuse("{\"problem\": {\"nodes\": {\"costs\": [[1], [2", "expected ','");
    refuse("{\"problem\": {\"nodes\": {\"costs\": [], \"costs\": []}}}", "twice");
    refuse("{\"problem\": {\"nodes\": {\"costs\": [[99999999999999999999]]}}}", "expected");
    refuse("{\"problem\": {\"nodes\": {\"costs\": [[4611686018427387905]]}}}", "beyond 2^62");
    refuse(NODES("[[0, 1]]", "[[4611686018427387904]]",
                 "[[1]]") ", \"edges\": {\"nodes\": [[0]], \"costs\": [[9999]]}}}",
           "beyond 2^62");
    refuse(NODES("[[0, 1]]", "[[1], [2]]", "[[1], [2]]") "}}", "expected as many intervals");
    refuse(NODES("[[0]]", "[[1]]", "[[1]]") "}}", "node 0: expected an interval");
    refuse(NODES("[[2, 1]]", "[[1]]", "[[1]]") "}}", "ends before it begins");
    refuse(NODES("[[0, 1]]", "[[]]", "[[]]") "}}", "node 0: it has no costs");
    refuse(NODES("[[0, 1]]", "[[1, 2]]", "[[1]]") "}}", "as many usages");
    refuse(NODES("[[0, 1]]", "[[1]]", "[[-1]]") "}}", "a usage is below 0");
    refuse(TWO ", \"usage_limit\": -1}}", "the usage_limit is below 0");
    refuse(TWO ", \"edges\": {\"nodes\": [[0, 1]]}}}", "1 edges have nodes, 0 have costs");
    refuse(TWO ", \"edges\": {\"nodes\": [[0, 2]], \"costs\": [[1, 2]]}}}", "no such node");
    refuse(TWO ", \"edges\": {\"nodes\": [[0, -1]], \"costs\": [[1, 2]]}}}", "no such node");
    refuse(TWO ", \"edges\": {\"nodes\": [[0, 1]], \"costs\": [[1]]}}}", "each combination");
    refuse(TWO ", \"edges\": {\"nodes\": [[1, 1]], \"costs\": [[1]]}}}", "with itself");
    refuse(TWO ", \"edges\": {\"nodes\": [[0, 1, 1]], \"costs\": [[1, 2]]}}}", "one node or two");
    refuse(TWO "}} x", "the end of the file");
}

int main(void) {
    test_choice_limit__small();
    test_choice_limit__trees();
    test_choice_limit__reads();
    test_choice_limit__refuses();
    return test_finish();
}
