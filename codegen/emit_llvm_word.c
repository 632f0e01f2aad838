/* Four bytes that follow each other, put together as one i32, are one load in LLVM:
 *   cast(i32, b[i]) | cast(i32, b[i + 1]) << 8 | cast(i32, b[i + 2]) << 16 | cast(i32, b[i + 3]) << 24
 * LLVM finds that by itself only where each byte is wanted once. Needs: a little-endian target, as all are, and the same
 * address in all lanes. Test: tests/unit/isa_test.c */
#include "codegen/emit_llvm.h"
#include "codegen/loop_linear.h"

enum { BYTES = 4 };

/* The load under a cast to i32 and a shift by whole bytes. */
static const sinter_loop_expr *byte_load(const sinter_loop_expr *expr, int64_t *out_byte) {
    int64_t shift = 0;
    if (expr->kind == SINTER_LOOP_CALL && expr->function == SINTER_SCALAR_shl) {
        if (!sinter_loop_is_const_int(expr->arguments[1], &shift)) return NULL;
        expr = expr->arguments[0];
    }
    if (expr->kind != SINTER_LOOP_CAST || expr->dtype != SINTER_DTYPE_i32) return NULL;
    const sinter_loop_expr *load = expr->arguments[0];
    *out_byte = shift / 8;
    bool is_byte = load->kind == SINTER_LOOP_LOAD && load->dtype == SINTER_DTYPE_u8;
    return is_byte && shift % 8 == 0 && shift >= 0 && shift < 8 * BYTES ? load : NULL;
}

static bool is_or(const sinter_loop_expr *expr) {
    return expr->kind == SINTER_LOOP_CALL && expr->function == SINTER_SCALAR_or &&
           expr->dtype == SINTER_DTYPE_i32;
}

static bool find_loads(const sinter_loop_expr *expr, const sinter_loop_expr **loads,
                       uint32_t *count) {
    int64_t byte;
    if (is_or(expr))
        return find_loads(expr->arguments[0], loads, count) &&
               find_loads(expr->arguments[1], loads, count);
    const sinter_loop_expr *load = byte_load(expr, &byte);
    if (!load || ++*count > BYTES || loads[byte]) return false;
    loads[byte] = load;
    return true;
}

/* b is the element `distance` after a. */
static bool follows(const sinter_loop_expr *a, const sinter_loop_expr *b, int64_t distance) {
    sinter_linear first, second;
    uint32_t last = a->argument_count - 1;
    if (b->buffer != a->buffer) return false;
    for (uint32_t i = 0; i < last; i++)
        if (!sinter_loop_expr_equal(a->arguments[i], b->arguments[i])) return false;
    return sinter_linear_of(a->arguments[last], &first) &&
           sinter_linear_of(b->arguments[last], &second) &&
           sinter_linear_accumulate(&second, &first, -1) && second.count == 0 &&
           second.constant == distance;
}

LLVMValueRef sinter_llvm_word(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    const sinter_loop_expr *loads[BYTES] = {0};
    uint32_t count = 0;
    int64_t stride;
    if (!is_or(expr) || !find_loads(expr, loads, &count) || count != BYTES ||
        !loads[0]->argument_count)
        return NULL;
    for (int k = 1; k < BYTES; k++)
        if (!follows(loads[0], loads[k], k)) return NULL;
    for (uint32_t i = 0; f->lanes && !f->lane_zero && i < loads[0]->argument_count; i++)
        if (!sinter_llvm_lane_stride(f, loads[0]->arguments[i], &stride) || stride) return NULL;
    LLVMValueRef address = sinter_llvm_address(f, loads[0]->buffer, loads[0]->arguments);
    LLVMValueRef word = LLVMBuildLoad2(f->builder, f->module->i32, address, "");
    LLVMSetAlignment(word, 1);
    return word;
}
