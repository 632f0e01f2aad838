/* Tensor files put together. Test: tests/cli/compress.test */
#define _GNU_SOURCE /* versionsort */
#include "runtime/jit/sample_folder.h"
#include "frontends/import.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct reader {
    const char *folder;
    sinter_text paths; /* each with a zero byte behind it */
    size_t count;
    sinter_tensor *tensors; /* `read` of them */
    size_t read;
    sinter_diag *diag;
} reader;

bool sinter_sample_folder_is(const char *path) {
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static bool is_regular(const char *path) {
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode);
}

static void add_path(reader *r, const char *name, const char *file) {
    sinter_text path = {0};
    sinter_text_format(&path, "%s/%s%s%s", r->folder, name, *file ? "/" : "", file);
    if (is_regular(path.data)) {
        sinter_text_append(&r->paths, path.data, path.size + 1);
        r->count++;
    }
    sinter_text_deinit(&path);
}

/* Files of the folder itself, or `file` of each folder in it. */
static bool list(reader *r, const char *file) {
    struct dirent **entries;
    int count = scandir(r->folder, &entries, NULL, versionsort);
    if (count < 0) return sinter_error(r->diag, r->folder, "can't be read: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        bool is_tensor =
            sinter_string_ends_with(name, ".pb") || sinter_string_ends_with(name, ".npy");
        if (*name != '.' && (*file || is_tensor)) add_path(r, name, file);
        free(entries[i]);
    }
    free(entries);
    return true;
}

static bool read_all(reader *r) {
    const char *path = r->paths.data;
    r->tensors = sinter_heap_alloc(r->count * sizeof *r->tensors);
    for (; r->read < r->count; r->read++, path += strlen(path) + 1) {
        sinter_tensor *t = &r->tensors[r->read];
        const sinter_tensor *first = &r->tensors[0];
        if (!sinter_tensor_read_file(path, NULL, NULL, t, r->diag)) return false;
        bool fits = t->kind == SINTER_TYPE_TENSOR && sinter_dtype_infos[t->dtype].bits >= 8 &&
                    t->dtype != SINTER_DTYPE_string && t->rank > 0 && t->rank == first->rank &&
                    t->dtype == first->dtype;
        for (uint32_t d = 1; d < t->rank && fits; d++) fits = t->dims[d] == first->dims[d];
        if (fits) continue;
        r->read++; /* is to be given back */
        return sinter_error(r->diag, path,
                            r->read == 1 ? "expected a tensor of numbers with a first axis"
                                         : "expected the type, and but for the first the axes, of "
                                           "the tensors before it");
    }
    return true;
}

static bool join(const reader *r, sinter_tensor *out) {
    const sinter_tensor *first = &r->tensors[0];
    int64_t dims[SINTER_MAX_RANK];
    memcpy(dims, first->dims, sizeof *dims * first->rank);
    for (size_t i = 1; i < r->count; i++) dims[0] += r->tensors[i].dims[0];
    if (!sinter_tensor_create(out, first->dtype, first->rank, dims, r->diag)) return false;
    char *to = sinter_tensor_mutable(out);
    for (size_t i = 0; i < r->count; i++) {
        size_t bytes = sinter_tensor_bytes(&r->tensors[i]);
        memcpy(to, r->tensors[i].data, bytes);
        to += bytes;
    }
    return true;
}

bool sinter_sample_folder_read(const char *path, size_t index, sinter_tensor *out_tensor,
                               sinter_diag *diag) {
    reader r = {.folder = path, .diag = diag};
    char file[40];
    snprintf(file, sizeof file, "input_%zu.pb", index);
    bool good = list(&r, "") && (r.count || list(&r, file));
    if (good && !r.count)
        good =
            sinter_error(diag, path, "has neither .pb or .npy files nor folders with %s", file);
    good = good && read_all(&r) && join(&r, out_tensor);
    for (size_t i = 0; i < r.read; i++)
        if (r.tensors[i].kind) sinter_tensor_deinit(&r.tensors[i]);
    sinter_heap_free(r.tensors);
    sinter_text_deinit(&r.paths);
    return good;
}
