/* Outlining nodes into a `group` and inlining them again. A group is closed: its region sees only its
 * arguments, one per operand, so that it can be lowered on its own.
 * Test: tests/unit/rewrite_test.c */
#include "ir/rewrite.h"
#include "ir/sharding.h"

#include <assert.h>
#include <string.h>

typedef struct outliner {
    sinter_module *module;
    sinter_arena scratch;
    sinter_map members;   /* node -> 1 */
    sinter_map arguments; /* value from outside -> region argument */
    sinter_region region;
    SINTER_VECTOR(sinter_value) captures;
    SINTER_VECTOR(sinter_value) escapes; /* values of the members used outside */
} outliner;

/* Whether the node is a member or inside one. */
static bool is_inside(const outliner *state, sinter_node node) {
    uint64_t one = 0;
    while (node) {
        if (sinter_map_find(&state->members, node, &one)) return true;
        sinter_region parent = sinter_node_get(state->module, node)->parent;
        node = sinter_region_get(state->module, parent)->owner;
    }
    return false;
}

static bool is_defined_inside(const outliner *state, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(state->module, value);
    sinter_node node =
        info->definition ? info->definition : sinter_region_get(state->module, info->region)->owner;
    return is_inside(state, node);
}

static sinter_value capture(outliner *state, sinter_value value) {
    uint64_t argument = 0;
    if (sinter_map_find(&state->arguments, value, &argument)) return (sinter_value)argument;
    sinter_module *module = state->module;
    sinter_type type = *sinter_value_type(module, value);
    sinter_value made = sinter_region_add_argument(module, state->region, type, NULL);
    const sinter_value_info *info = sinter_value_get(module, value);
    sinter_value_set_content(module, made, info->content, info->content_count);
    sinter_map_put(&state->arguments, value, made);
    sinter_vector_push(&state->scratch, &state->captures, value);
    return made;
}

static void capture_operands(outliner *state, sinter_node node) {
    const sinter_node_info info = *sinter_node_get(state->module, node);
    for (uint32_t i = 0; i < info.operand_count; i++)
        if (info.operands[i] && !is_defined_inside(state, info.operands[i]))
            sinter_node_set_operand(state->module, node, i, capture(state, info.operands[i]));
    for (uint32_t i = 0; i < info.region_count; i++)
        SINTER_FOR_NODES (state->module, info.regions[i], inside) capture_operands(state, inside);
}

static void collect_escapes(outliner *state, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    for (uint32_t i = 0; i < info->result_count; i++) {
        if (!info->results[i]) continue;
        const sinter_value_info *result = sinter_value_get(state->module, info->results[i]);
        bool escapes = false;
        for (size_t k = 0; k < result->uses.count && !escapes; k++)
            escapes = !is_inside(state, result->uses.items[k].node);
        if (escapes) sinter_vector_push(&state->scratch, &state->escapes, info->results[i]);
    }
}

static const char *join_locations(outliner *state, const sinter_node *nodes, size_t count) {
    enum { MAX_LOCATION = 1000 };
    sinter_text text = {0};
    for (size_t i = 0; i < count; i++) {
        const sinter_node_info *info = sinter_node_get(state->module, nodes[i]);
        if (!info->location || info->op == SINTER_OP_constant) continue;
        if (text.size && (strstr(text.data, info->location) || text.size > MAX_LOCATION)) continue;
        if (text.size) sinter_text_append_string(&text, " + ");
        sinter_text_append_string(&text, info->location);
    }
    const char *joined =
        text.size ? sinter_arena_copy_string(&state->scratch, text.data, text.size) : NULL;
    sinter_text_deinit(&text);
    return joined;
}

/* Results of the group take types, contents, shardings, names and outside uses of the values that escape. */
static void connect_results(outliner *state, sinter_rewrite *rewrite, sinter_node group) {
    sinter_module *module = state->module;
    for (size_t i = 0; i < state->escapes.count; i++) {
        sinter_value inner = state->escapes.items[i];
        sinter_value outer = sinter_node_result(module, group, (uint32_t)i);
        sinter_value_set_type(module, outer, *sinter_value_type(module, inner));
        const sinter_value_info *info = sinter_value_get(module, inner);
        sinter_value_set_content(module, outer, info->content, info->content_count);
        sinter_value_set_sharding(module, outer, info->sharding);
        sinter_rewrite_replace(rewrite, inner, outer); /* all uses: inner ones are put back below */
    }
}

sinter_node sinter_rewrite_outline(sinter_rewrite *rewrite, const sinter_node *nodes,
                                   size_t count) {
    assert(count > 0);
    sinter_module *module = rewrite->build.module;
    outliner state = {.module = module};
    sinter_arena_init(&state.scratch);
    sinter_map_init(&state.members, &state.scratch);
    sinter_map_init(&state.arguments, &state.scratch);
    for (size_t i = 0; i < count; i++) sinter_map_put(&state.members, nodes[i], 1);
    for (size_t i = 0; i < count; i++) collect_escapes(&state, nodes[i]);
    sinter_node last = nodes[count - 1];
    sinter_region outside = sinter_node_get(module, last)->parent;
    state.region = sinter_region_add(module);
    for (size_t i = 0; i < count; i++) capture_operands(&state, nodes[i]);

    sinter_node_spec spec = {.op = SINTER_OP_group,
                             .operands = state.captures.items,
                             .operand_count = (uint32_t)state.captures.count,
                             .result_count = (uint32_t)state.escapes.count,
                             .regions = &state.region,
                             .region_count = 1,
                             .location = join_locations(&state, nodes, count)};
    sinter_node group = sinter_node_add(module, outside, last, &spec);
    for (size_t i = 0; i < count; i++) sinter_node_move_to(module, nodes[i], state.region, 0);
    connect_results(&state, rewrite, group);
    /* Inside, the values themselves are used: undo what replacing did to uses within the region. */
    for (size_t i = 0; i < state.escapes.count; i++) {
        sinter_value outer = sinter_node_result(module, group, (uint32_t)i);
        for (size_t k = sinter_value_get(module, outer)->uses.count; k-- > 0;) {
            sinter_use use = sinter_value_get(module, outer)->uses.items[k];
            if (is_inside(&state, use.node))
                sinter_node_set_operand(module, use.node, use.operand, state.escapes.items[i]);
        }
    }
    sinter_node_spec yield = {.op = SINTER_OP_yield,
                              .operands = state.escapes.items,
                              .operand_count = (uint32_t)state.escapes.count};
    sinter_node_add(module, state.region, 0, &yield);
    sinter_arena_deinit(&state.scratch);
    rewrite->change_count++;
    return group;
}

void sinter_rewrite_inline_region(sinter_rewrite *rewrite, sinter_node owner, sinter_region region,
                                  const sinter_value *arguments) {
    sinter_module *module = rewrite->build.module;
    const sinter_region_info info = *sinter_region_get(module, region);
    assert(info.owner == owner);
    for (uint32_t i = 0; i < info.argument_count; i++)
        sinter_value_replace_uses(module, info.arguments[i], arguments[i]);
    sinter_node yield = info.last;
    for (uint32_t i = 0; i < sinter_node_get(module, owner)->result_count; i++)
        if (sinter_node_result(module, owner, i))
            sinter_rewrite_replace(rewrite, sinter_node_result(module, owner, i),
                                   sinter_node_operand(module, yield, i));
    sinter_node_erase(module, yield);
    SINTER_FOR_NODES (module, region, node) sinter_node_move_before(module, node, owner);
    sinter_rewrite_erase(rewrite, owner);
}
