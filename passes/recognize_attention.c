/* Replaces what exporters write for attention, softmax(scale * Q K^T + mask) V, by the operator of that name. Queries, keys or
 * scores are multiplied or divided by numbers, any of them; scores may be capped, then a mask is added to them or chooses
 * among them and a number that is as good as minus infinity. Keys that were repeated for groups of heads are taken as they
 * were before.
 *
 * Needs recognize before it (softmax has its name); f32 alone, where only rounding differs (lossy: relative error below 1e-5).
 * decompose takes apart again what has no lowering of its own. Test: tests/passes/recognize_attention/ */
#include "ir/decompose.h"
#include "passes/pass.h"
#include <math.h>

enum { MAX_FACTORS = 8 };
static const double hidden = -1e30; /* or less, added to a score: the score is lost */

typedef struct found {
    sinter_module *module;
    sinter_value q, keys, v;   /* keys: transposed, as they are multiplied */
    sinter_value mask;         /* added, or 0 */
    sinter_value condition;    /* chooses among score and filler, or 0 */
    double filler, scale, cap; /* cap 0: none */
    bool filler_first;
} found;

static const sinter_type *type_of(const found *f, sinter_value value) {
    return sinter_value_type(f->module, value);
}

static bool is_op(const found *f, sinter_value value, sinter_op op) {
    sinter_node node = sinter_value_definition(f->module, value);
    return node && sinter_node_op(f->module, node) == op;
}

static sinter_value operand_of(const found *f, sinter_value value, uint32_t i) {
    return sinter_node_operand(f->module, sinter_value_definition(f->module, value), i);
}

/* The one element of a constant. */
static bool number_of(const found *f, sinter_value value, double *out) {
    const sinter_tensor *tensor = sinter_value_constant(f->module, value);
    if (!tensor || tensor->kind != SINTER_TYPE_TENSOR || sinter_tensor_count(tensor) != 1 ||
        !sinter_dtype_is_float(tensor->dtype))
        return false;
    *out = sinter_tensor_get_double(tensor, 0);
    return isfinite(*out) && *out != 0;
}

/* What x is a number of times of; x itself where it is none. alone: as far as nobody else wants it. */
static sinter_value without_factors(const found *f, sinter_value x, bool alone, double *factor) {
    for (int i = 0; i < MAX_FACTORS; i++) {
        double number;
        bool product = is_op(f, x, SINTER_OP_mul);
        if (!product && !is_op(f, x, SINTER_OP_div)) return x;
        uint32_t at = product && number_of(f, operand_of(f, x, 0), &number) ? 0 : 1;
        sinter_value other = operand_of(f, x, 1 - at);
        if (!number_of(f, operand_of(f, x, at), &number) ||
            !sinter_type_equal(type_of(f, other), type_of(f, x)) ||
            (alone && !sinter_value_has_one_use(f->module, other)))
            return x;
        *factor *= product ? number : 1 / number;
        x = other;
    }
    return x;
}

/* ---- from the softmax back to the queries and keys ---- */

/* A mask broadcasts to the scores, along all axes but the last, and leaves them as large as they are. */
static bool is_mask(const found *f, sinter_value mask, sinter_value scores, sinter_value masked) {
    const sinter_type *type = type_of(f, mask), *whole = type_of(f, scores);
    return type->rank && type->rank <= whole->rank &&
           type->dims[type->rank - 1] == whole->dims[whole->rank - 1] &&
           sinter_type_equal(whole, type_of(f, masked));
}

static bool match_product(found *f, sinter_value scores) {
    if (!is_op(f, scores, SINTER_OP_matmul) || !sinter_value_has_one_use(f->module, scores))
        return false;
    f->q = operand_of(f, scores, 0);
    f->keys = operand_of(f, scores, 1);
    return true;
}

/* scale * Q K^T, or cap * tanh(scale * Q K^T / cap). Nobody else wants what lies on the way. */
static bool match_scores(found *f, sinter_value scores) {
    double factor = 1, inner = 1;
    if (!sinter_value_has_one_use(f->module, scores)) return false;
    sinter_value x = without_factors(f, scores, true, &factor);
    if (is_op(f, x, SINTER_OP_tanh)) {
        sinter_value argument = operand_of(f, x, 0);
        if (factor <= 0 || !sinter_value_has_one_use(f->module, argument) ||
            !match_product(f, without_factors(f, argument, true, &inner)))
            return false;
        f->cap = factor;
        f->scale = inner * factor;
        return true;
    }
    f->scale = factor;
    return match_product(f, x);
}

static bool match_masked(found *f, sinter_value masked) {
    if (is_op(f, masked, SINTER_OP_add)) {
        for (uint32_t i = 0; i < 2; i++) {
            sinter_value scores = operand_of(f, masked, i);
            f->mask = operand_of(f, masked, 1 - i);
            if (is_mask(f, f->mask, scores, masked) && match_scores(f, scores)) return true;
        }
        return false;
    }
    if (is_op(f, masked, SINTER_OP_where)) {
        f->condition = operand_of(f, masked, 0);
        for (uint32_t i = 1; i < 3; i++) {
            sinter_value scores = operand_of(f, masked, i);
            const sinter_tensor *filler =
                sinter_value_constant(f->module, operand_of(f, masked, 3 - i));
            if (!filler || sinter_tensor_count(filler) != 1 ||
                !is_mask(f, f->condition, scores, masked))
                continue;
            f->filler = sinter_tensor_get_double(filler, 0);
            f->filler_first = i == 2;
            if (f->filler <= hidden && match_scores(f, scores)) return true;
        }
        return false;
    }
    return match_scores(f, masked);
}

/* Queries, keys and values have the same leading axes. */
static bool has_heads(const found *f) {
    const sinter_type *q = type_of(f, f->q), *k = type_of(f, f->keys), *v = type_of(f, f->v);
    if (q->rank < 3 || q->rank > 4 || k->rank != q->rank || v->rank != q->rank ||
        k->dtype != q->dtype || v->dtype != q->dtype)
        return false;
    for (uint32_t i = 0; i + 2 < q->rank; i++)
        if (q->dims[i] != k->dims[i] || q->dims[i] != v->dims[i]) return false;
    return q->dims[q->rank - 1] == k->dims[k->rank - 2] &&
           k->dims[k->rank - 1] == v->dims[v->rank - 2];
}

static bool match_attention(found *f, sinter_node node) {
    sinter_module *module = f->module;
    sinter_value weights = sinter_node_operand(module, node, 0);
    f->v = sinter_node_operand(module, node, 1);
    if (!is_op(f, weights, SINTER_OP_softmax) || !sinter_value_has_one_use(module, weights) ||
        type_of(f, weights)->dtype != SINTER_DTYPE_f32)
        return false;
    sinter_node softmax = sinter_value_definition(module, weights);
    uint32_t rank = type_of(f, weights)->rank;
    if (!rank || sinter_node_get_axis(module, softmax, -1, rank) != rank - 1) return false;
    sinter_value masked = sinter_node_operand(module, softmax, 0);
    return sinter_value_has_one_use(module, masked) && match_masked(f, masked) && has_heads(f);
}

/* ---- the operator ---- */

/* K from what is multiplied, [..., size, length]: before its transposition, where that can be seen. */
static sinter_value build_keys(sinter_rewrite *rewrite, found *f) {
    sinter_value x = without_factors(f, f->keys, false, &f->scale);
    uint32_t rank = type_of(f, x)->rank;
    int64_t order[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) order[i] = i;
    if (is_op(f, x, SINTER_OP_transpose)) {
        const int64_t *perm = NULL;
        size_t count =
            sinter_node_get_ints(f->module, sinter_value_definition(f->module, x), "perm", &perm);
        for (uint32_t i = 0; i < rank; i++) order[i] = count ? perm[i] : (int64_t)(rank - 1 - i);
        x = without_factors(f, operand_of(f, x, 0), false, &f->scale);
    }
    int64_t last = order[rank - 1];
    bool same = true;
    order[rank - 1] = order[rank - 2];
    order[rank - 2] = last;
    for (uint32_t i = 0; i < rank; i++) same &= order[i] == i;
    return same ? x : sinter_compose_transpose(rewrite, x, order, rank);
}

/* What heads were repeated from for groups of queries, [batch, heads, 1, length, size] expanded; 0: they were not. */
static sinter_value before_groups(const found *f, sinter_value x) {
    if (!is_op(f, x, SINTER_OP_reshape) || !is_op(f, operand_of(f, x, 0), SINTER_OP_expand))
        return 0;
    sinter_value wide = operand_of(f, x, 0), thin = operand_of(f, wide, 0);
    if (!is_op(f, thin, SINTER_OP_reshape) && !is_op(f, thin, SINTER_OP_unsqueeze)) return 0;
    sinter_value source = operand_of(f, thin, 0);
    const sinter_type *from = type_of(f, source), *to = type_of(f, x), *group = type_of(f, wide);
    int64_t heads, all, repeats;
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    if (from->rank != 4 || to->rank != 4 || group->rank != 5 || type_of(f, thin)->rank != 5 ||
        !sinter_dim_is_const(dims, from->dims[1], &heads) ||
        !sinter_dim_is_const(dims, to->dims[1], &all) ||
        !sinter_dim_is_const(dims, group->dims[2], &repeats) || heads * repeats != all)
        return 0;
    const sinter_dim axes[4] = {from->dims[0], from->dims[1], from->dims[2], from->dims[3]};
    bool same = sinter_dim_is(dims, type_of(f, thin)->dims[2], 1);
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t at = i < 2 ? i : i + 1;
        same = same && group->dims[at] == axes[i] && type_of(f, thin)->dims[at] == axes[i] &&
               (i == 1 || to->dims[i] == axes[i]);
    }
    return same ? source : 0;
}

static sinter_value build_mask(sinter_rewrite *rewrite, const found *f) {
    if (!f->condition) return f->mask;
    sinter_value lost = sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, f->filler),
                 kept = sinter_build_scalar(&rewrite->build, SINTER_DTYPE_f32, 0);
    return sinter_compose_select(rewrite, f->condition, f->filler_first ? lost : kept,
                                 f->filler_first ? kept : lost);
}

/* Heads as an axis of their own: those of rank 3 are many of one sample. */
static sinter_value with_batch(sinter_rewrite *rewrite, sinter_value x) {
    const int64_t first = 0;
    return sinter_compose_type(rewrite, x)->rank == 3
               ? sinter_compose_unsqueeze(rewrite, x, &first, 1)
               : x;
}

static sinter_value build_attention(sinter_rewrite *rewrite, found *f) {
    sinter_value operands[4] = {without_factors(f, f->q, false, &f->scale), build_keys(rewrite, f),
                                f->v, build_mask(rewrite, f)};
    bool flat = type_of(f, f->v)->rank == 3;
    sinter_value k = before_groups(f, operands[1]), v = before_groups(f, f->v);
    if (k && v) operands[1] = k, operands[2] = v;
    if (!operands[1] || ((f->mask || f->condition) && !operands[3])) return 0;
    for (int i = 0; i < 3; i++)
        if (!(operands[i] = with_batch(rewrite, operands[i]))) return 0;
    sinter_attr attributes[2] = {sinter_attr_float("scale", (double)(float)f->scale),
                                 sinter_attr_float("softcap", f->cap)};
    sinter_value y = sinter_build(&rewrite->build, SINTER_OP_attention, operands,
                                  operands[3] ? 4 : 3, attributes, f->cap > 0 ? 2 : 1);
    const int64_t first = 0;
    return flat ? sinter_compose_binary(rewrite, SINTER_OP_squeeze, y,
                                        sinter_build_ints(&rewrite->build, &first, 1))
                : y;
}

static void visit(void *user, sinter_node node) {
    sinter_rewrite *rewrite = user;
    found f = {.module = rewrite->build.module, .scale = 1};
    if (sinter_node_op(f.module, node) != SINTER_OP_matmul || !match_attention(&f, node) ||
        !isfinite(f.scale) || f.scale <= 0)
        return;
    sinter_value old = sinter_node_result(f.module, node, 0);
    sinter_rewrite_at(rewrite, node);
    sinter_value y = build_attention(rewrite, &f);
    if (!y || !sinter_type_equal(type_of(&f, y), type_of(&f, old))) return;
    sinter_rewrite_replace(rewrite, old, y);
    sinter_rewrite_erase(rewrite, node);
}

void sinter_pass_recognize_attention(sinter_pass_context *context) {
    sinter_pass_visit_nodes(context->module, visit, &context->rewrite);
}
