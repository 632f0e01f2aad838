/* The reader of the loop IR's text on any bytes: no crash, every refusal has a message, the verifier survives what it
 * accepts, and what the verifier accepts prints to text that reads back and prints the same. */
#include "codegen/loops/loop.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const sinter_loop_program *program) {
    sinter_text first = {0}, second = {0};
    sinter_loop_print(program, &first);
    if (!first.size) return; /* an empty program */
    sinter_loop_program *again = sinter_loop_parse("again.loops", first.data, first.size, NULL);
    if (!again) abort();
    sinter_loop_print(again, &second);
    if (first.size != second.size) abort();
    if (memcmp(first.data, second.data, first.size) != 0) abort();
    sinter_loop_program_destroy(again);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_loop_program *program = sinter_loop_parse("fuzz.loops", (const char *)data, size, &diag);
    if (!program) {
        if (diag.error_count == 0) abort(); /* refused without a word */
        return 0;
    }
    if (sinter_loop_verify(program, &diag)) check_round_trip(program);
    sinter_loop_program_destroy(program);
    return 0;
}
