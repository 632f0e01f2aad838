/* Parallel loops and failures in LLVM.
 *
 * A parallel loop becomes a function of its own over a range of iterations. What it uses from the kernel travels in an
 * environment of 8-byte fields; a thin function unpacks it, so that the body has parameters and keeps what noalias
 * says about them. The services' parallel_for runs it where there is one, else one call over all iterations. Loops that
 * are joined are one call: the range is one of the longest of them, and each runs the same part of its own. A failure
 * writes code and message into the call; the first one wins. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "codegen/loops/independent.h"
#include "codegen/loops/uses.h"
#include "runtime/abi.h"

#include <stdio.h>
#include <string.h>

/* ---- what a loop uses from outside ---- */

typedef struct capture {
    bool is_buffer;
    uint32_t id;
    LLVMValueRef value;
} capture;

/* Values of the enclosing function that the loop needs. A mutable variable goes by its value at this point. */
static capture *collect(sinter_llvm_function *f, const sinter_loop_stmt *loop,
                        uint32_t *out_count) {
    sinter_llvm_module *m = f->module;
    size_t vars = f->function->vars.count, buffers = f->function->buffers.count;
    sinter_loop_uses u;
    sinter_loop_find_uses(m->arena, f->function, loop->body, &u);
    capture *captures = SINTER_NEW_ARRAY(m->arena, capture, vars + buffers);
    uint32_t count = 0;
    for (uint32_t i = 1; i < buffers; i++)
        if (u.buffers[i] && f->buffers[i]) captures[count++] = (capture){true, i, f->buffers[i]};
    for (uint32_t i = 1; i < vars; i++) {
        if (!u.vars[i] && !u.assigns[i]) continue;
        LLVMValueRef value = f->vars[i].value;
        if (!value || i == loop->var) continue;
        if (u.assigns[i])
            sinter_llvm_fail(m, "kernel %s: iterations of a parallel loop assign '%s' [emit_c7]",
                             f->function->name, f->function->vars.items[i].name);
        if (f->vars[i].is_slot) value = LLVMBuildLoad2(f->builder, f->vars[i].type, value, "");
        captures[count++] = (capture){false, i, value};
    }
    *out_count = count;
    return captures;
}

/* ---- outlining ---- */

static const char *name_of(const sinter_llvm_function *f) {
    size_t size;
    return LLVMGetValueName2(f->value, &size);
}

/* void body(call, first, last, lower, captures...) */
static LLVMValueRef emit_body(sinter_llvm_function *f, const sinter_loop_stmt *loop,
                              const capture *captures, uint32_t count) {
    sinter_llvm_module *m = f->module;
    LLVMTypeRef *types = SINTER_NEW_ARRAY(m->arena, LLVMTypeRef, count + 4);
    types[0] = m->pointer;
    types[1] = types[2] = types[3] = m->i64;
    for (uint32_t i = 0; i < count; i++) types[4 + i] = LLVMTypeOf(captures[i].value);
    const char *name = sinter_arena_format(m->arena, "%s.body", name_of(f));
    LLVMValueRef function =
        sinter_llvm_add_function(m, name, LLVMFunctionType(m->void_type, types, count + 4, false));
    LLVMSetLinkage(function, LLVMInternalLinkage);

    sinter_llvm_function g;
    sinter_llvm_begin(&g, m, f->function, function);
    g.in_parallel = true;
    g.call = LLVMGetParam(function, 0);
    for (uint32_t i = 0; i < count; i++) {
        LLVMValueRef parameter = LLVMGetParam(function, 4 + i);
        if (captures[i].is_buffer) {
            g.buffers[captures[i].id] = parameter;
            sinter_llvm_attribute(m, function, 5 + i, "noalias", 0);
        } else {
            sinter_llvm_bind_var(&g, captures[i].id, parameter);
        }
    }
    LLVMValueRef lower = LLVMGetParam(function, 3), step = sinter_llvm_int(m, loop->step);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(g.builder), body = sinter_llvm_block(&g, "body"),
                      done = sinter_llvm_block(&g, "done");
    LLVMValueRef first = LLVMGetParam(function, 1), last = LLVMGetParam(function, 2);
    LLVMBuildCondBr(g.builder, LLVMBuildICmp(g.builder, LLVMIntSLT, first, last, ""), body, done);
    LLVMPositionBuilderAtEnd(g.builder, body);
    LLVMValueRef number = LLVMBuildPhi(g.builder, m->i64, "iteration");
    LLVMValueRef offset = LLVMBuildNSWMul(g.builder, number, step, "");
    sinter_llvm_bind_var(&g, loop->var, LLVMBuildNSWAdd(g.builder, lower, offset, ""));
    sinter_llvm_statements(&g, loop->body);
    LLVMValueRef next = LLVMBuildNSWAdd(g.builder, number, sinter_llvm_int(m, 1), "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(g.builder);
    LLVMBuildCondBr(g.builder, LLVMBuildICmp(g.builder, LLVMIntSLT, next, last, ""), body, done);
    LLVMAddIncoming(number, (LLVMValueRef[]){first, next}, (LLVMBasicBlockRef[]){before, latch}, 2);
    LLVMPositionBuilderAtEnd(g.builder, done);
    LLVMBuildRetVoid(g.builder);
    sinter_llvm_end(&g);
    return function;
}

/* ---- groups ---- */

/* One loop of a group. Its fields of the environment: lower bound, captures. */
typedef struct member {
    const sinter_loop_stmt *loop;
    LLVMValueRef body, lower;
    capture *captures;
    uint32_t capture_count, first_field;
    int64_t count; /* iterations, in a group of several */
} member;

/* The part of the member's iterations that goes with this one of the longest loop's. */
static LLVMValueRef scale(sinter_llvm_module *m, LLVMBuilderRef b, LLVMValueRef position,
                          int64_t count, int64_t longest) {
    if (count == longest) return position;
    LLVMValueRef product = LLVMBuildNSWMul(b, position, sinter_llvm_int(m, count), "");
    return LLVMBuildSDiv(b, product, sinter_llvm_int(m, longest), "");
}

/* void entry(environment, first, last): unpacks and calls the bodies. */
static LLVMValueRef emit_entry(sinter_llvm_function *f, LLVMTypeRef environment,
                               const member *members, uint32_t member_count, int64_t longest) {
    sinter_llvm_module *m = f->module;
    LLVMTypeRef types[] = {m->pointer, m->i64, m->i64};
    const char *name = sinter_arena_format(m->arena, "%s.range", name_of(f));
    LLVMValueRef function =
        sinter_llvm_add_function(m, name, LLVMFunctionType(m->void_type, types, 3, false));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    LLVMBuilderRef b = LLVMCreateBuilderInContext(m->context);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(m->context, function, "entry"));
    LLVMValueRef fields = LLVMGetParam(function, 0);
    LLVMValueRef call =
        LLVMBuildLoad2(b, m->pointer, LLVMBuildStructGEP2(b, environment, fields, 0, ""), "");
    for (uint32_t k = 0; k < member_count; k++) {
        const member *of = &members[k];
        LLVMValueRef *arguments = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, of->capture_count + 4);
        arguments[0] = call;
        arguments[1] = scale(m, b, LLVMGetParam(function, 1), of->count, longest);
        arguments[2] = scale(m, b, LLVMGetParam(function, 2), of->count, longest);
        for (uint32_t i = 0; i <= of->capture_count; i++) {
            uint32_t at = of->first_field + i;
            LLVMValueRef field = LLVMBuildStructGEP2(b, environment, fields, at, "");
            arguments[3 + i] =
                LLVMBuildLoad2(b, LLVMStructGetTypeAtIndex(environment, at), field, "");
        }
        LLVMBuildCall2(b, LLVMGlobalGetValueType(of->body), of->body, arguments,
                       of->capture_count + 4, "");
    }
    LLVMBuildRetVoid(b);
    LLVMDisposeBuilder(b);
    return function;
}

/* ---- the loop ---- */

static void emit_dispatch(sinter_llvm_function *f, LLVMValueRef entry, LLVMValueRef environment,
                          LLVMValueRef count, int64_t grain) {
    sinter_llvm_module *m = f->module;
    LLVMBasicBlockRef ask = sinter_llvm_block(f, "services"), pool = sinter_llvm_block(f, "pool"),
                      serial = sinter_llvm_block(f, "serial"), done = sinter_llvm_block(f, "done");
    LLVMValueRef services =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, services));
    LLVMValueRef least = sinter_llvm_int(m, sinter_loop_whole_grain(grain));
    LLVMValueRef many = LLVMBuildICmp(f->builder, LLVMIntSGT, count, least, "");
    LLVMValueRef some = LLVMBuildIsNotNull(f->builder, services, "");
    LLVMBuildCondBr(f->builder, LLVMBuildAnd(f->builder, many, some, ""), ask, serial);
    LLVMPositionBuilderAtEnd(f->builder, ask);
    LLVMValueRef run = sinter_llvm_load_field(f, m->pointer, services,
                                              offsetof(sinter_abi_services, parallel_for));
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, run, ""), pool, serial);
    LLVMPositionBuilderAtEnd(f->builder, pool);
    LLVMValueRef user =
        sinter_llvm_load_field(f, m->pointer, services, offsetof(sinter_abi_services, user));
    LLVMTypeRef types[] = {m->pointer, m->i64, m->i64, m->pointer, m->pointer};
    LLVMBuildCall2(f->builder, LLVMFunctionType(m->void_type, types, 5, false), run,
                   (LLVMValueRef[]){user, count, sinter_llvm_int(m, grain), entry, environment}, 5,
                   "");
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, serial);
    LLVMBuildCall2(f->builder, LLVMGlobalGetValueType(entry), entry,
                   (LLVMValueRef[]){environment, sinter_llvm_int(m, 0), count}, 3, "");
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

/* A kernel that can fail returns after the loop what an iteration recorded. */
static void emit_return_of_failure(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    if (LLVMGetReturnType(LLVMGlobalGetValueType(f->value)) == m->void_type) return;
    LLVMValueRef code = sinter_llvm_load_field(f, m->i32, f->call, offsetof(sinter_abi_call, code));
    LLVMBasicBlockRef failed = sinter_llvm_block(f, "failed"), on = sinter_llvm_block(f, "on");
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, code, ""), failed, on);
    LLVMPositionBuilderAtEnd(f->builder, failed);
    LLVMBuildRet(f->builder, code);
    LLVMPositionBuilderAtEnd(f->builder, on);
}

static LLVMValueRef emit_count(sinter_llvm_function *f, const sinter_loop_stmt *loop,
                               LLVMValueRef lower) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef span = LLVMBuildNSWSub(f->builder, sinter_llvm_expr(f, loop->upper), lower, "");
    LLVMValueRef rounded =
        LLVMBuildNSWAdd(f->builder, span, sinter_llvm_int(m, loop->step - 1), "");
    return LLVMBuildSDiv(f->builder, rounded, sinter_llvm_int(m, loop->step), "");
}

/* What the bodies need of the kernel, in memory of its frame. */
static LLVMValueRef pack_environment(sinter_llvm_function *f, const member *members,
                                     uint32_t member_count, LLVMTypeRef *out_type) {
    sinter_llvm_module *m = f->module;
    const member *last = &members[member_count - 1];
    uint32_t field_count = last->first_field + last->capture_count + 1;
    LLVMTypeRef *types = SINTER_NEW_ARRAY(m->arena, LLVMTypeRef, field_count);
    LLVMValueRef *values = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, field_count);
    values[0] = f->call;
    for (uint32_t k = 0; k < member_count; k++) {
        values[members[k].first_field] = members[k].lower;
        for (uint32_t i = 0; i < members[k].capture_count; i++)
            values[members[k].first_field + 1 + i] = members[k].captures[i].value;
    }
    for (uint32_t i = 0; i < field_count; i++) types[i] = LLVMTypeOf(values[i]);
    *out_type = LLVMStructTypeInContext(m->context, types, field_count, false);
    LLVMValueRef environment = sinter_llvm_entry_alloca(f, *out_type, "environment");
    for (uint32_t i = 0; i < field_count; i++)
        LLVMBuildStore(f->builder, values[i],
                       LLVMBuildStructGEP2(f->builder, *out_type, environment, i, ""));
    return environment;
}

const sinter_loop_stmt *sinter_llvm_parallel_for(sinter_llvm_function *f,
                                                 const sinter_loop_stmt *first) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_stmt *end = sinter_loop_group_end(first), *loop = first;
    uint32_t count = 1, fields = 1;
    for (; loop != end; loop = loop->next) count++;
    member *members = SINTER_NEW_ARRAY(m->arena, member, count);
    int64_t longest = 0;
    loop = first;
    for (uint32_t k = 0; k < count; k++, loop = loop->next) {
        member *of = &members[k];
        of->loop = loop;
        of->lower = sinter_llvm_expr(f, loop->lower);
        of->captures = collect(f, loop, &of->capture_count);
        of->body = emit_body(f, loop, of->captures, of->capture_count);
        of->first_field = fields;
        fields += of->capture_count + 1;
        if (count > 1) sinter_loop_trip_count(loop, &of->count);
        if (of->count > longest) longest = of->count;
    }
    LLVMValueRef iterations =
        count > 1 ? sinter_llvm_int(m, longest) : emit_count(f, first, members[0].lower);
    LLVMTypeRef type;
    LLVMValueRef environment = pack_environment(f, members, count, &type);
    LLVMValueRef entry = emit_entry(f, type, members, count, longest);
    emit_dispatch(f, entry, environment, iterations, sinter_loop_get_grain(first));
    emit_return_of_failure(f);
    return end;
}

/* ---- failures ---- */

/* "%0" and "%1" become the spelling of an i64 for printf, in the order of their use; "%%" is left as it is. */
static const char *printf_format(sinter_llvm_module *m, const char *message, uint32_t *order,
                                 uint32_t *out_count, uint32_t capacity) {
    sinter_text text = {0};
    *out_count = 0;
    for (const char *at = message; *at; at++) {
        if (*at != '%') {
            sinter_text_append(&text, at, 1);
        } else if (at[1] >= '0' && at[1] <= '9' && *out_count < capacity) {
            sinter_text_append_string(&text, "%lld");
            order[(*out_count)++] = (uint32_t)(*++at - '0');
        } else {
            sinter_text_append_string(&text, "%%");
            at += at[1] == '%';
        }
    }
    const char *copy = sinter_arena_copy_string(m->arena, text.data ? text.data : "", text.size);
    sinter_text_deinit(&text);
    return copy;
}

void sinter_llvm_print(sinter_llvm_function *f, LLVMValueRef target, LLVMValueRef size,
                       const char *format, const LLVMValueRef *arguments, uint32_t count) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef values[3 + 8] = {target, size,
                                  LLVMBuildGlobalStringPtr(f->builder, format, "message")};
    for (uint32_t i = 0; i < count; i++) values[3 + i] = arguments[i];
    LLVMTypeRef types[] = {m->pointer, m->i64, m->pointer};
    LLVMTypeRef type = LLVMFunctionType(m->i32, types, 3, true);
    LLVMValueRef function = LLVMGetNamedFunction(m->module, "snprintf");
    if (!function) function = sinter_llvm_add_function(m, "snprintf", type);
    LLVMBuildCall2(f->builder, type, function, values, 3 + count, "");
}

void sinter_llvm_record_failure(sinter_llvm_function *f, int32_t code, const char *message,
                                LLVMValueRef *arguments, uint32_t count) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef slot = sinter_llvm_field(f, f->call, offsetof(sinter_abi_call, code));
    LLVMValueRef exchange = LLVMBuildAtomicCmpXchg(
        f->builder, slot, sinter_llvm_int32(m, 0), sinter_llvm_int32(m, code),
        LLVMAtomicOrderingAcquireRelease, LLVMAtomicOrderingMonotonic, false);
    LLVMBasicBlockRef first = sinter_llvm_block(f, "first"), done = sinter_llvm_block(f, "done");
    LLVMBuildCondBr(f->builder, LLVMBuildExtractValue(f->builder, exchange, 1, ""), first, done);
    LLVMPositionBuilderAtEnd(f->builder, first);
    uint32_t order[8], used;
    const char *format = printf_format(m, message, order, &used, 8);
    LLVMValueRef values[8];
    for (uint32_t i = 0; i < used; i++)
        values[i] = order[i] < count ? arguments[order[i]] : sinter_llvm_int(m, 0);
    sinter_llvm_print(f, sinter_llvm_field(f, f->call, offsetof(sinter_abi_call, message)),
                      sinter_llvm_int(m, sizeof((sinter_abi_call *)0)->message), format, values,
                      used);
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}
