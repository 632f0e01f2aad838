/* Evaluator rules of the normalizations and global pools. Statistics are taken in double over the
 * elements as stored; variance is that of the population (divided by the count), in two passes.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>

typedef struct moments {
    double mean, variance;
} moments;

static moments find_moments(const double *items, int64_t count) {
    moments m = {0};
    for (int64_t i = 0; i < count; i++) m.mean += items[i];
    m.mean /= (double)count;
    for (int64_t i = 0; i < count; i++) m.variance += (items[i] - m.mean) * (items[i] - m.mean);
    m.variance /= (double)count;
    return m;
}

/* ---- over the last axes ---- */

/* The operand, seen under x's dims (to which it must broadcast), one double for each element of x; NULL where it does
 * not fit. */
static const double *spread(sinter_eval *eval, uint32_t operand) {
    const sinter_tensor *x = eval->operands[0], *tensor = eval->operands[operand];
    int64_t dims[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    uint32_t rank;
    bool fits =
        sinter_eval_broadcast_dims(x->rank, x->dims, tensor->rank, tensor->dims, &rank, dims) &&
        rank == x->rank;
    for (uint32_t i = 0; fits && i < rank; i++) fits = dims[i] == x->dims[i];
    if (!fits) {
        sinter_eval_error(eval, "operand %u is %s, which does not broadcast to %s", operand,
                          sinter_eval_describe(eval, tensor), sinter_eval_describe(eval, x));
        return NULL;
    }
    const double *items = sinter_eval_doubles(eval, tensor);
    int64_t count = sinter_tensor_count(x);
    double *result = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    sinter_eval_broadcast_strides(tensor, rank, strides);
    for (int64_t i = 0; i < count; i++) {
        result[i] = items[sinter_eval_offset(rank, at, strides)];
        sinter_eval_next(rank, x->dims, at);
    }
    return result;
}

/* One row a group of elements over which statistics are taken: rows * width elements. */
typedef struct rows {
    int64_t rows, width;
    int64_t dims[SINTER_MAX_RANK]; /* of x, with 1 for the normalised axes */
} rows;

static bool rows_from_axis(sinter_eval *eval, rows *out_rows) {
    const sinter_tensor *x = eval->operands[0];
    uint32_t axis;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), x->rank, &axis)) return false;
    *out_rows = (rows){.rows = 1, .width = 1};
    for (uint32_t i = 0; i < x->rank; i++) {
        out_rows->dims[i] = i < axis ? x->dims[i] : 1;
        *(i < axis ? &out_rows->rows : &out_rows->width) *= x->dims[i];
    }
    return true;
}

/* A statistic, one number a row, where somebody wants it. */
static bool store_statistic(sinter_eval *eval, uint32_t result, const rows *r,
                            const double *items) {
    if (!sinter_eval_wants(eval, result)) return true;
    sinter_tensor *tensor = sinter_eval_create(eval, result, sinter_eval_dtype(eval, "stash_type"),
                                               eval->operands[0]->rank, r->dims);
    if (tensor) sinter_eval_store_doubles(tensor, items);
    return tensor != NULL;
}

bool eval_layer_normalization(sinter_eval *eval) {
    rows r;
    if (!rows_from_axis(eval, &r)) return false;
    const double *scale = spread(eval, 1);
    const double *bias = scale && sinter_eval_operand(eval, 2) ? spread(eval, 2) : NULL;
    if (!scale || (sinter_eval_operand(eval, 2) && !bias)) return false;
    double epsilon = sinter_eval_float(eval, "epsilon");
    double *x = sinter_eval_doubles(eval, eval->operands[0]);
    double *means = SINTER_NEW_ARRAY(eval->scratch, double, r.rows + 1);
    double *inverses = SINTER_NEW_ARRAY(eval->scratch, double, r.rows + 1);
    for (int64_t row = 0; row < r.rows; row++) {
        moments m = find_moments(x + row * r.width, r.width);
        means[row] = m.mean;
        inverses[row] = 1 / sqrt(m.variance + epsilon);
        for (int64_t i = row * r.width; i < (row + 1) * r.width; i++)
            x[i] = (x[i] - m.mean) * inverses[row] * scale[i] + (bias ? bias[i] : 0);
    }
    sinter_tensor *y = sinter_eval_create_like(eval, 0, eval->operands[0]);
    if (!y) return false;
    sinter_eval_store_doubles(y, x);
    return store_statistic(eval, 1, &r, means) && store_statistic(eval, 2, &r, inverses);
}

bool eval_rms_normalization(sinter_eval *eval) {
    rows r;
    if (!rows_from_axis(eval, &r)) return false;
    const double *scale = spread(eval, 1);
    if (!scale) return false;
    double epsilon = sinter_eval_float(eval, "epsilon");
    double *x = sinter_eval_doubles(eval, eval->operands[0]);
    for (int64_t row = 0; row < r.rows; row++) {
        double squares = 0;
        for (int64_t i = row * r.width; i < (row + 1) * r.width; i++) squares += x[i] * x[i];
        double inverse = 1 / sqrt(squares / (double)r.width + epsilon);
        for (int64_t i = row * r.width; i < (row + 1) * r.width; i++) x[i] *= inverse * scale[i];
    }
    const sinter_tensor *input = eval->operands[0];
    sinter_tensor *y =
        sinter_eval_create(eval, 0, eval->operands[1]->dtype, input->rank, input->dims);
    if (y) sinter_eval_store_doubles(y, x);
    return y != NULL;
}

/* ---- over space, channels apart or in groups ---- */

/* x of N, C, ... and per-channel operands 1 and 2. */
static bool expect_channels(sinter_eval *eval, uint32_t first, uint32_t last) {
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    for (uint32_t i = first; i < last; i++)
        if (!sinter_eval_expect_dims(eval, i, 1, &eval->operands[0]->dims[1])) return false;
    return true;
}

/* Each sample's channels in `groups` equal groups, normalised, then scaled and shifted per channel. */
static bool normalize_groups(sinter_eval *eval, int64_t groups) {
    const sinter_tensor *input = eval->operands[0];
    if (!expect_channels(eval, 1, 3)) return false;
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, 1);
    if (groups < 1 || lanes.count % groups != 0)
        return sinter_eval_error(eval, "%" PRId64 " channels don't make %" PRId64 " groups",
                                 lanes.count, groups);
    double epsilon = sinter_eval_float(eval, "epsilon");
    double *x = sinter_eval_doubles(eval, input);
    const double *scale = sinter_eval_doubles(eval, eval->operands[1]);
    const double *bias = sinter_eval_doubles(eval, eval->operands[2]);
    int64_t width = lanes.count / groups * lanes.inner;
    for (int64_t g = 0; g < lanes.outer * groups; g++) {
        moments m = find_moments(x + g * width, width);
        double inverse = 1 / sqrt(m.variance + epsilon);
        for (int64_t i = g * width; i < (g + 1) * width; i++) {
            int64_t channel = i / lanes.inner % lanes.count;
            x[i] = (x[i] - m.mean) * inverse * scale[channel] + bias[channel];
        }
    }
    sinter_tensor *y = sinter_eval_create_like(eval, 0, input);
    if (y) sinter_eval_store_doubles(y, x);
    return y != NULL;
}

bool eval_group_normalization(sinter_eval *eval) {
    return normalize_groups(eval, sinter_eval_int(eval, "num_groups"));
}

bool eval_instance_normalization(sinter_eval *eval) {
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    int64_t channels = eval->operands[0]->dims[1];
    return normalize_groups(eval, channels ? channels : 1);
}

/* The moments of each channel over samples and space. */
static void find_channel_moments(sinter_eval *eval, sinter_lanes lanes, const double *x,
                                 double *mean, double *variance) {
    double *items = SINTER_NEW_ARRAY(eval->scratch, double, lanes.outer *lanes.inner + 1);
    for (int64_t c = 0; c < lanes.count; c++) {
        int64_t count = 0;
        for (int64_t o = 0; o < lanes.outer; o++)
            for (int64_t i = 0; i < lanes.inner; i++)
                items[count++] = x[(o * lanes.count + c) * lanes.inner + i];
        moments m = find_moments(items, count);
        mean[c] = m.mean;
        variance[c] = m.variance;
    }
}

/* result = given * momentum + batch * (1 - momentum) */
static bool store_running(sinter_eval *eval, uint32_t result, const sinter_tensor *given,
                          const double *batch) {
    if (!sinter_eval_wants(eval, result)) return true;
    double momentum = sinter_eval_float(eval, "momentum");
    sinter_tensor *tensor = sinter_eval_create_like(eval, result, given);
    if (!tensor) return false;
    for (int64_t c = 0; c < given->dims[0]; c++)
        sinter_tensor_set_double(
            tensor, c, sinter_tensor_get_double(given, c) * momentum + batch[c] * (1 - momentum));
    return true;
}

bool eval_batch_normalization(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    if (!expect_channels(eval, 1, 5)) return false;
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, 1);
    double epsilon = sinter_eval_float(eval, "epsilon");
    double *x = sinter_eval_doubles(eval, input);
    const double *scale = sinter_eval_doubles(eval, eval->operands[1]);
    const double *bias = sinter_eval_doubles(eval, eval->operands[2]);
    double *mean = sinter_eval_doubles(eval, eval->operands[3]);
    double *variance = sinter_eval_doubles(eval, eval->operands[4]);
    bool training = sinter_eval_int(eval, "training_mode") != 0;
    if (!training && (sinter_eval_wants(eval, 1) || sinter_eval_wants(eval, 2)))
        return sinter_eval_error(eval, "running statistics are results of training_mode only");
    if (training) find_channel_moments(eval, lanes, x, mean, variance);
    for (int64_t i = 0; i < lanes.outer * lanes.count * lanes.inner; i++) {
        int64_t c = i / lanes.inner % lanes.count;
        x[i] = (x[i] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c];
    }
    sinter_tensor *y = sinter_eval_create_like(eval, 0, input);
    if (!y) return false;
    sinter_eval_store_doubles(y, x);
    return store_running(eval, 1, eval->operands[3], mean) &&
           store_running(eval, 2, eval->operands[4], variance);
}

bool eval_mean_variance_normalization(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    const int64_t *axes;
    size_t axis_count = sinter_eval_ints_attr(eval, "axes", &axes);
    bool marked[SINTER_MAX_RANK];
    int64_t kept[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0}, groups;
    if (!sinter_eval_axes(eval, axes, axis_count, input->rank, marked)) return false;
    for (uint32_t i = 0; i < input->rank; i++) kept[i] = marked[i] ? 1 : input->dims[i];
    sinter_eval_product(kept, input->rank, &groups);
    sinter_eval_strides(input->rank, kept, strides);
    int64_t count = sinter_tensor_count(input);
    double *x = sinter_eval_doubles(eval, input);
    int64_t *group = SINTER_NEW_ARRAY(eval->scratch, int64_t, count + 1);
    moments *m = SINTER_NEW_ARRAY(eval->scratch, moments, groups + 1);
    for (uint32_t i = 0; i < input->rank; i++)
        if (marked[i]) strides[i] = 0;
    for (int64_t i = 0; i < count; i++) {
        group[i] = sinter_eval_offset(input->rank, at, strides);
        sinter_eval_next(input->rank, input->dims, at);
    }
    double width = groups ? (double)(count / groups) : 0;
    for (int64_t i = 0; i < count; i++) m[group[i]].mean += x[i] / width;
    for (int64_t i = 0; i < count; i++) {
        double difference = x[i] - m[group[i]].mean;
        m[group[i]].variance += difference * difference / width;
    }
    /* 1e-9 as in the operator's defining function */
    for (int64_t i = 0; i < count; i++)
        x[i] = (x[i] - m[group[i]].mean) / (sqrt(m[group[i]].variance) + 1e-9);
    sinter_tensor *y = sinter_eval_create_like(eval, 0, input);
    if (y) sinter_eval_store_doubles(y, x);
    return y != NULL;
}

/* ---- norms ---- */

static double p_norm(const double *items, int64_t count, int64_t step, int64_t p) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += pow(fabs(items[i * step]), (double)p);
    return p == 1 ? sum : p == 2 ? sqrt(sum) : pow(sum, 1 / (double)p);
}

bool eval_lp_normalization(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    int64_t p = sinter_eval_int(eval, "p");
    uint32_t axis;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), input->rank, &axis)) return false;
    if (p != 1 && p != 2) return sinter_eval_error(eval, "p = %" PRId64 ", expected 1 or 2", p);
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, axis);
    double *x = sinter_eval_doubles(eval, input);
    for (int64_t n = 0; n < lanes.outer * lanes.inner; n++) {
        double *lane = x + n / lanes.inner * lanes.count * lanes.inner + n % lanes.inner;
        double norm = p_norm(lane, lanes.count, lanes.inner, p);
        for (int64_t k = 0; k < lanes.count; k++)
            lane[k * lanes.inner] = norm == 0 ? 0 : lane[k * lanes.inner] / norm;
    }
    sinter_tensor *y = sinter_eval_create_like(eval, 0, input);
    if (y) sinter_eval_store_doubles(y, x);
    return y != NULL;
}

bool eval_lrn(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    int64_t size = sinter_eval_int(eval, "size");
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    if (size < 1) return sinter_eval_error(eval, "size = %" PRId64 ", expected at least 1", size);
    double alpha = sinter_eval_float(eval, "alpha"), beta = sinter_eval_float(eval, "beta");
    double bias = sinter_eval_float(eval, "bias");
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, 1);
    const double *x = sinter_eval_doubles(eval, input);
    sinter_tensor *y = sinter_eval_create_like(eval, 0, input);
    if (!y) return false;
    for (int64_t i = 0; i < lanes.outer * lanes.count * lanes.inner; i++) {
        int64_t c = i / lanes.inner % lanes.count;
        int64_t before = (size - 1) / 2, after = size / 2;
        int64_t first = c > before ? -before : -c;
        int64_t last = after < lanes.count - 1 - c ? after : lanes.count - 1 - c;
        double squares = 0;
        for (int64_t d = first; d <= last; d++)
            squares += x[i + d * lanes.inner] * x[i + d * lanes.inner];
        sinter_tensor_set_double(y, i, x[i] / pow(bias + alpha / (double)size * squares, beta));
    }
    return true;
}

static double mean_of(const double *items, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += items[i];
    return sum / (double)count;
}

bool eval_global_pool(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    if (!sinter_eval_expect_rank(eval, 0, 2, SINTER_MAX_RANK)) return false;
    int64_t dims[SINTER_MAX_RANK] = {input->dims[0], input->dims[1]},
            p = sinter_eval_int(eval, "p");
    for (uint32_t i = 2; i < input->rank; i++) dims[i] = 1;
    sinter_tensor *y = sinter_eval_create(eval, 0, input->dtype, input->rank, dims);
    if (!y) return false;
    if (eval->info->op == SINTER_OP_global_lp_pool && p < 1)
        return sinter_eval_error(eval, "p = %" PRId64 ", expected at least 1", p);
    const double *x = sinter_eval_doubles(eval, input);
    int64_t count = sinter_tensor_count(y), space = count ? sinter_tensor_count(input) / count : 0;
    for (int64_t i = 0; i < count; i++) {
        const double *items = x + i * space;
        double value = eval->info->op == SINTER_OP_global_average_pool ? mean_of(items, space)
                       : eval->info->op == SINTER_OP_global_max_pool
                           ? sinter_eval_largest(items, space)
                           : p_norm(items, space, 1, p);
        sinter_tensor_set_double(y, i, value);
    }
    return true;
}
