/* Rounding to a whole number between two bounds in LLVM: the end of every quantization,
 *   cast(i32, min(max(round_even(v) + z, low), high))
 * The processor's conversion rounds by itself, so v is clamped before it, to low - z and high - z, and z is added to the
 * integer. The result is the same for every v: rounding keeps order and whole bounds, and NaN gives 0.
 * Four of them that fill a byte each, put together as one i32, are narrowed by instructions that saturate (x86):
 *   cast(i32, q0) | cast(i32, q1) << 8 | cast(i32, q2) << 16 | cast(i32, q3) << 24
 * which clamp by themselves; z is added to 16 bits, two results at a time.
 * Needs: whole numbers of few bits as z, low and high, which f32 adds exactly. Other targets, lane counts and types take the
 * general way of llvm_expr.c. Test: tests/unit/isa_test.c */
#include "codegen/emit/llvm.h"
#include "codegen/loops/word.h"

#include <math.h>

enum { MAX_WHOLE = 1 << 16 };

typedef struct clamped {
    const sinter_loop_expr *value; /* v */
    const sinter_loop_expr *shift; /* z; NULL: none */
    double low, high;
} clamped;

/* A constant, or a float made of an integer of 8 or 16 bits. */
static bool is_whole(const sinter_loop_expr *expr) {
    if (expr->kind == SINTER_LOOP_CONST)
        return fabs(expr->float_value) <= MAX_WHOLE &&
               floor(expr->float_value) == expr->float_value;
    if (expr->kind != SINTER_LOOP_CAST) return false;
    sinter_dtype from = expr->arguments[0]->dtype;
    return sinter_dtype_is_integer(from) && sinter_dtype_infos[from].bits <= 16;
}

/* The operand that is not the constant. */
static const sinter_loop_expr *bounded(const sinter_loop_expr *expr,
                                       sinter_scalar_function function, double *out_bound) {
    if (!sinter_loop_is_call(expr, function)) return NULL;
    for (int i = 0; i < 2; i++) {
        const sinter_loop_expr *bound = expr->arguments[i];
        if (bound->kind != SINTER_LOOP_CONST || !is_whole(bound)) continue;
        *out_bound = bound->float_value;
        return expr->arguments[1 - i];
    }
    return NULL;
}

static bool match_clamped(const sinter_loop_expr *cast, clamped *out) {
    if (cast->kind != SINTER_LOOP_CAST || cast->dtype != SINTER_DTYPE_i32 ||
        cast->arguments[0]->dtype != SINTER_DTYPE_f32)
        return false;
    const sinter_loop_expr *outer = cast->arguments[0], *inner;
    bool high_outside = sinter_loop_is_call(outer, SINTER_SCALAR_min);
    sinter_scalar_function first = high_outside ? SINTER_SCALAR_min : SINTER_SCALAR_max;
    sinter_scalar_function second = high_outside ? SINTER_SCALAR_max : SINTER_SCALAR_min;
    if (!(inner = bounded(outer, first, high_outside ? &out->high : &out->low)) ||
        !(inner = bounded(inner, second, high_outside ? &out->low : &out->high)) ||
        out->low > out->high)
        return false;
    out->shift = NULL;
    for (int i = 0; i < 2 && sinter_loop_is_call(inner, SINTER_SCALAR_add) && !out->shift; i++)
        if (sinter_loop_is_call(inner->arguments[i], SINTER_SCALAR_round_even) &&
            is_whole(inner->arguments[1 - i])) {
            out->shift = inner->arguments[1 - i];
            inner = inner->arguments[i];
        }
    if (!sinter_loop_is_call(inner, SINTER_SCALAR_round_even)) return false;
    out->value = inner->arguments[0];
    return true;
}

/* The numbers of an 8-bit type include what the clamp leaves. */
static bool holds(sinter_dtype dtype, const clamped *c) {
    if (dtype == SINTER_DTYPE_u8) return c->low >= 0 && c->high <= UINT8_MAX;
    return dtype == SINTER_DTYPE_i8 && c->low >= INT8_MIN && c->high <= INT8_MAX;
}

const sinter_loop_expr *sinter_llvm_wide_form(const sinter_loop_expr *expr) {
    clamped c;
    bool narrow = expr->kind == SINTER_LOOP_CAST && match_clamped(expr->arguments[0], &c) &&
                  c.low <= 0 && c.high >= 0 && holds(expr->dtype, &c);
    return narrow ? expr->arguments[0] : expr;
}

/* ---- the conversion ---- */

/* Rounds to nearest, ties to even, on all lanes of the vector axis; NULL: not by one instruction. */
static const char *conversion(const sinter_llvm_function *f) {
    const sinter_target *target = f->module->target;
    if (f->lane_zero) return NULL;
    if (target->arch == SINTER_ARCH_aarch64)
        return f->lanes == 4 ? "llvm.aarch64.neon.fcvtns" : NULL;
    if (f->lanes == 16 && sinter_target_has(target, "avx512f"))
        return "llvm.x86.avx512.mask.cvtps2dq.512";
    if (f->lanes == 8 && sinter_target_has(target, "avx")) return "llvm.x86.avx.cvt.ps2dq.256";
    return f->lanes == 4 ? "llvm.x86.sse2.cvtps2dq" : NULL;
}

static LLVMValueRef convert(sinter_llvm_function *f, const char *name, LLVMValueRef value) {
    sinter_llvm_module *m = f->module;
    LLVMTypeRef types[2] = {sinter_llvm_like(value, m->i32), LLVMTypeOf(value)};
    if (m->target->arch == SINTER_ARCH_aarch64)
        return sinter_llvm_intrinsic(f, name, types, 2, &value, 1);
    if (f->lanes < 16) return sinter_llvm_intrinsic(f, name, NULL, 0, &value, 1);
    LLVMValueRef arguments[] = {value, LLVMConstNull(types[0]),
                                LLVMConstAllOnes(LLVMIntTypeInContext(m->context, 16)),
                                sinter_llvm_int32(m, 8) /* to nearest even, no exceptions */};
    return sinter_llvm_intrinsic(f, name, NULL, 0, arguments, 4);
}

/* bound - z in all lanes */
static LLVMValueRef shifted(sinter_llvm_function *f, double bound, LLVMValueRef shift) {
    LLVMValueRef value = LLVMConstReal(f->module->f32, bound);
    if (shift) value = LLVMBuildFSub(f->builder, value, shift, "");
    return sinter_llvm_widen(f, value);
}

/* The comparison's first operand where it holds, else, also for NaN, the second: one instruction on x86. */
static LLVMValueRef choose(sinter_llvm_function *f, LLVMRealPredicate predicate, LLVMValueRef a,
                           LLVMValueRef b) {
    LLVMValueRef holds_for = LLVMBuildFCmp(f->builder, predicate, a, b, "");
    return LLVMBuildSelect(f->builder, holds_for, a, b, "");
}

/* narrow: only the low 8 bits of the result matter, which are 0 for NaN on x86 if it gets to the conversion. */
static LLVMValueRef round_clamped(sinter_llvm_function *f, const char *name, const clamped *c,
                                  sinter_dtype narrow) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef value = sinter_llvm_widen(f, sinter_llvm_expr(f, c->value)), shift = NULL;
    bool shifts = c->shift && !(c->shift->kind == SINTER_LOOP_CONST && c->shift->float_value == 0);
    if (shifts) shift = sinter_llvm_expr(f, c->shift);
    if (shift && sinter_llvm_is_vector(shift)) return NULL;
    LLVMValueRef low = shifted(f, c->low, shift), high = shifted(f, c->high, shift);
    bool nan_is_low = c->low == 0, nan_passes = !nan_is_low && narrow && !shift;
    /* What is too large converts to the lowest i32, the largest u32. */
    bool saturates = narrow == SINTER_DTYPE_u8 && nan_is_low && c->high == UINT8_MAX &&
                     f->lanes == 16 && m->target->arch == SINTER_ARCH_x86_64;
    LLVMValueRef inside =
        nan_passes ? choose(f, LLVMRealOGT, low, value) : choose(f, LLVMRealOGT, value, low);
    if (!saturates)
        inside = nan_passes ? choose(f, LLVMRealOLT, high, inside)
                            : choose(f, LLVMRealOLT, inside, high);
    LLVMValueRef result = convert(f, name, inside);
    LLVMTypeRef type = LLVMTypeOf(result);
    if (shift) {
        LLVMValueRef whole = LLVMBuildFPToSI(f->builder, shift, m->i32, "");
        result = LLVMBuildAdd(f->builder, result, sinter_llvm_widen(f, whole), "");
    }
    if (!nan_is_low && !nan_passes) {
        LLVMValueRef number = LLVMBuildFCmp(f->builder, LLVMRealORD, value, value, "");
        result = LLVMBuildSelect(f->builder, number, result, LLVMConstNull(type), "");
    }
    if (saturates) {
        LLVMValueRef operands[] = {result, sinter_llvm_widen(f, sinter_llvm_int32(m, UINT8_MAX))};
        result = sinter_llvm_intrinsic(f, "llvm.umin", &type, 1, operands, 2);
    }
    return narrow ? LLVMBuildTrunc(f->builder, result, sinter_llvm_like(result, m->i8), "")
                  : result;
}

LLVMValueRef sinter_llvm_round(sinter_llvm_function *f, const sinter_loop_expr *cast) {
    clamped c;
    const char *name = conversion(f);
    const sinter_loop_expr *wide = sinter_llvm_wide_form(cast);
    if (!name || !match_clamped(wide, &c)) return NULL;
    return round_clamped(f, name, &c, wide == cast ? SINTER_DTYPE_NONE : cast->dtype);
}

/* ---- four in a word ---- */

enum { LINE_BYTES = 16, BYTE_BITS = 8, MOST_BYTES = 64 };

/* Instructions for so many lanes, one vector of them: two of i32 become one of i16, two of these one of bytes. */
typedef struct packing {
    const char *to_halves, *to_unsigned, *to_signed;
} packing;

static bool find_packing(const sinter_llvm_function *f, packing *out) {
    const sinter_target *target = f->module->target;
    if (target->arch != SINTER_ARCH_x86_64 || f->lane_zero) return false;
    if (f->lanes == 16 && sinter_target_has(target, "avx512bw"))
        *out = (packing){"llvm.x86.avx512.packssdw.512", "llvm.x86.avx512.packuswb.512",
                         "llvm.x86.avx512.packsswb.512"};
    else if (f->lanes == 8 && sinter_target_has(target, "avx2"))
        *out =
            (packing){"llvm.x86.avx2.packssdw", "llvm.x86.avx2.packuswb", "llvm.x86.avx2.packsswb"};
    else
        return false;
    return true;
}

/* The clamped number under a cast to a byte and to i32, whose bounds are those of a byte. */
static bool match_part(const sinter_loop_expr *expr, clamped *out) {
    if (expr->kind != SINTER_LOOP_CAST || expr->arguments[0]->dtype != SINTER_DTYPE_u8)
        return false;
    while (expr->kind == SINTER_LOOP_CAST &&
           sinter_dtype_infos[expr->arguments[0]->dtype].bits == BYTE_BITS)
        expr = expr->arguments[0];
    if (expr->kind != SINTER_LOOP_CAST || !match_clamped(expr->arguments[0], out)) return false;
    return (out->low == 0 && out->high == UINT8_MAX) ||
           (out->low == INT8_MIN && out->high == INT8_MAX);
}

static bool find_parts(const sinter_loop_expr *expr, clamped *parts, uint32_t *found) {
    if (sinter_loop_is_call(expr, SINTER_SCALAR_or))
        return find_parts(expr->arguments[0], parts, found) &&
               find_parts(expr->arguments[1], parts, found);
    uint32_t part = 0;
    for (uint32_t k = 1; k < SINTER_WORD_PARTS && !part; k++) {
        const sinter_loop_expr *shifted_up =
            sinter_loop_operand_beside(expr, SINTER_SCALAR_shl, k * BYTE_BITS);
        if (!shifted_up) continue;
        part = k;
        expr = shifted_up;
    }
    if (*found >> part & 1) return false;
    *found |= 1u << part;
    return match_part(expr, &parts[part]);
}

/* Of one range, and with one z of at most 8 bits. */
static bool match_alike(const sinter_loop_expr *expr, clamped *parts) {
    uint32_t found = 0;
    if (expr->dtype != SINTER_DTYPE_i32 || !sinter_loop_is_call(expr, SINTER_SCALAR_or) ||
        !find_parts(expr, parts, &found) || found != (1u << SINTER_WORD_PARTS) - 1)
        return false;
    const sinter_loop_expr *shift = parts[0].shift;
    for (uint32_t k = 1; k < SINTER_WORD_PARTS; k++)
        if (parts[k].low != parts[0].low || !parts[k].shift != !shift ||
            (shift && !sinter_loop_expr_equal(parts[k].shift, shift)))
            return false;
    if (!shift) return true;
    if (shift->kind == SINTER_LOOP_CONST) return fabs(shift->float_value) <= UINT8_MAX;
    return sinter_dtype_infos[shift->arguments[0]->dtype].bits <= BYTE_BITS;
}

/* The largest magnitude that an expression of f32 may have; infinity: who knows, or it may be no number. */
static double largest(const sinter_loop_expr *expr) {
    if (expr->kind == SINTER_LOOP_CONST)
        return isfinite(expr->float_value) ? fabs(expr->float_value) : (double)INFINITY;
    if (expr->kind == SINTER_LOOP_CAST && sinter_dtype_is_integer(expr->arguments[0]->dtype))
        return ldexp(1, sinter_dtype_infos[expr->arguments[0]->dtype].bits);
    if (sinter_loop_is_call(expr, SINTER_SCALAR_mul))
        return largest(expr->arguments[0]) * largest(expr->arguments[1]);
    return (double)INFINITY;
}

/* To the nearest i32, where 16 bits saturate from what is outside of i32 as from the number itself; of no number the least one is
 * left for u8, whose clamp makes 0 of it, and -z for i8. */
static LLVMValueRef round_wide(sinter_llvm_function *f, const char *name, const clamped *c,
                               LLVMValueRef shift) {
    static const double most = 1 << 30; /* so that neither rounds to what i32 lacks */
    LLVMValueRef value = sinter_llvm_widen(f, sinter_llvm_expr(f, c->value));
    if (largest(c->value) <= most) return convert(f, name, value);
    LLVMValueRef number =
        c->low == 0 ? NULL : LLVMBuildFCmp(f->builder, LLVMRealORD, value, value, "");
    LLVMValueRef bound = sinter_llvm_widen(f, LLVMConstReal(f->module->f32, most));
    LLVMValueRef result = convert(f, name, choose(f, LLVMRealOLT, bound, value));
    if (!number) return result;
    LLVMValueRef opposite = LLVMConstNull(f->module->i32);
    if (shift) {
        shift = LLVMBuildFPToSI(f->builder, shift, f->module->i32, "");
        opposite = LLVMBuildSub(f->builder, opposite, shift, "");
    }
    return LLVMBuildSelect(f->builder, number, result, sinter_llvm_widen(f, opposite), "");
}

static LLVMValueRef narrow_two(sinter_llvm_function *f, const char *name, LLVMValueRef a,
                               LLVMValueRef b) {
    return sinter_llvm_intrinsic(f, name, NULL, 0, (LLVMValueRef[]){a, b}, 2);
}

/* Within a line of 16 bytes: four lanes of each part, one part after the other, become words of four parts. */
static LLVMValueRef words_of_lines(sinter_llvm_function *f, LLVMValueRef bytes) {
    LLVMValueRef from[MOST_BYTES];
    const uint32_t count = f->lanes * SINTER_WORD_PARTS, lanes = LINE_BYTES / SINTER_WORD_PARTS;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t line = i / LINE_BYTES * LINE_BYTES, at = i % LINE_BYTES;
        uint32_t lane = at / SINTER_WORD_PARTS, part = at % SINTER_WORD_PARTS;
        from[i] = sinter_llvm_int32(f->module, (int32_t)(line + part * lanes + lane));
    }
    bytes = LLVMBuildShuffleVector(f->builder, bytes, LLVMGetPoison(LLVMTypeOf(bytes)),
                                   LLVMConstVector(from, count), "");
    return LLVMBuildBitCast(f->builder, bytes, LLVMVectorType(f->module->i32, f->lanes), "");
}

LLVMValueRef sinter_llvm_round_word(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    clamped parts[SINTER_WORD_PARTS];
    packing by;
    const char *name = conversion(f);
    if (!name || !find_packing(f, &by) || !match_alike(expr, parts)) return NULL;
    LLVMValueRef shift = NULL, whole[SINTER_WORD_PARTS], halves[2];
    const sinter_loop_expr *z = parts[0].shift;
    if (z && !(z->kind == SINTER_LOOP_CONST && z->float_value == 0)) shift = sinter_llvm_expr(f, z);
    if (shift && sinter_llvm_is_vector(shift)) return NULL;
    for (uint32_t k = 0; k < SINTER_WORD_PARTS; k++)
        whole[k] = round_wide(f, name, &parts[k], shift);
    for (int i = 0; i < 2; i++)
        halves[i] = narrow_two(f, by.to_halves, whole[2 * i], whole[2 * i + 1]);
    LLVMTypeRef type = LLVMTypeOf(halves[0]), half = LLVMGetElementType(type);
    if (shift) shift = LLVMBuildFPToSI(f->builder, shift, half, "");
    for (int i = 0; i < 2 && shift; i++) {
        LLVMValueRef lanes = sinter_llvm_splat(f, shift, f->lanes * 2);
        halves[i] = sinter_llvm_intrinsic(f, "llvm.sadd.sat", &type, 1,
                                          (LLVMValueRef[]){halves[i], lanes}, 2);
    }
    return words_of_lines(
        f, narrow_two(f, parts[0].low == 0 ? by.to_unsigned : by.to_signed, halves[0], halves[1]));
}
