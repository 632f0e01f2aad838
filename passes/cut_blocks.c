/* Removes whole blocks: what lies between two values of one type through which alone the model goes from there, as between the ends of
 * residual blocks and of the halves of a transformer's layers. The share of them that recipes ask for (cut=) goes, one by one: that of
 * which the outputs change least when it is passed by, given those that are gone, or the last ones. With rounding=compensated all layers
 * that come after make up for it (prune_compensate.h). Needs: layers exposed; a runner and samples but where the last ones go and nothing
 * makes up for it. Guarantees: inputs and outputs of the model keep their shapes. Test: tests/passes/cut_blocks/ */
#include "passes/pass.h"
#include "passes/prune_compensate.h"
#include "passes/solve_blas.h"
#include "passes/switches.h"

#include <math.h>

enum { MOST_SAMPLES = 64 };

/* Nodes between two values, the first of which may stand for the second. */
typedef struct block {
    sinter_value from, to;
    sinter_node next; /* the first layer behind it; 0: none */
    double share;     /* that its layers ask for; 0: it stays */
    bool last, compensates;
    bool is_gone;
} block;

typedef struct cutter {
    sinter_pass_context *context;
    sinter_module *module;
    sinter_diag *diag;
    sinter_arena *scratch;
    uint32_t *place;    /* by node of the main region, from 1 */
    bool *is_learned;   /* by value: a layer is behind it */
    uint32_t *last_use; /* by value: the last place */
    sinter_layer_list layers;
    SINTER_VECTOR(block) blocks;
    double asked; /* the largest share that a layer asks for */
} cutter;

/* ---- where the model is one value ---- */

static void survey(cutter *c) {
    sinter_module *module = c->module;
    uint32_t count = 0, values = sinter_module_value_limit(module);
    c->place = SINTER_NEW_ARRAY(c->scratch, uint32_t, sinter_module_node_limit(module));
    c->is_learned = SINTER_NEW_ARRAY(c->scratch, bool, values);
    c->last_use = SINTER_NEW_ARRAY(c->scratch, uint32_t, values);
    c->layers = sinter_layer_find_all(module, c->scratch);
    for (size_t i = 0; i < c->layers.count; i++) c->is_learned[c->layers.items[i].output] = true;
    SINTER_FOR_NODES (module, sinter_module_main(module), node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        c->place[node] = ++count;
        bool learned = info->region_count > 0; /* may be */
        for (uint32_t i = 0; i < info->operand_count; i++)
            learned = learned || (info->operands[i] && c->is_learned[info->operands[i]]);
        for (uint32_t i = 0; i < info->result_count && learned; i++)
            if (info->results[i]) c->is_learned[info->results[i]] = true;
    }
    for (sinter_value v = 1; v < values; v++) {
        const sinter_value_info *info = sinter_value_get(module, v);
        for (size_t i = 0; !info->erased && i < info->uses.count; i++) {
            sinter_node node =
                sinter_node_within(module, info->uses.items[i].node, sinter_module_main(module));
            if (node && c->place[node] > c->last_use[v]) c->last_use[v] = c->place[node];
        }
    }
}

/* The value that alone is left of what layers made once the node has run; 0: there are more. */
static sinter_value find_cut(const cutter *c, sinter_node node, sinter_value *live, size_t *count) {
    const sinter_node_info *info = sinter_node_get(c->module, node);
    size_t left = 0;
    for (size_t i = 0; i < *count; i++)
        if (c->last_use[live[i]] > c->place[node]) live[left++] = live[i];
    for (uint32_t i = 0; i < info->result_count; i++) {
        sinter_value value = info->results[i];
        if (value && c->is_learned[value] && c->last_use[value] > c->place[node])
            live[left++] = value;
    }
    *count = left;
    return left == 1 && info->result_count == 1 && live[0] == info->results[0] ? live[0] : 0;
}

static bool is_block(const cutter *c, sinter_value from, sinter_value to) {
    const sinter_type *a = sinter_value_type(c->module, from),
                      *b = sinter_value_type(c->module, to);
    return a->kind == SINTER_TYPE_TENSOR && a->rank > 1 && sinter_type_equal(a, b);
}

/* What its layers ask for: the least. */
static bool describe(cutter *c, block *b, size_t first, size_t end) {
    *b = (block){.share = 1, .next = b->next, .from = b->from, .to = b->to};
    for (size_t i = first; i < end; i++) {
        sinter_layer_recipe recipe;
        if (!sinter_recipe_find(c->context->options->compression->recipe, c->layers.items[i].name,
                                &recipe, c->diag))
            return false;
        b->share = fmin(b->share, recipe.cut);
        b->last = b->last || recipe.cut_last;
        b->compensates = b->compensates || sinter_layer_recipe_compensates(&recipe);
    }
    return true;
}

static bool find_asked(cutter *c) {
    for (size_t i = 0; i < c->layers.count; i++) {
        sinter_layer_recipe recipe;
        if (!sinter_recipe_find(c->context->options->compression->recipe, c->layers.items[i].name,
                                &recipe, c->diag))
            return false;
        c->asked = fmax(c->asked, recipe.cut);
    }
    return true;
}

/* A cut counts where a layer comes next: behind activations and normalisations. */
static bool find_blocks(cutter *c) {
    sinter_value *live =
        SINTER_NEW_ARRAY(c->scratch, sinter_value, sinter_module_value_limit(c->module));
    sinter_value from = c->layers.count ? c->layers.items[0].input : 0, cut = from;
    size_t count = 0, layer = 0, first = 0; /* layers so far; those before the last cut */
    SINTER_FOR_NODES (c->module, sinter_module_main(c->module), node) {
        bool is_layer = layer < c->layers.count && c->layers.items[layer].node == node;
        bool is_end = sinter_node_get(c->module, node)->next == 0;
        if ((is_layer || is_end) && cut && cut != from) {
            block b = {.from = from, .to = cut, .next = is_layer ? node : 0};
            if (is_block(c, from, cut)) {
                if (!describe(c, &b, first, layer)) return false;
                if (b.share > 0) sinter_vector_push(c->scratch, &c->blocks, b);
            }
            from = cut;
            first = layer;
        }
        if (is_layer) {
            layer++;
            cut = 0;
        }
        sinter_value found = find_cut(c, node, live, &count);
        if (found) cut = found;
    }
    return true;
}

/* ---- which go ---- */

/* Where all blocks have a switch: what is read behind them. */
static bool add_switches(const cutter *c, sinter_switches *switches) {
    sinter_module *copy = switches->module;
    sinter_map now;
    sinter_map_init(&now, c->scratch);
    for (size_t i = 0; i < c->blocks.count; i++) {
        const block *b = &c->blocks.items[i];
        uint64_t from = b->from;
        sinter_map_find(&now, b->from, &from);
        sinter_node after = sinter_node_get(copy, sinter_value_definition(copy, b->to))->next;
        const sinter_value_info *info = sinter_value_get(copy, b->to);
        size_t count = info->uses.count;
        sinter_use *uses = sinter_arena_copy(c->scratch, info->uses.items, count * sizeof *uses);
        sinter_value blend = sinter_switches_blend(switches, after, i, b->to, (sinter_value)from);
        if (!blend) return false;
        for (size_t u = 0; u < count; u++)
            sinter_rewrite_set_operand(&switches->rewrite, uses[u].node, uses[u].operand, blend);
        sinter_map_put(&now, b->to, blend);
    }
    return true;
}

/* One more of those that may go: the one that changes the outputs least. */
static bool find_least(const cutter *c, sinter_switches *switches, size_t *out_index) {
    size_t count = c->blocks.count, sets = 0;
    bool *on = SINTER_NEW_ARRAY(c->scratch, bool, count *count);
    size_t *which = SINTER_NEW_ARRAY(c->scratch, size_t, count);
    double *changes = SINTER_NEW_ARRAY(c->scratch, double, count), least = INFINITY;
    for (size_t i = 0; i < count; i++) {
        if (c->blocks.items[i].is_gone) continue;
        for (size_t k = 0; k < count; k++)
            on[sets * count + k] = k == i || c->blocks.items[k].is_gone;
        which[sets++] = i;
    }
    if (!sinter_switches_measure(switches, on, sets, MOST_SAMPLES, "cut-blocks", changes))
        return false;
    *out_index = which[0];
    for (size_t i = 0; i < sets; i++)
        if (changes[i] < least) {
            least = changes[i];
            *out_index = which[i];
        }
    return true;
}

static bool choose_by_outputs(cutter *c, size_t goal) {
    sinter_module *copy = sinter_module_clone(c->module);
    sinter_switches switches;
    bool good = sinter_switches_init(&switches, copy, c->blocks.count,
                                     c->context->options->compression, c->diag) &&
                add_switches(c, &switches);
    for (size_t gone = 0; gone < goal && good; gone++) {
        size_t index;
        good = find_least(c, &switches, &index);
        if (good) c->blocks.items[index].is_gone = true;
    }
    sinter_switches_deinit(&switches);
    sinter_module_destroy(copy);
    return good;
}

/* ---- removal ---- */

/* Returns the first layer that reads something else. */
static sinter_node remove_blocks(cutter *c) {
    sinter_map now;
    sinter_node first = 0;
    sinter_map_init(&now, c->scratch);
    for (size_t i = 0; i < c->blocks.count; i++) {
        const block *b = &c->blocks.items[i];
        uint64_t from = b->from;
        if (!b->is_gone) continue;
        sinter_map_find(&now, b->from, &from);
        sinter_rewrite_replace(&c->context->rewrite, b->to, (sinter_value)from);
        sinter_map_put(&now, b->to, from);
        if (!first) first = b->next;
    }
    sinter_pass_eliminate_dead(c->context);
    return first;
}

/* The first layer behind the first gap may be one of a block that went, too. */
static sinter_node first_left(const cutter *c, sinter_node first) {
    bool seen = false;
    for (size_t i = 0; i < c->layers.count; i++) {
        sinter_node node = c->layers.items[i].node;
        seen = seen || node == first;
        if (seen && !sinter_node_get(c->module, node)->erased) return node;
    }
    return 0;
}

static bool cut(cutter *c, size_t goal, bool last, bool compensates) {
    for (size_t i = 0; i < goal && last; i++)
        c->blocks.items[c->blocks.count - 1 - i].is_gone = true;
    if (!last && !choose_by_outputs(c, goal)) return false;
    sinter_module *dense = compensates ? sinter_module_clone(c->module) : NULL;
    sinter_node first = remove_blocks(c);
    if (first) first = first_left(c, first);
    bool good = !first || !compensates || sinter_prune_compensate(c->context, NULL, dense, first);
    sinter_module_destroy(dense);
    return good;
}

void sinter_pass_cut_blocks(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    cutter c = {.context = context,
                .module = context->module,
                .diag = context->rewrite.build.diag,
                .scratch = &context->scratch};
    survey(&c);
    if (!find_asked(&c) || c.asked == 0 || !find_blocks(&c)) return;
    double share = 1;
    bool last = false, compensates = false;
    for (size_t i = 0; i < c.blocks.count; i++) {
        share = fmin(share, c.blocks.items[i].share);
        last = last || c.blocks.items[i].last;
        compensates = compensates || c.blocks.items[i].compensates;
    }
    size_t goal = (size_t)floor(share * (double)c.blocks.count + 1e-9);
    if (!goal) {
        const char *where = sinter_module_name(c.module);
        if (c.blocks.count)
            sinter_warning(c.diag, where,
                           "cut=%g removes nothing: of %zu blocks that may go it is less than one",
                           c.asked, c.blocks.count);
        else
            sinter_warning(
                c.diag, where,
                "cut=%g removes nothing: no block, between two values of one type through "
                "which alone the model goes, may go by the rules of all its layers",
                c.asked);
        return;
    }
    bool needs_data = !last || compensates;
    if (needs_data && !sinter_compression_has_data(compression, "cut", c.diag)) return;
    if (compensates && !sinter_blas_begin(c.diag)) return;
    cut(&c, goal, last, compensates);
    if (compensates) sinter_blas_end();
}
