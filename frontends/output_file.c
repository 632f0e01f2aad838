/* Files that appear complete or not at all: see output_file.h. Test: tests/suites/bad_input.py
 */
#include "frontends/output_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void release(sinter_output_file *file) {
    sinter_heap_free(file->path);
    sinter_heap_free(file->temporary);
    *file = (sinter_output_file){0};
}

static bool is_special(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

/* A descriptor under the temporary name, -1 with errno. */
static int open_temporary(sinter_output_file *file) {
    sinter_text text = {0};
    sinter_text_format(&text, "%s.XXXXXX", file->path);
    file->temporary = text.data;
    int descriptor = mkstemp(file->temporary);
    if (descriptor < 0) return -1;
    mode_t mask = umask(0); /* mkstemp makes private files; ours are like any other */
    umask(mask);
    fchmod(descriptor, 0666 & ~mask);
    return descriptor;
}

bool sinter_output_file_open(sinter_output_file *file, const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_text_append_string(&text, path);
    *file = (sinter_output_file){.path = text.data};
    int descriptor = is_special(path) ? open(path, O_WRONLY | O_CLOEXEC) : open_temporary(file);
    if (descriptor >= 0) {
        file->stream = fdopen(descriptor, "wb");
        if (file->stream) return true;
        close(descriptor);
        if (file->temporary) unlink(file->temporary);
    }
    sinter_error(diag, path, "can't write: %s", strerror(errno));
    release(file);
    return false;
}

bool sinter_output_file_close(sinter_output_file *file, bool keep, sinter_diag *diag) {
    errno = 0;
    bool written = !ferror(file->stream);
    if (fclose(file->stream) != 0) written = false;
    if (keep && written && file->temporary && rename(file->temporary, file->path) != 0)
        written = false;
    if (!written) sinter_error(diag, file->path, "can't write: %s", strerror(errno ? errno : EIO));
    if ((!keep || !written) && file->temporary) unlink(file->temporary);
    release(file);
    return keep && written;
}

bool sinter_output_file_write(const char *path, const void *data, size_t size, sinter_diag *diag) {
    sinter_output_file file;
    if (!sinter_output_file_open(&file, path, diag)) return false;
    if (size) fwrite(data, 1, size, file.stream); /* close finds what went wrong */
    return sinter_output_file_close(&file, true, diag);
}
