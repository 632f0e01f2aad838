/* lstm(x, w, r, ...) -> lstm(matmul(x, transpose(w)), _, r, ...), and so of gru and rnn: a product of its own is cut over ranks like any
 * other, while each of them runs all steps. One device gains nothing by it: the layer's own kernel makes projections beside its steps.
 * Biases stay with the layer. Needs inferred types. Test: tests/passes/split_projections/ */
#include "passes/split_projections.h"
#include "ir/sharding.h"
#include "passes/fold_constants.h"
#include "passes/pass.h"

enum { X, W };

bool sinter_projection_is_in(const sinter_module *module, sinter_node node) {
    sinter_value w = sinter_op_is_recurrent(sinter_node_op(module, node))
                         ? sinter_node_operand(module, node, W)
                         : 0;
    return w && !sinter_value_sharding(module, w) && !sinter_node_exchanges(module, node);
}

/* w[directions, gates, inputs] as [inputs, directions * gates]. */
static sinter_value turn_weights(sinter_rewrite *rewrite, sinter_value w) {
    sinter_builder *build = &rewrite->build;
    sinter_dim_table *dims = sinter_module_dims(build->module);
    const sinter_type *type = sinter_value_type(build->module, w);
    const bool is_constant = sinter_value_constant(build->module, w) != NULL;
    const int64_t perm[] = {1, 0};
    const sinter_dim flat[] = {sinter_dim_mul(dims, type->dims[0], type->dims[1]), type->dims[2]};
    sinter_value rows = sinter_build_reshape_dims(build, w, flat, 2);
    if (is_constant) rows = sinter_fold_value(rewrite, rows);
    sinter_value turned = rows ? sinter_build_transpose(build, rows, perm, 2) : 0;
    return is_constant ? sinter_fold_value(rewrite, turned) : turned;
}

sinter_value sinter_projection_split(sinter_rewrite *rewrite, sinter_node node) {
    sinter_builder *build = &rewrite->build;
    sinter_rewrite_at(rewrite, node);
    sinter_value operands[] = {sinter_node_operand(build->module, node, X),
                               turn_weights(rewrite, sinter_node_operand(build->module, node, W))};
    if (!operands[W]) return 0;
    sinter_value products = sinter_build(build, SINTER_OP_matmul, operands, 2, NULL, 0);
    if (!products) return 0;
    sinter_rewrite_set_operand(rewrite, node, X, products);
    sinter_rewrite_set_operand(rewrite, node, W, 0);
    return products;
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    if (sinter_projection_is_in(rewrite->build.module, node))
        sinter_projection_split(rewrite, node);
}

void sinter_pass_split_projections(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
