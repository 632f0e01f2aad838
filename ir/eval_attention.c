/* Evaluator rules of attention and flex_attention: softmax(scale * Q K^T + bias) V, per sample and
 * query head; query head h reads key and value head h / (q_heads / kv_heads). The steps round to
 * the dtype where the operator's defining function has a value of that type: after scaling, after
 * each matrix product, after the softmax; sums are in double. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* Query, key or value as [batch, heads, length, size], packed. */
typedef struct heads {
    double *items;
    int64_t batch, count, length, size;
} heads;

static double *heads_row(const heads *h, int64_t batch, int64_t head, int64_t position) {
    return h->items + ((batch * h->count + head) * h->length + position) * h->size;
}

/* Rank 4 as it is; rank 3 is [batch, length, count * size]. */
static bool load_heads(sinter_eval *eval, uint32_t operand, int64_t count, heads *out_heads) {
    if (!sinter_eval_expect_rank(eval, operand, 3, 4)) return false;
    const sinter_tensor *tensor = eval->operands[operand];
    double *items = sinter_eval_doubles(eval, tensor);
    const int64_t *dims = tensor->dims;
    if (tensor->rank == 4) {
        *out_heads = (heads){items, dims[0], dims[1], dims[2], dims[3]};
        return true;
    }
    if (count < 1 || dims[2] % count != 0)
        return sinter_eval_error(eval, "%s does not make %" PRId64 " heads",
                                 sinter_eval_describe(eval, tensor), count);
    *out_heads = (heads){NULL, dims[0], count, dims[1], dims[2] / count};
    out_heads->items = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(tensor) + 1);
    for (int64_t b = 0; b < dims[0]; b++)
        for (int64_t s = 0; s < dims[1]; s++)
            for (int64_t h = 0; h < count; h++)
                memcpy(heads_row(out_heads, b, h, s),
                       items + (b * dims[1] + s) * dims[2] + h * out_heads->size,
                       (size_t)out_heads->size * sizeof *items);
    return true;
}

/* The cache at `operand` (rank 4, may be absent) before `h`, along the length. */
static bool prepend_past(sinter_eval *eval, uint32_t operand, heads *h, int64_t *out_past) {
    const sinter_tensor *past = sinter_eval_operand(eval, operand);
    *out_past = 0;
    if (!past) return true;
    if (!sinter_eval_expect_rank(eval, operand, 4, 4)) return false;
    int64_t length = past->dims[2], dims[4] = {h->batch, h->count, length, h->size};
    if (!sinter_eval_expect_dims(eval, operand, 4, dims)) return false;
    const double *items = sinter_eval_doubles(eval, past);
    heads joint = {NULL, h->batch, h->count, length + h->length, h->size};
    joint.items =
        SINTER_NEW_ARRAY(eval->scratch, double, h->batch * h->count * joint.length * h->size + 1);
    for (int64_t n = 0; n < h->batch * h->count; n++) {
        double *row = joint.items + n * joint.length * h->size;
        memcpy(row, items + n * length * h->size, (size_t)(length * h->size) * sizeof *row);
        memcpy(row + length * h->size, h->items + n * h->length * h->size,
               (size_t)(h->length * h->size) * sizeof *row);
    }
    *h = joint;
    *out_past = length;
    return true;
}

static bool store_heads(sinter_eval *eval, uint32_t result, sinter_dtype dtype, const heads *h) {
    if (!sinter_eval_wants(eval, result)) return true;
    int64_t dims[4] = {h->batch, h->count, h->length, h->size};
    sinter_tensor *tensor = sinter_eval_create(eval, result, dtype, 4, dims);
    if (tensor) sinter_eval_store_doubles(tensor, h->items);
    return tensor != NULL;
}

static const int64_t max_scores = (int64_t)1 << 34; /* heads of size 0 can ask for any number */

static bool expect_matching_heads(sinter_eval *eval, const heads *q, const heads *k,
                                  const heads *v) {
    bool good = q->batch == k->batch && k->batch == v->batch && k->count == v->count &&
                k->length == v->length && q->size == k->size && k->count > 0 &&
                q->count % k->count == 0;
    int64_t dims[4] = {q->batch, q->count, q->length, k->length}, scores;
    if (!good)
        return sinter_eval_error(eval, "%s, %s and %s don't fit together",
                                 sinter_eval_describe(eval, eval->operands[0]),
                                 sinter_eval_describe(eval, eval->operands[1]),
                                 sinter_eval_describe(eval, eval->operands[2]));
    if (!sinter_eval_product(dims, 4, &scores) || scores > max_scores)
        return sinter_eval_error(eval, "there are too many scores");
    return true;
}

/* (Q * sqrt(scale)) (K * sqrt(scale))^T: scores [batch, q_heads, q_length, kv_length]. Q and K are scaled in place. */
static heads find_scores(sinter_eval *eval, sinter_dtype dtype, heads *q, heads *k, double scale) {
    heads scores = {NULL, q->batch, q->count, q->length, k->length};
    int64_t count = q->batch * q->count * q->length * k->length, group = q->count / k->count;
    scores.items = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    double root = sinter_eval_round(dtype, sqrt(scale));
    heads *both[2] = {q, k};
    for (uint32_t t = 0; t < 2; t++)
        for (int64_t i = 0; i < both[t]->batch * both[t]->count * both[t]->length * both[t]->size;
             i++)
            both[t]->items[i] = sinter_eval_round(dtype, both[t]->items[i] * root);
    for (int64_t i = 0; i < count; i++) {
        int64_t column = i % k->length, row = i / k->length % q->length;
        int64_t head = i / k->length / q->length % q->count;
        int64_t batch = i / k->length / q->length / q->count;
        const double *left = heads_row(q, batch, head, row);
        const double *right = heads_row(k, batch, head / group, column);
        double sum = 0;
        for (int64_t d = 0; d < q->size; d++) sum += left[d] * right[d];
        scores.items[i] = sinter_eval_round(dtype, sum);
    }
    return scores;
}

/* What products read of a number, where they are asked for less than they could have. */
typedef double (*rounding)(double value);

static double round_tf32(double value) {
    return sinter_float_round_tf32((float)value);
}

static double round_bf16(double value) {
    return sinter_eval_round(SINTER_DTYPE_bf16, value);
}

static double round_f16(double value) {
    return sinter_eval_round(SINTER_DTYPE_f16, value);
}

/* NULL: numbers stay as they are. */
static rounding find_rounding(const sinter_eval *eval) {
    static const struct {
        const char *precision;
        rounding round;
    } all[] = {{"tf32", round_tf32}, {"bf16", round_bf16}, {"f16", round_f16}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (sinter_eval_string_is(eval, "factor_precision", all[i].precision)) return all[i].round;
    return NULL;
}

static void round_heads(rounding round, heads *h) {
    for (int64_t i = 0; i < h->batch * h->count * h->length * h->size; i++)
        h->items[i] = round(h->items[i]);
}

/* Exponentials are rounded before they are summed, so that weights add up to 1. */
static void softmax_rounded(heads *scores, rounding round) {
    for (int64_t r = 0; r < scores->batch * scores->count * scores->length; r++) {
        double *row = scores->items + r * scores->size, high = -INFINITY, sum = 0;
        for (int64_t i = 0; i < scores->size; i++)
            if (row[i] > high || isnan(row[i])) high = row[i];
        for (int64_t i = 0; i < scores->size; i++) sum += row[i] = round(exp(row[i] - high));
        for (int64_t i = 0; i < scores->size; i++) row[i] /= sum;
    }
}

static void softmax_rows(heads *scores, sinter_dtype dtype) {
    for (int64_t r = 0; r < scores->batch * scores->count * scores->length; r++) {
        double *row = scores->items + r * scores->size, high = -INFINITY, sum = 0;
        for (int64_t i = 0; i < scores->size; i++)
            if (row[i] > high || isnan(row[i])) high = row[i];
        for (int64_t i = 0; i < scores->size; i++) sum += row[i] = exp(row[i] - high);
        for (int64_t i = 0; i < scores->size; i++) row[i] = sinter_eval_round(dtype, row[i] / sum);
    }
}

/* Y = probabilities V, as `rank` wants it, into result 0. */
static bool store_output(sinter_eval *eval, const heads *scores, const heads *v, uint32_t rank) {
    int64_t batch = scores->batch, count = scores->count, length = scores->length;
    int64_t dims4[4] = {batch, count, length, v->size}, dims3[3] = {batch, length, count * v->size};
    sinter_tensor *y =
        sinter_eval_create(eval, 0, eval->operands[0]->dtype, rank, rank == 4 ? dims4 : dims3);
    if (!y) return false;
    for (int64_t i = 0; i < batch * count * length * v->size; i++) {
        int64_t d = i % v->size, row = i / v->size % length, head = i / v->size / length % count;
        int64_t b = i / v->size / length / count;
        const double *weights = heads_row(scores, b, head, row);
        double sum = 0;
        for (int64_t s = 0; s < scores->size; s++)
            sum += weights[s] * heads_row(v, b, head / (count / v->count), s)[d];
        int64_t target = rank == 4 ? i : ((b * length + row) * count + head) * v->size + d;
        sinter_tensor_set_double(y, target, sum);
    }
    return true;
}

/* ---- attention ---- */

/* Adds the mask at operand 3: -inf where a bool mask is false, else the number; what is missing at the end of the
 * last axis is -inf. */
static bool add_mask(sinter_eval *eval, heads *scores) {
    const sinter_tensor *mask = sinter_eval_operand(eval, 3);
    if (!mask) return true;
    if (!sinter_eval_expect_rank(eval, 3, 1, 4)) return false;
    int64_t dims[4] = {scores->batch, scores->count, scores->length, scores->size};
    int64_t strides[4], at[4] = {0}, width = mask->dims[mask->rank - 1];
    bool fits = width <= scores->size;
    for (uint32_t i = 0; i + 1 < mask->rank; i++)
        fits = fits && (mask->dims[i] == 1 || mask->dims[i] == dims[4 - mask->rank + i]);
    if (!fits)
        return sinter_eval_error(
            eval,
            "the mask %s does not broadcast to [%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "]",
            sinter_eval_describe(eval, mask), dims[0], dims[1], dims[2], dims[3]);
    sinter_eval_broadcast_strides(mask, 4, strides);
    strides[3] = 1;
    bool is_bool = mask->dtype == SINTER_DTYPE_bool;
    sinter_dtype dtype = eval->operands[0]->dtype;
    const double *items = sinter_eval_doubles(eval, mask);
    for (int64_t i = 0; i < dims[0] * dims[1] * dims[2] * dims[3]; i++) {
        double bias = -INFINITY;
        if (at[3] < width) {
            bias = items[sinter_eval_offset(4, at, strides)];
            if (is_bool) bias = bias != 0 ? 0 : -INFINITY;
        }
        scores->items[i] = sinter_eval_round(dtype, scores->items[i] + bias);
        sinter_eval_next(4, dims, at);
    }
    return true;
}

/* -inf where a query sees a key after its own place, or padding. */
static bool hide_keys(sinter_eval *eval, heads *scores, int64_t past) {
    const sinter_tensor *valid = sinter_eval_operand(eval, 6);
    bool causal = sinter_eval_int(eval, "is_causal") != 0;
    if (!sinter_eval_expect_dims(eval, 6, 1, &scores->batch)) return false;
    int64_t at[4] = {0}, dims[4] = {scores->batch, scores->count, scores->length, scores->size};
    for (int64_t i = 0; i < dims[0] * dims[1] * dims[2] * dims[3]; i++) {
        bool padding = valid && at[3] >= sinter_tensor_get_int(valid, at[0]);
        if (padding || (causal && at[3] > at[2] + past)) scores->items[i] += -INFINITY;
        sinter_eval_next(4, dims, at);
    }
    return true;
}

static void cap_scores(heads *scores, sinter_dtype dtype, double cap) {
    for (int64_t i = 0; i < scores->batch * scores->count * scores->length * scores->size; i++)
        scores->items[i] = sinter_eval_round(dtype, tanh(scores->items[i] / cap) * cap);
}

/* The scores as they are after step `mode`, where they are asked for. */
static bool store_scores(sinter_eval *eval, const heads *scores, int64_t mode) {
    if (sinter_eval_int(eval, "qk_matmul_output_mode") != mode) return true;
    return store_heads(eval, 3, eval->operands[0]->dtype, scores);
}

bool eval_attention(sinter_eval *eval) {
    heads q, k, v;
    int64_t past_keys, past_values;
    if (!load_heads(eval, 0, sinter_eval_int(eval, "q_num_heads"), &q) ||
        !load_heads(eval, 1, sinter_eval_int(eval, "kv_num_heads"), &k) ||
        !load_heads(eval, 2, sinter_eval_int(eval, "kv_num_heads"), &v) ||
        !prepend_past(eval, 4, &k, &past_keys) || !prepend_past(eval, 5, &v, &past_values) ||
        !expect_matching_heads(eval, &q, &k, &v) ||
        !store_heads(eval, 1, eval->operands[1]->dtype, &k) ||
        !store_heads(eval, 2, eval->operands[2]->dtype, &v))
        return false;
    int64_t mode = sinter_eval_int(eval, "qk_matmul_output_mode");
    if (mode < 0 || mode > 3)
        return sinter_eval_error(eval, "qk_matmul_output_mode is %" PRId64 ", expected 0 to 3",
                                 mode);
    sinter_dtype dtype = eval->operands[0]->dtype,
                 precise = sinter_eval_dtype(eval, "softmax_precision");
    if (precise == SINTER_DTYPE_NONE) precise = dtype;
    double scale = sinter_eval_has(eval, "scale") ? sinter_eval_float(eval, "scale")
                                                  : 1 / sqrt((double)q.size);
    double cap = sinter_eval_float(eval, "softcap");
    const rounding round = find_rounding(eval);
    heads *const factors[3] = {&q, &k, &v};
    for (uint32_t i = 0; i < 3 && round; i++) round_heads(round, factors[i]);
    heads scores = find_scores(eval, dtype, &q, &k, scale);
    if (!store_scores(eval, &scores, 0)) return false;
    if (cap > 0) cap_scores(&scores, dtype, cap);
    if (!store_scores(eval, &scores, 1)) return false;
    if (!add_mask(eval, &scores) || !hide_keys(eval, &scores, past_keys) ||
        !store_scores(eval, &scores, 2))
        return false;
    if (round)
        softmax_rounded(&scores, round);
    else
        softmax_rows(&scores, precise);
    return store_scores(eval, &scores, 3) &&
           store_output(eval, &scores, &v, eval->operands[0]->rank);
}

/* ---- flex attention ---- */

/* Replaces the scores by what region `index` makes of them. Without regions nothing changes. */
static bool modify_scores(sinter_eval *eval, uint32_t index, sinter_dtype dtype, heads *scores) {
    if (index >= eval->info->region_count || !eval->info->regions[index]) return true;
    int64_t dims[4] = {scores->batch, scores->count, scores->length, scores->size};
    sinter_tensor argument, result = {0};
    if (!sinter_eval_temporary(eval, &argument, dtype, 4, dims)) return false;
    sinter_eval_store_doubles(&argument, scores->items);
    bool good = sinter_eval_region(eval, eval->info->regions[index], &argument, 1, &result, 1);
    sinter_tensor_deinit(&argument);
    if (!good) return false;
    good = result.kind == SINTER_TYPE_TENSOR && result.rank == 4 &&
           sinter_dtype_is_float(result.dtype);
    for (uint32_t i = 0; good && i < 4; i++) good = result.dims[i] == dims[i];
    if (good)
        scores->items = sinter_eval_doubles(eval, &result);
    else
        sinter_eval_error(eval, "region %u changes the scores to %s", index,
                          sinter_eval_describe(eval, &result));
    sinter_tensor_deinit(&result);
    return good;
}

bool eval_flex_attention(sinter_eval *eval) {
    heads q, k, v;
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_eval_expect_rank(eval, i, 4, 4)) return false;
    if (!load_heads(eval, 0, 0, &q) || !load_heads(eval, 1, 0, &k) || !load_heads(eval, 2, 0, &v) ||
        !expect_matching_heads(eval, &q, &k, &v))
        return false;
    sinter_dtype dtype = eval->operands[0]->dtype,
                 precise = sinter_eval_dtype(eval, "softmax_precision");
    if (precise == SINTER_DTYPE_NONE)
        precise = dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
    double scale = sinter_eval_has(eval, "scale") ? sinter_eval_float(eval, "scale")
                                                  : 1 / sqrt((double)q.size);
    heads scores = find_scores(eval, dtype, &q, &k, scale);
    if (!modify_scores(eval, 0, precise, &scores)) return false;
    softmax_rows(&scores, precise);
    return modify_scores(eval, 1, precise, &scores) && store_output(eval, &scores, &v, 4);
}
