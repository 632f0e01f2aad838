/* A libcublasLt.so for benchmarks where there is no GPU: products of f32, f16 and bf16, columns first, one after the other, summed in f64, in
 * their turn in the emulated driver's stream. What the documentation asks (objects that were made, sizes that fit together, a workspace and
 * an algorithm as proposed) is checked, and told as a finding. Test: tests/cli/device_beside.test */
#include "ir/tensor.h"
#include "tests/cuda_emulation/driver.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 7, NOT_SUPPORTED = 15, EXECUTION_FAILED = 13 };
enum { COMPUTE_32F = 68, COMPUTE_32F_FAST_TF32 = 77 };
enum { MAGIC = 0x4c744c74 };

typedef struct product {
    int32_t compute, scale, transposed[2];
} product;

typedef struct layout {
    int32_t type, batch;
    int64_t rows, columns, leading, stride;
} layout;

typedef struct preference {
    uint64_t workspace_bytes;
} preference;

typedef struct proposal {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
} proposal;

typedef struct work {
    product product;
    layout layouts[3];
    const char *operands[2];
    char *result, *workspace;
    size_t workspace_bytes;
} work;

static int (*enqueue)(cuda_stream stream, emulation_step step);
static bool (*check_copy)(const void *to, const void *from, size_t bytes);

static sinter_dtype dtype_of(int32_t type) {
    return type == 0    ? SINTER_DTYPE_f32
           : type == 2  ? SINTER_DTYPE_f16
           : type == 14 ? SINTER_DTYPE_bf16
                        : SINTER_DTYPE_NONE;
}

static size_t bytes_of(const layout *l) {
    return (size_t)((l->batch - 1) * l->stride + (l->columns - 1) * l->leading + l->rows) *
           sinter_dtype_infos[dtype_of(l->type)].bits / 8;
}

/* One matrix of an operand as a tensor, columns first. */
static sinter_tensor matrix(const layout *l, const char *data, int32_t which) {
    const size_t size = sinter_dtype_infos[dtype_of(l->type)].bits / 8;
    return (sinter_tensor){.dtype = dtype_of(l->type),
                           .rank = 2,
                           .dims = {l->columns, l->leading},
                           .data = (void *)(uintptr_t)(data + (size_t)(which * l->stride) * size)};
}

static double element(const sinter_tensor *m, bool transposed, int64_t row, int64_t column) {
    return sinter_tensor_get_double(m, (transposed ? row : column) * m->dims[1] +
                                           (transposed ? column : row));
}

static bool run(void *user) {
    const work *w = user;
    const layout *c = &w->layouts[2];
    if (!check_copy(NULL, w->operands[0], bytes_of(&w->layouts[0])) ||
        !check_copy(NULL, w->operands[1], bytes_of(&w->layouts[1])) ||
        !check_copy(w->result, NULL, bytes_of(c)) ||
        !check_copy(w->workspace, NULL, w->workspace_bytes))
        return true; /* a finding */
    const int64_t depth = w->product.transposed[0] ? w->layouts[0].rows : w->layouts[0].columns;
    for (int32_t i = 0; i < c->batch; i++) {
        const sinter_tensor a = matrix(&w->layouts[0], w->operands[0], i),
                            b = matrix(&w->layouts[1], w->operands[1], i);
        sinter_tensor result = matrix(c, w->result, i);
        for (int64_t column = 0; column < c->columns; column++)
            for (int64_t row = 0; row < c->rows; row++) {
                double sum = 0;
                for (int64_t k = 0; k < depth; k++)
                    sum += element(&a, w->product.transposed[0], row, k) *
                           element(&b, w->product.transposed[1], k, column);
                sinter_tensor_set_double(&result, column * c->leading + row, sum);
            }
    }
    return true;
}

static void drop(void *user) {
    free(user);
}

/* ---- objects ---- */

static int make(void **out, const void *value, size_t size) {
    *out = calloc(1, size);
    if (value) memcpy(*out, value, size);
    return SUCCESS;
}

static int unmake(void *object) {
    free(object);
    return object ? SUCCESS : INVALID_VALUE;
}

EXPORT int cublasLtCreate(void **out_handle);
int cublasLtCreate(void **out_handle) {
    char path[4096];
    snprintf(path, sizeof path, "%s/libcuda.so.1", getenv("SINTER_CUDA_PATH"));
    void *driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *symbol;
        void *to;
    } wanted[] = {{"emulation_enqueue", &enqueue}, {"emulation_check_copy", &check_copy}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *address = driver ? dlsym(driver, wanted[i].symbol) : NULL;
        if (!address) return EXECUTION_FAILED;
        memcpy(wanted[i].to, &address, sizeof address);
    }
    const int32_t magic = MAGIC;
    return make(out_handle, &magic, sizeof magic);
}

EXPORT int cublasLtDestroy(void *handle);
int cublasLtDestroy(void *handle) {
    return unmake(handle);
}

EXPORT int cublasLtMatmulDescCreate(void **out_product, int compute, int scale);
int cublasLtMatmulDescCreate(void **out_product, int compute, int scale) {
    const product made = {.compute = compute, .scale = scale};
    if (scale != 0 || (compute != COMPUTE_32F && compute != COMPUTE_32F_FAST_TF32))
        return NOT_SUPPORTED;
    return make(out_product, &made, sizeof made);
}

EXPORT int cublasLtMatmulDescSetAttribute(void *object, int attribute, const void *value,
                                          size_t size);
int cublasLtMatmulDescSetAttribute(void *object, int attribute, const void *value, size_t size) {
    product *p = object;
    if (!p || (attribute != 3 && attribute != 4) || size != sizeof(int32_t)) return INVALID_VALUE;
    memcpy(&p->transposed[attribute - 3], value, size);
    return p->transposed[attribute - 3] == 0 || p->transposed[attribute - 3] == 1 ? SUCCESS
                                                                                  : NOT_SUPPORTED;
}

EXPORT int cublasLtMatmulDescDestroy(void *object);
int cublasLtMatmulDescDestroy(void *object) {
    return unmake(object);
}

EXPORT int cublasLtMatrixLayoutCreate(void **out_layout, int type, uint64_t rows, uint64_t columns,
                                      int64_t leading);
int cublasLtMatrixLayoutCreate(void **out_layout, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
    const layout made = {type, 1, (int64_t)rows, (int64_t)columns, leading, 0};
    if (dtype_of(type) == SINTER_DTYPE_NONE || !rows || !columns || leading < made.rows)
        return INVALID_VALUE;
    return make(out_layout, &made, sizeof made);
}

EXPORT int cublasLtMatrixLayoutSetAttribute(void *object, int attribute, const void *value,
                                            size_t size);
int cublasLtMatrixLayoutSetAttribute(void *object, int attribute, const void *value, size_t size) {
    layout *l = object;
    if (l && attribute == 5 && size == sizeof l->batch)
        return memcpy(&l->batch, value, size), SUCCESS;
    if (l && attribute == 6 && size == sizeof l->stride)
        return memcpy(&l->stride, value, size), SUCCESS;
    return INVALID_VALUE;
}

EXPORT int cublasLtMatrixLayoutDestroy(void *object);
int cublasLtMatrixLayoutDestroy(void *object) {
    return unmake(object);
}

EXPORT int cublasLtMatmulPreferenceCreate(void **out_preference);
int cublasLtMatmulPreferenceCreate(void **out_preference) {
    return make(out_preference, NULL, sizeof(preference));
}

EXPORT int cublasLtMatmulPreferenceSetAttribute(void *object, int attribute, const void *value,
                                                size_t size);
int cublasLtMatmulPreferenceSetAttribute(void *object, int attribute, const void *value,
                                         size_t size) {
    preference *p = object;
    if (!p || attribute != 1 || size != sizeof p->workspace_bytes) return INVALID_VALUE;
    memcpy(&p->workspace_bytes, value, size);
    return SUCCESS;
}

EXPORT int cublasLtMatmulPreferenceDestroy(void *object);
int cublasLtMatmulPreferenceDestroy(void *object) {
    return unmake(object);
}

/* ---- products ---- */

static bool fits(const product *p, const layout *a, const layout *b, const layout *c) {
    const int64_t depth = p->transposed[0] ? a->rows : a->columns;
    return (p->transposed[0] ? a->columns : a->rows) == c->rows &&
           (p->transposed[1] ? b->columns : b->rows) == depth &&
           (p->transposed[1] ? b->rows : b->columns) == c->columns && a->batch == b->batch &&
           a->batch == c->batch && a->type == b->type;
}

EXPORT int cublasLtMatmulAlgoGetHeuristic(void *handle, void *p, void *a, void *b, void *c, void *d,
                                          void *wish, int wanted, proposal *out_results,
                                          int *out_count);
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *p, void *a, void *b, void *c, void *d,
                                   void *wish, int wanted, proposal *out_results, int *out_count) {
    *out_count = 0;
    if (!handle || !p || !a || !b || !c || c != d || !wish || wanted < 1) return INVALID_VALUE;
    if (!fits(p, a, b, c)) return NOT_SUPPORTED;
    memset(out_results, 0, sizeof *out_results);
    out_results->algorithm[0] = MAGIC;
    out_results->workspace_bytes = (size_t)((const preference *)wish)->workspace_bytes;
    *out_count = 1;
    return SUCCESS;
}

EXPORT int cublasLtMatmul(void *handle, void *p, const float *alpha, const void *a, void *layout_a,
                          const void *b, void *layout_b, const float *beta, const void *c,
                          void *layout_c, void *d, void *layout_d, const uint64_t *algorithm,
                          void *workspace, size_t workspace_bytes, cuda_stream stream);
int cublasLtMatmul(void *handle, void *p, const float *alpha, const void *a, void *layout_a,
                   const void *b, void *layout_b, const float *beta, const void *c, void *layout_c,
                   void *d, void *layout_d, const uint64_t *algorithm, void *workspace,
                   size_t workspace_bytes, cuda_stream stream) {
    if (!handle || !p || *alpha != 1 || *beta != 0 || c != d || layout_c != layout_d ||
        algorithm[0] != MAGIC || !workspace || !fits(p, layout_a, layout_b, layout_c))
        return INVALID_VALUE;
    work *w = malloc(sizeof *w);
    *w = (work){.product = *(const product *)p,
                .operands = {a, b},
                .result = d,
                .workspace = workspace,
                .workspace_bytes = workspace_bytes};
    const void *layouts[3] = {layout_a, layout_b, layout_c};
    for (int i = 0; i < 3; i++) w->layouts[i] = *(const layout *)layouts[i];
    return enqueue(stream, (emulation_step){run, drop, w}) ? EXECUTION_FAILED : SUCCESS;
}
