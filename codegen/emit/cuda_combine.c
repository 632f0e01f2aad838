/* What adds the terms of an exchange of ranks on the device: a kernel for each type and reduction, whose bits are those of
 * runtime/exchange.c. The runtime launches it where ranks exchange without the host (runtime/nccl.c).
 * Test: tests/unit/nccl_test.c */
#include "codegen/device.h"
#include "codegen/emit/cuda.h"
#include "runtime/abi.h"

/* A float of 16 bits as it is, and what sums of such are made in: a double, rounded after each step. FRACTION and BIAS are its format's. */
static const char narrow[] =
    "static __device__ double sinter_widen(uint16_t bits) {\n"
    "    const int top = (1 << (15 - FRACTION)) - 1, exponent = bits >> FRACTION & top;\n"
    "    const uint64_t fraction = bits & ((1 << FRACTION) - 1), sign = (uint64_t)(bits >> 15) << "
    "63;\n"
    "    uint64_t wide = sign | (uint64_t)(exponent - BIAS + 1023) << 52 | fraction << (52 - "
    "FRACTION);\n"
    "    double value;\n"
    "    if (exponent == top) wide = sign | UINT64_C(0x7ff) << 52 | fraction << (52 - FRACTION);\n"
    "    if (exponent == 0) wide = (uint64_t)(1 - BIAS - FRACTION + 1023) << 52;\n"
    "    memcpy(&value, &wide, sizeof value);\n"
    "    if (exponent == 0) value = (sign ? -1.0 : 1.0) * (double)fraction * value;\n"
    "    return value;\n"
    "}\n"
    "/* To the nearest, ties to even. */\n"
    "static __device__ uint16_t sinter_narrow(double value) {\n"
    "    const int top = (1 << (15 - FRACTION)) - 1;\n"
    "    uint64_t wide;\n"
    "    memcpy(&wide, &value, sizeof wide);\n"
    "    const uint16_t sign = (uint16_t)(wide >> 48 & 0x8000);\n"
    "    const int exponent = (int)(wide >> 52 & 0x7ff) - 1023 + BIAS;\n"
    "    if (value != value) return (uint16_t)(sign | top << FRACTION | 1 << (FRACTION - 1));\n"
    "    if (exponent < -FRACTION) return sign;\n"
    "    const int drop = 52 - FRACTION + (exponent < 1 ? 1 - exponent : 0);\n"
    "    const uint64_t whole = (wide & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52,\n"
    "                   kept = whole >> drop, rest = whole & ((UINT64_C(1) << drop) - 1), half = "
    "UINT64_C(1) << (drop - 1);\n"
    "    uint64_t code = kept + (rest > half || (rest == half && (kept & 1)));\n"
    "    if (exponent >= 1) code += (uint64_t)(exponent - 1) << FRACTION;\n"
    "    if (code > (uint64_t)top << FRACTION || exponent >= top) code = (uint64_t)top << "
    "FRACTION;\n"
    "    return (uint16_t)(sign | code);\n"
    "}\n";

/* How elements of a type are held, what two of them are widened to, and what their sum becomes. */
typedef struct combine_row {
    int32_t dtype; /* ONNX code */
    const char *type, *wide, *head;
    bool is_narrow;
} combine_row;

static const combine_row rows[] = {
    {1, "float", "float", "", false},
    {2, "uint8_t", "uint32_t", "", false},
    {3, "int8_t", "uint32_t", "", false},
    {4, "uint16_t", "uint32_t", "", false},
    {5, "int16_t", "uint32_t", "", false},
    {6, "int32_t", "uint32_t", "", false},
    {7, "int64_t", "uint64_t", "", false},
    {10, "uint16_t", "double", "#define FRACTION 10\n#define BIAS 15\n", true},
    {11, "double", "double", "", false},
    {12, "uint32_t", "uint32_t", "", false},
    {13, "uint64_t", "uint64_t", "", false},
    {16, "uint16_t", "double", "#define FRACTION 7\n#define BIAS 127\n", true},
};

static const combine_row *find_row(const sinter_loop_exchange *words) {
    if (words->kind != SINTER_ABI_ALL_REDUCE && words->kind != SINTER_ABI_REDUCE_SCATTER)
        return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].dtype == words->dtype) return &rows[i];
    return NULL;
}

static const sinter_loop_exchange *find_sum(const sinter_loop_function *kernel) {
    if (!sinter_device_is_host_step(kernel)) return NULL;
    for (const sinter_loop_stmt *s = kernel->body; s; s = s->next)
        if (s->kind == SINTER_LOOP_EXCHANGE && find_row(&s->exchange)) return &s->exchange;
    return NULL;
}

const char *sinter_cuda_combine_symbol(const sinter_loop_function *kernel, sinter_arena *arena) {
    const sinter_loop_exchange *sum = find_sum(kernel);
    return sum ? sinter_arena_format(arena, SINTER_ABI_COMBINE_SYMBOL, sum->dtype, sum->reduction)
               : NULL;
}

/* Two terms x and y, held as T, become one. */
static void write_pair(const combine_row *row, int32_t reduction, sinter_text *text) {
    static const char *const values[] = {"a + b", "a * b",
                                         "a != a || b != b ? (a != a ? a : b) : a > b ? a : b",
                                         "a != a || b != b ? (a != a ? a : b) : a > b ? b : a"};
    const bool orders = reduction == SINTER_ABI_MAX || reduction == SINTER_ABI_MIN;
    const char *wide = orders && !row->is_narrow ? row->type : row->wide;
    const char *load = row->is_narrow ? "sinter_widen" : "";
    sinter_text_format(text,
                       "static __device__ %s sinter_pair(%s x, %s y) {\n"
                       "    const %s a = %s((%s)(x)), b = %s((%s)(y));\n"
                       "    return %s((%s)(%s));\n"
                       "}\n",
                       row->type, row->type, row->type, wide, load,
                       row->is_narrow ? row->type : wide, load, row->is_narrow ? row->type : wide,
                       row->is_narrow ? "sinter_narrow" : "", row->is_narrow ? "double" : row->type,
                       values[reduction]);
}

/* Few terms are a tree in registers; of more each step is stored where its first term was. */
static const char tree[] =
    "#define SINTER_TERMS(P) \\\n"
    "    case P: { \\\n"
    "        T value[P]; \\\n"
    "        for (int p = 0; p < P; p++) value[p] = terms[p * count + i]; \\\n"
    "        for (int step = 1; step < P; step *= 2) \\\n"
    "            for (int p = 0; p + step < P; p += 2 * step) value[p] = sinter_pair(value[p], "
    "value[p + step]); \\\n"
    "        target[i] = value[0]; \\\n"
    "        return; \\\n"
    "    }\n";
static const char body[] =
    "    const int64_t i = (int64_t)blockIdx.x * %d + threadIdx.x;\n"
    "    if (i >= count) return;\n"
    "    switch (places) {\n"
    "        SINTER_TERMS(2) SINTER_TERMS(3) SINTER_TERMS(4) SINTER_TERMS(5) SINTER_TERMS(6) "
    "SINTER_TERMS(7) SINTER_TERMS(8)\n"
    "    default:\n"
    "        for (int64_t step = 1; step < places; step *= 2)\n"
    "            for (int64_t p = 0; p + step < places; p += 2 * step) {\n"
    "                const T x = terms[p * count + i], y = terms[(p + step) * count + i];\n"
    "                terms[p * count + i] = sinter_pair(x, y);\n"
    "            }\n"
    "        const T sum = terms[i];\n"
    "        target[i] = sum;\n"
    "    }\n"
    "}\n";

void sinter_cuda_write_combine_module(const sinter_loop_function *kernel, sinter_text *text) {
    const sinter_loop_exchange *sum = find_sum(kernel);
    const combine_row *row = find_row(sum);
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_cuda_write_head(text);
    sinter_text_append_string(text, row->head);
    if (row->is_narrow) sinter_text_append_string(text, narrow);
    sinter_text_format(text, "typedef %s T;\n", row->type);
    write_pair(row, sum->reduction, text);
    sinter_text_append_string(text, tree);
    sinter_text_format(
        text,
        "extern \"C\" __global__ void __launch_bounds__(%d SINTER_BLOCKS) %s(out<T> target, "
        "out<T> terms, int64_t count, int64_t places) {\n",
        SINTER_ABI_COMBINE_THREADS, sinter_cuda_combine_symbol(kernel, &scratch));
    sinter_text_format(text, body, SINTER_ABI_COMBINE_THREADS);
    sinter_arena_deinit(&scratch);
}
