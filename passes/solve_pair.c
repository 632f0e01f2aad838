/* Rounds of Gauss-Newton over two layers. A change is a vector: the first layer's weights and biases, output by output, then the
 * second's. Test: tests/unit/solve_pair_test.c */
#include "passes/solve_pair.h"

#include <math.h>
#include <string.h>

enum {
    ROWS_OF_STEP = 8, /* rows for each step of a reduction that the preconditioner is taken from */
    BATCH_ROWS = 4096 /* that are summed up in f32 */
};

const sinter_pair_options sinter_pair_defaults = {
    .damping = 1e-3, .rounds = 2, .steps = 5, .curve_rows = 1 << 16};

typedef struct pair_part {
    int64_t outputs, inputs, columns; /* columns: inputs and the bias */
    double *curvature;                /* [columns, columns]: inverse of what is read, by itself */
    double scale;                     /* of the damping */
} pair_part;

typedef struct pair_work {
    const sinter_pair *pair;
    const sinter_pair_options *options;
    pair_part parts[2];
    int64_t size, split;   /* of a change; where the second layer's begins */
    float *weights, *move; /* [size]: those that are, and a change of them */
    double *outer;         /* [outputs of the first]^2: inverse of what the second makes of them */
    float **between;       /* by sample: what the second reads */
    float **errors;        /* by sample: of the outputs, NaN where it does not matter */
    float *columns[2], *back; /* what the layers read: [steps, positions]; the way back */
    float *rows;              /* some of it, turned */
    float *change, *yields;
    float *sums;    /* [size]: of a batch of samples .. */
    int64_t summed; /* .. with so many rows between the layers */
    sinter_arena arena;
} pair_work;

/* ---- sizes ---- */

static int64_t count_elements(const sinter_patches *p, const int64_t *sizes) {
    int64_t count = 1;
    for (uint32_t d = 0; d < p->dims; d++) count *= sizes[d];
    return count;
}

static int64_t middle_size(const sinter_pair_sample *s) {
    return count_elements(&s->first, s->first.out);
}

static int64_t output_size(const sinter_pair_sample *s) {
    return count_elements(&s->second, s->second.out);
}

static pair_part describe(const sinter_pair_layer *layer) {
    return (pair_part){
        .outputs = layer->outputs, .inputs = layer->inputs, .columns = layer->inputs + 1};
}

/* Weights and biases as a vector, and back. */
static void pack(const pair_work *w, float *out) {
    const sinter_pair_layer *layers[2] = {&w->pair->first, &w->pair->second};
    for (int l = 0; l < 2; l++)
        for (int64_t o = 0; o < layers[l]->outputs; o++, out += layers[l]->inputs + 1) {
            memcpy(out, layers[l]->weights + o * layers[l]->inputs,
                   sizeof *out * (size_t)layers[l]->inputs);
            out[layers[l]->inputs] = layers[l]->bias[o];
        }
}

static void unpack(const pair_work *w, const float *from) {
    const sinter_pair_layer *layers[2] = {&w->pair->first, &w->pair->second};
    for (int l = 0; l < 2; l++)
        for (int64_t o = 0; o < layers[l]->outputs; o++, from += layers[l]->inputs + 1) {
            memcpy(layers[l]->weights + o * layers[l]->inputs, from,
                   sizeof *from * (size_t)layers[l]->inputs);
            layers[l]->bias[o] = from[layers[l]->inputs];
        }
}

static void init_work(pair_work *w, const sinter_pair *pair, const sinter_pair_options *options) {
    *w = (pair_work){.pair = pair, .options = options};
    sinter_arena *arena = &w->arena;
    sinter_arena_init(arena);
    w->parts[0] = describe(&pair->first);
    w->parts[1] = describe(&pair->second);
    w->split = w->parts[0].outputs * w->parts[0].columns;
    w->size = w->split + w->parts[1].outputs * w->parts[1].columns;
    w->weights = SINTER_NEW_ARRAY(arena, float, w->size);
    w->move = SINTER_NEW_ARRAY(arena, float, w->size);
    w->sums = SINTER_NEW_ARRAY(arena, float, w->size);
    w->between = SINTER_NEW_ARRAY(arena, float *, pair->sample_count + 1);
    w->errors = SINTER_NEW_ARRAY(arena, float *, pair->sample_count + 1);
    int64_t middle = 0, outputs = 0;
    for (size_t s = 0; s < pair->sample_count; s++) {
        int64_t m = middle_size(&pair->samples[s]), o = output_size(&pair->samples[s]);
        middle = m > middle ? m : middle;
        outputs = o > outputs ? o : outputs;
        w->between[s] = SINTER_NEW_ARRAY(arena, float, m * pair->first.outputs);
        w->errors[s] = SINTER_NEW_ARRAY(arena, float, o * pair->second.outputs);
    }
    int64_t most = middle * w->parts[0].columns, other = outputs * w->parts[1].columns;
    w->columns[0] = SINTER_NEW_ARRAY(arena, float, most);
    w->columns[1] = SINTER_NEW_ARRAY(arena, float, other);
    w->rows = SINTER_NEW_ARRAY(arena, float, most > other ? most : other);
    w->back = SINTER_NEW_ARRAY(arena, float, outputs * pair->second.inputs);
    w->change = SINTER_NEW_ARRAY(arena, float, middle * pair->first.outputs);
    w->yields = SINTER_NEW_ARRAY(arena, float, outputs * pair->second.outputs);
    pack(w, w->weights);
}

/* ---- one sample ---- */

/* What a layer reads, and a line of ones that biases are multiplied by: [steps and bias, count]. */
static void spread(const pair_part *part, const sinter_patches *p, const float *channels,
                   int64_t count, float *out_columns) {
    sinter_patches_spread(p, channels, out_columns);
    float *ones = out_columns + part->inputs * count;
    for (int64_t r = 0; r < count; r++) ones[r] = 1;
}

/* out[outputs, count] = weights times columns, or added to what is there; without biases where there is no line for them. */
static void multiply(const pair_part *part, const float *weights, const float *columns,
                     int64_t count, bool has_bias, bool adds, float *out) {
    sinter_blas_product_f32(part->outputs, count, has_bias ? part->columns : part->inputs, 1,
                            (sinter_blas_operand){weights, part->columns, false},
                            (sinter_blas_operand){columns, count, false}, adds ? 1 : 0, out, count);
}

static float cut(float value, float low, float high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

/* What is between the layers, and the error of the outputs, with the weights as they are. */
static double run_sample(pair_work *w, size_t index) {
    const sinter_pair *pair = w->pair;
    const sinter_pair_sample *s = &pair->samples[index];
    int64_t middle = middle_size(s), count = output_size(s), outputs = pair->second.outputs;
    float *between = w->between[index], *errors = w->errors[index];
    double sum = 0;
    spread(&w->parts[0], &s->first, s->input, middle, w->columns[0]);
    multiply(&w->parts[0], w->weights, w->columns[0], middle, true, false, between);
    for (int64_t i = 0; i < middle * pair->first.outputs; i++) {
        if (isnan(between[i])) sum = NAN;
        between[i] = cut(between[i], pair->low, pair->high);
    }
    spread(&w->parts[1], &s->second, between, count, w->columns[1]);
    multiply(&w->parts[1], w->weights + w->split, w->columns[1], count, true, false, errors);
    for (int64_t i = 0; i < count * outputs; i++) {
        float yields = errors[i] + (s->offsets ? s->offsets[i] : 0);
        float target = cut(s->targets[i], pair->target_low, pair->target_high);
        bool free = (target == pair->target_low && yields <= target) ||
                    (target == pair->target_high && yields >= target);
        errors[i] = free ? NAN : yields - target;
        if (isnan(s->targets[i])) sum = NAN;
        if (!free) sum += (double)errors[i] * (double)errors[i];
    }
    return sum;
}

/* sums += outer[outputs, count] columns[steps and bias, count]^T: within a batch of samples in f32. */
static void add_gradient(const pair_part *part, const float *outer, const float *columns,
                         int64_t count, float *sums) {
    sinter_blas_product_f32(part->outputs, part->columns, count, 1,
                            (sinter_blas_operand){outer, count, false},
                            (sinter_blas_operand){columns, count, true}, 1, sums, part->columns);
}

static bool is_free(const sinter_pair *pair, float between) {
    return between > pair->low && between < pair->high;
}

/* Where what is between the layers was cut, a change of it changes nothing. */
static void drop_cut(const pair_work *w, size_t index, float *change) {
    const float *between = w->between[index], low = w->pair->low, high = w->pair->high;
    int64_t count = middle_size(&w->pair->samples[index]) * w->parts[0].outputs;
    for (int64_t i = 0; i < count; i++) {
        bool free = between[i] > low && between[i] < high;
        change[i] = free ? change[i] : 0;
    }
}

/* w->sums += the way back of outputs (w->yields) to both layers' weights; w->columns are what they read. */
static void go_back(pair_work *w, size_t index) {
    const sinter_pair_sample *s = &w->pair->samples[index];
    const pair_part *first = &w->parts[0], *second = &w->parts[1];
    int64_t middle = middle_size(s), count = output_size(s), n = second->inputs;
    sinter_blas_product_f32(n, count, second->outputs, 1,
                            (sinter_blas_operand){w->weights + w->split, second->columns, true},
                            (sinter_blas_operand){w->yields, count, false}, 0, w->back, count);
    memset(w->change, 0, sizeof *w->change * (size_t)(middle * first->outputs));
    sinter_patches_collect(&s->second, w->back, w->change);
    drop_cut(w, index, w->change);
    add_gradient(first, w->change, w->columns[0], middle, w->sums);
    add_gradient(second, w->yields, w->columns[1], count, w->sums + w->split);
    w->summed += middle;
}

/* What a batch has summed up goes to sums of f64: where it is as large as it may be, or at the end. */
static void end_batch(pair_work *w, bool at_end, double *sums) {
    if (!at_end && w->summed < BATCH_ROWS) return;
    for (int64_t i = 0; i < w->size; i++) sums[i] += (double)w->sums[i];
    memset(w->sums, 0, sizeof *w->sums * (size_t)w->size);
    w->summed = 0;
}

/* ---- all samples ---- */

/* The biases that stay. */
static void hold_biases(const pair_work *w, double *vector) {
    const bool has_bias[2] = {w->pair->first.has_bias, w->pair->second.has_bias};
    for (int l = 0; l < 2; l++) {
        const pair_part *part = &w->parts[l];
        double *of = vector + (l ? w->split : 0);
        for (int64_t o = 0; o < part->outputs && !has_bias[l]; o++)
            of[o * part->columns + part->inputs] = 0;
    }
}

/* The squared error, and half of its gradient where that is wanted. */
static double linearise(pair_work *w, double *gradient) {
    double error = 0;
    if (gradient) memset(gradient, 0, sizeof *gradient * (size_t)w->size);
    for (size_t s = 0; s < w->pair->sample_count; s++) {
        int64_t count = output_size(&w->pair->samples[s]) * w->pair->second.outputs;
        error += run_sample(w, s);
        if (!gradient) continue;
        for (int64_t i = 0; i < count; i++)
            w->yields[i] = isnan(w->errors[s][i]) ? 0 : w->errors[s][i];
        go_back(w, s);
        end_batch(w, false, gradient);
    }
    if (!gradient) return error;
    end_batch(w, true, gradient);
    hold_biases(w, gradient);
    return error;
}

/* w->sums += J^T J move of a sample, of w->move. */
static void curve_sample(pair_work *w, size_t index) {
    const sinter_pair_sample *sample = &w->pair->samples[index];
    const pair_part *first = &w->parts[0], *second = &w->parts[1];
    int64_t middle = middle_size(sample), count = output_size(sample);
    spread(first, &sample->first, sample->input, middle, w->columns[0]);
    multiply(first, w->move, w->columns[0], middle, true, false, w->change);
    drop_cut(w, index, w->change);
    sinter_patches_spread(&sample->second, w->change, w->back);
    spread(second, &sample->second, w->between[index], count, w->columns[1]);
    multiply(second, w->move + w->split, w->columns[1], count, true, false, w->yields);
    multiply(second, w->weights + w->split, w->back, count, false, true, w->yields);
    for (int64_t i = 0; i < count * second->outputs; i++)
        w->yields[i] = isnan(w->errors[index][i]) ? 0 : w->yields[i];
    go_back(w, index);
}

/* How far apart the samples are that curvature is taken from. */
static size_t curve_step(const pair_work *w) {
    int64_t rows = 0;
    if (w->options->curve_rows <= 0) return 1;
    for (size_t s = 0; s < w->pair->sample_count; s++) rows += middle_size(&w->pair->samples[s]);
    size_t step = (size_t)(rows / w->options->curve_rows);
    return step ? step : 1;
}

/* out = J^T J move, of a move of the weights, as some of the samples say, and the damping. */
static void curve(pair_work *w, const double *move, double *out) {
    size_t step = curve_step(w), count = w->pair->sample_count;
    for (int64_t i = 0; i < w->size; i++) w->move[i] = (float)move[i];
    memset(out, 0, sizeof *out * (size_t)w->size);
    for (size_t s = 0; s < count; s += step) {
        curve_sample(w, s);
        end_batch(w, false, out);
    }
    end_batch(w, true, out);
    double share = (double)count / (double)((count + step - 1) / step);
    for (int64_t i = 0; i < w->size; i++)
        out[i] = share * out[i] + w->parts[i >= w->split].scale * move[i];
    hold_biases(w, out);
}

/* ---- curvature ---- */

/* Second moments of what a layer reads and of the bias's one, over all samples: sums[columns, columns] of about as many rows as there are. */
static void sum_rows(pair_work *w, int layer, double *sums) {
    const pair_part *part = &w->parts[layer];
    int64_t n = part->inputs, columns = part->columns, all = 0, taken = 0;
    for (size_t s = 0; s < w->pair->sample_count; s++)
        all += layer ? output_size(&w->pair->samples[s]) : middle_size(&w->pair->samples[s]);
    int64_t step = all / (ROWS_OF_STEP * columns) + 1;
    step += step % 2 ? 0 : 1; /* not in step with lines of an image */
    float *gram = SINTER_NEW_ARRAY(&w->arena, float, n *n);
    for (size_t s = 0; s < w->pair->sample_count; s++) {
        const sinter_pair_sample *sample = &w->pair->samples[s];
        const float *input = layer ? w->between[s] : sample->input;
        float *rows = w->rows;
        int64_t count = sinter_patches_gather(layer ? &sample->second : &sample->first, input,
                                              (int64_t)s % step, step, rows);
        if (!count) continue;
        sinter_blas_gram_f32(n, count, rows, gram);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i; j < n; j++) sums[i * columns + j] += (double)gram[i * n + j];
        for (int64_t r = 0; r < count; r++)
            for (int64_t i = 0; i < n; i++) sums[i * columns + n] += (double)rows[r * n + i];
        taken += count;
    }
    double share = taken ? (double)all / (double)taken : 0;
    sums[n * columns + n] = (double)taken;
    for (int64_t i = 0; i < columns; i++)
        for (int64_t j = i; j < columns; j++)
            sums[i * columns + j] = sums[j * columns + i] = share * sums[i * columns + j];
}

static double mean_of_diagonal(const double *matrix, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += matrix[i * n + i];
    return sum / (double)n;
}

/* The inverse of a matrix that is made a little rounder, in place; the identity where that can't be had. */
static void invert(double *matrix, int64_t n) {
    static const double rounder = 1e-2; /* share of the mean of the diagonal */
    double mean = mean_of_diagonal(matrix, n);
    for (int64_t i = 0; i < n; i++) matrix[i * n + i] += rounder * mean;
    if (mean > 0 && sinter_blas_invert_f64(n, matrix)) return;
    memset(matrix, 0, sizeof *matrix * (size_t)(n * n));
    for (int64_t i = 0; i < n; i++) matrix[i * n + i] = 1;
}

/* How much a squared error grows with each two of the first layer's outputs: by the second's weights, as often as neither is cut. */
static void measure_outer(pair_work *w, double *out) {
    int64_t m = w->parts[0].outputs, n = w->parts[1].inputs, taps = n / m, all = 0;
    float *both = SINTER_NEW_ARRAY(&w->arena, float, m *m);
    memset(both, 0, sizeof *both * (size_t)(m * m));
    for (size_t s = 0; s < w->pair->sample_count; s++) {
        int64_t count = middle_size(&w->pair->samples[s]);
        for (int64_t i = 0; i < count * m; i++)
            w->change[i] = is_free(w->pair, w->between[s][i]) ? 1 : 0;
        sinter_blas_product_f32(m, m, count, 1, (sinter_blas_operand){w->change, count, false},
                                (sinter_blas_operand){w->change, count, true}, 1, both, m);
        all += count;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < m; j++) {
            double sum = 0;
            for (int64_t o = 0; o < w->parts[1].outputs; o++) {
                const float *row = w->weights + w->split + o * w->parts[1].columns;
                for (int64_t t = 0; t < taps; t++)
                    sum += (double)row[i * taps + t] * (double)row[j * taps + t];
            }
            out[i * m + j] = sum * (double)both[i * m + j] / (double)all;
        }
}

static void measure_curvature(pair_work *w) {
    int64_t m = w->parts[0].outputs;
    w->outer = SINTER_NEW_ARRAY(&w->arena, double, m *m);
    measure_outer(w, w->outer);
    double outer = mean_of_diagonal(w->outer, m);
    invert(w->outer, m);
    for (int l = 0; l < 2; l++) {
        pair_part *part = &w->parts[l];
        part->curvature = SINTER_NEW_ARRAY(&w->arena, double, part->columns * part->columns);
        sum_rows(w, l, part->curvature);
        part->scale = w->options->damping * mean_of_diagonal(part->curvature, part->columns) *
                      (l == 0 ? outer : 1);
        invert(part->curvature, part->columns);
    }
}

/* out = about what solves the least squares problem for this side, [size]; room as large. */
static void precondition(const pair_work *w, const double *side, double *room, double *out) {
    const pair_part *first = &w->parts[0], *second = &w->parts[1];
    int64_t m = first->outputs, k = first->columns, n = second->columns;
    sinter_blas_product_f64(m, k, m, 1, (sinter_blas_operand){w->outer, m, false},
                            (sinter_blas_operand){side, k, false}, 0, room, k);
    sinter_blas_product_f64(m, k, k, 1, (sinter_blas_operand){room, k, false},
                            (sinter_blas_operand){first->curvature, k, false}, 0, out, k);
    sinter_blas_product_f64(
        second->outputs, n, n, 1, (sinter_blas_operand){side + w->split, n, false},
        (sinter_blas_operand){second->curvature, n, false}, 0, out + w->split, n);
    hold_biases(w, out);
}

/* ---- rounds ---- */

static double dot(const double *a, const double *b, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += a[i] * b[i];
    return sum;
}

/* The move that brings the linearised error down, from its gradient. */
static void find_move(pair_work *w, const double *gradient, double *out_move) {
    static const double enough = 1e-3; /* of what the residual is at first */
    int64_t size = w->size;
    double *room[4]; /* residual, preconditioned, direction, curved */
    for (int i = 0; i < 4; i++) room[i] = SINTER_NEW_ARRAY(&w->arena, double, size);
    double *r = room[0], *z = room[1], *p = room[2], *q = room[3];
    memset(out_move, 0, sizeof *out_move * (size_t)size);
    for (int64_t i = 0; i < size; i++) r[i] = -gradient[i];
    precondition(w, r, q, z);
    memcpy(p, z, sizeof *p * (size_t)size);
    double left = dot(r, z, size), start = left;
    for (int step = 0; step < w->options->steps && left > enough * start; step++) {
        curve(w, p, q);
        double curvature = dot(p, q, size);
        if (!(curvature > 0)) return;
        double length = left / curvature;
        for (int64_t i = 0; i < size; i++) {
            out_move[i] += length * p[i];
            r[i] -= length * q[i];
        }
        precondition(w, r, q, z);
        double now = dot(r, z, size), share = now / left;
        for (int64_t i = 0; i < size; i++) p[i] = z[i] + share * p[i];
        left = now;
    }
}

/* As far along the move as the error gets less; the error there, and its gradient unless that is NULL. False where it doesn't. */
static bool follow(pair_work *w, const double *move, double *error, double *gradient) {
    enum { TRIES = 3 };
    float *before = sinter_arena_copy(&w->arena, w->weights, sizeof *w->weights * (size_t)w->size);
    double share = 1;
    for (int attempt = 0; attempt < TRIES; attempt++, share /= 4) {
        for (int64_t i = 0; i < w->size; i++) w->weights[i] = (float)(before[i] + share * move[i]);
        double now = linearise(w, gradient);
        if (now < *error) { /* not where it is NaN */
            *error = now;
            return true;
        }
    }
    memcpy(w->weights, before, sizeof *w->weights * (size_t)w->size);
    return false;
}

bool sinter_solve_pair(const sinter_pair *pair, const sinter_pair_options *options,
                       double out_errors[2]) {
    pair_work w;
    init_work(&w, pair, options ? options : &sinter_pair_defaults);
    double *gradient = SINTER_NEW_ARRAY(&w.arena, double, w.size);
    double *move = SINTER_NEW_ARRAY(&w.arena, double, w.size);
    double error = linearise(&w, gradient);
    bool finite = isfinite(error);
    out_errors[0] = error;
    for (int round = 0; finite && error > 0 && round < w.options->rounds; round++) {
        if (round == 0) measure_curvature(&w);
        find_move(&w, gradient, move);
        bool is_last = round + 1 == w.options->rounds;
        if (!follow(&w, move, &error, is_last ? NULL : gradient)) break;
    }
    out_errors[1] = error;
    if (finite) unpack(&w, w.weights);
    sinter_arena_deinit(&w.arena);
    return finite;
}
