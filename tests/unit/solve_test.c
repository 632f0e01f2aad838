/* Compensated rounding and pruning on matrices whose answers are known, or that must beat naive ones by a factor. */
#include "ir/random.h"
#include "passes/solve_internal.h"
#include "passes/solve_mask.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};
static sinter_arena arena;

static sinter_layer_recipe recipe_of(const char *words) {
    sinter_layer_recipe recipe = {0};
    sinter_text text = {0};
    sinter_text_format(&text, "default %s", words);
    sinter_recipe *all = sinter_recipe_create();
    CHECK(sinter_recipe_parse(all, "test", text.data, text.size, &diag));
    CHECK(sinter_recipe_find(all, "layer", &recipe, &diag));
    sinter_recipe_destroy(all);
    sinter_text_deinit(&text);
    return recipe;
}

/* rows x [rows, n]: standard normal numbers, of which neighbours share `common`. */
static float *correlated(uint64_t key, int64_t rows, int64_t n, double common) {
    float *x = SINTER_NEW_ARRAY(&arena, float, rows *n);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < n; i++) {
            uint64_t at = (uint64_t)(r * (n + 1) + i);
            double own = sinter_random_normal(key, at),
                   shared = sinter_random_normal(key + 1, (uint64_t)r);
            x[r * n + i] = (float)((1 - common) * own + common * shared);
        }
    return x;
}

/* y = x w^T + 0.5 */
static float *outputs_of(const float *x, const float *w, int64_t rows, int64_t n, int64_t m) {
    float *y = SINTER_NEW_ARRAY(&arena, float, rows *m);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t o = 0; o < m; o++) {
            double sum = 0.5;
            for (int64_t i = 0; i < n; i++) sum += (double)(x[r * n + i] * w[o * n + i]);
            y[r * m + o] = (float)sum;
        }
    return y;
}

enum { ROWS = 600, N = 48, M = 12 };

static sinter_solution solve(const char *words, const float *x, const float *y, const float *w,
                             int64_t rows, int64_t n, int64_t m) {
    sinter_layer_recipe recipe = recipe_of(words);
    sinter_moments moments;
    sinter_solution solution = {0};
    sinter_moments_init(&moments, 1, n, m, &arena);
    sinter_moments_add(&moments, 0, rows / 2, x, y); /* in two batches */
    sinter_moments_add(&moments, 0, rows - rows / 2, x + rows / 2 * n, y + rows / 2 * m);
    CHECK(sinter_moments_finish(&moments, true));
    bool good = sinter_solve_weights(&recipe, &moments, w, NULL, &solution, &arena, "layer", &diag);
    if (!CHECK(good)) printf("%s: %s\n", words, messages.data);
    return solution;
}

/* Of weights rounded and cut to the nearest, pruned by size. */
static double naive_error(const char *words, const float *x, const float *y, const float *w,
                          int64_t rows, int64_t n, int64_t m) {
    char naive[200];
    snprintf(naive, sizeof naive, "%s default rounding=nearest score=magnitude", words);
    return solve(naive, x, y, w, rows, n, m).error;
}

static void test_moments(void) {
    const float x[6] = {1, 2, 3, 4, 5, 9}, y[3] = {1, 0, 2};
    sinter_moments moments;
    sinter_moments_init(&moments, 1, 2, 1, &arena);
    sinter_moments_add(&moments, 0, 2, x, y);
    sinter_moments_add(&moments, 0, 1, x + 4, y + 2);
    CHECK(sinter_moments_finish(&moments, true));
    CHECK_DOUBLE_EQ(moments.x[0], 3);
    CHECK_DOUBLE_EQ(moments.x[1], 5);
    CHECK_DOUBLE_EQ(moments.y[0], 1);
    CHECK(fabs(moments.xx[0] - 8.0 / 3) < 1e-12);
    CHECK(fabs(moments.xx[1] - (59.0 / 3 - 15)) < 1e-12);
    CHECK(moments.xx[1] == moments.xx[2]);
    CHECK(fabs(moments.xy[0] - (11.0 / 3 - 3)) < 1e-12);
    CHECK(fabs(moments.yy[0] - 2.0 / 3) < 1e-12);
    sinter_moments_init(&moments, 1, 2, 1, &arena);
    CHECK(!sinter_moments_finish(&moments, true)); /* no rows */
    sinter_moments_add(&moments, 0, 1, (float[2]){NAN, 1}, y);
    CHECK(!sinter_moments_finish(&moments, true));
}

/* Rows of a system whose matrix is positive definite, in both widths. */
static void test_solve(void) {
    enum { SIZE = 5, SYSTEMS = 3 };
    double a[SIZE * SIZE], x[SYSTEMS * SIZE], b[SYSTEMS * SIZE] = {0};
    float a32[SIZE * SIZE], b32[SYSTEMS * SIZE];
    for (int i = 0; i < SIZE * SIZE; i++)
        a[i] = i / SIZE == i % SIZE ? 4 : 1.0 / (1 + abs(i / SIZE - i % SIZE));
    for (int i = 0; i < SYSTEMS * SIZE; i++) x[i] = sinter_random_normal(7, (uint64_t)i);
    for (int r = 0; r < SYSTEMS; r++)
        for (int i = 0; i < SIZE * SIZE; i++)
            b[r * SIZE + i / SIZE] += a[i] * x[r * SIZE + i % SIZE];
    for (int i = 0; i < SIZE * SIZE; i++) a32[i] = (float)a[i];
    for (int i = 0; i < SYSTEMS * SIZE; i++) b32[i] = (float)b[i];
    CHECK(sinter_blas_factor_f64(SIZE, a) && sinter_blas_factor_f32(SIZE, a32));
    sinter_blas_solve_f64(SIZE, a, SYSTEMS, b);
    sinter_blas_solve_f32(SIZE, a32, SYSTEMS, b32);
    for (int i = 0; i < SYSTEMS * SIZE; i++)
        CHECK(fabs(b[i] - x[i]) < 1e-12 && fabs((double)b32[i] - x[i]) < 1e-5);
    CHECK(!sinter_blas_factor_f64(1, (double[1]){-1}) &&
          !sinter_blas_factor_f32(1, (float[1]){-1}));
}

static void test_patches(void) {
    /* one channel of 3 x 3, kernel 2 x 2, stride 2, padding 1 before */
    const float image[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    sinter_patches patches = {.dims = 2,
                              .channels = 1,
                              .size = {3, 3},
                              .kernel = {2, 2},
                              .stride = {2, 2},
                              .dilation = {1, 1},
                              .before = {1, 1},
                              .out = {2, 2}};
    float rows[16];
    CHECK_INT_EQ(sinter_patches_gather(&patches, image, 0, 1, rows), 4);
    const float expected[16] = {0, 0, 0, 1, 0, 0, 2, 3, 0, 4, 0, 7, 5, 6, 8, 9};
    CHECK(memcmp(rows, expected, sizeof rows) == 0);
    float back[9] = {1}, columns[16];
    sinter_patches_spread(&patches, image, columns);
    for (int i = 0; i < 16; i++) CHECK(columns[i % 4 * 4 + i / 4] == rows[i]);
    sinter_patches_collect(&patches, columns, back);
    for (int i = 0; i < 9; i++) CHECK(back[i] == image[i] + (i == 0)); /* each is in one window */
    CHECK_INT_EQ(sinter_patches_gather(&patches, image, 1, 2, rows), 2);
    CHECK(memcmp(rows, expected + 4, 4 * sizeof *rows) == 0);
    CHECK(memcmp(rows + 4, expected + 12, 4 * sizeof *rows) == 0);
}

/* Columns are turned rows, and what is collected from them is a sum over the windows that have an element, whatever the shapes. */
static void check_columns(sinter_patches p) {
    enum { MOST = 4096 };
    static float image[MOST], rows[MOST], columns[MOST], sums[MOST], back[MOST];
    int64_t taps = 1, elements = 1, positions = 1;
    for (uint32_t d = 0; d < p.dims; d++) {
        taps *= p.kernel[d];
        elements *= p.size[d];
        positions *= p.out[d];
    }
    int64_t n = p.channels * taps;
    CHECK(n * positions <= MOST && p.channels * elements <= MOST);
    for (int64_t i = 0; i < p.channels * elements; i++) image[i] = (float)(i + 1);
    CHECK_INT_EQ(sinter_patches_gather(&p, image, 0, 1, rows), positions);
    sinter_patches_spread(&p, image, columns);
    for (int64_t i = 0; i < n * positions; i++)
        CHECK(columns[i % n * positions + i / n] == rows[i]);
    memset(sums, 0, sizeof sums);
    memset(back, 0, sizeof back);
    for (int64_t i = 0; i < n * positions; i++) { /* an element's number says where it belongs */
        if (rows[i] != 0) sums[(int)rows[i] - 1] += (float)(i % 7);
        columns[i % n * positions + i / n] = (float)(i % 7);
    }
    sinter_patches_collect(&p, columns, back);
    CHECK(memcmp(sums, back, sizeof sums) == 0);
}

static void test_columns(void) {
    for (int64_t kernel = 1; kernel <= 3; kernel++)
        for (int64_t stride = 1; stride <= 2; stride++)
            for (int64_t dilation = 1; dilation <= 2; dilation++)
                for (int64_t before = 0; before <= 3; before++)
                    for (int64_t wide = 3; wide <= 6; wide++)
                        for (uint32_t dims = 1; dims <= 3; dims++) {
                            sinter_patches p = {.dims = dims, .channels = 2};
                            for (uint32_t d = 0; d < dims; d++) {
                                bool last = d + 1 == dims;
                                p.size[d] = last ? 5 : 4;
                                p.kernel[d] = d + 2 < dims ? 1 : kernel;
                                p.stride[d] = stride == 2 && d + 2 == dims ? 1 : stride;
                                p.dilation[d] = dilation;
                                p.before[d] = d + 2 < dims ? 0 : before;
                                p.out[d] = last ? wide : 3;
                            }
                            check_columns(p);
                        }
}

/* Inputs that are not correlated leave nothing to make up for: levels are the nearest. */
static void test_identity(void) {
    float x[16 * 4] = {0}, w[4] = {7, -2.4F, 3.3F, 0.6F}, y[16];
    for (int r = 0; r < 16; r++) x[r * 4 + r / 4] = r % 2 ? 2 : -2;
    float *all = outputs_of(x, w, 16, 4, 1);
    memcpy(y, all, sizeof y);
    sinter_solution s = solve("weights=int4", x, y, w, 16, 4, 1);
    for (int i = 0; i < 4; i++) CHECK(s.levels[i] == rintf(w[i] / s.scales[0]));
    CHECK(fabsf(s.bias[0] - 0.5F) < 1e-4F);
}

static void test_rounding_beats_nearest(void) {
    float *x = correlated(3, ROWS, N, 0.6), *w = correlated(5, M, N, 0.1);
    float *y = outputs_of(x, w, ROWS, N, M);
    static const struct {
        const char *words;
        double factor;
    } cases[] = {{"weights=int8", 3},
                 {"weights=int4", 3},
                 {"weights=int3", 2},
                 {"weights=uint4", 2},
                 {"weights=int4 per=tensor", 3},
                 {"weights=int4 per=group:16", 3},
                 {"weights=ternary", 2},
                 {"weights=binary", 2},
                 {"weights=power_of_two:4", 3},
                 {"prune=0.5", 3},
                 {"prune=2:4", 3},
                 {"prune=block4x4:0.5", 1.5},
                 {"weights=int8 prune=2:4", 3},
                 {"weights=int4 prune=0.6", 2},
                 {"prune=0.5 score=magnitude", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sinter_solution s = solve(cases[i].words, x, y, w, ROWS, N, M);
        double naive = naive_error(cases[i].words, x, y, w, ROWS, N, M);
        if (!CHECK(s.error * cases[i].factor < naive))
            printf("  %s: %g, naive %g\n", cases[i].words, s.error, naive);
    }
}

/* Two weights that only get better together: from (2, -1), where (1, 0) and (0, 1) are best. */
static void test_pairs(void) {
    sinter_layer_recipe recipe = recipe_of("weights=int4 per=tensor");
    double h[4] = {1, 0.95, 0.95, 1}, target[2] = {0.5, 0.5}, w[2] = {2, -1}, levels[2] = {2, -1},
           scale = 1, zero = 0, gradient[2], error;
    uint8_t mask[2] = {1, 1};
    sinter_solve_work work = {.recipe = &recipe,
                              .options = &sinter_solve_defaults,
                              .groups = 1,
                              .outputs = 1,
                              .inputs = 2,
                              .rows = 1,
                              .h = h,
                              .target = target,
                              .w = w,
                              .mask = mask,
                              .has_grid = true,
                              .scale_group = 2,
                              .scales_per_row = 1,
                              .scales = &scale,
                              .zeros = &zero,
                              .levels = levels,
                              .scratch = &arena};
    CHECK(sinter_solve_grid_init(&work.grid, &recipe));
    sinter_solve_search(&work);
    sinter_solve_row_errors(&work, w, gradient, &error);
    CHECK(fabs(error - 0.025) < 1e-12 && levels[0] + levels[1] == 1);
    for (int i = 0; i < 2; i++) w[i] = levels[i] = i ? -1 : 2;
    mask[1] = 0; /* what is pruned does not move */
    sinter_solve_search(&work);
    CHECK(levels[0] == 2 && levels[1] == -1);
}

static void test_search_beats_gptq(void) {
    float *x = correlated(3, ROWS, N, 0.6), *w = correlated(5, M, N, 0.1);
    float *y = outputs_of(x, w, ROWS, N, M);
    static const char *const grids[] = {"int8",    "int4",   "uint4",          "int3",
                                        "ternary", "binary", "power_of_two:4", "int4 per=group:16"};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        char words[80];
        snprintf(words, sizeof words, "weights=%s", grids[i]);
        double searched = solve(words, x, y, w, ROWS, N, M).error;
        snprintf(words, sizeof words, "weights=%s rounding=gptq", grids[i]);
        double gptq = solve(words, x, y, w, ROWS, N, M).error;
        if (!CHECK(searched < gptq)) printf("  %s: %g, gptq %g\n", grids[i], searched, gptq);
    }
}

static void test_patterns(void) {
    float *x = correlated(13, ROWS, N, 0.4), *w = correlated(15, M, N, 0.1);
    float *y = outputs_of(x, w, ROWS, N, M);
    sinter_solution s = solve("weights=int8 prune=1:4", x, y, w, ROWS, N, M);
    for (int64_t i = 0; i < (int64_t)M * N; i += 4) {
        int stay = 0;
        for (int64_t k = i; k < i + 4; k++) stay += s.values[k] != 0;
        CHECK(stay <= 1);
    }
    s = solve("prune=0.75", x, y, w, ROWS, N, M);
    int64_t zeros = 0;
    for (int64_t i = 0; i < (int64_t)M * N; i++) zeros += s.values[i] == 0;
    CHECK_INT_EQ(zeros, M * N * 3 / 4);
    s = solve("prune=0.75 schedule=gradual:4", x, y, w, ROWS, N, M);
    zeros = 0;
    for (int64_t i = 0; i < (int64_t)M * N; i++) zeros += s.values[i] == 0;
    CHECK_INT_EQ(zeros, M * N * 3 / 4);
    CHECK(s.error < 0.9 * naive_error("prune=0.75", x, y, w, ROWS, N, M));
    s = solve("prune=1:4 schedule=gradual:5", x, y, w, ROWS, N, M);
    for (int64_t i = 0; i < (int64_t)M * N; i += 4) {
        int stay = 0;
        for (int64_t k = i; k < i + 4; k++) stay += s.values[k] != 0;
        CHECK_INT_EQ(stay, 1);
    }
    s = solve("prune=block4x4:0.5", x, y, w, ROWS, N, M);
    for (int64_t o = 0; o < M; o += 4)
        for (int64_t i = 0; i < N; i += 4) {
            int used = 0;
            for (int64_t k = 0; k < 16; k++) used += s.values[(o + k / 4) * N + i + k % 4] != 0;
            CHECK(used == 0 || used == 16);
        }
    s = solve("weights=int4 per=group:16", x, y, w, ROWS, N, M);
    CHECK_INT_EQ(s.scale_group, 16);
    for (int64_t i = 0; i < (int64_t)M * N; i++)
        CHECK(s.values[i] == s.levels[i] * s.scales[i / N * 3 + i % N / 16]);
}

static void test_masks(void) {
    sinter_layer_recipe half = recipe_of("prune=0.5"), pairs = recipe_of("prune=2:4");
    uint8_t mask[8];
    sinter_mask_choose(&half, (float[8]){1, 1, 1, 1, 1, 1, 1, 1}, 2, 4, 2, mask, &arena);
    CHECK(memcmp(mask, "\1\1\1\1\0\0\0\0", 8) == 0); /* ties: the earlier ones stay */
    sinter_mask_choose(&half, (float[8]){0, 5, 1e-30F, 4, 3, 0, 7, 1}, 2, 4, 2, mask, &arena);
    CHECK(memcmp(mask, "\0\1\0\1\1\0\1\0", 8) == 0);
    sinter_mask_choose(&pairs, (float[6]){0, 1, 2, 3, 5, 4}, 1, 6, 1, mask, &arena);
    CHECK(memcmp(mask, "\0\0\1\1\1\0", 6) == 0);
}

/* Weights of a layer whose inputs changed are retargeted: here the inputs are all twice as large. */
static void test_retargets(void) {
    float *x = correlated(23, ROWS, N, 0.3), *w = correlated(25, M, N, 0.1);
    float *y = outputs_of(x, w, ROWS, N, M);
    for (int64_t i = 0; i < (int64_t)ROWS * N; i++) x[i] *= 2;
    sinter_solution s = solve("weights=int8", x, y, w, ROWS, N, M);
    CHECK(naive_error("weights=int8", x, y, w, ROWS, N, M) > 0.5 && s.error < 1e-3);
    CHECK(fabsf(s.bias[0] - 0.5F) < 0.05F);
}

/* Few rows: what they say of another layer's outputs is followed where both halves agree, and is not where it is noise. */
static void test_ridge(void) {
    enum { FEW = 80 };
    float *x = correlated(41, FEW, N, 0.2), *w = correlated(43, M, N, 0.1);
    float *other = correlated(45, M, N, 0.1), *noise = correlated(47, FEW, M, 0);
    float *told = outputs_of(x, other, FEW, N, M), *own = outputs_of(x, w, FEW, N, M);
    for (int64_t i = 0; i < FEW * M; i++) own[i] += 8 * noise[i];
    for (int is_noise = 0; is_noise < 2; is_noise++) {
        const float *y = is_noise ? own : told;
        sinter_moments halves[2], all;
        sinter_moments_init(&all, 1, N, M, &arena);
        for (int i = 0; i < 2; i++) {
            sinter_moments_init(&halves[i], 1, N, M, &arena);
            sinter_moments_add(&halves[i], 0, FEW / 2, x + i * FEW / 2 * N, y + i * FEW / 2 * M);
            sinter_moments_merge(&all, &halves[i]);
            CHECK(sinter_moments_finish(&halves[i], true));
        }
        CHECK_DOUBLE_EQ(all.rows[0], FEW);
        double ridge = sinter_solve_choose_ridge(halves, w);
        CHECK(is_noise ? ridge >= 10 : ridge <= 0.1);
    }
}

static void test_odd_data(void) {
    float *x = correlated(33, ROWS, N, 0.3), *w = correlated(35, M, N, 0.1);
    for (int64_t r = 0; r < ROWS; r++) x[r * N + 3] = 0, x[r * N + 4] = 2.5F; /* dead, constant */
    float *y = outputs_of(x, w, ROWS, N, M);
    static const char *const all[] = {"weights=int4", "prune=0.5", "weights=int4 prune=2:4",
                                      "weights=binary"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sinter_solution s = solve(all[i], x, y, w, ROWS, N, M);
        CHECK(s.error < naive_error(all[i], x, y, w, ROWS, N, M));
        for (int64_t k = 0; k < (int64_t)M * N; k++) CHECK(isfinite(s.values[k]));
        s = solve(all[i], x, y, w, 1, N, M); /* one sample */
        for (int64_t k = 0; k < (int64_t)M * N; k++) CHECK(isfinite(s.values[k]));
    }
    sinter_layer_recipe recipe = recipe_of("weights=int4");
    sinter_moments moments;
    sinter_solution s;
    sinter_moments_init(&moments, 1, N, M, &arena);
    sinter_moments_add(&moments, 0, ROWS, x, y);
    CHECK(sinter_moments_finish(&moments, true));
    w[7] = INFINITY;
    CHECK(!sinter_solve_weights(&recipe, &moments, w, NULL, &s, &arena, "layer", &diag));
    CHECK_STRING_EQ(messages.data,
                    "layer: error: weight 7 is inf: only finite weights are compressed\n");
}

static void test_deterministic(void) {
    float *x = correlated(43, ROWS, N, 0.5), *w = correlated(45, M, N, 0.1);
    float *y = outputs_of(x, w, ROWS, N, M);
    sinter_solution a = solve("weights=int4 prune=0.5", x, y, w, ROWS, N, M);
    sinter_solution b = solve("weights=int4 prune=0.5", x, y, w, ROWS, N, M);
    CHECK(memcmp(a.values, b.values, sizeof(float) * M * N) == 0);
}

int main(void) {
    sinter_arena_init(&arena);
    if (!sinter_blas_begin(&diag)) {
        printf("skipped: %s\n", messages.data);
        return 77;
    }
    test_moments();
    test_solve();
    test_patches();
    test_columns();
    test_identity();
    test_masks();
    test_rounding_beats_nearest();
    test_pairs();
    test_search_beats_gptq();
    test_patterns();
    test_retargets();
    test_deterministic();
    test_ridge();
    test_odd_data();
    sinter_blas_end();
    sinter_arena_deinit(&arena);
    sinter_text_deinit(&messages);
    return test_finish();
}
