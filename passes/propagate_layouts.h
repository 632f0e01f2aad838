/* How a node works on tensors whose channels (axis 1) have moved to the end, by op. Test: tests/passes/propagate_layouts/ */
#pragma once
#include "ir/rewrite.h"

/* Where an axis of a tensor of that rank goes: 0 stays, 1 becomes the last, the others move forward. */
int64_t sinter_layout_axis(int64_t axis, uint32_t rank);
/* perm of the transpose to channels last, or back. */
void sinter_layout_perm(uint32_t rank, bool to_last, int64_t *out_perm);

/* The node in the making: its operands and attributes, to be changed by the rule. */
typedef struct sinter_layout_draft {
    sinter_rewrite *rewrite; /* stands at the node */
    sinter_value *operands;
    sinter_attr *attributes; /* room for two more */
    uint32_t attribute_count;
} sinter_layout_draft;

/* What is known of a node: which of its tensors have the channels last when it is rewritten. */
typedef struct sinter_layout_plan {
    bool possible;
    bool is_window;        /* gains by it */
    bool all_operands;     /* not only operand 0; lower ranks broadcast */
    bool result_keeps;     /* the results stay as they were (a reduction that drops axes) */
} sinter_layout_plan;
sinter_layout_plan sinter_layout_plan_node(const sinter_module *module, sinter_node node);
/* Attributes and small operands of the node for tensors with channels last; operands that are such tensors are the caller's. False
 * after an error. */
bool sinter_layout_rewrite_node(sinter_layout_draft *draft, sinter_node node);
