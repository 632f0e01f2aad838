/* Which weights stay, and what they become: masks by alternating directions in coordinates where every input has norm 1, weights
 * by conjugate gradients on the mask, all rows at once so that the work is matrix products. Test: tests/unit/solve_test.c */
#include "passes/solve_internal.h"
#include "passes/solve_mask.h"
#include <math.h>
#include <string.h>

static double *inverse_diagonals(const sinter_solve_work *work) {
    int64_t n = work->inputs;
    double *all = SINTER_NEW_ARRAY(work->scratch, double, work->groups *n);
    double *copy = SINTER_NEW_ARRAY(work->scratch, double, n *n);
    for (int64_t g = 0; g < work->groups; g++) {
        memcpy(copy, work->h + g * n * n, sizeof *copy * (size_t)(n * n));
        sinter_blas_invert_f64(n, copy);
        for (int64_t i = 0; i < n; i++) all[g * n + i] = copy[i * n + i];
    }
    return all;
}

static void mask_by_scores(sinter_solve_work *work) {
    int64_t n = work->inputs, count = work->rows * n;
    float *scores = SINTER_NEW_ARRAY(work->scratch, float, count);
    double *inverses =
        work->recipe->score == SINTER_SCORE_SECOND_ORDER ? inverse_diagonals(work) : NULL;
    for (int64_t i = 0; i < count; i++) {
        int64_t group = i / n / work->outputs, input = i % n;
        double norm = sqrt(work->h[(group * n + input) * n + input]);
        scores[i] = sinter_mask_score(work->recipe, work->w[i], norm,
                                      inverses ? inverses[group * n + input] : 1, (uint64_t)i);
    }
    sinter_mask_choose(work->recipe, scores, work->rows, n, work->outputs, work->mask,
                       work->scratch);
}

/* State of the alternating directions, in coordinates where H has a diagonal of ones. */
typedef struct alternation {
    float *norms;      /* [groups, inputs]: what weights are multiplied by */
    float *h, *factor; /* [groups, inputs, inputs]; of H and the penalty */
    float *pull;       /* target H */
    float *w, *z, *u;  /* [rows, inputs]: free, sparse, what keeps them together */
} alternation;

static void products(const sinter_solve_work *work, const float *a, const float *matrices,
                     float *out) {
    int64_t n = work->inputs, m = work->outputs;
    for (int64_t g = 0; g < work->groups; g++)
        sinter_blas_product_f32(m, n, n, 1, (sinter_blas_operand){a + g * m * n, n, false},
                                (sinter_blas_operand){matrices + g * n * n, n, false}, 0,
                                out + g * m * n, n);
}

static void start_alternation(sinter_solve_work *work, alternation *a) {
    int64_t n = work->inputs, m = work->outputs, count = work->rows * n;
    int64_t square = work->groups * n * n;
    sinter_arena *arena = work->scratch;
    *a = (alternation){.norms = SINTER_NEW_ARRAY(arena, float, work->groups *n),
                       .h = SINTER_NEW_ARRAY(arena, float, square),
                       .factor = SINTER_NEW_ARRAY(arena, float, square),
                       .pull = SINTER_NEW_ARRAY(arena, float, count),
                       .w = SINTER_NEW_ARRAY(arena, float, count),
                       .z = SINTER_NEW_ARRAY(arena, float, count),
                       .u = SINTER_NEW_ARRAY(arena, float, count)};
    for (int64_t g = 0; g < work->groups; g++) {
        const double *h = work->h + g * n * n;
        float *norms = a->norms + g * n, *scaled = a->h + g * n * n;
        for (int64_t i = 0; i < n; i++) norms[i] = (float)sqrt(h[i * n + i]);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                scaled[i * n + j] = (float)h[i * n + j] / (norms[i] * norms[j]);
    }
    for (int64_t i = 0; i < count; i++) {
        float norm = a->norms[i / n / m * n + i % n];
        a->w[i] = (float)work->target[i] * norm;
        a->z[i] = work->mask[i] ? (float)work->w[i] * norm : 0;
    }
    products(work, a->w, a->h, a->pull);
}

static void set_penalty(sinter_solve_work *work, alternation *a, float penalty) {
    int64_t n = work->inputs;
    memcpy(a->factor, a->h, sizeof *a->h * (size_t)(work->groups * n * n));
    for (int64_t g = 0; g < work->groups; g++) {
        float *factor = a->factor + g * n * n;
        for (int64_t i = 0; i < n; i++) factor[i * n + i] += penalty;
        sinter_blas_factor_f32(n, factor);
    }
}

/* Moves the mask to where the constraint costs less: w follows the samples, z the pattern, u what separates them, and the
 * penalty of being apart grows until the mask stands still. What w is on it follows later. */
static void improve_mask(sinter_solve_work *work) {
    enum { PENALTIES = 24, TURNS = 4 };
    int64_t n = work->inputs, m = work->outputs, count = work->rows * n;
    alternation a;
    start_alternation(work, &a);
    float *scores = SINTER_NEW_ARRAY(work->scratch, float, count);
    uint8_t *last = SINTER_NEW_ARRAY(work->scratch, uint8_t, count);
    float penalty = 0.1F;
    int still = 0;      /* steps */
    float softness = 0; /* 1 / penalty */
    for (int step = 0; step < PENALTIES * TURNS && still < TURNS; step++) {
        if (step % TURNS == 0) {
            if (step) penalty *= 1.25F;
            softness = 1 / penalty;
            set_penalty(work, &a, penalty);
        }
        for (int64_t i = 0; i < count; i++) a.w[i] = a.pull[i] + penalty * a.z[i] - a.u[i];
        for (int64_t g = 0; g < work->groups; g++)
            sinter_blas_solve_f32(n, a.factor + g * n * n, m, a.w + g * m * n);
        for (int64_t i = 0; i < count; i++) {
            float wish = a.w[i] + a.u[i] * softness;
            scores[i] = wish * wish;
        }
        sinter_arena arena;
        sinter_arena_init(&arena);
        sinter_mask_choose(work->recipe, scores, work->rows, work->inputs, work->outputs,
                           work->mask, &arena);
        sinter_arena_deinit(&arena);
        still = memcmp(last, work->mask, (size_t)count) == 0 ? still + 1 : 0;
        memcpy(last, work->mask, (size_t)count);
        for (int64_t i = 0; i < count; i++) {
            float wish = a.w[i] + a.u[i] * softness;
            a.z[i] = work->mask[i] ? wish : 0;
            a.u[i] += penalty * (a.w[i] - a.z[i]);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        float norm = a.norms[i / work->inputs / work->outputs * work->inputs + i % work->inputs];
        work->w[i] = (double)(a.z[i] / norm);
    }
}

void sinter_solve_choose_mask(sinter_solve_work *work) {
    mask_by_scores(work);
    bool improve = work->recipe->score == SINTER_SCORE_SECOND_ORDER &&
                   sinter_layer_recipe_compensates(work->recipe);
    if (improve) improve_mask(work);
    for (int64_t i = 0; i < work->rows * work->inputs; i++)
        if (!work->mask[i]) work->w[i] = 0;
}

/* Conjugate gradients, each row with its own steps; the preconditioner is H's diagonal. Products with H are made in f32: they say where
 * to go, and the steps end long before its digits do. */
void sinter_solve_on_mask(sinter_solve_work *work) {
    enum { STEPS = 40 };
    static const double small = 1e-6; /* gradient, squared, of what it was */
    double first = 0;
    int64_t n = work->inputs, count = work->rows * n;
    double *r = SINTER_NEW_ARRAY(work->scratch, double, count);
    double *p = SINTER_NEW_ARRAY(work->scratch, double, count);
    float *h32 = SINTER_NEW_ARRAY(work->scratch, float, work->groups *n *n);
    float *p32 = SINTER_NEW_ARRAY(work->scratch, float, count);
    float *hp = SINTER_NEW_ARRAY(work->scratch, float, count);
    double *before = SINTER_NEW_ARRAY(work->scratch, double, work->rows);
    double *slopes = SINTER_NEW_ARRAY(work->scratch, double, work->groups *n); /* 1 / diagonal */
    for (int64_t i = 0; i < work->groups * n * n; i++) h32[i] = (float)work->h[i];
    for (int64_t i = 0; i < work->groups * n; i++)
        slopes[i] = 1 / work->h[i / n * n * n + i % n * (n + 1)];
    sinter_solve_gradient(work, work->w, r);
    for (int step = 0; step < STEPS; step++) {
        double left = 0;
        for (int64_t row = 0; row < work->rows; row++) {
            const double *slope = slopes + row / work->outputs * n;
            const uint8_t *mask = work->mask + row * n;
            double now = 0;
            for (int64_t i = 0; i < n; i++)
                now += r[row * n + i] * r[row * n + i] * slope[i] * mask[i];
            double turn = step && before[row] > 0 ? now / before[row] : 0;
            for (int64_t i = 0; i < n; i++)
                p[row * n + i] = (turn * p[row * n + i] - r[row * n + i] * slope[i]) * mask[i];
            before[row] = now;
            left += now;
        }
        if (!step) first = left;
        if (!(left > small * first)) return;
        for (int64_t i = 0; i < count; i++) p32[i] = (float)p[i];
        products(work, p32, h32, hp);
        for (int64_t row = 0; row < work->rows; row++) {
            double curve = 0;
            for (int64_t i = row * n; i < (row + 1) * n; i++) curve += p[i] * (double)hp[i];
            if (!(curve > 0)) continue;
            double length = before[row] / curve;
            for (int64_t i = row * n; i < (row + 1) * n; i++) {
                work->w[i] += length * p[i];
                r[i] += length * (double)hp[i];
            }
        }
    }
}
