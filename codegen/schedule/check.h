/* Same values before and after a rewrite: runs two functions of one signature on the same made-up data in the interpreter
 * and compares every byte of what they write, or floats within a bound. For tests and for sinter-opt --check.
 * Test: tests/unit/loop_property_test.c */
#pragma once
#include "codegen/schedule/schedule.h"

/* An input that the second function has packed. */
typedef struct sinter_loop_check_packing {
    uint32_t parameter;
    uint32_t rank; /* and dims, before */
    int64_t dims[SINTER_MAX_RANK];
    sinter_layout layout;
} sinter_loop_check_packing;

/* All but the layout, of an input that is about to be packed; false: it is no parameter, or has a dim that is no number. */
bool sinter_loop_describe_packing(const sinter_loop_function *function, sinter_loop_buffer buffer,
                                  sinter_loop_check_packing *out_packing);

typedef struct sinter_loop_check_options {
    uint64_t seed;
    int64_t size;           /* of scalar parameters whose range allows it; else the nearest that it allows */
    const char *const *names; /* NAME, value: parameters that differ from size */
    const int64_t *values;
    size_t count;
    const sinter_loop_check_packing *packings; /* one after the other */
    size_t packing_count;
    double rounding; /* what f32 and f64 may differ by, relative to the largest element of a tensor; 0: in no bit */
} sinter_loop_check_options;

/* Integers in the data are small and not negative; a function that indexes by them guards its loads or fails. False where
 * they differ, where one fails and the other does not, or where such data can't be made; *out_failed (NULL allowed) where both
 * fail or have no data. */
bool sinter_loop_check_equal(const sinter_loop_program *before, const sinter_loop_function *function_before,
                             const sinter_loop_program *after, const sinter_loop_function *function_after,
                             const sinter_loop_check_options *options, bool *out_failed, sinter_diag *diag);
