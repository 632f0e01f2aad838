/* The f32 expansions of scalar.def against the libm functions in double: a sweep over all exponents
 * (the stride of bit patterns is the argument; 1 is every f32) and the special values. Expansions
 * that are built of integers and remainders are compared with the evaluator's own function. */
#include "ir/scalar.h"
#include "tests/unit/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static sinter_arena arena;

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool parse(sinter_scalar_function function, const char *expansion,
                  sinter_scalar_body *out_body) {
    static const sinter_string names[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    sinter_diag diag = {.handler = sinter_diag_print_handler, .user = stdout};
    return CHECK(expansion != NULL) &&
           CHECK(sinter_scalar_parse(&arena, expansion, names, info->arity, out_body, &diag));
}

static float evaluate(const sinter_scalar_body *body, float a) {
    sinter_scalar operand = {.dtype = SINTER_DTYPE_f32, .f = (double)a};
    return (float)sinter_scalar_evaluate(body, &operand).f;
}

/* Distance to the true value in units of its last place; infinite where the kind is wrong. */
static double error_in_ulp(float got, double exact) {
    float rounded = (float)exact;
    if (isnan(exact)) return isnan(got) ? 0 : (double)INFINITY;
    if (isinf(rounded) || isinf(got)) {
        bool near_end = fabs(exact) > (double)FLT_MAX && fabsf(got) >= FLT_MAX;
        bool same_side = (got > 0) == (exact > 0);
        return same_side && (got == rounded || near_end) ? 0 : (double)INFINITY;
    }
    if (exact == 0) return got == 0 && signbit(got) == signbit(rounded) ? 0 : (double)INFINITY;
    int exponent;
    frexp(exact, &exponent);
    return fabs((double)got - exact) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

static void check_expansion(sinter_scalar_function function, const char *expansion,
                            double (*exact)(double), double limit, uint32_t stride) {
    static const float specials[] = {
        0.0f,     -0.0f,   1.0f,     -1.0f,   INFINITY, -INFINITY,  NAN,         FLT_MAX,
        -FLT_MAX, FLT_MIN, -FLT_MIN, 0.55f,   -0.55f,   2.4142137f, 0.41421357f, 88.72283f,
        88.7229f, -87.34f, -103.97f, -104.0f, 0.625f,   0.92f};
    sinter_scalar_body body;
    if (!parse(function, expansion, &body)) return;
    double worst = 0;
    float place = 0;
    size_t special_count = sizeof specials / sizeof *specials;
    for (uint64_t i = 0; i < special_count + (UINT64_C(1) << 32) / stride; i++) {
        float a =
            i < special_count ? specials[i] : from_bits((uint32_t)((i - special_count) * stride));
        double error = error_in_ulp(evaluate(&body, a), exact((double)a));
        if (error > worst) {
            worst = error;
            place = a;
        }
    }
    if (!CHECK(worst <= limit))
        printf("  %s: %.3f ulp at %a, got %a, exact %a\n", sinter_scalar_get_info(function)->name,
               worst, (double)place, (double)evaluate(&body, place), exact((double)place));
}

/* Both expansions where there are two. */
static void check_accuracy(sinter_scalar_function function, double (*exact)(double), double limit,
                           uint32_t stride) {
    sinter_scalar_function other;
    const char *shorter = sinter_scalar_get_expansion_by(function, &other);
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    check_expansion(function, info->expansion, exact, limit, stride);
    if (shorter) check_expansion(function, shorter, exact, limit, stride);
    CHECK(!shorter || *sinter_scalar_get_info(other)->feature);
}

static void check_same(sinter_scalar_function function) {
    static const double values[] = {0.0, 1, -1, 2.5, -2.5, 7, -7, 3, -3, 1e30, -0.1};
    sinter_scalar_body body;
    if (!parse(function, sinter_scalar_get_info(function)->expansion, &body)) return;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (size_t j = 1; j < sizeof values / sizeof *values; j++) {
            sinter_scalar pair[2] = {sinter_scalar_number(SINTER_DTYPE_f32, values[i]),
                                     sinter_scalar_number(SINTER_DTYPE_f32, values[j])};
            CHECK_DOUBLE_EQ(sinter_scalar_evaluate(&body, pair).f,
                            sinter_scalar_apply(function, pair).f);
        }
}

int main(int argc, char **argv) {
    sinter_arena_init(&arena);
    uint32_t stride = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 100003;
    if (stride == 0) stride = 1;
    check_accuracy(SINTER_SCALAR_exp, exp, 1.0, stride);
    check_accuracy(SINTER_SCALAR_log, log, 1.0, stride);
    check_accuracy(SINTER_SCALAR_tanh, tanh, 1.5, stride);
    check_accuracy(SINTER_SCALAR_erf, erf, 1.5, stride);
    check_accuracy(SINTER_SCALAR_log1p, log1p, 1.0, stride);
    check_accuracy(SINTER_SCALAR_expm1, expm1, 1.5, stride);
    check_accuracy(SINTER_SCALAR_asin, asin, 2.0, stride);
    check_accuracy(SINTER_SCALAR_acos, acos, 2.0, stride);
    check_accuracy(SINTER_SCALAR_atan, atan, 2.0, stride);
    check_same(SINTER_SCALAR_floormod);
    check_same(SINTER_SCALAR_floordiv);
    sinter_arena_deinit(&arena);
    return test_finish();
}
