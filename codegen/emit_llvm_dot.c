/* Dot-accumulate intrinsics in LLVM: four 8-bit products, or two of bf16, summed into each 32-bit lane.
 *
 * Chosen by the target's features. Of bytes always exact: VNNI and its kin, Arm's dot products, or on x86 16-bit
 * multiply-adds, which cannot saturate. Needs: legalized loops, where the target lacks that of bf16. Test: tests/unit/emit_test.c */
#include "codegen/emit_llvm.h"

/* Lanes [first, first + count) of a vector; lanes past its end repeat lane 0. */
static LLVMValueRef slice(sinter_llvm_function *f, LLVMValueRef vector, unsigned first,
                          unsigned count) {
    LLVMValueRef indices[64];
    unsigned size = LLVMGetVectorSize(LLVMTypeOf(vector));
    if (first == 0 && count == size) return vector;
    for (unsigned i = 0; i < count; i++)
        indices[i] = sinter_llvm_int32(f->module, (int32_t)(first + i < size ? first + i : 0));
    return LLVMBuildShuffleVector(f->builder, vector, LLVMGetPoison(LLVMTypeOf(vector)),
                                  LLVMConstVector(indices, count), "");
}

/* Puts `part` into lanes first... of `whole`. */
static LLVMValueRef splice(sinter_llvm_function *f, LLVMValueRef whole, LLVMValueRef part,
                           unsigned first) {
    unsigned size = LLVMGetVectorSize(LLVMTypeOf(whole)),
             count = LLVMGetVectorSize(LLVMTypeOf(part));
    if (size == count) return part;
    LLVMValueRef wide = slice(f, part, 0, size), indices[256];
    for (unsigned i = 0; i < size; i++) {
        bool inside = i >= first && i < first + count;
        indices[i] = sinter_llvm_int32(f->module, (int32_t)(inside ? size + i - first : i));
    }
    return LLVMBuildShuffleVector(f->builder, whole, wide, LLVMConstVector(indices, size), "");
}

typedef struct dot_kind {
    const char *name; /* the intrinsic, or NULL: multiply-adds */
    unsigned lanes;   /* of 32 bits */
    bool as_bytes;    /* packed operands are <4n x i8> */
    bool flip;        /* a is signed and the instruction wants it unsigned */
    bool as_pairs;    /* packed operands are <2n x bfloat> */
} dot_kind;

static dot_kind choose_pairs(unsigned lanes) {
    if (lanes >= 16) return (dot_kind){"llvm.x86.avx512bf16.dpbf16ps.512", 16, false, false, true};
    if (lanes >= 8) return (dot_kind){"llvm.x86.avx512bf16.dpbf16ps.256", 8, false, false, true};
    return (dot_kind){"llvm.x86.avx512bf16.dpbf16ps.128", 4, false, false, true};
}

static dot_kind choose(const sinter_target *target, bool is_signed, unsigned lanes) {
    bool wide = sinter_target_has(target, "avx512vnni") && lanes >= 16;
    unsigned fits = wide ? 16 : lanes >= 8 ? 8 : 4;
    if (target->triple[0] == 'a') {
        if (is_signed) return (dot_kind){"llvm.aarch64.neon.sdot", 4, true, false, false};
        return (dot_kind){"llvm.aarch64.neon.usdot", 4, true, false, false};
    }
    if (is_signed && sinter_target_has(target, "avxvnniint8"))
        return (dot_kind){fits >= 8 ? "llvm.x86.avx2.vpdpbssd.256" : "llvm.x86.avx2.vpdpbssd.128",
                          fits >= 8 ? 8 : 4, false, false, false};
    if (sinter_target_has(target, "avx512vnni|avxvnni"))
        return (dot_kind){fits == 16  ? "llvm.x86.avx512.vpdpbusd.512"
                          : fits == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                      : "llvm.x86.avx512.vpdpbusd.128",
                          fits, false, is_signed, false};
    bool avx2 = sinter_target_has(target, "avx2"), avx512 = sinter_target_has(target, "avx512bw");
    if (avx512 && lanes >= 16) return (dot_kind){NULL, 16, false, false, false};
    return (dot_kind){NULL, avx2 && lanes >= 8 ? 8 : 4, false, false, false};
}

/* acc + madd16(even bytes) + madd16(odd bytes): products of 8-bit numbers fit where 16-bit ones are added in pairs. */
static LLVMValueRef multiply_add(sinter_llvm_function *f, bool is_signed, unsigned lanes,
                                 LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b) {
    sinter_llvm_module *m = f->module;
    const char *name = lanes == 16  ? "llvm.x86.avx512.pmaddw.d.512"
                       : lanes == 8 ? "llvm.x86.avx2.pmadd.wd"
                                    : "llvm.x86.sse2.pmadd.wd";
    LLVMTypeRef words = LLVMVectorType(m->i16, lanes * 2);
    LLVMValueRef eights[64];
    for (unsigned i = 0; i < lanes * 2; i++) eights[i] = LLVMConstInt(m->i16, 8, false);
    LLVMValueRef by8 = LLVMConstVector(eights, lanes * 2);
    a = LLVMBuildBitCast(f->builder, a, words, "");
    b = LLVMBuildBitCast(f->builder, b, words, "");
    LLVMValueRef b_low = LLVMBuildAShr(f->builder, LLVMBuildShl(f->builder, b, by8, ""), by8, "");
    LLVMValueRef b_high = LLVMBuildAShr(f->builder, b, by8, "");
    LLVMValueRef a_up = LLVMBuildShl(f->builder, a, by8, "");
    LLVMValueRef a_low = is_signed ? LLVMBuildAShr(f->builder, a_up, by8, "")
                                   : LLVMBuildLShr(f->builder, a_up, by8, "");
    LLVMValueRef a_high =
        is_signed ? LLVMBuildAShr(f->builder, a, by8, "") : LLVMBuildLShr(f->builder, a, by8, "");
    LLVMValueRef low = sinter_llvm_intrinsic(f, name, NULL, 0, (LLVMValueRef[]){a_low, b_low}, 2);
    LLVMValueRef high =
        sinter_llvm_intrinsic(f, name, NULL, 0, (LLVMValueRef[]){a_high, b_high}, 2);
    return LLVMBuildAdd(f->builder, acc, LLVMBuildAdd(f->builder, low, high, ""), "");
}

static LLVMValueRef dot_part(sinter_llvm_function *f, const dot_kind *kind, bool is_signed,
                             LLVMValueRef acc, LLVMValueRef a, LLVMValueRef b) {
    sinter_llvm_module *m = f->module;
    if (!kind->name) return multiply_add(f, is_signed, kind->lanes, acc, a, b);
    if (kind->as_bytes) {
        LLVMTypeRef bytes = LLVMVectorType(m->i8, kind->lanes * 4), sums = LLVMTypeOf(acc);
        a = LLVMBuildBitCast(f->builder, a, bytes, "");
        b = LLVMBuildBitCast(f->builder, b, bytes, "");
        return sinter_llvm_intrinsic(f, kind->name, (LLVMTypeRef[]){sums, bytes}, 2,
                                     (LLVMValueRef[]){acc, a, b}, 3);
    }
    if (kind->as_pairs) {
        LLVMTypeRef pairs = LLVMVectorType(LLVMBFloatTypeInContext(m->context), kind->lanes * 2);
        a = LLVMBuildBitCast(f->builder, a, pairs, "");
        b = LLVMBuildBitCast(f->builder, b, pairs, "");
    }
    if (!kind->flip)
        return sinter_llvm_intrinsic(f, kind->name, NULL, 0, (LLVMValueRef[]){acc, a, b}, 3);
    /* sum a*b = sum (a + 128)*b - sum 128*b */
    LLVMValueRef flips[16];
    for (unsigned i = 0; i < kind->lanes; i++) flips[i] = LLVMConstInt(m->i32, 0x80808080u, false);
    LLVMValueRef flip = LLVMConstVector(flips, kind->lanes);
    LLVMValueRef shifted = LLVMBuildXor(f->builder, a, flip, "");
    LLVMValueRef sum =
        sinter_llvm_intrinsic(f, kind->name, NULL, 0, (LLVMValueRef[]){acc, shifted, b}, 3);
    LLVMValueRef bias = sinter_llvm_intrinsic(
        f, kind->name, NULL, 0, (LLVMValueRef[]){LLVMConstNull(LLVMTypeOf(acc)), flip, b}, 3);
    return LLVMBuildSub(f->builder, sum, bias, "");
}

LLVMValueRef sinter_llvm_dot(sinter_llvm_function *f, sinter_loop_intrinsic intrinsic,
                             LLVMValueRef *arguments) {
    bool is_signed = intrinsic == SINTER_INTRINSIC_dot4_i8i8, any = false;
    for (int i = 0; i < 3; i++) any |= sinter_llvm_is_vector(arguments[i]);
    unsigned lanes = any ? f->lanes : 1;
    bool is_float = intrinsic == SINTER_INTRINSIC_dot2_bf16;
    dot_kind kind = is_float ? choose_pairs(lanes) : choose(f->module->target, is_signed, lanes);
    LLVMValueRef whole[3];
    for (int i = 0; i < 3; i++) {
        whole[i] = arguments[i];
        if (any) {
            whole[i] = sinter_llvm_widen(f, arguments[i]);
            continue;
        }
        LLVMValueRef empty = LLVMConstNull(LLVMVectorType(LLVMTypeOf(arguments[i]), kind.lanes));
        whole[i] = LLVMBuildInsertElement(f->builder, empty, arguments[i],
                                          sinter_llvm_int(f->module, 0), "");
    }
    LLVMValueRef result = whole[0];
    for (unsigned first = 0; first < lanes; first += kind.lanes) {
        LLVMValueRef parts[3];
        for (int i = 0; i < 3; i++) parts[i] = slice(f, whole[i], first, kind.lanes);
        LLVMValueRef part = dot_part(f, &kind, is_signed, parts[0], parts[1], parts[2]);
        if (lanes < kind.lanes && any) part = slice(f, part, 0, lanes);
        result = any ? splice(f, result, part, first) : part;
    }
    if (any) return result;
    return LLVMBuildExtractElement(f->builder, result, sinter_llvm_int(f->module, 0), "");
}
