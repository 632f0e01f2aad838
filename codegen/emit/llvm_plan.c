/* plan(call) and the artifact descriptor in LLVM.
 *
 * plan checks element types, ranks and dims of the inputs, solves the symbols from them (or from the contents of small
 * integer inputs), and fills in output dims and the workspace size. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm_host.h"
#include "runtime/abi.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- plan ---- */

static LLVMValueRef load_dim(sinter_llvm_function *f, LLVMValueRef tensor, uint32_t axis) {
    return sinter_llvm_load_field(f, f->module->i64, tensor,
                                  offsetof(sinter_abi_tensor, dims) + axis * sizeof(int64_t));
}

static void check_equal(sinter_llvm_function *f, LLVMValueRef got, LLVMValueRef expected,
                        const char *message) {
    LLVMValueRef equal = LLVMBuildICmp(f->builder, LLVMIntEQ, got, expected, "");
    sinter_llvm_require(f, equal, SINTER_ABI_BAD_INPUT, message, (LLVMValueRef[]){got, expected},
                        2);
}

static void check_input_type(sinter_llvm_function *f, size_t index) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_io *io = &m->program->inputs.items[index];
    const sinter_dtype_info *info = &sinter_dtype_infos[io->dtype];
    LLVMValueRef tensor = sinter_llvm_tensor(f, f->host->inputs, index);
    LLVMValueRef dtype =
        sinter_llvm_load_field(f, m->i32, tensor, offsetof(sinter_abi_tensor, dtype));
    LLVMValueRef rank =
        sinter_llvm_load_field(f, m->i32, tensor, offsetof(sinter_abi_tensor, rank));
    check_equal(f, LLVMBuildSExt(f->builder, dtype, m->i64, ""),
                sinter_llvm_int(m, info->onnx_code),
                sinter_arena_format(m->arena,
                                    "input '%s': expected element type %s (ONNX code %%1), "
                                    "found code %%0",
                                    io->name, info->name));
    check_equal(
        f, LLVMBuildSExt(f->builder, rank, m->i64, ""), sinter_llvm_int(m, io->rank),
        sinter_arena_format(m->arena, "input '%s': expected rank %%1, found rank %%0", io->name));
    for (uint32_t k = 0; k < io->rank; k++) {
        LLVMValueRef natural = LLVMBuildICmp(f->builder, LLVMIntSGE, load_dim(f, tensor, k),
                                             sinter_llvm_int(m, 0), "");
        sinter_llvm_require(
            f, natural, SINTER_ABI_BAD_INPUT,
            sinter_arena_format(m->arena, "input '%s': dim %u is negative", io->name, k), NULL, 0);
        if (io->dims[k] >= 0)
            check_equal(f, load_dim(f, tensor, k), sinter_llvm_int(m, io->dims[k]),
                        sinter_arena_format(m->arena,
                                            "input '%s': expected dim %u of %%1, found %%0",
                                            io->name, k));
    }
}

/* An element of a few bits, which begins at `at` of the byte: moved to the top, and down again with its sign. */
static LLVMValueRef load_packed(sinter_llvm_function *f, const sinter_dtype_info *info,
                                LLVMValueRef data, uint32_t index) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef offset = sinter_llvm_int(m, index * info->bits / 8);
    LLVMValueRef byte = LLVMBuildLoad2(
        f->builder, m->i8, LLVMBuildInBoundsGEP2(f->builder, m->i8, data, &offset, 1, ""), "");
    uint32_t at = index * info->bits % 8;
    LLVMValueRef top = LLVMBuildShl(f->builder, LLVMBuildZExt(f->builder, byte, m->i64, ""),
                                    sinter_llvm_int(m, 64 - info->bits - at), "");
    LLVMValueRef down = sinter_llvm_int(m, 64 - info->bits);
    return info->class == SINTER_CLASS_INT ? LLVMBuildAShr(f->builder, top, down, "")
                                           : LLVMBuildLShr(f->builder, top, down, "");
}

/* An element of an integer input, whose data must be there already. */
static LLVMValueRef load_content(sinter_llvm_function *f, const sinter_loop_symbol *symbol) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_io *io = &m->program->inputs.items[symbol->input];
    LLVMValueRef tensor = sinter_llvm_tensor(f, f->host->inputs, symbol->input);
    LLVMValueRef data =
        sinter_llvm_load_field(f, m->pointer, tensor, offsetof(sinter_abi_tensor, data));
    LLVMValueRef bytes =
        sinter_llvm_load_field(f, m->i64, tensor, offsetof(sinter_abi_tensor, bytes));
    const sinter_dtype_info *info = &sinter_dtype_infos[io->dtype];
    int64_t end = (((int64_t)symbol->index + 1) * info->bits + 7) / 8;
    LLVMValueRef enough = LLVMBuildICmp(f->builder, LLVMIntUGE, bytes, sinter_llvm_int(m, end), "");
    LLVMValueRef there =
        LLVMBuildAnd(f->builder, enough, LLVMBuildIsNotNull(f->builder, data, ""), "");
    sinter_llvm_require(f, there, SINTER_ABI_BAD_INPUT,
                        sinter_arena_format(m->arena,
                                            "input '%s': dims depend on its data, which is missing",
                                            io->name),
                        NULL, 0);
    if (info->bits < 8) return load_packed(f, info, data, symbol->index);
    LLVMTypeRef type = m->dtypes[io->dtype];
    LLVMValueRef index = sinter_llvm_int(m, symbol->index);
    LLVMValueRef element = LLVMBuildLoad2(
        f->builder, type, LLVMBuildInBoundsGEP2(f->builder, type, data, &index, 1, ""), "");
    if (io->dtype == SINTER_DTYPE_bool) return LLVMBuildZExt(f->builder, element, m->i64, "");
    return sinter_llvm_cast(f, element, io->dtype, SINTER_DTYPE_i64, false);
}

static void check_symbol(sinter_llvm_function *f, const sinter_loop_symbol *symbol,
                         LLVMValueRef value) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef limits[] = {value, sinter_llvm_int(m, symbol->min)};
    if (symbol->min > (symbol->content ? INT64_MIN : 0))
        sinter_llvm_require(
            f, LLVMBuildICmp(f->builder, LLVMIntSGE, value, limits[1], ""), SINTER_ABI_BAD_INPUT,
            sinter_arena_format(m->arena, "%s is %%0 and must be at least %%1", symbol->name),
            limits, 2);
    limits[1] = sinter_llvm_int(m, symbol->max);
    if (symbol->max < INT64_MAX)
        sinter_llvm_require(
            f, LLVMBuildICmp(f->builder, LLVMIntSLE, value, limits[1], ""), SINTER_ABI_BAD_INPUT,
            sinter_arena_format(m->arena, "%s is %%0 and must be at most %%1", symbol->name),
            limits, 2);
    if (symbol->multiple <= 1) return;
    limits[1] = sinter_llvm_int(m, symbol->multiple);
    LLVMValueRef rest = LLVMBuildSRem(f->builder, value, limits[1], "");
    sinter_llvm_require(
        f, LLVMBuildIsNull(f->builder, rest, ""), SINTER_ABI_BAD_INPUT,
        sinter_arena_format(m->arena, "%s is %%0 and must be a multiple of %%1", symbol->name),
        limits, 2);
}

static void bind_symbols(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef symbols =
        sinter_llvm_load_field(f, m->pointer, f->call, offsetof(sinter_abi_call, symbols));
    for (size_t i = 0; i < m->program->symbols.count; i++) {
        const sinter_loop_symbol *symbol = &m->program->symbols.items[i];
        LLVMValueRef value =
            symbol->content
                ? load_content(f, symbol)
                : load_dim(f, sinter_llvm_tensor(f, f->host->inputs, symbol->input), symbol->index);
        check_symbol(f, symbol, value);
        sinter_llvm_store_field(f, value, symbols, i * sizeof(int64_t));
        sinter_llvm_bind_var(f, f->function->scalar_parameters.items[i], value);
    }
}

static void check_dims(sinter_llvm_function *f) {
    sinter_llvm_module *m = f->module;
    for (size_t i = 0; i < m->program->checks.count; i++) {
        const sinter_loop_check *check = &m->program->checks.items[i];
        if (check->expected->kind == SINTER_LOOP_CONST) continue; /* of the type, checked already */
        const char *name = m->program->inputs.items[check->input].name;
        LLVMValueRef expected = sinter_llvm_checked_expr(
            f, check->expected,
            sinter_arena_format(m->arena, "dim %u of input '%s'", check->axis, name));
        LLVMValueRef got =
            load_dim(f, sinter_llvm_tensor(f, f->host->inputs, check->input), check->axis);
        check_equal(f, got, expected,
                    sinter_arena_format(m->arena, "input '%s': expected dim %u of %%1, found %%0",
                                        name, check->axis));
    }
}

static void fill_output(sinter_llvm_function *f, size_t index) {
    sinter_llvm_module *m = f->module;
    const sinter_loop_io *io = &m->program->outputs.items[index];
    LLVMValueRef tensor = sinter_llvm_tensor(f, f->host->outputs, index);
    sinter_llvm_store_field(f, sinter_llvm_int32(m, (int32_t)io->rank), tensor,
                            offsetof(sinter_abi_tensor, rank));
    sinter_llvm_store_field(f, sinter_llvm_int32(m, sinter_dtype_infos[io->dtype].onnx_code),
                            tensor, offsetof(sinter_abi_tensor, dtype));
    for (uint32_t k = 0; k < io->rank; k++) {
        LLVMValueRef dim = sinter_llvm_int(m, io->dims[k]);
        if (io->dims[k] < 0 && io->dim_exprs && io->dim_exprs[k])
            dim = sinter_llvm_checked_expr(
                f, io->dim_exprs[k],
                sinter_arena_format(m->arena, "dim %u of output '%s'", k, io->name));
        sinter_llvm_store_field(f, dim, tensor,
                                offsetof(sinter_abi_tensor, dims) + k * sizeof(int64_t));
    }
}

LLVMValueRef sinter_llvm_emit_plan(sinter_llvm_module *m) {
    sinter_llvm_function f;
    sinter_llvm_host host;
    LLVMValueRef function = sinter_llvm_begin_entry(&f, &host, m, "sinter.plan");
    for (size_t i = 0; i < m->program->inputs.count; i++) check_input_type(&f, i);
    bind_symbols(&f);
    check_dims(&f);
    for (size_t i = 0; i < m->program->outputs.count; i++) fill_output(&f, i);
    LLVMValueRef bytes =
        m->program->workspace_bytes
            ? sinter_llvm_checked_expr(&f, m->program->workspace_bytes, "the workspace")
            : sinter_llvm_int(m, 0);
    if (m->images) {
        sinter_llvm_store_field(&f, bytes, f.call,
                                offsetof(sinter_abi_call, device_workspace_bytes));
        bytes = sinter_llvm_int(m, 0);
    }
    sinter_llvm_store_field(&f, bytes, f.call, offsetof(sinter_abi_call, workspace_bytes));
    LLVMBuildRet(f.builder, sinter_llvm_int32(m, 0));
    sinter_llvm_end(&f);
    return function;
}

/* ---- descriptor ---- */

LLVMValueRef sinter_llvm_constant(sinter_llvm_module *m, LLVMValueRef value) {
    LLVMValueRef global = LLVMAddGlobal(m->module, LLVMTypeOf(value), "");
    LLVMSetInitializer(global, value);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    LLVMSetGlobalConstant(global, true);
    return global;
}

LLVMValueRef sinter_llvm_text(sinter_llvm_module *m, const char *text) {
    if (!text) return LLVMConstNull(m->pointer);
    LLVMValueRef global = sinter_llvm_constant(
        m, LLVMConstStringInContext(m->context, text, (unsigned)strlen(text), false));
    LLVMSetUnnamedAddress(global, LLVMGlobalUnnamedAddr);
    return global;
}

/* An array of `count` structs; NULL for none. */
static LLVMValueRef array_constant(sinter_llvm_module *m, LLVMTypeRef type, LLVMValueRef *items,
                                   size_t count) {
    if (!count) return LLVMConstNull(m->pointer);
    return sinter_llvm_constant(m, LLVMConstArray2(type, items, count));
}

/* Rows of a table: all of one type. */
LLVMValueRef sinter_llvm_rows(sinter_llvm_module *m, LLVMValueRef *rows, size_t count) {
    return array_constant(m, count ? LLVMTypeOf(rows[0]) : m->i8, rows, count);
}

static LLVMValueRef struct_constant(sinter_llvm_module *m, LLVMValueRef *fields, unsigned count) {
    return LLVMConstStructInContext(m->context, fields, count, false);
}

static LLVMValueRef io_constants(sinter_llvm_module *m, const sinter_loop_io *items, size_t count) {
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    for (size_t i = 0; i < count; i++) {
        LLVMValueRef dims[SINTER_MAX_RANK], names[SINTER_MAX_RANK];
        for (uint32_t k = 0; k < items[i].rank; k++) {
            char number[32];
            snprintf(number, sizeof number, "%lld", (long long)items[i].dims[k]);
            dims[k] = sinter_llvm_int(m, items[i].dims[k]);
            names[k] = sinter_llvm_text(
                m, items[i].dim_names && items[i].dim_names[k] ? items[i].dim_names[k] : number);
        }
        LLVMValueRef fields[] = {
            sinter_llvm_text(m, items[i].name),
            sinter_llvm_int32(m, sinter_dtype_infos[items[i].dtype].onnx_code),
            sinter_llvm_int32(m, (int32_t)items[i].rank),
            array_constant(m, m->i64, dims, items[i].rank),
            array_constant(m, m->pointer, names, items[i].rank),
        };
        static_assert(sizeof(sinter_abi_io) == 32, "fields of sinter_abi_io");
        rows[i] = struct_constant(m, fields, 5);
    }
    return sinter_llvm_rows(m, rows, count);
}

static LLVMValueRef symbol_constants(sinter_llvm_module *m) {
    size_t count = m->program->symbols.count;
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    for (size_t i = 0; i < count; i++) {
        const sinter_loop_symbol *symbol = &m->program->symbols.items[i];
        static_assert(sizeof(sinter_abi_symbol) == 32, "fields of sinter_abi_symbol");
        rows[i] = struct_constant(
            m,
            (LLVMValueRef[]){sinter_llvm_text(m, symbol->name), sinter_llvm_int(m, symbol->min),
                             sinter_llvm_int(m, symbol->max), sinter_llvm_int(m, symbol->multiple)},
            4);
    }
    return sinter_llvm_rows(m, rows, count);
}

static LLVMValueRef kernel_constants(sinter_llvm_module *m) {
    size_t count = m->program->kernels.count;
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    for (size_t i = 0; i < count; i++) {
        const sinter_loop_function *kernel = m->program->kernels.items[i];
        static_assert(sizeof(sinter_abi_kernel) == 16, "fields of sinter_abi_kernel");
        rows[i] = struct_constant(m,
                                  (LLVMValueRef[]){sinter_llvm_text(m, kernel->name),
                                                   sinter_llvm_text(m, kernel->comment)},
                                  2);
    }
    return sinter_llvm_rows(m, rows, count);
}

static LLVMValueRef donation_constants(sinter_llvm_module *m) {
    size_t count = m->program->donations.count;
    LLVMValueRef *rows = SINTER_NEW_ARRAY(m->arena, LLVMValueRef, count);
    for (size_t i = 0; i < count; i++) {
        const sinter_loop_donation *donation = &m->program->donations.items[i];
        static_assert(sizeof(sinter_abi_donation) == 8, "fields of sinter_abi_donation");
        rows[i] = struct_constant(m,
                                  (LLVMValueRef[]){sinter_llvm_int32(m, (int32_t)donation->output),
                                                   sinter_llvm_int32(m, (int32_t)donation->input)},
                                  2);
    }
    return sinter_llvm_rows(m, rows, count);
}

void sinter_llvm_emit_descriptor(sinter_llvm_module *m, const char *symbol, LLVMValueRef plan,
                                 LLVMValueRef run) {
    const sinter_loop_program *program = m->program;
    LLVMValueRef fields[] = {
        sinter_llvm_int32(m, (int32_t)SINTER_ABI_MAGIC),
        sinter_llvm_int32(m, SINTER_ABI_VERSION),
        sinter_llvm_int32(m, m->images ? sizeof(sinter_abi_artifact)
                                       : offsetof(sinter_abi_artifact, device)),
        sinter_llvm_int32(m, (int32_t)program->inputs.count),
        sinter_llvm_int32(m, (int32_t)program->outputs.count),
        sinter_llvm_int32(m, (int32_t)program->symbols.count),
        sinter_llvm_int32(m, (int32_t)program->kernels.count),
        sinter_llvm_int32(m, (int32_t)program->donations.count),
        sinter_llvm_text(m, program->name),
        sinter_llvm_text(m, m->target->text),
        sinter_llvm_text(m, m->target->required),
        io_constants(m, program->inputs.items, program->inputs.count),
        io_constants(m, program->outputs.items, program->outputs.count),
        symbol_constants(m),
        kernel_constants(m),
        sinter_llvm_int(m, (int64_t)m->weight_bytes),
        sinter_llvm_int(m, (int64_t)m->weights_hash),
        m->weights ? m->weights : LLVMConstNull(m->pointer),
        donation_constants(m),
        plan,
        run,
        m->images ? sinter_llvm_emit_device_code(m) : NULL,
    };
    static_assert(offsetof(sinter_abi_artifact, device) == 136 && sizeof(void *) == 8,
                  "fields of sinter_abi_artifact");
    LLVMValueRef artifact = sinter_llvm_constant(
        m, struct_constant(m, fields, sizeof fields / sizeof *fields - !m->images));
    LLVMValueRef function =
        sinter_llvm_add_function(m, symbol, LLVMFunctionType(m->pointer, NULL, 0, false));
    LLVMBuilderRef b = LLVMCreateBuilderInContext(m->context);
    LLVMPositionBuilderAtEnd(b, LLVMAppendBasicBlockInContext(m->context, function, "entry"));
    LLVMBuildRet(b, artifact);
    LLVMDisposeBuilder(b);
}
