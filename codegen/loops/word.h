/* Elements that follow each other, put together as one i32: four bytes, or two of 16 bits (codegen/emit/llvm_word.c has the forms). Of
 * such an expression one load is left in machine code, which schedules count as one. */
#pragma once
#include "codegen/loops/loop.h"

enum { SINTER_WORD_BITS = 32, SINTER_WORD_PARTS = 4 };

/* Loads of the word's elements by place, SINTER_WORD_PARTS at most; how many there are, 0: it is no word. */
uint32_t sinter_loop_word_loads(const sinter_loop_expr *expr, const sinter_loop_expr **out_loads);

/* The element at b is the one `distance` after that at a. */
bool sinter_loop_elements_follow(const sinter_loop_expr *const *a, const sinter_loop_expr *const *b, uint32_t rank, int64_t distance);

/* The operand of a call of `function` with this constant beside it; NULL: it is none. */
const sinter_loop_expr *sinter_loop_operand_beside(const sinter_loop_expr *expr, sinter_scalar_function function, int64_t constant);
