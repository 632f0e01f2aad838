/* Rules of the operators that hold graphs: If, Loop, Scan (also the batched form of opset 8), SequenceMap.
 *
 * The type of a carried value is that of its first value. Where the body yields other dims (a tensor that grows)
 * those dims become symbols, each iteration's own, and the body is built again: at most once a dim.
 * Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

/* ---- if ---- */

/* Takes back a region that no node owns, so that it can be built anew. */
static void discard_region(sinter_module *module, sinter_region region) {
    for (;;) {
        sinter_node last = sinter_region_get(module, region)->last;
        if (!last) break;
        sinter_node_erase(module, last);
    }
    const sinter_region_info *info = sinter_region_get(module, region);
    for (uint32_t i = 0; i < info->argument_count; i++)
        sinter_value_set_name(module, info->arguments[i], NULL);
}

static bool inline_branch(sinter_onnx_node *node, const Onnx__GraphProto *branch) {
    return sinter_onnx_inline_graph(node, branch, NULL, 0, node->results, node->proto->n_output);
}

/* What the region's only result is the op's result for, looking at nothing but the last operation. 0: another op. */
static sinter_value operand_of_last(const sinter_module *module, sinter_region region,
                                    sinter_op op) {
    sinter_value value = sinter_node_operand(module, sinter_region_get(module, region)->last, 0);
    sinter_node definition = value ? sinter_value_get(module, value)->definition : 0;
    if (!definition || sinter_node_get(module, definition)->op != op) return 0;
    return sinter_node_operand(module, definition, 0);
}

/* `x.squeeze(axis)` is exported as If(dim == 1, Squeeze(x), x): results of two ranks, of which the rest of the graph
 * can take only one. The squeeze is taken, whose dim is then 1 or the run an error. */
static bool is_squeeze_or_not(const sinter_module *module, const sinter_region *regions) {
    sinter_value squeezed = operand_of_last(module, regions[0], SINTER_OP_squeeze);
    sinter_value kept = operand_of_last(module, regions[1], SINTER_OP_identity);
    if (!kept) kept = sinter_node_operand(module, sinter_region_get(module, regions[1])->last, 0);
    return squeezed && squeezed == kept;
}

static bool is_one_element(const sinter_module *module, const sinter_type *type) {
    for (uint32_t i = 0; i < type->rank; i++)
        if (!sinter_dim_is(sinter_module_dims(module), type->dims[i], 1)) return false;
    return type->kind == SINTER_TYPE_TENSOR;
}

/* Where one branch yields T[] and the other T[1], the number of lower rank gets the axes of the other: both are one
 * element, and the rank of a result can't depend on data. */
static bool unite_single_elements(sinter_onnx_node *node, const sinter_region *regions) {
    sinter_module *module = node->importer->module;
    int64_t ones[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < SINTER_MAX_RANK; i++) ones[i] = 1;
    for (uint32_t i = 0; i < node->proto->n_output; i++) {
        sinter_node yields[2];
        sinter_type types[2];
        for (int k = 0; k < 2; k++) {
            yields[k] = sinter_region_get(module, regions[k])->last;
            sinter_value value = sinter_node_operand(module, yields[k], i);
            if (!value) return true; /* a branch of fewer results, which is reported later */
            types[k] = *sinter_value_type(module, value);
        }
        if (types[0].rank == types[1].rank || !is_one_element(module, &types[0]) ||
            !is_one_element(module, &types[1]))
            continue;
        int low = types[1].rank < types[0].rank;
        sinter_builder build = node->build;
        build.region = regions[low];
        build.before = yields[low];
        sinter_value raised = sinter_build_reshape(
            &build, sinter_node_operand(module, yields[low], i), ones, types[!low].rank);
        if (!raised) return false;
        sinter_node_set_operand(module, yields[low], i, raised);
    }
    return true;
}

/* A condition known at import leaves one branch, and the other need not even make sense. */
bool sinter_onnx_rule_if(sinter_onnx_node *node) {
    sinter_module *module = node->importer->module;
    sinter_onnx_draft draft;
    const Onnx__GraphProto *branches[] = {sinter_onnx_graph(node, "then_branch", true),
                                          sinter_onnx_graph(node, "else_branch", true)};
    sinter_value condition = sinter_onnx_need_operand(node, 0, "cond");
    if (node->failed) return false;
    int64_t known;
    size_t count;
    if (sinter_onnx_known_ints(node, condition, &known, 1, &count) && count == 1)
        return inline_branch(node, branches[known ? 0 : 1]);
    if (!sinter_onnx_draft_begin(node, &draft)) return false;
    sinter_region regions[2];
    bool ok = true;
    for (int i = 0; i < 2; i++) {
        regions[i] = sinter_onnx_region(node, branches[i], NULL, 0);
        ok &= regions[i] != 0;
        sinter_vector_push(&node->importer->scratch, &draft.regions, regions[i]);
    }
    if (!ok || node->proto->n_output != 1 || !is_squeeze_or_not(module, regions))
        return ok && unite_single_elements(node, regions) && sinter_onnx_draft_finish(node, &draft);
    for (int i = 0; i < 2; i++) discard_region(module, regions[i]);
    sinter_warning(
        node->build.diag, node->where,
        "the rank depends on a dim that is not known: taken to be 1, as squeezing needs it");
    return inline_branch(node, branches[0]);
}

/* ---- bodies with carried values ---- */

typedef struct body {
    const Onnx__GraphProto *graph;
    sinter_type *types; /* of all arguments */
    uint32_t count;
    uint32_t first, carried; /* arguments [first, first + carried) */
    uint32_t yield;          /* where the first carried value is yielded */
    uint64_t *open;          /* per argument: bit i is set where dim i changes between iterations */
} body;

/* The symbols made for open dims are read off the argument in each iteration. */
static void bind_open_dims(sinter_module *module, const body *b, sinter_region region) {
    sinter_dim_table *dims = sinter_module_dims(module);
    for (uint32_t i = 0; i < b->count; i++) {
        sinter_value argument = sinter_region_get(module, region)->arguments[i];
        for (uint32_t k = 0; k < b->types[i].rank; k++) {
            if (!(b->open[i] >> k & 1)) continue;
            sinter_dim_symbol *symbol = sinter_dim_get_symbol(dims, b->types[i].dims[k]);
            symbol->origin = SINTER_DIM_ORIGIN_NODE;
            symbol->value = argument;
            symbol->index = k;
        }
    }
}

/* Makes the argument's type cover what the body yields for it. False after an error. */
static bool widen(sinter_onnx_node *node, body *b, uint32_t argument, const sinter_type *yielded,
                  bool *changed) {
    sinter_module *module = node->importer->module;
    sinter_type *type = &b->types[argument];
    if (sinter_type_equal(type, yielded)) return true;
    if (type->kind != SINTER_TYPE_TENSOR && type->kind == yielded->kind)
        return true; /* inference joins them */
    if (type->kind != yielded->kind || type->dtype != yielded->dtype ||
        type->rank != yielded->rank) {
        sinter_text before = {0}, after = {0};
        sinter_type_describe(sinter_module_dims(module), type, &before);
        sinter_type_describe(sinter_module_dims(module), yielded, &after);
        sinter_onnx_fail(node, "carried value %" PRIu32 " is %s at first and %s after an iteration",
                         argument - b->first, before.data, after.data);
        sinter_text_deinit(&before);
        sinter_text_deinit(&after);
        return false;
    }
    sinter_dim widened[SINTER_MAX_RANK];
    for (uint32_t k = 0; k < type->rank; k++) {
        widened[k] = type->dims[k];
        if (type->dims[k] == yielded->dims[k] || (b->open[argument] >> k & 1)) continue;
        widened[k] = sinter_dim_fresh(sinter_module_dims(module), "carried");
        b->open[argument] |= UINT64_C(1) << k;
        *changed = true;
    }
    *type = sinter_type_tensor(sinter_module_arena(module), type->dtype, type->rank, widened);
    return true;
}

/* Builds the body until the types of its carried arguments hold for every iteration; 0 after an error. */
static sinter_region build_body(sinter_onnx_node *node, body *b) {
    sinter_module *module = node->importer->module;
    b->open = SINTER_NEW_ARRAY(&node->importer->scratch, uint64_t, b->count);
    for (;;) {
        sinter_region region = sinter_onnx_region(node, b->graph, b->types, b->count);
        if (!region) return 0;
        bind_open_dims(module, b, region);
        sinter_node yield = sinter_region_get(module, region)->last;
        bool changed = false;
        for (uint32_t i = 0; i < b->carried; i++) {
            sinter_value value = sinter_node_operand(module, yield, b->yield + i);
            if (!value) {
                sinter_onnx_fail(node, "the body has fewer outputs than carried values");
                return 0;
            }
            sinter_type yielded = *sinter_value_type(module, value);
            if (!widen(node, b, b->first + i, &yielded, &changed)) return 0;
        }
        if (!changed) return region;
        discard_region(module, region);
    }
}

static sinter_type scalar_type(sinter_onnx_node *node, sinter_dtype dtype) {
    return sinter_type_tensor(sinter_module_arena(node->importer->module), dtype, 0, NULL);
}

static bool finish_with(sinter_onnx_node *node, sinter_onnx_draft *draft, sinter_region region) {
    if (!region) return false;
    sinter_vector_push(&node->importer->scratch, &draft->regions, region);
    return sinter_onnx_draft_finish(node, draft);
}

bool sinter_onnx_rule_loop(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    const Onnx__GraphProto *graph = sinter_onnx_graph(node, "body", true);
    if (node->failed || !sinter_onnx_draft_begin(node, &draft)) return false;
    uint32_t carried = node->operand_count > 2 ? node->operand_count - 2 : 0;
    sinter_type *types = SINTER_NEW_ARRAY(&node->importer->scratch, sinter_type, carried + 2);
    types[0] = scalar_type(node, SINTER_DTYPE_i64);
    types[1] = scalar_type(node, SINTER_DTYPE_bool);
    for (uint32_t i = 0; i < carried; i++) {
        sinter_value value = sinter_onnx_need_operand(node, i + 2, "v_initial");
        if (!value) return false;
        types[i + 2] = *sinter_onnx_type_of(node, value);
    }
    body b = {.graph = graph,
              .types = types,
              .count = carried + 2,
              .first = 2,
              .carried = carried,
              .yield = 1};
    return finish_with(node, &draft, build_body(node, &b));
}

/* ---- scan ---- */

/* The type of one slice along axis, which may be negative. False after an error. */
static bool slice_type(sinter_onnx_node *node, const sinter_type *type, int64_t axis,
                       sinter_type *out_type) {
    int64_t rank = type->rank;
    if (type->kind != SINTER_TYPE_TENSOR || axis < -rank || axis >= rank)
        return sinter_onnx_fail(node, "a scan input has no axis %" PRId64, axis);
    if (axis < 0) axis += rank;
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t count = 0;
    for (int64_t i = 0; i < rank; i++)
        if (i != axis) dims[count++] = type->dims[i];
    *out_type =
        sinter_type_tensor(sinter_module_arena(node->importer->module), type->dtype, count, dims);
    return true;
}

/* Types of the body's arguments from those of the operands: states as they are, scan inputs less an axis. */
static bool scan_types(sinter_onnx_node *node, const sinter_type *operands, uint32_t count,
                       uint32_t states, const int64_t *axes, size_t axis_count,
                       sinter_type *types) {
    for (uint32_t i = 0; i < count; i++) {
        types[i] = operands[i];
        int64_t axis = i >= states && i - states < axis_count ? axes[i - states] : 0;
        if (i >= states && !slice_type(node, &operands[i], axis, &types[i])) return false;
    }
    return true;
}

static bool operand_types(sinter_onnx_node *node, uint32_t first, sinter_type *types) {
    for (uint32_t i = first; i < node->operand_count; i++) {
        sinter_value value = sinter_onnx_need_operand(node, i, "state or scan input");
        if (!value) return false;
        types[i - first] = *sinter_onnx_type_of(node, value);
    }
    return true;
}

static bool count_states(sinter_onnx_node *node, uint32_t operands, uint32_t *out_states) {
    int64_t inputs = sinter_onnx_int(node, "num_scan_inputs", 0);
    if (node->failed || inputs < 0 || inputs > operands)
        return sinter_onnx_fail(node, "num_scan_inputs is %" PRId64 ", expected 0 to %" PRIu32,
                                inputs, operands);
    *out_states = operands - (uint32_t)inputs;
    return true;
}

bool sinter_onnx_rule_scan(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    const Onnx__GraphProto *graph = sinter_onnx_graph(node, "body", true);
    uint32_t count = node->operand_count, states = 0;
    const int64_t *axes;
    size_t axis_count = sinter_onnx_ints(node, "scan_input_axes", &axes);
    sinter_type *types =
        SINTER_NEW_ARRAY(&node->importer->scratch, sinter_type, 2 * (size_t)count + 1);
    if (node->failed || !count_states(node, count, &states) ||
        !operand_types(node, 0, types + count) ||
        !scan_types(node, types + count, count, states, axes, axis_count, types) ||
        !sinter_onnx_draft_begin(node, &draft))
        return false;
    body b = {.graph = graph, .types = types, .count = count, .carried = states};
    return finish_with(node, &draft, build_body(node, &b));
}

/* The scan of one batch element, as the only node of a region whose arguments are that element's. */
static sinter_region batch_region(sinter_onnx_node *node, const Onnx__GraphProto *graph,
                                  const sinter_type *types, uint32_t count, uint32_t states,
                                  const int64_t *directions, size_t direction_count) {
    sinter_module *module = node->importer->module;
    sinter_arena *scratch = &node->importer->scratch;
    sinter_region outer = sinter_region_add(module);
    sinter_value *arguments = SINTER_NEW_ARRAY(scratch, sinter_value, count);
    sinter_type *inner = SINTER_NEW_ARRAY(scratch, sinter_type, count);
    for (uint32_t i = 0; i < count; i++)
        arguments[i] = sinter_region_add_argument(module, outer, types[i], NULL);
    if (!scan_types(node, types, count, states, NULL, 0, inner)) return 0;
    body b = {.graph = graph, .types = inner, .count = count, .carried = states};
    sinter_region region = build_body(node, &b);
    if (!region) return 0;
    sinter_attr attributes[] = {
        sinter_attr_int("num_scan_inputs", count - states),
        sinter_attr_ints("scan_input_directions", directions, direction_count)};
    sinter_node_spec scan = {.op = SINTER_OP_scan,
                             .operands = arguments,
                             .operand_count = count,
                             .attributes = attributes,
                             .attribute_count = direction_count ? 2 : 1,
                             .regions = &region,
                             .region_count = 1,
                             .result_count = (uint32_t)graph->n_output};
    sinter_builder build = node->build;
    build.region = outer;
    sinter_node built = sinter_build_node(&build, &scan);
    if (!built) return 0;
    sinter_node_spec yield = {.op = SINTER_OP_yield,
                              .operands = sinter_node_get(module, built)->results,
                              .operand_count = (uint32_t)graph->n_output};
    return sinter_build_node(&build, &yield) ? outer : 0;
}

/* Opset 8: every operand and result has a batch axis in front. A scan over the batch, whose body is the scan. */
bool sinter_onnx_rule_scan_batched(sinter_onnx_node *node) {
    sinter_arena *scratch = &node->importer->scratch;
    const Onnx__GraphProto *graph = sinter_onnx_graph(node, "body", true);
    const int64_t *directions;
    size_t direction_count = sinter_onnx_ints(node, "directions", &directions);
    uint32_t count = node->operand_count ? node->operand_count - 1 : 0, states = 0;
    if (sinter_onnx_operand(node, 0))
        return sinter_onnx_fail(node, "sequence_lens of opset 8 is not supported");
    sinter_type *types = SINTER_NEW_ARRAY(scratch, sinter_type, 2 * (size_t)count + 1);
    if (node->failed || !count_states(node, count, &states) ||
        !operand_types(node, 1, types + count) ||
        !scan_types(node, types + count, count, 0, NULL, 0, types))
        return false;
    sinter_region region =
        batch_region(node, graph, types, count, states, directions, direction_count);
    if (!region) return false;
    sinter_onnx_draft draft = {.op = SINTER_OP_scan};
    for (uint32_t i = 0; i < count; i++)
        sinter_onnx_draft_set_operand(node, &draft, i, node->operands[i + 1]);
    sinter_onnx_draft_set_attr(node, &draft, sinter_attr_int("num_scan_inputs", count));
    return finish_with(node, &draft, region);
}

/* ---- sequences ---- */

/* Arguments of the body: elements of the sequences, other operands as they are. */
bool sinter_onnx_rule_sequence_map(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    const Onnx__GraphProto *graph = sinter_onnx_graph(node, "body", true);
    sinter_type *types =
        SINTER_NEW_ARRAY(&node->importer->scratch, sinter_type, node->operand_count);
    if (node->failed || !operand_types(node, 0, types) || !sinter_onnx_draft_begin(node, &draft))
        return false;
    for (uint32_t i = 0; i < node->operand_count; i++)
        if (types[i].kind == SINTER_TYPE_SEQUENCE) types[i] = *types[i].element;
    sinter_region region = sinter_onnx_region(node, graph, types, node->operand_count);
    return finish_with(node, &draft, region);
}
