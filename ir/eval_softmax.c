/* Evaluator rules of the softmax family: softmax, log_softmax, hardmax, reduce_log_sum_exp, and the
 * losses that read log probabilities. Everything is shifted by the maximum, summed in double and
 * rounded once, when stored. A lane that holds nothing but -inf gives NaN, as 0/0 does.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>

/* Calls f on each lane of operand 0 along `axis`, gathered into consecutive doubles, in place. */
static bool map_lanes(sinter_eval *eval, void (*f)(double *items, int64_t count)) {
    const sinter_tensor *input = eval->operands[0];
    uint32_t axis;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), input->rank, &axis)) return false;
    sinter_tensor *output = sinter_eval_create_like(eval, 0, input);
    if (!output) return false;
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, axis);
    double *items = sinter_eval_doubles(eval, input);
    double *lane = SINTER_NEW_ARRAY(eval->scratch, double, lanes.count + 1);
    for (int64_t o = 0; o < lanes.outer; o++) {
        for (int64_t i = 0; i < lanes.inner; i++) {
            double *first = items + o * lanes.count * lanes.inner + i;
            for (int64_t k = 0; k < lanes.count; k++) lane[k] = first[k * lanes.inner];
            f(lane, lanes.count);
            for (int64_t k = 0; k < lanes.count; k++) first[k * lanes.inner] = lane[k];
        }
    }
    sinter_eval_store_doubles(output, items);
    return true;
}

static double sum_of_exponentials(const double *items, int64_t count, double shift) {
    double sum = 0;
    for (int64_t k = 0; k < count; k++) sum += exp(items[k] - shift);
    return sum;
}

static void softmax_lane(double *items, int64_t count) {
    double high = sinter_eval_largest(items, count), sum = sum_of_exponentials(items, count, high);
    for (int64_t k = 0; k < count; k++) items[k] = exp(items[k] - high) / sum;
}

static void log_softmax_lane(double *items, int64_t count) {
    double high = sinter_eval_largest(items, count), sum = sum_of_exponentials(items, count, high);
    for (int64_t k = 0; k < count; k++) items[k] = items[k] - high - log(sum);
}

/* The first maximum as arg_max has it: NaN is one. */
static void hardmax_lane(double *items, int64_t count) {
    int64_t best = 0;
    for (int64_t k = 1; k < count && !isnan(items[best]); k++)
        if (items[k] > items[best] || isnan(items[k])) best = k;
    for (int64_t k = 0; k < count; k++) items[k] = k == best;
}

bool eval_softmax(sinter_eval *eval) {
    return map_lanes(eval, softmax_lane);
}

bool eval_log_softmax(sinter_eval *eval) {
    return map_lanes(eval, log_softmax_lane);
}

bool eval_hardmax(sinter_eval *eval) {
    return map_lanes(eval, hardmax_lane);
}

/* Which axes to reduce, and the dims that keep them as 1. */
static bool reduced_axes(sinter_eval *eval, bool marked[SINTER_MAX_RANK], int64_t *kept) {
    const sinter_tensor *data = eval->operands[0];
    int64_t axes[SINTER_MAX_RANK];
    size_t count;
    if (!sinter_eval_ints(eval, 1, axes, SINTER_MAX_RANK, &count) ||
        !sinter_eval_axes(eval, axes, count, data->rank, marked))
        return false;
    bool all = count == 0 && !sinter_eval_int(eval, "noop_with_empty_axes");
    for (uint32_t i = 0; i < data->rank; i++) {
        marked[i] = marked[i] || all;
        kept[i] = marked[i] ? 1 : data->dims[i];
    }
    return true;
}

bool eval_reduce_log_sum_exp(sinter_eval *eval) {
    const sinter_tensor *data = eval->operands[0];
    bool marked[SINTER_MAX_RANK];
    int64_t kept[SINTER_MAX_RANK], dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    if (!reduced_axes(eval, marked, kept)) return false;
    uint32_t rank = 0;
    bool keep = sinter_eval_int(eval, "keepdims") != 0;
    for (uint32_t i = 0; i < data->rank; i++)
        if (keep || !marked[i]) dims[rank++] = kept[i];
    sinter_tensor *reduced = sinter_eval_create(eval, 0, data->dtype, rank, dims);
    if (!reduced) return false;

    sinter_eval_strides(data->rank, kept, strides);
    for (uint32_t i = 0; i < data->rank; i++)
        if (marked[i]) strides[i] = 0;
    int64_t count = sinter_tensor_count(data), result_count = sinter_tensor_count(reduced);
    const double *items = sinter_eval_doubles(eval, data);
    double *high = SINTER_NEW_ARRAY(eval->scratch, double, result_count + 1);
    double *sums = SINTER_NEW_ARRAY(eval->scratch, double, result_count + 1);
    for (int64_t i = 0; i < result_count; i++) high[i] = -INFINITY;
    int64_t at[SINTER_MAX_RANK] = {0};
    for (int64_t i = 0; i < count; i++) {
        double *h = &high[sinter_eval_offset(data->rank, at, strides)];
        if (items[i] > *h || isnan(items[i])) *h = items[i];
        sinter_eval_next(data->rank, data->dims, at);
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t r = sinter_eval_offset(data->rank, at, strides);
        sums[r] += exp(items[i] - (isinf(high[r]) ? 0 : high[r]));
        sinter_eval_next(data->rank, data->dims, at);
    }
    for (int64_t i = 0; i < result_count; i++)
        sums[i] = log(sums[i]) + (isinf(high[i]) ? 0 : high[i]);
    sinter_eval_store_doubles(reduced, sums);
    return true;
}

/* ---- losses ---- */

/* -log_prob[n, target[n, ...], ...] times the class weight into result 0, reduced as asked. Operands 1 and 2 are the
 * targets and the optional weights. */
static bool class_loss(sinter_eval *eval, const double *log_prob) {
    const sinter_tensor *input = eval->operands[0], *target = eval->operands[1];
    const sinter_tensor *weight = sinter_eval_operand(eval, 2);
    int64_t dims[SINTER_MAX_RANK];
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    dims[0] = input->dims[0];
    for (uint32_t i = 2; i < input->rank; i++) dims[i - 1] = input->dims[i];
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, 1);
    if (!sinter_eval_expect_dims(eval, 1, input->rank - 1, dims) ||
        !sinter_eval_expect_dims(eval, 2, 1, &lanes.count))
        return false;
    bool ignores = sinter_eval_has(eval, "ignore_index");
    int64_t ignored = sinter_eval_int(eval, "ignore_index");
    double *losses = SINTER_NEW_ARRAY(eval->scratch, double, lanes.outer *lanes.inner + 1);
    double total = 0, weights = 0;
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        int64_t class = sinter_tensor_get_int(target, n);
        if (ignores && class == ignored) continue;
        if (class < 0 || class >= lanes.count)
            return sinter_eval_error(eval,
                                     "class %" PRId64 " is out of range for %" PRId64 " classes",
                                     class, lanes.count);
        double w = weight ? sinter_tensor_get_double(weight, class) : 1;
        losses[n] =
            -w * log_prob[(n / lanes.inner * lanes.count + class) * lanes.inner + n % lanes.inner];
        total += losses[n];
        weights += w;
    }
    if (sinter_eval_string_is(eval, "reduction", "none")) {
        sinter_tensor *loss = sinter_eval_create(eval, 0, input->dtype, input->rank - 1, dims);
        if (loss) sinter_eval_store_doubles(loss, losses);
        return loss != NULL;
    }
    bool is_sum = sinter_eval_string_is(eval, "reduction", "sum");
    if (!is_sum && !sinter_eval_string_is(eval, "reduction", "mean"))
        return sinter_eval_error(eval, "unknown reduction '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "reduction")));
    sinter_tensor *loss = sinter_eval_create(eval, 0, input->dtype, 0, NULL);
    if (loss) sinter_tensor_set_double(loss, 0, is_sum ? total : total / weights);
    return loss != NULL;
}

bool eval_negative_log_likelihood_loss(sinter_eval *eval) {
    return class_loss(eval, sinter_eval_doubles(eval, eval->operands[0]));
}

bool eval_softmax_cross_entropy_loss(sinter_eval *eval) {
    const sinter_tensor *scores = eval->operands[0];
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    sinter_lanes lanes = sinter_eval_lanes(scores->rank, scores->dims, 1);
    double *items = sinter_eval_doubles(eval, scores);
    double *lane = SINTER_NEW_ARRAY(eval->scratch, double, lanes.count + 1);
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        double *first = items + n / lanes.inner * lanes.count * lanes.inner + n % lanes.inner;
        for (int64_t k = 0; k < lanes.count; k++) lane[k] = first[k * lanes.inner];
        log_softmax_lane(lane, lanes.count);
        for (int64_t k = 0; k < lanes.count; k++) first[k * lanes.inner] = lane[k];
    }
    if (sinter_eval_wants(eval, 1)) {
        sinter_tensor *log_prob = sinter_eval_create_like(eval, 1, scores);
        if (!log_prob) return false;
        sinter_eval_store_doubles(log_prob, items);
    }
    return class_loss(eval, items);
}
