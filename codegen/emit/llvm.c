/* Emits a part of a program as an LLVM module: kernels, then the host functions and the descriptor (llvm_host.c).
 *
 * Kernels are hidden functions (call, buffers..., scalars...); one that can fail returns its code. Names start with
 * "kernel." so that none is taken for a libc function. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "codegen/object.h"
#include "runtime/abi.h"

#include <stdarg.h>
#include <string.h>

void sinter_llvm_fail(sinter_llvm_module *module, const char *format, ...) {
    if (module->broken) return; /* what follows comes from the first one */
    sinter_text text = {0};
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    sinter_error(module->diag, module->program->name, "%s", text.data);
    sinter_text_deinit(&text);
    module->broken = true;
}

/* ---- LLVM conveniences ---- */

LLVMValueRef sinter_llvm_int(sinter_llvm_module *module, int64_t value) {
    return LLVMConstInt(module->i64, (unsigned long long)value, false);
}

LLVMValueRef sinter_llvm_int32(sinter_llvm_module *module, int32_t value) {
    return LLVMConstInt(module->i32, (unsigned long long)value, true);
}

void sinter_llvm_attribute(sinter_llvm_module *module, LLVMValueRef function, unsigned index,
                           const char *name, uint64_t value) {
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(function, index, LLVMCreateEnumAttribute(module->context, kind, value));
}

static void add_text_attribute(sinter_llvm_module *module, LLVMValueRef function, const char *key,
                               const char *value) {
    LLVMAddAttributeAtIndex(function, LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(module->context, key, (unsigned)strlen(key),
                                                      value, (unsigned)strlen(value)));
}

LLVMValueRef sinter_llvm_add_function(sinter_llvm_module *module, const char *name,
                                      LLVMTypeRef type) {
    LLVMValueRef function = LLVMAddFunction(module->module, name, type);
    sinter_llvm_attribute(module, function, LLVMAttributeFunctionIndex, "nounwind", 0);
    if (module->target->vector_bytes == 64) { /* LLVM halves 512-bit vectors on its own otherwise */
        add_text_attribute(module, function, "prefer-vector-width", "512");
        add_text_attribute(module, function, "min-legal-vector-width", "512");
    }
    return function;
}

void sinter_llvm_leave_plain(sinter_llvm_module *module, LLVMValueRef function) {
    sinter_llvm_attribute(module, function, LLVMAttributeFunctionIndex, "noinline", 0);
    sinter_llvm_attribute(module, function, LLVMAttributeFunctionIndex, "optnone", 0);
}

LLVMValueRef sinter_llvm_entry_alloca(sinter_llvm_function *f, LLVMTypeRef type, const char *name) {
    LLVMBasicBlockRef here = LLVMGetInsertBlock(f->builder);
    LLVMPositionBuilderAtEnd(f->builder, f->entry);
    LLVMValueRef slot = LLVMBuildAlloca(f->builder, type, name);
    LLVMPositionBuilderAtEnd(f->builder, here);
    return slot;
}

LLVMBasicBlockRef sinter_llvm_block(sinter_llvm_function *f, const char *name) {
    return LLVMAppendBasicBlockInContext(f->module->context, f->value, name);
}

LLVMValueRef sinter_llvm_intrinsic(sinter_llvm_function *f, const char *name, LLVMTypeRef *types,
                                   unsigned type_count, LLVMValueRef *arguments, unsigned count) {
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    if (!id) {
        sinter_llvm_fail(f->module, "LLVM has no intrinsic %s [emit_c8]", name);
        return LLVMGetPoison(LLVMTypeOf(arguments[0]));
    }
    if (!LLVMIntrinsicIsOverloaded(id)) type_count = 0;
    LLVMValueRef function = LLVMGetIntrinsicDeclaration(f->module->module, id, types, type_count);
    return LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(function), function, arguments, count,
                          "");
}

LLVMValueRef sinter_llvm_library(sinter_llvm_function *f, const char *name, LLVMTypeRef result,
                                 LLVMValueRef *arguments, unsigned count) {
    LLVMTypeRef types[8];
    for (unsigned i = 0; i < count; i++) types[i] = LLVMTypeOf(arguments[i]);
    LLVMTypeRef type = LLVMFunctionType(result, types, count, false);
    LLVMValueRef function = LLVMGetNamedFunction(f->module->module, name);
    if (!function) function = sinter_llvm_add_function(f->module, name, type);
    return LLVMBuildCall2(f->builder, type, function, arguments, count, "");
}

LLVMValueRef sinter_llvm_field(sinter_llvm_function *f, LLVMValueRef base, size_t offset) {
    LLVMValueRef index = sinter_llvm_int(f->module, (int64_t)offset);
    return LLVMBuildInBoundsGEP2(f->builder, f->module->i8, base, &index, 1, "");
}

LLVMValueRef sinter_llvm_load_field(sinter_llvm_function *f, LLVMTypeRef type, LLVMValueRef base,
                                    size_t offset) {
    return LLVMBuildLoad2(f->builder, type, sinter_llvm_field(f, base, offset), "");
}

LLVMValueRef sinter_llvm_load_service(sinter_llvm_function *f, size_t entry, LLVMValueRef *out_user,
                                      LLVMBasicBlockRef *out_otherwise) {
    sinter_llvm_module *m = f->module;
    LLVMBasicBlockRef some = sinter_llvm_block(f, "services"),
                      large = sinter_llvm_block(f, "large"), there = sinter_llvm_block(f, "there");
    *out_otherwise = sinter_llvm_block(f, "otherwise");
    LLVMValueRef services =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, services));
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, services, ""), some, *out_otherwise);
    LLVMPositionBuilderAtEnd(f->builder, some);
    LLVMValueRef size =
        sinter_llvm_load_field(f, m->i32, services, offsetof(sinter_abi_services, size));
    LLVMValueRef before = sinter_llvm_int32(m, (int32_t)entry);
    LLVMBuildCondBr(f->builder, LLVMBuildICmp(f->builder, LLVMIntUGT, size, before, ""), large,
                    *out_otherwise);
    LLVMPositionBuilderAtEnd(f->builder, large);
    LLVMValueRef function = sinter_llvm_load_field(f, m->pointer, services, entry);
    *out_user =
        sinter_llvm_load_field(f, m->pointer, services, offsetof(sinter_abi_services, user));
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, function, ""), there,
                    *out_otherwise);
    LLVMPositionBuilderAtEnd(f->builder, there);
    return function;
}

void sinter_llvm_store_field(sinter_llvm_function *f, LLVMValueRef value, LLVMValueRef base,
                             size_t offset) {
    LLVMBuildStore(f->builder, value, sinter_llvm_field(f, base, offset));
}

/* ---- functions ---- */

static void release_builder(void *builder) {
    LLVMDisposeBuilder(builder);
}

void sinter_llvm_begin(sinter_llvm_function *f, sinter_llvm_module *module,
                       const sinter_loop_function *function, LLVMValueRef value) {
    *f = (sinter_llvm_function){.module = module, .function = function, .value = value};
    f->memo.generation = 1;
    f->vars = SINTER_NEW_ARRAY(module->arena, sinter_llvm_var, function->vars.count + 1);
    f->buffers = SINTER_NEW_ARRAY(module->arena, LLVMValueRef, function->buffers.count + 1);
    f->builder = LLVMCreateBuilderInContext(module->context);
    sinter_own(&f->owned_builder, release_builder, f->builder);
    f->entry = sinter_llvm_block(f, "entry");
    LLVMPositionBuilderAtEnd(f->builder, sinter_llvm_block(f, "begin"));
}

void sinter_llvm_end(sinter_llvm_function *f) {
    /* blocks after a FAIL hold what is never reached */
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(f->value); block;
         block = LLVMGetNextBasicBlock(block)) {
        if (block == f->entry || LLVMGetBasicBlockTerminator(block)) continue;
        LLVMPositionBuilderAtEnd(f->builder, block);
        LLVMBuildUnreachable(f->builder);
    }
    LLVMPositionBuilderAtEnd(f->builder, f->entry);
    LLVMBuildBr(f->builder, LLVMGetNextBasicBlock(f->entry));
    sinter_disown(&f->owned_builder);
    LLVMDisposeBuilder(f->builder);
    f->builder = NULL;
}

static bool contains_fail(const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (s->kind == SINTER_LOOP_FAIL || s->kind == SINTER_LOOP_EXCHANGE ||
            contains_fail(s->body) || contains_fail(s->else_body))
            return true;
    return false;
}

const char *sinter_llvm_kernel_symbol(sinter_arena *arena, const char *name) {
    return sinter_arena_format(arena, "kernel.%s", name);
}

static void declare_kernel(sinter_llvm_module *m, uint32_t index) {
    const sinter_loop_function *kernel = m->program->kernels.items[index];
    size_t buffers = kernel->buffer_parameters.count, scalars = kernel->scalar_parameters.count;
    LLVMTypeRef *types = SINTER_NEW_ARRAY(m->arena, LLVMTypeRef, buffers + scalars + 1);
    for (size_t i = 0; i <= buffers; i++) types[i] = m->pointer;
    for (size_t i = 0; i < scalars; i++) {
        sinter_dtype dtype = kernel->vars.items[kernel->scalar_parameters.items[i]].dtype;
        types[1 + buffers + i] = sinter_llvm_value_type(m, dtype);
    }
    m->kernel_fails[index] = m->images || contains_fail(kernel->body);
    LLVMTypeRef result = m->kernel_fails[index] ? m->i32 : m->void_type;
    const char *name = m->kernel_names ? sinter_llvm_kernel_symbol(m->arena, m->kernel_names[index])
                                       : SINTER_OBJECT_NAMELESS;
    LLVMValueRef function = sinter_llvm_add_function(
        m, name, LLVMFunctionType(result, types, (unsigned)(1 + buffers + scalars), false));
    LLVMSetVisibility(function, LLVMHiddenVisibility);
    sinter_llvm_attribute(m, function, LLVMAttributeFunctionIndex, "noinline", 0);
    for (unsigned i = 0; i < buffers; i++) {
        sinter_loop_buffer buffer = kernel->buffer_parameters.items[i];
        sinter_llvm_attribute(m, function, i + 2, "noalias", 0);
        if (kernel->buffers.items[buffer].scope == SINTER_SCOPE_INPUT)
            sinter_llvm_attribute(m, function, i + 2, "readonly", 0);
    }
    m->kernels[index] = function;
}

static void emit_kernel(sinter_llvm_module *m, uint32_t index) {
    const sinter_loop_function *kernel = m->program->kernels.items[index];
    sinter_llvm_function f;
    sinter_llvm_begin(&f, m, kernel, m->kernels[index]);
    f.call = LLVMGetParam(f.value, 0);
    unsigned buffers = (unsigned)kernel->buffer_parameters.count;
    for (unsigned i = 0; i < buffers; i++)
        f.buffers[kernel->buffer_parameters.items[i]] = LLVMGetParam(f.value, i + 1);
    for (unsigned i = 0; i < kernel->scalar_parameters.count; i++)
        sinter_llvm_bind_var(&f, kernel->scalar_parameters.items[i],
                             LLVMGetParam(f.value, i + 1 + buffers));
    if (m->images && !sinter_device_is_host_step(kernel))
        sinter_llvm_emit_launch(&f, index);
    else
        sinter_llvm_statements(&f, kernel->body);
    if (m->kernel_fails[index])
        LLVMBuildRet(f.builder, sinter_llvm_int32(m, 0));
    else
        LLVMBuildRetVoid(f.builder);
    sinter_llvm_end(&f);
}

static void fill_types(sinter_llvm_module *m) {
    LLVMContextRef c = m->context;
    m->void_type = LLVMVoidTypeInContext(c);
    m->i1 = LLVMInt1TypeInContext(c);
    m->i8 = LLVMInt8TypeInContext(c);
    m->i16 = LLVMInt16TypeInContext(c);
    m->i32 = LLVMInt32TypeInContext(c);
    m->i64 = LLVMInt64TypeInContext(c);
    m->f32 = LLVMFloatTypeInContext(c);
    m->f64 = LLVMDoubleTypeInContext(c);
    m->pointer = LLVMPointerTypeInContext(c, 0);
    for (int i = 1; i < SINTER_DTYPE_COUNT; i++) {
        const sinter_dtype_info *info = &sinter_dtype_infos[i];
        if (info->bits >= 8 && info->class != SINTER_CLASS_STRING)
            m->dtypes[i] = LLVMIntTypeInContext(c, info->bits);
    }
    m->dtypes[SINTER_DTYPE_f32] = m->f32;
    m->dtypes[SINTER_DTYPE_f64] = m->f64;
    if (sinter_target_converts_f16(m->target)) /* else its bits are what is computed with */
        m->dtypes[SINTER_DTYPE_f16] = LLVMHalfTypeInContext(c);
}

bool sinter_llvm_emit_module(sinter_llvm_module *m, sinter_llvm_part part, const char *symbol) {
    fill_types(m);
    uint32_t count = (uint32_t)m->program->kernels.count,
             end = part.first_kernel + part.kernel_count;
    m->kernels = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    m->kernel_fails = SINTER_NEW_ARRAY(m->arena, bool, count);
    if (m->images) m->messages = sinter_device_number_messages(m->program, m->arena);
    for (uint32_t i = 0; i < count; i++)
        if (part.host || (i >= part.first_kernel && i < end)) declare_kernel(m, i);
    if (m->images && part.host) end = count;
    for (uint32_t i = part.first_kernel; i < end && !m->broken; i++) emit_kernel(m, i);
    return !m->broken && (!part.host || sinter_llvm_emit_host(m, symbol)) && !m->broken;
}
