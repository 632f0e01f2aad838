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

/* The place in the input of the box's element at these places of its own, negative: it is outside of the dims. */
static int64_t place_in_view(const sinter_code_box *box, const int64_t *places) {
    int64_t place = 0;
    for (uint32_t i = 0; i < box->rank; i++) {
        const int64_t at = box->at[i] + places[i];
        if (at < 0 || at >= box->dims[i]) return -1;
        place += at * box->strides[i];
    }
    return place;
}

const char *sinter_code_copy_box(const sinter_code_box *box, const sinter_tensor *from,
                                 sinter_tensor *to, int64_t first, int64_t *out_count) {
    const sinter_code_value zero = {0};
    int64_t places[SINTER_MAX_RANK] = {0}, count = 1;
    for (uint32_t i = 0; i < box->rank; i++) count *= box->sizes[i];
    *out_count = count;
    if (count < 0 || count > sinter_tensor_count(to) - first)
        return "a box leads out of where it goes to";
    for (int64_t k = 0; k < count; k++) {
        const int64_t place = place_in_view(box, places);
        sinter_code_value value = zero;
        if (place >= sinter_tensor_count(from)) return "a box's dims lead out of its input";
        if (place >= 0) sinter_code_read_element(from, place, &value);
        sinter_code_write_element(to, first + k, &value);
        for (uint32_t i = box->rank; i-- > 0 && ++places[i] == box->sizes[i];) places[i] = 0;
    }
    return NULL;
}
