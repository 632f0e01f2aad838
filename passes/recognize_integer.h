/* Shared by the files of the pass recognize_integer (recognize_integer.c says what it does). A rule gets a node at which the
 * rewrite stands and returns true where it changed the graph. */
#pragma once
#include "ir/rewrite.h"

typedef bool (*sinter_integer_rule)(sinter_rewrite *rewrite, sinter_node node);

/* A float value that is (x - zero) * scale, by constant parameters. */
typedef struct sinter_quantization {
    sinter_value x;             /* the integers; 0 for a quantization */
    sinter_value zero_point;    /* 0: none */
    const sinter_tensor *scale; /* f32, one element or a vector along axis */
    const sinter_tensor *zero;  /* NULL: 0 */
    sinter_dtype dtype;         /* of the integers */
    int64_t axis;               /* -1: one scale for all */
} sinter_quantization;
/* Whether value is the result of a dequantize_linear, to f32 by constants per tensor or per axis. */
bool sinter_integer_dequantized(const sinter_module *module, sinter_value value, sinter_quantization *out);
/* The same of the parameters of a quantize_linear, to an integer type. */
bool sinter_integer_quantizes(const sinter_module *module, sinter_node node, sinter_quantization *out);
int64_t sinter_integer_zero(const sinter_quantization *q, int64_t index);
double sinter_integer_scale(const sinter_quantization *q, int64_t index);
/* Ops that choose and move elements of operand 0, or of all operands of concat: they run on integers as they do on floats. */
bool sinter_integer_is_move(sinter_op op);
bool sinter_integer_is_narrow(sinter_dtype dtype); /* an integer of at most 8 bits */
/* dequantize_linear of x with one scale, with the scale and zero point of `node` (a dequantize_linear). */
sinter_value sinter_integer_convert_like(sinter_rewrite *rewrite, sinter_node node, sinter_value x);
/* A constant vector seen as [count, 1, ...] of `rank` axes; rank 0 and count 1: a scalar. Items are rounded to the dtype. */
/* What a constant became: of the same shape, with what was said of it. Takes the tensor. */
sinter_value sinter_integer_constant_again(sinter_rewrite *rewrite, sinter_value old_value, sinter_tensor tensor);
sinter_value sinter_integer_constant(sinter_rewrite *rewrite, sinter_dtype dtype, const double *items, int64_t count,
                                     uint32_t rank);
bool sinter_integer_replace(sinter_rewrite *rewrite, sinter_node node, sinter_value value); /* false where value is 0 */

/* recognize_integer_product.c */
bool sinter_integer_matmul(sinter_rewrite *rewrite, sinter_node node);
bool sinter_integer_matmul_long(sinter_rewrite *rewrite, sinter_node node); /* the same where sums may not fit 32 bits */
/* The product of what was rounded with a scale that only the run knows (dynamic_quantize_linear) with dequantized weights. */
bool sinter_integer_matmul_late(sinter_rewrite *rewrite, sinter_node node);
bool sinter_integer_conv(sinter_rewrite *rewrite, sinter_node node);
bool sinter_integer_sum(sinter_rewrite *rewrite, sinter_node node);    /* reduce_mean, reduce_sum */
/* recognize_integer_scale.c */
bool sinter_integer_clamp(sinter_rewrite *rewrite, sinter_node node);  /* quantize(relu(x)) = clip(quantize(x)) */
bool sinter_integer_rescale(sinter_rewrite *rewrite, sinter_node node); /* quantize(x * s, t) = quantize(x * (s / t), 1) */
/* recognize_integer_zero.c */
bool sinter_integer_matmul_zeros(sinter_rewrite *rewrite, sinter_node node); /* of u8 and i8 then */
bool sinter_integer_conv_zeros(sinter_rewrite *rewrite, sinter_node node);
bool sinter_integer_matmul_zeros_signed(sinter_rewrite *rewrite, sinter_node node); /* of i8 and i8 */
bool sinter_integer_conv_zeros_signed(sinter_rewrite *rewrite, sinter_node node);
bool sinter_integer_merge_sums(sinter_rewrite *rewrite, sinter_node node);
/* recognize_integer_narrow.c */
bool sinter_integer_widen(sinter_rewrite *rewrite, sinter_node node); /* conv_integer(x, i4) = conv_integer(x, i8) */
bool sinter_integer_feeds_window(const sinter_module *module, sinter_value value);
