/* Removes channels, neurons, heads and units of recurrences, with everything that depends on them: the layers whose recipe says prune=channels:RATIO lose
 * that share of their outputs, those that say prune=macs:RATIO so many that this share of their multiply-adds is gone. What goes
 * together is found by the axes of the nodes (prune_graph.h), what goes first by a score (prune_order.h); with
 * rounding=compensated the weights of all layers that come after make up for it (prune_compensate.h). Inputs and outputs of the
 * model keep their shapes. Without compensation the values are those of the model with the weights that read the removed channels
 * set to zero. Test: tests/passes/prune_channels/, tests/unit/prune_test.c */
#include "passes/pass.h"
#include "passes/prune_compensate.h"
#include "passes/prune_order.h"
#include "passes/solve_blas.h"

#include <math.h>
#include <stdlib.h>

enum { WIDEST = 16 }; /* channels that kernels take at once */

typedef struct pruner {
    sinter_pass_context *context;
    sinter_diag *diag;
    sinter_layer_list layers;
    sinter_layer_recipe *recipes; /* by layer */
    const sinter_layer_recipe
        *recipe; /* of one that is pruned: score and rounding are those of all */
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
    sinter_arena *scratch = &p->context->scratch;
    p->layers = sinter_layer_find_with_recurrent(p->context->module, scratch);
    p->recipes = SINTER_NEW_ARRAY(scratch, sinter_layer_recipe, p->layers.count);
    for (size_t i = 0; i < p->layers.count; i++) {
        sinter_layer_recipe *recipe = &p->recipes[i];
        const char *name = p->layers.items[i].name;
        if (!sinter_recipe_find(p->context->compression->recipe, name, recipe, p->diag))
            return false;
        if (!prunes(recipe)) continue;
        if (!p->recipe) p->recipe = recipe;
        if (recipe->score != p->recipe->score || recipe->rounding != p->recipe->rounding)
            return sinter_error(p->diag, name,
                                "prune=channels: score and rounding differ from those of layers "
                                "before; channels that go together have one");
    }
    return true;
}

/* The least that one of its layers asks for. */
static void describe_groups(pruner *p) {
    sinter_prune_graph *graph = &p->graph;
    sinter_arena *scratch = &p->context->scratch;
    p->of_group = SINTER_NEW_ARRAY(scratch, const sinter_layer_recipe *, graph->group_count + 1);
    p->group_size = SINTER_NEW_ARRAY(scratch, int64_t, graph->group_count + 1);
    p->group_removed = SINTER_NEW_ARRAY(scratch, int64_t, graph->group_count + 1);
    p->saved = SINTER_NEW_ARRAY(scratch, double, graph->unit_count + 1);
    for (int32_t u = 0; u < graph->unit_count; u++) p->group_size[graph->groups[u]]++;
    for (size_t i = 0; i < p->layers.count; i++) {
        const sinter_layer *l = &p->layers.items[i];
        size_t at = sinter_prune_axis_index(graph, l->node, false, l->operand, l->output_axis);
        const sinter_prune_axis *axis = &graph->axes.items[at];
        for (int64_t k = 0; k < axis->size; k++) {
            int32_t unit = graph->units[axis->first + (size_t)k];
            if (unit == SINTER_PRUNE_NO_UNIT) continue;
            const sinter_layer_recipe **of = &p->of_group[graph->groups[unit]];
            if (!*of || p->recipes[i].ratio < (*of)->ratio) *of = &p->recipes[i];
        }
    }
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
    double wanted = recipe->ratio * (double)p->group_size[group];
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
        SINTER_NEW_ARRAY(&p->context->scratch, sinter_prune_ranked, p->graph.unit_count);
    double total = sinter_prune_products(&p->graph, p->saved), left = total;
    int32_t group = 0;
    while (left > (1 - work_to_go(p)) * total && (group = find_cheapest(p, true, list)) >= 0) {
        remove_batch(p, group, list);
        left = sinter_prune_products(&p->graph, p->saved);
    }
    while ((group = find_cheapest(p, false, list)) >= 0) remove_batch(p, group, list);
}

static bool prune(pruner *p, bool orders_by_data, bool compensates) {
    sinter_module *module = p->context->module;
    const sinter_compression *compression = p->context->compression;
    if (!orders_by_data)
        sinter_prune_order_by_weights(&p->order, &p->graph, p->recipe->score, p->recipe->seed,
                                      &p->context->scratch);
    else if (!sinter_prune_order_by_error(&p->order, &p->graph, &p->layers, compression,
                                          &p->context->scratch, p->diag))
        return false;
    choose(p);
    sinter_module *dense = compensates ? sinter_module_clone(module) : NULL;
    bool good = sinter_prune_apply(&p->graph, &p->context->rewrite) &&
                (!compensates || sinter_prune_compensate(p->context, &p->graph, dense, 0));
    sinter_module_destroy(dense);
    return good;
}

void sinter_pass_prune_channels(sinter_pass_context *context) {
    pruner p = {.context = context, .diag = context->rewrite.build.diag};
    if (!context->compression || !context->compression->recipe || !find_recipes(&p) || !p.recipe)
        return;
    sinter_prune_graph_init(&p.graph, context->module, &context->scratch, may_prune, &p, &p.layers);
    describe_groups(&p);
    if (!p.graph.unit_count) {
        sinter_warning(p.diag, sinter_module_name(context->module),
                       "no channel can be removed: all are tied to inputs, outputs, or nodes that "
                       "need them whole");
        return;
    }
    bool orders_by_data =
        p.recipe->score == SINTER_SCORE_SECOND_ORDER || p.recipe->score == SINTER_SCORE_ACTIVATION;
    bool compensates = sinter_layer_recipe_compensates(p.recipe);
    if (orders_by_data || compensates) {
        const char *what = compensates ? "prune=channels with rounding=compensated"
                                       : "prune=channels with that score";
        if (!sinter_compression_has_data(context->compression, what, p.diag) ||
            !sinter_blas_begin(p.diag))
            return;
    }
    prune(&p, orders_by_data, compensates);
    if (orders_by_data || compensates) sinter_blas_end();
}
