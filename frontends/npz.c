/* Reads .npz files: the directory at the end of the archive, then the file that it points at. Every offset and size is
 * checked against the bytes that are there. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py, tests/cli/run.test */
#include "frontends/npz.h"
#include "frontends/import.h"
#include <string.h>

enum {
    END_BYTES = 22,
    ENTRY_BYTES = 46,
    LOCAL_BYTES = 30,
    LONGEST_COMMENT = 65535,
};

typedef struct zip_entry {
    sinter_string name; /* without .npy */
    uint32_t method, packed, size, offset;
} zip_entry;

/* What is left of the directory. */
typedef struct zip_directory {
    const uint8_t *data;
    size_t size, at;
    uint32_t count;
} zip_directory;

static uint32_t read16(const uint8_t *data) {
    return data[0] | (uint32_t)data[1] << 8;
}

static uint32_t read32(const uint8_t *data) {
    return read16(data) | read16(data + 2) << 16;
}

static bool has_mark(const uint8_t *data, char kind, char version) {
    return data[0] == 'P' && data[1] == 'K' && data[2] == kind && data[3] == version;
}

bool sinter_npz_is(const void *data, size_t size) {
    return size >= 4 &&
           (has_mark(data, 3, 4) || has_mark(data, 5, 6)); /* the latter without arrays */
}

static bool find_directory(const sinter_storage *archive, const char *path,
                           zip_directory *out_directory, sinter_diag *diag) {
    const uint8_t *data = sinter_storage_data(archive);
    size_t size = sinter_storage_size(archive);
    for (size_t back = END_BYTES; back <= size && back <= END_BYTES + LONGEST_COMMENT; back++) {
        const uint8_t *end = data + size - back;
        if (!has_mark(end, 5, 6)) continue;
        *out_directory = (zip_directory){data, size, read32(end + 16), read16(end + 10)};
        return out_directory->at <= size || sinter_error(diag, path, "damaged: its directory");
    }
    return sinter_error(diag, path, "cut short: no directory at the end of the .npz");
}

/* There is one left. False after an error. */
static bool next_entry(zip_directory *directory, const char *path, zip_entry *out_entry,
                       sinter_diag *diag) {
    const uint8_t *data = directory->data + directory->at;
    size_t left = directory->size - directory->at;
    if (left < ENTRY_BYTES || !has_mark(data, 1, 2))
        return sinter_error(diag, path, "damaged: its directory");
    size_t name = read16(data + 28),
           bytes = ENTRY_BYTES + name + read16(data + 30) + read16(data + 32);
    if (bytes > left) return sinter_error(diag, path, "damaged: its directory");
    *out_entry = (zip_entry){{(const char *)data + ENTRY_BYTES, name},
                             read16(data + 10),
                             read32(data + 20),
                             read32(data + 24),
                             read32(data + 42)};
    if (name > 4 && !memcmp(out_entry->name.data + name - 4, ".npy", 4)) out_entry->name.size -= 4;
    directory->at += bytes;
    directory->count--;
    return true;
}

static sinter_storage *copy_entry(const sinter_storage *archive, const char *path,
                                  const zip_entry *entry, sinter_diag *diag) {
    const uint8_t *data = sinter_storage_data(archive);
    size_t size = sinter_storage_size(archive), at = entry->offset;
    sinter_storage *copy = NULL;
    if (entry->method != 0) {
        sinter_error(diag, path, "is compressed; numpy.savez writes what can be read");
    } else if (entry->packed == UINT32_MAX || entry->packed != entry->size || at > size ||
               size - at < LOCAL_BYTES || !has_mark(data + at, 3, 4)) {
        sinter_error(diag, path, "damaged, or beyond 4 GiB: '%.*s'",
                     SINTER_STRING_ARGS(entry->name));
    } else {
        at += LOCAL_BYTES + read16(data + at + 26) + read16(data + at + 28);
        if (at > size || size - at < entry->size)
            sinter_error(diag, path, "cut short: '%.*s'", SINTER_STRING_ARGS(entry->name));
        else if (!(copy = sinter_storage_create(entry->size)))
            sinter_error(diag, path, "no memory for %u bytes", (unsigned)entry->size);
        else
            memcpy((void *)(uintptr_t)sinter_storage_data(copy), data + at, entry->size);
    }
    return copy;
}

sinter_storage *sinter_npz_read(const sinter_storage *archive, const char *path, sinter_string name,
                                sinter_diag *diag) {
    zip_directory directory;
    zip_entry entry = {0};
    if (!find_directory(archive, path, &directory, diag)) return NULL;
    while (directory.count) {
        if (!next_entry(&directory, path, &entry, diag)) return NULL;
        if (sinter_string_equal(entry.name, name)) return copy_entry(archive, path, &entry, diag);
    }
    sinter_error(diag, path, "holds no array '%.*s'", SINTER_STRING_ARGS(name));
    return NULL;
}

bool sinter_tensor_archive_names(const char *path, sinter_text *out_names, size_t *out_count,
                                 sinter_diag *diag) {
    sinter_storage *archive = sinter_storage_map_file(path, diag);
    if (!archive) return false;
    zip_directory directory;
    zip_entry entry = {0};
    bool good = (sinter_npz_is(sinter_storage_data(archive), sinter_storage_size(archive)) ||
                 sinter_error(diag, path, "not an .npz file")) &&
                find_directory(archive, path, &directory, diag);
    *out_count = 0;
    while (good && directory.count) {
        good = next_entry(&directory, path, &entry, diag);
        if (!good) break;
        if (memchr(entry.name.data, 0, entry.name.size)) {
            good = sinter_error(diag, path, "damaged: the name of an array");
            break;
        }
        sinter_text_append(out_names, entry.name.data, entry.name.size);
        sinter_text_append(out_names, "", 1);
        ++*out_count;
    }
    sinter_storage_release_reference(archive);
    return good;
}
