/* Elements that follow each other, put together as one i32, are one load in LLVM, and one store where a word is taken apart: four bytes,
 * or two of 16 bits
 *   cast(i32, b[i]) | cast(i32, b[i + 1]) << 8 | cast(i32, b[i + 2]) << 16 | cast(i32, b[i + 3]) << 24
 *   cast(i32, h[i]) << 16 >> 16 & 0xffff | cast(i32, h[i + 1]) << 16
 *   b[i] = cast(u8, word); b[i + 1] = cast(u8, word >> 8); ...
 * (of signed bytes cast(u8, b[i]) in their place; the second is what the bits of two bf16 become). LLVM finds loads by itself only where
 * each element is wanted once, and stores only outside of lanes. Needs: a little-endian target, as all are, and the same address in all
 * lanes, or in each the word after the one before. Test: tests/unit/isa_test.c, tests/codegen/schedule/sparse.sir */
#include "codegen/emit_llvm.h"
#include "codegen/loop_linear.h"

enum { WORD = 32, HALF = 16, MOST_PARTS = 4 };

/* The operand of a call with this constant beside it; NULL: it is none. */
static const sinter_loop_expr *operand_beside(const sinter_loop_expr *expr,
                                              sinter_scalar_function function, int64_t constant) {
    int64_t value;
    bool fits = expr->kind == SINTER_LOOP_CALL && expr->function == function &&
                sinter_loop_is_const_int(expr->arguments[1], &value) && value == constant;
    return fits ? expr->arguments[0] : NULL;
}

/* x of  x << 16 >> 16 & 0xffff, or the expression itself. */
static const sinter_loop_expr *low_half(const sinter_loop_expr *expr) {
    const sinter_loop_expr *inner = operand_beside(expr, SINTER_SCALAR_and, 0xffff);
    if (inner) inner = operand_beside(inner, SINTER_SCALAR_shr, HALF);
    if (inner) inner = operand_beside(inner, SINTER_SCALAR_shl, HALF);
    return inner ? inner : expr;
}

/* The load under a cast to i32 and a shift by whole elements. */
static const sinter_loop_expr *part_load(const sinter_loop_expr *expr, int64_t *out_part) {
    int64_t shift = 0;
    expr = low_half(expr);
    if (expr->kind == SINTER_LOOP_CALL && expr->function == SINTER_SCALAR_shl) {
        if (!sinter_loop_is_const_int(expr->arguments[1], &shift)) return NULL;
        expr = expr->arguments[0];
    }
    if (expr->kind != SINTER_LOOP_CAST || expr->dtype != SINTER_DTYPE_i32) return NULL;
    const sinter_loop_expr *load = expr->arguments[0];
    bool is_signed = load->kind == SINTER_LOOP_CAST && load->dtype == SINTER_DTYPE_u8 &&
                     load->arguments[0]->dtype == SINTER_DTYPE_i8;
    if (is_signed) load = load->arguments[0];
    int64_t bits = sinter_dtype_infos[load->dtype].bits;
    bool is_part = load->kind == SINTER_LOOP_LOAD &&
                   (is_signed || load->dtype == SINTER_DTYPE_u8 || load->dtype == SINTER_DTYPE_u16);
    *out_part = shift / bits;
    return is_part && shift % bits == 0 && shift >= 0 && shift < WORD ? load : NULL;
}

static bool is_or(const sinter_loop_expr *expr) {
    return expr->kind == SINTER_LOOP_CALL && expr->function == SINTER_SCALAR_or &&
           expr->dtype == SINTER_DTYPE_i32;
}

static bool find_loads(const sinter_loop_expr *expr, const sinter_loop_expr **loads,
                       uint32_t *count) {
    int64_t part;
    if (is_or(expr))
        return find_loads(expr->arguments[0], loads, count) &&
               find_loads(expr->arguments[1], loads, count);
    const sinter_loop_expr *load = part_load(expr, &part);
    if (!load || ++*count > MOST_PARTS || loads[part]) return false;
    loads[part] = load;
    return true;
}

/* b is the element `distance` after a. */
static bool follows(const sinter_loop_expr *const *a, const sinter_loop_expr *const *b,
                    uint32_t rank, int64_t distance) {
    sinter_linear first, second;
    for (uint32_t i = 0; i + 1 < rank; i++)
        if (!sinter_loop_expr_equal(a[i], b[i])) return false;
    return sinter_linear_of(a[rank - 1], &first) && sinter_linear_of(b[rank - 1], &second) &&
           sinter_linear_accumulate(&second, &first, -1) && second.count == 0 &&
           second.constant == distance;
}

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
    const sinter_loop_expr *loads[MOST_PARTS] = {0};
    uint32_t count = 0;
    bool moves;
    if (!is_or(expr) || !find_loads(expr, loads, &count) || !loads[0] ||
        count * sinter_dtype_infos[loads[0]->dtype].bits != WORD || !loads[0]->argument_count)
        return NULL;
    for (uint32_t k = 1; k < count; k++)
        if (!loads[k] || loads[k]->dtype != loads[0]->dtype ||
            loads[k]->buffer != loads[0]->buffer ||
            !follows(loads[0]->arguments, loads[k]->arguments, loads[0]->argument_count, k))
            return NULL;
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
        value = operand_beside(value, SINTER_SCALAR_shr, part * sinter_dtype_infos[dtype].bits);
    /* a variable: what is stored does not change it */
    return value && value->kind == SINTER_LOOP_VAR && value->dtype == SINTER_DTYPE_i32 ? value
                                                                                       : NULL;
}

const sinter_loop_stmt *sinter_llvm_store_word(sinter_llvm_function *f,
                                               const sinter_loop_stmt *first) {
    const sinter_dtype dtype = f->function->buffers.items[first->buffer].dtype;
    const uint32_t bits = sinter_dtype_infos[dtype].bits;
    bool moves;
    if (!f->lanes || !sinter_dtype_is_integer(dtype) || bits < WORD / MOST_PARTS || bits >= WORD ||
        !first->argument_count || f->is_host)
        return NULL;
    const sinter_loop_expr *word = taken_apart(first, dtype, 0);
    if (!word) return NULL;
    const sinter_loop_stmt *last = first;
    for (uint32_t part = 1; part < WORD / bits; part++) {
        last = last->next;
        if (!last || last->kind != SINTER_LOOP_STORE || last->buffer != first->buffer) return NULL;
        const sinter_loop_expr *other = taken_apart(last, dtype, part);
        if (!other || other->var != word->var ||
            !follows(first->arguments, last->arguments, first->argument_count, part))
            return NULL;
    }
    if (!moves_by_words(f, first->arguments, first->argument_count, WORD / bits, &moves) || !moves)
        return NULL;
    LLVMValueRef value = sinter_llvm_widen(f, sinter_llvm_expr(f, word));
    LLVMValueRef address = sinter_llvm_address(f, first->buffer, first->arguments);
    LLVMSetAlignment(LLVMBuildStore(f->builder, value, address), 1);
    return last;
}
