/* Brings a model that is quantized by pairs of quantize_linear and dequantize_linear back to floats, so that it can be compressed in
 * another way: pairs go, weights become floats. Where integers begin at zero, what was rounded was also cut at zero and at the
 * largest integer, which may be the model's activation: a clip stays. Other ranges are those of the data, and go. What enters
 * and leaves the model has the type that it had. Lossy by that rounding. Operators that are
 * quantized as such (qlinear_conv) stay. Test: tests/passes/dequantize/ */
#include "ir/eval.h"
#include "passes/pass.h"
#include "passes/recognize_integer.h"

enum { MAX_SWEEPS = 64 };

static bool fold_constant(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    const sinter_node_info *info = sinter_node_get(module, node);
    const sinter_tensor *operands[3] = {0};
    for (uint32_t i = 0; i < info->operand_count; i++) {
        operands[i] = info->operands[i] ? sinter_value_constant(module, info->operands[i]) : NULL;
        if (info->operands[i] && !operands[i]) return false;
    }
    sinter_tensor result = {0};
    return sinter_eval_node(module, node, operands, &result, rewrite->build.diag) &&
           sinter_integer_replace(rewrite, node, sinter_build_constant(&rewrite->build, result));
}

/* dequantize(quantize(x)) = x, cut where the integers end */
static bool cancel(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization to, from;
    sinter_node before = sinter_value_definition(module, sinter_node_operand(module, node, 0));
    if (!before ||
        !sinter_integer_dequantized(module, sinter_node_result(module, node, 0), &from) ||
        !sinter_integer_quantizes(module, before, &to) || to.axis >= 0 || from.axis >= 0 ||
        sinter_integer_zero(&to, 0) != sinter_integer_zero(&from, 0) ||
        sinter_integer_scale(&to, 0) != sinter_integer_scale(&from, 0))
        return false;
    sinter_value x = sinter_node_operand(module, before, 0);
    uint32_t bits = sinter_dtype_infos[to.dtype].bits;
    bool is_signed = sinter_dtype_infos[to.dtype].class != SINTER_CLASS_UINT;
    int64_t zero = sinter_integer_zero(&to, 0), low = is_signed ? -(1 << (bits - 1)) : 0;
    double high = (double)(low + (1 << bits) - 1 - zero) * sinter_integer_scale(&to, 0);
    if (bits <= 16 && zero == low) {
        sinter_value operands[3] = {x, sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, 0),
                                    sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, high)};
        if (!operands[1] || !operands[2]) return false;
        x = sinter_build(&rewrite->build, SINTER_OP_clip, operands, 3, NULL, 0);
    }
    return sinter_integer_replace(rewrite, node, x);
}

/* dequantize(view(x)) = view(dequantize(x)), by one scale */
static bool lower(sinter_rewrite *rewrite, sinter_node node) {
    sinter_module *module = rewrite->build.module;
    sinter_quantization q;
    sinter_value y = sinter_node_result(module, node, 0);
    sinter_node view = sinter_value_definition(module, sinter_node_operand(module, node, 0));
    if (!view || !sinter_integer_is_move(sinter_node_op(module, view)) ||
        !sinter_integer_dequantized(module, y, &q) || q.axis >= 0)
        return false;
    const sinter_node_info info = *sinter_node_get(module, view);
    sinter_value operands[64];
    if (info.operand_count > 64 || info.result_count > 2 ||
        (info.result_count > 1 && info.results[1]))
        return false;
    for (uint32_t i = 0; i < info.operand_count; i++) {
        bool data = i == 0 || info.op == SINTER_OP_concat;
        operands[i] =
            data ? sinter_integer_convert_like(rewrite, node, info.operands[i]) : info.operands[i];
        if (data && !operands[i]) return false;
    }
    sinter_node_spec spec = {.op = info.op,
                             .operands = operands,
                             .operand_count = info.operand_count,
                             .attributes = info.attributes,
                             .attribute_count = info.attribute_count,
                             .result_count = info.result_count};
    sinter_node made = sinter_build_node(&rewrite->build, &spec);
    if (!made) return false;
    for (uint32_t i = 1; i < info.result_count; i++)
        if (sinter_node_result(module, made, i)) sinter_rewrite_drop_result(rewrite, made, i);
    return sinter_integer_replace(rewrite, node, sinter_node_result(module, made, 0));
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    if (sinter_node_op(rewrite->build.module, node) != SINTER_OP_dequantize_linear) return;
    sinter_rewrite_at(rewrite, node);
    if (!fold_constant(rewrite, node) && !cancel(rewrite, node)) lower(rewrite, node);
}

void sinter_pass_dequantize(sinter_pass_context *context) {
    for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
        size_t before = context->rewrite.change_count;
        sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
        if (context->rewrite.change_count == before) break;
    }
}
