/* See artifact_description.h. The segments of the ELF part are laid out as a loader would, and pointers within them set (relocations that
 * are relative to the base: .rela.dyn and .relr.dyn of the System V ABI, which are all that a descriptor has). The descriptor is
 * where its mark is, in front of pointers to the functions of an artifact; whatever it points to is checked to be inside. */
#include "runtime/jit/artifact_description.h"
#include "runtime/artifact_file.h"
#include "runtime/device_code.h"
#include "runtime/jit/engine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PACKED = 36, PACKED_SIZE = 35 }; /* DT_RELR, DT_RELRSZ, which older headers lack */
enum {
    MOST_GAPS =
        64 << 20, /* bytes of segments beyond those of the file: what is between them, and zeros */
    MOST_SEGMENTS = 64,
    LEAST_SIZE = offsetof(sinter_abi_artifact, device)
};

typedef struct reader {
    const char *path;
    const unsigned char *code; /* of the file */
    uint64_t code_bytes;
    Elf64_Ehdr head;
    unsigned char *memory; /* as loaded */
    uint64_t span;
    unsigned char *is_pointer; /* by 8 bytes of memory: a bit */
    sinter_diag *diag;
} reader;

static bool refuse(const reader *r, const char *what) {
    return sinter_error(r->diag, r->path, "can't be described: %s", what);
}

/* Bytes of the file. */
static bool take(const reader *r, uint64_t at, void *out, size_t size) {
    if (at > r->code_bytes || size > r->code_bytes - at) return false;
    memcpy(out, r->code + at, size);
    return true;
}

/* Bytes of memory. */
static bool is_inside(const reader *r, uint64_t at, uint64_t size) {
    return at <= r->span && size <= r->span - at;
}

static uint64_t load_word(const reader *r, uint64_t at) {
    uint64_t word;
    memcpy(&word, r->memory + at, sizeof word);
    return word;
}

/* ---- segments ---- */

static bool segment_at(const reader *r, uint32_t index, Elf64_Phdr *out_segment) {
    return r->head.e_phentsize == sizeof *out_segment && r->head.e_phoff <= r->code_bytes &&
           take(r, r->head.e_phoff + (uint64_t)index * sizeof *out_segment, out_segment,
                sizeof *out_segment);
}

static bool find_span(reader *r) {
    for (uint32_t i = 0; i < r->head.e_phnum; i++) {
        Elf64_Phdr s;
        uint64_t end;
        if (!segment_at(r, i, &s)) return false;
        if (s.p_type != PT_LOAD) continue;
        if (s.p_filesz > s.p_memsz || __builtin_add_overflow(s.p_vaddr, s.p_memsz, &end) ||
            end > r->code_bytes + MOST_GAPS)
            return false;
        if (end > r->span) r->span = end;
    }
    r->span = (r->span + 7) / 8 * 8;
    return r->span > 0;
}

static bool load_segments(reader *r) {
    for (uint32_t i = 0; i < r->head.e_phnum; i++) {
        Elf64_Phdr s;
        if (!segment_at(r, i, &s)) return false;
        if (s.p_type == PT_LOAD && !take(r, s.p_offset, r->memory + s.p_vaddr, s.p_filesz))
            return false;
    }
    return true;
}

/* ---- pointers ---- */

static bool is_pointer(const reader *r, uint64_t at) {
    return r->is_pointer[at / 64] >> (at / 8 % 8) & 1;
}

/* The word becomes the address of a place in memory; places outside are of no use to a descriptor. */
static bool set_pointer(reader *r, uint64_t at, uint64_t place) {
    if (at % 8 || !is_inside(r, at, 8)) return false;
    const uint64_t address = (uintptr_t)r->memory + place;
    if (place >= r->span) return true;
    memcpy(r->memory + at, &address, sizeof address);
    r->is_pointer[at / 64] |= (unsigned char)(1u << (at / 8 % 8));
    return true;
}

static bool set_listed(reader *r, uint64_t table, uint64_t size) {
    const uint32_t relative =
        r->head.e_machine == EM_AARCH64 ? R_AARCH64_RELATIVE : R_X86_64_RELATIVE;
    if (!is_inside(r, table, size)) return false;
    for (uint64_t at = 0; size - at >= sizeof(Elf64_Rela); at += sizeof(Elf64_Rela)) {
        Elf64_Rela one;
        memcpy(&one, r->memory + table + at, sizeof one);
        if (ELF64_R_TYPE(one.r_info) == relative &&
            !set_pointer(r, one.r_offset, (uint64_t)one.r_addend))
            return false;
    }
    return true;
}

/* Even words are places; the bits of odd ones say which of the 63 words behind the last place are. What a word holds is its addend. */
static bool set_packed(reader *r, uint64_t table, uint64_t size) {
    uint64_t next = 0;
    if (!is_inside(r, table, size)) return false;
    for (uint64_t at = 0; size - at >= 8; at += 8) {
        const uint64_t word = load_word(r, table + at);
        if (word % 2 == 0) {
            if (!is_inside(r, word, 8) || !set_pointer(r, word, load_word(r, word))) return false;
            next = word + 8;
            continue;
        }
        for (uint64_t bit = 1; bit < 64; bit++) {
            const uint64_t place = next + 8 * (bit - 1);
            if (word >> bit & 1 &&
                (!is_inside(r, place, 8) || !set_pointer(r, place, load_word(r, place))))
                return false;
        }
        next += 8 * 63;
    }
    return true;
}

/* Where the dynamic section says that the tables are. */
static bool set_pointers(reader *r) {
    uint64_t listed = 0, listed_size = 0, packed = 0, packed_size = 0;
    for (uint32_t i = 0; i < r->head.e_phnum; i++) {
        Elf64_Phdr s;
        if (!segment_at(r, i, &s) || s.p_type != PT_DYNAMIC) continue;
        for (uint64_t at = 0; is_inside(r, s.p_vaddr, s.p_memsz) && s.p_memsz - at >= 16;
             at += 16) {
            const uint64_t tag = load_word(r, s.p_vaddr + at),
                           value = load_word(r, s.p_vaddr + at + 8);
            if (tag == DT_NULL) break;
            if (tag == DT_RELA) listed = value;
            if (tag == DT_RELASZ) listed_size = value;
            if (tag == PACKED) packed = value;
            if (tag == PACKED_SIZE) packed_size = value;
        }
    }
    return set_listed(r, listed, listed_size) && set_packed(r, packed, packed_size);
}

/* ---- the descriptor ---- */

/* `count` items of so many bytes where the pointer in memory points; NULL is allowed where there are none. */
static bool has_items(const reader *r, const void *slot, uint64_t count, uint64_t size) {
    const uint64_t at = (uint64_t)((const unsigned char *)slot - r->memory);
    if (!is_pointer(r, at)) return !count && !load_word(r, at);
    const uint64_t place = load_word(r, at) - (uintptr_t)r->memory;
    uint64_t bytes;
    return !__builtin_mul_overflow(count, size, &bytes) && is_inside(r, place, bytes) &&
           (size == 1 || place % 8 == 0);
}

/* A text, that ends. */
static bool has_text(const reader *r, const char *const *slot, bool may_miss) {
    const uint64_t at = (uint64_t)((const unsigned char *)slot - r->memory);
    if (!is_pointer(r, at)) return may_miss && !load_word(r, at);
    const uint64_t place = load_word(r, at) - (uintptr_t)r->memory;
    return place < r->span && memchr(r->memory + place, 0, r->span - place);
}

static bool has_values(const reader *r, const sinter_abi_io *const *slot, uint32_t count) {
    if (!has_items(r, slot, count, sizeof **slot)) return false;
    for (uint32_t i = 0; i < count; i++) {
        const sinter_abi_io *io = &(*slot)[i];
        if (io->rank < 0 || io->rank > SINTER_ABI_MAX_RANK || !has_text(r, &io->name, false) ||
            !has_items(r, &io->dims, (uint64_t)io->rank, sizeof *io->dims) ||
            !has_items(r, &io->dim_names, (uint64_t)io->rank, sizeof *io->dim_names))
            return false;
        for (int32_t d = 0; d < io->rank; d++)
            if (!has_text(r, &io->dim_names[d], false)) return false;
    }
    return true;
}

static bool has_names(const reader *r, const sinter_abi_artifact *a) {
    if (!has_items(r, &a->symbols, a->symbol_count, sizeof *a->symbols) ||
        !has_items(r, &a->kernels, a->kernel_count, sizeof *a->kernels))
        return false;
    for (uint32_t i = 0; i < a->symbol_count; i++)
        if (!has_text(r, &a->symbols[i].name, false)) return false;
    for (uint32_t i = 0; i < a->kernel_count; i++)
        if (!has_text(r, &a->kernels[i].name, false) || !has_text(r, &a->kernels[i].nodes, true))
            return false;
    return true;
}

static bool has_device(const reader *r, const sinter_abi_artifact *a) {
    const sinter_abi_device_code *code = sinter_artifact_device_code(a);
    return !code || (has_items(r, &a->device, 1, sizeof *code) && code->size >= sizeof *code &&
                     has_text(r, &code->device, false) &&
                     has_items(r, &code->images, code->image_count, sizeof *code->images));
}

static bool holds_together(const reader *r, const sinter_abi_artifact *a) {
    return has_text(r, &a->name, false) && has_text(r, &a->target, false) &&
           has_text(r, &a->cpu_features, true) && has_values(r, &a->inputs, a->input_count) &&
           has_values(r, &a->outputs, a->output_count) && has_names(r, a) &&
           has_items(r, &a->donations, a->donation_count, sizeof *a->donations) && has_device(r, a);
}

/* A mark may be in any data; in front of a descriptor's pointers there is one. */
static const sinter_abi_artifact *find_descriptor(const reader *r) {
    for (uint64_t at = 0; is_inside(r, at, LEAST_SIZE); at += 8) {
        const sinter_abi_artifact *a = (const void *)(r->memory + at);
        if (a->magic == SINTER_ABI_MAGIC && a->version == SINTER_ABI_VERSION &&
            a->size >= LEAST_SIZE && is_inside(r, at, a->size) &&
            is_pointer(r, at + offsetof(sinter_abi_artifact, plan)) &&
            is_pointer(r, at + offsetof(sinter_abi_artifact, run)))
            return a;
    }
    return NULL;
}

static bool read_descriptor(reader *r, sinter_artifact_description *d) {
    if (!take(r, 0, &r->head, sizeof r->head) || r->head.e_phnum > MOST_SEGMENTS || !find_span(r))
        return refuse(r, "its segments");
    const size_t bits = r->span / 64 + 1;
    r->memory = d->memory = sinter_heap_alloc(r->span + bits);
    r->is_pointer = r->memory + r->span;
    if (!load_segments(r)) return refuse(r, "its segments");
    if (!set_pointers(r)) return refuse(r, "its relocations");
    d->artifact = find_descriptor(r);
    if (!d->artifact) return refuse(r, "it has no descriptor");
    return holds_together(r, d->artifact) || refuse(r, "its descriptor points outside of it");
}

bool sinter_artifact_describe_image(const char *path, const void *image, size_t size,
                                    sinter_artifact_description *out_description,
                                    sinter_diag *diag) {
    sinter_artifact_file file;
    *out_description = (sinter_artifact_description){0};
    if (!sinter_engine_report(sinter_artifact_check_parts(path, image, size, &file), path, diag))
        return false;
    reader r = {.path = path, .code = image, .code_bytes = file.trailer.code_bytes, .diag = diag};
    out_description->machine = sinter_artifact_machine_name(file.trailer.machine);
    if (read_descriptor(&r, out_description)) return true;
    sinter_artifact_description_deinit(out_description);
    return false;
}

typedef struct mapping {
    void *image;
    size_t size;
} mapping;

static void unmap(void *user) {
    const mapping *mapped = user;
    munmap(mapped->image, mapped->size);
}

bool sinter_artifact_describe(const char *path, sinter_artifact_description *out_description,
                              sinter_diag *diag) {
    mapping mapped;
    sinter_owned owned = {0};
    *out_description = (sinter_artifact_description){0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not awaited */
    if (file < 0) return sinter_error(diag, path, "can't be opened: %s", strerror(errno));
    bool good = sinter_engine_report(sinter_artifact_map(path, file, &mapped.image, &mapped.size),
                                     path, diag);
    close(file);
    if (!good) return false;
    sinter_own(&owned, unmap, &mapped);
    good = sinter_artifact_describe_image(path, mapped.image, mapped.size, out_description, diag);
    sinter_disown(&owned);
    unmap(&mapped);
    return good;
}

void sinter_artifact_description_deinit(sinter_artifact_description *description) {
    sinter_heap_free(description->memory);
    *description = (sinter_artifact_description){0};
}
