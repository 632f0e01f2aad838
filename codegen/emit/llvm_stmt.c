/* Statements in LLVM: loops by axis, conditions and masks, variables, scratch buffers.
 *
 * A vector axis whose body cannot run in lockstep (a bound, a failure or an update that differs by lane) is emitted as
 * a serial loop, which means the same. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "runtime/abi.h"

#include <assert.h>

void sinter_llvm_bind_var(sinter_llvm_function *f, sinter_loop_var var, LLVMValueRef value) {
    f->vars[var] = (sinter_llvm_var){
        .value = value, .inside = f->vars[var].inside, .definition = f->vars[var].definition};
}

/* ---- may the body of a vector axis run in lockstep? ---- */

static bool same_in_all_lanes(const sinter_llvm_function *f, const sinter_loop_expr *expr) {
    int64_t stride;
    return sinter_llvm_lane_stride(f, expr, &stride) && stride == 0;
}

static bool runs_in_lockstep(const sinter_llvm_function *f, const sinter_loop_stmt *first);

static bool statement_runs_in_lockstep(const sinter_llvm_function *f, const sinter_loop_stmt *s) {
    switch (s->kind) {
    case SINTER_LOOP_FOR:
        return s->axis != SINTER_AXIS_PARALLEL && same_in_all_lanes(f, s->lower) &&
               same_in_all_lanes(f, s->upper) && runs_in_lockstep(f, s->body);
    case SINTER_LOOP_WHILE:
        return same_in_all_lanes(f, s->value) && runs_in_lockstep(f, s->body);
    case SINTER_LOOP_IF:
        return runs_in_lockstep(f, s->body) && runs_in_lockstep(f, s->else_body);
    case SINTER_LOOP_STORE: {
        bool moves = false;
        for (uint32_t i = 0; i < s->argument_count; i++)
            moves |= !same_in_all_lanes(f, s->arguments[i]);
        /* an update through unknown addresses may meet itself in another lane */
        if (moves && s->combine != SINTER_SCALAR_NONE) {
            moves = !s->atomic;
            for (uint32_t i = 0; i < s->argument_count && moves; i++) {
                int64_t stride;
                moves = sinter_llvm_lane_stride(f, s->arguments[i], &stride);
            }
        }
        return moves;
    }
    case SINTER_LOOP_ASSIGN:
        return f->vars[s->var].inside;
    case SINTER_LOOP_DECLARE:
    case SINTER_LOOP_COMMENT:
        return true;
    case SINTER_LOOP_ALLOC: /* a buffer for each lane */
    case SINTER_LOOP_CALL_KERNEL:
    case SINTER_LOOP_FAIL:
    case SINTER_LOOP_EXCHANGE:
    case SINTER_LOOP_BARRIER:
    case SINTER_LOOP_COMMIT:
    case SINTER_LOOP_WAIT:
    case SINTER_LOOP_FENCE:
    case SINTER_LOOP_BOX:
    case SINTER_LOOP_WARPS:
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
    case SINTER_LOOP_REDUCE:
    case SINTER_LOOP_PREFETCH:
    case SINTER_LOOP_FREE:
    case SINTER_LOOP_BIND:
    case SINTER_LOOP_TAKE:
        return false;
    }
    return false;
}

static bool runs_in_lockstep(const sinter_llvm_function *f, const sinter_loop_stmt *first) {
    for (const sinter_loop_stmt *s = first; s; s = s->next)
        if (!statement_runs_in_lockstep(f, s)) return false;
    return true;
}

static void mark_inside(sinter_llvm_function *f, const sinter_loop_stmt *first, bool inside) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_DECLARE) {
            bool is_mutable = f->function->vars.items[s->var].is_mutable;
            f->vars[s->var] =
                (sinter_llvm_var){.inside = inside, .definition = is_mutable ? NULL : s->value};
        }
        mark_inside(f, s->body, inside);
        mark_inside(f, s->else_body, inside);
    }
}

/* ---- loops ---- */

static void emit_serial(sinter_llvm_function *f, const sinter_loop_stmt *loop) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef lower = sinter_llvm_expr(f, loop->lower), upper = sinter_llvm_expr(f, loop->upper);
    LLVMBasicBlockRef body = sinter_llvm_block(f, "loop"), done = sinter_llvm_block(f, "done");
    LLVMValueRef enter = LLVMBuildICmp(f->builder, LLVMIntSLT, lower, upper, "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(f->builder);
    LLVMBuildCondBr(f->builder, enter, body, done);
    LLVMPositionBuilderAtEnd(f->builder, body);
    LLVMValueRef index = LLVMBuildPhi(f->builder, m->i64, f->function->vars.items[loop->var].name);
    sinter_llvm_bind_var(f, loop->var, index);
    sinter_llvm_statements(f, loop->body);
    LLVMValueRef next = LLVMBuildNSWAdd(f->builder, index, sinter_llvm_int(m, loop->step), "");
    LLVMValueRef again = LLVMBuildICmp(f->builder, LLVMIntSLT, next, upper, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(f->builder);
    LLVMBuildCondBr(f->builder, again, body, done);
    LLVMAddIncoming(index, (LLVMValueRef[]){lower, next}, (LLVMBasicBlockRef[]){before, latch}, 2);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

static void emit_copies(sinter_llvm_function *f, const sinter_loop_stmt *loop) {
    int64_t lower, upper;
    if (!sinter_loop_is_const_int(loop->lower, &lower) ||
        !sinter_loop_is_const_int(loop->upper, &upper)) {
        emit_serial(f, loop);
        return;
    }
    for (int64_t i = lower; i < upper; i += loop->step) {
        sinter_llvm_bind_var(f, loop->var, sinter_llvm_int(f->module, i));
        sinter_llvm_statements(f, loop->body);
    }
}

static void emit_vector(sinter_llvm_function *f, const sinter_loop_stmt *loop) {
    int64_t lower, lanes;
    bool fits = sinter_loop_is_const_int(loop->lower, &lower) && lower == 0 && loop->step == 1 &&
                sinter_loop_is_const_int(loop->upper, &lanes) && lanes > 1 &&
                lanes <= SINTER_LOOP_MOST_LANES && !(lanes & (lanes - 1)) && !f->is_host;
    if (fits) {
        f->lane_var = loop->var;
        mark_inside(f, loop->body, true);
        fits = runs_in_lockstep(f, loop->body);
        if (!fits) {
            mark_inside(f, loop->body, false);
            f->lane_var = 0;
        }
    }
    if (!fits) {
        emit_serial(f, loop);
        return;
    }
    LLVMValueRef numbers[SINTER_LOOP_MOST_LANES];
    for (int64_t i = 0; i < lanes; i++) numbers[i] = sinter_llvm_int(f->module, i);
    f->lanes = (uint32_t)lanes;
    sinter_llvm_bind_var(f, loop->var, LLVMConstVector(numbers, f->lanes));
    sinter_llvm_statements(f, loop->body);
    mark_inside(f, loop->body, false);
    f->lanes = 0;
    f->lane_var = 0;
    sinter_llvm_forget(f);
}

static void emit_for(sinter_llvm_function *f, const sinter_loop_stmt *loop) {
    switch (loop->axis) {
    case SINTER_AXIS_SERIAL:
        emit_serial(f, loop);
        return;
    case SINTER_AXIS_UNROLL:
    case SINTER_AXIS_LDMATRIX:
    case SINTER_AXIS_MMA:
    case SINTER_AXIS_WGMMA:
        emit_copies(f, loop);
        return;
    case SINTER_AXIS_VECTOR:
        if (f->lanes)
            emit_copies(f, loop);
        else
            emit_vector(f, loop);
        return;
    case SINTER_AXIS_PARALLEL:
        emit_serial(f, loop); /* of a thread's own share */
        return;
    case SINTER_AXIS_BLOCK:
    case SINTER_AXIS_THREAD:
        sinter_llvm_fail(f->module, "kernel %s: a CPU has no block and thread axes [emit_c3]",
                         f->function->name);
        return;
    }
}

static void emit_while(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    LLVMBasicBlockRef head = sinter_llvm_block(f, "while"), body = sinter_llvm_block(f, "body"),
                      done = sinter_llvm_block(f, "done");
    LLVMBuildBr(f->builder, head);
    LLVMPositionBuilderAtEnd(f->builder, head);
    sinter_llvm_forget(f);
    LLVMBuildCondBr(f->builder, sinter_llvm_expr(f, s->value), body, done);
    LLVMPositionBuilderAtEnd(f->builder, body);
    sinter_llvm_statements(f, s->body);
    LLVMBuildBr(f->builder, head);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

/* ---- conditions ---- */

static void emit_branch(sinter_llvm_function *f, LLVMValueRef condition,
                        const sinter_loop_stmt *body, const sinter_loop_stmt *else_body) {
    LLVMBasicBlockRef then = sinter_llvm_block(f, "then"),
                      otherwise = else_body ? sinter_llvm_block(f, "else") : NULL,
                      done = sinter_llvm_block(f, "done");
    LLVMBuildCondBr(f->builder, condition, then, otherwise ? otherwise : done);
    LLVMPositionBuilderAtEnd(f->builder, then);
    sinter_llvm_statements(f, body);
    LLVMBuildBr(f->builder, done);
    if (otherwise) {
        LLVMPositionBuilderAtEnd(f->builder, otherwise);
        sinter_llvm_statements(f, else_body);
        LLVMBuildBr(f->builder, done);
    }
    LLVMPositionBuilderAtEnd(f->builder, done);
}

/* Runs the body for the lanes of `active` while there are any. */
static void emit_masked(sinter_llvm_function *f, LLVMValueRef active,
                        const sinter_loop_stmt *body) {
    if (!body) return;
    LLVMValueRef outer = f->mask;
    LLVMTypeRef type = LLVMTypeOf(active);
    f->mask = outer ? LLVMBuildAnd(f->builder, outer, active, "") : active;
    LLVMValueRef any = sinter_llvm_intrinsic(f, "llvm.vector.reduce.or", &type, 1, &f->mask, 1);
    emit_branch(f, any, body, NULL);
    f->mask = outer;
}

static void emit_if(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    LLVMValueRef condition = sinter_llvm_expr(f, s->value);
    if (!sinter_llvm_is_vector(condition)) {
        emit_branch(f, condition, s->body, s->else_body);
        return;
    }
    emit_masked(f, condition, s->body);
    if (s->else_body) emit_masked(f, LLVMBuildNot(f->builder, condition, ""), s->else_body);
}

/* ---- variables ---- */

static void emit_declare(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    const sinter_loop_var_info *info = &f->function->vars.items[s->var];
    LLVMValueRef value = sinter_llvm_expr(f, s->value);
    if (!info->is_mutable) {
        sinter_llvm_bind_var(f, s->var, value);
        return;
    }
    if (f->lanes) value = sinter_llvm_widen(f, value);
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef slot = sinter_llvm_entry_alloca(f, type, info->name);
    LLVMBuildStore(f->builder, value, slot);
    sinter_llvm_bind_var(f, s->var, slot);
    f->vars[s->var].is_slot = true;
    f->vars[s->var].type = type;
}

static void emit_assign(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    const sinter_llvm_var *var = &f->vars[s->var];
    LLVMValueRef value = sinter_llvm_expr(f, s->value);
    if (f->lanes) value = sinter_llvm_widen(f, value);
    if (f->mask)
        value = LLVMBuildSelect(f->builder, f->mask, value,
                                LLVMBuildLoad2(f->builder, var->type, var->value, ""), "");
    LLVMBuildStore(f->builder, value, var->value);
}

/* ---- memory ---- */

static void emit_alloc(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    const sinter_loop_buffer_info *info = &f->function->buffers.items[s->buffer];
    int64_t count;
    if (!sinter_loop_most_elements(f->function, info, 0, &count) ||
        count > SINTER_LOOP_MOST_SCRATCH) {
        sinter_llvm_fail(f->module, "kernel %s: scratch %s has no bound on its size [emit_c4]",
                         f->function->name, info->name);
        return;
    }
    LLVMTypeRef type =
        LLVMArrayType2(f->module->dtypes[info->dtype], count > 0 ? (uint64_t)count : 1);
    f->buffers[s->buffer] = sinter_llvm_entry_alloca(f, type, info->name);
    LLVMSetAlignment(f->buffers[s->buffer], 64);
}

/* Compare and exchange until nobody came between; the buffer is as wide as an integer. */
static void emit_atomic(sinter_llvm_function *f, const sinter_loop_stmt *s, LLVMValueRef value) {
    sinter_llvm_module *m = f->module;
    sinter_dtype dtype = f->function->buffers.items[s->buffer].dtype;
    unsigned bits = sinter_dtype_infos[dtype].bits;
    LLVMTypeRef integer = LLVMIntTypeInContext(m->context, bits), type = m->dtypes[dtype];
    LLVMValueRef address = sinter_llvm_address(f, s->buffer, s->arguments);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(f->builder), loop = sinter_llvm_block(f, "try"),
                      done = sinter_llvm_block(f, "done");
    LLVMValueRef first = LLVMBuildLoad2(f->builder, integer, address, "");
    LLVMSetOrdering(first, LLVMAtomicOrderingMonotonic);
    LLVMSetAlignment(first, bits / 8);
    LLVMBuildBr(f->builder, loop);
    LLVMPositionBuilderAtEnd(f->builder, loop);
    LLVMValueRef seen = LLVMBuildPhi(f->builder, integer, "");
    LLVMValueRef old = dtype == SINTER_DTYPE_bool ? LLVMBuildTrunc(f->builder, seen, m->i1, "")
                                                  : LLVMBuildBitCast(f->builder, seen, type, "");
    LLVMValueRef result = sinter_llvm_call(f, s->combine, dtype, (LLVMValueRef[]){old, value}, 2);
    result = dtype == SINTER_DTYPE_bool ? LLVMBuildZExt(f->builder, result, integer, "")
                                        : LLVMBuildBitCast(f->builder, result, integer, "");
    LLVMValueRef exchange =
        LLVMBuildAtomicCmpXchg(f->builder, address, seen, result, LLVMAtomicOrderingMonotonic,
                               LLVMAtomicOrderingMonotonic, false);
    LLVMValueRef now = LLVMBuildExtractValue(f->builder, exchange, 0, "");
    LLVMBuildCondBr(f->builder, LLVMBuildExtractValue(f->builder, exchange, 1, ""), done, loop);
    LLVMAddIncoming(seen, (LLVMValueRef[]){first, now}, (LLVMBasicBlockRef[]){before, loop}, 2);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

static void emit_store(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    LLVMValueRef value = sinter_llvm_expr(f, s->value);
    if (s->combine == SINTER_SCALAR_NONE) {
        sinter_llvm_store(f, s->buffer, s->arguments, value);
    } else if (s->atomic && f->in_parallel) {
        emit_atomic(f, s, value);
    } else {
        LLVMValueRef old = sinter_llvm_load(f, s->buffer, s->arguments);
        LLVMValueRef arguments[] = {old, value};
        sinter_dtype dtype = f->function->buffers.items[s->buffer].dtype;
        sinter_llvm_store(f, s->buffer, s->arguments,
                          sinter_llvm_call(f, s->combine, dtype, arguments, 2));
    }
}

/* ---- the list ---- */

static void emit_fail(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef *arguments = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, s->argument_count);
    for (uint32_t i = 0; i < s->argument_count; i++)
        arguments[i] = sinter_llvm_expr(f, s->arguments[i]);
    sinter_llvm_record_failure(f, s->code, s->text, arguments, s->argument_count);
    if (f->failure)
        LLVMBuildBr(f->builder, f->failure);
    else if (f->in_parallel)
        LLVMBuildRetVoid(f->builder);
    else
        LLVMBuildRet(f->builder, sinter_llvm_int32(m, s->code));
    LLVMPositionBuilderAtEnd(f->builder, sinter_llvm_block(f, "unreached"));
}

/* The words of an exchange, in memory of the frame. */
static LLVMValueRef emit_words(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_exchange *x = &s->exchange;
    LLVMValueRef count = sinter_llvm_expr(f, s->value);
    LLVMTypeRef type = LLVMArrayType2(m->i64, sizeof(sinter_abi_exchange) / 8);
    LLVMValueRef words = sinter_llvm_entry_alloca(f, type, "words");
    const struct {
        size_t offset;
        LLVMValueRef value;
    } fields[] = {
        {offsetof(sinter_abi_exchange, kind), sinter_llvm_int32(m, x->kind | x->phase)},
        {offsetof(sinter_abi_exchange, reduction), sinter_llvm_int32(m, x->reduction)},
        {offsetof(sinter_abi_exchange, dtype), sinter_llvm_int32(m, x->dtype)},
        {offsetof(sinter_abi_exchange, index), sinter_llvm_int32(m, (int32_t)x->index)},
        {offsetof(sinter_abi_exchange, over), sinter_llvm_int(m, (int64_t)x->over)},
        {offsetof(sinter_abi_exchange, count), count},
        {offsetof(sinter_abi_exchange, source), f->buffers[s->source]},
        {offsetof(sinter_abi_exchange, target), f->buffers[s->buffer]},
        {offsetof(sinter_abi_exchange, from), sinter_llvm_int32(m, x->from)},
        {offsetof(sinter_abi_exchange, to), sinter_llvm_int32(m, x->to)},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        LLVMBuildStore(f->builder, fields[i].value, sinter_llvm_field(f, words, fields[i].offset));
    return words;
}

/* services->exchange(call, words); where there is none the run fails. A device's table has one of its own. */
static void emit_exchange(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef words = emit_words(f, s);
    if (m->images) {
        sinter_llvm_device_exchange(f, words, &f->function->buffers.items[s->buffer]);
        return;
    }
    LLVMBasicBlockRef alone, failed = sinter_llvm_block(f, "failed"),
                             on = sinter_llvm_block(f, "on");
    LLVMValueRef user,
        function =
            sinter_llvm_load_service(f, offsetof(sinter_abi_services, exchange), &user, &alone);
    LLVMTypeRef types[] = {m->pointer, m->pointer};
    LLVMValueRef code = LLVMBuildCall2(f->builder, LLVMFunctionType(m->i32, types, 2, false),
                                       function, (LLVMValueRef[]){f->call, words}, 2, "");
    LLVMBuildCondBr(f->builder, LLVMBuildIsNotNull(f->builder, code, ""), failed, on);
    LLVMPositionBuilderAtEnd(f->builder, failed);
    LLVMBuildRet(f->builder, code);
    LLVMPositionBuilderAtEnd(f->builder, alone);
    sinter_llvm_record_failure(f, SINTER_ABI_FAILED,
                               "a program of several ranks needs the others to run", NULL, 0);
    LLVMBuildRet(f->builder, sinter_llvm_int32(m, SINTER_ABI_FAILED));
    LLVMPositionBuilderAtEnd(f->builder, on);
}

static void emit_statement(sinter_llvm_function *f, const sinter_loop_stmt *s) {
    switch (s->kind) {
    case SINTER_LOOP_FOR:
        emit_for(f, s);
        return;
    case SINTER_LOOP_IF:
        emit_if(f, s);
        return;
    case SINTER_LOOP_WHILE:
        emit_while(f, s);
        return;
    case SINTER_LOOP_STORE:
        emit_store(f, s);
        return;
    case SINTER_LOOP_DECLARE:
        emit_declare(f, s);
        return;
    case SINTER_LOOP_ASSIGN:
        emit_assign(f, s);
        return;
    case SINTER_LOOP_FAIL:
        emit_fail(f, s);
        return;
    case SINTER_LOOP_COMMENT:
        return;
    case SINTER_LOOP_PREFETCH:
        sinter_llvm_prefetch(f, s->buffer, s->arguments);
        return;
    case SINTER_LOOP_ALLOC:
        if (!f->is_host) {
            emit_alloc(f, s);
            return;
        }
        break;
    case SINTER_LOOP_CALL_KERNEL:
    case SINTER_LOOP_FREE:
    case SINTER_LOOP_BIND:
    case SINTER_LOOP_TAKE:
        if (f->is_host) break;
        sinter_llvm_fail(f->module, "kernel %s: a host statement in a kernel [emit_c5]",
                         f->function->name);
        return;
    case SINTER_LOOP_EXCHANGE:
        emit_exchange(f, s);
        return;
    case SINTER_LOOP_BARRIER:
    case SINTER_LOOP_COMMIT:
    case SINTER_LOOP_WAIT:
    case SINTER_LOOP_FENCE:
    case SINTER_LOOP_BOX:
    case SINTER_LOOP_WARPS:
    case SINTER_LOOP_ARRIVE:
    case SINTER_LOOP_AWAIT:
    case SINTER_LOOP_REDUCE:
        sinter_llvm_fail(f->module, "kernel %s: a CPU has no block barrier [emit_c6]",
                         f->function->name);
        return;
    }
    sinter_llvm_host_statement(f, s);
}

void sinter_llvm_statements(sinter_llvm_function *f, const sinter_loop_stmt *first) {
    bool threads = !f->is_host && !f->in_parallel && !f->lanes;
    for (const sinter_loop_stmt *s = first; s && !f->module->broken; s = s->next) {
        sinter_llvm_forget(f);
        const sinter_loop_stmt *last =
            s->kind == SINTER_LOOP_STORE ? sinter_llvm_store_word(f, s) : NULL;
        if (last)
            s = last;
        else if (threads && s->kind == SINTER_LOOP_FOR && s->axis == SINTER_AXIS_PARALLEL)
            s = sinter_llvm_parallel_for(f, s);
        else
            emit_statement(f, s);
    }
    sinter_llvm_forget(f);
}
