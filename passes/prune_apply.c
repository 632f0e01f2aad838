/* Units that go: what is left, what that saves, and the graph without them. Test: tests/passes/prune_channels/ */
#include "ir/infer.h"
#include "passes/prune_graph.h"

#include <string.h>

bool sinter_prune_can_remove(const sinter_prune_graph *graph, int32_t unit) {
    if (graph->removed[unit]) return false;
    for (size_t i = graph->first_part[unit]; i < graph->first_part[unit + 1]; i++)
        if (graph->left[graph->parts.items[i].axis] <= graph->parts.items[i].count) return false;
    return true;
}

void sinter_prune_remove(sinter_prune_graph *graph, int32_t unit) {
    graph->removed[unit] = true;
    for (size_t i = graph->first_part[unit]; i < graph->first_part[unit + 1]; i++)
        graph->left[graph->parts.items[i].axis] -= graph->parts.items[i].count;
}

double sinter_prune_products(const sinter_prune_graph *graph, double *out_saved) {
    double total = 0;
    for (int32_t u = 0; u < graph->unit_count; u++) out_saved[u] = 0;
    for (size_t i = 0; i < graph->constants.count; i++) {
        const sinter_prune_constant *c = &graph->constants.items[i];
        double products = c->products;
        for (uint32_t axis = 0; axis < c->tensor->rank; axis++)
            if (graph->axes.items[c->axes + axis].size)
                products *= (double)graph->left[c->axes + axis] /
                            (double)graph->axes.items[c->axes + axis].size;
        total += products;
        for (uint32_t axis = 0; products > 0 && axis < c->tensor->rank; axis++) {
            const sinter_prune_axis *a = &graph->axes.items[c->axes + axis];
            double each = products / (double)graph->left[c->axes + axis];
            for (int64_t k = 0; k < a->size; k++) {
                int32_t unit = graph->units[a->first + (size_t)k];
                if (unit != SINTER_PRUNE_NO_UNIT && !graph->removed[unit]) out_saved[unit] += each;
            }
        }
    }
    return total;
}

/* ---- the graph ---- */

typedef struct cutter {
    const sinter_prune_graph *graph;
    sinter_rewrite *rewrite;
    sinter_node node;
    bool **marks; /* by axis: NULL where all of it stays */
} cutter;

static bool *make_marks(cutter *c, const int32_t *units, int64_t size) {
    bool *marks = SINTER_NEW_ARRAY(c->graph->arena, bool, size);
    bool any = false;
    for (int64_t i = 0; i < size; i++) {
        marks[i] = units[i] == SINTER_PRUNE_NO_UNIT || !c->graph->removed[units[i]];
        any = any || !marks[i];
    }
    return any ? marks : NULL;
}

static void mark_axes(cutter *c) {
    c->marks = SINTER_NEW_ARRAY(c->graph->arena, bool *, c->graph->axes.count + 1);
    for (size_t i = 0; i < c->graph->axes.count; i++) {
        const sinter_prune_axis *axis = &c->graph->axes.items[i];
        c->marks[i] = make_marks(c, c->graph->units + axis->first, axis->size);
    }
}

static const bool *kept(void *user, bool is_result, uint32_t index, uint32_t axis) {
    const cutter *c = user;
    size_t at = sinter_prune_axis_index(c->graph, c->node, is_result, index, axis);
    return c->marks[at];
}

/* The elements of a constant all of whose indices stay. */
static bool cut_constant(cutter *c, const sinter_prune_constant *constant) {
    const sinter_tensor *from = constant->tensor;
    int64_t dims[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0}, to = 0;
    bool any = false;
    for (uint32_t axis = 0; axis < from->rank; axis++) {
        dims[axis] = c->graph->left[constant->axes + axis];
        any = any || c->marks[constant->axes + axis];
    }
    if (!any) return true;
    sinter_tensor cut;
    if (!sinter_tensor_create(&cut, from->dtype, from->rank, dims, c->rewrite->build.diag))
        return false;
    bool is_float = sinter_dtype_is_float(from->dtype);
    for (int64_t i = 0, count = sinter_tensor_count(from); i < count; i++) {
        bool stays = true;
        for (uint32_t axis = 0; axis < from->rank; axis++) {
            const bool *marks = c->marks[constant->axes + axis];
            stays = stays && (!marks || marks[at[axis]]);
        }
        if (stays && is_float)
            sinter_tensor_set_double(&cut, to++, sinter_tensor_get_double(from, i));
        else if (stays)
            sinter_tensor_set_int(&cut, to++, sinter_tensor_get_int(from, i));
        for (uint32_t axis = from->rank; axis-- > 0;) {
            if (++at[axis] < from->dims[axis]) break;
            at[axis] = 0;
        }
    }
    sinter_value old = sinter_node_operand(c->graph->module, constant->node, constant->operand);
    sinter_rewrite_at(c->rewrite, constant->node);
    sinter_value value = sinter_build_constant(&c->rewrite->build, cut);
    if (!value) return false;
    sinter_rewrite_set_operand(c->rewrite, constant->node, constant->operand, value);
    if (!sinter_value_get(c->graph->module, old)->uses.count)
        sinter_rewrite_erase(c->rewrite, sinter_value_definition(c->graph->module, old));
    return true;
}

bool sinter_prune_apply(const sinter_prune_graph *graph, sinter_rewrite *rewrite) {
    sinter_module *module = graph->module;
    sinter_region main = sinter_module_main(module);
    cutter c = {.graph = graph, .rewrite = rewrite};
    mark_axes(&c);
    const sinter_axes_cut cut = {&c, kept};
    SINTER_FOR_NODES (module, main, node) {
        c.node = node;
        sinter_rewrite_at(rewrite, node);
        if (!sinter_axes_shrink(rewrite, node, &cut)) return false;
    }
    for (size_t i = 0; i < graph->constants.count; i++)
        if (!cut_constant(&c, &graph->constants.items[i])) return false;
    sinter_infer_forget_region(module, main);
    return sinter_infer_region(module, main, rewrite->build.diag);
}
