/* Decompositions of attention, rotary embedding and causal convolution (ONNX 23-27). Heads are the second axis of
 * rank-4 tensors; rank-3 operands are split into heads first. Test: tests/passes/decompose/ */
#include "ir/decompose.h"
#include <math.h>

typedef struct attention {
    sinter_rewrite *rewrite;
    sinter_module *module;
    sinter_dim_table *table;
    sinter_node node;
    sinter_value q, k, v; /* [batch, heads, length, size] */
    sinter_dtype dtype;   /* of Q and Y */
    sinter_value mask;    /* additive, or 0 */
    bool by_places; /* what is_causal hides is no part of the mask: the node goes on saying it */
} attention;

/* [B, S, H * D] -> [B, H, S, D] */
static sinter_value split_heads(attention *a, sinter_value x, int64_t heads) {
    sinter_type type = *sinter_compose_type(a->rewrite, x);
    if (type.rank == 4) return x;
    sinter_dim count = sinter_dim_const(a->table, heads);
    sinter_dim dims[4] = {type.dims[0], type.dims[1], count,
                          sinter_dim_floordiv(a->table, type.dims[2], count)};
    const int64_t perm[4] = {0, 2, 1, 3};
    return sinter_compose_transpose(a->rewrite, sinter_compose_reshape(a->rewrite, x, dims, 4),
                                    perm, 4);
}

/* [B, H, S, D] -> [B, S, H * D] */
static sinter_value merge_heads(attention *a, sinter_value x) {
    const int64_t perm[4] = {0, 2, 1, 3};
    sinter_type type = *sinter_compose_type(a->rewrite, x);
    sinter_dim dims[3] = {type.dims[0], type.dims[2],
                          sinter_dim_mul(a->table, type.dims[1], type.dims[3])};
    return sinter_compose_reshape(a->rewrite, sinter_compose_transpose(a->rewrite, x, perm, 4),
                                  dims, 3);
}

/* Each key/value head serves a group of query heads: [B, H, S, X] with the queries of a group as rows of one head,
 * [B, heads, H / heads * S, X], which is the same memory. Keys and values need no copies then. */
static sinter_value join_groups(attention *a, sinter_value x, sinter_dim heads) {
    sinter_type type = *sinter_compose_type(a->rewrite, x);
    if (type.dims[1] == heads) return x;
    sinter_dim size = sinter_dim_floordiv(a->table, type.dims[1], heads);
    sinter_dim dims[4] = {type.dims[0], heads, sinter_dim_mul(a->table, size, type.dims[2]),
                          type.dims[3]};
    return sinter_compose_reshape(a->rewrite, x, dims, 4);
}

/* [B, H, 1, X] -> [B, heads, H / heads, 1, X] */
static sinter_value one_by_one(attention *a, sinter_value x, sinter_dim heads) {
    sinter_type type = *sinter_compose_type(a->rewrite, x);
    sinter_dim size = sinter_dim_floordiv(a->table, type.dims[1], heads);
    sinter_dim dims[5] = {type.dims[0], heads, size, type.dims[2], type.dims[3]};
    return sinter_compose_reshape(a->rewrite, x, dims, 5);
}

/* And back: as many heads and rows as the queries have. */
static sinter_value split_groups(attention *a, sinter_value x) {
    if (!x) return 0;
    sinter_type type = *sinter_compose_type(a->rewrite, x),
                q = *sinter_compose_type(a->rewrite, a->q);
    if (type.dims[1] == q.dims[1]) return x;
    sinter_dim dims[4] = {type.dims[0], q.dims[1], q.dims[2], type.dims[type.rank - 1]};
    return sinter_compose_reshape(a->rewrite, x, dims, 4);
}

static sinter_value minus_infinity(attention *a, sinter_dtype dtype) {
    return sinter_build_scalar(&a->rewrite->build, dtype, -INFINITY);
}

static sinter_value zero(attention *a, sinter_dtype dtype) {
    return sinter_build_scalar(&a->rewrite->build, dtype, 0);
}

/* i64 0, 1, ... below `count`. */
static sinter_value positions(attention *a, sinter_dim count) {
    sinter_dim one = count;
    const int64_t squeeze = 0;
    sinter_value limit = sinter_compose_binary(a->rewrite, SINTER_OP_squeeze,
                                               sinter_build_dims(&a->rewrite->build, &one, 1),
                                               sinter_build_ints(&a->rewrite->build, &squeeze, 1));
    sinter_value operands[3] = {sinter_build_int(&a->rewrite->build, 0), limit,
                                sinter_build_int(&a->rewrite->build, 1)};
    return limit ? sinter_build(&a->rewrite->build, SINTER_OP_range, operands, 3, NULL, 0) : 0;
}

/* A boolean "may attend" as an additive mask of 0 and -inf. */
static sinter_value additive(attention *a, sinter_value allowed) {
    return sinter_compose_select(a->rewrite, allowed, zero(a, a->dtype),
                                 minus_infinity(a, a->dtype));
}

/* The operand attn_mask as an additive mask; one that is shorter than the keys is padded with "masked". */
static sinter_value given_mask(attention *a, sinter_value mask, sinter_dim keys) {
    sinter_type type = *sinter_compose_type(a->rewrite, mask);
    if (type.dtype == SINTER_DTYPE_bool)
        mask = additive(a, mask);
    else
        mask = sinter_compose_cast(a->rewrite, mask, a->dtype);
    sinter_dim last = type.dims[type.rank - 1];
    if (last == keys) return mask;
    sinter_dim pads[2 * SINTER_MAX_RANK];
    for (uint32_t i = 0; i < 2 * type.rank; ++i) pads[i] = sinter_dim_const(a->table, 0);
    pads[2 * type.rank - 1] = sinter_dim_sub(a->table, keys, last);
    sinter_value operands[3] = {mask, sinter_build_dims(&a->rewrite->build, pads, 2 * type.rank),
                                minus_infinity(a, a->dtype)};
    return mask && operands[1]
               ? sinter_build(&a->rewrite->build, SINTER_OP_pad, operands, 3, NULL, 0)
               : 0;
}

/* Query i sees keys j <= past + i. */
static sinter_value causal_mask(attention *a, sinter_dim queries, sinter_dim keys,
                                sinter_dim past) {
    const int64_t column = 1, squeeze = 0;
    sinter_value i = sinter_compose_unsqueeze(a->rewrite, positions(a, queries), &column, 1);
    sinter_value shift = sinter_compose_binary(a->rewrite, SINTER_OP_squeeze,
                                               sinter_build_dims(&a->rewrite->build, &past, 1),
                                               sinter_build_ints(&a->rewrite->build, &squeeze, 1));
    i = sinter_compose_binary(a->rewrite, SINTER_OP_add, i, shift);
    return additive(
        a, sinter_compose_binary(a->rewrite, SINTER_OP_less_or_equal, positions(a, keys), i));
}

static void add_mask(attention *a, sinter_value mask) {
    a->mask = a->mask ? sinter_compose_binary(a->rewrite, SINTER_OP_add, a->mask, mask) : mask;
}

static void build_masks(attention *a) {
    sinter_type k = *sinter_compose_type(a->rewrite, a->k);
    sinter_value given = sinter_compose_operand(a->rewrite, a->node, 3),
                 lengths = sinter_compose_operand(a->rewrite, a->node, 6);
    if (given) add_mask(a, given_mask(a, given, k.dims[2]));
    if (lengths) {
        const int64_t axes[3] = {1, 2, 3};
        sinter_value limit = sinter_compose_unsqueeze(a->rewrite, lengths, axes, 3);
        add_mask(a, additive(a, sinter_compose_binary(a->rewrite, SINTER_OP_less,
                                                      positions(a, k.dims[2]), limit)));
    }
}

static sinter_value with_past(attention *a, sinter_value past, sinter_value x) {
    if (!past) return x;
    sinter_value items[2] = {past, x};
    return sinter_compose_concat(a->rewrite, items, 2, 2);
}

static sinter_value softmax_in(attention *a, sinter_value x, sinter_dtype precision) {
    sinter_attr axis = sinter_attr_int("axis", -1);
    sinter_value wide = precision ? sinter_compose_cast(a->rewrite, x, precision) : x;
    return wide ? sinter_build(&a->rewrite->build, SINTER_OP_softmax, &wide, 1, &axis, 1) : 0;
}

/* The scale or its square root, in the type of Q: a number, or [1] where the head size is a symbol. 0: it is 1. */
static sinter_value scale_of(attention *a, bool root) {
    sinter_rewrite *rewrite = a->rewrite;
    const sinter_attr *given = sinter_node_find_attr(a->module, a->node, "scale");
    sinter_dim size = sinter_compose_type(rewrite, a->q)->dims[3];
    int64_t number = 1;
    if (given || sinter_dim_is_const(a->table, size, &number)) {
        double scale = given ? given->float_value : number > 0 ? 1 / sqrt((double)number) : 1;
        if (scale == 1) return 0;
        return sinter_build_scalar(&rewrite->build, a->dtype, root ? sqrt(scale) : scale);
    }
    sinter_dtype wide = a->dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
    sinter_value scale =
        sinter_compose_cast(rewrite, sinter_build_dims(&rewrite->build, &size, 1), wide);
    scale = sinter_compose_unary(rewrite, SINTER_OP_reciprocal,
                                 sinter_compose_unary(rewrite, SINTER_OP_sqrt, scale));
    if (root) scale = sinter_compose_unary(rewrite, SINTER_OP_sqrt, scale);
    return sinter_compose_cast(rewrite, scale, a->dtype);
}

/* Q K^T and the scale. In narrow floats both are scaled by its square root before, which keeps products in range. */
static sinter_value scores(attention *a) {
    const int64_t perm[4] = {0, 1, 3, 2}, single_perm[5] = {0, 1, 2, 4, 3}, group_axis = 2;
    bool narrow = sinter_dtype_infos[a->dtype].bits < 32;
    const sinter_type key = *sinter_compose_type(a->rewrite, a->k),
                      query = *sinter_compose_type(a->rewrite, a->q);
    bool single = key.dims[1] != query.dims[1] && sinter_dim_is(a->table, query.dims[2], 1);
    sinter_value q, k, scale = scale_of(a, narrow);
    if (single) { /* a group's queries one by one: keys are read as they lie */
        q = one_by_one(a, a->q, key.dims[1]);
        k = sinter_compose_unsqueeze(a->rewrite, a->k, &group_axis, 1);
    } else {
        q = join_groups(a, a->q, key.dims[1]);
        k = a->k;
    }
    k = sinter_compose_transpose(a->rewrite, k, single ? single_perm : perm, single ? 5 : 4);
    if (narrow && scale) {
        q = sinter_compose_binary(a->rewrite, SINTER_OP_mul, q, scale);
        k = sinter_compose_binary(a->rewrite, SINTER_OP_mul, k, scale);
    }
    sinter_value product = sinter_compose_binary(a->rewrite, SINTER_OP_matmul, q, k);
    if (scale && !narrow)
        product = sinter_compose_binary(a->rewrite, SINTER_OP_mul, product, scale);
    return split_groups(a, product);
}

/* Halves are computed in f32, and rounded where the graph can see it. */
static bool is_half(sinter_dtype dtype) {
    return dtype == SINTER_DTYPE_f16 || dtype == SINTER_DTYPE_bf16;
}

/* Operands that lowering takes block by block, in f32 where they are halves: heads as an axis, their number and sizes known and not too large for what is kept
 * of a block, at most a mask of the keys that is added; enough queries to fill blocks with. */
static bool fits_blocks(const attention *a) {
    enum { FEW_QUERIES = 8, LARGEST_SIZE = 512 };
    const sinter_value operands[3] = {a->q, a->k, a->v};
    const sinter_type *types[3];
    if (a->dtype != SINTER_DTYPE_f32 && !is_half(a->dtype)) return false;
    for (uint32_t i = 0; i < 3; i++) {
        int64_t heads, size;
        types[i] = sinter_compose_type(a->rewrite, operands[i]);
        if (types[i]->rank != 4 || types[i]->dtype != a->dtype ||
            !sinter_dim_is_const(a->table, types[i]->dims[1], &heads) || heads < 1 ||
            !sinter_dim_is_const(a->table, types[i]->dims[3], &size) || size < 1 ||
            size > LARGEST_SIZE)
            return false;
    }
    const sinter_type *mask = a->mask ? sinter_compose_type(a->rewrite, a->mask) : NULL;
    if (mask &&
        (mask->dtype != a->dtype || !mask->rank || mask->dims[mask->rank - 1] != types[1]->dims[2]))
        return false;
    int64_t queries;
    return !sinter_dim_is_const(a->table, types[0]->dims[2], &queries) || queries >= FEW_QUERIES;
}

/* No more than softmax(scale * Q K^T + mask) V, and that alone. */
static bool is_plain(const attention *a) {
    const sinter_node_info *info = sinter_node_get(a->module, a->node);
    sinter_dtype precision = sinter_node_get_dtype(a->module, a->node, "softmax_precision");
    bool more = info->result_count > 3 && info->results[3];
    return !more && (!precision || precision == a->dtype || precision == SINTER_DTYPE_f32) &&
           sinter_node_get_float(a->module, a->node, "softcap", 0) <= 0;
}

/* It is as lowering takes it. */
static bool stays(attention *a) {
    const sinter_node_info *info = sinter_node_get(a->module, a->node);
    if (a->dtype != SINTER_DTYPE_f32 || info->operand_count > 4 ||
        !sinter_node_find_attr(a->module, a->node, "scale"))
        return false;
    for (uint32_t i = 1; i < info->result_count; i++)
        if (info->results[i]) return false;
    a->q = info->operands[0];
    a->k = info->operands[1];
    a->v = info->operands[2];
    a->mask = sinter_compose_operand(a->rewrite, a->node, 3);
    bool fits = is_plain(a) && fits_blocks(a);
    a->mask = 0;
    return fits;
}

bool sinter_decompose_leaves_attention(sinter_module *module, sinter_node node) {
    sinter_rewrite rewrite = {.build = {.module = module}};
    attention a = {.rewrite = &rewrite,
                   .module = module,
                   .table = sinter_module_dims(module),
                   .node = node,
                   .dtype = SINTER_DTYPE_f32};
    return stays(&a);
}

static double scale_number(const attention *a) {
    const sinter_attr *given = sinter_node_find_attr(a->module, a->node, "scale");
    int64_t size = 1;
    sinter_dim_is_const(a->table, sinter_compose_type(a->rewrite, a->q)->dims[3], &size);
    return given ? given->float_value : 1 / sqrt((double)size);
}

/* Products are of factors that are rounded. */
static bool has_precision(const attention *a) {
    return !sinter_string_equal(sinter_node_get_string(a->module, a->node, "factor_precision"),
                                SINTER_STRING("f32"));
}

/* With masks, caches and heads as they were made of what the node says. */
static sinter_value build_plain(attention *a) {
    sinter_value operands[4] = {a->q, a->k, a->v, a->mask};
    for (uint32_t i = 0; i < 4 && is_half(a->dtype); i++)
        if (operands[i])
            operands[i] = sinter_compose_cast(a->rewrite, operands[i], SINTER_DTYPE_f32);
    sinter_attr attributes[3] = {sinter_attr_float("scale", scale_number(a))};
    uint32_t count = 1;
    if (has_precision(a))
        attributes[count++] = sinter_attr_string(
            "factor_precision", sinter_node_get_string(a->module, a->node, "factor_precision"));
    if (a->by_places) attributes[count++] = sinter_attr_int("is_causal", 1);
    sinter_value y = sinter_build(&a->rewrite->build, SINTER_OP_attention, operands,
                                  a->mask ? 4 : 3, attributes, count);
    return sinter_compose_cast(a->rewrite, y, a->dtype);
}

/* Product, softmax, product; the stages of the scores where they are wanted. */
static sinter_value build_products(attention *a, sinter_value *out_stage) {
    sinter_rewrite *rewrite = a->rewrite;
    sinter_value raw = scores(a), capped = raw;
    double softcap = sinter_node_get_float(a->module, a->node, "softcap", 0);
    if (softcap > 0) {
        capped = sinter_compose_with_number(rewrite, SINTER_OP_div, raw, softcap);
        capped = sinter_compose_with_number(
            rewrite, SINTER_OP_mul, sinter_compose_unary(rewrite, SINTER_OP_tanh, capped), softcap);
    }
    sinter_value biased =
        a->mask ? sinter_compose_binary(rewrite, SINTER_OP_add, capped, a->mask) : capped;
    sinter_value weights =
        softmax_in(a, biased, sinter_node_get_dtype(a->module, a->node, "softmax_precision"));
    if (sinter_node_get(a->module, a->node)->result_count > 3) {
        int64_t mode = sinter_node_get_int(a->module, a->node, "qk_matmul_output_mode", 0);
        sinter_value stages[4] = {capped, capped, biased, weights};
        *out_stage = sinter_compose_cast(rewrite, stages[mode & 3], a->dtype);
    }
    weights = sinter_compose_cast(rewrite, weights, a->dtype);
    weights = join_groups(a, weights, sinter_compose_type(rewrite, a->v)->dims[1]);
    return split_groups(a, sinter_compose_binary(rewrite, SINTER_OP_matmul, weights, a->v));
}

bool sinter_decompose_attention(sinter_rewrite *rewrite, sinter_node node,
                                sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    attention a = {
        .rewrite = rewrite, .module = module, .table = sinter_module_dims(module), .node = node};
    sinter_value q = sinter_compose_operand(rewrite, node, 0), stage = 0;
    a.dtype = sinter_compose_type(rewrite, q)->dtype;
    if (stays(&a)) return true;
    bool flat = sinter_compose_type(rewrite, q)->rank == 3;
    int64_t q_heads = sinter_node_get_int(module, node, "q_num_heads", 0),
            kv_heads = sinter_node_get_int(module, node, "kv_num_heads", 0);
    a.q = split_heads(&a, q, q_heads);
    a.k = with_past(&a, sinter_compose_operand(rewrite, node, 4),
                    split_heads(&a, sinter_compose_operand(rewrite, node, 1), kv_heads));
    a.v = with_past(&a, sinter_compose_operand(rewrite, node, 5),
                    split_heads(&a, sinter_compose_operand(rewrite, node, 2), kv_heads));
    if (!a.q || !a.k || !a.v) return false;
    sinter_value values = a.v; /* which may be of a type of their own */
    a.v = sinter_compose_cast(rewrite, values, a.dtype);
    sinter_value past = sinter_compose_operand(rewrite, node, 4);
    sinter_dim past_length =
        past ? sinter_compose_type(rewrite, past)->dims[2] : sinter_dim_const(a.table, 0);
    build_masks(&a);
    const bool is_causal = sinter_node_get_int(module, node, "is_causal", 0) != 0,
               plain = is_plain(&a) && fits_blocks(&a);
    a.by_places = is_causal && plain && !past;
    if (is_causal && !a.by_places)
        add_mask(&a, causal_mask(&a, sinter_compose_type(rewrite, a.q)->dims[2],
                                 sinter_compose_type(rewrite, a.k)->dims[2], past_length));
    sinter_value y = plain ? build_plain(&a) : build_products(&a, &stage);
    if (!y) return false;
    out_results[0] = flat ? merge_heads(&a, y) : y;
    uint32_t results = sinter_node_get(module, node)->result_count;
    if (results > 1) out_results[1] = a.k;
    if (results > 2) out_results[2] = values;
    if (results > 3) out_results[3] = stage;
    return out_results[0] != 0;
}

/* ---- rotary embedding ---- */

/* Every second element of the last axis from `first`, or one half of it. */
static sinter_value half_of(sinter_rewrite *rewrite, sinter_value x, sinter_dim rotated,
                            bool interleaved, int64_t which) {
    sinter_dim_table *table = sinter_module_dims(rewrite->build.module);
    sinter_dim first = sinter_dim_const(table, which),
               half = sinter_dim_floordiv(table, rotated, sinter_dim_const(table, 2));
    sinter_dim start = interleaved ? first : sinter_dim_mul(table, first, half);
    sinter_dim end = interleaved ? rotated : sinter_dim_add(table, start, half);
    const int64_t axis = 3, step = interleaved ? 2 : 1;
    sinter_value operands[5] = {x, sinter_build_dims(&rewrite->build, &start, 1),
                                sinter_build_dims(&rewrite->build, &end, 1),
                                sinter_build_ints(&rewrite->build, &axis, 1),
                                sinter_build_ints(&rewrite->build, &step, 1)};
    return sinter_build(&rewrite->build, SINTER_OP_slice, operands, 5, NULL, 0);
}

/* cos or sin of every (batch, position), as [B, S, 1, R/2]. */
static sinter_value rotation_table(sinter_rewrite *rewrite, sinter_value cache, sinter_value ids) {
    const int64_t axis = 2;
    if (ids) {
        sinter_value operands[2] = {cache, ids};
        cache = sinter_build(&rewrite->build, SINTER_OP_gather, operands, 2, NULL, 0);
    }
    return sinter_compose_unsqueeze(rewrite, cache, &axis, 1);
}

static sinter_value rotate(sinter_rewrite *rewrite, sinter_value x1, sinter_value x2,
                           sinter_value c, sinter_value s, bool real) {
    sinter_value first = sinter_compose_binary(rewrite, SINTER_OP_mul, real ? c : s, x1);
    sinter_value second = sinter_compose_binary(rewrite, SINTER_OP_mul, real ? s : c, x2);
    return sinter_compose_binary(rewrite, real ? SINTER_OP_sub : SINTER_OP_add, first, second);
}

bool sinter_decompose_rotary_embedding(sinter_rewrite *rewrite, sinter_node node,
                                       sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_dim_table *table = sinter_module_dims(module);
    sinter_value x = sinter_compose_operand(rewrite, node, 0);
    sinter_type type = *sinter_compose_type(rewrite, x);
    const int64_t perm[4] = {0, 2, 1, 3};
    sinter_value view = x;
    if (type.rank == 4) {
        view = sinter_compose_transpose(rewrite, x, perm, 4);
    } else {
        sinter_dim heads =
            sinter_dim_const(table, sinter_node_get_int(module, node, "num_heads", 1));
        sinter_dim dims[4] = {type.dims[0], type.dims[1], heads,
                              sinter_dim_floordiv(table, type.dims[2], heads)};
        view = sinter_compose_reshape(rewrite, x, dims, 4);
    }
    if (!view) return false;
    sinter_type split = *sinter_compose_type(rewrite, view);
    int64_t part = sinter_node_get_int(module, node, "rotary_embedding_dim", 0);
    sinter_dim size = split.dims[3], rotated = part ? sinter_dim_const(table, part) : size;
    bool interleaved = sinter_node_get_int(module, node, "interleaved", 0) != 0;
    sinter_value ids = sinter_compose_operand(rewrite, node, 3);
    sinter_value c = rotation_table(rewrite, sinter_compose_operand(rewrite, node, 1), ids),
                 s = rotation_table(rewrite, sinter_compose_operand(rewrite, node, 2), ids);
    sinter_value x1 = half_of(rewrite, view, rotated, interleaved, 0),
                 x2 = half_of(rewrite, view, rotated, interleaved, 1);
    sinter_value parts[3] = {rotate(rewrite, x1, x2, c, s, true),
                             rotate(rewrite, x1, x2, c, s, false), 0};
    sinter_value turned;
    if (interleaved) {
        const int64_t axis = 4;
        sinter_dim dims[4] = {split.dims[0], split.dims[1], split.dims[2], rotated};
        parts[0] = sinter_compose_unsqueeze(rewrite, parts[0], &axis, 1);
        parts[1] = sinter_compose_unsqueeze(rewrite, parts[1], &axis, 1);
        turned =
            sinter_compose_reshape(rewrite, sinter_compose_concat(rewrite, parts, 2, 4), dims, 4);
    } else {
        turned = sinter_compose_concat(rewrite, parts, 2, 3);
    }
    if (rotated != size && turned) {
        sinter_value rest[2] = {
            turned,
            sinter_compose_slice(rewrite, view, 3, sinter_build_dims(&rewrite->build, &rotated, 1),
                                 sinter_build_dims(&rewrite->build, &size, 1))};
        turned = sinter_compose_concat(rewrite, rest, 2, 3);
    }
    out_results[0] = type.rank == 4 ? sinter_compose_transpose(rewrite, turned, perm, 4)
                                    : sinter_compose_reshape(rewrite, turned, type.dims, 3);
    return out_results[0] != 0;
}

/* ---- causal convolution: the past is concatenated on the left, then a depthwise valid convolution ---- */

bool sinter_decompose_causal_conv_with_state(sinter_rewrite *rewrite, sinter_node node,
                                             sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    sinter_dim_table *table = sinter_module_dims(module);
    sinter_value x = sinter_compose_operand(rewrite, node, 0),
                 weight = sinter_compose_operand(rewrite, node, 1),
                 past = sinter_compose_operand(rewrite, node, 3);
    sinter_type type = *sinter_compose_type(rewrite, x),
                kernel = *sinter_compose_type(rewrite, weight);
    int64_t channels = 0, taps = 0;
    if (!sinter_dim_is_const(table, kernel.dims[0], &channels) ||
        !sinter_dim_is_const(table, kernel.dims[2], &taps))
        return sinter_error(rewrite->build.diag, rewrite->build.location,
                            "causal_conv_with_state: the weight's dims must be numbers");
    if (!past) {
        sinter_dim dims[3] = {type.dims[0], type.dims[1], sinter_dim_const(table, taps - 1)};
        past = sinter_compose_binary(rewrite, SINTER_OP_expand,
                                     sinter_build_scalar(&rewrite->build, type.dtype, 0),
                                     sinter_build_dims(&rewrite->build, dims, 3));
    }
    sinter_value items[2] = {past, x};
    sinter_value padded = sinter_compose_concat(rewrite, items, 2, 2);
    if (!padded) return false;
    sinter_value operands[3] = {padded, weight, sinter_compose_operand(rewrite, node, 2)};
    sinter_attr group = sinter_attr_int("group", channels);
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_conv, operands, 3, &group, 1);
    if (y && !sinter_string_is(sinter_node_get_string(module, node, "activation"), "none")) {
        sinter_value wide = sinter_compose_cast(
            rewrite, y, type.dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32);
        y = sinter_compose_cast(rewrite, sinter_compose_unary(rewrite, SINTER_OP_swish, wide),
                                type.dtype);
    }
    out_results[0] = y;
    sinter_dim length = sinter_compose_type(rewrite, padded)->dims[2];
    sinter_dim start = sinter_dim_sub(table, length, sinter_dim_const(table, taps - 1));
    out_results[1] =
        sinter_compose_slice(rewrite, padded, 2, sinter_build_dims(&rewrite->build, &start, 1),
                             sinter_build_dims(&rewrite->build, &length, 1));
    return y && out_results[1];
}
