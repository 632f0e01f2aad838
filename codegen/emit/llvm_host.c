/* The host function as run(call): memory, kernel calls, control flow of the model.
 *
 * Buffers live in slots that hold their address. Heap buffers have an offset in the workspace or are allocated where
 * they become known; what was allocated is freed at FREE, before the same statement allocates anew, and on the way out.
 * Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm_host.h"
#include "runtime/abi.h"

void sinter_llvm_require(sinter_llvm_function *f, LLVMValueRef condition, int32_t code,
                         const char *message, LLVMValueRef *arguments, uint32_t count) {
    LLVMBasicBlockRef bad = sinter_llvm_block(f, "bad"), good = sinter_llvm_block(f, "good");
    LLVMBuildCondBr(f->builder, condition, good, bad);
    LLVMPositionBuilderAtEnd(f->builder, bad);
    sinter_llvm_record_failure(f, code, message, arguments, count);
    if (f->failure)
        LLVMBuildBr(f->builder, f->failure);
    else
        LLVMBuildRet(f->builder, sinter_llvm_int32(f->module, code));
    LLVMPositionBuilderAtEnd(f->builder, good);
}

LLVMValueRef sinter_llvm_tensor(sinter_llvm_function *f, LLVMValueRef array, size_t index) {
    return sinter_llvm_field(f, array, index * sizeof(sinter_abi_tensor));
}

/* ---- checked sizes ---- */

static void begin_checked(sinter_llvm_function *f) {
    f->overflow = sinter_llvm_entry_alloca(f, f->module->i1, "overflow");
    LLVMBuildStore(f->builder, LLVMConstNull(f->module->i1), f->overflow);
    sinter_llvm_forget(f);
}

static void end_checked(sinter_llvm_function *f, const char *what) {
    LLVMValueRef wrapped = LLVMBuildLoad2(f->builder, f->module->i1, f->overflow, "");
    f->overflow = NULL;
    sinter_llvm_forget(f);
    const char *message = sinter_arena_format(f->module->arena, "size of %s overflows", what);
    sinter_llvm_require(f, LLVMBuildNot(f->builder, wrapped, ""), SINTER_ABI_OVERFLOW, message,
                        NULL, 0);
}

LLVMValueRef sinter_llvm_checked_expr(sinter_llvm_function *f, const sinter_loop_expr *expr,
                                      const char *what) {
    if (expr->kind == SINTER_LOOP_CONST || expr->kind == SINTER_LOOP_VAR)
        return sinter_llvm_expr(f, expr);
    begin_checked(f);
    LLVMValueRef value = sinter_llvm_expr(f, expr);
    end_checked(f, what);
    return value;
}

static LLVMValueRef checked_multiply(sinter_llvm_function *f, LLVMValueRef a, LLVMValueRef b) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef pair =
        sinter_llvm_intrinsic(f, "llvm.smul.with.overflow", &m->i64, 1, (LLVMValueRef[]){a, b}, 2);
    LLVMValueRef wrapped = LLVMBuildOr(f->builder, LLVMBuildExtractValue(f->builder, pair, 1, ""),
                                       LLVMBuildLoad2(f->builder, m->i1, f->overflow, ""), "");
    LLVMBuildStore(f->builder, wrapped, f->overflow);
    return LLVMBuildExtractValue(f->builder, pair, 0, "");
}

/* Bytes of a host buffer, overflow checked the same way. */
static LLVMValueRef checked_bytes(sinter_llvm_function *f, sinter_loop_buffer buffer) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    uint32_t bits = sinter_dtype_infos[info->dtype].bits;
    uint64_t bytes;
    if (sinter_loop_static_bytes(info, &bytes)) return sinter_llvm_int(m, (int64_t)bytes);
    begin_checked(f);
    LLVMValueRef value = sinter_llvm_int(m, bits < 8 ? 1 : bits / 8);
    for (uint32_t k = 0; k < info->rank; k++)
        value = checked_multiply(f, value, sinter_llvm_expr(f, info->dims[k]));
    end_checked(f, info->name);
    if (bits >= 8) return value;
    LLVMValueRef per_byte = sinter_llvm_int(m, 8 / bits);
    value = LLVMBuildAdd(f->builder, value, sinter_llvm_int(m, 8 / bits - 1), "");
    return LLVMBuildUDiv(f->builder, value, per_byte, "");
}

/* ---- memory ---- */

/* A function of the program that is written once. False: it is there already. */
static bool helper_begin(sinter_llvm_function *f, sinter_llvm_function *g, const char *name,
                         LLVMTypeRef result, LLVMTypeRef *types, unsigned count,
                         LLVMValueRef *out_function) {
    sinter_llvm_module *m = f->module;
    *out_function = LLVMGetNamedFunction(m->module, name);
    if (*out_function) return false;
    *out_function =
        sinter_llvm_add_function(m, name, LLVMFunctionType(result, types, count, false));
    LLVMSetLinkage(*out_function, LLVMInternalLinkage);
    sinter_llvm_attribute(m, *out_function, LLVMAttributeFunctionIndex, "noinline", 0);
    sinter_llvm_begin(g, m, f->function, *out_function);
    g->call = LLVMGetParam(*out_function, 0);
    return true;
}

/* What is asked of the allocator for so many bytes: whole blocks of 64, one at least. */
static LLVMValueRef block_size(sinter_llvm_function *g, LLVMValueRef bytes) {
    sinter_llvm_module *m = g->module;
    LLVMValueRef more = LLVMBuildAdd(g->builder, bytes, sinter_llvm_int(m, 63), "");
    LLVMValueRef rounded = LLVMBuildAnd(g->builder, more, sinter_llvm_int(m, -64), "");
    LLVMValueRef none = LLVMBuildICmp(g->builder, LLVMIntEQ, rounded, sinter_llvm_int(m, 0), "");
    return LLVMBuildSelect(g->builder, none, sinter_llvm_int(m, 64), rounded, "");
}

/* void *allocate(call, bytes): the services' allocator or aligned_alloc; never of size 0. */
static LLVMValueRef allocate_function(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    sinter_llvm_function g;
    LLVMValueRef function;
    if (!helper_begin(f, &g, "sinter.allocate", m->pointer, (LLVMTypeRef[]){m->pointer, m->i64}, 2,
                      &function))
        return function;
    LLVMValueRef bytes = LLVMGetParam(function, 1), user;
    LLVMValueRef size = block_size(&g, bytes);
    LLVMBasicBlockRef otherwise;
    if (m->images) {
        LLVMBuildRet(g.builder, sinter_llvm_device_allocate(&g, size));
        sinter_llvm_end(&g);
        return function;
    }
    LLVMValueRef service =
        sinter_llvm_load_service(&g, offsetof(sinter_abi_services, allocate), &user, &otherwise);
    LLVMTypeRef type =
        LLVMFunctionType(m->pointer, (LLVMTypeRef[]){m->pointer, m->i64, m->i64}, 3, false);
    LLVMBuildRet(g.builder,
                 LLVMBuildCall2(g.builder, type, service,
                                (LLVMValueRef[]){user, size, sinter_llvm_int(m, 64)}, 3, ""));
    LLVMPositionBuilderAtEnd(g.builder, otherwise);
    LLVMValueRef arguments[] = {sinter_llvm_int(m, 64), size};
    LLVMBuildRet(g.builder, sinter_llvm_library(&g, "aligned_alloc", m->pointer, arguments, 2));
    sinter_llvm_end(&g);
    return function;
}

/* void release(call, pointer, bytes) */
static LLVMValueRef release_function(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    sinter_llvm_function g;
    LLVMValueRef function;
    if (!helper_begin(f, &g, "sinter.release", m->void_type,
                      (LLVMTypeRef[]){m->pointer, m->pointer, m->i64}, 3, &function))
        return function;
    LLVMValueRef pointer = LLVMGetParam(function, 1), user;
    LLVMValueRef size = block_size(&g, LLVMGetParam(function, 2));
    LLVMBasicBlockRef otherwise;
    if (m->images) {
        sinter_llvm_device_release(&g, pointer);
        LLVMBuildRetVoid(g.builder);
        sinter_llvm_end(&g);
        return function;
    }
    LLVMValueRef service =
        sinter_llvm_load_service(&g, offsetof(sinter_abi_services, deallocate), &user, &otherwise);
    LLVMTypeRef type = LLVMFunctionType(
        m->void_type, (LLVMTypeRef[]){m->pointer, m->pointer, m->i64, m->i64}, 4, false);
    LLVMBuildCall2(g.builder, type, service,
                   (LLVMValueRef[]){user, pointer, size, sinter_llvm_int(m, 64)}, 4, "");
    LLVMBuildRetVoid(g.builder);
    LLVMPositionBuilderAtEnd(g.builder, otherwise);
    sinter_llvm_library(&g, "free", m->void_type, &pointer, 1);
    LLVMBuildRetVoid(g.builder);
    sinter_llvm_end(&g);
    return function;
}

static LLVMValueRef allocate(sinter_llvm_function *f, LLVMValueRef bytes, const char *name) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef function = allocate_function(f);
    LLVMValueRef pointer = LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(function), function,
                                          (LLVMValueRef[]){f->call, bytes}, 2, "");
    const char *message = sinter_arena_format(m->arena, "no memory for the %%0 bytes of %s", name);
    sinter_llvm_require(f, LLVMBuildIsNotNull(f->builder, pointer, ""), SINTER_ABI_OUT_OF_MEMORY,
                        message, &bytes, 1);
    return pointer;
}

/* Frees what the slot holds, if anything, and empties it. */
static void release(sinter_llvm_function *f, sinter_loop_buffer buffer) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef slot = f->host->allocated[buffer];
    LLVMBasicBlockRef some = sinter_llvm_block(f, "free"), done = sinter_llvm_block(f, "freed");
    LLVMValueRef pointer = LLVMBuildLoad2(f->builder, m->pointer, slot, "");
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, pointer, ""), some, done);
    LLVMPositionBuilderAtEnd(f->builder, some);
    LLVMValueRef bytes = LLVMBuildLoad2(f->builder, m->i64, f->host->sizes[buffer], "");
    LLVMValueRef function = release_function(f);
    LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(function), function,
                   (LLVMValueRef[]){f->call, pointer, bytes}, 3, "");
    LLVMBuildStore(f->builder, LLVMConstNull(m->pointer), slot);
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

static bool is_allocated(const sinter_llvm_function *f, const sinter_loop_stmt *s) {
    return s->kind == SINTER_LOOP_ALLOC && !s->value &&
           f->function->buffers.items[s->buffer].scope == SINTER_SCOPE_HEAP;
}

/* What the run allocated and has not freed yet; an alias may have carried it out of the block it was made in. */
static void release_all(sinter_llvm_function *f) {
    for (uint32_t i = 1; i < f->function->buffers.count; i++)
        if (f->host->allocated[i]) release(f, i);
}

static void emit_alloc_heap(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    if (s->value) {
        LLVMValueRef offset = sinter_llvm_expr(f, s->value);
        LLVMValueRef base =
            LLVMBuildInBoundsGEP2(f->builder, f->module->i8, f->host->workspace, &offset, 1, "");
        LLVMBuildStore(f->builder, base, f->buffers[s->buffer]);
        return;
    }
    release(f, s->buffer); /* an iteration before may have left it */
    LLVMValueRef bytes = checked_bytes(f, s->buffer);
    LLVMValueRef pointer = allocate(f, bytes, f->function->buffers.items[s->buffer].name);
    LLVMBuildStore(f->builder, bytes, f->host->sizes[s->buffer]);
    LLVMBuildStore(f->builder, pointer, f->host->allocated[s->buffer]);
    LLVMBuildStore(f->builder, pointer, f->buffers[s->buffer]);
}

/* Address 0, of what is not there, has every alignment. */
static void require_aligned(sinter_llvm_function *f, LLVMValueRef data, sinter_dtype dtype,
                            const char *message) {
    sinter_llvm_module *m = f->module;
    const int64_t alignment = sinter_dtype_infos[dtype].bits / 8;
    if (alignment <= 1) return;
    LLVMValueRef address = LLVMBuildPtrToInt(f->builder, data, m->i64, "");
    LLVMValueRef rest = LLVMBuildAnd(f->builder, address, sinter_llvm_int(m, alignment - 1), "");
    sinter_llvm_require(f, LLVMBuildIsNull(f->builder, rest, ""), SINTER_ABI_BAD_INPUT, message,
                        NULL, 0);
}

/* The caller's memory where it gave some, which must be large enough; fresh memory for the caller otherwise. */
static void place_output(sinter_llvm_function *f, const sinter_loop_stmt *s, LLVMValueRef tensor,
                         LLVMValueRef bytes) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_buffer_info *info = &f->function->buffers.items[s->buffer];
    const sinter_loop_io *io = &m->program->outputs.items[info->io_index];
    LLVMValueRef given =
        sinter_llvm_load_field(f, m->pointer, tensor, offsetof(sinter_abi_tensor, data));
    LLVMBasicBlockRef take = sinter_llvm_block(f, "take"), use = sinter_llvm_block(f, "use"),
                      done = sinter_llvm_block(f, "done");
    LLVMBuildCondBr(f->builder, LLVMBuildIsNull(f->builder, given, ""), take, use);
    LLVMPositionBuilderAtEnd(f->builder, take);
    LLVMValueRef fresh = allocate(f, bytes, io->name);
    sinter_llvm_store_field(f, fresh, tensor, offsetof(sinter_abi_tensor, data));
    LLVMBuildStore(f->builder, fresh, f->buffers[s->buffer]);
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, use);
    LLVMValueRef capacity =
        sinter_llvm_load_field(f, m->i64, tensor, offsetof(sinter_abi_tensor, bytes));
    const char *message =
        sinter_arena_format(m->arena, "output '%s' needs %%0 bytes and has %%1", io->name);
    sinter_llvm_require(f, LLVMBuildICmp(f->builder, LLVMIntULE, bytes, capacity, ""),
                        SINTER_ABI_BAD_INPUT, message, (LLVMValueRef[]){bytes, capacity}, 2);
    message = sinter_arena_format(m->arena, "output '%s' is not aligned to its elements", io->name);
    require_aligned(f, given, info->dtype, message);
    LLVMBuildStore(f->builder, given, f->buffers[s->buffer]);
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

static void emit_alloc_output(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_buffer_info *info = &f->function->buffers.items[s->buffer];
    const sinter_loop_io *io = &m->program->outputs.items[info->io_index];
    LLVMValueRef bytes = checked_bytes(f, s->buffer);
    LLVMValueRef tensor = sinter_llvm_tensor(f, f->host->outputs, (size_t)info->io_index);
    if (!m->images) place_output(f, s, tensor, bytes);
    sinter_llvm_store_field(f, bytes, tensor, offsetof(sinter_abi_tensor, bytes));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)info->rank), tensor,
                            offsetof(sinter_abi_tensor, rank));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, sinter_dtype_infos[io->dtype].onnx_code),
                            tensor, offsetof(sinter_abi_tensor, dtype));
    sinter_llvm_forget(f);
    for (uint32_t k = 0; k < info->rank; k++)
        sinter_llvm_store_field(f, sinter_llvm_expr(f, info->dims[k]), tensor,
                                offsetof(sinter_abi_tensor, dims) + k * sizeof(int64_t));
    if (!m->images) return;
    LLVMValueRef memory = sinter_llvm_device_output(f, info->io_index, bytes);
    sinter_llvm_require(
        f, LLVMBuildIsNotNull(f->builder, memory, ""), SINTER_ABI_OUT_OF_MEMORY,
        sinter_arena_format(m->arena, "no memory on the device for the %%0 bytes of %s", io->name),
        &bytes, 1);
    LLVMBuildStore(f->builder, memory, f->buffers[s->buffer]);
}

static void emit_bind(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_dtype dtype = f->function->buffers.items[s->source].dtype;
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    LLVMValueRef offset = sinter_llvm_expr(f, s->value);
    LLVMValueRef bytes = LLVMBuildMul(f->builder, offset, sinter_llvm_int(f->module, bits), "");
    bytes = LLVMBuildSDiv(f->builder, bytes, sinter_llvm_int(f->module, 8), "");
    LLVMValueRef base = sinter_llvm_buffer_base(f, s->source);
    LLVMBuildStore(f->builder,
                   LLVMBuildInBoundsGEP2(f->builder, f->module->i8, base, &bytes, 1, ""),
                   f->buffers[s->buffer]);
}

static void emit_take(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef own = f->host->allocated[s->buffer], other = f->host->allocated[s->source];
    if (!own || !other) {
        sinter_llvm_fail(m, "host: memory of the workspace can't be taken [emit_c9]");
        return;
    }
    release(f, s->buffer);
    LLVMValueRef pointer = LLVMBuildLoad2(f->builder, m->pointer, other, "");
    LLVMValueRef bytes = LLVMBuildLoad2(f->builder, m->i64, f->host->sizes[s->source], "");
    LLVMBuildStore(f->builder, bytes, f->host->sizes[s->buffer]);
    LLVMBuildStore(f->builder, pointer, own);
    LLVMBuildStore(f->builder, pointer, f->buffers[s->buffer]);
    LLVMBuildStore(f->builder, LLVMConstNull(m->pointer), other);
}

/* ---- kernels ---- */

/* void trace(call, kernel, begin): calls services->trace, which is there. */
static LLVMValueRef trace_function(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    sinter_llvm_function g;
    LLVMValueRef function;
    if (!helper_begin(f, &g, "sinter.trace", m->void_type,
                      (LLVMTypeRef[]){m->pointer, m->i32, m->i32}, 3, &function))
        return function;
    LLVMValueRef user;
    LLVMBasicBlockRef otherwise;
    LLVMValueRef service =
        sinter_llvm_load_service(&g, offsetof(sinter_abi_services, trace), &user, &otherwise);
    LLVMTypeRef type =
        LLVMFunctionType(m->void_type, (LLVMTypeRef[]){m->pointer, m->i32, m->i32}, 3, false);
    LLVMBuildCall2(g.builder, type, service,
                   (LLVMValueRef[]){user, LLVMGetParam(function, 1), LLVMGetParam(function, 2)}, 3,
                   "");
    LLVMBuildBr(g.builder, otherwise);
    LLVMPositionBuilderAtEnd(g.builder, otherwise);
    LLVMBuildRetVoid(g.builder);
    sinter_llvm_end(&g);
    return function;
}

static void emit_trace(sinter_llvm_function *f, uint32_t kernel, int32_t begin) {
    sinter_llvm_module *m = f->module;
    LLVMBasicBlockRef tell = sinter_llvm_block(f, "trace"), on = sinter_llvm_block(f, "on");
    LLVMBuildCondBr(f->builder, f->host->traced, tell, on);
    LLVMPositionBuilderAtEnd(f->builder, tell);
    LLVMValueRef function = trace_function(f);
    LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(function), function,
                   (LLVMValueRef[]){f->call, sinter_llvm_int32(m, (int32_t)kernel),
                                    sinter_llvm_int32(m, begin)},
                   3, "");
    LLVMBuildBr(f->builder, on);
    LLVMPositionBuilderAtEnd(f->builder, on);
}

/* A copy runs only where the buffers are apart; gives the block after it. */
static LLVMBasicBlockRef begin_copy(sinter_llvm_function *f, LLVMValueRef from, LLVMValueRef to) {
    LLVMBasicBlockRef apart = sinter_llvm_block(f, "apart"), done = sinter_llvm_block(f, "copied");
    LLVMValueRef same = LLVMBuildICmp(f->builder, LLVMIntEQ, from, to, "");
    LLVMBuildCondBr(f->builder, same, done, apart);
    LLVMPositionBuilderAtEnd(f->builder, apart);
    return done;
}

/* void place(call, text): the text goes to the end of the failure's message. */
static LLVMValueRef place_function(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    sinter_llvm_function g;
    LLVMValueRef function;
    if (!helper_begin(f, &g, "sinter.place", m->void_type, (LLVMTypeRef[]){m->pointer, m->pointer},
                      2, &function))
        return function;
    LLVMValueRef message = sinter_llvm_field(&g, g.call, offsetof(sinter_abi_call, message));
    LLVMValueRef used = sinter_llvm_library(&g, "strlen", m->i64, &message, 1);
    LLVMValueRef room = sinter_llvm_int(m, sizeof((sinter_abi_call *)0)->message);
    sinter_llvm_print(&g, LLVMBuildGEP2(g.builder, m->i8, message, &used, 1, ""),
                      LLVMBuildSub(g.builder, room, used, ""), "%s",
                      (LLVMValueRef[]){LLVMGetParam(function, 1)}, 1);
    LLVMBuildRetVoid(g.builder);
    sinter_llvm_end(&g);
    return function;
}

/* The kernel's failure is the run's, and its message says where it was. */
static void emit_check(sinter_llvm_function *f, const sinter_loop_stmt *call, LLVMValueRef code) {
    sinter_llvm_module *m = f->module;
    LLVMBasicBlockRef on = sinter_llvm_block(f, "on");
    LLVMBasicBlockRef failed = call->text ? sinter_llvm_block(f, "failed") : f->failure;
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, code, ""), failed, on);
    if (call->text) {
        LLVMPositionBuilderAtEnd(f->builder, failed);
        LLVMValueRef function = place_function(f);
        const char *place = sinter_loop_failure_place(m->arena, call->text);
        LLVMValueRef arguments[] = {f->call, sinter_llvm_text(m, place)};
        LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(function), function, arguments, 2, "");
        LLVMBuildBr(f->builder, f->failure);
    }
    LLVMPositionBuilderAtEnd(f->builder, on);
}

static void emit_call_kernel(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    unsigned count = 1 + s->buffer_argument_count + s->argument_count;
    LLVMValueRef *arguments = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    arguments[0] = f->call;
    for (uint32_t i = 0; i < s->buffer_argument_count; i++)
        arguments[1 + i] = sinter_llvm_buffer_base(f, s->buffer_arguments[i]);
    for (uint32_t i = 0; i < s->argument_count; i++)
        arguments[1 + s->buffer_argument_count + i] = sinter_llvm_expr(f, s->arguments[i]);
    LLVMBasicBlockRef done = s->copies ? begin_copy(f, arguments[1], arguments[2]) : NULL;
    emit_trace(f, s->kernel, 1);
    LLVMValueRef kernel = m->kernels[s->kernel];
    LLVMValueRef code =
        LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(kernel), kernel, arguments, count, "");
    emit_trace(f, s->kernel, 0);
    if (m->kernel_fails[s->kernel]) emit_check(f, s, code);
    if (!done) return;
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

void sinter_llvm_host_statement(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    switch (s->kind) {
    case SINTER_LOOP_ALLOC:
        if (f->function->buffers.items[s->buffer].scope == SINTER_SCOPE_OUTPUT)
            emit_alloc_output(f, s);
        else
            emit_alloc_heap(f, s);
        return;
    case SINTER_LOOP_FREE:
        if (f->host->allocated[s->buffer]) release(f, s->buffer);
        return;
    case SINTER_LOOP_BIND:
        emit_bind(f, s);
        return;
    case SINTER_LOOP_TAKE:
        emit_take(f, s);
        return;
    case SINTER_LOOP_CALL_KERNEL:
        emit_call_kernel(f, s);
        return;
    default:
        sinter_llvm_fail(f->module, "host: statement without meaning here [emit_c9]");
        return;
    }
}

/* ---- run ---- */

static void find_allocated(sinter_llvm_function *f, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (is_allocated(f, s) && !f->host->allocated[s->buffer]) {
            LLVMValueRef slot = sinter_llvm_entry_alloca(f, f->module->pointer, "allocated");
            LLVMBuildStore(f->builder, LLVMConstNull(f->module->pointer), slot);
            f->host->allocated[s->buffer] = slot;
            f->host->sizes[s->buffer] = sinter_llvm_entry_alloca(f, f->module->i64, "bytes");
        }
        find_allocated(f, s->body);
        find_allocated(f, s->else_body);
    }
}

/* Inputs must hold what their dims say; plan has checked the dims. */
static void bind_input(sinter_llvm_function *f, sinter_loop_buffer buffer) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    const char *name = m->program->inputs.items[info->io_index].name;
    LLVMValueRef tensor = sinter_llvm_tensor(f, f->host->inputs, (size_t)info->io_index);
    LLVMValueRef needed = checked_bytes(f, buffer);
    LLVMValueRef given =
        sinter_llvm_load_field(f, m->i64, tensor, offsetof(sinter_abi_tensor, bytes));
    LLVMValueRef data =
        sinter_llvm_load_field(f, m->pointer, tensor, offsetof(sinter_abi_tensor, data));
    const char *message =
        sinter_arena_format(m->arena, "input '%s' needs %%0 bytes and has %%1", name);
    sinter_llvm_require(f, LLVMBuildICmp(f->builder, LLVMIntULE, needed, given, ""),
                        SINTER_ABI_BAD_INPUT, message, (LLVMValueRef[]){needed, given}, 2);
    if (m->images) {
        LLVMValueRef list = sinter_llvm_device_field(f, offsetof(sinter_abi_device, inputs));
        data = sinter_llvm_load_field(f, m->pointer, list, (size_t)info->io_index * sizeof(void *));
        LLVMBuildStore(f->builder, data, f->buffers[buffer]);
        return;
    }
    LLVMValueRef none = LLVMBuildICmp(f->builder, LLVMIntEQ, needed, sinter_llvm_int(m, 0), "");
    LLVMValueRef there =
        LLVMBuildOr(f->builder, none, LLVMBuildIsNotNull(f->builder, data, ""), "");
    sinter_llvm_require(f, there, SINTER_ABI_BAD_INPUT,
                        sinter_arena_format(m->arena, "input '%s' has no data", name), NULL, 0);
    message = sinter_arena_format(m->arena, "input '%s' is not aligned to its elements", name);
    require_aligned(f, data, info->dtype, message);
    LLVMBuildStore(f->builder, data, f->buffers[buffer]);
}

static LLVMValueRef find_weights(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    if (m->images) return sinter_llvm_device_field(f, offsetof(sinter_abi_device, weights));
    LLVMValueRef given =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, weights));
    LLVMValueRef there = LLVMBuildIsNotNull(f->builder, given, "");
    if (m->weights) return LLVMBuildSelect(f->builder, there, given, m->weights, "");
    if (m->weight_bytes)
        sinter_llvm_require(f, there, SINTER_ABI_BAD_INPUT, "the weights are missing", NULL, 0);
    return given;
}

static void bind_buffers(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef weights = find_weights(f);
    for (uint32_t i = 1; i < f->function->buffers.count; i++) {
        const sinter_loop_buffer_info *info = &f->function->buffers.items[i];
        f->buffers[i] = sinter_llvm_entry_alloca(f, m->pointer, info->name);
        if (info->scope == SINTER_SCOPE_INPUT) bind_input(f, i);
        if (info->scope == SINTER_SCOPE_CONSTANT) {
            LLVMValueRef offset = sinter_llvm_int(m, (int64_t)m->weight_offsets[info->constant]);
            LLVMBuildStore(f->builder,
                           LLVMBuildInBoundsGEP2(f->builder, m->i8, weights, &offset, 1, ""),
                           f->buffers[i]);
        }
    }
}

static void check_workspace(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    f->host->workspace =
        m->images
            ? sinter_llvm_device_field(f, offsetof(sinter_abi_device, workspace))
            : sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, workspace));
    if (!m->program->workspace_bytes) return;
    LLVMValueRef needed = sinter_llvm_checked_expr(f, m->program->workspace_bytes, "the workspace");
    LLVMValueRef given =
        sinter_llvm_load_field(f, m->i64, f->call,
                               m->images ? offsetof(sinter_abi_call, device_workspace_bytes)
                                         : offsetof(sinter_abi_call, workspace_bytes));
    sinter_llvm_require(f, LLVMBuildICmp(f->builder, LLVMIntULE, needed, given, ""),
                        SINTER_ABI_OUT_OF_MEMORY,
                        "the workspace needs %0 bytes and has %1; was plan called?",
                        (LLVMValueRef[]){needed, given}, 2);
    LLVMValueRef none = LLVMBuildICmp(f->builder, LLVMIntEQ, needed, sinter_llvm_int(m, 0), "");
    LLVMValueRef there = LLVMBuildIsNotNull(f->builder, f->host->workspace, "");
    sinter_llvm_require(f, LLVMBuildOr(f->builder, none, there, ""), SINTER_ABI_OUT_OF_MEMORY,
                        "the workspace is missing", NULL, 0);
}

static LLVMValueRef is_traced(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef slot = sinter_llvm_entry_alloca(f, m->i1, "traced");
    LLVMBuildStore(f->builder, LLVMConstNull(m->i1), slot);
    LLVMValueRef user;
    LLVMBasicBlockRef otherwise;
    sinter_llvm_load_service(f, offsetof(sinter_abi_services, trace), &user, &otherwise);
    LLVMBuildStore(f->builder, LLVMConstInt(m->i1, 1, false), slot);
    LLVMBuildBr(f->builder, otherwise);
    LLVMPositionBuilderAtEnd(f->builder, otherwise);
    return LLVMBuildLoad2(f->builder, m->i1, slot, "");
}

LLVMValueRef sinter_llvm_begin_entry(sinter_llvm_function *f, sinter_llvm_host *host,
                                     sinter_llvm_module *m, const char *name) {
    LLVMTypeRef type = LLVMFunctionType(m->i32, &m->pointer, 1, false);
    LLVMValueRef function = sinter_llvm_add_function(m, name, type);
    LLVMSetLinkage(function, LLVMInternalLinkage);
    *host = (sinter_llvm_host){0};
    sinter_llvm_begin(f, m, m->program->host, function);
    sinter_llvm_leave_plain(m, function);
    f->is_host = true;
    f->host = host;
    f->call = LLVMGetParam(function, 0);
    sinter_llvm_store_field(f, sinter_llvm_int32(m, 0), f->call, offsetof(sinter_abi_call, code));
    host->inputs =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, inputs));
    host->outputs =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, outputs));
    return function;
}

static LLVMValueRef emit_run(sinter_llvm_module *m) {
    sinter_llvm_function f;
    sinter_llvm_host host;
    LLVMValueRef function = sinter_llvm_begin_entry(&f, &host, m, "sinter.run");
    size_t buffers = f.function->buffers.count;
    host.allocated = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, buffers);
    host.sizes = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, buffers);
    find_allocated(&f, f.function->body);
    LLVMValueRef symbols =
        sinter_llvm_load_field(&f, m->pointer, f.call, offsetof(sinter_abi_call, symbols));
    for (size_t i = 0; i < m->program->symbols.count; i++)
        sinter_llvm_bind_var(&f, f.function->scalar_parameters.items[i],
                             sinter_llvm_load_field(&f, m->i64, symbols, i * sizeof(int64_t)));
    f.failure = sinter_llvm_block(&f, "failure");
    check_workspace(&f);
    bind_buffers(&f);
    host.traced = is_traced(&f);
    sinter_llvm_statements(&f, f.function->body);
    release_all(&f);
    LLVMBuildRet(f.builder, sinter_llvm_int32(m, 0));
    LLVMPositionBuilderAtEnd(f.builder, f.failure);
    release_all(&f);
    LLVMBuildRet(f.builder,
                 sinter_llvm_load_field(&f, m->i32, f.call, offsetof(sinter_abi_call, code)));
    sinter_llvm_end(&f);
    return function;
}

bool sinter_llvm_emit_host(sinter_llvm_module *m, const char *symbol) {
    LLVMValueRef plan = sinter_llvm_emit_plan(m);
    LLVMValueRef run = emit_run(m);
    sinter_llvm_emit_descriptor(m, symbol, plan, run);
    return !m->broken;
}
