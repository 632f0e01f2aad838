/* Cuts the main region into stages, one after the other in the order of the program, each a `group` with the attribute `stage`: what
 * pipelines run side by side on different requests. The longest stage, with what it takes from those before, is as
 * short as it can be; where several cuts are as good, that with the shortest stages before it. The weights of a stage fit into the memory of a device.
 *
 * Times are those of the nodes by themselves, before fusion. --explain: a note for each stage.
 * Needs: --hardware, --stages. Guarantees: values stay what they are; weights stay outside of the groups.
 * runtime/jit/stages.c makes programs of them. Test: tests/passes/pipeline_split/ */
#include "ir/cost.h"
#include "ir/estimate.h"
#include "passes/pass.h"

#include <math.h>

typedef struct splitter {
    sinter_pass_context *context;
    sinter_module *module;
    const sinter_hardware *hardware;
    SINTER_VECTOR(sinter_node) nodes;
    double *seconds, *weights; /* of the first i nodes */
    double *taken;   /* by place: bytes that a stage that begins there takes from those before */
    uint32_t *place; /* by node, + 1 */
} splitter;

static bool is_step(const sinter_module *module, sinter_node node) {
    sinter_op op = sinter_node_op(module, node);
    return op != SINTER_OP_constant && !sinter_op_has_trait(op, SINTER_TRAIT_TERMINATOR);
}

static double weight_bytes(const splitter *s, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    double bytes = 0;
    for (uint32_t i = 0; i < info->operand_count; i++) {
        const sinter_tensor *tensor =
            info->operands[i] ? sinter_value_constant(s->module, info->operands[i]) : NULL;
        if (tensor) bytes += (double)sinter_tensor_bytes(tensor);
    }
    return bytes;
}

/* The place of the node of the main region that the use is in, or is inside of; the end for the yield. */
static uint32_t place_of_use(const splitter *s, sinter_node node) {
    sinter_region main = sinter_module_main(s->module);
    while (sinter_node_get(s->module, node)->parent != main)
        node = sinter_region_get(s->module, sinter_node_get(s->module, node)->parent)->owner;
    return s->place[node] ? s->place[node] - 1 : (uint32_t)s->nodes.count;
}

/* Values cross every place between where they are made and where they are used last. */
static void add_crossings(splitter *s, sinter_value value, uint32_t from) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    double bytes = sinter_cost_type_bytes(s->module, &info->type);
    uint32_t last = from;
    for (size_t i = 0; i < info->uses.count; i++) {
        uint32_t at = place_of_use(s, info->uses.items[i].node);
        if (at < s->nodes.count && at > last) last = at;
    }
    for (uint32_t at = from + 1; at <= last; at++) s->taken[at] += bytes;
}

static void measure(splitter *s) {
    sinter_arena *arena = &s->context->scratch;
    sinter_region main = sinter_module_main(s->module);
    double all_weights = sinter_cost_weight_bytes(s->module);
    s->place = SINTER_NEW_ARRAY(arena, uint32_t, sinter_module_node_limit(s->module));
    SINTER_FOR_NODES (s->module, main, node) {
        if (!is_step(s->module, node)) continue;
        sinter_vector_push(arena, &s->nodes, node);
        s->place[node] = (uint32_t)s->nodes.count;
    }
    s->seconds = SINTER_NEW_ARRAY(arena, double, s->nodes.count + 1);
    s->weights = SINTER_NEW_ARRAY(arena, double, s->nodes.count + 1);
    s->taken = SINTER_NEW_ARRAY(arena, double, s->nodes.count + 1);
    for (uint32_t i = 0; i < s->nodes.count; i++) {
        sinter_node node = s->nodes.items[i];
        sinter_estimate_step step =
            sinter_estimate_node(s->module, node, s->hardware, all_weights, arena);
        s->seconds[i + 1] = s->seconds[i] + step.seconds;
        s->weights[i + 1] = s->weights[i] + weight_bytes(s, node);
        for (uint32_t r = 0; r < sinter_node_get(s->module, node)->result_count; r++)
            if (sinter_node_result(s->module, node, r))
                add_crossings(s, sinter_node_result(s->module, node, r), i);
    }
}

/* ---- where to cut ---- */

/* Of nodes [first, end); INFINITY where their weights do not fit. */
static double stage_seconds(const splitter *s, size_t first, size_t end) {
    const sinter_hardware *h = s->hardware;
    double seconds = s->seconds[end] - s->seconds[first];
    if (s->weights[end] - s->weights[first] > h->memory) return INFINITY;
    if (first && h->link_count)
        seconds += h->links[0].latency + s->taken[first] / h->links[0].bandwidth;
    return seconds;
}

/* Ends of the stages, so that the longest is shortest: best[k][end] over where stage k begins. False where none fits. */
static bool choose_ends(const splitter *s, uint32_t stages, size_t *out_ends) {
    size_t width = s->nodes.count + 1;
    double *best = SINTER_NEW_ARRAY(&s->context->scratch, double, stages *width);
    size_t *begin = SINTER_NEW_ARRAY(&s->context->scratch, size_t, stages * width);
    for (uint32_t k = 0; k < stages; k++)
        for (size_t end = 0; end < width; end++) {
            double *own = &best[k * width + end];
            *own = k || !end ? INFINITY : stage_seconds(s, 0, end);
            for (size_t first = k; k && first < end; first++) {
                double before = best[(k - 1) * width + first], here = stage_seconds(s, first, end);
                double longest = before > here ? before : here;
                if (longest < *own) {
                    *own = longest;
                    begin[k * width + end] = first;
                }
            }
        }
    size_t end = s->nodes.count;
    if (best[(stages - 1) * width + end] == INFINITY) return false;
    for (uint32_t k = stages; k-- > 0;) {
        out_ends[k] = end;
        end = begin[k * width + end];
    }
    return true;
}

/* ---- groups ---- */

static void explain(const splitter *s, uint32_t stage, size_t first, size_t end) {
    if (!s->context->explain) return;
    sinter_note(s->context->rewrite.build.diag, sinter_module_name(s->module),
                "stage %u: %zu nodes, %.4g ms, %.4g MB of weights, takes %.4g kB", stage,
                end - first, 1e3 * stage_seconds(s, first, end),
                1e-6 * (s->weights[end] - s->weights[first]), 1e-3 * s->taken[first]);
}

static void split(splitter *s, const size_t *ends, uint32_t stages) {
    sinter_rewrite *rewrite = &s->context->rewrite;
    for (uint32_t k = 0; k < stages; k++) {
        size_t first = k ? ends[k - 1] : 0;
        sinter_attr attr = sinter_attr_int("stage", k);
        explain(s, k, first, ends[k]);
        sinter_node group =
            sinter_rewrite_outline(rewrite, s->nodes.items + first, ends[k] - first);
        sinter_rewrite_set_attr(rewrite, group, &attr);
    }
}

static bool has_stages(const sinter_module *module) {
    sinter_region main = sinter_module_main(module);
    SINTER_FOR_NODES (module, main, node)
        if (sinter_node_find_attr(module, node, "stage")) return true;
    return false;
}

void sinter_pass_pipeline_split(sinter_pass_context *context) {
    splitter s = {.context = context, .module = context->module, .hardware = context->hardware};
    sinter_diag *diag = context->rewrite.build.diag;
    const char *where = sinter_module_name(s.module);
    uint32_t stages = context->stages;
    if (has_stages(s.module)) return;
    if (!s.hardware || !stages) {
        sinter_error(diag, where,
                     "pipeline-split needs to know the devices and the number of stages: "
                     "--hardware=FILE --stages=N");
        return;
    }
    measure(&s);
    if (stages > s.nodes.count) {
        sinter_error(diag, where, "%u stages of %zu nodes: expected at most one a node", stages,
                     s.nodes.count);
        return;
    }
    size_t *ends = SINTER_NEW_ARRAY(&context->scratch, size_t, stages);
    if (choose_ends(&s, stages, ends))
        split(&s, ends, stages);
    else
        sinter_error(diag, where,
                     "no %u stages fit: the weights are %.4g MB, a device of %s has %.4g MB; more "
                     "stages (--stages) take less each",
                     stages, 1e-6 * s.weights[s.nodes.count], s.hardware->name,
                     1e-6 * s.hardware->memory);
}
