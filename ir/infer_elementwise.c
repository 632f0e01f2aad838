/* Inference of elementwise ops: broadcasting, element types, and the quantization pair. ONNX semantics.
 * Test: tests/ir/infer_elementwise.sir, tests/ir/infer_quantize.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>

/* All operands broadcast; all have one element type, which is also the result's unless dtype says otherwise. */
static bool broadcast_as(sinter_infer *infer, sinter_dtype dtype) {
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank, last = infer->info->operand_count - 1;
    for (uint32_t i = 1; i <= last; i++)
        if (!sinter_infer_check_same_dtype(infer, 0, i)) return false;
    if (!sinter_infer_broadcast(infer, 0, last, dims, &rank)) return false;
    sinter_infer_set(infer, 0, dtype ? dtype : sinter_infer_operand(infer, 0)->dtype, rank, dims);
    return true;
}

bool infer_broadcast(sinter_infer *infer) {
    return broadcast_as(infer, SINTER_DTYPE_NONE);
}

bool infer_compare(sinter_infer *infer) {
    return broadcast_as(infer, SINTER_DTYPE_bool);
}

bool infer_cast(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "to");
    if (!dtype) return sinter_infer_error(infer, "attribute 'to' names no element type [cast_c1]");
    sinter_infer_set_dtype(infer, 0, 0, dtype);
    return true;
}

bool infer_round_tf32(sinter_infer *infer) {
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_f32)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_identity(sinter_infer *infer) {
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_prelu(sinter_infer *infer) {
    if (!sinter_infer_check_same_dtype(infer, 0, 1)) return false;
    if (!sinter_infer_check_broadcast_to(infer, 1, 0)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_pow(sinter_infer *infer) {
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank;
    if (!sinter_infer_broadcast(infer, 0, 1, dims, &rank)) return false;
    sinter_infer_set(infer, 0, sinter_infer_operand(infer, 0)->dtype, rank, dims);
    return true;
}

bool infer_where(sinter_infer *infer) {
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank;
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_bool) ||
        !sinter_infer_check_same_dtype(infer, 1, 2))
        return false;
    if (!sinter_infer_broadcast(infer, 0, 2, dims, &rank)) return false;
    sinter_infer_set(infer, 0, sinter_infer_operand(infer, 1)->dtype, rank, dims);
    return true;
}

bool infer_clip(sinter_infer *infer) {
    for (uint32_t i = 1; i <= 2; i++)
        if (!sinter_infer_check_scalar(infer, i) || !sinter_infer_check_same_dtype(infer, 0, i))
            return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* The scale (operand 1) is a scalar, a vector along axis, or of x's rank with one element a block along axis. */
static bool check_scale(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *scale = sinter_infer_operand(infer, 1);
    size_t count;
    if (!sinter_infer_check_tensor(infer, 0) || !sinter_infer_check_float(infer, 1)) return false;
    if (scale->rank == 0 ||
        (scale->rank == 1 && sinter_infer_count(infer, 1, &count) && count == 1))
        return true;
    uint32_t axis;
    if (!sinter_infer_axis_attr(infer, "axis", 1, x->rank, &axis)) return false;
    int64_t block = sinter_node_get_int(infer->module, infer->node, "block_size", 0);
    if (block < 0)
        return sinter_infer_error(infer, "block_size is %lld [quantize_c5]", (long long)block);
    if (block == 0 && scale->rank == 1) return sinter_infer_check_dims_equal(infer, 1, 0, 0, axis);
    if (scale->rank != x->rank)
        return sinter_infer_error(infer,
                                  "scale %s fits %s neither per axis nor per block [quantize_c1]",
                                  sinter_infer_text(infer, 1), sinter_infer_text(infer, 0));
    for (uint32_t i = 0; i < x->rank; i++) {
        sinter_dim expected = x->dims[i];
        if (i == axis && block > 0)
            expected = sinter_dim_ceildiv(infer->dims, expected, sinter_infer_number(infer, block));
        if ((i != axis || block > 0) &&
            !sinter_infer_check_dim(infer, 1, i, expected, "blocked scale"))
            return false;
    }
    return true;
}

static bool check_zero_point(sinter_infer *infer) {
    const sinter_type *scale = sinter_infer_operand(infer, 1),
                      *zero = sinter_infer_operand(infer, 2);
    size_t scale_count, zero_count;
    if (!zero->kind) return true;
    if (!sinter_infer_check_tensor(infer, 2)) return false;
    bool one = sinter_infer_count(infer, 1, &scale_count) && scale_count == 1;
    if (one && zero->rank <= 1 && (!sinter_infer_count(infer, 2, &zero_count) || zero_count == 1))
        return true;
    bool ok = scale->rank == zero->rank;
    sinter_dim unified;
    for (uint32_t i = 0; ok && i < scale->rank; i++)
        ok = sinter_infer_unify_dim(infer, scale->dims[i], zero->dims[i], &unified);
    return ok ||
           sinter_infer_error(infer, "scale %s and zero point %s must have one shape [quantize_c2]",
                              sinter_infer_text(infer, 1), sinter_infer_text(infer, 2));
}

bool infer_dequantize_linear(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "output_dtype");
    if (!check_scale(infer) || !check_zero_point(infer) ||
        !sinter_infer_check_same_dtype(infer, 0, 2))
        return false;
    sinter_infer_set_dtype(infer, 0, 0, dtype ? dtype : sinter_infer_operand(infer, 1)->dtype);
    return true;
}

bool infer_quantize_linear(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "output_dtype");
    const sinter_type *zero = sinter_infer_operand(infer, 2);
    if (!check_scale(infer) || !check_zero_point(infer)) return false;
    if (dtype && zero->kind && zero->dtype != dtype)
        return sinter_infer_error(infer,
                                  "output_dtype is %s but the zero point is %s [quantize_c3]",
                                  sinter_dtype_infos[dtype].name, sinter_infer_text(infer, 2));
    if (!dtype) dtype = zero->kind ? zero->dtype : SINTER_DTYPE_u8;
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    bool integer = info->class == SINTER_CLASS_INT || info->class == SINTER_CLASS_UINT;
    if (!(integer && info->bits <= 32) && !(info->class == SINTER_CLASS_FLOAT && info->bits <= 8))
        return sinter_infer_error(infer,
                                  "%s is no type to quantize to: expected integers of up to 32 "
                                  "bits or floats of up to 8 [quantize_c4]",
                                  info->name);
    sinter_infer_set_dtype(infer, 0, 0, dtype);
    return true;
}
