/* Removes channels, neurons, heads and units of recurrences, with everything that depends on them: the layers whose recipe says prune=channels:RATIO lose
 * that share of their outputs, those that say prune=macs:RATIO so many that this share of their multiply-adds is gone. What goes
 * together is found by the axes of the nodes (prune_graph.h), what goes first by a score (prune_order.h); with
 * rounding=compensated the weights of all layers that come after make up for it (prune_compensate.h). With schedule=gradual:N that
 * happens in N rounds, each on what the one before has left; what is right stays what the dense model yields. Inputs and outputs of the
 * model keep their shapes. Without compensation the values are those of the model with the weights that read the removed channels
 * set to zero. Test: tests/passes/prune_channels/, tests/unit/prune_test.c */
#include "passes/pass.h"
#include "passes/prune_compensate.h"
#include "passes/prune_order.h"
#include "passes/solve_blas.h"

#include <math.h>
#include <stdlib.h>

enum { WIDEST = 16 }; /* channels that kernels take at once */

/* Outputs of a layer by the group that they were in when nothing had gone. */
typedef struct origin {
    int32_t *groups;
    int64_t count;
} origin;

typedef struct pruner {
    sinter_pass_context *context;
    sinter_diag *diag;
    sinter_arena *round_arena; /* what lasts for a round */
    sinter_layer_list layers;
    sinter_layer_recipe *recipes; /* by layer */
    sinter_layer_recipe
        recipe;     /* of one that is pruned: score, rounding and schedule are those of all */
    bool any;       /* is */
    uint32_t round; /* from 1 */
    double total;   /* multiply-adds of the dense model */
    sinter_prune_kept *kept; /* by node of the dense model, after all rounds so far */
    origin *origins;         /* by node */
    int64_t *origin_size;    /* by group of the first round */
    sinter_prune_graph graph;
    sinter_prune_order order;
    const sinter_layer_recipe **of_group; /* by group */
    int64_t *group_size, *group_removed;
    double *saved; /* by unit */
} pruner;

static bool prunes(const sinter_layer_recipe *recipe) {
    return recipe->pattern == SINTER_PRUNE_CHANNELS;
}

static bool may_prune(void *user, const sinter_layer *layer) {
    const pruner *p = user;
    return prunes(&p->recipes[layer - p->layers.items]);
}

static bool find_recipes(pruner *p) {
    sinter_arena *scratch = p->round_arena;
    p->layers = sinter_layer_find_with_recurrent(p->context->module, scratch);
    p->recipes = SINTER_NEW_ARRAY(scratch, sinter_layer_recipe, p->layers.count);
    for (size_t i = 0; i < p->layers.count; i++) {
        sinter_layer_recipe *recipe = &p->recipes[i];
        const char *name = p->layers.items[i].name;
        if (!sinter_recipe_find(p->context->options->compression->recipe, name, recipe, p->diag))
            return false;
        if (!prunes(recipe)) continue;
        if (!p->any) p->recipe = *recipe;
        p->any = true;
        if (recipe->score != p->recipe.score || recipe->rounding != p->recipe.rounding ||
            recipe->rounds != p->recipe.rounds)
            return sinter_error(p->diag, name,
                                "prune=channels: score, rounding and schedule differ from those of "
                                "layers before; channels that go together have one");
    }
    return true;
}

static const sinter_prune_axis *outputs_of(const pruner *p, const sinter_layer *l) {
    size_t at = sinter_prune_axis_index(&p->graph, l->node, false, l->operand, l->output_axis);
    return &p->graph.axes.items[at];
}

/* Groups as they were before the first round. */
static void note_origins(pruner *p) {
    const sinter_prune_graph *graph = &p->graph;
    sinter_arena *scratch = &p->context->scratch;
    uint32_t nodes = sinter_module_node_limit(p->context->module);
    p->kept = SINTER_NEW_ARRAY(scratch, sinter_prune_kept, nodes);
    p->origins = SINTER_NEW_ARRAY(scratch, origin, nodes);
    p->origin_size = SINTER_NEW_ARRAY(scratch, int64_t, graph->group_count + 1);
    for (int32_t u = 0; u < graph->unit_count; u++) p->origin_size[graph->groups[u]]++;
    for (size_t i = 0; i < p->layers.count; i++) {
        const sinter_layer *l = &p->layers.items[i];
        const sinter_prune_axis *axis = outputs_of(p, l);
        origin *o = &p->origins[l->node];
        *o = (origin){SINTER_NEW_ARRAY(scratch, int32_t, axis->size), axis->size};
        p->kept[l->node] =
            (sinter_prune_kept){SINTER_NEW_ARRAY(scratch, bool, axis->size), axis->size};
        for (int64_t k = 0; k < axis->size; k++) {
            int32_t unit = graph->units[axis->first + (size_t)k];
            o->groups[k] = unit == SINTER_PRUNE_NO_UNIT ? -1 : graph->groups[unit];
            p->kept[l->node].stays[k] = true;
        }
    }
}

/* Layers may share a node: what a recurrent one reads, and its state. */
static bool is_first_of_node(const pruner *p, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (p->layers.items[i].node == p->layers.items[index].node) return false;
    return true;
}

/* Of the outputs that were left those stay that have not been removed in this round. */
static void note_kept(pruner *p) {
    for (size_t i = 0; i < p->layers.count; i++) {
        const sinter_layer *l = &p->layers.items[i];
        const int32_t *units = p->graph.units + outputs_of(p, l)->first;
        sinter_prune_kept *kept = &p->kept[l->node];
        for (int64_t k = 0; is_first_of_node(p, i) && k < kept->count; k++) {
            if (!kept->stays[k]) continue;
            int32_t unit = *units++;
            kept->stays[k] = unit == SINTER_PRUNE_NO_UNIT || !p->graph.removed[unit];
        }
    }
}

/* How large the group was of an output that is left. */
static int64_t size_at_first(const pruner *p, const sinter_layer *l, int64_t output) {
    const sinter_prune_kept *kept = &p->kept[l->node];
    for (int64_t k = 0; k < kept->count; k++)
        if (kept->stays[k] && output-- == 0)
            return p->origins[l->node].groups[k] < 0
                       ? 0
                       : p->origin_size[p->origins[l->node].groups[k]];
    return 0;
}

/* The least that one of its layers asks for, and how much of it has gone before. */
static void describe_groups(pruner *p) {
    sinter_prune_graph *graph = &p->graph;
    sinter_arena *scratch = p->round_arena;
    p->of_group = SINTER_NEW_ARRAY(scratch, const sinter_layer_recipe *, graph->group_count + 1);
    p->group_size = SINTER_NEW_ARRAY(scratch, int64_t, graph->group_count + 1);
    p->group_removed = SINTER_NEW_ARRAY(scratch, int64_t, graph->group_count + 1);
    p->saved = SINTER_NEW_ARRAY(scratch, double, graph->unit_count + 1);
    if (p->round == 1) note_origins(p);
    for (int32_t u = 0; u < graph->unit_count; u++) p->group_removed[graph->groups[u]]--;
    for (size_t i = 0; i < p->layers.count; i++) {
        const sinter_layer *l = &p->layers.items[i];
        const sinter_prune_axis *axis = outputs_of(p, l);
        for (int64_t k = 0; k < axis->size; k++) {
            int32_t unit = graph->units[axis->first + (size_t)k];
            if (unit == SINTER_PRUNE_NO_UNIT) continue;
            int32_t group = graph->groups[unit];
            const sinter_layer_recipe **of = &p->of_group[group];
            if (!*of || p->recipes[i].ratio < (*of)->ratio) *of = &p->recipes[i];
            if (!p->group_size[group]) p->group_size[group] = size_at_first(p, l, k);
        }
    }
    for (int32_t g = 0; g < graph->group_count; g++) p->group_removed[g] += p->group_size[g];
}

/* What is to have gone at the end of this round, of a share that goes in all. */
static double share_of_round(const pruner *p, double share) {
    return share * p->round / p->recipe.rounds;
}

/* How many units go at once, so that what is left of a group fills vectors, or halves of them where it is narrow: kernels compute what is
 * left over in vectors of 4, 2 and 1, so a layer of 61 channels is slower than one of 64, and one of 7 takes twice the time of one of 8.
 * Where a share of each layer is asked for, steps are no longer than a quarter of a narrow one. */
static int64_t batch_of(const pruner *p, int32_t group) {
    enum { HALF = WIDEST / 2, QUARTER = WIDEST / 4 };
    int64_t size = p->group_size[group], left = size - p->group_removed[group];
    bool by_halves = size >= 4 * WIDEST || (p->of_group[group]->by_work && left > HALF);
    int64_t granule = size >= 8 * WIDEST            ? WIDEST
                      : by_halves && size >= WIDEST ? HALF
                      : size >= HALF                ? QUARTER
                                                    : 1;
    int64_t over = left % granule;
    return over ? over : granule;
}

static bool wants_more(const pruner *p, int32_t group, int64_t batch) {
    const sinter_layer_recipe *recipe = p->of_group[group];
    double wanted = share_of_round(p, recipe->ratio) * (double)p->group_size[group];
    return recipe->by_work || (double)p->group_removed[group] + 0.5 * (double)batch <= wanted;
}

/* The units that may go now, by group and cost. */
static size_t list_candidates(const pruner *p, bool by_work, int32_t group,
                              sinter_prune_ranked *out) {
    size_t count = 0;
    for (int32_t u = 0; u < p->graph.unit_count; u++) {
        int32_t g = p->graph.groups[u];
        if ((group >= 0 && g != group) || p->graph.removed[u] ||
            p->of_group[g]->by_work != by_work || !sinter_prune_can_remove(&p->graph, u))
            continue;
        out[count++] = (sinter_prune_ranked){g, u, p->order.costs[u]};
    }
    sinter_prune_rank(out, count);
    return count;
}

/* What the cheapest units of a group cost, by multiply-add where these are what counts. */
static double batch_cost(const pruner *p, const sinter_prune_ranked *units, int64_t batch,
                         bool by_work) {
    double cost = 0, saved = 0;
    for (int64_t i = 0; i < batch; i++) {
        cost += units[i].cost;
        saved += p->saved[units[i].unit];
    }
    if (by_work && p->order.reader_count) return cost / (saved > 0 ? saved : 1);
    return cost / (double)batch;
}

/* The group whose next units cost least; -1 where there is none. */
static int32_t find_cheapest(const pruner *p, bool by_work, sinter_prune_ranked *list) {
    size_t count = list_candidates(p, by_work, -1, list);
    int32_t best = -1;
    double least = INFINITY;
    for (size_t first = 0, end; first < count; first = end) {
        int32_t group = list[first].group;
        int64_t batch = batch_of(p, group);
        for (end = first; end < count && list[end].group == group;) end++;
        if ((int64_t)(end - first) < batch || !wants_more(p, group, batch)) continue;
        double cost = batch_cost(p, list + first, batch, by_work);
        if (cost < least) {
            least = cost;
            best = group;
        }
    }
    return best;
}

/* One by one: what is left costs more with each. */
static void remove_batch(pruner *p, int32_t group, sinter_prune_ranked *list) {
    for (int64_t batch = batch_of(p, group); batch > 0; batch--) {
        if (!list_candidates(p, p->of_group[group]->by_work, group, list)) return;
        sinter_prune_remove(&p->graph, list[0].unit);
        p->group_removed[group]++;
        sinter_prune_order_update(&p->order, list[0].unit);
    }
}

static double work_to_go(const pruner *p) {
    for (int32_t g = 0; g < p->graph.group_count; g++)
        if (p->of_group[g]->by_work) return p->of_group[g]->ratio;
    return 0;
}

static void choose(pruner *p) {
    sinter_prune_ranked *list =
        SINTER_NEW_ARRAY(p->round_arena, sinter_prune_ranked, p->graph.unit_count);
    double left = sinter_prune_products(&p->graph, p->saved);
    if (p->round == 1) p->total = left;
    double goal = (1 - share_of_round(p, work_to_go(p))) * p->total;
    int32_t group = 0;
    while (left > goal && (group = find_cheapest(p, true, list)) >= 0) {
        remove_batch(p, group, list);
        left = sinter_prune_products(&p->graph, p->saved);
    }
    while ((group = find_cheapest(p, false, list)) >= 0) remove_batch(p, group, list);
}

static bool order(pruner *p, bool by_data) {
    if (by_data)
        return sinter_prune_order_by_error(&p->order, &p->graph, &p->layers,
                                           p->context->options->compression, p->round_arena,
                                           p->diag);
    sinter_prune_order_by_weights(&p->order, &p->graph, p->recipe.score, p->recipe.seed,
                                  p->round_arena);
    return true;
}

/* Finds what may go in the module as it is now; false where nothing may. */
static bool find_units(pruner *p) {
    sinter_prune_graph_init(&p->graph, p->context->module, p->round_arena, may_prune, p,
                            &p->layers);
    describe_groups(p);
    if (!p->graph.unit_count && p->round == 1)
        sinter_warning(p->diag, sinter_module_name(p->context->module),
                       "no channel can be removed: all are tied to inputs, outputs, or nodes that "
                       "need them whole");
    return p->graph.unit_count > 0;
}

static bool orders_by_data(const pruner *p) {
    return p->recipe.score == SINTER_SCORE_SECOND_ORDER ||
           p->recipe.score == SINTER_SCORE_ACTIVATION;
}

/* dense NULL: nothing makes up for what goes. */
static bool prune_round(pruner *p, sinter_module *dense) {
    if (!order(p, orders_by_data(p))) return false;
    choose(p);
    note_kept(p);
    return sinter_prune_apply(&p->graph, &p->context->rewrite) &&
           (!dense || sinter_prune_compensate(p->context, p->kept, dense, 0));
}

/* Later rounds: layers have other weights by now. */
static void prune_rounds(pruner *p, bool compensates) {
    sinter_module *dense = compensates ? sinter_module_clone(p->context->module) : NULL;
    bool good = prune_round(p, dense);
    while (good && p->round < p->recipe.rounds) {
        p->round++;
        sinter_arena_deinit(p->round_arena);
        sinter_arena_init(p->round_arena);
        good = find_recipes(p) && find_units(p) && prune_round(p, dense);
    }
    sinter_module_destroy(dense);
}

static void prune(pruner *p) {
    if (!find_recipes(p) || !p->any || !find_units(p)) return;
    bool compensates = sinter_layer_recipe_compensates(&p->recipe);
    bool needs_data = orders_by_data(p) || compensates;
    const char *what =
        compensates ? "prune=channels with rounding=compensated" : "prune=channels with that score";
    if (needs_data &&
        (!sinter_compression_has_data(p->context->options->compression, what, p->diag) ||
         !sinter_blas_begin(p->diag)))
        return;
    prune_rounds(p, compensates);
    if (needs_data) sinter_blas_end();
}

void sinter_pass_prune_channels(sinter_pass_context *context) {
    pruner p = {.context = context, .diag = context->rewrite.build.diag, .round = 1};
    if (!context->options->compression || !context->options->compression->recipe) return;
    sinter_arena round_arena;
    sinter_arena_init(&round_arena);
    p.round_arena = &round_arena;
    prune(&p);
    sinter_arena_deinit(&round_arena);
}
