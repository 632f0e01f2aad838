/* Shardings spread from values of which something is said to all others, along the axes of the nodes between them, until
 * nothing changes: those of higher priority first, through what goes index by index before what sums. What a user closed stays;
 * where two disagree, that which is said of a constant wins, then of what is larger, then that of operands. In the end every tensor has a sharding
 * without open dims; results of which ranks hold terms say so. --explain: conflicts are warnings that name both values.
 * Needs: a mesh; without one nothing happens. Test: tests/passes/shard_propagate/ */
#include "passes/pass.h"
#include "passes/shard_factors.h"

typedef struct propagation {
    sinter_shard_state state;
    sinter_shard_node **nodes; /* by id; NULL: not of the main region */
    bool changed;
} propagation;

/* ---- one node ---- */

/* Open dims take what the node's cuts add to what they have. */
static void spread_dim(propagation *p, sinter_value value, uint32_t axis,
                       const sinter_mesh_axes *cut, sinter_value origin) {
    sinter_shard_value *v = &p->state.values[value];
    sinter_shard_dim *dim = &v->sharding->dims[axis];
    if (!dim->is_open || cut->count <= dim->axes.count) return;
    for (uint32_t i = 0; i < cut->count; i++) {
        if (i < dim->axes.count) {
            if (dim->axes.items[i] != cut->items[i]) return;
            continue;
        }
        uint32_t taken =
            sinter_sharding_used(v->sharding) | v->sharding->partial | v->sharding->replicated;
        if (taken >> cut->items[i] & 1) return;
        sinter_mesh_axes_add(&dim->axes, cut->items[i]);
        v->origins[axis] = origin;
        if (origin != value) {
            uint32_t priority = 0; /* as urgent as what it comes from */
            const sinter_shard_value *from = &p->state.values[origin];
            for (uint32_t k = 0; k < from->sharding->rank; k++)
                if (sinter_mesh_axes_have(&from->sharding->dims[k].axes, cut->items[i]))
                    priority = from->sharding->dims[k].priority;
            dim->priority = priority;
        }
        p->changed = true;
    }
}

static void spread_value(propagation *p, const sinter_shard_node *n, sinter_value value,
                         bool is_result, uint32_t index) {
    sinter_value origin;
    if (!value || !p->state.values[value].sharding) return;
    for (uint32_t axis = 0; axis < p->state.values[value].sharding->rank; axis++) {
        sinter_mesh_axes cut = sinter_shard_project(&p->state, n, is_result, index, axis, &origin);
        spread_dim(p, value, axis, &cut, origin);
    }
}

static void spread_node(propagation *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->state.module, node);
    sinter_shard_node *n = p->nodes[node];
    if (!n->map.factors.count) return;
    sinter_shard_resolve(&p->state, node, n);
    for (uint32_t i = 0; i < info->operand_count; i++)
        spread_value(p, n, info->operands[i], false, i);
    for (uint32_t i = 0; i < info->result_count; i++) spread_value(p, n, info->results[i], true, i);
}

/* ---- all of them ---- */

static bool passes_through(const sinter_module *module, sinter_node node) {
    sinter_pattern pattern = sinter_op_get_info(sinter_node_op(module, node))->pattern;
    return pattern == SINTER_PATTERN_ELEMENTWISE || pattern == SINTER_PATTERN_VIEW;
}

static void sweep(propagation *p, bool only_through) {
    sinter_module *module = p->state.module;
    const sinter_region_info *main = sinter_region_get(module, sinter_module_main(module));
    for (sinter_node node = main->first; node; node = sinter_node_get(module, node)->next)
        if (!only_through || passes_through(module, node)) spread_node(p, node);
    for (sinter_node node = main->last; node; node = sinter_node_get(module, node)->previous)
        if (!only_through || passes_through(module, node)) spread_node(p, node);
}

static void spread_all(propagation *p) {
    do {
        do {
            p->changed = false;
            sweep(p, true);
        } while (p->changed);
        sweep(p, false);
    } while (p->changed);
}

/* Shardings of lower priority wait for their turn. Returns the lowest one that is left, or 0. */
static uint32_t reveal(propagation *p, uint32_t priority) {
    uint32_t next = 0;
    for (sinter_value value = 1; value < sinter_module_value_limit(p->state.module); value++) {
        sinter_shard_value *v = &p->state.values[value];
        const sinter_sharding *said = sinter_value_sharding(p->state.module, value);
        if (!v->sharding || !v->is_user || !said) continue;
        for (uint32_t i = 0; i < said->rank; i++) {
            sinter_shard_dim *dim = &v->sharding->dims[i];
            uint32_t own = said->dims[i].priority;
            if (own > priority && (!next || own < next)) next = own;
            if (own > priority) {
                if (priority == 0) *dim = (sinter_shard_dim){.is_open = true, .priority = own};
            } else if (own == priority && priority) {
                *dim = said->dims[i];
                v->origins[i] = dim->axes.count ? value : 0;
                for (uint32_t k = 0; k < said->rank; k++) /* what spread over it gives way */
                    if (k != i && (sinter_mesh_axes_mask(&v->sharding->dims[k].axes) &
                                   sinter_mesh_axes_mask(&dim->axes)))
                        v->sharding->dims[k].axes = (sinter_mesh_axes){0};
            }
        }
    }
    return next;
}

/* Results of which ranks hold terms, where the axes are free. What leaves the module is summed, unless somebody said otherwise. */
static void mark_partial(propagation *p, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(p->state.module, node);
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(p->nodes[node], &combine);
    if (!terms.count || combine != SINTER_AXIS_COMBINE_SUM) return;
    for (uint32_t i = 0; i < info->result_count; i++) {
        sinter_value value = info->results[i];
        sinter_shard_value *v = value ? &p->state.values[value] : NULL;
        if (!v || !v->sharding || v->is_user || sinter_value_is_output(p->state.module, value))
            continue;
        v->sharding->partial |= sinter_mesh_axes_mask(&terms) & ~sinter_sharding_used(v->sharding);
    }
}

static void finish(propagation *p, sinter_rewrite *rewrite) {
    sinter_module *module = p->state.module;
    for (sinter_value value = 1; value < sinter_module_value_limit(module); value++) {
        sinter_sharding *sharding = p->state.values[value].sharding;
        if (!sharding) continue;
        for (uint32_t i = 0; i < sharding->rank; i++) {
            sharding->dims[i].is_open = false;
            sharding->dims[i].priority = 0;
        }
        const sinter_sharding *old = sinter_value_sharding(module, value);
        if (!old || !sinter_sharding_equal(old, sharding)) rewrite->change_count++;
        sinter_value_set_sharding(module, value, sharding);
    }
}

void sinter_pass_shard_propagate(sinter_pass_context *context) {
    sinter_module *module = context->module;
    propagation p = {0};
    if (!sinter_module_mesh(module)->axis_count) return;
    sinter_shard_state_init(&p.state, module, &context->scratch);
    p.nodes =
        SINTER_NEW_ARRAY(&context->scratch, sinter_shard_node *, sinter_module_node_limit(module));
    sinter_region main = sinter_module_main(module);
    SINTER_FOR_NODES (module, main, node) {
        p.nodes[node] = SINTER_NEW(&context->scratch, sinter_shard_node);
        sinter_shard_describe(&p.state, node, p.nodes[node]);
    }
    uint32_t priority = 0;
    do {
        uint32_t next = reveal(&p, priority);
        spread_all(&p);
        priority = next;
    } while (priority);
    if (context->options->explain) p.state.report = context->rewrite.build.diag;
    SINTER_FOR_NODES (module, main, node) {
        sinter_shard_resolve(&p.state, node, p.nodes[node]);
        mark_partial(&p, node);
    }
    finish(&p, &context->rewrite);
}
