/* What is different on the host where kernels run on a device: memory, launches and reads go through call->device, and the
 * descriptor carries the kernels' code (abi.h). A kernel of the program is a function here that fills in a launch; its grid
 * is made of the same expressions as its axes. Test: tests/codegen/emit_cuda/ */
#include "codegen/emit/llvm_host.h"
#include "codegen/loops/rewrite.h"
#include "runtime/abi.h"

#include <assert.h>

/* ---- the table of the call ---- */

static LLVMValueRef device_of(sinter_llvm_function *f) {
    return sinter_llvm_load_field(f, f->module->pointer, f->call,
                                  offsetof(sinter_abi_call, device));
}

LLVMValueRef sinter_llvm_device_field(sinter_llvm_function *f, size_t offset) {
    return sinter_llvm_load_field(f, f->module->pointer, device_of(f), offset);
}

/* device->entry(device->user, arguments...) */
static LLVMValueRef call_device(sinter_llvm_function *f, size_t entry, LLVMTypeRef result,
                                const LLVMValueRef *arguments, unsigned count) {
    LLVMTypeRef types[6];
    LLVMValueRef values[6];
    assert(count < 6);
    LLVMValueRef device = device_of(f);
    values[0] =
        sinter_llvm_load_field(f, f->module->pointer, device, offsetof(sinter_abi_device, user));
    for (unsigned i = 0; i < count; i++) values[1 + i] = arguments[i];
    for (unsigned i = 0; i <= count; i++) types[i] = LLVMTypeOf(values[i]);
    LLVMValueRef function = sinter_llvm_load_field(f, f->module->pointer, device, entry);
    return LLVMBuildCall2(f->builder, LLVMFunctionType(result, types, count + 1, false), function,
                          values, count + 1, "");
}

LLVMValueRef sinter_llvm_device_allocate(sinter_llvm_function *f, LLVMValueRef bytes) {
    return call_device(f, offsetof(sinter_abi_device, allocate), f->module->pointer, &bytes, 1);
}

void sinter_llvm_device_release(sinter_llvm_function *f, LLVMValueRef pointer) {
    call_device(f, offsetof(sinter_abi_device, deallocate), f->module->void_type, &pointer, 1);
}

LLVMValueRef sinter_llvm_device_output(sinter_llvm_function *f, int32_t index, LLVMValueRef bytes) {
    LLVMValueRef arguments[] = {sinter_llvm_int32(f->module, index), bytes};
    return call_device(f, offsetof(sinter_abi_device, output), f->module->pointer, arguments, 2);
}

/* Where the code is not 0 the call has it, and the run ends. */
static void require_success(sinter_llvm_function *f, LLVMValueRef code) {
    LLVMBasicBlockRef bad = sinter_llvm_block(f, "bad"), good = sinter_llvm_block(f, "good");
    LLVMBuildCondBr(f->builder, LLVMBuildIsNull(f->builder, code, ""), good, bad);
    LLVMPositionBuilderAtEnd(f->builder, bad);
    sinter_llvm_store_field(f, code, f->call, offsetof(sinter_abi_call, code));
    if (f->failure)
        LLVMBuildBr(f->builder, f->failure);
    else
        LLVMBuildRet(f->builder, code);
    LLVMPositionBuilderAtEnd(f->builder, good);
}

LLVMValueRef sinter_llvm_device_read(sinter_llvm_function *f, LLVMValueRef address,
                                     LLVMTypeRef type, uint32_t bytes) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef slot = sinter_llvm_entry_alloca(f, type, "read");
    LLVMValueRef arguments[] = {slot, address, sinter_llvm_int(m, bytes),
                                sinter_llvm_int32(m, SINTER_ABI_COPY_TO_HOST)};
    require_success(f, call_device(f, offsetof(sinter_abi_device, copy), m->i32, arguments, 4));
    return LLVMBuildLoad2(f->builder, type, slot, "");
}

void sinter_llvm_device_exchange(sinter_llvm_function *f, LLVMValueRef words,
                                 const sinter_loop_buffer_info *target) {
    sinter_llvm_module *m = f->module;
    const size_t entry = offsetof(sinter_abi_device, exchange);
    LLVMValueRef size =
        sinter_llvm_load_field(f, m->i32, device_of(f), offsetof(sinter_abi_device, size));
    LLVMValueRef there =
        LLVMBuildICmp(f->builder, LLVMIntUGT, size, sinter_llvm_int32(m, (int32_t)entry), "");
    sinter_llvm_require(f, there, SINTER_ABI_FAILED,
                        "the runtime is too old: it has no exchanges of ranks on devices", NULL, 0);
    LLVMValueRef arguments[] = {words, sinter_llvm_int(m, 1)};
    for (uint32_t i = 0; i < target->rank; i++)
        arguments[1] =
            LLVMBuildMul(f->builder, arguments[1], sinter_llvm_expr(f, target->dims[i]), "");
    const uint32_t bits = sinter_dtype_infos[target->dtype].bits;
    if (bits < 8)
        arguments[1] = LLVMBuildUDiv(f->builder, arguments[1], sinter_llvm_int(m, 8 / bits), "");
    require_success(f, call_device(f, entry, m->i32, arguments, 2));
}

/* ---- launches ---- */

static void store_coordinate(sinter_llvm_function *f, LLVMValueRef launch, size_t offset,
                             uint32_t axis, LLVMValueRef value) {
    sinter_llvm_store_field(f, value, launch, offset + axis * sizeof(uint32_t));
}

/* The count of blocks along an axis as i32; the launch is left out where there are none, and fails where they are too many. */
static LLVMValueRef emit_extent(sinter_llvm_function *f, sinter_expr count, uint32_t axis,
                                LLVMBasicBlockRef none) {
    sinter_llvm_module *m = f->module;
    if (!count) return sinter_llvm_int32(m, 1);
    LLVMValueRef value = sinter_llvm_expr(f, count);
    LLVMBasicBlockRef some = sinter_llvm_block(f, "some");
    LLVMValueRef positive = LLVMBuildICmp(f->builder, LLVMIntSGT, value, sinter_llvm_int(m, 0), "");
    LLVMBuildCondBr(f->builder, positive, some, none);
    LLVMPositionBuilderAtEnd(f->builder, some);
    LLVMValueRef limit = sinter_llvm_int(m, axis ? UINT16_MAX : INT32_MAX);
    sinter_llvm_require(f, LLVMBuildICmp(f->builder, LLVMIntSLE, value, limit, ""),
                        SINTER_ABI_OVERFLOW, "a kernel of %0 blocks; a launch has %1 at most",
                        (LLVMValueRef[]){value, limit}, 2);
    return LLVMBuildTrunc(f->builder, value, m->i32, "");
}

static LLVMValueRef as_word(sinter_llvm_function *f, LLVMValueRef value) {
    LLVMTypeRef type = LLVMTypeOf(value);
    if (LLVMGetTypeKind(type) == LLVMPointerTypeKind)
        return LLVMBuildPtrToInt(f->builder, value, f->module->i64, "");
    return type == f->module->i1 ? LLVMBuildZExt(f->builder, value, f->module->i64, "")
                                 : LLVMBuildSExtOrBitCast(f->builder, value, f->module->i64, "");
}

/* What launches of kernels that copy boxes tell of the inputs: an array of maps, NULL where there are none. */
static LLVMValueRef emit_maps(sinter_llvm_function *f, const sinter_device_launch *launch) {
    sinter_llvm_module *m = f->module;
    if (!launch->map_count) return LLVMConstNull(m->pointer);
    LLVMValueRef size =
        sinter_llvm_load_field(f, m->i32, device_of(f), offsetof(sinter_abi_device, size));
    const size_t entry = offsetof(sinter_abi_device, most_maps);
    LLVMValueRef there =
        LLVMBuildICmp(f->builder, LLVMIntUGT, size, sinter_llvm_int32(m, (int32_t)entry), "");
    sinter_llvm_require(f, there, SINTER_ABI_FAILED,
                        "the runtime is too old: it has no maps for copies of boxes", NULL, 0);
    const size_t each = sizeof(sinter_abi_map);
    static_assert((int)SINTER_DEVICE_MAX_MAPS <= (int)SINTER_ABI_MOST_MAPS,
                  "every launch has room");
    LLVMValueRef place =
        sinter_llvm_entry_alloca(f, LLVMArrayType2(m->i64, launch->map_count * each / 8), "maps");
    for (uint32_t i = 0; i < launch->map_count; i++) {
        const sinter_device_map *map = &launch->maps[i];
        LLVMValueRef bytes = sinter_llvm_int(m, map->element_bytes);
        sinter_llvm_store_field(f, as_word(f, LLVMGetParam(f->value, map->parameter + 1)), place,
                                i * each + offsetof(sinter_abi_map, address));
        for (uint32_t k = 0; k < map->rank; k++) {
            sinter_llvm_store_field(f, sinter_llvm_expr(f, map->dims[k]), place,
                                    i * each + offsetof(sinter_abi_map, dims) + k * 8);
            LLVMValueRef stride =
                LLVMBuildMul(f->builder, sinter_llvm_expr(f, map->strides[k]), bytes, "");
            sinter_llvm_store_field(f, stride, place,
                                    i * each + offsetof(sinter_abi_map, strides) + k * 8);
            sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)map->sizes[k]), place,
                                    i * each + offsetof(sinter_abi_map, sizes) + k * 4);
        }
        sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)map->rank), place,
                                i * each + offsetof(sinter_abi_map, rank));
    }
    return place;
}

void sinter_llvm_emit_launch(sinter_llvm_function *f, uint32_t index) {
    sinter_llvm_module *m = f->module;
    sinter_loop_function *kernel = m->program->kernels.items[index];
    sinter_device_launch launch;
    if (!sinter_device_find_launch((sinter_loop_program *)(uintptr_t)m->program, kernel, &launch,
                                   m->diag)) {
        m->broken = true;
        return;
    }
    const bool some_fail = m->messages[m->program->kernels.count] != 0,
               fails = m->messages[index + 1] > m->messages[index];
    unsigned parameters = LLVMCountParams(f->value) - 1, count = parameters + some_fail + fails;
    LLVMTypeRef bytes = LLVMArrayType2(m->i64, sizeof(sinter_abi_launch) / 8);
    LLVMValueRef place = sinter_llvm_entry_alloca(f, bytes, "launch");
    LLVMValueRef arguments =
        sinter_llvm_entry_alloca(f, LLVMArrayType2(m->i64, count ? count : 1), "arguments");
    LLVMBasicBlockRef done = sinter_llvm_block(f, "done");
    for (uint32_t i = 0; i < 3; i++) {
        store_coordinate(f, place, offsetof(sinter_abi_launch, grid), i,
                         emit_extent(f, launch.grid[i], i, done));
        store_coordinate(f, place, offsetof(sinter_abi_launch, block), i,
                         sinter_llvm_int32(m, (int32_t)launch.block[i]));
    }
    for (unsigned i = 0; i < parameters; i++)
        sinter_llvm_store_field(f, as_word(f, LLVMGetParam(f->value, i + 1)), arguments, i * 8);
    if (some_fail)
        sinter_llvm_store_field(
            f, as_word(f, sinter_llvm_device_field(f, offsetof(sinter_abi_device, failure))),
            arguments, parameters * 8);
    if (fails)
        sinter_llvm_store_field(f, sinter_llvm_int(m, m->messages[index]), arguments,
                                (parameters + 1) * 8);
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)index), place,
                            offsetof(sinter_abi_launch, kernel));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)launch.shared_bytes), place,
                            offsetof(sinter_abi_launch, shared_bytes));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)count), place,
                            offsetof(sinter_abi_launch, argument_count));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)launch.map_count), place,
                            offsetof(sinter_abi_launch, map_count));
    sinter_llvm_store_field(f, emit_maps(f, &launch), place, offsetof(sinter_abi_launch, maps));
    sinter_llvm_store_field(f, arguments, place, offsetof(sinter_abi_launch, arguments));
    require_success(f, call_device(f, offsetof(sinter_abi_device, launch), m->i32, &place, 1));
    LLVMBuildBr(f->builder, done);
    LLVMPositionBuilderAtEnd(f->builder, done);
}

/* ---- the descriptor ---- */

static LLVMValueRef image_constants(sinter_llvm_module *m) {
    const sinter_device_images *images = m->images;
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, images->count);
    for (uint32_t i = 0; i < images->count; i++) {
        const sinter_device_image *image = &images->items[i];
        LLVMValueRef bytes = sinter_llvm_constant(
            m, LLVMConstStringInContext2(m->context, image->bytes.data, image->bytes.size, true));
        LLVMSetAlignment(bytes, 64);
        LLVMValueRef fields[] = {sinter_llvm_int32(m, (int32_t)image->module),
                                 sinter_llvm_int32(m, (int32_t)image->architecture),
                                 sinter_llvm_int32(m, (int32_t)image->kind),
                                 sinter_llvm_int32(m, 0),
                                 bytes,
                                 sinter_llvm_int(m, (int64_t)image->bytes.size)};
        static_assert(sizeof(sinter_abi_image) == 32, "fields of sinter_abi_image");
        rows[i] = LLVMConstStructInContext(m->context, fields, 6, false);
    }
    return sinter_llvm_rows(m, rows, images->count);
}

static LLVMValueRef kernel_rows(sinter_llvm_module *m) {
    uint32_t count = (uint32_t)m->program->kernels.count;
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    for (uint32_t i = 0; i < count; i++) {
        sinter_loop_function *kernel = m->program->kernels.items[i];
        sinter_device_launch launch = {0};
        const char *symbol = sinter_device_symbol(m->program, i, m->arena);
        if (!sinter_device_is_host_step(kernel) &&
            !sinter_device_find_launch((sinter_loop_program *)(uintptr_t)m->program, kernel,
                                       &launch, m->diag))
            m->broken = true;
        LLVMValueRef fields[] = {sinter_llvm_text(m, symbol),
                                 sinter_llvm_int32(m, (int32_t)m->images->modules[i]),
                                 sinter_llvm_int32(m, (int32_t)launch.shared_bytes)};
        static_assert(sizeof(sinter_abi_device_kernel) == 16, "fields of sinter_abi_device_kernel");
        rows[i] = LLVMConstStructInContext(m->context, fields, 3, false);
    }
    return sinter_llvm_rows(m, rows, count);
}

static LLVMValueRef host_inputs(sinter_llvm_module *m) {
    size_t count = m->program->inputs.count;
    char *flags = SINTER_NEW_ARRAY(m->arena, char, count + 1);
    bool some = false;
    for (size_t i = 0; i < m->program->symbols.count; i++) {
        const sinter_loop_symbol *symbol = &m->program->symbols.items[i];
        if (!symbol->content) continue;
        flags[symbol->input] = 1;
        some = true;
    }
    if (!some) return LLVMConstNull(m->pointer);
    return sinter_llvm_constant(m, LLVMConstStringInContext2(m->context, flags, count, true));
}

/* Whether the list takes no memory on the way; out_flags loses what does not hold. Loops and branches depend on sizes alone where the host reads
 * nothing. */
static void check_repeats(const sinter_loop_program *program, const sinter_loop_stmt *first,
                          int32_t *out_flags) {
    for (const sinter_loop_stmt *s = first; s && *out_flags; s = s->next) {
        if (s->kind == SINTER_LOOP_ALLOC && !s->value &&
            program->host->buffers.items[s->buffer].scope != SINTER_SCOPE_OUTPUT)
            *out_flags = 0;
        if (s->kind == SINTER_LOOP_CALL_KERNEL &&
            sinter_device_is_host_step(program->kernels.items[s->kernel]))
            *out_flags &= ~SINTER_ABI_DEVICE_STATIC;
        check_repeats(program, s->body, out_flags);
        check_repeats(program, s->else_body, out_flags);
    }
}

/* The run asks nothing of the device, and takes no memory on the way. */
static int32_t repeat_flags(const sinter_loop_program *program) {
    const sinter_loop_function *host = program->host;
    int32_t flags = SINTER_ABI_DEVICE_STATIC | SINTER_ABI_DEVICE_PIECES;
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_loop_access_list list = {0};
    sinter_loop_collect_accesses(&scratch, host->body, &list);
    if (list.count) flags = 0;
    sinter_arena_deinit(&scratch);
    check_repeats(program, host->body, &flags);
    return flags & SINTER_ABI_DEVICE_STATIC ? SINTER_ABI_DEVICE_STATIC : flags;
}

static void explain_list(sinter_llvm_function *f, LLVMValueRef record, LLVMValueRef message,
                         const char *place, const sinter_loop_stmt *first, int32_t *number) {
    for (const sinter_loop_stmt *s = first; s; s = s->next) {
        if (s->kind == SINTER_LOOP_FAIL) {
            LLVMBasicBlockRef same = sinter_llvm_block(f, "same"),
                              next = sinter_llvm_block(f, "next");
            LLVMValueRef is_this = LLVMBuildICmp(f->builder, LLVMIntEQ, message,
                                                 sinter_llvm_int32(f->module, (*number)++), "");
            LLVMBuildCondBr(f->builder, is_this, same, next);
            LLVMPositionBuilderAtEnd(f->builder, same);
            LLVMValueRef values[SINTER_DEVICE_MAX_VALUES];
            uint32_t count = s->argument_count < SINTER_DEVICE_MAX_VALUES
                                 ? s->argument_count
                                 : SINTER_DEVICE_MAX_VALUES;
            for (uint32_t i = 0; i < count; i++)
                values[i] = sinter_llvm_load_field(
                    f, f->module->i64, record, offsetof(sinter_abi_device_failure, values) + i * 8);
            const char *text = sinter_arena_format(f->module->arena, "%s%s", s->text, place);
            sinter_llvm_record_failure(f, s->code, text, values, count);
            LLVMBuildBr(f->builder, next);
            LLVMPositionBuilderAtEnd(f->builder, next);
        }
        explain_list(f, record, message, place, s->body, number);
        explain_list(f, record, message, place, s->else_body, number);
    }
}

/* Of a kernel: its calls, and what the last one computes. */
typedef struct kernel_calls {
    uint32_t count;
    const char *nodes;
} kernel_calls;

static bool count_call(void *user, sinter_loop_stmt *stmt) {
    kernel_calls *calls = user;
    if (stmt->kind == SINTER_LOOP_CALL_KERNEL) {
        calls[stmt->kernel].count++;
        calls[stmt->kernel].nodes = stmt->text;
    }
    return true;
}

/* void explain(call, failure): the messages of all kernels, in the order in which the text numbers them. */
static LLVMValueRef emit_explain(sinter_llvm_module *m) {
    LLVMTypeRef types[] = {m->pointer, m->pointer};
    LLVMValueRef function = sinter_llvm_add_function(
        m, "sinter.explain", LLVMFunctionType(m->void_type, types, 2, false));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    sinter_llvm_leave_plain(m, function);
    sinter_llvm_function f;
    sinter_llvm_begin(&f, m, m->program->host, function);
    f.call = LLVMGetParam(function, 0);
    sinter_llvm_store_field(&f, sinter_llvm_int32(m, 0), f.call, offsetof(sinter_abi_call, code));
    LLVMValueRef record = LLVMGetParam(function, 1);
    LLVMValueRef message =
        sinter_llvm_load_field(&f, m->i32, record, offsetof(sinter_abi_device_failure, message));
    kernel_calls *calls = SINTER_NEW_ARRAY(m->arena, kernel_calls, m->program->kernels.count);
    sinter_loop_walk(m->program->host->body, count_call, calls);
    int32_t number = 0;
    for (size_t i = 0; i < m->program->kernels.count; i++) {
        const sinter_loop_function *kernel = m->program->kernels.items[i];
        /* The device tells the kernel, not the call. */
        const char *nodes = calls[i].count == 1 ? calls[i].nodes : NULL;
        const char *place = sinter_loop_failure_place(m->arena, nodes);
        explain_list(&f, record, message, sinter_loop_fail_text(m->arena, place), kernel->body,
                     &number);
    }
    LLVMBuildRetVoid(f.builder);
    sinter_llvm_end(&f);
    return function;
}

LLVMValueRef sinter_llvm_emit_device_code(sinter_llvm_module *m) {
    LLVMValueRef fields[] = {
        sinter_llvm_int32(m, sizeof(sinter_abi_device_code)),
        sinter_llvm_int32(m, repeat_flags(m->program)),
        sinter_llvm_int32(m, (int32_t)m->images->module_count),
        sinter_llvm_int32(m, (int32_t)m->images->count),
        sinter_llvm_text(m, "cuda"),
        image_constants(m),
        kernel_rows(m),
        host_inputs(m),
        emit_explain(m),
    };
    static_assert(sizeof(sinter_abi_device_code) == 56, "fields of sinter_abi_device_code");
    return sinter_llvm_constant(m, LLVMConstStructInContext(m->context, fields, 9, false));
}
