/* Operations of the interpreter's code on values: scalar functions and conversions (see code.h). Test: tests/unit/loop_test.c */
#include "codegen/loops/code.h"

sinter_scalar sinter_code_to_scalar(sinter_dtype dtype, sinter_code_value value) {
    sinter_scalar result = {.dtype = dtype};
    if (sinter_dtype_is_float(dtype))
        result.f = value.f;
    else
        result.i = value.i;
    return result;
}

sinter_code_value sinter_code_from_scalar(sinter_scalar value) {
    if (sinter_dtype_is_float(value.dtype)) return (sinter_code_value){.f = value.f};
    return (sinter_code_value){.i = value.i};
}

sinter_code_value sinter_code_call(const sinter_code *code, const sinter_code_value *registers,
                                   const sinter_code_instruction *at) {
    const uint32_t operands[3] = {at->a, at->b, at->c};
    sinter_scalar_function function = (sinter_scalar_function)at->function;
    sinter_scalar arguments[3];
    uint32_t arity = sinter_scalar_get_info(function)->arity;
    for (uint32_t i = 0; i < arity; i++)
        arguments[i] =
            sinter_code_to_scalar(code->dtypes.items[operands[i]], registers[operands[i]]);
    return sinter_code_from_scalar(sinter_scalar_apply(function, arguments));
}

sinter_code_value sinter_code_cast(const sinter_code *code, const sinter_code_value *registers,
                                   const sinter_code_instruction *at) {
    sinter_scalar value = sinter_code_to_scalar(code->dtypes.items[at->a], registers[at->a]);
    sinter_dtype dtype = at->dtype;
    bool overflows = !at->c && sinter_dtype_is_float(dtype) && sinter_dtype_infos[dtype].bits <= 8;
    if (!overflows) return sinter_code_from_scalar(sinter_scalar_cast(value, dtype));
    double wide = sinter_dtype_is_float(value.dtype)
                      ? value.f
                      : sinter_scalar_cast(value, SINTER_DTYPE_f64).f;
    return (sinter_code_value){
        .f = sinter_float_decode(dtype, sinter_float_encode(dtype, wide, false))};
}
