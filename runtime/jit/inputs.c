/* Made-up inputs. Test: tests/cli/run.test */
#include "runtime/jit/inputs.h"
#include "ir/base/splitmix.h"

/* Integers of few bits are quantized values; others may be indices, or flags. */
static bool has_range(sinter_dtype dtype) {
    return sinter_dtype_infos[dtype].bits < 8;
}

static int64_t made_integer(sinter_dtype dtype, uint64_t bits) {
    const sinter_dtype_info *info = &sinter_dtype_infos[dtype];
    if (!has_range(dtype)) return (int64_t)(bits & 1);
    const int64_t codes = (int64_t)1 << info->bits, code = (int64_t)(bits & (uint64_t)(codes - 1));
    return info->class == SINTER_CLASS_INT ? code - codes / 2 : code;
}

const char *sinter_inputs_describe(sinter_dtype dtype) {
    if (sinter_dtype_is_float(dtype)) return "-1 to 1";
    return has_range(dtype) ? "all that it can be" : "0 and 1";
}

void sinter_inputs_fill(sinter_tensor *tensor, uint64_t *state) {
    int64_t count = sinter_tensor_count(tensor);
    for (int64_t i = 0; i < count; ++i) {
        uint64_t bits = sinter_splitmix(state);
        if (sinter_dtype_is_float(tensor->dtype))
            sinter_tensor_set_double(tensor, i, (double)(bits >> 11) * 0x1p-52 - 1);
        else if (tensor->dtype == SINTER_DTYPE_string)
            sinter_tensor_set_string(tensor, i, SINTER_STRING("text"));
        else
            sinter_tensor_set_int(tensor, i, made_integer(tensor->dtype, bits));
    }
}
