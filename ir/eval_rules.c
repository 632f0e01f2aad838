/* Helpers of the evaluator's rules: operands and attributes, checks with messages, index
 * arithmetic, elements. See ir/eval_rules.h for what each promises. Test: tests/unit/eval_test.c */
#include "ir/eval_rules.h"
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- operands, results, attributes ---- */

const sinter_tensor *sinter_eval_operand(const sinter_eval *eval, uint32_t index) {
    return index < eval->info->operand_count ? eval->operands[index] : NULL;
}

bool sinter_eval_wants(const sinter_eval *eval, uint32_t index) {
    return index < eval->info->result_count && eval->info->results[index];
}

bool sinter_eval_temporary(sinter_eval *eval, sinter_tensor *out_tensor, sinter_dtype dtype,
                           uint32_t rank, const int64_t *dims) {
    *out_tensor = (sinter_tensor){0};
    if (rank > SINTER_MAX_RANK)
        return sinter_eval_error(eval, "rank %u is above %d", rank, SINTER_MAX_RANK);
    for (uint32_t i = 0; i < rank; i++)
        if (dims[i] < 0) return sinter_eval_error(eval, "dim %u would be %" PRId64, i, dims[i]);
    if (sinter_tensor_create(out_tensor, dtype, rank, dims, eval->diag)) return true;
    return sinter_eval_error(eval, "no memory for the result");
}

sinter_tensor *sinter_eval_create(sinter_eval *eval, uint32_t index, sinter_dtype dtype,
                                  uint32_t rank, const int64_t *dims) {
    assert(index < eval->info->result_count);
    if (!sinter_eval_temporary(eval, &eval->results[index], dtype, rank, dims)) return NULL;
    return &eval->results[index];
}

sinter_tensor *sinter_eval_create_like(sinter_eval *eval, uint32_t index,
                                       const sinter_tensor *model) {
    return sinter_eval_create(eval, index, model->dtype, model->rank, model->dims);
}

bool sinter_eval_share(sinter_eval *eval, uint32_t index, const sinter_tensor *source,
                       uint32_t rank, const int64_t *dims) {
    int64_t count;
    if (rank > SINTER_MAX_RANK)
        return sinter_eval_error(eval, "rank %u is above %d", rank, SINTER_MAX_RANK);
    bool fits = sinter_eval_product(dims, rank, &count) && count == sinter_tensor_count(source);
    assert(fits);
    (void)fits;
    sinter_tensor *result = &eval->results[index];
    sinter_tensor_copy(result, source);
    result->rank = rank;
    memset(result->dims, 0, sizeof result->dims);
    memcpy(result->dims, dims, rank * sizeof *dims);
    return true;
}

int64_t sinter_eval_int(const sinter_eval *eval, const char *name) {
    return sinter_node_get_int(eval->module, eval->node, name, 0);
}

double sinter_eval_float(const sinter_eval *eval, const char *name) {
    return sinter_node_get_float(eval->module, eval->node, name, 0);
}

sinter_string sinter_eval_string(const sinter_eval *eval, const char *name) {
    return sinter_node_get_string(eval->module, eval->node, name);
}

bool sinter_eval_string_is(const sinter_eval *eval, const char *name, const char *value) {
    return sinter_string_is(sinter_eval_string(eval, name), value);
}

sinter_dtype sinter_eval_dtype(const sinter_eval *eval, const char *name) {
    return sinter_node_get_dtype(eval->module, eval->node, name);
}

bool sinter_eval_has(const sinter_eval *eval, const char *name) {
    return sinter_node_find_attr(eval->module, eval->node, name) != NULL;
}

size_t sinter_eval_ints_attr(const sinter_eval *eval, const char *name, const int64_t **out_items) {
    return sinter_node_get_ints(eval->module, eval->node, name, out_items);
}

/* ---- checks ---- */

static const char *operand_name(const sinter_eval *eval, uint32_t operand) {
    const sinter_op_info *info = sinter_op_get_info(eval->info->op);
    uint32_t last = info->operand_count - 1;
    return sinter_arena_format(
        eval->scratch, "%.*s",
        SINTER_STRING_ARGS(info->operands[operand < last ? operand : last].name));
}

static bool holds_integers(const sinter_tensor *tensor) {
    return tensor->kind == SINTER_TYPE_TENSOR &&
           (sinter_dtype_is_integer(tensor->dtype) || tensor->dtype == SINTER_DTYPE_bool);
}

bool sinter_eval_ints(sinter_eval *eval, uint32_t operand, int64_t *out_items, size_t capacity,
                      size_t *out_count) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    *out_count = 0;
    if (!tensor) return true;
    if (!holds_integers(tensor) || tensor->rank > 1)
        return sinter_eval_error(eval, "%s: expected a vector of integers, found %s",
                                 operand_name(eval, operand), sinter_eval_describe(eval, tensor));
    int64_t count = sinter_tensor_count(tensor);
    if ((uint64_t)count > capacity)
        return sinter_eval_error(eval, "%s has %" PRId64 " elements, expected at most %zu",
                                 operand_name(eval, operand), count, capacity);
    for (int64_t i = 0; i < count; i++) out_items[i] = sinter_tensor_get_int(tensor, i);
    *out_count = (size_t)count;
    return true;
}

static bool expect_one_element(sinter_eval *eval, uint32_t operand) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    if (tensor && tensor->kind == SINTER_TYPE_TENSOR && sinter_tensor_count(tensor) == 1)
        return true;
    return sinter_eval_error(eval, "%s: expected one element, found %s",
                             operand_name(eval, operand),
                             tensor ? sinter_eval_describe(eval, tensor) : "nothing");
}

bool sinter_eval_int_scalar(sinter_eval *eval, uint32_t operand, int64_t *out_value) {
    if (!expect_one_element(eval, operand)) return false;
    const sinter_tensor *tensor = eval->operands[operand];
    if (!holds_integers(tensor))
        return sinter_eval_error(eval, "%s: expected an integer, found %s",
                                 operand_name(eval, operand), sinter_eval_describe(eval, tensor));
    *out_value = sinter_tensor_get_int(tensor, 0);
    return true;
}

bool sinter_eval_float_scalar(sinter_eval *eval, uint32_t operand, double *out_value) {
    if (!expect_one_element(eval, operand)) return false;
    const sinter_tensor *tensor = eval->operands[operand];
    if (!holds_integers(tensor) && !sinter_dtype_is_float(tensor->dtype))
        return sinter_eval_error(eval, "%s: expected a number, found %s",
                                 operand_name(eval, operand), sinter_eval_describe(eval, tensor));
    *out_value = sinter_eval_doubles(eval, tensor)[0];
    return true;
}

bool sinter_eval_axis(sinter_eval *eval, int64_t axis, uint32_t rank, uint32_t *out_axis) {
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return sinter_eval_error(eval, "axis %" PRId64 " is out of range for rank %u", axis, rank);
    *out_axis = (uint32_t)(axis < 0 ? axis + rank : axis);
    return true;
}

bool sinter_eval_axes(sinter_eval *eval, const int64_t *axes, size_t count, uint32_t rank,
                      bool out_marked[SINTER_MAX_RANK]) {
    memset(out_marked, 0, SINTER_MAX_RANK * sizeof *out_marked);
    for (size_t i = 0; i < count; i++) {
        uint32_t axis;
        if (!sinter_eval_axis(eval, axes[i], rank, &axis)) return false;
        if (out_marked[axis]) return sinter_eval_error(eval, "axis %u is given twice", axis);
        out_marked[axis] = true;
    }
    return true;
}

bool sinter_eval_index(sinter_eval *eval, int64_t index, int64_t size, int64_t *out_index) {
    if (index < -size || index >= size)
        return sinter_eval_error(eval, "index %" PRId64 " is out of range for %" PRId64 " elements",
                                 index, size);
    *out_index = index < 0 ? index + size : index;
    return true;
}

bool sinter_eval_expect_rank(sinter_eval *eval, uint32_t operand, uint32_t min, uint32_t max) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    if (tensor && tensor->kind == SINTER_TYPE_TENSOR && tensor->rank >= min && tensor->rank <= max)
        return true;
    return sinter_eval_error(eval, "%s: expected a tensor of rank %u to %u, found %s",
                             operand_name(eval, operand), min, max,
                             tensor ? sinter_eval_describe(eval, tensor) : "nothing");
}

bool sinter_eval_expect_dims(sinter_eval *eval, uint32_t operand, uint32_t rank,
                             const int64_t *dims) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    if (!tensor) return true;
    bool good = tensor->kind == SINTER_TYPE_TENSOR && tensor->rank == rank;
    for (uint32_t i = 0; good && i < rank; i++) good = tensor->dims[i] == dims[i];
    if (good) return true;
    const char *expected = "";
    for (uint32_t i = 0; i < rank; i++)
        expected =
            sinter_arena_format(eval->scratch, "%s%s%" PRId64, expected, i ? "," : "", dims[i]);
    return sinter_eval_error(eval, "%s: expected the shape [%s], found %s",
                             operand_name(eval, operand), expected,
                             sinter_eval_describe(eval, tensor));
}

/* ---- indices ---- */

sinter_lanes sinter_eval_lanes(uint32_t rank, const int64_t *dims, uint32_t axis) {
    assert(axis < rank);
    sinter_lanes lanes = {.outer = 1, .count = dims[axis], .inner = 1};
    for (uint32_t i = 0; i < axis; i++) lanes.outer *= dims[i];
    for (uint32_t i = axis + 1; i < rank; i++) lanes.inner *= dims[i];
    return lanes;
}

bool sinter_eval_product(const int64_t *dims, uint32_t rank, int64_t *out_product) {
    int64_t product = 1;
    bool empty = false;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] < 0) return false;
        if (dims[i] == 0) empty = true;
        if (dims[i] && product > INT64_MAX / dims[i]) return false;
        if (dims[i]) product *= dims[i];
    }
    *out_product = empty ? 0 : product;
    return true;
}

int64_t sinter_eval_extent(const int64_t *dims, uint32_t first, uint32_t last) {
    uint64_t product = 1;
    for (uint32_t i = first; i < last; i++) product *= (uint64_t)dims[i];
    return (int64_t)product;
}

void sinter_eval_strides(uint32_t rank, const int64_t *dims, int64_t *out_strides) {
    uint64_t stride = 1; /* may wrap where the tensor is empty and no stride is used */
    for (uint32_t i = rank; i-- > 0;) {
        out_strides[i] = (int64_t)stride;
        stride *= (uint64_t)dims[i];
    }
}

bool sinter_eval_next(uint32_t rank, const int64_t *dims, int64_t *at) {
    for (uint32_t i = rank; i-- > 0;) {
        if (++at[i] < dims[i]) return true;
        at[i] = 0;
    }
    return false;
}

int64_t sinter_eval_offset(uint32_t rank, const int64_t *at, const int64_t *strides) {
    int64_t offset = 0;
    for (uint32_t i = 0; i < rank; i++) offset += at[i] * strides[i];
    return offset;
}

void sinter_eval_unravel(uint32_t rank, const int64_t *dims, int64_t linear, int64_t *out_at) {
    for (uint32_t i = rank; i-- > 0;) {
        out_at[i] = linear % dims[i];
        linear /= dims[i];
    }
}

bool sinter_eval_broadcast_dims(uint32_t rank_a, const int64_t *a, uint32_t rank_b,
                                const int64_t *b, uint32_t *out_rank, int64_t *out_dims) {
    uint32_t rank = rank_a > rank_b ? rank_a : rank_b;
    int64_t dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++) {
        int64_t x = i + rank_a < rank ? 1 : a[i + rank_a - rank];
        int64_t y = i + rank_b < rank ? 1 : b[i + rank_b - rank];
        if (x != y && x != 1 && y != 1) return false;
        dims[i] = x == 1 ? y : x;
    }
    memcpy(out_dims, dims, rank * sizeof *dims);
    *out_rank = rank;
    return true;
}

bool sinter_eval_broadcast(sinter_eval *eval, uint32_t first, uint32_t last, uint32_t *out_rank,
                           int64_t *out_dims) {
    *out_rank = 0;
    for (uint32_t i = first; i < last; i++) {
        const sinter_tensor *tensor = sinter_eval_operand(eval, i);
        if (!tensor) continue;
        if (tensor->kind != SINTER_TYPE_TENSOR)
            return sinter_eval_error(eval, "%s: expected a tensor, found %s", operand_name(eval, i),
                                     sinter_eval_describe(eval, tensor));
        if (!sinter_eval_broadcast_dims(*out_rank, out_dims, tensor->rank, tensor->dims, out_rank,
                                        out_dims))
            return sinter_eval_error(
                eval, "%s is %s, which does not broadcast with the operands before it",
                operand_name(eval, i), sinter_eval_describe(eval, tensor));
    }
    return true;
}

void sinter_eval_broadcast_strides(const sinter_tensor *tensor, uint32_t rank,
                                   int64_t *out_strides) {
    assert(tensor->rank <= rank);
    uint32_t lead = rank - tensor->rank;
    for (uint32_t i = 0; i < lead; i++) out_strides[i] = 0;
    sinter_eval_strides(tensor->rank, tensor->dims, out_strides + lead);
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (tensor->dims[i] == 1) out_strides[lead + i] = 0;
}

/* ---- elements ---- */

sinter_scalar sinter_eval_load(const sinter_tensor *tensor, int64_t index) {
    sinter_scalar scalar = {.dtype = tensor->dtype};
    if (sinter_dtype_is_float(tensor->dtype))
        scalar.f = sinter_tensor_get_double(tensor, index);
    else
        scalar.i = sinter_tensor_get_int(tensor, index);
    return scalar;
}

void sinter_eval_store(sinter_tensor *tensor, int64_t index, sinter_scalar value) {
    assert(value.dtype == tensor->dtype);
    if (sinter_dtype_is_float(tensor->dtype))
        sinter_tensor_set_double(tensor, index, value.f);
    else
        sinter_tensor_set_int(tensor, index, value.i);
}

sinter_scalar sinter_eval_number(sinter_dtype dtype, double value) {
    return sinter_scalar_cast((sinter_scalar){.dtype = SINTER_DTYPE_f64, .f = value}, dtype);
}

void sinter_eval_copy_elements(sinter_tensor *target, int64_t target_index,
                               const sinter_tensor *source, int64_t source_index, int64_t count) {
    assert(target->dtype == source->dtype);
    uint32_t bits = sinter_dtype_infos[source->dtype].bits;
    if (count <= 0) return;
    if (source->dtype == SINTER_DTYPE_string) {
        for (int64_t i = 0; i < count; i++)
            sinter_tensor_set_string(target, target_index + i,
                                     sinter_tensor_get_string(source, source_index + i));
    } else if (bits >= 8) {
        size_t size = bits / 8;
        memcpy((char *)sinter_tensor_mutable(target) + (size_t)target_index * size,
               (const char *)source->data + (size_t)source_index * size, (size_t)count * size);
    } else {
        unsigned per_byte = 8 / bits, mask = (1u << bits) - 1;
        uint8_t *to = sinter_tensor_mutable(target);
        const uint8_t *from = source->data;
        for (int64_t i = 0; i < count; i++) {
            uint64_t s = (uint64_t)(source_index + i), t = (uint64_t)(target_index + i);
            unsigned shift = (unsigned)(t % per_byte) * bits;
            unsigned value = (from[s / per_byte] >> (unsigned)(s % per_byte) * bits) & mask;
            to[t / per_byte] = (uint8_t)((to[t / per_byte] & ~(mask << shift)) | value << shift);
        }
    }
}

void sinter_eval_copy_element(sinter_tensor *target, int64_t target_index,
                              const sinter_tensor *source, int64_t source_index) {
    sinter_eval_copy_elements(target, target_index, source, source_index, 1);
}

double *sinter_eval_doubles(sinter_eval *eval, const sinter_tensor *tensor) {
    int64_t count = sinter_tensor_count(tensor);
    double *items = SINTER_NEW_ARRAY(eval->scratch, double, count + 1);
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    bool is_u64 = tensor->dtype == SINTER_DTYPE_u64;
    for (int64_t i = 0; i < count; i++) {
        if (is_float) {
            items[i] = sinter_tensor_get_double(tensor, i);
        } else {
            int64_t value = sinter_tensor_get_int(tensor, i);
            items[i] = is_u64 ? (double)(uint64_t)value : (double)value;
        }
    }
    return items;
}

int64_t *sinter_eval_integers(sinter_eval *eval, const sinter_tensor *tensor) {
    assert(holds_integers(tensor));
    int64_t count = sinter_tensor_count(tensor);
    int64_t *items = SINTER_NEW_ARRAY(eval->scratch, int64_t, count + 1);
    for (int64_t i = 0; i < count; i++) items[i] = sinter_tensor_get_int(tensor, i);
    return items;
}

void sinter_eval_store_doubles(sinter_tensor *tensor, const double *items) {
    int64_t count = sinter_tensor_count(tensor);
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    for (int64_t i = 0; i < count; i++) {
        if (is_float)
            sinter_tensor_set_double(tensor, i, items[i]);
        else
            sinter_eval_store(tensor, i, sinter_eval_number(tensor->dtype, items[i]));
    }
}

/* Limits of an integer dtype (u64's maximum as the double nearest). */
static void integer_limits(sinter_dtype dtype, double *out_low, double *out_high) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    assert(sinter_dtype_is_integer(dtype));
    bool is_signed = info->class == SINTER_CLASS_INT;
    *out_low = is_signed ? -ldexp(1, (int)info->bits - 1) : 0;
    *out_high = ldexp(1, (int)info->bits - (is_signed ? 1 : 0)) - 1;
}

int64_t sinter_eval_saturate(sinter_dtype dtype, double value) {
    double low, high;
    integer_limits(dtype, &low, &high);
    if (isnan(value)) return 0;
    value = rint(value);
    /* `high` of the 64-bit types rounds up to a power of two that does not fit */
    if (value >= high) {
        if (dtype == SINTER_DTYPE_i64) return INT64_MAX;
        if (dtype == SINTER_DTYPE_u64) return -1;
        return (int64_t)high;
    }
    if (value <= low) return (int64_t)low;
    return dtype == SINTER_DTYPE_u64 ? (int64_t)(uint64_t)value : (int64_t)value;
}

/* ---- order ---- */

double sinter_eval_round(sinter_dtype dtype, double value) {
    return sinter_eval_number(dtype, value).f;
}

static int compare_strings(sinter_string a, sinter_string b) {
    size_t shared = a.size < b.size ? a.size : b.size;
    int order = shared ? memcmp(a.data, b.data, shared) : 0;
    if (order) return order < 0 ? -1 : 1;
    return (a.size > b.size) - (a.size < b.size);
}

int sinter_eval_compare(const sinter_tensor *a, int64_t a_index, const sinter_tensor *b,
                        int64_t b_index) {
    assert(a->dtype == b->dtype);
    if (a->dtype == SINTER_DTYPE_string)
        return compare_strings(sinter_tensor_get_string(a, a_index),
                               sinter_tensor_get_string(b, b_index));
    if (sinter_dtype_is_float(a->dtype)) {
        double x = sinter_tensor_get_double(a, a_index), y = sinter_tensor_get_double(b, b_index);
        if (isnan(x) || isnan(y)) return (isnan(x) != 0) - (isnan(y) != 0);
        return (x > y) - (x < y);
    }
    int64_t x = sinter_tensor_get_int(a, a_index), y = sinter_tensor_get_int(b, b_index);
    if (a->dtype == SINTER_DTYPE_u64)
        return ((uint64_t)x > (uint64_t)y) - ((uint64_t)x < (uint64_t)y);
    return (x > y) - (x < y);
}

void sinter_eval_sort(sinter_eval *eval, int64_t *indices, int64_t count,
                      sinter_eval_comparison compare, const void *context) {
    int64_t *from = indices, *to = SINTER_NEW_ARRAY(eval->scratch, int64_t, count + 1);
    for (int64_t width = 1; width < count; width *= 2) {
        for (int64_t start = 0; start < count; start += 2 * width) {
            int64_t middle = start + width < count ? start + width : count;
            int64_t end = start + 2 * width < count ? start + 2 * width : count;
            int64_t left = start, right = middle;
            for (int64_t k = start; k < end; k++) {
                bool take_left = left < middle &&
                                 (right >= end || compare(context, from[left], from[right]) <= 0);
                to[k] = take_left ? from[left++] : from[right++];
            }
        }
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != indices) memcpy(indices, from, (size_t)count * sizeof *indices);
}

double sinter_eval_largest(const double *items, int64_t count) {
    double high = -INFINITY;
    for (int64_t i = 0; i < count; i++)
        if (items[i] > high || isnan(items[i])) high = items[i];
    return high;
}
