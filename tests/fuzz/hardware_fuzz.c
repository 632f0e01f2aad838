/* The reader of hardware descriptions on any bytes: no crash, no refusal without a word, and what it accepts prints to text that
 * reads back and prints the same. */
#include "ir/hardware.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_text first = {0}, second = {0};
    sinter_hardware hardware, again;
    if (!sinter_hardware_parse("fuzz", (const char *)data, size, &hardware, &diag)) {
        if (diag.error_count == 0) abort();
        return 0;
    }
    sinter_hardware_print(&hardware, &first);
    if (!sinter_hardware_parse("again", first.data, first.size, &again, NULL)) abort();
    sinter_hardware_print(&again, &second);
    if (strcmp(first.data, second.data) != 0) abort();
    sinter_hardware_deinit(&again);
    sinter_hardware_deinit(&hardware);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    return 0;
}
