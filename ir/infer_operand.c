/* How inference rules read operands, write results and name types in messages; see ir/infer_rules.h.
 * Test: tests/ir/infer_*.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>

static const sinter_type none_type = {0};

/* ---- operands ---- */

const sinter_type *sinter_infer_operand(const sinter_infer *infer, uint32_t index) {
    sinter_value value = sinter_node_operand(infer->module, infer->node, index);
    return value ? sinter_value_type(infer->module, value) : &none_type;
}

bool sinter_infer_has(const sinter_infer *infer, uint32_t index) {
    return sinter_node_operand(infer->module, infer->node, index) != 0;
}

/* The schema's name of an operand, "inputs[3]" for variadic ones. */
static const char *operand_name(sinter_infer *infer, uint32_t index) {
    const sinter_op_info *schema = sinter_op_get_info(infer->info->op);
    if (schema->operand_count == 0) return sinter_arena_format(infer->arena, "%" PRIu32, index);
    uint32_t last = schema->operand_count - 1;
    const sinter_operand_info *info = &schema->operands[index < last ? index : last];
    if (info->arity == SINTER_ARITY_VARIADIC)
        return sinter_arena_format(infer->arena, "%.*s[%" PRIu32 "]",
                                   SINTER_STRING_ARGS(info->name), index - last);
    return sinter_arena_copy_string(infer->arena, info->name.data, info->name.size);
}

bool sinter_infer_check_tensor(sinter_infer *infer, uint32_t index) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (type->kind == SINTER_TYPE_TENSOR || type->kind == SINTER_TYPE_NONE) return true;
    return sinter_infer_error(infer, "operand '%s' must be a tensor, not %s [operand_c1]",
                              operand_name(infer, index), sinter_infer_type_text(infer, type));
}

bool sinter_infer_check_rank(sinter_infer *infer, uint32_t index, uint32_t min, uint32_t max) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!sinter_infer_check_tensor(infer, index)) return false;
    if (type->kind == SINTER_TYPE_NONE || (type->rank >= min && type->rank <= max)) return true;
    const char *name = operand_name(infer, index), *text = sinter_infer_type_text(infer, type);
    if (min == max)
        return sinter_infer_error(
            infer, "operand '%s' must have rank %" PRIu32 ", got %s [operand_c2]", name, min, text);
    if (max >= SINTER_MAX_RANK)
        return sinter_infer_error(
            infer, "operand '%s' must have rank %" PRIu32 " or more, got %s [operand_c2]", name,
            min, text);
    return sinter_infer_error(
        infer, "operand '%s' must have rank %" PRIu32 " to %" PRIu32 ", got %s [operand_c2]", name,
        min, max, text);
}

bool sinter_infer_check_same_dtype(sinter_infer *infer, uint32_t a, uint32_t b) {
    const sinter_type *left = sinter_infer_operand(infer, a),
                      *right = sinter_infer_operand(infer, b);
    if (!sinter_infer_check_tensor(infer, a) || !sinter_infer_check_tensor(infer, b)) return false;
    if (!left->kind || !right->kind || left->dtype == right->dtype) return true;
    return sinter_infer_error(
        infer, "operands '%s' and '%s' must have one element type: %s and %s [operand_c3]",
        operand_name(infer, a), operand_name(infer, b), sinter_infer_type_text(infer, left),
        sinter_infer_type_text(infer, right));
}

/* "must be f32", "must be one number" */
static bool kind_error(sinter_infer *infer, uint32_t index, const char *expected) {
    return sinter_infer_error(infer, "operand '%s' must be %s, got %s [operand_c4]",
                              operand_name(infer, index), expected,
                              sinter_infer_text(infer, index));
}

bool sinter_infer_check_dtype(sinter_infer *infer, uint32_t index, sinter_dtype dtype) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!sinter_infer_check_tensor(infer, index)) return false;
    return !type->kind || type->dtype == dtype ||
           kind_error(infer, index, sinter_dtype_infos[dtype].name);
}

bool sinter_infer_check_class(sinter_infer *infer, uint32_t index) {
    const sinter_operand_info *info = sinter_op_find_operand(infer->info->op, index);
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!info || info->class == SINTER_OPERAND_ANY || type->kind == SINTER_TYPE_NONE) return true;
    return sinter_infer_check_tensor(infer, index) &&
           (sinter_op_class_allows(info->class, type->dtype) ||
            kind_error(infer, index, sinter_op_class_text(info->class)));
}

bool sinter_infer_check_integer(sinter_infer *infer, uint32_t index) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!sinter_infer_check_tensor(infer, index)) return false;
    return !type->kind || sinter_dtype_is_integer(type->dtype) ||
           kind_error(infer, index, "an integer tensor");
}

bool sinter_infer_check_float(sinter_infer *infer, uint32_t index) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    if (!sinter_infer_check_tensor(infer, index)) return false;
    return !type->kind || sinter_dtype_is_float(type->dtype) ||
           kind_error(infer, index, "a float tensor");
}

bool sinter_infer_check_scalar(sinter_infer *infer, uint32_t index) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    sinter_dim unified;
    if (!sinter_infer_check_rank(infer, index, 0, 1)) return false;
    return type->rank == 0 ||
           sinter_infer_unify_dim(infer, type->dims[0], sinter_infer_number(infer, 1), &unified) ||
           kind_error(infer, index, "one number");
}

/* ---- contents ---- */

bool sinter_infer_count(const sinter_infer *infer, uint32_t index, size_t *out_count) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    uint64_t count;
    if (type->kind != SINTER_TYPE_TENSOR || !sinter_type_static_count(infer->dims, type, &count))
        return false;
    *out_count = (size_t)count;
    return true;
}

bool sinter_infer_find_content(sinter_infer *infer, uint32_t index, const sinter_dim **out_items,
                               size_t *out_count) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    size_t count;
    if (!sinter_infer_count(infer, index, &count) || count > SINTER_INFER_CONSTANT_LIMIT)
        return false;
    if (!sinter_dtype_is_integer(type->dtype) && type->dtype != SINTER_DTYPE_bool) return false;
    sinter_value value = sinter_node_operand(infer->module, infer->node, index);
    const sinter_tensor *constant = sinter_value_constant(infer->module, value);
    const sinter_value_info *info = sinter_value_get(infer->module, value);
    if (!constant && count > SINTER_INFER_CONTENT_LIMIT) return false;
    sinter_dim *items = SINTER_NEW_ARRAY(infer->arena, sinter_dim, count);
    for (size_t i = 0; i < count; i++) {
        if (constant)
            items[i] = sinter_dim_const(infer->dims, sinter_tensor_get_int(constant, (int64_t)i));
        else
            items[i] = info->content_count == count ? info->content[i] : 0;
    }
    *out_items = items;
    *out_count = count;
    return true;
}

bool sinter_infer_find_ints(sinter_infer *infer, uint32_t index, const int64_t **out_items,
                            size_t *out_count) {
    const sinter_dim *items;
    if (!sinter_infer_find_content(infer, index, &items, out_count)) return false;
    int64_t *numbers = SINTER_NEW_ARRAY(infer->arena, int64_t, *out_count);
    for (size_t i = 0; i < *out_count; i++)
        if (!items[i] || !sinter_dim_is_const(infer->dims, items[i], &numbers[i])) return false;
    *out_items = numbers;
    return true;
}

sinter_dim sinter_infer_demand_scalar(sinter_infer *infer, uint32_t index) {
    const sinter_type *type = sinter_infer_operand(infer, index);
    const sinter_dim *items;
    size_t count;
    if (sinter_infer_demand_content(infer, index, &items, &count)) return count == 1 ? items[0] : 0;
    /* A vector of unknown length where one number is wanted holds that number. */
    if (type->kind != SINTER_TYPE_TENSOR || type->rank != 1 ||
        !sinter_dtype_is_integer(type->dtype) || sinter_infer_count(infer, index, &count))
        return 0;
    sinter_value value = sinter_node_operand(infer->module, infer->node, index);
    return sinter_infer_own_symbol(infer->module, SINTER_DIM_ORIGIN_CONTENT, value, 0, NULL);
}

/* ---- results ---- */

void sinter_infer_set_type(sinter_infer *infer, uint32_t result, sinter_type type) {
    if (result < infer->info->result_count) infer->results[result] = type;
}

void sinter_infer_set(sinter_infer *infer, uint32_t result, sinter_dtype dtype, uint32_t rank,
                      const sinter_dim *dims) {
    if (result < infer->info->result_count)
        infer->results[result] = sinter_type_tensor(infer->arena, dtype, rank, dims);
}

void sinter_infer_set_like(sinter_infer *infer, uint32_t result, uint32_t operand) {
    sinter_infer_set_type(infer, result, *sinter_infer_operand(infer, operand));
}

void sinter_infer_set_dtype(sinter_infer *infer, uint32_t result, uint32_t operand,
                            sinter_dtype dtype) {
    const sinter_type *type = sinter_infer_operand(infer, operand);
    sinter_infer_set(infer, result, dtype, type->rank, type->dims);
}

bool sinter_infer_check_result_rank(sinter_infer *infer, uint64_t rank) {
    return rank <= SINTER_MAX_RANK ||
           sinter_infer_error(infer,
                              "a result of rank %" PRIu64 " is above the limit of %d [rank_c1]",
                              rank, SINTER_MAX_RANK);
}

const sinter_type *sinter_infer_declared(const sinter_infer *infer, uint32_t result) {
    sinter_value value = result < infer->info->result_count ? infer->info->results[result] : 0;
    return value ? sinter_value_type(infer->module, value) : &none_type;
}

void sinter_infer_set_unknown(sinter_infer *infer, uint32_t result, sinter_dtype dtype,
                              uint32_t rank, const char *prefix) {
    sinter_dim dims[SINTER_MAX_RANK];
    if (result >= infer->info->result_count) return;
    for (uint32_t i = 0; i < rank; i++) dims[i] = sinter_infer_node_dim(infer, result, i, prefix);
    sinter_infer_set(infer, result, dtype, rank, dims);
}

sinter_type sinter_infer_scalar_type(sinter_dtype dtype) {
    return (sinter_type){.kind = SINTER_TYPE_TENSOR, .dtype = dtype};
}

/* ---- words ---- */

const char *sinter_infer_type_text(sinter_infer *infer, const sinter_type *type) {
    return sinter_type_text(infer->dims, type, infer->arena);
}

const char *sinter_infer_text(sinter_infer *infer, uint32_t operand) {
    return sinter_infer_type_text(infer, sinter_infer_operand(infer, operand));
}

const char *sinter_infer_dim_text(sinter_infer *infer, sinter_dim dim) {
    sinter_text text = {0};
    sinter_dim_describe(infer->dims, dim, &text);
    const char *copy = sinter_arena_copy_string(infer->arena, text.data, text.size);
    sinter_text_deinit(&text);
    return copy;
}
