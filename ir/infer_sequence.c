/* Inference of sequences and optionals. Elements of a sequence may differ: dims that are not one number are symbols
 * that stand for "some size", and a tensor taken out has symbols of its own. Test: tests/ir/infer_sequence.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>
#include <string.h>

static bool check_sequence(sinter_infer *infer) {
    return sinter_infer_operand(infer, 0)->kind == SINTER_TYPE_SEQUENCE ||
           sinter_infer_error(infer,
                              "operand 'input_sequence' must be a sequence, not %s [sequence_c1]",
                              sinter_infer_text(infer, 0));
}

static bool check_position(sinter_infer *infer, uint32_t index) {
    return sinter_infer_check_scalar(infer, index);
}

/* A sequence of elements of the type; dims of 0 become the result's own symbols. */
static void set_sequence(sinter_infer *infer, const sinter_type *element) {
    sinter_type *copy = SINTER_NEW(infer->arena, sinter_type);
    sinter_value value = infer->info->results[0];
    *copy = *element;
    if (copy->kind == SINTER_TYPE_TENSOR) {
        sinter_dim *dims = SINTER_NEW_ARRAY(infer->arena, sinter_dim, copy->rank);
        for (uint32_t i = 0; i < copy->rank; i++) {
            dims[i] = element->dims[i];
            if (!dims[i] && value)
                dims[i] = sinter_infer_own_symbol(infer->module, SINTER_DIM_ORIGIN_NODE, value,
                                                  SINTER_MAX_RANK + i, "element");
        }
        copy->dims = dims;
    }
    sinter_infer_set_type(infer, 0, (sinter_type){.kind = SINTER_TYPE_SEQUENCE, .element = copy});
}

/* The element type of operand 0 where its rank is known, else that of the declared result. */
static const sinter_type *element_of_known_rank(sinter_infer *infer) {
    const sinter_type *element = sinter_infer_operand(infer, 0)->element,
                      *declared = sinter_infer_declared(infer, 0);
    if (element->kind != SINTER_TYPE_NONE) return element;
    if (declared->kind == SINTER_TYPE_TENSOR) return declared;
    sinter_infer_error(infer, "the rank of the elements of %s is not known [sequence_c2]",
                       sinter_infer_text(infer, 0));
    return NULL;
}

bool infer_sequence_construct(sinter_infer *infer) {
    sinter_type element = {0};
    for (uint32_t i = 0; i < infer->info->operand_count; i++) {
        sinter_type joined;
        if (!sinter_infer_has(infer, i) || !sinter_infer_check_tensor(infer, i) ||
            !sinter_infer_join(infer, &element, sinter_infer_operand(infer, i), &joined))
            return sinter_infer_error(infer,
                                      "elements must have one element type: operand %" PRIu32
                                      " is %s [sequence_c3]",
                                      i, sinter_infer_text(infer, i));
        element = joined;
    }
    set_sequence(infer, &element);
    return true;
}

bool infer_sequence_empty(sinter_infer *infer) {
    set_sequence(infer, &(sinter_type){0});
    return true;
}

bool infer_sequence_at(sinter_infer *infer) {
    if (!check_sequence(infer) || !check_position(infer, 1)) return false;
    const sinter_type *element = element_of_known_rank(infer);
    sinter_dim dims[SINTER_MAX_RANK];
    int64_t value;
    if (!element) return false;
    if (element->kind != SINTER_TYPE_TENSOR) {
        sinter_infer_set_type(infer, 0, *element);
        return true;
    }
    for (uint32_t i = 0; i < element->rank; i++)
        dims[i] = sinter_dim_is_const(infer->dims, element->dims[i], &value)
                      ? element->dims[i]
                      : sinter_infer_node_dim(infer, 0, i, "element");
    sinter_infer_set(infer, 0, element->dtype, element->rank, dims);
    return true;
}

bool infer_sequence_erase(sinter_infer *infer) {
    if (!check_sequence(infer) || !check_position(infer, 1)) return false;
    sinter_infer_set_like(infer, 0, 0);
    return true;
}

bool infer_sequence_insert(sinter_infer *infer) {
    sinter_type joined;
    if (!check_sequence(infer) || !sinter_infer_check_tensor(infer, 1) || !check_position(infer, 2))
        return false;
    if (!sinter_infer_join(infer, sinter_infer_operand(infer, 0)->element,
                           sinter_infer_operand(infer, 1), &joined))
        return sinter_infer_error(infer, "%s does not go into %s [sequence_c3]",
                                  sinter_infer_text(infer, 1), sinter_infer_text(infer, 0));
    set_sequence(infer, &joined);
    return true;
}

bool infer_sequence_length(sinter_infer *infer) {
    if (!check_sequence(infer)) return false;
    sinter_infer_set(infer, 0, SINTER_DTYPE_i64, 0, NULL);
    return true;
}

bool infer_concat_from_sequence(sinter_infer *infer) {
    bool stacked = sinter_node_get_int(infer->module, infer->node, "new_axis", 0) != 0;
    uint32_t axis;
    sinter_dim dims[SINTER_MAX_RANK];
    int64_t value;
    if (!check_sequence(infer)) return false;
    const sinter_type *element = sinter_infer_operand(infer, 0)->element,
                      *declared = sinter_infer_declared(infer, 0);
    if (element->kind != SINTER_TYPE_TENSOR) {
        if (declared->kind != SINTER_TYPE_TENSOR)
            return sinter_infer_error(infer,
                                      "the rank of the elements of %s is not known [sequence_c2]",
                                      sinter_infer_text(infer, 0));
        sinter_infer_set_type(infer, 0, *declared);
        return true;
    }
    uint32_t rank = element->rank + stacked;
    if (!sinter_infer_check_result_rank(infer, rank) ||
        !sinter_infer_axis_attr(infer, "axis", 0, rank, &axis))
        return false;
    for (uint32_t i = 0, from = 0; i < rank; i++) {
        sinter_dim dim = stacked && i == axis ? 0 : element->dims[from++];
        bool known = i != axis && sinter_dim_is_const(infer->dims, dim, &value);
        dims[i] = known ? dim : sinter_infer_node_dim(infer, 0, i, "joined");
    }
    sinter_infer_set(infer, 0, element->dtype, rank, dims);
    return true;
}

/* The size of each piece along axis, 0 where they differ or are not known. */
static sinter_dim piece_size(sinter_infer *infer, sinter_dim size) {
    const int64_t *pieces;
    size_t count;
    int64_t have;
    if (!sinter_infer_has(infer, 1)) return sinter_infer_number(infer, 1);
    if (!sinter_infer_find_ints(infer, 1, &pieces, &count) || count == 0) return 0;
    for (size_t i = 1; i < count; i++)
        if (pieces[i] != pieces[0]) return 0;
    bool whole =
        sinter_infer_operand(infer, 1)->rank == 1 ||
        (pieces[0] > 0 && sinter_dim_is_const(infer->dims, size, &have) && have % pieces[0] == 0);
    return whole ? sinter_infer_number(infer, pieces[0]) : 0;
}

bool infer_split_to_sequence(sinter_infer *infer) {
    const sinter_type *x = sinter_infer_operand(infer, 0);
    bool keep = sinter_infer_has(infer, 1) ||
                sinter_node_get_int(infer->module, infer->node, "keepdims", 1) != 0;
    uint32_t axis, rank = 0;
    sinter_dim dims[SINTER_MAX_RANK];
    if (!sinter_infer_check_rank(infer, 0, 1, SINTER_MAX_RANK) ||
        !sinter_infer_check_rank(infer, 1, 0, 1) ||
        !sinter_infer_axis_attr(infer, "axis", 0, x->rank, &axis))
        return false;
    for (uint32_t i = 0; i < x->rank; i++)
        if (i != axis)
            dims[rank++] = x->dims[i];
        else if (keep)
            dims[rank++] = piece_size(infer, x->dims[i]);
    set_sequence(
        infer,
        &(sinter_type){.kind = SINTER_TYPE_TENSOR, .dtype = x->dtype, .rank = rank, .dims = dims});
    return true;
}

/* ---- optionals ---- */

bool infer_optional(sinter_infer *infer) {
    sinter_type *element = SINTER_NEW(infer->arena, sinter_type);
    const sinter_attr *type = sinter_node_find_attr(infer->module, infer->node, "type");
    if (sinter_infer_has(infer, 0))
        *element = *sinter_infer_operand(infer, 0);
    else if (type)
        *element = *type->type;
    else
        return sinter_infer_error(infer, "an operand or attribute 'type' is needed [optional_c1]");
    sinter_infer_set_type(infer, 0,
                          (sinter_type){.kind = SINTER_TYPE_OPTIONAL, .element = element});
    return true;
}

bool infer_optional_get_element(sinter_infer *infer) {
    const sinter_type *type = sinter_infer_operand(infer, 0);
    sinter_infer_set_type(infer, 0, type->kind == SINTER_TYPE_OPTIONAL ? *type->element : *type);
    return true;
}

bool infer_optional_has_element(sinter_infer *infer) {
    sinter_infer_set(infer, 0, SINTER_DTYPE_bool, 0, NULL);
    return true;
}
