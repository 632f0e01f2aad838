/* Evaluator rules that give elements other dims without moving them, or make tensors out of dims: reshape, squeeze,
 * flatten, shape, constants, range, ... Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* ---- same elements, other dims ---- */

/* Of an empty tensor: zeros of the shape cancel those of the data, as symbolic dims do, and the rest says what is left. */
static int64_t remaining_of_empty(const sinter_tensor *data, const int64_t *dims, size_t rank) {
    int64_t left = 1, others = 1;
    size_t zeros = 0;
    for (size_t i = 0; i < rank; i++) {
        zeros += dims[i] == 0;
        if (dims[i]) others *= dims[i];
    }
    for (uint32_t i = 0; i < data->rank; i++) {
        if (zeros > 0 && data->dims[i] == 0)
            zeros--;
        else
            left *= data->dims[i];
    }
    return zeros ? 0 : left / others;
}

bool eval_reshape(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    int64_t dims[SINTER_MAX_RANK], known = 1;
    size_t rank;
    uint32_t inferred = SINTER_MAX_RANK;
    if (!sinter_eval_ints(eval, 1, dims, SINTER_MAX_RANK, &rank)) return false;
    int64_t count = sinter_tensor_count(data);
    bool allow_zero = sinter_eval_int(eval, "allowzero") != 0;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] == -1) {
            if (inferred < SINTER_MAX_RANK) return sinter_eval_error(eval, "shape holds -1 twice");
            inferred = i;
            dims[i] = 1;
        } else if (dims[i] == 0 && !allow_zero) {
            if (i >= data->rank)
                return sinter_eval_error(eval, "shape copies dim %u of %s", i,
                                         sinter_eval_describe(eval, data));
            dims[i] = data->dims[i];
        }
    }
    if (!sinter_eval_product(dims, (uint32_t)rank, &known))
        return sinter_eval_error(eval, "shape is negative or too large");
    if (inferred < SINTER_MAX_RANK && known && count % known == 0) {
        dims[inferred] = count / known;
        known = count;
    } else if (inferred < SINTER_MAX_RANK && !known && !count) {
        dims[inferred] = remaining_of_empty(data, dims, rank);
    }
    if (known != count)
        return sinter_eval_error(eval, "%" PRId64 " elements do not fit a shape of %" PRId64, count,
                                 known);
    return sinter_eval_share(eval, 0, data, (uint32_t)rank, dims);
}

bool eval_flatten(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t axis = sinter_eval_int(eval, "axis"), dims[2] = {1, 1};
    if (axis < 0) axis += input->rank;
    if (axis < 0 || axis > input->rank)
        return sinter_eval_error(eval, "axis is out of range for rank %u", input->rank);
    for (uint32_t i = 0; i < input->rank; i++) dims[i >= axis] *= input->dims[i];
    return sinter_eval_share(eval, 0, input, 2, dims);
}

bool eval_squeeze(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    int64_t axes[SINTER_MAX_RANK], dims[SINTER_MAX_RANK];
    size_t count;
    bool squeezed[SINTER_MAX_RANK];
    uint32_t rank = 0;
    if (!sinter_eval_ints(eval, 1, axes, SINTER_MAX_RANK, &count) ||
        !sinter_eval_axes(eval, axes, count, data->rank, squeezed))
        return false;
    for (uint32_t i = 0; i < data->rank; i++) {
        if (!sinter_eval_operand(eval, 1)) squeezed[i] = data->dims[i] == 1;
        if (!squeezed[i])
            dims[rank++] = data->dims[i];
        else if (data->dims[i] != 1)
            return sinter_eval_error(eval, "axis %u of %s is not 1", i,
                                     sinter_eval_describe(eval, data));
    }
    return sinter_eval_share(eval, 0, data, rank, dims);
}

bool eval_unsqueeze(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    int64_t axes[SINTER_MAX_RANK], dims[SINTER_MAX_RANK];
    size_t count;
    bool inserted[SINTER_MAX_RANK];
    if (!sinter_eval_ints(eval, 1, axes, SINTER_MAX_RANK, &count)) return false;
    uint32_t rank = data->rank + (uint32_t)count, from = 0;
    if (rank > SINTER_MAX_RANK) return sinter_eval_error(eval, "rank %u is too large", rank);
    if (!sinter_eval_axes(eval, axes, count, rank, inserted)) return false;
    for (uint32_t i = 0; i < rank; i++) dims[i] = inserted[i] ? 1 : data->dims[from++];
    return sinter_eval_share(eval, 0, data, rank, dims);
}

/* ---- dims as tensors ---- */

bool eval_shape(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    int64_t rank = data->rank, start = sinter_eval_int(eval, "start");
    int64_t end = sinter_eval_has(eval, "end") ? sinter_eval_int(eval, "end") : rank;
    if (start < 0) start += rank;
    if (end < 0) end += rank;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    int64_t count = end - start;
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 1, &count);
    for (int64_t i = 0; result && i < count; i++)
        sinter_tensor_set_int(result, i, data->dims[start + i]);
    return result != NULL;
}

bool eval_size(sinter_eval *eval) {
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 0, NULL);
    if (result) sinter_tensor_set_int(result, 0, sinter_tensor_count(eval->operands[0]));
    return result != NULL;
}

bool eval_dim_vector(sinter_eval *eval) {
    const int64_t *items;
    int64_t count = (int64_t)sinter_eval_ints_attr(eval, "dims", &items), value;
    sinter_tensor *result = sinter_eval_create(eval, 0, SINTER_DTYPE_i64, 1, &count);
    if (!result) return false;
    for (int64_t i = 0; i < count; i++) {
        if (!sinter_eval_dim(eval, (sinter_dim)items[i], &value)) return false;
        sinter_tensor_set_int(result, i, value);
    }
    return true;
}

/* ---- constants and fills ---- */

static const sinter_tensor *find_tensor_attr(const sinter_eval *eval, const char *name) {
    const sinter_attr *attr = sinter_node_find_attr(eval->module, eval->node, name);
    return attr && attr->kind == SINTER_ATTR_TENSOR ? attr->tensor : NULL;
}

bool eval_constant(sinter_eval *eval) {
    const sinter_tensor *value = find_tensor_attr(eval, "value");
    if (!value) return sinter_eval_error(eval, "has no value");
    sinter_tensor_copy(&eval->results[0], value);
    return true;
}

bool eval_constant_of_shape(sinter_eval *eval) {
    const sinter_tensor *value = find_tensor_attr(eval, "value");
    int64_t dims[SINTER_MAX_RANK];
    size_t rank;
    if (!sinter_eval_ints(eval, 0, dims, SINTER_MAX_RANK, &rank)) return false;
    if (value && sinter_tensor_count(value) != 1)
        return sinter_eval_error(eval, "value is %s, expected one element",
                                 sinter_eval_describe(eval, value));
    sinter_dtype dtype = value ? value->dtype : SINTER_DTYPE_f32;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, (uint32_t)rank, dims);
    if (!result) return false;
    int64_t count = sinter_tensor_count(result);
    if (!value || !count) return true; /* zeros, as created */
    sinter_eval_copy_element(result, 0, value, 0);
    for (int64_t done = 1; done < count; done *= 2) /* what is there doubles */
        sinter_eval_copy_elements(result, done, result, 0,
                                  done < count - done ? done : count - done);
    return true;
}

bool eval_eye_like(sinter_eval *eval) {
    const sinter_tensor *input = sinter_eval_operand(eval, 0);
    int64_t k = sinter_eval_int(eval, "k");
    sinter_dtype dtype = sinter_eval_dtype(eval, "dtype");
    if (!sinter_eval_expect_rank(eval, 0, 2, 2)) return false;
    if (dtype == SINTER_DTYPE_NONE) dtype = input->dtype;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, 2, input->dims);
    if (!result) return false;
    int64_t rows = input->dims[0], columns = input->dims[1];
    for (int64_t i = 0; i < rows; i++) {
        if (k >= columns - i || k < -i) continue;
        sinter_eval_store(result, i * columns + i + k, sinter_eval_number(dtype, 1));
    }
    return true;
}

/* ---- range ---- */

static bool range_of_integers(sinter_eval *eval, sinter_dtype dtype, const int64_t item[3]) {
    uint64_t start = (uint64_t)item[0], limit = (uint64_t)item[1], delta = (uint64_t)item[2];
    int64_t count = 0;
    uint64_t steps = 0;
    if (!delta) return sinter_eval_error(eval, "delta is 0");
    if (item[2] > 0 && item[1] > item[0])
        steps = (limit - start - 1) / delta + 1;
    else if (item[2] < 0 && item[1] < item[0])
        steps = (start - limit - 1) / (0 - delta) + 1;
    count = steps > INT64_MAX ? INT64_MAX : (int64_t)steps;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, 1, &count);
    for (int64_t i = 0; result && i < count; i++)
        sinter_tensor_set_int(result, i, (int64_t)(start + (uint64_t)i * delta));
    return result != NULL;
}

bool eval_range(sinter_eval *eval) {
    double item[3];
    for (uint32_t i = 0; i < 3; i++)
        if (!sinter_eval_float_scalar(eval, i, &item[i])) return false;
    sinter_dtype dtype = eval->operands[0]->dtype;
    if (!sinter_dtype_is_float(dtype)) {
        int64_t integers[3];
        for (uint32_t i = 0; i < 3; i++)
            if (!sinter_eval_int_scalar(eval, i, &integers[i])) return false;
        return range_of_integers(eval, dtype, integers);
    }
    double steps = ceil((item[1] - item[0]) / item[2]);
    if (item[2] == 0 || isnan(steps) || steps > 0x1p40)
        return sinter_eval_error(eval, "from %g to %g by %g has no usable count", item[0], item[1],
                                 item[2]);
    int64_t count = steps > 0 ? (int64_t)steps : 0;
    sinter_tensor *result = sinter_eval_create(eval, 0, dtype, 1, &count);
    for (int64_t i = 0; result && i < count; i++)
        sinter_tensor_set_double(result, i, item[0] + (double)i * item[2]);
    return result != NULL;
}
