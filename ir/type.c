/* Element types and value types: the dtype table, equality, printing, sizes.
 * Test: tests/unit/dim_test.c */
#include "ir/type.h"

#include <assert.h>

const sinter_dtype_info sinter_dtype_infos[SINTER_DTYPE_COUNT] = {
    [SINTER_DTYPE_NONE] = {.name = "none", .c_type = "", .doc = "no element type"},
#define DTYPE(name, bits, class, onnx_code, c_type, doc)                                           \
 [SINTER_DTYPE_##name] = {#name, bits, SINTER_CLASS_##class, onnx_code, c_type, doc},
#include "ir/dtype.def"
#undef DTYPE
};

static_assert(sizeof(sinter_string) * 8 == 128, "the width of dtype string in dtype.def");

sinter_dtype sinter_dtype_find(sinter_string name) {
    for (int dtype = 1; dtype < SINTER_DTYPE_COUNT; dtype++)
        if (sinter_string_is(name, sinter_dtype_infos[dtype].name)) return (sinter_dtype)dtype;
    return SINTER_DTYPE_NONE;
}

sinter_dtype sinter_dtype_from_onnx(int64_t onnx_code) {
    for (int dtype = 1; dtype < SINTER_DTYPE_COUNT; dtype++)
        if (sinter_dtype_infos[dtype].onnx_code == onnx_code) return (sinter_dtype)dtype;
    return SINTER_DTYPE_NONE;
}

bool sinter_dtype_is_float(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].class == SINTER_CLASS_FLOAT;
}

bool sinter_dtype_is_integer(sinter_dtype dtype) {
    sinter_dtype_class class = sinter_dtype_infos[dtype].class;
    return class == SINTER_CLASS_INT || class == SINTER_CLASS_UINT;
}

sinter_dtype sinter_dtype_compute(sinter_dtype dtype) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (info->class == SINTER_CLASS_FLOAT && info->bits < 32) return SINTER_DTYPE_f32;
    if (info->bits < 8 && info->class == SINTER_CLASS_INT) return SINTER_DTYPE_i8;
    if (info->bits < 8 && info->class == SINTER_CLASS_UINT) return SINTER_DTYPE_u8;
    return dtype;
}

sinter_dtype sinter_dtype_of_quotient(int64_t precision, sinter_dtype scale) {
    sinter_dtype asked = sinter_dtype_from_onnx(precision);
    sinter_dtype wanted = asked != SINTER_DTYPE_NONE ? asked : scale;
    bool is_wide = sinter_dtype_is_float(wanted) && sinter_dtype_infos[wanted].bits >= 16;
    return is_wide ? wanted : SINTER_DTYPE_f32;
}

bool sinter_dtype_bytes(sinter_dtype dtype, uint64_t count, uint64_t *out_bytes) {
    uint32_t bits = sinter_dtype_infos[dtype].bits;
    if (bits >= 8) return !__builtin_mul_overflow(count, (uint64_t)(bits / 8), out_bytes);
    uint64_t per_byte = bits ? 8 / bits : 1;
    *out_bytes = bits ? count / per_byte + (count % per_byte != 0) : 0;
    return true;
}

sinter_type sinter_type_tensor(sinter_arena *arena, sinter_dtype dtype, uint32_t rank,
                               const sinter_dim *dims) {
    assert(rank <= SINTER_MAX_RANK);
    return (sinter_type){.kind = SINTER_TYPE_TENSOR,
                         .dtype = dtype,
                         .rank = rank,
                         .dims = sinter_arena_copy(arena, dims, rank * sizeof *dims)};
}

bool sinter_type_equal(const sinter_type *a, const sinter_type *b) {
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case SINTER_TYPE_NONE:
        return a->dtype == b->dtype;
    case SINTER_TYPE_MAP:
        return true;
    case SINTER_TYPE_SEQUENCE:
    case SINTER_TYPE_OPTIONAL:
        return a->element == b->element ||
               (a->element && b->element && sinter_type_equal(a->element, b->element));
    case SINTER_TYPE_TENSOR:
        break;
    }
    if (a->dtype != b->dtype || a->rank != b->rank) return false;
    for (uint32_t i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

static void print_type(const sinter_dim_table *table, const sinter_type *type, bool brief,
                       sinter_text *text) {
    switch (type->kind) {
    case SINTER_TYPE_NONE:
        if (type->dtype)
            sinter_text_format(text, "%s[*]", sinter_dtype_infos[type->dtype].name);
        else
            sinter_text_append_string(text, "none");
        return;
    case SINTER_TYPE_MAP:
        sinter_text_append_string(text, "map");
        return;
    case SINTER_TYPE_SEQUENCE:
    case SINTER_TYPE_OPTIONAL:
        sinter_text_append_string(text, type->kind == SINTER_TYPE_SEQUENCE ? "seq(" : "opt(");
        if (type->element) print_type(table, type->element, brief, text);
        sinter_text_append_string(text, ")");
        return;
    case SINTER_TYPE_TENSOR:
        break;
    }
    sinter_text_format(text, "%s[", sinter_dtype_infos[type->dtype].name);
    for (uint32_t i = 0; i < type->rank; i++) {
        if (i) sinter_text_append_string(text, ",");
        (brief ? sinter_dim_describe : sinter_dim_print)(table, type->dims[i], text);
    }
    sinter_text_append_string(text, "]");
}

void sinter_type_print(const sinter_dim_table *table, const sinter_type *type, sinter_text *text) {
    print_type(table, type, false, text);
}

void sinter_type_describe(const sinter_dim_table *table, const sinter_type *type,
                          sinter_text *text) {
    print_type(table, type, true, text);
}

const char *sinter_type_text(const sinter_dim_table *table, const sinter_type *type,
                             sinter_arena *arena) {
    sinter_text text = {0};
    sinter_type_describe(table, type, &text);
    const char *copy = sinter_arena_copy_string(arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}

bool sinter_type_static_count(const sinter_dim_table *table, const sinter_type *type,
                              uint64_t *out_count) {
    if (type->kind != SINTER_TYPE_TENSOR) return false;
    uint64_t count = 1;
    bool zero = false, overflow = false;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t value;
        if (!sinter_dim_is_const(table, type->dims[i], &value) || value < 0) return false;
        if (value == 0)
            zero = true;
        else
            overflow |= __builtin_mul_overflow(count, (uint64_t)value, &count);
    }
    if (overflow && !zero) return false;
    *out_count = zero ? 0 : count;
    return true;
}

sinter_dim sinter_type_product(sinter_dim_table *table, const sinter_type *type, uint32_t first,
                               uint32_t last) {
    sinter_dim product = sinter_dim_const(table, 1);
    for (uint32_t i = first; i < last; i++) product = sinter_dim_mul(table, product, type->dims[i]);
    return product;
}
