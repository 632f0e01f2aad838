/* Made-up inputs. Test: tests/cli/run.test */
#include "runtime/jit/inputs.h"
#include "ir/base/splitmix.h"

void sinter_inputs_fill(sinter_tensor *tensor, uint64_t *state) {
    int64_t count = sinter_tensor_count(tensor);
    for (int64_t i = 0; i < count; ++i) {
        uint64_t bits = sinter_splitmix(state);
        if (sinter_dtype_is_float(tensor->dtype))
            sinter_tensor_set_double(tensor, i, (double)(bits >> 11) * 0x1p-52 - 1);
        else if (tensor->dtype == SINTER_DTYPE_string)
            sinter_tensor_set_string(tensor, i, SINTER_STRING("text"));
        else
            sinter_tensor_set_int(tensor, i, (int64_t)(bits & 1));
    }
}
