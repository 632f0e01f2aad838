/* Emitted code against the interpreter: every scalar function and cast on every element type, serial and in vectors;
 * then whole programs from text. Both back ends (native code in memory, C through cc) run the same cases. */
#include "codegen/compile.h"
#include "runtime/abi.h"
#include "tests/unit/emit_support.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>

enum { COUNT = 128, LANES = 16 };

/* Interesting values first, then random ones of all sizes. */
static void fill(sinter_tensor *tensor, uint64_t seed) {
    static const double special[] = {0.0,  -0.0, 1,     -1,    2,    0.5,   -0.5,  1.5,   2.5,
                                     -2.5, 3,    7,     -7,    127,  128,   -128,  -129,  255,
                                     256,  1e-3, -1e-3, 88,    -88,  1e-40, 65504, 65520, 1e5,
                                     448,  464,  57344, 61440, 6,    5,     0.25,  0.75,  3e9,
                                     -3e9, 5e9,  1e19,  -1e19, 1e38, -1e38, 1e-30, 17.25, 240};
    /* every pair of zeros, and NaN beside a number, for any two tensors of one type */
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = state >> 11;
        size_t at = (size_t)(bits % 60);
        if (is_float) {
            double value = ldexp((double)(int64_t)(bits & 0xffffff) - 0x800000, -20);
            if (at < sizeof special / sizeof *special) value = special[at];
            if (at == 50) value = (double)INFINITY;
            if (at == 51) value = -(double)INFINITY;
            if (at == 52) value = (double)NAN;
            if (i < 16) value = (uint64_t)i >> seed % 3 & 1 ? -0.0 : 0.0;
            if (i >= 16 && i < 24) value = (uint64_t)i >> seed % 3 & 1 ? (double)NAN : 1.0;
            sinter_tensor_set_double(tensor, i, value);
        } else {
            int64_t value = at < 20 ? (int64_t)at - 8 : (int64_t)(state >> (bits % 60));
            if (at == 21) value = INT64_MIN;
            if (at == 22) value = INT64_MAX;
            if (at == 23)
                value = (int64_t)(~UINT64_C(0) << (sinter_dtype_infos[tensor->dtype].bits - 1));
            sinter_tensor_set_int(tensor, i, value);
        }
    }
}

/* ---- one program with a kernel for each case ---- */

typedef struct suite {
    sinter_loop_program *program;
    sinter_loop_builder host;
    sinter_loop_buffer inputs[SINTER_DTYPE_COUNT][3];
    uint32_t input_index[SINTER_DTYPE_COUNT][3];
    SINTER_VECTOR(sinter_tensor) tensors;
    SINTER_VECTOR(const char *) labels; /* of outputs */
    SINTER_VECTOR(double) tolerances;
} suite;

static sinter_loop_buffer suite_input(suite *s, sinter_dtype dtype, int which) {
    if (s->inputs[dtype][which]) return s->inputs[dtype][which];
    sinter_tensor tensor = {0};
    sinter_tensor_create(&tensor, dtype, 1, (int64_t[]){COUNT}, NULL);
    fill(&tensor, (uint64_t)dtype * 3 + (uint64_t)which);
    const char *name =
        sinter_arena_format(&s->program->arena, "%s_%d", sinter_dtype_infos[dtype].name, which);
    s->inputs[dtype][which] = support_add_input(&s->host, name, dtype, 1, (int64_t[]){COUNT});
    sinter_vector_push(&s->program->arena, &s->tensors, tensor);
    return s->inputs[dtype][which];
}

/* Serial: for i; vector: for i step LANES, for v. Returns the index. */
static sinter_expr begin_loops(sinter_loop_builder *b, bool vector) {
    if (!vector)
        return sinter_loop_var_read(b, sinter_loop_begin_for(b, "i", sinter_loop_int(b, 0),
                                                             sinter_loop_int(b, COUNT), 1,
                                                             SINTER_AXIS_SERIAL));
    sinter_loop_var i = sinter_loop_begin_for(b, "i", sinter_loop_int(b, 0),
                                              sinter_loop_int(b, COUNT), LANES, SINTER_AXIS_SERIAL);
    sinter_loop_var v = sinter_loop_begin_for(b, "v", sinter_loop_int(b, 0),
                                              sinter_loop_int(b, LANES), 1, SINTER_AXIS_VECTOR);
    return sinter_loop_add(b, sinter_loop_var_read(b, i), sinter_loop_var_read(b, v));
}

static void end_loops(sinter_loop_builder *b, bool vector) {
    sinter_loop_end(b);
    if (vector) sinter_loop_end(b);
}

/* What scale is defined for. */
static sinter_expr make_exponent(sinter_loop_builder *b, sinter_expr value) {
    sinter_dtype dtype = value->dtype;
    if (!sinter_dtype_is_float(dtype)) return value;
    sinter_expr is_nan = sinter_loop_call(b, SINTER_SCALAR_is_nan, &value);
    value = sinter_loop_call(b, SINTER_SCALAR_round_even, &value);
    value = sinter_loop_call2(b, SINTER_SCALAR_min, value, sinter_loop_const(b, dtype, 254));
    value = sinter_loop_call2(b, SINTER_SCALAR_max, value, sinter_loop_const(b, dtype, -252));
    return sinter_loop_select(b, is_nan, sinter_loop_const(b, dtype, -149), value);
}

/* out[i] = function(in0[i], in1[i], in2[i]), or with SINTER_SCALAR_NONE a cast from in0. */
static void add_case(suite *s, sinter_scalar_function function, const sinter_dtype *types,
                     uint32_t arity, sinter_dtype result, bool vector, bool saturate,
                     double tolerance) {
    sinter_arena *arena = &s->program->arena;
    const char *name = function ? sinter_scalar_get_info(function)->name : "cast";
    sinter_loop_function *kernel = sinter_loop_function_create(s->program, name);
    sinter_loop_builder b;
    sinter_loop_builder_init(&b, s->program, kernel);
    sinter_expr dim = sinter_loop_int(&b, COUNT);
    sinter_loop_buffer parameters[4], arguments[4];
    for (uint32_t i = 0; i < arity; i++) {
        parameters[i] = sinter_loop_add_buffer(&b, "a", types[i], 1, &dim, SINTER_SCOPE_INPUT);
        arguments[i] = suite_input(s, types[i], (int)i);
    }
    parameters[arity] = sinter_loop_add_buffer(&b, "out", result, 1, &dim, SINTER_SCOPE_OUTPUT);
    sinter_expr index = begin_loops(&b, vector), operands[3];
    for (uint32_t i = 0; i < arity; i++) operands[i] = sinter_loop_load(&b, parameters[i], &index);
    if (function == SINTER_SCALAR_scale) operands[1] = make_exponent(&b, operands[1]);
    sinter_expr value = function ? sinter_loop_call(&b, function, operands)
                                 : sinter_loop_cast_saturating(&b, operands[0], result, saturate);
    sinter_loop_store(&b, parameters[arity], &index, value);
    end_loops(&b, vector);
    sinter_vector_push(arena, &s->program->kernels, kernel);
    const char *label = sinter_arena_format(
        arena, "%s %s -> %s%s%s", name, sinter_dtype_infos[types[arity - 1]].name,
        sinter_dtype_infos[result].name, vector ? " vector" : "", saturate ? "" : " no saturate");
    arguments[arity] = support_add_output(&s->host, label, result, 1, (int64_t[]){COUNT});
    sinter_loop_call_kernel(&s->host, (uint32_t)s->program->kernels.count - 1, arguments, arity + 1,
                            NULL, 0);
    sinter_vector_push(arena, &s->labels, label);
    sinter_vector_push(arena, &s->tolerances, tolerance);
}

/* Same bits but for the payload of NaN, or within the tolerance relative to each element. */
static bool same_elements(const sinter_tensor *got, const sinter_tensor *expected, double tolerance,
                          int64_t *out_where) {
    for (int64_t i = 0; i < sinter_tensor_count(expected); i++) {
        *out_where = i;
        if (!sinter_dtype_is_float(expected->dtype)) {
            if (sinter_tensor_get_int(got, i) != sinter_tensor_get_int(expected, i)) return false;
            continue;
        }
        double a = sinter_tensor_get_double(got, i), b = sinter_tensor_get_double(expected, i);
        if (isnan(a) || isnan(b)) {
            if (isnan(a) != isnan(b)) return false;
        } else if (a != b || signbit(a) != signbit(b)) {
            bool tiny = fabs(a) < 1.2e-38 && fabs(b) < 1.2e-38 && tolerance > 0;
            if (!tiny && (!(fabs(a - b) <= tolerance * fabs(b)))) return false;
        }
    }
    return true;
}

static void compare_outputs(const suite *s, const char *backend, const sinter_tensor *got,
                            const sinter_tensor *expected) {
    for (size_t i = 0; i < s->labels.count; i++) {
        int64_t where = 0;
        bool same = same_elements(&got[i], &expected[i], s->tolerances.items[i], &where);
        CHECK(same);
        if (same) continue;
        if (sinter_dtype_is_float(expected[i].dtype))
            printf("  %s: %s: element %lld: got %a, expected %a\n", backend, s->labels.items[i],
                   (long long)where, sinter_tensor_get_double(&got[i], where),
                   sinter_tensor_get_double(&expected[i], where));
        else
            printf("  %s: %s: element %lld: got %lld, expected %lld\n", backend, s->labels.items[i],
                   (long long)where, (long long)sinter_tensor_get_int(&got[i], where),
                   (long long)sinter_tensor_get_int(&expected[i], where));
    }
}

static void run_suite(suite *s, const char *target) {
    sinter_diag diag = {sinter_diag_print_handler, stdout, 0, 0};
    size_t count = s->program->outputs.count;
    sinter_tensor *expected = calloc(count, sizeof *expected), *got = calloc(count, sizeof *got);
    if (!expected || !got) abort();
    CHECK(sinter_loop_verify(s->program, &diag));
    if (CHECK(sinter_loop_interpret_host(s->program, s->tensors.items, s->tensors.count, expected,
                                         count, &diag)) &&
        CHECK(support_run(s->program, target, s->tensors.items, got, &diag)))
        compare_outputs(s, target, got, expected);
    for (size_t i = 0; i < count; i++) {
        sinter_tensor_deinit(&expected[i]);
        sinter_tensor_deinit(&got[i]);
    }
    free(expected);
    free(got);
}

static void suite_init(suite *s) {
    *s = (suite){.program = sinter_loop_program_create("suite")};
    support_begin_host(s->program, &s->host);
}

static void suite_deinit(suite *s) {
    for (size_t i = 0; i < s->tensors.count; i++) sinter_tensor_deinit(&s->tensors.items[i]);
    sinter_loop_program_destroy(s->program);
}

/* ---- cases ---- */

static const sinter_dtype computing[] = {SINTER_DTYPE_f32, SINTER_DTYPE_f64, SINTER_DTYPE_i8,
                                         SINTER_DTYPE_i16, SINTER_DTYPE_i32, SINTER_DTYPE_i64,
                                         SINTER_DTYPE_u8,  SINTER_DTYPE_u16, SINTER_DTYPE_u32,
                                         SINTER_DTYPE_u64, SINTER_DTYPE_bool};
enum { COMPUTING_COUNT = sizeof computing / sizeof *computing };

/* In C all axes are plain loops. */
static bool is_c(const char *target) {
    return !strncmp(target, "c:", 2);
}

/* Whether a target has an instruction that rounds a product and a sum once. */
static bool fuses(const char *target) {
    bool oldest = is_c(target) || !strcmp(target, "cpu:x86-64-v2");
#ifdef __x86_64__
    if (!strcmp(target, "cpu:native")) return __builtin_cpu_supports("fma") != 0;
#endif
    return !oldest;
}

/* Functions of libm and expansions are right to a few units in the last place, as is fma where it rounds twice (these numbers do not
 * cancel); all else to the bit. */
static double tolerance_of(sinter_scalar_function function, sinter_dtype dtype,
                           const char *target) {
    bool approximate = (function >= SINTER_SCALAR_exp && function <= SINTER_SCALAR_atanh) ||
                       (function == SINTER_SCALAR_fma && !fuses(target));
    if (!approximate || !sinter_dtype_is_float(dtype)) return 0;
    return dtype == SINTER_DTYPE_f64 ? 1e-14 : 2e-6;
}

static bool is_defined(sinter_scalar_function function, sinter_dtype dtype) {
    bool is_float = sinter_dtype_is_float(dtype), is_bool = dtype == SINTER_DTYPE_bool;
    switch (function) {
    case SINTER_SCALAR_and:
    case SINTER_SCALAR_or:
    case SINTER_SCALAR_xor:
    case SINTER_SCALAR_not:
        return !is_float;
    case SINTER_SCALAR_shl:
    case SINTER_SCALAR_shr:
        return !is_float && !is_bool;
    case SINTER_SCALAR_bits:
        return is_float;
    case SINTER_SCALAR_round_tf32:
        return dtype == SINTER_DTYPE_f32;
    case SINTER_SCALAR_from_bits:
        return dtype == SINTER_DTYPE_i32 || dtype == SINTER_DTYPE_i64;
    case SINTER_SCALAR_add:
    case SINTER_SCALAR_mul:
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max:
    case SINTER_SCALAR_eq:
    case SINTER_SCALAR_ne:
    case SINTER_SCALAR_lt:
    case SINTER_SCALAR_le:
    case SINTER_SCALAR_select:
        return true;
    default:
        return !is_bool;
    }
}

static sinter_dtype result_of(sinter_scalar_function function, sinter_dtype dtype) {
    bool wide = sinter_dtype_infos[dtype].bits == 64;
    if (function == SINTER_SCALAR_bits) return wide ? SINTER_DTYPE_i64 : SINTER_DTYPE_i32;
    if (function == SINTER_SCALAR_from_bits) return wide ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
    return sinter_scalar_get_info(function)->result == SINTER_RESULT_BOOL ? SINTER_DTYPE_bool
                                                                          : dtype;
}

static void test_functions(const char *target) {
    suite s;
    suite_init(&s);
    for (int function = 1; function < SINTER_SCALAR_COUNT; function++)
        for (size_t t = 0; t < COMPUTING_COUNT; t++) {
            if (!is_defined(function, computing[t])) continue;
            sinter_dtype types[3] = {computing[t], computing[t], computing[t]};
            if (function == SINTER_SCALAR_select) types[0] = SINTER_DTYPE_bool;
            for (int vector = 0; vector < (is_c(target) ? 1 : 2); vector++)
                add_case(&s, function, types, sinter_scalar_get_info(function)->arity,
                         result_of(function, computing[t]), vector, true,
                         tolerance_of(function, computing[t], target));
        }
    run_suite(&s, target);
    suite_deinit(&s);
}

static void test_casts(const char *target) {
    suite s;
    suite_init(&s);
    for (sinter_dtype from = 1; from < SINTER_DTYPE_COUNT; from++)
        for (sinter_dtype to = 1; to < SINTER_DTYPE_COUNT; to++) {
            sinter_dtype_class a = sinter_dtype_infos[from].class, b = sinter_dtype_infos[to].class;
            if (a == SINTER_CLASS_STRING || a == SINTER_CLASS_COMPLEX || b == SINTER_CLASS_STRING ||
                b == SINTER_CLASS_COMPLEX || from == to)
                continue;
            bool sub_byte = sinter_dtype_infos[to].bits < 8;
            for (int vector = 0; vector < (sub_byte || is_c(target) ? 1 : 2); vector++)
                for (int saturate = 0; saturate < 2; saturate++)
                    if (saturate || (b == SINTER_CLASS_FLOAT && sinter_dtype_infos[to].bits == 8))
                        add_case(&s, SINTER_SCALAR_NONE, &from, 1, to, vector, saturate, 0);
        }
    run_suite(&s, target);
    suite_deinit(&s);
}

/* Arguments are other targets, as in `emit_test c:clang cpu:x86-64-v4`. */
int main(int argc, char **argv) {
    static const char *const everyday[] = {"cpu:native", "cpu:x86-64-v2", "cpu:x86-64-v3", "c:cc"};
    size_t count = argc > 1 ? (size_t)argc - 1 : sizeof everyday / sizeof *everyday;
    for (size_t i = 0; i < count; i++) {
        const char *target = argc > 1 ? argv[i + 1] : everyday[i];
        if (!support_can_run(target)) {
            printf("skipped: this machine cannot run %s\n", target);
            continue;
        }
        test_functions(target);
        test_casts(target);
    }
    return test_finish();
}
