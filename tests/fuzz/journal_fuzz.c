/* The reader of journals on any bytes: no crash, no refusal without a word, and what it accepts prints to text that reads back
 * and prints the same. */
#include "runtime/jit/journal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    sinter_diag diag = {0};
    sinter_text first = {0}, second = {0};
    sinter_journal *journal = sinter_journal_parse("fuzz", (const char *)data, size, &diag);
    if (!journal) {
        if (diag.error_count == 0) abort();
        return 0;
    }
    sinter_journal_print(journal, &first);
    sinter_journal *again = sinter_journal_parse("again", first.data, first.size, NULL);
    if (!again || sinter_journal_count(again) != sinter_journal_count(journal)) abort();
    sinter_journal_print(again, &second);
    if (strcmp(first.data, second.data) != 0) abort();
    sinter_journal_destroy(again);
    sinter_journal_destroy(journal);
    sinter_text_deinit(&first);
    sinter_text_deinit(&second);
    return 0;
}
