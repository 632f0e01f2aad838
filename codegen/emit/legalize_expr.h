/* Shared by the files of legalize; nobody else includes it. */
#pragma once
#include "codegen/emit/legalize.h"
#include "ir/base/map.h"

typedef struct sinter_legalizer {
    const sinter_target *target; /* NULL: plain C */
    sinter_loop_builder build;   /* over the function being rewritten */
    const sinter_loop_function *source;
    sinter_arena scratch;
    sinter_map rewritten; /* old expression -> new one, of this function */
    sinter_diag *diag;
    bool is_host;
    bool fuses; /* sums of products in the function: see legalize_sum.c */
    bool failed;
} sinter_legalizer;

/* ---- legalize_float.c ---- */
/* The type that stands for a value or an element: of the same width where that is 8 bits or more, else of a byte. */
sinter_dtype sinter_legal_dtype(const sinter_legalizer *l, sinter_dtype dtype);
bool sinter_is_expanded_float(const sinter_legalizer *l, sinter_dtype dtype); /* held as an integer */
/* Bits of a narrow float -> f32, and back with one rounding; value is f32. */
sinter_expr sinter_legal_decode(sinter_legalizer *l, sinter_dtype dtype, sinter_expr bits);
sinter_expr sinter_legal_encode(sinter_legalizer *l, sinter_dtype dtype, sinter_expr value, bool saturate);
/* f64 -> f32 such that a second rounding to something narrower is right. */
sinter_expr sinter_legal_round_to_odd(sinter_legalizer *l, sinter_expr value);

/* ---- legalize_sum.c ---- */
/* Whether sums of products in the function are rounded once a product. */
bool sinter_legal_may_fuse(const sinter_legalizer *l, const sinter_loop_function *source);
/* The legal value of a legal statement that assigns or stores: itself, or with products added by fma. */
sinter_expr sinter_legal_sum(sinter_legalizer *l, const sinter_loop_stmt *stmt, sinter_expr value);

/* ---- legalize_expr.c ---- */
sinter_expr sinter_legal_expr(sinter_legalizer *l, sinter_expr expr);
/* The function applied to legal operands that stand for values of `dtype`; result likewise. */
sinter_expr sinter_legal_call(sinter_legalizer *l, sinter_scalar_function function, sinter_dtype dtype,
                              const sinter_expr *arguments);
/* Whether fma is one rounding: what plain C and CUDA do is up to their compiler. */
bool sinter_legal_fuses(const sinter_legalizer *l);
/* Where a sub-byte element lies: its byte, and the shift in it as u8. */
void sinter_legal_place(sinter_legalizer *l, sinter_loop_buffer buffer, const sinter_expr *indices,
                        sinter_expr *out_byte, sinter_expr *out_shift);
