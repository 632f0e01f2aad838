/* Replaces composite ops by what they are made of (ir/decompose.h), until none is left. Needs inferred types.
 * Test: tests/passes/decompose/ */
#include "ir/decompose.h"
#include "passes/pass.h"

static bool decompose_region(sinter_rewrite *rewrite, sinter_region region) {
    sinter_module *module = rewrite->build.module;
    bool good = true;
    sinter_node node = sinter_region_get(module, region)->first;
    while (node) {
        const sinter_node_info *info = sinter_node_get(module, node);
        uint32_t regions = info->region_count;
        sinter_op op = info->op;
        for (uint32_t i = 0; i < regions; ++i)
            if (!decompose_region(rewrite, sinter_node_get(module, node)->regions[i])) good = false;
        sinter_node next = sinter_node_get(module, node)->next;
        if (sinter_decompose_find(op)) {
            /* What a rule builds may be composite itself: go on from the first node it made. */
            sinter_node previous = sinter_node_get(module, node)->previous;
            if (!sinter_decompose_node(rewrite, node))
                good = false;
            else if (sinter_node_get(module, node)->erased)
                next = previous ? sinter_node_get(module, previous)->next
                                : sinter_region_get(module, region)->first;
        }
        node = next;
    }
    return good;
}

void sinter_pass_decompose(sinter_pass_context *context) {
    decompose_region(&context->rewrite, sinter_module_main(context->module));
}
