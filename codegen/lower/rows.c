/* Lowering of groups that reduce rows, several times or with elementwise results as large as what is reduced: softmax,
 * normalisations. One pass over the rows; within a row a loop for each reduction, in the order of dependence, and one for the
 * elements that are stored before the next. What a later loop needs again is computed again, or kept in scratch
 * of one row where that is dear.
 * Values have the shape of the rows, or dims of 1 where those are reduced ("one for each row").
 * Test: tests/unit/random_graph_test.c, tests/suites/embedded_models.py */
#include "codegen/lower/lower.h"
#include "ir/stack.h"
#include <string.h>

enum { STACK_ROW = SINTER_STACK_SHARE / 8 }; /* elements of a row in scratch, of any type */

typedef struct kept {
    sinter_value value;
    sinter_loop_buffer buffer;
    bool whole;    /* the buffer has all rows, else one */
    uint32_t from; /* stage after whose stores it is there */
} kept;

typedef struct rows {
    sinter_kernel *kernel;
    sinter_module *module;
    sinter_region region;
    const bool *nodes; /* those that make the rows; NULL: all of the region */
    sinter_type type;  /* of a row-shaped value */
    sinter_value row;
    uint32_t axis;                      /* the first reduced one */
    uint32_t last;                      /* the last stage */
    uint32_t *stages;                   /* by node: how many reductions deep it stands */
    uint32_t *loops;                    /* by node: of how many loops it is part */
    sinter_expr index[SINTER_MAX_RANK]; /* outer loops, then zeros or the row's loops */
    sinter_expr count;
    SINTER_VECTOR(kept) kept;
} rows;

static bool is_reduction(sinter_module *module, sinter_node node) {
    sinter_lower_element_rule element;
    sinter_lower_kernel_rule kernel;
    sinter_lower_host_rule host;
    sinter_lower_find_rule(sinter_node_get(module, node)->op, &element, &kernel, &host);
    return kernel == sinter_lower_reduce;
}

static bool same_shape(const sinter_type *a, const sinter_type *b) {
    return a->rank == b->rank && !memcmp(a->dims, b->dims, sizeof *a->dims * a->rank);
}

static bool feeds(sinter_module *module, sinter_region region, sinter_value value,
                  sinter_node reduction) {
    sinter_node node = sinter_value_get(module, value)->definition;
    if (!node || sinter_node_get(module, node)->parent != region) return false;
    if (node == reduction) return true;
    for (uint32_t i = 0; i < sinter_node_get(module, node)->operand_count; ++i) {
        sinter_value operand = sinter_node_operand(module, node, i);
        if (operand && feeds(module, region, operand, reduction)) return true;
    }
    return false;
}

bool sinter_lower_is_rows(sinter_kernel *kernel, sinter_region region) {
    sinter_module *module = kernel->lower->module;
    sinter_node reduction = 0;
    uint32_t count = 0;
    SINTER_FOR_NODES (module, region, node) {
        if (!is_reduction(module, node)) continue;
        reduction = node;
        ++count;
    }
    if (!count) return false;
    const sinter_type *result = sinter_value_type(module, sinter_node_result(module, reduction, 0));
    bool simple = count == 1;
    for (size_t i = 0; i < kernel->outputs.count; ++i) {
        sinter_value output = kernel->outputs.items[i];
        simple = simple && same_shape(sinter_value_type(module, output), result) &&
                 feeds(module, region, output, reduction);
    }
    return !simple;
}

/* ---- what is in which loop ---- */

static bool is_member(const rows *r, sinter_node node) {
    return !r->nodes || r->nodes[node];
}

static sinter_node inside(const rows *r, sinter_value value) {
    sinter_node node = value ? sinter_value_get(r->module, value)->definition : 0;
    return node && sinter_node_get(r->module, node)->parent == r->region && is_member(r, node)
               ? node
               : 0;
}

static bool is_row_shaped(const rows *r, sinter_value value) {
    sinter_node node = inside(r, value);
    return !(node && is_reduction(r->module, node)) &&
           same_shape(sinter_value_type(r->module, value), &r->type);
}

/* Reductions that a value waits for. */
static uint32_t stage_of(const rows *r, sinter_value value) {
    sinter_node node = inside(r, value);
    return node ? r->stages[node] + is_reduction(r->module, node) : 0;
}

static void find_stages(rows *r) {
    SINTER_FOR_NODES (r->module, r->region, node) {
        uint32_t stage = 0;
        if (!is_member(r, node)) continue;
        for (uint32_t i = 0; i < sinter_node_get(r->module, node)->operand_count; ++i) {
            uint32_t own = stage_of(r, sinter_node_operand(r->module, node, i));
            if (own > stage) stage = own;
        }
        r->stages[node] = stage;
        if (!sinter_node_result(r->module, node, 0)) continue; /* the yield */
        if (stage > r->last) r->last = stage;
    }
}

/* Worth keeping rather than computing again. */
static bool is_dear(const rows *r, sinter_node node) {
    static const char *const functions[] = {"exp", "log", "tanh", "erf", "pow", "sin", "cos"};
    const char *body = sinter_op_get_info(sinter_node_get(r->module, node)->op)->body;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; ++i)
        if (strstr(body, functions[i])) return true;
    return false;
}

/* Counts the loop for every row-shaped value it computes on the way to `value`; kept ones end the way. */
static void count_loop(rows *r, sinter_value value, uint32_t *seen, uint32_t loop) {
    sinter_node node = inside(r, value);
    if (!node || is_reduction(r->module, node) || seen[node] == loop) return;
    seen[node] = loop;
    ++r->loops[node];
    if (r->loops[node] > 1 && is_dear(r, node)) return;
    for (uint32_t i = 0; i < sinter_node_get(r->module, node)->operand_count; ++i)
        count_loop(r, sinter_node_operand(r->module, node, i), seen, loop);
}

static void count_loops(rows *r) {
    uint32_t *seen =
        SINTER_NEW_ARRAY(&r->kernel->lower->scratch, uint32_t, sinter_module_node_limit(r->module));
    uint32_t loop = 0;
    SINTER_FOR_NODES (r->module, r->region, node)
        if (is_member(r, node) && is_reduction(r->module, node))
            count_loop(r, sinter_node_operand(r->module, node, 0), seen, ++loop);
    for (uint32_t stage = 0; stage <= r->last; ++stage) {
        ++loop;
        for (size_t i = 0; i < r->kernel->outputs.count; ++i) {
            sinter_value output = r->kernel->outputs.items[i];
            if (stage_of(r, output) == stage) count_loop(r, output, seen, loop);
        }
    }
}

/* ---- kept rows ---- */

static sinter_loop_buffer row_scratch(rows *r, sinter_dtype dtype, bool *out_whole) {
    sinter_kernel *kernel = r->kernel;
    sinter_expr dims[SINTER_MAX_RANK];
    int64_t low, high;
    sinter_loop_range(kernel->build.function, r->count, &low, &high);
    /* Of a part of the rows there is one at a time, and room for it of any length. */
    *out_whole = !kernel->part.value && (high <= 0 || high > STACK_ROW);
    if (*out_whole) {
        for (uint32_t i = 0; i < r->type.rank; ++i)
            dims[i] = sinter_lower_host_dim(kernel->lower, r->type.dims[i]);
        return sinter_kernel_scratch(kernel, "rows", dtype, r->type.rank, dims);
    }
    for (uint32_t i = r->axis; i < r->type.rank; ++i)
        dims[i - r->axis] = sinter_kernel_dim(kernel, r->type.dims[i]);
    sinter_loop_buffer buffer = sinter_loop_add_buffer(
        &kernel->build, "row", dtype, r->type.rank - r->axis, dims, SINTER_SCOPE_STACK);
    sinter_loop_alloc(&kernel->build, buffer);
    return buffer;
}

/* Inside of the loops over rows: scratch for what several loops need and is dear. */
static void choose_kept(rows *r) {
    SINTER_FOR_NODES (r->module, r->region, node) {
        sinter_value value = sinter_node_result(r->module, node, 0);
        if (!value || r->loops[node] < 2 || !is_row_shaped(r, value)) continue;
        sinter_dtype dtype = sinter_value_type(r->module, value)->dtype;
        kept k = {.value = value, .from = r->stages[node]};
        if (!is_dear(r, node)) continue;
        k.buffer = row_scratch(r, sinter_dtype_compute(dtype), &k.whole);
        sinter_vector_push(&r->kernel->lower->scratch, &r->kept, k);
    }
}

static const sinter_expr *kept_index(const rows *r, const kept *k) {
    return k->whole ? r->index : r->index + r->axis;
}

/* ---- loops ---- */

static void begin_row(rows *r, uint32_t stage, bool stored) {
    for (uint32_t i = r->axis; i < r->type.rank; ++i)
        r->index[i] = sinter_kernel_begin_for(r->kernel,
                                              sinter_arena_format(r->kernel->build.arena, "r%u", i),
                                              sinter_kernel_dim(r->kernel, r->type.dims[i]));
    for (size_t i = 0; i < r->kept.count; ++i) {
        const kept *k = &r->kept.items[i];
        if (k->from < stage || (k->from == stage && stored))
            sinter_lower_set_element(
                r->kernel, k->value, r->index,
                sinter_loop_load(&r->kernel->build, k->buffer, kept_index(r, k)));
    }
}

static void end_row(rows *r) {
    sinter_kernel_end_loops(r->kernel, r->type.rank - r->axis);
    for (uint32_t i = r->axis; i < r->type.rank; ++i)
        r->index[i] = sinter_loop_int(&r->kernel->build, 0);
}

/* One loop for all that this stage stores: kept rows and row-shaped outputs. */
static void store_elements(rows *r, uint32_t stage) {
    sinter_kernel *kernel = r->kernel;
    sinter_loop_builder *build = &kernel->build;
    size_t outputs = kernel->outputs.count, kept_count = r->kept.count, count = 0;
    sinter_expr *elements =
        SINTER_NEW_ARRAY(&kernel->lower->scratch, sinter_expr, outputs + kept_count);
    for (size_t i = 0; i < outputs; ++i)
        count += is_row_shaped(r, kernel->outputs.items[i]) &&
                 stage_of(r, kernel->outputs.items[i]) == stage;
    for (size_t i = 0; i < kept_count; ++i) count += r->kept.items[i].from == stage;
    if (!count) return;
    begin_row(r, stage, false);
    /* All elements before the first store, as in any group. */
    for (size_t i = 0; i < kept_count; ++i) {
        if (r->kept.items[i].from != stage) continue;
        sinter_value value = r->kept.items[i].value;
        elements[i] = sinter_lower_element(kernel, value, r->index);
        elements[i] =
            sinter_loop_var_read(build, sinter_loop_declare(build, "kept", false, elements[i]));
        sinter_lower_set_element(kernel, value, r->index, elements[i]);
    }
    for (size_t i = 0; i < outputs; ++i)
        if (is_row_shaped(r, kernel->outputs.items[i]) &&
            stage_of(r, kernel->outputs.items[i]) == stage)
            elements[kept_count + i] =
                sinter_lower_element(kernel, kernel->outputs.items[i], r->index);
    for (size_t i = 0; i < kept_count; ++i)
        if (elements[i])
            sinter_loop_store(build, r->kept.items[i].buffer, kept_index(r, &r->kept.items[i]),
                              elements[i]);
    for (size_t i = 0; i < outputs; ++i)
        if (elements[kept_count + i])
            sinter_kernel_store_output(kernel, kernel->outputs.items[i], r->index,
                                       elements[kept_count + i]);
    end_row(r);
    /* What lies in scratch is read there from now on. */
    for (size_t i = 0; i < outputs; ++i)
        for (uint32_t k = 0; k < kernel->between_count; ++k)
            if (kernel->between[k].value == kernel->outputs.items[i] && elements[kept_count + i])
                kernel->between[k].is_made = true;
}

static void reduce(rows *r, sinter_node node, uint32_t stage) {
    sinter_kernel *kernel = r->kernel;
    sinter_loop_builder *build = &kernel->build;
    sinter_value value = sinter_node_result(r->module, node, 0);
    sinter_loop_var accumulator = sinter_lower_reduce_begin(kernel, node);
    begin_row(r, stage, true);
    sinter_expr element =
        sinter_lower_element(kernel, sinter_node_operand(r->module, node, 0), r->index);
    sinter_lower_reduce_step(kernel, node, accumulator, element, r->count);
    end_row(r);
    sinter_expr result = sinter_lower_reduce_end(kernel, node, accumulator, r->count);
    sinter_dtype dtype = sinter_value_type(r->module, value)->dtype,
                 compute = sinter_dtype_compute(dtype);
    if (dtype != compute && sinter_dtype_is_float(dtype)) /* rounded as the evaluator does */
        result = sinter_loop_cast(build, sinter_loop_cast(build, result, dtype), compute);
    result = sinter_loop_var_read(build, sinter_loop_declare(build, "reduced", false, result));
    sinter_lower_set_element(kernel, value, r->index, result);
}

/* Elements that are one for each row: named where they are known, so that the loops below share them. */
static void name_elements(rows *r, uint32_t stage) {
    sinter_loop_builder *build = &r->kernel->build;
    SINTER_FOR_NODES (r->module, r->region, node) {
        sinter_value value = sinter_node_result(r->module, node, 0);
        if (!value || !is_member(r, node) || r->stages[node] != stage || is_row_shaped(r, value) ||
            is_reduction(r->module, node) || sinter_value_constant(r->module, value))
            continue;
        sinter_expr element = sinter_lower_element(r->kernel, value, r->index);
        if (element->kind != SINTER_LOOP_VAR && element->kind != SINTER_LOOP_CONST)
            element =
                sinter_loop_var_read(build, sinter_loop_declare(build, "each", false, element));
        sinter_lower_set_element(r->kernel, value, r->index, element);
    }
}

static void find_row(rows *r) {
    SINTER_FOR_NODES (r->module, r->region, node) {
        if (!is_member(r, node) || !is_reduction(r->module, node)) continue;
        r->row = sinter_node_operand(r->module, node, 0);
        r->type = *sinter_value_type(r->module, r->row);
        sinter_value axes = sinter_node_operand(r->module, node, 1);
        int64_t items[SINTER_MAX_RANK];
        size_t count = 0;
        r->axis = axes ? r->type.rank : 0;
        if (axes) sinter_value_known_ints(r->module, axes, items, SINTER_MAX_RANK, &count);
        for (size_t i = 0; i < count; ++i) {
            uint32_t axis = (uint32_t)(items[i] < 0 ? items[i] + r->type.rank : items[i]);
            if (axis < r->axis) r->axis = axis;
        }
        return;
    }
}

/* The loops over rows: over all, or over the part of them that the kernel is to make. */
static void begin_rows(rows *r) {
    sinter_kernel *kernel = r->kernel;
    const sinter_kernel_part *part = &kernel->part;
    for (uint32_t i = 0; i < r->axis; ++i) {
        r->index[i] = sinter_kernel_begin_for(
            kernel, sinter_arena_format(kernel->build.arena, "i%u", i),
            part->value ? part->count[i] : sinter_kernel_dim(kernel, r->type.dims[i]));
        if (part->value) r->index[i] = sinter_loop_add(&kernel->build, part->first[i], r->index[i]);
    }
}

bool sinter_lower_rows(sinter_kernel *kernel, sinter_region region, const bool *members) {
    sinter_module *module = kernel->lower->module;
    uint32_t nodes = sinter_module_node_limit(module);
    rows r = {.kernel = kernel, .module = module, .region = region, .nodes = members};
    r.stages = SINTER_NEW_ARRAY(&kernel->lower->scratch, uint32_t, nodes);
    r.loops = SINTER_NEW_ARRAY(&kernel->lower->scratch, uint32_t, nodes);
    find_row(&r);
    find_stages(&r);
    count_loops(&r);
    r.count = sinter_loop_int(&kernel->build, 1);
    for (uint32_t i = r.axis; i < r.type.rank; ++i) {
        r.index[i] = sinter_loop_int(&kernel->build, 0);
        r.count =
            sinter_loop_mul(&kernel->build, r.count, sinter_kernel_dim(kernel, r.type.dims[i]));
    }
    begin_rows(&r);
    choose_kept(&r);
    for (uint32_t stage = 0; stage <= r.last; ++stage) {
        name_elements(&r, stage);
        store_elements(&r, stage);
        SINTER_FOR_NODES (module, region, node)
            if (is_member(&r, node) && is_reduction(module, node) && r.stages[node] == stage)
                reduce(&r, node, stage);
    }
    for (size_t i = 0; i < kernel->outputs.count; ++i) {
        sinter_value output = kernel->outputs.items[i];
        if (is_row_shaped(&r, output)) continue;
        sinter_kernel_store_output(kernel, output, r.index,
                                   sinter_lower_element(kernel, output, r.index));
    }
    sinter_kernel_end_loops(kernel, r.axis);
    return true;
}
