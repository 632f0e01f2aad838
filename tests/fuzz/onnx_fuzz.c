/* The ONNX reader on any bytes: no crash, every refusal has a message, and what it accepts the verifier accepts. */
#include "frontends/import.h"
#include "ir/verify.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_module *module = sinter_import_onnx_memory("fuzz.onnx", data, size, &diag);
    if (!module) {
        if (diag.error_count == 0) abort(); /* refused without a word */
        return 0;
    }
    if (diag.error_count || !sinter_verify_module(module, &diag)) abort();
    sinter_module_destroy(module);
    return 0;
}
