/* Evaluator rules of sequences and optionals. Elements share storage with what they came from.
 * Test: tests/ops/ */
#include "ir/eval_rules.h"
#include <inttypes.h>

/* results[index] becomes a sequence or optional with room for `capacity` items. */
static sinter_tensor *create_items(sinter_eval *eval, sinter_type_kind kind, sinter_dtype dtype,
                                   size_t capacity) {
    sinter_tensor *result = &eval->results[0];
    result->kind = kind;
    result->dtype = dtype;
    result->items = sinter_heap_alloc((capacity + 1) * sizeof(sinter_tensor));
    return result;
}

static void push_item(sinter_tensor *sequence, const sinter_tensor *item) {
    sinter_tensor_copy(&sequence->items[sequence->item_count++], item);
}

static bool expect_sequence(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    if (input && input->kind == SINTER_TYPE_SEQUENCE) return true;
    return sinter_eval_error(eval, "expected a sequence, found %s",
                             input ? sinter_eval_describe(eval, input) : "nothing");
}

bool eval_sequence_empty(sinter_eval *eval) {
    sinter_dtype dtype = sinter_eval_dtype(eval, "dtype");
    create_items(eval, SINTER_TYPE_SEQUENCE, dtype ? dtype : SINTER_DTYPE_f32, 0);
    return true;
}

bool eval_sequence_construct(sinter_eval *eval) {
    uint32_t count = eval->info->operand_count;
    sinter_tensor *output = create_items(
        eval, SINTER_TYPE_SEQUENCE, count ? eval->operands[0]->dtype : SINTER_DTYPE_NONE, count);
    for (uint32_t i = 0; i < count; i++) push_item(output, eval->operands[i]);
    return true;
}

bool eval_sequence_length(sinter_eval *eval) {
    if (!expect_sequence(eval)) return false;
    sinter_tensor *length = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 0, NULL);
    if (length) sinter_tensor_set_int(length, 0, (int64_t)eval->operands[0]->item_count);
    return length != NULL;
}

bool eval_sequence_at(sinter_eval *eval) {
    int64_t position, index;
    if (!expect_sequence(eval) || !sinter_eval_int_scalar(eval, 1, &position) ||
        !sinter_eval_index(eval, position, (int64_t)eval->operands[0]->item_count, &index))
        return false;
    sinter_tensor_copy(&eval->results[0], &eval->operands[0]->items[index]);
    return true;
}

bool eval_sequence_erase(sinter_eval *eval) {
    int64_t position = -1, index;
    if (!expect_sequence(eval) ||
        (sinter_eval_operand(eval, 1) && !sinter_eval_int_scalar(eval, 1, &position)))
        return false;
    const sinter_tensor *input = eval->operands[0];
    if (!sinter_eval_index(eval, position, (int64_t)input->item_count, &index)) return false;
    sinter_tensor *output =
        create_items(eval, SINTER_TYPE_SEQUENCE, input->dtype, input->item_count);
    for (size_t i = 0; i < input->item_count; i++)
        if (i != (size_t)index) push_item(output, &input->items[i]);
    return true;
}

bool eval_sequence_insert(sinter_eval *eval) {
    if (!expect_sequence(eval)) return false;
    const sinter_tensor *input = eval->operands[0];
    int64_t count = (int64_t)input->item_count, position = count;
    if (sinter_eval_operand(eval, 2) && !sinter_eval_int_scalar(eval, 2, &position)) return false;
    if (position < -count || position > count)
        return sinter_eval_error(
            eval, "position %" PRId64 " is out of range for %" PRId64 " elements", position, count);
    if (position < 0) position += count;
    sinter_tensor *output =
        create_items(eval, SINTER_TYPE_SEQUENCE, input->dtype, input->item_count + 1);
    for (int64_t i = 0; i <= count; i++) {
        if (i == position) push_item(output, eval->operands[1]);
        if (i < count) push_item(output, &input->items[i]);
    }
    return true;
}

/* ---- to and from tensors ---- */

/* dims of the pieces joined along axis, or stacked along a new one. */
static bool joined_dims(sinter_eval *eval, const sinter_tensor *input, uint32_t axis, bool is_new,
                        int64_t *dims) {
    const sinter_tensor *first = &input->items[0];
    uint32_t rank = first->rank + is_new;
    for (uint32_t i = 0, from = 0; i < rank; i++)
        dims[i] = is_new && i == axis ? 0 : first->dims[from++];
    dims[axis] = 0;
    for (size_t n = 0; n < input->item_count; n++) {
        const sinter_tensor *item = &input->items[n];
        bool same = item->kind == SINTER_TYPE_TENSOR && item->dtype == first->dtype &&
                    item->rank == first->rank;
        for (uint32_t i = 0; same && i < first->rank; i++)
            same = item->dims[i] == first->dims[i] || (!is_new && i == axis);
        if (!same)
            return sinter_eval_error(eval, "element %zu is %s, the first one %s", n,
                                     sinter_eval_describe(eval, item),
                                     sinter_eval_describe(eval, first));
        dims[axis] += is_new ? 1 : item->dims[axis];
    }
    return true;
}

bool eval_concat_from_sequence(sinter_eval *eval) {
    if (!expect_sequence(eval)) return false;
    const sinter_tensor *input = eval->operands[0];
    if (!input->item_count) return sinter_eval_error(eval, "the sequence is empty");
    bool is_new = sinter_eval_int(eval, "new_axis") != 0;
    uint32_t rank = input->items[0].rank + is_new, axis;
    int64_t dims[SINTER_MAX_RANK + 1], done = 0;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), rank, &axis) ||
        !joined_dims(eval, input, axis, is_new, dims))
        return false;
    sinter_tensor *output = sinter_eval_create(eval, 0, input->items[0].dtype, rank, dims);
    if (!output) return false;
    sinter_lanes lanes = sinter_eval_lanes(rank, dims, axis);
    for (size_t n = 0; n < input->item_count; n++) {
        int64_t width = is_new ? 1 : input->items[n].dims[axis];
        for (int64_t o = 0; o < lanes.outer; o++)
            sinter_eval_copy_elements(output, (o * lanes.count + done) * lanes.inner,
                                      &input->items[n], o * width * lanes.inner,
                                      width * lanes.inner);
        done += width;
    }
    return true;
}

/* Sizes of the pieces: as listed, of one size but for the last, or all of 1. */
static bool piece_sizes(sinter_eval *eval, int64_t total, int64_t **out_sizes, int64_t *out_count) {
    const sinter_tensor *split = sinter_eval_operand(eval, 1);
    if (split && split->rank == 1) {
        int64_t sum = 0;
        if (!sinter_eval_expect_rank(eval, 1, 1, 1)) return false;
        *out_count = sinter_tensor_count(split);
        *out_sizes = sinter_eval_integers(eval, split);
        for (int64_t i = 0; i < *out_count; i++) {
            if ((*out_sizes)[i] < 0 || (*out_sizes)[i] > total - sum)
                return sinter_eval_error(eval, "the pieces do not make %" PRId64 " elements",
                                         total);
            sum += (*out_sizes)[i];
        }
        if (sum == total) return true;
        return sinter_eval_error(eval, "the pieces do not make %" PRId64 " elements", total);
    }
    int64_t size = 1;
    if (split && !sinter_eval_int_scalar(eval, 1, &size)) return false;
    if (size < 1) return sinter_eval_error(eval, "pieces of %" PRId64 " elements", size);
    *out_count = total / size + (total % size != 0);
    *out_sizes = SINTER_NEW_ARRAY(eval->scratch, int64_t, *out_count + 1);
    for (int64_t i = 0; i < *out_count; i++)
        (*out_sizes)[i] = total - i * size < size ? total - i * size : size;
    return true;
}

bool eval_split_to_sequence(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    uint32_t axis;
    int64_t *sizes, count, done = 0;
    if (!sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), input->rank, &axis) ||
        !piece_sizes(eval, input->dims[axis], &sizes, &count))
        return false;
    bool drops_axis = !sinter_eval_operand(eval, 1) && !sinter_eval_int(eval, "keepdims");
    sinter_lanes lanes = sinter_eval_lanes(input->rank, input->dims, axis);
    sinter_tensor *output = create_items(eval, SINTER_TYPE_SEQUENCE, input->dtype, (size_t)count);
    for (int64_t n = 0; n < count; n++) {
        int64_t dims[SINTER_MAX_RANK];
        uint32_t rank = 0;
        for (uint32_t i = 0; i < input->rank; i++)
            if (i != axis || !drops_axis) dims[rank++] = i == axis ? sizes[n] : input->dims[i];
        sinter_tensor *piece = &output->items[output->item_count];
        if (!sinter_eval_temporary(eval, piece, input->dtype, rank, dims)) return false;
        output->item_count++;
        for (int64_t o = 0; o < lanes.outer; o++)
            sinter_eval_copy_elements(piece, o * sizes[n] * lanes.inner, input,
                                      (o * lanes.count + done) * lanes.inner,
                                      sizes[n] * lanes.inner);
        done += sizes[n];
    }
    return true;
}

/* ---- optionals ---- */

bool eval_optional(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    sinter_tensor *output = create_items(eval, SINTER_TYPE_OPTIONAL, input ? input->dtype : 0, 1);
    if (input) push_item(output, input);
    return true;
}

/* What is not an optional counts as one that holds it. */
bool eval_optional_get_element(sinter_eval *eval) {
    const sinter_tensor *input = eval->operands[0];
    if (input->kind == SINTER_TYPE_OPTIONAL) {
        if (!input->item_count) return sinter_eval_error(eval, "the optional is empty");
        input = &input->items[0];
    }
    sinter_tensor_copy(&eval->results[0], input);
    return true;
}

bool eval_optional_has_element(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    bool holds = input && (input->kind != SINTER_TYPE_OPTIONAL || input->item_count);
    sinter_tensor *output = sinter_eval_create(eval, 0, SINTER_DTYPE_bool, 0, NULL);
    if (output) sinter_tensor_set_int(output, 0, holds);
    return output != NULL;
}
