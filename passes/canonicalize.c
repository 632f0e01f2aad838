/* Simplifies nodes one at a time, by rules that hold for every value, until no rule applies: copies and
 * operations that change nothing go, views become reshapes and collapse, constants of sums come last.
 * Needs inferred types. The rules are in canonicalize_algebra.c and canonicalize_view.c; this file says
 * which ops they look at. Test: tests/passes/canonicalize/ */
#include "passes/canonicalize.h"
#include "passes/pass.h"

/* Each sweep makes some rewrite; a chain of views of this length is simplified in one go. */
enum { MAX_SWEEPS = 32 };

/* In the order of trying; NONE: every op. */
static const struct {
    sinter_op op;
    sinter_canonicalize_rule rule;
} rules[] = {
    {SINTER_OP_identity, sinter_canonicalize_identity},
    {SINTER_OP_dropout, sinter_canonicalize_dropout},
    {SINTER_OP_cast, sinter_canonicalize_cast},
    {SINTER_OP_neg, sinter_canonicalize_involution},
    {SINTER_OP_not, sinter_canonicalize_involution},
    {SINTER_OP_bitwise_not, sinter_canonicalize_involution},
    {SINTER_OP_NONE, sinter_canonicalize_idempotent},
    {SINTER_OP_NONE, sinter_canonicalize_neutral},
    {SINTER_OP_div, sinter_canonicalize_divisor},
    {SINTER_OP_pow, sinter_canonicalize_power},
    {SINTER_OP_where, sinter_canonicalize_where},
    {SINTER_OP_NONE, sinter_canonicalize_expanded},
    {SINTER_OP_NONE, sinter_canonicalize_constant_last},
    {SINTER_OP_squeeze, sinter_canonicalize_to_reshape},
    {SINTER_OP_unsqueeze, sinter_canonicalize_to_reshape},
    {SINTER_OP_flatten, sinter_canonicalize_to_reshape},
    {SINTER_OP_reshape, sinter_canonicalize_reshape},
    {SINTER_OP_transpose, sinter_canonicalize_transpose},
    {SINTER_OP_transpose, sinter_canonicalize_chain},
    {SINTER_OP_expand, sinter_canonicalize_expand},
    {SINTER_OP_tile, sinter_canonicalize_same_shape},
    {SINTER_OP_slice, sinter_canonicalize_slice},
    {SINTER_OP_pad, sinter_canonicalize_pad},
    {SINTER_OP_concat, sinter_canonicalize_single},
    {SINTER_OP_split, sinter_canonicalize_single},
};

sinter_node sinter_canonicalize_producer(const sinter_module *module, sinter_value value,
                                         sinter_op op) {
    sinter_node node = sinter_value_definition(module, value);
    return sinter_node_op(module, node) == op ? node : 0;
}

bool sinter_canonicalize_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value) {
    sinter_module *module = rewrite->build.module;
    sinter_value result = sinter_node_result(module, node, 0);
    if (!result || !value ||
        !sinter_type_equal(sinter_value_type(module, result), sinter_value_type(module, value)))
        return false;
    sinter_rewrite_replace(rewrite, result, value);
    sinter_rewrite_erase(rewrite, node);
    return true;
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_op op = sinter_node_get(rewrite->build.module, node)->op;
    sinter_rewrite_at(rewrite, node);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if ((rules[i].op == op || rules[i].op == SINTER_OP_NONE) && rules[i].rule(rewrite, node))
            return;
}

void sinter_pass_canonicalize(sinter_pass_context *context) {
    sinter_rewrite *rewrite = &context->rewrite;
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        size_t before = rewrite->change_count;
        sinter_pass_visit_nodes(context->module, visit, rewrite);
        if (rewrite->change_count == before) break;
    }
}
