/* What intrinsics compute (codegen/loops/intrinsic.def), for the loop interpreter: the definition that all emitters keep, in the
 * instruction where a CPU has it and in its expansion elsewhere. Test: tests/unit/loop_test.c, tests/codegen/loops/ */
#include "codegen/loops/code.h"

/* Four products of the bytes of a and b, added to the accumulator, wrapping. */
static int64_t dot4(int64_t accumulator, int64_t a, int64_t b, bool a_is_signed) {
    uint32_t sum = (uint32_t)accumulator;
    for (int i = 0; i < 4; i++) {
        uint8_t byte = (uint8_t)((uint64_t)a >> (8 * i));
        int32_t left = a_is_signed ? (int8_t)byte : byte;
        sum += (uint32_t)(left * (int8_t)((uint64_t)b >> (8 * i)));
    }
    return (int32_t)sum;
}

/* Products of bf16 are exact in f32. */
static double dot2(double accumulator, int64_t a, int64_t b) {
    float sum = (float)accumulator;
    for (int i = 0; i < 2; i++) {
        uint64_t left = (uint64_t)a >> (16 * i) & 0xffff, right = (uint64_t)b >> (16 * i) & 0xffff;
        sum += (float)sinter_float_decode(SINTER_DTYPE_bf16, left) *
               (float)sinter_float_decode(SINTER_DTYPE_bf16, right);
    }
    return (double)sum;
}

sinter_code_value sinter_code_intrinsic(sinter_loop_intrinsic function, sinter_code_value a,
                                        sinter_code_value b, sinter_code_value c) {
    if (function == SINTER_INTRINSIC_dot2_bf16)
        return (sinter_code_value){.f = dot2(a.f, b.i, c.i)};
    return (sinter_code_value){.i = dot4(a.i, b.i, c.i, function == SINTER_INTRINSIC_dot4_i8i8)};
}
