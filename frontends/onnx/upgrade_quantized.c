/* Quantized operators of com.microsoft. Those that the IR has no op for are their float operator between a
 * dequantization and a quantization, which is what they are defined to be; MatMulNBits keeps its packed weights,
 * seen as a blockwise quantized tensor. Test: tests/suites/onnx_suite.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <string.h>

/* Scales and zero points of one element come as vectors too. */
static sinter_value as_scalar(sinter_onnx_node *node, sinter_value value) {
    if (!value) return 0;
    const sinter_type *type = sinter_onnx_type_of(node, value);
    bool one = type->rank == 1 &&
               sinter_dim_is(sinter_module_dims(node->importer->module), type->dims[0], 1);
    return one ? sinter_build_reshape(&node->build, value, NULL, 0) : value;
}

static sinter_value convert(sinter_onnx_node *node, sinter_op op, sinter_value x,
                            sinter_value scale, sinter_value zero_point) {
    sinter_value operands[] = {x, as_scalar(node, scale), as_scalar(node, zero_point)};
    if (!x || !scale) return 0;
    return sinter_build(&node->build, op, operands, zero_point ? 3 : 2, NULL, 0);
}

/* Operands first .. first+2 (x, scale, zero point) as floats. */
static sinter_value dequantized(sinter_onnx_node *node, uint32_t first) {
    return convert(node, SINTER_OP_dequantize_linear, sinter_onnx_need_operand(node, first, "X"),
                   sinter_onnx_need_operand(node, first + 1, "X_scale"),
                   sinter_onnx_operand(node, first + 2));
}

/* y quantized by operands first, first+1; without a zero point, to the type of operand `like`. */
static bool return_quantized(sinter_onnx_node *node, sinter_value y, uint32_t first,
                             uint32_t like) {
    sinter_value zero_point = sinter_onnx_operand(node, first + 1);
    sinter_value model = sinter_onnx_operand(node, like);
    if (!zero_point && model)
        zero_point = sinter_build_scalar(&node->build, sinter_onnx_type_of(node, model)->dtype, 0);
    return sinter_onnx_return(node, convert(node, SINTER_OP_quantize_linear, y,
                                            sinter_onnx_need_operand(node, first, "Y_scale"),
                                            zero_point));
}

/* IR ops whose zero points are required. */
bool sinter_onnx_rule_qlinear_binary(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    if (!sinter_onnx_draft_begin(node, &draft)) return false;
    for (uint32_t x = 0; x <= 3; x += 3) {
        sinter_value value = sinter_onnx_need_operand(node, x, "quantized operand");
        if (!value) return false;
        if (!sinter_onnx_operand(node, x + 2))
            sinter_onnx_draft_set_operand(
                node, &draft, x + 2,
                sinter_build_scalar(&node->build, sinter_onnx_type_of(node, value)->dtype, 0));
    }
    return sinter_onnx_draft_finish(node, &draft);
}

/* (X, X_scale, X_zero_point, Y_scale, Y_zero_point) of one float op, whose attributes the node has. */
bool sinter_onnx_rule_qlinear_unary(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    sinter_value x = dequantized(node, 0);
    if (!x || !sinter_onnx_draft_begin(node, &draft)) return false;
    x = sinter_build(&node->build, draft.op, &x, 1, draft.attributes.items,
                     (uint32_t)draft.attributes.count);
    return return_quantized(node, x, 3, 0);
}

bool sinter_onnx_rule_qlinear_average_pool(sinter_onnx_node *node) {
    if (sinter_onnx_int(node, "channels_last", 0))
        return sinter_onnx_fail(node, "channels_last is not supported");
    return sinter_onnx_rule_qlinear_unary(node);
}

bool sinter_onnx_rule_qlinear_reduce_mean(sinter_onnx_node *node) {
    const int64_t *axes;
    size_t count = sinter_onnx_ints(node, "axes", &axes);
    sinter_value operands[] = {dequantized(node, 0), 0};
    sinter_attr keep = sinter_attr_int("keepdims", sinter_onnx_int(node, "keepdims", 1));
    if (!operands[0] || node->failed) return false;
    if (count) operands[1] = sinter_build_ints(&node->build, axes, count);
    return return_quantized(
        node, sinter_build(&node->build, SINTER_OP_reduce_mean, operands, count ? 2 : 1, &keep, 1),
        3, 0);
}

/* Y_scale, Y_zero_point, then (X, scale, zero point) for each tensor. */
bool sinter_onnx_rule_qlinear_concat(sinter_onnx_node *node) {
    uint32_t count = node->operand_count > 2 ? (node->operand_count - 2 + 2) / 3 : 0;
    sinter_value *parts = SINTER_NEW_ARRAY(&node->importer->scratch, sinter_value, count);
    sinter_attr axis = sinter_attr_int("axis", sinter_onnx_int(node, "axis", 0));
    if (count == 0) return sinter_onnx_fail(node, "nothing to concatenate");
    for (uint32_t i = 0; i < count; i++) {
        parts[i] = dequantized(node, 2 + 3 * i);
        if (!parts[i]) return false;
    }
    return return_quantized(
        node, sinter_build(&node->build, SINTER_OP_concat, parts, count, &axis, 1), 0, 2);
}

bool sinter_onnx_rule_qlinear_where(sinter_onnx_node *node) {
    sinter_value condition = sinter_onnx_need_operand(node, 0, "condition");
    sinter_value y = sinter_onnx_op3(node, SINTER_OP_where, condition, dequantized(node, 1),
                                     dequantized(node, 4));
    return return_quantized(node, y, 7, 1);
}

/* alpha * op(A) op(B) + C, where C is i32 in units of a_scale * b_scale; float without y_scale. */
bool sinter_onnx_rule_qgemm(sinter_onnx_node *node) {
    sinter_onnx_draft draft;
    sinter_value c = sinter_onnx_operand(node, 6), a_scale = sinter_onnx_operand(node, 1);
    sinter_value operands[] = {dequantized(node, 0), dequantized(node, 3), 0};
    if (!operands[0] || !operands[1] || !sinter_onnx_draft_begin(node, &draft)) return false;
    if (c) {
        sinter_value unit =
            sinter_onnx_op2(node, SINTER_OP_mul, a_scale, sinter_onnx_operand(node, 4));
        c = sinter_build_cast(&node->build, c, SINTER_DTYPE_f32);
        operands[2] = sinter_onnx_op2(node, SINTER_OP_mul, c, unit);
        if (!operands[2]) return false;
    }
    sinter_value y = sinter_build(&node->build, SINTER_OP_gemm, operands, c ? 3 : 2,
                                  draft.attributes.items, (uint32_t)draft.attributes.count);
    return sinter_onnx_operand(node, 7) ? return_quantized(node, y, 7, 0)
                                        : sinter_onnx_return(node, y);
}

/* ---- integer products with float results ---- */

static bool scaled_product(sinter_onnx_node *node, const sinter_value operands[4],
                           sinter_value a_scale, sinter_value b_scale, sinter_value bias) {
    uint32_t count = operands[3] ? 4 : operands[2] ? 3 : 2;
    sinter_value y = sinter_build(&node->build, SINTER_OP_matmul_integer, operands, count, NULL, 0);
    if (!y) return false;
    y = sinter_build_cast(&node->build, y, sinter_onnx_type_of(node, b_scale)->dtype);
    y = sinter_onnx_op2(node, SINTER_OP_mul, y,
                        sinter_onnx_op2(node, SINTER_OP_mul, a_scale, b_scale));
    if (bias) y = sinter_onnx_op2(node, SINTER_OP_add, y, bias);
    return sinter_onnx_return(node, y);
}

/* A, B, b_scale, b_zero_point, bias */
bool sinter_onnx_rule_dynamic_quantize_matmul(sinter_onnx_node *node) {
    sinter_module *module = node->importer->module;
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value b = sinter_onnx_need_operand(node, 1, "B");
    sinter_value b_scale = sinter_onnx_need_operand(node, 2, "b_scale");
    if (node->failed) return false;
    sinter_node_spec spec = {.op = SINTER_OP_dynamic_quantize_linear,
                             .operands = &a,
                             .operand_count = 1,
                             .result_count = 3};
    sinter_node quantized = sinter_build_node(&node->build, &spec);
    if (!quantized) return false;
    sinter_value operands[] = {sinter_node_result(module, quantized, 0), b,
                               sinter_node_result(module, quantized, 2),
                               sinter_onnx_operand(node, 3)};
    return scaled_product(node, operands, sinter_node_result(module, quantized, 1), b_scale,
                          sinter_onnx_operand(node, 4));
}

/* A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias */
bool sinter_onnx_rule_matmul_integer_to_float(sinter_onnx_node *node) {
    sinter_value operands[] = {sinter_onnx_need_operand(node, 0, "A"),
                               sinter_onnx_need_operand(node, 1, "B"), sinter_onnx_operand(node, 4),
                               sinter_onnx_operand(node, 5)};
    sinter_value a_scale = sinter_onnx_need_operand(node, 2, "a_scale");
    sinter_value b_scale = sinter_onnx_need_operand(node, 3, "b_scale");
    return !node->failed &&
           scaled_product(node, operands, a_scale, b_scale, sinter_onnx_operand(node, 6));
}

/* ---- MatMulNBits ---- */

typedef struct packed_weights {
    int64_t rows, columns, bits, block; /* B is [rows, columns], quantized along columns */
    int64_t blocks;                     /* a row */
    sinter_dtype dtype;
} packed_weights;

static bool read_packing(sinter_onnx_node *node, packed_weights *w) {
    *w = (packed_weights){.rows = sinter_onnx_int(node, "N", 0),
                          .columns = sinter_onnx_int(node, "K", 0),
                          .bits = sinter_onnx_int(node, "bits", 4),
                          .block = sinter_onnx_int(node, "block_size", 0)};
    if (node->failed) return false;
    const int64_t limit = INT64_C(1) << 40;
    if (w->rows < 1 || w->rows > limit || w->columns < 1 || w->columns > limit || w->block < 1 ||
        w->block > limit || (w->bits != 2 && w->bits != 4 && w->bits != 8))
        return sinter_onnx_fail(node, "K, N, bits or block_size is out of range");
    w->blocks = (w->columns + w->block - 1) / w->block;
    w->dtype = w->bits == 2 ? SINTER_DTYPE_u2 : w->bits == 4 ? SINTER_DTYPE_u4 : SINTER_DTYPE_u8;
    return true;
}

/* The bytes of a u8 constant seen as rows of packed numbers; each row fills whole bytes. */
static sinter_value view_packed(sinter_onnx_node *node, const packed_weights *w, uint32_t operand,
                                int64_t columns) {
    const sinter_tensor *bytes =
        sinter_value_constant(node->importer->module, sinter_onnx_operand(node, operand));
    int64_t padded = (columns * w->bits + 7) / 8 * 8 / w->bits;
    uint64_t size;
    if (!bytes || bytes->dtype != SINTER_DTYPE_u8 ||
        !sinter_dtype_bytes(w->dtype, (uint64_t)(w->rows * padded), &size) ||
        sinter_tensor_bytes(bytes) != size) {
        sinter_onnx_fail(node,
                         "input %" PRIu32 " must be a constant of %" PRId64 " rows of %" PRId64
                         " %" PRId64 "-bit numbers",
                         operand, w->rows, columns, w->bits);
        return 0;
    }
    sinter_tensor view;
    sinter_tensor_copy(&view, bytes);
    view.dtype = w->dtype;
    view.rank = 2;
    view.dims[0] = w->rows;
    view.dims[1] = padded;
    sinter_value value = sinter_build_constant(&node->build, view);
    if (!value || padded == columns) return value;
    const int64_t zero = 0, axis = 1;
    sinter_value operands[] = {value, sinter_build_ints(&node->build, &zero, 1),
                               sinter_build_ints(&node->build, &columns, 1),
                               sinter_build_ints(&node->build, &axis, 1)};
    return sinter_build(&node->build, SINTER_OP_slice, operands, 4, NULL, 0);
}

/* Without zero points the middle of the range is zero. */
static sinter_value middle_points(sinter_onnx_node *node, const packed_weights *w) {
    sinter_tensor tensor;
    int64_t dims[] = {w->rows, w->blocks};
    if (!sinter_tensor_create(&tensor, w->dtype, 2, dims, node->build.diag)) return 0;
    int fill = w->bits == 2 ? 0xaa : w->bits == 4 ? 0x88 : 0x80;
    memset(sinter_tensor_mutable(&tensor), fill, sinter_tensor_bytes(&tensor));
    return sinter_build_constant(&node->build, tensor);
}

/* With accuracy level 4 the file lets A be rounded to 8 bits, in blocks as long as those of B: sums of few bits are then sums of
 * integers. What is computed must not depend on who computes it, so the graph says so. */
static sinter_value rounded_operand(sinter_onnx_node *node, const packed_weights *w,
                                    sinter_value a) {
    enum { EIGHT_BITS = 4, WORD = 32 };
    const sinter_type *type = sinter_onnx_type_of(node, a);
    sinter_value items, scales;
    bool whole = w->columns == w->blocks * w->block && w->block % (WORD / w->bits) == 0;
    if (sinter_onnx_int(node, "accuracy_level", 0) != EIGHT_BITS || w->bits == 8 || !whole ||
        type->dtype != SINTER_DTYPE_f32 || type->rank < 1 || type->rank >= SINTER_MAX_RANK ||
        !sinter_dim_is(sinter_module_dims(node->importer->module), type->dims[type->rank - 1],
                       w->columns))
        return a;
    return sinter_build_quantize_blocks(&node->build, a, w->block, &items, &scales)
               ? sinter_build_dequantize_blocks(&node->build, items, scales, w->block)
               : 0;
}

/* A times the transpose of B[N, K], whose blocks of a row share a scale and a zero point. */
bool sinter_onnx_rule_matmul_nbits(sinter_onnx_node *node) {
    packed_weights w;
    sinter_value a = sinter_onnx_need_operand(node, 0, "A");
    sinter_value scales = sinter_onnx_need_operand(node, 2, "scales");
    sinter_value zeros = sinter_onnx_operand(node, 3), bias = sinter_onnx_operand(node, 5);
    if (node->failed || !read_packing(node, &w)) return false;
    if (sinter_onnx_operand(node, 4)) return sinter_onnx_fail(node, "g_idx is not supported");
    if (zeros && sinter_onnx_type_of(node, zeros)->dtype != SINTER_DTYPE_u8)
        return sinter_onnx_fail(node, "zero points must be packed integers");
    const int64_t shape[] = {w.rows, w.blocks}, perm[] = {1, 0}, zero = 0, axis = 0;
    sinter_attr attributes[] = {sinter_attr_int("axis", 1), sinter_attr_int("block_size", w.block)};
    sinter_value operands[] = {view_packed(node, &w, 1, w.blocks * w.block),
                               sinter_build_reshape(&node->build, scales, shape, 2),
                               zeros ? view_packed(node, &w, 3, w.blocks)
                                     : middle_points(node, &w)};
    if (!operands[0] || !operands[1] || !operands[2]) return false;
    sinter_value b =
        sinter_build(&node->build, SINTER_OP_dequantize_linear, operands, 3, attributes, 2);
    b = sinter_build_transpose(&node->build, b, perm, 2);
    if (w.columns != w.blocks * w.block) {
        sinter_value cut[] = {b, sinter_build_ints(&node->build, &zero, 1),
                              sinter_build_ints(&node->build, &w.columns, 1),
                              sinter_build_ints(&node->build, &axis, 1)};
        b = b ? sinter_build(&node->build, SINTER_OP_slice, cut, 4, NULL, 0) : 0;
    }
    a = b ? rounded_operand(node, &w, a) : 0;
    sinter_value y = a ? sinter_onnx_op2(node, SINTER_OP_matmul, a, b) : 0;
    if (bias) y = y ? sinter_onnx_op2(node, SINTER_OP_add, y, bias) : 0;
    return sinter_onnx_return(node, y);
}
