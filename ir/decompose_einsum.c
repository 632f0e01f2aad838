/* Decomposition of einsum: diagonals of repeated labels, sums over labels that only one operand has, then the operands
 * from left to right, two at a time, as a matrix product where they share a label that ends there, else as a product
 * of broadcast tensors. Inference has checked the equation. Test: tests/ops/einsum.sir */
#include "ir/decompose.h"

/* A letter, or ELLIPSIS + place from the right for an axis of "...". */
enum { ELLIPSIS = 128, LABEL_LIMIT = 256 };

typedef struct factor {
    sinter_value value;
    uint8_t labels[SINTER_MAX_RANK]; /* one an axis */
    uint32_t count;
} factor;

typedef struct equation {
    sinter_rewrite *rewrite;
    factor *factors;
    uint32_t factor_count;
    factor result; /* labels only */
} equation;

static sinter_dim dim_at(const equation *e, const factor *f, uint32_t axis) {
    return sinter_compose_type(e->rewrite, f->value)->dims[axis];
}

static int find_label(const factor *f, uint8_t label) {
    for (uint32_t i = 0; i < f->count; ++i)
        if (f->labels[i] == label) return (int)i;
    return -1;
}

static void remove_axis(factor *f, uint32_t axis) {
    --f->count;
    for (uint32_t i = axis; i < f->count; ++i) f->labels[i] = f->labels[i + 1];
}

/* ---- the equation ---- */

static const char *parse_term(const char *cursor, const char *end, uint32_t axes, factor *out) {
    uint32_t letters = 0;
    for (const char *p = cursor; p < end && *p != ',' && *p != '-'; ++p)
        letters += *p != ' ' && *p != '.';
    uint32_t width = axes > letters ? axes - letters : 0;
    for (; cursor < end && *cursor != ',' && *cursor != '-'; ++cursor) {
        if (*cursor == ' ') continue;
        if (*cursor != '.') {
            out->labels[out->count++] = (uint8_t)*cursor;
            continue;
        }
        cursor += 2;
        for (uint32_t i = width; i-- > 0;) out->labels[out->count++] = (uint8_t)(ELLIPSIS + i);
    }
    return cursor;
}

/* Without "->": the ellipsis, then every letter that occurs once, in alphabetical order. */
static void imply_result(equation *e, uint32_t ellipsis) {
    uint32_t occurrences[LABEL_LIMIT] = {0};
    for (uint32_t f = 0; f < e->factor_count; ++f)
        for (uint32_t i = 0; i < e->factors[f].count; ++i) ++occurrences[e->factors[f].labels[i]];
    for (uint32_t i = ellipsis; i-- > 0;)
        e->result.labels[e->result.count++] = (uint8_t)(ELLIPSIS + i);
    for (uint32_t label = 0; label < ELLIPSIS; ++label)
        if (occurrences[label] == 1) e->result.labels[e->result.count++] = (uint8_t)label;
}

static void parse_equation(equation *e, sinter_node node) {
    sinter_module *module = e->rewrite->build.module;
    sinter_string text = sinter_node_get_string(module, node, "equation");
    const char *cursor = text.data, *end = text.data + text.size;
    uint32_t ellipsis = 0;
    for (uint32_t i = 0; i < e->factor_count; ++i) {
        factor *f = &e->factors[i];
        f->value = sinter_node_operand(module, node, i);
        cursor = parse_term(cursor, end, sinter_compose_type(e->rewrite, f->value)->rank, f);
        for (uint32_t axis = 0; axis < f->count; ++axis)
            if (f->labels[axis] >= ELLIPSIS && f->labels[axis] - ELLIPSIS + 1u > ellipsis)
                ellipsis = f->labels[axis] - ELLIPSIS + 1u;
        if (i + 1 < e->factor_count) ++cursor;
    }
    if (cursor >= end) {
        imply_result(e, ellipsis);
        return;
    }
    cursor += 2;
    uint32_t letters = 0;
    for (const char *p = cursor; p < end; ++p) letters += *p != ' ' && *p != '.';
    parse_term(cursor, end, letters + ellipsis, &e->result);
}

/* Whether the label is in the result or in a factor from `next` on. */
static bool is_needed(const equation *e, uint8_t label, uint32_t next) {
    if (find_label(&e->result, label) >= 0) return true;
    for (uint32_t i = next; i < e->factor_count; ++i)
        if (find_label(&e->factors[i], label) >= 0) return true;
    return false;
}

/* ---- one factor ---- */

static void sum_axis(equation *e, factor *f, uint32_t axis) {
    int64_t axes[1] = {axis};
    f->value = sinter_compose_reduce(e->rewrite, SINTER_OP_reduce_sum, f->value, axes, 1, false);
    remove_axis(f, axis);
}

/* 0, 1, ... along one axis of `rank`. */
static sinter_value positions(equation *e, sinter_dim dim, uint32_t axis, uint32_t rank) {
    int64_t zero = 0, one = 1;
    sinter_value operands[3] = {sinter_build_ints(&e->rewrite->build, &zero, 1),
                                sinter_build_dims(&e->rewrite->build, &dim, 1),
                                sinter_build_ints(&e->rewrite->build, &one, 1)};
    if (!operands[1]) return 0;
    sinter_value range = sinter_build(&e->rewrite->build, SINTER_OP_range, operands, 3, NULL, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i)
        dims[i] =
            i == axis ? dim : sinter_dim_const(sinter_module_dims(e->rewrite->build.module), 1);
    return sinter_compose_reshape(e->rewrite, range, dims, rank);
}

/* A label twice: what is off the diagonal becomes zero and the second axis is summed. */
static void take_diagonals(equation *e, factor *f) {
    for (uint32_t j = 1; j < f->count; ++j) {
        int i = find_label(f, f->labels[j]);
        if (i >= (int)j) continue;
        sinter_dim dim = dim_at(e, f, j);
        sinter_value on = sinter_compose_binary(e->rewrite, SINTER_OP_equal,
                                                positions(e, dim, (uint32_t)i, f->count),
                                                positions(e, dim, j, f->count));
        sinter_dtype dtype = sinter_compose_type(e->rewrite, f->value)->dtype;
        sinter_value zero = sinter_build_scalar(&e->rewrite->build, dtype, 0);
        f->value = sinter_compose_select(e->rewrite, on, f->value, zero);
        if (!f->value) return;
        sum_axis(e, f, j--);
        if (!f->value) return;
    }
}

/* Its axes in the order of `labels`, with axes of size 1 where it lacks a label. */
static sinter_value arrange(equation *e, const factor *f, const uint8_t *labels, uint32_t count) {
    int64_t perm[SINTER_MAX_RANK] = {0}, absent[SINTER_MAX_RANK] = {0};
    size_t present = 0, missing = 0;
    for (uint32_t i = 0; i < count; ++i) {
        int axis = find_label(f, labels[i]);
        if (axis < 0)
            absent[missing++] = i;
        else
            perm[present++] = axis;
    }
    sinter_value value = sinter_compose_transpose(e->rewrite, f->value, perm, present);
    return missing ? sinter_compose_unsqueeze(e->rewrite, value, absent, missing) : value;
}

/* ---- two factors ---- */

/* Labels of a pair by what happens to them. */
typedef struct pairing {
    uint8_t batch[SINTER_MAX_RANK], left[SINTER_MAX_RANK], right[SINTER_MAX_RANK],
        sum[SINTER_MAX_RANK];
    uint32_t batch_count, left_count, right_count, sum_count;
    bool uneven; /* a summed label has size 1 on one side */
} pairing;

static pairing pair_labels(const equation *e, const factor *a, const factor *b, uint32_t next) {
    pairing p = {.uneven = false};
    for (uint32_t i = 0; i < a->count; ++i) {
        int other = find_label(b, a->labels[i]);
        if (other < 0)
            p.left[p.left_count++] = a->labels[i];
        else if (is_needed(e, a->labels[i], next))
            p.batch[p.batch_count++] = a->labels[i];
        else {
            p.sum[p.sum_count++] = a->labels[i];
            p.uneven |= dim_at(e, a, i) != dim_at(e, b, (uint32_t)other);
        }
    }
    for (uint32_t i = 0; i < b->count; ++i)
        if (find_label(a, b->labels[i]) < 0) p.right[p.right_count++] = b->labels[i];
    return p;
}

static uint32_t append(uint8_t *out, uint32_t count, const uint8_t *labels, uint32_t more) {
    for (uint32_t i = 0; i < more; ++i) out[count + i] = labels[i];
    return count + more;
}

/* A factor as [batch..., rows, columns], rows and columns flattened. */
static sinter_value as_matrix(equation *e, const factor *f, const pairing *p, const uint8_t *rows,
                              uint32_t row_count, const uint8_t *columns, uint32_t column_count) {
    uint8_t labels[2 * SINTER_MAX_RANK];
    uint32_t count =
        append(labels, append(labels, append(labels, 0, p->batch, p->batch_count), rows, row_count),
               columns, column_count);
    sinter_value value = arrange(e, f, labels, count);
    if (!value || (row_count == 1 && column_count == 1)) return value;
    sinter_type type = *sinter_compose_type(e->rewrite, value);
    sinter_dim_table *table = sinter_module_dims(e->rewrite->build.module);
    sinter_dim dims[SINTER_MAX_RANK + 2];
    uint32_t b = p->batch_count;
    for (uint32_t i = 0; i < b; ++i) dims[i] = type.dims[i];
    dims[b] = sinter_type_product(table, &type, b, b + row_count);
    dims[b + 1] = sinter_type_product(table, &type, b + row_count, count);
    return sinter_compose_reshape(e->rewrite, value, dims, b + 2);
}

/* Sizes of the labels of the product; where one side has 1, those of the other. */
static void product_dims(const equation *e, const factor *a, const factor *b, const factor *product,
                         sinter_dim *out_dims) {
    const sinter_dim_table *table = sinter_module_dims(e->rewrite->build.module);
    for (uint32_t i = 0; i < product->count; ++i) {
        int in_a = find_label(a, product->labels[i]), in_b = find_label(b, product->labels[i]);
        out_dims[i] = in_a >= 0 ? dim_at(e, a, (uint32_t)in_a) : dim_at(e, b, (uint32_t)in_b);
        if (in_b >= 0 && sinter_dim_is(table, out_dims[i], 1))
            out_dims[i] = dim_at(e, b, (uint32_t)in_b);
    }
}

static factor multiply(equation *e, const factor *a, const factor *b, uint32_t next) {
    pairing p = pair_labels(e, a, b, next);
    uint8_t labels[2 * SINTER_MAX_RANK];
    factor product = {0};
    uint32_t kept = append(
        labels, append(labels, append(labels, 0, p.batch, p.batch_count), p.left, p.left_count),
        p.right, p.right_count);
    if (kept + p.sum_count > SINTER_MAX_RANK) return product;
    if (p.sum_count && !p.uneven) {
        sinter_value x = as_matrix(e, a, &p, p.left, p.left_count, p.sum, p.sum_count),
                     y = as_matrix(e, b, &p, p.sum, p.sum_count, p.right, p.right_count);
        product.count = append(product.labels, 0, labels, kept);
        sinter_dim dims[SINTER_MAX_RANK];
        product_dims(e, a, b, &product, dims);
        product.value = sinter_compose_binary(e->rewrite, SINTER_OP_matmul, x, y);
        if (p.left_count != 1 || p.right_count != 1)
            product.value = sinter_compose_reshape(e->rewrite, product.value, dims, kept);
        return product;
    }
    kept = append(labels, kept, p.sum, p.sum_count);
    product.count = append(product.labels, 0, labels, kept);
    product.value = sinter_compose_binary(e->rewrite, SINTER_OP_mul, arrange(e, a, labels, kept),
                                          arrange(e, b, labels, kept));
    for (uint32_t i = kept; product.value && i-- > kept - p.sum_count;) sum_axis(e, &product, i);
    return product;
}

bool sinter_decompose_einsum(sinter_rewrite *rewrite, sinter_node node, sinter_value *out_results) {
    sinter_module *module = rewrite->build.module;
    equation e = {.rewrite = rewrite, .factor_count = sinter_node_get(module, node)->operand_count};
    e.factors = SINTER_NEW_ARRAY(sinter_module_arena(module), factor, e.factor_count);
    parse_equation(&e, node);
    for (uint32_t i = 0; i < e.factor_count; ++i) {
        factor *f = &e.factors[i];
        take_diagonals(&e, f);
        for (uint32_t axis = f->count; f->value && axis-- > 0;) {
            uint8_t label = f->labels[axis];
            bool shared = is_needed(&e, label, i + 1);
            for (uint32_t j = 0; j < i; ++j) shared |= find_label(&e.factors[j], label) >= 0;
            if (!shared) sum_axis(&e, f, axis);
        }
        if (!f->value) return false;
    }
    factor product = e.factors[0];
    for (uint32_t i = 1; i < e.factor_count && product.value; ++i)
        product = multiply(&e, &product, &e.factors[i], i + 1);
    if (!product.value)
        return sinter_error(rewrite->build.diag, rewrite->build.location,
                            "einsum: the equation needs tensors of more than %d axes",
                            SINTER_MAX_RANK);
    out_results[0] = arrange(&e, &product, e.result.labels, e.result.count);
    return out_results[0] != 0;
}
