/* Chooses how ranks share the work: for each node one of the ways of passes/shard_options.h, so that the time of all of them and of
 * what has to be exchanged between them is least (passes/choice.h), and says it in words of the module: shardings of the results and
 * of weights. A module without a mesh gets one first, with which
 * the goal is met best; or none, where that is one device alone.
 * That sum has all exchanges in full, as it has to be one of nodes and edges. What kernels hide of them, and what later passes make of
 * nodes and collectives, is known of programs alone: the best choice of each mesh that could be the best one, and another for which exchanges count
 * less, are made into programs (passes/shard_trial.h), whose times decide.
 * If a rank would have more weights than a device has memory, bytes get a price, the lowest found with which they fit.
 *
 * What a user said of a value stays. --explain: notes with the times that were compared.
 * Needs: --hardware. Leaves the rest to shard-propagate. Test: tests/passes/shard_auto/ */
#include "ir/cost.h"
#include "passes/choice.h"
#include "passes/pass.h"
#include "passes/shard_options.h"
#include "passes/shard_prices.h"
#include "passes/shard_trial.h"
#include "passes/split_projections.h"
#include "passes/way.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* docs/plan.md, "Bounds of the search", has what is chosen with others. */
enum {
    COMBINATIONS = 1 << 18, /* of a table of the solver */
    ROUNDS = 12,            /* in which the price of memory is found (passes/choice_limit.c) */
    MOST_IDLE = 2,          /* numbers of ranks, one after the other, that are no better */
    MOST_AXES = 4,
    MOST_MADE = 4 /* programs */
};
static const double SEEN = 0.25; /* of exchanges, where most of them are taken to be hidden */

typedef struct candidate {
    sinter_arena arena;
    sinter_mesh mesh;
    sinter_shard_state state;
    sinter_shard_symbols symbols; /* that a user said to cut */
    sinter_shard_prices prices;
    SINTER_VECTOR(sinter_shard_options) nodes;
    sinter_choice_problem problem;
    sinter_choice_limit limit; /* of weights */
    uint32_t *number;          /* by node: its place in `nodes` + 1 */
    uint32_t *choices;
    double seconds, weight_bytes;
    double work_seconds;   /* of these, of what is no exchange; of the sum over nodes */
    double hidden_seconds; /* of a program that was made */
    bool is_exact, lacks_options;
    bool is_made; /* seconds are those of a program */
} candidate;

typedef struct chooser {
    sinter_pass_context *context;
    sinter_module *module;
    const sinter_hardware *hardware;
    double weight_bytes; /* of the whole module */
    bool is_trial;       /* the module is a copy, of which nothing is explained but the choice */
} chooser;

/* ---- the problem ---- */

static const sinter_sharding *user_words(const chooser *c, sinter_value value) {
    return value ? sinter_value_sharding(c->module, value) : NULL;
}

/* Options that leave values otherwise than their user says are not allowed. */
static bool is_allowed(const chooser *c, const sinter_shard_options *node,
                       const sinter_shard_option *option) {
    for (uint32_t i = 0; i < node->result_count; i++) {
        const sinter_sharding *said = user_words(c, sinter_node_result(c->module, node->node, i));
        for (uint32_t d = 0; said && option->results[i] && d < said->rank; d++)
            if (!said->dims[d].is_open &&
                !sinter_mesh_axes_equal(&said->dims[d].axes, &option->results[i]->dims[d].axes))
                return false;
    }
    for (uint32_t i = 0; i < node->operand_count; i++) {
        sinter_value value = sinter_node_operand(c->module, node->node, i);
        const sinter_sharding *said = user_words(c, value);
        if (!said || !option->operands[i] || !sinter_value_constant(c->module, value)) continue;
        if (!sinter_sharding_equal(said, option->operands[i])) return false;
    }
    return true;
}

static void add_node(const chooser *c, candidate *k, sinter_node node) {
    sinter_shard_options options;
    k->lacks_options |= sinter_shard_list_options(&k->state, &k->symbols, c->hardware, node,
                                                  c->weight_bytes, &options);
    sinter_vector_push(&k->arena, &k->nodes, options);
    k->number[node] = (uint32_t)k->nodes.count;
}

/* The node that makes the value, by its place + 1; 0: an input, a constant, or made elsewhere. */
static uint32_t maker_of(const chooser *c, const candidate *k, sinter_value value) {
    sinter_node node = value ? sinter_value_definition(c->module, value) : 0;
    return node ? k->number[node] : 0;
}

static double convert_seconds(const chooser *c, candidate *k, sinter_value value,
                              const sinter_sharding *from, const sinter_sharding *to) {
    const sinter_type *type = sinter_value_type(c->module, value);
    return from && to ? sinter_shard_prices_convert(&k->prices, type, from, to) : 0;
}

/* What each option of a node wants of an operand or leaves of a result; NULL where that is no tensor. */
static const sinter_sharding **list_shardings(candidate *k, const sinter_shard_options *node,
                                              bool is_result, uint32_t index) {
    size_t count = node->items.count;
    const sinter_sharding **list = SINTER_NEW_ARRAY(&k->arena, const sinter_sharding *, count + 1);
    for (size_t i = 0; i < count; i++) {
        const sinter_shard_option *option = &node->items.items[i];
        list[i] = is_result ? option->results[index] : option->operands[index];
        if (!list[i]) return NULL;
    }
    return list;
}

static void add_edge(const chooser *c, candidate *k, sinter_value value, uint32_t to,
                     uint32_t operand) {
    uint32_t from = maker_of(c, k, value);
    if (!from) return;
    const sinter_shard_options *a = &k->nodes.items[from - 1], *b = &k->nodes.items[to];
    uint32_t result = sinter_value_get(c->module, value)->index;
    const sinter_sharding **left = list_shardings(k, a, true, result),
                          **wanted = list_shardings(k, b, false, operand);
    if (!left || !wanted) return;
    const double *costs = sinter_shard_prices_table(&k->prices, sinter_value_type(c->module, value),
                                                    left, a->items.count, wanted, b->items.count);
    sinter_choice_edge edge = {from - 1, to, costs};
    sinter_vector_push(&k->arena, &k->problem.edges, edge);
}

static void charge(sinter_shard_option *option, double seconds) {
    option->seconds += seconds;
    option->exchange_seconds += seconds;
}

/* An input is cut as its user says, if anybody does. */
static void charge_input(const chooser *c, candidate *k, sinter_value value, uint32_t to,
                         uint32_t operand) {
    const sinter_sharding *said = user_words(c, value);
    if (!said || said->partial || sinter_value_definition(c->module, value)) return;
    for (size_t i = 0; i < k->nodes.items[to].items.count; i++) {
        sinter_shard_option *option = &k->nodes.items[to].items.items[i];
        charge(option, convert_seconds(c, k, value, said, option->operands[operand]));
    }
}

/* Nodes inside of others see whole values: their makers pay for that. */
static void charge_inside(const chooser *c, candidate *k, sinter_region region) {
    SINTER_FOR_NODES (c->module, region, node) {
        sinter_node_info info = *sinter_node_get(c->module, node);
        for (uint32_t i = 0; i < info.operand_count; i++) {
            uint32_t from = maker_of(c, k, info.operands[i]);
            if (!from) continue;
            sinter_shard_options *maker = &k->nodes.items[from - 1];
            sinter_sharding whole = sinter_sharding_whole(
                &k->arena, sinter_value_type(c->module, info.operands[i])->rank, false);
            uint32_t result = sinter_value_get(c->module, info.operands[i])->index;
            for (size_t o = 0; o < maker->items.count; o++)
                charge(&maker->items.items[o],
                       convert_seconds(c, k, info.operands[i],
                                       maker->items.items[o].results[result], &whole));
        }
        for (uint32_t i = 0; i < info.region_count; i++) charge_inside(c, k, info.regions[i]);
    }
}

static void build_problem(const chooser *c, candidate *k) {
    sinter_region main = sinter_module_main(c->module);
    SINTER_FOR_NODES (c->module, main, node) {
        sinter_op op = sinter_node_op(c->module, node);
        if (op != SINTER_OP_constant && !sinter_op_has_trait(op, SINTER_TRAIT_TERMINATOR))
            add_node(c, k, node);
    }
    for (uint32_t i = 0; i < k->nodes.count; i++) {
        sinter_node_info info = *sinter_node_get(c->module, k->nodes.items[i].node);
        for (uint32_t o = 0; o < info.operand_count; o++)
            if (info.operands[o]) {
                add_edge(c, k, info.operands[o], i, o);
                charge_input(c, k, info.operands[o], i, o);
            }
        for (uint32_t r = 0; r < info.region_count; r++) charge_inside(c, k, info.regions[r]);
    }
}

/* What each option costs: its seconds, or the weights that a rank has by it. seen: the part of exchanges that counts; edges are exchanges
 * alone, so work counts more in its place. */
static void set_costs(const chooser *c, candidate *k, bool by_weights, double seen) {
    k->problem.nodes.count = k->limit.nodes.count = 0;
    for (size_t i = 0; i < k->nodes.count; i++) {
        const sinter_shard_options *node = &k->nodes.items[i];
        double *costs = SINTER_NEW_ARRAY(&k->arena, double, node->items.count),
               *held = SINTER_NEW_ARRAY(&k->arena, double, node->items.count);
        bool any = false;
        for (size_t o = 0; o < node->items.count; o++) {
            const sinter_shard_option *option = &node->items.items[o];
            bool allowed = is_allowed(c, node, option);
            const double work =
                option->seconds < INFINITY ? option->seconds - option->exchange_seconds : INFINITY;
            held[o] = option->weight_bytes;
            costs[o] = allowed ? work / seen + option->exchange_seconds +
                                     (by_weights ? option->weight_bytes : 0)
                               : INFINITY;
            any |= allowed;
        }
        if (!any) costs[0] = 0; /* what contradicts is said by propagation */
        const sinter_choice_node one = {(uint32_t)node->items.count, costs};
        const sinter_choice_holding holding = {0, 1, held}; /* weights stay */
        sinter_vector_push(&k->arena, &k->problem.nodes, one);
        sinter_vector_push(&k->arena, &k->limit.nodes, holding);
    }
}

/* The least time with which the weights fit; where memory is the goal nothing else counts. */
static void solve(const chooser *c, candidate *k, double seen) {
    bool by_weights = c->context->options->goal == SINTER_GOAL_MEMORY;
    k->choices = SINTER_NEW_ARRAY(&k->arena, uint32_t, k->nodes.count + 1);
    set_costs(c, k, by_weights, seen);
    k->limit.most = by_weights ? INFINITY : c->hardware->memory;
    sinter_choice_result found =
        sinter_choice_solve_within(&k->problem, &k->limit, COMBINATIONS, ROUNDS, k->choices);
    set_costs(c, k, by_weights, 1);
    k->weight_bytes = found.held;
    k->seconds = sinter_choice_cost(&k->problem, k->choices) - (by_weights ? found.held : 0);
    k->is_exact = found.is_exact && !k->lacks_options;
    k->work_seconds = 0;
    for (size_t i = 0; i < k->nodes.count; i++) {
        const sinter_shard_option *option = &k->nodes.items[i].items.items[k->choices[i]];
        k->work_seconds += option->seconds - option->exchange_seconds;
    }
}

/* ---- words ---- */

/* True where nobody has spoken of it. */
static bool say(const chooser *c, sinter_module *module, sinter_value value,
                const sinter_sharding *sharding) {
    if (!value || !sharding || user_words(c, value)) return false;
    sinter_value_set_sharding(module, value, sharding);
    return true;
}

/* Of the chooser's module, or of a copy. Returns how many values it speaks of. */
static size_t say_all(const chooser *c, const candidate *k, sinter_module *module) {
    size_t count = 0;
    for (size_t i = 0; i < k->nodes.count; i++) {
        const sinter_shard_options *node = &k->nodes.items[i];
        const sinter_shard_option *option = &node->items.items[k->choices[i]];
        for (uint32_t r = 0; r < node->result_count; r++)
            count += say(c, module, sinter_node_result(module, node->node, r), option->results[r]);
        for (uint32_t o = 0; o < node->operand_count; o++) {
            sinter_value value = sinter_node_operand(module, node->node, o);
            if (value && sinter_value_constant(module, value))
                count += say(c, module, value, option->operands[o]);
        }
    }
    return count;
}

/* ---- meshes ---- */

/* Tries the module's own mesh, or this one. */
static void try_mesh(const chooser *c, const sinter_mesh *mesh, candidate *k) {
    *k = (candidate){.mesh = *mesh};
    sinter_arena_init(&k->arena);
    sinter_shard_state_init(&k->state, c->module, &k->arena);
    k->state.mesh = &k->mesh;
    sinter_shard_find_symbols(&k->state, false, &k->symbols);
    sinter_shard_prices_init(&k->prices, &k->state, c->hardware);
    k->number = SINTER_NEW_ARRAY(&k->arena, uint32_t, sinter_module_node_limit(c->module));
    build_problem(c, k);
    solve(c, k, 1);
}

static void discard(candidate *k) {
    sinter_arena_deinit(&k->arena);
}

static void explain(const chooser *c, const candidate *k, const char *what) {
    sinter_text text = {0}, hidden = {0};
    if (!c->context->options->explain) return;
    sinter_mesh_print(&k->mesh, &text);
    if (k->hidden_seconds > 0)
        sinter_text_format(&hidden, ", %.4g ms of exchanges beside it", 1e3 * k->hidden_seconds);
    sinter_note(c->context->rewrite.build.diag, sinter_module_name(c->module),
                "%s %s: %.4g ms a run%s, %.4g MB of weights a rank%s", what,
                k->mesh.axis_count ? text.data : "one device", 1e3 * k->seconds,
                hidden.size ? hidden.data : "", 1e-6 * k->weight_bytes,
                k->is_exact ? "" : " (there may be better choices)");
    sinter_text_deinit(&hidden);
    sinter_text_deinit(&text);
}

static sinter_way way_of(const candidate *k) {
    return (sinter_way){k->seconds, k->weight_bytes, (double)sinter_mesh_rank_count(&k->mesh)};
}

/* Of more ranks only if that pays. */
static bool beats(const chooser *c, const sinter_way *a, const sinter_way *b) {
    double memory = c->hardware->memory;
    return a->ranks >= b->ranks ? sinter_way_is_better(a, b, memory, c->context->options->goal)
                                : !sinter_way_is_better(b, a, memory, c->context->options->goal);
}

/* What its program takes; false: none can be made. */
static bool make(const chooser *c, candidate *k) {
    sinter_shard_trial trial;
    sinter_diag quiet = {0};
    sinter_module *module = sinter_module_clone(c->module);
    if (k->mesh.axis_count) {
        sinter_module_set_mesh(module, &k->mesh);
        say_all(c, k, module);
    }
    if (!sinter_shard_try(c->context, module, &trial, &quiet)) return false;
    k->seconds = trial.seconds;
    k->hidden_seconds = trial.hidden_seconds;
    return true;
}

/* From here on its seconds are those of a program: of its choices, or of those for which exchanges count less. Where there is none it takes
 * forever. */
static void settle(const chooser *c, candidate *k) {
    candidate full = *k;
    bool good = make(c, &full);
    k->is_made = true;
    if (k->mesh.axis_count && c->context->options->goal != SINTER_GOAL_MEMORY) {
        solve(c, k, SEEN);
        bool same = !memcmp(k->choices, full.choices, k->nodes.count * sizeof *k->choices),
             fits = k->weight_bytes <= fmax(c->hardware->memory, full.weight_bytes);
        if (!same && fits && make(c, k) && (!good || k->seconds < full.seconds)) return;
    }
    k->choices = full.choices;
    k->seconds = good ? full.seconds : INFINITY;
    k->hidden_seconds = full.hidden_seconds;
    k->work_seconds = full.work_seconds;
    k->weight_bytes = full.weight_bytes;
    k->is_exact = full.is_exact;
}

/* Of a mesh, by the sum over its nodes. */
typedef struct considered {
    sinter_mesh mesh;
    sinter_way way, least; /* least: if all exchanges were hidden */
    bool is_out;
} considered;

typedef struct search {
    const chooser *chooser;
    candidate best;
    SINTER_VECTOR(considered) all;
} search;

static void note_way(search *s, const candidate *k) {
    considered one = {.mesh = k->mesh, .way = way_of(k), .least = way_of(k)};
    one.least.seconds = k->work_seconds;
    sinter_vector_push(&s->chooser->context->scratch, &s->all, one);
    if (!s->chooser->is_trial) explain(s->chooser, k, "considered");
}

static bool keep_better(search *s, const sinter_mesh *mesh) {
    candidate other;
    try_mesh(s->chooser, mesh, &other);
    note_way(s, &other);
    const sinter_way a = way_of(&other), b = way_of(&s->best);
    bool better = sinter_way_is_better(&a, &b, s->chooser->hardware->memory,
                                       s->chooser->context->options->goal);
    discard(better ? &s->best : &other);
    if (better) s->best = other;
    return better;
}

static void add_axis(sinter_mesh *mesh, int64_t size) {
    static const char *const names[] = {"x", "y", "z", "u"};
    const sinter_string name = sinter_string_of(names[mesh->axis_count]);
    mesh->axes[mesh->axis_count++] = (sinter_mesh_axis){name, size};
}

static sinter_mesh make_mesh(int64_t outer, int64_t inner) {
    sinter_mesh mesh = {.rank = -1};
    add_axis(&mesh, outer);
    if (inner > 1) add_axis(&mesh, inner);
    return mesh;
}

/* One of its axes as two, the outer one of this size. */
static sinter_mesh split_axis(const sinter_mesh *mesh, uint32_t axis, int64_t outer) {
    sinter_mesh finer = {.rank = -1};
    for (uint32_t i = 0; i < mesh->axis_count; i++) {
        if (i == axis) add_axis(&finer, outer);
        add_axis(&finer, i == axis ? mesh->axes[i].size / outer : mesh->axes[i].size);
    }
    return finer;
}

static int64_t least_factor(int64_t size) {
    for (int64_t factor = 2; factor * factor <= size; factor++)
        if (size % factor == 0) return factor;
    return size;
}

/* More axes allow nodes to be cut along more of their factors at once: as few ranks as can be go to one of their own, the outer or the
 * inner ones. True where that is better than the best so far. */
static bool try_finer(search *s, sinter_mesh mesh) {
    bool better = false;
    for (uint32_t axis = 0; axis < mesh.axis_count && mesh.axis_count < MOST_AXES; axis++) {
        int64_t size = mesh.axes[axis].size, few = least_factor(size), many = size / few;
        if (few == size) continue;
        const sinter_mesh outer = split_axis(&mesh, axis, few),
                          inner = split_axis(&mesh, axis, many);
        better |= keep_better(s, &outer);
        if (many != few) better |= keep_better(s, &inner);
    }
    return better;
}

/* All divisors of the number of devices, along one axis or two: the inner one is what the innermost links join, or two. Where
 * more devices do not help they may along more axes; where they did not twice, still more will not. In the end axes of the best are split as
 * long as that helps. */
static void try_meshes(search *s) {
    const sinter_hardware *h = s->chooser->hardware;
    int64_t joined = h->link_count ? h->links[0].devices : 1;
    int idle = 0;
    try_mesh(s->chooser, &(sinter_mesh){.rank = -1}, &s->best);
    note_way(s, &s->best);
    for (int64_t ranks = 2; ranks <= h->devices && idle < MOST_IDLE; ranks++) {
        if (h->devices % ranks) continue;
        int64_t inner = ranks > joined && ranks % joined == 0 ? joined : 2;
        sinter_mesh one = make_mesh(ranks, 1), two = make_mesh(ranks / inner, inner);
        bool better = keep_better(s, &one);
        bool has_two = ranks > inner && ranks % inner == 0;
        if (has_two) better |= keep_better(s, &two);
        if (!better) better = try_finer(s, has_two ? two : one);
        idle = better ? 0 : idle + 1;
    }
    while (try_finer(s, s->best.mesh)) {
    }
}

/* The next mesh that would be better than the best sum if its exchanges were hidden, the best of them; NULL: there is none. */
static considered *find_promising(search *s, const sinter_way *best_sum) {
    considered *found = NULL;
    for (size_t i = 0; i < s->all.count; i++) {
        considered *one = &s->all.items[i];
        if (one->is_out || !beats(s->chooser, &one->least, best_sum)) continue;
        if (!found || beats(s->chooser, &one->way, &found->way)) found = one;
    }
    return found;
}

static bool is_of(const considered *one, const candidate *k) {
    return one->mesh.axis_count == k->mesh.axis_count && sinter_mesh_equal(&one->mesh, &k->mesh);
}

/* The best sum, one device, and what may be better than its sum, as programs. */
static void compare_programs(search *s) {
    const chooser *c = s->chooser;
    const sinter_way best_sum = way_of(&s->best);
    considered *next = &s->all.items[0]; /* one device */
    for (size_t i = 0; i < s->all.count; i++)
        s->all.items[i].is_out = is_of(&s->all.items[i], &s->best);
    if (next->is_out) next = find_promising(s, &best_sum);
    if (!next) return; /* nothing to compare */
    settle(c, &s->best);
    if (!c->is_trial) explain(c, &s->best, "as a program");
    for (int made = 1; next && made < MOST_MADE; made++) {
        candidate other;
        try_mesh(c, &next->mesh, &other);
        settle(c, &other);
        if (!c->is_trial) explain(c, &other, "as a program");
        const sinter_way a = way_of(&other), b = way_of(&s->best);
        bool better = beats(c, &a, &b);
        discard(better ? &s->best : &other);
        if (better) s->best = other;
        next->is_out = true;
        next = find_promising(s, &best_sum);
    }
}

/* The module's own mesh, or the best one. */
static void choose(const chooser *c, candidate *best) {
    const sinter_mesh *mesh = sinter_module_mesh(c->module);
    search s = {.chooser = c};
    if (mesh->axis_count) {
        try_mesh(c, mesh, &s.best);
        settle(c, &s.best);
    } else {
        try_meshes(&s);
        compare_programs(&s);
    }
    *best = s.best;
}

/* ---- recurrent layers whose products with inputs are shared alone ---- */

typedef SINTER_VECTOR(sinter_node) node_list;

static node_list list_recurrent(const chooser *c, sinter_module *module) {
    node_list list = {0};
    SINTER_FOR_NODES (module, sinter_module_main(module), node)
        if (sinter_op_is_recurrent(sinter_node_op(module, node)))
            sinter_vector_push(&c->context->scratch, &list, node);
    return list;
}

static bool has_projections(const chooser *c) {
    node_list layers = list_recurrent(c, c->module);
    for (size_t i = 0; i < layers.count; i++)
        if (sinter_projection_is_in(c->module, layers.items[i])) return true;
    return false;
}

/* Whether ranks share the weights of what makes the value. */
static bool shares_weights(const chooser *c, const candidate *k, sinter_value value) {
    uint32_t maker = maker_of(c, k, value);
    if (!maker) return false;
    const sinter_op op = sinter_node_op(c->module, k->nodes.items[maker - 1].node);
    if (sinter_op_get_info(op)->pattern != SINTER_PATTERN_CONTRACT) return false;
    const sinter_shard_option *option =
        &k->nodes.items[maker - 1].items.items[k->choices[maker - 1]];
    return option->operands[1] && sinter_sharding_used(option->operands[1]);
}

/* The choice for a copy in which all layers are in two (passes/split_projections.h). Where it is better the module gets those in two whose
 * products are shared, and the choice is made again for its mesh: the others make them beside their steps. */
static void try_apart(const chooser *c, candidate *best) {
    if (!has_projections(c)) return;
    chooser apart = *c;
    candidate other;
    apart.module = sinter_module_clone(c->module);
    apart.is_trial = true;
    size_t changes;
    const sinter_pass *pass = sinter_pass_find(sinter_string_of("split-projections"));
    const sinter_pipeline_options options = {.hardware = c->hardware};
    if (sinter_pass_run(pass, apart.module, &options, &changes, c->context->rewrite.build.diag)) {
        choose(&apart, &other);
        if (!other.is_made) settle(&apart, &other);
        if (!best->is_made) settle(c, best);
        const sinter_way a = way_of(&other), b = way_of(best);
        bool better = beats(c, &a, &b);
        explain(c, &other,
                better ? "with inputs of recurrent layers apart"
                       : "no better with inputs of recurrent layers apart");
        node_list layers = list_recurrent(c, c->module), copies = list_recurrent(c, apart.module);
        for (size_t i = 0; better && i < layers.count; i++) {
            sinter_node layer = layers.items[i];
            if (!sinter_projection_is_in(c->module, layer) ||
                !shares_weights(&apart, &other,
                                sinter_node_operand(apart.module, copies.items[i], 0)))
                continue;
            if (c->context->options->explain)
                sinter_note(c->context->rewrite.build.diag, sinter_node_where(c->module, layer),
                            "ranks share the products of its inputs; each runs all its steps");
            if (!sinter_projection_split(&c->context->rewrite, layer)) break;
        }
        const sinter_mesh mesh = other.mesh;
        discard(&other);
        if (better) {
            discard(best);
            try_mesh(c, &mesh, best);
            settle(c, best);
        }
    }
    sinter_module_destroy(apart.module);
}

void sinter_pass_shard_auto(sinter_pass_context *context) {
    chooser c = {.context = context,
                 .module = context->module,
                 .hardware = context->options->hardware,
                 .weight_bytes = sinter_cost_weight_bytes(context->module)};
    const sinter_mesh *mesh = sinter_module_mesh(c.module);
    candidate best;
    if (!c.hardware) {
        sinter_error(context->rewrite.build.diag, sinter_module_name(c.module),
                     "shard-auto chooses by hardware, and none is said: --hardware=FILE");
        return;
    }
    choose(&c, &best);
    try_apart(&c, &best);
    explain(&c, &best, "chosen");
    if (best.mesh.axis_count) {
        if (!mesh->axis_count) sinter_module_set_mesh(c.module, &best.mesh);
        context->rewrite.change_count += say_all(&c, &best, c.module);
    }
    discard(&best);
}
