/* Two layers solved together: a pair that was moved away from what it ought to yield finds back, through a relu and through bounds
 * of what it yields; what is told of the error is true; biases that stay, stay. */
#include "passes/solve_pair.h"
#include "tests/unit/test.h"

#include <math.h>
#include <string.h>

enum { CHANNELS = 3, SIDE = 6, MIDDLE = 4, OUTPUTS = 2, SAMPLES = 40, TAPS = 9 };
enum { FIRST = CHANNELS * TAPS, SECOND = MIDDLE * TAPS, HALF = SIDE / 2, MOST = SECOND * MIDDLE };

static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
static uint32_t seed = 1;

static float draw(void) {
    seed = seed * 1664525 + 1013904223;
    return (float)(seed >> 8) / (1 << 23) - 1;
}

static const sinter_patches first_windows = {.dims = 2,
                                             .channels = CHANNELS,
                                             .size = {SIDE, SIDE},
                                             .kernel = {3, 3},
                                             .stride = {1, 1},
                                             .dilation = {1, 1},
                                             .before = {1, 1},
                                             .out = {SIDE, SIDE}};
static const sinter_patches second_windows = {.dims = 2,
                                              .channels = MIDDLE,
                                              .size = {SIDE, SIDE},
                                              .kernel = {3, 3},
                                              .stride = {2, 2},
                                              .dilation = {1, 1},
                                              .before = {1, 1},
                                              .out = {HALF, HALF}};

typedef struct numbers {
    float weights[2][MOST], bias[2][MIDDLE];
} numbers;

static float inputs[SAMPLES][CHANNELS * SIDE * SIDE], offsets[SAMPLES][OUTPUTS * HALF * HALF];
static float targets[SAMPLES][OUTPUTS * HALF * HALF];
static sinter_pair_sample samples[SAMPLES];

/* One layer by loops that say what it is. */
static void run_layer(const sinter_patches *p, int64_t outputs, const float *weights,
                      const float *bias, const float *x, float *out) {
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t y = 0; y < p->out[0]; y++)
            for (int64_t z = 0; z < p->out[1]; z++) {
                double sum = (double)bias[o];
                for (int64_t c = 0; c < p->channels; c++)
                    for (int64_t t = 0; t < TAPS; t++) {
                        int64_t row = y * p->stride[0] + t / 3 - 1,
                                column = z * p->stride[1] + t % 3 - 1;
                        if (row < 0 || row >= SIDE || column < 0 || column >= SIDE) continue;
                        sum += (double)weights[(o * p->channels + c) * TAPS + t] *
                               (double)x[(c * SIDE + row) * SIDE + column];
                    }
                out[(o * p->out[0] + y) * p->out[1] + z] = (float)sum;
            }
}

static void run(const numbers *n, float low, size_t sample, float *out) {
    float between[MIDDLE * SIDE * SIDE];
    run_layer(&first_windows, MIDDLE, n->weights[0], n->bias[0], inputs[sample], between);
    for (int i = 0; i < MIDDLE * SIDE * SIDE; i++) between[i] = fmaxf(between[i], low);
    run_layer(&second_windows, OUTPUTS, n->weights[1], n->bias[1], between, out);
    for (int i = 0; i < OUTPUTS * HALF * HALF; i++) out[i] += offsets[sample][i];
}

static numbers draw_numbers(void) {
    numbers n;
    for (int l = 0; l < 2; l++) {
        for (int i = 0; i < MOST; i++) n.weights[l][i] = draw();
        for (int i = 0; i < MIDDLE; i++) n.bias[l][i] = draw();
    }
    return n;
}

static sinter_pair pair_of(numbers *n, float low, float target_low) {
    return (sinter_pair){
        .first = {MIDDLE, FIRST, true, n->weights[0], n->bias[0]},
        .second = {OUTPUTS, SECOND, true, n->weights[1], n->bias[1]},
        .low = low,
        .high = INFINITY,
        .target_low = target_low,
        .target_high = INFINITY,
        .samples = samples,
        .sample_count = SAMPLES,
    };
}

static void make_samples(const numbers *teacher, float low) {
    for (size_t s = 0; s < SAMPLES; s++) {
        for (int i = 0; i < CHANNELS * SIDE * SIDE; i++) inputs[s][i] = draw();
        for (int i = 0; i < OUTPUTS * HALF * HALF; i++) offsets[s][i] = draw();
        run(teacher, low, s, targets[s]);
        samples[s] =
            (sinter_pair_sample){first_windows, second_windows, inputs[s], targets[s], offsets[s]};
    }
}

/* Squared error after the bound, by the loops. */
static double error_of(const numbers *n, float low, float target_low) {
    double error = 0;
    for (size_t s = 0; s < SAMPLES; s++) {
        float out[OUTPUTS * HALF * HALF];
        run(n, low, s, out);
        for (int i = 0; i < OUTPUTS * HALF * HALF; i++) {
            double d = (double)fmaxf(out[i], target_low) - (double)fmaxf(targets[s][i], target_low);
            error += d * d;
        }
    }
    return error;
}

static void move(numbers *n, float by) {
    for (int l = 0; l < 2; l++) {
        for (int i = 0; i < MOST; i++) n->weights[l][i] += by * draw();
        for (int i = 0; i < MIDDLE; i++) n->bias[l][i] += by * draw();
    }
}

static void test_way_back(float low, float target_low) {
    numbers teacher = draw_numbers(), student = teacher;
    make_samples(&teacher, low);
    move(&student, 0.1F);
    double before = error_of(&student, low, target_low), errors[2];
    sinter_pair pair = pair_of(&student, low, target_low);
    const sinter_pair_options options = {.damping = 1e-6, .rounds = 8, .steps = 40};
    CHECK(sinter_solve_pair(&pair, &options, errors));
    CHECK(errors[0] >=
          0.999 * before); /* what a bound cuts off counts in full until both sides are beyond it */
    CHECK(isfinite(target_low) || errors[0] <= 1.001 * before);
    CHECK(errors[1] < 1e-3 * errors[0]);
    CHECK(error_of(&student, low, target_low) <= 1.001 * errors[1] + 1e-6);
}

/* From numbers that have nothing to do with it: the first layer moves too, and what is told is the error there is. */
static void test_from_afar(void) {
    numbers teacher = draw_numbers(), student = draw_numbers(), before = student;
    make_samples(&teacher, 0);
    double errors[2];
    sinter_pair pair = pair_of(&student, 0, -INFINITY);
    CHECK(sinter_solve_pair(&pair, NULL, errors));
    CHECK(errors[1] < 0.5 * errors[0]);
    CHECK(memcmp(before.weights[0], student.weights[0], sizeof before.weights[0]) != 0);
    CHECK(fabs(error_of(&student, 0, -INFINITY) - errors[1]) < 1e-3 * errors[1]);
}

static void test_held(void) {
    numbers teacher = draw_numbers(), student = teacher;
    make_samples(&teacher, 0);
    move(&student, 0.1F);
    sinter_pair pair = pair_of(&student, 0, -INFINITY);
    pair.first.has_bias = pair.second.has_bias = false;
    numbers before = student;
    double errors[2];
    CHECK(sinter_solve_pair(&pair, NULL, errors) && errors[1] < errors[0]);
    for (int l = 0; l < 2; l++)
        for (int o = 0; o < MIDDLE; o++) CHECK(student.bias[l][o] == before.bias[l][o]);
    student = before;
    inputs[3][5] = NAN;
    targets[7][1] = NAN;
    CHECK(!sinter_solve_pair(&pair, NULL, errors));
    CHECK(memcmp(&student, &before, sizeof student) == 0);
}

int main(void) {
    if (!sinter_blas_begin(&diag)) {
        printf("skipped: %s\n", messages.data);
        return 77;
    }
    test_way_back(-INFINITY, -INFINITY);
    test_way_back(0, -INFINITY);
    test_way_back(0, 0);
    test_from_afar();
    test_held();
    sinter_blas_end();
    sinter_text_deinit(&messages);
    return test_finish();
}
