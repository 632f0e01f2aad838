/* Rounds of Gauss-Newton over two layers. A change is a vector: the first layer's weights and biases, output by output, then the
 * second's. Test: tests/unit/solve_pair_test.c */
#include "passes/solve_pair.h"

#include <math.h>
#include <string.h>

enum {
    ROWS_OF_STEP = 8,  /* rows for each step of a reduction that the preconditioner is taken from */
    BATCH_ROWS = 4096, /* that are summed up in f32 */
    BAND =
        128 /* positions whose columns are made at once, and stay in a cache until they have been used */
};

const sinter_pair_options sinter_pair_defaults = {
    .damping = 1e-3, .rounds = 2, .steps = 3, .curve_rows = 1 << 14};

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
    float
        *columns[2]; /* what the layers read at a band of positions: [steps and bias, positions] */
    float *back, *yields; /* of a band: of what the second reads, and of outputs */
    float *rows;          /* some of what a layer reads, turned */
    float *change,
        *taken;     /* of what is between the layers: a move of it, and what comes back to it */
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

/* Lines of positions along the outermost dim, one after the other. */
typedef struct band {
    sinter_patches patches;
    int64_t first, count; /* positions */
} band;

static int64_t line_size(const sinter_patches *p) {
    return count_elements(p, p->out) / p->out[0];
}

static int64_t band_lines(const sinter_patches *p) {
    int64_t lines = BAND / line_size(p);
    return lines ? lines : 1;
}

static int64_t band_size(const sinter_patches *p) {
    return band_lines(p) * line_size(p);
}

/* The band after this one, or the first one of {0}; false where there is none. */
static bool next_band(const sinter_patches *p, band *b) {
    int64_t line = line_size(p), first = (b->first + b->count) / line;
    int64_t lines = p->out[0] - first, most = band_lines(p);
    if (lines <= 0) return false;
    lines = lines < most ? lines : most;
    *b = (band){.patches = *p, .first = first * line, .count = lines * line};
    b->patches.before[0] -= first * p->stride[0];
    b->patches.out[0] = lines;
    return true;
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
    int64_t middle = 0, outputs = 0, wide[2] = {0, 0};
    for (size_t s = 0; s < pair->sample_count; s++) {
        const sinter_pair_sample *sample = &pair->samples[s];
        int64_t m = middle_size(sample), o = output_size(sample);
        middle = m > middle ? m : middle;
        outputs = o > outputs ? o : outputs;
        w->between[s] = SINTER_NEW_ARRAY(arena, float, m * pair->first.outputs);
        w->errors[s] = SINTER_NEW_ARRAY(arena, float, o * pair->second.outputs);
        for (int l = 0; l < 2; l++) {
            int64_t positions = band_size(l ? &sample->second : &sample->first);
            wide[l] = positions > wide[l] ? positions : wide[l];
        }
    }
    int64_t most = middle * w->parts[0].columns, other = outputs * w->parts[1].columns;
    for (int l = 0; l < 2; l++)
        w->columns[l] = SINTER_NEW_ARRAY(arena, float, wide[l] * w->parts[l].columns);
    w->rows = SINTER_NEW_ARRAY(arena, float, most > other ? most : other);
    w->back = SINTER_NEW_ARRAY(arena, float, wide[1] * pair->second.inputs);
    w->yields = SINTER_NEW_ARRAY(arena, float, wide[1] * pair->second.outputs);
    w->change = SINTER_NEW_ARRAY(arena, float, middle * pair->first.outputs);
    w->taken = SINTER_NEW_ARRAY(arena, float, middle * pair->first.outputs);
    pack(w, w->weights);
}

/* ---- one sample ---- */

/* What a layer reads at a band, and a line of ones that biases are multiplied by. */
static void spread(const pair_part *part, const band *b, const float *channels,
                   float *out_columns) {
    sinter_patches_spread(&b->patches, channels, out_columns);
    float *ones = out_columns + part->inputs * b->count;
    for (int64_t r = 0; r < b->count; r++) ones[r] = 1;
}

/* out[outputs, positions of the band], lines `stride` apart, = weights times columns, or added to what is there; without biases where
 * there is no line for them. */
static void multiply(const pair_part *part, const float *weights, const float *columns,
                     const band *b, bool has_bias, bool adds, float *out, int64_t stride) {
    sinter_blas_product_f32(part->outputs, b->count, has_bias ? part->columns : part->inputs, 1,
                            (sinter_blas_operand){weights, part->columns, false},
                            (sinter_blas_operand){columns, b->count, false}, adds ? 1 : 0, out,
                            stride);
}

/* sums += outer[outputs, positions of the band] columns^T: within a batch of samples in f32. */
static void add_gradient(const pair_part *part, const float *outer, int64_t stride,
                         const float *columns, const band *b, float *sums) {
    sinter_blas_product_f32(part->outputs, part->columns, b->count, 1,
                            (sinter_blas_operand){outer, stride, false},
                            (sinter_blas_operand){columns, b->count, true}, 1, sums, part->columns);
}

/* w->sums and w->taken += the way back of a band of the outputs (w->yields); w->columns are what the second layer reads there. */
static void go_back(pair_work *w, const band *b) {
    const pair_part *second = &w->parts[1];
    sinter_blas_product_f32(second->inputs, b->count, second->outputs, 1,
                            (sinter_blas_operand){w->weights + w->split, second->columns, true},
                            (sinter_blas_operand){w->yields, b->count, false}, 0, w->back,
                            b->count);
    sinter_patches_collect(&b->patches, w->back, w->taken);
    add_gradient(second, w->yields, b->count, w->columns[1], b, w->sums + w->split);
}

static bool is_free(const sinter_pair *pair, float between) {
    return between > pair->low && between < pair->high;
}

/* Where what is between the layers was cut, a change of it changes nothing. */
static void drop_cut(const pair_work *w, size_t index, float *change) {
    const float *between = w->between[index];
    float low = w->pair->low, high = w->pair->high;
    int64_t count = middle_size(&w->pair->samples[index]) * w->parts[0].outputs;
    for (int64_t i = 0; i < count; i++) {
        int free = (between[i] > low) & (between[i] < high);
        change[i] = free ? change[i] : 0;
    }
}

static void start_back(pair_work *w, size_t index) {
    int64_t middle = middle_size(&w->pair->samples[index]);
    memset(w->taken, 0, sizeof *w->taken * (size_t)(middle * w->parts[0].outputs));
}

/* w->sums += the way back of what has come to the first layer's outputs. */
static void end_back(pair_work *w, size_t index) {
    const sinter_pair_sample *s = &w->pair->samples[index];
    int64_t middle = middle_size(s);
    drop_cut(w, index, w->taken);
    for (band b = {0}; next_band(&s->first, &b);) {
        spread(&w->parts[0], &b, s->input, w->columns[0]);
        add_gradient(&w->parts[0], w->taken + b.first, middle, w->columns[0], &b, w->sums);
    }
    w->summed += middle;
}

static float cut(float value, float low, float high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

static bool has_nan(const float *values, int64_t count) {
    int32_t found = 0; /* as wide as a float, so that both fill vectors alike */
    for (int64_t i = 0; i < count; i++) found |= isnan(values[i]) ? 1 : 0;
    return found != 0;
}

/* Several sums side by side: one alone waits for each addition. */
static double sum_of_squares(const float *values, int64_t count) {
    enum { SUMS = 8 };
    double sums[SUMS] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + SUMS <= count; i += SUMS)
        for (int k = 0; k < SUMS; k++) sums[k] += (double)values[i + k] * (double)values[i + k];
    for (; i < count; i++) sum += (double)values[i] * (double)values[i];
    for (int k = 0; k < SUMS; k++) sum += sums[k];
    return sum;
}

/* What is between the layers, with the weights as they are. */
static void run_first(pair_work *w, size_t index) {
    const sinter_pair_sample *s = &w->pair->samples[index];
    float *between = w->between[index], low = w->pair->low, high = w->pair->high;
    int64_t middle = middle_size(s), size = middle * w->parts[0].outputs;
    for (band b = {0}; next_band(&s->first, &b);) {
        spread(&w->parts[0], &b, s->input, w->columns[0]);
        multiply(&w->parts[0], w->weights, w->columns[0], &b, true, false, between + b.first,
                 middle);
    }
    for (int64_t i = 0; i < size; i++) between[i] = cut(between[i], low, high);
}

/* The errors of a band of outputs, of what they yield (w->yields), which becomes 0 where that does not matter and else the error; the
 * sum of their squares. */
static double take_errors(pair_work *w, size_t index, const band *b) {
    const sinter_pair *pair = w->pair;
    const sinter_pair_sample *s = &pair->samples[index];
    int64_t count = output_size(s);
    float low = pair->target_low, high = pair->target_high;
    double sum = 0;
    for (int64_t o = 0; o < pair->second.outputs; o++) {
        int64_t at = o * count + b->first;
        const float *targets = s->targets + at, *offsets = s->offsets ? s->offsets + at : NULL;
        float *yields = w->yields + o * b->count, *errors = w->errors[index] + at;
        for (int64_t i = 0; offsets && i < b->count; i++) yields[i] += offsets[i];
        for (int64_t i = 0; i < b->count; i++) {
            float target = cut(targets[i], low, high);
            int below = (target == low) & (yields[i] <= target);
            int above = (target == high) & (yields[i] >= target);
            float error = yields[i] - target;
            errors[i] = below | above ? NAN : error;
            yields[i] = below | above ? 0 : error;
        }
        sum += sum_of_squares(yields, b->count);
        if (has_nan(targets, b->count)) sum = NAN;
    }
    return sum;
}

/* The squared error of a sample with the weights as they are; w->sums += its gradient where that is wanted. */
static double run_sample(pair_work *w, size_t index, bool with_gradient) {
    const sinter_pair_sample *s = &w->pair->samples[index];
    const float *between = w->between[index];
    run_first(w, index);
    double sum = has_nan(between, middle_size(s) * w->parts[0].outputs) ? NAN : 0;
    if (with_gradient) start_back(w, index);
    for (band b = {0}; next_band(&s->second, &b);) {
        spread(&w->parts[1], &b, between, w->columns[1]);
        multiply(&w->parts[1], w->weights + w->split, w->columns[1], &b, true, false, w->yields,
                 b.count);
        sum += take_errors(w, index, &b);
        if (with_gradient) go_back(w, &b);
    }
    if (with_gradient) end_back(w, index);
    return sum;
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
        error += run_sample(w, s, gradient != NULL);
        if (gradient) end_batch(w, false, gradient);
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
    for (band b = {0}; next_band(&sample->first, &b);) {
        spread(first, &b, sample->input, w->columns[0]);
        multiply(first, w->move, w->columns[0], &b, true, false, w->change + b.first, middle);
    }
    drop_cut(w, index, w->change);
    start_back(w, index);
    for (band b = {0}; next_band(&sample->second, &b);) {
        sinter_patches_spread(&b.patches, w->change, w->back);
        spread(second, &b, w->between[index], w->columns[1]);
        multiply(second, w->move + w->split, w->columns[1], &b, true, false, w->yields, b.count);
        multiply(second, w->weights + w->split, w->back, &b, false, true, w->yields, b.count);
        for (int64_t o = 0; o < second->outputs; o++) {
            const float *errors = w->errors[index] + o * count + b.first;
            float *yields = w->yields + o * b.count;
            for (int64_t i = 0; i < b.count; i++) yields[i] = isnan(errors[i]) ? 0 : yields[i];
        }
        go_back(w, &b);
    }
    end_back(w, index);
}

/* How far apart the samples are that curvature is taken from. */
static size_t curve_step(const pair_work *w) {
    int64_t rows = 0;
    if (w->options->curve_rows <= 0) return 1;
    for (size_t s = 0; s < w->pair->sample_count; s++) rows += middle_size(&w->pair->samples[s]);
    size_t step = (size_t)((rows + w->options->curve_rows - 1) / w->options->curve_rows);
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
