/* See file.h. Test: tests/unit/file_test.c */
#define _GNU_SOURCE /* O_TMPFILE, O_PATH */
#include "ir/base/file.h"
#include "ir/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void close_stream(void *stream) {
    fclose(stream);
}

static bool read_all(const char *path, bool is_text, sinter_text *out_text, sinter_diag *diag) {
    bool standard = strcmp(path, "-") == 0, zero = false;
    FILE *file = standard ? stdin : fopen(path, "rb");
    if (!file) return sinter_error(diag, path, "cannot be read: %s", strerror(errno));
    sinter_owned owned = {0};
    if (!standard) sinter_own(&owned, close_stream, file);
    char chunk[1 << 16];
    for (size_t size; !zero && (size = fread(chunk, 1, sizeof chunk, file)) > 0;) {
        zero = is_text && memchr(chunk, 0, size);
        sinter_text_append(out_text, chunk, size);
    }
    int error = ferror(file) ? errno : 0;
    sinter_disown(&owned);
    if (!standard) fclose(file);
    if (zero) return sinter_error(diag, path, "not a text: it has zero bytes");
    return !error || sinter_error(diag, path, "cannot be read: %s", strerror(error));
}

bool sinter_file_read(const char *path, sinter_text *out_text, sinter_diag *diag) {
    return read_all(path, false, out_text, diag);
}

bool sinter_file_read_text(const char *path, sinter_text *out_text, sinter_diag *diag) {
    return read_all(path, true, out_text, diag);
}

size_t sinter_file_peek(const char *path, char *out_start, size_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not awaited */
    struct stat about;
    ssize_t got = 0;
    if (file >= 0 && fstat(file, &about) == 0 && S_ISREG(about.st_mode))
        got = read(file, out_start, size);
    if (file >= 0) close(file);
    return got > 0 ? (size_t)got : 0;
}

bool sinter_file_is_same(const char *path, const char *other) {
    struct stat a, b;
    return !stat(path, &a) && !stat(other, &b) && S_ISREG(a.st_mode) && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

bool sinter_file_is_there(const char *path) {
    struct stat about;
    return !stat(path, &about);
}

bool sinter_file_is_one_place(const char *path, const char *other) {
    return sinter_file_is_same(path, other) ||
           (!sinter_file_is_there(path) && !strcmp(path, other));
}

bool sinter_file_write(const char *path, const void *data, size_t size, sinter_diag *diag) {
    sinter_file_writer writer;
    if (!sinter_file_writer_open(&writer, path, false, diag)) return false;
    sinter_file_writer_append(&writer, data, size);
    return sinter_file_writer_close(&writer, true, diag);
}

void sinter_file_begin_program(void) {
    int file;
    do file = open("/dev/null", O_PATH);
    while (file >= 0 && file <= STDERR_FILENO);
    if (file >= 0) close(file);
    signal(SIGXFSZ, SIG_IGN);
    sinter_process_begin();
}

bool sinter_file_end_program(sinter_diag *diag) {
    bool failed = fflush(stdout) != 0;
    if (!failed && !ferror(stdout)) return true;
    return sinter_error(diag, "standard output", "cannot be written%s%s", failed ? ": " : "",
                        failed ? strerror(errno) : "");
}

bool sinter_file_ensure_folder(const char *folder, sinter_diag *diag) {
    struct stat info;
    if (!mkdir(folder, 0777)) return true;
    int why = errno;
    if (why == EEXIST && !stat(folder, &info) && S_ISDIR(info.st_mode)) return true;
    return sinter_error(diag, folder, "can't be made a folder: %s", strerror(why));
}

bool sinter_file_make_folder(char out_folder[SINTER_FILE_FOLDER_BYTES], sinter_diag *diag) {
    static const char name[] = "/sinter-XXXXXX";
    const char *parent = getenv("TMPDIR");
    if (!parent || !*parent || strlen(parent) + sizeof name > SINTER_FILE_FOLDER_BYTES)
        parent = "/tmp";
    snprintf(out_folder, SINTER_FILE_FOLDER_BYTES, "%s%s", parent, name);
    return sinter_process_make_folder(out_folder) ||
           sinter_error(diag, out_folder, "cannot be made: %s", strerror(errno));
}

void sinter_file_remove_folder(const char *folder) {
    sinter_process_remove(folder);
    sinter_process_forget_path(folder);
}

/* ---- piece by piece ---- */

static void abandon(void *user) {
    sinter_file_writer *writer = user;
    fclose(writer->stream);
    if (!writer->temporary) return;
    unlink(writer->temporary);
    sinter_process_forget_path(writer->temporary);
}

static void release(sinter_file_writer *writer) {
    if (writer->temporary) sinter_process_forget_path(writer->temporary);
    sinter_heap_free(writer->path);
    sinter_heap_free(writer->temporary);
    *writer = (sinter_file_writer){0};
}

static size_t folder_size(const sinter_file_writer *writer) {
    const char *slash = strrchr(writer->path, '/');
    return slash ? (size_t)(slash - writer->path) + 1 : 0;
}

/* Calls `make` with hidden names beside the target until one is free, which becomes the temporary name; -1 with errno. */
static int make_temporary(sinter_file_writer *writer, int (*make)(const char *name, int argument),
                          int argument) {
    int folder = (int)folder_size(writer), made = -1;
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        sinter_text name = {0};
        sinter_text_format(&name, "%.*s.%s.%ld.%u", folder, writer->path, writer->path + folder,
                           (long)getpid(), attempt);
        sinter_process_name_path(name.data);
        made = make(name.data, argument);
        if (made >= 0) {
            writer->temporary = name.data;
            return made;
        }
        int error = errno;
        sinter_process_forget_path(name.data);
        sinter_text_deinit(&name);
        errno = error;
        if (errno != EEXIST) break;
    }
    return -1;
}

static int make_file(const char *name, int mode) {
    return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
}

static int make_link(const char *name, int file) {
    char from[32];
    snprintf(from, sizeof from, "/proc/self/fd/%d", file);
    return linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
}

/* A file in the folder of the target, without a name where there is a way to give it one later. */
static int open_beside(sinter_file_writer *writer, bool executable) {
    int mode = executable ? 0777 : 0666, file = -1;
    size_t size = folder_size(writer);
    sinter_text folder = {0};
    sinter_text_append(&folder, size ? writer->path : ".", size ? size : 1);
    if (!access("/proc/self/fd", X_OK))
        file = open(folder.data, O_WRONLY | O_TMPFILE | O_CLOEXEC, (mode_t)mode);
    sinter_text_deinit(&folder);
    return file >= 0 ? file : make_temporary(writer, make_file, mode);
}

bool sinter_file_writer_open(sinter_file_writer *out_writer, const char *path, bool executable,
                             sinter_diag *diag) {
    sinter_text copy = {0};
    sinter_text_append_string(&copy, path);
    *out_writer = (sinter_file_writer){.path = copy.data};
    struct stat about;
    out_writer->in_place = stat(path, &about) == 0 && !S_ISREG(about.st_mode);
    int file = out_writer->in_place ? open(path, O_WRONLY | O_CLOEXEC)
                                    : open_beside(out_writer, executable);
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
    if (!writer->in_place) {
        if (fseeko(writer->stream, (off_t)size - 1, SEEK_SET) != 0) writer->error = errno;
        writer->size = size - 1;
    }
    while (!writer->error && writer->size < size) {
        uint64_t left = size - writer->size;
        sinter_file_writer_append(writer, zeros, left < sizeof zeros ? left : sizeof zeros);
    }
}

/* Everything written and, if it is kept, under a name. */
static void finish(sinter_file_writer *writer, bool keep) {
    if (fflush(writer->stream) != 0 && !writer->error) writer->error = errno;
    bool unnamed = !writer->in_place && !writer->temporary;
    if (keep && !writer->error && unnamed &&
        make_temporary(writer, make_link, fileno(writer->stream)) < 0)
        writer->error = errno;
    if (fclose(writer->stream) != 0 && !writer->error) writer->error = errno;
}

bool sinter_file_writer_close(sinter_file_writer *writer, bool keep, sinter_diag *diag) {
    finish(writer, keep);
    sinter_disown(&writer->owned);
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
    bool in_place = companion->in_place;
    sinter_text path = {0};
    sinter_text_append_string(&path, companion->path);
    bool first = sinter_file_writer_close(companion, keep, diag);
    bool both = sinter_file_writer_close(writer, first, diag);
    if (first && !both && !in_place) unlink(path.data);
    sinter_text_deinit(&path);
    return both;
}
