/* Lowering of a fused group to one kernel. Groups that work through rows are in rows.c, windows over windows in
 * streamed.c, products of rows that are made of a product in blocked.c; any other has at most one node with a kernel rule (its anchor: a contraction, a window, a reduction); the
 * elementwise nodes around it are pulled into its stores and loads, or make rows that it reads (staged.c). A group without an anchor is one nest over its results' common shape.
 * Test: tests/unit/random_graph_test.c, tests/suites/embedded_models.py */
#include "codegen/lower/lower.h"

sinter_lower_kernel_rule sinter_lower_find_anchor(const sinter_module *module, sinter_node node) {
    sinter_lower_element_rule element = NULL;
    sinter_lower_kernel_rule rule = NULL;
    sinter_lower_host_rule host = NULL;
    sinter_lower_find_rule(sinter_node_op(module, node), &element, &rule, &host);
    return element ? NULL : rule;
}

/* The anchor's rule, and the anchor; NULL where every node has an element rule. */
static sinter_lower_kernel_rule find_anchor(sinter_kernel *kernel, sinter_region region,
                                            sinter_node *out_anchor) {
    sinter_lower_kernel_rule anchor = NULL;
    SINTER_FOR_NODES (kernel->lower->module, region, node) {
        sinter_lower_kernel_rule rule = sinter_lower_find_anchor(kernel->lower->module, node);
        if (!rule) continue;
        *out_anchor = node;
        anchor = rule;
    }
    return anchor;
}

bool sinter_lower_group(sinter_kernel *kernel, sinter_node node) {
    sinter_module *module = kernel->lower->module;
    sinter_node anchor = 0;
    sinter_region region = sinter_node_get(module, node)->regions[0];
    if (sinter_lower_is_blocked(kernel, region)) return sinter_lower_blocked(kernel, region);
    if (sinter_lower_is_rows(kernel, region)) return sinter_lower_rows(kernel, region, NULL);
    if (sinter_lower_is_streamed(kernel, region)) return sinter_lower_streamed(kernel, region);
    sinter_lower_kernel_rule rule = find_anchor(kernel, region, &anchor);
    if (rule && sinter_lower_is_staged(kernel, anchor)) return sinter_lower_staged(kernel, anchor);
    if (rule) return rule(kernel, anchor);
    sinter_expr index[SINTER_MAX_RANK];
    sinter_expr *elements =
        SINTER_NEW_ARRAY(&kernel->lower->scratch, sinter_expr, kernel->outputs.count);
    sinter_value first = kernel->outputs.items[0];
    uint32_t rank = sinter_value_type(module, first)->rank;
    sinter_kernel_begin_loops(kernel, first, index);
    /* All elements before the first store: an output may take the memory of an operand. */
    for (size_t i = 0; i < kernel->outputs.count; ++i)
        elements[i] = sinter_lower_element(kernel, kernel->outputs.items[i], index);
    for (size_t i = 0; i < kernel->outputs.count; ++i)
        sinter_kernel_store(kernel, sinter_kernel_buffer(kernel, kernel->outputs.items[i]), index,
                            elements[i]);
    sinter_kernel_end_loops(kernel, rank);
    return true;
}
