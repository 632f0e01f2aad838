/* Attention, MultiHeadAttention, GroupQueryAttention and RotaryEmbedding of com.microsoft in terms of the ONNX operators of the same
 * purpose: projections, biases, masks and caches become what attention of the IR takes. Forms that cannot be said
 * that way (packed key-value pairs, shared cache buffers, beams) are refused.
 * Test: tests/suites/contrib_operators.py */
#include "frontends/onnx/importer.h"
#include <inttypes.h>
#include <math.h>

/* x[first : last] along axis. */
static sinter_value cut(sinter_onnx_node *node, sinter_value x, int64_t axis, int64_t first,
                        int64_t last) {
    sinter_value operands[] = {x, sinter_build_ints(&node->build, &first, 1),
                               sinter_build_ints(&node->build, &last, 1),
                               sinter_build_ints(&node->build, &axis, 1)};
    return x ? sinter_build(&node->build, SINTER_OP_slice, operands, 4, NULL, 0) : 0;
}

static bool last_dim(sinter_onnx_node *node, sinter_value x, int64_t *out_size) {
    const sinter_type *type = x ? sinter_onnx_type_of(node, x) : NULL;
    return type && type->rank &&
           sinter_dim_is_const(sinter_module_dims(node->importer->module),
                               type->dims[type->rank - 1], out_size);
}

/* ---- masks ---- */

/* i64[1, total]: 0, 1, ... */
static sinter_value positions(sinter_onnx_node *node, sinter_dim total) {
    sinter_builder *build = &node->build;
    const int64_t first = 0;
    sinter_value limit = sinter_build_dims(build, &total, 1);
    limit = limit ? sinter_build_reshape(build, limit, NULL, 0) : 0;
    sinter_value range = sinter_onnx_op3(node, SINTER_OP_range, sinter_build_int(build, 0), limit,
                                         sinter_build_int(build, 1));
    return sinter_onnx_unsqueeze(node, range, &first, 1);
}

/* Mask of 0 and 1: [batch] valid lengths, [batch, total] or [batch, length, total]; as what is added to the scores,
 * rank 4. */
static sinter_value additive_mask(sinter_onnx_node *node, sinter_value mask, sinter_dim batch,
                                  sinter_dim total, sinter_dtype dtype) {
    const sinter_type type = *sinter_onnx_type_of(node, mask);
    double filter = sinter_onnx_float(node, "mask_filter_value", -10000);
    const int64_t one = 1, inner[] = {1, 2};
    if (type.rank == 1) {
        if (type.dims[0] != batch) {
            sinter_onnx_fail(node, "a mask of rank 1 must have one length for each batch element");
            return 0;
        }
        mask = sinter_onnx_unsqueeze(node, sinter_build_cast(&node->build, mask, SINTER_DTYPE_i64),
                                     &one, 1);
        mask = sinter_onnx_op2(node, SINTER_OP_less, positions(node, total), mask);
    } else if (type.rank > 3) {
        sinter_onnx_fail(node, "a mask of rank %" PRIu32 " is not supported", type.rank);
        return 0;
    }
    mask = sinter_build_cast(&node->build, mask, dtype);
    mask = sinter_onnx_unsqueeze(node, mask, inner, type.rank == 3 ? 1 : 2);
    mask = sinter_onnx_op_number(node, SINTER_OP_sub, mask, 1); /* 0 where valid, else -1 */
    return sinter_onnx_op_number(node, SINTER_OP_mul, mask, -filter);
}

/* ---- the IR's attention ---- */

typedef struct parts {
    sinter_value q, k, v;        /* [batch, length, heads * size] */
    sinter_value mask, bias;     /* of the operator; 0 where absent */
    sinter_value past_k, past_v; /* [batch, heads, past, size] */
    int64_t heads;
} parts;

static sinter_value scores_bias(sinter_onnx_node *node, const parts *p) {
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type q = *sinter_onnx_type_of(node, p->q), k = *sinter_onnx_type_of(node, p->k);
    sinter_dim total = k.dims[1];
    if (p->past_k)
        total = sinter_dim_add(dims, total, sinter_onnx_type_of(node, p->past_k)->dims[2]);
    sinter_value mask = p->mask ? additive_mask(node, p->mask, q.dims[0], total, q.dtype) : 0;
    if (!mask || !p->bias) return mask ? mask : p->bias;
    return sinter_onnx_op2(node, SINTER_OP_add, mask, p->bias);
}

/* The attention node with three results: output, present key, present value. 0 after an error. */
static sinter_node attend(sinter_onnx_node *node, const parts *p) {
    if (!p->q || !p->k || !p->v || node->failed) return 0;
    if (sinter_onnx_type_of(node, p->q)->rank != 3 || sinter_onnx_type_of(node, p->k)->rank != 3 ||
        (p->past_k && (!p->past_v || sinter_onnx_type_of(node, p->past_k)->rank != 4))) {
        sinter_onnx_fail(node, "expected query, key and value of rank 3 and caches of rank 4");
        return 0;
    }
    sinter_attr attributes[4] = {
        sinter_attr_int("q_num_heads", p->heads), sinter_attr_int("kv_num_heads", p->heads),
        sinter_attr_int("is_causal", sinter_onnx_int(node, "unidirectional", 0))};
    uint32_t count = 3;
    double scale = sinter_onnx_float(node, "scale", 0);
    if (scale != 0) attributes[count++] = sinter_attr_float("scale", scale);
    sinter_value operands[] = {p->q, p->k, p->v, scores_bias(node, p), p->past_k, p->past_v};
    if (node->failed || ((p->mask || p->bias) && !operands[3])) return 0;
    sinter_node_spec spec = {.op = SINTER_OP_attention,
                             .operands = operands,
                             .operand_count = p->past_k     ? 6
                                              : operands[3] ? 4
                                                            : 3,
                             .attributes = attributes,
                             .attribute_count = count,
                             .result_count = 3};
    return sinter_build_node(&node->build, &spec);
}

/* ---- Attention ---- */

static bool split_projection(sinter_onnx_node *node, parts *p) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    sinter_value weights = sinter_onnx_need_operand(node, 1, "weights");
    sinter_value bias = sinter_onnx_operand(node, 2);
    const int64_t *given;
    size_t count = sinter_onnx_ints(node, "qkv_hidden_sizes", &given);
    int64_t all = 0, sizes[3];
    if (node->failed || !last_dim(node, weights, &all))
        return sinter_onnx_fail(node, "expected weights of known size");
    for (int i = 0; i < 3; i++) sizes[i] = count == 3 ? given[i] : all / 3;
    if (sizes[0] < 1 || sizes[1] != sizes[0] || sizes[2] < 1 || sizes[2] > all ||
        2 * sizes[0] != all - sizes[2])
        return sinter_onnx_fail(node, "the hidden sizes do not add up to %" PRId64, all);
    x = sinter_onnx_op2(node, SINTER_OP_matmul, x, weights);
    if (bias) x = sinter_onnx_op2(node, SINTER_OP_add, x, bias);
    p->q = cut(node, x, 2, 0, sizes[0]);
    p->k = cut(node, x, 2, sizes[0], 2 * sizes[0]);
    p->v = cut(node, x, 2, 2 * sizes[0], all);
    return p->v != 0;
}

static sinter_value pick(sinter_onnx_node *node, sinter_value pair, int64_t which) {
    return sinter_onnx_op2(node, SINTER_OP_gather, pair, sinter_build_int(&node->build, which));
}

bool sinter_onnx_rule_contrib_attention(sinter_onnx_node *node) {
    sinter_module *module = node->importer->module;
    parts p = {.mask = sinter_onnx_operand(node, 3),
               .bias = sinter_onnx_operand(node, 5),
               .heads = sinter_onnx_int(node, "num_heads", 0)};
    sinter_value past = sinter_onnx_operand(node, 4);
    if (sinter_onnx_operand(node, 6) || sinter_onnx_int(node, "do_rotary", 0))
        return sinter_onnx_fail(node, "shared cache buffers and do_rotary are not supported");
    if (!split_projection(node, &p)) return false;
    if (past) {
        p.past_k = pick(node, past, 0);
        p.past_v = pick(node, past, 1);
    }
    sinter_node attention = attend(node, &p);
    if (!attention) return false;
    if (sinter_onnx_wants(node, 1)) {
        const int64_t first = 0;
        sinter_value pair[2];
        for (uint32_t i = 0; i < 2; i++)
            pair[i] = sinter_onnx_unsqueeze(node, sinter_node_result(module, attention, i + 1),
                                            &first, 1);
        sinter_attr axis = sinter_attr_int("axis", 0);
        if (!pair[0] || !pair[1]) return false;
        node->results[1] = sinter_build(&node->build, SINTER_OP_concat, pair, 2, &axis, 1);
        if (!node->results[1]) return false;
    }
    return sinter_onnx_return(node, sinter_node_result(module, attention, 0));
}

/* ---- MultiHeadAttention ---- */

/* [batch, heads, length, size] -> [batch, length, heads * size]; rank 3 stays. */
static sinter_value flat_heads(sinter_onnx_node *node, sinter_value x) {
    if (!x || sinter_onnx_type_of(node, x)->rank != 4) return x;
    const int64_t perm[] = {0, 2, 1, 3};
    x = sinter_build_transpose(&node->build, x, perm, 4);
    if (!x) return 0;
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type type = *sinter_onnx_type_of(node, x);
    sinter_dim flat[] = {type.dims[0], type.dims[1],
                         sinter_dim_mul(dims, type.dims[2], type.dims[3])};
    return sinter_onnx_reshape_dims(node, x, flat, 3);
}

/* One bias for q, k and v, one after the other. */
static bool add_biases(sinter_onnx_node *node, parts *p, sinter_value bias) {
    sinter_value *operands[] = {&p->q, &p->k, &p->v};
    int64_t at = 0;
    for (int i = 0; i < 3; i++) {
        int64_t size;
        if (!last_dim(node, *operands[i], &size))
            return sinter_onnx_fail(node, "expected known hidden sizes where there is a bias");
        *operands[i] =
            sinter_onnx_op2(node, SINTER_OP_add, *operands[i], cut(node, bias, 0, at, at + size));
        if (!*operands[i]) return false;
        at += size;
    }
    return true;
}

bool sinter_onnx_rule_multi_head_attention(sinter_onnx_node *node) {
    sinter_module *module = node->importer->module;
    parts p = {.q = sinter_onnx_need_operand(node, 0, "query"),
               .k = sinter_onnx_need_operand(node, 1, "key"),
               .v = sinter_onnx_need_operand(node, 2, "value"),
               .mask = sinter_onnx_operand(node, 4),
               .bias = sinter_onnx_operand(node, 5),
               .past_k = sinter_onnx_operand(node, 6),
               .past_v = sinter_onnx_operand(node, 7),
               .heads = sinter_onnx_int(node, "num_heads", 0)};
    if (node->failed) return false;
    if (sinter_onnx_operand(node, 8) || sinter_onnx_wants(node, 3))
        return sinter_onnx_fail(
            node, "shared cache buffers and the scores as a result are not supported");
    p.k = flat_heads(node, p.k);
    p.v = flat_heads(node, p.v);
    if (!p.k || !p.v) return false;
    sinter_value bias = sinter_onnx_operand(node, 3);
    if (bias && !add_biases(node, &p, bias)) return false;
    sinter_node attention = attend(node, &p);
    if (!attention) return false;
    for (uint32_t i = 0; i < node->proto->n_output && i < 3; i++)
        node->results[i] = sinter_node_result(module, attention, i);
    return true;
}

/* ---- RotaryEmbedding ---- */

/* Positions as [batch, length]: given so, or as the first one, from which they count. */
static sinter_value all_positions(sinter_onnx_node *node, sinter_value x, sinter_value given) {
    const sinter_type type = *sinter_onnx_type_of(node, x);
    if (sinter_onnx_type_of(node, given)->rank != 1) return given;
    sinter_dim shape[] = {type.dims[0], type.dims[type.rank - 2]};
    given = sinter_onnx_op2(node, SINTER_OP_add, positions(node, shape[1]), given);
    return sinter_onnx_op2(node, SINTER_OP_expand, given,
                           sinter_build_dims(&node->build, shape, 2));
}

bool sinter_onnx_rule_contrib_rotary(sinter_onnx_node *node) {
    sinter_value x = sinter_onnx_need_operand(node, 0, "input");
    sinter_value given = sinter_onnx_need_operand(node, 1, "position_ids");
    sinter_value cosines = sinter_onnx_need_operand(node, 2, "cos_cache");
    sinter_value sines = sinter_onnx_need_operand(node, 3, "sin_cache");
    int64_t rotated = sinter_onnx_int(node, "rotary_embedding_dim", 0), half = 0, hidden = 0;
    int64_t heads = sinter_onnx_int(node, "num_heads", 0);
    if (sinter_onnx_int(node, "is_packed_batching", 0) || sinter_onnx_float(node, "scale", 1) != 1)
        return sinter_onnx_fail(node, "packed batches and scales are not supported");
    if (node->failed || sinter_onnx_type_of(node, x)->rank < 3)
        return sinter_onnx_fail(node, "expected an input of rank 3 or 4");
    if (sinter_onnx_type_of(node, x)->rank == 3 && heads == 0) {
        if (!last_dim(node, x, &hidden) || !last_dim(node, cosines, &half) || half < 1 ||
            hidden % (2 * half) != 0)
            return sinter_onnx_fail(node, "the number of heads is not known");
        heads = hidden / (2 * half);
    }
    sinter_value operands[] = {x, cosines, sines, all_positions(node, x, given)};
    sinter_attr attributes[] = {
        sinter_attr_int("interleaved", sinter_onnx_int(node, "interleaved", 0)),
        sinter_attr_int("rotary_embedding_dim", rotated), sinter_attr_int("num_heads", heads)};
    return operands[3] &&
           sinter_onnx_return(node, sinter_build(&node->build, SINTER_OP_rotary_embedding, operands,
                                                 4, attributes, heads ? 3 : 2));
}

/* ---- GroupQueryAttention ---- */

/* Caches of all samples have room for as many keys as the longest sample has; sample b has seqlens_k[b] + 1 of them, the
 * last `length` of which are new, unless all are. */
typedef struct group_query {
    parts p; /* keys and values of rank 4, the past before the new ones */
    int64_t kv_heads;
    sinter_dim batch, length, past, total; /* past 0 where there is none */
    sinter_value ends, starts; /* i64[batch]: keys of each sample, with and without the new ones */
} group_query;

static bool refuse_group_forms(sinter_onnx_node *node) {
    static const struct {
        uint32_t operand;
        const char *name;
    } operands[] = {{11, "head_sink"},
                    {12, "k_scale"},
                    {13, "v_scale"},
                    {14, "q_norm_weight"},
                    {15, "k_norm_weight"}};
    static const char *const flags[] = {"smooth_softmax", "qk_output", "kv_cache_bit_width",
                                        "sliding_window_cache"};
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++)
        if (sinter_onnx_operand(node, operands[i].operand))
            return sinter_onnx_fail(node, "%s is not supported", operands[i].name);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (sinter_onnx_int(node, flags[i], 0) > 0)
            return sinter_onnx_fail(node, "%s is not supported", flags[i]);
    return !node->failed;
}

/* Queries, keys and values, also where they come as one tensor. */
static bool find_group_parts(sinter_onnx_node *node, group_query *g) {
    parts *p = &g->p;
    int64_t all = 0;
    p->q = sinter_onnx_need_operand(node, 0, "query");
    p->k = sinter_onnx_operand(node, 1);
    p->v = sinter_onnx_operand(node, 2);
    if (node->failed || p->heads < 1 || g->kv_heads < 1 || p->heads % g->kv_heads)
        return sinter_onnx_fail(
            node, "expected heads of queries for each head of keys, not %" PRId64 " for %" PRId64,
            p->heads, g->kv_heads);
    if (!p->k) {
        int64_t heads = p->heads + 2 * g->kv_heads;
        if (!last_dim(node, p->q, &all) || all % heads)
            return sinter_onnx_fail(node, "expected queries, keys and values of known size");
        sinter_value packed = p->q;
        int64_t first = all / heads * p->heads, second = first + all / heads * g->kv_heads;
        p->q = cut(node, packed, 2, 0, first);
        p->k = cut(node, packed, 2, first, second);
        p->v = cut(node, packed, 2, second, all);
    }
    if (!p->q || !p->k || !p->v || sinter_onnx_type_of(node, p->q)->rank != 3 ||
        sinter_onnx_type_of(node, p->k)->rank != 3 || sinter_onnx_type_of(node, p->v)->rank != 3)
        return sinter_onnx_fail(node, "expected query, key and value of rank 3");
    const sinter_type *q = sinter_onnx_type_of(node, p->q);
    g->batch = q->dims[0];
    g->length = q->dims[1];
    return true;
}

/* total_sequence_length as a dim, also where only the run knows it; 0 after an error. */
static sinter_dim total_dim(sinter_onnx_node *node, sinter_value total) {
    const sinter_dim *known = NULL;
    size_t count = 0;
    if (sinter_value_known_dims(node->importer->module, total, &known, &count) && count == 1)
        return known[0];
    const int64_t one = 1;
    total = sinter_build_cast(&node->build, total, SINTER_DTYPE_i64);
    total = total ? sinter_build_reshape(&node->build, total, &one, 1) : 0;
    sinter_value filled =
        total ? sinter_build_unary(&node->build, SINTER_OP_constant_of_shape, total) : 0;
    return filled ? sinter_onnx_type_of(node, filled)->dims[0] : 0;
}

/* Room for keys: what total_sequence_length says, or more where the past has more. */
static bool find_lengths(sinter_onnx_node *node, group_query *g, sinter_value total) {
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    g->total = g->length;
    if (!g->p.past_k) return true;
    if (sinter_onnx_type_of(node, g->p.past_k)->rank != 4)
        return sinter_onnx_fail(node, "expected caches of rank 4");
    g->past = sinter_onnx_type_of(node, g->p.past_k)->dims[2];
    sinter_dim wanted = total_dim(node, total);
    if (wanted) g->total = sinter_dim_max(dims, g->past, wanted);
    return wanted != 0;
}

/* Where the new keys of each sample go: behind those that it has, or to the front where all are new. */
static bool find_places(sinter_onnx_node *node, group_query *g, sinter_value lengths,
                        sinter_value total) {
    sinter_builder *build = &node->build;
    g->ends = sinter_onnx_op_number(node, SINTER_OP_add,
                                    sinter_build_cast(build, lengths, SINTER_DTYPE_i64), 1);
    if (!g->past) return g->ends != 0;
    sinter_value length = sinter_build_dims(build, &g->length, 1);
    sinter_value before = sinter_onnx_op2(node, SINTER_OP_sub, g->ends, length);
    sinter_value prompt = sinter_onnx_op2(
        node, SINTER_OP_equal, sinter_build_cast(build, total, SINTER_DTYPE_i64), length);
    g->starts = sinter_onnx_op3(node, SINTER_OP_where, prompt, sinter_build_int(build, 0), before);
    return g->ends && g->starts;
}

/* [batch, length]: places of the queries among the keys. */
static sinter_value query_places(sinter_onnx_node *node, const group_query *g) {
    const int64_t one = 1;
    sinter_value counted = positions(node, g->length);
    sinter_dim shape[] = {g->batch, g->length};
    if (!g->starts)
        return sinter_onnx_op2(node, SINTER_OP_expand, counted,
                               sinter_build_dims(&node->build, shape, 2));
    return sinter_onnx_op2(node, SINTER_OP_add, counted,
                           sinter_onnx_unsqueeze(node, g->starts, &one, 1));
}

static sinter_value rotate_heads(sinter_onnx_node *node, sinter_value x, int64_t heads,
                                 sinter_value places) {
    sinter_value cosines = sinter_onnx_need_operand(node, 7, "cos_cache");
    sinter_value sines = sinter_onnx_need_operand(node, 8, "sin_cache");
    int64_t half = 0;
    if (node->failed || !last_dim(node, cosines, &half))
        return sinter_onnx_fail(node, "expected rotations of known size"), 0;
    sinter_value operands[] = {x, cosines, sines, places};
    sinter_attr attributes[] = {
        sinter_attr_int("interleaved", sinter_onnx_int(node, "rotary_interleaved", 0)),
        sinter_attr_int("rotary_embedding_dim", 2 * half), sinter_attr_int("num_heads", heads)};
    return x && places
               ? sinter_build(&node->build, SINTER_OP_rotary_embedding, operands, 4, attributes, 3)
               : 0;
}

/* [batch, length, heads * size] -> [batch, heads, length, size] */
static sinter_value split_heads(sinter_onnx_node *node, sinter_value x, int64_t heads) {
    const int64_t perm[] = {0, 2, 1, 3};
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    const sinter_type type = *sinter_onnx_type_of(node, x);
    sinter_dim count = sinter_dim_const(dims, heads);
    sinter_dim shape[] = {type.dims[0], type.dims[1], count,
                          sinter_dim_floordiv(dims, type.dims[2], count)};
    x = sinter_onnx_reshape_dims(node, x, shape, 4);
    return x ? sinter_build_transpose(&node->build, x, perm, 4) : 0;
}

/* The cache with the new ones in it. One sample's come right behind its past, where these are all that there are. */
static sinter_value extend_cache(sinter_onnx_node *node, const group_query *g, sinter_value past,
                                 sinter_value x) {
    sinter_builder *build = &node->build;
    sinter_dim_table *dims = sinter_module_dims(node->importer->module);
    if (!past || !x) return x;
    sinter_attr axis = sinter_attr_int("axis", 2);
    sinter_value both[] = {past, x};
    if (g->total == sinter_dim_add(dims, g->past, g->length)) {
        past = sinter_build(build, SINTER_OP_concat, both, 2, &axis, 1);
        if (!past || sinter_dim_is(dims, g->batch, 1)) return past;
    } else if (g->total != g->past) {
        sinter_dim none = sinter_dim_const(dims, 0), pads[8];
        for (uint32_t i = 0; i < 8; i++) pads[i] = none;
        pads[6] = sinter_dim_sub(dims, g->total, g->past);
        past = sinter_onnx_op2(node, SINTER_OP_pad, past, sinter_build_dims(build, pads, 8));
    }
    sinter_value operands[] = {past, x, g->starts};
    return past ? sinter_build(build, SINTER_OP_tensor_scatter, operands, 3, &axis, 1) : 0;
}

/* -inf for keys that a query may not see: those after it, those that its sample does not have, those before its window. */
static sinter_value group_mask(sinter_onnx_node *node, const group_query *g) {
    sinter_builder *build = &node->build;
    int64_t window = sinter_onnx_int(node, "local_window_size", -1);
    bool causal = sinter_onnx_int(node, "causal", 1) != 0;
    const int64_t places_axes[] = {1, 3}, ends_axes[] = {1, 2, 3};
    sinter_dtype dtype = sinter_onnx_type_of(node, g->p.q)->dtype;
    if (causal && window < 0 && !g->past) return 0; /* is_causal says it */
    sinter_value keys = positions(node, g->total), seen;
    sinter_value at = sinter_onnx_unsqueeze(node, query_places(node, g), places_axes, 2);
    if (causal)
        seen = sinter_onnx_op2(node, SINTER_OP_less_or_equal, keys, at);
    else
        seen = sinter_onnx_op2(node, SINTER_OP_less, keys,
                               sinter_onnx_unsqueeze(node, g->ends, ends_axes, 3));
    if (window >= 0) {
        sinter_value first = sinter_onnx_op_number(node, SINTER_OP_sub, at, (double)window);
        seen = sinter_onnx_op2(node, SINTER_OP_and, seen,
                               sinter_onnx_op2(node, SINTER_OP_greater, keys, first));
    }
    return sinter_onnx_op3(node, SINTER_OP_where, seen, sinter_build_scalar(build, dtype, 0),
                           sinter_build_scalar(build, dtype, -INFINITY));
}

static bool attend_groups(sinter_onnx_node *node, group_query *g) {
    sinter_value mask = group_mask(node, g), bias = sinter_onnx_operand(node, 10);
    bool causal = sinter_onnx_int(node, "causal", 1) && !mask;
    if (node->failed) return false;
    if (mask && bias) mask = sinter_onnx_op2(node, SINTER_OP_add, mask, bias);
    sinter_attr attributes[5] = {
        sinter_attr_int("q_num_heads", g->p.heads), sinter_attr_int("kv_num_heads", g->kv_heads),
        sinter_attr_int("is_causal", causal),
        sinter_attr_float("softcap", sinter_onnx_float(node, "softcap", 0))};
    double scale = sinter_onnx_float(node, "scale", 0);
    if (scale != 0) attributes[4] = sinter_attr_float("scale", scale);
    sinter_value operands[] = {g->p.q, g->p.k, g->p.v, mask ? mask : bias};
    if (!operands[1] || !operands[2] || node->failed) return false;
    sinter_value y = sinter_build(&node->build, SINTER_OP_attention, operands, operands[3] ? 4 : 3,
                                  attributes, scale != 0 ? 5 : 4);
    if (node->proto->n_output > 1) node->results[1] = g->p.k;
    if (node->proto->n_output > 2) node->results[2] = g->p.v;
    return sinter_onnx_return(node, y);
}

bool sinter_onnx_rule_group_query_attention(sinter_onnx_node *node) {
    group_query g = {.p = {.past_k = sinter_onnx_operand(node, 3),
                           .past_v = sinter_onnx_operand(node, 4),
                           .heads = sinter_onnx_int(node, "num_heads", 0)},
                     .kv_heads = sinter_onnx_int(node, "kv_num_heads", 0)};
    sinter_value lengths = sinter_onnx_need_operand(node, 5, "seqlens_k");
    sinter_value total = sinter_onnx_need_operand(node, 6, "total_sequence_length");
    if (!refuse_group_forms(node) || !find_group_parts(node, &g)) return false;
    if (!g.p.past_k != !g.p.past_v || sinter_onnx_wants(node, 3))
        return sinter_onnx_fail(node, "expected both caches or none, and no scores as a result");
    if (!find_lengths(node, &g, total) || !find_places(node, &g, lengths, total)) return false;
    if (sinter_onnx_int(node, "do_rotary", 0)) {
        sinter_value places = sinter_onnx_operand(node, 9);
        places = places ? sinter_build_cast(&node->build, places, SINTER_DTYPE_i64)
                        : query_places(node, &g);
        g.p.q = rotate_heads(node, g.p.q, g.p.heads, places);
        g.p.k = rotate_heads(node, g.p.k, g.kv_heads, places);
        if (!g.p.q || !g.p.k) return false;
    }
    g.p.k = extend_cache(node, &g, g.p.past_k, split_heads(node, g.p.k, g.kv_heads));
    g.p.v = extend_cache(node, &g, g.p.past_v, split_heads(node, g.p.v, g.kv_heads));
    return attend_groups(node, &g);
}
