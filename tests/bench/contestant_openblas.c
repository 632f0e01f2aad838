/* OpenBLAS as a contestant: one cblas_sgemm for each matrix of a batch. The library is opened, not linked, so that nothing of the
 * project depends on it; the two prototypes are those of the BLAS standard and of OpenBLAS's own cblas.h.
 * Test: tests/cli/beside.test */
#include "ir/base/heap.h"
#include "tests/bench/contestant.h"
#include <stdio.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
typedef void (*sgemm_function)(int order, int transpose_a, int transpose_b, int m, int n, int k,
                               float alpha, const float *a, int lda, const float *b, int ldb,
                               float beta, float *c, int ldc);
typedef void (*set_threads_function)(int count);

typedef struct product {
    sgemm_function sgemm;
    const float *a, *b;
    float *c;
    int m, n, k, batch;
    bool transposed[2];
} product;

static bool run(void *state) {
    product *p = state;
    size_t a = (size_t)p->m * (size_t)p->k, b = (size_t)p->k * (size_t)p->n;
    size_t c = (size_t)p->m * (size_t)p->n;
    for (size_t i = 0; i < (size_t)p->batch; i++)
        p->sgemm(ROW_MAJOR, p->transposed[0] ? TRANSPOSE : NO_TRANSPOSE,
                 p->transposed[1] ? TRANSPOSE : NO_TRANSPOSE, p->m, p->n, p->k, 1, p->a + i * a,
                 p->transposed[0] ? p->m : p->k, p->b + i * b, p->transposed[1] ? p->k : p->n, 0,
                 p->c + i * c, p->n);
    return true;
}

static bool output(void *state, size_t index, sinter_tensor *out_tensor) {
    product *p = state;
    *out_tensor = (sinter_tensor){
        .dtype = SINTER_DTYPE_f32, .rank = 3, .dims = {p->batch, p->m, p->n}, .data = p->c};
    return index == 0;
}

static void destroy(void *state) {
    product *p = state;
    sinter_heap_free(p->c);
    sinter_heap_free(p);
}

/* Sizes from the last two dims of both operands; the leading dims are the batch. */
static bool take_sizes(product *p, const feeds *inputs) {
    int64_t sizes[2][2] = {{0}}, batch[2] = {1, 1};
    for (size_t i = 0; i < 2; i++) {
        const sinter_tensor *one = &inputs->items[i];
        if (one->rank < 2 || one->dtype != SINTER_DTYPE_f32) return false;
        for (uint32_t d = 0; d + 2 < one->rank; d++) batch[i] *= one->dims[d];
        sizes[i][0] = one->dims[one->rank - 2 + p->transposed[i]];
        sizes[i][1] = one->dims[one->rank - 1 - p->transposed[i]];
    }
    p->m = (int)sizes[0][0];
    p->k = (int)sizes[0][1];
    p->n = (int)sizes[1][1];
    p->batch = (int)batch[0];
    p->a = inputs->items[0].data;
    p->b = inputs->items[1].data;
    p->c = sinter_heap_alloc((size_t)p->batch * (size_t)p->m * (size_t)p->n * sizeof(float));
    return sizes[0][1] == sizes[1][0] && batch[0] == batch[1];
}

bool contestant_open_openblas(const char *what, int threads, const feeds *inputs, contestant *out) {
    char library[1024];
    const char *form = split_at_colon(what, library, sizeof library);
    product *p = sinter_heap_alloc(sizeof *p);
    *out = (contestant){p, run, output, destroy};
    if (!form || strlen(form) != 2 || inputs->count < 2)
        return fprintf(stderr, "beside: error: openblas:%s\n", what), false;
    p->transposed[0] = form[0] == 'T';
    p->transposed[1] = form[1] == 'T';
    p->sgemm = (sgemm_function)find_function(library, "cblas_sgemm");
    set_threads_function set_threads =
        (set_threads_function)find_function(library, "openblas_set_num_threads");
    if (!p->sgemm || !set_threads) return false;
    set_threads(threads);
    if (take_sizes(p, inputs)) return true;
    return fprintf(stderr, "beside: error: operands that make no product of f32\n"), false;
}
