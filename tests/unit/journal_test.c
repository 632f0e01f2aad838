/* Journals: measurements survive, damage is an error, and what is of another search is not taken. */
#include "ir/base/file.h"
#include "runtime/jit/journal.h"
#include "tests/unit/test.h"

#include <stdlib.h>

static sinter_text messages;
static sinter_diag diag = {.handler = sinter_diag_text_handler, .user = &messages};

/* Whether the text is refused with this message. */
static bool refused(const char *text, const char *message) {
    messages.size = 0;
    sinter_journal *journal = sinter_journal_parse("j", text, strlen(text), &diag);
    bool right = !journal && messages.size && strstr(messages.data, message);
    if (!right) printf("  %s: %s\n", text, messages.size ? messages.data : "accepted");
    sinter_journal_destroy(journal);
    return right;
}

static void test_text(void) {
    CHECK(refused("", "j:1:1: error: expected 'sinter_journal'"));
    CHECK(refused("sinter_journal 2 \"0123456789abcdef\"", "expected version 1, found 2"));
    CHECK(refused("sinter_journal 1 \"0123\"", "expected a key of 16 hex digits"));
    CHECK(refused("sinter_journal 1 \"0123456789abcdef\"\n\"a\" = 1 2 3 4 5", "at most 4 numbers"));
    CHECK(refused("sinter_journal 1 \"0123456789abcdef\"\n\"a\" = 1 nan", "a finite number"));
    CHECK(refused("sinter_journal 1 \"0123456789abcdef\"\n\"a\" 1", "expected '='"));
    CHECK(refused("sinter_journal 1 \"0123456789abcdef\"\n\"a\" = 1\n\"a\" = 1", "j:3:1: error"));
    CHECK(refused("sinter_journal 1 \"0123456789abcdef\"\n\"a\" = 1\n\"b", "j:3:"));
}

static void test_file(void) {
    char folder[SINTER_FILE_FOLDER_BYTES];
    sinter_text path = {0}, text = {0};
    const double values[2] = {0.1, -1e-300};
    double found[2] = {0};
    bool good;
    CHECK(sinter_file_make_folder(folder, &diag));
    sinter_journal *journal = sinter_journal_open(folder, 0xabc, &diag);
    CHECK(journal && sinter_journal_count(journal) == 0);
    CHECK(!sinter_journal_find(journal, "a \"layer\"", found, 2, &good, &diag) && good);
    CHECK(sinter_journal_add(journal, "a \"layer\"", values, 2, &diag));
    CHECK(sinter_journal_add(journal, "nothing", values, 0, &diag));
    sinter_journal_destroy(journal);

    journal = sinter_journal_open(folder, 0xabc, &diag);
    CHECK(journal && sinter_journal_count(journal) == 2);
    CHECK_STRING_EQ(sinter_journal_name(journal, 1), "nothing");
    CHECK(sinter_journal_find(journal, "a \"layer\"", found, 2, &good, &diag) && good);
    CHECK_DOUBLE_EQ(found[0], values[0]);
    CHECK_DOUBLE_EQ(found[1], values[1]);
    messages.size = 0;
    CHECK(!sinter_journal_find(journal, "nothing", found, 2, &good, &diag) && !good);
    CHECK(strstr(messages.data, "'nothing': expected 2 numbers, found 0"));
    sinter_journal_destroy(journal);

    /* half of a file, and the file of another search */
    sinter_text_format(&path, "%s/%016x.journal", folder, 0xabc);
    CHECK(sinter_file_read_text(path.data, &text, &diag));
    CHECK(sinter_file_write(path.data, text.data, text.size / 2, &diag));
    CHECK(!sinter_journal_open(folder, 0xabc, &diag));
    path.size = 0;
    sinter_text_format(&path, "%s/%016x.journal", folder, 0xabd);
    CHECK(sinter_file_write(path.data, text.data, text.size, &diag));
    messages.size = 0;
    CHECK(!sinter_journal_open(folder, 0xabd, &diag));
    CHECK(strstr(messages.data, "is of another search: its key is 0000000000000abc"));
    CHECK(!sinter_journal_open(path.data, 0xabd, &diag)); /* a file is no folder */
    CHECK(strstr(messages.data, "can't be made a folder"));
    sinter_text_deinit(&path);
    sinter_text_deinit(&text);
    sinter_file_remove_folder(folder);
}

int main(void) {
    test_text();
    test_file();
    sinter_text_deinit(&messages);
    return test_finish();
}
