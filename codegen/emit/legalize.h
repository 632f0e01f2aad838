/* Loop -> loop: expands what an emitter's target lacks, once for LLVM, C and CUDA.
 *
 * After it, in kernels and host: divisors are not zero and quotients fit, shifts are below the width; functions of
 * f32 that scalar.def expands are expanded; narrow floats are integers of their width in memory and arithmetic on
 * bits in casts (f16 stays where the target has conversions); sub-byte elements are bytes, shifts and masks; dot intrinsics are
 * there only where the target has a feature for them, or is plain C. Test: tests/unit/emit_test.c */
#pragma once
#include "codegen/compile.h"

/* A new program that shares the constants' tensors with the old one, which must outlive it. */
sinter_loop_program *sinter_legalize(const sinter_loop_program *program, const sinter_target *target, sinter_diag *diag);
