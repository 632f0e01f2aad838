/* Elements that follow each other, put together as one i32, are one load in LLVM, and one store where a word is taken apart: four bytes,
 * or two of 16 bits
 *   cast(i32, b[i]) | cast(i32, b[i + 1]) << 8 | cast(i32, b[i + 2]) << 16 | cast(i32, b[i + 3]) << 24
 *   cast(i32, h[i]) << 16 >> 16 & 0xffff | cast(i32, h[i + 1]) << 16
 *   b[i] = cast(u8, word); b[i + 1] = cast(u8, word >> 8); ...
 * (of signed bytes cast(u8, b[i]) in their place; the second is what the bits of two bf16 become). LLVM finds loads by itself only where
 * each element is wanted once, and stores only outside of lanes. Needs: a little-endian target, as all are, and the same address in all
 * lanes, or in each the word after the one before. Test: tests/unit/isa_test.c, tests/codegen/schedule/sparse.sir */
#include "codegen/emit/llvm.h"
#include "codegen/loops/word.h"

/* Whether the places of elements that follow each other from `indices` on are, in lanes, words that do; *out_moves: not all the same. */
static bool moves_by_words(const sinter_llvm_function *f, const sinter_loop_expr *const *indices,
                           uint32_t rank, uint32_t parts, bool *out_moves) {
    bool in_lanes = f->lanes && !f->lane_zero;
    int64_t stride;
    *out_moves = false;
    for (uint32_t i = 0; in_lanes && i < rank; i++) {
        if (!sinter_llvm_lane_stride(f, indices[i], &stride) ||
            (stride && !(i + 1 == rank && stride == parts && !f->mask)))
            return false;
        *out_moves |= stride != 0;
    }
    return true;
}

LLVMValueRef sinter_llvm_word(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    const sinter_loop_expr *loads[SINTER_WORD_PARTS];
    uint32_t count = sinter_loop_word_loads(expr, loads);
    bool moves;
    if (!count) return NULL;
    if (!moves_by_words(f, loads[0]->arguments, loads[0]->argument_count, count, &moves))
        return NULL;
    LLVMValueRef address = sinter_llvm_address(f, loads[0]->buffer, loads[0]->arguments);
    LLVMTypeRef type = moves ? LLVMVectorType(f->module->i32, f->lanes) : f->module->i32;
    LLVMValueRef word = LLVMBuildLoad2(f->builder, type, address, "");
    LLVMSetAlignment(word, 1);
    return word;
}

/* The word that the store takes a part of: number `part` of what it is cast from, shifted right. NULL: it does not. */
static const sinter_loop_expr *taken_apart(const sinter_loop_stmt *store, sinter_dtype dtype,
                                           uint32_t part) {
    const sinter_loop_expr *value = store->value;
    if (store->combine != SINTER_SCALAR_NONE || store->atomic || value->kind != SINTER_LOOP_CAST ||
        value->dtype != dtype)
        return NULL;
    value = value->arguments[0];
    if (part)
        value = sinter_loop_operand_beside(value, SINTER_SCALAR_shr,
                                           part * sinter_dtype_infos[dtype].bits);
    /* a variable: what is stored does not change it */
    return value && value->kind == SINTER_LOOP_VAR && value->dtype == SINTER_DTYPE_i32 ? value
                                                                                       : NULL;
}

const sinter_loop_stmt *sinter_llvm_store_word(sinter_llvm_function *f,
                                               const sinter_loop_stmt *first) {
    const sinter_dtype dtype = f->function->buffers.items[first->buffer].dtype;
    const uint32_t bits = sinter_dtype_infos[dtype].bits;
    bool moves;
    if (!f->lanes || !sinter_dtype_is_integer(dtype) ||
        bits < SINTER_WORD_BITS / SINTER_WORD_PARTS || bits >= SINTER_WORD_BITS ||
        !first->argument_count || f->is_host)
        return NULL;
    const sinter_loop_expr *word = taken_apart(first, dtype, 0);
    if (!word) return NULL;
    const sinter_loop_stmt *last = first;
    for (uint32_t part = 1; part < SINTER_WORD_BITS / bits; part++) {
        last = last->next;
        if (!last || last->kind != SINTER_LOOP_STORE || last->buffer != first->buffer) return NULL;
        const sinter_loop_expr *other = taken_apart(last, dtype, part);
        if (!other || other->var != word->var ||
            !sinter_loop_elements_follow(first->arguments, last->arguments, first->argument_count,
                                         part))
            return NULL;
    }
    if (!moves_by_words(f, first->arguments, first->argument_count, SINTER_WORD_BITS / bits,
                        &moves) ||
        !moves)
        return NULL;
    LLVMValueRef value = sinter_llvm_widen(f, sinter_llvm_expr(f, word));
    LLVMValueRef address = sinter_llvm_address(f, first->buffer, first->arguments);
    LLVMSetAlignment(LLVMBuildStore(f->builder, value, address), 1);
    return last;
}
