/* Evaluator rules of the composite products: gemm, einsum, and the determinant. Floats are
 * accumulated in double; integers in 64 bits, wrapping, so that they are exact in every width.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A number in the arithmetic of a class of dtypes: both fields go along, one is read at the end. */
typedef struct number {
    double real;
    uint64_t whole;
} number;

static number load_number(const sinter_tensor *tensor, int64_t index) {
    if (sinter_dtype_is_float(tensor->dtype))
        return (number){.real = sinter_tensor_get_double(tensor, index)};
    return (number){.whole = (uint64_t)sinter_tensor_get_int(tensor, index)};
}

static void store_number(sinter_tensor *tensor, int64_t index, number value) {
    if (sinter_dtype_is_float(tensor->dtype))
        sinter_tensor_set_double(tensor, index, value.real);
    else
        sinter_tensor_set_int(tensor, index, (int64_t)value.whole);
}

/* value * factor, in the arithmetic of the dtype; factors of integers are whole more often than not. */
static number scale_number(sinter_dtype dtype, number value, double factor) {
    if (sinter_dtype_is_float(dtype)) return (number){.real = value.real * factor};
    if (factor == rint(factor) && fabs(factor) < 9e18)
        return (number){.whole = value.whole * (uint64_t)(int64_t)factor};
    return (number){.real = (double)(int64_t)value.whole * factor};
}

/* Integers that were multiplied by fractions are rounded when all is added up. */
static number round_number(sinter_dtype dtype, number value) {
    if (sinter_dtype_is_float(dtype) || value.real == 0) return value;
    double sum = (double)(int64_t)value.whole + value.real;
    return (number){.whole = (uint64_t)sinter_eval_number(SINTER_DTYPE_i64, sum).i};
}

bool eval_gemm(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 2, 2) || !sinter_eval_expect_rank(eval, 1, 2, 2))
        return false;
    const sinter_tensor *a = eval->operands[0], *b = eval->operands[1];
    const sinter_tensor *c = sinter_eval_operand(eval, 2);
    bool trans_a = sinter_eval_int(eval, "transA") != 0;
    bool trans_b = sinter_eval_int(eval, "transB") != 0;
    double alpha = sinter_eval_float(eval, "alpha"), beta = sinter_eval_float(eval, "beta");
    int64_t m = a->dims[trans_a], k = a->dims[!trans_a], n = b->dims[!trans_b];
    if (b->dims[trans_b] != k)
        return sinter_eval_error(eval, "inner dimensions differ: %" PRId64 " and %" PRId64, k,
                                 b->dims[trans_b]);
    int64_t dims[SINTER_MAX_RANK] = {m, n}, joint[SINTER_MAX_RANK], c_strides[SINTER_MAX_RANK];
    uint32_t rank = 2;
    if (c) {
        if (!sinter_eval_broadcast_dims(2, dims, c->rank, c->dims, &rank, joint) || rank != 2 ||
            joint[0] != m || joint[1] != n)
            return sinter_eval_error(
                eval, "c is %s, which does not broadcast to [%" PRId64 ",%" PRId64 "]",
                sinter_eval_describe(eval, c), m, n);
        sinter_eval_broadcast_strides(c, 2, c_strides);
    }
    sinter_tensor *y = sinter_eval_create(eval, 0, a->dtype, 2, dims);
    if (!y) return false;
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            number sum = {0};
            for (int64_t l = 0; l < k; l++) {
                number x = load_number(a, trans_a ? l * m + i : i * k + l);
                number z = load_number(b, trans_b ? j * k + l : l * n + j);
                sum.real += x.real * z.real;
                sum.whole += x.whole * z.whole;
            }
            sum = scale_number(a->dtype, sum, alpha);
            if (c) {
                number added = load_number(c, i * c_strides[0] + j * c_strides[1]);
                added = scale_number(a->dtype, added, beta);
                sum.real += added.real;
                sum.whole += added.whole;
            }
            store_number(y, i * n + j, round_number(a->dtype, sum));
        }
    }
    return true;
}

/* ---- einsum ---- */

enum { MAX_TERMS = 32, LABELS = 26 * 2, ELLIPSIS = LABELS, ALL_LABELS = LABELS + SINTER_MAX_RANK };

/* Labels of one operand or of the result, one an axis: a letter's index, or ELLIPSIS + i for the i-th axis of "..."
 * counted from its right end (so that they meet as broadcasting wants). */
typedef struct term {
    uint8_t labels[SINTER_MAX_RANK * 2];
    uint32_t count;
    bool has_ellipsis;
} term;

typedef struct einsum {
    term terms[MAX_TERMS], result;
    uint32_t term_count;
    int64_t sizes[ALL_LABELS]; /* 0: not used; sizes of 0 are kept in `empty` */
    bool used[ALL_LABELS];
    uint32_t ellipsis_rank; /* the widest */
} einsum;

static int letter_index(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    return -1;
}

/* One term of the equation; *cursor stops at ',', '-' or the end. `ellipsis` is how many axes "..." stands for. */
static bool parse_term(sinter_eval *eval, const char **cursor, const char *end, int64_t rank,
                       uint32_t ellipsis, term *out_term) {
    *out_term = (term){0};
    const char *start = *cursor;
    uint32_t letters = 0;
    for (const char *p = start; p < end && *p != ',' && *p != '-'; p++)
        letters += letter_index(*p) >= 0;
    for (; *cursor < end && **cursor != ',' && **cursor != '-'; ++*cursor) {
        if (**cursor == ' ') continue;
        if (**cursor == '.') {
            if (end - *cursor < 3 || memcmp(*cursor, "...", 3) != 0 || out_term->has_ellipsis)
                return sinter_eval_error(eval, "misplaced '.' in the equation");
            *cursor += 2;
            out_term->has_ellipsis = true;
            uint32_t width = rank < 0 ? ellipsis : rank < letters ? 0 : (uint32_t)rank - letters;
            if (out_term->count + width > SINTER_MAX_RANK)
                return sinter_eval_error(eval, "too many axes in the equation");
            for (uint32_t i = width; i-- > 0;)
                out_term->labels[out_term->count++] = (uint8_t)(ELLIPSIS + i);
            continue;
        }
        int label = letter_index(**cursor);
        if (label < 0) return sinter_eval_error(eval, "unexpected '%c' in the equation", **cursor);
        if (out_term->count >= SINTER_MAX_RANK)
            return sinter_eval_error(eval, "too many axes in the equation");
        out_term->labels[out_term->count++] = (uint8_t)label;
    }
    if (rank >= 0 && out_term->count != rank)
        return sinter_eval_error(eval, "the equation gives an operand %u axes, it has %" PRId64,
                                 out_term->count, rank);
    return true;
}

static bool measure_term(sinter_eval *eval, einsum *e, const term *t, const sinter_tensor *tensor) {
    uint32_t width = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        uint32_t label = t->labels[i];
        int64_t size = tensor->dims[i];
        if (label >= ELLIPSIS) width++;
        if (!e->used[label] || (e->sizes[label] == 1 && label >= ELLIPSIS)) e->sizes[label] = size;
        if (e->sizes[label] != size && !(label >= ELLIPSIS && size == 1))
            return sinter_eval_error(
                eval, "an axis is %" PRId64 " in one place and %" PRId64 " in another",
                e->sizes[label], size);
        e->used[label] = true;
    }
    if (width > e->ellipsis_rank) e->ellipsis_rank = width;
    return true;
}

/* Without "->": the ellipsis, then every letter that occurs once, in alphabetical order. */
static void imply_result(einsum *e) {
    uint32_t occurrences[LABELS] = {0};
    for (uint32_t t = 0; t < e->term_count; t++)
        for (uint32_t i = 0; i < e->terms[t].count; i++)
            if (e->terms[t].labels[i] < LABELS) occurrences[e->terms[t].labels[i]]++;
    for (uint32_t i = e->ellipsis_rank; i-- > 0;)
        e->result.labels[e->result.count++] = (uint8_t)(ELLIPSIS + i);
    for (uint32_t label = 0; label < LABELS && e->result.count < SINTER_MAX_RANK; label++)
        if (occurrences[label] == 1) e->result.labels[e->result.count++] = (uint8_t)label;
}

static bool parse_equation(sinter_eval *eval, einsum *e) {
    sinter_string equation = sinter_eval_string(eval, "equation");
    const char *cursor = equation.data, *end = equation.data + equation.size;
    for (;;) {
        if (e->term_count >= eval->info->operand_count || e->term_count >= MAX_TERMS)
            return sinter_eval_error(eval, "the equation names more operands than there are");
        const sinter_tensor *tensor = eval->operands[e->term_count];
        term *t = &e->terms[e->term_count++];
        if (!parse_term(eval, &cursor, end, tensor->rank, 0, t) ||
            !measure_term(eval, e, t, tensor))
            return false;
        if (cursor >= end || *cursor != ',') break;
        cursor++;
    }
    if (e->term_count != eval->info->operand_count)
        return sinter_eval_error(eval, "the equation names %u operands, there are %u",
                                 e->term_count, eval->info->operand_count);
    if (cursor >= end) {
        imply_result(e);
        return true;
    }
    if (end - cursor < 2 || cursor[1] != '>')
        return sinter_eval_error(eval, "expected '->' in the equation");
    cursor += 2;
    if (!parse_term(eval, &cursor, end, -1, e->ellipsis_rank, &e->result)) return false;
    if (cursor < end) return sinter_eval_error(eval, "unexpected '%c' in the equation", *cursor);
    for (uint32_t i = 0; i < e->result.count; i++) {
        if (!e->used[e->result.labels[i]])
            return sinter_eval_error(eval, "the result has an axis that no operand has");
        if (memchr(e->result.labels + i + 1, e->result.labels[i], e->result.count - i - 1))
            return sinter_eval_error(eval, "the result names an axis twice");
    }
    return true;
}

/* Stride of each label in a tensor: repeated labels add up (a diagonal), broadcast axes do not move. */
static void label_strides(const term *t, const sinter_tensor *tensor, int64_t strides[ALL_LABELS]) {
    int64_t axes[SINTER_MAX_RANK];
    sinter_eval_strides(tensor->rank, tensor->dims, axes);
    for (uint32_t i = 0; i < t->count; i++)
        if (tensor->dims[i] != 1) strides[t->labels[i]] += axes[i];
}

bool eval_einsum(sinter_eval *eval) {
    einsum *e = SINTER_NEW(eval->scratch, einsum);
    if (!parse_equation(eval, e)) return false;
    int64_t dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < e->result.count; i++) dims[i] = e->sizes[e->result.labels[i]];
    sinter_tensor *y = sinter_eval_create(eval, 0, eval->operands[0]->dtype, e->result.count, dims);
    if (!y) return false;

    /* one loop over all labels, in which the result and the operands move by their own strides */
    int64_t(*strides)[ALL_LABELS] =
        sinter_arena_alloc_array(eval->scratch, e->term_count + 1, sizeof *strides);
    for (uint32_t t = 0; t < e->term_count; t++)
        label_strides(&e->terms[t], eval->operands[t], strides[t]);
    label_strides(&e->result, y, strides[e->term_count]);
    int64_t sizes[ALL_LABELS], at[ALL_LABELS] = {0}, total;
    for (uint32_t label = 0; label < ALL_LABELS; label++)
        sizes[label] = e->used[label] ? e->sizes[label] : 1;
    if (!sinter_eval_product(sizes, ALL_LABELS, &total))
        return sinter_eval_error(eval, "the product over all axes overflows");
    number *sums = SINTER_NEW_ARRAY(eval->scratch, number, sinter_tensor_count(y) + 1);
    for (int64_t i = 0; i < total; i++) {
        number product = {.real = 1, .whole = 1};
        for (uint32_t t = 0; t < e->term_count; t++) {
            number x =
                load_number(eval->operands[t], sinter_eval_offset(ALL_LABELS, at, strides[t]));
            product.real *= x.real;
            product.whole *= x.whole;
        }
        number *sum = &sums[sinter_eval_offset(ALL_LABELS, at, strides[e->term_count])];
        sum->real += product.real;
        sum->whole += product.whole;
        sinter_eval_next(ALL_LABELS, sizes, at);
    }
    for (int64_t i = 0; i < sinter_tensor_count(y); i++) store_number(y, i, sums[i]);
    return true;
}

/* ---- determinant ---- */

/* Gaussian elimination with partial pivoting; destroys the matrix. */
static double determinant(double *matrix, int64_t n) {
    double result = 1;
    for (int64_t column = 0; column < n; column++) {
        int64_t pivot = column;
        for (int64_t row = column + 1; row < n; row++)
            if (fabs(matrix[row * n + column]) > fabs(matrix[pivot * n + column])) pivot = row;
        double head = matrix[pivot * n + column];
        if (head == 0) return 0;
        for (int64_t j = 0; pivot != column && j < n; j++) {
            double swap = matrix[pivot * n + j];
            matrix[pivot * n + j] = matrix[column * n + j];
            matrix[column * n + j] = swap;
        }
        result *= pivot != column ? -head : head;
        for (int64_t row = column + 1; row < n; row++) {
            double factor = matrix[row * n + column] / head;
            for (int64_t j = column; j < n; j++)
                matrix[row * n + j] -= factor * matrix[column * n + j];
        }
    }
    return result;
}

bool eval_det(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    const sinter_tensor *x = eval->operands[0];
    int64_t n = x->dims[x->rank - 1];
    if (x->dims[x->rank - 2] != n)
        return sinter_eval_error(eval, "expected square matrices, found %s",
                                 sinter_eval_describe(eval, x));
    sinter_tensor *y = sinter_eval_create(eval, 0, x->dtype, x->rank - 2, x->dims);
    if (!y) return false;
    double *items = sinter_eval_doubles(eval, x);
    for (int64_t i = 0; i < sinter_tensor_count(y); i++)
        sinter_tensor_set_double(y, i, determinant(items + i * n * n, n));
    return true;
}
