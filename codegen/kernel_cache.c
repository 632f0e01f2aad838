/* See kernel_cache.h. A file is [head | key | object], named by a hash of the key. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "codegen/kernel_cache.h"

#include "ir/base/file.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <llvm-c/Core.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC = 0x434e4953, FORMAT = 1, PATH_SIZE = 4096, NAME_SIZE = sizeof "/.kernel" + 32 };

typedef struct entry_head {
    uint32_t magic, format;
    uint64_t key_bytes, object_bytes, hash; /* of the object, seeded with that of the key */
} entry_head;

/* ---- identity: the build id that the linker gave to the file that this code is in ---- */

typedef struct build_id {
    uintptr_t inside;
    const unsigned char *bytes;
    size_t size;
} build_id;

static bool holds(const struct dl_phdr_info *object, uintptr_t address) {
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        uintptr_t start = object->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && address >= start && address - start < segment->p_memsz)
            return true;
    }
    return false;
}

static void search_notes(const char *notes, size_t size, build_id *id) {
    for (size_t at = 0; at + sizeof(ElfW(Nhdr)) <= size;) {
        ElfW(Nhdr) head;
        memcpy(&head, notes + at, sizeof head);
        at += sizeof head;
        size_t name_bytes = ((size_t)head.n_namesz + 3) / 4 * 4,
               bytes = ((size_t)head.n_descsz + 3) / 4 * 4;
        if (name_bytes > size - at || bytes > size - at - name_bytes) return;
        if (head.n_type == NT_GNU_BUILD_ID && head.n_namesz == 4 && !memcmp(notes + at, "GNU", 4)) {
            id->bytes = (const unsigned char *)notes + at + name_bytes;
            id->size = head.n_descsz;
        }
        at += name_bytes + bytes;
    }
}

static int visit_object(struct dl_phdr_info *object, size_t size, void *user) {
    (void)size;
    build_id *id = user;
    if (!holds(object, id->inside)) return 0;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
        if (segment->p_type == PT_NOTE)
            search_notes((const char *)(object->dlpi_addr + segment->p_vaddr), segment->p_memsz,
                         id); /* NOLINT */
    }
    return 1;
}

static const char *find_identity(sinter_arena *arena) {
    static const char marker;
    build_id id = {.inside = (uintptr_t)&marker};
    dl_iterate_phdr(visit_object, &id);
    if (!id.size) return NULL;
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    sinter_text text = {0};
    for (size_t i = 0; i < id.size; i++) sinter_text_format(&text, "%02x", id.bytes[i]);
    const char *identity =
        sinter_arena_format(arena, "sinter %s LLVM %u.%u.%u", text.data, major, minor, patch);
    sinter_text_deinit(&text);
    return identity;
}

/* ---- the folder ---- */

static bool make_folders(const char *folder) {
    char path[PATH_SIZE];
    size_t size = strlen(folder);
    if (!size || size + NAME_SIZE > sizeof path) return errno = size ? ENAMETOOLONG : ENOENT, false;
    memcpy(path, folder, size + 1);
    for (size_t i = 1; i <= size; i++) {
        if (path[i] && path[i] != '/') continue;
        char kept = path[i];
        path[i] = 0;
        if (mkdir(path, 0700) && errno != EEXIST) return false;
        path[i] = kept;
    }
    struct stat found;
    return !stat(folder, &found) && (S_ISDIR(found.st_mode) || (errno = ENOTDIR, false));
}

bool sinter_kernel_cache_open(sinter_kernel_cache *out_cache, const char *folder,
                              sinter_arena *arena, sinter_diag *diag) {
    *out_cache = (sinter_kernel_cache){.folder = folder, .identity = find_identity(arena)};
    if (!out_cache->identity)
        return sinter_error(
            diag, folder,
            "no cache of kernels: this build of Sinter was linked without --build-id");
    if (!make_folders(folder))
        return sinter_error(diag, folder, "can't be made for the cache of kernels: %s",
                            strerror(errno));
    return true;
}

static void print_compiler(const sinter_kernel_cache *cache, const sinter_target *target,
                           const char *what, int level, sinter_text *out_key) {
    sinter_text_format(out_key, "%s\n%s %s %s %s %s -O%d\n", cache->identity, what, target->text,
                       target->triple, target->cpu, target->features, level);
}

void sinter_kernel_cache_module_key(const sinter_kernel_cache *cache, const sinter_target *target,
                                    int level, const char *bitcode, size_t size,
                                    sinter_text *out_key) {
    print_compiler(cache, target, "module", level, out_key);
    sinter_text_append(out_key, bitcode, size);
}

void sinter_kernel_cache_key(const sinter_kernel_cache *cache, const sinter_target *target,
                             int level, const sinter_loop_function *kernel, sinter_text *out_key) {
    print_compiler(cache, target, "kernel", level, out_key);
    sinter_loop_function bare =
        *kernel; /* what it is called and whose nodes it computes is not in its code */
    bare.name = "";
    bare.comment = NULL;
    sinter_loop_print_function(NULL, &bare, out_key);
}

static bool find_path(const sinter_kernel_cache *cache, const sinter_text *key, char *out_path) {
    int size = snprintf(out_path, PATH_SIZE, "%s/%016llx%016llx.kernel", cache->folder,
                        (unsigned long long)sinter_hash(key->data, key->size, 1),
                        (unsigned long long)sinter_hash(key->data, key->size, 2));
    return size > 0 && size < PATH_SIZE;
}

static uint64_t hash_entry(const sinter_text *key, const char *object, size_t size) {
    return sinter_hash(object, size, sinter_hash(key->data, key->size, FORMAT));
}

static bool is_head(const entry_head *head, const sinter_text *key) {
    return head->magic == MAGIC && head->format == FORMAT && head->key_bytes == key->size;
}

static bool take_entry(const sinter_text *key, const char *bytes, size_t size,
                       sinter_text *out_object) {
    entry_head head;
    if (size < sizeof head) return false;
    memcpy(&head, bytes, sizeof head);
    if (!is_head(&head, key) || size - sizeof head < key->size ||
        head.object_bytes != size - sizeof head - key->size ||
        memcmp(bytes + sizeof head, key->data, key->size) != 0)
        return false;
    const char *object = bytes + sizeof head + key->size;
    if (head.hash != hash_entry(key, object, head.object_bytes)) return false;
    sinter_text_append(out_object, object, head.object_bytes);
    return true;
}

bool sinter_kernel_cache_find(const sinter_kernel_cache *cache, const sinter_text *key,
                              sinter_text *out_object) {
    char path[PATH_SIZE];
    sinter_text bytes = {0};
    entry_head head = {0};
    bool good = find_path(cache, key, path) &&
                sinter_file_peek(path, (char *)&head, sizeof head) == sizeof head &&
                is_head(&head, key) && sinter_file_read(path, &bytes, NULL) &&
                take_entry(key, bytes.data, bytes.size, out_object);
    if (good) utimensat(AT_FDCWD, path, NULL, 0); /* it was used: trimming goes by time */
    sinter_text_deinit(&bytes);
    return good;
}

/* Bytes that this process has kept since it last looked through a folder. */
static _Atomic uint64_t unseen = UINT64_MAX / 2;

bool sinter_kernel_cache_store(sinter_kernel_cache *cache, const sinter_text *key,
                               const sinter_text *object, sinter_diag *diag) {
    char path[PATH_SIZE];
    if (cache->full || !find_path(cache, key, path)) return false;
    struct stat found;
    if (!lstat(path, &found) && !S_ISREG(found.st_mode))
        remove(path); /* a pipe, a link: not ours */
    entry_head head = {MAGIC, FORMAT, key->size, object->size,
                       hash_entry(key, object->data, object->size)};
    sinter_text said = {0};
    sinter_diag quiet = {.handler = sinter_diag_text_handler, .user = &said};
    sinter_file_writer writer;
    bool good = sinter_file_writer_open(&writer, path, false, &quiet);
    if (good) {
        sinter_file_writer_append(&writer, &head, sizeof head);
        sinter_file_writer_append(&writer, key->data, key->size);
        sinter_file_writer_append(&writer, object->data, object->size);
        good = sinter_file_writer_close(&writer, true, &quiet);
    }
    if (good) {
        cache->stored = true;
        atomic_fetch_add(&unseen, head.object_bytes);
    } else if (!atomic_exchange(&cache->full, true))
        sinter_warning(diag, cache->folder, "compiled kernels are not kept: %.*s",
                       said.data ? (int)strcspn(said.data, "\n") : 0, said.data ? said.data : "");
    sinter_text_deinit(&said);
    return good;
}

/* ---- trimming ---- */

typedef struct file_info {
    struct timespec used;
    uint64_t bytes;
    char name[48];
} file_info;

static int by_use(const void *a, const void *b) {
    const file_info *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec) return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void close_folder(void *folder) {
    closedir(folder);
}

/* Every file is looked at, which takes longer than compiling something small where they are many: so not each time. */
void sinter_kernel_cache_trim(const sinter_kernel_cache *cache, uint64_t limit) {
    if (!cache->stored || atomic_load(&unseen) <= limit / 1024) return;
    atomic_store(&unseen, 0);
    DIR *folder = opendir(cache->folder);
    if (!folder) return;
    sinter_owned owned;
    sinter_own(&owned, close_folder, folder);
    sinter_arena arena;
    sinter_arena_init(&arena);
    SINTER_VECTOR(file_info) files = {0};
    uint64_t total = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        file_info info;
        struct stat found;
        size_t size = strlen(entry->d_name);
        if (size < 8 || size >= sizeof info.name || strcmp(entry->d_name + size - 7, ".kernel") ||
            fstatat(dirfd(folder), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) ||
            !S_ISREG(found.st_mode))
            continue;
        info = (file_info){.used = found.st_mtim, .bytes = (uint64_t)found.st_size};
        memcpy(info.name, entry->d_name, size + 1);
        total += info.bytes;
        sinter_vector_push(&arena, &files, info);
    }
    if (total > limit) qsort(files.items, files.count, sizeof *files.items, by_use);
    for (size_t i = 0; i < files.count && total > limit; i++) {
        unlinkat(dirfd(folder), files.items[i].name, 0); /* another process may have been first */
        total -= files.items[i].bytes;
    }
    sinter_disown(&owned);
    closedir(folder);
    sinter_arena_deinit(&arena);
}
