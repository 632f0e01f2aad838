/* Evaluator rules of the ops that draw random numbers: random_normal, random_uniform, their _like
 * forms, bernoulli, multinomial, dropout. Which numbers a node draws is defined by ir/random.h.
 * Test: tests/ops/, tests/unit/random_test.c */
#include "ir/eval_rules.h"
#include "ir/random.h"
#include <inttypes.h>
#include <math.h>

/* The `dtype` attribute, else that of operand 0. */
static sinter_dtype drawn_dtype(const sinter_eval *eval) {
    sinter_dtype dtype = sinter_eval_dtype(eval, "dtype");
    return dtype == SINTER_DTYPE_NONE && eval->info->operand_count ? eval->operands[0]->dtype
                                                                   : dtype;
}

static bool draw_bernoulli(sinter_eval *eval, uint64_t key) {
    const sinter_tensor *input = eval->operands[0];
    sinter_tensor *output =
        sinter_eval_create(eval, 0, drawn_dtype(eval), input->rank, input->dims);
    if (!output) return false;
    for (int64_t i = 0; i < sinter_tensor_count(output); i++) {
        double uniform = sinter_random_uniform(key, (uint64_t)i, input->dtype == SINTER_DTYPE_f64);
        bool drawn = uniform < sinter_tensor_get_double(input, i);
        sinter_eval_store(output, i, sinter_eval_number(output->dtype, drawn));
    }
    return true;
}

/* Classes by their unnormalised log probabilities: the first whose cumulated probability is above a uniform draw. */
static bool draw_multinomial(sinter_eval *eval, uint64_t key) {
    if (!sinter_eval_expect_rank(eval, 0, 2, 2)) return false;
    const sinter_tensor *input = eval->operands[0];
    int64_t classes = input->dims[1], samples = sinter_eval_int(eval, "sample_size");
    int64_t dims[2] = {input->dims[0], samples};
    if (classes < 1) return sinter_eval_error(eval, "there is no class to draw");
    sinter_tensor *output = sinter_eval_create(eval, 0, drawn_dtype(eval), 2, dims);
    if (!output) return false;
    const double *logits = sinter_eval_doubles(eval, input);
    for (int64_t i = 0; i < dims[0] * samples; i++) {
        const double *row = logits + i / samples * classes;
        double high = -INFINITY, total = 0, cumulated = 0;
        for (int64_t c = 0; c < classes; c++) high = fmax(high, row[c]);
        for (int64_t c = 0; c < classes; c++) total += exp(row[c] - high);
        double wanted = sinter_random_uniform(key, (uint64_t)i, true) * total;
        int64_t class = 0;
        for (; class < classes - 1; class ++) {
            cumulated += exp(row[class] - high);
            if (cumulated > wanted) break;
        }
        sinter_tensor_set_int(output, i, class);
    }
    return true;
}

static bool draw_numbers(sinter_eval *eval, uint64_t key, bool normal) {
    const int64_t *dims;
    uint32_t rank;
    if (eval->info->operand_count) {
        dims = eval->operands[0]->dims;
        rank = eval->operands[0]->rank;
    } else {
        size_t count = sinter_eval_ints_attr(eval, "shape", &dims);
        if (count > SINTER_MAX_RANK) return sinter_eval_error(eval, "rank %zu is too high", count);
        rank = (uint32_t)count;
    }
    sinter_dtype dtype = drawn_dtype(eval);
    if (!sinter_dtype_is_float(dtype))
        return sinter_eval_error(eval, "%s numbers can't be drawn, only floats",
                                 sinter_dtype_infos[dtype].name);
    double start = sinter_eval_float(eval, normal ? "mean" : "low");
    double scale =
        normal ? sinter_eval_float(eval, "scale") : sinter_eval_float(eval, "high") - start;
    sinter_tensor *output = sinter_eval_create(eval, 0, dtype, rank, dims);
    if (!output) return false;
    for (int64_t i = 0; i < sinter_tensor_count(output); i++) {
        double drawn = normal ? sinter_random_normal(key, (uint64_t)i)
                              : sinter_random_uniform(key, (uint64_t)i, dtype == SINTER_DTYPE_f64);
        sinter_tensor_set_double(output, i, start + scale * drawn);
    }
    return true;
}

bool eval_random(sinter_eval *eval) {
    uint64_t key = sinter_random_key(eval->module, eval->node);
    sinter_op op = eval->info->op;
    if (op == SINTER_OP_bernoulli) return draw_bernoulli(eval, key);
    if (op == SINTER_OP_multinomial) return draw_multinomial(eval, key);
    return draw_numbers(eval, key,
                        op == SINTER_OP_random_normal || op == SINTER_OP_random_normal_like);
}

bool eval_dropout(sinter_eval *eval) {
    const sinter_tensor *data = eval->operands[0];
    double ratio = 0.5;
    int64_t training = 0;
    if (sinter_eval_operand(eval, 1) && !sinter_eval_float_scalar(eval, 1, &ratio)) return false;
    if (sinter_eval_operand(eval, 2) && !sinter_eval_int_scalar(eval, 2, &training)) return false;
    if (training && !(ratio >= 0 && ratio < 1))
        return sinter_eval_error(eval, "the ratio is %g, expected 0 or more and below 1", ratio);
    bool drops = training && ratio > 0;
    sinter_tensor *mask = NULL;
    if (sinter_eval_wants(eval, 1) &&
        !(mask = sinter_eval_create(eval, 1, SINTER_DTYPE_bool, data->rank, data->dims)))
        return false;
    if (!drops && !sinter_eval_share(eval, 0, data, data->rank, data->dims)) return false;
    sinter_tensor *output = drops ? sinter_eval_create_like(eval, 0, data) : NULL;
    if (drops && !output) return false;
    sinter_twister *twister = SINTER_NEW(eval->scratch, sinter_twister);
    sinter_twister_init(twister, (uint32_t)sinter_random_key(eval->module, eval->node));
    for (int64_t i = 0; i < sinter_tensor_count(data); i++) {
        bool kept = !drops || sinter_twister_uniform(twister) >= ratio;
        if (mask) sinter_tensor_set_int(mask, i, kept);
        if (drops)
            sinter_tensor_set_double(output, i,
                                     kept ? sinter_tensor_get_double(data, i) / (1 - ratio) : 0);
    }
    return true;
}
