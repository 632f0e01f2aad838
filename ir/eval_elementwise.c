/* Elementwise rules of the reference evaluator: the scalar body of the op table applied to every element under
 * broadcasting, and the few ops that hold more than numbers (identity, where, equal) or mix types (pow).
 * Test: tests/ops/, tests/unit/eval_test.c */
#include "ir/eval_rules.h"
#include <math.h>
#include <string.h>

enum { MAX_NAMES = 16 };

typedef struct scalar_kernel {
    sinter_scalar_body body;
    sinter_scalar values[MAX_NAMES]; /* operands, then attributes */
    uint32_t operand_count;
    bool in_double; /* integer operands meet float attributes: computed in f64, converted back */
} scalar_kernel;

static bool holds_numbers(const sinter_tensor *tensor) {
    sinter_dtype_class class = sinter_dtype_infos[tensor->dtype].class;
    return tensor->kind == SINTER_TYPE_TENSOR && class != SINTER_CLASS_STRING &&
           class != SINTER_CLASS_COMPLEX && class != SINTER_CLASS_NONE;
}

/* An attribute as an operand of the body: not rounded where floats are kept wider than their dtype. */
static sinter_scalar attribute_scalar(sinter_dtype dtype, double value) {
    if (sinter_dtype_is_float(dtype)) return (sinter_scalar){.dtype = dtype, .f = value};
    return (sinter_scalar){.dtype = dtype, .i = (int64_t)value};
}

static bool kernel_init(sinter_eval *eval, scalar_kernel *kernel) {
    const sinter_op_info *info = sinter_op_get_info(eval->info->op);
    sinter_string names[MAX_NAMES];
    uint32_t count = info->operand_count + info->attribute_count;
    if (count > MAX_NAMES) return sinter_eval_error(eval, "has more than %d names", MAX_NAMES);
    kernel->operand_count = info->operand_count;
    for (uint32_t i = 0; i < info->operand_count; i++) {
        names[i] = info->operands[i].name;
        const sinter_tensor *operand = sinter_eval_operand(eval, i);
        if (!operand || !holds_numbers(operand))
            return sinter_eval_error(eval, "operand %u: expected numbers, found %s", i,
                                     operand ? sinter_eval_describe(eval, operand) : "nothing");
        kernel->values[i] = (sinter_scalar){.dtype = operand->dtype};
    }
    sinter_dtype dtype = eval->operands[0]->dtype;
    bool is_integer = !sinter_dtype_is_float(dtype);
    for (uint32_t i = 0; i < info->attribute_count; i++)
        if (is_integer && info->attributes[i].kind == SINTER_ATTR_FLOAT) kernel->in_double = true;
    if (kernel->in_double) dtype = SINTER_DTYPE_f64;
    for (uint32_t i = 0; i < info->attribute_count; i++) {
        uint32_t at = info->operand_count + i;
        const sinter_attr_info *attribute = &info->attributes[i];
        const char *name =
            sinter_arena_copy_string(eval->scratch, attribute->name.data, attribute->name.size);
        names[at] = attribute->name;
        double value = attribute->kind == SINTER_ATTR_INT ? (double)sinter_eval_int(eval, name)
                                                          : sinter_eval_float(eval, name);
        kernel->values[at] = attribute_scalar(dtype, value);
    }
    return sinter_scalar_parse(eval->scratch, info->body, names, count, &kernel->body, eval->diag);
}

static sinter_scalar load_operand(const scalar_kernel *kernel, const sinter_tensor *tensor,
                                  int64_t index) {
    sinter_scalar value = sinter_eval_load(tensor, index);
    return kernel->in_double ? sinter_scalar_cast(value, SINTER_DTYPE_f64) : value;
}

/* The dtype of the body: what it yields for zeros. */
static sinter_dtype kernel_dtype(const sinter_eval *eval, const scalar_kernel *kernel) {
    sinter_scalar values[MAX_NAMES];
    memcpy(values, kernel->values, sizeof values);
    if (kernel->in_double)
        for (uint32_t i = 0; i < kernel->operand_count; i++)
            values[i] = (sinter_scalar){.dtype = SINTER_DTYPE_f64};
    sinter_dtype dtype = sinter_scalar_evaluate(&kernel->body, values).dtype;
    return kernel->in_double && dtype == SINTER_DTYPE_f64 ? eval->operands[0]->dtype : dtype;
}

bool eval_elementwise(sinter_eval *eval) {
    scalar_kernel kernel = {0};
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK], strides[MAX_NAMES][SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!kernel_init(eval, &kernel)) return false;
    if (!sinter_eval_broadcast(eval, 0, kernel.operand_count, &rank, dims)) return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, kernel_dtype(eval, &kernel), rank, dims);
    if (!result) return false;
    for (uint32_t i = 0; i < kernel.operand_count; i++)
        sinter_eval_broadcast_strides(eval->operands[i], rank, strides[i]);
    int64_t count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        for (uint32_t i = 0; i < kernel.operand_count; i++)
            kernel.values[i] =
                load_operand(&kernel, eval->operands[i], sinter_eval_offset(rank, at, strides[i]));
        sinter_scalar value = sinter_scalar_evaluate(&kernel.body, kernel.values);
        if (value.dtype != result->dtype) value = sinter_scalar_cast(value, result->dtype);
        sinter_eval_store(result, n, value);
        sinter_eval_next(rank, dims, at);
    }
    return true;
}

bool eval_identity(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    if (!input) return sinter_eval_error(eval, "has no operand");
    sinter_tensor_copy(&eval->results[0], input);
    return true;
}

bool eval_where(sinter_eval *eval) {
    const sinter_tensor *const *operands = eval->operands;
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK], strides[3][SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!sinter_eval_broadcast(eval, 0, 3, &rank, dims)) return false;
    if (operands[0]->dtype != SINTER_DTYPE_bool || operands[1]->dtype != operands[2]->dtype)
        return sinter_eval_error(eval, "expected a bool and two tensors of one type");
    sinter_tensor *result = sinter_eval_create(eval, 0, operands[1]->dtype, rank, dims);
    if (!result) return false;
    for (uint32_t i = 0; i < 3; i++) sinter_eval_broadcast_strides(operands[i], rank, strides[i]);
    int64_t count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        int64_t where = sinter_eval_offset(rank, at, strides[0]);
        uint32_t chosen = sinter_tensor_get_int(operands[0], where) ? 1 : 2;
        sinter_eval_copy_element(result, n, operands[chosen],
                                 sinter_eval_offset(rank, at, strides[chosen]));
        sinter_eval_next(rank, dims, at);
    }
    return true;
}

bool eval_equal(sinter_eval *eval) {
    const sinter_tensor *a = sinter_eval_operand(eval, 0), *b = sinter_eval_operand(eval, 1);
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK], strides[2][SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!a || !b || a->dtype != SINTER_DTYPE_string || b->dtype != SINTER_DTYPE_string)
        return eval_elementwise(eval);
    if (!sinter_eval_broadcast(eval, 0, 2, &rank, dims)) return false;
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_bool, rank, dims);
    if (!result) return false;
    sinter_eval_broadcast_strides(a, rank, strides[0]);
    sinter_eval_broadcast_strides(b, rank, strides[1]);
    int64_t count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        sinter_string x = sinter_tensor_get_string(a, sinter_eval_offset(rank, at, strides[0]));
        sinter_string y = sinter_tensor_get_string(b, sinter_eval_offset(rank, at, strides[1]));
        sinter_tensor_set_int(result, n, sinter_string_equal(x, y));
        sinter_eval_next(rank, dims, at);
    }
    return true;
}

/* base^exponent modulo 2^64; negative exponents truncate 1/base^|exponent| toward zero. */
static int64_t integer_power(int64_t base, int64_t exponent, bool exponent_is_unsigned) {
    uint64_t factor = (uint64_t)base, product = 1, left = (uint64_t)exponent;
    if (!exponent_is_unsigned && exponent < 0) {
        if (base == 1) return 1;
        if (base == -1) return exponent % 2 ? -1 : 1;
        return 0;
    }
    for (; left; left >>= 1) {
        if (left & 1) product *= factor;
        factor *= factor;
    }
    return (int64_t)product;
}

/* x and y may have different types; the result has that of x. */
bool eval_pow(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *y = sinter_eval_operand(eval, 1);
    uint32_t rank;
    int64_t dims[SINTER_MAX_RANK], strides[2][SINTER_MAX_RANK], at[SINTER_MAX_RANK] = {0};
    if (!sinter_eval_broadcast(eval, 0, 2, &rank, dims)) return false;
    if (!holds_numbers(x) || !holds_numbers(y)) return sinter_eval_error(eval, "expected numbers");
    sinter_tensor *result = sinter_eval_create(eval, 0, x->dtype, rank, dims);
    if (!result) return false;
    sinter_eval_broadcast_strides(x, rank, strides[0]);
    sinter_eval_broadcast_strides(y, rank, strides[1]);
    bool in_integers = !sinter_dtype_is_float(x->dtype) && !sinter_dtype_is_float(y->dtype);
    bool is_u64 = y->dtype == SINTER_DTYPE_u64;
    int64_t count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        sinter_scalar base = sinter_eval_load(x, sinter_eval_offset(rank, at, strides[0]));
        sinter_scalar exponent = sinter_eval_load(y, sinter_eval_offset(rank, at, strides[1]));
        if (in_integers) {
            sinter_tensor_set_int(result, n, integer_power(base.i, exponent.i, is_u64));
        } else {
            double value = pow(sinter_scalar_cast(base, SINTER_DTYPE_f64).f,
                               sinter_scalar_cast(exponent, SINTER_DTYPE_f64).f);
            sinter_eval_store(result, n, sinter_eval_number(x->dtype, value));
        }
        sinter_eval_next(rank, dims, at);
    }
    return true;
}
