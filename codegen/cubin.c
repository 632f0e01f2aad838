/* See cubin.h. A cubin is an ELF file of 64 bits. Its section ".nv.info" is a list of entries [format, attribute, u16], where a format
 * of 4 means that so many bytes of value follow; those looked at are [u32 symbol, u32 number]. Section names and attributes
 * are what NVIDIA's tools (cuobjdump --dump-elf) print of them. */
#include "codegen/cubin.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

enum {
    MACHINE_CUDA = 190,
    FORMAT_SIZED = 4,
    ATTRIBUTE_FRAME_SIZE = 0x11,
    ATTRIBUTE_REGISTERS = 0x2f,
    NAME_SIZE = 1024
};

typedef struct reader {
    const char *bytes;
    size_t size;
    Elf64_Ehdr head;
} reader;

static bool take(const reader *r, uint64_t at, void *out, size_t size) {
    if (at > r->size || size > r->size - at) return false;
    memcpy(out, r->bytes + at, size);
    return true;
}

static bool section_at(const reader *r, uint32_t index, Elf64_Shdr *out_section) {
    return index < r->head.e_shnum && r->head.e_shoff <= r->size &&
           take(r, r->head.e_shoff + (uint64_t)index * sizeof *out_section, out_section,
                sizeof *out_section) &&
           (out_section->sh_type == SHT_NOBITS ||
            (out_section->sh_offset <= r->size &&
             out_section->sh_size <= r->size - out_section->sh_offset));
}

/* The text at an offset of a section of names is this one. */
static bool is_name(const reader *r, const Elf64_Shdr *names, uint64_t offset, const char *name) {
    const size_t size = strlen(name) + 1;
    return offset < names->sh_size && size <= names->sh_size - offset &&
           !memcmp(r->bytes + names->sh_offset + offset, name, size);
}

static bool find_section(const reader *r, const char *name, Elf64_Shdr *out_section) {
    Elf64_Shdr names;
    if (!section_at(r, r->head.e_shstrndx, &names) || names.sh_type == SHT_NOBITS) return false;
    for (uint32_t i = 0; i < r->head.e_shnum; i++)
        if (section_at(r, i, out_section) && is_name(r, &names, out_section->sh_name, name))
            return true;
    return false;
}

static bool is_symbol(const reader *r, const Elf64_Shdr *symbols, const Elf64_Shdr *names,
                      uint32_t index, const char *name) {
    Elf64_Sym symbol;
    return (uint64_t)index < symbols->sh_size / sizeof symbol &&
           take(r, symbols->sh_offset + (uint64_t)index * sizeof symbol, &symbol, sizeof symbol) &&
           is_name(r, names, symbol.st_name, name);
}

/* The numbers of the kernel among all entries; whether its registers were told. */
static bool read_info(const reader *r, const Elf64_Shdr *info, const char *symbol,
                      sinter_cubin_kernel *kernel) {
    Elf64_Shdr symbols, names;
    bool found = false;
    if (!find_section(r, ".symtab", &symbols) || symbols.sh_type == SHT_NOBITS ||
        !section_at(r, symbols.sh_link, &names) || names.sh_type == SHT_NOBITS)
        return false;
    for (uint64_t at = 0; at + 4 <= info->sh_size;) {
        unsigned char kind[2];
        uint16_t size;
        uint32_t value[2];
        if (!take(r, info->sh_offset + at, kind, sizeof kind) ||
            !take(r, info->sh_offset + at + 2, &size, sizeof size))
            break;
        at += 4;
        if (kind[0] != FORMAT_SIZED) continue;
        if (size > info->sh_size - at) break;
        const bool looked_at = kind[1] == ATTRIBUTE_REGISTERS || kind[1] == ATTRIBUTE_FRAME_SIZE;
        if (looked_at && size == sizeof value &&
            take(r, info->sh_offset + at, value, sizeof value) &&
            is_symbol(r, &symbols, &names, value[0], symbol)) {
            found |= kind[1] == ATTRIBUTE_REGISTERS;
            *(kind[1] == ATTRIBUTE_REGISTERS ? &kernel->registers : &kernel->stack_bytes) =
                value[1];
        }
        at += size;
    }
    return found;
}

bool sinter_cubin_find(const void *image, size_t size, const char *symbol,
                       sinter_cubin_kernel *out_kernel) {
    reader r = {.bytes = image, .size = size};
    Elf64_Shdr section;
    char name[NAME_SIZE];
    *out_kernel = (sinter_cubin_kernel){0};
    if (!take(&r, 0, &r.head, sizeof r.head) || memcmp(r.head.e_ident, ELFMAG, SELFMAG) != 0 ||
        r.head.e_ident[EI_CLASS] != ELFCLASS64 || r.head.e_machine != MACHINE_CUDA ||
        r.head.e_shentsize != sizeof(Elf64_Shdr) || !find_section(&r, ".nv.info", &section) ||
        section.sh_type == SHT_NOBITS || !read_info(&r, &section, symbol, out_kernel))
        return false;
    snprintf(name, sizeof name, ".nv.shared.%s", symbol);
    if (find_section(&r, name, &section)) out_kernel->shared_bytes = (uint32_t)section.sh_size;
    return true;
}
