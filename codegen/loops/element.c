/* Elements of tensors as the values that the loop interpreter computes with. Test: tests/unit/loop_test.c */
#include "codegen/loops/code.h"

#include <math.h>
#include <string.h>

/* Inputs of mapped files may lie anywhere, so elements are copied out. */
void sinter_code_read_element(const sinter_tensor *tensor, int64_t index,
                              sinter_code_value *result) {
    size_t size = sinter_dtype_infos[tensor->dtype].bits / 8;
    const unsigned char *data = (const unsigned char *)tensor->data + (size_t)index * size;
    float single;
    int32_t word;
    switch (tensor->dtype) {
    case SINTER_DTYPE_f32:
        memcpy(&single, data, sizeof single);
        result->f = single;
        break;
    case SINTER_DTYPE_f64:
        memcpy(&result->f, data, sizeof result->f);
        break;
    case SINTER_DTYPE_i64:
        memcpy(&result->i, data, sizeof result->i);
        break;
    case SINTER_DTYPE_i32:
        memcpy(&word, data, sizeof word);
        result->i = word;
        break;
    case SINTER_DTYPE_string:
    case SINTER_DTYPE_c64:
    case SINTER_DTYPE_c128:
        memcpy(result->bytes, data, size);
        break;
    default:
        if (sinter_dtype_is_float(tensor->dtype))
            result->f = sinter_tensor_get_double(tensor, index);
        else
            result->i = sinter_tensor_get_int(tensor, index);
    }
}

void sinter_code_write_element(sinter_tensor *tensor, int64_t index,
                               const sinter_code_value *value) {
    unsigned char *data = (unsigned char *)(uintptr_t)tensor->data;
    switch (tensor->dtype) {
    case SINTER_DTYPE_f32:
        ((float *)(void *)data)[index] = (float)value->f;
        break;
    case SINTER_DTYPE_string:
    case SINTER_DTYPE_c64:
    case SINTER_DTYPE_c128: {
        size_t size = sinter_dtype_infos[tensor->dtype].bits / 8;
        memcpy(data + (size_t)index * size, value->bytes, size);
        break;
    }
    case SINTER_DTYPE_f8e5m2: /* an infinity stays one: what saturates did so in its cast */
        data[index] =
            (unsigned char)sinter_float_encode(SINTER_DTYPE_f8e5m2, value->f, !isinf(value->f));
        break;
    default:
        if (!sinter_dtype_is_float(tensor->dtype))
            sinter_tensor_set_int(tensor, index, value->i);
        else if (sinter_dtype_infos[tensor->dtype].bits ==
                 8) /* exact: the cast has decided about infinity */
            data[index] = (unsigned char)sinter_float_encode(tensor->dtype, value->f, false);
        else
            sinter_tensor_set_double(tensor, index, value->f);
    }
}
