/* Brings every layer into the form that compression knows (passes/layer.h), and leaves other composites as they are, so that what
 * is exported stays what it was: products with transposed weights become plain ones, batch normalisations become factors and sums
 * that fold_scale folds into weights. Needs inferred types. Test: tests/passes/expose_layers/ */
#include "ir/decompose.h"
#include "passes/pass.h"

static const sinter_op exposed[] = {SINTER_OP_gemm, SINTER_OP_batch_normalization};

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_op op = sinter_node_op(rewrite->build.module, node);
    for (size_t i = 0; i < sizeof exposed / sizeof *exposed; i++)
        if (op == exposed[i]) {
            sinter_decompose_node(rewrite, node);
            return;
        }
}

void sinter_pass_expose_layers(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
