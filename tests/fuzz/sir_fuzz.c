/* The reader of .sir text on any bytes: no crash, and a module that it accepts and the verifier accepts
 * prints to text that reads back and prints the same. */
#include "ir/parse.h"
#include "ir/verify.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(sinter_module *module) {
    sinter_text first = {0}, second = {0};
    sinter_print_module(module, NULL, &first);
    sinter_module *again = sinter_parse_module("again.sir", first.data, first.size, NULL);
    if (!again) abort();
    sinter_print_module(again, NULL, &second);
    if (strcmp(first.data, second.data) != 0) abort();
    sinter_module_destroy(again);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_module *module = sinter_parse_module("fuzz.sir", (const char *)data, size, &diag);
    if (!module) {
        if (diag.error_count == 0) abort(); /* refused without a word */
        return 0;
    }
    sinter_module *copy = sinter_module_clone(module);
    sinter_text text = {0};
    if (sinter_verify_module(module, &diag))
        check_round_trip(copy);
    else
        sinter_print_module(module, NULL, &text);
    sinter_text_deinit(&text);
    sinter_module_destroy(copy);
    sinter_module_destroy(module);
    return 0;
}
