/* OpenBLAS with its LAPACK, for the linear algebra of the compression passes. The library is opened when it is first asked for,
 * not linked: no other use of Sinter needs it. It runs on one thread between begin and end, so that sums have one order and the
 * same samples give the same bytes. Matrices are row-major; symmetric ones are whole unless said otherwise.
 * Test: tests/unit/solve_test.c */
#pragma once
#include "ir/base/diag.h"

/* False with an error where there is no library. Nests; every true begin has its end. */
bool sinter_blas_begin(sinter_diag *diag);
void sinter_blas_end(void);

/* What follows is for use between begin and end. c[m,n] = alpha * a[m,k] b[k,n] + beta * c; leading dimensions are given,
 * transposed operands lie as [k,m] and [n,k]. */
typedef struct sinter_blas_operand {
    const void *data;
    int64_t stride; /* elements from one row to the next */
    bool transposed;
} sinter_blas_operand;
void sinter_blas_product_f32(int64_t m, int64_t n, int64_t k, float alpha, sinter_blas_operand a, sinter_blas_operand b,
                             float beta, float *c, int64_t stride);
void sinter_blas_product_f64(int64_t m, int64_t n, int64_t k, double alpha, sinter_blas_operand a, sinter_blas_operand b,
                             double beta, double *c, int64_t stride);
/* y[n] += alpha * x[n]. */
void sinter_blas_add_f64(int64_t n, double alpha, const double *x, double *y);
/* c[n,n] = x^T x of x[rows,n], the upper triangle alone. */
void sinter_blas_gram_f32(int64_t n, int64_t rows, const float *x, float *c);
/* The inverse of a positive definite matrix, in place. False where it is not positive definite; its content is void then. */
bool sinter_blas_invert_f64(int64_t n, double *a);
/* Makes a positive definite matrix what solve takes, in place: less work than its inverse. False where it is not positive definite. */
bool sinter_blas_factor_f32(int64_t n, float *a);
bool sinter_blas_factor_f64(int64_t n, double *a);
/* Each row of x[rows, n] becomes a^-1 row. */
void sinter_blas_solve_f32(int64_t n, const float *factor, int64_t rows, float *x);
void sinter_blas_solve_f64(int64_t n, const double *factor, int64_t rows, double *x);
/* The upper triangular u with u^T u = a, in place; below the diagonal are zeros. */
bool sinter_blas_cholesky_f64(int64_t n, double *a);
