/* Matrix products of the reference evaluator: NumPy batch rules, floats accumulated in f64 and rounded once,
 * integers modulo 2^64 and wrapped to their width when stored. Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <string.h>

/* How the product runs: a[batch..., m, k] * b[batch..., k, n] with vectors given a unit axis that the result lacks. */
typedef struct product {
    int64_t m, n, k;
    uint32_t batch_rank;
    int64_t batch[SINTER_MAX_RANK];
    int64_t a_strides[SINTER_MAX_RANK], b_strides[SINTER_MAX_RANK]; /* in matrices */
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK]; /* of the result */
} product;

/* Strides, in matrices, of the batch axes of an operand seen under the common batch dims. */
static void batch_strides(const sinter_tensor *tensor, uint32_t rank, int64_t *out_strides) {
    sinter_tensor batch = *tensor;
    batch.rank = tensor->rank > 2 ? tensor->rank - 2 : 0;
    sinter_eval_broadcast_strides(&batch, rank, out_strides);
}

static bool product_init(sinter_eval *eval, product *p, const sinter_tensor *a,
                         const sinter_tensor *b) {
    if (!sinter_eval_expect_rank(eval, 0, 1, SINTER_MAX_RANK) ||
        !sinter_eval_expect_rank(eval, 1, 1, SINTER_MAX_RANK))
        return false;
    p->m = a->rank > 1 ? a->dims[a->rank - 2] : 1;
    p->k = a->dims[a->rank - 1];
    p->n = b->rank > 1 ? b->dims[b->rank - 1] : 1;
    int64_t other = b->rank > 1 ? b->dims[b->rank - 2] : b->dims[0];
    bool fits = sinter_eval_broadcast_dims(a->rank > 2 ? a->rank - 2 : 0, a->dims,
                                           b->rank > 2 ? b->rank - 2 : 0, b->dims, &p->batch_rank,
                                           p->batch);
    if (p->k != other || !fits)
        return sinter_eval_error(eval, "%s times %s does not fit", sinter_eval_describe(eval, a),
                                 sinter_eval_describe(eval, b));
    batch_strides(a, p->batch_rank, p->a_strides);
    batch_strides(b, p->batch_rank, p->b_strides);
    p->rank = p->batch_rank;
    memcpy(p->dims, p->batch, sizeof p->dims);
    if (a->rank > 1) p->dims[p->rank++] = p->m;
    if (b->rank > 1) p->dims[p->rank++] = p->n;
    return true;
}

static int64_t batch_count(const product *p) {
    int64_t count;
    return sinter_eval_product(p->batch, p->batch_rank, &count) ? count : 0;
}

/* c[m,n] = a[m,k] * b[k,n]; the order of loops keeps b and c in rows. */
static void multiply_doubles(const product *p, const double *a, const double *b, double *c) {
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t k = 0; k < p->k; k++)
            for (int64_t j = 0; j < p->n; j++) c[i * p->n + j] += a[i * p->k + k] * b[k * p->n + j];
}

static void multiply_integers(const product *p, const int64_t *a, const int64_t *b, int64_t *c) {
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t k = 0; k < p->k; k++)
            for (int64_t j = 0; j < p->n; j++) {
                uint64_t term = (uint64_t)a[i * p->k + k] * (uint64_t)b[k * p->n + j];
                c[i * p->n + j] = (int64_t)((uint64_t)c[i * p->n + j] + term);
            }
}

static void product_run_doubles(sinter_eval *eval, const product *p, const double *a,
                                const double *b, sinter_tensor *result) {
    int64_t at[SINTER_MAX_RANK] = {0}, batches = batch_count(p);
    double *c = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(result) + 1);
    for (int64_t n = 0; n < batches; n++) {
        multiply_doubles(p, a + sinter_eval_offset(p->batch_rank, at, p->a_strides) * p->m * p->k,
                         b + sinter_eval_offset(p->batch_rank, at, p->b_strides) * p->k * p->n,
                         c + n * p->m * p->n);
        sinter_eval_next(p->batch_rank, p->batch, at);
    }
    sinter_eval_store_doubles(result, c);
}

static void product_run_integers(sinter_eval *eval, const product *p, const int64_t *a,
                                 const int64_t *b, sinter_tensor *result) {
    int64_t at[SINTER_MAX_RANK] = {0}, batches = batch_count(p),
            count = sinter_tensor_count(result);
    int64_t *c = SINTER_NEW_ARRAY(eval->scratch, int64_t, count + 1);
    for (int64_t n = 0; n < batches; n++) {
        multiply_integers(p, a + sinter_eval_offset(p->batch_rank, at, p->a_strides) * p->m * p->k,
                          b + sinter_eval_offset(p->batch_rank, at, p->b_strides) * p->k * p->n,
                          c + n * p->m * p->n);
        sinter_eval_next(p->batch_rank, p->batch, at);
    }
    for (int64_t i = 0; i < count; i++) sinter_tensor_set_int(result, i, c[i]);
}

bool eval_matmul(sinter_eval *eval) {
    const sinter_tensor *a = sinter_eval_operand(eval, 0), *b = sinter_eval_operand(eval, 1);
    product p = {0};
    if (!product_init(eval, &p, a, b)) return false;
    if (a->dtype != b->dtype ||
        !(sinter_dtype_is_float(a->dtype) || sinter_dtype_is_integer(a->dtype)))
        return sinter_eval_error(eval, "expected two tensors of one numeric type, found %s and %s",
                                 sinter_eval_describe(eval, a), sinter_eval_describe(eval, b));
    sinter_tensor *result = sinter_eval_create(eval, 0, a->dtype, p.rank, p.dims);
    if (!result) return false;
    if (sinter_dtype_is_float(a->dtype))
        product_run_doubles(eval, &p, sinter_eval_doubles(eval, a), sinter_eval_doubles(eval, b),
                            result);
    else
        product_run_integers(eval, &p, sinter_eval_integers(eval, a), sinter_eval_integers(eval, b),
                             result);
    return true;
}

/* The operand less its zero point: one for all, one per index of `axis`, or one per element after broadcasting. */
static int64_t *centred(sinter_eval *eval, uint32_t operand, uint32_t zero_operand, uint32_t axis) {
    const sinter_tensor *x = eval->operands[operand],
                        *zero = sinter_eval_operand(eval, zero_operand);
    int64_t *items = sinter_eval_integers(eval, x), count = sinter_tensor_count(x);
    int64_t strides[SINTER_MAX_RANK] = {0}, at[SINTER_MAX_RANK] = {0}, dims[SINTER_MAX_RANK];
    uint32_t rank = 0;
    if (!zero) return items;
    if (zero->rank == 1 && zero->dims[0] == x->dims[axis]) {
        strides[axis] = 1;
    } else if (sinter_tensor_count(zero) != 1) {
        bool fits =
            zero->rank <= x->rank &&
            sinter_eval_broadcast_dims(x->rank, x->dims, zero->rank, zero->dims, &rank, dims) &&
            memcmp(dims, x->dims, rank * sizeof *dims) == 0;
        if (!fits) {
            sinter_eval_error(eval, "zero point is %s for %s", sinter_eval_describe(eval, zero),
                              sinter_eval_describe(eval, x));
            return NULL;
        }
        sinter_eval_broadcast_strides(zero, x->rank, strides);
    }
    const int64_t *zeros = sinter_eval_integers(eval, zero);
    for (int64_t n = 0; n < count; n++) {
        items[n] -= zeros[sinter_eval_offset(x->rank, at, strides)];
        sinter_eval_next(x->rank, x->dims, at);
    }
    return items;
}

bool eval_matmul_integer(sinter_eval *eval) {
    const sinter_tensor *a = sinter_eval_operand(eval, 0), *b = sinter_eval_operand(eval, 1);
    product p = {0};
    if (!product_init(eval, &p, a, b)) return false;
    if (!sinter_dtype_is_integer(a->dtype) || !sinter_dtype_is_integer(b->dtype))
        return sinter_eval_error(eval, "expected integers");
    const int64_t *x = centred(eval, 0, 2, a->rank > 1 ? a->rank - 2 : 0);
    const int64_t *y = centred(eval, 1, 3, b->rank - 1);
    sinter_tensor *result =
        x && y ? sinter_eval_create(eval, 0, sinter_eval_dtype(eval, "to"), p.rank, p.dims) : NULL;
    if (!result) return false;
    product_run_integers(eval, &p, x, y, result);
    return true;
}
