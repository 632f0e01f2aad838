/* See object.h. Reads every field with its bounds checked, since an object may come from a cache on disk.
 *
 * Dropped: symbol tables and their strings (made anew), file names, address-significance tables (hints for linkers).
 * The layout is [header | contents | relocations | symbols | strings | section names | section table | blob]. */
#include "codegen/object.h"

#include "ir/base/map.h"
#include "ir/base/vector.h"

#include <elf.h>
#include <string.h>

enum { BLOB_ALIGNMENT = 4096, ADDRESS_SIGNIFICANCE = 0x6fff4c03 /* SHT_LLVM_ADDRSIG */ };

typedef struct section {
    const char *name;
    uint32_t type;
    uint64_t flags, alignment, entry_bytes;
    uint64_t size; /* also of one without bytes in the file */
    sinter_text bytes;
    sinter_text relocations; /* Elf64_Rela, symbols numbered as in joiner.symbols */
    uint32_t symbol;         /* its section symbol, 0: none yet */
} section;
typedef SINTER_VECTOR(section) section_vector;

typedef struct symbol {
    Elf64_Sym entry; /* st_shndx: index of the section + 1 where it is one of ours */
    const char *name;
    uint32_t place; /* in the table that is written */
} symbol;
typedef SINTER_VECTOR(symbol) symbol_vector;

/* Where an input section went. */
typedef struct destination {
    uint32_t section; /* index + 1, 0: dropped */
    uint64_t offset;
} destination;

typedef struct joiner {
    sinter_arena arena;
    sinter_diag *diag;
    section_vector sections;
    symbol_vector symbols; /* [0] is the null symbol */
    sinter_map globals;    /* name -> index in symbols */
    sinter_map by_name;    /* key of a section -> index + 1 */
    uint16_t machine;
    uint32_t machine_flags;
} joiner;

/* One input. */
typedef struct input {
    const sinter_text *file;
    const char *name; /* of what is nameless; NULL: it stays so */
    Elf64_Ehdr head;
    Elf64_Shdr *headers;
    destination *destinations;
    uint32_t *symbols; /* of its table, to indices of joiner.symbols */
    uint64_t *shifts;  /* what a section symbol's addend grows by */
    size_t symbol_count;
} input;

static bool bad(joiner *j) {
    return sinter_error(j->diag, "object",
                        "is not a relocatable ELF64 file of the form that LLVM writes");
}

static bool within(const input *in, uint64_t offset, uint64_t size) {
    return offset <= in->file->size && size <= in->file->size - offset;
}

/* NULL where the text is not inside of the string table and ended there. */
static const char *find_text(const input *in, uint32_t table, uint64_t at) {
    if (table >= in->head.e_shnum) return NULL;
    const Elf64_Shdr *strings = &in->headers[table];
    if (strings->sh_type != SHT_STRTAB || at >= strings->sh_size) return NULL;
    const char *text = in->file->data + strings->sh_offset + at;
    return memchr(text, 0, strings->sh_size - at) ? text : NULL;
}

static bool read_headers(joiner *j, input *in) {
    if (in->file->size < sizeof in->head) return bad(j);
    memcpy(&in->head, in->file->data, sizeof in->head);
    const Elf64_Ehdr *head = &in->head;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64 ||
        head->e_ident[EI_DATA] != ELFDATA2LSB || head->e_type != ET_REL || !head->e_shnum ||
        head->e_shentsize != sizeof(Elf64_Shdr) ||
        !within(in, head->e_shoff, (uint64_t)head->e_shnum * sizeof(Elf64_Shdr)))
        return bad(j);
    if (!j->machine) {
        j->machine = head->e_machine;
        j->machine_flags = head->e_flags;
    }
    if (head->e_machine != j->machine || head->e_flags != j->machine_flags)
        return sinter_error(j->diag, "object", "the parts are for different machines");
    in->headers = SINTER_NEW_ARRAY(&j->arena, Elf64_Shdr, head->e_shnum);
    memcpy(in->headers, in->file->data + head->e_shoff, head->e_shnum * sizeof(Elf64_Shdr));
    in->destinations = SINTER_NEW_ARRAY(&j->arena, destination, head->e_shnum);
    for (uint16_t i = 1; i < head->e_shnum; i++)
        if (in->headers[i].sh_type != SHT_NOBITS &&
            !within(in, in->headers[i].sh_offset, in->headers[i].sh_size))
            return bad(j);
    return true;
}

/* ---- sections ---- */

static uint32_t find_or_add_section(joiner *j, const Elf64_Shdr *header, const char *name) {
    const char *key = sinter_arena_format(&j->arena, "%s %u %llu %llu", name, header->sh_type,
                                          (unsigned long long)header->sh_flags,
                                          (unsigned long long)header->sh_entsize);
    uint64_t found;
    if (sinter_map_find_string(&j->by_name, sinter_string_of(key), &found)) return (uint32_t)found;
    section fresh = {.name = name,
                     .type = header->sh_type,
                     .flags = header->sh_flags,
                     .alignment = 1,
                     .entry_bytes = header->sh_entsize};
    sinter_vector_push(&j->arena, &j->sections, fresh);
    sinter_map_put_string(&j->by_name, sinter_string_of(key), j->sections.count);
    return (uint32_t)j->sections.count;
}

static void pad_to(sinter_text *bytes, uint64_t size) {
    static const char zeros[64];
    while (bytes->size < size) {
        uint64_t missing = size - bytes->size;
        sinter_text_append(bytes, zeros, missing < sizeof zeros ? missing : sizeof zeros);
    }
}

static uint64_t align(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

static bool take_section(joiner *j, input *in, uint16_t index) {
    const Elf64_Shdr *header = &in->headers[index];
    switch (header->sh_type) {
    case SHT_NULL:
    case SHT_SYMTAB:
    case SHT_STRTAB:
    case SHT_RELA:
    case ADDRESS_SIGNIFICANCE:
        return true;
    case SHT_PROGBITS:
    case SHT_NOBITS:
    case SHT_INIT_ARRAY:
    case SHT_FINI_ARRAY:
    case SHT_X86_64_UNWIND:
        break;
    default:
        return bad(j);
    }
    const char *name = find_text(in, in->head.e_shstrndx, header->sh_name);
    uint64_t alignment = header->sh_addralign ? header->sh_addralign : 1;
    if (!name || alignment > BLOB_ALIGNMENT || (alignment & (alignment - 1)) ||
        header->sh_flags & SHF_GROUP)
        return bad(j);
    destination *to = &in->destinations[index];
    to->section = find_or_add_section(j, header, name);
    section *s = &j->sections.items[to->section - 1];
    if (s->alignment < alignment) s->alignment = alignment;
    to->offset = align(s->size, alignment);
    if (header->sh_size > (uint64_t)1 << 40) return bad(j);
    s->size = to->offset + header->sh_size;
    if (header->sh_type == SHT_NOBITS) return true;
    pad_to(&s->bytes, to->offset);
    sinter_text_append(&s->bytes, in->file->data + header->sh_offset, header->sh_size);
    return true;
}

/* ---- symbols ---- */

static uint32_t add_symbol(joiner *j, Elf64_Sym entry, const char *name) {
    symbol fresh = {.entry = entry, .name = name};
    sinter_vector_push(&j->arena, &j->symbols, fresh);
    return (uint32_t)(j->symbols.count - 1);
}

static bool take_global(joiner *j, const Elf64_Sym *entry, const char *name, uint32_t *out_index) {
    uint64_t found;
    if (!sinter_map_find_string(&j->globals, sinter_string_of(name), &found)) {
        *out_index = add_symbol(j, *entry, name);
        sinter_map_put_string(&j->globals, sinter_string_of(name), *out_index);
        return true;
    }
    *out_index = (uint32_t)found;
    symbol *known = &j->symbols.items[found];
    if (entry->st_shndx == SHN_UNDEF) return true;
    if (known->entry.st_shndx != SHN_UNDEF)
        return sinter_error(j->diag, "object", "'%s' is defined twice", name);
    known->entry = *entry;
    return true;
}

static const char *name_symbol(joiner *j, const input *in, const char *name) {
    static const size_t size = sizeof SINTER_OBJECT_NAMELESS - 1;
    bool is_its = in->name && !strncmp(name, SINTER_OBJECT_NAMELESS, size) &&
                  (!name[size] || name[size] == '.');
    return is_its ? sinter_arena_format(&j->arena, "%s%s", in->name, name + size) : name;
}

/* One symbol of the input; section symbols become that of the joined section. */
static bool take_symbol(joiner *j, input *in, size_t index, Elf64_Sym entry, const char *name) {
    unsigned type = ELF64_ST_TYPE(entry.st_info), binding = ELF64_ST_BIND(entry.st_info);
    if (index == 0 || type == STT_FILE) return true;
    bool ours = entry.st_shndx != SHN_UNDEF && entry.st_shndx < SHN_LORESERVE;
    if (!ours && entry.st_shndx != SHN_UNDEF && entry.st_shndx != SHN_ABS) return bad(j);
    if (ours) {
        if (entry.st_shndx >= in->head.e_shnum) return bad(j);
        const destination *to = &in->destinations[entry.st_shndx];
        if (!to->section) return true; /* of a dropped section; a use of it is refused later */
        entry.st_value += to->offset;
        entry.st_shndx = (uint16_t)to->section;
        if (type == STT_SECTION) {
            section *s = &j->sections.items[to->section - 1];
            in->shifts[index] = to->offset;
            entry.st_value = 0;
            if (!s->symbol) s->symbol = add_symbol(j, entry, "");
            in->symbols[index] = s->symbol;
            return true;
        }
    }
    if (binding == STB_LOCAL) {
        in->symbols[index] = add_symbol(j, entry, name);
        return true;
    }
    return take_global(j, &entry, name, &in->symbols[index]);
}

static bool take_symbols(joiner *j, input *in) {
    for (uint16_t i = 1; i < in->head.e_shnum; i++) {
        const Elf64_Shdr *table = &in->headers[i];
        if (table->sh_type != SHT_SYMTAB) continue;
        if (in->symbols) return bad(j);
        in->symbol_count = table->sh_size / sizeof(Elf64_Sym);
        in->symbols = SINTER_NEW_ARRAY(&j->arena, uint32_t, in->symbol_count + 1);
        in->shifts = SINTER_NEW_ARRAY(&j->arena, uint64_t, in->symbol_count + 1);
        for (size_t k = 0; k < in->symbol_count; k++) {
            Elf64_Sym entry;
            memcpy(&entry, in->file->data + table->sh_offset + k * sizeof entry, sizeof entry);
            const char *name = find_text(in, table->sh_link, entry.st_name);
            if (!name) return bad(j);
            if (!take_symbol(j, in, k, entry, name_symbol(j, in, name))) return false;
        }
    }
    return true;
}

static bool take_relocations(joiner *j, input *in, const Elf64_Shdr *header) {
    if (header->sh_type != SHT_RELA) return true;
    if (header->sh_info >= in->head.e_shnum) return bad(j);
    const destination *to = &in->destinations[header->sh_info];
    if (!to->section) return true; /* relocations of what was dropped */
    section *s = &j->sections.items[to->section - 1];
    for (uint64_t at = 0; at + sizeof(Elf64_Rela) <= header->sh_size; at += sizeof(Elf64_Rela)) {
        Elf64_Rela entry;
        memcpy(&entry, in->file->data + header->sh_offset + at, sizeof entry);
        uint64_t number = ELF64_R_SYM(entry.r_info);
        if (number >= in->symbol_count || (number && !in->symbols[number]) ||
            entry.r_offset >= in->headers[header->sh_info].sh_size)
            return bad(j);
        entry.r_offset += to->offset;
        if (number) {
            entry.r_addend += (int64_t)in->shifts[number];
            entry.r_info = ELF64_R_INFO((uint64_t)in->symbols[number], ELF64_R_TYPE(entry.r_info));
        }
        sinter_text_append(&s->relocations, (const char *)&entry, sizeof entry);
    }
    return true;
}

static bool take_object(joiner *j, const sinter_text *file, const char *name) {
    input in = {.file = file, .name = name};
    if (!read_headers(j, &in)) return false;
    for (uint16_t i = 1; i < in.head.e_shnum; i++)
        if (!take_section(j, &in, i)) return false;
    if (!take_symbols(j, &in)) return false;
    for (uint16_t i = 1; i < in.head.e_shnum; i++)
        if (!take_relocations(j, &in, &in.headers[i])) return false;
    return true;
}

/* Between the objects of one program nothing hidden stays open. */
static bool check_hidden(const joiner *j) {
    for (size_t i = 0; i < j->symbols.count; i++) {
        const symbol *s = &j->symbols.items[i];
        if (s->entry.st_shndx == SHN_UNDEF && ELF64_ST_VISIBILITY(s->entry.st_other) == STV_HIDDEN)
            return sinter_error(j->diag, "object", "'%s' is not defined", s->name);
    }
    return true;
}

/* ---- the blob ---- */

static bool define_blob(joiner *j, const sinter_object_blob *blob) {
    uint64_t found;
    if (!sinter_map_find_string(&j->globals, sinter_string_of(blob->symbol), &found) ||
        j->symbols.items[found].entry.st_shndx != SHN_UNDEF)
        return sinter_error(j->diag, "object", "nothing refers to '%s'", blob->symbol);
    section fresh = {.name = blob->section,
                     .type = SHT_PROGBITS,
                     .flags = SHF_ALLOC,
                     .alignment = BLOB_ALIGNMENT,
                     .size = blob->bytes};
    sinter_vector_push(&j->arena, &j->sections, fresh);
    Elf64_Sym *entry = &j->symbols.items[found].entry;
    entry->st_shndx = (uint16_t)j->sections.count;
    entry->st_info = ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT);
    entry->st_other = STV_HIDDEN;
    entry->st_size = blob->bytes;
    return true;
}

/* ---- writing ---- */

static bool is_local(const symbol *s, const sinter_object_blob *blob) {
    bool hidden =
        ELF64_ST_VISIBILITY(s->entry.st_other) == STV_HIDDEN && s->entry.st_shndx != SHN_UNDEF;
    return ELF64_ST_BIND(s->entry.st_info) == STB_LOCAL ||
           (hidden && !(blob->bytes && !strcmp(s->name, blob->symbol)));
}

static uint32_t put_text(sinter_text *strings, const char *text) {
    if (!*text) return 0;
    uint32_t at = (uint32_t)strings->size;
    sinter_text_append(strings, text, strlen(text) + 1);
    return at;
}

/* Locals come first, as ELF wants them. Returns their number, the null symbol included. */
static uint32_t write_symbols(joiner *j, const sinter_object_blob *blob, sinter_text *table,
                              sinter_text *strings) {
    uint32_t locals = 0, place = 0;
    sinter_text_append(strings, "", 1);
    for (int globals = 0; globals < 2; globals++) {
        for (size_t i = 0; i < j->symbols.count; i++) {
            symbol *s = &j->symbols.items[i];
            if (is_local(s, blob) != !globals) continue;
            Elf64_Sym entry = s->entry;
            entry.st_name = put_text(strings, s->name);
            if (!globals) {
                entry.st_info = ELF64_ST_INFO(STB_LOCAL, ELF64_ST_TYPE(entry.st_info));
                entry.st_other = STV_DEFAULT;
            }
            s->place = place++;
            sinter_text_append(table, (const char *)&entry, sizeof entry);
        }
        if (!globals) locals = place;
    }
    return locals;
}

static void renumber(const joiner *j, sinter_text *relocations) {
    for (size_t at = 0; at < relocations->size; at += sizeof(Elf64_Rela)) {
        Elf64_Rela entry;
        memcpy(&entry, relocations->data + at, sizeof entry);
        uint32_t place = j->symbols.items[ELF64_R_SYM(entry.r_info)].place;
        entry.r_info = ELF64_R_INFO((uint64_t)place, ELF64_R_TYPE(entry.r_info));
        memcpy(relocations->data + at, &entry, sizeof entry);
    }
}

typedef struct writer {
    sinter_text *out;
    sinter_text names;
    Elf64_Shdr *headers;
    uint16_t count;
} writer;

static void put_section(writer *w, const char *name, Elf64_Shdr header, const sinter_text *bytes) {
    header.sh_name = put_text(&w->names, name);
    if (!header.sh_addralign) header.sh_addralign = 8;
    if (bytes) {
        pad_to(w->out, align(w->out->size, header.sh_addralign));
        sinter_text_append(w->out, bytes->data ? bytes->data : "", bytes->size);
        header.sh_size = bytes->size;
    }
    header.sh_offset = w->out->size - (bytes ? bytes->size : 0);
    w->headers[w->count++] = header;
}

/* The sections of code and data. Returns the header of the blob, which follows the table of headers; 0: none. */
static uint16_t put_contents(writer *w, const joiner *j, bool has_blob) {
    uint16_t blob_header = 0;
    for (size_t i = 0; i < j->sections.count; i++) {
        const section *s = &j->sections.items[i];
        bool is_blob = has_blob && i + 1 == j->sections.count;
        if (is_blob) blob_header = w->count;
        Elf64_Shdr header = {.sh_type = s->type,
                             .sh_flags = s->flags,
                             .sh_size = s->size,
                             .sh_addralign = s->alignment,
                             .sh_entsize = s->entry_bytes};
        put_section(w, s->name, header, s->type == SHT_NOBITS || is_blob ? NULL : &s->bytes);
    }
    return blob_header;
}

static void put_relocations(writer *w, joiner *j, uint32_t symbols_at) {
    for (size_t i = 0; i < j->sections.count; i++) {
        section *s = &j->sections.items[i];
        if (!s->relocations.size) continue;
        renumber(j, &s->relocations);
        Elf64_Shdr header = {.sh_type = SHT_RELA,
                             .sh_flags = SHF_INFO_LINK,
                             .sh_link = symbols_at,
                             .sh_info = (uint32_t)(i + 1),
                             .sh_entsize = sizeof(Elf64_Rela)};
        put_section(w, sinter_arena_format(&j->arena, ".rela%s", s->name), header, &s->relocations);
    }
}

/* The last section: the names of all, its own among them. */
static void put_names(writer *w) {
    sinter_text names = {0};
    uint32_t own = put_text(&w->names, ".shstrtab");
    sinter_text_append(&names, w->names.data, w->names.size);
    put_section(w, "", (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_addralign = 1}, &names);
    w->headers[w->count - 1].sh_name = own;
    sinter_text_deinit(&names);
}

static void write_object(joiner *j, const sinter_object_blob *blob, sinter_text *out) {
    size_t count = j->sections.count;
    writer w = {.out = out, .headers = SINTER_NEW_ARRAY(&j->arena, Elf64_Shdr, 2 * count + 4)};
    sinter_text table = {0}, strings = {0};
    uint32_t locals = write_symbols(j, blob, &table, &strings);
    Elf64_Ehdr head = {.e_type = ET_REL,
                       .e_machine = j->machine,
                       .e_version = EV_CURRENT,
                       .e_flags = j->machine_flags,
                       .e_ehsize = sizeof(Elf64_Ehdr),
                       .e_shentsize = sizeof(Elf64_Shdr)};
    memcpy(head.e_ident, ELFMAG, SELFMAG);
    head.e_ident[EI_CLASS] = ELFCLASS64;
    head.e_ident[EI_DATA] = ELFDATA2LSB;
    head.e_ident[EI_VERSION] = EV_CURRENT;
    sinter_text_append(out, (const char *)&head, sizeof head);
    sinter_text_append(&w.names, "", 1);
    w.count = 1; /* the null section */
    uint16_t blob_header = put_contents(&w, j, blob->bytes != 0);
    uint32_t symbols_at = w.count;
    for (size_t i = 0; i < count; i++) symbols_at += j->sections.items[i].relocations.size != 0;
    put_relocations(&w, j, symbols_at);
    Elf64_Shdr symbols = {.sh_type = SHT_SYMTAB,
                          .sh_link = symbols_at + 1,
                          .sh_info = locals,
                          .sh_entsize = sizeof(Elf64_Sym)};
    put_section(&w, ".symtab", symbols, &table);
    put_section(&w, ".strtab", (Elf64_Shdr){.sh_type = SHT_STRTAB, .sh_addralign = 1}, &strings);
    put_names(&w);
    pad_to(out, align(out->size, 8));
    uint64_t table_at = out->size, table_bytes = (uint64_t)w.count * sizeof(Elf64_Shdr);
    if (blob_header)
        w.headers[blob_header].sh_offset = align(table_at + table_bytes, BLOB_ALIGNMENT);
    sinter_text_append(out, (const char *)w.headers, table_bytes);
    if (blob_header) pad_to(out, w.headers[blob_header].sh_offset);
    head.e_shoff = table_at;
    head.e_shnum = w.count;
    head.e_shstrndx = (uint16_t)(w.count - 1);
    memcpy(out->data, &head, sizeof head);
    sinter_text_deinit(&w.names);
    sinter_text_deinit(&table);
    sinter_text_deinit(&strings);
}

bool sinter_object_join(const sinter_text *objects, const char *const *names, size_t count,
                        const sinter_object_blob *blob, sinter_text *out_object,
                        sinter_diag *diag) {
    joiner j = {.diag = diag};
    sinter_arena_init(&j.arena);
    sinter_map_init(&j.globals, &j.arena);
    sinter_map_init(&j.by_name, &j.arena);
    add_symbol(&j, (Elf64_Sym){0}, "");
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
        good = take_object(&j, &objects[i], names ? names[i] : NULL);
    if (good && blob->bytes) good = define_blob(&j, blob);
    good = good && check_hidden(&j);
    if (good) write_object(&j, blob, out_object);
    for (size_t i = 0; i < j.sections.count; i++) {
        sinter_text_deinit(&j.sections.items[i].bytes);
        sinter_text_deinit(&j.sections.items[i].relocations);
    }
    sinter_arena_deinit(&j.arena);
    return good;
}
