/* Rounding to a whole number between two bounds in LLVM: the end of every quantization,
 *   cast(i32, min(max(round_even(v) + z, low), high))
 * The processor's conversion rounds by itself, so v is clamped before it, to low - z and high - z, and z is added to the
 * integer. The result is the same for every v: rounding keeps order and whole bounds, and NaN gives 0.
 * Needs: whole numbers of few bits as z, low and high, which f32 adds exactly. Other targets, lane counts and types take the
 * general way of llvm_expr.c. Test: tests/unit/isa_test.c */
#include "codegen/emit/llvm.h"

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
