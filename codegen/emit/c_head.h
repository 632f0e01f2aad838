/* What emitted C begins with; abi.h comes before it, c_scalars.h and c_helpers.h after it.
 * SINTER_BOARD leaves out the heap and stdio: memory comes from the caller, messages are not filled in. */
#include <math.h>
#include <stdbool.h>
#ifndef SINTER_BOARD
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "no fast math: NaN, infinities and the order of sums mean what they say"
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights and packed elements are little-endian"
#endif

/* A product and a sum are two roundings, whatever the compiler's options are, but for sinter_fma. Clang heeds no pragma where it is
 * given -ffp-contract=fast. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* Iterations of the loop that follows do not depend on each other. */
#if defined(__GNUC__) && !defined(__clang__)
#define SINTER_VECTOR _Pragma("GCC ivdep")
#else
#define SINTER_VECTOR
#endif

#define SINTER_INLINE static inline
