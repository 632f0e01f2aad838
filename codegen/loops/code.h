/* Compact code that the loop interpreter runs: one instruction list a function, on numbered registers. Registers
 * [0, vars) are the variables; behind them come constants and temporaries. Private to code.c, which makes it, and
 * interpret.c, which runs it with what intrinsic.c says of intrinsics and element.c of elements. Test: tests/unit/loop_test.c */
#pragma once
#include "codegen/loops/loop.h"

typedef enum sinter_code_op {
    SINTER_CODE_LOAD,          /* result = buffer a at the operands from b; dtype of the buffer; c: in a wgmma axis */
    SINTER_CODE_CALL,          /* result = function(a, b, c) */
    SINTER_CODE_SELECT,        /* result = a ? b : c, of any type */
    SINTER_CODE_CAST,          /* result = a as dtype; c: saturate */
    SINTER_CODE_INTRINSIC,     /* result = function as intrinsic (a, b, c) */
    SINTER_CODE_MOVE,          /* result = a */
    SINTER_CODE_STORE,         /* buffer a at the operands from b = c; function: combine; of stmt: asynchronous; result: in a wgmma axis */
    SINTER_CODE_JUMP,          /* to result */
    SINTER_CODE_JUMP_UNLESS,   /* a is false: to result */
    SINTER_CODE_LOOP_TEST,     /* a >= b: to result */
    SINTER_CODE_LOOP_STEP,     /* a += b, to result */
    SINTER_CODE_PARAMETER,     /* buffer a has the dims of the operands from b */
    SINTER_CODE_ALLOC,         /* buffer a with the dims of the operands from b; c: register of the offset, or 0 */
    SINTER_CODE_FREE,          /* buffer a */
    SINTER_CODE_BIND,          /* buffer a with the dims of the operands from b = buffer result at element c */
    SINTER_CODE_TAKE,          /* buffer a with the dims of the operands from b takes the memory of buffer result */
    SINTER_CODE_CALL_KERNEL,   /* of stmt, scalars are the operands from b */
    SINTER_CODE_FAIL,          /* of stmt, arguments are the operands from b */
    SINTER_CODE_COMMIT,        /* copies begun since the last one are a group; b: products are */
    SINTER_CODE_WAIT,          /* all groups but the last a are done; b: of products */
    SINTER_CODE_ARRIVE,        /* a piece of c warps at phases a at the operands from b */
    SINTER_CODE_AWAIT,         /* phase in register c of phases a at the operands from b */
    SINTER_CODE_BOX,           /* of stmt, whose arguments are the operands from b: a box goes to buffer a */
    SINTER_CODE_END,
    /* What index arithmetic and inner products mostly are, without the detour over the scalar table. */
    SINTER_CODE_ADD_I64,
    SINTER_CODE_SUB_I64,
    SINTER_CODE_MUL_I64,
    SINTER_CODE_LESS_I64,
    SINTER_CODE_ADD_F32,
    SINTER_CODE_SUB_F32,
    SINTER_CODE_MUL_F32
} sinter_code_op;

typedef struct sinter_code_instruction {
    uint8_t op, dtype;
    uint16_t function;
    uint32_t result, a, b, c;
    const sinter_loop_stmt *stmt;
} sinter_code_instruction;

/* Wide enough for one element of any dtype; strings and complex numbers only move. */
typedef union sinter_code_value {
    double f;
    int64_t i;
    unsigned char bytes[16];
} sinter_code_value;

typedef struct sinter_code {
    const sinter_loop_function *function;
    SINTER_VECTOR(sinter_code_instruction) instructions;
    SINTER_VECTOR(uint32_t) operands;           /* lists of registers */
    SINTER_VECTOR(sinter_code_value) registers; /* what they hold at the start: constants in place */
    SINTER_VECTOR(sinter_dtype) dtypes;         /* of registers */
} sinter_code;

sinter_code *sinter_code_compile(sinter_arena *arena, const sinter_loop_function *function);
/* The result of a scalar expression over variables: code that ends with it in register *out_register. */
sinter_code *sinter_code_compile_expr(sinter_arena *arena, const sinter_loop_function *function,
                                      const sinter_loop_expr *expr, uint32_t *out_register);
/* The element of a tensor, and what takes its place in the tensor's data, rounded to its type. In element.c. */
void sinter_code_read_element(const sinter_tensor *tensor, int64_t index, sinter_code_value *out_value);
void sinter_code_write_element(sinter_tensor *tensor, int64_t index, const sinter_code_value *value);
/* A box of `from` (codegen/loops/box.h) goes to `to` from element `first` on, zeros where it is outside of the dims. NULL, or what is wrong: nothing was
 * read or written out of bounds then. In element.c. */
typedef struct sinter_code_box {
    uint32_t rank;
    const int64_t *at, *sizes, *dims, *strides;
} sinter_code_box;
const char *sinter_code_copy_box(const sinter_code_box *box, const sinter_tensor *from, sinter_tensor *to, int64_t first,
                                 int64_t *out_count);
/* Of CALL and CAST, on these registers. In operation.c. */
sinter_code_value sinter_code_call(const sinter_code *code, const sinter_code_value *registers,
                                   const sinter_code_instruction *at);
sinter_code_value sinter_code_cast(const sinter_code *code, const sinter_code_value *registers,
                                   const sinter_code_instruction *at);
sinter_scalar sinter_code_to_scalar(sinter_dtype dtype, sinter_code_value value);
sinter_code_value sinter_code_from_scalar(sinter_scalar value);
/* One of codegen/loops/intrinsic.def on these operands. In intrinsic.c. */
sinter_code_value sinter_code_intrinsic(sinter_loop_intrinsic function, sinter_code_value a, sinter_code_value b, sinter_code_value c);
/* An integer expression over variables (values by id), without loads; false where it has some. In interpret.c. */
bool sinter_code_evaluate(sinter_arena *arena, const sinter_loop_function *function, const sinter_loop_expr *expr,
                          const int64_t *values, int64_t *out_value);
