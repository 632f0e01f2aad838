/* See output.h. */
#include "codegen/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool complain(const sinter_output *output, int error, sinter_diag *diag) {
    return sinter_error(diag, output->path, "cannot be written: %s", strerror(error));
}

bool sinter_output_open(sinter_output *out_output, const char *path, bool executable,
                        sinter_diag *diag) {
    *out_output = (sinter_output){.path = path, .file = -1};
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode)) {
        out_output->file = open(path, O_WRONLY | O_CLOEXEC);
        return out_output->file >= 0 || complain(out_output, errno, diag);
    }
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;
    size_t size = strlen(path) + 32;
    out_output->temporary = sinter_heap_alloc(size);
    for (unsigned attempt = 0; attempt < 100; attempt++) {
        snprintf(out_output->temporary, size, "%.*s.%s.%ld.%u", folder, path, path + folder,
                 (long)getpid(), attempt);
        out_output->file = open(out_output->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                                executable ? 0777 : 0666);
        if (out_output->file >= 0 || errno != EEXIST) break;
    }
    if (out_output->file >= 0) return true;
    complain(out_output, errno, diag);
    sinter_heap_free(out_output->temporary);
    return false;
}

bool sinter_output_write(sinter_output *output, const void *data, size_t size, sinter_diag *diag) {
    const char *at = data;
    while (size) {
        ssize_t written = write(output->file, at, size < 1u << 30 ? size : 1u << 30);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return complain(output, written < 0 ? errno : ENOSPC, diag);
        at += written;
        size -= (size_t)written;
    }
    return true;
}

bool sinter_output_pad(sinter_output *output, uint64_t offset, sinter_diag *diag) {
    static const char zeros[4096];
    off_t here = lseek(output->file, 0, SEEK_CUR);
    if (here >= 0 && output->temporary) /* a hole takes no space */
        return lseek(output->file, (off_t)offset, SEEK_SET) >= 0 || complain(output, errno, diag);
    bool good = here >= 0 || complain(output, errno, diag);
    for (uint64_t at = (uint64_t)here; good && at < offset;) {
        size_t size = offset - at < sizeof zeros ? (size_t)(offset - at) : sizeof zeros;
        good = sinter_output_write(output, zeros, size, diag);
        at += size;
    }
    return good;
}

void sinter_output_abandon(sinter_output *output) {
    if (output->file >= 0) close(output->file);
    if (output->temporary) unlink(output->temporary);
    sinter_heap_free(output->temporary);
    *output = (sinter_output){.path = output->path, .file = -1};
}

bool sinter_output_commit(sinter_output *output, sinter_diag *diag) {
    bool good = close(output->file) == 0;
    output->file = -1;
    if (good && output->temporary) good = rename(output->temporary, output->path) == 0;
    if (!good) {
        complain(output, errno, diag);
        sinter_output_abandon(output);
        return false;
    }
    sinter_heap_free(output->temporary);
    output->temporary = NULL;
    return true;
}

bool sinter_output_commit_pair(sinter_output *companion, sinter_output *output, sinter_diag *diag) {
    bool in_place = !companion->temporary;
    if (!sinter_output_commit(companion, diag)) {
        sinter_output_abandon(output);
        return false;
    }
    if (sinter_output_commit(output, diag)) return true;
    if (!in_place) unlink(companion->path);
    return false;
}

bool sinter_output_write_file(const char *path, const void *data, size_t size, sinter_diag *diag) {
    sinter_output output;
    if (!sinter_output_open(&output, path, false, diag)) return false;
    if (sinter_output_write(&output, data, size, diag)) return sinter_output_commit(&output, diag);
    sinter_output_abandon(&output);
    return false;
}
