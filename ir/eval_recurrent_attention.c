/* Evaluator rules of what surrounds attention in language models: rotary_embedding,
 * linear_attention (a recurrent state in place of a cache) and causal_conv_with_state. States and
 * sums are kept in double. Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- rotary embedding ---- */

/* Row of the caches for each (batch, position), as given or by position_ids. */
static bool cache_rows(sinter_eval *eval, int64_t batch, int64_t length, int64_t half,
                       int64_t **out_rows) {
    const sinter_tensor *ids = sinter_eval_operand(eval, 3);
    int64_t ids_dims[2] = {batch, length}, cache3[3] = {batch, length, half};
    int64_t *rows = SINTER_NEW_ARRAY(eval->scratch, int64_t, batch * length + 1);
    *out_rows = rows;
    if (!ids) {
        for (int64_t i = 0; i < batch * length; i++) rows[i] = i;
        return sinter_eval_expect_dims(eval, 1, 3, cache3) &&
               sinter_eval_expect_dims(eval, 2, 3, cache3);
    }
    if (!sinter_eval_expect_dims(eval, 3, 2, ids_dims) || !sinter_eval_expect_rank(eval, 1, 2, 2))
        return false;
    int64_t cache2[2] = {eval->operands[1]->dims[0], half};
    if (!sinter_eval_expect_dims(eval, 1, 2, cache2) ||
        !sinter_eval_expect_dims(eval, 2, 2, cache2))
        return false;
    for (int64_t i = 0; i < batch * length; i++)
        if (!sinter_eval_index(eval, sinter_tensor_get_int(ids, i), cache2[0], &rows[i]))
            return false;
    return true;
}

bool eval_rotary_embedding(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 3, 4)) return false;
    const sinter_tensor *x = eval->operands[0];
    bool packed = x->rank == 3;
    int64_t batch = x->dims[0], length = x->dims[packed ? 1 : 2];
    int64_t count = packed ? sinter_eval_int(eval, "num_heads") : x->dims[1];
    if (packed && (count < 1 || x->dims[2] % count != 0))
        return sinter_eval_error(eval, "%s does not make %" PRId64 " heads",
                                 sinter_eval_describe(eval, x), count);
    int64_t size = packed ? x->dims[2] / count : x->dims[3];
    int64_t rotated = sinter_eval_int(eval, "rotary_embedding_dim");
    if (rotated == 0) rotated = size;
    if (rotated < 0 || rotated > size || rotated % 2 != 0)
        return sinter_eval_error(eval, "can't rotate %" PRId64 " of %" PRId64 " elements", rotated,
                                 size);
    int64_t half = rotated / 2, *rows;
    if (!cache_rows(eval, batch, length, half, &rows)) return false;
    bool interleaved = sinter_eval_int(eval, "interleaved") != 0;
    double *items = sinter_eval_doubles(eval, x);
    const double *cosines = sinter_eval_doubles(eval, eval->operands[1]);
    const double *sines = sinter_eval_doubles(eval, eval->operands[2]);
    for (int64_t n = 0; n < batch * count * length; n++) {
        /* n counts heads in the order of memory */
        int64_t b = n / count / length, s = packed ? n / count % length : n % length;
        double *head = items + n * size;
        for (int64_t i = 0; i < half; i++) {
            double c = cosines[rows[b * length + s] * half + i];
            double z = sines[rows[b * length + s] * half + i];
            double *first = head + (interleaved ? 2 * i : i);
            double *second = head + (interleaved ? 2 * i + 1 : half + i);
            double real = c * *first - z * *second, imaginary = z * *first + c * *second;
            *first = real;
            *second = imaginary;
        }
    }
    sinter_tensor *y = sinter_eval_create_like(eval, 0, x);
    if (y) sinter_eval_store_doubles(y, items);
    return y != NULL;
}

/* ---- linear attention ---- */

typedef struct linear {
    int64_t batch, length, q_heads, heads, key_size, value_size;
    int64_t decay_size; /* numbers a head: 1 or key_size */
    int64_t beta_heads; /* 1 or heads */
    bool gated, delta;
    double scale;
    const double *query, *key, *value, *decay, *beta;
    double *state; /* [batch, heads, key_size, value_size] */
} linear;

static void read_update_rule(sinter_eval *eval, linear *l) {
    sinter_string rule = sinter_eval_string(eval, "update_rule");
    l->gated = sinter_string_is(rule, "gated") || sinter_string_is(rule, "gated_delta");
    l->delta = sinter_string_is(rule, "delta") || sinter_string_is(rule, "gated_delta");
}

static bool read_linear(sinter_eval *eval, linear *l) {
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_eval_expect_rank(eval, i, 3, 3)) return false;
    const sinter_tensor *q = eval->operands[0], *v = eval->operands[2];
    l->batch = q->dims[0];
    l->length = q->dims[1];
    l->q_heads = sinter_eval_int(eval, "q_num_heads");
    l->heads = sinter_eval_int(eval, "kv_num_heads");
    if (l->heads < 1 || l->q_heads < 1 || l->q_heads % l->heads != 0 ||
        q->dims[2] % l->q_heads != 0 || v->dims[2] % l->heads != 0)
        return sinter_eval_error(
            eval, "%" PRId64 " query and %" PRId64 " key heads do not fit %s and %s", l->q_heads,
            l->heads, sinter_eval_describe(eval, q), sinter_eval_describe(eval, v));
    l->key_size = q->dims[2] / l->q_heads;
    l->value_size = v->dims[2] / l->heads;
    int64_t key[3] = {l->batch, l->length, l->heads * l->key_size};
    int64_t value[3] = {l->batch, l->length, l->heads * l->value_size};
    int64_t state[4] = {l->batch, l->heads, l->key_size, l->value_size};
    if (!sinter_eval_expect_dims(eval, 1, 3, key) || !sinter_eval_expect_dims(eval, 2, 3, value) ||
        !sinter_eval_expect_dims(eval, 3, 4, state))
        return false;
    read_update_rule(eval, l);
    if (l->gated) {
        if (!sinter_eval_expect_rank(eval, 4, 3, 3)) return false;
        int64_t width = eval->operands[4]->dims[2];
        l->decay_size = width == l->heads ? 1 : l->key_size;
        int64_t decay[3] = {l->batch, l->length, l->heads * l->decay_size};
        if (!sinter_eval_expect_dims(eval, 4, 3, decay)) return false;
    }
    if (l->delta) {
        if (!sinter_eval_expect_rank(eval, 5, 3, 3)) return false;
        l->beta_heads = eval->operands[5]->dims[2] == 1 ? 1 : l->heads;
        int64_t beta[3] = {l->batch, l->length, l->beta_heads};
        if (!sinter_eval_expect_dims(eval, 5, 3, beta)) return false;
    }
    return true;
}

/* One token of one head: state = decay * state + k (v or its correction)^T. */
static void update_state(const linear *l, double *state, const double *key, const double *value,
                         const double *decay, double beta, double *written) {
    int64_t rows = l->key_size, columns = l->value_size;
    for (int64_t r = 0; l->gated && r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            state[r * columns + c] *= exp(decay[l->decay_size == 1 ? 0 : r]);
    for (int64_t c = 0; c < columns; c++) {
        double retrieved = 0;
        for (int64_t r = 0; r < rows; r++) retrieved += state[r * columns + c] * key[r];
        written[c] = l->delta ? beta * (value[c] - retrieved) : value[c];
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < columns; c++) state[r * columns + c] += key[r] * written[c];
}

static void run_linear(sinter_eval *eval, const linear *l, double *output) {
    double *written = SINTER_NEW_ARRAY(eval->scratch, double, l->value_size + 1);
    int64_t group = l->q_heads / l->heads, width = l->value_size;
    for (int64_t b = 0; b < l->batch; b++) {
        for (int64_t t = 0; t < l->length; t++) {
            int64_t token = b * l->length + t;
            for (int64_t h = 0; h < l->heads; h++) {
                int64_t head = token * l->heads + h;
                double beta =
                    !l->delta ? 1 : l->beta[token * l->beta_heads + (l->beta_heads == 1 ? 0 : h)];
                update_state(l, l->state + (b * l->heads + h) * l->key_size * width,
                             l->key + head * l->key_size, l->value + head * width,
                             l->gated ? l->decay + head * l->decay_size : NULL, beta, written);
            }
            for (int64_t i = 0; i < l->q_heads * width; i++) {
                int64_t h = i / width;
                const double *query = l->query + (token * l->q_heads + h) * l->key_size;
                const double *state = l->state + (b * l->heads + h / group) * l->key_size * width;
                double sum = 0;
                for (int64_t r = 0; r < l->key_size; r++)
                    sum += query[r] * state[r * width + i % width];
                output[token * l->q_heads * width + i] = l->scale * sum;
            }
        }
    }
}

bool eval_linear_attention(sinter_eval *eval) {
    linear l = {0};
    if (!read_linear(eval, &l)) return false;
    const sinter_tensor *past = sinter_eval_operand(eval, 3);
    int64_t out_dims[3] = {l.batch, l.length, l.q_heads * l.value_size};
    int64_t state_dims[4] = {l.batch, l.heads, l.key_size, l.value_size}, state_count;
    sinter_dtype dtype = eval->operands[0]->dtype;
    sinter_tensor *output = sinter_eval_create(eval, 0, dtype, 3, out_dims);
    sinter_tensor *present = sinter_eval_create(eval, 1, past ? past->dtype : dtype, 4, state_dims);
    if (!output || !present) return false;
    l.scale = sinter_eval_float(eval, "scale");
    if (l.scale == 0) l.scale = 1 / sqrt((double)l.key_size);
    l.query = sinter_eval_doubles(eval, eval->operands[0]);
    l.key = sinter_eval_doubles(eval, eval->operands[1]);
    l.value = sinter_eval_doubles(eval, eval->operands[2]);
    if (l.gated) l.decay = sinter_eval_doubles(eval, eval->operands[4]);
    if (l.delta) l.beta = sinter_eval_doubles(eval, eval->operands[5]);
    sinter_eval_product(state_dims, 4, &state_count);
    l.state = past ? sinter_eval_doubles(eval, past)
                   : SINTER_NEW_ARRAY(eval->scratch, double, state_count + 1);
    double *items = SINTER_NEW_ARRAY(eval->scratch, double, sinter_tensor_count(output) + 1);
    run_linear(eval, &l, items);
    sinter_eval_store_doubles(output, items);
    sinter_eval_store_doubles(present, l.state);
    return true;
}

/* ---- causal convolution ---- */

bool eval_causal_conv_with_state(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 3, 3) || !sinter_eval_expect_rank(eval, 1, 3, 3))
        return false;
    const sinter_tensor *input = eval->operands[0], *past = sinter_eval_operand(eval, 3);
    const sinter_tensor *bias = sinter_eval_operand(eval, 2);
    int64_t batch = input->dims[0], channels = input->dims[1], length = input->dims[2];
    int64_t width = eval->operands[1]->dims[2], before = width - 1;
    int64_t weight_dims[3] = {channels, 1, width}, state_dims[3] = {batch, channels, before};
    if (width < 1) return sinter_eval_error(eval, "the kernel is empty");
    if (!sinter_eval_expect_dims(eval, 1, 3, weight_dims) ||
        !sinter_eval_expect_dims(eval, 2, 1, &channels) ||
        !sinter_eval_expect_dims(eval, 3, 3, state_dims))
        return false;
    bool silu = sinter_eval_string_is(eval, "activation", "silu") ||
                sinter_eval_string_is(eval, "activation", "swish");
    if (!silu && !sinter_eval_string_is(eval, "activation", "none"))
        return sinter_eval_error(eval, "unknown activation '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "activation")));
    sinter_tensor *output = sinter_eval_create_like(eval, 0, input);
    sinter_tensor *present = sinter_eval_create(eval, 1, input->dtype, 3, state_dims);
    if (!output || !present) return false;
    const double *x = sinter_eval_doubles(eval, input);
    const double *weight = sinter_eval_doubles(eval, eval->operands[1]);
    const double *state = past ? sinter_eval_doubles(eval, past) : NULL;
    double *line = SINTER_NEW_ARRAY(eval->scratch, double, length + width);
    for (int64_t n = 0; n < batch * channels; n++) {
        for (int64_t i = 0; i < before; i++) line[i] = state ? state[n * before + i] : 0;
        for (int64_t i = 0; i < length; i++) line[before + i] = x[n * length + i];
        for (int64_t i = 0; i < length; i++) {
            double sum = bias ? sinter_tensor_get_double(bias, n % channels) : 0;
            for (int64_t j = 0; j < width; j++)
                sum += line[i + j] * weight[n % channels * width + j];
            sum = sinter_eval_round(input->dtype, sum);
            sinter_tensor_set_double(output, n * length + i, silu ? sum / (1 + exp(-sum)) : sum);
        }
        for (int64_t i = 0; i < before; i++)
            sinter_tensor_set_double(present, n * before + i, line[length + i]);
    }
    return true;
}
