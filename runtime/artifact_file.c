/* See artifact_file.h: nothing in the file is believed before its checksum holds, and no offset before its bounds do. */
#include "runtime/artifact_file.h"
#include "runtime/cpu_features.h"
#include "runtime/status.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { THIS_MACHINE = EM_X86_64 };
#elif defined(__aarch64__)
enum { THIS_MACHINE = EM_AARCH64 };
#else
enum { THIS_MACHINE = EM_NONE };
#endif

const char *sinter_artifact_machine_name(uint32_t machine) {
    return machine == EM_X86_64    ? "x86-64"
           : machine == EM_AARCH64 ? "64-bit Arm"
                                   : "another processor";
}

static sinter_status *damaged(const char *path, const char *what) {
    return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "%s: damaged or incomplete artifact: %s", path,
                       what);
}

/* The parts follow one another without overlap and end with the file. */
static bool parts_fit(const sinter_abi_trailer *t, uint64_t size) {
    uint64_t head, end;
    if (t->file_bytes != size || t->reserved || !t->features_bytes) return false;
    if (__builtin_add_overflow(t->code_bytes, t->features_bytes, &head) || head > t->weights_offset)
        return false;
    if (t->weights_offset % sinter_abi_weights_alignment(t->weights_bytes)) return false;
    return !__builtin_add_overflow(t->weights_offset, t->weights_bytes, &end) &&
           end == size - sizeof *t;
}

static sinter_status *check_elf(const char *path, const unsigned char *image,
                                const sinter_abi_trailer *t) {
    Elf64_Ehdr head;
    if (t->code_bytes < sizeof head) return damaged(path, "its code is too short");
    memcpy(&head, image, sizeof head);
    if (memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
        head.e_type != ET_DYN || head.e_machine != t->machine)
        return damaged(path, "its code is not a shared object");
    return NULL;
}

sinter_status *sinter_artifact_map(const char *path, int file, void **out_image, size_t *out_size) {
    struct stat about;
    if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
        return SINTER_FAIL(SINTER_STATUS_UNREADABLE, "%s: not a regular file", path);
    if (about.st_size == 0)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "%s: not an artifact: too short", path);
    *out_size = (size_t)about.st_size;
    *out_image = mmap(NULL, *out_size, PROT_READ, MAP_PRIVATE, file, 0);
    if (*out_image != MAP_FAILED) return NULL;
    return SINTER_FAIL(errno == ENOMEM ? SINTER_STATUS_OUT_OF_MEMORY : SINTER_STATUS_UNREADABLE,
                       "%s: can't be read: %s", path, strerror(errno));
}

sinter_status *sinter_artifact_check_parts(const char *path, const void *image, size_t size,
                                           sinter_artifact_file *out_file) {
    const unsigned char *bytes = image;
    sinter_abi_trailer t;
    if (size < sizeof t)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT, "%s: not an artifact: too short", path);
    memcpy(&t, bytes + size - sizeof t, sizeof t);
    if (t.magic != SINTER_ABI_MAGIC)
        return SINTER_FAIL(SINTER_STATUS_BAD_ARTIFACT,
                           "%s: not an artifact, or cut off: it does not end in the mark of one",
                           path);
    if (t.version != SINTER_ABI_VERSION)
        return SINTER_FAIL(
            SINTER_STATUS_BAD_ARTIFACT,
            "%s: artifact of version %u; this runtime speaks version %u: compile it again", path,
            t.version, SINTER_ABI_VERSION);
    if (sinter_abi_hash(&t, offsetof(sinter_abi_trailer, trailer_hash), t.machine) !=
        t.trailer_hash)
        return damaged(path, "the checksum of its trailer is wrong");
    if (!parts_fit(&t, size)) return damaged(path, "its parts do not make up the file");
    if (sinter_abi_hash(bytes, t.weights_offset, 0) != t.head_hash)
        return damaged(path, "the checksum of its code is wrong");
    const char *features = (const char *)bytes + t.code_bytes;
    if (features[t.features_bytes - 1] != '\0' || strlen(features) + 1 != t.features_bytes)
        return damaged(path, "its list of CPU features");
    *out_file = (sinter_artifact_file){t, features};
    return check_elf(path, bytes, &t);
}

sinter_status *sinter_artifact_read_checksum(const char *path, uint64_t *out_checksum) {
    void *image;
    size_t size;
    sinter_artifact_file checked;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return SINTER_FAIL(SINTER_STATUS_UNREADABLE, "%s: can't be opened: %s", path,
                           strerror(errno));
    sinter_status *status = sinter_artifact_map(path, file, &image, &size);
    close(file);
    if (status) return status;
    status = sinter_artifact_check_parts(path, image, size, &checked);
    munmap(image, size);
    if (!status) *out_checksum = checked.trailer.trailer_hash;
    return status;
}

sinter_status *sinter_artifact_check(const char *path, const void *image, size_t size, bool verify,
                                     sinter_artifact_file *out_file) {
    const unsigned char *bytes = image;
    const sinter_abi_trailer *t = &out_file->trailer;
    char missing[512];
    sinter_status *status = sinter_artifact_check_parts(path, image, size, out_file);
    if (status) return status;
    if (t->machine != THIS_MACHINE)
        return SINTER_FAIL(SINTER_STATUS_WRONG_CPU, "%s: compiled for %s; this machine is %s", path,
                           sinter_artifact_machine_name(t->machine),
                           sinter_artifact_machine_name(THIS_MACHINE));
    if (!sinter_cpu_has_all(out_file->features, missing, sizeof missing))
        return SINTER_FAIL(SINTER_STATUS_WRONG_CPU,
                           "%s: this CPU lacks what it was compiled for: %s", path, missing);
    if (verify &&
        sinter_abi_hash(bytes + t->weights_offset, t->weights_bytes, 0) != t->weights_hash)
        return damaged(path, "the checksum of its weights is wrong");
    return NULL;
}
