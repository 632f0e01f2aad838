/* Instruction sets: one program with every row of codegen/loops/intrinsic.def at every width, integer products in register tiles,
 * narrow types, reductions and functions.
 *
 * LLVM takes it for every CPU of target.def and for every feature added to a plain CPU. Where this machine (or
 * qemu-aarch64) can run the code, answers are the interpreter's: integers and conversions to the bit, floats within
 * 1e-5. Emitting twice gives the same bytes. Emitted C for boards needs neither heap nor stdio. */
#include "tests/unit/emit_support.h"
#include "tests/unit/test.h"

#include <math.h>

enum { COUNT = 512 };

/* ---- the program, as text ---- */

static const struct {
    const char *name, *dtype;
} inputs[] = {{"a", "i32"}, {"b", "i32"}, {"s", "i32"},  {"x", "f32"},
              {"d", "f64"}, {"h", "f16"}, {"g", "bf16"}, {"e", "f8e4m3fn"},
              {"q", "i4"},  {"u", "u8"},  {"j", "i8"}};
enum { INPUT_COUNT = sizeof inputs / sizeof *inputs };

/* Steps of a quantization: rounded, shifted, clamped numbers, infinities and NaN. */
#define QUOTIENT "%x[i + v] * 60.0:f32 / cast(f32, %q[i + v]) * cast(f32, %q[511 - i])"
#define CLAMPED(shift, low, high)                                                                  \
 "cast(i32, min(max(round_even(" QUOTIENT ")" shift ", " low ":f32), " high ":f32))"
#define ROUND(name, dtype, lanes, value)                                                           \
 {                                                                                                 \
  "round_" name "_" lanes, dtype,                                                                  \
      "for i in 0..512 step " lanes " { for v in 0.." lanes " vector { %y[i + v] = " value " } }"  \
 }
#define ROUNDS(lanes)                                                                              \
 ROUND("u8", "u8", lanes, "cast(u8, " CLAMPED("", "0.0", "255.0") ")"),                            \
     ROUND("u8_zero", "u8", lanes, "cast(u8, " CLAMPED(" + 0.0:f32", "0.0", "255.0") ")"),         \
     ROUND("u8_shift", "u8", lanes,                                                                \
           "cast(u8, " CLAMPED(" + cast(f32, %u[5])", "0.0", "255.0") ")"),                        \
     ROUND("u8_high", "u8", lanes, "cast(u8, " CLAMPED(" + 3.0:f32", "3.0", "200.0") ")"),         \
     ROUND("i8", "i8", lanes, "cast(i8, " CLAMPED("", "-128.0", "127.0") ")"),                     \
     ROUND("i8_shift", "i8", lanes, "cast(i8, " CLAMPED(" - 7.0:f32", "-128.0", "127.0") ")"),     \
     ROUND("i8_low", "i8", lanes,                                                                  \
           "cast(i8, " CLAMPED(" + cast(f32, cast(i8, %u[7]))", "-128.0", "127.0") ")"),           \
     ROUND("i16", "i32", lanes, CLAMPED(" + -9.0:f32", "-32768.0", "32767.0")),                    \
     ROUND("f32", "f32", lanes,                                                                    \
           "cast(f32, cast(i32, cast(i8, " CLAMPED(                                                \
               "", "-128.0",                                                                       \
               "127.0") ")) - 3:i32) * 0.5:f32 + cast(f32, cast(u8, " CLAMPED("", "0.0",           \
                                                                              "255.0") "))")

/* Four results as one word, in all lanes; numbers far outside of i32, infinities and NaN among them. */
#define SCALED(by) "cast(f32, %a[i + v]) * " by
#define PART(dtype, value, shift, low, high)                                                       \
 "cast(i32, cast(u8, cast(" dtype ", cast(i32, min(max(round_even(" value ")" shift ", " low       \
 ":f32), " high ":f32)))))"
#define WORD(name, lanes, dtype, a, b, c, d, shift, low, high)                                     \
 ROUND(                                                                                            \
     "word_" name, "i32", lanes,                                                                   \
     PART(dtype, a, shift, low, high) " | " PART(dtype, b, shift, low, high) " << 8:i32 | " PART(  \
         dtype, c, shift, low, high) " << 16:i32 | " PART(dtype, d, shift, low, high) " << "       \
                                                                                      "24:i32")
#define WORDS(lanes)                                                                               \
 WORD("u8", lanes, "u8", QUOTIENT, SCALED("0.0000001:f32"), SCALED("3.5:f32"),                     \
      "(" QUOTIENT ") * -1.0e30:f32", " + 119.0:f32", "0.0", "255.0"),                             \
     WORD("u8_plain", lanes, "u8", QUOTIENT, SCALED("0.0000001:f32"), QUOTIENT, QUOTIENT, "",      \
          "0.0", "255.0"),                                                                         \
     WORD("u8_loaded", lanes, "u8", "(" QUOTIENT ") * 1.0e30:f32", SCALED("0.00000003:f32"),       \
          QUOTIENT, SCALED("0.25:f32"), " + cast(f32, %u[5])", "0.0", "255.0"),                    \
     WORD("i8", lanes, "i8", QUOTIENT, SCALED("0.00000005:f32"), "(" QUOTIENT ") * 1.0e30:f32",    \
          SCALED("-0.00000002:f32"), " + cast(f32, %j[3])", "-128.0", "127.0"),                    \
     WORD("i8_plain", lanes, "i8", SCALED("0.00000005:f32"), QUOTIENT, SCALED("0.5:f32"),          \
          SCALED("2.0:f32"), "", "-128.0", "127.0")

/* Kernels with one output of 512 elements. */
static const struct {
    const char *name, *dtype, *body;
} bodies[] = {
    {"gemm8", "i32",
     "for i in 0..8 { alloc %c: i32[4,16] register "
     "for r in 0..4 unroll { for v in 0..16 vector { %c[r,v] = %s[i * 64 + r * 16 + v] } } "
     "for k in 0..8 { for r in 0..4 unroll { for v in 0..16 vector { "
     "%c[r,v] = dot4_u8i8(%c[r,v], %a[i * 32 + r * 8 + k], %b[k * 16 + v]) } } } "
     "for r in 0..4 unroll { for v in 0..16 vector { %y[i * 64 + r * 16 + v] = %c[r,v] } } }"},
    {"gemm8_signed", "i32",
     "for i in 0..32 parallel { alloc %c: i32[2,8] register "
     "for r in 0..2 unroll { for v in 0..8 vector { %c[r,v] = 0:i32 } } "
     "for k in 0..8 { for r in 0..2 unroll { for v in 0..8 vector { "
     "%c[r,v] = dot4_i8i8(%c[r,v], %a[i * 16 + r * 8 + k], %b[k * 8 + v]) } } } "
     "for r in 0..2 unroll { for v in 0..8 vector { %y[i * 16 + r * 8 + v] = %c[r,v] } } }"},
    {"words", "i32", /* of bytes that others have too */
     "for i in 0..64 { for v in 0..8 vector { %y[i * 8 + v] = dot4_u8i8(dot4_u8i8(%s[i * 8 + v], "
     "cast(i32, %u[i * 6]) | cast(i32, %u[i * 6 + 1]) << 8:i32 | cast(i32, %u[i * 6 + 2]) << "
     "16:i32 | cast(i32, %u[i * 6 + 3]) << 24:i32, %b[i * 8 + v]), cast(i32, %u[i * 6 + 3]) | "
     "cast(i32, %u[i * 6 + 4]) << 8:i32 | cast(i32, %u[i * 6 + 5]) << 16:i32, %b[i * 8 + v]) } }"},
    {"signed_words", "i32",
     "for i in 0..64 { for v in 0..8 vector { %y[i * 8 + v] = dot4_u8i8(%s[i * 8 + v], "
     "%b[i * 8 + v] & 252645135:i32, cast(i32, cast(u8, %j[i * 5])) | "
     "cast(i32, cast(u8, %j[i * 5 + 1])) << 8:i32 | cast(i32, cast(u8, %j[i * 5 + 2])) << "
     "16:i32 | cast(i32, cast(u8, %j[i * 5 + 3])) << 24:i32) } }"},
    {"pairs", "f32",
     "for i in 0..64 { for v in 0..8 vector { %y[i * 8 + v] = dot2_bf16(%x[i * 8 + v], "
     "bits(cast(f32, %g[i * 6])) >> 16:i32 & 65535:i32 | bits(cast(f32, %g[i * 6 + 1])), "
     "bits(cast(f32, %g[i * 8 + v])) >> 16:i32 & 65535:i32 | bits(cast(f32, %g[511 - i]))) } }"},
    {"gemm", "f32",
     "for i in 0..8 parallel { alloc %c: f32[4,16] register "
     "for r in 0..4 unroll { for v in 0..16 vector { %c[r,v] = 0.0:f32 } } "
     "for k in 0..8 { for r in 0..4 unroll { for v in 0..16 vector { "
     "%c[r,v] = fma(%x[i * 32 + r * 8 + k], %x[k * 16 + v], %c[r,v]) } } } "
     "for r in 0..4 unroll { for v in 0..16 vector { %y[i * 64 + r * 16 + v] = max(%c[r,v], "
     "0.0:f32) } } }"},
    {"masked", "i32",
     "for i in 0..512 step 16 { for v in 0..16 vector { "
     "if %a[i + v] < %b[i + v] { %y[i + v] = %a[i + v] * 3:i32 } else { %y[i + v] = %s[i + v] >> "
     "3:i32 } } }"},
    {"functions", "f32",
     "for i in 0..512 step 8 { for v in 0..8 vector { %y[i + v] = "
     "exp(%x[i + v]) + tanh(%x[i + v]) + erf(%x[i + v]) + sqrt(abs(%x[i + v])) + log(abs(%x[i + "
     "v]) + 1.0:f32) } }"},
    {"halves", "f16",
     "for i in 0..512 step 16 { for v in 0..16 vector { "
     "%y[i + v] = cast(f16, cast(f32, %h[i + v]) + cast(f32, %g[i + v])) } }"},
    {"brains", "bf16",
     "for i in 0..512 step 16 { for v in 0..16 vector { %y[i + v] = cast(bf16, cast(f32, %e[i + "
     "v]) * %x[i + v]) } }"},
    {"swish", "f16", /* rounded after each step: expressions that share much */
     "for i in 0..512 step 16 { for v in 0..16 vector { let r: f16 = cast(f16, %x[i + v]) "
     "%y[i + v] = cast(f16, cast(f32, cast(f16, cast(f32, cast(f16, cast(f32, cast(f16, %x[i + "
     "v])) "
     "/ (exp(cast(f32, cast(f16, %x[i + v])) * -1.0:f32) + 1.0:f32))) * 0.5:f32)) + cast(f32, r)) "
     "} }"},
    {"eighths", "f8e5m2",
     "for i in 0..512 step 32 { for v in 0..32 vector { %y[i + v] = cast(f8e5m2, cast(f32, %h[i + "
     "v])) } }"},
    {"nibbles", "i32",
     "for i in 0..512 step 8 { for v in 0..8 vector { %y[i + v] = cast(i32, %q[i + v]) * cast(i32, "
     "%u[i + v]) } }"},
    {"quantize", "u8",
     "for i in 0..512 step 16 { for v in 0..16 vector { %y[i + v] = "
     "cast(u8, min(max(round_even(%x[i + v] * 3.5:f32) + 128.0:f32, 0.0:f32), 255.0:f32)) } }"},
    ROUNDS("4"),
    ROUNDS("8"),
    ROUNDS("16"),
    ROUNDS("32"),
    WORDS("4"),
    WORDS("8"),
    WORDS("16"),
    WORDS("32"),
    {"wide", "i64",
     "for i in 0..512 step 4 { for v in 0..4 vector { %y[i + v] = "
     "cast(i64, %a[i + v]) * cast(i64, %b[i + v]) / max(cast(i64, %u[i + v]), 1) } }"},
    {"doubles", "f64",
     "for i in 0..512 step 4 { for v in 0..4 vector { %y[i + v] = sin(%d[i + v]) + pow(abs(%d[i + "
     "v]), 1.25:f64) } }"},
    {"histogram", "i32",
     "for i in 0..512 { %y[i] = 0:i32 } for i in 0..512 { %y[cast(i64, %u[i])] combine(add) = "
     "1:i32 }"},
    {"counts", "i32",
     "for i in 0..512 { var n: i32 = 0:i32 var k: i32 = cast(i32, %u[i]) "
     "while 0:i32 < k { n = n + (k & 1:i32) k = k >> 1:i32 } %y[i] = n }"},
};
enum {
    BODY_COUNT = sizeof bodies / sizeof *bodies,
    SHAPES = 14
}; /* of an intrinsic: lanes, broadcast or not */
enum { OUTPUT_LIMIT = BODY_COUNT + SHAPES * SINTER_INTRINSIC_COUNT };

static void add_output(sinter_text *kernels, sinter_text *host, sinter_text *outputs, size_t index,
                       const char *name, const char *dtype, const char *body) {
    sinter_text_format(kernels, "kernel @%s(", name);
    sinter_text_format(host, "alloc %%y%zu: %s[512] out %zu call @%s(", index, dtype, index, name);
    for (size_t i = 0; i < INPUT_COUNT; i++) {
        sinter_text_format(kernels, "%%%s: %s[512] in, ", inputs[i].name, inputs[i].dtype);
        sinter_text_format(host, "%%%s, ", inputs[i].name);
    }
    sinter_text_format(kernels, "%%y: %s[512] out) { %s }\n", dtype, body);
    sinter_text_format(host, "%%y%zu)\n", index);
    sinter_text_format(outputs, "output \"%s\": %s[512] = [512]\n", name, dtype);
}

static sinter_loop_program *make_program(sinter_diag *diag) {
    sinter_text text = {0}, kernels = {0}, host = {0}, outputs = {0}, parameters = {0};
    size_t count = 0;
    char name[64], body[512];
    const char *dtypes[OUTPUT_LIMIT];
    for (int row = 1; row < SINTER_INTRINSIC_COUNT; row++) {
        const sinter_loop_intrinsic_info *info = &sinter_loop_intrinsic_infos[row];
        bool is_float = info->result == SINTER_DTYPE_f32;
        CHECK(info->arity == 3 &&
              (is_float || info->result == SINTER_DTYPE_i32)); /* else teach this test the row */
        const char *formats[] = {
            "for i in 0..512 step %d { for v in 0..%d %s { %%y[i + v] = %s(%%s[i + v], %%a[%s], "
            "%%b[i + v]) } }",
            /* Pairs of numbers, not of any bits. */
            "for i in 0..512 step %d { for v in 0..%d %s { %%y[i + v] = %s(%%x[i + v], "
            "bits(cast(f32, %%g[%s])) >> 16:i32 & 65535:i32 | bits(cast(f32, %%g[i / 2])), "
            "bits(cast(f32, %%g[511 - i])) >> 16:i32 & 65535:i32 | bits(cast(f32, %%g[i + v]))) } "
            "}"};
        for (int lanes = 1; lanes <= 64; lanes *= 2)
            for (int broadcast = 0; broadcast < 2; broadcast++) {
                const char *axis = lanes > 1 ? "vector" : "";
                snprintf(name, sizeof name, "%s_%d_%d", info->name, lanes, broadcast);
                snprintf(body, sizeof body, formats[is_float], lanes, lanes, axis, info->name,
                         broadcast ? "i" : "i + v");
                dtypes[count] = sinter_dtype_infos[info->result].name;
                add_output(&kernels, &host, &outputs, count, name, dtypes[count], body);
                count++;
            }
    }
    for (size_t i = 0; i < BODY_COUNT; i++) {
        dtypes[count] = bodies[i].dtype;
        add_output(&kernels, &host, &outputs, count++, bodies[i].name, bodies[i].dtype,
                   bodies[i].body);
    }
    sinter_text_append_string(&text, "program \"isa\" {\n");
    for (size_t i = 0; i < INPUT_COUNT; i++) {
        sinter_text_format(&text, "input \"%s\": %s[512]\n", inputs[i].name, inputs[i].dtype);
        sinter_text_format(&parameters, "%%%s: %s[512] in %zu, ", inputs[i].name, inputs[i].dtype,
                           i);
    }
    for (size_t i = 0; i < count; i++)
        sinter_text_format(&parameters, "%s%%y%zu: %s[512] out %zu", i ? ", " : "", i, dtypes[i],
                           i);
    sinter_text_format(&text, "%shost @main(%s) {\n%s}\n%s}\n", kernels.data, parameters.data,
                       host.data, outputs.data);
    sinter_loop_program *program = sinter_loop_parse("isa", text.data, text.size, diag);
    sinter_text *texts[] = {&text, &kernels, &host, &outputs, &parameters};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) sinter_text_deinit(texts[i]);
    return program;
}

static void fill(sinter_tensor *tensor, uint64_t seed) {
    static const uint32_t corners[] = {0,           0x80808080u, 0x7f7f7f7fu, 0xffffffffu,
                                       0x80000000u, 0x7fffffffu, 0x00ff80ffu, 0x01010101u};
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    for (int64_t i = 0; i < COUNT; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = state >> 20, pick = bits % 24;
        if (sinter_dtype_is_float(tensor->dtype))
            sinter_tensor_set_double(tensor, i, ldexp((double)(bits & 0xffff) - 0x8000, -13));
        else
            sinter_tensor_set_int(tensor, i,
                                  pick < 8 ? (int32_t)corners[pick] : (int32_t)(uint32_t)bits);
    }
}

/* ---- answers ---- */

static bool is_same(const sinter_tensor *got, const sinter_tensor *expected) {
    if (expected->dtype != SINTER_DTYPE_f32 && expected->dtype != SINTER_DTYPE_f64)
        return !memcmp(got->data, expected->data, sinter_tensor_bytes(expected));
    double most = 0, worst = 0;
    for (int64_t i = 0; i < COUNT; i++) {
        double a = sinter_tensor_get_double(got, i), b = sinter_tensor_get_double(expected, i);
        if (!(fabs(a - b) <= worst)) worst = fabs(a - b);
        if (fabs(b) > most) most = fabs(b);
    }
    return worst <= 1e-5 * most;
}

static void test_answers(const sinter_loop_program *program, const sinter_tensor *tensors,
                         const sinter_tensor *expected, const char *target, sinter_diag *diag) {
    if (!support_can_run(target)) {
        printf("skipped: this machine cannot run %s\n", target);
        return;
    }
    size_t count = program->outputs.count;
    sinter_tensor *got = sinter_heap_alloc(count * sizeof *got);
    if (CHECK(support_run(program, target, tensors, got, diag)))
        for (size_t i = 0; i < count; i++)
            if (!CHECK(is_same(&got[i], &expected[i])))
                printf("  %s: %s\n", target, program->outputs.items[i].name);
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&got[i]);
    sinter_heap_free(got);
}

/* ---- objects ---- */

static bool emit_object(const sinter_loop_program *program, const char *text, int level,
                        sinter_text *out_bytes, sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    sinter_target target;
    bool good = sinter_target_parse(text, &arena, &target, diag) &&
                sinter_emit_llvm(program, &target, &(sinter_codegen_options){.level = level},
                                 SINTER_LLVM_OBJECT, "isa_artifact", true, out_bytes, diag);
    sinter_arena_deinit(&arena);
    return good;
}

static void test_object(const sinter_loop_program *program, const char *target, int level,
                        sinter_diag *diag) {
    sinter_text bytes = {0};
    printf("%s -O%d\n", target, level); /* tells where LLVM ended the process, if it did */
    fflush(stdout);
    if (!CHECK(emit_object(program, target, level, &bytes, diag))) printf("  %s\n", target);
    sinter_text_deinit(&bytes);
}

/* What schedules divide by and choose by. */
static void test_row(const char *text, sinter_diag *diag) {
    enum { LINE = 64 };
    sinter_target t;
    sinter_arena arena;
    sinter_arena_init(&arena);
    CHECK(sinter_target_parse(text, &arena, &t, diag));
    CHECK(t.vector_bytes >= 16 && t.registers >= 16 && t.l1_bytes < t.l2_bytes);
    CHECK(t.products && t.loads && t.latency && t.wake_cycles);
    CHECK(t.near_bytes >= t.memory_bytes && t.memory_bytes && t.shared_bytes && t.l3_share);
    CHECK(t.l2_ways && t.l2_bytes % (t.l2_ways * LINE) == 0);
    sinter_arena_deinit(&arena);
}

static void test_every_target(const sinter_loop_program *program, sinter_diag *diag) {
    static const char *const targets[] = {
#define CPU(arch, name, ...) "cpu:" name,
#include "codegen/target.def"
#define PLAIN_x86_64 "cpu:x86-64-v2+"
#define PLAIN_aarch64 "cpu:aarch64+"
#define FEATURE(arch, name, llvm, cpuinfo, implies) PLAIN_##arch name,
#include "codegen/target.def"
    };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        test_row(targets[i], diag);
        test_object(program, targets[i], 1, diag);
    }
    test_object(program, "cpu:x86-64-v2", 0, diag);
    test_object(program, "cpu:x86-64-v4+avx512vnni", 3, diag);
    test_object(program, "cpu:neoverse-v1", 3, diag);
}

/* ---- bytes ---- */

static bool is_equal(const sinter_text *a, const sinter_text *b) {
    return a->size && a->size == b->size && !memcmp(a->data, b->data, a->size);
}

static void test_reproducible(const sinter_loop_program *program, sinter_diag *diag) {
    sinter_loop_program *again = make_program(diag);
    sinter_text a = {0}, b = {0};
    CHECK(sinter_emit_c(program, &a, diag) && sinter_emit_c(again, &b, diag) && is_equal(&a, &b));
    static const char *const targets[] = {"cpu:x86-64-v3", "cpu:aarch64"};
    for (int i = 0; i < 2; i++) {
        a.size = b.size = 0;
        CHECK(emit_object(program, targets[i], 2, &a, diag) &&
              emit_object(again, targets[i], 2, &b, diag) && is_equal(&a, &b));
    }
    sinter_text_deinit(&a);
    sinter_text_deinit(&b);
    sinter_loop_program_destroy(again);
}

/* What the board's object wants from elsewhere: memory blocks and libm. */
static void test_board(const sinter_loop_program *program, sinter_diag *diag) {
    char folder[SINTER_FILE_FOLDER_BYTES], path[sizeof folder + 16], command[1024];
    sinter_text text = {0};
    if (!CHECK(sinter_file_make_folder(folder, NULL))) return;
    snprintf(path, sizeof path, "%s/model.c", folder);
    CHECK(sinter_emit_c(program, &text, diag) && support_write(path, &text));
    sinter_text_deinit(&text);
    snprintf(command, sizeof command,
             "cd %s && cc -std=c17 -Os -Wall -Wextra -Werror -DSINTER_BOARD -c model.c && ! nm -u "
             "model.o | grep -E 'alloc|free|print|abort|thread|sinter' >&2",
             folder);
    CHECK(system(command) == 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
}

int main(void) {
    sinter_diag diag = {sinter_diag_print_handler, stdout, 0, 0};
    sinter_loop_program *program = make_program(&diag);
    if (!CHECK(program) || !CHECK(sinter_loop_verify(program, &diag))) return test_finish();
    sinter_tensor tensors[INPUT_COUNT] = {0};
    for (size_t i = 0; i < INPUT_COUNT; i++) {
        sinter_tensor_create(&tensors[i], program->inputs.items[i].dtype, 1, (int64_t[]){COUNT},
                             &diag);
        fill(&tensors[i], i);
    }
    size_t count = program->outputs.count;
    sinter_tensor *expected = sinter_heap_alloc(count * sizeof *expected);
    static const char *const targets[] = {"cpu:x86-64-v2",
                                          "cpu:x86-64-v3",
                                          "cpu:x86-64-v4",
                                          "cpu:x86-64-v4+avx512vnni",
                                          "cpu:x86-64-v4+avx512bf16",
                                          "cpu:x86-64-v3+avxvnni",
                                          "cpu:x86-64-v3+avxvnniint8",
                                          "cpu:aarch64",
                                          "cpu:neoverse-n1",
                                          "cpu:neoverse-v1",
                                          "c:cc",
                                          "c:clang",
                                          ("c:" SUPPORT_CROSS_CC),
                                          "board:cc"};
    if (CHECK(sinter_loop_interpret_host(program, tensors, INPUT_COUNT, expected, count, &diag)))
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
            test_answers(program, tensors, expected, targets[i], &diag);
    test_every_target(program, &diag);
    test_reproducible(program, &diag);
    test_board(program, &diag);
    for (size_t i = 0; i < count; i++) sinter_tensor_deinit(&expected[i]);
    for (size_t i = 0; i < INPUT_COUNT; i++) sinter_tensor_deinit(&tensors[i]);
    sinter_heap_free(expected);
    sinter_loop_program_destroy(program);
    return test_finish();
}
