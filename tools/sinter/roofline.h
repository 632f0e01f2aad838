/* What this machine can do at most, measured by code of the same compiler: how far a kernel is from it says whether there is
 * anything to win (Williams, Waterman, Patterson: Roofline, 2009). */
#pragma once
#include "codegen/compile.h"

enum { ROOFLINE_LEVELS = 3 }; /* second-level cache, last-level cache, memory */
extern const char *const roofline_level_names[ROOFLINE_LEVELS];

typedef struct roofline {
    double float_operations;             /* a second: f32 multiply-adds count twice */
    double integer_operations;           /* the same of bytes summed up in i32 */
    double read_bytes[ROOFLINE_LEVELS];  /* a second */
    double level_bytes[ROOFLINE_LEVELS]; /* what fits there; infinite for memory */
} roofline;

/* All threads at once, the best of several runs; takes a quarter of a second. False after an error. */
bool roofline_measure(const sinter_target *target, int threads, roofline *out, sinter_diag *diag);
/* Seconds that the products take at least, of f32 or of bytes. */
double roofline_products_seconds(const roofline *roof, double multiply_adds, bool integer);
/* The same of reading, or writing, these bytes of a set of `held` bytes, which lies where it fits. */
double roofline_read_seconds(const roofline *roof, double bytes, double held);
