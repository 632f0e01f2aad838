/* Reads .npz files: the directory at the end of the archive, then the file that it points at. Every offset and size is
 * checked against the bytes that are there, and the bytes against their checksum. Test: tests/fuzz/tensor_fuzz.c, tests/suites/bad_input.py, tests/cli/run.test */
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
    bool is_array;      /* it had that ending */
    uint32_t flags, method, check, packed, size, offset;
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
        if (!has_mark(end, 5, 6) || read16(end + 20) != back - END_BYTES) continue;
        if (read32(end + 16) == UINT32_MAX || read16(end + 10) == UINT16_MAX)
            return sinter_error(diag, path,
                                "an archive beyond 4 GiB or 65534 arrays is not read: split it");
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
    sinter_string text = {(const char *)data + ENTRY_BYTES, name};
    *out_entry = (zip_entry){.name = text,
                             .is_array = name > 4 && !memcmp(text.data + name - 4, ".npy", 4),
                             .flags = read16(data + 8),
                             .method = read16(data + 10),
                             .check = read32(data + 16),
                             .packed = read32(data + 20),
                             .size = read32(data + 24),
                             .offset = read32(data + 42)};
    if (out_entry->is_array) out_entry->name.size -= 4;
    directory->at += bytes;
    directory->count--;
    return true;
}

/* CRC-32 of ISO 3309, as zip archives have it. */
static uint32_t crc_of(const uint8_t *data, size_t size) {
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < size; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
    return ~crc;
}

/* Where the bytes of the entry begin, and why they can't be used; NULL: they can. */
static const char *find_bytes(const sinter_storage *archive, const zip_entry *entry,
                              size_t *out_at) {
    const uint8_t *data = sinter_storage_data(archive);
    size_t size = sinter_storage_size(archive), at = entry->offset;
    if (!entry->is_array) return "is no .npy file";
    if (entry->flags & 1) return "is encrypted";
    if (entry->method != 0) return "is compressed; numpy.savez writes what can be read";
    if (entry->packed == UINT32_MAX || entry->size == UINT32_MAX || entry->offset == UINT32_MAX)
        return "is beyond 4 GiB; save it as an .npy file";
    if (entry->packed != entry->size || at > size || size - at < LOCAL_BYTES ||
        !has_mark(data + at, 3, 4))
        return "is damaged";
    at += LOCAL_BYTES + read16(data + at + 26) + read16(data + at + 28);
    if (at > size || size - at < entry->size) return "is cut short";
    if (crc_of(data + at, entry->size) != entry->check) return "is damaged: its checksum is wrong";
    *out_at = at;
    return NULL;
}

static sinter_storage *copy_entry(const sinter_storage *archive, const char *path,
                                  const zip_entry *entry, sinter_diag *diag) {
    size_t at = 0;
    const char *problem = find_bytes(archive, entry, &at);
    sinter_storage *copy = problem ? NULL : sinter_storage_create(entry->size);
    if (problem)
        sinter_error(diag, path, "'%.*s' %s", SINTER_STRING_ARGS(entry->name), problem);
    else if (!copy)
        sinter_error(diag, path, "no memory for %u bytes", (unsigned)entry->size);
    else
        memcpy((void *)(uintptr_t)sinter_storage_data(copy),
               (const uint8_t *)sinter_storage_data(archive) + at, entry->size);
    return copy;
}

sinter_storage *sinter_npz_read(const sinter_storage *archive, const char *path, sinter_string name,
                                sinter_diag *diag) {
    zip_directory directory;
    zip_entry entry, found = {0};
    size_t count = 0;
    if (!find_directory(archive, path, &directory, diag)) return NULL;
    while (directory.count) {
        if (!next_entry(&directory, path, &entry, diag)) return NULL;
        if (!sinter_string_equal(entry.name, name)) continue;
        found = entry;
        count++;
    }
    if (count == 1) return copy_entry(archive, path, &found, diag);
    sinter_error(diag, path, "holds %s array%s '%.*s'", count ? "more than one" : "no",
                 count ? " called" : "", SINTER_STRING_ARGS(name));
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
