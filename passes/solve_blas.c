/* Opens OpenBLAS and calls it in row-major terms. Prototypes are those of the CBLAS and LAPACK standards; LAPACK is called by its
 * Fortran names, whose columns are our rows, which for symmetric matrices only swaps the names of the triangles.
 * Needs libopenblas at run time. Test: tests/unit/solve_test.c */
#include "passes/solve_blas.h"
#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112, UPPER = 121 };

/* One row a function: result, name of the field, symbol, parameters. */
#define FUNCTIONS(F)                                                                               \
 F(void, sgemm, cblas_sgemm,                                                                       \
   (int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, \
    int lda, const float *b, int ldb, float beta, float *c, int ldc))                              \
 F(void, dgemm, cblas_dgemm,                                                                       \
   (int order, int transpose_a, int transpose_b, int m, int n, int k, double alpha,                \
    const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc))          \
 F(void, ssyrk, cblas_ssyrk,                                                                       \
   (int order, int triangle, int transpose, int n, int k, float alpha, const float *a, int lda,    \
    float beta, float *c, int ldc))                                                                \
 F(void, daxpy, cblas_daxpy,                                                                       \
   (int n, double alpha, const double *x, int step_x, double *y, int step_y))                      \
 F(void, spotrf, spotrf_,                                                                          \
   (const char *triangle, const int *n, float *a, const int *lda, int *info))                      \
 F(void, spotrs, spotrs_,                                                                          \
   (const char *triangle, const int *n, const int *rows, const float *a, const int *lda, float *b, \
    const int *ldb, int *info))                                                                    \
 F(void, dpotrs, dpotrs_,                                                                          \
   (const char *triangle, const int *n, const int *rows, const double *a, const int *lda,          \
    double *b, const int *ldb, int *info))                                                         \
 F(void, dpotrf, dpotrf_,                                                                          \
   (const char *triangle, const int *n, double *a, const int *lda, int *info))                     \
 F(void, dpotri, dpotri_,                                                                          \
   (const char *triangle, const int *n, double *a, const int *lda, int *info))                     \
 F(void, set_threads, openblas_set_num_threads, (int count))                                       \
 F(int, get_threads, openblas_get_num_threads, (void))

static struct {
#define F(result, field, symbol, parameters) result(*field) parameters;
    FUNCTIONS(F)
#undef F
} blas;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *library;
static int depth, threads_before;

/* POSIX has dlsym give functions as objects. */
static bool find(const char *symbol, void *out_function, sinter_diag *diag) {
    void *address = dlsym(library, symbol);
    if (!address) return sinter_error(diag, "OpenBLAS", "the library lacks '%s'", symbol);
    memcpy(out_function, &address, sizeof address);
    return true;
}

static bool open_library(sinter_diag *diag) {
    if (library) return true;
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return sinter_error(
            diag, "OpenBLAS",
            "compensated compression needs libopenblas.so.0, which cannot be opened: %s",
            dlerror());
    bool found = true;
#define F(result, field, symbol, parameters) found = found && find(#symbol, &blas.field, diag);
    FUNCTIONS(F)
#undef F
    if (!found) {
        dlclose(library);
        library = NULL;
    }
    return found;
}

bool sinter_blas_begin(sinter_diag *diag) {
    pthread_mutex_lock(&lock);
    bool ready = open_library(diag);
    if (ready && depth++ == 0) {
        threads_before = blas.get_threads();
        blas.set_threads(1);
    }
    pthread_mutex_unlock(&lock);
    return ready;
}

void sinter_blas_end(void) {
    pthread_mutex_lock(&lock);
    assert(depth > 0);
    if (--depth == 0) blas.set_threads(threads_before);
    pthread_mutex_unlock(&lock);
}

void sinter_blas_product_f32(int64_t m, int64_t n, int64_t k, float alpha, sinter_blas_operand a,
                             sinter_blas_operand b, float beta, float *c, int64_t stride) {
    if (m == 0 || n == 0) return;
    blas.sgemm(ROW_MAJOR, a.transposed ? TRANSPOSE : NO_TRANSPOSE,
               b.transposed ? TRANSPOSE : NO_TRANSPOSE, (int)m, (int)n, (int)k, alpha, a.data,
               (int)a.stride, b.data, (int)b.stride, beta, c, (int)stride);
}

void sinter_blas_product_f64(int64_t m, int64_t n, int64_t k, double alpha, sinter_blas_operand a,
                             sinter_blas_operand b, double beta, double *c, int64_t stride) {
    if (m == 0 || n == 0) return;
    blas.dgemm(ROW_MAJOR, a.transposed ? TRANSPOSE : NO_TRANSPOSE,
               b.transposed ? TRANSPOSE : NO_TRANSPOSE, (int)m, (int)n, (int)k, alpha, a.data,
               (int)a.stride, b.data, (int)b.stride, beta, c, (int)stride);
}

void sinter_blas_add_f64(int64_t n, double alpha, const double *x, double *y) {
    blas.daxpy((int)n, alpha, x, 1, y, 1);
}

void sinter_blas_gram_f32(int64_t n, int64_t rows, const float *x, float *c) {
    blas.ssyrk(ROW_MAJOR, UPPER, TRANSPOSE, (int)n, (int)rows, 1, x, (int)n, 0, c, (int)n);
}

/* Fortran's lower triangle is our upper one. */
bool sinter_blas_invert_f64(int64_t n, double *a) {
    int size = (int)n, info = 0;
    blas.dpotrf("L", &size, a, &size, &info);
    if (info == 0) blas.dpotri("L", &size, a, &size, &info);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = a[j * n + i];
    return info == 0;
}

bool sinter_blas_factor_f32(int64_t n, float *a) {
    int size = (int)n, info = 0;
    blas.spotrf("L", &size, a, &size, &info);
    return info == 0;
}

bool sinter_blas_factor_f64(int64_t n, double *a) {
    int size = (int)n, info = 0;
    blas.dpotrf("L", &size, a, &size, &info);
    return info == 0;
}

/* Our rows are Fortran's columns. */
void sinter_blas_solve_f32(int64_t n, const float *factor, int64_t rows, float *x) {
    int size = (int)n, count = (int)rows, info = 0;
    blas.spotrs("L", &size, &count, factor, &size, x, &size, &info);
}

void sinter_blas_solve_f64(int64_t n, const double *factor, int64_t rows, double *x) {
    int size = (int)n, count = (int)rows, info = 0;
    blas.dpotrs("L", &size, &count, factor, &size, x, &size, &info);
}

bool sinter_blas_cholesky_f64(int64_t n, double *a) {
    int size = (int)n, info = 0;
    blas.dpotrf("L", &size, a, &size, &info);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = 0;
    return info == 0;
}
