/* Files that appear complete or not at all: see output_file.h. Test: tests/suites/bad_input.py
 */
#include "frontends/output_file.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool sinter_output_file_open(sinter_output_file *file, const char *path, sinter_diag *diag) {
    sinter_text text = {0};
    sinter_text_format(&text, "%s.XXXXXX", path);
    *file = (sinter_output_file){.temporary = text.data};
    text = (sinter_text){0};
    sinter_text_append_string(&text, path);
    file->path = text.data;
    int descriptor = mkstemp(file->temporary);
    if (descriptor >= 0) {
        mode_t mask = umask(0); /* mkstemp makes private files; ours are like any other */
        umask(mask);
        fchmod(descriptor, 0666 & ~mask);
        file->stream = fdopen(descriptor, "wb");
        if (file->stream) return true;
        close(descriptor);
        unlink(file->temporary);
    }
    sinter_error(diag, path, "can't write: %s", strerror(errno));
    sinter_heap_free(file->path);
    sinter_heap_free(file->temporary);
    *file = (sinter_output_file){0};
    return false;
}

bool sinter_output_file_close(sinter_output_file *file, bool keep, sinter_diag *diag) {
    errno = 0;
    bool written = !ferror(file->stream);
    if (fclose(file->stream) != 0) written = false;
    if (keep && written && rename(file->temporary, file->path) != 0) written = false;
    if (!written) sinter_error(diag, file->path, "can't write: %s", strerror(errno ? errno : EIO));
    if (!keep || !written) unlink(file->temporary);
    sinter_heap_free(file->path);
    sinter_heap_free(file->temporary);
    *file = (sinter_output_file){0};
    return keep && written;
}
