/* Instructions of one processor family, which LLVM has no name of its own for, on vectors of any length: a vector goes
 * through in parts, a shorter one or a scalar in some of the lanes.
 *
 * Lookups of bytes in a table of 256. Dot-accumulate: four 8-bit products, or two of bf16, summed into each 32-bit lane; chosen by the target's features. Of
 * bytes always exact: VNNI and its kin, Arm's dot products, or on x86 16-bit multiply-adds, which cannot saturate. And
 * scale, a * 2^b, and one of 16 numbers. Needs: legalized loops, where the target lacks bf16's or scale. Test: tests/unit/emit_test.c, isa_test.c */
#include "codegen/emit/llvm.h"

#include <stdio.h>

/* Lanes [first, first + count) of a vector; lanes past its end repeat lane 0. */
static LLVMValueRef slice(sinter_llvm_function *f, LLVMValueRef vector, unsigned first,
                          unsigned count) {
    LLVMValueRef indices[SINTER_LOOP_MOST_LANES];
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
    LLVMValueRef wide = slice(f, part, 0, size), indices[SINTER_LOOP_MOST_LANES];
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
    bool is_signed;   /* a */
    bool flip;        /* a is signed and the instruction wants it unsigned */
    bool as_pairs;    /* packed operands are <2n x bfloat> */
} dot_kind;

/* Operands of one instruction. */
enum { MAX_OPERANDS = 3 };

/* Lanes of the operands; 0: all are scalars. */
static unsigned count_lanes(const sinter_llvm_function *f, LLVMValueRef *arguments, int count) {
    for (int i = 0; i < count; i++)
        if (sinter_llvm_is_vector(arguments[i])) return f->lanes;
    return 0;
}

static dot_kind choose_pairs(unsigned lanes) {
    unsigned fits = lanes >= 16 ? 16 : lanes >= 8 ? 8 : 4;
    return (dot_kind){.name = fits == 16  ? "llvm.x86.avx512bf16.dpbf16ps.512"
                              : fits == 8 ? "llvm.x86.avx512bf16.dpbf16ps.256"
                                          : "llvm.x86.avx512bf16.dpbf16ps.128",
                      .lanes = fits,
                      .as_pairs = true};
}

static dot_kind choose(const sinter_target *target, bool is_signed, unsigned lanes) {
    bool wide = sinter_target_has(target, "avx512vnni") && lanes >= 16;
    unsigned fits = wide ? 16 : lanes >= 8 ? 8 : 4;
    dot_kind kind = {.lanes = fits, .is_signed = is_signed};
    if (target->arch == SINTER_ARCH_aarch64) {
        kind.name = is_signed ? "llvm.aarch64.neon.sdot" : "llvm.aarch64.neon.usdot";
        kind.lanes = 4;
        kind.as_bytes = true;
    } else if (is_signed && sinter_target_has(target, "avxvnniint8")) {
        kind.lanes = fits >= 8 ? 8 : 4;
        kind.name = fits >= 8 ? "llvm.x86.avx2.vpdpbssd.256" : "llvm.x86.avx2.vpdpbssd.128";
    } else if (sinter_target_has(target, "avx512vnni|avxvnni")) {
        kind.name = fits == 16  ? "llvm.x86.avx512.vpdpbusd.512"
                    : fits == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                : "llvm.x86.avx512.vpdpbusd.128";
        kind.flip = is_signed;
    } else {
        bool avx2 = sinter_target_has(target, "avx2");
        bool avx512 = sinter_target_has(target, "avx512bw");
        kind.lanes = avx512 && lanes >= 16 ? 16 : avx2 && lanes >= 8 ? 8 : 4;
    }
    return kind;
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

static LLVMValueRef dot_part(sinter_llvm_function *f, const void *dot, LLVMValueRef *parts) {
    const dot_kind *kind = dot;
    LLVMValueRef acc = parts[0], a = parts[1], b = parts[2];
    sinter_llvm_module *m = f->module;
    if (!kind->name) return multiply_add(f, kind->is_signed, kind->lanes, acc, a, b);
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

/* One instruction of `lanes` lanes; `kind` is the caller's. */
typedef LLVMValueRef build_part(sinter_llvm_function *f, const void *kind, LLVMValueRef *parts);

/* The operands, of which one may be a vector and the first is like the result, in parts of `lanes` lanes. */
static LLVMValueRef build_in_parts(sinter_llvm_function *f, LLVMValueRef *arguments, int count,
                                   unsigned lanes, build_part *build, const void *kind) {
    unsigned size = count_lanes(f, arguments, count);
    LLVMValueRef whole[MAX_OPERANDS], parts[MAX_OPERANDS], zero = sinter_llvm_int(f->module, 0);
    for (int i = 0; i < count; i++) {
        LLVMTypeRef type = LLVMTypeOf(arguments[i]);
        whole[i] =
            size ? sinter_llvm_widen(f, arguments[i])
                 : LLVMBuildInsertElement(f->builder, LLVMConstNull(LLVMVectorType(type, lanes)),
                                          arguments[i], zero, "");
    }
    if (!size) return LLVMBuildExtractElement(f->builder, build(f, kind, whole), zero, "");
    LLVMValueRef result = whole[0];
    for (unsigned first = 0; first < size; first += lanes) {
        for (int i = 0; i < count; i++) parts[i] = slice(f, whole[i], first, lanes);
        LLVMValueRef part = build(f, kind, parts);
        if (size < lanes) part = slice(f, part, 0, size);
        result = splice(f, result, part, first);
    }
    return result;
}

LLVMValueRef sinter_llvm_dot(sinter_llvm_function *f, sinter_loop_intrinsic intrinsic,
                             LLVMValueRef *arguments) {
    unsigned lanes = count_lanes(f, arguments, 3);
    dot_kind kind = intrinsic == SINTER_INTRINSIC_dot2_bf16
                        ? choose_pairs(lanes)
                        : choose(f->module->target, intrinsic == SINTER_INTRINSIC_dot4_i8i8, lanes);
    return build_in_parts(f, arguments, 3, kind.lanes, dot_part, &kind);
}

static LLVMValueRef scale_part(sinter_llvm_function *f, const void *kind, LLVMValueRef *parts) {
    unsigned lanes = *(const unsigned *)kind;
    sinter_llvm_module *m = f->module;
    char name[64];
    snprintf(name, sizeof name, "llvm.x86.avx512.mask.scalef.ps.%u", lanes * 32);
    LLVMTypeRef mask = lanes < 16 ? m->i8 : m->i16;
    LLVMValueRef arguments[] = {parts[0], parts[1], LLVMConstNull(LLVMTypeOf(parts[0])),
                                LLVMConstAllOnes(mask), sinter_llvm_int32(m, 4)};
    return sinter_llvm_intrinsic(f, name, NULL, 0, arguments, lanes < 16 ? 4 : 5);
}

LLVMValueRef sinter_llvm_scale(sinter_llvm_function *f, LLVMValueRef *arguments) {
    unsigned size = count_lanes(f, arguments, 2), lanes = size >= 16 ? 16 : size >= 8 ? 8 : 4;
    return build_in_parts(f, arguments, 2, lanes, scale_part, &lanes);
}

/* ---- entries ---- */

/* The last four bits of each lane choose. */
static LLVMValueRef entry_part(sinter_llvm_function *f, const void *table, LLVMValueRef *parts) {
    LLVMTypeRef type = LLVMVectorType(f->module->i32, SINTER_SCALAR_ENTRIES);
    LLVMValueRef places = LLVMBuildBitCast(f->builder, parts[0], type, "");
    return sinter_llvm_intrinsic(f, "llvm.x86.avx512.permvar.sf.512", NULL, 0,
                                 (LLVMValueRef[]){*(const LLVMValueRef *)table, places}, 2);
}

/* Without that instruction: lane by lane. */
static LLVMValueRef entry_of_lane(sinter_llvm_function *f, LLVMValueRef table, LLVMValueRef lane) {
    LLVMValueRef bits = LLVMBuildBitCast(f->builder, lane, f->module->i32, "");
    LLVMValueRef mask = sinter_llvm_int32(f->module, SINTER_SCALAR_ENTRIES - 1);
    return LLVMBuildExtractElement(f->builder, table, LLVMBuildAnd(f->builder, bits, mask, ""), "");
}

LLVMValueRef sinter_llvm_entry(sinter_llvm_function *f, const float *numbers, LLVMValueRef value) {
    LLVMValueRef constants[SINTER_SCALAR_ENTRIES], table;
    for (int i = 0; i < SINTER_SCALAR_ENTRIES; i++)
        constants[i] = LLVMConstReal(f->module->f32, (double)numbers[i]);
    table = LLVMConstVector(constants, SINTER_SCALAR_ENTRIES);
    if (sinter_target_has(f->module->target, "avx512vl"))
        return build_in_parts(f, &value, 1, SINTER_SCALAR_ENTRIES, entry_part, &table);
    if (!sinter_llvm_is_vector(value)) return entry_of_lane(f, table, value);
    LLVMValueRef result = value;
    for (unsigned i = 0; i < LLVMGetVectorSize(LLVMTypeOf(value)); i++) {
        LLVMValueRef at = sinter_llvm_int(f->module, i);
        LLVMValueRef lane = LLVMBuildExtractElement(f->builder, value, at, "");
        result = LLVMBuildInsertElement(f->builder, result, entry_of_lane(f, table, lane), at, "");
    }
    return result;
}

/* ---- lookup ---- */

enum { TABLE_VECTORS = 4, TABLE_LANES = 64 };

/* Two instructions take 7 bits of each byte for one of two vectors; the last bit says which of the two results holds. */
static LLVMValueRef lookup_part(sinter_llvm_function *f, const void *kind, LLVMValueRef *parts) {
    const char *const name = "llvm.x86.avx512.vpermi2var.qi.512";
    const LLVMValueRef *table = kind;
    LLVMValueRef halves[2];
    for (int i = 0; i < 2; i++)
        halves[i] = sinter_llvm_intrinsic(
            f, name, NULL, 0, (LLVMValueRef[]){table[2 * i], parts[0], table[2 * i + 1]}, 3);
    LLVMValueRef upper =
        LLVMBuildICmp(f->builder, LLVMIntSLT, parts[0], LLVMConstNull(LLVMTypeOf(parts[0])), "");
    return LLVMBuildSelect(f->builder, upper, halves[1], halves[0], "");
}

LLVMValueRef sinter_llvm_lookup(sinter_llvm_function *f, LLVMValueRef table, LLVMValueRef bytes) {
    LLVMTypeRef type = LLVMVectorType(f->module->i8, TABLE_LANES);
    LLVMValueRef vectors[TABLE_VECTORS];
    for (int i = 0; i < TABLE_VECTORS; i++) {
        LLVMValueRef offset = sinter_llvm_int(f->module, i * TABLE_LANES);
        LLVMValueRef address =
            LLVMBuildInBoundsGEP2(f->builder, f->module->i8, table, &offset, 1, "");
        vectors[i] = LLVMBuildLoad2(f->builder, type, address, "");
        LLVMSetAlignment(vectors[i], 1);
    }
    return build_in_parts(f, &bytes, 1, TABLE_LANES, lookup_part, vectors);
}
