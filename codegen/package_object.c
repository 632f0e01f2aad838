/* Objects for static linking: LLVM's relocatable ELF file, to which the weights are added as a section of their own.
 *
 * The symbol of the blob is undefined in LLVM's file; here it gets a new section, last in the table, and the blob is
 * written straight behind. Everything else stays where it is; the section names get a longer copy of their table.
 * Test: tests/unit/package_test.c */
#include "codegen/package.h"

#include <elf.h>
#include <string.h>

enum { SECTION_ALIGNMENT = 4096 };
static const char section_name[] = ".sinter_weights";

typedef struct object {
    sinter_text *bytes; /* LLVM's file, edited in place */
    Elf64_Ehdr head;
    Elf64_Shdr *sections; /* a copy, with room for one more */
    sinter_arena arena;
} object;

static uint64_t align(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

static bool bad(const char *path, sinter_diag *diag) {
    return sinter_error(diag, path, "LLVM made an object of unknown form (a bug of ours)");
}

static bool read_sections(object *o, const char *path, sinter_diag *diag) {
    if (o->bytes->size < sizeof o->head) return bad(path, diag);
    memcpy(&o->head, o->bytes->data, sizeof o->head);
    size_t count = o->head.e_shnum;
    if (memcmp(o->head.e_ident, ELFMAG, SELFMAG) != 0 || o->head.e_ident[EI_CLASS] != ELFCLASS64 ||
        count == 0 || count >= SHN_LORESERVE - 1 ||
        o->head.e_shoff + count * sizeof(Elf64_Shdr) > o->bytes->size)
        return bad(path, diag);
    o->sections = SINTER_NEW_ARRAY(&o->arena, Elf64_Shdr, count + 1);
    memcpy(o->sections, o->bytes->data + o->head.e_shoff, count * sizeof(Elf64_Shdr));
    return true;
}

/* Defines the undefined symbol at the start of the new section. */
static bool define_symbol(object *o, const char *symbol, uint64_t size) {
    for (uint16_t i = 0; i < o->head.e_shnum; i++) {
        if (o->sections[i].sh_type != SHT_SYMTAB) continue;
        const char *names = o->bytes->data + o->sections[o->sections[i].sh_link].sh_offset;
        for (uint64_t at = 0; at < o->sections[i].sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym entry;
            char *place = o->bytes->data + o->sections[i].sh_offset + at;
            memcpy(&entry, place, sizeof entry);
            if (entry.st_shndx != SHN_UNDEF || strcmp(names + entry.st_name, symbol) != 0) continue;
            entry.st_shndx = o->head.e_shnum;
            entry.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
            entry.st_other = STV_HIDDEN;
            entry.st_size = size;
            memcpy(place, &entry, sizeof entry);
            return true;
        }
    }
    return false;
}

/* [LLVM's file | section names | section table | weights] */
static void write_object(object *o, const sinter_loop_program *program, uint64_t weight_bytes,
                         sinter_file_writer *writer) {
    Elf64_Shdr *names = &o->sections[o->head.e_shstrndx], *fresh = &o->sections[o->head.e_shnum];
    sinter_text table = {0};
    sinter_text_append(&table, o->bytes->data + names->sh_offset, names->sh_size);
    uint32_t name = (uint32_t)table.size;
    sinter_text_append(&table, section_name, sizeof section_name);
    uint64_t names_at = o->bytes->size, table_at = align(names_at + table.size, 8);
    uint64_t table_bytes = (uint64_t)(o->head.e_shnum + 1) * sizeof(Elf64_Shdr);
    *fresh = (Elf64_Shdr){.sh_name = name,
                          .sh_type = SHT_PROGBITS,
                          .sh_flags = SHF_ALLOC,
                          .sh_offset = align(table_at + table_bytes, SECTION_ALIGNMENT),
                          .sh_size = weight_bytes,
                          .sh_addralign = SECTION_ALIGNMENT};
    names->sh_offset = names_at;
    names->sh_size = table.size;
    o->head.e_shoff = table_at;
    o->head.e_shnum++;
    memcpy(o->bytes->data, &o->head, sizeof o->head);
    sinter_file_writer_append(writer, o->bytes->data, o->bytes->size);
    sinter_file_writer_append(writer, table.data, table.size);
    sinter_file_writer_pad(writer, table_at);
    sinter_file_writer_append(writer, o->sections, table_bytes);
    sinter_file_writer_pad(writer, fresh->sh_offset);
    sinter_weights_write(program, writer);
    sinter_text_deinit(&table);
}

bool sinter_package_object(const sinter_loop_program *program, const sinter_target *target,
                           int level, const char *symbol, sinter_file_writer *writer,
                           sinter_diag *diag) {
    sinter_text bytes = {0};
    object o = {.bytes = &bytes};
    sinter_arena_init(&o.arena);
    uint64_t weight_bytes = sinter_weights_layout(program, NULL);
    bool good =
        sinter_emit_llvm(program, target, level, SINTER_LLVM_OBJECT, symbol, true, &bytes, diag);
    if (good && !weight_bytes) {
        sinter_file_writer_append(writer, bytes.data, bytes.size);
    } else if (good) {
        const char *blob = sinter_arena_format(&o.arena, "%s_weights", symbol);
        good = read_sections(&o, writer->path, diag) &&
               (define_symbol(&o, blob, weight_bytes) || bad(writer->path, diag));
        if (good) write_object(&o, program, weight_bytes, writer);
    }
    sinter_arena_deinit(&o.arena);
    sinter_text_deinit(&bytes);
    return good;
}
