/* Scalar functions, casts and dot intrinsics in LLVM.
 *
 * What a function is called in LLVM is the llvm column of ir/scalar.def; where that is empty it is a libm call, lane
 * by lane. Needs legalized operands: divisors are not zero, shifts are below the width, narrow floats are gone (f16
 * stays where the target converts it). Floating-point arithmetic carries no flag: what is rounded once is an fma.
 * Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "ir/scalar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    LLVMOpcode opcode;
} opcodes[] = {
    {"fadd", LLVMFAdd}, {"fsub", LLVMFSub}, {"fmul", LLVMFMul}, {"fdiv", LLVMFDiv},
    {"frem", LLVMFRem}, {"add", LLVMAdd},   {"sub", LLVMSub},   {"mul", LLVMMul},
    {"sdiv", LLVMSDiv}, {"udiv", LLVMUDiv}, {"srem", LLVMSRem}, {"urem", LLVMURem},
    {"and", LLVMAnd},   {"or", LLVMOr},     {"xor", LLVMXor},   {"shl", LLVMShl},
    {"ashr", LLVMAShr}, {"lshr", LLVMLShr},
};
static const struct {
    const char *name;
    LLVMRealPredicate predicate;
} real_predicates[] = {
    {"oeq", LLVMRealOEQ}, {"une", LLVMRealUNE}, {"olt", LLVMRealOLT},
    {"ole", LLVMRealOLE}, {"uno", LLVMRealUNO},
};
static const struct {
    const char *name;
    LLVMIntPredicate predicate;
} int_predicates[] = {
    {"eq", LLVMIntEQ},   {"ne", LLVMIntNE},   {"slt", LLVMIntSLT},
    {"sle", LLVMIntSLE}, {"ult", LLVMIntULT}, {"ule", LLVMIntULE},
};

/* "fadd" out of "f:fadd i:add" for class FLOAT; empty where the class has no entry. */
static sinter_string find_spelling(const char *spellings, sinter_dtype dtype) {
    static const char letters[] = {[SINTER_CLASS_FLOAT] = 'f',
                                   [SINTER_CLASS_INT] = 'i',
                                   [SINTER_CLASS_UINT] = 'u',
                                   [SINTER_CLASS_BOOL] = 'b'};
    sinter_dtype_class class = sinter_dtype_infos[dtype].class;
    if (class > SINTER_CLASS_BOOL) return (sinter_string){"", 0};
    for (const char *at = spellings; *at;) {
        size_t size = strcspn(at, " ");
        if (at[0] == letters[class] && at[1] == ':') return (sinter_string){at + 2, size - 2};
        at += size + (at[size] == ' ');
    }
    return (sinter_string){"", 0};
}

static LLVMValueRef build_select(sinter_llvm_function *f, LLVMValueRef condition, LLVMValueRef a,
                                 LLVMValueRef b) {
    return LLVMBuildSelect(f->builder, condition, a, b, "");
}

/* Scalars become vectors where one of the operands is. */
static void unify(sinter_llvm_function *f, LLVMValueRef *arguments, uint32_t count) {
    bool any = false;
    for (uint32_t i = 0; i < count; i++) any |= sinter_llvm_is_vector(arguments[i]);
    for (uint32_t i = 0; i < count && any; i++) arguments[i] = sinter_llvm_widen(f, arguments[i]);
}

/* ---- min and max: NaN where either is NaN, -0 below +0 ---- */

/* With a constant that is no NaN. A select of the bare comparison is one instruction on x86, hands its second operand on
 * where the comparison is unordered, and takes equal zeros from there too; only where the constant is the zero that
 * wins over the other must the test be the other way round. */
static LLVMValueRef extremum_with_constant(sinter_llvm_function *f, bool maximum, LLVMValueRef x,
                                           LLVMValueRef constant, double value) {
    bool winning_zero = value == 0 && maximum == !signbit(value);
    if (winning_zero) {
        LLVMRealPredicate beyond = maximum ? LLVMRealUGT : LLVMRealULT;
        return build_select(f, LLVMBuildFCmp(f->builder, beyond, x, constant, ""), x, constant);
    }
    LLVMRealPredicate predicate = maximum ? LLVMRealOGT : LLVMRealOLT;
    return build_select(f, LLVMBuildFCmp(f->builder, predicate, constant, x, ""), constant, x);
}

/* VRANGE orders zeros and ignores a NaN, which the sum brings back. NULL where there is none for this width. */
static LLVMValueRef extremum_by_range(sinter_llvm_function *f, bool maximum, LLVMValueRef a,
                                      LLVMValueRef b) {
    sinter_llvm_module *m = f->module;
    LLVMTypeRef type = LLVMTypeOf(a);
    if (!sinter_llvm_is_vector(a) || !sinter_target_has(m->target, "avx512dq")) return NULL;
    bool is_double = LLVMGetElementType(type) == m->f64;
    unsigned lanes = LLVMGetVectorSize(type), bits = lanes * (is_double ? 64 : 32);
    if ((!is_double && LLVMGetElementType(type) != m->f32) || bits < 128 || bits > 512) return NULL;
    char name[64];
    snprintf(name, sizeof name, "llvm.x86.avx512.mask.range.p%c.%u", is_double ? 'd' : 's', bits);
    LLVMTypeRef mask_type = LLVMIntTypeInContext(m->context, lanes < 8 ? 8 : lanes);
    /* the two low bits choose min or max, the next two take the sign of the comparison's result */
    LLVMValueRef arguments[] = {a,
                                b,
                                sinter_llvm_int32(m, maximum ? 5 : 4),
                                LLVMConstNull(type),
                                LLVMConstAllOnes(mask_type),
                                sinter_llvm_int32(m, 4)};
    LLVMValueRef range = sinter_llvm_intrinsic(f, name, NULL, 0, arguments, bits == 512 ? 6 : 5);
    LLVMValueRef nan = LLVMBuildFCmp(f->builder, LLVMRealUNO, a, b, "");
    return build_select(f, nan, LLVMBuildFAdd(f->builder, a, b, ""), range);
}

static LLVMValueRef build_extremum(sinter_llvm_function *f, bool maximum, LLVMValueRef *arguments) {
    int constant = LLVMIsAConstantFP(arguments[1]) ? 1 : LLVMIsAConstantFP(arguments[0]) ? 0 : -1;
    LLVMBool loses;
    double value = constant < 0 ? (double)NAN : LLVMConstRealGetDouble(arguments[constant], &loses);
    unify(f, arguments, 2);
    if (!isnan(value))
        return extremum_with_constant(f, maximum, arguments[!constant], arguments[constant], value);
    LLVMValueRef result = extremum_by_range(f, maximum, arguments[0], arguments[1]);
    if (result) return result;
    LLVMTypeRef type = LLVMTypeOf(arguments[0]);
    return sinter_llvm_intrinsic(f, maximum ? "llvm.maximum" : "llvm.minimum", &type, 1, arguments,
                                 2);
}

/* A function of libm or of this module, once a lane. */
static LLVMValueRef call_lanes(sinter_llvm_function *f, const char *name, LLVMValueRef *arguments,
                               uint32_t count) {
    LLVMTypeRef type = LLVMTypeOf(arguments[0]);
    if (!sinter_llvm_is_vector(arguments[0]))
        return sinter_llvm_library(f, name, type, arguments, count);
    LLVMValueRef result = LLVMGetPoison(type);
    for (unsigned lane = 0; lane < LLVMGetVectorSize(type); lane++) {
        LLVMValueRef index = sinter_llvm_int(f->module, lane), scalars[3];
        for (uint32_t i = 0; i < count; i++)
            scalars[i] = LLVMBuildExtractElement(f->builder, arguments[i], index, "");
        LLVMValueRef one = sinter_llvm_library(f, name, LLVMGetElementType(type), scalars, count);
        result = LLVMBuildInsertElement(f->builder, result, one, index, "");
    }
    return result;
}

/* Defines sinter_pow_<dtype>(a, b) by repeated squaring, once a module. A negative exponent gives the truncated
 * reciprocal: 1 and -1 have one, all else yields 0. */
static void define_integer_power(sinter_llvm_module *m, const char *name, LLVMTypeRef type,
                                 bool is_signed) {
    if (LLVMGetNamedFunction(m->module, name)) return;
    LLVMValueRef function = sinter_llvm_add_function(
        m, name, LLVMFunctionType(type, (LLVMTypeRef[]){type, type}, 2, false));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(m->context);
    LLVMBasicBlockRef entry = LLVMAppendBasicBlockInContext(m->context, function, "entry"),
                      head = LLVMAppendBasicBlockInContext(m->context, function, "head"),
                      body = LLVMAppendBasicBlockInContext(m->context, function, "body"),
                      done = LLVMAppendBasicBlockInContext(m->context, function, "done");
    LLVMValueRef zero = LLVMConstNull(type), one = LLVMConstInt(type, 1, false),
                 base = LLVMGetParam(function, 0), exponent = LLVMGetParam(function, 1);
    LLVMPositionBuilderAtEnd(b, entry);
    LLVMBuildBr(b, head);
    LLVMPositionBuilderAtEnd(b, head);
    LLVMValueRef power = LLVMBuildPhi(b, type, ""), left = LLVMBuildPhi(b, type, ""),
                 result = LLVMBuildPhi(b, type, "");
    LLVMBuildCondBr(b, LLVMBuildICmp(b, LLVMIntEQ, left, zero, ""), done, body);
    LLVMPositionBuilderAtEnd(b, body);
    LLVMValueRef odd = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, left, one, ""), zero, "");
    LLVMValueRef next_result =
        LLVMBuildSelect(b, odd, LLVMBuildMul(b, result, power, ""), result, "");
    LLVMValueRef next_power = LLVMBuildMul(b, power, power, ""),
                 next_left = LLVMBuildLShr(b, left, one, "");
    LLVMBuildBr(b, head);
    LLVMBasicBlockRef from[] = {entry, body};
    LLVMAddIncoming(power, (LLVMValueRef[]){base, next_power}, from, 2);
    LLVMAddIncoming(left, (LLVMValueRef[]){exponent, next_left}, from, 2);
    LLVMAddIncoming(result, (LLVMValueRef[]){one, next_result}, from, 2);
    LLVMPositionBuilderAtEnd(b, done);
    LLVMValueRef value = result;
    if (is_signed) { /* for bases 1 and -1 the squaring of the exponent's bits is right as it is */
        LLVMValueRef unit = LLVMBuildICmp(b, LLVMIntULE, LLVMBuildAdd(b, base, one, ""),
                                          LLVMConstInt(type, 2, false), "");
        LLVMValueRef is_zero = LLVMBuildICmp(b, LLVMIntEQ, base, zero, "");
        LLVMValueRef negative = LLVMBuildICmp(b, LLVMIntSLT, exponent, zero, "");
        LLVMValueRef reciprocal = LLVMBuildSelect(
            b, LLVMBuildAnd(b, unit, LLVMBuildNot(b, is_zero, ""), ""), result, zero, "");
        value = LLVMBuildSelect(b, negative, reciprocal, result, "");
    }
    LLVMBuildRet(b, value);
    LLVMDisposeBuilder(b);
}

/* No entry in the llvm column: reinterpretation, integer power, or libm. */
static LLVMValueRef call_without_spelling(sinter_llvm_function *f, sinter_scalar_function function,
                                          sinter_dtype dtype, LLVMValueRef *arguments,
                                          uint32_t count) {
    sinter_llvm_module *m = f->module;
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    if (function == SINTER_SCALAR_bits || function == SINTER_SCALAR_from_bits) {
        LLVMTypeRef to = dtype == SINTER_DTYPE_f32   ? m->i32
                         : dtype == SINTER_DTYPE_f64 ? m->i64
                         : dtype == SINTER_DTYPE_i32 ? m->f32
                                                     : m->f64;
        return LLVMBuildBitCast(f->builder, arguments[0], sinter_llvm_like(arguments[0], to), "");
    }
    char name[64];
    if (function == SINTER_SCALAR_pow && sinter_dtype_is_integer(dtype)) {
        snprintf(name, sizeof name, "sinter_pow_%s", sinter_dtype_infos[dtype].name);
        define_integer_power(m, name, m->dtypes[dtype],
                             sinter_dtype_infos[dtype].class == SINTER_CLASS_INT);
        return call_lanes(f, name, arguments, count);
    }
    if (dtype == SINTER_DTYPE_f32 || dtype == SINTER_DTYPE_f64) {
        snprintf(name, sizeof name, "%s%s", info->c, dtype == SINTER_DTYPE_f32 ? "f" : "");
        return call_lanes(f, name, arguments, count);
    }
    sinter_llvm_fail(m, "%s of %s has no spelling in LLVM [emit_c1]", info->name,
                     sinter_dtype_infos[dtype].name);
    return arguments[0];
}

static LLVMValueRef call_intrinsic(sinter_llvm_function *f, sinter_string spelling,
                                   LLVMValueRef *arguments, uint32_t count) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)spelling.size - 1, spelling.data + 1);
    LLVMTypeRef type = LLVMTypeOf(arguments[0]);
    LLVMValueRef all[4];
    memcpy(all, arguments, count * sizeof *all);
    if (!strcmp(name, "llvm.abs"))
        all[count++] = LLVMConstNull(f->module->i1); /* abs(INT_MIN) is INT_MIN */
    return sinter_llvm_intrinsic(f, name, &type, 1, all, count);
}

/* a * 2^b: f32 arrives here where there is an instruction; powers of two are exact in f64. */
static LLVMValueRef build_scale(sinter_llvm_function *f, sinter_dtype dtype,
                                LLVMValueRef *arguments) {
    if (dtype == SINTER_DTYPE_f32) return sinter_llvm_scale(f, arguments);
    LLVMTypeRef type = LLVMTypeOf(arguments[1]);
    LLVMValueRef power = sinter_llvm_intrinsic(f, "llvm.exp2", &type, 1, &arguments[1], 1);
    return LLVMBuildFMul(f->builder, arguments[0], power, "");
}

/* f64 by way of f32, whose bits choose and which has the numbers. */
static LLVMValueRef build_entry(sinter_llvm_function *f, sinter_scalar_function function,
                                LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value), single = sinter_llvm_like(value, f->module->f32);
    value = LLVMBuildFPCast(f->builder, value, single, "");
    value = sinter_llvm_entry(f, sinter_scalar_find_entries(function), value);
    return LLVMBuildFPCast(f->builder, value, type, "");
}

static LLVMValueRef call_comparison(sinter_llvm_function *f, sinter_string spelling,
                                    LLVMValueRef *arguments, uint32_t count) {
    sinter_string name = {spelling.data + 5, spelling.size - 5};
    if (spelling.data[0] == 'f') {
        for (size_t i = 0; i < sizeof real_predicates / sizeof *real_predicates; i++)
            if (sinter_string_is(name, real_predicates[i].name))
                return LLVMBuildFCmp(f->builder, real_predicates[i].predicate, arguments[0],
                                     arguments[count - 1], "");
    } else {
        for (size_t i = 0; i < sizeof int_predicates / sizeof *int_predicates; i++)
            if (sinter_string_is(name, int_predicates[i].name))
                return LLVMBuildICmp(f->builder, int_predicates[i].predicate, arguments[0],
                                     arguments[count - 1], "");
    }
    return NULL;
}

LLVMValueRef sinter_llvm_call(sinter_llvm_function *f, sinter_scalar_function function,
                              sinter_dtype dtype, LLVMValueRef *arguments, uint32_t count) {
    const sinter_scalar_info *info = sinter_scalar_get_info(function);
    bool is_float = sinter_dtype_is_float(dtype);
    if (is_float && (function == SINTER_SCALAR_min || function == SINTER_SCALAR_max))
        return build_extremum(f, function == SINTER_SCALAR_max, arguments);
    unify(f, arguments, count);
    sinter_string spelling = find_spelling(info->llvm, dtype);
    if (function == SINTER_SCALAR_select)
        return build_select(f, arguments[0], arguments[1], arguments[2]);
    if (!spelling.size) return call_without_spelling(f, function, dtype, arguments, count);
    if (spelling.data[0] == '@') return call_intrinsic(f, spelling, arguments, count);
    if (sinter_string_is(spelling, "copy")) return arguments[0];
    if (sinter_string_is(spelling, "scale")) return build_scale(f, dtype, arguments);
    if (sinter_string_is(spelling, "entry")) return build_entry(f, function, arguments[0]);
    if (sinter_string_is(spelling, "fneg")) return LLVMBuildFNeg(f->builder, arguments[0], "");
    if (sinter_string_is(spelling, "neg")) return LLVMBuildNeg(f->builder, arguments[0], "");
    if (sinter_string_is(spelling, "not")) return LLVMBuildNot(f->builder, arguments[0], "");
    for (size_t i = 0; i < sizeof opcodes / sizeof *opcodes; i++)
        if (sinter_string_is(spelling, opcodes[i].name))
            return LLVMBuildBinOp(f->builder, opcodes[i].opcode, arguments[0], arguments[1], "");
    LLVMValueRef result = NULL;
    if (spelling.size > 5 && spelling.data[4] == '.')
        result = call_comparison(f, spelling, arguments, count);
    if (result) return result;
    sinter_llvm_fail(f->module, "scalar.def: %s: '%.*s' means nothing in LLVM [emit_c2]",
                     info->name, SINTER_STRING_ARGS(spelling));
    return arguments[0];
}

/* Truncation with out-of-range numbers at the ends and NaN 0. The plain conversion is undefined there, so it is frozen
 * and replaced; LLVM's own saturating one is taken apart into lanes on x86. `within`: no number lies outside. */
static LLVMValueRef saturate(sinter_llvm_function *f, LLVMValueRef value, LLVMTypeRef type,
                             unsigned bits, bool within) {
    LLVMTypeRef from = LLVMTypeOf(value);
    LLVMTypeRef scalar = sinter_llvm_is_vector(value) ? LLVMGetElementType(from) : from;
    LLVMTypeRef integer = sinter_llvm_is_vector(value) ? LLVMGetElementType(type) : type;
    LLVMValueRef bounds[] = {value, LLVMConstReal(scalar, ldexp(1, (int)bits - 1)),
                             LLVMConstReal(scalar, -ldexp(1, (int)bits - 1)),
                             LLVMConstInt(integer, UINT64_MAX >> (65 - bits), false),
                             LLVMConstInt(integer, UINT64_C(1) << (bits - 1), false)};
    unify(f, bounds, 5);
    LLVMValueRef result = LLVMBuildFPToSI(f->builder, value, type, "");
    result = LLVMBuildFreeze(f->builder, result, "");
    if (!within) {
        LLVMValueRef above = LLVMBuildFCmp(f->builder, LLVMRealOGE, value, bounds[1], "");
        LLVMValueRef below = LLVMBuildFCmp(f->builder, LLVMRealOLT, value, bounds[2], "");
        result = build_select(f, above, bounds[3], result);
        result = build_select(f, below, bounds[4], result);
    }
    LLVMValueRef number = LLVMBuildFCmp(f->builder, LLVMRealORD, value, value, "");
    return build_select(f, number, result, LLVMConstNull(type));
}

/* As sinter_integer_from_double: types below 32 bits saturate as i32 and wrap, u32 likewise as i64; negative numbers
 * wrap into u64 and large ones saturate. */
static LLVMValueRef float_to_int(sinter_llvm_function *f, LLVMValueRef value, sinter_dtype to,
                                 bool within) {
    sinter_llvm_module *m = f->module;
    LLVMTypeRef type = sinter_llvm_like(value, m->dtypes[to]), from = LLVMTypeOf(value);
    bool small = sinter_dtype_infos[to].bits < 32 || to == SINTER_DTYPE_i32;
    LLVMTypeRef wide = sinter_llvm_like(value, small ? m->i32 : m->i64);
    if (to == SINTER_DTYPE_u64) {
        LLVMValueRef large =
            sinter_llvm_intrinsic(f, "llvm.fptoui.sat", (LLVMTypeRef[]){wide, from}, 2, &value, 1);
        LLVMValueRef positive =
            LLVMBuildFCmp(f->builder, LLVMRealOGT, value, LLVMConstNull(from), "");
        return build_select(f, positive, large, saturate(f, value, wide, 64, within));
    }
    LLVMValueRef result = saturate(f, value, wide, small ? 32 : 64, within);
    return type == wide ? result : LLVMBuildTrunc(f->builder, result, type, "");
}

static const char FENCE[] = "llvm.arithmetic.fence";

/* LLVM would narrow what is done with a widened f16 (a comparison with zero) back to f16, which processors without
 * arithmetic on it do lane by lane. The fence is no instruction, it only keeps LLVM from looking through. */
static LLVMValueRef widen_float(sinter_llvm_function *f, LLVMValueRef value, LLVMTypeRef type,
                                sinter_dtype from) {
    LLVMValueRef wide = LLVMBuildFPExt(f->builder, value, type, "");
    if (from != SINTER_DTYPE_f16) return wide;
    return sinter_llvm_intrinsic(f, FENCE, &type, 1, &wide, 1);
}

/* What was widened, through a fence, is what it was before. */
static LLVMValueRef narrow_float(sinter_llvm_function *f, LLVMValueRef value, LLVMTypeRef type) {
    LLVMValueRef called = LLVMIsACallInst(value) ? LLVMGetCalledValue(value) : NULL;
    unsigned fence = LLVMLookupIntrinsicID(FENCE, strlen(FENCE));
    bool fenced = called && LLVMIsAFunction(called) && LLVMGetIntrinsicID(called) == fence;
    LLVMValueRef wide = fenced ? LLVMGetOperand(value, 0) : NULL;
    LLVMValueRef before = wide && LLVMIsAFPExtInst(wide) ? LLVMGetOperand(wide, 0) : NULL;
    if (before && LLVMTypeOf(before) == type) return before;
    return LLVMBuildFPTrunc(f->builder, value, type, "");
}

LLVMValueRef sinter_llvm_cast(sinter_llvm_function *f, LLVMValueRef value, sinter_dtype from,
                              sinter_dtype to, bool within) {
    if (from == to) return value;
    const sinter_dtype_info *source = &sinter_dtype_infos[from], *target = &sinter_dtype_infos[to];
    LLVMTypeRef type = sinter_llvm_like(value, sinter_llvm_value_type(f->module, to));
    bool from_float = source->class == SINTER_CLASS_FLOAT;
    if (target->class == SINTER_CLASS_BOOL) {
        LLVMValueRef zero = LLVMConstNull(LLVMTypeOf(value));
        return from_float ? LLVMBuildFCmp(f->builder, LLVMRealUNE, value, zero, "")
                          : LLVMBuildICmp(f->builder, LLVMIntNE, value, zero, "");
    }
    if (from_float && target->class == SINTER_CLASS_FLOAT)
        return source->bits < target->bits ? widen_float(f, value, type, from)
                                           : narrow_float(f, value, type);
    if (from_float) return float_to_int(f, value, to, within);
    if (target->class == SINTER_CLASS_FLOAT)
        return source->class == SINTER_CLASS_INT ? LLVMBuildSIToFP(f->builder, value, type, "")
                                                 : LLVMBuildUIToFP(f->builder, value, type, "");
    if (source->class != SINTER_CLASS_BOOL && source->bits >= target->bits)
        return source->bits == target->bits ? value : LLVMBuildTrunc(f->builder, value, type, "");
    return source->class == SINTER_CLASS_INT ? LLVMBuildSExt(f->builder, value, type, "")
                                             : LLVMBuildZExt(f->builder, value, type, "");
}
