/* Expressions, loads and stores in LLVM.
 *
 * Inside a vector axis a value is a vector only where lanes may differ. An access whose address moves by one element a
 * lane is one vector access, one that does not move is a scalar, loads of lanes a few elements apart are shuffles of
 * vectors, all else is a gather or scatter. A mask stands for the ifs around that differ by lane; the statement emitter
 * enters them only while some lane is active, so a scalar access needs no mask. Values are remembered by expression within a statement, which keeps shared subexpressions
 * shared. Test: tests/unit/emit_test.c */
#include "codegen/emit/llvm.h"
#include "codegen/loops/rewrite.h"

#include <math.h>

LLVMTypeRef sinter_llvm_value_type(sinter_llvm_module *module, sinter_dtype dtype) {
    return dtype == SINTER_DTYPE_bool ? module->i1 : module->dtypes[dtype];
}

bool sinter_llvm_is_vector(LLVMValueRef value) {
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

LLVMTypeRef sinter_llvm_like(LLVMValueRef like, LLVMTypeRef scalar) {
    return sinter_llvm_is_vector(like) ? LLVMVectorType(scalar, LLVMGetVectorSize(LLVMTypeOf(like)))
                                       : scalar;
}

LLVMValueRef sinter_llvm_splat(sinter_llvm_function *f, LLVMValueRef value, uint32_t lanes) {
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(value), lanes);
    LLVMTypeRef indices = LLVMVectorType(f->module->i32, lanes);
    LLVMValueRef undefined = LLVMGetPoison(type);
    LLVMValueRef first =
        LLVMBuildInsertElement(f->builder, undefined, value, LLVMConstNull(f->module->i32), "");
    return LLVMBuildShuffleVector(f->builder, first, undefined, LLVMConstNull(indices), "");
}

LLVMValueRef sinter_llvm_widen(sinter_llvm_function *f, LLVMValueRef value) {
    return sinter_llvm_is_vector(value) ? value : sinter_llvm_splat(f, value, f->lanes);
}

/* ---- values remembered within a statement ---- */

static size_t memo_index(const sinter_llvm_function *f, const sinter_loop_expr *key,
                         bool lane_zero) {
    size_t mask = f->memo.capacity - 1;
    size_t at = ((uintptr_t)key / 16 * 0x9e3779b97f4a7c15u >> 20) + lane_zero;
    while (f->memo.slots[at & mask].generation == f->memo.generation &&
           (f->memo.slots[at & mask].key != key || f->memo.slots[at & mask].lane_zero != lane_zero))
        at++;
    return at & mask;
}

static LLVMValueRef recall(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    if (!f->memo.capacity) return NULL;
    sinter_llvm_memo_slot *slot = &f->memo.slots[memo_index(f, expr, f->lane_zero)];
    return slot->generation == f->memo.generation ? slot->value : NULL;
}

static void grow_memo(sinter_llvm_function *f) {
    sinter_llvm_memo_slot *old = f->memo.slots;
    size_t old_capacity = f->memo.capacity;
    f->memo.capacity = old_capacity ? old_capacity * 2 : 64;
    f->memo.slots = SINTER_NEW_ARRAY(f->module->arena, sinter_llvm_memo_slot, f->memo.capacity);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].generation == f->memo.generation)
            f->memo.slots[memo_index(f, old[i].key, old[i].lane_zero)] = old[i];
}

static void remember(sinter_llvm_function *f, const sinter_loop_expr *expr, LLVMValueRef value) {
    if ((f->memo.count + 1) * 2 > f->memo.capacity) grow_memo(f);
    f->memo.slots[memo_index(f, expr, f->lane_zero)] =
        (sinter_llvm_memo_slot){expr, value, f->memo.generation, f->lane_zero};
    f->memo.count++;
}

void sinter_llvm_forget(sinter_llvm_function *f) {
    f->memo.generation++;
    f->memo.count = 0;
}

/* ---- how an index moves with the lane ---- */

static bool call_stride(const sinter_llvm_function *f, const sinter_loop_expr *expr, int64_t *out) {
    int64_t strides[3] = {0};
    bool still = true;
    for (uint32_t i = 0; i < expr->argument_count; i++) {
        if (!sinter_llvm_lane_stride(f, expr->arguments[i], &strides[i])) return false;
        still &= strides[i] == 0;
    }
    *out = 0;
    if (still) return true;
    if (expr->dtype != SINTER_DTYPE_i64) return false; /* narrower sums may wrap between lanes */
    int64_t factor;
    switch (expr->function) {
    case SINTER_SCALAR_add:
        return !__builtin_add_overflow(strides[0], strides[1], out);
    case SINTER_SCALAR_sub:
        return !__builtin_sub_overflow(strides[0], strides[1], out);
    case SINTER_SCALAR_neg:
        return !__builtin_sub_overflow(0, strides[0], out);
    case SINTER_SCALAR_mul:
        if (sinter_loop_is_const_int(expr->arguments[1], &factor))
            return !__builtin_mul_overflow(strides[0], factor, out);
        if (sinter_loop_is_const_int(expr->arguments[0], &factor))
            return !__builtin_mul_overflow(strides[1], factor, out);
        return false;
    default:
        return false;
    }
}

/* A let may be looked through where computing it again elsewhere gives the same: no loads, nothing mutable. */
static bool is_pure(const sinter_llvm_function *f, const sinter_loop_expr *expr) {
    if (expr->kind == SINTER_LOOP_LOAD) return false;
    if (expr->kind == SINTER_LOOP_VAR && f->function->vars.items[expr->var].is_mutable)
        return false;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        if (!is_pure(f, expr->arguments[i])) return false;
    return true;
}

static bool var_stride(const sinter_llvm_function *f, sinter_loop_var var, int64_t *out_stride) {
    const sinter_llvm_var *info = &f->vars[var];
    *out_stride = var == f->lane_var;
    if (var == f->lane_var || !info->inside) return true;
    if (info->value && !info->is_slot && !sinter_llvm_is_vector(info->value)) return true;
    return info->definition && is_pure(f, info->definition) &&
           sinter_llvm_lane_stride(f, info->definition, out_stride);
}

bool sinter_llvm_lane_stride(const sinter_llvm_function *f, const sinter_loop_expr *expr,
                             int64_t *out_stride) {
    *out_stride = 0;
    switch (expr->kind) {
    case SINTER_LOOP_CONST:
        return true;
    case SINTER_LOOP_VAR:
        return var_stride(f, expr->var, out_stride);
    case SINTER_LOOP_CALL:
        return call_stride(f, expr, out_stride);
    case SINTER_LOOP_LOAD:
    case SINTER_LOOP_CAST:
    case SINTER_LOOP_INTRINSIC:
        for (uint32_t i = 0; i < expr->argument_count; i++) {
            int64_t stride;
            if (!sinter_llvm_lane_stride(f, expr->arguments[i], &stride) || stride) return false;
        }
        return true;
    }
    return false;
}

/* Elements that the address moves by from lane to lane; false where that is not one number. */
static bool address_stride(const sinter_llvm_function *f, sinter_loop_buffer buffer,
                           const sinter_loop_expr *const *indices, int64_t *out_stride) {
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    int64_t inner = 1;
    bool inner_known = true;
    *out_stride = 0;
    for (uint32_t k = info->rank; k-- > 0;) {
        int64_t stride, dim;
        if (!sinter_llvm_lane_stride(f, indices[k], &stride)) return false;
        if (stride && (!inner_known || __builtin_mul_overflow(stride, inner, &stride) ||
                       __builtin_add_overflow(*out_stride, stride, out_stride)))
            return false;
        inner_known = inner_known && sinter_loop_is_const_int(info->dims[k], &dim) &&
                      !__builtin_mul_overflow(inner, dim, &inner);
    }
    return true;
}

/* ---- addresses ---- */

LLVMValueRef sinter_llvm_buffer_base(sinter_llvm_function *f, sinter_loop_buffer buffer) {
    if (!f->is_host) return f->buffers[buffer];
    return LLVMBuildLoad2(f->builder, f->module->pointer, f->buffers[buffer], "");
}

/* Horner's scheme over the dims; a vector where an index is one. */
static LLVMValueRef linear_index(sinter_llvm_function *f, sinter_loop_buffer buffer,
                                 const sinter_loop_expr *const *indices) {
    const sinter_loop_buffer_info *info = &f->function->buffers.items[buffer];
    LLVMValueRef linear = NULL;
    for (uint32_t k = 0; k < info->rank; k++) {
        LLVMValueRef index = sinter_llvm_expr(f, indices[k]);
        if (linear) {
            LLVMValueRef dim = sinter_llvm_expr(f, info->dims[k]);
            if (sinter_llvm_is_vector(linear)) dim = sinter_llvm_widen(f, dim);
            linear = LLVMBuildNSWMul(f->builder, linear, dim, "");
            if (sinter_llvm_is_vector(linear)) index = sinter_llvm_widen(f, index);
            if (sinter_llvm_is_vector(index)) linear = sinter_llvm_widen(f, linear);
            linear = LLVMBuildNSWAdd(f->builder, linear, index, "");
        } else {
            linear = index;
        }
    }
    return linear ? linear : sinter_llvm_int(f->module, 0);
}

static LLVMValueRef element_pointer(sinter_llvm_function *f, sinter_loop_buffer buffer,
                                    LLVMValueRef linear) {
    LLVMTypeRef type = f->module->dtypes[f->function->buffers.items[buffer].dtype];
    return LLVMBuildInBoundsGEP2(f->builder, type, sinter_llvm_buffer_base(f, buffer), &linear, 1,
                                 "");
}

LLVMValueRef sinter_llvm_address(sinter_llvm_function *f, sinter_loop_buffer buffer,
                                 const sinter_loop_expr *const *indices) {
    bool before = f->lane_zero;
    f->lane_zero = true;
    LLVMValueRef pointer = element_pointer(f, buffer, linear_index(f, buffer, indices));
    f->lane_zero = before;
    return pointer;
}

/* Into the second cache: the first is for what is in use. The address may lie outside of the buffer. */
void sinter_llvm_prefetch(sinter_llvm_function *f, sinter_loop_buffer buffer,
                          const sinter_loop_expr *const *indices) {
    sinter_llvm_module *m = f->module;
    bool before = f->lane_zero;
    f->lane_zero = true;
    LLVMValueRef linear = linear_index(f, buffer, indices);
    LLVMTypeRef type = m->dtypes[f->function->buffers.items[buffer].dtype];
    LLVMValueRef pointer =
        LLVMBuildGEP2(f->builder, type, sinter_llvm_buffer_base(f, buffer), &linear, 1, "");
    f->lane_zero = before;
    LLVMValueRef arguments[] = {pointer, sinter_llvm_int32(m, 0), sinter_llvm_int32(m, 2),
                                sinter_llvm_int32(m, 1)};
    sinter_llvm_intrinsic(f, "llvm.prefetch", &m->pointer, 1, arguments, 4);
}

static unsigned element_bytes(const sinter_llvm_function *f, sinter_loop_buffer buffer) {
    return sinter_dtype_infos[f->function->buffers.items[buffer].dtype].bits / 8;
}

/* Register buffers and other scratch of this function: reading an inactive lane is harmless, and an access without a
 * mask lets LLVM keep the buffer in registers. */
static bool ignores_mask(const sinter_llvm_function *f, sinter_loop_buffer buffer) {
    return f->function->buffers.items[buffer].scope == SINTER_SCOPE_REGISTER;
}

/* ---- loads and stores ---- */

static LLVMValueRef from_memory(sinter_llvm_function *f, sinter_dtype dtype, LLVMValueRef value) {
    if (dtype != SINTER_DTYPE_bool) return value;
    return LLVMBuildTrunc(f->builder, value, sinter_llvm_like(value, f->module->i1), "");
}

static LLVMValueRef load_vector(sinter_llvm_function *f, sinter_loop_buffer buffer,
                                const sinter_loop_expr *const *indices) {
    sinter_llvm_module *m = f->module;
    sinter_dtype dtype = f->function->buffers.items[buffer].dtype;
    LLVMTypeRef type = LLVMVectorType(m->dtypes[dtype], f->lanes);
    LLVMValueRef pointer = sinter_llvm_address(f, buffer, indices);
    if (!f->mask || ignores_mask(f, buffer)) {
        LLVMValueRef load = LLVMBuildLoad2(f->builder, type, pointer, "");
        LLVMSetAlignment(load, element_bytes(f, buffer));
        return load;
    }
    return sinter_llvm_intrinsic(
        f, "llvm.masked.load", (LLVMTypeRef[]){type, m->pointer}, 2,
        (LLVMValueRef[]){pointer, sinter_llvm_int32(m, (int32_t)element_bytes(f, buffer)), f->mask,
                         LLVMConstNull(type)},
        4);
}

static LLVMValueRef all_lanes(sinter_llvm_function *f) {
    return f->mask ? f->mask : LLVMConstAllOnes(LLVMVectorType(f->module->i1, f->lanes));
}

/* Addresses of lanes `stride` elements apart: one address, and numbers of 32 bits, which processors add as they gather. */
static LLVMValueRef addresses_apart(sinter_llvm_function *f, sinter_loop_buffer buffer,
                                    const sinter_loop_expr *const *indices, int64_t stride) {
    LLVMValueRef places[SINTER_LOOP_MOST_LANES], first = sinter_llvm_address(f, buffer, indices);
    for (uint32_t i = 0; i < f->lanes; i++)
        places[i] = sinter_llvm_int32(f->module, (int32_t)(i * stride));
    LLVMValueRef vector = LLVMConstVector(places, f->lanes);
    LLVMTypeRef type = f->module->dtypes[f->function->buffers.items[buffer].dtype];
    return LLVMBuildInBoundsGEP2(f->builder, type, first, &vector, 1, "");
}

/* stride: elements from lane to lane, 0 where that is not one number. */
static LLVMValueRef gather(sinter_llvm_function *f, sinter_loop_buffer buffer,
                           const sinter_loop_expr *const *indices, int64_t stride) {
    sinter_llvm_module *m = f->module;
    sinter_dtype dtype = f->function->buffers.items[buffer].dtype;
    LLVMTypeRef type = LLVMVectorType(m->dtypes[dtype], f->lanes);
    const int64_t most = INT32_MAX / SINTER_LOOP_MOST_LANES;
    LLVMValueRef pointers =
        stride && stride <= most && stride >= -most
            ? addresses_apart(f, buffer, indices, stride)
            : element_pointer(f, buffer, sinter_llvm_widen(f, linear_index(f, buffer, indices)));
    return sinter_llvm_intrinsic(
        f, "llvm.masked.gather", (LLVMTypeRef[]){type, LLVMTypeOf(pointers)}, 2,
        (LLVMValueRef[]){pointers, sinter_llvm_int32(m, (int32_t)element_bytes(f, buffer)),
                         all_lanes(f), LLVMConstNull(type)},
        4);
}

LLVMValueRef sinter_llvm_load(sinter_llvm_function *f, sinter_loop_buffer buffer,
                              const sinter_loop_expr *const *indices) {
    sinter_dtype dtype = f->function->buffers.items[buffer].dtype;
    LLVMValueRef value;
    int64_t stride = 0;
    bool known = !f->lanes || f->lane_zero || address_stride(f, buffer, indices, &stride);
    if (f->is_host && f->module->images) {
        value = sinter_llvm_device_read(f, sinter_llvm_address(f, buffer, indices),
                                        f->module->dtypes[dtype], element_bytes(f, buffer));
    } else if (known && stride == 0) {
        value = LLVMBuildLoad2(f->builder, f->module->dtypes[dtype],
                               sinter_llvm_address(f, buffer, indices), "");
        LLVMSetAlignment(value, element_bytes(f, buffer));
    } else if (known && stride == 1) {
        value = load_vector(f, buffer, indices);
    } else {
        value = known ? sinter_llvm_turn(f, buffer, indices, stride) : NULL;
        if (known && !value) value = sinter_llvm_apart(f, buffer, indices, stride);
        if (!value) value = gather(f, buffer, indices, known ? stride : 0);
    }
    return from_memory(f, dtype, value);
}

static void store_vector(sinter_llvm_function *f, sinter_loop_buffer buffer,
                         const sinter_loop_expr *const *indices, LLVMValueRef value) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef pointer = sinter_llvm_address(f, buffer, indices);
    if (f->mask && !ignores_mask(f, buffer)) {
        sinter_llvm_intrinsic(
            f, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(value), m->pointer}, 2,
            (LLVMValueRef[]){value, pointer,
                             sinter_llvm_int32(m, (int32_t)element_bytes(f, buffer)), f->mask},
            4);
        return;
    }
    if (f->mask) {
        LLVMValueRef old = LLVMBuildLoad2(f->builder, LLVMTypeOf(value), pointer, "");
        LLVMSetAlignment(old, element_bytes(f, buffer));
        value = LLVMBuildSelect(f->builder, f->mask, value, old, "");
    }
    LLVMSetAlignment(LLVMBuildStore(f->builder, value, pointer), element_bytes(f, buffer));
}

void sinter_llvm_store(sinter_llvm_function *f, sinter_loop_buffer buffer,
                       const sinter_loop_expr *const *indices, LLVMValueRef value) {
    sinter_llvm_module *m = f->module;
    sinter_dtype dtype = f->function->buffers.items[buffer].dtype;
    if (dtype == SINTER_DTYPE_bool)
        value = LLVMBuildZExt(f->builder, value, sinter_llvm_like(value, m->i8), "");
    if (!f->lanes) {
        LLVMValueRef store =
            LLVMBuildStore(f->builder, value, sinter_llvm_address(f, buffer, indices));
        LLVMSetAlignment(store, element_bytes(f, buffer));
        return;
    }
    value = sinter_llvm_widen(f, value);
    int64_t stride;
    if (address_stride(f, buffer, indices, &stride) && stride == 1) {
        store_vector(f, buffer, indices, value);
        return;
    }
    LLVMValueRef linear = sinter_llvm_widen(f, linear_index(f, buffer, indices));
    LLVMValueRef pointers = element_pointer(f, buffer, linear);
    sinter_llvm_intrinsic(
        f, "llvm.masked.scatter", (LLVMTypeRef[]){LLVMTypeOf(value), LLVMTypeOf(pointers)}, 2,
        (LLVMValueRef[]){value, pointers, sinter_llvm_int32(m, (int32_t)element_bytes(f, buffer)),
                         all_lanes(f)},
        4);
}

/* ---- expressions ---- */

static LLVMValueRef emit_constant(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    LLVMTypeRef type = sinter_llvm_value_type(f->module, expr->dtype);
    if (sinter_dtype_is_float(expr->dtype)) return LLVMConstReal(type, expr->float_value);
    return LLVMConstInt(type, (unsigned long long)expr->int_value, false);
}

static LLVMValueRef emit_var(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    const sinter_llvm_var *var = &f->vars[expr->var];
    if (f->lanes && expr->var == f->lane_var) {
        if (f->lane_zero) return sinter_llvm_int(f->module, 0);
        return var->value;
    }
    if (var->is_slot) return LLVMBuildLoad2(f->builder, var->type, var->value, "");
    if (f->lane_zero && sinter_llvm_is_vector(var->value))
        return sinter_llvm_expr(f, var->definition);
    return var->value;
}

/* i64 arithmetic of dims, with wrapping noted in the overflow slot. */
static LLVMValueRef emit_checked(sinter_llvm_function *f, const char *name,
                                 LLVMValueRef *arguments) {
    sinter_llvm_module *m = f->module;
    LLVMValueRef pair = sinter_llvm_intrinsic(f, name, &m->i64, 1, arguments, 2);
    LLVMValueRef wrapped = LLVMBuildExtractValue(f->builder, pair, 1, "");
    LLVMValueRef before = LLVMBuildLoad2(f->builder, m->i1, f->overflow, "");
    LLVMBuildStore(f->builder, LLVMBuildOr(f->builder, before, wrapped, ""), f->overflow);
    return LLVMBuildExtractValue(f->builder, pair, 0, "");
}

static LLVMValueRef emit_call(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    LLVMValueRef arguments[3], word = sinter_llvm_word(f, expr);
    if (!word) word = sinter_llvm_round_word(f, expr);
    if (word) return word;
    for (uint32_t i = 0; i < expr->argument_count; i++)
        arguments[i] = sinter_llvm_expr(f, expr->arguments[i]);
    if (f->overflow && expr->dtype == SINTER_DTYPE_i64) {
        if (expr->function == SINTER_SCALAR_add)
            return emit_checked(f, "llvm.sadd.with.overflow", arguments);
        if (expr->function == SINTER_SCALAR_sub)
            return emit_checked(f, "llvm.ssub.with.overflow", arguments);
        if (expr->function == SINTER_SCALAR_mul)
            return emit_checked(f, "llvm.smul.with.overflow", arguments);
    }
    sinter_dtype dtype = expr->arguments[expr->function == SINTER_SCALAR_select]->dtype;
    return sinter_llvm_call(f, expr->function, dtype, arguments, expr->argument_count);
}

static LLVMValueRef emit_intrinsic(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    LLVMValueRef arguments[3];
    for (uint32_t i = 0; i < expr->argument_count; i++)
        arguments[i] = sinter_llvm_expr(f, expr->arguments[i]);
    return sinter_llvm_dot(f, expr->intrinsic, arguments);
}

/* Bounds of a float expression that clamps say, where it is a number. */
static void float_bounds(const sinter_loop_expr *expr, double *out_low, double *out_high) {
    *out_low = -(double)INFINITY;
    *out_high = (double)INFINITY;
    if (expr->kind == SINTER_LOOP_CONST) *out_low = *out_high = expr->float_value;
    if (expr->kind != SINTER_LOOP_CALL) return;
    double low, high;
    switch (expr->function) {
    case SINTER_SCALAR_min:
    case SINTER_SCALAR_max: {
        bool maximum = expr->function == SINTER_SCALAR_max;
        float_bounds(expr->arguments[0], out_low, out_high);
        float_bounds(expr->arguments[1], &low, &high);
        *out_low = maximum ? fmax(*out_low, low) : fmin(*out_low, low);
        *out_high = maximum ? fmax(*out_high, high) : fmin(*out_high, high);
        return;
    }
    case SINTER_SCALAR_floor:
    case SINTER_SCALAR_ceil:
    case SINTER_SCALAR_trunc:
    case SINTER_SCALAR_round_even:
        float_bounds(expr->arguments[0], &low, &high);
        *out_low = floor(low);
        *out_high = ceil(high);
        return;
    default:
        return;
    }
}

static LLVMValueRef emit_cast(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    LLVMValueRef rounded = sinter_llvm_round(f, expr);
    if (rounded) return rounded;
    const sinter_loop_expr *from = sinter_llvm_wide_form(expr->arguments[0]);
    double low = 0, high = 0;
    bool is_float = sinter_dtype_is_float(from->dtype);
    if (is_float) float_bounds(from, &low, &high);
    bool within = low > -0x1p31 && high < 0x1p31;
    return sinter_llvm_cast(f, sinter_llvm_expr(f, from), from->dtype, expr->dtype, within);
}

static LLVMValueRef emit_load(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    bool looks_up = f->lanes && !f->lane_zero && sinter_target_looks_up(f->module->target) &&
                    sinter_loop_looks_up(f->function, expr);
    LLVMValueRef byte = looks_up ? sinter_llvm_expr(f, expr->arguments[0]->arguments[0]) : NULL;
    return byte && sinter_llvm_is_vector(byte)
               ? sinter_llvm_lookup(f, sinter_llvm_buffer_base(f, expr->buffer), byte)
               : sinter_llvm_load(f, expr->buffer, expr->arguments);
}

LLVMValueRef sinter_llvm_expr(sinter_llvm_function *f, const sinter_loop_expr *expr) {
    if (expr->kind == SINTER_LOOP_CONST) return emit_constant(f, expr);
    if (expr->kind == SINTER_LOOP_VAR) return emit_var(f, expr);
    LLVMValueRef value = recall(f, expr);
    if (value) return value;
    switch (expr->kind) {
    case SINTER_LOOP_LOAD:
        value = emit_load(f, expr);
        break;
    case SINTER_LOOP_CALL:
        value = emit_call(f, expr);
        break;
    case SINTER_LOOP_CAST:
        value = emit_cast(f, expr);
        break;
    case SINTER_LOOP_INTRINSIC:
        value = emit_intrinsic(f, expr);
        break;
    case SINTER_LOOP_CONST:
    case SINTER_LOOP_VAR:
        break;
    }
    remember(f, expr, value);
    return value;
}
