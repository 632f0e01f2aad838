/* Choices by elimination of nodes. A function is a cost for each combination of options of some nodes, its scope; eliminating
 * a node adds up the functions that know it and keeps, for each combination of the others, the least. Test: tests/unit/choice_test.c */
#include "passes/choice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of improvement, at most: a bound on time alone, as sweeps end where one changes nothing. */
enum { SWEEPS = 8 };

typedef struct function {
    uint32_t *scope; /* ascending */
    uint32_t count;
    const double *costs; /* the last node of the scope fastest */
    bool is_gone;
} function;
typedef SINTER_VECTOR(uint32_t) list;

typedef struct elimination {
    uint32_t node, count;
    uint32_t *scope;
    uint32_t *best; /* by combination of the scope */
} elimination;

/* Nodes by a key, the least first; a node whose key changes is pushed again, and what is out of date is passed over. */
typedef struct heap_item {
    uint64_t key;
    uint32_t node;
} heap_item;
typedef SINTER_VECTOR(heap_item) heap;

typedef struct solver {
    const sinter_choice_problem *problem;
    sinter_arena arena;
    SINTER_VECTOR(function) functions;
    SINTER_VECTOR(elimination) eliminated; /* in order */
    list *touching;                        /* by node: functions that know it */
    list *around;                          /* by node: those that it shares functions with */
    uint64_t *around_count;                /* by node: their combinations */
    bool *done;                            /* by node */
    heap fewest, crowd; /* of nodes: by combinations around them; by neighbours, the most first */
    uint32_t *choices;
} solver;

static uint32_t option_count(const solver *s, uint32_t node) {
    return s->problem->nodes.items[node].option_count;
}

static uint64_t combinations(const solver *s, const uint32_t *scope, size_t count) {
    uint64_t product = 1;
    for (size_t i = 0; i < count; i++)
        if (__builtin_mul_overflow(product, (uint64_t)option_count(s, scope[i]), &product))
            return UINT64_MAX;
    return product;
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* ---- a heap ---- */

static bool is_before(heap_item a, heap_item b) {
    return a.key != b.key ? a.key < b.key : a.node < b.node;
}

static void push(solver *s, heap *h, heap_item item) {
    size_t at = h->count;
    sinter_vector_push(&s->arena, h, item);
    for (; at && is_before(item, h->items[(at - 1) / 2]); at = (at - 1) / 2)
        h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = item;
}

static void pop(heap *h) {
    heap_item last = h->items[--h->count];
    size_t at = 0;
    for (size_t below = 1; below < h->count; below = 2 * at + 1) {
        below += below + 1 < h->count && is_before(h->items[below + 1], h->items[below]);
        if (!is_before(h->items[below], last)) break;
        h->items[at] = h->items[below];
        at = below;
    }
    h->items[at] = last;
}

/* ---- functions ---- */

static uint64_t crowd_key(const solver *s, uint32_t node) {
    return UINT32_MAX - s->around[node].count;
}

static bool holds(const list *found, uint32_t node) {
    for (size_t k = 0; k < found->count; k++)
        if (found->items[k] == node) return true;
    return false;
}

/* The node's neighbours, after functions came or went. */
static void find_around(solver *s, uint32_t node) {
    list *found = &s->around[node], *touching = &s->touching[node];
    size_t kept = 0;
    found->count = 0;
    for (size_t f = 0; f < touching->count; f++) {
        const function *one = &s->functions.items[touching->items[f]];
        if (one->is_gone) continue;
        touching->items[kept++] = touching->items[f];
        for (uint32_t i = 0; i < one->count; i++)
            if (one->scope[i] != node && !holds(found, one->scope[i]))
                sinter_vector_push(&s->arena, found, one->scope[i]);
    }
    touching->count = kept;
    if (found->count) qsort(found->items, found->count, sizeof *found->items, ascending);
    s->around_count[node] = combinations(s, found->items, found->count);
    push(s, &s->fewest, (heap_item){s->around_count[node], node});
    push(s, &s->crowd, (heap_item){crowd_key(s, node), node});
}

static void add_function(solver *s, uint32_t *scope, uint32_t count, const double *costs) {
    function added = {scope, count, costs, false};
    sinter_vector_push(&s->arena, &s->functions, added);
    for (uint32_t i = 0; i < count; i++)
        sinter_vector_push(&s->arena, &s->touching[scope[i]], (uint32_t)s->functions.count - 1);
}

static void add_edge(solver *s, const sinter_choice_edge *edge) {
    uint32_t na = option_count(s, edge->a), nb = option_count(s, edge->b);
    uint32_t *scope = SINTER_NEW_ARRAY(&s->arena, uint32_t, 2);
    scope[0] = edge->a < edge->b ? edge->a : edge->b;
    scope[1] = edge->a < edge->b ? edge->b : edge->a;
    if (edge->a < edge->b) {
        add_function(s, scope, 2, edge->costs);
        return;
    }
    double *turned = SINTER_NEW_ARRAY(&s->arena, double, (size_t)na *nb);
    for (uint32_t i = 0; i < na; i++)
        for (uint32_t k = 0; k < nb; k++)
            turned[(size_t)k * na + i] = edge->costs[(size_t)i * nb + k];
    add_function(s, scope, 2, turned);
}

/* The function's cost where nodes have taken these choices. */
static double cost_at(const solver *s, const function *f) {
    size_t index = 0;
    for (uint32_t i = 0; i < f->count; i++)
        index = index * option_count(s, f->scope[i]) + s->choices[f->scope[i]];
    return f->costs[index];
}

/* Costs that the node's option brings where its neighbours have taken theirs. */
static double cost_around(const solver *s, uint32_t node) {
    double total = 0;
    for (size_t i = 0; i < s->touching[node].count; i++) {
        const function *f = &s->functions.items[s->touching[node].items[i]];
        if (!f->is_gone) total += cost_at(s, f);
    }
    return total;
}

static uint32_t best_option(solver *s, uint32_t node, double *out_cost) {
    uint32_t best = 0;
    *out_cost = INFINITY;
    for (uint32_t option = 0; option < option_count(s, node); option++) {
        s->choices[node] = option;
        double cost = cost_around(s, node);
        if (cost < *out_cost) {
            *out_cost = cost;
            best = option;
        }
    }
    return best;
}

/* Steps through the combinations of a scope, the last node fastest. False after the last one. */
static bool next_combination(solver *s, const uint32_t *scope, uint32_t count) {
    for (uint32_t i = count; i-- > 0;) {
        if (++s->choices[scope[i]] < option_count(s, scope[i])) return true;
        s->choices[scope[i]] = 0;
    }
    return false;
}

static void forget(solver *s, uint32_t node) {
    s->done[node] = true;
    for (size_t i = 0; i < s->touching[node].count; i++)
        s->functions.items[s->touching[node].items[i]].is_gone = true;
}

/* A function beside the node that is eliminated: how far its costs are apart from one option to the next, of the node and of each
 * node of the scope, and where it is. */
typedef struct walk {
    const double *costs;
    size_t node_step, *steps, at;
} walk;

static walk start_walk(solver *s, const function *f, const elimination *e) {
    walk w = {.costs = f->costs, .steps = SINTER_NEW_ARRAY(&s->arena, size_t, e->count + 1)};
    size_t step = 1;
    for (uint32_t i = f->count; i-- > 0; step *= option_count(s, f->scope[i])) {
        if (f->scope[i] == e->node) w.node_step = step;
        for (uint32_t k = 0; k < e->count; k++)
            if (f->scope[i] == e->scope[k]) w.steps[k] = step;
    }
    return w;
}

/* Steps through the combinations of the scope, the last node fastest. False after the last one. */
static bool walk_on(const solver *s, const elimination *e, uint32_t *digits, walk *walks,
                    size_t walk_count) {
    for (uint32_t i = e->count; i-- > 0;) {
        uint32_t options = option_count(s, e->scope[i]);
        bool carries = ++digits[i] == options;
        if (carries) digits[i] = 0;
        for (size_t w = 0; w < walk_count; w++)
            walks[w].at += carries ? walks[w].steps[i] * (1 - (size_t)options) : walks[w].steps[i];
        if (!carries) return true;
    }
    return false;
}

/* The option with the least sum, the first of those. */
static uint32_t least_option(const walk *walks, size_t walk_count, double *sums, uint32_t options,
                             double *out_cost) {
    uint32_t best = 0;
    memset(sums, 0, options * sizeof *sums);
    for (size_t w = 0; w < walk_count; w++) {
        const double *costs = walks[w].costs + walks[w].at;
        for (uint32_t option = 0; option < options; option++)
            sums[option] += costs[option * walks[w].node_step];
    }
    for (uint32_t option = 1; option < options; option++)
        if (sums[option] < sums[best]) best = option;
    *out_cost = sums[best];
    return best;
}

static void eliminate(solver *s, uint32_t node) {
    elimination e = {.node = node, .count = (uint32_t)s->around[node].count};
    size_t room = (size_t)s->around_count[node], at = 0, walk_count = 0;
    uint32_t options = option_count(s, node);
    double *costs = SINTER_NEW_ARRAY(&s->arena, double, room),
           *sums = SINTER_NEW_ARRAY(&s->arena, double, options);
    uint32_t *digits = SINTER_NEW_ARRAY(&s->arena, uint32_t, e.count + 1);
    walk *walks = SINTER_NEW_ARRAY(&s->arena, walk, s->touching[node].count + 1);
    e.scope = SINTER_NEW_ARRAY(&s->arena, uint32_t, e.count + 1);
    if (e.count) memcpy(e.scope, s->around[node].items, e.count * sizeof *e.scope);
    e.best = SINTER_NEW_ARRAY(&s->arena, uint32_t, room);
    for (size_t i = 0; i < s->touching[node].count; i++) {
        const function *f = &s->functions.items[s->touching[node].items[i]];
        if (!f->is_gone) walks[walk_count++] = start_walk(s, f, &e);
    }
    do e.best[at] = least_option(walks, walk_count, sums, options, &costs[at]), at++;
    while (walk_on(s, &e, digits, walks, walk_count));
    forget(s, node);
    sinter_vector_push(&s->arena, &s->eliminated, e);
    if (e.count) add_function(s, e.scope, e.count, costs);
    for (uint32_t i = 0; i < e.count; i++) find_around(s, e.scope[i]);
}

/* The least that a function can be with this option of the node. */
static double least_with(solver *s, const function *f, uint32_t node, uint32_t option) {
    double least = INFINITY;
    for (uint32_t i = 0; i < f->count; i++) s->choices[f->scope[i]] = 0;
    do {
        if (s->choices[node] != option) continue;
        least = fmin(least, cost_at(s, f));
    } while (next_combination(s, f->scope, f->count));
    return least;
}

/* What is left of a function where the node has this option. */
static void restrict_function(solver *s, const function *f, uint32_t node, uint32_t option) {
    uint32_t *scope = SINTER_NEW_ARRAY(&s->arena, uint32_t, f->count), count = 0;
    for (uint32_t i = 0; i < f->count; i++)
        if (f->scope[i] != node) scope[count++] = f->scope[i];
    double *costs = SINTER_NEW_ARRAY(&s->arena, double, combinations(s, scope, count));
    size_t at = 0;
    for (uint32_t i = 0; i < count; i++) s->choices[scope[i]] = 0;
    s->choices[node] = option;
    do costs[at++] = cost_at(s, f);
    while (next_combination(s, scope, count));
    if (count) add_function(s, scope, count, costs);
}

/* Gives the node the option that looks best when each of its functions could be at its least. */
static void settle(solver *s, uint32_t node) {
    uint32_t best = 0;
    double best_cost = INFINITY;
    for (uint32_t option = 0; option < option_count(s, node); option++) {
        double cost = 0;
        for (size_t i = 0; i < s->touching[node].count; i++) {
            const function *f = &s->functions.items[s->touching[node].items[i]];
            if (!f->is_gone) cost += least_with(s, f, node, option);
        }
        if (cost < best_cost) {
            best_cost = cost;
            best = option;
        }
    }
    size_t before = s->touching[node].count;
    for (size_t i = 0; i < before; i++) {
        const function f = s->functions.items[s->touching[node].items[i]];
        if (!f.is_gone) restrict_function(s, &f, node, best);
    }
    elimination e = {.node = node, .best = SINTER_NEW(&s->arena, uint32_t)};
    *e.best = best;
    forget(s, node);
    sinter_vector_push(&s->arena, &s->eliminated, e);
    for (size_t i = 0; i < s->around[node].count; i++) find_around(s, s->around[node].items[i]);
}

/* The first node of the heap whose key is what it was. */
static uint32_t peek(const solver *s, heap *h, bool crowds) {
    for (;; pop(h)) {
        heap_item first = h->items[0];
        uint64_t key = crowds ? crowd_key(s, first.node) : s->around_count[first.node];
        if (!s->done[first.node] && key == first.key) return first.node;
    }
}

/* The node whose neighbours have the fewest combinations, or the one with the most neighbours where all have too many. */
static uint32_t choose_node(solver *s, uint64_t most, bool *out_fits) {
    uint32_t best = peek(s, &s->fewest, false);
    *out_fits = s->around_count[best] <= most / option_count(s, best);
    return *out_fits ? best : peek(s, &s->crowd, true);
}

static void take_back(solver *s) {
    for (size_t i = s->eliminated.count; i-- > 0;) {
        const elimination *e = &s->eliminated.items[i];
        size_t index = 0;
        for (uint32_t k = 0; k < e->count; k++)
            index = index * option_count(s, e->scope[k]) + s->choices[e->scope[k]];
        s->choices[e->node] = e->best[index];
    }
}

static void improve(solver *s) {
    bool changed = true;
    s->functions.count = s->problem->nodes.count + s->problem->edges.count;
    for (uint32_t node = 0; node < s->problem->nodes.count; node++) s->touching[node].count = 0;
    for (uint32_t i = 0; i < s->functions.count; i++) {
        function *one = &s->functions.items[i];
        one->is_gone = false;
        for (uint32_t k = 0; k < one->count; k++)
            sinter_vector_push(&s->arena, &s->touching[one->scope[k]], i);
    }
    for (int sweep = 0; changed && sweep < SWEEPS; sweep++) {
        changed = false;
        for (uint32_t node = 0; node < s->problem->nodes.count; node++) {
            uint32_t before = s->choices[node];
            double cost = cost_around(s, node), better;
            uint32_t best = best_option(s, node, &better);
            s->choices[node] = better < cost ? best : before;
            changed |= better < cost;
        }
    }
}

double sinter_choice_cost(const sinter_choice_problem *problem, const uint32_t *choices) {
    double total = 0;
    for (size_t i = 0; i < problem->nodes.count; i++)
        total += problem->nodes.items[i].costs[choices[i]];
    for (size_t i = 0; i < problem->edges.count; i++) {
        const sinter_choice_edge *edge = &problem->edges.items[i];
        uint32_t width = problem->nodes.items[edge->b].option_count;
        total += edge->costs[(size_t)choices[edge->a] * width + choices[edge->b]];
    }
    return total;
}

double sinter_choice_solve(const sinter_choice_problem *problem, uint64_t max_combinations,
                           uint32_t *out_choices, bool *out_is_exact) {
    uint32_t count = (uint32_t)problem->nodes.count;
    solver s = {.problem = problem, .choices = out_choices};
    sinter_arena_init(&s.arena);
    s.touching = SINTER_NEW_ARRAY(&s.arena, list, count + 1);
    s.around = SINTER_NEW_ARRAY(&s.arena, list, count + 1);
    s.around_count = SINTER_NEW_ARRAY(&s.arena, uint64_t, count + 1);
    s.done = SINTER_NEW_ARRAY(&s.arena, bool, count + 1);
    memset(out_choices, 0, count * sizeof *out_choices);
    *out_is_exact = true;
    for (uint32_t node = 0; node < count; node++) {
        uint32_t *scope = SINTER_NEW(&s.arena, uint32_t);
        *scope = node;
        add_function(&s, scope, 1, problem->nodes.items[node].costs);
    }
    for (size_t i = 0; i < problem->edges.count; i++) add_edge(&s, &problem->edges.items[i]);
    for (uint32_t node = 0; node < count; node++) find_around(&s, node);
    for (uint32_t left = count; left; left--) {
        bool fits;
        uint32_t node = choose_node(&s, max_combinations, &fits);
        if (fits)
            eliminate(&s, node);
        else
            settle(&s, node);
        *out_is_exact &= fits;
    }
    take_back(&s);
    if (!*out_is_exact) improve(&s);
    sinter_arena_deinit(&s.arena);
    return sinter_choice_cost(problem, out_choices);
}
