/* Files that are there whole or not at all, alone and in pairs, and what is said where they can't be. */
#include "ir/base/file.h"
#include "tests/unit/folder_support.h"
#include "tests/unit/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[SINTER_FILE_FOLDER_BYTES];
static sinter_diag diag;

static const char *in_folder(const char *name, char path[256]) {
    snprintf(path, 256, "%s/%s", folder, name);
    return path;
}

static void check_content(const char *path, const char *data, size_t size) {
    sinter_text text = {0};
    CHECK(sinter_file_read(path, &text, &diag));
    CHECK(text.size == size && (!size || !memcmp(text.data, data, size)));
    sinter_text_deinit(&text);
}

static void test_whole(void) {
    char path[256];
    in_folder("file", path);
    CHECK(sinter_file_write(path, "old", 3, &diag));
    sinter_file_writer writer;
    CHECK(sinter_file_writer_open(&writer, path, false, &diag));
    sinter_file_writer_append(&writer, "half", 4);
    CHECK(support_count_files(folder) <= 2); /* without a name, where the file system can do that */
    CHECK(!sinter_file_writer_close(&writer, false, &diag));
    check_content(path, "old", 3);
    CHECK_INT_EQ(support_count_files(folder), 1);

    static char expected[5003] = "new";
    memcpy(expected + 5000, "end", 3);
    CHECK(sinter_file_writer_open(&writer, path, true, &diag));
    sinter_file_writer_append(&writer, "new", 3);
    sinter_file_writer_pad(&writer, 2); /* is longer already */
    sinter_file_writer_pad(&writer, 5000);
    sinter_file_writer_append(&writer, "end", 3);
    CHECK(sinter_file_writer_close(&writer, true, &diag));
    check_content(path, expected, sizeof expected);
    struct stat about;
    CHECK(stat(path, &about) == 0 && (about.st_mode & S_IXUSR));

    CHECK(sinter_file_writer_open(&writer, path, false, &diag));
    sinter_file_writer_pad(&writer, 7);
    CHECK(sinter_file_writer_close(&writer, true, &diag));
    check_content(path, "\0\0\0\0\0\0\0", 7);
    unlink(path);
    CHECK_INT_EQ(diag.error_count, 0);
}

static void test_pairs(void) {
    char path[256], beside[256];
    in_folder("file", path);
    in_folder("beside", beside);
    sinter_file_writer companion, writer;
    CHECK(sinter_file_writer_open(&companion, beside, false, &diag));
    CHECK(sinter_file_writer_open(&writer, path, false, &diag));
    sinter_file_writer_append(&companion, "1", 1);
    CHECK(sinter_file_writer_close_pair(&companion, &writer, true, &diag));
    CHECK_INT_EQ(support_count_files(folder), 2);
    check_content(beside, "1", 1);
    check_content(path, "", 0);
    unlink(path);
    unlink(beside);

    CHECK_INT_EQ(diag.error_count, 0);
    CHECK(sinter_file_writer_open(&companion, beside, false, &diag));
    CHECK(sinter_file_writer_open(&writer, "/dev/full", false, &diag));
    sinter_file_writer_append(&writer, "1", 1);
    CHECK(!sinter_file_writer_close_pair(&companion, &writer, true, &diag));
    CHECK_INT_EQ(support_count_files(folder), 0);
    CHECK_INT_EQ(diag.error_count, 1);
}

static void test_errors(void) {
    char path[256];
    sinter_text text = {0}, said = {0};
    diag = (sinter_diag){.handler = sinter_diag_text_handler, .user = &said};
    CHECK(sinter_file_write("/dev/null", "gone", 4, &diag)); /* no file: written as it is */
    CHECK_INT_EQ(diag.error_count, 0);
    CHECK(!sinter_file_write("/dev/full", "gone", 4, &diag));
    static char large[1 << 17];
    sinter_file_writer writer;
    CHECK(sinter_file_writer_open(&writer, "/dev/full", false, &diag));
    sinter_file_writer_append(&writer, large, sizeof large); /* more than is buffered */
    sinter_file_writer_pad(&writer, sizeof large + 1);
    CHECK(!sinter_file_writer_close(&writer, true, &diag));
    CHECK(!sinter_file_write(in_folder("no/where", path), "gone", 4, &diag));
    CHECK(!sinter_file_read(in_folder("no/where", path), &text, &diag));
    CHECK(!sinter_file_read(folder, &text, &diag));
    CHECK_INT_EQ(diag.error_count, 5);
    CHECK(said.data && strstr(said.data, "/dev/full: error: cannot be written: No space left"));
    CHECK(said.data && strstr(said.data, "cannot be read: Is a directory"));
    sinter_text_deinit(&said);
    sinter_text_deinit(&text);
    diag = (sinter_diag){0};
}

int main(void) {
    setenv("TMPDIR", "/no/such/folder", 1);
    CHECK(!sinter_file_make_folder(folder, NULL));
    unsetenv("TMPDIR");
    if (!CHECK(sinter_file_make_folder(folder, &diag))) return test_finish();
    test_whole();
    test_pairs();
    test_errors();
    CHECK_INT_EQ(support_count_files(folder), 0);
    rmdir(folder);
    return test_finish();
}
