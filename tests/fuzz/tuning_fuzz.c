/* The reader of tuning files on any bytes: no crash, no refusal without a word, and what it accepts prints to text that
 * reads back and prints the same. */
#include "codegen/tuning.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_text first = {0}, second = {0};
    sinter_tuning *tuning = sinter_tuning_parse("fuzz", (const char *)data, size, &diag);
    if (!tuning) {
        if (diag.error_count == 0) abort();
        return 0;
    }
    sinter_tuning_print(tuning, &first);
    sinter_tuning *again = sinter_tuning_parse("again", first.data, first.size, NULL);
    if (!again) abort();
    sinter_tuning_print(again, &second);
    if (strcmp(first.data, second.data) != 0) abort();
    sinter_tuning_destroy(again);
    sinter_tuning_destroy(tuning);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    return 0;
}
