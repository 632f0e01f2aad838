/* Weights of convolutions that are stored in fewer than eight bits become integers of eight by a cast before they are dequantized,
 * where what the convolution reads is rounded to integers, too: engines fold the cast of a constant, and have convolutions of
 * bytes, but compute those of narrower weights in floats, whose sums round otherwise. The file has the narrow ones. After the passes
 * that write weights. The values stay. Test: tests/passes/widen_weights/ */
#include "passes/pass.h"
#include "passes/recognize_integer.h"

static sinter_value widen(sinter_rewrite *rewrite, sinter_value x) {
    bool is_signed = sinter_dtype_infos[sinter_value_type(rewrite->build.module, x)->dtype].class !=
                     SINTER_CLASS_UINT;
    return sinter_build_cast(&rewrite->build, x, is_signed ? SINTER_DTYPE_i8 : SINTER_DTYPE_u8);
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_module *module = rewrite->build.module;
    sinter_quantization x, w;
    if (sinter_node_op(module, node) != SINTER_OP_conv ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 0), &x) ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 1), &w) ||
        !sinter_integer_is_narrow(x.dtype) || sinter_dtype_infos[w.dtype].bits >= 8 ||
        !sinter_value_constant(module, w.x))
        return;
    sinter_node dequantizer = sinter_value_definition(module, sinter_node_operand(module, node, 1));
    const sinter_node_info info = *sinter_node_get(module, dequantizer);
    sinter_value zero = info.operand_count > 2 ? info.operands[2] : 0;
    sinter_rewrite_at(rewrite, node);
    rewrite->build.location = NULL;
    sinter_value operands[3] = {widen(rewrite, w.x), info.operands[1],
                                zero ? widen(rewrite, zero) : 0};
    if (!operands[0] || (zero && !operands[2])) return;
    sinter_value wide = sinter_build(&rewrite->build, info.op, operands, zero ? 3 : 2,
                                     info.attributes, info.attribute_count);
    if (wide) sinter_rewrite_set_operand(rewrite, node, 1, wide);
}

void sinter_pass_widen_weights(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
