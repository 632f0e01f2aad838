/* cuBLASLt as a contestant: one product, or a batch of them, by the first algorithm that its heuristic proposes. The library is
 * opened, not linked, so that nothing of the project depends on it. Prototypes and numbers are those of NVIDIA's cublasLt.h and
 * library_types.h (cuBLAS 11 to 13), which the emulated library of the tests states, too. Test: tests/cli/device_beside.test */
#include "tests/bench/device_bench.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { R_32F = 0, R_16F = 2, R_16BF = 14 };            /* cudaDataType */
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 }; /* cublasComputeType_t */
enum { DESC_TRANSA = 3, DESC_TRANSB = 4 };             /* cublasLtMatmulDescAttributes_t */
enum {
    LAYOUT_BATCH_COUNT = 5,
    LAYOUT_STRIDED_BATCH_OFFSET = 6
}; /* cublasLtMatrixLayoutAttribute_t */
enum { PREFERENCE_MAX_WORKSPACE_BYTES = 1 };
enum { WORKSPACE_BYTES = 32 << 20 }; /* what NVIDIA proposes for Hopper */
enum { ONNX_F32 = 1, ONNX_F16 = 10, ONNX_BF16 = 16 };

typedef struct heuristic_result {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
} heuristic_result;

/* Rows: name here, symbol, parameters. Each returns a cublasStatus_t, 0 for success. */
#define CUBLASLT_FUNCTIONS(ROW)                                                                    \
 ROW(create, cublasLtCreate, (void **out_handle))                                                  \
 ROW(destroy, cublasLtDestroy, (void *handle))                                                     \
 ROW(product_create, cublasLtMatmulDescCreate, (void **out_product, int compute, int scale))       \
 ROW(product_set, cublasLtMatmulDescSetAttribute,                                                  \
     (void *product, int attribute, const void *value, size_t size))                               \
 ROW(product_destroy, cublasLtMatmulDescDestroy, (void *product))                                  \
 ROW(layout_create, cublasLtMatrixLayoutCreate,                                                    \
     (void **out_layout, int type, uint64_t rows, uint64_t columns, int64_t leading))              \
 ROW(layout_set, cublasLtMatrixLayoutSetAttribute,                                                 \
     (void *layout, int attribute, const void *value, size_t size))                                \
 ROW(layout_destroy, cublasLtMatrixLayoutDestroy, (void *layout))                                  \
 ROW(preference_create, cublasLtMatmulPreferenceCreate, (void **out_preference))                   \
 ROW(preference_set, cublasLtMatmulPreferenceSetAttribute,                                         \
     (void *preference, int attribute, const void *value, size_t size))                            \
 ROW(preference_destroy, cublasLtMatmulPreferenceDestroy, (void *preference))                      \
 ROW(propose, cublasLtMatmulAlgoGetHeuristic,                                                      \
     (void *handle, void *product, void *a, void *b, void *c, void *d, void *preference,           \
      int wanted, heuristic_result *out_results, int *out_count))                                  \
 ROW(multiply, cublasLtMatmul,                                                                     \
     (void *handle, void *product, const void *alpha, const void *a, void *layout_a,               \
      const void *b, void *layout_b, const void *beta, const void *c, void *layout_c, void *d,     \
      void *layout_d, const uint64_t *algorithm, void *workspace, size_t workspace_bytes,          \
      void *stream))

typedef struct cublaslt_functions {
#define ROW(name, symbol, parameters) int(*name) parameters;
    CUBLASLT_FUNCTIONS(ROW)
#undef ROW
} cublaslt_functions;

/* cuBLASLt counts columns first: the product of our rows is its B^T A^T, so our second operand is its first. */
typedef struct cublaslt {
    cublaslt_functions call;
    const device_bench *bench;
    void *handle, *product, *layouts[3],
        *preference; /* layouts: of its first and second operand, of the result */
    const void *operands[2];
    void *result, *workspace;
    heuristic_result chosen;
} cublaslt;

static bool open_library(const char *path, cublaslt_functions *out) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *address;
    if (!library) return fprintf(stderr, "device_beside: error: %s\n", dlerror()), false;
#define ROW(name, symbol, parameters)                                                              \
 address = dlsym(library, #symbol);                                                                \
 if (!address) return fprintf(stderr, "device_beside: error: %s\n", dlerror()), false;             \
 memcpy(&out->name, &address, sizeof address); /* ISO C has no such cast */
    CUBLASLT_FUNCTIONS(ROW)
#undef ROW
    return true;
}

static bool succeeds(const char *what, int code) {
    if (code) fprintf(stderr, "device_beside: error: cuBLASLt: %s returns %d\n", what, code);
    return !code;
}

static int type_of(int32_t onnx) {
    return onnx == ONNX_F32 ? R_32F : onnx == ONNX_F16 ? R_16F : onnx == ONNX_BF16 ? R_16BF : -1;
}

static bool enqueue(void *state) {
    cublaslt *c = state;
    const float one = 1, zero = 0;
    if (!device_bench_fine(c->bench->driver->enter(c->bench->device))) return false;
    const int code = c->call.multiply(
        c->handle, c->product, &one, c->operands[0], c->layouts[0], c->operands[1], c->layouts[1],
        &zero, c->result, c->layouts[2], c->result, c->layouts[2], c->chosen.algorithm,
        c->workspace, WORKSPACE_BYTES, sinter_device_native_stream(c->bench->stream));
    return device_bench_fine(c->bench->driver->leave(c->bench->device)) &&
           succeeds("cublasLtMatmul", code);
}

static bool finish(void *state) {
    cublaslt *c = state;
    return device_bench_fine(c->bench->driver->stream_wait(c->bench->stream));
}

static void destroy(void *state) {
    cublaslt *c = state;
    const device_bench *bench = c->bench;
    device_bench_fine(bench->driver->enter(bench->device));
    if (c->preference) c->call.preference_destroy(c->preference);
    for (int i = 0; i < 3; i++)
        if (c->layouts[i]) c->call.layout_destroy(c->layouts[i]);
    if (c->product) c->call.product_destroy(c->product);
    if (c->handle) c->call.destroy(c->handle);
    device_bench_fine(bench->driver->leave(bench->device));
    device_bench_fine(bench->driver->deallocate(bench->stream, c->workspace));
    device_bench_fine(bench->driver->deallocate(bench->stream, c->result));
    free(c);
}

/* A matrix as it lies in memory, rows of so many columns, as cuBLASLt sees it: the other way round. */
static bool add_layout(cublaslt *c, int index, int type, int64_t rows, int64_t columns,
                       int64_t batch) {
    const int32_t count = (int32_t)batch;
    const int64_t stride = rows * columns;
    void **layout = &c->layouts[index];
    return succeeds(
               "cublasLtMatrixLayoutCreate",
               c->call.layout_create(layout, type, (uint64_t)columns, (uint64_t)rows, columns)) &&
           succeeds("cublasLtMatrixLayoutSetAttribute",
                    c->call.layout_set(*layout, LAYOUT_BATCH_COUNT, &count, sizeof count)) &&
           succeeds(
               "cublasLtMatrixLayoutSetAttribute",
               c->call.layout_set(*layout, LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride));
}

static bool set_up(cublaslt *c, const bool transposed[2], bool may_round, const int types[3],
                   int64_t sizes[3][2], int64_t batch) {
    const int32_t operations[2] = {transposed[1], transposed[0]}; /* CUBLAS_OP_N, _T */
    const uint64_t workspace_bytes = WORKSPACE_BYTES;
    int count = 0;
    return succeeds("cublasLtCreate", c->call.create(&c->handle)) &&
           succeeds("cublasLtMatmulDescCreate",
                    c->call.product_create(
                        &c->product, may_round ? COMPUTE_32F_FAST_TF32 : COMPUTE_32F, R_32F)) &&
           succeeds(
               "cublasLtMatmulDescSetAttribute",
               c->call.product_set(c->product, DESC_TRANSA, &operations[0], sizeof *operations)) &&
           succeeds(
               "cublasLtMatmulDescSetAttribute",
               c->call.product_set(c->product, DESC_TRANSB, &operations[1], sizeof *operations)) &&
           add_layout(c, 0, types[1], sizes[1][0], sizes[1][1], batch) &&
           add_layout(c, 1, types[0], sizes[0][0], sizes[0][1], batch) &&
           add_layout(c, 2, types[2], sizes[2][0], sizes[2][1], batch) &&
           succeeds("cublasLtMatmulPreferenceCreate", c->call.preference_create(&c->preference)) &&
           succeeds("cublasLtMatmulPreferenceSetAttribute",
                    c->call.preference_set(c->preference, PREFERENCE_MAX_WORKSPACE_BYTES,
                                           &workspace_bytes, sizeof workspace_bytes)) &&
           succeeds("cublasLtMatmulAlgoGetHeuristic",
                    c->call.propose(c->handle, c->product, c->layouts[0], c->layouts[1],
                                    c->layouts[2], c->layouts[2], c->preference, 1, &c->chosen,
                                    &count)) &&
           succeeds("cublasLtMatmulAlgoGetHeuristic (no algorithm)", count < 1 || c->chosen.state);
}

bool device_contestant_open_cublaslt(const char *what, const device_bench *bench,
                                     device_contestant *out) {
    char library[1024];
    const char *form = strrchr(what, ':');
    cublaslt *c = calloc(1, sizeof *c);
    if (!c) return fprintf(stderr, "device_beside: error: no memory\n"), false;
    c->bench = bench;
    if (!form || form == what || (size_t)(form - what) >= sizeof library ||
        strspn(form + 1, "NT") != 2 || (form[3] && strcmp(form + 3, ",tf32")) ||
        bench->input_count != 2 || !bench->output_count) {
        free(c);
        return fprintf(stderr,
                       "device_beside: error: cublaslt:%s: expected LIBRARY:NN, of a model "
                       "of two inputs\n",
                       what),
               false;
    }
    memcpy(library, what, (size_t)(form - what));
    library[form - what] = '\0';
    if (!open_library(library, &c->call)) return free(c), false;
    *out =
        (device_contestant){.state = c, .enqueue = enqueue, .finish = finish, .destroy = destroy};
    const sinter_abi_tensor *given[3] = {&bench->inputs[0], &bench->inputs[1], &bench->outputs[0]};
    const bool transposed[2] = {form[1] == 'T', form[2] == 'T'};
    int64_t sizes[3][2], batch[3] = {1, 1, 1};
    int types[3];
    for (int i = 0; i < 3; i++) {
        const int32_t rank = given[i]->rank;
        types[i] = type_of(given[i]->dtype);
        if (rank < 2 || types[i] < 0)
            return fprintf(stderr, "device_beside: error: no matrices of f32, f16 or bf16\n"),
                   false;
        for (int32_t d = 0; d < rank - 2; d++) batch[i] *= given[i]->dims[d];
        for (int d = 0; d < 2; d++) sizes[i][d] = given[i]->dims[rank - 2 + d];
    }
    if (sizes[0][!transposed[0]] != sizes[1][transposed[1]] || batch[0] != batch[1] ||
        batch[0] != batch[2] || sizes[0][transposed[0]] != sizes[2][0] ||
        sizes[1][!transposed[1]] != sizes[2][1])
        return fprintf(stderr, "device_beside: error: operands that make no product\n"), false;
    c->operands[0] = given[1]->data;
    c->operands[1] = given[0]->data;
    if (!device_bench_fine(bench->driver->allocate(bench->stream, given[2]->bytes, &c->result)) ||
        !device_bench_fine(
            bench->driver->allocate(bench->stream, WORKSPACE_BYTES, &c->workspace)) ||
        !device_bench_fine(bench->driver->stream_wait(bench->stream)) ||
        !device_bench_fine(bench->driver->enter(bench->device)))
        return false;
    out->output = *given[2];
    out->output.data = c->result;
    const bool is_set = set_up(c, transposed, form[3] != '\0', types, sizes, batch[0]);
    return device_bench_fine(bench->driver->leave(bench->device)) && is_set;
}
