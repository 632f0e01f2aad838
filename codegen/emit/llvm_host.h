/* State of the host function under emission; shared by llvm_host.c and llvm_plan.c. */
#pragma once
#include "codegen/emit/llvm.h"

typedef struct sinter_llvm_host {
    LLVMValueRef inputs, outputs; /* arrays of sinter_abi_tensor */
    LLVMValueRef workspace;
    LLVMValueRef traced;     /* i1: services want to hear of kernels */
    LLVMValueRef *allocated; /* by buffer id: slots of memory that was allocated here, NULL inside where none */
    LLVMValueRef *sizes;     /* their bytes */
} sinter_llvm_host;

/* Begins int32_t name(sinter_abi_call *): the call's code is 0, inputs and outputs are at hand. */
LLVMValueRef sinter_llvm_begin_entry(sinter_llvm_function *f, sinter_llvm_host *host, sinter_llvm_module *module,
                                     const char *name);
/* Fails the call with the message where the condition is false, and goes on otherwise. */
void sinter_llvm_require(sinter_llvm_function *f, LLVMValueRef condition, int32_t code, const char *message,
                         LLVMValueRef *arguments, uint32_t count);
/* Evaluates an i64 expression over dims, and fails the call where it overflows. */
LLVMValueRef sinter_llvm_checked_expr(sinter_llvm_function *f, const sinter_loop_expr *expr, const char *what);
/* Address of a sinter_abi_tensor in an array of them. */
LLVMValueRef sinter_llvm_tensor(sinter_llvm_function *f, LLVMValueRef array, size_t index);

/* ---- llvm_device.c: where module->images ---- */
LLVMValueRef sinter_llvm_device_field(sinter_llvm_function *f, size_t offset); /* a pointer of call->device */
LLVMValueRef sinter_llvm_device_allocate(sinter_llvm_function *f, LLVMValueRef bytes);
void sinter_llvm_device_release(sinter_llvm_function *f, LLVMValueRef pointer);
LLVMValueRef sinter_llvm_device_output(sinter_llvm_function *f, int32_t index, LLVMValueRef bytes);
LLVMValueRef sinter_llvm_emit_device_code(sinter_llvm_module *module); /* sinter_abi_device_code */

/* ---- llvm_plan.c ---- */
LLVMValueRef sinter_llvm_emit_plan(sinter_llvm_module *module); /* int32_t plan(sinter_abi_call *) */
void sinter_llvm_emit_descriptor(sinter_llvm_module *module, const char *symbol, LLVMValueRef plan, LLVMValueRef run);
