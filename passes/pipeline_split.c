/* Cuts the main region into stages, one after the other in the order of the program, each a `group` with the attribute `stage`: what
 * pipelines run side by side on different requests. The longest stage, with what it takes from those before, is as
 * short as it can be; where several cuts are as good, that with the shortest stages before it. The weights of a stage fit into the memory of a device.
 *
 * Without --stages their number is chosen: the one with which a run of --requests requests, each a stage behind the one before it, is
 * shortest (of ever more requests: with which the longest stage is), of those that fit and that there are devices for; more stages have to
 * make a difference. In a module with a mesh each stage is as many devices as that has ranks, times and weights are those of a rank,
 * by its shardings, and what these make ranks exchange is in them: sums, what nodes take otherwise than it is, halos, steps of recurrences.
 *
 * Times are those of the nodes by themselves, before fusion. --explain: a note for each stage.
 * Needs: --hardware. Guarantees: values stay what they are; weights stay outside of the groups.
 * runtime/jit/stages.c makes programs of them. Test: tests/passes/pipeline_split/ */
#include "ir/cost.h"
#include "ir/estimate.h"
#include "passes/pass.h"
#include "passes/shard_options.h"
#include "passes/shard_prices.h"
#include "passes/way.h"

#include <math.h>

/* A weight of one node that the node at a later place has, too, and none between. */
typedef struct repeat {
    uint32_t place;
    double bytes;
} repeat;
typedef SINTER_VECTOR(repeat) repeat_list;
typedef SINTER_VECTOR(const sinter_sharding *) form_list;

typedef struct splitter {
    sinter_pass_context *context;
    sinter_module *module;
    const sinter_hardware *hardware;
    SINTER_VECTOR(sinter_node) nodes;
    sinter_shard_state state; /* where there is a mesh */
    double ranks;             /* of a stage */
    double *seconds,
        *weights; /* of the first i nodes, of a rank; weights of several nodes count for each */
    repeat_list *repeats; /* by place */
    form_list *forms;     /* by value: other shardings than its own that nodes so far took it by */
    uint32_t *last_user;  /* by value, while weights are counted: a place + 1 */
    double *
        taken; /* by place: bytes that a rank of a stage that begins there takes from those before */
    uint32_t *place; /* by node, + 1 */
    double *
        longest; /* by number of stages - 1, then by end: seconds of the longest of stages that end there */
    size_t *begin; /* the same: where the last of them begins */
} splitter;

static bool is_step(const sinter_module *module, sinter_node node) {
    sinter_op op = sinter_node_op(module, node);
    return op != SINTER_OP_constant && !sinter_op_has_trait(op, SINTER_TRAIT_TERMINATOR);
}

/* ---- what a rank has ---- */

static double part_bytes(const splitter *s, sinter_value value) {
    const sinter_type *type = sinter_value_type(s->module, value);
    const sinter_sharding *said = sinter_value_sharding(s->module, value);
    double parts =
        said ? sinter_sharding_parts(sinter_module_dims(s->module), s->state.mesh, said, type) : 1;
    return sinter_cost_type_bytes(s->module, type) / parts;
}

/* Of one operand; 0 where it is no weight, or one that an operand before it is. cut: NULL without a mesh. */
static double operand_bytes(const splitter *s, sinter_node node, uint32_t operand,
                            const sinter_shard_node *cut) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    sinter_value value = info->operands[operand];
    const sinter_tensor *tensor = value ? sinter_value_constant(s->module, value) : NULL;
    for (uint32_t i = 0; i < operand; i++)
        if (info->operands[i] == value) return 0;
    if (!tensor) return 0;
    double parts = cut ? sinter_shard_operand_parts(&s->state, cut, operand,
                                                    sinter_value_type(s->module, value))
                       : 1;
    return (double)sinter_tensor_bytes(tensor) / parts;
}

/* Bytes of the weights of the node at a place; those that a node before it has, too, are noted there. */
static double add_weights(splitter *s, uint32_t place, const sinter_shard_node *cut) {
    sinter_node_info info = *sinter_node_get(s->module, s->nodes.items[place]);
    double all = 0;
    for (uint32_t i = 0; i < info.operand_count; i++) {
        double bytes = operand_bytes(s, s->nodes.items[place], i, cut);
        if (bytes <= 0) continue;
        uint32_t *last = &s->last_user[info.operands[i]];
        const repeat again = {place, bytes};
        if (*last) sinter_vector_push(&s->context->scratch, &s->repeats[*last - 1], again);
        *last = place + 1;
        all += bytes;
    }
    return all;
}

/* ---- what ranks of a stage exchange ---- */

/* Sums of what a node leaves as terms, as its sharding wants them; until a result has it. */
static double give_seconds(const splitter *s, sinter_node node, const sinter_shard_node *cut) {
    const sinter_node_info *info = sinter_node_get(s->module, node);
    sinter_axis_combine combine;
    sinter_mesh_axes terms = sinter_shard_terms(cut, &combine);
    double seconds = 0;
    for (uint32_t i = 0; i < info->result_count; i++) {
        const sinter_sharding *said =
            info->results[i] ? sinter_value_sharding(s->module, info->results[i]) : NULL;
        if (!said) continue;
        sinter_sharding *natural = sinter_shard_project_all(&s->state, cut, true, i, said->rank),
                        *summed = sinter_sharding_copy(&s->context->scratch, said);
        natural->partial = sinter_mesh_axes_mask(&terms);
        summed->partial = 0;
        seconds += sinter_shard_convert_seconds(&s->state, s->hardware,
                                                sinter_value_type(s->module, info->results[i]),
                                                natural, summed);
    }
    return seconds;
}

/* Until its operands are as it takes them; those that a node before it brought there are. */
static double bring_seconds(splitter *s, sinter_node node, const sinter_shard_node *cut) {
    const sinter_node_info info = *sinter_node_get(s->module, node);
    double seconds = 0;
    for (uint32_t i = 0; i < info.operand_count; i++) {
        sinter_value value = info.operands[i];
        const sinter_sharding *said = value ? sinter_value_sharding(s->module, value) : NULL;
        if (!said || sinter_value_constant(s->module, value)) continue;
        sinter_sharding *from = sinter_sharding_copy(&s->context->scratch, said),
                        *wanted = sinter_shard_project_all(&s->state, cut, false, i, said->rank);
        from->partial = 0;
        bool is_there = false;
        for (size_t k = 0; k < s->forms[value].count; k++)
            is_there |= sinter_sharding_equal(s->forms[value].items[k], wanted);
        if (is_there) continue;
        sinter_vector_push(&s->context->scratch, &s->forms[value], wanted);
        seconds += sinter_shard_convert_seconds(&s->state, s->hardware,
                                                sinter_value_type(s->module, value), from, wanted);
    }
    return seconds;
}

/* Its share of the work, and what ranks exchange before it, in it and after it. */
static double node_seconds(splitter *s, sinter_node node, const sinter_shard_node *cut,
                           double all_weights) {
    sinter_estimate_step step =
        sinter_estimate_node(s->module, node, s->hardware, all_weights, &s->context->scratch);
    double shares = 1;
    if (!cut) return step.seconds;
    for (size_t f = 0; f < cut->map.factors.count; f++)
        shares *= sinter_sharding_axis_parts(sinter_module_dims(s->module), s->state.mesh,
                                             &cut->cuts[f], cut->map.factors.items[f].size);
    return (step.seconds - step.launch_seconds) / shares + step.launch_seconds +
           bring_seconds(s, node, cut) +
           sinter_shard_inner_seconds(&s->state, s->hardware, node, cut) +
           give_seconds(s, node, cut);
}

/* ---- what stages take ---- */

/* The place of the node of the main region that the use is in, or is inside of; the end for the yield. */
static uint32_t place_of_use(const splitter *s, sinter_node node) {
    node = sinter_node_within(s->module, node, sinter_module_main(s->module));
    return s->place[node] ? s->place[node] - 1 : (uint32_t)s->nodes.count;
}

/* Values cross every place between where they are made and where they are used last. */
static void add_crossings(splitter *s, sinter_value value, uint32_t from) {
    const sinter_value_info *info = sinter_value_get(s->module, value);
    double bytes = part_bytes(s, value);
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
    s->repeats = SINTER_NEW_ARRAY(arena, repeat_list, s->nodes.count + 1);
    s->forms = SINTER_NEW_ARRAY(arena, form_list, sinter_module_value_limit(s->module));
    s->last_user = SINTER_NEW_ARRAY(arena, uint32_t, sinter_module_value_limit(s->module));
    for (uint32_t i = 0; i < s->nodes.count; i++) {
        sinter_node node = s->nodes.items[i];
        sinter_shard_node cut, *own = s->state.mesh->axis_count ? &cut : NULL;
        if (own) {
            sinter_shard_describe(&s->state, node, own);
            sinter_shard_resolve(&s->state, node, own);
        }
        s->seconds[i + 1] = s->seconds[i] + node_seconds(s, node, own, all_weights);
        s->weights[i + 1] = s->weights[i] + add_weights(s, i, own);
        for (uint32_t r = 0; r < sinter_node_get(s->module, node)->result_count; r++)
            if (sinter_node_result(s->module, node, r))
                add_crossings(s, sinter_node_result(s->module, node, r), i);
    }
}

/* ---- where to cut ---- */

/* By what a rank reaches that of the next stage, as many devices further on. */
static double take_seconds(const splitter *s, double bytes) {
    const sinter_hardware *h = s->hardware;
    uint32_t link = 0;
    if (!h->link_count) return 0;
    while (link + 1 < h->link_count && (double)h->links[link].devices <= s->ranks) link++;
    return h->links[link].latency + bytes / h->links[link].bandwidth;
}

/* Bytes of weights of the node at `place` that a node before `end` has, too. */
static double repeated_bytes(const splitter *s, size_t place, size_t end) {
    double bytes = 0;
    for (size_t i = 0; i < s->repeats[place].count; i++)
        if (s->repeats[place].items[i].place < end) bytes += s->repeats[place].items[i].bytes;
    return bytes;
}

/* Of nodes [first, end), each weight once. */
static double stage_weights(const splitter *s, size_t first, size_t end) {
    double bytes = s->weights[end] - s->weights[first];
    for (size_t place = first; place < end; place++) bytes -= repeated_bytes(s, place, end);
    return bytes;
}

/* Of nodes [first, end) with so many bytes of weights; INFINITY where these do not fit. */
static double stage_seconds(const splitter *s, size_t first, size_t end, double weights) {
    double seconds = s->seconds[end] - s->seconds[first];
    if (weights > s->hardware->memory) return INFINITY;
    return first ? seconds + take_seconds(s, s->taken[first]) : seconds;
}

/* One stage more than k, by what is known of k; all seconds of the last stage are at least those of its nodes. */
static void add_stage(splitter *s, uint32_t k) {
    size_t width = s->nodes.count + 1;
    for (size_t end = 0; end < width; end++) {
        double *own = &s->longest[k * width + end], repeated = 0;
        *own = k || !end ? INFINITY : stage_seconds(s, 0, end, stage_weights(s, 0, end));
        for (size_t first = end; k && first-- > k;) {
            repeated += repeated_bytes(s, first, end);
            if (s->seconds[end] - s->seconds[first] > *own) break;
            double before = s->longest[(k - 1) * width + first],
                   here =
                       stage_seconds(s, first, end, s->weights[end] - s->weights[first] - repeated);
            double longest = before > here ? before : here;
            if (longest > *own || longest == INFINITY) continue;
            *own = longest;
            s->begin[k * width + end] = first;
        }
    }
}

/* Of all requests, one stage behind the other. */
static double run_seconds(const splitter *s, uint32_t stages) {
    size_t width = s->nodes.count + 1;
    double longest = s->longest[(stages - 1) * width + s->nodes.count];
    double requests = (double)s->context->options->requests;
    return requests > 0 ? (requests + stages - 1) * longest : longest;
}

/* How many there can be. */
static uint32_t most_stages(const splitter *s) {
    double most = floor((double)s->hardware->devices / s->ranks);
    if (s->context->options->stages) most = s->context->options->stages;
    if (most > (double)s->nodes.count) most = (double)s->nodes.count;
    return (uint32_t)fmax(1, fmin(most, SINTER_MOST_STAGES));
}

/* Whether no number of stages from here on can be shorter: the longest has the longest node. */
static bool is_enough(const splitter *s, uint32_t stages, double node, double best) {
    double requests = (double)s->context->options->requests;
    return !sinter_way_pays(requests > 0 ? (requests + stages) * node : node, best);
}

/* 0: none fits. */
static uint32_t choose_stages(splitter *s) {
    uint32_t most = most_stages(s), chosen = 0;
    double best = INFINITY, node = 0;
    size_t count = s->nodes.count, width = count + 1;
    sinter_arena *arena = &s->context->scratch;
    s->longest = SINTER_NEW_ARRAY(arena, double, most *width);
    s->begin = SINTER_NEW_ARRAY(arena, size_t, most * width);
    for (size_t i = 0; i < count; i++) node = fmax(node, s->seconds[i + 1] - s->seconds[i]);
    for (uint32_t stages = 1; stages <= most; stages++) {
        add_stage(s, stages - 1);
        bool is_said = s->context->options->stages != 0;
        if (is_said && stages < most) continue;
        double seconds = run_seconds(s, stages);
        if (seconds == INFINITY) continue;
        if (s->context->options->explain && !is_said)
            sinter_note(s->context->rewrite.build.diag, sinter_module_name(s->module),
                        "%u stages: the longest %.4g ms, a run %.4g ms", stages,
                        1e3 * s->longest[(stages - 1) * width + count], 1e3 * seconds);
        if (sinter_way_pays(seconds, best) || !chosen) {
            best = seconds;
            chosen = stages;
        }
        if (is_enough(s, stages, node, best)) break;
    }
    return chosen;
}

/* Ends of so many stages. */
static void find_ends(const splitter *s, uint32_t stages, size_t *out_ends) {
    size_t end = s->nodes.count, width = end + 1;
    for (uint32_t k = stages; k-- > 0;) {
        out_ends[k] = end;
        end = s->begin[k * width + end];
    }
}

/* ---- groups ---- */

static void explain(const splitter *s, uint32_t stage, size_t first, size_t end) {
    double weights = stage_weights(s, first, end);
    if (!s->context->options->explain) return;
    sinter_note(s->context->rewrite.build.diag, sinter_module_name(s->module),
                "stage %u: %zu nodes, %.4g ms, %.4g MB of weights, takes %.4g kB", stage,
                end - first, 1e3 * stage_seconds(s, first, end, weights), 1e-6 * weights,
                1e-3 * s->taken[first]);
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

static void tell_price(const splitter *s, const size_t *ends, uint32_t stages,
                       sinter_pipeline_price *out_price) {
    out_price->seconds = run_seconds(s, stages);
    for (uint32_t k = 0; k < stages; k++)
        out_price->take_seconds[k] = k ? take_seconds(s, s->taken[ends[k - 1]]) : 0;
}

static bool has_stages(const sinter_module *module) {
    sinter_region main = sinter_module_main(module);
    SINTER_FOR_NODES (module, main, node)
        if (sinter_node_find_attr(module, node, "stage")) return true;
    return false;
}

static void refuse(const splitter *s) {
    const char *where = sinter_module_name(s->module);
    sinter_diag *diag = s->context->rewrite.build.diag;
    double weights = 1e-6 * stage_weights(s, 0, s->nodes.count),
           memory = 1e-6 * s->hardware->memory;
    if (s->context->options->stages)
        sinter_error(diag, where,
                     "no %u stages fit: the weights are %.4g MB, a device of %s has %.4g MB; more "
                     "stages (--stages) take less each",
                     s->context->options->stages, weights, s->hardware->name, memory);
    else
        sinter_error(diag, where,
                     "no stages on the %lld devices of %s fit: the weights are %.4g MB, a device "
                     "has %.4g MB",
                     (long long)s->hardware->devices, s->hardware->name, weights, memory);
}

void sinter_pass_pipeline_split(sinter_pass_context *context) {
    splitter s = {
        .context = context, .module = context->module, .hardware = context->options->hardware};
    sinter_diag *diag = context->rewrite.build.diag;
    const char *where = sinter_module_name(s.module);
    if (has_stages(s.module)) return;
    if (!s.hardware) {
        sinter_error(diag, where, "pipeline-split needs to know the devices: --hardware=FILE");
        return;
    }
    s.state.mesh = sinter_module_mesh(s.module);
    s.ranks = (double)sinter_mesh_rank_count(s.state.mesh);
    if (s.state.mesh->axis_count) sinter_shard_state_init(&s.state, s.module, &context->scratch);
    measure(&s);
    if (context->options->stages > s.nodes.count || !s.nodes.count) {
        sinter_error(diag, where, "%u stages of %zu nodes: expected at most one a node",
                     context->options->stages, s.nodes.count);
        return;
    }
    uint32_t stages = choose_stages(&s);
    size_t *ends = SINTER_NEW_ARRAY(&context->scratch, size_t, stages + 1);
    if (!stages) {
        refuse(&s);
        return;
    }
    find_ends(&s, stages, ends);
    if (context->options->price) tell_price(&s, ends, stages, context->options->price);
    split(&s, ends, stages);
}
