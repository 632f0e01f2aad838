/* The kernels of the roofline, as programs of the loop IR: multiply-adds that depend on registers alone, as many at a time
 * as cover their latency; and sums over memory of the size of each level. Test: tests/cli/bench_nodes.test */
#include "tools/sinter/roofline.h"
#include "codegen/loops/parse.h"
#include "ir/base/clock.h"
#include "ir/base/heap.h"
#include "runtime/sinter_runtime.h"
#include <math.h>
#include <string.h>

enum {
    CHAINS = 12,     /* two multiply-adds a cycle, of four to six cycles each */
    STEPS = 1 << 18, /* of every chain: a few milliseconds */
    SHARES = 4,      /* iterations for a thread */
    RUNS = 8,
    AHEAD = 2048,        /* elements: hardware stops at the ends of pages */
    STREAMS = 4,         /* vectors read in one go */
    MEMORY_TIMES_L3 = 4, /* what is read of memory, in caches */
    MIN_READ = 1 << 25,  /* bytes of a run, as often as it takes over the smaller levels */
    MIN_MEMORY = 1 << 27,
    MAX_MEMORY = 1 << 30
};
const char *const roofline_level_names[ROOFLINE_LEVELS] = {"L2", "L3", "memory"};

/* ---- programs ---- */

static const char *const float_step = "%a[r,l] * 0.9:f32 + 0.1:f32",
                         *const integer_step = "dot4_u8i8(%a[r,l], 16909060:i32, 16843009:i32)";

static void write_begin(sinter_text *text, const char *parameter, const char *type, int64_t shares,
                        int64_t chains, int64_t lanes) {
    sinter_text_format(text,
                       "kernel @work(%s%%y: %s[%lld,%lld] out) \"roofline\" {\n"
                       "for t in 0..%lld parallel {\nalloc %%a: %s[%lld,%lld] register\n"
                       "for r in 0..%lld unroll { for l in 0..%lld vector { %%a[r,l] = 0:%s } }\n",
                       parameter, type, (long long)shares, (long long)(chains * lanes),
                       (long long)shares, type, (long long)chains, (long long)lanes,
                       (long long)chains, (long long)lanes, type);
}

static void write_end(sinter_text *text, const char *input, const char *type, int64_t shares,
                      int64_t chains, int64_t lanes) {
    long long count = chains * lanes;
    sinter_text_format(text,
                       "for r in 0..%lld unroll { for l in 0..%lld vector { %%y[t,r * %lld + l] = "
                       "%%a[r,l] } }\n}\n}\n",
                       (long long)chains, (long long)lanes, (long long)lanes);
    sinter_text_format(text,
                       "host @host(%s%%y: %s[%lld,%lld] out 0) {\nalloc %%y: %s[%lld,%lld] out 0\n"
                       "call @work(%s%%y)\n}\noutput \"y\": %s[%lld,%lld] = [%lld, %lld]\n"
                       "workspace 0\n}\n",
                       input, type, (long long)shares, count, type, (long long)shares, count,
                       *input ? "%x, " : "", type, (long long)shares, count, (long long)shares,
                       count);
}

static void write_products(sinter_text *text, bool integer, int64_t shares, int64_t lanes) {
    const char *type = integer ? "i32" : "f32";
    sinter_text_append_string(text, "program \"products\" {\n");
    write_begin(text, "", type, shares, CHAINS, lanes);
    sinter_text_format(text,
                       "for k in 0..%d { for r in 0..%d unroll { for l in 0..%lld vector { "
                       "%%a[r,l] = %s } } }\n",
                       STEPS, CHAINS, (long long)lanes, integer ? integer_step : float_step);
    write_end(text, "", type, shares, CHAINS, lanes);
}

static void write_reads(sinter_text *text, int64_t shares, int64_t elements, int64_t rounds,
                        int64_t lanes) {
    long long once = STREAMS * lanes;
    sinter_text input = {0}, type = {0};
    sinter_text_format(&type, "%%x: f32[%lld,%lld]", (long long)shares, (long long)elements);
    sinter_text_format(text, "program \"reads\" {\ninput \"x\": f32[%lld,%lld]\n",
                       (long long)shares, (long long)elements);
    sinter_text_format(&input, "%s in, ", type.data);
    write_begin(text, input.data, "f32", shares, STREAMS, lanes);
    sinter_text_format(text,
                       "for n in 0..%lld { for k in 0..%lld { for r in 0..%d unroll {\n"
                       "prefetch %%x[t,k * %lld + r * %lld + %d]\n"
                       "for l in 0..%lld vector { %%a[r,l] = %%a[r,l] + %%x[t,k * %lld + r * %lld "
                       "+ l] } } } }\n",
                       (long long)rounds, elements / once, STREAMS, once, (long long)lanes, AHEAD,
                       (long long)lanes, once, (long long)lanes);
    input.size = 0;
    sinter_text_format(&input, "%s in 0, ", type.data);
    write_end(text, input.data, "f32", shares, STREAMS, lanes);
    sinter_text_deinit(&input);
    sinter_text_deinit(&type);
}

/* ---- runs ---- */

static bool fine(sinter_status *status, sinter_diag *diag) {
    if (!status) return true;
    sinter_error(diag, "roofline", "%s", sinter_status_message(status));
    sinter_status_destroy(status);
    return false;
}

static bool run_for_best(const sinter_executable *executable, sinter_abi_tensor *input,
                         const sinter_pool *pool, double *out_seconds, sinter_diag *diag) {
    sinter_abi_tensor output = {0};
    uint64_t bytes;
    if (!fine(sinter_executable_plan(executable, input, &output, &bytes), diag)) return false;
    output.bytes = (uint64_t)(output.dims[0] * output.dims[1]) * sizeof(float);
    output.data = sinter_heap_alloc(output.bytes);
    *out_seconds = INFINITY;
    bool good = true;
    for (int i = 0; i < RUNS && good; i++) {
        double begin = sinter_clock_seconds();
        good = fine(
            sinter_executable_run(executable, input, &output, sinter_pool_services(pool), NULL, 0),
            diag);
        *out_seconds = fmin(*out_seconds, sinter_clock_seconds() - begin);
    }
    sinter_heap_free(output.data);
    return good;
}

/* Seconds of the program's one kernel. */
static bool time_program(const sinter_text *text, const sinter_target *target,
                         sinter_abi_tensor *input, const sinter_pool *pool, double *out_seconds,
                         sinter_diag *diag) {
    const sinter_codegen_options options = {.level = 2, .jobs = 1};
    sinter_loop_program *program = sinter_loop_parse("roofline", text->data, text->size, diag);
    sinter_jit *jit = program ? sinter_jit_create(program, target, &options, diag) : NULL;
    sinter_executable *executable = NULL;
    bool good =
        jit &&
        fine(sinter_executable_wrap(sinter_jit_artifact(jit), NULL, NULL, &executable), diag) &&
        run_for_best(executable, input, pool, out_seconds, diag);
    sinter_executable_destroy(executable);
    if (jit) sinter_jit_destroy(jit);
    sinter_loop_program_destroy(program);
    return good;
}

static bool measure_products(const sinter_target *target, int threads, bool integer,
                             const sinter_pool *pool, double *out, sinter_diag *diag) {
    sinter_text text = {0};
    int64_t lanes = target->vector_bytes / 4, shares = (int64_t)SHARES * threads;
    double seconds = 0;
    write_products(&text, integer, shares, lanes);
    bool good = time_program(&text, target, NULL, pool, &seconds, diag);
    double each = integer ? 8 : 2; /* operations of a lane */
    if (good) *out = each * STEPS * CHAINS * (double)lanes * (double)shares / seconds;
    sinter_text_deinit(&text);
    return good;
}

static bool measure_reads(const sinter_target *target, int threads, int64_t bytes,
                          const sinter_pool *pool, double *out, sinter_diag *diag) {
    sinter_text text = {0};
    int64_t lanes = target->vector_bytes / 4, shares = (int64_t)SHARES * threads;
    int64_t elements = bytes / 4 / shares / (STREAMS * lanes) * (STREAMS * lanes);
    int64_t all = elements * shares * 4, rounds = (MIN_READ - 1) / all + 1;
    double seconds = 0;
    write_reads(&text, shares, elements, rounds, lanes);
    sinter_abi_tensor input = {.dtype = sinter_dtype_infos[SINTER_DTYPE_f32].onnx_code,
                               .rank = 2,
                               .dims = {shares, elements},
                               .bytes = (uint64_t)all};
    input.data = sinter_heap_alloc((size_t)all);
    memset(input.data, 1, (size_t)all); /* pages of its own, not the one of zeros */
    bool good = time_program(&text, target, &input, pool, &seconds, diag);
    if (good) *out = (double)all * (double)rounds / seconds;
    sinter_heap_free(input.data);
    sinter_text_deinit(&text);
    return good;
}

bool roofline_measure(const sinter_target *target, int threads, roofline *out, sinter_diag *diag) {
    sinter_pool *pool = NULL;
    if (!fine(sinter_pool_create((uint32_t)threads, NULL, &pool), diag)) return false;
    int64_t memory = (int64_t)target->l3_bytes * MEMORY_TIMES_L3;
    const double held[] = {(double)target->l2_bytes * threads, (double)target->l3_bytes, INFINITY};
    const int64_t sizes[] = {(int64_t)target->l2_bytes / 2 * threads, target->l3_bytes / 2,
                             memory < MIN_MEMORY   ? MIN_MEMORY
                             : memory > MAX_MEMORY ? MAX_MEMORY
                                                   : memory};
    bool good = measure_products(target, threads, false, pool, &out->float_operations, diag) &&
                measure_products(target, threads, true, pool, &out->integer_operations, diag);
    for (int i = 0; i < ROOFLINE_LEVELS && good; i++) {
        out->level_bytes[i] = held[i];
        good = measure_reads(target, threads, sizes[i], pool, &out->read_bytes[i], diag);
    }
    sinter_pool_destroy(pool);
    return good;
}

double roofline_products_seconds(const roofline *roof, double multiply_adds, bool integer) {
    return 2 * multiply_adds / (integer ? roof->integer_operations : roof->float_operations);
}

double roofline_read_seconds(const roofline *roof, double bytes, double held) {
    int level = 0;
    while (level + 1 < ROOFLINE_LEVELS && held > roof->level_bytes[level]) level++;
    return bytes / roof->read_bytes[level];
}
