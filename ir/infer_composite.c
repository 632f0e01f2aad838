/* Inference of composite ops: normalisations, softmax and losses, attention, recurrent-state layers, random and window
 * functions. ONNX semantics. Test: tests/ir/infer_composite.sir, tests/ir/infer_attention.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <string.h>

/* ---- same type as the first operand ---- */

static bool same_along_axis(sinter_infer *infer) {
    uint32_t axis;
    if (!sinter_infer_axis_attr(infer, "axis", -1, sinter_infer_operand(infer, 0)->rank, &axis))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_softmax(sinter_infer *infer) {
    return same_along_axis(infer);
}

bool infer_log_softmax(sinter_infer *infer) {
    return same_along_axis(infer);
}

bool infer_hardmax(sinter_infer *infer) {
    return same_along_axis(infer);
}

bool infer_lp_normalization(sinter_infer *infer) {
    return same_along_axis(infer);
}

bool infer_lrn(sinter_infer *infer) {
    int64_t size = sinter_node_get_int(infer->module, infer->node, "size", 1);
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_float(infer, 0))
        return false;
    if (size < 1)
        return sinter_infer_error(infer, "size is %lld, expected 1 at least [lrn_c1]",
                                  (long long)size);
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_mean_variance_normalization(sinter_infer *infer) {
    const int64_t *axes;
    uint32_t places[SINTER_MAX_RANK];
    if (!sinter_infer_check_float(infer, 0)) return false;
    size_t count = sinter_node_get_ints(infer->module, infer->node, "axes", &axes);
    if (!sinter_infer_axes(infer, axes, count, sinter_infer_operand(infer, 0)->rank, places))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* ---- normalisation with parameters ---- */

/* Operands first..last are vectors with one element a channel. */
static bool check_per_channel(sinter_infer *infer, uint32_t first, uint32_t last) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    if (!sinter_infer_check_float(infer, 0)) return false;
    for (uint32_t i = first; i <= last; i++) {
        if (!sinter_infer_check_rank(infer, i, 1, 1)) return false;
        if (x->rank > 1 && !sinter_infer_check_dims_equal(infer, i, 0, 0, 1)) return false;
    }
    return true;
}

bool infer_batch_normalization(sinter_infer *infer) {
    if (!check_per_channel(infer, 1, 4) || !sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    sinter_infer_set_like(infer, 1, 3);
    sinter_infer_set_like(infer, 2, 4);
    return true;
}

bool infer_instance_normalization(sinter_infer *infer) {
    if (!sinter_infer_check_rank(infer, 0, 3, SINTER_MAX_RANK) || !check_per_channel(infer, 1, 2))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_group_normalization(sinter_infer *infer) {
    int64_t groups = sinter_node_get_int(infer->module, infer->node, "num_groups", 1);
    sinter_dim per_group;
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) || !check_per_channel(infer, 1, 2) ||
        !sinter_infer_divide(infer, sinter_infer_operand(infer, 0)->dims[1], groups, "num_groups",
                             &per_group))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_layer_normalization(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    sinter_dtype stash = sinter_node_get_dtype(infer->module, infer->node, "stash_type");
    uint32_t axis;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_axis_attr(infer, "axis", -1, x->rank, &axis) ||
        !sinter_infer_check_same_dtype(infer, 0, 1) ||
        !sinter_infer_check_same_dtype(infer, 0, 2) ||
        !sinter_infer_check_broadcast_to(infer, 1, 0) ||
        !sinter_infer_check_broadcast_to(infer, 2, 0))
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : sinter_infer_number(infer, 1);
    sinter_infer_set_like(infer, 0, 0);
    sinter_infer_set(infer, 1, stash ? stash : SINTER_DTYPE_f32, x->rank, dims);
    sinter_infer_set(infer, 2, stash ? stash : SINTER_DTYPE_f32, x->rank, dims);
    return true;
}

bool infer_rms_normalization(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    uint32_t axis;
    if (!sinter_infer_axis_attr(infer, "axis", -1, x->rank, &axis) ||
        !sinter_infer_check_broadcast_to(infer, 1, 0))
        return false;
    sinter_infer_set_dtype(infer, 0, 0, sinter_infer_operand(infer, 1)->dtype);
    return true;
}

bool infer_dropout(sinter_infer *infer) {
    if (!sinter_infer_check_scalar(infer, 1) || !sinter_infer_check_scalar(infer, 2)) return false;
    sinter_infer_set_like(infer, 0, 0);
    sinter_infer_set_dtype(infer, 1, 0, SINTER_DTYPE_bool);
    return true;
}

/* ---- quantization ---- */

bool infer_dynamic_quantize_linear(sinter_infer *infer) {
    if (!sinter_infer_check_dtype(infer, 0, SINTER_DTYPE_f32)) return false;
    sinter_infer_set_dtype(infer, 0, 0, SINTER_DTYPE_u8);
    sinter_infer_set(infer, 1, SINTER_DTYPE_f32, 0, NULL);
    sinter_infer_set(infer, 2, SINTER_DTYPE_u8, 0, NULL);
    return true;
}

bool infer_qlinear_binary(sinter_infer *infer) {
    const sinter_type *a = sinter_infer_operand(infer, 0), *b = sinter_infer_operand(infer, 3);
    sinter_dim dims[SINTER_MAX_RANK];
    uint32_t rank = a->rank;
    for (uint32_t i = 1; i < 8; i++)
        if (i != 3 && !sinter_infer_check_scalar(infer, i)) return false;
    for (uint32_t i = 2; i < 8; i++)
        if (i != 4 && i != 6 && !sinter_infer_check_same_dtype(infer, 0, i)) return false;
    memcpy(dims, a->dims, rank * sizeof *dims);
    if (!sinter_infer_broadcast_into(infer, dims, &rank, b->dims, b->rank))
        return sinter_infer_error(infer, "shapes do not broadcast: %s and %s [broadcast_c1]",
                                  sinter_infer_text(infer, 0), sinter_infer_text(infer, 3));
    sinter_infer_set(infer, 0, a->dtype, rank, dims);
    return true;
}

/* ---- losses ---- */

/* Operand 0 is [N, C, d...], the target [N, d...]; reduced to a scalar unless reduction is none. */
static bool set_loss(sinter_infer *infer) {
    const sinter_type *scores = sinter_infer_operand(infer, 0);
    sinter_string reduction = sinter_node_get_string(infer->module, infer->node, "reduction");
    if (!sinter_infer_check_rank(infer, 0, 2, SINTER_MAX_RANK) ||
        !sinter_infer_check_float(infer, 0) ||
        !sinter_infer_check_rank(infer, 1, scores->rank - 1, scores->rank - 1) ||
        !sinter_infer_check_integer(infer, 1) || !sinter_infer_check_rank(infer, 2, 1, 1) ||
        !sinter_infer_check_dims_equal(infer, 2, 0, 0, 1))
        return false;
    for (uint32_t i = 0; i + 1 < scores->rank; i++)
        if (!sinter_infer_check_dims_equal(infer, 1, i, 0, i ? i + 1 : 0)) return false;
    if (sinter_string_is(reduction, "none"))
        sinter_infer_set_dtype(infer, 0, 1, scores->dtype);
    else
        sinter_infer_set(infer, 0, scores->dtype, 0, NULL);
    return true;
}

bool infer_negative_log_likelihood_loss(sinter_infer *infer) {
    return set_loss(infer);
}

bool infer_softmax_cross_entropy_loss(sinter_infer *infer) {
    if (!set_loss(infer)) return false;
    sinter_infer_set_like(infer, 1, 0);
    return true;
}

/* ---- attention ---- */

/* One of q, k, v as [batch, heads, length, size], from rank 4 or packed rank 3. */
typedef struct heads {
    sinter_dim batch, heads, length, size;
} heads;

static bool read_heads(sinter_infer *infer, uint32_t operand, const char *attribute, heads *out) {
    const sinter_type *type = sinter_infer_operand(infer, operand);
    if (type->rank == 4) {
        *out = (heads){type->dims[0], type->dims[1], type->dims[2], type->dims[3]};
        return true;
    }
    int64_t count = sinter_node_get_int(infer->module, infer->node, attribute, 0);
    if (count <= 0)
        return sinter_infer_error(infer, "attribute '%s' is needed for %s [attention_c1]",
                                  attribute, sinter_infer_text(infer, operand));
    *out = (heads){type->dims[0], sinter_infer_number(infer, count), type->dims[1], 0};
    return sinter_infer_divide(infer, type->dims[2], count, attribute, &out->size);
}

static bool check_heads(sinter_infer *infer, const heads *q, const heads *k, const heads *v) {
    sinter_dim unified;
    int64_t q_heads, kv_heads;
    bool ok = sinter_infer_unify_dim(infer, q->batch, k->batch, &unified) &&
              sinter_infer_unify_dim(infer, q->batch, v->batch, &unified) &&
              sinter_infer_unify_dim(infer, q->size, k->size, &unified) &&
              sinter_infer_unify_dim(infer, k->heads, v->heads, &unified) &&
              sinter_infer_unify_dim(infer, k->length, v->length, &unified);
    if (ok && sinter_dim_is_const(infer->dims, q->heads, &q_heads) &&
        sinter_dim_is_const(infer->dims, k->heads, &kv_heads))
        ok = kv_heads > 0 && q_heads % kv_heads == 0;
    return ok || sinter_infer_error(infer, "q, k and v do not fit: %s, %s and %s [attention_c2]",
                                    sinter_infer_text(infer, 0), sinter_infer_text(infer, 1),
                                    sinter_infer_text(infer, 2));
}

/* Dims of an operand, absent or not, from its first on. */
static bool check_dims(sinter_infer *infer, uint32_t operand, const sinter_dim *dims,
                       uint32_t count, const char *what) {
    if (!sinter_infer_check_rank(infer, operand, count, count)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (dims[i] && !sinter_infer_check_dim(infer, operand, i, dims[i], what)) return false;
    return true;
}

/* The mask broadcasts to the scores, but that its last dim may be anything up to the number of keys. */
static bool check_mask(sinter_infer *infer, const sinter_dim *scores) {
    const sinter_type *mask = sinter_infer_operand(infer, 3);
    if (!mask->kind) return true;
    if (!sinter_infer_check_rank(infer, 3, 1, 4)) return false;
    bool ok = sinter_infer_dim_at_most(infer, mask->dims[mask->rank - 1], scores[3]);
    for (uint32_t i = 0; ok && i + 1 < mask->rank; i++)
        ok = sinter_infer_broadcast_dim_to(infer, mask->dims[i], scores[4 - mask->rank + i]);
    sinter_type wanted = sinter_type_tensor(infer->arena, mask->dtype, 4, scores);
    return ok ||
           sinter_infer_error(infer, "the mask %s does not broadcast to %s [attention_c4]",
                              sinter_infer_text(infer, 3), sinter_infer_type_text(infer, &wanted));
}

/* How many queries and keys go at once, where it is said. */
static bool check_blocks(sinter_infer *infer) {
    const int64_t *blocks;
    const size_t count = sinter_node_get_ints(infer->module, infer->node, "blocks", &blocks);
    return !count || (count == 2 && blocks[0] > 0 && blocks[1] > 0) ||
           sinter_infer_error(infer, "blocks are two positive numbers [attention_c5]");
}

bool infer_attention(sinter_infer *infer) {
    const sinter_type *q_type = sinter_infer_operand(infer, 0),
                      *v_type = sinter_infer_operand(infer, 2);
    const sinter_type *past = sinter_infer_operand(infer, 4),
                      *past_value = sinter_infer_operand(infer, 5);
    heads q, k, v;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_rank(infer, i, 3, 4)) return false;
    if (!sinter_infer_check_same_dtype(infer, 0, 1) ||
        !sinter_infer_check_same_dtype(infer, 0, 4) || !sinter_infer_check_same_dtype(infer, 2, 5))
        return false;
    if (!read_heads(infer, 0, "q_num_heads", &q) || !read_heads(infer, 1, "kv_num_heads", &k) ||
        !read_heads(infer, 2, "kv_num_heads", &v) || !check_heads(infer, &q, &k, &v))
        return false;
    if ((past->kind != 0) != (past_value->kind != 0))
        return sinter_infer_error(infer, "past_key and past_value come together [attention_c3]");
    if (!sinter_infer_check_rank(infer, 4, 4, 4)) return false;
    sinter_dim total = past->kind ? sinter_dim_add(infer->dims, past->dims[2], k.length) : k.length;
    sinter_dim y[4] = {q.batch, q.heads, q.length, v.size};
    if (q_type->rank == 3) {
        y[1] = q.length;
        y[2] = sinter_dim_mul(infer->dims, q.heads, v.size);
    }
    sinter_dim key[4] = {k.batch, k.heads, total, k.size},
               value[4] = {v.batch, v.heads, total, v.size};
    sinter_dim scores[4] = {q.batch, q.heads, q.length, total};
    sinter_dim past_key[4] = {k.batch, k.heads, 0, k.size},
               past_values[4] = {v.batch, v.heads, past->kind ? past->dims[2] : 0, v.size};
    if (!check_dims(infer, 4, past_key, 4, "past_key") ||
        !check_dims(infer, 5, past_values, 4, "past_value") || !check_mask(infer, scores) ||
        !check_dims(infer, 6, &q.batch, 1, "nonpad_kv_seqlen") || !check_blocks(infer))
        return false;
    sinter_infer_set(infer, 0, q_type->dtype, q_type->rank, y);
    sinter_infer_set(infer, 1, sinter_infer_operand(infer, 1)->dtype, 4, key);
    sinter_infer_set(infer, 2, v_type->dtype, 4, value);
    sinter_infer_set(infer, 3, q_type->dtype, 4, scores);
    return true;
}

bool infer_flex_attention(sinter_infer *infer) {
    const sinter_type *q_type = sinter_infer_operand(infer, 0);
    heads q, k, v;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_rank(infer, i, 4, 4) || !sinter_infer_check_same_dtype(infer, 0, i))
            return false;
    if (!read_heads(infer, 0, "", &q) || !read_heads(infer, 1, "", &k) ||
        !read_heads(infer, 2, "", &v) || !check_heads(infer, &q, &k, &v))
        return false;
    sinter_infer_set(infer, 0, q_type->dtype, 4,
                     (sinter_dim[]){q.batch, q.heads, q.length, v.size});
    return true;
}

bool infer_rotary_embedding(sinter_infer *infer) {
    heads x;
    if (!sinter_infer_check_same_dtype(infer, 0, 1) || !sinter_infer_check_same_dtype(infer, 0, 2))
        return false;
    if (!sinter_infer_check_rank(infer, 0, 3, 4) || !read_heads(infer, 0, "num_heads", &x))
        return false;
    /* With positions the caches have a row for each position, else one for each token. */
    const sinter_dim token[3] = {x.batch, x.length, 0};
    const sinter_type *cache = sinter_infer_operand(infer, 1);
    bool rows = sinter_infer_has(infer, 3);
    if (!sinter_infer_check_rank(infer, 1, rows ? 2 : 3, rows ? 2 : 3) ||
        !check_dims(infer, 2, cache->dims, cache->rank, "sin_cache") ||
        !(rows ? check_dims(infer, 3, token, 2, "position_ids")
               : check_dims(infer, 1, token, 3, "cos_cache")))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

/* Gates decay, deltas have a rate. */
static bool check_update_rule(sinter_infer *infer) {
    sinter_string rule = sinter_node_get_string(infer->module, infer->node, "update_rule");
    bool both = sinter_string_is(rule, "gated_delta");
    bool gated = both || sinter_string_is(rule, "gated"),
         delta = both || sinter_string_is(rule, "delta");
    for (uint32_t i = 0; i < 2; i++) {
        bool needs = i ? delta : gated, has = sinter_infer_operand(infer, 4 + i)->kind != 0;
        if (needs != has)
            return sinter_infer_error(infer, "update_rule '%.*s' %s %s [linear_attention_c1]",
                                      SINTER_STRING_ARGS(rule), needs ? "needs" : "has no use for",
                                      i ? "beta" : "decay");
    }
    return true;
}

/* decay and beta have a number for each token and head, or `other` numbers for each token. */
static bool check_gate(sinter_infer *infer, uint32_t operand, const heads *k, sinter_dim other) {
    const sinter_type *gate = sinter_infer_operand(infer, operand);
    sinter_dim dims[3] = {k->batch, k->length, k->heads};
    if (!sinter_infer_check_rank(infer, operand, 3, 3)) return false;
    int64_t width;
    if (gate->kind && gate->dims[2] == other) dims[2] = other;
    if (gate->kind && !sinter_dim_is_const(infer->dims, gate->dims[2], &width))
        dims[2] = 0; /* either: a run sees which */
    return sinter_infer_check_same_dtype(infer, 0, operand) &&
           check_dims(infer, operand, dims, 3, operand == 4 ? "decay" : "beta");
}

bool infer_linear_attention(sinter_infer *infer) {
    const sinter_type *past = sinter_infer_operand(infer, 3);
    heads q, k, v;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_infer_check_rank(infer, i, 3, 3) || !sinter_infer_check_same_dtype(infer, 0, i))
            return false;
    if (!read_heads(infer, 0, "q_num_heads", &q) || !read_heads(infer, 1, "kv_num_heads", &k) ||
        !read_heads(infer, 2, "kv_num_heads", &v) || !check_heads(infer, &q, &k, &v))
        return false;
    const sinter_dim state[4] = {k.batch, k.heads, k.size, v.size};
    if (!check_update_rule(infer) || !check_dims(infer, 3, state, 4, "past_state") ||
        !check_gate(infer, 4, &k, sinter_infer_operand(infer, 1)->dims[2]) ||
        !check_gate(infer, 5, &k, sinter_infer_number(infer, 1)))
        return false;
    sinter_dtype dtype = sinter_infer_operand(infer, 0)->dtype;
    sinter_infer_set(
        infer, 0, dtype, 3,
        (sinter_dim[]){q.batch, q.length, sinter_dim_mul(infer->dims, q.heads, v.size)});
    sinter_infer_set(infer, 1, past->kind ? past->dtype : dtype, 4, state);
    return true;
}

bool infer_causal_conv_with_state(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0), *w = sinter_infer_operand(infer, 1);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t rank = i == 2 ? 1 : 3;
        if (!sinter_infer_check_same_dtype(infer, 0, i) ||
            !sinter_infer_check_rank(infer, i, rank, rank))
            return false;
    }
    if (!sinter_infer_check_dims_equal(infer, 1, 0, 0, 1) ||
        !sinter_infer_check_dims_equal(infer, 2, 0, 0, 1))
        return false;
    sinter_dim state[3] = {x->dims[0], x->dims[1], sinter_infer_plus(infer, w->dims[2], -1)};
    if (!sinter_infer_check_dim(infer, 1, 1, sinter_infer_number(infer, 1), "depthwise weights") ||
        !check_dims(infer, 3, state, 3, "past_state"))
        return false;
    sinter_infer_set_like(infer, 0, 0);
    sinter_infer_set(infer, 1, x->dtype, 3, state);
    return true;
}

/* ---- random, windows ---- */

bool infer_random(sinter_infer *infer) {
    const sinter_type *input = sinter_infer_operand(infer, 0);
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "dtype");
    sinter_dim dims[SINTER_MAX_RANK];
    const int64_t *shape;
    if (infer->info->op == SINTER_OP_multinomial) {
        if (!sinter_infer_check_rank(infer, 0, 2, 2)) return false;
        dims[0] = input->dims[0];
        dims[1] = sinter_infer_number(
            infer, sinter_node_get_int(infer->module, infer->node, "sample_size", 1));
        sinter_infer_set(infer, 0, dtype ? dtype : SINTER_DTYPE_i32, 2, dims);
        return true;
    }
    if (sinter_infer_has(infer, 0)) {
        if (!sinter_infer_check_tensor(infer, 0)) return false;
        sinter_infer_set_dtype(infer, 0, 0, dtype ? dtype : input->dtype);
        return true;
    }
    size_t count = sinter_node_get_ints(infer->module, infer->node, "shape", &shape);
    if (!sinter_infer_check_result_rank(infer, count)) return false;
    for (size_t i = 0; i < count; i++) {
        if (shape[i] < 0)
            return sinter_infer_error(infer, "dim %zu of shape is %" PRId64 " [random_c1]", i,
                                      shape[i]);
        dims[i] = sinter_infer_number(infer, shape[i]);
    }
    sinter_infer_set(infer, 0, dtype ? dtype : SINTER_DTYPE_f32, (uint32_t)count, dims);
    return true;
}

bool infer_window_function(sinter_infer *infer) {
    sinter_dtype dtype = sinter_node_get_dtype(infer->module, infer->node, "output_datatype");
    if (!sinter_infer_check_scalar(infer, 0) || !sinter_infer_check_integer(infer, 0)) return false;
    sinter_dim size = sinter_infer_demand_scalar(infer, 0);
    if (!size) size = sinter_infer_node_dim(infer, 0, 0, "window");
    sinter_infer_set(infer, 0, dtype ? dtype : SINTER_DTYPE_f32, 1, &size);
    return true;
}
