/* Finds and maps the files that hold external tensors: see external_data.h for what is refused.
 * Test: tests/suites/bad_input.py */
#include "frontends/onnx/external_data.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sinter_external_data_deinit(sinter_external_data *external) {
    for (size_t i = 0; i < external->files.count; i++)
        sinter_storage_release_reference(external->files.items[i].storage);
    external->files.count = 0;
}

/* A relative path without a ".." part. Backslashes part folders on other systems: refused alike. */
static bool is_plain_relative(const char *location) {
    if (!*location || *location == '/' || strchr(location, '\\')) return false;
    for (const char *part = location; part;) {
        const char *slash = strchr(part, '/');
        size_t size = slash ? (size_t)(slash - part) : strlen(part);
        if (size == 2 && part[0] == '.' && part[1] == '.') return false;
        part = slash ? slash + 1 : NULL;
    }
    return true;
}

/* Past all links, the file must still be below the folder. Both are freed by the caller. */
static bool is_below(const char *folder, const char *file) {
    size_t size = strlen(folder);
    while (size && folder[size - 1] == '/') size--;
    return strncmp(folder, file, size) == 0 && file[size] == '/';
}

static const char *resolve(sinter_external_data *external, const char *location, const char *where,
                           sinter_diag *diag) {
    const char *joined = sinter_arena_format(external->arena, "%s/%s", external->folder, location);
    char *folder = realpath(external->folder, NULL);
    char *file = folder ? realpath(joined, NULL) : NULL;
    const char *path = NULL;
    sinter_owned owned[2];
    sinter_own(&owned[0], free, folder);
    sinter_own(&owned[1], free, file);
    if (!file) {
        sinter_error(diag, where, "external data: can't open '%s': %s", joined, strerror(errno));
    } else if (!is_below(folder, file)) {
        sinter_error(diag, where, "external data: '%s' leads out of the model's folder, to '%s'",
                     location, file);
    } else {
        path = sinter_arena_copy_string(external->arena, file, strlen(file));
    }
    for (int i = 0; i < 2; i++) {
        sinter_disown(&owned[i]);
        free(owned[i].object);
    }
    return path;
}

sinter_storage *sinter_external_data_open(sinter_external_data *external, const char *location,
                                          const char *where, sinter_diag *diag) {
    for (size_t i = 0; i < external->files.count; i++)
        if (strcmp(external->files.items[i].location, location) == 0)
            return external->files.items[i].storage;
    if (!external->folder) {
        sinter_error(diag, where,
                     "external data: '%s' can't be found, the model is not a file on disk",
                     location);
        return NULL;
    }
    if (!is_plain_relative(location)) {
        sinter_error(diag, where,
                     "external data: location '%s', expected a path inside the model's folder",
                     location);
        return NULL;
    }
    const char *path = resolve(external, location, where, diag);
    sinter_storage *storage = path ? sinter_storage_map_file(path, diag) : NULL;
    if (!storage) return NULL;
    sinter_external_file file = {
        sinter_arena_copy_string(external->arena, location, strlen(location)), storage};
    sinter_vector_push(external->arena, &external->files, file);
    return storage;
}
