/* Biases of convolutions whose input and weights are integers become integers of 32 bits in units of the product of their scales,
 * as dequantize_linear: engines add them to the integer sums, so that all of them compute the same. Where a bias does not fit,
 * and where the weights have a zero point or more than a scale an output, it stays. After the passes that change weights and
 * biases. Products with scales from the data of each run become integer products (as recognize_integer does), which is how
 * other engines know them. Test: tests/passes/quantize_biases/ */
#include "passes/pass.h"
#include "passes/recognize_integer.h"

#include <math.h>

static bool is_symmetric(const sinter_quantization *q) {
    for (int64_t i = 0; q->zero && i < sinter_tensor_count(q->zero); i++)
        if (sinter_integer_zero(q, i)) return false;
    return true;
}

static void quantize_bias(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization x, w;
    sinter_value operand = sinter_node_operand(module, node, 2);
    const sinter_tensor *bias = operand ? sinter_value_constant(module, operand) : NULL;
    if (sinter_node_op(module, node) != SINTER_OP_conv || !bias ||
        bias->dtype != SINTER_DTYPE_f32 ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 0), &x) ||
        !sinter_integer_dequantized(module, sinter_node_operand(module, node, 1), &w) ||
        x.axis >= 0 || w.axis > 0 || !sinter_integer_is_narrow(x.dtype) ||
        !sinter_integer_is_narrow(w.dtype) || !is_symmetric(&w))
        return;
    int64_t count = sinter_tensor_count(bias), scales = w.axis < 0 ? 1 : count;
    double *units = SINTER_NEW_ARRAY(sinter_module_arena(module), double, count + 1);
    double *items = SINTER_NEW_ARRAY(sinter_module_arena(module), double, count + 1);
    for (int64_t i = 0; i < count; i++) {
        /* the product as engines have it, in f32 */
        units[i] =
            (double)((float)sinter_integer_scale(&x, 0) * (float)sinter_integer_scale(&w, i));
        items[i] = rint(sinter_tensor_get_double(bias, i) / units[i]);
        if (!(units[i] > 0x1p-120) || !(fabs(items[i]) < 0x1p30)) return; /* room for the sums */
    }
    sinter_rewrite_at(rewrite, node);
    rewrite->build.location = NULL;
    sinter_attr axis = sinter_attr_int("axis", 0);
    sinter_value operands[2] = {
        sinter_integer_constant(rewrite, SINTER_DTYPE_i32, items, count, 1),
        sinter_integer_constant(rewrite, SINTER_DTYPE_f32, units, scales, w.axis < 0 ? 0 : 1)};
    if (!operands[0] || !operands[1]) return;
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_dequantize_linear, operands, 2, &axis,
                                  w.axis < 0 ? 0 : 1);
    if (y) sinter_rewrite_set_operand(rewrite, node, 2, y);
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    sinter_rewrite_at(rewrite, node);
    if (sinter_integer_matmul_late(rewrite, node)) return;
    quantize_bias(rewrite, node);
}

void sinter_pass_quantize_biases(sinter_pass_context *context) {
    const sinter_compression *compression = context->options->compression;
    if (!compression || !compression->recipe) return;
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
