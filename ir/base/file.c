/* See file.h. Test: tests/unit/file_test.c */
#include "ir/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_stream(void *stream) {
    fclose(stream);
}

bool sinter_file_read(const char *path, sinter_text *out_text, sinter_diag *diag) {
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) return sinter_error(diag, path, "cannot be read: %s", strerror(errno));
    sinter_owned owned = {0};
    if (!standard) sinter_own(&owned, close_stream, file);
    char chunk[1 << 16];
    for (size_t size; (size = fread(chunk, 1, sizeof chunk, file)) > 0;)
        sinter_text_append(out_text, chunk, size);
    int error = ferror(file) ? errno : 0;
    sinter_disown(&owned);
    if (!standard) fclose(file);
    return !error || sinter_error(diag, path, "cannot be read: %s", strerror(error));
}

bool sinter_file_write(const char *path, const void *data, size_t size, sinter_diag *diag) {
    sinter_file_writer writer;
    if (!sinter_file_writer_open(&writer, path, false, diag)) return false;
    sinter_file_writer_append(&writer, data, size);
    return sinter_file_writer_close(&writer, true, diag);
}

bool sinter_file_make_folder(char out_folder[SINTER_FILE_FOLDER_BYTES], sinter_diag *diag) {
    static const char name[] = "/sinter-XXXXXX";
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent || strlen(parent) + sizeof name > SINTER_FILE_FOLDER_BYTES)
        parent = "/tmp";
    snprintf(out_folder, SINTER_FILE_FOLDER_BYTES, "%s%s", parent, name);
    return mkdtemp(out_folder) ||
           sinter_error(diag, out_folder, "cannot be made: %s", strerror(errno));
}

/* ---- piece by piece ---- */

static void abandon(void *user) {
    sinter_file_writer *writer = user;
    fclose(writer->stream);
    if (writer->temporary) unlink(writer->temporary);
}

static void release(sinter_file_writer *writer) {
    sinter_heap_free(writer->path);
    sinter_heap_free(writer->temporary);
    *writer = (sinter_file_writer){0};
}

/* A new file beside the target, hidden; -1 with errno. */
static int open_temporary(sinter_file_writer *writer, bool executable) {
    const char *slash = strrchr(writer->path, '/');
    int folder = slash ? (int)(slash - writer->path) + 1 : 0, file = -1;
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        sinter_text name = {0};
        sinter_text_format(&name, "%.*s.%s.%ld.%u", folder, writer->path, writer->path + folder,
                           (long)getpid(), attempt);
        file = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, executable ? 0777 : 0666);
        if (file >= 0) {
            writer->temporary = name.data;
            return file;
        }
        sinter_text_deinit(&name);
        if (errno != EEXIST) break;
    }
    return -1;
}

bool sinter_file_writer_open(sinter_file_writer *out_writer, const char *path, bool executable,
                             sinter_diag *diag) {
    sinter_text copy = {0};
    sinter_text_append_string(&copy, path);
    *out_writer = (sinter_file_writer){.path = copy.data};
    struct stat about;
    bool in_place = stat(path, &about) == 0 && !S_ISREG(about.st_mode);
    int file = in_place ? open(path, O_WRONLY | O_CLOEXEC) : open_temporary(out_writer, executable);
    out_writer->stream = file >= 0 ? fdopen(file, "wb") : NULL;
    if (out_writer->stream) {
        sinter_own(&out_writer->owned, abandon, out_writer);
        return true;
    }
    int error = errno;
    if (file >= 0) close(file);
    if (out_writer->temporary) unlink(out_writer->temporary);
    release(out_writer);
    return sinter_error(diag, path, "cannot be written: %s", strerror(error));
}

void sinter_file_writer_append(sinter_file_writer *writer, const void *data, size_t size) {
    if (writer->error || !size) return;
    errno = 0;
    if (fwrite(data, 1, size, writer->stream) != size) writer->error = errno ? errno : EIO;
    writer->size += size;
}

void sinter_file_writer_pad(sinter_file_writer *writer, uint64_t size) {
    static const char zeros[4096];
    if (writer->error || size <= writer->size) return;
    if (writer->temporary) {
        if (fseeko(writer->stream, (off_t)size - 1, SEEK_SET) != 0) writer->error = errno;
        writer->size = size - 1;
    }
    while (!writer->error && writer->size < size) {
        uint64_t left = size - writer->size;
        sinter_file_writer_append(writer, zeros, left < sizeof zeros ? left : sizeof zeros);
    }
}

bool sinter_file_writer_close(sinter_file_writer *writer, bool keep, sinter_diag *diag) {
    sinter_disown(&writer->owned);
    if (fclose(writer->stream) != 0 && !writer->error) writer->error = errno;
    bool kept = keep && !writer->error;
    if (kept && writer->temporary && rename(writer->temporary, writer->path) != 0) {
        writer->error = errno;
        kept = false;
    }
    if (!kept && writer->temporary) unlink(writer->temporary);
    if (keep && !kept)
        sinter_error(diag, writer->path, "cannot be written: %s", strerror(writer->error));
    release(writer);
    return kept;
}

bool sinter_file_writer_close_pair(sinter_file_writer *companion, sinter_file_writer *writer,
                                   bool keep, sinter_diag *diag) {
    bool in_place = !companion->temporary;
    sinter_text path = {0};
    sinter_text_append_string(&path, companion->path);
    bool first = sinter_file_writer_close(companion, keep, diag);
    bool both = sinter_file_writer_close(writer, first, diag);
    if (first && !both && !in_place) unlink(path.data);
    sinter_text_deinit(&path);
    return both;
}
